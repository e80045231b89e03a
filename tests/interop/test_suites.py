#!/usr/bin/python3
"""Every IKE and every ESP suite against strongSwan, in both roles, with pings of 56, 1,000 and 1,372 bytes.

Time limit: 400 s
One gateway and one strongSwan hold one connection per suite, told apart by an address of strongSwan's: 72 IKE suites (each with another
ESP suite in turn, so that each of these comes at least once), each other cipher, hash and group once, the weak ones with leave, and
perfect forward secrecy by each group. Each is established by Culvert, used and ended, then the same by strongSwan. strongSwan's own list of SAs says what
was really agreed. The names of all suites come from the program's own table of algorithms, so that none is forgotten.
"""
import concurrent.futures
import itertools
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

SIZES = (56, 1000, 1372)
WORKERS = 3
CIPHERS = {"aes128": ("AES_CBC", "128"), "aes192": ("AES_CBC", "192"), "aes256": ("AES_CBC", "256"), "3des": ("3DES_CBC", None),
           "des": ("DES_CBC", None), "null": ("NULL", None)}
CIPHERS |= {f"aes{bits}{mode}{icv}": (f"AES_{mode.upper()}_{icv}", str(bits))
            for mode, sizes in (("gcm", (128, 192, 256)), ("ccm", (128, 256))) for bits in sizes for icv in (8, 12, 16)}
CIPHERS |= {f"aes{bits}ctr": ("AES_CTR", str(bits)) for bits in (128, 192, 256)}
HASHES = {"sha1": ("PRF_HMAC_SHA1", "HMAC_SHA1_96"), "sha256": ("PRF_HMAC_SHA2_256", "HMAC_SHA2_256_128"),
          "sha384": ("PRF_HMAC_SHA2_384", "HMAC_SHA2_384_192"), "sha512": ("PRF_HMAC_SHA2_512", "HMAC_SHA2_512_256"),
          "md5": ("PRF_HMAC_MD5", "HMAC_MD5_96")}
INTEGRITY = {name: integrity for name, (_, integrity) in HASHES.items()} | {"aesxcbc": "AES_XCBC_96"}
GROUPS = {"modp2048": "MODP_2048", "modp3072": "MODP_3072", "modp4096": "MODP_4096", "ecp256": "ECP_256", "ecp384": "ECP_384", "ecp521": "ECP_521"}
MORE_GROUPS = {"modp6144": "MODP_6144", "modp8192": "MODP_8192", "curve25519": "CURVE_25519", "ecp192": "ECP_192", "ecp224": "ECP_224",
               "curve448": "CURVE_448", "ecp224bp": "ECP_224_BP", "ecp256bp": "ECP_256_BP", "ecp384bp": "ECP_384_BP", "ecp512bp": "ECP_512_BP",
               "modp1536": "MODP_1536", "modp1024": "MODP_1024", "modp768": "MODP_768", "modp1024s160": "MODP_1024_160",
               "modp2048s224": "MODP_2048_224", "modp2048s256": "MODP_2048_256"}
WEAK = {"3des", "des", "md5", "null", "modp1536", "modp1024", "modp768", "modp1024s160", "modp2048s224", "modp2048s256"}
WEAK |= {name for name in CIPHERS if name.endswith(("gcm8", "ccm8"))}
# strongSwan's ESP in user space has neither GMAC, nor extended sequence numbers, nor AH: test_native_modes.py has them, with a Linux kernel.
ELSEWHERE = {"aes128gmac", "aes192gmac", "aes256gmac", "esn", "noesn"}
ESP = [name if name.endswith(("gcm8", "gcm12", "gcm16", "ccm8", "ccm12", "ccm16")) else f"{name}-sha256" for name in CIPHERS]
ESP += [f"aes128-{name}" for name in INTEGRITY if name != "sha256"] + ["aes256-sha1"]
USUAL = ["aes128gcm16", "aes256-sha256"]
IKE = ["-".join(parts) for parts in itertools.product(("aes128", "aes192", "aes256"), ("sha1", "sha256", "sha384", "sha512"), GROUPS)]
MORE_IKE = [f"aes128-sha256-{group}" for group in MORE_GROUPS] + [f"{cipher}-{digest}-modp2048" for cipher in ("3des", "des") for digest in HASHES]
MORE_IKE += ["aes256-md5-ecp256", "3des-md5-modp1024"]


class Suite:
    def __init__(self, number, ike, esp):
        self.number, self.ike, self.esp, self.name = number, ike, esp, f"s{number}"
        self.address = f"10.9.1.{number}"
        self.local_ts, self.remote_ts = f"10.1.{number}.0/24", f"10.2.{number}.0/24"
        self.result = {}

    def weak(self):
        return sorted({part for part in f"{self.ike}-{self.esp}".split("-") if part in WEAK})

    def expected(self):
        """What strongSwan must list for the IKE SA and its CHILD SA."""
        cipher, digest, group = self.ike.split("-")
        ike = {"encr-alg": CIPHERS[cipher][0], "encr-keysize": CIPHERS[cipher][1], "prf-alg": HASHES[digest][0], "dh-group": (GROUPS | MORE_GROUPS)[group]}
        parts = self.esp.split("-")
        esp = {"encr-alg": CIPHERS[parts[0]][0], "encr-keysize": CIPHERS[parts[0]][1]}
        for part in parts[1:]:
            if part in GROUPS | MORE_GROUPS:
                esp["dh-group"] = (GROUPS | MORE_GROUPS)[part]
            else:
                esp["integ-alg"] = INTEGRITY[part]
        return ike, esp


def suites():
    found = [Suite(n, ike, ESP[n % len(ESP)]) for n, ike in enumerate(IKE, 1)]
    found += [Suite(n, ike, USUAL[n % len(USUAL)]) for n, ike in enumerate(MORE_IKE, len(found) + 1)]
    with_pfs = [f"{esp}-{group}" for group in GROUPS for esp in USUAL] + [f"aes128gcm16-{group}" for group in MORE_GROUPS]
    return found + [Suite(n, sites.IKE_SUITE, esp) for n, esp in enumerate(with_pfs, len(found) + 1)]


def agreed(suite, peer):
    """'' or what differs from the expected suite in strongSwan's list, and whether the packets went through the SA."""
    sas = peer.list_sas()
    if suite.name not in sas:
        return "strongSwan lists no IKE SA"
    ike, esp = suite.expected()
    children = list(sas[suite.name].get("child-sas", {}).values())
    installed = [c for c in children if c.get("state") == "INSTALLED"]
    if len(installed) != 1:
        return f"strongSwan lists {len(installed)} installed CHILD SAs"
    for want, have in ((ike, sas[suite.name]), (esp, installed[0])):
        for key, value in want.items():
            if have.get(key) != value:
                return f"{key} is {have.get(key)}, not {value}"
    used = int(installed[0]["packets-in"]), int(installed[0]["packets-out"])
    return "" if min(used) >= len(SIZES) else f"only {used} packets went through the SA"


def one(suite, role, culvert, peer, host):
    """Establishes, pings, compares, ends. Fills suite.result[role] with (ok, milliseconds, answered sizes, detail)."""
    begun = time.monotonic()
    if role == "initiator":
        ok, detail = culvert.initiate(suite.name, suite.name)
    else:
        ok, detail = peer.initiate(suite.name)
    milliseconds = (time.monotonic() - begun) * 1000
    answered = []
    if ok:
        # The initiator is done when it has sent message 3, strongSwan as responder when it has worked through it.
        wait_for(lambda: any(c.get("state") == "INSTALLED" for c in peer.child_sas(suite.name)), 5, f"{suite.name} at strongSwan")
        for size in SIZES:
            if ping(host, f"10.2.{suite.number}.1", f"10.1.{suite.number}.10", size=size, count=1)[0]:
                answered.append(size)
        detail = agreed(suite, peer) if len(answered) == len(SIZES) else f"no answer to {sorted(set(SIZES) - set(answered))}"
    else:
        detail = str(detail).strip().splitlines()[-1:]
    suite.result[role] = (ok and not detail, milliseconds, answered, detail)
    if role == "initiator":
        culvert.terminate(suite.name)
    else:
        peer.terminate(suite.name)
    wait_for(lambda: suite.name not in peer.list_sas(), 5, f"the end of {suite.name} at strongSwan")


def body(r, lab):
    everything = suites()
    tested = {part for s in everything for suite in (s.ike, s.esp) for part in suite.split("-")}
    r.check("each algorithm that the configuration knows is in the table", tested | ELSEWHERE == gateway.algorithms(),
            f"they differ in {(tested | ELSEWHERE) ^ gateway.algorithms()}")

    def connections(gw):
        secret = gw.secret(sites.SECRET)
        return {s.name: gateway.connection(sites.ADDRESS["a"], s.address, sites.IDENTITY["a"], f"{s.name}.example", s.ike, secret,
                                           {s.name: gateway.child(s.local_ts, s.remote_ts, s.esp)}, allow_weak=s.weak()) for s in everything}
    theirs = {s.name: strongswan.connection(s.address, sites.ADDRESS["a"], f"{s.name}.example", sites.IDENTITY["a"], s.ike,
                                            {s.name: strongswan.child(s.remote_ts, s.local_ts, s.esp)}) for s in everything}
    site = sites.CulvertAndStrongSwan(lab, connections, theirs)
    site.outside.addresses("cl0", [f"{s.address}/16" for s in everything])
    site.outside.addresses("lo", [f"10.2.{s.number}.1/24" for s in everything])
    site.host.addresses("h0", [f"10.1.{s.number}.10/16" for s in everything])
    site.start()
    for role in ("initiator", "responder"):
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            jobs = {pool.submit(one, s, role, site.culvert, site.strongswan, site.host): s for s in everything}
            for job in concurrent.futures.as_completed(jobs):
                try:
                    job.result()
                except LabError as error:
                    jobs[job].result[role] = (False, 0, [], str(error))
        r.note(f"Culvert as {role}: {len(everything)} suites in {time.monotonic() - begun:.0f} s")
    rows = []
    for s in everything:
        row = [s.ike, s.esp]
        for role in ("initiator", "responder"):
            ok, milliseconds, answered, _ = s.result[role]
            row += ["ok" if ok else "FAIL", f"{milliseconds:.0f}", "/".join(map(str, answered)) or "none"]
        rows.append(row)
    r.table(["IKE suite", "ESP suite", "Culvert initiates", "ms", "ping bytes", "strongSwan initiates", "ms", "ping bytes"], rows)
    for s in everything:
        for role in ("initiator", "responder"):
            ok, _, _, detail = s.result[role]
            if ok:
                r.passed += 1
            else:
                r.check(f"{s.ike} / {s.esp}, Culvert as {role}", False, detail)
    r.note(f"{sum(s.result[role][0] for s in everything for role in s.result)} of {2 * len(everything)} combinations passed")


report.run("suites", body)

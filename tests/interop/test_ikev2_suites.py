#!/usr/bin/python3
"""IKEv2's suites against strongSwan: each IKE cipher, PRF, integrity algorithm and group, each ESP suite, with and without PFS.

Time limit: 240 s
One connection per suite, told apart by an address of strongSwan's. Culvert begins all of them, and then strongSwan; each is used, the other side rekeys
its IKE SA and its CHILD SA, where PFS shows, and it is used again. strongSwan's list says what was agreed. The names come from the program's own table
of algorithms, so that none is forgotten.
"""
import concurrent.futures
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, ikev2, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

SIZES, WORKERS = (56, 1372), 3
ROLES = "Culvert", "strongSwan"
CBC = {"aes128": ("AES_CBC", "128"), "aes192": ("AES_CBC", "192"), "aes256": ("AES_CBC", "256"), "3des": ("3DES_CBC", None), "des": ("DES_CBC", None)}
AEAD = {f"aes{bits}{mode}{icv}": (f"AES_{mode.upper()}_{icv}", str(bits))
        for mode, sizes in (("gcm", (128, 192, 256)), ("ccm", (128, 256))) for bits in sizes for icv in (8, 12, 16)}
AEAD["chacha20poly1305"] = ("CHACHA20_POLY1305", None)
ESP_ONLY = {f"aes{bits}ctr": ("AES_CTR", str(bits)) for bits in (128, 192, 256)} | {"null": ("NULL", None)}
CIPHERS = CBC | AEAD | ESP_ONLY
PRF = {"sha1": "HMAC_SHA1", "sha256": "HMAC_SHA2_256", "sha384": "HMAC_SHA2_384", "sha512": "HMAC_SHA2_512", "aesxcbc": "AES128_XCBC", "aescmac": "AES128_CMAC",
       "md5": "HMAC_MD5"}
INTEGRITY = {"sha1": "HMAC_SHA1_96", "sha256": "HMAC_SHA2_256_128", "sha384": "HMAC_SHA2_384_192", "sha512": "HMAC_SHA2_512_256", "aesxcbc": "AES_XCBC_96",
             "aescmac": "AES_CMAC_96", "md5": "HMAC_MD5_96"}
GROUPS = {"modp2048": "MODP_2048", "modp3072": "MODP_3072", "modp4096": "MODP_4096", "modp6144": "MODP_6144", "modp8192": "MODP_8192", "ecp256": "ECP_256",
          "ecp384": "ECP_384", "ecp521": "ECP_521", "curve25519": "CURVE_25519", "curve448": "CURVE_448", "ecp224bp": "ECP_224_BP", "ecp256bp": "ECP_256_BP",
          "ecp384bp": "ECP_384_BP", "ecp512bp": "ECP_512_BP", "ecp192": "ECP_192", "ecp224": "ECP_224", "modp1536": "MODP_1536",
          "modp1024": "MODP_1024", "modp768": "MODP_768", "modp1024s160": "MODP_1024_160", "modp2048s224": "MODP_2048_224", "modp2048s256": "MODP_2048_256"}
WEAK = {"3des", "des", "md5", "null", "modp1536", "modp1024", "modp768", "modp1024s160", "modp2048s224", "modp2048s256"}
WEAK |= {name for name in CIPHERS if name.endswith(("gcm8", "ccm8"))}
# strongSwan's ESP in user space has them not: see test_native_modes.py.
ELSEWHERE = {"aes128gmac", "aes192gmac", "aes256gmac", "esn", "noesn"}


def ike_suites():
    """Each cipher with some PRF, each PRF with both kinds of cipher, each integrity algorithm alone and with another PRF, each group."""
    prfs = list(PRF)
    found = [f"{cipher}-prf{prfs[n % len(prfs)]}-ecp256" for n, cipher in enumerate(AEAD)]
    found += [f"{cipher}-{'sha256' if cipher != 'des' else 'sha1'}-ecp256" for cipher in CBC]
    found += [f"aes128-{name}-ecp256" for name in INTEGRITY if name != "sha256"]
    found += [f"aes256-sha384-prf{name}-ecp256" for name in PRF if name != "sha384"]
    found += [f"aes256gcm16-prf{name}-ecp256" for name in PRF]
    return found + [f"aes256-sha256-{name}" for name in GROUPS if name != "ecp256"]


def esp_suites():
    found = [name if name in AEAD else f"{name}-sha256" for name in CIPHERS]
    found += [f"aes128-{name}" for name in INTEGRITY if name != "sha256"]
    return found + [f"aes128gcm16-{name}" for name in GROUPS] + ["aes256-sha256-ecp256", "aes128-sha512-modp2048", "chacha20poly1305-curve25519"]


class Suite:
    def __init__(self, number, ike, esp):
        self.number, self.ike, self.esp, self.name, self.detail = number, ike, esp, f"s{number}", dict.fromkeys(ROLES, "not tried")
        self.address = f"10.9.1.{number}"

    def weak(self):
        return sorted({part.removeprefix("prf") for part in f"{self.ike}-{self.esp}".split("-")} & WEAK)

    def expected(self):
        """What strongSwan must list: of the IKE SA, of the CHILD SA, of the rekeyed one."""
        words = self.ike.split("-")
        cipher, group, integrity = words[0], words[-1], next((w for w in words[1:-1] if not w.startswith("prf")), None)
        prf = next((w[3:] for w in words if w.startswith("prf")), integrity)
        ike = {"encr-alg": CIPHERS[cipher][0], "encr-keysize": CIPHERS[cipher][1], "integ-alg": INTEGRITY.get(integrity), "prf-alg": f"PRF_{PRF[prf]}",
               "dh-group": GROUPS[group]}
        words = self.esp.split("-")
        esp = {"encr-alg": CIPHERS[words[0]][0], "encr-keysize": CIPHERS[words[0]][1],
               "integ-alg": next((INTEGRITY[w] for w in words[1:] if w in INTEGRITY), None), "dh-group": None}
        return ike, esp, esp | {"dh-group": next((GROUPS[w] for w in words if w in GROUPS), None)}


def suites():
    ike, esp = ike_suites(), esp_suites()
    rows = [(ike[n % len(ike)], esp[n % len(esp)]) for n in range(max(len(ike), len(esp)))]
    return [Suite(n, *row) for n, row in enumerate(rows, 1)]


def other(have, want, what):
    for key, value in want.items():
        if have.get(key) != value:
            return f"{what}: {key} is {have.get(key)}, not {value}"
    return ""


def pings(suite, site):
    """'', or the size that was not answered."""
    for size in SIZES:
        if not ping(site.host, f"10.2.{suite.number}.1", f"10.1.{suite.number}.10", size=size, count=1)[0]:
            return f"no answer to a ping of {size} bytes"
    return ""


def looks(suite, site, rekeyed):
    """'', or what differs from what must have been agreed on; whether packets go through."""
    for _ in range(5):       # behind a rekeying we send by the old CHILD SA until the peer has shown that it has our answer
        unanswered = pings(suite, site)
        if unanswered:
            return unanswered
        sas = ikev2.their_sas(site.strongswan, suite.name)
        children = [c for sa in sas for c in sa.get("child-sas", {}).values() if c["state"] == "INSTALLED"]
        if len(sas) != 1 or len(children) != 1:
            return f"strongSwan lists {len(sas)} IKE SAs and {len(children)} CHILD SAs"
        through = min(int(children[0]["packets-in"]), int(children[0]["packets-out"])) >= len(SIZES)
        if through:
            break
        time.sleep(1)
    ike, first, second = suite.expected()
    if not through:
        return "the packets did not go through the CHILD SA"
    return other(sas[0], ike, "IKE") or other(children[0], second if rekeyed else first, "rekeyed ESP" if rekeyed else "ESP") or \
        ikev2.differ(site.culvert, site.strongswan, suite.name)


def one(suite, site, role):
    """'', or what went wrong."""
    ok, detail = site.culvert.initiate(suite.name, "net") if role == "Culvert" else site.strongswan.initiate(suite.name)
    if not ok:
        return f"not established: {str(detail).strip()[-300:]}"
    differ = lambda: ikev2.differ(site.culvert, site.strongswan, suite.name)
    in_use = lambda: ikev2.in_use(site.culvert, suite.name)
    wait_for(lambda: not differ(), 5, f"both lists of {suite.name} to agree")
    detail = looks(suite, site, rekeyed=False)
    if detail:
        return detail
    for what in "ike", "child":
        old = in_use()
        if role == "Culvert":
            site.strongswan.swanctl("rekey", f"--{what}", suite.name)
        else:
            site.culvert.result("rekey", *((suite.name, "--ike") if what == "ike" else (f"{suite.name}/net",)))
        which = 0 if what == "ike" else 1
        wait_for(lambda: not in_use()[which] & old[which] and not differ(), 15, f"the rekeyed {what} of {suite.name}")
        if in_use()[1 - which] != old[1 - which]:
            return f"rekeying the {what} changed more than that"
    detail = looks(suite, site, rekeyed=True)
    site.culvert.terminate(suite.name) if role == "Culvert" else site.strongswan.terminate(suite.name)
    wait_for(lambda: not in_use()[0] and not ikev2.their_sas(site.strongswan, suite.name), 5, f"the end of {suite.name}")
    return detail


def body(r, lab):
    everything = suites()
    tested = {part for s in everything for part in f"{s.ike}-{s.esp}".split("-")}
    r.check("each algorithm that the configuration knows is in the table", tested | ELSEWHERE == gateway.algorithms(2),
            f"they differ in {(tested | ELSEWHERE) ^ gateway.algorithms(2)}")

    def connections(gw):
        secret = gw.secret(sites.SECRET)
        return {s.name: gateway.connection(sites.ADDRESS["a"], s.address, sites.IDENTITY["a"], f"{s.name}.example", s.ike, secret, {
            "net": gateway.child(f"10.1.{s.number}.0/24", f"10.2.{s.number}.0/24", s.esp)}, version=2, allow_weak=s.weak()) for s in everything}
    theirs = {s.name: strongswan.connection(s.address, sites.ADDRESS["a"], f"{s.name}.example", sites.IDENTITY["a"], s.ike, {
        s.name: strongswan.child(f"10.2.{s.number}.0/24", f"10.1.{s.number}.0/24", s.esp)}, version=2) for s in everything}
    site = sites.CulvertAndStrongSwan(lab, connections, theirs).number([s.number for s in everything])
    site.start()
    for role in ROLES:
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            jobs = {pool.submit(one, s, site, role): s for s in everything}
            for job in concurrent.futures.as_completed(jobs):
                try:
                    jobs[job].detail[role] = job.result()
                except LabError as error:
                    jobs[job].detail[role] = str(error)
        r.note(f"{role} begins: {len(everything)} suites in {time.monotonic() - begun:.0f} s")
    r.table(["IKE suite", "ESP suite", "Culvert begins", "strongSwan begins"], [[s.ike, s.esp, *("FAIL" if s.detail[role] else "ok" for role in ROLES)] for s in everything])
    for s in everything:
        for role in ROLES:
            if s.detail[role]:
                r.check(f"{s.name}: {s.ike} / {s.esp}, {role} begins", False, s.detail[role])
            else:
                r.passed += 1


report.run("ikev2_suites", body)

#!/usr/bin/python3
"""What ESP in user space lacks, against the Linux kernel: AH, transport mode, extended sequence numbers, GMAC, NULL and the other ciphers.

Time limit: 300 s
strongSwan in a User Mode Linux guest, without a NAT. Each case in both roles, with pings of 56 and 1,000 bytes both ways in tunnel mode, and
from the guest to the gateway itself in transport mode. The kernel's own list of SAs must say protocol, mode, algorithm and ESN, and count
exactly the packets that Culvert counts; its IPsec must have refused nothing.

    host 10.1.0.10 -- in0 [Culvert] gw0 10.9.0.1 ---- wire ---- vec0 10.9.0.2, 10.9.2.N [Linux guest], 10.2.N.1 on its lo
"""
import collections
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan, uml  # noqa: E402
from lib.traffic import pings  # noqa: E402

SIZES, COUNT = (56, 1000), 2
CULVERT, LINUX, HOST = sites.ADDRESS["a"], sites.ADDRESS["b"], sites.HOST["a"]
CONNECTION = "to-b"
# name: proposal, "esp" or "ah", "tunnel" or "transport", the kernel's words for its algorithms, the groups
Case = collections.namedtuple("Case", "number name proposal protocol mode kernel")
KERNEL = {"gmac": "rfc4543(gcm(aes))", "gcm": "rfc4106(gcm(aes))", "ccm": "rfc4309(ccm(aes))", "ctr": "rfc3686(ctr(aes))",
          "3des": "cbc(des3_ede)", "des": "cbc(des)", "aes": "cbc(aes)"}
HASH = {"md5": "hmac(md5)", "sha1": "hmac(sha1)", "sha256": "hmac(sha256)", "sha384": "hmac(sha384)", "sha512": "hmac(sha512)", "aesxcbc": "xcbc(aes)"}
TUNNEL_ESP = ["aes128gmac", "aes192gmac", "aes256gmac-ecp256", "null-sha256", "null-aesxcbc", "3des-sha1", "des-md5", "aes192-sha384", "aes256-sha512-modp2048",
              "aes128ctr-sha256", "aes192ctr-sha1", "aes128ccm16", "aes256ccm12", "aes256ccm8", "aes192gcm16", "aes256gcm12", "aes128gcm8",
              "aes128gcm16-esn", "aes256ccm16-esn", "aes128gmac-esn", "aes256-sha256-esn", "null-sha512-esn", "aes128gcm16-curve25519"]
TUNNEL_AH = ["md5", "sha1", "sha256", "sha384-ecp384", "sha512", "aesxcbc", "sha256-esn", "sha1-modp2048-esn"]
TRANSPORT = [("aes128gcm16", "esp"), ("aes256-sha256", "esp"), ("aes256gcm16-ecp256-esn", "esp"), ("sha256", "ah"), ("sha512-esn", "ah")]
WEAK = {"md5", "null", "3des", "des"}


def kernel_words(proposal):
    """The algorithms that the kernel must list with a key: not NULL."""
    words = set()
    for part in proposal.split("-"):
        if part in HASH:
            words.add(HASH[part])
        elif not re.match(r"modp|ecp|curve|esn|null", part):
            words.add(next(text for key, text in KERNEL.items() if key in part))
    return words


def cases():
    rows = [(p, "esp", "tunnel") for p in TUNNEL_ESP] + [(p, "ah", "tunnel") for p in TUNNEL_AH] + [(p, kind, "transport") for p, kind in TRANSPORT]
    return [Case(n, f"c{n}", p, protocol, mode, kernel_words(p)) for n, (p, protocol, mode) in enumerate(rows, 1)]


CASES = cases()
TITLE = {c.name: f"{c.protocol.upper()} {c.proposal}, {c.mode}" for c in CASES}


def weak(case):
    return sorted({p for p in case.proposal.split("-") if p in WEAK or p.endswith(("gcm8", "ccm8")) or (case.protocol == "esp" and p.endswith("gmac"))})


def selectors(case):
    """(Culvert's, Linux's)"""
    if case.mode == "transport":
        return f"{CULVERT}/32", f"10.9.2.{case.number}/32"
    return sites.NET["a"], f"10.2.{case.number}.0/24"


class Site:
    def __init__(self, lab):
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "peer0", "")
        self.guest = uml.Guest(lab, self.outside, "linux", ["peer0"])
        self.culvert = sites.culvert(lab, self.inside, "a", ["b"])
        secret, ours, theirs = self.culvert.secret(sites.SECRET), sites.IDENTITY["a"], sites.IDENTITY["b"]
        self.connection = {c.name: c.name if c.mode == "transport" else CONNECTION for c in CASES}
        connections, peers = {}, {}
        for name in dict.fromkeys(self.connection.values()):
            mine = [c for c in CASES if self.connection[c.name] == name]
            address = LINUX if name == CONNECTION else f"10.9.2.{mine[0].number}"
            identity = theirs if name == CONNECTION else f"{name}.example"
            children, their_children = {}, {}
            for c in mine:
                local, remote = selectors(c)
                key = f"{c.protocol}_proposals"
                children[c.name] = {"local_ts": local, "remote_ts": remote, key: [c.proposal], "mode": c.mode}
                their_children[c.name] = {"local_ts": remote, "remote_ts": local, key: c.proposal, "mode": c.mode}
            allowed = sorted({w for c in mine for w in weak(c)})
            connections[name] = gateway.connection(CULVERT, address, ours, identity, sites.IKE_SUITE, secret, children, allow_weak=allowed)
            peers[name] = strongswan.connection(address, CULVERT, identity, ours, sites.IKE_SUITE, their_children)
        self.culvert.config["connections"] = connections
        self.culvert.write()
        self.strongswan = strongswan.StrongSwan(lab, self.guest, "strongswan", peers, sites.SECRET, kernel="kernel-netlink")

    def start(self):
        self.guest.power_on()
        self.culvert.start()
        self.guest.ready(90)
        self.guest.address("vec0", f"{LINUX}/16", *(f"10.9.2.{c.number}/16" for c in CASES if c.mode == "transport"))
        self.guest.address("lo", *(f"10.2.{c.number}.1/32" for c in CASES if c.mode == "tunnel"))
        self.guest.route("default", CULVERT)
        self.strongswan.start()
        return self

    def kernel(self):
        """{SPI: the kernel's text about that SA}, and the same with counters as numbers."""
        text = self.guest.script("ip -s xfrm state")
        blocks = {int(m.group(1), 16): b for b in re.split(r"^(?=src )", text, flags=re.M) if (m := re.search(r"spi (0x[0-9a-f]+)", b))}
        return blocks, {s["spi"]: s for s in uml.parse_xfrm_states(text)}


def compare(site, case, answered, blocks, states, listed):
    """'' or what is wrong with an SA pair."""
    ways = 2 if case.mode == "tunnel" else 1
    packets = ways * len(SIZES) * COUNT
    if answered[case.name] != packets:
        return f"{answered[case.name]} of {packets} pings were answered"
    if case.name not in listed:
        return "strongSwan does not list it as installed"
    sa = listed[case.name]
    for direction in "in", "out":
        spi = int(sa[f"spi-{direction}"], 16)
        text = blocks.get(spi, "")
        esn = case.proposal.endswith("-esn")
        if f"proto {case.protocol} " not in text or f"mode {case.mode}" not in text or ("esn" in re.findall(r"flag .*", text + "\nflag")[0]) != esn:
            return f"the kernel's SA {direction} is another: {text[:200]}"
        have = {name for name, _ in states[spi]["algorithms"].values()}
        if not case.kernel <= have:
            return f"the kernel's algorithms are {have}, not {case.kernel}"
        state = states[spi]
        if (state["packets"], state["failed"], state["replayed"]) != (packets, 0, 0):
            return f"the kernel's SA {direction}: {state['packets']} packets instead of {packets}, {state['failed']} failed, {state['replayed']} replayed"
    ours = [c for c in site.culvert.child_sas() if c["child"] == case.name and c["state"] == "installed"]
    seen = [(c["protocol"], c["mode"], c["esn"], c["suite"], c["in"]["packets"], c["out"]["packets"]) for c in ours]
    want = (case.protocol, case.mode, case.proposal.endswith("-esn"), case.proposal, packets, packets)
    return "" if seen == [want] else f"Culvert lists {seen}, not {want}"


def round_of(r, site, role):
    """All cases, begun by one side. {case: cell of the table}"""
    failed = {}
    for c in CASES:
        ok, detail = site.culvert.initiate(site.connection[c.name], c.name) if role == "Culvert" else site.strongswan.initiate(c.name)
        if not ok:
            failed[c.name] = f"not established: {str(detail).strip()[-200:]}"
    time.sleep(1)            # a responder installs its SAs when it has read the third message
    up = [c for c in CASES if c.name not in failed]
    answered = pings(site.guest, SIZES, COUNT, [(c.name, f"10.2.{c.number}.1", HOST) if c.mode == "tunnel" else (c.name, f"10.9.2.{c.number}", CULVERT) for c in up])
    answered += pings(site.host, SIZES, COUNT, [(c.name, HOST, f"10.2.{c.number}.1") for c in up if c.mode == "tunnel"])
    time.sleep(0.3)
    blocks, states = site.kernel()
    listed = {c["name"]: c for c in site.strongswan.child_sas() if c["state"] == "INSTALLED"}
    cells = {}
    for c in CASES:
        detail = failed.get(c.name) or compare(site, c, answered, blocks, states, listed)
        r.check(f"{TITLE[c.name]}, {role} initiates", not detail, detail)
        cells[c.name] = "FAIL" if detail else "ok"
    return cells


def ended(condition):
    """Whether it comes true within the time that a busy guest may need."""
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


def body(r, lab):
    if uml.why_not():
        r.skip("AH, transport mode and ESN against the Linux kernel", uml.why_not())
        return
    elsewhere = {"aes128gmac", "aes192gmac", "aes256gmac", "esn"}
    tested = {part for c in CASES for part in c.proposal.split("-")}
    r.check("GMAC and ESN, which ESP in user space lacks, are in the table", elsewhere <= tested, elsewhere - tested)
    site = Site(lab).start()
    first = round_of(r, site, "Culvert")
    for name in dict.fromkeys(site.connection.values()):
        site.culvert.terminate(name)
    r.check("ended by Culvert: the kernel has no SA left", ended(lambda: not site.kernel()[0]))
    second = round_of(r, site, "Linux")
    r.table(["case", "Culvert initiates", "Linux initiates"], [[TITLE[c.name], first[c.name], second[c.name]] for c in CASES])
    errors = site.guest.xfrm_errors()
    r.check("the kernel's IPsec refused nothing", not errors, errors)
    for name in dict.fromkeys(site.connection.values()):
        site.strongswan.terminate(name)
    r.check("ended by Linux: Culvert has no SA left", ended(lambda: not site.culvert.child_sas()))


report.run("native_modes", body)

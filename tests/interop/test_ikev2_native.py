#!/usr/bin/python3
"""IKEv2 with the Linux kernel's own IPsec: native ESP and AH, tunnel and transport mode, extended sequence numbers, without a NAT and on port 500.

Time limit: 240 s
strongSwan in a User Mode Linux guest. Each case in both roles, and rekeyed by the side that did not begin, with pings of 56 and 1,000 bytes before and
after: both ways in tunnel mode, from the guest to the gateway itself in transport mode. The kernel's list of SAs must say protocol, mode and ESN.
Last, the guest's address changes, and its kernel and Culvert take the SAs along (MOBIKE), in native ESP.

    host 10.1.0.10 -- in0 [Culvert] gw0 10.9.0.1 ---- wire ---- vec0 10.9.0.2, 10.9.2.N [Linux guest], 10.2.N.1 on its lo
"""
import collections
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, ikev2, report, sites, strongswan, uml  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import pings  # noqa: E402

SIZES, COUNT = (56, 1000), 2
CULVERT, HOST = sites.ADDRESS["a"], sites.HOST["a"]
Case = collections.namedtuple("Case", "number name proposal protocol mode")
ROWS = [("aes128gcm16", "esp", "tunnel"), ("aes256-sha256-ecp256", "esp", "tunnel"), ("chacha20poly1305", "esp", "tunnel"), ("aes128gcm16-esn", "esp", "tunnel"),
        ("aes128gmac-noesn-esn", "esp", "tunnel"), ("aes256gcm16-modp2048", "esp", "transport"), ("sha256", "ah", "tunnel"), ("sha512-esn", "ah", "transport")]
CASES = [Case(n, f"c{n}", *row) for n, row in enumerate(ROWS, 1)]
TITLE = {c.name: f"{c.protocol.upper()} {c.proposal}, {c.mode}" for c in CASES}


def mobile(case):
    """Both offer MOBIKE, Culvert in tunnel mode, and whoever begins moves to port 4500, NAT or not (RFC 4555 §3.3)."""
    return case.number % 2 == 0


ROAMER, ELSEWHERE = CASES[1], sites.ADDRESS["b"]      # of the guest's addresses the one that it takes when it loses the one in use


class Site:
    """One connection per case, by an address of the guest's."""

    def __init__(self, lab):
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "peer0", "")
        self.guest = uml.Guest(lab, self.outside, "linux", ["peer0"])
        self.culvert = sites.culvert(lab, self.inside, "a", ["b"])
        secret, peers = self.culvert.secret(sites.SECRET), {}
        for c in CASES:
            local, remote = (f"{CULVERT}/32", f"10.9.2.{c.number}/32") if c.mode == "transport" else (sites.NET["a"], f"10.2.{c.number}.0/24")
            key, address = f"{c.protocol}_proposals", f"10.9.2.{c.number}"
            self.culvert.config["connections"][c.name] = gateway.connection(
                CULVERT, [address, ELSEWHERE] if c is ROAMER else address, sites.IDENTITY["a"], f"{c.name}.example", sites.IKE_SUITE, secret,
                {"net": {"local_ts": local, "remote_ts": remote, key: [c.proposal], "mode": c.mode}}, version=2,
                mobike=mobile(c) and c.mode == "tunnel", allow_weak=["aes128gmac"] if "gmac" in c.proposal else [])
            peers[c.name] = strongswan.connection(address, CULVERT, f"{c.name}.example", sites.IDENTITY["a"], sites.IKE_SUITE, {
                c.name: {"local_ts": remote, "remote_ts": local, key: c.proposal, "mode": c.mode}}, version=2, mobike="yes" if mobile(c) else "no")
        self.culvert.write()
        self.strongswan = strongswan.StrongSwan(lab, self.guest, "strongswan", peers, sites.SECRET, kernel="kernel-netlink")

    def start(self):
        self.guest.power_on()
        self.culvert.start()
        self.guest.ready(90)
        self.guest.address("vec0", f"{sites.ADDRESS['b']}/16", *(f"10.9.2.{c.number}/16" for c in CASES))
        self.guest.address("lo", *(f"10.2.{c.number}.1/32" for c in CASES))
        self.guest.route("default", CULVERT)
        self.strongswan.start()
        return self

    def kernel(self):
        """{SPI: the kernel's text about that SA}"""
        text = self.guest.script("ip -s xfrm state")
        return {int(m.group(1), 16): b for b in re.split(r"^(?=src )", text, flags=re.M) if (m := re.search(r"spi (0x[0-9a-f]+)", b))}


def looks(site, failed):
    """Pings by all, and compares the lists; fills `failed`."""
    up = [c for c in CASES if not failed[c.name]]
    answered = pings(site.guest, SIZES, COUNT, [(c.name, f"10.2.{c.number}.1", HOST) if c.mode == "tunnel" else (c.name, f"10.9.2.{c.number}", CULVERT) for c in up])
    answered += pings(site.host, SIZES, COUNT, [(c.name, HOST, f"10.2.{c.number}.1") for c in up if c.mode == "tunnel"])
    kernel = site.kernel()
    for c in up:
        wanted = (2 if c.mode == "tunnel" else 1) * len(SIZES) * COUNT
        ours = [sa for sa in site.culvert.child_sas(c.name) if sa["state"] == "installed"]
        seen = [(sa["protocol"], sa["mode"], sa["esn"], sa["encap"]) for sa in ours]
        esn = "-esn" in c.proposal
        if answered[c.name] != wanted:
            failed[c.name] = f"{answered[c.name]} of {wanted} pings were answered"
        elif seen != [(c.protocol, c.mode, seen[0][2] if "-noesn-" in c.proposal else esn, "native")]:
            failed[c.name] = f"Culvert lists {seen}"
        elif min(ours[0]["in"]["packets"], ours[0]["out"]["packets"]) < wanted:
            failed[c.name] = f"{ours[0]['in']['packets']} and {ours[0]['out']['packets']} packets went through Culvert's pair"
        else:
            texts = [kernel.get(int(ours[0][key], 16), "") for key in ("spi_in", "spi_out")]
            if not all(f"proto {c.protocol} " in t and f"mode {c.mode}" in t and ("esn" in re.findall(r"flag .*", t + "\nflag")[0]) == seen[0][2] for t in texts):
                failed[c.name] = f"the kernel has {texts}"


def round_of(r, site, role):
    """All cases, begun by one side and rekeyed by the other. {case: cell of the table}"""
    failed = dict.fromkeys(TITLE, "")
    differ = lambda c: ikev2.differ(site.culvert, site.strongswan, c.name)
    for c in CASES:
        ok, detail = site.culvert.initiate(c.name, "net") if role == "Culvert" else site.strongswan.initiate(c.name)
        if not ok:
            failed[c.name] = f"not established: {str(detail).strip()[-200:]}"
    time.sleep(1)
    looks(site, failed)
    for c in CASES:
        if failed[c.name]:
            continue
        old = ikev2.in_use(site.culvert, c.name)[1]
        if role == "Culvert":
            site.strongswan.swanctl("rekey", "--child", c.name)
        else:
            site.culvert.result("rekey", f"{c.name}/net")
        try:
            wait_for(lambda: not ikev2.in_use(site.culvert, c.name)[1] & old and not differ(c), 10, "it")
        except LabError:
            failed[c.name] = f"not rekeyed: {differ(c)}"
    looks(site, failed)
    for name, detail in failed.items():
        r.check(f"{TITLE[name]}, {role} begins, the other side rekeys", not detail, detail)
    return {name: "FAIL" if detail else "ok" for name, detail in failed.items()}


def roams(r, site, c):
    """The guest loses its address, and takes another one: native ESP goes along, under the same SAs."""
    before = ikev2.in_use(site.culvert, c.name)
    site.guest.script(f"ip addr del 10.9.2.{c.number}/16 dev vec0")
    arrived = f"The CHILD SAs are at {CULVERT}:4500 - {ELSEWHERE}:4500 (no NAT)"
    try:
        wait_for(lambda: arrived in site.culvert.log(), 30, "Linux elsewhere")
    except LabError as error:
        return r.check("Linux roams", False, f"{error}: {site.culvert.log()[-800:]}")
    answered = pings(site.guest, SIZES, COUNT, [("out", f"10.2.{c.number}.1", HOST)]) + pings(site.host, SIZES, COUNT, [("in", HOST, f"10.2.{c.number}.1")])
    r.check("Linux roams: pings go on", answered["out"] == answered["in"] == len(SIZES) * COUNT, str(answered))
    r.check("... under the same SAs, here and there", ikev2.in_use(site.culvert, c.name) == before and not ikev2.differ(site.culvert, site.strongswan, c.name),
            f"{before} {ikev2.in_use(site.culvert, c.name)} {ikev2.differ(site.culvert, site.strongswan, c.name)}")
    r.check("... in native ESP", [sa["encap"] for sa in site.culvert.child_sas(c.name)] == ["native"], str(site.culvert.child_sas(c.name))[:300])


def body(r, lab):
    if uml.why_not():
        r.skip("IKEv2 with the Linux kernel", uml.why_not())
        return
    site = Site(lab).start()
    rows = {}
    for role in "Culvert", "Linux":
        rows[role] = round_of(r, site, role)
        ports = {c.name: {sa["remote"].rsplit(":", 1)[1] for sa in site.culvert.ike_sas(c.name) if sa["state"] == "established"} for c in CASES}
        r.check(f"{role} begins: without a NAT it stays on port 500, but for MOBIKE",
                all(ports[c.name] == {"4500" if mobile(c) and (role == "Linux" or c.mode == "tunnel") else "500"} for c in CASES), ports)
        if role == "Linux":
            roams(r, site, ROAMER)
        for c in CASES:
            site.culvert.terminate(c.name) if role == "Linux" else site.strongswan.terminate(c.name)
        try:
            wait_for(lambda: not site.kernel() and not site.culvert.child_sas(), 10, "the end of all", step=0.3)
            r.check(f"{'Linux' if role == 'Culvert' else 'Culvert'} ends all: nothing is left", True)
        except LabError as error:
            r.check(f"{'Linux' if role == 'Culvert' else 'Culvert'} ends all: nothing is left", False, f"{error}: {site.kernel()} {site.culvert.child_sas()}")
    r.table(["case", "Culvert begins", "Linux begins"], [[TITLE[c.name], rows["Culvert"][c.name], rows["Linux"][c.name]] for c in CASES])
    errors = site.guest.xfrm_errors()
    r.check("the kernel's IPsec refused nothing", not errors, errors)


report.run("ikev2_native", body)

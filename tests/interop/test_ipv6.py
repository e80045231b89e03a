#!/usr/bin/python3
"""IPv6 against the Linux kernel and strongSwan: every combination of families inside and outside, natively and in UDP, ESP and AH, both modes.

Time limit: 120 s
strongSwan in a User Mode Linux guest with the kernel's own ESP and AH. IKE itself runs over IPv6 where the tunnel does, with messages in IP
fragments where they are long. Each case in both roles, with pings of 56, 1,000 and, in tunnel mode, of as much as fits, both ways; TCP both
ways over one IPv6 tunnel; what is too large is told its size. The kernel's counters must be Culvert's, and its IPsec must have refused nothing.

    host 10.1.0.10, fd00:1::10 -- in0 [Culvert] gw0 10.9.0.1, fd00:9::1 ---- wire ---- vec0 10.9.0.2, fd00:9::2, fd00:9:2::N [Linux guest], 10.2.N.1, fd00:2:N::1 on lo
"""
import collections
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan, uml  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import pings  # noqa: E402

SIZES, COUNT = (56, 1000), 2
OUR, THEIR, HOST = {4: "10.9.0.1", 6: "fd00:9::1"}, {4: "10.9.0.2", 6: "fd00:9::2"}, {4: "10.1.0.10", 6: "fd00:1::10"}
NET = {4: "10.1.0.0/16", 6: "fd00:1::/64"}
Case = collections.namedtuple("Case", "number name outer inner proposal protocol mode encap")
ROWS = [(6, 6, "aes128gcm16", "esp", "tunnel", False), (6, 4, "aes128gcm16", "esp", "tunnel", False), (4, 6, "aes128gcm16", "esp", "tunnel", False),
        (6, 6, "aes256-sha256", "esp", "tunnel", True), (6, 4, "aes256gcm16-esn", "esp", "tunnel", True), (4, 6, "aes128-sha1", "esp", "tunnel", True),
        (6, 6, "aes256gcm16-ecp256-esn", "esp", "tunnel", False), (6, 6, "aes128gmac", "esp", "tunnel", False), (6, 6, "aes256ctr-sha512", "esp", "tunnel", False),
        (6, 6, "sha256", "ah", "tunnel", False), (6, 4, "sha512-esn", "ah", "tunnel", False), (4, 6, "sha1", "ah", "tunnel", False),
        (6, 6, "aes128gcm16", "esp", "transport", False), (6, 6, "aes256-sha384", "esp", "transport", True), (6, 6, "sha256", "ah", "transport", False)]
CASES = [Case(n, f"c{n}", *row) for n, row in enumerate(ROWS, 1)]
TITLE = {c.name: f"IPv{c.inner} in IPv{c.outer}, {c.protocol.upper()} {c.proposal}, {c.mode}{', UDP' if c.encap else ''}" for c in CASES}


def inside(case):
    """Of the guest: (the address that is pinged, its net)"""
    if case.mode == "transport":
        return address(case), f"{address(case)}/128"
    return (f"10.2.{case.number}.1", f"10.2.{case.number}.0/24") if case.inner == 4 else (f"fd00:2:{case.number}::1", f"fd00:2:{case.number}::/64")


def address(case):
    """The guest's outer address: of each case with `encap` or in transport mode its own."""
    if case.mode == "tunnel" and not case.encap:
        return THEIR[case.outer]
    return f"10.9.2.{case.number}" if case.outer == 4 else f"fd00:9:2::{case.number}"


def connection_of(case):
    return case.name if case.mode == "transport" or case.encap else f"over-ipv{case.outer}"


class Site:
    def __init__(self, lab):
        self.host, self.gw = lab.namespaces("host-a", "gw-a")
        self.outside = lab.namespace("peer")
        self.host.sysctl(**{"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.default.disable_ipv6": 0, "net.ipv6.conf.default.accept_dad": 0})
        lab.link(self.host, "h0", "10.1.0.10/16", self.gw, "in0", None)
        self.host.address("h0", "fd00:1::10/64")
        self.host.route("default", "10.1.0.1")
        self.host.sh("ip", "-6", "route", "add", "default", "via", "fd00:1::1")
        lab.link(self.gw, "gw0", None, self.outside, "peer0", "")
        self.guest = uml.Guest(lab, self.outside, "linux", ["peer0"])
        ports = {"wan": ("gw0", ["10.9.0.1/16", "fd00:9::1/64"]), "lan": ("in0", ["10.1.0.1/16", "fd00:1::1/64"])}
        routes = [{"to": "10.2.0.0/16", "via": THEIR[4]}, {"to": "fd00:2::/32", "via": THEIR[6]}, {"to": "fd00:9:2::/64", "via": THEIR[6]}]
        self.culvert = gateway.Gateway(lab, self.gw, "culvert", ports, routes)
        secret, ours, theirs = self.culvert.secret(sites.SECRET), sites.IDENTITY["a"], sites.IDENTITY["b"]
        connections, peers = {}, {}
        for name in dict.fromkeys(map(connection_of, CASES)):
            mine = [c for c in CASES if connection_of(c) == name]
            outer, identity = mine[0].outer, theirs if len(mine) > 1 else f"{name}.example"
            children, their_children = {}, {}
            for c in mine:
                local = f"{OUR[6]}/128" if c.mode == "transport" else NET[c.inner]
                key = f"{c.protocol}_proposals"
                children[c.name] = {"local_ts": local, "remote_ts": inside(c)[1], key: [c.proposal], "mode": c.mode}
                their_children[c.name] = {"local_ts": inside(c)[1], "remote_ts": local, key: c.proposal, "mode": c.mode}
            weak = ["aes128gmac"] if any("gmac" in c.proposal for c in mine) else []
            more = {"encap": True} if mine[0].encap else {}
            connections[name] = gateway.connection(OUR[outer], address(mine[0]), ours, identity, sites.IKE_SUITE, secret, children, allow_weak=weak, **more)
            peers[name] = strongswan.connection(address(mine[0]), OUR[outer], identity, ours, sites.IKE_SUITE, their_children, **({"encap": "yes"} if more else {}))
        self.culvert.config["connections"] = connections
        self.culvert.write()
        self.strongswan = strongswan.StrongSwan(lab, self.guest, "strongswan", peers, sites.SECRET, kernel="kernel-netlink")

    def start(self):
        self.guest.power_on()
        self.culvert.start()
        self.guest.ready(90)
        self.guest.sysctl(**{"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.default.disable_ipv6": 0, "net.ipv6.conf.all.accept_dad": 0,
                             "net.ipv6.conf.default.accept_dad": 0})
        own = [c for c in CASES if address(c) != THEIR[c.outer]]
        self.guest.address("vec0", "10.9.0.2/16", "fd00:9::2/64", *(f"{address(c)}/{16 if c.outer == 4 else 64}" for c in own))
        self.guest.address("lo", *(f"{inside(c)[0]}/{32 if c.inner == 4 else 128}" for c in CASES if c.mode == "tunnel"))
        self.guest.route("default", OUR[4])
        self.guest.sh("ip", "-6", "route", "add", "default", "via", OUR[6])
        self.strongswan.start()
        return self

    def states(self):
        return {s["spi"]: s for s in uml.parse_xfrm_states(self.guest.script("ip -s xfrm state"))}


def compare(site, case, answered, states, listed):
    """'' or what is wrong with an SA pair."""
    packets = (2 if case.mode == "tunnel" else 1) * len(SIZES) * COUNT
    if answered[case.name] != packets:
        return f"{answered[case.name]} of {packets} pings were answered"
    if case.name not in listed:
        return "strongSwan does not list it as installed"
    for direction in "in", "out":
        state = states.get(int(listed[case.name][f"spi-{direction}"], 16), {"packets": None, "failed": 0, "replayed": 0})
        if (state["packets"], state["failed"], state["replayed"]) != (packets, 0, 0):
            return f"the kernel's SA {direction}: {state['packets']} packets instead of {packets}, {state['failed']} failed, {state['replayed']} replayed"
    ours = [c for c in site.culvert.child_sas() if c["child"] == case.name and c["state"] == "installed"]
    seen = [(c["protocol"], c["mode"], c["suite"], c["in"]["packets"], c["out"]["packets"]) for c in ours]
    want = (case.protocol, case.mode, case.proposal, packets, packets)
    return "" if seen == [want] else f"Culvert lists {seen}, not {want}"


def round_of(r, site, role):
    """All cases, begun by one side. {case: cell of the table}"""
    failed = {}
    for c in CASES:
        ok, detail = site.culvert.initiate(connection_of(c), c.name) if role == "Culvert" else site.strongswan.initiate(c.name)
        if not ok:
            failed[c.name] = f"not established: {str(detail).strip()[-300:]}"
    time.sleep(1)            # a responder installs its SAs when it has read the third message
    up = [c for c in CASES if c.name not in failed]
    answered = pings(site.guest, SIZES, COUNT, [(c.name, inside(c)[0], HOST[c.inner] if c.mode == "tunnel" else OUR[6]) for c in up])
    answered += pings(site.host, SIZES, COUNT, [(c.name, HOST[c.inner], inside(c)[0]) for c in up if c.mode == "tunnel"])
    time.sleep(0.3)
    states, listed = site.states(), {c["name"]: c for c in site.strongswan.child_sas() if c["state"] == "INSTALLED"}
    cells = {}
    for c in CASES:
        detail = failed.get(c.name) or compare(site, c, answered, states, listed)
        r.check(f"{TITLE[c.name]}, {role} initiates", not detail, detail)
        cells[c.name] = "FAIL" if detail else "ok"
    return cells


def sizes(r, site):
    """What is too large for a tunnel is told so, and what then comes fits (RFC 8201)."""
    for c in (CASES[0], CASES[2]):
        site.host.sh("ip", "-6", "route", "flush", "cache", check=False)
        first = site.host.sh("ping", "-n", "-c", 2, "-i", "0.3", "-W", 2, "-M", "do", "-s", 1452, inside(c)[0], check=False)
        told = re.search(r"Packet too big: mtu=(\d+)|mtu ?=? ?(\d+)", first)
        r.check(f"{TITLE[c.name]}: a ping of 1,500 bytes is told what fits", told is not None, "" if told else first[-300:])
        if told:
            mtu = int(told.group(1) or told.group(2))
            fits = site.host.sh("ping", "-n", "-c", 2, "-i", "0.3", "-W", 3, "-M", "do", "-s", mtu - 48, inside(c)[0], check=False)
            fit = " 2 received" in fits
            r.check(f"{TITLE[c.name]}: and {mtu} bytes do", fit, "" if fit else fits[-300:])


def tcp(r, site):
    """Its connections are over on both sides when it ends: what they still send would be counted as somebody else's."""
    target = inside(CASES[0])[0]
    site.guest.start("iperf3", "iperf3", "-s", "-1", "-B", target)
    wait_for(lambda: ":5201 " in site.guest.sh("ss", "-ltn"), 20, "iperf3 to listen", step=0.2)
    text = site.host.sh("iperf3", "-c", target, "-t", 2, "--bidir", seconds=40, check=False)
    moved = [float(n) for n in re.findall(r"(\d+(?:\.\d+)?) [KMG]?Bytes.*receiver", text)]
    both = len(moved) == 2 and all(moved)
    r.check("TCP both ways over IPv6 in IPv6", both, "" if both else text[-400:])
    def open_ones():
        return [line for where in (site.host, site.guest) for line in where.sh("ss", "-Htan", "state", "connected", "exclude", "time-wait").splitlines() if ":5201" in line]
    try:
        wait_for(lambda: not open_ones(), 20, "the end of all TCP connections", step=0.3)
    except LabError:
        r.check("TCP's connections end", False, open_ones())


def body(r, lab):
    if uml.why_not():
        r.skip("IPv6 against the Linux kernel", uml.why_not())
        return
    site = Site(lab).start()
    first = round_of(r, site, "Culvert")
    sizes(r, site)
    tcp(r, site)
    for name in dict.fromkeys(map(connection_of, CASES)):
        site.culvert.terminate(name)
    end = time.monotonic() + 5              # a busy guest's
    while site.states() and time.monotonic() < end:
        time.sleep(0.2)
    r.check("ended by Culvert: the kernel has no SA left", not site.states())
    second = round_of(r, site, "Linux")
    r.table(["case", "Culvert initiates", "Linux initiates"], [[TITLE[c.name], first[c.name], second[c.name]] for c in CASES])
    errors = site.guest.xfrm_errors()
    r.check("the kernel's IPsec refused nothing", not errors, errors)


report.run("ipv6", body)

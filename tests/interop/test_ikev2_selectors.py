#!/usr/bin/python3
"""IKEv2 with several traffic selectors in one CHILD SA, against strongSwan, both roles: two by three of both families, a part of it, protocols.

Time limit: 150 s
Each CHILD SA is made by Culvert and then by strongSwan. Both must have the same selectors, in one pair of SAs, and the host must reach what is
behind strongSwan by each of them, and nothing beside them. The one of both families is rekeyed by either side under pings to all of its networks:
no echo may be lost, and nothing of them be in clear on the wire. At last culvertd is killed: the SAs carry on, and get a successor with the same
selectors.
"""
import ipaddress
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Capture, Ping, ping, tshark  # noqa: E402

GW, SELF = sites.ADDRESS["a"], sites.NET["a"]
SIX, SIX_HOST, SIX_INSIDE = "fd00:1::/64", "fd00:1::10", "fd00:1::1"
THERE6 = "fd00:2::/64"
# name -> (ours: local, remote; strongSwan's: local, remote; what is agreed, ours - theirs; who answers the host; who does not)
CASES = {
    "wide": ([SELF, SIX], ["10.2.1.0/24", "10.2.2.0/24", THERE6], ["10.2.1.0/24", "10.2.2.0/24", THERE6], [SELF, SIX],
             ([SELF, SIX], ["10.2.1.0/24", "10.2.2.0/24", THERE6]), ["10.2.1.1", "10.2.2.1", "fd00:2::1"], []),
    "less": ([SELF], ["10.2.3.0/24", "10.2.4.0/24"], ["10.2.4.0/24"], ["10.0.0.0/8"], ([SELF], ["10.2.4.0/24"]), ["10.2.4.1"], ["10.2.3.1"]),
    "more": ([SELF], ["10.2.5.0/25", "10.2.6.0/24"], ["10.2.5.0/24", "10.2.6.0/24", "10.2.7.0/24"], [SELF, "192.168.0.0/16"],
             ([SELF], ["10.2.5.0/25", "10.2.6.0/24"]), ["10.2.5.1", "10.2.6.1"], ["10.2.7.1"]),
    "ports": ([SELF + "[icmp]", SELF + "[udp]"], ["10.2.8.0/24[icmp]", "10.2.8.0/24[udp/5000]"], ["10.2.8.0/24[icmp]", "10.2.8.0/24[udp/5000]"],
              [SELF + "[icmp]", SELF + "[udp]"], ([SELF + "[icmp]", SELF + "[udp]"], ["10.2.8.0/24[icmp]", "10.2.8.0/24[udp/5000]"]), ["10.2.8.1"], []),
    "one": ([SELF + "[icmp]"], ["10.2.9.0/24[icmp]"], ["10.2.9.0/24[tcp]", "10.2.9.0/24[icmp]"], [SELF + "[tcp]", SELF + "[icmp]"],
            ([SELF + "[icmp]"], ["10.2.9.0/24[icmp]"]), ["10.2.9.1"], []),
}
NONE, NONE6 = ("10.2.10.0/24", "10.2.11.0/24"), "fd00:a::/64"    # what Culvert has beside what strongSwan has; and of IPv6
TRAP = [SELF], ["10.2.12.0/24", "10.2.13.0/24"]
NUMBER = {name: n for n, name in enumerate([*CASES, "none", "trap"], 1)}


def ours(gw):
    secret = gw.secret(sites.SECRET)

    def one(name, local, remote, **extra):
        return gateway.connection(GW, f"10.9.1.{NUMBER[name]}", sites.IDENTITY["a"], f"{name}.example", sites.IKE_SUITE, secret,
                                  {"net": gateway.child(local, remote, sites.ESP_SUITE, **extra)}, version=2)
    return {name: one(name, case[0], case[1]) for name, case in CASES.items()} | {"none": one("none", [SELF, SIX], [NONE[0], NONE6]), "trap": one("trap", *TRAP, start_action="trap")}


def theirs():
    def one(name, local, remote):
        return strongswan.connection(f"10.9.1.{NUMBER[name]}", GW, f"{name}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                     {name: strongswan.child(",".join(local), ",".join(remote), sites.ESP_SUITE)}, version=2)
    return {name: one(name, case[2], case[3]) for name, case in CASES.items()} | {"none": one("none", [NONE[1]], [SELF]), "trap": one("trap", TRAP[1], TRAP[0])}


def plain(selectors):
    """As a set, in one spelling: strongSwan writes udp/5000 for what we write so, and names of services for ports."""
    found = set()
    for one in selectors:
        network, _, upper = one.strip().rstrip("]").partition("[")
        found.add((str(ipaddress.ip_network(network)), upper.replace("ipv6-icmp", "icmp").replace("commplex-main", "5000")))
    return found


def here(culvert, name):
    """[(local, remote)] of the CHILD SAs in use."""
    return [(plain(c["local_ts"].split(", ")), plain(c["remote_ts"].split(", "))) for c in culvert.child_sas(name, ("installed",))]


def there(peer, name):
    return [(plain(c["remote-ts"]), plain(c["local-ts"])) for c in peer.child_sas(name) if c.get("state") == "INSTALLED"]


def gone(r, site, name):
    site.culvert.terminate(name)
    site.strongswan.terminate(name)
    wait_for(lambda: name not in site.strongswan.list_sas() and not site.culvert.child_sas(name), 20, f"the end of {name}")


def agreed(site, name, expected):
    try:
        return wait_for(lambda: here(site.culvert, name) == [expected] and there(site.strongswan, name) == [expected], 20, "both sides to agree", step=0.2)
    except LabError:
        return False


def source(target):
    return SIX_HOST if ":" in target else sites.HOST["a"]


def both_roles(r, site, name):
    expected = (plain(CASES[name][4][0]), plain(CASES[name][4][1]))
    for who in ("Culvert", "strongSwan"):
        ok, text = site.culvert.initiate(name, "net") if who == "Culvert" else site.strongswan.initiate(name)
        r.check(f"{name}, {who} initiates: it comes up", ok, str(text)[-300:])
        r.check(f"{name}, {who} initiates: one CHILD SA with these selectors, here and there", agreed(site, name, expected),
                f"here {here(site.culvert, name)}, there {there(site.strongswan, name)}, expected {expected}")
        for target in CASES[name][5]:
            r.check(f"{name}, {who} initiates: the host pings {target}", *ping(site.host, target, source(target), count=2, wait=5))
        for target in CASES[name][6]:
            answered, line = ping(site.host, target, source(target), count=2)
            r.check(f"{name}, {who} initiates: ... and not {target}, which strongSwan was not asked for", not answered, line)
        if who == "Culvert" or name != "wide":
            gone(r, site, name)


def rekeyed(r, lab, site):
    """`wide` is up, made by strongSwan."""
    expected = (plain(CASES["wide"][4][0]), plain(CASES["wide"][4][1]))
    wire = Capture(site.outside, "cl0", "wire")
    flows = {target: Ping(site.host, f"to-{n}", target, source(target)) for n, target in enumerate(CASES["wide"][5])}
    for who in ("Culvert", "strongSwan"):
        before = {c["spi_in"] for c in site.culvert.child_sas("wide", ("installed",))}
        if who == "Culvert":
            site.culvert.cli("rekey", "wide/net")
        else:
            site.strongswan.swanctl("rekey", "--child", "wide", check=False)
        new = lambda: len(site.culvert.child_sas("wide")) == 1 and not before & {c["spi_in"] for c in site.culvert.child_sas("wide")}
        r.check(f"rekeyed by {who}: another pair", bool(wait_for(new, 30, "the rekeying", step=0.2)))
        r.check(f"rekeyed by {who}: the selectors are the same", agreed(site, "wide", expected), f"here {here(site.culvert, 'wide')}, there {there(site.strongswan, 'wide')}")
    done = {target: flow.stop() for target, flow in flows.items()}
    wire.stop()
    for target, result in done.items():
        r.check(f"no echo to {target} is lost over the rekeyings", not result.lost and result.dense, f"{result} {result.lost[:20]}")
    clear = tshark(lab, wire.file, "-Y", "(icmp || icmpv6.type == 128 || icmpv6.type == 129) && !esp", "-T", "fields", "-e", "ip.src", "-e", "ipv6.src").split()
    r.check("nothing of it was in clear on the wire", not clear, clear[:5])


def restarted(r, site):
    expected = (plain(CASES["wide"][4][0]), plain(CASES["wide"][4][1]))
    old = {c["spi_out"] for c in site.culvert.child_sas("wide")}
    site.culvert.control.kill()
    site.culvert.start_control(wait=False)

    def listed():
        status, shown = site.culvert.cli("list-sas", "wide")
        left = [o for o in shown["orphans"] if o["direction"] == "in"] if status == 0 else []
        return [(plain(o["local_ts"].split(", ")), plain(o["remote_ts"].split(", "))) for o in left]
    r.check("culvertd was killed: the next one shows all selectors of what is installed", wait_for(listed, 30, "what it shows", step=0.05) == [expected])
    new = lambda: site.culvert.child_sas("wide") and not old & {c["spi_out"] for c in site.culvert.child_sas("wide")}
    r.check("... and there is a successor", bool(wait_for(new, 40, "the successor", step=0.2)))
    r.check("... with the same selectors", agreed(site, "wide", expected), f"here {here(site.culvert, 'wide')}, there {there(site.strongswan, 'wide')}")
    for target in CASES["wide"][5]:
        r.check(f"... and the host pings {target}", *ping(site.host, target, source(target), count=2, wait=5))


def refused(r, site):
    ok, text = site.culvert.initiate("none", "net", seconds=10)
    failure = site.culvert.result("explain", "none")["connections"][0]["failures"][0]
    r.check("nothing in common: strongSwan refuses, and explain says what of", not ok and failure["reason"] == "peer_selector_mismatch" and NONE6 in str(failure), str(failure)[:400])
    ok, text = site.strongswan.initiate("none", seconds=10)
    failure = site.culvert.result("explain", "none")["connections"][0]["failures"][0]
    r.check("... and the other way round", not ok and failure["reason"] == "selector_mismatch" and NONE[1] in str(failure), str(failure)[:400])
    gone(r, site, "none")


def by_a_packet(r, site):
    """Whose own selectors stand in front of what we offer (RFC 7296 section 2.9): strongSwan gives all the same."""
    expected = (plain(TRAP[0]), plain(TRAP[1]))
    ping(site.host, "10.2.13.1", sites.HOST["a"], count=1)
    r.check("a packet brings the child up: one CHILD SA with all selectors", agreed(site, "trap", expected), f"here {here(site.culvert, 'trap')}, there {there(site.strongswan, 'trap')}")
    for target in ("10.2.12.1", "10.2.13.1"):
        r.check(f"... and the host pings {target}", *ping(site.host, target, sites.HOST["a"], count=2, wait=5))
    gone(r, site, "trap")


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, ours, theirs())
    site.culvert.config["ports"]["wan"]["addresses"].append("fd00:9::1/64")
    site.culvert.config["ports"]["lan"]["addresses"].append(f"{SIX_INSIDE}/64")
    site.culvert.config["routes"] += [{"to": THERE6, "via": "fd00:9::2"}]
    for namespace in site.host, site.outside:
        namespace.sysctl(**{"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.default.disable_ipv6": 0, "net.ipv6.conf.all.accept_dad": 0,
                            "net.ipv6.conf.default.accept_dad": 0})
    site.host.sh("ip", "addr", "add", f"{SIX_HOST}/64", "dev", "h0", "nodad")
    site.host.sh("ip", "-6", "route", "add", "default", "via", SIX_INSIDE)
    site.outside.sh("ip", "addr", "add", "fd00:9::2/64", "dev", "cl0", "nodad")
    site.outside.address("lo", "fd00:2::1/64")
    site.culvert.write()
    site.outside.addresses("cl0", [f"10.9.1.{n}/16" for n in NUMBER.values()])
    site.outside.addresses("lo", [f"10.2.{n}.1/24" for n in range(1, 14)])
    site.start()
    for name in [name for name in CASES if name != "wide"] + ["wide"]:
        both_roles(r, site, name)
    by_a_packet(r, site)
    rekeyed(r, lab, site)
    restarted(r, site)
    refused(r, site)


report.run("ikev2_selectors", body)

#!/usr/bin/python3
"""Route-based children, pairs on demand and narrowed selectors, against three strongSwans on one wire.

    host a 10.1.0.10 -- in0 [Culvert] gw0 10.9.0.1 --+-- 10.9.0.2 b: 10.2.0.1         through st0, 0.0.0.0/0 <-> 0.0.0.0/0
                                                      |-- 10.9.0.3 c: 10.3.0.1, 198.51.100.1   through st1, the same selectors
                                                      +-- 10.9.0.4 d: 10.60.0.1, 10.61.0.1, 10.70.5.1   policy children

Time limit: 90 s
st0 comes up when a packet is routed into it, st1 by its peer. Both have the same selectors at the same time; the routes tell them apart. For d a packet
brings up the pair for its selectors and no other; of a child of 10.70.0.0/16 the peer takes 10.70.5.0/24 only, and the rest goes nowhere.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.strongswan import StrongSwan  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

ALL = "0.0.0.0/0"
PEERS = {"b": ("10.9.0.2", ["10.2.0.1/16", "169.254.1.2/30"]), "c": ("10.9.0.3", ["10.3.0.1/16", "198.51.100.1/32"]),
         "d": ("10.9.0.4", ["10.60.0.1/24", "10.61.0.1/24", "10.70.5.1/16"])}
THEIRS = {"b": {"net": ALL}, "c": {"net": ALL}, "d": {"first": "10.60.0.0/24", "second": "10.61.0.0/24", "narrow": "10.70.5.0/24"}}
# Its own packets do not go into its own tunnel, although everything is routed there.
UNMARKED = "plugins { socket-default { fwmark = 0x42 } kernel-netlink { fwmark = !0x42 } }"


def connections(gw):
    secret = gw.secret(sites.SECRET)

    def to(letter, children):
        return {f"to-{letter}": gateway.connection(sites.ADDRESS["a"], PEERS[letter][0], sites.IDENTITY["a"], f"gw-{letter}.example", sites.IKE_SUITE, secret,
                                                   children, dpd_delay=0)}
    routed = lambda tunnel, start: {"net": gateway.child(ALL, ALL, sites.ESP_SUITE, tunnel=tunnel, start_action=start)}
    pairs = {"pairs": gateway.child(sites.NET["a"], ["10.60.0.0/24", "10.61.0.0/24"], sites.ESP_SUITE, start_action="trap"),
             "wide": gateway.child(sites.NET["a"], "10.70.0.0/16", sites.ESP_SUITE, start_action="trap")}
    return {**to("b", routed("st0", "trap")), **to("c", routed("st1", "none")), **to("d", pairs)}


def peer(lab, wan, letter):
    address, inside = PEERS[letter]
    outside = lab.namespace(letter)
    wan.attach(outside, "cl0", f"{address}/16", letter)
    outside.addresses("lo", inside)
    children = {name: strongswan.child(local, ALL if local == ALL else sites.NET["a"], sites.ESP_SUITE) for name, local in THEIRS[letter].items()}
    conn = strongswan.connection(address, sites.ADDRESS["a"], f"gw-{letter}.example", sites.IDENTITY["a"], sites.IKE_SUITE, children)
    return StrongSwan(lab, outside, f"strongswan-{letter}", {"to-a": conn}, sites.SECRET, extra=UNMARKED)


def up(culvert, connection):
    return sorted(c["child"] for c in culvert.child_sas(connection, states=("installed",)))


def reached(host, address):
    """The first packets of a pair on demand are lost."""
    text = host.sh("ping", "-n", "-q", "-c", "1", "-w", "8", "-i", "0.3", address, seconds=15, check=False)
    line = next((found for found in text.splitlines() if "transmitted" in found), text.strip()[-200:])
    return " 1 received" in line, line


def routed(r, culvert, host, peers):
    r.check("a packet that is routed into st0 brings its child up", *reached(host, "10.2.0.1"))
    ok, text = peers["c"].initiate("net")
    r.check("st1's child is begun by its peer", ok, "" if ok else text[-200:])
    for where, address in (("st0", "10.2.0.1"), ("st1", "10.3.0.1"), ("st1, another route", "198.51.100.1")):
        r.check(f"both at the same time: ping through {where}", *ping(host, address))
    selectors = {(c["local_ts"], c["remote_ts"]) for name in ("to-b", "to-c") for c in culvert.child_sas(name)}
    r.check("both have the same selectors, everything", selectors == {(ALL, ALL)}, selectors)
    r.check("ping of our address inside of st0, from the other end", *ping(peers["b"].namespace, "169.254.1.1", source="169.254.1.2"))
    metrics = culvert.metrics()
    tunnels = {s: v for s, v in metrics.items() if s.startswith("culvert_tunnel_up")}
    r.check("metrics name both tunnels", sorted(tunnels.values()) == [1, 1] and any('tunnel="st0"' in s for s in tunnels), tunnels)
    r.check("list-conns names the tunnel", "tunnel st1" in culvert.cli_text("list-conns"))


def lives_on(r, culvert, host):
    before = {c["spi_in"] for c in culvert.child_sas("to-b")}
    culvert.result("rekey", "to-b/net")
    wait_for(lambda: {c["spi_in"] for c in culvert.child_sas("to-b", states=("installed",))} - before, 10, "st0's new pair")
    r.check("ping through st0 after rekeying", *ping(host, "10.2.0.1"))
    culvert.control.kill()
    r.check("ping through st0 without culvertd", *ping(host, "10.2.0.1"))
    culvert.start_control()
    wait_for(lambda: culvert.child_sas("to-b"), 10, "culvertd to find st0's pair")
    r.check("ping through st0 after culvertd's restart", *ping(host, "10.2.0.1"))


def on_demand(r, culvert, host):
    r.check("a packet for the second selector", *reached(host, "10.61.0.1"))
    r.check("brings up that pair alone", up(culvert, "to-d") == ["pairs/1x2"], up(culvert, "to-d"))
    r.check("a packet for the first one", *reached(host, "10.60.0.1"))
    r.check("brings up the other", up(culvert, "to-d") == ["pairs/1x1", "pairs/1x2"], up(culvert, "to-d"))


def narrowed(r, culvert, host):
    r.check("what the peer has narrowed to gets there", *reached(host, "10.70.5.1"))
    remotes = [c["remote_ts"] for c in culvert.child_sas("to-d", states=("installed",)) if c["child"] == "wide"]
    r.check("the pair has the peer's selectors", remotes == ["10.70.5.0/24"], remotes)
    before, sent = culvert.drops(), culvert.metric("culvert_child_packets_total", connection="to-d", child="wide", direction="out")
    ok, _ = ping(host, "10.70.6.1", count=3, interval=0.2)
    after = culvert.drops()
    r.check("what it has left out is dropped here: policy_no_sa", not ok and after["policy_no_sa"] - before["policy_no_sa"] == 3,
            after["policy_no_sa"] - before["policy_no_sa"])
    r.check("and not sent to it", culvert.metric("culvert_child_packets_total", connection="to-d", child="wide", direction="out") == sent)
    time.sleep(1.2)
    r.check("nor is another pair negotiated for it", up(culvert, "to-d").count("wide") == 1, up(culvert, "to-d"))


def down(r, culvert, host, peers, capture):
    peers["c"].terminate("to-a")
    wait_for(lambda: not up(culvert, "to-c"), 10, "st1's child to go")
    ok, _ = ping(host, "10.3.0.1", count=2, interval=0.2)
    r.check("without an SA nothing gets through st1", not ok)
    r.check("st0 is none of that", *ping(host, "10.2.0.1"))
    capture.stop()
    clear = tshark(culvert.lab, capture.file, "-Y", "ip.addr == 10.1.0.0/16 && !esp && !udpencap").splitlines()
    r.check("nothing of the host's was ever in clear on the wan", not clear, clear[:3])


def body(r, lab):
    wan = sites.Wan(lab)
    host, inside = sites.host_and_gateway(lab, "a")
    wan.attach(inside, "gw0", None, "a")
    culvert = sites.culvert(lab, inside, "a", [], tunnels={"st0": {"addresses": ["169.254.1.1/30"]}, "st1": {}})
    culvert.config["routes"] = [{"to": "10.2.0.0/16", "tunnel": "st0"}, {"to": "10.3.0.0/16", "tunnel": "st1"}, {"to": "198.51.100.0/24", "tunnel": "st1"}]
    culvert.config["connections"] = connections(culvert)
    culvert.write()
    peers = {letter: peer(lab, wan, letter) for letter in PEERS}
    for one in peers.values():
        one.start()
    culvert.start()
    capture = Capture(wan.namespace, "to-a", "tunnels-wan")
    routed(r, culvert, host, peers)
    on_demand(r, culvert, host)
    narrowed(r, culvert, host)
    lives_on(r, culvert, host)
    down(r, culvert, host, peers, capture)


report.run("tunnels", body)

#!/usr/bin/python3
"""Many peers: three strongSwans on one %any connection with dynamic selectors, two more behind one NAT address, and a child of two pairs of selectors.

Time limit: 90 s
The three call from addresses of their own and have these for traffic; those behind the NAT have a network each, a part of what the connection allows.
One that asks for what another has is refused. culvertd is killed: what it had it finds again, and policies of peers that leave leave with them.
A strongSwan that crashed says INITIAL-CONTACT when it comes again, and so does a Culvert that has lost all: the other end forgets what was before.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.strongswan import StrongSwan, parse_raw  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

ROAD = {f"road{i}": f"10.9.0.{10 + i}" for i in (1, 2, 3)}
NATTED = {"left": ("192.168.50", "10.50.1"), "right": ("192.168.51", "10.50.2")}
NAT, OFFICE = "10.9.0.254", "10.9.0.20"
RULES = """table ip nat {
  chain post {
    type nat hook postrouting priority 100
    oifname "out0" masquerade random
  }
}
"""


def identity(name):
    return f"{name}.example"


def peer(lab, namespace, name, local, local_ts, remote_ts=sites.NET["a"], child_names=("net",)):
    """A strongSwan that calls the gateway; one child for each of `remote_ts`."""
    remotes = remote_ts if isinstance(remote_ts, list) else [remote_ts]
    children = {c: strongswan.child(local_ts, r, sites.ESP_SUITE) for c, r in zip(child_names, remotes)}
    conn = strongswan.connection(local, sites.ADDRESS["a"], identity(name), sites.IDENTITY["a"], sites.IKE_SUITE, children)
    return StrongSwan(lab, namespace, name, {"to-a": conn}, sites.SECRET)


def connections(gw):
    secret = gw.secret(sites.SECRET)

    def any_peer(remote_id, child):
        return gateway.connection(sites.ADDRESS["a"], "%any", sites.IDENTITY["a"], remote_id, sites.IKE_SUITE, secret, {"net": child}, dpd_delay=0)
    office = gateway.child(["10.1.0.0/24", "10.1.1.0/24"], "10.60.0.0/16", sites.ESP_SUITE)
    return {"roads": any_peer("*.example", gateway.child(sites.NET["a"], ["dynamic", "10.50.0.0/16"], sites.ESP_SUITE)),
            "office": gateway.connection(sites.ADDRESS["a"], OFFICE, sites.IDENTITY["a"], identity("office"), sites.IKE_SUITE, secret,
                                         {"net": office}, dpd_delay=0)}


def behind_nat(lab, wan):
    """Two namespaces behind one box, which has one address outside."""
    box = lab.namespace("nat")
    wan.attach(box, "out0", f"{NAT}/16", "n")
    found = {}
    for index, (name, (inner, network)) in enumerate(NATTED.items()):
        outside = lab.namespace(name)
        lab.link(box, f"in{index}", f"{inner}.1/24", outside, "cl0", f"{inner}.2/24")
        outside.route("default", f"{inner}.1")
        outside.address("lo", f"{network}.1/24")
        found[name] = peer(lab, outside, name, f"{inner}.2", f"{network}.0/24")
    box.sh("nft", "-f", lab.write("nat.nft", RULES))
    return found


def road_warriors(r, culvert, host, roads):
    for name, peer_of in roads.items():
        ok, detail = peer_of.initiate("net")
        r.check(f"{name} establishes", ok, "" if ok else detail[-300:])
    r.check("three peers on one connection", culvert.connection("roads")["peers"] == 3, culvert.connection("roads")["peers"])
    for name, address in ROAD.items():
        r.check(f"{name}: ping by its own policy", *ping(host, address))
    sas = {c["remote_ts"] for c in culvert.child_sas("roads")}
    r.check("each has its own address for selector", sas == {f"{a}/32" for a in ROAD.values()}, sas)


def nat_peers(r, culvert, host, natted):
    for name, peer_of in natted.items():
        ok, detail = peer_of.initiate("net")
        r.check(f"{name}, behind the NAT, establishes", ok, "" if ok else detail[-300:])
    for name, (_, network) in NATTED.items():
        r.check(f"{name}: ping", *ping(host, f"{network}.1"))
    remotes = [s["remote"] for s in culvert.ike_sas("roads") if s["remote"].startswith(NAT)]
    r.check("both have the NAT's address and ports of their own", len(set(remotes)) == 2, remotes)


def thief(r, lab, wan, culvert, host):
    outside = lab.namespace("thief")
    wan.attach(outside, "cl0", "10.9.0.30/16", "t")
    outside.address("lo", "10.50.1.1/24")
    robber = peer(lab, outside, "thief", "10.9.0.30", "10.50.1.0/25").start()
    ok, _ = robber.initiate("net", seconds=4)
    r.check("[attack-I6] who asks for another peer's traffic is refused", not ok)
    r.check("the other one keeps it: ping", *ping(host, "10.50.1.1"))
    text = " ".join(e["event"] for e in culvert.result("log")["events"])
    r.check("the log says so", "Another peer has SAs for these selectors" in text)
    robber.stop()


def office(r, culvert, host, peer_of):
    culvert.result("initiate", "office/net")
    names = sorted(c["child"] for c in culvert.child_sas("office") if c["state"] == "installed")
    r.check("one child, two pairs of selectors, both by one name", names == ["net/1x1", "net/2x1"], names)
    r.check("its first pair: ping", *ping(host, "10.60.0.1"))
    before = {c["spi_in"] for c in culvert.child_sas("office")}
    culvert.result("rekey", "office/net/2x1")
    wait_for(lambda: len({c["spi_in"] for c in culvert.child_sas("office")} - before) == 1, 10, "the second pair's rekeying")
    r.check("one of them can be rekeyed alone", len([c for c in culvert.child_sas("office") if c["state"] == "installed"]) == 2)
    wait_for(lambda: len(culvert.child_sas("office")) == 2 and len(peer_of.child_sas("to-a")) == 2, 20, "the replaced pair to leave")
    told = peer_of.log_text().count("[ HASH D ]")
    culvert.result("terminate", "office/net")
    wait_for(lambda: not peer_of.child_sas("to-a"), 10, "strongSwan to delete both")
    r.check("a Delete of two SPIs ends both pairs at strongSwan, and the ISAKMP SA stays",
            peer_of.log_text().count("[ HASH D ]") == told + 1 and len(peer_of.list_sas()) == 1 and len(culvert.ike_sas("office")) == 1)
    peer_of.terminate("to-a")


def first_contact(r, culvert, host, roads, office):
    roads["road3"].process.kill()
    roads["road3"].start()
    ok, detail = roads["road3"].initiate("net")
    r.check("a peer that crashed comes again", ok, "" if ok else detail[-300:])
    wait_for(lambda: len([c for c in culvert.child_sas("roads") if c["remote_ts"] == ROAD["road3"] + "/32"]) == 1, 20, "its old pair to leave")
    left = sorted(s["remote"].split(":")[0] for s in culvert.ike_sas("roads") if s["state"] != "deleting")
    r.check("... and says INITIAL-CONTACT: what it had before ends, and nobody else's", left == [ROAD["road2"], ROAD["road3"]], left)
    r.check("... and pings", *ping(host, ROAD["road3"]))

    culvert.result("initiate", "office/net")
    before = {name: sa for event in parse_raw(office.swanctl("list-sas", "--raw")) for name, sa in event.items()}
    culvert.control.kill()
    culvert.dataplane.kill()
    culvert.start()
    culvert.result("initiate", "office/net")
    r.check("a Culvert that has lost all says INITIAL-CONTACT to strongSwan", "received INITIAL_CONTACT" in office.log_text())
    sas = parse_raw(office.swanctl("list-sas", "--raw"))
    r.check("... which has one ISAKMP SA with it, a new one", len(sas) == 1 and sas[0]["to-a"]["uniqueid"] != before["to-a"]["uniqueid"], len(sas))
    r.check("... and two pairs", len(office.child_sas("to-a")) == 2 and ping(host, "10.60.0.1")[0], len(office.child_sas("to-a")))


def restart_and_leave(r, culvert, host, roads, natted, capture):
    culvert.control.kill()
    culvert.start_control()
    wait_for(lambda: len(culvert.child_sas("roads")) == 5, 10, "culvertd to find the peers' SAs")
    r.check("after a restart: ping under the SAs of before", *ping(host, ROAD["road2"]))
    roads["road2"].terminate("to-a")
    ok, detail = roads["road2"].initiate("net")
    r.check("road2 comes again and takes its place", ok, "" if ok else detail[-300:])
    r.check("road2: ping", *ping(host, ROAD["road2"]))
    for peer_of in [*roads.values(), *natted.values()]:
        peer_of.terminate("to-a")
    time.sleep(0.5)
    ok, _ = ping(host, ROAD["road1"], count=2, interval=0.2)
    r.check("who has left gets nothing", not ok)
    capture.stop()
    clear = tshark(culvert.lab, capture.file, "-Y", f"ip.src == {sites.HOST['a']} && !esp && !udpencap").splitlines()
    r.check("nothing of the host's was ever in clear on the wan", not clear, clear[:3])


def body(r, lab):
    wan = sites.Wan(lab)
    host, inside = sites.host_and_gateway(lab, "a")
    wan.attach(inside, "gw0", None, "a")
    culvert = sites.culvert(lab, inside, "a", [])
    culvert.config["routes"] = [{"to": "10.50.0.0/16", "via": NAT}, {"to": "10.60.0.0/16", "via": OFFICE}]
    culvert.config["connections"] = connections(culvert)
    culvert.write()
    roads = {}
    for index, (name, address) in enumerate(ROAD.items()):
        outside = lab.namespace(name)
        wan.attach(outside, "cl0", f"{address}/16", f"r{index}")
        roads[name] = peer(lab, outside, name, address, "dynamic")
    natted = behind_nat(lab, wan)
    outside = lab.namespace("office")
    wan.attach(outside, "cl0", f"{OFFICE}/16", "o")
    outside.address("lo", "10.60.0.1/16")
    theirs = peer(lab, outside, "office", OFFICE, "10.60.0.0/16", ["10.1.0.0/24", "10.1.1.0/24"], ("first", "second"))
    culvert.start()
    for one in [*roads.values(), *natted.values(), theirs]:
        one.start()
    capture = Capture(wan.namespace, "to-a", "peers-wan")
    road_warriors(r, culvert, host, roads)
    nat_peers(r, culvert, host, natted)
    thief(r, lab, wan, culvert, host)
    office(r, culvert, host, theirs)
    restart_and_leave(r, culvert, host, roads, natted, capture)
    again = dict(list(roads.items())[1:])
    for one in again.values():
        one.initiate("net")
    first_contact(r, culvert, host, again, theirs)


report.run("peers", body)

#!/usr/bin/python3
"""Two thousand connections begin at once against one responder, and all come up.

Time limit: 270 s. Runs alone.
From 2,000 addresses (culvert-load, all in the same moment); from one address, told apart by their identities, by a Culvert whose connections all
have start_action: start; and by the same Culvert at strongSwan (without its bound of five half-open negotiations an address). Everything of
ours at its default, the bounds on half-open negotiations included.
"""
import os
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, many, report, sites, strongswan  # noqa: E402
from lib.gateway import Gateway  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

COUNT = int(os.environ.get("CULVERT_MANY", "2000"))
PATIENCE = 80                  # seconds for all of them
STRONGSWANS = 110              # ... at strongSwan, which ends one under way now and then: that is begun anew when its last repetition has waited, after 79 s
HOST_A, HOST_B = many.network(1).split("/")[0], "10.1.0.10"


def up_children(gw):
    return sum(child["up"] for c in gw.result("list-conns")["connections"] for child in c["children"])


def one_address(lab, name, namespace, local, remote, initiator, lan):
    """A gateway whose COUNT connections are all between the same two addresses."""
    inside, outside, address = ("in0", "gw0", local)
    ports = {"wan": (outside, [f"{address}/16"]), "lan": (inside, [lan])}
    gw = Gateway(lab, namespace, name, ports, [{"to": many.INSIDE if initiator else many.NETWORKS, "via": remote}], {}, cpu=0 if initiator else 1)
    secret = gw.secret(sites.SECRET)
    for peer in range(COUNT):
        ours, theirs = ("gateway.example", f"{many.name(peer)}.example")
        ts = (many.INSIDE, many.network(peer))
        if initiator:
            ours, theirs, ts = theirs, ours, ts[::-1]
        gw.config["connections"][many.name(peer)] = gateway.connection(
            local, remote, ours, theirs, many.IKE_SUITE, secret,
            {"net": gateway.child(*ts, many.ESP_SUITE, start_action="start" if initiator else "none")})
    gw.write()
    return gw


def from_many_addresses(r, lab):
    inside = lab.namespace("gw")
    outside = many.peers_namespace(lab, inside)
    gw = many.culvert(lab, inside, COUNT)
    gw.start()
    result = many.load(outside, COUNT, parallel=COUNT, seconds=PATIENCE)
    r.check(f"{COUNT} peers with an address each, all at once: all up", result["up"] == COUNT, result)
    r.check("and at the responder, too", up_children(gw) == COUNT, up_children(gw))
    gw.stop()


def from_one_address(r, lab):
    host_a, gw_a, gw_b, host_b = lab.namespaces("host-a", "gw-a", "gw-b", "host-b")
    lab.link(host_a, "h0", f"{HOST_A}/9", gw_a, "in0", None)
    lab.link(host_b, "h0", f"{HOST_B}/24", gw_b, "in0", None)
    lab.link(gw_a, "gw0", None, gw_b, "gw0", None)
    host_a.route("default", "10.129.0.1")
    host_b.route("default", "10.1.0.1")
    a = one_address(lab, "culvert-a", gw_a, "10.9.0.1", "10.9.0.2", True, "10.129.0.1/9")
    b = one_address(lab, "culvert-b", gw_b, "10.9.0.2", "10.9.0.1", False, "10.1.0.1/24")
    b.start()
    begun = time.monotonic()
    a.start()
    wait_for(lambda: up_children(b) == COUNT or time.monotonic() - begun > PATIENCE, PATIENCE + 5, "the connections", step=1)
    r.check(f"{COUNT} connections from one address, all at once: all up", up_children(b) == COUNT == up_children(a),
            f"{up_children(a)} and {up_children(b)} after {time.monotonic() - begun:.1f} s")
    single = len(a.ike_sas()), len(b.ike_sas())
    r.check("one ISAKMP SA each", single == (COUNT, COUNT), single)
    r.check("and they carry packets", *ping(host_a, HOST_B, count=5))
    b.stop()
    a.stop()


def at_strongswan(r, lab):
    gw_a, outside = lab.namespaces("gw-c", "peer")
    lab.link(gw_a, "gw0", None, outside, "cl0", "10.9.0.2/16")
    host = lab.namespace("host-c")
    lab.link(host, "h0", f"{HOST_A}/9", gw_a, "in0", None)
    outside.address("lo", "10.1.0.1/24")
    conn = strongswan.connection("10.9.0.2", "%any", "gateway.example", "%any", many.IKE_SUITE,
                                 {"net": strongswan.child(many.INSIDE, many.NETWORKS, many.ESP_SUITE)}, unique="never")
    peer = strongswan.StrongSwan(lab, outside, "strongswan", {"many": conn}, sites.SECRET, quiet=True,
                                 extra="dos_protection = no\n  half_open_timeout = 30")     # strongSwan's default: who waits in its queue is not forgotten
    peer.start()
    a = one_address(lab, "culvert-c", gw_a, "10.9.0.1", "10.9.0.2", True, "10.129.0.1/9")
    begun = time.monotonic()
    a.start()
    wait_for(lambda: up_children(a) == COUNT or time.monotonic() - begun > STRONGSWANS, STRONGSWANS + 5, "the connections", step=1)
    r.check(f"{COUNT} connections at strongSwan, all at once: all up", up_children(a) == COUNT, f"{up_children(a)} after {time.monotonic() - begun:.1f} s")
    a.stop()


def body(r, lab):
    from_many_addresses(r, lab)
    from_one_address(r, lab)
    at_strongswan(r, lab)


report.run("many", body)

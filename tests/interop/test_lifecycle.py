#!/usr/bin/python3
"""A connection's life between two Culverts: start by traffic (trap), both sides starting at once, a peer that dies, terminate, rekey by hand.

Time limit: 120 s
Also: what policy says must be protected never crosses the wan in clear, whether a tunnel is up or not (attack-I5).
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import Lab, wait_for  # noqa: E402
from lib.traffic import Capture, Ping, ping, tshark  # noqa: E402

DPD = {"dpd_delay": "1s", "dpd_timeout": "4s"}


def ike_sas(gw):
    """ISAKMP SAs in use; one that was deleted is remembered for a while, to answer a peer that did not hear of it."""
    return [sa for sa in gw.ike_sas() if sa["state"] != "deleting"]


def installed(gw):
    return [c for c in gw.child_sas() if c["state"] == "installed"]


def trap(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(
        gw, letter, peer, start="trap" if letter == "a" else "none", **DPD)).start()
    a, b = two.gateway["a"], two.gateway["b"]
    capture = Capture(two.inside["b"], "gw0", "trap-wan")
    time.sleep(1)
    r.check("trap: nothing is negotiated before there is traffic", not ike_sas(a) and not ike_sas(b))
    ok, line = ping(two.host["a"], sites.HOST["b"], count=6, interval=0.5)
    up = wait_for(lambda: a.child_up("to-b", "net"), 10, "the tunnel that traffic starts")
    r.check("trap: the first packet starts the tunnel", up, line)
    r.check("trap: ping", *ping(two.host["a"], sites.HOST["b"]))

    old = {c["spi_out"] for c in a.child_sas()}
    flow = Ping(two.host["a"], "by-hand", sites.HOST["b"])
    time.sleep(0.5)
    a.result("rekey", "to-b/net")
    wait_for(lambda: len(installed(a)) == 1 and not old & {c["spi_out"] for c in a.child_sas()}, 15, "the rekeyed child")
    ike = {s["initiator_spi"] for s in a.ike_sas() if s["state"] == "established"}
    a.result("rekey", "to-b", "--ike")
    wait_for(lambda: {s["initiator_spi"] for s in a.ike_sas() if s["state"] == "established"} - ike, 15, "the replaced ISAKMP SA")
    time.sleep(1)
    result = flow.stop()
    r.check("rekey by hand, child and ISAKMP SA: no echo lost", not result.lost, result)

    b.control.kill()
    b.dataplane.kill()
    begun = time.monotonic()
    wait_for(lambda: not a.connection("to-b")["up"], 20, "dead-peer detection")
    took = time.monotonic() - begun
    failure = a.connection("to-b")["failure"] or {}
    r.check("a peer that dies is noticed in time", took <= 8, f"{took:.1f} s with dpd_delay 1 s and dpd_timeout 4 s: {failure.get('reason')}")
    r.check("its SAs are removed", not installed(a))
    ok, line = ping(two.host["a"], sites.HOST["b"], count=2, interval=0.2)
    r.check("no answer while it is dead", not ok, line)
    b.start()
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0], 40, "the tunnel after the peer's return", step=0.5)
    r.check("traffic brings it back when the peer is back", True)
    a.terminate("to-b")
    wait_for(lambda: not a.child_sas() and not b.child_sas(), 10, "the end on both sides")
    r.check("terminate removes it on both sides", not ike_sas(b), f"{len(ike_sas(b))} ISAKMP SAs left at b")
    capture.stop()
    clear = tshark(lab, capture.file, "-Y", "icmp && !esp").splitlines()
    r.check("nothing crossed the wan in clear in all of this", not clear, "; ".join(clear[:2]))


def both_at_once(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(gw, letter, peer))
    two.start()
    a, b = two.gateway["a"], two.gateway["b"]
    for attempt in range(1, 6):
        for gw in (a, b):
            gw.cli("initiate", "to-b/net" if gw is a else "to-a/net", "--timeout", 0)
        wait_for(lambda: a.child_up("to-b", "net") and b.child_up("to-a", "net"), 15, "both sides up")
        ok, line = ping(two.host["a"], sites.HOST["b"], count=5, interval=0.1)
        back, _ = ping(two.host["b"], sites.HOST["a"], count=5, interval=0.1)
        r.check(f"both sides start at once, time {attempt}", ok and back, f"{line}; {len(ike_sas(a))} ISAKMP SAs, {len(installed(a))} pairs of SAs")
        a.terminate("to-b")
        b.terminate("to-a")
        wait_for(lambda: not a.child_sas() and not b.child_sas() and not ike_sas(a) and not ike_sas(b), 15, "a clean table")


def body(r, lab):
    for name, part in (("trap", trap), ("both", both_at_once)):
        with Lab(f"lifecycle-{name}", tag=f"{lab.tag}-{name[:2]}") as own:
            before = r.failed
            part(r, own)
            own.failed = r.failed > before


report.run("lifecycle", body)

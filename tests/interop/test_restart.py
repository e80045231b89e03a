#!/usr/bin/python3
"""SIGKILL of culvertd ten times under a ping every 10 ms or more often: no echo is lost before, during or after its return.

Time limit: 240 s
Two Culverts; the culvertd of a is killed while pings run both ways, stays away for a moment, returns, takes over what is installed and
brings the connection to the wanted state; then the next round. The data plane's pid must stay, and nothing may be left installed twice.
"""
import os
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

ROUNDS = int(os.environ.get("CULVERT_RESTARTS", "10"))
AWAY, GRACE = 1.0, 8.0               # seconds: how long it is gone; how long old SAs may outlive their successors


def body(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(
        gw, letter, peer, start="start" if letter == "a" else "none", dpd_delay="5s", dpd_timeout="15s")).start()
    a = two.gateway["a"]
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0], 20, "the first echo")
    there, back = Ping(two.host["a"], "ab", sites.HOST["b"]), Ping(two.host["b"], "ba", sites.HOST["a"])
    dataplane = a.dataplane.pid
    rows = []
    for number in range(1, ROUNDS + 1):
        time.sleep(0.5)
        old = {c["spi_out"] for c in a.child_sas()}
        a.control.kill()
        time.sleep(AWAY)
        begun = time.monotonic()
        a.start_control()
        attached = time.monotonic() - begun
        wait_for(lambda: a.child_up("to-b", "net"), 20, "the connection after culvertd's return")
        wanted = time.monotonic() - begun
        wait_for(lambda: len(a.child_sas()) == 1 and not old & {c["spi_out"] for c in a.child_sas()}, GRACE + 12, "the end of the orphaned SAs")
        rows.append([number, f"{attached:.2f}", f"{wanted:.2f}", f"{time.monotonic() - begun:.2f}"])
    b = two.gateway["b"]
    wait_for(lambda: len(a.child_sas()) == 1 and len(b.child_sas()) == 1, GRACE, "the end of the last old pair")
    first, second = there.stop(), back.stop()
    r.table(["kill", "answers again (s)", "connection up (s)", "orphans gone (s)"], rows)
    r.check(f"{ROUNDS} kills: no echo lost from a to b", not first.lost and first.dense, first)
    r.check(f"{ROUNDS} kills: no echo lost from b to a", not second.lost and second.dense, second)
    r.check("the data plane is the same process", a.dataplane.alive() and a.dataplane.pid == dataplane, a.dataplane.pid)
    r.check("one pair of SAs on each side at the end", len(a.child_sas()) == 1 and len(b.child_sas()) == 1,
            f"{len(a.child_sas())} and {len(b.child_sas())}")


report.run("restart", body)

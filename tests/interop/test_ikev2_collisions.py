#!/usr/bin/python3
"""IKEv2: both sides do the same, or something that rules it out, at the same moment: rekey, delete, begin. With strongSwan, and two Culverts.

Time limit: 300 s
Each round two commands are given at once, one on each side, in all combinations of what is to be rekeyed (RFC 7296 §2.8.1, §2.8.2, §2.25). After each
there must be one IKE SA and one CHILD SA, the same on both sides; a ping each 6 ms runs through all of it, and none may be lost on our account.
"""
import os
import sys
import threading
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import ikev2, parts, report, sites  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

ROUNDS = int(os.environ.get("CULVERT_COLLISION_ROUNDS", "8"))
PATIENCE, THEIR_PATIENCE = 10, 30       # seconds: strongSwan waits for up to 25 when it was refused for the time being (RFC 7296 §2.25)
SETTLE, TURN = 20, 45            # seconds for two IKE SAs to become one: where both sides see to it, where one does not
WHAT = ("child", "child"), ("ike", "ike"), ("child", "ike"), ("ike", "child")
THEY_BEGIN = {"ike": r"generating CREATE_CHILD_SA request \d+ \[ SA No KE", "child": r"generating CREATE_CHILD_SA request \d+ \[ N\(REKEY_SA\)"}
LONG = {"rekey_time": "1h", "life_time": "2h", "rand_time": "0s"}


def culvert_rekeys(gw, name, what):
    gw.cli("rekey", *((name, "--ike") if what == "ike" else (f"{name}/net",)))


def at_once(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def collide(r, title, patience, here, there, ours, agree):
    """`here` and `there` rekey what they are told; `ours()` is what is in use; `agree()` says '' when all is well. What took how long."""
    most, failed, took = (0, 0), [], []
    for number in range(ROUNDS):
        for mine, other in WHAT:
            old, begun = ours(), time.monotonic()
            delay = 0.004 * (number % 8)
            first = (lambda: here(mine), lambda: (time.sleep(delay), there(other))) if number % 2 else (lambda: (time.sleep(delay), here(mine)), lambda: there(other))
            at_once(*first)
            def settled():
                nonlocal most
                now = ours()
                most = tuple(max(m, len(n)) for m, n in zip(most, now))
                changed = all(not now[0 if what == "ike" else 1] & old[0 if what == "ike" else 1] for what in (mine, other))
                return changed and not agree()
            try:
                wait_for(settled, patience, "one of each, and new ones")
                took.append(time.monotonic() - begun)
            except LabError:
                failed.append(f"{mine} and {other}, round {number + 1}: {agree() or 'not rekeyed'}")
    r.check(f"{title}: after each of {ROUNDS * len(WHAT)} collisions what was to be rekeyed is, once", not failed,
            "; ".join(failed) or f"settled within {max(took):.1f} s; at most {most} IKE SAs and CHILD SAs in use")


def one_stays(r, title, seconds, agree, host, target):
    """Both began at once and may have an IKE SA each: in time one goes, and no echo with it."""
    begun, first, flow = time.monotonic(), agree() or "one of each at once", Ping(host, "twins", target)
    try:
        wait_for(lambda: not agree(), seconds, "one of each", step=0.3)
        r.check(f"{title}: both have begun at once, and in time there is one of each", True, f"{time.monotonic() - begun:.0f} s; at first {first}")
    except LabError:
        r.check(f"{title}: both have begun at once, and in time there is one of each", False, agree())
    time.sleep(1)
    result = flow.stop()
    r.check(f"{title}: no echo lost meanwhile", not result.lost, f"{result}: {result.lost[:20]}")


def with_strongswan(r, lab):
    site = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", version=2, child_settings=LONG, rekey_time="4h"),
                                      sites.strongswan_connection("b", "a", version=2, child_settings=LONG)).start()
    ok, detail = site.culvert.initiate("to-b", "net")
    if not ok:
        raise LabError(detail)
    wait_for(lambda: ping(site.host, sites.INSIDE["b"], count=1)[0], 5, "the first echo")
    flow = Ping(site.host, "there", sites.INSIDE["b"])
    lost = []
    def theirs(what):
        """strongSwan forgets what it is told while the IKE SA is being replaced: it is told again then."""
        for _ in range(5):
            begun = site.strongswan.logged(THEY_BEGIN[what])
            site.strongswan.swanctl("rekey", f"--{what}", "to-a" if what == "ike" else "net", check=False)
            try:
                return wait_for(lambda: site.strongswan.logged(THEY_BEGIN[what]) > begun, 2, "strongSwan to begin")
            except LabError:
                lost.append(what)
    collide(r, "with strongSwan", THEIR_PATIENCE, lambda what: culvert_rekeys(site.culvert, "to-b", what), theirs, lambda: ikev2.in_use(site.culvert, "to-b"),
            lambda: ikev2.differ(site.culvert, site.strongswan, "to-b", "to-a"))
    result = flow.stop()
    r.check("with strongSwan: no echo lost", not result.lost, f"{result}: {result.lost[:20]}")
    r.note(f"with strongSwan: {[(e['exchange'], e['role'], e['reason'], e['count']) for e in site.culvert.result('counters')['exchanges']]}")
    r.note(f"commands that strongSwan forgot: {lost}")
    r.note(f"drops { {reason: n for reason, n in site.culvert.drops().items() if n} }")
    for number in range(3):
        at_once(lambda: site.culvert.terminate("to-b"), lambda: site.strongswan.terminate("to-a"))
        wait_for(lambda: not ikev2.in_use(site.culvert, "to-b")[0] and not site.strongswan.list_sas(), 10, "the end of both")
        at_once(lambda: site.culvert.initiate("to-b", "net"), lambda: site.strongswan.initiate("net"))
        wait_for(lambda: site.culvert.child_up("to-b", "net"), 10, "a tunnel")
        r.check(f"with strongSwan: both end at once, both begin at once, time {number + 1}: pings", *ping(site.host, sites.INSIDE["b"], count=10))
    one_stays(r, "with strongSwan", TURN, lambda: ikev2.differ(site.culvert, site.strongswan, "to-b", "to-a"), site.host, sites.INSIDE["b"])


def two_culverts(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(gw, letter, peer, version=2, child_settings=LONG)).start()
    a, b = two.gateway["a"], two.gateway["b"]
    ok, detail = a.initiate("to-b", "net")
    if not ok:
        raise LabError(detail)
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1)[0], 5, "the first echo")
    flow, back = Ping(two.host["a"], "ab", sites.HOST["b"]), Ping(two.host["b"], "ba", sites.HOST["a"])
    def agree():
        here, there = ikev2.in_use(a, "to-b"), ikev2.in_use(b, "to-a")
        same = here == (there[0], {(o, i) for i, o in there[1]}) and len(here[0]) == len(here[1]) == 1
        return "" if same else f"here {ikev2.spis(here)}, there {ikev2.spis(there)}"
    collide(r, "two Culverts", PATIENCE, lambda what: culvert_rekeys(a, "to-b", what), lambda what: culvert_rekeys(b, "to-a", what), lambda: ikev2.in_use(a, "to-b"), agree)
    there, here = flow.stop(), back.stop()
    r.check("two Culverts: no echo lost from a to b", not there.lost, f"{there}: {there.lost[:20]}")
    r.check("two Culverts: no echo lost from b to a", not here.lost, f"{here}: {here.lost[:20]}")
    for number in range(5):
        at_once(lambda: a.terminate("to-b"), lambda: b.terminate("to-a"))
        wait_for(lambda: not a.child_sas() and not b.child_sas() and not [s for gw in (a, b) for s in gw.ike_sas() if s["state"] != "deleting"], 15, "a clean table")
        at_once(lambda: a.initiate("to-b", "net"), lambda: b.initiate("to-a", "net"))
        both = ping(two.host["a"], sites.HOST["b"], count=10), ping(two.host["b"], sites.HOST["a"], count=10)
        r.check(f"two Culverts: both end at once, both begin at once, time {number + 1}: pings", both[0][0] and both[1][0], f"{both[0][1]}; {both[1][1]}")
    one_stays(r, "two Culverts", SETTLE, agree, two.host["a"], sites.HOST["b"])


def body(r, lab):
    parts.at_once(r, lab, (("strongswan", with_strongswan), ("culverts", two_culverts)))


report.run("ikev2_collisions", body)

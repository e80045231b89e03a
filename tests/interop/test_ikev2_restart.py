#!/usr/bin/python3
"""IKEv2 between two Culverts, and with strongSwan: SIGKILL of culvertd under a ping every 10 ms or more often, and of the data plane.

Time limit: 200 s
No echo is lost while culvertd is away, when it takes over what is installed, and when it makes successors; what it had before ends on both sides. A data
plane that ends takes its SAs along: all is up again when it is back. Also: a culvertd that ends in order tells its peers. strongSwan drops what a former
culvertd had when it reads INITIAL_CONTACT, before we have its answer: echoes that are under way then may be lost there, and a capture says how many those are.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import ikev2, report, sites  # noqa: E402
from lib.lab import Lab, LabError, wait_for  # noqa: E402
from lib.traffic import Capture, Ping, ping  # noqa: E402

ROUNDS, AWAY = 3, 1.0
DPD = {"dpd_delay": "5s"}


def settled(condition, seconds):
    try:
        return bool(wait_for(condition, seconds, "it", step=0.2))
    except LabError:
        return False


def restarts(r, title, gw, flows, agree, under_way=lambda: 0):
    """Kills the gateway's culvertd under the pings that flows() starts; agree() says '' when one of each is left, under_way() how many may be lost."""
    running, dataplane, rows = flows(), gw.dataplane.pid, []
    for number in range(1, ROUNDS + 1):
        time.sleep(0.5)
        old = {c["spi_out"] for c in gw.child_sas()}
        gw.control.kill()
        time.sleep(AWAY)
        begun = time.monotonic()
        gw.start_control()
        wait_for(lambda: gw.child_up("to-b", "net"), 20, "the connection after culvertd's return")
        wanted = time.monotonic() - begun
        clean = settled(lambda: not agree() and not old & {c["spi_out"] for c in gw.child_sas()}, 25)
        rows.append([number, f"{wanted:.2f}", f"{time.monotonic() - begun:.2f}"])
        r.check(f"{title}: kill {number}: one of each is left, a new one, here and there", clean, agree())
    r.table(["kill", "connection up (s)", "old ones gone (s)"], rows)
    results = {name: flow.stop() for name, flow in running.items()}
    allowed = under_way()
    for name, result in results.items():
        r.check(f"{title}: {ROUNDS} kills: no echo is lost {name}{' but of those under way' if allowed else ''}", len(result.lost) <= allowed and result.dense,
                f"{result} {result.lost[:20]}{f', {allowed} under way' if allowed else ''}")
    r.check(f"{title}: the data plane is the same process", gw.dataplane.alive() and gw.dataplane.pid == dataplane)


def two_culverts(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(gw, letter, peer, start="start" if letter == "a" else "none", version=2, **DPD)).start()
    a, b = two.gateway["a"], two.gateway["b"]
    def agree():
        here, there = ikev2.in_use(a, "to-b"), ikev2.in_use(b, "to-a")
        extra = len(a.child_sas()) + len(b.child_sas()) != 2
        same = here == (there[0], {(o, i) for i, o in there[1]}) and len(here[0]) == len(here[1]) == 1
        return "" if same and not extra else f"here {ikev2.spis(here)}, there {ikev2.spis(there)}; {len(a.child_sas())} and {len(b.child_sas())} of all states"
    def first_echo():
        return ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0]
    wait_for(first_echo, 20, "the first echo")
    restarts(r, "two Culverts", a, lambda: {"from a to b": Ping(two.host["a"], "ab", sites.HOST["b"]), "from b to a": Ping(two.host["b"], "ba", sites.HOST["a"])}, agree)
    a.dataplane.kill()
    wait_for(lambda: not a.cli("version")[1]["dataplane"]["connected"], 10, "culvertd to see it")
    a.start_dataplane()
    begun = time.monotonic()
    r.check("a's data plane was killed: the tunnel is up again when it is back", settled(first_echo, 20), f"{time.monotonic() - begun:.1f} s")
    r.check("... with one of each", settled(lambda: not agree(), 15), agree())
    b.dataplane.kill()
    wait_for(lambda: not b.cli("version")[1]["dataplane"]["connected"], 10, "culvertd to see it")
    b.start_dataplane()
    begun = time.monotonic()
    r.check("b's data plane was killed, who does not begin: the tunnel is up again when it is back", settled(first_echo, 20), f"{time.monotonic() - begun:.1f} s")
    r.check("... with one of each", settled(lambda: not agree(), 15), agree())
    a.control.stop()
    r.check("a's culvertd ends in order: b has nothing left", settled(lambda: not b.child_sas() and not [s for s in b.ike_sas() if s["state"] != "deleting"], 8))
    a.start_control()
    r.check("... and it is up again when it is back", settled(lambda: first_echo() and not agree(), 20), agree())


def with_strongswan(r, lab):
    site = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", start="start", version=2, **DPD), sites.strongswan_connection("b", "a", version=2)).start()
    wait_for(lambda: ping(site.host, sites.INSIDE["b"], count=1, wait=0.5)[0], 20, "the first echo")
    capture = Capture(site.outside, "cl0", "outside", "udp port 4500")
    def under_way():
        capture.stop()
        return ikev2.sent_during_ike_auth(capture.file, sites.ADDRESS["a"]) + ROUNDS     # and of each kill one that strongSwan has not read yet
    restarts(r, "with strongSwan", site.culvert, lambda: {"from a to b": Ping(site.host, "there", sites.INSIDE["b"])},
             lambda: ikev2.differ(site.culvert, site.strongswan, "to-b", "to-a") or ("" if len(ikev2.their_sas(site.strongswan)) == 1 else "more there"), under_way)
    drops = {reason: n for reason, n in site.culvert.drops().items() if n and reason.startswith("esp")}
    r.check("with strongSwan: what is lost is lost there", not drops, drops)


def body(r, lab):
    for name, part in (("culverts", two_culverts), ("strongswan", with_strongswan)):
        with Lab(f"ikev2_restart-{name}", tag=f"{lab.tag}-{name[:2]}") as own:
            before, own.failed = r.failed, True
            part(r, own)
            own.failed = r.failed > before


report.run("ikev2_restart", body)

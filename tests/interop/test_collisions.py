#!/usr/bin/python3
"""Both ends, Culvert and strongSwan, replace the same SAs at the same moment: one of each is left, and no ping is lost by us.

Time limit: 150 s
Mostly waits: a collision is settled within 75 s at most, since neither end can know at once whether the other one will give way. Of four connections
two replace their pair of CHILD SAs and two their ISAKMP SA, at once on both ends; each carries pings meanwhile. Of three more Culvert has just
replaced the ISAKMP SA when strongSwan is told to: it replaces both that there are, at once, and counts its CHILD SAs to one of the successors.
"""
import sys
import threading
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.strongswan import parse_raw  # noqa: E402
from lib.traffic import Ping  # noqa: E402

LONG = {"rekey_time": "1h", "life_time": "2h", "rand_time": "0s"}
KINDS = {"pair-1": "--child", "pair-2": "--child", "isakmp-1": "--ike", "isakmp-2": "--ike", **{f"twice-{n}": "--ike" for n in (1, 2, 3)}}
NUMBER = {name: n for n, name in enumerate(KINDS, 1)}
SECONDS = 75


def make_site(lab):
    ours, theirs = sites.numbered(KINDS, LONG, lambda name: ({}, {}))
    return sites.CulvertAndStrongSwan(lab, ours, theirs).number(NUMBER.values()).start()


def collide(site, name):
    """Both ends replace what `name` is about."""
    if name.startswith("twice"):
        site.culvert.cli("rekey", name, "--ike")
        wait_for(lambda: in_use(site, name)[3] == 2, 10, "strongSwan to have two ISAKMP SAs", step=0.05)
        return site.strongswan.swanctl("rekey", KINDS[name], name, check=False)
    swanctl = threading.Thread(target=lambda: site.strongswan.swanctl("rekey", KINDS[name], name, check=False))
    swanctl.start()
    site.culvert.cli("rekey", *((f"{name}/net",) if KINDS[name] == "--child" else (name, "--ike")))
    swanctl.join()


def in_use(site, name):
    """(pairs here, CHILD SAs there, ISAKMP SAs here, there)"""
    theirs = [sa for event in parse_raw(site.strongswan.swanctl("list-sas", "--raw")) for conn, sa in event.items() if conn == name and sa["state"] == "ESTABLISHED"]
    return (len([c for c in site.culvert.child_sas(name) if c["state"] == "installed"]), sum(c["state"] == "INSTALLED" for sa in theirs for c in sa.get("child-sas", {}).values()),
            len([s for s in site.culvert.ike_sas(name) if s["state"] == "established"]), len(theirs))


def body(r, lab):
    site = make_site(lab)
    for name in NUMBER:
        status, answer = site.culvert.cli("initiate", f"{name}/net")
        r.check(f"{name}: establishes", status == 0, answer if status else "")
    flows = {name: Ping(site.host, name, f"10.2.{n}.1", source=f"10.1.{n}.10", interval=0.03) for name, n in NUMBER.items()}
    begun, took, most = time.monotonic(), {}, {name: (0, 0, 0, 0) for name in KINDS}
    for name in KINDS:
        collide(site, name)
    while time.monotonic() < begun + SECONDS and len(took) < len(KINDS):
        time.sleep(1)
        for name in KINDS:
            now = in_use(site, name)
            most[name] = tuple(map(max, most[name], now))
            if now == (1, 1, 1, 1) and time.monotonic() > begun + 10:
                took.setdefault(name, time.monotonic() - begun)
    for name in KINDS:
        r.check(f"{name}: one pair and one ISAKMP SA are left, here and there", in_use(site, name) == (1, 1, 1, 1),
                f"{in_use(site, name)} after {took.get(name, SECONDS):.0f} s, at most {most[name]}")
    for name, flow in flows.items():
        result = flow.stop()
        r.check(f"{name}: no ping is lost, or one or two at strongSwan's switch", len(result.lost) <= 4, f"{result}: {result.lost[:20]}")
    drops = {reason: n for reason, n in site.culvert.drops().items() if n and reason.startswith("esp")}
    r.check("no packet met a dead SA here", not drops, drops)


report.run("collisions", body)

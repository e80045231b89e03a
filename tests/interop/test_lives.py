#!/usr/bin/python3
"""What becomes of tunnels when strongSwan falls silent and returns: each dpd_action.

Time limit: 120 s
Mostly waits: for dead-peer detection. Four connections, one for each dpd_action, to addresses from which strongSwan is no longer heard for a while;
a fifth one beside them stays.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

LONG = {"rekey_time": "1h", "life_time": "2h", "rand_time": "0s"}
ACTIONS = ("none", "clear", "trap", "restart")
NUMBER = {name: n for n, name in enumerate((*ACTIONS, "other"), 1)}
SILENCE = """table ip silence {
  chain in { type filter hook input priority 0; ip daddr 10.9.1.1-10.9.1.4 drop; }
  chain out { type filter hook output priority 0; ip saddr 10.9.1.1-10.9.1.4 drop; }
}
"""


def make_site(lab):
    ours, theirs = sites.numbered(NUMBER, LONG, lambda name: ({"dpd_delay": "1s", "dpd_timeout": "4s"}, {"dpd_action": name}) if name in ACTIONS else ({"dpd_delay": 0}, {}))
    return sites.CulvertAndStrongSwan(lab, ours, theirs).number(NUMBER.values()).start()


def reaches(site, name, **options):
    return ping(site.host, f"10.2.{NUMBER[name]}.1", source=f"10.1.{NUMBER[name]}.10", **options)


def silence(r, lab, site):
    """The peer is silent, and found to be; then it is there again."""
    up = lambda name: site.culvert.child_up(name, "net")
    site.outside.sh("nft", "-f", lab.write("silence.nft", SILENCE))
    wait_for(lambda: all((site.culvert.connection(name)["failure"] or {}).get("reason") == "dpd_timeout" for name in ACTIONS), 15, "the peer's death to be noticed")
    r.check("dpd_action none: the pair stays", up("none"))
    r.check("dpd_action clear, trap, restart: the pair is gone", not any(up(name) for name in ("clear", "trap", "restart")))
    r.check("the connection beside them does not notice", up("other"))
    capture = Capture(site.outside, "cl0", "silent")
    for name in ("clear", "trap"):
        reaches(site, name, count=1, wait=0.3)
    time.sleep(1)
    capture.stop()
    asked = lambda name: len(tshark(lab, capture.file, "-Y", f"isakmp.exchangetype == 2 && ip.dst == 10.9.1.{NUMBER[name]}").splitlines())
    r.check("a packet begins the trapped one, and not the cleared one", asked("trap") > 0 and asked("clear") == 0, f"{asked('trap')} and {asked('clear')} first messages")
    r.check("the one to restart is tried again by itself", asked("restart") > 0, f"{asked('restart')} messages")
    for name in ACTIONS:                                                # what the peer still has is of no use to a new tunnel: it is as one that came back
        site.strongswan.swanctl("terminate", "--ike", name, "--force", check=False)
    site.outside.sh("nft", "delete", "table", "ip", "silence")
    wait_for(lambda: up("restart"), 30, "the restarted one")
    r.check("dpd_action restart: up again by itself, ping", *reaches(site, "restart"))
    wait_for(lambda: reaches(site, "trap", count=1, wait=0.5)[0], 40, "traffic to bring the trapped one back")
    r.check("dpd_action trap: traffic brings it back, ping", *reaches(site, "trap"))
    r.check("dpd_action clear: traffic does not", not reaches(site, "clear", count=1, wait=0.5)[0] and not up("clear"))
    status, answer = site.culvert.cli("initiate", "clear/net")
    r.check("... an operator does", status == 0 and up("clear"), answer if status else "")


def body(r, lab):
    site = make_site(lab)
    for name in NUMBER:
        status, answer = site.culvert.cli("initiate", f"{name}/net")
        r.check(f"{name}: establishes, ping", status == 0 and reaches(site, name, count=1)[0], answer if status else "")
    silence(r, lab, site)


report.run("lives", body)

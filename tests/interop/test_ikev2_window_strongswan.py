#!/usr/bin/python3
"""IKEv2: strongSwan 5.9 and a gateway that says that it takes several requests at once (RFC 7296 §2.3): strongSwan reads over that, and asks one thing at a
time. All goes on as without, with each side having begun.

Time limit: 90 s
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import reaches  # noqa: E402
from lib.traffic import ping  # noqa: E402

WINDOW = 5


def up(site):
    return [s for s in site.culvert.ike_sas("to-b") if s["state"] == "established" and s["children"]]


def spis(site):
    """Of the IKE SA and of the CHILD SA that is in use."""
    return up(site)[-1]["initiator_spi"], up(site)[-1]["children"][-1]["spi_out"]


def goes_on(r, site, who):
    culvert, peer = site.culvert, site.strongswan
    for name, what, act in (("Culvert rekeys the CHILD SA", 1, lambda: culvert.cli("rekey", "to-b/net")), ("Culvert rekeys the IKE SA", 0, lambda: culvert.cli("rekey", "--ike", "to-b")),
                            ("strongSwan rekeys the CHILD SA", 1, lambda: peer.swanctl("rekey", "--child", "net")), ("strongSwan rekeys the IKE SA", 0, lambda: peer.swanctl("rekey", "--ike", "to-a"))):
        before = spis(site)[what]
        act()
        r.check(f"{who} has begun: {name}", reaches(lambda: up(site) and spis(site)[what] != before, 20, "another one"))
        r.check("... and echoes go through", reaches(lambda: ping(site.host, sites.INSIDE["b"], sites.HOST["a"], count=1)[0], 15, "an echo"))
        r.check("... with one pair left, and the window", reaches(lambda: len(up(site)) == 1 and up(site)[0]["window"] == WINDOW, 15, "one IKE SA"), up(site))


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", version=2, window=WINDOW),
                                      sites.strongswan_connection("b", "a", version=2)).start()
    for who in ("Culvert", "strongSwan"):
        done, said = site.culvert.initiate("to-b", "net") if who == "Culvert" else site.strongswan.initiate("net")
        r.check(f"{who} connects", done, said)
        goes_on(r, site, who)
        site.culvert.terminate("to-b")
        # What the peer has deleted is remembered for longer than it may ask for the answer again.
        r.check("it ends", reaches(lambda: all(s["state"] == "deleting" and not s["children"] for s in site.culvert.ike_sas("to-b")), 15, "the end"),
                site.culvert.ike_sas("to-b"))


report.run("ikev2_window_strongswan", body)

#!/usr/bin/python3
"""Fragments of IKE messages (Cisco's and Microsoft's) between Culvert and strongSwan, both roles.

Time limit: 120 s
The path drops every IP fragment and every packet above 576 bytes, and the messages with a key of MODP-4096 are longer: without fragments of IKE's own
nothing comes up, which one case shows.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

SUITE, LIMIT = "aes256-sha256-modp4096", 576
RULES = f"""table netdev path {{
  chain in {{
    type filter hook ingress device cl0 priority 0
    ip protocol udp ip frag-off & 0x3fff != 0 drop
    udp dport {{ 500, 4500 }} ip length > {LIMIT} drop
  }}
}}
"""


def establish(r, lab, pair, what, initiator, fragmentation):
    """One negotiation under a name of its own; both ends are told how they fragment."""
    pair.culvert.control.stop()
    pair.culvert.config["connections"] = sites.culvert_connection(pair.culvert, "a", "b", ike=SUITE, fragmentation=fragmentation)
    pair.culvert.write()
    pair.culvert.start_control()
    wait_for(lambda: pair.culvert.result("list-conns")["dataplane"]["connected"], 20, "the new culvertd to attach")
    if initiator == "strongswan":
        ok, detail = pair.strongswan.initiate("net", seconds=25)
    else:
        ok, detail = pair.culvert.initiate("to-b", "net", seconds=25 if fragmentation != "no" else 5)
    if fragmentation == "no":
        r.check(what, not ok, "it did not come up")
        return
    r.check(what, ok, "" if ok else str(detail)[-300:])
    r.check(f"{what}: ping", *ping(pair.host, sites.INSIDE["b"]))
    pair.strongswan.terminate("to-a")


def body(r, lab):
    pair = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", ike=SUITE),
                                      sites.strongswan_connection("b", "a", ike=SUITE, fragmentation="yes"), ike={"fragment_size": LIMIT})
    pair.strongswan.conf = lab.write("strongswan/strongswan.conf", open(pair.strongswan.conf, encoding="utf-8").read().replace(
        "charon-systemd {", f"charon-systemd {{\n  fragment_size = {LIMIT}", 1))
    pair.start()
    # What Culvert sends is dropped at strongSwan's door; strongSwan's own packets never exceed its fragment_size, or the check below says so.
    pair.outside.sh("nft", "-f", lab.write("path.nft", RULES))
    capture = Capture(pair.outside, "cl0", "fragments")
    establish(r, lab, pair, "strongSwan initiates", "strongswan", "yes")
    establish(r, lab, pair, "Culvert initiates", "culvert", "yes")
    establish(r, lab, pair, "Culvert initiates, forced", "culvert", "force")
    capture.stop()
    for source in ("a", "b"):
        lines = tshark(lab, capture.file, "-Y", f"isakmp.typepayload == 132 && ip.src == {sites.ADDRESS[source]}", "-T", "fields", "-e", "ip.len").splitlines()
        r.check(f"fragments from {source}, none too long", len(lines) >= 6 and all(int(n) <= LIMIT for n in lines), f"{len(lines)} of {set(lines)} bytes")
    establish(r, lab, pair, "without fragments it cannot work on this path", "culvert", "no")


report.run("fragmentation", body)

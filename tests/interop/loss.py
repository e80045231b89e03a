#!/usr/bin/python3
"""usage: tests/interop/loss.py [--count N] [--loss PERCENT] [--their-timeout SECONDS]     (default: 100, 30, 0.5; from scripts/soak --loss)

IKEv2 over a line that loses PERCENT of what goes each way: COUNT negotiations one after another, by turns between two Culverts, from Culvert to strongSwan,
from strongSwan to Culvert and between two strongSwans, which begin to repeat a request after --their-timeout (4 s is strongSwan's own default, 0.5 s Culvert's).
Says for each how many came up within 30 s, and how long they took; ends with 1 if one that Culvert has begun did not, or if their median is above 1.5 s (of the others
it is strongSwan who gives up). A Linux guest is the line.

    10.9.0.1 [Culvert a], 10.9.0.3 [strongSwan c] -- side a -- vec0 [guest: bridge and netem] vec1 -- side b -- 10.9.0.2 [Culvert b], 10.9.0.4 [strongSwan d]
"""
import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, report, sites, strongswan, uml  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402

LIMIT, MEDIAN = 30, 1.5          # seconds
ADDRESS = {"a": "10.9.0.1", "b": "10.9.0.2", "c": "10.9.0.3", "d": "10.9.0.4"}
IDENTITY = {letter: f"gw-{letter}.example" for letter in ADDRESS}
NET = {"a": "10.1.0.0/16", "b": "10.2.0.0/16", "c": "10.3.0.0/16", "d": "10.4.0.0/16"}


class Side:
    """A bridge, a Culvert and a strongSwan at one end of the line. peers: letter of the one -> letters of those that it has connections to."""

    def __init__(self, lab, letters, peers, timeout):
        ours, theirs = letters
        self.bridge = lab.namespace(f"side-{ours}")
        self.bridge.sh("ip", "link", "add", "br0", "type", "bridge")
        self.bridge.sh("ip", "link", "set", "br0", "up")
        host, inside = sites.host_and_gateway(lab, ours)
        outside = lab.namespace(f"peer-{theirs}")
        self.attach(lab, inside, "gw0", None, ours)
        self.attach(lab, outside, "cl0", f"{ADDRESS[theirs]}/16", theirs)
        outside.address("lo", NET[theirs].replace(".0.0/", ".0.1/"))
        self.culvert = sites.culvert(lab, inside, ours, ["b" if ours == "a" else "a"], cpu=0 if ours == "a" else 1)
        self.culvert.config["routes"] += [{"to": NET[peer], "via": ADDRESS[peer]} for peer in "cd"]
        secret = self.culvert.secret(sites.SECRET)
        for peer in peers[ours]:
            child = {"net": gateway.child(NET[ours], NET[peer], sites.ESP_SUITE)}
            self.culvert.config["connections"][f"to-{peer}"] = gateway.connection(ADDRESS[ours], ADDRESS[peer], IDENTITY[ours], IDENTITY[peer], sites.IKE_SUITE, secret, child, version=2)
        self.culvert.write()
        self.their_connections = {f"to-{peer}": strongswan.connection(ADDRESS[theirs], ADDRESS[peer], IDENTITY[theirs], IDENTITY[peer], sites.IKE_SUITE, {
            f"net-{peer}": strongswan.child(NET[theirs], NET[peer], sites.ESP_SUITE)}, version=2) for peer in peers[theirs]}
        self.strongswan = strongswan.StrongSwan(lab, outside, f"strongswan-{theirs}", self.their_connections, sites.SECRET, retransmit_timeout=timeout)

    def attach(self, lab, namespace, interface, cidr, letter):
        lab.link(self.bridge, f"to-{letter}", "", namespace, interface, cidr)
        self.bridge.sh("ip", "link", "set", f"to-{letter}", "master", "br0")

    def start(self):
        self.strongswan.start()
        self.culvert.start()


def clean(sides):
    """Ends all that is up, on both ends, and waits until nothing is."""
    for side in sides:
        for connection in side.culvert.config["connections"]:
            side.culvert.cli("terminate", connection)
        for connection in side.their_connections:
            side.strongswan.swanctl("terminate", "--ike", connection, "--force", "--timeout", "-1", check=False)
    def over():
        return not any(side.strongswan.list_sas() or [s for s in side.culvert.ike_sas() if s["state"] == "established"] for side in sides)
    wait_for(over, 120, "the end of all SAs", step=0.1)


def negotiate(kinds, count, sides):
    """{kind: seconds of those that came up, and None of the others}"""
    took = {kind: [] for kind in kinds}
    for number in range(count):
        for kind, begin in kinds.items():
            begun = time.monotonic()
            up = begin()
            took[kind].append(time.monotonic() - begun if up else None)
            clean(sides)
        if number % 10 == 9:
            print(f"{number + 1} of {count}", file=sys.stderr, flush=True)
    return took


def body(r, lab, options):
    if uml.why_not():
        raise LabError(uml.why_not())
    wire = lab.namespace("wire")
    a = Side(lab, "ac", {"a": "bd", "c": "bd"}, options.their_timeout)
    b = Side(lab, "bd", {"b": "ac", "d": "ac"}, options.their_timeout)
    for letter, side in (("a", a), ("b", b)):
        lab.link(side.bridge, "to-line", "", wire, f"to-{letter}", "")
        side.bridge.sh("ip", "link", "set", "to-line", "master", "br0")
    line = uml.Guest(lab, wire, "line", ["to-a", "to-b"])
    line.power_on()
    line.ready()
    line.bridge()
    for side in (a, b):
        side.start()
    kinds = {"two Culverts": lambda: a.culvert.initiate("to-b", "net", LIMIT)[0], "Culvert to strongSwan": lambda: a.culvert.initiate("to-d", "net", LIMIT)[0],
             "strongSwan to Culvert": lambda: a.strongswan.initiate("net-b", LIMIT)[0], "two strongSwans": lambda: a.strongswan.initiate("net-d", LIMIT)[0]}
    for kind, begin in kinds.items():        # over the good line: neighbours are known from then on
        if not begin():
            raise LabError(f"{kind}: not up over a good line")
        clean((a, b))
    for interface in "vec0", "vec1":
        line.netem(f"loss {options.loss}%", interface)
    rows, took = [], negotiate(kinds, options.count, (a, b))
    for kind, all_of_them in took.items():
        up = sorted(t for t in all_of_them if t is not None and t <= LIMIT)
        rows.append([kind, f"{len(up)} of {len(all_of_them)}", *(f"{q:.2f}" for q in (up[0], statistics.median(up), up[len(up) * 9 // 10], up[-1]))])
        if kind in ("two Culverts", "Culvert to strongSwan"):
            r.check(f"{kind}: all up within {LIMIT} s", len(up) == len(all_of_them), f"{len(up)} of {len(all_of_them)}")
            r.check(f"{kind}: the median below {MEDIAN} s", statistics.median(up) < MEDIAN, f"{statistics.median(up):.2f} s")
    for interface in "vec0", "vec1":
        sent, dropped = line.netem_counts(interface)
        r.note(f"the line has dropped {dropped} of {sent + dropped} packets at {interface}")
    r.table([f"{options.loss} % loss", "up", "least (s)", "median (s)", "90 % (s)", "most (s)"], rows)
    line.netem("", "vec0")
    line.netem("", "vec1")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--loss", type=int, default=30)
    parser.add_argument("--their-timeout", type=float, default=0.5)
    options = parser.parse_args()
    report.run("loss", lambda r, lab: body(r, lab, options))


main()

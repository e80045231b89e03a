#!/usr/bin/python3
"""Two Culverts over a bad line: delay, loss, reordering and duplication both ways, made by netem in a Linux guest that is the wire.

Time limit: 200 s
The connection comes up although messages are lost; pings run while CHILD SAs and the ISAKMP SA are rekeyed; captures at both ends of the
line say what it lost, doubled and reordered, and Culvert's counters must agree: all that arrived is delivered once, what arrived twice is
counted as esp_replay, and nothing else is dropped.

    host a -- [Culvert a] gw0 -- vec0 [guest: bridge and netem] vec1 -- gw0 [Culvert b] -- host b
"""
import collections
import struct
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import keys, report, sites, uml  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, Ping  # noqa: E402

LINE = "delay 20ms 5ms loss 5% reorder 25% duplicate 2%"
WINDOW, SECONDS, REKEY, IKE_REKEY = 128, 20, 6, 13
CHILD = {"rekey_time": f"{REKEY}s", "life_time": f"{5 * REKEY}s", "rand_time": "0s", "replay_window": WINDOW}
IKE = {"rekey_time": f"{IKE_REKEY}s", "over_time": "20s", "rand_time": "0s"}
QUIET = ({"rekey_time": "1h", "life_time": "2h", "replay_window": WINDOW}, {"rekey_time": "4h"})


class Site:
    """As sites.TwoCulverts, with the guest between them. The captures are at the guest, for what a gateway sends by an af_packet port bypasses
    the queueing layer, and so whoever listens on the gateway's own interface."""

    def __init__(self, lab):
        self.host, self.inside, self.gateway, self.capture = {}, {}, {}, {}
        self.wire = lab.namespace("wire")
        for letter, peer in ("ab", "ba"):
            self.host[letter], self.inside[letter] = sites.host_and_gateway(lab, letter)
            lab.link(self.inside[letter], "gw0", None, self.wire, f"to-{letter}", "")
        self.line = uml.Guest(lab, self.wire, "line", ["to-a", "to-b"])
        self.line.power_on()
        for index, (letter, peer) in enumerate(("ab", "ba")):
            gw = sites.culvert(lab, self.inside[letter], letter, [peer], cpu=index)
            child, ike = (CHILD, IKE) if letter == "a" else QUIET
            gw.config["connections"] = sites.culvert_connection(gw, letter, peer, start="start" if letter == "a" else "none",
                                                                child_settings=child, **ike)
            gw.write()
            self.gateway[letter] = gw
        self.line.ready()
        self.line.bridge()
        for interface in "vec0", "vec1":
            self.line.netem(LINE, interface)

    def start(self):
        for letter in "ab":
            self.capture[letter] = Capture(self.wire, f"to-{letter}", f"wire-{letter}")
        for letter in "ba":
            self.gateway[letter].start()
        return self


def crossed(site, source, target):
    """(ESP packets that `source` sent, those that arrived at `target`), as lists of (spi, sequence) in their order."""
    address = bytes(int(part) for part in sites.ADDRESS[source].split("."))
    return tuple([struct.unpack_from("!II", esp) for _, who, _, esp in keys.esp_packets(site.capture[side].file) if who == address]
                 for side in (source, target))


def delivered(gw):
    """Inner packets that all SAs of the gateway have let in: counted by child, over all rekeys."""
    return sum(c["in"]["packets"] for c in gw.result("counters")["children"])


def strays(site, target):
    """How many IP packets for a group of hosts the capture beside `target` has: the guest's bridge reports the groups that it listens to (IGMP).
    They are no packets of a flow, and the gateway, which is in no group of them, must say so."""
    return sum(frame[0] & 1 and frame[12:14] != b"\x08\x06" for _, frame in keys.frames(site.capture[target].file))


def body(r, lab):
    if uml.why_not():
        r.skip("two Culverts over a bad line", uml.why_not())
        return
    site = Site(lab).start()
    begun = time.monotonic()
    wait_for(lambda: all(site.gateway[x].child_up(f"to-{y}", "net") for x, y in ("ab", "ba")), 30, "the connection, over the bad line")
    r.check(f"the connection comes up over a line with {LINE}", True, f"{time.monotonic() - begun:.1f} s after the start")
    flows = [Ping(site.host[x], f"{x}{y}", sites.HOST[y]) for x, y in ("ab", "ba")]
    time.sleep(SECONDS)
    results = [flow.stop() for flow in flows]
    time.sleep(1)
    rows = []
    whole = sum(capture.stop() for capture in site.capture.values()) == 0
    r.check("both captures are whole", whole)
    for x, y in ("ab", "ba"):
        sent, arrived = crossed(site, x, y)
        seen, highest, late, repeats = collections.Counter(), {}, 0, 0
        for spi, number in arrived:
            repeats += seen[spi, number] > 0
            seen[spi, number] += 1
            late = max(late, highest.get(spi, 0) - number)
            highest[spi] = max(highest.get(spi, 0), number)
        gw = site.gateway[y]
        drops = {reason: n for reason, n in gw.drops().items() if n}
        not_for_us, groups = drops.pop("rx_not_for_us", 0), strays(site, y)
        got = delivered(gw)
        rows.append([f"{x} to {y}", len(sent), len(set(sent) - set(seen)), repeats, late, len(highest), got, drops.get("esp_replay", 0)])
        r.check(f"{x} to {y}: no sequence number was used twice under a key", len(sent) == len(set(sent)), f"{len(sent)} packets, {len(highest)} SAs")
        r.check(f"{x} to {y}: the line lost, doubled and reordered", len(set(seen)) < len(sent) and repeats > 0 and late > 0)
        r.check(f"{x} to {y}: whatever arrived was delivered once", got == len(seen), f"{len(seen)} different packets arrived, {got} delivered")
        r.check(f"{x} to {y}: what arrived twice is counted as esp_replay, and nothing else is dropped",
                drops == {"esp_replay": repeats} and late < WINDOW, f"{repeats} arrived twice, {drops}")
        r.check(f"{x} to {y}: no frame was for nobody there, but the bridge's for a group of hosts", not_for_us <= groups, f"{not_for_us} of {groups} frames")
        r.check(f"{x} to {y}: CHILD SAs were rekeyed", len(highest) >= SECONDS // REKEY, f"{len(highest)} SAs in {SECONDS} s")
    r.table(["", "sent", "lost by the line", "doubled", "latest by", "SAs", "delivered", "esp_replay"], rows)
    for (x, y), result in zip(("ab", "ba"), results):
        r.note(f"pings {x} to {y}: {result}")
    counts = site.gateway["a"].exchange_counts()
    r.check("the ISAKMP SA was replaced, too", counts["main_mode"] >= 2, counts)


report.run("bad_line", body)

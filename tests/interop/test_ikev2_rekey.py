#!/usr/bin/python3
"""IKEv2 rekeying under load: CHILD SAs every 3 s, IKE SAs every 5 s, by one side and by both at once, with a ping every 10 ms or more often.

Time limit: 300 s
Four pairs at once: two Culverts that both rekey, and Culvert with strongSwan: the one rekeys, the other, both. Between two Culverts no echo may be
lost. Against strongSwan none may be lost on our account: captures on both sides of our gateway, the outer one decrypted with the keys that strongSwan
logged, must show for each lost echo that its request left us intact, and that its reply never came back to us. One IKE SA and one CHILD SA are left.
"""
import os
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import ikev2, keys, parts, report, sites  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Capture, Ping, ping  # noqa: E402

SECONDS = int(os.environ.get("CULVERT_REKEY_SECONDS", "40"))
CHILD, IKE = 3, 5                      # seconds
REKEYS = ({"rekey_time": f"{CHILD}s", "life_time": "180s", "rand_time": "0s"}, {"rekey_time": f"{IKE}s", "over_time": "30s", "rand_time": "0s"})
QUIET = ({"rekey_time": "1h", "life_time": "2h"}, {"rekey_time": "4h"})
LEAST_CHILD_REKEYS, LEAST_IKE_REKEYS = SECONDS // CHILD // 2, SECONDS // IKE // 2
# Seconds more: strongSwan puts a CHILD SA's rekey off by 10 to 30 s when it meets that of the IKE SA (hence also the long life_time).
PATIENCE = 90


def ikev2_of(timers):
    return {"child_settings": timers[0], "version": 2, **timers[1]}


class Watch:
    """All IKE SAs and pairs that a gateway has had."""

    def __init__(self, gw, name):
        self.gw, self.name, self.ike, self.pairs, self.most = gw, name, set(), set(), (0, 0)
        self.seconds = 0

    def look(self):
        ike, pairs = ikev2.in_use(self.gw, self.name)
        self.ike |= ike
        self.pairs |= pairs
        self.most = tuple(map(max, self.most, (len(ike), len(pairs))))

    def over(self, seconds):
        """Looks for so long, and on until as many rekeys as there have to be were seen."""
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + seconds or (not self.enough and now < begin + seconds + PATIENCE):
            self.look()
            time.sleep(0.5)
        self.seconds = round(time.monotonic() - begin)

    @property
    def enough(self):
        return len(self.pairs) > LEAST_CHILD_REKEYS and len(self.ike) > LEAST_IKE_REKEYS


def two_culverts(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(gw, letter, peer, start="start" if letter == "a" else "none", **ikev2_of(REKEYS))).start()
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0], 20, "the first echo between two Culverts")
    watch = Watch(two.gateway["a"], "to-b")
    flow, back = Ping(two.host["a"], "ab", sites.HOST["b"]), Ping(two.host["b"], "ba", sites.HOST["a"])
    watch.over(SECONDS)
    there, here = flow.stop(), back.stop()
    r.check("two Culverts: no echo lost from a to b over the rekeys", not there.lost and there.dense, there)
    r.check("two Culverts: no echo lost from b to a over the rekeys", not here.lost and here.dense, here)
    def one_of_each():
        a, b = ikev2.in_use(two.gateway["a"], "to-b"), ikev2.in_use(two.gateway["b"], "to-a")
        return len(a[0]) == len(a[1]) == 1 and a == (b[0], {(o, i) for i, o in b[1]})
    seen = several(one_of_each)
    r.check("two Culverts: one IKE SA and one CHILD SA, the same on both sides", seen, f"most at once {watch.most}")
    counted(r, "two Culverts", watch)
    return ["two Culverts", there.transmitted + here.transmitted, len(there.lost) + len(here.lost), 0, 0, len(watch.pairs) - 1, len(watch.ike) - 1]


def several(condition):
    """Whether it is true within a few seconds: while SAs are being replaced it may not be."""
    try:
        return wait_for(condition, 10, "one of each", step=0.2)
    except LabError:
        return False


def counted(r, name, watch):
    r.check(f"{name}: the CHILD SA was rekeyed", len(watch.pairs) > LEAST_CHILD_REKEYS, f"{len(watch.pairs) - 1} times seen in {watch.seconds} s")
    r.check(f"{name}: the IKE SA was rekeyed", len(watch.ike) > LEAST_IKE_REKEYS, f"{len(watch.ike) - 1} times seen in {watch.seconds} s")


def with_strongswan(name, ours, theirs):
    def body(r, lab):
        site = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", **ikev2_of(ours)),
                                          sites.strongswan_connection("b", "a", **ikev2_of(theirs)), keys=True).start()
        inner, outer = Capture(site.host, "h0", "inner", "icmp"), Capture(site.outside, "cl0", "outer")
        ok, detail = site.culvert.initiate("to-b", "net") if ours is REKEYS else site.strongswan.initiate("net")
        if not ok:
            raise LabError(f"{name}: {detail}")
        time.sleep(0.5)
        watch = Watch(site.culvert, "to-b")
        flow = Ping(site.host, "there", sites.INSIDE["b"])
        watch.over(SECONDS)
        result = flow.stop()
        dropped = inner.stop() + outer.stop()
        seen = several(lambda: not ikev2.differ(site.culvert, site.strongswan, "to-b", "to-a"))
        r.check(f"{name}: one IKE SA and one CHILD SA, the same on both sides", seen, f"most at once {watch.most}; {ikev2.differ(site.culvert, site.strongswan, 'to-b', 'to-a')}")
        counted(r, name, watch)
        drops = {reason: n for reason, n in site.culvert.drops().items() if n}
        r.note(f"{name}: drops {drops}; {site.culvert.cli('counters')[1]['exchanges']}")
        return account(r, name, result, inner.file, outer.file, site.strongswan.log_text(), dropped, watch)
    return body


def account(r, name, result, inner, outer, log, dropped, watch):
    """Follows each echo through the two captures."""
    ours = bytes(int(part) for part in sites.ADDRESS["a"].split("."))
    clear = keys.clear_echoes(inner)
    protected, unreadable = keys.esp_echoes(outer, log)
    entered = {e.number for e in clear if e.kind == "request"}
    came_out = {e.number for e in clear if e.kind == "reply"}
    left = {e.number for e in protected if e.kind == "request" and e.source == ours}
    returned = {e.number for e in protected if e.kind == "reply" and e.source != ours}
    lost_by_us_out, lost_by_us_in = sorted(entered - left), sorted(returned - came_out)
    lost_beyond = [n for n in result.lost if n in left and n not in returned]
    r.check(f"{name}: both captures are whole", dropped == 0 and result.transmitted <= len(entered), f"{dropped} packets dropped by tcpdump")
    r.check(f"{name}: every ESP packet is authentic by the keys that strongSwan logged", unreadable == 0, f"{len(protected)} read, {unreadable} not")
    r.check(f"{name}: every echo request that entered left as intact ESP", not lost_by_us_out, f"{len(entered)} entered, missing {lost_by_us_out[:10]}")
    r.check(f"{name}: every reply that came back as ESP came out", not lost_by_us_in, f"{len(returned)} came back, missing {lost_by_us_in[:10]}")
    r.check(f"{name}: no echo lost on our account", len(lost_beyond) == len(result.lost) and result.dense, f"{result} {result.lost[:20]}")
    sequences = [(e.spi, e.sequence) for e in protected if e.source == ours]
    r.check(f"{name}: no sequence number was used twice under a key", len(sequences) == len(set(sequences)), f"{len(sequences)} packets")
    return [name, result.transmitted, len(result.lost), len(lost_by_us_out) + len(lost_by_us_in), len(lost_beyond), len(watch.pairs) - 1, len(watch.ike) - 1]


PARTS = [("culverts", two_culverts), ("ours", with_strongswan("Culvert rekeys with strongSwan", REKEYS, QUIET)),
         ("theirs", with_strongswan("strongSwan rekeys with Culvert", QUIET, REKEYS)), ("both", with_strongswan("both rekey", REKEYS, REKEYS))]


def body(r, lab):
    wanted = os.environ.get("CULVERT_REKEY_PARTS", "").split(",")
    rows = parts.at_once(r, lab, [p for p in PARTS if p[0] in wanted or wanted == [""]])
    r.table(["pair", "echoes", "lost", "of these by us", "beyond us", "CHILD rekeys", "IKE rekeys"], sorted(rows, key=str))


report.run("ikev2_rekey", body)

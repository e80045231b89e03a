#!/usr/bin/python3
"""Rekeying under load: CHILD SAs every 10 s, the ISAKMP SA every 25 s, for two minutes, a ping every 10 ms or more often.

Time limit: 240 s
Three pairs at once: two Culverts; Culvert that rekeys with strongSwan that does not; the other way round. Between two Culverts no echo may be
lost. Against strongSwan none may be lost on our account: captures on both sides of our gateway, the outer one decrypted and authenticated
with the keys that strongSwan logged, must show for each lost echo that its request left us intact, and that its reply never came back to us.
"""
import os
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import keys, parts, report, sites  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Capture, Ping, ping  # noqa: E402

SECONDS = int(os.environ.get("CULVERT_REKEY_SECONDS", "120"))
CHILD, IKE = 10, 25                    # seconds
OURS_CHILD = {"rekey_time": f"{CHILD}s", "life_time": f"{2 * CHILD}s", "rand_time": "0s"}
OURS_IKE = {"rekey_time": f"{IKE}s", "over_time": "10s", "rand_time": "0s"}
THEIRS_CHILD = {"rekey_time": f"{CHILD}s", "life_time": f"{2 * CHILD}s", "rand_time": "0s"}
THEIRS_IKE = {"reauth_time": f"{IKE}s", "over_time": "10s", "rand_time": "0s"}
QUIET_CHILD, QUIET_IKE = {"rekey_time": "1h", "life_time": "2h"}, {"rekey_time": "4h"}
LEAST_CHILD_REKEYS = SECONDS // CHILD - 2
LEAST_IKE_REKEYS = SECONDS // IKE - 1


def spis_of(echoes):
    return {(e.spi, e.source) for e in echoes}


def two_culverts(r, lab):
    def configure(gw, letter, peer):
        ours = letter == "a"
        return sites.culvert_connection(gw, letter, peer, start="start" if ours else "none", child_settings=OURS_CHILD if ours else QUIET_CHILD,
                                        **(OURS_IKE if ours else QUIET_IKE))
    two = sites.TwoCulverts(lab, configure).start()
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0], 20, "the first echo between two Culverts")
    before = two.gateway["a"].exchange_counts()
    flow = Ping(two.host["a"], "ab", sites.HOST["b"])
    back = Ping(two.host["b"], "ba", sites.HOST["a"])
    time.sleep(SECONDS)
    there, here = flow.stop(), back.stop()
    after = two.gateway["a"].exchange_counts()
    quick, main = after["quick_mode"] - before["quick_mode"], after["main_mode"] - before["main_mode"]
    r.check("two Culverts: no echo lost from a to b over the rekeys", not there.lost and there.dense, there)
    r.check("two Culverts: no echo lost from b to a over the rekeys", not here.lost and here.dense, here)
    r.check("two Culverts: the CHILD SA was rekeyed on time", quick >= LEAST_CHILD_REKEYS, f"{quick} times in {SECONDS} s")
    r.check("two Culverts: the ISAKMP SA was replaced on time", main >= LEAST_IKE_REKEYS, f"{main} times in {SECONDS} s")
    return ["two Culverts", there.transmitted + here.transmitted, len(there.lost) + len(here.lost), 0, 0, quick, main]


def with_strongswan(culvert_rekeys):
    name = "Culvert rekeys with strongSwan" if culvert_rekeys else "strongSwan rekeys with Culvert"

    def body(r, lab):
        ours = (OURS_CHILD, OURS_IKE) if culvert_rekeys else (QUIET_CHILD, QUIET_IKE)
        theirs = (QUIET_CHILD, QUIET_IKE) if culvert_rekeys else (THEIRS_CHILD, THEIRS_IKE)
        site = sites.CulvertAndStrongSwan(
            lab, lambda gw: sites.culvert_connection(gw, "a", "b", child_settings=ours[0], **ours[1]),
            sites.strongswan_connection("b", "a", child_settings=theirs[0], **theirs[1]), keys=True).start()
        inner = Capture(site.host, "h0", "inner", "icmp")
        outer = Capture(site.outside, "cl0", "outer")
        if culvert_rekeys:
            ok, detail = site.culvert.initiate("to-b", "net")
        else:
            ok, detail = site.strongswan.initiate("net")
        if not ok:
            raise LabError(f"{name}: {detail}")
        time.sleep(0.5)
        flow = Ping(site.host, "there", sites.INSIDE["b"])
        time.sleep(SECONDS)
        result = flow.stop()
        dropped = inner.stop() + outer.stop()
        main = len(keys.ike_keys(site.strongswan.log_text())) - 1
        return account(r, name, result, inner.file, outer.file, site.strongswan.log_text(), dropped, main)
    return body


def account(r, name, result, inner, outer, log, dropped, main):
    """Follows each echo through the two captures."""
    ours = bytes(int(part) for part in sites.ADDRESS["a"].split("."))
    clear = keys.clear_echoes(inner)
    protected, unreadable = keys.esp_echoes(outer, log)
    entered = {e.number for e in clear if e.kind == "request"}
    came_out = {e.number for e in clear if e.kind == "reply"}
    left = {e.number for e in protected if e.kind == "request" and e.source == ours}
    returned = {e.number for e in protected if e.kind == "reply" and e.source != ours}
    lost_by_us_out = sorted(entered - left)
    lost_by_us_in = sorted(returned - came_out)
    lost_beyond = [n for n in result.lost if n in left and n not in returned]
    pairs = {e.spi for e in protected if e.source == ours}
    quick = len(pairs) - 1
    r.check(f"{name}: both captures are whole", dropped == 0 and result.transmitted <= len(entered), f"{dropped} packets dropped by tcpdump")
    r.check(f"{name}: every ESP packet is authentic by the keys that strongSwan logged", unreadable == 0, f"{len(protected)} read, {unreadable} not")
    r.check(f"{name}: every echo request that entered left as intact ESP", not lost_by_us_out, f"{len(entered)} entered, missing {lost_by_us_out[:10]}")
    r.check(f"{name}: every reply that came back as ESP came out", not lost_by_us_in, f"{len(returned)} came back, missing {lost_by_us_in[:10]}")
    r.check(f"{name}: no echo lost on our account", len(lost_beyond) == len(result.lost) and result.dense, result)
    r.check(f"{name}: the CHILD SA was rekeyed on time", quick >= LEAST_CHILD_REKEYS, f"{quick} times in {SECONDS} s")
    r.check(f"{name}: the ISAKMP SA was replaced on time", main >= LEAST_IKE_REKEYS, f"{main} times in {SECONDS} s")
    sequences = [(e.spi, e.sequence) for e in protected if e.source == ours]
    r.check(f"{name}: no sequence number was used twice under a key", len(sequences) == len(set(sequences)), f"{len(sequences)} packets")
    return [name, result.transmitted, len(result.lost), len(lost_by_us_out) + len(lost_by_us_in), len(lost_beyond), quick, main]


def body(r, lab):
    rows = parts.at_once(r, lab, (("two", two_culverts), ("ours", with_strongswan(True)), ("theirs", with_strongswan(False))))
    r.table(["pair", "echoes", "lost", "of these by us", "beyond us", "CHILD rekeys", "ISAKMP rekeys"], sorted(rows, key=str))


report.run("rekey", body)

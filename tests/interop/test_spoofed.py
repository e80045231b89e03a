#!/usr/bin/python3
"""Floods of first messages from spoofed addresses, beside a tunnel that carries a ping and newcomers who want one: all of them get it meanwhile.

Time limit: 150 s. Runs alone.
Rows attack-H1, attack-D7 and attack-K8 of tests/attacks.txt against real processes. A flood is good first messages of Main Mode, then of Aggressive
Mode, each with another cookie and source, as many a second as CULVERT_FLOOD_RATE says; their answers go nowhere. Nobody computes a key for them, and
they leave nothing. Half of the newcomers use Aggressive Mode. A flood goes on until all newcomers are there.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.spoofing import NEWCOMERS, Site, rate  # noqa: E402
from lib.traffic import Ping  # noqa: E402

RATE, AGGRESSIVE = rate(20000), 10
ANSWERS = {"aggressive": True, "aggressive_psk_exposes_hash_to_offline_guessing": True}


def flooded(r, site, mode):
    """One flood, and the newcomers who come while it goes on."""
    a = site.a
    began = {exchange: a.exchange_counts()[exchange] for exchange in ("main_mode", "aggressive_mode")}
    with site.flood(mode, RATE) as flood:
        during = a.metric("culvert_ike_newcomers")
        result = site.newcomers(AGGRESSIVE)
        on, half_open = flood.alive(), a.metric("culvert_ike_half_open_sas")
    r.note(f"flood of {mode} mode: {flood.output().strip()}; {during:.0f} newcomers after two seconds; dropped before culvertd: {a.drops()['punt_full']}")
    r.check(f"{mode}: {NEWCOMERS} newcomers get their tunnels, half of them by Aggressive Mode, while the flood goes on",
            on and result["up"] == NEWCOMERS, result)
    came = {exchange: a.exchange_counts()[exchange] - before for exchange, before in began.items()}
    r.check(f"{mode}: each by its own exchange", came["main_mode"] >= NEWCOMERS - AGGRESSIVE and came["aggressive_mode"] >= AGGRESSIVE, came)
    r.check(f"{mode}: the senders are known as newcomers, and are no SAs", during > 1000 and half_open <= NEWCOMERS, f"{during} and {half_open}")


def body(r, lab):
    site = Site(lab, 1, lambda peer: ANSWERS if peer >= NEWCOMERS - AGGRESSIVE else {}, {"anybody": {}, "anybody-aggressive": ANSWERS})
    a = site.a
    ok, detail = site.start()
    r.check("the tunnel is up", ok, "" if ok else detail)
    before, flow = a.control.rss_kib(), Ping(site.host, "through", sites.HOST["b"], interval=0.02)
    for mode in ("main", "aggressive"):
        flooded(r, site, mode)
    lost = flow.stop()
    r.check("the tunnel carried the ping all along", len(lost.lost) <= lost.transmitted // 50, lost)
    r.check("both processes live", a.control.alive() and a.dataplane.alive())
    grown = a.control.rss_kib() - before
    r.check("memory is bounded", grown < 80 * 1024, f"grown by {grown} KiB")
    wait_for(lambda: a.metric("culvert_ike_newcomers") == 0, 60, "the newcomers to be forgotten", step=1)
    r.check("they are forgotten when their time is over", True)
    r.check("the tunnel's SAs are still there", a.child_up("to-b", "net"))


report.run("spoofed", body)

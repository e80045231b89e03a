#!/usr/bin/python3
"""IKEv2: a flood of IKE_SA_INIT from spoofed addresses, beside a tunnel that carries a ping and newcomers who want one: all of them get it meanwhile.

Time limit: 120 s. Runs alone.
Row attack-H1 of tests/attacks.txt against real processes. Each message has another SPI and source; as many a second as CULVERT_FLOOD_RATE says. All but a
few are answered by a cookie (RFC 7296 §2.6) in the data plane and leave nothing; their answers go nowhere. The flood goes on until all newcomers are there.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.spoofing import NEWCOMERS, Site, rate  # noqa: E402
from lib.traffic import Ping  # noqa: E402

RATE = rate(50000)


def body(r, lab):
    site = Site(lab, 2, lambda peer: {}, {"anybody": {}})
    a = site.a
    ok, detail = site.start()
    r.check("the tunnel is up", ok, "" if ok else detail)
    before, began, flow = a.control.rss_kib(), a.exchange_counts()["ike_auth"], Ping(site.host, "through", sites.HOST["b"], interval=0.02)
    with site.flood("ikev2", RATE) as flood:
        result = site.newcomers()
        on, half_open = flood.alive(), a.metric("culvert_ike_half_open_sas")
    r.note(f"flood: {flood.output().strip()}; newcomers: {result}; dropped before culvertd: {a.drops()['punt_full']}; half open {half_open:.0f}")
    asked = a.metric("culvert_worker_ike_cookies_total")
    r.check("the data plane asks for cookies itself", asked > 0 or RATE < 10000, f"{asked:.0f}")
    r.check(f"{NEWCOMERS} newcomers get their tunnels while the flood goes on", on and result["up"] == NEWCOMERS, result)
    r.check("each by IKE_AUTH", a.exchange_counts()["ike_auth"] - began >= NEWCOMERS, a.exchange_counts())
    lost = flow.stop()
    r.check("the tunnel carried the ping all along", len(lost.lost) <= lost.transmitted // 50, lost)
    r.check("both processes live", a.control.alive() and a.dataplane.alive())
    grown = a.control.rss_kib() - before
    r.check("memory is bounded", grown < 16 * 1024, f"grown by {grown} KiB")
    wait_for(lambda: a.metric("culvert_ike_half_open_sas") == 0, 60, "the half-open SAs to end", step=1)
    r.check("nothing half open is left when its time is over", True)
    r.check("the tunnel's SAs are still there", a.child_up("to-b", "net"))


report.run("ikev2_spoofed", body)

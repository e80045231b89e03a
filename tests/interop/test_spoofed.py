#!/usr/bin/python3
"""Floods of first messages from spoofed addresses, beside a tunnel that carries a ping and newcomers who want one: all of them get it meanwhile.

Time limit: 150 s. Runs alone.
Rows attack-H1, attack-D7 and attack-K8 of tests/attacks.txt against real processes. A flood is good first messages of Main Mode, then of Aggressive
Mode, each with another cookie and source, as many a second as CULVERT_FLOOD_RATE says; their answers go nowhere. Nobody computes a key for them, and
they leave nothing. Half of the newcomers use Aggressive Mode. A flood goes on until all newcomers are there.
"""
import os
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, many, report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Ping  # noqa: E402

RATE = int(os.environ.get("CULVERT_FLOOD_RATE", "20000"))       # a second
NEWCOMERS, AGGRESSIVE = 20, 10
SPOOFED, ROUTER = "11.0.0.0/8", "10.9.0.3"
SENDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib", "spoofed.py")
ANSWERS = {"aggressive": True, "aggressive_psk_exposes_hash_to_offline_guessing": True}


def peers(lab, wan):
    """Where the newcomers are, and what the gateway takes for the way to everybody else: a black hole."""
    outside = lab.namespace("peers")
    wan.attach(outside, "cl0", f"{ROUTER}/16", "p")
    outside.sh("ip", "route", "add", "local", many.PEERS, "dev", "lo")
    outside.sh("ip", "route", "add", "blackhole", SPOOFED)
    outside.sysctl(**{"net.ipv4.conf.cl0.arp_announce": 2})
    return outside


def connections(gw):
    secret = gw.secret(sites.SECRET)
    found = sites.culvert_connection(gw, "a", "b")
    child = lambda ts: {"net": gateway.child(many.INSIDE, ts, many.ESP_SUITE)}
    one = lambda remote, name, ts, extra: gateway.connection(
        sites.ADDRESS["a"], remote, "gateway.example", f"{name}.example", many.IKE_SUITE, secret, child(ts), **extra)
    for peer in range(NEWCOMERS):
        extra = ANSWERS if peer >= NEWCOMERS - AGGRESSIVE else {}
        found[many.name(peer)] = one(many.address(peer), many.name(peer), many.network(peer), extra)
    found["anybody"] = one("%any", "somebody", "10.77.0.0/24", {})
    found["anybody-aggressive"] = one("%any", "somebody", "10.78.0.0/24", ANSWERS)
    return found


def flooded(r, a, outside, stranger, mac, mode):
    """One flood, and the newcomers who come while it goes on."""
    began = {exchange: a.exchange_counts()[exchange] for exchange in ("main_mode", "aggressive_mode")}
    flood = stranger.start(f"flood-{mode}", "/usr/bin/python3", SENDER, "st0", mac, str(RATE), mode)
    wait_for(lambda: "sending" in flood.output(), 30, "the flood to begin")
    time.sleep(2)
    during = a.metric("culvert_ike_newcomers")
    result = many.load(outside, NEWCOMERS, NEWCOMERS, seconds=30, aggressive=AGGRESSIVE)
    on, half_open = flood.alive(), a.metric("culvert_ike_half_open_sas")
    flood.stop()
    r.note(f"flood of {mode} mode: {flood.output().strip()}; {during:.0f} newcomers after two seconds; dropped before culvertd: {a.drops()['punt_full']}")
    r.check(f"{mode}: {NEWCOMERS} newcomers get their tunnels, half of them by Aggressive Mode, while the flood goes on",
            on and result["up"] == NEWCOMERS, result)
    came = {exchange: a.exchange_counts()[exchange] - before for exchange, before in began.items()}
    r.check(f"{mode}: each by its own exchange", came["main_mode"] >= NEWCOMERS - AGGRESSIVE and came["aggressive_mode"] >= AGGRESSIVE, came)
    r.check(f"{mode}: the senders are known as newcomers, and are no SAs", during > 1000 and half_open <= NEWCOMERS, f"{during} and {half_open}")


def body(r, lab):
    wan = sites.Wan(lab)
    host_a, inside_a = sites.host_and_gateway(lab, "a")
    host_b, inside_b = sites.host_and_gateway(lab, "b")
    wan.attach(inside_a, "gw0", None, "a")
    wan.attach(inside_b, "gw0", None, "b")
    outside, stranger = peers(lab, wan), lab.namespace("stranger")
    wan.attach(stranger, "st0", "10.9.0.4/16", "s")
    a, b = sites.culvert(lab, inside_a, "a", ["b"], cpu=0), sites.culvert(lab, inside_b, "b", ["a"], cpu=1)
    a.config["routes"] += [{"to": net, "via": ROUTER} for net in (many.PEERS, many.NETWORKS, SPOOFED)]
    a.config["connections"], b.config["connections"] = connections(a), sites.culvert_connection(b, "b", "a")
    for gw in (a, b):
        gw.write()
        gw.start()
    ok, detail = a.initiate("to-b", "net", 30)
    r.check("the tunnel is up", ok, "" if ok else detail)
    mac = re.search(r"link/ether ([0-9a-f:]+)", inside_a.sh("ip", "link", "show", "gw0")).group(1)
    before, flow = a.control.rss_kib(), Ping(host_a, "through", sites.HOST["b"], interval=0.02)
    for mode in ("main", "aggressive"):
        flooded(r, a, outside, stranger, mac, mode)
    lost = flow.stop()
    r.check("the tunnel carried the ping all along", len(lost.lost) <= lost.transmitted // 50, lost)
    r.check("both processes live", a.control.alive() and a.dataplane.alive())
    grown = a.control.rss_kib() - before
    r.check("memory is bounded", grown < 80 * 1024, f"grown by {grown} KiB")
    wait_for(lambda: a.metric("culvert_ike_newcomers") == 0, 60, "the newcomers to be forgotten", step=1)
    r.check("they are forgotten when their time is over", True)
    r.check("the tunnel's SAs are still there", a.child_up("to-b", "net"))


report.run("spoofed", body)

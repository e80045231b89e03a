#!/usr/bin/python3
"""usage: peers.py [--count N] [--rounds N] [--version 1|2] [--what psk|ecdsa|pair|ike]... [--group NAME]... [--one] [--many N] [--json] [--check]

Negotiations at real processes: culvert-load plays N peers (1000) with an address each against culvertd, then against strongSwan, in network
namespaces, by turns: tunnels made, and rekeys that the peers ask for. culvertd has a connection for each peer or, with --one, one for all as strongSwan
has; 4096 is the most of them. Then a round of culvertd alone with --many N peers (10000; 0: none) of one connection, with a PSK and Curve25519.
Marks, with a PSK and Curve25519: all are up, three times strongSwan's rate, at most 20 kB a peer where they are many; with --check it ends with 1
where one is missed. The responder's CPU seconds are the kernel's count for its process (/proc/PID/stat), all its threads together; for culvertd
without the data plane, whose share is a column of its own. Needs root. scripts/bench builds what it needs and starts it.
"""
import argparse
import itertools
import json
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
from lib import many  # noqa: E402
from lib.lab import Lab, wait_for  # noqa: E402

# What is measured: its name, what culvert-load rekeys, the groups.
RUNS = {"psk": ("tunnel, PSK", None, ["curve25519", "ecp256", "modp2048"]), "ecdsa": ("tunnel, ECDSA P-256", None, ["curve25519"]),
        "pair": ("pair rekeyed", "pair", ["curve25519"]), "ike": ("IKE SA rekeyed", "ike", ["curve25519"])}


def culvert_round(lab, options, ike, version, what):
    inside = lab.namespace("gw")
    outside = many.peers_namespace(lab, inside)
    signs = many.certificates(lab, options.count) if what == "ecdsa" else None
    gw = many.culvert(lab, inside, options.count, ike, version=version, signs=signs, one=options.one)
    gw.start()
    return measure(outside, {"responder": gw.control, "dataplane": gw.dataplane}, options.count, what, ike=ike, version=version, signs=signs)


def strongswan_round(lab, options, ike, version, what):
    inside = lab.namespace("gw")
    outside = many.peers_namespace(lab, inside, f"{many.GATEWAY}/16")
    signs = many.certificates(lab, options.count) if what == "ecdsa" else None
    peer = many.strongswan_responder(lab, inside, ike, version=version, signs=signs)
    peer.start()
    return measure(outside, {"responder": peer.process}, options.count, what, ike=ike, version=version, signs=signs)


RESPONDERS = {"culvert": culvert_round, "strongSwan": strongswan_round}


def rows_of(options, version, what, group, responders=RESPONDERS):
    """A row for each of the responders, by turns."""
    suite = f"aes128gcm16-prfsha256-{group}" if version == 2 else f"aes128-sha256-{group}"
    found = {name: [] for name in responders}
    for _ in range(options.rounds):
        for name, one in responders.items():
            with Lab("bench-peers") as lab:
                found[name].append(one(lab, options, suite, version, what))
    for responder, results in found.items():
        cpu = statistics.median(r["responder"]["cpu_seconds"] / max(r["up"], 1) for r in results)
        yield {"version": version, "what": RUNS[what][0], "responder": responder, "group": group, "count": options.count,
               "per_second_and_core": 1 / cpu, "us": cpu * 1e6,
               "dataplane_us": statistics.median(r.get("dataplane", {"cpu_seconds": 0})["cpu_seconds"] / options.count for r in results) * 1e6,
               "kib_each": statistics.median(r["responder"]["kib_each"] for r in results),
               "dataplane_kib_each": statistics.median(r.get("dataplane", {"kib_each": 0})["kib_each"] for r in results),
               "up": min(r["up"] for r in results), "seconds": statistics.median(r["seconds"] for r in results),
               "median_ms": statistics.median(r["median_ms"] for r in results)}


def measure(outside, processes, count, what, **named):
    """culvert-load's last line, with what the processes took for it: for the tunnels, or for the rekeys behind them."""
    time.sleep(1)
    many.load(outside, 1, 1, **named)                                 # neighbours are known, tables made
    usage = lambda: {key: (many.cpu_seconds(p.pid), p.rss_kib()) for key, p in processes.items()}
    before = usage()
    load = outside.start("load", *many.load_command(count, rekey=RUNS[what][1], seconds=max(120, count // 25), **named))
    if RUNS[what][1]:
        wait_for(lambda: "{" in load.output() or not load.alive(), 130, "all tunnels")
        time.sleep(1)                                                 # of the three that it waits
        before = usage()
    load.wait(600)
    result = json.loads(load.output().strip().splitlines()[-1])
    time.sleep(0.5)
    for key, (cpu, rss) in usage().items():
        result[key] = {"cpu_seconds": cpu - before[key][0], "kib_each": (rss - before[key][1]) / count}
    return result


def marks(rows, many):
    """Of each mark: what it is, whether it is met."""
    marked = [r for r in rows if (r["what"], r["group"]) == (RUNS["psk"][0], "curve25519")]
    theirs = {r["version"]: r for r in marked if r["responder"] == "strongSwan"}
    for r in marked:
        if r["responder"] != "culvert":
            continue
        which = f"IKEv{r['version']}, {r['count']} peers: "
        yield f"{which}{r['up']} are up", r["up"] == r["count"]
        if r["version"] in theirs:
            times = r["per_second_and_core"] / theirs[r["version"]]["per_second_and_core"]
            yield f"{which}{times:.2f} times strongSwan's rate with {theirs[r['version']]['count']} peers, 3 are wanted", times >= 3
        if r["count"] == many:
            kb = r["kib_each"] * 1.024
            yield f"{which}{kb:.1f} kB each in culvertd, at most 20 are wanted (and {r['dataplane_kib_each'] * 1.024:.1f} in the data plane)", kb <= 20


def main():
    parser = argparse.ArgumentParser(usage=__doc__.splitlines()[0][len("usage: "):])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--one", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=10000)
    parser.add_argument("--version", type=int, action="append", choices=(1, 2))
    parser.add_argument("--group", action="append")
    parser.add_argument("--what", action="append", choices=RUNS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    rows = []
    for version, what in itertools.product(options.version or [1, 2], options.what or RUNS):
        for group in options.group or RUNS[what][2]:
            rows += rows_of(options, version, what, group)
    if options.many:  # strongSwan takes half a minute of CPU for each thousand of so many: its rate with fewer is the one to compare with
        many_peers = argparse.Namespace(count=options.many, rounds=1, one=True)
        for version in options.version or [2]:
            rows += rows_of(many_peers, version, "psk", "curve25519", {"culvert": culvert_round})
    found = list(marks(rows, options.many))
    if options.json:
        print(json.dumps({"peers": rows, "count": options.count}))
        return options.check and not all(met for _, met in found)
    table(rows, options.rounds)
    for text, met in found:
        print(f"{text}: {'met' if met else 'MISSED'}")
    return options.check and not all(met for _, met in found)


def table(rows, rounds):
    print(f"peers in one process, 64 at once, each an IKE SA and a pair of IPsec SAs; medians of {rounds} rounds")
    print(f"{'':<7}{'':<21}{'responder':<12}{'group':<12}{'a second':>10}{'CPU us':>9}{'data plane us':>15}{'KiB each':>10}{'data plane':>12}{'peers':>7}{'up':>7}"
          f"{'seconds':>9}{'ms each':>9}")
    for r in rows:
        print(f"IKEv{r['version']:<3}{r['what']:<21}{r['responder']:<12}{r['group']:<12}{r['per_second_and_core']:>10.0f}{r['us']:>9.0f}{r['dataplane_us']:>15.0f}"
              f"{r['kib_each']:>10.1f}{r['dataplane_kib_each']:>12.1f}{r['count']:>7}{r['up']:>7}{r['seconds']:>9.1f}{r['median_ms']:>9.1f}")


sys.exit(main())

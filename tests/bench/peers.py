#!/usr/bin/python3
"""usage: peers.py [--count N] [--rounds N] [--version 1|2] [--group NAME]... [--json]

Negotiations at real processes: culvert-load plays N peers (1000) with an address each against culvertd, then against strongSwan, in network
namespaces, by turns. The responder's CPU seconds are the kernel's count for its process (/proc/PID/stat), all its threads together; for culvertd
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
from lib.lab import Lab  # noqa: E402


def culvert_round(lab, count, ike, version):
    inside = lab.namespace("gw")
    outside = many.peers_namespace(lab, inside)
    gw = many.culvert(lab, inside, count, ike, version=version)
    gw.start()
    processes = {"responder": gw.control, "dataplane": gw.dataplane}
    return measure(lab, outside, processes, count, ike, version)


def strongswan_round(lab, count, ike, version):
    inside = lab.namespace("gw")
    outside = many.peers_namespace(lab, inside, f"{many.GATEWAY}/16")
    peer = many.strongswan_responder(lab, inside, ike, version=version)
    peer.start()
    return measure(lab, outside, {"responder": peer.process}, count, ike, version)


def measure(lab, outside, processes, count, ike, version):
    time.sleep(1)
    many.load(outside, 1, 1, ike, version=version)                    # neighbours are known, tables made
    before = {k: (many.cpu_seconds(p.pid), p.rss_kib()) for k, p in processes.items()}
    result = many.load(outside, count, 64, ike, version=version)
    time.sleep(0.5)
    for key, process in processes.items():
        cpu, rss = before[key]
        result[key] = {"cpu_seconds": many.cpu_seconds(process.pid) - cpu, "kib_each": (process.rss_kib() - rss) / count}
    return result


def main():
    parser = argparse.ArgumentParser(usage=__doc__.splitlines()[0][len("usage: "):])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--version", type=int, action="append", choices=(1, 2))
    parser.add_argument("--group", action="append")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for version, group in itertools.product(options.version or [1, 2], options.group or ["curve25519", "ecp256"]):
        suite = f"aes128gcm16-prfsha256-{group}" if version == 2 else f"aes128-sha256-{group}"
        found = {"culvert": [], "strongSwan": []}
        for _ in range(options.rounds):
            for responder, one in (("culvert", culvert_round), ("strongSwan", strongswan_round)):
                with Lab("bench-peers") as lab:
                    found[responder].append(one(lab, options.count, suite, version))
        for responder, results in found.items():
            cpu = statistics.median(r["responder"]["cpu_seconds"] / max(r["up"], 1) for r in results)
            rows.append({"version": version, "responder": responder, "group": group, "per_second_and_core": 1 / cpu, "us": cpu * 1e6,
                         "dataplane_us": statistics.median(r.get("dataplane", {"cpu_seconds": 0})["cpu_seconds"] / options.count for r in results) * 1e6,
                         "kib_each": statistics.median(r["responder"]["kib_each"] for r in results),
                         "up": min(r["up"] for r in results), "seconds": statistics.median(r["seconds"] for r in results),
                         "median_ms": statistics.median(r["median_ms"] for r in results)})
    if options.json:
        print(json.dumps({"peers": rows, "count": options.count}))
        return
    print(f"{options.count} peers in one process, 64 at once, each an IKE SA and a pair of IPsec SAs; medians of {options.rounds} rounds")
    print(f"{'':<7}{'responder':<12}{'group':<12}{'a second':>10}{'CPU us':>9}{'data plane us':>15}{'KiB each':>10}{'up':>7}{'seconds':>9}{'ms each':>9}")
    for r in rows:
        print(f"IKEv{r['version']:<3}{r['responder']:<12}{r['group']:<12}{r['per_second_and_core']:>10.0f}{r['us']:>9.0f}{r['dataplane_us']:>15.0f}{r['kib_each']:>10.1f}"
              f"{r['up']:>7}{r['seconds']:>9.1f}{r['median_ms']:>9.1f}")


main()

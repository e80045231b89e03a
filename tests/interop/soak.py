#!/usr/bin/python3
"""usage: tests/interop/soak.py [--minutes N]     (default: 5; from scripts/soak --live)

Two Culverts that are never left in peace: CHILD SAs and ISAKMP SAs are rekeyed every few seconds under pings both ways, a second connection comes and goes
with all its children, first messages of strangers arrive at a all the time, and the CLI and the metrics are read. Row attack-O7 of tests/attacks.txt.
Looks every two seconds at the memory and the descriptors of all four processes and at the SAs. At the end, once the strangers' half-open SAs have
timed out, everything must be as it was: the numbers of SAs and descriptors the same, memory level over the second half of the run, no echo lost.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

CHILDREN, CAPACITY = 4, 64
LOOK, HALF_OPEN, SETTLE = 2.0, 8, 40           # seconds; SETTLE: until the last of what was replaced or ended is gone
LEVEL, NOISE = 0.01, 1024                      # of memory over the second half: 1 %, or KiB: culvertd remembers 4,096 events, which take a quarter of an hour to come
IKE = {"rekey_time": "10s", "over_time": "20s", "rand_time": "0s", "dpd_delay": "2s", "dpd_timeout": "10s"}
CHILD = {"rekey_time": "3s", "life_time": "30s", "rand_time": "1s"}
SPOOFED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib", "spoofed.py")


def connections(gw, letter, peer):
    ours, theirs = ("1", "2") if letter == "a" else ("2", "1")
    children = {f"n{n}": gateway.child(f"10.{ours}0{n}.0.0/24", f"10.{theirs}0{n}.0.0/24", sites.ESP_SUITE) for n in range(1, CHILDREN + 1)}
    visits = gateway.connection(sites.ADDRESS[letter], sites.ADDRESS[peer], f"visit-{letter}.example", f"visit-{peer}.example", sites.IKE_SUITE,
                                gw.secret(sites.SECRET + "-visit", "visit"), children)
    return {**sites.culvert_connection(gw, letter, peer, start="start" if letter == "a" else "none", child_settings=CHILD,
                                       **(IKE if letter == "a" else {"dpd_delay": "2s", "dpd_timeout": "10s"})), "visits": visits}


def own_memory(process):
    """KiB of anonymous memory. What the processes share is as large as it is from the start, but counts only once it was touched: its rings come round slowly."""
    with open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))


def slope(samples):
    """Least squares: growth a second."""
    n = len(samples)
    mean_t, mean_v = sum(t for t, _ in samples) / n, sum(v for _, v in samples) / n
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    return sum((t - mean_t) * (v - mean_v) for t, v in samples) / spread if spread else 0.0


class Watch:
    """Memory and descriptors of the processes, over time."""

    def __init__(self, gateways):
        self.processes = {f"{what} {letter}": process for letter, gw in gateways.items() for what, process in (("culvertd", gw.control), ("dataplane", gw.dataplane))}
        self.memory = {name: [] for name in self.processes}
        self.begun = time.monotonic()

    def descriptors(self):
        return {name: len(os.listdir(f"/proc/{p.pid}/fd")) for name, p in self.processes.items()}

    def look(self):
        now = time.monotonic() - self.begun
        for name, p in self.processes.items():
            self.memory[name].append((now, own_memory(p)))

    def level(self, name):
        """(whether it is level over the second half, what it grew by there in KiB as a line, now)"""
        half = self.memory[name][len(self.memory[name]) // 2:]
        grown = slope(half) * (half[-1][0] - half[0][0])
        return abs(grown) <= max(LEVEL * half[0][1], NOISE), grown, half[-1][1]


def sas(gw):
    """(ISAKMP SAs, pairs), those that have a successor and are on their way out included."""
    return len(gw.ike_sas()), len(gw.child_sas())


def usual(gateways):
    """The most of each over a rekeying of everything."""
    seen, end = [], time.monotonic() + 11
    while time.monotonic() < end:
        seen.append([sas(gw) for gw in gateways])
        time.sleep(0.3)
    return [tuple(max(row[g][kind] for row in seen) for kind in (0, 1)) for g in range(len(gateways))]


def visit(a, b, number):
    """The second connection comes with all its children, is used, and goes: by either side."""
    for n in range(1, CHILDREN + 1):
        a.initiate("visits", f"n{n}", seconds=8)
    (a if number % 2 else b).terminate("visits")


def body(r, lab, minutes):
    # A table that comes round often: the memory of a slot that was never used is not there before.
    two = sites.TwoCulverts(lab, connections, ike={"half_open_timeout": f"{HALF_OPEN}s"}, dataplane={"sa_capacity": CAPACITY}).start()
    a, b = two.gateway["a"], two.gateway["b"]
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0], 20, "the first echo")
    visit(a, b, 0)                                                          # what is made once is made
    a.metrics()
    time.sleep(SETTLE)
    watch, sas_before = Watch(two.gateway), usual((a, b))
    before = watch.descriptors()
    mac = two.inside["a"].sh("cat", "/sys/class/net/gw0/address").strip()
    strangers = two.inside["b"].start("strangers", "/usr/bin/python3", SPOOFED, "gw0", mac, "20", "main")
    pings = [Ping(two.host[x], f"{x}{y}", sites.HOST[y], interval=0.02) for x, y in ("ab", "ba")]
    end, visits, rows, said = time.monotonic() + 60 * minutes, 0, [], 0
    while time.monotonic() < end:
        looked = time.monotonic()
        visits += 1
        visit(a, b, visits)
        a.metrics()
        watch.look()
        elapsed = time.monotonic() - watch.begun
        if elapsed >= said:
            said += 30
            rows.append([f"{elapsed:.0f} s", *(f"{watch.memory[name][-1][1]}" for name in watch.memory), *watch.descriptors().values(), *map(str, (sas(a), sas(b)))])
            r.note("  ".join(map(str, rows[-1])))
        time.sleep(max(0, looked + LOOK - time.monotonic()))
    results = [p.stop() for p in pings]
    strangers.stop()
    counts = a.exchange_counts()
    r.table(["after", *(f"KiB {name}" for name in watch.memory), *(f"fds {name}" for name in watch.memory), "SAs a", "SAs b"], rows)
    r.note(f"{visits} visits of {CHILDREN} children, {counts['main_mode']} Main Modes and {counts['quick_mode']} Quick Modes of a; the strangers: {strangers.output().strip().splitlines()[-1]}")
    for way, result in zip(("a to b", "b to a"), results):
        r.check(f"no echo lost {way}", not result.lost, f"{result} {result.lost[:10]}")
    for gw in (a, b):
        r.note(f"{gw.name} dropped {({reason: n for reason, n in gw.drops().items() if n})}")
    time.sleep(SETTLE)
    after = usual((a, b))
    level = all(at_end <= at_start + 2 for pair in zip(after, sas_before) for at_end, at_start in zip(*pair))
    r.check("there are as many SAs as before, but for those that are on their way out", level, f"(ISAKMP SAs, pairs) of a and b: {after}, before {sas_before}")
    if not level:
        for gw in (a, b):
            r.note(f"{gw.name}: {[(sa['connection'], sa['state'], sa.get('age_seconds')) for sa in gw.ike_sas()]}")
    half_open = a.metric("culvert_ike_half_open_sas")
    r.check("no half-open SA of a stranger is left", half_open == 0, half_open)
    r.check("as many descriptors are open as before", watch.descriptors() == before, f"{watch.descriptors()}, before {before}")
    for name in watch.memory:
        level, grown, now = watch.level(name)
        r.check(f"memory of {name} is level", level, f"{grown:+.0f} KiB of {now} over the second half, {grown / now:+.2%}")
    r.check("all four are the processes that they were", all(p.alive() for p in watch.processes.values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    minutes = parser.parse_args().minutes
    report.run("soak", lambda r, lab: body(r, lab, minutes))


main()

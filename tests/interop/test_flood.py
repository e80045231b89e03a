#!/usr/bin/python3
"""10,000 random and 10,000 mutated datagrams each on port 500, on port 4500 and as ESP, at the sanitizer build, while a tunnel carries a ping.

Time limit: 300 s. Needs build-asan.
The mutated ones are real messages and ESP packets of this very tunnel with bytes changed, cut or repeated, under the peer's own address and
under others. Afterwards: the same processes, the tunnel with its SAs, no finding of a sanitizer, and a new negotiation at once. The first flood fills what
is bounded (records of failures, newcomers, the log, what ASan keeps of freed memory); a second one, as large, adds nothing to either process.
"""
import os
import random
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import keys, report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, Ping, ping  # noqa: E402

COUNT = int(os.environ.get("CULVERT_FLOOD", "10000"))
RATE = 2500                        # datagrams a second
AGAIN = 3500                       # the second time
SEED = int(os.environ.get("CULVERT_SEED", "1"))
SENDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib", "flood.py")
GROWTH_KIB = {"dataplane": 1024, "culvertd": 4 * 1024}           # by the second flood: its freed memory takes its turn in quarantine
FINDING = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehavior|terminate called|Assertion")


def body(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(gw, letter, peer, dpd_delay="30s"))
    a = two.gateway["a"]
    a.build = os.environ.get("CULVERT_BUILD_ASAN", os.path.join(os.path.dirname(a.build), "build-asan"))
    environment = {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=16:malloc_context_size=5", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}
    os.environ.update(environment)
    # An attacker on the wan: a second card in b's namespace would be b's own, so the datagrams are put on b's side of the wire.
    capture = Capture(two.inside["b"], "gw0", "sample")
    two.start()
    ok, detail = a.initiate("to-b", "net", 30)
    r.check("the tunnel is up", ok, "" if ok else detail)
    ping(two.host["a"], sites.HOST["b"], count=20, interval=0.02)
    a.result("rekey", "to-b/net")
    time.sleep(1)
    capture.stop()
    sample = [frame.hex() for _, frame in keys.frames(capture.file) if frame[12:14] == b"\x08\x00"]
    random.Random(SEED).shuffle(sample)
    samples = lab.write("samples", "\n".join(sample) + "\n")
    mac = open_mac(two.inside["a"])
    r.note(f"{len(sample)} frames of this tunnel to mutate; seed {SEED}")

    def rss():
        return {"dataplane": a.dataplane.rss_kib(), "culvertd": a.control.rss_kib()}

    def send(channel, kind, rate, seed):
        return two.inside["b"].sh("/usr/bin/python3", SENDER, "gw0", mac, samples, channel, kind, COUNT, rate, seed, seconds=120)
    flow = Ping(two.host["a"], "through", sites.HOST["b"], interval=0.02)
    rows = []
    for channel in ("500", "4500", "esp"):
        for kind in ("random", "mutated"):
            drops = a.drops()
            text = send(channel, kind, RATE, SEED)
            time.sleep(0.5)
            after = a.drops()
            most = sorted(((after[k] - drops.get(k, 0), k) for k in after), reverse=True)[:4]
            rows.append([channel, kind, text.strip(), ", ".join(f"{k} {n}" for n, k in most if n)])
            alive = a.dataplane.alive() and a.control.alive()
            r.check(f"{COUNT} {kind} datagrams, {channel}: both processes live", alive)
            if not alive:
                break
    time.sleep(1)
    before = rss()
    for channel in ("500", "4500", "esp"):
        for kind in ("random", "mutated"):
            send(channel, kind, AGAIN, SEED + 1)
    time.sleep(1)
    result, grown = flow.stop(), {k: v - before[k] for k, v in rss().items()}
    r.table(["channel", "kind", "sent", "dropped as"], rows)
    r.check("the tunnel carried the ping all along", len(result.lost) <= result.transmitted // 100, result)
    r.check("the tunnel's SAs are still there", a.child_up("to-b", "net"))
    r.check("as much once more adds nothing to memory", all(grown[k] <= GROWTH_KIB[k] for k in grown), f"grown by {grown} KiB from {before}")
    half_open = lambda: len([s for s in a.ike_sas() if s["state"] == "connecting"])
    wait_for(lambda: half_open() == 0, 45, "half-open SAs to end", step=0.5)
    a.terminate("to-b")
    begun = time.monotonic()
    ok, detail = a.initiate("to-b", "net", 20)
    r.check("a new negotiation succeeds at once", ok and time.monotonic() - begun < 3, f"{time.monotonic() - begun:.2f} s" if ok else detail)
    statuses = {"culvertd": a.control.stop(15), "dataplane": a.dataplane.stop(15)}
    r.check("both end cleanly", all(s == 0 for s in statuses.values()), statuses)
    findings = FINDING.findall(a.control.output() + a.dataplane.output())
    r.check("no finding of a sanitizer", not findings, (a.control.output() + a.dataplane.output())[-1500:] if findings else "")


def open_mac(namespace):
    return re.search(r"link/ether ([0-9a-f:]+)", namespace.sh("ip", "link", "show", "gw0")).group(1)


report.run("flood", body)

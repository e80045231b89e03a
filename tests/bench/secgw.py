#!/usr/bin/python3
"""usage: secgw.py [--json] [--check] [--queued] [--hugepages] [--suite NAME]... [--size N]... [--way out|in]... [--rounds N]

DPDK's ipsec-secgw beside our worker: the same packets, the same devices, the same core, in turns of half a second. Root only.
Its source is fetched from Debian's package and built against the installed DPDK, in the build folder; nothing of it stays elsewhere.
It runs once for each of its ways to do crypto (a crypto device of IPsec-MB's by queues, or called directly), which take turns, too; the
fastest of them counts. It has its policies (no --single-sa), no anti-replay window, and no checksum to verify on receive: it would
refuse devices that do not do that, and takes these after a change of one word. Whoever runs is at real-time priority.
--queued: packets lie in queues when they are received, as with a NIC, for both; the default, net_pcap, copies each, which both pay for.
--hugepages: for both; 2 GB of them must be free (vm.nr_hugepages).
The bound, a loop that receives, writes headers, calls the crypto and sends, is there to see what times its rate could be had at most.
--check: ends with 1 on a missed mark.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(os.environ["CULVERT_BUILD"])
BENCH = os.path.join(BUILD, "tests/bench/culvert-bench")
HOME = os.path.join(BUILD, "secgw")
PROGRAM = os.path.join(HOME, "ipsec-secgw")
FEED = os.path.join(BUILD, "tests/bench/libculvert-feed.so")
EVERYWHERE = ",".join(map(str, sorted(os.sched_getaffinity(0))))  # they choose for themselves; we stay out of their way
SPI, TURN, SETTLE, START = 0x10000000, 0.5, 0.05, 30
UNDER_WAY = 8192  # packets that it may hold, in all: more than it has buffers for
ZERO = lambda n: ":".join(["00"] * n)
# Suite: how secgw's configuration names it, and its crypto devices.
SUITES = {
    "aes128gcm16": ("aead_algo aes-128-gcm aead_key " + ZERO(20), ("crypto_aesni_gcm0", "crypto_aesni_mb0")),
    "aes128-sha1": ("cipher_algo aes-128-cbc cipher_key %s auth_algo sha1-hmac auth_key %s" % (ZERO(16), ZERO(20)), ("crypto_aesni_mb0",)),
}
# What we want to be, times its rate.
WANTED = {("aes128gcm16", "64"): 1.8, ("aes128gcm16", "IMIX"): 1.5, ("aes128gcm16", "1420"): 1.2}
WANTED_CBC = 1.15


def build():
    """Leaves PROGRAM, or raises."""
    if os.path.exists(PROGRAM):
        return
    shutil.rmtree(HOME, ignore_errors=True)
    os.makedirs(HOME + "/lists/partial")
    release = dict(line.rstrip().split("=", 1) for line in open("/etc/os-release") if "=" in line)
    with open(HOME + "/sources.list", "w") as out:
        out.write("deb-src http://deb.debian.org/debian %s main\n" % release["VERSION_CODENAME"].strip('"'))
    apt = ["apt-get", "-q", "-o", "Dir::Etc::SourceList=%s/sources.list" % HOME, "-o", "Dir::Etc::SourceParts=/dev/null",
           "-o", "Dir::State::Lists=%s/lists" % HOME, "-o", "APT::Sandbox::User=root"]
    with open(HOME + "/log", "w") as log:
        call = lambda *args, cwd=HOME: subprocess.run(args, cwd=cwd, stdout=log, stderr=log, check=True)
        call(*apt, "update")
        call(*apt, "source", "dpdk")
        tree = [d for d in os.listdir(HOME) if re.fullmatch(r"dpdk-\d[\d.]*", d)][0]
        example = "%s/%s/examples/ipsec-secgw" % (HOME, tree)
        main = open(example + "/ipsec-secgw.c").read()
        asked = ".offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM"
        if asked not in main:
            raise RuntimeError("this ipsec-secgw asks its devices for something else: look at " + example)
        open(example + "/ipsec-secgw.c", "w").write(main.replace(asked, ".offloads = 0"))
        call("make", "shared", cwd=example)
        shutil.copy(example + "/build/ipsec-secgw-shared", PROGRAM)
        shutil.rmtree("%s/%s" % (HOME, tree))


class Ours:
    name = "culvert"

    def __init__(self, suite, size, way, folder, cpu, how):
        self.bound = []
        self.process = subprocess.Popen(["taskset", "-c", EVERYWHERE, BENCH, "--turns", folder, "--suite", suite, "--size", size, "--way", way, "--cpu", str(cpu)]
                                        + how.queued * ["--queued"] + how.hugepages * ["--hugepages"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.turn()
        self.bound.clear()

    def turn(self):
        """ns per packet; those of the bound are kept."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("culvert-bench has ended")
        ours, bound = map(float, line.split())
        self.bound.append(bound)
        return ours

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Secgw:
    count = 0

    def __init__(self, suite, way, folder, cpu, how, action, device):
        Secgw.count += 1
        self.name = "%s, %s" % (device.rstrip("0"), "by queues" if action == "no-offload" else "called directly")
        self.folder, self.prefix = folder, "secgw%d-%d" % (os.getpid(), Secgw.count)
        keys = SUITES[suite][0]
        config = os.path.join(folder, self.prefix + ".cfg")
        with open(config, "w") as out:
            out.write("sp ipv4 out esp protect %d pri 1 dst 11.0.0.0/28 sport 0:65535 dport 0:65535\n" % SPI
                      + "sp ipv4 in esp protect %d pri 1 dst 10.1.0.0/24 sport 0:65535 dport 0:65535\n" % SPI
                      + "sa out %d %s mode ipv4-tunnel src 10.9.0.1 dst 20.0.0.0 type %s\n" % (SPI, keys, action)
                      + "sa in %d %s mode ipv4-tunnel src 20.0.0.0 dst 10.9.0.1 type %s\n" % (SPI, keys, action)
                      + "rt ipv4 dst 20.0.0.0/32 port 1\nrt ipv4 dst 10.1.0.0/24 port 0\n"
                      + "neigh port 0 02:00:00:00:00:02\nneigh port 1 02:00:00:00:00:02\n")
        packets = "%s/%s.pcap" % (folder, "clear" if way == "out" else "sealed")
        brings = "net_null1,no-rx=1" if how.queued else "net_pcap0,rx_pcap=%s,infinite_rx=1" % packets
        devices = [brings, "net_null0,no-rx=1"] if way == "out" else ["net_null0,no-rx=1", brings]
        self.sender = 1 if way == "out" else 0
        self.told, environment = None, None
        if how.queued:
            self.told = open(os.path.join(folder, self.prefix + ".told"), "w+b", buffering=0)
            self.told.write(bytes(16))
            environment = dict(os.environ, LD_PRELOAD=FEED, CULVERT_FEED=packets, CULVERT_FEED_PORT=str(1 - self.sender), CULVERT_FEED_TOLD=self.told.name)
        self.log = open(os.path.join(folder, self.prefix + ".log"), "w+")
        self.process = subprocess.Popen(
            ["taskset", "-c", EVERYWHERE, "chrt", "-f", "1", PROGRAM, "-l", str(cpu), "--telemetry", "--in-memory" if how.hugepages else "--no-huge", "--no-pci", "-m", "512",
             "--file-prefix", self.prefix]
            + [a for d in devices + [device] for a in ("--vdev", d)]
            + ["--", "-p", "3", "-P", "-u", "2", "-f", config, "--config", "(0,0,%d),(1,0,%d)" % (cpu, cpu)]
            + (["-l"] if action == "cpu-crypto" else []), stdout=self.log, stderr=self.log, env=environment)
        self.telemetry = None
        self.first()

    def first(self):
        """Until it forwards."""
        path = "/var/run/dpdk/%s/dpdk_telemetry.v2" % self.prefix
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.1)
            try:
                if self.telemetry is None:
                    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    s.settimeout(5)
                    s.connect(path)
                    s.recv(16384)
                    self.telemetry = s
                if self.sent()[0] > 10000:
                    self.process.send_signal(signal.SIGSTOP)
                    return
            except (OSError, KeyError, TypeError):
                pass
        self.stop()
        self.log.seek(0)
        raise RuntimeError("ipsec-secgw does not forward (%s): %s" % (self.name, self.log.read()[-400:]))

    def sent(self):
        """Packets sent, ns on the CPU less those on which it filled its queue, packets received."""
        def stats(port):
            self.telemetry.send(b"/ethdev/stats,%d" % port)
            return json.loads(self.telemetry.recv(16384))["/ethdev/stats"]
        received, filling = stats(1 - self.sender)["ipackets"], 0
        if self.told is not None:
            self.told.seek(0)
            filling, received = struct.unpack("QQ", self.told.read(16))
        sent = stats(self.sender)["opackets"]
        with open("/proc/%d/schedstat" % self.process.pid) as f:  # of its first thread, which is its only lcore: ns on the CPU
            return sent, int(f.read().split()[0]) - filling, received

    def turn(self):
        self.process.send_signal(signal.SIGCONT)
        time.sleep(SETTLE)
        before = self.sent()
        time.sleep(TURN)
        after = self.sent()
        self.process.send_signal(signal.SIGSTOP)
        sent, missing = after[0] - before[0], after[2] - after[0]
        if sent < 1000 and self.process.poll() is None:
            return self.turn()  # somebody else had the CPU
        if missing > UNDER_WAY:
            raise RuntimeError("ipsec-secgw (%s) has lost %d packets" % (self.name, missing))
        return (after[1] - before[1]) / sent

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree("/var/run/dpdk/" + self.prefix, ignore_errors=True)


def quartiles(values):
    v = sorted(values)
    return [v[(len(v) - 1) * q // 4] for q in (1, 2, 3)]


def measure(suite, size, way, rounds, cpu, how):
    contenders, left_out = [], []
    with tempfile.TemporaryDirectory(prefix="culvert-secgw-") as folder:
        try:
            contenders.append(Ours(suite, size, way, folder, cpu, how))
            for device in SUITES[suite][1]:
                for action in ("no-offload", "cpu-crypto"):
                    try:
                        contenders.append(Secgw(suite, way, folder, cpu, how, action, device))
                    except RuntimeError as e:
                        left_out.append(str(e))
            if len(contenders) < 2:
                raise RuntimeError("; ".join(left_out))
            taken = [[] for _ in contenders]
            for _ in range(rounds):
                for c, t in zip(contenders, taken):
                    t.append(c.turn())
        finally:
            for c in contenders:
                c.stop()
    best = min(range(1, len(contenders)), key=lambda i: statistics.median(taken[i]))
    wanted = WANTED.get((suite, size), WANTED_CBC if suite == "aes128-sha1" else None)
    ratio = quartiles([t / o for o, t in zip(taken[0], taken[best])])
    bound = quartiles([t / b for b, t in zip(contenders[0].bound, taken[best])])
    return {"suite": suite, "inner_bytes": size, "direction": way, "ns": quartiles(taken[0]), "secgw_ns": quartiles(taken[best]), "bound_ratio": bound,
            "mode": contenders[best].name, "modes": {c.name: quartiles(t)[1] for c, t in zip(contenders[1:], taken[1:])},
            "left_out": left_out, "ratio": ratio, "wanted": wanted, "met": wanted is None or ratio[1] >= wanted}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--queued", action="store_true")
    parser.add_argument("--hugepages", action="store_true")
    parser.add_argument("--suite", action="append", choices=sorted(SUITES))
    parser.add_argument("--size", action="append")
    parser.add_argument("--way", action="append", choices=["out", "in"])
    parser.add_argument("--rounds", type=int, default=12)
    o = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays behind a run that is stopped
    build()
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        sys.exit("secgw.py: needs two CPUs, one to measure on and one to watch from")
    os.sched_setaffinity(0, cpus[:-1])
    rows = []
    form = "{:<12} {:>6} {:<4} {:>9} {:>9}  {:<20} {:<10} {:<8} {:<36}"
    if not o.json:
        print(form.format("suite", "bytes", "", "our ns", "secgw ns", "times its rate", "the bound", "wanted", "its fastest way to do crypto"))
    for suite in o.suite or ["aes128gcm16", "aes128-sha1"]:
        for way in o.way or ["out", "in"]:
            for size in o.size or ["64", "IMIX", "1420"]:
                r = measure(suite, size, way, o.rounds, cpus[-1], o)
                rows.append(r)
                if not o.json:
                    print(form.format(suite, size, way, "%.1f" % r["ns"][1], "%.1f" % r["secgw_ns"][1],
                                      "%.2f [%.2f, %.2f]" % (r["ratio"][1], r["ratio"][0], r["ratio"][2]),
                                      "%.2f" % r["bound_ratio"][1], "-" if r["wanted"] is None else "%.2f" % r["wanted"],
                                      r["mode"] + (": met" if r["met"] else ": MISSED") * (r["wanted"] is not None)), flush=True)
    if o.json:
        print(json.dumps({"rows": rows}))
    sys.exit(1 if o.check and not all(r["met"] for r in rows) else 0)


if __name__ == "__main__":
    main()

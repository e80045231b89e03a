"""Pings and captures: what went in, what came back, and where it was lost."""
import collections
import os
import re
import time

from .lab import LabError


class Ping:
    """A ping that runs on, each answer kept, so that the lost ones are known by number.

    The default interval is shorter than 10 ms, since ping rounds it up to the kernel's timer tick (0.01 becomes 16 ms at 250 Hz);
    the result says what it really was.
    """

    def __init__(self, namespace, name, target, source=None, interval=0.006, size=56, count=None):
        options = ["-n", "-O", "-D", "-i", interval, "-s", size, "-W", "2"]
        if source:
            options += ["-I", source]
        if count:
            options += ["-c", count]
        self.started = time.monotonic()
        self.process = namespace.start(f"ping-{name}", "ping", *options, target)

    def stop(self):
        """Ends it as Ctrl-C would, giving the last echoes time to come back, and reads the result."""
        import signal
        if self.process.alive():
            self.process.signal(signal.SIGINT)
        self.process.wait(10)
        return self.result()

    def result(self):
        return PingResult(self.process.output())


class PingResult:
    """sent, transmitted (those apart that were under_way at its end), received, lost (sequence numbers), rtt_max in ms."""

    def __init__(self, text):
        summary = re.search(r"(\d+) packets transmitted, (\d+) received", text)
        if not summary:
            raise LabError(f"ping gave no summary: {text[-300:]}")
        self.text = text
        self.transmitted, self.received = map(int, summary.groups())
        seen = {int(n) for n in re.findall(r"bytes from [^\n]*icmp_seq=(\d+)", text)}
        duration = re.search(r"time (\d+)ms", text)
        self.interval = int(duration.group(1)) / self.transmitted if duration and self.transmitted else 0.0   # in ms
        rtt = re.search(r"= [\d.]+/([\d.]+)/([\d.]+)/", text)
        self.rtt_avg, self.rtt_max = (float(rtt.group(1)), float(rtt.group(2))) if rtt else (0.0, 0.0)
        # Those in flight when it was stopped: as many as fit into the longest way there and back, and one.
        self.sent = self.transmitted
        last, at_most = self.transmitted, 1 + int(self.rtt_max / self.interval) if self.interval else 1
        while "bytes from" in text and last not in seen and self.transmitted - last < at_most:
            last -= 1
        self.under_way, self.transmitted = self.transmitted - last, last
        self.lost = [n for n in range(1, last + 1) if n not in seen]

    @property
    def dense(self):
        """Whether echoes went often enough for a gap to show. They are sent each 6 ms; what a busy machine makes of that decides no test."""
        return 0 < self.interval <= 50

    def __str__(self):
        return f"{self.transmitted} sent, one every {self.interval:.1f} ms, {len(self.lost)} lost, rtt avg {self.rtt_avg} max {self.rtt_max} ms"


def ping(namespace, target, source=None, size=56, count=3, interval=0.2, wait=1):
    """(all answered, summary line)"""
    options = ["-n", "-q", "-c", count, "-i", interval, "-s", size, "-W", wait] + (["-I", source] if source else [])
    text = namespace.sh("ping", *options, target, seconds=count * max(interval, wait) + 10, check=False)
    line = next((l for l in text.splitlines() if "transmitted" in l), text.strip()[-200:])
    return " 0% packet loss" in line, line


def pings(where, sizes, count, pairs, seconds=150):
    """Many at once, of all sizes: [(name, source, target)] -> {name: how many were answered}"""
    lines = [f'{{ echo "{name} $(ping -n -q -c {count} -i 0.8 -W 5 -s {size} -I {source} {target} 2>&1 | grep transmitted)"; }} &'
             for name, source, target in pairs for size in sizes]
    text = where.sh("bash", "-c", "\n".join(lines) + "\nwait", seconds=seconds)
    found = collections.Counter()
    for name, received in re.findall(r"^(\S+) \d+ packets transmitted, (\d+) received", text, re.M):
        found[name] += int(received)
    return found


class Capture:
    """tcpdump on one interface, as a pcap file."""

    def __init__(self, namespace, interface, name, expression=""):
        self.file = namespace.lab.path(f"{name}.pcap")
        self.process = namespace.start(f"tcpdump-{name}", "tcpdump", "-Z", "root", "--immediate-mode", "-U", "-n", "-B", "16384", "-s", "0",
                                       "-i", interface, "-w", self.file, *([expression] if expression else []))
        from .lab import wait_for
        wait_for(lambda: "listening on" in self.process.output() or not self.process.alive(), 10, f"tcpdump on {interface}")
        if not self.process.alive():
            raise LabError(f"tcpdump on {interface}: {self.process.output()[-300:]}")

    def stop(self):
        """Stops it; returns the number of packets that tcpdump itself lost."""
        time.sleep(0.3)
        self.process.stop()
        dropped = re.search(r"(\d+) packets dropped by kernel", self.process.output())
        return int(dropped.group(1)) if dropped else 0


def tshark(lab, pcap, *arguments, seconds=120):
    """tshark's standard output, without its warnings."""
    import subprocess
    done = subprocess.run(["tshark", "-r", pcap, "-n", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=seconds, env={**os.environ, "HOME": lab.dir, "XDG_CONFIG_HOME": lab.dir})
    if done.returncode != 0:
        raise LabError(f"tshark on {pcap}: {done.stderr.strip()[-300:]}")
    return done.stdout

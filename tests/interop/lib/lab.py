"""One laboratory: a folder and a set of network namespaces of its own, and everything that runs in them.

    with Lab("suites") as lab:
        host, gw, peer = lab.namespaces("host", "gw", "peer")
        lab.link(host, "h0", "10.1.0.10/24", gw, "in0", None)

Names carry a tag that is unique per run, so that many laboratories exist side by side. Leaving the block stops every process that was
started through it (by pid, never by name) and deletes its namespaces, also after an error, an interrupt or a SIGTERM.
Must never touch a namespace, process or interface that it has not made.
"""
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

RUN_ROOT = "/tmp"                  # short: paths of Unix sockets end at 107 bytes
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something that the laboratory itself could not do; the text says what."""


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for(condition, seconds, what, step=0.05):
    """The first true value of condition(), or LabError after `seconds`. `what` completes the sentence "timed out waiting for ..."."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise LabError(f"timed out after {seconds} s waiting for {what}")
        time.sleep(step)


def reaches(condition, seconds, what):
    """Whether condition() becomes true within `seconds`."""
    try:
        return bool(wait_for(condition, seconds, what))
    except LabError:
        return False


class Process:
    """A child process with its output in a file. Stopped by pid: TERM, then KILL."""

    def __init__(self, name, argv, log, env=None, detached=False):
        self.name, self.argv, self.log = name, argv, log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                                          env={**os.environ, **(env or {})}, preexec_fn=None if detached else _die_with_parent)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait(self, seconds):
        """Exit status; LabError when it does not end in time."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} did not end within {seconds} s") from None

    def signal(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def kill(self):
        """SIGKILL, as a crash would be."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self, patience=5):
        """TERM, after `patience` seconds KILL. Returns the exit status (negative: the signal)."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(10)

    def rss_kib(self):
        """Resident memory now, in KiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise LabError(f"no VmRSS of {self.name}")


class Namespace:
    """A network namespace: `name` within the laboratory, `path` as ip-netns knows it."""

    def __init__(self, lab, name):
        self.lab, self.name, self.id = lab, name, f"cv-{lab.tag}-{name}"
        lab.sh("ip", "netns", "add", self.id)
        self.sh("ip", "link", "set", "lo", "up")
        self.sysctl(**{"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0})
        if os.path.exists("/proc/sys/net/ipv6"):
            self.sysctl(**{"net.ipv6.conf.all.disable_ipv6": 1, "net.ipv6.conf.default.disable_ipv6": 1})

    def argv(self, *command):
        return ["ip", "netns", "exec", self.id, *map(str, command)]

    def sh(self, *command, seconds=30, check=True):
        """Runs a command to its end and returns its output; LabError if it fails and `check`."""
        return self.lab.sh(*self.argv(*command), seconds=seconds, check=check)

    def start(self, name, *command, env=None):
        """Starts a process that runs on; the laboratory stops it at the end."""
        return self.lab.start(f"{self.name}-{name}", self.argv(*command), env=env)

    def sysctl(self, **settings):
        self.sh("sysctl", "-qw", *(f"{key}={value}" for key, value in settings.items()))

    def address(self, interface, *cidrs):
        for cidr in cidrs:
            self.sh("ip", "addr", "add", cidr, "dev", interface)

    def addresses(self, interface, cidrs):
        """Many addresses at once."""
        batch = "".join(f"addr add {cidr} dev {interface}\n" for cidr in cidrs)
        subprocess.run(self.argv("ip", "-batch", "-"), input=batch, text=True, check=True, timeout=30)

    def route(self, to, via):
        self.sh("ip", "route", "add", to, "via", via)


class Lab:
    """See the head of the file. `keep`: leaving the block stops nothing (the demo's --keep)."""

    def __init__(self, name, tag=None, keep=False):
        if os.geteuid() != 0:
            raise LabError("network namespaces need root")
        self.name, self.keep = name, keep
        self.tag = tag or os.environ.get("CULVERT_LAB_TAG") or os.urandom(3).hex()
        self.dir = tempfile.mkdtemp(prefix=f"cv-{self.tag}-", dir=RUN_ROOT)
        self.processes, self.made, self.cleanups, self.verdicts = [], [], [], []
        self.verdict = None

    def __enter__(self):
        def end(number, _frame):
            raise KeyboardInterrupt(f"signal {number}")
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, end)
            signal.signal(signal.SIGHUP, end)
        return self

    def __exit__(self, kind, value, trace):
        if self.keep and kind is None:
            return
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)    # a second one must not stop the clearing up
        self.close(failed=kind is not None)
        if self.verdict and kind is None:
            raise LabError(self.verdict)

    def close(self, failed=False):
        for cleanup in reversed(self.cleanups):
            try:
                cleanup()
            except (LabError, OSError, subprocess.SubprocessError) as error:
                print(f"clearing up {self.name}: {error}", file=sys.stderr)
        for process in reversed(self.processes):
            process.signal(signal.SIGTERM)
        for process in reversed(self.processes):
            process.stop()
        self.verdict = "; ".join(filter(None, (verdict() for verdict in self.verdicts)))
        for namespace in reversed(self.made):
            self.sh("ip", "netns", "del", namespace.id, check=False)
        self.save(failed or bool(self.verdict))
        shutil.rmtree(self.dir, ignore_errors=True)

    def save(self, failed):
        """Copies logs, captures and configurations to $CULVERT_LAB_KEEP/NAME when the run asks for it or something failed."""
        folder = os.environ.get("CULVERT_LAB_KEEP")
        if not folder or not (failed or os.environ.get("CULVERT_LAB_KEEP_ALL") or getattr(self, "failed", False)):
            return
        target = os.path.join(folder, self.name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.dir, target, ignore=lambda where, names: [
            n for n in names if not os.path.isfile(os.path.join(where, n)) and not os.path.isdir(os.path.join(where, n))])
        print(f"logs, captures and configurations of {self.name}: {target}")

    def path(self, *parts):
        """A path in the laboratory's folder, its parents made."""
        path = os.path.join(self.dir, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, text, mode=0o600):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def sh(self, *command, seconds=30, check=True):
        try:
            done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=seconds, text=True, errors="replace")
        except subprocess.TimeoutExpired:
            raise LabError(f"{' '.join(map(str, command))}: no end after {seconds} s") from None
        if check and done.returncode != 0:
            raise LabError(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stdout.strip()[-600:]}")
        return done.stdout

    def start(self, name, argv, env=None):
        process = Process(name, argv, self.path(f"{name}.log"), env=env, detached=self.keep)
        self.processes.append(process)
        with open(self.path("pids"), "a", encoding="ascii") as f:
            f.write(f"{process.pid} {name}\n")
        return process

    def on_exit(self, function):
        self.cleanups.append(function)

    def at_last(self, verdict):
        """verdict() is asked when every process has ended: what is wrong, or nothing. What it says fails the test, whatever it forgets."""
        self.verdicts.append(verdict)

    def namespace(self, name):
        namespace = Namespace.__new__(Namespace)
        namespace.lab, namespace.id = self, f"cv-{self.tag}-{name}"
        self.made.append(namespace)
        namespace.__init__(self, name)
        return namespace

    def namespaces(self, *names):
        return [self.namespace(name) for name in names]

    def link(self, a, if_a, cidr_a, b, if_b, cidr_b):
        """A veth pair between two namespaces. Address None: the end belongs to a gateway, the kernel keeps out (no address, no ARP)."""
        self.sh("ip", "link", "add", if_a, "netns", a.id, "type", "veth", "peer", "name", if_b, "netns", b.id)
        for namespace, interface, cidr in ((a, if_a, cidr_a), (b, if_b, cidr_b)):
            self.offload_off(namespace, interface)
            if cidr is None:
                namespace.sh("ip", "link", "set", interface, "arp", "off")
            elif cidr:
                namespace.address(interface, cidr)
            namespace.sh("ip", "link", "set", interface, "up")

    def offload_off(self, namespace, interface):
        """A checksum that the sender leaves to the NIC never becomes right for a raw-socket reader."""
        namespace.sh("ethtool", "-K", interface, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off")


def _command(pid):
    """" (culvertd)", or nothing when the process has ended."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as f:
            return f" ({f.read().strip()})"
    except OSError:
        return ""


def sweep(tag):
    """Removes what laboratories with this tag have left behind (killed, or kept); says what that was. Ends what the laboratories have started and
    whatever else runs in a namespace of theirs, such as a culvertd that somebody has started again by hand; trusts a pid only in such a namespace."""
    found = []

    def end(pid, name):
        try:
            os.kill(pid, signal.SIGKILL)
            found.append(f"stopped {name}")
        except ProcessLookupError:
            pass                                                        # it has ended by itself

    for folder in glob.glob(f"{RUN_ROOT}/cv-{tag}-*"):
        pids = os.path.join(folder, "pids")
        if os.path.exists(pids):
            with open(pids, encoding="ascii") as f:
                for line in f:
                    pid, name = line.split(maxsplit=1)
                    inside = subprocess.run(["ip", "netns", "identify", pid], capture_output=True, text=True, check=False).stdout.strip()
                    if inside.startswith(f"cv-{tag}-"):
                        end(int(pid), name.strip())
        shutil.rmtree(folder, ignore_errors=True)
    for line in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout.splitlines():
        if line.startswith(f"cv-{tag}-"):
            namespace = line.split()[0]
            for pid in subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout.split():
                end(int(pid), f"process {pid}{_command(pid)} in {namespace}")
            subprocess.run(["ip", "netns", "del", namespace], check=False)
            found.append(f"removed namespace {namespace}")
    return found

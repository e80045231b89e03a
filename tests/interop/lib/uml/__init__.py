"""A Linux guest (User Mode Linux 6.1, Debian's user-mode-linux) in a network namespace: the peer with the kernel's own ESP, and with netem.

Why: strongSwan's libipsec always encapsulates ESP in UDP, and a host kernel may be without ESP (CONFIG_INET_ESP) and without netem
(CONFIG_NET_SCH_NETEM; `tc qdisc add ... netem` then says "Specified qdisc kind is unknown"). The guest has both, boots in three to four
seconds, and needs no hardware virtualisation. It is one CPU, and its clock is a busy process's: no place for latency or throughput figures.

    lab.link(gw, "gw0", None, peer, "peer0", "")     # the guest's end: no address, the host's kernel stays silent there
    guest = Guest(lab, peer, "guest", ["peer0"]).boot()
    guest.address("vec0", "10.9.0.2/24")
    charon = StrongSwan(lab, guest, "charon", connections, secret, kernel="kernel-netlink").start()

It has what a Namespace has (sh, start, address, route, sysctl), so whatever runs in a namespace runs in a guest, too. Two gateways can have
a bad line between them without netem in the host's kernel: a guest with two interfaces, bridge() and netem().

The guest's root is the host's /, read-only; the laboratory's folder is writable in it. halt(), which leaving the laboratory calls, leaves
no process, interface or file outside of that folder behind; a guest whose starter is killed dies with all its processes.
"""
import ipaddress
import os
import re
import select
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

from ..lab import LabError, wait_for

HERE = Path(__file__).resolve().parent
KERNEL = "/usr/bin/linux.uml"
TAP, CONTROL_HOST, CONTROL_GUEST, PORT = "ctl0", "169.254.77.1", "169.254.77.2", 7777


def why_not():
    """Why no guest can be started here, or None if it can."""
    if os.geteuid() != 0:
        return "a guest needs root"
    for program in KERNEL, "/usr/bin/gcc", "/usr/bin/socat":
        if not os.access(program, os.X_OK):
            return f"{program} is not installed"
    return None if Path("/usr/lib/uml/modules").is_dir() else "the guest kernel's modules are not installed"


class Guest:
    """One guest in `namespace`. The `interfaces` there become vec0, vec1, ... in it, up to nine; a tap is one whose name begins so. One guest per namespace."""

    def __init__(self, lab, namespace, name, interfaces, memory_mb=192):
        self.lab, self.namespace, self.name, self.id = lab, namespace, name, f"{namespace.id}-{name}"
        self.interfaces, self.memory_mb = list(interfaces), memory_mb
        self.folder = Path(lab.path(name, "boot")).parent
        self.kernel = None
        self._shim_folder = None

    def boot(self, seconds=40):
        """Starts the guest and returns it when commands can be run in it. See power_on() for threads."""
        self.power_on()
        return self.ready(seconds)

    def power_on(self):
        """Starts it; ready() must follow. It dies with the thread that calls this."""
        if why_not():
            raise LabError(why_not())
        self.lab.write(f"{self.name}/guest.env", f"NAME={shlex.quote(self.id)}\nSHARED={shlex.quote(self.lab.dir)}\n"
                                                 f"CONTROL={CONTROL_GUEST}/30\nPORT={PORT}\n")
        for command in (["tuntap", "add", "dev", TAP, "mode", "tap"], ["addr", "add", f"{CONTROL_HOST}/30", "dev", TAP], ["link", "set", TAP, "up"]):
            self.namespace.sh("ip", *command)
        self.lab.on_exit(self.halt)
        nics = [f"vec{i}:transport={'tap' if interface.startswith('tap') else 'raw'},ifname={interface},depth=128,mac={self._mac(i)}"
                for i, interface in enumerate(self.interfaces)]
        # In a PID namespace of its own: when its first process, the guest's kernel, ends in whatever way, all others do.
        self.kernel = self.namespace.start(
            self.name, "unshare", "--pid", "--fork", "--kill-child=KILL", KERNEL, f"mem={self.memory_mb}M", "rootfstype=hostfs", "rootflags=/",
            "root=/dev/root", "ro", f"init={HERE}/init", "con=null", "con0=null,fd:1", "ssl=null", "quiet", f"umid={self.name}",
            f"uml_dir={self.folder}/uml", *nics, f"vec9:transport=tap,ifname={TAP},depth=64", f"culvert_guest={self.folder}",
            env={"LD_PRELOAD": str(self._build_shim())})

    def ready(self, seconds=40):
        """Returns the guest when commands can be run in it; LabError, with the end of its console, if that takes longer."""
        try:
            wait_for(lambda: not self.kernel.alive() or ((self.folder / "boot").exists() and self._answers()), seconds, "the guest")
        except LabError as late:
            raise LabError(f"{late}; its console ends: {self.kernel.output()[-800:]}") from None
        if not self.kernel.alive():
            raise LabError(f"the guest died; its console ends: {self.kernel.output()[-800:]}")
        return self

    def _answers(self):
        try:
            return self.script("true", seconds=3, check=False) == ""
        except LabError:
            return False

    def _mac(self, index):
        """Locally administered, and different for all guests of a laboratory."""
        return ":".join(f"{byte:02x}" for byte in (0x02, 0x55, *self.id.encode()[-3:], index))

    def _build_shim(self):
        """Compiles the shim (see there) to where code may be mapped: a folder for temporary files may be mounted noexec."""
        for place in self.folder, Path("/dev/shm"), Path("/var/tmp"):
            if place.is_dir() and not os.statvfs(place).f_flag & os.ST_NOEXEC:
                self._shim_folder = tempfile.TemporaryDirectory(prefix="culvert-uml-", dir=place)
                break
        else:
            raise LabError("there is no folder from which code may be run")
        shim = Path(self._shim_folder.name) / "shim.so"
        self.lab.sh("gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", shim, HERE / "shim.c", "-ldl")
        return shim

    def halt(self):
        """Ends the guest and removes what it had outside of its folder. May be called at any time, and again."""
        if self.kernel and self.kernel.alive():
            try:
                self.script("echo o > /proc/sysrq-trigger", seconds=1, check=False)
            except LabError:
                pass                               # it halts while it should answer
            try:
                self.kernel.wait(1)
            except LabError:
                self.kernel.kill()
        self.namespace.sh("ip", "link", "del", TAP, check=False)
        if self._shim_folder:
            self._shim_folder.cleanup()
            self._shim_folder = None

    def script(self, text, seconds=30, check=True):
        """Runs a bash script; returns its standard output and error. LabError if it does not end within `seconds`, or, with `check`, fails."""
        code, output = self.run(text, seconds)
        if check and code != 0:
            raise LabError(f"in the guest, exit {code}: {text}: {output.strip()[-600:]}")
        return output

    def run(self, text, seconds=30):
        """Runs a bash script; returns (exit status, output). A background process in it must have its output redirected."""
        channel = subprocess.Popen(self.namespace.argv("socat", f"-t{seconds}", "-", f"TCP:{CONTROL_GUEST}:{PORT},connect-timeout=3"),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            channel.stdin.write(f"{{ {text}\n}} </dev/null\ncode=$?; echo; echo \"__ended_with=$code\"; exit\n".encode())
            channel.stdin.close()
            return self._answer(channel.stdout.fileno(), text, seconds)
        except BrokenPipeError:
            raise LabError("the guest does not answer") from None
        finally:                                   # not by its own end: a background process may hold the connection open
            channel.kill()
            channel.wait()
            channel.stdout.close()

    @staticmethod
    def _answer(descriptor, text, seconds):
        end, answer = time.monotonic() + seconds, b""
        while True:
            found = re.search(rb"\n?__ended_with=(\d+)\n\Z", answer)
            if found:
                return int(found.group(1)), answer[:found.start()].decode(errors="replace")
            if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
                raise LabError(f"in the guest, no end after {seconds} s: {text}")
            piece = os.read(descriptor, 65536)
            if not piece:
                raise LabError(f"in the guest, no end: {text}: {answer.decode(errors='replace').strip()[-600:]}")
            answer += piece

    def sh(self, *command, seconds=30, check=True):
        """As Namespace.sh."""
        return self.script(shlex.join(map(str, command)), seconds, check)

    def start(self, name, *command, env=None):
        """As Namespace.start: a process that runs on."""
        return GuestProcess(self, name, list(map(str, command)), env or {})

    def sysctl(self, **settings):
        self.sh("sysctl", "-qw", *(f"{key}={value}" for key, value in settings.items()))

    def address(self, interface, *cidrs):
        """As Namespace.address; puts the interface up, too."""
        lines = [f"addr add {cidr} dev {interface}" for cidr in cidrs] + [f"link set {interface} up"]
        self.script("ip -batch - <<END\n" + "\n".join(lines) + "\nEND")

    def route(self, to, via):
        self.sh("ip", "route", "add", to, "via", ipaddress.ip_address(via))

    def bridge(self):
        """Joins all its interfaces: a wire between them, on which netem() is the only bad thing."""
        self.script("\n".join(["ip link add br0 type bridge && ip link set br0 up || exit"] +
                              [f"ip link set vec{i} up && ip link set vec{i} master br0 || exit" for i in range(len(self.interfaces))]))

    def netem(self, settings, interface="vec0"):
        """Delays, loses, reorders, duplicates what leaves `interface`: "delay 20ms 5ms loss 2% reorder 25%". Empty: no more of that."""
        self.script(f"tc qdisc del dev {interface} root 2>/dev/null; {f'tc qdisc add dev {interface} root netem {settings}' if settings else 'true'}")

    def netem_counts(self, interface="vec0"):
        """(packets sent, packets dropped) by netem on `interface`."""
        text = self.script(f"tc -s qdisc show dev {interface}")
        found = re.search(r"qdisc netem.*?Sent \d+ bytes (\d+) pkt \(dropped (\d+)", text, re.S)
        if not found:
            raise LabError(f"no netem on {interface}: {text}")
        return int(found.group(1)), int(found.group(2))

    def xfrm_states(self):
        """The SAs of the guest's kernel, with their counters. Holds keys: for tshark, not for a log."""
        return parse_xfrm_states(self.script("ip -s xfrm state"))

    def xfrm_errors(self):
        """The non-zero counters of /proc/net/xfrm_stat: every way in which the kernel's IPsec refuses a packet."""
        pairs = (line.split() for line in self.script("cat /proc/net/xfrm_stat").splitlines())
        return {name: int(value) for name, value in pairs if int(value)}


class GuestProcess:
    """As lab.Process, for a process in a guest. Its output is in the laboratory's folder."""

    def __init__(self, guest, name, command, env):
        self.guest, self.name = guest, f"{guest.name}-{name}"
        self.log = guest.lab.path(f"{self.name}.log")
        words = shlex.join([f"{key}={value}" for key, value in env.items()] + command)
        self.pid = int(guest.script(f"setsid env {words} >>{shlex.quote(self.log)} 2>&1 </dev/null & echo $!"))

    def alive(self):
        return self.guest.run(f"kill -0 {self.pid} 2>/dev/null")[0] == 0

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def signal(self, number):
        self.guest.run(f"kill -{int(number)} {self.pid} 2>/dev/null")

    def wait(self, seconds):
        wait_for(lambda: not self.alive(), seconds, f"the end of {self.name}", step=0.2)

    def stop(self, patience=5):
        self.guest.run(f"kill {self.pid} 2>/dev/null; for i in $(seq {patience * 10}); do kill -0 {self.pid} 2>/dev/null || break; sleep 0.1; done\n"
                       f"kill -9 {self.pid} 2>/dev/null", seconds=patience + 10)


def parse_xfrm_states(text):
    """`ip -s xfrm state`: a list of dicts with source, destination, spi, bytes, packets, window, replayed, failed, algorithms {kind: (name, key)}."""
    found = []
    for block in re.split(r"^(?=src )", text, flags=re.M):
        head = re.match(r"src (\S+) dst (\S+)\s+proto (\S+) spi (0x[0-9a-f]+)", block)
        if not head:
            continue
        number = lambda pattern, where=block: int(re.search(pattern, where).group(1))
        found.append({
            "source": head.group(1), "destination": head.group(2), "protocol": head.group(3), "spi": int(head.group(4), 16),
            "bytes": number(r"lifetime current:\s+(\d+)\(bytes\)"), "packets": number(r"lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)"),
            "window": number(r"stats:\s+replay-window (\d+)"), "replayed": number(r"stats:\s+replay-window \d+ replay (\d+)"),
            "failed": number(r"stats:\s+replay-window \d+ replay \d+ failed (\d+)"),
            "algorithms": {kind: (name, key) for kind, name, key in re.findall(r"^\s+(auth|auth-trunc|enc|aead) (\S+) (0x[0-9a-f]+)", block, re.M)},
        })
    return found

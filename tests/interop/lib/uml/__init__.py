"""A Linux guest (User Mode Linux 6.1, Debian's user-mode-linux) in a network namespace: the peer with the kernel's own ESP.

Why: strongSwan's libipsec always encapsulates ESP in UDP, and a host kernel may be without ESP (CONFIG_INET_ESP) and without netem
(CONFIG_NET_SCH_NETEM; `tc qdisc add ... netem` then says "Specified qdisc kind is unknown"). The guest has both, boots in three to four
seconds, and needs no hardware virtualisation. It is one CPU and its clock is a busy process's: no place for latency or throughput figures.
Without netem in the host's kernel, a bad line between two gateways is made by a guest that bridges two interfaces: Guest.bridge().

Everything of a guest lies in a folder that the caller names; names inside a namespace are fixed, so two guests need two namespaces. The
guest's root is the host's /, read-only; its folder is writable from both sides. stop() leaves no process, no interface and no shim behind.
"""
import dataclasses
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNEL = "/usr/bin/linux.uml"
TAP, CONTROL_HOST, CONTROL_GUEST, PORT = "ctl0", "169.254.77.1", "169.254.77.2", 7777


class GuestError(RuntimeError):
    """The guest could not be started, did not answer, or a command in it failed."""


@dataclasses.dataclass
class Result:
    code: int
    output: str    # standard output and error together


def why_not():
    """Why no guest can be started here, or None if it can."""
    if os.geteuid() != 0:
        return "a guest needs root"
    for program in KERNEL, "/usr/bin/gcc", "/usr/bin/socat":
        if not os.access(program, os.X_OK):
            return f"{program} is not installed"
    return None if Path("/usr/lib/uml/modules").is_dir() else "the guest kernel's modules are not installed"


class Guest:
    """One guest. `interfaces` of `namespace` (veth ends that the host gives no address) become vec0, vec1, ... in it, up to nine."""

    def __init__(self, namespace, interfaces, folder, memory_mb=192):
        self.namespace = namespace
        self.interfaces = list(interfaces)
        self.folder = Path(folder).resolve()
        self.memory_mb = memory_mb
        self.process = None
        self._shim_dir = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def _in_namespace(self, *command, **options):
        return subprocess.run(["ip", "netns", "exec", self.namespace, *command], **options)

    def start(self, timeout=40.0):
        """Boots; returns when commands can be run. Raises GuestError with the console's end if that takes longer than `timeout` seconds."""
        reason = why_not()
        if reason:
            raise GuestError(reason)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "boot").unlink(missing_ok=True)
        (self.folder / "guest.env").write_text(
            f"NAME={shlex.quote(self.namespace)}\nCONTROL={CONTROL_GUEST}/30\nPORT={PORT}\n", encoding="utf-8")
        for command in ([["link", "set", i, "up"] for i in self.interfaces] +
                        [["tuntap", "add", "dev", TAP, "mode", "tap"], ["addr", "add", f"{CONTROL_HOST}/30", "dev", TAP],
                         ["link", "set", TAP, "up"]]):
            self._in_namespace("ip", *command, check=True)
        for interface in self.interfaces:          # the host must neither speak there nor leave checksums to a NIC
            self._in_namespace("sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1", check=True)
            self._in_namespace("ethtool", "-K", interface, *"tx off rx off tso off gso off gro off".split(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._boot(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def _boot(self, deadline):
        nics = [f"vec{i}:transport=raw,ifname={name},depth=128,mac={self._mac(i)}" for i, name in enumerate(self.interfaces)]
        command = ["ip", "netns", "exec", self.namespace, "setpriv", "--pdeathsig", "KILL", KERNEL, f"mem={self.memory_mb}M",
                   "rootfstype=hostfs", "rootflags=/", "root=/dev/root", "ro", f"init={HERE}/init", "con=null", "con0=null,fd:1", "ssl=null",
                   "quiet", f"umid={self.namespace}", f"uml_dir={self.folder}/uml", *nics,
                   f"vec9:transport=tap,ifname={TAP},depth=64", f"culvert_guest={self.folder}"]
        with open(self.folder / "console", "wb") as console:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                                            env=dict(os.environ, LD_PRELOAD=str(self._build_shim())), start_new_session=True)
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if (self.folder / "boot").exists():
                try:
                    if self.run("true", timeout=2.0, check=False).code == 0:
                        return
                except GuestError:
                    pass
            time.sleep(0.05)
        raise GuestError(f"the guest of {self.namespace} did not come up:\n" + self._tail("console"))

    def _mac(self, index):
        number = int.from_bytes(self.namespace.encode()[-3:].rjust(3, b"\0"), "big")
        return "02:55:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(3, "big")) + f":{index:02x}"

    def _build_shim(self):
        """Compiles the shim to where code may be mapped (a run directory is often mounted noexec). See xsave_shim.c."""
        for place in self.folder, Path("/dev/shm"), Path("/tmp"), Path("/var/tmp"):
            if place.is_dir() and not os.statvfs(place).f_flag & os.ST_NOEXEC:
                self._shim_dir = tempfile.TemporaryDirectory(prefix="culvert-uml-", dir=place)
                break
        else:
            raise GuestError("no folder from which code may be run")
        shim = Path(self._shim_dir.name) / "xsave_shim.so"
        subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(shim), str(HERE / "xsave_shim.c"), "-ldl"], check=True)
        return shim

    def _tail(self, name, lines=15):
        path = self.folder / name
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def run(self, script, timeout=30.0, check=True):
        """Runs a bash script in the guest and returns its Result. GuestError if there is no answer in `timeout` seconds, or, with `check`,
        if its exit status is not 0. A daemon started by it must have its standard output and error redirected, or the call waits for it."""
        text = f"{{ {script}\n}} </dev/null\ncode=$?; echo; echo \"__ended_with=$code\"\n"
        try:
            answer = self._in_namespace("socat", f"-t{timeout}", "-", f"TCP:{CONTROL_GUEST}:{PORT},connect-timeout=3", input=text,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout + 1)
        except subprocess.TimeoutExpired as late:
            raise GuestError(f"no answer from the guest of {self.namespace} in {timeout} s: {script}") from late
        found = re.search(r"\n?__ended_with=(\d+)\s*\Z", answer.stdout)
        if not found:
            raise GuestError(f"the guest of {self.namespace} did not finish: {script}\n{answer.stdout}")
        result = Result(int(found.group(1)), answer.stdout[:found.start()])
        if check and result.code != 0:
            raise GuestError(f"in the guest of {self.namespace}, exit status {result.code}: {script}\n{result.output}")
        return result

    def address(self, interface, *cidrs):
        """Gives vec0, vec1, ... or lo addresses, and puts it up."""
        self.run("\n".join([f"ip addr add {cidr} dev {interface} || exit 1" for cidr in cidrs] + [f"ip link set {interface} up"]))

    def bridge(self):
        """Joins all its interfaces to a bridge: a piece of wire between them, on which netem() is the only bad thing."""
        self.run("\n".join(["ip link add br0 type bridge && ip link set br0 up || exit 1"] +
                           [f"ip link set vec{i} up && ip link set vec{i} master br0 || exit 1" for i in range(len(self.interfaces))]))

    def netem(self, settings, interface="vec0"):
        """Delays, loses, reorders, duplicates what leaves `interface`, e.g. "delay 20ms 5ms loss 2% reorder 25%"; "" ends it."""
        self.run(f"tc qdisc del dev {interface} root 2>/dev/null; " + (f"tc qdisc add dev {interface} root netem {settings}" if settings else "true"))

    def netem_dropped(self, interface="vec0"):
        """(packets sent, packets dropped) by the interface's netem."""
        found = re.search(r"qdisc netem.*?Sent \d+ bytes (\d+) pkt \(dropped (\d+)", self.run(f"tc -s qdisc show dev {interface}").output, re.S)
        if not found:
            raise GuestError(f"no netem on {interface}")
        return int(found.group(1)), int(found.group(2))

    def stop(self):
        """Halts the guest and removes what it made outside of its folder. May be called at any time and again."""
        if self.process and self.process.poll() is None:
            try:
                self.run("echo o > /proc/sysrq-trigger", timeout=1.0, check=False)
            except GuestError:
                pass                               # it halts while it answers
            try:
                self.process.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                pass
        if self.process:
            try:                                   # the guest's processes are processes of the host, in the same group
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None
        self._in_namespace("ip", "link", "del", TAP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if self._shim_dir:
            self._shim_dir.cleanup()
            self._shim_dir = None

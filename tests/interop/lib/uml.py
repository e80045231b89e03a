"""A Linux kernel as a peer: User Mode Linux, a kernel that runs as a process, with the kernel's own native ESP (protocol 50) and strongSwan.

Its network card is one end of a veth of the namespace; its root is the host's / through hostfs, read-only, with the laboratory's folder
writable in it. A second card on a tap carries commands (uml_init answers them). It is one CPU with the clock of a busy process: no place
for latency or throughput figures.
"""
import hashlib
import os
import subprocess

from .lab import LabError, wait_for
from .strongswan import PLUGINS, STRONGSWAN_CONF, parse_raw, render

HERE = os.path.dirname(os.path.abspath(__file__))
CONTROL_HOST, CONTROL_GUEST, CONTROL_PORT = "169.254.77.1/30", "169.254.77.2", 7777


class Guest:
    """`interface` of `namespace` becomes the guest's card vec0 with address `cidr`; `lo`: more addresses; `gateway`: its default route."""

    def __init__(self, lab, namespace, name, interface, cidr, lo=(), gateway="", memory="256M"):
        self.lab, self.namespace, self.name = lab, namespace, name
        self.interface, self.cidr, self.lo, self.gateway, self.memory = interface, cidr, lo, gateway, memory
        self.folder = lab.path(name, "x")[:-2]
        self.process = None

    def start(self, seconds=40):
        if not os.path.isdir("/usr/lib/uml/modules"):
            raise LabError("user-mode-linux is not installed (scripts/install test)")
        shim = self._shim()
        tag = hashlib.md5(self.namespace.id.encode()).hexdigest()[:6]
        mac = "02:4c:" + ":".join((tag + "00")[i:i + 2] for i in range(0, 8, 2))
        tap = f"um{tag}"
        sh = self.namespace.sh
        sh("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        sh("ip", "addr", "add", CONTROL_HOST, "dev", tap)
        sh("ip", "link", "set", tap, "up")
        boot = f"{self.folder}/boot"
        self.process = self.namespace.start(
            f"uml-{self.name}", "linux.uml", f"mem={self.memory}", "rootfstype=hostfs", "rootflags=/", "root=/dev/root", "ro",
            f"init={HERE}/uml_init", "con=null", "con0=null,fd:1", "ssl=null", "quiet", f"umid={tag}", f"uml_dir={self.folder}/uml",
            f"vec0:transport=raw,ifname={self.interface},depth=128,mac={mac}", f"vec1:transport=tap,ifname={tap},depth=64",
            f"cv_share={self.lab.dir}", f"cv_boot={boot}", f"cv_name={self.name}", f"cv_ip={self.cidr}", f"cv_lo={','.join(self.lo)}",
            f"cv_gw={self.gateway}", env={"LD_PRELOAD": shim, "TMPDIR": "/dev/shm"})
        self.lab.on_exit(self.halt)
        wait_for(lambda: not self.process.alive() or (os.path.exists(boot) and self.run("true", check=False, seconds=3)[0] == 0),
                 seconds, "the User Mode Linux guest to boot", step=0.3)
        if not self.process.alive():
            raise LabError(f"the guest died: {self.process.output()[-500:]}")
        return self

    def _shim(self):
        """The preloaded library that keeps User Mode Linux 6.1 alive on processors with a large XSAVE area; /dev/shm allows execution."""
        path = f"/dev/shm/cv-{self.lab.tag}-umlshim.so"
        self.lab.sh("gcc", "-O2", "-shared", "-fPIC", "-o", path, f"{HERE}/uml_shim.c")
        self.lab.on_exit(lambda: os.path.exists(path) and os.unlink(path))
        return path

    def halt(self):
        if self.process and self.process.alive():
            self.run("echo o > /proc/sysrq-trigger", check=False, seconds=2)
            self.process.stop(patience=3)

    def run(self, commands, seconds=60, check=True):
        """(status, output) of shell commands in the guest. A daemon's output must be redirected, or the call waits for it."""
        script = f"{{ {commands}\n}} </dev/null\nR=$?; echo; echo \"__STATUS=$R\"\n"
        try:
            done = subprocess.run(self.namespace.argv("socat", f"-t{seconds}", "-", f"TCP:{CONTROL_GUEST}:{CONTROL_PORT},connect-timeout=2"),
                                  input=script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=seconds + 5)
        except subprocess.TimeoutExpired:
            raise LabError(f"no answer from the guest within {seconds} s to: {commands}") from None
        output, _, status = done.stdout.rpartition("__STATUS=")
        code = int(status.strip() or 125) if status.strip().isdigit() else 125
        if check and code != 0:
            raise LabError(f"in the guest: {commands}: exit {code}: {output.strip()[-500:]} {done.stderr.strip()[-200:]}")
        return code, output.strip()


class GuestStrongSwan:
    """strongSwan in a guest, with the kernel's ESP. The same calls as StrongSwan where the tests need them."""

    def __init__(self, guest, name, connections, secret):
        self.guest, self.name = guest, name
        self.folder = guest.lab.path(name, "x")[:-2]
        self.log = f"{self.folder}/charon.log"
        guest.lab.write(f"{name}/strongswan.conf", STRONGSWAN_CONF.format(
            plugins=PLUGINS.format(kernel="kernel-netlink"), vici="/run/charon.vici", log=self.log, retransmit_timeout=1.0, extra=""))
        self.configure(connections, secret)

    def configure(self, connections, secret):
        self.guest.lab.write(f"{self.name}/swanctl/swanctl.conf",
                             render({"connections": connections, "secrets": {"ike-all": {"secret": f'"{secret}"'}}}))

    def start(self):
        self.guest.run(f"""STRONGSWAN_CONF={self.folder}/strongswan.conf setsid charon-systemd >{self.folder}/charon.out 2>&1 </dev/null &
for i in $(seq 100); do [ -S /run/charon.vici ] && break; sleep 0.1; done""")
        self.swanctl("load-all")
        return self

    def swanctl(self, command, *arguments, seconds=40, check=True):
        text = " ".join(f"'{a}'" for a in arguments)
        return self.guest.run(f"STRONGSWAN_CONF={self.folder}/strongswan.conf SWANCTL_DIR={self.folder}/swanctl "
                              f"swanctl --{command} --uri unix:///run/charon.vici {text} 2>&1", seconds=seconds, check=check)[1]

    def initiate(self, child_name, seconds=10):
        text = self.swanctl("initiate", "--child", child_name, "--timeout", seconds, check=False)
        return "initiate completed successfully" in text, text

    def terminate(self, connection_name, seconds=10):
        return self.swanctl("terminate", "--ike", connection_name, "--timeout", seconds, check=False)

    def child_sas(self, connection_name=None):
        found = []
        for event in parse_raw(self.swanctl("list-sas", "--raw")):
            for name, sa in event.items():
                if isinstance(sa, dict) and connection_name in (None, name):
                    found.extend(sa.get("child-sas", {}).values())
        return found

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

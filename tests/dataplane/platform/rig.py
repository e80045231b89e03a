"""One culvert-dataplane between two ports whose other ends are raw sockets of the test: no kernel answers anything.

    lan h0 (10.1.0.10) -- in0 [10.1.0.1 gateway 10.9.0.1] gw0 -- w0 (10.9.0.2) wan

Needs root (network namespaces). Names carry the process id, so that runs do not meet.
"""
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

from scapy.all import ARP, ICMP, IP, UDP, Ether, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6, Raw, conf  # noqa: F401

conf.verb = 0
LIBC = ctypes.CDLL(None, use_errno=True)
ETH_P_ALL = 3
PATIENCE = 10            # seconds that what must come may take on a busy machine

CONFIG = """
dataplane: {{socket: {dir}/dp.sock, workers: {workers}, main_cpu: 0, idle: adaptive, sa_capacity: 256, memory: {{hugepages: false, size: 192MB, mbufs: 8192}}}}
ports:
  wan: {{device: "net_af_packet0,iface=gw0", addresses: [10.9.0.1/24, "2001:db8:9::1/64"], mtu: {wan_mtu}}}
  lan: {{device: "net_af_packet1,iface=in0", addresses: [10.1.0.1/24, "2001:db8:1::1/64"], mtu: {lan_mtu}}}
tunnels: {{st0: {{addresses: [169.254.1.1/30]}}, st1: {{}}}}
routes: [{{to: 10.4.0.0/16, tunnel: st0}}, {{to: 10.5.0.0/16, tunnel: st1}}, {{to: 10.2.0.0/24, via: 10.9.0.2}}, {{to: "2001:db8:2::/48", via: "2001:db8:9::2"}}, {{to: "2001:db8:7::/48", via: "fe80::2", port: wan}}, {{to: 198.51.100.0/24, via: 10.9.0.2}}, {{to: 203.0.113.0/24, via: 10.9.0.77}}]
control: {{socket: {dir}/culvertd.sock, log: {{format: text, level: info}}}}
connections: {{}}
"""


def sh(*args):
    subprocess.run(args, check=True, capture_output=True, text=True)


class Host:
    """One end of a veth as a raw socket, with addresses for which it answers ARP, or neighbour solicitations, while it listens."""

    def __init__(self, namespace, interface, addresses, gateway_mac=None):
        with open(f"/run/netns/{namespace}") as there, open("/proc/self/ns/net") as here:
            if LIBC.setns(there.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
                self.socket.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
                self.socket.bind((interface, ETH_P_ALL))
            finally:
                LIBC.setns(here.fileno(), 0)
        self.mac = ":".join(f"{b:02x}" for b in self.socket.getsockname()[4])
        self.addresses = addresses
        self.gateway_mac = gateway_mac
        self.answer_arp = True

    def frame(self, raw):
        self.socket.send(bytes(raw))

    def receive(self):
        """The next frame; None: it is not for us."""
        data, where = self.socket.recvfrom(65536)
        return None if where[2] == 4 else Ether(data)  # PACKET_OUTGOING

    def send(self, packet):
        """An IP packet to the gateway."""
        self.frame(Ether(src=self.mac, dst=self.gateway_mac) / packet)

    def announce(self, address):
        """It is heard of: one that did not listen for long, and so did not answer, may be taken for gone."""
        self.frame(Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=self.mac, psrc=address, pdst=address))

    def frames(self, seconds):
        """Every frame that comes within the time, requests for our addresses answered on the way."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return
            frame = self.receive()
            if frame is None:
                continue
            if ARP in frame and frame[ARP].op == 1 and self.answer_arp and frame[ARP].pdst in self.addresses:
                a = frame[ARP]
                self.frame(Ether(src=self.mac, dst=a.hwsrc) / ARP(op=2, hwsrc=self.mac, psrc=a.pdst, hwdst=a.hwsrc, pdst=a.psrc))
            if ICMPv6ND_NS in frame and self.answer_arp and frame[ICMPv6ND_NS].tgt in self.addresses:
                target = frame[ICMPv6ND_NS].tgt
                self.frame(Ether(src=self.mac, dst=frame.src) / IPv6(src=target, dst=frame[IPv6].src, hlim=255) /
                           ICMPv6ND_NA(tgt=target, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=self.mac))
            yield frame

    def expect(self, match, seconds=PATIENCE):
        """The first IP packet (its bytes parsed anew, without Ethernet's padding) for which match() holds; None: none came."""
        for frame in self.frames(seconds):
            if IP in frame:
                packet = IP(bytes(frame[IP])[: frame[IP].len])
                if match(packet):
                    return packet
        return None

    def expect_v6(self, match, seconds=PATIENCE):
        """The same of IPv6 packets that are no neighbour discovery."""
        for frame in self.frames(seconds):
            if IPv6 in frame and frame.type == 0x86DD and ICMPv6ND_NS not in frame and ICMPv6ND_NA not in frame:
                packet = IPv6(bytes(frame[IPv6])[: 40 + frame[IPv6].plen])
                if match(packet):
                    return packet
        return None

    def numbers(self, source, wanted, seconds=PATIENCE):
        """The IP ids of packets of this source, until all of `wanted` have come."""
        got = set()
        for frame in self.frames(seconds):
            if IP in frame and frame[IP].src == source:
                got.add(frame[IP].id)
                if wanted <= got:
                    break
        return got

    def drain(self):
        """Reads what is there, and what still comes, until nothing has come for a while: the next test shall not find it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and any(True for _ in self.frames(0.05)):
            pass


class Client:
    """tests/support/control_client as a process."""

    def __init__(self, program, path):
        self.process = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.greeting = self.process.stdout.readline().strip()

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def ok(self, line):
        answer = self.ask(line)
        assert answer == "ok", f"{line}: {answer}"

    def drops(self):
        return dict((k, int(v)) for k, v in (w.split("=") for w in self.ask("drops").split() if w != "."))

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Rig:
    WAN_MTU, LAN_MTU = 1400, 1500
    CONFIG = CONFIG

    def __init__(self, dataplane, client, workers):
        self.dataplane, self.client_program, self.workers = dataplane, client, workers
        self.tag = f"pf{os.getpid()}"
        self.namespaces = [f"{self.tag}-{n}" for n in ("gw", "lan", "wan")]
        self.folder = tempfile.TemporaryDirectory(prefix=f"culvert-{self.tag}-")
        self.process = None
        self.client = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        gw, lan, wan = self.namespaces
        for ns in self.namespaces:
            sh("ip", "netns", "add", ns)
        for inside, outside, ns in (("in0", "h0", lan), ("gw0", "w0", wan)):
            sh("ip", "link", "add", inside, "netns", gw, "type", "veth", "peer", "name", outside, "netns", ns)
            for where, interface in ((gw, inside), (ns, outside)):
                sh("ip", "netns", "exec", where, "ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
                sh("ip", "netns", "exec", where, "sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1")
                if self.LAN_MTU > 1500:
                    sh("ip", "-n", where, "link", "set", interface, "mtu", str(self.LAN_MTU))
                sh("ip", "-n", where, "link", "set", interface, "up")
        self.lan = self.host(lan, "h0", ["10.1.0.10", "2001:db8:1::10"])
        self.wan = self.host(wan, "w0", ["10.9.0.2", "2001:db8:9::2", "fe80::2"])
        self.process = self.launch(self.write("gw.yaml", self.CONFIG.format(dir=self.folder.name, workers=self.workers, wan_mtu=self.WAN_MTU, lan_mtu=self.LAN_MTU)), "gw.log")
        end = time.monotonic() + 60
        while "culvert-dataplane ready" not in self.log():
            assert self.process.poll() is None and time.monotonic() < end, "the data plane did not start:\n" + self.log()
            time.sleep(0.05)

    def host(self, namespace, interface, addresses):
        return Host(namespace, interface, addresses)

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def launch(self, config, log):
        with open(os.path.join(self.folder.name, log), "w") as out:
            return subprocess.Popen(["ip", "netns", "exec", self.namespaces[0], self.dataplane, "--config", config], stdout=out, stderr=out)

    def log(self, name="gw.log"):
        with open(os.path.join(self.folder.name, name)) as f:
            return f.read()

    def attach(self):
        self.client = Client(self.client_program, f"{self.folder.name}/dp.sock")
        return self.client

    def dropped(self, before, **wanted):
        """Waits until the counters have grown by what is wanted, and says whether they did, exactly."""
        end = time.monotonic() + PATIENCE
        while True:
            now = self.client.drops()
            grown = {k: now.get(k, 0) - before.get(k, 0) for k in wanted}
            if grown == wanted:
                return True
            if time.monotonic() > end or any(grown[k] > wanted[k] for k in wanted):
                print(f"      drops grew by {({k: now[k] - before.get(k, 0) for k in now if now[k] != before.get(k, 0)})}, wanted {wanted}")
                return False
            time.sleep(0.01)

    def stop(self):
        if self.client:
            self.client.kill()
        code = None
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for ns in self.namespaces:
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)
        self.end = (code, self.log() if self.process else "")
        self.folder.cleanup()


def wait_until(condition, what, seconds=PATIENCE):
    """The first true value of condition()."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.02)
    return value


def run_all(arguments, names, always, rig_class=Rig, counts=("[0]", "[0, 0]")):
    """Runs every test_* of a module against one gateway, with one worker and with two (`counts`); arguments: program, DATAPLANE, CLIENT, [PATTERN].
    Behind one that fails another gateway begins, with `always` first, so that it says nothing of the others. Ends the process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays behind a run that is stopped
    dataplane, client = arguments[1:3]
    pattern = arguments[3] if len(arguments) > 3 else ""
    first = [(n, f) for n, f in names.items() if n in always]
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and (pattern in n or n in always)]
    ran = failed = 0
    for workers in counts:
        left = tests
        while left:
            with rig_class(dataplane, client, workers) as rig:
                done, good = run_until_failure(rig, left, workers)
            ran += done
            failing, left = None if good else left[done - 1], left[done:]
            if failing in first:  # the others need it
                print("      not run behind it: " + ", ".join(name[5:] for name, _ in left))
                left = []
            elif failing and left:
                left = [t for t in first if t not in left] + left
            code, log = rig.end
            ends_well = code == 0 and "culvert-dataplane ends; packets:" in log and not any(w in log for w in ("ERROR", "runtime error", "lost without a reason"))
            if not ends_well:
                print(f"FAIL  workers {workers}: the data plane ended {code}")
            if not good or not ends_well:
                print(log[-6000:])
            failed += (not good) + (not ends_well)
        ran += 1
    print(f"All tests passed ({ran} assertions in {ran} test cases)" if not failed else
          f"test cases: {ran} | {ran - failed} passed | {failed} failed")
    sys.exit(1 if failed else 0)


def run_until_failure(rig, tests, workers):
    """How many ran, and whether the last of them, too, was good."""
    for done, (name, test) in enumerate(tests, 1):
        try:
            test(rig)
            rig.lan.drain()
            rig.wan.drain()
            print(f"ok    workers {workers} {name[5:]}", flush=True)
        except Exception:
            print(f"FAIL  workers {workers} {name[5:]}\n{traceback.format_exc()}", flush=True)
            return done, False
    return len(tests), True

#!/usr/bin/python3
"""VLANs and several next hops against the Linux kernel's own 802.1Q, ARP and neighbour discovery.

Time limit: 60 s. Mostly waits.
A User Mode Linux guest is a host on two VLANs of one port (`ip link add link vec0 type vlan`), and the router behind both to 10.2.0.0/16. Pings of all sizes up
to the MTU over both families; flows to the networks behind have one of the two VLANs each, as the guest's kernel counts and trace-packet says; when the guest
leaves one of them, all flows have the other.

    host a 10.1.0.10 -- in0 [Culvert] gw0 --- wire --- br0, tap0 -- vec0 [Linux guest] vlan 100: 10.9.0.2, fd00:9::2; vlan 200: 10.8.0.9, fd00:8::9
"""
import re
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, uml  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

VLANS = {"one": (100, "10.9.0", "fd00:9:"), "two": (200, "10.8.0", "fd00:8:")}
FLOWS = 12


class Site:
    def __init__(self, lab):
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "peer0", "")
        # The guest's raw sockets would not see tags, which the host's kernel takes off for them; a tap's frames are whole.
        for words in ("tuntap add dev tap0 mode tap", "link add br0 type bridge", "link set tap0 master br0", "link set peer0 master br0", "link set tap0 up",
                      "link set br0 up"):
            self.outside.sh("ip", *words.split())
        self.guest = uml.Guest(lab, self.outside, "linux", ["tap0"])
        self.culvert = gateway.Gateway(lab, self.inside, "culvert", {"wan": ("gw0", []), "lan": ("in0", ["10.1.0.1/16"])},
                                       [{"to": "10.2.0.0/16", "via": ["10.9.0.2", "10.8.0.9"]}], default_policy="bypass")
        self.culvert.config["vlans"] = {name: {"port": "wan", "id": number, "addresses": [f"{v4}.1/24", f"{v6}:1/64"]}
                                        for name, (number, v4, v6) in VLANS.items()}
        self.culvert.write()

    def start(self):
        self.guest.power_on()
        self.culvert.start()
        self.guest.ready(60)
        self.guest.sysctl(**{"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.default.disable_ipv6": 0, "net.ipv6.conf.default.accept_dad": 0})
        lines = ["ip link set vec0 up"]
        for name, (number, v4, v6) in VLANS.items():
            last = 2 if name == "one" else 9
            lines += [f"ip link add link vec0 name {name} type vlan id {number}", f"ip addr add {v4}.{last}/24 dev {name}",
                      f"ip addr add {v6}:{last}/64 dev {name} nodad", f"ip link set {name} up"]
        lines += [f"ip addr add 10.2.0.{n}/32 dev lo" for n in range(1, FLOWS + 1)] + ["ip route add 10.1.0.0/16 via 10.9.0.1"]
        self.guest.script(" && ".join(lines))
        return self

    def received(self):
        """Packets that the guest's kernel has taken in, by VLAN."""
        text = self.guest.script("cat /proc/net/dev")
        return {name: int(re.search(rf"^\s*{name}:\s*\d+\s+(\d+)", text, re.M).group(1)) for name in VLANS}

    def traced(self, n):
        """The next hop that trace-packet tells of a ping to 10.2.0.n."""
        steps = " ".join(s["text"] for s in self.culvert.result("trace-packet", "10.1.0.10", f"10.2.0.{n}")["steps"])
        return re.search(r"is reached via (\S+) by port (\w+), the one of 2 next hops", steps).groups()


def body(r, lab):
    if uml.why_not():
        r.skip("VLANs against the Linux kernel", uml.why_not())
        return
    site = Site(lab).start()
    own = [a for _, v4, v6 in VLANS.values() for a in (f"{v4}.1", f"{v6}:1")]
    lost = [(a, size) for a in own for size in (0, 56, 1400) if not ping(site.guest, a, size=size, count=1, wait=10)[0]]
    lost += list(site.culvert.drops().items()) if lost else []
    r.check("the guest's pings to both VLANs' addresses, IPv4 and IPv6, are answered", not lost, lost)
    whole = [a for size, targets in ((1472, ["10.9.0.1", "10.8.0.1"]), (1452, ["fd00:9::1", "fd00:8::1"])) for a in targets
             if site.guest.run(f"ping -c 1 -W 10 -M do -s {size} {a}")[0] != 0]
    r.check("... and whole packets of the MTU", not whole, whole)
    r.check("from a port to a VLAN and back", ping(site.host, "10.9.0.2", count=2, interval=0.1)[0])
    before = site.received()
    answered = sum(bool(ping(site.host, f"10.2.0.{n}", count=1, wait=10)[0]) for n in range(1, FLOWS + 1))
    grown = {k: v - before[k] for k, v in site.received().items()}
    r.check(f"{FLOWS} flows to what is behind both next hops are answered", answered == FLOWS, answered)
    told = [site.traced(n) for n in range(1, FLOWS + 1)]
    wanted = {name: sum(port == name for _, port in told) for name in VLANS}
    r.check("each VLAN has the flows that trace-packet says", all(grown[k] >= wanted[k] >= 1 for k in VLANS), f"{grown}, told {wanted}")
    missed = lambda: site.culvert.dataplane.output().count("next hop 10.8.0.9 by two does not answer")  # also before the guest was there
    known = missed()
    site.guest.script("ip link set two down")
    wait_for(lambda: missed() > known, 15, "the next hop to be missed")
    answered = sum(bool(ping(site.host, f"10.2.0.{n}", count=1, wait=1)[0]) for n in range(1, FLOWS + 1))
    r.check("all flows have the other one when the guest leaves a VLAN", answered == FLOWS, answered)
    r.check("... and trace-packet says so", {site.traced(n)[1] for n in range(1, 5)} == {"one"})
    r.check("no frame was of another VLAN", site.culvert.drops().get("vlan_unknown", 0) == 0)


report.run("vlan", body)

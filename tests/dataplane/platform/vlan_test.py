#!/usr/bin/python3
"""usage: vlan_test.py CULVERT_DATAPLANE CONTROL_CLIENT [PATTERN]: VLANs of ports, Scapy as hosts on them.

Both sides of the gateway are VLANs, of ports that also speak untagged: what platform_test.py and v6_test.py show of ports holds for them, too. Then what is of
VLANs alone. Ends 77 (skipped) without root.
"""
import struct
import subprocess
import sys
import time

from platform_test import FAR, LAN, OPEN, WAN, same_forwarded, test_arp, test_forwarding, test_ike, test_ping_own_address  # noqa: F401
from platform_test import test_too_big, test_tunnel_byte_for_byte, test_ttl_exceeded  # noqa: F401
from rig import PATIENCE, Host, Rig, run_all, wait_until
from scapy.all import ARP, ICMP, IP, UDP, Dot1Q, Ether, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, Raw
from v6_test import test_attach as attach_v6, test_neighbour_discovery, test_tunnels as tunnels_v6  # noqa: F401

WAN_VLAN, LAN_VLAN, GUESTS = 5, 4094, 77
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 1 << 4

CONFIG = """
dataplane: {{socket: {dir}/dp.sock, workers: {workers}, main_cpu: 0, idle: adaptive, sa_capacity: 256, memory: {{hugepages: false, size: 192MB, mbufs: 8192}}}}
ports:
  outside: {{device: "net_af_packet0,iface=gw0", addresses: [10.66.0.1/24], mtu: {lan_mtu}}}
  inside: {{device: "net_af_packet1,iface=in0", addresses: [], mtu: {lan_mtu}}}
vlans:
  guests: {{port: inside, id: 77, addresses: [10.8.0.1/24, "2001:db8:8::1/64"]}}
  wan: {{port: outside, id: 5, addresses: [10.9.0.1/24, "2001:db8:9::1/64"], mtu: {wan_mtu}}}
  lan: {{port: inside, id: 4094, addresses: [10.1.0.1/24, "2001:db8:1::1/64"]}}
routes: [{{to: 10.2.0.0/24, via: 10.9.0.2}}, {{to: "2001:db8:2::/48", via: "2001:db8:9::2"}}, {{to: "2001:db8:7::/48", via: "fe80::2", port: wan}}, {{to: 198.51.100.0/24, via: 10.9.0.2}}, {{to: 203.0.113.0/24, via: 10.9.0.77}}, {{to: 100.64.0.0/10, via: [10.66.0.2, {{address: 10.9.0.2, weight: 3}}]}}]
control: {{socket: {dir}/culvertd.sock, log: {{format: text, level: info}}}}
connections: {{}}
"""


class VlanHost(Host):
    """A host on a VLAN: what it sends has the tag, and it sees frames with the tag only; others are strays."""

    def __init__(self, namespace, interface, addresses, vlan):
        super().__init__(namespace, interface, addresses)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.vlan, self.strays = vlan, []

    def frame(self, raw):
        raw = bytes(raw)
        self.socket.send(raw[:12] + struct.pack("!HH", 0x8100, self.vlan) + raw[12:])

    def receive(self):
        data, told, _, where = self.socket.recvmsg(65536, 256)
        if where[2] == 4:  # PACKET_OUTGOING
            return None
        tag = 0  # the kernel takes the tag off, and tells of it
        for level, kind, text in told:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", text[:20])
                tag = tci if status & VLAN_VALID else 0
        if tag == self.vlan:
            return Ether(data)
        self.strays.append((tag, Ether(data)))
        return None


class VlanRig(Rig):
    CONFIG = CONFIG

    def host(self, namespace, interface, addresses):
        return VlanHost(namespace, interface, addresses, LAN_VLAN if interface == "h0" else WAN_VLAN)


def test_attach(rig):
    attach_v6(rig)
    rig.client.ok("policy 1 protect 1 499 10.1.0.0/24 10.2.0.0/24")  # as platform_test.py has it, before number 2
    for number, pair in enumerate(("10.1.0.0/24 198.51.100.0/24", "10.1.0.0/24 203.0.113.0/24", "10.1.0.0/24 10.8.0.0/24"), 20):
        rig.client.ok(f"policy {number} bypass 0 1000 {pair}")
    rig.client.ok("complete")


def test_tunnels_v6(rig):
    rig.client.ok("policy 1 protect 1 500 2001:db8:1::/48 2001:db8:2::/64")  # as v6_test.py has it
    tunnels_v6(rig)


def ports(rig):
    """rx packets and bytes, tx packets and bytes, link, MTU, by name."""
    return {k: [int(x) for x in v.split(",")] for k, v in (w.split("=") for w in rig.client.ask("ports").split() if w != ".")}


def test_several_next_hops(rig):
    """One on a VLAN, one on the port itself; the latter is silent until it is asked here: flows have the other one, and then it gets its share of them, by their
    weights."""
    outside = VlanHost(rig.namespaces[2], "w0", ["10.66.0.2"], 0)

    def ways(ports):
        """Which of the two each flow takes, in a row of its packets; the other's frames are strays."""
        for host in (outside, rig.wan):
            host.drain()
        for port in ports:
            rig.lan.send(IP(src=LAN, dst="100.64.7.7") / UDP(sport=port, dport=9) / Raw(b"flow"))
        took, end = {}, time.monotonic() + PATIENCE
        while len(took) < len(ports) and time.monotonic() < end:
            for name, host in (("outside", outside), ("wan", rig.wan)):
                for frame in host.frames(0.2):
                    if UDP in frame and frame[IP].dst == "100.64.7.7":
                        took.setdefault(frame[UDP].sport, []).append(name)
        return took

    rig.client.ok("policy 30 bypass 0 1000 10.1.0.0/24 100.64.0.0/10")
    rig.client.ok("complete")
    outside.answer_arp = False
    flows = range(2000, 2060)
    end = time.monotonic() + 10
    while "next hop 10.66.0.2 by outside does not answer" not in rig.log():
        assert time.monotonic() < end
        time.sleep(0.05)
    alone = ways(flows)
    assert all(alone.get(f) == ["wan"] for f in flows), alone
    outside.answer_arp = True
    end = time.monotonic() + 10
    while "next hop 10.66.0.2 by outside answers again" not in rig.log():
        assert time.monotonic() < end
        outside.drain()
    both = [ways(flows) for _ in range(2)]
    assert both[0] == both[1] and all(len(both[0].get(f, [])) == 1 for f in flows), both[0]
    share = sum(w == ["outside"] for w in both[0].values())
    assert 4 <= share <= 28, share  # one in four
    for port in list(flows)[:8]:  # foretold, and so
        steps = rig.client.ask(f"trace {LAN} 100.64.7.7 17 {port} 9 100 64 0 - - -").split()
        assert steps[0] == "clear", steps
    outside.socket.close()


def test_tags(rig):
    """attack-K7: what is of another VLAN, of none, or has two tags; and a tag that is no VLAN's."""
    mac, gateway = rig.wan.mac, rig.wan.gateway_mac
    before = rig.client.drops()
    send = rig.wan.socket.send
    packet = IP(src=WAN, dst="10.9.0.1") / ICMP(seq=9)
    for tag in (6, LAN_VLAN, GUESTS, 4095):
        send(bytes(Ether(src=mac, dst=gateway) / Dot1Q(vlan=tag) / packet))
    assert rig.wan.expect(lambda p: True, 0.3) is None and rig.dropped(before, vlan_unknown=4)
    send(bytes(Ether(src=mac, dst=gateway) / Dot1Q(vlan=WAN_VLAN) / Dot1Q(vlan=WAN_VLAN) / packet))
    send(bytes(Ether(src=mac, dst="02:00:00:00:00:99") / Dot1Q(vlan=WAN_VLAN) / packet))
    assert rig.wan.expect(lambda p: True, 0.3) is None and rig.dropped(before, rx_not_for_us=2)
    send(bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=WAN, pdst="10.9.0.1")))  # untagged: of the port itself
    assert rig.wan.expect(lambda p: True, 0.2) is None and rig.dropped(before, arp_invalid=1)
    send(bytes(Ether(src=mac, dst=gateway) / Dot1Q(vlan=WAN_VLAN, prio=7, id=1) / packet))
    assert rig.wan.expect(lambda p: ICMP in p and p[ICMP].type == 0), "priority bits and the drop eligible one change nothing"
    rig.wan.strays.clear()
    for sequence, frame in enumerate((Ether(src=mac, dst=gateway), Ether(src=mac, dst=gateway) / Dot1Q(vlan=0, prio=5))):  # 802.1Q §6.9: both untagged
        send(bytes(frame / ARP(op=1, hwsrc=mac, psrc="10.66.0.2", pdst="10.66.0.1")))
        send(bytes(frame / IP(src="10.66.0.2", dst="10.66.0.1") / ICMP(seq=sequence)))
    assert rig.wan.expect(lambda p: True, 0.2) is None
    send(bytes(Ether(src=mac, dst=gateway) / ARP(op=2, hwsrc=mac, psrc="10.66.0.2", hwdst=gateway, pdst="10.66.0.1")))
    assert rig.wan.expect(lambda p: True, 0.2) is None
    answers = [f for tag, f in rig.wan.strays if tag == 0 and f.src == gateway]
    assert sum(ARP in f and f[ARP].op == 2 for f in answers) == 2 and sum(ICMP in f and f[ICMP].type == 0 for f in answers) == 2, answers
    assert not any(tag != 0 for tag, _ in rig.wan.strays)


def test_nothing_strays(rig):
    """All that the cases before have made the gateway send had the right tag."""
    for host in (rig.lan, rig.wan):
        host.strays.clear()
    for size in (100, 1300):
        there = IP(src=LAN, dst=OPEN) / UDP(dport=9) / Raw(bytes(size))
        rig.lan.send(there)
        same_forwarded(rig.wan.expect(lambda p: p.dst == OPEN), there)
        rig.wan.send(IP(src=OPEN, dst=LAN) / UDP(sport=9) / Raw(bytes(size)))
        assert rig.lan.expect(lambda p: p.src == OPEN)
    strays = [f for _, f in rig.lan.strays + rig.wan.strays if not (ARP in f and f[ARP].pdst == "10.66.0.2")]  # the next hop that is watched
    assert not strays, strays


def test_counters(rig):
    time.sleep(1.2)  # the manager sums up twice a second
    before = ports(rig)
    assert list(before) == ["outside", "inside", "guests", "wan", "lan"]
    for _ in range(20):
        rig.lan.send(IP(src=LAN, dst=OPEN) / UDP(dport=9) / Raw(bytes(72)))
    assert all(rig.wan.expect(lambda p: p.dst == OPEN) for _ in range(20)) and rig.wan.expect(lambda p: p.dst == OPEN, 0.2) is None
    wait_until(lambda: ports(rig)["lan"][0] > before["lan"][0] and ports(rig)["wan"][2] > before["wan"][2], lambda: ports(rig))
    time.sleep(1.2)
    after = ports(rig)
    grown = {k: [x - y for x, y in zip(after[k], before[k])][:4] for k in after}
    assert grown["lan"] == [20, 20 * 118, 0, 0] and grown["wan"][2:] == [20, 20 * 118] and grown["guests"] == [0] * 4, grown
    assert grown["wan"][0] <= 2, grown  # answers of the next hop that is watched
    assert grown["inside"][0] >= 20 and grown["outside"][2] >= 20
    assert after["wan"][4:] == [1, 1400] and after["lan"][4:] == [1, 1500], after


def test_from_vlan_to_vlan(rig):
    """Of one port; the host on the other VLAN sees frames of its own alone."""
    guest = VlanHost(rig.namespaces[1], "h0", ["10.8.0.9", "2001:db8:8::9"], GUESTS)
    guest.gateway_mac = rig.lan.gateway_mac
    for size in (1, 1472):
        there = IP(src=LAN, dst="10.8.0.9", ttl=5) / ICMP(id=3, seq=size) / Raw(bytes(size))
        rig.lan.send(there)
        same_forwarded(guest.expect(lambda p: p.src == LAN), there)
        back = IP(src="10.8.0.9", dst=LAN, ttl=5) / ICMP(type=0, id=3, seq=size) / Raw(bytes(size))
        guest.send(back)
        same_forwarded(rig.lan.expect(lambda p: p.src == "10.8.0.9"), back)
    guest.send(IP(src="10.8.0.9", dst="10.8.0.1") / ICMP(seq=8))
    assert guest.expect(lambda p: ICMP in p and p[ICMP].type == 0)
    guest.send(IPv6(src="2001:db8:8::9", dst="2001:db8:8::1") / ICMPv6EchoRequest(seq=4))
    assert guest.expect_v6(lambda p: ICMPv6EchoReply in p)
    before = rig.client.drops()
    guest.send(IP(src="10.8.0.9", dst=FAR) / UDP(dport=9))
    assert rig.dropped(before, policy_discard=1)
    assert all(tag == LAN_VLAN for tag, _ in guest.strays) and all(tag in (0, GUESTS) for tag, _ in rig.lan.strays)
    guest.socket.close()


def test_a_smaller_mtu_beneath(rig):
    gw = rig.namespaces[0]
    subprocess.run(["ip", "-n", gw, "link", "set", "gw0", "mtu", "1350"], check=True)
    wait_until(lambda: ports(rig)["wan"][5] == 1350, lambda: ports(rig))
    rig.lan.send(IP(src=LAN, dst=OPEN, flags="DF") / UDP(dport=9) / Raw(bytes(1350)))
    got = rig.lan.expect(lambda p: ICMP in p and p[ICMP].type == 3 and p[ICMP].code == 4)
    assert got and got[ICMP].nexthopmtu == 1350
    subprocess.run(["ip", "-n", gw, "link", "set", "gw0", "mtu", "1500"], check=True)
    wait_until(lambda: ports(rig)["wan"][5] == 1400, lambda: ports(rig))


FIRST = ("test_arp", "test_attach", "test_neighbour_discovery")

if __name__ == "__main__":
    run_all(sys.argv, {name: globals()[name] for name in (*FIRST, *(n for n in globals() if n not in FIRST))}, FIRST, VlanRig, ("[0, 0]",))

#!/usr/bin/python3
"""usage: vrf_test.py CULVERT_DATAPLANE CONTROL_CLIENT [PATTERN]: two VRFs with the same addresses, inside and outside, each on VLANs of the same two ports.

    red   lan 10.1.0.10 -- VLAN 4094 [10.1.0.1 VRF 1 10.9.0.1] VLAN 5 -- 10.9.0.2
    blue  lan 10.1.0.10 -- VLAN 4093 [10.1.0.1 VRF 2 10.9.0.1] VLAN 6 -- 10.9.0.2        and outside, untagged: 10.66.0.2 -- [10.66.0.1, the default one]

What platform_test.py shows of ports holds in red, while blue has policies and SAs of its own. Then what is of VRFs alone: nothing of one is seen in the other.
Ends 77 (skipped) without root.
"""
import os
import sys
import time

from platform_test import FAR, LAN, OPEN, POLICIES, SUITES, WAN, esp_of, peer_sas, same_forwarded, sealed, test_arp, test_forwarding  # noqa: F401
from platform_test import test_ping_own_address, test_too_big, test_ttl_exceeded, test_tunnel_byte_for_byte  # noqa: F401
from rig import PATIENCE, run_all
from scapy.all import ARP, ICMP, IP, UDP, Ether, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, Raw, fragment
from vlan_test import VlanHost, VlanRig

RED, BLUE = 1, 2
CONFIG = """
dataplane: {{socket: {dir}/dp.sock, workers: {workers}, main_cpu: 0, idle: adaptive, sa_capacity: 256, memory: {{hugepages: false, size: 320MB, mbufs: 8192}}}}
vrfs: [red, blue]
ports:
  outside: {{device: "net_af_packet0,iface=gw0", addresses: [10.66.0.1/24], mtu: {lan_mtu}}}
  inside: {{device: "net_af_packet1,iface=in0", addresses: [], mtu: {lan_mtu}}}
vlans:
  red-wan: {{port: outside, id: 5, addresses: [10.9.0.1/24, "2001:db8:9::1/64"], mtu: {wan_mtu}, vrf: red}}
  red-lan: {{port: inside, id: 4094, addresses: [10.1.0.1/24, "2001:db8:1::1/64"], vrf: red}}
  blue-wan: {{port: outside, id: 6, addresses: [10.9.0.1/24, "2001:db8:9::1/64"], vrf: blue}}
  blue-lan: {{port: inside, id: 4093, addresses: [10.1.0.1/24, "2001:db8:1::1/64"], vrf: blue}}
routes:
  - {{to: 10.2.0.0/24, via: 10.9.0.2, vrf: red}}
  - {{to: 198.51.100.0/24, via: 10.9.0.2, vrf: red}}
  - {{to: 203.0.113.0/24, via: 10.9.0.77, vrf: red}}
  - {{to: 198.51.100.0/24, via: 10.9.0.2, vrf: blue}}
control: {{socket: {dir}/culvertd.sock, log: {{format: text, level: info}}}}
connections: {{}}
"""
SLOT, BLUE_POLICY = 40, 60


class VrfRig(VlanRig):
    CONFIG = CONFIG

    def start(self):
        super().start()
        _, lan, wan = self.namespaces
        self.blue_lan, self.blue_wan = VlanHost(lan, "h0", [LAN, "2001:db8:1::10"], 4093), VlanHost(wan, "w0", [WAN, "2001:db8:9::2"], 6)
        self.outside = VlanHost(wan, "w0", ["10.66.0.2"], 0)

    def hosts(self):
        return {"red lan": self.lan, "red wan": self.wan, "blue lan": self.blue_lan, "blue wan": self.blue_wan, "outside": self.outside}

    def everywhere(self, match, seconds=0.4):
        """Who has got a packet for which match() holds, with its number of them."""
        got = {}
        for name, host in self.hosts().items():
            n = sum(1 for f in host.frames(seconds / 5) if IP in f and match(f[IP]))
            if n:
                got[name] = n
        return got

    def drain_all(self):
        for host in self.hosts().values():
            host.drain()


def test_attach(rig):
    rig.attach()
    rig.client.ok(f"vrf {BLUE} {BLUE}")
    rig.client.ok(f"policy {BLUE_POLICY} protect 0 500 10.1.0.0/24 10.2.0.0/24")
    rig.client.ok(f"policy {BLUE_POLICY + 1} bypass 0 1000 10.1.0.0/24 198.51.100.0/24")
    rig.client.ok(f"policy {BLUE_POLICY + 2} bypass 0 1000 2001:db8:1::/64 2001:db8:9::/64")
    rig.client.ok(f"vrf {RED} {RED}")
    for policy in POLICIES:
        if "st0" not in policy and "st1" not in policy:
            rig.client.ok(policy)
    rig.client.ok("complete")
    for host, ours, gateway in ((rig.blue_lan, LAN, "10.1.0.1"), (rig.blue_wan, WAN, "10.9.0.1"), (rig.outside, "10.66.0.2", "10.66.0.1")):
        host.frame(Ether(src=host.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=host.mac, psrc=ours, pdst=gateway))
        host.gateway_mac = next(f[ARP].hwsrc for f in host.frames(PATIENCE) if ARP in f and f[ARP].op == 2 and f[ARP].psrc == gateway)


def test_same_addresses(rig):
    """In clear, by the same addresses at once: each on its own side of the gateway, IPv4 and IPv6; and a VRF without policies lets nothing through."""
    rig.drain_all()
    for n, (lan, wan) in enumerate(((rig.lan, rig.wan), (rig.blue_lan, rig.blue_wan))):
        lan.send(IPv6(src="2001:db8:1::10", dst="2001:db8:1::1") / ICMPv6EchoRequest(seq=n))
        answer = lan.expect_v6(lambda p: ICMPv6EchoReply in p)
        assert answer and answer[ICMPv6EchoReply].seq == n
    for n, (lan, wan) in enumerate(((rig.lan, rig.wan), (rig.blue_lan, rig.blue_wan))):
        lan.send(IP(src=LAN, dst=OPEN, id=4000 + n) / UDP(sport=7, dport=9) / Raw(bytes(20)))
        wan.send(IP(src=OPEN, dst=LAN, id=4010 + n) / UDP(sport=9, dport=7) / Raw(bytes(20)))
    got, end = {}, time.monotonic() + PATIENCE
    while len(got) < 4 and time.monotonic() < end:
        for name, host in rig.hosts().items():
            for f in host.frames(0.1):
                if IP in f and f[IP].id in (4000, 4001, 4010, 4011):
                    got.setdefault(f[IP].id, []).append(name)
    assert got == {4000: ["red wan"], 4001: ["blue wan"], 4010: ["red lan"], 4011: ["blue lan"]}, got
    before = rig.client.drops()
    rig.outside.send(IP(src="10.66.0.2", dst="10.1.0.10") / UDP(dport=9))  # the default VRF has no such network
    assert rig.dropped(before, policy_discard=1)
    assert rig.everywhere(lambda p: p.src == "10.66.0.2") == {}


def blue_sa(rig, outer, local, remote, slot=SLOT):
    _, suite, encr, integ, scapy, udp = SUITES[0]
    rig.client.ok(f"vrf {BLUE} {outer}")
    tail = f"{BLUE_POLICY} {local}:0 {remote}:0 10.1.0.0/24 10.2.0.0/24 {suite} {encr.hex()} {integ.hex() or '-'}"
    rig.client.ok(f"sa in {slot} {0xC0000000 | slot:x} {tail}")
    rig.client.ok(f"sa out {slot} {0x1000 + slot:x} {tail}")
    rig.client.ok(f"vrf {RED} {RED}")
    to_us, from_us = peer_sas(slot, scapy, udp)
    for sa, source, target in ((to_us, remote, local), (from_us, local, remote)):
        sa.tunnel_header = IP(src=source, dst=target)
    return to_us, from_us


def blue_gone(rig, slot=SLOT):
    rig.client.ok(f"unsa in {slot} {0xC0000000 | slot:x}")
    rig.client.ok(f"unsa out {slot} {0x1000 + slot:x}")


def esp_to(address):
    return lambda p: p.proto == 50 and p.dst == address


def test_inside_and_outside(rig):
    """Inside blue, outside the default one: the tunnel's packets leave there, and what comes out of it goes to blue's host alone."""
    to_us, from_us = blue_sa(rig, 0, "10.66.0.1", "10.66.0.2")
    rig.drain_all()
    for size in (1, 1000):
        inner = IP(src=LAN, dst=FAR, ttl=40, id=size) / UDP(sport=7, dport=8) / Raw(os.urandom(size))
        rig.blue_lan.send(inner)
        got = rig.outside.expect(esp_to("10.66.0.2"))
        assert got, rig.client.drops()
        same_forwarded(IP(bytes(from_us.decrypt(got))), inner)
        back = IP(src=FAR, dst=LAN, ttl=40, id=7000 + size) / UDP(sport=8, dport=7) / Raw(os.urandom(size))
        rig.outside.send(sealed(to_us, back, size))
        same_forwarded(rig.blue_lan.expect(lambda p: p.src == FAR), back)
    assert rig.everywhere(lambda p: p.src in (FAR, LAN)) == {}
    # Of a packet that is too large, and of one whose TTL ends behind the tunnel, the sender is told, where it is.
    rig.blue_lan.send(IP(src=LAN, dst=FAR, flags="DF") / UDP(dport=9) / Raw(bytes(1470)))
    told = rig.blue_lan.expect(lambda p: ICMP in p and p[ICMP].type == 3 and p[ICMP].code == 4)
    assert told and told.src == "10.1.0.1" and told[ICMP].nexthopmtu < 1500
    rig.outside.send(sealed(to_us, IP(src=FAR, dst=LAN, ttl=1) / UDP(dport=9), 1001))
    error = from_us.decrypt(rig.outside.expect(esp_to("10.66.0.2")))
    assert error[ICMP].type == 11 and error.src == "10.1.0.1"
    rig.client.ok(f"vrf {BLUE} 0")
    steps = rig.client.ask(f"trace {LAN} {FAR} 17 7 8 100 64 0 - - -").split()
    rig.client.ok(f"vrf {RED} {RED}")
    assert steps[0] == "encrypted", steps
    blue_gone(rig)


def test_same_outer_addresses(rig):
    """Peers of both VRFs with one address, and an SA each: a packet under one that comes in by the other VRF is none of its (esp_wrong_peer)."""
    to_us, from_us = blue_sa(rig, BLUE, "10.9.0.1", WAN)
    rig.drain_all()
    rig.blue_lan.send(IP(src=LAN, dst=FAR) / UDP(dport=9))
    got = rig.blue_wan.expect(esp_to(WAN))
    assert got and from_us.decrypt(got).dst == FAR
    packet = sealed(to_us, IP(src=FAR, dst=LAN, id=99) / UDP(dport=9), 1)
    before = rig.client.drops()
    rig.wan.send(packet)
    assert rig.dropped(before, esp_wrong_peer=1)
    rig.blue_wan.send(packet)
    assert rig.blue_lan.expect(lambda p: p.id == 99)
    assert rig.everywhere(lambda p: p.id == 99) == {}
    blue_gone(rig)


def test_ike_by_vrf(rig):
    """The same addresses, and the same numbers of fragments, in two VRFs are two datagrams."""
    rig.drain_all()
    for host, vrf in ((rig.wan, RED), (rig.blue_wan, BLUE)):
        data = os.urandom(100)
        host.send(IP(src=WAN, dst="10.9.0.1") / UDP(sport=500, dport=500) / Raw(data))
        assert rig.client.ask("punts 10000") == f"10.9.0.1:500 {WAN}:500 {data.hex()} vrf {vrf}"
        rig.client.ok(f"vrf {vrf} {vrf}")
        rig.client.ok(f"inject 10.9.0.1:500 {WAN}:500 {data.hex()}")
        got = host.expect(lambda p: UDP in p and p[UDP].sport == 500)
        assert got and bytes(got[UDP].payload) == data
    rig.client.ok(f"vrf {RED} {RED}")
    assert rig.everywhere(lambda p: UDP in p and p[UDP].sport == 500) == {}
    large = {RED: os.urandom(3000), BLUE: os.urandom(3000)}
    parts = {vrf: fragment(IP(src=WAN, dst="10.9.0.1", id=77) / UDP(sport=500, dport=500) / Raw(data), 1256) for vrf, data in large.items()}
    for red, blue in zip(parts[RED], parts[BLUE]):
        rig.wan.send(red)
        rig.blue_wan.send(blue)
    got = {rig.client.ask("punts 10000") for _ in range(2)}
    assert got == {f"10.9.0.1:500 {WAN}:500 {data.hex()} vrf {vrf}" for vrf, data in large.items()}, [g[-8:] for g in got]
    before = rig.client.drops()
    rig.client.ok(f"vrf {RED} 0")
    rig.client.ok("inject 10.9.0.1:500 10.9.0.2:500 00")  # no address of the default VRF
    rig.client.ok(f"vrf {RED} 3")
    rig.client.ok("inject 10.9.0.1:500 10.9.0.2:500 00")
    rig.client.ok(f"vrf {RED} {RED}")
    assert rig.dropped(before, inject_invalid=2)


def test_what_does_not_belong_together(rig):
    _, suite, encr, integ, _, _ = SUITES[0]
    sa = f"sa out 41 1041 {BLUE_POLICY} 10.9.0.1:0 {WAN}:0 10.1.0.0/24 10.2.0.0/24 {suite} {encr.hex()} {integ.hex() or '-'}"
    assert rig.client.ask(sa) == "bad_message"  # its policy is blue's
    for vrfs, line in (("3 3", "policy 70 bypass 0 1 10.1.0.0/24 10.2.0.0/24"), (f"{BLUE} 3", sa), (f"{BLUE} 0", sa)):
        rig.client.ok(f"vrf {vrfs}")
        assert rig.client.ask(line) == "bad_message", (vrfs, line)
    rig.client.ok(f"vrf {RED} {RED}")


FIRST = ("test_arp", "test_attach")

if __name__ == "__main__":
    run_all(sys.argv, {name: globals()[name] for name in (*FIRST, *(n for n in globals() if n not in FIRST))}, FIRST, VrfRig, ("[0, 0]",))

#!/usr/bin/python3
"""usage: v6_test.py CULVERT_DATAPLANE CONTROL_CLIENT [PATTERN]: IPv6 through the whole data plane: as a router's host, as a router, in and outside of tunnels.

Scapy is hosts, routers and the peer. Ends 77 (skipped) without root.
"""
import os
import random
import subprocess
import sys

from platform_test import GCM_KEY, test_arp  # noqa: F401
from rig import PATIENCE, run_all, wait_until
from scapy.all import (ESP, IP, UDP, Ether, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr,  # noqa: F401
                       ICMPv6MLQuery, ICMPv6MLQuery2, ICMPv6MLReport, ICMPv6MLReport2, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, Raw, RouterAlert, SecurityAssociation,
                       defragment6, fragment6)

GATEWAY, LAN, WAN, PEER, FAR, OPEN = "2001:db8:1::1", "2001:db8:1::10", "2001:db8:9::1", "2001:db8:9::2", "2001:db8:2::5", "2001:db8:2:ffff::7"
NET, FAR_NET = "2001:db8:1::/48", "2001:db8:2::/64"
LAN4, FAR4 = "10.1.0.10", "10.2.0.5"


def whole(packet):
    """Its checksums are right."""
    clean = IPv6(bytes(packet))
    layer = clean.payload
    while layer and not hasattr(layer, "cksum") and not hasattr(layer, "chksum"):
        layer = layer.payload
    if hasattr(layer, "cksum"):
        del layer.cksum
    elif layer:
        del layer.chksum
    return bytes(clean) == bytes(packet)


def same_forwarded(got, sent):
    want = bytearray(bytes(sent))
    want[7] -= 1
    assert bytes(got) == bytes(want), f"{bytes(got).hex()} != {want.hex()}"


def solicit(host, target, source, seconds=PATIENCE, **how):
    """What answers `host` who asks for `target`; None: nothing."""
    low = bytes(IPv6(dst=target))[37:40].hex()
    packet = IPv6(src=source, dst=f"ff02::1:ff{low[:2]}:{low[2:]}", hlim=255, **how) / ICMPv6ND_NS(tgt=target)
    if source != "::":
        packet /= ICMPv6NDOptSrcLLAddr(lladdr=host.mac)
    host.frame(Ether(src=host.mac, dst=f"33:33:ff:{low[:2]}:{low[2:4]}:{low[4:]}") / packet)
    return next((f for f in host.frames(seconds) if ICMPv6ND_NA in f), None)


def test_attach(rig):
    client = rig.attach()
    client.ok("policy 1 protect 1 500 2001:db8:1::/48 2001:db8:2::/64")
    client.ok("policy 2 protect 1 500 10.1.0.0/24 10.2.0.0/24")
    client.ok("policy 3 discard 0 900 ::/0 2001:db8:2:ffff::66")
    client.ok("policy 4 bypass 0 1000 2001:db8:1::/48 2001:db8:2:ffff::/64")
    client.ok("policy 5 bypass 0 1000 2001:db8:1::/48 2001:db8:7::/48")
    client.ok("policy 6 bypass 0 1000 2001:db8:1::/48 2001:db8:66::/48")
    client.ok("complete")


def test_neighbour_discovery(rig):
    for host, own, source in ((rig.lan, GATEWAY, LAN), (rig.wan, WAN, PEER)):
        answer = solicit(host, own, source)
        assert answer and answer[ICMPv6ND_NA].tgt == own and answer.dst == host.mac and answer[IPv6].hlim == 255 and whole(answer[IPv6])
        assert answer[ICMPv6ND_NA].S and answer[ICMPv6ND_NA].O and answer[ICMPv6ND_NA].R
    probe = solicit(rig.lan, GATEWAY, "::")
    assert probe and probe[IPv6].dst == "ff02::1", "somebody who wants our address is told"
    assert solicit(rig.lan, "2001:db8:1::77", LAN, 0.6) is None, "answered for another's address"
    assert solicit(rig.lan, WAN, LAN, 0.6) is None, "answered for another port's"
    before = rig.client.drops()
    assert solicit(rig.lan, GATEWAY, GATEWAY, 0.6) is None
    rig.lan.frame(Ether(src=rig.lan.mac, dst="33:33:ff:00:00:01") / IPv6(src=LAN, dst="ff02::1:ff00:1", hlim=64) / ICMPv6ND_NS(tgt=GATEWAY))
    rig.lan.frame(Ether(src=rig.lan.mac, dst="33:33:00:00:00:fb") / IPv6(src=LAN, dst="ff02::fb") / UDP(dport=5353) / b"mdns")
    assert rig.dropped(before, nd_invalid=2, rx_not_for_us=1)


def test_groups_are_heard(rig):
    """A NIC passes on the groups that it was told of: solicitations go to one of each address."""
    for interface in "gw0", "in0":
        shown = subprocess.run(["ip", "-n", rig.namespaces[0], "-d", "link", "show", interface], capture_output=True, text=True, check=True).stdout
        assert "allmulti 1" in shown or "ALLMULTI" in shown, shown


def test_ping_own_addresses(rig):
    mac = bytes.fromhex(rig.lan.gateway_mac.replace(":", ""))
    link_local = "fe80::" + ":".join(bytes([mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, *mac[3:]]).hex()[i:i + 4] for i in (0, 4, 8, 12))
    rig.lan.addresses.append("fe80::10")
    for source, target in ((LAN, GATEWAY), (LAN, WAN), ("fe80::10", link_local), ("fe80::10", GATEWAY)):
        for size in (0, 1, 56, 1372):
            rig.lan.send(IPv6(src=source, dst=target, hlim=9) / ICMPv6EchoRequest(id=1, seq=size, data=os.urandom(size)))
            reply = rig.lan.expect_v6(lambda p: ICMPv6EchoReply in p and p[ICMPv6EchoReply].seq == size)
            assert reply and whole(reply) and reply.src == IPv6(src=target).src and reply.dst == source and reply.hlim == 64, (source, target, size)


def test_forwarding(rig):
    there = IPv6(src=LAN, dst=OPEN, hlim=33, tc=0x28, fl=0x12345) / UDP(sport=1000, dport=9) / b"first waits for its neighbour"
    rig.lan.send(there)
    got = rig.wan.expect_v6(lambda p: p.dst == OPEN)
    assert got, "not forwarded"
    same_forwarded(got, there)
    back = IPv6(src=OPEN, dst=LAN, hlim=2) / UDP(sport=9, dport=1000) / b"back"
    rig.wan.send(back)
    got = rig.lan.expect_v6(lambda p: p.src == OPEN)
    assert got, "the way back"
    same_forwarded(got, back)
    rig.lan.send(IPv6(src=LAN, dst="2001:db8:7::1") / UDP(dport=9) / b"behind a link-local next hop")
    assert rig.wan.expect_v6(lambda p: p.dst == "2001:db8:7::1")
    for headers in (IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(m=1, id=7)):
        rig.lan.send(IPv6(src=LAN, dst=OPEN) / headers / UDP(dport=9) / b"12345678")
        assert rig.wan.expect_v6(lambda p: p.dst == OPEN), headers.summary()


def test_errors(rig):
    before = rig.client.drops()
    rig.lan.send(IPv6(src=LAN, dst=OPEN, hlim=1) / UDP(dport=33434) / b"trace")
    got = rig.lan.expect_v6(lambda p: ICMPv6TimeExceeded in p)
    assert got and got.src == GATEWAY and whole(got) and rig.dropped(before, ttl_expired=1)
    rig.lan.send(IPv6(src=LAN, dst="2001:db8:66::9") / UDP(dport=9))
    got = rig.lan.expect_v6(lambda p: ICMPv6DestUnreach in p)
    assert got and got[ICMPv6DestUnreach].code == 0 and whole(got) and rig.dropped(before, no_route=1)
    rig.lan.send(IPv6(src=LAN, dst=OPEN) / UDP(dport=9) / Raw(b"x" * 1420))
    got = rig.lan.expect_v6(lambda p: ICMPv6PacketTooBig in p)
    assert got and got[ICMPv6PacketTooBig].mtu == 1400 and whole(got) and len(got) <= 1280 and rig.dropped(before, too_big=1)
    rig.lan.send(IPv6(src=LAN, dst="2001:db8:2:ffff::66") / UDP(dport=9))
    rig.lan.send(IPv6(src=LAN, dst="2001:db8:1:1::1") / UDP(dport=9))
    rig.lan.send(IPv6(src="::1", dst=OPEN) / UDP(dport=9))
    rig.lan.send(IPv6(src="fe80::10", dst=OPEN) / UDP(dport=9))
    rig.lan.send(IPv6(src=LAN, dst="fe80::99") / UDP(dport=9))
    rig.wan.send(IPv6(src=FAR, dst=LAN) / UDP(dport=9))     # should have come under an SA
    assert rig.dropped(before, policy_discard=2, rx_martian=3, policy_clear=1, no_route=1)


FAMILIES = [(6, 6), (6, 4), (4, 6)]


def terms(outer, inner, udp):
    """(local, remote, local selector, remote selector)"""
    port = 4500 if udp else 0
    ends = (f"[{WAN}]:{port}", f"[{PEER}]:{port}") if outer == 6 else (f"10.9.0.1:{port}", f"10.9.0.2:{port}")
    return (*ends, NET, FAR_NET) if inner == 6 else (*ends, "10.1.0.0/24", "10.2.0.0/24")


def is_esp(slot, udp):
    spi = (0x1000 + slot).to_bytes(4, "big")
    return lambda p: (bytes(p[UDP].payload) if udp and UDP in p else bytes(p.payload))[:4] == spi


def test_tunnels(rig):
    slot = 0
    for outer, inner in FAMILIES:
        for udp in (False, True):
            slot += 1
            policy = 1 if inner == 6 else 2
            tail = " ".join(terms(outer, inner, udp)) + f" aes128gcm16 {GCM_KEY.hex()} -"
            rig.client.ok(f"sa in {slot} {0xC0000000 | slot:x} {policy} {tail}")
            rig.client.ok(f"sa out {slot} {0x1000 + slot:x} {policy} {tail}")
            head = IPv6(src=PEER, dst=WAN) if outer == 6 else IP(src="10.9.0.2", dst="10.9.0.1")
            nat = {"nat_t_header": UDP(sport=4500, dport=4500)} if udp else {}
            to_us = SecurityAssociation(ESP, spi=0xC0000000 | slot, crypt_algo="AES-GCM", crypt_key=GCM_KEY, tunnel_header=head, **nat)
            back = IPv6(src=WAN, dst=PEER) if outer == 6 else IP(src="10.9.0.1", dst="10.9.0.2")
            from_us = SecurityAssociation(ESP, spi=0x1000 + slot, crypt_algo="AES-GCM", crypt_key=GCM_KEY, tunnel_header=back, **nat)
            wan_expect = rig.wan.expect_v6 if outer == 6 else rig.wan.expect
            lan_expect = rig.lan.expect_v6 if inner == 6 else rig.lan.expect
            here, there = (LAN, FAR) if inner == 6 else (LAN4, FAR4)
            cls = IPv6 if inner == 6 else IP
            for n, size in enumerate((0, 1, 56, 1200), 1):
                clear = cls(src=here, dst=there) / UDP(sport=7, dport=8) / Raw(os.urandom(size))
                rig.lan.send(clear)
                got = wan_expect(is_esp(slot, udp))
                assert got, f"{inner} in {outer}, UDP {udp}, {size}: nothing came out; {rig.client.drops()}"
                if udp and outer == 6:
                    assert got[UDP].chksum != 0 and whole(got)
                opened = from_us.decrypt(got)
                assert bytes(opened.payload) == bytes(cls(bytes(clear)).payload), f"{inner} in {outer}, UDP {udp}, {size}"
                answer = os.urandom(size)
                sealed = to_us.encrypt(cls(src=there, dst=here) / UDP(sport=8, dport=7) / Raw(answer), seq_num=n)
                if udp:
                    sealed[UDP].len = len(sealed) - (40 if outer == 6 else 20)
                rig.wan.send(sealed)
                plain = lan_expect(lambda p: p.src == there)
                assert plain and bytes(plain[UDP].payload) == answer, f"{inner} in {outer}, UDP {udp}, {size}: nothing went in; {rig.client.drops()}"
            # What does not fit is told: the next packet of that size does.
            rig.lan.send(cls(src=here, dst=there, **({"flags": "DF"} if inner == 4 else {})) / UDP(sport=7, dport=8) / Raw(b"x" * 1340))
            error = lan_expect(lambda p: ICMPv6PacketTooBig in p if inner == 6 else p.proto == 1)
            assert error, f"{inner} in {outer}: no word of what is too big"
            mtu = error[ICMPv6PacketTooBig].mtu if inner == 6 else error.payload.nexthopmtu
            rig.lan.send(cls(src=here, dst=there) / UDP(sport=7, dport=8) / Raw(b"x" * (mtu - (48 if inner == 6 else 28))))
            got = wan_expect(is_esp(slot, udp))
            assert got and 1396 <= len(got) <= 1400, f"{inner} in {outer}, UDP {udp}: {got and len(got)} bytes with {mtu} inside"
            rig.client.ok(f"unsa in {slot} {0xC0000000 | slot:x}")
            rig.client.ok(f"unsa out {slot} {0x1000 + slot:x}")


def test_esp_in_fragments(rig):
    tail = " ".join(terms(6, 6, False)) + f" aes128gcm16 {GCM_KEY.hex()} -"
    rig.client.ok(f"sa in 9 c0000009 1 {tail}")
    to_us = SecurityAssociation(ESP, spi=0xC0000009, crypt_algo="AES-GCM", crypt_key=GCM_KEY, tunnel_header=IPv6(src=PEER, dst=WAN))
    sealed = to_us.encrypt(IPv6(src=FAR, dst=LAN) / UDP(dport=9) / Raw(os.urandom(1400)), seq_num=1)
    parts = fragment6(IPv6(src=PEER, dst=WAN) / IPv6ExtHdrFragment(id=random.randrange(1 << 32)) / Raw(bytes(sealed.payload)), 1000)
    for p in parts:
        p[IPv6ExtHdrFragment].nh = 50
    for p in reversed(parts):
        rig.wan.send(p)
    assert rig.lan.expect_v6(lambda p: p.src == FAR), rig.client.drops()
    rig.client.ok("unsa in 9 c0000009")


def test_ike(rig):
    for port, data in ((500, os.urandom(200)), (4500, bytes(4) + os.urandom(1300))):
        rig.wan.send(IPv6(src=PEER, dst=WAN) / UDP(sport=port, dport=port) / Raw(data))
        assert rig.client.ask("punts 10000") == f"[{WAN}]:{port} [{PEER}]:{port} {data.hex()}"
        rig.client.ok(f"inject [{WAN}]:{port} [{PEER}]:{port} {data.hex()}")
        got = rig.wan.expect_v6(lambda p: UDP in p)
        assert got and bytes(got[UDP].payload) == data and whole(got)
    big = os.urandom(4000)
    rig.client.ok(f"inject [{WAN}]:500 [{PEER}]:500 {big.hex()}")
    parts = [rig.wan.expect_v6(lambda p: IPv6ExtHdrFragment in p) for _ in range(3)]
    assert all(parts) and all(len(p) <= 1400 for p in parts)
    assert bytes(defragment6(parts)[UDP].payload) == big
    before = rig.client.drops()
    for piece in fragment6(IPv6(src=PEER, dst=WAN) / IPv6ExtHdrFragment(id=77) / UDP(sport=500, dport=500) / Raw(big), 1280):
        rig.wan.send(piece)
    assert rig.client.ask("punts 10000") == f"[{WAN}]:500 [{PEER}]:500 {big.hex()}"
    wrong = IPv6(src=PEER, dst=WAN) / UDP(sport=500, dport=500, chksum=1) / Raw(b"x" * 40)
    rig.wan.send(wrong)
    rig.wan.send(IPv6(bytes(IPv6(src=PEER, dst=WAN) / UDP(sport=500, dport=500, chksum=0) / Raw(b"x" * 40))))
    assert rig.client.ask("punts 300") == "none"
    assert rig.dropped(before, punt_invalid=2)
    rig.client.ok(f"inject [{WAN}]:500 10.9.0.2:500 00")
    assert rig.dropped(before, inject_invalid=1)


def groups(frames):
    """{group: how it is heard} of MLDv2 reports, which are as RFC 3810 §5.2 wants them."""
    found = {}
    for f in frames:
        report = f[ICMPv6MLReport2]
        assert f.dst == "33:33:00:00:00:16" and f[IPv6].dst == "ff02::16" and f[IPv6].hlim == 1 and f[IPv6].src.startswith("fe80::") and whole(f[IPv6])
        assert any(isinstance(o, RouterAlert) and o.value == 0 for o in f[IPv6ExtHdrHopByHop].options)
        record, number = report.records[0], 0
        while hasattr(record, "rtype"):                         # Scapy has each in the one before it
            found[record.dst] = record.rtype
            record, number = record.payload, number + 1
        assert report.records_number == number
    return found


def test_multicast_listeners(rig):
    """Switches that look on (MLD snooping) learn which groups a port hears, when its link comes and when a router asks."""
    wan = rig.wan
    own = {"ff02::2", "ff02::1:ff00:1"}

    def ask(query, source="fe80::9", hops=1, alert=True, group="ff02::1"):
        header = IPv6(src=source, dst=group, hlim=hops)
        if alert:
            header /= IPv6ExtHdrHopByHop(options=[RouterAlert()])
        wan.frame(Ether(src=wan.mac, dst="33:33:%02x:%02x:%02x:%02x" % tuple(bytes(header)[36:40])) / header / query)

    def reports(kind, count):
        """As many as that, whenever they come, and what else comes right after."""
        got, frames = [], wan.frames(PATIENCE)
        while len(got) < count and (f := next(frames, None)):
            got += [f] if kind in f else []
        return got + [f for f in wan.frames(0.4) if kind in f]

    wan.drain()
    ask(ICMPv6MLQuery2(mrd=100))
    answers = reports(ICMPv6MLReport2, 1)
    told = groups(answers)
    assert len(answers) == 1 and own < told.keys() and len(told) == 3 and set(told.values()) == {2}, told
    ask(ICMPv6MLQuery2(mrd=50, mladdr="ff02::1:ff00:1"), group="ff02::1:ff00:1")
    assert len(reports(ICMPv6MLReport2, 1)) == 1
    ask(ICMPv6MLQuery(mrd=50))
    told_v1 = {f[ICMPv6MLReport].mladdr for f in reports(ICMPv6MLReport, len(told)) if f[IPv6].dst == f[ICMPv6MLReport].mladdr and whole(f[IPv6])}
    assert told_v1 == set(told), told_v1
    before = rig.client.drops()
    ask(ICMPv6MLQuery2(mrd=50), hops=2)
    ask(ICMPv6MLQuery2(mrd=50), alert=False)
    ask(ICMPv6MLQuery2(mrd=50), source=PEER)
    ask(ICMPv6MLQuery2(mrd=50, cksum=7))
    ask(ICMPv6MLQuery2(mrd=50, mladdr="ff02::1:ff00:77"), group="ff02::1:ff00:77")
    assert not reports(ICMPv6MLReport2, 0) and rig.dropped(before, nd_invalid=4, rx_not_for_us=1)
    for state, line in (("down", "port wan: the link is down"), ("up", "port wan: the link is up again")):
        seen = rig.log().count(line)
        subprocess.run(["ip", "-n", rig.namespaces[0], "link", "set", "gw0", state], check=True)
        wait_until(lambda: rig.log().count(line) > seen, line)  # noqa: B023
    answers = reports(ICMPv6MLReport2, 2)
    joined = groups(answers)
    assert len(answers) == 2 and joined == {g: 4 for g in told}, joined


if __name__ == "__main__":
    run_all(sys.argv, dict(globals()), ("test_arp", "test_attach", "test_neighbour_discovery"))

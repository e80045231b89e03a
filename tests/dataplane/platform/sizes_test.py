#!/usr/bin/python3
"""usage: sizes_test.py CULVERT_DATAPLANE CONTROL_CLIENT [PATTERN]: sizes on their way through a gateway whose outside has an MTU of 1400: segments, fragments on either side of the encryption, padding, path MTU.

Scapy is hosts, routers and the peer. Ends 77 (skipped) without root.
"""
import os
import sys

from platform_test import FAR, LAN, SUITES, WAN, is_esp, is_icmp, peer_sas, sealed, esp_of, remove, test_arp  # noqa: F401
from rig import run_all
from scapy.all import AH, ICMP, IP, TCP, UDP, Raw, defragment, fragment  # noqa: F401

ON, BY_MTU = 1, 65535


def install(rig, entry, *rules):
    slot, suite, encr, integ, scapy, udp = entry
    port = 4500 if udp else 0
    tail = f"10.9.0.1:{port} {WAN}:{port} 10.1.0.0/24 10.2.0.0/24 {suite} {encr.hex()} {integ.hex() or '-'}"
    for way, spi in (("in", 0xC0000000 | slot), ("out", 0x1000 + slot)):
        rig.client.ok(f"sa {way} {slot} {spi:x} 1 {tail} " + " ".join(f"rule {name} {value}" for name, value in rules))
    return peer_sas(slot, scapy, udp)


def test_attach(rig):
    client = rig.attach()
    client.ok("policy 1 protect 1 500 10.1.0.0/24 10.2.0.0/24")
    client.ok("complete")
    rig.wan.send(IP(src=WAN, dst="10.9.0.1") / ICMP())  # its MAC address is known from here on
    assert rig.wan.expect(lambda p: ICMP in p and p[ICMP].type == 0)
    rig.lan.send(IP(src=LAN, dst="10.1.0.1") / ICMP())
    assert rig.lan.expect(lambda p: ICMP in p and p[ICMP].type == 0)


def mss_of(packet):
    return dict(packet[TCP].options).get("MSS")


def whole(packet):
    """Its checksums are right."""
    clean = IP(bytes(packet))
    del clean.chksum, clean[TCP].chksum
    return bytes(clean) == bytes(packet)


def test_segments_fit(rig):
    """RFC 9293 §3.7.1: both directions of a connection agree on what fits, and nothing else of them is touched."""
    for entry in SUITES:
        slot, udp = entry[0], entry[5]
        for rules, most in (((), None), ((("mss", 1000),), 1000), ((("mss", 0),), 0)):
            to_us, from_us = install(rig, entry, *rules)
            rig.lan.send(IP(src=LAN, dst=FAR, flags="DF") / UDP(dport=9) / Raw(b"x" * 1400))
            error = rig.lan.expect(is_icmp(3, 4, FAR))
            fits = error[ICMP].nexthopmtu - 40
            limit = fits if most is None else most or 65535
            for sequence, flags in enumerate(("S", "SA", "A"), 1):
                options = [("NOP", None), ("MSS", 8960), ("WScale", 7), ("SAckOK", b""), ("Timestamp", (1, 2))]
                rig.lan.send(IP(src=LAN, dst=FAR) / TCP(sport=7, dport=8, flags=flags, options=options) / Raw(b"x"))
                out = from_us.decrypt(rig.wan.expect(is_esp(slot)))
                assert mss_of(out) == (8960 if flags == "A" else min(limit, 8960)) and whole(out), (entry[1], rules, flags, mss_of(out))
                rig.wan.send(sealed(to_us, IP(src=FAR, dst=LAN) / TCP(sport=8, dport=7, flags=flags, options=options), sequence))
                back = rig.lan.expect(lambda p: TCP in p and p.src == FAR)
                assert mss_of(back) == (8960 if flags == "A" else min(limit, 8960)) and whole(back), (entry[1], rules, flags, mss_of(back))
            small = [("MSS", 536)]
            rig.lan.send(IP(src=LAN, dst=FAR) / TCP(sport=7, dport=8, flags="S", options=small))
            assert mss_of(from_us.decrypt(rig.wan.expect(is_esp(slot)))) == 536
            remove(rig, slot)


def outer_parts(rig, slot, count):
    """`count` IP fragments from the gateway; put together, an ESP packet of the slot's SA."""
    parts = [rig.wan.expect(lambda p: p.src == "10.9.0.1" and p.proto in (17, 50)) for _ in range(count)]
    assert all(parts), f"{sum(p is not None for p in parts)} of {count} came"
    for i, p in enumerate(parts):
        assert len(p) <= 1400 and not p.flags.DF and p.flags.MF == (i + 1 < count), p.summary()
        del p.chksum
    out = [p for p in defragment(parts) if is_esp(slot)(p)]
    assert len(out) == 1
    return IP(bytes(out[0]))


def test_fragmented_after_encryption(rig):
    for entry in SUITES:
        slot, udp = entry[0], entry[5]
        for df, inner_df in ((1, ""), (0, ""), (0, "DF")):
            _, from_us = install(rig, entry, ("cut", 1), ("df", df))
            seen = set()
            for size in (1390, 1460):
                big = IP(src=LAN, dst=FAR, id=size, flags=inner_df, ttl=9) / UDP(sport=5, dport=9) / Raw(os.urandom(size))
                rig.lan.send(big)
                esp = outer_parts(rig, slot, 2)
                seen.add(esp.id)
                got = from_us.decrypt(esp)
                assert got.ttl == 8 and bytes(got.payload) == bytes(IP(bytes(big)).payload)
            assert len(seen) == 2
            rig.lan.send(IP(src=LAN, dst=FAR, flags=inner_df) / UDP(dport=9) / Raw(b"small"))
            assert not rig.wan.expect(is_esp(slot)).flags.MF
            remove(rig, slot)
        # What may not be fragmented, outside, is refused as ever.
        install(rig, entry, ("cut", 1), ("df", 1))
        before = rig.client.drops()
        rig.lan.send(IP(src=LAN, dst=FAR, flags="DF") / UDP(dport=9) / Raw(b"x" * 1400))
        assert rig.lan.expect(is_icmp(3, 4, FAR)) and rig.dropped(before, too_big=1)
        remove(rig, slot)


def test_padding(rig):
    """RFC 4303 §2.7: every packet looks as large as the largest, and out of it comes what went in."""
    for entry in SUITES:
        slot = entry[0]
        _, from_us = install(rig, entry, ("tfc", BY_MTU))
        sizes = set()
        for size in (0, 10, 500, 1200):
            inner = IP(src=LAN, dst=FAR, ttl=9) / UDP(sport=5, dport=9) / Raw(os.urandom(size))
            rig.lan.send(inner)
            got = rig.wan.expect(is_esp(slot))
            sizes.add(len(got))
            plain = from_us.decrypt(got)
            assert bytes(plain)[: plain.len][20:] == bytes(IP(bytes(inner)))[20:], "the inner packet"
            assert not any(bytes(plain)[plain.len:]), "padding that tells something"
        assert len(sizes) == 1 and max(sizes) > 1384, sizes
        remove(rig, slot)


def test_marks(rig):
    """RFC 4301 §5.1.2.1, RFC 6040 §4.1 on the wire: what is copied outside."""
    for rules, tos in (((), 0x2B), ((("dscp", 0),), 0x03), ((("ecn", 0),), 0x28), ((("dscp", 2), ("ecn", 0)), 0)):
        _, from_us = install(rig, SUITES[0], *rules)
        rig.lan.send(IP(src=LAN, dst=FAR, tos=0x2B, ttl=9) / UDP(dport=9))
        got = rig.wan.expect(is_esp(SUITES[0][0]))
        assert got.tos == tos and got.ttl == 64
        plain = from_us.decrypt(got)
        assert plain.tos == 0x2B and plain.ttl == 8
        remove(rig, SUITES[0][0])


if __name__ == "__main__":
    run_all(sys.argv, globals(), ("test_arp", "test_attach"))

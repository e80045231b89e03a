#!/usr/bin/python3
"""usage: sizes_test.py CULVERT_DATAPLANE CONTROL_CLIENT [PATTERN]: sizes on their way through a gateway whose outside has an MTU of 1400: segments, fragments on either side of the encryption, padding, path MTU.

Scapy is hosts, routers and the peer. Ends 77 (skipped) without root.
"""
import os
import sys
import time

from platform_test import FAR, LAN, SUITES, WAN, is_esp, is_icmp, peer_sas, sealed, esp_of, remove, test_arp  # noqa: F401
from rig import PATIENCE, run_all, wait_until
from scapy.all import AH, ESP, ICMP, IP, TCP, UDP, Raw, defragment, fragment  # noqa: F401

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


def test_dummies(rig):
    """RFC 4303 §2.6: packets that carry nothing, look like any other, and are dropped where they arrive."""
    slot = SUITES[0][0]
    to_us, from_us = install(rig, SUITES[0], ("tfc", BY_MTU), ("dummy", 50))
    rig.lan.send(IP(src=LAN, dst=FAR, ttl=9) / UDP(sport=5, dport=9) / b"x")
    got, begun = [], time.monotonic()
    while (took := time.monotonic() - begun) < 0.6 or (len(got) < 6 and took < PATIENCE):
        if p := rig.wan.expect(is_esp(slot), 0.3):
            got.append(p)
    assert 6 <= len(got) <= 4 + took / 0.05 and len({len(p) for p in got}) == 1, [len(p) for p in got]
    kinds = [from_us.crypt_algo.decrypt(from_us, p[ESP], from_us.crypt_key, 16).nh for p in got]
    assert kinds.count(59) == len(got) - 1 and kinds.count(4) == 1, kinds
    remove(rig, slot)
    rig.wan.drain()
    assert rig.wan.expect(is_esp(slot), 0.2) is None


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


def in_parts(packet, size):
    """Its IP fragments of `size` bytes each behind the header."""
    data = bytes(packet)[20:]
    parts = []
    for at in range(0, len(data), size):
        ip = IP(bytes(packet)[:20])
        del ip.len, ip.chksum
        ip.frag, ip.flags = at // 8, "MF" if at + size < len(data) else 0
        parts.append(ip / Raw(data[at:at + size]))
    return parts


def test_fragments_from_outside(rig):
    """RFC 4303 §3.4.1: put together before anything else is asked, in any order; native ESP and ESP in UDP."""
    for entry in SUITES:
        to_us, _ = install(rig, entry)
        sequence = 0
        for size, step in ((1300, 704), (1300, 8 * 60), (1200, 1208), (8000, 1376)):
            for order in (lambda parts: parts, reversed, lambda parts: parts[1:] + parts[:1], lambda parts: [*parts[:1], *parts]):
                sequence += 1
                inner = IP(src=FAR, dst=LAN, ttl=9, id=sequence) / UDP(sport=5, dport=9) / Raw(os.urandom(size))
                outer = sealed(to_us, inner, sequence)
                outer.id = 1000 + sequence
                before = rig.client.drops()
                for part in order(in_parts(IP(bytes(outer)), step)):
                    rig.wan.send(part)
                got = rig.lan.expect(lambda p: p.src == FAR)
                if size > 1480:  # ... and fragmented again, for the inside has an MTU of its own
                    rest = [rig.lan.expect(lambda p: p.src == FAR) for _ in range(-(-size // 1480) - 1)]
                    got = IP(bytes(defragment([got, *rest])[0]))
                assert got and bytes(got.payload) == bytes(IP(bytes(inner)).payload), (entry[1], size, step)
                assert rig.dropped(before, esp_auth=0, local_fragment=0)
        assert "packets=16 " in rig.client.ask(f"record in {entry[0]}")
        remove(rig, entry[0])


def test_fragments_that_lie(rig):
    """ATTACKS K2, H5: overlapping, tiny, endless: bounded, counted, and the next good packet gets through."""
    entry = SUITES[0]
    to_us, _ = install(rig, entry)

    def good(sequence, between=()):
        parts = in_parts(IP(bytes(sealed(to_us, IP(src=FAR, dst=LAN) / UDP(dport=9) / Raw(bytes(1000)), sequence))), 504)
        rig.wan.send(parts[0])
        for part in between:
            rig.wan.send(part)
        for part in parts[1:]:
            rig.wan.send(part)
        return rig.lan.expect(lambda p: p.src == FAR) is not None

    def lies(rows, count):
        before = rig.client.drops()
        for row in rows:
            rig.wan.send(row)
        assert rig.dropped(before, local_fragment=count), rows

    def fragment_of(frag, size, more, **fields):
        return IP(**{**dict(src=WAN, dst="10.9.0.1", proto=50, id=7, frag=frag, flags="MF" if more else 0), **fields}) / Raw(bytes(size))

    assert good(1)
    lies([fragment_of(0, 64, True), fragment_of(4, 64, True)], 2)                         # overlaps
    lies([fragment_of(9, 8, True), fragment_of(8, 8, False)], 2)                          # an end before what was there
    lies([fragment_of(0, 4, False, flags="MF")], 1)                                       # tiny, and no multiple of eight
    lies([fragment_of(8100, 800, False)], 1)                                              # longer than IP can say
    lies([fragment_of(0, 64, True, proto=17)], 1)                                         # to port 0
    lies([fragment_of(0, 64, True, proto=6), fragment_of(0, 64, True, proto=1)], 2)       # nobody here takes TCP or ICMP in pieces
    lies([fragment_of(2 * i, 8, True) for i in range(33)], 33)                            # dust
    # A whole packet that was no packet of an SA's ends as one.
    before = rig.client.drops()
    for part in (fragment_of(0, 64, True), fragment_of(8, 64, False)):
        rig.wan.send(part)
    assert rig.dropped(before, esp_no_sa=1, local_fragment=0)
    # Packets that are never complete, from everywhere at once: one after the other gives way, and a good one between them comes through.
    before = rig.client.drops()
    flood = [fragment_of(0, 1000, True, src=f"10.9.{i // 250}.{i % 250 + 2}", id=i % 7) for i in range(1000)]
    for part in flood:
        rig.wan.send(part)
    assert good(2, flood[:50])
    assert good(3)
    assert rig.dropped(before, local_fragment=1050)  # all that was kept is given up after two seconds
    remove(rig, entry[0])


def too_big(outer, mtu, quote=28, **fields):
    """What a router says of `outer`; `fields` change what it quotes."""
    quoted = bytearray(bytes(outer))
    header = IP(bytes(quoted[:20]))
    for name, value in fields.items():
        setattr(header, name, value)
    del header.chksum
    return IP(src="10.9.0.2", dst="10.9.0.1") / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw((bytes(header) + bytes(quoted[20:]))[:quote])


def test_path_mtu(rig):
    """RFC 1191, RFC 4301 §8.2, ATTACKS K4: routers are believed about packets that we have sent, and nobody else about anything."""
    for entry in SUITES:
        slot, udp = entry[0], entry[5]
        quote = 36 if udp else 28
        _, from_us = install(rig, entry)

        def probe(size, df="DF"):
            """(what the inner source is told, the outer packet)"""
            rig.lan.send(IP(src=LAN, dst=FAR, flags=df) / UDP(dport=9) / Raw(bytes(size - 28)))
            told = outer = None
            end = time.monotonic() + PATIENCE
            while not told and not outer and time.monotonic() < end:
                told, outer = rig.lan.expect(is_icmp(3, 4, FAR), 0.02), rig.wan.expect(is_esp(slot), 0.02)
            told, outer = told or rig.lan.expect(is_icmp(3, 4, FAR), 0.05), outer or rig.wan.expect(is_esp(slot), 0.05)
            return told and told[ICMP].nexthopmtu, outer

        told, outer = probe(1300)
        assert told is None and outer.flags.DF and "path_mtu=0 " in rig.client.ask(f"record out {slot}")
        before = rig.client.drops()
        other = bytearray(bytes(outer))
        other[28 if udp else 20] ^= 1                                        # its SPI
        future = bytearray(bytes(outer))
        future[quote - 1] += 7                                               # its number
        for forged in (too_big(IP(bytes(other)), 1000, quote), too_big(IP(bytes(future)), 1000, quote), too_big(outer, 1000, quote, dst="10.9.0.3"),
                       too_big(outer, 1000, quote, src="10.1.0.1"), too_big(outer, len(outer), quote)):
            rig.wan.send(forged)
        assert rig.dropped(before, icmp_ignored=5)
        told, outer = probe(1300)
        assert told is None and outer, "nothing that is forged is believed"
        rig.wan.send(too_big(outer, 1200, quote))
        wait_until(lambda: "path_mtu=1200 " in rig.client.ask(f"record out {slot}"), "path_mtu=1200")  # by the manager's thread
        record = rig.client.ask(f"record out {slot}")
        inner = int(record.split(" mtu=")[1].split()[0])
        assert 1120 <= inner < 1160, record
        told, outer = probe(1300)
        assert told == inner and outer is None
        assert probe(inner + 1) == (inner, None)
        told, outer = probe(inner)
        assert told is None and 1200 - 16 < len(outer) <= 1200
        rig.lan.send(IP(src=LAN, dst=FAR) / TCP(sport=7, dport=8, flags="S", options=[("MSS", 1460)]))
        assert mss_of(from_us.decrypt(rig.wan.expect(is_esp(slot)))) == inner - 40
        big = IP(src=LAN, dst=FAR, id=slot) / UDP(sport=5, dport=9) / Raw(os.urandom(1300))
        rig.lan.send(big)
        parts = [rig.wan.expect(is_esp(slot)) for _ in range(2)]
        assert all(len(p) <= 1200 for p in parts)
        assert bytes(defragment([from_us.decrypt(p) for p in parts])[0][IP].payload) == bytes(IP(bytes(big)).payload)
        _, outer = probe(inner)
        rig.wan.send(too_big(outer, 68, quote))                              # no path is that narrow
        wait_until(lambda: "path_mtu=576 " in rig.client.ask(f"record out {slot}"), "path_mtu=576")
        remove(rig, slot)


if __name__ == "__main__":
    run_all(sys.argv, globals(), ("test_arp", "test_attach"))

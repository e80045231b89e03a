#!/usr/bin/python3
"""usage: jumbo_test.py CULVERT_DATAPLANE CONTROL_CLIENT [PATTERN]: the whole way of packets of 9,000 bytes, with an MTU of 9,000 on both sides.

Ends 77 (skipped) without root.
"""
import os
import sys

from platform_test import FAR, LAN, SUITES, is_esp, is_icmp, remove, same_forwarded, sealed, test_arp  # noqa: F401
from rig import Rig, run_all
from scapy.all import ICMP, IP, TCP, UDP, Raw
from sizes_test import BY_MTU, install, mss_of, test_attach  # noqa: F401


class JumboRig(Rig):
    WAN_MTU = LAN_MTU = 9000


def test_both_ways(rig):
    for entry in SUITES:
        slot, udp = entry[0], entry[5]
        to_us, from_us = install(rig, entry)
        rig.lan.send(IP(src=LAN, dst=FAR, flags="DF") / UDP(dport=9) / Raw(bytes(8972)))
        inner = rig.lan.expect(is_icmp(3, 4, FAR))[ICMP].nexthopmtu
        assert 8900 < inner < 8960, inner
        for sequence, size in enumerate((1473, 4000, 8192, inner - 28), 1):
            there = IP(src=LAN, dst=FAR, ttl=9, flags="DF") / UDP(sport=5, dport=9) / Raw(os.urandom(size))
            rig.lan.send(there)
            got = rig.wan.expect(is_esp(slot))
            assert got and len(got) <= 9000, (entry[1], size)
            plain = from_us.decrypt(got)
            assert plain.ttl == 8 and bytes(plain.payload) == bytes(IP(bytes(there)).payload)
            back = IP(src=FAR, dst=LAN, ttl=9) / UDP(sport=9, dport=5) / Raw(os.urandom(size))
            rig.wan.send(sealed(to_us, back, sequence))
            same_forwarded(rig.lan.expect(lambda p: p.src == FAR), back)
        rig.lan.send(IP(src=LAN, dst=FAR) / TCP(flags="S", options=[("MSS", 8960)]))
        assert mss_of(from_us.decrypt(rig.wan.expect(is_esp(slot)))) == inner - 40
        remove(rig, slot)


def test_padding(rig):
    """RFC 4303 §2.7: from nothing to 9,000 bytes."""
    slot = SUITES[0][0]
    _, from_us = install(rig, SUITES[0], ("tfc", BY_MTU))
    rig.lan.send(IP(src=LAN, dst=FAR) / UDP(dport=9) / b"x")
    got = rig.wan.expect(is_esp(slot))
    assert 8984 < len(got) <= 9000 and bytes(from_us.decrypt(got))[28:29] == b"x"
    remove(rig, slot)


if __name__ == "__main__":
    run_all(sys.argv, globals(), ("test_arp", "test_attach"), JumboRig)

#!/usr/bin/python3
"""usage: esp_scapy_test.py CULVERT_ESP_TOOL

ESP and AH, in tunnel and in transport mode, against Scapy, an implementation that shares nothing with ours, byte for byte: what Scapy seals we open to the identical
packet; what we seal Scapy opens, and seals to the identical bytes when given our IV and sequence number. Then what must be
refused: replayed, old, corrupted, truncated, unknown SPI, each under its reason, the counters compared whole.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

from scapy.all import AH, ESP, ICMP, IP, TCP, UDP, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, Raw, SecurityAssociation, raw
from scapy.layers.inet6 import in6_chksum
from scapy.utils import PcapReader, PcapWriter

TOOL = sys.argv[1]
LINKTYPE_RAW = 101
OUR, PEER = {4: "10.9.0.1", 6: "2001:db8:9::1"}, {4: "10.9.0.2", 6: "2001:db8:9::2"}
INNER = {4: ("10.2.0.5", "10.1.0.5", "10.2.0.0/24", "10.1.0.0/24"), 6: ("2001:db8:2::5", "2001:db8:1::5", "2001:db8:2::/48", "2001:db8:1::/48")}
CLASS = {4: IP, 6: IPv6}
SPI = 0xC0FFEE05
# Scapy has neither GCM with a shorter ICV, nor GMAC or XCBC, and takes no upper half of a sequence number into a CMAC: those are cross-checked with OpenSSL (esp_openssl_test.cpp).
# name, Scapy's cipher, key bytes (salt included), Scapy's integrity algorithm, its key bytes, ICV bytes
ESP_SUITES = [
    ("aes128gcm16", "AES-GCM", 20, None, 0, 16),
    ("aes192gcm16", "AES-GCM", 28, None, 0, 16),
    ("aes256gcm16", "AES-GCM", 36, None, 0, 16),
    ("aes128gcm16-esn", "AES-GCM", 20, None, 0, 16),
    ("aes128ccm16", "AES-CCM", 19, None, 0, 16),
    ("aes256ccm12", "AES-CCM", 35, None, 0, 12),
    ("aes256ccm8-esn", "AES-CCM", 35, None, 0, 8),
    ("chacha20poly1305", "CHACHA20-POLY1305", 36, None, 0, 16),
    ("chacha20poly1305-esn", "CHACHA20-POLY1305", 36, None, 0, 16),
    ("aes128ctr-sha1", "AES-CTR", 20, "HMAC-SHA1-96", 20, 12),
    ("aes192ctr-sha384", "AES-CTR", 28, "SHA2-384-192", 48, 24),
    ("aes256ctr-sha512", "AES-CTR", 36, "SHA2-512-256", 64, 32),
    ("aes128-sha1", "AES-CBC", 16, "HMAC-SHA1-96", 20, 12),
    ("aes192-sha256", "AES-CBC", 24, "SHA2-256-128", 32, 16),
    ("aes256-sha1", "AES-CBC", 32, "HMAC-SHA1-96", 20, 12),
    ("aes128-sha256", "AES-CBC", 16, "SHA2-256-128", 32, 16),
    ("aes256-sha256", "AES-CBC", 32, "SHA2-256-128", 32, 16),
    ("aes256-sha384", "AES-CBC", 32, "SHA2-384-192", 48, 24),
    ("aes256-sha512", "AES-CBC", 32, "SHA2-512-256", 64, 32),
    ("aes128-aescmac", "AES-CBC", 16, "AES-CMAC-96", 16, 12),
    ("null-aescmac", "NULL", 0, "AES-CMAC-96", 16, 12),
    ("null-sha256", "NULL", 0, "SHA2-256-128", 32, 16),
    ("3des-sha1", "3DES", 24, "HMAC-SHA1-96", 20, 12),
    ("des-md5", "DES", 8, "HMAC-MD5-96", 16, 12),
]
AH_SUITES = [
    ("md5", None, 0, "HMAC-MD5-96", 16, 12),
    ("sha1", None, 0, "HMAC-SHA1-96", 20, 12),
    ("sha256", None, 0, "SHA2-256-128", 32, 16),
    ("sha384", None, 0, "SHA2-384-192", 48, 24),
    ("sha512", None, 0, "SHA2-512-256", 64, 32),
    ("aescmac", None, 0, "AES-CMAC-96", 16, 12),
    ("sha256-esn", None, 0, "SHA2-256-128", 32, 16),
]
IV_BYTES = {None: 0, "NULL": 0, "AES-GCM": 8, "CHACHA20-POLY1305": 8, "AES-CCM": 8, "AES-CTR": 8, "3DES": 8, "DES": 8, "AES-CBC": 16}
ALIGN = {"AES-CBC": 16, "3DES": 8, "DES": 8}


class Tunnel:
    """One suite, native or in UDP, in one mode, over and for one family each, with random keys; the same SA for Scapy and for our tool."""

    def __init__(self, suite, udp=False, transport=False, ah=False, outer=4, inner=4):
        self.name, self.cipher, key_bytes, self.auth, auth_bytes, self.icv = suite
        rnd = random.Random(f"{suite[0]}{udp}{transport}{ah}")
        self.key, self.auth_key = rnd.randbytes(key_bytes), rnd.randbytes(auth_bytes)
        self.port, self.transport, self.ah = 4500 if udp else 0, transport, ah
        self.outer, self.inner, self.ip = outer, inner, {4: 20, 6: 40}[outer]
        self.head = self.ip + (8 if udp else 0)
        self.sequence = self.head + (8 if ah else 4)
        self.our, self.peer = OUR[outer], PEER[outer]
        self.theirs, self.ours_ = (self.peer, self.our) if transport else INNER[inner][:2]

    def __str__(self):
        return f"{'AH' if self.ah else 'ESP'} {self.name:17} {'transport' if self.transport else 'tunnel':9} {'UDP 4500' if self.port else 'native':8} {self.inner} in {self.outer}"

    def scapy(self, source, destination, **ip):
        esn = {"esn_en": True, "esn": 0} if self.name.endswith("-esn") else {}
        return SecurityAssociation(AH if self.ah else ESP, spi=SPI, crypt_algo=self.cipher, crypt_key=self.key or None,
                                   crypt_icv_size=self.icv if self.cipher in ("AES-GCM", "AES-CCM") else None, auth_algo=self.auth,
                                   auth_key=self.auth_key or None,
                                   tunnel_header=None if self.transport else CLASS[self.outer](src=source, dst=destination, **ip),
                                   nat_t_header=UDP(sport=4500, dport=4500) if self.port else None, **esn)

    def seal(self, sa, clear, **how):
        """Scapy's packet. Its UDP length is always 8, as if nothing followed (2.5.0): put right here, and the checksum that IPv6 must have."""
        wire = bytearray(raw(sa.encrypt(CLASS[self.inner](clear), **how)))
        if self.port:
            wire[self.ip + 4:self.ip + 6] = (len(wire) - self.ip).to_bytes(2, "big")
            if self.outer == 6:
                wire[46:48] = in6_chksum(17, IPv6(bytes(wire)), bytes(wire[40:46]) + bytes(2) + bytes(wire[48:])).to_bytes(2, "big")
        return bytes(wire)

    def ours(self, direction, packets, window=64):
        """Our nodes over raw IP packets: (packets that came out, counters)."""
        return self.each(direction, [packets], window)[0]

    def each(self, direction, runs, window=64):
        """The same for several lists of packets, each under an SA of its own, by one process."""
        with tempfile.TemporaryDirectory(prefix="culvert-esp-") as folder:
            terms = os.path.join(folder, "terms.json")
            with open(terms, "w", encoding="ascii") as f:
                json.dump({"direction": direction, "suite": self.name, "ah": self.ah, "transport": self.transport, "encr_key": self.key.hex(), "integ_key": self.auth_key.hex(),
                           "spi": SPI, "local": self.our, "remote": self.peer, "port": self.port, "local_ts": self.our if self.transport else INNER[self.inner][3],
                           "remote_ts": self.peer if self.transport else INNER[self.inner][2], "window": window}, f)
            files = [[os.path.join(folder, f"{n}{kind}.pcap") for kind in ("in", "out")] for n in range(len(runs))]
            for packets, (inp, _) in zip(runs, files):
                with PcapWriter(inp, linktype=LINKTYPE_RAW) as w:
                    w.write_header(None)
                    for p in packets:
                        w.write_packet(p)
            done = subprocess.run([TOOL] + [name for pair in files for name in [terms] + pair], capture_output=True, text=True, timeout=60)
            if done.returncode != 0:
                raise SystemExit("tool failed: " + done.stderr)
            counters = [json.loads(line) for line in done.stdout.splitlines()]
            check("each run tells its counters", len(counters) == len(runs))
            came = []
            for (_, out), told in zip(files, counters):
                with PcapReader(out) as r:
                    came.append(([raw(p) for p in r], told))
            return came


def check(what, ok, detail=""):
    if not ok:
        raise SystemExit(f"FAILED: {what} {detail}")


def check_counters(what, got, packets=0, size=0, sequence=0, drops=None, of_sa=None, opening=True, refused=0):
    """The counters must be exactly these: all that is not named is zero."""
    missing = sequence - packets - refused if opening else 0
    want = {"packets": packets, "bytes": size, "sequence": sequence, "missing": missing, "reordered": 0}
    check(what, got["sa"] == want, f"counters {got['sa']}, expected {want}")
    check(what, got["drops"] == (drops or {}), f"drops {got['drops']}, expected {drops}")
    counted = {reason: n for reason, n in got["sa_drops"].items() if n}
    check(what, counted == (of_sa or {}), f"drops of the SA {counted}, expected {of_sa}")


def inner_packets(source, destination, transport, family):
    """TCP, UDP, ICMP, DSCP and ECN, DF, and every length modulo any block size; in tunnel mode fragments and options, too."""
    rnd = random.Random(7)
    ip = {"src": source, "dst": destination}
    if family == 6:
        out = [IPv6(**ip) / UDP(sport=7, dport=9) / Raw(rnd.randbytes(n)) for n in list(range(0, 66, 3)) + [484, 1452, 8000]]
        out += [IPv6(**ip, tc=0xB9, fl=0xABCDE, hlim=1) / TCP(sport=80, dport=1024) / Raw(rnd.randbytes(33)),
                IPv6(**ip) / ICMPv6EchoRequest(data=rnd.randbytes(56)), IPv6(**ip, nh=253) / Raw(b"experimental")]
        if not transport:
            out += [IPv6(**ip) / IPv6ExtHdrFragment(id=9, m=1, nh=17) / UDP(sport=7, dport=9) / Raw(rnd.randbytes(40)),
                    IPv6(**ip) / IPv6ExtHdrFragment(id=9, offset=6, nh=17) / Raw(rnd.randbytes(40))]
        return [raw(p) for p in out]
    out = [IP(**ip) / UDP(sport=7, dport=9) / Raw(rnd.randbytes(n)) for n in list(range(0, 66)) + [484, 996, 1392, 1472, 8000]]
    out += [IP(**ip, tos=0xB9, flags="DF", ttl=1) / TCP(sport=80, dport=1024) / Raw(rnd.randbytes(33)),
            IP(**ip, id=99) / ICMP() / Raw(rnd.randbytes(56)),
            IP(**ip, proto=253) / Raw(b"experimental")]
    if transport:
        return [raw(p) for p in out]
    out += [IP(**ip, flags="MF") / UDP(sport=7, dport=9) / Raw(rnd.randbytes(40)),
            IP(**ip, frag=100, proto=17) / Raw(rnd.randbytes(40)),
            IP(**ip, options=b"\x94\x04\x00\x00") / UDP(sport=7, dport=9) / Raw(b"router alert")]
    return [raw(p) for p in out]


def opens_what_scapy_seals(t):
    inner = inner_packets(t.theirs, t.ours_, t.transport, t.inner)
    sa = t.scapy(t.peer, t.our)
    sealed = [t.seal(sa, p) for p in inner]
    got, counters = t.ours("in", sealed)
    check("identical inner packets", got == inner, f"{t}: {counters}")
    check_counters("opening", counters, len(inner), sum(map(len, inner)), len(inner))
    return len(inner)


def seals_what_scapy_opens(t):
    inner = inner_packets(t.ours_, t.theirs, t.transport, t.inner)
    got, counters = t.ours("out", inner)
    check("all packets came out", len(got) == len(inner))
    check_counters("sealing", counters, len(inner), sum(map(len, inner)), len(inner), opening=False)
    for n, (clear, wire) in enumerate(zip(inner, got), 1):
        outer = CLASS[t.outer](wire)
        if not (t.transport and t.port and t.outer == 6):  # which Scapy (2.5.0) can seal and not open
            check("Scapy opens it", raw(t.scapy(t.our, t.peer).decrypt(CLASS[t.outer](wire))) == clear, f"{t}: packet {n}")
        check("sequence numbers", int.from_bytes(wire[t.sequence:t.sequence + 4], "big") == n)
        iv = {} if t.ah else {"iv": wire[t.head + 8:t.head + 8 + IV_BYTES[t.cipher]]}
        first = CLASS[t.inner](clear)
        tos = first.tos if t.inner == 4 else first.tc
        df = int(first.flags) & 2 if t.inner == 4 else 2
        fields = {"tos": tos, "flags": df, "ttl": 64, "id": outer.id} if t.outer == 4 else {"tc": tos, "fl": outer.fl, "hlim": 64}
        sa = t.scapy(t.our, t.peer, **fields)
        check("Scapy seals the identical packet", t.seal(sa, clear, seq_num=n, **iv) == wire, f"{t}: packet {n}")
    return len(inner)


def refuses(t):
    """Each bad packet stands between two good ones, 1 and 70, under a window of 64: both must get through."""
    sa = t.scapy(t.peer, t.our)
    clear = raw(IP(src=t.theirs, dst=t.ours_) / UDP(sport=7, dport=9) / Raw(b"x" * 72))
    expected = []

    def seal(n, packet=clear):
        return bytearray(t.seal(sa, packet, seq_num=n))

    first, last = seal(1), seal(70)

    def expect(what, bad, reason, by_sa=True, order=None, sequence=70, refused=0):
        expected.append((what, reason, by_sa, sequence, refused, order or [bytes(first), bytes(bad), bytes(last)]))

    def fixed(p):
        ip = IP(bytes(p[:20]))
        ip.len = len(p)
        del ip.chksum
        p[:20] = raw(ip)[:20]
        if t.port:
            p[24:26] = (len(p) - 20).to_bytes(2, "big")
        return p

    expect("replayed", first, "esp_replay")
    (bad_ah if t.ah else bad_esp)(t, seal, expect, fixed)
    for (what, reason, by_sa, sequence, refused, _), (got, counters) in zip(expected, t.each("in", [e[-1] for e in expected])):
        check(what, got == [clear, clear], f"{t.name}: {len(got)} came out")
        check_counters(f"{t.name}: {what}", counters, 2, 2 * len(clear), sequence, {reason: 1}, {reason: 1} if by_sa else {}, refused=refused)
    return len(expected)


def bad_esp(t, seal, expect, fixed):
    first, last = seal(1), seal(70)
    if not t.name.endswith("-esn"):
        expect("old", None, "esp_old", True, [bytes(first), bytes(last), bytes(seal(6))])
    iv, icv = IV_BYTES[t.cipher], t.icv
    body = t.head + 8 + iv
    regions = {"sequence number": t.head + 7, **({"IV, first byte": t.head + 8, "IV, last byte": body - 1} if iv else {}), "ciphertext, first byte": body,
               "ciphertext, middle": (body + len(first) - icv) // 2, "ciphertext, last byte": len(first) - icv - 1,
               "ICV, first byte": len(first) - icv, "ICV, last byte": len(first) - 1}
    for region, at in regions.items():
        bad = seal(50)
        bad[at] ^= 0x10
        expect("corrupted " + region, bad, "esp_auth")
    align = ALIGN.get(t.cipher, 4)
    expect("cut by a block", fixed(seal(50)[:-align]), "esp_auth")
    expect("cut by a byte", fixed(seal(50)[:-1]), "esp_runt")
    expect("cut to its header", fixed(seal(50)[:t.head + 8]), "esp_runt")
    expect("cut into its header", fixed(seal(50)[:t.head + 7]), "esp_runt", False)
    bad = seal(50)
    bad[t.head + 3] ^= 0x20  # another slot
    expect("unknown SPI", bad, "esp_no_sa", False)
    bad = seal(50)
    bad[t.head] ^= 0x20  # the slot of ours, another SPI
    expect("our slot, another SPI", bad, "esp_no_sa", False)
    bad = seal(50)
    bad[15] = 77
    expect("another peer", fixed(bad), "esp_wrong_peer")
    if t.transport:
        return
    foreign = seal(50, raw(IP(src="10.2.1.5", dst="10.1.0.5") / ICMP()))
    expect("inner source outside of the selectors", foreign, "esp_selector", refused=1)


def bad_ah(t, seal, expect, fixed):
    """What AH covers: the immutable fields of the IP header, itself, and all behind it. What it does not: TOS, flags, TTL."""
    good = seal(50)
    regions = {"identification": 5, "payload length": 21, "reserved": 22, "sequence number": 31, "ICV, first byte": 32,
               "ICV, last byte": 31 + t.icv, "payload, first byte": 32 + t.icv, "payload, last byte": len(good) - 1}
    for region, at in regions.items():
        bad = seal(50)
        bad[at] ^= 0x10
        expect("corrupted " + region, fixed(bad), "esp_runt" if region == "payload length" else "esp_auth")
    got, _ = t.ours("in", [bytes(fixed(bytearray(good[:1] + b"\x00" + good[2:8] + b"\x05" + good[9:])))])
    check("a TTL that routers have lowered is fine", len(got) == 1, t)
    expect("cut by a byte", fixed(seal(50)[:-1]), "esp_auth")
    expect("cut to its header", fixed(seal(50)[:32 + t.icv]), "esp_auth" if t.transport else "esp_runt")
    expect("cut into its header", fixed(seal(50)[:27]), "esp_runt", False)
    bad = seal(50)
    bad[24 + 3] ^= 0x20
    expect("unknown SPI", bad, "esp_no_sa", False)
    as_esp = seal(50)
    as_esp[9] = 50
    expect("AH in the guise of ESP", fixed(as_esp), "esp_no_sa", False)


def main():
    tunnels = [Tunnel(suite, udp, transport) for n, suite in enumerate(ESP_SUITES) for udp in (False, True) for transport in (False, True)
               if not udp or n % 8 == 0]
    tunnels += [Tunnel(suite, transport=transport, ah=True) for suite in AH_SUITES for transport in (False, True)]
    families = ((6, 6), (6, 4), (4, 6))
    for n, suite in enumerate(ESP_SUITES):
        outer, inner = families[n % 3]
        tunnels.append(Tunnel(suite, outer=outer, inner=inner))
        if n % 4 == 0:
            tunnels += [Tunnel(suite, udp, True, outer=6, inner=6) for udp in (False, True)] + [Tunnel(suite, True, outer=o, inner=i) for o, i in families]
    tunnels += [Tunnel(suite, ah=True, outer=o, inner=i) for n, suite in enumerate(AH_SUITES) for o, i in families[n % 3:] + families[:n % 3]][::2]
    tunnels += [Tunnel(suite, transport=True, ah=True, outer=6, inner=6) for suite in AH_SUITES]
    for t in tunnels:
        opened, sealed = opens_what_scapy_seals(t), seals_what_scapy_opens(t)
        refused = refuses(t) if (t.outer, t.inner) == (4, 4) else "no"
        print(f"{t}  {opened} opened identically, {sealed} sealed identically, {refused} kinds refused under the right reason")


main()

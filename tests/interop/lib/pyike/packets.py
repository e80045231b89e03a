"""ESP and AH, sealed and opened one packet at a time, and the ICMP echoes inside (RFC 4303, 4302, 4106, 4543). IPv4 inside; outside either family, but
transport mode over IPv4 alone.

Of one direction of one pair: keys, the number of the last packet, and what was refused. Never sends.

AH with GMAC: RFC 4543 §4 puts the IV in front of the tag into the header's Authentication Data, and behind it, over IPv6, padding to a multiple of 8
bytes (erratum 3643). RFC 4302 §3.3.3 has the ICV count as zeros; here, as in the one other implementation that is known (OpenDataPlane's), the ICV is
the tag, and the IV counts as it is.
"""
import collections
import os
import socket
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import wire

IPIP, PROTOCOL = 4, {wire.ESP: 50, wire.AH: 51}
AH_FIXED, IV, SALT = 12, 8, 4
KEY_LENGTH, AUTHENTICATION, EXTENDED = 6, 5, 11                         # attributes of the DOI: RFC 2407 §4.5, RFC 4304 §2
Suite = collections.namedtuple("Suite", "protocol transform key_bits authentication icv encrypts esn")


def suite(name, protocol=wire.ESP):
    """Of a name such as the gateway's configuration has: aes128gcm16, aes256gmac, with -esn behind it. Numbers: RFC 4106 §8, RFC 4543 §7."""
    word, _, esn = name.partition("-")
    bits, mode = int(word[3:6]), word[6:]
    if protocol == wire.AH:
        number = {128: 11, 192: 12, 256: 13}[bits]
        return Suite(protocol, number, bits, number, 16, False, esn == "esn")
    number, icv = {"gcm8": (18, 8), "gcm12": (19, 12), "gcm16": (20, 16), "gmac": (23, 16)}[mode]
    return Suite(protocol, number, bits, None, icv, mode != "gmac", esn == "esn")


def attributes_of(s):
    """What says the suite in a transform of Quick Mode. AH's key length is in its transform's number."""
    found = [(AUTHENTICATION, s.authentication)] if s.authentication else [(KEY_LENGTH, s.key_bits)]
    return found + ([(EXTENDED, 1)] if s.esn else [])


class Refused(Exception):
    """A packet that is not the peer's, or is none; the text says why."""


class OneWay:
    """The SA that `source` sends on. `keymat`: key and salt."""

    def __init__(self, s, spi, source, destination, keymat, transport=False):
        self.suite, self.spi, self.source, self.destination, self.transport = s, spi, source, destination, transport
        self.aead, self.salt = AESGCM(keymat[:-SALT]), keymat[-SALT:]
        self.number, self.opened, self.refused = 0, 0, []
        size = AH_FIXED + IV + s.icv                                    # of an AH header
        self.ah_bytes = size + (-size % 8 if ":" in source else 0)

    def _gcm(self, iv, clear, covered, tag_of=None):
        """The AEAD with tags cut to the suite's size. `tag_of`: the tag to be checked; then the result is the clear text."""
        nonce = self.salt + iv
        if tag_of is None:
            sealed = self.aead.encrypt(nonce, clear, covered)
            return sealed[:len(sealed) - 16 + self.suite.icv]
        if self.suite.icv == 16:
            return self.aead.decrypt(nonce, clear + tag_of, covered)
        text = self.aead.encrypt(nonce, clear, covered)[:-16]           # CTR is its own inverse
        if self.aead.encrypt(nonce, text, covered)[-16:][:self.suite.icv] != tag_of:
            raise InvalidTag
        return text

    def _high(self):
        return struct.pack("!I", self.number >> 32) if self.suite.esn else b""

    def seal(self, inner, number=None):
        """An IP packet. `number`: its own, instead of the next one."""
        self.number = self.number + 1 if number is None else number
        low, iv = struct.pack("!I", self.number & 0xffffffff), os.urandom(IV)
        front = self.spi + low
        following, text = (inner[9], inner[20:]) if self.transport else (IPIP, inner)
        if self.suite.protocol == wire.ESP:
            fill = -(len(text) + 2) % 4
            text += bytes(range(1, fill + 1)) + bytes([fill, following])
            if self.suite.encrypts:
                body = self._gcm(iv, text, self.spi + self._high() + low)
            else:
                body = text + self._gcm(iv, b"", self.spi + self._high() + low + iv + text)
            return ip_header(self.source, self.destination, PROTOCOL[wire.ESP], len(front) + IV + len(body)) + front + iv + body
        head = struct.pack("!BBH", following, self.ah_bytes // 4 - 2, 0) + front + iv
        filler = bytes(self.ah_bytes - len(head) - self.suite.icv)
        outer = ip_header(self.source, self.destination, PROTOCOL[wire.AH], self.ah_bytes + len(text))
        tag = self._gcm(iv, b"", immutable(outer) + head + bytes(self.suite.icv) + filler + text + self._high())
        return outer + head + tag + filler + text

    def open(self, packet):
        """The inner packet, or Refused. Each number must be larger than the last: nothing overtakes on a cable."""
        try:
            inner, number = self.unsealed(packet)
        except InvalidTag:
            self.refused.append("a wrong ICV")
            raise Refused(self.refused[-1]) from None
        except Refused as refused:
            self.refused.append(str(refused))
            raise
        if number <= self.number:
            self.refused.append(f"number {number} after {self.number}")
            raise Refused(self.refused[-1])
        self.number, self.opened = number, self.opened + 1
        return inner

    def unsealed(self, packet):
        """(inner packet, number), whatever came before. Refused, or InvalidTag."""
        header, body = split(packet)
        icv = self.suite.icv
        if self.suite.protocol == wire.ESP:
            low, iv, text, tag = body[4:8], body[8:8 + IV], body[8 + IV:-icv], body[-icv:]
            front = body[:4] + self._high() + low
            if len(body) % 4 or len(text) < 2:
                raise Refused("an ESP packet that is not padded")
            if self.suite.encrypts:
                text = self._gcm(iv, text, front, tag)
            else:
                self._gcm(iv, b"", front + iv + text, tag)
            fill, following = text[-2], text[-1]
            inner = text[:len(text) - 2 - fill]
            if text[len(inner):-2] != bytes(range(1, fill + 1)):
                raise Refused("padding that is not 1, 2, 3, ...")
        else:
            following, words, reserved = struct.unpack_from("!BBH", body)
            low, iv, inner = body[8:12], body[AH_FIXED:AH_FIXED + IV], body[self.ah_bytes:]
            tag, filler = body[AH_FIXED + IV:AH_FIXED + IV + icv], body[AH_FIXED + IV + icv:self.ah_bytes]
            if (words + 2) * 4 != self.ah_bytes or reserved:
                raise Refused(f"an AH header of {words} words, reserved {reserved}")
            self._gcm(iv, b"", immutable(header) + body[:AH_FIXED + IV] + bytes(icv) + filler + inner + self._high(), tag)
        if self.transport:
            inner = ip_header(self.source, self.destination, following, len(inner)) + inner
        elif following != IPIP:
            raise Refused(f"next header {following}")
        return inner, self.number & ~0xffffffff | int.from_bytes(low, "big")


def split(packet):
    """(outer header, what follows), both checked."""
    if packet[0] >> 4 == 6:
        header, length = packet[:40], 40 + int.from_bytes(packet[4:6], "big")
    else:
        header, length = packet[:20], int.from_bytes(packet[2:4], "big")
        if header[0] != 0x45 or checksum(header) != 0:
            raise Refused("an IP header with options, or with a wrong checksum")
    if length != len(packet):
        raise Refused(f"an IP packet of {len(packet)} bytes that says {length}")
    return header, packet[len(header):]


def checksum(data):
    total = sum(struct.unpack(f"!{len(data + bytes(len(data) % 2)) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip_header(source, destination, protocol, length, ttl=64):
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, length, protocol, ttl) + b"".join(socket.inet_pton(socket.AF_INET6, a) for a in (source, destination))
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, int.from_bytes(os.urandom(2), "big") or 1, 0x4000, ttl, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:]


def immutable(header):
    """RFC 4302 §3.3.3.1: class of service, flow label, flags and fragment offset, TTL and checksum count as zeros."""
    if len(header) == 40:
        return b"\x60\0\0\0" + header[4:7] + b"\0" + header[8:]
    return header[:1] + b"\0" + header[2:6] + b"\0\0" + b"\0" + header[9:10] + b"\0\0" + header[12:]


Echo = collections.namedtuple("Echo", "kind source destination id number")      # kind: 8 a request, 0 an answer


def echo(kind, source, destination, identifier, number, data=b"culvert" * 8):
    body = struct.pack("!BBHHH", kind, 0, 0, identifier, number) + data
    return ip_header(source, destination, 1, len(body)) + body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def read_echo(packet):
    """(Echo, its data), or None."""
    size = (packet[0] & 15) * 4
    if packet[9] != 1 or packet[size] not in (0, 8) or checksum(packet[size:]) or checksum(packet[:size]):
        return None
    identifier, number = struct.unpack_from("!HH", packet, size + 4)
    return Echo(packet[size], socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), identifier, number), packet[size + 8:]

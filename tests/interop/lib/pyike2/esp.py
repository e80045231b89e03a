"""ESP in tunnel mode with AES-GCM (RFC 4303, RFC 4106), with or without extended sequence numbers, and ICMP echoes inside of it."""
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import keys

IPIP = 4
ECHO_REPLY, ECHO_REQUEST = 0, 8


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ipv4(source, destination, protocol, payload):
    address = lambda text: bytes(map(int, text.split(".")))
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0) + address(source) + address(destination)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def echo(source, destination, kind, identifier, number, data):
    body = struct.pack(">BBHHH", kind, 0, 0, identifier, number) + data
    return ipv4(source, destination, 1, body[:2] + struct.pack(">H", checksum(body)) + body[4:])


def parse_echo(packet):
    """(source, destination, kind, identifier, number, data), checksums right; None: it is no echo."""
    if len(packet) < 28 or packet[0] != 0x45 or packet[9] != 1 or checksum(packet[:20]) or checksum(packet[20:]):
        return None
    address = lambda b: ".".join(map(str, b))
    kind, _, _, identifier, number = struct.unpack(">BBHHH", packet[20:28])
    return address(packet[12:16]), address(packet[16:20]), kind, identifier, number, packet[28:]


class Outbound:
    def __init__(self, spi, key, esn):
        self.spi, self.sequence, self.esn = spi, 0, esn
        self._aead, self._salt = AESGCM(key[:-keys.SALT]), key[-keys.SALT:]

    def seal(self, inner):
        self.sequence += 1
        iv, low = struct.pack(">Q", self.sequence), self.sequence & 0xffffffff
        pad = -(len(inner) + 2) % 4
        text = inner + bytes(range(1, pad + 1)) + bytes([pad, IPIP])
        aad = self.spi + (struct.pack(">Q", self.sequence) if self.esn else struct.pack(">I", low))
        return self.spi + struct.pack(">I", low) + iv + self._aead.encrypt(self._salt + iv, text, aad)


class Inbound:
    """Refuses what is at or below `floor`, or was seen: `dropped` counts it. `numbers`: all that was taken in."""

    def __init__(self, spi, key, esn):
        self.spi, self.esn = spi, esn
        self.numbers, self.floor, self.dropped, self.forged = [], 0, 0, 0
        self._aead, self._salt = AESGCM(key[:-keys.SALT]), key[-keys.SALT:]

    @property
    def top(self):
        return max(self.numbers, default=0)

    def _whole(self, low):
        """The next number from the top on that ends so: this peer's window is as narrow as can be."""
        if not self.esn:
            return low
        known = max(self.top, self.floor)
        return known - (known & 0xffffffff) + low + (0 if low + 64 > known & 0xffffffff else 1 << 32)

    def open(self, packet):
        """The inner packet, or None."""
        low, = struct.unpack(">I", packet[4:8])
        number = self._whole(low)
        if number <= self.floor or number in self.numbers:
            self.dropped += 1
            return None
        aad = self.spi + (struct.pack(">Q", number) if self.esn else packet[4:8])
        try:
            text = self._aead.decrypt(self._salt + packet[8:16], packet[16:], aad)
        except InvalidTag:
            self.forged += 1
            return None
        self.numbers.append(number)
        if text[-1] != IPIP:
            return None                                               # a dummy
        return text[:len(text) - 2 - text[-2]]

"""Reads captures with the keys that strongSwan logs (`ike = 4`, `chd = 4`): what was in an IKE message, which echo was in an ESP packet.

The judge is an independent implementation: tshark for IKE, Python's cryptography for ESP with AES-GCM-16.
"""
import re
import struct
from collections import namedtuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ESP_HEADER, GCM_IV, GCM_SALT = 8, 8, 4

_LINE = re.compile(r"^\S+ (\d+)\[(\w+)\] (.*)$")
_BLOB = re.compile(r"^(.*?) => (\d+) bytes @ 0x[0-9a-f]+$")
_HEX = re.compile(r"^\s*\d+: ((?:[0-9A-F]{2} ?)+)")

Echo = namedtuple("Echo", "time spi sequence kind number source target")   # kind: "request" or "reply"


def _events(log):
    """(thread, group, text, blob or None) for each log line; the hex lines that follow a blob are folded into it."""
    blobs, out = {}, []
    for line in log.splitlines():
        match = _LINE.match(line)
        if not match:
            continue
        thread, group, text = match.groups()
        blob, hexes = _BLOB.match(text), _HEX.match(text)
        if blob:
            blobs[thread] = [thread, group, blob.group(1), bytearray(), int(blob.group(2))]
            out.append(blobs[thread])
        elif hexes and thread in blobs:
            entry = blobs[thread]
            missing = entry[4] - len(entry[3])
            entry[3] += bytes.fromhex(hexes.group(1).replace(" ", ""))[:missing][:16]
        else:
            out.append([thread, group, text, None, 0])
    return out


def ike_keys(log):
    """{initiator cookie (hex): encryption key Ka (hex)} of every ISAKMP SA."""
    found, pending = {}, {}
    for thread, _, text, blob, _ in _events(log):
        if text == "encryption key Ka":
            pending[thread] = blob
        elif text == "natd_chunk" and thread in pending:
            found[bytes(blob[:8]).hex()] = bytes(pending.pop(thread)).hex()
    return found


def ikev2_keys(log):
    """One {"ai", "ar", "ei", "er": hex} for each IKE SA of IKEv2, in the order in which they were made."""
    found, pending = [], {}
    for thread, _, text, blob, _ in _events(log):
        which = re.match(r"Sk_(ai|ar|ei|er) secret$", text)
        if which and blob is not None:
            pending.setdefault(thread, {})[which.group(1)] = bytes(blob).hex()
            if len(pending[thread]) == 4:
                found.append(pending.pop(thread))
    return found


def esp_keys(log):
    """{spi (int): [encryption key (bytes), ...]}: both keys of the pair; authentication tells which one fits."""
    found, keys = {}, {}
    for thread, _, text, blob, _ in _events(log):
        if text in ("encryption initiator key", "encryption responder key"):
            keys.setdefault(thread, {})[text] = bytes(blob)
        spi = re.match(r"\s+SPI 0x([0-9a-f]+), src", text)
        if spi and thread in keys:
            # An outbound SA that waits is named once more when it is installed, by a thread that has derived other keys.
            found.setdefault(int(spi.group(1), 16), list(keys[thread].values()))
    return found


def esp_packets(pcap):
    """(time, source, target, ESP bytes) of all native and UDP-encapsulated ESP packets of a capture (Ethernet, IPv4, without options)."""
    for time, frame in frames(pcap):
        if frame[12:14] != b"\x08\x00":
            continue
        header = (frame[14] & 15) * 4
        total = struct.unpack_from("!H", frame, 16)[0]
        packet = frame[14:14 + total]
        source, target, payload = packet[12:16], packet[16:20], packet[header:]
        if packet[9] == 50:
            yield time, source, target, payload
        elif packet[9] == 17 and len(payload) > 16 and 4500 in struct.unpack_from("!HH", payload):
            if payload[8:12] != b"\0\0\0\0":
                yield time, source, target, payload[8:]


def frames(pcap):
    """(time, bytes) of each frame of a classic little-endian pcap file."""
    with open(pcap, "rb") as f:
        data = f.read()
    nano = data[:4] == b"\x4d\x3c\xb2\xa1"
    position = 24
    while position + 16 <= len(data):
        seconds, fraction, captured, _ = struct.unpack_from("<IIII", data, position)
        if position + 16 + captured > len(data):
            break
        yield seconds + fraction / (1e9 if nano else 1e6), data[position + 16:position + 16 + captured]
        position += 16 + captured


def without_repeats(source, target):
    """Copies a capture without IKE datagrams that repeat an earlier one byte for byte; returns how many were left out.

    A retransmission is not the next message of its exchange, but tshark takes it for that and decrypts it with the wrong vector.
    """
    seen, left_out = set(), 0
    with open(source, "rb") as f, open(target, "wb") as out:
        out.write(f.read(24))
        while True:
            record = f.read(16)
            if len(record) < 16:
                return left_out
            frame = f.read(struct.unpack_from("<I", record, 8)[0])
            ike = frame[12:14] == b"\x08\x00" and frame[23] == 17 and {500, 4500} & set(struct.unpack_from("!HH", frame, 34))
            if ike and len(frame) > 42 + 28:
                if frame[26:] in seen:
                    left_out += 1
                    continue
                seen.add(frame[26:])
            out.write(record + frame)


def decrypt(esp, keys):
    """The inner packet of an AES-GCM-16 ESP packet, or None when no key of its SPI authenticates it (RFC 4106)."""
    spi = struct.unpack_from("!I", esp)[0]
    for key in keys.get(spi, ()):
        try:
            plain = AESGCM(key[:-GCM_SALT]).decrypt(key[-GCM_SALT:] + esp[ESP_HEADER:ESP_HEADER + GCM_IV], esp[ESP_HEADER + GCM_IV:], esp[:ESP_HEADER])
        except InvalidTag:
            continue
        return plain[:-2 - plain[-2]]
    return None


def echo_of(packet):
    """(kind, number) if an IPv4 packet is an ICMP echo, else None."""
    header = (packet[0] & 15) * 4
    if packet[9] != 1 or packet[header] not in (0, 8):
        return None
    return ("request" if packet[header] == 8 else "reply"), struct.unpack_from("!H", packet, header + 6)[0]


def clear_echoes(pcap):
    """Echoes of a capture on the inner side."""
    out = []
    for time, frame in frames(pcap):
        if frame[12:14] == b"\x08\x00":
            echo = echo_of(frame[14:])
            if echo:
                out.append(Echo(time, 0, 0, *echo, frame[26:30], frame[30:34]))
    return out


def esp_echoes(pcap, log):
    """(echoes inside of ESP, number of packets that no key authenticated)."""
    keys, out, unreadable = esp_keys(log), [], 0
    for time, source, target, esp in esp_packets(pcap):
        inner = decrypt(esp, keys)
        echo = echo_of(inner) if inner else None
        if inner is None:
            unreadable += 1
        elif echo:
            out.append(Echo(time, *struct.unpack_from("!II", esp), *echo, source, target))
    return out, unreadable

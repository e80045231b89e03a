#!/usr/bin/python3
"""usage: flood.py INTERFACE MAC SAMPLES 500|4500|esp|both random|mutated|mixed COUNT RATE SEED

Puts COUNT hostile IPv4 packets for 10.9.0.1 on INTERFACE, RATE a second: datagrams to port 500 or 4500, or ESP. `random` are random bytes,
half of them behind a plausible header; `mutated` are frames of SAMPLES (one in hex a line) with bytes changed, cut, repeated or lengths bent.
Checksums of IP and UDP are made right, so that the packets come past the first check. Half come from the peer's address, the rest from others.
"""
import random
import socket
import struct
import sys
import time

US, PEER = bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2])
ESP, UDP = 50, 17


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(protocol, source, payload):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, source, US)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def datagram(source, port_from, port_to, data):
    udp = struct.pack("!HHHH", port_from, port_to, 8 + len(data), 0) + data
    return packet(UDP, source, udp)          # UDP checksum 0: none


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        how = rng.randrange(6)
        if not data:
            break
        where = rng.randrange(len(data))
        if how == 0:
            data[where] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[where] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif how == 2:
            del data[where:]
        elif how == 3:
            data[where:where] = data[where:where + rng.randint(1, 40)] * rng.randint(1, 3)
        elif how == 4 and len(data) > where + 2:
            struct.pack_into("!H", data, where, rng.choice((0, 1, 3, 4, 0x7FFF, 0xFFFF, rng.randrange(65536))))
        else:
            data[where:] = rng.randbytes(len(data) - where)
    return bytes(data[:1440])


def plausible(rng, channel):
    """Random bytes behind a header that a first look accepts."""
    body = rng.randbytes(rng.choice((0, 1, 4, 27, 28, 60, 200, 1000, rng.randrange(1400))))
    if channel == "esp":
        return rng.randbytes(8) + body
    header = rng.randbytes(8) + rng.choice((bytes(8), rng.randbytes(8)))
    header += bytes([rng.choice((1, 5, 8, 13, rng.randrange(256))), 0x10, rng.choice((2, 4, 5, 32, rng.randrange(256))), rng.randrange(256)])
    header += rng.choice((bytes(4), rng.randbytes(4)))
    return header + struct.pack("!I", rng.choice((28 + len(body), 28 + len(body), rng.randrange(1 << 32)))) + body


def samples_of(path):
    """{channel: [payload]} of what the tunnel itself has sent."""
    found = {"500": [], "4500": [], "esp": []}
    with open(path, encoding="ascii") as f:
        for line in f:
            frame = bytes.fromhex(line.strip())
            ip = frame[14:14 + struct.unpack_from("!H", frame, 16)[0]]
            if ip[9] == ESP:
                found["esp"].append(ip[20:])
            elif ip[9] == UDP:
                port = struct.unpack_from("!H", ip, 22)[0]
                if port == 500:
                    found["500"].append(ip[28:])
                    found["4500"].append(bytes(4) + ip[28:])
    found["4500"] += found["esp"]
    return found


def one(rng, channel, kind, found):
    source = PEER if rng.random() < 0.5 else bytes([10, 9, rng.randrange(2, 250), rng.randrange(1, 250)])
    if kind == "random" or not found[channel]:
        data = rng.randbytes(rng.randrange(1400)) if rng.random() < 0.5 else plausible(rng, channel)
        if channel == "4500" and rng.random() < 0.5:
            data = bytes(4) + data
    else:
        data = mutate(rng, rng.choice(found[channel]))
    if channel == "esp":
        return packet(ESP, source, data)
    port = int(channel)
    return datagram(source, rng.choice((port, port, rng.randrange(1, 65536))), port, data)


def main():
    if len(sys.argv) != 9:
        sys.exit(__doc__)
    interface, mac, path, channel, kind, count, rate, seed = sys.argv[1:]
    rng, found, count, rate = random.Random(f"{seed}-{channel}-{kind}"), samples_of(path), int(count), float(rate)
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((interface, 0))
    head = bytes.fromhex(mac.replace(":", "")) + link.getsockname()[4] + b"\x08\x00"
    begun = time.monotonic()
    for number in range(count):
        where = rng.choice(("500", "4500", "esp")) if channel == "both" else channel
        how = rng.choice(("random", "mutated")) if kind == "mixed" else kind
        link.send(head + one(rng, where, how, found))
        late = begun + number / rate - time.monotonic()
        if late > 0.002:
            time.sleep(late)
    print(f"{count} in {time.monotonic() - begun:.1f} s")


main()

#!/usr/bin/python3
"""usage: make_ikev2_insider_seeds.py FOLDER: the first inputs of fuzz_ikev2_insider, one file each: what a peer may ask under an IKE SA."""
import os
import struct
import sys

SA, KE, NONCE, NOTIFY, DELETE, TSI, TSR, CP = 33, 34, 40, 41, 42, 44, 45, 47


def chain(*payloads):
    """(first payload, bytes) of [(type, body), ...]."""
    following = [t for t, _ in payloads[1:]] + [0]
    return (payloads[0][0] if payloads else 0), b"".join(struct.pack(">BBH", n, 0, 4 + len(body)) + body for (_, body), n in zip(payloads, following))


def record(kind, *payloads):
    first, body = chain(*payloads)
    return struct.pack(">BBH", kind, first, len(body)) + body


def transform(last, kind, number, bits=None):
    attribute = struct.pack(">HH", 0x800e, bits) if bits else b""
    return struct.pack(">BBHBBH", 0 if last else 3, 0, 8 + len(attribute), kind, 0, number) + attribute


def proposal(protocol, spi, *transforms):
    body = b"".join(transform(i == len(transforms) - 1, *t) for i, t in enumerate(transforms))
    return struct.pack(">BBHBBBB", 0, 0, 8 + len(spi) + len(body), 1, protocol, len(spi), len(transforms)) + spi + body


def selector(network, last):
    return struct.pack(">B3xBBHHH", 1, 7, 0, 16, 0, 65535) + bytes(network) + bytes(last)


MINE, THEIRS = selector((10, 1, 0, 0), (10, 1, 0, 255)), selector((10, 2, 0, 0), (10, 2, 0, 255))
ESP = proposal(3, b"\xc0\xde\0\1", (1, 20, 128), (5, 0))
ESP_PFS = proposal(3, b"\xc0\xde\0\2", (1, 20, 128), (4, 19), (5, 0))
IKE = proposal(1, b"\1\2\3\4\5\6\7\x08", (1, 20, 128), (2, 5), (4, 19))
POINT = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
REKEY = (NOTIFY, struct.pack(">BBH", 3, 4, 16393) + b"\xc0\xde\0\0")
SEEDS = {
    "child": record(0, (SA, ESP), (NONCE, bytes(32)), (TSI, MINE), (TSR, THEIRS)),
    "child_pfs": record(0, (SA, ESP_PFS), (NONCE, bytes(32)), (KE, struct.pack(">HH", 19, 0) + POINT), (TSI, MINE), (TSR, THEIRS)),
    "rekey_child": record(0, REKEY, (SA, ESP), (NONCE, bytes(32)), (TSI, MINE), (TSR, THEIRS)) + record(1, (DELETE, struct.pack(">BBH", 3, 4, 1) + b"\xc0\xde\0\0")),
    "rekey_ike": record(0, (SA, IKE), (NONCE, bytes(32)), (KE, struct.pack(">HH", 19, 0) + POINT)),
    "delete_child": record(1, (DELETE, struct.pack(">BBH", 3, 4, 1) + b"\xc0\xde\0\0")),
    "delete_ike": record(1, (DELETE, struct.pack(">BBH", 1, 0, 0))),
    "liveness": record(1),
    "auth_failed": record(1, (NOTIFY, struct.pack(">BBH", 0, 0, 24))),
    "auth_again": record(2, (NOTIFY, struct.pack(">BBH", 0, 0, 16384))),
    "configuration": record(1, (CP, struct.pack(">B3xHH", 1, 1, 0))),
    "sync": record(0x81, (NOTIFY, struct.pack(">BBH4sII", 0, 0, 16422, b"once", 40, 50)), (NOTIFY, struct.pack(">BBHI", 0, 0, 16423, 1000))) + record(1),
    "sync_apart": record(1, (NOTIFY, struct.pack(">BBHQ", 0, 0, 16423, 1000))),
    "unknown": record(4 * 43 + 3, (NONCE, bytes(32))),
}

os.makedirs(sys.argv[1], exist_ok=True)
for name, data in SEEDS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)

#!/usr/bin/python3
"""usage: make_ikev2_rounds_seeds.py FOLDER: the first inputs of fuzz_ikev2_rounds, one file each: what may come behind a first proof."""
import os
import struct
import sys

SA, IDI, CERT, AUTH, NONCE, NOTIFY, EAP = 33, 35, 37, 39, 40, 41, 48


def record(kind, *payloads):
    following = [t for t, _ in payloads[1:]] + [0]
    body = b"".join(struct.pack(">BBH", n, 0, 4 + len(b)) + b for (_, b), n in zip(payloads, following))
    return struct.pack(">BBH", kind, payloads[0][0] if payloads else 0, len(body)) + body


def eap(code, number, data):
    return EAP, struct.pack(">BBH", code, number, 4 + len(data)) + data


def notify(number):
    return NOTIFY, struct.pack(">BBH", 0, 0, number)


SECRET = (AUTH, b"\2\0\0\0" + bytes(32))
SEEDS = {
    "nothing": record(0),
    "secret": record(2, SECRET),
    "secret_and_more": record(2, SECRET, notify(16405)),
    "signature": record(2, (CERT, b"\4x"), (AUTH, b"\1\0\0\0" + bytes(64))),
    "user": record(2),
    "user_says": record(2) + record(0, eap(2, 0, b"\1alice")),
    "user_refuses": record(2) + record(1, notify(24)),
    "user_proves_nothing": record(2) + record(0, SECRET),
    "farewell": record(1, notify(24)),
    "informational": record(1),
    "child": record(4 * 36 + 3, (NONCE, bytes(32))),
    "unasked": record(2, (SA, bytes(8))),
}

os.makedirs(sys.argv[1], exist_ok=True)
for name, data in SEEDS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)

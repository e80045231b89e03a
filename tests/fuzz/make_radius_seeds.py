#!/usr/bin/python3
"""Writes corpus/radius/: answers that prove themselves and such that do not; see radius_fuzz.cpp for the form."""
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "radius")
ACCEPT, REJECT, CHALLENGE = 2, 3, 11


def attribute(kind, value):
    return bytes([kind, len(value)]) + value


def proven(code, *attributes):
    return bytes([0xff, code]) + b"".join(attributes)


def packet(code, identifier, *attributes):
    body = b"".join(bytes([kind, len(value) + 2]) + value for kind, value in attributes)
    return struct.pack("!BBH", code, identifier, 20 + len(body)) + bytes(16) + body


def seed(name, *records):
    with open(os.path.join(FOLDER, name), "wb") as f:
        f.write(b"".join(struct.pack("!H", len(r)) + r for r in records))


def main():
    os.makedirs(FOLDER, exist_ok=True)
    eap, success = attribute(79, bytes.fromhex("0102000504")), attribute(79, bytes.fromhex("03020004"))
    key = lambda kind, size: attribute(26, struct.pack("!IBB", 311, kind, size + 2) + b"\x80\x01" + bytes(range(size - 2)))
    seed("challenge", proven(CHALLENGE, eap, attribute(24, b"state")), proven(CHALLENGE), proven(CHALLENGE, eap, attribute(24, b"a"), attribute(24, b"b")))
    seed("accept", proven(ACCEPT, success, key(17, 50), key(16, 50), attribute(1, b"bob"), attribute(27, struct.pack("!I", 3600))))
    seed("accept-odd-keys", proven(ACCEPT, success, key(17, 18), key(16, 17)), proven(ACCEPT, success, key(17, 34)), proven(ACCEPT, success, key(9, 4)))
    seed("reject", proven(REJECT, attribute(18, b"closed\n"), attribute(79, bytes.fromhex("04020004"))), proven(5), proven(REJECT, attribute(80, bytes(16))))
    seed("forged", packet(ACCEPT, 1, (79, bytes.fromhex("03020004")), (80, bytes(16))), packet(ACCEPT, 2), packet(ACCEPT, 9)[:19], b"")
    seed("odd-lengths", packet(ACCEPT, 1, (24, b"")), packet(ACCEPT, 2, (24, bytes(253))), packet(ACCEPT, 3) + b"\x01\x01", packet(ACCEPT, 4) + b"\x01")


main()

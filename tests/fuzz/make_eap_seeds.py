#!/usr/bin/python3
"""Writes corpus/eap/: conversations that come to a good end, to a bad one, and to none; see eap_fuzz.cpp for the form. The right answers are those of RFC 2759 §9.2."""
import hashlib
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "eap")
SERVER, USER = bytes.fromhex("5b5d7c7d7b3f2f3e3c2c602132262628"), bytes.fromhex("21402324255e262a28295f2b3a337c7e")
PROOF = bytes.fromhex("82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df")
REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4
VISIT, MD5, TLS = 1, 2, 4
LENGTH, MORE, START = 0x80, 0x40, 0x20


def packet(code, identifier, kind=None, data=b""):
    body = b"" if kind is None else bytes([kind]) + data
    return struct.pack("!BBH", code, identifier, 4 + len(body)) + body


def ms(op, identifier, rest):
    return struct.pack("!BBH", op, identifier, 4 + len(rest)) + rest


def seed(name, what, *packets):
    with open(os.path.join(FOLDER, name), "wb") as f:
        f.write(bytes([what]) + b"".join(struct.pack("!H", len(p)) + p for p in packets))


def main():
    os.makedirs(FOLDER, exist_ok=True)
    me = packet(RESPONSE, 1, 1, b"User")
    answer = ms(2, 2, bytes([49]) + USER + bytes(8) + PROOF + bytes(1))
    right = packet(RESPONSE, 2, 26, answer[:2] + struct.pack("!H", len(answer) + 4) + answer[4:] + b"User")
    seed("serve-mschapv2", 0, me, right, packet(RESPONSE, 3, 26, b"\x03"))
    seed("serve-mschapv2-failed", 0, me, right, packet(RESPONSE, 3, 26, b"\x04"))
    seed("serve-nak", 0, me, packet(RESPONSE, 2, 3, b"\x0d\x04"))
    seed("serve-nobody", 0, packet(RESPONSE, 1, 1))
    digest = hashlib.md5(bytes([2]) + b"clientPass" + SERVER).digest()
    seed("serve-md5", MD5, me, packet(RESPONSE, 2, 4, bytes([16]) + digest))
    who, challenge = packet(REQUEST, 1, 1), packet(REQUEST, 2, 26, ms(1, 2, bytes([16]) + SERVER + b"gw.example"))
    told = packet(REQUEST, 3, 26, ms(3, 2, b"S=407A5589115FD0D6209F510FE9C04566932CDA56 M=Welcome"))
    seed("visit-mschapv2", VISIT, who, challenge, told, packet(SUCCESS, 3))
    seed("visit-refused", VISIT, who, challenge, packet(REQUEST, 3, 26, ms(4, 2, b"E=691 R=0 C=00 V=3 M=no")), packet(FAILURE, 3))
    seed("visit-early-success", VISIT, who, challenge, packet(SUCCESS, 2))
    seed("visit-other-method", VISIT, who, packet(REQUEST, 2, 13, b"\x20"), packet(FAILURE, 2))
    seed("visit-md5", VISIT | MD5, packet(REQUEST, 9, 2, b"hello"), who, packet(REQUEST, 2, 4, bytes([16]) + SERVER + b"gw"), packet(SUCCESS, 2))
    # The first byte of a message says what TLS makes of it: 0x05 goes on, 0x40 is the end of it, 0x80 a failure.
    tls = lambda code, number, data, flags=0, length=None: packet(code, number, 13, bytes([flags]) + (b"" if length is None else struct.pack("!I", length)) + data)
    hello, ack = b"\x05" + bytes(200), b""
    long = (hello[:100], LENGTH | MORE, 201), (hello[100:], 0, None)
    seed("serve-tls", TLS, me, tls(RESPONSE, 2, hello), tls(RESPONSE, 3, b"\x42" + bytes(40)), tls(RESPONSE, 4, ack), tls(RESPONSE, 5, ack))
    seed("serve-tls-fragments", TLS, me, *(tls(RESPONSE, 2 + n, *part) for n, part in enumerate(long)), tls(RESPONSE, 4, b"\x5f"), *(tls(RESPONSE, n, ack) for n in range(5, 9)))
    seed("serve-tls-failed", TLS, me, tls(RESPONSE, 2, b"\x81" + bytes(9)), tls(RESPONSE, 3, ack))
    seed("serve-tls-lies", TLS, me, tls(RESPONSE, 2, hello, LENGTH | MORE, 0x7fffffff))
    seed("serve-tls-subject", TLS, packet(RESPONSE, 1, 1, bytes.fromhex("3010310e300c06035504030c05616c696365")), tls(RESPONSE, 2, hello))
    seed("visit-tls", VISIT | TLS, who, tls(REQUEST, 2, b"", START), *(tls(REQUEST, 3 + n, *part) for n, part in enumerate(long)), tls(REQUEST, 5, b"\x40"), packet(SUCCESS, 5))
    seed("visit-tls-failed", VISIT | TLS, who, tls(REQUEST, 2, b"", START), tls(REQUEST, 3, b"\x81"), packet(FAILURE, 3))
    seed("visit-tls-early-success", VISIT | TLS, who, tls(REQUEST, 2, b"", START), packet(SUCCESS, 2))


if __name__ == "__main__":
    main()

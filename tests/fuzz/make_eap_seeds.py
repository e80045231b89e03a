#!/usr/bin/python3
"""Writes corpus/eap/: conversations that come to a good end, to a bad one, and to none; see eap_fuzz.cpp for the form. The right answers are those of RFC 2759 §9.2."""
import hashlib
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "eap")
SERVER, USER = bytes.fromhex("5b5d7c7d7b3f2f3e3c2c602132262628"), bytes.fromhex("21402324255e262a28295f2b3a337c7e")
PROOF = bytes.fromhex("82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df")
REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4
VISIT, MD5 = 1, 2


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


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes the seed corpora of ike_header, ikev1_message and ikev1_sa_proposal: small well-formed messages, made from the layouts
of RFC 2408 and RFC 2407 alone. usage: make_ike_seeds.py [FOLDER], which is corpus/ beside this script by default."""
import pathlib
import struct
import sys

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus")
SA, KE, ID, HASH, NONCE, N, D, VID, NATD = 1, 4, 5, 8, 10, 11, 12, 13, 20


def save(target, name, data):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def fill(n, seed=1):
    return bytes((seed + 7 * i) & 0xFF for i in range(n))


def tv(kind, value):
    return struct.pack(">HH", kind | 0x8000, value)


def tlv(kind, value):
    return struct.pack(">HH", kind, len(value)) + value


def items(bodies, more):
    return b"".join(struct.pack(">BBH", more if i + 1 < len(bodies) else 0, 0, len(b) + 4) + b for i, b in enumerate(bodies))


def transform(number, ident, *attributes):
    return struct.pack(">BBH", number, ident, 0) + b"".join(attributes)


def proposal(number, protocol, spi, *transforms):
    return struct.pack(">BBBB", number, protocol, len(spi), len(transforms)) + spi + items(transforms, 3)


def sa(*proposals):
    return struct.pack(">II", 1, 1) + items(proposals, 2)


def ike(number, cipher, bits, digest, group, *more, auth=1):
    return transform(number, 1, tv(1, cipher), *([tv(14, bits)] if bits else []), tv(2, digest), tv(4, group), tv(3, auth), *more)


def esp(number, ident, bits, auth, mode, *more):
    return transform(number, ident, tv(4, mode), *([tv(6, bits)] if bits else []), *([tv(5, auth)] if auth else []), *more)


LIFE1 = tv(11, 1) + tv(12, 14400)
LIFE2 = tv(1, 1) + tlv(2, struct.pack(">I", 86400))
SPI = bytes.fromhex("c0ffee01")
OFFERS = {
    "ike_one": sa(proposal(1, 1, b"", ike(1, 7, 256, 4, 14, LIFE1))),
    "ike_many": sa(proposal(1, 1, b"", *[ike(i + 1, c, b, h, g, LIFE1) for i, (c, b, h, g) in enumerate(
        [(5, 0, 1, 2), (7, 128, 2, 5), (7, 192, 5, 15), (7, 256, 6, 16), (7, 128, 2, 19), (7, 256, 6, 21)])])),
    "ike_old": sa(proposal(1, 1, b"", ike(1, 5, 0, 1, 2, tv(11, 1), tlv(12, b"\0\1\x51\x80")), ike(2, 1, 0, 2, 1, auth=3))),
    "ike_cookie_spi": sa(proposal(1, 1, fill(8), ike(1, 7, 128, 2, 14, tv(11, 2), tv(12, 1000), LIFE1))),
    "ike_prime": sa(proposal(1, 1, b"", ike(1, 7, 256, 4, 14, tv(5, 1), tlv(6, fill(96)), tlv(7, b"\2")))),
    "ike_private": sa(proposal(1, 1, b"", ike(1, 7, 256, 4, 14, tv(20000, 1)))),
    "ike_no_key_length": sa(proposal(1, 1, b"", ike(1, 7, 0, 4, 14))),
    "esp_gcm": sa(proposal(1, 3, SPI, esp(1, 20, 128, 0, 1, LIFE2))),
    "esp_udp_pfs": sa(proposal(1, 3, SPI, esp(1, 20, 256, 0, 3, tv(3, 19)), esp(2, 12, 256, 5, 3, tv(3, 14), LIFE2))),
    "esp_cbc": sa(proposal(1, 3, SPI, esp(1, 12, 128, 2, 1, LIFE2), esp(2, 12, 256, 5, 1, LIFE2))),
    "esp_kbytes": sa(proposal(1, 3, SPI, esp(1, 12, 128, 2, 1, tv(1, 2), tlv(2, fill(8)), LIFE2))),
    "esp_two_proposals": sa(proposal(1, 3, SPI, esp(1, 3, 0, 1, 1)), proposal(2, 3, SPI, esp(1, 12, 256, 5, 1))),
    "bundle": sa(proposal(1, 2, SPI, esp(1, 3, 0, 2, 2)), proposal(1, 3, SPI, esp(1, 12, 128, 0, 2)), proposal(1, 4, b"\0\2", esp(1, 2, 0, 0, 2))),
    "esp_null": sa(proposal(1, 3, SPI, esp(1, 11, 0, 2, 1), esp(2, 23, 128, 0, 1))),
}
for name, body in OFFERS.items():
    for circumstances in range(4) if name.startswith("esp") else range(1):
        save("ikev1_sa_proposal", "%s_%d" % (name, circumstances), bytes([circumstances]) + body)
save("ikev1_sa_proposal", "responder_lifetime", b"\0" + LIFE2 + tv(1, 2) + tv(2, 1000))


def chain(*payloads):
    out = b""
    for i, (kind, body) in enumerate(payloads):
        following = payloads[i + 1][0] if i + 1 < len(payloads) else 0
        out += struct.pack(">BBH", following, 0, len(body) + 4) + body
    return payloads[0][0], out


VIDS = [(VID, bytes.fromhex(v)) for v in ("4a131c81070358455c5728f20e95452f", "afcad71368a1f1c96b8696fc77570100", "09002689dfd6b712")]
IDS = [(ID, bytes.fromhex("040000000a010000ffffff00")), (ID, bytes.fromhex("010600500a020005"))]
COOKIES = fill(16)
MESSAGES = {
    "main_1": chain((SA, OFFERS["ike_many"]), *VIDS),
    "main_2": chain((SA, OFFERS["ike_one"]), *VIDS[:2]),
    "main_3": chain((KE, fill(64)), (NONCE, fill(32)), (NATD, fill(32)), (NATD, fill(32, 9))),
    "main_5": chain((ID, b"\2\0\0\0gw-a.example"), (HASH, fill(32)), (N, struct.pack(">IBBH", 1, 1, 16, 24578) + COOKIES)),
    "quick_1": chain((HASH, fill(32)), (SA, OFFERS["esp_udp_pfs"]), (NONCE, fill(16)), (KE, fill(64)), *IDS),
    "quick_3": chain((HASH, fill(20))),
    "delete_esp": chain((HASH, fill(20)), (D, struct.pack(">IBBH", 1, 3, 4, 2) + SPI + SPI)),
    "delete_isakmp": chain((HASH, fill(20)), (D, struct.pack(">IBBH", 1, 1, 16, 1) + COOKIES)),
    "r_u_there": chain((HASH, fill(20)), (N, struct.pack(">IBBH", 1, 1, 16, 36136) + COOKIES + b"\0\0\0\x2a")),
    "no_proposal": chain((N, struct.pack(">IBBH", 1, 3, 4, 14) + SPI)),
    "nat_oa": chain((21, b"\1\0\0\0\x0a\x09\0\1"), (6, b"\4\x30\x82"), (7, b"\4"), (9, fill(40)), (200, b"\xca\xfe"), (130, fill(16))),
    "many": chain(*[(VID, b"")] * 64),
    "unknown": chain((33, fill(8)), (53, b""), (127, b"x")),
}
for name, (first, body) in MESSAGES.items():
    save("ikev1_message", name, bytes([first, 0]) + body)
    save("ikev1_message", name + "_padded", bytes([first, 1]) + body + bytes(-len(body) % 16))


def message(first, body, exchange=2, flags=0, mid=0, version=0x10, extra=0):
    return fill(8, 3) + fill(8, 5) + struct.pack(">BBBBII", first, version, exchange, flags, mid, 28 + len(body) + extra) + body


save("ike_header", "main_1", message(*MESSAGES["main_1"]))
save("ike_header", "main_1_marker", bytes(4) + message(*MESSAGES["main_1"]))
save("ike_header", "quick_encrypted", bytes(4) + message(8, fill(96), 32, 1, 0xA1B2C3D4))
save("ike_header", "informational", message(*MESSAGES["no_proposal"], exchange=5, mid=77))
save("ike_header", "padded", message(*MESSAGES["main_2"]) + bytes(3))
save("ike_header", "version_2", message(33, fill(40), 34, 8, 0, 0x20))
save("ike_header", "version_3", message(33, fill(40), 34, 8, 0, 0x30))
save("ike_header", "length_off", message(1, fill(40), extra=1))
save("ike_header", "bare", message(0, b""))
save("ike_header", "keepalive", b"\xff")
save("ike_header", "esp", SPI + fill(60))

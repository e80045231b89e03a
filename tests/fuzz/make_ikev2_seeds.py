#!/usr/bin/env python3
"""Writes the seed corpus of ikev2_message: small well-formed chains, made from the drawings of RFC 7296 alone.
usage: make_ikev2_seeds.py [FOLDER], which is corpus/ beside this script by default."""
import pathlib
import struct
import sys

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus") / "ikev2_message"
SA, KE, IDI, IDR, CERT, CERTREQ, AUTH, NONCE, N, D, V, TSI, TSR, SK, CP, EAP, SKF = *range(33, 49), 53
ENCR, PRF, INTEG, DH, ESN = range(1, 6)
IKE, AH, ESP = 1, 2, 3
SPI = bytes.fromhex("c0ffee01")


def fill(n, seed=1):
    return bytes((seed + 7 * i) & 0xFF for i in range(n))


def items(bodies, more):
    return b"".join(struct.pack(">BBH", more if i + 1 < len(bodies) else 0, 0, len(b) + 4) + b for i, b in enumerate(bodies))


def transform(kind, ident, bits=0, extra=b""):
    return struct.pack(">BBH", kind, 0, ident) + (struct.pack(">HH", 0x800E, bits) if bits else b"") + extra


def proposal(number, protocol, spi, *transforms):
    return struct.pack(">BBBB", number, protocol, len(spi), len(transforms)) + spi + items(transforms, 3)


def sa(*proposals):
    return SA, items(proposals, 2)


def typed(kind, first, data, reserved=3):
    return kind, bytes([first]) + bytes(reserved) + data


def ke(group, size):
    return KE, struct.pack(">HH", group, 0) + fill(size)


def n(number, data=b"", protocol=0, spi=b""):
    return N, struct.pack(">BBH", protocol, len(spi), number) + spi + data


def delete(protocol, *spis):
    return D, struct.pack(">BBH", protocol, 0 if protocol == IKE else 4, len(spis)) + b"".join(spis)


def v4(first, last, protocol=0, low=0, high=65535):
    return struct.pack(">BBHHH", 7, protocol, 16, low, high) + bytes(first) + bytes(last)


def v6(first, last, protocol=0, low=0, high=65535):
    return struct.pack(">BBHHH", 8, protocol, 40, low, high) + bytes.fromhex(first) + bytes.fromhex(last)


def ts(kind, *selectors):
    return typed(kind, len(selectors), b"".join(selectors))


def cp(kind, *attributes):
    return typed(CP, kind, b"".join(struct.pack(">HH", t, len(v)) + v for t, v in attributes))


def chain(*payloads, critical=()):
    out = b""
    for i, (kind, body) in enumerate(payloads):
        following = payloads[i + 1][0] if i + 1 < len(payloads) else 0
        out += struct.pack(">BBH", following, 0x80 if kind in critical else 0, len(body) + 4) + body
    return bytes([payloads[0][0] if payloads else 0]) + out


IKE_SA = sa(proposal(1, IKE, b"", transform(ENCR, 12, 256), transform(ENCR, 12, 128), transform(PRF, 5), transform(INTEG, 12), transform(DH, 14)),
            proposal(2, IKE, b"", transform(ENCR, 20, 256), transform(PRF, 6), transform(DH, 31), transform(DH, 19)))
IKE_REPLY = sa(proposal(2, IKE, b"", transform(ENCR, 20, 256), transform(PRF, 6), transform(DH, 31)))
ESP_SA = sa(proposal(1, ESP, SPI, transform(ENCR, 20, 128), transform(ESN, 0)),
            proposal(2, ESP, SPI, transform(ENCR, 12, 256), transform(INTEG, 12), transform(ESN, 1), transform(ESN, 0)))
NATD = n(16388, fill(20)), n(16389, fill(20, 9))
TS = (ts(TSI, v4((10, 1, 0, 0), (10, 1, 255, 255)), v4((10, 1, 0, 1), (10, 1, 0, 1), 17, 53, 53)),
      ts(TSR, v6("20010db8" + "00" * 12, "20010db8" + "ff" * 12), v6("00" * 16, "ff" * 16, 58, 65535, 0)))
SEEDS = {
    "sa_init_request": chain(IKE_SA, ke(31, 32), (NONCE, fill(32)), *NATD, n(16430), n(16431, b"\0\2\0\3\0\4"), (V, fill(16))),
    "sa_init_reply": chain(IKE_REPLY, ke(31, 32), (NONCE, fill(24)), *NATD, typed(CERTREQ, 4, fill(20), 0)),
    "cookie": chain(n(16390, fill(32))),
    "invalid_ke": chain(n(17, b"\0\x13")),
    "redirect": chain(n(16407, b"\3\7gateway" + fill(16))),
    "auth_request": chain(typed(IDI, 2, b"gw-a.example"), typed(CERT, 4, b"\x30\x82", 0), n(16384), typed(CERTREQ, 4, b"", 0), typed(IDR, 1, bytes((10, 0, 0, 1))),
                          typed(AUTH, 14, fill(40)), cp(1, (1, b""), (3, b""), (10, b"")), n(16391), ESP_SA, *TS, n(16396)),
    "auth_reply": chain(typed(IDR, 9, b"\x30\0"), typed(AUTH, 2, fill(32)), cp(2, (1, bytes((10, 3, 0, 7))), (8, fill(17)), (25, b"example")), ESP_SA, *TS, n(16386)),
    "auth_no_child": chain(typed(IDR, 2, b"b"), typed(AUTH, 2, fill(32)), n(38)),
    "eap_reply": chain(typed(IDR, 2, b"b"), typed(AUTH, 1, fill(64)), (EAP, b"\1\1\0\5\1")),
    "eap": chain((EAP, b"\2\1\0\x09\1user")),
    "new_child": chain(n(16393, protocol=ESP, spi=SPI), ESP_SA, (NONCE, fill(16)), ke(19, 64), *TS),
    "new_ike": chain(sa(proposal(1, IKE, fill(8), transform(ENCR, 28), transform(PRF, 7), transform(DH, 20))), (NONCE, fill(32)), ke(20, 96)),
    "ah": chain(sa(proposal(1, AH, SPI, transform(INTEG, 14), transform(ESN, 0))), (NONCE, fill(16)), *TS),
    "delete": chain(delete(ESP, SPI, b"\0\0\1\0"), delete(AH), delete(IKE), n(16401, fill(8))),
    "attributes": chain(sa(proposal(9, ESP, b"", transform(ENCR, 12, 128, struct.pack(">HH", 0x800F, 7)), transform(ENCR, 12, 0, struct.pack(">HH", 15, 3) + b"abc"),
                                    transform(ENCR, 12, 0, struct.pack(">HHH", 14, 2, 128)), transform(ENCR, 12, 128, struct.pack(">HH", 0x800E, 256))))),
    "labelled_ts": chain(ts(TSI, struct.pack(">BBH", 10, 0, 8) + b"labl", v4((0, 0, 0, 0), (255, 255, 255, 255))), ts(TSR, struct.pack(">BBH", 9, 0, 4))),
    "encrypted": bytes([V]) + struct.pack(">BBH", SK, 0, 4) + struct.pack(">BBH", IDI, 0, 36) + fill(32),
    "fragment": bytes([SKF]) + struct.pack(">BBHHH", 0, 0, 40, 2, 3) + fill(32),
    "unknown": chain((200, fill(8)), (1, b""), (54, b"x"), (V, b""), critical=(200, V)),
    "many": chain(*[(V, b"")] * 64),
    "empty": chain(),
}
OUT.mkdir(parents=True, exist_ok=True)
for name, data in SEEDS.items():
    (OUT / name).write_bytes(data)

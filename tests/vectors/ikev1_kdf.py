#!/usr/bin/env python3
"""Known answers for IKEv1's keys and hashes, from the formulas of RFC 2409 and Python's hmac alone: an implementation
that shares nothing with ours. Prints ikev1_kdf.txt; run it again after a change and compare."""
import hashlib
import hmac
import struct

HASHES = ["sha1", "sha256", "sha384", "sha512"]


def fill(seed, size):
    return bytes((seed + 7 * i) & 0xFF for i in range(size))


def case(h):
    prf = lambda k, d: hmac.new(k, d, h).digest()
    psk, ni, nr, gxy = b"correct horse battery", fill(1, 32), fill(2, 24), fill(3, 256)
    gxi, gxr, cki, ckr = fill(4, 256), fill(5, 256), fill(6, 8), fill(7, 8)
    sa, idi, idr = fill(8, 52), fill(9, 12), fill(10, 18)
    skeyid = prf(psk, ni + nr)
    d = prf(skeyid, gxy + cki + ckr + b"\0")
    a = prf(skeyid, d + gxy + cki + ckr + b"\1")
    e = prf(skeyid, a + gxy + cki + ckr + b"\2")
    yield "skeyid", skeyid
    yield "skeyid_d", d
    yield "skeyid_a", a
    yield "skeyid_e", e
    for size in (16, 24, 32):
        key = e
        if size > len(e):  # Ka, RFC 2409 App. B
            k = prf(e, b"\0")
            key = k
            while len(key) < size:
                k = prf(e, k)
                key += k
        yield "key_%d" % size, key[:size]
    yield "hash_i", prf(skeyid, gxi + gxr + cki + ckr + sa + idi)
    yield "hash_r", prf(skeyid, gxr + gxi + ckr + cki + sa + idr)
    mid, rest = 0xA1B2C3D4, fill(11, 77)
    m = struct.pack(">I", mid)
    yield "quick_1", prf(a, m + rest)
    yield "quick_2", prf(a, m + ni + rest)
    yield "quick_3", prf(a, b"\0" + m + ni + nr)
    spi, pfs = struct.pack(">I", 0xC0FFEE01), fill(12, 66)
    for name, g in (("keymat", b""), ("keymat_pfs", pfs)):
        k, out = b"", b""
        while len(out) < 100:
            k = prf(d, k + g + b"\3" + spi + ni + nr)
            out += k
        yield name, out[:100]
    digest = lambda x: hashlib.new(h, x).digest()
    iv = digest(gxi + gxr)[:16]
    yield "phase1_iv", iv
    yield "exchange_iv", digest(iv + m)[:16]
    yield "nat_d_v4", digest(cki + ckr + bytes([10, 9, 0, 1]) + struct.pack(">H", 4500))
    yield "nat_d_v6", digest(cki + ckr + bytes.fromhex("20010db8" + "00" * 11 + "01") + struct.pack(">H", 500))


print("# made by ikev1_kdf.py")
for h in HASHES:
    for name, value in case(h):
        print(h, name, value.hex())

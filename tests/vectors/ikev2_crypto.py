#!/usr/bin/env python3
"""Known answers for IKEv2's keys and for SK and SKF messages, from the formulas of the RFCs, Python's hmac and the package
`cryptography`: an implementation that shares nothing with ours. Prints ikev2_crypto.txt; run it again after a change and compare."""
import hashlib
import hmac
import ipaddress
import struct

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC


def fill(seed, size):
    return bytes((seed + 7 * i) & 0xFF for i in range(size))


def run(cipher, data):
    e = cipher.encryptor()
    return e.update(data) + e.finalize()


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def xcbc(key, data):  # RFC 3566 §4
    ecb = lambda k, block: run(Cipher(algorithms.AES(k), modes.ECB()), block)
    k1, k2, k3 = (ecb(key, bytes([n]) * 16) for n in (1, 2, 3))
    blocks = [data[i:i + 16] for i in range(0, len(data), 16)] or [b""]
    e = bytes(16)
    for block in blocks[:-1]:
        e = ecb(k1, xor(e, block))
    last = xor(blocks[-1], k2) if len(blocks[-1]) == 16 else xor((blocks[-1] + b"\x80").ljust(16, b"\0"), k3)
    return ecb(k1, xor(e, last))


def cmac(key, data):
    c = CMAC(algorithms.AES(key))
    c.update(data)
    return c.finalize()


def prf(name, key, data):
    if name == "xcbc":  # RFC 4434 §2
        return xcbc(xcbc(bytes(16), key) if len(key) > 16 else key.ljust(16, b"\0"), data)
    if name == "cmac":  # RFC 4615 §3
        return cmac(key if len(key) == 16 else cmac(bytes(16), key), data)
    return hmac.new(key, data, name).digest()


def prf_plus(name, key, seed, size):
    out, t, n = b"", b"", 0
    while len(out) < size:
        n += 1
        t = prf(name, key, t + seed + bytes([n]))
        out += t
    return out[:size]


def keys(name, own, encr, integ):
    """RFC 7296 §2.14, §2.15, §2.17, §2.18. `encr` with salt."""
    ni, nr, g, spis = fill(1, 32), fill(2, 24), fill(3, 256), fill(6, 8) + fill(7, 8)
    skeyseed = prf(name, ni[:8] + nr[:8] if name in ("xcbc", "cmac") else ni + nr, g)
    whole = 3 * own + 2 * encr + 2 * integ
    for label, seed in (("", skeyseed), ("rekeyed_", prf(name, fill(20, own), g + ni + nr))):
        rest = prf_plus(name, seed, ni + nr + spis, whole)
        for part, size in (("d", own), ("ai", integ), ("ar", integ), ("ei", encr), ("er", encr), ("pi", own), ("pr", own)):
            yield label + part, rest[:size]
            rest = rest[size:]
    d = fill(21, own)
    for label, g_new, e, a in (("gcm", b"", 36, 0), ("cbc", fill(12, 66), 16, 32), ("ah", b"", 0, 20)):
        rest = prf_plus(name, d, g_new + ni + nr, 2 * (e + a))
        for part, size in (("ei", e), ("ai", a), ("er", e), ("ar", a)):
            yield "child_%s_%s" % (label, part), rest[:size]
            rest = rest[size:]
    octets = fill(8, 180) + nr + prf(name, fill(22, own), fill(9, 12))
    yield "octets", octets
    yield "auth", prf(name, prf(name, b"correct horse battery", b"Key Pad for IKEv2"), octets)


INNER = bytes.fromhex("2700000c0200000077657374" "0000000c0200000061626364")  # IDi and AUTH
NOTIFY = bytes.fromhex("0000000800004006")  # COOKIE, empty
SIZES = {"AesCbc": (0, 16, 0), "TripleDes": (0, 8, 0), "AesCtr": (4, 1, 0), "ChaCha20Poly1305": (4, 1, 16)}  # salt, block, tag
for _n in (8, 12, 16):
    SIZES["AesGcm%d" % _n] = (4, 1, _n)
    SIZES["AesCcm%d" % _n] = (3, 1, _n)
MACS = {
    "None": (0, 0, None),  # key, ICV
    "HmacMd5_96": (16, 12, lambda k, d: prf("md5", k, d)),
    "HmacSha1_96": (20, 12, lambda k, d: prf("sha1", k, d)),
    "HmacSha2_256_128": (32, 16, lambda k, d: prf("sha256", k, d)),
    "HmacSha2_384_192": (48, 24, lambda k, d: prf("sha384", k, d)),
    "HmacSha2_512_256": (64, 32, lambda k, d: prf("sha512", k, d)),
    "AesXcbc96": (16, 12, xcbc),
    "AesCmac96": (16, 12, cmac),
}


def encrypt(encr, key, salt, iv, aad, plain, tag):
    nonce = salt + iv
    if encr.startswith("AesGcm"):
        e = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        e.authenticate_additional_data(aad)
        return e.update(plain) + e.finalize() + e.tag[:tag]
    if encr.startswith("AesCcm"):
        return AESCCM(key, tag_length=tag).encrypt(nonce, plain, aad)
    if encr == "ChaCha20Poly1305":
        return ChaCha20Poly1305(key).encrypt(nonce, plain, aad)
    if encr == "AesCtr":
        return run(Cipher(algorithms.AES(key), modes.CTR(nonce + b"\0\0\0\1")), plain)
    return run(Cipher((TripleDES if encr == "TripleDes" else algorithms.AES)(key), modes.CBC(iv)), plain)


def message(encr, bits, integ="None", place=(1, 1), skf=False, front=b"", pad=None):
    salt_size, block, tag = SIZES[encr]
    mac_key, icv, mac = MACS[integ]
    key, akey = fill(3, bits // 8 + salt_size), fill(4, mac_key)
    pad = bytes(-(len(INNER) + 1) % block) if pad is None else pad
    plain = INNER + pad + bytes([len(pad)])
    iv = fill(99, block) if block > 1 else struct.pack(">Q", 0x0102030405060708)
    fields = struct.pack(">HH", *place) if skf else b""
    size = 4 + len(fields) + len(iv) + len(plain) + tag + icv
    kind = 53 if skf else 46
    first = 35 if place[0] == 1 else 0
    if front:
        front = bytes([kind]) + front[1:]
    aad = struct.pack(">QQBBBBII", 0x1112131415161718, 0x2122232425262728, 41 if front else kind, 0x20, 35, 8, 1, 28 + len(front) + size)
    aad += front + struct.pack(">BBH", first, 0, size) + fields
    out = aad + iv + encrypt(encr, key[:bits // 8], key[bits // 8:], iv, aad, plain, tag)
    if mac:
        out += mac(akey, out)[:icv]
    return "message %s %d %s %d %d %s" % (encr, bits, integ, place[0], place[1], out.hex())


print("# made by ikev2_crypto.py")
for _row in (("sha1", 20, 16, 20), ("sha256", 32, 36, 0), ("sha384", 48, 32, 48), ("sha512", 64, 32, 64), ("md5", 16, 24, 16),
             ("xcbc", 16, 20, 16), ("cmac", 16, 19, 0)):
    for _name, _value in keys(*_row):
        if _value:
            print("keys", _row[0], _name, _value.hex())
_spis = fill(6, 8) + fill(7, 8)
print("keys - nat_v4", hashlib.sha1(_spis + bytes([10, 9, 0, 1]) + struct.pack(">H", 4500)).hexdigest())
print("keys - nat_v6", hashlib.sha1(_spis + ipaddress.ip_address("2001:db8::1").packed + struct.pack(">H", 500)).hexdigest())
for _encr in ("AesGcm16", "AesGcm12", "AesGcm8"):
    for _bits in (128, 192, 256):
        print(message(_encr, _bits))
for _encr in ("AesCcm16", "AesCcm12", "AesCcm8"):
    for _bits in (128, 256):
        print(message(_encr, _bits))
print(message("ChaCha20Poly1305", 256))
for _integ in sorted(set(MACS) - {"None"}):
    for _encr, _bits in (("AesCbc", 128), ("AesCbc", 192), ("AesCbc", 256), ("AesCtr", 128), ("AesCtr", 192), ("AesCtr", 256),
                         ("TripleDes", 192)):
        print(message(_encr, _bits, _integ))
for _args in (("AesGcm16", 256), ("AesCcm16", 128), ("ChaCha20Poly1305", 256), ("AesCbc", 256, "HmacSha2_256_128"),
              ("AesCtr", 128, "AesXcbc96")):
    print(message(*_args, place=(1, 2), skf=True))
    print(message(*_args, place=(2, 2), skf=True))
    print(message(*_args, place=(1, 1), skf=True))
    print(message(*_args, front=NOTIFY))
    print(message(*_args, pad=fill(5, 16 * 3 + 7)))

"""Diffie-Hellman and what comes of it: SKEYID and its three children, phase 1's cipher and its IVs, KEYMAT (RFC 2409 §5, §5.5, App. B)."""
import hashlib
import hmac
import os

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HASHES = {1: "md5", 2: "sha1", 4: "sha256", 5: "sha384", 6: "sha512"}   # RFC 2409 App. A and IANA
AES_CBC, PRE_SHARED = 7, 1
BLOCK = 16
# RFC 2409 §6, RFC 3526: the prime of n bits is 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + this)
MODP = {2: (1024, 129093), 5: (1536, 741804), 14: (2048, 124476), 15: (3072, 1690314)}
CURVES = {19: ec.SECP256R1(), 20: ec.SECP384R1(), 21: ec.SECP521R1()}
X25519 = 31


def _pi(bits):
    """[2^bits * pi], by Machin's formula"""
    one = 1 << (bits + 64)

    def arctan_of_inverse(x):
        total, power, n = 0, one // x, 1
        while power:
            total += power // n if n % 4 == 1 else -(power // n)
            power, n = power // (x * x), n + 2
        return total
    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)) >> 64


def prime(group):
    bits, more = MODP[group]
    return 2 ** bits - 2 ** (bits - 64) - 1 + 2 ** 64 * (_pi(bits - 130) + more)


class KeyExchange:
    """One key pair. `public`: as the KE payload carries it; for curves both coordinates (RFC 5903 §7), for Curve25519 RFC 8031's."""

    def __init__(self, group):
        self.group = group
        if group in MODP:
            self.prime, self.bytes = prime(group), MODP[group][0] // 8
            self.private = int.from_bytes(os.urandom(48), "big")
            self.public = pow(2, self.private, self.prime).to_bytes(self.bytes, "big")
        elif group == X25519:
            self.private = x25519.X25519PrivateKey.generate()
            self.public = self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        else:
            self.private = ec.generate_private_key(CURVES[group])
            self.public = self.private.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)[1:]

    def shared(self, theirs):
        if self.group in MODP:
            value = int.from_bytes(theirs, "big")
            if len(theirs) != self.bytes or not 1 < value < self.prime - 1:
                raise ValueError("a public value that is none")
            return pow(value, self.private, self.prime).to_bytes(self.bytes, "big")
        if self.group == X25519:
            return self.private.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
        return self.private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVES[self.group], b"\4" + theirs))


class Keys:
    """Of one ISAKMP SA. `suite`: (key bits, hash, group), the numbers of the attributes."""

    def __init__(self, suite, secret, nonces, shared, publics, cookies):
        self.hash = HASHES[suite[1]]
        both = cookies[0] + cookies[1]
        self.skeyid = self.prf(secret, nonces[0] + nonces[1])
        self.skeyid_d = self.prf(self.skeyid, shared + both + b"\0")
        self.skeyid_a = self.prf(self.skeyid, self.skeyid_d + shared + both + b"\1")
        self.skeyid_e = self.prf(self.skeyid, self.skeyid_a + shared + both + b"\2")
        stream, size = self.skeyid_e, suite[0] // 8
        if len(stream) < size:                                          # App. B: Ka = K1 | K2 | ...
            block, stream = b"\0", b""
            while len(stream) < size:
                block = self.prf(self.skeyid_e, block)
                stream += block
        self.cipher_key = stream[:size]
        self.iv = hashlib.new(self.hash, publics[0] + publics[1]).digest()[:BLOCK]      # of phase 1; its last block at the end

    def prf(self, secret, data):
        return hmac.new(secret, data, self.hash).digest()

    def mac(self, data):
        """prf(SKEYID_a, ...): the hashes of phase 2"""
        return self.prf(self.skeyid_a, data)

    def phase_2_iv(self, message_id):
        return hashlib.new(self.hash, self.iv + message_id.to_bytes(4, "big")).digest()[:BLOCK]

    def encrypt(self, iv, data):
        """-> (ciphertext, the next IV)"""
        data += bytes(-len(data) % BLOCK)
        sealer = Cipher(algorithms.AES(self.cipher_key), modes.CBC(iv)).encryptor()
        out = sealer.update(data) + sealer.finalize()
        return out, out[-BLOCK:]

    def decrypt(self, iv, data):
        opener = Cipher(algorithms.AES(self.cipher_key), modes.CBC(iv)).decryptor()
        return opener.update(data) + opener.finalize(), data[-BLOCK:]

    def keymat(self, protocol, spi, nonces, size):
        """RFC 2409 §5.5, without PFS"""
        seed, block, out = bytes([protocol]) + spi + nonces[0] + nonces[1], b"", b""
        while len(out) < size:
            block = self.prf(self.skeyid_d, block + seed)
            out += block
        return out[:size]

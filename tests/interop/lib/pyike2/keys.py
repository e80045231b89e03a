"""The keys of an IKE SA and of a CHILD SA (RFC 7296 §2.13-§2.17): PRF HMAC-SHA2-256, X25519, AES-GCM with an ICV of 16 bytes (RFC 5282, RFC 4106)."""
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import wire

SALT, IV, ICV = 4, 8, 16
IKE_KEY, ESP_KEY, PRF_KEY = 32, 16, 32        # AES-256 for the IKE SA, AES-128 for ESP


def prf(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def prf_plus(key, seed, size):
    out, block, number = b"", b"", 1
    while len(out) < size:
        block = prf(key, block + seed + bytes([number]))
        out, number = out + block, number + 1
    return out[:size]


class HalfExchange:
    def __init__(self):
        self._key = X25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def shared(self, public):
        return self._key.exchange(X25519PublicKey.from_public_bytes(public))


class IkeKeys:
    """`nonces`: Ni | Nr."""

    def __init__(self, shared, nonces, spis):
        skeyseed = prf(nonces[0] + nonces[1], shared)
        stream = prf_plus(skeyseed, nonces[0] + nonces[1] + spis[0] + spis[1], 3 * PRF_KEY + 2 * (IKE_KEY + SALT))
        cut = lambda size: (stream[:size], stream[size:])
        self.d, stream = cut(PRF_KEY)
        self.ei, stream = cut(IKE_KEY + SALT)
        self.er, stream = cut(IKE_KEY + SALT)
        self.pi, stream = cut(PRF_KEY)
        self.pr, stream = cut(PRF_KEY)


def psk_auth(secret, message, nonce, p_key, id_body):
    """RFC 7296 §2.15: `message` is the signer's first one, `nonce` the other side's."""
    return wire.AUTH, struct.pack(">B3x", wire.SHARED_KEY) + prf(prf(secret, b"Key Pad for IKEv2"), message + nonce + prf(p_key, id_body))


class Sealer:
    """One direction of the IKE SA; `key` with its salt behind it."""

    def __init__(self, key):
        self._aead, self._salt, self._count = AESGCM(key[:-SALT]), key[-SALT:], 0

    def seal(self, spis, exchange, flags, message_id, payloads):
        first, text = wire.chain(payloads)
        text += bytes([0])                                            # no padding
        self._count += 1
        iv = struct.pack(">Q", self._count)
        size = 4 + IV + len(text) + ICV
        head = wire.pack_header(*spis, wire.SK, exchange, flags, message_id, 28 + size) + struct.pack(">BBH", first, 0, size)
        return head + iv + self._aead.encrypt(self._salt + iv, text, head)

    def open(self, message):
        """[(type, body), ...]; InvalidTag: it is not of the other side."""
        if message[16] != wire.SK:
            raise wire.WireError("the first payload is not SK")
        first, _, size = struct.unpack(">BBH", message[28:32])
        if 28 + size != len(message):
            raise wire.WireError("SK is not the last payload")
        text = self._aead.decrypt(self._salt + message[32:32 + IV], message[32 + IV:], message[:32])
        return wire.unchain(first, text[:len(text) - 1 - text[-1]])


def child_keys(d, nonces):
    """(of what the exchange's initiator sends, of what its responder sends)"""
    stream = prf_plus(d, nonces[0] + nonces[1], 2 * (ESP_KEY + SALT))
    return stream[:ESP_KEY + SALT], stream[ESP_KEY + SALT:]

"""Aggressive Mode with a pre-shared key, both roles (RFC 2409 §5.4). See exchanges.py for how an exchange is written."""
import os

from . import exchanges, wire
from .keys import KeyExchange, Keys
from .wire import ENCRYPTED, HASH, ID, KE, NONCE, NOTIFY, SA, VENDOR, Malformed


def initiator(peer, cookie):
    sa_body, key, nonce = exchanges.phase_1_offer(peer), KeyExchange(peer.suite[2]), os.urandom(exchanges.NONCE_BYTES)
    ours = wire.identity(2, peer.identity.encode())
    first = [(SA, sa_body), (KE, key.public), (NONCE, nonce), (ID, ours), (VENDOR, wire.DPD)]
    head, data = yield wire.message((cookie, bytes(8)), wire.AGGRESSIVE_MODE, 0, 0, *wire.chain(first))
    found, _ = wire.payloads(head.next, data[wire.HEADER.size:])
    if wire.read_security_association(wire.one(found, SA)) != wire.read_security_association(sa_body):
        raise Malformed("the answer is not the offer")
    cookies, publics, nonces = (cookie, head.cookie_r), (key.public, wire.one(found, KE)), (nonce, wire.one(found, NONCE))
    keys = Keys(peer.suite, peer.secret, nonces, key.shared(publics[1]), publics, cookies)
    exchanges.check_identity(peer, found, keys, publics[::-1], cookies[::-1], sa_body)
    proof = keys.prf(keys.skeyid, publics[0] + publics[1] + cookies[0] + cookies[1] + sa_body + ours)
    kind, clear = wire.chain([(HASH, proof)])
    sealed, keys.iv = keys.encrypt(keys.iv, clear)
    peer.heard(wire.AGGRESSIVE_MODE, 0, found)
    peer.established(exchanges.Isakmp(cookies, keys, True, dict(peer.isakmp_life)))
    return wire.message(cookies, wire.AGGRESSIVE_MODE, ENCRYPTED, 0, kind, sealed)


def responder(peer, message):
    """RESPONDER-LIFETIME stands in message 2, in clear: its hash does not cover it."""
    head, data = message
    found, _ = wire.payloads(head.next, data[wire.HEADER.size:])
    sa_body = wire.one(found, SA)
    proposal, transform = exchanges.phase_1_choice(peer, sa_body)
    cookies, key, nonce = (head.cookie_i, os.urandom(8)), KeyExchange(peer.suite[2]), os.urandom(exchanges.NONCE_BYTES)
    publics, nonces = (wire.one(found, KE), key.public), (wire.one(found, NONCE), nonce)
    keys = Keys(peer.suite, peer.secret, nonces, key.shared(publics[0]), publics, cookies)
    body = wire.identity(2, peer.identity.encode())
    proof = keys.prf(keys.skeyid, publics[1] + publics[0] + cookies[1] + cookies[0] + sa_body + body)
    answer = [(SA, wire.security_association([proposal._replace(transforms=[transform])])), (KE, key.public), (NONCE, nonce), (ID, body), (HASH, proof),
              (VENDOR, wire.DPD)]
    if peer.isakmp_told:
        answer.append((NOTIFY, wire.notify(wire.RESPONDER_LIFETIME, spi=cookies[0] + cookies[1], data=wire.attributes(peer.isakmp_told))))
    their_identity = wire.one(found, ID)
    head, data = yield wire.message(cookies, wire.AGGRESSIVE_MODE, 0, 0, *wire.chain(answer))
    clear = data[wire.HEADER.size:]
    if head.flags & ENCRYPTED:
        clear, keys.iv = keys.decrypt(keys.iv, clear)
    found, _ = wire.payloads(head.next, clear)
    exchanges.check_identity(peer, found + [(ID, their_identity)], keys, publics, cookies, sa_body)
    peer.heard(wire.AGGRESSIVE_MODE, 0, found)
    peer.established(exchanges.Isakmp(cookies, keys, False, wire.lifetimes(transform.attributes, exchanges.LIFE_TYPE, exchanges.LIFE_DURATION)))

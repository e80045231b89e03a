"""Main Mode with a pre-shared key (RFC 2409 §5.4), Quick Mode without PFS (§5.5), and Informational (§5.7).

An exchange is a generator of the messages that it sends: what is sent into it is the next message that came, what it returns is its last one, if that
is for the other side. It says what came of it by peer.established() and peer.paired(). The peer repeats, and leaves out what comes twice.
"""
import os
import struct

from . import packets, wire
from .keys import AES_CBC, PRE_SHARED, KeyExchange, Keys
from .wire import ENCRYPTED, HASH, ID, KE, NONCE, NOTIFY, SA, VENDOR, Malformed

CIPHER, HASH_KIND, METHOD, GROUP, LIFE_TYPE, LIFE_DURATION, KEY_BITS = 1, 2, 3, 4, 11, 12, 14    # attributes of phase 1, RFC 2409 App. A
DOI_LIFE_TYPE, DOI_LIFE_DURATION, ENCAPSULATION, TUNNEL, TRANSPORT = 1, 2, 4, 1, 2               # of phase 2, RFC 2407 §4.5
NONCE_BYTES = 20


class Isakmp:
    """An ISAKMP SA. `life`: {unit: number} that the initiator offered; `told`: that the other side says of it by RESPONDER-LIFETIME."""

    def __init__(self, cookies, keys, by_us, life):
        self.cookies, self.keys, self.by_us, self.life, self.told = cookies, keys, by_us, life, {}
        self.alive, self.alive_when_replaced = True, None


class Pair:
    """Two IPsec SAs. `offered`: {unit: number} of the offer; `told`: by RESPONDER-LIFETIME; `extra`: all notifications in the other's messages, `flags`
    of whose headers; `since`: when there were keys, before message 2 or 3 was sent; `at`: when message 3 had come, or was sent; `beside`: the pairs of the child
    that lived then."""

    def __init__(self, child, phase_2, inbound, outbound, by_us, offered, extra):
        self.child, self.phase_2, self.message_id, self.inbound, self.outbound = child, phase_2, phase_2.id, inbound, outbound
        self.by_us, self.offered, self.extra, self.alive, self.flags = by_us, offered, extra, True, []
        self.since, self.at, self.beside = None, None, []
        told = [n for n in extra if n.type == wire.RESPONDER_LIFETIME]
        self.told = wire.lifetimes(wire.read_attributes(told[0].data), DOI_LIFE_TYPE, DOI_LIFE_DURATION) if told else {}


def _open(message):
    """The payloads of a message in clear."""
    head, data = message
    found, _ = wire.payloads(head.next, data[wire.HEADER.size:])
    return found


def _phase_1_attributes(suite):
    bits, digest, group = suite
    return {CIPHER: AES_CBC, KEY_BITS: bits, HASH_KIND: digest, METHOD: PRE_SHARED, GROUP: group}


def check_identity(peer, found, keys, publics, cookies, sa_body):
    """HASH_I or HASH_R: `publics` and `cookies` are those of the side that proves itself, then the other's."""
    body = wire.one(found, ID)
    if wire.one(found, HASH) != keys.prf(keys.skeyid, publics[0] + publics[1] + cookies[0] + cookies[1] + sa_body + body):
        raise Malformed("HASH_I or HASH_R is wrong")
    said = wire.read_identity(body)
    if (said.type, said.data.decode()) != (2, peer.remote_identity):
        raise Malformed(f"the identity is {said}")


def _isakmp_told(found):
    """RESPONDER-LIFETIME of the ISAKMP SA among payloads, in phase 1's numbers."""
    for n in map(wire.read_notify, wire.every(found, NOTIFY)):
        if n.type == wire.RESPONDER_LIFETIME and n.protocol == wire.ISAKMP:
            return wire.lifetimes(wire.read_attributes(n.data), LIFE_TYPE, LIFE_DURATION)
    return {}


def phase_1_choice(peer, sa_body):
    """(proposal, transform): the one of an offer that has our suite."""
    wanted = _phase_1_attributes(peer.suite)
    offered = [(p, t) for p in wire.read_security_association(sa_body) for t in p.transforms if wanted.items() <= dict(t.attributes).items()]
    if not offered:
        raise Malformed(f"phase 1 offers {wire.read_security_association(sa_body)}, not {wanted}")
    return offered[0]


def phase_1_offer(peer):
    life = [pair for unit, number in peer.isakmp_life.items() for pair in ((LIFE_TYPE, unit), (LIFE_DURATION, number))]
    return wire.security_association([wire.Proposal(1, wire.ISAKMP, b"", [wire.Transform(1, 1, [*_phase_1_attributes(peer.suite).items(), *life])])])


def main_responder(peer, message):
    head, _ = message
    sa_body = wire.one(_open(message), SA)
    proposal, transform = phase_1_choice(peer, sa_body)
    cookies = head.cookie_i, os.urandom(8)
    answer = [(SA, wire.security_association([proposal._replace(transforms=[transform])])), (VENDOR, wire.DPD)]
    found = _open((yield wire.message(cookies, wire.MAIN_MODE, 0, 0, *wire.chain(answer))))
    key, nonce = KeyExchange(peer.suite[2]), os.urandom(NONCE_BYTES)
    publics, nonces = (wire.one(found, KE), key.public), (wire.one(found, NONCE), nonce)
    keys = Keys(peer.suite, peer.secret, nonces, key.shared(publics[0]), publics, cookies)
    head, data = yield wire.message(cookies, wire.MAIN_MODE, 0, 0, *wire.chain([(KE, key.public), (NONCE, nonce)]))
    clear, keys.iv = keys.decrypt(keys.iv, data[wire.HEADER.size:])
    found, _ = wire.payloads(head.next, clear)
    check_identity(peer, found, keys, publics, cookies, sa_body)
    body = wire.identity(2, peer.identity.encode())
    proof = keys.prf(keys.skeyid, publics[1] + publics[0] + cookies[1] + cookies[0] + sa_body + body)
    said = [(ID, body), (HASH, proof)]
    if peer.isakmp_told:
        said.append((NOTIFY, wire.notify(wire.RESPONDER_LIFETIME, spi=cookies[0] + cookies[1], data=wire.attributes(peer.isakmp_told))))
    first, clear = wire.chain(said)
    sealed, keys.iv = keys.encrypt(keys.iv, clear)
    peer.heard(wire.MAIN_MODE, 0, found)
    peer.established(Isakmp(cookies, keys, False, wire.lifetimes(transform.attributes, LIFE_TYPE, LIFE_DURATION)))
    return wire.message(cookies, wire.MAIN_MODE, ENCRYPTED, 0, first, sealed)


def main_initiator(peer, cookie):
    flags = wire.COMMIT if peer.commit_in_phase_1 else 0
    sa_body = phase_1_offer(peer)
    head, data = yield wire.message((cookie, bytes(8)), wire.MAIN_MODE, flags, 0, *wire.chain([(SA, sa_body), (VENDOR, wire.DPD)]))
    cookies, key, nonce = (cookie, head.cookie_r), KeyExchange(peer.suite[2]), os.urandom(NONCE_BYTES)
    if wire.read_security_association(wire.one(_open((head, data)), SA)) != wire.read_security_association(sa_body):
        raise Malformed("the answer is not the offer")
    found = _open((yield wire.message(cookies, wire.MAIN_MODE, flags, 0, *wire.chain([(KE, key.public), (NONCE, nonce)]))))
    publics, nonces = (key.public, wire.one(found, KE)), (nonce, wire.one(found, NONCE))
    keys = Keys(peer.suite, peer.secret, nonces, key.shared(publics[1]), publics, cookies)
    body = wire.identity(2, peer.identity.encode())
    first, clear = wire.chain([(ID, body), (HASH, keys.prf(keys.skeyid, publics[0] + publics[1] + cookie + cookies[1] + sa_body + body))])
    sealed, keys.iv = keys.encrypt(keys.iv, clear)
    head, data = yield wire.message(cookies, wire.MAIN_MODE, ENCRYPTED | flags, 0, first, sealed)
    clear, keys.iv = keys.decrypt(keys.iv, data[wire.HEADER.size:])
    found, _ = wire.payloads(head.next, clear)
    check_identity(peer, found, keys, (publics[1], publics[0]), (cookies[1], cookie), sa_body)
    peer.heard(wire.MAIN_MODE, 0, found)
    done = Isakmp(cookies, keys, True, dict(peer.isakmp_life))
    done.told = _isakmp_told(found)
    peer.established(done)


class Phase2:
    """The messages of one exchange under an ISAKMP SA: HASH payload, encryption, and the IV that goes from one to the next."""

    def __init__(self, isakmp, kind, message_id):
        self.isakmp, self.kind, self.id = isakmp, kind, message_id
        self.iv, self.raw_id = isakmp.keys.phase_2_iv(message_id), struct.pack("!I", message_id)

    def seal(self, said, more=b"", flags=0, proof=None):
        """`more`: stands behind the message id in the hash. `proof`: the hash itself, where it does not cover the rest."""
        first, rest = wire.chain(said) if said else (0, b"")
        proof = proof or self.isakmp.keys.mac(self.raw_id + more + rest)
        body = struct.pack("!BBH", first, 0, 4 + len(proof)) + proof + rest
        sealed, self.iv = self.isakmp.keys.encrypt(self.iv, body)
        return wire.message(self.isakmp.cookies, self.kind, ENCRYPTED | flags, self.id, HASH, sealed)

    def open(self, message, more=b"", proof=None):
        head, data = message
        if not head.flags & ENCRYPTED or head.next != HASH:
            raise Malformed("a message of phase 2 in clear, or without HASH in front")
        clear, following = self.isakmp.keys.decrypt(self.iv, data[wire.HEADER.size:])
        found, end = wire.payloads(head.next, clear)
        said = wire.one(found, HASH)
        if said != (proof or self.isakmp.keys.mac(self.raw_id + more + clear[4 + len(said):end])):
            raise Malformed(f"the hash of a message of phase 2 is wrong (exchange {self.kind})")
        self.iv = following
        return found[1:]


def _mode(child):
    return TRANSPORT if child.transport else TUNNEL


def _life(pairs):
    return [pair for unit, number in pairs.items() for pair in ((DOI_LIFE_TYPE, unit), (DOI_LIFE_DURATION, number))]


def _make_pair(peer, child, phase_2, spis, nonces, by_us, offered, found):
    """`spis`: ours, theirs: each names the SA on which its owner receives."""
    s, keys = child.suite, phase_2.isakmp.keys
    size = s.key_bits // 8 + packets.SALT
    inbound = packets.OneWay(s, spis[0], peer.remote, peer.address, keys.keymat(s.protocol, spis[0], nonces, size), child.transport)
    outbound = packets.OneWay(s, spis[1], peer.address, peer.remote, keys.keymat(s.protocol, spis[1], nonces, size), child.transport)
    return Pair(child, phase_2, inbound, outbound, by_us, offered, list(map(wire.read_notify, wire.every(found, NOTIFY))))


def quick_responder(peer, isakmp, message):
    head, _ = message
    phase_2 = Phase2(isakmp, wire.QUICK_MODE, head.message_id)
    found = phase_2.open(message)
    theirs, ours = wire.every(found, ID)
    child = next((c for c in peer.children.values() if (wire.selector(c.far), wire.selector(c.near)) == (theirs, ours)), None)
    if child is None:
        raise Malformed(f"proxy identities {wire.read_identity(theirs)}, {wire.read_identity(ours)}")
    s, wanted = child.suite, {ENCAPSULATION: _mode(child), **dict(packets.attributes_of(child.suite))}
    offered = [(p, t) for p in wire.read_security_association(wire.one(found, SA)) for t in p.transforms
               if (p.protocol, t.id) == (s.protocol, s.transform) and {k: v for k, v in t.attributes if k not in (DOI_LIFE_TYPE, DOI_LIFE_DURATION)} == wanted]
    if not offered:
        raise Malformed(f"phase 2 offers {wire.read_security_association(wire.one(found, SA))}, not {s}")
    proposal, transform = offered[0]
    spi, nonce = os.urandom(4), os.urandom(NONCE_BYTES)
    nonces = wire.one(found, NONCE), nonce
    pair = _make_pair(peer, child, phase_2, (spi, proposal.spi), nonces, False, wire.lifetimes(transform.attributes, DOI_LIFE_TYPE, DOI_LIFE_DURATION), found)
    pair.flags.append(head.flags)
    peer.installed(pair)                                                # before message 2: an initiator may send behind its message 3
    said = [(SA, wire.security_association([proposal._replace(spi=spi, transforms=[transform])])), (NONCE, nonce), (ID, theirs), (ID, ours)]
    if child.told:
        said.append((NOTIFY, wire.notify(wire.RESPONDER_LIFETIME, s.protocol, spi, wire.attributes(child.told))))
    message = yield phase_2.seal(said, nonces[0], flags=wire.COMMIT if child.commit else 0)
    phase_2.open(message, proof=isakmp.keys.mac(b"\0" + phase_2.raw_id + nonces[0] + nonces[1]))
    pair.flags.append(message[0].flags)
    peer.paired(pair)


def quick_initiator(peer, isakmp, message_id, child):
    phase_2, s, flags = Phase2(isakmp, wire.QUICK_MODE, message_id), child.suite, wire.COMMIT if child.commit else 0
    spi, nonce = os.urandom(4), os.urandom(NONCE_BYTES)
    peer.offered_spi = spi
    wanted = wire.Transform(1, s.transform, _life(child.life) + [(ENCAPSULATION, _mode(child))] + packets.attributes_of(s))
    offer = wire.security_association([*child.decoys, wire.Proposal(len(child.decoys) + 1, s.protocol, spi, [wanted])])
    identities = [(ID, wire.selector(child.near)), (ID, wire.selector(child.far))] if child.identities else []
    message = yield phase_2.seal([(SA, offer), (NONCE, nonce), *identities, *child.notes], flags=flags)
    found = phase_2.open(message, nonce)
    answer, = wire.read_security_association(wire.one(found, SA))
    if answer._replace(spi=spi) != wire.read_security_association(offer)[-1] or [(ID, body) for body in wire.every(found, ID)] != identities:
        raise Malformed(f"the answer {answer} is not the offer, or has other identities")
    nonces = nonce, wire.one(found, NONCE)
    pair = _make_pair(peer, child, phase_2, (spi, answer.spi), nonces, True, dict(child.life), found)
    pair.flags.append(message[0].flags)
    peer.installed(pair)
    peer.paired(pair)
    return phase_2.seal([], flags=flags, proof=isakmp.keys.mac(b"\0" + phase_2.raw_id + nonces[0] + nonces[1]))

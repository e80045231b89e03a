#!/usr/bin/python3
"""IKEv1 against a peer in Python that shares nothing with Culvert (lib/pyike), both roles: lifetimes, Deletes and notifications.

Time limit: 150 s
Mostly waits.
RESPONDER-LIFETIME of both phases (RFC 2407 §4.6.3.1), in seconds and kilobytes: said by the peer, in every place where it may stand, and by Culvert.
Deletes of several SPIs, INVALID-SPI, REPLAY-STATUS and what is unknown; refusals; what comes in clear. Each part is a connection of its own to an
address of the peer's, and all run at once.
"""
import ipaddress
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import pyike_part, report  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.pyike import exchanges, packets, wire  # noqa: E402
from lib.pyike_part import HOST, USUAL, Part  # noqa: E402
from lib.traffic import Ping  # noqa: E402

GIGABYTE = 1 << 20                             # in kB


def until(part, child):
    return part.ours(child)[-1]["expires_in_s"]


def lives(r, part):
    peer, own = part.peer, 7200
    peer.children["seconds"].told = told(wire.SECONDS, 14)
    first = part.initiate("seconds")
    left = until(part, "seconds")
    r.check("RESPONDER-LIFETIME of 14 s in message 2 is taken over", 0 < left <= 14, left)
    flow = Ping(part.host, "seconds", part.there("seconds"), source=HOST, interval=0.1)

    for child, attributes, least, what in (("long", told(wire.SECONDS, 1000000) + told(wire.KILOBYTES, 1 << 40), 7000, "a longer one of 1,000,000 s and 1 PB"),
                                           ("none", told(wire.SECONDS, 0), 7000, "one of 0 s"), ("unit", told(9, 20), 7000, "one in an unknown unit"),
                                           ("bare", [(exchanges.DOI_LIFE_DURATION, 20)], 7000, "a duration without a unit"),
                                           ("few", told(wire.SECONDS, 1), 5, "one of 1 s, which counts as 10 s")):
        peer.children["odd"].told = attributes
        part.initiate("odd")
        left = until(part, "odd")
        r.check(f"{what}: lengthens nothing, ends nothing", least <= left <= own and part.ping("odd", 1), f"{left} s are left")
        part.end("odd")

    pair = part.initiate("later")
    spi = pair.inbound.spi
    for what, say, of, seconds, most in (("in clear", peer.say_in_clear, spi, 600, own), ("of another SA", peer.say, b"\1\2\3\4", 600, own),
                                         ("of this SA", peer.say, spi, 600, 600), ("a longer one", peer.say, spi, 6000, 600)):
        say(lifetime(of, told(wire.SECONDS, seconds)))
        part.mark()
        left = until(part, "later")
        r.check(f"RESPONDER-LIFETIME of {seconds} s in an Informational exchange, {what}: at most {most} s are left", most - 200 < left <= most, left)

    peer.children["bytes"].told = told(wire.KILOBYTES, 2048)
    begun = part.initiate("bytes")
    part.host.sh("ping", "-f", "-q", "-c", 1600, "-s", 1372, "-I", HOST, part.there("bytes"), seconds=40, check=False)
    replaced = wait_for(lambda: peer.pair("bytes") is not begun and peer.pair("bytes").at and peer.pair("bytes"), 15, "other keys after 2 MB")
    r.check("RESPONDER-LIFETIME of 2,048 kB: Culvert makes other keys before that many have passed", begun in replaced.beside,
            f"{begun.inbound.opened} packets of 1,400 bytes")

    both = {wire.SECONDS: own, wire.KILOBYTES: GIGABYTE}
    for life, expected_told in (({wire.SECONDS: 1000000, wire.KILOBYTES: 10 ** 9}, both), ({wire.SECONDS: own + 1}, both),
                                ({wire.SECONDS: bytes(6) + b"\x90\0"}, both), ({wire.SECONDS: own, wire.KILOBYTES: 2000}, {}), ({wire.SECONDS: 600, wire.KILOBYTES: 2000}, {})):
        peer.children["offered"].life = life
        pair = peer.quick("offered")
        r.check(f"the peer offers {life}: Culvert says {expected_told or 'nothing'}", pair.told == expected_told, pair.told)
        answered = [n for n in pair.extra if n.type == wire.RESPONDER_LIFETIME]
        if expected_told:
            r.check("... of its own SPI and protocol", [(n.protocol, n.spi) for n in answered] == [(wire.ESP, pair.outbound.spi)], answered)
    left = until(part, "offered")
    r.check("... and keeps to the shorter one", left <= 600, left)

    second = wait_for(lambda: peer.pair("seconds") is not first and peer.pair("seconds").at and peer.pair("seconds"), 30, "other keys before 14 s are over")
    wait_for(lambda: second.inbound.opened, 15, "packets of the new pair")
    lost = flow.stop().lost
    r.check("the pair of 14 s is replaced before it ends, without a lost echo", first in second.beside and not lost, f"{len(lost)} lost")


def told(unit, number):
    return [(exchanges.DOI_LIFE_TYPE, unit), (exchanges.DOI_LIFE_DURATION, number)]


def lifetime(spi, attributes, protocol=wire.ESP):
    return [(wire.NOTIFY, wire.notify(wire.RESPONDER_LIFETIME, protocol, spi, wire.attributes(attributes)))]


def isakmp_life(r, part):
    """By the numbers of phase 1 and by those of the DOI: RFC 2407 does not say which."""
    peer, own = part.peer, 8000
    for unit, number in (((exchanges.LIFE_TYPE, exchanges.LIFE_DURATION)), ((exchanges.DOI_LIFE_TYPE, exchanges.DOI_LIFE_DURATION))):
        peer.isakmp_told = [(unit, wire.SECONDS), (number, 700)]
        part.initiate("net")
        left = part.established()[-1]["expires_in_s"]
        r.check(f"RESPONDER-LIFETIME of 700 s in message 6 of Main Mode, by attributes {unit} and {number}, is taken over", 600 < left <= 700, left)
        part.culvert.terminate(part.name)
        wait_for(lambda: not part.established(), 10, "its end")
    peer.isakmp_told = [(exchanges.LIFE_TYPE, wire.SECONDS), (exchanges.LIFE_DURATION, 1000000)]
    part.initiate("net")
    both = peer.isakmp().cookies[0] + peer.isakmp().cookies[1]
    peer.say_in_clear(lifetime(both, [(exchanges.LIFE_TYPE, wire.SECONDS), (exchanges.LIFE_DURATION, 100)], wire.ISAKMP))
    part.mark()
    left = part.established()[-1]["expires_in_s"]
    r.check("a longer one lengthens nothing, one in clear shortens nothing", own - 200 < left <= own, left)
    peer.say(lifetime(both, [(exchanges.LIFE_TYPE, wire.SECONDS), (exchanges.LIFE_DURATION, 14)], wire.ISAKMP))
    before = peer.isakmp()
    peer.isakmp_told = [(exchanges.LIFE_TYPE, wire.KILOBYTES), (exchanges.LIFE_DURATION, 64)]
    wait_for(lambda: peer.isakmp() is not before, 30, "Culvert's next Main Mode")
    r.check("one of 14 s: Culvert makes another ISAKMP SA before they are over", before.alive_when_replaced)

    before, filler = peer.isakmp(), [(wire.NOTIFY, wire.notify(40000, data=bytes(1200)))]
    for _ in range(48):                                                 # of the 64 that it may encrypt, begun at 80 % or a little before
        peer.say(filler)
        time.sleep(0.002)
    wait_for(lambda: peer.isakmp() is not before, 20, "Culvert's next Main Mode")
    r.check("one of 64 kB: the same, after so much has been encrypted", before.alive_when_replaced)
    for life, expected_told in (({wire.SECONDS: 1000000}, {wire.SECONDS: own}), ({}, {wire.SECONDS: own}), ({wire.SECONDS: 3600}, {})):
        peer.isakmp_life = life
        said = peer.main().told
        r.check(f"the peer offers an ISAKMP SA of {life or 'no lifetime'}: Culvert says {expected_told or 'nothing'}", said == expected_told, said)


def aggressive(r, part):
    """The last message is not the responder's: what it says of lifetimes comes behind."""
    peer, own = part.peer, 8000
    peer.aggressive, peer.isakmp_life = True, {wire.SECONDS: 1000000}
    said = wire.RESPONDER_LIFETIME
    for life, expected_told in (({wire.SECONDS: 1000000}, [{wire.SECONDS: own}]), ({wire.SECONDS: 3600}, [])):
        peer.isakmp_life = life
        before = len(peer.notifies)
        peer.main()
        part.mark()
        heard = [h for h in peer.notifies[before:] if h.notify.type == said]
        lives_told = [wire.lifetimes(wire.read_attributes(h.notify.data), exchanges.LIFE_TYPE, exchanges.LIFE_DURATION) for h in heard]
        r.check(f"Aggressive Mode, the peer offers {life}: Culvert says {expected_told or 'nothing'} in an Informational exchange",
                lives_told == expected_told and all(h.exchange == wire.INFORMATIONAL for h in heard), heard)
    peer.isakmp_told = [(exchanges.LIFE_TYPE, wire.SECONDS), (exchanges.LIFE_DURATION, 700)]
    part.culvert.terminate(part.name)
    wait_for(lambda: not part.established(), 10, "its end")
    pair = part.initiate("net")
    r.check("Culvert begins Aggressive Mode, and a pair under it", peer.ping(pair, HOST) and part.ping("net"))
    left = part.established()[-1]["expires_in_s"]
    r.check("RESPONDER-LIFETIME of 700 s in message 2 of Aggressive Mode, which is in clear, does not count", own - 200 < left <= own, left)


# ---- Deletes and notifications

def doubts(r, part, pair, isakmp):
    """What somebody says in clear makes Culvert ask at most; what the peer says under its keys is believed."""
    peer = part.peer

    def asked():
        return [h for h in peer.notifies if h.notify.type == wire.R_U_THERE]
    before = len(asked())
    peer.say_in_clear([(wire.NOTIFY, wire.notify(wire.INITIAL_CONTACT, spi=isakmp.cookies[0] + isakmp.cookies[1]))], isakmp)
    peer.say_in_clear([(wire.DELETE, wire.delete(wire.ESP, [pair.inbound.spi]))], isakmp)
    peer.say_in_clear([(wire.NOTIFY, wire.notify(wire.INVALID_SPI, wire.ESP, pair.inbound.spi))], isakmp)
    wait_for(lambda: len(asked()) > before, 15, "R-U-THERE")
    part.mark()
    r.check("INITIAL-CONTACT, Delete and INVALID-SPI in clear end nothing; the last makes Culvert ask whether the peer lives", pair.alive and part.ping("three"))
    odd, cases = peer.children["odd"], (("another suite", "suite", packets.suite("aes256gcm16"), wire.NO_PROPOSAL_CHOSEN),
                                        ("other identities", "near", ipaddress.ip_network("10.77.0.0/24"), wire.INVALID_ID_INFORMATION))
    for what, field, value, kind in cases:
        right = getattr(odd, field)
        setattr(odd, field, value)
        said, spi = peer.refused("odd")
        r.check(f"a Quick Mode with {what} is refused by notification {kind} of its own SPI", (said.type, said.protocol, said.spi) == (kind, wire.ESP, spi), said)
        setattr(odd, field, right)
    attributes, spi = [(exchanges.ENCAPSULATION, exchanges.TUNNEL), (packets.KEY_LENGTH, 128), (32001, 1)], b"\x77" * 8
    odd.decoys = [wire.Proposal(number, protocol, spi[:size], [wire.Transform(n, kind, attributes) for n in (1, 2)])
                  for number, protocol, size, kind in ((1, wire.AH, 4, 3), (1, wire.ESP, 4, 20), (2, 4, 2, 2), (3, wire.ESP, 4, 99), (4, wire.ESP, 8, 20))]
    r.check("of a bundle, IPCOMP, an unknown transform, an SPI of 8 bytes and the right proposal behind them, that one is taken", peer.ping(peer.quick("odd"), HOST))
    time.sleep(max(0, pair.at + 31 - time.monotonic()))                 # a younger one is not doubted

    def lost():
        peer.say([(wire.NOTIFY, wire.notify(wire.INVALID_SPI, wire.ESP, pair.inbound.spi))])
        return peer.pair("three") is not pair
    wait_for(lost, 30, "another pair", step=2)
    r.check("INVALID-SPI of the peer's own: Culvert makes another pair", part.ping("three"))


def notifications(r, part):
    peer = part.peer
    pairs = [part.initiate("one"), part.initiate("two")]
    first = [h for h in peer.notifies if h.notify.type == wire.INITIAL_CONTACT]
    r.check("INITIAL-CONTACT comes in message 5 of Culvert's first Main Mode", [(h.exchange, h.notify.protocol, h.notify.spi) for h in first] == [
        (wire.MAIN_MODE, wire.ISAKMP, peer.isakmp().cookies[0] + peer.isakmp().cookies[1])], first)
    peer.children["three"].notes = [(wire.NOTIFY, wire.notify(wire.REPLAY_STATUS, wire.ESP, b"\0\0\0\1", bytes(4))), (wire.NOTIFY, wire.notify(40000))]
    pairs.append(peer.quick("three"))
    r.check("REPLAY-STATUS and an unknown notification in message 1 of Quick Mode do no harm", peer.ping(pairs[2], HOST))
    peer.say([(wire.NOTIFY, wire.notify(kind, wire.ESP, pairs[2].inbound.spi, bytes(4))) for kind in (wire.REPLAY_STATUS, wire.CONNECTED, 40000, 65535)])
    part.mark()
    acks = [h.notify.data for h in peer.notifies if h.notify.type == wire.R_U_THERE_ACK]
    r.check("... nor do they, and CONNECTED that nobody waits for, in an Informational exchange", part.ping("one") and part.ping("three"))
    r.check("... and R-U-THERE is answered once, by its number", acks == [bytes(4)], acks)
    peer.delete(pairs)
    wait_for(lambda: not part.culvert.child_sas(part.name), 10, "the end of three pairs")
    r.check("one Delete of three SPIs ends three pairs", True)
    pairs = [part.initiate("one"), peer.quick("two"), part.initiate("three")]
    keep, gone = pairs.pop(), [p.inbound.spi for p in pairs]
    peer.say([(wire.DELETE, wire.delete(protocol, spis)) for protocol, spis in (
        (wire.ESP, [b"\1\2\3\4", gone[0], gone[0]]), (wire.AH, [keep.inbound.spi]), (wire.ESP, [gone[1]]))])
    wait_for(lambda: len(part.culvert.child_sas(part.name)) == 1, 10, "the end of two pairs")
    r.check("three Deletes at once, with an SPI of nobody's, one that stands there twice and one of another protocol: the right ones end", part.ping("three"))
    peer.commit_in_phase_1 = True
    other = peer.main()
    r.check("a Main Mode with the commit bit in each message ends like any other", peer.ping(peer.quick("two", other), HOST))
    doubts(r, part, keep, other)
    part.culvert.terminate(part.name)
    pairs = [keep, *peer.pairs[peer.pairs.index(keep) + 1:]]
    wait_for(lambda: not any(one.alive for one in pairs + peer.isakmps), 10, "Culvert's Deletes")
    named = {(d.protocol, spi) for d in peer.deletes for spi in d.spis}
    r.check("Culvert's Deletes name the pairs and the two ISAKMP SAs, and no other", named == {(wire.ESP, p.outbound.spi) for p in pairs} | {
        (wire.ISAKMP, i.cookies[0] + i.cookies[1]) for i in peer.isakmps}, peer.deletes)


MORE = {"rekey_bytes": "900MB", "life_bytes": "1GB"}
OWN = {"rekey_time": "7200s", "over_time": "800s", "rand_time": "0s"}
HASTY = {"aggressive": True, "aggressive_psk_exposes_hash_to_offline_guessing": True}
PARTS = [(Part("lives", {child: USUAL for child in ("seconds", "odd", "later", "bytes")} | {"offered": (*USUAL[:2], MORE)}, ike="aes256-sha256-curve25519"), lives),
         (Part("isakmp", {"net": USUAL}, ike="aes256-sha512-ecp521", **OWN), isakmp_life),
         (Part("hasty", {"net": USUAL}, **OWN, **HASTY), aggressive),
         (Part("notify", {child: USUAL for child in ("one", "two", "three", "odd")}, ike="aes256-sha256-modp3072"), notifications)]


def body(r, lab):
    pyike_part.at_once(r, lab, PARTS)


report.run("ikev1_notices", body)

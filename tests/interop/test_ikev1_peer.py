#!/usr/bin/python3
"""IKEv1 against a peer in Python that shares nothing with Culvert (lib/pyike), both roles: what no other peer here has.

Time limit: 120 s
GMAC in AH and ESP, over IPv4 and IPv6, with packets that were changed and packets that come twice; transport mode, and Quick Mode without proxy
identities; the commit bit, which the peer sets as responder and as initiator; RESPONDER-LIFETIME of both phases, heeded and said; Deletes of several
SPIs. Each part is a connection of its own to an address of the peer's, and all run at once.

    host 10.1.0.10 -- in0 [Culvert] gw0 10.9.0.1 ---- wire ---- cl0 10.9.1.N [peer N in Python], which answers for 10.2.x.0/24 itself
"""
import collections
import concurrent.futures
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.pyike import exchanges, packets, wire  # noqa: E402
from lib.pyike_part import GW, GW_V6, HOST, Part  # noqa: E402
from lib.traffic import Ping  # noqa: E402

WAIT = 4.5                                     # Culvert waits 5 s for CONNECTED
GIGABYTE = 1 << 20                             # in kB
expected = collections.Counter()               # drops, of all parts


def suites(r, part):
    """Each suite in both roles. Then packets that were changed, and one that comes again. In transport mode the gateway itself is what is pinged."""
    for child, (proposal, protocol, _) in part.children.items():
        transport = part.transport(child)
        title = f"{'AH' if protocol == wire.AH else 'ESP'} {proposal}{', transport mode' if transport else ''}{', over IPv6' if part.v6 else ''}"
        for role in ("initiator", "responder"):
            if role == "initiator":
                pair = part.initiate(child)
            else:
                pair = part.peer.quick(child)
                wait_for(lambda c=child: part.ours(c), 10, "the pair at Culvert")
            out, back = transport or part.ping(child), part.peer.ping(pair, GW if transport else HOST)
            count, sure = (3 if transport else 6), not pair.inbound.refused
            r.check(f"{title}, Culvert as {role}: echoes {'are answered' if transport else 'both ways'}, every ICV verified", out and back and sure
                    and pair.inbound.opened == count, f"{out} {back} {pair.inbound.opened} packets of Culvert's, {pair.inbound.refused}")
            if role == "initiator":
                part.end(child)
        wrong = judge(part, pair, GW if transport else HOST)
        r.check(f"{title}: a packet changed anywhere is refused by either end, one that comes twice by Culvert", wrong == [], wrong)
        if transport:
            part.end(child)
            part.peer.children[child].identities = False
            r.check("... and without proxy identities, which means the two gateways", part.peer.ping(part.peer.quick(child), GW))


def judge(part, pair, to):
    """What was not refused as it should be, by both ends, or was refused and should not be."""
    wrong, ah, start = [], pair.child.suite.protocol == wire.AH, 40 if part.v6 else 20
    places = {"the number": start + (11 if ah else 7), "the IV": start + (14 if ah else 9), "the ICV": start + 25 if ah else -3, "the payload": -30}
    if ah and not part.v6:
        places["the outer header's identification"] = 5

    def change(packet, changes):
        changed = bytearray(packet)
        for at, bits in changes:
            changed[at] ^= bits
        if not part.v6:
            changed[10:12] = bytes(2)
            changed[10:12] = packets.checksum(changed[:20]).to_bytes(2, "big")
        return bytes(changed)

    def taken(packet):
        try:
            return bool(pair.inbound.unsealed(packet))
        except (packets.Refused, packets.InvalidTag):
            return False
    theirs = pair.last_packet
    ours, name = part.peer.packet(pair, to)
    for what, at in places.items():
        if taken(change(theirs, [(at, 0x40)])):                         # of the number: one that has not come yet
            wrong.append(f"{what}: the peer takes it")
        part.peer.send(change(ours, [(at, 0x40)]))
    expected["esp_auth"] += len(places)
    if not taken(theirs):
        wrong.append("the peer does not take the packet as it was")
    part.peer.send(change(ours, [(0, 0x0b), (1, 0x0f), (7, 1)] if part.v6 else [(1, 0xb0), (8, 1)]))  # class, flow label, TTL, as routers may
    try:
        wait_for(lambda: name in part.peer.answers, 10, "an answer")
    except LabError:
        wrong.append("a packet with another TTL is refused")
    part.peer.send(ours)
    expected["esp_replay"] += 1
    if not part.peer.ping(pair, to):
        wrong.append("and nothing is answered after it")
    return wrong


# ---- the commit bit

def held(r, part, child, pair, say, what):
    """Whether Culvert waits with its first packet until say() has said CONNECTED. A slow machine may come too late to see it: None."""
    peer, start = part.peer, part.peer.children[child]
    flow = Ping(part.host, f"{part.name}-{child}", part.there(child), source=HOST, interval=0.1)
    time.sleep(0.7)
    early = [pair.inbound.opened]
    spoofed = peer.connected(pair)
    peer.say_in_clear(spoofed, message_id=pair.message_id)
    peer.say(spoofed, message_id=pair.message_id, proof=bytes(32))      # with another hash
    other = [(wire.NOTIFY, wire.notify(wire.CONNECTED, start.suite.protocol, b"\1\2\3\4"))]
    peer.say(other)                                                     # of an exchange and an SA that are not there
    time.sleep(0.7)
    early.append(pair.inbound.opened)
    say()
    in_time = time.monotonic() - pair.at < WAIT
    try:
        came = wait_for(lambda: pair.inbound.opened, 15, "a packet")
    except LabError:
        came = 0
    flow.stop()
    if not in_time:
        return None
    r.check(f"{what}: nothing is sent before CONNECTED, nor for one that is not proven or means another SA", early == [0, 0], early)
    r.check("... and it is, behind it, both ways", came and peer.ping(pair, HOST) and part.ping(child), f"{came}, {peer.faults}")
    r.check("... and Culvert's own messages have no commit bit", not any(f & wire.COMMIT for f in pair.flags), pair.flags)
    return True


def attempts(function):
    for _ in range(3):
        if function():
            return
    raise LabError("the machine is too slow to see what happens within the time that Culvert waits for CONNECTED")


def commit(r, part):
    peer = part.peer

    def informational(pair):
        return lambda: peer.say(peer.connected(pair), message_id=pair.message_id)

    def begun_by_culvert(child, say, what):
        peer.children[child].commit = True
        before = peer.pair(child)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            done = pool.submit(part.culvert.initiate, part.name, child, 30)
            pair = wait_for(lambda: peer.pair(child) is not before and peer.pair(child) and peer.pair(child).at and peer.pair(child), 20, "message 3")
            up = done.done()
            seen = held(r, part, child, pair, say(pair), what)
            ok, detail = done.result()
        if seen:
            r.check("... and the command that began it waits, too", ok and not up, f"{up} {detail}")
        part.end(child)
        return seen
    attempts(lambda: begun_by_culvert("held", informational, "commit bit in message 2, CONNECTED in an Informational exchange of its message id"))
    attempts(lambda: begun_by_culvert("fourth", lambda pair: lambda: peer.say_fourth(pair), "commit bit in message 2, CONNECTED as a fourth message"))

    def begun_by_peer():
        peer.children["asked"].commit = True
        pair = peer.quick("asked")
        seen = held(r, part, "asked", pair, informational(pair), "commit bit in messages 1 and 3 of the peer's Quick Mode")
        if not seen:
            part.end("asked")
        return seen
    attempts(begun_by_peer)
    peer.children["never"].commit = True
    pair = part.initiate("never")
    r.check("a CONNECTED that never comes is waited for, and then no more", part.ping("never") and pair.inbound.opened == 3, pair.inbound.opened)


# ---- lifetimes

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
        mark(part)
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
                                ({wire.SECONDS: own, wire.KILOBYTES: 2000}, {}), ({wire.SECONDS: 600, wire.KILOBYTES: 2000}, {})):
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


def mark(part):
    """Behind what was sent: Culvert has answered something that came later."""
    number = len([h for h in part.peer.notifies if h.notify.type == wire.R_U_THERE_ACK])
    isakmp = part.peer.isakmp()
    part.peer.say([(wire.NOTIFY, wire.notify(wire.R_U_THERE, wire.ISAKMP, isakmp.cookies[0] + isakmp.cookies[1], number.to_bytes(4, "big")))])
    wait_for(lambda: len([h for h in part.peer.notifies if h.notify.type == wire.R_U_THERE_ACK]) > number, 10, "R-U-THERE-ACK")


def established(part):
    return [sa for sa in part.culvert.ike_sas(part.name) if sa["state"] == "established"]


def isakmp_life(r, part):
    """By the numbers of phase 1 and by those of the DOI: RFC 2407 does not say which."""
    peer, own = part.peer, 8000
    for unit, number in (((exchanges.LIFE_TYPE, exchanges.LIFE_DURATION)), ((exchanges.DOI_LIFE_TYPE, exchanges.DOI_LIFE_DURATION))):
        peer.isakmp_told = [(unit, wire.SECONDS), (number, 700)]
        part.initiate("net")
        left = established(part)[-1]["expires_in_s"]
        r.check(f"RESPONDER-LIFETIME of 700 s in message 6 of Main Mode, by attributes {unit} and {number}, is taken over", 600 < left <= 700, left)
        part.culvert.terminate(part.name)
        wait_for(lambda: not established(part), 10, "its end")
    peer.isakmp_told = [(exchanges.LIFE_TYPE, wire.SECONDS), (exchanges.LIFE_DURATION, 1000000)]
    part.initiate("net")
    both = peer.isakmp().cookies[0] + peer.isakmp().cookies[1]
    peer.say_in_clear(lifetime(both, [(exchanges.LIFE_TYPE, wire.SECONDS), (exchanges.LIFE_DURATION, 100)], wire.ISAKMP))
    mark(part)
    left = established(part)[-1]["expires_in_s"]
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


# ---- Deletes and notifications

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
    mark(part)
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
    part.culvert.terminate(part.name)
    pairs = [keep, peer.pairs[-1]]
    wait_for(lambda: not any(one.alive for one in pairs + peer.isakmps), 10, "Culvert's Deletes")
    named = {(d.protocol, spi) for d in peer.deletes for spi in d.spis}
    r.check("Culvert's Deletes name two pairs and two ISAKMP SAs, and no other", named == {(wire.ESP, p.outbound.spi) for p in pairs} | {
        (wire.ISAKMP, i.cookies[0] + i.cookies[1]) for i in peer.isakmps}, peer.deletes)


USUAL = ("aes128gcm16", wire.ESP, {})
AH = {f"ah{bits}": (f"aes{bits}gmac", wire.AH, {}) for bits in (128, 192, 256)} | {"ahesn": ("aes256gmac-esn", wire.AH, {})}
ESP = {f"esp{bits}": (f"aes{bits}gmac", wire.ESP, {}) for bits in (128, 192, 256)}
ESP |= {"gcm": USUAL, "gcm12": ("aes256gcm12-esn", wire.ESP, {})}
TRANSPORT = {"mode": "transport"}
V6 = {"six": ("aes128gmac", wire.AH, {}), "sixesn": ("aes192gmac-esn", wire.AH, {}), "sixesp": ("aes256gmac", wire.ESP, {})}
MORE = {"rekey_bytes": "900MB", "life_bytes": "1GB"}
PARTS = [(Part("ah", AH), suites),
         (Part("esp", ESP, ike="aes128-sha1-modp2048"), suites),
         (Part("hosts", {"between": ("aes128gmac", wire.AH, TRANSPORT)}, ike="aes128-sha256-modp1024"), suites),
         (Part("hosts-esp", {"between": ("aes256gmac-esn", wire.ESP, TRANSPORT)}, ike="aes128-sha256-modp1024"), suites),
         (Part("six", V6, v6=True), suites),
         (Part("commit", {child: USUAL for child in ("held", "fourth", "asked", "never")}, ike="aes192-sha384-ecp384"), commit),
         (Part("lives", {child: USUAL for child in ("seconds", "odd", "later", "bytes")} | {"offered": (*USUAL[:2], MORE)}, ike="aes256-sha256-curve25519"), lives),
         (Part("isakmp", {"net": USUAL}, ike="aes256-sha512-ecp521", rekey_time="7200s", over_time="800s", rand_time="0s"), isakmp_life),
         (Part("notify", {child: USUAL for child in ("one", "two", "three")}, ike="aes256-sha256-modp3072"), notifications)]


def body(r, lab):
    host, inside = sites.host_and_gateway(lab, "a")
    outside = lab.namespace("peer")
    lab.link(inside, "gw0", None, outside, "cl0", f"{sites.ADDRESS['b']}/16")
    culvert = sites.culvert(lab, inside, "a", ["b"])
    culvert.config["ports"]["wan"]["addresses"].append(f"{GW_V6}/64")
    secret = culvert.secret(sites.SECRET)
    for number, (part, _) in enumerate(PARTS, 1):
        part.place(number)
    culvert.config["connections"] = {part.name: part.connection(secret) for part, _ in PARTS}
    culvert.write()
    outside.sysctl(**{"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.cl0.disable_ipv6": 0, "net.ipv6.conf.cl0.accept_dad": 0})
    outside.addresses("cl0", [f"{part.address}/{64 if part.v6 else 16}" for part, _ in PARTS])
    culvert.start()
    for part, _ in PARTS:
        part.start(outside, culvert, host)

    def run(part, function):
        try:
            function(r, part)
        except (LabError, StopIteration) as error:
            r.check(f"{part.name}: runs to its end", False, f"{error!r}; {part.peer.faults}")
    with concurrent.futures.ThreadPoolExecutor(len(PARTS)) as pool:
        for done in [pool.submit(run, *p) for p in PARTS]:
            done.result()
    drops = {name: culvert.drops()[name] for name in expected}
    r.check("Culvert counts each packet that was changed, and each that came twice", drops == expected, f"{drops}, {dict(expected)}")
    faults = [fault for part, _ in PARTS for fault in part.peer.faults]
    r.check("no message and no packet of Culvert's was other than the RFCs say", not faults, faults[:5])


report.run("ikev1_peer", body)

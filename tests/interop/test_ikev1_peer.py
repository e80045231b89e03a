#!/usr/bin/python3
"""IKEv1 against a peer in Python that shares nothing with Culvert (lib/pyike), both roles: GMAC, and the commit bit.

Time limit: 120 s
GMAC in AH and ESP, over IPv4 and IPv6, with packets that were changed and packets that come twice; transport mode, and Quick Mode without proxy
identities. The commit bit (RFC 2408 §3.1), which the peer sets as responder, as initiator, and where Culvert makes other keys. Each part is a
connection of its own to an address of the peer's, and all run at once.
"""
import collections
import concurrent.futures
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import pyike_part, report  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.pyike import packets, wire  # noqa: E402
from lib.pyike_part import GW, HOST, USUAL, Part  # noqa: E402
from lib.traffic import Ping  # noqa: E402

WAIT = 4.5                                     # Culvert waits 5 s for CONNECTED
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
                    and pair.inbound.opened >= count, f"{out} {back} {pair.inbound.opened} packets of Culvert's, {pair.inbound.refused}")
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
    time.sleep(0.5)
    early = [pair.inbound.opened]
    spoofed = peer.connected(pair)
    peer.say_in_clear(spoofed, message_id=pair.message_id)
    peer.say(spoofed, message_id=pair.message_id, proof=bytes(32))      # with another hash
    other = [(wire.NOTIFY, wire.notify(wire.CONNECTED, start.suite.protocol, b"\1\2\3\4"))]
    peer.say(other)                                                     # of an exchange and an SA that are not there
    time.sleep(0.5)
    early.append(pair.inbound.opened)
    say()
    in_time = time.monotonic() - pair.since < WAIT
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


def replaced(r, part):
    """Culvert makes other keys for "asked", which is up: the old ones serve until CONNECTED."""
    peer, old = part.peer, part.peer.pair("asked")
    flow = Ping(part.host, "replaced", part.there("asked"), source=HOST, interval=0.05)
    wait_for(lambda: old.inbound.opened > 3, 15, "packets under the old keys")
    part.culvert.result("rekey", f"{part.name}/asked")
    pair = wait_for(lambda: peer.pair("asked") is not old and peer.pair("asked").at and peer.pair("asked"), 20, "message 3")
    before = old.inbound.opened
    wait_for(lambda: old.inbound.opened > before + 5, 15, "more packets under the old keys")
    early = pair.inbound.opened
    peer.say(peer.connected(pair), message_id=pair.message_id)
    in_time = time.monotonic() - pair.since < WAIT
    wait_for(lambda: pair.inbound.opened > 3, 15, "packets under the new keys")
    lost = flow.stop().lost
    if not in_time:
        return None
    r.check("commit bit while Culvert makes other keys: the old ones serve until CONNECTED, and no echo is lost", early == 0 and not lost, f"{early}, lost: {lost}")
    return True


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
            over = []

            def say_now():
                over.append(done.done())
                say(pair)()
            seen = held(r, part, child, pair, say_now, what)
            ok, detail = done.result()
        if seen:
            r.check("... and the command that began it waits, too", ok and over == [False], f"{over} {detail}")
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
    attempts(lambda: replaced(r, part))
    peer.children["never"].commit = True
    pair = part.initiate("never")
    r.check("a CONNECTED that never comes is waited for, and then no more", part.ping("never") and pair.inbound.opened >= 3, pair.inbound.opened)


AH = {f"ah{bits}": (f"aes{bits}gmac", wire.AH, {}) for bits in (128, 192, 256)} | {"ahesn": ("aes256gmac-esn", wire.AH, {})}
ESP = {f"esp{bits}": (f"aes{bits}gmac", wire.ESP, {}) for bits in (128, 192, 256)}
ESP |= {"gcm": USUAL, "gcm12": ("aes256gcm12-esn", wire.ESP, {})}
TRANSPORT = {"mode": "transport"}
V6 = {"six": ("aes128gmac", wire.AH, {}), "sixesn": ("aes192gmac-esn", wire.AH, {}), "sixesp": ("aes256gmac", wire.ESP, {})}
PARTS = [(Part("ah", AH), suites),
         (Part("esp", ESP, ike="aes128-sha1-modp2048"), suites),
         (Part("hosts", {"between": ("aes128gmac", wire.AH, TRANSPORT)}, ike="aes128-sha256-modp1024"), suites),
         (Part("hosts-esp", {"between": ("aes256gmac-esn", wire.ESP, TRANSPORT)}, ike="aes128-sha256-modp1024"), suites),
         (Part("six", V6, v6=True), suites),
         (Part("commit", {child: USUAL for child in ("held", "fourth", "asked", "never")}, ike="aes192-sha384-ecp384"), commit)]


def body(r, lab):
    culvert = pyike_part.at_once(r, lab, PARTS)
    drops = {name: culvert.drops()[name] for name in expected}
    r.check("Culvert counts each packet that was changed, and each that came twice", drops == expected, f"{drops}, {dict(expected)}")


report.run("ikev1_peer", body)

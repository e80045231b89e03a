#!/usr/bin/python3
"""IKEv2: message-ID and replay-counter synchronisation (RFC 6311), with a peer of our own (lib/pyike2), which has nothing of Culvert in it.

Time limit: 60 s
No other implementation at hand has all of it. The peer is the other member of a cluster that has taken over, and the side that such a one asks; each side
has begun the IKE SA once. It takes in no packet with a number that should have been left out, and what it was sent is decoded by tshark, too.

    host 10.1.0.10 -- in0 [Culvert a] gw0 10.9.0.1 ---- cl0 10.9.0.2 [peer.py], 10.2.0.10 inside
"""
import re
import struct
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import reaches  # noqa: E402
from lib.pyike2 import esp, wire  # noqa: E402
from lib.pyike2.peer import Peer  # noqa: E402
from lib.traffic import ping, tshark  # noqa: E402

BOTH = (wire.ID_SYNC_SUPPORTED, wire.REPLAY_SYNC_SUPPORTED)
OWN, OTHER = sites.ADDRESS["b"], sites.ADDRESS["a"]
INSIDE, HOST = sites.HOST["b"], sites.HOST["a"]
ASKED = 1 << 20                     # sequence numbers that Culvert asks for


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "cl0", f"{OWN}/16")
        self.gw = sites.culvert(lab, self.inside, "a", ["b"])
        self.gw.config["connections"] = sites.culvert_connection(self.gw, "a", "b", ike="aes256gcm16-prfsha256-x25519", esp="aes128gcm16-noesn-esn", version=2,
                                                                 dpd_delay="1h")
        self.gw.write()
        self.gw.start()
        self.peer = None

    def new_peer(self, announce, esn=False):
        if self.peer:
            self.peer.close()
        self.peer = Peer(self.outside, OWN, OTHER, sites.IDENTITY["b"], sites.SECRET, (sites.NET["b"], sites.NET["a"]), announce, esn)
        return self.peer

    def count(self, reason):
        return self.gw.exchange_counts(reason)["counter_sync"]

    def counts(self, reason, number):
        """Whether so many requests and answers have ended so, sooner or later."""
        return reaches(lambda: self.count(reason) == number, 10, f"{number} {reason}")

    def sa(self):
        return self.gw.ike_sas("to-b")[-1]


def echoes(r, site, what):
    peer = site.peer
    r.check(f"echoes both ways {what}", peer.echo(INSIDE, HOST) and reaches(lambda: ping(site.host, INSIDE, count=1)[0], 15, "an echo"),
            f"{peer.inbound.dropped} dropped, {peer.inbound.forged} forged")


def announced(r, site, role, able):
    shown = site.sa()
    r.check(f"{role}: both announce it" if able else f"{role}: Culvert keeps silent about it to a peer that does", [n for n in BOTH if n in site.peer.peer_announces] == (
        list(BOTH) if able else []), site.peer.peer_announces)
    r.check("... and list-sas says so", shown["message_id_sync"] is able and shown["replay_counter_sync"] is able, str(shown)[:300])


def taken_over(r, site, delta, extended):
    """The peer is a member that has taken over and does not know how far the other one was."""
    peer, ok = site.peer, site.count("ok")
    before, top, m1 = peer.next_id, peer.inbound.top, peer.next_id + 100
    said = peer.sync(m1, 50, struct.pack(">Q" if extended else ">I", delta))
    r.check("a member that has taken over: its nonce comes back, with IDs that are not lower", said == (True, 50, m1), f"{said}, asked {m1}, 50")
    peer.inbound.floor = top + delta                                  # what it does not know may be a copy of something old
    echoes(r, site, f"with numbers of the gateway above {peer.inbound.floor}")
    r.check("... of which none was left out that need not be", top + delta < peer.inbound.top < top + delta + 100000, peer.inbound.top)
    old = peer.request(wire.INFORMATIONAL, [], patience=1, message_id=before)
    r.check("a request with the former ID is nothing to Culvert", old is None, old)
    r.check("... and one with the new ID is answered", peer.request(wire.INFORMATIONAL, []) == [])
    r.check("counters: one synchronisation more", site.counts("ok", ok + 1))
    return m1


def not_taken(r, site, seen):
    """Copies and malformed ones. `seen`: the M1 of the last one."""
    peer, sync = site.peer, wire.id_sync(b"\x01\x02\x03\x04", seen + 50, 1)
    copies = {"with an M1 that was seen": [wire.id_sync(b"nonc", seen, 1)], "with a lower one": [wire.id_sync(b"nonc", 0, 0)],
              "with the highest one": [wire.id_sync(b"nonc", 0xffffffff, 1)]}
    malformed = {"too short": [wire.notify(wire.ID_SYNC, bytes(11))], "too long": [wire.notify(wire.ID_SYNC, bytes(13))], "empty": [wire.notify(wire.ID_SYNC)],
                 "two of them": [sync, sync], "with a Delete": [sync, (wire.DELETE, struct.pack(">BBH", wire.IKE, 0, 0))],
                 "with three bytes of delta": [sync, wire.notify(wire.REPLAY_SYNC, bytes(3))],
                 "with more than there are": [sync, wire.notify(wire.REPLAY_SYNC, b"\xff" * 8)]}
    for reason, kinds in (("unexpected", copies), ("malformed", malformed)):
        before = site.count(reason)
        answered = [what for what, payloads in kinds.items() if peer.request(wire.INFORMATIONAL, payloads, patience=0.3, message_id=0) is not None]
        r.check(f"not answered: {', '.join(kinds)}", not answered, answered)
        r.check(f"... and counted as {reason}", site.counts(reason, before + len(kinds)), site.count(reason))
    once = peer.sealed(wire.INFORMATIONAL, 0, [wire.id_sync(b"once", seen + 60, 1)])
    before = site.count("unexpected")
    for _ in range(4):
        peer.replay(once)
    r.check("the same bytes four times: one is answered, three are copies", site.counts("unexpected", before + 3) and reaches(lambda: peer.responses.get(0), 5, "the answer") and len(peer.responses[0]) == 1, peer.responses.get(0))
    peer.next_id = seen + 60
    r.check("Culvert still answers", peer.request(wire.INFORMATIONAL, []) == [])


def asks(r, site, extended):
    """Culvert asks."""
    peer, gw = site.peer, site.gw
    top, next_own, expected, ok = peer.inbound.top, peer.next_id, peer.expected, site.count("ok")
    status, said = gw.cli("sync-counters", "to-b")
    r.check("culvert sync-counters begins", status == 0, said)
    r.check("... and comes to its end", site.counts("ok", ok + 1), gw.log()[-200:])
    one = peer.syncs[-1]
    r.check("what it has sent: notifications alone, an M1 above all that it has used, and the P1 that we use next",
            set(one.kinds) == {wire.NOTIFY} and one.m1 > expected - 1 and one.p1 == next_own, f"{one.kinds} M1 {one.m1} (was {expected}), P1 {one.p1} (is {next_own})")
    r.check(f"... the delta in {8 if extended else 4} bytes", one.delta == struct.pack(">Q" if extended else ">I", ASKED), one.delta)
    peer.inbound.floor = top + ASKED
    echoes(r, site, "after it, both sides' numbers being higher")
    gaps = site.sa()["children"][0]["in"]["gaps"]
    r.check("what we have left out is not lost, in Culvert's eyes", gaps["lost"] == 0, gaps)
    heard = len(peer.informationals)
    gw.cli("rekey", "to-b/net")
    r.check("Culvert's next request has the next ID", reaches(lambda: len(peer.informationals) > heard and peer.expected >= one.m1 + 1, 15, "a request"),
            f"{peer.expected}, M1 was {one.m1}")
    before = site.count("unexpected")
    peer.replay(peer.sync_answers[-1][2])
    r.check("a copy of the answer is dropped, and counted", site.counts("unexpected", before + 1))


def uses_up(r, site, seen):
    """More than the SA has left."""
    peer = site.peer
    r.check("a delta beyond all numbers of the SA is answered", peer.sync(seen + 100, 0, struct.pack(">Q", 5 << 32)) is not None)
    heard = len(peer.informationals)
    ping(site.host, INSIDE, count=1)
    r.check("... and the SA ends, or is replaced: no number comes twice", reaches(lambda: len(peer.informationals) > heard, 15, "a request"))


def insists(r, site):
    """A peer that does not answer, and then does."""
    peer, gw, ok = site.peer, site.gw, site.count("ok")
    peer.obeys_syncs = False
    first = len(peer.syncs)
    r.check("a moment later it may be said again", reaches(lambda: gw.cli("sync-counters", "to-b")[0] == 0, 15, "the next one"))
    r.check("... but not while it is under way", gw.cli("sync-counters", "to-b")[0] == 1)
    r.check("a peer that is silent is asked again", reaches(lambda: len(peer.syncs) >= first + 3, 30, "three requests"), len(peer.syncs) - first)
    peer.obeys_syncs = True
    r.check("... until it answers", reaches(lambda: site.count("ok") == ok + 1, 30, "an answer"), gw.log()[-200:])
    tries = peer.syncs[first:]
    m1, nonces = [s.m1 for s in tries], {s.nonce for s in tries}
    r.check("each time with a higher M1 and another nonce", m1 == sorted(set(m1)) and len(nonces) == len(tries), m1)
    r.check("... and Culvert answers on", peer.request(wire.INFORMATIONAL, []) == [])


def dissected(r, site):
    """The notifications that Culvert has sent, in clear, as tshark reads them."""
    one = site.peer.syncs[-1]
    first, body = wire.chain([(k, b) for k, b in site.peer.opener.open(one.message)])
    message = wire.pack_header(b"initiate", b"responde", first, wire.INFORMATIONAL, wire.INITIATOR, 0, 28 + len(body)) + body
    datagram = struct.pack(">HHHH", 500, 500, 8 + len(message), 0) + message
    packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2])) + datagram
    pcap = site.lab.path("in-clear.pcap")
    with open(pcap, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101) + struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)
    text = tshark(site.lab, pcap, "-V")
    numbers = [int(n, 16) for n in re.findall(r"EXPECTED (?:SEND|RECV) REQ MESSAGE ID: (0x[0-9a-f]+)", text)]
    r.check("tshark knows both notifications, and reads the same numbers in them",
            "IKEV2_MESSAGE_ID_SYNC" in text and "IPSEC_REPLAY_COUNTER_SYNC" in text and numbers == [one.m1, one.p1] and "Malformed" not in text,
            f"{numbers}, M1 {one.m1}, P1 {one.p1}")


def ends(r, site):
    site.gw.terminate("to-b")
    r.check("it ends in order", reaches(lambda: not site.gw.ike_sas("to-b"), 15, "the end"))
    r.check("the peer has met nothing that should not be", not site.peer.problems, site.peer.problems[:3])


def body(r, lab):
    site = Site(lab)
    peer = site.new_peer(BOTH)
    r.check("the peer connects", peer.connect(), peer.problems)
    announced(r, site, "the peer has begun", True)
    echoes(r, site, "before anything of it")
    seen = taken_over(r, site, 1000000, False)
    not_taken(r, site, seen)
    asks(r, site, False)
    insists(r, site)
    dissected(r, site)
    ends(r, site)

    peer = site.new_peer(())
    r.check("a peer without it connects", peer.connect(), peer.problems)
    announced(r, site, "the peer has begun", False)
    before = site.count("unexpected")
    r.check("its request for synchronisation is not answered", peer.request(wire.INFORMATIONAL, [wire.id_sync(b"nonc", 50, 50)], patience=1, message_id=0) is None)
    r.check("... and counted", site.counts("unexpected", before + 1))
    status, said = site.gw.cli("sync-counters", "to-b")
    r.check("culvert sync-counters says why not", status == 1 and "the peer cannot do it" in str(said), said)
    echoes(r, site, "all the same")
    ends(r, site)

    peer = site.new_peer(BOTH, esn=True)
    peer.ahead = [esp.echo(INSIDE, HOST, esp.ECHO_REQUEST, 78, n, b"ahead") for n in range(20)]
    up, said = site.gw.initiate("to-b", "net", 30)
    r.check("Culvert connects, with extended sequence numbers", up and peer.up, said)
    back = lambda: [n for _, _, _, identifier, n, _ in peer.replies if identifier == 78]
    r.check("what the peer has sent before its answer, which brings us the keys, has waited for them", reaches(lambda: back() == list(range(20)), 10, "all replies"),
            f"{back()}, {site.gw.drops()['esp_no_sa']} dropped")
    r.check("... and is counted", site.gw.metric("culvert_worker_early_packets_total") == 20)
    announced(r, site, "Culvert has begun", True)
    echoes(r, site, "before anything of it")
    seen = taken_over(r, site, 3 << 30, True)
    asks(r, site, True)
    uses_up(r, site, seen)
    r.check("metrics have it", site.gw.metric("culvert_ike_exchanges_total", exchange="counter_sync", reason="ok") == site.count("ok"))
    ends(r, site)
    peer.close()


report.run("ikev2_sync", body)

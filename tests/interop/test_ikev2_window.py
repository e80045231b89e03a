#!/usr/bin/python3
"""IKEv2: several requests at once (RFC 7296 §2.3), with a peer of our own (lib/pyike2), which has nothing of Culvert in it.

Time limit: 60 s
The peer sends five requests at once, the last one first, as begun by either side, and asks for each of the answers again.

    host 10.1.0.10 -- in0 [Culvert a] gw0 10.9.0.1 ---- cl0 10.9.0.2 [peer.py], 10.2.0.10 inside
"""
import struct
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import reaches  # noqa: E402
from lib.pyike2 import wire  # noqa: E402
from lib.pyike2.peer import Peer  # noqa: E402
from lib.traffic import ping  # noqa: E402

OWN, OTHER = sites.ADDRESS["b"], sites.ADDRESS["a"]
INSIDE, HOST = sites.HOST["b"], sites.HOST["a"]
WINDOW = 5
SUITES = {"ike": "aes256gcm16-prfsha256-x25519", "esp": "aes128gcm16-noesn-esn", "dpd_delay": "1h"}


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "cl0", f"{OWN}/16")
        self.gw = sites.culvert(lab, self.inside, "a", ["b"])
        self.peer = None

    def start(self, **more):
        self.gw.config["connections"] = sites.culvert_connection(self.gw, "a", "b", version=2, **SUITES, **more)
        self.gw.write()
        self.gw.start()

    def new_peer(self, window):
        if self.peer:
            self.peer.close()
        self.peer = Peer(self.outside, OWN, OTHER, sites.IDENTITY["b"], sites.SECRET, (sites.NET["b"], sites.NET["a"]), window=window)
        return self.peer

    def sa(self):
        return self.gw.ike_sas("to-b")[-1]

    def echoes(self):
        return self.peer.echo(INSIDE, HOST) and reaches(lambda: ping(self.host, INSIDE, count=1)[0], 15, "an echo")


def delete(spi):
    return wire.INFORMATIONAL, [(wire.DELETE, struct.pack(">BBH", wire.ESP, 4, 1) + spi)]


def at_once(r, site):
    """Two CHILD SAs, their Deletes, and nothing: in another order the Deletes would be of what is not there."""
    peer = site.peer
    one, two = b"\xc0\xde\x00\x01", b"\xc0\xde\x00\x02"
    peer.order.clear()
    sent = peer.burst([peer.child(one), peer.child(two), delete(one), delete(two), (wire.INFORMATIONAL, [])])
    numbers = list(sent)
    r.check("five requests at once, the last one first, are answered", all(peer.responses.get(n) for n in numbers), peer.order)
    r.check("... in the order of their IDs, each once", peer.order == numbers, f"{peer.order}, asked {numbers}")
    answers = [peer.responses[n][0][2] for n in numbers]
    r.check("... both CHILD SAs are made", all(wire.parse_sa(wire.only(a, wire.SA)) for a in answers[:2]))
    made = [wire.parse_sa(wire.only(a, wire.SA))[0].spi for a in answers[:2]]
    r.check("... and both Deletes name what was made", [wire.only(a, wire.DELETE)[4:] for a in answers[2:4]] == made, answers[2:4])
    r.check("... and nothing is answered with nothing", answers[4] == [], answers[4])
    return sent


def again(r, site, sent):
    peer = site.peer
    same = []
    for number, message in sent.items():
        before = len(peer.responses[number])
        peer.replay(message)
        reaches(lambda: len(peer.responses[number]) > before, 5, "the answer again")
        same.append([m for _, m, _ in peer.responses[number]] == [peer.responses[number][0][1]] * (before + 1))
    r.check("each of the five answers is sent again, byte for byte", same == [True] * WINDOW, same)
    r.check("one more request is answered", peer.request(wire.INFORMATIONAL, []) == [])
    first = min(sent)
    before = len(peer.responses[first])
    peer.replay(sent[first])
    r.check("... behind which the first of the five is forgotten", not reaches(lambda: len(peer.responses[first]) > before, 1, "an answer"))


def beyond(r, site):
    peer = site.peer
    before = site.gw.exchange_counts("unexpected")["informational"]
    r.check("a request beyond the window is not answered", peer.request(wire.INFORMATIONAL, [], patience=1, message_id=peer.next_id + WINDOW) is None)
    r.check("... and counted", reaches(lambda: site.gw.exchange_counts("unexpected")["informational"] == before + 1, 5, "the count"))
    last = peer.sealed(wire.INFORMATIONAL, peer.next_id + 1, [])
    peer.replay(last)
    r.check("one within it waits", not reaches(lambda: peer.responses.get(peer.next_id + 1), 1, "an answer"))
    r.check("... for the one that is due", peer.request(wire.INFORMATIONAL, []) == [] and reaches(lambda: peer.responses.get(peer.next_id), 5, "its answer"))
    peer.next_id += 1


def is_used(r, site, role):
    peer = site.peer
    r.check(f"{role}: Culvert says that it takes {WINDOW} requests at once", peer.peer_window == struct.pack(">I", WINDOW), peer.peer_window)
    r.check("... and list-sas says so, too", site.sa()["window"] == WINDOW, site.sa())
    again(r, site, at_once(r, site))
    beyond(r, site)
    r.check("echoes go both ways", site.echoes(), f"{peer.inbound.dropped} dropped, {peer.inbound.forged} forged")


def ends(r, site):
    site.gw.terminate("to-b")
    r.check("it ends in order", reaches(lambda: not site.gw.ike_sas("to-b"), 15, "the end"))
    r.check("the peer has met nothing that should not be", not site.peer.problems, site.peer.problems[:3])


def without(r, site):
    """The window of 1 that there is without a configuration."""
    peer = site.new_peer(WINDOW)
    r.check("a peer with a window connects to a gateway without", peer.connect(), peer.problems)
    r.check("which says nothing of windows", peer.peer_window is None and site.sa()["window"] == 1, peer.peer_window)
    early = peer.sealed(wire.INFORMATIONAL, peer.next_id + 1, [])
    peer.replay(early)
    r.check("... and answers one request at a time", peer.request(wire.INFORMATIONAL, []) == [] and not reaches(lambda: peer.responses.get(peer.next_id), 1, "an answer"))
    r.check("... sent again when it is due", peer.replay(early) or reaches(lambda: peer.responses.get(peer.next_id), 5, "its answer"))
    ends(r, site)


def body(r, lab):
    site = Site(lab)
    site.start(window=WINDOW)
    peer = site.new_peer(WINDOW)
    r.check("the peer connects", peer.connect(), peer.problems)
    is_used(r, site, "the peer has begun")
    ends(r, site)
    peer = site.new_peer(None)
    up, said = site.gw.initiate("to-b", "net", 30)
    r.check("Culvert connects", up and peer.up, said)
    is_used(r, site, "Culvert has begun")
    ends(r, site)
    site.gw.stop()
    site.start()
    without(r, site)
    peer.close()


report.run("ikev2_window", body)

"""The peer: one IKE SA with one CHILD SA, as initiator or as responder, by PSK, on port 500, with native ESP.

Its sockets are in a namespace of the laboratory, itself in the test's process: one thread answers what comes, while the test asks and looks.
"""
import collections
import ctypes
import os
import select
import socket
import struct
import threading
import time

from cryptography.exceptions import InvalidTag

from . import esp, keys, wire

IKE_PROPOSAL = (wire.Transform(1, 20, 256), wire.Transform(2, 5, 0), wire.Transform(4, wire.X25519, 0))
CLONE_NEWNET = 0x40000000
# `delta`: bytes of IPSEC_REPLAY_COUNTER_SYNC, None without it; `kinds`: of all payloads that were in the message
Sync = collections.namedtuple("Sync", "nonce m1 p1 delta kinds message")


def sockets_in(namespace, make):
    """What make() returns, which opens sockets, in another network namespace: they stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as here, open(f"/var/run/netns/{namespace.id}", "rb") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return make()
        finally:
            if libc.setns(here.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns back")


def esp_proposal(spi, esn):
    return wire.Proposal(1, wire.ESP, spi, (wire.Transform(1, 20, 128), wire.Transform(5, 1 if esn else 0, 0)))


class Peer:
    """`nets`: (behind this peer, behind the other one). `announce`: notifications for IKE_AUTH, without data. `window`: requests that it says it takes
    at once; None: it says nothing."""

    def __init__(self, namespace, own, other, identity, secret, nets, announce=(), esn=False, window=None):
        self.own, self.other, self.identity, self.secret, self.nets = own, other, identity, secret.encode(), nets
        self.announce, self.esn = [*map(wire.notify, announce)] + ([] if window is None else [wire.window_size(window)]), esn
        self.lock = threading.RLock()
        self.arrived = threading.Condition(self.lock)
        self.problems, self.inbound, self.outbound = [], None, None
        self.echoes = self.echo_requests = 0
        self.replies, self.syncs, self.sync_answers, self.informationals = [], [], [], []
        self.obeys_syncs = True
        self.ahead = []                                               # inner packets that it sends as responder before its answer to IKE_AUTH
        self._forget()

        def make():
            udp, raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_RAW, 50)
            udp.bind((own, 500))
            raw.bind((own, 0))
            return udp, raw
        self.udp, self.raw = sockets_in(namespace, make)
        self._stop = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        self._stop = True
        self._thread.join(10)
        self.udp.close()
        self.raw.close()

    def _forget(self):
        self.role, self.up = None, False
        self.spis, self.nonces, self.first = [None, None], [None, None], [None, None]       # of initiator, responder
        self.half = self.keys = self.seal = self.opener = None
        self.next_id, self.expected, self.highest_m1 = 0, 0, -1
        self.responses, self.last_answer, self.peer_announces = {}, (None, None), ()
        self.order, self.peer_window = [], None                       # message IDs of responses as they came; SET_WINDOW_SIZE of IKE_AUTH: its data

    def problem(self, text):
        self.problems.append(text)

    # ------------------------------------------------------------------------------------------------------------ receiving

    def _serve(self):
        while not self._stop:
            ready, _, _ = select.select([self.udp, self.raw], [], [], 0.1)
            with self.lock:
                for one in ready:
                    data, source = one.recvfrom(65536)
                    if source[0] != self.other:
                        continue
                    try:
                        self._on_esp(data[20:]) if one is self.raw else self._on_ike(data)
                    except (wire.WireError, InvalidTag, struct.error, ValueError) as error:
                        self.problem(f"{type(error).__name__}: {error}")
                    self.arrived.notify_all()

    def _send(self, message):
        self.udp.sendto(message, (self.other, 500))

    def _on_ike(self, message):
        h = wire.header(message)
        if h.exchange == wire.SA_INIT and not h.flags & wire.RESPONSE:
            return self._answer_init(message, h)
        if h.exchange == wire.SA_INIT:
            if h.spi_i == self.spis[0]:
                self.responses.setdefault(0, []).append((h, message, None))
            return None
        if [h.spi_i, h.spi_r] != self.spis:
            return None                                               # of an SA before this one
        payloads = self.opener.open(message)
        if h.flags & wire.RESPONSE:
            self.responses.setdefault(h.message_id, []).append((h, message, payloads))
            self.order.append(h.message_id)
            return None
        return self._on_request(h, message, payloads)

    def _on_request(self, h, message, payloads):
        if h.exchange == wire.INFORMATIONAL and h.message_id == 0 and any(n.type == wire.ID_SYNC for n in wire.notifies(payloads)):
            return self._on_sync(payloads, message)
        if h.message_id == self.last_answer[0]:
            return self._send(self.last_answer[1])
        if h.message_id != self.expected:
            return None
        if h.exchange == wire.AUTH_EXCHANGE:
            answer = self._answer_auth(payloads)
        else:
            self.informationals.append((h.exchange, payloads))
            answer = [] if h.exchange == wire.INFORMATIONAL else [wire.notify(wire.NO_PROPOSAL_CHOSEN)]
        sealed = self.seal.seal(self.spis, h.exchange, self._flags() | wire.RESPONSE, h.message_id, answer)
        self.last_answer, self.expected = (h.message_id, sealed), h.message_id + 1
        if h.exchange == wire.AUTH_EXCHANGE and self.up and self.ahead:
            for inner in self.ahead:
                self._send_esp(inner)
            time.sleep(0.02)
        return self._send(sealed)

    def _flags(self):
        return wire.INITIATOR if self.role == "initiator" else 0

    # ------------------------------------------------------------------------------------------------------------ asking

    def request(self, exchange, payloads, patience=15, message_id=None):
        """What the next request is answered with: [(type, body), ...]; None: nothing, in the time. With an ID of its own it is sent once."""
        with self.lock:
            apart = message_id is not None
            number = message_id if apart else self.next_id
            self.responses.pop(number, None)
            sealed = self.seal.seal(self.spis, exchange, self._flags(), number, payloads)
            if not apart:
                self.next_id += 1
        answers = self._await(number, sealed, patience, once=apart)
        return answers[0][2] if answers else None

    def _await(self, number, message, patience, once=False):
        end, again = time.monotonic() + patience, 0
        with self.lock:
            while not self.responses.get(number) and time.monotonic() < end:
                if time.monotonic() >= again and not (once and again):
                    self._send(message)
                    again = time.monotonic() + 1
                self.arrived.wait(0.2)
            return self.responses.get(number)

    def replay(self, message):
        """Sends bytes that were sent before, or are no message at all."""
        with self.lock:
            self._send(message)

    def burst(self, requests, patience=10):
        """The next requests, [(exchange, payloads), ...], all at once, the last one first, each sent once: {message ID: its bytes}, in ascending order."""
        with self.lock:
            sealed = {self.next_id + n: self.seal.seal(self.spis, exchange, self._flags(), self.next_id + n, payloads) for n, (exchange, payloads) in enumerate(requests)}
            self.next_id += len(requests)
            for number in reversed(sealed):
                self.responses.pop(number, None)
                self._send(sealed[number])
            end = time.monotonic() + patience
            while not all(self.responses.get(number) for number in sealed) and time.monotonic() < end:
                self.arrived.wait(0.2)
            return sealed

    def child(self, spi):
        """CREATE_CHILD_SA for another CHILD SA with our inbound SPI `spi`, of the same traffic."""
        return wire.CREATE_CHILD_SA, [wire.sa([esp_proposal(spi, self.esn)]), (wire.NONCE, os.urandom(32)), wire.selectors(wire.TSI, self.nets[:1]),
                                      wire.selectors(wire.TSR, self.nets[1:])]

    def sealed(self, exchange, message_id, payloads):
        with self.lock:
            return self.seal.seal(self.spis, exchange, self._flags(), message_id, payloads)

    # ------------------------------------------------------------------------------------------------------------ IKE_SA_INIT, IKE_AUTH

    def connect(self, patience=30):
        """As initiator. Whether all is up."""
        with self.lock:
            self._forget()
            self.role, self.half = "initiator", keys.HalfExchange()
            self.spis, self.nonces = [os.urandom(8), bytes(8)], [os.urandom(32), None]
            first, body = wire.chain([wire.sa([wire.Proposal(1, wire.IKE, b"", IKE_PROPOSAL)]), wire.ke(self.half.public), (wire.NONCE, self.nonces[0])])
            self.first[0] = wire.pack_header(*self.spis, first, wire.SA_INIT, wire.INITIATOR, 0, 28 + len(body)) + body
        answers = self._await(0, self.first[0], patience)
        if not answers:
            return False
        with self.lock:
            h, self.first[1], _ = answers[0]
            payloads = wire.unchain(h.next_payload, self.first[1][28:])
            chosen = wire.parse_sa(wire.only(payloads, wire.SA))
            if len(chosen) != 1 or set(chosen[0].transforms) != set(IKE_PROPOSAL):
                return self.problem(f"IKE_SA_INIT chooses {chosen}")
            self.spis[1], self.nonces[1], self.next_id = h.spi_r, wire.only(payloads, wire.NONCE), 1
            self._derive(self.half.shared(wire.only(payloads, wire.KE)[4:]))
            mine = os.urandom(4)
            name = wire.identity(wire.IDI, self.identity)
            asks = [name, keys.psk_auth(self.secret, self.first[0], self.nonces[1], self.keys.pi, name[1]), wire.notify(wire.INITIAL_CONTACT),
                    *self.announce, wire.sa([esp_proposal(mine, self.esn)]), wire.selectors(wire.TSI, self.nets[:1]),
                    wire.selectors(wire.TSR, self.nets[1:])]
        answer = self.request(wire.AUTH_EXCHANGE, asks, patience)
        with self.lock:
            return bool(answer) and self._proven(answer, wire.IDR, self.keys.pr, self.first[1], self.nonces[0]) and self._begin_child(answer, mine)

    def _derive(self, shared):
        self.keys = keys.IkeKeys(shared, self.nonces, self.spis)
        ours, theirs = (self.keys.ei, self.keys.er) if self.role == "initiator" else (self.keys.er, self.keys.ei)
        self.seal, self.opener = keys.Sealer(ours), keys.Sealer(theirs)

    def _proven(self, payloads, kind, key, message, nonce):
        """Whether the other side has our secret."""
        if wire.only(payloads, wire.AUTH) != keys.psk_auth(self.secret, message, nonce, key, wire.only(payloads, kind))[1]:
            self.problem("its AUTH is not of our secret")
            return False
        self.peer_announces = tuple(n.type for n in wire.notifies(payloads))
        self.peer_window = next((n.data for n in wire.notifies(payloads) if n.type == wire.SET_WINDOW_SIZE), None)
        return True

    def _begin_child(self, payloads, mine):
        """`payloads` have the other side's half, `mine` is our inbound SPI."""
        proposals, expected = wire.parse_sa(wire.only(payloads, wire.SA)), set(esp_proposal(b"", self.esn).transforms)
        # As responder we are offered more than one thing: what we know must be a part of it.
        one = next((p for p in proposals if p.protocol == wire.ESP and (expected <= set(p.transforms) if self.role == "responder" else expected == set(p.transforms))), None)
        if not one:
            return bool(self.problem(f"no ESP as it should be: {proposals}"))
        of_initiator, of_responder = keys.child_keys(self.keys.d, self.nonces)
        out, back = (of_initiator, of_responder) if self.role == "initiator" else (of_responder, of_initiator)
        self.outbound, self.inbound = esp.Outbound(one.spi, out, self.esn), esp.Inbound(mine, back, self.esn)
        self.up = True
        return True

    def _answer_init(self, message, h):
        if message == self.first[0]:
            return self._send(self.first[1])
        self._forget()
        self.role, self.half = "responder", keys.HalfExchange()
        payloads = wire.unchain(h.next_payload, message[28:])
        offered = next((p for p in wire.parse_sa(wire.only(payloads, wire.SA)) if set(IKE_PROPOSAL) <= set(p.transforms)), None)
        if not offered:
            return self.problem("IKE_SA_INIT offers nothing that we know")
        self.spis, self.nonces = [h.spi_i, os.urandom(8)], [wire.only(payloads, wire.NONCE), os.urandom(32)]
        first, body = wire.chain([wire.sa([wire.Proposal(offered.number, wire.IKE, b"", IKE_PROPOSAL)]), wire.ke(self.half.public), (wire.NONCE, self.nonces[1])])
        self.first = [message, wire.pack_header(*self.spis, first, wire.SA_INIT, wire.RESPONSE, 0, 28 + len(body)) + body]
        self._derive(self.half.shared(wire.only(payloads, wire.KE)[4:]))
        self.expected = 1
        return self._send(self.first[1])

    def _answer_auth(self, payloads):
        if not self._proven(payloads, wire.IDI, self.keys.pi, self.first[0], self.nonces[1]):
            return [wire.notify(wire.AUTHENTICATION_FAILED)]
        mine, name = os.urandom(4), wire.identity(wire.IDR, self.identity)
        if not self._begin_child(payloads, mine):
            return [wire.notify(wire.NO_PROPOSAL_CHOSEN)]
        said = wire.parse_selectors(wire.only(payloads, wire.TSI)), wire.parse_selectors(wire.only(payloads, wire.TSR))
        wanted = tuple(wire.parse_selectors(wire.selectors(0, [net])[1]) for net in reversed(self.nets))
        if said != wanted:
            self.problem(f"selectors {said}, expected were {wanted}")
        return [name, keys.psk_auth(self.secret, self.first[1], self.nonces[0], self.keys.pr, name[1]), *self.announce,
                wire.sa([esp_proposal(mine, self.esn)]), wire.selectors(wire.TSI, self.nets[1:]), wire.selectors(wire.TSR, self.nets[:1])]

    # ------------------------------------------------------------------------------------------------------------ RFC 6311

    def sync(self, m1, p1, delta=None, patience=10, more=()):
        """As requester: (whether the nonce is ours, P2, M2), which count from then on; None: no answer."""
        nonce = os.urandom(4)
        payloads = [wire.id_sync(nonce, m1, p1)] + ([wire.notify(wire.REPLAY_SYNC, delta)] if delta is not None else []) + list(more)
        answer = self.request(wire.INFORMATIONAL, payloads, patience, message_id=0)
        if answer is None:
            return None
        with self.lock:
            said, p2, m2 = wire.parse_id_sync(answer)
            if len(answer) != 1:
                self.problem(f"the answer has {len(answer)} payloads")
            self.next_id, self.expected, self.last_answer = m2, p2, (None, None)
            return said == nonce, p2, m2

    def _on_sync(self, payloads, message):
        """The other side asks (RFC 6311 §5.1): what was seen before is dropped; each side's next ID is the higher of what is known of it."""
        nonce, m1, p1 = wire.parse_id_sync(payloads)
        delta = [n.data for n in wire.notifies(payloads) if n.type == wire.REPLAY_SYNC]
        if len(delta) > 1:
            self.problem("two of IPSEC_REPLAY_COUNTER_SYNC")
        self.syncs.append(Sync(nonce, m1, p1, delta[0] if delta else None, [k for k, _ in payloads], message))
        if not self.obeys_syncs:
            return None
        if m1 <= max(self.highest_m1, self.expected - 1):
            return None
        p2, m2 = max(p1, self.next_id), max(m1, self.expected)
        self.highest_m1, self.next_id, self.expected, self.last_answer = m1, p2, m2, (None, None)
        if delta:
            self.outbound.sequence += int.from_bytes(delta[0], "big")
        answer = self.seal.seal(self.spis, wire.INFORMATIONAL, self._flags() | wire.RESPONSE, 0, [wire.id_sync(nonce, p2, m2)])
        self.sync_answers.append((p2, m2, answer))
        return self._send(answer)

    # ------------------------------------------------------------------------------------------------------------ ESP

    def _on_esp(self, packet):
        if not self.inbound or packet[:4] != self.inbound.spi:
            return
        inner = self.inbound.open(packet)
        found = esp.parse_echo(inner) if inner else None
        if not found:
            return
        source, destination, kind, identifier, number, data = found
        if kind == esp.ECHO_REQUEST:
            self.echo_requests += 1
            self._send_esp(esp.echo(destination, source, esp.ECHO_REPLY, identifier, number, data))
        elif kind == esp.ECHO_REPLY:
            self.replies.append(found)

    def _send_esp(self, inner):
        self.raw.sendto(self.outbound.seal(inner), (self.other, 0))

    def echo(self, source, destination, patience=10):
        """Whether an echo comes back through the tunnel as it should; asked again each second."""
        with self.lock:
            self.echoes += 1
            data = os.urandom(56)
            wanted = (destination, source, esp.ECHO_REPLY, 77, self.echoes, data)
            end, again = time.monotonic() + patience, 0
            while wanted not in self.replies and time.monotonic() < end:
                if time.monotonic() >= again:
                    self._send_esp(esp.echo(source, destination, esp.ECHO_REQUEST, 77, self.echoes, data))
                    again = time.monotonic() + 1
                self.arrived.wait(0.2)
            return wanted in self.replies

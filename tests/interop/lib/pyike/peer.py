"""The peer that a test has: sockets in a namespace, one thread that answers, and methods by which the test acts and sees.

    peer = Peer(namespace, "10.9.1.1", "10.9.0.1", identity, their identity, secret)
    peer.child("net", near="10.2.1.0/24", far="10.1.1.0/24", suite=packets.suite("aes256gmac", wire.AH))
    peer.main(); pair = peer.quick("net"); peer.ping(pair, "10.1.1.10")

It answers what the gateway begins, and every echo that comes through a pair to the near net. `faults` has all that was not as the RFCs say: a test
expects it to be empty, or to be what it has asked for.
"""
import collections
import ctypes
import ipaddress
import os
import select
import socket
import threading
import time

from ..lab import LabError, wait_for
from . import aggressive, exchanges, packets, wire

CLONE_NEWNET = 0x40000000
REPEAT, TRIES, PATIENCE = 1.0, 12, 20                                   # seconds; times; seconds
Heard = collections.namedtuple("Heard", "exchange message_id notify")


def sockets_within(namespace, address):
    """UDP port 500, what comes as ESP, what comes as AH, and one for whole packets; made by a thread that has gone into the namespace."""
    made, family = [], socket.AF_INET6 if ":" in address else socket.AF_INET

    def make():
        with open(f"/run/netns/{namespace.id}", "rb") as f:
            if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
                return
        for kind, protocol in ((socket.SOCK_DGRAM, 0), (socket.SOCK_RAW, 50), (socket.SOCK_RAW, 51), (socket.SOCK_RAW, socket.IPPROTO_RAW)):
            made.append(socket.socket(family, kind, protocol))
        for one, port in zip(made[:3], (500, 0, 0)):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            one.bind((address, port))
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if len(made) != 4:
        raise LabError(f"no sockets in {namespace.id} for {address}")
    return made


class Child:
    """What is wanted of a child, and what is to be said of it. `life`: offered, {unit: number}; `told`: attributes of RESPONDER-LIFETIME in message 2;
    `commit`: the bit is set in our messages; `notes`: more payloads of message 1; `identities`: whether that has any; `decoys`:
    proposals in front of the one that is meant."""

    def __init__(self, near, far, suite, transport):
        self.near, self.far, self.suite, self.transport = ipaddress.ip_network(near), ipaddress.ip_network(far), suite, transport
        self.life, self.told, self.commit, self.notes, self.identities, self.decoys = {wire.SECONDS: 3600}, [], False, [], True, []


class Exchange:
    """One under way, or over. An initiator repeats its last message until the next one comes; a responder when what it answers comes again."""

    def __init__(self, steps, by_us):
        self.steps, self.by_us, self.last_in, self.last_out, self.repeat_at, self.tries, self.done = steps, by_us, None, None, None, 0, False


class Peer:
    def __init__(self, namespace, address, remote, identity, remote_identity, secret, suite=(256, 4, 19)):
        self.address, self.remote, self.identity, self.remote_identity, self.secret = address, remote, identity, remote_identity, secret.encode()
        self.suite, self.children = suite, {}
        self.isakmp_life, self.isakmp_told, self.commit_in_phase_1 = {wire.SECONDS: 14400}, [], False
        self.isakmps, self.pairs, self.notifies, self.deletes, self.faults = [], [], [], [], []
        self.answers, self.echoes, self.aggressive, self.offered_spi = set(), 0, False, None
        self.exchanges, self.ended = {}, False
        self.lock = threading.RLock()
        self.udp, self.esp, self.ah, self.out = sockets_within(namespace, address)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        namespace.lab.on_exit(self.close)

    def close(self):
        self.ended = True
        self.thread.join(5)
        for one in (self.udp, self.esp, self.ah, self.out):
            one.close()

    def child(self, name, near, far, suite, transport=False):
        self.children[name] = Child(near, far, suite, transport)
        return self.children[name]

    # ---- what a test does

    def main(self):
        """Main or Aggressive Mode as initiator, to its end."""
        cookie = os.urandom(8)
        steps = aggressive.initiator if self.aggressive else exchanges.main_initiator
        self._begin((cookie, 0), steps(self, cookie))
        return next(i for i in self.isakmps if i.cookies[0] == cookie)

    def quick(self, name, isakmp=None):
        """Quick Mode as initiator, to its end."""
        isakmp, number = isakmp or self.isakmp(), int.from_bytes(os.urandom(4), "big") | 1
        self._begin((isakmp.cookies[0], number), exchanges.quick_initiator(self, isakmp, number, self.children[name]))
        return next(p for p in self.pairs if p.message_id == number)

    def refused(self, name):
        """Begins a Quick Mode that ends with an error notification; returns that, and the SPI that was offered."""
        before, number = len(self.errors()), int.from_bytes(os.urandom(4), "big") | 1
        with self.lock:
            x = self.exchanges[self.isakmp().cookies[0], number] = Exchange(exchanges.quick_initiator(self, self.isakmp(), number, self.children[name]), True)
            self._send(next(x.steps))
        wait_for(lambda: len(self.errors()) > before, PATIENCE, "an error notification")
        return self.errors()[-1], self.offered_spi

    def errors(self):
        """Proven error notifications (RFC 2408 §3.14.1)."""
        return [h.notify for h in self.notifies if h.exchange == wire.INFORMATIONAL and h.notify.type < 8192]

    def isakmp(self):
        """The latest one that lives."""
        return next(i for i in reversed(self.isakmps) if i.alive)

    def pair(self, name):
        """The latest one of a child that lives, or None."""
        return next((p for p in reversed(self.pairs) if p.alive and p.child is self.children[name]), None)

    @staticmethod
    def inside(child):
        """The address that echoes come from."""
        return str(child.near[min(1, child.near.num_addresses - 1)])

    def say(self, payloads, isakmp=None, message_id=None, proof=None):
        """An Informational exchange. `proof`: instead of the right hash."""
        with self.lock:
            number = message_id or int.from_bytes(os.urandom(4), "big") | 1
            self._send(exchanges.Phase2(isakmp or self.isakmp(), wire.INFORMATIONAL, number).seal(payloads, proof=proof))

    def say_in_clear(self, payloads, isakmp=None, message_id=0):
        self._send(wire.message((isakmp or self.isakmp()).cookies, wire.INFORMATIONAL, 0, message_id, *wire.chain(payloads)))

    def connected(self, pair):
        """CONNECTED as a payload (RFC 2408 §3.1); its exchange has the message id of the Quick Mode."""
        return [(wire.NOTIFY, wire.notify(wire.CONNECTED, pair.child.suite.protocol, pair.inbound.spi))]

    def say_fourth(self, pair):
        """CONNECTED as a fourth message of its Quick Mode, as some write it."""
        with self.lock:
            self._send(pair.phase_2.seal(self.connected(pair), flags=wire.COMMIT))

    def delete(self, pairs):
        """One Delete for all of them; they must be of one protocol."""
        self.say([(wire.DELETE, wire.delete(pairs[0].child.suite.protocol, [p.inbound.spi for p in pairs]))])
        for pair in pairs:
            pair.alive = False

    def packet(self, pair, to, number=None, data=b"culvert" * 8):
        """An echo request to `to` in a packet of the pair, not sent yet: (packet, its name among the answers)"""
        with self.lock:
            self.echoes += 1
            name = int.from_bytes(pair.outbound.spi[2:], "big"), self.echoes
            return pair.outbound.seal(packets.echo(8, self.inside(pair.child), to, *name, data), number), name

    def send(self, packet):
        self.out.sendto(packet, (self.remote, 0))

    def ping(self, pair, to, sizes=(56, 57, 1330), seconds=10):
        """Whether all echoes through the pair are answered."""
        names = set()
        for size in sizes:
            packet, name = self.packet(pair, to, data=os.urandom(size))
            names.add(name)
            self.send(packet)
        try:
            return wait_for(lambda: names <= self.answers, seconds, "answers")
        except LabError:
            return False

    # ---- what exchanges say

    def established(self, isakmp):
        if self.isakmps:
            self.isakmps[-1].alive_when_replaced = self.isakmps[-1].alive
        self.isakmps.append(isakmp)

    def installed(self, pair):
        pair.since = time.monotonic()
        self.pairs.append(pair)

    def paired(self, pair):
        pair.beside = [p for p in self.pairs if p.alive and p.child is pair.child and p is not pair]
        pair.at = time.monotonic()

    def heard(self, exchange, message_id, found):
        self.notifies += [Heard(exchange, message_id, wire.read_notify(body)) for body in wire.every(found, wire.NOTIFY)]

    # ---- the thread

    def _run(self):
        while not self.ended:
            ready, _, _ = select.select([self.udp, self.esp, self.ah], [], [], 0.05)
            with self.lock:
                for one in ready:
                    try:
                        self._ike(one.recv(65535)) if one is self.udp else self._packet(self._whole(one), one is self.ah)
                    except (wire.Malformed, packets.Refused, ValueError) as error:
                        self.faults.append(f"{self.identity}: {error}")
                for x in self.exchanges.values():
                    if x.repeat_at and time.monotonic() >= x.repeat_at:
                        x.tries += 1
                        x.repeat_at = time.monotonic() + REPEAT if x.tries < TRIES else None
                        self._send(x.last_out)

    def _send(self, message):
        self.udp.sendto(message, (self.remote, 500))

    def _begin(self, key, steps):
        with self.lock:
            x = self.exchanges[key] = Exchange(steps, True)
            x.last_out = next(steps)
            x.repeat_at = time.monotonic() + REPEAT
            self._send(x.last_out)
        wait_for(lambda: x.done, PATIENCE, f"an exchange of {self.identity} to end; notifications: {self.notifies}, faults: {self.faults}")

    def _ike(self, data):
        head = wire.header(data)
        if head.exchange == wire.INFORMATIONAL:
            return self._informational(head, data)
        key = head.cookie_i, head.message_id
        x = self.exchanges.get(key)
        if x and data == x.last_in:
            return self._send(x.last_out) if x.last_out else None
        if x is None:
            if head.exchange == (wire.AGGRESSIVE_MODE if self.aggressive else wire.MAIN_MODE):
                steps = aggressive.responder if self.aggressive else exchanges.main_responder
                x = Exchange(steps(self, (head, data)), False)
            else:
                isakmp = next((i for i in self.isakmps if i.cookies == (head.cookie_i, head.cookie_r)), None)
                if head.exchange != wire.QUICK_MODE or isakmp is None:
                    raise wire.Malformed(f"exchange {head.exchange} of cookies that are not known")
                x = Exchange(exchanges.quick_responder(self, isakmp, (head, data)), False)
            step = None
        else:
            if x.done:
                return None
            step = head, data
        x.last_in, x.repeat_at = data, None
        try:
            x.last_out = x.steps.send(step)
            x.repeat_at = time.monotonic() + REPEAT if x.by_us else None
        except StopIteration as end:
            x.last_out, x.done = end.value, True
        self.exchanges[key] = x
        if x.last_out:
            self._send(x.last_out)

    def _informational(self, head, data):
        isakmp = next((i for i in self.isakmps if i.cookies == (head.cookie_i, head.cookie_r)), None)
        if not head.flags & wire.ENCRYPTED or isakmp is None:
            found, _ = wire.payloads(head.next, data[wire.HEADER.size:]) if not head.flags & wire.ENCRYPTED else ([], 0)
            return self.heard("clear", head.message_id, found)
        found = exchanges.Phase2(isakmp, wire.INFORMATIONAL, head.message_id).open((head, data))
        self.heard(wire.INFORMATIONAL, head.message_id, found)
        for n in map(wire.read_notify, wire.every(found, wire.NOTIFY)):
            if n.type == wire.R_U_THERE:
                self.say([(wire.NOTIFY, wire.notify(wire.R_U_THERE_ACK, wire.ISAKMP, n.spi, n.data))], isakmp)
        for d in map(wire.read_delete, wire.every(found, wire.DELETE)):
            self.deletes.append(d)
            isakmp.alive = isakmp.alive and d.protocol != wire.ISAKMP
            for pair in self.pairs:
                if pair.child.suite.protocol == d.protocol and pair.outbound.spi in d.spis:
                    pair.alive = False

    def _whole(self, one):
        """A packet with its outer header: of IPv6 the kernel keeps it, but all of it that is covered is known."""
        data, source = one.recvfrom(65535)
        if ":" in self.address:
            return packets.ip_header(source[0], self.address, packets.PROTOCOL[wire.AH if one is self.ah else wire.ESP], len(data)) + data
        return data

    def _packet(self, packet, ah):
        at = (40 if ":" in self.address else 20) + (4 if ah else 0)
        spi = packet[at:at + 4]
        pair = next((p for p in self.pairs if p.inbound.spi == spi), None)
        if pair is None:
            raise packets.Refused(f"SPI {spi.hex()} is not known")
        pair.last_packet = packet
        inner = pair.inbound.open(packet)
        found = packets.read_echo(inner)
        if not found:
            return
        said, data = found
        if said.kind == 0:
            self.answers.add((said.id, said.number))
        elif ipaddress.ip_address(said.destination) in pair.child.near and pair.alive:
            self.send(pair.outbound.seal(packets.echo(0, said.destination, said.source, said.id, said.number, data)))

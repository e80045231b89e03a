"""Streams under one SA whose crypto all workers share (rule spread): order and number of what comes out, read from the far end's raw socket."""
import os
import select
import time

from rig import PATIENCE
from scapy.all import IP, UDP, Ether, Raw

LAN, WAN, FAR = "10.1.0.10", "10.9.0.2", "10.2.0.5"
STREAM, CHUNK, READ_EACH = 2000, 250, 20


def stream(rig):
    """Frames of one flow, each with its number in its IP header and its payload, of many sizes."""
    return [bytes(Ether(src=rig.lan.mac, dst=rig.lan.gateway_mac) /
                  IP(src=LAN, dst=FAR, id=n) / UDP(sport=5, dport=9) / Raw(n.to_bytes(2, "big") + os.urandom((n * 37) % 1200))) for n in range(STREAM)]


def read(host, quiet=0.4, wanted=0):
    """What comes until nothing does, though it may take its time until so many have come."""
    out, end = [], time.monotonic() + PATIENCE
    while select.select([host.socket], [], [], quiet)[0] or (len(out) < wanted and time.monotonic() < end):
        while select.select([host.socket], [], [], 0)[0]:
            data, where = host.socket.recvfrom(65536)
            if where[2] != 4:  # PACKET_OUTGOING
                out.append(data)
    return out


def send(host, frames, far):
    """In bursts that fill the worker's, and the ring never; what has come out at the far end."""
    out = []
    for at in range(0, len(frames), CHUNK):
        for frame in frames[at:at + CHUNK]:
            host.socket.send(frame)
        out += read(far, 0.01, at + CHUNK // 2 - len(out))
    return out


def dropped(rig, before):
    return sum(after - before.get(reason, 0) for reason, after in rig.client.drops().items())


def outbound(rig, slot, sa, suite):
    read(rig.wan, 0.05)
    rig.wan.announce(WAN)
    rig.lan.send(IP(src=LAN, dst=FAR) / UDP(dport=9))
    assert rig.wan.expect(lambda p: p.proto == 50), suite  # the neighbour is known from here on
    before = rig.client.drops()
    came = send(rig.lan, stream(rig), rig.wan)
    came += read(rig.wan, wanted=STREAM - len(came) - dropped(rig, before))
    esp = [frame[14:] for frame in came if frame[12:14] == b"\x08\x00" and frame[23] == 50 and frame[34:38] == (0x1000 + slot).to_bytes(4, "big")]
    numbers = [int.from_bytes(packet[24:28], "big") for packet in esp]
    after = rig.client.drops()
    lost = {k: after[k] - before.get(k, 0) for k in after if after[k] != before.get(k, 0)}
    assert numbers == sorted(set(numbers)), f"{suite}: sequence numbers on the wire are not in order"
    assert len(numbers) + sum(lost.values()) == STREAM, f"{suite}: {len(numbers)} of {STREAM} came out, dropped: {lost}"
    inside = [sa.decrypt(IP(packet))[IP].id for packet in esp[::READ_EACH]]
    assert inside == sorted(set(inside)), f"{suite}: what is inside is not in order: {inside}"


def inbound(rig, sealed, suite):
    """Every tenth comes twice, every seventh three late."""
    frames = [bytes(Ether(src=rig.wan.mac, dst=rig.wan.gateway_mac, type=0x0800)) + packet for packet in sealed]
    order = sorted(range(len(frames)), key=lambda n: n + (3.5 if n % 7 == 0 else 0))
    doubled = [n for i, n in enumerate(order) for n in ([n, order[max(0, i - 5)]] if i % 10 == 0 else [n])]
    first = list(dict.fromkeys(doubled))
    rig.lan.announce(LAN)
    rig.wan.frame(frames[doubled[0]])
    assert rig.lan.expect(lambda p: p.src == FAR), suite
    before = rig.client.drops()
    came = send(rig.wan, [frames[n] for n in doubled], rig.lan)
    came += read(rig.lan, wanted=len(first) - 1 - len(came))
    got = [int.from_bytes(frame[18:20], "big") - 1 for frame in came if frame[12:14] == b"\x08\x00" and frame[26:30] == bytes((10, 2, 0, 5))]
    assert got == first[1:], f"{suite}: what came out of the tunnel is not what went in, once and in order: {got} and not {first}"
    assert rig.dropped(before, esp_replay=len(doubled) - len(first) + 1), suite


def flood(rig):
    for frame in stream(rig)[:1000]:
        rig.lan.socket.send(frame)

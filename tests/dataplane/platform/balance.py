"""In = out + drops by reason, exactly: the whole data plane's books, at rest and while far more comes than it can carry.

What the kernel counted on the far ends of the two cables is compared with what the data plane's counters say became of it.
"""
import os
import random
import subprocess
import time

from scapy.all import ICMP, IP, UDP, Ether, Raw


def books(rig):
    return dict((k, int(v)) for k, v in (w.split("=") for w in rig.client.ask("balance").split()))


def cables(rig):
    """Packets that the far ends sent and received."""
    sent = received = 0
    for namespace, interface in ((rig.namespaces[1], "h0"), (rig.namespaces[2], "w0")):
        for direction in "tx", "rx":
            text = subprocess.run(["ip", "netns", "exec", namespace, "cat", f"/sys/class/net/{interface}/statistics/{direction}_packets"],
                                  capture_output=True, text=True, check=True).stdout
            if direction == "tx":
                sent += int(text)
            else:
                received += int(text)
    return sent, received


def settled(rig, seconds=8):
    """The books once nothing moves any more: neighbours have answered or failed, rings are empty."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        now = books(rig)
        if now == last and now["rx"] + now["generated"] == now["tx"] + now["consumed"] + now["dropped"]:
            return now
        last = now
        time.sleep(0.6)  # the ports' own counters are read twice a second
    return last


def balanced(rig):
    b = settled(rig)
    assert b["rx"] + b["generated"] == b["tx"] + b["consumed"] + b["dropped"], f"the books do not balance: {b}"
    return b


def balanced_with_cables(rig, seconds=20):
    """Both, of one moment: a neighbour may be asked after between the two looks."""
    end = time.monotonic() + seconds
    while True:
        there = cables(rig)
        books_then = balanced(rig)
        if cables(rig) == there or time.monotonic() > end:
            return books_then, there


RING = 2048  # frames that may wait: half of what a port's af_packet ring holds; what overflows it the driver does not count


def flood(rig, esp, seconds):
    """As much as this process can send and the ports' rings can hold, from both sides, of everything: forwarded, encrypted, decrypted, answered, refused."""
    lan, wan = rig.lan, rig.wan

    def out(packet):
        return bytes(Ether(src=lan.mac, dst=lan.gateway_mac) / packet)

    def back(packet):
        return bytes(Ether(src=wan.mac, dst=wan.gateway_mac) / packet)

    size = 900
    from_lan = [out(IP(src="10.1.0.10", dst=dst, **ip) / upper / Raw(os.urandom(size))) for dst, ip, upper in (
        ("198.51.100.7", {}, UDP(dport=9)), ("10.2.0.5", {}, UDP(dport=9)), ("10.2.0.6", {"flags": "DF"}, UDP(dport=9)),
        ("198.51.100.7", {"ttl": 1}, UDP(dport=9)), ("192.0.2.9", {}, UDP(dport=9)), ("198.51.100.66", {}, UDP(dport=9)),
        ("10.1.0.1", {}, ICMP(seq=1)), ("127.0.0.1", {}, UDP(dport=9)), ("10.4.0.9", {}, UDP(dport=9)))]
    from_lan += [out(IP(src="10.1.0.10", dst="10.2.0.7") / UDP(dport=9) / Raw(os.urandom(1420))),        # fragments under its SA
                 out(IP(src="10.1.0.10", dst="10.2.0.7", flags="DF") / UDP(dport=9) / Raw(os.urandom(1420))), from_lan[0][:20]]
    from_wan = [back(p) for p in esp] + [back(IP(src="10.9.0.2", dst="10.9.0.1", proto=50) / Raw(os.urandom(80))), back(esp[0])[:60],
                                         back(IP(src="10.9.0.2", dst="10.9.0.1") / UDP(sport=500, dport=500) / Raw(os.urandom(60)))]
    sent, received = 0, books(rig)["rx"]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for host, frames in ((lan, from_lan), (wan, from_wan)):
            random.shuffle(frames)
            for _ in range(20):
                for frame in frames:
                    host.socket.send(frame)
            sent += 20 * len(frames)
            while sent - (books(rig)["rx"] - received) > RING and time.monotonic() < end + 30:
                pass

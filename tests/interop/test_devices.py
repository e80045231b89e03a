#!/usr/bin/python3
"""Ports that are no af_packet ones: memif between two Culverts, AF_XDP and pcap devices on veths, and a TAP, each with real hosts' packets.

    host a 10.1.0.10 -- in0 (AF_XDP) [Culvert a] ==== memif ==== [Culvert b] in0 (pcap) -- host b 10.2.0.10
                                                                             \\- tap0 (TAP)  10.4.0.10, the kernel of b's namespace

Time limit: 60 s. Mostly waits.
Echoes of all sizes both ways (fragments, too) and a TCP transfer through each pair of devices; the end of the memif that listens is killed and returns;
the link of the AF_XDP port goes down and returns. Where the kernel has no AF_XDP, that port is af_packet's, and the reason is said.
"""
import socket
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

TAP_NET, TAP_GATEWAY, TAP_HOST = "10.4.0.0/16", "10.4.0.1", "10.4.0.10"
SIZES = (0, 56, 1350, 4000)
TRANSFER = """
import socket, sys, threading
server = len(sys.argv) == 3
blob = bytes(range(256)) * 8192
if server:
    s = socket.create_server((sys.argv[1], int(sys.argv[2])))
    s.settimeout(20)
    c, _ = s.accept()
    got = b''
    while len(got) < len(blob):
        part = c.recv(65536)
        if not part: break
        got += part
    c.sendall(b'same' if got == blob else b'other')
else:
    c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
    c.settimeout(20)
    c.sendall(blob)
    print(c.recv(10).decode())
"""


def af_xdp():
    """Why the kernel has no AF_XDP sockets; empty: it has."""
    try:
        socket.socket(44, socket.SOCK_RAW).close()
    except OSError as error:
        return str(error)
    return ""


def connection(gw, letter, peer):
    made = sites.culvert_connection(gw, letter, peer, start="trap", dpd_delay="2s", dpd_timeout="10s")
    made[f"to-{peer}"]["children"]["net"]["local_ts" if letter == "b" else "remote_ts"] = [sites.NET["b"], TAP_NET]
    return made


def build(lab, a_device):
    two = sites.TwoCulverts(lab, connection)
    a, b = two.gateway["a"], two.gateway["b"]
    memif = lab.path("memif.sock")
    a.config["ports"]["wan"]["device"] = f"net_memif0,role=server,id=1,socket={memif},socket-abstract=no"
    b.config["ports"]["wan"]["device"] = f"net_memif0,role=client,id=1,socket={memif},socket-abstract=no"
    a.config["ports"]["lan"]["device"] = a_device
    b.config["ports"]["lan"]["device"] = "net_pcap1,rx_iface_in=in0,tx_iface=in0"
    b.config["ports"]["tap"] = {"device": "net_tap0,iface=tap0", "addresses": [f"{TAP_GATEWAY}/16"]}
    a.config["routes"].append({"to": TAP_NET, "via": sites.ADDRESS["b"]})
    for gw in (a, b):
        gw.write()
    return two, a, b


def host_on_tap(inside):
    inside.address("tap0", f"{TAP_HOST}/16")
    inside.sh("ip", "link", "set", "tap0", "up")
    inside.route("default", TAP_GATEWAY)


def echoes(r, what, host, target):
    lost = [size for size in SIZES if not ping(host, target, size=size, count=3, interval=0.05)[0]]
    r.check(f"{what}: echoes of {', '.join(map(str, SIZES))} bytes", not lost, f"lost: {lost}" if lost else "")


def transfer(r, what, client, server, address, port):
    serving = server.start(f"tcp-{port}", "/usr/bin/python3", "-c", TRANSFER, address, port)
    wait_for(lambda: f":{port}" in server.sh("ss", "-ltnH"), 5, "the TCP server")
    said = client.sh("/usr/bin/python3", "-c", TRANSFER, address, port, "client", seconds=30, check=False).strip()
    serving.wait(10)
    r.check(f"{what}: 2 MB over TCP, byte for byte", said == "same", said[-200:])


def body(r, lab):
    why = af_xdp()
    if why:
        r.skip("AF_XDP", f"this kernel has no such sockets ({why}); af_packet takes its place")
    two, a, b = build(lab, "net_af_packet1,iface=in0" if why else "net_af_xdp1,iface=in0")
    a.start_dataplane()
    b.start_dataplane()
    host_on_tap(two.inside["b"])
    for gw in (a, b):
        gw.start_control()
    host_a, host_b, on_tap = two.host["a"], two.host["b"], two.inside["b"]
    wait_for(lambda: ping(host_a, sites.HOST["b"], count=1, wait=0.5)[0], 20, "the first echo")
    wait_for(lambda: ping(on_tap, sites.HOST["a"], source=TAP_HOST, count=1, wait=0.5)[0], 20, "the first echo from the TAP")
    names = f"{'af_packet' if why else 'AF_XDP'} - memif"
    echoes(r, f"{names} - pcap", host_a, sites.HOST["b"])
    echoes(r, f"pcap - memif - {names.split(' ', maxsplit=1)[0]}", host_b, sites.HOST["a"])
    echoes(r, f"{names} - TAP", host_a, TAP_HOST)
    transfer(r, f"{names} - pcap", host_a, host_b, sites.HOST["b"], 9001)
    transfer(r, f"{names} - TAP", host_a, on_tap, TAP_HOST, 9002)
    seals = {d: a.metric("culvert_child_packets_total", connection="to-b", direction=d) for d in ("in", "out")}
    # 4 MB there in packets of 1,400 bytes at most; back come the echoes and whatever acknowledgements TCP makes.
    r.check("all of it went through SAs", seals["out"] > 4_000_000 / 1400 and seals["in"] > 100, seals)
    b.dataplane.kill()
    wait_for(lambda: "port wan: the link is down" in a.dataplane.output(), 5, "memif's other end to be missed")
    b.start_dataplane()
    host_on_tap(two.inside["b"])
    begun = time.monotonic()
    wait_for(lambda: ping(host_a, sites.HOST["b"], count=1, wait=0.2)[0], 20, "the traffic to resume over memif")
    r.check("memif: the other end is killed and returns", True, f"traffic after {time.monotonic() - begun:.1f} s")
    two.inside["a"].sh("ip", "link", "set", "in0", "down")
    wait_for(lambda: "port lan: the link is down" in a.dataplane.output(), 3, "the LAN port to be seen down")
    two.inside["a"].sh("ip", "link", "set", "in0", "up")
    try:
        wait_for(lambda: ping(host_a, sites.HOST["b"], count=1, wait=0.2)[0], 5, "the traffic to resume")
        r.check(f"{names.split(' ', maxsplit=1)[0]}: its link goes down and returns", True)
    except LabError as error:
        r.check(f"{names.split(' ', maxsplit=1)[0]}: its link goes down and returns", False, error)


report.run("devices", body)

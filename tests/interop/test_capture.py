#!/usr/bin/python3
"""Seeing: what `culvert capture` writes is what was on the wire and inside of the tunnel; what `culvert trace-packet` says is so.

Time limit: 90 s
Mostly waits.
Against strongSwan, pings both ways over a rekey. Every outer copy is byte for byte a frame that tcpdump saw on the wire; tshark reads the file,
decrypts and authenticates each of them with the keys that strongSwan logged, and finds the ICMP of the inner copy of the same number in it.
"""
import collections
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import keys, report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

from scapy.all import IP, conf, rdpcap  # noqa: E402

conf.logLevel = 40  # it looks for a newline in comments

HOST, BEHIND = sites.HOST["a"], sites.INSIDE["b"]


def capturing(site, *arguments, verb="capture"):
    """`culvert capture` or `culvert trace` as a process, once it is on."""
    culvert = [site.culvert.program("control/culvert"), "--socket", site.culvert.config["control"]["socket"]]
    before = site.culvert.dataplane.output().count("are captured")
    process = subprocess.Popen([*culvert, verb, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: site.culvert.dataplane.output().count("are captured") > before, 10, "the capture to begin")
    return process


def pings(site, count):
    return (ping(site.host, BEHIND, HOST, count=count, interval=0.05)[0], ping(site.outside, HOST, BEHIND, count=count, interval=0.05)[0])


def rows_of(lab, file, *arguments):
    return [line.split("\t") for line in tshark(lab, file, *arguments, seconds=40).splitlines()]


def fields(*names):
    return [word for name in names for word in ("-e", name)]


def decryption(log, wire):
    """tshark's options; of the two keys that strongSwan logged for a pair each SPI has the one that opens its packets."""
    logged, right = keys.esp_keys(log), {}
    for _, _, _, esp in keys.esp_packets(wire.file):
        spi = int.from_bytes(esp[:4], "big")
        for key in logged.get(spi, ()) if spi not in right else ():
            if keys.decrypt(esp, {spi: [key]}):
                right[spi] = key
    rows = [["IPv4", "*", "*", f"0x{spi:08x}", "AES-GCM with 16 octet ICV [RFC4106]", f"0x{key.hex()}", "NULL", ""] for spi, key in right.items()]
    return ["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE",
            *(word for row in rows for word in ("-o", "uat:esp_sa:" + ",".join(f'"{cell}"' for cell in row)))]


def both_layers(r, lab, site):
    file = lab.path("tunnel.pcapng")
    wire = Capture(site.outside, "cl0", "wire")
    process = capturing(site, "to-b/net", "--both", "--count", 5000, "--for", "12s", "-w", file)
    first = pings(site, 10)
    site.culvert.result("rekey", "to-b/net")
    wait_for(lambda: len(keys.esp_keys(site.strongswan.log_text())) >= 4, 10, "the rekey")
    time.sleep(0.5)
    second = pings(site, 10)
    status, refused = site.culvert.cli("capture", "to-b")
    _, said = process.communicate(timeout=20)
    wire.stop()
    r.check("pings both ways, before and after a rekey", all(first + second), (first, second))
    r.check("a second capture beside it is refused, and says whose the first one is", status == 1 and "to-b/net" in str(refused), refused)
    r.check("it ends by itself and says how much it has", process.returncode == 0 and b"copies" in said, said)
    r.check("the file is its owner's alone", os.stat(file).st_mode & 0o777 == 0o600)

    def esp(packet):  # strongSwan's own ESP is in UDP
        data = bytes(packet)[:packet.len]
        return data if packet.proto == 17 and packet.dport == 4500 and packet.len > 40 and data[28:32] != bytes(4) else None

    on_wire = collections.Counter(filter(None, (esp(p[IP]) for p in rdpcap(wire.file) if IP in p)))
    rows = rows_of(lab, file, *decryption(site.strongswan.log_text(), wire), "-T", "fields", *fields(
        "frame.interface_name", "frame.comment", "frame.packet_flags_direction", "esp.spi", "esp.icv_good", "icmp.type", "icmp.seq", "_ws.malformed"))
    outer, inner = ([row for row in rows if (row[0] == "wan") == is_outer] for is_outer in (True, False))
    r.check("tshark reads interface names, directions and comments",
            {row[0] for row in rows} == {"wan", "to-b/net"} and all(row[2].strip() for row in rows) and all("to-b/net" in row[1] for row in rows), rows[:2])
    r.check("nothing is malformed", not any(row[7] for row in rows))
    r.check("an outer copy of every ESP packet of both SAs", len(outer) == sum(on_wire.values()) >= 80 and len({row[3] for row in outer}) == 4,
            f"{len(outer)} copies, {sum(on_wire.values())} on the wire")
    copies = collections.Counter(filter(None, (esp(IP(bytes(p))) for p in rdpcap(file))))
    r.check("each is byte for byte a frame of the wire", copies == on_wire)
    r.check("tshark authenticates every one of them", all(row[4] in ("1", "True") for row in outer),
            [row for row in outer if row[4] not in ("1", "True")][:2])

    def echoes(some):
        number = lambda row: re.search(r"(\w+)bound .*worker (\d+) number (\d+)", row[1]).groups()  # noqa: E731
        return {number(row): (row[5], row[6]) for row in some}
    r.check("the inner copy of the same number is the echo that is inside of it", echoes(outer) == echoes(inner) and len(inner) == len(outer),
            [x for x in zip(sorted(echoes(outer).items()), sorted(echoes(inner).items())) if x[0] != x[1]][:2])


def limits(r, lab, site):
    file = lab.path("few.pcapng")
    process = capturing(site, "to-b", "--inner", "--count", 7, "--bytes", 30, "-w", file)
    pings(site, 10)
    process.communicate(timeout=10)
    few = rdpcap(file)
    r.check("--count, --bytes, --inner, a whole connection", len(few) == 7 and all(len(p) == 30 for p in few) and all(IP(bytes(p)).proto == 1 for p in few),
            [len(p) for p in few])
    process = capturing(site, "to-b/net", "--inner", "--sample", 5, "--for", "3s", "-w", "-")
    pings(site, 20)
    out, _ = process.communicate(timeout=10)
    with open(file, "wb") as f:
        f.write(out)
    sampled = rdpcap(file)
    r.check("--sample, to standard output", 14 <= len(sampled) <= 18, len(sampled))
    process = capturing(site, "to-b/net", "--outer", "--count", 2)
    pings(site, 3)
    out, _ = process.communicate(timeout=10)
    r.check("without a file: lines to look at", len(re.findall(rb"(?m)^\S+Z (?:in |out) outer to-b/net: 10\.9\.0\.\d > 10\.9\.0\.\d protocol 17, \d+ bytes$", out)) == 2, out)
    process = capturing(site, "to-b/net")
    process.terminate()
    process.wait(10)
    wait_for(lambda: site.culvert.cli("capture", "to-b/net", "--count", 1, "--for", "1s")[0] == 0, 10, "a capture after one that was interrupted")
    r.check("a capture whose reader left is over", True)


def foretold(r, site):
    said = site.culvert.result("trace-packet", HOST, BEHIND, "--proto", "tcp", "--dport", 443)
    r.check("trace-packet: encrypted, by wan", (said["verdict"], said["port"]) == ("encrypted", "wan"), said)
    text = site.culvert.cli_text("trace-packet", HOST, BEHIND, "--size", 1500, "--df")
    r.check("trace-packet: too big, and how much fits", "may not be fragmented" in text and "Dropped: too_big" in text, text)
    text = site.culvert.cli_text("trace-packet", BEHIND, HOST)
    r.check("trace-packet: from the wire in clear", "says that it must come under an SA" in text and "policy_clear" in text, text)
    text = site.culvert.cli_text("trace-packet", BEHIND, HOST, "--from-tunnel", "to-b/net")
    r.check("trace-packet: out of the tunnel", "Sent IN CLEAR by port lan" in text, text)
    shown = site.culvert.cli_text("list-sas")
    inbound = next(sa["in"] for sa in site.culvert.child_sas("to-b") if sa["state"] == "installed")
    r.check("list-sas: nothing was lost on the path", inbound["gaps"] == {"lost": 0, "reordered": 0, "duplicated": 0} and "dropped" not in shown, json.dumps(inbound))


def followed(r, site):
    process = capturing(site, "to-b/net", "--next", 5, "-o", "json", verb="trace")
    ping(site.host, BEHIND, HOST, count=2, interval=0.1)
    site.host.sh("ping", "-n", "-c", 1, "-W", 1, "-M", "do", "-s", 1460, BEHIND, check=False)
    out, _ = process.communicate(timeout=10)
    said = [json.loads(line) for line in out.splitlines()]
    paths = [(e["path"]["direction"], e["path"]["verdict"], e["path"]["reason"]) for e in said if "path" in e]
    r.check("trace: what became of the next packets, and of one that is too big",
            collections.Counter(paths) == {("out", "encrypted", None): 2, ("in", "clear", None): 2, ("out", "dropped", "too_big"): 1}, paths)
    steps = {e["path"]["direction"]: [s["step"] for s in e["path"]["steps"]] for e in said if "path" in e and e["path"]["verdict"] != "dropped"}
    r.check("trace: the steps are those that trace-packet foretells", steps == {
        "out": ["arrives", "ttl", "route", "outbound_policy", "leaves_under_sa", "route", "size", "neighbor", "leaves"],
        "in": ["arrives_under_sa", "ttl", "route", "outbound_policy", "neighbor", "leaves"]}, steps)
    process = capturing(site, "to-b/net", "--next", 1, verb="trace")
    ping(site.host, BEHIND, HOST, count=1)
    out, _ = process.communicate(timeout=10)
    r.check("trace: in words", b"leaves encrypted by port wan" in out and b"Sent encrypted by port wan." in out, out)
    site.host.sh("ping", "-n", "-q", "-f", "-c", 2000, BEHIND, check=False)
    nodes = {n["node"]: n for n in site.culvert.result("counters")["workers"][0]["nodes"]}
    r.check("counters --nodes: cycles by step", all(nodes[n]["packets"] > 0 and nodes[n]["cycles"] > 0 for n in ("receive", "decrypt", "encrypt", "transmit")), nodes)
    text = site.culvert.cli_text("counters", "--nodes")
    r.check("counters --nodes: as a table", "CYCLES/PACKET" in text and "encrypt" in text, text)


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", start="start"), sites.strongswan_connection("b", "a"), keys=True).start()
    wait_for(lambda: ping(site.host, BEHIND, HOST, count=1, wait=0.5)[0], 20, "the first echo")
    both_layers(r, lab, site)
    limits(r, lab, site)
    foretold(r, site)
    followed(r, site)


report.run("capture", body)

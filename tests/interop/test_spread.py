#!/usr/bin/python3
"""One tunnel whose crypto two workers share (spread: yes), against strongSwan.

Time limit: 120 s
TCP both ways through a child that is spread and through one that is not. On the wire the sequence numbers of Culvert's ESP packets must count up by
one, packet by packet; every byte must come through, none of the peer's packets may be refused, and the workers' counters must say that they shared.

    host a 10.1.0.10 -- in0 [Culvert, 2 workers] gw0 10.9.0.1 ---- wire ---- 10.9.0.2 cl0 [strongSwan], 10.2.0.1 and 10.3.0.1 on its lo
"""
import collections
import json
import re
import subprocess
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, keys, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, tshark  # noqa: E402

TCP_PEER = __file__.rsplit("/", 1)[0] + "/lib/tcp_peer.py"
BYTES, HOST = 2_000_000, sites.HOST["a"]
UNDER_WAY = 100        # numbers of captured packets that may be with a worker when the capture ends
CHILDREN = {"fat": "10.2.0.0/16", "plain": "10.3.0.0/16"}
PEER = {"fat": "10.2.0.1", "plain": "10.3.0.1"}


def connections(gw):
    children = {name: gateway.child(sites.NET["a"], net, sites.ESP_SUITE, spread="yes" if name == "fat" else "no") for name, net in CHILDREN.items()}
    return {"to-b": gateway.connection(sites.ADDRESS["a"], sites.ADDRESS["b"], sites.IDENTITY["a"], sites.IDENTITY["b"], sites.IKE_SUITE,
                                       gw.secret(sites.SECRET), children)}


def peer_connections():
    children = {name: strongswan.child(net, sites.NET["a"], sites.ESP_SUITE) for name, net in CHILDREN.items()}
    return {"to-a": strongswan.connection(sites.ADDRESS["b"], sites.ADDRESS["a"], sites.IDENTITY["b"], sites.IDENTITY["a"], sites.IKE_SUITE, children)}


def transfer(site, name):
    """{"out": Mbit/s, "in": Mbit/s} and how many packets were spread, and by others, meanwhile."""
    before = site.culvert.result("counters")["workers"]
    server = site.outside.start(f"tcp-{name}", "/usr/bin/python3", TCP_PEER, "serve", PEER[name])
    wait_for(lambda: ":5300" in site.outside.sh("ss", "-ltn"), 5, "the TCP server")
    text = site.host.sh("/usr/bin/python3", TCP_PEER, "ask", PEER[name], HOST, str(BYTES), seconds=50, check=False)
    server.stop()
    after = site.culvert.result("counters")["workers"]
    shared = {key: sum(w[key] for w in after) - sum(w[key] for w in before) for key in ("spread_out", "spread_in", "spread_full")}
    return text.strip(), shared


def captured(site, *arguments):
    """`culvert capture` or `culvert trace` of some of the tunnel's packets, while others have them."""
    before = site.culvert.dataplane.output().count("are captured")
    process = subprocess.Popen([site.culvert.program("control/culvert"), "--socket", site.culvert.config["control"]["socket"], *arguments],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_for(lambda: site.culvert.dataplane.output().count("are captured") > before, 10, "the capture to begin")
    return process


def pairs(lab, file):
    """{(direction, worker, number): {"wan" or the tunnel: bytes}} of a capture."""
    found = collections.defaultdict(dict)
    for line in tshark(lab, file, "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment", "-e", "frame.len").splitlines():
        interface, comment, size = line.split("\t")
        found[re.search(r"(\w+)bound .*worker (\d+) number (\d+)", comment).groups()][interface] = int(size)
    return found


def once(copies):
    """How far behind its end the first packet is that has one copy only."""
    last = max((int(number) for (_, _, number) in copies), default=0)
    return max((last - int(number) for (_, _, number), c in copies.items() if len(c) == 1), default=0)


def in_order(pcap, spi):
    """The sequence numbers of an SA's packets, and whether each is one more than the one before."""
    numbers = [int.from_bytes(esp[4:8], "big") for _, _, _, esp in keys.esp_packets(pcap) if int.from_bytes(esp[:4], "big") == spi]
    return len(numbers), all(b == a + 1 for a, b in zip(numbers, numbers[1:]))


def traced(r, site):
    """`culvert trace` of packets that come in bursts, so that they go to the board and back."""
    total = lambda: sum(w["spread_out"] for w in site.culvert.result("counters")["workers"])
    before, process = total(), captured(site, "trace", "to-b/fat", "--next", "200", "--for", "3s", "-o", "json")
    site.host.sh("ping", "-n", "-q", "-f", "-l", "30", "-c", "200", "-w", "3", PEER["fat"], seconds=10, check=False)
    paths = [event["path"] for event in map(json.loads, process.communicate(timeout=10)[0].splitlines()) if "path" in event]
    shared = total() - before
    ends = collections.Counter((p["direction"], p["steps"][-1]["step"]) for p in paths)
    r.check("the ways of packets whose crypto was others' are told to their ends", shared > 20 and len(paths) > 100
            and {end for _, end in ends} <= {"leaves", "handed_over"} and ends["out", "leaves"] > 20 and ends["in", "leaves"] > 20, f"{shared} shared, {dict(ends)}")


def body(r, lab):
    available = gateway.cpus()
    site = sites.CulvertAndStrongSwan(lab, connections, peer_connections(), dataplane={"workers": [available[0], available[-1]]})
    site.outside.address("lo", "10.3.0.1/16")
    site.culvert.config["routes"].append({"to": "10.3.0.0/16", "via": sites.ADDRESS["b"]})
    site.culvert.write()
    site.start()
    wire = Capture(site.outside, "cl0", "wire", "udp port 4500 or esp")
    drops = site.culvert.drops()
    for name in CHILDREN:
        ok, detail = site.culvert.initiate("to-b", name)
        r.check(f"{name}: established", ok, "" if ok else detail)
        capture = captured(site, "capture", "to-b/fat", "--both", "--sample", "10", "--count", "300", "--for", "20s", "-w", lab.path("fat.pcapng")) if name == "fat" else None
        text, shared = transfer(site, name)
        rates = json.loads(text) if text.startswith("{") else None
        r.check(f"{name}: {BYTES} bytes by TCP each way come through whole", rates is not None, text[-200:])
        r.note(f"{name}: Mbit/s {rates}, packets {shared}")
        r.check(f"{name}: its packets' crypto is {'shared' if name == 'fat' else 'each its worker`s own'}",
                (shared["spread_out"] > 100) == (name == "fat"), shared)
        if capture:
            capture.wait(30)
            copies = pairs(lab, lab.path("fat.pcapng"))
            whole = [c for c in copies.values() if len(c) == 2]
            r.check("a capture of it has each packet twice, as it is outside and inside", len(whole) > 80 and once(copies) <= UNDER_WAY
                    and all(40 <= c["wan"] - c["to-b/fat"] <= 80 for c in whole), f"{len(copies)} packets, {len(whole)} of them twice")
            traced(r, site)
    time.sleep(0.3)
    lost = wire.stop()
    now = site.culvert.drops()
    changed = {reason: now[reason] - drops[reason] for reason in now if now[reason] != drops[reason]}
    r.check("no packet of the peer was refused as a copy, as old or as forged", not {"esp_replay", "esp_old", "esp_auth"} & set(changed), changed)
    for sa in site.culvert.child_sas():
        count, right = in_order(wire.file, int(sa["spi_out"], 16))
        expected = sa["out"]["packets"]
        r.check(f"{sa['child']}: Culvert's packets on the wire are in order of their sequence numbers, none missing",
                right and (count == expected or lost > 0) and count > 200, f"{count} captured, {expected} counted, tcpdump lost {lost}")
    for name in CHILDREN:
        site.culvert.terminate("to-b")


report.run("spread", body)

#!/usr/bin/python3
"""Path MTU against strongSwan: hops of 1,400, 1,300 and 1,280 bytes between the gateways, with ICMP passing and with ICMP blocked.

Time limit: 90 s
Each hop in both ways at once, all six in parallel. With ICMP passing the gateway learns the hop's size from the router's error, and
`ping -M do` behind it learns the size that fits the tunnel, to the byte; TCP runs both ways. With ICMP blocked nobody learns anything:
TCP runs all the same, by the segment size that its tunnel sets (`mss`). Large pings without DF come through in fragments, whoever
fragments them: the gateway before the encryption (1,400) or after it (1,300 and 1,280), and the peer's kernel, whose ESP in UDP the gateway
puts together.

    host 10.1.0.10 -- in0 [Culvert] gw0 10.9.0.1 -- 10.9.0.2 [r1] == three links, MTU 1400, 1300, 1280 == [r2] -- 10.8.K.2 [strongSwan K]

K is 1, 2, 3: behind 10.8.K.2 is 10.2.K.0/24, for which ICMP passes; behind 10.8.K.3 of the same daemon 10.2.1K.0/24, for which it is blocked.
"""
import concurrent.futures
import json
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError  # noqa: E402

MTU = {1: 1400, 2: 1300, 3: 1280}
PASSING, BLOCKED = (1, 2, 3), (11, 12, 13)         # number of the net behind the peer: 10.2.N.0/24
MSS, BYTES = 1150, 250_000
TCP_PEER = __file__.rsplit("/", 1)[0] + "/lib/tcp_peer.py"
HOST = sites.HOST["a"]


def hop(number):
    return number % 10


def peer_address(number):
    return f"10.8.{hop(number)}.{2 if number in PASSING else 3}"


class Site:
    def __init__(self, lab):
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.r1, self.r2 = lab.namespaces("r1", "r2")
        lab.link(self.inside, "gw0", None, self.r1, "gw0", "10.9.0.2/16")
        self.peers = {}
        for k, mtu in MTU.items():
            lab.link(self.r1, f"hop{k}", f"10.7.{k}.1/24", self.r2, f"hop{k}", f"10.7.{k}.2/24")
            peer = self.peers[k] = lab.namespace(f"peer{k}")
            lab.link(self.r2, f"peer{k}", f"10.8.{k}.1/24", peer, "wan0", f"10.8.{k}.2/24")
            for router in (self.r1, self.r2):
                router.sh("ip", "link", "set", f"hop{k}", "mtu", str(mtu))
            peer.address("wan0", f"10.8.{k}.3/24")
            peer.address("lo", f"10.2.{k}.1/24", f"10.2.{10 + k}.1/24")
            peer.route("default", f"10.8.{k}.1")
            self.r1.route(f"10.8.{k}.0/24", f"10.7.{k}.2")
            self.r2.sh("ip", "route", "add", "10.9.0.0/16", "via", f"10.7.{k}.1", "table", str(100 + k))
            self.r2.sh("ip", "rule", "add", "iif", f"peer{k}", "table", str(100 + k))
        self.r2.sh("ip", "route", "add", "10.9.0.0/16", "via", "10.7.1.1")        # for what it says itself
        self._block()
        routes = [{"to": "10.8.0.0/16", "via": "10.9.0.2"}, {"to": "10.2.0.0/16", "via": "10.9.0.2"}]
        ports = {"wan": ("gw0", ["10.9.0.1/16"]), "lan": ("in0", [f"{sites.INSIDE['a']}/16"])}
        self.culvert = gateway.Gateway(lab, self.inside, "culvert", ports, routes)
        secret = self.culvert.secret(sites.SECRET)
        self.culvert.config["connections"] = {
            f"net{n}": gateway.connection("10.9.0.1", peer_address(n), sites.IDENTITY["a"], f"peer{n}.example", sites.IKE_SUITE, secret, {
                f"net{n}": gateway.child(sites.NET["a"], f"10.2.{n}.0/24", sites.ESP_SUITE, **({"mss": MSS} if n in BLOCKED else {"fragmentation": "after"} if n != 1 else {}))})
            for n in PASSING + BLOCKED}
        self.culvert.write()
        self.strongswan = {k: strongswan.StrongSwan(lab, peer, f"strongswan{k}", {
            f"net{n}": strongswan.connection(peer_address(n), "10.9.0.1", f"peer{n}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                             {f"net{n}": strongswan.child(f"10.2.{n}.0/24", sites.NET["a"], sites.ESP_SUITE)})
            for n in (k, 10 + k)}, sites.SECRET) for k, peer in self.peers.items()}

    def _block(self):
        """Errors about packets to or from 10.8.K.3 leave neither router. What they quote stands 8 bytes into the ICMP, its addresses 12 and 16 further."""
        for router in (self.r1, self.r2):
            router.sh("nft", "add table ip f; add chain ip f out { type filter hook output priority 0 ; }")
            for k in MTU:
                for bit in (160, 192):
                    router.sh("nft", f"add rule ip f out icmp type destination-unreachable @th,{bit},32 0x0a08{k:02x}03 counter drop")

    def start(self):
        for each in (self.culvert, *self.strongswan.values()):   # by this thread: they end with the one that starts them
            each.start()
        for k, peer in self.peers.items():
            for n in (k, 10 + k):
                peer.start(f"tcp-{n}", "/usr/bin/python3", TCP_PEER, "serve", f"10.2.{n}.1")
        return self

    def mtu(self, number):
        """(what fits into the tunnel, the learnt path MTU or None), as list-sas says it."""
        out = self.culvert.child_sas(f"net{number}")[0]["out"]
        return out["mtu"], out["path_mtu"]


def ping(site, number, size, *options, count=1):
    """(answered, what ping said); `size` is of the whole packet."""
    text = site.host.sh("ping", "-n", "-c", str(count), "-i", "0.1", "-W", "1", "-s", str(size - 28), *options, f"10.2.{number}.1", seconds=20, check=False)
    return f"{count} received" in text, text


def learns(site, number):
    """(what the host has learnt, answered at that size, what was said a byte above, of list-sas)"""
    begun, told = time.monotonic(), None
    while told is None and time.monotonic() - begun < 5:
        _, text = ping(site, number, 1400, "-M", "do")
        found = re.search(r"[Ff]rag needed and DF set \(mtu = (\d+)\)|message too long, mtu[=: ]+(\d+)", text)
        told = int(found.group(1) or found.group(2)) if found and site.mtu(number)[1] else None
    if told is None:
        return None, False, "", site.mtu(number)
    fits, _ = ping(site, number, told, "-M", "do")
    _, above = ping(site, number, told + 1, "-M", "do")
    return told, fits, above, site.mtu(number)


def tcp(site, number):
    """{direction: Mbit/s}, or what went wrong."""
    text = site.host.sh("/usr/bin/python3", TCP_PEER, "ask", f"10.2.{number}.1", HOST, BYTES, seconds=60, check=False)
    return json.loads(text) if text.startswith("{") else text[-300:]


def large_pings(site, number):
    """{size: answered}; what waits in queues behind TCP has a second try."""
    return {size: any(ping(site, number, size, "-M", "dont")[0] for _ in range(3)) for size in (1500, 4000, 8000)}


def at_once(work, numbers):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return dict(zip(numbers, pool.map(work, numbers)))


def body(r, lab):
    begun = time.monotonic()
    site = Site(lab).start()
    up = at_once(lambda n: site.culvert.initiate(f"net{n}"), PASSING + BLOCKED)
    if not r.check("all six tunnels are up", all(ok for ok, _ in up.values()), {n: said for n, (ok, said) in up.items() if not ok} or ""):
        raise LabError("no tunnels")
    before = {n: site.mtu(n) for n in PASSING}
    r.check("nothing is learnt before anything was too large", all(path is None for _, path in before.values()), before)

    for n, (told, fits, above, (inner, path)) in at_once(lambda n: learns(site, n), PASSING).items():
        mtu = MTU[hop(n)]
        r.check(f"{mtu}: the gateway learns the path MTU, and list-sas shows it", path == mtu and mtu - 80 < inner < mtu - 50, f"{inner} inside, path {path}")
        r.check(f"{mtu}: ping -M do learns the size that fits", told == inner, f"told {told}")
        r.check(f"{mtu}: a packet of that size is answered, one of a byte more is not sent", fits and "mtu" in above, above[-200:] if not fits else "")

    for n, rates in at_once(lambda n: tcp(site, n), PASSING + BLOCKED).items():
        what = "ICMP passing" if n in PASSING else "ICMP blocked"
        r.check(f"{MTU[hop(n)]}: TCP both ways, {what}", isinstance(rates, dict), rates)

    blocked = {n: site.mtu(n)[1] for n in BLOCKED}
    r.check("where ICMP is blocked nothing was learnt", all(path is None for path in blocked.values()), blocked)
    large = at_once(lambda n: large_pings(site, n), PASSING)
    r.check("pings of 1,500, 4,000 and 8,000 bytes without DF are answered, whoever fragments", all(all(sizes.values()) for sizes in large.values()), large)
    drops = {reason: count for reason, count in site.culvert.drops().items() if count and (reason.startswith("esp_") or reason in (
        "icmp_ignored", "local_fragment", "rx_malformed", "no_buffer", "fragment_failed"))}
    r.check("the gateway dropped no packet of theirs, but what was too large", not drops, drops or "")
    r.note(f"done after {time.monotonic() - begun:.0f} s")


report.run("path_mtu", body)

"""Connections between a Culvert gateway and peers in Python, with what a test of them does again and again. See pyike for the peer itself.

    host 10.1.0.10 -- in0 [Culvert] gw0 10.9.0.1 ---- wire ---- cl0 10.9.1.N [peer N], which answers for 10.2.x.0/24 itself
"""
import concurrent.futures
import re

from . import gateway, sites
from .lab import LabError, wait_for
from .pyike import Peer, packets, wire

GW, GW_V6, HOST = sites.ADDRESS["a"], "fd00:9::1", sites.HOST["a"]
IKE = "aes256-sha256-ecp256"
LONG = {"rekey_time": "1h", "life_time": "2h", "rand_time": "0s"}
USUAL = ("aes128gcm16", wire.ESP, {})
GROUPS = {"modp1024": 2, "modp1536": 5, "modp2048": 14, "modp3072": 15, "ecp256": 19, "ecp384": 20, "ecp521": 21, "curve25519": 31}
HASHES = {"sha1": 2, "sha256": 4, "sha384": 5, "sha512": 6}


class Part:
    """A connection of Culvert's, its children and the peer at its other end. `children`: name -> (proposal, protocol, more of Culvert's child)"""

    def __init__(self, name, children, ike=IKE, v6=False, **extra):
        self.name, self.children, self.ike, self.v6, self.extra = name, children, ike, v6, extra

    def place(self, number):
        self.gw, self.address = (GW_V6, f"fd00:9::1:{number}") if self.v6 else (GW, f"10.9.1.{number}")
        self.identity = f"{self.name}.example"
        self.near = {child: f"{self.address}/32" if self.transport(child) else f"10.2.{16 * number + n}.0/24" for n, child in enumerate(self.children)}

    def transport(self, child):
        return self.children[child][2].get("mode") == "transport"

    def connection(self, secret):
        found, weak = {}, {"modp1024"} if "modp1024" in self.ike else set()
        for child, (proposal, protocol, more) in self.children.items():
            key = "ah_proposals" if protocol == wire.AH else "esp_proposals"
            found[child] = {"local_ts": f"{GW}/32" if self.transport(child) else sites.NET["a"], "remote_ts": self.near[child], key: [proposal], **LONG, **more}
            if protocol == wire.ESP and "gmac" in proposal:
                weak.add(proposal.split("-")[0])
        return gateway.connection(self.gw, self.address, sites.IDENTITY["a"], self.identity, self.ike, secret, found, allow_weak=sorted(weak), **self.extra)

    def start(self, namespace, culvert, host):
        self.culvert, self.host = culvert, host
        cipher, digest, group = self.ike.split("-")
        suite = int(cipher[3:]), HASHES[digest], GROUPS[group]
        self.peer = Peer(namespace, self.address, self.gw, self.identity, sites.IDENTITY["a"], sites.SECRET, suite)
        for child, (proposal, protocol, _) in self.children.items():
            far = f"{GW}/32" if self.transport(child) else sites.NET["a"]
            self.peer.child(child, self.near[child], far, packets.suite(proposal, protocol), self.transport(child))

    def there(self, child):
        """An address that the peer answers for."""
        return self.near[child].replace(".0/24", ".9")

    def initiate(self, child):
        """By Culvert: the pair at the peer."""
        ok, detail = self.culvert.initiate(self.name, child)
        if not ok:
            raise LabError(f"{self.name}/{child}: {detail}; the peer: {self.peer.faults} {self.peer.notifies}")
        return self.peer.pair(child)

    def ping(self, child, count=3):
        """Whether the host's echoes are answered, however slowly: without a deadline ping waits twice as long as for the slowest yet."""
        text = self.host.sh("ping", "-n", "-q", "-c", count, "-i", 0.2, "-w", 15, "-I", HOST, self.there(child), check=False)
        return int(re.search(r"(\d+) received", text).group(1)) >= count

    def end(self, child):
        """The peer deletes the pair, and Culvert has none left."""
        self.peer.delete([self.peer.pair(child)])
        wait_for(lambda: not self.ours(child), 10, f"the end of {self.name}/{child}")

    def ours(self, child):
        return [c for c in self.culvert.child_sas(self.name) if c["child"] == child]

    def established(self):
        """Culvert's ISAKMP SAs."""
        return [sa for sa in self.culvert.ike_sas(self.name) if sa["state"] == "established"]

    def mark(self):
        """When it returns, Culvert has worked through all that the peer has sent: it has answered what came behind."""
        def count():
            return len([h for h in self.peer.notifies if h.notify.type == wire.R_U_THERE_ACK])
        number, isakmp = count(), self.peer.isakmp()
        self.peer.say([(wire.NOTIFY, wire.notify(wire.R_U_THERE, wire.ISAKMP, isakmp.cookies[0] + isakmp.cookies[1], number.to_bytes(4, "big")))])
        wait_for(lambda: count() > number, 10, "R-U-THERE-ACK")


def at_once(r, lab, parts):
    """One gateway with all the connections, and a thread for each: [(part, what is called with the report and the part)]. The gateway."""
    host, inside = sites.host_and_gateway(lab, "a")
    outside = lab.namespace("peer")
    lab.link(inside, "gw0", None, outside, "cl0", f"{sites.ADDRESS['b']}/16")
    culvert = sites.culvert(lab, inside, "a", ["b"])
    culvert.config["ports"]["wan"]["addresses"].append(f"{GW_V6}/64")
    secret = culvert.secret(sites.SECRET)
    for number, (part, _) in enumerate(parts, 1):
        part.place(number)
    culvert.config["connections"] = {part.name: part.connection(secret) for part, _ in parts}
    culvert.write()
    outside.sysctl(**{"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.cl0.disable_ipv6": 0, "net.ipv6.conf.cl0.accept_dad": 0})
    outside.addresses("cl0", [f"{part.address}/{64 if part.v6 else 16}" for part, _ in parts])
    culvert.start()
    for part, _ in parts:
        part.start(outside, culvert, host)

    def run(part, function):
        try:
            function(r, part)
        except (LabError, StopIteration) as error:
            r.check(f"{part.name}: runs to its end", False, f"{error!r}; {part.peer.faults}")
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(run, *p) for p in parts]:
            done.result()
    faults = [fault for part, _ in parts for fault in part.peer.faults]
    r.check("no message and no packet of Culvert's was other than the RFCs say", not faults, faults[:5])
    return culvert

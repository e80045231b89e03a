"""A connection between a Culvert gateway and a peer in Python, with what a test of one does again and again. See pyike for the peer itself."""
from . import gateway, sites
from .lab import LabError, wait_for
from .pyike import Peer, packets, wire
from .traffic import ping

GW, GW_V6, HOST = sites.ADDRESS["a"], "fd00:9::1", sites.HOST["a"]
IKE = "aes256-sha256-ecp256"
LONG = {"rekey_time": "1h", "life_time": "2h", "rand_time": "0s"}
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
        return ping(self.host, self.there(child), HOST, count=count, wait=3)[0]

    def end(self, child):
        """The peer deletes the pair, and Culvert has none left."""
        self.peer.delete([self.peer.pair(child)])
        wait_for(lambda: not self.ours(child), 10, f"the end of {self.name}/{child}")

    def ours(self, child):
        return [c for c in self.culvert.child_sas(self.name) if c["child"] == child]

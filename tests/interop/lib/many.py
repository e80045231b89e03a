"""Thousands of peers of one gateway: tests/bench's culvert-load with an address for each, in a namespace; and what the responder's CPU did.

    gateway gw0 10.9.0.1 ---- 10.9.0.2 cl0 [culvert-load: 10.64.0.0, 10.64.0.1, ... ; each has 10.128.0.N/32 behind it]
"""
import json
import os

from . import gateway, pki, sites, strongswan
from .gateway import BUILD, Gateway
from .lab import LabError

GATEWAY, NEXT_HOP = "10.9.0.1", "10.9.0.2"
PEERS, NETWORKS, INSIDE = "10.64.0.0/10", "10.128.0.0/9", "10.1.0.0/24"
IKE_SUITE, ESP_SUITE = "aes128-sha256-curve25519", "aes128gcm16"
TICK = os.sysconf("SC_CLK_TCK")


def name(peer):
    return f"peer-{peer}"


def _dotted(first, peer):
    return f"10.{first + peer // 65536}.{peer // 256 % 256}.{peer % 256}"


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def address(peer):
    return _dotted(64, peer)


def network(peer):
    return f"{_dotted(128, peer)}/32"


def peers_namespace(lab, inside, address=None):
    """The namespace of the peers, joined to `inside`, whose end gets `address` or belongs to a gateway."""
    outside = lab.namespace("peers")
    lab.link(inside, "gw0", address, outside, "cl0", f"{NEXT_HOP}/16")
    outside.sh("ip", "route", "add", "local", PEERS, "dev", "lo")
    outside.sysctl(**{"net.ipv4.conf.cl0.arp_announce": 2})          # asks for neighbours as 10.9.0.2, not as one of the peers
    return outside


def certificates(lab, count):
    """The folder of an authority, its gateway and so many peers, P-256 all, as culvert-load wants it."""
    root = pki.Issued("C=CH, O=Culvert, CN=root", pki.key("p256", 10), ca=True)
    issued = {"gateway": ("gateway.example", pki.key("p256"))} | {name(i): (f"{name(i)}.example", pki.key("p256", 1)) for i in range(count)}
    folder = os.path.dirname(lab.write("certificates/ca.pem", root.pem()))
    for file, (dns, key) in issued.items():
        lab.write(f"certificates/{file}.pem", pki.Issued(f"C=CH, O=Culvert, CN={dns}", key, root, san=[f"DNS:{dns}"]).pem())
    for file, number in (("gateway", 0), ("peer", 1)):
        os.chmod(lab.write(f"certificates/{file}.key", pki.pem(pki.key("p256", number))), 0o600)
    return folder


def culvert(lab, inside, count, ike=IKE_SUITE, esp=ESP_SUITE, version=1, signs=None, one=False, **settings):
    """A gateway that has a connection for each peer; `one`: one for all. `signs`: with the certificates of this folder."""
    ports = {"wan": ("gw0", [f"{GATEWAY}/16"])}
    routes = [{"to": PEERS, "via": NEXT_HOP}, {"to": NETWORKS, "via": NEXT_HOP}]
    gw = Gateway(lab, inside, "culvert", ports, routes, {}, **settings)
    secret = gw.secret(sites.SECRET)
    for peer in ["all"] if one else range(count):
        remote, identity, behind = ("%any", "*.example", NETWORKS) if one else (address(peer), f"{name(peer)}.example", network(peer))
        conn = gateway.connection(GATEWAY, remote, "gateway.example", identity, ike, secret, {"net": gateway.child(INSIDE, behind, esp)}, version=version)
        gw.config["connections"][name(peer)] = conn
        if signs:
            del conn["secret"]
            conn["local"] |= {"auth": "pubkey", "certs": [f"{signs}/gateway.pem"], "key": f"file:{signs}/gateway.key"}
            conn["remote"] |= {"auth": "pubkey", "cacerts": [f"{signs}/ca.pem"]}
    gw.write()
    return gw


def strongswan_responder(lab, inside, ike=IKE_SUITE, esp=ESP_SUITE, version=1, signs=None):
    """A strongSwan that takes every peer by one connection; quiet, so that its log does not count."""
    inside.address("lo", INSIDE.replace(".0/", ".1/"))
    inside.sh("ip", "route", "add", PEERS, "via", NEXT_HOP)
    conn = strongswan.connection(GATEWAY, "%any", "gateway.example", "%any", ike, {"net": strongswan.child(INSIDE, NETWORKS, esp)}, version=version)
    if not signs:
        return strongswan.StrongSwan(lab, inside, "strongswan", {"load": conn}, sites.SECRET, quiet=True)
    conn["local"] = {"auth": "pubkey", "id": "gateway.example", "certs": f"{signs}/gateway.pem"}
    conn["remote"] = {"auth": "pubkey", "id": "%any", "cacerts": f"{signs}/ca.pem"}
    with open(f"{signs}/gateway.key", encoding="ascii") as key:
        lab.write("strongswan/swanctl/private/gateway.key", key.read())
    return strongswan.StrongSwan(lab, inside, "strongswan", {"load": conn}, {}, quiet=True)


def load_command(count, parallel=64, ike=IKE_SUITE, esp=ESP_SUITE, seconds=120, aggressive=0, version=1, signs=None, rekey=None):
    """culvert-load, which prints {"up", "failed", "unfinished", "seconds", "median_ms", "p99_ms", "failure"}; with Aggressive Mode for the last peers.
    `rekey`: "pair" or "ike", of each, a while after all are up, and a second line about that.
    """
    program = os.path.join(BUILD, "tests/bench/culvert-load")
    if not os.path.exists(program):
        raise LabError(f"{program} is not built")
    more = (["--certificates", signs] if signs else []) + (["--rekey", rekey] if rekey else [])
    return [program, "--to", GATEWAY, "--secret", sites.SECRET, "--count", count, "--parallel", parallel, "--version", version, "--ike", ike, "--esp", esp,
            "--seconds", seconds, "--aggressive", aggressive, *more]


def load(outside, count, *arguments, seconds=120, **named):
    """Runs it to its end, and reads its last line."""
    text = outside.sh(*load_command(count, *arguments, seconds=seconds, **named), seconds=seconds + 30)
    return json.loads(text.strip().splitlines()[-1])

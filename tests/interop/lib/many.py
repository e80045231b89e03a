"""Thousands of peers of one gateway: tests/bench's culvert-load with an address for each, in a namespace; and what the responder's CPU did.

    gateway gw0 10.9.0.1 ---- 10.9.0.2 cl0 [culvert-load: 10.64.0.0, 10.64.0.1, ... ; each has 10.128.0.N/32 behind it]
"""
import json
import os

from . import gateway, sites, strongswan
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


def culvert(lab, inside, count, ike=IKE_SUITE, esp=ESP_SUITE, version=1, **settings):
    """A gateway that has a connection for each peer."""
    ports = {"wan": ("gw0", [f"{GATEWAY}/16"])}
    routes = [{"to": PEERS, "via": NEXT_HOP}, {"to": NETWORKS, "via": NEXT_HOP}]
    gw = Gateway(lab, inside, "culvert", ports, routes, {}, **settings)
    secret = gw.secret(sites.SECRET)
    for peer in range(count):
        inner = gateway.child(INSIDE, network(peer), esp)
        gw.config["connections"][name(peer)] = gateway.connection(
            GATEWAY, _dotted(64, peer), "gateway.example", f"{name(peer)}.example", ike, secret, {"net": inner}, version=version)
    gw.write()
    return gw


def strongswan_responder(lab, inside, ike=IKE_SUITE, esp=ESP_SUITE, version=1):
    """A strongSwan that takes every peer by one connection; quiet, so that its log does not count."""
    inside.address("lo", INSIDE.replace(".0/", ".1/"))
    inside.sh("ip", "route", "add", PEERS, "via", NEXT_HOP)
    conn = strongswan.connection(GATEWAY, "%any", "gateway.example", "%any", ike, {"net": strongswan.child(INSIDE, NETWORKS, esp)}, version=version)
    return strongswan.StrongSwan(lab, inside, "strongswan", {"load": conn}, sites.SECRET, quiet=True)


def load(outside, count, parallel=64, ike=IKE_SUITE, esp=ESP_SUITE, seconds=120, aggressive=0, version=1):
    """Runs culvert-load to its end, with Aggressive Mode for the last peers: {"up", "failed", "unfinished", "seconds", "median_ms", "p99_ms", "failure"}."""
    program = os.path.join(BUILD, "tests/bench/culvert-load")
    if not os.path.exists(program):
        raise LabError(f"{program} is not built")
    text = outside.sh(program, "--to", GATEWAY, "--secret", sites.SECRET, "--count", count, "--parallel", parallel, "--version", version, "--ike", ike, "--esp", esp,
                      "--seconds", seconds, "--aggressive", aggressive, seconds=seconds + 30)
    return json.loads(text.strip().splitlines()[-1])

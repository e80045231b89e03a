"""Floods of first messages from spoofed addresses (spoofed.py), beside a tunnel that carries a ping and newcomers who want one (many.py).

    host-a -- [Culvert a] 10.9.0.1 -- wan -- 10.9.0.2 [Culvert b] -- host-b        10.9.0.3: newcomers, and a black hole for all spoofed sources; 10.9.0.4: stranger
"""
import contextlib
import os
import re
import time

from . import gateway, many, sites
from .lab import wait_for

NEWCOMERS = 20
SPOOFED, ROUTER = "11.0.0.0/8", "10.9.0.3"
SENDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spoofed.py")


def rate(usual):
    """First messages a second."""
    return int(os.environ.get("CULVERT_FLOOD_RATE", str(usual)))


class Site:
    """Both gateways have a connection to each other; a has one for each newcomer, too, and those of `anybody`: name -> settings. `newcomer`: number -> settings."""

    def __init__(self, lab, version, newcomer, anybody):
        wan = sites.Wan(lab)
        self.host, inside_a = sites.host_and_gateway(lab, "a")
        _, inside_b = sites.host_and_gateway(lab, "b")
        wan.attach(inside_a, "gw0", None, "a")
        wan.attach(inside_b, "gw0", None, "b")
        self.outside, self.stranger, self.version = lab.namespace("peers"), lab.namespace("stranger"), version
        wan.attach(self.outside, "cl0", f"{ROUTER}/16", "p")
        wan.attach(self.stranger, "st0", "10.9.0.4/16", "s")
        self.outside.sh("ip", "route", "add", "local", many.PEERS, "dev", "lo")
        self.outside.sh("ip", "route", "add", "blackhole", SPOOFED)
        self.outside.sysctl(**{"net.ipv4.conf.cl0.arp_announce": 2})
        self.a, self.b = sites.culvert(lab, inside_a, "a", ["b"], cpu=0), sites.culvert(lab, inside_b, "b", ["a"], cpu=1)
        self.a.config["routes"] += [{"to": net, "via": ROUTER} for net in (many.PEERS, many.NETWORKS, SPOOFED)]
        self.a.config["connections"] = sites.culvert_connection(self.a, "a", "b", version=version)
        self.b.config["connections"] = sites.culvert_connection(self.b, "b", "a", version=version)
        for peer in range(NEWCOMERS):
            self.a.config["connections"][many.name(peer)] = self.one(many.address(peer), many.name(peer), many.network(peer), newcomer(peer))
        for number, (name, settings) in enumerate(anybody.items()):
            self.a.config["connections"][name] = self.one("%any", "somebody", f"10.77.{number}.0/24", settings)
        self.mac = re.search(r"link/ether ([0-9a-f:]+)", inside_a.sh("ip", "link", "show", "gw0")).group(1)

    def one(self, remote, name, ts, settings):
        child = {"net": gateway.child(many.INSIDE, ts, many.ESP_SUITE)}
        return gateway.connection(sites.ADDRESS["a"], remote, "gateway.example", f"{name}.example", many.IKE_SUITE, self.a.secret(sites.SECRET), child,
                                  version=self.version, **settings)

    def start(self):
        for gw in (self.a, self.b):
            gw.write()
            gw.start()
        return self.a.initiate("to-b", "net", 30)

    @contextlib.contextmanager
    def flood(self, mode, rate):
        """The process of a flood that has begun two seconds ago."""
        flood = self.stranger.start(f"flood-{mode}", "/usr/bin/python3", SENDER, "st0", self.mac, str(rate), mode)
        wait_for(lambda: "sending" in flood.output(), 30, "the flood to begin")
        time.sleep(2)
        yield flood
        flood.stop()

    def newcomers(self, aggressive=0):
        return many.load(self.outside, NEWCOMERS, NEWCOMERS, seconds=30, aggressive=aggressive, version=self.version)

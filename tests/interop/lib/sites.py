"""The sites that most tests are made of.

    host a 10.1.0.10 -- in0 [Culvert a] gw0 10.9.0.1 ---- wan ---- 10.9.0.2 gw0 [Culvert b] in0 -- host b 10.2.0.10
                                                           |------ 10.9.0.2 cl0 [strongSwan], 10.2.0.1 on its lo

Two sites are joined by one veth pair; more of them by a bridge in a namespace of its own (Wan).
"""
from . import gateway, strongswan
from .gateway import Gateway
from .strongswan import StrongSwan

SECRET = "culvert-interop-secret-0123456789"
ADDRESS = {"a": "10.9.0.1", "b": "10.9.0.2", "c": "10.9.0.3"}
NET = {"a": "10.1.0.0/16", "b": "10.2.0.0/16", "c": "10.3.0.0/16"}
INSIDE = {"a": "10.1.0.1", "b": "10.2.0.1", "c": "10.3.0.1"}
HOST = {"a": "10.1.0.10", "b": "10.2.0.10", "c": "10.3.0.10"}
IDENTITY = {"a": "gw-a.example", "b": "gw-b.example", "c": "gw-c.example"}
IKE_SUITE, ESP_SUITE = "aes256-sha256-modp2048", "aes128gcm16"


class Wan:
    """A bridge in a namespace of its own; `port(letter)` is the interface towards that site, for captures."""

    def __init__(self, lab):
        self.lab, self.namespace = lab, lab.namespace("wan")
        self.namespace.sh("ip", "link", "add", "br0", "type", "bridge")
        self.namespace.sh("ip", "link", "set", "br0", "up")

    def attach(self, namespace, interface, cidr, letter):
        self.lab.link(self.namespace, f"to-{letter}", "", namespace, interface, cidr)
        self.namespace.sh("ip", "link", "set", f"to-{letter}", "master", "br0")
        return f"to-{letter}"


def host_and_gateway(lab, letter):
    """The namespaces of a site and the link between them."""
    host, inside = lab.namespaces(f"host-{letter}", f"gw-{letter}")
    lab.link(host, "h0", f"{HOST[letter]}/16", inside, "in0", None)
    host.route("default", INSIDE[letter])
    return host, inside


def culvert(lab, namespace, letter, peer, connections=None, cpu=None, **settings):
    """The gateway of a site; `peer` is the letter of the site whose net is behind the default next hop."""
    routes = [{"to": NET[p], "via": ADDRESS[p]} for p in peer]
    ports = {"wan": ("gw0", [f"{ADDRESS[letter]}/16"]), "lan": ("in0", [f"{INSIDE[letter]}/16"])}
    return Gateway(lab, namespace, f"culvert-{letter}", ports, routes, connections, cpu=cpu, **settings)


def culvert_connection(gw, letter, peer, start="none", ike=IKE_SUITE, esp=ESP_SUITE, child_name="net", child_settings=None, **extra):
    """The connection of site `letter` to site `peer`, as a dict of one."""
    inner = gateway.child(NET[letter], NET[peer], esp, start_action=start, **(child_settings or {}))
    return {f"to-{peer}": gateway.connection(ADDRESS[letter], ADDRESS[peer], IDENTITY[letter], IDENTITY[peer], ike,
                                             gw.secret(SECRET), {child_name: inner}, **extra)}


def strongswan_connection(letter, peer, ike=IKE_SUITE, esp=ESP_SUITE, child_name="net", child_settings=None, **extra):
    inner = strongswan.child(NET[letter], NET[peer], esp, **(child_settings or {}))
    return {f"to-{peer}": strongswan.connection(ADDRESS[letter], ADDRESS[peer], IDENTITY[letter], IDENTITY[peer], ike, {child_name: inner}, **extra)}


class TwoCulverts:
    """Hosts and gateways a and b on one wire. `configure` is called with (gateway, letter, peer letter) and returns the connections."""

    def __init__(self, lab, configure, **settings):
        self.host, self.inside, self.gateway = {}, {}, {}
        for letter in "ab":
            self.host[letter], self.inside[letter] = host_and_gateway(lab, letter)
        lab.link(self.inside["a"], "gw0", None, self.inside["b"], "gw0", None)
        for index, (letter, peer) in enumerate(("ab", "ba")):
            gw = culvert(lab, self.inside[letter], letter, [peer], cpu=index, **settings)
            gw.config["connections"] = configure(gw, letter, peer)
            gw.write()
            self.gateway[letter] = gw

    def start(self):
        for letter in "ab":
            self.gateway[letter].start()
        return self


class CulvertAndStrongSwan:
    """Host and Culvert a, and strongSwan b on one wire."""

    def __init__(self, lab, connections, peer_connections, secret=SECRET, keys=False, **settings):
        self.host, self.inside = host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "cl0", f"{ADDRESS['b']}/16")
        self.outside.address("lo", f"{INSIDE['b']}/16")
        self.culvert = culvert(lab, self.inside, "a", ["b"], **settings)
        self.culvert.config["connections"] = connections(self.culvert)
        self.culvert.write()
        self.strongswan = StrongSwan(lab, self.outside, "strongswan", peer_connections, secret, keys=keys)

    def start(self):
        self.strongswan.start()
        self.culvert.start()
        return self

    def number(self, numbers):
        """Connections are told apart by their numbers n: strongSwan's 10.9.1.n, 10.2.n.1 behind it, and 10.1.n.10 at the host."""
        self.outside.addresses("cl0", [f"10.9.1.{n}/16" for n in numbers])
        self.outside.addresses("lo", [f"10.2.{n}.1/24" for n in numbers])
        self.host.addresses("h0", [f"10.1.{n}.10/16" for n in numbers])
        return self


def numbered(names, settings, extra):
    """Plain connections of Culvert and of strongSwan, as CulvertAndStrongSwan wants them: each name's has its number, and a child "net" here and of the
    connection's name there. `settings`: of all children. `extra`: name -> (more of Culvert's connection, more of its child)."""
    number = {name: n for n, name in enumerate(names, 1)}

    def ours(gw):
        return {name: gateway.connection(ADDRESS["a"], f"10.9.1.{n}", IDENTITY["a"], f"{name}.example", IKE_SUITE, gw.secret(SECRET), {
            "net": gateway.child(f"10.1.{n}.0/24", f"10.2.{n}.0/24", ESP_SUITE, **settings, **extra(name)[1])}, **extra(name)[0]) for name, n in number.items()}

    theirs = {name: strongswan.connection(f"10.9.1.{n}", ADDRESS["a"], f"{name}.example", IDENTITY["a"], IKE_SUITE, {
        name: strongswan.child(f"10.2.{n}.0/24", f"10.1.{n}.0/24", ESP_SUITE, **settings)}) for name, n in number.items()}
    return ours, theirs

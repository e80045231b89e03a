#!/usr/bin/python3
"""A NAT box that forgets its mappings under traffic: three strongSwan clients and a Culvert gateway behind one address.

Time limit: 120 s
The box masquerades with random source ports and lets only answers in; its table of connections is flushed, so that every peer behind it gets new
ports. Each tunnel's pings must go on: those from the inside at once, those from the outside within one keepalive interval, to a Culvert that hears
nothing by itself, to a strongSwan by the dead-peer detection that it is told to do so often (its keepalives prove nothing). Each gap is printed.
A copy of an old ESP packet from a third address moves nobody.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.strongswan import StrongSwan  # noqa: E402
from lib.traffic import Capture, Ping, ping, tshark  # noqa: E402

NAT_INSIDE, NAT_OUTSIDE, KEEPALIVE = "192.168.50.1", "10.9.0.254", 5
RULES = """table ip nat {
  chain post {
    type nat hook postrouting priority 100
    oifname "out0" masquerade random
  }
}
table ip filter {
  chain flt {
    type filter hook forward priority 0
    policy drop
    iifname "in0" accept
    ct state established,related accept
  }
}
"""
CLIENTS = (1, 2, 3)


def inside_address(n):
    return f"10.{10 + n}.0.1"


def build(lab):
    """The outside Culvert with its host, the box, and everybody behind it."""
    host, outside = sites.host_and_gateway(lab, "a")
    box = lab.namespace("box")
    lab.link(box, "out0", f"{NAT_OUTSIDE}/16", outside, "gw0", None)
    box.sh("ip", "link", "add", "in0", "type", "bridge")
    box.sh("ip", "link", "set", "in0", "up")
    box.address("in0", f"{NAT_INSIDE}/24")
    box.sh("nft", "-f", lab.write("box.nft", RULES))

    def attach(namespace, interface, cidr, port):
        lab.link(box, port, "", namespace, interface, cidr)
        box.sh("ip", "link", "set", port, "master", "in0")

    clients = []
    for n in CLIENTS:
        client = lab.namespace(f"client{n}")
        attach(client, "cl0", f"192.168.50.{10 + n}/24", f"to-{n}")
        client.route("default", NAT_INSIDE)
        client.address("lo", f"{inside_address(n)}/16")
        clients.append(client)
    inner_host, inner = sites.host_and_gateway(lab, "b")
    attach(inner, "gw0", None, "to-b")
    return host, outside, box, clients, inner_host, inner


def outer_gateway(lab, outside):
    culvert = sites.culvert(lab, outside, "a", [], ike={"keepalive": f"{KEEPALIVE}s"})
    culvert.config["routes"] = [{"to": "10.0.0.0/8", "via": NAT_OUTSIDE}]
    secret = culvert.secret(sites.SECRET)
    connections = {f"client{n}": gateway.connection(sites.ADDRESS["a"], "%any", sites.IDENTITY["a"], f"client{n}.example", sites.IKE_SUITE, secret,
                                                    {"net": gateway.child(sites.NET["a"], f"10.{10 + n}.0.0/16", sites.ESP_SUITE)}) for n in CLIENTS}
    connections["inner"] = gateway.connection(sites.ADDRESS["a"], "%any", sites.IDENTITY["a"], sites.IDENTITY["b"], sites.IKE_SUITE, secret,
                                              {"net": gateway.child(sites.NET["a"], sites.NET["b"], sites.ESP_SUITE)})
    culvert.config["connections"] = connections
    culvert.write()
    return culvert


def inner_gateway(lab, inner):
    culvert = gateway.Gateway(lab, inner, "culvert-b", {"wan": ("gw0", ["192.168.50.2/24"]), "lan": ("in0", [f"{sites.INSIDE['b']}/16"])},
                              [{"to": "0.0.0.0/0", "via": NAT_INSIDE}], cpu=0, ike={"keepalive": f"{KEEPALIVE}s"})
    culvert.config["connections"] = {"out": gateway.connection(
        "192.168.50.2", sites.ADDRESS["a"], sites.IDENTITY["b"], sites.IDENTITY["a"], sites.IKE_SUITE, culvert.secret(sites.SECRET),
        {"net": gateway.child(sites.NET["b"], sites.NET["a"], sites.ESP_SUITE, start_action="start")})}
    culvert.write()
    return culvert


def client_daemon(lab, namespace, n):
    """The first one is told to ask within a keepalive interval of the last packet whether its peer lives."""
    theirs = {"out": strongswan.connection(f"192.168.50.{10 + n}", sites.ADDRESS["a"], f"client{n}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                           {"net": strongswan.child(f"10.{10 + n}.0.0/16", sites.NET["a"], sites.ESP_SUITE)},
                                           **({"dpd_delay": f"{KEEPALIVE - 1}s"} if n == 1 else {}))}
    return StrongSwan(lab, namespace, f"client{n}", theirs, sites.SECRET).start()


def gap(result):
    """Seconds of the longest run of lost pings."""
    longest = run = 0
    lost = set(result.lost)
    for number in range(1, result.transmitted + 1):
        run = run + 1 if number in lost else 0
        longest = max(longest, run)
    return longest * result.interval / 1000


def remotes(culvert):
    return {sa["connection"]: sa["remote"] for sa in culvert.ike_sas()}


def flush(box):
    box.sh("conntrack", "-F", check=False)


def replay_elsewhere(r, lab, outside_capture, box, culvert):
    """An old ESP packet of client 1, as from another address."""
    before = remotes(culvert)
    line = tshark(lab, outside_capture, "-Y", f"esp && ip.src == {NAT_OUTSIDE}", "-T", "fields", "-e", "udp.srcport", "-e", "udp.payload").splitlines()[0]
    payload = line.split("\t")[1].replace(":", "")
    box.address("out0", "10.9.0.77/16")
    box.sh("/usr/bin/python3", "-c", "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('10.9.0.77',4711))\n"
           f"for _ in range(20): s.sendto(bytes.fromhex('{payload}'),('{sites.ADDRESS['a']}',4500))")
    time.sleep(0.5)
    counted = sum(culvert.drops().get(reason, 0) for reason in ("esp_replay", "esp_old"))
    r.check("a copy of an old ESP packet from another address moves nobody", remotes(culvert) == before and counted >= 20, f"{counted} counted as replays")


def body(r, lab):
    host, outside, box, clients, inner_host, inner = build(lab)
    culvert = outer_gateway(lab, outside)
    culvert.start()
    inside = inner_gateway(lab, inner)
    daemons = [client_daemon(lab, namespace, n) for n, namespace in zip(CLIENTS, clients)]
    inside.start()
    for n, daemon in zip(CLIENTS, daemons):
        ok, detail = daemon.initiate("net")
        r.check(f"client {n} behind the shared address establishes", ok, "" if ok else detail[-300:])
    wait_for(lambda: inside.child_up("out", "net"), 20, "the Culvert behind the NAT to establish")
    time.sleep(1)
    for n, namespace in zip(CLIENTS, clients):
        r.check(f"client {n}: ping", *ping(namespace, sites.HOST["a"], inside_address(n)))
    r.check("Culvert inside: ping", *ping(inner_host, sites.HOST["a"]))
    seen = remotes(culvert)
    r.check("four peers at one address, told apart by their ports", len(seen) == 4 and len(set(seen.values())) == 4 and
            all(a.startswith(NAT_OUTSIDE + ":") for a in seen.values()), seen)

    capture = Capture(box, "out0", "nat-moves")
    pings = [Ping(namespace, f"in{n}", sites.HOST["a"], source=inside_address(n), interval=0.1) for n, namespace in zip(CLIENTS, clients)]
    time.sleep(1)
    flush(box)
    time.sleep(3)
    results = [p.stop() for p in pings]
    moved = remotes(culvert)
    for n, result in zip(CLIENTS, results):
        r.check(f"client {n}: new mapping mid-traffic, and it goes on", gap(result) < 1 and moved[f"client{n}"] != seen[f"client{n}"],
                f"longest gap {gap(result):.1f} s; {seen[f'client{n}']} became {moved[f'client{n}']}")
    r.check("no new negotiation was needed", culvert.exchange_counts()["quick_mode"] == 4, culvert.exchange_counts())

    targets = {"a Culvert inside that hears nothing": sites.HOST["b"], "a strongSwan inside that hears nothing": inside_address(1)}
    silent = {who: Ping(host, f"silent{n}", target, interval=0.1) for n, (who, target) in enumerate(targets.items())}
    for phase in (1.0, 2.3):                                         # whatever the time since the last keepalive
        time.sleep(phase)
        flush(box)
        time.sleep(KEEPALIVE + 1.5)
    for who, running in silent.items():
        found = gap(running.stop())
        r.check(f"from the outside to {who}: within a keepalive interval ({KEEPALIVE} s)", 0.2 < found <= KEEPALIVE + 0.2, f"longest gap {found:.1f} s")
    capture.stop()
    replay_elsewhere(r, lab, capture.file, box, culvert)
    for n, namespace in zip(CLIENTS, clients):                       # idle since the box forgot them: the answer to the first ping may be lost
        ping(namespace, sites.HOST["a"], inside_address(n), count=1)
        r.check(f"client {n}: ping at the end", *ping(namespace, sites.HOST["a"], inside_address(n)))


report.run("nat_moves", body)

#!/usr/bin/python3
"""MOBIKE (RFC 4555) with strongSwan in both roles: addresses change under ping, and nothing is made anew.

Time limit: 120 s
strongSwan, as initiator, gets another address and loses the one that it has: it tells Culvert, which asks whether it is there, and goes along, twice.
Then Culvert is the initiator, the path to strongSwan's address drops all packets, and Culvert finds the other address that strongSwan has named; and
last, strongSwan loses that one, and says so. Each time pings go on under the same IKE SA. (The CHILD SA strongSwan rekeys where it is now: its
kernel-libipsec cannot take one to other addresses.)
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, ikev2, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

GW, HOME, AWAY = sites.ADDRESS["a"], sites.ADDRESS["b"], "10.9.1.22"
NET, INSIDE = {"roamer": "10.2.7.0/24", "server": "10.2.8.0/24"}, {"roamer": "10.2.7.1", "server": "10.2.8.1"}
BLOCK = """table netdev block {{
  chain in {{
    type filter hook ingress device cl0 priority 0
    ip daddr {0} drop
  }}
}}
table ip block {{
  chain out {{
    type filter hook output priority 0
    ip saddr {0} drop
  }}
}}
"""


def culvert_connections(gw):
    secret = gw.secret(sites.SECRET)

    def with_peer(remote, name, **extra):
        return gateway.connection(GW, remote, sites.IDENTITY["a"], f"{name}.example", sites.IKE_SUITE, secret,
                                  {"net": gateway.child(sites.NET["a"], NET[name], sites.ESP_SUITE)}, version=2, **extra)
    return {"roamer": with_peer("%any", "roamer"), "server": with_peer(HOME, "server", dpd_delay="2s")}


def strongswan_connections():
    def to_us(local, name):
        return strongswan.connection(local, GW, f"{name}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                     {name: strongswan.child(NET[name], sites.NET["a"], sites.ESP_SUITE)}, version=2)
    return {"roamer": to_us("%any", "roamer"), "server": to_us(HOME, "server")}


def remote(culvert, name):
    """Where Culvert has the peer: the address of its IKE SA in use."""
    return next((sa["remote"].rsplit(":", 1)[0] for sa in culvert.ike_sas(name) if sa["state"] == "established"), None)


def arrives(culvert, name, address):
    try:
        return wait_for(lambda: remote(culvert, name) == address and f"The CHILD SAs are at {GW}:4500 - {address}:4500" in culvert.log(), 40, f"{name} at {address}")
    except LabError:
        return False


def pings_again(site, name):
    try:
        return wait_for(lambda: ping(site.host, INSIDE[name], sites.HOST["a"], count=1)[0], 20, "an echo")
    except LabError:
        return False


def moves(r, site, name, what, change, address):
    before = ikev2.in_use(site.culvert, name)[0]
    change()
    r.check(f"{what}: Culvert has it at {address}", arrives(site.culvert, name, address), f"{remote(site.culvert, name)} {site.culvert.log()[-600:]}")
    r.check("... pings go on", pings_again(site, name), "no echo")
    r.check("... and well", *ping(site.host, INSIDE[name], sites.HOST["a"], count=5))
    r.check("... under the same IKE SA", ikev2.in_use(site.culvert, name)[0] == before, f"{before} {ikev2.in_use(site.culvert, name)[0]}")
    r.check("... on both sides", not ikev2.differ(site.culvert, site.strongswan, name), ikev2.differ(site.culvert, site.strongswan, name))


def goes(site, new, old):
    """The peer's interface gets an address, and loses one."""
    def change():
        site.outside.address("cl0", f"{new}/16")
        site.outside.sh("ip", "addr", "del", f"{old}/16", "dev", "cl0")
    return change


def roaming(r, site):
    ok, text = site.strongswan.initiate("roamer")
    r.check("strongSwan initiates", ok, text[-300:])
    sa = site.culvert.ike_sas("roamer")[0]
    r.check("both can move, and IKE goes by port 4500", sa["mobike"] and sa["local"].endswith(":4500") and sa["remote"] == f"{HOME}:4500", str(sa)[:300])
    r.check("pings", *ping(site.host, INSIDE["roamer"], sites.HOST["a"], count=3))
    moves(r, site, "roamer", "strongSwan roams", goes(site, AWAY, HOME), AWAY)
    moves(r, site, "roamer", "strongSwan comes back", goes(site, HOME, AWAY), HOME)
    peers = site.culvert.result("explain", "roamer")["connections"][0]["peers"]
    r.check("explain shows that it can move", [p["mobike"] for p in peers] == [True], str(peers))
    site.strongswan.terminate("roamer")
    wait_for(lambda: not [s for s in site.culvert.ike_sas("roamer") if s["state"] != "deleting"], 10, "the end")


def failing_over(r, lab, site):
    site.outside.address("cl0", f"{AWAY}/16")
    ok, text = site.culvert.initiate("server", "net")
    r.check("Culvert initiates", ok, str(text)[-300:])
    sa = site.culvert.ike_sas("server")[0]
    r.check("strongSwan has named its other address", sa["mobike"] and AWAY in sa["peer_addresses"], str(sa)[:300])
    r.check("pings", *ping(site.host, INSIDE["server"], sites.HOST["a"], count=3))
    moves(r, site, "server", "the path is dead", lambda: site.outside.sh("nft", "-f", lab.write("block.nft", BLOCK.format(HOME))), AWAY)
    site.outside.sh("nft", "flush", "ruleset")
    moves(r, site, "server", "strongSwan loses the address", lambda: site.outside.sh("ip", "addr", "del", f"{AWAY}/16", "dev", "cl0"), HOME)


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, culvert_connections, strongswan_connections())
    site.outside.sysctl(**{"net.ipv4.conf.all.promote_secondaries": 1, "net.ipv4.conf.cl0.promote_secondaries": 1})
    site.outside.addresses("lo", [f"{address}/24" for address in INSIDE.values()])
    site.start()
    roaming(r, site)
    failing_over(r, lab, site)


report.run("ikev2_mobike", body)

#!/usr/bin/python3
"""strongSwan is killed, and comes again from another address with the same identity and the same network: echoes go to where it is now, at once.

Time limit: 60 s
Nobody answers where it was, so that what it had there stands for over a minute, until Culvert's Delete has been sent for the last time: with IKEv2 and
`unique: no` its inbound SA does, and with it an entry of the SPD for the same packets. It goes there and back again, and once culvertd is killed, too.
With IKEv1, where a Delete is not answered, `unique: replace` ends the old SAs at once.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.traffic import ping  # noqa: E402

PLACES = {2: (1, 2), 1: (3, 4)}                                     # by version; the network behind it is the one of the first place
UNIQUE = {2: "no", 1: "replace"}


def name(version):
    return f"v{version}"


def net(version):
    return f"10.2.{PLACES[version][0]}.0/24"


def culvert_connections(gw):
    secret = gw.secret(sites.SECRET)
    return {name(version): gateway.connection(sites.ADDRESS["a"], "%any", sites.IDENTITY["a"], f"v{version}.example", sites.IKE_SUITE, secret, {
        "net": gateway.child(sites.NET["a"], net(version), sites.ESP_SUITE)}, version=version, unique=unique) for version, unique in UNIQUE.items()}


def strongswan_connections():
    return {f"from-{n}": strongswan.connection(f"10.9.1.{n}", sites.ADDRESS["a"], f"v{version}.example", sites.IDENTITY["a"], sites.IKE_SUITE, {
        f"net-{n}": strongswan.child(net(version), sites.NET["a"], sites.ESP_SUITE)}, version=version) for version, places in PLACES.items() for n in places}


def places(site, version):
    """Where the SAs lead that Culvert has of this network."""
    return {sa["remote"].rsplit(":", 1)[0] for sa in site.culvert.ike_sas(name(version)) if sa["children"]}


def moves(site, version, here, there):
    """strongSwan dies at one place and comes again at another one."""
    site.strongswan.process.kill()
    site.outside.sh("ip", "addr", "del", f"10.9.1.{here}/16", "dev", "cl0")
    site.outside.address("cl0", f"10.9.1.{there}/16")
    site.strongswan.start()
    return site.strongswan.initiate(f"net-{there}")


def echoes(site, version):
    return ping(site.host, f"10.2.{PLACES[version][0]}.1", sites.HOST["a"], count=5, interval=0.1, wait=5)


def travels(r, site, version):
    first, second = PLACES[version]
    site.outside.address("cl0", f"10.9.1.{first}/16")
    site.outside.address("lo", f"10.2.{first}.1/24")
    ok, text = site.strongswan.initiate(f"net-{first}")
    r.check(f"IKEv{version}: the first place is up, and has its echoes", ok and echoes(site, version)[0], text[-200:])
    for here, there, what in (first, second, "elsewhere"), (second, first, "back where it was first"):
        ok, text = moves(site, version, here, there)
        r.check(f"IKEv{version}: killed, it comes again {what}", ok, text[-200:])
        r.check(f"IKEv{version}: ... and has every echo from the first one on", *echoes(site, version))
        r.check(f"IKEv{version}: ... though what it had before " + ("stands" if version == 2 else "is gone"),
                places(site, version) == {f"10.9.1.{n}" for n in (here, there)[2 - version:]}, places(site, version))


def inbound(site):
    """The SPIs of all SAs that Culvert has of IKEv2's network and takes packets in by, also those of a culvertd before."""
    listed = site.culvert.result("list-sas")
    return ({c["spi_in"] for sa in listed["ike_sas"] if sa["connection"] == name(2) for c in sa["children"]}
            | {o["spi"] for o in listed["orphans"] if o["connection"] == name(2) and o["direction"] == "in"})


def restarts(r, site):
    before = inbound(site)
    site.culvert.control.kill()
    site.culvert.start_control()
    r.check("culvertd is killed: the next one keeps all that there was", len(before) == 3 and inbound(site) == before, f"{before} {inbound(site)}")
    r.check("... and the newest still has the echoes", *echoes(site, 2))
    ok, text = moves(site, 2, *PLACES[2])
    r.check("... and so it has when it comes again elsewhere", ok and echoes(site, 2)[0], text[-200:])


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, culvert_connections, strongswan_connections())
    site.start()
    travels(r, site, 1)
    travels(r, site, 2)
    restarts(r, site)
    drops = site.culvert.drops()
    r.check("no packet found an entry without an SA", drops.get("policy_no_sa", 0) == 0, drops)


report.run("elsewhere", body)

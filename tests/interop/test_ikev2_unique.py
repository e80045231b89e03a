#!/usr/bin/python3
"""IKEv2: one identity from two places, against strongSwan in both roles: unique: replace, keep, no and never, and what INITIAL_CONTACT does then.

Time limit: 60 s
As the gateway Culvert has a connection for each value, told by the peer's identity; strongSwan calls from two addresses with one identity each.
Then strongSwan is killed and comes again, which it says (INITIAL_CONTACT), and calls from a place behind a NAT that has one address for port 500
and another one for port 4500: where IKE_AUTH comes from, it is. Last, strongSwan is the gateway that keeps who is there, and Culvert
calls it from two of its own addresses.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

GW, SECOND, SERVER = sites.ADDRESS["a"], "10.9.0.11", "10.9.0.2"
PLACES = {"replace": (1, 2), "keep": (3, 4), "no": (5, 6), "never": (7, 8)}
NAT = """table ip two {
  chain post {
    type nat hook postrouting priority 100
    ip saddr 10.9.1.1 udp dport 500 snat to 10.9.1.101
    ip saddr 10.9.1.1 udp dport 4500 snat to 10.9.1.201
  }
}
"""
BEHIND = {"here": "10.2.64.0/24", "there": "10.2.65.0/24"}          # strongSwan as the gateway


def culvert_connections(gw):
    secret = gw.secret(sites.SECRET)
    found = {value: gateway.connection(GW, "%any", sites.IDENTITY["a"], f"{value}.example", sites.IKE_SUITE, secret, {
        f"n{n}": gateway.child(sites.NET["a"], f"10.2.{n}.0/24", sites.ESP_SUITE) for n in numbers}, version=2, unique=value) for value, numbers in PLACES.items()}
    return found | {name: gateway.connection(local, SERVER, "two-places.example", "server.example", sites.IKE_SUITE, secret,
                                             {"net": gateway.child(sites.NET["a"], BEHIND[name], sites.ESP_SUITE)}, version=2, unique="never")
                    for name, local in (("here", GW), ("there", SECOND))}


def strongswan_connections():
    found = {f"{value}-{n}": strongswan.connection(f"10.9.1.{n}", GW, f"{value}.example", sites.IDENTITY["a"], sites.IKE_SUITE, {
        f"n{n}": strongswan.child(f"10.2.{n}.0/24", sites.NET["a"], sites.ESP_SUITE)}, version=2) for value, numbers in PLACES.items() for n in numbers}
    return found | {"server": strongswan.connection(SERVER, "%any", "server.example", "two-places.example", sites.IKE_SUITE, {
        f"serve-{name}": strongswan.child(net, sites.NET["a"], sites.ESP_SUITE) for name, net in BEHIND.items()}, version=2, unique="keep")}


def established(culvert, connection):
    return sorted(sa["remote"].rsplit(":", 1)[0] for sa in culvert.ike_sas(connection) if sa["state"] == "established")


def reaches(condition, what):
    try:
        return bool(wait_for(condition, 15, what))
    except LabError:
        return False


def pinged(site, n):
    return ping(site.host, f"10.2.{n}.1", sites.HOST["a"], count=2)[0]


def as_gateway(r, site):
    peer, culvert = site.strongswan, site.culvert
    for value, (first, second) in PLACES.items():
        ok, text = peer.initiate(f"n{first}")
        r.check(f"{value}: the first place is up", ok and pinged(site, first), text[-200:])
        ok, text = peer.initiate(f"n{second}")
        both = [f"10.9.1.{first}", f"10.9.1.{second}"]
        if value == "keep":
            r.check("keep: the second place is refused", not ok and "AUTHENTICATION_FAILED" in text + peer.log_text() and established(culvert, value) == both[:1], text[-300:])
            r.check("keep: the first one stays", pinged(site, first) and f"{value}-{first}" in peer.list_sas())
            failure = culvert.result("explain", value)["connections"][0]["failures"][0]
            r.check("keep: explain says why", failure["reason"] == "already_connected", str(failure)[:300])
            peer.terminate(f"{value}-{first}")
            r.check("keep: when it has left the other one may come", reaches(lambda: not established(culvert, value), "the end") and peer.initiate(f"n{second}")[0]
                    and pinged(site, second))
        elif value == "replace":
            r.check("replace: the second place is up, and the first one ends on both sides",
                    ok and pinged(site, second) and reaches(lambda: established(culvert, value) == both[1:] and f"{value}-{first}" not in peer.list_sas(), "the end"),
                    f"{established(culvert, value)} {text[-200:]}")
        else:
            r.check(f"{value}: both places are up", ok and pinged(site, second) and pinged(site, first) and established(culvert, value) == both,
                    f"{established(culvert, value)} {text[-200:]}")

    peer.process.kill()
    peer.start()
    for value in "no", "never":
        first = PLACES[value][0]
        ok, text = peer.initiate(f"n{first}")
        r.check(f"{value}: strongSwan was killed, and one place comes again", ok and reaches(lambda n=first: pinged(site, n), "ping"), text[-200:])
    r.check("no: INITIAL_CONTACT ends what the identity had, wherever", reaches(lambda: established(culvert, "no") == ["10.9.1.5"], "one SA"), established(culvert, "no"))
    r.check("never: INITIAL_CONTACT is not heeded", established(culvert, "never") == ["10.9.1.7", "10.9.1.7", "10.9.1.8"], established(culvert, "never"))


def behind_nat(r, lab, site):
    site.outside.address("lo", "10.9.1.101/32")
    site.outside.address("lo", "10.9.1.201/32")
    site.outside.sh("nft", "-f", lab.write("two-addresses.nft", NAT))
    ok, text = site.strongswan.initiate("n1")
    reached, line = ping(site.host, "10.2.1.1", sites.HOST["a"], count=2)
    seen = established(site.culvert, "replace")
    r.check("a NAT that has another address for IKE_AUTH: the peer is up where its proof came from", ok and reached and seen == ["10.9.1.201"],
            f"{seen} {line} {text[-300:]}")
    site.outside.sh("nft", "delete", "table", "ip", "two")


def as_client(r, site):
    peer, culvert = site.strongswan, site.culvert
    contacts = peer.logged(r"N\(INIT_CONTACT\)")
    ok, text = culvert.initiate("here", seconds=8)
    r.check("Culvert calls from one place", ok and pinged(site, 64), str(text)[-300:])
    r.check("... and with never says no INITIAL_CONTACT", peer.logged(r"N\(INIT_CONTACT\)") == contacts)
    ok, text = culvert.initiate("there", seconds=5)
    failures = culvert.result("explain", "there")["connections"][0]["failures"]
    r.check("strongSwan that keeps the first place refuses the second one, and explain says so", not ok and failures and "AUTHENTICATION_FAILED" in failures[0]["message"],
            f"{str(text)[-200:]} {str(failures)[:300]}")
    r.check("... and the first one stays", pinged(site, 64) and established(culvert, "here") == [SERVER])


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, culvert_connections, strongswan_connections())
    site.culvert.config["ports"]["wan"]["addresses"].append(f"{SECOND}/16")
    site.culvert.write()
    site.number([n for numbers in PLACES.values() for n in numbers])
    site.outside.addresses("lo", ["10.2.64.1/24", "10.2.65.1/24"])
    site.start()
    as_gateway(r, site)
    behind_nat(r, lab, site)
    as_client(r, site)


report.run("ikev2_unique", body)

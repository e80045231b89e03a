#!/usr/bin/python3
"""IKEv2: redirects (RFC 5685) against strongSwan in both roles: at once, behind the proofs, and of an established client, under pings.

Time limit: 60 s
As the gateway Culvert is two of them, at 10.9.0.1 and at 10.9.0.11, each with a network of its own, so that a ping shows at which one the client is.
strongSwan is a client that follows (charon.follow_redirects); behind the proofs its 5.9.8 begins to, and ends with a double free of its own, so that
this is looked at first, up to there, and strongSwan started again. Then strongSwan is two gateways at 10.9.0.2 and 10.9.1.2, and sends Culvert from one to
the other (swanctl --redirect): no echo may be lost.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

FIRST, SECOND = sites.ADDRESS["a"], "10.9.0.11"
SERVER, OTHER_SERVER = "10.9.0.2", "10.9.1.2"
NUMBER = {"init": 1, "auth": 2, "moved": 3}              # of the clients: 10.9.2.n, with 10.2.n.0/24 behind
HOSTS = {FIRST: "10.1.0.10", SECOND: "10.1.1.10"}


def culvert_connections(gw):
    secret = gw.secret(sites.SECRET)
    how = {"init": {"redirect_to": SECOND, "redirect_at": "init"}, "auth": {"redirect_to": SECOND}, "moved": {}}

    def serves(name, address, net, extra):
        return gateway.connection(address, f"10.9.2.{NUMBER[name]}", "gw.example", f"{name}.example", sites.IKE_SUITE, secret,
                                  {"net": gateway.child(net, f"10.2.{NUMBER[name]}.0/24", sites.ESP_SUITE)}, version=2, **extra)

    found = {name: serves(name, FIRST, "10.1.0.0/24", extra) for name, extra in how.items()}
    found |= {f"{name}-2": serves(name, SECOND, "10.1.1.0/24", {}) for name in how}
    return found | {"client": gateway.connection(FIRST, SERVER, "client.example", "server.example", sites.IKE_SUITE, secret,
                                                 {"net": gateway.child("10.1.0.0/16", "10.2.64.0/24", sites.ESP_SUITE)}, version=2)}


def strongswan_connections():
    found = {name: strongswan.connection(f"10.9.2.{n}", FIRST, f"{name}.example", "gw.example", sites.IKE_SUITE, {
        name: strongswan.child(f"10.2.{n}.0/24", "10.1.0.0/16", sites.ESP_SUITE)}, version=2) for name, n in NUMBER.items()}
    return found | {"server": strongswan.connection("%any", FIRST, "server.example", "client.example", sites.IKE_SUITE, {
        "serve": strongswan.child("10.2.64.0/24", "10.1.0.0/16", sites.ESP_SUITE)}, version=2)}


def reaches(condition, what, seconds=20):
    try:
        return bool(wait_for(condition, seconds, what))
    except LabError:
        return False


def at(site, name):
    """Where strongSwan has the client's SA."""
    return site.strongswan.list_sas().get(name, {}).get("remote-host")


def echo(site, name, address):
    return ping(site.outside, HOSTS[address], f"10.2.{NUMBER[name]}.1", count=1)[0]


def gone(site, connection, seconds=20):
    return reaches(lambda: not [sa for sa in site.culvert.ike_sas(connection) if sa["state"] != "deleting"], "the end", seconds)


def behind_the_proofs(r, site):
    site.strongswan.swanctl("initiate", "--child", "auth", "--timeout", "15", check=False)
    r.check("auth: strongSwan takes our proof and the redirect", reaches(lambda: site.strongswan.logged(f"redirected to {SECOND}") == 1, "the redirect"),
            site.strongswan.log_text()[-600:])
    r.check("auth: it is counted", site.culvert.exchange_counts("redirected")["ike_auth"] == 1, str(site.culvert.exchange_counts("redirected")))
    if not reaches(lambda: not site.strongswan.process.alive(), "strongSwan's end", 3):
        r.check("auth: strongSwan is at the other gateway", reaches(lambda: at(site, "auth") == SECOND and echo(site, "auth", SECOND), "an echo"), str(at(site, "auth")))
    site.strongswan.stop()
    site.strongswan.start()


def at_once(r, site):
    site.strongswan.swanctl("initiate", "--child", "init", "--timeout", "15", check=False)
    r.check("init: strongSwan is at the other gateway", reaches(lambda: at(site, "init") == SECOND and echo(site, "init", SECOND), "an echo"),
            f"{at(site, 'init')} {site.strongswan.log_text()[-600:]}")
    r.check("init: nothing of it is at the first one", gone(site, "init") and site.culvert.child_up("init-2", "net"), str(site.culvert.ike_sas())[:300])
    r.check("init: it is counted", site.culvert.exchange_counts("redirected")["ike_sa_init"] == 1, str(site.culvert.exchange_counts("redirected")))
    r.check("strongSwan says who has sent it", site.strongswan.logged(r"N\(REDIR_FROM\)") >= 1, site.strongswan.log_text()[-600:])
    r.check("explain has nothing to complain of", not site.culvert.result("explain", "init")["connections"][0]["failures"])


def established(r, site):
    ok, text = site.strongswan.initiate("moved")
    r.check("moved: strongSwan is at the first gateway", ok and reaches(lambda: echo(site, "moved", FIRST), "an echo") and at(site, "moved") == FIRST, text[-300:])
    status, said = site.culvert.cli("redirect", "moved", SECOND)
    r.check("the operator sends it away", status == 0 and said["message"].startswith('Told 1 client of "moved"'), str(said))
    r.check("moved: strongSwan is at the other gateway", reaches(lambda: at(site, "moved") == SECOND and echo(site, "moved", SECOND), "an echo"),
            f"{at(site, 'moved')} {site.strongswan.log_text()[-600:]}")
    r.check("moved: nothing of it is at the first one", gone(site, "moved"), str(site.culvert.ike_sas("moved"))[:300])
    status, said = site.culvert.cli("redirect", "moved", "10.9.0.256")
    r.check("what is no gateway is refused", status == 1 and "address or the name of a host" in str(said), str(said))


def as_client(r, site):
    ok, text = site.culvert.initiate("client", "net")
    r.check("Culvert is at strongSwan's first gateway", ok and reaches(lambda: ping(site.host, "10.2.64.1", count=1)[0], "an echo"), str(text)[-300:])
    pings = Ping(site.host, "redirected", "10.2.64.1", interval=0.02)
    said = site.strongswan.swanctl("redirect", "--ike", "server", "--gateway", OTHER_SERVER, check=False)
    there = reaches(lambda: [sa["remote"].rsplit(":", 1)[0] for sa in site.culvert.ike_sas("client") if sa["state"] != "deleting"] == [OTHER_SERVER], "the move", 30)
    r.check("strongSwan sends it to the other one, and it goes", there, f"{said[-300:]} {site.culvert.ike_sas('client')} {site.culvert.log()[-600:]}")
    r.check("strongSwan has it there alone", reaches(lambda: at(site, "server") == FIRST and len(site.strongswan.child_sas("server")) == 1, "one pair"),
            str(site.strongswan.child_sas("server"))[:300])
    result = pings.stop()
    r.check("no echo is lost", result.transmitted > 10 and not result.lost, f"{result}, {site.culvert.drops()['esp_no_sa']} of no SA")
    r.check("pings go by the new one", ping(site.host, "10.2.64.1", count=3)[0])


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, culvert_connections, strongswan_connections())
    site.culvert.config["ports"]["wan"]["addresses"].append(f"{SECOND}/16")
    site.culvert.write()
    site.outside.addresses("cl0", [f"{OTHER_SERVER}/16", *(f"10.9.2.{n}/16" for n in NUMBER.values())])
    site.outside.addresses("lo", ["10.2.64.1/24", *(f"10.2.{n}.1/24" for n in NUMBER.values())])
    site.host.addresses("h0", ["10.1.1.10/16"])
    site.start()
    behind_the_proofs(r, site)
    at_once(r, site)
    established(r, site)
    as_client(r, site)
    r.check("auth: the first gateway forgets who does not say Delete", gone(site, "auth", 60) and not site.culvert.child_up("auth", "net"), str(site.culvert.ike_sas("auth"))[:300])


report.run("ikev2_redirect", body)

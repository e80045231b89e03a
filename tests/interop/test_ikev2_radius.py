#!/usr/bin/python3
"""Users whom a RADIUS server knows: strongSwan's clients by EAP-MSCHAPv2, EAP-MD5 and EAP-TLS, and our own by EAP-MSCHAPv2, through Culvert
to FreeRADIUS; who is refused, another server when one is dead, another secret, and nobody who answers.

Time limit: 240 s
"""
import os
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, pki, report, sites, strongswan  # noqa: E402
from lib.freeradius import FreeRadius  # noqa: E402
from lib.gateway import Gateway  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

GW, SUITE = sites.ADDRESS["a"], "aes256-sha256-ecp256"
IKE = {"retransmit_timeout": "1s", "half_open_timeout": "20s"}
POOL, SECRET = "10.3.0.0/25", "a secret of gateway and server"
NAS, MAIN, SPARE = "10.77.0.1", "10.77.0.5", "10.77.0.6"
USERS = """alice Cleartext-Password := "alice's password"
        Session-Timeout = 3600
carol Cleartext-Password := "carol's password"
        Framed-IP-Address = 10.3.0.77
mallory Auth-Type := Reject
        Reply-Message = "Your account is closed"
eve Cleartext-Password := "eve's password"
laptop EAP-Type := EAP-TLS
"""
# strongSwan's clients: the number of the address; auth; eap_id; the password that it has.
CLIENTS = {"alice": (1, "eap-mschapv2", "alice", "alice's password"), "md5": (2, "eap-md5", "carol", "carol's password"), "laptop": (3, "eap-tls", "laptop", None),
           "wrong": (4, "eap-mschapv2", "eve", "a guess"), "mallory": (5, "eap-mschapv2", "mallory", "x"), "nobody": (6, "eap-mschapv2", "nobody", "x"),
           "strict": (7, "eap-md5", "carol", "carol's password")}


class Files:
    def __init__(self):
        self.root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p384", 1), ca=True)
        self.gateway = pki.Issued("C=CH, O=Example, CN=gw-a", pki.key("p256", 0), self.root, san=["DNS:gw-a.example"])
        self.radius = pki.Issued("C=CH, O=Example, CN=radius.example", pki.key("rsa2048", 20), self.root, san=["DNS:radius.example"],
                                 usage=("digital_signature", "key_encipherment"), uses=("serverAuth",))
        self.laptop = pki.Issued("C=CH, O=Example, CN=laptop", pki.key("p256", 7), self.root, san=["DNS:laptop"])


def people(gw, w, remote, **extra):
    """A connection of users whom the servers know."""
    write = lambda name, text: gw.lab.write(f"{gw.name}/{name}", text)
    child = gateway.child(sites.NET["a"], "dynamic", sites.ESP_SUITE)
    found = gateway.connection(GW, remote, "", "", SUITE, "", {"net": child}, version=2, pools=["clients"], **extra)
    del found["secret"]
    return found | {"local": {"auth": "pubkey", "id": "gw-a.example", "certs": [write("gw.pem", w.gateway.pem())], "key": f"file:{write('gw.key', pki.pem(w.gateway.private))}"},
                    "remote": {"auth": "eap-radius"}}


def culvert_connections(gw, w):
    return {"people": people(gw, w, "%any", allow_weak=["eap-md5"]), "strict": people(gw, w, "10.9.1.7"),
            "visitors": people(gw, w, "10.8.0.2") | {"local_addrs": ["10.8.0.1"]}}


def strongswan_connections():
    def client(name, number, auth, eap_id, _):
        local = {"auth": auth, "eap_id": eap_id, "id": f"{name}.example"} | ({"certs": "laptop.pem", "aaa_id": "radius.example"} if auth == "eap-tls" else {})
        found = strongswan.connection(f"10.9.1.{number}", GW, "", "", SUITE, {name: strongswan.child("dynamic", sites.NET["a"], sites.ESP_SUITE)}, version=2, vips="0.0.0.0")
        return found | {"local": local, "remote": {"auth": "pubkey", "id": "gw-a.example"}}
    return {name: client(name, *what) for name, what in CLIENTS.items()}


def keys_of(w, folder):
    for part in ("x509", "x509ca", "private"):
        os.makedirs(f"{folder}/swanctl/{part}", exist_ok=True)
    for path, text in {"x509/laptop.pem": w.laptop.pem(), "x509ca/root.pem": w.root.pem(), "private/laptop.pem": pki.pem(w.laptop.private)}.items():
        with open(f"{folder}/swanctl/{path}", "w", encoding="utf-8") as f:
            f.write(text)


def latest(culvert, connection):
    failures = culvert.result("explain", connection)["connections"][0]["failures"]
    return failures[0] if failures else {}


def refused(culvert, connection, reason, says):
    """The latest failure of the connection once it has this reason and says so; what there is when it does not come."""
    try:
        return wait_for(lambda: (f := latest(culvert, connection)).get("reason") == reason and says in f.get("message", "") and f, 30, f"{reason} of {connection}")
    except LabError:
        return {}


def comes_in(r, site, name, user, address=None):
    ok, text = site.strongswan.initiate(name, seconds=30)
    r.check(f"{name} comes in by {CLIENTS[name][1]}", ok, text[-400:] + site.main.log_text()[-600:])
    sa = next((s for s in site.culvert.ike_sas("people") if s["xauth_user"] == user and s["state"] == "established"), None)
    r.check("... list-sas has his name and address", bool(sa and sa["virtual_address"]), str(site.culvert.ike_sas("people"))[:300])
    if address:
        r.check("... which is the one that the server gives him", bool(sa) and sa["virtual_address"] == address, str(sa)[:300])
    if sa:
        r.check("... and he is pinged there", *ping(site.host, sa["virtual_address"], sites.HOST["a"], count=2))
    site.strongswan.terminate(name)
    return ok


def stays_out(r, site, name, connection, reason, says, cause):
    ok, text = site.strongswan.initiate(name, seconds=40)
    found = refused(site.culvert, connection, reason, says)
    r.check(f"{name} is refused, and explain says why: {reason}", not ok and found.get("causes", [{}])[0].get("cause") == cause,
            str(found or latest(site.culvert, connection))[:400] + text[-200:])
    site.strongswan.terminate(name, 2)


def users(r, site):
    comes_in(r, site, "alice", "alice")
    comes_in(r, site, "md5", "carol", "10.3.0.77")
    comes_in(r, site, "laptop", "laptop")
    stays_out(r, site, "wrong", "people", "radius_rejected", "rejects him", "radius_rejected")
    stays_out(r, site, "mallory", "people", "radius_rejected", '"Your account is closed"', "radius_rejected")
    stays_out(r, site, "nobody", "people", "radius_rejected", "rejects him", "radius_rejected")
    stays_out(r, site, "strict", "strict", "eap_method", "a method that makes no key", "auth_method")
    r.check("the server's answers are counted", site.culvert.metric("culvert_radius_accepts_total", server="main") == 4 and
            site.culvert.metric("culvert_radius_rejects_total", server="main") == 3)
    r.check("... and nothing was dropped", all(site.culvert.metric(f"culvert_radius_{what}_total", server="main") == 0 for what in ("forged", "unproven", "malformed")))


def visitor(lab, site, w):
    """A Culvert of its own, behind another port of the gateway: a user of it."""
    outside, inside = lab.namespaces("visitor", "visitor-host")
    lab.link(site.inside, "gw1", None, outside, "gw0", None)
    lab.link(inside, "h0", "10.4.0.10/24", outside, "in0", None)
    inside.route("default", "10.4.0.1")
    user = Gateway(lab, outside, "visitor", {"wan": ("gw0", ["10.8.0.2/24"]), "lan": ("in0", ["10.4.0.1/24"])}, [{"to": sites.NET["a"], "via": "10.8.0.1"}, {"to": POOL, "port": "lan"}])
    found = gateway.connection("10.8.0.2", "10.8.0.1", "", "", SUITE, "", {"net": gateway.child("dynamic", sites.NET["a"], sites.ESP_SUITE)}, version=2, vips=["0.0.0.0"])
    del found["secret"]
    user.config["connections"] = {"visit": found | {
        "local": {"auth": "eap-mschapv2", "id": "visitor.example", "eap_id": "alice", "password": f"file:{user.secret(CLIENTS['alice'][3], 'password')}"},
        "remote": {"auth": "pubkey", "id": "gw-a.example", "cacerts": [lab.write("visitor/root.pem", w.root.pem())]}}}
    user.write()
    return user, inside


def our_own(r, site, user, host):
    user.start()
    ok, text = user.initiate("visit", seconds=40)
    r.check("our own client comes in", ok, str(text)[-400:])
    sa = next((s for s in site.culvert.ike_sas("visitors") if s["state"] == "established"), None)
    r.check("... as alice", bool(sa) and sa["xauth_user"] == "alice", str(sa)[:300])
    if ok and sa:
        host.address("h0", f"{sa['virtual_address']}/32")
        r.check("... and pings what is behind the gateway", *ping(host, sites.HOST["a"], sa["virtual_address"], count=2))
    user.terminate("visit")
    user.stop()


def failover(r, site):
    site.spare.start()
    site.main.stop()
    comes_in(r, site, "alice", "alice")
    r.check("the dead server is known to be", site.culvert.metric("culvert_radius_dead", server="main") == 1)
    r.check("... and the other one was asked", site.culvert.metric("culvert_radius_accepts_total", server="spare") == 1)
    before = site.culvert.metric("culvert_radius_requests_total", server="main")
    comes_in(r, site, "md5", "carol")
    r.check("... without a look at the dead one", site.culvert.metric("culvert_radius_requests_total", server="main") == before)


def silence(r, site):
    gw = site.culvert
    gw.secret("another secret", "radius.secret")
    stays_out(r, site, "alice", "people", "radius_timeout", "nothing came from", "radius_secret")
    wait_for(lambda: site.spare.logged("invalid Message-Authenticator"), 20, "FreeRADIUS to object to the other secret")
    causes = [c["cause"] for c in latest(gw, "people").get("causes", [])]
    r.check("another secret is the first cause, for a server that has not answered by it says nothing", causes == ["radius_secret", "radius_silent"], str(causes))
    gw.secret(SECRET, "radius.secret")
    comes_in(r, site, "alice", "alice")
    site.spare.stop()
    stays_out(r, site, "alice", "people", "radius_timeout", "where nothing listens", "radius_silent")


def made(lab, w):
    settings = {"ike": IKE, "radius": {"nas_identifier": "gw-a", "retransmit_tries": 2, "retransmit_timeout": "1s", "servers": {
        "main": {"address": MAIN, "preference": 10, "secret": "file:/x"}, "spare": {"address": SPARE, "secret": "file:/x", "sockets": 2}}}}
    site = sites.CulvertAndStrongSwan(lab, lambda gw: culvert_connections(gw, w), {}, **settings)
    site.strongswan.add_plugins("eap-tls")
    secret = site.culvert.secret(SECRET, "radius.secret")
    for server in site.culvert.config["radius"]["servers"].values():
        server["secret"] = f"file:{secret}"
    site.strongswan.configure(strongswan_connections(), {f"eap-{name}": {"id": f'"{eap_id}"', "secret": f'"{password}"'}
                                                         for name, (_, _, eap_id, password) in CLIENTS.items() if password})
    keys_of(w, site.strongswan.folder)
    site.culvert.config["routes"] += [{"to": POOL, "via": sites.ADDRESS["b"]}]
    site.culvert.config["ports"]["wan2"] = {"device": "net_af_packet2,iface=gw1", "addresses": ["10.8.0.1/24"]}
    site.culvert.config["pools"] = {"clients": {"addrs": POOL}}
    site.culvert.write()
    site.outside.addresses("cl0", [f"10.9.1.{what[0]}/16" for what in CLIENTS.values()])
    servers = lab.namespace("radius")
    lab.link(site.inside, "aaa0", f"{NAS}/24", servers, "r0", f"{MAIN}/24")
    servers.address("r0", f"{SPARE}/24")
    make = lambda name, address: FreeRadius(lab, servers, name, address, NAS, SECRET, USERS, w.radius, w.root)
    site.main, site.spare = make("main", MAIN), make("spare", SPARE)
    site.main.start()
    return site


def body(r, lab):
    w = Files()
    site = made(lab, w)
    user, host = visitor(lab, site, w)
    site.start()
    users(r, site)
    our_own(r, site, user, host)
    failover(r, site)
    silence(r, site)


report.run("ikev2_radius", body)

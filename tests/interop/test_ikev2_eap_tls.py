#!/usr/bin/python3
"""EAP-TLS in IKEv2 against strongSwan, in both roles: users with certificates of RSA and ECDSA, and those who are refused, with the reason on both ends.

Time limit: 150 s
Culvert is the gateway of strongSwan's clients, which are told apart by an address each. Then Culvert is the user of strongSwan's gateways, one an address. By TLS 1.2:
strongSwan 5.9.8 can be told to speak 1.3, but ends with a signal at the byte that RFC 9190 has at the end of it. tests/unit/auth/tls_test.cpp has 1.3, against OpenSSL.
"""
import os
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, pki, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

GW, SUITE = sites.ADDRESS["a"], "aes256-sha256-ecp256"
IKE = {"retransmit_timeout": "1s", "half_open_timeout": "20s"}
POOL, WIDE = "10.3.0.0/25", "10.3.7.0/24"
# client -> number of its address, its name in EAP, what its certificate has as subjectAltName, its key
CLIENTS = {"alice": (1, "alice@example.org", "email:alice@example.org", "rsa2048"), "laptop": (2, "laptop.example", "DNS:laptop.example", "p256"),
           "tablet": (3, '"C=CH, O=Example, CN=tablet"', "DNS:tablet.example", "p384"), "big": (4, "big@example.org", "email:big@example.org", "rsa4096"),
           "foreign": (5, "foreign@example.org", "email:foreign@example.org", "p256"), "revoked": (6, "revoked@example.org", "email:revoked@example.org", "p256"),
           "expired": (7, "expired@example.org", "email:expired@example.org", "p256"), "bare": (8, "bare@example.org", None, None)}
GOOD = ("alice", "laptop", "tablet", "big")
# reason, part of our message, what strongSwan's log has of it
REFUSED = {"foreign": ("cert_untrusted", "leads to no trusted authority", "unknown ca"), "revoked": ("cert_revoked", "revoked", "AUTHENTICATION_FAILED notify|EAP_FAILURE"),
           "expired": ("cert_invalid", "is expired since", "certificate expired"), "bare": ("eap_tls", "no certificate", "received fatal TLS alert")}
SERVERS = {"server": ("10.9.0.2", "rsa2048"), "server-ec": ("10.9.0.3", "p256"), "server-other": ("10.9.0.4", "p256")}


class Files:
    def __init__(self):
        self.root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p384", 1), ca=True)
        self.other = pki.Issued("C=CH, O=Other, CN=Root", pki.key("p256", 5), ca=True)
        self.gateway = pki.Issued("C=CH, O=Example, CN=gw-a", pki.key("p256", 0), self.root, san=["DNS:gw-a.example"])
        self.clients = {}
        for name, (number, _, alt, kind) in CLIENTS.items():
            dates = {"since": -20 * pki.DAY, "until": -pki.DAY} if name == "expired" else {}
            if kind:
                self.clients[name] = pki.Issued(f"C=CH, O=Example, CN={name}", pki.key(kind, 30 + number), self.other if name == "foreign" else self.root, san=[alt], **dates)
        self.servers = {name: pki.Issued(f"C=CH, O=Example, CN={name}", pki.key(kind, 20), self.root, san=[f"DNS:{name}.example"]) for name, (_, kind) in SERVERS.items()}
        self.visitors = {kind: pki.Issued(f"C=CH, O=Example, CN=visitor {kind}", pki.key(kind, 25), self.root, san=["DNS:visitor.example"]) for kind in ("rsa2048", "p256")}
        self.visitors["foreign"] = pki.Issued("C=CH, O=Example, CN=visitor", pki.key("p256", 26), self.other, san=["DNS:visitor.example"])


def culvert_connections(gw, w):
    write = lambda name, text: gw.lab.write(f"{gw.name}/{name}", text)
    certificate, key, root = write("gw.pem", w.gateway.pem()), write("gw.key", pki.pem(w.gateway.private)), write("root.pem", w.root.pem())
    crl = gw.lab.path(gw.name, "root.crl")
    with open(crl, "wb") as f:
        f.write(w.root.crl([w.clients["revoked"]]))
    people = gateway.connection(GW, "%any", "", "", SUITE, "", {"net": gateway.child(sites.NET["a"], "dynamic", sites.ESP_SUITE)}, version=2, pools=["clients"])
    del people["secret"]
    people |= {"local": {"auth": "pubkey", "id": "gw-a.example", "certs": [certificate], "key": f"file:{key}"},
               "remote": {"auth": "eap-tls", "cacerts": [root], "crls": [crl]}}

    def visitor(server, kind, **local):
        found = gateway.connection(GW, SERVERS[server][0], "", "", SUITE, "", {"net": gateway.child("dynamic", sites.NET["b"], sites.ESP_SUITE)}, version=2, vips=["0.0.0.0"])
        del found["secret"]
        own = w.visitors[kind]
        return found | {"local": {"auth": "eap-tls", "id": "branch.ike", "eap_id": "visitor.example", "certs": [write(f"visitor-{kind}.pem", own.pem())],
                                  "key": f"file:{write(f'visitor-{kind}.key', pki.pem(own.private))}", **local},
                        "remote": {"auth": "pubkey", "id": f"{server}.example", "cacerts": [root]}}
    return {"people": people, "visit-rsa": visitor("server", "rsa2048"), "visit-ec": visitor("server-ec", "p256"),
            "visit-foreign": visitor("server-other", "foreign"), "visit-elsewhere": visitor("server-other", "p256", aaa_id="aaa.example")}


def strongswan_connections(w):
    def connection(address, children, local, remote, **extra):
        found = strongswan.connection(address, GW, "", "", SUITE, children, version=2, send_cert="always", **extra)
        return found | {"local": local, "remote": remote}

    def client(name):
        number, identity, _, kind = CLIENTS[name]
        own = {"certs": f"{name}.pem"} if kind else {}
        return connection(f"10.9.1.{number}", {name: strongswan.child("dynamic", sites.NET["a"], sites.ESP_SUITE)},
                          {"auth": "eap-tls", "id": f"{name}.ike", "eap_id": identity, **own}, {"auth": "pubkey", "id": "gw-a.example"}, vips="0.0.0.0")

    def server(name):
        return connection(SERVERS[name][0], {f"serve-{name}": strongswan.child(sites.NET["b"], "dynamic", sites.ESP_SUITE)},
                          {"auth": "pubkey", "id": f"{name}.example", "certs": f"{name}.pem"}, {"auth": "eap-tls", "id": "branch.ike", "eap_id": "%any"}, pools="wide")
    return {name: client(name) for name in CLIENTS} | {name: server(name) for name in SERVERS}


def keys_of(w, folder):
    for part in ("x509", "x509ca", "private"):
        os.makedirs(f"{folder}/swanctl/{part}", exist_ok=True)
    texts = {"x509ca/root.pem": w.root.pem()}
    for name, c in (w.clients | w.servers).items():
        texts |= {f"x509/{name}.pem": c.pem(), f"private/{name}.pem": pki.pem(c.private)}
    for path, text in texts.items():
        with open(f"{folder}/swanctl/{path}", "w", encoding="utf-8") as f:
            f.write(text)


def latest(culvert, connection):
    failures = culvert.result("explain", connection)["connections"][0]["failures"]
    return failures[0] if failures else {}


def reason_of(culvert, connection, reason, says=""):
    """The latest failure of the connection once it has this reason; what there is when it does not come."""
    fits = lambda f: f.get("reason") == reason and says in f.get("message", "") and f
    try:
        return wait_for(lambda: fits(latest(culvert, connection)), 20, f"{reason} of {connection}")
    except LabError:
        return latest(culvert, connection)


def come_in(r, site):
    peer, culvert = site.strongswan, site.culvert
    for name in GOOD:
        ok, text = peer.initiate(name, seconds=20)
        r.check(f"{name} comes in", ok, text[-500:])
        shown = CLIENTS[name][1].strip('"')
        sa = next((s for s in culvert.ike_sas("people") if s["xauth_user"] == shown), None)
        r.check("... list-sas has the name and an address", bool(sa and sa["virtual_address"]), str(culvert.ike_sas("people"))[:300])
        if sa:
            r.check("... which is pinged", *ping(site.host, sa["virtual_address"], sites.HOST["a"], count=2))
        peer.terminate(name)


def stay_out(r, site):
    peer, culvert = site.strongswan, site.culvert
    for name, (reason, says, heard) in REFUSED.items():
        before = peer.logged(heard)
        ok, text = peer.initiate(name, seconds=15)
        found = reason_of(culvert, "people", reason, says)
        r.check(f"{name} is refused, and explain says why: {reason}", not ok and found.get("reason") == reason and says in found.get("message", ""), str(found)[:400] + text[-300:])
        r.check("... it is counted with its own reason", culvert.exchange_counts(reason)["ike_auth"] >= 1)
        r.check(f"... and strongSwan has heard it: {heard}", peer.logged(heard) > before, peer.log_text()[-1500:])
        peer.terminate(name, 2)


def visit(r, site):
    peer, culvert = site.strongswan, site.culvert
    known = set()       # addresses that the host behind Culvert has already
    for name, server in (("visit-rsa", "server"), ("visit-ec", "server-ec")):
        ok, text = culvert.initiate(name)
        r.check(f"Culvert is a user of strongSwan's: {name}", ok, str(text)[-300:] + peer.log_text()[-1500:] * (not ok))
        if ok:
            address = culvert.ike_sas(name)[0]["virtual_address"]
            if address not in known:
                known.add(address)
                site.host.address("h0", f"{address}/32")
            r.check("... has an address, and the host behind it uses it", *ping(site.host, sites.INSIDE["b"], address, count=2))
            r.check("... strongSwan knows it by its name", peer.list_sas().get(server, {}).get("remote-eap-id") == "visitor.example", str(peer.list_sas().get(server))[:300])
        culvert.terminate(name)


def visits_that_fail(r, site):
    peer, culvert = site.strongswan, site.culvert
    ok, text = culvert.initiate("visit-foreign", seconds=8)
    found = reason_of(culvert, "visit-foreign", "eap_tls")
    r.check("a certificate of ours that strongSwan does not trust: it says so by an alert, which explain has",
            not ok and found.get("reason") == "eap_tls" and found.get("causes", [{}])[0].get("cause") == "own_certificate" and "alert" in found.get("message", ""), str(found)[:500])
    culvert.terminate("visit-foreign")
    before = peer.logged("received fatal TLS alert")
    ok, text = culvert.initiate("visit-elsewhere", seconds=8)
    found = reason_of(culvert, "visit-elsewhere", "wrong_identity")
    r.check("a server of EAP that is not aaa_id is refused", not ok and found.get("reason") == "wrong_identity" and "aaa.example" in found.get("message", ""), str(found)[:500])
    r.check("... and strongSwan hears it", peer.logged("received fatal TLS alert") > before, peer.log_text()[-1500:])
    culvert.terminate("visit-elsewhere")


def body(r, lab):
    w = Files()
    site = sites.CulvertAndStrongSwan(lab, lambda gw: culvert_connections(gw, w), {}, ike=IKE)
    site.strongswan.configure(strongswan_connections(w), {}, pools={"wide": {"addrs": WIDE}})
    keys_of(w, site.strongswan.folder)
    site.culvert.config["routes"] += [{"to": POOL, "via": sites.ADDRESS["b"]}, {"to": WIDE, "port": "lan"}]
    site.culvert.config["pools"] = {"clients": {"addrs": POOL}}
    site.culvert.write()
    site.outside.addresses("cl0", [f"10.9.1.{client[0]}/16" for client in CLIENTS.values()] + [f"{a}/16" for a, _ in SERVERS.values() if a != sites.ADDRESS["b"]])
    site.start()
    come_in(r, site)
    stay_out(r, site)
    visit(r, site)
    visits_that_fail(r, site)


report.run("ikev2_eap_tls", body)

#!/usr/bin/python3
"""EAP in IKEv2 against strongSwan, in both roles: users of EAP-MSCHAPv2 with virtual addresses, EAP-MD5, and those who are refused, with the reason.

Time limit: 150 s
Culvert is the gateway of strongSwan's clients, which are told apart by an address each: kept as {plain} and {nt}, with the identity of a name and, as Windows
has it, of an address. Then Culvert is the user of strongSwan's gateways, one an address.
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
# user -> his password; how the gateway keeps it. The NT hash is that of "clientPass" (RFC 2759 §9.2).
PASSWORDS = {"alice": "alice's password", "DOMAIN\\\\bob": "clientPass", "carol": "cé ☂", "mallory": "guess", "nobody": "x", "hashed": "alicepw"}
USERS = """alice:{plain}alice's password
DOMAIN\\bob:{nt}44ebba8d5312b8d611474411f56989ae
carol:{plain}cé ☂
mallory:{plain}another password
hashed:$5$saltsalt$oQcbnkhLMRqvioe4yl/tmT2Rs.x/ovXywnDfGRPmyH4
"""
SERVER, SERVER_MD5, SERVER_WRONG, OLD, STRANGER = "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.1.20", "10.9.1.21"
# What the gateway calls the user; the number of the client's address; its IKE identity, None: the address, as of Windows.
CLIENTS = {"alice": (1, "phone.example"), "DOMAIN\\\\bob": (2, None), "carol": (3, "laptop.example"), "mallory": (4, None), "nobody": (5, None), "hashed": (6, None)}
REFUSED = {"mallory": ("eap_wrong_password", "its password is another"), "nobody": ("eap_unknown_user", "there is no such user"),
           "hashed": ("no_secret", "kept as a hash")}


class Files:
    def __init__(self):
        self.root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p384", 1), ca=True)
        self.other = pki.Issued("C=CH, O=Other, CN=Root", pki.key("p256", 5), ca=True)
        self.gateway = pki.Issued("C=CH, O=Example, CN=gw-a", pki.key("p256", 0), self.root, san=["DNS:gw-a.example"])
        self.servers = {name: pki.Issued(f"C=CH, O=Example, CN={name}", pki.key("rsa2048", 20), self.root, san=[f"DNS:{name}.example"]) for name in ("server", "old-server", "wrong-server")}


def culvert_connections(gw, w):
    write = lambda name, text: gw.lab.write(f"{gw.name}/{name}", text)
    certificate, key, root = write("gw.pem", w.gateway.pem()), write("gw.key", pki.pem(w.gateway.private)), write("root.pem", w.root.pem())
    users = write("users", USERS)

    def people(remote, method, child, **extra):
        found = gateway.connection(GW, remote, "", "", SUITE, "", {"net": child}, version=2, **extra)
        del found["secret"]
        return found | {"local": {"auth": "pubkey", "id": "gw-a.example", "certs": [certificate], "key": f"file:{key}"},
                        "remote": {"auth": method, "users": f"file:{users}"}}

    def visitor(remote, server, method, password, child, **extra):
        found = gateway.connection(GW, remote, "", "", SUITE, "", {"net": child}, version=2, **extra)
        del found["secret"]
        return found | {"local": {"auth": method, "id": "visitor.example", "eap_id": "alice", "password": f"file:{write(server + '.password', password + chr(10))}"},
                        "remote": {"auth": "pubkey", "id": f"{server}.example", "cacerts": [root]}}
    inner = gateway.child("dynamic", sites.NET["b"], sites.ESP_SUITE)
    return {"people": people("%any", "eap-mschapv2", gateway.child(sites.NET["a"], "dynamic", sites.ESP_SUITE), pools=["clients"]),
            "old": people(OLD, "eap-md5", gateway.child(sites.NET["a"], "10.2.20.0/24", sites.ESP_SUITE), allow_weak=["eap-md5"]),
            "visit": visitor(SERVER, "server", "eap-mschapv2", PASSWORDS["alice"], inner, vips=["0.0.0.0"]),
            "visit-old": visitor(SERVER_MD5, "old-server", "eap-md5", PASSWORDS["alice"], gateway.child(sites.NET["a"], "10.2.30.0/24", sites.ESP_SUITE), allow_weak=["eap-md5"]),
            "visit-wrong": visitor(SERVER_WRONG, "wrong-server", "eap-mschapv2", "no password", inner, vips=["0.0.0.0"])}


def short(user):
    return user.rsplit("\\", 1)[-1]


def strongswan_connections():
    def connection(address, children, local, remote, **extra):
        found = strongswan.connection(address, GW, "", "", SUITE, children, version=2, send_cert="always", **extra)
        return found | {"local": local, "remote": remote}

    def client(user, number, identity):
        return connection(f"10.9.1.{number}", {short(user): strongswan.child("dynamic", sites.NET["a"], sites.ESP_SUITE)},
                          {"auth": "eap-mschapv2", "eap_id": f'"{user}"', **({"id": identity} if identity else {})}, {"auth": "pubkey", "id": "gw-a.example"}, vips="0.0.0.0")

    def server(name, address, method, children, **extra):
        return connection(address, children, {"auth": "pubkey", "id": f"{name}.example", "certs": f"{name}.pem"},
                          {"auth": method, "id": "visitor.example", "eap_id": "%any"}, **extra)
    md5 = lambda net: strongswan.child(net, sites.NET["a"], sites.ESP_SUITE)
    return {short(user): client(user, *where) for user, where in CLIENTS.items()} | {
        "old": connection(OLD, {"old": md5("10.2.20.0/24")}, {"auth": "eap-md5", "eap_id": "alice", "id": "old.example"}, {"auth": "pubkey", "id": "gw-a.example"}),
        "stranger": connection(STRANGER, {"stranger": strongswan.child("dynamic", sites.NET["a"], sites.ESP_SUITE)}, {"auth": "eap-md5", "eap_id": "alice", "id": "stranger.example"},
                               {"auth": "pubkey", "id": "gw-a.example"}, vips="0.0.0.0"),
        "server": server("server", SERVER, "eap-mschapv2", {"serve": strongswan.child(sites.NET["b"], "dynamic", sites.ESP_SUITE)}, pools="wide"),
        "old-server": server("old-server", SERVER_MD5, "eap-md5", {"serve-old": md5("10.2.30.0/24")}),
        "wrong-server": server("wrong-server", SERVER_WRONG, "eap-mschapv2", {"serve-wrong": strongswan.child(sites.NET["b"], "dynamic", sites.ESP_SUITE)}, pools="wide")}


def keys_of(w, folder):
    for part in ("x509", "x509ca", "private"):
        os.makedirs(f"{folder}/swanctl/{part}", exist_ok=True)
    texts = {f"x509/{name}.pem": c.pem() for name, c in w.servers.items()} | {"x509ca/root.pem": w.root.pem(), "private/server.pem": pki.pem(w.servers["server"].private)}
    for path, text in texts.items():
        with open(f"{folder}/swanctl/{path}", "w", encoding="utf-8") as f:
            f.write(text)


def latest(culvert, connection):
    failures = culvert.result("explain", connection)["connections"][0]["failures"]
    return failures[0] if failures else {}


def reason_of(culvert, connection, reason):
    """The latest failure of the connection once it has this reason; what there is when it does not come."""
    try:
        return wait_for(lambda: (f := latest(culvert, connection)).get("reason") == reason and f, 20, f"{reason} of {connection}")
    except LabError:
        return latest(culvert, connection)


def as_gateway(r, site):
    peer, culvert = site.strongswan, site.culvert
    for user in CLIENTS:
        ok, text = peer.initiate(short(user), seconds=20)
        if user in REFUSED:
            reason, says = REFUSED[user]
            found = reason_of(culvert, "people", reason)
            r.check(f"{short(user)} is refused, and explain says why: {reason}", not ok and found.get("reason") == reason and says in found.get("message", ""), str(found)[:300] + text[-200:])
            r.check("... it is counted with its own reason", culvert.exchange_counts(reason)["ike_auth"] >= 1)
            r.check("... and strongSwan is not told which it was", not peer.logged("no such user|password is another"))
            peer.terminate(short(user), 2)
            continue
        r.check(f"{short(user)} comes in", ok, text[-300:])
        name = user.replace("\\\\", "\\")
        sa = next((s for s in culvert.ike_sas("people") if (s["xauth_user"] or "").replace("\\x5c", "\\") == name), None)
        r.check("... list-sas has his name and address", bool(sa and sa["virtual_address"]), str(culvert.ike_sas("people"))[:300])
        if sa:
            r.check("... and he is pinged there", *ping(site.host, sa["virtual_address"], sites.HOST["a"], count=2))
    found = culvert.result("list-pools", "--leases")["pools"][0]
    r.check("the leases are those of the users", {l["identity"] for l in found["leases"] if l["online"]} >= {"people/alice", "people/carol"} and found["online"] == 3, str(found)[:400])
    before = next(s["virtual_address"] for s in culvert.ike_sas("people") if s["xauth_user"] == "alice")
    peer.swanctl("rekey", "--ike", "alice", check=False)
    wait_for(lambda: any(s["xauth_user"] == "alice" and s["virtual_address"] == before and s["state"] == "established" for s in culvert.ike_sas("people")), 10, "alice's rekeyed IKE SA")
    r.check("a rekeyed IKE SA is still hers", *ping(site.host, before, sites.HOST["a"], count=2))
    for user in ("alice", "bob", "carol"):
        peer.terminate(user)
    ok, text = peer.initiate("old")
    r.check("EAP-MD5, where allow_weak has it", ok, text[-300:])
    r.check("... and a ping", *ping(site.host, "10.2.20.1", sites.HOST["a"], count=2))
    peer.terminate("old")
    ok, _ = peer.initiate("stranger", seconds=10)
    found = reason_of(culvert, "people", "eap_method")
    r.check("who does another method is refused: eap_method", not ok and found.get("reason") == "eap_method" and "wants EAP-MD5" in found.get("message", ""), str(found)[:300])
    peer.terminate("stranger", 2)


def as_user(r, site):
    peer, culvert = site.strongswan, site.culvert
    ok, text = culvert.initiate("visit")
    r.check("Culvert is a user of strongSwan's", ok, str(text)[-300:])
    if ok:
        address = culvert.ike_sas("visit")[0]["virtual_address"]
        site.host.address("h0", f"{address}/32")
        r.check("... has an address, and the host behind it uses it", *ping(site.host, sites.INSIDE["b"], address, count=2))
        r.check("... strongSwan knows it by its name", peer.list_sas().get("server", {}).get("remote-eap-id") == "alice", str(peer.list_sas().get("server"))[:300])
    culvert.terminate("visit")
    ok, text = culvert.initiate("visit-old", "net")
    r.check("EAP-MD5", ok, str(text)[-300:])
    r.check("... and a ping", *ping(site.host, "10.2.30.1", sites.HOST["a"], count=2))
    culvert.terminate("visit-old")
    ok, text = culvert.initiate("visit-wrong", seconds=8)
    found = reason_of(culvert, "visit-wrong", "eap_refused")
    r.check("with another password it is refused, and explain says so", not ok and found.get("reason") == "eap_refused" and found.get("causes", [{}])[0].get("cause") == "user", str(found)[:400])
    culvert.terminate("visit-wrong")


def untrusted(r, site, w):
    """strongSwan does not trust our certificate any more."""
    with open(f"{site.strongswan.folder}/swanctl/x509ca/root.pem", "w", encoding="utf-8") as f:
        f.write(w.other.pem())
    site.strongswan.swanctl("load-creds", "--clear")
    ok, text = site.strongswan.initiate("alice", seconds=10)
    found = reason_of(site.culvert, "people", "auth_failed")
    r.check("a client that does not trust our certificate is heard of", not ok and "does not trust our certificate" in found.get("message", ""), str(found)[:300] + text[-1200:])


def body(r, lab):
    w = Files()
    site = sites.CulvertAndStrongSwan(lab, lambda gw: culvert_connections(gw, w), {}, ike=IKE)
    secrets = {f"eap-{n}": {"id": f'"{user}"', "secret": f'"{PASSWORDS[user]}"'} for n, user in enumerate(CLIENTS)}
    site.strongswan.configure(strongswan_connections(), secrets, pools={"wide": {"addrs": WIDE}})
    keys_of(w, site.strongswan.folder)
    site.culvert.config["routes"] += [{"to": POOL, "via": sites.ADDRESS["b"]}, {"to": WIDE, "port": "lan"}]
    site.culvert.config["pools"] = {"clients": {"addrs": POOL, "dns": ["10.1.0.53"]}}
    site.culvert.write()
    site.outside.addresses("cl0", [f"10.9.1.{n}/16" for n, _ in CLIENTS.values()] + [f"{a}/16" for a in (SERVER_MD5, SERVER_WRONG, OLD, STRANGER)])
    site.outside.addresses("lo", ["10.2.20.1/24", "10.2.30.1/24"])
    site.start()
    as_gateway(r, site)
    as_user(r, site)
    untrusted(r, site, w)


report.run("ikev2_eap", body)

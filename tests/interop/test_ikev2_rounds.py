#!/usr/bin/python3
"""Several proofs of a side (RFC 4739) against strongSwan, in both roles: certificate and EAP-MSCHAPv2, certificate and pre-shared key, pre-shared key and
EAP, certificate and EAP-TLS, certificate and a user whom FreeRADIUS knows, all three; a wrong password and a wrong key in the second round, and a round that one side lacks, with the reason.

Time limit: 150 s
strongSwan shows a pre-shared key only to a gateway that has proved all that it has to (so no gateway with two proofs for one that begins with the key).
Each case is a connection with an address of strongSwan's: first those that strongSwan begins, then those that Culvert begins.
"""
import os
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, pki, report, sites, strongswan  # noqa: E402
from lib.freeradius import FreeRadius  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

GW, SUITE = sites.ADDRESS["a"], "aes256-sha256-ecp256"
IKE = {"retransmit_timeout": "1s", "half_open_timeout": "20s"}
POOL, NAS, RADIUS, RADIUS_SECRET = "10.3.0.0/25", "10.77.0.1", "10.77.0.5", "a secret of gateway and server"
# What each proof is called here. Of Culvert: local and remote; of strongSwan the other way round.
# case -> (what strongSwan proves, what Culvert proves), both as Culvert has it; what strongSwan proves, where it is something else.
THEY_BEGIN = {"user": ("cert eap", "cert"), "pair": ("cert psk", "cert psk"), "psk-user": ("psk eap", "cert"), "three": ("cert psk eap", "cert psk"),
              "user-tls": ("cert tls", "cert"), "user-radius": ("cert radius", "cert"), "once": ("cert psk", "cert"), "bad-password": ("cert eap", "cert"), "bad-key": ("cert psk", "cert"), "one": ("cert eap", "cert")}
WE_BEGIN = {"visit": ("cert", "cert eap"), "to-pair": ("cert psk", "cert psk"), "visit-psk": ("cert", "psk eap"), "visit-three": ("cert psk", "psk cert eap"),
            "visit-tls": ("cert", "cert tls"),
            "visit-once": ("cert", "cert psk"), "visit-bad": ("cert", "cert eap"), "visit-key": ("cert", "cert psk"), "visit-one": ("cert", "cert"),
            "visit-more": ("cert psk", "cert psk")}
LACKS = {"one": ("cert", "cert"), "visit-one": ("cert", "cert psk"), "visit-more": ("cert", "cert psk")}  # as strongSwan has it
NUMBER = {name: n for n, name in enumerate([*THEY_BEGIN, *WE_BEGIN], 1)}
PASSWORD = {"user": "alice's password", "bad": "guess"}


class Files:
    def __init__(self):
        self.root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p384", 1), ca=True)
        self.gateway = pki.Issued("C=CH, O=Example, CN=gw-a", pki.key("p256", 0), self.root, san=["DNS:gw-a.example"])
        self.peer = pki.Issued("C=CH, O=Example, CN=peer", pki.key("rsa2048", 20), self.root, san=["DNS:peer.example"])
        # A user has another key than the machine that he sits at.
        self.visitor = pki.Issued("C=CH, O=Example, CN=visitor", pki.key("p256", 1), self.root, san=["DNS:visitor.example"])
        self.user = pki.Issued("C=CH, O=Example, CN=user", pki.key("p256", 2), self.root, san=["DNS:user.example"])


def sections(side, proofs, make):
    """{"local": ..., "local-2": ...}"""
    return {side if n == 1 else f"{side}-{n}": make(proof, n) for n, proof in enumerate(proofs.split(), 1)}


def culvert_connections(gw, w):
    write = lambda name, text: gw.lab.write(f"{gw.name}/{name}", text)
    certificate, key, root = write("gw.pem", w.gateway.pem()), write("gw.key", pki.pem(w.gateway.private)), write("root.pem", w.root.pem())
    visitor, visitor_key = write("visitor.pem", w.visitor.pem()), write("visitor.key", pki.pem(w.visitor.private))
    users = write("users", f"alice:{{plain}}{PASSWORD['user']}\nvisitor:{{plain}}x\n")
    passwords = {kind: write(f"password-{kind}", text + "\n") for kind, text in PASSWORD.items()}

    def ours(name):
        return lambda proof, n: {
            "cert": {"auth": "pubkey", "id": "gw-a.example", "certs": [certificate], "key": f"file:{key}"},
            "psk": {"auth": "psk", "id": f"{name}.a.example"},
            "tls": {"auth": "eap-tls", "id": f"{name}.a.example", "eap_id": "visitor.example", "certs": [visitor], "key": f"file:{visitor_key}"},
            "eap": {"auth": "eap-mschapv2", "id": f"{name}.a.example", "eap_id": "alice", "password": f"file:{passwords['bad' if name == 'visit-bad' else 'user']}"}}[proof]

    def theirs(name):
        return lambda proof, n: {"cert": {"auth": "pubkey", "id": "peer.example", "cacerts": [root]}, "psk": {"auth": "psk", "id": f"{name}.peer.example"},
                                 "tls": {"auth": "eap-tls", "cacerts": [root]}, "radius": {"auth": "eap-radius"},
                                 "eap": {"auth": "eap-mschapv2", "users": f"file:{users}"}}[proof]
    found = {}
    for name, (of_peer, of_culvert) in (THEY_BEGIN | WE_BEGIN).items():
        n = NUMBER[name]
        inner = gateway.child(f"10.1.{n}.0/24", "dynamic" if name == "user" else f"10.2.{n}.0/24", sites.ESP_SUITE)
        c = gateway.connection(GW, f"10.9.1.{n}", "", "", SUITE, gw.secret(sites.SECRET), {"net": inner}, version=2, **({"pools": ["clients"]} if name == "user" else {}))
        del c["local"], c["remote"]
        if "psk" not in of_peer + of_culvert:
            del c["secret"]
        found[name] = c | sections("local", of_culvert, ours(name)) | sections("remote", of_peer, theirs(name))
    return found


def strongswan_connections():
    def proofs(name, side, text):
        mine = side == "local"
        return sections(side, text, lambda proof, n: {
            "cert": {"auth": "pubkey", "id": "peer.example" if mine else "gw-a.example", **({"certs": "peer.pem"} if mine else {})},
            "psk": {"auth": "psk", "id": f"{name}.{'peer' if mine else 'a'}.example"},
            "tls": {"auth": "eap-tls", "id": f"{name}.{'peer' if mine else 'a'}.example", **({"eap_id": "user.example", "certs": "user.pem"} if mine else {"eap_id": "%any"})},
            "eap": {"auth": "eap-mschapv2", "id": f"{name}.{'peer' if mine else 'a'}.example",
                    "eap_id": "visitor" if name == "bad-password" else "alice" if mine else "%any"}}[proof.replace("radius", "eap")])
    found = {}
    for name, as_configured in (THEY_BEGIN | WE_BEGIN).items():
        mine, other = LACKS.get(name, as_configured)
        n = NUMBER[name]
        inner = strongswan.child("dynamic" if name == "user" else f"10.2.{n}.0/24", f"10.1.{n}.0/24", sites.ESP_SUITE)
        c = strongswan.connection(f"10.9.1.{n}", GW, "", "", SUITE, {name: inner}, version=2, send_cert="always", **({"vips": "0.0.0.0"} if name == "user" else {}))
        del c["local"], c["remote"]
        found[name] = c | proofs(name, "local", mine) | proofs(name, "remote", other)
    return found


def keys_of(w, folder):
    for part in ("x509", "x509ca", "private"):
        os.makedirs(f"{folder}/swanctl/{part}", exist_ok=True)
    for path, text in {"x509/peer.pem": w.peer.pem(), "x509ca/root.pem": w.root.pem(), "private/peer.pem": pki.pem(w.peer.private), "x509/user.pem": w.user.pem(), "private/user.pem": pki.pem(w.user.private)}.items():
        with open(f"{folder}/swanctl/{path}", "w", encoding="utf-8") as f:
            f.write(text)


def latest(culvert, connection):
    failures = culvert.result("explain", connection)["connections"][0]["failures"]
    return failures[0] if failures else {}


def explained(r, culvert, connection, reason, cause, says):
    """The latest failure has this reason, one of its causes is this one, and its sentence names the round."""
    try:
        found = wait_for(lambda: (f := latest(culvert, connection)).get("reason") == reason and f, 30, f"{reason} of {connection}")
    except LabError:
        found = latest(culvert, connection)
    causes = [c.get("cause") for c in found.get("causes", [])]
    r.check(f"{connection}: explain says {reason}, {cause}, and in which round", found.get("reason") == reason and cause in causes and says in found.get("message", ""), str(found)[:500])
    r.check("... it is counted", culvert.exchange_counts(reason)["ike_auth"] >= 1)


def works(r, site, name, ok, text):
    n = NUMBER[name]
    r.check(f"{name}: {' then '.join((THEY_BEGIN | WE_BEGIN)[name][0].split())} of strongSwan's, {' then '.join((THEY_BEGIN | WE_BEGIN)[name][1].split())} of Culvert's", ok, str(text)[-400:])
    if not ok:
        return
    sa = next((s for s in site.culvert.ike_sas(name) if s["state"] == "established"), {})
    where = sa.get("virtual_address") or f"10.2.{n}.1"
    r.check("... and a ping", *ping(site.host, where, f"10.1.{n}.10", count=2))
    user = {"user": "alice", "psk-user": "alice", "three": "alice", "user-radius": "alice", "user-tls": "user.example"}.get(name)
    first = {"cert": "peer.example", "psk": f"{name}.peer.example"}[(THEY_BEGIN | WE_BEGIN)[name][0].split()[0]]
    r.check("... the peer is the user, if there is one, else whom the first proof names", sa.get("remote_id") == (user or first), str(sa)[:300])


def they_begin(r, site):
    peer, culvert = site.strongswan, site.culvert
    for name in THEY_BEGIN:
        ok, text = peer.initiate(name, seconds=20)
        if name not in ("bad-password", "bad-key", "one"):
            works(r, site, name, ok, text)
            continue
        r.check(f"{name} is refused", not ok, text[-300:])
        explained(r, culvert, name, *{"bad-password": ("eap_wrong_password", "user", "Round 2 of 2 (remote-2): "),
                                      "bad-key": ("auth_failed", "secret", "Round 2 of 2 (remote-2): The peer's proof does not fit"),
                                      "one": ("auth_rounds", "auth_rounds", "Round 1 of 2 (local, remote): The peer stops after its proof no. 1")}[name])
        peer.terminate(name, 2)
    leases = culvert.result("list-pools", "--leases")["pools"][0]["leases"]
    r.check("the lease is the user's", [l["identity"] for l in leases if l["online"]] == ["user/alice"], str(leases)[:300])
    before = culvert.ike_sas("pair")[0]["responder_spi"]
    peer.swanctl("rekey", "--ike", "pair", check=False)
    wait_for(lambda: any(s["state"] == "established" and s["responder_spi"] != before for s in culvert.ike_sas("pair")), 20, "the rekeyed IKE SA")
    r.check("a rekeyed IKE SA goes on without further proofs", *ping(site.host, f"10.2.{NUMBER['pair']}.1", f"10.1.{NUMBER['pair']}.10", count=2))
    peer.swanctl("rekey", "--ike", "pair", "--reauth", check=False)
    wait_for(lambda: culvert.exchange_counts("ok")["ike_auth"] and peer.logged("IKE_SA pair.* established") >= 2, 20, "the IKE SA made anew")
    r.check("one that is made anew has all of them", *ping(site.host, f"10.2.{NUMBER['pair']}.1", f"10.1.{NUMBER['pair']}.10", count=2))


def we_begin(r, site):
    peer, culvert = site.strongswan, site.culvert
    for name in WE_BEGIN:
        ok, text = culvert.initiate(name, seconds=12)
        if name not in ("visit-bad", "visit-key", "visit-one", "visit-more"):
            works(r, site, name, ok, text)
            continue
        r.check(f"{name} does not come up", not ok, str(text)[-300:])
        explained(r, culvert, name, *{"visit-bad": ("eap_refused", "user", "Round 2 of 2 (local-2): "),
                                      "visit-key": ("auth_failed", "secret", "Round 2 of 2 (local-2): The peer refused our authentication"),
                                      "visit-one": ("auth_failed", "auth_rounds", "or it asks for a further proof"),
                                      "visit-more": ("auth_rounds", "auth_rounds", "Round 1 of 2 (local, remote): The peer stops after its proof no. 1")}[name])
        culvert.terminate(name)


def body(r, lab):
    w = Files()
    servers = {"nas_identifier": "gw-a", "servers": {"main": {"address": RADIUS, "secret": "file:/x"}}}
    site = sites.CulvertAndStrongSwan(lab, lambda gw: culvert_connections(gw, w), {}, ike=IKE, radius=servers)
    site.culvert.config["radius"]["servers"]["main"]["secret"] = f"file:{site.culvert.secret(RADIUS_SECRET, 'radius.secret')}"
    secrets = {"eap-alice": {"id": "alice", "secret": f'"{PASSWORD["user"]}"'}, "eap-visitor": {"id": "visitor", "secret": '"guess"'}}
    secrets |= {f"ike-{name}": {"id-1": f"{name}.peer.example", "id-2": f"{name}.a.example", "secret": '"another secret"' if name.endswith("-key") else f'"{sites.SECRET}"'}
                for name in NUMBER}
    site.strongswan.configure(strongswan_connections(), secrets)
    keys_of(w, site.strongswan.folder)
    site.culvert.config["routes"] += [{"to": POOL, "via": sites.ADDRESS["b"]}]
    site.culvert.config["pools"] = {"clients": {"addrs": POOL}}
    site.culvert.write()
    site.number(NUMBER.values())
    outside = lab.namespace("radius")
    lab.link(site.inside, "aaa0", f"{NAS}/24", outside, "r0", f"{RADIUS}/24")
    FreeRadius(lab, outside, "main", RADIUS, NAS, RADIUS_SECRET, f'alice Cleartext-Password := "{PASSWORD["user"]}"\n', w.peer, w.root).start()
    site.start()
    they_begin(r, site)
    we_begin(r, site)


report.run("ikev2_rounds", body)

#!/usr/bin/python3
"""Certificates of IKEv2 against strongSwan, in both roles: each kind of key and signature connects, mixed with pre-shared keys too, and who is not to be
trusted is refused with the reason.

Time limit: 240 s
One gateway and one strongSwan hold one connection a case, told apart by an address of strongSwan's. Which signature it was stands in strongSwan's log.
Then strongSwan does without RFC 7427, so that both sides sign as RFC 7296 and RFC 4754 have it. Every other connection
has its long messages in fragments of IKE (RFC 7383), the others in those of IP. Whether a certificate is revoked `openssl ocsp` is asked in
some cases, in the gateway's namespace.
"""
import concurrent.futures
import os
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, pki, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

WORKERS = 3
OCSP, DEAD = 8081, 8082                 # where one listens, where nobody does
SUITE = "aes256-sha256-ecp256"
IKE = {"retransmit_timeout": "1s", "retransmit_base": 1.5, "retransmit_tries": 3, "half_open_timeout": "8s"}
KINDS = ("rsa2048", "p256", "p384", "p521", "ed25519", "ed448")
# What strongSwan calls the signature: with RFC 7427, and without.
DIGITAL = {"rsa2048": "RSA_EMSA_PKCS1_SHA2_256", "rsa4096": "RSA_EMSA_PKCS1_SHA2_384", "p256": "ECDSA_WITH_SHA256_DER", "p384": "ECDSA_WITH_SHA384_DER",
           "p521": "ECDSA_WITH_SHA512_DER", "ed25519": "ED25519", "ed448": "ED448", "psk": "pre-shared key"}
OLD = {"rsa2048": "RSA signature", "p256": "ECDSA-256 signature", "p384": "ECDSA-384 signature", "p521": "ECDSA-521 signature"}


PSS = {"rsa/pss-sha256": "RSA_EMSA_PSS_SHA2_256_SALT_32", "rsa/pss-sha384": "RSA_EMSA_PSS_SHA2_384_SALT_48"}


class Authorities:
    def __init__(self):
        self.root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p384", 1), ca=True)
        self.middle = pki.Issued("CN=Middle", pki.key("p256", 9), self.root, ca=True)
        self.edwards = pki.Issued("CN=Ed448", pki.key("ed448", 9), self.root, ca=True)
        self.other = pki.Issued("C=CH, O=Other, CN=Root", pki.key("p256", 5), ca=True)
        self.responder = pki.Issued("C=CH, O=Example, CN=Responder", pki.key("p256", 7), self.root, uses=["OCSPSigning"])


class Case:
    """`own`, `peer`: kinds of key, or "psk"; `reason` None: it connects, and pings. `method`: what strongSwan calls its own signature.
    `ours`: local.auth of Culvert. `wants`: what strongSwan asks of our signature. `revocation`: remote.revocation of Culvert."""
    count = 0

    def __init__(self, what, authorities, own="p256", peer="p256", reason=None, says=(), auth="pubkey", method=None, issuer=None, own_issuer=None, by_subject=False,
                 our_view=None, revoked=False, by_peer=False, ours=None, wants=None, revocation=None, **validity):
        Case.count += 1
        n = self.number = Case.count
        self.what, self.own, self.peer, self.reason, self.says, self.auth, self.method = what, own, peer, reason, list(says), auth, method
        self.name, self.address, self.revoked, self.by_peer = f"case-{n}", f"10.9.1.{n}", revoked, by_peer
        self.signs, self.wants, self.revocation = ours or "pubkey", wants or "pubkey", revocation
        self.issuer, self.own_issuer = issuer or authorities.root, own_issuer or authorities.root
        self.certificate = None if peer == "psk" else pki.Issued(f"C=CH, O=Example, CN=peer-{n}", pki.key(peer, 20), self.issuer, san=[f"DNS:peer-{n}.example"], **validity)
        self.ours = None if own == "psk" else pki.Issued(f"C=CH, O=Example, CN=gw-a {n}", pki.key(own, 1 if by_peer else 0), self.own_issuer, san=["DNS:gw-a.example"])
        self.identity = self.certificate.subject if by_subject else f"peer-{n}.example"
        self.our_view = our_view or self.identity
        self.ended = {}

    def culvert(self, gw, w):
        local, remote = {"id": "gw-a.example"}, {"id": self.our_view}
        if self.ours:
            chain = self.ours.pem() + (self.own_issuer.pem() if self.own_issuer in (w.middle, w.edwards) else "")
            local.update(auth=self.signs, certs=[gw.lab.write(f"{gw.name}/{self.name}.pem", chain)], key=f"file:{gw.lab.write(f'{gw.name}/{self.name}.key', pki.pem(self.ours.private))}")
        if self.certificate:
            remote.update(auth="pubkey", cacerts=[gw.lab.write(f"{gw.name}/root.pem", w.root.pem())])
        if self.revocation:
            remote["revocation"] = self.revocation
        if self.revoked and not self.revocation:
            path = gw.lab.path(gw.name, "root.crl")
            with open(path, "wb") as f:
                f.write(w.root.crl([self.certificate]))
            remote["crls"] = [path]
        inner = {"net": gateway.child(f"10.1.{self.number}.0/24", f"10.2.{self.number}.0/24", sites.ESP_SUITE)}
        found = gateway.connection(sites.ADDRESS["a"], self.address, "gw-a.example", self.our_view, SUITE, gw.secret(sites.SECRET), inner, version=2)
        found.update(local=local, remote=remote)
        if self.ours and self.certificate:
            del found["secret"]
        return found

    def strongswan(self):
        inner = {self.name: strongswan.child(f"10.2.{self.number}.0/24", f"10.1.{self.number}.0/24", sites.ESP_SUITE)}
        found = strongswan.connection(self.address, sites.ADDRESS["a"], f'"{self.identity}"', "gw-a.example", SUITE, inner, version=2, keyingtries=1,
                                      fragmentation="yes" if self.number % 2 else "no")
        if self.certificate:
            found["local"].update(auth=self.auth, certs=f"{self.name}.pem")
        if self.ours:
            found["remote"].update(auth=self.wants)
        return found


def cases(w):
    found = [Case(f"{kind} on both sides", w, kind, kind) for kind in (*KINDS, "rsa4096")]
    found += [Case("RSA here, ECDSA there", w, "rsa2048", "p384"),
              Case("ECDSA here, RSA there", w, "p521", "rsa2048"),
              Case("RSASSA-PSS with SHA2-256 there", w, "rsa2048", "rsa2048", auth="rsa/pss-sha256", method="RSA_EMSA_PSS_SHA2_256_SALT_32"),
              Case("RSASSA-PSS with SHA2-512 there", w, "p256", "rsa2048", auth="rsa/pss-sha512", method="RSA_EMSA_PSS_SHA2_512_SALT_64"),
              Case("RSASSA-PSS with SHA2-256 here, and asked for", w, "rsa2048", "p256", ours="rsa/pss-sha256", wants="ike:rsa/pss-sha256"),
              Case("RSASSA-PSS with SHA2-384 on both sides, and asked for", w, "rsa2048", "rsa2048", ours="rsa/pss-sha384", wants="ike:rsa/pss-sha384",
                   auth="rsa/pss-sha384", method="RSA_EMSA_PSS_SHA2_384_SALT_48"),
              Case("RSASSA-PSS is asked for, and ours is not", w, "rsa2048", "p256", wants="ike:rsa/pss-sha256", reason="auth_failed", says=["AUTHENTICATION_FAILED"],
                   by_peer=True),
              Case("Ed25519 over an intermediate authority of Ed448 on both sides", w, "ed25519", "ed25519", issuer=w.edwards, own_issuer=w.edwards),
              Case("ECDSA with a longer hash there", w, "p256", "p256", auth="ecdsa-sha512", method="ECDSA_WITH_SHA512_DER"),
              Case("certificate here, pre-shared key there", w, "p256", "psk"),
              Case("pre-shared key here, certificate there", w, "psk", "rsa2048"),
              Case("pre-shared keys beside all of these", w, "psk", "psk"),
              Case("over an intermediate authority on both sides", w, issuer=w.middle, own_issuer=w.middle),
              Case("its subject as identity", w, by_subject=True),
              Case("any identity of the authority", w, our_view="C=CH, O=Example, CN=*", by_subject=True),
              Case("of an authority that is not trusted", w, reason="cert_untrusted", says=["leads to no trusted authority"], issuer=w.other),
              Case("expired", w, reason="cert_invalid", says=["is expired since"], since=-20 * pki.DAY, until=-pki.DAY),
              Case("revoked", w, reason="cert_revoked", says=["is revoked since"], revoked=True),
              Case("good by OCSP", w, revocation="strict", ocsp=f"http://127.0.0.1:{OCSP}/"),
              Case("good by OCSP, pre-shared key here", w, own="psk", revocation="strict", ocsp=f"http://127.0.0.1:{OCSP}/"),
              Case("revoked, by OCSP", w, reason="cert_revoked", says=["is revoked since", "by its OCSP responder"], revoked=True, revocation="strict", ocsp=f"http://127.0.0.1:{OCSP}/"),
              Case("revoked, by OCSP that is asked where a place is named", w, reason="cert_revoked", says=["is revoked since", "by its OCSP responder"], revoked=True,
                   revocation="ifuri", ocsp=f"http://127.0.0.1:{OCSP}/"),
              Case("revoked, by OCSP that nobody asks", w, revoked=True, revocation="ignore", ocsp=f"http://127.0.0.1:{OCSP}/"),
              *(Case(f"its OCSP responder is gone, revocation: {how}", w, reason="cert_revoked", says=["could not be learnt", "cannot be connected to"], revocation=how,
                     ocsp=f"http://127.0.0.1:{DEAD}/") for how in ("strict", "ifuri")),
              Case("its OCSP responder is gone, revocation: ignore", w, revocation="ignore", ocsp=f"http://127.0.0.1:{DEAD}/"),
              Case("no place to ask, though one is wanted", w, reason="cert_revoked", says=["could not be learnt"], revocation="strict"),
              Case("for somebody else", w, reason="wrong_identity", says=["*.other.example"], our_view="*.other.example"),
              Case("ours is of an authority that strongSwan does not trust", w, reason="auth_failed", says=["AUTHENTICATION_FAILED"], own_issuer=w.other, by_peer=True)]
    return found


def files(w, everything, folder):
    """strongSwan's files of keys and certificates."""
    for part in ("x509", "x509ca", "private"):
        os.makedirs(f"{folder}/swanctl/{part}", exist_ok=True)

    def write(path, text):
        with open(f"{folder}/swanctl/{path}", "w", encoding="utf-8") as f:
            f.write(text)
    write("x509ca/root.pem", w.root.pem())
    write("x509ca/middle.pem", w.middle.pem())
    write("x509ca/edwards.pem", w.edwards.pem())
    certificates = [c for c in everything if c.certificate]
    for c in certificates:
        write(f"x509/{c.name}.pem", c.certificate.pem())
    for n, private in enumerate({id(c.certificate.private): c.certificate.private for c in certificates}.values()):
        write(f"private/{n}.pem", pki.pem(private))


def one(c, role, site):
    """Starts the negotiation from one side, and waits for its end as Culvert tells it."""
    begun = time.monotonic()
    if role == "initiator":
        site.culvert.cli("initiate", f"{c.name}/net", "--timeout", 0)
    else:
        site.strongswan.swanctl("initiate", "--child", c.name, "--timeout", "-1", check=False)

    def end():
        shown = site.culvert.connection(c.name)
        failure = shown["children"][0]["failure"] or shown["failure"]
        return {"up": True} if shown["children"][0]["up"] else failure if failure and failure["age_s"] < time.monotonic() - begun else None
    time.sleep(0.2)
    c.ended[role] = wait_for(end, 25, f"the end of {c.name}", step=0.2)
    if c.ended[role].get("up"):
        c.ended[role]["ping"] = ping(site.host, f"10.2.{c.number}.1", f"10.1.{c.number}.10", count=1)[0]
    if role == "initiator":
        site.culvert.terminate(c.name)
    if role == "responder" or c.reason:
        site.strongswan.terminate(c.name, 2)
    wait_for(lambda: not site.culvert.connection(c.name)["children"][0]["up"] and not site.culvert.child_sas(c.name), 10, f"the end of {c.name}'s tunnel")


def signatures(site, since):
    """{(identity, whether strongSwan's own): what it calls the proof}, since a place in its log."""
    found = {}
    for identity, myself, method in re.findall(r"authentication of '([^']*)' (\(myself\) )?with (\S+(?: signature| key)?)(?: successful)?", site.strongswan.log_text()[since:]):
        found.setdefault((identity, bool(myself)), set()).add(method)
    return found


def judge(r, c, role, site):
    title = f"{c.what}, Culvert as {role}"
    ended = c.ended.get(role, {})
    if c.reason is None:
        r.check(f"{title}: connects and carries a ping", ended.get("up") and ended.get("ping"), "" if ended.get("ping") else str(ended)[:400])
        return
    if c.by_peer and role == "responder":
        r.check(f"{title}: it does not come up", not ended.get("ping"), str(ended)[:400])
        return
    r.check(f"{title}: the reason is {c.reason}", ended.get("reason") == c.reason, "" if ended.get("reason") == c.reason else str(ended)[:400])
    missing = [word for word in c.says if word not in ended.get("message", "")]
    r.check(f"{title}: the message says what is wrong", not missing, f"missing {missing} in: {ended.get('message')}" if missing else "")
    r.check(f"{title}: in the metrics", site.culvert.metric("culvert_ike_exchanges_total", role=role, exchange="ike_auth", reason=c.reason) >= 1)
    r.check(f"{title}: nothing was installed", not site.culvert.child_sas(c.name))


def rounds(r, site, everything):
    for role in ("initiator", "responder"):
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            jobs = {pool.submit(one, c, role, site): c for c in everything}
            for job in concurrent.futures.as_completed(jobs):
                try:
                    job.result()
                except LabError as error:
                    jobs[job].ended.setdefault(role, {"message": str(error)})
        r.note(f"Culvert as {role}: {time.monotonic() - begun:.0f} s")


def methods(r, site, everything, since, names):
    """Each side's proof by the name that strongSwan has for it."""
    seen = signatures(site, since)
    for c in everything:
        if c.reason:
            continue
        want = c.method or names[c.peer]
        got = seen.get((c.identity, True), set())
        r.check(f"{c.what}: strongSwan proves itself by {want}", got == {want}, "" if got == {want} else got)
    want = {DIGITAL["rsa2048"] if c.own == "rsa4096" else names[c.own] for c in everything if not c.reason and c.signs == "pubkey"}      # strongSwan takes a longer hash for longer keys
    want |= {PSS[c.signs] for c in everything if c.signs in PSS}
    want |= {PSS["rsa/pss-sha256"] for c in everything if c.own == "rsa2048" and c.auth in PSS}         # who begins with PSS is answered with it
    got = seen.get(("gw-a.example", False), set())
    r.check("Culvert proves itself by all that is here: " + ", ".join(sorted(want)), got == want, "" if got == want else got)


def body(r, lab):
    w = Authorities()
    everything = cases(w)
    site = sites.CulvertAndStrongSwan(lab, lambda gw: {c.name: c.culvert(gw, w) for c in everything}, {}, ike=IKE)
    site.strongswan.configure({c.name: c.strongswan() for c in everything}, sites.SECRET)
    files(w, everything, site.strongswan.folder)
    site.number([c.number for c in everything])
    checked = lab.sh(site.culvert.program("control/culvertd"), "--check", site.culvert.file, check=False)
    r.check("culvertd --check finds nothing wrong with the files", "error" not in checked.splitlines()[-1], checked[-500:])
    asked = [c for c in everything if "OCSP" in c.what]
    pki.ocsp(site.inside, OCSP, w.root, w.responder, [c.certificate for c in asked], [c.certificate for c in asked if c.revoked])
    site.start()
    rounds(r, site, everything)
    r.table(["peer's certificate", "Culvert initiates", "strongSwan initiates"],
            [[c.what] + ["up" if c.ended.get(role, {}).get("up") else c.ended.get(role, {}).get("reason", "no end") for role in ("initiator", "responder")] for c in everything])
    for c in everything:
        for role in ("initiator", "responder"):
            judge(r, c, role, site)
    methods(r, site, everything, 0, DIGITAL)

    site.strongswan.stop()
    site.strongswan.add_options("signature_authentication = no")
    site.strongswan.start()
    old = [c for c in everything if c.own == c.peer and c.own in OLD][:len(OLD)]
    for c in old:
        c.ended = {}
    rounds(r, site, old)
    for c in old:
        for role in ("initiator", "responder"):
            c_ended = c.ended.get(role, {})
            r.check(f"{c.what}, without RFC 7427, Culvert as {role}: connects and carries a ping", c_ended.get("up") and c_ended.get("ping"), "" if c_ended.get("ping") else str(c_ended)[:400])
    methods(r, site, old, 0, OLD)        # its log begins anew with it


report.run("ikev2-certificates", body)

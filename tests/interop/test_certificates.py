#!/usr/bin/python3
"""Certificates against strongSwan, in both roles: good ones of each kind connect, each class of bad ones is refused with its reason.

Time limit: 300 s
One gateway and one strongSwan hold one connection a case, told apart by an address of strongSwan's. Its certificate is the case: expired, of
another authority, made for something else, revoked by a list or by a responder... What Culvert says of it is read from `culvert list-conns`,
its log and its metrics. Revocation lists come from an HTTP server, OCSP answers from `openssl ocsp`, both in the gateway's namespace.
"""
import concurrent.futures
import os
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, pki, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

WORKERS = 3
HTTP, OCSP, DEAD = 8080, 8081, 8082
SUITE = "aes256-sha256-ecp256"
IKE = {"retransmit_timeout": "1s", "retransmit_base": 1.5, "retransmit_tries": 3, "half_open_timeout": "8s"}


class World:
    """The authorities, and what all cases share."""

    def __init__(self):
        self.root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p384", 1), ca=True)
        self.middle = pki.Issued("CN=Middle", pki.key("p256", 9), self.root, ca=True)
        self.hidden = pki.Issued("CN=Hidden", pki.key("p256", 8), self.root, ca=True)
        self.short = pki.Issued("CN=Short", pki.key("p256", 2), self.root, ca=True, path=0)
        self.too_long = pki.Issued("CN=Long", pki.key("p256", 3), self.short, ca=True)
        self.named = pki.Issued("CN=Named", pki.key("p256", 4), self.root, ca=True, permitted=["DNS:inside.example"])
        self.other = pki.Issued("C=CH, O=Other, CN=Root", pki.key("p256", 5), ca=True)
        self.impostor = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p384", 6), ca=True)
        self.own = {kind: pki.Issued(f"C=CH, O=Example, CN=gw-a {kind}", pki.key(kind, 0), self.root, san=["DNS:gw-a.example"]) for kind in ("rsa2048", "p256", "p384", "p521")}
        self.responder = pki.Issued("C=CH, O=Example, CN=Responder", pki.key("p256", 7), self.root, uses=["OCSPSigning"])


class Case:
    """`certificate` is what strongSwan has; `sent` are authorities that it may send; `reason` None: it connects, and pings."""
    count = 0

    def __init__(self, what, certificate, reason=None, says=(), kind=None, their_id=None, our_view=None, sent=(), remote=None):
        Case.count += 1
        self.number, self.what, self.certificate, self.reason, self.says = Case.count, what, certificate, reason, list(says)
        self.kind, self.their_id, self.our_view, self.sent, self.remote = kind, their_id, our_view, list(sent), remote or {}
        self.name, self.address = f"case-{self.number}", f"10.9.1.{self.number}"
        self.local_ts, self.remote_ts = f"10.1.{self.number}.0/24", f"10.2.{self.number}.0/24"
        self.ended = {}


def cases(w, lab):
    number = iter(range(1000))

    def leaf(kind="p256", issuer=None, **more):
        n = next(number)
        made = {"san": [f"DNS:peer-{n}.inside.example", f"email:peer-{n}@inside.example", f"IP:10.9.1.{n + 1}"], **more}
        issued = pki.Issued(f"C=CH, O=Example, CN=peer-{n}", pki.key(kind, 20), issuer or w.root, **made)
        issued.host = f"peer-{n}.inside.example"
        return issued

    found = []

    def case(what, certificate, reason=None, says=(), kind="p256", their_id=None, our_view=None, **more):
        host = certificate.host
        found.append(Case(what, certificate, reason, says, kind, their_id or host, our_view or their_id or host, **more))

    for kind in ("rsa2048", "p256", "p384", "p521"):
        case(f"a good certificate, {kind}", leaf(kind), kind=kind)
    one = leaf()
    case("its subject as identity", one, their_id=one.subject)
    one = leaf()
    case("a pattern of subjects", one, their_id=one.subject, our_view="C=CH, O=*, CN=*")
    one = leaf()
    case("a pattern of host names", one, our_view="*.inside.example")
    one = leaf()
    case("an email address, and a pattern for it", one, their_id=f"peer-{len(found)}@inside.example", our_view="*@inside.example")
    one = leaf()
    case("an address", one, their_id=f"10.9.1.{len(found) + 1}")
    case("over an intermediate authority", leaf(issuer=w.middle), sent=[w.middle])
    case("pinned, of no authority", _self_signed(w, leaf), remote="pinned")
    case("names within constraints", leaf(issuer=w.named), sent=[w.named])
    case("good by a list", leaf(crl=f"http://127.0.0.1:{HTTP}/root.crl"), remote={"revocation": "strict"})
    case("good by OCSP", leaf(ocsp=f"http://127.0.0.1:{OCSP}/"), remote={"revocation": "strict"})
    case("no place to ask, and no need to", leaf(), remote={"revocation": "ifuri"})

    case("expired", leaf(since=-20 * pki.DAY, until=-pki.DAY), "cert_invalid", ["is expired since"])
    case("not valid yet", leaf(since=pki.DAY), "cert_invalid", ["is not valid before"])
    case("of another authority", leaf(issuer=w.other), "cert_untrusted", ["leads to no trusted authority"])
    case("of an authority that only has the name", leaf(issuer=w.impostor), "cert_untrusted", [])
    case("signed by itself", _self_signed(w, leaf), "cert_untrusted", ["signed by itself"])
    case("its intermediate authority is not sent", leaf(issuer=w.hidden), "cert_untrusted", ["leads to no trusted authority"])
    case("an authority's own", leaf(ca=True, usage=("digital_signature", "key_cert_sign")), "cert_invalid", ["is an authority's"])
    case("made for encryption", leaf(usage=("key_encipherment",)), "cert_invalid", ["keyUsage does not allow signatures"])
    case("made for signing code", leaf(uses=["codeSigning"]), "cert_invalid", ["extendedKeyUsage"])
    case("a longer path than allowed", leaf(issuer=w.too_long), "cert_invalid", ["path length"], sent=[w.short, w.too_long])
    case("names outside of constraints", leaf(issuer=w.named, san=["DNS:outside.example"]), "cert_invalid", ["permitted subtree"], sent=[w.named], their_id="outside.example")
    case("for somebody else", leaf(), "wrong_identity", ["peer-x.inside.example"], our_view="peer-x.inside.example")
    case("for another organisation", leaf(), "wrong_identity", [], their_id="subject", our_view="C=CH, O=Other, CN=*")
    case("another one than pinned", leaf(), "cert_untrusted", ["is not one of remote.certs"], remote="pinned elsewhere")
    case("revoked, by a list", leaf(crl=f"http://127.0.0.1:{HTTP}/root.crl"), "cert_revoked", ["is revoked since", "by the revocation list of"])
    case("revoked, by a list in a file", leaf(), "cert_revoked", ["is revoked since"], remote="list")
    case("revoked, by OCSP", leaf(ocsp=f"http://127.0.0.1:{OCSP}/"), "cert_revoked", ["is revoked since", "by its OCSP responder"])
    case("its list cannot be fetched", leaf(crl=f"http://127.0.0.1:{DEAD}/root.crl"), "cert_revoked", ["could not be learnt", "cannot be connected to"])
    case("no place to ask, though one is wanted", leaf(), "cert_revoked", ["could not be learnt"], remote={"revocation": "strict"})
    for one in found:
        if one.their_id == "subject":
            one.their_id = one.certificate.subject
    return found


def _self_signed(w, leaf):
    one = leaf()
    host = one.host
    issued = pki.Issued(one.subject, pki.key("p256", 20), san=[f"DNS:{host}"])
    issued.host = host
    return issued


def ours(w, everything, gw):
    """Culvert's connections, and the files that they name."""
    files = {"root": gw.lab.write(f"{gw.name}/root.pem", w.root.pem())}
    revoked = [c.certificate for c in everything if c.what.startswith("revoked")]
    path = gw.lab.path(gw.name, "root.crl")
    with open(path, "wb") as f:
        f.write(w.root.crl(revoked))
    for kind, own in w.own.items():
        files[kind] = gw.lab.write(f"{gw.name}/own-{kind}.pem", own.pem())
        files[kind + ".key"] = gw.lab.write(f"{gw.name}/own-{kind}.key", pki.pem(own.private))
    found = {}
    for c in everything:
        remote = {"auth": "pubkey", "id": c.our_view}
        if c.remote in ("pinned", "pinned elsewhere"):
            pinned = c.certificate if c.remote == "pinned" else w.own["p384"]
            remote["certs"] = [gw.lab.write(f"{gw.name}/{c.name}.pem", pinned.pem())]
        else:
            remote["cacerts"] = [files["root"]]
        if c.remote == "list":
            remote["crls"] = [path]
        if isinstance(c.remote, dict):
            remote.update(c.remote)
        conn = gateway.connection(sites.ADDRESS["a"], c.address, "gw-a.example", c.our_view, SUITE, "/unused", {"net": gateway.child(c.local_ts, c.remote_ts, sites.ESP_SUITE)})
        del conn["secret"]
        conn["local"] = {"auth": "pubkey", "id": "gw-a.example", "certs": [files[c.kind]], "key": f"file:{files[c.kind + '.key']}"}
        conn["remote"] = remote
        found[c.name] = conn
    return found


def theirs(w, everything, folder):
    """strongSwan's connections and files."""
    for part in ("x509", "x509ca", "private"):
        os.makedirs(f"{folder}/swanctl/{part}", exist_ok=True)

    def write(path, text):
        with open(f"{folder}/swanctl/{path}", "w", encoding="utf-8") as f:
            f.write(text)
    authorities = {id(w.root): w.root}
    for c in everything:
        write(f"x509/{c.name}.pem", c.certificate.pem())
        for authority in c.sent:
            authorities[id(authority)] = authority
    for n, authority in enumerate(authorities.values()):
        write(f"x509ca/{n}.pem", authority.pem())
    for n, private in enumerate({id(c.certificate.private): c.certificate.private for c in everything}.values()):
        write(f"private/{n}.pem", pki.pem(private))
    found = {}
    for c in everything:
        conn = strongswan.connection(c.address, sites.ADDRESS["a"], "x", "x", SUITE, {c.name: strongswan.child(c.remote_ts, c.local_ts, sites.ESP_SUITE)}, keyingtries=1)
        conn["local"] = {"auth": "pubkey", "id": f'"{c.their_id}"', "certs": f"{c.name}.pem"}
        conn["remote"] = {"auth": "pubkey", "id": "gw-a.example"}
        conn["send_cert"] = "always"
        found[c.name] = conn
    return found


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
    if role == "responder" or c.reason:       # a responder that was refused in message 6 takes its SA for good, and would use it next time
        site.strongswan.terminate(c.name, 2)
    wait_for(lambda: not site.culvert.connection(c.name)["children"][0]["up"], 10, f"the end of {c.name}'s tunnel")


def judge(r, c, role, site):
    title = f"{c.what}, Culvert as {role}"
    ended = c.ended.get(role, {})
    if c.reason is None:
        r.check(f"{title}: connects and carries a ping", ended.get("up") and ended.get("ping"), str(ended)[:300])
        return
    r.check(f"{title}: the reason is {c.reason}", ended.get("reason") == c.reason, str(ended)[:400])
    missing = [word for word in c.says if word not in ended.get("message", "")]
    r.check(f"{title}: the message says what is wrong", not missing, f"missing {missing} in: {ended.get('message')}" if missing else "")
    r.check(f"{title}: in the metrics", site.culvert.metric("culvert_ike_exchanges_total", role=role, exchange="main_mode", reason=c.reason) >= 1)
    r.check(f"{title}: nothing was installed", not site.culvert.child_sas(c.name))


def serve(w, everything, site, lab):
    """The HTTP server with the list, and the OCSP responder."""
    inside = site.inside
    inside.start("http", "/usr/bin/python3", "-m", "http.server", str(HTTP), "--bind", "127.0.0.1", "--directory", os.path.dirname(lab.path(site.culvert.name, "root.crl")))
    pki.ocsp(inside, OCSP, w.root, w.responder, [c.certificate for c in everything if "OCSP" in c.what], [c.certificate for c in everything if c.what.startswith("revoked")])


def body(r, lab):
    w = World()
    everything = cases(w, lab)
    r.note(f"{len(everything)} certificates, in both roles")
    site = sites.CulvertAndStrongSwan(lab, lambda gw: ours(w, everything, gw), {}, ike=IKE)
    site.strongswan.configure(theirs(w, everything, site.strongswan.folder), {})
    site.outside.addresses("cl0", [f"{c.address}/16" for c in everything])
    site.outside.addresses("lo", [f"10.2.{c.number}.1/24" for c in everything])
    site.host.addresses("h0", [f"10.1.{c.number}.10/16" for c in everything])
    checked = lab.sh(site.culvert.program("control/culvertd"), "--check", site.culvert.file, check=False)
    r.check("culvertd --check finds nothing wrong with the files", "error" not in checked.splitlines()[-1], checked[-500:])
    serve(w, everything, site, lab)
    site.start()
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
    r.table(["peer's certificate", "Culvert initiates", "strongSwan initiates"],
            [[c.what] + ["up" if c.ended.get(role, {}).get("up") else c.ended.get(role, {}).get("reason", "no end") for role in ("initiator", "responder")] for c in everything])
    for c in everything:
        for role in ("initiator", "responder"):
            judge(r, c, role, site)


report.run("certificates", body)

#!/usr/bin/python3
"""Post-quantum pre-shared keys (RFC 8784) of IKEv2 against strongSwan, in both roles: used, lacked, insisted on, different; also beside certificates and EAP.

Time limit: 150 s
One gateway and one strongSwan hold one connection a case, told apart by an address of strongSwan's. strongSwan's log says whether it has used the key;
what carries it is rekeyed once, IKE SA and CHILD SA, from Culvert's side. With EAP whoever begins is the user, and the other side has a certificate.
"""
import concurrent.futures
import os
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, ikev2, pki, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

WORKERS = 3
SUITE = "aes256gcm16-prfsha384-curve25519"
IKE = {"retransmit_timeout": "1s", "retransmit_base": 1.5, "retransmit_tries": 3, "half_open_timeout": "8s"}
KEY, OTHER = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
OPTIONAL, REQUIRED = "no", "yes"
ROLES, PASSWORD = ("initiator", "responder"), "alice's password"


class Case:
    """`ours`, `theirs`: None without a PPK, else ppk_required. `key`: what Culvert holds; strongSwan holds KEY. `used`: it connects with it; `says`: it does
    not connect, and Culvert's explanation as initiator, as responder, has these words. `eap`: the method by which Culvert in `role`, its only one, or
    strongSwan in the other one proves itself."""
    count = 0

    def __init__(self, what, ours, theirs, used=True, key=KEY, name=None, certificates=False, says=None, eap=None, role=None):
        Case.count += 1
        n = self.number = Case.count
        self.what, self.ours, self.theirs, self.used, self.key, self.certificates, self.says = what, ours, theirs, used, key, certificates, says
        self.eap, self.roles = eap, (role,) if role else ROLES
        self.name, self.address, self.identity, self.ended = f"case-{n}", f"10.9.1.{n}", f"peer-{n}.example", {}
        self.ppk_id = f"ppk-{n}.example"
        self.our_ppk_id = name or self.ppk_id

    def culvert(self, gw, w):
        inner = {"net": gateway.child(f"10.1.{self.number}.0/24", f"10.2.{self.number}.0/24", sites.ESP_SUITE)}
        found = gateway.connection(sites.ADDRESS["a"], self.address, "gw-a.example", self.identity, SUITE, gw.secret(sites.SECRET), inner, version=2)
        if self.ours:
            found.update(ppk_id=self.our_ppk_id, ppk=f"file:{gw.secret(self.key, f'{self.name}.ppk')}", ppk_required=self.ours == REQUIRED)
        write = lambda file, text: gw.lab.write(f"{gw.name}/{file}", text)
        own = {"certs": [write("gw.pem", w.ours.pem())], "key": f"file:{write('gw.key', pki.pem(w.ours.private))}"}
        trust = {"cacerts": [write("root.pem", w.root.pem())]}
        if self.certificates or self.eap:
            del found["secret"]
            found["local"].update(auth="pubkey", **own)
            found["remote"].update(auth="pubkey", **trust)
        if self.eap == "eap-md5":
            found["allow_weak"] = [self.eap]
        if self.eap and self.roles == ("initiator",):
            found["local"] = {"id": "gw-a.example", "auth": self.eap, **({"eap_id": "gw-a.example", **own} if self.eap == "eap-tls" else
                                                                      {"eap_id": "alice", "password": f"file:{write('password', PASSWORD)}"})}
        if self.eap and self.roles == ("responder",):
            found["remote"] = {"id": self.identity, "auth": self.eap, **(trust if self.eap == "eap-tls" else {"users": f"file:{write('users', 'alice:{plain}' + PASSWORD)}"})}
        return found

    def strongswan(self, w):
        inner = {self.name: strongswan.child(f"10.2.{self.number}.0/24", f"10.1.{self.number}.0/24", sites.ESP_SUITE)}
        found = strongswan.connection(self.address, sites.ADDRESS["a"], self.identity, "gw-a.example", SUITE, inner, version=2, keyingtries=1)
        if self.theirs:
            found.update(ppk_id=self.ppk_id, ppk_required=self.theirs)
        if self.certificates or self.eap:
            w.theirs[self.name] = pki.Issued(f"C=CH, O=Example, CN={self.name}", pki.key("p256", 20), w.root, san=[f"DNS:{self.identity}"])
            found["local"].update(auth="pubkey", certs=f"{self.name}.pem")
            found["remote"].update(auth="pubkey")
            found["send_cert"] = "always"
        if self.eap:
            side = found["local" if self.roles == ("responder",) else "remote"]
            side.update(auth=self.eap, eap_id=("alice" if self.eap != "eap-tls" else self.identity) if self.roles == ("responder",) else "%any")
            if self.eap != "eap-tls":
                side.pop("certs", None)
        return found


class Authority:
    def __init__(self):
        self.root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p384", 1), ca=True)
        self.ours = pki.Issued("C=CH, O=Example, CN=gw-a", pki.key("ed25519"), self.root, san=["DNS:gw-a.example"])
        self.theirs = {}

    def write(self, folder):
        for part in ("x509", "x509ca", "private"):
            os.makedirs(f"{folder}/swanctl/{part}", exist_ok=True)
        files = {"x509ca/root.pem": self.root.pem(), "private/peer.pem": pki.pem(pki.key("p256", 20))}
        for path, text in (files | {f"x509/{name}.pem": c.pem() for name, c in self.theirs.items()}).items():
            with open(f"{folder}/swanctl/{path}", "w", encoding="utf-8") as f:
                f.write(text)


def cases():
    found = [Case("both may", OPTIONAL, OPTIONAL), Case("we must", REQUIRED, OPTIONAL), Case("it must", OPTIONAL, REQUIRED), Case("both must", REQUIRED, REQUIRED),
             Case("both may, with certificates", OPTIONAL, OPTIONAL, certificates=True), Case("both must, with certificates", REQUIRED, REQUIRED, certificates=True),
             Case("we may and it has none", OPTIONAL, None, used=False), Case("it may and we have none", None, OPTIONAL, used=False),
             Case("we may and it has none, with certificates", OPTIONAL, None, used=False, certificates=True)]
    for role in ROLES:
        found += [Case(f"{method}, both must", REQUIRED, REQUIRED, eap=method, role=role) for method in ("eap-mschapv2", "eap-tls", "eap-md5")]
        user = lambda what, *has, **more: Case(f"eap-mschapv2, {what}", *has, eap="eap-mschapv2", role=role, **more)
        found += [user("both may", OPTIONAL, OPTIONAL), user("we may and it has none", OPTIONAL, None, used=False), user("it may and we have none", None, OPTIONAL, used=False),
                  user("we must and it has none", REQUIRED, None, says=("do not have the same PPK", "and ppk_required asks for")),
                  user("it must and we have none", None, REQUIRED, says=("", "")),
                  user("the keys differ and both must", REQUIRED, REQUIRED, key=OTHER, says=("do not have the same PPK", "or the two sides do not have the same PPK")),
                  user("the keys differ and both may", OPTIONAL, OPTIONAL, key=OTHER, says=("do not have the same PPK", "All else of the peer's proof behind EAP fits")),
                  user("the names differ and both must", REQUIRED, REQUIRED, name="another.example", says=("do not have the same PPK", "The peer's PPK is")),
                  user("the names differ and both may", OPTIONAL, OPTIONAL, name="another.example", **(
                      {"used": False} if role == "responder" else {"says": ("do not have the same PPK", "")}))]     # strongSwan insists on its own name
    return found + [
        Case("we must and it has none", REQUIRED, None, says=("do not have the same PPK", "and ppk_required asks for")),
        Case("it must and we have none", None, REQUIRED, says=("", "")),
        Case("the keys differ and both must", REQUIRED, REQUIRED, key=OTHER, says=("do not have the same PPK", "do not have the same PPK")),
        Case("the keys differ and both may", OPTIONAL, OPTIONAL, key=OTHER, says=("do not have the same PPK", "All else of the peer's proof fits")),
        Case("the names differ and both must", REQUIRED, REQUIRED, name="another.example", says=("do not have the same PPK", "The peer's PPK is"))]


def one(c, role, site):
    """Starts the negotiation from one side, and waits for its end as Culvert tells it; uses and rekeys what came up."""
    begun = time.monotonic()
    if role == "initiator":
        site.culvert.cli("initiate", f"{c.name}/net", "--timeout", 0)
    else:
        site.strongswan.swanctl("initiate", "--child", c.name, "--timeout", "-1", check=False)
    there = lambda: len(ikev2.their_sas(site.strongswan, c.name)) == 1

    def end():
        shown = site.culvert.connection(c.name)
        failure = shown["children"][0]["failure"] or shown["failure"]
        if shown["children"][0]["up"] and there():
            return {"up": True}
        return failure if failure and failure["age_s"] < time.monotonic() - begun else None
    time.sleep(0.2)
    try:
        c.ended[role] = wait_for(end, 25, f"the end of {c.name}", step=0.2)
    except LabError:
        if c.says is None or role == "initiator":
            raise
        c.ended[role] = {}                 # strongSwan itself has given up: nothing came to us that could be told
    if c.ended[role].get("up"):
        c.ended[role]["pings"] = use(c, site)
    site.culvert.terminate(c.name)
    if c.says:
        site.strongswan.terminate(c.name, 2)
    wait_for(lambda: not site.culvert.child_sas(c.name) and not ikev2.their_sas(site.strongswan, c.name), 15, f"the end of {c.name}'s tunnel")


def use(c, site):
    """Whether packets go through before and behind each rekeying."""
    through = lambda: ping(site.host, f"10.2.{c.number}.1", f"10.1.{c.number}.10", count=1)[0]
    good = [through()]
    for what in "ike", "child":
        old = ikev2.in_use(site.culvert, c.name)
        site.culvert.cli("rekey", c.name if what == "ike" else f"{c.name}/net", *(["--ike"] if what == "ike" else []))
        wait_for(lambda: ikev2.in_use(site.culvert, c.name) != old and not ikev2.differ(site.culvert, site.strongswan, c.name), 10, f"the rekeying of {c.name}'s {what}")
        good.append(through())
    return all(good)


def judge(r, c, role, site):
    title, ended = f"{c.what}, Culvert as {role}", c.ended.get(role, {})
    if c.says is None:
        r.check(f"{title}: connects, and carries pings over two rekeyings", ended.get("up") and ended.get("pings"), "" if ended.get("pings") else str(ended)[:400])
        return
    want = c.says[role == "responder"]
    r.check(f"{title}: does not connect", not ended.get("up"), str(ended)[:400] if ended.get("up") else "")
    if want:
        r.check(f"{title}: it is said why: {want}", want in ended.get("message", ""), "" if want in ended.get("message", "") else str(ended)[:400])
    r.check(f"{title}: nothing was installed", not site.culvert.child_sas(c.name))


def body(r, lab):
    w, everything = Authority(), cases()
    site = sites.CulvertAndStrongSwan(lab, lambda gw: {c.name: c.culvert(gw, w) for c in everything}, {}, ike=IKE)
    secrets = {"ike-all": {"secret": f'"{sites.SECRET}"'}} | {f"ppk-{c.number}": {"id": c.ppk_id, "secret": f'"{KEY}"'} for c in everything if c.theirs} | {"eap-1": {"id": "alice", "secret": f'"{PASSWORD}"'}}
    site.strongswan.configure({c.name: c.strongswan(w) for c in everything}, secrets)
    w.write(site.strongswan.folder)
    site.number([c.number for c in everything])
    site.start()
    for role in ROLES:
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            jobs = {pool.submit(one, c, role, site): c for c in everything if role in c.roles}
            for job in concurrent.futures.as_completed(jobs):
                try:
                    job.result()
                except LabError as error:
                    jobs[job].ended.setdefault(role, {"message": str(error)})
    r.table(["the PPK", "Culvert initiates", "strongSwan initiates"],
            [[c.what] + ["up" if c.ended.get(role, {}).get("up") else c.ended.get(role, {}).get("reason", "no end") if role in c.roles else "" for role in ROLES] for c in everything])
    log = site.culvert.log()
    for c in everything:
        for role in c.roles:
            judge(r, c, role, site)
        if c.says is None:
            used = log.count(f'The keys are made with the PPK "{c.ppk_id}"')
            r.check(f"{c.what}: the keys are made {'with it' if c.used else 'without'}", used == (len(c.roles) if c.used else 0), f"said {used} times")


report.run("ikev2-ppk", body)

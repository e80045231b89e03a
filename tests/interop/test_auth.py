#!/usr/bin/python3
"""Phase 1 against strongSwan: Main and Aggressive Mode with every authentication method, in both roles; and what is refused.

Time limit: 180 s
One gateway and one strongSwan hold one connection per exchange and method, told apart by an address of strongSwan's. Each is established by
Culvert, used and ended, then the same by strongSwan. The methods are those of the program's own table, so that none is forgotten.
"""
import concurrent.futures
import os
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.certificates import Authority  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

WORKERS = 3
MODES = ("main", "aggressive")
# Number of the method (RFC 2409 App. A, RFC 4754): its name here, and the IKE suites to try it with. ECDSA brings its own hash, whatever the suite's.
METHODS = {1: ("psk", ["aes128-sha256-ecp256"]), 3: ("rsa", ["aes256-sha1-modp2048", "aes128-sha512-ecp256"]),
           9: ("ecdsa-256", ["aes128-sha256-ecp256", "aes256-sha512-ecp384"]), 10: ("ecdsa-384", ["aes128-sha1-ecp256", "aes256-sha384-ecp384"]),
           11: ("ecdsa-521", ["aes256-sha512-ecp521"])}
# strongSwan has no responder that is the user.
NOT_WITH_STRONGSWAN = {64222, 65002, 65006}
# These need XAuth on both sides: test_xauth.py.
WITH_XAUTH = {64221, 65001, 65005}
AGGRESSIVE_PSK = "i_dont_care_about_security_and_use_aggressive_mode_psk = yes"


def program_methods():
    with open(os.path.join(gateway.ROOT, "control/ikev1/phase1_auth.cpp"), encoding="utf-8") as f:
        return {int(number) for number in re.findall(r"Phase1AuthInfo\{(\d+),", f.read())}


class Case:
    def __init__(self, number, mode, method, suite):
        self.number, self.mode, self.method, self.suite = number, mode, method, suite
        self.name, self.identity, self.address = f"c{number}", f"c{number}.example", f"10.9.1.{number}"
        self.result = {}

    def ours(self, gw, authority, own):
        local, remote = {"id": sites.IDENTITY["a"]}, {"id": self.identity}
        if self.method != "psk":
            certificate, key = own[self.method]
            local.update(auth="pubkey", certs=[certificate], key=f"file:{key}")
            remote.update(auth="pubkey", cacerts=[authority.file])
        extra = {"local": local, "remote": remote}
        if self.mode == "aggressive":
            extra["aggressive"] = True
            if self.method == "psk":
                extra["aggressive_psk_exposes_hash_to_offline_guessing"] = True
        children = {self.name: gateway.child(f"10.1.{self.number}.0/24", f"10.2.{self.number}.0/24", "aes128gcm16")}
        found = gateway.connection(sites.ADDRESS["a"], self.address, sites.IDENTITY["a"], self.identity, self.suite, gw.secret(sites.SECRET), children, **extra)
        if self.method != "psk":
            del found["secret"]
        return found

    def theirs(self, certificate):
        inner = {self.name: strongswan.child(f"10.2.{self.number}.0/24", f"10.1.{self.number}.0/24", "aes128gcm16")}
        found = strongswan.connection(self.address, sites.ADDRESS["a"], self.identity, sites.IDENTITY["a"], self.suite, inner,
                                      aggressive="yes" if self.mode == "aggressive" else "no")
        if self.method != "psk":
            found["local"].update(auth="pubkey", certs=certificate)
            found["remote"].update(auth="pubkey")
        return found


def cases():
    number, found = 0, []
    for mode in MODES:
        for method, suites in METHODS.values():
            for suite in suites:
                number += 1
                found.append(Case(number, mode, method, suite))
    return found


def one(case, role, site):
    begun = time.monotonic()
    ok, detail = site.culvert.initiate(case.name, case.name, seconds=30) if role == "initiator" else site.strongswan.initiate(case.name, seconds=30)
    milliseconds = (time.monotonic() - begun) * 1000
    if ok:
        wait_for(lambda: any(c.get("state") == "INSTALLED" for c in site.strongswan.child_sas(case.name)), 5, f"{case.name} at strongSwan")
        if not ping(site.host, f"10.2.{case.number}.1", f"10.1.{case.number}.10", count=1)[0]:
            ok, detail = False, "no answer to a ping"
        mine = site.culvert.ike_sas(case.name)
        if ok and [sa["remote_id"] for sa in mine] != [case.identity]:
            ok, detail = False, f"the peer is {[sa['remote_id'] for sa in mine]}"
    case.result[role] = (ok, milliseconds, "" if ok else str(detail).strip().splitlines()[-1:])
    if role == "initiator":
        site.culvert.terminate(case.name)
    else:
        site.strongswan.terminate(case.name)
    wait_for(lambda: case.name not in site.strongswan.list_sas(), 10, f"the end of {case.name} at strongSwan")


def refused(r, site, bad):
    """A certificate of a stranger's authority, on either side."""
    ok, _ = site.strongswan.initiate(bad.name, seconds=5)
    failures = [line for line in site.culvert.log().splitlines() if "cert_untrusted" in line]
    r.check("strongSwan's certificate of an unknown authority is refused, and for that", not ok and failures, failures[-1:] or "nothing in the log")
    ok, said = site.culvert.initiate(bad.name, bad.name, seconds=12)
    r.check("Culvert as initiator does not take it either", not ok, said)
    r.check("nothing of it is left", not site.culvert.child_sas(bad.name))


def body(r, lab):
    known = set(METHODS) | NOT_WITH_STRONGSWAN | WITH_XAUTH
    r.check("each method of the program's table is in this one", program_methods() == known, f"they differ in {program_methods() ^ known}")
    everything = cases()
    bad = Case(100, "main", "rsa", "aes128-sha256-ecp256")
    authority, stranger = Authority(lab), Authority(lab, "stranger")
    own = {method: authority.issue(sites.IDENTITY["a"], method) for method, _ in METHODS.values() if method != "psk"}
    peers = {case.name: (stranger if case is bad else authority).issue(case.identity, case.method) for case in [*everything, bad] if case.method != "psk"}
    site = sites.CulvertAndStrongSwan(
        lab, lambda gw: {c.name: c.ours(gw, authority, own) for c in [*everything, bad]},
        {c.name: c.theirs(peers.get(c.name, ("", ""))[0]) for c in [*everything, bad]})
    site.strongswan.add_options(AGGRESSIVE_PSK)
    for name, (_, key) in peers.items():
        with open(key, encoding="ascii") as f:
            lab.write(f"strongswan/swanctl/{'rsa' if 'RSA' in f.readline() else 'ecdsa'}/{name}.key", open(key, encoding="ascii").read())
    for index, one_authority in enumerate((authority, stranger)):
        lab.write(f"strongswan/swanctl/x509ca/{index}.pem", open(one_authority.file, encoding="ascii").read())
    site.outside.addresses("cl0", [f"{c.address}/16" for c in [*everything, bad]])
    site.outside.addresses("lo", [f"10.2.{c.number}.1/24" for c in [*everything, bad]])
    site.host.addresses("h0", [f"10.1.{c.number}.10/16" for c in [*everything, bad]])
    site.start()
    for role in ("initiator", "responder"):
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            jobs = {pool.submit(one, c, role, site): c for c in everything}
            for job in concurrent.futures.as_completed(jobs):
                try:
                    job.result()
                except LabError as error:
                    jobs[job].result[role] = (False, 0, str(error))
    rows = [[c.mode, c.method, c.suite, *(f"{'ok' if c.result[role][0] else 'FAIL'} {c.result[role][1]:.0f} ms" for role in ("initiator", "responder"))]
            for c in everything]
    r.table(["mode", "method", "IKE suite", "Culvert initiates", "strongSwan initiates"], rows)
    for c in everything:
        for role in ("initiator", "responder"):
            r.check(f"{c.mode} mode, {c.method}, {c.suite}, Culvert as {role}", c.result[role][0], c.result[role][2])
    refused(r, site, bad)


report.run("auth", body)

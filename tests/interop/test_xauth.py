#!/usr/bin/python3
"""Users against strongSwan: Main and Aggressive Mode with XAuth behind a pre-shared key, behind RSA signatures, and alone (hybrid).

Time limit: 180 s
Each combination is established with a virtual address pulled and pushed, with Culvert as the users' gateway and as a user itself; a host
behind Culvert and strongSwan ping each other through it. One gateway and one strongSwan hold a connection each, told apart by addresses.
No secret stands in anything that Culvert says (attack-M4).
"""
import concurrent.futures
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.certificates import Authority  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

WORKERS = {"server": 3, "client": 1}        # strongSwan's routes: as a server it loses one, now and then, when another tunnel ends meanwhile
GW = sites.ADDRESS["a"]
SUITE = "aes256-sha256-ecp256"
METHODS = ("psk", "rsa", "hybrid")
AGGRESSIVE_PSK = "i_dont_care_about_security_and_use_aggressive_mode_psk = yes"


class Case:
    """`role`: what Culvert is, the users' server or a client."""

    def __init__(self, number, mode, method, config, role):
        self.number, self.mode, self.method, self.config, self.role = number, mode, method, config, role
        self.name, self.identity, self.address = f"x{number}", f"x{number}.example", f"10.9.1.{number}"
        self.user, self.password = f"user{number}", f"secret-of-{number}"
        self.pool = f"10.3.{number}.0/24"
        self.result = (False, 0, "not run")

    def ours(self, gw, own, authority, users):
        local, remote = {"id": sites.IDENTITY["a"]}, {"id": self.identity}
        server = self.role == "server"
        if self.method != "psk":
            proves = {"auth": "pubkey", "certs": [own[0]], "key": f"file:{own[1]}"}
            trusts = {"auth": "pubkey", "cacerts": [authority.file], "revocation": "ignore"}
            hybrid = self.method == "hybrid"
            local.update({"auth": "xauth"} if hybrid and not server else proves)
            remote.update({"auth": "xauth"} if hybrid and server else trusts)
        if server:
            remote["xauth"] = {"users": f"file:{users}"}
            children = {self.name: gateway.child(sites.NET["a"], "dynamic", sites.ESP_SUITE)}
            extra = {"pools": [self.name]}
        else:
            local["xauth"] = {"user": self.user, "password": "file:" + gw.secret(self.password, f"{self.name}.password")}
            children = {self.name: gateway.child("dynamic", f"10.2.{self.number}.0/24", sites.ESP_SUITE)}
            extra = {"vips": ["0.0.0.0"]}
        if self.mode == "aggressive":
            extra["aggressive"] = True
            if self.method == "psk":
                extra["aggressive_psk_exposes_hash_to_offline_guessing"] = True
        found = gateway.connection(GW, self.address, "", "", SUITE, gw.secret(sites.SECRET), children, mode_config=self.config, **extra)
        found.update(local=local, remote=remote)
        if self.method != "psk":
            del found["secret"]
        return found

    def theirs(self, certificate):
        server = self.role == "server"                          # strongSwan is the client then
        inner = strongswan.child("dynamic", sites.NET["a"], sites.ESP_SUITE) if server else strongswan.child(f"10.2.{self.number}.0/24", "dynamic", sites.ESP_SUITE)
        extra = {"vips": "0.0.0.0"} if server else {"pools": self.name}
        found = strongswan.connection(self.address, GW, self.identity, sites.IDENTITY["a"], SUITE, {self.name: inner}, aggressive="yes" if self.mode == "aggressive" else "no",
                                      pull="yes" if self.config == "pull" else "no", **extra)
        ours, peers = found["local"], found["remote"]
        user = {"auth": "xauth", "xauth_id": self.user} if server else {"auth": "xauth"}
        if self.method != "psk":
            ours.update(auth="pubkey", certs=certificate)
            peers["auth"] = "pubkey"
        if self.method == "hybrid":                              # the user's side proves nothing in phase 1
            side = ours if server else peers
            side.pop("certs", None)
            side.update(user)
        else:
            found["local-2" if server else "remote-2"] = user
        return found


def cases():
    number, found = 0, []
    for role in ("server", "client"):
        for mode in ("main", "aggressive"):
            for method in METHODS:
                for config in ("pull", "push"):
                    number += 1
                    found.append(Case(number, mode, method, config, role))
    return found


def answers(namespace, target, source):
    """The first packet may come before the peer has installed its side, or before the neighbours know each other."""
    return any(ping(namespace, target, source, count=1)[0] for _ in range(8))


def fault(case, site):
    """What is wrong with a tunnel that is up; empty: nothing."""
    peer, culvert = site.strongswan, site.culvert
    wait_for(lambda: any(c.get("state") == "INSTALLED" for c in peer.child_sas(case.name)), 5, f"{case.name} at strongSwan")
    mine, theirs = culvert.ike_sas(case.name), peer.list_sas()[case.name]
    if len(mine) != 1 or mine[0]["xauth_user"] != case.user:
        return f"Culvert's SAs are {mine}"
    address = mine[0]["virtual_address"] or ""
    told = theirs.get("local-vips" if case.role == "server" else "remote-vips")
    if not address.startswith(f"10.3.{case.number}.") or told != [address]:
        return f"the virtual address is {address} to Culvert and {told} to strongSwan"
    if case.role == "client":
        site.host.address("h0", f"{address}/32")
    ours, far = (sites.HOST["a"], address) if case.role == "server" else (address, f"10.2.{case.number}.1")
    if not answers(site.host, far, ours):
        return f"the host at {ours} gets no answer from {far}"
    return "" if answers(site.outside, ours, far) else f"strongSwan at {far} gets no answer from {ours}"


def one(case, site):
    begun = time.monotonic()
    ok, detail = site.strongswan.initiate(case.name, seconds=30) if case.role == "server" else site.culvert.initiate(case.name, case.name, seconds=30)
    milliseconds = (time.monotonic() - begun) * 1000
    wrong = fault(case, site) if ok else str(detail).strip().splitlines()[-1:]
    case.result = (ok and not wrong, milliseconds, wrong)
    if case.role == "server":
        site.strongswan.terminate(case.name)
    else:
        site.culvert.terminate(case.name)
    wait_for(lambda: case.name not in site.strongswan.list_sas() and not site.culvert.child_sas(case.name), 10, f"the end of {case.name}")


def prepare(lab, everything):
    authority = Authority(lab)
    own = authority.issue(sites.IDENTITY["a"], "rsa")
    theirs = {c.name: authority.issue(c.identity, "rsa") for c in everything if c.method != "psk" and (c.method, c.role) != ("hybrid", "server")}
    users = lab.write("users", "".join(f"{c.user}:{{plain}}{c.password}\n" for c in everything))
    connections = {c.name: c.theirs(theirs.get(c.name, ("",))[0]) for c in everything}
    site = sites.CulvertAndStrongSwan(lab, lambda gw: {c.name: c.ours(gw, own, authority, users) for c in everything}, connections)
    for name, (_, key) in theirs.items():
        with open(key, encoding="ascii") as f:
            lab.write(f"strongswan/swanctl/rsa/{name}.key", f.read())
    with open(authority.file, encoding="ascii") as f:
        lab.write("strongswan/swanctl/x509ca/ca.pem", f.read())
    secrets = {"ike-all": {"secret": f'"{sites.SECRET}"'}} | {f"xauth-{c.name}": {"id": c.user, "secret": f'"{c.password}"'} for c in everything}
    site.strongswan.configure(connections, secrets, pools={c.name: {"addrs": c.pool} for c in everything if c.role == "client"})
    site.strongswan.add_options(AGGRESSIVE_PSK)
    site.culvert.config["pools"] = {c.name: {"addrs": c.pool} for c in everything if c.role == "server"}
    site.culvert.config["routes"] += [{"to": c.pool, "via": c.address} if c.role == "server" else {"to": c.pool, "port": "lan"} for c in everything]
    site.culvert.write()
    site.outside.addresses("cl0", [f"{c.address}/16" for c in everything])
    site.outside.addresses("lo", [f"10.2.{c.number}.1/24" for c in everything if c.role == "client"])
    site.start()
    return site


def silent_about_secrets(r, site, everything):
    """What an operator, a log or a metrics server gets to see, with the messages of some peers in it."""
    culvert = site.culvert
    said = {"the log": culvert.log(), "the data plane's log": culvert.dataplane.output(), "the metrics": str(culvert.metrics())}
    for command in (("list-sas",), ("list-conns",), ("list-pools", "--leases"), ("list-certs",), ("explain",), ("counters",), ("log",), ("debug",)):
        said["culvert " + command[0]] = culvert.cli_text(*command) + str(culvert.cli(*command)[1])
    secrets = [sites.SECRET, *(c.password for c in everything)]
    shown = [(where, secret) for where, text in said.items() for secret in secrets if secret in text]
    r.check("no secret is in the log, the metrics or an answer of the CLI", not shown, shown[:3])
    r.check("... and there was what could have held one", "Transaction" in said["the log"] and everything[0].user in said["the log"])


def body(r, lab):
    everything = cases()
    site = prepare(lab, everything)
    for c in everything[:6]:
        site.culvert.result("debug", c.name, "--for", "60s")
    for role, workers in WORKERS.items():
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            jobs = {pool.submit(one, c, site): c for c in everything if c.role == role}
            for job in concurrent.futures.as_completed(jobs):
                try:
                    job.result()
                except LabError as error:
                    jobs[job].result = (False, 0, str(error))
    r.table(["mode", "method", "Mode Config", "Culvert is", "result", "ms"],
            [[c.mode, "hybrid RSA" if c.method == "hybrid" else f"XAuth+{c.method.upper()}", c.config, c.role, "ok" if c.result[0] else "FAIL", f"{c.result[1]:.0f}"] for c in everything])
    for c in everything:
        r.check(f"{c.mode} mode, {c.method}, {c.config}, Culvert as {c.role}", c.result[0], c.result[2])
    for exchange in ("xauth", "mode_config"):
        r.check(f"{exchange} is counted once for each", site.culvert.exchange_counts()[exchange] == len(everything), site.culvert.exchange_counts()[exchange])
    pools = site.culvert.result("list-pools")["pools"]
    silent_about_secrets(r, site, everything)
    r.check("no address is leased when all have gone", all(p["online"] == 0 for p in pools), pools)


report.run("xauth", body)

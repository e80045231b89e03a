"""`culvert explain` against the fault that was put in: single wrong parameters, one a connection, in both roles, strongSwan at the other end.

Each fault is a connection of its own, told apart by an address of strongSwan's; all are provoked at once. The first cause that `culvert explain`
names for the latest failure is compared with the fault. Where the protocol gives two faults the same answer, the first cause is wrong for one of them,
and counts so: in IKEv1 a strongSwan that has no connection for us, or speaks the other version only, says NO-PROPOSAL-CHOSEN as one whose proposals
differ does; in IKEv2 AUTHENTICATION_FAILED, in as many bytes and as soon, has a wrong secret, an identity that it does not know, or a PPK that it
insists on, behind it. The right cause must come first in 95 % or more. Who refused and both sides of the mismatch are checked, too.
"""
import concurrent.futures
import json
import os
import time

import yaml

from . import access_faults, gateway, pki, sites, strongswan, user_faults
from .lab import LabError, wait_for

SETTINGS = {"retransmit_timeout": "300ms", "retransmit_base": 1.5, "retransmit_tries": 4, "half_open_timeout": "6s"}
IKE, ESP = "aes256-sha256-ecp256", "aes256gcm16-ecp256"
WITHIN = 25           # seconds after which a fault without a record has none
ENOUGH = 0.95
BOTH = ("initiator", "responder")
ONE = (1,)            # IKEv1's; and what of IKEv2 shows at the first rekeying only (PFS), or is no fault there (narrowing)


class Fault:
    """One wrong parameter. `ours` and `theirs` change the two configurations, `causes` is what must be named first, `sides` are words that both
    sides of the mismatch must show. Each role is a connection of its own. `of`: the versions of IKE that have such a fault;
    `by` and `by2`: who refuses, in IKEv1 and where it is another one in IKEv2."""

    def __init__(self, name, causes, roles=BOTH, by=None, by2=None, sides=(), of=(1, 2), **change):
        self.name, self.causes, self.roles, self.sides, self.of, self.change = name, causes, roles, sides, of, change
        self.by = {1: by or {}, 2: by2 or by or {}}


def proposal(name, theirs, differs, phase=1, of=(1, 2)):
    key = "ike" if phase == 1 else "esp"
    return Fault(f"phase {phase}: {name}", {f"phase{phase}_proposal"}, sides=(differs,), by={"initiator": "peer", "responder": "us"}, of=of, theirs={key: theirs})


def selectors(name, **theirs):
    """Shown are what the peer asks for and what is configured."""
    return Fault(f"selectors: {name}", {"selectors"}, theirs=theirs, by={"initiator": "peer", "responder": "us"}, sides=(*theirs.values(), "10.1.{n}.0/24", "10.2.{n}.0/24"))


def certificate(name, *sides, **change):
    return Fault(f"certificate: {name}", {"certificate"}, by={"initiator": "us", "responder": "us"}, sides=sides, certificate=change)


def user(name, causes, by, roles=BOTH, sides=(), **change):
    return Fault(f"user: {name}", causes, roles=roles, by=by, sides=sides, of=ONE, user=change)


OF_THE_SERVER = {"initiator": "peer", "responder": "us"}       # the one that refuses, where Culvert initiates as a client and answers as a server
OF_IDR = {"initiator": "peer", "responder": "us"}              # IKEv2's initiator says first whom it expects
TWO = (2,)
FAULTS = [
    Fault("pre-shared key", {"secret"}, by={"initiator": "peer", "responder": "us"}, ours={"local_id": "gw-k.example"},
          theirs={"secret": "another secret", "remote_id": "gw-k.example"}),
    Fault("our secret is empty", {"secret_unreadable"}, by={"initiator": "us", "responder": "us"}, ours={"no_secret": True}),
    # A name of its own for each role: with one name the later INITIAL-CONTACT would end the other tunnel.
    Fault("peer calls itself otherwise", {"peer_identity"}, by={"initiator": "us", "responder": "us"}, theirs={"local_id": "else-{n}.example"}, sides=("else-{n}.example",)),
    Fault("peer expects another identity", {"own_identity"}, by={"initiator": "peer", "responder": "peer"}, by2=OF_IDR, theirs={"remote_id": "else.example"},
          sides=("gw-a.example",)),
    Fault("peer's identity of another type", {"peer_identity"}, by={"initiator": "us", "responder": "us"}, theirs={"local_id": "%s@else.example"}, sides=("@else.example",)),
    Fault("our identity of another type", {"own_identity"}, by={"initiator": "peer", "responder": "peer"}, by2=OF_IDR, ours={"local_id": "ops@gw-a.example"}),
    proposal("cipher", "3des-sha256-ecp256", "3des"),
    proposal("key length", "aes128-sha256-ecp256", "aes128"),
    proposal("hash", "aes256-sha384-ecp256", "sha384"),
    proposal("group", "aes256-sha256-ecp384", "ecp384"),
    proposal("everything", "aes128-sha512-modp2048", "aes128"),
    proposal("cipher", "aes256-sha256-ecp256", "aes256-sha256", phase=2),
    proposal("key length", "aes128gcm16-ecp256", "aes128gcm16", phase=2),
    proposal("PFS missing there", "aes256gcm16", "", phase=2, of=ONE),
    proposal("PFS with another group", "aes256gcm16-ecp384", "ecp384", phase=2, of=ONE),
    Fault("phase 2: PFS missing here", {"phase2_proposal"}, by={"initiator": "peer", "responder": "us"}, of=ONE, ours={"esp": "aes256gcm16"}),
    Fault("phase 2: integrity", {"phase2_proposal"}, by={"initiator": "peer", "responder": "us"}, ours={"esp": "aes256-sha256"}, theirs={"esp": "aes256-sha1"}),
    Fault("phase 2: AH", {"phase2_proposal"}, roles=("responder",), by={"responder": "us"}, theirs={"ah": "sha256"}, sides=("AH",)),
    proposal("PRF", "aes256-sha256-prfsha384-ecp256", "prfsha384", of=TWO),
    proposal("integrity", "aes256-sha384-prfsha256-ecp256", "sha384", of=TWO),
    proposal("combined mode", "aes256gcm16-prfsha256-ecp256", "aes256gcm16", of=TWO),
    proposal("another combined mode", "chacha20poly1305-prfsha256-ecp256", "chacha20poly1305", of=TWO),
    proposal("a larger group", "aes256-sha256-modp3072", "modp3072", of=TWO),
    proposal("another combined mode", "chacha20poly1305-ecp256", "chacha20poly1305", phase=2, of=TWO),
    proposal("another key length", "aes192gcm16-ecp256", "aes192gcm16", phase=2, of=TWO),
    proposal("integrity instead of combined mode", "aes256-sha512", "sha512", phase=2, of=TWO),
    selectors("other network at the peer", local_ts="10.77.{n}.0/24"),
    selectors("other network at us", remote_ts="10.78.{n}.0/24"),
    selectors("both other", local_ts="10.77.{n}.0/24", remote_ts="10.78.{n}.0/24"),
    selectors("swapped", local_ts="10.1.{n}.0/24", remote_ts="10.2.{n}.0/24"),
    Fault("selectors: peer asks for too much", {"selectors"}, roles=("responder",), by={"responder": "us"}, of=ONE, theirs={"local_ts": "10.2.0.0/16"}, sides=("10.2.0.0/16",)),
    Fault("selectors: another protocol", {"selectors"}, roles=("responder",), by={"responder": "us"}, theirs={"local_ts": "10.2.{n}.0/24[tcp]", "remote_ts": "10.1.{n}.0/24[tcp]"},
          ours={"local_ts": "10.1.{n}.0/24[udp]", "remote_ts": "10.2.{n}.0/24[udp]"}),
    Fault("nobody at that address", {"unreachable"}, roles=("initiator",), by={"initiator": "nobody"}, theirs={"absent": True}),
    Fault("UDP 500 closed", {"unreachable"}, roles=("initiator",), by={"initiator": "nobody"}, rule="udp dport 500 ip daddr {address} reject"),
    Fault("UDP 500 is dropped on the way there", {"unreachable", "one_way"}, by={"initiator": "nobody", "responder": "nobody"}, rule="ip daddr {address} drop"),
    Fault("UDP 4500 is dropped on the way there", {"port_4500"}, roles=("initiator",), by={"initiator": "nobody"}, rule="udp dport 4500 ip daddr {address} drop"),
    Fault("UDP 4500 is dropped on the way to us", {"port_4500"}, roles=("responder",), by={"responder": "nobody"}, out="udp dport 4500 ip saddr {address} drop"),
    Fault("no connection for the address", {"no_peer_connection", "no_connection"}, by={"initiator": "peer", "responder": "us"}, theirs={"elsewhere": True}),
    Fault("IKEv2 only", {"ike_version", "no_peer_connection"}, by={"initiator": "peer", "responder": "us"}, of=ONE, theirs={"version": 2}),
    Fault("IKEv1 only", {"ike_version", "no_peer_connection"}, by={"initiator": "peer", "responder": "us"}, of=(2,), theirs={"version": 1}),
    Fault("aggressive mode there, main mode here", {"aggressive"}, roles=("responder",), by={"responder": "us"}, of=ONE, theirs={"aggressive": "yes"}),
    Fault("main mode there, aggressive mode here", {"aggressive"}, roles=("responder",), by={"responder": "us"}, of=ONE, ours={"aggressive": True}),
    certificate("expired", "expired", since=-20 * pki.DAY, until=-pki.DAY),
    certificate("not valid yet", "not valid", since=pki.DAY),
    certificate("of another authority", "Other", issuer="other"),
    certificate("for another use", "use", usage=("key_encipherment",)),
    certificate("revoked", "revoked", revoked=True),
    Fault("certificate: with another name", {"peer_identity"}, by={"initiator": "us", "responder": "us"}, theirs={"local_id": "else-{n}.example"},
          certificate={"san": ["DNS:else-{n}.example"]}, sides=("else-{n}.example", "f{n}.example")),
    Fault("certificate: ours, of an authority that the peer does not trust", {"own_certificate"}, by={"initiator": "peer", "responder": "peer"}, ours={"local_id": "gw-o.example"},
          theirs={"remote_id": "gw-o.example"}, certificate={"own": "other"}),
    user("wrong password", {"user"}, OF_THE_SERVER, says="guess", sides=("user{n}",)),
    user("unknown", {"user"}, OF_THE_SERVER, known=False, sides=("user{n}",)),
    user("wanted here, not there", {"phase1_proposal", "user_method"}, OF_THE_SERVER, there=False, sides=("XAuth",)),
    user("wanted there, not here", {"phase1_proposal", "user_method"}, OF_THE_SERVER, here=False, sides=("XAuth",)),
    user("wants an address, and there are no pools", {"pool"}, OF_THE_SERVER, asks=True, gives=False),
    user("hybrid: server's certificate of another authority", {"certificate"}, {"initiator": "us"}, roles=("initiator",), hybrid=True),
    Fault("user: hybrid: our certificate of another authority", {"own_certificate"}, roles=("responder",), by={"responder": "peer"}, of=ONE, user={"hybrid": True},
          ours={"local_id": "gw-r.example"}, theirs={"remote_id": "gw-r.example"}),
    Fault("the peer dies", {"dead_peer"}, roles=("initiator",), by={"initiator": "nobody"}, then="die"),
    Fault("the peer deletes the tunnel", {"deleted_by_peer"}, by={"initiator": "peer", "responder": "peer"}, then="delete"),
    *access_faults.faults(Fault),
]


class Authorities:
    """Two, of which both sides trust the first; and the certificates of both sides."""

    def __init__(self):
        self.root, self.other = (pki.Issued(f"C=CH, O=Example, CN={name}", pki.key("p256", n), ca=True) for n, name in enumerate(("Root", "Other"), 1))
        # Keys and names of their own: strongSwan takes any trusted certificate that it has seen for the key or the name.
        self.own = {name: pki.Issued(f"C=CH, O=Example, CN={gw}", pki.key("p256", n), getattr(self, name), san=[f"DNS:{gw}.example"])
                    for name, gw, n in (("root", "gw-a", 3), ("other", "gw-o", 5))}
        self.own["rsa"] = pki.Issued("C=CH, O=Example, CN=gw-r", pki.key("rsa2048", 3), self.other, san=["DNS:gw-r.example"])     # hybrid takes no other keys
        self.peers, self.revoked = {}, []

    def issue(self, case):
        hybrid = "user" in case.fault.change
        change = dict(case.fault.change["certificate"]) if not hybrid else {"issuer": "other"}
        issuer, revoked = getattr(self, change.pop("issuer", "root")), change.pop("revoked", False)
        change.pop("own", None)
        if "san" in change:
            change["san"] = [case.text(name) for name in change["san"]]
        found = pki.Issued(f"C=CH, O=Example, CN={case.conn}", pki.key("rsa2048" if hybrid else "p256", 4), issuer, **{"san": [f"DNS:{case.conn}.example"], **change})
        self.peers[case.conn] = found
        if revoked:
            self.revoked.append(found)

    def write(self, gw):
        """Culvert's files by name."""
        files = {"root": gw.lab.write(f"{gw.name}/root.pem", self.root.pem())}
        for name, own in self.own.items():
            files["own-" + name] = gw.lab.write(f"{gw.name}/own-{name}.pem", own.pem())
            files["key-" + name] = gw.lab.write(f"{gw.name}/own-{name}.key", pki.pem(own.private))
        files["crl"] = gw.lab.path(gw.name, "root.crl")
        with open(files["crl"], "wb") as f:
            f.write(self.root.crl(self.revoked))
        return files

    def write_theirs(self, lab):
        lab.write("strongswan/swanctl/x509ca/root.pem", self.root.pem())
        lab.write("strongswan/swanctl/private/peer.pem", pki.pem(pki.key("p256", 4)))
        lab.write("strongswan/swanctl/private/peer-rsa.pem", pki.pem(pki.key("rsa2048", 4)))
        for name, issued in self.peers.items():
            lab.write(f"strongswan/swanctl/x509/{name}.pem", issued.pem())


class Case:
    def __init__(self, number, fault, role, version):
        self.number, self.fault, self.role, self.version = number, fault, role, version
        self.conn, self.address = f"f{number}", f"10.9.1.{number}"
        self.ours, self.theirs = fault.change.get("ours", {}), fault.change.get("theirs", {})
        self.elsewhere = bool(self.theirs.get("elsewhere"))
        self.access = fault.change.get("access", {})
        self.shown, self.detail = None, ""

    def text(self, value):
        return value.replace("{me}", sites.IDENTITY["a"] if self.role == "initiator" else f"{self.conn}.example").replace("{n}", str(self.number)).replace("{address}", self.address).replace("%s", self.conn)

    def culvert(self, gw, good, bad, files):
        get = lambda key, default: self.text(self.ours.get(key, default))
        child = gateway.child(get("local_ts", "10.1.{n}.0/24"), get("remote_ts", "10.2.{n}.0/24"), self.ours.get("esp", ESP))
        # Of "no connection for the address", as responder: the peer comes from an address that is nobody's here.
        remote = f"10.9.3.{self.number}" if self.elsewhere and self.role == "responder" else self.address
        conn = gateway.connection(sites.ADDRESS["a"], remote, get("local_id", sites.IDENTITY["a"]), f"{self.conn}.example", self.ours.get("ike", IKE),
                                  bad if self.ours.get("no_secret") else good, {"net": child}, dpd_delay="1s", version=self.version)
        if self.ours.get("aggressive"):
            conn.update(aggressive=True, aggressive_psk_exposes_hash_to_offline_guessing=True)
        if "user" in self.fault.change:
            user_faults.ours(self, conn, gw, files)
        if "certificate" in self.fault.change:
            del conn["secret"]
            own = self.fault.change["certificate"].get("own", "root")
            conn["local"].update(auth="pubkey", certs=[files["own-" + own]], key=f"file:{files['key-' + own]}")
            conn["remote"].update(auth="pubkey", cacerts=[files["root"]], crls=[files["crl"]])
        return {self.conn: conn, **(access_faults.ours(self, conn, gw, files) if self.access else {})}

    def strongswan(self):
        get = lambda key, default: self.text(self.theirs.get(key, default))
        extra = {"mode": self.theirs["mode"]} if "mode" in self.theirs else {}
        child = strongswan.child(get("local_ts", "10.2.{n}.0/24"), get("remote_ts", "10.1.{n}.0/24"), self.theirs.get("esp", ESP), **extra)
        if "ah" in self.theirs:
            del child["esp_proposals"]
            child["ah_proposals"] = self.theirs["ah"]
        local = f"10.9.3.{self.number}" if self.elsewhere and self.role == "initiator" else self.address
        conn = strongswan.connection(local, sites.ADDRESS["a"], get("local_id", f"{self.conn}.example"), get("remote_id", sites.IDENTITY["a"]),
                                     self.theirs.get("ike", IKE), {self.conn: child}, keyingtries=1, aggressive=self.theirs.get("aggressive", "no"))
        conn["version"] = self.theirs.get("version", self.version)
        conn["mobike"] = "no"                        # its addresses are those of other cases, where it would be found again
        if "user" in self.fault.change:
            user_faults.theirs(self, conn)
        if "certificate" in self.fault.change:
            conn["local"].update(auth="pubkey", certs=f"{self.conn}.pem")
            conn["remote"]["auth"] = "pubkey"
            conn["send_cert"] = "always"
        if "auth" in self.theirs:
            conn["local"]["auth"] = conn["remote"]["auth"] = self.theirs["auth"]
        return {self.conn: conn, **(access_faults.theirs(self, conn) if self.access else {})}


def cases(version):
    return [Case(number, fault, role, version) for number, (fault, role) in enumerate(((f, r) for f in FAULTS if version in f.of for r in f.roles), 1)]


def failures_of(case, culvert):
    """All that `explain` has of a case, the latest first."""
    if case.elsewhere and case.role == "responder":
        return culvert.result("explain", "--peer", case.address)["strangers"]
    return culvert.result("explain", case.conn)["connections"][0]["failures"]


def provoke(case, site):
    if case.access:
        access_faults.before(case, site)
    if case.role == "initiator":
        site.culvert.cli("initiate", f"{case.conn}/net", "--timeout", 0)
    else:
        site.strongswan.swanctl("initiate", "--child", case.conn, "--timeout", "-1", check=False)
    then = case.fault.change.get("then")
    if not then:
        return
    wait_for(lambda: site.culvert.child_up(case.conn, "net"), 10, f"{case.conn} to come up", step=0.2)
    if then == "die":
        site.outside.sh("nft", "add", "rule", "ip", "t", "in", "ip", "daddr", case.address, "drop")
    else:
        site.strongswan.swanctl("terminate", "--child", case.conn, "--timeout", "5", check=False)


def judge(case, site):
    """Fills `shown` with the latest failure, and `detail` with what is wrong with it."""
    provoke(case, site)
    wait_for(lambda: failures_of(case, site.culvert), WITHIN, f"a record of {case.fault.name}", step=0.3)
    time.sleep(1)                                   # what follows from it is recorded, too, and must not stand first
    case.shown = failures_of(case, site.culvert)[0]
    causes = [c["cause"] for c in case.shown["causes"]]
    sides = json.dumps([case.shown["rows"], case.shown["evidence"], case.shown["message"]])
    if causes[0] not in case.fault.causes:
        case.detail = f"named {', '.join(causes)}"
    elif causes[0] == "one_way" and case.role == "initiator" or causes[0] == "unreachable" and case.role == "responder":
        case.detail = f"{causes[0]} is of the other role"
    elif case.shown["by"] != case.fault.by[case.version].get(case.role, case.shown["by"]):
        case.detail = f"refused by {case.shown['by']}"
    else:
        missing = [word for word in map(case.text, case.fault.sides) if word not in sides and not (case.role == "initiator" and case.shown["by"] == "peer")]
        case.detail = f"not shown: {missing}" if missing else ""


def watched(r, case, site):
    """`culvert debug` for one connection shows its messages, and ends when it is told to."""
    site.culvert.result("debug", case.conn, "--for", "30s")
    begun = len(site.culvert.log())
    provoke(case, site)
    seen = lambda: [line for line in site.culvert.log()[begun:].splitlines() if f"{case.conn}: " in line and " debug " in line]
    wait_for(lambda: any(f"out: {'Main Mode' if case.version == 1 else 'IKE_SA_INIT'}" in line for line in seen()) and any("in: " in line for line in seen()), 10, "lines about both directions")
    lines = seen()
    r.check("culvert debug: each message of one connection is in the log", any("SA (" in line for line in lines), lines[0] if lines else "nothing")
    listed = site.culvert.result("debug", case.conn, "--off")["watches"]
    r.check("culvert debug: ended when told to", not listed, listed)


def merge(into, change):
    """As an operator puts a suggested line into his file."""
    for key, value in change.items():
        if isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def accepts(r, everything, site):
    """The suggested lines, put into the configuration: with them the peer is accepted."""
    mended = [c for c in everything if c.shown and c.shown["yaml"]]
    for c in mended:
        merge(site.culvert.config["connections"][c.conn], yaml.safe_load("\n".join(c.shown["yaml"]).replace(", ...}", "}")))
    site.culvert.control.stop()
    site.culvert.write()
    site.culvert.start_control()
    for c in mended:
        provoke(c, site)
    up = lambda: [c.conn for c in mended if site.culvert.child_up(c.conn, "net")]
    try:
        wait_for(lambda: len(up()) == len(mended), 30, "the mended connections")
    except LabError:
        pass
    left = [f"{c.fault.name}, {c.role}: {c.shown['yaml']}" for c in mended if c.conn not in up()]
    r.check("with the suggested lines the peer is accepted", not left and len(mended) >= 12, left or f"{len(mended)} connections")


def safe(lines):
    """No line may weaken the gateway."""
    return not any(word in line for line in lines for word in ("%any", "3des", "md5", "sha1", "modp1024", "allow_weak", "revocation", "0.0.0.0/0"))


def at_once(everything, site):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        jobs = {pool.submit(judge, c, site): c for c in everything}
        for job in concurrent.futures.as_completed(jobs):
            try:
                job.result()
            except LabError as error:
                jobs[job].detail = str(error)


def body(r, lab, version):
    everything, authorities = cases(version), Authorities()
    for c in everything:
        if "certificate" in c.fault.change or "hybrid" in c.fault.change.get("user", {}):
            authorities.issue(c)

    def connections(gw):
        good, bad, files = gw.secret(sites.SECRET), gw.secret("", name="empty"), authorities.write(gw)
        return {name: conn for c in everything for name, conn in c.culvert(gw, good, bad, files).items()}
    theirs = {name: conn for c in everything for name, conn in c.strongswan().items()}
    secrets = {f"ike-{c.number}": {"id-own": c.text(c.theirs.get("local_id", f"{c.conn}.example")), "id-peer": c.theirs.get("remote_id", sites.IDENTITY["a"]),
                                   "secret": f'"{c.theirs.get("secret", sites.SECRET)}"'} for c in everything}
    for c in everything:
        if "user" in c.fault.change:
            secrets |= user_faults.secret(c)
        if c.access:
            secrets |= access_faults.secrets(c)
    site = sites.CulvertAndStrongSwan(lab, connections, {}, ike=SETTINGS)
    site.strongswan.add_options("block_threshold = 200")          # all that we begin comes from one address
    site.strongswan.configure(theirs, secrets, pools=access_faults.THEIR_POOLS)
    authorities.write_theirs(lab)
    site.outside.addresses("cl0", [f"{c.address}/16" for c in everything if not c.theirs.get("absent")] + [a for c in everything if c.access for a in access_faults.addresses(c)])
    site.outside.addresses("lo", [f"10.2.{c.number}.1/24" for c in everything] + [f"10.77.{c.number}.1/24" for c in everything if "10.77" in c.theirs.get("local_ts", "")])
    site.culvert.config["pools"] = access_faults.POOLS
    server = access_faults.Server(lab, site, authorities) if version == 2 else None
    site.culvert.write()
    into = "; ".join(c.text(c.fault.change["rule"]) for c in everything if "rule" in c.fault.change)
    out = "; ".join(c.text(c.fault.change["out"]) for c in everything if "out" in c.fault.change)
    rules = f"table ip t {{ chain in {{ type filter hook input priority 0; {into}; }}; chain out {{ type filter hook output priority 0; {out}; }}; }}\n"
    site.outside.sh("nft", "-f", lab.write("faults.nft", rules))
    if server:
        server.start()
    site.start()
    wait_for(lambda: "attached" in site.culvert.log(), 10, "culvertd to attach")
    begun = time.monotonic()
    for state in ("up", *access_faults.STATES):
        here = [c for c in everything if c.access.get("radius", "up") == state]
        if here and server:
            server.become(state)
        at_once(here, site)
    r.note(f"{len(everything)} faults in {time.monotonic() - begun:.0f} s")
    rows = []
    for c in everything:
        s = c.shown or {"causes": [], "exchange": "", "message_number": "", "by": "", "reason": "", "rows": []}
        rows.append([c.fault.name, c.role, "right" if not c.detail else "WRONG", s["exchange"], s["message_number"] or "", s["by"], s["reason"],
                     ", ".join(x["cause"] for x in s["causes"]), c.detail])
    r.table(["fault", "Culvert is", "first cause", "exchange", "message", "refused by", "reason", "causes named", ""], rows)
    right = sum(not c.detail for c in everything)
    r.check("at least 40 faults", len(everything) >= 40, len(everything))
    r.check(f"the right cause first in {ENOUGH:.0%} or more", right >= ENOUGH * len(everything), f"{right} of {len(everything)}: {right / len(everything):.1%}")
    unsafe = [c.fault.name for c in everything if c.shown and not safe(c.shown["yaml"])]
    r.check("no suggested line weakens the gateway", not unsafe, unsafe or f"{sum(bool(c.shown and c.shown['yaml']) for c in everything)} lines suggested")
    reasons = {c.shown["reason"] for c in everything if c.shown}
    uncounted = {reason for reason in reasons if site.culvert.metric("culvert_failures_total", reason=reason) < 1}
    r.check("each reason that was shown is counted in the metrics under the same name", not uncounted, uncounted or ", ".join(sorted(reasons)))
    watched(r, everything[0], site)
    accepts(r, everything, site)
    for c in everything[:1] + [c for c in everything if c.fault.name.startswith("selectors: peer asks")]:
        r.note("\n".join("  " + line for line in site.culvert.cli_text("explain", c.conn).splitlines()))
    if os.environ.get("CULVERT_LAB_DEBUG"):
        for c in everything:
            if c.detail:
                r.note(f"{c.fault.name}, {c.role}: {json.dumps(c.shown)}")

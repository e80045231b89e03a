#!/usr/bin/python3
"""libreswan on a Linux kernel (User Mode Linux): an IKEv1 that shares no code with strongSwan's.

Time limit: 300 s
Mostly waits.
Each case is a connection of its own, told apart by an address of libreswan's, begun by either end where the method allows it: suites of ESP and AH,
tunnel and transport mode, UDP encapsulation, Main and Aggressive Mode, signatures, XAuth with Mode Config in both roles. Each must ping both ways and
end on both ends. Then: rekeying by either end under a ping, dead peer detection by either end, and a libreswan that is restarted.

    host 10.1.0.10 -- in0 [Culvert] gw0 10.9.0.1 ---- wire ---- vec0 10.9.1.1, 10.9.1.2, ... [libreswan], 10.2.0.0/16 on its lo
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, libreswan, report, sites, uml  # noqa: E402
from lib.certificates import Authority  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

GW, HOST = sites.ADDRESS["a"], sites.HOST["a"]
IKE, THEIR_IKE = "aes256-sha256-modp2048", "aes256-sha2_256;modp2048"
USER, PASSWORD = "alice", "alice-pw"
REKEY, REKEY_FOR = 4, 14                       # seconds
IN_FLIGHT = 3                                  # echoes that may be under way when a ping is stopped


class Case:
    """`ours`, `theirs`: settings over the defaults of both ends; `inner`: of Culvert's child. `by`: who may begin."""

    def __init__(self, name, esp="aes128gcm16", their_esp="aes_gcm128", ike=IKE, their_ike=THEIR_IKE, ours=None, theirs=None, inner=None, by=("Culvert", "libreswan"),
                 certificates=False, transport=False, xauth=None):
        self.name, self.esp, self.their_esp, self.ike, self.their_ike = name, esp, their_esp, ike, their_ike
        self.ours, self.theirs, self.inner, self.by = ours or {}, theirs or {}, inner or {}, by
        self.certificates, self.transport, self.xauth = certificates, transport, xauth

    def place(self, number):
        self.address, self.far, self.net = f"10.9.1.{number}", f"10.2.{number}.1", f"10.2.{number}.0/24"
        self.pool = f"10.3.{number}"
        self.identity = f"{self.name}.example"


def weak(*names):
    return {"allow_weak": list(names)}


AGGRESSIVE = {"aggressive": True, "aggressive_psk_exposes_hash_to_offline_guessing": True}
CASES = [
    Case("aes-gcm"),
    Case("aes-cbc-sha1", "aes128-sha1", "aes128-sha1", "aes128-sha1-modp2048", "aes128-sha1;modp2048"),
    Case("aes-cbc-sha512", "aes256-sha512", "aes256-sha2_512", "aes256-sha512-ecp256", "aes256-sha2_512;dh19"),
    Case("pfs", "aes256-sha256-modp2048", "aes256-sha2_256", theirs={"pfs": "yes"}, ike="aes192-sha384-modp2048", their_ike="aes192-sha2_384;modp2048"),
    Case("triple-des", "3des-sha1", "3des-sha1", "3des-sha1-modp1536", "3des-sha1;modp1536", ours=weak("3des", "modp1536")),
    Case("aes-ctr", "aes256ctr-sha256", "aes_ctr256-sha2_256"),
    Case("aes-ccm", "aes256ccm16", "aes_ccm256"),
    Case("xcbc", "aes128-aesxcbc", "aes128-aes_xcbc"),
    Case("null-cipher", "null-sha256", "null-sha2_256", ours=weak("null")),
    Case("ah", None, "sha2_256", inner={"ah_proposals": ["sha256"]}, theirs={"phase2": "ah"}),
    Case("transport", transport=True),
    Case("in-udp", theirs={"encapsulation": "yes"}),
    Case("aggressive", ours=AGGRESSIVE, theirs={"aggressive": "yes"}),
    Case("rsa", certificates=True),
    Case("rsa-aggressive", certificates=True, ours={"aggressive": True}, theirs={"aggressive": "yes"}),
    Case("user-psk", by=("libreswan",), xauth="server"),
    Case("user-rsa", by=("libreswan",), xauth="server", certificates=True),
    Case("as-user-psk", by=("Culvert",), xauth="client"),
    Case("rekeyed-by-culvert", ours={"rekey_time": f"{3 * REKEY}s", "rand_time": "0s"},
         inner={"rekey_time": f"{REKEY}s", "life_time": f"{4 * REKEY}s", "rand_time": "0s"}),
    Case("rekeyed-by-libreswan", theirs={"salifetime": f"{REKEY + 10}s", "ikelifetime": "60s", "rekeymargin": "10s", "rekeyfuzz": "0%"}),
    Case("watched-by-culvert", ours={"dpd_delay": "1s", "dpd_timeout": "4s"}, inner={"dpd_action": "clear"}),
    Case("watched-by-libreswan", theirs={"dpddelay": "1", "dpdtimeout": "5", "dpdaction": "clear"}),
]
SPECIAL = [c for c in CASES if c.name.startswith(("rekeyed", "watched"))]
for _number, _case in enumerate(CASES, 1):
    _case.place(_number)
NAMED = {c.name: c for c in CASES}


def ours(case, gw, authority, own, users):
    """Culvert's connection of a case."""
    local_ts, remote_ts = sites.NET["a"], case.net
    if case.transport:
        local_ts, remote_ts = f"{GW}/32", f"{case.address}/32"
    extra = dict(case.ours)
    if case.xauth == "server":
        remote_ts, extra["pools"] = "dynamic", [case.name]
    if case.xauth == "client":
        local_ts, extra["vips"] = "dynamic", ["0.0.0.0"]
    inner = gateway.child(local_ts, remote_ts, case.esp or [], **({"mode": "transport"} if case.transport else {}), **case.inner)
    if case.esp is None:
        del inner["esp_proposals"]
    found = gateway.connection(GW, case.address, sites.IDENTITY["a"], case.identity, case.ike, gw.secret(sites.SECRET), {case.name: inner}, **extra)
    if case.certificates:
        del found["secret"]
        found["local"].update(auth="pubkey", certs=[own[0]], key=f"file:{own[1]}")
        found["remote"].update(auth="pubkey", cacerts=[authority.file], revocation="ignore")
    if case.xauth == "server":
        found["remote"]["xauth"] = {"users": f"file:{users}"}
    if case.xauth == "client":
        found["local"]["xauth"] = {"user": USER, "password": "file:" + gw.secret(PASSWORD, "user.password")}
    return found


def theirs(case):
    """libreswan's; left is libreswan."""
    found = {"ikev2": "no", "authby": "rsasig" if case.certificates else "secret", "left": case.address, "right": GW, "leftid": f"@{case.identity}",
             "rightid": f"@{sites.IDENTITY['a']}", "ike": case.their_ike, "phase2alg": case.their_esp, "pfs": "no",
             "leftsubnet": case.net, "rightsubnet": sites.NET["a"], **case.theirs}
    if case.transport:
        found |= {"type": "transport", "leftsubnet": None, "rightsubnet": None}
    if case.certificates:
        found |= {"leftcert": case.name, "rightca": "%same", "leftsendcert": "always"}
    if case.xauth == "server":
        found |= {"leftxauthclient": "yes", "rightxauthserver": "yes", "leftmodecfgclient": "yes", "rightmodecfgserver": "yes", "modecfgpull": "yes",
                  "leftusername": USER, "leftsubnet": None}
    if case.xauth == "client":
        found |= {"leftxauthserver": "yes", "rightxauthclient": "yes", "leftmodecfgserver": "yes", "rightmodecfgclient": "yes", "modecfgpull": "yes",
                  "xauthby": "file", "rightaddresspool": f"{case.pool}.10-{case.pool}.20", "rightsubnet": None}
    return found


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "peer0", "")
        self.guest = uml.Guest(lab, self.outside, "linux", ["peer0"])
        self.guest.power_on()
        authority = Authority(lab, kind="rsa")
        own = authority.issue(sites.IDENTITY["a"], "rsa")
        users = lab.write("users", f"{USER}:{{plain}}{PASSWORD}\n")
        self.culvert = sites.culvert(lab, self.inside, "a", ["b"])
        self.culvert.config["pools"] = {c.name: {"addrs": f"{c.pool}.0/24"} for c in CASES if c.xauth == "server"}
        self.culvert.config["routes"] += [{"to": f"{c.pool}.0/24", "port": "lan"} for c in CASES if c.xauth == "client"]
        self.culvert.config["connections"] = {c.name: ours(c, self.culvert, authority, own, users) for c in CASES}
        self.culvert.write()
        bundles = [bundle(lab, authority, c) for c in CASES if c.certificates]
        hashed = lab.sh("openssl", "passwd", "-6", PASSWORD).strip()
        self.peer = libreswan.Libreswan(lab, self.guest, "libreswan", {c.name: theirs(c) for c in CASES},
                                        f': PSK "{sites.SECRET}"\n@{USER} : XAUTH "{PASSWORD}"\n', bundles, f"{USER}:{hashed}\n")

    def start(self):
        self.culvert.start()
        self.guest.ready()
        self.guest.address("vec0", *(f"{c.address}/16" for c in CASES))
        self.guest.address("lo", f"{sites.INSIDE['b']}/16")           # on lo, all addresses of a net are the guest's own
        self.guest.route("default", GW)
        self.peer.start()
        return self

    def answers(self, where, target, source):
        """The first packet may come before the other side has installed its SAs."""
        if where is self.guest:
            return any("1 received" in self.guest.script(f"ping -n -q -c 1 -W 1 -I {source} {target}", check=False) for _ in range(5))
        return any(ping(where, target, source, count=1)[0] for _ in range(5))


def bundle(lab, authority, case):
    """The certificate of libreswan's end, its key and the authority, in PKCS#12."""
    certificate, key = authority.issue(case.identity, "rsa")
    path = lab.path("bundles", f"{case.name}.p12")
    lab.sh("openssl", "pkcs12", "-export", "-in", certificate, "-inkey", key, "-certfile", authority.file, "-name", case.name, "-passout", "pass:", "-out", path)
    return path


def begin(site, case, who):
    return site.peer.initiate(case.name) if who == "libreswan" else site.culvert.initiate(case.name, case.name, seconds=30)


def end(site, case, who):
    """By whom it was begun: what libreswan has begun it begins again when the other side ends it."""
    site.culvert.terminate(case.name) if who == "Culvert" else site.peer.terminate(case.name)


def fault(site, case):
    """What is wrong with a tunnel that is up; empty: nothing."""
    mine = site.culvert.child_sas(case.name)
    if len(mine) != 1:
        return f"Culvert has {len(mine)} pairs: {mine}"
    source, target, back = HOST, case.far, site.guest
    if case.xauth:
        address = site.culvert.ike_sas(case.name)[0]["virtual_address"] or ""
        if not address.startswith(case.pool + "."):
            return f"the virtual address is {address}"
        if case.xauth == "client":
            source = address
            site.host.address("h0", f"{address}/32")
        else:
            target = address
            site.guest.script(f"ip addr replace {address}/32 dev lo")
    if case.transport:
        return "" if site.answers(site.guest, GW, case.address) and mine_in(site, case) else "no answer from the gateway through transport mode"
    if not site.answers(site.host, target, source):
        return f"{source} gets no answer from {target}"
    return "" if site.answers(back, source, target) else f"{target} gets no answer from {source}"


def mine_in(site, case):
    return site.culvert.child_sas(case.name)[0]["in"]["packets"] > 0


def left(site, case):
    known = [sa for sa in site.culvert.ike_sas(case.name) if sa["state"] != "deleting"]
    return len(known), len(site.culvert.child_sas(case.name)), sum(case.address in (s["source"], s["destination"]) for s in site.guest.xfrm_states())


def ended(site, case):
    try:
        wait_for(lambda: not any(left(site, case)), 8, "the end", step=0.2)
    except LabError:
        return "left are {} ISAKMP SAs and {} pairs of Culvert's, {} SAs of the kernel's".format(*left(site, case))
    return ""


def one(r, site, case, who):
    ok, detail = begin(site, case, who)
    wrong = fault(site, case) if ok else f"not established: {str(detail).strip()[-500:]}"
    end(site, case, who)
    wrong = wrong or ended(site, case)
    r.check(f"{case.name}, begun by {who}: up, pings both ways, and nothing is left when it is ended", not wrong, wrong)


def up(site, case, who):
    ok, detail = begin(site, case, who)
    if not ok:
        raise LabError(f"{case.name}: {str(detail).strip()[-300:]}")


def rekeys(r, site):
    cases = [NAMED["rekeyed-by-culvert"], NAMED["rekeyed-by-libreswan"]]
    for case in cases:
        up(site, case, "Culvert")
    dropped, errors = site.culvert.drops(), sum(site.guest.xfrm_errors().values())
    flows = {c.name: Ping(site.host, c.name, c.far, source=HOST) for c in cases}
    seen = {c.name: set() for c in cases}
    until = time.monotonic() + REKEY_FOR
    while time.monotonic() < until:
        for case in cases:
            seen[case.name] |= {c["spi_in"] for c in site.culvert.child_sas(case.name)}
        time.sleep(0.5)
    lost = 0
    for case in cases:
        result = flows[case.name].stop()
        lost += sum(n <= result.transmitted - IN_FLIGHT for n in result.lost)
        r.check(f"{case.name}: its SAs were replaced", len(seen[case.name]) >= 3, f"{len(seen[case.name])} pairs in {REKEY_FOR} s, {result}")
    now, kernel = site.culvert.drops(), sum(site.guest.xfrm_errors().values()) - errors
    changed = {reason: now[reason] - dropped[reason] for reason in now if now[reason] != dropped[reason]}
    # As responder libreswan may send by the new SA before it has message 3, which is before its initiator can know the keys.
    early = changed.pop("esp_no_sa", 0)
    r.check("Culvert dropped nothing else over the rekeys, and each lost echo was lost between two SAs of the kernel's",
            not changed and early <= sum(map(len, seen.values())) and lost <= kernel + early, f"{changed} {lost} lost, {kernel} by the kernel, {early} sent too early")
    for case in cases:
        end(site, case, "Culvert")
        wrong = ended(site, case)
        r.check(f"{case.name}: nothing is left when it is ended", not wrong, wrong)


def silence(r, site):
    """Dead peer detection by both: Culvert's wire is cut. Then libreswan is ended, and comes back."""
    mine, their = NAMED["watched-by-culvert"], NAMED["watched-by-libreswan"]
    for case in mine, their:
        up(site, case, "Culvert")
    time.sleep(3)
    r.check("both ask and answer: nobody is taken for dead", len(site.culvert.child_sas(mine.name)) == len(site.culvert.child_sas(their.name)) == 1)
    site.outside.sh("ip", "link", "set", "peer0", "down")
    try:
        wait_for(lambda: not site.culvert.child_sas(mine.name), 15, "Culvert to see it")
        wait_for(lambda: "DPD action" in site.peer.log_text() or "liveness" in site.peer.log_text(), 15, "libreswan to see it")
        seen = ""
    except LabError as late:
        seen = late
    r.check("a dead wire is seen by both", not seen, seen)
    site.outside.sh("ip", "link", "set", "peer0", "up")


def body(r, lab):
    why = uml.why_not() or libreswan.why_not()
    if why:
        return r.skip("libreswan", why)
    site = Site(lab).start()
    for case in CASES:
        for who in case.by if case not in SPECIAL else ():
            one(r, site, case, who)
    rekeys(r, site)
    silence(r, site)
    return r.check("libreswan met nothing that it did not expect", "EXPECTATION FAILED" not in site.peer.log_text())


if __name__ == "__main__":
    report.run("libreswan", body)

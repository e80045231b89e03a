#!/usr/bin/python3
"""Culvert and strongSwan over a line that loses 30 % each way, doubles and reorders: always up or cleanly failed, never stuck, never two.

Time limit: 420 s
Mostly waits: for retransmissions. A Linux guest is the wire. Connections of all kinds begin at once, by either end, and those that fail try again;
then pairs and ISAKMP SAs are replaced, by either end, and some connections are ended and begun again. When the line is good again each settles on one
ISAKMP SA and one pair, on both ends, which carry pings; after the end nothing is left on either.

Culvert settles by itself, always. strongSwan has no way back from some losses: it never repeats message 3 of Aggressive or Quick Mode, and counts its
CHILD SAs to an ISAKMP SA that only it has (a Delete then meets "CHILD_SA not found", a failed reauthentication leaves an IKE_SA in REKEYING for ever, which
answers dead-peer detection and begins nothing). Where Culvert has settled for a minute and strongSwan has not, strongSwan's end is ended once, as its
operator would, and that is noted.

    host -- [Culvert] gw0 -- vec0 [guest: bridge and netem] vec1 -- cl0 [strongSwan]
"""
import sys
import threading
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan, uml  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.strongswan import StrongSwan, parse_raw  # noqa: E402
from lib.traffic import ping  # noqa: E402

LINE = "delay 10ms 5ms loss 30% reorder 25% duplicate 10%"
LONG = {"rekey_time": "1h", "life_time": "2h", "rand_time": "0s"}
WEAK = {"aggressive": True, "aggressive_psk_exposes_hash_to_offline_guessing": True}
USER, PASSWORD = "alice", "correct-horse"
# name: (who begins, kind)
CASES = {"main-ours": ("culvert", "main"), "main-theirs": ("strongswan", "main"), "again-ours": ("culvert", "main"), "again-theirs": ("strongswan", "main"),
         "aggressive-ours": ("culvert", "aggressive"), "aggressive-theirs": ("strongswan", "aggressive"), "user-theirs": ("strongswan", "xauth")}
NUMBER = {name: n for n, name in enumerate(CASES, 1)}
SETTLED, PATIENCE = 60, 150    # seconds of a good line: Culvert doubts a pair of which nothing is said for 30


class Site:
    def __init__(self, lab):
        self.wire = lab.namespace("wire")
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.wire, "to-a", "")
        lab.link(self.outside, "cl0", f"{sites.ADDRESS['b']}/16", self.wire, "to-b", "")
        self.outside.addresses("cl0", [f"10.9.1.{n}/16" for n in NUMBER.values()])
        self.outside.addresses("lo", [f"10.2.{n}.1/24" for n in NUMBER.values()])
        self.host.addresses("h0", [f"10.1.{n}.10/16" for n in NUMBER.values()])
        self.line = uml.Guest(lab, self.wire, "line", ["to-a", "to-b"])
        self.line.power_on()
        self.culvert = sites.culvert(lab, self.inside, "a", ["b"])
        self.culvert.config["connections"] = {name: self.ours(name) for name in CASES}
        self.culvert.write()
        self.strongswan = StrongSwan(lab, self.outside, "strongswan", {name: self.theirs(name) for name in CASES}, {
            "ike-all": {"secret": f'"{sites.SECRET}"'}, "xauth-alice": {"id": USER, "secret": f'"{PASSWORD}"'}}, retransmit_timeout=0.5,
                                     extra="i_dont_care_about_security_and_use_aggressive_mode_psk = yes")

    def ours(self, name):
        n, kind = NUMBER[name], CASES[name][1]
        found = gateway.connection(sites.ADDRESS["a"], f"10.9.1.{n}", sites.IDENTITY["a"], f"{name}.example", sites.IKE_SUITE, self.culvert.secret(sites.SECRET), {
            "net": gateway.child(f"10.1.{n}.0/24", f"10.2.{n}.0/24", sites.ESP_SUITE, **LONG)}, dpd_delay="5s", dpd_timeout="30s", **(WEAK if kind == "aggressive" else {}))
        if kind == "xauth":
            found["remote"]["xauth"] = {"users": "file:" + self.culvert.secret(f"{USER}:{{plain}}{PASSWORD}", "users")}
        return found

    def theirs(self, name):
        n, kind = NUMBER[name], CASES[name][1]
        found = strongswan.connection(f"10.9.1.{n}", sites.ADDRESS["a"], f"{name}.example", sites.IDENTITY["a"], sites.IKE_SUITE, {
            name: strongswan.child(f"10.2.{n}.0/24", f"10.1.{n}.0/24", sites.ESP_SUITE, **LONG)}, **({"aggressive": "yes"} if kind == "aggressive" else {}))
        return found | ({"local-user": {"auth": "xauth", "xauth_id": USER}} if kind == "xauth" else {})

    def begin(self, name):
        if CASES[name][0] == "culvert":
            return self.culvert.cli("initiate", f"{name}/net", "--timeout", 20)[0] == 0
        return self.strongswan.initiate(name, seconds=20)[0]

    def rekey(self, name, isakmp):
        if CASES[name][0] == "culvert":
            self.culvert.cli("rekey", *((name, "--ike") if isakmp else (f"{name}/net",)))
        else:
            self.strongswan.swanctl("rekey", "--ike" if isakmp else "--child", name, check=False)

    def end(self, name):
        if CASES[name][0] == "culvert":
            self.culvert.cli("terminate", name)
        else:
            self.strongswan.terminate(name)

    def in_use(self, name):
        """(pairs here, CHILD SAs there, ISAKMP SAs here, there)"""
        theirs = [sa for event in parse_raw(self.strongswan.swanctl("list-sas", "--raw")) for conn, sa in event.items() if conn == name and sa["state"] == "ESTABLISHED"]
        return (len([c for c in self.culvert.child_sas(name) if c["state"] == "installed"]), sum(c["state"] == "INSTALLED" for sa in theirs for c in sa.get("child-sas", {}).values()),
                len([s for s in self.culvert.ike_sas(name) if s["state"] == "established"]), len(theirs))


def at_once(function, names):
    """{name: result}, each in a thread of its own."""
    found = {}
    threads = [threading.Thread(target=lambda n=name: found.update({n: function(n)})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def bring_up(site, names):
    """{name: attempts}; 0: never up."""
    tries, left = dict.fromkeys(names, 0), list(names)
    for attempt in range(1, 6):
        done = at_once(site.begin, left)
        tries.update({name: attempt for name in left if done[name]})
        left = [name for name in left if not done[name]]
    return tries


def settle(r, site):
    good, helped = time.monotonic(), set()
    while time.monotonic() < good + PATIENCE:
        found = {name: site.in_use(name) for name in CASES}
        off = [name for name in CASES if found[name] != (1, 1, 1, 1)]
        if not off:
            return
        for name in off:
            if time.monotonic() > good + SETTLED and name not in helped and found[name][0::2] == (1, 1):
                r.note(f"{name}: strongSwan has not settled, and is ended there: {found[name]} (pairs here, there, ISAKMP SAs here, there)")
                site.strongswan.terminate(name)
                helped.add(name)
        at_once(site.begin, [name for name in off if 0 in site.in_use(name)])       # what has failed cleanly, on one end at least
        time.sleep(5)


def body(r, lab):
    if uml.why_not():
        r.skip("30 % loss with strongSwan", uml.why_not())
        return
    site = Site(lab)
    site.line.ready()
    site.line.bridge()
    for interface in "vec0", "vec1":
        site.line.netem(LINE, interface)
    site.strongswan.start()
    site.culvert.start()
    begun = time.monotonic()
    tries = bring_up(site, CASES)
    for name, attempt in tries.items():
        r.check(f"{name}: comes up over a line with {LINE}", attempt > 0, f"attempt {attempt}" if attempt else site.culvert.cli_text("explain", name)[:300])
    r.note(f"all up after {time.monotonic() - begun:.1f} s")
    for isakmp in (False, True):
        at_once(lambda name: site.rekey(name, isakmp), CASES)
        time.sleep(8)
    at_once(site.end, [name for name in CASES if name.startswith("again")])
    again = bring_up(site, [name for name in CASES if name.startswith("again")])
    r.check("ended and begun again over that line", all(again.values()), again)
    for interface in "vec0", "vec1":
        site.line.netem("", interface)
    time.sleep(3)                 # what is under way ends over the good line: an echo may be lost to strongSwan's switch of pairs
    settle(r, site)
    for name, n in NUMBER.items():
        r.check(f"{name}: one ISAKMP SA and one pair, on both ends", site.in_use(name) == (1, 1, 1, 1), site.in_use(name))
        r.check(f"{name}: ping", *ping(site.host, f"10.2.{n}.1", source=f"10.1.{n}.10"))
    at_once(site.end, CASES)
    try:
        wait_for(lambda: not site.culvert.child_sas() and not site.strongswan.child_sas() and not [s for s in site.culvert.ike_sas() if s["state"] != "deleting"], 45, "the end")             # a pair of which nothing is said may be doubted for 30 s
    except LabError:
        pass
    r.check("after the end nothing is left", not site.culvert.child_sas() and not site.strongswan.child_sas(), 
            [(name, c["state"]) for name in CASES for c in site.culvert.child_sas(name)] + site.strongswan.child_sas())


report.run("worst_line", body)

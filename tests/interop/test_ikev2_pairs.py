#!/usr/bin/python3
"""IKEv2: Culvert and strongSwan each begin something at the same moment, every pair of {CHILD SA rekey, IKE SA rekey, delete, DPD, new CHILD SA}.

Time limit: 400 s
A Linux guest is the line between them and delays each way by 0.4 s: we begin when strongSwan's log says that its request has gone, so that the two cross on the
way. After each pair what was to be rekeyed is, and both sides have the same one IKE SA and the same CHILD SAs, those and only those that are to be there (RFC 7296 §2.25). No packet is lost in any of
them: a ping runs through all of it where DPD is not one of the two. Who hears the peer asks nothing, and so where one side is to ask, packets go to the other one alone,
which counts them; where both are, a ping goes so seldom that they ask in between.
"""
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, ikev2, parts, report, sites, strongswan, uml  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

ACTIONS = ("child", "ike", "delete", "dpd", "new")
DELAY = "delay 400ms"
PATIENCE = 45                      # seconds: strongSwan waits for up to 30 when it was refused for the time being
ASKING = 30                        # seconds for a DPD of one second to be seen
LONG = {"rekey_time": "1h", "life_time": "2h", "rand_time": "0s"}
# Pings go by the first; the second is what is rekeyed while the other side deletes it, and deleted; the others are made anew by us and by them.
NETWORKS = {"net": (sites.NET["a"], sites.NET["b"]), "second": ("10.21.0.0/16", "10.22.0.0/16"), "ours": ("10.31.0.0/16", "10.32.0.0/16"),
            "theirs": ("10.41.0.0/16", "10.42.0.0/16")}
ALWAYS = {"net", "second"}
# What strongSwan logs when it begins; what it logs when Culvert's empty INFORMATIONAL request arrives.
THEY_BEGIN = {"ike": r"generating CREATE_CHILD_SA request \d+ \[ SA No KE", "child": r"generating CREATE_CHILD_SA request \d+ \[ N\(REKEY_SA\)",
              "delete": r"sending DELETE for ESP CHILD_SA", "new": r"generating CREATE_CHILD_SA request \d+ \[ SA No", "dpd": r"sending DPD request"}
WE_ASK = r"parsed INFORMATIONAL request \d+ \[ \]"


class Site:
    def __init__(self, lab, dpd):
        self.host, inside = sites.host_and_gateway(lab, "a")
        self.outside = outside = lab.namespace("peer")
        wire = lab.namespace("wire")
        lab.link(inside, "gw0", None, wire, "to-a", "")
        lab.link(outside, "cl0", f"{sites.ADDRESS['b']}/16", wire, "to-b", "")
        for _, theirs in NETWORKS.values():
            outside.address("lo", theirs.replace(".0.0/", ".0.1/"))       # strongSwan wants an address of its own in each
        self.line = uml.Guest(lab, wire, "line", ["to-a", "to-b"])
        self.line.power_on()
        more = {"dpd_delay": "1s"} if dpd else {}
        self.culvert = sites.culvert(lab, inside, "a", ["b"])
        ours = sites.culvert_connection(self.culvert, "a", "b", version=2, rekey_time="4h", **more)
        ours["to-b"]["children"] = {name: gateway.child(*ts, sites.ESP_SUITE, **LONG) for name, ts in NETWORKS.items()}
        self.culvert.config["connections"] = ours
        self.culvert.write()
        theirs = sites.strongswan_connection("b", "a", version=2, **more)
        theirs["to-a"]["children"] = {name: strongswan.child(*ts[::-1], sites.ESP_SUITE, **LONG) for name, ts in NETWORKS.items()}
        self.strongswan = strongswan.StrongSwan(lab, outside, "strongswan", theirs, sites.SECRET)

    def start(self):
        self.line.ready()
        self.line.bridge()
        self.strongswan.start()
        self.culvert.start()
        ok, detail = self.culvert.initiate("to-b", "net")
        if not ok:
            raise LabError(detail)
        wait_for(lambda: ping(self.host, sites.INSIDE["b"], count=1)[0], 10, "the first echo")
        for interface in "vec0", "vec1":
            self.line.netem(DELAY, interface)
        return self

    def children(self):
        """Names of Culvert's installed CHILD SAs, a name for each."""
        return sorted(c["child"] for c in self.culvert.child_sas("to-b") if c["state"] == "installed")

    def differ(self, wanted):
        """'', or what is not as it is to be: one IKE SA, and a pair for each name, the same on both sides."""
        here, there = ikev2.in_use(self.culvert, "to-b"), ikev2.in_use_there(self.strongswan, "to-a")
        names = self.children()
        return "" if here == there and len(here[0]) == 1 and names == sorted(wanted) else f"here {ikev2.spis(here)} {names}, there {ikev2.spis(there)}"

    def prepare(self):
        """Both always there, the others not."""
        def ready():
            names = self.children()
            for name in sorted(ALWAYS - set(names)):
                self.culvert.initiate("to-b", name)
            for name in sorted(set(names) - ALWAYS):
                self.culvert.cli("terminate", f"to-b/{name}")
            return not self.differ(ALWAYS)
        wait_for(ready, PATIENCE, "what each pair begins with", step=0.3)

    def they(self, what, child):
        """Begins, and returns once the request is on its way. strongSwan forgets what it is told while something else is under way: it is told again."""
        command = {"child": ("rekey", "--child", child), "ike": ("rekey", "--ike", "to-a"), "delete": ("terminate", "--child", child, "--timeout", "-1"),
                   "new": ("initiate", "--child", "theirs", "--timeout", "-1")}
        for _ in range(5):
            before = self.strongswan.logged(THEY_BEGIN[what])
            if what != "dpd":
                self.strongswan.swanctl(*command[what], check=False)
            try:
                return wait_for(lambda: self.strongswan.logged(THEY_BEGIN[what]) > before, ASKING if what == "dpd" else 3, "strongSwan to begin", step=0.02)
            except LabError:
                pass
        raise LabError(f"strongSwan does not begin: {what}")

    def we(self, what, child):
        command = {"child": ("rekey", f"to-b/{child}"), "ike": ("rekey", "to-b", "--ike"), "delete": ("terminate", f"to-b/{child}"), "new": ("initiate", "to-b/ours")}
        if what != "dpd":
            return self.culvert.cli(*command[what])
        before = self.strongswan.logged(WE_ASK)
        wait_for(lambda: self.strongswan.logged(WE_ASK) > before, ASKING, "a question whether it lives", step=0.02)

    def in_use(self, child):
        """(SPIs of the IKE SA, SPIs of the pair)"""
        return (ikev2.in_use(self.culvert, "to-b")[0], {c["spi_in"] for c in self.culvert.child_sas("to-b") if c["child"] == child and c["state"] == "installed"})


class OneWay:
    """Packets by "net" to the peer or from it, each 6 ms, which nobody answers: they are counted where they come out."""

    def __init__(self, site, name, to_peer):
        self.to, source, target = (site.outside, sites.HOST["a"], sites.INSIDE["b"]) if to_peer else (site.host, sites.INSIDE["b"], sites.HOST["a"])
        self.to.sh("nft", f"table ip watch {{ counter here {{ }}; chain in {{ type filter hook input priority -200; ip saddr {source} icmp type echo-request counter name here drop; }}; }}")
        self.flow = Ping(site.host if to_peer else site.outside, name, target, source)

    def arrived(self):
        return int(re.search(r"packets (\d+)", self.to.sh("nft", "list", "counter", "ip", "watch", "here")).group(1))

    def stop(self):
        """(how many were sent, how many are lost)"""
        sent = self.flow.stop().sent
        try:
            wait_for(lambda: self.arrived() >= sent, 10, "the last packets", step=0.2)
        except LabError:
            pass
        lost = sent - self.arrived()
        self.to.sh("nft", "delete", "table", "ip", "watch")
        return sent, lost


class Seldom:
    """A ping that leaves both sides the time to ask."""

    def __init__(self, site):
        self.flow = Ping(site.host, "seldom", sites.INSIDE["b"], interval=2.5)

    def stop(self):
        wait_for(lambda: self.flow.process.output().count("bytes from") >= 3, 30, "three echoes", step=0.2)
        result = self.flow.stop()
        return result.transmitted, len(result.lost)


def expected(mine, other):
    """The CHILD SAs behind the pair; None of "second": it may be there or not, as long as both sides agree."""
    wanted = {"net"} | (set() if "delete" in (mine, other) else {"second"})
    return wanted | ({"ours"} if mine == "new" else set()) | ({"theirs"} if other == "new" else set())


def settle(site, mine, other, child, before):
    """'', or what is wrong in the end. A deleted CHILD SA may have been replaced on its way out: then it is there on both sides, once (RFC 7296 §2.25.1)."""
    wanted, told = expected(mine, other), []

    def done():
        now, answers = site.in_use(child), [site.differ(wanted)]
        if {mine, other} == {"child", "delete"}:
            answers.append(site.differ(wanted | {child}))
        elif "child" in (mine, other) and now[1] & before[1]:
            answers = ["the CHILD SA is the old one"]
        if "ike" in (mine, other) and now[0] & before[0]:
            answers = ["the IKE SA is the old one"]
        told[:] = answers
        return not all(answers)
    try:
        wait_for(done, PATIENCE, "one of each", step=0.2)
        return ""
    except LabError:
        return told[0]


def one(r, site, title, mine, other, took):
    site.prepare()
    child = "second" if "delete" in (mine, other) else "net"
    before = site.in_use(child)
    if mine == "dpd":                      # both ask whenever nothing else was heard for a second
        site.we("dpd", child)
    if (mine, other) != ("dpd", "dpd"):
        site.they(other, child)
    if mine != "dpd":
        site.we(mine, child)
    begun = time.monotonic()
    wrong = settle(site, mine, other, child, before)
    took.append(time.monotonic() - begun)
    r.check(f"{title}: we {mine}, they {other}: one of each, the same on both sides", not wrong, wrong or f"{took[-1]:.1f} s")


def without_dpd(r, lab):
    site, took = Site(lab, False).start(), []
    flow = Ping(site.host, "there", sites.INSIDE["b"])
    for mine in ACTIONS:
        for other in ACTIONS:
            if "dpd" not in (mine, other):
                one(r, site, "under ping", mine, other, took)
    time.sleep(1)
    result = flow.stop()
    r.check("under ping: no echo lost in any of them", not result.lost and result.dense, f"{result} {result.lost[:20]}")
    r.note(f"under ping: settled within {max(took):.1f} s; {[(e['exchange'], e['role'], e['reason'], e['count']) for e in site.culvert.result('counters')['exchanges']]}")


def with_dpd(r, lab):
    site, took = Site(lab, True).start(), []
    for mine in ACTIONS:
        for other in ACTIONS:
            if "dpd" in (mine, other):
                flow = Seldom(site) if mine == other else OneWay(site, f"{mine}-{other}", to_peer=mine == "dpd")
                one(r, site, "with DPD", mine, other, took)
                sent, lost = flow.stop()
                r.check(f"with DPD: we {mine}, they {other}: no packet lost", sent and not lost, f"{sent} sent, {lost} lost")
                ok, line = ping(site.host, sites.INSIDE["b"], count=3, wait=5)
                r.check(f"with DPD: we {mine}, they {other}: pings", ok, line)
    r.note(f"with DPD: settled within {max(took):.1f} s")


def body(r, lab):
    if uml.why_not():
        r.skip("each pair of what both can begin at once", uml.why_not())
        return
    parts.at_once(r, lab, (("ping", without_dpd), ("dpd", with_dpd)))


report.run("ikev2_pairs", body)

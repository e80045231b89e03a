#!/usr/bin/python3
"""A capture on the outside shows no packet of a protected flow in clear, whatever is being installed, replaced, removed, killed or restarted.

Time limit: 120 s. Mostly waits. Row attack-I5 of tests/attacks.txt.
Two Culverts with `default_policy: bypass`, so that only the policies keep packets from the wire: a child by policy and one by route (tunnel st0), both on demand.
Hosts on both sides send all along, in both flows, small packets and such that are fragmented, each with a mark of its flow in its payload; the capture
begins before the first gateway does. Through it all pass: start, installation, rekeying of child and ISAKMP SA, SIGKILL of culvertd, hard lifetimes
that end while no culvertd is there, removal, SIGKILL of a data plane under a living culvertd, of all four processes, and their orderly ends. A third flow, that no policy
means, is seen in clear in the same capture: it would be seen.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, tshark  # noqa: E402

ALL = "0.0.0.0/0"
MORE = {"a": {"routed": "10.11.0", "clear": "10.21.0"}, "b": {"routed": "10.12.0", "clear": "10.22.0"}}
MARK = {("policy", "a"): "a5c1f00dbeef0001", ("policy", "b"): "a5c1f00dbeef0002", ("routed", "a"): "a5c1f00dbeef0003",
        ("routed", "b"): "a5c1f00dbeef0004", ("clear", "a"): "a5c1f00dbeef0005", ("clear", "b"): "a5c1f00dbeef0006"}
SIZES = (56, 3000)                  # the larger one leaves the hosts in fragments
LIVES = {"rekey_time": "6s", "rand_time": "0s", "life_time": "9s"}
OTHER = {"a": "b", "b": "a"}


def address(flow, letter):
    return sites.HOST[letter] if flow == "policy" else MORE[letter][flow] + ".10"


def connection(gw, letter, peer):
    trap = {"start_action": "trap" if letter == "a" else "none", **LIVES}
    return {f"to-{peer}": gateway.connection(
        sites.ADDRESS[letter], sites.ADDRESS[peer], sites.IDENTITY[letter], sites.IDENTITY[peer], sites.IKE_SUITE, gw.secret(sites.SECRET),
        {"net": gateway.child(sites.NET[letter], sites.NET[peer], sites.ESP_SUITE, **trap),
         "all": gateway.child(ALL, ALL, sites.ESP_SUITE, tunnel="st0", **trap)}, dpd_delay="1s", dpd_timeout="3s")}


class Flow:
    """One host's echo requests of one flow, of one size; the kernel answers at the other end."""

    def __init__(self, host, flow, letter, size):
        self.name = f"{flow} {letter} {size}"
        self.process = host.start(f"ping-{flow}-{letter}-{size}", "ping", "-n", "-D", "-i", "0.02", "-s", size, "-p", MARK[flow, letter], "-W", "1",
                                  "-I", address(flow, letter), address(flow, OTHER[letter]))

    def echoes(self):
        return self.process.output().count(" bytes from ")


class Site:
    def __init__(self, lab):
        self.two = sites.TwoCulverts(lab, connection, default_policy="bypass", tunnels={"st0": {}})
        self.gw = self.two.gateway
        for letter, peer in ("ab", "ba"):
            self.two.host[letter].addresses("h0", [f"{net}.10/16" for net in MORE[letter].values()])
            config = self.gw[letter].config
            config["ports"]["lan"]["addresses"] += [f"{net}.1/16" for net in MORE[letter].values()]
            config["routes"] += [{"to": f"{MORE[peer]['routed']}.0/16", "tunnel": "st0"}, {"to": f"{MORE[peer]['clear']}.0/16", "via": sites.ADDRESS[peer]}]
            self.gw[letter].write()
        self.capture = Capture(self.two.inside["b"], "gw0", "never-clear-wan")
        self.flows = [Flow(self.two.host[letter], flow, letter, size) for flow in ("policy", "routed", "clear") for letter in "ab" for size in SIZES]

    def protected(self):
        return [f for f in self.flows if not f.name.startswith("clear")]

    def passes(self, what, flows=None, seconds=20):
        """Waits until every flow has got another echo."""
        before = {f.name: f.echoes() for f in flows or self.flows}
        wait_for(lambda: all(f.echoes() > before[f.name] for f in flows or self.flows), seconds, f"all flows to pass {what}", step=0.1)

    def stops(self, what, seconds=20):
        """Waits until no protected flow passes any more."""
        def silent():
            before = sum(f.echoes() for f in self.protected())
            time.sleep(0.5)
            return sum(f.echoes() for f in self.protected()) == before
        wait_for(silent, seconds, f"the protected flows to stop {what}", step=0)

    def spis(self, letter="a"):
        return {c["spi_out"] for c in self.gw[letter].child_sas(states=("installed",))}


def begins(site):
    for letter in "ab":
        site.gw[letter].start_dataplane()
    time.sleep(0.7)                                           # no policies yet
    for letter in "ab":
        site.gw[letter].start_control()
    site.passes("at first")


def rekeyed(site):
    old, a = site.spis(), site.gw["a"]
    for child in "net", "all":
        a.result("rekey", f"to-b/{child}")
    wait_for(lambda: site.spis() and not site.spis() & old, 15, "both pairs to be replaced")
    a.result("rekey", "to-b", "--ike")
    site.passes("after rekeying")


def control_killed(site):
    site.gw["a"].control.kill()
    site.passes("without culvertd", site.protected())
    site.gw["a"].start_control()
    site.passes("after culvertd's return")


def expired(site):
    """Nobody is there to replace them."""
    for letter in "ab":
        site.gw[letter].control.kill()
    site.stops("when their lifetimes have ended")
    for letter in "ab":
        site.gw[letter].start_control()
    site.passes("after the end of their lifetimes")


def removed(site):
    site.gw["b"].terminate("to-a")
    site.passes("after their removal")
    site.gw["a"].terminate("to-b")
    site.passes("after their removal from the other side")


def dataplane_killed(site):
    for letter in "ab":
        gw = site.gw[letter]
        gw.dataplane.kill()
        time.sleep(0.3)
        gw.start_dataplane()
        site.passes(f"after the restart of {letter}'s data plane")


def all_killed(site):
    for letter in "ab":
        site.gw[letter].dataplane.kill()
        site.gw[letter].control.kill()
    begins(site)


def ended(site):
    """SIGTERM to culvertd, which ends the tunnels and leaves the data plane alone; then to the data plane."""
    site.gw["a"].control.stop()
    site.stops("when culvertd has ended")
    site.passes("that are in clear", [f for f in site.flows if f not in site.protected()])
    site.gw["a"].start_control()
    site.passes("after culvertd's start")
    site.gw["b"].dataplane.stop()
    site.gw["b"].start_dataplane()
    site.passes("after the data plane's start")


PHASES = (("start and installation", begins), ("rekeying", rekeyed), ("SIGKILL of culvertd", control_killed), ("expiry without culvertd", expired),
          ("removal", removed), ("SIGKILL of each data plane", dataplane_killed), ("SIGKILL of everything", all_killed), ("orderly ends", ended))


def seen(pcap):
    """How often each flow's mark stands in the capture's bytes."""
    with open(pcap, "rb") as f:
        data = f.read()
    return {key: data.count(bytes.fromhex(mark)) for key, mark in MARK.items()}


def body(r, lab):
    site = Site(lab)
    for name, phase in PHASES:
        begun = time.monotonic()
        phase(site)
        marks = seen(site.capture.file)
        leaked = {f"{flow} from {letter}": n for (flow, letter), n in marks.items() if n and flow != "clear"}
        r.check(f"{name}: nothing protected in clear", not leaked, leaked or f"{time.monotonic() - begun:.1f} s")
    lost = site.capture.stop()
    sent = sum(f.process.output().count("\n") for f in site.protected())
    r.check("the capture is whole, and all flows were busy", lost == 0 and sent > 1000, f"{lost} not captured, {sent} echoes of protected flows")
    inner = " || ".join(f"ip.addr == {net}.0/16" for net in ("10.1.0", "10.2.0", *(MORE[letter]["routed"] for letter in "ab")))
    clear = tshark(lab, site.capture.file, "-Y", f"({inner}) && !esp").splitlines()
    r.check("tshark finds no address of them, nor one quoted by ICMP", not clear, clear[:3])
    marks = seen(site.capture.file)
    r.check("what no policy means was seen in clear, in both directions", marks["clear", "a"] > 100 and marks["clear", "b"] > 100, marks)
    esp = len(tshark(lab, site.capture.file, "-Y", "esp").splitlines())
    r.check("the protected flows were seen as ESP", esp > 1000, f"{esp} packets")


report.run("never_clear", body)

#!/usr/bin/python3
"""VRFs: three customers with the same networks, 10.1.0.0/16 here and 10.2.0.0/16 there, on one gateway, against three strongSwans.

Time limit: 90 s. Mostly waits.
    host red   10.1.0.10 -- in0 [red   ] VRF default: gw0 10.9.0.1 --+-- 10.9.0.2 strongSwan red,   10.2.0.1
    host green 10.1.0.10 -- in1 [green ]                             +-- 10.9.0.3 strongSwan green, 10.2.0.1
    host blue  10.1.0.10 -- in2 [blue    VRF blue:    gw1 10.9.0.1 ----- 10.9.0.2 strongSwan blue,  10.2.0.1

Red and green share the way outside, blue has one of its own, with red's addresses there, too. Pings of all three at once, told apart by their size, as captures at
the hosts and outside see them: each customer's packets, and no other's, at each host; outside nothing in clear, by the right wire alone. Through rekeying and a
restart of culvertd; one that counts VRFs otherwise is not let in.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.strongswan import StrongSwan  # noqa: E402
from lib.traffic import Capture, Ping, ping, tshark  # noqa: E402

HERE, THERE, PEER = sites.NET["a"], sites.NET["b"], "10.2.0.1"
CUSTOMERS = {"red": ("10.9.0.2", 100), "green": ("10.9.0.3", 200), "blue": ("10.9.0.2", 300)}  # outside, bytes of its pings
COUNT = 20  # of pings of each customer, in a round
ODD = ("esp_wrong_peer", "esp_selector", "policy_clear", "rx_martian")
START = {"red": "start", "green": "trap", "blue": "start"}


class Lab:
    def __init__(self, lab):
        self.lab, self.host, self.peer, self.rounds, self.answered = lab, {}, {}, 0, dict.fromkeys(CUSTOMERS, 0)
        self.inside, self.wan = lab.namespace("gw"), sites.Wan(lab)
        self.wan.attach(self.inside, "gw0", None, "gw")
        ports = {"wan": ("gw0", ["10.9.0.1/16"]), "wan-blue": ("gw1", ["10.9.0.1/16"])}
        for n, (name, (address, _)) in enumerate(CUSTOMERS.items()):
            self.host[name] = lab.namespace(f"host-{name}")
            lab.link(self.host[name], "h0", f"{sites.HOST['a']}/16", self.inside, f"in{n}", None)
            self.host[name].route("default", sites.INSIDE["a"])
            ports[f"lan-{name}"] = (f"in{n}", [f"{sites.INSIDE['a']}/16"])
            outside = lab.namespace(name)
            if name == "blue":
                lab.link(self.inside, "gw1", None, outside, "cl0", f"{address}/16")
            else:
                self.wan.attach(outside, "cl0", f"{address}/16", name)
            outside.address("lo", f"{PEER}/16")
            conn = strongswan.connection(address, "10.9.0.1", f"gw-{name}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                         {"net": strongswan.child(THERE, HERE, sites.ESP_SUITE)})
            self.peer[name] = StrongSwan(lab, outside, f"strongswan-{name}", {"to-a": conn}, sites.SECRET)
        self.culvert = gateway.Gateway(lab, self.inside, "culvert", ports, dataplane={"memory": {"size": "320MB"}})
        config = self.culvert.config
        config["vrfs"] = list(CUSTOMERS)
        for name in CUSTOMERS:
            config["ports"][f"lan-{name}"]["vrf"] = name
        config["ports"]["wan-blue"]["vrf"] = "blue"
        secret = self.culvert.secret(sites.SECRET)
        config["connections"] = {f"to-{name}": gateway.connection("10.9.0.1", address, sites.IDENTITY["a"], f"gw-{name}.example", sites.IKE_SUITE, secret, {
            "net": gateway.child(HERE, THERE, sites.ESP_SUITE, vrf=name, start_action=START[name])}, dpd_delay=0) for name, (address, _) in CUSTOMERS.items()}
        config["connections"]["to-blue"]["vrf"] = "blue"
        self.culvert.write()

    def start(self):
        for peer in self.peer.values():
            peer.start()
        self.culvert.start()
        return self

    def pair_up(self, name):
        return self.culvert.child_sas(f"to-{name}", states=("installed",))

    def all_ping(self):
        """All at once: who has got few answers, how many each."""
        self.rounds += 1
        running = {name: Ping(self.host[name], f"{name}-{self.rounds}", PEER, size=size, interval=0.02, count=COUNT) for name, (_, size) in CUSTOMERS.items()}
        for p in running.values():
            p.process.wait(20)
        results = {name: p.result() for name, p in running.items()}
        for name, result in results.items():
            self.answered[name] += result.received
        return {name: r.received for name, r in results.items() if r.received < COUNT // 2}  # a busy machine may lose some


def come_up(r, site):
    culvert = site.culvert
    for name in ("red", "blue"):
        wait_for(lambda: site.pair_up(name), 15, f"{name}'s pair")
    r.check("two peers with one address, in two VRFs, have a pair each", len(culvert.child_sas()) == 2)
    r.check("a packet of green's brings up green's pair, and no other", *first_answer(site.host["green"]))
    r.check("... so that there are three", sorted(len(site.pair_up(n)) for n in CUSTOMERS) == [1, 1, 1])
    sas = culvert.result("list-sas")["ike_sas"]
    told = {sa["connection"]: (sa["vrf"], sa["children"][0]["vrf"]) for sa in sas}
    r.check("list-sas names the VRFs outside and inside", told == {"to-red": ("default", "red"), "to-green": ("default", "green"), "to-blue": ("blue", "blue")}, told)
    text = culvert.cli_text("list-conns") + culvert.cli_text("list-sas")
    r.check("... and what an operator sees", text.count("VRF blue") == 4 and text.count("VRF red") == 2, text)


def first_answer(host):
    text = host.sh("ping", "-n", "-q", "-c", "1", "-w", "8", "-i", "0.3", "-s", "200", PEER, seconds=15, check=False)
    return " 1 received" in text, text[-200:]


class Watch:
    """Captures at all hosts and on both wires, over all that follows."""

    def __init__(self, site):
        self.site, self.before = site, site.culvert.drops()
        self.hosts = {name: Capture(site.host[name], "h0", f"vrf-{name}", "icmp") for name in CUSTOMERS}
        self.wires = {"wan": Capture(site.wan.namespace, "to-gw", "vrf-wan"), "wan-blue": Capture(site.peer["blue"].namespace, "cl0", "vrf-wan-blue")}

    def judge(self, r):
        site, read = self.site, lambda capture, *words: tshark(self.site.lab, capture.file, "-Y", *words)
        for capture in (*self.hosts.values(), *self.wires.values()):
            capture.stop()
        seen = {name: {int(n) for n in read(c, "icmp", "-T", "fields", "-e", "ip.len").split()} for name, c in self.hosts.items()}
        r.check("each host has seen its own packets alone, all the time", seen == {n: {size + 28} for n, (_, size) in CUSTOMERS.items()}, seen)
        which = ("-T", "fields", "-e", "icmp.ident", "-e", "icmp.seq")
        asked = {name: set(read(c, "icmp.type == 8 && ip.dst == 10.2.0.1", *which).splitlines()) for name, c in self.hosts.items()}
        answers = {name: read(c, "icmp.type == 0 && ip.src == 10.2.0.1", *which).splitlines() for name, c in self.hosts.items()}
        r.check("... no answer twice, and none that it has not asked for", all(len(a) == len(set(a)) and set(a) <= asked[n] for n, a in answers.items()), {n: len(a) for n, a in answers.items()})
        # ping waits for its last answers only as long as two of the others took, so that one may come that it has not counted.
        r.check("... and those that ping has counted", all(len(answers[n]) >= site.answered[n] > 0 for n in CUSTOMERS), site.answered)
        clear = {name: read(c, "ip.addr == 10.1.0.0/16 || ip.addr == 10.2.0.0/16").splitlines()[:3] for name, c in self.wires.items()}
        r.check("nothing of them was in clear outside", not any(clear.values()), clear)
        ends = {name: set(read(c, "udpencap || esp", "-T", "fields", "-e", "ip.addr").replace(",", " ").split()) for name, c in self.wires.items()}
        r.check("what is encrypted has left by its own wire", ends == {"wan": {"10.9.0.1", "10.9.0.2", "10.9.0.3"}, "wan-blue": {"10.9.0.1", "10.9.0.2"}}, ends)
        after = site.culvert.drops()
        odd = {k: n - self.before.get(k, 0) for k, n in after.items() if n != self.before.get(k, 0) and k in ODD}
        r.check("no packet came by another VRF's wire, or under another's SA", not odd, odd)


def traced(r, site):
    steps = lambda *more: " ".join(s["text"] for s in site.culvert.result("trace-packet", sites.HOST["a"], PEER, *more)["steps"])
    wrong = [n for n in CUSTOMERS if f"of to-{n}/net" not in steps("--vrf", n) or f"in VRF {n}" not in steps("--vrf", n)]
    r.check("trace-packet --vrf says whose SA a packet would have", not wrong, wrong and steps("--vrf", wrong[0]))
    status, said = site.culvert.cli("trace-packet", sites.HOST["a"], PEER)
    r.check("... and in the default VRF there is no such network", status != 0, said)
    r.check("a VRF that there is not", site.culvert.cli("trace-packet", sites.HOST["a"], PEER, "--vrf", "rde")[0] != 0)


def told_apart(r, site):
    """By address and VRF, of two peers that have the same one."""
    culvert = site.culvert
    of = lambda *more: culvert.result("explain", "--peer", "10.9.0.2", *more)
    found = {vrf: ([c["connection"] for c in of("--vrf", vrf)["connections"]], of("--vrf", vrf)["also_in"]) for vrf in ("default", "blue")}
    r.check("explain --peer --vrf tells two peers of one address apart", found == {"default": (["to-red"], ["blue"]), "blue": (["to-blue"], ["default"])}, found)
    text = culvert.cli_text("explain", "--peer", "10.9.0.2")
    r.check("... and without it says that there is another", "to-red: UP" in text and "another peer in VRF blue: ask with --vrf" in text, text)
    culvert.result("debug", "10.9.0.2", "--vrf", "blue", "--for", "60s")
    for name in ("red", "blue"):
        before = {c["spi_in"] for c in site.pair_up(name)}
        culvert.result("rekey", f"to-{name}/net")
        wait_for(lambda: {c["spi_in"] for c in site.pair_up(name)} - before, 10, f"{name}'s new pair")
    lines = [line for line in culvert.log().splitlines() if " debug " in line and "Quick Mode" in line]
    wrong = [line for line in lines if "to-blue: " not in line or "vrf=blue" not in line]
    r.check("debug --vrf shows the messages of that peer alone", lines and not wrong, wrong[:1] or lines[:1])
    culvert.result("debug", "10.9.0.2", "--vrf", "blue", "--off")
    metrics = site.inside.sh("curl", "-s", "-m", "10", f"http://{gateway.METRICS}/metrics")
    wanted = ['culvert_port_up{port="wan-blue",vrf="blue"} 1', 'culvert_port_up{port="wan",vrf="default"} 1', 'culvert_child_up{connection="to-green",child="net",vrf="green"} 1',
              'culvert_connection_up{connection="to-green",vrf="default"} 1']
    r.check("the metrics name the VRFs", all(w in metrics for w in wanted), [w for w in wanted if w not in metrics])


def lives_on(r, site):
    culvert = site.culvert
    before = {n: {c["spi_in"] for c in site.pair_up(n)} for n in CUSTOMERS}
    culvert.result("rekey", "to-blue/net")
    wait_for(lambda: {c["spi_in"] for c in site.pair_up("blue")} - before["blue"], 10, "blue's new pair")
    r.check("red's pair is not touched when that of blue's peer, of the same address, is replaced", {c["spi_in"] for c in site.pair_up("red")} == before["red"])
    culvert.control.kill()
    r.check("without culvertd the pings go on", not site.all_ping())
    good = culvert.file
    culvert.config["vrfs"] = ["blue", "green", "red"]
    culvert.write()
    culvert.start_control(wait=False)
    wait_for(lambda: "has been started with other vrfs" in culvert.log(), 10, "culvertd with other VRFs to be refused")
    r.check("a culvertd that counts the VRFs otherwise has touched nothing", not site.all_ping())
    culvert.control.stop()
    culvert.config["vrfs"] = list(CUSTOMERS)
    assert culvert.write() == good
    culvert.start_control()
    wait_for(lambda: all(culvert.child_sas(f"to-{n}") for n in CUSTOMERS), 15, "culvertd to find all pairs")
    lost = site.all_ping()
    r.check("after culvertd's restart, too", not lost, lost)
    r.check("... and its successor removed nothing", "belong to no configured child" not in culvert.log())


def body(r, lab):
    site = Lab(lab).start()
    come_up(r, site)
    watch = Watch(site)
    lost = site.all_ping()
    r.check("pings of all three at once are answered", not lost, lost)
    from_there = {n: ping(site.peer[n].namespace, sites.HOST["a"], source=PEER, size=size, count=2)[0] for n, (_, size) in CUSTOMERS.items()}
    r.check("... and pings from the other ends", all(from_there.values()), from_there)
    traced(r, site)
    told_apart(r, site)
    lives_on(r, site)
    watch.judge(r)


report.run("vrf", body)

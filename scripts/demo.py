#!/usr/bin/python3
"""usage: demo.py BUILD_DIR [--keep] [--seconds N] | --clean : the demo itself; scripts/demo installs and builds, then calls it.

    host a 10.1.0.10 -- [Culvert a] 10.9.0.1 --.
    host b 10.2.0.10 -- [Culvert b] 10.9.0.2 --+-- wan
    host c 10.3.0.10 -- [strongSwan] 10.9.0.3 -'

Ends 0 only if every ping came back through both tunnels and iperf3 measured both directions of each.
"""
import argparse
import glob
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "interop"))
from lib import gateway, sites  # noqa: E402
from lib.lab import RUN_ROOT, Lab, LabError, sweep, wait_for  # noqa: E402
from lib.strongswan import StrongSwan  # noqa: E402
from lib.traffic import Capture, ping  # noqa: E402

MARK = "demo"                      # a file in the folder of a demo that was kept
PINGS = 20
SHOWN = ("culvert_child_up", "culvert_child_bytes_total", "culvert_ike_exchanges_total", "culvert_drops_total")


def say(text=""):
    print(text, flush=True)


def step(number, text):
    say(f"\n\033[1m{number}. {text}\033[0m" if sys.stdout.isatty() else f"\n{number}. {text}")


def indent(text):
    for line in text.rstrip().splitlines():
        say("     " + line)


class Demo:
    def __init__(self, lab, seconds):
        self.lab, self.seconds, self.ok = lab, seconds, True
        self.host, self.inside, self.culvert = {}, {}, {}

    def build(self):
        """Namespaces, links and configurations; starts nothing."""
        lab = self.lab
        self.wan = sites.Wan(lab)
        for letter in "ab":
            self.host[letter], self.inside[letter] = sites.host_and_gateway(lab, letter)
            self.wan.attach(self.inside[letter], "gw0", None, letter)
        self.host["c"], self.inside["c"] = lab.namespaces("host-c", "gw-c")
        lab.link(self.host["c"], "h0", f"{sites.HOST['c']}/16", self.inside["c"], "in0", f"{sites.INSIDE['c']}/16")
        self.host["c"].route("default", sites.INSIDE["c"])
        self.wan.attach(self.inside["c"], "gw0", f"{sites.ADDRESS['c']}/16", "c")
        for index, (letter, peers) in enumerate((("a", "bc"), ("b", "a"))):
            gw = sites.culvert(lab, self.inside[letter], letter, peers, cpu=index)
            for peer in peers:
                gw.config["connections"].update(sites.culvert_connection(gw, letter, peer))
            gw.write()
            self.culvert[letter] = gw
        self.strongswan = StrongSwan(lab, self.inside["c"], "strongswan", sites.strongswan_connection("c", "a"), sites.SECRET)

    def start(self):
        for gw in self.culvert.values():
            gw.start()
        self.strongswan.start()

    def negotiate(self):
        a = self.culvert["a"]
        for peer, who in (("b", "Culvert b"), ("c", "strongSwan c")):
            up, said = a.initiate(f"to-{peer}", "net", 20)
            if not up:
                indent(a.log()[-2000:])
                raise LabError(f"the tunnel to {who} did not come up: {said}")
            say(f"   a <-> {who}: up")

    def pings(self):
        for source, target in (("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")):
            wait_for(lambda: ping(self.host[source], sites.HOST[target], count=1)[0], 10, f"a first echo from {source} to {target}")
            ok, line = ping(self.host[source], sites.HOST[target], count=PINGS, interval=0.1)
            self.ok = self.ok and ok
            say(f"   host {source} -> host {target}: {line}")
            if not ok:
                self.explain_loss(source, target)

    def explain_loss(self, source, target):
        """What the gateways on the way have dropped, and why."""
        for letter in {source, target} & set(self.culvert):
            say(f"   counters of gateway {letter}:")
            indent(self.culvert[letter].cli_text("counters"))

    def wire(self, capture):
        """What an eavesdropper on the wan has seen so far."""
        capture.stop()

        def seen(expression):
            return self.lab.sh("sh", "-c", f"tcpdump -nqtr {capture.file} '{expression}' 2>/dev/null", check=False).splitlines()
        clear = seen("icmp or tcp")
        esp = seen("esp") + [line for line in seen("udp port 4500") if "ESP" in line]
        self.ok = self.ok and not clear and bool(esp)
        say(f"   On the wan meanwhile: {len(seen('udp port 500'))} packets of negotiation, {len(esp)} of ESP, {len(clear)} in clear. For example:")
        indent("\n".join(seen("udp port 500")[:2] + esp[:2] + esp[-1:]))

    def throughput(self):
        for peer in "bc":
            self.host[peer].start("iperf3", "iperf3", "-s")
            wait_for(lambda: ":5201 " in self.host[peer].sh("ss", "-ltn"), 10, f"iperf3 on host {peer}")
            for reverse in ([], ["-R"]):
                text = self.host["a"].sh("iperf3", "-c", sites.HOST[peer], "-t", str(self.seconds), "-J", *reverse, seconds=self.seconds + 30, check=False)
                try:
                    bits = json.loads(text)["end"]["sum_received"]["bits_per_second"]
                except (ValueError, KeyError):
                    bits = 0
                self.ok = self.ok and bits > 0
                arrow = f"host {peer} -> host a" if reverse else f"host a -> host {peer}"
                say(f"   {arrow}: {bits / 1e6:8.1f} Mbit/s of TCP" if bits else f"   {arrow}: no figure: {text[-300:]}")

    def look(self):
        a = self.culvert["a"]
        say("   What the operator of gateway a sees with `culvert list-sas`:")
        indent(a.cli_text("list-sas"))
        say("\n   The same gateway's metrics, as Prometheus fetches them (some of them):")
        for sample, value in a.metrics().items():
            if sample.startswith(SHOWN) and (value or "child_up" in sample):
                say(f"     {sample} {value:g}")
    def how_to_play(self, build):
        lab, a = self.lab, self.culvert["a"]
        cli = f"{build}/control/culvert --socket {a.config['control']['socket']}"
        say(f"""
It is left running. Things to try, as root:
  ip netns exec {self.host['a'].id} ping {sites.HOST['b']}            a host behind gateway a pings one behind gateway b
  ip netns exec {self.host['a'].id} iperf3 -c {sites.HOST['c']}       throughput to the site behind strongSwan (-R for the other way)
  ip netns exec {self.wan.namespace.id} tcpdump -ni br0               what crosses the wan: ISAKMP and ESP, nothing in clear
  {cli} list-sas
  {cli} rekey to-b/net
  {cli} terminate to-b        and  initiate to-b/net
  {cli} log --follow
  {cli} counters
  ip netns exec {a.namespace.id} curl -s http://{gateway.METRICS}/metrics
  kill -9 {a.control.pid}; ping goes on; then start culvertd again:
  ip netns exec {a.namespace.id} {build}/control/culvertd --config {a.file}
Configurations and logs: {lab.dir}
Remove everything, that culvertd too: scripts/demo --clean""")


def clean():
    found = []
    for mark in glob.glob(f"{RUN_ROOT}/cv-*/{MARK}"):
        with open(mark, encoding="ascii") as f:
            found += sweep(f.read().strip())
    say("\n".join(found) if found else "there is no demo that was left running")


def show(demo, keep, build):
    say("""Culvert joins private networks over an untrusted one. Each site has a gateway; gateways negotiate keys (IKE) and then carry
all packets between their sites encrypted (ESP). This machine now plays three sites and the network between them.""")
    step(1, "Three sites and a wan between them, each in network namespaces of its own")
    indent("host a 10.1.0.10 -- [Culvert a] 10.9.0.1 --.\nhost b 10.2.0.10 -- [Culvert b] 10.9.0.2 --+-- wan\n"
           "host c 10.3.0.10 -- [strongSwan] 10.9.0.3 -'")
    demo.build()
    demo.start()
    say("   Both Culvert gateways run: culvert-dataplane moves packets with DPDK, culvertd negotiates.")
    capture = Capture(demo.wan.namespace, "br0", "wire")
    step(2, "Gateway a negotiates a tunnel with Culvert b and one with strongSwan c (IKEv1 main mode, then quick mode)")
    demo.negotiate()
    step(3, f"Hosts ping each other through the tunnels, {PINGS} times in each direction")
    demo.pings()
    demo.wire(capture)
    step(4, "iperf3 measures TCP through the tunnels, each way (strongSwan's side does ESP in user space here, one packet at a time)")
    demo.throughput()
    step(5, "What has happened, seen from the operator's side")
    demo.look()
    if keep:
        demo.lab.write(MARK, demo.lab.tag)
        demo.how_to_play(build)


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("build")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--clean", action="store_true")
    options = parser.parse_args()
    if options.clean:
        clean()
        return 0
    gateway.BUILD = options.build
    try:
        with Lab("demo", keep=options.keep) as lab:
            demo = Demo(lab, options.seconds)
            show(demo, options.keep, options.build)
            if not demo.ok and options.keep:
                say("\nNOT everything worked; it is left running for you to look at.")
    except LabError as error:
        say(f"\nThe demo failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("\ninterrupted; everything is removed")
        return 130
    if not options.keep:
        say("\nEverything that the demo made is removed.")
    say("The demo worked: no ping was lost, and iperf3 has figures for both directions of both tunnels." if demo.ok else "The demo FAILED: see above.")
    return 0 if demo.ok else 1


sys.exit(main())

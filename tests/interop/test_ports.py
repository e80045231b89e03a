#!/usr/bin/python3
"""What happens to a port while a tunnel carries traffic: its link goes down and returns, its interface gets another MTU, and is taken away.

Time limit: 60 s. Mostly waits. Row attack-O4 of tests/attacks.txt.
Two Culverts, pings through their tunnel. The WAN link of a goes down for longer than dead-peer detection's first question and returns: traffic resumes within
two seconds under the same SAs, and the log, `culvert counters` and the metrics say what happened, once. The next hop behind the LAN port comes back with
another MAC address: it is asked anew. With a smaller MTU of the WAN no larger packet leaves, and the host learns what fits.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

AWAY = 1.5                  # seconds
NEW_MAC = "02:00:00:00:aa:01"


def port(gw, name):
    return next(p for p in gw.result("counters")["ports"] if p["port"] == name)


def said(process, text):
    return process.output().count(text)


def resumes(host, seconds=5):
    """How long it takes until an echo comes back."""
    begun = time.monotonic()
    wait_for(lambda: ping(host, sites.HOST["b"], count=1, wait=0.1)[0], seconds, "the traffic to resume", step=0.02)
    return time.monotonic() - begun


def link_down_and_up(r, two, a):
    before = {c["spi_out"] for c in a.child_sas()}
    two.inside["a"].sh("ip", "link", "set", "gw0", "down")
    wait_for(lambda: not port(a, "wan")["up"], 3, "the port to be seen down")
    lost = not ping(two.host["a"], sites.HOST["b"], count=3, interval=0.1, wait=0.2)[0]
    time.sleep(AWAY)
    dropped = a.drops().get("port_down", 0)
    r.check("without a link nothing gets through, and the drops have their reason", lost and dropped >= 3, f"port_down: {dropped}")
    two.inside["a"].sh("ip", "link", "set", "gw0", "up")
    took = resumes(two.host["a"])
    r.check("traffic resumes when the link returns", took < 2, f"after {took:.1f} s")
    r.check("under the same SAs", {c["spi_out"] for c in a.child_sas()} == before)
    wait_for(lambda: port(a, "wan")["up"], 3, "the port to be seen up")
    log = {text: said(a.dataplane, text) for text in ("port wan: the link is down", "port wan: the link is up again")}
    r.check("the log says each once", set(log.values()) == {1}, log)
    r.check("the CLI and the metrics count it", port(a, "wan")["link_changes"] == 2 and port(a, "lan")["link_changes"] == 0 and
            a.metric("culvert_port_link_changes_total", port="wan") == 2 and a.metric("culvert_port_up", port="wan") == 1)


def another_behind_it(r, two, a):
    """The host behind the LAN port is replaced: same address, another MAC address. It says nothing by itself."""
    host = two.host["a"]
    host.sh("ip", "link", "set", "h0", "down")
    wait_for(lambda: not port(a, "lan")["up"], 3, "the LAN port to be seen down")
    host.sysctl(**{"net.ipv4.conf.h0.arp_notify": 0})
    host.sh("ip", "link", "set", "h0", "address", NEW_MAC)
    host.sh("ip", "link", "set", "h0", "up")
    host.route("default", sites.INSIDE["a"])                   # went with the link
    wait_for(lambda: said(a.dataplane, "port lan: the link is up again"), 3, "the LAN port to be seen up")
    begun = time.monotonic()
    wait_for(lambda: ping(two.host["b"], sites.HOST["a"], count=1, wait=0.1)[0], 5, "an echo of the new host", step=0.02)
    r.check("a host that returns with another MAC address is found by who speaks first from elsewhere", time.monotonic() - begun < 1.5,
            f"{time.monotonic() - begun:.1f} s after the link")


def smaller_mtu(r, two, a):
    host = two.host["a"]
    host.sh("ip", "route", "add", f"{sites.HOST['b']}/32", "via", sites.INSIDE["a"])

    def fits(size):
        return ping(host, sites.HOST["b"], size=size, count=1, wait=0.5)[0]

    r.check("a large packet passes at first", fits(1350))
    for letter in "ab":
        two.inside[letter].sh("ip", "link", "set", "gw0", "mtu", "1300")
    wait_for(lambda: all(port(two.gateway[letter], "wan")["mtu"] == 1300 for letter in "ab"), 3, "the smaller MTU to be seen")
    text = host.sh("ping", "-n", "-M", "do", "-c", "2", "-i", "0.2", "-W", "0.5", "-s", "1300", sites.HOST["b"], check=False)
    told = "mtu =" in text.lower() or "mtu=" in text.lower()
    r.check("with a smaller MTU a packet that must not be fragmented is refused with the size that fits", told, text.strip().splitlines()[1:3])
    r.check("one that may be is sent in pieces", fits(1350))
    for letter in "ab":
        two.inside[letter].sh("ip", "link", "set", "gw0", "mtu", "1500")
    wait_for(lambda: port(a, "wan")["mtu"] == 1500, 3, "the former MTU to be seen")
    log = {text: said(a.dataplane, text) for text in ("the interface's MTU is 1300 now, below the configured 1500", "the configured 1500 counts again")}
    r.check("the log says each once", set(log.values()) == {1}, log)


def taken_away(r, two, a):
    two.inside["a"].sh("ip", "link", "del", "gw0")
    wait_for(lambda: said(a.dataplane, "port wan: its interface is gone"), 3, "the loss to be said")
    time.sleep(0.6)
    r.check("an interface that is taken away is said once, and both processes live",
            a.dataplane.alive() and a.control.alive() and said(a.dataplane, "is gone") == 1 and not port(a, "wan")["up"])


def body(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(
        gw, letter, peer, start="start" if letter == "a" else "none", dpd_delay="1s", dpd_timeout="30s")).start()
    a = two.gateway["a"]
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0], 20, "the first echo")
    link_down_and_up(r, two, a)
    another_behind_it(r, two, a)
    smaller_mtu(r, two, a)
    taken_away(r, two, a)


report.run("ports", body)

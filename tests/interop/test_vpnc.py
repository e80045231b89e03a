#!/usr/bin/python3
"""vpnc, the Cisco client, as a remote-access client: Aggressive Mode with a group's secret, XAuth, Mode Config; raw ESP and ESP in UDP.

Time limit: 90 s
It must get an address, the name server, the networks and the banner of the pool, and ping the host behind the gateway; get the same
address when it comes again, also from behind a NAT box; and be refused with a wrong password.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402
from lib.vpnc import USER, Vpnc, admit  # noqa: E402

ELSEWHERE = "10.8.0.10"          # of the host behind the gateway, too, which the child does not have


def connect(r, site, what, mode, protocol, known=None, namespace=None):
    """Connects, looks at everything, disconnects. Returns the virtual address."""
    lab, name, here = site.lab, what.replace(" ", "-"), namespace or site.outside
    capture = Capture(site.outside, "cl0", f"wire-{name}")
    client = Vpnc(lab, here, name, mode)
    told = client.connected()
    r.check(f"vpnc connects, {what}", bool(told), client.process.output()[-400:])
    if told:
        address = told.get("INTERNAL_IP4_ADDRESS", "")
        r.check("... with an address of the pool", address.startswith("10.3.0.") and (known is None or address == known), f"{address}, before {known}")
        r.check("... and the pool's name server, network, domain and banner",
                told.get("INTERNAL_IP4_DNS") == "10.1.0.53" and told.get("CISCO_SPLIT_INC_0_ADDR") == "10.1.0.0" and told.get("CISCO_DEF_DOMAIN") == "lab.example"
                and "Welcome" in told.get("CISCO_BANNER", ""), str(told))
        r.check("... and pings the host behind the gateway", ping(here, sites.HOST["a"], count=3)[0])
        here.sh("ip", "route", "add", ELSEWHERE, "dev", told["TUNDEV"])
        before = site.culvert.drops()["esp_selector"]
        answered, dropped = ping(here, ELSEWHERE, count=2)[0], site.culvert.drops()["esp_selector"] - before
        r.check("... and nothing that is not in the child, whatever vpnc asked for", not answered and dropped == 2, f"{answered}, {dropped}")
        mine = site.culvert.ike_sas("people")[0]
        r.check("list-sas shows who it is and what it can", mine["xauth_user"] == USER and {"XAuth", "DPD", "Cisco Unity"} <= set(mine["vendor_ids"])
                and mine["nat"]["remote"] == (mode == "force-natt" or namespace is not None), f"{mine['xauth_user']}, {mine['vendor_ids']}, {mine['nat']}")
        known = address
    client.process.stop()
    capture.stop()
    seen = tshark(lab, capture.file, "-Y", protocol)
    r.check(f"... with ESP as {protocol}", len(seen.splitlines()) >= 6, f"{len(seen.splitlines())} packets")
    wait_for(lambda: not site.culvert.ike_sas("people"), 10, "the end of vpnc's SAs")
    return known


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "cl0", f"{sites.ADDRESS['b']}/16")
        self.road = lab.namespace("road")                        # behind a NAT box, which is the peer's namespace
        lab.link(self.outside, "road0", "192.168.50.1/24", self.road, "r0", "192.168.50.2/24")
        self.road.route("default", "192.168.50.1")
        self.outside.sh("nft", "-f", lab.write("nat.nft", MASQUERADE))
        self.culvert = sites.culvert(lab, self.inside, "a", ["b"])
        admit(lab, self.culvert)
        self.culvert.config["routes"] += [{"to": "10.3.0.0/24", "via": sites.ADDRESS["b"]}, {"to": f"{ELSEWHERE}/32", "via": sites.HOST["a"]}]
        self.host.address("lo", f"{ELSEWHERE}/32")
        self.culvert.write()
        self.culvert.start()


MASQUERADE = """table ip nat {
  chain post {
    type nat hook postrouting priority 100
    iifname "road0" masquerade random
  }
}
"""


def body(r, lab):
    site = Site(lab)
    address = connect(r, site, "no NAT", "natt", "esp && ip.proto == 50")
    connect(r, site, "UDP forced", "force-natt", "udp.port == 4500 && esp", known=address)
    connect(r, site, "behind NAT", "natt", "udp.port == 4500 && esp", known=address, namespace=site.road)
    refused = Vpnc(lab, site.outside, "wrong", "natt", password="guess")
    r.check("a wrong password is refused", refused.connected() is None and site.culvert.exchange_counts("xauth_failed")["xauth"] == 1,
            refused.process.output()[-300:])
    r.check("... and no address is leased", site.culvert.result("list-pools")["pools"][0]["online"] == 0)
    refused.process.stop()


report.run("vpnc", body)

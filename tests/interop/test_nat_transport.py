#!/usr/bin/python3
"""Transport mode through a NAT, as L2TP's clients do it: strongSwan on a real Linux kernel behind a NAT box, each side naming its own addresses.

Time limit: 120 s
strongSwan in a User Mode Linux guest. It begins; then Culvert renews the pair, and begins the Quick Mode itself. Pings both times, whose packets the
kernel's SAs count. The kernel's own words say transport mode in UDP, and that it refused nothing.

    [Culvert] gw0 10.9.0.1 ---- out0 10.9.0.254 [NAT box] in0 192.168.50.1 ---- vec0 192.168.50.2 [Linux guest]
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan, uml  # noqa: E402
from lib.lab import wait_for  # noqa: E402

CULVERT, NAT_OUTSIDE, NAT_INSIDE, BEHIND = sites.ADDRESS["a"], "10.9.0.254", "192.168.50.1", "192.168.50.2"
RULES = """table ip nat {
  chain post {
    type nat hook postrouting priority 100
    oifname "out0" masquerade random
  }
}
"""


def start(lab):
    """(Culvert, the guest, its strongSwan)"""
    _, inside = sites.host_and_gateway(lab, "a")
    box, outside = lab.namespaces("nat", "peer")
    lab.link(box, "in0", f"{NAT_INSIDE}/24", outside, "peer0", "")
    lab.link(box, "out0", f"{NAT_OUTSIDE}/16", inside, "gw0", None)
    box.sh("nft", "-f", lab.write("nat.nft", RULES))
    guest = uml.Guest(lab, outside, "linux", ["peer0"])
    guest.power_on()
    culvert = sites.culvert(lab, inside, "a", [])
    culvert.config["connections"] = {"roamer": gateway.connection(
        CULVERT, "%any", sites.IDENTITY["a"], sites.IDENTITY["b"], sites.IKE_SUITE, culvert.secret(sites.SECRET),
        {"net": gateway.child("dynamic", "dynamic", sites.ESP_SUITE, mode="transport")})}
    culvert.write()
    culvert.start()
    theirs = {"to-a": strongswan.connection("%any", CULVERT, sites.IDENTITY["b"], sites.IDENTITY["a"], sites.IKE_SUITE,
                                            {"net": strongswan.child("dynamic", "dynamic", sites.ESP_SUITE, mode="transport")})}
    guest.ready(90)
    guest.address("vec0", f"{BEHIND}/24")
    guest.route("default", NAT_INSIDE)
    return culvert, guest, strongswan.StrongSwan(lab, guest, "strongswan", theirs, sites.SECRET, kernel="kernel-netlink").start()


def pinged(guest):
    """'' or what is wrong: three small pings and three large ones."""
    for size in 56, 1000:
        text = guest.sh("ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "5", "-s", size, CULVERT, check=False)
        if "3 received" not in text:
            return text.strip()[-200:]
    return ""


def carried(culvert, guest, spis_before=()):
    """'' or what is wrong with the newest pair, of which each side must have counted the six pings."""
    pair = next((c for c in culvert.child_sas("roamer") if c["state"] == "installed" and c["spi_in"] not in spis_before), None)
    if not pair:
        return f"Culvert lists {culvert.child_sas('roamer')}"
    seen = (pair["encap"], pair["mode"], pair["local_ts"], pair["remote_ts"], pair["in"]["packets"], pair["out"]["packets"])
    if seen != ("udp", "transport", f"{CULVERT}/32", f"{NAT_OUTSIDE}/32", 6, 6):
        return f"Culvert's pair is {seen}"
    text = guest.script("ip -s xfrm state")
    return "" if "mode transport" in text and "encap type espinudp" in text and "mode tunnel" not in text else text


def body(r, lab):
    if uml.why_not():
        r.skip("transport mode behind a NAT against the Linux kernel", uml.why_not())
        return
    culvert, guest, peer = start(lab)
    ok, detail = peer.initiate("net")
    r.check("strongSwan behind a NAT begins: its transport mode is taken", ok, "" if ok else detail[-300:])
    wait_for(lambda: culvert.child_sas("roamer", ("installed",)), 5, "Culvert to install the pair")
    r.check("pings through it", *(lambda wrong: (not wrong, wrong))(pinged(guest)))
    r.check("in UDP, from and to the NAT box, on both sides", *(lambda wrong: (not wrong, wrong))(carried(culvert, guest)))
    before = {c["spi_in"] for c in culvert.child_sas("roamer")}
    culvert.result("rekey", "roamer/net")
    wait_for(lambda: any(c["spi_in"] not in before for c in culvert.child_sas("roamer", ("installed",))), 15, "the new pair")
    r.check("Culvert begins: pings through the new pair", *(lambda wrong: (not wrong, wrong))(pinged(guest)))
    r.check("it is as the first was", *(lambda wrong: (not wrong, wrong))(carried(culvert, guest, before)))
    errors = guest.xfrm_errors()
    r.check("the kernel's IPsec refused nothing", not errors, errors)


report.run("nat_transport", body)

#!/usr/bin/python3
"""NAT: strongSwan behind a NAT box, Culvert behind a NAT box, and the port 4500 that follows from it; keepalives hold the mapping.

Time limit: 90 s
The NAT box masquerades with random source ports and lets only answers in. The one outside must see the box's address and a translated port.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.strongswan import StrongSwan  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

NAT_INSIDE, BEHIND, NAT_OUTSIDE = "192.168.50.1", "192.168.50.2", "10.9.0.254"
RULES = """table ip nat {
  chain post {
    type nat hook postrouting priority 100
    oifname "out0" masquerade random
  }
}
table ip filter {
  chain flt {
    type filter hook forward priority 0
    policy drop
    iifname "in0" accept
    ct state established,related accept
  }
}
"""


def nat_box(lab, name, inner, inner_if, inner_cidr, outer, outer_if, outer_cidr):
    box = lab.namespace(name)
    lab.link(box, "in0", f"{NAT_INSIDE}/24", inner, inner_if, inner_cidr)
    lab.link(box, "out0", f"{NAT_OUTSIDE}/16", outer, outer_if, outer_cidr)
    box.sh("nft", "-f", lab.write(f"{name}.nft", RULES))
    return box


def strongswan_behind(r, lab):
    host, inside = sites.host_and_gateway(lab, "a")
    outside = lab.namespace("peer")
    nat_box(lab, "nat1", outside, "cl0", f"{BEHIND}/24", inside, "gw0", None)
    outside.route("default", NAT_INSIDE)
    outside.address("lo", f"{sites.INSIDE['b']}/16")
    culvert = sites.culvert(lab, inside, "a", [])
    culvert.config["routes"] = [{"to": sites.NET["b"], "via": NAT_OUTSIDE}]
    culvert.config["connections"] = {"roamer": gateway.connection(
        sites.ADDRESS["a"], "%any", sites.IDENTITY["a"], sites.IDENTITY["b"], sites.IKE_SUITE, culvert.secret(sites.SECRET),
        {"net": gateway.child(sites.NET["a"], sites.NET["b"], sites.ESP_SUITE)})}
    culvert.write()
    culvert.start()
    theirs = {"to-a": strongswan.connection("%any", sites.ADDRESS["a"], sites.IDENTITY["b"], sites.IDENTITY["a"], sites.IKE_SUITE,
                                            {"net": strongswan.child(sites.NET["b"], sites.NET["a"], sites.ESP_SUITE)})}
    peer = StrongSwan(lab, outside, "strongswan", theirs, sites.SECRET).start()
    ok, detail = peer.initiate("net")
    r.check("strongSwan behind NAT establishes", ok, "" if ok else detail[-300:])
    time.sleep(0.2)
    r.check("strongSwan behind NAT: ping", *ping(host, sites.INSIDE["b"]))
    seen = culvert.ike_sas("roamer")
    remote = seen[0]["remote"] if seen else "nobody"
    r.check("Culvert sees the NAT box's address and a translated port", remote.startswith(f"{NAT_OUTSIDE}:") and not remote.endswith((":500", ":4500")), remote)
    r.check("Culvert says that the peer is behind NAT", bool(seen) and seen[0]["nat"]["remote"], seen[0]["nat"] if seen else "")
    children = culvert.child_sas("roamer")
    r.check("ESP is in UDP", bool(children) and children[0]["encap"] == "udp")


def culvert_behind(r, lab):
    host = lab.namespace("host-c")
    inside, outside = lab.namespaces("gw-c", "peer-c")
    lab.link(host, "h0", f"{sites.HOST['a']}/16", inside, "in0", None)
    host.route("default", sites.INSIDE["a"])
    nat_box(lab, "nat2", inside, "gw0", None, outside, "cl0", f"{sites.ADDRESS['b']}/16")
    outside.address("lo", f"{sites.INSIDE['b']}/16")
    culvert = gateway.Gateway(lab, inside, "culvert-c", {"wan": ("gw0", [f"{BEHIND}/24"]), "lan": ("in0", [f"{sites.INSIDE['a']}/16"])},
                              [{"to": "0.0.0.0/0", "via": NAT_INSIDE}], ike={"keepalive": "5s"})
    culvert.config["connections"] = {"out": gateway.connection(
        BEHIND, sites.ADDRESS["b"], sites.IDENTITY["a"], sites.IDENTITY["b"], sites.IKE_SUITE, culvert.secret(sites.SECRET),
        {"net": gateway.child(sites.NET["a"], sites.NET["b"], sites.ESP_SUITE, start_action="start")}, dpd_delay=0)}
    culvert.write()
    theirs = {"roamer": strongswan.connection(sites.ADDRESS["b"], "%any", sites.IDENTITY["b"], sites.IDENTITY["a"], sites.IKE_SUITE,
                                              {"net": strongswan.child(sites.NET["b"], sites.NET["a"], sites.ESP_SUITE)})}
    peer = StrongSwan(lab, outside, "strongswan-c", theirs, sites.SECRET).start()
    capture = Capture(outside, "cl0", "nat-outer")
    culvert.start()
    wait_for(lambda: culvert.child_up("out", "net"), 15, "Culvert behind NAT to establish by itself")
    time.sleep(0.3)
    r.check("Culvert behind NAT: ping", *ping(host, sites.INSIDE["b"]))
    shown = culvert.ike_sas("out")[0]
    r.check("Culvert says that it is behind NAT itself", shown["nat"]["local"], shown["nat"])
    remote = peer.list_sas()["roamer"]
    r.check("strongSwan sees the NAT box and a translated port", remote["remote-host"] == NAT_OUTSIDE and remote["remote-port"] not in ("500", "4500"),
            f"{remote['remote-host']}[{remote['remote-port']}]")
    time.sleep(12)
    capture.stop()
    keepalives = tshark(lab, capture.file, "-Y", f"udpencap.nat_keepalive && ip.src == {NAT_OUTSIDE}").splitlines()
    r.check("keepalives keep the mapping (RFC 3948 section 4)", len(keepalives) >= 2, f"{len(keepalives)} in 12 s, one every 5 s wanted")
    ok = ping(outside, sites.HOST["a"], sites.INSIDE["b"])
    r.check("from the outside through the mapping: ping", *ok)


def body(r, lab):
    strongswan_behind(r, lab)
    culvert_behind(r, lab)


report.run("nat", body)

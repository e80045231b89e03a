#!/usr/bin/python3
"""The drafts of NAT traversal before RFC 3947 with strongSwan, in both roles, and vpnc: payload numbers and encapsulation modes of their own.

Time limit: 120 s
A relay between the two is the NAT. It spoils the vendor ids of what shall not be agreed on its way, in both directions, so that either end believes
that the other one knows only a draft. strongSwan sends the second text of draft 02, and answers the drafts 02 and 03; vpnc knows them all. In
drafts 00 and 01 all stays on port 500, with ESP behind eight zero bytes.
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.strongswan import StrongSwan  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402
from lib.vpnc import Vpnc, admit  # noqa: E402

INSIDE, BEHIND, OUTSIDE = "192.168.50.1", "192.168.50.2", "10.9.0.254"
# Vendor ids: MD5 of each text's name.
TEXTS = {"rfc3947": "4a131c81070358455c5728f20e95452f", "03": "7d9419a65310ca6f2c179d9215529d56", "02": "cd60464335df21f87cfdb2fc68b6a448",
         "02\\n": "90cb80913ebb696e086381b5ec427b1f", "01": "16f6ca16e4a4066d83821a0f0aeaa862", "00": "4485152d18b6bbcd0be8a8469579ddcc"}
NEWEST_FIRST = ("rfc3947", "03", "02\\n", "02", "01", "00")
RELAY = '''import select, socket, sys
inside, outside, target = sys.argv[1:4]
spoilt = [bytes.fromhex(text) for text in sys.argv[4:]]
def bound(address, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, port))
    return s
ways = [(bound(inside, port), bound(outside, 0), port) for port in (500, 4500)]
peer = {}
print("ready", flush=True)
while True:
    for ready in select.select([s for way in ways for s in way[:2]], [], [])[0]:
        data, source = ready.recvfrom(65535)
        for text in spoilt:
            data = data.replace(text, bytes(16))
        for inner, outer, port in ways:
            if ready is inner:
                peer[port] = source
                outer.sendto(data, (target, port))
            elif ready is outer and port in peer:
                inner.sendto(data, peer[port])
'''


class Box:
    """The relay's namespace between the client and what it calls."""

    def __init__(self, lab, name, client, client_if, client_cidr, outer, outer_if, outer_cidr, target):
        self.lab, self.namespace, self.name, self.target, self.process, self.count = lab, lab.namespace(name), name, target, None, 0
        lab.link(self.namespace, "in0", f"{INSIDE}/24", client, client_if, client_cidr)
        lab.link(self.namespace, "out0", f"{OUTSIDE}/16", outer, outer_if, outer_cidr)
        self.script = lab.write(f"{name}/relay.py", RELAY)

    def spoil(self, texts):
        if self.process:
            self.process.stop()
        self.count += 1
        self.process = self.namespace.start(f"relay-{self.name}-{self.count}", "/usr/bin/python3", self.script, INSIDE, OUTSIDE, self.target, *(TEXTS[t] for t in texts))
        wait_for(lambda: "ready" in self.process.output(), 10, "the relay")


def agreed(r, lab, capture, title):
    capture.stop()
    kinds = tshark(lab, capture.file, "-Y", "isakmp.exchangetype == 2", "-T", "fields", "-e", "isakmp.typepayload").replace("\n", ",").split(",")
    r.check(f"{title}: the NAT-D payloads have the drafts' number (130) in both directions", kinds.count("130") == 4 and kinds.count("20") == 0,
            f"{kinds.count('130')} of 130, {kinds.count('20')} of 20")


def encapsulated(culvert, name):
    pairs = culvert.child_sas(name)
    return len(pairs) == 1 and pairs[0]["encap"] == "udp"


def strongswan_calls(r, lab):
    host, inside = sites.host_and_gateway(lab, "a")
    client = lab.namespace("client")
    box = Box(lab, "box-a", client, "cl0", f"{BEHIND}/24", inside, "gw0", None, sites.ADDRESS["a"])
    client.route("default", INSIDE)
    client.address("lo", f"{sites.INSIDE['b']}/16")
    culvert = sites.culvert(lab, inside, "a", [])
    culvert.config["routes"] = [{"to": sites.NET["b"], "via": OUTSIDE}]
    culvert.config["connections"] = {"roamer": gateway.connection(
        sites.ADDRESS["a"], "%any", sites.IDENTITY["a"], sites.IDENTITY["b"], sites.IKE_SUITE, culvert.secret(sites.SECRET),
        {"net": gateway.child(sites.NET["a"], sites.NET["b"], sites.ESP_SUITE)})}
    culvert.write()
    culvert.start()
    peer = StrongSwan(lab, client, "client", {"out": strongswan.connection(
        BEHIND, INSIDE, sites.IDENTITY["b"], sites.IDENTITY["a"], sites.IKE_SUITE,
        {"net": strongswan.child(sites.NET["b"], sites.NET["a"], sites.ESP_SUITE)})}, sites.SECRET).start()
    box.spoil(["rfc3947"])
    capture = Capture(box.namespace, "in0", "draft-a")
    ok, detail = peer.initiate("net")
    title = "strongSwan calls, the second text of draft 02"
    r.check(f"{title}: establishes, ESP in UDP", ok and encapsulated(culvert, "roamer"), "" if ok else detail[-300:])
    r.check(f"{title}: ping", *ping(host, sites.INSIDE["b"]))
    agreed(r, lab, capture, title)


def culvert_calls(r, lab):
    host, inside = lab.namespaces("host-c", "gw-c")
    outside = lab.namespace("peer")
    lab.link(host, "h0", f"{sites.HOST['a']}/16", inside, "in0", None)
    host.route("default", sites.INSIDE["a"])
    box = Box(lab, "box-b", inside, "gw0", None, outside, "cl0", f"{sites.ADDRESS['b']}/16", sites.ADDRESS["b"])
    outside.address("lo", f"{sites.INSIDE['b']}/16")
    culvert = gateway.Gateway(lab, inside, "culvert-c", {"wan": ("gw0", [f"{BEHIND}/24"]), "lan": ("in0", [f"{sites.INSIDE['a']}/16"])},
                              [{"to": "0.0.0.0/0", "via": INSIDE}])
    culvert.config["connections"] = {"out": gateway.connection(
        BEHIND, INSIDE, sites.IDENTITY["a"], sites.IDENTITY["b"], sites.IKE_SUITE, culvert.secret(sites.SECRET),
        {"net": gateway.child(sites.NET["a"], sites.NET["b"], sites.ESP_SUITE)})}
    culvert.write()
    culvert.start()
    peer = StrongSwan(lab, outside, "outer", {"roamer": strongswan.connection(
        sites.ADDRESS["b"], "%any", sites.IDENTITY["b"], sites.IDENTITY["a"], sites.IKE_SUITE,
        {"net": strongswan.child(sites.NET["b"], sites.NET["a"], sites.ESP_SUITE)})}, sites.SECRET).start()
    for text, spoilt in (("03", ["rfc3947"]), ("02", ["rfc3947", "03"]), ("02\\n", ["rfc3947", "03", "02"])):
        title = f"Culvert calls, draft {text!r}"
        box.spoil(spoilt)
        capture = Capture(box.namespace, "in0", f"draft-{len(spoilt)}")
        ok, detail = culvert.initiate("out", "net")
        r.check(f"{title}: establishes, ESP in UDP", ok and encapsulated(culvert, "out"), "" if ok else str(detail)[-300:])
        r.check(f"{title}: ping", *ping(host, sites.INSIDE["b"]))
        agreed(r, lab, capture, title)
        culvert.terminate("out")
        wait_for(lambda: not peer.list_sas(), 10, "strongSwan to forget the tunnel")


def vpnc_calls(r, lab):
    host, inside = lab.namespaces("host-d", "gw-d")
    lab.link(host, "h0", f"{sites.HOST['a']}/16", inside, "in0", None)
    host.route("default", sites.INSIDE["a"])
    client = lab.namespace("vpnc")
    box = Box(lab, "box-d", client, "cl0", f"{BEHIND}/24", inside, "gw0", None, sites.ADDRESS["a"])
    culvert = gateway.Gateway(lab, inside, "culvert-d", {"wan": ("gw0", [f"{sites.ADDRESS['a']}/16"]), "lan": ("in0", [f"{sites.INSIDE['a']}/16"])}, [
        {"to": "10.3.0.0/24", "via": OUTSIDE}])
    admit(lab, culvert)
    culvert.write()
    culvert.start()
    for draft in ("03", "02", "01", "00"):
        title, port = f"vpnc calls, draft {draft}", 500 if draft in ("00", "01") else 4500
        box.spoil([text for text in NEWEST_FIRST if text != draft])
        capture = Capture(box.namespace, "in0", f"vpnc-{draft}")
        caller = Vpnc(lab, client, f"draft-{draft}", "natt", gateway_address=INSIDE)
        told = caller.connected()
        # The caller before this one may not have gone yet.
        up = lambda: encapsulated(culvert, "people") and any(sa["local"].endswith(f":{port}") for sa in culvert.ike_sas("people") if sa["state"] == "established")
        try:
            seen = bool(told) and wait_for(up, 10, "the caller's SAs")
        except LabError:
            seen = False
        r.check(f"{title}: connects, ESP in UDP on port {port}", seen, caller.process.output()[-400:] + str(culvert.ike_sas("people")))
        r.check(f"{title}: ping", *ping(client, sites.HOST["a"]))
        caller.process.stop()
        capture.stop()
        marked = "esp" if port == 4500 else "udp.payload[0:8] == 00:00:00:00:00:00:00:00"      # tshark does not know ESP on port 500
        esp = tshark(lab, capture.file, "-Y", f"udp.port == {port} && {marked}").splitlines()
        r.check(f"{title}: ESP is seen there", len(esp) >= 6, f"{len(esp)} packets")
        wait_for(lambda: not culvert.ike_sas("people"), 10, "the end of vpnc's SAs")


def body(r, lab):
    strongswan_calls(r, lab)
    culvert_calls(r, lab)
    vpnc_calls(r, lab)


report.run("nat_drafts", body)

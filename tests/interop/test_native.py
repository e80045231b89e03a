#!/usr/bin/python3
"""Native ESP (protocol 50) against the Linux kernel: a User Mode Linux guest with strongSwan in it, each ESP suite, both roles.

Time limit: 240 s
strongSwan in the guest uses the guest kernel's ESP, so there is no UDP encapsulation unless it is asked for. The capture must hold ESP and no
echo in clear; the guest's kernel must have refused nothing. One more connection forces encapsulation with `encap: true`.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan, uml  # noqa: E402
from lib.strongswan import StrongSwan  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

ESP = ["aes128gcm16", "aes256gcm16", "aes128-sha1", "aes128-sha256", "aes256-sha1", "aes256-sha256", "aes128gcm16-ecp256", "aes256-sha256-modp2048"]
FORCED = len(ESP) + 1
SIZES = (56, 1000, 1372)


def establish_and_ping(number, role, site_host, culvert, peer):
    """(ok, answered sizes, detail)"""
    name = f"n{number}"
    ok, detail = culvert.initiate(name, name) if role == "initiator" else peer.initiate(name)
    if not ok:
        return False, [], str(detail)[-200:]
    time.sleep(1)                                    # the guest's strongSwan may still be installing its SAs
    answered = [size for size in SIZES if ping(site_host, f"10.2.{number}.1", f"10.1.{number}.10", size=size, count=2, interval=0.1)[0]]
    listed = culvert.child_sas(name)
    encap = listed[0].get("encap") if listed else "none"
    return len(answered) == len(SIZES), answered, encap


def body(r, lab):
    why = uml.why_not()
    if why:
        r.skip("native ESP against the Linux kernel", why)
        return
    numbers = range(1, FORCED + 1)
    host, inside = sites.host_and_gateway(lab, "a")
    outside = lab.namespace("peer")
    lab.link(inside, "gw0", None, outside, "peer0", "")
    guest = uml.Guest(lab, outside, "guest", ["peer0"]).boot()
    guest.address("vec0", f"{sites.ADDRESS['b']}/16", *(f"10.9.1.{n}/16" for n in numbers))
    guest.address("lo", *(f"10.2.{n}.1/24" for n in numbers))
    host.addresses("h0", [f"10.1.{n}.10/16" for n in numbers])
    culvert = sites.culvert(lab, inside, "a", ["b"])
    secret = culvert.secret(sites.SECRET)
    suite = {n: ESP[n - 1] if n <= len(ESP) else ESP[0] for n in numbers}
    culvert.config["connections"] = {f"n{n}": gateway.connection(
        sites.ADDRESS["a"], f"10.9.1.{n}", sites.IDENTITY["a"], f"n{n}.example", sites.IKE_SUITE, secret,
        {f"n{n}": gateway.child(f"10.1.{n}.0/24", f"10.2.{n}.0/24", suite[n])}, **({"encap": True} if n == FORCED else {})) for n in numbers}
    culvert.write()
    theirs = {f"n{n}": strongswan.connection(f"10.9.1.{n}", sites.ADDRESS["a"], f"n{n}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                             {f"n{n}": strongswan.child(f"10.2.{n}.0/24", f"10.1.{n}.0/24", suite[n])}) for n in numbers}
    peer = StrongSwan(lab, guest, "strongswan", theirs, sites.SECRET, kernel="kernel-netlink")
    peer.start()
    culvert.start()
    capture = Capture(outside, "peer0", "wire")
    rows = []
    for role in ("initiator", "responder"):
        for number in numbers:
            ok, answered, detail = establish_and_ping(number, role, host, culvert, peer)
            wanted = "udp" if number == FORCED else "native"
            r.check(f"{suite[number]}, {wanted}, Culvert as {role}", ok and detail == wanted, detail if not ok or detail != wanted else "")
            rows.append([suite[number], wanted, role, "/".join(map(str, answered)) or "none"])
            culvert.terminate(f"n{number}") if role == "initiator" else peer.terminate(f"n{number}")
    capture.stop()
    r.table(["ESP suite", "encapsulation", "Culvert is", "ping bytes"], rows)
    esp = len(tshark(lab, capture.file, "-Y", "ip.proto == 50").splitlines())
    clear = len(tshark(lab, capture.file, "-Y", "icmp && !esp && !udp").splitlines())
    r.check("the wire carried native ESP and no echo in clear", esp >= 2 * 2 * len(SIZES) * len(ESP) and clear == 0, f"{esp} ESP packets, {clear} echoes in clear")
    errors = guest.xfrm_errors()
    r.check("the kernel refused no packet", not {k: v for k, v in errors.items() if "Proto" in k or "Replay" in k or "Mismatch" in k}, errors)


report.run("native", body)

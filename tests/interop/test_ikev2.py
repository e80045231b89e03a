#!/usr/bin/python3
"""IKEv2 with strongSwan: both roles, cookies, another group, Delete by either operator, a side that dies.

Time limit: 200 s
What `list-sas` says must be what strongSwan says: SPIs of the IKE SA and of the CHILD SA, and one of each.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, inject, keys, report, sites, strongswan  # noqa: E402
from lib.ikev2 import differ, in_use, in_use_there  # noqa: E402
from lib.lab import Lab, LabError, wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

NAME, THEIRS, CHILD = "to-b", "to-a", "net"
COOKIE, INVALID_KE = "16390", "17"
RETRANSMIT = {"retransmit_timeout": "300ms", "retransmit_base": 1.5, "retransmit_tries": 4, "half_open_timeout": "5s"}


def agree(site):
    return differ(site.culvert, site.strongswan, NAME, THEIRS)


def begin(site, role):
    ok, detail = site.culvert.initiate(NAME, CHILD) if role == "Culvert" else site.strongswan.initiate(CHILD)
    if not ok:
        raise LabError(f"{role} initiates: {detail}")
    wait_for(lambda: not agree(site), 5, "both lists to agree")


def both_ways(site):
    """(all answered, what ping says)"""
    there, here = ping(site.host, sites.INSIDE["b"]), ping(site.outside, sites.HOST["a"], source=sites.INSIDE["b"])
    return there[0] and here[0], f"{there[1]}; {here[1]}"


def nothing_left(site):
    left = [s for s in site.culvert.ike_sas(NAME) if s["state"] != "deleting"]
    return not left and not site.culvert.child_sas(NAME) and not site.strongswan.list_sas()


def ended(r, site, title):
    try:
        wait_for(lambda: nothing_left(site), 12, "the end of all SAs")
        r.check(f"{title}: nothing is left on either side", True)
    except LabError:
        r.check(f"{title}: nothing is left on either side", False, f"{site.culvert.ike_sas(NAME)} {site.strongswan.list_sas()}")


def roles(r, lab):
    """Up, used, ended: by the IKE SA and by the CHILD SA alone, by the one and the other."""
    site = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", version=2),
                                      sites.strongswan_connection("b", "a", version=2)).start()
    for role in "Culvert", "strongSwan":
        begin(site, role)
        r.check(f"{role} initiates: one IKE SA and one CHILD SA, the same on both sides", not agree(site), agree(site))
        r.check(f"{role} initiates: pings both ways", *both_ways(site))
        shown = site.culvert.ike_sas(NAME)[0]
        their = site.strongswan.list_sas()[THEIRS]
        child = site.culvert.child_sas(NAME)[0]
        r.check(f"{role} initiates: it is IKEv2, on port 4500, with ESP in UDP", child["encap"] == "udp" and their["version"] == "2" and their["remote-port"] == "4500"
                and shown["local"].endswith(":4500"), f"{shown['local']} {shown['remote']}, {child['encap']}, version {their['version']}")
        for side in "Culvert", "strongSwan":
            if side == "Culvert":
                site.culvert.terminate(NAME, CHILD)
            else:
                site.strongswan.swanctl("terminate", "--child", CHILD, "--timeout", "5", check=False)
            wait_for(lambda: not in_use(site.culvert, NAME)[1] and not in_use_there(site.strongswan, THEIRS)[1], 10, f"the end of the CHILD SA, which {side} ends")
            ike = in_use(site.culvert, NAME)[0]
            r.check(f"{role} initiated, {side} ends the CHILD SA: the IKE SA stays", len(ike) == 1 and ike == in_use_there(site.strongswan, THEIRS)[0], len(ike))
            begin(site, side)
            r.check(f"{role} initiated, {side} makes another CHILD SA: pings both ways", *both_ways(site))
            r.check(f"{role} initiated, {side} made another CHILD SA: under the IKE SA that was there", in_use(site.culvert, NAME)[0] == ike, agree(site))
        site.culvert.terminate(NAME) if role == "Culvert" else site.strongswan.terminate(THEIRS)
        ended(r, site, f"{role} ends the IKE SA")
    begin(site, "Culvert")
    site.strongswan.terminate(THEIRS)
    ended(r, site, "strongSwan ends the IKE SA that Culvert began")
    begin(site, "strongSwan")
    site.culvert.terminate(NAME)
    ended(r, site, "Culvert ends the IKE SA that strongSwan began")


class Asking:
    """One connection for each side that begins; the other side wants another group than the first one. By an address of strongSwan's each."""

    def __init__(self, lab):
        self.lab, self.number = lab, {"Culvert": 1, "strongSwan": 2}
        asks, wants = ["aes256-sha256-modp2048", "aes256-sha256-ecp256"], "aes256-sha256-ecp256"
        esp_asks, esp_wants = ["aes128gcm16-modp2048", "aes128gcm16-ecp384"], "aes128gcm16-ecp384"

        def ours(gw):
            return {name: gateway.connection(sites.ADDRESS["a"], f"10.9.1.{n}", sites.IDENTITY["a"], f"{name}.example", asks if name == "Culvert" else wants,
                                             gw.secret(sites.SECRET), {"net": gateway.child(f"10.1.{n}.0/24", f"10.2.{n}.0/24", esp_asks if name == "Culvert" else esp_wants)}, version=2)
                    for name, n in self.number.items()}
        theirs = {name: strongswan.connection(f"10.9.1.{n}", sites.ADDRESS["a"], f"{name}.example", sites.IDENTITY["a"], asks if name == "strongSwan" else wants, {
            name: strongswan.child(f"10.2.{n}.0/24", f"10.1.{n}.0/24", esp_asks if name == "strongSwan" else esp_wants)}, version=2)
                  for name, n in self.number.items()}
        self.site = sites.CulvertAndStrongSwan(lab, ours, theirs)
        self.site.strongswan.add_options("cookie_threshold = 3\n  cookie_threshold_ip = 3\n  block_threshold = 0")
        self.site.number(self.number.values()).start()

    def begin(self, role, title):
        """Establishes, and ends; (what went wrong, the notifications in clear, the frame of the last request for IKE_SA_INIT)."""
        capture = Capture(self.site.outside, "cl0", f"{role}-{title}", "udp port 500")
        ok, detail = self.site.culvert.initiate(role, "net") if role == "Culvert" else self.site.strongswan.initiate(role)
        n = self.number[role]
        answered = ok and ping(self.site.host, f"10.2.{n}.1", source=f"10.1.{n}.10")
        self.site.culvert.terminate(role)
        wait_for(lambda: not in_use(self.site.culvert, role)[0] and role not in self.site.strongswan.list_sas(), 10, "the end")
        capture.stop()
        told = tshark(self.lab, capture.file, "-Y", f"isakmp && ip.addr == 10.9.1.{n}", "-T", "fields", "-e", "isakmp.notify.msgtype").split()
        found = {kind for line in told for kind in line.split(",")} & {COOKIE, INVALID_KE}
        requests = [frame for _, frame in keys.frames(capture.file) if frame[12:14] == b"\x08\x00" and frame[60:62] == b"\x22\x08"]
        return ("" if ok and answered[0] else detail if not ok else answered[1]), found, requests[-1]

    def rekey(self, role):
        """Who begins rekeys the CHILD SA with the other group than the other side's; strongSwan's group of the pair that comes of it."""
        site, n = self.site, self.number[role]
        ok, detail = site.culvert.initiate(role, "net") if role == "Culvert" else site.strongswan.initiate(role)
        if not ok:
            raise LabError(detail)
        old = in_use(site.culvert, role)[1]
        if role == "Culvert":
            site.culvert.result("rekey", f"{role}/net")
        else:
            site.strongswan.swanctl("rekey", "--child", role)
        wait_for(lambda: not in_use(site.culvert, role)[1] & old and not differ(site.culvert, site.strongswan, role), 10, f"the pair that {role} rekeys")
        groups = [c.get("dh-group") for c in site.strongswan.child_sas(role) if c["state"] == "INSTALLED"]
        answered = ping(site.host, f"10.2.{n}.1", source=f"10.1.{n}.10")[0]
        site.culvert.terminate(role)
        return groups if answered else "no answer to a ping"

    def knock(self, role, frame):
        """Others begin as `role` did, under SPIs of their own, and do not go on."""
        where, interface = (self.site.inside, "gw0") if role == "Culvert" else (self.site.outside, "cl0")
        inject.resend(where, interface, [frame[:40] + b"\0\0" + bytes([n]) * 8 + frame[50:] for n in range(1, 7)])


def cookies(r, lab):
    """A responder that wants another group, or a cookie, or first the one and then the other; each side from the other one."""
    asking = Asking(lab)
    for role in asking.number:
        groups = asking.rekey(role)
        r.check(f"{role} rekeys a CHILD SA with another group than the other side's: the pair is of the other one", groups == ["ECP_384"], groups)
        failed, told, frame = asking.begin(role, "group")
        r.check(f"{role} begins with another group than the other side's: it is told so (INVALID_KE_PAYLOAD), and comes up", not failed and told == {INVALID_KE}, failed or told)
        asking.knock(role, frame)
        failed, told, _ = asking.begin(role, "cookie")
        r.check(f"{role} begins while others knock: it is asked for a cookie, then for another group, and comes up", not failed and told == {COOKIE, INVALID_KE}, failed or told)


def silence(r, lab):
    """A peer that dies is found dead and called again; a gateway that dies is found dead by strongSwan."""
    dpd = {"dpd_delay": "1s"}
    site = sites.CulvertAndStrongSwan(
        lab, lambda gw: sites.culvert_connection(gw, "a", "b", version=2, start="start", child_settings={"dpd_action": "restart"}, **dpd),
        sites.strongswan_connection("b", "a", version=2, child_settings={"dpd_action": "clear"}, **dpd), ike=RETRANSMIT).start()
    wait_for(lambda: not agree(site), 10, "the tunnel")
    time.sleep(2.5)
    counts = site.culvert.exchange_counts()
    r.check("liveness of a peer that lives: nothing fails, and nothing changes", not agree(site) and not any(site.culvert.exchange_counts("dpd_timeout").values()), dict(counts))
    site.strongswan.process.kill()
    begun = time.monotonic()
    wait_for(lambda: not site.culvert.connection(NAME)["up"], 30, "the peer to be taken for dead")
    took, failure = time.monotonic() - begun, site.culvert.connection(NAME)["failure"] or {}
    r.check("a peer that was killed is found dead", took < 20 and failure.get("reason") in ("dpd_timeout", "timeout"), f"{took:.1f} s: {failure}")
    wait_for(lambda: not site.culvert.child_sas(NAME), 10, "its CHILD SA to go")
    site.strongswan.start()
    wait_for(lambda: not agree(site), 20, "the tunnel when the peer is back")
    r.check("it is called again when it is back", *both_ways(site))
    old = in_use(site.culvert, NAME)[0]
    site.strongswan.process.kill()
    site.strongswan.start()
    begin_again = time.monotonic()
    ok, detail = site.strongswan.initiate(CHILD)
    r.check("a peer that was restarted calls first", ok, detail if not ok else "")
    wait_for(lambda: not agree(site) and in_use(site.culvert, NAME)[0] != old, 10, "its new SAs, and no old ones")
    wait_for(lambda: both_ways(site)[0], 5, "pings by the new SAs")
    r.check("INITIAL_CONTACT ends the SAs of its former life", True)
    r.note(f"{time.monotonic() - begin_again:.1f} s")
    site.culvert.control.kill()
    site.culvert.dataplane.kill()
    wait_for(lambda: not site.strongswan.list_sas(), 20, "strongSwan's dead-peer detection")
    r.check("strongSwan finds a gateway dead that was killed", True)
    site.culvert.start()
    wait_for(lambda: not agree(site), 20, "the tunnel when the gateway is back")
    r.check("the gateway calls again when it is back", *both_ways(site))


def body(r, lab):
    for name, part in (("roles", roles), ("cookies", cookies), ("silence", silence)):
        with Lab(f"ikev2-{name}", tag=f"{lab.tag}-{name[:2]}") as own:
            before = r.failed
            own.failed = True                           # for logs when it ends by an exception
            part(r, own)
            own.failed = r.failed > before


report.run("ikev2", body)

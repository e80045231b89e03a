#!/usr/bin/python3
"""What goes wrong, and says so: a wrong pre-shared key, no common proposal, other proxy identities, a peer that is not there; both roles.

Time limit: 150 s
Each case is a connection of its own, told apart by an address of strongSwan's. Each must end in the stated state within the stated time, with
a reason that names the mismatch in the log, in `culvert list-conns` and in the metrics, and with nothing installed on either side.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402

RETRANSMIT = {"retransmit_timeout": "300ms", "retransmit_base": 1.5, "retransmit_tries": 4, "half_open_timeout": "5s"}
GIVE_UP = 0.3 * sum(1.5 ** n for n in range(5))       # seconds: 300 ms, and four retransmissions, each wait 1.5 times longer: about 4 s
SUITE, OTHER = "aes256-sha256-modp2048", "aes128-sha512-ecp384"


class Case:
    """`ours` and `theirs` are (IKE proposal, ESP proposal, remote net as seen by Culvert); `reasons` is what Culvert may name."""

    def __init__(self, number, name, role, reasons, within, says, ours=(SUITE, "aes128gcm16", None), theirs=(SUITE, "aes128gcm16", None),
                 their_secret=None, absent=False, ike_up=False, exchange="main_mode"):
        self.number, self.name, self.role, self.reasons, self.within, self.says = number, name, role, reasons, within, says
        self.ours, self.theirs, self.their_secret, self.absent, self.ike_up, self.exchange = ours, theirs, their_secret, absent, ike_up, exchange
        self.conn, self.address = f"case-{number}", f"10.9.1.{number}"
        self.net = f"10.2.{number}.0/24"
        self.local = f"10.1.{number}.0/24"


CASES = [
    Case(1, "wrong pre-shared key", "initiator", {"auth_failed", "timeout", "peer_refused"}, GIVE_UP + 2, ["pre-shared key"], their_secret="another secret"),
    Case(2, "wrong pre-shared key", "responder", {"auth_failed"}, GIVE_UP + 2, ["pre-shared key"], their_secret="another secret"),
    # An unauthenticated refusal is not believed at once: a good answer may still come.
    Case(3, "no common IKE proposal", "initiator", {"peer_no_proposal"}, GIVE_UP + 2, [], theirs=(OTHER, "aes128gcm16", None)),
    Case(4, "no common IKE proposal", "responder", {"no_proposal_chosen"}, 2, ["aes128-sha512-ecp384", "aes256-sha256-modp2048"], theirs=(OTHER, "aes128gcm16", None)),
    Case(5, "no common ESP proposal", "initiator", {"peer_no_proposal"}, 2, [], theirs=(SUITE, "aes256-sha256", None), ike_up=True, exchange="quick_mode"),
    Case(6, "no common ESP proposal", "responder", {"no_proposal_chosen"}, 2, ["aes256-sha256", "aes128gcm16"], theirs=(SUITE, "aes256-sha256", None),
         ike_up=True, exchange="quick_mode"),
    Case(7, "other proxy identities", "initiator", {"peer_selector_mismatch"}, 2, [], theirs=(SUITE, "aes128gcm16", "10.77.0.0/24"), ike_up=True, exchange="quick_mode"),
    Case(8, "other proxy identities", "responder", {"selector_mismatch"}, 2, ["10.77.0.0/24"], theirs=(SUITE, "aes128gcm16", "10.77.0.0/24"),
         ike_up=True, exchange="quick_mode"),
    Case(9, "unreachable peer", "initiator", {"timeout"}, GIVE_UP + 2, ["answer"], absent=True),
    Case(10, "peer that falls silent", "responder", {"timeout"}, 5 + 2, [], absent=True),
]


def provoke(case, site):
    """Starts the negotiation from the side that the case is about."""
    if case.role == "initiator":
        site.culvert.cli("initiate", f"{case.conn}/net", "--timeout", 0)
    else:
        site.strongswan.swanctl("initiate", "--child", case.conn, "--timeout", "-1", check=False)


def failure_of(case, site):
    """The failure that list-conns shows: of the child, or of the connection; None so far."""
    shown = site.culvert.connection(case.conn)
    return shown["children"][0]["failure"] or shown["failure"]


def judge(r, case, site):
    title = f"{case.name}, Culvert as {case.role}"
    begun = time.monotonic()
    try:
        failure = wait_for(lambda: failure_of(case, site), case.within + 10, "a failure to be shown", step=0.1)
    except LabError as error:
        r.check(f"{title}: ends", False, error)
        return [case.name, case.role, "none shown", "", ""]
    took = time.monotonic() - begun
    log = [line for line in site.culvert.log().splitlines() if case.conn in line and failure["reason"] in line]
    counted = sum(e["count"] for e in site.culvert.result("counters")["exchanges"]
                  if e["role"] == case.role and e["exchange"] == failure["exchange"] and e["reason"] == failure["reason"])
    metric = site.culvert.metric("culvert_ike_exchanges_total", role=case.role, exchange=failure["exchange"], reason=failure["reason"])
    installed = site.culvert.child_sas(case.conn)
    theirs = [c for c in site.strongswan.child_sas(case.conn) if c.get("state") == "INSTALLED"]
    r.check(f"{title}: the reason is named", failure["reason"] in case.reasons, f"{failure['exchange']}: {failure['reason']}: {failure['message']}")
    r.check(f"{title}: on time", took <= case.within, f"{took:.1f} s of {case.within:.1f} s")
    r.check(f"{title}: in the log", bool(log), log[-1] if log else site.culvert.log()[-300:])
    missing = [word for word in case.says if word not in failure["message"]]
    r.check(f"{title}: the message says what differs", not missing, f"missing {missing} in: {failure['message']}" if missing else "")
    r.check(f"{title}: in the metrics", counted >= 1 and metric >= 1, f"culvert_ike_exchanges_total: {metric:.0f}")
    r.check(f"{title}: nothing is installed", not installed and not theirs, f"{len(installed)} here, {len(theirs)} there")
    up = site.culvert.connection(case.conn)["up"]
    r.check(f"{title}: the ISAKMP SA is {'up' if case.ike_up else 'not up'}", up == case.ike_up)
    return [case.name, case.role, f"{took:.1f} s", failure["exchange"], failure["reason"]]


def body(r, lab):
    def connections(gw):
        secret = gw.secret(sites.SECRET)
        return {c.conn: gateway.connection(sites.ADDRESS["a"], c.address, sites.IDENTITY["a"], f"{c.conn}.example", c.ours[0], secret,
                                           {"net": gateway.child(c.local, c.ours[2] or c.net, c.ours[1])}) for c in CASES}
    theirs = {c.conn: strongswan.connection(c.address, sites.ADDRESS["a"], f"{c.conn}.example", sites.IDENTITY["a"], c.theirs[0],
                                            {c.conn: strongswan.child(c.theirs[2] or c.net, c.local, c.theirs[1])}, keyingtries=1) for c in CASES}
    secrets = {f"ike-{c.number}": {"id": f"{c.conn}.example", "secret": f'"{c.their_secret or sites.SECRET}"'} for c in CASES}
    site = sites.CulvertAndStrongSwan(lab, connections, theirs, secret=secrets, ike=RETRANSMIT)
    site.outside.addresses("cl0", [f"{c.address}/16" for c in CASES if not (c.absent and c.role == "initiator")])
    site.outside.addresses("lo", [f"10.2.{c.number}.1/24" for c in CASES])
    # A peer that falls silent: it hears nothing that we answer.
    silent = next(c for c in CASES if c.absent and c.role == "responder")
    rules = f"table ip t {{ chain in {{ type filter hook input priority 0; ip daddr {silent.address} drop; }}; }}\n"
    site.outside.sh("nft", "-f", lab.write("silent.nft", rules))
    site.start()
    rows = []
    for case in CASES:
        provoke(case, site)
        rows.append(judge(r, case, site))
        if case.role == "initiator":
            site.culvert.terminate(case.conn)
        else:
            site.strongswan.terminate(case.conn, 2)
    r.table(["case", "Culvert is", "ended after", "exchange", "reason"], rows)
    policies = site.culvert.drops()
    r.note(f"drops afterwards: { {k: v for k, v in policies.items() if v} }")


report.run("failures", body)

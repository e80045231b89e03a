#!/usr/bin/python3
"""IKEv2: what goes wrong, and says so: pre-shared key, identity, proposals, selectors, version, a peer that is not there; both roles.

Time limit: 120 s
Each case is a connection of its own, told apart by an address of strongSwan's. Each must end in the stated state within the stated time, with
a reason that names the mismatch in the log, in `culvert list-conns` and in the metrics, and with nothing installed on either side; what
`culvert explain` says is shown. Where only the CHILD SA fails the IKE SA stays up (RFC 7296 §1.3.1, §2.9).
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402

RETRANSMIT = {"retransmit_timeout": "300ms", "retransmit_base": 1.5, "retransmit_tries": 4, "half_open_timeout": "5s"}
GIVE_UP = 0.3 * sum(1.5 ** n for n in range(5))       # seconds: 300 ms, and four retransmissions, each wait 1.5 times longer: about 4 s
SUITE, OTHER, ESP, OTHER_ESP = "aes256-sha256-modp2048", "aes128-sha512-ecp384", "aes128gcm16", "aes256-sha256"
INITIATOR, RESPONDER = "initiator", "responder"


class Case:
    """`reasons`: what Culvert may name. `says`: words of its message. The rest is what differs between the two sides."""

    def __init__(self, name, role, reasons, within, says, exchange, ours=None, theirs=None, their_child=None, their_secret=None, absent=False, ike_up=False):
        self.name, self.role, self.reasons, self.within, self.says, self.exchange = name, role, reasons, within, says, exchange
        self.ours, self.theirs, self.their_child, self.their_secret, self.absent, self.ike_up = ours or {}, theirs or {}, their_child or {}, their_secret, absent, ike_up
        self.number = Case.number = getattr(Case, "number", 0) + 1
        self.conn, self.address = f"case-{self.number}", f"10.9.1.{self.number}"
        self.net, self.local = f"10.2.{self.number}.0/24", f"10.1.{self.number}.0/24"


CASES = [
    Case("wrong pre-shared key", INITIATOR, {"auth_failed"}, 2, ["pre-shared key"], "ike_auth", their_secret="another secret"),
    Case("wrong pre-shared key", RESPONDER, {"auth_failed"}, 2, ["pre-shared key"], "ike_auth", their_secret="another secret"),
    Case("the peer has another identity", INITIATOR, {"auth_failed"}, 2, ["identity"], "ike_auth", theirs={"local_id": "stranger.example"}),
    Case("the peer has another identity", RESPONDER, {"wrong_identity"}, 2, ["stranger.example"], "ike_auth", theirs={"local_id": "stranger.example"}),
    Case("the peer takes us for another", INITIATOR, {"auth_failed"}, 2, ["identity"], "ike_auth", theirs={"remote_id": "stranger.example"}),
    Case("the peer takes us for another", RESPONDER, {"wrong_identity"}, 2, ["stranger.example"], "ike_auth", theirs={"remote_id": "stranger.example"}),
    # An unauthenticated refusal is not believed at once: a good answer may still come.
    Case("no common IKE proposal", INITIATOR, {"peer_no_proposal"}, GIVE_UP + 2, [SUITE], "ike_sa_init", theirs={"proposals": OTHER}),
    Case("no common IKE proposal", RESPONDER, {"no_proposal_chosen"}, 2, [OTHER, SUITE], "ike_sa_init", theirs={"proposals": OTHER}),
    Case("no common group", INITIATOR, {"peer_no_proposal"}, GIVE_UP + 2, [], "ike_sa_init", theirs={"proposals": "aes256-sha256-ecp256"}),
    Case("no common group", RESPONDER, {"no_proposal_chosen"}, 2, ["ecp256", "modp2048"], "ike_sa_init", theirs={"proposals": "aes256-sha256-ecp256"}),
    Case("no common ESP proposal", INITIATOR, {"peer_no_proposal"}, 2, [ESP], "ike_auth", their_child={"esp_proposals": OTHER_ESP}, ike_up=True),
    Case("no common ESP proposal", RESPONDER, {"no_proposal_chosen"}, 2, [OTHER_ESP, ESP], "ike_auth", their_child={"esp_proposals": OTHER_ESP}, ike_up=True),
    Case("selectors that do not fit", INITIATOR, {"peer_selector_mismatch"}, 2, ["10.1."], "ike_auth", their_child={"local_ts": "10.77.0.0/24"}, ike_up=True),
    Case("selectors that do not fit", RESPONDER, {"selector_mismatch"}, 2, ["10.77.0.0/24"], "ike_auth", their_child={"local_ts": "10.77.0.0/24"}, ike_up=True),
    Case("the peer has IKEv1 only", INITIATOR, {"other_version", "peer_no_proposal", "peer_refused", "timeout"}, GIVE_UP + 2, [], "ike_sa_init", theirs={"version": 1}),
    Case("the peer has IKEv1 only", RESPONDER, {"other_version"}, 2, ["IKEv1", "IKEv2"], "informational", theirs={"version": 1}),
    Case("the connection is of IKEv1, the peer has IKEv2 only", INITIATOR, {"other_version", "peer_no_proposal", "peer_refused", "timeout"}, GIVE_UP + 2, [], None, ours={"version": 1}),
    Case("the connection is of IKEv1, the peer has IKEv2 only", RESPONDER, {"other_version"}, 2, ["IKEv1", "IKEv2"], "informational", ours={"version": 1}),
    Case("unreachable peer", INITIATOR, {"timeout"}, GIVE_UP + 2, ["answer"], "ike_sa_init", absent=True),
]


def provoke(case, site):
    """Starts the negotiation from the side that the case is about."""
    if case.role == INITIATOR:
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
        failure = wait_for(lambda: failure_of(case, site), case.within + 6, "a failure to be shown", step=0.1)
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
    r.check(f"{title}: the reason is named", failure["reason"] in case.reasons and case.exchange in (None, failure["exchange"]),
            f"{failure['exchange']}: {failure['reason']}: {failure['message']}")
    r.check(f"{title}: on time", took <= case.within, f"{took:.1f} s of {case.within:.1f} s")
    r.check(f"{title}: in the log", bool(log), log[-1] if log else site.culvert.log()[-300:])
    missing = [word for word in case.says if word not in failure["message"]]
    r.check(f"{title}: the message says what differs", not missing, f"missing {missing} in: {failure['message']}" if missing else "")
    r.check(f"{title}: in the metrics", counted >= 1 and metric >= 1, f"culvert_ike_exchanges_total: {metric:.0f}")
    r.check(f"{title}: nothing is installed", not installed and not theirs, f"{len(installed)} here, {len(theirs)} there")
    up = site.culvert.connection(case.conn)["up"]
    r.check(f"{title}: the IKE SA is {'up' if case.ike_up else 'not up'}", up == case.ike_up)
    r.note("explain: " + " ".join(site.culvert.cli_text("explain", case.conn).split()))
    return [case.name, case.role, f"{took:.1f} s", failure["exchange"], failure["reason"]]


def body(r, lab):
    def connections(gw):
        secret = gw.secret(sites.SECRET)
        return {c.conn: gateway.connection(sites.ADDRESS["a"], c.address, sites.IDENTITY["a"], f"{c.conn}.example", SUITE, secret,
                                           {"net": gateway.child(c.local, c.net, ESP)}, **{"version": 2, **c.ours}) for c in CASES}

    def their_connection(c):
        settings = {"version": 2, "keyingtries": 1, **c.theirs}
        local_id, remote_id, proposals = (settings.pop(key, known) for key, known in (("local_id", f"{c.conn}.example"), ("remote_id", sites.IDENTITY["a"]), ("proposals", SUITE)))
        inner = strongswan.child(c.net, c.local, ESP)
        return strongswan.connection(c.address, sites.ADDRESS["a"], local_id, remote_id, proposals, {c.conn: {**inner, **c.their_child}}, **settings)
    secrets = {f"ike-{c.number}": {"id-1": f"{c.conn}.example", "id-2": c.address, "secret": f'"{c.their_secret or sites.SECRET}"'} for c in CASES}
    secrets["ike-stranger"] = {"id-1": "stranger.example", "secret": f'"{sites.SECRET}"'}
    site = sites.CulvertAndStrongSwan(lab, connections, {c.conn: their_connection(c) for c in CASES}, secret=secrets, ike=RETRANSMIT)
    site.outside.addresses("cl0", [f"{c.address}/16" for c in CASES if not c.absent])
    site.outside.addresses("lo", [f"10.2.{c.number}.1/24" for c in CASES])
    site.start()
    rows = []
    for case in CASES:
        provoke(case, site)
        rows.append(judge(r, case, site))
        if case.role == INITIATOR:
            site.culvert.terminate(case.conn)
        else:
            site.strongswan.terminate(case.conn, 2)
    r.table(["case", "Culvert is", "ended after", "exchange", "reason"], rows)
    r.check("culvertd is as it was", site.culvert.control.alive(), "")


report.run("ikev2_failures", body)

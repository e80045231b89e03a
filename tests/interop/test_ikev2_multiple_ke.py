#!/usr/bin/python3
"""Additional key exchanges of IKEv2 (RFC 9370): two Culverts, with their wire format as tshark reads it; against strongSwan 5.9, which has none, both roles.

Time limit: 120 s
Two Culverts have two additional key exchanges, in fragments; tshark must see IKE_SA_INIT with the transforms and the notification, IKE_INTERMEDIATE twice
with the next message IDs, and IKE_AUTH behind; CREATE_CHILD_SA of each rekeying with IKE_FOLLOWUP_KE behind. Packets go through before and after. strongSwan is spoken with without them where they may be
left out, by keN_none or by a second proposal, and refused by both sides where they may not; explain says so.
"""
import collections
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, ikev2, report, sites, strongswan  # noqa: E402
from lib.lab import Lab, wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

PLAIN = "aes256gcm16-prfsha384-curve25519"
TWO = f"{PLAIN}-ke1_modp6144-ke2_ecp384"
ESP = "aes128gcm16-curve25519-ke1_ecp384"
SA_INIT, AUTH, CREATE, INTERMEDIATE, FOLLOWUP, SUPPORTED, RESPONSE = 34, 35, 36, 43, 44, 16438, 0x20
FRAGMENT = 576
OUR, THEIRS = "10.9.0.1", "gw-a.example"
CASES = {1: ("may be left out", [f"{TWO}-ke1_none-ke2_none"], True), 2: ("beside a proposal without", [TWO, PLAIN], True), 3: ("required", [TWO], False)}


def rows(lab, pcap, *fields):
    """One row a message of IKE, fragments apart: the fields, each a list of numbers."""
    options = [part for field in fields for part in ("-e", f"isakmp.{field}")]
    text = tshark(lab, pcap, "-Y", "isakmp && !(esp)", "-T", "fields", *options)
    return [[[int(n, 0) for n in cell.split(",") if n] for cell in line.split("\t")] for line in text.splitlines() if line.strip()]


def two_culverts(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(gw, letter, peer, version=2, ike=TWO, esp=ESP, mobike=False), ike={"fragment_size": FRAGMENT}).start()
    # What a gateway sends by an af_packet port is seen by the other one alone.
    captures = [Capture(two.inside[letter], "gw0", f"wire-{letter}") for letter in "ba"]
    ok, text = two.gateway["a"].initiate("to-b", "net")
    r.check("two Culverts come up with two additional key exchanges", ok, str(text)[-300:])
    for capture in captures:
        capture.stop()
    suites = [gw.ike_sas()[0]["suite"] for gw in two.gateway.values()]
    r.check("... which both list", suites == [TWO, TWO], suites)
    seen = [row for capture in captures for row in rows(lab, capture.file, "exchangetype", "messageid", "flags", "nextpayload")]
    order = list(dict.fromkeys((e[0], m[0], f[0] & RESPONSE) for e, m, f, _ in seen))
    r.check("... one after the other, with the next message IDs", order == [(e, n, f) for f in (0, RESPONSE) for n, e in enumerate((SA_INIT, INTERMEDIATE, INTERMEDIATE, AUTH))], order)
    parts = collections.Counter((e[0], m[0], f[0] & RESPONSE) for e, m, f, _ in seen)
    r.check("... a long value in fragments, both ways", parts[INTERMEDIATE, 1, 0] > 1 and parts[INTERMEDIATE, 1, RESPONSE] > 1 and parts[INTERMEDIATE, 2, 0] == 1, parts)
    init = [row for capture in captures for row in rows(lab, capture.file, "exchangetype", "tf.type", "notify.msgtype") if row[0] == [SA_INIT]]
    r.check("... offered and chosen as transforms of types 6 and 7", len(init) == 2 and all({6, 7} <= set(row[1]) for row in init), init)
    r.check("... with INTERMEDIATE_EXCHANGE_SUPPORTED from both", all(SUPPORTED in row[2] for row in init), init)
    r.check("... and echoes go through", *ping(two.host["a"], sites.HOST["b"], count=2))
    capture = Capture(two.inside["b"], "gw0", "rekeyed", "udp")
    for letter, name in (("a", "to-b"), ("b", "to-a")):
        for what in (("--ike", name), (f"{name}/net",)):
            before = ikev2.in_use(two.gateway[letter], name)
            two.gateway[letter].cli("rekey", *what)
            wait_for(lambda: ikev2.in_use(two.gateway[letter], name) != before and all(len(s) == 1 for s in ikev2.in_use(two.gateway[letter], name)), 15, f"the rekeying of {what}")
            r.check(f"... also when {letter} has rekeyed {what[0].replace('--ike', 'the IKE SA')}", *ping(two.host["a"], sites.HOST["b"], count=2))
    capture.stop()
    suites = [gw.ike_sas()[0]["suite"] for gw in two.gateway.values()] + [gw.child_sas(states=("installed",))[0]["suite"] for gw in two.gateway.values()]
    r.check("... with all key exchanges", suites == [TWO, TWO, ESP, ESP], suites)
    asked = [row[0][0] for row in rows(lab, capture.file, "exchangetype", "flags") if not row[1][0] & RESPONSE]
    r.check("... one IKE_FOLLOWUP_KE for each additional one, behind CREATE_CHILD_SA", (asked.count(CREATE), asked.count(FOLLOWUP)) == (2, 3 + 1), asked)


def connections(gw):
    secret = gw.secret(sites.SECRET)
    return {f"case-{n}": gateway.connection(OUR, f"10.9.1.{n}", THEIRS, f"peer-{n}.example", proposals, secret,
                                            {"net": gateway.child(f"10.1.{n}.0/24", f"10.2.{n}.0/24", sites.ESP_SUITE)}, version=2)
            for n, (_, proposals, _) in CASES.items()}


def their_connections():
    return {f"case-{n}": strongswan.connection(f"10.9.1.{n}", OUR, f"peer-{n}.example", THEIRS, PLAIN,
                                               {f"case-{n}": strongswan.child(f"10.2.{n}.0/24", f"10.1.{n}.0/24", sites.ESP_SUITE)}, version=2, keyingtries=1)
            for n in CASES}


def with_strongswan(r, lab):
    site = sites.CulvertAndStrongSwan(lab, connections, their_connections())
    site.number(list(CASES))
    site.start()
    for n, (what, _, comes_up) in CASES.items():
        name = f"case-{n}"
        for role in ("Culvert", "strongSwan"):
            ok, text = site.culvert.initiate(name, "net") if role == "Culvert" else site.strongswan.initiate(name)
            r.check(f"{what}, {role} initiates: {'up' if comes_up else 'refused'}", bool(ok) == comes_up, str(text)[-300:])
            if comes_up:
                r.check(f"... without additional key exchanges, as {role} initiates", site.culvert.ike_sas(name)[0]["suite"] == PLAIN, site.culvert.ike_sas(name))
                r.check(f"... and echoes go through, as {role} initiates", *ping(site.host, f"10.2.{n}.1", f"10.1.{n}.10", count=2))
            site.culvert.terminate(name)
            site.strongswan.terminate(name, 2)
            wait_for(lambda: not site.culvert.child_sas(name) and not ikev2.their_sas(site.strongswan, name), 15, f"the end of {name}")
    found = site.culvert.result("explain", "case-3")["connections"][0]["failures"]
    said = {f["role"]: (f["causes"][0]["cause"] if f["causes"] else "", f["message"]) for f in found}
    r.check("explain names the proposals, in both roles", said.get("initiator", ("",))[0] == said.get("responder", ("",))[0] == "phase1_proposal", said)
    r.check("... and what is missing", "no additional key exchange is offered where ke1_modp6144 is wanted" in said.get("responder", ("", ""))[1], said)


def body(r, lab):
    two_culverts(r, lab)
    with Lab("ikev2-multiple-ke-swan", tag=f"{lab.tag}-sw") as other:
        with_strongswan(r, other)


report.run("ikev2-multiple-ke", body)

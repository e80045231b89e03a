#!/usr/bin/python3
"""IKEv2: quick crash detection (RFC 6290) between two Culverts: b loses everything but its disk, and a does not wait until it takes b for dead; it comes
back by a ticket (RFC 5723).

Time limit: 60 s
strongSwan 5.9 does not have it: what goes over the wire is decoded and the token made here, with Python's own HMAC, from the secret in b's state_dir.
"""
import hashlib
import hmac
import os
import stat
import struct
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import reaches  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

INFORMATIONAL, NOTIFY, RESPONSE = 37, 41, 0x20
INVALID_IKE_SPI, QUICK_CRASH_DETECTION = 4, 16419


def notices(lab, pcap):
    """The INFORMATIONAL responses in clear: (SPIs as 16 bytes, flags, {notification: (protocol, SPI's size, data)})."""
    found = []
    for text in tshark(lab, pcap, "-d", "udp.port==500,data", "-d", "udp.port==4500,data", "-T", "fields", "-e", "udp.srcport", "-e", "data.data").split("\n"):
        if "\t" not in text:
            continue
        port, payload = text.split("\t")
        message = bytes.fromhex(payload.replace(":", ""))
        if port == "4500" and message[:4] == bytes(4):
            message = message[4:]
        if len(message) < 28 or message[16] != NOTIFY or message[18] != INFORMATIONAL:
            continue
        notes, kind, rest = {}, message[16], message[28:]
        while kind == NOTIFY:
            kind, _, length, protocol, size, number = struct.unpack(">BBHBBH", rest[:8])
            notes[number] = (protocol, size, rest[8 + size:length])
            rest = rest[length:]
        found.append((message[:16], message[19], notes))
    return found


def lost(r, lab, two):
    a, b = two.gateway["a"], two.gateway["b"]
    r.check("a ping goes through", reaches(lambda: ping(two.host["a"], sites.HOST["b"], count=1)[0], 20, "an echo"))
    sa = a.ike_sas("to-b")[0]
    path = os.path.join(b.config["control"]["state_dir"], "crash-secret")
    info = os.stat(path)
    r.check("b's secret is its own", stat.S_IMODE(info.st_mode) == 0o600 and info.st_size == 32, oct(info.st_mode))
    r.check("b has a key for tickets", stat.S_IMODE(os.stat(os.path.join(os.path.dirname(path), "ticket-keys")).st_mode) == 0o600)
    capture = Capture(two.inside["a"], "gw0", "crash", "udp port 500 or udp port 4500")
    for process in b.control, b.dataplane:
        process.kill()
    b.start()
    r.check("a learns from b that it has lost the IKE SA", reaches(lambda: a.exchange_counts("peer_restarted")["informational"] == 1, 40, "the token"),
            f"{a.log()[-500:]}")
    r.check("... and all is up again", reaches(lambda: ping(two.host["a"], sites.HOST["b"], count=1)[0], 20, "an echo"), a.log()[-500:])
    r.check("... by a's ticket, whose key b has kept (RFC 5723)", "comes back by a ticket" in b.log(), b.log()[-500:])
    r.check("... without b's having been taken for dead", a.exchange_counts("dpd_timeout")["dpd"] == 0, str(a.exchange_counts("dpd_timeout")))
    failures = a.result("explain", "to-b")["connections"][0]["failures"]
    r.check("explain says so", any(f["causes"][0]["cause"] == "peer_restarted" for f in failures), str(failures)[:400])
    capture.stop()
    said = notices(lab, capture.file)
    spis = bytes.fromhex(sa["initiator_spi"] + sa["responder_spi"])
    with open(path, "rb") as f:
        token = hmac.new(f.read(), spis, hashlib.sha256).digest()[:16]
    expected = (spis, RESPONSE, {INVALID_IKE_SPI: (0, 0, b""), QUICK_CRASH_DETECTION: (1, 0, token)})
    r.check("on the wire: INVALID_IKE_SPI and the token, made of the secret and both SPIs", said and all(s == expected for s in said), f"{said} {expected}")


def body(r, lab):
    def configure(gw, letter, peer):
        gw.config["control"]["state_dir"] = os.path.dirname(lab.write(f"state-{letter}/here", ""))
        return sites.culvert_connection(gw, letter, peer, start="start" if letter == "a" else "none", version=2, dpd_delay="5s", resumption="yes")

    lost(r, lab, sites.TwoCulverts(lab, configure).start())


report.run("ikev2_crash", body)

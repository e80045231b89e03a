#!/usr/bin/python3
"""The wall clock jumps by days and decades while tunnels carry traffic and are rekeyed: only the validity of certificates follows it.

Time limit: 60 s. Mostly waits. Row attack-O3 of tests/attacks.txt.
Two Culverts; both processes of a see the wall clock through libfaketime, which reads its offset from a file. Pings run both ways over all jumps.
No echo may be lost, CHILD SAs and ISAKMP SAs are rekeyed at the pace that is configured, and dead-peer detection finds nobody dead. A second connection has
certificates: a day before they begin and years after they end a refuses the peer's for that reason, and takes it again when the clock is right.
"""
import glob
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import certificates, gateway, report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

DAY = 86400
YEAR = 365 * DAY
OVER_2038 = None                                     # to the second before 2^31, on whose other side the tunnels are rekeyed next
JUMPS = (("a day ahead", DAY), ("a day back", -DAY), ("ten years ahead", 10 * YEAR), ("ten years back", -10 * YEAR), ("over 2038", OVER_2038), ("home again", 0))
STAY, REKEY, IKE_REKEY = 2.2, 2, 4
IKE = {"rekey_time": f"{IKE_REKEY}s", "over_time": "20s", "rand_time": "0s", "dpd_delay": "1s", "dpd_timeout": "4s"}
CHILD = {"rekey_time": f"{REKEY}s", "life_time": "60s", "rand_time": "0s"}
WITH_CERTIFICATES = "aes256-sha256-ecp256"


def connections(gw, letter, peer, authority, own):
    certificate, key = own[letter]
    signed = {
        "local_addrs": [sites.ADDRESS[letter]], "remote_addrs": [sites.ADDRESS[peer]], "proposals": [WITH_CERTIFICATES],
        "local": {"auth": "pubkey", "certs": [certificate], "key": f"file:{key}", "id": f"{letter}.signed.example"},
        "remote": {"auth": "pubkey", "id": f"{peer}.signed.example", "cacerts": [authority.file]},
        "children": {"net": gateway.child(*(("10.101.0.0/24", "10.102.0.0/24") if letter == "a" else ("10.102.0.0/24", "10.101.0.0/24")), sites.ESP_SUITE)}}
    return {**sites.culvert_connection(gw, letter, peer, start="start" if letter == "a" else "none", ike=WITH_CERTIFICATES, child_settings=CHILD,
                                       **(IKE if letter == "a" else {"dpd_delay": "1s", "dpd_timeout": "4s"})), "signed": signed}


def check_refused(r, what, gw, why):
    """Asked for the connection with certificates, it refuses the peer's for this reason."""
    up, _ = gw.initiate("signed", seconds=4)
    said = gw.cli_text("explain", "signed")
    gw.terminate("signed")
    r.check(what, not up and why in said, "" if why in said else said)


def body(r, lab):
    library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not library:
        r.check("libfaketime is installed", False)
        return
    authority = certificates.Authority(lab)
    own = {letter: authority.issue(f"{letter}.signed.example", "ecdsa-256") for letter in "ab"}
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: connections(gw, letter, peer, authority, own))
    a, b = two.gateway["a"], two.gateway["b"]
    clock = lab.write("offset", "+0\n")
    a.environment = {"LD_PRELOAD": library[0], "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    two.start()
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0], 20, "the first echo")
    counted, begun = a.exchange_counts(), time.monotonic()
    pings = [Ping(two.host[x], f"{x}{y}", sites.HOST[y]) for x, y in ("ab", "ba")]
    rows = []
    for what, offset in JUMPS:
        before = a.exchange_counts()
        lab.write("offset", f"{(1 << 31) - int(time.time()) - 1 if offset is OVER_2038 else offset:+d}\n")
        if offset == -DAY:
            check_refused(r, "a day before its certificate begins the peer is refused", a, "is not valid before")
        elif offset == 10 * YEAR:
            check_refused(r, "years after its certificate has ended the peer is refused", a, "is expired since")
        elif offset == 0:
            r.check("with the right time it is taken", a.initiate("signed", seconds=8)[0])
        time.sleep(STAY)
        now, year = a.exchange_counts(), a.control.output().splitlines()[-1][:4]
        rows.append([what, year, now["quick_mode"] - before["quick_mode"], now["main_mode"] - before["main_mode"], a.child_up("to-b", "net")])
    seconds = time.monotonic() - begun
    results = [p.stop() for p in pings]
    r.table(["jump", "the log's last year", "Quick Modes", "Main Modes", "up"], rows)
    for way, result in zip(("a to b", "b to a"), results):
        r.check(f"no echo lost {way} over {len(JUMPS)} jumps", not result.lost, result)
    now = a.exchange_counts()
    quick, main = now["quick_mode"] - counted["quick_mode"], now["main_mode"] - counted["main_mode"]
    # Both ends rekey, and at times both at once; one Quick Mode more is the other connection's. A jump that made one due would add one each time.
    r.check("CHILD SAs are rekeyed at their pace", seconds / REKEY * 0.5 <= quick <= 2 * seconds / REKEY + 3, f"{quick} in {seconds:.0f} s, one each {REKEY} s")
    r.check("ISAKMP SAs are rekeyed at theirs", seconds / IKE_REKEY * 0.5 <= main <= seconds / IKE_REKEY * 1.5 + 4, f"{main} in {seconds:.0f} s, one each {IKE_REKEY} s")
    r.check("the log shows that the clock did jump", {"2038"} <= {row[1] for row in rows}, [row[1] for row in rows])
    r.check("nobody was taken for dead", "dead" not in a.log() + b.log() and all(row[4] for row in rows))


report.run("clock", body)

#!/usr/bin/python3
"""tshark as the judge of every message: captures of all exchanges, decrypted with the keys that strongSwan logged.

Time limit: 120 s
Main and aggressive mode in both roles, XAuth and mode config, quick mode with and without perfect forward secrecy, rekeying of both kinds, dead-peer detection, NAT keepalives,
delete from both sides, a refused proposal and refused proxy identities, ESP in UDP. No packet may be malformed, no expert item an error, and
no IP or UDP checksum wrong; every encrypted IKE message and every ESP packet must decrypt.
"""
import collections
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, keys, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

CONNECTIONS = {  # name: (IKE suite, their IKE suite, ESP suite, their net)
    "plain": ("aes128-sha1-modp2048", "aes128-sha1-modp2048", "aes128gcm16", None),
    "pfs": ("aes256-sha256-ecp256", "aes256-sha256-ecp256", "aes256-sha256-ecp384", None),
    "long": ("aes192-sha512-modp4096", "aes192-sha512-modp4096", "aes256gcm16-modp4096", None),
    "refused": ("aes256-sha256-modp2048", "aes128-sha512-ecp521", "aes128gcm16", None),
    "narrow": ("aes256-sha384-ecp521", "aes256-sha384-ecp521", "aes128-sha1", "10.77.0.0/24"),
    "hasty": ("aes256-sha256-modp2048", "aes256-sha256-modp2048", "aes128gcm16", None),      # Aggressive Mode
    "user": ("aes128-sha256-ecp256", "aes128-sha256-ecp256", "aes256gcm16", None),           # strongSwan is a user: XAuth, and Mode Config for its address
}
GOOD = ("plain", "pfs", "long", "hasty", "user")
USER, PASSWORD = "alice", "a-password"
CHECKSUMS = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]


def decode_options(log):
    """tshark's settings to decrypt IKE. (It decrypts AES-GCM ESP without checking it, and trips over the result: keys.py does that.)"""
    options = list(CHECKSUMS)
    for cookie, key in keys.ike_keys(log).items():
        options += ["-o", f"uat:ikev1_decryption_table:{cookie},{key}"]
    return options


def body(r, lab):
    numbers = {name: n for n, name in enumerate(CONNECTIONS, 1)}

    def connections(gw):
        secret = gw.secret(sites.SECRET)
        found = {name: gateway.connection(sites.ADDRESS["a"], f"10.9.1.{numbers[name]}", sites.IDENTITY["a"], f"{name}.example", ike, secret,
                                         {name: gateway.child(f"10.1.{numbers[name]}.0/24", f"10.2.{numbers[name]}.0/24", esp)}, dpd_delay="2s")
                 for name, (ike, _, esp, _) in CONNECTIONS.items()}
        found["hasty"].update(aggressive=True, aggressive_psk_exposes_hash_to_offline_guessing=True)
        found["user"]["remote"]["xauth"] = {"users": "file:" + gw.secret(f"{USER}:{{plain}}{PASSWORD}", "users")}
        found["user"]["pools"] = ["users"]
        found["user"]["children"]["user"]["remote_ts"] = ["dynamic"]
        return found
    theirs = {name: strongswan.connection(f"10.9.1.{numbers[name]}", sites.ADDRESS["a"], f"{name}.example", sites.IDENTITY["a"], ike,
                                          {name: strongswan.child(net or f"10.2.{numbers[name]}.0/24", f"10.1.{numbers[name]}.0/24", esp)},
                                          dpd_delay="3s", keyingtries=1)
              for name, (_, ike, esp, net) in CONNECTIONS.items()}
    theirs["hasty"]["aggressive"] = "yes"
    theirs["user"].update({"vips": "0.0.0.0", "local-user": {"auth": "xauth", "xauth_id": USER}})
    theirs["user"]["children"]["user"]["local_ts"] = "dynamic"
    secrets = {"ike-all": {"secret": f'"{sites.SECRET}"'}, "xauth-user": {"id": USER, "secret": f'"{PASSWORD}"'}}
    site = sites.CulvertAndStrongSwan(lab, connections, theirs, secret=secrets, keys=True, ike={"keepalive": "5s"},
                                      pools={"users": {"addrs": "10.3.0.0/24", "dns": ["10.1.0.53"], "split_include": ["10.1.0.0/16"], "banner": "Welcome."}})
    site.strongswan.add_options("i_dont_care_about_security_and_use_aggressive_mode_psk = yes")
    site.number(numbers.values())
    capture = Capture(site.outside, "cl0", "wire")
    site.start()
    for role in ("initiator", "responder"):
        for name in (name for name in CONNECTIONS if (role, name) != ("initiator", "user")):
            ok = site.culvert.initiate(name, name, 8)[0] if role == "initiator" else site.strongswan.initiate(name, 8)[0]
            good = name in GOOD
            if ok != good:
                r.check(f"{name} with Culvert as {role} {'establishes' if good else 'is refused'}", False)
            if ok:
                time.sleep(0.1)
                ping(site.host, f"10.2.{numbers[name]}.1", f"10.1.{numbers[name]}.10", size=1372, count=2, interval=0.05)
        site.culvert.result("rekey", "plain/plain")
        site.strongswan.swanctl("rekey", "--child", "pfs", check=False)
        site.culvert.result("rekey", "long", "--ike")
        site.strongswan.swanctl("rekey", "--ike", "pfs", "--reauth", check=False)
        time.sleep(6)
        for name in (name for name in CONNECTIONS if (role, name) != ("initiator", "user")):
            ping(site.host, f"10.2.{numbers[name]}.1", f"10.1.{numbers[name]}.10", count=1)
            site.culvert.terminate(name) if role == "initiator" else site.strongswan.terminate(name, 3)
        wait_for(lambda: not site.strongswan.child_sas(), 10, "the end of all SAs")
    capture.stop()
    whole = capture.file
    capture.file = lab.path("judged.pcap")
    r.note(f"{keys.without_repeats(whole, capture.file)} retransmitted IKE datagrams are left out: each was judged once")

    log = site.strongswan.log_text()
    decode = decode_options(log)
    counts = collections.Counter()
    for line in tshark(lab, capture.file, *decode, "-T", "fields", "-e", "ip.src", "-e", "isakmp.exchangetype", "-e", "_ws.col.Protocol").splitlines():
        source, exchange, protocol = (line.split("\t") + ["", ""])[:3]
        side = "Culvert" if source == sites.ADDRESS["a"] else "strongSwan"
        kind = {"2": "main mode", "4": "aggressive mode", "5": "informational", "6": "transaction", "32": "quick mode"}.get(exchange, protocol)
        counts[kind, side] += 1
    r.table(["packets", "Culvert", "strongSwan"], [[kind, counts[kind, "Culvert"], counts[kind, "strongSwan"]] for kind in sorted({k for k, _ in counts})])
    for kind in ("main mode", "aggressive mode", "transaction", "quick mode", "informational"):
        r.check(f"the capture holds {kind} of both", counts[kind, "Culvert"] and counts[kind, "strongSwan"])
    for title, expression in (("malformed packet", "_ws.malformed"), ("expert error", "_ws.expert.severity == error"),
                              ("wrong checksum", f"ip.src == {sites.ADDRESS['a']} && (ip.checksum.status == bad || udp.checksum.status == bad)"),
                              ("encrypted IKE message that does not decrypt", "isakmp.flag_e == 1 && !(isakmp.typepayload == 8)")):
        found = tshark(lab, capture.file, *decode, "-Y", expression).splitlines()
        r.check(f"no {title}", not found, "; ".join(found[:3]))
    opened = tshark(lab, capture.file, *decode, "-Y", "isakmp.flag_e == 1 && isakmp.typepayload == 8").splitlines()
    r.check("encrypted IKE messages were decrypted for this", len(opened) > 10, len(opened))
    notes = tshark(lab, capture.file, *decode, "-Y", "_ws.expert.severity == warning", "-T", "fields", "-e", "_ws.expert.message")
    for text, number in collections.Counter(re.split(r"[\n,]", notes.strip())).most_common(8):
        if text:
            r.note(f"tshark remarks (not an error) {number} times: {text}")
    gcm = {spi: pair for spi, pair in keys.esp_keys(log).items() if len(pair[0]) in (20, 36)}
    packets = [esp for _, _, _, esp in keys.esp_packets(capture.file) if int.from_bytes(esp[:4], "big") in gcm]
    opened = [esp for esp in packets if keys.decrypt(esp, gcm) is not None]
    r.check("every AES-GCM ESP packet authenticates and decrypts", len(packets) == len(opened) >= 8, f"{len(opened)} of {len(packets)}")


report.run("wire", body)

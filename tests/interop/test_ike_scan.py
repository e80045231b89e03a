#!/usr/bin/python3
"""ike-scan, the prober, and psk-crack: what a stranger learns of a gateway in Main and in Aggressive Mode, and what it does not.

Time limit: 220 s
Mostly waits: for two minutes, in which nothing of all that may be answered with more than one and a half times what it took. Each policy is a connection with an address of Culvert's. With Aggressive Mode off there is no hash to guess secrets by, and a group that is
configured is answered like one that is not; where a connection answers it, ike-scan finds what the configuration warns of
(attack-E8, attack-E13).
"""
import os
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites  # noqa: E402
from lib.certificates import Authority  # noqa: E402
from lib.traffic import Capture, tshark  # noqa: E402

MAIN, OPEN, SIGNED, ASKS, GROUP = (f"10.9.0.{n}" for n in (1, 11, 12, 13, 14))
SECRET = "winter2026"                                          # as bad as those that are found in the field
SUITE, TRANSFORM = "aes256-sha1-modp2048", "(1=7,14=256,2=2,3={auth},4=14)"       # SHA-1: psk-crack knows no other hash that is taken here
IDENTITY = "road.example"
XAUTH, DPD, UNKNOWN = "09002689dfd6b712", "afcad71368a1f1c96b8696fc77570100", "deadbeefdeadbeefdeadbeef"


def connections(gw, lab):
    """By name: which address answers what."""
    secret = gw.secret(SECRET)
    certificate, key = Authority(lab).issue(sites.IDENTITY["a"], "rsa")

    def one(address, **extra):
        return gateway.connection(address, "%any", sites.IDENTITY["a"], IDENTITY, SUITE, secret,
                                  {"net": gateway.child(sites.NET["a"], "dynamic", sites.ESP_SUITE)}, **extra)
    signed = one(SIGNED, aggressive=True)
    signed["local"].update(auth="pubkey", certs=[certificate], key=f"file:{key}")
    signed["remote"].update(auth="pubkey", cacerts=[os.path.join(os.path.dirname(key), "ca.pem")])
    del signed["secret"]
    asks = one(ASKS, aggressive=True)                          # initiates Aggressive Mode, and does not answer it
    asks["remote_addrs"] = ["10.9.5.5", sites.ADDRESS["b"]]
    opened = one(OPEN, aggressive=True, aggressive_psk_exposes_hash_to_offline_guessing=True)
    return {"main": one(MAIN), "open": opened, "signed": signed, "asks": asks}


class Scanner:
    def __init__(self, site):
        self.site, self.runs = site, 0

    def scan(self, target, *arguments, trans=TRANSFORM.format(auth=1), crack=False):
        """(what ike-scan says of its target, the hashes in its file for psk-crack, or None without one)"""
        self.runs += 1
        path = self.site.lab.path(f"scan-{self.runs}.psk")
        text = self.site.outside.sh("ike-scan", "--sport=500", "--multiline", "--timeout=1500", "--retry=2", f"--trans={trans}", *arguments,
                                    *([f"--pskcrack={path}"] if crack else []), target, check=False)
        hashes = None
        if os.path.exists(path):
            with open(path, encoding="ascii") as f:
                hashes = f.read().split()
        return text, hashes

    def aggressive(self, target, identity=IDENTITY, auth=1):
        return self.scan(target, "--aggressive", "--dhgroup=14", "--idtype=2", f"--id={identity}", trans=TRANSFORM.format(auth=auth), crack=True)

    def crack(self, hashes, words):
        """psk-crack's verdict with a dictionary."""
        found, dictionary = self.site.lab.write("hashes.psk", "\n".join(hashes) + "\n"), self.site.lab.write("words", "\n".join(words) + "\n")
        return self.site.lab.sh("psk-crack", f"--dictionary={dictionary}", found, check=False)


def without_names(text):
    """An answer without what is new in each: cookies and times."""
    return re.sub(r"CKY-R=[0-9a-f]+|HDR=\(.*?\)|in [0-9.]+ seconds.*", "", text)


def handshake(text):
    return "1 returned handshake; 0 returned notify" in text


def counted(culvert, exchange, reason):
    return culvert.exchange_counts(reason)[exchange]


def main_mode(r, scanner, culvert):
    text, _ = scanner.scan(MAIN, f"--vendor={XAUTH}", f"--vendor={UNKNOWN}", f"--vendor={DPD}")
    r.check("Main Mode is answered with the suite of the connection",
            handshake(text) and all(part in text for part in ("Enc=AES KeyLength=256", "Hash=SHA1", "Group=14:modp2048", "Auth=PSK")), text)
    vids = re.findall(r"VID=(\S+)", text)
    r.check("... and with no vendor id but one that was announced", vids == [DPD], vids)
    text, _ = scanner.scan(MAIN, trans="(1=5,2=1,3=1,4=2)")
    r.check("a weak suite that is not configured gets NO-PROPOSAL-CHOSEN", "Notify message 14 (NO-PROPOSAL-CHOSEN)" in text, text)
    r.check("... and is counted", counted(culvert, "main_mode", "no_proposal_chosen") == 1)
    text, _ = scanner.scan(OPEN)
    r.check("Main Mode where aggressive is set is refused by its type", "0 returned handshake; 1 returned notify" in text and "INVALID-EXCHANGE-TYPE" in text, text)
    r.check("... and is counted", counted(culvert, "main_mode", "other_mode") == 1)
    text, _ = scanner.scan(MAIN, "--showbackoff=3")
    r.check("message 2 is sent once: a stranger's address is not sent repeats", len(re.findall(rf"^{re.escape(MAIN)}\s+\d+\s", text, re.M)) == 1, text[-400:])


def aggressive_off(r, scanner, culvert):
    half_open = culvert.metric("culvert_ike_half_open_sas")
    for name, target in (("Main Mode is configured", MAIN), ("Aggressive Mode is initiated only", ASKS)):
        before = counted(culvert, "aggressive_mode", "other_mode")
        known, hashes = scanner.aggressive(target)
        unknown, more = scanner.aggressive(target, "nobody.example")
        r.check(f"{name}: Aggressive Mode is refused by its type", "0 returned handshake; 1 returned notify" in known and "INVALID-EXCHANGE-TYPE" in known, known)
        r.check("... without a hash for psk-crack", hashes is None and more is None, f"{hashes} {more}")
        r.check("... and alike for an identity that is configured and for one that is not", without_names(known) == without_names(unknown), f"{known}\n{unknown}")
        r.check("... and both are counted", counted(culvert, "aggressive_mode", "other_mode") == before + 2)
    r.check("nothing of it is half open", culvert.metric("culvert_ike_half_open_sas") == half_open)


def aggressive_on(r, scanner, culvert):
    text, hashes = scanner.aggressive(OPEN)
    r.check("Aggressive Mode is answered where the connection says so", handshake(text) and f"Value={sites.IDENTITY['a']}" in text.replace('"', ""), text)
    words = ["summer2026", SECRET, "letmein"]
    r.check("... with the hash that the key's name warns of: psk-crack finds the secret", bool(hashes) and f'key "{SECRET}" matches' in scanner.crack(hashes, words), hashes)
    stranger, hashes = scanner.aggressive(OPEN, "nobody.example")
    r.check("an identity that is not configured is answered alike", handshake(stranger) and without_names(text) == without_names(stranger), stranger)
    r.check("... with a hash that says nothing of the secret", bool(hashes) and "matches" not in scanner.crack(hashes, words), hashes)
    r.check("... and is counted", counted(culvert, "aggressive_mode", "wrong_identity") >= 1)
    signed, hashes = scanner.aggressive(SIGNED, auth=3)
    r.check("with signatures Aggressive Mode is answered, and there is no hash", handshake(signed) and "Auth=RSA_Sig" in signed and hashes is None, f"{signed} {hashes}")


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "cl0", f"{sites.ADDRESS['b']}/16")
        self.culvert = sites.culvert(lab, self.inside, "a", ["b"])
        self.culvert.config["ports"]["wan"]["addresses"] += [f"{a}/16" for a in (OPEN, SIGNED, ASKS)]
        self.culvert.config["connections"] = connections(self.culvert, lab)
        self.culvert.write()
        self.culvert.start()


def amplification(r, lab, capture):
    """Bytes of IP on the wire, whatever was repeated included."""
    time.sleep(120)
    capture.stop()
    sent, got = (sum(map(int, tshark(lab, capture.file, "-Y", f"udp && {field} == {sites.ADDRESS['b']}", "-T", "fields", "-e", "ip.len").split()))
                 for field in ("ip.src", "ip.dst"))
    r.check("bytes out over bytes in, over two minutes, are at most 1.5 for a stranger", 0 < got <= 1.5 * sent, f"{got} out, {sent} in: {got / max(sent, 1):.2f}")


def body(r, lab):
    site = Site(lab)
    scanner = Scanner(site)
    capture = Capture(site.outside, "cl0", "strangers")
    main_mode(r, scanner, site.culvert)
    aggressive_off(r, scanner, site.culvert)
    aggressive_on(r, scanner, site.culvert)
    amplification(r, lab, capture)


report.run("ike_scan", body)

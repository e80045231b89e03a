#!/usr/bin/python3
"""Long IKE messages between Culvert and strongSwan, both roles: in fragments of IKE's own (Cisco's and Microsoft's), and as IP fragments.

Time limit: 150 s
The path drops every IP fragment and every packet above 576 bytes, and the messages with a key of MODP-4096 are longer: without fragments of IKE's own
nothing comes up, which one case shows. Then 1,280 bytes, and certificates of 4 kB at both ends. Last, neither end fragments IKE messages, and
a path of the same width takes IP fragments: they arrive, too.
"""
import os
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import pki, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

SUITE, LIMIT, WIDTH, CERTIFICATE = "aes256-sha256-modp4096", 576, 1280, 4000


def narrow(pair, lab, limit):
    """The path to strongSwan drops what is longer, and IP fragments."""
    pair.outside.sh("nft", "-f", lab.write(f"path-{limit}.nft", f"""table netdev path
delete table netdev path
table netdev path {{
  chain in {{
    type filter hook ingress device cl0 priority 0
    ip protocol udp ip frag-off & 0x3fff != 0 drop
    udp dport {{ 500, 4500 }} ip length > {limit} drop
  }}
}}
"""))


def establish(r, pair, what, initiator, ours, connections):
    """One negotiation, after Culvert was told anew how it fragments; strongSwan has been told before."""
    pair.culvert.control.stop()
    pair.culvert.config["connections"] = connections(pair.culvert, ours)
    pair.culvert.write()
    pair.culvert.start_control()
    wait_for(lambda: pair.culvert.result("list-conns")["dataplane"]["connected"], 20, "the new culvertd to attach")
    if initiator == "strongSwan":
        ok, detail = pair.strongswan.initiate("net", seconds=25)
    else:
        ok, detail = pair.culvert.initiate("to-b", "net", seconds=25)
    r.check(what, ok, "" if ok else str(detail)[-300:])
    r.check(f"{what}: ping", *ping(pair.host, sites.INSIDE["b"]))
    pair.strongswan.terminate("to-a")


class Seen:
    """The lengths of the IP packets of a capture: of fragments of IKE's own, and of IP fragments, by source."""

    def __init__(self, lab, capture):
        self.ike, self.ip = {"a": [], "b": []}, {"a": [], "b": []}
        letter = {address: letter for letter, address in sites.ADDRESS.items()}
        rows = tshark(lab, capture.file, "-o", "ip.defragment:FALSE", "-Y", "isakmp.typepayload == 132 || ip.flags.mf == 1 || ip.frag_offset > 0", "-T", "fields",
                      "-e", "ip.src", "-e", "ip.len", "-e", "ip.flags.mf", "-e", "ip.frag_offset").splitlines()
        for source, length, more, offset in (row.split("\t") for row in rows):
            (self.ip if more in ("1", "True") or int(offset) > 0 else self.ike)[letter[source]].append(int(length))


def with_keys(gw, fragmentation):
    return sites.culvert_connection(gw, "a", "b", ike=SUITE, fragmentation=fragmentation)


def long_keys(r, lab, pair):
    narrow(pair, lab, LIMIT)
    capture = Capture(pair.outside, "cl0", "fragments")
    establish(r, pair, "strongSwan initiates", "strongSwan", "yes", with_keys)
    establish(r, pair, "Culvert initiates", "Culvert", "yes", with_keys)
    establish(r, pair, "Culvert initiates, forced", "Culvert", "force", with_keys)
    capture.stop()
    seen = Seen(lab, capture)
    for source, sizes in seen.ike.items():
        r.check(f"fragments from {source}, none too long", len(sizes) >= 6 and max(sizes) <= LIMIT, f"{len(sizes)} of {set(sizes)} bytes")
    pair.culvert.control.stop()
    pair.culvert.config["connections"] = with_keys(pair.culvert, "no")
    pair.culvert.write()
    pair.culvert.start_control()
    ok, _ = pair.culvert.initiate("to-b", "net", seconds=5)
    r.check("without fragments it cannot work on this path", not ok, "it did not come up")


class Certificates:
    """Of 4 kB each, for their many names. Culvert's key has 4,096 bits."""

    def __init__(self, lab, pair):
        root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p256", 1), ca=True)
        names = [f"DNS:another-name-of-it-{n:03}.long.example" for n in range(95)]
        self.issued = {letter: pki.Issued(f"C=CH, O=Example, CN=gw-{letter}", pki.key("rsa4096" if letter == "a" else "rsa2048", n), root, san=[f"DNS:{sites.IDENTITY[letter]}", *names])
                       for n, letter in enumerate("ab")}
        self.files = {"cert": lab.write("a/gw.pem", self.issued["a"].pem()), "key": lab.write("a/gw.key", pki.pem(self.issued["a"].private)),
                      "root": lab.write("a/root.pem", root.pem())}
        os.chmod(self.files["key"], 0o600)
        for part, file, text in (("x509", "peer.pem", self.issued["b"].pem()), ("x509ca", "root.pem", root.pem()), ("private", "peer.pem", pki.pem(self.issued["b"].private))):
            lab.write(f"strongswan/swanctl/{part}/{file}", text)

    def ours(self, gw, fragmentation):
        found = sites.culvert_connection(gw, "a", "b", fragmentation=fragmentation)
        del found["to-b"]["secret"]
        found["to-b"].update(local={"auth": "pubkey", "id": sites.IDENTITY["a"], "certs": [self.files["cert"]], "key": f"file:{self.files['key']}"},
                             remote={"auth": "pubkey", "id": sites.IDENTITY["b"], "cacerts": [self.files["root"]]})
        return found

    def tell(self, pair, fragmentation):
        found = sites.strongswan_connection("b", "a", fragmentation=fragmentation)
        found["to-a"]["local"].update(auth="pubkey", certs="peer.pem")
        found["to-a"]["remote"].update(auth="pubkey")
        found["to-a"]["send_cert"] = "always"
        pair.strongswan.configure(found, {})
        pair.strongswan.load()


def long_certificates(r, lab, pair):
    c = Certificates(lab, pair)
    sizes = [issued.size() for issued in c.issued.values()]
    r.check("the certificates are long", min(sizes) >= CERTIFICATE, sizes)
    pair.outside.sh("ip", "link", "set", "cl0", "mtu", str(WIDTH))
    narrow(pair, lab, WIDTH)
    capture = Capture(pair.outside, "cl0", "certificates")
    for theirs, ours, initiator in (("yes", "yes", "strongSwan"), ("yes", "yes", "Culvert"), ("force", "force", "strongSwan"), ("force", "force", "Culvert")):
        c.tell(pair, theirs)
        establish(r, pair, f"certificates, {initiator} initiates, fragmentation: {ours}", initiator, ours, c.ours)
    capture.stop()
    seen = Seen(lab, capture)
    for source, sizes in seen.ike.items():
        r.check(f"certificates from {source} came in fragments of IKE's own", len(sizes) >= 16 and max(sizes) <= WIDTH and not seen.ip[source],
                f"{len(sizes)}, the longest of {max(sizes)} bytes; {len(seen.ip[source])} IP fragments")


def ip_fragments(r, lab, pair):
    """Of a peer, or of us, that does not do IKE's."""
    c = Certificates(lab, pair)
    pair.outside.sh("nft", "delete", "table", "netdev", "path")
    capture = Capture(pair.outside, "cl0", "ip-fragments")
    for initiator in ("strongSwan", "Culvert"):
        c.tell(pair, "no")
        establish(r, pair, f"certificates, {initiator} initiates, as IP fragments", initiator, "no", c.ours)
    capture.stop()
    seen = Seen(lab, capture)
    for source, sizes in seen.ip.items():
        r.check(f"certificates from {source} came in IP fragments", len(sizes) >= 8 and max(sizes) <= WIDTH and not seen.ike[source],
                f"{len(sizes)}, the longest of {max(sizes)} bytes")
    lost = {reason: count for reason, count in pair.culvert.drops().items() if count and reason in ("rx_malformed", "local_fragment", "punt_invalid")}
    r.check("no fragment was dropped", not lost, lost)


def body(r, lab):
    pair = sites.CulvertAndStrongSwan(lab, lambda gw: with_keys(gw, "yes"), sites.strongswan_connection("b", "a", ike=SUITE, fragmentation="yes"),
                                      ike={"fragment_size": LIMIT})
    pair.strongswan.add_options(f"fragment_size = {LIMIT}")
    pair.start()
    long_keys(r, lab, pair)
    # The rest is of the width that both have where nothing is said.
    pair.strongswan.stop()
    pair.strongswan = strongswan.StrongSwan(lab, pair.outside, "strongswan", {}, {}).start()
    pair.culvert.config["ike"] = {"fragment_size": WIDTH}
    pair.culvert.config["ports"]["wan"]["mtu"] = WIDTH
    pair.culvert.stop()
    pair.culvert.write()
    pair.culvert.start()
    long_certificates(r, lab, pair)
    ip_fragments(r, lab, pair)


report.run("fragmentation", body)

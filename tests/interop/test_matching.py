#!/usr/bin/python3
"""Which connection a strongSwan peer is taken for: by pre-shared key, address, identity and certificate, all of them calling one gateway address.

Time limit: 90 s
Connections for %any have secrets of their own: the one that message 5 of Main Mode proves is meant, and a wrong secret is told apart from a wrong name.
Others are for networks and ranges of addresses, `*@example.org`, `C=CH, O=*`, the last one twice,
with another authority each. We prove ourselves by certificate without an id: its subject is our name.
Each peer is a connection of one charon, with an address of its own; all begin at once. Then: one identity from two places; two ISAKMP SAs of one peer.
"""
import concurrent.futures
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, pki, report, sites, strongswan  # noqa: E402
from lib.lab import wait_for  # noqa: E402

BESIDE = 24           # seconds; a successor's predecessor would be gone by then
IKE, ESP = "aes256-sha256-ecp256", "aes256gcm16"
SUBJECT = "C=CH, O=Example, CN=gw-a"
SECRETS = {name: f"the secret of {name}, 0123456789" for name in ("anna", "bert", "carl", "mail", "range", "twin", "nobody")}


class Peer:
    """`taken`: the connection that it must be taken for, or None. `cause`: why it is refused, and `words` that the record must show."""

    def __init__(self, name, secret, identity, taken, address=None, cause=None, words=(), certificate=None, remote_ts=sites.NET["a"], authority="root",
                 rekey_time="4h"):
        self.name, self.secret, self.identity, self.taken, self.address = name, secret, identity, taken, address
        self.cause, self.words, self.certificate, self.remote_ts, self.authority = cause, words, certificate, remote_ts, authority
        self.rekey_time = rekey_time

    def connection(self):
        child = strongswan.child("dynamic", self.remote_ts, ESP)
        found = strongswan.connection(self.address, sites.ADDRESS["a"], self.identity, sites.IDENTITY["a"], IKE, {self.name: child}, keyingtries=1, unique="never",
                                       reauth_time=0, rekey_time=self.rekey_time)
        if self.certificate:
            found["local"].update(auth="pubkey", certs=f"{self.name}.pem", id=f'"{self.identity}"')
            found["remote"].update(auth="pubkey", id=f'"{SUBJECT}"')
            found["send_cert"] = "always"
        return found


PEERS = [
    Peer("anna", "anna", "anna.example", "anna"),
    Peer("bert", "bert", "bert.example", "bert"),
    Peer("dora", "nobody", "dora.example", None, cause="secret"),
    Peer("eric", "anna", "eric.example", None, cause="peer_identity", words=("eric.example", "anna.example")),
    Peer("carl", "bert", "carl.example", None, cause="peer_identity", words=("carl.example", "bert.example")),
    Peer("mail", "mail", "eve@example.org", "mail"),
    Peer("mail-else", "mail", "eve@example.net", None, cause="peer_identity", words=("eve@example.net", "*@example.org")),
    Peer("network", "range", "one.range.example", "range", address="10.9.2.7"),
    Peer("range-end", "range", "two.range.example", "range", address="10.9.3.5"),
    Peer("behind-range", "range", "three.range.example", None, address="10.9.3.6", cause="secret"),
    Peer("foo", None, "C=CH, O=Foo", "certified", certificate="C=CH, O=Foo"),
    Peer("bar", None, "C=CH, O=Bar", "certified", certificate="C=CH, O=Bar"),
    Peer("german", None, "C=DE, O=Foo", None, certificate="C=DE, O=Foo", cause="peer_identity", words=("C=DE, O=Foo", "C=CH, O=*")),
    Peer("other", None, "C=CH, O=Other", "of-other", certificate="C=CH, O=Other", authority="other"),
    Peer("third", None, "C=CH, O=Third", None, certificate="C=CH, O=Third", authority="third", cause="certificate"),
    Peer("longer", None, "C=CH, O=Foo, CN=x", None, certificate="C=CH, O=Foo, CN=x", cause="peer_identity", words=("C=CH, O=Foo, CN=x",)),
]
TWINS = [Peer("twin-1", "twin", "twin.example", "twin"), Peer("twin-2", "twin", "twin.example", "twin")]
DOUBLE = [Peer("double-1", "anna", "double.example", "double", address="10.9.4.1", remote_ts="10.1.1.0/24"),
          # Otherwise strongSwan would use the ISAKMP SA that is there.
          Peer("double-2", "anna", "double.example", "double", address="10.9.4.1", remote_ts="10.1.2.0/24", rekey_time="5h")]
ALL = PEERS + TWINS + DOUBLE
for number, one in enumerate(ALL, 1):
    one.address = one.address or f"10.9.1.{number}"


def connections(gw, files):
    def psk(remote, remote_id, secret, children=None):
        return gateway.connection(sites.ADDRESS["a"], remote, sites.IDENTITY["a"], remote_id, IKE, gw.secret(SECRETS[secret], name=secret),
                                  children or {"net": gateway.child(sites.NET["a"], "dynamic", ESP)}, dpd_delay=0)
    found = {name: psk("%any", f"{name}.example", name) for name in ("anna", "bert", "carl", "twin")}
    found["mail"] = psk("%any", "*@example.org", "mail")
    found["range"] = psk(["10.9.2.0/24", "10.9.3.1-10.9.3.5"], "*.range.example", "range")
    found["double"] = psk("10.9.4.1", "double.example", "anna", {n: gateway.child(f"10.1.{i}.0/24", "dynamic", ESP) for i, n in ((1, "first"), (2, "second"))})
    for name, authority in (("certified", "root"), ("of-other", "other")):
        found[name] = gateway.connection(sites.ADDRESS["a"], "%any", None, "C=CH, O=*", IKE, "", {"net": gateway.child(sites.NET["a"], "dynamic", ESP)}, dpd_delay=0)
        del found[name]["secret"]
        found[name]["local"] = {"auth": "pubkey", "certs": [files["own"]], "key": f"file:{files['key']}"}
        found[name]["remote"].update(auth="pubkey", cacerts=[files[authority]])
    return found


def certificates(lab):
    """Issues them all, writes strongSwan's, and returns Culvert's files by name."""
    authorities = {name: pki.Issued(f"C=CH, O=Example, CN={name}", pki.key("p256", f"ca {name}"), ca=True) for name in ("root", "other", "third")}
    own = pki.Issued(SUBJECT, pki.key("p256", "own"), authorities["root"])
    for name, authority in authorities.items():
        lab.write(f"strongswan/swanctl/x509ca/{name}.pem", authority.pem())
    lab.write("strongswan/swanctl/private/peer.pem", pki.pem(pki.key("p256", "peer")))
    for peer in PEERS:
        if peer.certificate:
            lab.write(f"strongswan/swanctl/x509/{peer.name}.pem", pki.Issued(peer.certificate, pki.key("p256", "peer"), authorities[peer.authority]).pem())
    files = {name: lab.write(f"culvert/{name}.pem", authority.pem()) for name, authority in authorities.items()}
    return {**files, "own": lab.write("culvert/own.pem", own.pem()),
            "key": lab.write("culvert/own.key", pki.pem(own.private))}


def established(site, connection=None):
    return [sa for sa in site.culvert.ike_sas(connection) if sa["state"] != "deleting"]


def refusals(site, peer):
    """All that `culvert explain` has of failures with this peer's address, the latest first."""
    found = site.culvert.result("explain", "--peer", peer.address)
    return [f for c in found["connections"] for f in c["failures"]] + found["strangers"]


def judge(site, peer):
    """'' or what is wrong."""
    if peer.taken:
        ok, text = site.strongswan.initiate(peer.name)
        if not ok:
            return text[-200:]
        found = [sa["connection"] for sa in established(site) if sa["remote"].startswith(peer.address + ":")]
        return "" if found == [peer.taken] else f"taken for {found}"
    site.strongswan.swanctl("initiate", "--child", peer.name, "--timeout", "-1", check=False)
    wait_for(lambda: refusals(site, peer), 15, f"a record of {peer.name}", step=0.3)
    record = refusals(site, peer)[0]
    causes, text = [c["cause"] for c in record["causes"]], str([record["rows"], record["evidence"], record["message"]])
    if causes[0] != peer.cause:
        return f"explained by {causes}: {record['message']}"
    return ", ".join(f"{word} is not shown" for word in peer.words if word not in text)


def one_identity_from_two_places(r, site):
    for peer in TWINS:
        ok, text = site.strongswan.initiate(peer.name)
        r.check(f"{peer.name} establishes", ok, "" if ok else text[-200:])
    last = lambda: [sa["remote"].rsplit(":", 1)[0] for sa in established(site, "twin")]
    wait_for(lambda: last() == [TWINS[1].address], 10, f"the first place's SAs to end; there are {last()}")
    r.check("unique: replace: the identity's SAs at the place before end", len(site.culvert.child_sas("twin")) == 1)


def two_isakmp_sas(r, site):
    for peer in DOUBLE:
        ok, text = site.strongswan.initiate(peer.name)
        r.check(f"{peer.name} establishes", ok, "" if ok else text[-200:])
    sas = established(site, "double")
    r.check("one peer has two ISAKMP SAs, told apart by their cookies", len({(sa["initiator_spi"], sa["responder_spi"]) for sa in sas}) == 2, len(sas))
    return time.monotonic()


def later(r, site, begun):
    """Neither is taken for the other's successor, whose Delete was lost."""
    time.sleep(max(0, begun + BESIDE - time.monotonic()))
    up = sorted(c["child"] for c in site.culvert.child_sas("double", states=("installed",)))
    theirs = [sorted(c["name"] for c in site.strongswan.child_sas(peer.name)) for peer in DOUBLE]
    r.check("both stay, and the pairs under both", up == ["first", "second"] and theirs == [["double-1"], ["double-2"]], f"{up}, {theirs}")
    site.strongswan.terminate("double-1")
    wait_for(lambda: len(established(site, "double")) == 1, 10, "the first one to end")
    up = [c["child"] for c in site.culvert.child_sas("double", states=("installed",))]
    r.check("the end of one leaves the other's pair", up == ["second"], up)
    before = {c["spi_in"] for c in site.culvert.child_sas("double")}
    site.culvert.result("rekey", "double/second")
    wait_for(lambda: {c["spi_in"] for c in site.culvert.child_sas("double", states=("installed",))} - before, 10, "its rekeying")


def body(r, lab):
    files = certificates(lab)
    theirs = {peer.name: peer.connection() for peer in ALL}
    secrets = {f"ike-{peer.name}": {"id": peer.identity, "secret": f'"{SECRETS[peer.secret]}"'} for peer in ALL if peer.secret}
    site = sites.CulvertAndStrongSwan(lab, lambda gw: connections(gw, files), theirs, secret=secrets, ike={"half_open_timeout": "6s"})
    site.outside.addresses("cl0", sorted({f"{peer.address}/16" for peer in ALL}))
    site.start()
    begun = two_isakmp_sas(r, site)
    results = {}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for peer, detail in zip(PEERS, pool.map(lambda p: judge(site, p), PEERS)):
            results[peer.name] = detail
    for peer in PEERS:
        what = f"is taken for {peer.taken}" if peer.taken else f"is refused: {peer.cause}"
        r.check(f"{peer.name} ({peer.identity}, {peer.address}) {what}", not results[peer.name], results[peer.name])
    one_identity_from_two_places(r, site)
    later(r, site, begun)


report.run("matching", body)

#!/usr/bin/python3
"""IKEv2 with virtual addresses against strongSwan, both roles: several clients, a full pool, who comes again; a client of its pool; long messages.

Time limit: 150 s
Culvert gives the four addresses of a pool to strongSwan's clients, told apart by an address of strongSwan's each; then it asks strongSwan
for an address of its pool, and a host behind it uses that; both once more with an IPv6 address beside, and a child of each family. Clients of either prove themselves anew, make before break, on an operator's word and
since the gateway says how long a proof is good (AUTH_LIFETIME), and keep their address; one of each begins without a CHILD SA (RFC 6023). Last, identities so long that IKE_AUTH goes in fragments of IKE's own (RFC 7383), over a path
that drops IP fragments and whatever is longer.
"""
import concurrent.futures
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Capture, Ping, ping, tshark  # noqa: E402

GW, SERVER, EMPTY, BOTH, TIMED = sites.ADDRESS["a"], "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5"
PROOF = 15                                          # seconds: how long TIMED takes one for good
CLIENTS = 5                                         # one more than the pool has addresses
WIDE, WIDE6 = "10.3.7.0/24", "fd00:3:7::/112"
NET6, INSIDE6, HOST6, POOL6 = {"a": "fd00:1::/64", "b": "fd00:2::/64"}, {"a": "fd00:1::1", "b": "fd00:2::1"}, "fd00:1::10", "fd00:3::/112"
LIMIT, LONG = 576, "{}." + ".".join(["long" * 14] * 4) + ".example"


def culvert_connections(gw):
    secret = gw.secret(sites.SECRET)

    def with_peer(remote, own, other, child, six=None, **extra):
        children = {"net": child} | ({"net6": six} if six else {})
        return gateway.connection(GW, remote, own, other, sites.IKE_SUITE, secret, children, version=2, **extra)

    def visitor(remote, name, own="visitor.example", **extra):
        return with_peer(remote, own, f"{name}.example", gateway.child("dynamic", sites.NET["b"], sites.ESP_SUITE), vips=["0.0.0.0"], **extra)
    return {"people": with_peer("%any", sites.IDENTITY["a"], "%any", gateway.child(sites.NET["a"], "dynamic", sites.ESP_SUITE),
                                gateway.child(NET6["a"], "dynamic", sites.ESP_SUITE), pools=["clients", "six"]),
            "visit-both": with_peer(BOTH, "visitor.example", "both.example", gateway.child("dynamic", sites.NET["b"], sites.ESP_SUITE),
                                    gateway.child("dynamic", NET6["b"], sites.ESP_SUITE), vips=["0.0.0.0", "::"]),
            "visit": visitor(SERVER, "server"), "visit-none": visitor(EMPTY, "empty"), "visit-timed": visitor(TIMED, "timed", "timed-visitor.example", childless="force"),
            "long": with_peer("10.9.1.30", LONG.format("a"), LONG.format("b"), gateway.child(sites.NET["a"], "10.2.30.0/24", sites.ESP_SUITE))}


def strongswan_connections():
    def client(number, **extra):
        return strongswan.connection(f"10.9.1.{number}", GW, f"u{number}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                     {f"u{number}": strongswan.child("dynamic", sites.NET["a"], sites.ESP_SUITE)}, version=2, **extra)

    def server(address, name, visitor="visitor.example", **extra):
        return strongswan.connection(address, GW, f"{name}.example", visitor, sites.IKE_SUITE,
                                     {f"serve-{name}": strongswan.child(sites.NET["b"], "dynamic", sites.ESP_SUITE)}, version=2, **extra)
    found = {f"u{n}": client(n, vips="0.0.0.0", **({"childless": "force"} if n == 4 else {})) for n in range(1, CLIENTS + 1)}
    u7 = client(7, vips="0.0.0.0,::")
    u7["children"]["u7-6"] = strongswan.child("dynamic", NET6["a"], sites.ESP_SUITE)
    both = server(BOTH, "both", pools="wide,wide6")
    both["children"]["serve-both6"] = strongswan.child(NET6["b"], "dynamic", sites.ESP_SUITE)
    return found | {"u7": u7, "both": both, "u9": client(9), "server": server(SERVER, "server", pools="wide"), "empty": server(EMPTY, "empty"),
                    "timed": server(TIMED, "timed", "timed-visitor.example", pools="wide", reauth_time=f"{PROOF}s", over_time="20s", rand_time="0s"),
                    "long": strongswan.connection("10.9.1.30", GW, LONG.format("b"), LONG.format("a"), sites.IKE_SUITE,
                                                  {"long": strongswan.child("10.2.30.0/24", sites.NET["a"], sites.ESP_SUITE)}, version=2, fragmentation="yes")}


def vip(peer, user):
    """strongSwan's virtual address of the connection, or None."""
    sa = peer.list_sas().get(user)
    return sa["local-vips"][0] if sa and sa.get("local-vips") else None


def leases(culvert):
    found = culvert.result("list-pools", "--leases")["pools"][0]
    return found, {lease["address"]: lease["identity"] for lease in found["leases"] if lease["online"]}


def spis_of(culvert, address):
    """Of the IKE SAs in use of who has the address."""
    return [sa["initiator_spi"] for sa in culvert.ike_sas("people") if sa["virtual_address"] == address and sa["state"] == "established"]


def refusals(culvert):
    return culvert.exchange_counts("no_address")["ike_auth"]


def told(culvert, connection):
    """What explain says of its latest failure."""
    failures = culvert.result("explain", connection)["connections"][0]["failures"]
    return (failures[0]["reason"], failures[0]["message"]) if failures else (None, None)


def online(culvert, count, what):
    try:
        return wait_for(lambda: leases(culvert)[0]["online"] == count, 8, what)
    except LabError:
        return False


def settled(condition, seconds=20):
    try:
        return bool(wait_for(condition, seconds, "another IKE SA"))
    except LabError:
        return False


def more_echoes(pings, number=30):
    """What begins or ends now has echoes before and behind it."""
    known = pings.process.output().count("bytes from")
    settled(lambda: pings.process.output().count("bytes from") >= known + number)


def in_use(culvert, connection):
    return [(sa["initiator_spi"], sa["virtual_address"]) for sa in culvert.ike_sas(connection) if sa["state"] == "established"]


def both_families(r, site):
    peer, culvert = site.strongswan, site.culvert
    done = [peer.initiate(child) for child in ("u7", "u7-6")]
    r.check("a client of both families: its two children come up", all(ok for ok, _ in done), "; ".join(text.strip()[-300:] for ok, text in done if not ok))
    given = (peer.list_sas().get("u7") or {}).get("local-vips") or []
    pools = culvert.result("list-pools", "--leases")["pools"]
    held = {lease["address"] for pool in pools for lease in pool["leases"] if lease["online"]}
    r.check("... with an address of each pool", len(given) == 2 and set(given) == held and any(a.startswith("fd00:3::") for a in given), f"{given} {held}")
    r.check("... which list-sas names", all(sorted(sa["virtual_addresses"]) == sorted(given) for sa in culvert.ike_sas("people")), str(culvert.ike_sas("people"))[:300])
    for address in given:
        r.check(f"... the host pings {address}", *ping(site.host, address, HOST6 if ":" in address else sites.HOST["a"], count=2))
    peer.terminate("u7")
    wait_for(lambda: not any(pool["online"] for pool in culvert.result("list-pools")["pools"]), 10, "the end of u7's leases")

    ok, text = culvert.initiate("visit-both")
    r.check("Culvert is a client of both families", ok, str(text)[-300:])
    addresses = culvert.ike_sas("visit-both")[0]["virtual_addresses"]
    r.check("... with an address of each pool of strongSwan's", len(addresses) == 2 and addresses[0].startswith("10.3.7.") and addresses[1].startswith("fd00:3:7::"), addresses)
    wait_for(lambda: sum(c.get("state") == "INSTALLED" for c in peer.child_sas("both")) == 2, 10, "the SAs at strongSwan")
    for address, target in zip(addresses, (sites.INSIDE["b"], INSIDE6["b"])):
        own = (f"{address}/128", "dev", "h0", "nodad") if ":" in address else (f"{address}/32", "dev", "h0")
        site.host.sh("ip", "addr", "add", *own)
        r.check(f"... a host behind it uses {address}", *ping(site.host, target, address, count=2))
        site.host.sh("ip", "addr", "del", *own[:3])
    culvert.terminate("visit-both")
    wait_for(lambda: "both" not in peer.list_sas(), 5, "the end at strongSwan")


def as_gateway(r, site):
    peer, culvert = site.strongswan, site.culvert
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda n: peer.initiate(f"u{n}"), range(1, 5)))
    r.check("four clients at once come up", all(ok for ok, _ in done), "; ".join(text.strip()[-200:] for ok, text in done if not ok))
    given = {n: vip(peer, f"u{n}") for n in range(1, 5)}
    r.check("each has an address of the pool of its own", len(set(given.values())) == 4 and None not in given.values(), str(given))
    found, whose = leases(culvert)
    r.check("list-pools shows whose they are", {f"u{n}.example" in whose.get(given[n], "") for n in given} == {True} and found["online"] == 4, str(found))
    answered = [n for n in given if given[n] and ping(site.host, given[n], sites.HOST["a"], count=2)[0]]
    r.check("the host pings all of them", answered == [1, 2, 3, 4], str(answered))
    r.check("list-sas names them", {sa["virtual_address"] for sa in culvert.ike_sas("people")} == set(given.values()), str(culvert.ike_sas("people"))[:300])
    r.check("u4 has begun without a CHILD SA (RFC 6023), which CREATE_CHILD_SA has made", culvert.exchange_counts("ok")["create_child_sa"] >= 1
            and peer.logged(r"N\(CHDLESS_SUP\)") >= 1, culvert.exchange_counts("ok"))
    log = open(peer.log, encoding="utf-8", errors="replace").read()
    r.check("strongSwan was told the name server and the network behind us", "CPRP(ADDR DNS SUBNET)" in log)

    ok, text = peer.initiate("u5", seconds=10)
    r.check("a fifth one finds the pool full", not ok and refusals(culvert) >= 1 and "INTERNAL_ADDRESS_FAILURE" in open(peer.log, encoding="utf-8", errors="replace").read(),
            f"{refusals(culvert)}; {text[-200:]}")
    reason, message = told(culvert, "people")
    r.check("... and explain says which", reason == "no_address" and "IPv4 addresses are given away (clients,six)" in (message or ""), f"{reason} {message}")
    peer.terminate("u5")
    before = spis_of(culvert, given[3])
    peer.swanctl("rekey", "--ike", "u3", check=False)
    wait_for(lambda: len(spis_of(culvert, given[3])) == 1 and spis_of(culvert, given[3]) != before, 8, "the rekeying of u3's IKE SA")
    wait_for(lambda: vip(peer, "u3"), 8, "u3's address at strongSwan")
    pinged, said = ping(site.host, given[3], sites.HOST["a"], count=2)
    r.check("a rekeyed IKE SA has the address still", vip(peer, "u3") == given[3] and pinged and leases(culvert)[0]["online"] == 4, f"{vip(peer, 'u3')} {said} {leases(culvert)[0]}")
    before = spis_of(culvert, given[4])
    pings = Ping(site.host, "anew", given[4], interval=0.02, source=sites.HOST["a"])
    more_echoes(pings)
    peer.swanctl("rekey", "--ike", "u4", "--reauth", check=False)
    another = settled(lambda: len(spis_of(culvert, given[4])) == 1 and spis_of(culvert, given[4]) != before)
    more_echoes(pings)
    result = pings.stop()
    r.check("strongSwan proves itself anew (make_before_break), with the same address and no echo lost",
            another and vip(peer, "u4") == given[4] and result.transmitted >= 60 and not result.lost and leases(culvert)[0]["online"] == 4,
            f"{before} {spis_of(culvert, given[4])} {vip(peer, 'u4')} {result}")
    peer.terminate("u2")
    r.check("who leaves gives back the address", online(culvert, 3, "the end of u2's lease"), leases(culvert)[0])
    ok, text = peer.initiate("u2")
    r.check("... and has it again when coming back", ok and vip(peer, "u2") == given[2], f"{given[2]} {vip(peer, 'u2')} {text[-200:]}")
    peer.terminate("u2")
    online(culvert, 3, "the end of u2's lease")
    ok, text = peer.initiate("u5")
    r.check("another one gets the address that was left", ok and vip(peer, "u5") == given[2], text[-200:])

    culvert.control.kill()
    culvert.start_control()
    r.check("culvertd was killed: its clients' addresses stay theirs", online(culvert, 4, "the leases") and set(leases(culvert)[1]) == set(given.values()), leases(culvert)[1])
    before = refusals(culvert)
    ok, text = peer.initiate("u9", seconds=10)
    reason, message = told(culvert, "people")
    r.check("who asks for no address gets no tunnel, and explain says why", not ok and refusals(culvert) > before and "asks for no virtual address" in (message or ""), f"{reason} {message}")
    for user in ("u1", "u3", "u4", "u5", "u9"):
        peer.terminate(user)


def as_client(r, site):
    peer, culvert = site.strongswan, site.culvert
    addresses = []
    for turn in ("first", "second"):
        ok, text = culvert.initiate("visit")
        r.check(f"Culvert is a client, the {turn} time", ok, str(text)[-300:])
        if not ok:
            return
        addresses.append(culvert.ike_sas("visit")[0]["virtual_address"])
        wait_for(lambda: any(c.get("state") == "INSTALLED" for c in peer.child_sas("server")), 5, "the SA at strongSwan")
        if addresses[-1] not in addresses[:-1]:
            site.host.address("h0", f"{addresses[-1]}/32")
        r.check("... a host behind it uses the address", ping(site.host, sites.INSIDE["b"], addresses[-1], count=2)[0], addresses)
        culvert.cli("rekey", "--ike", "visit")
        r.check("... also when the IKE SA was rekeyed", ping(site.host, sites.INSIDE["b"], addresses[-1], count=2)[0] and culvert.ike_sas("visit")[0]["virtual_address"] == addresses[-1])
        r.check("... and list-sas shows the name server beside it", culvert.ike_sas("visit")[0]["given"]["dns"] == ["10.2.0.53"], str(culvert.ike_sas("visit"))[:400])
        if turn == "first":
            before = in_use(culvert, "visit")
            pings = Ping(site.host, "visiting", sites.INSIDE["b"], interval=0.02, source=addresses[-1])
            more_echoes(pings)
            said = culvert.cli("rekey", "--reauth", "visit")
            another = settled(lambda: len(in_use(culvert, "visit")) == 1 and in_use(culvert, "visit")[0][0] != before[0][0]
                              and len(culvert.ike_sas("visit")) == 1 and len(peer.child_sas("server")) == 1)
            more_echoes(pings)
            result = pings.stop()
            r.check("... which proves itself anew, with the same address and no echo lost",
                    another and in_use(culvert, "visit")[0][1] == addresses[-1] and result.transmitted >= 60 and not result.lost,
                    f"{said} {before} {in_use(culvert, 'visit')} {result} {culvert.log()[-600:]}")
        culvert.terminate("visit")
        wait_for(lambda: "server" not in peer.list_sas(), 5, "the end at strongSwan")
    r.check("the address is one of strongSwan's pool, and the same again", addresses[0].startswith("10.3.7.") and addresses[0] == addresses[1], addresses)
    ok, text = culvert.initiate("visit-none", seconds=8)
    reason, message = told(culvert, "visit-none")
    r.check("a server without a pool: the reason is said", not ok and reason == "no_address" and "INTERNAL_ADDRESS_FAILURE" in (message or ""), f"{reason} {message}")
    culvert.terminate("visit-none")


def in_time(r, site, first):
    """The gateway has said for how long a proof is good."""
    culvert = site.culvert
    again = settled(lambda: len(in_use(culvert, "visit-timed")) == 1 and in_use(culvert, "visit-timed") != first, 2 * PROOF)
    now = in_use(culvert, "visit-timed")
    r.check("Culvert proves itself anew before strongSwan's AUTH_LIFETIME is over, and has the same address", again and now[0][1] == first[0][1], f"{first} {now}")
    r.check("... and no gap was told of", told(culvert, "visit-timed") == (None, None), str(told(culvert, "visit-timed")))
    culvert.terminate("visit-timed")


def what_there_is(r, site):
    """The IPv4 pool is full: of those that a killed culvertd has left, nobody has come again."""
    peer, culvert = site.strongswan, site.culvert
    (none, _), (ok, text) = peer.initiate("u7"), peer.initiate("u7-6")
    given = (peer.list_sas().get("u7") or {}).get("local-vips") or []
    r.check("who asks for both families gets what there is", not none and ok and len(given) == 1 and given[0].startswith("fd00:3::"), f"{given} {text[-200:]}")
    if given:
        r.check("... and the host pings it", *ping(site.host, given[0], HOST6, count=2))

    def held():
        return [lease["address"] for lease in culvert.result("list-pools", "--leases")["pools"][1]["leases"] if lease["online"]]
    culvert.control.kill()
    culvert.start_control()
    r.check("... culvertd was killed: the address stays its own", wait_for(held, 10, "the lease") == given, f"{given} {held()}")


def long_messages(r, lab, site):
    site.outside.sh("nft", "-f", lab.write("path.nft", f"""table netdev path {{
  chain in {{
    type filter hook ingress device cl0 priority 0
    ip protocol udp ip frag-off & 0x3fff != 0 drop
    udp dport {{ 500, 4500 }} ip length > {LIMIT} drop
  }}
}}
"""))
    capture = Capture(site.outside, "cl0", "fragments")
    for initiator in ("strongSwan", "Culvert"):
        ok, text = site.strongswan.initiate("long") if initiator == "strongSwan" else site.culvert.initiate("long", "net")
        r.check(f"long messages, {initiator} initiates", ok, "" if ok else str(text)[-300:])
        r.check(f"long messages, {initiator} initiates: ping", *ping(site.host, "10.2.30.1", count=2))
        site.strongswan.terminate("long")
        wait_for(lambda: not [s for s in site.culvert.ike_sas("long") if s["state"] != "deleting"], 5, "the end")
    capture.stop()
    rows = tshark(lab, capture.file, "-Y", "isakmp.typepayload == 53 || isakmp.nextpayload == 53", "-T", "fields", "-e", "ip.src", "-e", "ip.len").splitlines()
    for source in (GW, "10.9.1.30"):
        sizes = [int(row.split("\t")[1]) for row in rows if row.startswith(source + "\t")]
        r.check(f"fragments from {source}, none too long", len(sizes) >= 2 and max(sizes) <= LIMIT, f"{sizes}")


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, culvert_connections, strongswan_connections(), ike={"fragment_size": LIMIT})
    site.strongswan.add_options(f"fragment_size = {LIMIT}\n  make_before_break = yes")
    site.strongswan.configure(strongswan_connections(), sites.SECRET, pools={"wide": {"addrs": WIDE, "dns": "10.2.0.53"}, "wide6": {"addrs": WIDE6, "dns": "fd00:2::53"}})
    site.culvert.config["routes"] += [{"to": "10.3.0.0/25", "via": sites.ADDRESS["b"]}, {"to": WIDE, "port": "lan"},
                                      {"to": POOL6, "via": "fd00:9::2"}, {"to": NET6["b"], "via": "fd00:9::2"}, {"to": WIDE6, "port": "lan"}]
    site.culvert.config["pools"] = {"clients": {"addrs": "10.3.0.1-10.3.0.4", "dns": ["10.1.0.53"], "split_include": [sites.NET["a"]]},
                                    "six": {"addrs": POOL6, "dns": ["fd00:1::53"], "split_include": [NET6["a"]]}}
    site.culvert.config["ports"]["wan"]["addresses"].append("fd00:9::1/64")
    site.culvert.config["ports"]["lan"]["addresses"].append(f"{INSIDE6['a']}/64")
    for namespace in site.host, site.outside:
        namespace.sysctl(**{"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.default.disable_ipv6": 0, "net.ipv6.conf.all.accept_dad": 0,
                            "net.ipv6.conf.default.accept_dad": 0})
    site.host.sh("ip", "addr", "add", f"{HOST6}/64", "dev", "h0", "nodad")
    site.host.sh("ip", "-6", "route", "add", "default", "via", INSIDE6["a"])
    site.outside.address("lo", f"{INSIDE6['b']}/64")
    site.culvert.write()
    site.outside.addresses("cl0", [f"10.9.1.{n}/16" for n in [*range(1, CLIENTS + 1), 7, 9, 30]] + [f"{EMPTY}/16", f"{BOTH}/16", f"{TIMED}/16"])
    site.outside.addresses("lo", ["10.2.30.1/24"])
    site.start()
    both_families(r, site)
    ok, text = site.culvert.initiate("visit-timed")
    r.check("Culvert is a client for some time", ok, str(text)[-300:])
    first = in_use(site.culvert, "visit-timed")
    r.check("... which has begun without a CHILD SA (RFC 6023)", any(
        "visit-timed/net: CHILD SA established" in line and "exchange=create_child_sa" in line for line in site.culvert.log().splitlines()), text)
    # Before as_gateway: kernel-libipsec loses the routes of others when a virtual address of strongSwan's own goes.
    as_client(r, site)
    in_time(r, site, first)
    as_gateway(r, site)
    what_there_is(r, site)
    long_messages(r, lab, site)


report.run("ikev2_addresses", body)

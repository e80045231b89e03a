#!/usr/bin/python3
"""XAuth and Mode Config against strongSwan, both roles: virtual addresses, pulled and pushed; several clients; wrong passwords; a full pool.

Time limit: 150 s
One Culvert and one strongSwan. Culvert's server gives the four addresses of a pool to strongSwan's clients, told apart by an address of
strongSwan's each; then it is a client of strongSwan's server itself, and a host behind it uses the address that it was given.
"""
import concurrent.futures
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import ping  # noqa: E402

GW = sites.ADDRESS["a"]
CLIENTS = 5                                         # one more than the pool has addresses
SERVER = {"pull": "10.9.0.2", "push": "10.9.0.3"}   # strongSwan's servers
PUSH_POOL = "10.3.0.64/29"
WIDE = "10.3.7.0/24"


def culvert_connections(gw, lab):
    secret = gw.secret(sites.SECRET)
    password = gw.secret("visitor-pw", "visitor.password")
    net = {"net": gateway.child(sites.NET["a"], "dynamic", sites.ESP_SUITE)}
    hashed = lab.sh("openssl", "passwd", "-6", "-salt", "saltsalt", "pw1").strip()
    path = lab.write(f"{gw.name}/users", f"# users of the test\nu1:{hashed}\n" + "".join(f"u{n}:{{plain}}pw{n}\n" for n in range(2, CLIENTS + 1))
                     + "wrong:{plain}another\npushed:{plain}pwp\n")

    def served(remote, pool, **extra):
        found = gateway.connection(GW, remote, sites.IDENTITY["a"], "%any", sites.IKE_SUITE, secret, net, pools=[pool], **extra)
        found["remote"] = {"xauth": {"users": f"file:{path}"}}
        return found

    def visitor(mode):
        found = gateway.connection(GW, SERVER[mode], "visitor.example", f"{mode}.example", sites.IKE_SUITE, secret,
                                   {mode: gateway.child("dynamic", sites.NET["b"], sites.ESP_SUITE)}, vips=["0.0.0.0"], mode_config=mode)
        found["local"]["xauth"] = {"user": f"visitor-{mode}", "password": f"file:{password}"}
        return found
    return {"people": served("%any", "clients"), "pushed": served("10.9.1.20", "pushed", mode_config="push"),
            "visit-pull": visitor("pull"), "visit-push": visitor("push")}


def strongswan_connections():
    def client(number, user, **extra):
        found = strongswan.connection(f"10.9.1.{number}", GW, f"{user}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                      {user: strongswan.child("dynamic", sites.NET["a"], sites.ESP_SUITE)}, vips="0.0.0.0", **extra)
        found["local-2"] = {"auth": "xauth", "xauth_id": user}
        return found

    def server(mode):
        found = strongswan.connection(SERVER[mode], GW, f"{mode}.example", "visitor.example", sites.IKE_SUITE,
                                      {f"served-{mode}": strongswan.child(sites.NET["b"], "dynamic", sites.ESP_SUITE)}, pools="wide",
                                      pull="yes" if mode == "pull" else "no")
        found["remote-2"] = {"auth": "xauth"}
        return found
    found = {f"u{n}": client(n, f"u{n}") for n in range(1, CLIENTS + 1)}
    return found | {"wrong": client(19, "wrong"), "pushed": client(20, "pushed", pull="no"), "serve-pull": server("pull"), "serve-push": server("push")}


def secrets():
    found = {"ike-all": {"secret": f'"{sites.SECRET}"'}}
    passwords = {f"u{n}": f"pw{n}" for n in range(1, CLIENTS + 1)} | {"wrong": "guess", "pushed": "pwp", "visitor-pull": "visitor-pw", "visitor-push": "visitor-pw"}
    return found | {f"xauth-{user}": {"id": user, "secret": f'"{password}"'} for user, password in passwords.items()}


def vip(peer, user):
    """strongSwan's virtual address of the connection, or None."""
    sa = peer.list_sas().get(user)
    return sa["local-vips"][0] if sa and sa.get("local-vips") else None


def leases(culvert, pool="clients"):
    found = next(p for p in culvert.result("list-pools", "--leases")["pools"] if p["pool"] == pool)
    return found, {lease["address"]: lease["identity"] for lease in found["leases"] if lease["online"]}


def refusal(culvert, exchange, reason, seconds=20):
    """Whether Culvert counts a refusal for `reason` within the time. It may be more than one: strongSwan begins again when its SA is deleted."""
    try:
        return wait_for(lambda: culvert.exchange_counts(reason)[exchange] >= 1, seconds, f"{exchange} to end with {reason}")
    except LabError:
        return False


def give_up(peer, user):
    """Ends the connection for good: strongSwan begins one that was refused again by itself, and takes the next address that is free."""
    for _ in range(20):
        peer.terminate(user)
        if user not in peer.list_sas():
            return
    raise LabError(f"{user} does not end")


def as_server(r, site):
    peer, culvert = site.strongswan, site.culvert
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda n: peer.initiate(f"u{n}"), range(1, 5)))
    r.check("four clients at once come up", all(ok for ok, _ in done), "; ".join(text.strip()[-200:] for ok, text in done if not ok))
    given = {n: vip(peer, f"u{n}") for n in range(1, 5)}
    r.check("each has an address of the pool of its own", len(set(given.values())) == 4 and None not in given.values(), str(given))
    found, online = leases(culvert)
    r.check("list-pools shows whose they are", {f"u{n}" in online.get(given[n], "") for n in given} == {True} and found["online"] == 4, str(found))
    answered = [n for n in given if given[n] and ping(site.host, given[n], sites.HOST["a"], count=2)[0]]
    r.check("the host pings all of them", answered == [1, 2, 3, 4], str(answered))
    r.check("metrics: pool size and leases", culvert.metric("culvert_pool_leases", pool="clients") == 4 and culvert.metric("culvert_pool_addresses", pool="clients") == 4)

    culvert.control.kill()
    culvert.start_control()
    wait_for(lambda: leases(culvert)[0]["online"] == 4, 10, "the addresses of the SAs that a killed culvertd has left")
    r.check("culvertd was killed: its clients' addresses stay theirs", set(leases(culvert)[1]) == set(given.values()), leases(culvert)[1])
    ok, text = peer.initiate("u5", seconds=15)
    full = refusal(culvert, "mode_config", "no_address")
    r.check("a fifth one finds the pool full", not ok and full, f"{culvert.exchange_counts('no_address')}; {text[-200:]}")
    told = culvert.result("explain", "people")["connections"][0]["failures"]
    r.check("... and explain says which", bool(told) and told[0]["reason"] == "no_address" and "(clients)" in told[0]["message"], str(told)[:400])
    give_up(peer, "u5")
    for n in given:
        peer.terminate(f"u{n}")
        peer.initiate(f"u{n}")
    again = {n: vip(peer, f"u{n}") for n in given}
    r.check("... also when they come again", again == given and all(f"u{n}" in leases(culvert)[1].get(given[n], "") for n in given), f"{again} {leases(culvert)[1]}")
    peer.terminate("u1")
    wait_for(lambda: leases(culvert)[0]["online"] == 3, 5, "the end of u1's lease")
    ok, text = peer.initiate("u1")
    r.check("u1 comes back and has its address again", ok and vip(peer, "u1") == given[1], f"{given[1]} {vip(peer, 'u1')} {text[-200:]}")
    peer.terminate("u2")
    wait_for(lambda: leases(culvert)[0]["online"] == 3, 5, "the end of u2's lease")
    wait_for(lambda: not any(c.get("remote_ts") == f"{given[2]}/32" for c in culvert.child_sas("people")), 5, "the end of u2's SAs")
    dropped = culvert.drops()["policy_discard"]
    ping(site.host, given[2], sites.HOST["a"], count=2)
    r.check("nothing leaves in clear for u2, which is away, though default_policy is bypass", culvert.drops()["policy_discard"] == dropped + 2,
            f"{culvert.drops()['policy_discard']} {dropped}")
    ok, text = peer.initiate("u5")
    r.check("u5 gets the address that u2 has left", ok and vip(peer, "u5") == given[2], text[-200:])

    ok, text = peer.initiate("wrong", seconds=15)
    r.check("a wrong password is refused", not ok and refusal(culvert, "xauth", "xauth_failed"), text[-200:])
    give_up(peer, "wrong")
    r.check("... and no Quick Mode came of it", not culvert.child_sas("people") or all(c["remote_ts"] in {f"{a}/32" for a in leases(culvert)[1]} for c in culvert.child_sas("people")))
    r.check("... and the password stands in no log", "guess" not in culvert.log() and "pw1" not in culvert.log())
    ok, text = peer.initiate("pushed")
    r.check("a pushed address comes up", ok and (vip(peer, "pushed") or "").startswith("10.3.0.6"), text[-300:])
    r.check("... and is pinged", ping(site.host, vip(peer, "pushed") or "10.3.0.65", sites.HOST["a"], count=2)[0])
    for user in ("u1", "u3", "u4", "u5", "pushed"):
        peer.terminate(user)
    wait_for(lambda: all(leases(culvert, p)[0]["online"] == 0 for p in ("clients", "pushed")), 8, "the end of all leases")
    r.check("nothing is leased when all have gone", True)


def as_client(r, site):
    peer, culvert = site.strongswan, site.culvert
    for mode in ("pull", "push"):
        ok, text = culvert.initiate(f"visit-{mode}")
        r.check(f"Culvert is a client, {mode}", ok, str(text)[-300:])
        if not ok:
            continue
        sa = culvert.ike_sas(f"visit-{mode}")[0]
        address = sa["virtual_address"]
        r.check("... with an address of strongSwan's pool and its user name", (address or "").startswith("10.3.7.") and sa["xauth_user"] == f"visitor-{mode}", str(sa))
        wait_for(lambda m=mode: any(c.get("state") == "INSTALLED" for c in peer.child_sas(f"serve-{m}")), 5, "the SA at strongSwan")
        site.host.address("h0", f"{address}/32")
        r.check("... which a host behind it uses", ping(site.host, sites.INSIDE["b"], address, count=2)[0])
        culvert.terminate(f"visit-{mode}")
        wait_for(lambda m=mode: f"serve-{m}" not in peer.list_sas(), 5, "the end at strongSwan")


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, lambda gw: culvert_connections(gw, lab), strongswan_connections(), secret=secrets())
    pools = {"pools": {"wide": {"addrs": WIDE, "dns": "10.2.0.53"}}}
    site.strongswan.configure(strongswan_connections(), secrets(), **pools)
    site.culvert.config["routes"] += [{"to": "10.3.0.0/25", "via": sites.ADDRESS["b"]}, {"to": WIDE, "port": "lan"}]
    site.culvert.config["default_policy"] = "bypass"
    site.culvert.config["pools"] = {"clients": {"addrs": "10.3.0.1-10.3.0.4", "dns": ["10.1.0.53"], "banner": "Welcome."}, "pushed": {"addrs": PUSH_POOL}}
    site.culvert.write()
    site.outside.addresses("cl0", [f"10.9.1.{n}/16" for n in [*range(1, CLIENTS + 1), 19, 20]] + ["10.9.0.3/16"])
    site.start()
    as_server(r, site)
    as_client(r, site)


report.run("modeconfig", body)

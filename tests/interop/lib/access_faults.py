"""Faults that IKEv2 alone has, for the test of `culvert explain`: users by EAP and by RADIUS, virtual addresses, post-quantum pre-shared keys.

A fault says with `access=` what differs from what works. Of users: `client` and `gateway` the methods of the two sides, `says` and `knows` the password that the
client has and the one that the gateway has, `known` and `named` whether the gateway knows the user and the client has a name for EAP, `user` whom the
client is for a RADIUS server, `radius` what that is meanwhile. Of addresses: `asks` what the client asks for, `gives` the pool of the gateway, `held`
whether somebody else has the only address of it. Of PPKs: `ppk` whether each side has one and whether it must be used, `key` and `called` Culvert's.
Culvert is the gateway where it is the responder.
"""
from . import pki, sites
from .freeradius import FreeRadius
from .lab import LabError

PASSWORD, SECRET = "right-pw", "a secret of gateway and server"
PPK, OTHER_PPK = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
NAS, SERVER = "10.77.0.1", "10.77.0.5"
USERS = """alice Cleartext-Password := "right-pw"
bob Cleartext-Password := "right-pw"
mallory Auth-Type := Reject
        Reply-Message = "Your account is closed"
framed Cleartext-Password := "right-pw"
        Framed-IP-Address = 192.0.2.1
"""
POOLS = {"faults": {"addrs": "10.3.0.0/24"}, "one": {"addrs": "10.3.9.1/32"}}
THEIR_POOLS = {"faults": {"addrs": "10.3.7.0/24"}, "one": {"addrs": "10.3.8.1/32"}}
STATES = ("dropped", "secret", "down", "nowhere")      # of the RADIUS server, behind "up"
BOTH = ("initiator", "responder")
OF_THE_GATEWAY = {"initiator": "peer", "responder": "us"}
MSCHAPV2, MAY, MUST = "eap-mschapv2", "no", "yes"


def faults(fault):
    """`fault`: the class."""
    def eap(name, causes, by=None, roles=BOTH, sides=(), certificate=None, ours=None, theirs=None, of="EAP", **access):
        return fault(f"{of}: {name}", causes, roles=roles, by=by or OF_THE_GATEWAY, sides=sides, of=(2,), certificate=certificate or {}, ours=ours or {}, theirs=theirs or {},
                     access={"client": MSCHAPV2, "gateway": MSCHAPV2, **access})

    def radius(name, cause, sides=(), **access):
        return eap(name, {cause}, of="RADIUS", roles=("responder",), sides=sides, **{"gateway": "eap-radius", "user": "alice", "radius": "up", **access})

    def pool(name, causes=("pool",), roles=BOTH, **access):
        return fault(f"pool: {name}", set(causes), roles=roles, by=OF_THE_GATEWAY, of=(2,), access=access)

    def ppk(name, here, there, by, roles=BOTH, certificate=None, **access):
        more = {} if certificate is None else {"certificate": certificate}
        return fault(f"PPK: {name}", {"ppk"}, roles=roles, by=by, of=(2,), access={"ppk": (here, there), **access}, **more)
    us = {"initiator": "us", "responder": "us"}
    return [
        eap("wrong password", {"user"}, says="guess", sides=("user{n}",)),
        eap("user unknown", {"user"}, known=False, sides=("user{n}",)),
        eap("the client has no name for it", {"user"}, named=False, sides=("{me}",)),
        eap("the method is refused", {"auth_method"}, client="eap-md5", sides=("EAP-MD5",)),
        eap("the gateway wants a certificate of the client", {"auth_method"}, gateway="pubkey"),
        eap("a pre-shared key, where the gateway wants a user", {"auth_method"}, roles=("responder",), client="psk"),
        eap("gateway's certificate of another authority", {"certificate"}, us, ("initiator",), ("Other",), certificate={"issuer": "other"}),
        eap("gateway's certificate of an authority that the client does not trust", {"own_certificate"}, {"responder": "peer"}, ("responder",), certificate={"own": "other"},
            ours={"local_id": "gw-o.example"}, theirs={"remote_id": "gw-o.example"}),
        eap("user's certificate of another authority", {"certificate"}, us, ("responder",), ("Other",), client="eap-tls", gateway="eap-tls", certificate={"issuer": "other"}),
        eap("user's certificate of an authority that the gateway does not trust", {"own_certificate"}, {"initiator": "peer"}, ("initiator",), client="eap-tls",
            gateway="eap-tls", certificate={"own": "other"}, ours={"local_id": "gw-o.example"}, theirs={"remote_id": "gw-o.example"}),
        radius("wrong password", "radius_rejected", user="bob", says="guess", sides=("bob",)),
        radius("user unknown", "radius_rejected", user="nobody", sides=("nobody",)),
        radius("user is rejected", "radius_rejected", user="mallory", sides=("mallory", "Your account is closed")),
        radius("a method that makes no key", "auth_method", client="eap-md5", sides=("EAP-MD5",)),
        radius("an address of no pool", "pool", user="framed", asks="0.0.0.0", gives="faults", sides=("192.0.2.1",)),
        # The server is made so in this order: that it has answered before tells the first two apart.
        radius("its answers are dropped on the way", "radius_silent", radius="dropped"),
        radius("another shared secret", "radius_secret", radius="secret"),
        radius("the server does not run", "radius_silent", radius="down"),
        radius("nobody is there", "radius_silent", radius="nowhere"),
        pool("exhausted", asks="0.0.0.0", gives="one", held=True),
        pool("an address is asked for, and there is no pool", asks="0.0.0.0"),
        pool("an address of the other family is asked for", asks="::", gives="faults"),
        # In the other role strongSwan makes a CHILD SA for the address that we come from: that is no fault of pools.
        pool("no address is asked for", roles=("responder",), gives="faults"),
        ppk("the keys differ, and both sides must", MUST, MUST, OF_THE_GATEWAY, key=OTHER_PPK),
        ppk("the keys differ, and both sides may", MAY, MAY, OF_THE_GATEWAY, key=OTHER_PPK),
        ppk("the keys differ, with certificates", MUST, MUST, OF_THE_GATEWAY, key=OTHER_PPK, certificate={}),
        ppk("the names differ, and both sides must", MUST, MUST, OF_THE_GATEWAY, called="another.example"),
        ppk("we must, and the peer has none", MUST, None, OF_THE_GATEWAY),
        ppk("the peer must, and we have none", None, MUST, {"initiator": "peer", "responder": "nobody"}),
    ]


def _user(case):
    return case.fault.change["access"].get("user", f"user{case.number}")


def _method(case, side):
    return case.fault.change["access"].get(side)


def _name(case, own):
    """Of EAP: what the client calls himself."""
    if _method(case, "client") == "eap-tls":
        return own
    return _user(case) if case.fault.change["access"].get("named", True) else ""


def _our_client(case, conn, gw, method):
    own = conn["local"]
    proof = {"certs": own["certs"], "key": own["key"]} if method == "eap-tls" else {"password": "file:" + gw.secret(case.fault.change["access"].get("says", PASSWORD), f"{case.conn}.password")}
    conn["local"] = {"auth": method, "id": own["id"], "eap_id": _name(case, own["id"]), **proof}


def _our_gateway(case, conn, gw, files, method):
    access = case.fault.change["access"]
    if method == MSCHAPV2:
        known = _user(case) if access.get("known", True) else "somebody-else"
        conn["remote"] = {"auth": method, "users": "file:" + gw.lab.write(f"{gw.name}/{case.conn}.users", f"{known}:{{plain}}{access.get('knows', PASSWORD)}\n")}
    elif method == "eap-tls":
        conn["remote"] = {"auth": method, "cacerts": [files["root"]], "crls": [files["crl"]]}
    elif method == "eap-radius":
        conn["remote"] = {"auth": method}


def ours(case, conn, gw, files):
    """What of it is in Culvert's connection; more connections by name."""
    access, server = case.fault.change["access"], case.role == "responder"
    method = _method(case, "gateway" if server else "client")
    if "eap-md5" in (method, _method(case, "gateway")) and not server:
        conn["allow_weak"] = ["eap-md5"]
    if method and server:
        _our_gateway(case, conn, gw, files, method)
    elif method and method != "pubkey":
        _our_client(case, conn, gw, method)
    inner = conn["children"]["net"]
    if server and "gives" in access:
        conn["pools"], inner["remote_ts"] = [access["gives"]], "dynamic"
    elif not server and "asks" in access:
        conn["vips"], inner["local_ts"] = [access["asks"]], "dynamic"
        if access["asks"] == "::":
            inner["remote_ts"] = f"2001:db8:{case.number}::/64"
    if "ppk" in access and access["ppk"][0]:
        conn.update(ppk_id=access.get("called", f"ppk-{case.number}.example"), ppk=f"file:{gw.secret(access.get('key', PPK), f'{case.conn}.ppk')}", ppk_required=access["ppk"][0] == MUST)
    if "held" in access and server:
        conn["remote_addrs"], conn["remote"]["id"] = [case.address, _holder(case)], "%any"
    elif "held" in access:
        return {f"h{case.number}": {**conn, "local": {"id": "holder.example"}, "children": {"net": dict(inner)}}}
    return {}


def theirs(case, conn):
    """What of it is in strongSwan's connection; more connections by name."""
    access, server = case.fault.change["access"], case.role == "initiator"
    method = _method(case, "gateway" if server else "client")
    inner = conn["children"][case.conn]
    if method == "psk":
        conn["local"] = {"auth": "psk", "id": conn["local"]["id"]}
    elif method and method != "pubkey" and server:
        conn["remote"] = {"auth": method, "id": conn["remote"]["id"], "eap_id": "%any"}
    elif method and method != "pubkey":
        name = _name(case, conn["local"]["id"])
        conn["local"] = {"auth": method, "id": conn["local"]["id"], **({"eap_id": name} if name else {}),
                         **({"certs": f"{case.conn}.pem", "aaa_id": conn["remote"]["id"]} if method == "eap-tls" else {})}
    if server and "gives" in access:
        conn["pools"], inner["remote_ts"] = access["gives"], "dynamic"
    elif not server and "asks" in access:
        conn["vips"], inner["local_ts"] = access["asks"], "dynamic"
    if server and access.get("asks") == "::":
        inner["local_ts"] = f"2001:db8:{case.number}::/64"
    if "ppk" in access and access["ppk"][1]:
        conn.update(ppk_id=f"ppk-{case.number}.example", ppk_required=access["ppk"][1])
    if "held" in access and not server:
        return {f"h{case.number}": {**conn, "local_addrs": _holder(case), "local": {**conn["local"], "id": f"h{case.number}.example"}, "children": {f"h{case.number}": dict(inner)}}}
    if "held" in access:
        conn["remote"]["id"] = "%any"
    return {}


def secrets(case):
    """strongSwan's."""
    access, server, n = case.fault.change["access"], case.role == "initiator", case.number
    found = {}
    if MSCHAPV2 in (access.get("client"), access.get("gateway")) or "user" in access:
        if not server or access.get("known", True):
            name = _name(case, "") or (f"{case.conn}.example" if not server else _user(case))
            found[f"eap-{n}"] = {"id": name, "secret": f'"{access.get("knows" if server else "says", PASSWORD)}"'}
    if "ppk" in access and access["ppk"][1]:
        found[f"ppk-{n}"] = {"id": f"ppk-{n}.example", "secret": f'"{PPK}"'}
    if "held" in access:
        ids = {"id-own": f"{case.conn}.example", "id-peer": "holder.example"} if server else {"id-own": f"h{n}.example", "id-peer": sites.IDENTITY["a"]}
        found[f"ike-h{n}"] = {**ids, "secret": f'"{sites.SECRET}"'}
    return found


def _holder(case):
    return f"10.9.4.{case.number}"


def addresses(case):
    """More of strongSwan's."""
    return [f"{_holder(case)}/16"] if "held" in case.fault.change["access"] else []


def before(case, site):
    """What is there already when the fault is provoked."""
    if "held" not in case.fault.change["access"]:
        return
    if case.role == "initiator":
        up, text = site.culvert.initiate(f"h{case.number}", "net")
    else:
        up, text = site.strongswan.initiate(f"h{case.number}")
    if not up:
        raise LabError(f"who is to hold the address of {case.fault.name} does not come up: {text}")


class Server:
    """FreeRADIUS beside the gateway, and what goes wrong with it."""

    def __init__(self, lab, site, authorities):
        self.culvert, self.inside = site.culvert, site.inside
        self.there = lab.namespace("radius")
        lab.link(site.inside, "aaa0", f"{NAS}/24", self.there, "r0", f"{SERVER}/24")
        site.inside.sysctl(**{"net.ipv4.neigh.aaa0.retrans_time_ms": 100})        # nobody is there: known soon
        own = pki.Issued("C=CH, O=Example, CN=radius.example", pki.key("rsa2048", 4), authorities.root, san=["DNS:radius.example"], usage=("digital_signature", "key_encipherment"), uses=("serverAuth",))
        self.server = FreeRadius(lab, self.there, "server", SERVER, NAS, SECRET, USERS, own, authorities.root)
        self.secret(SECRET)
        site.culvert.config["radius"] = {"nas_identifier": "gw-a", "retransmit_tries": 3, "retransmit_timeout": "300ms",
                                         "servers": {"main": {"address": SERVER, "secret": f"file:{self.culvert.folder}/radius.secret"}}}

    def start(self):
        self.server.start()

    def secret(self, text):
        self.culvert.secret(text, "radius.secret")

    def become(self, state):
        if state == "dropped":
            self.there.sh("nft", "-f", self.culvert.lab.write("radius.nft", "table ip t { chain out { type filter hook output priority 0; udp sport 1812 drop; }; }\n"))
        elif state == "secret":
            self.there.sh("nft", "flush", "ruleset")
            self.secret("another secret")
        elif state == "down":
            self.secret(SECRET)
            self.server.stop()
        elif state == "nowhere":
            self.there.sh("ip", "link", "set", "r0", "down")
            self.inside.sh("ip", "neigh", "flush", "dev", "aaa0")

"""Faults of users and virtual addresses for the test of `culvert explain`: what a fault of this kind changes in the two configurations.

A fault says with `user=` what differs from a login that works: `here` and `there` whether each side wants XAuth; `says` and `knows` the
password that the client has and the one that the server has; `known` whether the server knows the user; `gives` which of the sides that
give addresses has any, `asks` whether the client wants one; `hybrid` that the server proves itself by a certificate, which the client does not trust, and the client by its password alone. The server
is Culvert where it is the responder of phase 1.
"""
PASSWORD = "right-pw"


def _user(case):
    return f"user{case.number}"


def ours(case, conn, gw, files):
    user, server = case.fault.change["user"], case.role == "responder"
    password = user.get("knows" if server else "says", PASSWORD)
    if user.get("here", True) and server:
        known = _user(case) if user.get("known", True) else "somebody-else"
        conn["remote"]["xauth"] = {"users": "file:" + gw.lab.write(f"{gw.name}/{case.conn}.users", f"{known}:{{plain}}{password}\n")}
    elif user.get("here", True):
        conn["local"]["xauth"] = {"user": _user(case), "password": "file:" + gw.secret(password, f"{case.conn}.password")}
    if user.get("asks"):
        if server and user.get("gives", True):
            conn["pools"] = ["faults"]
        elif not server:
            conn["vips"] = ["0.0.0.0"]
    if "mode_config" in user:
        conn["mode_config"] = user["mode_config"]
    if "hybrid" in user:
        del conn["secret"]
        if server:
            conn["local"].update(auth="pubkey", certs=[files["own-rsa"]], key=f"file:{files['key-rsa']}")
            conn["remote"]["auth"] = "xauth"
        else:
            conn["local"]["auth"] = "xauth"
            conn["remote"].update(auth="pubkey", cacerts=[files["root"]], crls=[files["crl"]])


def theirs(case, conn):
    user, server = case.fault.change["user"], case.role == "initiator"
    side = "remote" if server else "local"
    if "hybrid" in user:
        proves = conn["local" if server else "remote"]
        proves["auth"] = "pubkey"
        if server:
            proves["certs"] = f"{case.conn}.pem"
            conn["send_cert"] = "always"
        conn[side]["auth"] = "xauth"
        if not server:
            conn[side]["xauth_id"] = _user(case)
    elif user.get("there", True):
        conn[f"{side}-2"] = {"auth": "xauth"} if server else {"auth": "xauth", "xauth_id": _user(case)}
    if user.get("asks") and not server:
        conn["vips"] = "0.0.0.0"


def secret(case):
    """strongSwan's: what it says as a client, what it knows as a server."""
    user, server = case.fault.change["user"], case.role == "initiator"
    if server and not user.get("known", True):
        return {}
    return {f"xauth-{case.number}": {"id": _user(case), "secret": f'"{user.get("knows" if server else "says", PASSWORD)}"'}}

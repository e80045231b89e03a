"""vpnc, the Cisco client: a configuration that it reads, and a gateway's that takes it. Owns the process and its folder."""
import os

from . import gateway, sites
from .lab import LabError, wait_for

GROUP, USER, PASSWORD = "group.lab", "alice", "alicepw"
SCRIPT = """#!/bin/sh
env | grep -E '^(INTERNAL|CISCO|TUNDEV|VPNGATEWAY|reason)' > "$VPNC_FOLDER/env.new"
case "$reason" in
  connect) ip link set dev "$TUNDEV" up mtu 1300
           ip addr add "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"
           ip route add 10.1.0.0/16 dev "$TUNDEV" src "$INTERNAL_IP4_ADDRESS";;
esac
mv "$VPNC_FOLDER/env.new" "$VPNC_FOLDER/env.$reason"
"""


class Vpnc:
    def __init__(self, lab, namespace, name, mode, password=PASSWORD, gateway_address=sites.ADDRESS["a"]):
        self.folder = lab.path(name, "x")[:-2]
        os.makedirs(self.folder, exist_ok=True)
        script = lab.write(f"{name}/script.sh", SCRIPT, mode=0o700)
        conf = lab.write(f"{name}/vpnc.conf", f"""IPSec gateway {gateway_address}
IPSec ID {GROUP}
IPSec secret {sites.SECRET}
IKE Authmode psk
IKE DH Group dh2
Perfect Forward Secrecy nopfs
NAT Traversal Mode {mode}
Xauth username {USER}
Xauth password {password}
Interface name vpnc0
Script {script}
Local Port 500
DPD idle timeout (our side) 30
No Detach
""")
        self.process = namespace.start(f"vpnc-{name}", "vpnc", "--non-inter", "--debug", "1", "--pid-file", f"{self.folder}/pid", conf, env={"VPNC_FOLDER": self.folder})

    def connected(self, seconds=12):
        """What the gateway has told it, as vpnc's script sees it; None: it gave up."""
        path = f"{self.folder}/env.connect"
        try:
            wait_for(lambda: os.path.exists(path) or not self.process.alive(), seconds, "vpnc to connect")
        except LabError:
            return None
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as f:
            return dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line)


def admit(lab, culvert):
    """Configures `culvert` (site a) as the gateway of vpnc's group, with one user."""
    users = lab.write(f"{culvert.name}/users", f"{USER}:{lab.sh('openssl', 'passwd', '-6', PASSWORD).strip()}\n")
    people = gateway.connection(sites.ADDRESS["a"], "%any", sites.ADDRESS["a"], "%any", "aes256-sha1-modp1024", culvert.secret(sites.SECRET),
                                {"net": gateway.child("10.1.0.0/16", "dynamic", ["aes256-sha1"])}, allow_weak=["modp1024"], pools=["clients"], aggressive=True,
                                aggressive_psk_exposes_hash_to_offline_guessing=True)
    people["remote"] = {"xauth": {"users": f"file:{users}"}}
    culvert.config["connections"] = {"people": people}
    culvert.config["pools"] = {"clients": {"addrs": "10.3.0.0/24", "dns": ["10.1.0.53"], "split_include": ["10.1.0.0/16"], "banner": "Welcome to the lab.",
                                           "domain": "lab.example"}}

"""strongSwan as a peer: a private charon-systemd in a namespace, with its own configuration, control socket and log.

With the plugin kernel-libipsec, ESP is done in user space and always in UDP: it sends a NAT-D hash that does not match, so both sides
conclude that there is a NAT and move to port 4500. Needs no kernel ESP. For native ESP see uml.py.
"""
import os
import re

from .lab import LabError, wait_for

CHARON = "/usr/sbin/charon-systemd"
PLUGINS = ("random nonce aes sha1 sha2 md5 hmac kdf gcm ccm ctr xcbc cmac chapoly gmp openssl pem pkcs1 x509 pubkey constraints {kernel} socket-default vici updown "
           "counters xauth-generic eap-identity eap-md5 eap-mschapv2")
STRONGSWAN_CONF = """charon-systemd {{
  load = {plugins}
  install_routes = yes
  retransmit_timeout = {retransmit_timeout}
  retransmit_tries = 4
  retransmit_base = 1.5
  half_open_timeout = 10
  {extra}
  plugins {{
    vici {{ socket = unix://{vici} }}
    kernel-libipsec {{ allow_peer_ts = yes }}
    openssl {{ load_legacy = yes }}
  }}
  filelog {{ log {{ path = {log}
      default = {log_level}
      ike = {ike_log}
      chd = {chd_log}
      cfg = {cfg_log}
      time_format = %H:%M:%S
      ms = yes
      append = no
      flush_line = yes }} }}
}}
swanctl {{ load = random pem pkcs1 x509 openssl pubkey }}
"""


def render(settings, depth=0):
    """A nested dict in the syntax of swanctl.conf."""
    pad = "  " * depth
    text = ""
    for key, value in settings.items():
        if isinstance(value, dict):
            text += f"{pad}{key} {{\n{render(value, depth + 1)}{pad}}}\n"
        else:
            text += f"{pad}{key} = {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}\n"
    return text


def connection(local, remote, local_id, remote_id, proposals, children, **extra):
    """An IKEv1 main mode connection with a pre-shared key; with `version=2` it is IKEv2."""
    return {"version": 1, "local_addrs": local, "remote_addrs": remote, "proposals": proposals, **extra,
            "local": {"auth": "psk", "id": local_id}, "remote": {"auth": "psk", "id": remote_id}, "children": children}


def child(local_ts, remote_ts, esp_proposals, **extra):
    return {"local_ts": local_ts, "remote_ts": remote_ts, "esp_proposals": esp_proposals, **extra}


def parse_raw(text):
    """The events of `swanctl --raw`, one nested dict each. Sections are {}, lists are [] and values hold no blank."""
    events = []
    for line in text.splitlines():
        if " event {" not in line:
            continue
        tokens = iter(re.findall(r"[{}\]]|[^\s{}\[\]=]+=\[|[^\s{}\[\]=]+=[^\s{}\[\]]*|[^\s{}\[\]]+(?:\[[^\s\[\]]*\])?", line[line.index("{") + 1:]))
        events.append(_section(tokens))
    return events


def _section(tokens):
    items, name = {}, None
    for token in tokens:
        if token == "}":
            break
        if token == "{":
            items[name] = _section(tokens)
        elif token.endswith("=["):
            items[token[:-2]] = list(iter(lambda: next(tokens, "]"), "]"))
        elif "=" in token:
            key, value = token.split("=", 1)
            items[key] = value
        else:
            name = token
    return items


class StrongSwan:
    """`start` waits until it answers. `secret` is used for every pair of identities."""

    def __init__(self, lab, namespace, name, connections, secret, kernel="kernel-libipsec kernel-netlink", retransmit_timeout=1.0, extra="", keys=False,
                 quiet=False):
        """`keys`: log all key material, so that captures can be read (keys.py). `quiet`: log next to nothing, so that its cost does not count."""
        self.lab, self.namespace, self.name = lab, namespace, name
        self.folder = lab.path(name, "x")[:-2]
        self.vici, self.log = f"{self.folder}/vici", f"{self.folder}/charon.log"
        self.conf = lab.write(f"{name}/strongswan.conf", STRONGSWAN_CONF.format(
            plugins=PLUGINS.format(kernel=kernel), vici=self.vici, log=self.log, retransmit_timeout=retransmit_timeout, extra=extra,
            ike_log=-1 if quiet else 4 if keys else 2, chd_log=-1 if quiet else 4 if keys else 1, cfg_log=-1 if quiet else 2, log_level=-1 if quiet else 1))
        self.process = None
        self.configure(connections, secret)

    def add_options(self, text):
        """More lines for charon's section of strongswan.conf, before `start`."""
        with open(self.conf, encoding="utf-8") as f:
            known = f.read()
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(known.replace("charon-systemd {\n", "charon-systemd {\n  " + text + "\n", 1))

    def add_plugins(self, names):
        """More plugins, before `start`."""
        with open(self.conf, encoding="utf-8") as f:
            known = f.read()
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(known.replace(" eap-mschapv2\n", f" eap-mschapv2 {names}\n", 1))

    def configure(self, connections, secret, **sections):
        """Writes swanctl.conf; `load` makes a running charon read it."""
        secrets = secret if isinstance(secret, dict) else {"ike-all": {"secret": f'"{secret}"'}}
        self.lab.write(f"{self.name}/swanctl/swanctl.conf", render({"connections": connections, "secrets": secrets, **sections}))

    def environment(self):
        return {"STRONGSWAN_CONF": self.conf, "SWANCTL_DIR": f"{self.folder}/swanctl"}

    def start(self):
        if os.path.exists(self.vici):
            os.unlink(self.vici)
        self.process = self.namespace.start(f"charon-{self.name}", CHARON, env=self.environment())
        wait_for(lambda: os.path.exists(self.vici) or not self.process.alive(), 15, f"{self.name}'s control socket")
        if not self.process.alive():
            raise LabError(f"charon of {self.name} ended at once: {self.process.output()[-400:]}")
        self.load()
        return self

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def swanctl(self, command, *arguments, seconds=40, check=True):
        return self.namespace.sh("env", *(f"{k}={v}" for k, v in self.environment().items()), "swanctl", f"--{command}",
                                 "--uri", f"unix://{self.vici}", *arguments, seconds=seconds, check=check)

    def load(self):
        return self.swanctl("load-all")

    def initiate(self, child_name, seconds=10):
        """(established, output)"""
        text = self.swanctl("initiate", "--child", child_name, "--timeout", str(seconds), check=False)
        return "initiate completed successfully" in text, text

    def terminate(self, connection_name, seconds=10):
        return self.swanctl("terminate", "--ike", connection_name, "--timeout", str(seconds), check=False)

    def list_sas(self):
        """{connection: {..., 'child-sas': {...}}}; the last one wins where several have one name."""
        found = {}
        for event in parse_raw(self.swanctl("list-sas", "--raw")):
            found.update(event)
        return found

    def child_sas(self, connection_name=None):
        """All CHILD SAs, of one connection or of all."""
        found = []
        for event in parse_raw(self.swanctl("list-sas", "--raw")):
            for name, sa in event.items():
                if isinstance(sa, dict) and connection_name in (None, name):
                    found.extend(sa.get("child-sas", {}).values())
        return found

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def logged(self, pattern):
        """How often its log has what the pattern says."""
        return len(re.findall(pattern, self.log_text()))

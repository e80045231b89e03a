"""libreswan as a peer: a private pluto, with its own configuration, certificate store, control socket and log, in a User Mode Linux guest (lib/uml).

It knows ESP and AH of the kernel only, so it needs a kernel that has them. Debian's package conflicts with strongSwan's: scripts/install unpacks it
below build-peers/ instead of installing it. It ends with the guest.
"""
import os
import shutil

from .gateway import ROOT
from .lab import LabError, wait_for

UNPACKED = os.path.join(ROOT, "build-peers/libreswan")
PROGRAMS = os.path.join(UNPACKED, "usr/libexec/ipsec")
INSTALLED = "/usr/libexec/ipsec"           # where they look for each other


def why_not():
    """Why no libreswan can be started here, or None if it can."""
    return None if os.access(os.path.join(PROGRAMS, "pluto"), os.X_OK) else f"libreswan is not unpacked at {UNPACKED} (scripts/install test)"


def render(connections):
    """{name: {key: value}} as an ipsec.conf. The script that would set routes is not run: a guest has the routes that its test gives it."""
    text = "version 2.0\n\nconfig setup\n    ikev1-policy=accept\n"
    for name, settings in connections.items():
        text += f"\nconn {name}\n" + "".join(f"    {key}={value}\n" for key, value in {"auto": "add", "leftupdown": "%disabled", **settings}.items() if value is not None)
    return text


class Libreswan:
    """`secrets`: lines of an ipsec.secrets. `certificates`: files in PKCS#12 without a password, whose names are their friendly names."""

    def __init__(self, lab, guest, name, connections, secrets, certificates=(), passwords=None):
        self.lab, self.guest, self.name = lab, guest, name
        self.folder = lab.path(name, "x")[:-2]
        self.conf = lab.write(f"{name}/ipsec.conf", render(connections))
        self.secrets = lab.write(f"{name}/ipsec.secrets", secrets)
        self.log, self.run = f"{self.folder}/pluto.log", "/run/pluto"
        self.programs = f"{self.folder}/programs"           # the laboratory's folder is all of the host's temporary files that a guest sees
        shutil.copytree(PROGRAMS, self.programs)
        self.store = lab.path(name, "ipsec.d/nss")
        self._make_store(certificates)
        if passwords:
            lab.write(f"{name}/ipsec.d/passwd", passwords)
        self.connections = connections

    def _make_store(self, certificates):
        os.makedirs(self.store, exist_ok=True)
        self.lab.sh("certutil", "-N", "-d", f"sql:{self.store}", "--empty-password")
        for path in certificates:
            self.lab.sh("pk12util", "-i", path, "-d", f"sql:{self.store}", "-W", "")

    def start(self, seconds=60):
        self.guest.script(f"mkdir -p {self.run}")
        # pluto runs a helper by the path of an installed package: there is one in its own view of the file system.
        installed = f"mount -t tmpfs tmpfs /usr/libexec && ln -s {self.programs} {INSTALLED} && exec \"$@\""
        pluto = [f"{INSTALLED}/pluto", "--nofork", "--config", self.conf, "--secretsfile", self.secrets, "--ipsecdir", f"{self.folder}/ipsec.d",
                 "--nssdir", self.store, "--rundir", self.run, "--logfile", self.log, "--no-dnssec", "--use-xfrm"]
        self.process = self.guest.start(f"pluto-{self.name}", "unshare", "--mount", "bash", "-c", installed, "in its view", *pluto)
        wait_for(lambda: not self.missing() or not self.process.alive(), seconds, "pluto to have all its connections", step=0.5)
        if not self.process.alive():
            raise LabError(f"pluto ended at once: {self.process.output()[-400:]}")
        return self

    def missing(self):
        """The connections that it has not taken (yet); all of them while it does not listen."""
        log = self.log_text() if os.path.exists(self.log) else ""
        return [name for name in self.connections if f'"{name}": added' not in log or "loading secrets" not in log]

    def whack(self, *arguments, seconds=20, check=False):
        return self.guest.sh(f"{self.programs}/whack", "--rundir", self.run, *arguments, seconds=seconds, check=check)

    def initiate(self, name, seconds=20):
        """(established, output). Returns when the IPsec SA is established, or after `seconds`."""
        text = self.guest.script(f"timeout {seconds} {self.programs}/whack --rundir {self.run} --initiate --name {name}", seconds=seconds + 5, check=False)
        return "IPsec SA established" in text, text

    def terminate(self, name):
        return self.whack("--terminate", "--name", name)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

"""FreeRADIUS in a namespace: a server with a few users, by EAP alone, that says nothing to whom it does not know.

Its whole configuration is written here: that of the distribution has more in it than a test wants, and listens everywhere.
"""
import os

from . import pki
from .lab import wait_for

PROGRAM = "/usr/sbin/freeradius"
CONF = """prefix = /usr
name = freeradius
logdir = {folder}
run_dir = {folder}
raddbdir = {folder}
libdir = /usr/lib/freeradius
cleanup_delay = 5
max_request_time = 30
log {{
  destination = files
  file = {folder}/radius.log
  auth = yes
}}
security {{
  reject_delay = 0
  status_server = no
}}
thread pool {{
  start_servers = 1
  max_servers = 2
}}
client gateway {{
  ipaddr = {client}
  secret = "{secret}"
  require_message_authenticator = yes
}}
modules {{
  eap {{
    default_eap_type = mschapv2
    timer_expire = 60
    md5 {{
    }}
    mschapv2 {{
    }}
    tls-config tls-common {{
      private_key_file = {folder}/server.key
      certificate_file = {folder}/server.pem
      ca_file = {folder}/ca.pem
      tls_min_version = "1.2"
      tls_max_version = "1.2"
    }}
    tls {{
      tls = tls-common
    }}
  }}
  mschap {{
  }}
  files {{
    filename = {folder}/users
  }}
  always reject {{
    rcode = reject
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = {address}
    port = 1812
  }}
  authorize {{
    files
    eap {{
      ok = return
    }}
  }}
  authenticate {{
    eap
    Auth-Type MS-CHAP {{
      mschap
    }}
  }}
  post-auth {{
    update reply {{
      User-Name := "%{{request:User-Name}}"
    }}
    Post-Auth-Type REJECT {{
      eap
    }}
  }}
}}
"""


class FreeRadius:
    """`users`: the text of its file. `certificate`: a pki.Issued for EAP-TLS, `authority` the root of both sides."""

    def __init__(self, lab, namespace, name, address, client, secret, users, certificate, authority):
        self.lab, self.namespace, self.name = lab, namespace, name
        self.folder = lab.path(name, "x")[:-2]
        self.log = f"{self.folder}/radius.log"
        write = lambda file, text: lab.write(f"{name}/{file}", text)
        write("radiusd.conf", CONF.format(folder=self.folder, client=client, secret=secret, address=address))
        write("users", users)
        write("server.pem", certificate.pem())
        write("server.key", pki.pem(certificate.private))
        write("ca.pem", authority.pem())
        os.symlink("/usr/share/freeradius/dictionary", f"{self.folder}/dictionary")
        self.process = None

    def start(self):
        self.process = self.namespace.start(self.name, PROGRAM, "-f", "-d", self.folder)
        wait_for(lambda: not self.process.alive() or self.logged("Ready to process requests"), 60, f"{self.name} to be ready; its log: {self.log}")
        assert self.process.alive(), self.log_text()[-800:] + self.process.output()[-800:]
        return self

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def log_text(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def logged(self, text):
        return text in self.log_text()

"""Certificates for tests, made with openssl's command line: an authority, and end entities of each kind of key with a DNS name each.

Files are PEM, keys in the form that every peer reads (PKCS#1, SEC1). Nothing is kept between runs.
"""
import os

KINDS = {"rsa": ["genrsa", "-traditional", "2048"], "ecdsa-256": ["ecparam", "-name", "prime256v1", "-genkey", "-noout"],
         "ecdsa-384": ["ecparam", "-name", "secp384r1", "-genkey", "-noout"], "ecdsa-521": ["ecparam", "-name", "secp521r1", "-genkey", "-noout"]}


class Authority:
    """Its certificate is `file`; `issue` makes what it signs."""

    def __init__(self, lab, name="ca", kind="ecdsa-256"):
        self.lab, self.name = lab, name
        self.folder = os.path.dirname(lab.write(f"certificates/{name}/serial", "1000\n"))
        self.file, self.key = f"{self.folder}/ca.pem", f"{self.folder}/ca.key"
        self._key(self.key, kind)
        self._openssl("req", "-x509", "-new", "-key", self.key, "-out", self.file, "-days", "30", "-subj", f"/C=CH/O=Culvert/CN={name}",
                      "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _openssl(self, *arguments):
        return self.lab.sh("openssl", *arguments)

    def _key(self, path, kind):
        self._openssl(*KINDS[kind], "-out", path)
        os.chmod(path, 0o600)

    def issue(self, dns, kind, days=30, extra=""):
        """(certificate, key): paths. `extra`: more lines of openssl's extension syntax."""
        base = f"{self.folder}/{dns}-{kind}"
        self._key(f"{base}.key", kind)
        with open(f"{base}.ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName=DNS:{dns}\nkeyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n{extra}")
        self._openssl("req", "-new", "-key", f"{base}.key", "-out", f"{base}.csr", "-subj", f"/C=CH/O=Culvert/CN={dns}")
        self._openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.file, "-CAkey", self.key, "-CAserial", f"{self.folder}/serial",
                      "-days", str(days), "-extfile", f"{base}.ext", "-out", f"{base}.pem")
        return f"{base}.pem", f"{base}.key"

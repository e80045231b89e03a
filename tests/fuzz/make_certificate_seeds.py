#!/usr/bin/python3
"""usage: tests/fuzz/make_certificate_seeds.py : writes the seed corpus of the fuzz target `certificate` anew, into corpus/certificate/.

The first byte of a seed chooses the reader: 0 a certificate, 1 a name, 2 a revocation list, 3 a name as text, 4 a PKCS #7. The keys are made on the spot, so
each run writes other bytes; nothing depends on them.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))
from lib import pki  # noqa: E402

from cryptography.hazmat.primitives import serialization  # noqa: E402

root = pki.Issued("C=CH, O=Example, CN=Root", pki.key("p256", 1), ca=True, permitted=["DNS:example"], excluded=["email:example"])
certificates = {
    "root": root,
    "rsa": pki.Issued("C=CH, O=Example, CN=gw", pki.key("rsa2048"), root, san=["DNS:gw.example", "email:ops@gw.example", "IP:10.9.0.1", "IP:2001:db8::1"]),
    "places": pki.Issued("CN=gw", pki.key("p384"), root, uses=["serverAuth", "OCSPSigning"], crl="http://crl.example/x", ocsp="http://ocsp.example/"),
    "path": pki.Issued("CN=Middle", pki.key("p521"), root, ca=True, path=0),
    "plain": pki.Issued("CN=x", pki.key("p256")),
}
seeds = {f"certificate_{name}": b"\0" + one.certificate.public_bytes(serialization.Encoding.DER) for name, one in certificates.items()}
for text in ("C=CH, O=Example, CN=gw", "CN=*", "OU=a, OU=b, OU=c"):
    seeds[f"name_{len(text)}"] = b"\1" + pki.name(text).public_bytes()
seeds["list_empty"] = b"\2" + root.crl()
seeds["list_two"] = b"\2" + root.crl([certificates["rsa"], certificates["places"]])
for n, text in enumerate(("C=CH, O=Example, CN=gw", r"O=A\, B + CN=\41\ , 1.2.3.4=#0500", "E=ops@gw.example,DC=example,UID=7", "C=CH, O=*")):
    seeds[f"text_{n}"] = b"\3" + text.encode()
for name, chain in {"chain": ("rsa", "path"), "one": ("plain",)}.items():
    pem = b"".join(certificates[n].certificate.public_bytes(serialization.Encoding.PEM) for n in chain)
    seeds[f"pkcs7_{name}"] = b"\4" + subprocess.run(["openssl", "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", "-outform", "DER"], input=pem, stdout=subprocess.PIPE, check=True).stdout
folder = os.path.join(HERE, "corpus", "certificate")
os.makedirs(folder, exist_ok=True)
for name, content in seeds.items():
    with open(os.path.join(folder, name), "wb") as f:
        f.write(content)
print(f"wrote {len(seeds)} seeds")

#!/usr/bin/python3
"""usage: tests/fuzz/make_certificate_seeds.py : writes the seed corpus of the fuzz target `certificate` anew, into corpus/certificate/.

The first byte of a seed chooses the reader: 0 a certificate, 1 a name, 2 a revocation list, 3 a name as text, 4 a PKCS #7, 5 a file, 6 an
authority with an OCSP answer of its own about itself, 7 one with its revocation list. The keys are made on the spot, so each run writes other bytes; nothing depends
on them.
"""
import datetime
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))
from lib import pki  # noqa: E402

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.x509 import ocsp  # noqa: E402

TIME = datetime.datetime(2026, 1, 1)            # the target's clock

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
der, pem = serialization.Encoding.DER, serialization.Encoding.PEM
seeds["file_pem"] = b"\5" + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n" + b"".join(certificates[n].certificate.public_bytes(pem) for n in ("rsa", "path"))
seeds["file_der"] = b"\5" + certificates["plain"].certificate.public_bytes(der)
seeds["name_strings"] = b"\1" + bytes.fromhex("303c310d300b060355040a1404e9636f6c" "310f300d060355040b1e060041" "20ac00e9" "310d300b06035504031c0400010348" "310b3009060355040313022a2a")
seeds["name_star"] = b"\1" + pki.name("C=CH, O=Example, CN=*").public_bytes()
early = pki.Issued("C=CH, O=Example, CN=Early", pki.key("p256", 3), ca=True, since=TIME - pki.now() - pki.DAY, until=400 * pki.DAY, uses=["serverAuth"])


def about_itself(status, since=TIME, until=TIME + pki.DAY, nonce=bytes(16), algorithm=hashes.SHA256(), revoked=None, of=None):
    builder = ocsp.OCSPResponseBuilder().add_response(cert=of or early.certificate, issuer=early.certificate, algorithm=hashes.SHA1(), cert_status=status,
                                                      this_update=since, next_update=until, revocation_time=revoked, revocation_reason=None)
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, early.certificate)
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), False)
    return builder.sign(early.private, algorithm).public_bytes(der)


answers = {"good": about_itself(ocsp.OCSPCertStatus.GOOD), "revoked": about_itself(ocsp.OCSPCertStatus.REVOKED, revoked=TIME - pki.DAY),
           "unknown": about_itself(ocsp.OCSPCertStatus.UNKNOWN), "other_nonce": about_itself(ocsp.OCSPCertStatus.GOOD, nonce=b"1" * 16),
           "future": about_itself(ocsp.OCSPCertStatus.GOOD, since=TIME + 2 * pki.DAY, until=TIME + 3 * pki.DAY), "endless": about_itself(ocsp.OCSPCertStatus.GOOD, TIME - 9 * pki.DAY, None, None),
           "outdated": about_itself(ocsp.OCSPCertStatus.GOOD, TIME - 9 * pki.DAY, TIME - 8 * pki.DAY), 
           "another": about_itself(ocsp.OCSPCertStatus.GOOD, of=certificates["rsa"].certificate),
           "busy": ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(der)}
own = early.certificate.public_bytes(der)
for name, answer in answers.items():
    seeds[f"ocsp_{name}"] = b"\6" + len(own).to_bytes(2, "big") + own + answer
lists = {"none": early.crl(), "itself": early.crl([early]), "of_another": root.crl(), "forged": early.crl()[:-1] + b"\0"}
for name, one in lists.items():
    seeds[f"lists_{name}"] = b"\7" + len(own).to_bytes(2, "big") + own + one
folder = os.path.join(HERE, "corpus", "certificate")
os.makedirs(folder, exist_ok=True)
for name, content in seeds.items():
    with open(os.path.join(folder, name), "wb") as f:
        f.write(content)
print(f"wrote {len(seeds)} seeds")

"""A public key infrastructure for tests against real peers: authorities and certificates with any extension or defect, revocation lists,
and the index that `openssl ocsp` answers from. Made with Python's cryptography, which shares no code with what is tested here but OpenSSL.

Keys are made once a name: what two certificates have in common costs nothing.
"""
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from .lab import wait_for

DAY = datetime.timedelta(days=1)
CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
EDWARDS = {"ed25519": ed25519.Ed25519PrivateKey, "ed448": ed448.Ed448PrivateKey}
OIDS = {"C": NameOID.COUNTRY_NAME, "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": NameOID.COMMON_NAME}
USES = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH, "codeSigning": ExtendedKeyUsageOID.CODE_SIGNING, "OCSPSigning": ExtendedKeyUsageOID.OCSP_SIGNING}
_keys = {}


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def key(kind, number=0):
    """`kind`: rsa2048, rsa4096, p256, p384, p521, ed25519, ed448."""
    if (kind, number) not in _keys:
        if kind in EDWARDS:
            _keys[kind, number] = EDWARDS[kind].generate()
        else:
            _keys[kind, number] = rsa.generate_private_key(65537, int(kind[3:])) if kind.startswith("rsa") else ec.generate_private_key(CURVES[kind]())
    return _keys[kind, number]


def pem(private):
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def name(text):
    """'C=CH, O=Example, CN=gw'"""
    parts = (part.strip().split("=", 1) for part in text.split(","))
    return x509.Name([x509.NameAttribute(OIDS[attribute], value) for attribute, value in parts])


def alt_name(text):
    kind, value = text.split(":", 1)
    if kind == "IP":
        return x509.IPAddress(ipaddress.ip_address(value))
    return {"DNS": x509.DNSName, "email": x509.RFC822Name}[kind](value)


def subtree(text):
    kind, value = text.split(":", 1)
    return x509.IPAddress(ipaddress.ip_network(value)) if kind == "IP" else alt_name(text)


def hash_for(private):
    """Edwards curves sign what there is, without a hash before."""
    return None if isinstance(private, tuple(EDWARDS.values())) else hashes.SHA256()


class Issued:
    """A certificate with its key. `issuer` None: signed by itself."""

    def __init__(self, subject, private, issuer=None, ca=False, path=None, san=(), usage=("digital_signature",), uses=(), since=-DAY, until=30 * DAY,
                 crl=None, ocsp=None, permitted=None, excluded=None):
        self.private, self.issuer, self.subject = private, issuer, subject
        signer = issuer.private if issuer else private
        if ca and usage == ("digital_signature",):
            usage = ("key_cert_sign", "crl_sign")
        flags = {flag: flag in usage for flag in ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                                                  "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")}
        extensions = [(x509.BasicConstraints(ca, path if ca else None), True), (x509.KeyUsage(**flags), True),
                      (x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False),
                      (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)]
        if san:
            extensions.append((x509.SubjectAlternativeName([alt_name(n) for n in san]), False))
        if uses:
            extensions.append((x509.ExtendedKeyUsage([USES[u] for u in uses]), False))
        if crl:
            extensions.append((x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier(crl)], None, None, None)]), False))
        if ocsp:
            place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp))
            extensions.append((x509.AuthorityInformationAccess([place]), False))
        if permitted or excluded:
            extensions.append((x509.NameConstraints([subtree(n) for n in permitted or []] or None, [subtree(n) for n in excluded or []] or None), True))
        builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer.subject if issuer else subject))
                   .public_key(private.public_key()).serial_number(x509.random_serial_number()).not_valid_before(now() + since).not_valid_after(now() + until))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        self.certificate = builder.sign(signer, hash_for(signer))

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def size(self):
        return len(self.certificate.public_bytes(serialization.Encoding.DER))

    def crl(self, revoked=(), since=-DAY / 24, until=DAY):
        """A revocation list in DER."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(name(self.subject)).last_update(now() + since).next_update(now() + until)
        builder = builder.add_extension(x509.CRLNumber(1), False)
        for issued in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(issued.certificate.serial_number).revocation_date(now() - DAY / 24)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.private, hash_for(self.private)).public_bytes(serialization.Encoding.DER)


def ocsp(namespace, port, root, signer, issued, revoked):
    """Starts an OCSP responder (`openssl ocsp`) at 127.0.0.1 of the namespace that knows these certificates of `root`. `signer`: its own."""
    write = lambda file, text: namespace.lab.write(f"ocsp/{file}", text)
    process = namespace.start("ocsp", "openssl", "ocsp", "-port", str(port), "-index", write("index.txt", index(issued, revoked)), "-CA", write("root.pem", root.pem()),
                              "-rsigner", write("signer.pem", signer.pem()), "-rkey", write("signer.key", pem(signer.private)), "-nmin", "60", "-ignore_err")
    wait_for(lambda: namespace.sh("ss", "-Hltn", f"sport = :{port}").strip() or not process.alive(), 30, "the OCSP responder to listen")


def index(issued, revoked):
    """The index file that `openssl ocsp` reads."""
    text = ""
    for one in issued:
        date = lambda t: t.strftime("%y%m%d%H%M%SZ")
        state, when = ("R", date(now() - DAY / 24)) if one in revoked else ("V", "")
        serial = f"{one.certificate.serial_number:X}"
        subject = "".join(f"/{part.strip()}" for part in one.subject.split(","))
        text += f"{state}\t{date(one.certificate.not_valid_after)}\t{when}\t{serial if len(serial) % 2 == 0 else '0' + serial}\tunknown\t{subject}\n"
    return text

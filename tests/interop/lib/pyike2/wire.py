"""IKEv2 on the wire (RFC 7296 §3): headers, chains of payloads, and the bodies that this peer needs. Knows no keys."""
import collections
import ipaddress
import struct

SA_INIT, AUTH_EXCHANGE, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
INITIATOR, RESPONSE = 0x08, 0x20
SA, KE, IDI, IDR, AUTH, NONCE, NOTIFY, DELETE, TSI, TSR, SK = 33, 34, 35, 36, 39, 40, 41, 42, 44, 45, 46
IKE, AH, ESP = 1, 2, 3
FQDN, SHARED_KEY = 2, 2
X25519 = 31
# Notifications
NO_PROPOSAL_CHOSEN, AUTHENTICATION_FAILED, INITIAL_CONTACT, SET_WINDOW_SIZE = 14, 24, 16384, 16385
ID_SYNC_SUPPORTED, REPLAY_SYNC_SUPPORTED, ID_SYNC, REPLAY_SYNC = 16420, 16421, 16422, 16423

Header = collections.namedtuple("Header", "spi_i spi_r next_payload version exchange flags message_id length")
Notify = collections.namedtuple("Notify", "protocol spi type data")
# type: 1 encryption, 2 PRF, 3 integrity, 4 key exchange, 5 ESN
Transform = collections.namedtuple("Transform", "type id key_bits")
Proposal = collections.namedtuple("Proposal", "number protocol spi transforms")


class WireError(Exception):
    """A message that is not what it should be."""


def header(message):
    if len(message) < 28:
        raise WireError("shorter than its header")
    parsed = Header(*struct.unpack(">8s8sBBBBII", message[:28]))
    if parsed.length != len(message) or parsed.version >> 4 != 2:
        raise WireError(f"length {parsed.length} of {len(message)}, version {parsed.version:#x}")
    return parsed


def pack_header(spi_i, spi_r, next_payload, exchange, flags, message_id, length):
    return struct.pack(">8s8sBBBBII", spi_i, spi_r, next_payload, 0x20, exchange, flags, message_id, length)


def chain(payloads):
    """(first payload's type, bytes) of [(type, body), ...]"""
    out = b""
    for index, (_, body) in enumerate(payloads):
        following = payloads[index + 1][0] if index + 1 < len(payloads) else 0
        out += struct.pack(">BBH", following, 0, len(body) + 4) + body
    return (payloads[0][0] if payloads else 0), out


def unchain(first, data):
    """[(type, body), ...]"""
    out, kind = [], first
    while kind:
        if len(data) < 4:
            raise WireError("a payload is cut")
        following, _, length = struct.unpack(">BBH", data[:4])
        if length < 4 or length > len(data):
            raise WireError(f"payload {kind} has length {length} of {len(data)}")
        out.append((kind, data[4:length]))
        kind, data = following, data[length:]
    if data:
        raise WireError("something behind the last payload")
    return out


def only(payloads, kind):
    """The body of the one payload of a type."""
    found = [body for k, body in payloads if k == kind]
    if len(found) != 1:
        raise WireError(f"{len(found)} payloads of type {kind}")
    return found[0]


def notify(kind, data=b"", protocol=0, spi=b""):
    return NOTIFY, struct.pack(">BBH", protocol, len(spi), kind) + spi + data


def window_size(messages):
    """RFC 7296 §2.3."""
    return notify(SET_WINDOW_SIZE, struct.pack(">I", messages))


def notifies(payloads):
    found = []
    for body in (b for k, b in payloads if k == NOTIFY):
        protocol, size, kind = struct.unpack(">BBH", body[:4])
        found.append(Notify(protocol, body[4:4 + size], kind, body[4 + size:]))
    return found


def sa(proposals):
    """RFC 7296 §3.3."""
    out = b""
    for index, p in enumerate(proposals):
        inside = b""
        for n, t in enumerate(p.transforms):
            attribute = struct.pack(">HH", 0x800e, t.key_bits) if t.key_bits else b""
            inside += struct.pack(">BBHBBH", 3 if n + 1 < len(p.transforms) else 0, 0, 8 + len(attribute), t.type, 0, t.id) + attribute
        out += struct.pack(">BBHBBBB", 2 if index + 1 < len(proposals) else 0, 0, 8 + len(p.spi) + len(inside), p.number, p.protocol, len(p.spi),
                           len(p.transforms)) + p.spi + inside
    return SA, out


def parse_sa(body):
    out = []
    while body:
        _, _, length, number, protocol, size, count = struct.unpack(">BBHBBBB", body[:8])
        spi, rest, transforms = body[8:8 + size], body[8 + size:length], []
        for _ in range(count):
            _, _, t_length, kind, _, ident = struct.unpack(">BBHBBH", rest[:8])
            bits = 0
            if t_length > 8:
                attribute, bits = struct.unpack(">HH", rest[8:12])
                if attribute != 0x800e or t_length != 12:
                    raise WireError(f"transform attribute {attribute:#x}")
            transforms.append(Transform(kind, ident, bits))
            rest = rest[t_length:]
        if rest:
            raise WireError("something behind the last transform")
        out.append(Proposal(number, protocol, spi, tuple(transforms)))
        body = body[length:]
    return out


def ke(public):
    return KE, struct.pack(">HH", X25519, 0) + public


def identity(kind, name):
    return kind, struct.pack(">B3x", FQDN) + name.encode()


def selectors(kind, networks):
    """IPv4 networks, any protocol and port (RFC 7296 §3.13)."""
    out = struct.pack(">B3x", len(networks))
    for net in map(ipaddress.ip_network, networks):
        out += struct.pack(">BBHHH", 7, 0, 16, 0, 65535) + net[0].packed + net[-1].packed
    return kind, out


def parse_selectors(body):
    """[(first, last address)] of IPv4 selectors for any protocol and port."""
    out, rest = [], body[4:]
    for _ in range(body[0]):
        kind, protocol, length, low, high = struct.unpack(">BBHHH", rest[:8])
        if (kind, protocol, length, low, high) != (7, 0, 16, 0, 65535):
            raise WireError("a selector of another kind")
        out.append((str(ipaddress.ip_address(rest[8:12])), str(ipaddress.ip_address(rest[12:16]))))
        rest = rest[16:]
    return out


# RFC 6311 §4

def id_sync(nonce, send, recv):
    return notify(ID_SYNC, struct.pack(">4sII", nonce, send, recv))


def parse_id_sync(payloads):
    """(nonce, send, recv); WireError: there is not exactly one, of its one size, without an SPI."""
    found = [n for n in notifies(payloads) if n.type == ID_SYNC]
    if len(found) != 1 or len(found[0].data) != 12 or found[0].spi or found[0].protocol not in (0, IKE):
        raise WireError(f"no IKEV2_MESSAGE_ID_SYNC as it should be: {found}")
    return struct.unpack(">4sII", found[0].data)

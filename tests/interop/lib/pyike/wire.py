"""ISAKMP messages as values, and values as messages (RFC 2408 §3; the IPsec DOI of RFC 2407 §4). Knows no keys and no state."""
import collections
import struct

MAIN_MODE, AGGRESSIVE_MODE, INFORMATIONAL, QUICK_MODE = 2, 4, 5, 32
ENCRYPTED, COMMIT = 1, 2                                                # flags
SA, KE, ID, HASH, NONCE, NOTIFY, DELETE, VENDOR = 1, 4, 5, 8, 10, 11, 12, 13
ISAKMP, AH, ESP = 1, 2, 3                                               # protocols
IPSEC_DOI, IDENTITY_ONLY = 1, 1
INVALID_COOKIE, INVALID_SPI, NO_PROPOSAL_CHOSEN, INVALID_ID_INFORMATION = 4, 11, 14, 18
CONNECTED, RESPONDER_LIFETIME, REPLAY_STATUS, INITIAL_CONTACT = 16384, 24576, 24577, 24578
R_U_THERE, R_U_THERE_ACK = 36136, 36137                                 # RFC 3706 §5.2
SECONDS, KILOBYTES = 1, 2
DPD = bytes.fromhex("afcad71368a1f1c96b8696fc77570100")                 # RFC 3706 §5.1
HEADER = struct.Struct("!8s8sBBBBII")


class Malformed(Exception):
    """A message that is not what its RFC says; the text says why."""


Header = collections.namedtuple("Header", "cookie_i cookie_r next version exchange flags message_id length")
Proposal = collections.namedtuple("Proposal", "number protocol spi transforms")
Transform = collections.namedtuple("Transform", "number id attributes")          # attributes: [(type, number)], in their order
Identity = collections.namedtuple("Identity", "type protocol port data")
Notify = collections.namedtuple("Notify", "protocol type spi data")
Delete = collections.namedtuple("Delete", "protocol spis")


def header(data):
    if len(data) < HEADER.size:
        raise Malformed(f"a message of {len(data)} bytes")
    found = Header(*HEADER.unpack_from(data))
    if found.version != 0x10 or found.length != len(data):
        raise Malformed(f"version {found.version:#x}, length {found.length} of {len(data)}")
    return found


def message(cookies, exchange, flags, message_id, first, body):
    return HEADER.pack(*cookies, first, 0x10, exchange, flags, message_id, HEADER.size + len(body)) + body


def chain(payloads):
    """[(type, body)] -> (type of the first, bytes)"""
    kinds = [kind for kind, _ in payloads[1:]] + [0]
    return payloads[0][0], b"".join(struct.pack("!BBH", following, 0, 4 + len(body)) + body for following, (_, body) in zip(kinds, payloads))


def payloads(first, data):
    """The inverse; what follows the last payload is padding, which may be there. -> ([(type, body)], bytes of the chain)"""
    found, at, kind = [], 0, first
    while kind:
        if at + 4 > len(data):
            raise Malformed("a payload beyond the end")
        following, reserved, size = struct.unpack_from("!BBH", data, at)
        if reserved or size < 4 or at + size > len(data):
            raise Malformed(f"a payload of {size} bytes, reserved {reserved}")
        found.append((kind, data[at + 4:at + size]))
        kind, at = following, at + size
    return found, at


def every(found, kind):
    return [body for k, body in found if k == kind]


def one(found, kind):
    bodies = every(found, kind)
    if len(bodies) != 1:
        raise Malformed(f"{len(bodies)} payloads of type {kind}")
    return bodies[0]


def attributes(pairs):
    """[(type, number or bytes)]: a number that fits as type/value, else as type/length/value."""
    out = b""
    for kind, value in pairs:
        if isinstance(value, int) and value < 0x10000:
            out += struct.pack("!HH", 0x8000 | kind, value)
        else:
            raw = value if isinstance(value, bytes) else value.to_bytes(max(4, (value.bit_length() + 7) // 8), "big")
            out += struct.pack("!HH", kind, len(raw)) + raw
    return out


def read_attributes(data):
    found, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise Malformed("half an attribute")
        kind, value = struct.unpack_from("!HH", data, at)
        at += 4
        if not kind & 0x8000:
            if at + value > len(data):
                raise Malformed("an attribute beyond the end")
            at, value = at + value, int.from_bytes(data[at:at + value], "big")
        found.append((kind & 0x7fff, value))
    return found


def lifetimes(pairs, kind, duration):
    """{SECONDS: n, KILOBYTES: n} of attributes, in which each duration follows its life type."""
    found, unit = {}, None
    for k, value in pairs:
        if k == kind:
            unit = value
        elif k == duration:
            if unit is None or unit in found:
                raise Malformed("a duration without a life type of its own")
            found[unit], unit = value, None
    return found


def security_association(proposals):
    out = struct.pack("!II", IPSEC_DOI, IDENTITY_ONLY)
    for n, p in enumerate(proposals, 1):
        inner = p.spi
        for k, t in enumerate(p.transforms, 1):
            body = struct.pack("!BBH", t.number, t.id, 0) + attributes(t.attributes)
            inner += struct.pack("!BBH", 3 if k < len(p.transforms) else 0, 0, 4 + len(body)) + body
        out += struct.pack("!BBHBBBB", 2 if n < len(proposals) else 0, 0, 8 + len(inner), p.number, p.protocol, len(p.spi), len(p.transforms)) + inner
    return out


def read_security_association(body):
    if struct.unpack_from("!II", body) != (IPSEC_DOI, IDENTITY_ONLY):
        raise Malformed("not the IPsec DOI, or another situation")
    found = []
    for _, inner in payloads(2, body[8:])[0]:
        number, protocol, spi_size, count = struct.unpack_from("!BBBB", inner)
        transforms = [Transform(*struct.unpack_from("!BB", raw), read_attributes(raw[4:])) for _, raw in payloads(3, inner[4 + spi_size:])[0]]
        if len(transforms) != count:
            raise Malformed(f"{len(transforms)} transforms, said to be {count}")
        found.append(Proposal(number, protocol, inner[4:4 + spi_size], transforms))
    return found


def identity(kind, data, protocol=0, port=0):
    return struct.pack("!BBH", kind, protocol, port) + data


def read_identity(body):
    return Identity(*struct.unpack_from("!BBH", body), body[4:])


def selector(network):
    """Of an IPv4 network: ID_IPV4_ADDR, or ID_IPV4_ADDR_SUBNET (RFC 2407 §4.6.2)"""
    address = network.network_address.packed
    return identity(1, address) if network.prefixlen == 32 else identity(4, address + network.netmask.packed)


def notify(kind, protocol=ISAKMP, spi=b"", data=b""):
    return struct.pack("!IBBH", IPSEC_DOI, protocol, len(spi), kind) + spi + data


def read_notify(body):
    doi, protocol, size, kind = struct.unpack_from("!IBBH", body)
    if doi not in (0, IPSEC_DOI) or len(body) < 8 + size:
        raise Malformed("a notification that is none")
    return Notify(protocol, kind, body[8:8 + size], body[8 + size:])


def delete(protocol, spis):
    return struct.pack("!IBBH", IPSEC_DOI, protocol, len(spis[0]), len(spis)) + b"".join(spis)


def read_delete(body):
    doi, protocol, size, count = struct.unpack_from("!IBBH", body)
    if doi != IPSEC_DOI or len(body) != 8 + size * count:
        raise Malformed(f"a Delete of {count} SPIs of {size} bytes in {len(body)}")
    return Delete(protocol, [body[8 + size * n:8 + size * (n + 1)] for n in range(count)])

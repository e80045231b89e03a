"""What the tests of IKEv2 have in common: both sides' own lists of SAs, compared by SPI."""
import socket
import struct

from .keys import frames
from .strongswan import parse_raw

IKE_AUTH, RESPONSE = 35, 0x20


def their_sas(peer, name=None):
    """strongSwan's established IKE SAs, of one connection or of all."""
    events = parse_raw(peer.swanctl("list-sas", "--raw"))
    return [sa for event in events for conn, sa in event.items() if name in (None, conn) and isinstance(sa, dict) and sa.get("state") == "ESTABLISHED"]


def in_use(gw, name):
    """What Culvert lists: the SPIs of its IKE SAs (initiator's, responder's) and of its pairs (in, out)."""
    ours = [s for s in gw.ike_sas(name) if s["state"] == "established"]
    return ({(int(s["initiator_spi"], 16), int(s["responder_spi"], 16)) for s in ours},
            {(int(c["spi_in"], 16), int(c["spi_out"], 16)) for c in gw.child_sas(name) if c["state"] == "installed"})


def in_use_there(peer, name):
    """The same as strongSwan lists it, seen from our side."""
    theirs = their_sas(peer, name)
    return ({(int(s["initiator-spi"], 16), int(s["responder-spi"], 16)) for s in theirs},
            {(int(c["spi-out"], 16), int(c["spi-in"], 16)) for s in theirs for c in s.get("child-sas", {}).values() if c["state"] == "INSTALLED"})


def differ(gw, peer, ours, theirs=None):
    """'', or how the two lists differ from one IKE SA and one CHILD SA, the same on both sides."""
    here, there = in_use(gw, ours), in_use_there(peer, theirs or ours)
    return "" if here == there and len(here[0]) == len(here[1]) == 1 else f"here {spis(here)}, there {spis(there)}"


def spis(listed):
    return f"{len(listed[0])} IKE SAs, CHILD SAs " + (", ".join(sorted(f"{i:08x}/{o:08x}" for i, o in listed[1])) or "none")


def sent_during_ike_auth(pcap, address):
    """How many packets in UDP-encapsulated ESP the gateway at `address` (IPv4) sent while an IKE_AUTH request of its own waited for the answer."""
    source, waiting, count = socket.inet_aton(address), set(), 0
    for _, frame in frames(pcap):
        if frame[12:14] != b"\x08\x00" or frame[23] != 17 or 4500 not in struct.unpack_from("!HH", frame, 34):
            continue
        ours, payload = frame[26:30] == source, frame[42:]
        if payload[:4] != b"\0\0\0\0":
            count += bool(ours and waiting and len(payload) > 8)
        elif len(payload) >= 32 and payload[4 + 18] == IKE_AUTH:
            spi, response = payload[4:12], payload[4 + 19] & RESPONSE
            if ours and not response:
                waiting.add(spi)
            elif response:
                waiting.discard(spi)
    return count

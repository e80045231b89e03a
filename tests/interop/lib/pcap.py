"""What is done to a capture before tshark reads it."""
import struct

from . import keys


def without_repeats(pcap, target):
    """Copies a capture without the IKE messages that were sent again: tshark takes the initialization vector of an encrypted IKEv1 message
    from the one before it, so that a retransmission reads as garbage to it. Returns how many were left out."""
    seen, left_out = set(), 0
    with open(target, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        for when, frame in keys.frames(pcap):
            header = (frame[14] & 15) * 4 if frame[12:14] == b"\x08\x00" else 0
            message = frame[14 + header + 8:]
            if header and frame[23] == 17 and struct.unpack_from("!H", frame, 14 + header + 2)[0] in (500, 4500) and len(message) >= 28:
                if (frame[26:30], message) in seen:
                    left_out += 1
                    continue
                seen.add((frame[26:30], message))
            out.write(struct.pack("<IIII", int(when), round(when % 1 * 1e6) % 1000000, len(frame), len(frame)) + frame)
    return left_out

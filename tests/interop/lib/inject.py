#!/usr/bin/python3
"""usage: inject.py INTERFACE < FRAMES : sends Ethernet frames, one a line in hex, as they are. Run it in a namespace: resend()."""
import socket
import sys


def resend(namespace, interface, frames):
    """Sends frames (bytes) on an interface of a namespace."""
    import subprocess
    subprocess.run(namespace.argv("/usr/bin/python3", __file__, interface), input="\n".join(frame.hex() for frame in frames), text=True,
                   check=True, timeout=30)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((sys.argv[1], 0))
        for line in sys.stdin:
            out.send(bytes.fromhex(line))

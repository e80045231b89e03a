"""An IKEv1 of its own in Python, for tests of what no other peer here has: the commit bit, RESPONDER-LIFETIME to be heeded, GMAC in AH.

    wire.py     ISAKMP messages as values, both ways (RFC 2408 §3, RFC 2407 §4)
    keys.py     Diffie-Hellman groups, SKEYID and what comes of it (RFC 2409 §5, App. A and B)
    packets.py  ESP and AH in tunnel mode (RFC 4303, 4302, 4106, 4543), and the echoes inside
    peer.py     sockets, one thread, the retransmissions, and what a test sees and does
    exchanges.py  Main Mode, Quick Mode and Informational, both roles, as generators; aggressive.py beside it

Written from the RFCs alone: it shares no code, no table and no structure with the gateway that it tests, and must not come to. It does what a test
asks of it, the forbidden included, and is no VPN: a pre-shared key, one child a Quick Mode, IPv4, no NAT traversal.
"""
from .peer import Peer  # noqa: F401

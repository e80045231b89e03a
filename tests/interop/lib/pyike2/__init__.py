"""An IKEv2 peer of our own for what no other implementation at hand speaks: written from RFC 7296 and RFC 6311 alone, with nothing of Culvert in it.

wire.py: messages as bytes. keys.py: the key exchange, the keys and the two ciphers. esp.py: packets. peer.py: the peer.
"""

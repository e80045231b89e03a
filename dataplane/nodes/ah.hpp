// The Authentication Header (RFC 4302), over IPv4 and IPv6: what its packets need instead of ESP's steps. Called by esp_in.cpp and
// esp_out.cpp, which own the order of checks. While the ICV is computed the IP header stands without its mutable fields; its true form
// waits in the headroom in front of it.
#pragma once

#include "dataplane/crypto/engine.hpp"
#include "dataplane/drop.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

/// Puts the header in front of a packet (tunnel mode) or behind its IP header (transport mode), ICV 0, and takes a sequence number.
Drop ah_out_prepare(Packet& p, CryptoOp& op);
/// After the crypto: the IP header's mutable fields again.
void ah_out_finish(Packet& p);
/// Checks the form of the header and makes the packet ready for the crypto; `low` is the sequence number in the packet.
Drop ah_in_prepare(Packet& p, CryptoOp& op, std::uint32_t& low);
/// Of an authentic packet: leaves the inner packet (tunnel mode) or the packet without AH, not parsed. `tos`: of the outer header.
Drop ah_in_strip(Packet& p, std::uint8_t& tos);

}  // namespace culvert::dp

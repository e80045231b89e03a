// What both IKE versions do about NATs: ports, framing, and what detection found (RFC 3947, RFC 3948).
// Owns no hash: the caller knows how its version computes NAT-D. Never sends.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "common/bytes.hpp"
#include "common/net/ip.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::ike {

inline constexpr std::uint16_t kIkePort = 500;   ///< RFC 2408 §2.5.1
inline constexpr std::uint16_t kNatPort = 4500;  ///< RFC 3947 §4
/// NAT-D payloads of one message that are looked at: a destination and one source per address of a multihomed peer.
inline constexpr std::size_t kMaxNatD = 8;

/// Which text of NAT traversal both sides speak: numbers differ, and whether IKE leaves port 500 (draft-ietf-ipsec-nat-t-ike-00 to -03).
enum class NatDialect : std::uint8_t {
  Rfc3947,
  Draft02,  ///< drafts 02 and 03: private numbers of payloads and modes
  Draft00,  ///< drafts 00 and 01: these, too, and everything stays on port 500, ESP behind a non-IKE marker
};

/// What NAT detection found. Without support of the peer nothing was looked at, and nothing is encapsulated.
struct NatStatus {
  bool supported = false;  ///< both sides sent a vendor id of it
  NatDialect dialect{};
  bool local = false;   ///< a NAT changes our address (or the peer makes it look so)
  bool remote = false;  ///< a NAT changes the peer's
  bool forced = false;  ///< encap: true: we made it look so
  [[nodiscard]] bool encapsulate() const { return supported && (local || remote || forced); }
  /// RFC 3947 §4: IKE and ESP move to port 4500.
  [[nodiscard]] bool leaves_port_500() const { return encapsulate() && dialect != NatDialect::Draft00; }
  [[nodiscard]] std::string to_string() const;
};

using NatHash = std::function<Bytes(const Endpoint&)>;
/// RFC 3947 §3.2: the first payload is of the destination (us, as the peer sees us), the others of the sender's addresses.
/// Fewer than two payloads: nothing can be said, and no NAT is assumed.
void detect_nat(NatStatus& status, std::span<const Bytes* const> received, const Endpoint& local, const Endpoint& remote,
                const NatHash& hash);

/// A datagram of a message; on port 4500 with the non-ESP marker (RFC 3948 §2.2).
Datagram frame(const Endpoint& local, const Endpoint& remote, ByteView message);

}  // namespace culvert::ike

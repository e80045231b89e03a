// What a ticket of session resumption (RFC 5723 §6.1, "by value") holds, and its sealing: the gateway keeps nothing of it but the keys that
// tickets are sealed with. Owns the layout, which nobody else reads. Never judges whether a ticket may be used.
//
//   | id of the key (4) | nonce (12) | AES-256-GCM of the contents, tag behind
#pragma once

#include <optional>
#include <span>
#include <string>

#include "common/secret.hpp"
#include "control/ike/engine_types.hpp"
#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2 {

inline constexpr std::size_t kTicketNonce = 12, kTicketSerial = 16, kMaxTicket = 2048;

struct Ticket {
  Bytes serial;            ///< kTicketSerial random bytes
  std::string connection;  ///< configured name
  IkeSuite suite;
  SecretBytes d;                    ///< SK_d of the IKE SA that it was given under
  std::int64_t authenticated = 0;   ///< when the client has proved itself without a ticket, in seconds since 1970
  std::int64_t expires = 0;         ///< the same
  std::uint8_t proofs = 1;          ///< of the client (RFC 4739)
  bool ppk = false;                 ///< a post-quantum pre-shared key is in SK_d
  IdI id;                           ///< of the client
  std::string identity, user;       ///< printable; user: of EAP
  std::optional<ike::PeerKey> key;  ///< of a connection that can have many peers
};
/// `nonce`: kTicketNonce random bytes.
Bytes seal_ticket(const ike::TicketKey& key, ByteView nonce, const Ticket& ticket);
/// nullopt: none of these keys has sealed it.
std::optional<Ticket> open_ticket(std::span<const ike::TicketKey> keys, ByteView sealed);

}  // namespace culvert::ikev2

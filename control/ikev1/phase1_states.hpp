// The states of phase 1 until an ISAKMP SA is established, as types: a field exists only where it means something.
// Owns no behaviour: exchange_main_mode*.cpp and exchange_aggressive_mode*.cpp move an SA from one state to the next.
//
//   initiator   AwaitSa -2-> MakingKey -dh-> AwaitKe -4-> Deriving -dh-> AwaitAuth -6-> Established -> Closing
//   responder   AwaitKeInit -3-> Responding -dh-> AwaitAuthInit -5-> Established -> Closing      (or -> Refused)
//   with signatures, before each AwaitAuth and behind each 5 and 6:   Signing -sig-> ..., ... -> Verifying -ok->
//
//   aggressive  initiator   MakingKey -dh-> AwaitReply -2-> Deriving -dh-> (Verifying, Signing) -> Established
//               responder   Responding -dh-> (SigningReply) -> AwaitProof -3-> (VerifyingProof) -> Established
//               responder with a pre-shared key, once message 3 is there    Answered -dh-> AwaitProof
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/secret.hpp"
#include "control/ike/engine_types.hpp"
#include "control/ike/retransmit.hpp"
#include "control/ikev1/cipher.hpp"
#include "control/ikev1/keymat.hpp"
#include "control/ikev1/message.hpp"
#include "control/ikev1/payloads.hpp"
#include "control/ikev1/phase1_auth.hpp"
#include "control/ikev1/proposal.hpp"
#include "control/ikev1/vendor_ids.hpp"

namespace culvert::ikev1 {

using ike::JobId;
using ike::Outstanding;
using ike::Role;
using ike::TimePoint;

/// What messages 1 and 2 settled.
struct Negotiated {
  IkeSuite suite;
  Bytes sa_i_body;
  Lifetime life = {};                      ///< as the peer states it
  bool dpd = false;                        ///< the peer sent the vendor id of RFC 3706
  std::vector<std::string> vendor_ids;     ///< of the peer, those that we know
  std::vector<VendorId> announced = {};    ///< by its last message, and not before
  VendorId nat_text{};                     ///< the best of the texts of NAT traversal that the peer speaks
  std::size_t fragmentation_id_bytes = 0;  ///< of the vendor id that says so
  bool fragmentation = false;              ///< both sides announce the fragmentation of IKE messages
  Phase1Auth auth = {};
  bool xauth = false;  ///< the peer sent the vendor id of XAuth
  bool unity = false;  ///< ... and of Cisco's attributes of Mode Config
};
/// What messages 3 and 4 exchanged.
struct KeyExchange {
  Bytes g_xi, g_xr, nonce_i, nonce_r;
};
/// SKEYID and what follows from it; `iv` is the last block of phase 1 so far.
struct Keys {
  Phase1Secrets secrets;
  Cipher cipher;
  Iv iv{};
  /// Of the first message of another exchange.
  [[nodiscard]] Iv exchange_iv(MessageId id) const { return ikev1::exchange_iv(secrets.prf, iv, cipher.block(), id); }
};

struct MmAwaitSa {
  Sa offer;
  Phase1Auth auth;
  Outstanding tx;
};
struct MmMakingKey {
  Negotiated negotiated;
  JobId job{};
};
struct MmAwaitKe {
  Negotiated negotiated;
  std::shared_ptr<crypto::KeyExchange> key;
  Bytes nonce_i, g_xi;
  unsigned bad_ke = 0;  ///< values of the peer that its group forbids
  Outstanding tx;
};
struct MmDeriving {
  MmAwaitKe before;  ///< to go on waiting with, should message 4 turn out to be nonsense
  KeyExchange ke;
  JobId job{};
};
/// What there is from the key exchange on.
struct Derived {
  Negotiated negotiated;
  KeyExchange ke;
  Keys keys;
};
/// Who the peer says it is, until its signature has been verified.
struct Claim {
  Id id;
  Bytes id_body;           ///< as on the wire
  Message message;         ///< the one with the signature
  Endpoint local, remote;  ///< of its datagram
};
struct MmSigning : Derived {
  JobId job{};
};
struct MmAwaitAuth : Derived {
  Outstanding tx;
};
struct MmVerifying : Derived {
  Claim claim;
  JobId job{};
  std::optional<ike::Datagram> early{};  ///< what the responder sent behind message 6: XAuth, say
};
struct MmAwaitKeInit {
  Negotiated negotiated;
};
struct MmResponding {
  Negotiated negotiated;
  KeyExchange ke;
  JobId job{};
};
struct MmAwaitAuthInit : Derived {
  unsigned bad_messages = 0;  ///< undecryptable or wrong message 5s so far
  SecretBytes g_xy;           ///< with a pre-shared key: message 5 may prove that of another connection
};
struct MmVerifyingInit : Derived {
  Claim claim;
  JobId job{};
  std::vector<std::size_t> others{};  ///< connections that may be meant instead, if this one trusts no authority of the certificate
  /// The connection that was taken for the one meant before, and what it said.
  std::optional<std::pair<std::size_t, ike::VerifyResult>> first{};
};
struct MmSigningReply : Derived {
  Claim claim;  ///< verified
  JobId job{};
};

// Aggressive Mode
struct AmMakingKey {
  Phase1Auth auth;
  JobId job{};
};
struct AmAwaitReply {
  Phase1Auth auth;
  Sa offer;
  std::shared_ptr<crypto::KeyExchange> key;
  Bytes nonce_i, g_xi;
  unsigned bad_replies = 0;  ///< message 2s that cost us a computation and proved nothing
  Outstanding tx;
};
struct AmDeriving {
  AmAwaitReply before;  ///< to go on waiting with
  Negotiated negotiated;
  KeyExchange ke;
  Claim claim;
  JobId job{};
};
struct AmVerifying : Derived {
  AmAwaitReply before;
  Claim claim;
  JobId job{};
};
struct AmSigning : Derived {
  Claim claim;  ///< verified
  JobId job{};
};
/// Who the initiator says it is, in message 1.
struct AmPeer {
  Id id;
  Bytes id_body;
  bool stranger = false;  ///< no connection expects it: it is answered like others, and never let in
};
struct AmResponding {
  Negotiated negotiated;
  KeyExchange ke;
  AmPeer peer;
  Sa reply;
  bool certificates_wanted = false;
  JobId job{};
};
/// A newcomer whose message 3 waits for the key exchange.
struct AmAnswered {
  Negotiated negotiated;
  KeyExchange ke;
  AmPeer peer;
  ike::Datagram third{};  ///< without the non-ESP marker
  JobId job{};
  std::optional<ike::Datagram> early{};  ///< what it sent behind message 3: it takes itself for established
};
struct AmSigningReply : Derived {
  AmPeer peer;
  Sa reply;
  bool certificates_wanted = false;
  JobId job{};
};
struct AmAwaitProof : Derived {
  AmPeer peer;
  unsigned bad_messages = 0;  ///< undecryptable or wrong message 3s so far
};
struct AmVerifyingProof : Derived {
  Claim claim;
  bool encrypted = false;
  JobId job{};
  std::optional<ike::Datagram> early{};  ///< what the initiator sent behind message 3: it takes itself for established
};

}  // namespace culvert::ikev1

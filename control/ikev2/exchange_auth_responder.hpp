// What the two halves of the responder's IKE_AUTH have in common: proof at once (exchange_auth_responder.cpp), and by EAP
// (exchange_eap_responder.cpp). Owns how an initiator is refused, and the answer behind both proofs (exchange_auth_answer.cpp).
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

struct AuthVerdict {
  Reason reason = Reason::NoConnection;
  std::string text;
  Cause cause{.number = 3};
  std::size_t connection = 0;
};
/// AUTHENTICATION_FAILED for request `id`, and no more of this SA.
void refuse_initiator(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, AuthVerdict verdict);
/// Whether the peer forbids a NAT and there is one (RFC 4555 §3.9); refused here then.
bool refuse_nat(Core& core, const Incoming& in, IkeSa& sa, const Message& message);
/// Why the connection is not the one that the peer means, by the names alone. `wanted`: whom it takes us for.
std::optional<AuthVerdict> other_names(Core& core, const IkeSa& sa, std::size_t index, const IdI& id, const IdR* wanted);
/// What the initiator proves itself by, in its request `m`.
SecretBytes octets_of_initiator(const IkeSa& sa, ByteView init_request, const Message& m, const SecretBytes& sk_pi);
/// What we prove ourselves by.
SecretBytes octets_of_reply(Core& core, const IkeSa& sa, const Bytes& init_reply);
/// ... by the pre-shared key.
std::expected<Auth, AuthVerdict> secret_proof(Core& core, const IkeSa& sa, const SecretBytes& octets);
/// IDr, and our certificates where we sign.
void add_introduction(Core& core, IkeSa& sa, Builder& out);

/// Both sides are proved: the answer, which begins with `answer`, and behind the proof whatever becomes of the CHILD SA.
void finish_auth(Core& core, TimePoint now, IkeSa& sa, const AuthRequest& request, Proven who, Builder answer,
                 const std::optional<Auth>& proof);

// -------------------------------------------------------------------------------------------- rounds (exchange_auth_rounds_responder.cpp)

/// The first proof, of several maybe, is at work: what is needed for the others. `init_request`: the initiator's IKE_SA_INIT.
void begin_rounds(IkeSa& sa, Bytes init_request, const Message& request);
/// Whether the initiator says of its proof in `request` that another one follows, as the connection has it, and takes as many of ours.
std::optional<AuthVerdict> other_rounds(const Core& core, const IkeSa& sa, std::size_t index, const Message& request);
/// The initiator has proved to be `who`.
void note_initiator(IkeSa& sa, Proven who, config::Proof how);
/// What the round at work asks for is done: the answer to it, or to all.
void end_proof(Core& core, TimePoint now, IkeSa& sa, const AuthRequest& request, Builder answer, const std::optional<Auth>& proof);
/// A further proof by signature or pre-shared key (exchange_auth_responder.cpp).
void take_further_proof(Core& core, TimePoint now, IkeSa& sa, AuthRequest request);
/// The initiator has proved itself, or has nothing left to prove: our own proof.
void accept_initiator(Core& core, TimePoint now, IkeSa& sa, AuthRequest request);
/// It is to be a user from here on (exchange_eap_responder.cpp).
void open_eap(Core& core, TimePoint now, IkeSa& sa, EapOpening opening);

}  // namespace culvert::ikev2

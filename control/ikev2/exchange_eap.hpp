// IKE_AUTH with EAP (RFC 7296 §2.16): the initiator is a user, and the responder a gateway that has signed before.
// Owns the rounds of it, who of the users is admitted, and the time that a refusal takes. What goes on inside of EAP is eap/'s. Never sees
// the list of users: FindUser asks whoever has it. Never takes more rounds, or longer, than it is bounded to.
//
//   initiator                                     responder
//   IDi [CERTREQ] [IDr] [CP] SA TSi TSr    -->
//                                          <--    IDr CERT+ AUTH EAP(Request)
//   EAP(Response)                          -->                                        as often as the method needs
//                                          <--    EAP(Request)
//   EAP(Response)                          -->
//                                          <--    EAP(Success)        or EAP(Failure) N(AUTHENTICATION_FAILED), late: attempts.hpp
//   AUTH                                   -->                        by the key that the method has made; without one by SK_pi and SK_pr
//                                          <--    AUTH [CP] SA TSi TSr     beside both, what is said of a PPK: ppk.hpp
// Which connection it is of those with one `local.id` the user's name tells. One try an IKE SA: who guesses pays for a key exchange each.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

inline constexpr unsigned kMaxEapRounds = 20;                  ///< far more than any method here needs, but EAP-TLS (eap::kMaxTlsRounds)
inline constexpr unsigned kMaxRelayRounds = 64;                ///< a server elsewhere may have long certificates, in small pieces
inline constexpr auto kEapLastWord = std::chrono::seconds{5};  ///< behind a refusal that has taken its time

inline eap::Method method_of(config::Proof proof) {
  return proof == config::Proof::EapTls ? eap::Method::Tls : proof == config::Proof::EapMd5 ? eap::Method::Md5 : eap::Method::Mschapv2;
}
inline unsigned most_rounds(eap::Method method) { return method == eap::Method::Tls ? eap::kMaxTlsRounds : kMaxEapRounds; }

// ---- responder

/// IKE_AUTH without AUTH.
void on_eap_wish(Core& core, const Incoming& in, IkeSa& sa, AwaitAuth state, Message request);
/// Our signature that goes before is there.
void on_eap_opened(Core& core, TimePoint now, IkeSa& sa, SigningForEap& state, const ike::SignResult& result);
/// Any further request of IKE_AUTH.
void on_eap_request(Core& core, const Incoming& in, IkeSa& sa);
/// INFORMATIONAL before there is an SA: the initiator says why there will be none.
void on_eap_farewell(Core& core, const Incoming& in, IkeSa& sa);
void on_eap_user(Core& core, TimePoint now, IkeSa& sa, const ike::UserFound& result);
void on_tls_of_user(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, ike::TlsStepped result);
/// Of a server that knows the user (exchange_eap_radius.cpp).
void on_eap_radius(Core& core, TimePoint now, IkeSa& sa, const ike::RadiusAnswer& answer);
// What the servers have in common: here, and elsewhere.
/// His packet goes to a RADIUS server.
void ask_radius(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, Bytes packet);
void go_on_with_eap(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, const eap::Server::Verdict& verdict);
/// Who the user is, for an operator.
std::string shown_user(const AskingUser& state);
/// Why he is refused. `problem`: without his name, for the record.
struct UserRefusal {
  Reason reason{};
  std::string text, problem;
  bool unheard = false;  ///< Cause::unheard
};
void refuse_user_now(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, UserRefusal why);
/// ... for who he is, or says he is: told when the time has come, the same for all who might be guessing.
void refuse_user_late(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, UserRefusal why);

/// The time of a refusal has come, or that of all of it.
void on_eap_timer(Core& core, TimePoint now, IkeSa& sa, AskingUser& state);

// ---- initiator

/// Whether an answer to the first request is the beginning of EAP, whose signature is to be verified; refused here if not.
bool opens_eap(Core& core, TimePoint now, IkeSa& sa, const Message& reply);
/// The responder is who it says.
void begin_eap(Core& core, TimePoint now, IkeSa& sa, Verifying state);
void on_eap_reply(Core& core, TimePoint now, IkeSa& sa, ProvingUser& state, const Message& reply);
void on_tls_of_server(Core& core, TimePoint now, IkeSa& sa, ProvingUser& state, ike::TlsStepped result);
/// Nothing comes back any more. False: there is no more to say of it than that.
bool on_eap_silence(Core& core, TimePoint now, IkeSa& sa, ProvingUser& state);

// ---- both

/// The two proofs of the end: by the key of the method, without one by what only these two sides have.
Auth proof_behind_eap(const IkeSa& sa, const SecretBytes& msk, const SecretBytes& sk_p, const SecretBytes& octets);
bool same_proof(const Auth& a, const Auth& b);
/// A step of EAP-TLS is made (exchange_eap_tls.cpp).
void on_eap_tls(Core& core, TimePoint now, IkeSa& sa, ike::TlsStepped result);

}  // namespace culvert::ikev2

// How things end, and in what: the words that log, metrics, records of failures and the CLI share.
// Owns the table of reasons, one row each, and no behaviour.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace culvert::ike {

/// Monotonic time; tests make it up.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// How an exchange, an SA or an attempt ended: one row a reason, for log, metrics and CLI alike. Never a peer's bytes.
// clang-format off
#define CULVERT_IKE_REASONS(X) \
  X(Ok,                  "ok",                    "the exchange succeeded") \
  X(Timeout,             "timeout",               "the peer did not answer within all retransmissions") \
  X(NoProposalChosen,    "no_proposal_chosen",    "no proposal of the peer is acceptable here") \
  X(PeerNoProposal,      "peer_no_proposal",      "the peer found none of our proposals acceptable") \
  X(AuthFailed,          "auth_failed",           "authentication failed: wrong pre-shared key or a manipulated exchange") \
  X(WrongIdentity,       "wrong_identity",        "the peer's identity is not the configured one") \
  X(CertUntrusted,       "cert_untrusted",        "the peer's certificate leads to no trusted authority") \
  X(CertInvalid,         "cert_invalid",          "the peer's certificate is expired, not valid yet, malformed or not made for this use") \
  X(CertRevoked,         "cert_revoked",          "the peer's certificate is revoked, or its status could not be learnt") \
  X(XauthFailed,         "xauth_failed",          "the user name or the password of XAuth is wrong") \
  X(EapUnknownUser,      "eap_unknown_user",      "there is no user of the name that the peer says by EAP") \
  X(EapWrongPassword,    "eap_wrong_password",    "the password of EAP is wrong, or the gateway does not know it") \
  X(EapMethod,           "eap_method",            "the two sides have no method of EAP in common") \
  X(EapRefused,          "eap_refused",           "the gateway refused the user that we are") \
  X(RadiusTimeout,       "radius_timeout",        "no RADIUS server has answered") \
  X(RadiusRejected,      "radius_rejected",       "the RADIUS server has rejected the user") \
  X(RadiusForged,        "radius_forged",         "what came from a RADIUS server did not prove itself: another shared secret, or forged") \
  X(EapTls,              "eap_tls",               "TLS of EAP-TLS failed: no version or cipher in common, or the other side ended it by an alert") \
  X(AuthRounds,          "auth_rounds",           "the two sides prove themselves less often, or more often, than is configured (RFC 4739)") \
  X(NoAddress,           "no_address",            "no virtual address is free in the pools of the connection") \
  X(AlreadyConnected,    "already_connected",     "the identity is connected from elsewhere, which stays (unique: keep)") \
  X(NoConnection,        "no_connection",         "no connection is configured for these addresses or this identity") \
  X(SelectorMismatch,    "selector_mismatch",     "no child is configured with the proxy identities that the peer asks for") \
  X(PeerSelectorMismatch,"peer_selector_mismatch","the peer refused our proxy identities") \
  X(PeerRefused,         "peer_refused",          "the peer refused with another notification") \
  X(Malformed,           "malformed",             "a message could not be parsed") \
  X(BadPayloads,         "bad_payloads",          "a message lacks a payload, or carries one that it may not") \
  X(BadHash,             "bad_hash",              "a HASH payload is wrong") \
  X(BadKe,               "bad_ke",                "a key exchange value is invalid for its group") \
  X(BadNonce,            "bad_nonce",             "a nonce has a length that is not allowed") \
  X(UnknownSa,           "unknown_sa",            "a message for cookies that nobody here has") \
  X(Unexpected,          "unexpected",            "a message that does not fit the state of its exchange") \
  X(OtherMode,           "other_mode",            "the peer begins phase 1 in the other mode, main or aggressive") \
  X(OtherVersion,        "other_version",         "the peer speaks another version of IKE") \
  X(Limit,               "limit",                 "refused because a bound is reached (half-open SAs, SAs, SPIs)") \
  X(DpdTimeout,          "dpd_timeout",           "the peer stopped answering dead-peer detection") \
  X(PeerRestarted,       "peer_restarted",        "the peer was started anew, and has shown that its SAs are lost (RFC 6290)") \
  X(DeletedByPeer,       "deleted_by_peer",       "the peer deleted it") \
  X(DeletedByOperator,   "deleted_by_operator",   "an operator ended it") \
  X(Replaced,            "replaced",              "a newer one took its place") \
  X(Redirected,          "redirected",            "a gateway has sent its client to another one (RFC 5685)") \
  X(RedirectLoop,        "redirect_loop",         "gateways send us to each other, or to themselves") \
  X(RedirectRefused,     "redirect_refused",      "a gateway sends us elsewhere, and we do not or cannot go there") \
  X(TicketRefused,       "ticket_refused",        "a ticket of session resumption is not taken (RFC 5723)") \
  X(Expired,             "expired",               "its lifetime ended") \
  X(DataplaneLost,       "dataplane_lost",        "the data plane went away, and its SAs with it") \
  X(InstallFailed,       "install_failed",        "the data plane refused the SA") \
  X(NoSecret,            "no_secret",             "the connection's secret could not be read") \
  X(Shutdown,            "shutdown",              "this gateway is shutting down") \
  X(Internal,            "internal",              "an error of our own")
// clang-format on
enum class Reason : std::uint8_t {
#define X(id, name, help) id,
  CULVERT_IKE_REASONS(X)
#undef X
      Count_
};
std::string_view name(Reason r);
std::string_view help(Reason r);

enum class Exchange : std::uint8_t {
  MainMode,
  AggressiveMode,
  Xauth,
  ModeConfig,
  QuickMode,
  Informational,  ///< of both versions
  Dpd,            ///< dead-peer detection, RFC 3706; of IKEv2 a check of liveness, RFC 7296 §2.4
  IkeSaInit,
  IkeAuth,
  CreateChildSa,
  IkeIntermediate,  ///< RFC 9242
  IkeFollowupKe,    ///< RFC 9370
  CounterSync,      ///< INFORMATIONAL with message ID 0, RFC 6311
  Count_
};
std::string_view name(
    Exchange e);  ///< "main_mode", "aggressive_mode", "xauth", ... "ike_sa_init", "ike_auth", ... "ike_followup_ke", "counter_sync"

/// Those that IKEv2 alone has.
inline bool of_ikev2(Exchange e) { return e >= Exchange::IkeSaInit && e < Exchange::Count_; }

enum class Role : std::uint8_t { Initiator, Responder };
inline Role other(Role r) { return r == Role::Initiator ? Role::Responder : Role::Initiator; }

}  // namespace culvert::ike

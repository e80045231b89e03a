// From reason and evidence to likely causes, and the two sides of each mismatch.
#include <algorithm>
#include <array>
#include <iterator>

#include "control/explain/explain.hpp"
#include "control/ike/nat_traversal.hpp"

namespace culvert::control::explain {

namespace {

using ike::Exchange;
using ike::Failure;
using ike::Reason;
using ike::RefusedBy;
using ike::Role;

struct Row {
  std::string_view name, text;
};
/// The causes and their sentences, where no evidence gives a better one.
constexpr std::array kCauses{
    Row{"phase1_proposal", "No IKE proposal suits both sides."},
    Row{"phase2_proposal", "No ESP proposal suits both sides (ciphers, integrity, PFS group, encapsulation)."},
    Row{"no_peer_connection",
        "The peer has no connection for our address, or none of this version of IKE: many peers answer that with the same notification."},
    Row{"secret", "The pre-shared keys differ."},
    Row{"ppk",
        "The two sides do not have the same post-quantum pre-shared key (PPK), or one side insists on one that the other one lacks."},
    Row{"secret_unreadable", "Our secret cannot be read."},
    Row{"peer_identity", "The peer calls itself otherwise than is configured here."},
    Row{"own_identity", "The peer does not accept the identity that we give."},
    Row{"certificate", "The peer's certificate is refused."},
    Row{"own_certificate", "The peer does not accept our certificate, or our signature: it must trust the authority of ours."},
    Row{"signature", "A signature of phase 1 does not verify: the private key does not go with the certificate, or the peer's does not."},
    Row{"auth_method", "The two sides do not prove themselves in the same way: pre-shared key, certificate, or name and password."},
    Row{"auth_rounds",
        "The two sides do not prove themselves equally often: each section local and local-... of one side needs a section remote or "
        "remote-... of the other one (RFC 4739)."},
    Row{"user", "User name or password are wrong."},
    Row{"tls", "TLS of EAP-TLS has failed: no version or cipher in common, or a side that breaks it off."},
    Row{"user_unreadable", "The users cannot be read, or one's password is kept in a form that does not do."},
    Row{"radius_rejected", "The RADIUS server does not let the user in: its log says why."},
    Row{"radius_silent", "No RADIUS server answers: it does not run, is not reached, or passes over what this gateway sends."},
    Row{"radius_secret",
        "The shared secret of this gateway and the RADIUS server differs, or the server does not have this gateway among its clients: one "
        "that sees that says nothing."},
    Row{"user_method", "One side wants users to say name and password (XAuth), the other one does not."},
    Row{"pool", "No virtual address is free."},
    Row{"selectors", "The two sides are configured with different networks (traffic selectors, proxy identities)."},
    Row{"no_connection", "No connection is configured for this peer's address."},
    Row{"unreachable", "Nothing answers there: a wrong address, no IKE daemon, or UDP port 500 is blocked on the way."},
    Row{"one_way", "Our answers do not reach the peer, or it has given up."},
    Row{"port_4500", "UDP port 4500 is blocked on the way: with a NAT between, IKE moves there."},
    Row{"large_messages",
        "The peer answered IKE_SA_INIT, and no answer to an additional key exchange comes: its messages are long, and something on the way "
        "drops fragments of IP (fragmentation, ike.fragment_size)."},
    Row{"silence", "The peer stopped answering in the middle of the exchange."},
    Row{"ike_version", "The peer speaks the other version of IKE than this connection."},
    Row{"exchange", "The peer wants an exchange that is not done here."},
    Row{"aggressive", "One side wants Aggressive Mode, the other does not."},
    Row{"dead_peer", "The peer is gone: it does not answer any more."},
    Row{"peer_restarted", "The peer was started anew, and has shown it: what was up is negotiated again."},
    Row{"deleted_by_peer", "The peer deleted it."},
    Row{"peer_refused", "The peer refuses, and does not say why."},
    Row{"ticket",
        "A ticket is not taken: used, too old, of a key that is forgotten, or not for what is configured now. The client makes a key "
        "exchange."},
    Row{"redirect_loop", "Gateways send us to each other: redirect_to of one of them, or an operator's redirect, leads in a circle."},
    Row{"redirect", "The gateway sends us to another one, and we do not go there."},
    Row{"lifetime", "Its lifetime ended before a successor was there."},
    Row{"dataplane", "The data plane refused it, or went away."},
    Row{"limit", "A bound is reached; the message says which."},
    Row{"protocol", "A message breaks the protocol: another implementation's fault, a manipulated message, or a leftover of an older SA."},
    Row{"ended", "It was ended on purpose."},
    Row{"internal", "An error of our own: please report it with the log."}};

Likely likely(std::string_view name, std::string text = {}) {
  const auto row = std::ranges::find(kCauses, name, &Row::name);
  return {row->name, text.empty() ? std::string(row->text) : std::move(text)};
}

bool on_4500(const Failure& f) { return f.peer && f.peer->port == ike::kNatPort; }
bool in(const Failure& f, Exchange exchange) { return f.exchange == exchange; }
bool of_ikev2(const Failure& f) { return f.exchange && ike::of_ikev2(*f.exchange); }
bool begins_ike_sa(const Failure& f) { return in(f, Exchange::MainMode) || in(f, Exchange::AggressiveMode) || in(f, Exchange::IkeSaInit); }

/// Who begins an exchange has it in his version.
Likely other_version(const Failure& f) {
  if (!begins_ike_sa(f)) return likely("ike_version");
  const bool peer_has_2 = in(f, Exchange::IkeSaInit) == (f.role == Role::Responder);
  return likely("ike_version",
                peer_has_2 ? "The peer speaks IKEv2, this connection IKEv1." : "The peer speaks IKEv1, this connection IKEv2.");
}

/// No answer, in IKEv2: four messages, of which the first two go to port 500 and the others, with a NAT between, to 4500.
std::vector<Likely> silence_v2(const Failure& f) {
  if (in(f, Exchange::CreateChildSa) || in(f, Exchange::IkeFollowupKe)) return {likely("dead_peer"), likely("silence")};
  if (in(f, Exchange::CounterSync))
    return {
        likely("silence", "The peer has seen higher message IDs than we propose, and then is silent (RFC 6311): rekeying makes both new."),
        likely("dead_peer")};
  if (in(f, Exchange::IkeAuth) && f.role == Role::Responder && f.cause.number == 5)  // EAP: as Windows does without a word
    return {likely("own_certificate",
                   "The peer fell silent behind our certificate: it must trust the authority of ours, and expect its identity."),
            likely("silence")};
  if (in(f, Exchange::IkeIntermediate) && f.role == Role::Initiator)
    return {likely("large_messages"), likely(f.cause.on_4500 || on_4500(f) ? "port_4500" : "silence")};
  if (f.role == Role::Responder && f.cause.on_4500) return {likely("port_4500"), likely("one_way")};
  if (f.role == Role::Responder) return {likely("one_way"), likely("port_4500")};
  if (in(f, Exchange::IkeSaInit))
    return {likely("unreachable"), likely("ike_version", "The peer speaks IKEv1 only, and is silent about what it does not know.")};
  if (f.cause.on_4500 || on_4500(f)) return {likely("port_4500"), likely("silence")};
  return {likely("silence", "The peer answered IKE_SA_INIT, and does not answer IKE_AUTH: its log says why."), likely("one_way")};
}

std::vector<Likely> silence(const Failure& f) {
  if (of_ikev2(f)) return silence_v2(f);
  if (f.exchange == Exchange::ModeConfig && f.role == Role::Initiator)
    return {likely("pool", "The peer gives us no address, or waits for us to ask while we wait for it (mode_config: pull or push)."),
            likely("silence")};
  if (f.exchange == Exchange::QuickMode || f.exchange == Exchange::Xauth || f.exchange == Exchange::ModeConfig) return {likely("silence")};
  if (f.role == Role::Responder && f.cause.on_4500) return {likely("port_4500"), likely("silence")};
  if (f.role == Role::Responder) return {likely("one_way"), likely("silence")};
  if (f.cause.number <= 1) return {likely("unreachable")};
  return {likely("silence"), likely("one_way")};
}

/// Authentication failed, and no secret is in it: signatures; of IKE_AUTH, another method than ours, or our proof refused by who has
/// proved himself.
std::vector<Likely> unproven(const Failure& f) {
  if (in(f, Exchange::IkeAuth) && f.by == RefusedBy::Us) return {likely("auth_method")};
  if (in(f, Exchange::IkeAuth) && f.by == RefusedBy::Peer) return {likely("own_identity"), likely("secret"), likely("auth_method")};
  if (f.by == RefusedBy::Us) return {likely("secret"), likely("signature")};
  if (f.by == RefusedBy::Nobody) return {on_4500(f) ? likely("port_4500") : likely("own_certificate"), likely("silence")};
  return {likely("own_certificate"), likely("own_identity")};
}

/// What a peer says with a notification that has no reason of its own.
struct Said {
  std::string_view notification, cause, text;  ///< text empty: the cause's
};
constexpr std::array kSaid{
    Said{"INVALID-EXCHANGE-TYPE", "aggressive", ""},
    Said{"INVALID-MAJOR-VERSION", "ike_version", ""},
    Said{"INVALID_MAJOR_VERSION", "ike_version", ""},
    Said{"TS_UNACCEPTABLE", "selectors", ""},
    Said{"SINGLE_PAIR_REQUIRED", "selectors", "The peer wants each CHILD SA to be for two addresses alone."},
    Said{"STATE_NOT_FOUND", "peer_refused", "The peer no longer knows what an additional key exchange goes on with; it is begun anew."},
    Said{"INVALID_SYNTAX", "protocol", ""},
    Said{"UNSUPPORTED_CRITICAL_PAYLOAD", "protocol", ""},
    Said{"NO_ADDITIONAL_SAS", "limit", "The peer takes no more CHILD SAs under this IKE SA."},
    Said{"FAILED_CP_REQUIRED", "pool", "The peer wants to give us a virtual address, and we do not ask for one."},
    Said{"INTERNAL_ADDRESS_FAILURE", "pool", "The peer has no virtual address for us."},
    Said{"AUTHORIZATION_FAILED", "peer_refused", "The peer knows who we are, and does not let us in."},
    Said{"TEMPORARY_FAILURE", "peer_refused", "The peer is busy with something else; it is asked again."}};

std::vector<Likely> by_said(const Failure& f) {
  if (f.cause.said == "INVALID_KE_PAYLOAD")
    return {f.about_child() ? likely("phase2_proposal", "The peer wants a Diffie-Hellman group for PFS that our proposals do not have.")
                            : likely("phase1_proposal", "The peer wants a Diffie-Hellman group that our proposals do not have.")};
  const auto row = std::ranges::find_if(kSaid, [&](const Said& s) { return f.cause.said.starts_with(s.notification); });
  if (row == kSaid.end()) return {likely("peer_refused")};
  if (row->cause == "ike_version") return {other_version(f)};
  return {likely(row->cause, std::string(row->text))};
}

std::vector<Likely> by_reason(const Failure& f) {
  switch (f.reason) {
    case Reason::Timeout:
      return silence(f);
    case Reason::NoProposalChosen:
    case Reason::PeerNoProposal:
      if (f.cause.said == "INVALID_KE_PAYLOAD") return by_said(f);
      return {likely(f.about_child() ? "phase2_proposal" : "phase1_proposal")};
    case Reason::AuthFailed:
      return unproven(f);
    case Reason::OtherMode:
      return {likely("aggressive")};
    case Reason::WrongIdentity:
      return {likely("peer_identity")};
    case Reason::CertUntrusted:
    case Reason::CertInvalid:
    case Reason::CertRevoked:
      return {likely("certificate")};
    case Reason::XauthFailed:
    case Reason::EapUnknownUser:
    case Reason::EapWrongPassword:
      return {likely("user")};
    case Reason::EapRefused:
      if (f.cause.number == 3) return {likely("auth_method"), likely("own_identity")};  // nobody has asked for our name yet
      return {likely("user"), likely("auth_method"), likely("own_identity")};
    case Reason::EapMethod:
      return {likely("auth_method")};
    case Reason::RadiusTimeout:
      if (f.cause.unheard) return {likely("radius_secret"), likely("radius_silent")};
      return {likely("radius_silent"), likely("radius_secret")};
    case Reason::RadiusRejected:
      return {likely("radius_rejected"), likely("user")};
    case Reason::RadiusForged:
      return {likely("radius_secret", "What comes from the RADIUS server is not made with the secret that is configured here.")};
    case Reason::EapTls:
      return {likely("tls")};
    case Reason::AuthRounds:
      return {likely("auth_rounds")};
    case Reason::NoAddress:
      return {likely("pool")};
    case Reason::NoConnection:
      return {likely("no_connection")};
    case Reason::SelectorMismatch:
    case Reason::PeerSelectorMismatch:
      return {likely("selectors")};
    case Reason::OtherVersion:
      return {other_version(f)};
    case Reason::Malformed:
    case Reason::BadPayloads:
    case Reason::BadHash:
    case Reason::BadKe:
    case Reason::BadNonce:
    case Reason::UnknownSa:
    case Reason::Unexpected:
      return {likely("protocol")};
    case Reason::Limit:
      return {likely("limit")};
    case Reason::DpdTimeout:
      return {likely("dead_peer")};
    case Reason::PeerRestarted:
      return {likely("peer_restarted")};
    case Reason::DeletedByPeer:
      return {likely("deleted_by_peer")};
    case Reason::TicketRefused:
      return {likely("ticket")};
    case Reason::RedirectLoop:
      return {likely("redirect_loop")};
    case Reason::RedirectRefused:
      return {likely("redirect")};
    case Reason::Expired:
      return {likely("lifetime")};
    case Reason::DataplaneLost:
    case Reason::InstallFailed:
      return {likely("dataplane")};
    case Reason::NoSecret:
      return {likely("secret_unreadable")};
    case Reason::DeletedByOperator:
    case Reason::Replaced:
    case Reason::Redirected:
    case Reason::Shutdown:
    case Reason::Ok:
      return {likely("ended")};
    case Reason::Internal:
    case Reason::Count_:
      return {likely("internal")};
    default:
      return by_said(f);
  }
}

/// The alerts of TLS that are about certificates (RFC 8446 §6.2).
bool about_certificate(std::string_view alert) {
  return alert.contains("certificate") || alert.contains("CA") || alert == "access denied" || alert == "decrypt error";
}

struct ByEvidence {
  const Failure& f;

  std::vector<Likely> by_tls(const ike::UserEvidence& e) const {
    if (about_certificate(f.cause.said))
      return {likely("own_certificate", "The peer refuses our certificate in EAP-TLS (" + f.cause.said +
                                            "): it must trust its authority, and " + "expect a name that it carries.")};
    return {likely("tls", "EAP-TLS with " + e.user + ": " + e.problem + ".")};
  }

  std::vector<Likely> operator()(const std::monostate&) const { return by_reason(f); }
  std::vector<Likely> operator()(const ike::ProposalEvidence& e) const {
    const bool phase2 = f.about_child();
    std::string text = e.difference.empty() ? std::string{} : "No proposal suits both sides; the first difference: " + e.difference + ".";
    std::vector<Likely> out{likely(phase2 ? "phase2_proposal" : "phase1_proposal", std::move(text))};
    if (f.by == RefusedBy::Peer && begins_ike_sa(f)) out.insert(f.cause.own_spi ? out.begin() : out.end(), likely("no_peer_connection"));
    return out;
  }
  std::vector<Likely> operator()(const ike::IdentityEvidence& e) const {
    if (e.ours && !e.expected.empty()) {
      std::vector<Likely> out{likely("own_identity", "The peer takes us for " + e.expected + "; we call ourselves " + e.received + ".")};
      if (!e.proven) out.push_back(likely("secret"));
      return out;
    }
    if (e.ours) {
      std::vector<Likely> out{likely("own_identity", "The peer does not accept that we call ourselves " + e.received + ".")};
      if (e.user)
        out.insert(out.begin(), likely("user_method"));
      else if (!e.proven)
        out.insert(out.begin(), likely("own_certificate"));  // no shared secret: a certificate goes with it
      else
        out.push_back(likely("user_method"));
      return out;
    }
    return {likely("peer_identity", "The peer calls itself " + e.received + "; " + e.expected + " is configured.")};
  }
  std::vector<Likely> operator()(const ike::CertificateEvidence& e) const {
    std::string text = "The certificate of " + (e.subject.empty() ? std::string("the peer") : e.subject) + ": " + e.check;
    if (!text.ends_with('.')) text += '.';
    return {likely(f.reason == Reason::AuthFailed ? "signature" : "certificate", std::move(text))};
  }
  std::vector<Likely> operator()(const ike::SelectorEvidence& e) const {
    if (e.answered)
      return {likely("selectors", "The peer agreed to a CHILD SA for other networks than we asked for, which we do not let it have.")};
    return {likely("selectors", e.taken ? "Another peer has SAs for these networks at the moment." : std::string{})};
  }
  std::vector<Likely> operator()(const ike::AddressEvidence&) const { return {likely("no_connection")}; }
  std::vector<Likely> operator()(const ike::SecretEvidence& e) const {
    switch (e.problem) {
      case ike::SecretEvidence::Problem::Unreadable:
        return {likely("secret_unreadable", "Our secret cannot be read: " + e.detail + ".")};
      case ike::SecretEvidence::Problem::Unanswered:
        if (on_4500(f)) return {likely("port_4500"), likely("secret")};
        return {likely("secret"), likely("own_identity"), likely("silence")};
      case ike::SecretEvidence::Problem::Differs:
        break;
    }
    // A refusal in clear is the peer's word alone; one that does not decrypt shows other keys.
    std::vector<Likely> out{likely("secret")};
    if (f.by == RefusedBy::Peer) out.push_back(likely("own_identity"));
    if (f.by == RefusedBy::Peer && in(f, Exchange::IkeAuth)) out.push_back(likely("auth_method"));
    return out;
  }
  std::vector<Likely> operator()(const ike::UserEvidence& e) const {
    const std::string text = "User " + e.user + ": " + e.problem + ".";
    if (f.reason == Reason::EapMethod) return {likely("auth_method", text)};
    if (f.reason == Reason::RadiusRejected) return {likely("radius_rejected", text), likely("user")};
    if (f.reason == Reason::RadiusTimeout || f.reason == Reason::RadiusForged || f.reason == Reason::Limit ||
        f.reason == Reason::BadPayloads)
      return by_reason(f);
    if (f.reason == Reason::WrongIdentity) return {likely("peer_identity", "EAP-TLS with " + e.user + ": " + e.problem + ".")};
    if (f.reason == Reason::EapTls) return by_tls(e);
    return {likely(f.reason == Reason::NoSecret ? "user_unreadable" : "user", text)};
  }
  std::vector<Likely> operator()(const ike::PoolEvidence& e) const {
    if (f.cause.said == "FAILED_CP_REQUIRED") return by_said(f);
    return {likely("pool", (e.pools.empty() ? "Virtual addresses: " : "Pools " + e.pools + ": ") + e.problem + ".")};
  }
};

struct SideBySide {
  const Failure& f;

  Comparison operator()(const ike::ProposalEvidence& e) const {
    const bool ours = f.by == RefusedBy::Peer;
    Comparison out{{ours ? "we offered" : "offered", ours ? "peer wants" : "wanted", "first difference"}, {}};
    out.rows.push_back({e.offered, e.wanted.empty() ? "(it does not say)" : e.wanted, e.difference.empty() ? "(unknown)" : e.difference});
    return out;
  }
  Comparison operator()(const ike::IdentityEvidence& e) const {
    if (e.ours) return {{"we call ourselves", "peer expects"}, {{e.received, e.expected.empty() ? "(it does not say)" : e.expected}}};
    return {{"expected", "received"}, {{e.expected, e.received}}};
  }
  Comparison operator()(const ike::CertificateEvidence& e) const {
    return {{"certificate", "check that failed"}, {{e.subject.empty() ? "(none that could be read)" : e.subject, e.check}}};
  }
  Comparison operator()(const ike::SelectorEvidence& e) const {
    const auto shown = [](const std::string& text) { return text.empty() ? std::string("(none: the gateways themselves)") : text; };
    Comparison out{{"", "our side", "their side"}, {}};
    out.rows.push_back({f.role == Role::Initiator && (f.by == RefusedBy::Peer || e.answered) ? "we asked for" : "peer asks for",
                        shown(e.asked.local), shown(e.asked.remote)});
    for (const ike::SelectorPair& c : e.configured) out.rows.push_back({"configured, " + c.child, c.local, c.remote});
    return out;
  }
  Comparison operator()(const ike::AddressEvidence& e) const {
    return {{"our address", "peer's address", "peer's identity"}, {{e.local, e.remote, e.identity.empty() ? "(not known)" : e.identity}}};
  }
  Comparison operator()(const ike::UserEvidence& e) const { return {{"user", "problem"}, {{e.user, e.problem}}}; }
  Comparison operator()(const ike::PoolEvidence& e) const { return {{"pools", "problem"}, {{e.pools, e.problem}}}; }
  Comparison operator()(const ike::SecretEvidence&) const { return {}; }  // nothing of a secret is ever shown
  Comparison operator()(const std::monostate&) const { return {}; }
};

}  // namespace

std::vector<Likely> causes(const Failure& failure) {
  std::vector<Likely> out;
  // The peer's word for a refusal is the same whatever it has seen; ours is about the PPK alone where there is no other evidence.
  const bool ppk = !failure.cause.ppk.empty();
  if (ppk) out.push_back(likely("ppk", failure.cause.ppk));
  if (!ppk || failure.by != RefusedBy::Us || !std::holds_alternative<std::monostate>(failure.cause.evidence))
    std::ranges::move(std::visit(ByEvidence{failure}, failure.cause.evidence), std::back_inserter(out));
  if (failure.cause.more_proofs) out.push_back(likely("auth_rounds", "The peer asks for a further proof behind this one (RFC 4739)."));
  return out;
}

std::vector<std::string_view> all_causes() {
  std::vector<std::string_view> out;
  for (const Row& row : kCauses) out.push_back(row.name);
  return out;
}

Comparison comparison(const Failure& failure) { return std::visit(SideBySide{failure}, failure.cause.evidence); }

}  // namespace culvert::control::explain

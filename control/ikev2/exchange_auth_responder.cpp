// IKE_AUTH, responder.
#include "control/ikev2/exchange_auth_responder.hpp"

#include <algorithm>

#include "control/ikev1/evidence.hpp"
#include "control/ikev2/certificates.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/exchange_auth.hpp"
#include "control/ikev2/exchange_auth_rounds.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_eap.hpp"
#include "control/ikev2/exchange_intermediate.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/ppk.hpp"
#include "control/ikev2/resume.hpp"
#include "control/ikev2/strangers.hpp"
#include "control/ikev2/strays.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

/// So many connections a certificate is tried on: each is a verification for somebody who has proved nothing.
constexpr std::size_t kMaxTrials = 8;

struct Claim {
  const Message& message;
  ByteView init_request;
  const IdI& id;
  const IdR* wanted;  ///< whom it takes us for
  Auth auth;
  std::expected<PeerSignature, std::string> signature;
  SecretBytes octets;
  std::optional<PpkKeys> ppk{};  ///< that it is made with, as for the connection that is looked at
};

/// The nearer a verdict is to success, the more it says.
unsigned rank(Reason r) {
  return r == Reason::AuthRounds ? 4 : r == Reason::AuthFailed ? 3 : r == Reason::NoSecret ? 2 : r == Reason::WrongIdentity ? 1 : 0;
}

bool proves(const IkeSa& sa, const Claim& claim, const SecretBytes& secret) {
  return claim.auth.method == AuthMethodId::SharedKey &&
         equal_constant_time(shared_key_auth(sa.keys.prf, secret.view(), claim.octets.view()).view(), claim.auth.data);
}

SecretBytes octets_of_peer(const IkeSa& sa, const Claim& claim, const SecretBytes& sk_pi) {
  return octets_of_initiator(sa, claim.init_request, claim.message, sk_pi);
}

/// The claim as it is to be judged for a connection: with its PPK, or by what stands there for those who lack it (RFC 8784 §3).
std::expected<Claim, AuthVerdict> with_ppk(Core& core, const IkeSa& sa, std::size_t index, const Claim& claim) {
  if (sa.rounds.now > 0) return claim;  // a connection with several proofs has none
  auto proof = ppk_proof(core, sa, core.config.connections[index], claim.message);
  if (!proof) {
    PpkFault& fault = proof.error();
    return std::unexpected(AuthVerdict{fault.reason, std::move(fault.text), std::move(fault.cause), index});
  }
  Claim out = claim;
  if (proof->keys) out.octets = octets_of_peer(sa, claim, proof->keys->pi);
  if (!(proof->auth == claim.auth)) out.signature = read_signature(proof->auth, sa.hashes.has_value());
  out.auth = std::move(proof->auth);
  out.ppk = std::move(proof->keys);
  return out;
}

/// A proof by a secret and a PPK does not fit. One without the PPK that the peer has left says which of the two it is.
enum class Wrong : std::uint8_t { Secret, Ppk, Either };
Wrong what_is_wrong(const IkeSa& sa, const Claim& claim, const SecretBytes& secret) {
  if (!claim.ppk) return Wrong::Secret;
  const Notify* without = claim.message.notify(NotifyType::NoPpkAuth);
  if (!without) return Wrong::Either;
  Claim plain = claim;
  plain.auth.data = without->data;
  plain.octets = octets_of_peer(sa, claim, sa.keys.pi);
  return proves(sa, plain, secret) ? Wrong::Ppk : Wrong::Secret;
}

/// Why the peer has not proved to be the connection's: of a signature only what can be said without the certificate.
std::optional<AuthVerdict> unproven(Core& core, const IkeSa& sa, std::size_t index, const Claim& made) {
  const auto judged = with_ppk(core, sa, index, made);
  if (!judged) return judged.error();
  const Claim& claim = *judged;
  const config::Connection& c = config::proofs(core.config.connections[index], sa.rounds.now);
  AuthVerdict out{.reason = Reason::AuthFailed, .text = {}, .connection = index};
  const bool pubkey = c.remote_auth.auth == config::Proof::Pubkey;
  if (config::is_eap(c.remote_auth.auth)) {
    out.text = "The peer proves itself by " + described(claim.auth.method) + ", and the connection asks for a user (EAP).";
    return out;
  }
  if (pubkey ? !by_signature(claim.auth.method) : claim.auth.method != AuthMethodId::SharedKey) {
    out.text = "The peer proves itself by " + described(claim.auth.method) + ", and the connection asks for a " +
               (pubkey ? "certificate." : "pre-shared key.");
    return out;
  }
  if (pubkey) {
    const auto why =
        claim.signature ? unwanted(c, *claim.signature) : "The peer's signature is not taken: " + claim.signature.error() + ".";
    if (!why) return std::nullopt;
    out.text = *why;
    return out;
  }
  const auto secret = core.services.secret(c.name);
  if (secret && proves(sa, claim, *secret)) return std::nullopt;
  if (secret) {
    const std::string differ = " two sides do not have the same PPK \"" + c.ppk.id + "\".";
    const Wrong wrong = what_is_wrong(sa, claim, *secret);
    out.text = wrong == Wrong::Ppk      ? "All else of the peer's proof fits, but the" + differ
               : wrong == Wrong::Either ? "The peer's proof does not fit our pre-shared key, or the" + differ
                                        : "The peer's proof does not fit our pre-shared key.";
    if (wrong != Wrong::Secret) out.cause.ppk = "The" + differ;
    if (wrong != Wrong::Ppk) out.cause.evidence = ike::SecretEvidence{ike::SecretEvidence::Problem::Differs, {}};
  } else {
    out.reason = Reason::NoSecret;
    out.text = secret.error() + ".";
    out.cause.evidence = ikev1::unreadable(secret.error());
  }
  return out;
}

/// The connections that the peer can mean, by addresses, then names, then the kind of proof; with a pre-shared key the one that it has
/// proved itself for. None: it was refused.
std::vector<std::size_t> meant_by(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, const Claim& claim) {
  std::optional<AuthVerdict> nearest;
  std::vector<std::size_t> out;
  std::size_t secrets = 0;
  const auto note = [&](AuthVerdict verdict) {
    if (!nearest || rank(verdict.reason) > rank(nearest->reason)) nearest = std::move(verdict);
  };
  for (const std::size_t index : connections_for(core, sa)) {
    if (auto verdict = other_names(core, sa, index, claim.id, claim.wanted)) {
      note(std::move(*verdict));
      continue;
    }
    const bool psk = core.config.connections[index].remote_auth.auth == config::Proof::Psk;
    if (psk && ++secrets > config::kMaxSecrets) continue;
    if (auto verdict = unproven(core, sa, index, claim))
      note(std::move(*verdict));
    else if (auto other = other_rounds(core, sa, index, claim.message))
      note(std::move(*other));
    else
      out.push_back(index);
    if (psk && !out.empty()) return {out.front()};
  }
  if (out.size() > kMaxTrials) out.resize(kMaxTrials);
  if (!out.empty()) return out;
  AuthVerdict verdict = nearest.value_or(AuthVerdict{.text = "No connection takes this peer.", .connection = sa.connection});
  if (auto* names = std::get_if<ike::IdentityEvidence>(&verdict.cause.evidence))
    if (core.config.connections[verdict.connection].remote_auth.auth == config::Proof::Psk)
      if (const auto secret = core.services.secret(core.config.connections[verdict.connection].name))
        names->proven = proves(sa, claim, *secret);
  refuse_initiator(core, now, sa, id, std::move(verdict));
  return {};
}

/// By our signature or pre-shared key; nullopt: we have proved ourselves before.
void finish(Core& core, TimePoint now, IkeSa& sa, const AuthRequest& request, const std::optional<Auth>& proof) {
  Builder b;
  if (proof) add_introduction(core, sa, b);
  end_proof(core, now, sa, request, std::move(b), proof);
}

/// The peer is who it says: our own proof.
void accept(Core& core, TimePoint now, IkeSa& sa, AuthRequest request) {
  end_trial(core, now, sa);
  const IdI& peer = *request.message.find<IdI>();
  note_initiator(sa, {text(peer), peer_key(core.connection(sa), peer, sa.remote)}, core.proofs(sa).remote_auth.auth);
  accept_initiator(core, now, sa, std::move(request));
}

JobId ask(Core& core, const IkeSa& sa, const VerifyingInit& state) {
  const IdI& id = *state.request.message.find<IdI>();
  return ask_verification(core, sa, state.request.message, static_cast<std::uint8_t>(id.type), id.data, state.proof, state.octets);
}

/// The certificate is of no authority that this connection trusts: another one may, and that is the one that is meant then.
bool try_next(Core& core, IkeSa& sa, VerifyingInit& state, const ike::VerifyResult& result) {
  if (result.ok || result.reason != Reason::CertUntrusted || state.others.empty()) return false;
  if (!state.first) state.first.emplace(sa.connection, result);
  core.reassign(sa, state.others.front());
  state.others.erase(state.others.begin());
  state.job = ask(core, sa, state);
  return true;
}

}  // namespace

void accept_initiator(Core& core, TimePoint now, IkeSa& sa, AuthRequest request) {
  if (!config::proves_local(core.connection(sa), sa.rounds.now)) return finish(core, now, sa, request, std::nullopt);
  const config::Connection& c = core.proofs(sa);
  take_ppk(core, sa);
  const SecretBytes octets = octets_of_reply(core, sa, request.init_reply);
  if (c.local_auth.auth == config::Proof::Pubkey) {
    const auto scheme = signing_scheme(core, sa, request.message.find<Auth>());
    if (!scheme) return refuse_initiator(core, now, sa, request.id, {Reason::NoSecret, scheme.error(), {.number = 4}, sa.connection});
    const JobId job = ask_signature(core, sa, *scheme, octets);
    sa.state = SigningReply{job, std::move(request), *scheme};
    return;
  }
  const auto proof = secret_proof(core, sa, octets);
  if (!proof) return refuse_initiator(core, now, sa, request.id, proof.error());
  finish(core, now, sa, request, *proof);
}

std::expected<Auth, AuthVerdict> secret_proof(Core& core, const IkeSa& sa, const SecretBytes& octets) {
  const auto secret = core.services.secret(core.proofs(sa).name);
  if (!secret)
    return std::unexpected(
        AuthVerdict{Reason::NoSecret, secret.error() + ".", {.number = 4, .evidence = ikev1::unreadable(secret.error())}, sa.connection});
  const SecretBytes auth = shared_key_auth(sa.keys.prf, secret->view(), octets.view());
  return Auth{AuthMethodId::SharedKey, Bytes(auth.view().begin(), auth.view().end())};
}

void on_auth_request(Core& core, const Incoming& in, IkeSa& sa) {
  if (arrival(core, in, sa) == Arrived::Old) return;
  if (auto* further = std::get_if<AwaitProof>(&sa.state)) return on_further_proof(core, in, sa, *further);
  auto* state = std::get_if<AwaitAuth>(&sa.state);
  if (!state) return on_eap_request(core, in, sa);
  auto m = open(core, in, sa);
  if (!m) return;
  if (from_elsewhere(in, sa)) {
    if (!begin_trial(core, in, sa, *m)) return;
  } else {
    heard(core, in, sa);
    core.table.heard(sa.id);
    sa.local = in.datagram.local;  // a NAT that was found moves both to port 4500
    sa.remote = in.datagram.remote;
  }
  const std::uint32_t id = in.header().message_id.value;
  const TimePoint now = in.now;
  const auto fails = [&](NotifyType type, Bytes data, Reason reason, std::string text) {
    answer_error(core, now, sa, ike::kExchangeAuth, id, type, std::move(data));
    core.ended(now, sa, Exchange::IkeAuth, Role::Responder, reason, std::move(text), {}, {.number = 3});
    sa.state = Refused{};
  };
  if (const auto critical = m->unknown_critical())
    return fails(NotifyType::UnsupportedCriticalPayload, {*critical}, Reason::BadPayloads,
                 "IKE_AUTH has a critical payload that is not known.");
  if (const auto fault = check(MessageKind::AuthRequest, *m))
    return fails(NotifyType::InvalidSyntax, {}, Reason::BadPayloads, "IKE_AUTH: " + *fault);
  if (sa.resumed) return on_resumed_auth(core, in, sa, *state, std::move(*m));
  if (const auto skipped = skipped_exchange(sa)) return fails(NotifyType::InvalidSyntax, {}, Reason::Unexpected, *skipped);
  const Auth* auth = m->find<Auth>();
  if (!auth) return on_eap_wish(core, in, sa, std::move(*state), std::move(*m));
  const Claim claim{*m,
                    state->request,
                    *m->find<IdI>(),
                    m->find<IdR>(),
                    *auth,
                    read_signature(*auth, sa.hashes.has_value()),
                    octets_of_initiator(sa, state->request, *m, sa.keys.pi)};
  auto meant = meant_by(core, now, sa, id, claim);
  if (meant.empty()) return;
  core.reassign(sa, meant.front());
  std::erase_if(meant, [&](std::size_t other) { return !same_ppk(core.config.connections[other], core.connection(sa)); });
  meant.erase(meant.begin());
  if (refuse_nat(core, in, sa, *m)) return;
  const auto judged = with_ppk(core, sa, sa.connection, claim);
  if (!judged) return refuse_initiator(core, now, sa, id, judged.error());
  sa.ppk = judged->ppk;
  Bytes init_reply = std::move(state->reply);
  begin_rounds(sa, std::move(state->request), *m);
  if (!by_signature(auth->method)) return accept(core, now, sa, {id, std::move(*m), std::move(init_reply)});
  VerifyingInit next{0,
                     {id, std::move(*m), std::move(init_reply)},
                     *judged->signature,
                     Bytes(judged->octets.view().begin(), judged->octets.view().end()),
                     std::move(meant)};
  next.job = ask(core, sa, next);
  sa.state = std::move(next);
}

void take_further_proof(Core& core, TimePoint now, IkeSa& sa, AuthRequest request) {
  const Message& m = request.message;
  const Auth& auth = *m.find<Auth>();
  const Claim claim{m,
                    sa.rounds.init_request,
                    *m.find<IdI>(),
                    m.find<IdR>(),
                    auth,
                    read_signature(auth, sa.hashes.has_value()),
                    octets_of_initiator(sa, sa.rounds.init_request, m, sa.keys.pi)};
  auto verdict = other_names(core, sa, sa.connection, claim.id, claim.wanted);
  if (!verdict) verdict = unproven(core, sa, sa.connection, claim);
  if (!verdict) verdict = other_rounds(core, sa, sa.connection, m);
  if (verdict) return refuse_initiator(core, now, sa, request.id, std::move(*verdict));
  if (!by_signature(auth.method)) return accept(core, now, sa, std::move(request));
  if (!claim.signature)
    return refuse_initiator(core, now, sa, request.id, {Reason::AuthFailed, claim.signature.error() + ".", {.number = 3}, sa.connection});
  VerifyingInit next{0, {}, *claim.signature, Bytes(claim.octets.view().begin(), claim.octets.view().end()), {}};
  next.request = std::move(request);
  next.job = ask(core, sa, next);
  sa.state = std::move(next);
}

void on_verified_init(Core& core, TimePoint now, IkeSa& sa, VerifyingInit& state, const ike::VerifyResult& result) {
  if (try_next(core, sa, state, result)) return;
  AuthRequest request = std::move(state.request);
  if (result.ok) {
    const auto before = shown_before(core, sa, result.key);
    if (!before) return accept(core, now, sa, std::move(request));
    return refuse_initiator(core, now, sa, request.id,
                            {Reason::AuthRounds,
                             "The peer proves itself by what it has proved itself by before: " + *before + ".",
                             {.number = 3, .evidence = ike::CertificateEvidence{result.subject, *before}},
                             sa.connection});
  }
  ike::VerifyResult why = result;
  if (const auto first = std::move(state.first); first && result.reason == Reason::CertUntrusted) {
    core.reassign(sa, first->first);  // nobody trusts it: the connection that came first says so
    why = first->second;
  }
  const Reason reason = why.reason == Reason::Ok ? Reason::AuthFailed : why.reason;
  Cause cause = refusal_of(core, sa, 3, text(*request.message.find<IdI>()), why);
  if (reason == Reason::AuthFailed) {
    why.message += or_ppk(core, sa);
    cause.ppk = ppk_doubt(core, sa);
  }
  refuse_initiator(core, now, sa, request.id, {reason, std::move(why.message), std::move(cause), sa.connection});
}

void on_signed_reply(Core& core, TimePoint now, IkeSa& sa, SigningReply& state, const ike::SignResult& result) {
  const AuthRequest request = std::move(state.request);
  if (!result.ok)
    return refuse_initiator(core, now, sa, request.id,
                            {Reason::NoSecret, "Our private key did not sign: " + result.error + ".", {.number = 4}, sa.connection});
  finish(core, now, sa, request, signature_auth(state.scheme, result.signature));
}

}  // namespace culvert::ikev2

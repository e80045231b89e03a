// Phase 1: what both exchanges and both roles share. Its head is in phase1.hpp.
#include "control/ikev1/phase1.hpp"

#include <algorithm>

#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_aggressive_mode.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/notifications.hpp"
#include "control/ikev1/peers.hpp"

namespace culvert::ikev1 {

// ---------------------------------------------------------------------------------------------------------------- what is wanted

std::expected<Phase1Auth, std::string> wanted_auth(Core& core, std::size_t index, Role role) {
  const config::Connection& c = core.connection(index);
  using config::Proof;
  const Proof ours = c.local_auth.auth, theirs = c.remote_auth.auth;
  Phase1Auth out;
  if (!c.xauth_client.user.empty()) out.user = role;
  if (c.xauth_server.users.kind != config::SecretRef::Kind::None) out.user = ike::other(role);
  out.hybrid = ours == Proof::Xauth || theirs == Proof::Xauth;
  if (ours == Proof::Psk) return out;
  out.method = ike::AuthMethod::RsaSignature;  // of the peer, where we are the user of hybrid authentication: there is no other
  if (ours == Proof::Pubkey) {
    const auto method = core.services.signing_method(c.name);
    if (!method) return std::unexpected(method.error());
    out.method = *method;
  }
  if (!find_phase1_auth(out))
    return std::unexpected("IKEv1 has XAuth and hybrid authentication with RSA alone, and the key is one for " +
                           std::string(ike::name(out.method)));
  return out;
}

std::uint32_t offered_life(const config::Connection& c) { return static_cast<std::uint32_t>((c.rekey_time + c.over_time).count()); }

IsakmpSa* new_initiator(Core& core, TimePoint now, const Phase1Start& start, Exchange mode) {
  auto sa = std::make_unique<IsakmpSa>(IsakmpSa{.id = core.new_sa_id(),
                                                .connection = start.connection,
                                                .role = Role::Initiator,
                                                .spi_i = core.new_cookie(),
                                                .local = start.local,
                                                .remote = start.remote,
                                                .created = now,
                                                .state = MmMakingKey{},
                                                .replaces = start.replaces,
                                                .last_sent = now,
                                                .mode = mode});
  const auto refuse = [&](Reason reason, const std::string& text, ike::Evidence found = {}) -> IsakmpSa* {
    core.ended(now, *sa, mode, Role::Initiator, reason, text + "; nothing was sent.", {}, {.number = 1, .evidence = std::move(found)});
    connecting_failed(core, now, start.connection, start.replaces);
    return nullptr;
  };
  if (core.table.size() >= ike::kMaxIkeSas) return refuse(Reason::Limit, "There are too many ISAKMP SAs");
  const auto auth = wanted_auth(core, start.connection, Role::Initiator);
  if (!auth) return refuse(Reason::NoSecret, "The private key cannot be used (" + auth.error() + ")", unreadable(auth.error()));
  if (auth->psk())
    if (const auto psk = core.services.secret(core.connection(*sa).name); !psk)
      return refuse(Reason::NoSecret, "The pre-shared key cannot be read (" + psk.error() + ")", unreadable(psk.error()));
  sa->nat.forced = core.connection(*sa).encap;
  core.table.add_initiator(sa->id, sa->spi_i);
  return &core.add(std::move(sa));
}

bool start_phase1(Core& core, TimePoint now, const Phase1Start& start) {
  return core.connection(start.connection).aggressive ? start_aggressive_mode(core, now, start) : start_main_mode(core, now, start);
}

void move_to_nat_port(IsakmpSa& sa) {
  if (!sa.nat.leaves_port_500()) return;
  sa.local.port = ike::kNatPort;
  if (sa.remote.port == ike::kIkePort) sa.remote.port = ike::kNatPort;
}

bool nonce_ok(const Message& message) {
  const std::size_t size = message.find<Nonce>()->data.size();  // presence: message_rules.hpp
  return size >= kMinNonce && size <= kMaxNonce;
}

// ---------------------------------------------------------------------------------------------------------------- keys and proofs

std::expected<Keys, std::string> make_keys(Core& core, const IsakmpSa& sa, const Negotiated& negotiated, const KeyExchange& ke,
                                           ByteView g_xy, const SecretBytes* instead) {
  const IkeSuite& suite = negotiated.suite;
  Phase1Inputs in{suite.prf, {}, ke.nonce_i, ke.nonce_r, g_xy, sa.spi_i, sa.spi_r, !negotiated.auth.psk()};
  SecretBytes psk;
  if (negotiated.auth.psk() && instead) {
    in.psk = instead->view();
  } else if (negotiated.auth.psk()) {
    auto secret = core.services.secret(core.connection(sa).name);
    if (!secret) return std::unexpected(secret.error());
    psk = std::move(*secret);
    in.psk = psk.view();
  }
  Phase1Secrets secrets = derive_phase1(in);
  Cipher cipher(suite.encr, phase1_encryption_key(secrets, suite.key_bits / 8U));
  return Keys{std::move(secrets), std::move(cipher), phase1_iv(suite.prf, ke.g_xi, ke.g_xr)};
}

Id own_id(Core& core, const IsakmpSa& sa) { return to_id(core.connection(sa).local_id, sa.local.address); }

Bytes proof_octets(const IsakmpSa& sa, const Derived& d, Role side, ByteView id_body) {
  Phase1HashInputs in{d.ke.g_xi, d.ke.g_xr, sa.spi_i, sa.spi_r, d.negotiated.sa_i_body, id_body};
  if (d.negotiated.auth.signs(side)) in.prf = proof_prf(d.negotiated.auth.method, d.negotiated.suite.prf);
  return side == Role::Initiator ? hash_i(d.keys.secrets, in) : hash_r(d.keys.secrets, in);
}

bool hash_proves(const IsakmpSa& sa, const Derived& d, Role side, ByteView id_body, const Message& message) {
  return equal_constant_time(proof_octets(sa, d, side, id_body), message.find<Hash>()->data);
}

JobId ask_signature(Core& core, const IsakmpSa& sa, const Derived& d) {
  const JobId job = core.add_job({.sa = sa.id});
  Bytes octets = proof_octets(sa, d, sa.role, encode_body(own_id(core, sa)));
  core.actions.emplace_back(ike::Sign{job, core.connection(sa).name, d.negotiated.auth.method, std::move(octets)});
  return job;
}

JobId ask_verification(Core& core, const IsakmpSa& sa, const Derived& d, const Claim& claim) {
  const JobId job = core.add_job({.sa = sa.id});
  ike::VerifyPeer ask{.job = job,
                      .connection = core.connection(sa).name,
                      .method = d.negotiated.auth.method,
                      .octets = proof_octets(sa, d, ike::other(sa.role), claim.id_body),
                      .signature = claim.message.find<Sig>()->data,
                      .id_type = static_cast<std::uint8_t>(claim.id.type),
                      .id_data = claim.id.data,
                      .certificates = {}};
  for (const Cert* cert : claim.message.all<Cert>()) ask.certificates.push_back({cert->encoding, cert->data});
  core.actions.emplace_back(std::move(ask));
  return job;
}

void add_proof(Core& core, const IsakmpSa& sa, const Derived& d, const Bytes* signature, Builder& out, bool certificates) {
  if (!signature) {
    out.add(Hash{proof_octets(sa, d, sa.role, encode_body(own_id(core, sa)))});
    return;
  }
  if (certificates)
    for (Bytes& cert : core.services.certificates(core.connection(sa).name)) out.add(Cert{kX509Signature, std::move(cert)});
  out.add(Sig{*signature});
}

void add_cert_requests(Core& core, const IsakmpSa& sa, const Phase1Auth& auth, std::size_t room, Builder& out,
                       std::span<const std::size_t> others) {
  static constexpr std::size_t kOverhead = 5;  // generic header and encoding
  static constexpr std::size_t kMost = 16;     // as we take from a peer (message_rules.cpp)
  if (!auth.signs(ike::other(sa.role))) return;
  std::vector<Bytes> authorities = core.services.authorities(core.connection(sa).name);
  for (const std::size_t other : others)
    for (Bytes& name : core.services.authorities(core.connection(other).name))
      if (std::ranges::find(authorities, name) == authorities.end()) authorities.push_back(std::move(name));
  std::size_t size = 0;
  for (const Bytes& name : authorities) size += kOverhead + name.size();
  if (authorities.empty() || authorities.size() > kMost || size > room) {
    out.add(CertReq{kX509Signature, {}});  // RFC 2408 §3.10: no authority in particular
    return;
  }
  for (const Bytes& name : authorities) out.add(CertReq{kX509Signature, name});
}

std::string wrong_identity_text(const Id& received, const config::Connection& c) {
  return "The peer calls itself " + to_text(received) + ", but " + to_text(c.remote_id) + " is configured.";
}

ike::IdentityEvidence identity_evidence(const Id& received, const config::Connection& c, bool proven) {
  return {.expected = to_text(c.remote_id), .received = to_text(received), .ours = false, .proven = proven};
}

ike::Cause refused_claim(Core& core, const IsakmpSa& sa, const Claim& claim, unsigned number, const ike::VerifyResult& why) {
  if (why.reason == Reason::WrongIdentity) return {.number = number, .evidence = identity_evidence(claim.id, core.connection(sa), false)};
  return {.number = number, .evidence = ike::CertificateEvidence{why.subject, why.message}};
}

void refuse_claim(Core& core, TimePoint now, IsakmpSa& sa, const Derived& d, const Claim& claim, unsigned number,
                  const ike::VerifyResult& why) {
  const bool initiator = sa.role == Role::Initiator;
  const Reason reason = why.reason == Reason::Ok ? Reason::AuthFailed : why.reason;
  const std::string message =
      why.reason == Reason::WrongIdentity && why.message.empty() ? wrong_identity_text(claim.id, core.connection(sa)) : why.message;
  sa.local = claim.local;
  sa.remote = claim.remote;
  Bytes answer =
      informational(core, sa, d.keys,
                    initiator ? refusal_and_delete(sa, NotifyType::AuthenticationFailed) : refusal(sa, NotifyType::AuthenticationFailed));
  core.send(now, sa, answer);
  ike::Cause cause = refused_claim(core, sa, claim, number, why);
  if (initiator) return phase1_failed(core, now, sa, reason, message, std::move(cause));
  core.ended(now, sa, sa.mode, sa.role, reason, message, {}, std::move(cause));
  sa.replies.set_reply(std::move(answer));  // for a peer that did not get it
  sa.state = MmRefused{};
}

bool admit(Core& core, TimePoint now, IsakmpSa& sa, const Derived& d, const Claim& claim) {
  sa.local = claim.local;
  sa.remote = claim.remote;
  const auto settled = settle_peer(core, now, sa, core.run(sa.connection).connection, claim.id);
  if (settled) return true;
  const NotifyType why = settled.error().notify;
  core.send(now, sa, informational(core, sa, d.keys, sa.role == Role::Initiator ? refusal_and_delete(sa, why) : refusal(sa, why)));
  phase1_failed(core, now, sa, settled.error().reason, settled.error().text);
  return false;
}

namespace {
template <class Busy>
bool keep_early(Busy& state, const Incoming& in, const Endpoint& peer) {
  if (state.early || !in.header().encrypted() || in.datagram.remote != peer) return false;
  state.early = in.datagram;
  return true;
}
}  // namespace

bool comes_early(Core& core, const Incoming& in) {
  const auto id = core.table.find(in.header().spi_i, in.header().spi_r);
  IsakmpSa* sa = id ? core.find(*id) : nullptr;
  if (!sa) return false;
  if (auto* s = std::get_if<AmAnswered>(&sa->state)) return keep_early(*s, in, s->third.remote);
  if (auto* s = std::get_if<AmVerifyingProof>(&sa->state)) return keep_early(*s, in, s->claim.remote);
  if (auto* s = std::get_if<MmVerifying>(&sa->state)) return keep_early(*s, in, s->claim.remote);
  return false;
}

void become_established(Core& core, TimePoint now, IsakmpSa& sa, Derived d, std::string local_id, std::string remote_id) {
  const config::Connection& c = core.connection(sa);
  const Schedule when =
      schedule(core.services, now, {c.rekey_time, c.rand_time, c.rekey_time + c.over_time}, d.negotiated.life.seconds.value_or(0));
  const Phase1AuthInfo* auth = find_phase1_auth(d.negotiated.auth);
  std::string text = "ISAKMP SA established with " + remote_id + " at " + sa.remote.to_string() + " as " + local_id + ", " +
                     d.negotiated.suite.to_string() + ", " + std::string(auth ? auth->name : "") + ", " + sa.nat.to_string() + ".";
  MmEstablished next{.negotiated = std::move(d.negotiated),
                     .keys = std::move(d.keys),
                     .local_id = std::move(local_id),
                     .remote_id = std::move(remote_id),
                     .established = now,
                     .rekey_at = when.rekey_at,
                     .expires_at = when.expires_at};
  if (next.negotiated.life.kbytes) limit_volume(core, next, *next.negotiated.life.kbytes);
  sa.state = std::move(next);
  core.table.promote(sa.id);
  core.ended(now, sa, sa.mode, sa.role, Reason::Ok, std::move(text));
  main_mode_established(core, now, sa);
}

}  // namespace culvert::ikev1

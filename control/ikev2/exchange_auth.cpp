// IKE_AUTH, initiator.
#include "control/ikev2/exchange_auth.hpp"

#include <limits>

#include "control/ikev1/evidence.hpp"
#include "control/ikev2/certificates.hpp"
#include "control/ikev2/childless.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/counter_sync.hpp"
#include "control/ikev2/exchange_auth_initiator.hpp"
#include "control/ikev2/exchange_auth_rounds.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_eap.hpp"
#include "control/ikev2/exchange_informational.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/ppk.hpp"
#include "control/ikev2/reauth.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/resume.hpp"
#include "control/ikev2/transport.hpp"
#include "control/ikev2/window.hpp"

namespace culvert::ikev2 {

namespace {

/// Our proof. `without`: for a peer that lacks the PPK (RFC 8784 §3). With EAP there is none yet.
struct OwnProof {
  std::optional<Auth> auth{}, without{};
};

/// The request, our proof being made. `init_reply`: the responder's IKE_SA_INIT.
void send_proof(Core& core, TimePoint now, IkeSa& sa, Bytes init_reply, const OwnProof& proof) {
  if (sa.rounds.now > 0) return send_further_proof(core, now, sa, proof.auth);
  const config::Connection& c = core.connection(sa);
  Builder b;
  b.add(own_id<IdI>(c.local_id, sa.local.address));
  if (c.local_auth.auth == config::Proof::Pubkey && !sa.pass) add_certificates(core, sa, b);
  const std::size_t own[] = {sa.connection};
  if (!sa.pass) add_cert_requests(core, own, std::numeric_limits<std::size_t>::max(), b);
  if (const auto wanted = sa.unnamed ? std::nullopt : wanted_id(c.remote_id)) b.add(*wanted);
  if (proof.auth) {
    b.add(*proof.auth);
    add_ppk(core, sa, proof.without, b);
    add_follows(core, sa, b);
    if (last_round(core, sa)) add_token(core, sa, b);
  }
  if (!last_round(core, sa)) b.notify(NotifyType::MultipleAuthSupported);
  if (!last_round(core, sa) || !proof.auth) sa.rounds.init_request = std::move(sa.init_request);
  if (c.unique != config::Unique::Never && sa.replaces.empty() && (sa.pass || !core.contacted.contains({sa.remote.vrf, sa.remote.address})))
    b.notify(NotifyType::InitialContact);
  offer_mobility(core, sa, b);
  offer_sync(core, sa, b);
  add_window(core, sa, b);
  request_ticket(core, sa, b);
  MakeChild make;
  if (const auto wish = address_wish(core, sa)) b.add(*wish);
  if (!sa.childless) {
    make.child = sa.first_child;
    make.pair = core.shared.new_pair();
    make.suites = usable_suites(sa, core.child(sa, make.child));
    ask_for_all(core, sa, make);
    make.nonce = sa.nonce_i;
    const auto spi = core.allocate_spi(sa.id, make.pair);
    if (!spi) return connecting_failed(core, now, sa, Exchange::IkeAuth, Reason::Limit, "There is no SPI left.");
    make.spi_in = *spi;
    add_child_wish(core, sa, make, false, b);
  }
  sa.init_request = std::move(init_reply);  // from now on the responder's, which it signs
  sa.state = AuthSent{send_request(core, now, sa, ike::kExchangeAuth, b), std::move(make)};
}

/// Its certificate and its signature go to be checked, if there is one.
void verify(Core& core, TimePoint now, IkeSa& sa, AuthSent& state, Message reply) {
  const Auth& auth = *reply.find<Auth>();
  const IdR& id = *reply.find<IdR>();
  if (!by_signature(auth.method))
    return refuse_responder(core, now, sa, Reason::AuthFailed,
                            "The peer proves itself by " + described(auth.method) + ", and the connection asks for a certificate.",
                            {.number = 4});
  const auto proof = read_signature(auth, sa.hashes.has_value());
  if (!proof)
    return refuse_responder(core, now, sa, Reason::AuthFailed, "The peer's signature is not taken: " + proof.error() + ".", {.number = 4});
  if (const auto why = unwanted(core.proofs(sa), *proof)) return refuse_responder(core, now, sa, Reason::AuthFailed, *why, {.number = 4});
  const SecretBytes octets = octets_of_responder(sa, sa.init_request, reply.raw(PayloadType::IdR)->body);
  const JobId job = ask_verification(core, sa, reply, static_cast<std::uint8_t>(id.type), id.data, *proof,
                                     Bytes(octets.view().begin(), octets.view().end()));
  MakeChild make = std::move(state.make);
  sa.state = Verifying{job, std::move(make), std::move(reply)};
}

/// Whether the peer's pre-shared key is ours; refused here if not.
bool proves_secret(Core& core, TimePoint now, IkeSa& sa, const Message& reply) {
  const config::Connection& c = core.proofs(sa);
  const Auth& auth = *reply.find<Auth>();
  const IdR& id = *reply.find<IdR>();
  const auto secret = core.services.secret(c.name);
  if (!secret) {
    refuse_responder(core, now, sa, Reason::NoSecret, secret.error() + ".", {.number = 4, .evidence = ikev1::unreadable(secret.error())});
    return false;
  }
  const SecretBytes octets = octets_of_responder(sa, sa.init_request, reply.raw(PayloadType::IdR)->body);
  const bool psk = auth.method == AuthMethodId::SharedKey;
  const bool proven = psk && equal_constant_time(shared_key_auth(sa.keys.prf, secret->view(), octets.view()).view(), auth.data);
  if (!matches(c.remote_id, id)) {
    refuse_responder(core, now, sa, Reason::WrongIdentity, "The peer calls itself " + text(id) + ", expected was " + c.remote_id.text + ".",
                     {.number = 4, .evidence = ike::IdentityEvidence{c.remote_id.text, text(id), false, proven}});
    return false;
  }
  if (proven) return true;
  Cause cause{.number = 4};
  if (psk) cause.evidence = ike::SecretEvidence{ike::SecretEvidence::Problem::Differs, {}};
  refuse_responder(core, now, sa, Reason::AuthFailed,
                   psk ? "The peer's proof does not fit our pre-shared key" + or_ppk(core, sa) + "."
                       : "The peer proves itself by " + described(auth.method) + ", and the connection asks for a pre-shared key.",
                   std::move(cause));
  return false;
}

/// The responder has done its part of the round: ours, if it is by EAP.
void go_on(Core& core, TimePoint now, IkeSa& sa, Verifying done) {
  const bool asks = done.reply.find<Eap>() != nullptr;  // without: it sends us elsewhere before it asks for a user (RFC 5685 §6)
  if (asks) return begin_eap(core, now, sa, std::move(done));
  end_round(core, now, sa, std::move(done.make), done.reply);
}

}  // namespace

SecretBytes octets_of_responder(const IkeSa& sa, ByteView first_message, ByteView id_body) {
  const bool we_began = sa.role == Role::Initiator;
  return signed_octets(sa.keys.prf, first_message, we_began ? sa.nonce_i : sa.nonce_r, we_began ? sa.keys.pr.view() : sa.keys.pi.view(),
                       id_body, sa.int_auth);
}

void refuse_responder(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause) {
  send_request(core, now, sa, ike::kExchangeInformationalV2, Builder().notify(NotifyType::AuthenticationFailed));
  connecting_failed(core, now, sa, Exchange::IkeAuth, reason, text, std::move(cause));
}

void refused_by_responder(Core& core, TimePoint now, IkeSa& sa, const Notify& n) {
  const std::string said = name(n.type);
  if (n.type != NotifyType::AuthenticationFailed)
    return connecting_failed(core, now, sa, Exchange::IkeAuth, Reason::PeerRefused, "The peer refused with " + said + ".",
                             {.number = 3, .said = said, .said_proven = true});
  // Some refuse whoever asks for another one than they are. Without the question they say who they are.
  const bool named = std::holds_alternative<AuthSent>(sa.state) && !sa.unnamed && !sa.pass && sa.rounds.now == 0 && sa.replaces.empty() &&
                     wanted_id(core.connection(sa).remote_id).has_value();
  Start again{sa.connection, sa.first_child, sa.local, sa.remote, {}, true};
  again.local.port = again.remote.port = ike::kIkePort;
  const config::Proof proof = core.proofs(sa).local_auth.auth;
  const bool psk = proof == config::Proof::Psk, user = config::is_eap(proof);
  const bool more = sa.rounds.said && last_round(core, sa) && !sa.pass;
  const std::string own = text(own_id<IdI>(core.proofs(sa).local_id, sa.local.address));
  if (!config::proves_local(core.connection(sa), sa.rounds.now))
    return connecting_failed(core, now, sa, Exchange::IkeAuth, Reason::AuthRounds,
                             "The peer refuses behind all of our proofs (" + said + "): it may ask for more of them.",
                             {.number = 3, .said = said, .said_proven = true, .by = ike::RefusedBy::Peer});
  const auto* proving = std::get_if<ProvingUser>(&sa.state);
  const bool asked = proving != nullptr;                        // for our name, at least
  const bool proof_seen = !user || (asked && proving->proved);  // and of which PPK it is
  Cause cause{.number = asked ? 5U : 3U,
              .said = said,
              .said_proven = true,
              .more_proofs = more,
              .ppk = proof_seen ? ppk_doubt(core, sa) : "",
              .by = ike::RefusedBy::Peer};
  if (psk) cause.evidence = ike::SecretEvidence{ike::SecretEvidence::Problem::Differs, {}};
  if (!psk && !user) cause.evidence = ike::IdentityEvidence{.expected = {}, .received = own, .ours = true, .proven = false};
  connecting_failed(core, now, sa, Exchange::IkeAuth, user ? Reason::EapRefused : Reason::AuthFailed,
                    "The peer refused our authentication (" + said + "): " +
                        (psk     ? "the pre-shared keys differ, or it does not take our identity "
                         : asked ? "it takes no users here, or not what EAP has led to, or not our identity "
                         : user  ? "it takes no users here, or not our identity "
                                 : "it does not trust our certificate, or does not take our identity ") +
                        own + (proof_seen ? or_ppk(core, sa) : "") + (more ? ", or it asks for a further proof (RFC 4739)." : "."),
                    std::move(cause));
  if (named) start_sa(core, now, again);
}

void accept_responder(Core& core, TimePoint now, IkeSa& sa, MakeChild make, const IdR& id, const Message& reply) {
  if (reply.notify(NotifyType::Redirect) && make.spi_in) core.release_spi(std::exchange(make.spi_in, Spi{}));
  if (sent_elsewhere(core, now, sa, text(id), reply)) return;
  note_mobility(core, sa, reply);
  note_sync(core, sa, reply);
  note_token(core, sa, reply);
  established(core, now, sa, text(id), peer_key(core.connection(sa), id, sa.remote));
  note_auth_lifetime(core, now, sa, reply);
  note_ticket(core, now, sa, id, reply);
  sa.childless ? go_on_childless(core, now, sa, reply) : take_child_answer(core, now, sa, std::move(make), reply);
}

SecretBytes own_octets(const Core& core, const IkeSa& sa, const SecretBytes& sk_pi) {
  const IdI id = own_id<IdI>(core.proofs(sa).local_id, sa.local.address);
  const Bytes& first = sa.rounds.init_request.empty() ? sa.init_request : sa.rounds.init_request;
  return signed_octets(sa.keys.prf, first, sa.nonce_r, sk_pi.view(), encode_body(id), sa.int_auth);
}

void send_auth(Core& core, TimePoint now, IkeSa& sa, const Bytes& init_reply) {
  const config::Connection& c = core.connection(sa);
  sa.local_id = text(own_id<IdI>(c.local_id, sa.local.address));
  if (sa.pass)
    return send_proof(core, now, sa, init_reply, {resumed_proof(sa, sa.keys.pi, own_octets(core, sa, sa.keys.pi)), std::nullopt});
  if (const auto why = too_few_rounds(core, sa))
    return connecting_failed(core, now, sa, Exchange::IkeAuth, Reason::AuthRounds, *why, {.number = 2});
  if (auto fault = begin_ppk(core, sa))
    return connecting_failed(core, now, sa, Exchange::IkeAuth, fault->reason, fault->text, std::move(fault->cause));
  prove(core, now, sa, init_reply);
}

void prove(Core& core, TimePoint now, IkeSa& sa, const Bytes& init_reply) {
  const config::Connection& c = core.proofs(sa);
  if (!config::proves_local(core.connection(sa), sa.rounds.now)) return send_proof(core, now, sa, init_reply, {});
  if (config::is_eap(c.local_auth.auth)) return send_proof(core, now, sa, init_reply, {});
  const SecretBytes octets = own_octets(core, sa, proving_key(sa));
  if (c.local_auth.auth == config::Proof::Pubkey) {
    const auto scheme = signing_scheme(core, sa);
    if (!scheme) return connecting_failed(core, now, sa, Exchange::IkeAuth, Reason::NoSecret, scheme.error(), {.number = 3});
    auto* further = std::get_if<Signing>(&sa.state);
    Signing state{ask_signature(core, sa, *scheme, octets), init_reply, *scheme};
    if (further) state.make = std::move(further->make);
    sa.state = std::move(state);
    return;
  }
  const auto secret = core.services.secret(c.name);
  if (!secret)
    return connecting_failed(core, now, sa, Exchange::IkeAuth, Reason::NoSecret, secret.error() + ".",
                             {.number = 3, .evidence = ikev1::unreadable(secret.error())});
  const auto proof = [&](const SecretBytes& what) {
    const SecretBytes auth = shared_key_auth(sa.keys.prf, secret->view(), what.view());
    return Auth{AuthMethodId::SharedKey, Bytes(auth.view().begin(), auth.view().end())};
  };
  std::optional<Auth> without;
  if (may_lack_ppk(core, sa)) without = proof(own_octets(core, sa, sa.keys.pi));
  send_proof(core, now, sa, init_reply, {proof(octets), std::move(without)});
}

void on_auth_signed(Core& core, TimePoint now, IkeSa& sa, const ike::SignResult& result) {
  if (auto* reply = std::get_if<SigningReply>(&sa.state); reply && reply->job == result.job)
    return on_signed_reply(core, now, sa, *reply, result);
  if (auto* eap = std::get_if<SigningForEap>(&sa.state); eap && eap->job == result.job) return on_eap_opened(core, now, sa, *eap, result);
  auto* state = std::get_if<Signing>(&sa.state);
  if (!state || state->job != result.job) return;
  if (!result.ok)
    return connecting_failed(core, now, sa, Exchange::IkeAuth, Reason::NoSecret, "Our private key did not sign: " + result.error + ".",
                             {.number = 3});
  Auth made = signature_auth(state->scheme, result.signature);
  if (!state->proof && may_lack_ppk(core, sa)) {
    state->job = ask_signature(core, sa, state->scheme, own_octets(core, sa, sa.keys.pi));
    state->proof = std::move(made);
    return;
  }
  const Signing done = sa.rounds.now == 0 ? std::move(*state) : Signing{};  // of a further proof what it is about stays where it is
  if (done.proof) return send_proof(core, now, sa, done.reply, {done.proof, std::move(made)});
  send_proof(core, now, sa, done.reply, {std::move(made), std::nullopt});
}

void on_auth_response(Core& core, const Incoming& in, IkeSa& sa) {
  auto* state = std::get_if<AuthSent>(&sa.state);
  auto* proving = std::get_if<ProvingUser>(&sa.state);
  if ((!state && !proving) || (proving && proving->job != 0) || in.header().message_id.value + 1 != sa.next_request) return;
  auto m = open(core, in, sa);
  if (!m) return;
  heard(core, in, sa);
  const TimePoint now = in.now;
  if (proving) return on_eap_reply(core, now, sa, *proving, *m);
  if (!fits_round(core, now, sa, *m)) return;
  const config::Connection& c = core.proofs(sa);
  const IdR* id = m->find<IdR>();
  if (sa.pass) {
    const Auth expected = resumed_proof(sa, sa.keys.pr, octets_of_responder(sa, sa.init_request, m->raw(PayloadType::IdR)->body));
    const Auth& proof = *m->find<Auth>();
    if (proof.method != expected.method || !equal_constant_time(proof.data, expected.data) || encode_body(*id) != sa.pass->id)
      return refuse_responder(core, now, sa, Reason::AuthFailed,
                              "The gateway that takes our ticket does not prove to be the one that gave it.", {.number = 4});
    MakeChild make = std::move(state->make);
    return accept_responder(core, now, sa, std::move(make), *id, *m);
  }
  const auto part_done = [&] { go_on(core, now, sa, {0, std::move(state->make), std::move(*m)}); };
  if (!config::proves_remote(core.connection(sa), sa.rounds.now)) return part_done();
  // RFC 8784 §3: what comes before our own proof, which names the PPK, is made without.
  if (auto fault = proves_user(core, sa) ? std::nullopt : settle_ppk(core, sa, *m))
    return refuse_responder(core, now, sa, fault->reason, fault->text, std::move(fault->cause));
  if (config::is_eap(c.remote_auth.auth))
    return refuse_responder(core, now, sa, Reason::AuthFailed, "The peer is to be a user (EAP), as which only the initiator can come.",
                            {.number = 4});
  if (c.remote_auth.auth != config::Proof::Pubkey) {
    if (!proves_secret(core, now, sa, *m) || !note_responder(core, now, sa, *m)) return;
    return part_done();
  }
  if (!matches(c.remote_id, *id))
    return refuse_responder(core, now, sa, Reason::WrongIdentity,
                            "The peer calls itself " + text(*id) + ", expected was " + c.remote_id.text + ".",
                            {.number = 4, .evidence = ike::IdentityEvidence{c.remote_id.text, text(*id), false, false}});
  verify(core, now, sa, *state, std::move(*m));
}

void on_auth_verified(Core& core, TimePoint now, IkeSa& sa, const ike::VerifyResult& result) {
  if (auto* init = std::get_if<VerifyingInit>(&sa.state); init && init->job == result.job)
    return on_verified_init(core, now, sa, *init, result);
  auto* state = std::get_if<Verifying>(&sa.state);
  if (!state || state->job != result.job) return;
  if (!result.ok) {
    const Reason reason = result.reason == Reason::Ok ? Reason::AuthFailed : result.reason;
    Cause cause = refusal_of(core, sa, 4, text(*state->reply.find<IdR>()), result);
    return refuse_responder(core, now, sa, reason, result.message + (reason == Reason::AuthFailed ? or_ppk(core, sa) : ""),
                            std::move(cause));
  }
  if (const auto why = shown_before(core, sa, result.key))
    return refuse_responder(core, now, sa, Reason::AuthRounds,
                            "The peer proves itself by what it has proved itself by before: " + *why + ".",
                            {.number = 4, .evidence = ike::CertificateEvidence{result.subject, *why}});
  if (!note_responder(core, now, sa, state->reply)) return;
  Verifying done = std::move(*state);
  go_on(core, now, sa, std::move(done));
}

}  // namespace culvert::ikev2

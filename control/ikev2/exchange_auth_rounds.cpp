// The initiator's rounds, and what both sides' have in common.
#include "control/ikev2/exchange_auth_rounds.hpp"

#include <algorithm>

#include "control/ikev2/certificates.hpp"
#include "control/ikev2/crash.hpp"
#include "control/ikev2/exchange_auth_initiator.hpp"
#include "control/ikev2/exchange_eap.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

/// What a responder may say in a reply without AUTH that is about the CHILD SA alone (RFC 7296 §1.2).
bool spares_the_sa(NotifyType type) {
  return type == NotifyType::NoProposalChosen || type == NotifyType::TsUnacceptable || type == NotifyType::SinglePairRequired ||
         type == NotifyType::InternalAddressFailure || type == NotifyType::FailedCpRequired || type == NotifyType::TemporaryFailure;
}

bool refuse_round(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text) {
  refuse_responder(core, now, sa, reason, text, {.number = 4});
  return false;
}

}  // namespace

bool proves_user(const Core& core, const IkeSa& sa) {
  return !sa.pass && config::proves_local(core.connection(sa), sa.rounds.now) && config::is_eap(core.proofs(sa).local_auth.auth);
}

std::optional<std::string> shown_before(const Core& core, IkeSa& sa, const Bytes& key) {
  auto& keys = sa.rounds.keys;
  if (config::rounds_of(core.connection(sa)) == 1 || key.empty()) return std::nullopt;
  if (std::ranges::find(keys, key) != keys.end())
    return "the key is that of an earlier round, and each of them is to prove something else (RFC 4739)";
  keys.push_back(key);  // one of each round
  return std::nullopt;
}

bool last_round(const Core& core, const IkeSa& sa) {
  return sa.pass || sa.resumed || sa.rounds.now + 1 >= config::rounds_of(core.connection(sa));
}

std::optional<std::string> too_few_rounds(const Core& core, const IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  if (c.rounds.empty() || sa.rounds.said) return std::nullopt;
  return "The peer takes no further proofs (its IKE_SA_INIT has no MULTIPLE_AUTH_SUPPORTED, RFC 4739), and the connection has " +
         std::to_string(config::rounds_of(c)) + " rounds of them.";
}

void add_follows(const Core& core, const IkeSa& sa, Builder& out) {
  if (!sa.pass && !sa.resumed && config::proves_local(core.connection(sa), sa.rounds.now + 1)) out.notify(NotifyType::AnotherAuthFollows);
}

bool fits_round(Core& core, TimePoint now, IkeSa& sa, const Message& m) {
  const bool theirs = sa.pass || config::proves_remote(core.connection(sa), sa.rounds.now);
  const bool user = proves_user(core, sa), last = last_round(core, sa);
  if (const Notify* error = m.find<Auth>() ? nullptr : m.error(); error && !(last && !theirs && !user && spares_the_sa(error->type))) {
    refused_by_responder(core, now, sa, *error);
    return false;
  }
  if (user) return opens_eap(core, now, sa, m);
  const MessageKind kind = !last          ? MessageKind::RoundReply
                           : sa.childless ? MessageKind::ChildlessReply
                           : theirs       ? MessageKind::AuthReply
                                          : MessageKind::LastReply;
  if (const auto fault = check(kind, m)) return refuse_round(core, now, sa, Reason::BadPayloads, "The answer to IKE_AUTH: " + *fault);
  if (theirs && !m.find<IdR>()) return refuse_round(core, now, sa, Reason::BadPayloads, "The answer to IKE_AUTH has no identity.");
  if (theirs && !m.find<Auth>())
    return refuse_round(core, now, sa, Reason::AuthRounds, "The peer goes on without the proof that is its turn.");
  if (!theirs && m.find<Auth>())
    return refuse_round(core, now, sa, Reason::AuthRounds, "The peer proves itself once more, which nobody has asked it for.");
  return true;
}

bool note_responder(Core& core, TimePoint now, IkeSa& sa, const Message& reply) {
  const config::Connection& c = core.connection(sa);
  const bool follows = reply.notify(NotifyType::AnotherAuthFollows) != nullptr;
  if (follows != config::proves_remote(c, sa.rounds.now + 1))
    return refuse_round(
        core, now, sa, Reason::AuthRounds,
        follows ? "The peer is to prove itself once more (ANOTHER_AUTH_FOLLOWS), and the connection has no further remote section."
                : "The peer stops after its proof no. " + std::to_string(sa.rounds.now + 1) + " (no ANOTHER_AUTH_FOLLOWS), and " +
                      config::proofs(c, sa.rounds.now + 1).remote_auth.place.section + " asks for another one.");
  if (!sa.rounds.id) sa.rounds.id = *reply.find<IdR>();
  sa.rounds.latest_id = reply.raw(PayloadType::IdR)->body;
  return true;
}

void end_round(Core& core, TimePoint now, IkeSa& sa, MakeChild make, const Message& reply) {
  const IdR id = *sa.rounds.id;
  if (last_round(core, sa)) return accept_responder(core, now, sa, std::move(make), id, reply);
  core.say(sa, Severity::Debug, Exchange::IkeAuth, Reason::Ok, "Round " + std::to_string(sa.rounds.now + 1) + " of IKE_AUTH is done.");
  ++sa.rounds.now;
  sa.state = Signing{.job = 0, .reply = {}, .scheme = {}, .proof = {}, .make = std::move(make)};
  prove(core, now, sa, {});
}

void send_further_proof(Core& core, TimePoint now, IkeSa& sa, const std::optional<Auth>& proof) {
  MakeChild make = std::move(*std::get<Signing>(sa.state).make);
  Builder b;
  if (config::proves_local(core.connection(sa), sa.rounds.now)) {
    const config::Connection& c = core.proofs(sa);
    b.add(own_id<IdI>(c.local_id, sa.local.address));
    if (c.local_auth.auth == config::Proof::Pubkey) add_certificates(core, sa, b);
    if (proof) {
      b.add(*proof);
      add_follows(core, sa, b);
    }
  }
  if (last_round(core, sa) && !proves_user(core, sa)) add_token(core, sa, b);
  sa.state = AuthSent{send_request(core, now, sa, ike::kExchangeAuth, b), std::move(make)};
}

}  // namespace culvert::ikev2

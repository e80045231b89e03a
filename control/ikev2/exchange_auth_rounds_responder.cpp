// The responder's rounds.
#include "control/ikev2/exchange_auth_responder.hpp"
#include "control/ikev2/exchange_auth_rounds.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

bool all_proved(const Core& core, const IkeSa& sa) { return sa.resumed || sa.rounds.now + 1 >= config::rounds_of(core.connection(sa)); }

std::string remote_section(const config::Connection& c, std::size_t round) { return config::proofs(c, round).remote_auth.place.section; }

/// The connections that a user may be of who has proved the same as for this one so far: his name tells.
std::vector<std::size_t> alike(const Core& core, const IkeSa& sa) {
  std::vector<std::size_t> out;
  for (const std::size_t index : connections_for(core, sa)) {
    const config::Connection& c = core.config.connections[index];
    if (config::same_until(c, core.connection(sa), sa.rounds.now) && config::is_eap(config::proofs(c, sa.rounds.now).remote_auth.auth) &&
        config::proofs(c, sa.rounds.now).remote_id == core.proofs(sa).remote_id)
      out.push_back(index);
  }
  return out;
}

}  // namespace

void begin_rounds(IkeSa& sa, Bytes init_request, const Message& request) {
  sa.rounds.said = request.notify(NotifyType::MultipleAuthSupported) != nullptr;
  sa.rounds.init_request = std::move(init_request);
}

std::optional<AuthVerdict> other_rounds(const Core& core, const IkeSa& sa, std::size_t index, const Message& request) {
  const config::Connection& c = core.config.connections[index];
  AuthVerdict out{.reason = Reason::AuthRounds, .text = {}, .connection = index};
  const std::size_t now = sa.rounds.now;
  const bool follows = request.notify(NotifyType::AnotherAuthFollows) != nullptr;
  if (now == 0 && c.local_rounds > 1 && !sa.rounds.said && !request.notify(NotifyType::MultipleAuthSupported)) {
    out.text = "The peer takes no further proofs of ours (its IKE_AUTH has no MULTIPLE_AUTH_SUPPORTED, RFC 4739), and the connection has " +
               std::to_string(c.local_rounds) + " of them.";
    return out;
  }
  if (!request.find<Auth>() || follows == config::proves_remote(c, now + 1)) return std::nullopt;
  out.text = follows ? "The peer wants to prove itself once more (ANOTHER_AUTH_FOLLOWS), and the connection has no section behind " +
                           remote_section(c, now) + "."
                     : "The peer stops after its proof no. " + std::to_string(now + 1) + " (no ANOTHER_AUTH_FOLLOWS), and " +
                           remote_section(c, now + 1) + " asks for another one.";
  return out;
}

void note_initiator(IkeSa& sa, Proven who, config::Proof how) {
  const unsigned weight = config::is_eap(how) ? 2 : how == config::Proof::Pubkey ? 1 : 0;
  if (sa.rounds.who && weight <= sa.rounds.weight) return;
  sa.rounds.who = std::move(who);
  sa.rounds.weight = weight;
}

void end_proof(Core& core, TimePoint now, IkeSa& sa, const AuthRequest& request, Builder b, const std::optional<Auth>& proof) {
  if (all_proved(core, sa)) return finish_auth(core, now, sa, request, Proven(*sa.rounds.who), std::move(b), proof);
  const config::Connection& c = core.connection(sa);
  if (proof) {
    b.add(*proof);
    if (config::proves_local(c, sa.rounds.now) && config::proves_local(c, sa.rounds.now + 1)) b.notify(NotifyType::AnotherAuthFollows);
  }
  answer(core, now, sa, ike::kExchangeAuth, request.id, b);
  if (config::proves_remote(c, sa.rounds.now))
    core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok,
             "Round " + std::to_string(sa.rounds.now + 1) + " of " + std::to_string(config::rounds_of(c)) + ": the peer has proved to be " +
                 sa.rounds.who->identity + " (" + remote_section(c, sa.rounds.now) + ").");
  if (!sa.rounds.first) sa.rounds.first = std::make_shared<const Message>(request.message);
  ++sa.rounds.now;
  sa.state = AwaitProof{request.init_reply};
  core.touch(sa);
}

void on_further_proof(Core& core, const Incoming& in, IkeSa& sa, AwaitProof& state) {
  auto m = open(core, in, sa);
  if (!m) return;
  heard(core, in, sa);
  const TimePoint now = in.now;
  AuthRequest request{in.header().message_id.value, std::move(*m), std::move(state.init_reply)};
  const Message& message = request.message;
  const config::Connection& c = core.connection(sa);
  const auto refused = [&](Reason reason, std::string text) {
    refuse_initiator(core, now, sa, request.id, {reason, std::move(text), {.number = 3}, sa.connection});
  };
  if (message.unknown_critical()) return refused(Reason::BadPayloads, "IKE_AUTH has a critical payload that is not known.");
  if (const auto fault = check(MessageKind::RoundRequest, message)) return refused(Reason::BadPayloads, "IKE_AUTH: " + *fault);
  const bool proves = message.find<IdI>() || message.find<Auth>();
  if (!config::proves_remote(c, sa.rounds.now)) {
    if (proves) return refused(Reason::AuthRounds, "The peer proves itself once more, and the connection has no further remote section.");
    return accept_initiator(core, now, sa, std::move(request));
  }
  if (!message.find<IdI>()) return refused(Reason::AuthRounds, "The peer goes on without the proof that is its turn.");
  if (message.find<Auth>()) return take_further_proof(core, now, sa, std::move(request));
  const config::Connection& r = core.proofs(sa);
  if (!config::is_eap(r.remote_auth.auth))
    return refused(Reason::AuthFailed, std::string("The peer wants to prove itself as a user (EAP), and the connection asks for a ") +
                                           (r.remote_auth.auth == config::Proof::Pubkey ? "certificate." : "pre-shared key."));
  if (auto other = other_names(core, sa, sa.connection, *message.find<IdI>(), message.find<IdR>()))
    return refuse_initiator(core, now, sa, request.id, std::move(*other));
  open_eap(core, now, sa, {std::move(request), alike(core, sa)});
}

void on_farewell_between(Core& core, const Incoming& in, IkeSa& sa) {
  const auto m = open(core, in, sa);
  if (!m || !m->error()) return;
  heard(core, in, sa);
  answer(core, in.now, sa, ike::kExchangeInformationalV2, in.header().message_id.value, Builder());
  const std::string said = name(m->error()->type);
  core.ended(in.now, sa, Exchange::IkeAuth, Role::Responder, Reason::AuthFailed,
             "The peer ends it (" + said + "): it does not take our last proof, or our identity " + sa.local_id +
                 ", or proves itself another number of times.",
             {}, {.number = 4, .said = said, .said_proven = true, .more_proofs = true, .by = ike::RefusedBy::Peer});
  sa.state = Refused{};
}

}  // namespace culvert::ikev2

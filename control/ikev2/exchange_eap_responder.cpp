// IKE_AUTH with EAP, responder.
#include <algorithm>

#include "control/ikev2/certificates.hpp"
#include "control/ikev2/exchange_auth_responder.hpp"
#include "control/ikev2/exchange_auth_rounds.hpp"
#include "control/ikev2/exchange_eap.hpp"
#include "control/ikev2/exchange_eap_tls.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/ppk.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::size_t kMaxUserShown = 64;

eap::Method eap_method(const config::Connection& c) { return method_of(c.remote_auth.auth); }

std::string shown_user(const Bytes& user) { return user.empty() ? "(no name)" : printable(user, kMaxUserShown); }
std::string_view user_text(const Bytes& user) { return {reinterpret_cast<const char*>(user.data()), user.size()}; }

/// The connections that a peer which asks for EAP can mean, by addresses and names; refused, if there is none.
std::vector<std::size_t> with_eap(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, const Message& m) {
  std::vector<std::size_t> out;
  std::optional<AuthVerdict> nearest;
  for (const std::size_t index : connections_for(core, sa)) {
    const config::Connection& c = core.config.connections[index];
    if (!config::is_eap(c.remote_auth.auth)) {
      if (!nearest)
        nearest = AuthVerdict{.reason = Reason::AuthFailed,
                              .text = std::string("The peer wants to prove itself as a user (EAP), and the connection asks for a ") +
                                      (c.remote_auth.auth == config::Proof::Pubkey ? "certificate." : "pre-shared key."),
                              .connection = index};
    } else if (auto other = other_names(core, sa, index, *m.find<IdI>(), m.find<IdR>())) {
      nearest = std::move(other);
    } else if (auto rounds = other_rounds(core, sa, index, m)) {
      nearest = std::move(rounds);
    } else if (out.empty() || c.local_id == core.config.connections[out.front()].local_id) {
      out.push_back(index);  // the others would have another signature
    }
  }
  if (out.empty())
    refuse_initiator(core, now, sa, id,
                     nearest.value_or(AuthVerdict{.text = "No connection takes this peer.", .connection = sa.connection}));
  return out;
}

/// Refused: what the peer is told says no more than that.
void end_refused(Core& core, TimePoint now, IkeSa& sa, const AskingUser& state) {
  Builder b;
  b.add(Eap{state.eap.failure()}).notify(NotifyType::AuthenticationFailed);
  answer(core, now, sa, ike::kExchangeAuth, state.opening.request.id, b);
  sa.state = Refused{};
}

void report(Core& core, TimePoint now, IkeSa& sa, const AskingUser& state, Reason reason, std::string text, std::string problem = {},
            bool unheard = false) {
  Cause cause{.number = 5, .unheard = unheard};
  if (!problem.empty()) cause.evidence = ike::UserEvidence{shown_user(state.eap.user()), std::move(problem)};
  core.ended(now, sa, Exchange::IkeAuth, Role::Responder, reason, std::move(text), {}, std::move(cause));
}

void refuse_now(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, Reason reason, std::string text, std::string problem = {}) {
  report(core, now, sa, state, reason, std::move(text), std::move(problem));
  end_refused(core, now, sa, state);
}

/// Refused for who he is, or says he is: told when the time has come, the same for all who might be guessing.
void hold(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, Reason reason, std::string text, std::string problem) {
  const TimePoint when = now + core.shared.attempts.delay(now, state.eap.user(), sa.remote);
  state.verdict = AskingUser::Verdict{when, reason, std::move(text), std::move(problem)};
  sa.half_open_until = std::max(sa.half_open_until, when + kEapLastWord);
  core.touch(sa);
}

/// What EAP has to say of it, and the end behind his answer.
void take_leave(Core& core, TimePoint now, IkeSa& sa, AskingUser& state) {
  const auto last = state.eap.farewell();
  if (!last) return end_refused(core, now, sa, state);
  state.refused = true;
  answer(core, now, sa, ike::kExchangeAuth, state.opening.request.id, Builder().add(Eap{*last}));
}

void tell_refusal(Core& core, TimePoint now, IkeSa& sa, AskingUser& state) {
  const AskingUser::Verdict verdict = std::move(*std::exchange(state.verdict, std::nullopt));
  report(core, now, sa, state, verdict.reason, verdict.text, verdict.problem);
  take_leave(core, now, sa, state);
}

/// What comes of a step of EAP.
struct Outcome {
  Core& core;
  TimePoint now;
  IkeSa& sa;
  AskingUser& state;

  void say(const Bytes& packet) const { answer(core, now, sa, ike::kExchangeAuth, state.opening.request.id, Builder().add(Eap{packet})); }
  void operator()(const eap::Reply& r) const { say(r.packet); }
  void operator()(const eap::Identified& who) const {
    const auto& all = state.opening.connections;
    const auto it = std::ranges::find_if(all, [&](std::size_t i) {
      return config::is_user(config::proofs(core.config.connections[i], sa.rounds.now).remote_auth.eap_id, user_text(who.identity));
    });
    if (it == all.end()) return nobodys(who.identity);
    core.reassign(sa, *it);
    const config::Connection& c = core.proofs(sa);
    if (c.remote_auth.auth == config::Proof::EapRadius) return (*this)(state.eap.hand_over());
    say(state.eap.choose(eap_method(c), c.local_id.text));
  }
  void operator()(const eap::AskUser& who) const {
    const config::Connection& c = core.proofs(sa);
    if (!config::is_user(c.remote_auth.eap_id, user_text(who.user))) return nobodys(who.user);
    if (core.shared.attempts.blocked(now, sa.remote))
      return hold(
          core, now, sa, state, Reason::Limit,
          "User \"" + shown_user(who.user) + "\" is refused unchecked: too many of " + sa.remote.address.to_string() + " have failed.", {});
    state.job = core.add_job({sa.id});
    core.shared.actions.emplace_back(ike::FindUser{state.job, c.name, who.user, eap_method(c) == eap::Method::Md5});
  }
  void operator()(const eap::Forward& f) const { ask_radius(core, now, sa, state, f.packet); }
  void operator()(const eap::StepTls& step) const {
    state.job = ask_tls(core, sa, state.tls, step.input, eap::certificate_name(user_text(state.eap.user())));
  }
  void operator()(const eap::Proved& p) const {
    core.shared.attempts.succeeded(state.eap.user());
    state.proved = true;
    say(p.packet);
  }
  void operator()(const eap::Refusal& r) const {
    const std::string who = "User \"" + shown_user(state.eap.user()) + "\" at " + sa.remote.to_string();
    switch (r.problem) {
      case eap::Problem::UnknownUser:
      case eap::Problem::WrongPassword: {
        const bool unknown = r.problem == eap::Problem::UnknownUser;
        hold(core, now, sa, state, unknown ? Reason::EapUnknownUser : Reason::EapWrongPassword, who + " is refused: " + r.text + ".",
             r.text);
        return core.shared.attempts.failed(now, state.eap.user(), sa.remote);
      }
      case eap::Problem::Tls:
        core.ended(now, sa, Exchange::IkeAuth, Role::Responder, state.trouble->reason,
                   who + (state.trouble->alert.empty() ? " is refused: " : " refuses us: ") + r.text + ".", {},
                   cause_of(*state.trouble, shown_user(state.eap.user())));
        return take_leave(core, now, sa, state);
      case eap::Problem::Method:
        return refuse_now(core, now, sa, state, Reason::EapMethod, who + " is refused: " + r.text + ".", r.text);
      default:
        return refuse_now(core, now, sa, state, Reason::BadPayloads, "EAP with " + sa.remote.to_string() + ": " + r.text + ".");
    }
  }
  void nobodys(const Bytes& user) const {
    hold(core, now, sa, state, Reason::EapUnknownUser,
         "User \"" + shown_user(user) + "\" at " + sa.remote.to_string() + " is of no connection (remote.eap_id).",
         "no connection is for this name");
    core.shared.attempts.failed(now, user, sa.remote);
  }
};

/// Why the initiator does not prove that it is the one who has proved the user; nullopt: it does. The PPK that it uses is in sa.ppk.
std::optional<AuthVerdict> proof_is_wrong(Core& core, IkeSa& sa, const AskingUser& state, const Message& m) {
  auto claim = ppk_proof(core, sa, core.connection(sa), m);
  if (!claim) return AuthVerdict{claim.error().reason, std::move(claim.error().text), std::move(claim.error().cause), sa.connection};
  sa.ppk = std::move(claim->keys);
  const auto proof = [&](const SecretBytes& sk_pi) {
    const SecretBytes octets = octets_of_initiator(sa, sa.rounds.init_request, state.opening.request.message, sk_pi);
    return proof_behind_eap(sa, state.eap.msk(), sk_pi, octets);
  };
  if (same_proof(claim->auth, proof(proving_key(sa)))) return std::nullopt;
  AuthVerdict out{Reason::AuthFailed, {}, {.number = 5, .ppk = ppk_doubt(core, sa)}, sa.connection};
  const Notify* without = sa.ppk ? m.notify(NotifyType::NoPpkAuth) : nullptr;
  out.text = without && same_proof({claim->auth.method, without->data}, proof(sa.keys.pi))
                 ? "All else of the peer's proof behind EAP fits, but the" + out.cause.ppk.substr(3)
                 : "The proof behind EAP is wrong: the key of EAP is another one there" + or_ppk(core, sa) + ".";
  return out;
}

/// The initiator's last word: its proof that it was the one who has proved the user.
void on_last_request(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, const Message& m) {
  if (auto other = other_rounds(core, sa, sa.connection, m))
    return refuse_initiator(core, now, sa, state.opening.request.id, std::move(*other));
  if (auto wrong = proof_is_wrong(core, sa, state, m)) return refuse_initiator(core, now, sa, state.opening.request.id, std::move(*wrong));
  take_ppk(core, sa);
  const Auth own = proof_behind_eap(sa, state.eap.msk(), sa.keys.pr, octets_of_reply(core, sa, state.opening.request.init_reply));
  const Bytes user = state.eap.user();
  const auto key = peer_key(core.connection(sa), IdI{IdType::KeyId, user}, sa.remote);
  const AuthRequest request = std::move(state.opening.request);
  sa.framed = state.radius.framed;
  if (const auto session = state.radius.session_timeout; session && session->count() > 0) sa.session_end = now + *session;
  sa.user = shown_user(user);
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok,
           "User \"" + sa.user + "\" at " + sa.remote.to_string() + " is authenticated.");
  note_initiator(sa, {printable(user, eap::kMaxName), key}, core.proofs(sa).remote_auth.auth);
  end_proof(core, now, sa, request, {}, own);
}

/// The gateway's proof, if it has one left, and the question who he is.
void ask_user(Core& core, TimePoint now, IkeSa& sa, EapOpening opening, const std::optional<Auth>& proof) {
  const std::uint32_t id = opening.request.id;
  Builder b;
  if (proof) {
    add_introduction(core, sa, b);
    b.add(*proof);
  }
  AskingUser asking{std::move(opening), eap::Server({core.shared.random(16), core.shared.random(16), core.shared.random(1)[0]})};
  b.add(Eap{asking.eap.begin()});
  answer(core, now, sa, ike::kExchangeAuth, id, b);
  sa.state = std::move(asking);
}

}  // namespace

std::string shown_user(const AskingUser& state) { return shown_user(state.eap.user()); }
void go_on_with_eap(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, const eap::Server::Verdict& verdict) {
  std::visit(Outcome{core, now, sa, state}, verdict);
}
void refuse_user_now(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, UserRefusal why) {
  report(core, now, sa, state, why.reason, std::move(why.text), std::move(why.problem), why.unheard);
  end_refused(core, now, sa, state);
}
void refuse_user_late(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, UserRefusal why) {
  hold(core, now, sa, state, why.reason, std::move(why.text), std::move(why.problem));
}

void on_eap_wish(Core& core, const Incoming& in, IkeSa& sa, AwaitAuth state, Message request) {
  const TimePoint now = in.now;
  const std::uint32_t id = in.header().message_id.value;
  auto connections = with_eap(core, now, sa, id, request);
  if (connections.empty()) return;
  core.reassign(sa, connections.front());
  if (refuse_nat(core, in, sa, request)) return;
  begin_rounds(sa, std::move(state.request), request);
  open_eap(core, now, sa, {{id, std::move(request), std::move(state.reply)}, std::move(connections)});
}

void open_eap(Core& core, TimePoint now, IkeSa& sa, EapOpening opening) {
  const std::uint32_t id = opening.request.id;
  sa.half_open_until = now + core.config.ike.half_open_timeout;
  core.touch(sa);
  if (!config::proves_local(core.connection(sa), sa.rounds.now)) return ask_user(core, now, sa, std::move(opening), std::nullopt);
  const SecretBytes octets = octets_of_reply(core, sa, opening.request.init_reply);
  if (core.proofs(sa).local_auth.auth == config::Proof::Psk) {
    const auto proof = secret_proof(core, sa, octets);
    if (!proof) return refuse_initiator(core, now, sa, id, proof.error());
    return ask_user(core, now, sa, std::move(opening), *proof);
  }
  const auto scheme = signing_scheme(core, sa);
  if (!scheme) return refuse_initiator(core, now, sa, id, {Reason::NoSecret, scheme.error(), {.number = 4}, sa.connection});
  const JobId job = ask_signature(core, sa, *scheme, octets);
  sa.state = SigningForEap{job, std::move(opening), *scheme};
}

void on_eap_opened(Core& core, TimePoint now, IkeSa& sa, SigningForEap& state, const ike::SignResult& result) {
  EapOpening opening = std::move(state.opening);
  if (!result.ok)
    return refuse_initiator(core, now, sa, opening.request.id,
                            {Reason::NoSecret, "Our private key did not sign: " + result.error + ".", {.number = 4}, sa.connection});
  ask_user(core, now, sa, std::move(opening), signature_auth(state.scheme, result.signature));
}

void on_eap_request(Core& core, const Incoming& in, IkeSa& sa) {
  auto* state = std::get_if<AskingUser>(&sa.state);
  if (!state || state->job != 0 || state->verdict) return;
  const auto m = open(core, in, sa);
  if (!m) return;
  heard(core, in, sa);
  const TimePoint now = in.now;
  state->opening.request.id = in.header().message_id.value;
  if (const auto critical = m->unknown_critical())
    return refuse_now(core, now, sa, *state, Reason::BadPayloads, "IKE_AUTH has a critical payload that is not known.");
  if (const auto fault = check(MessageKind::EapRequest, *m))
    return refuse_now(core, now, sa, *state, Reason::BadPayloads, "IKE_AUTH: " + *fault);
  if (state->refused) return end_refused(core, now, sa, *state);
  const unsigned most = state->radius.server ? kMaxRelayRounds : most_rounds(eap_method(core.proofs(sa)));
  if (++state->rounds > most)
    return refuse_now(core, now, sa, *state, Reason::Limit,
                      "EAP with " + sa.remote.to_string() + " has come to no end in " + std::to_string(most) + " rounds.");
  const Auth* auth = m->find<Auth>();
  if ((auth != nullptr) != state->proved)
    return refuse_now(core, now, sa, *state, Reason::BadPayloads,
                      std::string("IKE_AUTH: ") + (auth ? "AUTH comes before EAP has come to its end." : "EAP goes on behind its end."));
  note_token(core, sa, *m);
  if (auth) return on_last_request(core, now, sa, *state, *m);
  std::visit(Outcome{core, now, sa, *state}, state->eap.on_packet(m->find<Eap>()->data));
}

void on_eap_farewell(Core& core, const Incoming& in, IkeSa& sa) {
  if (std::holds_alternative<AwaitProof>(sa.state)) return on_farewell_between(core, in, sa);
  auto* state = std::get_if<AskingUser>(&sa.state);
  if (!state || state->job != 0 || state->verdict) return;
  const auto m = open(core, in, sa);
  if (!m || !m->error()) return;
  heard(core, in, sa);
  answer(core, in.now, sa, ike::kExchangeInformationalV2, in.header().message_id.value, Builder());
  const std::string said = name(m->error()->type);
  if (!state->refused) {
    Cause cause{.number = 4, .said = said, .said_proven = true, .by = ike::RefusedBy::Peer};
    if (state->rounds == 0) cause.evidence = ike::IdentityEvidence{.expected = {}, .received = sa.local_id, .ours = true, .proven = false};
    core.ended(in.now, sa, Exchange::IkeAuth, Role::Responder, Reason::AuthFailed,
               "The peer ends it (" + said + "): " +
                   (state->rounds == 0 ? "it does not trust our certificate, or does not take our identity " + sa.local_id
                                       : "EAP has not come to an end that it takes") +
                   ".",
               {}, std::move(cause));
  }
  sa.state = Refused{};
}

void on_eap_user(Core& core, TimePoint now, IkeSa& sa, const ike::UserFound& result) {
  auto* state = std::get_if<AskingUser>(&sa.state);
  if (!state || state->job != result.job) return;
  state->job = 0;
  if (!result.error.empty()) {
    core.say(sa, Severity::Error, Exchange::IkeAuth, Reason::NoSecret,
             "User \"" + shown_user(state->eap.user()) + "\" cannot be checked: " + result.error + ".");
    return hold(core, now, sa, *state, Reason::NoSecret,
                "User \"" + shown_user(state->eap.user()) + "\" cannot be checked: " + result.error + ".", result.error);
  }
  const eap::Credential known{result.password, result.nt_hash};
  std::visit(Outcome{core, now, sa, *state}, state->eap.on_user(result.found ? &known : nullptr));
}

void on_tls_of_user(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, ike::TlsStepped result) {
  state.job = 0;
  if (auto why = result.done ? shown_before(core, sa, result.key) : std::nullopt) {
    result.done = false;
    result.failed = true;
    result.reason = Reason::AuthRounds;
    result.message = std::move(*why);
    result.output.clear();
    result.msk = {};
  }
  state.tls = result.failed ? nullptr : result.session;
  eap::TlsNews news = news_of(result);
  if (result.failed) state.trouble = std::move(result);
  std::visit(Outcome{core, now, sa, state}, state.eap.on_tls(std::move(news)));
}

void on_eap_timer(Core& core, TimePoint now, IkeSa& sa, AskingUser& state) {
  if (state.verdict && now >= state.verdict->told_at) return tell_refusal(core, now, sa, state);
  if (now < sa.half_open_until) return;
  if (!state.refused)
    core.shared.refused(now, core.connection(sa).name, sa.remote, Exchange::IkeAuth, Reason::Timeout,
                        state.rounds == 0 ? "The peer does not go on with EAP: it may not trust our certificate."
                                          : "The peer has stopped in the middle of EAP.",
                        {.number = 5, .by = ike::RefusedBy::Nobody});
  core.drop(sa);
}

}  // namespace culvert::ikev2

#include "control/ikev2/exchange_intermediate.hpp"

#include <algorithm>
#include <utility>

#include "control/ikev2/exchange_auth.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/message_rules.hpp"
#include "control/ikev2/sa_init_responder.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::uint8_t kIntermediate = ike::kExchangeIntermediate;

/// The method whose turn it is; None: all are done.
DhGroup due(const IkeSa& sa) {
  const auto all = in_order(sa.suite.more);
  return sa.int_auth.exchanges < all.size() ? all[sa.int_auth.exchanges] : DhGroup::None;
}
/// "additional key exchange 2 of 3 (ecp384)"
std::string which(const IkeSa& sa) {
  const DhInfo* info = find_ke(due(sa));
  return "additional key exchange " + std::to_string(sa.int_auth.exchanges + 1) + " of " + std::to_string(in_order(sa.suite.more).size()) +
         (info ? " (" + std::string(info->name) + ")" : "");
}

/// What a message of either side adds to the proof, under the keys that it is encrypted with.
void prove(IkeSa& sa, bool of_initiator, ByteView header, PayloadType first, ByteView chain) {
  SecretBytes& so_far = of_initiator ? sa.int_auth.of_initiator : sa.int_auth.of_responder;
  const SecretBytes& sk_p = of_initiator ? sa.keys.pi : sa.keys.pr;
  so_far = int_auth(sa.keys.prf, sk_p.view(), so_far, header, static_cast<std::uint8_t>(first), chain);
}

/// The keys of what follows (RFC 9370 §2.2.2).
void mix_in(IkeSa& sa, const SecretBytes& shared) {
  ++sa.int_auth.exchanges;
  std::optional<Cipher> before = std::exchange(sa.open, std::nullopt);
  const Prf prf = sa.keys.prf;
  take_keys(sa, derive_rekeyed({sa.suite, sa.nonce_i, sa.nonce_r, shared.view(), sa.spi_i, sa.spi_r}, prf, sa.keys.d.view()));
  if (sa.role == Role::Responder) sa.opened_by = std::move(before);
}

void fail(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause) {
  connecting_failed(core, now, sa, Exchange::IkeIntermediate, reason, text, std::move(cause));
}

void send_key(Core& core, TimePoint now, IkeSa& sa, Intermediate& state, const ike::DhResult& result) {
  state.key = result.key;
  Builder b;
  b.add(Ke{due(sa), result.public_value});
  state.tx = send_request(core, now, sa, kIntermediate, b);
  prove(sa, true, sa.last_request.front(), b.first(), b.chain());
  core.touch(sa);
}

void refuse(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, Reason reason, const std::string& text, NotifyType type,
            Bytes data = {}) {
  answer_error(core, now, sa, kIntermediate, id, type, std::move(data));
  core.ended(now, sa, Exchange::IkeIntermediate, Role::Responder, reason, text, {}, {.number = 1});
  sa.state = Refused{};
}

void answer_key(Core& core, TimePoint now, IkeSa& sa, AnsweringIntermediate done, const ike::DhResult& result) {
  if (!result.ok)
    return refuse(core, now, sa, done.id, Reason::BadKe, "The peer's value in " + which(sa) + " is invalid.", NotifyType::InvalidSyntax);
  Builder b;
  b.add(Ke{due(sa), result.public_value});
  answer(core, now, sa, kIntermediate, done.id, b);
  prove(sa, false, sa.last_answer.front(), b.first(), b.chain());
  mix_in(sa, result.shared);
  sa.state = std::move(done.after);
}

}  // namespace

bool asks_for_more(std::span<const IkeSuite> suites) {
  return std::ranges::any_of(suites, [](const IkeSuite& s) { return !in_order(s.more).empty(); });
}

std::expected<IkeChoice, Mismatch> select_possible(std::span<const IkeSuite> suites, const Sa& offered, DhGroup ke, bool intermediate) {
  if (intermediate || !asks_for_more(suites)) return select_ike(suites, offered, ke);
  std::vector<IkeSuite> plain(suites.begin(), suites.end());
  std::erase_if(plain, [](const IkeSuite& s) { return !in_order(s.more).empty(); });
  auto choice = select_ike(plain, offered, ke);
  if (choice) return choice;
  auto otherwise = select_ike(suites, offered, ke);
  if (!otherwise) return otherwise;
  Mismatch why = std::move(choice.error());
  why.wanted = otherwise->suite.to_string();
  why.difference = "additional key exchanges, and the peer does not say that it has IKE_INTERMEDIATE (RFC 9370 §2.2.1)";
  return std::unexpected(std::move(why));
}

std::optional<std::string> skipped_exchange(const IkeSa& sa) {
  if (due(sa) == DhGroup::None) return std::nullopt;
  return "IKE_AUTH comes before " + which(sa) + ".";
}

void next_key_exchange(Core& core, TimePoint now, IkeSa& sa, const Bytes& init_reply) {
  const DhGroup method = due(sa);
  if (method == DhGroup::None) return send_auth(core, now, sa, init_reply);
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{job, method, nullptr, std::nullopt});
  sa.state = Intermediate{init_reply, job};
  core.touch(sa);
}

bool on_intermediate_key(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result) {
  if (auto* answering = std::get_if<AnsweringIntermediate>(&sa.state); answering && answering->job == result.job) {
    AnsweringIntermediate done = std::move(*answering);
    answer_key(core, now, sa, std::move(done), result);
    return true;
  }
  auto* state = std::get_if<Intermediate>(&sa.state);
  if (!state || state->job != result.job) return false;
  if (!state->key) {
    if (!result.ok)
      fail(core, now, sa, Reason::Internal, "No key could be made for " + which(sa) + ".", {});
    else
      send_key(core, now, sa, *state, result);
    return true;
  }
  if (!result.ok) {
    fail(core, now, sa, Reason::BadKe, "The peer's value in " + which(sa) + " is invalid.", {.number = 2});
    return true;
  }
  const Bytes init_reply = std::move(state->reply);
  mix_in(sa, result.shared);
  next_key_exchange(core, now, sa, init_reply);
  return true;
}

void on_intermediate_response(Core& core, const Incoming& in, IkeSa& sa) {
  auto* state = std::get_if<Intermediate>(&sa.state);
  if (!state || !state->tx || in.header().message_id.value + 1 != sa.next_request) return;
  Opened inside;
  const auto m = open(core, in, sa, &inside);
  if (!m) return;
  heard(core, in, sa);
  if (const Notify* error = m->error())
    return fail(core, in.now, sa, Reason::PeerRefused, "The peer refused " + which(sa) + " with " + name(error->type) + ".",
                {.number = 1, .said = name(error->type), .said_proven = true});
  if (const auto fault = check(MessageKind::KeyExchange, *m))
    return fail(core, in.now, sa, Reason::BadPayloads, "The answer to IKE_INTERMEDIATE: " + *fault, {.number = 2});
  const Ke& ke = *m->find<Ke>();
  if (ke.group != due(sa))
    return fail(core, in.now, sa, Reason::BadKe, "The peer's value in " + which(sa) + " is of another method.", {.number = 2});
  prove(sa, false, in.framed.message, inside.first, inside.chain);
  state->tx.reset();
  state->job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{state->job, ke.group, state->key, ke.data});
}

void on_intermediate_request(Core& core, const Incoming& in, IkeSa& sa) {
  if (arrival(core, in, sa) == Arrived::Old) return;
  auto* state = std::get_if<AwaitAuth>(&sa.state);
  if (!state) return;
  Opened inside;
  const auto m = open(core, in, sa, &inside);
  if (!m) return;
  heard(core, in, sa);
  core.table.heard(sa.id);
  sa.local = in.datagram.local;  // a NAT that was found moves both to port 4500
  sa.remote = in.datagram.remote;
  const std::uint32_t id = in.header().message_id.value;
  const auto fails = [&](Reason reason, const std::string& text, NotifyType type = NotifyType::InvalidSyntax, Bytes data = {}) {
    refuse(core, in.now, sa, id, reason, text, type, std::move(data));
  };
  if (const auto critical = m->unknown_critical())
    return fails(Reason::BadPayloads, "IKE_INTERMEDIATE has a critical payload that is not known.", NotifyType::UnsupportedCriticalPayload,
                 {*critical});
  if (const auto fault = check(MessageKind::KeyExchange, *m)) return fails(Reason::BadPayloads, "IKE_INTERMEDIATE: " + *fault);
  const DhGroup method = due(sa);
  if (method == DhGroup::None) return fails(Reason::Unexpected, "IKE_INTERMEDIATE comes, and no additional key exchange is left.");
  const Ke& ke = *m->find<Ke>();
  if (ke.group != method) return fails(Reason::BadKe, "The peer's value in " + which(sa) + " is of another method.");
  prove(sa, true, in.framed.message, inside.first, inside.chain);
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{job, method, nullptr, ke.data});
  sa.state = AnsweringIntermediate{std::move(*state), job, id};
}

}  // namespace culvert::ikev2

#include "control/ikev1/exchange_transaction.hpp"

#include <algorithm>

#include "control/ikev1/access.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/times.hpp"
#include "control/ikev1/xauth.hpp"

namespace culvert::ikev1 {

namespace {

void junk(Core& core, const Incoming& in, Reason reason, std::string text) {
  core.junk(in.now, in.datagram.remote, Exchange::ModeConfig, reason, std::move(text));
}

/// Forgets the oldest message id that is over; false: all are in use.
bool has_room(Access& access) {
  auto& all = access.transactions;
  if (all.size() < kMaxTransactions) return true;
  auto oldest = all.end();
  for (auto it = all.begin(); it != all.end(); ++it)
    if (!it->second.tx && (oldest == all.end() || it->second.forget_at < oldest->second.forget_at)) oldest = it;
  if (oldest == all.end()) return false;
  all.erase(oldest);
  return true;
}

Bytes sealed(IsakmpSa& sa, const Keys& keys, MessageId id, Transaction& t, ConfigPayload payload) {
  Builder b;
  Content content = std::move(payload);
  b.add_raw(ConfigPayload::kType, encode_body(content));
  for (Attribute& a : std::get<ConfigPayload>(content).attributes) wipe(a.value);
  Bytes chain = b.chain();
  b.prepend_hash(informational_hash(keys.secrets, id, chain));
  wipe(chain);
  Bytes out = sealed_message(sa, keys.cipher, t.iv, ike::kExchangeTransaction, id, b);
  b.wipe();
  return out;
}

/// A verified answer to a request of ours. False: nobody asked.
bool take_answer(Transaction& t, const ConfigPayload& payload) {
  const ConfigType wanted = t.asked == ConfigType::Request ? ConfigType::Reply : ConfigType::Ack;
  if (!t.tx || payload.type != wanted) return false;
  t.tx.reset();
  return true;
}

/// Overwrites a message when it is done with.
struct Wiped {
  Message& message;
  explicit Wiped(Message& m) : message(m) {}
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  ~Wiped() { message.wipe(); }
};

}  // namespace

void on_transaction(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const auto found = core.table.find(h.spi_i, h.spi_r);
  IsakmpSa* sa = found ? core.find(*found) : nullptr;
  if (!sa) return junk(core, in, Reason::UnknownSa, "A Transaction message names cookies that nobody here has.");
  if (std::holds_alternative<MmClosing>(sa->state)) return repeat_delete(core, in.now, *sa);
  MmEstablished* est = sa->established();
  if (!est || !h.message_id || !h.encrypted())
    return junk(core, in, Reason::Unexpected, "A Transaction message came in clear, without a message id, or before phase 1 was over.");
  auto& all = est->access.transactions;
  auto it = all.find(h.message_id);
  if (it == all.end() && sa->used_ids.contains(h.message_id)) return;  // a late copy of an exchange that is over
  if (it != all.end()) switch (it->second.replies.check(in.framed.message, ike::kMaxRepeatsProven)) {
      case ike::Duplicate::Answer:
        return core.send(in.now, *sa, Bytes(it->second.replies.reply()));
      case ike::Duplicate::Ignore:
        return;
      case ike::Duplicate::New:
        break;
    }
  const Iv iv = it != all.end() ? it->second.iv : est->keys.exchange_iv(h.message_id);
  auto opened = open_sealed(in, MessageKind::Transaction, est->keys.cipher, iv);
  if (!opened) return junk(core, in, opened.error().reason, opened.error().text);
  const Wiped wiped(opened->message);
  const Message& message = opened->message;
  if (!equal_constant_time(informational_hash(est->keys.secrets, h.message_id, message.behind(0)), message.find<Hash>()->data))
    return junk(core, in, Reason::BadHash, "HASH(1) of a Transaction message is wrong.");
  const ConfigPayload& payload = *message.find<ConfigPayload>();
  const bool request = payload.type == ConfigType::Request || payload.type == ConfigType::Set;
  // It may only have overtaken the end of XAuth: nothing is noted of it, so that its repetition is looked at again.
  if (request && !est->access.proved() && !takes_xauth_request(*est, payload))
    return junk(core, in, Reason::Unexpected, "The peer asks for something else before XAuth is done; it gets no answer.");
  heard_from(core, in, *sa);
  if (it == all.end()) {
    if (!has_room(est->access)) return junk(core, in, Reason::Limit, "Too many Transaction exchanges are under way on this ISAKMP SA.");
    sa->used_ids.add(h.message_id);
    it = all.emplace(h.message_id, Transaction{}).first;
  }
  Transaction& t = it->second;
  t.replies.accept(in.framed.message);
  t.iv = opened->next;
  t.forget_at = in.now + kTransactionMemory;
  if (request) return on_config_request(core, in.now, *sa, h.message_id, payload);
  if (!take_answer(t, payload)) return junk(core, in, Reason::Unexpected, "A Transaction message answers what nobody asked.");
  on_config_answer(core, in.now, *sa, payload);
}

void ask(Core& core, TimePoint now, IsakmpSa& sa, ConfigType type, std::uint16_t identifier, const std::vector<Attribute>& attributes) {
  MmEstablished& est = *sa.established();
  static_cast<void>(has_room(est.access));  // ours goes in any case: there is one at a time
  const MessageId id = core.new_message_id(sa);
  sa.used_ids.add(id);
  Transaction& t = est.access.transactions[id];
  t.iv = est.keys.exchange_iv(id);
  t.asked = type;
  t.forget_at = now + kTransactionMemory;
  const Bytes message = sealed(sa, est.keys, id, t, {type, identifier, attributes});
  t.tx.emplace(now, message, core.config.ike, core.services);
  core.send(now, sa, message);
}

void answer(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request, std::vector<Attribute> attributes) {
  MmEstablished& est = *sa.established();
  Transaction& t = est.access.transactions.at(id);
  const ConfigType type = request.type == ConfigType::Request ? ConfigType::Reply : ConfigType::Ack;
  t.replies.set_reply(sealed(sa, est.keys, id, t, {type, request.identifier, std::move(attributes)}));
  core.send(now, sa, Bytes(t.replies.reply()));
}

bool asking(const Access& access) {
  return std::ranges::any_of(access.transactions, [](const auto& t) { return t.second.tx.has_value(); });
}

bool poll_transactions(Core& core, TimePoint now, IsakmpSa& sa) {
  auto& all = sa.established()->access.transactions;
  bool answered = true;
  for (auto& [id, t] : all) {
    if (!t.tx) continue;
    const ike::Due due = t.tx->poll(now, core.config.ike, core.services);
    if (due == ike::Due::SendAgain) core.send(now, sa, Bytes(t.tx->message()));
    if (due != ike::Due::GiveUp) continue;
    t.tx.reset();
    answered = false;
  }
  std::erase_if(all, [now](const auto& t) { return !t.second.tx && now >= t.second.forget_at; });
  return answered;
}

std::optional<TimePoint> transactions_deadline(const Access& access) {
  std::optional<TimePoint> out;
  for (const auto& [id, t] : access.transactions) out = earliest(out, t.tx ? t.tx->deadline() : t.forget_at);
  return out;
}

}  // namespace culvert::ikev1

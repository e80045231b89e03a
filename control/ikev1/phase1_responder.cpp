// Phase 1, responder: whom we let in, what they may make us keep and send, and which connection they mean.
#include <algorithm>

#include "control/ikev1/evidence.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/phase1.hpp"

namespace culvert::ikev1 {

void refuse_statelessly(Core& core, const Incoming& in, NotifyType type) {
  core.send_stateless({in.datagram.local, in.datagram.remote, {}}, clear_notification(in.header().spi_i, IkeSpi{}, MessageId{}, type));
}

Room look_for_room(Core& core, TimePoint now, const Endpoint& peer, Exchange mode) {
  const config::Ike& limits = core.config.ike;
  const auto full = [&](Room which, const char* why) {
    core.junk(now, peer, mode, Reason::Limit, why);
    return which;
  };
  if (core.table.size() >= ike::kMaxIkeSas) return full(Room::NotForAnybody, "There are too many ISAKMP SAs.");
  if (core.table.half_open() >= limits.half_open_limit)
    return full(Room::NotForAnybody, "Too many negotiations of strangers are under way (ike.half_open_limit).");
  if (core.table.half_open(peer) >= limits.half_open_per_source)
    return full(Room::NotForThisSource, "This address has too many negotiations under way (ike.half_open_per_source).");
  return Room::Yes;
}

namespace {
struct NotSelected {
  std::size_t connection = 0;
  Reason reason{};
  std::string text;
  ike::Cause cause;
};

/// Our suites. In Aggressive Mode those go first whose group the peer's public value may be of: it offers no other (RFC 2409 §5), or does
/// so all the same.
std::vector<IkeSuite> in_order(const config::Connection& c, const Ke* ke) {
  std::vector<IkeSuite> out = c.proposals;
  if (ke) std::ranges::stable_partition(out, [&](const IkeSuite& s) { return find_dh(s.group)->public_bytes == ke->data.size(); });
  return out;
}

std::expected<Selection, NotSelected> consider(Core& core, std::size_t index, const Endpoint& peer, const Message& message) {
  const auto auth = wanted_auth(core, index, Role::Responder);
  if (!auth)
    return std::unexpected(NotSelected{index,
                                       Reason::NoSecret,
                                       "Our private key cannot be used: " + auth.error() + ".",
                                       {.number = 1, .evidence = unreadable(auth.error())}});
  auto choice = select_ike(in_order(core.connection(index), message.find<Ke>()), *message.find<Sa>(), *auth);
  if (choice) return Selection{index, *auth, std::move(*choice)};
  return std::unexpected(NotSelected{index,
                                     Reason::NoProposalChosen,
                                     "No proposal of " + peer.to_string() + " is acceptable: " + choice.error().text() + ".",
                                     {.number = 1, .evidence = evidence(choice.error())}});
}

/// Whether the connection answers this exchange: its own, and Aggressive Mode with a pre-shared key only where that price is named.
bool takes(const config::Connection& c, Exchange mode) {
  if (mode == Exchange::MainMode) return !c.aggressive;
  return c.aggressive && (c.local_auth.auth != config::Proof::Psk || c.aggressive_psk_exposes_hash);
}

std::string other_mode_text(const config::Connection& c, Exchange mode) {
  if (mode == Exchange::MainMode) return "The peer begins Main Mode, but aggressive is set for this connection.";
  if (!c.aggressive) return "The peer begins Aggressive Mode, but aggressive is not set for this connection.";
  return "The peer begins Aggressive Mode, which this connection only initiates: it would send a hash of the pre-shared key to whoever "
         "asks (aggressive_psk_exposes_hash_to_offline_guessing).";
}
}  // namespace

std::optional<Selection> select_connection(Core& core, const Incoming& in, Exchange mode, const Message& message) {
  const Id* id = message.find<Id>();  // of Aggressive Mode
  const Endpoint &here = in.datagram.local, &peer = in.datagram.remote;
  const auto options = core.shared.by_peer.candidates(here, peer.address, 1);
  std::optional<NotSelected> first;    // the best candidate, as far as the addresses say
  std::optional<Selection> otherwise;  // it would do, but for the identity
  for (const std::size_t index : options) {
    const config::Connection& c = core.connection(index);
    if (!takes(c, mode)) continue;
    auto considered = consider(core, index, peer, message);
    if (considered && (!id || matches(c.remote_id, *id))) return std::move(*considered);
    if (considered && !otherwise) otherwise = std::move(*considered);
    if (!considered && !first) first = std::move(considered.error());
  }
  if (otherwise) {
    otherwise->stranger = true;
    return otherwise;
  }
  const bool other_mode = !options.empty() && !first;
  refuse_statelessly(core, in, other_mode ? NotifyType::InvalidExchangeType : NotifyType::NoProposalChosen);
  if (core.refused_before(ike::fingerprint(in.framed.message))) return std::nullopt;
  if (first)
    core.refused(in.now, first->connection, peer, mode, first->reason, std::move(first->text), std::move(first->cause));
  else if (other_mode)
    core.refused(in.now, options.front(), peer, mode, Reason::OtherMode, other_mode_text(core.connection(options.front()), mode),
                 {.number = 1});
  else
    core.junk(in.now, peer, mode, Reason::NoConnection,
              "No connection is configured between " + here.address.to_string() + " and " + peer.address.to_string() +
                  (core.config.vrfs.empty() ? "." : " in VRF " + config::vrf_name(core.config, here.vrf) + "."),
              {.number = 1, .evidence = ike::AddressEvidence{here.address.to_string(), peer.address.to_string(), {}}});
  return std::nullopt;
}

std::unique_ptr<IsakmpSa> new_responder(Core& core, const Incoming& in, std::size_t connection, Exchange mode, IkeSpi cookie) {
  auto sa = std::make_unique<IsakmpSa>(IsakmpSa{.id = core.new_sa_id(),
                                                .connection = connection,
                                                .role = Role::Responder,
                                                .spi_i = in.header().spi_i,
                                                .spi_r = cookie,
                                                .local = in.datagram.local,
                                                .remote = in.datagram.remote,
                                                .created = in.now,
                                                .half_open_until = in.now + core.config.ike.half_open_timeout,
                                                .state = MmMakingKey{},
                                                .last_sent = in.now,
                                                .mode = mode});
  sa->nat.forced = core.connection(connection).encap;
  sa->allowance.received(in.datagram.data.size());
  return sa;
}

bool answer_stranger(Core& core, TimePoint now, IsakmpSa& sa) {
  const Bytes reply = sa.replies.reply();
  if (reply.empty() || !sa.allowance.spend(core.size_on_wire(sa, reply))) return false;
  core.send(now, sa, reply);
  return true;
}

bool first_message_again(Core& core, const Incoming& in) {
  const auto known = core.table.find_half_open(in.header().spi_i, in.datagram.remote);
  if (!known) return false;
  IsakmpSa* sa = core.find(*known);
  if (!sa || sa->established()) return true;
  const auto what = sa->replies.check(in.framed.message, ike::kMaxRepeatsUnproven);
  if (what != ike::Duplicate::New) sa->allowance.received(in.datagram.data.size());
  if (what == ike::Duplicate::Answer && !answer_stranger(core, in.now, *sa)) sa->replies.not_repeated();
  return true;
}

IsakmpSa* sa_of_message(Core& core, const Incoming& in, Exchange mode) {
  const ike::Header& h = in.header();
  const auto junk = [&](Reason reason, const char* text) {
    core.junk(in.now, in.datagram.remote, mode, reason, text);
    return nullptr;
  };
  auto id = core.table.find(h.spi_i, h.spi_r);
  if (!id) id = core.table.find_initiating(h.spi_i);
  IsakmpSa* sa = id ? core.find(*id) : nullptr;
  if (!sa) return junk(Reason::UnknownSa, "A message of phase 1 names cookies that nobody here has.");
  if (sa->mode != mode) return junk(Reason::Unexpected, "A message of phase 1 is of another exchange type than the one before.");
  const bool proven = sa->established() != nullptr;
  const auto what = sa->replies.check(in.framed.message, proven ? ike::kMaxRepeatsProven : ike::kMaxRepeatsUnproven);
  const bool stranger = sa->role == Role::Responder && !proven;
  if (stranger) sa->allowance.received(in.datagram.data.size());
  if (stranger) core.table.heard(sa->id);
  if (what == ike::Duplicate::New) return sa;
  if (what == ike::Duplicate::Answer && stranger && !answer_stranger(core, in.now, *sa)) sa->replies.not_repeated();
  if (what == ike::Duplicate::Answer && !stranger) core.send(in.now, *sa, Bytes(sa->replies.reply()));
  return nullptr;
}

std::vector<std::size_t> other_candidates(Core& core, const IsakmpSa& sa, const Negotiated& negotiated, const Id* peer) {
  const bool aggressive = sa.mode == Exchange::AggressiveMode;
  std::vector<std::size_t> out;
  for (const std::size_t index : core.shared.by_peer.candidates(sa.local, sa.remote.address, 1)) {
    const config::Connection& c = core.connection(index);
    if (index == sa.connection || c.aggressive != aggressive) continue;
    if (peer && !matches(c.remote_id, *peer)) continue;  // first, since it rules out most where many share an address
    if (std::ranges::find(c.proposals, negotiated.suite) == c.proposals.end()) continue;
    const auto auth = wanted_auth(core, index, Role::Responder);
    if (auth && *auth == negotiated.auth) out.push_back(index);
  }
  return out;
}

std::optional<std::size_t> connection_of(Core& core, const IsakmpSa& sa, const Negotiated& negotiated, const Id& peer) {
  if (matches(core.connection(sa).remote_id, peer)) return sa.connection;
  const auto secret = core.services.secret(core.connection(sa).name);
  for (const std::size_t index : other_candidates(core, sa, negotiated, &peer)) {
    if (!negotiated.auth.psk()) return index;
    const auto other = core.services.secret(core.connection(index).name);
    if (secret && other && *secret == *other) return index;
  }
  return std::nullopt;
}

bool bad_last_message(Core& core, const Incoming& in, IsakmpSa& sa, const Negotiated& negotiated, unsigned& count,
                      const std::string& detail) {
  if (++count > 1) return count >= kMaxBadAuth;
  core.ended(
      in.now, sa, sa.mode, Role::Responder, Reason::AuthFailed,
      "The last message of " + in.datagram.remote.to_string() +
          (negotiated.auth.psk() ? " does not prove the pre-shared key, which probably differs: "
                                 : " does not fit the keys of this exchange: ") +
          detail,
      {},
      {.number = sa.mode == Exchange::MainMode ? 5U : 3U, .evidence = ike::SecretEvidence{ike::SecretEvidence::Problem::Differs, detail}});
  core.send_stateless({in.datagram.local, in.datagram.remote, {}},
                      clear_notification(sa.spi_i, sa.spi_r, core.new_message_id(sa), NotifyType::AuthenticationFailed));
  return false;
}

}  // namespace culvert::ikev1

// The engine's door: each event goes to its exchange, then the connections that it touched are driven and the timers set.
// Owns dispatch and what operators see; the protocol is in control/ikev1 and control/ikev2. As long as there are kinds of events.
#include "control/ike/engine.hpp"

#include <algorithm>

#include "control/ike/header.hpp"
#include "control/ike/nat_traversal.hpp"
#include "control/ikev1/access.hpp"
#include "control/ikev1/commands.hpp"
#include "control/ikev1/core.hpp"
#include "control/ikev1/dpd.hpp"
#include "control/ikev1/exchange_aggressive_mode.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/exchange_transaction.hpp"
#include "control/ikev1/lease_holders.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/phase1_newcomers.hpp"
#include "control/ikev1/times.hpp"
#include "control/ikev1/traced.hpp"
#include "control/ikev1/view.hpp"
#include "control/ikev1/xauth.hpp"
#include "control/ikev2/commands.hpp"
#include "control/ikev2/counter_sync.hpp"
#include "control/ikev2/dispatch.hpp"
#include "control/ikev2/reauth.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/sa_init_responder.hpp"
#include "control/ikev2/strangers.hpp"
#include "control/ikev2/traced.hpp"
#include "control/ikev2/view.hpp"

namespace culvert::ike {

class Engine::Impl {
 public:
  Impl(const config::GatewayConfig& config, Services& services) : shared(config, services), core(shared), v2(shared) {}

  /// Ends every event.
  void settle(TimePoint now) {
    for (const Datagram& datagram : std::exchange(core.deferred, {})) dispatch(now, datagram);
    ikev1::welcome_waiting(core, now);
    core.settle({[&](std::size_t run) {
                   ikev1::release_leases(core, run);
                   ikev1::drive(core, now, run);
                 },
                 [&](const ikev1::IsakmpSa& sa) {
                   return ikev1::earliest(ikev1::earliest(ikev1::phase1_deadline(sa), ikev1::quick_modes_deadline(sa)),
                                          ikev1::earliest(ikev1::earliest(ikev1::access_deadline(sa), sa.fragments.deadline()),
                                                          ikev1::established_deadline(core, sa)));
                 },
                 [&](std::size_t run) { return ikev1::connection_deadline(core, run); }});
    ikev2::settle(v2, now);
  }
  /// The connection's index, if it is one of IKEv2.
  [[nodiscard]] std::optional<std::size_t> of_v2(const std::string& connection) const {
    const auto& all = shared.config.connections;
    const auto c = std::ranges::find(all, connection, &config::Connection::name);
    return c != all.end() && c->version == 2 ? std::optional(static_cast<std::size_t>(c - all.begin())) : std::nullopt;
  }
  void dispatch(TimePoint now, const Datagram& datagram);
  void fragment(TimePoint now, const Datagram& datagram, const Framed& piece);
  [[nodiscard]] bool takes_fragments(const Datagram& datagram, const ikev1::IsakmpSa* sa) const;
  void exchange(TimePoint now, const Datagram& datagram, const Framed& framed);
  [[nodiscard]] bool of_other_version(const Datagram& datagram, const Header& header) const;
  void refuse_version(TimePoint now, const Datagram& datagram, const Framed& framed);
  [[nodiscard]] bool of_other_vrf(const Datagram& datagram, const Header& header) const;

  Shared shared;
  ikev1::Core core;  ///< of IKEv1
  ikev2::Core v2;
};

void Engine::Impl::dispatch(TimePoint now, const Datagram& datagram) {
  const auto junk = [&](Reason reason, std::string text) {
    core.junk(now, datagram.remote, Exchange::Informational, reason, std::move(text));
  };
  if (is_nat_keepalive(datagram.data)) return;
  ByteView bytes = datagram.data;
  if (datagram.local.port == kNatPort) {
    const auto inner = strip_non_esp_marker(bytes);
    if (!inner) return junk(Reason::Malformed, "A datagram on port 4500 is neither IKE nor ESP nor a keepalive.");
    bytes = *inner;
  }
  const auto framed = parse_header(bytes);
  if (!framed && framed.error().fault == HeaderFault::MajorVersion) ikev2::answer_newer_version(v2, now, datagram, framed.error().header);
  if (!framed) return junk(Reason::Malformed, "A datagram is no IKE message: " + std::string(name(framed.error().fault)) + ".");
  if (of_other_version(datagram, framed->header)) return refuse_version(now, datagram, *framed);
  if (framed->header.major == 2) return ikev2::on_message(v2, {now, datagram, *framed});
  if (of_other_vrf(datagram, framed->header)) return junk(Reason::UnknownSa, "A message names cookies of an SA of another VRF.");
  if (framed->header.next_payload == ikev1::kFragmentPayload) return fragment(now, datagram, *framed);
  exchange(now, datagram, *framed);
}

/// Nobody here speaks this version with whoever is there, and somebody does the other one.
bool Engine::Impl::of_other_version(const Datagram& datagram, const Header& h) const {
  const SaTable& table = h.major == 2 ? v2.table : core.table;
  if (table.find(h.spi_i, h.spi_r) || table.find_initiating(h.spi_i)) return false;
  const auto speaks = [&](std::uint8_t version) { return shared.by_peer.any(datagram.local, datagram.remote.address, version); };
  return !speaks(h.major) && speaks(h.major == 2 ? 1 : 2);
}

void Engine::Impl::refuse_version(TimePoint now, const Datagram& datagram, const Framed& framed) {
  const bool two = framed.header.major == 2;
  if (!shared.watches.empty()) {
    if (two)
      ikev2::trace_received(v2, {now, datagram, framed});
    else
      (void)ikev1::trace_received(core, {now, datagram, framed});
  }
  shared.not_spoken(now, datagram, Reason::OtherVersion,
                    two ? "A message of IKEv2, and the connection speaks IKEv1 (version: 1)."
                        : "A message of IKEv1, and the connection speaks IKEv2 (version: 2).");
  if (two) ikev2::refuse_newcomer(v2, {now, datagram, framed});
}

/// A VRF is shut: whoever knows the cookies speaks for nobody elsewhere.
bool Engine::Impl::of_other_vrf(const Datagram& datagram, const Header& header) const {
  if (core.config.vrfs.empty()) return false;
  auto id = core.table.find(header.spi_i, header.spi_r);
  if (!id) id = core.table.find_initiating(header.spi_i);
  const auto sa = id ? core.sas().find(*id) : core.sas().end();
  return sa != core.sas().end() && sa->second->local.vrf != datagram.local.vrf;
}

/// A piece of a message: the whole goes its way when it is complete. Nothing says who sent it; what it says is judged as ever.
void Engine::Impl::fragment(TimePoint now, const Datagram& datagram, const Framed& piece) {
  const auto junk = [&](Reason reason, const std::string& text) {
    core.junk(now, datagram.remote, Exchange::Informational, reason, "A fragment is not taken in: " + text + ".");
  };
  const auto parsed = ikev1::parse_fragment(piece.body);
  if (!parsed) return junk(Reason::Malformed, "it does not parse");
  const Header& h = piece.header;
  auto id = core.table.find(h.spi_i, h.spi_r);
  if (!id && h.spi_r) id = core.table.find_initiating(h.spi_i);
  ikev1::IsakmpSa* sa = id ? core.find(*id) : nullptr;
  const bool newcomer = core.newcomers.told(h.spi_i, h.spi_r, datagram.local, datagram.remote) != nullptr;
  if (!sa && h.spi_r && !newcomer) return junk(Reason::UnknownSa, "it names cookies that nobody here has");
  if (!takes_fragments(datagram, sa)) return junk(Reason::Unexpected, "the connection does not want any (fragmentation: no)");
  auto& strangers = newcomer ? core.newcomer_fragments : core.first_fragments;
  auto whole = sa ? sa->fragments.add(now, *parsed) : strangers.add(now, datagram.remote, h.spi_i, *parsed);
  if (!whole) return junk(Reason::Limit, whole.error());
  if (!*whole) return;
  const auto framed = parse_header(**whole);
  if (!framed || framed->header.major != 1 || framed->header.spi_i != h.spi_i || framed->header.spi_r != h.spi_r ||
      framed->header.next_payload == ikev1::kFragmentPayload)
    return junk(Reason::Malformed, "what was put together is no message of its own SA");
  exchange(now, frame(datagram.local, datagram.remote, **whole), *framed);
}

bool Engine::Impl::takes_fragments(const Datagram& datagram, const ikev1::IsakmpSa* sa) const {
  const auto wanted = [&](std::size_t connection) { return core.connection(connection).fragmentation != config::Fragmentation::No; };
  if (sa) return wanted(sa->connection);
  const auto options = shared.by_peer.candidates(datagram.local, datagram.remote.address, 1);
  return std::any_of(options.begin(), options.end(), wanted);
}

void Engine::Impl::exchange(TimePoint now, const Datagram& datagram, const Framed& framed) {
  ikev1::Incoming in{now, datagram, framed};
  std::optional<std::function<void(const std::string&)>> opened;
  if (!core.watches.empty()) opened = ikev1::trace_received(core, in);
  if (opened) in.opened = &*opened;
  if (framed.header.message_id && ikev1::comes_early(core, in)) return;
  switch (framed.header.exchange) {
    case kExchangeMainMode:
      return ikev1::on_main_mode(core, in);
    case kExchangeAggressive:
      return ikev1::on_aggressive_mode(core, in);
    case kExchangeQuickMode:
      return ikev1::on_quick_mode(core, in);
    case kExchangeTransaction:
      return ikev1::on_transaction(core, in);
    case kExchangeInformational:
      return ikev1::on_informational(core, in);
    default:
      return shared.not_spoken(
          now, datagram, Reason::Unexpected,
          "A message of an exchange that this gateway does not do (type " + std::to_string(framed.header.exchange) + ").");
  }
}

Engine::Engine(const config::GatewayConfig& config, Services& services) : impl_(std::make_unique<Impl>(config, services)) {}
Engine::~Engine() = default;

void Engine::start(TimePoint now, std::vector<OrphanSa> orphans) {
  const auto behind = std::ranges::stable_partition(orphans, [&](const OrphanSa& o) { return !impl_->of_v2(o.connection); });
  std::vector<OrphanSa> of_v2(std::make_move_iterator(behind.begin()), std::make_move_iterator(behind.end()));
  orphans.erase(behind.begin(), orphans.end());
  ikev1::begin(impl_->core, now, std::move(orphans));
  ikev2::begin(impl_->v2, now, std::move(of_v2));
  impl_->settle(now);
}

void Engine::on_datagram(TimePoint now, const Datagram& datagram) {
  impl_->dispatch(now, datagram);
  impl_->settle(now);
}

void Engine::on_timer(TimePoint now) {
  const auto expired = impl_->core.take_expired(now);
  for (const ikev1::SaId id : expired.sas) {
    if (ikev1::IsakmpSa* sa = impl_->core.find(id)) sa->fragments.expire(now);
    if (ikev1::IsakmpSa* sa = impl_->core.find(id)) ikev1::on_quick_modes_timer(impl_->core, now, *sa);
    if (ikev1::IsakmpSa* sa = impl_->core.find(id)) ikev1::on_phase1_timer(impl_->core, now, *sa);
    if (ikev1::IsakmpSa* sa = impl_->core.find(id)) ikev1::on_access_timer(impl_->core, now, *sa);
    if (ikev1::IsakmpSa* sa = impl_->core.find(id)) ikev1::on_established_timer(impl_->core, now, *sa);
  }
  for (const std::size_t run : expired.runs)
    if (impl_->core.has_run(run)) ikev1::on_connection_timer(impl_->core, now, run);
  ikev1::forget_newcomers(impl_->core, now);
  ikev2::on_timer(impl_->v2, now);
  impl_->settle(now);
}

void Engine::on_dh(TimePoint now, DhResult result) {
  ikev1::Core& core = impl_->core;
  const auto owner = core.take_job(result.job);
  ikev1::IsakmpSa* sa = owner ? core.find(owner->sa) : nullptr;
  if (owner && owner->reply_key) {
    ikev1::on_reply_key(core, now, *owner->reply_key, result);
  } else if (result.job >= ikev2::kFirstJob) {
    ikev2::on_dh(impl_->v2, now, result);
  } else if (!sa) {
    return;
  } else if (!owner->quick_mode) {
    ikev1::on_main_mode_dh(core, now, *sa, result, result.job);
    ikev1::on_aggressive_mode_dh(core, now, *sa, result, result.job);
  } else if (const auto qm = sa->quick_modes.find(*owner->quick_mode); qm != sa->quick_modes.end()) {
    ikev1::on_quick_mode_dh(core, now, *sa, qm->second, result, result.job);
  }
  impl_->settle(now);
}

void Engine::on_signed(TimePoint now, SignResult result) {
  ikev1::Core& core = impl_->core;
  const auto owner = core.take_job(result.job);
  if (result.job >= ikev2::kFirstJob) ikev2::on_signed(impl_->v2, now, result);
  if (ikev1::IsakmpSa* sa = owner ? core.find(owner->sa) : nullptr) {
    ikev1::on_main_mode_signed(core, now, *sa, result);
    ikev1::on_aggressive_mode_signed(core, now, *sa, result);
  }
  impl_->settle(now);
}

void Engine::on_verified(TimePoint now, VerifyResult result) {
  ikev1::Core& core = impl_->core;
  const auto owner = core.take_job(result.job);
  if (result.job >= ikev2::kFirstJob) ikev2::on_verified(impl_->v2, now, result);
  if (ikev1::IsakmpSa* sa = owner ? core.find(owner->sa) : nullptr) {
    ikev1::on_main_mode_verified(core, now, *sa, result);
    ikev1::on_aggressive_mode_verified(core, now, *sa, result);
  }
  impl_->settle(now);
}

void Engine::on_user_checked(TimePoint now, const UserChecked& result) {
  const auto owner = impl_->core.take_job(result.job);
  if (ikev1::IsakmpSa* sa = owner ? impl_->core.find(owner->sa) : nullptr) ikev1::on_user_checked(impl_->core, now, *sa, result);
  impl_->settle(now);
}

void Engine::on_user_found(TimePoint now, UserFound result) {
  ikev2::on_user_found(impl_->v2, now, std::move(result));
  impl_->settle(now);
}

void Engine::on_name(TimePoint now, const NameFound& result) {
  ikev2::on_name(impl_->v2, now, result);
  impl_->settle(now);
}

void Engine::on_radius(TimePoint now, const RadiusAnswer& answer) {
  ikev2::on_radius(impl_->v2, now, answer);
  impl_->settle(now);
}

void Engine::on_tls(TimePoint now, TlsStepped result) {
  ikev2::on_tls(impl_->v2, now, std::move(result));
  impl_->settle(now);
}

void Engine::on_installed(TimePoint now, JobId job, bool ok, const std::string& error) {
  ikev1::Core& core = impl_->core;
  const auto owner = core.take_job(job);
  if (job >= ikev2::kFirstJob) {
    ikev2::on_installed(impl_->v2, now, job, ok, error);
  } else if (!owner) {
    return;
  } else if (owner->install == Direction::Outbound) {
    ikev1::on_outbound_installed(core, now, *owner, ok, error);
  } else if (ikev1::IsakmpSa* sa = core.find(owner->sa)) {
    if (const auto qm = sa->quick_modes.find(*owner->quick_mode); qm != sa->quick_modes.end())
      ikev1::on_quick_mode_installed(core, now, *sa, qm->second, job, ok, error);
  }
  impl_->settle(now);
}

void Engine::on_acquire(TimePoint now, const std::string& connection, const std::string& child, const std::optional<Flow>& packet) {
  if (const auto v2 = impl_->of_v2(connection))
    ikev2::acquire(impl_->v2, now, *v2, child, packet);
  else
    ikev1::acquire(impl_->core, now, connection, child);
  impl_->settle(now);
}

void Engine::on_expired(TimePoint now, const SaExpired& expired) {
  ikev1::expired(impl_->core, now, expired);
  ikev2::expired(impl_->v2, now, expired);
  impl_->settle(now);
}

void Engine::on_moved(TimePoint now, const PairMoved& moved) {
  ikev1::pair_moved(impl_->core, moved);
  ikev2::pair_moved(impl_->v2, moved);
  impl_->settle(now);
}

void Engine::on_traffic(TimePoint now, Spi inbound, TimePoint last_used) {
  ikev1::traffic(impl_->core, now, inbound, last_used);
  ikev2::traffic(impl_->v2, now, inbound, last_used);
  impl_->settle(now);
}

void Engine::on_dataplane_lost(TimePoint now) {
  ikev1::dataplane_lost(impl_->core, now);
  ikev2::dataplane_lost(impl_->v2, now);
  impl_->settle(now);
}

CommandResult Engine::initiate(TimePoint now, const std::string& connection, const std::string& child) {
  const auto v2 = impl_->of_v2(connection);
  CommandResult out = v2 ? ikev2::initiate(impl_->v2, now, *v2, child) : ikev1::initiate(impl_->core, now, connection, child);
  impl_->settle(now);
  return out;
}

CommandResult Engine::terminate(TimePoint now, const std::string& connection, const std::string& child, const std::string& peer) {
  const auto v2 = impl_->of_v2(connection);
  CommandResult out = v2 ? ikev2::terminate(impl_->v2, now, *v2, child, peer) : ikev1::terminate(impl_->core, now, connection, child, peer);
  impl_->settle(now);
  return out;
}

CommandResult Engine::rekey(TimePoint now, const std::string& connection, const std::string& child, bool ike, const std::string& peer) {
  const auto v2 = impl_->of_v2(connection);
  CommandResult out =
      v2 ? ikev2::rekey(impl_->v2, now, *v2, child, ike, peer) : ikev1::rekey(impl_->core, now, connection, child, ike, peer);
  impl_->settle(now);
  return out;
}

CommandResult Engine::reauthenticate(TimePoint now, const std::string& connection, const std::string& peer) {
  const auto v2 = impl_->of_v2(connection);  // of IKEv1 each ISAKMP SA begins with it
  CommandResult out =
      v2 ? ikev2::reauthenticate_all(impl_->v2, now, *v2, peer) : ikev1::rekey(impl_->core, now, connection, {}, true, peer);
  impl_->settle(now);
  return out;
}

CommandResult Engine::redirect(TimePoint now, const std::string& connection, const std::optional<config::GatewayName>& to,
                               const std::string& peer, bool newcomers) {
  const auto v2 = impl_->of_v2(connection);
  if (!v2) return {false, "\"" + connection + "\" speaks IKEv1, which has no redirects."};
  CommandResult out = ikev2::redirect(impl_->v2, *v2, to, peer, newcomers);
  impl_->settle(now);
  return out;
}

CommandResult Engine::sync_counters(TimePoint now, const std::string& connection, const std::string& peer) {
  const auto v2 = impl_->of_v2(connection);
  if (!v2) return {false, "\"" + connection + "\" speaks IKEv1, whose counters cannot be set right."};
  CommandResult out = ikev2::sync_counters(impl_->v2, now, *v2, peer);
  impl_->settle(now);
  return out;
}

void Engine::shutdown(TimePoint now) {
  ikev2::shutdown(impl_->v2, now);
  ikev1::shutdown(impl_->core, now);
  impl_->settle(now);
}

std::optional<TimePoint> Engine::deadline() const {
  const ikev1::Core& core = impl_->core;
  return ikev1::earliest(ikev1::earliest(core.deadline(), core.newcomers.deadline(core.config.ike.half_open_timeout)),
                         impl_->v2.deadline());
}
std::size_t Engine::newcomers() const { return impl_->core.newcomers.size(); }
std::uint64_t Engine::selectors_left_out() const { return impl_->shared.selectors_left_out; }
std::vector<Action> Engine::take_actions() { return std::exchange(impl_->shared.actions, {}); }
std::vector<IkeSaInfo> Engine::ike_sas() const {
  auto out = ikev1::view_ike_sas(impl_->core);
  ikev2::add_ike_sas(impl_->v2, out);
  return out;
}
std::vector<LonePairs> Engine::lone_pairs() const { return ikev1::view_lone_pairs(impl_->core); }
bool Engine::watch(TimePoint now, Watch watch) { return impl_->core.watch(now, std::move(watch)); }
bool Engine::unwatch(TimePoint now, const Watch& target) { return impl_->core.unwatch(now, target); }
std::vector<Watch> Engine::watches(TimePoint now) const { return impl_->core.watches.active(now); }
bool Engine::watched(TimePoint now, const std::string& connection, const std::optional<Endpoint>& peer) const {
  return impl_->core.watches.matches(now, connection, peer.value_or(Endpoint{}));
}
std::vector<Failure> Engine::failures(const std::string& connection) const { return impl_->core.failures.of(connection); }
std::vector<Failure> Engine::strangers() const { return impl_->core.failures.strangers(); }
std::vector<PoolInfo> Engine::pools() const { return impl_->shared.leases.view(); }
FailureBook::Counts Engine::failure_counts() const { return impl_->core.failures.counts(); }
std::vector<ConnectionStatus> Engine::connections(const std::string& only) const {
  auto out = ikev1::view_connections(impl_->core, only);
  ikev2::add_connections(impl_->v2, out);
  return out;
}

}  // namespace culvert::ike

#include "control/gateway.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <sys/random.h>

namespace culvert::control {

namespace {
void fill_random(MutableByteView out) {
  while (!out.empty()) {
    const ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n > 0) out = out.subspan(static_cast<std::size_t>(n));  // only EINTR can fail here: the pool is ready at boot
  }
}
std::uint32_t random_word() {
  std::array<std::uint8_t, 4> bytes{};
  fill_random(bytes);
  return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
         static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3];
}
}  // namespace

Gateway::Gateway(const config::GatewayConfig& config, Journal& journal, Hooks hooks)
    : config_(config),
      journal_(journal),
      hooks_(std::move(hooks)),
      policies_(config),
      store_(config.dataplane.sa_capacity, random_word),
      traffic_(config),
      engine_(config, *this),
      radius_(config.radius, {.random =
                                  [](std::size_t size) {
                                    Bytes out(size);
                                    fill_random(out);
                                    return out;
                                  },
                              .secret = [this](const config::SecretRef& ref) { return hooks_.read_secret(ref); }}) {}

// ---------------------------------------------------------------------------------------------------------------- services

void Gateway::random(MutableByteView out) { fill_random(out); }

std::expected<bool, std::string> Gateway::drain(ike::TimePoint now) {
  if (!link_) return false;
  now_ = now;
  const Link::Handlers handlers{.acquire = [this, now](const shm::Acquire& a) { on_acquire(now, a); },
                                .expire = [this, now](const shm::Expire& e) { on_expire(now, e); },
                                .moved = [this, now](const shm::Moved& m) { on_moved(now, m); },
                                .datagram =
                                    [this, now](const ike::Datagram& d) {
                                      engine_.on_datagram(now, d);
                                      perform(now);
                                    },
                                .traced =
                                    [this](const shm::Traced& t) {
                                      if (const auto f = forecasts_.find(t.id); f != forecasts_.end()) f->second->path = t.path;
                                    }};
  auto more = link_->drain(handlers);
  perform(now);
  return more;
}

// ---------------------------------------------------------------------------------------------------------------- events

void Gateway::on_timer(ike::TimePoint now) {
  now_ = now;
  if (started_) engine_.on_timer(now);
  radius_.on_timer(now);
  perform(now);
}

void Gateway::on_dh(ike::TimePoint now, ike::DhResult result) {
  now_ = now;
  engine_.on_dh(now, std::move(result));
  perform(now);
}

void Gateway::on_signed(ike::TimePoint now, ike::SignResult result) {
  now_ = now;
  engine_.on_signed(now, std::move(result));
  perform(now);
}

void Gateway::on_verified(ike::TimePoint now, ike::VerifyResult result) {
  now_ = now;
  engine_.on_verified(now, std::move(result));
  perform(now);
}

void Gateway::on_user_checked(ike::TimePoint now, const ike::UserChecked& result) {
  now_ = now;
  engine_.on_user_checked(now, result);
  perform(now);
}

void Gateway::on_user_found(ike::TimePoint now, ike::UserFound result) {
  now_ = now;
  engine_.on_user_found(now, std::move(result));
  perform(now);
}

void Gateway::on_tls(ike::TimePoint now, ike::TlsStepped result) {
  now_ = now;
  engine_.on_tls(now, std::move(result));
  perform(now);
}

void Gateway::on_name(ike::TimePoint now, const ike::NameFound& result) {
  now_ = now;
  engine_.on_name(now, result);
  perform(now);
}

void Gateway::on_second(ike::TimePoint now) {
  now_ = now;
  if (link_) {
    link_->commands().on_time(now);
    note_traffic(now);
    (void)traffic();
  }
  perform(now);
}

void Gateway::on_acquire(ike::TimePoint now, const shm::Acquire& acquire) {
  if (const ChildRef* child = policies_.child_of(acquire.policy)) {
    engine_.on_acquire(now, child->connection, child->child,
                       ike::Flow{acquire.source, acquire.destination, acquire.source_port, acquire.destination_port, acquire.protocol});
    perform(now);
  }
}

void Gateway::on_expire(ike::TimePoint now, const shm::Expire& expire) {
  const SaEntry* e = store_.at(expire.direction, expire.slot);
  if (e == nullptr || e->spi != expire.spi || e->state != SlotState::Live) return;  // removed in the meantime
  engine_.on_expired(now, {.direction = expire.direction, .spi = expire.spi, .hard = expire.hard, .pair = e->pair});
  perform(now);
}

void Gateway::on_moved(ike::TimePoint now, const shm::Moved& moved) {
  const SaEntry* e = store_.at(Direction::Inbound, moved.slot);
  if (e == nullptr || e->spi != moved.spi || e->state != SlotState::Live) return;  // removed in the meantime
  engine_.on_moved(now, {.inbound = moved.spi, .remote = moved.remote});
  perform(now);
}

/// Traffic proves that the peer lives. The clock of the segment is CLOCK_MONOTONIC, as is steady_clock.
void Gateway::note_traffic(ike::TimePoint now) {
  const auto records = link_->segment().records(Direction::Inbound);
  std::vector<std::pair<Spi, std::uint64_t>> seen;
  store_.each([&](const SaEntry& e) {
    if (e.direction != Direction::Inbound || e.state != SlotState::Live) return;
    const std::uint64_t used = records[e.slot].counters.last_used_ns.get();
    if (used == 0 || used == last_used_[e.slot]) return;
    last_used_[e.slot] = used;
    seen.emplace_back(e.spi, used);
  });
  for (const auto& [spi, used] : seen)
    engine_.on_traffic(now, spi, std::min(now, ike::TimePoint{std::chrono::nanoseconds{static_cast<std::int64_t>(used)}}));
}

void Gateway::shutdown(ike::TimePoint now) {
  now_ = now;
  if (started_) engine_.shutdown(now);
  perform(now);
}

bool Gateway::quiet() const { return !link_ || link_->commands().unanswered() == 0; }

// ---------------------------------------------------------------------------------------------------------------- actions

void Gateway::perform(ike::TimePoint now) {
  for (;;) {
    auto actions = engine_.take_actions();
    if (actions.empty() && !settle_radius(now)) break;
    for (ike::Action& action : actions) std::visit([this, now](auto& a) { act(now, a); }, action);
  }
  store_.settle();
  if (link_) link_->flush();
  const auto own = engine_.deadline(), servers = radius_.deadline();
  hooks_.wake_at(own && servers ? std::min(*own, *servers) : own ? own : servers);
}

void Gateway::act(ike::TimePoint, ike::SendDatagram& action) {
  // A full ring or an absent data plane is a lost datagram to IKE: it retransmits. The ring counts its refusals.
  if (link_) (void)link_->inject(action.datagram);
}

void Gateway::act(ike::TimePoint, ike::ComputeDh& action) { hooks_.compute(std::move(action)); }

void Gateway::act(ike::TimePoint, ike::Sign& action) { hooks_.sign(std::move(action)); }

void Gateway::act(ike::TimePoint, ike::VerifyPeer& action) { hooks_.verify(std::move(action)); }
void Gateway::act(ike::TimePoint, ike::TlsStep& action) { hooks_.tls(std::move(action)); }

void Gateway::act(ike::TimePoint now, ike::InstallSa& action) {
  if (!link_) return refuse_install(action, now, "no data plane is attached");
  if (action.encr_key.size() > shm::kMaxEncrKey || action.integ_key.size() > shm::kMaxIntegKey)
    return refuse_install(action, now, "key too long");
  const auto policy = policy_for(action, now);
  if (!policy)
    return refuse_install(action, now, "no policy for it: the child is not configured, or the peers, or this peer, have too many");
  const auto slot = store_.begin_install(action.direction, action.spi, action.pair, action.connection, action.child, *policy);
  if (!slot) {
    release_policy(*policy, now);
    return refuse_install(action, now, "no room in the data plane's SA table");
  }
  shm::InstallSa m;
  m.direction = action.direction;
  m.slot = *slot;
  m.spi = action.spi;
  m.policy = *policy;
  m.local = action.local;
  m.remote = action.remote;
  m.local_ts = action.local_ts;
  m.remote_ts = action.remote_ts;
  m.more = action.more;
  m.suite = action.suite;
  m.suite.pfs = DhGroup::None;
  m.suite.more = {};
  m.mode = action.mode;
  m.original_local = action.original_local.value_or(IpAddress{});
  m.original_remote = action.original_remote.value_or(IpAddress{});
  m.encr_key_bytes = static_cast<std::uint8_t>(action.encr_key.size());
  m.integ_key_bytes = static_cast<std::uint8_t>(action.integ_key.size());
  std::ranges::copy(action.encr_key.view(), m.encr_key.begin());
  std::ranges::copy(action.integ_key.view(), m.integ_key.begin());
  m.replay_window = action.replay_window;
  m.rules = action.rules;
  m.follow = action.follow;
  m.soft = {action.soft_seconds, action.soft_bytes, action.soft_packets};
  m.hard = {action.hard_seconds, action.hard_bytes, action.hard_packets};
  m.pair = action.pair;
  m.peer = action.peer;
  m.name = shm::Name(action.connection + "/" + action.child);
  if (action.worker) m.worker = *action.worker;
  const PolicyTable::Vrfs vrfs = policies_.vrfs_of({action.connection, action.child});
  m.vrf = vrfs.inner;
  m.local.vrf = m.remote.vrf = vrfs.outer;
  const auto answered = [this, direction = action.direction, slot = *slot, spi = action.spi, job = action.job](const Outcome& o) {
    install_outcome(now_, direction, slot, spi, job, o);
  };
  const bool queued = link_->commands().send(m, now, answered);
  wipe_object(m);
  if (queued) return;
  sa_gone(action.direction, *slot, now);
  refuse_install(action, now, "too many SAs wait for the data plane");
}

void Gateway::refuse_install(const ike::InstallSa& action, ike::TimePoint now, const std::string& why) {
  ++installs_refused_;
  engine_.on_installed(now, action.job, false, why);
}

namespace {
/// "the inbound SA c0000001 of site-b/net"; `entry` may be another SA's, or missing.
std::string described(const SaEntry* entry, Direction direction, Spi spi) {
  const bool known = entry != nullptr && entry->spi == spi && !entry->connection.empty();
  return fmt::format("the {} SA {:08x}{}", direction == Direction::Inbound ? "inbound" : "outbound", spi.value,
                     known ? " of " + entry->connection + "/" + entry->child : " of no configured child");
}
}  // namespace

/// After a timeout the engine has been told of a failure: a late success is taken back.
void Gateway::install_outcome(ike::TimePoint now, Direction direction, std::uint32_t slot, Spi spi, ike::JobId job,
                              const Outcome& outcome) {
  const SaEntry* entry = store_.at(direction, slot);
  if (const std::string* refused = entry != nullptr ? policies_.refusal(entry->policy) : nullptr; outcome.ok() && refused != nullptr) {
    const std::string why = "its policy was refused: " + *refused;
    take_back(direction, slot, spi, now);
    if (outcome.late) return;
    ++installs_refused_;
    return engine_.on_installed(now, job, false, why);
  }
  if (outcome.ok()) {
    if (outcome.late) return take_back(direction, slot, spi, now);
    store_.installed(direction, slot);
    return engine_.on_installed(now, job, true, {});
  }
  if (outcome.kind == Outcome::Kind::Acked) sa_gone(direction, slot, now);
  if (outcome.late) return;
  ++installs_refused_;
  engine_.on_installed(now, job, false, outcome.text());
}

void Gateway::act(ike::TimePoint now, ike::RemoveSa& action) {
  const SaEntry* e = store_.begin_remove(action.direction, action.spi, action.pair);
  // Without a data plane the entry stays marked, and is judged when one is attached again.
  if (e == nullptr || !link_) return;
  send_remove(e->direction, e->slot, e->spi, now);
}

void Gateway::send_remove(Direction direction, std::uint32_t slot, Spi spi, ike::TimePoint now) {
  link_->commands().send(shm::RemoveSa{direction, slot, spi}, now, [this, direction, slot, spi](const Outcome& o) {
    if (o.kind == Outcome::Kind::Lost) return;
    if (o.ok() || (o.kind == Outcome::Kind::Acked && o.result == shm::AckResult::NotFound)) {
      const SaEntry* e = store_.at(direction, slot);
      if (e == nullptr || e->spi != spi) return;
      if (link_)
        traffic_.update(direction, slot, e->connection, e->child,
                        SaTotals::of(direction, link_->segment().records(direction)[slot].counters));
      traffic_.forget(direction, slot);
      sa_gone(direction, slot, now_);
    } else {
      journal_.error(fmt::format("the data plane did not remove {}: {}", described(store_.at(direction, slot), direction, spi), o.text()));
    }
  });
}

void Gateway::act(ike::TimePoint now, ike::Report& action) {
  if (action.count && action.exchange && action.role)
    ++exchanges_[static_cast<std::size_t>(*action.exchange)][static_cast<std::size_t>(*action.role)]
                [static_cast<std::size_t>(action.reason)];
  // What strangers send too often to be worth a line (Core::junk) is counted alone: else it would push all else out of the journal.
  const bool watched = engine_.watched(now, action.connection, action.peer);
  if (watched || !action.count || action.severity != ike::Severity::Debug) journal_.write(event_of(action, config_), watched);
}

// ---------------------------------------------------------------------------------------------------------------- commands

namespace {
ike::CommandResult not_ready() { return {false, "culvertd is not attached to a data plane yet; see `culvert log`"}; }
}  // namespace

ike::CommandResult Gateway::initiate(ike::TimePoint now, const std::string& connection, const std::string& child) {
  if (!started_ || !link_) return not_ready();
  auto result = engine_.initiate(now, connection, child);
  perform(now);
  return result;
}
ike::CommandResult Gateway::terminate(ike::TimePoint now, const std::string& connection, const std::string& child,
                                      const std::string& peer) {
  if (!started_ || !link_) return not_ready();
  auto result = engine_.terminate(now, connection, child, peer);
  perform(now);
  return result;
}
ike::CommandResult Gateway::redirect(ike::TimePoint now, const std::string& connection, const std::optional<config::GatewayName>& to,
                                     const std::string& peer, bool newcomers) {
  if (!started_ || !link_) return not_ready();
  auto result = engine_.redirect(now, connection, to, peer, newcomers);
  perform(now);
  return result;
}
ike::CommandResult Gateway::rekey(ike::TimePoint now, const std::string& connection, const std::string& child, bool ike,
                                  const std::string& peer) {
  if (!started_ || !link_) return not_ready();
  auto result = engine_.rekey(now, connection, child, ike, peer);
  perform(now);
  return result;
}
ike::CommandResult Gateway::reauthenticate(ike::TimePoint now, const std::string& connection, const std::string& peer) {
  if (!started_ || !link_) return not_ready();
  auto result = engine_.reauthenticate(now, connection, peer);
  perform(now);
  return result;
}

// ---------------------------------------------------------------------------------------------------------------- to look at

std::vector<ike::ConnectionStatus> Gateway::connections(const std::string& only) const {
  auto known = engine_.connections(only);
  std::size_t next = 0;  // of `known`, which has the order of the configuration
  std::vector<ike::ConnectionStatus> out;
  for (const auto& configured : config_.connections) {
    if (!only.empty() && configured.name != only) continue;
    ike::ConnectionStatus& c = out.emplace_back();
    if (next < known.size() && known[next].connection == configured.name) c = std::move(known[next++]);
    c.connection = configured.name;
    c.up = c.up && link_ != nullptr;
    if (!link_) c.connecting.reset();
    const auto children = std::exchange(c.children, {});
    for (const auto& child : configured.children) {
      const auto k = std::ranges::find(children, child.name, &ike::ChildStatus::child);
      ike::ChildStatus& s = c.children.emplace_back(k != children.end() ? *k : ike::ChildStatus{.child = child.name});
      s.up = s.up && link_ != nullptr;
    }
  }
  return out;
}

const Traffic& Gateway::traffic() {
  if (link_) {
    store_.each([&](const SaEntry& e) {
      if (e.state == SlotState::Busy) return;  // the record may still be an older SA's
      traffic_.update(e.direction, e.slot, e.connection, e.child,
                      SaTotals::of(e.direction, link_->segment().records(e.direction)[e.slot].counters));
    });
  }
  return traffic_;
}

}  // namespace culvert::control

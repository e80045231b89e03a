#include "dataplane/manager/commands.hpp"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "common/bytes.hpp"
#include "dataplane/ip_header.hpp"

namespace culvert::dp {

namespace {
bool valid_policy(PolicyId id) { return id.value >= 1 && id.value <= shm::kMaxPolicies; }
bool valid_direction(Direction d) { return d == Direction::Inbound || d == Direction::Outbound; }
/// Whether an SA's selectors leave out packets that the policy selects.
bool narrower(const OutboundSa& sa, const shm::InstallPolicy& policy) {
  const auto ours = [&](const TrafficSelector& ts) {
    return contains(sa.source, sa.source_v6, ts) || (sa.more && contains(sa.more->sources, ts));
  };
  const auto theirs = [&](const TrafficSelector& ts) {
    return contains(sa.destination, sa.destination_v6, ts) || (sa.more && contains(sa.more->destinations, ts));
  };
  return !ours(policy.local_ts) || !theirs(policy.remote_ts) || !std::ranges::all_of(policy.more.local(), ours) ||
         !std::ranges::all_of(policy.more.remote(), theirs);
}
/// A `bool` in a message of a hostile process may hold any byte.
template <class T>
bool valid_bool(const T& message, bool T::* field) {
  unsigned char byte;
  std::memcpy(&byte, &(message.*field), 1);
  return byte <= 1;
}
}  // namespace

Commands::~Commands() {
  delete t_.spd.exchange(nullptr);
  for (const auto& [policy, own] : own_) t_.policies[policy].own = nullptr;
}

std::vector<shm::Ack> Commands::apply(std::span<const shm::Message> batch, std::uint64_t now_ns) {
  std::vector<shm::Ack> acks;
  std::vector<std::size_t> of_policies;
  std::vector<std::size_t> completions;
  for (const shm::Message& m : batch) {
    const bool of_policy = m.type == shm::MessageType::InstallPolicy || m.type == shm::MessageType::RemovePolicy ||
                           m.type == shm::MessageType::PoliciesComplete;
    if (of_policy) of_policies.push_back(acks.size());
    shm::AckResult result = shm::AckResult::BadMessage;
    switch (m.type) {
      case shm::MessageType::InstallPolicy:
        result = install_policy(m.as<shm::InstallPolicy>());
        break;
      case shm::MessageType::RemovePolicy:
        result = remove_policy(m.as<shm::RemovePolicy>());
        break;
      case shm::MessageType::PoliciesComplete:
        completions.push_back(acks.size());
        policies_.keep(sent_);  // a culvertd before this one has left policies that this one does not want
        break;
      case shm::MessageType::InstallSa: {
        auto sa = m.as<shm::InstallSa>();
        result = install_sa(sa, now_ns);
        wipe_object(sa);
        break;
      }
      case shm::MessageType::RemoveSa:
        result = remove_sa(m.as<shm::RemoveSa>());
        break;
      case shm::MessageType::MoveSa:
        result = move_sa(m.as<shm::MoveSa>());
        break;
      case shm::MessageType::SkipNumbers:
        result = skip_numbers(m.as<shm::SkipNumbers>());
        break;
      default:
        if (t_.others) result = t_.others(m);
        break;
    }
    acks.push_back({m.transaction, result});
  }
  if (policies_.changed() && !rebuild_spd()) {
    lost_policies_ = true;
    for (const std::size_t i : of_policies)
      if (acks[i].result == shm::AckResult::Ok) acks[i].result = shm::AckResult::NoMemory;
  }
  for (const std::size_t i : completions) acks[i].result = open_forwarding();
  if (t_.done)
    for (std::size_t i = 0; i < acks.size(); ++i)
      if (acks[i].result == shm::AckResult::Ok) t_.done(batch[i]);
  return acks;
}

shm::AckResult Commands::install_policy(const shm::InstallPolicy& m) {
  if (!valid_policy(m.policy) || !valid_bool(m, &shm::InstallPolicy::acquire)) return shm::AckResult::BadMessage;
  if (const shm::AckResult checked = Spd::check(m); checked != shm::AckResult::Ok) return checked;
  const auto tunnel = std::ranges::find(t_.tunnels, m.tunnel.view(), &Interface::name);
  if (m.vrf >= t_.own.size() || (tunnel != t_.tunnels.end() && tunnel->vrf != m.vrf)) return shm::AckResult::BadMessage;
  if (!m.tunnel.view().empty() && tunnel == t_.tunnels.end()) {
    spdlog::warn("policy {} refused: there is no tunnel {}", printable(as_bytes(m.name.view())), printable(as_bytes(m.tunnel.view())));
    return shm::AckResult::NotFound;
  }
  policies_.install(m);
  sent_.insert(m.policy.value);
  // A policy that now selects more than its SAs admit: they are checked from now on, and never again believed to be wide.
  each_outbound(m.policy.value, [&](OutboundSa& sa) {
    if (narrower(sa, m)) sa.narrow = true;
  });
  return shm::AckResult::Ok;
}

shm::AckResult Commands::remove_policy(const shm::RemovePolicy& m) {
  sent_.erase(m.policy.value);
  return policies_.remove(m.policy) ? shm::AckResult::Ok : shm::AckResult::NotFound;
}

bool Commands::rebuild_spd() {
  auto spd = policies_.snapshot();
  if (!spd) {
    spdlog::error("{}; the policies stay as they were", spd.error());
    return false;
  }
  if (t_.spd.load() != nullptr) {
    publish(std::move(*spd));
  } else {
    staged_ = std::move(*spd);
  }
  return true;
}

void Commands::publish(std::unique_ptr<const Spd> spd) {
  std::unique_ptr<const Spd> old(t_.spd.exchange(spd.release(), std::memory_order_acq_rel));
  if (old) t_.rcu.defer(std::move(old));
  ++snapshots_;
}

/// Workers forward from the first Spd on.
shm::AckResult Commands::open_forwarding() {
  if (t_.spd.load() != nullptr) return shm::AckResult::Ok;
  if (lost_policies_ || (!staged_ && !rebuild_spd())) {
    spdlog::error("not all policies are in force: nothing is forwarded");
    return shm::AckResult::NoMemory;
  }
  publish(std::move(staged_));
  spdlog::info("all {} policies are in force: forwarding begins", policies_.size());
  return shm::AckResult::Ok;
}

template <class Table>
shm::AckResult Commands::install(Table& table, const shm::InstallSa& m, std::uint64_t now_ns) {
  if (m.slot >= table.capacity()) return shm::AckResult::BadMessage;
  if (const auto* there = table.at(m.slot)) return there->spi == m.spi ? shm::AckResult::Exists : shm::AckResult::Busy;
  shm::SaRecord& record = t_.segment.records(m.direction)[m.slot];
  record.counters.reset();
  const bool own = m.worker != shm::InstallSa::kAnyWorker;
  const auto worker = static_cast<std::uint16_t>((own ? m.worker : m.slot) % t_.workers);
  const SaPlacement placement{worker, &record.counters, now_ns};
  const auto make = [&] {
    if constexpr (std::is_same_v<Table, InboundTable>) {
      return make_inbound(m, table.capacity(), t_.crypto, placement);
    } else {
      return make_outbound(m, table.capacity(), t_.crypto, placement);
    }
  };
  auto sa = make();
  if (!sa) return sa.error();
  auto* raw = sa->get();
  raw->watched.store(watched(m.name), std::memory_order_relaxed);
  raw->manager.own = own;
  const shm::AckResult result = table.publish(m.slot, *sa);
  if (result != shm::AckResult::Ok) return result;
  installed(m.direction).insert(m.slot);
  if (m.direction == Direction::Inbound && m.follow) followers_.insert(m.slot);
  shm::SaSnapshot snapshot{m.spi,  m.slot, m.policy, m.pair, m.local, m.remote,    m.local_ts, m.remote_ts, m.suite,
                           m.mode, m.soft, m.hard,   now_ns, worker,  m.direction, false,      m.name,      m.peer};
  snapshot.vrf = m.vrf;
  snapshot.more = m.more;
  shm::write_record(record, snapshot);
  if constexpr (std::is_same_v<Table, OutboundTable>) {
    add_outbound(*raw);
    note_mtu(*raw);
  }
  return shm::AckResult::Ok;
}

shm::AckResult Commands::install_sa(const shm::InstallSa& m, std::uint64_t now_ns) {
  if (!valid_direction(m.direction) || !valid_policy(m.policy) || !valid_bool(m, &shm::InstallSa::follow) ||
      !valid_bool(m.suite, &EspSuite::esn) || std::max(m.vrf, m.local.vrf) >= t_.own.size() || m.remote.vrf != m.local.vrf)
    return shm::AckResult::BadMessage;
  if (!t_.own[m.local.vrf].contains(m.local.address)) {
    spdlog::warn("SA {:08x} refused: its local address {} is none of ours in its VRF", m.spi.value, m.local.address.to_string());
    return shm::AckResult::BadMessage;
  }
  if (const auto* of = policies_.find(m.policy); of != nullptr && of->vrf != m.vrf) {
    spdlog::warn("SA {:08x} refused: its policy is of another VRF", m.spi.value);
    return shm::AckResult::BadMessage;
  }
  const shm::AckResult result = m.direction == Direction::Inbound ? install(t_.inbound, m, now_ns) : install(t_.outbound, m, now_ns);
  const char* way = m.direction == Direction::Inbound ? "inbound" : "outbound";
  const std::string name = printable(as_bytes(m.name.view()));
  if (result == shm::AckResult::Ok) {
    spdlog::info("{} SA {:08x} of {} installed in slot {}", way, m.spi.value, name, m.slot);
  } else {
    spdlog::warn("{} SA {:08x} of {} refused: {}", way, m.spi.value, name, shm::to_string(result));
  }
  return result;
}

shm::AckResult Commands::remove_sa(const shm::RemoveSa& m) {
  if (!valid_direction(m.direction)) return shm::AckResult::BadMessage;
  if (m.direction == Direction::Inbound) {
    auto sa = t_.inbound.unpublish(m.slot, m.spi);
    if (!sa) return shm::AckResult::NotFound;
    t_.rcu.defer(std::move(sa));
  } else {
    auto sa = t_.outbound.unpublish(m.slot, m.spi);
    if (!sa) return shm::AckResult::NotFound;
    remove_outbound(*sa);
    t_.rcu.defer(std::move(sa));
  }
  installed(m.direction).erase(m.slot);
  if (m.direction == Direction::Inbound) followers_.erase(m.slot);
  expired_.erase({m.direction, m.slot});
  shm::write_record(t_.segment.records(m.direction)[m.slot], {});
  spdlog::info("{} SA {:08x} removed from slot {}", m.direction == Direction::Inbound ? "inbound" : "outbound", m.spi.value, m.slot);
  return shm::AckResult::Ok;
}

shm::AckResult Commands::move_sa(const shm::MoveSa& m) {
  if (!valid_direction(m.direction) || !valid_bool(m, &shm::MoveSa::follow)) return shm::AckResult::BadMessage;
  if (m.local.address.family != Family::None) return relocate_sa(m);
  OutboundSa* sa = m.direction == Direction::Outbound ? t_.outbound.at(m.slot) : nullptr;
  if (sa == nullptr || sa->spi != m.spi) return shm::AckResult::NotFound;
  if (!sa->manager.udp || m.remote.port == 0 || m.remote.address.family != sa->manager.outer_family || m.remote.vrf != sa->outer_vrf)
    return shm::AckResult::BadMessage;
  move_outbound(*sa, m.remote);
  return shm::AckResult::Ok;
}

shm::AckResult Commands::skip_numbers(const shm::SkipNumbers& m) {
  if (!valid_direction(m.direction) || m.count > shm::SkipNumbers::kMost) return shm::AckResult::BadMessage;
  if (m.direction == Direction::Inbound) {
    InboundSa* sa = t_.inbound.at(m.slot);
    if (sa == nullptr || sa->spi != m.spi) return shm::AckResult::NotFound;
    sa->counters->skipped.add(m.count);
    return shm::AckResult::Ok;
  }
  OutboundSa* sa = t_.outbound.at(m.slot);
  if (sa == nullptr || sa->spi != m.spi) return shm::AckResult::NotFound;
  sa->skip(m.count);
  spdlog::debug("outbound SA {:08x} leaves out {} sequence numbers", m.spi.value, m.count);
  return shm::AckResult::Ok;
}

bool Commands::watched(const shm::Name& name) const {
  if (watched_.empty()) return false;
  return watched_.back() == '/' ? name.view().starts_with(watched_) : name.view() == watched_;
}

void Commands::watch(std::string_view name) {
  watched_ = name;
  each_installed([&](Direction direction, std::uint32_t slot) {
    const bool is = watched(t_.segment.records(direction)[slot].name);  // this thread alone writes it
    if (direction == Direction::Inbound) {
      t_.inbound.at(slot)->watched.store(is, std::memory_order_relaxed);
    } else {
      t_.outbound.at(slot)->watched.store(is, std::memory_order_relaxed);
    }
  });
}

Commands::ChainKey Commands::chain_of(const OutboundSa& sa) {
  return {sa.policy.value, sa.manager.own ? sa.worker : shm::InstallSa::kAnyWorker};
}

void Commands::each_outbound(std::uint32_t policy, const std::function<void(OutboundSa&)>& visit) {
  for (auto of = outbound_of_.lower_bound({policy, 0}); of != outbound_of_.end() && of->first.first == policy; ++of)
    for (OutboundSa* sa : of->second) visit(*sa);
}

/// Puts an SA at the head of its chain.
void Commands::add_outbound(OutboundSa& sa) {
  const auto* policy = policies_.find(sa.policy);
  sa.narrow = policy == nullptr || narrower(sa, *policy);
  auto& all = outbound_of_[chain_of(sa)];
  sa.older = all.empty() ? nullptr : all.back();
  // A successor's packets go the same way.
  if (!all.empty() && peer_of(*all.back()) == peer_of(sa) && learnt_.contains(all.back()))
    set_path_mtu(sa, all.back()->path_mtu.load(std::memory_order_relaxed), all.back()->manager.path_mtu_until);
  by_spi_.emplace(sa.spi.value, &sa);
  if (sa.manager.dummy_ns != 0) dummies_.emplace(&sa, 0);
  all.push_back(&sa);
  set_current(chain_of(sa), &sa);
}

/// Takes an SA out of its chain. It keeps its own link, so that a worker that stands on it finds the rest.
void Commands::remove_outbound(OutboundSa& sa) {
  const ChainKey chain = chain_of(sa);
  auto& all = outbound_of_[chain];
  const auto at = std::find(all.begin(), all.end(), &sa);
  OutboundSa* older = sa.older.load(std::memory_order_relaxed);
  if (at + 1 != all.end()) {
    at[1]->older.store(older, std::memory_order_release);
  } else {
    set_current(chain, older);  // its packets go on with the youngest that is left
  }
  all.erase(at);
  learnt_.erase(&sa);
  dummies_.erase(&sa);
  const auto [first, last] = by_spi_.equal_range(sa.spi.value);
  by_spi_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == &sa; }));
  if (all.empty()) outbound_of_.erase(chain);
}

void Commands::set_current(ChainKey chain, OutboundSa* sa) {
  const bool own = chain.second != shm::InstallSa::kAnyWorker;
  const OutboundSa* before = own ? exchange_own(chain, sa) : t_.policies[chain.first].current.exchange(sa, std::memory_order_acq_rel);
  if (before != nullptr && t_.outbound.at(before->manager.slot) == before) mark_current(before, false);
  if (sa != nullptr) mark_current(sa, true);
}

/// The same of those that are for one worker, which few policies have.
OutboundSa* Commands::exchange_own(ChainKey chain, OutboundSa* sa) {
  const auto [policy, worker] = chain;
  auto& own = own_[policy];
  if (!own) {
    own = std::make_unique<OwnSas>();
    t_.policies[policy].own.store(own.get(), std::memory_order_release);
  }
  OutboundSa* before = own->youngest[worker].exchange(sa, std::memory_order_acq_rel);
  if (std::ranges::all_of(own->youngest, [](const auto& one) { return one.load(std::memory_order_relaxed) == nullptr; })) {
    t_.policies[policy].own.store(nullptr, std::memory_order_release);
    t_.rcu.defer(std::move(own));
    own_.erase(policy);
  }
  return before;
}

void Commands::mark_current(const OutboundSa* sa, bool current) {
  shm::SaRecord& record = t_.segment.records(Direction::Outbound)[sa->manager.slot];
  shm::SaSnapshot snapshot;
  if (!shm::read_record(record, snapshot)) return;
  snapshot.current = current;
  shm::write_record(record, snapshot);
}

std::vector<shm::Expire> Commands::expirations(std::uint64_t now_ns) {
  std::vector<shm::Expire> out;
  each_installed([&](Direction direction, std::uint32_t slot) {
    const ExpireReport r =
        direction == Direction::Inbound ? take_expirations(*t_.inbound.at(slot), now_ns) : take_expirations(*t_.outbound.at(slot), now_ns);
    for (unsigned i = 0; i < r.count; ++i) {
      expired_[{direction, slot}].push_back(r.events[i]);
      out.push_back(r.events[i]);
    }
  });
  return out;
}

std::vector<Commands::Dummy> Commands::due_dummies(std::uint64_t now_ns) {
  std::vector<Dummy> out;
  for (auto& [sa, next] : dummies_) {
    if (next > now_ns) continue;
    next = std::max(next + sa->manager.dummy_ns, now_ns);  // what was missed is not made up for
    if (outbound_of_.at(chain_of(*sa)).back() == sa) out.push_back({sa->worker, sa->policy, sa->manager.slot, sa->spi});
  }
  return out;
}

std::vector<shm::Expire> Commands::reported() const {
  std::vector<shm::Expire> out;
  for (const auto& [key, reported] : expired_) out.insert(out.end(), reported.begin(), reported.end());
  return out;
}

}  // namespace culvert::dp

// The entries of the SPD that SAs are under: sent before the first of them, removed behind the last. And where SAs are moved to.
#include <string>
#include <utility>

#include <fmt/format.h>

#include "control/gateway.hpp"

namespace culvert::control {

void Gateway::send_policy(const shm::InstallPolicy& policy, ike::TimePoint now) {
  link_->commands().send(policy, now, [this, id = policy.policy, name = std::string(policy.name.view())](const Outcome& o) {
    if (o.ok() || o.kind == Outcome::Kind::Lost) return;
    journal_.error(fmt::format("policy {} was not installed: {}", name, o.text()));
    policies_.refuse(id, o.text());
  });
}

std::optional<PolicyId> Gateway::policy_for(const ike::InstallSa& action, ike::TimePoint now) {
  if (!action.own_policy) return policies_.of(action.connection, action.child);
  const auto taken = policies_.take({action.connection, action.child}, action.peer, action.local_ts, action.remote_ts, action.more);
  if (!taken) return std::nullopt;
  // Commands are done in order: the entry is there before the SA is, and goes after it.
  if (taken->fresh) send_policy(*taken->fresh, now);
  return taken->policy;
}

void Gateway::release_policy(PolicyId policy, ike::TimePoint now) {
  if (policies_.release(policy) && link_) link_->commands().send(shm::RemovePolicy{policy}, now, {});
}

void Gateway::sa_gone(Direction direction, std::uint32_t slot, ike::TimePoint now) {
  const SaEntry* e = store_.at(direction, slot);
  const PolicyId policy = e != nullptr ? e->policy : PolicyId{};
  const bool there = e != nullptr && e->state != SlotState::Reserved;
  store_.gone(direction, slot);
  if (there) release_policy(policy, now);
}

void Gateway::take_back(Direction direction, std::uint32_t slot, Spi spi, ike::TimePoint now) {
  const SaEntry* e = store_.at(direction, slot);
  if (e != nullptr && e->spi == spi && store_.begin_remove(direction, spi, e->pair) != nullptr) send_remove(direction, slot, spi, now);
}

void Gateway::act(ike::TimePoint now, ike::MoveSa& action) {
  const SaEntry* e = store_.find(action.direction, action.spi, action.pair);
  if (e == nullptr || e->state == SlotState::Leaving || !link_) return;
  shm::MoveSa m{e->slot, action.spi, action.remote};
  m.remote.vrf = policies_.vrfs_of({e->connection, e->child}).outer;
  if (action.local) {
    m.local = *action.local;
    m.local.vrf = m.remote.vrf;
  }
  m.direction = action.direction;
  m.follow = action.follow;
  link_->commands().send(m, now, [this, direction = action.direction, spi = action.spi](const Outcome& o) {
    if (o.kind == Outcome::Kind::Acked && !o.ok() && o.result != shm::AckResult::NotFound)
      journal_.error(fmt::format("the data plane did not move the {} SA {:08x}: {}",
                                 direction == Direction::Inbound ? "inbound" : "outbound", spi.value, o.text()));
  });
}

void Gateway::act(ike::TimePoint now, ike::SkipNumbers& action) {
  const SaEntry* e = store_.find(action.direction, action.spi, action.pair);
  if (e == nullptr || e->state == SlotState::Leaving || !link_) return;
  const shm::SkipNumbers m{e->slot, action.spi, action.count, action.direction};
  link_->commands().send(m, now, [this, direction = action.direction, spi = action.spi](const Outcome& o) {
    if (o.kind == Outcome::Kind::Acked && !o.ok() && o.result != shm::AckResult::NotFound)
      journal_.error(fmt::format("the data plane did not leave out sequence numbers of the {} SA {:08x}: {}",
                                 direction == Direction::Inbound ? "inbound" : "outbound", spi.value, o.text()));
  });
}

ike::CommandResult Gateway::sync_counters(ike::TimePoint now, const std::string& connection, const std::string& peer) {
  if (!started_ || !link_) return {false, "culvertd is not attached to a data plane yet; see `culvert log`"};
  auto result = engine_.sync_counters(now, connection, peer);
  perform(now);
  return result;
}

}  // namespace culvert::control

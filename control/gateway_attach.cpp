// The gateway's dealings with a data plane that comes, goes and comes back: what must be installed, adopted or removed then.
// Order matters: SAs that may not stay are removed before the policies that select them change.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "control/gateway.hpp"

namespace culvert::control {

void Gateway::attached(ike::TimePoint now, Attachment attachment) {
  now_ = now;
  link_ = std::make_unique<Link>(std::move(attachment));
  ++attaches_;
  const auto& header = link_->segment().header();
  journal_.info(fmt::format("attached to the data plane: {} worker(s), {} port(s), room for {} SAs each way", header.workers, header.ports,
                            header.sa_capacity));
  const bool same = started_ && link_->boot_id() == last_boot_id_;
  if (started_ && !same) {
    journal_.warn("the data plane has been restarted: all its SAs are gone, negotiating again");
    store_.each([this](const SaEntry& e) { traffic_.forget(e.direction, e.slot); });
    store_.lose_all();
    policies_.lose_all();
  }
  if (!same && header.sa_capacity != store_.capacity()) store_.resize(header.sa_capacity);
  if (!same) last_used_.assign(header.sa_capacity, 0);
  last_boot_id_ = link_->boot_id();
  store_.announce(link_->segment().awaited());

  if (!started_) {
    // Orphans that may not stay are removed before the policies change under them.
    auto orphans = adopt_inventory(now);
    install_policies(now);
    started_ = true;
    engine_.start(now, std::move(orphans));
  } else if (same) {
    install_policies(now);
    reconcile(now);
  } else {
    install_policies(now);
    engine_.on_dataplane_lost(now);
  }
  perform(now);
}

void Gateway::detached(ike::TimePoint now, const std::string& why) {
  if (!link_) return;
  now_ = now;
  journal_.error(fmt::format("lost the data plane: {}", why));
  (void)traffic();  // the last figures that can be had
  if (const auto running = capture_.lock()) running->ended = "the data plane is gone";
  store_.announce({});
  const auto link = std::move(link_);
  link->commands().lose_all();
  perform(now);
}

void Gateway::install_policies(ike::TimePoint now) {
  for (const auto& policy : policies_.entries()) send_policy(policy, now);
  link_->commands().send(shm::PoliciesComplete{}, now, [this](const Outcome& o) {
    if (!o.ok() && o.kind != Outcome::Kind::Lost)
      journal_.error(fmt::format("the data plane does not forward, for policies are missing: {}", o.text()));
  });
}

void Gateway::each_record(const std::function<void(const shm::SaSnapshot&)>& visit) const {
  for (const Direction d : {Direction::Inbound, Direction::Outbound}) {
    std::uint32_t slot = 0;
    for (const shm::SaRecord& record : link_->segment().records(d)) {
      shm::SaSnapshot sa;
      if (shm::read_record(record, sa)) {
        sa.slot = slot;  // where it stands is what counts, not what it says
        sa.direction = d;
        visit(sa);
      }
      ++slot;
    }
  }
}

/// SAs that a culvertd before this one left running. One whose child is not configured any more, or whose policy number now
/// belongs to another child, or which is of another VRF, is removed: it would carry what another policy selects.
std::vector<ike::OrphanSa> Gateway::adopt_inventory(ike::TimePoint now) {
  std::vector<ike::OrphanSa> orphans;
  std::size_t removed = 0;
  each_record([&](const shm::SaSnapshot& sa) {
    const ChildRef* child = policies_.child_named(sa.name.view());
    const ChildRef owner = child != nullptr ? *child : ChildRef{};
    const PolicyTable::Vrfs vrfs = policies_.vrfs_of(owner);
    const bool wanted = child != nullptr && sa.vrf == vrfs.inner && sa.local.vrf == vrfs.outer &&
                        (PolicyTable::is_peers(sa.policy) ? policies_.adopt(sa.policy, *child, sa.peer, sa.local_ts, sa.remote_ts, sa.more)
                                                          : policies_.of(child->connection, child->child) == sa.policy);
    const PolicyId policy = wanted ? sa.policy : PolicyId{};
    if (!store_.adopt(sa.direction, sa.slot, sa.spi, sa.pair, owner.connection, owner.child, policy)) {
      policies_.release(policy);
    } else if (wanted) {
      orphans.push_back({sa.pair, sa.direction, owner.connection, owner.child, sa.spi, sa.local, sa.remote, sa.suite.protocol, sa.mode,
                         sa.local_ts, sa.remote_ts, sa.peer, sa.more});
    } else if (const SaEntry* entry = store_.begin_remove(sa.direction, sa.spi, sa.pair)) {
      send_remove(entry->direction, entry->slot, entry->spi, now);
      ++removed;
    }
  });
  if (!orphans.empty()) journal_.info(fmt::format("{} SAs of a former culvertd carry traffic until they are replaced", orphans.size()));
  if (removed > 0) journal_.warn(fmt::format("{} SAs of a former culvertd belong to no configured child: removed", removed));
  return orphans;
}

/// After the same data plane was attached to again: answers may have been lost on the way, so what it has is compared with
/// what it should have.
void Gateway::reconcile(ike::TimePoint now) {
  std::vector<SaEntry> missing;
  store_.each([&](const SaEntry& e) {
    shm::SaSnapshot sa;
    if (!shm::read_record(link_->segment().records(e.direction)[e.slot], sa) || sa.spi != e.spi || sa.pair != e.pair) missing.push_back(e);
  });
  for (const SaEntry& e : missing) {
    traffic_.forget(e.direction, e.slot);
    sa_gone(e.direction, e.slot, now);
    if (e.state == SlotState::Live) engine_.on_expired(now, {.direction = e.direction, .spi = e.spi, .hard = true, .pair = e.pair});
  }
  each_record([&](const shm::SaSnapshot& sa) {
    const SaEntry* e = store_.at(sa.direction, sa.slot);
    // An install that was under way has been reported as failed, so it is unwanted, too.
    if (e == nullptr || e->spi != sa.spi || e->state != SlotState::Live)
      send_remove(sa.direction, sa.slot, sa.spi, now);
    else if (sa.direction == Direction::Inbound)  // a peer may have moved while nobody was told
      engine_.on_moved(now, {.inbound = sa.spi, .remote = sa.remote});
  });
}

}  // namespace culvert::control

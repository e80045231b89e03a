#include "dataplane/nodes/path_log.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace culvert::dp {

using shm::StepKind;

shm::PathStep route_step(const NextHop& hop) {
  constexpr std::array kinds{shm::RouteKind::None,    shm::RouteKind::Local,  shm::RouteKind::Martian, shm::RouteKind::OnLink,
                             shm::RouteKind::Gateway, shm::RouteKind::Tunnel, shm::RouteKind::None};
  return {.kind = StepKind::Route,
          .port = hop.port,
          .number = static_cast<std::uint32_t>(kinds[static_cast<std::size_t>(hop.kind)]),
          .limit = hop.one_of,
          .address = hop.gateway};
}

shm::PathStep policy_step(OutboundAction action, const SpdEntry* entry) {
  const shm::PolicyAction said = action == OutboundAction::Protect ? shm::PolicyAction::Protect
                                 : action == OutboundAction::Clear ? shm::PolicyAction::Bypass
                                                                   : shm::PolicyAction::Discard;
  return {
      .kind = StepKind::OutboundPolicy, .action = static_cast<std::uint8_t>(said), .policy = entry != nullptr ? entry->policy : PolicyId{}};
}

shm::PathStep sa_step(const OutboundSa& sa) {
  return {.kind = StepKind::LeavesUnderSa, .policy = sa.policy, .spi = sa.spi, .slot = sa.manager.slot, .number = sa.worker};
}

shm::PathStep size_step(const Packet& p, std::uint32_t mtu, const OutboundSa* sa) {
  return {.kind = StepKind::Size, .action = static_cast<std::uint8_t>(size_verdict(p, mtu, sa)), .number = p.length, .limit = mtu};
}

shm::PathStep neighbor_step(const NextHop& hop, const IpAddress& next, std::uint64_t link) {
  const NeighborState state = Neighbor::state_of(link);
  shm::PathStep step{.kind = StepKind::Neighbor, .port = hop.port, .address = next};
  step.number = static_cast<std::uint32_t>(state == NeighborState::Reachable ? shm::NeighborUse::Known
                                           : state == NeighborState::Failed  ? shm::NeighborUse::Failed
                                                                             : shm::NeighborUse::Asked);
  if (state != NeighborState::Reachable) return step;
  const MacBits mac = Neighbor::mac_of(link);
  std::memcpy(step.mac.data(), &mac, step.mac.size());
  return step;
}

PathLog::Entry* PathLog::find(const Packet& p) {
  for (std::size_t i = 0; i < count_; ++i)
    if (entries_[i].packet == &p) return &entries_[i];
  return nullptr;
}

PathLog::Entry* PathLog::begin(const Packet& p, Direction d) {
  if (count_ == entries_.size()) return nullptr;
  Entry& e = entries_[count_++];
  e = {&p,
       d,
       d == Direction::Inbound ? p.inbound->manager.slot : p.outbound->manager.slot,
       d == Direction::Inbound ? p.inbound->spi : p.outbound->spi,
       {}};
  if (p.inbound != nullptr) {
    const InboundSa& sa = *p.inbound;
    e.path.add({.kind = StepKind::ArrivesUnderSa, .port = p.rx_port, .policy = sa.policy, .spi = sa.spi, .slot = sa.manager.slot});
  } else {
    e.path.add({.kind = StepKind::Arrives, .port = p.rx_port});
  }
  return &e;
}

void PathLog::arrive(const Burst& burst) {
  for (std::size_t i = 0; i < burst.size(); ++i)
    if (burst[i]->inbound->watched.load(std::memory_order_relaxed)) (void)begin(*burst[i], Direction::Inbound);
}

void PathLog::decided(const Packet& p, OutboundAction action, const NextHop& hop) {
  Entry* e = find(p);
  const bool protect = action == OutboundAction::Protect && p.outbound != nullptr;
  if (e == nullptr && protect && p.outbound->watched.load(std::memory_order_relaxed)) e = begin(p, Direction::Outbound);
  if (e == nullptr) return;
  e->path.add({.kind = StepKind::TimeToLive, .number = hops_left(p)});
  e->path.add(route_step(hop));
  e->path.add(policy_step(action, p.policy));
  if (protect) e->path.add(sa_step(*p.outbound));
}

void PathLog::taken_over(const Packet& p) {
  if (find(p) != nullptr || !p.outbound->watched.load(std::memory_order_relaxed)) return;
  if (Entry* e = begin(p, Direction::Outbound)) e->path.add(sa_step(*p.outbound));
}

void PathLog::note(const Packet& p, const shm::PathStep& step) {
  if (Entry* e = find(p)) e->path.add(step);
}

void PathLog::leaves(const Packet& p, const NextHop& hop, const IpAddress& to, std::uint64_t link) {
  Entry* e = find(p);
  if (e == nullptr) return;
  e->path.add(neighbor_step(hop, hop.kind == HopKind::Gateway ? hop.gateway : to, link));
  if (Neighbor::state_of(link) == NeighborState::Failed) return;  // it is dropped next
  e->path.add({.kind = StepKind::Leaves, .port = hop.port});
  emit(*e);
}

void PathLog::stays(const Packet& p, const shm::PathStep& step) {
  Entry* e = find(p);
  if (e == nullptr) return;
  e->path.add(step);
  e->path.answered = 1;
  emit(*e);
}

void PathLog::dropped(const Packet& p, Drop reason) {
  Entry* e = find(p);
  if (e == nullptr) return;
  e->path.dropped = reason;
  emit(*e);
}

void PathLog::done(const Packet& p) {
  if (Entry* e = find(p)) emit(*e);
}

void PathLog::moved(const Packet& from, const Packet& to) {
  if (Entry* e = find(from)) e->packet = &to;
}

std::uint16_t PathLog::park(const Packet& p) {
  Entry* e = find(p);
  if (e == nullptr) return 0;
  const auto free = std::ranges::find(parked_, 0U, &Parked::capture);
  if (free == parked_.end()) {
    emit(*e);
    return 0;
  }
  *free = {*e, tap_.capture()};
  e->packet = nullptr;
  return static_cast<std::uint16_t>(free - parked_.begin() + 1);
}

void PathLog::resume(const Packet& p, std::uint16_t parked) {
  if (parked == 0) return;
  Parked& waiting = parked_[parked - 1U];
  if (std::exchange(waiting.capture, 0U) != tap_.capture() || !on_) return;
  waiting.entry.packet = &p;
  if (count_ == entries_.size()) return emit(waiting.entry);
  entries_[count_++] = waiting.entry;
}

void PathLog::end_pass() {
  for (std::size_t i = 0; i < count_; ++i)
    if (entries_[i].packet != nullptr) emit(entries_[i]);
  count_ = 0;
}

void PathLog::emit(Entry& e) {
  tap_.path(e.path, e.direction, e.slot, e.spi);
  e.packet = nullptr;
}

}  // namespace culvert::dp

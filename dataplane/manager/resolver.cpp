#include "dataplane/manager/resolver.hpp"

namespace culvert::dp {

Resolver::Resolver(NeighborTable& table, Rcu& rcu, Out out) : table_(table), rcu_(rcu), out_(std::move(out)) {
  table_.for_each([this](Neighbor& n) {
    if (n.pinned) progress_[&n];
  });
}

void Resolver::want(const NeighborKey& key, void* buffer, std::uint64_t now) {
  Neighbor* n = table_.add(key);
  if (n == nullptr) return out_.refused(buffer, false);
  Progress& p = progress_[n];
  switch (n->state()) {
    case NeighborState::Reachable:
      return out_.resolved(buffer);
    case NeighborState::Failed:
      return out_.refused(buffer, false);
    case NeighborState::Incomplete:
      break;
  }
  if (p.waiting.size() >= kQueuePerNeighbor || waiting_ >= kQueueTotal) {
    out_.refused(buffer, false);
  } else {
    p.waiting.push_back(buffer);
    ++waiting_;
  }
  if (p.tries == 0) step(*n, p, now);
}

void Resolver::tick(std::uint64_t now) {
  std::vector<Neighbor*> forgotten;
  for (auto& [n, p] : progress_) {
    if (n->confirmed.exchange(false)) {
      p.heard_ns = now;
      p.tries = 0;
    }
    if (n->used.exchange(false)) p.used_ns = now;
    step(*n, p, now);
    const NeighborState state = n->state();
    const bool over = (state == NeighborState::Failed && now >= p.next_ns) ||
                      (state == NeighborState::Reachable && now - std::max(p.used_ns, p.heard_ns) > kUnused);
    if (over) forgotten.push_back(n);
  }
  forget(forgotten);
}

void Resolver::forget(const std::vector<Neighbor*>& entries) {
  for (Neighbor* n : entries) {
    if (n->pinned) {
      progress_[n] = {.watched = progress_[n].watched};
      n->link.store(0, std::memory_order_release);
      continue;
    }
    progress_.erase(n);
    if (auto removed = table_.remove(*n)) rcu_.defer(std::move(removed));
  }
}

void Resolver::renew(std::uint16_t port, std::uint64_t now) {
  std::vector<Neighbor*> forgotten;
  for (auto& [n, p] : progress_) {
    if (n->key.port != port || n->state() == NeighborState::Incomplete) continue;
    if (n->used.exchange(false)) p.used_ns = now;
    if (!p.waiting.empty()) flush(p);
    if (n->state() == NeighborState::Failed || p.used_ns == 0 || now - p.used_ns > kReachable) {
      forgotten.push_back(n);
      continue;
    }
    n->confirmed.exchange(false);  // of before
    p.heard_ns = 0;
    p.used_ns = now;
    p.tries = 1;
    p.next_ns = now + kProbe;
    out_.ask(n->key);
  }
  forget(forgotten);
}

void Resolver::step(Neighbor& n, Progress& p, std::uint64_t now) {
  switch (n.state()) {
    case NeighborState::Failed:
      return;
    case NeighborState::Reachable:
      if (!p.waiting.empty()) flush(p);
      if (now - p.heard_ns <= (p.watched ? kWatched : kReachable) || (!p.watched && p.used_ns < p.heard_ns))
        return;  // fresh, or not in use
      break;
    case NeighborState::Incomplete:
      if (n.pinned && !p.watched && p.tries == 0 && p.waiting.empty()) return;  // nobody wants it
      break;
  }
  if (p.tries != 0 && now < p.next_ns) return;
  if (p.tries >= kTries) return fail(n, p, now);
  ++p.tries;
  p.next_ns = now + (n.state() == NeighborState::Reachable ? kProbe : kRetry);
  out_.ask(n.key);
}

void Resolver::fail(Neighbor& n, Progress& p, std::uint64_t now) {
  // A worker may have heard from it in this moment: its word stands.
  std::uint64_t link = n.link.load();
  if (n.confirmed.load() || !n.link.compare_exchange_strong(link, Neighbor::encode(NeighborState::Failed, {}))) return;
  p.next_ns = now + kFailedHold;
  p.tries = 0;
  for (void* buffer : p.waiting) out_.refused(buffer, true);
  waiting_ -= p.waiting.size();
  p.waiting.clear();
}

void Resolver::flush(Progress& p) {
  for (void* buffer : p.waiting) out_.resolved(buffer);
  waiting_ -= p.waiting.size();
  p.waiting.clear();
  p.tries = 0;
}

void Resolver::give_up() {
  for (auto& [n, p] : progress_) {
    for (void* buffer : p.waiting) out_.refused(buffer, false);
    p.waiting.clear();
  }
  waiting_ = 0;
}

}  // namespace culvert::dp

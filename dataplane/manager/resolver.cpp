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
  if (p.tries == 0) step({n, n->link.load()}, p, now);
}

void Resolver::tick(std::uint64_t now) {
  std::vector<Seen> forgotten;
  for (auto& [n, p] : progress_) {
    const Seen seen{n, n->link.load()};  // first: what makes it usable has confirmed it
    if (n->confirmed.exchange(false)) {
      p.heard_ns = now;
      p.tries = 0;
    }
    if (n->used.exchange(false)) p.used_ns = now;
    step(seen, p, now);
    const bool over = (seen.state() == NeighborState::Failed && now >= p.next_ns) ||
                      (seen.state() == NeighborState::Reachable && now - std::max(p.used_ns, p.heard_ns) > kUnused);
    if (over) forgotten.push_back(seen);
  }
  forget(forgotten);
}

/// Nothing waits for these: they are usable, or have failed.
void Resolver::forget(const std::vector<Seen>& entries) {
  for (const Seen& seen : entries) {
    if (seen.n->pinned) {
      if (seen.n->become(NeighborState::Incomplete, seen.link)) progress_[seen.n] = {.watched = progress_[seen.n].watched};
      continue;
    }
    progress_.erase(seen.n);
    if (auto removed = table_.remove(*seen.n)) rcu_.defer(std::move(removed));
  }
}

void Resolver::renew(std::uint16_t port, std::uint64_t now) {
  std::vector<Seen> forgotten;
  for (auto& [n, p] : progress_) {
    const Seen seen{n, n->link.load()};
    if (n->key.port != port || seen.state() == NeighborState::Incomplete) continue;
    n->confirmed.exchange(false);  // of before
    if (n->used.exchange(false)) p.used_ns = now;
    if (!p.waiting.empty()) flush(p);
    if (seen.state() == NeighborState::Failed || p.used_ns == 0 || now - p.used_ns > kReachable) {
      forgotten.push_back(seen);
      continue;
    }
    p.heard_ns = 0;
    p.used_ns = now;
    p.tries = 1;
    p.next_ns = now + kProbe;
    out_.ask(n->key);
  }
  forget(forgotten);
}

void Resolver::step(const Seen& seen, Progress& p, std::uint64_t now) {
  switch (seen.state()) {
    case NeighborState::Failed:
      return;
    case NeighborState::Reachable:
      if (!p.waiting.empty()) flush(p);
      if (now - p.heard_ns <= (p.watched ? kWatched : kReachable) || (!p.watched && p.used_ns < p.heard_ns))
        return;  // fresh, or not in use
      break;
    case NeighborState::Incomplete:
      if (seen.n->pinned && !p.watched && p.tries == 0 && p.waiting.empty()) return;  // nobody wants it
      break;
  }
  if (p.tries != 0 && now < p.next_ns) return;
  if (p.tries >= kTries) return fail(seen, p, now);
  ++p.tries;
  p.next_ns = now + (seen.state() == NeighborState::Reachable ? kProbe : kRetry);
  out_.ask(seen.n->key);
}

void Resolver::fail(const Seen& seen, Progress& p, std::uint64_t now) {
  if (!seen.n->become(NeighborState::Failed, seen.link)) return;
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

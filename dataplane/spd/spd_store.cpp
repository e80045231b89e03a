#include "dataplane/spd/spd_store.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "dataplane/spd/classifier.hpp"

namespace culvert::dp {

void SpdStore::install(const shm::InstallPolicy& policy) {
  const std::uint32_t number = policy.policy.value;
  const auto there = policies_.find(number);
  const std::uint64_t made = there != policies_.end() && there->second.policy ? there->second.policy->made : ++made_;
  take_out(number);
  Policy ready = prepare(policy, made, *pool_);
  exhausted_ |= ready == nullptr;
  const bool rows = ready && number > shm::kConfiguredPolicies && !ready->rules.empty() && add_rows(*ready);
  put(number, {std::move(ready), rows});
}

bool SpdStore::remove(PolicyId policy) {
  if (!policies_.contains(policy.value)) return false;
  take_out(policy.value);
  return true;
}

void SpdStore::keep(const std::set<std::uint32_t>& numbers) {
  std::vector<std::uint32_t> others;
  for (const auto& [number, held] : policies_)
    if (!numbers.contains(number)) others.push_back(number);
  for (const std::uint32_t number : others) take_out(number);
}

const shm::InstallPolicy* SpdStore::find(PolicyId policy) const {
  const auto there = policies_.find(policy.value);
  return there == policies_.end() || !there->second.policy ? nullptr : &there->second.policy->policy;
}

std::expected<std::unique_ptr<Spd>, std::string> SpdStore::snapshot() {
  auto classifier = classifier_up_to_date();
  if (!classifier) {
    roll_back();
    return std::unexpected(classifier.error());
  }
  classifier_ = std::move(*classifier);
  stale_ = false;
  before_.clear();
  rows_before_ = rows_;
  return std::unique_ptr<Spd>(new Spd(pool_, classifier_, rows_.v4, rows_.v6));
}

std::expected<std::shared_ptr<const Classifier>, std::string> SpdStore::classifier_up_to_date() {
  if (exhausted_) return std::unexpected(std::string("policies: too many selectors"));
  if (!stale_) return classifier_;
  std::vector<Policy> order;
  for (const auto& [number, held] : policies_)
    if (!held.rows) order.push_back(held.policy);
  std::ranges::sort(order, {}, [](const Policy& p) { return p->rank(); });
  auto built = classifier_of(order);
  if (!built) return std::unexpected(built.error());
  Classifier& out = **built;
  for (const Interface& tunnel : tunnels_) {
    const auto bound_of = [&](Family family) {
      const auto bound = std::ranges::find_if(
          order, [&](const Policy& p) { return p->policy.tunnel.view() == tunnel.name && p->policy.local_ts.first.family == family; });
      SpdEntry entry{{}, shm::PolicyAction::Discard, false, false, {}};
      SpdRank rank;
      if (bound != order.end()) {
        const shm::InstallPolicy& p = (*bound)->policy;
        entry = {p.policy, p.action, p.acquire, false, {}};
        rank = (*bound)->rank();
      }
      EntryRef taken = pool_->take(entry, rank);
      return taken ? out.entries.emplace_back(std::move(taken))->value : 0;
    };
    const Classifier::Bound& numbers = out.tunnels.emplace_back(Classifier::Bound{bound_of(Family::V4), bound_of(Family::V6)});
    if (numbers.v4 == 0 || numbers.v6 == 0) return std::unexpected(std::string("policies: too many selectors"));
  }
  ++classifiers_;
  return std::shared_ptr<const Classifier>(std::move(*built));
}

/// Before the first change of a policy.
void SpdStore::note(std::uint32_t number) {
  const auto there = policies_.find(number);
  before_.try_emplace(number, there == policies_.end() ? Held{} : there->second);
}

void SpdStore::put(std::uint32_t number, Held held) {
  note(number);
  stale_ |= !held.rows;
  policies_[number] = std::move(held);
}

void SpdStore::take_out(std::uint32_t number) {
  const auto there = policies_.find(number);
  if (there == policies_.end()) return;
  note(number);
  if (there->second.rows) {
    remove_rows(*there->second.policy);
  } else {
    stale_ = true;
  }
  policies_.erase(there);
}

bool SpdStore::add_rows(const SpdPolicy& policy) {
  if (!rows_.v4.add(policy)) return false;
  if (rows_.v6.add(policy)) return true;
  rows_.v4.remove(policy);
  return false;
}

void SpdStore::remove_rows(const SpdPolicy& policy) {
  rows_.v4.remove(policy);
  rows_.v6.remove(policy);
}

void SpdStore::roll_back() {
  for (auto& [number, held] : before_) {
    policies_.erase(number);
    if (held.policy) policies_.emplace(number, std::move(held));
  }
  before_.clear();
  rows_ = rows_before_;
  exhausted_ = false;
  stale_ = classifier_ == nullptr;
}

}  // namespace culvert::dp

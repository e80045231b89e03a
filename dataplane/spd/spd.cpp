#include "dataplane/spd/spd.hpp"

#include <algorithm>
#include <array>

#include <rte_acl.h>

#include "dataplane/spd/spd_store.hpp"

namespace culvert::dp {

namespace {
bool sound(const TrafficSelector& ts) { return ts.first.family == ts.last.family && ts.first <= ts.last && ts.port_first <= ts.port_last; }
}  // namespace

shm::AckResult Spd::check(const shm::InstallPolicy& p) {
  const TrafficSelector& l = p.local_ts;
  const TrafficSelector& r = p.remote_ts;
  if (p.action > shm::PolicyAction::Protect || !p.more.sound() || !sound(l) || !sound(r) || !can_pair(l, r))
    return shm::AckResult::BadMessage;
  if (!std::ranges::all_of(p.more.local(), sound) || !std::ranges::all_of(p.more.remote(), sound)) return shm::AckResult::BadMessage;
  const auto carried = [](const TrafficSelector& ts) { return ts.first.family == Family::V4 || ts.first.family == Family::V6; };
  if (!carried(l) || !std::ranges::all_of(p.more.local(), carried) || !std::ranges::all_of(p.more.remote(), carried))
    return shm::AckResult::Unsupported;
  std::size_t rules = 0;
  for (const SelectorPair& pair : pairs_of(p)) rules += prefixes(pair.local).size() * prefixes(pair.remote).size();
  return rules <= kMaxRules ? shm::AckResult::Ok : shm::AckResult::Unsupported;
}

std::expected<std::unique_ptr<Spd>, std::string> Spd::build(std::span<const shm::InstallPolicy> policies,
                                                            std::span<const Interface> tunnels) {
  SpdStore store(tunnels);
  for (const shm::InstallPolicy& p : policies) store.install(p);
  return store.snapshot();
}

Spd::Spd(std::shared_ptr<const EntryPool> pool, std::shared_ptr<const Classifier> classifier, const PeerRows<FlowKey>& v4,
         const PeerRows<FlowKeyV6>& v6)
    : entries_(pool->entries()), pool_(std::move(pool)), classifier_(std::move(classifier)), v4_(v4), v6_(v6) {
  static std::atomic<std::uint64_t> serial{0};
  serial_ = ++serial;
}

Classifier::~Classifier() {
  rte_acl_free(v4);
  rte_acl_free(v6);
}

template <class Key>
void Spd::classify(const rte_acl_ctx* acl, std::span<const Key> keys, std::span<std::uint32_t> out) {
  if (acl == nullptr) {
    std::fill(out.begin(), out.end(), 0);
    return;
  }
  std::array<const std::uint8_t*, kBurstMax> data;
  const auto n = static_cast<std::uint32_t>(std::min(keys.size(), kBurstMax));
  for (std::uint32_t i = 0; i < n; ++i) data[i] = reinterpret_cast<const std::uint8_t*>(&keys[i]);
  rte_acl_classify(acl, data.data(), out.data(), n, 1);
}
template void Spd::classify(const rte_acl_ctx*, std::span<const FlowKey>, std::span<std::uint32_t>);
template void Spd::classify(const rte_acl_ctx*, std::span<const FlowKeyV6>, std::span<std::uint32_t>);

}  // namespace culvert::dp

#include "dataplane/spd/spd.hpp"

#include <algorithm>
#include <bit>
#include <tuple>

#include <rte_acl.h>
#include <rte_errno.h>

namespace culvert::dp {

namespace {
constexpr unsigned kFields = 6;
constexpr std::uint32_t kPortsHidden = 0x00010000;  // in the key's first four bytes, as a number in network byte order
RTE_ACL_RULE_DEF(Rule, kFields);

struct V4Prefix {
  std::uint32_t address;
  std::uint32_t length;
};

/// The prefixes that make up a range, at most 62.
std::vector<V4Prefix> prefixes(std::uint32_t first, std::uint32_t last) {
  std::vector<V4Prefix> out;
  std::uint64_t at = first;
  while (at <= last) {
    const std::uint64_t aligned = at == 0 ? std::uint64_t{1} << 32 : at & -at;
    const std::uint64_t size = std::min(aligned, std::bit_floor(std::uint64_t{last} - at + 1));
    out.push_back({static_cast<std::uint32_t>(at), 32 - static_cast<std::uint32_t>(std::countr_zero(size))});
    at += size;
  }
  return out;
}

void define_fields(rte_acl_config& config) {
  config.num_categories = 1;
  config.num_fields = kFields;
  config.defs[0] = {RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, FlowKey::kProtocolAt};
  // The first field must be one byte, all others come in fours: the mark is reached by looking at the protocol's four again.
  config.defs[1] = {RTE_ACL_FIELD_TYPE_BITMASK, 4, 1, 1, FlowKey::kProtocolAt};
  config.defs[2] = {RTE_ACL_FIELD_TYPE_MASK, 4, 2, 2, FlowKey::kSourceAt};
  config.defs[3] = {RTE_ACL_FIELD_TYPE_MASK, 4, 3, 3, FlowKey::kDestinationAt};
  config.defs[4] = {RTE_ACL_FIELD_TYPE_RANGE, 2, 4, 4, FlowKey::kSourcePortAt};
  config.defs[5] = {RTE_ACL_FIELD_TYPE_RANGE, 2, 5, 4, FlowKey::kDestinationPortAt};
}

/// Which packets a rule is for: those with their ports in sight, those that hide them, or all.
enum class Ports : std::uint8_t { Seen, Hidden, Either };

/// Hidden ones are matched whatever ports the policy names.
std::vector<Rule> rules_of(const shm::InstallPolicy& policy, Ports ports, std::uint32_t entry, std::int32_t priority) {
  const TrafficSelector& l = policy.local_ts;
  const TrafficSelector& r = policy.remote_ts;
  const std::uint8_t protocol = l.protocol != 0 ? l.protocol : r.protocol;
  std::vector<Rule> out;
  for (const V4Prefix& source : prefixes(l.first.v4_host(), l.last.v4_host()))
    for (const V4Prefix& destination : prefixes(r.first.v4_host(), r.last.v4_host())) {
      Rule rule{};
      rule.data = {1, priority, entry + 1};  // 0 means "no match"
      rule.field[0].value.u8 = protocol;
      rule.field[0].mask_range.u8 = protocol == 0 ? 0 : 0xff;
      rule.field[1].value.u32 = ports == Ports::Hidden ? kPortsHidden : 0;
      rule.field[1].mask_range.u32 = ports == Ports::Either ? 0 : kPortsHidden;
      rule.field[2].value.u32 = source.address;
      rule.field[2].mask_range.u32 = source.length;
      rule.field[3].value.u32 = destination.address;
      rule.field[3].mask_range.u32 = destination.length;
      rule.field[4].value.u16 = ports == Ports::Hidden ? std::uint16_t{0} : l.port_first;
      rule.field[4].mask_range.u16 = ports == Ports::Hidden ? std::uint16_t{0xffff} : l.port_last;
      rule.field[5].value.u16 = ports == Ports::Hidden ? std::uint16_t{0} : r.port_first;
      rule.field[5].mask_range.u16 = ports == Ports::Hidden ? std::uint16_t{0xffff} : r.port_last;
      out.push_back(rule);
    }
  return out;
}

bool sound(const TrafficSelector& ts) { return ts.first.family == ts.last.family && ts.first <= ts.last && ts.port_first <= ts.port_last; }
}  // namespace

shm::AckResult Spd::check(const shm::InstallPolicy& p) {
  const TrafficSelector& l = p.local_ts;
  const TrafficSelector& r = p.remote_ts;
  if (p.action > shm::PolicyAction::Protect || !sound(l) || !sound(r) || l.first.family != r.first.family)
    return shm::AckResult::BadMessage;
  if (l.protocol != 0 && r.protocol != 0 && l.protocol != r.protocol) return shm::AckResult::BadMessage;
  if (l.first.family != Family::V4) return shm::AckResult::Unsupported;
  const std::size_t rules = prefixes(l.first.v4_host(), l.last.v4_host()).size() * prefixes(r.first.v4_host(), r.last.v4_host()).size();
  return rules <= kMaxRules ? shm::AckResult::Ok : shm::AckResult::Unsupported;
}

std::expected<std::unique_ptr<Spd>, std::string> Spd::build(std::span<const shm::InstallPolicy> policies,
                                                            std::span<const Interface> tunnels) {
  static std::atomic<std::uint64_t> serial{0};
  std::unique_ptr<Spd> spd(new Spd(++serial));
  std::vector<const shm::InstallPolicy*> order;
  for (const auto& p : policies) order.push_back(&p);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::tuple(a->priority, a->order, a->policy.value) < std::tuple(b->priority, b->order, b->policy.value);
  });
  for (const Interface& tunnel : tunnels) {
    const auto bound = std::ranges::find(order, tunnel.name, [](const auto* p) { return p->tunnel.view(); });
    spd->tunnels_.push_back(spd->add(bound == order.end() ? SpdEntry{{}, shm::PolicyAction::Discard, false, false, {}}
                                                          : SpdEntry{(*bound)->policy, (*bound)->action, (*bound)->acquire, false, {}}));
  }
  std::vector<Rule> rules;
  for (const shm::InstallPolicy* p : order) {
    if (!p->tunnel.view().empty()) continue;
    // The classifier lets the larger number win, and says nothing of equal ones: every policy has its own.
    const auto add = [&](Ports ports, const SpdEntry& entry) {
      const auto index = static_cast<std::uint32_t>(spd->entries_.size());
      const auto more = rules_of(*p, ports, index, static_cast<std::int32_t>(RTE_ACL_MAX_PRIORITY - index));
      rules.insert(rules.end(), more.begin(), more.end());
      spd->add(entry);
    };
    const bool any_port = p->local_ts.any_port() && p->remote_ts.any_port();
    const auto overlap = [](const TrafficSelector& a, const TrafficSelector& b) { return a.first <= b.last && b.first <= a.last; };
    add(any_port ? Ports::Either : Ports::Seen,
        {p->policy, p->action, p->acquire, overlap(p->local_ts, p->remote_ts), PreparedSelector::from(p->local_ts)});
    if (!any_port) add(Ports::Hidden, {p->policy, shm::PolicyAction::Discard, false, false, {}});
  }
  if (rules.empty()) return spd;
  const std::string name = "spd" + std::to_string(spd->serial());
  rte_acl_param param{name.c_str(), SOCKET_ID_ANY, RTE_ACL_RULE_SZ(kFields), static_cast<std::uint32_t>(rules.size())};
  spd->acl_ = rte_acl_create(&param);
  if (spd->acl_ == nullptr) return std::unexpected(std::string("policies: ") + rte_strerror(rte_errno));
  rte_acl_config config{};
  define_fields(config);
  int rc = rte_acl_add_rules(spd->acl_, reinterpret_cast<const rte_acl_rule*>(rules.data()), param.max_rule_num);
  if (rc == 0) rc = rte_acl_build(spd->acl_, &config);
  if (rc != 0) return std::unexpected(std::string("policies: ") + rte_strerror(-rc));
  return spd;
}

Spd::~Spd() { rte_acl_free(acl_); }

void Spd::lookup(std::span<const FlowKey> keys, std::span<std::uint32_t> out) const {
  if (acl_ == nullptr) {
    std::fill(out.begin(), out.end(), 0);
    return;
  }
  std::array<const std::uint8_t*, kBurstMax> data;
  const auto n = static_cast<std::uint32_t>(std::min(keys.size(), kBurstMax));
  for (std::uint32_t i = 0; i < n; ++i) data[i] = reinterpret_cast<const std::uint8_t*>(&keys[i]);
  rte_acl_classify(acl_, data.data(), out.data(), n, 1);
}

}  // namespace culvert::dp

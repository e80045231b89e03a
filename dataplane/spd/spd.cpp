#include "dataplane/spd/spd.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include <rte_acl.h>
#include <rte_errno.h>

namespace culvert::dp {

namespace {
__extension__ using U128 = unsigned __int128;
// In the key's first four bytes, as a number in network byte order.
constexpr std::uint32_t kPortsHidden = 0x00010000, kVrfMask = 0x0000ff00;
constexpr unsigned kVrfShift = 8;

/// What the classifier reads of a family's keys: protocol, mark and VRF, the words of both addresses, both ports.
template <class Key, unsigned kWords>
struct Layout {
  static constexpr unsigned kAddressWords = kWords, kFields = 4 + 2 * kWords;
  RTE_ACL_RULE_DEF(Rule, 4 + 2 * kWords);

  static void define(rte_acl_config& config) {
    config.num_categories = 1;
    config.num_fields = kFields;
    std::uint8_t n = 0;
    const auto field = [&](std::uint8_t type, std::uint8_t size, std::uint8_t input, std::uint32_t at) {
      config.defs[n] = {type, size, n, input, at};
      ++n;
    };
    field(RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, Key::kProtocolAt);
    // The first field must be one byte, all others come in fours: mark and VRF are reached by looking at the protocol's four again.
    field(RTE_ACL_FIELD_TYPE_BITMASK, 4, 1, Key::kProtocolAt);
    for (std::uint32_t w = 0; w < 2 * kWords; ++w)  // the destination stands behind the source
      field(RTE_ACL_FIELD_TYPE_MASK, 4, n, Key::kSourceAt + 4 * w);
    field(RTE_ACL_FIELD_TYPE_RANGE, 2, n, Key::kSourcePortAt);
    field(RTE_ACL_FIELD_TYPE_RANGE, 2, static_cast<std::uint8_t>(n - 1), Key::kDestinationPortAt);
  }
};
using LayoutV4 = Layout<FlowKey, 1>;
using LayoutV6 = Layout<FlowKeyV6, 4>;

struct NumberPrefix {
  U128 address;  ///< of IPv4 in the lowest bits
  unsigned length;
};

U128 number(const IpAddress& a) {
  U128 out = 0;
  for (const std::uint8_t b : a.view()) out = out << 8 | b;
  return out;
}

/// The prefixes that make up a range of one family: at most 62, or 254.
std::vector<NumberPrefix> prefixes(const TrafficSelector& ts) {
  const unsigned width = static_cast<unsigned>(ts.first.size()) * 8;
  const U128 last = number(ts.last);
  std::vector<NumberPrefix> out;
  for (U128 at = number(ts.first);;) {
    // As many host bits as are 0 in `at`, and lead no further than `last`.
    unsigned host = 0;
    U128 end = at;
    const auto until = [&](unsigned bits) -> U128 { return at | ((U128{2} << (bits - 1)) - 1); };
    while (host < width && (at >> host & 1) == 0 && until(host + 1) <= last) end = until(++host);
    out.push_back({at, width - host});
    if (end >= last) return out;
    at = end + 1;
  }
}

struct SelectorPair {
  TrafficSelector local, remote;
  [[nodiscard]] bool any_port() const { return local.any_port() && remote.any_port(); }
  [[nodiscard]] bool overlaps() const { return local.first <= remote.last && remote.first <= local.last; }
};
/// Those between which there can be packets, the ones without ports first: a fragment that one of those means must not meet the Discard of
/// the others.
std::vector<SelectorPair> pairs_of(const shm::InstallPolicy& p) {
  std::vector<TrafficSelector> local{p.local_ts}, remote{p.remote_ts};
  local.insert(local.end(), p.more.local().begin(), p.more.local().end());
  remote.insert(remote.end(), p.more.remote().begin(), p.more.remote().end());
  std::vector<SelectorPair> out;
  for (const TrafficSelector& l : local)
    for (const TrafficSelector& r : remote)
      if (can_pair(l, r)) out.push_back({l, r});
  std::ranges::stable_partition(out, &SelectorPair::any_port);
  return out;
}

/// Which packets a rule is for: those with their ports in sight, those that hide them, or all.
enum class Ports : std::uint8_t { Seen, Hidden, Either };

/// Hidden ones are matched whatever ports the policy names.
template <class L>
void add_rules(std::vector<typename L::Rule>& out, const SelectorPair& pair, VrfId vrf, Ports ports, std::uint32_t entry,
               std::int32_t priority) {
  const auto& [l, r] = pair;
  const std::uint8_t protocol = l.protocol != 0 ? l.protocol : r.protocol;
  constexpr unsigned kWords = L::kAddressWords;
  const auto put = [](rte_acl_field* to, const NumberPrefix& prefix) {
    for (unsigned w = 0; w < kWords; ++w) {
      to[w].value.u32 = static_cast<std::uint32_t>(prefix.address >> (32 * (kWords - 1 - w)));
      to[w].mask_range.u32 = prefix.length <= 32 * w ? 0 : std::min(prefix.length - 32 * w, 32U);
    }
  };
  const auto range = [&](rte_acl_field& to, std::uint16_t first, std::uint16_t last) {
    to.value.u16 = ports == Ports::Hidden ? std::uint16_t{0} : first;
    to.mask_range.u16 = ports == Ports::Hidden ? std::uint16_t{0xffff} : last;
  };
  for (const NumberPrefix& source : prefixes(l))
    for (const NumberPrefix& destination : prefixes(r)) {
      typename L::Rule rule{};
      rule.data = {1, priority, entry + 1};  // 0 means "no match"
      rule.field[0].value.u8 = protocol;
      rule.field[0].mask_range.u8 = protocol == 0 ? 0 : 0xff;
      rule.field[1].value.u32 = (ports == Ports::Hidden ? kPortsHidden : 0) | std::uint32_t{vrf} << kVrfShift;
      rule.field[1].mask_range.u32 = kVrfMask | (ports == Ports::Either ? 0 : kPortsHidden);
      put(rule.field + 2, source);
      put(rule.field + 2 + kWords, destination);
      range(rule.field[2 + 2 * kWords], l.port_first, l.port_last);
      range(rule.field[3 + 2 * kWords], r.port_first, r.port_last);
      out.push_back(rule);
    }
}

/// nullptr: there are no rules.
template <class L>
std::expected<rte_acl_ctx*, std::string> make_acl(const std::string& name, const std::vector<typename L::Rule>& rules) {
  if (rules.empty()) return nullptr;
  rte_acl_param param{name.c_str(), SOCKET_ID_ANY, RTE_ACL_RULE_SZ(L::kFields), static_cast<std::uint32_t>(rules.size())};
  rte_acl_ctx* acl = rte_acl_create(&param);
  if (acl == nullptr) return std::unexpected(std::string("policies: ") + rte_strerror(rte_errno));
  rte_acl_config config{};
  L::define(config);
  int rc = rte_acl_add_rules(acl, reinterpret_cast<const rte_acl_rule*>(rules.data()), param.max_rule_num);
  if (rc == 0) rc = rte_acl_build(acl, &config);
  if (rc == 0) return acl;
  rte_acl_free(acl);
  return std::unexpected(std::string("policies: ") + rte_strerror(-rc));
}

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
  static std::atomic<std::uint64_t> serial{0};
  std::unique_ptr<Spd> spd(new Spd(++serial));
  std::vector<const shm::InstallPolicy*> order;
  for (const auto& p : policies) order.push_back(&p);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::tuple(a->priority, a->order, a->policy.value) < std::tuple(b->priority, b->order, b->policy.value);
  });
  for (const Interface& tunnel : tunnels) {
    const auto bound_of = [&](Family family) {
      const auto bound =
          std::ranges::find_if(order, [&](const auto* p) { return p->tunnel.view() == tunnel.name && p->local_ts.first.family == family; });
      if (bound == order.end()) return spd->add({{}, shm::PolicyAction::Discard, false, false, {}});
      return spd->add({(*bound)->policy, (*bound)->action, (*bound)->acquire, false, {}});
    };
    spd->tunnels_.push_back({bound_of(Family::V4), bound_of(Family::V6)});
  }
  std::vector<LayoutV4::Rule> v4;
  std::vector<LayoutV6::Rule> v6;
  for (const shm::InstallPolicy* p : order) {
    if (!p->tunnel.view().empty()) continue;
    // The classifier lets the larger number win, and says nothing of equal ones: every entry has its own.
    const auto add = [&](const SelectorPair& pair, Ports ports, std::uint32_t number) {
      const std::uint32_t index = number - 1;
      const auto priority = static_cast<std::int32_t>(RTE_ACL_MAX_PRIORITY - index);
      if (pair.local.first.family == Family::V4) {
        add_rules<LayoutV4>(v4, pair, p->vrf, ports, index, priority);
      } else {
        add_rules<LayoutV6>(v6, pair, p->vrf, ports, index, priority);
      }
    };
    const std::vector<SelectorPair> pairs = pairs_of(*p);
    std::array<std::uint32_t, 2> shared{};  // what no side decides about: entries without ports, and with them
    for (const SelectorPair& pair : pairs) {
      std::uint32_t number = pair.overlaps() ? 0 : shared[pair.any_port() ? 0 : 1];
      if (number == 0)
        number =
            spd->add({p->policy, p->action, p->acquire, pair.overlaps(), PreparedSelector::from(pair.local), RangeV6::from(pair.local)});
      if (!pair.overlaps()) shared[pair.any_port() ? 0 : 1] = number;
      add(pair, pair.any_port() ? Ports::Either : Ports::Seen, number);
    }
    if (!pairs.back().any_port()) {
      const std::uint32_t number = spd->add({p->policy, shm::PolicyAction::Discard, false, false, {}});
      for (const SelectorPair& pair : pairs)
        if (!pair.any_port()) add(pair, Ports::Hidden, number);
    }
  }
  if (spd->entries_.size() > kMaxEntries) return std::unexpected(std::string("policies: too many selectors"));
  const auto acl_v4 = make_acl<LayoutV4>("spd" + std::to_string(spd->serial()), v4);
  if (!acl_v4) return std::unexpected(acl_v4.error());
  spd->v4_ = *acl_v4;
  const auto acl_v6 = make_acl<LayoutV6>("spd6_" + std::to_string(spd->serial()), v6);
  if (!acl_v6) return std::unexpected(acl_v6.error());
  spd->v6_ = *acl_v6;
  return spd;
}

Spd::~Spd() {
  rte_acl_free(v4_);
  rte_acl_free(v6_);
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

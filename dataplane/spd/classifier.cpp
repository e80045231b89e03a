#include "dataplane/spd/classifier.hpp"

#include <algorithm>
#include <atomic>

#include <rte_acl.h>
#include <rte_errno.h>

namespace culvert::dp {

namespace {
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

/// Hidden ones are matched whatever ports the policy names.
template <class L>
void add_rules(std::vector<typename L::Rule>& out, const SpdRule& spd_rule, VrfId vrf, std::int32_t priority) {
  const auto& [l, r] = spd_rule.pair;
  const Ports ports = spd_rule.ports;
  const std::uint8_t protocol = spd_rule.pair.protocol();
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
      rule.data = {1, priority, spd_rule.entry->value};  // 0 means "no match"
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
}  // namespace

std::expected<std::shared_ptr<Classifier>, std::string> classifier_of(std::span<const std::shared_ptr<const SpdPolicy>> order) {
  static std::atomic<std::uint64_t> serial{0};
  auto out = std::make_shared<Classifier>();
  std::vector<LayoutV4::Rule> v4;
  std::vector<LayoutV6::Rule> v6;
  // The larger number wins, and nothing is said of equal ones: every entry has its own.
  std::int32_t priority = RTE_ACL_MAX_PRIORITY;
  for (const auto& p : order) {
    std::vector<SpdRule> rules = p->rules;
    std::ranges::stable_sort(rules, [](const SpdRule& a, const SpdRule& b) { return a.entry->rank() < b.entry->rank(); });
    for (const SpdRule& rule : rules) {
      if (out->entries.empty() || out->entries.back() != rule.entry) {
        out->entries.push_back(rule.entry);
        --priority;
      }
      if (rule.pair.local.first.family == Family::V4) {
        add_rules<LayoutV4>(v4, rule, p->policy.vrf, priority);
      } else {
        add_rules<LayoutV6>(v6, rule, p->policy.vrf, priority);
      }
    }
  }
  const std::string number = std::to_string(++serial);
  const auto acl_v4 = make_acl<LayoutV4>("spd" + number, v4);
  if (!acl_v4) return std::unexpected(acl_v4.error());
  out->v4 = *acl_v4;
  const auto acl_v6 = make_acl<LayoutV6>("spd6_" + number, v6);
  if (!acl_v6) return std::unexpected(acl_v6.error());
  out->v6 = *acl_v6;
  return out;
}

}  // namespace culvert::dp

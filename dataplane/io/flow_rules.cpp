#include "dataplane/io/flow_rules.hpp"

#include <utility>

#include <rte_errno.h>
#include <rte_flow.h>
#include <spdlog/spdlog.h>

namespace culvert::dp {

namespace {
std::size_t kind_of(const SteeredSa& sa) { return (sa.outer == Family::V6 ? 1U : 0U) + (sa.udp ? 2U : 0U) + (sa.vlan != 0 ? 4U : 0U); }
const char* name_of(const SteeredSa& sa) {
  constexpr std::array names{
      "ESP over IPv4",           "ESP over IPv6",           "ESP in UDP over IPv4",           "ESP in UDP over IPv6",
      "ESP over IPv4 in a VLAN", "ESP over IPv6 in a VLAN", "ESP in UDP over IPv4 in a VLAN", "ESP in UDP over IPv6 in a VLAN"};
  return names[kind_of(sa)];
}

/// Ethernet, perhaps a tag, IP, perhaps UDP, ESP with this SPI: to that queue. What a driver makes of it is for one call only.
struct Wish {
  rte_flow_attr attributes{};
  rte_flow_item_esp esp{}, esp_mask{};
  rte_flow_action_queue queue{};
  rte_flow_item_vlan tag{}, tag_mask{};
  std::array<rte_flow_item, 6> pattern{};
  std::array<rte_flow_action, 2> actions{};

  explicit Wish(const SteeredSa& sa) {
    attributes.ingress = 1;
    esp.hdr.spi = __builtin_bswap32(sa.spi.value);
    esp_mask.hdr.spi = UINT32_MAX;
    queue.index = sa.queue;
    std::size_t n = 0;
    pattern[n++].type = RTE_FLOW_ITEM_TYPE_ETH;
    if (sa.vlan != 0) {
      constexpr std::uint16_t kId = 0x0fff;  // of the tag's 16 bits (IEEE 802.1Q §9.6)
      tag.hdr.vlan_tci = __builtin_bswap16(sa.vlan);
      tag_mask.hdr.vlan_tci = __builtin_bswap16(kId);
      pattern[n].type = RTE_FLOW_ITEM_TYPE_VLAN;
      pattern[n].spec = &tag;
      pattern[n++].mask = &tag_mask;
    }
    pattern[n++].type = sa.outer == Family::V6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4;
    // Of any port: an SPI is ours alone, and what is taken for it by mistake only goes to another queue.
    if (sa.udp) pattern[n++].type = RTE_FLOW_ITEM_TYPE_UDP;
    pattern[n].type = RTE_FLOW_ITEM_TYPE_ESP;
    pattern[n].spec = &esp;
    pattern[n++].mask = &esp_mask;
    pattern[n].type = RTE_FLOW_ITEM_TYPE_END;
    actions[0].type = RTE_FLOW_ACTION_TYPE_QUEUE;
    actions[0].conf = &queue;
    actions[1].type = RTE_FLOW_ACTION_TYPE_END;
  }
  Wish(const Wish&) = delete;
  Wish& operator=(const Wish&) = delete;
};
}  // namespace

/// nullptr: refused.
rte_flow* FlowRules::make(const SteeredSa& sa) {
  Answer& answer = answers_[kind_of(sa)];
  if (answer == Answer::Refuses) return nullptr;
  const Wish wish(sa);
  rte_flow_error error{};
  if (answer == Answer::NotAsked) {
    const int rc = rte_flow_validate(port_, &wish.attributes, wish.pattern.data(), wish.actions.data(), &error);
    answer = rc == 0 ? Answer::Takes : Answer::Refuses;
    if (rc == 0)
      spdlog::info("port {}: the device brings {} to its SA's worker, by the SPI", name_, name_of(sa));
    else
      spdlog::info("port {}: the device takes no rules for {} by SPI ({}): workers hand over what is not theirs", name_, name_of(sa),
                   error.message != nullptr ? error.message : rte_strerror(-rc));
    if (rc != 0) return nullptr;
  }
  return rte_flow_create(port_, &wish.attributes, wish.pattern.data(), wish.actions.data(), &error);
}

void FlowRules::add(const SteeredSa& sa) {
  if (rules_.contains(sa.spi.value)) return;
  const bool room = !full_ && rules_.size() < kMax;
  rte_flow* flow = room && !suspended_ ? make(sa) : nullptr;
  if (flow != nullptr || (room && suspended_)) {
    rules_.emplace(sa.spi.value, Rule{sa, flow});
    return;
  }
  ++refused_;
  if (answers_[kind_of(sa)] != Answer::Takes || full_) return;
  full_ = true;
  spdlog::info("port {}: the device has room for {} rules by SPI; workers hand over what of other SAs is not theirs", name_, rules_.size());
}

void FlowRules::remove(Spi spi) {
  const auto found = rules_.find(spi.value);
  if (found == rules_.end()) return;
  rte_flow_error error{};
  if (found->second.flow != nullptr && rte_flow_destroy(port_, found->second.flow, &error) != 0)
    spdlog::warn("port {}: a rule for SPI {:08x} stays in the device: {}", name_, spi.value,
                 error.message != nullptr ? error.message : "?");
  rules_.erase(found);
  full_ = false;
}

void FlowRules::suspend() {
  suspended_ = true;
  rte_flow_error error{};
  for (auto& [spi, rule] : rules_)
    if (rule.flow != nullptr) (void)rte_flow_destroy(port_, std::exchange(rule.flow, nullptr), &error);  // the device forgets it, too
}

void FlowRules::resume() {
  suspended_ = false;
  answers_.fill(Answer::NotAsked);
  full_ = false;
  for (auto& [spi, rule] : rules_) rule.flow = make(rule.sa);
  refused_ += std::erase_if(rules_, [](const auto& entry) { return entry.second.flow == nullptr; });
}

}  // namespace culvert::dp

#include "tests/dataplane/platform/devices.hpp"

#include <algorithm>

namespace culvert::dp {

namespace {
DeviceFaker* faker = nullptr;
std::map<std::uint16_t, std::pair<rte_eth_dev_cb_fn, void*>> registered;

DeviceFaker::Rule rule_of(std::uint16_t port, const rte_flow_item* pattern, const rte_flow_action* action) {
  DeviceFaker::Rule r{.port = port, .pattern = {}, .spi = 0, .queue = 0};
  for (; pattern->type != RTE_FLOW_ITEM_TYPE_END; ++pattern) {
    r.pattern.push_back(pattern->type);
    if (pattern->type == RTE_FLOW_ITEM_TYPE_VLAN) {
      r.tag = __builtin_bswap16(static_cast<const rte_flow_item_vlan*>(pattern->spec)->hdr.vlan_tci);
      r.tag_mask = __builtin_bswap16(static_cast<const rte_flow_item_vlan*>(pattern->mask)->hdr.vlan_tci);
    }
    if (pattern->type == RTE_FLOW_ITEM_TYPE_ESP) r.spi = __builtin_bswap32(static_cast<const rte_flow_item_esp*>(pattern->spec)->hdr.spi);
  }
  if (action->type == RTE_FLOW_ACTION_TYPE_QUEUE) r.queue = static_cast<const rte_flow_action_queue*>(action->conf)->index;
  return r;
}
bool refused(const DeviceFaker::Rule& r, rte_flow_error* error) {
  const auto has = [&](rte_flow_item_type type) { return std::ranges::find(r.pattern, type) != r.pattern.end(); };
  if ((faker->takes_udp || !has(RTE_FLOW_ITEM_TYPE_UDP)) && (faker->takes_tags || !has(RTE_FLOW_ITEM_TYPE_VLAN))) return false;
  error->message = "no such item";
  return true;
}
}  // namespace

DeviceFaker::DeviceFaker() : callbacks(registered) { faker = this; }
DeviceFaker::~DeviceFaker() { faker = nullptr; }
const DeviceFaker::Rule* DeviceFaker::rule(std::uint32_t spi) const {
  const auto found = std::ranges::find_if(rules, [&](const auto& r) { return r.second.spi == spi; });
  return found == rules.end() ? nullptr : &found->second;
}
void DeviceFaker::wants_reset(std::uint16_t port) const {
  const auto& [call, argument] = callbacks.at(port);
  call(port, RTE_ETH_EVENT_INTR_RESET, argument, nullptr);
}

}  // namespace culvert::dp

using culvert::dp::DeviceFaker;
using culvert::dp::faker;

extern "C" {
int __real_rte_flow_validate(std::uint16_t, const rte_flow_attr*, const rte_flow_item*, const rte_flow_action*, rte_flow_error*);
rte_flow* __real_rte_flow_create(std::uint16_t, const rte_flow_attr*, const rte_flow_item*, const rte_flow_action*, rte_flow_error*);
int __real_rte_flow_destroy(std::uint16_t, rte_flow*, rte_flow_error*);
int __real_rte_eth_dev_reset(std::uint16_t);
int __real_rte_eth_dev_info_get(std::uint16_t, rte_eth_dev_info*);
int __real_rte_eth_dev_configure(std::uint16_t, std::uint16_t, std::uint16_t, const rte_eth_conf*);
int __real_rte_eth_dev_callback_register(std::uint16_t, rte_eth_event_type, rte_eth_dev_cb_fn, void*);

int __wrap_rte_flow_validate(std::uint16_t port, const rte_flow_attr* a, const rte_flow_item* i, const rte_flow_action* q,
                             rte_flow_error* error) {
  if (faker == nullptr) return __real_rte_flow_validate(port, a, i, q, error);
  faker->asked.emplace_back("validate");
  return culvert::dp::refused(culvert::dp::rule_of(port, i, q), error) ? -ENOTSUP : 0;
}
rte_flow* __wrap_rte_flow_create(std::uint16_t port, const rte_flow_attr* a, const rte_flow_item* i, const rte_flow_action* q,
                                 rte_flow_error* error) {
  if (faker == nullptr) return __real_rte_flow_create(port, a, i, q, error);
  faker->asked.emplace_back("create");
  const DeviceFaker::Rule rule = culvert::dp::rule_of(port, i, q);
  if (faker->rules.size() >= faker->room || culvert::dp::refused(rule, error)) return nullptr;
  static std::uintptr_t next = 0x1000;
  auto* handle = reinterpret_cast<rte_flow*>(next += 16);
  faker->rules.emplace(handle, rule);
  return handle;
}
int __wrap_rte_flow_destroy(std::uint16_t port, rte_flow* flow, rte_flow_error* error) {
  if (faker == nullptr) return __real_rte_flow_destroy(port, flow, error);
  faker->asked.emplace_back("destroy");
  return faker->rules.erase(flow) == 1 ? 0 : -EINVAL;
}
int __wrap_rte_eth_dev_reset(std::uint16_t port) {
  if (faker == nullptr) return __real_rte_eth_dev_reset(port);
  faker->asked.emplace_back("reset");
  return faker->reset_result != 0 ? faker->reset_result : rte_eth_dev_stop(port);
}
int __wrap_rte_eth_dev_info_get(std::uint16_t port, rte_eth_dev_info* info) {
  const int rc = __real_rte_eth_dev_info_get(port, info);
  if (faker != nullptr) info->rx_offload_capa |= faker->receives;
  return rc;
}
int __wrap_rte_eth_dev_configure(std::uint16_t port, std::uint16_t rx, std::uint16_t tx, const rte_eth_conf* wanted) {
  if (faker == nullptr) return __real_rte_eth_dev_configure(port, rx, tx, wanted);
  rte_eth_conf conf = *wanted;
  if ((conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0) faker->asked.emplace_back("checksums");
  conf.rxmode.offloads &= ~faker->receives;  // net_null has none
  return __real_rte_eth_dev_configure(port, rx, tx, &conf);
}
int __wrap_rte_eth_dev_callback_register(std::uint16_t port, rte_eth_event_type event, rte_eth_dev_cb_fn call, void* argument) {
  if (event == RTE_ETH_EVENT_INTR_RESET) culvert::dp::registered[port] = {call, argument};
  return __real_rte_eth_dev_callback_register(port, event, call, argument);
}
}

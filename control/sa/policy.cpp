#include "control/sa/policy.hpp"

namespace culvert::control {

PolicyTable::PolicyTable(const config::GatewayConfig& config) {
  std::uint32_t id = 0;
  for (const auto& connection : config.connections) {
    for (const auto& child : connection.children) {
      shm::InstallPolicy p;
      p.policy = PolicyId{++id};
      p.priority = child.priority;
      p.action = shm::PolicyAction::Protect;
      // Also for `start`: a child that lost its SA comes back when a packet asks for it. `none` waits for the operator or the peer.
      p.acquire = child.start_action != config::StartAction::None;
      p.local_ts = child.local_ts;
      p.remote_ts = child.remote_ts;
      p.name = shm::Name(connection.name + "/" + child.name);
      entries_.push_back(p);
      children_.push_back({connection.name, child.name});
    }
  }
  for (const auto& policy : config.policies) {
    shm::InstallPolicy p;
    p.policy = PolicyId{++id};
    p.priority = policy.priority;
    p.action = policy.action == config::PolicyAction::Bypass ? shm::PolicyAction::Bypass : shm::PolicyAction::Discard;
    p.local_ts = policy.local_ts;
    p.remote_ts = policy.remote_ts;
    p.name = shm::Name(policy.name);
    entries_.push_back(p);
  }
}

std::optional<PolicyId> PolicyTable::of(const std::string& connection, const std::string& child) const {
  for (std::size_t i = 0; i < children_.size(); ++i)
    if (children_[i].child == child && children_[i].connection == connection) return PolicyId{static_cast<std::uint32_t>(i + 1)};
  return std::nullopt;
}

const ChildRef* PolicyTable::child_of(PolicyId policy) const {
  return policy.value >= 1 && policy.value <= children_.size() ? &children_[policy.value - 1] : nullptr;
}

const ChildRef* PolicyTable::child_named(std::string_view name) const {
  for (std::size_t i = 0; i < children_.size(); ++i)
    if (entries_[i].name.view() == name) return &children_[i];
  return nullptr;
}

}  // namespace culvert::control

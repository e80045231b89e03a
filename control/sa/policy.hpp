// The SPD that the configuration asks for: one Protect entry a child, numbered by its place in the file, then `policies:`.
// Owns the numbering; sends nothing.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/config/config.hpp"
#include "common/shm/messages.hpp"

namespace culvert::control {

struct ChildRef {
  std::string connection, child;
  friend bool operator==(const ChildRef&, const ChildRef&) = default;
};

class PolicyTable {
 public:
  explicit PolicyTable(const config::GatewayConfig& config);

  /// All entries, in the order of their numbers 1..n.
  [[nodiscard]] const std::vector<shm::InstallPolicy>& entries() const { return entries_; }
  [[nodiscard]] std::optional<PolicyId> of(const std::string& connection, const std::string& child) const;
  [[nodiscard]] const ChildRef* child_of(PolicyId policy) const;
  /// The child that an SA's name ("connection/child", perhaps cut) stands for.
  [[nodiscard]] const ChildRef* child_named(std::string_view name) const;

 private:
  std::vector<shm::InstallPolicy> entries_;
  std::vector<ChildRef> children_;  ///< of policy 1, 2, ...
};

}  // namespace culvert::control

// Both ends of a CHILD SA's traffic. Owns the type; who may have which is its version's rule.
#pragma once

#include <string>

#include "common/ipsec/selector.hpp"

namespace culvert::ike {

struct Selectors {
  TrafficSelector local, remote;
  friend bool operator==(const Selectors&, const Selectors&) = default;
  [[nodiscard]] bool contains(const Selectors& o) const { return local.contains(o.local) && remote.contains(o.remote); }
  [[nodiscard]] std::string to_string() const { return local.to_string() + " - " + remote.to_string(); }
};

}  // namespace culvert::ike

#include "control/ikev1/evidence.hpp"

#include <utility>

namespace culvert::ikev1 {

ike::SelectorEvidence selector_evidence(const config::Connection& c, std::string local, std::string remote) {
  ike::SelectorEvidence out{{{}, std::move(local), std::move(remote)}, {}, false};
  for (const config::Child& child : c.children)
    if (out.configured.size() < ike::SelectorEvidence::kMaxConfigured)
      out.configured.push_back({child.name, child.local_ts.to_string(), child.remote_ts.to_string()});
  return out;
}

}  // namespace culvert::ikev1

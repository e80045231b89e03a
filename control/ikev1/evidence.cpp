#include "control/ikev1/evidence.hpp"

#include <utility>

#include "common/config/selectors.hpp"

namespace culvert::ikev1 {

ike::SelectorEvidence selector_evidence(const config::Connection& c, std::string local, std::string remote) {
  ike::SelectorEvidence out{{{}, std::move(local), std::move(remote)}, {}, false};
  for (const config::Child& child : c.children)
    if (out.configured.size() < ike::SelectorEvidence::kMaxConfigured)
      out.configured.push_back({child.name, config::text(child.locals()), config::text(child.remotes())});
  return out;
}

}  // namespace culvert::ikev1

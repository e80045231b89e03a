#include "control/config/methods.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "control/crypto/kem.hpp"

namespace culvert::control {

namespace {

void check(const std::vector<DhGroup>& methods, const config::Where& at) {
  std::vector<DhGroup> reported;
  for (const DhGroup method : methods) {
    const DhInfo* info = find_ke(method);
    if (!info || crypto::has_method(method) || std::ranges::find(reported, method) != reported.end()) continue;
    reported.push_back(method);
    at.error("expected key exchanges that the library here has, but this is OpenSSL " + crypto::library_version() + ", which lacks " +
             std::string(info->name) + ": OpenSSL 3.5 and later have it");
  }
}

template <class Suite>
std::vector<DhGroup> methods_of(const std::vector<Suite>& suites, DhGroup Suite::* first) {
  std::vector<DhGroup> out;
  for (const Suite& s : suites) {
    out.push_back(s.*first);
    const auto more = in_order(s.more);
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

}  // namespace

void check_methods(const config::GatewayConfig& config, const config::Where& root) {
  const config::Where connections = root.key("connections");
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const config::Connection& c = config.connections[i];
    const config::Where here = connections.entry(i);
    if (here.clean({"proposals"})) check(methods_of(c.proposals, &IkeSuite::group), here.key("proposals"));
    if (!here.clean({"children"})) continue;
    std::vector<std::size_t> done;
    for (const config::Child& child : c.children) {
      if (std::ranges::find(done, child.entry) != done.end()) continue;
      done.push_back(child.entry);
      const config::Where at = here.key("children").entry(child.entry);
      check(methods_of(child.esp_proposals, &EspSuite::pfs), at.key("esp_proposals"));
      check(methods_of(child.ah_proposals, &EspSuite::pfs), at.key("ah_proposals"));
    }
  }
}

}  // namespace culvert::control

// Fuzzes the configuration loader: any text either becomes a configuration that keeps its own promises, or is refused with at least
// one error, and no finding holds a raw control character.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/config/load.hpp"

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}

void require_promises(const culvert::config::GatewayConfig& c) {
  require(!c.ports.empty());
  require(!c.dataplane.workers.empty());
  for (const auto& port : c.ports) require(!port.addresses.empty() && !port.device.empty() && port.mtu >= 576);
  for (const auto& connection : c.connections) {
    require(!connection.local_addrs.empty() && !connection.proposals.empty() && !connection.children.empty());
    require(connection.secret.kind != culvert::config::SecretRef::Kind::None);
    for (const auto& child : connection.children)
      require(!child.esp_proposals.empty() && child.rekey_time < child.life_time && child.rand_time < child.rekey_time);
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto result = culvert::config::load_text(text, "fuzz.yaml");
  if (result) require_promises(result->config);
  bool error = false;
  for (const auto& d : result ? result->warnings : result.error()) {
    error = error || d.severity == culvert::config::Diagnostic::Severity::Error;
    for (const char ch : d.to_string()) require(static_cast<unsigned char>(ch) >= 0x20);
  }
  require(error != result.has_value());
  return 0;
}

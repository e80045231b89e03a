// Fuzzes the configuration loader: any text either becomes a configuration that keeps its own promises, or is refused with at least
// one error, and no finding holds a raw byte that a terminal could mistake for a command.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/config/load.hpp"

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}

void require_promises(const culvert::config::GatewayConfig& c) {
  require(!c.ports.empty());
  require(!c.dataplane.workers.empty());
  for (const auto& port : c.ports) require(!port.device.empty() && port.mtu >= 576);
  for (const auto& i : culvert::config::interfaces(c))
    require(i.port < c.ports.size() && i.mtu >= 576 && i.mtu <= c.ports[i.port].mtu && i.vlan < 4095 &&
            (i.vlan == 0 || !i.addresses.empty()));
  for (const auto& connection : c.connections) {
    require(!connection.local_addrs.empty() && !connection.proposals.empty() && !connection.children.empty());
    using namespace culvert::config;
    const bool psk = connection.local_auth.auth == Proof::Psk;
    require(!psk || connection.secret.kind != SecretRef::Kind::None);
    require(psk || (!connection.local_auth.certs.empty() && connection.local_auth.key.kind == SecretRef::Kind::File));
    require(connection.remote_auth.auth != Proof::Pubkey || !connection.remote_auth.cacerts.empty() ||
            !connection.remote_auth.certs.empty());
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
    // ASCII, but for the paragraph sign of our own RFC references (C2 A7).
    const std::string text_of = d.to_string();
    for (std::size_t i = 0; i < text_of.size(); ++i) {
      if (text_of.compare(i, 2, "§") == 0)
        ++i;
      else
        require(text_of[i] >= 0x20 && text_of[i] < 0x7f);
    }
  }
  require(error != result.has_value());
  return 0;
}

// A configuration with one connection of IKEv2, to be changed by the tests of what such connections may have.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "common/config/load.hpp"

namespace culvert::test {
inline const std::string kBase = R"(dataplane: {workers: [0], memory: {hugepages: false, size: 256MB, mbufs: 8192}}
ports:
  wan: {device: "net_af_packet0,iface=gw0", addresses: [10.9.0.1/24]}
  lan: {device: "net_af_packet1,iface=in0", addresses: [10.1.0.1/24]}
routes:
  - {to: 10.2.0.0/24, via: 10.9.0.2}
pools: {clients: {addrs: 10.3.0.0/24}}
connections:
  b:
    local_addrs: 10.9.0.1
    remote_addrs: 10.9.0.2
    proposals: [aes256-sha256-modp2048]
    local: {id: gw-a.example}
    remote: {id: gw-b.example}
    secret: file:/run/x/psk
    version: 2
    children:
      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: [aes128gcm16]}
)";

inline std::string with(std::string_view find, std::string_view replace, std::string text = kBase) {
  REQUIRE(text.find(find) != std::string::npos);
  return text.replace(text.find(find), find.size(), replace);
}
/// A line in front of `version: 2`, which is then in line 17.
inline std::string beside(const std::string& line) { return with("    version: 2", "    " + line + "\n    version: 2"); }
inline std::vector<std::string> findings(const std::string& text) {
  const auto loaded = config::load_text(text, "");
  std::vector<std::string> out;
  for (const auto& d : loaded ? loaded->warnings : loaded.error()) out.push_back(d.to_string());
  return out;
}
inline config::Connection connection(const std::string& text) {
  const auto loaded = config::load_text(text, "");
  if (!loaded)
    for (const auto& d : loaded.error()) UNSCOPED_INFO(d.to_string());
  REQUIRE(loaded);
  return loaded->config.connections.at(0);
}
}  // namespace culvert::test

// A child's rules of headers and sizes: what a file with them becomes, and what a broken one is told.
#include <string>

#include <catch2/catch.hpp>

#include "common/config/load.hpp"

using namespace culvert;
using namespace culvert::config;

namespace {
std::string with(const std::string& keys) {
  return R"(ports: {wan: {device: "net_af_packet0,iface=gw0", addresses: [10.9.0.1/24]}}
connections:
  b:
    local_addrs: 10.9.0.1
    remote_addrs: 10.9.0.2
    proposals: [aes256-sha256-modp2048]
    remote: {id: gw-b.example}
    secret: file:/run/x/psk
    children:
      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: [aes128gcm16], )" +
         keys + "}\n";
}
PacketRules rules(const std::string& keys) {
  const auto loaded = load_text(with(keys), "x.yaml");
  REQUIRE(loaded);
  return loaded->config.connections.at(0).children.at(0).rules;
}
/// What is said about a key of the child, without the place.
std::string finding(const std::string& keys) {
  const auto loaded = load_text(with(keys), "x.yaml");
  REQUIRE_FALSE(loaded);
  REQUIRE(loaded.error().size() == 1);
  return loaded.error().front().path.substr(std::string("connections.b.children.net.").size()) + ": " + loaded.error().front().message +
         (loaded.error().front().suggestion.empty() ? "" : " -> " + loaded.error().front().suggestion);
}
}  // namespace

TEST_CASE("rules of headers and sizes", "[config][rules]") {
  CHECK(rules("priority: 1") == PacketRules{});
  CHECK(rules("copy_df: no, copy_ecn: no, copy_dscp: in, fragmentation: after, mss: off, tfc_padding: mtu") ==
        PacketRules{CopyDf::No, CopyEcn::No, CopyDscp::In, CutWhen::After, PacketRules::kOff, PacketRules::kByMtu});
  CHECK(rules("copy_df: set, copy_dscp: yes, mss: 1300, tfc_padding: 500") ==
        PacketRules{CopyDf::Set, CopyEcn::Yes, CopyDscp::Yes, CutWhen::Before, 1300, 500});
  CHECK(rules("mss: auto, copy_dscp: out").mss == PacketRules::kByMtu);
  CHECK(rules("spread: yes") == PacketRules{.spread = SpreadCrypto::Yes});
  CHECK(rules("spread: no") == PacketRules{});
  CHECK(rules("dummy_interval: 50ms").dummy_interval == std::chrono::milliseconds{50});
}

TEST_CASE("rules that are refused", "[config][rules][attack-M3]") {
  CHECK(finding("copy_df: sat") == "copy_df: expected yes, no or set, got 'sat' -> set");
  CHECK(finding("copy_dscp: outt") == "copy_dscp: expected out, in, yes or no, got 'outt' -> out");
  CHECK(finding("spread: yse") == "spread: expected no or yes, got 'yse' -> yes");
  CHECK(finding("mss: atuo") == "mss: expected auto, off, or bytes from 536 to 8960, got 'atuo' -> auto");
  CHECK(finding("mss: 100") == "mss: expected auto, off, or bytes from 536 to 8960, got '100'");
  CHECK(finding("tfc_padding: 9001") == "tfc_padding: expected mtu or bytes from 0 to 9000, got '9001'");
  CHECK(finding("tfc_padding: -1") == "tfc_padding: expected mtu or bytes from 0 to 9000, got '-1'");
  CHECK(finding("dummy_interval: 10ms") == "dummy_interval: expected a time from 50ms to 1h, or 0: none, got '10ms'");
  CHECK(finding("ah_proposals: sha256, dummy_interval: 1s") == "dummy_interval: expected 0 with ah_proposals: AH hides nothing");
  CHECK(finding("ah_proposals: sha256, tfc_padding: mtu") == "tfc_padding: expected 0 with ah_proposals: AH hides nothing");
  CHECK(finding("fragmentation: after, copy_df: set") ==
        "fragmentation: expected before with copy_df: set, which forbids that outer packets are fragmented");
}

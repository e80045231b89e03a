// The loader: what a good file becomes, and what a bad one is told.
#include "common/config/load.hpp"

#include <catch2/catch.hpp>

#include "common/config/selectors.hpp"

using namespace culvert;
using namespace culvert::config;
using namespace std::chrono_literals;

namespace {
constexpr const char* kExample =
    R"(dataplane: {socket: /run/x/dp.sock, workers: [0], main_cpu: 0, idle: adaptive, memory: {hugepages: false, size: 256MB, mbufs: 8192}}
ports:
  wan: {device: "net_af_packet0,iface=gw0", addresses: [10.9.0.1/24]}
  lan: {device: "net_af_packet1,iface=in0", addresses: [10.1.0.1/24]}
routes: [{to: 10.2.0.0/24, via: 10.9.0.2}]
control: {socket: /run/x/culvertd.sock, metrics: {listen: "127.0.0.1:9464"}, log: {format: text, level: info}}
connections:
  site-b:
    local_addrs: [10.9.0.1]
    remote_addrs: [10.9.0.2]
    proposals: [aes256-sha256-modp2048]
    local: {id: gw-a.example}
    remote: {id: gw-b.example}
    secret: file:/run/x/psk
    children:
      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: [aes128gcm16], start_action: start}
)";
}  // namespace

TEST_CASE("next hops may have weights", "[config]") {
  std::string text = kExample;
  const std::string before = "via: 10.9.0.2";
  text.replace(text.find(before), before.size(), "via: [{address: 10.9.0.2, weight: 3}, 10.9.0.3, {address: 10.9.0.4}]");
  const auto loaded = load_text(text, "gw.yaml");
  REQUIRE(loaded);
  CHECK(loaded->config.routes[0].via ==
        std::vector<Hop>{{IpAddress::v4(0x0a090002), 3}, IpAddress::v4(0x0a090003), IpAddress::v4(0x0a090004)});
}

TEST_CASE("a complete small file becomes a configuration", "[config]") {
  const auto loaded = load_text(kExample, "gw.yaml");
  if (!loaded)
    for (const auto& d : loaded.error()) UNSCOPED_INFO(d.to_string());
  REQUIRE(loaded);
  CHECK(loaded->warnings.empty());
  const GatewayConfig& c = loaded->config;
  CHECK(c.dataplane.socket == "/run/x/dp.sock");
  CHECK(c.dataplane.workers == std::vector<std::uint32_t>{0});
  CHECK(c.dataplane.idle == Idle::Adaptive);
  CHECK_FALSE(c.dataplane.memory.hugepages);
  CHECK(c.dataplane.memory.size_mb == 256);
  CHECK(c.dataplane.memory.mbufs == 8192);
  REQUIRE(c.ports.size() == 2);
  CHECK(c.ports[0].name == "wan");
  CHECK(c.ports[0].device == "net_af_packet0,iface=gw0");
  CHECK(c.ports[1].addresses.at(0).to_string() == "10.1.0.1/24");
  REQUIRE(c.routes.size() == 1);
  CHECK(c.routes[0].to.to_string() == "10.2.0.0/24");
  CHECK(c.routes[0].via == std::vector<Hop>{IpAddress::v4(0x0a090002)});
  CHECK(c.default_policy == PolicyAction::Discard);
  CHECK(c.control.socket == "/run/x/culvertd.sock");
  CHECK(c.control.metrics_listen == "127.0.0.1:9464");
  REQUIRE(c.connections.size() == 1);
  const Connection& b = c.connections[0];
  CHECK(b.name == "site-b");
  CHECK(b.local_addrs == std::vector{IpAddress::v4(0x0a090001)});
  CHECK(b.remote_addrs == std::vector{IpAddress::v4(0x0a090002)});
  REQUIRE(b.proposals.size() == 1);
  CHECK(b.proposals[0].to_string() == "aes256-sha256-modp2048");
  CHECK(b.local_id == Identity{Identity::Type::Fqdn, "gw-a.example"});
  CHECK(b.secret.kind == SecretRef::Kind::File);
  CHECK(b.secret.where == "/run/x/psk");
  REQUIRE(b.children.size() == 1);
  const Child& net = b.children[0];
  CHECK(net.name == "net");
  CHECK(net.local_ts.to_string() == "10.1.0.0/24");
  CHECK(net.esp_proposals.at(0).to_string() == "aes128gcm16");
  CHECK(net.start_action == StartAction::Start);
  CHECK(net.rekey_time == 3600s);
  CHECK(net.life_time == 3960s);
  CHECK(net.rand_time == 360s);
}

TEST_CASE("a child with several selectors is a child for each pair of them", "[config]") {
  std::string text = kExample;
  const std::string before = "local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24";
  text.replace(text.find(before), before.size(), "local_ts: [10.1.0.0/24, 10.1.1.0/24], remote_ts: [10.2.0.0/24, \"dynamic\"]");
  const auto loaded = load_text(text, "gw.yaml");
  REQUIRE(loaded);
  const std::vector<Child>& children = loaded->config.connections[0].children;
  REQUIRE(children.size() == 4);
  CHECK(children[0].name == "net/1x1");
  CHECK(children[3].name == "net/2x2");
  CHECK(children[3].local_ts.to_string() == "10.1.1.0/24");
  CHECK(children[3].remote_dynamic);
  CHECK_FALSE(children[2].remote_dynamic);
  for (const Child& child : children) {
    CHECK(is_child(child.name, "net"));
    CHECK(child.entry == 0);
    CHECK(child.start_action == StartAction::Start);
  }
  CHECK_FALSE(is_child("network", "net"));
}

TEST_CASE("connections with the same addresses may have eight secrets", "[config][rfc2409-5.4]") {
  std::string text = kExample;
  for (int i = 1; i < 9; ++i)
    text += "  other-" + std::to_string(i) + ":\n    local_addrs: [10.9.0.1]\n    remote_addrs: [10.9.0.2]\n" +
            "    proposals: [aes256-sha256-modp2048]\n    secret: file:/run/x/psk-" + std::to_string(i) +
            "\n    children: {net: {local_ts: 10.1.0.0/24, remote_ts: 10.3." + std::to_string(i) + ".0/24, esp_proposals: aes128gcm16}}\n";
  const auto loaded = load_text(text, "gw.yaml");
  REQUIRE_FALSE(loaded);
  REQUIRE(loaded.error().size() == 1);
  CHECK(loaded.error()[0].to_string().find("other-8.secret: expected a secret of another connection") != std::string::npos);
}

TEST_CASE("however many warnings there are, an error is shown", "[config][findings]") {
  Sink sink("gw.yaml");
  for (std::uint32_t i = 0; i < 1200; ++i) sink.warning({i + 1, 1}, "a", "weak");
  sink.error({2000, 1}, "b", "wrong");
  CHECK_FALSE(sink.ok());
  const auto found = std::move(sink).take();
  REQUIRE(found.size() == Sink::kMaxDiagnostics + 2);
  CHECK(found[Sink::kMaxDiagnostics].to_string() == "gw.yaml:2000:1: b: wrong");
  CHECK(found.back().to_string() == "gw.yaml: warning: 200 further warnings are not shown");
}

TEST_CASE("what is not UTF-8 is refused where it stands: JSON and metrics could not show it", "[config][attack-M3]") {
  const std::vector<std::pair<std::string, std::string>> rows{{"\xe9", "e9"},              // Latin-1
                                                              {"\xed\xa0\x80", "ed"},      // half a surrogate
                                                              {"\xc0\xaf", "c0"},          // in more bytes than it needs
                                                              {"\xf4\x90\x80\x80", "f4"},  // beyond the last
                                                              {"\xe2\x82", "e2"},          // cut off
                                                              {"\x80", "80"}};
  for (const auto& [bytes, shown] : rows) {
    const auto result = load_text("connections:\n  \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" + bytes + "x: {}\n", "gw.yaml");
    REQUIRE_FALSE(result);
    REQUIRE(result.error().size() == 1);
    CHECK(result.error()[0].to_string() == "gw.yaml:2:6: expected text, got a byte that is not UTF-8, \\x" + shown);
  }
  const auto fine = load_text("# \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n", "gw.yaml");
  REQUIRE_FALSE(fine);
  CHECK(fine.error()[0].to_string().find("the file holds nothing") != std::string::npos);
}

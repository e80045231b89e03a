// configs/: the reference is complete, says the code's defaults, and loads; the examples load without a warning.
// With CULVERT_WRITE_REFERENCE=1 in the environment the reference file is written instead of compared.
#include "common/config/reference.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include <catch2/catch.hpp>

#include "common/config/check.hpp"
#include "common/config/load.hpp"
#include "common/config/schema.hpp"
#include "common/config/tree.hpp"

using namespace culvert;
using namespace culvert::config;

namespace {
const std::string kConfigs = CULVERT_CONFIGS;

std::string content(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Asserts that each key of `keys` occurs in `node`, and the other way round.
void require_all_keys(const std::vector<KeyInfo>& keys, const Node& node, const std::string& path, std::size_t& seen) {
  INFO(path);
  CHECK(node.entries.size() == static_cast<std::size_t>(std::ranges::count_if(keys, [](const KeyInfo& k) { return k.prefix.empty(); })));
  for (const auto& key : keys) {
    INFO(key.name);
    if (!key.prefix.empty()) continue;  // a comment
    const Node* value = node.find(key.name);
    REQUIRE(value);
    ++seen;
    CHECK_FALSE(key.help.empty());
    if (key.shape == KeyInfo::Shape::Value) continue;
    if (key.shape == KeyInfo::Shape::NamedMaps) {
      REQUIRE(value->entries.size() >= 1);
      value = value->entries[0].value.get();
    }
    if (key.shape == KeyInfo::Shape::ListOfMaps) {
      REQUIRE(value->items.size() >= 1);
      value = value->items[0].get();
    }
    require_all_keys(*key.keys, *value, path + "." + key.name, seen);
  }
}
}  // namespace

TEST_CASE("the reference is what the schema says", "[config][reference]") {
  const std::string path = kConfigs + "/reference.yaml";
  if (std::getenv("CULVERT_WRITE_REFERENCE")) std::ofstream(path) << reference_text();
  INFO("after a change of the schema: CULVERT_WRITE_REFERENCE=1 " << "build/tests/unit/config/test_config [reference]");
  CHECK((content(path) == reference_text()));
}

TEST_CASE("the reference holds every key, and loads", "[config][reference]") {
  const std::string text = content(kConfigs + "/reference.yaml");
  Sink sink("reference.yaml");
  const NodePtr root = parse_tree(text, sink);
  REQUIRE(root);
  std::size_t seen = 0;
  require_all_keys(schema().keys(), *root, "", seen);
  std::cout << "ran " << seen << " keys of the reference\n";
  const auto loaded = load_text(text, "reference.yaml");
  if (!loaded)
    for (const auto& d : loaded.error()) UNSCOPED_INFO(d.to_string());
  REQUIRE(loaded);
  CHECK(loaded->warnings.empty());
}

TEST_CASE("every default that the reference states is the code's", "[config][reference]") {
  // What remains when only required keys are given must equal what the reference file spells out, key by key: reading the
  // stated default of a key gives the value that a fresh object holds. Stated once more by loading both.
  const auto full = load_text(content(kConfigs + "/reference.yaml"), "reference.yaml");
  const auto least = load_text(R"(
ports: {wan: {device: "net_af_packet0,iface=eth1", addresses: [10.9.0.1/24]}}
connections:
  site-b:
    local_addrs: 10.9.0.1
    remote_addrs: 10.9.0.2
    proposals: aes256-sha256-ecp256
    secret: env:PSK
    children: {net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: aes128gcm16}}
)",
                               "least.yaml");
  REQUIRE(full);
  REQUIRE(least);
  const GatewayConfig& f = full->config;
  const GatewayConfig& l = least->config;
  const GatewayConfig fresh;
  for (const GatewayConfig* c : {&f, &l}) {
    CHECK(c->dataplane.socket == fresh.dataplane.socket);
    CHECK(c->dataplane.workers == fresh.dataplane.workers);
    CHECK(c->dataplane.main_cpu == fresh.dataplane.main_cpu);
    CHECK(c->dataplane.idle == fresh.dataplane.idle);
    CHECK(c->dataplane.sa_capacity == fresh.dataplane.sa_capacity);
    CHECK(c->dataplane.control_user == fresh.dataplane.control_user);
    CHECK(c->dataplane.memory.hugepages == fresh.dataplane.memory.hugepages);
    CHECK(c->dataplane.memory.size_mb == fresh.dataplane.memory.size_mb);
    CHECK(c->dataplane.memory.mbufs == fresh.dataplane.memory.mbufs);
    CHECK(c->dataplane.eal_args == fresh.dataplane.eal_args);
    CHECK(c->ports[0].mtu == Port{}.mtu);
    CHECK(c->ports[0].queues == Port{}.queues);
    CHECK(c->ports[0].rx_descriptors == Port{}.rx_descriptors);
    CHECK(c->ports[0].tx_descriptors == Port{}.tx_descriptors);
    CHECK(c->default_policy == fresh.default_policy);
    CHECK(c->control.socket == fresh.control.socket);
    CHECK(c->control.user == fresh.control.user);
    CHECK(c->control.group == fresh.control.group);
    CHECK(c->control.metrics_listen == fresh.control.metrics_listen);
    CHECK(c->control.log.format == fresh.control.log.format);
    CHECK(c->control.log.level == fresh.control.log.level);
    CHECK(c->control.log.file == fresh.control.log.file);
    CHECK(c->ike.retransmit_timeout == fresh.ike.retransmit_timeout);
    CHECK(c->ike.retransmit_base == fresh.ike.retransmit_base);
    CHECK(c->ike.retransmit_tries == fresh.ike.retransmit_tries);
    CHECK(c->ike.keepalive == fresh.ike.keepalive);
    CHECK(c->ike.half_open_limit == fresh.ike.half_open_limit);
    CHECK(c->ike.half_open_per_source == fresh.ike.half_open_per_source);
    CHECK(c->ike.half_open_timeout == fresh.ike.half_open_timeout);
    CHECK(c->ike.crypto_threads == fresh.ike.crypto_threads);
    CHECK(c->ike.retry_delay == fresh.ike.retry_delay);
    const Connection& n = c->connections.at(0);
    CHECK(n.encap == Connection{}.encap);
    CHECK(n.rekey_time == Connection{}.rekey_time);
    CHECK(n.over_time == Connection{}.over_time);
    CHECK(n.rand_time == Connection{}.rand_time);
    CHECK(n.dpd_delay == Connection{}.dpd_delay);
    CHECK(n.dpd_timeout == Connection{}.dpd_timeout);
    const Child& k = n.children.at(0);
    CHECK(k.start_action == Child{}.start_action);
    CHECK(k.rekey_time == Child{}.rekey_time);
    CHECK(k.life_time == Child{}.life_time);
    CHECK(k.rand_time == Child{}.rand_time);
    CHECK(k.rekey_bytes == Child{}.rekey_bytes);
    CHECK(k.life_bytes == Child{}.life_bytes);
    CHECK(k.rekey_packets == Child{}.rekey_packets);
    CHECK(k.life_packets == Child{}.life_packets);
    CHECK(k.replay_window == Child{}.replay_window);
    CHECK(k.rules == Child{}.rules);
    CHECK(k.priority == Child{}.priority);
  }
  CHECK(f.policies.at(0).priority == Policy{}.priority);
  CHECK(l.connections[0].remote_id == Identity{});
  CHECK(l.connections[0].local_id == Identity{Identity::Type::IpAddr, "10.9.0.1"});
}

TEST_CASE("the example configurations pass --check", "[config][reference]") {
  for (const auto* name : {"reference.yaml", "site-to-site.yaml", "strongswan-peer.yaml", "ikev2.yaml", "nic.yaml"}) {
    std::stringstream out;
    const std::string path = kConfigs + "/" + name;
    const int rc = check(path, out);
    INFO(out.str());
    CHECK(rc == 0);
    CHECK(out.str() == path + ": ok\n");
  }
}

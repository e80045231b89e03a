// How an ISAKMP SA and its pairs come up: ladders of Main Mode and Quick Mode, NAT variants, PFS, several children.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ike/nat_traversal.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

void require_matching(const Host& a, const Host& b, const std::string& name = "net") {
  const PlaneSa *out_a = a.current_out(name), *out_b = b.current_out(name);
  REQUIRE(out_a);
  REQUIRE(out_b);
  REQUIRE(b.inbound.contains(out_a->sa.spi.value));
  REQUIRE(a.inbound.contains(out_b->sa.spi.value));
  CHECK(b.inbound.at(out_a->sa.spi.value).sa.encr_key == out_a->sa.encr_key);
  CHECK(a.inbound.at(out_b->sa.spi.value).sa.encr_key == out_b->sa.encr_key);
  CHECK(b.inbound.at(out_a->sa.spi.value).sa.integ_key == out_a->sa.integ_key);
  CHECK_FALSE(out_a->sa.encr_key == out_b->sa.encr_key);
}

std::vector<std::string> ladder(const World& world) {
  std::vector<std::string> out;
  for (const ike::Datagram& d : world.wire) {
    const auto seen = look(d);
    if (!seen) {
      out.emplace_back("keepalive");
      continue;
    }
    std::string line = d.local.address.to_string() + ":" + std::to_string(d.local.port) + " " + std::to_string(seen->header.exchange) +
                       (seen->header.encrypted() ? "*" : "");
    if (seen->clear)
      for (const auto& p : seen->clear->payloads()) line += " " + ikev1::name(p.type);
    out.push_back(line);
  }
  return out;
}

}  // namespace

TEST_CASE("Main Mode and Quick Mode between two gateways, message by message", "[main_mode][quick_mode][rfc2409-5.4][rfc2409-5.5]") {
  World world;
  world.record = true;
  auto [a, b] = two_sites(world);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  INFO(a.transcript() << b.transcript());
  CHECK(ladder(world) == std::vector<std::string>{
                             "10.9.0.1:500 2 SA VID VID VID VID VID VID VID VID",  // I -> R  1
                             "10.9.0.2:500 2 SA VID VID VID",                      // I <- R  2
                             "10.9.0.1:500 2 KE NONCE NAT-D NAT-D",                // I -> R  3
                             "10.9.0.2:500 2 KE NONCE NAT-D NAT-D",                // I <- R  4
                             "10.9.0.1:500 2*",                                    // I -> R  5
                             "10.9.0.2:500 2*",                                    // I <- R  6
                             "10.9.0.1:500 32*",                                   // Quick Mode 1
                             "10.9.0.2:500 32*",                                   // 2
                             "10.9.0.1:500 32*",                                   // 3
                         });
  require_matching(a, b);
  CHECK(a.current_out("net")->sa.local.port == 0);  // native ESP
  CHECK(a.counted(Exchange::MainMode, Reason::Ok) == 1);
  CHECK(b.counted(Exchange::QuickMode, Reason::Ok) == 1);
  const auto sa = a.engine->ike_sas().at(0);
  CHECK(sa.suite.to_string() == "aes128-sha256-ecp256");
  CHECK(sa.remote_id == "10.9.0.2");
  CHECK(sa.children.at(0).state == ike::ChildState::Installed);
}

TEST_CASE("suites of each kind of phase 1 and phase 2: hash, group, combined mode or not, PFS or not", "[main_mode][quick_mode]") {
  const auto ike_suite =
      GENERATE("aes256-sha1-modp2048", "aes192-sha256-modp3072", "aes128-sha384-modp4096", "aes128-sha512-ecp384", "aes256-sha256-ecp521");
  const auto esp_suite = GENERATE("aes256gcm16", "aes128-sha1", "aes256-sha256-ecp256");
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) {
    for (auto* c : {&ca, &cb}) {
      c->connections[0].proposals = parse_ike_proposal(ike_suite).value();
      c->connections[0].children[0].esp_proposals = parse_esp_proposal(esp_suite).value();
    }
  });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  require_matching(a, b);
  CHECK(a.engine->ike_sas().at(0).suite.to_string() == ike_suite);
  CHECK(a.current_out("net")->sa.suite.to_string() == esp_suite);
}

TEST_CASE("the real key exchange agrees, too", "[main_mode][quick_mode]") {
  World world;
  world.real_dh = true;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    for (auto* c : {&ca, &cb}) c->connections[0].children[0].esp_proposals = parse_esp_proposal("aes128gcm16-ecp256").value();
  });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  require_matching(a, b);
}

// Transport mode through a NAT (RFC 3947 §5.2, RFC 3948 §5.1), as L2TP's clients do it: each side names addresses that the other does not
// have. The configurations are files that the loader takes.
#include <catch2/catch.hpp>

#include "common/config/load.hpp"
#include "control/ikev1/vendor_ids.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev1::PayloadType;

namespace {

config::GatewayConfig load(const std::string& address, const std::string& peer, const std::string& child) {
  const std::string text =
      "dataplane: {socket: /run/x/dp.sock, workers: [0], main_cpu: 0, idle: adaptive, memory: {hugepages: false, size: 256MB, mbufs: "
      "8192}}\n"
      "ports: {wan: {device: \"net_af_packet0,iface=gw0\", addresses: [" +
      address +
      "/24]}}\n"
      "routes: [{to: 0.0.0.0/0, via: " +
      address.substr(0, address.rfind('.')) +
      ".254}]\n"
      "control: {socket: /run/x/culvertd.sock}\n"
      "connections:\n"
      "  c: {local_addrs: " +
      address + ", remote_addrs: " + peer + ", proposals: aes128-sha256-ecp256, local: {id: " + address +
      "},\n"
      "      remote: {id: \"%any\"}, secret: file:/run/x/psk, children: {net: {esp_proposals: aes128gcm16, mode: transport, " +
      child + "}}}\n";
  const auto loaded = config::load_text(text, "gw.yaml");
  if (!loaded)
    for (const auto& d : loaded.error()) UNSCOPED_INFO(d.to_string());
  REQUIRE(loaded);
  return loaded->config;
}

const char* const kServer = "local_ts: \"dynamic[udp/1701]\", remote_ts: \"dynamic[udp]\"";
const char* const kClient = "local_ts: \"dynamic[udp/1701]\", remote_ts: \"dynamic[udp/1701]\", start_action: start";

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
std::string text(const std::optional<IpAddress>& address) { return address ? address->to_string() : "none"; }
std::string selectors(const ike::InstallSa& sa) { return sa.local_ts.to_string() + " - " + sa.remote_ts.to_string(); }

}  // namespace

TEST_CASE("transport mode behind a NAT: addresses that the other side names are those that it means", "[nat][rfc3947-5.2][rfc3948-5.1]") {
  const bool draft = GENERATE(false, true);
  const bool server_too = GENERATE(false, true);  // behind a NAT that is 10.9.0.2 outside
  World world;
  const std::string server = server_too ? "192.168.8.2" : "10.9.0.2";
  Host& a = world.add("A", load("192.168.7.1", "10.9.0.2", kClient));
  Host& b = world.add("B", load(server, "\"%any\"", kServer));
  world.add_nat(ip("192.168.7.1"), ip("10.9.0.1"));
  if (server_too) world.add_open_nat(ip("192.168.8.2"), ip("10.9.0.2"));
  if (draft)
    world.hook = [&](ike::Datagram& d) {
      const auto seen = look(d);
      if (main_mode_number(d, d.local.address == ip("192.168.7.1")) != 1) return true;
      ikev1::Builder payloads;
      for (const auto& p : seen->clear->payloads())
        if (p.type != PayloadType::Vendor) payloads.add_raw(p.type, p.body);
      payloads.add(ikev1::Vendor{ikev1::vendor_id(ikev1::VendorId::NatTDraft02)});
      rewrite(d, seen->header, payloads);
      return true;
    };
  a.start();
  b.start();
  INFO(a.transcript() << b.transcript());
  REQUIRE(world.run_until([&] { return a.up() && b.live_pairs() == 1; }, 30s));
  const auto& at_a = a.inbound.begin()->second.sa;
  const auto& at_b = b.inbound.begin()->second.sa;
  CHECK(text(at_a.original_local) == "10.9.0.1");  // as B sees us
  CHECK(text(at_a.original_remote) == server);
  CHECK(text(at_b.original_local) == "10.9.0.2");
  CHECK(text(at_b.original_remote) == "192.168.7.1");  // as A sees itself
  CHECK(selectors(at_a) == "192.168.7.1/32[udp/1701] - 10.9.0.2/32[udp/1701]");
  CHECK(selectors(at_b) == server + "/32[udp/1701] - 10.9.0.1/32[udp/1701]");
  CHECK(at_b.mode == SaMode::Transport);
  // The gateway renews it, and names what it knows.
  REQUIRE(b.engine->rekey(world.now, "c", "net", false, "").ok);
  b.perform();
  REQUIRE(world.run_until([&] { return a.inbound.size() == 2 && b.inbound.size() == 2; }, 10s));
  world.run(20s);
  CHECK(a.live_pairs() == 1);
  CHECK(b.live_pairs() == 1);
  CHECK(selectors(a.outbound.back().sa) == "192.168.7.1/32[udp/1701] - 10.9.0.2/32[udp/1701]");
}

TEST_CASE("transport mode: of two clients behind one NAT that want the same ports the second is told so; with other ports both are there",
          "[nat][rfc3948-5.1][attack-L4]") {
  const bool same = GENERATE(true, false);
  World world;
  auto second = load("192.168.7.2", "10.9.0.2", kClient);
  if (!same) second.connections[0].children[0].local_ts = TrafficSelector::parse("192.168.7.2/32[udp/1702]").value();
  Host& a = world.add("A", load("192.168.7.1", "10.9.0.2", kClient));
  Host& c = world.add("C", second);
  Host& b = world.add("B", load("10.9.0.2", "\"%any\"", kServer));
  world.add_nat(ip("192.168.7.1"), ip("10.9.0.1"));
  world.add_nat(ip("192.168.7.2"), ip("10.9.0.1"));
  b.start();
  a.start();
  REQUIRE(world.run_until([&] { return a.up(); }, 30s));
  c.start();
  world.run(5s);
  INFO(c.transcript() << b.transcript());
  CHECK(a.up());
  CHECK(c.up() != same);
  CHECK(b.live_pairs() == (same ? 1 : 2));
  CHECK((b.counted(Exchange::QuickMode, Reason::SelectorMismatch) > 0) == same);
}

TEST_CASE("transport mode through a NAT: no other address than that of NAT-OA is the peer's", "[nat][rfc3947-5.2]") {
  World world;
  auto client = load("192.168.7.1", "10.9.0.2", kClient);
  client.connections[0].children[0].local_dynamic = false;
  client.connections[0].children[0].local_ts = TrafficSelector::parse("192.168.7.99/32[udp/1701]").value();
  Host& a = world.add("A", client);
  Host& b = world.add("B", load("10.9.0.2", "\"%any\"", kServer));
  world.add_nat(ip("192.168.7.1"), ip("10.9.0.1"));
  a.start();
  b.start();
  world.run(10s);
  CHECK_FALSE(a.up());
  CHECK(b.live_pairs() == 0);
  CHECK(b.counted(Exchange::QuickMode, Reason::SelectorMismatch) > 0);
}

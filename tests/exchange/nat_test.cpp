// NAT traversal: which of its texts two sides agree on, and what follows from each.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev1/vendor_ids.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev1::PayloadType;
using ikev1::VendorId;

namespace {

/// A at 192.168.7.1 behind a NAT that is 10.9.0.1 outside; B outside.
Pair behind_nat(World& world) {
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    ca = site("192.168.7.1", "10.9.0.2", config::StartAction::Start);
    cb.connections[0].remote_addrs.clear();
  });
  world.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::parse("10.9.0.1").value());
  return {a, b};
}

/// Lets of all texts of NAT traversal only these pass in message 1, as if the initiator knew no others.
Hook only(Host& a, std::vector<VendorId> texts) {
  return [&a, texts](ike::Datagram& d) {
    if (main_mode_number(d, d.local.address == a.config.connections[0].local_addrs.front()) != 1) return true;
    const auto seen = look(d);
    ikev1::Builder b;
    for (const auto& p : seen->clear->payloads()) {
      const auto* known = p.type == PayloadType::Vendor ? ikev1::recognise_vendor(p.body) : nullptr;
      const bool text = known && known->name.starts_with("NAT-T");
      if (!text || std::ranges::find(texts, known->id) != texts.end()) b.add_raw(p.type, p.body);
    }
    rewrite(d, seen->header, b);
    return true;
  };
}

void establish(World& world, Host& a, Host& b) {
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  world.begin_traffic();
  world.run(60s);
  CHECK(world.gaps.empty());
}

std::size_t count(const ikev1::Message& message, PayloadType type) { return message.count(type); }

}  // namespace

TEST_CASE("each text of NAT traversal carries a tunnel through a NAT, by its own numbers", "[nat][rfc3947-3.1][rfc3947-4]") {
  struct Row {
    VendorId text;
    std::uint16_t port;
    bool rfc;
  };
  const Row row = GENERATE(Row{VendorId::NatTRfc3947, 4500, true}, Row{VendorId::NatTDraft03, 4500, false},
                           Row{VendorId::NatTDraft02Newline, 4500, false}, Row{VendorId::NatTDraft02, 4500, false},
                           Row{VendorId::NatTDraft01, 500, false}, Row{VendorId::NatTDraft00, 500, false});
  World world;
  world.record = true;
  auto [a, b] = behind_nat(world);
  world.hook = only(a, {row.text});
  establish(world, a, b);
  for (Host* h : {&a, &b}) {
    CHECK(h->engine->ike_sas().front().local.port == row.port);
    REQUIRE(h->current_out("net"));
    CHECK(h->current_out("net")->sa.local.port == row.port);
    CHECK(h->current_out("net")->sa.remote.port != 0);
  }
  CHECK(a.engine->ike_sas().front().nat_local);
  CHECK(b.engine->ike_sas().front().nat_remote);
  for (const ike::Datagram& d : world.wire) {
    const auto seen = look(d);
    if (!seen || !seen->clear || seen->header.exchange != ike::kExchangeMainMode) continue;
    if (seen->clear->count(PayloadType::Ke) == 0) continue;
    CHECK(count(*seen->clear, PayloadType::NatD) == (row.rfc ? 2 : 0));
    CHECK(count(*seen->clear, PayloadType::NatDDraft) == (row.rfc ? 0 : 2));
  }
}

TEST_CASE("of several texts of NAT traversal the newest is chosen, and the only one answered", "[nat][rfc3947-3.1]") {
  World world;
  world.record = true;
  auto [a, b] = behind_nat(world);
  world.hook = only(a, {VendorId::NatTDraft00, VendorId::NatTDraft02, VendorId::NatTDraft03});
  establish(world, a, b);
  const auto message2 = std::ranges::find_if(world.wire, [&](const ike::Datagram& d) {
    return d.local.address == b.config.connections[0].local_addrs.front() && main_mode_number(d, false) == 2;
  });
  REQUIRE(message2 != world.wire.end());
  std::vector<VendorId> answered;
  const auto seen2 = look(*message2);  // g++ 12 does not keep it for the loop
  for (const auto* v : seen2->clear->all<ikev1::Vendor>()) answered.push_back(ikev1::recognise_vendor(v->data)->id);
  CHECK(answered == std::vector{VendorId::NatTDraft03, VendorId::Dpd, VendorId::Fragmentation});
}

TEST_CASE("without a common text nothing is encapsulated, and no NAT is looked for", "[nat][rfc3947-3.1]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) { ca.connections[0].encap = true; });
  world.hook = only(a, {});
  establish(world, a, b);
  CHECK(a.current_out("net")->sa.local.port == 0);
  CHECK(b.current_out("net")->sa.local.port == 0);
}

TEST_CASE("the answer to a first message holds no vendor id that the message has not", "[nat][attack-H3]") {
  World world;
  world.record = true;
  auto [a, b] = two_sites(world);
  world.hook = [&](ike::Datagram& d) {
    if (main_mode_number(d, d.local.address == a.config.connections[0].local_addrs.front()) != 1) return true;
    const auto seen = look(d);
    ikev1::Builder bare;
    bare.add_raw(PayloadType::Sa, seen->clear->raw(PayloadType::Sa)->body);
    rewrite(d, seen->header, bare);
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  for (const ike::Datagram& d : world.wire) {
    const auto seen = look(d);
    if (seen && seen->clear && d.local.address == b.config.connections[0].local_addrs.front())
      CHECK(seen->clear->count(PayloadType::Vendor) == 0);
  }
}

TEST_CASE("an authenticated message from another address moves all that leads to the peer", "[nat][rfc3947-4]") {
  World world;
  auto [a, b] = behind_nat(world);
  a.config.connections[0].children.push_back(child("more", "10.1.8.0/24", "10.2.8.0/24", "aes128gcm16", config::StartAction::Start));
  b.config.connections[0].children.push_back(child("more", "10.2.8.0/24", "10.1.8.0/24", "aes128gcm16", config::StartAction::None));
  for (Host* h : {&a, &b}) h->engine = std::make_unique<ike::Engine>(h->config, *h);
  establish(world, a, b);
  REQUIRE(b.outbound.size() == 2);
  const Endpoint before = b.engine->ike_sas().front().remote;
  world.forget_nat();
  CHECK(a.engine->rekey(world.now, "c", "net", false).ok);
  a.perform();
  REQUIRE(world.run_until([&] { return b.engine->ike_sas().front().remote != before; }, 5s));
  world.run(5ms);
  for (const PlaneSa& sa : b.outbound) CHECK(sa.sa.remote == b.engine->ike_sas().front().remote);
  CHECK(a.inbound.size() >= 2);  // and not because they were made anew
}

TEST_CASE("authentic ESP from another address moves the ISAKMP SA and the peer's other pairs", "[nat][attack-L2]") {
  World world;
  auto [a, b] = behind_nat(world);
  a.config.connections[0].children.push_back(child("more", "10.1.8.0/24", "10.2.8.0/24", "aes128gcm16", config::StartAction::Start));
  b.config.connections[0].children.push_back(child("more", "10.2.8.0/24", "10.1.8.0/24", "aes128gcm16", config::StartAction::None));
  for (Host* h : {&a, &b}) h->engine = std::make_unique<ike::Engine>(h->config, *h);
  establish(world, a, b);
  CHECK(b.inbound.begin()->second.sa.follow);
  CHECK_FALSE(a.inbound.begin()->second.sa.follow);  // the one outside has no NAT
  const Endpoint elsewhere{IpAddress::parse("10.9.0.77").value(), 4711};
  b.engine->on_moved(world.now, {b.inbound.begin()->second.sa.spi, elsewhere});
  b.perform();
  world.run(1ms);
  CHECK(b.engine->ike_sas().front().remote == elsewhere);
  // The data plane has moved the pair itself; the other one it was told of.
  CHECK(std::ranges::count(b.outbound, elsewhere, [](const PlaneSa& s) { return s.sa.remote; }) == 1);
  const std::size_t said = b.reports(Reason::Ok).size();
  b.engine->on_moved(world.now, {b.inbound.begin()->second.sa.spi, elsewhere});  // again
  b.engine->on_moved(world.now, {Spi{0xdead}, {IpAddress::parse("10.9.0.78").value(), 1}});
  b.perform();
  CHECK(b.reports(Reason::Ok).size() == said);
  CHECK(b.engine->ike_sas().front().remote == elsewhere);
}

TEST_CASE("a peer that hears nothing shows its new address within a keepalive interval", "[nat][rfc3948-4]") {
  World world;
  auto [a, b] = behind_nat(world);
  for (Host* h : {&a, &b}) h->config.connections[0].dpd_delay = config::Seconds{300};
  for (Host* h : {&a, &b}) h->config.connections[0].dpd_timeout = config::Seconds{900};
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  world.run(60s);
  const Endpoint before = b.engine->ike_sas().front().remote;
  world.forget_nat();
  REQUIRE(world.run_until([&] { return b.engine->ike_sas().front().remote != before; }, a.config.ike.keepalive));
  world.run(1s);
  CHECK(b.current_out("net")->sa.remote == b.engine->ike_sas().front().remote);
}

TEST_CASE("the last packet from the peer came at any time of the keepalive interval: its next one comes within one", "[nat][rfc3948-4]") {
  const auto phase = std::chrono::milliseconds{GENERATE(range(0, 5000, 250))};
  World world;
  auto [a, b] = behind_nat(world);
  for (Host* h : {&a, &b}) h->config.ike.keepalive = config::Seconds{5};
  for (Host* h : {&a, &b}) h->config.connections[0].dpd_delay = config::Seconds{300};
  for (Host* h : {&a, &b}) h->config.connections[0].dpd_timeout = config::Seconds{900};
  for (Host* h : {&a, &b}) h->engine = std::make_unique<ike::Engine>(h->config, *h);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  world.run(20s + phase);
  const Endpoint before = b.engine->ike_sas().front().remote;
  world.forget_nat();
  const ike::TimePoint last = world.now;
  world.run(1s);  // it is noticed once a second
  a.engine->on_traffic(world.now, a.inbound.begin()->second.sa.spi, last);
  a.perform();
  REQUIRE(world.run_until([&] { return b.engine->ike_sas().front().remote != before; }, 4s));
}

TEST_CASE("unique: never: whose NAT has given it another port is another peer from then on, and is sent by what it has rekeyed since",
          "[nat][peers][policy][unique]") {
  World world(GENERATE(1, 2, 3, 4));
  auto [a, b] = behind_nat(world);
  b.config.connections[0].unique = config::Unique::Never;
  b.engine = std::make_unique<ike::Engine>(b.config, b);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.current_out("net"); }, 30s));
  const Endpoint before = b.engine->ike_sas().front().remote;
  world.forget_nat();
  REQUIRE(world.run_until([&] { return b.engine->ike_sas().front().remote != before; }, 120s));
  a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
  REQUIRE(world.run_until([&] { return b.outbound.size() == 2; }, 30s));
  CHECK((b.outbound[0].sa.own_policy && b.outbound[0].sa.peer != b.outbound[1].sa.peer));
  CHECK(b.current_out("net") == &b.outbound[1]);
  world.run(120s);
  REQUIRE(b.outbound.size() == 1);
  CHECK(b.current_out("net") == &b.outbound[0]);
  CHECK(a.inbound.contains(b.outbound[0].sa.spi.value));
}

TEST_CASE("NAT-D payloads that are no hashes: the message is dropped, a good one still goes through", "[nat][attack-L1]") {
  World world;
  auto [a, b] = behind_nat(world);
  const int number = GENERATE(3, 4);
  const std::size_t size = GENERATE(0U, 19U, 31U, 33U, 60000U);
  unsigned spoilt = 0;
  world.hook = [&, number, size](ike::Datagram& d) {
    if (main_mode_number(d, d.local.address != b.config.connections[0].local_addrs.front()) != number || spoilt > 0) return true;
    ++spoilt;
    const auto seen = look(d);
    ikev1::Builder bad;
    for (const auto& p : seen->clear->payloads()) bad.add_raw(p.type, p.type == PayloadType::NatD ? Bytes(size, 7) : p.body);
    rewrite(d, seen->header, bad);
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  CHECK(spoilt == 1);
  CHECK((number == 3 ? b : a).reports(Reason::Malformed).size() == 1);
  CHECK(a.engine->ike_sas().front().nat_local);
}

TEST_CASE("a hundred NAT-D payloads are refused, sixteen are looked at", "[nat][attack-L1]") {
  World world;
  auto [a, b] = behind_nat(world);
  const bool many = GENERATE(false, true);
  unsigned spoilt = 0;
  world.hook = [&, many](ike::Datagram& d) {
    if (main_mode_number(d, d.local.address != b.config.connections[0].local_addrs.front()) != 3 || spoilt > 0) return true;
    ++spoilt;
    const auto seen = look(d);
    ikev1::Builder more;
    for (const auto& p : seen->clear->payloads()) more.add_raw(p.type, p.body);
    for (int i = 0; i < (many ? 98 : 14); ++i) more.add_raw(PayloadType::NatD, Bytes(32, 7));
    rewrite(d, seen->header, more);
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  CHECK(b.reports(Reason::Malformed).size() == (many ? 1U : 0U));
}

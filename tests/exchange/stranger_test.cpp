// What somebody without a key can make a gateway do: compute, write log lines, undo an operator's word, move a peer. Each has a bound.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ike/newcomers.hpp"
#include "control/ikev1/proposal.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Seconds;
using ike::Exchange;

namespace {

const Endpoint kGateway{IpAddress::parse("10.9.0.2").value(), 500}, kStranger{IpAddress::parse("10.9.0.1").value(), 500};

/// Sends a clear Main Mode message to the gateway and returns the last thing that the gateway sent, if it sent any.
std::optional<Seen> say(World& world, IkeSpi spi_i, IkeSpi spi_r, const ikev1::Builder& payloads) {
  ike::Header h;
  h.spi_i = spi_i;
  h.spi_r = spi_r;
  h.exchange = ike::kExchangeMainMode;
  ike::Datagram d{kGateway, kStranger, {}};
  rewrite(d, h, payloads);
  world.wire.clear();
  world.deliver(d);
  world.run(10ms);
  return world.wire.empty() ? std::nullopt : look(world.wire.back());
}

ikev1::Builder offer(const std::string& proposal) {
  ikev1::Builder b;
  b.add(ikev1::build_ike_offer(parse_ike_proposal(proposal).value(), 3600));
  return b;
}

std::size_t warnings(const Host& h) {
  return static_cast<std::size_t>(std::ranges::count_if(h.log, [](const ike::Report& r) { return r.severity == ike::Severity::Warn; }));
}

}  // namespace

TEST_CASE("a stranger buys no more key exchanges than the half-open bounds allow", "[main_mode][attack-D7][attack-H6]") {
  World world;
  world.record = true;
  auto [a, b] = two_sites(world);
  static_cast<void>(a);
  b.start();
  const bool good_value = GENERATE(false, true);
  const Bytes value = good_value ? from_hex(
                                       "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
                                       "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
                                       .value()  // the base point
                                 : Bytes(64, 0xff);
  for (std::uint64_t i = 1; i <= 40; ++i) {
    const auto message2 = say(world, IkeSpi{i}, {}, offer("aes128-sha256-ecp256"));
    if (!message2 || message2->header.exchange != ike::kExchangeMainMode) continue;
    ikev1::Builder message3;
    message3.add(ikev1::Ke{value}).add(ikev1::Nonce{Bytes(16, 1)});
    say(world, IkeSpi{i}, message2->header.spi_r, message3);
    for (std::uint8_t k = 0; k < 20; ++k) {  // message 5s that prove nothing
      ike::Header h{};
      h.spi_i = IkeSpi{i};
      h.spi_r = message2->header.spi_r;
      h.next_payload = static_cast<std::uint8_t>(ikev1::PayloadType::Id);
      h.exchange = ike::kExchangeMainMode;
      h.flags = ike::kFlagEncryption;
      world.deliver({kGateway, kStranger, ike::encode_message(h, Bytes(48, k))});
    }
  }
  const Reason reason = good_value ? Reason::AuthFailed : Reason::BadKe;
  CHECK(b.counted(Exchange::MainMode, reason) == b.config.ike.half_open_per_source);
  const std::size_t kept_out = 40 - b.config.ike.half_open_per_source;
  CHECK(b.counted(Exchange::MainMode, Reason::Limit) == kept_out);
  CHECK(b.counted(Exchange::MainMode, Reason::Malformed) == kept_out * 20);  // no message 3
  world.run(b.config.ike.half_open_timeout + 1s);
  CHECK(b.engine->ike_sas().empty());
  CHECK(b.counted(Exchange::MainMode, Reason::Timeout) == kept_out);  // the others were reported before
}

TEST_CASE("refusals of strangers are all counted, and a handful a second is logged", "[main_mode][attack-A10]") {
  World world;
  auto [a, b] = two_sites(world);
  static_cast<void>(a);
  b.start();
  for (std::uint64_t i = 1; i <= 500; ++i) say(world, IkeSpi{i}, {}, offer("aes256-sha512-modp4096"));  // in 5 s
  CHECK(b.counted(Exchange::MainMode, Reason::NoProposalChosen) == 500);
  CHECK(warnings(b) >= 20);
  CHECK(warnings(b) <= 50);
}

TEST_CASE("packets do not undo an operator's end of a start child", "[commands][trap]") {
  const auto start = GENERATE(config::StartAction::Start, config::StartAction::Trap);
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto&) { ca.connections[0].children[0].start_action = start; });
  a.start();
  b.start();
  REQUIRE(a.engine->initiate(world.now, "c", "").ok);
  a.perform();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 10s));
  REQUIRE(a.engine->terminate(world.now, "c", "").ok);
  a.perform();
  for (int i = 0; i < 20; ++i) {  // as the data plane does while packets go on
    world.run(1s);
    a.engine->on_acquire(world.now, "c", "net");
    a.perform();
  }
  CHECK(a.up() == (start == config::StartAction::Trap));  // there a packet is what brings it up
  REQUIRE(a.engine->initiate(world.now, "c", "").ok);
  a.perform();
  CHECK(world.run_until([&] { return a.up() && b.up(); }, 20s));
}

TEST_CASE("after a restart the successor of an SA is tried for until it is there", "[restart]") {
  const auto start = GENERATE(config::StartAction::None, config::StartAction::Trap);
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto&) { ca.connections[0].children[0].start_action = start; });
  a.start();
  b.start();
  REQUIRE(a.engine->initiate(world.now, "c", "").ok);
  a.perform();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 10s));
  const std::uint64_t pair = a.current_out("net")->sa.pair;
  world.hook = [](ike::Datagram&) { return false; };  // the first attempt fails
  a.restart();
  world.run(80s);
  CHECK(a.counted(Exchange::MainMode, Reason::Timeout) == 1);
  CHECK(a.current_out("net")->sa.pair == pair);
  world.hook = {};
  CHECK(world.run_until([&] { return a.current_out("net") && a.current_out("net")->sa.pair != pair; }, 90s));
}

TEST_CASE("a message of long ago does not move a peer behind a NAT", "[nat][replay][rfc3947]") {
  World world;
  auto a_config = site("192.168.7.1", "10.9.0.2", config::StartAction::Start);
  auto b_config = site("10.9.0.2", "", config::StartAction::None);
  a_config.connections[0].dpd_delay = Seconds{1};
  b_config.connections[0].dpd_delay = Seconds{0};
  Host& a = world.add("A", a_config);
  Host& b = world.add("B", b_config);
  world.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::parse("10.9.0.1").value());
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 10s));
  Bytes captured;
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    if (captured.empty() && seen && seen->header.exchange == ike::kExchangeInformational && d.remote.address == kGateway.address)
      captured = d.data;
    return true;
  };
  world.run(600s);
  REQUIRE_FALSE(captured.empty());
  REQUIRE(b.engine->ike_sas().size() == 1);
  const Endpoint there = b.engine->ike_sas()[0].remote;
  world.deliver({{kGateway.address, 4500}, {IpAddress::parse("203.0.113.66").value(), 4500}, captured});
  CHECK(b.engine->ike_sas()[0].remote == there);
}

TEST_CASE("a flood of spoofed first messages harms neither a tunnel nor newcomers", "[main_mode][attack-H1][attack-D7]") {
  constexpr std::size_t kNewcomers = 20;
  World world;
  auto a_config = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
  auto b_config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
  config::GatewayConfig others = a_config;
  others.connections.clear();
  for (std::size_t i = 0; i < kNewcomers; ++i) {
    config::Connection c = a_config.connections[0], d = b_config.connections[0];
    c.name = d.name = "n" + std::to_string(i);
    c.local_addrs = d.remote_addrs = {IpAddress::parse("10.64.0." + std::to_string(i)).value()};
    const auto network = TrafficSelector::parse("10.128.0." + std::to_string(i) + "/32").value();
    c.children[0].local_ts = d.children[0].remote_ts = network;
    others.connections.push_back(c);
    b_config.connections.push_back(d);
  }
  config::Connection anybody = b_config.connections[0];
  anybody.name = "anybody";
  anybody.remote_addrs.clear();
  b_config.connections.push_back(anybody);
  Host& a = world.add("A", a_config);
  Host& n = world.add("N", others);
  Host& b = world.add("B", b_config);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 10s));
  world.begin_traffic();
  world.link.delay_min = 80ms;  // a long way: the newcomers must not be forgotten before they can answer
  world.link.delay_max = 120ms;
  ike::Datagram first{kGateway, kStranger, {}};
  ike::Header h;
  h.exchange = ike::kExchangeMainMode;
  h.spi_i = IkeSpi{1};
  rewrite(first, h, offer("aes128-sha256-ecp256"));
  std::size_t said_to_nobody = 0;
  world.hook = [&](ike::Datagram& d) {
    const std::uint32_t to = d.remote.address.v4_host();
    if (to >> 24 != 11) return true;
    ++said_to_nobody;
    return false;
  };
  std::function<void()> flood = [&] {  // 40,000 a second, each from another address
    for (int i = 0; i < 40; ++i) {
      for (std::size_t k = 0; k < 8; ++k) first.data[k] = static_cast<std::uint8_t>(world.rng());
      first.remote.address = IpAddress::v4(0x0b000000 | static_cast<std::uint32_t>(world.random(1U << 24)));
      world.deliver(first);
    }
    world.at(world.now + 1ms, flood);
  };
  flood();
  world.run(500ms);
  const unsigned keys_before = b.key_exchanges;
  n.start();
  const auto all_up = [&] { return n.outbound.size() == kNewcomers && b.live_pairs() == kNewcomers + 1; };
  CHECK(world.run_until(all_up, 5s));
  CHECK(b.key_exchanges - keys_before == kNewcomers);  // none for the flood
  CHECK(std::ranges::none_of(world.gaps, [](const std::string& gap) { return gap.starts_with("A/"); }));
  CHECK(b.engine->newcomers() <= ike::kMaxNewcomers);
  CHECK(said_to_nobody > 10'000);
  CHECK(warnings(b) <= 50);
  flood = [] {};
  world.run(b.config.ike.half_open_timeout + 35s);
  CHECK(b.engine->newcomers() == 0);
  CHECK(b.engine->ike_sas().size() == kNewcomers + 1);
}

TEST_CASE("whose message 3 came while there was no room for anybody goes on when anybody leaves room", "[main_mode][attack-H1]") {
  constexpr std::size_t kPeers = 8;
  World world;
  auto inside = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
  auto outside = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
  inside.ike.half_open_limit = 1;
  for (std::size_t i = 1; i < kPeers; ++i) {
    config::Connection c = outside.connections[0], d = inside.connections[0];
    c.name = d.name = "n" + std::to_string(i);
    c.local_addrs = d.remote_addrs = {IpAddress::parse("10.64.0." + std::to_string(i)).value()};
    c.children[0].local_ts = d.children[0].remote_ts = TrafficSelector::parse("10.128.0." + std::to_string(i) + "/32").value();
    outside.connections.push_back(c);
    inside.connections.push_back(d);
  }
  Host& b = world.add("B", inside);
  Host& peers = world.add("N", outside);
  b.start();
  peers.start();
  world.run(450ms);  // before anybody sends a message again
  CHECK(b.counted(Exchange::MainMode, Reason::Ok) == kPeers);
  CHECK(b.counted(Exchange::MainMode, Reason::Limit) >= kPeers - 1);
  CHECK(b.live_pairs() == kPeers);
}

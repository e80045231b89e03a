// A flood of first messages of Aggressive Mode from made-up sources, beside a tunnel and newcomers of both exchanges: what it costs, and
// whom it keeps out, which is nobody.
#include <algorithm>

#include "control/ike/newcomers.hpp"
#include "control/ikev1/proposal.hpp"
#include "tests/exchange/aggressive_helpers.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

constexpr std::size_t kNewcomers = 10;  // of each exchange
const Endpoint kGateway{IpAddress::parse("10.9.0.2").value(), 500};
const char* const kPoint =
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

void sign(config::Connection& c) { c.local_auth.auth = c.remote_auth.auth = config::Proof::Pubkey; }

/// A tunnel from A to B, twenty more peers at N, half of them by Aggressive Mode, and a connection for anybody that the flood means.
struct Crowd {
  World world;
  Host *a = nullptr, *n = nullptr, *b = nullptr;
  std::uint64_t flooded = 0;
  std::size_t said_to_nobody = 0;

  explicit Crowd(bool signatures) {
    auto a_config = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
    auto b_config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config::GatewayConfig others = a_config;
    others.connections.clear();
    for (std::size_t i = 0; i < 2 * kNewcomers; ++i) {
      config::Connection c = a_config.connections[0], d = b_config.connections[0];
      c.name = d.name = "n" + std::to_string(i);
      c.local_addrs = d.remote_addrs = {IpAddress::parse("10.64.0." + std::to_string(i)).value()};
      c.children[0].local_ts = d.children[0].remote_ts = TrafficSelector::parse("10.128.0." + std::to_string(i) + "/32").value();
      c.aggressive = d.aggressive = d.aggressive_psk_exposes_hash = i % 2 == 1;
      if (signatures && c.aggressive) sign(c), sign(d);
      others.connections.push_back(c);
      b_config.connections.push_back(d);
    }
    config::Connection anybody = b_config.connections.back();
    anybody.name = "anybody";
    anybody.remote_addrs.clear();
    b_config.connections.push_back(anybody);
    a = &world.add("A", a_config);
    n = &world.add("N", others);
    b = &world.add("B", b_config);
    for (Host* h : {n, b})
      for (const config::Connection& c : h->config.connections)
        if (c.local_auth.auth == config::Proof::Pubkey) h->keys[c.name] = AuthMethod::EcdsaP256;
    a->start();
    b->start();
    REQUIRE(world.run_until([&] { return a->up() && b->up(); }, 10s));
    world.begin_traffic();
    world.link.delay_min = 80ms;  // a long way: the newcomers must not be forgotten before they can answer
    world.link.delay_max = 120ms;
    world.hook = [this](ike::Datagram& d) {
      if (d.remote.address.v4_host() >> 24 != 11) return true;
      ++said_to_nobody;
      return false;
    };
  }

  /// 20,000 a second, each from another address, until `flooded` is reset.
  void flood(bool signatures) {
    ikev1::Builder payloads;
    payloads.add(ikev1::build_ike_offer(parse_ike_proposal("aes128-sha256-ecp256").value(), 3600,
                                        {.method = signatures ? AuthMethod::EcdsaP256 : AuthMethod::Psk, .hybrid = false, .user = {}}));
    payloads.add(ikev1::Ke{from_hex(kPoint).value()}).add(ikev1::Nonce{Bytes(16, 1)}).add(ikev1::Id{ikev1::IdType::Fqdn, 0, 0, {'x'}});
    ike::Header h;
    h.exchange = ike::kExchangeAggressive;
    h.spi_i = IkeSpi{1};
    ike::Datagram first{kGateway, kGateway, {}};
    rewrite(first, h, payloads);
    step(first);
  }
  bool going = true;

 private:
  void step(ike::Datagram first) {
    if (!going) return;
    for (int i = 0; i < 20; ++i, ++flooded) {
      for (std::size_t k = 0; k < 8; ++k) first.data[k] = static_cast<std::uint8_t>(world.rng());
      first.remote.address = IpAddress::v4(0x0b000000 | static_cast<std::uint32_t>(world.random(1U << 24)));
      world.deliver(first);
    }
    world.at(world.now + 1ms, [this, first] { step(first); });
  }
};

}  // namespace

TEST_CASE("a flood of spoofed first messages of Aggressive Mode harms neither a tunnel nor newcomers of either exchange",
          "[aggressive_mode][attack-H1][attack-D7]") {
  const bool signatures = GENERATE(false, true);
  Crowd crowd(signatures);
  World& world = crowd.world;
  Host &n = *crowd.n, &b = *crowd.b;
  crowd.flood(signatures);
  world.run(1s);
  const unsigned keys_before = b.key_exchanges;
  const TimePoint begun = world.now;
  n.start();
  CHECK(world.run_until([&] { return n.outbound.size() == 2 * kNewcomers && b.live_pairs() == 2 * kNewcomers + 1; }, 5s));
  CHECK(crowd.going);  // they came while it went on
  CHECK(crowd.flooded >= 20'000);
  CHECK(b.counted(Exchange::AggressiveMode, Reason::Ok) == kNewcomers);
  CHECK(b.counted(Exchange::MainMode, Reason::Ok) == kNewcomers + 1);
  // With a pre-shared key it costs a key pair a second; with signatures 250 were answered before anybody had to ask twice.
  const auto seconds = static_cast<unsigned>((world.now - begun) / 1s) + 1;
  CHECK(b.key_exchanges - keys_before <= 2 * kNewcomers + seconds);
  CHECK(keys_before <= (signatures ? 3 + b.config.ike.half_open_limit / 4 : 5));
  CHECK(b.engine->newcomers() <= ike::kMaxNewcomers);
  CHECK(b.engine->ike_sas().size() <= b.config.ike.half_open_limit / 2 + 2 * kNewcomers + 1);
  CHECK(crowd.said_to_nobody > (signatures ? 100 : 10'000));
  CHECK(std::ranges::none_of(world.gaps, [](const std::string& gap) { return gap.starts_with("A/"); }));
  crowd.going = false;
  world.run(b.config.ike.half_open_timeout + 35s);
  CHECK(b.engine->newcomers() == 0);
  CHECK(b.engine->ike_sas().size() == 2 * kNewcomers + 1);
}

TEST_CASE("a flood that sends each first message twice is bounded by half of the places; Main Mode and a pre-shared key do not feel it",
          "[aggressive_mode][signatures][attack-H1][attack-D7]") {
  World world;
  const Pair pair = two_signing_sites(world, AuthMethod::RsaSignature, [](auto& ca, auto& cb) {
    aggressive_once(ca, cb);
    cb.connections[0].remote_addrs.clear();
    cb.ike.half_open_limit = 40;
    auto other = cb.connections[0];  // A's second connection: Main Mode, and a pre-shared key
    other.name = "main";
    other.aggressive = false;
    other.local_auth.auth = other.remote_auth.auth = config::Proof::Psk;
    cb.connections.push_back(other);
    auto begins = ca.connections[0];
    begins.name = "main";
    begins.aggressive = false;
    begins.local_auth.auth = begins.remote_auth.auth = config::Proof::Psk;
    begins.children[0].start_action = config::StartAction::Start;
    ca.connections.push_back(begins);
  });
  Host &a = pair.a, &b = pair.b;
  for (Host* h : {&a, &b}) {
    h->secrets["main"] = "secret";
    h->keys.erase("main");
  }
  b.start();
  std::optional<ike::Datagram> first;
  world.hook = [&](ike::Datagram& d) {
    if (!first && look(d)->header.exchange == ike::kExchangeAggressive) first = ike::Datagram{d.remote, d.local, d.data};
    return true;
  };
  a.start();
  world.run_until([&] { return a.up("main"); }, 1s);
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(3s);
  REQUIRE(first);
  REQUIRE(a.engine->terminate(world.now, "c", "").ok);
  REQUIRE(a.engine->terminate(world.now, "main", "").ok);
  a.perform();
  world.run(30s);
  const unsigned before = b.key_exchanges;
  world.hook = [](ike::Datagram& d) { return d.remote.address.v4_host() >> 24 != 11; };
  for (int i = 0; i < 2000; ++i) {  // in 20 s
    ike::Datagram d = *first;
    for (std::size_t k = 0; k < 8; ++k) d.data[k] = static_cast<std::uint8_t>(world.rng());
    d.remote.address = IpAddress::v4(0x0b000000 + static_cast<std::uint32_t>(i));
    world.deliver(d);
    world.deliver(d);
    if (i == 1000) {
      REQUIRE(a.engine->initiate(world.now, "main", "").ok);
      a.perform();
    }
    world.run(10ms);
    if (i == 1010) CHECK(a.established() == 1);  // at once
  }
  CHECK(b.key_exchanges - before <= 20 * 5 + 1);  // twenty places, each for five seconds at least
  CHECK(b.key_exchanges - before >= 60);          // and the oldest do give way
  CHECK(b.counted(Exchange::AggressiveMode, Reason::Limit) > 1000);
  world.run(b.config.ike.half_open_timeout + 1s);
  CHECK(b.engine->ike_sas().size() == 1);
}

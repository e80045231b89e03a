// Messages at the wrong time, and time that runs out: before there are keys, while both sides replace what they have, and when the peer
// does not go along. Each case carries its number of the list of attacks that the field has met.
#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Seconds;
using ike::Exchange;
using ikev1::PayloadType;

namespace {

bool both_up(const Host& a, const Host& b) { return a.current_out("net") && b.current_out("net"); }
bool one_pair(const Host& h) { return h.inbound.size() == 1 && h.outbound.size() == 1 && h.spis.size() == 1; }

void begin(Host& a, Host& b) {
  a.start();
  b.start();
  REQUIRE(a.world.run_until([&] { return both_up(a, b); }, 60s));
}

void rekey(Host& h, bool isakmp) {
  CHECK(h.engine->rekey(h.world.now, "c", isakmp ? "" : "net", isakmp).ok);
  h.perform();
}

}  // namespace

TEST_CASE("encrypted messages before there are keys, and Quick Mode before there is proof, change nothing",
          "[main_mode][attack-B1][attack-B2]") {
  const int number = GENERATE(2, 3, 4, 5, 6);  // the message that does not arrive while they do
  World world;
  auto [a, b] = two_sites(world);
  std::optional<ike::Datagram> held;
  world.hook = [&, &initiator = a](ike::Datagram& d) {
    const bool from_a = d.local.address == initiator.config.connections[0].local_addrs.front();
    if (main_mode_number(d, from_a) != number) return true;
    held = d;
    return false;
  };
  a.start();
  b.start();
  world.run(300ms);
  REQUIRE(held);
  ike::Header h = look(*held)->header;
  h.flags = ike::kFlagEncryption;
  h.next_payload = static_cast<std::uint8_t>(PayloadType::Hash);
  for (const std::uint8_t exchange : {ike::kExchangeInformational, ike::kExchangeQuickMode, ike::kExchangeTransaction})
    for (const std::size_t size : std::initializer_list<std::size_t>{16, 48, 256})
      for (Host* target : {&a, &b}) {
        h.exchange = exchange;
        h.message_id = MessageId{static_cast<std::uint32_t>(world.rng()) | 1U};
        Bytes body(size);
        for (auto& byte : body) byte = static_cast<std::uint8_t>(world.rng());
        const config::Connection& c = target->config.connections[0];
        const unsigned before = target->sent_datagrams;
        world.deliver({{c.local_addrs[0], 500}, {c.remote_addrs[0], 500}, ike::encode_message(h, body)});
        CHECK(target->sent_datagrams == before);
      }
  CHECK(a.counted(Exchange::QuickMode, Reason::Unexpected) + a.counted(Exchange::QuickMode, Reason::UnknownSa) == 3);
  CHECK(a.established() == 0);
  for (const Host* host : {&a, &b}) {
    CHECK(host->spis.empty());
    CHECK(host->inbound.empty());
  }
  world.hook = nullptr;
  CHECK(world.run_until([&, &one = a, &other = b] { return both_up(one, other); }, 30s));
  CHECK(b.established() == 1);
}

TEST_CASE("no cookie, nonce, key exchange value or key comes twice", "[main_mode][quick_mode][attack-D5]") {
  World world;
  world.record = true;
  world.real_dh = true;
  auto [a, b] = two_sites(world);
  begin(a, b);
  std::set<Bytes> keys;
  std::size_t installed = 0;
  const auto note_keys = [&] {
    for (Host* h : {&a, &b})
      for (const auto& [spi, sa] : h->inbound) {
        const ByteView key = sa.sa.encr_key.view();
        installed += keys.insert(Bytes(key.begin(), key.end())).second ? 1 : 0;
      }
  };
  constexpr std::size_t kTimes = 20;
  note_keys();
  for (std::size_t i = 0; i < kTimes; ++i) {
    rekey(a, true);
    world.run(2s);
    rekey(i % 2 ? a : b, false);
    world.run(40s);
    note_keys();
  }
  CHECK(installed >= 2 * (kTimes + 1));
  std::set<std::uint64_t> cookies;
  std::set<Bytes> once;
  std::size_t negotiations = 0, values = 0;
  for (const ike::Datagram& d : world.wire) {
    const auto seen = look(d);
    if (!seen || !seen->clear || seen->header.exchange != ike::kExchangeMainMode) continue;
    cookies.insert(seen->header.spi_i.value);
    if (seen->header.spi_r) cookies.insert(seen->header.spi_r.value);
    negotiations += seen->header.spi_r ? 0 : 1;
    for (const auto& p : seen->clear->payloads())
      if (p.type == PayloadType::Ke || p.type == PayloadType::Nonce) {
        ++values;
        once.insert(p.body);
      }
  }
  CHECK(negotiations == kTimes + 1);
  CHECK(cookies.size() == 2 * negotiations);
  CHECK(values == 4 * negotiations);
  CHECK(once.size() == values);
}

TEST_CASE("both sides replace the ISAKMP SA at once, and the pair with it: one of each remains, whatever message is lost",
          "[simultaneous][attack-N2]") {
  const int lost = GENERATE(range(-1, 24));
  const bool pairs = GENERATE(false, true);
  World world(static_cast<std::uint64_t>(lost) + 50);
  auto [a, b] = two_sites(world);
  begin(a, b);
  world.begin_traffic();
  world.run(2s);
  int seen = 0;
  world.hook = [&](ike::Datagram&) { return seen++ != lost; };
  for (Host* h : {&a, &b}) {
    rekey(*h, true);
    if (pairs) rekey(*h, false);
  }
  world.run(200s);
  CAPTURE(lost, pairs);
  CHECK(world.gaps.empty());
  for (const Host* h : {&a, &b}) {
    CHECK(h->established() == 1);
    CHECK(one_pair(*h));
  }
  CHECK(a.engine->ike_sas().front().spi_i == b.engine->ike_sas().front().spi_i);
}

TEST_CASE("a peer that ignores rekeying, or refuses it: asked seldom, the pair ends on its time, and what is wanted comes back",
          "[rekey][attack-N4]") {
  const bool ignores = GENERATE(true, false);
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) {
    config::Child& c = ca.connections[0].children[0];
    c.rekey_time = Seconds{60};
    c.rand_time = Seconds{0};
    c.life_time = Seconds{300};
  });
  begin(a, b);
  world.begin_traffic();
  const std::uint64_t first = a.current_out("net")->sa.pair;
  b.spi_room = ignores;  // without a free SPI it refuses
  std::set<std::uint32_t> asked;
  bool deaf = ignores;
  world.hook = [&, &initiator = a](ike::Datagram& d) {
    const auto message = look(d);
    const bool from_a = d.local.address == initiator.config.connections[0].local_addrs.front();
    if (!from_a || !message || message->header.exchange != ike::kExchangeQuickMode) return true;
    asked.insert(message->header.message_id.value);
    return !deaf;
  };
  world.run(250s);
  INFO(a.transcript());
  CHECK_FALSE(asked.empty());
  CHECK(asked.size() <= 12);
  REQUIRE(a.current_out("net"));
  CHECK(a.current_out("net")->sa.pair == first);
  CHECK(world.gaps.empty());
  world.run(60s);
  for (const auto& [spi, sa] : a.inbound) CHECK(sa.sa.pair != first);  // past its life_time
  deaf = false;
  b.spi_room = true;
  CHECK(world.run_until([&, &one = a, &other = b] { return both_up(one, other); }, 120s));
  world.end_traffic();
  world.run(120s);
  CHECK(world.run_until([&, &one = a, &other = b] { return one_pair(one) && one_pair(other); }, 30s));  // it may be in the midst of a rekey
}

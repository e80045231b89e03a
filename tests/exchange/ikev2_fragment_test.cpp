// IKEv2 messages in fragments (RFC 7383) between two engines: who sends them, that they come through whatever the line does, and what they
// cost when a stranger or the peer itself misuses them.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ike/nat_traversal.hpp"
#include "control/ike/retransmit.hpp"
#include "control/ikev2/cipher.hpp"
#include "control/ikev2/fragments.hpp"
#include "control/ikev2/keymat.hpp"
#include "control/ikev2/message.hpp"
#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Fragmentation;
using ike::Exchange;

namespace {

constexpr std::uint16_t kPacket = 240;  // less than a configuration may say: every message of a rekeying is cut, too
constexpr const char* kSuite = "aes128gcm16-prfsha256-ecp256";

std::optional<ike::Header> header(const ike::Datagram& d) {
  ByteView bytes = d.data;
  if (d.local.port == ike::kNatPort)
    if (const auto inner = ike::strip_non_esp_marker(bytes)) bytes = *inner;
  const auto framed = ike::parse_header(bytes);
  return framed ? std::optional(framed->header) : std::nullopt;
}
bool is_fragment(const ike::Datagram& d) {
  const auto h = header(d);
  return h && h->next_payload == static_cast<std::uint8_t>(ikev2::PayloadType::Skf);
}
bool is_from(const ike::Datagram& d, const Host& host) { return d.local.address == host.config.connections[0].local_addrs.front(); }
std::size_t fragments(const World& world, const Host& of) {
  return static_cast<std::size_t>(
      std::ranges::count_if(world.wire, [&](const ike::Datagram& d) { return is_from(d, of) && is_fragment(d); }));
}

Pair cut_sites(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  return two_sites(world, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->ike.fragment_size = kPacket;
      g->connections[0].version = 2;
      g->connections[0].proposals = parse_ike_proposal_v2(kSuite).value();
      g->connections[0].local_id = {config::Identity::Type::Fqdn, std::string(g == &a ? 300 : 400, 'h')};
    }
    if (change) change(a, b);
  });
}

/// The initiator A with its own keys, that says what it likes to B.
class Insider {
 public:
  explicit Insider(World& world) : world_(world) {
    const auto payloads = [&](std::size_t i) {
      const auto framed = ike::parse_header(world.wire.at(i).data).value();
      header_ = framed.header;
      return ikev2::Message::parse(ikev2::PayloadType{framed.header.next_payload}, framed.body).value();
    };
    const Bytes nonce_i = payloads(0).find<ikev2::Nonce>()->data, nonce_r = payloads(1).find<ikev2::Nonce>()->data;
    const IkeSuite suite = parse_ike_proposal_v2(kSuite).value().front();
    auto keys = ikev2::derive({suite, nonce_i, nonce_r, world.first_shared.view(), header_.spi_i, header_.spi_r});
    seal_.emplace(suite, std::move(keys.ei), std::move(keys.ai));
    header_.exchange = ike::kExchangeInformationalV2;
    header_.flags = ike::kFlagInitiator;
  }
  void deliver(const Bytes& message) {
    const ike::Datagram& first = world_.wire.front();
    world_.deliver({first.remote, first.local, message});
  }
  Bytes fragment(std::uint32_t id, std::uint16_t number, std::uint16_t total, ByteView part) {
    header_.message_id = MessageId{id};
    return seal_->seal_fragment(header_, ikev2::PayloadType::Notify, part, {number, total});
  }
  void send(std::uint32_t id, std::uint16_t number, std::uint16_t total, ByteView part) { deliver(fragment(id, number, total, part)); }
  /// A request in `total` fragments: a notification that means nothing.
  std::vector<Bytes> cut(std::uint32_t id, std::uint16_t total) {
    const Bytes chain = ikev2::Builder().notify(ikev2::NotifyType{40999}, Bytes(800, 7)).chain();
    const std::size_t size = chain.size() / total;
    std::vector<Bytes> out;
    for (std::uint16_t i = 0; i < total; ++i)
      out.push_back(fragment(id, static_cast<std::uint16_t>(i + 1), total,
                             ByteView(chain).subspan(i * size, i + 1 == total ? chain.size() - i * size : size)));
    return out;
  }

 private:
  World& world_;
  ike::Header header_;
  std::optional<ikev2::Cipher> seal_;
};

std::size_t answers(const World& world, const Host& of, std::uint32_t id) {
  return static_cast<std::size_t>(std::ranges::count_if(world.wire, [&](const ike::Datagram& d) {
    const auto h = header(d);
    return is_from(d, of) && h && (h->flags & ike::kFlagResponse) != 0 && h->message_id.value == id;
  }));
}

}  // namespace

TEST_CASE("IKEv2: who sends fragments and who takes them in; each fits its packet", "[ikev2][fragments][rfc7383-2.3]") {
  const auto a_does = GENERATE(Fragmentation::No, Fragmentation::Accept, Fragmentation::Yes);
  const auto b_does = GENERATE(Fragmentation::No, Fragmentation::Accept, Fragmentation::Yes);
  const bool v6 = GENERATE(false, true), encap = GENERATE(false, true);
  CAPTURE(static_cast<int>(a_does), static_cast<int>(b_does), v6, encap);
  World world;
  world.record = true;
  const Pair p = cut_sites(world, [&](auto& a, auto& b) {
    a.connections[0].fragmentation = a_does;
    b.connections[0].fragmentation = b_does;
    for (auto* g : {&a, &b}) {
      g->connections[0].encap = encap;
      if (!v6) continue;
      g->connections[0].local_addrs = {IpAddress::parse(g == &a ? "2001:db8::1" : "2001:db8::2").value()};
      g->connections[0].remote_addrs = {IpAddress::parse(g == &a ? "2001:db8::2" : "2001:db8::1").value()};
    }
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
  world.run(1s);
  p.b.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
  world.run(1s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.a.counted(Exchange::CreateChildSa, Reason::Ok) == 2);
  for (const Host* h : {&p.a, &p.b}) {
    const auto own = h == &p.a ? a_does : b_does, other = h == &p.a ? b_does : a_does;
    const bool sends = own == Fragmentation::Yes && other != Fragmentation::No;
    CHECK((fragments(world, *h) > 4) == sends);  // a rekeyed IKE SA sends them, too
    std::size_t longest = 0;
    for (const ike::Datagram& d : world.wire)
      if (is_from(d, *h) && header(d) && header(d)->exchange != ike::kExchangeSaInit)
        longest = std::max(longest, d.data.size() + (v6 ? 48 : 28));
    CHECK((longest <= kPacket) == sends);
    CHECK(longest + 16 > kPacket);  // no smaller than it must be
  }
}

TEST_CASE("IKEv2 in fragments over a bad line, by seed", "[ikev2][fragments]") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    World world(seed);
    world.link = {0.15, 0.15, 1ms, 60ms};
    const Pair p = cut_sites(world, [&](auto& a, auto& b) {
      for (auto* g : {&a, &b}) {
        g->connections[0].children[0].rekey_time = config::Seconds{30};
        g->connections[0].children[0].rand_time = config::Seconds{10};
        g->connections[0].children[0].life_time = config::Seconds{300};
        g->connections[0].rekey_time = config::Seconds{70};
        g->connections[0].rand_time = config::Seconds{20};
        g->connections[0].over_time = config::Seconds{300};
      }
    });
    p.a.start();
    p.b.start();
    CAPTURE(seed);
    REQUIRE(world.run_until([&] { return both_up(p); }, 120s));
    world.run(5s);
    world.begin_traffic();
    world.run(240s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(world.gaps == std::vector<std::string>{});
    CHECK(p.a.counted(Exchange::CreateChildSa, Reason::Ok) > 3);
    world.link = {};
    world.end_traffic();
    p.a.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "").ok); });
    world.run(300s);
    CHECK(p.a.spis.empty());
    CHECK(p.b.spis.empty());
  }
}

TEST_CASE("IKEv2: forged fragments in front of each one, and a shuffled order, hinder nothing",
          "[ikev2][fragments][attack-H4][rfc7383-2.6]") {
  World world;
  bool forging = false;
  std::vector<ike::Datagram> held;
  world.hook = [&](ike::Datagram& d) {
    if (forging || !is_fragment(d)) return true;
    forging = true;
    const std::size_t at = d.local.port == ike::kNatPort ? 4 : 0;
    for (const std::size_t changed : {at + 33, at + 35, d.data.size() - 1}) {  // the number, the total, the ICV
      ike::Datagram forged = d;
      forged.data[changed] ^= 3;
      world.deliver({forged.remote, forged.local, forged.data});
    }
    forging = false;
    // The first one comes last.
    held.push_back(d);
    if (held.size() == 1)
      world.at(world.now + 20ms, [&] {
        for (auto it = held.rbegin(); it != held.rend(); ++it) world.deliver({it->remote, it->local, it->data});
        held.clear();
      });
    return false;
  };
  const Pair p = cut_sites(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::BadHash) >= 4);
  CHECK(p.a.counted(Exchange::IkeAuth, Reason::BadHash) >= 4);
  world.run(60s);
  CHECK(p.a.live_pairs() == 1);
  CHECK(p.b.live_pairs() == 1);
}

TEST_CASE("IKEv2: an answered request in fragments is answered again for its first one alone", "[ikev2][fragments][rfc7383-2.6.1]") {
  World world;
  world.record = true;
  const Pair p = cut_sites(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  Insider a(world);
  const std::uint32_t id = 2;
  for (const Bytes& one : a.cut(id, 4)) {
    CHECK(answers(world, p.b, id) == 0);
    a.deliver(one);
  }
  REQUIRE(answers(world, p.b, id) == 1);
  const auto again = a.cut(id, 4);
  for (std::size_t i = 1; i < 4; ++i) a.deliver(again[i]);
  CHECK(answers(world, p.b, id) == 1);
  a.deliver(again[0]);
  CHECK(answers(world, p.b, id) == 2);
  a.deliver(a.cut(id, 7)[0]);  // smaller ones, for a path that bears no more
  CHECK(answers(world, p.b, id) == 3);
  Bytes forged = again[0];
  forged.back() ^= 1;
  a.deliver(forged);
  CHECK(answers(world, p.b, id) == 3);
  for (int i = 0; i < 1000; ++i) a.deliver(again[0]);
  CHECK(answers(world, p.b, id) == 1 + ike::kMaxRepeatsProven);
}

TEST_CASE("IKEv2: a peer that misuses fragments is bounded, and its good message is taken", "[ikev2][fragments][attack-H4]") {
  World world;
  world.record = true;
  const Pair p = cut_sites(world, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) g->connections[0].dpd_delay = config::Seconds{0};
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  Insider a(world);
  std::uint32_t id = 2;
  const auto refused = [&] { return p.b.counted(Exchange::Informational, Reason::Limit); };
  const auto before = refused();
  const auto junk = p.b.counted(Exchange::Informational, Reason::Malformed);
  SECTION("totals up to 65,535, and a byte each") {
    for (unsigned i = 1; i < 65536; i += 13) a.send(id, static_cast<std::uint16_t>(i), 65535, Bytes(1, 1));
    a.send(id, 1, ikev2::kMaxFragments + 1, Bytes(1, 1));
    CHECK(refused() - before == 65535 / 13 + 2);
  }
  SECTION("more bytes than a message may have") {
    for (std::uint16_t i = 1; i < 60; ++i) a.send(id, i, 60, Bytes(2000, 1));
    CHECK(refused() - before == 1);
  }
  SECTION("totals that change midway: the larger one counts") {
    const auto four = a.cut(id, 4), six = a.cut(id, 6);
    for (std::size_t i = 0; i < 3; ++i) a.deliver(four[i]);
    for (std::size_t i = 0; i < 5; ++i) a.deliver(six[i]);
    a.deliver(four[3]);
    CHECK(answers(world, p.b, id) == 0);
    a.deliver(six[5]);
    CHECK(answers(world, p.b, id) == 1);
    ++id;
  }
  SECTION("numbers that have been there, with other bytes") {
    const auto four = a.cut(id, 4);
    for (std::size_t i = 0; i < 3; ++i) a.deliver(four[i]);
    for (int i = 0; i < 1000; ++i) a.send(id, 2, 4, Bytes(50, static_cast<std::uint8_t>(i)));
    a.deliver(four[3]);
    CHECK(answers(world, p.b, id) == 1);
    ++id;
  }
  SECTION("one that never ends is forgotten") {
    const auto four = a.cut(id, 4);
    for (std::size_t i = 0; i < 3; ++i) a.deliver(four[i]);
    world.run(31s);
    a.deliver(four[3]);
    CHECK(answers(world, p.b, id) == 0);
    for (std::size_t i = 0; i < 3; ++i) a.deliver(four[i]);
    CHECK(answers(world, p.b, id) == 1);
    ++id;
  }
  SECTION("message IDs that are not due") {
    for (std::uint32_t i = 3; i < 1000; ++i) a.deliver(a.cut(i, 2)[0]);
    for (const Bytes& one : a.cut(7, 2)) a.deliver(one);
    CHECK(answers(world, p.b, 7) == 0);
  }
  SECTION("what does not parse when it is whole, and empty parts") {
    a.send(id, 1, 2, {});
    a.send(id, 2, 2, Bytes(3, 0));
    CHECK(p.b.counted(Exchange::Informational, Reason::Malformed) == junk + 1);
    CHECK(answers(world, p.b, id) == 0);
  }
  // The last one first.
  const auto good = a.cut(id, 64);
  for (auto it = good.rbegin(); it != good.rend(); ++it) a.deliver(*it);
  CHECK(answers(world, p.b, id) == 1);
  CHECK(p.b.live_pairs() == 1);
  world.run(60s);
  CHECK(p.b.established() == 1);
}

TEST_CASE("IKEv2: fragments that were not agreed on are not taken in", "[ikev2][fragments][attack-H4]") {
  World world;
  world.record = true;
  const Pair p = cut_sites(world, [](auto&, auto& b) { b.connections[0].fragmentation = Fragmentation::No; });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  Insider a(world);
  for (const Bytes& one : a.cut(2, 4)) a.deliver(one);
  CHECK(answers(world, p.b, 2) == 0);
  CHECK(p.b.counted(Exchange::Informational, Reason::Unexpected) == 4);
}

TEST_CASE("IKEv2: a refusal in IKE_AUTH that was lost is said again", "[ikev2][rfc7296-2.1]") {
  World world;
  const Pair p = cut_sites(world);
  p.b.secrets["c"] = "other";
  int lost = 0;
  world.hook = [&](ike::Datagram& d) {
    const auto h = header(d);
    return !(is_from(d, p.b) && h && h->exchange == ike::kExchangeAuth && ++lost <= 2);
  };
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return p.a.counted(Exchange::IkeAuth, Reason::AuthFailed) > 0; }, 20s));
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::AuthFailed) == 1);
}

// What IKEv1 has been shown to withstand at its edges, of IKEv2: lengths that lie, SPIs of zero, groups that nobody has, secrets that are
// missing, proofs that prove nothing; and that nothing of ours comes twice.
#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;
using ike::Exchange;

namespace {

Endpoint at(const char* address, std::uint16_t port) { return {IpAddress::parse(address).value(), port}; }
TrafficSelector net(const char* text) { return TrafficSelector::parse(text).value(); }

/// A and B with a tunnel, and what went over the wire for it.
struct Up {
  World world;
  Pair p;
  Up() : p(two_v2(world)) {
    world.record = true;
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
    world.run(1s);
    sent = p.b.sent_datagrams;
  }
  /// The first request of A in this exchange.
  [[nodiscard]] Bytes request(std::uint8_t exchange) const {
    for (const ike::Datagram& d : world.wire) {
      const auto framed = ike::parse_header(d.data);
      if (framed && framed->header.exchange == exchange && (framed->header.flags & ike::kFlagResponse) == 0) return d.data;
    }
    FAIL("there was none");
    return {};
  }
  void to_b(const Bytes& data, std::uint16_t port = 500) { world.deliver({at("10.9.0.2", port), at("10.9.0.1", port), data}); }
  void check_untouched() {
    world.run(1s);
    INFO(p.b.transcript());
    CHECK(p.b.sent_datagrams == sent);
    CHECK(both_up(p));
    CHECK(p.b.engine->ike_sas().size() == 1);
    CHECK(p.a.engine->ike_sas().size() == 1);
  }
  unsigned sent = 0;
};

/// The same message as somebody's first one would be, under another SPI.
Bytes anew(Bytes message, std::uint8_t spi) {
  message[7] ^= spi;
  return message;
}

void write_length(Bytes& message, std::uint32_t length) {
  for (std::size_t i = 0; i < 4; ++i) message[24 + i] = static_cast<std::uint8_t>(length >> (8 * (3 - i)));
}

}  // namespace

TEST_CASE("IKEv2: datagrams cut at every length, on both ports, with and without the marker, are nothing",
          "[ikev2][attack-A1][rfc7296-3.1]") {
  Up u;
  for (const std::uint8_t exchange : {ike::kExchangeSaInit, ike::kExchangeAuth}) {
    const Bytes whole = anew(u.request(exchange), exchange == ike::kExchangeSaInit ? 1 : 0);
    for (std::size_t n = 0; n < whole.size(); ++n) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
      u.to_b(part);
      u.to_b(part, 4500);
      u.to_b(ike::with_non_esp_marker(part), 4500);
    }
  }
  u.check_untouched();
}

TEST_CASE("IKEv2: a length that is not the datagram's is nothing, longer or shorter", "[ikev2][attack-A2][rfc7296-3.1]") {
  Up u;
  for (const std::uint8_t exchange : {ike::kExchangeSaInit, ike::kExchangeAuth}) {
    const Bytes whole = anew(u.request(exchange), exchange == ike::kExchangeSaInit ? 1 : 0);
    const auto size = static_cast<std::uint32_t>(whole.size());
    for (const std::uint32_t length : {size - 1, size + 1, size + 3, size + 4, 0U, 27U, 28U, 0xdeadU, 0xffffffffU}) {
      Bytes lies = whole;
      write_length(lies, length);
      u.to_b(lies);
      u.to_b(ike::with_non_esp_marker(lies), 4500);
    }
    for (const std::size_t behind : {1U, 3U, 4U, 100U}) {
      Bytes more = whole;
      more.resize(more.size() + behind);
      u.to_b(more);
    }
  }
  u.check_untouched();
}

TEST_CASE("IKEv2: SPIs of zero", "[ikev2][attack-B11][rfc7296-3.1]") {
  Up u;
  const Bytes first = u.request(ike::kExchangeSaInit), second = u.request(ike::kExchangeAuth);
  Bytes nobody = first, none = second, no_initiator = second, no_responder = second;
  std::fill_n(nobody.begin(), 8, std::uint8_t{0});
  std::fill_n(none.begin(), 16, std::uint8_t{0});
  std::fill_n(no_initiator.begin(), 8, std::uint8_t{0});
  std::fill_n(no_responder.begin() + 8, 8, std::uint8_t{0});
  for (const Bytes& m : {nobody, none, no_initiator, no_responder}) u.to_b(m);
  u.check_untouched();
}

TEST_CASE("IKEv2: groups that nobody has are answered with one of ours, and those of other programs with nothing else",
          "[ikev2][attack-A13][rfc7296-1.2][rfc7296-3.4]") {
  World world;
  const Pair p = two_v2(world);
  std::vector<ike::Datagram> answers;
  world.hook = [&](ike::Datagram& d) {
    if (d.local.address == at("10.9.0.2", 0).address) answers.push_back(d);
    return false;
  };
  p.b.start();
  ike::Header h;
  h.major = 2;
  h.exchange = ike::kExchangeSaInit;
  h.flags = ike::kFlagInitiator;
  std::uint64_t spi = 0x1300;
  for (const unsigned group : {0U, 1U, 30U, 34U, 255U, 256U, 1024U, 1025U, 1030U, 1040U, 32768U, 65535U}) {
    CAPTURE(group);
    Builder b;
    b.add(build_ike_offer(parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value()))
        .add(Ke{DhGroup{static_cast<std::uint16_t>(group)}, Bytes(64, 1)});
    b.add(Nonce{Bytes(32, 1)});
    h.spi_i = IkeSpi{++spi};
    h.next_payload = static_cast<std::uint8_t>(b.first());
    answers.clear();
    world.deliver({at("10.9.0.2", 500), at("10.9.0.1", 500), ike::encode_message(h, b.chain())});
    world.run(100ms);
    REQUIRE(answers.size() == 1);
    const auto framed = ike::parse_header(answers[0].data);
    REQUIRE(framed);
    CHECK_FALSE(framed->header.spi_r);
    const auto m = Message::parse(PayloadType{framed->header.next_payload}, framed->body);
    REQUIRE(m);
    const Notify* n = m->notify(NotifyType::InvalidKePayload);
    REQUIRE(n);
    CHECK(n->data == Bytes{0, 19});
    CHECK(p.b.engine->ike_sas().empty());
  }
  CHECK(p.b.key_exchanges == 0);
}

TEST_CASE("IKEv2: no SPI, nonce, key exchange value or key comes twice", "[ikev2][attack-D5][rfc7296-2.10][rfc7296-2.6]") {
  World world;
  world.record = true;
  world.real_dh = true;
  const Pair p = two_v2(world);
  p.a.start();
  p.b.start();
  std::set<std::uint64_t> spis;
  std::set<std::pair<std::uint64_t, std::uint64_t>> sas;
  std::set<Bytes> keys, once;
  std::size_t installed = 0;
  constexpr std::size_t kTimes = 20;
  const auto note = [&] {
    for (const Host* host : {&p.a, &p.b})
      for (const auto& [spi, sa] : host->inbound) {
        const ByteView key = sa.sa.encr_key.view();
        installed += keys.insert(Bytes(key.begin(), key.end())).second ? 1 : 0;
      }
    for (const auto& sa : p.a.engine->ike_sas()) {
      sas.emplace(sa.spi_i.value, sa.spi_r.value);
      spis.insert(sa.spi_i.value);
      spis.insert(sa.spi_r.value);
    }
  };
  for (std::size_t i = 0; i < kTimes; ++i) {
    REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
    note();
    Host& who = i % 2 ? p.a : p.b;
    who.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
    world.run(30s);
    who.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
    world.run(30s);
    note();
    p.a.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "").ok); });
    world.run(10s);
    p.a.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "net").ok); });
  }
  CHECK(sas.size() == 2 * kTimes);
  CHECK(spis.size() == 2 * sas.size());
  CHECK(installed >= 4 * kTimes);
  std::size_t values = 0;
  for (const ike::Datagram& d : world.wire) {
    const auto framed = ike::parse_header(d.data);
    if (!framed || framed->header.exchange != ike::kExchangeSaInit) continue;
    const auto m = Message::parse(PayloadType{framed->header.next_payload}, framed->body);
    REQUIRE(m);
    for (const Payload& payload : m->payloads())
      if (payload.type == PayloadType::Ke || payload.type == PayloadType::Nonce) {
        ++values;
        once.insert(payload.body);
      }
  }
  CHECK(values >= 4 * kTimes);
  CHECK(once.size() == values);
}

TEST_CASE("IKEv2: a secret that is missing leaves no state, however often it is tried", "[ikev2][attack-E12]") {
  const bool at_a = GENERATE(true, false);
  CAPTURE(at_a);
  World world;
  const Pair p = two_v2(world);
  (at_a ? p.a : p.b).secrets.clear();
  p.a.start();
  p.b.start();
  world.run(1s);
  CHECK_THAT(failure_of(at_a ? p.a : p.b), Catch::Contains("the secret file /psk/c is empty"));
  for (int i = 0; i < 1000; ++i) {
    p.a.step([&](ike::Engine& e) { e.initiate(world.now, "c", "net"); });
    world.run(1s);
  }
  CHECK((at_a ? p.a : p.b).counted(Exchange::IkeAuth, Reason::NoSecret) >= 100);
  p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
  world.run(300s);
  check_nothing_left(p);
  for (const Host* h : {&p.a, &p.b}) {
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->spis.empty());
  }
}

TEST_CASE("IKEv2 insider: a proof by no method, by an empty secret, or none at all, is none", "[ikev2][attack-E14][rfc7296-2.15]") {
  const auto proven_by = [](const Auth* auth) {
    World world;
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    Host& b = world.add("B", std::move(config));
    InsiderV2 peer(world, b, at("10.9.0.1", 0).address);
    b.start();
    REQUIRE(peer.begin());
    Auth empty;
    if (auth && auth->data.empty() && auth->method == AuthMethodId::SharedKey) empty = peer.proof(SecretBytes());
    Builder m;
    m.add(peer.identity());
    if (auth) m.add(empty.data.empty() ? *auth : empty);
    m.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(0), false));
    m.add(TsI{{net("10.1.0.0/24")}, 0}).add(TsR{{net("10.2.0.0/24")}, 0});
    const auto said = peer.ask(ike::kExchangeAuth, m);
    INFO(b.transcript());
    CHECK_FALSE(b.up());
    CHECK(b.inbound.empty());
    CHECK(b.counted(Exchange::IkeAuth, Reason::AuthFailed) == 1);
    REQUIRE(said);
    CHECK_FALSE(said->find<Auth>());
    REQUIRE(said->error());
    CHECK(said->error()->type == NotifyType::AuthenticationFailed);
  };
  proven_by(nullptr);  // as a user, whom the connection does not ask for
  for (const int method : {0, 1, 3, 4, 9, 12, 13, 14, 200, 255}) {
    CAPTURE(method);
    const Auth by{AuthMethodId{static_cast<std::uint8_t>(method)}, Bytes(32, 1)};
    proven_by(&by);
  }
  const Auth empty{AuthMethodId::SharedKey, {}}, wrong{AuthMethodId::SharedKey, Bytes(32, 0)}, cut{AuthMethodId::SharedKey, Bytes(1, 0)};
  for (const Auth* by : {&empty, &wrong, &cut}) proven_by(by);
}

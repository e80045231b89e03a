// What an authenticated IKEv2 peer can say that lies: Deletes, notifications, rekeyings of what it does not have, traffic of others.
#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;

namespace {

TrafficSelector sel(const char* text) { return TrafficSelector::parse(text).value(); }
const IpAddress kFirst = IpAddress::parse("10.9.0.1").value(), kSecond = IpAddress::parse("10.9.0.3").value();

struct Liar {
  World world;
  Host& b;
  InsiderV2 peer;
  explicit Liar(const std::function<void(config::GatewayConfig&)>& change = {}) : b(make(world, change)), peer(world, b, kFirst) {
    b.start();
    const auto m = peer.connect(sel("10.1.0.0/24"), sel("10.2.0.0/24"));
    INFO(b.transcript());
    REQUIRE((m && m->find<Auth>()));
    REQUIRE(b.up());
  }
  static Host& make(World& w, const std::function<void(config::GatewayConfig&)>& change) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    if (change) change(config);
    return w.add("B", std::move(config));
  }
  std::optional<Message> tell(PayloadType type, const Bytes& body) {
    return peer.ask(ike::kExchangeInformationalV2, Builder().add_raw(type, body));
  }
};

Bytes body(std::initializer_list<std::uint8_t> head, std::initializer_list<Spi> spis = {}) {
  Writer out;
  for (const std::uint8_t byte : head) out.be(byte);
  for (const Spi spi : spis) out.be(spi.value);
  return std::move(out).take();
}
Builder rekey_of(std::uint8_t protocol, const Bytes& spi, std::uint32_t n) {
  Builder b;
  b.add_raw(PayloadType::Notify, [&] {
    Writer w;
    w.be(protocol);
    w.be(static_cast<std::uint8_t>(spi.size()));
    w.be(static_cast<std::uint16_t>(NotifyType::RekeySa));
    w.bytes(spi);
    return std::move(w).take();
  }());
  b.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(n), true)).add(Nonce{Bytes(32, 9)});
  return b.add(TsI{{sel("10.1.0.0/24")}, 0}).add(TsR{{sel("10.2.0.0/24")}, 0});
}

}  // namespace

TEST_CASE("IKEv2 insider: Deletes whose counts and sizes lie, of others' SAs, twice", "[ikev2][insider][attack-G2][rfc7296-3.11]") {
  Liar in([](auto& g) { g.connections[0].remote_addrs.clear(); });
  const Spi ours = in.b.inbound.begin()->second.sa.spi;
  for (const Bytes& lie : {
           body({3, 4, 0xff, 0xff}, {InsiderV2::spi(0)}),    // 65535 of them, and there is one
           body({3, 4, 0, 2}, {InsiderV2::spi(0)}),          //
           body({3, 4, 0, 0}, {InsiderV2::spi(0)}),          //
           body({3, 3, 0, 1, 0, 0, 0}),                      // an SPI of three bytes
           body({3, 8, 0, 1}, {InsiderV2::spi(0), Spi{0}}),  //
           body({3, 0, 0, 1}),                               //
           body({1, 4, 0, 1}, {InsiderV2::spi(0)}),          // of the IKE SA, which has none
           body({3, 4, 0}),                                  // cut off
           body({}),                                         //
           body({0, 4, 0, 1}, {InsiderV2::spi(0)}),          // of no protocol
           body({255, 4, 0, 1}, {InsiderV2::spi(0)}),        //
           body({2, 4, 0, 1}, {InsiderV2::spi(0)}),          // of AH, and it is ESP's
           body({3, 4, 0, 2}, {ours, Spi{0xdead}}),          // ours, and nobody's
       }) {
    INFO("body of " << lie.size() << "\n" << in.b.transcript());
    in.tell(PayloadType::Delete, lie);
    in.world.run(100ms);
    REQUIRE(in.b.up());
    REQUIRE(in.b.inbound.size() == 1);
    REQUIRE(in.b.current_out("net"));
  }
  SECTION("another peer's") {
    in.world.hook = {};
    InsiderV2 other(in.world, in.b, kSecond);
    REQUIRE(other.connect(sel("10.1.0.0/24"), sel("10.2.0.0/24")));
    REQUIRE(other.ask(ike::kExchangeInformationalV2, Builder().add(Delete{kProtoEsp, {InsiderV2::spi(0), ours}})));
    in.world.run(1s);
    CHECK(in.b.current_out("net"));
    CHECK(in.b.inbound.contains(ours.value));
  }
  SECTION("twice in one, and once more") {
    for (int k = 0; k < 2; ++k)
      CHECK(in.peer.ask(ike::kExchangeInformationalV2, Builder()
                                                           .add(Delete{kProtoEsp, {InsiderV2::spi(0), InsiderV2::spi(0)}})
                                                           .add(Delete{kProtoEsp, {InsiderV2::spi(0)}})
                                                           .notify(NotifyType::InvalidSpi, Bytes(4, 1))));
    CHECK(in.b.established() == 1);
    in.world.run(20s);
    CHECK_FALSE(in.b.current_out("net"));
    CHECK(in.b.inbound.empty());
  }
}

TEST_CASE("IKEv2 insider: REKEY_SA with protocols and SPIs that are none", "[ikev2][insider][attack-G3][rfc7296-3.10]") {
  Liar in;
  const auto spi = [](std::initializer_list<Spi> spis) { return body({}, spis); };
  const Bytes right = spi({InsiderV2::spi(0)});
  for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{0, 1, 4, 255}) {
    const auto m = in.peer.ask(ike::kExchangeCreateChildSa, rekey_of(protocol, protocol == 0 ? Bytes{} : right, 1));
    INFO("protocol " << int{protocol});
    if (m) CHECK((m->error() && m->error()->type == NotifyType::InvalidSyntax));
  }
  for (const std::size_t size : {0U, 1U, 3U, 5U, 8U, 250U}) {
    Bytes bytes = right;
    bytes.resize(size);
    const auto m = in.peer.ask(ike::kExchangeCreateChildSa, rekey_of(kProtoEsp, bytes, 1));
    INFO("an SPI of " << size);
    if (m) CHECK((m->error() && m->error()->type == NotifyType::InvalidSyntax));
  }
  for (const auto& [protocol, named] : {std::pair{kProtoAh, right}, std::pair{kProtoEsp, spi({Spi{0xabad1dea}})}}) {
    const auto m = in.peer.ask(ike::kExchangeCreateChildSa, rekey_of(protocol, named, 1));
    REQUIRE((m && m->error()));
    CHECK(m->error()->type == NotifyType::ChildSaNotFound);
    CHECK(m->error()->protocol == protocol);
    CHECK(m->error()->spi == named);
  }
  CHECK(in.b.up());
  CHECK(in.b.inbound.size() == 1);
  CHECK(in.b.spis.size() == 1);
  const auto m = in.peer.ask(ike::kExchangeCreateChildSa, rekey_of(kProtoEsp, right, 1));
  CHECK((m && m->find<TsI>()));
}

TEST_CASE("IKEv2 insider: notifications of every protocol and SPI size change nothing", "[ikev2][insider][attack-G3][rfc7296-3.10]") {
  Liar in;
  for (const NotifyType type : {NotifyType::InvalidSpi, NotifyType::ChildSaNotFound, NotifyType::RekeySa, NotifyType::InvalidIkeSpi})
    for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{0, 1, 2, 3, 4, 255})
      for (const std::uint8_t size : std::initializer_list<std::uint8_t>{0, 1, 3, 4, 5, 8, 16, 255}) {
        for (const bool lies : {false, true}) {  // there is less of it than it says
          Writer w;
          w.be(protocol);
          w.be(size);
          w.be(static_cast<std::uint16_t>(type));
          w.zeros(lies ? size / 2U : size);
          in.tell(PayloadType::Notify, std::move(w).take());
        }
        REQUIRE(in.b.up());
      }
  CHECK(in.b.inbound.size() == 1);
}

TEST_CASE("IKEv2 insider: a flood of liveness checks, and replays of one: an answer for each, and few for replays",
          "[ikev2][insider][attack-G6][rfc7296-2.4]") {
  Liar in;
  const unsigned before = in.b.sent_datagrams;
  for (int k = 0; k < 500; ++k) REQUIRE(in.peer.ask(ike::kExchangeInformationalV2, Builder()));
  CHECK(in.b.sent_datagrams - before == 500);
  const Bytes latest = in.peer.last;
  for (int k = 0; k < 1000; ++k) in.world.deliver({in.peer.host(), {kFirst, 500}, latest});
  in.world.run(1s);
  CHECK(in.b.sent_datagrams - before <= 500 + ike::kMaxRepeatsProven);
  CHECK(in.b.up());
}

TEST_CASE("IKEv2 insider: a peer that refuses to rekey: asked again later, and what there is stays until its time is over",
          "[ikev2][insider][attack-N4][rfc7296-2.8]") {
  const auto type =
      GENERATE(NotifyType::NoProposalChosen, NotifyType::TemporaryFailure, NotifyType::NoAdditionalSas, NotifyType::InvalidSyntax);
  Liar in([](auto& g) {
    g.connections[0].dpd_delay = 0s;
    g.connections[0].rekey_time = 0s;
    auto& child = g.connections[0].children[0];
    child.rekey_time = 60s;
    child.rand_time = 0s;
    child.life_time = 300s;
  });
  unsigned asked = 0;
  const TimePoint begun = in.world.now;
  while (in.world.now - begun < 280s) {
    if (!in.world.run_until([&] { return in.peer.asked().has_value(); }, 5s)) continue;
    if (in.peer.asked()->header.exchange != ike::kExchangeCreateChildSa) break;
    ++asked;
    in.peer.answer(*in.peer.asked(), Builder().notify(type));
    REQUIRE(in.b.current_out("net"));
  }
  INFO(in.b.transcript());
  CHECK(asked >= 2);
  CHECK(asked <= 250);
  CHECK(in.b.inbound.size() == 1);
}

TEST_CASE("IKEv2 insider: two peers that claim the same traffic: who has it keeps it", "[ikev2][insider][attack-I6]") {
  Liar in([](auto& g) {
    g.connections[0].remote_addrs.clear();
    g.connections[0].children[0].remote_ts = {sel("10.1.0.0/16")};
  });
  REQUIRE(in.b.current_out("net"));
  const Spi before = in.b.current_out("net")->sa.spi;
  in.world.hook = {};
  InsiderV2 other(in.world, in.b, kSecond);
  SECTION("the same, and what has it within") {
    for (const char* text : {"10.1.0.0/24", "10.1.0.7/32"}) {
      InsiderV2 again(in.world, in.b, kSecond);
      const auto m = again.connect(sel(text), sel("10.2.0.0/24"));
      REQUIRE((m && m->find<Auth>() && m->error()));
      CHECK(m->error()->type == NotifyType::TsUnacceptable);
    }
  }
  SECTION("something else") {
    const auto m = other.connect(sel("10.1.9.0/24"), sel("10.2.0.0/24"));
    CHECK((m && m->find<TsI>()));
  }
  REQUIRE(in.b.current_out("net", "10.1.0.0/24"));
  CHECK(in.b.current_out("net", "10.1.0.0/24")->sa.spi == before);
}

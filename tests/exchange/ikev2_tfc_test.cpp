// tfc_padding under IKEv2: towards a peer that takes none in nothing is padded (ESP_TFC_PADDING_NOT_SUPPORTED, RFC 7296 §3.10.1).
#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;

namespace {

constexpr std::uint16_t kPadTo = 1200;
TrafficSelector part(const char* text) { return TrafficSelector::parse(text).value(); }

struct Padding {
  World world;
  Host& b;
  InsiderV2 peer;
  Padding() : b(make(world)), peer(world, b, IpAddress::parse("10.9.0.1").value()) { b.start(); }
  static Host& make(World& w) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    config.connections[0].children[0].rules.tfc_padding = kPadTo;
    return w.add("B", std::move(config));
  }
  void connect(bool takes_none) {
    if (takes_none) peer.announces.push_back(NotifyType::EspTfcPaddingNotSupported);
    const auto said = peer.connect(part("10.1.0.0/24"), part("10.2.0.0/24"));
    INFO(b.transcript());
    REQUIRE((said && said->find<Auth>()));
    REQUIRE(b.current_out("net"));
  }
  static Builder offer(std::uint32_t n) {
    return Builder().add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(n), true)).add(Nonce{Bytes(32, 9)});
  }
  static Builder& with_selectors(Builder& b, bool takes_none, const char* of_initiator = "10.1.0.0/24",
                                 const char* of_responder = "10.2.0.0/24") {
    if (takes_none) b.notify(NotifyType::EspTfcPaddingNotSupported);
    return b.add(TsI{{part(of_initiator)}, 0}).add(TsR{{part(of_responder)}, 0});
  }
  [[nodiscard]] std::uint16_t padded_to() const { return b.current_out("net")->sa.rules.tfc_padding; }
};

}  // namespace

TEST_CASE("IKEv2: tfc_padding is for peers that take it in, in IKE_AUTH and in each CREATE_CHILD_SA that we answer",
          "[ikev2][tfc][rfc7296-3.10.1]") {
  const bool first = GENERATE(false, true), then = GENERATE(false, true);
  Padding in;
  in.connect(first);
  CHECK(in.padded_to() == (first ? PacketRules::kOff : kPadTo));
  Writer spi;
  spi.be(InsiderV2::spi(0).value);
  Builder rekey;
  rekey.add(Notify{kProtoEsp, NotifyType::RekeySa, std::move(spi).take(), {}});
  const auto more = Message::parse(Padding::offer(1).first(), Padding::offer(1).chain());
  for (const auto& payload : more.value().payloads()) rekey.add_raw(payload.type, payload.body);
  REQUIRE(in.peer.ask(ike::kExchangeCreateChildSa, Padding::with_selectors(rekey, then)));
  REQUIRE(in.peer.ask(ike::kExchangeInformationalV2, Builder().add(Delete{kProtoEsp, {InsiderV2::spi(0)}})));
  in.world.run(1s);
  REQUIRE(in.b.current_out("net")->sa.spi == InsiderV2::spi(1));
  CHECK(in.padded_to() == (then ? PacketRules::kOff : kPadTo));
  for (const auto& [number, sa] : in.b.inbound) CHECK(sa.sa.rules.tfc_padding == kPadTo);  // what comes in is the peer's to decide
}

TEST_CASE("IKEv2: tfc_padding is for peers that take it in, in CREATE_CHILD_SA that we ask for", "[ikev2][tfc][rfc7296-3.10.1]") {
  const bool takes_none = GENERATE(false, true);
  Padding in;
  in.connect(false);
  REQUIRE(in.b.engine->rekey(in.world.now, "c", "net", false, "").ok);
  in.b.perform();
  REQUIRE(in.world.run_until([&] { return in.peer.asked().has_value(); }, 5s));
  const auto asked = *in.peer.asked();
  REQUIRE(asked.message.notify(NotifyType::RekeySa));
  Builder answer = Padding::offer(1);
  in.peer.answer(asked, Padding::with_selectors(answer, takes_none, "10.2.0.0/24", "10.1.0.0/24"));
  in.world.run(1s);
  INFO(in.b.transcript());
  REQUIRE(in.b.current_out("net")->sa.spi == InsiderV2::spi(1));
  CHECK(in.padded_to() == (takes_none ? PacketRules::kOff : kPadTo));
}

TEST_CASE("IKEv2: both sides pad as they are configured", "[ikev2][tfc]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    a.connections[0].children[0].rules.tfc_padding = kPadTo;
    b.connections[0].children[0].rules.tfc_padding = PacketRules::kByMtu;
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 3s));
  CHECK(p.a.current_out("net")->sa.rules.tfc_padding == kPadTo);
  CHECK(p.b.current_out("net")->sa.rules.tfc_padding == PacketRules::kByMtu);
}

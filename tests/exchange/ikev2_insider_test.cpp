// What an authenticated IKEv2 peer can do to an engine: no more than it may, and no harm to others.
#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "control/ikev2/redirect_data.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;

namespace {

TrafficSelector ts(const char* text) { return TrafficSelector::parse(text).value(); }

struct In {
  World world;
  Host& b;
  InsiderV2 peer;
  explicit In(const std::function<void(config::GatewayConfig&)>& change = {})
      : b(*make(world, change)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.start();
  }
  static Host* make(World& w, const std::function<void(config::GatewayConfig&)>& change) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    config.connections[0].children[0].start_action = config::StartAction::None;
    if (change) change(config);
    return &w.add("B", std::move(config));
  }
  void connect() {
    const auto m = peer.connect(ts("10.1.0.0/24"), ts("10.2.0.0/24"));
    INFO(b.transcript());
    REQUIRE(m);
    REQUIRE(m->find<Auth>());
    REQUIRE(b.up());
  }
  Builder child(std::uint32_t n, const TrafficSelector& mine, const TrafficSelector& theirs) {
    Builder out;
    out.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(n), true))
        .add(Nonce{Bytes(32, static_cast<std::uint8_t>(n))});
    out.add(TsI{{mine}, 0}).add(TsR{{theirs}, 0});
    return out;
  }
};

NotifyType error_of(const std::optional<Message>& m) {
  REQUIRE(m);
  const Notify* n = m->error();
  REQUIRE(n);
  return n->type;
}

}  // namespace

TEST_CASE("IKEv2 insider: selectors are narrowed, never widened", "[ikev2][attack-I1][attack-I2][rfc7296-2.9]") {
  In in;
  SECTION("wider than ours") {
    const auto m = in.peer.connect(ts("0.0.0.0/0"), ts("0.0.0.0/0"));
    REQUIRE(m);
    REQUIRE(m->find<TsI>());
    CHECK(m->find<TsI>()->selectors == std::vector{ts("10.1.0.0/24")});
    CHECK(m->find<TsR>()->selectors == std::vector{ts("10.2.0.0/24")});
  }
  SECTION("a part of ours") {
    const auto m = in.peer.connect(ts("10.1.0.7"), ts("10.2.0.0/25[tcp/443]"));
    REQUIRE(m);
    REQUIRE(m->find<TsI>());
    CHECK(m->find<TsI>()->selectors == std::vector{ts("10.1.0.7")});
    CHECK(m->find<TsR>()->selectors == std::vector{ts("10.2.0.0/25[tcp/443]")});
    REQUIRE(in.b.current_out("net"));
    CHECK(in.b.current_out("net")->sa.remote_ts == ts("10.1.0.7"));
  }
  SECTION("nothing of ours: the IKE SA stays, without a CHILD SA") {
    const auto m = in.peer.connect(ts("10.77.0.0/24"), ts("10.2.0.0/24"));
    CHECK(error_of(m) == NotifyType::TsUnacceptable);
    CHECK(m->find<Auth>());
    CHECK(in.b.established() == 1);
    CHECK(in.b.inbound.empty());
    CHECK(in.b.spis.empty());
  }
}

TEST_CASE("IKEv2 insider: a rekeying keeps its selectors, and names a pair that is there", "[ikev2][attack-I3][rfc7296-1.3.3]") {
  In in;
  in.connect();
  Writer good, bad;
  good.be(InsiderV2::spi(0).value);
  bad.be(InsiderV2::spi(99).value);
  const Bytes there = std::move(good).take(), nowhere = std::move(bad).take();
  const auto chained = [&](const Bytes& spi, const TrafficSelector& mine) {
    Builder b;
    b.add(Notify{kProtoEsp, NotifyType::RekeySa, spi, {}});
    b.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(1), true)).add(Nonce{Bytes(32, 9)});
    return b.add(TsI{{mine}, 0}).add(TsR{{ts("10.2.0.0/24")}, 0});
  };
  CHECK(error_of(in.peer.ask(ike::kExchangeCreateChildSa, chained(nowhere, ts("10.1.0.0/24")))) == NotifyType::ChildSaNotFound);
  CHECK(error_of(in.peer.ask(ike::kExchangeCreateChildSa, chained(there, ts("10.77.0.0/24")))) == NotifyType::TsUnacceptable);
  CHECK(in.b.inbound.size() == 1);
  const auto m = in.peer.ask(ike::kExchangeCreateChildSa, chained(there, ts("0.0.0.0/0")));
  REQUIRE(m);
  REQUIRE(m->find<TsI>());
  CHECK(m->find<TsI>()->selectors == std::vector{ts("10.1.0.0/24")});
  CHECK(in.b.inbound.size() == 2);
  CHECK(in.b.outbound.size() == 1);  // the peer has not shown that it is ready
  CHECK(in.peer.ask(ike::kExchangeInformationalV2, Builder().add(Delete{kProtoEsp, {InsiderV2::spi(0)}})));
  REQUIRE(in.b.current_out("net"));
  CHECK(in.b.current_out("net")->sa.spi == InsiderV2::spi(1));
}

TEST_CASE("IKEv2 insider: as many CHILD SAs as an IKE SA may have, and no more", "[ikev2][attack-H7]") {
  In in;
  in.connect();
  for (std::uint32_t n = 1; n < kMaxChildren; ++n) {
    const auto m = in.peer.ask(ike::kExchangeCreateChildSa, in.child(n, ts("10.1.0.0/24"), ts("10.2.0.0/24")));
    REQUIRE(m);
    REQUIRE(m->find<Sa>());
  }
  for (std::uint32_t n = 0; n < 20; ++n)
    CHECK(error_of(in.peer.ask(ike::kExchangeCreateChildSa, in.child(5000 + n, ts("10.1.0.0/24"), ts("10.2.0.0/24")))) ==
          NotifyType::NoAdditionalSas);
  CHECK(in.b.spis.size() == kMaxChildren);
  CHECK(in.peer.ask(ike::kExchangeInformationalV2, Builder().add(Delete{kProtoIke, {}})));
  in.world.run(100s);
  CHECK(in.b.spis.empty());
  CHECK(in.b.inbound.empty());
  CHECK(in.b.outbound.empty());
}

TEST_CASE("IKEv2 insider: notifications of every number, in every exchange", "[ikev2][attack-G8][attack-G9]") {
  In in;
  in.connect();
  for (std::uint32_t type = 0; type < 65536; type += type < 64 || (type > 16380 && type < 16460) ? 1 : 977) {
    if (type == static_cast<std::uint32_t>(NotifyType::AuthenticationFailed)) continue;  // ends it (RFC 7296 §2.21.2)
    const auto m = in.peer.ask(ike::kExchangeInformationalV2, Builder().notify(NotifyType{static_cast<std::uint16_t>(type)}, Bytes(4, 1)));
    INFO("notification " << type);
    REQUIRE(m);
  }
  CHECK(in.b.up());
  Builder many;
  for (int i = 0; i < 60; ++i) many.notify(NotifyType{40000}, Bytes(900, 1));
  CHECK(in.peer.ask(ike::kExchangeInformationalV2, many));
  CHECK(in.peer.ask(ike::kExchangeInformationalV2, Builder{}));
  CHECK(in.b.up());
}

TEST_CASE("IKEv2 insider: another IKE_AUTH, or an exchange that nobody knows, ends nothing", "[ikev2][attack-B10]") {
  In in;
  in.connect();
  CHECK(error_of(in.peer.ask(ike::kExchangeAuth, Builder().notify(NotifyType::InitialContact))) == NotifyType::InvalidSyntax);
  CHECK(error_of(in.peer.ask(50, Builder{})) == NotifyType::InvalidSyntax);
  CHECK(error_of(in.peer.ask(ike::kExchangeCreateChildSa, Builder{})) == NotifyType::InvalidSyntax);
  CHECK(in.b.up());
}

TEST_CASE("a client cannot send its gateway away", "[ikev2][redirect][insider]") {
  In in([](auto& b) { b.connections[0].remote_addrs.clear(); });
  in.connect();
  for (const Bytes& data : {encode_redirect({config::parse_gateway("10.9.0.3").value()}), Bytes{}, Bytes(300, 1)})
    CHECK(in.peer.ask(ike::kExchangeInformationalV2, Builder().notify(NotifyType::Redirect, data)));
  in.world.run(5s);
  CHECK(in.b.up());
  CHECK(in.b.reports(Reason::Unexpected).size() == 3);
}

namespace {
/// A CHILD SA of the peer's; its first one rekeyed, or not.
Builder of_peer(std::uint32_t n, std::uint8_t nonce, bool rekeys) {
  Writer spi;
  spi.be(InsiderV2::spi(0).value);
  Builder out;
  if (rekeys) out.add(Notify{kProtoEsp, NotifyType::RekeySa, std::move(spi).take(), {}});
  return out.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(n), true)).add(Nonce{Bytes(32, nonce)});
}
/// What it asks for is answered until it asks for no more.
std::vector<Spi> deleted_by(In& in) {
  std::vector<Spi> out;
  while (in.world.run_until([&] { return in.peer.asked().has_value(); }, 25s)) {
    const auto asked = *in.peer.asked();
    if (const auto* d = asked.message.find<Delete>()) out.insert(out.end(), d->spis.begin(), d->spis.end());
    in.peer.answer(asked, Builder());
  }
  return out;
}
}  // namespace

TEST_CASE("IKEv2 insider: of two pairs that were made at once the one to go is deleted by us, if its maker does not",
          "[ikev2][collision][rfc7296-2.8.1]") {
  const bool rekeys = GENERATE(true, false);
  In in([](auto& b) {
    b.connections[0].dpd_delay = 0s;
    b.connections[0].children[0].rekey_time = b.connections[0].rekey_time = 0s;
  });
  in.connect();
  if (rekeys) {
    REQUIRE(in.b.engine->rekey(in.world.now, "c", "net", false, "").ok);
  } else {
    REQUIRE(in.peer.ask(ike::kExchangeInformationalV2, Builder().add(Delete{kProtoEsp, {InsiderV2::spi(0)}})));
    REQUIRE(in.world.run_until([&] { return in.b.inbound.empty(); }, 30s));
    in.b.engine->initiate(in.world.now, "c", "net");
  }
  in.b.perform();
  in.world.run(1s);
  const auto asked = in.peer.asked();
  REQUIRE((asked && asked->message.find<Sa>()));
  // Ours has the lowest nonce of all: the host's stays.
  const auto both = [](Builder b, const char* i, const char* r) { return b.add(TsI{{ts(i)}, 0}).add(TsR{{ts(r)}, 0}); };
  const auto ours = in.peer.ask(ike::kExchangeCreateChildSa, both(of_peer(1, 0, rekeys), "10.1.0.0/24", "10.2.0.0/24"));
  INFO(in.b.transcript());
  REQUIRE((ours && ours->find<Sa>()));
  in.peer.answer(*asked, both(of_peer(2, 0xff, false), "10.2.0.0/24", "10.1.0.0/24"));
  in.world.run(1s);
  CHECK(in.b.inbound.size() == (rekeys ? 3 : 2));
  const auto gone = deleted_by(in);
  CHECK(in.b.inbound.size() == 1);
  REQUIRE(in.b.outbound.size() == 1);
  CHECK(in.b.outbound[0].sa.spi == InsiderV2::spi(2));
  CHECK(gone.size() == (rekeys ? 2 : 1));
  CHECK(in.b.up());
}

// What a peer can do with MOBIKE, and whoever copies its messages: nobody is sent traffic who has not said himself that he wants it.
#include <catch2/catch.hpp>

#include "control/ikev2/mobike.hpp"
#include "control/ikev2/proposal.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;

namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
const IpAddress kHome = ip("10.9.0.1"), kAway = ip("10.9.8.1"), kVictim = ip("10.9.9.9");
constexpr std::uint8_t kInformational = ike::kExchangeInformationalV2;

/// B is one whom anybody may call; the peer has proved itself.
struct Roamer {
  World world;
  Host& b;
  InsiderV2 peer;
  explicit Roamer(bool mobike = true, const std::string& from = "") : b(*make(world, from)), peer(world, b, kHome) {
    b.start();
    if (mobike) peer.announces = {NotifyType::MobikeSupported};
    REQUIRE(peer.connect(TrafficSelector::parse("10.1.0.0/24").value(), TrafficSelector::parse("10.2.0.0/24").value()));
    REQUIRE(b.up());
  }
  static Host* make(World& w, const std::string& from) {
    auto config = site("10.9.0.2", from, config::StartAction::None);
    config::Connection& c = config.connections[0];
    c.version = 2;
    c.mobike = true;
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    return &w.add("B", std::move(config));
  }
  std::optional<Message> update(const Builder& more = Builder{}) {
    Builder out = more;
    out.notify(NotifyType::UpdateSaAddresses);
    return peer.ask(kInformational, out);
  }
  [[nodiscard]] IpAddress sends_to() const { return b.outbound.at(0).sa.remote.address; }
  [[nodiscard]] IpAddress ike_is_at() const { return b.engine->ike_sas().at(0).remote.address; }
};

NotifyType error_of(const std::optional<Message>& m) {
  REQUIRE(m);
  REQUIRE(m->error());
  return m->error()->type;
}

}  // namespace

TEST_CASE("MOBIKE: traffic goes to a new address when the peer has answered there", "[ikev2][mobike][attack-L5][rfc4555-3.7]") {
  Roamer r;
  r.peer.go(kAway);
  const auto m = r.update(Builder().notify(NotifyType::Cookie2, Bytes(8, 7)));
  REQUIRE(m);
  CHECK_FALSE(m->error());
  REQUIRE(m->notify(NotifyType::Cookie2));
  CHECK(m->notify(NotifyType::Cookie2)->data == Bytes(8, 7));
  CHECK(r.ike_is_at() == kAway);
  CHECK(r.sends_to() == kHome);
  auto asked = r.peer.asked();
  REQUIRE(asked);
  CHECK(asked->at.address == kAway);
  REQUIRE(asked->message.notify(NotifyType::Cookie2));
  SECTION("it answers") {
    r.peer.answer(*asked, Builder().notify(NotifyType::Cookie2, asked->message.notify(NotifyType::Cookie2)->data));
    CHECK(r.sends_to() == kAway);
    CHECK(r.b.inbound.begin()->second.sa.remote.address == kAway);
    CHECK(r.b.engine->ike_sas().size() == 1);
  }
  SECTION("with another cookie") {
    r.peer.answer(*asked, Builder().notify(NotifyType::Cookie2, Bytes(16, 1)));
    CHECK_FALSE(r.b.up());
    CHECK(r.b.outbound.empty());
    CHECK(r.b.reports(Reason::Unexpected).size() >= 1);
  }
  SECTION("without one") {
    r.peer.answer(*asked, {});
    CHECK_FALSE(r.b.up());
  }
  SECTION("it has gone on meanwhile: what it answers is not about the address that it has now") {
    r.peer.go(kVictim);
    REQUIRE(r.update());
    r.peer.answer(*asked, Builder().notify(NotifyType::Cookie2, asked->message.notify(NotifyType::Cookie2)->data));
    CHECK(r.sends_to() == kHome);
    const auto again = r.peer.asked();
    REQUIRE(again);
    CHECK(again->at.address == kVictim);
    CHECK(again->message.notify(NotifyType::Cookie2)->data != asked->message.notify(NotifyType::Cookie2)->data);
  }
}

TEST_CASE("MOBIKE: a third party that a peer names gets a handful of messages, and no packet", "[ikev2][mobike][attack-L5][attack-I1]") {
  Roamer r;
  r.peer.go(kVictim);
  REQUIRE(r.update());
  const std::uint64_t before = r.b.sent_bytes;
  // It goes on under it: new pairs are not sent there either.
  Builder child;
  child.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(1), true)).add(Nonce{Bytes(32, 5)});
  child.add(TsI{{TrafficSelector::parse("10.1.0.0/24").value()}, 0}).add(TsR{{TrafficSelector::parse("10.2.0.0/24").value()}, 0});
  REQUIRE(r.peer.ask(ike::kExchangeCreateChildSa, child));
  bool sent_there = false;
  for (int second = 0; second < 300; ++second) {
    r.world.run(1s);
    for (const PlaneSa& sa : r.b.outbound) sent_there |= sa.sa.remote.address == kVictim;
  }
  CHECK_FALSE(sent_there);
  CHECK(r.b.sent_bytes - before < 5000);
  CHECK(r.b.engine->ike_sas().empty());  // nobody answers there
}

TEST_CASE("MOBIKE: a message sent again moves nobody, from wherever it comes", "[ikev2][mobike][attack-L2][attack-L5][attack-B6]") {
  Roamer r;
  r.peer.go(kAway);
  REQUIRE(r.update());
  const Bytes copy = r.peer.last;
  const auto asked = r.peer.asked();
  r.peer.answer(*asked, Builder().notify(NotifyType::Cookie2, asked->message.notify(NotifyType::Cookie2)->data));
  REQUIRE(r.sends_to() == kAway);
  const auto sent = r.b.sent_datagrams;
  for (int i = 0; i < 100; ++i) r.world.deliver({r.peer.host(), {kVictim, 500}, copy});
  r.world.run(1s);
  CHECK(r.ike_is_at() == kAway);
  CHECK(r.sends_to() == kAway);
  CHECK(r.b.sent_datagrams - sent <= ike::kMaxRepeatsProven);
  REQUIRE(r.peer.ask(kInformational, Builder()));
  for (int i = 0; i < 100; ++i) r.world.deliver({r.peer.host(), {kVictim, 500}, copy});
  CHECK(r.ike_is_at() == kAway);
}

TEST_CASE("MOBIKE: another message from elsewhere moves nobody, and is answered where it came from",
          "[ikev2][mobike][attack-L2][rfc4555-3.8]") {
  Roamer r;
  r.peer.go(kAway);
  REQUIRE(r.peer.ask(kInformational, Builder()));
  CHECK(r.ike_is_at() == kHome);
  CHECK(r.sends_to() == kHome);
}

TEST_CASE("MOBIKE: a peer that moves all the time is told to stay", "[ikev2][mobike][attack-L5]") {
  Roamer r;
  unsigned refused = 0;
  for (unsigned i = 0; i < 200; ++i) {
    r.peer.go(ip("10.9.8." + std::to_string(i % 200 + 1)));
    const auto m = r.update();
    REQUIRE(m);
    if (m->error()) {
      CHECK(m->error()->type == NotifyType::UnacceptableAddresses);
      ++refused;
    }
  }
  CHECK(refused == 200 - kMaxMoves);
  CHECK(r.sends_to() == kHome);
}

TEST_CASE("MOBIKE: what is not allowed is refused, and nothing moves", "[ikev2][mobike][attack-L5][rfc4555-3.9]") {
  SECTION("an address that the connection does not have") {
    Roamer r(true, "10.9.0.1");
    r.peer.go(kAway);
    CHECK(error_of(r.update()) == NotifyType::UnacceptableAddresses);
    CHECK(r.ike_is_at() == kHome);
  }
  SECTION("a NAT that the peer forbids") {
    Roamer r;
    r.peer.go(kAway);
    Bytes says{10, 9, 0, 1, 10, 9, 0, 2, 1, 0xf4, 1, 0xf4};
    CHECK(error_of(r.update(Builder().notify(NotifyType::NoNatsAllowed, says))) == NotifyType::UnexpectedNatDetected);
    CHECK(r.ike_is_at() == kHome);
    says[2] = 8;
    const auto m = r.update(Builder().notify(NotifyType::NoNatsAllowed, says));
    REQUIRE(m);
    CHECK_FALSE(m->error());
    CHECK(r.ike_is_at() == kAway);
  }
  SECTION("cookies that are too short or too long") {
    Roamer r;
    for (const std::size_t size : {0, 1, 7, 65, 500})
      CHECK(error_of(r.peer.ask(kInformational, Builder().notify(NotifyType::Cookie2, Bytes(size, 1)))) == NotifyType::InvalidSyntax);
    REQUIRE(r.peer.ask(kInformational, Builder().notify(NotifyType::Cookie2, Bytes(64, 1))));
  }
  SECTION("a peer that has not said that it can") {
    Roamer r(false);
    r.peer.go(kAway);
    REQUIRE(r.update());
    CHECK(r.ike_is_at() == kHome);
  }
  SECTION("a thousand addresses") {
    Roamer r;
    Builder many;
    for (std::uint8_t i = 0; i < 60; ++i) many.notify(NotifyType::AdditionalIp4Address, {10, 9, 9, i});
    many.notify(NotifyType::AdditionalIp6Address, {1, 2, 3});
    REQUIRE(r.peer.ask(kInformational, many));
    CHECK(r.b.engine->ike_sas().at(0).peer_addresses.size() == kMaxOtherAddresses);
    REQUIRE(r.peer.ask(kInformational, Builder().notify(NotifyType::NoAdditionalAddresses)));
    CHECK(r.b.engine->ike_sas().at(0).peer_addresses.empty());
  }
}

// A peer whose NAT gives it another address between IKE_SA_INIT and IKE_AUTH: it comes up if its request proves it by itself, and whoever
// has copied that request gets a victim one answer to it, and no traffic that lasts.
#include <map>
#include <set>

#include <catch2/catch.hpp>

#include "control/ike/nat_traversal.hpp"
#include "control/ike/retransmit.hpp"
#include "control/ikev2/forgeries.hpp"
#include "control/ikev2/keymat.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::Builder;
using ikev2::NotifyType;

namespace {

IpAddress at(const char* text) { return IpAddress::parse(text).value(); }
const IpAddress kInside = at("10.9.0.1"), kFirst = at("10.9.5.1"), kSecond = at("10.9.5.2"), kThird = at("10.9.5.3");
TrafficSelector part(const char* text) { return TrafficSelector::parse(text).value(); }

std::optional<ike::Header> header_of(const ike::Datagram& d) {
  ByteView bytes = d.data;
  if (d.local.port == ike::kNatPort || d.remote.port == ike::kNatPort)
    if (const auto inner = ike::strip_non_esp_marker(bytes)) bytes = *inner;
  const auto framed = ike::parse_header(bytes);
  return framed ? std::optional(framed->header) : std::nullopt;
}
bool from_a(const ike::Datagram& d) { return d.local.address == kInside; }
bool is_auth_request(const ike::Datagram& d) {
  const auto h = header_of(d);
  return h && from_a(d) && h->exchange == ike::kExchangeAuth;
}

/// A behind a NAT that is at another address from its first (datagram of a) request of IKE_AUTH on.
struct Renumbered {
  World world;
  Pair p;
  std::size_t requests = 0, lost = 0;
  explicit Renumbered(const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}, bool signing = false,
                      std::size_t from = 1)
      : p(make(world, change, signing)) {
    world.record = true;
    world.add_nat(kInside, kFirst);
    world.hook = [this, from](ike::Datagram& d) {
      if (is_auth_request(d) && ++requests == from) world.renumber_nat(kFirst, kSecond);
      const auto h = header_of(d);
      return !h || from_a(d) || h->exchange != ike::kExchangeAuth || lost == 0 || lost-- == 0;
    };
    p.b.start();
    p.a.start();
  }
  static Pair make(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change, bool signing) {
    const auto all = [&](auto& a, auto& b) {
      b.connections[0].remote_addrs.clear();
      b.connections[0].children[0].start_action = config::StartAction::None;
      if (change) change(a, b);
    };
    return signing ? two_signing_v2(world, ike::AuthMethod::EcdsaP256, all) : two_v2(world, all);
  }
  [[nodiscard]] IpAddress seen_at() const {
    const auto sas = p.b.engine->ike_sas();
    return sas.empty() ? IpAddress{} : sas.front().remote.address;
  }
};

}  // namespace

TEST_CASE("IKEv2: a NAT that changes its address behind IKE_SA_INIT: the peer comes up where its proof comes from",
          "[ikev2][nat][stray][rfc7296-2.11]") {
  const bool signing = GENERATE(false, true), mobike = GENERATE(false, true);
  Renumbered r(
      [&](auto& a, auto& b) {
        for (auto* g : {&a, &b}) g->connections[0].mobike = mobike;
      },
      signing);
  REQUIRE(r.world.run_until([&] { return both_up(r.p); }, 3s));
  r.world.begin_traffic();
  r.world.run(5s);
  CHECK(r.requests == 1);
  CHECK(r.seen_at() == kSecond);
  CHECK(r.p.b.current_out("net")->sa.remote.address == kSecond);
  CHECK(r.p.a.engine->ike_sas().size() == 1);
  CHECK(r.p.b.engine->ike_sas().size() == 1);
  // It was asked once whether it is there, maybe again because that came before the answer, and has answered.
  std::set<Bytes> asked;
  for (const ike::Datagram& d : r.world.wire)
    if (const auto h = header_of(d);
        h && !from_a(d) && h->exchange == ike::kExchangeInformationalV2 && (h->flags & ike::kFlagResponse) == 0)
      asked.insert(d.data);
  CHECK(asked.size() == 1);
  CHECK(r.world.gaps.empty());
  r.world.run(600s);
  CHECK(both_up(r.p));
}

TEST_CASE("IKEv2: ... behind IKE_INTERMEDIATE, in fragments, and where the answer is lost", "[ikev2][nat][stray][rfc7383][rfc9370]") {
  SECTION("additional key exchanges") {
    Renumbered r([](auto& a, auto& b) {
      for (auto* g : {&a, &b}) g->connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256-ke1_ecp384").value();
    });
    REQUIRE(r.world.run_until([&] { return both_up(r.p); }, 5s));
    CHECK(r.seen_at() == kSecond);
  }
  SECTION("fragments, of which the first ones come from where the NAT was") {
    const std::size_t from = GENERATE(1U, 2U, 3U);
    Renumbered r(
        [](auto& a, auto& b) {
          for (auto* g : {&a, &b}) g->ike.fragment_size = 240;
          a.connections[0].local_id = {config::Identity::Type::Fqdn, std::string(600, 'h')};
        },
        false, from);
    REQUIRE(r.world.run_until([&] { return both_up(r.p); }, 3s));
    CHECK(r.requests >= 3);
    CHECK(r.seen_at() == kSecond);
  }
  SECTION("copies of its first fragment from elsewhere: few are looked at, and it comes up behind them") {
    Renumbered r([](auto& a, auto& b) {
      for (auto* g : {&a, &b}) g->ike.fragment_size = 240;
      a.connections[0].local_id = {config::Identity::Type::Fqdn, std::string(600, 'h')};
    });
    bool copied = false;
    r.world.hook = [&, inner = r.world.hook](ike::Datagram& d) {
      if (!inner(d)) return false;
      if (!copied && is_auth_request(d)) {
        copied = true;
        for (int k = 0; k < 500; ++k) r.world.deliver({d.remote, {kThird, 4500}, d.data});
      }
      return true;
    };
    REQUIRE(r.world.run_until([&] { return both_up(r.p); }, 20s));
    CHECK(r.p.b.counted(Exchange::IkeAuth, Reason::Limit) >= 400);
    CHECK(r.seen_at() == kSecond);
  }
  SECTION("the answer is lost, twice") {
    Renumbered r;
    r.lost = 2;
    REQUIRE(r.world.run_until([&] { return both_up(r.p); }, 20s));
    CHECK(r.requests >= 3);
    CHECK(r.seen_at() == kSecond);
    CHECK(r.p.b.engine->ike_sas().size() == 1);
  }
  SECTION("cookies are asked for") {
    Renumbered r([](auto&, auto& b) { b.ike.half_open_per_source = 1; });
    REQUIRE(r.world.run_until([&] { return both_up(r.p); }, 5s));
    CHECK(r.seen_at() == kSecond);
  }
}

TEST_CASE("IKEv2: ... and is not followed where the proof from there is none", "[ikev2][nat][stray][attack-H3]") {
  SECTION("another secret") {
    Renumbered r;
    r.p.a.secrets["c"] = "another";
    r.world.run(20s);
    CHECK(r.p.b.counted(Exchange::IkeAuth, Reason::AuthFailed) == 1);
    CHECK(r.p.b.counted(Exchange::Informational, Reason::Unexpected) >= 1);  // what comes behind it is not looked at
    CHECK(r.p.b.engine->failures("c").empty());
  }
  SECTION("a certificate that nobody trusts") {
    Renumbered r({}, true);
    r.p.a.hides_certificate = true;
    r.p.a.signature = Bytes(64, 1);
    r.world.run(20s);
    CHECK(r.p.b.engine->failures("c").empty());
  }
  SECTION("a user") {
    Renumbered r([](auto& a, auto& b) {
      for (config::Connection* c : {&a.connections[0], &b.connections[0]})
        c->proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
      a.connections[0].local_auth.auth = b.connections[0].remote_auth.auth = config::Proof::EapMschapv2;
      a.connections[0].local_auth.eap_id = "alice";
    });
    r.world.run(20s);
  }
}

namespace {

/// The gateway B, whom anybody may call, and a peer behind a NAT, which is what its IKE_SA_INIT says.
struct Copied {
  World world;
  Host& b;
  InsiderV2 peer;
  std::map<IpAddress, std::size_t> out, bytes;
  explicit Copied(bool mobike = false) : b(*make(world, mobike)), peer(world, b, kFirst) {
    b.start();
    if (mobike) peer.announces = {NotifyType::MobikeSupported};
    peer.calls_itself = ikev2::IdI{ikev2::IdType::Fqdn, Bytes{'p', 'e', 'e', 'r'}};
    peer.in_init.notify(NotifyType::NatDetectionSourceIp, ikev2::nat_hash(IkeSpi{0x1d51de}, IkeSpi{}, {kInside, 500}))
        .notify(NotifyType::NatDetectionDestinationIp, ikev2::nat_hash(IkeSpi{0x1d51de}, IkeSpi{}, peer.host()));
    world.hook = [this, inner = world.hook](ike::Datagram& d) {
      ++out[d.remote.address];
      bytes[d.remote.address] += d.data.size();
      return inner(d);
    };
    REQUIRE(peer.begin());
    out.clear();
  }
  static Host* make(World& w, bool mobike) {
    auto config = site("10.9.0.2", "", config::StartAction::None);
    config::Connection& c = config.connections[0];
    c.version = 2;
    c.mobike = mobike;
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    return &w.add("B", std::move(config));
  }
  void say(const Bytes& message, const IpAddress& from) {
    world.deliver({peer.host(), {from, 500}, message});
    world.run(20ms);
  }
  [[nodiscard]] Bytes request(const char* secret) {
    Builder wish;
    wish.add(peer.identity());
    if (secret) wish.add(peer.proof(SecretBytes(as_bytes(secret))));
    wish.add(ikev2::build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(0), false))
        .add(ikev2::TsI{{part("10.1.0.0/24")}, 0})
        .add(ikev2::TsR{{part("10.2.0.0/24")}, 0});
    for (const NotifyType type : peer.announces) wish.notify(type);
    return peer.sealed(ike::kExchangeAuth, wish);
  }
  [[nodiscard]] IpAddress sends_to() const { return b.outbound.at(0).sa.remote.address; }
  [[nodiscard]] IpAddress ike_is_at() const { return b.engine->ike_sas().at(0).remote.address; }
};

}  // namespace

TEST_CASE("IKEv2: what proves nobody from elsewhere is dropped, counted and bounded, and leaves the true one its turn",
          "[ikev2][stray][amplification][attack-H3][attack-H6][attack-H8]") {
  Copied c;
  SECTION("no AUTH at all, often") {
    for (int k = 0; k < 1000; ++k) c.say(c.request(nullptr), kSecond);
    CHECK(c.b.counted(Exchange::IkeAuth, Reason::Unexpected) <= 64 + 20 * 20 + 1);
    CHECK(c.b.counted(Exchange::IkeAuth, Reason::Limit) >= 500);
  }
  SECTION("a wrong proof: the second one is not looked at") {
    c.say(c.request("guessed"), kSecond);
    CHECK(c.b.counted(Exchange::IkeAuth, Reason::AuthFailed) == 1);
    for (int k = 0; k < 100; ++k) c.say(c.request("secret"), kSecond);
    CHECK(c.b.counted(Exchange::IkeAuth, Reason::AuthFailed) == 1);
    CHECK(c.b.counted(Exchange::Informational, Reason::Unexpected) == 100);
  }
  SECTION("forged: the true one is still looked at") {
    const Bytes good = c.request("secret");
    for (int k = 0; k < 1000; ++k) {
      Bytes bad = good;
      bad[bad.size() - 1 - static_cast<std::size_t>(k) % 8] ^= static_cast<std::uint8_t>(1 + k / 8);
      c.say(bad, kSecond);
    }
    CHECK(c.b.counted(Exchange::IkeAuth, Reason::BadHash) <= 64 + 20 * 20 + 1);
  }
  CHECK(c.out[kSecond] == 0);
  CHECK_FALSE(c.b.up());
  CHECK(c.b.engine->failures("c").empty());
  const auto said = c.peer.prove(part("10.1.0.0/24"), part("10.2.0.0/24"));
  REQUIRE((said && said->find<ikev2::Auth>()));
  CHECK(c.b.up());
  CHECK(c.ike_is_at() == kFirst);
}

TEST_CASE("IKEv2: a peer without a NAT goes on from where it began", "[ikev2][stray][amplification][attack-H3]") {
  World world;
  auto config = site("10.9.0.2", "", config::StartAction::None);
  config.connections[0].version = 2;
  config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  Host& b = world.add("B", std::move(config));
  InsiderV2 peer(world, b, kFirst);
  b.start();
  peer.calls_itself = ikev2::IdI{ikev2::IdType::Fqdn, Bytes{'p'}};
  REQUIRE(peer.begin());
  peer.go(kSecond);
  CHECK_FALSE(peer.prove(part("10.1.0.0/24"), part("10.2.0.0/24")));
  CHECK(b.counted(Exchange::Informational, Reason::Unexpected) == 1);
  CHECK_FALSE(b.up());
}

TEST_CASE("IKEv2: the peer's request copied and sent first in a victim's name: one answer to him, and the peer comes up where it is",
          "[ikev2][stray][amplification][attack-H3][attack-L2][attack-B6]") {
  const bool mobike = GENERATE(false, true);
  Copied c(mobike);
  const Bytes request = c.request("secret");
  c.say(request, kSecond);
  CHECK(c.out[kSecond] >= 1);
  REQUIRE(c.b.up());
  CHECK(c.ike_is_at() == kSecond);
  c.out.clear();
  c.bytes.clear();
  // The peer's own comes later: it has its answer all the same, where it is.
  c.say(request, kFirst);
  CHECK(c.out[kFirst] == 1);
  SECTION("its next message says where it is, and all goes there") {
    c.peer.next_id = 2;
    REQUIRE(c.peer.ask(ike::kExchangeInformationalV2, Builder()));
    CHECK(c.ike_is_at() == kFirst);
    CHECK(c.sends_to() == kFirst);
    for (int k = 0; k < 100; ++k) c.say(request, kSecond);
    CHECK(c.ike_is_at() == kFirst);
    CHECK(c.sends_to() == kFirst);
  }
  SECTION("it says nothing more: the victim is asked a few times, and all of it ends") {
    c.world.run(600s);
    CHECK(c.bytes[kSecond] < 3000);
    CHECK(c.b.engine->ike_sas().empty());
    CHECK(c.b.outbound.empty());
  }
  SECTION("the copy again and again, from the victim and from others: no more than it is worth") {
    c.out.clear();
    c.bytes.clear();
    for (int k = 0; k < 50; ++k) {
      c.say(request, kSecond);
      c.say(request, kThird);
    }
    CHECK(c.out[kThird] <= ike::kMaxRepeatsProven);
    CHECK(c.bytes[kSecond] <= 50 * request.size() * 3 / 2);
    CHECK(c.out[kSecond] + c.out[kThird] <= ike::kMaxRepeatsProven + 8);
    CHECK(c.ike_is_at() == kSecond);
  }
}

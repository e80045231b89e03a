// What somebody on the path can do to IKE_SA_INIT: he reads, forges and edits it, and has no keys.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/crypto/dh.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::Builder;
using ikev2::NotifyType;
using ikev2::PayloadType;

namespace {

constexpr std::uint16_t kModp2048 = 14, kEcp256 = 19;
TrafficSelector some(const char* text) { return TrafficSelector::parse(text).value(); }

Bytes wanted(std::uint16_t group) {
  Writer out;
  out.be(group);
  return std::move(out).take();
}
/// In the responder's name, to whoever has sent this request.
ike::Datagram forged(const ike::Datagram& request, const Builder& b) {
  ike::Header h;
  h.spi_i = ike::parse_header(request.data)->header.spi_i;
  h.major = 2;
  h.exchange = ike::kExchangeSaInit;
  h.flags = ike::kFlagResponse;
  h.next_payload = static_cast<std::uint8_t>(b.first());
  return {request.local, request.remote, ike::encode_message(h, b.chain())};
}
std::uint16_t group_of(const ike::Datagram& d) {
  const auto framed = ike::parse_header(d.data);
  const auto m = ikev2::Message::parse(PayloadType{framed->header.next_payload}, framed->body);
  return m && m->find<ikev2::Ke>() ? static_cast<std::uint16_t>(m->find<ikev2::Ke>()->group) : std::uint16_t{0};
}
bool of_init(const ike::Datagram& d, bool response) {
  const auto framed = ike::parse_header(d.data);
  return framed && framed->header.exchange == ike::kExchangeSaInit && ((framed->header.flags & ike::kFlagResponse) != 0) == response;
}

}  // namespace

TEST_CASE("IKEv2: a forged wish for another group that we offer, too, keeps nothing from coming up", "[ikev2][attack-B3][rfc7296-1.3]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) g->connections[0].proposals = parse_ike_proposal_v2("aes256-sha256-modp2048-ecp256").value();
  });
  const bool loses = GENERATE(false, true);   // the true answer to the first one
  const bool always = GENERATE(false, true);  // forged for each request, not for the first one only
  const bool late = GENERATE(false, true);    // the true answer comes when the other group is out already
  unsigned asked = 0;
  std::vector<std::uint16_t> answered;
  world.hook = [&](ike::Datagram& d) {
    if (of_init(d, false) && (always || asked == 0)) {
      ++asked;
      const std::uint16_t other = group_of(d) == kModp2048 ? kEcp256 : kModp2048;
      world.at(world.now + 1ms,
               [&world, f = forged(d, Builder().notify(NotifyType::InvalidKePayload, wanted(other)))] { world.deliver(f); });
    }
    if (!of_init(d, true)) return true;
    answered.push_back(group_of(d));
    return !(loses && answered.size() == 1);
  };
  p.a.dh_time = late ? 1ms : 20ms;
  p.b.dh_time = 10ms;
  p.a.start();
  p.b.start();
  const bool up = world.run_until([&] { return both_up(p); }, 3s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(up);
  CHECK(p.a.established() == 1);
  CHECK(p.a.key_exchanges <= 4);  // a key for each group, what comes of one of them; and the CHILD SA has none
  REQUIRE_FALSE(answered.empty());
  CHECK(answered.front() == kModp2048);
}

TEST_CASE("IKEv2: another first message under the same SPI is another attempt, and ends none",
          "[ikev2][attack-B3][attack-B6][rfc7296-2.1]") {
  World world;
  const Pair p = two_v2(world, [](auto&, auto& b) { b.connections[0].remote_addrs.clear(); });
  p.b.start();
  std::vector<ike::Datagram> answers;
  const Endpoint stranger{IpAddress::parse("10.9.0.77").value(), 500}, here{IpAddress::parse("10.9.0.2").value(), 500};
  world.hook = [&](ike::Datagram& d) {
    if (d.remote == stranger) answers.push_back(d);
    return true;
  };
  const auto key = crypto::DhKey::generate(DhGroup::Ecp256).value();
  const auto say = [&](std::uint8_t nonce) {
    Builder b;
    b.add(ikev2::build_ike_offer(parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value()))
        .add(ikev2::Ke{DhGroup::Ecp256, Bytes(key->public_value().begin(), key->public_value().end())})
        .add(ikev2::Nonce{Bytes(32, nonce)});
    ike::Header h;
    h.spi_i = IkeSpi{0x77};
    h.major = 2;
    h.exchange = ike::kExchangeSaInit;
    h.flags = ike::kFlagInitiator;
    h.next_payload = static_cast<std::uint8_t>(b.first());
    world.deliver({here, stranger, ike::encode_message(h, b.chain())});
    world.run(100ms);
  };
  say(1);
  REQUIRE(answers.size() == 1);
  say(2);
  REQUIRE(answers.size() == 2);
  CHECK(ike::parse_header(answers[0].data)->header.spi_r != ike::parse_header(answers[1].data)->header.spi_r);
  CHECK(p.b.engine->ike_sas().size() == 2);
  say(1);  // that one again is answered as it was
  REQUIRE(answers.size() == 3);
  CHECK(answers[2].data == answers[0].data);
  CHECK(p.b.key_exchanges == 2);
  for (std::uint8_t n = 3; n < 200; ++n) say(n);  // he gets cookies, as with SPIs of their own
  CHECK(p.b.key_exchanges <= 3);
  CHECK(p.b.engine->ike_sas().size() <= 3);
  world.run(100s);
  CHECK(p.b.engine->ike_sas().empty());
}

TEST_CASE("IKEv2: strong proposals taken out of IKE_SA_INIT on its way: AUTH does not fit", "[ikev2][attack-C5][rfc7296-2.15]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      auto& all = g->connections[0].proposals;
      const auto weak = parse_ike_proposal_v2("aes128-sha256-ecp256").value();
      all = parse_ike_proposal_v2("aes256gcm16-prfsha512-ecp256").value();
      all.insert(all.end(), weak.begin(), weak.end());
    }
  });
  unsigned edited = 0;
  world.hook = [&](ike::Datagram& d) {
    if (!of_init(d, false)) return true;
    const auto framed = ike::parse_header(d.data);
    const auto m = ikev2::Message::parse(PayloadType{framed->header.next_payload}, framed->body);
    ikev2::Sa weak = *m.value().find<ikev2::Sa>();
    REQUIRE(weak.proposals.size() == 2);
    weak.proposals.erase(weak.proposals.begin());
    Builder b;
    for (const auto& payload : m.value().payloads()) payload.type == PayloadType::Sa ? b.add(weak) : b.add_raw(payload.type, payload.body);
    ike::Header h = framed->header;
    h.next_payload = static_cast<std::uint8_t>(b.first());
    d.data = ike::encode_message(h, b.chain());
    ++edited;
    return true;
  };
  p.a.start();
  p.b.start();
  world.run(5s);
  CHECK(edited > 0);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
  check_nothing_left(p);
}

TEST_CASE("IKEv2: NAT detection of another length than a hash has says of no NAT, and forty of them are two",
          "[ikev2][nat][attack-L1][rfc7296-2.23]") {
  World world;
  auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
  config.connections[0].version = 2;
  config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  Host& b = world.add("B", std::move(config));
  b.start();
  InsiderV2 peer(world, b, IpAddress::parse("10.9.0.1").value());
  std::size_t length = GENERATE(0U, 1U, 19U, 21U, 64U, 1000U, 20U);
  const int times = GENERATE(1, 20);
  for (int k = 0; k < times; ++k)
    peer.in_init.notify(NotifyType::NatDetectionSourceIp, Bytes(length, 7)).notify(NotifyType::NatDetectionDestinationIp, Bytes(length, 7));
  const auto said = peer.connect(some("10.1.0.0/24"), some("10.2.0.0/24"));
  INFO(length << " bytes, " << times << " times\n" << b.transcript());
  REQUIRE((said && said->find<ikev2::Auth>()));
  REQUIRE(b.current_out("net"));
  CHECK((b.current_out("net")->sa.local.port != 0) == (length == 20));  // of a hash of something else there is a NAT
}

TEST_CASE("IKEv2 EAP: whether a name is known is told by no answer, neither by its size nor by when it comes", "[ikev2][eap][attack-E13]") {
  const auto answers_to = [](const std::string& name, const std::string& known) {
    World world;
    const Pair p = two_v2(world, [&](auto& a, auto& b) {
      config::Connection &user = a.connections[0], &gateway = b.connections[0];
      user.local_auth.auth = gateway.remote_auth.auth = config::Proof::EapMschapv2;
      user.remote_auth.auth = gateway.local_auth.auth = config::Proof::Pubkey;
      user.local_auth.eap_id = name;
      user.remote_id = gateway.local_id = {config::Identity::Type::Fqdn, "b.example"};
    });
    p.b.keys["c"] = ike::AuthMethod::EcdsaP256;
    p.a.password = "guess";
    p.b.users = {{known, "a password"}};
    std::vector<std::pair<Duration, std::size_t>> out;
    const TimePoint begun = world.now;
    world.hook = [&](ike::Datagram& d) {
      if (d.local.address == p.b.config.connections[0].local_addrs[0]) out.emplace_back(world.now - begun, d.data.size());
      return true;
    };
    p.a.start();
    p.b.start();
    world.run(20s);
    CHECK(p.b.counted(Exchange::IkeAuth, name == known ? Reason::EapWrongPassword : Reason::EapUnknownUser) >= 1);
    return out;
  };
  const auto known = answers_to("alice", "alice"), unknown = answers_to("alice", "carol");
  CHECK(known.size() > 4);
  CHECK(known == unknown);
}

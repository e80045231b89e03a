// Quick crash detection between engines (RFC 6290): B loses everything, and A learns it from B's first answer.
//
//   A                                                        B
//   IKE_AUTH  N(QUICK_CRASH_DETECTION)                  -->  <--  N(QUICK_CRASH_DETECTION)
//                                                       (B is started anew)
//   HDR(SPIs), SK {}                                    -->  <--  HDR(SPIs), N(INVALID_IKE_SPI) N(QUICK_CRASH_DETECTION)
//   (the IKE SA ends)  SAi KEi Ni                       -->
#include <catch2/catch.hpp>

#include "control/ikev2/crash.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::NotifyType;

namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
const IpAddress kA = ip("10.9.0.1"), kB = ip("10.9.0.2");

/// The machine is switched off and on: nothing is left but what is on its disk.
void crash(Host& h) {
  h.lose_plane();
  h.restart();
}

Pair lasting(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  const Pair p = two_v2(world, change);
  p.a.lasting = "the secret of A";
  p.b.lasting = "the secret of B";
  return p;
}

void up(World& world, const Pair& p) {
  p.b.start();
  p.a.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
  world.run(1s);
}

struct Clear {
  ike::Header header;
  Bytes token;  ///< empty: INVALID_IKE_SPI alone
  std::size_t size = 0;
};
/// The answers about SAs that are not there.
std::vector<Clear> answers(const World& world) {
  std::vector<Clear> out;
  for (const ike::Datagram& d : world.wire) {
    ByteView bytes = d.data;
    if (d.local.port == 4500 && bytes.size() > 4) bytes = bytes.subspan(4);
    const auto framed = ike::parse_header(bytes);
    if (!framed || framed->header.exchange == ike::kExchangeSaInit ||
        ikev2::PayloadType{framed->header.next_payload} != ikev2::PayloadType::Notify)
      continue;
    const auto m = ikev2::Message::parse(ikev2::PayloadType::Notify, framed->body);
    REQUIRE(m);
    REQUIRE(m->notify(NotifyType::InvalidIkeSpi));
    const auto* token = m->notify(NotifyType::QuickCrashDetection);
    if (token) CHECK(int{token->protocol} == 1);
    if (token) CHECK(token->spi.empty());
    out.push_back({framed->header, token ? token->data : Bytes{}, bytes.size()});
  }
  return out;
}

/// A message that only the SA could open.
Bytes sealed_nonsense(IkeSpi i, IkeSpi r, std::size_t size = 57) {
  ike::Header h;
  h.spi_i = i;
  h.spi_r = r;
  h.major = 2;
  h.exchange = ike::kExchangeInformationalV2;
  h.flags = ike::kFlagInitiator;
  h.message_id = MessageId{7};
  h.next_payload = static_cast<std::uint8_t>(ikev2::PayloadType::Sk);
  Writer body;
  body.be(std::uint8_t{0});
  body.be(std::uint8_t{0});
  body.be(static_cast<std::uint16_t>(size - ike::kHeaderSize));
  body.zeros(size - ike::kHeaderSize - 4);
  return ike::encode_message(h, body.view());
}

}  // namespace

TEST_CASE("a peer that was started anew shows its token, and all is up again at once", "[ikev2][crash][rfc6290-4]") {
  for (std::uint64_t seed = 1; seed <= 16; ++seed) {
    World world(seed);
    world.record = true;
    const bool responder = seed % 2 == 0;  // that crashes
    const Pair p = lasting(world, [&](auto& a, auto& b) {
      for (auto* g : {&a, &b}) g->connections[0].dpd_delay = config::Seconds{5};
      b.connections[0].remote_addrs = {kA};
      b.connections[0].children[0].start_action = config::StartAction::Trap;  // whoever stays asks
      b.connections[0].children[0].dpd_action = config::DpdAction::Restart;
    });
    if (seed > 8) world.link = {.loss = 0.2, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 40ms};
    up(world, p);
    const auto sa = p.a.engine->ike_sas().front();
    Host &gone = responder ? p.b : p.a, &stays = responder ? p.a : p.b;
    if (!responder) gone.config.connections[0].children[0].start_action = config::StartAction::None;  // it does not begin by itself
    crash(gone);
    const bool told = world.run_until([&] { return stays.counted(Exchange::Informational, Reason::PeerRestarted) == 1; }, 60s);
    INFO("seed " << seed << "\n" << p.a.transcript() << p.b.transcript());
    REQUIRE(told);
    const bool again = world.run_until([&] { return both_up(p); }, 30s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(again);
    CHECK(stays.counted(Exchange::Dpd, Reason::DpdTimeout) == 0);
    const auto said = answers(world);
    REQUIRE_FALSE(said.empty());
    CHECK(said.front().header.spi_i == sa.spi_i);
    CHECK(said.front().header.spi_r == sa.spi_r);
    CHECK(((said.front().header.flags & ike::kFlagInitiator) != 0) == !responder);
    CHECK(said.front().token == ikev2::crash_token(as_bytes(gone.lasting), sa.spi_i, sa.spi_r));
    CHECK(said.front().size == 60);
  }
}

TEST_CASE("tokens of IKE SAs that were rekeyed, by either side, and of users", "[ikev2][crash][rfc6290-4.3]") {
  for (unsigned k = 0; k < 6; ++k) {
    World world(k + 1);
    const bool user = k >= 4;
    const Pair p = lasting(world, [&](auto& a, auto& b) {
      for (auto* g : {&a, &b}) g->connections[0].dpd_delay = config::Seconds{5};
      if (!user) return;
      a.connections[0].local_auth.auth = b.connections[0].remote_auth.auth = config::Proof::EapMschapv2;
      a.connections[0].remote_auth.auth = b.connections[0].local_auth.auth = config::Proof::Pubkey;
      a.connections[0].local_auth.eap_id = "alice";
      a.connections[0].remote_id = b.connections[0].local_id = {config::Identity::Type::Fqdn, "b.example"};
    });
    p.b.keys["c"] = ike::AuthMethod::EcdsaP256;
    p.b.users = {{"alice", "alicepw"}};
    p.a.password = "alicepw";
    up(world, p);
    Host& rekeys = k % 2 == 0 ? p.a : p.b;
    rekeys.step([&](ike::Engine& e) { e.rekey(world.now, "c", {}, true); });
    world.run(2s);
    Host &gone = k / 2 % 2 == 0 ? p.b : p.a, &stays = k / 2 % 2 == 0 ? p.a : p.b;
    gone.config.connections[0].children[0].start_action = config::StartAction::None;
    crash(gone);
    world.run(12s);
    INFO(k << "\n" << p.a.transcript() << p.b.transcript());
    CHECK(stays.counted(Exchange::Informational, Reason::PeerRestarted) == 1);
  }
}

TEST_CASE("without a secret that lasts there are no tokens, and nobody is answered", "[ikev2][crash]") {
  World world;
  world.record = true;
  const Pair p = two_v2(world, [](auto& a, auto&) { a.connections[0].dpd_delay = config::Seconds{5}; });
  up(world, p);
  crash(p.b);
  world.run(30s);
  CHECK(answers(world).empty());
  CHECK(p.b.counted(Exchange::Informational, Reason::UnknownSa) > 0);
  CHECK(p.a.up());
  CHECK(world.run_until([&] { return both_up(p); }, 120s));  // the slow way
}

TEST_CASE("another secret makes another token, which ends nothing", "[ikev2][crash][rfc6290-5]") {
  World world;
  const Pair p = lasting(world, [](auto& a, auto&) { a.connections[0].dpd_delay = config::Seconds{5}; });
  up(world, p);
  p.b.lasting = "somebody else's";
  crash(p.b);
  world.run(12s);
  CHECK(p.a.up());
  CHECK(p.a.counted(Exchange::Informational, Reason::PeerRestarted) == 0);
  CHECK(p.a.counted(Exchange::Informational, Reason::Unexpected) > 0);
}

TEST_CASE("nobody who lacks the token ends an SA", "[ikev2][crash][stranger]") {
  World world;
  const Pair p = lasting(world);
  up(world, p);
  const auto sa = p.a.engine->ike_sas().front();
  const Bytes other = ikev2::crash_token(as_bytes(p.b.lasting), sa.spi_r, sa.spi_i);
  const auto forge = [&](const std::vector<Bytes>& tokens, bool spi = true) {
    ike::Header h;
    h.spi_i = sa.spi_i;
    h.spi_r = sa.spi_r;
    h.major = 2;
    h.exchange = ike::kExchangeInformationalV2;
    h.flags = ike::kFlagResponse;
    ikev2::Builder b;
    if (spi) b.notify(NotifyType::InvalidIkeSpi);
    for (const Bytes& t : tokens) b.add(ikev2::Notify{1, NotifyType::QuickCrashDetection, {}, t});
    h.next_payload = static_cast<std::uint8_t>(b.first());
    world.deliver({{kA, 500}, {kB, 500}, ike::encode_message(h, b.chain())});
  };
  const Bytes right = ikev2::crash_token(as_bytes(p.b.lasting), sa.spi_i, sa.spi_r);
  forge({});
  forge({Bytes{}});
  forge({Bytes(16, 0)});
  forge({Bytes(right.begin(), right.end() - 1)});
  forge({other, Bytes(256, 1), Bytes(16, 255)});
  forge({right}, false);  // RFC 6290 §4.5: beside INVALID_IKE_SPI alone
  CHECK(p.a.up());
  CHECK(p.a.counted(Exchange::Informational, Reason::PeerRestarted) == 0);
  CHECK(p.a.counted(Exchange::Informational, Reason::Unexpected) == 6);
  forge({other, right});
  CHECK_FALSE(p.a.up());
  CHECK(p.a.counted(Exchange::Informational, Reason::PeerRestarted) == 1);
}

TEST_CASE("the token of an SA that is there is given to nobody", "[ikev2][crash][stranger][rfc6290-10]") {
  World world;
  const Pair p = lasting(world);
  up(world, p);
  world.record = true;
  const auto sa = p.b.engine->ike_sas().front();
  for (const std::uint8_t flags : {std::uint8_t{0}, ike::kFlagInitiator, ike::kFlagResponse})
    for (const IpAddress& from : {kA, ip("10.9.0.77")}) {
      Bytes message = sealed_nonsense(sa.spi_i, sa.spi_r);
      message[19] = flags;
      world.deliver({{kB, 500}, {from, 500}, message});
    }
  // Nor that of one that is under way, or of none at all.
  world.deliver({{kB, 500}, {kA, 500}, sealed_nonsense(IkeSpi{1}, IkeSpi{})});
  world.deliver({{kB, 500}, {kA, 500}, sealed_nonsense(IkeSpi{}, IkeSpi{1})});
  CHECK(answers(world).empty());
  world.deliver({{kB, 500}, {kA, 500}, sealed_nonsense(IkeSpi{1}, IkeSpi{2})});
  CHECK(answers(world).size() == 1);
  // No connection is for this one.
  world.deliver({{kB, 500}, {ip("10.9.0.77"), 500}, sealed_nonsense(IkeSpi{1}, IkeSpi{2})});
  CHECK(answers(world).size() == 1);
}

TEST_CASE("what strangers get of tokens is bounded", "[ikev2][crash][stranger][amplification]") {
  World world;
  const Pair p = lasting(world, [](auto&, auto& b) { b.connections[0].remote_addrs.clear(); });
  p.b.start();
  world.record = true;
  std::uint64_t in = 0;
  const auto ask = [&](const IpAddress& from, std::uint64_t n, std::size_t size = 57) {
    const Bytes message = sealed_nonsense(IkeSpi{n + 1}, IkeSpi{n + 2}, size);
    in += message.size();
    world.deliver({{kB, 500}, {from, 500}, message});
  };
  for (std::size_t size = ike::kHeaderSize + 4; size < 40; ++size) ask(kA, size, size);
  CHECK(answers(world).empty());  // they would get more than half as much again
  for (std::uint64_t n = 0; n < 1000; ++n) ask(kA, n);
  CHECK(answers(world).size() == 8);
  for (std::uint64_t n = 0; n < 5000; ++n) ask(ip("10.9.0.0").plus(n), n);
  CHECK(answers(world).size() <= 200);
  world.run(10s);
  ask(kA, 1);
  CHECK(answers(world).size() >= 10);
  CHECK(2 * p.b.sent_bytes <= 3 * in);
}

TEST_CASE("a token of a length that is not allowed is none", "[ikev2][crash][insider][rfc6290-4.1]") {
  World world;
  const Pair p = lasting(world, [](auto&, auto& b) { b.connections[0].remote_addrs.clear(); });
  p.b.start();
  InsiderV2 insider(world, p.b, ip("10.9.0.9"));
  const auto mine = TrafficSelector::parse("10.1.0.0/24").value(), theirs = TrafficSelector::parse("10.2.0.0/24").value();
  const auto answer = insider.connect(mine, theirs);
  REQUIRE(answer);
  REQUIRE(answer->notify(NotifyType::QuickCrashDetection));
  CHECK(answer->notify(NotifyType::QuickCrashDetection)->data.size() == ikev2::kTokenBytes);
  for (const std::size_t size : {0U, 15U, 257U, 16U, 256U}) {
    ikev2::Builder b;
    b.add(ikev2::Notify{1, NotifyType::QuickCrashDetection, {}, Bytes(size, 1)});
    CHECK(insider.ask(ike::kExchangeInformationalV2, b));
  }
  CHECK(p.b.reports(Reason::Malformed).size() == 3);
  CHECK(p.b.up());
}

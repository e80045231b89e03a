// Bytes out over bytes in, of IKEv2 (amplification_test.cpp is about IKEv1): an address that has not shown that it receives what is sent to
// it gets at most one and a half times what came from there, and no more than came while cookies are asked for. Repeats are counted, and
// the headers of IP and UDP.
#include <algorithm>
#include <map>

#include <catch2/catch.hpp>

#include "control/ikev2/forgeries.hpp"
#include "control/ikev2/sa_init_responder.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Proof;
using ike::Exchange;
using ikev2::Builder;
using ikev2::NotifyType;
using ikev2::PayloadType;

namespace {

constexpr std::size_t kHeaders = 28;
const IpAddress kOwn = IpAddress::parse("10.9.0.1").value(), kVictim = IpAddress::parse("10.9.0.66").value();
TrafficSelector net(const char* text) { return TrafficSelector::parse(text).value(); }

/// A gateway of users with a long chain of certificates, somebody who negotiates with it, and the accounts of all addresses.
struct Meter {
  World world;
  Host& gateway;
  InsiderV2 peer;
  std::map<IpAddress, std::size_t> in, out;

  explicit Meter(const std::function<void(config::GatewayConfig&)>& change = {})
      : gateway(make(world, change)), peer(world, gateway, kOwn) {
    gateway.keys["c"] = ike::AuthMethod::EcdsaP256;
    gateway.users = {{"alice", "alicepw"}};
    gateway.chain_size = 3000;
    gateway.lasting = "the secret of the gateway";
    gateway.start();
    world.hook = [this, inner = world.hook](ike::Datagram& d) {
      out[d.remote.address] += d.data.size() + kHeaders;
      return inner(d);
    };
  }
  static Host& make(World& w, const std::function<void(config::GatewayConfig&)>& change) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config::Connection& c = config.connections[0];
    c.version = 2;
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    c.remote_addrs.clear();
    c.local_auth.auth = Proof::Pubkey;
    c.remote_auth.auth = Proof::EapMschapv2;
    c.local_id = {config::Identity::Type::Fqdn, "b.example"};
    if (change) change(config);
    return w.add("B", std::move(config));
  }
  void say(const Bytes& message, const IpAddress& from, std::uint16_t port = 500) {
    in[from] += message.size() + kHeaders;
    world.deliver({peer.host(), {from, port}, message});
  }
  [[nodiscard]] double ratio(const IpAddress& to) {
    return out[to] == 0 ? 0.0 : static_cast<double>(out[to]) / static_cast<double>(std::max<std::size_t>(in[to], 1));
  }
  /// So many half-open SAs of others.
  void load() {
    for (std::uint32_t i = 0; i < ikev2::kCookieThreshold; ++i) say(first(i + 1), IpAddress::v4(0xc0000200 + i));
    world.run(1s);
    in.clear();
    out.clear();
  }
  [[nodiscard]] static Bytes first(std::uint64_t spi, std::uint8_t exchange = ike::kExchangeSaInit) {
    static const auto key = crypto::DhKey::generate(DhGroup::Ecp256).value();
    Builder b;
    b.add(ikev2::build_ike_offer(parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value()))
        .add(ikev2::Ke{DhGroup::Ecp256, Bytes(key->public_value().begin(), key->public_value().end())})
        .add(ikev2::Nonce{Bytes(16, 1)});
    return message(spi, 0, exchange, b);
  }
  [[nodiscard]] static Bytes message(std::uint64_t spi_i, std::uint64_t spi_r, std::uint8_t exchange, const Builder& b,
                                     std::uint8_t major = 2, std::uint8_t flags = ike::kFlagInitiator) {
    ike::Header h;
    h.spi_i = IkeSpi{spi_i};
    h.spi_r = IkeSpi{spi_r};
    h.major = major;
    h.exchange = exchange;
    h.flags = flags;
    h.next_payload = static_cast<std::uint8_t>(b.first());
    return ike::encode_message(h, b.chain());
  }
};

/// Wishes that a stranger can send who has done IKE_SA_INIT: a user's, who is answered with certificates; the gateway's proof is 3 kB long.
Builder users_wish(const InsiderV2& peer) {
  Builder b;
  b.add(peer.identity())
      .add(ikev2::build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(0), false))
      .add(ikev2::TsI{{net("10.1.0.0/24")}, 0})
      .add(ikev2::TsR{{net("10.2.0.0/24")}, 0});
  return b;
}

}  // namespace

TEST_CASE("IKEv2: who has done IKE_SA_INIT at his own address goes on in a victim's name: the victim gets nothing",
          "[ikev2][amplification][attack-H3]") {
  const bool load = GENERATE(false, true);
  Meter m;
  REQUIRE(m.peer.begin());
  if (load) m.load();
  const auto sealed = [&](std::uint8_t exchange, const Builder& b) { return m.peer.sealed(exchange, b); };
  std::vector<Bytes> wishes = {sealed(ike::kExchangeAuth, users_wish(m.peer)), sealed(ike::kExchangeAuth, Builder()),
                               sealed(ike::kExchangeIntermediate, Builder()), sealed(ike::kExchangeInformationalV2, Builder()),
                               sealed(ike::kExchangeCreateChildSa, Builder())};
  for (const Bytes& wish : wishes)
    for (int k = 0; k < 3; ++k)
      for (const std::uint16_t port : {std::uint16_t{500}, std::uint16_t{4500}}) m.say(wish, kVictim, port);
  m.world.run(120s);
  CHECK(m.out[kVictim] == 0);
}

TEST_CASE("IKEv2: a victim gets nothing of the repeats either, and who asks at his own address only some",
          "[ikev2][amplification][attack-H3]") {
  Meter m;
  const auto said = m.peer.connect_as_user(net("10.1.0.0/24"), net("10.2.0.0/24"));
  REQUIRE((said && said->find<ikev2::Eap>()));
  const std::size_t once = m.out[kOwn];
  REQUIRE(once > 3000);
  SECTION("the request again, in the victim's name") {
    for (int k = 0; k < 100; ++k) m.say(m.peer.last, kVictim, static_cast<std::uint16_t>(500 + k));
    m.world.run(20s);
    CHECK(m.out[kVictim] == 0);
    CHECK(m.out[kOwn] == once);
  }
  SECTION("the next step of EAP, in the victim's name") {
    m.say(m.peer.sealed(ike::kExchangeAuth, Builder().add(ikev2::Eap{Bytes{2, 1, 0, 5, 1}})), kVictim);
    m.world.run(20s);
    CHECK(m.out[kVictim] == 0);
  }
  SECTION("the request again, where it came from") {
    for (int k = 0; k < 100; ++k) m.say(m.peer.last, kOwn);
    m.world.run(20s);
    CHECK(m.out[kOwn] <= (1 + ike::kMaxRepeatsOfInit) * once);
  }
  CHECK_FALSE(m.gateway.up());
}

TEST_CASE("IKEv2: with MOBIKE a request is answered where it came from, and its repeats no oftener than they are worth it",
          "[ikev2][amplification][mobike][attack-H3][rfc4555-3.8]") {
  Meter m([](auto& g) {
    g.connections[0].remote_auth.auth = Proof::Psk;
    g.connections[0].mobike = true;
  });
  m.peer.announces.push_back(NotifyType::MobikeSupported);
  const auto said = m.peer.connect(net("10.1.0.0/24"), net("10.2.0.0/24"));
  REQUIRE((said && said->notify(NotifyType::MobikeSupported)));
  REQUIRE(m.out[kOwn] > 3000);
  for (int k = 0; k < 200; ++k) {
    m.say(m.peer.last, kVictim);
    CHECK(m.ratio(kVictim) <= 1.5);
  }
  CHECK(m.gateway.up());
  m.world.run(120s);
  CHECK(m.ratio(kVictim) <= 1.5);
}

TEST_CASE("IKEv2: a NAT that gives the rest of it another port is followed, another address is not", "[ikev2][amplification][nat]") {
  Meter m;
  REQUIRE(m.peer.begin());
  const Bytes wish = m.peer.sealed(ike::kExchangeAuth, users_wish(m.peer));
  m.say(wish, kVictim);
  m.world.run(1s);
  CHECK(m.gateway.counted(Exchange::Informational, Reason::Unexpected) == 1);
  m.say(wish, kOwn, 20001);  // nothing is lost by what others send
  m.world.run(1s);
  CHECK(m.out[kOwn] > 3000);
}

TEST_CASE("IKEv2: while cookies are asked for nobody gets more than he sends, whatever it is",
          "[ikev2][amplification][attack-H3][rfc7296-2.6]") {
  Meter m([](auto& g) { g.connections[0].resumption.enabled = true; });
  m.gateway.tickets = {{.id = 1, .key = SecretBytes(Bytes(32, 2))}};
  const bool load = GENERATE(false, true);
  if (load) m.load();
  const double most = load ? 1.0 : 1.5;
  std::uint32_t from = 0xc6336400;
  const auto one = [&](const Bytes& message) {
    const IpAddress stranger = IpAddress::v4(++from);
    for (int k = 0; k < 4; ++k) m.say(message, stranger);
    m.world.run(200ms);
    INFO("bytes: " << message.size());
    CHECK(m.ratio(stranger) <= most);
    return m.out[stranger];
  };
  SECTION("a critical payload that nobody knows, in the shortest message that has one") {
    const auto critical = [&](std::size_t size) {
      Bytes out = m.message(1, 0, ike::kExchangeSaInit, Builder().add_raw(static_cast<PayloadType>(200), Bytes(size)));
      out[ike::kHeaderSize + 1] |= 0x80;
      return out;
    };
    CHECK((one(critical(0)) > 0) == !load);
    CHECK(one(critical(16)) > 0);
  }
  SECTION("an IKE SA that is not there") {
    for (const std::size_t size : {4U, 20U, 29U, 40U, 80U})
      one(m.message(7, 9, ike::kExchangeInformationalV2, Builder().add_raw(PayloadType::Sk, Bytes(size, 1))));
    CHECK(one(m.message(7, 9, ike::kExchangeInformationalV2, Builder().add_raw(PayloadType::Sk, Bytes(80, 1)))) > 0);
  }
  SECTION("first messages, and tickets") {
    CHECK(one(m.first(3)) > 0);
    for (const std::size_t size : {0U, 20U, 200U})
      one(m.message(5, 0, ike::kExchangeSessionResume,
                    Builder().add(ikev2::Nonce{Bytes(16, 1)}).notify(NotifyType::TicketOpaque, Bytes(size, 3))));
  }
  SECTION("newer versions") {
    one(m.message(5, 0, ike::kExchangeSaInit, Builder(), 3));
    CHECK(one(m.message(5, 0, ike::kExchangeSaInit, Builder().add(ikev2::Nonce{Bytes(16, 1)}), 3)) > 0);
  }
  SECTION("a first message that was answered before, again and again") {
    const IpAddress stranger = IpAddress::v4(++from);
    m.say(m.first(3), stranger);
    if (!load) m.load();
    for (int k = 0; k < 50; ++k) m.say(m.first(3), stranger);
    m.world.run(1s);
    CHECK(m.ratio(stranger) <= 1.0);
  }
}

TEST_CASE("IKEv2: a newer major version is told which one is spoken here, now and then", "[ikev2][attack-A8][rfc7296-2.5]") {
  Meter m;
  std::vector<ike::Datagram> told;
  m.world.hook = [&](ike::Datagram& d) {
    if (d.local.address != kOwn) told.push_back(d);
    return true;
  };
  const auto newer = [&](std::uint8_t major, std::uint8_t flags = ike::kFlagInitiator) {
    m.say(m.message(0x77, 0x99, ike::kExchangeInformationalV2, Builder().add(ikev2::Nonce{Bytes(16, 1)}), major, flags), kOwn);
    m.world.run(10ms);
  };
  newer(3);
  REQUIRE(told.size() == 1);
  const auto framed = ike::parse_header(told[0].data);
  REQUIRE(framed);
  CHECK(framed->header.spi_i == IkeSpi{0x77});
  CHECK(framed->header.spi_r == IkeSpi{0x99});
  CHECK(int{framed->header.major} == 2);
  CHECK(int{framed->header.exchange} == int{ike::kExchangeInformationalV2});
  CHECK(int{framed->header.flags} == int{ike::kFlagResponse});
  const auto said = ikev2::Message::parse(PayloadType{framed->header.next_payload}, framed->body);
  CHECK((said && said->error() && said->error()->type == NotifyType::InvalidMajorVersion));
  SECTION("a few of many") {
    for (int k = 0; k < 1000; ++k) newer(15);
    CHECK(told.size() >= 2);
    CHECK(told.size() <= 60);
  }
  SECTION("never to an answer, nor to an older version, nor where nobody speaks IKEv2") {
    newer(3, ike::kFlagResponse);
    newer(3, ike::kFlagResponse | ike::kFlagInitiator);
    newer(0);
    CHECK(told.size() == 1);
  }
  CHECK(m.gateway.engine->ike_sas().empty());
}

TEST_CASE("IKEv2: forged messages for an IKE SA that is being made: few are tried, and the true one still counts",
          "[ikev2][attack-H6][attack-H8]") {
  const bool fragments = GENERATE(false, true);
  Meter m([](auto& g) {
    g.connections[0].local_auth.auth = g.connections[0].remote_auth.auth = Proof::Psk;
    g.connections[0].local_id = {config::Identity::Type::IpAddr, "10.9.0.2"};
  });
  if (fragments) m.peer.in_init.notify(NotifyType::Ikev2FragmentationSupported);
  REQUIRE(m.peer.begin());
  const Bytes good = m.peer.sealed(ike::kExchangeAuth, users_wish(m.peer));
  const auto forge = [&](int times) {
    for (int k = 0; k < times; ++k) {
      Bytes bad = good;
      bad[bad.size() - 1 - static_cast<std::size_t>(k) % 16] ^= static_cast<std::uint8_t>(1 + k / 16 % 255);
      if (fragments) bad[16] = static_cast<std::uint8_t>(PayloadType::Skf);
      m.say(bad, kOwn);
    }
  };
  forge(10'000);
  const auto tried = [&] {
    return m.gateway.counted(Exchange::IkeAuth, Reason::BadHash) + m.gateway.counted(Exchange::IkeAuth, Reason::Malformed);
  };
  CHECK(m.gateway.counted(Exchange::IkeAuth, Reason::BadHash) <= static_cast<std::size_t>(ikev2::Forgeries::kBurst));
  CHECK(tried() >= 1);
  m.world.run(1s);
  const auto said = m.peer.prove(net("10.1.0.0/24"), net("10.2.0.0/24"));
  INFO(m.gateway.transcript());
  REQUIRE((said && said->find<ikev2::Auth>()));
  CHECK(m.gateway.up());
}

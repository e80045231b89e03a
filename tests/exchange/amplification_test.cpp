// Bytes out over bytes in: whatever a stranger sends, once or again and again, and then two minutes of silence, it gets at most one and a
// half times what it sent. So a gateway is of no use to somebody who sends in a victim's name. RFC 2408 §2.5.3 is about that; nothing is
// sent again by itself to a peer that has proved nothing.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ike/nat_traversal.hpp"
#include "control/ikev1/fragments.hpp"
#include "control/ikev1/proposal.hpp"
#include "control/ikev1/vendor_ids.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ikev1::PayloadType;

namespace {

constexpr double kMost = 1.5;
const Endpoint kStranger{IpAddress::parse("10.9.0.77").value(), 500};

/// A responder that answers everybody, with a tunnel of its own, and the account of what it says to the stranger.
struct Meter {
  World world;
  Host* gateway = nullptr;
  std::size_t in = 0, out = 0;
  std::vector<ike::Datagram> answers;

  using Change = std::function<void(config::GatewayConfig&, config::GatewayConfig&)>;
  explicit Meter(const Change& change = {}, std::optional<ike::AuthMethod> signatures = {}, std::size_t chain = 0) {
    const Change all = [&](auto& ca, auto& cb) {
      if (change) change(ca, cb);
      cb.connections[0].remote_addrs.clear();
    };
    auto [a, b] = signatures ? two_signing_sites(world, *signatures, all) : two_sites(world, all);
    gateway = &b;
    b.chain_size = b.authorities_size = chain;
    a.start();
    b.start();
    REQUIRE(world.run_until([&, &peer = a, &host = b] { return peer.up() && host.up(); }, 60s));
    world.hook = [this](ike::Datagram& d) {
      if (d.remote.address != kStranger.address) return true;
      out += d.data.size() + 28;  // with the headers of IP and UDP
      answers.push_back(d);
      return true;
    };
  }
  void say(const Bytes& data, std::uint16_t port = 500) {
    in += data.size() + 28;
    world.deliver({{gateway->config.connections[0].local_addrs[0], port}, kStranger, data});
    world.run(20ms);
  }
  void say(const ike::Header& header, const ikev1::Builder& payloads) {
    ike::Datagram d{kStranger, kStranger, {}};
    rewrite(d, header, payloads);
    say(d.data);
  }
  [[nodiscard]] double ratio() const { return in == 0 ? 0.0 : static_cast<double>(out) / static_cast<double>(in); }
};

ike::Header header(std::uint8_t exchange, IkeSpi spi_i = IkeSpi{0x1122334455667788}, IkeSpi spi_r = {}) {
  ike::Header h;
  h.spi_i = spi_i;
  h.spi_r = spi_r;
  h.exchange = exchange;
  return h;
}
ikev1::Builder offer(const std::string& proposal) {
  ikev1::Builder b;
  b.add(ikev1::build_ike_offer(parse_ike_proposal(proposal).value(), 3600));
  return b;
}
/// All vendor ids that we know.
ikev1::Builder with_vendors(ikev1::Builder b) {
  for (const ikev1::VendorIdInfo& v : ikev1::vendor_id_table()) b.add(ikev1::Vendor{ikev1::vendor_id(v.id)});
  return b;
}
/// The shortest first message of Aggressive Mode.
ikev1::Builder aggressive_offer(const std::string& proposal, ike::AuthMethod method, Bytes ke) {
  ikev1::Builder b;
  b.add(
      ikev1::build_ike_offer(parse_ike_proposal(proposal).value(), 3600, ikev1::Phase1Auth{.method = method, .hybrid = false, .user = {}}));
  b.add(ikev1::Ke{std::move(ke)}).add(ikev1::Nonce{Bytes(8, 1)}).add(ikev1::Id{ikev1::IdType::Fqdn, 0, 0, {'x'}});
  return b;
}
/// What a message of `size` bytes becomes with a fragment payload each.
std::vector<Bytes> in_fragments(const Bytes& message) { return ikev1::cut_message(message, 300, 9); }
const char* const kPoint =
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

}  // namespace

TEST_CASE("message 1, known and unknown proposals, once and fifty times", "[amplification][attack-H3]") {
  const auto* proposal = GENERATE("aes128-sha256-ecp256", "aes256-sha512-modp4096");
  const bool vendors = GENERATE(false, true);
  const int times = GENERATE(1, 2, 6, 50);
  Meter m;
  for (int i = 0; i < times; ++i) m.say(header(ike::kExchangeMainMode), vendors ? with_vendors(offer(proposal)) : offer(proposal));
  m.world.run(120s);
  CAPTURE(proposal, vendors, times, m.in, m.out);
  CHECK(m.out > 0);
  CHECK(m.ratio() <= (vendors ? kMost : 1.0));
}

TEST_CASE("a stranger that goes on with the smallest message 3, and with message 5s that prove nothing",
          "[amplification][attack-H3][attack-H6]") {
  const int times = GENERATE(1, 6, 30);
  const std::size_t nat_d = GENERATE(0, 32);
  Meter m;
  m.say(header(ike::kExchangeMainMode), with_vendors(offer("aes128-sha256-ecp256")));
  REQUIRE(m.answers.size() == 1);
  const IkeSpi spi_r = look(m.answers[0])->header.spi_r;
  ikev1::Builder three;
  three.add(ikev1::Ke{from_hex(kPoint).value()}).add(ikev1::Nonce{Bytes(8, 1)});
  for (int i = 0; i < 2 && nat_d > 0; ++i) three.add(ikev1::NatD{Bytes(nat_d, 2)});
  for (int i = 0; i < times; ++i) m.say(header(ike::kExchangeMainMode, IkeSpi{0x1122334455667788}, spi_r), three);
  m.world.run(120s);
  CAPTURE(times, nat_d, m.in, m.out);
  CHECK(m.ratio() <= kMost);
}

TEST_CASE("message 5s that prove nothing are answered once", "[amplification][attack-H3][attack-H6]") {
  Meter m;
  m.say(header(ike::kExchangeMainMode), offer("aes128-sha256-ecp256"));
  REQUIRE(m.answers.size() == 1);
  const IkeSpi spi_r = look(m.answers[0])->header.spi_r;
  ikev1::Builder three;
  three.add(ikev1::Ke{from_hex(kPoint).value()}).add(ikev1::Nonce{Bytes(16, 1)});
  m.say(header(ike::kExchangeMainMode, IkeSpi{0x1122334455667788}, spi_r), three);
  const std::size_t before = m.out;
  for (std::uint8_t i = 0; i < 20; ++i) {
    ike::Header h = header(ike::kExchangeMainMode, IkeSpi{0x1122334455667788}, spi_r);
    h.flags = ike::kFlagEncryption;
    h.next_payload = static_cast<std::uint8_t>(PayloadType::Id);
    m.say(ike::encode_message(h, Bytes(32, i)));
  }
  m.world.run(120s);
  CHECK(m.out - before <= 28 + 28 + 28);
  CHECK(m.ratio() <= kMost);
}

TEST_CASE("every exchange type, with and without cookies, in clear and not", "[amplification][attack-H3][attack-B8][attack-G9]") {
  Meter m;
  const auto tunnel = m.gateway->engine->ike_sas().at(0);
  for (unsigned exchange = 0; exchange < 256; ++exchange)
    for (const std::uint8_t flags : std::initializer_list<std::uint8_t>{0, 1, 2, 4})
      for (const bool known : {false, true}) {
        ike::Header h = header(static_cast<std::uint8_t>(exchange), IkeSpi{exchange + 1}, IkeSpi{known ? 7U : 0U});
        if (known) h.spi_i = tunnel.spi_i, h.spi_r = tunnel.spi_r;
        h.flags = flags;
        h.message_id = MessageId{exchange * 3};
        const std::size_t in = m.in, out = m.out;
        m.say(h, ikev1::Builder{}.add(ikev1::Notify{1, ikev1::kProtoIsakmp, ikev1::NotifyType::RUThere, Bytes(16, 1), {0, 0, 0, 1}}));
        CAPTURE(exchange, flags, known);
        CHECK(static_cast<double>(m.out - out) <= kMost * static_cast<double>(m.in - in));
      }
  m.world.run(120s);
  CHECK(m.ratio() <= 0.1);  // none of these is worth an answer
}

TEST_CASE("junk, what is cut off, other versions, fragments of nothing, keepalives",
          "[amplification][attack-H3][attack-A1][attack-A8][attack-L3]") {
  Meter m;
  const auto first = [&] {
    ike::Datagram d{kStranger, kStranger, {}};
    rewrite(d, header(ike::kExchangeMainMode, IkeSpi{0x99}), with_vendors(offer("aes128-sha256-ecp256")));
    return d.data;
  }();
  for (std::size_t n = 0; n < first.size(); ++n) m.say(Bytes(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(n)));
  for (const std::uint8_t version : std::initializer_list<std::uint8_t>{0x00, 0x11, 0x1f, 0x20, 0x2f, 0x30, 0xf0})
    for (const std::uint8_t exchange : std::initializer_list<std::uint8_t>{2, 34, 35, 36, 37}) {
      Bytes other = first;
      other[0] = version;
      other[17] = version;
      other[18] = exchange;
      m.say(other);
    }
  for (int i = 0; i < 500; ++i) {
    Bytes junk(m.world.random(200));
    for (auto& byte : junk) byte = static_cast<std::uint8_t>(m.world.rng());
    m.say(junk, i % 2 ? 500 : 4500);
  }
  for (int i = 0; i < 50; ++i) m.say(Bytes{0xff}, 4500);
  for (std::uint8_t i = 0; i < 50; ++i) {
    ike::Header h = header(ike::kExchangeMainMode, IkeSpi{i + 1000U});
    h.next_payload = 132;  // a fragment
    m.say(ike::encode_message(
        h, Bytes{0, 0, 0, 40, 0, 1, 1, i, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}));
  }
  m.world.run(120s);
  CAPTURE(m.in, m.out);
  CHECK(m.ratio() <= kMost);
  CHECK(m.gateway->up());
}

TEST_CASE("Aggressive Mode, answered or not: once, many times, and message 3s that prove nothing",
          "[amplification][aggressive_mode][attack-H3][attack-E8]") {
  const auto method = GENERATE(ike::AuthMethod::Psk, ike::AuthMethod::RsaSignature, ike::AuthMethod::EcdsaP521);
  const bool on = GENERATE(true, false);
  const std::size_t chain = GENERATE(20, 3000);
  const int times = GENERATE(1, 2, 40);
  const bool psk = method == ike::AuthMethod::Psk;
  if (psk && chain > 20) return;
  Meter m(
      [on](auto& ca, auto& cb) {
        for (auto* c : {&ca, &cb}) c->connections[0].aggressive = c->connections[0].aggressive_psk_exposes_hash = on;
      },
      psk ? std::nullopt : std::optional(method), chain);
  const ike::Header first = header(ike::kExchangeAggressive);
  for (int i = 0; i < times; ++i) {
    m.say(first, with_vendors(aggressive_offer("aes128-sha256-ecp256", method, from_hex(kPoint).value())));
    CHECK(m.ratio() <= kMost);
  }
  const auto answer = std::ranges::find_if(m.answers, [](const ike::Datagram& d) { return look(d)->header.spi_r.value != 0; });
  CHECK((on || answer == m.answers.end()));
  const IkeSpi spi_r = answer == m.answers.end() ? IkeSpi{4711} : look(*answer)->header.spi_r;
  for (std::uint8_t i = 0; i < times; ++i) {
    ike::Header h = header(ike::kExchangeAggressive, first.spi_i, spi_r);
    h.flags = ike::kFlagEncryption;
    h.next_payload = static_cast<std::uint8_t>(PayloadType::Hash);
    m.say(ike::encode_message(h, Bytes(16, i)));
    CHECK(m.ratio() <= kMost);
  }
  m.world.run(120s);
  CAPTURE(on, chain, times, m.in, m.out);
  CHECK(m.out > 0);
  CHECK(m.ratio() <= kMost);
}

TEST_CASE("long answers, of which each piece has its own headers", "[amplification][fragments][attack-H3][attack-H4]") {
  const bool aggressive = GENERATE(false, true);
  const bool cut = GENERATE(false, true);
  const auto group = GENERATE("ecp256", "modp4096");
  const std::size_t chain = GENERATE(600, 2000);
  Meter m(
      [&](auto& ca, auto& cb) {
        for (auto* c : {&ca, &cb}) {
          c->connections[0].aggressive = aggressive;
          c->connections[0].proposals = parse_ike_proposal(std::string("aes128-sha256-") + group).value();
        }
        cb.connections[0].fragmentation = config::Fragmentation::Force;
        cb.ike.fragment_size = 576;
      },
      ike::AuthMethod::RsaSignature, chain);
  const std::string proposal = std::string("aes128-sha256-") + group;
  const Bytes ke = group == std::string("ecp256") ? from_hex(kPoint).value() : Bytes(512, 0x33);
  const auto send = [&](const ike::Header& h, const ikev1::Builder& payloads) {
    ike::Datagram d{kStranger, kStranger, {}};
    rewrite(d, h, payloads);
    for (const Bytes& piece : cut ? in_fragments(d.data) : std::vector<Bytes>{}) m.say(piece);
    if (!cut || in_fragments(d.data).empty()) m.say(d.data);
    CHECK(m.ratio() <= kMost);
  };
  CAPTURE(aggressive, cut, group, chain);
  for (int i = 0; i < 12; ++i) {
    if (aggressive) {
      send(header(ike::kExchangeAggressive), aggressive_offer(proposal, ike::AuthMethod::RsaSignature, ke));
      continue;
    }
    ikev1::Builder one;
    one.add(ikev1::build_ike_offer(parse_ike_proposal(proposal).value(), 3600,
                                   ikev1::Phase1Auth{.method = ike::AuthMethod::RsaSignature, .hybrid = false, .user = {}}));
    if (i == 0) send(header(ike::kExchangeMainMode), with_vendors(one));
    REQUIRE_FALSE(m.answers.empty());
    ikev1::Builder three;
    three.add(ikev1::Ke{ke}).add(ikev1::Nonce{Bytes(8, 1)});
    for (int k = 0; k < 2; ++k) three.add(ikev1::NatD{Bytes(32, 2)});
    send(header(ike::kExchangeMainMode, IkeSpi{0x1122334455667788}, look(m.answers.front())->header.spi_r), three);
  }
  m.world.run(120s);
  CHECK(m.ratio() <= kMost);
}

TEST_CASE("messages under cookies that nobody has, of each exchange, encrypted or not", "[amplification][attack-H3][attack-B8]") {
  Meter m;
  for (const std::uint8_t exchange :
       {ike::kExchangeMainMode, ike::kExchangeAggressive, ike::kExchangeQuickMode, ike::kExchangeTransaction, ike::kExchangeInformational})
    for (const std::uint8_t flags : std::initializer_list<std::uint8_t>{0, ike::kFlagEncryption})
      for (unsigned i = 0; i < 200; ++i) {
        ike::Header h = header(exchange, IkeSpi{i + 1}, IkeSpi{i + 77});
        h.flags = flags;
        h.message_id = MessageId{exchange == ike::kExchangeMainMode || exchange == ike::kExchangeAggressive ? 0 : i + 1};
        h.next_payload = static_cast<std::uint8_t>(PayloadType::Hash);
        m.say(ike::encode_message(h, flags ? Bytes(48, 7) : ikev1::Builder{}.add(ikev1::Hash{Bytes(32, 7)}).chain()));
      }
  m.world.run(120s);
  CHECK(m.out == 0);
}

// What strangers can do to an IKEv2 engine: nothing that lasts. They send what they like from where they like, and know no keys.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/crypto/dh.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/sa_init_responder.hpp"
#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::Builder;
using ikev2::NotifyType;
using ikev2::PayloadType;

namespace {

IpAddress ip(std::uint32_t v4) { return IpAddress::v4(v4); }
constexpr std::uint32_t kSomewhere = 0xc0000200;  // 192.0.2.0

/// B alone, as anybody's responder; its answers go nowhere, and are kept.
struct Alone {
  World world;
  Host& b;
  std::vector<ike::Datagram> answers;
  explicit Alone(const std::function<void(config::GatewayConfig&)>& change = {}) : b(*make(world, change)) {
    b.start();
    world.hook = [this](ike::Datagram& d) {
      if (d.local.address == IpAddress::parse("10.9.0.2").value()) answers.push_back(d);
      return true;
    };
  }
  static Host* make(World& w, const std::function<void(config::GatewayConfig&)>& change) {
    const Pair p = two_v2(w, [&](auto&, auto& b) {
      b.connections[0].remote_addrs.clear();
      if (change) change(b);
    });
    return &p.b;
  }
  void deliver(const Bytes& message, const IpAddress& from, std::uint16_t port = 500, bool heard = false) {
    sent += message.size();
    world.deliver({{IpAddress::parse("10.9.0.2").value(), 500}, {from, port}, message, heard});
  }
  [[nodiscard]] std::size_t answered() const {
    std::size_t n = 0;
    for (const ike::Datagram& d : answers) n += d.data.size();
    return n;
  }
  std::size_t sent = 0;
};

Builder first_payloads(std::uint8_t fill = 1, Bytes ke = {}) {
  static const auto key = crypto::DhKey::generate(DhGroup::Ecp256).value();
  if (ke.empty()) ke.assign(key->public_value().begin(), key->public_value().end());
  Builder b;
  b.add(ikev2::build_ike_offer(parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value()))
      .add(ikev2::Ke{DhGroup::Ecp256, std::move(ke)})
      .add(ikev2::Nonce{Bytes(32, fill)});
  return b;
}
Bytes message(std::uint64_t spi_i, std::uint64_t spi_r, std::uint8_t exchange, std::uint32_t id, const Builder& b,
              std::uint8_t flags = ike::kFlagInitiator) {
  ike::Header h;
  h.spi_i = IkeSpi{spi_i};
  h.spi_r = IkeSpi{spi_r};
  h.major = 2;
  h.exchange = exchange;
  h.flags = flags;
  h.message_id = MessageId{id};
  h.next_payload = static_cast<std::uint8_t>(b.first());
  return ike::encode_message(h, b.chain());
}
Bytes first_message(std::uint64_t spi_i, const Builder& b = first_payloads()) { return message(spi_i, 0, ike::kExchangeSaInit, 0, b); }
/// nullptr: none.
const ikev2::Notify* notified(const ike::Datagram& d, NotifyType type) {
  static std::optional<ikev2::Message> parsed;
  const auto framed = ike::parse_header(d.data);
  parsed.reset();
  if (framed) {
    auto m = ikev2::Message::parse(PayloadType{framed->header.next_payload}, framed->body);
    if (m) parsed = std::move(*m);
  }
  return parsed ? parsed->notify(type) : nullptr;
}

}  // namespace

TEST_CASE("IKEv2: first messages from everywhere: cookies, and no more state than the threshold",
          "[ikev2][attack-H1][attack-D7][rfc7296-2.6]") {
  Alone s;
  for (std::uint32_t i = 0; i < 2000; ++i) s.deliver(first_message(0x1000 + i), ip(kSomewhere + i));
  s.world.run(1s);
  CHECK(s.b.engine->ike_sas().size() == ikev2::kCookieThreshold);
  CHECK(s.b.key_exchanges <= ikev2::kCookieThreshold);
  REQUIRE(s.answers.size() >= 1900);
  const IpAddress last = ip(kSomewhere + 1999);
  const auto answer = std::ranges::find_if(s.answers, [&](const ike::Datagram& d) { return d.remote.address == last; });
  REQUIRE(answer != s.answers.end());
  const ikev2::Notify* cookie = notified(*answer, NotifyType::Cookie);
  REQUIRE(cookie);
  const Bytes good = cookie->data;
  const auto with_cookie = [&](std::uint64_t spi, Bytes data) {
    Builder b;
    b.notify(NotifyType::Cookie, std::move(data));
    b.add(ikev2::build_ike_offer(parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value()))
        .add(ikev2::Ke{DhGroup::Ecp256, Bytes(64, 1)})
        .add(ikev2::Nonce{Bytes(32, 1)});
    return first_message(spi, b);
  };
  const std::size_t before = s.b.engine->ike_sas().size();
  SECTION("the cookie opens for who was told it, where he is, and for that SPI") {
    s.deliver(with_cookie(0x1000 + 1999, good), last);
    CHECK(s.b.engine->ike_sas().size() == before + 1);
  }
  SECTION("for nobody else, nowhere else, not changed") {
    s.deliver(with_cookie(0x1000 + 1998, good), last);
    s.deliver(with_cookie(0x1000 + 1999, good), ip(kSomewhere + 5));
    s.deliver(with_cookie(0x1000 + 1999, good), last, 501);
    for (std::size_t i = 0; i < good.size(); ++i) {
      Bytes bad = good;
      bad[i] ^= 1;
      s.deliver(with_cookie(0x1000 + 1999, bad), last);
    }
    s.deliver(with_cookie(0x1000 + 1999, Bytes{}), last);
    CHECK(s.b.engine->ike_sas().size() == before);
  }
  SECTION("two minutes later it is none any more") {
    s.world.run(130s);
    for (std::uint32_t i = 0; i < 100; ++i) s.deliver(first_message(0x9000 + i), ip(kSomewhere + i));
    const std::size_t now = s.b.engine->ike_sas().size();
    s.deliver(with_cookie(0x1000 + 1999, good), last);
    CHECK(s.b.engine->ike_sas().size() == now);
  }
  SECTION("they are gone when their time is over") {
    s.world.run(60s);
    CHECK(s.b.engine->ike_sas().empty());
    CHECK(s.b.spis.empty());
  }
}

TEST_CASE("IKEv2: a stranger gets no more bytes than he sends, once cookies are asked for no more at all", "[ikev2][attack-H3]") {
  Alone s;
  for (std::uint32_t i = 0; i < 20; ++i) s.deliver(first_message(0x1000 + i), ip(kSomewhere + i));
  s.world.run(120s);
  CHECK(s.answered() > 0);
  CHECK(2 * s.answered() <= 3 * s.sent);
  s.answers.clear();
  s.sent = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) s.deliver(first_message(0x5000 + i), ip(kSomewhere + i));
  s.sent = 0;
  s.answers.clear();
  for (std::uint32_t i = 0; i < 1000; ++i) s.deliver(first_message(0x9000 + i), ip(kSomewhere + i));
  s.world.run(120s);
  CHECK(s.answered() <= s.sent);
}

TEST_CASE("IKEv2: who has brought the data plane's cookie is asked for none here, and takes the place of what he began without it",
          "[ikev2][attack-H1][rfc7296-2.6]") {
  Alone s;
  Builder with_cookie;
  with_cookie.notify(NotifyType::Cookie, Bytes(20, 3));  // which only the data plane can judge
  const auto all = ikev2::Message::parse(first_payloads().first(), first_payloads().chain());
  for (const auto& p : all.value().payloads()) with_cookie.add_raw(p.type, p.body);
  const auto asked_for_cookie = [&] {
    return std::ranges::count_if(s.answers, [](const auto& d) { return notified(d, NotifyType::Cookie) != nullptr; });
  };
  SECTION("under load") {
    for (std::uint32_t i = 0; i < 2000; ++i) s.deliver(first_message(0x1000 + i), ip(kSomewhere + i));
    s.world.run(1s);
    const auto before = asked_for_cookie();
    const std::size_t there = s.b.engine->ike_sas().size();
    s.deliver(first_message(0x77, with_cookie), ip(kSomewhere + 3000));
    CHECK(asked_for_cookie() == before + 1);  // as if it had none
    CHECK(s.b.engine->ike_sas().size() == there);
    s.deliver(first_message(0x78, with_cookie), ip(kSomewhere + 3001), 500, true);
    s.world.run(1s);
    CHECK(asked_for_cookie() == before + 1);
    CHECK(s.b.engine->ike_sas().size() == there + 1);
  }
  SECTION("whose first message had come through, and its answer not") {
    s.deliver(first_message(0x77), ip(kSomewhere));
    s.world.run(1s);
    REQUIRE(s.answers.size() == 1);
    s.deliver(first_message(0x77, with_cookie), ip(kSomewhere), 500, true);
    s.world.run(1s);
    CHECK(s.answers.size() == 2);
    CHECK(s.b.engine->ike_sas().size() == 1);
    s.deliver(first_message(0x77, with_cookie), ip(kSomewhere), 500, true);  // he has been heard, and has his SA
    s.world.run(1s);
    CHECK(s.b.engine->ike_sas().size() == 1);
    CHECK(s.b.key_exchanges == 2);
  }
}

TEST_CASE("IKEv2: the same first message a thousand times makes one SA and few answers", "[ikev2][attack-B6]") {
  Alone s;
  for (int i = 0; i < 1000; ++i) s.deliver(first_message(0x77), ip(kSomewhere));
  s.world.run(1s);
  for (int i = 0; i < 1000; ++i) s.deliver(first_message(0x77), ip(kSomewhere));
  s.world.run(1s);
  CHECK(s.b.engine->ike_sas().size() == 1);
  CHECK(s.b.key_exchanges == 1);
  CHECK(s.answers.size() <= 1 + ike::kMaxRepeatsOfInit);
  CHECK(2 * s.answered() <= 3 * s.sent);
}

TEST_CASE("IKEv2: before IKE_AUTH nothing else is taken, and IKE_AUTH only in its turn", "[ikev2][attack-B1][attack-B2][attack-H6]") {
  Alone s;
  s.deliver(first_message(0x77), ip(kSomewhere));
  s.world.run(1s);
  INFO(s.b.transcript());
  REQUIRE(s.answers.size() == 1);
  const auto spi_r = ike::parse_header(s.answers[0].data)->header.spi_r.value;
  Builder sk;
  sk.add_raw(PayloadType::Sk, Bytes(60, 7));
  for (const std::uint8_t exchange :
       {ike::kExchangeSaInit, ike::kExchangeAuth, ike::kExchangeCreateChildSa, ike::kExchangeInformationalV2, std::uint8_t{43}})
    for (const std::uint32_t id : {0U, 1U, 2U, 0xffffffffU})
      for (const std::uint8_t flags :
           {std::uint8_t{0}, ike::kFlagInitiator, ike::kFlagResponse, std::uint8_t{ike::kFlagInitiator | ike::kFlagResponse}}) {
        s.deliver(message(0x77, spi_r, exchange, id, sk, flags), ip(kSomewhere));
        Builder clear;
        clear.add(ikev2::Delete{ikev2::kProtoIke, {}});
        s.deliver(message(0x77, spi_r, exchange, id, clear, flags), ip(kSomewhere));
      }
  s.world.run(1s);
  CHECK(s.answers.size() == 1);
  CHECK(s.b.key_exchanges == 1);
  CHECK(s.b.established() == 0);
  CHECK(s.b.engine->ike_sas().size() == 1);
}

TEST_CASE("IKEv2: first messages with a payload missing, doubled or bad", "[ikev2][attack-B4][attack-A3][attack-A7][attack-D4]") {
  Alone s;
  const Bytes good = first_message(0x77);
  for (std::size_t n = 0; n < good.size(); ++n)
    s.deliver(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)), ip(kSomewhere));
  for (int missing = 0; missing < 3; ++missing)
    for (const int times : {0, 2}) {
      Builder b;
      for (int k = 0; k < 3; ++k)
        for (int i = 0; i < (k == missing ? times : 1); ++i) {
          if (k == 0) b.add(ikev2::build_ike_offer(parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value()));
          if (k == 1) b.add(ikev2::Ke{DhGroup::Ecp256, Bytes(64, 1)});
          if (k == 2) b.add(ikev2::Nonce{Bytes(32, 1)});
        }
      s.deliver(first_message(0x78, b), ip(kSomewhere));
    }
  for (const std::size_t nonce : {std::size_t{0}, std::size_t{15}, std::size_t{257}}) {
    Builder b;
    b.add(ikev2::build_ike_offer(parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value()))
        .add(ikev2::Ke{DhGroup::Ecp256, Bytes(64, 1)})
        .add_raw(PayloadType::Nonce, Bytes(nonce, 1));
    s.deliver(first_message(0x79, b), ip(kSomewhere));
  }
  s.world.run(1s);
  CHECK(s.answers.empty());
  CHECK(s.b.engine->ike_sas().empty());
  Bytes critical = first_message(0x80, first_payloads().add_raw(PayloadType{55}, Bytes(4, 0)));
  critical[critical.size() - 7] = 0x80;  // of the payload that nobody knows
  s.deliver(critical, ip(kSomewhere));
  REQUIRE(s.answers.size() == 1);
  const ikev2::Notify* n = notified(s.answers[0], NotifyType::UnsupportedCriticalPayload);
  REQUIRE(n);
  CHECK(n->data == Bytes{55});
  CHECK(s.b.engine->ike_sas().empty());
}

TEST_CASE("IKEv2: key exchange values that no group has", "[ikev2][attack-D1][attack-D2][attack-D3]") {
  Alone s;
  s.world.real_dh = true;
  std::uint64_t spi = 0x100;
  for (const Bytes& value : {Bytes(64, 0), Bytes(64, 0xff), Bytes(63, 1), Bytes(65, 1), Bytes(1, 1), Bytes(4000, 1)}) {
    ++spi;
    s.deliver(first_message(spi, first_payloads(1, value)), ip(kSomewhere + static_cast<std::uint32_t>(spi)));
  }
  s.world.run(1s);
  CHECK(s.answers.empty());
  s.world.run(60s);
  CHECK(s.b.engine->ike_sas().empty());
}

TEST_CASE("IKEv2: forged answers to one that waits change nothing", "[ikev2][attack-B3][attack-B5][attack-H2]") {
  World world;
  const Pair p = two_v2(world);
  bool first = true;
  world.hook = [&](ike::Datagram& d) {
    const auto h = ike::parse_header(d.data);
    if (!first || !h || h->header.exchange != ike::kExchangeSaInit || d.local.address != IpAddress::parse("10.9.0.1").value()) return true;
    first = false;
    const ike::Datagram sent = d;
    for (const NotifyType type : {NotifyType::NoProposalChosen, NotifyType::InvalidSyntax, NotifyType::AuthenticationFailed}) {
      const Bytes forged = message(h->header.spi_i.value, 0, ike::kExchangeSaInit, 0, Builder().notify(type), ike::kFlagResponse);
      world.deliver({sent.local, sent.remote, forged});
    }
    // Another group than any that was offered, and our own message sent back.
    world.deliver({sent.local, sent.remote,
                   message(h->header.spi_i.value, 0, ike::kExchangeSaInit, 0, Builder().notify(NotifyType::InvalidKePayload, {0, 2}),
                           ike::kFlagResponse)});
    world.deliver({sent.local, sent.remote, sent.data});
    return true;
  };
  p.a.start();
  p.b.start();
  CHECK(world.run_until([&] { return both_up(p); }, 3s));
}

TEST_CASE("IKEv2: what is sent under an established SA without its keys is nothing", "[ikev2][attack-B5][attack-B6][attack-G7]") {
  World world;
  world.record = true;
  const Pair p = two_v2(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 3s));
  world.run(5s);
  const auto h = ike::parse_header(world.wire.back().data)->header;
  const auto all = world.wire;
  const unsigned before = p.a.sent_datagrams + p.b.sent_datagrams;
  for (const ike::Datagram& d : all) {
    world.deliver(d);                                                                  // back to its sender
    if (ike::parse_header(d.data)->header.exchange == ike::kExchangeSaInit) continue;  // of these another one is another attempt
    for (std::size_t at = 18; at < d.data.size(); at += 3) {
      ike::Datagram changed{d.remote, d.local, d.data};
      changed.data[at] ^= 0x28;
      world.deliver(changed);
    }
  }
  for (const Host* host : {&p.a, &p.b})
    for (const auto type : {NotifyType::InvalidIkeSpi, NotifyType::InvalidSpi, NotifyType::AuthenticationFailed})
      for (const std::uint8_t flags : {std::uint8_t{0}, ike::kFlagInitiator, ike::kFlagResponse}) {
        const Bytes forged = message(h.spi_i.value, h.spi_r.value, ike::kExchangeInformationalV2, 0,
                                     Builder().notify(type).add(ikev2::Delete{ikev2::kProtoIke, {}}), flags);
        const ike::Datagram& to = *std::ranges::find_if(
            all, [&](const ike::Datagram& d) { return d.remote.address == host->config.connections[0].local_addrs[0]; });
        world.deliver({to.remote, to.local, forged});
      }
  world.run(1s);
  CHECK(both_up(p));
  CHECK(p.a.established() == 1);
  CHECK(p.b.established() == 1);
  // The last answers may be asked for again, and no more than that.
  CHECK(p.a.sent_datagrams + p.b.sent_datagrams - before <= 2);
}

TEST_CASE("IKEv2: both a cookie and another group are asked for, in either order", "[ikev2][attack-H2][rfc7296-2.6.1]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    a.connections[0].proposals = parse_ike_proposal_v2("aes256-sha256-modp2048-ecp256").value();
    b.connections[0].proposals = parse_ike_proposal_v2("aes256-sha256-ecp256").value();
    b.connections.push_back(b.connections[0]);
    b.connections.back().name = "anybody";
    b.connections.back().remote_addrs.clear();
  });
  p.b.start();
  for (std::uint32_t i = 0; i < ikev2::kCookieThreshold; ++i) {
    Builder b;
    b.add(ikev2::build_ike_offer(parse_ike_proposal_v2("aes256-sha256-ecp256").value()))
        .add(ikev2::Ke{DhGroup::Ecp256, Bytes(64, 1)})
        .add(ikev2::Nonce{Bytes(32, 1)});
    world.deliver({{IpAddress::parse("10.9.0.2").value(), 500}, {ip(kSomewhere + i), 500}, first_message(0x100 + i, b)});
  }
  p.a.start();
  CHECK(world.run_until([&] { return both_up(p); }, 5s));
}

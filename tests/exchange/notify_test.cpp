// Notifications, deletes and the commit bit between two engines, and from a peer that has the keys and misuses them.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/lifetimes.hpp"
#include "tests/exchange/insider_helpers.hpp"

using namespace culvert;
using namespace culvert::test;
using config::DpdAction;
using config::Seconds;
using ike::Exchange;
using ikev1::NotifyType;

namespace {

ikev1::Delete delete_esp(const std::vector<Spi>& spis) {
  ikev1::Delete d{ikev1::kIpsecDoi, ikev1::kProtoEsp, 4, {}};
  for (const Spi spi : spis) {
    Writer w;
    w.be(spi.value);
    d.spis.push_back(std::move(w).take());
  }
  return d;
}
/// Sets the commit bit in every Quick Mode message that B sends.
Hook commit_bit(Host& b) {
  return [&b](ike::Datagram& d) {
    const auto seen = look(d);
    if (seen && seen->header.exchange == ike::kExchangeQuickMode && d.local.address == b.config.connections[0].local_addrs.front())
      d.data[19] |= ike::kFlagCommit;
    return true;
  };
}

}  // namespace

TEST_CASE("the commit bit: the SA waits for CONNECTED, and not for ever", "[quick_mode][rfc2408-3.1]") {
  World world;
  auto [a, b] = two_sites(world);
  b.install_min = b.install_max = 1ms;
  world.hook = commit_bit(b);
  world.record = true;
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.inbound.size() == 1 && b.current_out("net"); }, 30s));
  world.run(500ms);
  CHECK(a.outbound.empty());
  SECTION("it does not come: five seconds later the SA is used all the same") {
    REQUIRE(world.run_until([&] { return a.current_out("net") != nullptr; }, 6s));
  }
  SECTION("it comes in an Informational exchange of the same message id") {
    MessageId id;
    for (const ike::Datagram& d : world.wire)
      if (const auto seen = look(d); seen && seen->header.exchange == ike::kExchangeQuickMode) id = seen->header.message_id;
    const auto n = notify(NotifyType::Connected, bytes_of(a.inbound.begin()->second.sa.spi));
    world.deliver(Insider(world).informational(one(n), true, id));
    world.run(10ms);
    CHECK(a.current_out("net"));
  }
  SECTION("it comes with a message id of its own, and names the SPI") {
    const auto n = notify(NotifyType::Connected, bytes_of(b.inbound.begin()->second.sa.spi));
    world.deliver(Insider(world).informational(one(n), true));
    world.run(10ms);
    CHECK(a.current_out("net"));
  }
  SECTION("CONNECTED of another exchange is none of ours") {
    world.deliver(Insider(world).informational(one(notify(NotifyType::Connected, Bytes{1, 2, 3, 4})), true));
    world.run(10ms);
    CHECK(a.outbound.empty());
  }
  SECTION("the peer's traffic says as much") {
    a.engine->on_traffic(world.now, a.inbound.begin()->second.sa.spi, world.now);
    a.perform();
    world.run(10ms);
    CHECK(a.current_out("net"));
  }
  world.run(10s);
  CHECK(a.up());
}

TEST_CASE("the commit bit of an initiator: the responder waits, though it may have the outbound SA before message 3",
          "[quick_mode][rfc2408-3.1]") {
  World world;
  auto [a, b] = two_sites(world);
  a.install_min = a.install_max = 1ms;
  world.hook = commit_bit(a);
  world.record = true;
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return b.inbound.size() == 1 && a.current_out("net"); }, 30s));
  world.run(500ms);
  CHECK(b.outbound.empty());
  SECTION("it does not come: five seconds later the SA is used all the same") {
    REQUIRE(world.run_until([&] { return b.current_out("net") != nullptr; }, 6s));
  }
  SECTION("it comes, and names the SPI") {
    world.deliver(Insider(world).informational(one(notify(NotifyType::Connected, bytes_of(a.inbound.begin()->second.sa.spi))), false));
    world.run(10ms);
    CHECK(b.current_out("net"));
  }
  SECTION("the initiator's traffic says as much") {
    b.engine->on_traffic(world.now, b.inbound.begin()->second.sa.spi, world.now);
    b.perform();
    world.run(10ms);
    CHECK(b.current_out("net"));
  }
  world.run(10s);
  CHECK(b.up());
}

TEST_CASE("the commit bit of an initiator: CONNECTED that overtakes message 3 is remembered", "[quick_mode][rfc2408-3.1]") {
  World world;
  auto [a, b] = two_sites(world);
  std::size_t quick = 0;
  world.hook = [&, bit = commit_bit(a)](ike::Datagram& d) {
    const auto seen = look(d);
    const bool ours =
        seen && seen->header.exchange == ike::kExchangeQuickMode && d.local.address == a.config.connections[0].local_addrs.front();
    return bit(d) && (!ours || ++quick != 2);  // message 3 is lost once
  };
  world.record = true;
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return quick == 2; }, 30s));
  CHECK(b.outbound.empty());
  SECTION("it names the SPI") {
    world.deliver(Insider(world).informational(one(notify(NotifyType::Connected, bytes_of(a.inbound.begin()->second.sa.spi))), false));
    REQUIRE(world.run_until([&] { return quick == 3; }, 10s));
    world.run(100ms);
    CHECK(b.current_out("net"));
  }
  SECTION("it comes under the message id of its Quick Mode") {
    MessageId id;
    for (const ike::Datagram& d : world.wire)
      if (const auto seen = look(d); seen && seen->header.exchange == ike::kExchangeQuickMode) id = seen->header.message_id;
    world.deliver(Insider(world).informational(one(notify(NotifyType::Connected, Bytes{1, 2, 3, 4})), false, id));
    REQUIRE(world.run_until([&] { return quick == 3; }, 10s));
    world.run(100ms);
    CHECK(b.current_out("net"));
  }
  SECTION("it means another SA") {
    world.deliver(Insider(world).informational(one(notify(NotifyType::Connected, Bytes{1, 2, 3, 4})), false));
    REQUIRE(world.run_until([&] { return quick == 3; }, 10s));
    world.run(100ms);
    CHECK(b.outbound.empty());
  }
  world.run(10s);
  CHECK(b.up());
}

TEST_CASE("INITIAL-CONTACT is said once, where there is nothing before", "[initial_contact][rfc2407-4.6.3.3]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const auto heard = [](const Host& h) {
    return std::ranges::count_if(
        h.log, [](const ike::Report& r) { return r.message.starts_with("The peer says that this is its first contact"); });
  };
  CHECK(heard(a) == 1);
  CHECK(heard(b) == 1);
  CHECK(a.engine->rekey(world.now, "c", "", true).ok);
  a.perform();
  world.run(30s);
  CHECK(a.counted(Exchange::MainMode, Reason::Ok) == 2);
  CHECK(heard(b) == 1);
  a.restart();  // its data plane has its SAs: it is no stranger
  world.run(30s);
  CHECK(heard(b) == 1);
  CHECK(a.up());
}

TEST_CASE("INITIAL-CONTACT in clear changes nothing", "[initial_contact][attack-G1][attack-G5]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const auto sa = b.engine->ike_sas().front();
  ike::Header h;
  h.spi_i = sa.spi_i;
  h.spi_r = sa.spi_r;
  h.exchange = ike::kExchangeInformational;
  h.message_id = MessageId{5};
  ike::Datagram d{sa.local, sa.remote, {}};
  for (const NotifyType type : {NotifyType::InitialContact, NotifyType::ResponderLifetime, NotifyType::Connected}) {
    rewrite(d, h, one(notify(type, cookies_of(sa), ikev1::encode_responder_lifetime({10, {}}), ikev1::kProtoIsakmp)));
    world.deliver(d);
  }
  CHECK(b.counted(Exchange::Informational, Reason::Unexpected) == 3);
  CHECK(b.engine->ike_sas().front().expires_at == sa.expires_at);
  untouched(a, b);
}

TEST_CASE("a Delete touches what is ours with the peer that sends it, once, whatever stands beside", "[delete][attack-G2]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const Insider insider(world);
  const Spi theirs = b.current_out("net")->sa.spi;
  SECTION("foreign SPIs, one of three bytes, none at all") {
    world.deliver(insider.informational(one(delete_esp({Spi{0x1234}, Spi{0xffffffff}})), false, MessageId{1}));
    world.deliver(insider.informational(one(ikev1::Delete{ikev1::kIpsecDoi, ikev1::kProtoEsp, 3, {Bytes{1, 2, 3}}}), false, MessageId{2}));
    world.deliver(insider.informational(one(ikev1::Delete{ikev1::kIpsecDoi, ikev1::kProtoEsp, 4, {}}), false, MessageId{3}));
    world.deliver(
        insider.informational(one(ikev1::Delete{ikev1::kIpsecDoi, ikev1::kProtoIsakmp, 16, {Bytes(16, 7)}}), false, MessageId{4}));
    untouched(a, b);
  }
  SECTION("a count of 65535 with one SPI") {
    ikev1::Builder lie;
    lie.add_raw(ikev1::PayloadType::Delete, Bytes{0, 0, 0, 1, 3, 4, 0xff, 0xff, 1, 2, 3, 4});
    world.deliver(insider.informational(lie, false));
    CHECK(b.counted(Exchange::Informational, Reason::Malformed) == 1);
    untouched(a, b);
  }
  SECTION("ours and a foreign one, twice, and a notification of what is gone") {
    ikev1::Builder all;
    all.add(delete_esp({Spi{0x1234}, theirs, theirs})).add(delete_esp({theirs})).add(notify(NotifyType::InvalidSpi, bytes_of(theirs)));
    world.deliver(insider.informational(all, false));
    world.run(10ms);
    CHECK(b.inbound.empty());
    CHECK(b.outbound.empty());
    CHECK(b.established() == 1);
  }
  SECTION("the pair and the ISAKMP SA in two messages of one id, as vpnc may, each twice; the id may be 0") {
    const MessageId id{GENERATE(0U, 0x90U)};
    const auto sa = b.engine->ike_sas().front();
    const auto pair = insider.informational(one(delete_esp({theirs})), false, id);
    world.deliver(pair);
    world.deliver(pair);
    world.run(10ms);
    CHECK(b.outbound.empty());
    CHECK(b.established() == 1);
    world.deliver(insider.informational(one(ikev1::Delete{ikev1::kIpsecDoi, ikev1::kProtoIsakmp, 16, {cookies_of(sa)}}), false, id));
    CHECK(b.established() == 0);
  }
  SECTION("the ISAKMP SA, and then what it brought along") {
    const auto sa = b.engine->ike_sas().front();
    ikev1::Builder all;
    all.add(ikev1::Delete{ikev1::kIpsecDoi, ikev1::kProtoIsakmp, 16, {cookies_of(sa)}})
        .add(notify(NotifyType::RUThere, cookies_of(sa), Bytes(4, 1)));
    all.add(delete_esp({theirs}));
    world.deliver(insider.informational(all, false));
    CHECK(b.established() == 0);
  }
}

TEST_CASE("a flood of R-U-THERE is answered twenty times a second, a replay never", "[dpd][attack-G6]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const Insider insider(world);
  const Bytes cookies = cookies_of(b.engine->ike_sas().front());
  world.wire.clear();
  const auto ask = [&](std::uint32_t sequence, std::uint32_t id) {
    Writer w;
    w.be(sequence);
    world.deliver(
        insider.informational(one(notify(NotifyType::RUThere, cookies, std::move(w).take(), ikev1::kProtoIsakmp)), false, MessageId{id}));
  };
  for (std::uint32_t i = 1; i <= 3000; ++i) ask(i, i);
  CHECK(b.sent_datagrams > 0);
  const auto answers = [&] { return std::ranges::count(world.wire, b.engine->ike_sas().front().local, &ike::Datagram::local); };
  CHECK(answers() == 20);
  world.run(2s);
  const auto before = answers();
  for (std::uint32_t i = 1; i <= 10; ++i) ask(5, 100000 + i);  // an old number
  CHECK(answers() == before);
  untouched(a, b);
}

TEST_CASE("doubts about an SPI: in clear they cost one question, from the peer itself one rekeying", "[dpd][attack-G7]") {
  World world;
  const bool clear = GENERATE(false, true);
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    for (auto* c : {&ca, &cb}) c->connections[0].dpd_delay = Seconds{300};
    for (auto* c : {&ca, &cb}) c->connections[0].dpd_timeout = Seconds{900};
  });
  begin_recorded(world, a, b);
  const Insider insider(world);
  const auto sa = b.engine->ike_sas().front();
  world.run(60s);
  world.wire.clear();
  for (std::uint32_t i = 1; i <= 1000; ++i) {
    const auto n = notify(i % 2 ? NotifyType::InvalidSpi : NotifyType::InvalidCookie, bytes_of(b.current_out("net")->sa.spi));
    ike::Datagram d{sa.local, sa.remote, {}};
    ike::Header h;
    h.spi_i = sa.spi_i;
    h.spi_r = sa.spi_r;
    h.exchange = ike::kExchangeInformational;
    h.message_id = MessageId{i};
    if (clear)
      rewrite(d, h, one(n));
    else
      d = insider.informational(one(n), false, MessageId{i});
    world.deliver(d);
  }
  world.run(5s);
  // R-U-THERE and its answer, or the three messages of Quick Mode.
  CHECK(std::ranges::count(world.wire, sa.local, &ike::Datagram::local) == (clear ? 1 : 2));
  CHECK(std::ranges::count(world.wire, sa.remote, &ike::Datagram::local) == 1);
  world.run(30s);
  CHECK(b.counted(Exchange::QuickMode, Reason::Ok) == (clear ? 1U : 2U));
  untouched(a, b);
}

TEST_CASE("every type of notification, under the right keys: none ends a tunnel", "[attack-G8][attack-G9]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const Insider insider(world);
  std::uint32_t id = 0;
  for (unsigned type = 0; type <= 0xffff;) {
    ikev1::Builder many;
    for (int i = 0; i < 60 && type <= 0xffff; ++i) many.add(notify(static_cast<NotifyType>(type++)));
    world.deliver(insider.informational(many, false, MessageId{++id}));
  }
  ikev1::Builder thousand;
  for (int i = 0; i < 1000; ++i) thousand.add(notify(NotifyType::Connected));
  world.deliver(insider.informational(thousand, false, MessageId{++id}));
  world.deliver(insider.informational(ikev1::Builder{}, false, MessageId{++id}));
  CHECK(b.counted(Exchange::Informational, Reason::Malformed) + b.counted(Exchange::Informational, Reason::BadPayloads) == 2);
  untouched(a, b);
}

TEST_CASE("dpd_action: what becomes of the children of a dead peer", "[dpd]") {
  const DpdAction action = GENERATE(DpdAction::None, DpdAction::Clear, DpdAction::Trap, DpdAction::Restart);
  CAPTURE(static_cast<int>(action));
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) {
    ca.connections[0].children[0].dpd_action = action;
    ca.connections[0].dpd_delay = Seconds{10};
    ca.connections[0].dpd_timeout = Seconds{40};
    cb.connections[0].dpd_delay = Seconds{0};
  });
  begin_recorded(world, a, b);
  bool dead = true;
  world.hook = [&](ike::Datagram&) { return !dead; };
  world.run(120s);
  CHECK(a.counted(Exchange::Dpd, Reason::DpdTimeout) == 1);
  CHECK(a.outbound.size() == (action == DpdAction::None ? 1U : 0U));
  CHECK(a.established() == (action == DpdAction::None ? 1U : 0U));
  dead = false;
  world.run(90s);
  CHECK(a.up() == (action == DpdAction::None || action == DpdAction::Restart));
  a.engine->on_acquire(world.now, "c", "net");
  a.perform();
  world.run(10s);
  CHECK(a.up() == (action != DpdAction::Clear));
  CHECK(a.engine->initiate(world.now, "c", "net").ok);
  a.perform();
  world.run(10s);
  CHECK(a.up());
}

// What strangers and broken peers send. Each case carries its number of the list of attacks that the field has met.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ike/nat_traversal.hpp"
#include "control/ikev1/proposal.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev1::PayloadType;

namespace {

void begin(Host& a, Host& b) {
  a.start();
  b.start();
  REQUIRE(a.world.run_until([&] { return a.current_out("net") && b.current_out("net"); }, 60s));
}

void require_untouched(Host& a, Host& b) {
  a.world.run(1s);
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
  CHECK(a.inbound.size() == 1);
  CHECK(b.inbound.size() == 1);
}

Endpoint endpoint(const std::string& address, std::uint16_t port = 500) { return {IpAddress::parse(address).value(), port}; }

/// The first datagram with this number of Main Mode, as it would have arrived; the exchange is cut off there.
ike::Datagram capture(World& world, Host& a, Host& b, int number) {
  std::optional<ike::Datagram> out;
  world.hook = [&, number](ike::Datagram& d) {
    const bool from_a = d.local.address == a.config.connections[0].local_addrs.front();
    if (main_mode_number(d, from_a) != number) return true;
    if (!out) out = ike::Datagram{d.remote, d.local, d.data};
    return false;
  };
  a.start();
  b.start();
  world.run(300ms);
  world.hook = nullptr;
  REQUIRE(out);
  return *out;
}

/// Replaces one payload's body in the clear Main Mode message with this number, whenever it passes.
Hook replace(Host& a, int number, PayloadType type, std::function<Bytes(const Bytes&)> change) {
  return [&a, number, type, change](ike::Datagram& d) {
    const bool from_a = d.local.address == a.config.connections[0].local_addrs.front();
    if (main_mode_number(d, from_a) != number) return true;
    const auto seen = look(d);
    ikev1::Builder b;
    for (const auto& p : seen->clear->payloads()) b.add_raw(p.type, p.type == type ? change(p.body) : p.body);
    rewrite(d, seen->header, b);
    return true;
  };
}

ike::Datagram clear_informational(const ike::IkeSaInfo& sa, bool to_initiator, const ikev1::Builder& payloads, std::uint8_t flags = 0) {
  ike::Header h;
  h.spi_i = sa.spi_i;
  h.spi_r = sa.spi_r;
  h.exchange = ike::kExchangeInformational;
  h.flags = flags;
  h.message_id = MessageId{0x1234567};
  ike::Datagram d{endpoint("10.9.0.2"), endpoint("10.9.0.1"), {}};
  if (to_initiator) std::swap(d.local, d.remote);
  rewrite(d, h, payloads);
  return d;
}

}  // namespace

TEST_CASE("forged deletes and notifications in clear change nothing", "[informational][attack-G1][attack-B8][attack-G7]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  const auto sa = a.engine->ike_sas().at(0);
  Writer cookies;
  cookies.be(sa.spi_i.value);
  cookies.be(sa.spi_r.value);
  const Bytes both(cookies.view().begin(), cookies.view().end());
  Writer esp;
  esp.be(a.current_out("net")->sa.spi.value);
  const Bytes spi(esp.view().begin(), esp.view().end());
  std::vector<ikev1::Builder> forged(6);
  forged[0].add(ikev1::Delete{1, ikev1::kProtoIsakmp, 16, {both}});
  forged[1].add(ikev1::Delete{1, ikev1::kProtoEsp, 4, {spi}});
  forged[2].add(ikev1::Notify{1, ikev1::kProtoIsakmp, ikev1::NotifyType::InitialContact, both, {}});
  forged[3].add(ikev1::Notify{1, ikev1::kProtoIsakmp, ikev1::NotifyType::RUThere, both, {0, 0, 0, 1}});
  forged[4].add(ikev1::Notify{1, ikev1::kProtoIsakmp, ikev1::NotifyType::InvalidSpi, spi, {}});
  forged[5].add(ikev1::Hash{Bytes(32, 0)}).add(ikev1::Delete{1, ikev1::kProtoIsakmp, 16, {both}});
  for (const auto& payloads : forged)
    for (const bool to_initiator : {false, true})
      for (const std::uint8_t flags : {std::uint8_t{0}, ike::kFlagEncryption}) {
        Host& target = to_initiator ? a : b;
        const unsigned before = target.sent_datagrams;
        world.deliver(clear_informational(sa, to_initiator, payloads, flags));
        CHECK(target.sent_datagrams == before);
      }
  require_untouched(a, b);
  CHECK_FALSE(b.reports(Reason::Unexpected).empty());
}

TEST_CASE("an encrypted Delete with one bit changed, and one that is replayed", "[informational][attack-G1][attack-G2]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  std::optional<ike::Datagram> taken;
  world.hook = [&](ike::Datagram& d) {
    if (!taken) taken = ike::Datagram{d.remote, d.local, d.data};
    return false;
  };
  a.engine->rekey(world.now, "c", "net", true);  // something encrypted will follow; here: its first message is clear
  a.perform();
  world.hook = nullptr;
  world.run(20s);
  taken.reset();
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    if (!taken && seen && seen->header.exchange == ike::kExchangeInformational) taken = ike::Datagram{d.remote, d.local, d.data};
    return true;
  };
  a.engine->terminate(world.now, "c", "net");
  a.perform();
  REQUIRE(taken);
  world.hook = nullptr;
  for (std::size_t i = 28; i < taken->data.size(); ++i) {
    ike::Datagram forged = *taken;
    forged.data[i] ^= 1;
    world.deliver(forged);
    CHECK(b.inbound.size() == 1);
  }
  world.deliver(*taken);
  CHECK(b.established() == 1);
  const std::size_t lines = b.log.size();
  world.deliver(*taken);  // replayed: seen before
  CHECK(b.log.size() == lines);
}

TEST_CASE("Quick Mode before phase 1 is done, or with message id 0", "[quick_mode][attack-B9]") {
  World world;
  auto [a, b] = two_sites(world);
  const ike::Datagram five = capture(world, a, b, 5);
  const auto seen = look(five);
  for (const std::uint32_t id : {0U, 77U}) {
    ike::Header h = seen->header;
    h.exchange = ike::kExchangeQuickMode;
    h.message_id = MessageId{id};
    const unsigned before = b.sent_datagrams;
    world.deliver({five.local, five.remote, ike::encode_message(h, ByteView(seen->message).subspan(28))});
    CHECK(b.sent_datagrams == before);
  }
  CHECK(b.counted(Exchange::QuickMode, Reason::Unexpected) == 2);
  CHECK(b.spis.empty());
  world.deliver(five);
  CHECK(b.established() == 1);  // the good message 5 still works
}

TEST_CASE("another exchange type or version under the cookies of a running Main Mode", "[main_mode][attack-B10]") {
  World world;
  auto [a, b] = two_sites(world);
  const ike::Datagram three = capture(world, a, b, 3);
  const unsigned before = b.sent_datagrams;
  for (const std::size_t at : {std::size_t{17}, std::size_t{18}}) {
    ike::Datagram changed = three;
    changed.data[at] = at == 17 ? 0x20 : ike::kExchangeAggressive;
    world.deliver(changed);
  }
  CHECK(b.sent_datagrams == before);
  CHECK(b.counted(Exchange::AggressiveMode, Reason::UnknownSa) == 1);
  CHECK(b.counted(Exchange::Informational, Reason::OtherVersion) == 1);
  CHECK(world.run_until([&] { return a.up() && b.up(); }, 10s));
}

TEST_CASE("zero cookies", "[main_mode][attack-B11]") {
  World world;
  auto [a, b] = two_sites(world);
  const ike::Datagram three = capture(world, a, b, 3);
  const unsigned before = b.sent_datagrams;
  ike::Datagram none = three, no_responder = three;
  std::fill_n(none.data.begin(), 8, 0);
  std::fill_n(no_responder.data.begin() + 8, 8, 0);
  world.deliver(none);
  world.deliver(no_responder);
  CHECK(b.sent_datagrams == before);
  CHECK(b.engine->newcomers() == 1);
}

TEST_CASE("our own messages, reflected", "[main_mode][attack-B5]") {
  World world;
  auto [a, b] = two_sites(world);
  world.hook = [&](ike::Datagram& d) {
    world.at(world.now + 1ms, [&world, d] { world.deliver({d.local, d.remote, d.data}); });
    return true;
  };
  begin(a, b);
  world.run(2s);
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
}

TEST_CASE("degenerate key exchange values: no state, no SA", "[main_mode][attack-D1][attack-D3]") {
  const auto group = GENERATE("ecp256", "modp2048");
  const int number = GENERATE(3, 4);
  const int kind = GENERATE(0, 1, 2, 3, 4);
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    for (auto* c : {&ca, &cb}) c->connections[0].proposals = parse_ike_proposal(std::string("aes128-sha256-") + group).value();
  });
  world.hook = replace(a, number, PayloadType::Ke, [kind](const Bytes& body) {
    Bytes out(body.size(), kind == 1 ? 0xff : 0);
    if (kind == 2) out.back() = 1;
    if (kind == 3) out.resize(out.size() - 1);
    if (kind == 4) out.resize(out.size() * 2);
    return out;
  });
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(100s);
  INFO(a.transcript() << b.transcript());
  CHECK(a.established() == 0);
  CHECK(b.established() == 0);
  CHECK(b.engine->ike_sas().empty());
  if (number == 3)
    CHECK(b.counted(Exchange::MainMode, Reason::BadKe) >= 1);
  else
    CHECK(a.counted(Exchange::MainMode, Reason::BadKe) == 1);
}

TEST_CASE("nonces are 8 to 256 bytes long", "[main_mode][attack-D4][rfc2409-5]") {
  const std::size_t size = GENERATE(0, 1, 7, 257, 1000);
  const int number = GENERATE(3, 4);
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) { ca.connections[0].children[0].start_action = config::StartAction::None; });
  world.hook = replace(a, number, PayloadType::Nonce, [size](const Bytes&) { return Bytes(size, 7); });
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(100s);
  CHECK(a.established() + b.established() == 0);
  CHECK(a.engine->ike_sas().empty());
  CHECK(b.engine->ike_sas().empty());
}

TEST_CASE("forged refusals and replies do not keep the connection from coming up", "[main_mode][attack-B3]") {
  World world;
  auto [a, b] = two_sites(world);
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    if (d.local.address.to_string() != "10.9.0.1" || !seen || seen->header.exchange != ike::kExchangeMainMode) return true;
    for (const auto type :
         {ikev1::NotifyType::NoProposalChosen, ikev1::NotifyType::InvalidKeyInformation, ikev1::NotifyType::AuthenticationFailed}) {
      ikev1::Builder n;
      n.add(ikev1::Notify{1, ikev1::kProtoIsakmp, type, {}, {}});
      ike::Header h = seen->header;
      h.exchange = ike::kExchangeInformational;
      h.flags = 0;
      ike::Datagram forged{d.remote, d.local, {}};
      rewrite(forged, h, n);
      world.at(world.now + 1ms, [&world, forged] { world.deliver({forged.remote, forged.local, forged.data}); });
    }
    return true;
  };
  begin(a, b);
}

TEST_CASE("a changed proposal in message 1 fails authentication", "[main_mode][attack-C5]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    for (auto* c : {&ca, &cb}) c->connections[0].proposals = parse_ike_proposal("aes256-aes128-sha256-ecp256").value();
  });
  // The strong one is taken out of the offer: both sides compute HASH_I over different SA payloads.
  const Bytes weak = ikev1::encode_body(ikev1::build_ike_offer(parse_ike_proposal("aes128-sha256-ecp256").value(), 15840));
  world.hook = replace(a, 1, PayloadType::Sa, [weak](const Bytes&) { return weak; });
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(100s);
  CHECK(a.established() + b.established() == 0);
}

TEST_CASE("a stranger gets no more bytes than it sends, however often it repeats itself", "[main_mode][attack-H3]") {
  World world;
  auto [a, b] = two_sites(world);
  const ike::Datagram one = capture(world, a, b, 1);
  b.sent_bytes = 0;
  for (int i = 0; i < 50; ++i) world.deliver(one);
  CHECK(b.sent_bytes <= 6 * one.data.size());
  world.run(120s);
  CHECK(b.sent_bytes <= 50 * one.data.size());
  // Once, and then silence for two minutes: the reply is no longer than the message.
  ike::Datagram fresh = one;
  fresh.data[0] ^= 0x55;
  fresh.remote = endpoint("10.9.0.1", 501);
  std::size_t said = 0;
  world.hook = [&](ike::Datagram& d) {
    said += d.remote == fresh.remote ? d.data.size() : 0;
    return true;
  };
  world.deliver(fresh);
  world.run(120s);
  CHECK(said > 0);
  CHECK(said <= fresh.data.size());
}

TEST_CASE("half-open SAs are bounded, by source and in all; message 1 alone makes none", "[main_mode][attack-H1]") {
  World world;
  auto [a, b] = two_sites(world, [](auto&, auto& cb) {
    cb.connections[0].remote_addrs.clear();
    cb.ike.half_open_limit = 25;
  });
  const ike::Datagram one = capture(world, a, b, 1), three = capture(world, a, b, 3);
  world.run(31s);
  const auto flood = [&](int sources, bool hears) {  // 30 first messages each; who hears us goes on with message 3
    for (int i = 0; i < 30 * sources; ++i) {
      ike::Datagram d = one, next = three;
      for (std::size_t k = 0; k < 8; ++k) next.data[k] = d.data[k] = static_cast<std::uint8_t>(world.rng());
      next.remote = d.remote = endpoint("10.77.0." + std::to_string(i / 30 + 1));
      world.hook = [&next](ike::Datagram& reply) {
        if (reply.remote == next.remote) std::copy_n(reply.data.begin() + 8, 8, next.data.begin() + 8);
        return false;
      };
      world.deliver(d);
      if (hears) world.deliver(next);
    }
  };
  const auto half_open = [&] { return b.engine->ike_sas().size() - b.established(); };
  flood(20, false);
  CHECK(half_open() == 0);
  CHECK(b.engine->newcomers() == 600);
  CHECK(b.reports(Reason::Limit).empty());
  flood(1, true);
  CHECK(half_open() == 10);
  flood(20, true);
  CHECK(half_open() == 25);
  CHECK_FALSE(b.reports(Reason::Limit).empty());
  world.hook = nullptr;
  world.run(31s);
  CHECK(half_open() + b.engine->newcomers() == 0);
  CHECK((a.up() && b.up()));
}

TEST_CASE("junk on both ports is counted and forgotten; the log is not flooded", "[attack-A1][attack-A2][attack-K8][attack-L3]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  const std::size_t lines = b.log.size();
  const unsigned sent = b.sent_datagrams;
  for (int i = 0; i < 2000; ++i) {
    ike::Datagram d{endpoint("10.9.0.2", i % 2 ? 500 : 4500), endpoint("10.9.0.1", 500), Bytes(world.random(120))};
    for (auto& byte : d.data) byte = static_cast<std::uint8_t>(world.rng());
    world.deliver(d);
  }
  CHECK(b.sent_datagrams == sent);
  const auto loud = std::count_if(b.log.begin() + static_cast<std::ptrdiff_t>(lines), b.log.end(),
                                  [](const ike::Report& r) { return r.severity != ike::Severity::Debug; });
  CHECK(loud <= 25);
  require_untouched(a, b);
}

TEST_CASE("too many wrong message 5s end a half-open SA; a few do not", "[main_mode][attack-H6]") {
  World world;
  auto [a, b] = two_sites(world);
  const ike::Datagram five = capture(world, a, b, 5);
  const int wrong = GENERATE(5, 20);
  for (int i = 0; i < wrong; ++i) {
    ike::Datagram d = five;
    for (std::size_t k = 28; k < d.data.size(); ++k) d.data[k] = static_cast<std::uint8_t>(world.rng());
    world.deliver(d);
  }
  world.deliver(five);
  CHECK(b.established() == (wrong == 5 ? 1 : 0));
  CHECK(b.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
}

TEST_CASE("an authenticated peer's flood of Quick Modes keeps within the bounds", "[quick_mode][attack-H7]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  for (int i = 0; i < 300; ++i) {
    a.engine->rekey(world.now, "c", "net", false);
    a.perform();
    world.run(100ms);
  }
  CHECK(b.inbound.size() <= 9);
  world.run(60s);
  CHECK(a.inbound.size() == 1);
  CHECK(b.inbound.size() == 1);
}

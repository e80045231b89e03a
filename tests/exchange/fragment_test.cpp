// Fragments of IKE messages between two engines: who sends them, and what a stranger's do.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev1/fragments.hpp"
#include "control/ikev1/vendor_ids.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Fragmentation;
using ike::Exchange;

namespace {

bool fragment(const ike::Datagram& d) {
  const auto seen = look(d);
  return seen && seen->header.next_payload == ikev1::kFragmentPayload;
}
std::size_t fragments(const World& world, const Host& of) {
  return static_cast<std::size_t>(std::ranges::count_if(
      world.wire, [&](const ike::Datagram& d) { return d.local.address == of.config.connections[0].local_addrs.front() && fragment(d); }));
}

/// KE payloads of 1 KB, and 30 proposals in message 1: with 576 bytes a packet there is something to cut.
void make_long(config::GatewayConfig& c) {
  c.ike.fragment_size = 576;
  auto& proposals = c.connections[0].proposals;
  const IkeSuite common = parse_ike_proposal("aes256-sha512-modp8192").value().front();
  proposals = {};
  for (const char* encr : {"aes128", "aes192", "aes256"})
    for (const char* prf : {"sha256", "sha384"})
      for (const char* group : {"ecp256", "ecp384", "ecp521", "modp3072", "modp4096"}) {
        const auto suites = parse_ike_proposal(std::string(encr) + "-" + prf + "-" + group).value();
        proposals.insert(proposals.end(), suites.begin(), suites.end());
      }
  proposals.push_back(common);
}

Pair long_messages(World& world, Fragmentation a, Fragmentation b) {
  return two_sites(world, [&](auto& ca, auto& cb) {
    make_long(ca);
    make_long(cb);
    cb.connections[0].proposals = {ca.connections[0].proposals.back()};
    ca.connections[0].fragmentation = a;
    cb.connections[0].fragmentation = b;
  });
}

}  // namespace

TEST_CASE("who sends fragments, and who takes them in", "[fragments]") {
  const auto a_does = GENERATE(Fragmentation::No, Fragmentation::Accept, Fragmentation::Yes, Fragmentation::Force);
  const auto b_does = GENERATE(Fragmentation::No, Fragmentation::Accept, Fragmentation::Yes, Fragmentation::Force);
  CAPTURE(static_cast<int>(a_does), static_cast<int>(b_does));
  World world;
  world.record = true;
  auto [a, b] = long_messages(world, a_does, b_does);
  a.start();
  b.start();
  const bool up = world.run_until([&] { return a.up() && b.up(); }, 60s);
  const auto sends = [](Fragmentation own, Fragmentation other) {
    return own == Fragmentation::Force || (own == Fragmentation::Yes && other != Fragmentation::No);
  };
  // Forced upon a peer that takes none in, it cannot work.
  const bool hopeless =
      (a_does == Fragmentation::Force && b_does == Fragmentation::No) || (b_does == Fragmentation::Force && a_does == Fragmentation::No);
  CHECK(up == !hopeless);
  if (!up) return;
  CHECK((fragments(world, a) > 0) == sends(a_does, b_does));
  CHECK((fragments(world, b) > 0) == sends(b_does, a_does));
  CHECK((fragment(world.wire.front()) == (a_does == Fragmentation::Force)));  // of message 1 nobody knows what the peer can
  for (const ike::Datagram& d : world.wire)
    if (sends(a_does, b_does) && sends(b_does, a_does) && !fragment(d))
      CHECK((d.data.size() <= 548 || d.local == world.wire.front().local));
}

TEST_CASE("fragments under loss, duplication and reordering: the tunnel comes up all the same", "[fragments]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    World world(seed);
    world.link = {0.2, 0.2, 1ms, 300ms};
    auto [a, b] = long_messages(world, Fragmentation::Force, Fragmentation::Force);
    CAPTURE(seed);
    a.start();
    b.start();
    CHECK(world.run_until([&] { return a.up() && b.up(); }, 300s));
    world.link = {};
    world.run(100s);
    for (Host* h : {&a, &b}) CHECK(h->established() == 1);
  }
}

TEST_CASE("a stranger's fragments cost a bounded memory, and a legitimate message comes through", "[fragments][attack-H4]") {
  World world;
  auto [a, b] = long_messages(world, Fragmentation::Yes, Fragmentation::Yes);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 60s));
  const auto sa = b.engine->ike_sas().front();
  const auto send = [&](std::uint16_t id, std::uint8_t number, bool last, const Bytes& data, IkeSpi spi_i, IkeSpi spi_r) {
    Writer w;
    w.be(std::uint16_t{0});
    w.be(static_cast<std::uint16_t>(8 + data.size()));
    w.be(id);
    w.be(number);
    w.be(static_cast<std::uint8_t>(last));
    w.bytes(data);
    ike::Header h;
    h.spi_i = spi_i;
    h.spi_r = spi_r;
    h.next_payload = ikev1::kFragmentPayload;
    h.exchange = ike::kExchangeMainMode;
    world.deliver({sa.local, sa.remote, ike::encode_message(h, std::move(w).take())});
  };
  for (unsigned i = 0; i < 2000; ++i)
    send(static_cast<std::uint16_t>(i), static_cast<std::uint8_t>(i), i % 7 == 0, Bytes(1 + i % 900, 1), sa.spi_i, sa.spi_r);
  for (unsigned i = 0; i < 200; ++i) send(1, 1, false, Bytes(500, 1), IkeSpi{1000 + i}, {});
  send(5, 1, true, Bytes(100, 0), sa.spi_i, sa.spi_r);        // what was put together is no message
  send(6, 1, true, Bytes(1, 0), IkeSpi{4711}, IkeSpi{4712});  // of nobody
  send(7, 0, true, Bytes(1, 0), sa.spi_i, sa.spi_r);          // number 0
  CHECK(b.counted(Exchange::Informational, Reason::UnknownSa) == 1);
  CHECK(b.counted(Exchange::Informational, Reason::Malformed) >= 2);
  CHECK(b.counted(Exchange::Informational, Reason::Limit) >= 198);
  CHECK(a.engine->rekey(world.now, "c", "", true).ok);
  a.perform();
  REQUIRE(world.run_until([&] { return a.counted(Exchange::MainMode, Reason::Ok) == 2; }, 30s));
  world.run(40s);
  CHECK(b.established() == 1);
}

TEST_CASE("fragments where the connection wants none are refused", "[fragments]") {
  World world;
  auto [a, b] = long_messages(world, Fragmentation::Force, Fragmentation::No);
  a.start();
  b.start();
  world.run(5s);
  CHECK(b.counted(Exchange::Informational, Reason::Unexpected) > 0);
  CHECK(b.sent_datagrams == 0);
}

TEST_CASE("the answer announces fragmentation as the peer does: with capabilities or without", "[fragments][attack-H3]") {
  const bool windows = GENERATE(false, true);
  World world;
  world.record = true;
  auto [a, b] = two_sites(world);
  world.hook = [&, windows](ike::Datagram& d) {
    if (!windows || main_mode_number(d, d.local.address == a.config.connections[0].local_addrs.front()) != 1) return true;
    const auto seen = look(d);
    ikev1::Builder bare;
    for (const auto& p : seen->clear->payloads()) {
      const bool it = p.type == ikev1::PayloadType::Vendor && p.body == ikev1::vendor_id(ikev1::VendorId::Fragmentation);
      bare.add_raw(p.type, it ? Bytes(p.body.begin(), p.body.begin() + 16) : p.body);
    }
    rewrite(d, seen->header, bare);
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  const auto answer = std::ranges::find_if(world.wire, [&](const ike::Datagram& d) { return d.local != world.wire.front().local; });
  std::size_t size = 0;
  const auto seen = look(*answer);  // g++ 12 does not keep it for the loop
  for (const auto* v : seen->clear->all<ikev1::Vendor>())
    if (ikev1::recognise_vendor(v->data)->id == ikev1::VendorId::Fragmentation) size = v->data.size();
  CHECK(size == (windows ? 16U : 20U));
}

// Watching a connection or a peer: each message a line, nothing secret in it, bounded, over when its time is over; and what a peer
// sends stays text: no line of log, record or trace holds a byte that a terminal, a shell or a log reader would act on.
#include <catch2/catch.hpp>

#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using Catch::Contains;

namespace {

std::string traced(const Host& h) {
  std::string out;
  for (const ike::Report& r : h.log)
    if (r.message.starts_with("in") || r.message.starts_with("out: ")) out += r.message + "\n";
  return out;
}
std::size_t lines(const std::string& text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

/// Printable ASCII, and the section sign of our own sentences.
bool harmless(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) == 0xa7)
      ++i;
    else if (byte < 0x20 || byte > 0x7e)
      return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a watched connection shows each message, in clear and decrypted, and no secret", "[watch]") {
  World world;
  auto [a, b] = two_sites(world);
  CHECK(a.engine->watch(world.now, {"c", std::nullopt, world.now + 60s}));
  CHECK(b.engine->watch(world.now, {"", IpAddress::parse("10.9.0.1").value(), world.now + 60s}));
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 10s));
  for (const Host* h : {&a, &b}) {
    const std::string text = traced(*h);
    INFO(text);
    CHECK_THAT(text, Contains("Main Mode") && Contains("SA (aes128-sha256-ecp256)") && Contains("VID (NAT-T (RFC 3947))") &&
                         Contains("KE (64 bytes)"));
    CHECK_THAT(text, Contains("NONCE (32 bytes)") && Contains("ID (10.9.0.1)") && Contains("HASH (32 bytes)"));
    CHECK_THAT(text, Contains("Quick Mode") && Contains("message id") && Contains("SA (aes128gcm16)") && Contains("ID (10.2.0.0/24)"));
    CHECK_THAT(text, Contains("out: Main Mode") && Contains("in: Main Mode") && Contains("in, decrypted: "));
    CHECK_FALSE(Contains("secret").match(text));
  }
  CHECK(a.engine->watches(world.now).size() == 1);
}

TEST_CASE("a watch ends by itself, or when it is told to; nobody else is shown", "[watch]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) { ca.connections[0].dpd_delay = config::Seconds{5}; });
  a.engine->watch(world.now, {"c", std::nullopt, world.now + 30s});
  b.engine->watch(world.now, {"", IpAddress::parse("10.9.0.77").value(), world.now + 30s});
  a.start();
  b.start();
  world.run(29s);
  CHECK(lines(traced(a)) > 10);
  CHECK(traced(b).empty());
  world.run(2s);
  const std::size_t then = lines(traced(a));
  world.run(60s);  // DPD goes on
  CHECK(lines(traced(a)) == then);
  CHECK(a.engine->watches(world.now).empty());
  a.engine->watch(world.now, {"c", std::nullopt, world.now + 30s});
  CHECK(a.engine->unwatch(world.now, {"c", std::nullopt, {}}));
  CHECK_FALSE(a.engine->unwatch(world.now, {"c", std::nullopt, {}}));
  world.run(20s);
  CHECK(lines(traced(a)) == then);
}

TEST_CASE("what is watched, and what it costs, is bounded", "[watch]") {
  World world;
  auto [a, b] = two_sites(world);
  for (unsigned i = 0; i < ike::WatchList::kMax; ++i)
    CHECK(b.engine->watch(world.now, {"connection-" + std::to_string(i), std::nullopt, world.now + 60s}));
  CHECK_FALSE(b.engine->watch(world.now, {"one more", std::nullopt, world.now + 60s}));
  CHECK(b.engine->watch(world.now, {"connection-3", std::nullopt, world.now + 600h}));  // the same again
  CHECK(b.engine->watches(world.now).size() == ike::WatchList::kMax);
  CHECK(b.engine->watches(world.now + ike::WatchList::kLongest).empty());
  for (unsigned i = 0; i < ike::WatchList::kMax; ++i) b.engine->unwatch(world.now, {"connection-" + std::to_string(i), std::nullopt, {}});

  b.engine->watch(world.now, {"c", std::nullopt, world.now + 60s});
  b.start();
  ike::Datagram d{{IpAddress::parse("10.9.0.2").value(), 500}, {IpAddress::parse("10.9.0.1").value(), 500}, Bytes(28, 1)};
  d.data[17] = 0x10;
  d.data[18] = 5;
  for (const std::size_t i : {24U, 25U, 26U}) d.data[i] = 0;
  d.data[27] = 28;
  for (int i = 0; i < 5000; ++i) b.engine->on_datagram(world.now, d);
  b.perform();
  CHECK(lines(traced(b)) <= 400);
  world.run(10s);
  b.engine->on_datagram(world.now, d);
  b.perform();
  CHECK_THAT(traced(b), Contains("lines before this one are left out"));
}

TEST_CASE("what a peer calls itself and sends stays text in log, records and traces", "[watch][attack-A10]") {
  using namespace std::string_literals;
  const std::string nasty = GENERATE("$(id)`reboot`; rm -rf /"s, "%n%s%x%p"s, "a\0b"s, "line\r\n2026-01-01T00:00:00Z error it is all over"s,
                                     "\x1b[31m\x1b]0;title\x07"s, "\xff\xfe\xc3\x28"s, "\",\"level\":\"error\""s, std::string(4000, 'A'),
                                     std::string(60'000, '\n'));
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) {
    ca.connections[0].local_id = {config::Identity::Type::UserFqdn, nasty};
    cb.connections[0].remote_id = {config::Identity::Type::UserFqdn, "ops@gw.example"};
  });
  bool first = true;
  world.hook = [&](ike::Datagram& d) {
    auto seen = look(d);
    if (!first || !seen || !seen->clear) return true;
    first = false;
    ikev1::Builder payloads;
    for (const ikev1::Payload& p : seen->clear->payloads()) payloads.add_raw(p.type, p.body);
    if (nasty.size() < 5000) payloads.add(ikev1::Vendor{to_bytes(nasty)});
    rewrite(d, seen->header, payloads);
    return true;
  };
  a.engine->watch(world.now, {"c", std::nullopt, world.now + 600s});
  b.engine->watch(world.now, {"c", std::nullopt, world.now + 600s});
  a.start();
  b.start();
  world.run(60s);
  CHECK(b.established() == 0);
  for (const Host* h : {&a, &b}) {
    for (const ike::Report& r : h->log) {
      INFO(r.message);
      CHECK(harmless(r.message));
      CHECK(r.message.size() < 4096);
    }
    for (const auto& list : {h->engine->failures("c"), h->engine->strangers()})
      for (const ike::Failure& f : list) {
        CHECK(harmless(f.message));
        CHECK(harmless(f.cause.said));
        if (const auto* e = std::get_if<ike::IdentityEvidence>(&f.cause.evidence)) {
          CHECK(harmless(e->received));
          CHECK(e->received.size() < 1024);
        }
      }
  }
}

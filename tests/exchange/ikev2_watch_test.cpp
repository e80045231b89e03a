// Watching a connection or a peer that speaks IKEv2: each message a line, in clear and decrypted, nothing secret in it, and no byte of a
// peer's that is not text.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev2/trace.hpp"
#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using Catch::Contains;

namespace {

std::string traced(const Host& h) {
  std::string out;
  for (const ike::Report& r : h.log)
    if (r.message.starts_with("in: ") || r.message.starts_with("in, decrypted: ") || r.message.starts_with("out: "))
      out += r.message + "\n";
  return out;
}
std::size_t count(const std::string& text, const std::string& what) {
  std::size_t out = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++out;
  return out;
}
bool ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= 0x20 && c <= 0x7e) || c == '\n'; });
}

}  // namespace

TEST_CASE("IKEv2: a watched connection shows each message, in clear and decrypted, and no secret", "[ikev2][watch]") {
  World world;
  const Pair p = two_v2(world);
  CHECK(p.a.engine->watch(world.now, {"c", std::nullopt, world.now + 60s}));
  CHECK(p.b.engine->watch(world.now, {"", IpAddress::parse("10.9.0.1").value(), world.now + 60s}));
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return p.a.up() && p.b.up(); }, 10s));
  for (const Host* h : {&p.a, &p.b}) {
    const std::string text = traced(*h);
    INFO(text);
    CHECK(count(text, "IKE_SA_INIT request 0") == 1);
    CHECK(count(text, "IKE_SA_INIT response 0") == 1);
    CHECK(count(text, "IKE_AUTH request 1") == 1);
    CHECK(count(text, "IKE_AUTH response 1") == 1);
    CHECK(count(text, "in, decrypted: ") == 1);
    CHECK_THAT(
        text,
        Contains("SA (aes128gcm16-prfsha256-ecp256), KE (ecp256, 64 bytes), Nonce (32 bytes), N (NAT_DETECTION_SOURCE_IP, 20 bytes)"));
    CHECK_THAT(text, Contains("IDi (10.9.0.1)") && Contains("IDr (10.9.0.2)") && Contains("AUTH (pre-shared key, 32 bytes)"));
    CHECK_THAT(text, Contains("SA (aes128gcm16)") && Contains("TSi (10.1.0.0/24)") && Contains("TSr (10.2.0.0/24)"));
    CHECK_FALSE(Contains("secret").match(text));
    CHECK(ascii(text));
  }
  CHECK_THAT(traced(p.a), Contains("out: IKE_AUTH request 1") && Contains(", encrypted: IDi (10.9.0.1)"));
}

TEST_CASE("IKEv2: rekeyings, Deletes and liveness are shown, until the watch ends", "[ikev2][watch]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto&) { a.connections[0].dpd_delay = config::Seconds{20}; });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return p.a.up() && p.b.up(); }, 10s));
  p.a.engine->watch(world.now, {"c", std::nullopt, world.now + 60s});
  p.b.engine->watch(world.now, {"other", std::nullopt, world.now + 60s});
  p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", false).ok); });
  world.run(10s);
  p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
  world.run(45s);
  const std::string text = traced(p.a);
  INFO(text);
  CHECK_THAT(text, Contains("CREATE_CHILD_SA request") && Contains("N (REKEY_SA of ESP ") && Contains("D (ESP "));
  CHECK_THAT(text, Contains("D (the IKE SA)"));
  CHECK_THAT(text, Contains("out: INFORMATIONAL request 0") && Contains(", encrypted: nothing"));  // liveness, under the new IKE SA
  CHECK_FALSE(Contains("other keys").match(text));
  CHECK(traced(p.b).empty());
  world.run(120s);
  const std::string later = traced(p.a);
  world.run(120s);
  CHECK(traced(p.a) == later);
}

TEST_CASE("IKEv2: what is refused without an SA is shown with its answer", "[ikev2][watch]") {
  World world;
  const Pair p = two_v2(world, [](auto&, auto& b) { b.connections[0].proposals = parse_ike_proposal_v2("aes256-sha384-ecp384").value(); });
  p.b.engine->watch(world.now, {"c", std::nullopt, world.now + 60s});
  p.a.start();
  p.b.start();
  world.run(3s);
  CHECK_THAT(traced(p.b),
             Contains("in: IKE_SA_INIT request 0") && Contains("out: IKE_SA_INIT response 0") && Contains("N (NO_PROPOSAL_CHOSEN)"));
}

TEST_CASE("IKEv2: a request of the other version is shown to who watches the connection that it is refused for", "[ikev2][watch]") {
  World world;
  const Pair p = two_sites(world, [](auto& a, auto& b) {
    auto& c = GENERATE_COPY(true, false) ? a.connections[0] : b.connections[0];
    c.version = 2;
    c.proposals = parse_ike_proposal_v2("aes128-sha256-ecp256").value();
  });
  p.b.engine->watch(world.now, {"c", std::nullopt, world.now + 60s});
  p.a.start();
  p.b.start();
  world.run(3s);
  CHECK_THAT(traced(p.b), Contains("in: "));
}

TEST_CASE("IKEv2: what a peer sends stays text in a trace, and a line stays a line", "[ikev2][watch][attack-A10]") {
  using namespace std::string_literals;
  const std::string nasty = GENERATE("$(id)`reboot`; rm -rf /"s, "a\0b"s, "line\r\n2026-01-01T00:00:00Z error it is all over"s,
                                     "\x1b[31m\x1b]0;title\x07"s, "\xff\xfe\xc3\x28"s, std::string(1900, '\n'));
  ikev2::Builder b;
  b.add(ikev2::IdI{ikev2::IdType::Fqdn, to_bytes(nasty)}).add(ikev2::IdR{ikev2::IdType::KeyId, to_bytes(nasty)});
  b.add(ikev2::Vendor{to_bytes(nasty)}).notify(ikev2::NotifyType::Cookie, to_bytes(nasty)).notify(ikev2::NotifyType{4711}, to_bytes(nasty));
  b.add_raw(ikev2::PayloadType{77}, to_bytes(nasty));
  b.add(ikev2::Delete{ikev2::kProtoEsp, std::vector<Spi>(1000, Spi{0xabcd})});
  b.add(ikev2::Ke{static_cast<DhGroup>(4711), to_bytes(nasty)});
  const auto message = ikev2::Message::parse(b.first(), b.chain());
  REQUIRE(message);
  const std::string text = ikev2::describe(*message);
  INFO(text);
  CHECK(ascii(text));
  CHECK(std::ranges::count(text, '\n') == 0);
  CHECK(text.size() < ikev2::kTraceLine + 100);
  CHECK_THAT(text,
             Contains("payload 77 (") && Contains("N (notification 4711, ") && Contains("KE (group 4711, ") && Contains("and 992 more"));
}

TEST_CASE("IKEv2: what operators see while the first exchanges are under way", "[ikev2][view]") {
  World world;
  const Pair p = two_v2(world);
  p.a.start();
  p.b.start();
  const auto only = [](const Host& h) {
    const auto sas = h.engine->ike_sas();
    return sas.size() == 1 ? sas.front() : ike::IkeSaInfo{};
  };
  REQUIRE(world.run_until(
      [&] { return p.a.engine->connections().at(0).connecting && p.a.engine->connections().at(0).connecting->unanswered == 1; }, 1s));
  CHECK(only(p.a).version == 2);
  CHECK(only(p.a).children.empty());
  REQUIRE(world.run_until(
      [&] { return p.a.engine->connections().at(0).connecting && p.a.engine->connections().at(0).connecting->unanswered == 3; }, 1s));
  REQUIRE(only(p.a).children.size() == 1);
  CHECK(only(p.a).children[0].state == ike::ChildState::Negotiating);
  CHECK(only(p.a).children[0].local_ts.to_string() == "10.1.0.0/24");
  CHECK(only(p.a).suite.to_string() == "aes128gcm16-prfsha256-ecp256");
  REQUIRE(world.run_until([&] { return !only(p.b).children.empty(); }, 1s));
  CHECK(only(p.b).children[0].state == ike::ChildState::Installing);
  CHECK(only(p.b).children[0].suite.to_string() == "aes128gcm16");
  REQUIRE(world.run_until([&] { return p.a.up() && p.b.up(); }, 1s));
  for (const Host* h : {&p.a, &p.b}) {
    REQUIRE(only(*h).children.size() == 1);
    CHECK(only(*h).children[0].state == ike::ChildState::Installed);
    CHECK(only(*h).spi_i == only(p.a).spi_i);
  }
}

TEST_CASE("IKEv2: a peer of the other version is told by name, and recorded with the connection", "[ikev2][evidence]") {
  World world;
  const bool begins_with_2 = GENERATE(true, false);
  const Pair p = two_sites(world, [&](auto& a, auto& b) {
    auto& c = begins_with_2 ? a.connections[0] : b.connections[0];
    c.version = 2;
    c.proposals = parse_ike_proposal_v2("aes128-sha256-ecp256").value();
  });
  p.a.start();
  p.b.start();
  world.run(20s);
  const auto failures = p.b.engine->failures("c");
  REQUIRE_FALSE(failures.empty());
  CHECK(failures[0].reason == Reason::OtherVersion);
  CHECK(failures[0].strangers());
}

// Additional key exchanges while an IKE SA is made (RFC 9370 §2.2.2, RFC 9242): what goes over the wire, loss, fragments, who has them and
// who has not, and who does not keep to what was agreed.
#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"
#include "tests/exchange/test_kem.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;
using ike::Exchange;

namespace {

const std::string kTwo = "aes256gcm16-prfsha384-x25519-ke1_ecp384-ke3_modp3072",
                  kKem = "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp384";

std::vector<IkeSuite> suites(std::initializer_list<std::string> texts) {
  std::vector<IkeSuite> out;
  for (const std::string& text : texts)
    for (const IkeSuite& s : parse_ike_proposal_v2(text).value()) out.push_back(s);
  return out;
}
void begin(const Pair& p) {
  p.a.start();
  p.b.start();
}
IkeSuite suite_of(const Host& h) {
  const auto all = h.engine->ike_sas();
  REQUIRE(all.size() == 1);
  return all.front().suite;
}
/// The exchange types and message IDs of all requests, as sent by the host at this address.
std::vector<std::pair<int, std::uint32_t>> requests(const World& world, const IpAddress& from) {
  std::vector<std::pair<int, std::uint32_t>> out;
  for (const ike::Datagram& d : world.wire) {
    const std::size_t marker = d.local.port == 4500 ? 4 : 0;
    const auto framed = ike::parse_header(ByteView(d.data).subspan(marker));
    if (d.local.address == from && framed && (framed->header.flags & ike::kFlagResponse) == 0)
      out.emplace_back(framed->header.exchange, framed->header.message_id.value);
  }
  return out;
}
IpAddress at(const char* text) { return IpAddress::parse(text).value(); }

}  // namespace

TEST_CASE("IKEv2: additional key exchanges come one after the other, before IKE_AUTH", "[ikev2][rfc9370-2.2.2][rfc9242-3.2]") {
  const bool signing = GENERATE(false, true);
  World world;
  world.record = true;
  world.real_dh = true;
  const Pair p = signing ? two_signing_v2(world) : two_v2(world);
  for (Host* h : {&p.a, &p.b}) h->config.connections[0].proposals = suites({kTwo});
  begin(p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  CHECK(requests(world, at("10.9.0.1")) == std::vector<std::pair<int, std::uint32_t>>{{34, 0}, {43, 1}, {43, 2}, {35, 3}});
  CHECK(suite_of(p.a).to_string() == "aes256gcm16-prfsha384-curve25519-ke1_ecp384-ke3_modp3072");
  CHECK(suite_of(p.b) == suite_of(p.a));
  CHECK(p.a.current_out("net")->sa.encr_key == p.b.inbound.begin()->second.sa.encr_key);
  world.begin_traffic();
  for (Host* h : {&p.a, &p.b}) {
    h->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
    world.run(10s);
    h->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
    world.run(10s);
    REQUIRE(both_up(p));
  }
  CHECK(world.gaps.empty());
}

TEST_CASE("IKEv2: a KEM, whose two sides send values of different sizes, is a key exchange like the others", "[ikev2][rfc9370-2.2.2]") {
  plug_in_test_kem();
  const bool first = GENERATE(false, true), fragments = GENERATE(false, true);
  World world;
  world.real_dh = true;
  const Pair p = two_v2(world);
  for (Host* h : {&p.a, &p.b}) {
    h->config.connections[0].proposals = suites({first ? "aes256gcm16-prfsha384-mlkem768-ke1_x25519" : kKem});
    if (fragments) h->config.ike.fragment_size = 576;
  }
  begin(p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  CHECK(suite_of(p.a) == suite_of(p.b));
  CHECK(p.a.current_out("net")->sa.encr_key == p.b.inbound.begin()->second.sa.encr_key);
}

TEST_CASE("IKEv2: the keys are other ones with each additional key exchange", "[ikev2][rfc9370-2.2.2]") {
  std::set<std::string> seen;
  for (const char* text :
       {"aes128gcm16-prfsha256-ecp256", "aes128gcm16-prfsha256-ecp256-ke1_x25519", "aes128gcm16-prfsha256-ecp256-ke1_x25519-ke2_ecp384"}) {
    World world;
    const Pair p = two_v2(world);
    for (Host* h : {&p.a, &p.b}) h->config.connections[0].proposals = suites({text});
    begin(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
    seen.insert(to_hex(p.a.current_out("net")->sa.encr_key.view()));
  }
  CHECK(seen.size() == 3);
}

TEST_CASE("IKEv2: with additional key exchanges each message may be lost, doubled or late", "[ikev2][rfc9242-3.2][rfc7383-2.6.1]") {
  plug_in_test_kem();
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    World world(seed);
    INFO("seed " << seed);
    world.link = {.loss = 0.3, .duplicate = 0.2, .delay_min = 1ms, .delay_max = 60ms};
    const Pair p = two_v2(world);
    for (Host* h : {&p.a, &p.b}) {
      h->config.connections[0].proposals = suites({seed % 2 != 0 ? kKem : kTwo});
      if (seed % 3 != 0) h->config.ike.fragment_size = 576;
    }
    begin(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 120s));
  }
}

TEST_CASE("IKEv2: the loss of any one message of an additional key exchange is mended by asking again", "[ikev2][rfc9242-3.2]") {
  const bool fragments = GENERATE(false, true);
  plug_in_test_kem();
  for (unsigned lost = 0; lost < 6; ++lost) {
    World world;
    const Pair p = two_v2(world);
    unsigned count = 0;
    world.hook = [&](ike::Datagram& d) {
      const auto framed = ike::parse_header(ByteView(d.data).subspan(d.local.port == 4500 ? 4 : 0));
      return !framed || framed->header.exchange != ike::kExchangeIntermediate || count++ != lost;
    };
    for (Host* h : {&p.a, &p.b}) {
      h->config.connections[0].proposals = suites({kKem});
      if (fragments) h->config.ike.fragment_size = 576;
    }
    begin(p);
    INFO("lost " << lost << p.a.transcript() << p.b.transcript());
    REQUIRE(world.run_until([&] { return both_up(p); }, 8s));
  }
}

TEST_CASE("IKEv2: what may be left out is left out where the other side lacks it", "[ikev2][rfc9370-2.2.1]") {
  const auto [of_a, of_b, chosen] = GENERATE(
      std::tuple{"aes128gcm16-prfsha256-ecp256-ke1_x25519-ke1_none", "aes128gcm16-prfsha256-ecp256", "aes128gcm16-prfsha256-ecp256"},
      std::tuple{"aes128gcm16-prfsha256-ecp256", "aes128gcm16-prfsha256-ecp256-ke1_x25519-ke1_none", "aes128gcm16-prfsha256-ecp256"},
      std::tuple{"aes128gcm16-prfsha256-ecp256-ke1_x25519-ke1_none", "aes128gcm16-prfsha256-ecp256-ke1_x25519-ke1_none",
                 "aes128gcm16-prfsha256-ecp256-ke1_curve25519"},
      std::tuple{"aes128gcm16-prfsha256-ecp256-ke1_x25519-ke1_ecp384-ke2_x25519-ke2_ecp384",
                 "aes128gcm16-prfsha256-ecp256-ke1_ecp384-ke2_x25519", "aes128gcm16-prfsha256-ecp256-ke1_ecp384-ke2_curve25519"});
  World world;
  const Pair p = two_v2(world);
  p.a.config.connections[0].proposals = suites({of_a});
  p.b.config.connections[0].proposals = suites({of_b});
  begin(p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  CHECK(suite_of(p.a).to_string() == chosen);
  CHECK(suite_of(p.b).to_string() == chosen);
}

TEST_CASE("IKEv2: what is required and missing is said by both sides", "[ikev2][rfc9370-2.2.1]") {
  World world;
  const Pair p = two_v2(world);
  const bool of_a = GENERATE(true, false);
  (of_a ? p.a : p.b).config.connections[0].proposals = suites({"aes128gcm16-prfsha256-ecp256-ke1_x25519"});
  begin(p);
  world.run(5s);
  check_nothing_left(p);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.a.counted(Exchange::IkeSaInit, Reason::PeerNoProposal) >= 1);
  CHECK(p.b.counted(Exchange::IkeSaInit, Reason::NoProposalChosen) >= 1);
  const std::string said = failure_of(p.b);
  CHECK(said.find(of_a ? "additional key exchange ke1_curve25519 is not acceptable here"
                       : "wanted aes128gcm16-prfsha256-ecp256-ke1_curve25519") != std::string::npos);
}

TEST_CASE("IKEv2: a PPK goes on top of additional key exchanges", "[ikev2][rfc9242-3.3.2][rfc8784-3]") {
  World world;
  const Pair p = two_v2(world);
  for (Host* h : {&p.a, &p.b}) {
    h->config.connections[0].proposals = suites({kTwo});
    h->config.connections[0].ppk = {"ours", {config::SecretRef::Kind::File, "/ppk/c"}, true};
    h->ppks["c"] = "a quantum computer does not guess this";
  }
  begin(p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
}

// ------------------------------------------------------------------------------------------------ insiders

namespace {
struct Insider {
  World world;
  Host& b;
  InsiderV2 peer;
  explicit Insider(const std::string& ours = "aes128gcm16-prfsha256-ecp256-ke1_x25519-ke2_ecp384")
      : b(make(world, ours)), peer(world, b, at("10.9.0.1")) {
    peer.proposal = ours;
    peer.in_init.notify(NotifyType::IntermediateExchangeSupported);
    b.start();
  }
  static Host& make(World& w, const std::string& ours) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2(ours).value();
    return w.add("B", std::move(config));
  }
  std::optional<Message> prove() {
    return peer.prove(TrafficSelector::parse("10.1.0.0/24").value(), TrafficSelector::parse("10.2.0.0/24").value());
  }
  bool exchanged(DhGroup method) {
    const auto m = peer.exchange_key(method);
    return m && m->find<Ke>() && m->find<Ke>()->group == method;
  }
  /// Nothing comes of it, whatever it says now.
  void refused(const std::optional<Message>& m, NotifyType with = NotifyType::InvalidSyntax) {
    REQUIRE(m);
    REQUIRE(m->error());
    CHECK(m->error()->type == with);
    CHECK_FALSE(b.up());
    const unsigned computed = b.key_exchanges;
    exchanged(DhGroup::Curve25519);
    prove();
    CHECK_FALSE(b.up());
    CHECK(b.key_exchanges == computed);
  }
};
}  // namespace

TEST_CASE("IKEv2 insider: as it should be", "[ikev2][rfc9370-2.2.2]") {
  Insider in;
  REQUIRE(in.peer.begin());
  CHECK(in.peer.init_answer->notify(NotifyType::IntermediateExchangeSupported));
  REQUIRE(in.exchanged(DhGroup::Curve25519));
  REQUIRE(in.exchanged(DhGroup::Ecp384));
  const auto m = in.prove();
  INFO(in.b.transcript());
  REQUIRE(m);
  CHECK(m->find<Auth>());
  CHECK(in.b.up());
  CHECK(in.b.key_exchanges == 3);
}

TEST_CASE("IKEv2 insider: who skips, repeats, exchanges or adds a key exchange is refused, and computed for no more",
          "[ikev2][rfc9370-2.2.2]") {
  Insider in;
  REQUIRE(in.peer.begin());
  SECTION("IKE_AUTH at once") {
    in.refused(in.prove());
    CHECK(failure_of(in.b) == "IKE_AUTH comes before additional key exchange 1 of 2 (curve25519).");
  }
  SECTION("IKE_AUTH before the last one") {
    REQUIRE(in.exchanged(DhGroup::Curve25519));
    in.refused(in.prove());
    CHECK(failure_of(in.b) == "IKE_AUTH comes before additional key exchange 2 of 2 (ecp384).");
  }
  SECTION("the second one first") { in.refused(in.peer.exchange_key(DhGroup::Ecp384)); }
  SECTION("the first one again") {
    REQUIRE(in.exchanged(DhGroup::Curve25519));
    in.refused(in.peer.exchange_key(DhGroup::Curve25519));
  }
  SECTION("a third one") {
    REQUIRE(in.exchanged(DhGroup::Curve25519));
    REQUIRE(in.exchanged(DhGroup::Ecp384));
    in.refused(in.peer.exchange_key(DhGroup::Ecp256));
    CHECK(failure_of(in.b) == "IKE_INTERMEDIATE comes, and no additional key exchange is left.");
  }
  SECTION("a method that was not agreed on") { in.refused(in.peer.exchange_key(DhGroup::Ecp256)); }
  SECTION("no key at all") { in.refused(in.peer.ask(ike::kExchangeIntermediate, Builder())); }
  SECTION("an error, as only an answer may have it") {
    in.refused(in.peer.ask(ike::kExchangeIntermediate, Builder().notify(NotifyType::NoProposalChosen)));
  }
  SECTION("two keys") {
    in.refused(in.peer.ask(ike::kExchangeIntermediate,
                           Builder().add(Ke{DhGroup::Curve25519, Bytes(32, 9)}).add(Ke{DhGroup::Ecp384, Bytes(96, 9)})));
  }
  SECTION("a key that is none") {
    in.refused(in.peer.ask(ike::kExchangeIntermediate, Builder().add(Ke{DhGroup::Curve25519, Bytes(32, 0)})));
    CHECK(failure_of(in.b) == "The peer's value in additional key exchange 1 of 2 (curve25519) is invalid.");
  }
  SECTION("a key of another length") {
    in.refused(in.peer.ask(ike::kExchangeIntermediate, Builder().add(Ke{DhGroup::Curve25519, Bytes(31, 9)})));
  }
}

TEST_CASE("IKEv2 insider: AUTH is about what went through IKE_INTERMEDIATE", "[ikev2][rfc9242-3.3.2]") {
  Insider in;
  REQUIRE(in.peer.begin());
  REQUIRE(in.exchanged(DhGroup::Curve25519));
  REQUIRE(in.exchanged(DhGroup::Ecp384));
  SECTION("nothing of it") { in.peer.int_auth = {}; }
  SECTION("of the initiator's messages other ones") { in.peer.int_auth.of_initiator.mutable_view()[3] ^= 1; }
  SECTION("of the responder's messages other ones") { in.peer.int_auth.of_responder.mutable_view()[0] ^= 0x80; }
  SECTION("the sides exchanged") { std::swap(in.peer.int_auth.of_initiator, in.peer.int_auth.of_responder); }
  SECTION("another message ID") { ++in.peer.int_auth.exchanges; }
  const auto m = in.prove();
  REQUIRE(m);
  REQUIRE(m->error());
  CHECK(m->error()->type == NotifyType::AuthenticationFailed);
  CHECK_FALSE(in.b.up());
}

TEST_CASE("IKEv2 insider: who does not say that it has IKE_INTERMEDIATE is offered none", "[ikev2][rfc9370-2.2.1]") {
  Insider in("aes128gcm16-prfsha256-ecp256-ke1_x25519-ke1_none");
  in.peer.in_init = {};
  in.peer.proposal = "aes128gcm16-prfsha256-ecp256";
  REQUIRE(in.peer.begin());
  CHECK_FALSE(in.peer.init_answer->notify(NotifyType::IntermediateExchangeSupported));
  SECTION("and needs none") {
    REQUIRE(in.prove());
    CHECK(in.b.up());
  }
  SECTION("and begins one") { in.refused(in.peer.exchange_key(DhGroup::Curve25519)); }
}

TEST_CASE("IKEv2 insider: an offer of additional key exchanges without IKE_INTERMEDIATE is refused, and told why",
          "[ikev2][rfc9370-2.2.1]") {
  Insider in;
  in.peer.in_init = {};
  CHECK_FALSE(in.peer.begin());
  CHECK(failure_of(in.b).find("the peer does not say that it has IKE_INTERMEDIATE") != std::string::npos);
  CHECK(in.b.key_exchanges == 0);
}

TEST_CASE("IKEv2: a responder computes once for a stranger, and again only for who has its keys", "[ikev2][rfc9242-5]") {
  Insider in;
  REQUIRE(in.peer.begin());
  CHECK(in.b.key_exchanges == 1);
  // Its own answer, what was replayed, and noise: nothing of that has the keys of this exchange.
  for (const Bytes& junk : {in.peer.last, Bytes(200, 0x5a)}) in.world.deliver({in.peer.host(), {at("10.9.0.1"), 500}, junk});
  Bytes forged = in.peer.last;
  forged[18] = ike::kExchangeIntermediate;
  forged[23] = 1;
  for (int i = 0; i < 50; ++i) in.world.deliver({in.peer.host(), {at("10.9.0.1"), 500}, forged});
  in.world.run(1s);
  CHECK(in.b.key_exchanges == 1);
  REQUIRE(in.exchanged(DhGroup::Curve25519));
  const Bytes first = in.peer.last;
  for (int i = 0; i < 50; ++i) in.world.deliver({in.peer.host(), {at("10.9.0.1"), 500}, first});
  in.world.run(1s);
  CHECK(in.b.key_exchanges == 2);
  REQUIRE(in.exchanged(DhGroup::Ecp384));
  CHECK(in.prove());
  CHECK(in.b.up());
}

// Additional key exchanges behind CREATE_CHILD_SA (RFC 9370 §2.2.4): what goes over the wire, collisions, loss, who falls silent in the
// middle, and who does not keep to what was agreed.
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

const std::string kIke = "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp384", kEsp = "aes128gcm16-x25519-ke1_ecp384-ke2_mlkem768";

Pair two(World& world, const std::string& ike = kIke, const std::string& esp = kEsp) {
  plug_in_test_kem();
  return two_v2(world, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].proposals = parse_ike_proposal_v2(ike).value();
      g->connections[0].children[0].esp_proposals = parse_esp_proposal_v2(esp).value();
    }
  });
}
void begin(World& world, const Pair& p) {
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
}
void rekey(World& world, Host& h, bool ike) {
  h.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", ike ? "" : "net", ike).ok); });
}
/// One IKE SA and one pair, the same on both sides, and nothing on its way.
bool settled(const Pair& p) {
  for (const Host* h : {&p.a, &p.b})
    if (h->established() != 1 || h->inbound.size() != 1 || h->outbound.size() != 1 || h->spis.size() != 1) return false;
  return p.a.outbound[0].sa.encr_key == p.b.inbound.begin()->second.sa.encr_key &&
         p.b.outbound[0].sa.encr_key == p.a.inbound.begin()->second.sa.encr_key;
}
std::string suites(const Host& h) {
  for (const ike::IkeSaInfo& sa : h.engine->ike_sas())
    for (const ike::ChildSaInfo& child : sa.children)
      if (child.state == ike::ChildState::Installed) return sa.suite.to_string() + " " + child.suite.to_string();
  return "none";
}
/// Exchange types and message IDs, each once, whatever it went in.
std::set<std::pair<int, std::uint32_t>> requests(const World& world, std::size_t from) {
  std::set<std::pair<int, std::uint32_t>> out;
  for (const ike::Datagram& d : std::span(world.wire).subspan(from)) {
    const auto framed = ike::parse_header(ByteView(d.data).subspan(d.local.port == 4500 ? 4 : 0));
    if (framed && (framed->header.flags & ike::kFlagResponse) == 0) out.emplace(framed->header.exchange, framed->header.message_id.value);
  }
  return out;
}
bool followup(const ike::Datagram& d) {
  const auto framed = ike::parse_header(ByteView(d.data).subspan(d.local.port == 4500 ? 4 : 0));
  return framed && framed->header.exchange == ike::kExchangeFollowupKe;
}
const std::string kBoth = "aes256gcm16-prfsha384-curve25519-ke1_mlkem768-ke2_ecp384 aes128gcm16-curve25519-ke1_ecp384-ke2_mlkem768";

}  // namespace

TEST_CASE("IKEv2: rekeying has additional key exchanges in IKE_FOLLOWUP_KE, one after the other", "[ikev2][rfc9370-2.2.4]") {
  const bool by_b = GENERATE(false, true);
  World world;
  world.real_dh = true;
  world.record = true;
  const Pair p = two(world);
  begin(world, p);
  world.begin_traffic();
  Host& h = by_b ? p.b : p.a;
  std::set<std::string> keys{to_hex(p.a.outbound[0].sa.encr_key.view())};
  for (const bool ike : {false, true, false}) {
    const std::size_t from = world.wire.size();
    rekey(world, h, ike);
    world.run(8s);
    INFO(p.a.transcript() << p.b.transcript());
    REQUIRE(settled(p));
    const auto all = requests(world, from);
    const auto count = [&](int exchange) { return std::ranges::count(all, exchange, [](const auto& r) { return r.first; }); };
    CHECK(count(36) == 1);
    CHECK(count(44) == 2);
    CHECK(suites(p.a) == kBoth);
    CHECK(suites(p.b) == kBoth);
    keys.insert(to_hex(p.a.outbound[0].sa.encr_key.view()));
  }
  CHECK(keys.size() == 3);
  CHECK(world.gaps.empty());
}

TEST_CASE("IKEv2: a further CHILD SA has additional key exchanges, too; one that may do without does", "[ikev2][rfc9370-2.2.4]") {
  World world;
  const bool optional = GENERATE(false, true);
  plug_in_test_kem();
  const Pair p = two_v2(world, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      const bool first = g == &a;
      auto& children = g->connections[0].children;
      children.push_back(child("more", first ? "10.1.7.0/24" : "10.2.7.0/24", first ? "10.2.7.0/24" : "10.1.7.0/24", "aes128gcm16",
                               first ? config::StartAction::Start : config::StartAction::None));
      const char* plain = "aes128gcm16-x25519";
      const std::string proposal = optional && !first ? plain : std::string(plain) + "-ke1_ecp384" + (optional ? "-ke1_none" : "");
      children[1].esp_proposals = parse_esp_proposal_v2(proposal).value();
    }
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return p.a.up("c", "more") && p.b.up("c", "more") && p.a.current_out("more") && both_up(p); }, 10s));
  CHECK(p.a.current_out("more")->sa.suite.to_string() == (optional ? "aes128gcm16-curve25519" : "aes128gcm16-curve25519-ke1_ecp384"));
}

TEST_CASE("IKEv2: one side lacks the additional key exchanges of a child, and both say so", "[ikev2][rfc9370-2.2.4]") {
  World world;
  const Pair p = two(world, "aes128gcm16-prfsha256-ecp256");
  const bool of_a = GENERATE(true, false);
  (of_a ? p.b : p.a).config.connections[0].children[0].esp_proposals = parse_esp_proposal_v2("aes128gcm16-x25519").value();
  begin(world, p);  // in IKE_AUTH nobody looks at key exchanges
  rekey(world, p.a, false);
  world.run(5s);
  CHECK(p.a.counted(Exchange::CreateChildSa, Reason::PeerNoProposal) >= 1);
  CHECK(p.b.counted(Exchange::CreateChildSa, Reason::NoProposalChosen) >= 1);
  CHECK(failure_of(p.b).find("additional key exchange") != std::string::npos);
  CHECK(both_up(p));
}

TEST_CASE("IKEv2: rekeyings by both sides at once, with additional key exchanges, leave one SA", "[ikev2][rfc9370-2.2.4][rfc7296-2.8.1]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    World world(seed);
    INFO("seed " << seed);
    if (seed % 2 == 0) world.link = {.loss = 0.15, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 60ms};
    const Pair p = two(world);
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
    REQUIRE(world.run_until([&] { return settled(p); }, 60s));
    world.begin_traffic();
    rekey(world, p.a, seed % 3 == 0);
    world.run(world.between(0ms, 30ms));
    rekey(world, p.b, seed % 3 == 0 || seed % 5 == 0);
    world.run(60s);
    world.link = {};
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(world.run_until([&] { return settled(p); }, 300s));
    CHECK(world.gaps.empty());
    CHECK(suites(p.a) == suites(p.b));
  }
}

TEST_CASE("IKEv2: the loss of any one message of IKE_FOLLOWUP_KE is mended by asking again", "[ikev2][rfc9370-2.2.4]") {
  const bool ike = GENERATE(false, true);
  for (unsigned lost = 0; lost < 5; ++lost) {
    World world;
    const Pair p = two(world);
    begin(world, p);
    unsigned count = 0;
    world.hook = [&](ike::Datagram& d) { return !followup(d) || count++ != lost; };
    world.begin_traffic();
    rekey(world, p.b, ike);
    world.run(15s);
    INFO("lost " << lost << p.a.transcript() << p.b.transcript());
    CHECK(settled(p));
    if (!ike) CHECK(suites(p.a) == kBoth);
    CHECK(p.b.counted(Exchange::CreateChildSa, Reason::Ok) == 1);
    CHECK(world.gaps.empty());
  }
}

TEST_CASE("IKEv2: what an operator ends in the middle of its key exchanges does not stay", "[ikev2][rfc9370-2.2.4]") {
  const bool by_b = GENERATE(false, true), all = GENERATE(false, true);
  World world;
  const Pair p = two(world);
  p.a.config.connections[0].children[0].start_action = config::StartAction::None;
  p.a.start();
  p.b.start();
  p.a.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "net").ok); });
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  rekey(world, p.a, false);
  bool seen = false;
  world.hook = [&](ike::Datagram& d) {
    seen = seen || followup(d);
    return true;
  };
  REQUIRE(world.run_until([&] { return seen; }, 5s));
  (by_b ? p.b : p.a).step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", all ? "" : "net").ok); });
  world.run(200s);
  INFO(p.a.transcript() << p.b.transcript());
  check_nothing_left(p);
  CHECK(p.a.spis.empty());
  CHECK(p.b.spis.empty());
}

// ------------------------------------------------------------------------------------------------ insiders

namespace {
/// With a CHILD SA up, whose kind has two additional key exchanges when it is made anew.
struct Insider {
  World world;
  Host& b;
  InsiderV2 peer;
  std::uint32_t n = 0;
  Insider() : b(make(world)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.start();
    REQUIRE(peer.connect(ts("10.1.0.0/24"), ts("10.2.0.0/24")));
    REQUIRE(b.up());
  }
  static TrafficSelector ts(const char* text) { return TrafficSelector::parse(text).value(); }
  static Host& make(World& w) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].dpd_delay = config::Seconds{0};
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    config.connections[0].children[0].esp_proposals = parse_esp_proposal_v2("aes128gcm16-x25519-ke1_ecp384-ke2_ecp256").value();
    return w.add("B", std::move(config));
  }
  static Ke key(DhGroup method) {
    const auto half = crypto::begin_exchange(method).value();
    return {method, Bytes(half->public_value().begin(), half->public_value().end())};
  }
  /// CREATE_CHILD_SA; what links the next one, if it was taken.
  Bytes create() {
    const auto suites = parse_esp_proposal_v2("aes128gcm16-x25519-ke1_ecp384-ke2_ecp256").value();
    Builder child;
    child.add(build_child_offer(suites, InsiderV2::spi(++n), true)).add(Nonce{Bytes(32, 5)}).add(key(DhGroup::Curve25519));
    child.add(TsI{{ts("10.1.0.0/24")}, 0}).add(TsR{{ts("10.2.0.0/24")}, 0});
    return link(peer.ask(ike::kExchangeCreateChildSa, child));
  }
  static Bytes link(const std::optional<Message>& m) {
    REQUIRE(m);
    const Notify* n = m->notify(NotifyType::AdditionalKeyExchange);
    return n ? n->data : Bytes{};
  }
  std::optional<Message> go_on(DhGroup method, const Bytes& with) {
    return peer.ask(ike::kExchangeFollowupKe, Builder().add(key(method)).notify(NotifyType::AdditionalKeyExchange, with));
  }
  void refused(const std::optional<Message>& m, NotifyType with) {
    REQUIRE(m);
    REQUIRE(m->error());
    CHECK(m->error()->type == with);
    CHECK(b.inbound.size() == 1);
  }
};
}  // namespace

TEST_CASE("IKEv2 insider: IKE_FOLLOWUP_KE as it should be", "[ikev2][rfc9370-2.2.4]") {
  Insider in;
  const Bytes first = in.create();
  REQUIRE_FALSE(first.empty());
  CHECK(in.b.inbound.size() == 1);
  const Bytes second = Insider::link(in.go_on(DhGroup::Ecp384, first));
  REQUIRE_FALSE(second.empty());
  CHECK(second != first);
  CHECK(in.b.inbound.size() == 1);
  CHECK(Insider::link(in.go_on(DhGroup::Ecp256, second)).empty());
  CHECK(in.b.inbound.size() == 2);
}

TEST_CASE("IKEv2 insider: IKE_FOLLOWUP_KE that goes on with nothing, twice, wrongly or too late makes no SA", "[ikev2][rfc9370-2.2.4]") {
  Insider in;
  using enum NotifyType;
  const unsigned computed = in.b.key_exchanges;
  SECTION("with nothing") {
    in.refused(in.go_on(DhGroup::Ecp384, Bytes(16, 1)), StateNotFound);
    CHECK(in.b.key_exchanges == computed);
  }
  SECTION("with another one than is waited for, which stays") {
    const Bytes first = in.create();
    in.refused(in.go_on(DhGroup::Ecp384, Bytes(16, 1)), StateNotFound);
    const Bytes second = Insider::link(in.go_on(DhGroup::Ecp384, first));
    in.refused(in.go_on(DhGroup::Ecp384, first), StateNotFound);
    CHECK_FALSE(in.go_on(DhGroup::Ecp256, second)->error());
    CHECK(in.b.inbound.size() == 2);
  }
  SECTION("without saying with what") {
    const Bytes first = in.create();
    in.refused(in.peer.ask(ike::kExchangeFollowupKe, Builder().add(Insider::key(DhGroup::Ecp384))), InvalidSyntax);
    in.refused(in.go_on(DhGroup::Ecp384, first), StateNotFound);
  }
  SECTION("in another order") {
    const Bytes first = in.create();
    in.refused(in.go_on(DhGroup::Ecp256, first), InvalidSyntax);
    in.refused(in.go_on(DhGroup::Ecp384, first), StateNotFound);
  }
  SECTION("without a key") {
    const Bytes first = in.create();
    in.refused(in.peer.ask(ike::kExchangeFollowupKe, Builder().notify(AdditionalKeyExchange, first)), InvalidSyntax);
  }
  SECTION("with an error instead, as only an answer may have it") {
    const Bytes first = in.create();
    in.refused(in.peer.ask(ike::kExchangeFollowupKe, Builder().notify(AdditionalKeyExchange, first).notify(NotifyType::NoProposalChosen)),
               InvalidSyntax);
  }
  SECTION("with a key that is none") {
    const Bytes first = in.create();
    in.refused(in.peer.ask(ike::kExchangeFollowupKe, Builder().add(Ke{DhGroup::Ecp384, Bytes(96, 1)}).notify(AdditionalKeyExchange, first)),
               InvalidSyntax);
  }
  SECTION("of what was begun before another one") {
    const Bytes old = in.create(), first = in.create();
    in.refused(in.go_on(DhGroup::Ecp384, old), StateNotFound);
    CHECK_FALSE(in.go_on(DhGroup::Ecp384, first)->error());
  }
  SECTION("two minutes later") {
    const Bytes first = in.create();
    in.world.run(121s);
    in.refused(in.go_on(DhGroup::Ecp384, first), StateNotFound);
  }
  SECTION("begun a hundred times") {
    for (int i = 0; i < 100; ++i) in.create();
    CHECK(in.b.spis.size() == 2);  // of the CHILD SA that is there, and of the last one
  }
  in.world.run(121s);
  CHECK(in.b.spis.size() == in.b.inbound.size());
}

TEST_CASE("IKEv2: what the peer deletes before the last answer about it has come is not sent by",
          "[ikev2][rfc9370-2.2.4][rfc7296-2.25.1]") {
  World world;
  plug_in_test_kem();
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      const bool first = g == &a;
      auto& children = g->connections[0].children;
      children.push_back(child("more", first ? "10.1.7.0/24" : "10.2.7.0/24", first ? "10.2.7.0/24" : "10.1.7.0/24", "aes128gcm16",
                               config::StartAction::None));
      children[1].esp_proposals = parse_esp_proposal_v2("aes128gcm16-x25519-ke1_ecp384").value();
    }
  });
  begin(world, p);
  bool lost = true;
  const IpAddress b = p.b.config.connections[0].local_addrs[0];
  world.hook = [&](ike::Datagram& d) { return !(lost && followup(d) && d.local.address == b); };
  p.a.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "more").ok); });
  REQUIRE(world.run_until([&] { return p.b.live_pairs("more") == 1; }, 10s));
  p.b.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "more").ok); });
  REQUIRE(world.run_until([&] { return p.b.inbound.size() == 1; }, 30s));
  CHECK(p.a.live_pairs("more") == 0);  // it waits for the answer
  lost = false;
  REQUIRE(world.run_until([&] { return p.a.counted(Exchange::IkeFollowupKe, Reason::DeletedByPeer) == 1; }, 60s));
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.a.live_pairs("more") == 0);
  CHECK(p.a.current_out("more") == nullptr);
  CHECK(world.run_until([&] { return settled(p); }, 10s));
}

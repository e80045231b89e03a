// Post-quantum pre-shared keys (RFC 8784): every line of its two tables of who has one, who insists, and what comes of it; and who lies.
#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_ppk_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;
using ike::AuthMethod;
using ike::Exchange;

namespace {

/// With pre-shared keys, or with signatures.
Pair two(World& world, bool signing) { return signing ? two_signing_v2(world) : two_v2(world); }

}  // namespace

TEST_CASE("IKEv2: a PPK that both have is used, whoever insists, and goes through rekeying", "[ikev2][rfc8784-3]") {
  const bool signing = GENERATE(false, true);
  for (const Has a : {Has::Optional, Has::Required})
    for (const Has b : {Has::Optional, Has::Required}) {
      World world;
      const Pair p = two(world, signing);
      give(p.a, a);
      give(p.b, b);
      start(p);
      REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
      INFO(p.a.transcript() << p.b.transcript());
      CHECK(says(p.a, kUsed));
      CHECK(says(p.b, kUsed));
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
}

TEST_CASE("IKEv2: the keys are other ones with a PPK", "[ikev2][rfc8784-3]") {
  std::set<std::string> seen;
  for (const Has has : {Has::None, Has::Optional}) {
    World world;
    world.real_dh = false;
    const Pair p = two(world, false);
    give(p.a, has);
    give(p.b, has);
    start(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
    CHECK(p.a.current_out("net")->sa.encr_key == p.b.inbound.begin()->second.sa.encr_key);
    seen.insert(to_hex(p.a.current_out("net")->sa.encr_key.view()));
  }
  CHECK(seen.size() == 2);
}

TEST_CASE("IKEv2: a PPK that one side lacks is done without, unless somebody insists", "[ikev2][rfc8784-3]") {
  const bool signing = GENERATE(false, true), at_a = GENERATE(true, false), knows = GENERATE(true, false);
  CAPTURE(signing, at_a, knows);
  World world;
  const Pair p = two(world, signing);
  Host &has = at_a ? p.a : p.b, &lacks = at_a ? p.b : p.a;
  if (knows) give(lacks, Has::Optional, "another key", "another name");  // USE_PPK is said, and then the names differ
  SECTION("nobody insists") {
    give(has, Has::Optional);
    start(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
    CHECK_FALSE(says(p.a, kUsed));
    CHECK_FALSE(says(p.b, kUsed));
    if (at_a)
      CHECK(says(has, knows ? "The peer does not have the PPK \"ours\": the keys are made without, since ppk_required is false."
                            : "The peer takes no PPKs: the keys are made without \"ours\", since ppk_required is false."));
  }
  SECTION("the one that has it insists") {
    give(has, Has::Required);
    start(p);
    world.run(3s);
    INFO(p.a.transcript() << p.b.transcript());
    check_nothing_left(p);
    CHECK(has.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
    if (at_a && !knows)
      CHECK(failure_of(has) == "The peer takes no PPKs (its IKE_SA_INIT has no USE_PPK), and ppk_required asks for \"ours\".");
    if (at_a && knows) {
      CHECK(failure_of(lacks) == "The peer uses the PPK \"ours\", ours is \"another name\", and it proves nothing without (NO_PPK_AUTH).");
      CHECK(failure_of(has).find(", or the two sides do not have the same PPK \"ours\"") != std::string::npos);
    }
    if (!at_a)
      CHECK(failure_of(has) == (knows ? "The peer's PPK is \"another name\", and ppk_required asks for \"ours\"."
                                      : "The peer uses no PPK, and ppk_required asks for \"ours\"."));
  }
}

TEST_CASE("IKEv2: PPKs that differ are told by name, and so is one that cannot be read", "[ikev2][rfc8784-3]") {
  const bool signing = GENERATE(false, true);
  const Has of_a = GENERATE(Has::Optional, Has::Required);
  World world;
  const Pair p = two(world, signing);
  give(p.a, of_a);
  give(p.b, Has::Optional, "another key");
  const bool unreadable_a = GENERATE(false, true), unreadable_b = GENERATE(false, true);
  CAPTURE(signing, of_a == Has::Required, unreadable_a, unreadable_b);
  if (unreadable_a) p.a.ppks.clear();
  if (unreadable_b) p.b.ppks.clear();
  start(p);
  world.run(3s);
  INFO(p.a.transcript() << p.b.transcript());
  check_nothing_left(p);
  if (unreadable_a) {
    CHECK(failure_of(p.a) == "The PPK \"ours\" cannot be read: the secret file /ppk/c is empty.");
    CHECK(p.a.counted(Exchange::IkeAuth, Reason::NoSecret) >= 1);
  } else if (unreadable_b) {
    CHECK(failure_of(p.b) == "The PPK \"ours\" cannot be read: the secret file /ppk/c is empty.");
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::NoSecret) >= 1);
  } else {
    const std::string differ = "The two sides do not have the same PPK \"ours\".";
    CHECK(failure_of(p.a).find(", or the two sides do not have the same PPK \"ours\".") != std::string::npos);
    CHECK(p.a.engine->failures("c").front().cause.ppk == differ);
    CHECK(p.b.engine->failures("c").front().cause.ppk == differ);
    const bool secret = std::holds_alternative<ike::SecretEvidence>(p.b.engine->failures("c").front().cause.evidence);
    CHECK(secret == (!signing && of_a == Has::Required));  // a proof without it has shown that the secret is right
    if (!signing)
      CHECK(failure_of(p.b) ==
            (of_a == Has::Optional
                 ? "All else of the peer's proof fits, but the two sides do not have the same PPK \"ours\"."
                 : "The peer's proof does not fit our pre-shared key, or the two sides do not have the same PPK \"ours\"."));
    else
      CHECK(failure_of(p.b).find(", or the two sides do not have the same PPK \"ours\"") != std::string::npos);
  }
}

TEST_CASE("IKEv2: who insists on a PPK that we lack falls silent, and it is known why", "[ikev2][rfc8784-3]") {
  World world;
  const Pair p = two(world, GENERATE(false, true));
  const bool has = GENERATE(true, false);
  if (has) give(p.a, Has::Required);
  world.hook = [](ike::Datagram& d) {
    const auto framed = ike::parse_header(d.data);
    return !framed || framed->header.exchange == ike::kExchangeSaInit;
  };
  start(p);
  world.run(200s);
  check_nothing_left(p);
  const auto all = p.b.engine->failures("c");
  const auto waited = std::ranges::find(all, Reason::Timeout, &ike::Failure::reason);
  REQUIRE(waited != all.end());
  CHECK(waited->cause.ppk == (has ? "The peer has a PPK (USE_PPK), and falls silent where we have none: it insists on one." : ""));
}

TEST_CASE("IKEv2: who takes USE_PPK away on the way breaks the negotiation, and not the keys", "[ikev2][rfc8784-6]") {
  World world;
  const Pair p = two(world, GENERATE(false, true));
  give(p.a, Has::Optional);
  give(p.b, Has::Optional);
  world.hook = without(NotifyType::UsePpk);
  start(p);
  world.run(3s);
  check_nothing_left(p);
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);  // what was said is signed
}

TEST_CASE("IKEv2: with a PPK each message may be lost, doubled or late", "[ikev2][rfc8784-3][rfc7296-2.1]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    World world(seed);
    INFO("seed " << seed);
    world.link = {.loss = 0.3, .duplicate = 0.2, .delay_min = 1ms, .delay_max = 60ms};
    const Pair p = two(world, seed % 2 != 0);
    give(p.a, seed % 3 != 0 ? Has::Optional : Has::Required);
    give(p.b, seed % 5 != 0 ? Has::Optional : Has::Required);
    start(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 120s));
    CHECK(says(p.a, kUsed));
    CHECK(says(p.b, kUsed));
  }
}

TEST_CASE("IKEv2: a connection that the certificate may mean instead has the same PPK, or is not tried", "[ikev2][rfc8784-3]") {
  const bool same = GENERATE(true, false);
  World world;
  const Pair p = two(world, true);
  give(p.a, Has::Required);
  give(p.b, Has::Optional);
  auto& all = p.b.config.connections;
  all.push_back(all[0]);
  all[1].name = "d";
  if (!same) all[1].ppk.id = "theirs";
  p.b.keys["d"] = p.b.keys["c"];
  p.b.ppks["d"] = p.b.ppks["c"];
  p.b.engine = std::make_unique<ike::Engine>(p.b.config, p.b);
  p.b.distrusted = {"c: A"};
  start(p);
  world.run(3s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.b.up("d") == same);
  CHECK(p.a.up() == same);
}

namespace {
struct Asked {
  World world;
  Host& b;
  InsiderV2 peer;
  explicit Asked(Has has) : b(make(world)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    give(b, has);
    b.start();
  }
  static Host& make(World& w) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    return w.add("B", std::move(config));
  }
  /// Whether it came up.
  bool connect() {
    const auto m = peer.connect(TrafficSelector::parse("10.1.0.0/24").value(), TrafficSelector::parse("10.2.0.0/24").value());
    INFO(b.transcript());
    REQUIRE(m);
    CHECK(b.up() == (m->find<Auth>() != nullptr));
    return b.up();
  }
};
}  // namespace

TEST_CASE("IKEv2 insider: what a peer says of PPKs out of place or out of shape is no way around one", "[ikev2][rfc8784-3][rfc8784-5.1]") {
  SECTION("as it should be") {
    Asked in(Has::Required);
    in.peer.in_init.notify(NotifyType::UsePpk);
    in.peer.in_auth.notify(NotifyType::PpkIdentity, identity("ours"));
    in.peer.ppk = kKey;
    CHECK(in.connect());
  }
  SECTION("the name alone, and the keys without") {
    Asked in(Has::Optional);
    in.peer.in_init.notify(NotifyType::UsePpk);
    in.peer.in_auth.notify(NotifyType::PpkIdentity, identity("ours"));
    CHECK_FALSE(in.connect());
  }
  SECTION("the name alone, the keys without, and a proof that is none") {
    Asked in(Has::Optional);
    in.peer.in_init.notify(NotifyType::UsePpk);
    in.peer.in_auth.notify(NotifyType::PpkIdentity, identity("ours")).notify(NotifyType::NoPpkAuth, Bytes(32, 7));
    CHECK_FALSE(in.connect());
  }
  SECTION("required, and nothing is said") {
    Asked in(Has::Required);
    CHECK_FALSE(in.connect());
  }
  SECTION("required, and the name comes without USE_PPK before") {
    Asked in(Has::Required);
    in.peer.in_auth.notify(NotifyType::PpkIdentity, identity("ours"));
    in.peer.ppk = kKey;
    CHECK_FALSE(in.connect());
  }
  SECTION("optional, and the name comes without USE_PPK before: AUTH is what it is without") {
    Asked in(Has::Optional);
    in.peer.in_auth.notify(NotifyType::PpkIdentity, identity("ours"));
    CHECK(in.connect());
  }
  SECTION("names that are none of ours, with a proof without that is none") {
    for (const Bytes& id : {Bytes{}, Bytes{2}, identity("ours", 1), identity("our"), identity("oursx"), Bytes(2000, 0xff)})
      for (const Bytes& proof : {Bytes{}, Bytes(32, 7), Bytes(4000, 0)}) {
        Asked in(Has::Optional);
        in.peer.in_init.notify(NotifyType::UsePpk);
        in.peer.in_auth.notify(NotifyType::PpkIdentity, id).notify(NotifyType::NoPpkAuth, proof);
        in.peer.ppk = kKey;
        CHECK_FALSE(in.connect());
      }
  }
  SECTION("a responder without one does not look") {
    Asked in(Has::None);
    in.peer.in_init.notify(NotifyType::UsePpk);
    in.peer.in_auth.notify(NotifyType::PpkIdentity, identity("ours")).notify(NotifyType::NoPpkAuth, Bytes(32, 7));
    CHECK(in.connect());
  }
}

// Post-quantum pre-shared keys (RFC 8784) beside EAP: the PPK is named with the user's AUTH, behind all rounds of it, and goes into the
// keys there; the gateway's first AUTH is without. Who has one, who insists, what comes of it; and who lies.
#include <set>

#include <catch2/catch.hpp>

#include "control/crypto/nt_hash.hpp"
#include "control/ikev2/eap/server.hpp"
#include "tests/exchange/ikev2_eap_sites.hpp"
#include "tests/exchange/ikev2_ppk_sites.hpp"
#include "tests/exchange/ikev2_tls_sides.hpp"
#include "tests/exchange/insider_gateway.hpp"
#include "tests/exchange/radius_world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Proof;
using ike::Exchange;
using ikev2::NotifyType;

namespace {

/// A is a user, B the gateway, and each has a PPK, or has not. With EapRadius the gateway's users are a RADIUS server's.
struct Users {
  World world;
  TlsSide user{{user_certificate()}}, server{{server_certificate()}};
  Pair p;
  std::optional<RadiusWorld> radius;

  explicit Users(Proof method, std::uint64_t seed = 1)
      : world(seed), p(user_and_gateway(world, method == Proof::EapRadius ? Proof::EapMschapv2 : method, [&](auto& a, auto& b) {
          b.connections[0].remote_auth.auth = method;
          if (method == Proof::EapTls) a.connections[0].local_auth.eap_id = "alice@example.org";
        })) {
    if (method == Proof::EapRadius) radius.emplace(world, p.b);
    p.a.tls = [this](const ike::TlsStep& s) { return user.take(s); };
    p.b.tls = [this](const ike::TlsStep& s) { return server.take(s); };
  }
  [[nodiscard]] bool up(Duration limit = 10s) {
    start(p);
    return world.run_until([&] { return both_up(p); }, limit);
  }
  [[nodiscard]] std::string transcript() const { return p.a.transcript() + p.b.transcript(); }
  /// Both have tried, once, and nothing is left of it but what they say.
  void fails() {
    start(p);
    world.run(4s);
    check_nothing_left(p);
  }
};

const ike::Failure& failure(const Host& h) {
  static std::vector<ike::Failure> all;
  all = h.engine->failures("c");
  REQUIRE_FALSE(all.empty());
  return all.front();
}
const std::string kDiffer = "The two sides do not have the same PPK \"ours\".";

}  // namespace

TEST_CASE("IKEv2 EAP: a PPK that both have is used, whoever insists, and goes through rekeying", "[ikev2][eap][rfc8784-3]") {
  const Proof method = GENERATE(Proof::EapMschapv2, Proof::EapMd5, Proof::EapTls, Proof::EapRadius);
  CAPTURE(static_cast<int>(method));
  for (const Has a : {Has::Optional, Has::Required})
    for (const Has b : {Has::Optional, Has::Required}) {
      Users u(method);
      give(u.p.a, a);
      give(u.p.b, b);
      const bool up = u.up();
      INFO(u.transcript());
      REQUIRE(up);
      CHECK(says(u.p.a, kUsed));
      CHECK(says(u.p.b, kUsed));
      u.world.begin_traffic();
      for (Host* h : {&u.p.a, &u.p.b}) {
        h->step([&](ike::Engine& e) { CHECK(e.rekey(u.world.now, "c", "", true).ok); });
        u.world.run(10s);
        h->step([&](ike::Engine& e) { CHECK(e.rekey(u.world.now, "c", "net", false).ok); });
        u.world.run(10s);
        REQUIRE(both_up(u.p));
      }
      CHECK(u.world.gaps.empty());
    }
}

TEST_CASE("IKEv2 EAP: the keys are other ones with a PPK", "[ikev2][eap][rfc8784-3]") {
  std::set<std::string> seen;
  for (const Has has : {Has::None, Has::Optional}) {
    Users u(Proof::EapMschapv2);
    u.world.real_dh = false;
    give(u.p.a, has);
    give(u.p.b, has);
    REQUIRE(u.up());
    CHECK(u.p.a.current_out("net")->sa.encr_key == u.p.b.inbound.begin()->second.sa.encr_key);
    seen.insert(to_hex(u.p.a.current_out("net")->sa.encr_key.view()));
  }
  CHECK(seen.size() == 2);
}

TEST_CASE("IKEv2 EAP: a PPK that one side lacks is done without, unless somebody insists", "[ikev2][eap][rfc8784-3]") {
  const Proof method = GENERATE(Proof::EapMschapv2, Proof::EapMd5, Proof::EapTls);
  const bool at_a = GENERATE(true, false), knows = GENERATE(true, false);
  CAPTURE(static_cast<int>(method), at_a, knows);
  Users u(method);
  Host &has = at_a ? u.p.a : u.p.b, &lacks = at_a ? u.p.b : u.p.a;
  if (knows) give(lacks, Has::Optional, "another key", "another name");  // USE_PPK is said, and then the names differ
  SECTION("nobody insists") {
    give(has, Has::Optional);
    const bool up = u.up();
    INFO(u.transcript());
    REQUIRE(up);
    CHECK_FALSE(says(u.p.a, kUsed));
    CHECK_FALSE(says(u.p.b, kUsed));
    if (at_a)
      CHECK(says(has, knows ? "The peer does not have the PPK \"ours\": the keys are made without, since ppk_required is false."
                            : "The peer takes no PPKs: the keys are made without \"ours\", since ppk_required is false."));
  }
  SECTION("the one that has it insists") {
    give(has, Has::Required);
    u.fails();
    INFO(u.transcript());
    if (at_a && !knows) {
      CHECK(failure(has).message == "The peer takes no PPKs (its IKE_SA_INIT has no USE_PPK), and ppk_required asks for \"ours\".");
      CHECK(u.p.b.checks == 0);  // no user is asked for
      return;
    }
    CHECK(failure(has).cause.ppk.empty() == (at_a && !knows));
    CHECK(failure(u.p.a).reason == Reason::EapRefused);
    if (at_a) {
      CHECK(failure(lacks).message ==
            "The peer uses the PPK \"ours\", ours is \"another name\", and it proves nothing without (NO_PPK_AUTH).");
      CHECK(failure(has).message.find(", or the two sides do not have the same PPK \"ours\"") != std::string::npos);
    } else {
      CHECK(failure(has).message == (knows ? "The peer's PPK is \"another name\", and ppk_required asks for \"ours\"."
                                           : "The peer uses no PPK, and ppk_required asks for \"ours\"."));
    }
  }
}

TEST_CASE("IKEv2 EAP: PPKs that differ are told by name, and so is one that cannot be read", "[ikev2][eap][rfc8784-3]") {
  const Proof method = GENERATE(Proof::EapMschapv2, Proof::EapMd5, Proof::EapTls);
  const Has of_a = GENERATE(Has::Optional, Has::Required);
  Users u(method);
  give(u.p.a, of_a);
  give(u.p.b, Has::Optional, "another key");
  const bool unreadable_a = GENERATE(false, true), unreadable_b = GENERATE(false, true);
  CAPTURE(static_cast<int>(method), of_a == Has::Required, unreadable_a, unreadable_b);
  if (unreadable_a) u.p.a.ppks.clear();
  if (unreadable_b) u.p.b.ppks.clear();
  u.fails();
  INFO(u.transcript());
  if (unreadable_a) {
    CHECK(failure(u.p.a).message == "The PPK \"ours\" cannot be read: the secret file /ppk/c is empty.");
    CHECK(u.p.b.checks == 0);
  } else if (unreadable_b) {
    CHECK(failure(u.p.b).message == "The PPK \"ours\" cannot be read: the secret file /ppk/c is empty.");
    CHECK(u.p.b.counted(Exchange::IkeAuth, Reason::NoSecret) >= 1);
  } else {
    CHECK(failure(u.p.a).message.find(", or the two sides do not have the same PPK \"ours\".") != std::string::npos);
    CHECK(failure(u.p.a).cause.ppk == kDiffer);
    CHECK(failure(u.p.b).cause.ppk == kDiffer);
    CHECK(
        failure(u.p.b).message ==
        (of_a == Has::Optional
             ? "All else of the peer's proof behind EAP fits, but the two sides do not have the same PPK \"ours\"."
             : "The proof behind EAP is wrong: the key of EAP is another one there, or the two sides do not have the same PPK \"ours\"."));
  }
}

TEST_CASE("IKEv2 EAP: a user who is refused before the PPK was named is not told of it", "[ikev2][eap][rfc8784-3]") {
  Users u(Proof::EapMschapv2);
  give(u.p.a, Has::Required);
  give(u.p.b, Has::Required);
  SECTION("another password") { u.p.a.password = "other"; }
  SECTION("no connection is for him") { u.p.b.config.connections[0].remote_id = {config::Identity::Type::Fqdn, "another.example"}; }
  u.fails();
  INFO(u.transcript());
  CHECK(failure(u.p.a).reason == Reason::EapRefused);
  CHECK(failure(u.p.a).cause.ppk.empty());
  CHECK(failure(u.p.a).message.find("PPK") == std::string::npos);
  CHECK(failure(u.p.b).cause.ppk.empty());
}

TEST_CASE("IKEv2 EAP: who takes USE_PPK away on the way breaks the negotiation, and not the keys", "[ikev2][eap][rfc8784-6]") {
  Users u(GENERATE(Proof::EapMschapv2, Proof::EapMd5));
  give(u.p.a, Has::Optional);
  give(u.p.b, Has::Optional);
  u.world.hook = without(NotifyType::UsePpk);
  u.fails();
  CHECK(u.p.b.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);  // what was said is signed
}

TEST_CASE("IKEv2 EAP: with a PPK each message may be lost, doubled or late", "[ikev2][eap][rfc8784-3][rfc7296-2.1]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Users u(seed % 2 != 0 ? Proof::EapMschapv2 : seed % 4 != 0 ? Proof::EapMd5 : Proof::EapRadius, seed);
    INFO("seed " << seed);
    u.world.link = {.loss = 0.2, .duplicate = 0.2, .delay_min = 1ms, .delay_max = 60ms};
    give(u.p.a, seed % 3 != 0 ? Has::Optional : Has::Required);
    give(u.p.b, seed % 5 != 0 ? Has::Optional : Has::Required);
    REQUIRE(u.up(240s));
    CHECK(says(u.p.a, kUsed));
    CHECK(says(u.p.b, kUsed));
  }
}

namespace {

/// A user without a PPK configured, whose gateway says of one what it likes, and proves itself by a pre-shared key.
struct Gateway {
  World world;
  Host& a;
  InsiderGateway peer;
  const ikev2::IdR id{ikev2::IdType::Fqdn, to_bytes("b.example")};
  eap::Server server{{Bytes(16, 1), Bytes(16, 2), 7}};
  std::optional<ikev2::Message> said;

  explicit Gateway(Has has) : a(make(world, has)), peer(world, IpAddress::parse("10.9.0.2").value()) {
    a.password = "alicepw";
    give(a, has);
    peer.in_init.notify(NotifyType::UsePpk);
  }
  static Host& make(World& w, Has has) {
    auto config = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
    config::Connection& c = config.connections[0];
    c.version = 2;
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    c.local_auth.auth = Proof::EapMschapv2;
    c.local_auth.eap_id = "alice";
    c.remote_id = {config::Identity::Type::Fqdn, "b.example"};
    if (has != Has::None) c.ppk = {"ours", {config::SecretRef::Kind::File, "/ppk/c"}, has == Has::Required};
    return w.add("A", std::move(config));
  }
  void say(const Bytes& packet, ikev2::Builder b = {}) {
    peer.answer(b.add(ikev2::Eap{packet}));
    said = peer.next();
    REQUIRE(said);
  }
  Bytes packet_of(const eap::Server::Verdict& v) {
    REQUIRE(std::holds_alternative<eap::Reply>(v));
    return std::get<eap::Reply>(v).packet;
  }
  Bytes heard() {
    REQUIRE(said->find<ikev2::Eap>());
    return said->find<ikev2::Eap>()->data;
  }
  /// Up to the user's AUTH. `first`: beside the gateway's first one; `with`: what it is made with.
  void begin(const ikev2::Builder& first = {}, const std::optional<std::string>& with = {}) {
    a.start();
    said = peer.meet();
    REQUIRE(said);
    CHECK_FALSE(said->notify(NotifyType::PpkIdentity));  // it stands beside AUTH, and there is none yet
    ikev2::Builder b;
    b.add(id).add(peer.proof(id, as_bytes("secret"), with));
    for (const auto& p : ikev2::Message::parse(first.first(), first.chain()).value().payloads()) b.add_raw(p.type, p.body);
    say(server.begin(), std::move(b));
    if (said->error()) return;
    REQUIRE(std::holds_alternative<eap::Identified>(server.on_packet(heard())));
    say(server.choose(eap::Method::Mschapv2, "b"));
    REQUIRE(std::holds_alternative<eap::AskUser>(server.on_packet(heard())));
    const eap::Credential known{SecretBytes(as_bytes("alicepw")), crypto::nt_hash(as_bytes("alicepw"))};
    say(packet_of(server.on_user(&known)));
    const auto end = server.on_packet(heard());
    REQUIRE(std::holds_alternative<eap::Proved>(end));
    say(std::get<eap::Proved>(end).packet);
    REQUIRE(said->find<ikev2::Auth>());
  }
  /// Whether the user takes that for the end. There is no CHILD SA in it, which is another matter.
  bool end(bool names, const std::optional<std::string>& with) {
    ikev2::Builder b;
    b.add(peer.proof(id, server.msk().view(), with)).notify(NotifyType::TsUnacceptable);
    if (names) b.notify(NotifyType::PpkIdentity);
    peer.answer(b);
    world.run(1s);
    INFO(a.transcript());
    return std::ranges::any_of(a.engine->ike_sas(), [](const auto& sa) { return sa.state == ike::IkeState::Established; });
  }
};

}  // namespace

TEST_CASE("IKEv2 EAP insider: what a gateway says of a PPK is no way around one", "[ikev2][eap][rfc8784-3]") {
  const Has has = GENERATE(Has::Optional, Has::Required);
  CAPTURE(has == Has::Required);
  Gateway in(has);
  SECTION("as it should be") {
    in.begin();
    REQUIRE(in.said->notify(NotifyType::PpkIdentity));
    CHECK(in.said->notify(NotifyType::PpkIdentity)->data == identity("ours"));
    CHECK((in.said->notify(NotifyType::NoPpkAuth) != nullptr) == (has == Has::Optional));
    CHECK(in.end(true, kKey));
  }
  SECTION("without it, which it may if it may") {
    in.begin();
    CHECK(in.end(false, {}) == (has == Has::Optional));
    if (has == Has::Required) CHECK(failure(in.a).message == "The peer goes on without the PPK \"ours\", which ppk_required asks for.");
  }
  SECTION("its name, and the keys without") {
    in.begin();
    CHECK_FALSE(in.end(true, {}));
  }
  SECTION("its name, and another one") {
    in.begin();
    CHECK_FALSE(in.end(true, "another key"));
  }
  SECTION("the keys of it, and not its name") {
    in.begin();
    CHECK_FALSE(in.end(false, kKey));
  }
  SECTION("its name too soon, and then not: it decides nothing") {
    in.begin(ikev2::Builder().notify(NotifyType::PpkIdentity));
    CHECK(in.end(false, {}) == (has == Has::Optional));
  }
  SECTION("its name too soon, and again") {
    in.begin(ikev2::Builder().notify(NotifyType::PpkIdentity));
    CHECK(in.end(true, kKey));
  }
  SECTION("the first proof by the keys of it: it cannot know which PPK it is") {
    in.begin({}, kKey);
    CHECK(in.said->error());
    CHECK(in.a.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
  }
}

TEST_CASE("IKEv2 EAP insider: a gateway that speaks of a PPK to one who has none", "[ikev2][eap][rfc8784-3]") {
  Gateway in(Has::None);
  in.begin();
  CHECK_FALSE(in.said->notify(NotifyType::PpkIdentity));
  SECTION("and does not mean it") { CHECK(in.end(true, {})); }
  SECTION("and does") { CHECK_FALSE(in.end(true, kKey)); }
}

// IKE_AUTH with EAP whose server is a RADIUS server behind the gateway: users who come in and those who do not, and servers that are bad
// ones.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/radius_world.hpp"
#include "tests/exchange/remote_access.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Proof;
using ike::Exchange;
using radius::Count;

namespace {

using Change = std::function<void(config::GatewayConfig&, config::GatewayConfig&)>;

/// A is the user alice and starts; B is the gateway, which has a certificate and asks RADIUS servers.
struct Scene {
  World world;
  Pair p;
  RadiusWorld radius;
  explicit Scene(std::uint64_t seed = 1, const Change& change = {}, std::size_t servers = 1)
      : world(seed), p(sites(world, change)), radius(world, p.b, servers) {}
  static Pair sites(World& world, const Change& change) {
    Pair out = two_v2(world, [&](auto& a, auto& b) {
      config::Connection& user = a.connections[0];
      user.local_auth.auth = Proof::EapMschapv2;
      user.local_auth.eap_id = "alice";
      user.remote_auth.auth = Proof::Pubkey;
      user.remote_id = {config::Identity::Type::Fqdn, "b.example"};
      config::Connection& c = b.connections[0];
      c.local_auth.auth = Proof::Pubkey;
      c.remote_auth.auth = Proof::EapRadius;
      c.local_id = {config::Identity::Type::Fqdn, "b.example"};
      c.remote_id = {config::Identity::Type::Any, "%any"};
      b.radius.retransmit_tries = 2;
      b.radius.timeout = config::Seconds{8};
      if (change) change(a, b);
    });
    for (const config::Connection& c : out.b.config.connections) out.b.keys[c.name] = ike::AuthMethod::EcdsaP256;
    out.a.secrets.clear();
    out.b.secrets.clear();
    out.a.password = "alicepw";
    return out;
  }
  void start() {
    p.a.start();
    p.b.start();
  }
  bool up(Duration limit = 10s) {
    start();
    return world.run_until([&] { return both_up(p); }, limit);
  }
  void nothing_left() {
    p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
    world.run(200s);
    for (const Host* h : {&p.a, &p.b}) {
      INFO(h->transcript());
      CHECK(h->engine->ike_sas().empty());
      CHECK(h->inbound.empty());
      CHECK(h->outbound.empty());
      CHECK(h->spis.empty());
    }
    CHECK_FALSE(radius.client().deadline());
  }
  [[nodiscard]] ike::Failure failure() const {
    const auto all = p.b.engine->failures("c");
    REQUIRE_FALSE(all.empty());
    return all.front();
  }
};

std::optional<std::vector<Bytes>> reply(const radius::Send& q, const RadiusReply& r) { return std::vector<Bytes>{radius_reply(q.data, r)}; }

}  // namespace

TEST_CASE("IKEv2 RADIUS: a user comes in, whose name the server has confirmed", "[ikev2][eap][radius][rfc3579-2]") {
  Scene s;
  s.radius.grants = {{radius::Type::UserName, to_bytes("alice")}};
  const bool up = s.up();
  INFO(s.p.a.transcript() << s.p.b.transcript());
  REQUIRE(up);
  CHECK(s.p.b.checks == 0);  // nobody is looked up here
  CHECK(s.p.b.engine->ike_sas().at(0).xauth_user == "alice");
  CHECK(s.radius.asked == 3);  // identity, proof, taken
  CHECK(s.radius.count(Count::Challenges) == 2);
  CHECK(s.radius.count(Count::Accepts) == 1);
  REQUIRE(s.radius.questions.size() == 3);
  CHECK(s.radius.questions[0].find(radius::Type::UserName)->value == to_bytes("alice"));
  CHECK(s.radius.questions[0].find(radius::Type::CallingStationId)->value == to_bytes("10.9.0.1[500]"));
  CHECK_FALSE(s.radius.questions[0].find(radius::Type::State));
  CHECK(s.radius.questions[2].find(radius::Type::State)->value == to_bytes("talk 0"));
  s.nothing_left();
}

TEST_CASE("IKEv2 RADIUS: what the server says beside Accept", "[ikev2][eap][radius][rfc2865-5]") {
  SECTION("another name is who he is") {
    Scene s;
    s.radius.grants = {{radius::Type::UserName, to_bytes("alice@example.org")}};
    REQUIRE(s.up());
    CHECK(s.p.b.engine->ike_sas().at(0).xauth_user == "alice@example.org");
  }
  SECTION("... for which the connection must be") {
    Scene s(1, [](auto&, auto& b) { b.connections[0].remote_auth.eap_id = "al*"; });
    s.radius.grants = {{radius::Type::UserName, to_bytes("bob")}};
    CHECK_FALSE(s.up(5s));
    CHECK(s.p.b.counted(Exchange::IkeAuth, Reason::EapUnknownUser) >= 1);
  }
  SECTION("... and which it is, whatever he calls himself outside") {
    Scene s(1, [](auto&, auto& b) { b.connections[0].remote_auth.eap_id = "al*"; });
    s.radius.grants = {{radius::Type::UserName, to_bytes("albert")}};
    REQUIRE(s.up());
    CHECK(s.p.b.engine->ike_sas().at(0).xauth_user == "albert");
  }
  SECTION("he may stay so long, whoever rekeys") {
    Scene s(1, [](auto& a, auto&) { a.connections[0].children[0].start_action = config::StartAction::None; });
    s.radius.grants = {{radius::Type::SessionTimeout, {0, 0, 0, 90}}};
    s.start();
    s.p.a.step([&](ike::Engine& e) { CHECK(e.initiate(s.world.now, "c", "").ok); });
    REQUIRE(s.world.run_until([&] { return both_up(s.p); }, 5s));
    never_anew(s.world);
    const TimePoint since = s.world.now;
    s.world.run(30s);
    s.p.b.step([&](ike::Engine& e) { CHECK(e.rekey(s.world.now, "c", "", true).ok); });
    s.world.run(50s);
    CHECK(both_up(s.p));
    REQUIRE(s.world.run_until([&] { return s.p.b.engine->ike_sas().empty(); }, 20s));
    CHECK(s.world.now - since >= 89s);
    CHECK_FALSE(s.p.b.reports(Reason::Expired).empty());
  }
  SECTION("... unless he proves himself anew before, which he is told to (RFC 4478)") {
    Scene s;
    s.radius.grants = {{radius::Type::UserName, to_bytes("alice")}, {radius::Type::SessionTimeout, {0, 0, 0, 90}}};
    REQUIRE(s.up());
    s.world.begin_traffic();
    s.world.run(600s);
    INFO(s.p.a.transcript() << s.p.b.transcript());
    CHECK(s.world.gaps.empty());
    CHECK(s.p.b.reports(Reason::Expired).empty());
    CHECK(s.p.b.engine->ike_sas().back().xauth_user == "alice");
    CHECK(s.radius.asked >= 3 * 7);
    s.world.end_traffic();
    s.nothing_left();
  }
}

TEST_CASE("IKEv2 RADIUS: the virtual address that the server gives", "[ikev2][eap][radius][rfc2865-5.8]") {
  Scene s(1, [](auto& a, auto& b) {
    serve(b);
    config::Connection& c = b.connections[0];
    c.xauth_server = {};
    c.children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
    c.children[0].remote_dynamic = true;
    a.connections[0].vips = {IpAddress::v4(0)};
    a.connections[0].children[0].local_ts = TrafficSelector::parse("0.0.0.0/0").value();
    a.connections[0].children[0].local_dynamic = true;
  });
  const TrafficSelector& pool = s.p.b.config.pools.at(0).addrs;
  const auto give = [&](const IpAddress& address) {
    s.radius.grants = {{radius::Type::FramedIpAddress, Bytes(address.view().begin(), address.view().end())}};
  };
  const auto virtual_address = [&] { return s.p.b.engine->ike_sas().back().virtual_address; };
  const auto again = [&] {
    s.p.a.step([&](ike::Engine& e) { e.terminate(s.world.now, "c", ""); });
    s.world.run(3s);
    s.p.a.step([&](ike::Engine& e) { e.initiate(s.world.now, "c", ""); });
  };
  give(pool.last);
  REQUIRE(s.up());
  CHECK(virtual_address() == pool.last);
  CHECK(leased(s.p.b) == 1);
  give(pool.last.plus(~std::uint64_t{0}));  // another one next time: the one before
  again();
  REQUIRE(s.world.run_until([&] { return both_up(s.p); }, 10s));
  CHECK(virtual_address()->plus(1) == pool.last);
  CHECK(leased(s.p.b) == 1);
  give(IpAddress::parse("192.0.2.200").value());
  again();
  s.world.run(5s);
  CHECK_FALSE(s.p.b.up());
  CHECK(s.p.b.counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
  const auto all = s.p.b.engine->failures("c");
  CHECK(std::ranges::any_of(all, [](const ike::Failure& f) {
    return f.message.find("the RADIUS server gives him 192.0.2.200, which is in no pool of the connection") != std::string::npos;
  }));
  give(IpAddress::v4(0xfffffffe));  // the gateway is to choose
  again();
  CHECK(s.world.run_until([&] { return both_up(s.p); }, 20s));
}

TEST_CASE("IKEv2 RADIUS: a method without a key is for a connection that names it", "[ikev2][eap][radius]") {
  const bool allowed = GENERATE(true, false);
  Scene s(1, [&](auto& a, auto& b) {
    a.connections[0].local_auth.auth = Proof::EapMd5;
    if (allowed) b.connections[0].allow_weak = {"eap-md5"};
  });
  s.radius.method = eap::Method::Md5;
  CHECK(s.up(5s) == allowed);
  CHECK((s.p.b.counted(Exchange::IkeAuth, Reason::EapMethod) >= 1) == !allowed);
  s.nothing_left();
}

TEST_CASE("IKEv2 RADIUS: who is refused, each with its reason", "[ikev2][eap][radius]") {
  struct Row {
    const char* what;
    std::function<void(Scene&)> wrong;
    Reason reason;
    const char* says;
  };
  const RadiusReply accept{radius::Code::AccessAccept, {{radius::Type::EapMessage, {3, 1, 0, 4}}}};
  const std::vector<Row> rows{
      {"another password", [](Scene& s) { s.p.a.password = "other"; }, Reason::RadiusRejected, "the RADIUS server main rejects him."},
      {"with a word for him",
       [](Scene& s) {
         s.radius.users.clear();
         s.radius.rejection = "closed\x07";
       },
       Reason::RadiusRejected, "rejects him (\"closed\\x07\")"},
      {"silence", [](Scene& s) { s.radius.silent = {0}; }, Reason::RadiusTimeout, "nothing came from main (10.77.0.5:1812)."},
      {"another secret",
       [&](Scene& s) {
         s.radius.mischief = [&, accept](const radius::Send& q, const radius::Packet&) {
           auto r = accept;
           r.secret = "another";
           return reply(q, r);
         };
       },
       Reason::RadiusForged, "was not made with the secret that is configured here"},
      {"an Accept made up by who is between",
       [&](Scene& s) {
         s.radius.mischief = [&, accept](const radius::Send& q, const radius::Packet&) {
           auto r = accept;
           r.with_mac = false;
           return reply(q, r);
         };
       },
       Reason::RadiusForged, "has no Message-Authenticator"},
      {"Accept that says Failure",
       [&](Scene& s) {
         s.radius.mischief = [&](const radius::Send& q, const radius::Packet&) {
           return reply(
               q, {radius::Code::AccessAccept,
                   {{radius::Type::EapMessage, {4, 1, 0, 4}}, mppe_key(17, Bytes(32, 1), q.data), mppe_key(16, Bytes(32, 2), q.data)}});
         };
       },
       Reason::BadPayloads, "its packet of EAP says something else than the server does"},
      {"Challenge that says Success",
       [&](Scene& s) {
         s.radius.mischief = [&](const radius::Send& q, const radius::Packet&) {
           return reply(q, {radius::Code::AccessChallenge, {{radius::Type::EapMessage, {3, 1, 0, 4}}}});
         };
       },
       Reason::BadPayloads, "says something else than the server"},
      {"no EAP at all",
       [&](Scene& s) {
         s.radius.mischief = [&](const radius::Send& q, const radius::Packet&) { return reply(q, {radius::Code::AccessChallenge, {}}); };
       },
       Reason::BadPayloads, "is of no use: it asks for something else than EAP"},
      {"no word of who he is, to a connection that is not for everybody",
       [](Scene& s) { s.p.b.config.connections[0].remote_auth.eap_id = "al*"; }, Reason::EapUnknownUser,
       "the RADIUS server main does not say who he is (no User-Name), and eap_id is al*."},
      {"no connection is for him", [](Scene& s) { s.p.b.config.connections[0].remote_auth.eap_id = "b*"; }, Reason::EapUnknownUser,
       "is of no connection"},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Scene s;
    row.wrong(s);
    s.start();
    s.world.run_until([&] { return s.p.b.counted(Exchange::IkeAuth, row.reason) > 0; }, 30s);
    s.world.run(3s);
    INFO(s.p.a.transcript() << s.p.b.transcript());
    CHECK(s.p.b.counted(Exchange::IkeAuth, row.reason) >= 1);
    CHECK(s.p.a.counted(Exchange::IkeAuth, Reason::EapRefused) >= 1);
    CHECK_FALSE(s.p.b.up());
    const ike::Failure here = s.failure();
    CHECK(here.message.find(row.says) != std::string::npos);
    CHECK(std::holds_alternative<ike::UserEvidence>(here.cause.evidence));
    s.nothing_left();
  }
}

TEST_CASE("IKEv2 RADIUS: forged and late answers do not keep the right one out", "[ikev2][eap][radius][cve-2024-3596][attack-F5]") {
  Scene s;
  Bytes last;
  const auto forged = [](const Bytes& question) {
    RadiusReply r{radius::Code::AccessReject};
    r.secret = "guess";
    return radius_reply(question, r);
  };
  const auto unproven = [](const Bytes& question) {
    RadiusReply r{radius::Code::AccessReject};
    r.with_mac = false;
    return radius_reply(question, r);
  };
  std::size_t n = 0;
  s.radius.mischief = [&](const radius::Send& q, const radius::Packet&) -> std::optional<std::vector<Bytes>> {
    if (n++ % 2 == 1) return std::nullopt;  // each question is answered when it comes again
    std::vector<Bytes> junk{Bytes(7, 1), forged(q.data), unproven(q.data)};
    if (!last.empty()) junk.push_back(last);
    last = forged(q.data);
    return junk;
  };
  CHECK(s.up(30s));
  CHECK(s.radius.count(Count::Forged) >= 3);
  CHECK(s.radius.count(Count::Unproven) == 3);
  CHECK(s.radius.count(Count::Malformed) == 3);
  CHECK(s.radius.count(Count::Retransmissions) == 3);
}

TEST_CASE("IKEv2 RADIUS: the next server when one is silent; a conversation stays where it began", "[ikev2][eap][radius][failover]") {
  SECTION("from the beginning") {
    Scene s(1, {}, 2);
    s.radius.silent = {0};
    CHECK(s.up(20s));
    CHECK(s.radius.count(Count::Accepts, 1) == 1);
    CHECK(s.radius.count(Count::Timeouts, 0) == 1);
  }
  SECTION("in the middle") {
    Scene s(1, {}, 2);
    s.radius.mischief = [&](const radius::Send&, const radius::Packet& q) -> std::optional<std::vector<Bytes>> {
      if (q.find(radius::Type::State)) return std::vector<Bytes>{};
      return std::nullopt;
    };
    s.start();
    s.world.run_until([&] { return s.p.b.counted(Exchange::IkeAuth, Reason::RadiusTimeout) > 0; }, 30s);
    CHECK(s.p.b.counted(Exchange::IkeAuth, Reason::RadiusTimeout) == 1);
    CHECK(s.radius.count(Count::Requests, 1) == 0);
    CHECK_FALSE(s.radius.client().servers(s.world.now)[0].dead);
  }
}

TEST_CASE("IKEv2 RADIUS: a server that comes to no end is ended", "[ikev2][eap][radius]") {
  Scene s;
  std::uint8_t id = 0;
  s.radius.mischief = [&](const radius::Send& q, const radius::Packet&) {
    Bytes eap = eap::encode({eap::Code::Request, ++id, eap::Type::Notification, {'x'}});
    return reply(q, {radius::Code::AccessChallenge, {{radius::Type::EapMessage, eap}, {radius::Type::State, {1}}}});
  };
  s.start();
  s.world.run(30s);
  CHECK_FALSE(s.p.b.up());
  CHECK(s.radius.asked < 300);
  s.nothing_left();
}

TEST_CASE("IKEv2 RADIUS: any one message lost, on the way to the gateway or to the server", "[ikev2][eap][radius][rfc7296-2.1]") {
  const bool to_server = GENERATE(false, true);
  for (std::size_t lost = 0; lost < 14; ++lost) {
    INFO((to_server ? "question " : "message ") << lost);
    Scene s(lost + 1);
    std::size_t count = 0, questions = 0;
    s.world.hook = [&](ike::Datagram&) { return to_server || count++ != lost; };
    s.radius.mischief = [&](const radius::Send&, const radius::Packet&) -> std::optional<std::vector<Bytes>> {
      if (to_server && questions++ == lost) return std::vector<Bytes>{};
      return std::nullopt;
    };
    const bool up = s.up(20s);
    INFO(s.p.a.transcript() << s.p.b.transcript());
    CHECK(up);
    CHECK(s.radius.count(Count::Requests) == 3);
    CHECK(s.radius.count(Count::Accepts) == 1);
    s.nothing_left();
  }
}

TEST_CASE("IKEv2 RADIUS: an answer that comes when the SA is gone, at any moment", "[ikev2][eap][radius]") {
  for (int ms = 0; ms < 160; ms += 4) {
    INFO(ms << " ms");
    Scene s;
    s.radius.delay = 9ms;
    s.start();
    s.world.run(std::chrono::milliseconds(ms));
    s.p.b.step([&](ike::Engine& e) { e.terminate(s.world.now, "c", ""); });
    s.nothing_left();
  }
}

TEST_CASE("IKEv2 RADIUS: guesses are answered late, and at last no server is asked", "[ikev2][eap][radius][attack-E5][attack-F8]") {
  Scene s;
  s.p.a.password = "guess";
  s.start();
  std::size_t known = 0;
  for (int i = 0; i < 60; ++i) {
    s.p.a.step([&](ike::Engine& e) { e.initiate(s.world.now, "c", ""); });
    s.world.run_until([&] { return s.p.a.counted(Exchange::IkeAuth, Reason::EapRefused) > known; }, 60s);
    known = s.p.a.counted(Exchange::IkeAuth, Reason::EapRefused);
    s.p.a.step([&](ike::Engine& e) { e.terminate(s.world.now, "c", ""); });
  }
  CHECK(s.radius.count(Count::Rejects) < 50);
  CHECK(s.p.b.counted(Exchange::IkeAuth, Reason::Limit) >= 1);
}

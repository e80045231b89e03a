// Redirects between engines (RFC 5685): a client A at 10.9.0.1, its gateway B at 10.9.0.2, and another one, C at 10.9.0.3.
//
//   A                                                       B
//   SAi KEi Ni N(REDIRECT_SUPPORTED)                   -->  <--  N(REDIRECT, C, Ni)               redirect_at: init
//   IKE_AUTH                                           -->  <--  IDr AUTH N(REDIRECT, C)          redirect_at: auth;  D --> <--
//   established                                        <--  N(REDIRECT, C)   -->  (empty)         culvert redirect
//                                                           C
//   SAi KEi Ni N(REDIRECT_SUPPORTED) N(REDIRECTED_FROM, B)  -->  and on as ever
#include <catch2/catch.hpp>

#include "control/ikev2/redirect_data.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::NotifyType;
using Follow = config::Redirection::Follow;

namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
config::GatewayName at(const std::string& text) { return config::parse_gateway(text).value(); }
const std::string kB = "10.9.0.2", kC = "10.9.0.3";

struct Three {
  Host &a, &b, &c;
};

/// C is as B is, at another address.
Three three(World& world,
            const std::function<void(config::GatewayConfig& a, config::GatewayConfig& b, config::GatewayConfig& c)>& change = {}) {
  config::GatewayConfig third;
  const Pair p = two_v2(world, [&](auto& a, auto& b) {
    third = b;
    third.connections[0].local_addrs = {ip(kC)};
    third.connections[0].local_id.text = kC;
    if (change) change(a, b, third);
  });
  return {p.a, p.b, world.add("C", std::move(third))};
}

void start(const Three& t) {
  t.c.start();
  t.b.start();
  t.a.start();
}

bool with(const Host& a, const Host& gateway, const std::string& address) {
  const PlaneSa* out = a.current_out("net");
  return out && gateway.up() && out->sa.remote.address == ip(address) && gateway.current_out("net") && a.live_pairs() == 1;
}

std::size_t left_at(const Host& gateway) { return gateway.engine->ike_sas().size() + gateway.inbound.size() + gateway.outbound.size(); }

/// Packets that nothing carries, or that arrive at nothing; but not those behind B, which has nobody to send them to any more.
std::vector<std::string> lost(const World& world) {
  std::vector<std::string> out = world.gaps;
  std::erase_if(out, [](const std::string& gap) { return gap.starts_with("B/") && gap.find("has no outbound SA") != std::string::npos; });
  for (const std::string& gap : out) UNSCOPED_INFO(gap);
  return out;
}

std::string told(const Three& t) { return t.a.transcript() + t.b.transcript() + t.c.transcript(); }

/// The operator of B sends its clients away.
ike::CommandResult send_away(World& world, Host& b, const std::optional<config::GatewayName>& to, bool newcomers = false) {
  ike::CommandResult result;
  b.step([&](ike::Engine& e) { result = e.redirect(world.now, "c", to, {}, newcomers); });
  return result;
}

}  // namespace

TEST_CASE("redirect at once: nothing is kept and nothing is computed at the gateway that sends away", "[ikev2][redirect][rfc5685-3]") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(seed);
    world.record = true;
    const Three t = three(world, [&](auto&, auto& b, auto& c) {
      b.connections[0].redirection = {Follow::Yes, at(kC), true};
      // Whoever comes from there is not sent back.
      if (seed % 2 == 0) c.connections[0].redirection = {Follow::Yes, at(kB), true};
    });
    if (seed > 4) world.link = {.loss = 0.25, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 40ms};
    start(t);
    const bool there = world.run_until([&] { return with(t.a, t.c, kC); }, 120s);
    INFO("seed " << seed << "\n" << told(t));
    REQUIRE(there);
    CHECK(left_at(t.b) == 0);
    CHECK(t.b.key_exchanges == 0);
    CHECK(t.b.sent_bytes <= t.b.received_bytes);
    CHECK(t.a.counted(Exchange::IkeSaInit, Reason::Redirected) >= 1);
    CHECK(t.b.counted(Exchange::IkeSaInit, Reason::Redirected) >= 1);
    if (seed <= 4) {
      CHECK(t.a.engine->failures("c").empty());
      CHECK(t.b.engine->failures("c").empty());
    }
    const auto from = std::ranges::find_if(world.wire, [&](const ike::Datagram& d) {
      const auto framed = ike::parse_header(d.data);
      if (!framed || d.remote.address != ip(kC) || framed->header.exchange != ike::kExchangeSaInit) return false;
      const auto m = ikev2::Message::parse(ikev2::PayloadType{framed->header.next_payload}, framed->body);
      const auto* n = m ? m->notify(NotifyType::RedirectedFrom) : nullptr;
      return n && m->notify(NotifyType::RedirectSupported) && n->data == ikev2::encode_redirect({at(kB)});
    });
    CHECK(from != world.wire.end());
  }
}

TEST_CASE("redirect behind the proofs: the client ends the IKE SA and goes", "[ikev2][redirect][rfc5685-6]") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(seed);
    const Three t = three(world, [&](auto& a, auto& b, auto&) {
      b.connections[0].redirection.to = at(kC);
      if (seed % 3 == 0) a.connections[0].redirection.follow = Follow::Authenticated;
    });
    if (seed > 4) world.link = {.loss = 0.25, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 40ms};
    start(t);
    const bool there = world.run_until([&] { return with(t.a, t.c, kC); }, 120s);
    INFO("seed " << seed << "\n" << told(t));
    REQUIRE(there);
    CHECK(t.b.inbound.empty());
    CHECK(t.b.counted(Exchange::IkeAuth, Reason::Redirected) >= 1);
    CHECK(t.a.counted(Exchange::IkeAuth, Reason::Redirected) >= 1);
    CHECK(world.run_until([&] { return left_at(t.b) == 0; }, 200s));
    CHECK(t.a.spis.size() == t.a.inbound.size());  // the one of the CHILD SA that was not made is free again
    CHECK(t.a.established() == 1);
  }
}

TEST_CASE("redirect of a user, behind EAP", "[ikev2][redirect][eap][rfc5685-6]") {
  World world;
  const Three t = three(world, [](auto& a, auto& b, auto& c) {
    config::Connection& user = a.connections[0];
    user.local_auth.auth = config::Proof::EapMschapv2;
    user.remote_auth.auth = config::Proof::Pubkey;
    user.local_auth.eap_id = "alice";
    user.remote_id = {config::Identity::Type::Fqdn, "gw.example"};
    for (auto* g : {&b, &c}) {
      g->connections[0].remote_auth.auth = config::Proof::EapMschapv2;
      g->connections[0].local_auth.auth = config::Proof::Pubkey;
      g->connections[0].local_id = {config::Identity::Type::Fqdn, "gw.example"};
      g->connections[0].remote_id = {config::Identity::Type::Any, "%any"};
    }
    b.connections[0].redirection.to = at(kC);
  });
  for (Host* h : {&t.b, &t.c}) {
    h->keys["c"] = ike::AuthMethod::EcdsaP256;
    h->users = {{"alice", "alicepw"}};
  }
  t.a.password = "alicepw";
  start(t);
  const bool there = world.run_until([&] { return with(t.a, t.c, kC); }, 60s);
  INFO(told(t));
  CHECK(there);
  CHECK(t.c.engine->ike_sas().front().xauth_user == "alice");
  CHECK(world.run_until([&] { return left_at(t.b) == 0; }, 200s));
}

TEST_CASE("redirect of an established client: all is there before it is gone here, whatever is lost", "[ikev2][redirect][rfc5685-5]") {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    World world(seed);
    const Three t = three(world, [&](auto& a, auto& b, auto& c) {
      a.connections[0].children.push_back(child("more", "10.1.1.0/24", "10.2.1.0/24", "aes128gcm16", config::StartAction::Start));
      for (auto* g : {&b, &c})
        g->connections[0].children.push_back(child("more", "10.2.1.0/24", "10.1.1.0/24", "aes128gcm16", config::StartAction::None));
      // What is rekeyed meanwhile is what moves.
      if (seed % 4 == 0) a.connections[0].rekey_time = b.connections[0].rekey_time = config::Seconds{6};
      if (seed % 4 == 0) a.connections[0].rand_time = b.connections[0].rand_time = config::Seconds{3};
    });
    start(t);
    const auto both = [&](const Host& h) { return h.up() && h.live_pairs("net") == 1 && h.live_pairs("more") == 1; };
    REQUIRE(world.run_until([&] { return both(t.a) && both(t.b); }, 60s));
    world.run(seed % 4 == 0 ? 3s + world.between(0s, 3s) : Duration(1s));
    world.begin_traffic();
    if (seed > 4) world.link = {.loss = 0.2, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 60ms};
    const auto result = send_away(world, t.b, at(kC));
    INFO("seed " << seed << "\n" << result.message);
    REQUIRE(result.ok);
    const auto moved = [&] {
      const PlaneSa *net = t.a.current_out("net"), *more = t.a.current_out("more");
      return both(t.a) && both(t.c) && net && more && net->sa.remote.address == ip(kC) && more->sa.remote.address == ip(kC);
    };
    const bool there = world.run_until(moved, 120s);
    INFO(told(t));
    REQUIRE(there);
    // C could send before A had its answer.
    std::erase_if(world.gaps, [](const std::string& gap) { return gap.starts_with("C/"); });
    world.run(200s);
    CHECK(moved());
    CHECK(lost(world).empty());
    CHECK(left_at(t.b) == 0);
    CHECK(t.a.counted(Exchange::Informational, Reason::Redirected) == 1);
    world.end_traffic();
  }
}

TEST_CASE("redirect to where nobody is: the tunnel stays", "[ikev2][redirect][rfc5685-5]") {
  World world;
  const Three t = three(world);
  start(t);
  REQUIRE(world.run_until([&] { return with(t.a, t.b, kB); }, 30s));
  world.begin_traffic();
  REQUIRE(send_away(world, t.b, at("10.9.0.77")).ok);
  world.run(200s);
  INFO(told(t));
  CHECK(with(t.a, t.b, kB));
  CHECK(lost(world).empty());
  CHECK(failure_of(t.a).starts_with("No answer to IKE_SA_INIT"));
  // And later all the same.
  REQUIRE(send_away(world, t.b, at(kC)).ok);
  CHECK(lost(world).empty());
  CHECK(world.run_until([&] { return with(t.a, t.c, kC); }, 60s));
  world.end_traffic();
}

TEST_CASE("redirect for newcomers, until it is off", "[ikev2][redirect]") {
  World world;
  const Three t = three(world);
  t.b.start();
  t.c.start();
  CHECK_FALSE(send_away(world, t.b, at(kC)).ok);  // nobody is there
  CHECK_FALSE(send_away(world, t.b, at(kB), true).ok);
  REQUIRE(send_away(world, t.b, at(kC), true).ok);
  t.a.start();
  REQUIRE(world.run_until([&] { return with(t.a, t.c, kC); }, 30s));
  REQUIRE(send_away(world, t.b, std::nullopt).ok);
  t.c.step([&](ike::Engine& e) { e.terminate(world.now, "c", {}); });
  CHECK(world.run_until([&] { return with(t.a, t.b, kB); }, 60s));
}

TEST_CASE("redirect of a client that comes back by its ticket", "[ikev2][redirect][resume][rfc5723-4.3]") {
  for (const bool at_once : {false, true}) {
    World world;
    const Three t = three(world, [](auto& a, auto& b, auto& c) {
      for (auto* g : {&a, &b, &c}) g->connections[0].resumption.enabled = true;
      a.connections[0].dpd_delay = config::Seconds{5};
    });
    t.b.tickets = {{7, SecretBytes(Bytes(32, 7))}};
    t.b.lasting = "the secret of B";
    start(t);
    REQUIRE(world.run_until([&] { return with(t.a, t.b, kB); }, 60s));
    t.b.lose_plane();
    t.b.config.connections[0].redirection = {Follow::Yes, at(kC), at_once};
    t.b.restart();
    t.b.key_exchanges = 0;
    const bool there = world.run_until([&] { return with(t.a, t.c, kC); }, 120s);
    INFO("at once: " << at_once << "\n" << told(t));
    REQUIRE(there);
    CHECK(t.b.key_exchanges == 0);
    CHECK(world.run_until([&] { return left_at(t.b) == 0; }, 200s));
    CHECK((t.b.transcript().find("comes back by a ticket") != std::string::npos) == !at_once);
  }
}

TEST_CASE("redirect to a name: it is looked up, and one that is none is a failure with a cause", "[ikev2][redirect][rfc5685-3]") {
  World world;
  bool known = true, at_once = false;
  SECTION("at once") { at_once = true; }
  SECTION("behind the proofs") {}
  SECTION("at once, unknown") { known = false, at_once = true; }
  SECTION("behind the proofs, unknown") { known = false; }
  const Three t = three(world, [&](auto&, auto& b, auto&) { b.connections[0].redirection = {Follow::Yes, at("c.example"), at_once}; });
  if (known) t.a.names["c.example"] = {ip("2001:db8::3"), ip("127.0.0.1"), ip(kC)};  // the first two are of no use here
  start(t);
  const bool there = world.run_until([&] { return with(t.a, t.c, kC); }, 60s);
  INFO(told(t));
  CHECK(there == known);
  CHECK(t.a.reports(Reason::RedirectRefused).empty() == known);
  if (!known) CHECK(failure_of(t.a).find("c.example, and we do not go there: its name cannot be resolved") != std::string::npos);
}

TEST_CASE("redirects in a circle come to an end", "[ikev2][redirect][rfc5685-10]") {
  World world;
  bool at_once = false;
  SECTION("at once") { at_once = true; }
  SECTION("behind the proofs") {}
  const Three t = three(world, [&](auto&, auto& b, auto& c) {
    b.connections[0].redirection = {Follow::Yes, at("c.example"), at_once};  // names: the gateways cannot see it
    c.connections[0].redirection = {Follow::Yes, at("b.example"), at_once};
  });
  t.a.names = {{"b.example", {ip(kB)}}, {"c.example", {ip(kC)}}};
  start(t);
  world.run(250s);
  INFO(told(t));
  CHECK(t.a.reports(Reason::RedirectLoop).size() >= 1);
  const Exchange exchange = at_once ? Exchange::IkeSaInit : Exchange::IkeAuth;
  CHECK(t.b.counted(exchange, Reason::Redirected) + t.c.counted(exchange, Reason::Redirected) <= 20);  // with those of the retries
  CHECK(failure_of(t.a).find("5 times within 300 seconds") != std::string::npos);
  CHECK(t.a.spis.size() == t.a.inbound.size());
}

TEST_CASE("a redirect to the gateway itself is none", "[ikev2][redirect]") {
  World world;
  const Three t = three(world, [&](auto&, auto& b, auto&) { b.connections[0].redirection = {Follow::Yes, at(kB), true}; });
  start(t);
  world.run(30s);
  CHECK(failure_of(t.a).find("it sends us to itself") != std::string::npos);
}

TEST_CASE("who does not follow is served, and is not asked to", "[ikev2][redirect][rfc5685-3]") {
  World world;
  const Three t = three(world, [](auto& a, auto& b, auto&) {
    a.connections[0].redirection.follow = Follow::No;
    b.connections[0].redirection = {Follow::Yes, at(kC), true};
  });
  start(t);
  REQUIRE(world.run_until([&] { return with(t.a, t.b, kB); }, 30s));
  const auto result = send_away(world, t.b, at(kC));
  CHECK_FALSE(result.ok);
  CHECK(result.message == "Nobody was told. 1 client cannot be sent (no RFC 5685), and stays.");
  world.run(60s);
  CHECK(with(t.a, t.b, kB));
}

TEST_CASE("redirect: authenticated does not follow what comes in clear, and says so", "[ikev2][redirect][rfc5685-9]") {
  World world;
  const Three t = three(world, [](auto& a, auto& b, auto&) {
    a.connections[0].redirection.follow = Follow::Authenticated;
    b.connections[0].redirection = {Follow::Yes, at(kC), true};
  });
  start(t);
  world.run(30s);
  INFO(told(t));
  CHECK(left_at(t.c) == 0);
  const auto failures = t.a.engine->failures("c");
  REQUIRE_FALSE(failures.empty());
  CHECK(failures.front().reason == Reason::RedirectRefused);
  CHECK(failures.front().cause.said == "REDIRECT");
  CHECK(failures.front().message.find("before it has proved itself") != std::string::npos);
}

TEST_CASE("a redirect without our nonce is somebody else's", "[ikev2][redirect][rfc5685-3]") {
  World world;
  const Three t = three(world);
  // Whoever does not see the request answers it first.
  unsigned forged = 0;
  world.hook = [&](ike::Datagram& d) {
    const auto framed = ike::parse_header(d.data);
    if (!framed || d.remote.address != ip(kB) || framed->header.exchange != ike::kExchangeSaInit) return true;
    for (const Bytes& nonce : {Bytes{}, Bytes(32, 7)}) {
      ike::Header h = framed->header;
      h.flags = ike::kFlagResponse;
      ikev2::Builder b;
      b.notify(NotifyType::Redirect, ikev2::encode_redirect({at(kC), nonce}));
      h.next_payload = static_cast<std::uint8_t>(b.first());
      world.at(world.now + 1ms,
               [&world, forgery = ike::Datagram{d.local, d.remote, ike::encode_message(h, b.chain())}] { world.deliver(forgery); });
      ++forged;
    }
    return true;
  };
  start(t);
  REQUIRE(world.run_until([&] { return with(t.a, t.b, kB); }, 30s));
  CHECK(forged > 0);
  CHECK(t.a.counted(Exchange::IkeSaInit, Reason::BadNonce) == forged);
  CHECK(left_at(t.c) == 0);
}

TEST_CASE("a name that would answer more than was asked is told behind the proofs", "[ikev2][redirect][amplification]") {
  World world;
  const std::string label(60, 'g'), name = label + "." + label + "." + label + "." + label;
  const Three t = three(world, [&](auto&, auto& b, auto&) { b.connections[0].redirection = {Follow::Yes, at(name), true}; });
  t.a.names[name] = {ip(kC)};
  start(t);
  CHECK(world.run_until([&] { return with(t.a, t.c, kC); }, 30s));
  CHECK(t.b.counted(Exchange::IkeAuth, Reason::Redirected) == 1);
  CHECK(t.b.counted(Exchange::IkeSaInit, Reason::Redirected) == 0);
}

TEST_CASE("a client that was sent away and stays without a word is forgotten", "[ikev2][redirect][insider][rfc5685-6]") {
  World world;
  const Three t = three(world, [](auto&, auto& b, auto&) {
    b.connections[0].remote_addrs.clear();
    b.connections[0].redirection.to = at(kC);
  });
  t.b.start();
  InsiderV2 insider(world, t.b, ip("10.9.0.9"));
  insider.in_init.notify(NotifyType::RedirectSupported);
  const auto mine = TrafficSelector::parse("10.1.0.0/24").value(), theirs = TrafficSelector::parse("10.2.0.0/24").value();
  const auto answer = insider.connect(mine, theirs);
  REQUIRE(answer);
  REQUIRE(answer->notify(NotifyType::Redirect));
  CHECK(answer->notify(NotifyType::Redirect)->data == ikev2::encode_redirect({at(kC)}));
  CHECK(answer->find<ikev2::Sa>() == nullptr);
  CHECK(answer->find<ikev2::Auth>() != nullptr);
  // It asks for a CHILD SA all the same.
  ikev2::Builder redirect;
  redirect.notify(NotifyType::Redirect, ikev2::encode_redirect({at(kC)}));
  CHECK(insider.ask(ike::kExchangeInformationalV2, redirect));
  CHECK(t.b.inbound.empty());
  world.run(200s);
  CHECK(left_at(t.b) == 0);
}

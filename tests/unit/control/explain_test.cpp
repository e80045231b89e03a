// What `culvert explain` makes of the records: causes in order, both sides, and only what is safe as a line of YAML.
#include "control/explain/explain.hpp"

#include <algorithm>

#include "common/config/rounds.hpp"
#include "tests/unit/control/gateway_fixture.hpp"

using namespace culvert;
using namespace culvert::control;
using Catch::Contains;
using Fixture = GatewayFixture;
using ike::Exchange;
using ike::Reason;
using ike::RefusedBy;
using ike::Role;

namespace {

ike::Failure failure(Exchange exchange, Role role, Reason reason, ike::Cause cause) {
  ike::Failure f;
  f.when = f.first = ike::TimePoint{1h} - 5s;
  f.exchange = exchange;
  f.role = role;
  f.reason = reason;
  f.by = cause.by.value_or(ike::usual_refuser(reason));
  f.message = "a sentence.";
  f.peer = Endpoint{IpAddress::parse("10.9.0.2").value(), 500};
  f.cause = std::move(cause);
  return f;
}
ike::Failure refused_proposal(Exchange exchange, std::vector<std::string> usable) {
  ike::Failure f = failure(exchange, Role::Responder, Reason::NoProposalChosen,
                           {.number = 1, .evidence = ike::ProposalEvidence{"offer", "want", "difference", std::move(usable)}});
  if (exchange == Exchange::QuickMode) f.child = "net";
  return f;
}
config::GatewayConfig configured() {
  config::GatewayConfig c = sample();
  c.connections[0].proposals = parse_ike_proposal("aes256-sha256-ecp256").value();
  c.connections[0].children[0].esp_proposals = parse_esp_proposal("aes256gcm16").value();
  config::Connection other = c.connections[0];
  other.name = "site-c";
  other.children.resize(1);
  other.children[0].remote_ts = *TrafficSelector::parse("10.66.0.0/16");
  c.connections.push_back(other);
  return c;
}
explain::Remedy remedy(const ike::Failure& f) {
  const config::GatewayConfig c = configured();
  return explain::remedy(f, &c.connections[0], c);
}
std::string first_cause(const ike::Failure& f) { return std::string(explain::causes(f).front().cause); }

}  // namespace

TEST_CASE("explain: a line of YAML for a proposal, unless it would weaken the connection", "[explain]") {
  using Lines = std::vector<std::string>;
  CHECK(remedy(refused_proposal(Exchange::MainMode, {"aes128-sha256-ecp384"})).yaml ==
        Lines{"proposals: [aes256-sha256-ecp256, aes128-sha256-ecp384]"});
  // The first that is not weak, whatever stands before it.
  CHECK(remedy(refused_proposal(Exchange::MainMode, {"3des-md5-modp1024", "aes128-sha1-modp2048", "aes128-sha512-modp2048"})).yaml ==
        Lines{"proposals: [aes256-sha256-ecp256, aes128-sha512-modp2048]"});
  for (const char* weak : {"aes128-sha256-modp1024", "3des-sha256-modp2048", "des-sha256-modp2048", "aes128-md5-modp2048",
                           "aes128-sha1-modp2048", "aes128-sha256-modp1536", "aes128-sha256-modp2048s256"}) {
    INFO(weak);
    const auto r = remedy(refused_proposal(Exchange::MainMode, {weak}));
    CHECK(r.yaml.empty());
    CHECK_THAT(r.note, Contains("weaker"));
  }
  CHECK(remedy(refused_proposal(Exchange::MainMode, {})).yaml.empty());

  CHECK(remedy(refused_proposal(Exchange::QuickMode, {"aes256-sha256-ecp256"})).yaml ==
        Lines{"children:", "  net: {esp_proposals: [aes256gcm16, aes256-sha256-ecp256], ...}"});
  CHECK(remedy(refused_proposal(Exchange::QuickMode, {"aes256-sha1"})).yaml.empty());
  config::GatewayConfig pfs = configured();
  pfs.connections[0].children[0].esp_proposals = parse_esp_proposal("aes256gcm16-ecp256").value();
  const auto without = explain::remedy(refused_proposal(Exchange::QuickMode, {"aes256gcm16"}), &pfs.connections[0], pfs);
  CHECK(without.yaml.empty());
  CHECK_THAT(without.note, Contains("perfect forward secrecy"));
}

TEST_CASE("explain: a child with AH alone is offered AH, and nothing that does not encrypt goes to one with ESP", "[explain]") {
  config::GatewayConfig c = configured();
  const auto of = [&](std::vector<std::string> usable) {
    return explain::remedy(refused_proposal(Exchange::QuickMode, std::move(usable)), &c.connections[0], c).yaml;
  };
  for (const char* clear : {"aes128gmac", "aes256gmac", "null-sha256", "sha256"}) CHECK(of({clear}).empty());
  c.connections[0].children[0].esp_proposals.clear();
  c.connections[0].children[0].ah_proposals = parse_ah_proposal("sha256").value();
  CHECK(of({"sha512"}) == std::vector<std::string>{"children:", "  net: {ah_proposals: [sha256, sha512], ...}"});
  CHECK(of({"aes256gcm16"}).empty());
}

TEST_CASE("explain: no weak algorithm of the table is ever suggested", "[explain]") {
  for (const auto& e : encr_table())
    for (const auto& p : prf_table())
      for (const auto& d : dh_table()) {
        const IkeSuite suite{e.id, e.key_bits, p.id, d.id};
        if (weak_algorithms(suite).empty()) continue;
        INFO(suite.to_string());
        CHECK(remedy(refused_proposal(Exchange::MainMode, {suite.to_string()})).yaml.empty());
      }
}

TEST_CASE("explain: an identity is suggested only when it is proven and plain, and never any identity", "[explain]") {
  const auto of = [](ike::IdentityEvidence e) {
    return remedy(failure(Exchange::MainMode, Role::Responder, Reason::WrongIdentity, {.number = 5, .evidence = std::move(e)})).yaml;
  };
  CHECK(of({"gw-b.example", "else.example", false, true}) == std::vector<std::string>{"remote: {id: else.example}"});
  CHECK(of({"gw-b.example", "C=CH, O=Else", false, true}) == std::vector<std::string>{"remote: {id: 'C=CH, O=Else'}"});
  CHECK(of({"gw-b.example", "C=CH, O=*", false, true}).empty());
  CHECK(of({"gw-b.example", "C=CH, O='", false, true}).empty());
  CHECK(of({"gw-b.example", "else.example", false, false}).empty());
  CHECK(of({"gw-b.example", "%any", false, true}).empty());
  CHECK(of({"gw-b.example", "x, auth: psk}", false, true}).empty());
  CHECK(of({"gw-b.example", "identity of type 9 (3 bytes) \\x30", false, true}).empty());
  CHECK(of({"", "gw-a.example", true, true}).empty());
}

TEST_CASE("explain: selectors are suggested where they take nobody else's traffic and are not nearly everything", "[explain]") {
  const auto of = [](const char* local, const char* remote) {
    ike::SelectorEvidence e{{"", local, remote}, {{"net", "10.1.0.0/24", "10.2.0.0/24"}}, false};
    return remedy(failure(Exchange::QuickMode, Role::Responder, Reason::SelectorMismatch, {.number = 1, .evidence = std::move(e)}));
  };
  CHECK(of("10.1.0.0/24", "10.77.0.0/24").yaml.size() == 2);
  CHECK_THAT(of("10.1.0.0/24", "10.77.0.0/24").yaml[1], Contains("local_ts: 10.1.0.0/24, remote_ts: 10.77.0.0/24"));
  CHECK_THAT(of("10.1.0.0/24[tcp/443]", "10.77.0.0/24").yaml[1], Contains("{local_ts: '10.1.0.0/24[tcp/443]', remote_ts: 10.77.0.0/24, "));
  CHECK(of("0.0.0.0/0", "10.77.0.0/24").yaml.empty());
  CHECK(of("10.1.0.0/24", "0.0.0.0/0").yaml.empty());
  CHECK(of("10.1.0.0/24", "10.66.3.0/24").yaml.empty());  // site-c's
  CHECK(of("10.1.0.0/24", "").yaml.empty());
  // Lists (RFC 7296 §2.9).
  CHECK_THAT(of("10.1.0.0/24, 2001:db8:1::/48", "10.77.0.0/24[udp/53], 2001:db8:77::/48").yaml.at(1),
             Contains("local_ts: [10.1.0.0/24, '2001:db8:1::/48'], remote_ts: ['10.77.0.0/24[udp/53]', '2001:db8:77::/48'], "));
  CHECK(of("10.1.0.0/24", "10.77.0.0/24, ::/0").yaml.empty());
  CHECK(of("10.1.0.0/24", "10.77.0.0/24, 10.66.3.0/24").yaml.empty());
  CHECK(of("10.1.0.0/24", "10.77.0.0/24, nonsense").yaml.empty());
}

TEST_CASE("explain: an answer with other selectors than were asked for is the peer's fault", "[explain][selectors]") {
  ike::SelectorEvidence e{{"", "10.1.0.0/24", "10.77.0.0/24"}, {{"net", "10.1.0.0/24", "10.77.0.0/24"}}, false, true};
  const ike::Failure f =
      failure(Exchange::CreateChildSa, Role::Initiator, Reason::SelectorMismatch, {.number = 2, .evidence = std::move(e)});
  CHECK(remedy(f).yaml.empty());
  CHECK_THAT(remedy(f).note, Contains("Mend the peer"));
  const auto likely = explain::causes(f);
  REQUIRE_FALSE(likely.empty());
  CHECK(likely[0].cause == "selectors");
  CHECK_THAT(likely[0].text, Contains("other networks than we asked for"));
  CHECK(explain::comparison(f).rows.at(0).at(0) == "we asked for");
}

TEST_CASE("explain: selectors that would give a network of ours away are not suggested", "[explain]") {
  config::GatewayConfig c = configured();
  config::Port lan;
  lan.name = "lan";
  lan.addresses = {Prefix{IpAddress::parse("10.40.0.1").value(), 24}};
  c.ports = {lan};
  config::Pool pool;
  pool.name = "clients";
  pool.addrs = *TrafficSelector::parse("10.50.0.0/24");
  c.pools = {pool};
  const auto of = [&](const char* local, const char* remote) {
    ike::SelectorEvidence e{{"", local, remote}, {{"net", "10.1.0.0/24", "10.2.0.0/24"}}, false};
    return explain::remedy(failure(Exchange::QuickMode, Role::Responder, Reason::SelectorMismatch, {.number = 1, .evidence = std::move(e)}),
                           &c.connections[0], c);
  };
  CHECK(of("10.1.0.0/24", "10.77.0.0/24").yaml.size() == 2);
  const auto swapped = of("10.2.0.0/24", "10.1.0.0/24");
  CHECK(swapped.yaml.empty());
  CHECK_THAT(swapped.note, Contains("the wrong way round: 10.1.0.0/24 is behind us"));
  for (const auto& [remote, whose] : std::vector<std::pair<const char*, const char*>>{{"10.1.0.128/25", "the local_ts of site-b/net"},
                                                                                      {"10.40.0.0/16", "the network of the port lan"},
                                                                                      {"10.50.0.7", "the pool clients"},
                                                                                      {"192.0.2.5", "the policy mgmt"}}) {
    const auto r = of("10.9.9.0/24", remote);
    CHECK(r.yaml.empty());
    CHECK_THAT(r.note, Contains(std::string(remote) + " overlaps " + whose));
  }
  c.ports[0].addresses = {Prefix{IpAddress::parse("10.9.0.1").value(), 24}};
  CHECK(of("10.1.0.0/24", "10.9.0.2").yaml.size() == 2);  // the peer itself, on the link
}

TEST_CASE("explain: the likeliest cause first", "[explain]") {
  using Problem = ike::SecretEvidence::Problem;
  const auto timeout = [](Role role, unsigned number) { return failure(Exchange::MainMode, role, Reason::Timeout, {.number = number}); };
  CHECK(first_cause(timeout(Role::Initiator, 1)) == "unreachable");
  CHECK(first_cause(failure(Exchange::ModeConfig, Role::Initiator, Reason::Timeout, {})) == "pool");
  CHECK(first_cause(failure(Exchange::ModeConfig, Role::Responder, Reason::Timeout, {})) == "silence");
  CHECK(first_cause(timeout(Role::Initiator, 3)) == "silence");
  CHECK(first_cause(timeout(Role::Responder, 3)) == "one_way");
  CHECK(first_cause(failure(Exchange::MainMode, Role::Responder, Reason::Timeout, {.number = 5, .on_4500 = true})) == "port_4500");
  ike::Failure silent = failure(Exchange::MainMode, Role::Initiator, Reason::AuthFailed,
                                {.number = 5, .evidence = ike::SecretEvidence{Problem::Unanswered, {}}});
  CHECK(first_cause(silent) == "secret");
  silent.peer->port = 4500;
  CHECK(first_cause(silent) == "port_4500");
  CHECK(first_cause(failure(Exchange::MainMode, Role::Initiator, Reason::OtherVersion, {})) == "ike_version");
  CHECK(first_cause(failure(Exchange::QuickMode, Role::Responder, Reason::NoProposalChosen, {})) == "phase2_proposal");
  const ike::Failure theirs =
      failure(Exchange::MainMode, Role::Initiator, Reason::PeerNoProposal, {.evidence = ike::ProposalEvidence{"a", "", "", {}}});
  CHECK(explain::causes(theirs).size() == 2);
  CHECK(explain::causes(theirs)[1].cause == "no_peer_connection");
}

TEST_CASE("explain: with signatures it is a certificate that the peer does not accept", "[explain]") {
  const auto refused = failure(Exchange::MainMode, Role::Initiator, Reason::AuthFailed,
                               {.number = 5, .said = "AUTHENTICATION-FAILED", .said_proven = true, .by = RefusedBy::Peer});
  CHECK(first_cause(refused) == "own_certificate");
  const auto walkout = failure(Exchange::MainMode, Role::Responder, Reason::DeletedByPeer,
                               {.number = 6, .evidence = ike::IdentityEvidence{"", "gw-a.example", true, false}});
  const auto refused_as = [](bool proven, bool user) {
    return first_cause(failure(Exchange::MainMode, Role::Initiator, Reason::PeerRefused,
                               {.number = 5, .evidence = ike::IdentityEvidence{"", "gw-a.example", true, proven, user}}));
  };
  CHECK(refused_as(true, false) == "own_identity");
  CHECK(refused_as(true, true) == "user_method");
  CHECK(refused_as(false, true) == "user_method");  // hybrid: there is nothing else that we have said
  CHECK(first_cause(walkout) == "own_certificate");
  CHECK(explain::causes(walkout)[1].cause == "own_identity");
  const auto revoked = failure(Exchange::MainMode, Role::Responder, Reason::CertRevoked,
                               {.number = 5, .evidence = ike::CertificateEvidence{"CN=x", "it is revoked."}});
  CHECK(explain::causes(revoked).front().text == "The certificate of CN=x: it is revoked.");
  CHECK(remedy(revoked).yaml.empty());
}

TEST_CASE("explain: Aggressive Mode is never suggested, Main Mode is", "[explain]") {
  const auto of = [](Exchange theirs) { return remedy(failure(theirs, Role::Responder, Reason::OtherMode, {.number = 1})); };
  CHECK(of(Exchange::AggressiveMode).yaml.empty());
  CHECK(of(Exchange::MainMode).yaml == std::vector<std::string>{"aggressive: false"});
  // Where we begin, it is the other mode that the peer wants.
  const auto ours = [](Exchange mode) {
    return remedy(failure(mode, Role::Initiator, Reason::PeerRefused, {.number = 1, .said = "INVALID-EXCHANGE-TYPE"}));
  };
  CHECK(ours(Exchange::AggressiveMode).yaml == std::vector<std::string>{"aggressive: false"});
  CHECK(ours(Exchange::MainMode).yaml.empty());
  CHECK_THAT(ours(Exchange::MainMode).note, Contains("have the peer use Main Mode"));
}

TEST_CASE("explain: of several proofs the section that a line is for is that of the round", "[explain][rfc4739]") {
  config::GatewayConfig all;
  config::Connection c;
  c.name = "c";
  c.version = 2;
  config::RemoteSide second;
  second.auth.place.section = "remote-user";
  c.more_remote = {second};
  config::arrange_rounds(c);
  for (const std::size_t round : {0U, 1U}) {
    const auto f = failure(Exchange::IkeAuth, Role::Responder, Reason::WrongIdentity,
                           {.number = 3, .evidence = ike::IdentityEvidence{"a", "b", false, true}, .round = round});
    CHECK(explain::remedy(f, &c, all).yaml == std::vector<std::string>{round == 0 ? "remote: {id: b}" : "remote-user: {id: b}"});
  }
  const auto fewer = failure(Exchange::IkeAuth, Role::Responder, Reason::AuthRounds, {.number = 3});
  CHECK(explain::causes(fewer).front().cause == "auth_rounds");
  CHECK_THAT(explain::remedy(fewer, &c, all).note, Contains("remote-SUFFIX"));
  const auto refused = failure(Exchange::IkeAuth, Role::Initiator, Reason::AuthFailed, {.number = 3, .more_proofs = true});
  CHECK(explain::causes(refused).back().cause == "auth_rounds");
}

TEST_CASE("explain: every reason has a cause of the table", "[explain]") {
  const auto known = explain::all_causes();
  for (std::size_t r = 0; r < static_cast<std::size_t>(Reason::Count_); ++r)
    for (std::size_t e = 0; e < static_cast<std::size_t>(Exchange::Count_); ++e) {
      const auto found = explain::causes(failure(static_cast<Exchange>(e), Role::Initiator, static_cast<Reason>(r), {}));
      REQUIRE_FALSE(found.empty());
      CHECK(std::ranges::find(known, found.front().cause) != known.end());
      CHECK_FALSE(found.front().text.empty());
    }
}

TEST_CASE_METHOD(Fixture, "explain: a connection that failed, one that waits, and strangers", "[explain][cli]") {
  attach();
  const auto ask_for = [this](const std::string& args) {
    return ask(R"({"command":"explain","args":{)" + args + "}}").at("result").as_object();
  };
  ike::Failure f = failure(Exchange::MainMode, Role::Responder, Reason::WrongIdentity,
                           {.number = 5, .evidence = ike::IdentityEvidence{"gw-b.example", "else.example", false, true}});
  f.count = 7;
  f.first = now - 60s;
  test::engine().failures["site-b"] = {f};
  test::engine().strangers = {failure(Exchange::MainMode, Role::Responder, Reason::NoConnection,
                                      {.number = 1, .evidence = ike::AddressEvidence{"10.9.0.1", "10.9.0.2", ""}})};
  ike::ConnectionStatus status{
      "site-b", false, std::nullopt, {{"net", false, std::nullopt, true, false, now + 30s}, {"voice", false, std::nullopt}}};
  test::engine().connections = {status};

  const auto one = ask_for(R"("connection":"site-b")");
  CHECK(one.at("strangers").as_array().empty());
  const auto& c = one.at("connections").as_array().at(0).as_object();
  CHECK(c.at("state") == "down");
  CHECK(c.at("children").as_array().at(0).at("waits_for") == "retry");
  CHECK(c.at("children").as_array().at(0).at("waits_s").to_number<double>() == Approx(30));
  CHECK(c.at("children").as_array().at(1).at("waits_for") == "peer");
  const auto& shown = c.at("failures").as_array().at(0).as_object();
  CHECK(shown.at("causes").as_array().at(0).at("cause") == "peer_identity");
  CHECK(shown.at("evidence").at("kind") == "identity");
  CHECK(shown.at("evidence").at("received") == "else.example");
  CHECK(shown.at("by") == "us");
  CHECK(shown.at("count").to_number<int>() == 7);
  CHECK(shown.at("first_age_s").to_number<double>() == Approx(60));
  CHECK(shown.at("message_number").to_number<int>() == 5);
  CHECK(shown.at("yaml").as_array().at(0) == "remote: {id: else.example}");

  CHECK(ask_for("").at("connections").as_array().empty());
  CHECK(ask_for("").at("strangers").as_array().size() == 1);
  CHECK(ask_for(R"("peer":"10.9.0.2")").at("connections").as_array().size() == 1);
  CHECK(ask_for(R"("peer":"10.9.0.2")").at("strangers").as_array().size() == 1);
  CHECK(ask_for(R"("peer":"10.9.0.9")").at("connections").as_array().empty());
  CHECK(ask_for(R"("peer":"10.9.0.9")").at("strangers").as_array().empty());
  CHECK(ask(R"({"command":"explain","args":{"peer":"nonsense"}})").at("error").at("code") == "bad_request");
  CHECK(ask(R"({"command":"explain","args":{"connection":"site-x"}})").at("error").at("code") == "unknown");
}

TEST_CASE_METHOD(Fixture, "explain: a pair by which packets go out for a minute and none comes in", "[explain][cli]") {
  now = std::chrono::steady_clock::now();  // as the data plane's
  attach();
  ike::ChildSaInfo pair;
  pair.pair = 1;
  pair.child = "net";
  pair.state = ike::ChildState::Installed;
  pair.spi_in = bring_up(1);
  pair.spi_out = Spi{0xdddd};
  pair.established = now - 90s;
  test::engine().lone = {{"site-b", {pair}}};
  test::engine().connections = {{"site-b", true, std::nullopt, {{"net", true, std::nullopt}, {"voice", false, std::nullopt}}}};
  const auto silent = [this] {
    const auto reply = ask(R"({"command":"explain","args":{"connection":"site-b"}})").at("result").as_object();
    return reply.at("connections").as_array().at(0).at("children").as_array().at(0).at("nothing_in_for_s");
  };
  CHECK(silent().is_null());  // no traffic at all
  dp->count_traffic(Direction::Outbound, pair.spi_out, 1, 84);
  CHECK(silent().to_number<double>() == Approx(90).margin(1));
  test::engine().lone[0].children[0].established = now - 30s;
  CHECK(silent().is_null());
  test::engine().lone[0].children[0].established = now - 90s;
  dp->count_traffic(Direction::Inbound, pair.spi_in, 1, 84);
  CHECK(silent().is_null());
}

TEST_CASE_METHOD(Fixture, "explain: without a data plane everything waits for it", "[explain][cli]") {
  const auto reply = ask(R"({"command":"explain","args":{"connection":"site-b"}})").at("result").as_object();
  CHECK_FALSE(reply.at("dataplane").at("connected").as_bool());
  CHECK(reply.at("connections").as_array().at(0).at("children").as_array().at(0).at("waits_for") == "data_plane");
}

TEST_CASE_METHOD(Fixture, "explain: each reason that a record can have is a label of the metrics, of the same name", "[explain][metrics]") {
  test::engine().failure_counts[static_cast<std::size_t>(Reason::DeletedByPeer)] = 3;
  const std::string text = metrics();
  for (std::size_t r = 1; r < static_cast<std::size_t>(Reason::Count_); ++r) {
    const auto reason = static_cast<Reason>(r);
    CHECK(has(text, "culvert_failures_total{reason=\"" + std::string(ike::name(reason)) + "\"} " +
                        (reason == Reason::DeletedByPeer ? "3" : "0")));
  }
}

TEST_CASE_METHOD(Fixture, "debug: a connection or an address, for a time, listed, and ended", "[watch][cli]") {
  const auto result = [this](const std::string& args) {
    return ask(R"({"command":"debug","args":{)" + args + "}}").at("result").as_object();
  };
  CHECK(result("").at("watches").as_array().empty());
  CHECK(result(R"("target":"site-b","for_s":60)").at("watches").as_array().at(0).at("for_s").to_number<double>() == Approx(60));
  CHECK(result(R"("target":"10.9.0.2")").at("watches").as_array().at(1).at("peer") == "10.9.0.2");
  CHECK(result(R"("target":"site-b","off":true)").at("watches").as_array().size() == 1);
  now += 601s;
  CHECK(result("").at("watches").as_array().empty());
  CHECK(ask(R"({"command":"debug","args":{"target":"site-x"}})").at("error").at("code") == "unknown");
  CHECK(ask(R"({"command":"debug","args":{"target":"site-b","for_s":1e9}})").at("error").at("code") == "bad_request");
  CHECK(ask(R"({"command":"debug","args":{"off":true}})").at("error").at("code") == "bad_request");
}

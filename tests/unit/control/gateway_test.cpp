// The gateway: installs and removals, orphans, lost links, what the metrics show.
#include <algorithm>

#include "tests/unit/control/gateway_fixture.hpp"

using namespace culvert;
using namespace culvert::control;
using Fixture = GatewayFixture;

TEST_CASE_METHOD(Fixture, "attaching installs the SPD in the order of the file and starts the engine", "[gateway]") {
  dp->policies[9].policy = PolicyId{9};  // of a culvertd before us
  attach();
  REQUIRE(dp->policies.size() == 3);
  CHECK(dp->complete_with == 3);  // forwarding may begin with these, not with fewer or with another's
  CHECK(dp->policies[1].name.view() == "site-b/net");
  CHECK(dp->policies[1].action == shm::PolicyAction::Protect);
  CHECK(dp->policies[1].acquire);
  CHECK_FALSE(dp->policies[2].acquire);
  CHECK(dp->policies[3].action == shm::PolicyAction::Bypass);
  CHECK(test::engine().count("start") == 1);
}

TEST_CASE_METHOD(Fixture, "where all else is let through, addresses of pools are not: their clients may be away", "[gateway][attack-I5]") {
  config::Pool pool;
  pool.name = "clients";
  pool.addrs = *TrafficSelector::parse("10.3.0.1-10.3.0.99");
  config.pools = {pool};
  const bool bypass = GENERATE(false, true);
  config.default_policy = bypass ? config::PolicyAction::Bypass : config::PolicyAction::Discard;
  restart();
  attach();
  REQUIRE(dp->policies.size() == (bypass ? 4 : 3));
  if (!bypass) return;
  const auto& last = dp->policies[4];
  CHECK(last.action == shm::PolicyAction::Discard);
  CHECK(last.name.view() == "pool clients");
  CHECK(last.remote_ts == pool.addrs);
  CHECK(last.local_ts.prefix() == Prefix{IpAddress::v4(0), 0});
  CHECK(last.priority > config::kLowestPriority);  // whatever a child or an entry of `policies` says comes first
}

TEST_CASE_METHOD(Fixture, "an SA goes to the data plane and its ack to the engine", "[gateway]") {
  attach();
  const Spi in = bring_up(1);
  REQUIRE(test::engine().installed.size() == 2);
  CHECK(test::engine().installed[0].ok);
  CHECK(dp->installed(Direction::Inbound) == 1);
  CHECK(dp->installed(Direction::Outbound) == 1);
  test::engine().actions = {ike::RemoveSa{1, Direction::Inbound, in}, ike::RemoveSa{1, Direction::Outbound, Spi{0xdddd}}};
  test::engine().services->release_spi(in);
  gateway->on_timer(now);
  settle();
  CHECK(dp->installed(Direction::Inbound) == 0);
  CHECK(gateway->store().used(Direction::Inbound) == 0);
  CHECK(gateway->store().used(Direction::Outbound) == 0);
}

TEST_CASE_METHOD(Fixture, "a refused install says why, and nothing is left of it", "[gateway]") {
  attach();
  dp->refuse[shm::MessageType::InstallSa] = shm::AckResult::Unsupported;
  bring_up(1);
  REQUIRE(test::engine().installed.size() == 2);
  CHECK_FALSE(test::engine().installed[0].ok);
  CHECK(test::engine().installed[0].error == "it does not support these algorithms or addresses");
  CHECK(gateway->store().used(Direction::Outbound) == 0);
  CHECK(has(metrics(), "culvert_sa_installs_refused_total 2"));
}

TEST_CASE_METHOD(Fixture, "a refused removal names the SA", "[gateway]") {
  attach();
  bring_up(1);
  dp->refuse[shm::MessageType::RemoveSa] = shm::AckResult::BadMessage;
  test::engine().actions = {ike::RemoveSa{1, Direction::Outbound, Spi{0xdddd}}};
  gateway->on_timer(now);
  settle();
  CHECK(journal.since(0).back().message ==
        "the data plane did not remove the outbound SA 0000dddd of site-b/net: a value in the command is out of its bounds");
}

TEST_CASE_METHOD(Fixture, "an install without a data plane, or of an unknown child, fails at once", "[gateway]") {
  test::engine().actions = {install(5, Direction::Outbound, Spi{1000}, 1)};
  gateway->on_timer(now);
  REQUIRE(test::engine().installed.size() == 1);
  CHECK_THAT(test::engine().installed[0].error, Catch::Contains("no data plane"));
  attach();
  auto other = install(6, Direction::Outbound, Spi{1000}, 1);
  other.child = "gone";
  test::engine().actions = {std::move(other)};
  gateway->on_timer(now);
  CHECK_FALSE(test::engine().installed.back().ok);
}

TEST_CASE_METHOD(Fixture, "an install that is acked too late is taken back", "[gateway]") {
  attach();
  test::engine().actions = {install(5, Direction::Outbound, Spi{1000}, 1)};
  gateway->on_timer(now);
  now += 6s;
  gateway->on_second(now);
  REQUIRE(test::engine().installed.size() == 1);
  CHECK_FALSE(test::engine().installed[0].ok);
  settle();
  CHECK(test::engine().installed.size() == 1);
  CHECK(dp->installed(Direction::Outbound) == 0);
  CHECK(gateway->store().used(Direction::Outbound) == 0);
}

TEST_CASE_METHOD(Fixture, "a new culvertd adopts what it knows and removes what it does not", "[gateway]") {
  attach();
  const Spi in = bring_up(1);
  auto stranger = shm::InstallSa{};
  stranger.direction = Direction::Outbound;
  stranger.slot = 40;
  stranger.spi = Spi{4242};
  stranger.policy = PolicyId{1};
  stranger.name = shm::Name("site-x/net");
  dp->drop_client();
  restart();
  // The child's policy number is another one now: its SA may not stay.
  SECTION("same configuration") {
    attach();
    REQUIRE(test::engine().orphans.size() == 2);
    CHECK(test::engine().orphans[0].spi == in);
    CHECK(test::engine().orphans[0].connection == "site-b");
    CHECK(dp->installed(Direction::Inbound) == 1);
    const auto sas = ask(R"({"command":"list-sas"})");
    CHECK(sas.at("result").at("orphans").as_array().size() == 2);
    // What the engine shows of them is completed from the records, and not shown again.
    ike::ChildSaInfo pair;
    pair.pair = 1;
    pair.child = "net";
    pair.state = ike::ChildState::Installed;
    pair.adopted = true;
    pair.spi_in = in;
    pair.spi_out = Spi{0xdddd};
    test::engine().lone = {{"site-b", {pair}}};
    now = ike::TimePoint(std::chrono::steady_clock::now()) + 90s;
    const auto again = ask(R"({"command":"list-sas"})").at("result").as_object();
    CHECK(again.at("orphans").as_array().empty());
    const auto& adopted = again.at("pairs_without_ike_sa").as_array().at(0).at("children").as_array().at(0).as_object();
    CHECK(adopted.at("suite") == "aes128gcm16");
    CHECK(adopted.at("role").is_null());
    CHECK(adopted.at("age_s").to_number<double>() == Approx(90).margin(5));
    test::engine().actions = {ike::RemoveSa{1, Direction::Inbound, in}, ike::RemoveSa{1, Direction::Outbound, Spi{0xdddd}}};
    gateway->on_timer(now);
    settle();
    CHECK(dp->installed(Direction::Inbound) == 0);
    CHECK(gateway->store().used(Direction::Inbound) == 0);
  }
  SECTION("children in another order") {
    std::swap(config.connections[0].children[0], config.connections[0].children[1]);
    restart();
    attach();
    CHECK(test::engine().orphans.empty());
    CHECK(dp->installed(Direction::Inbound) == 0);
    CHECK(dp->installed(Direction::Outbound) == 0);
    const auto removed = std::ranges::find(dp->executed, shm::MessageType::RemoveSa);
    CHECK(removed != dp->executed.end());
    CHECK(metrics().find(R"(connection="",child="")") == std::string::npos);  // what it carried is nobody's
  }
}

TEST_CASE_METHOD(Fixture, "the same data plane again: SAs stay, and what went wrong meanwhile is put right", "[gateway]") {
  attach();
  const Spi in = bring_up(1);
  dp->silent = true;
  const Spi late = *test::engine().services->allocate_spi();
  test::engine().actions = {install(77, Direction::Inbound, late, 2)};
  gateway->on_timer(now);
  dp->pump();  // executed, but the answer never comes
  gateway->detached(now, "test");
  CHECK_FALSE(test::engine().installed.back().ok);
  dp->silent = false;
  attach();
  CHECK(test::engine().count("on_dataplane_lost") == 0);
  CHECK(test::engine().count("start") == 1);
  CHECK(gateway->record(Direction::Inbound, in, 1) != nullptr);
  CHECK(dp->installed(Direction::Inbound) == 1);
  test::engine().services->release_spi(late);
  gateway->on_timer(now);
  CHECK(gateway->store().used(Direction::Inbound) == 1);
}

TEST_CASE_METHOD(Fixture, "another data plane: the engine is told that all is gone", "[gateway]") {
  attach();
  const Spi in = bring_up(1);
  gateway->detached(now, "test");
  CHECK(gateway->record(Direction::Inbound, in, 1) == nullptr);
  dp = std::make_unique<test::FakeDataplane>(32U);
  attach();
  CHECK(test::engine().count("on_dataplane_lost") == 1);
  CHECK(dp->policies.size() == 3);
  CHECK(gateway->store().capacity() == 32);
  CHECK(gateway->store().used(Direction::Outbound) == 0);
}

TEST_CASE_METHOD(Fixture, "acquires, expiries and traffic are translated for the engine", "[gateway]") {
  attach();
  const Spi in = bring_up(3);
  shm::Acquire acquire;
  acquire.policy = PolicyId{2};
  dp->event(shm::Message::of(acquire));
  acquire.policy = PolicyId{99};
  dp->event(shm::Message::of(acquire));
  shm::Expire expire;
  expire.direction = Direction::Outbound;
  expire.slot = gateway->store().find(Direction::Outbound, Spi{0xdddd}, 3)->slot;
  expire.spi = Spi{0xdddd};
  dp->event(shm::Message::of(expire));
  expire.spi = Spi{1};  // another SA's
  dp->event(shm::Message::of(expire));
  REQUIRE(gateway->drain(now));
  CHECK(test::engine().count("on_acquire site-b/voice") == 1);
  REQUIRE(test::engine().expired.size() == 1);
  CHECK(test::engine().expired[0].pair == 3);
  CHECK_FALSE(test::engine().expired[0].hard);
  shm::Moved moved{gateway->store().find(Direction::Inbound, in, 3)->slot, in, {IpAddress::v4(0x0a0900fe), 20001}};
  dp->event(shm::Message::of(moved));
  moved.spi = Spi{1};  // another SA's
  dp->event(shm::Message::of(moved));
  REQUIRE(gateway->drain(now));
  REQUIRE(test::engine().moved.size() == 1);
  CHECK(test::engine().moved[0].inbound == in);
  CHECK(test::engine().moved[0].remote.to_string() == "10.9.0.254:20001");
  dp->count_traffic(Direction::Inbound, in, 10, 1000);
  gateway->on_second(now);
  gateway->on_second(now);
  CHECK(test::engine().traffic == std::vector<Spi>{in});
}

TEST_CASE_METHOD(Fixture, "traffic sums survive a rekey and never go backwards", "[gateway][metrics]") {
  attach();
  const Spi first = bring_up(1);
  dp->count_traffic(Direction::Inbound, first, 10, 1000);
  CHECK(has(metrics(), R"(culvert_child_packets_total{connection="site-b",child="net",direction="in"} 10)"));
  const Spi second = bring_up(2);
  dp->count_traffic(Direction::Inbound, first, 1, 100);
  dp->count_traffic(Direction::Inbound, second, 5, 500);
  test::engine().actions = {ike::RemoveSa{1, Direction::Inbound, first}};
  gateway->on_timer(now);
  settle();
  CHECK(has(metrics(), R"(culvert_child_packets_total{connection="site-b",child="net",direction="in"} 16)"));
  CHECK(has(metrics(), R"(culvert_child_bytes_total{connection="site-b",child="net",direction="in"} 1600)"));
  gateway->detached(now, "test");
  CHECK(has(metrics(), R"(culvert_child_packets_total{connection="site-b",child="net",direction="in"} 16)"));
}

TEST_CASE_METHOD(Fixture, "what an SA dropped, and what its sequence numbers tell of the path, is summed by child", "[gateway][metrics]") {
  attach();
  const Spi first = bring_up(1), second = bring_up(2);
  const auto expect = [&](const char* kind, int n) {
    return has(metrics(), "culvert_child_sequence_gaps_total{connection=\"site-b\",child=\"net\",kind=\"" + std::string(kind) + "\"} " +
                              std::to_string(n));
  };
  CHECK(expect("lost", 0));
  const auto arrive = [&](Spi spi, std::uint64_t packets, std::uint64_t refused, std::uint64_t top) {
    shm::SaCounters& c = *dp->counters(Direction::Inbound, spi);
    c.packets.add(packets);
    c.refused.add(refused);
    c.sequence.publish(top);
  };
  arrive(first, 10, 2, 15);
  arrive(second, 100, 0, 101);
  dp->counters(Direction::Inbound, first)->reordered.add(3);
  dp->counters(Direction::Inbound, second)->drop(Direction::Inbound, Drop::EspReplay);
  CHECK(expect("lost", 3 + 1));
  CHECK(expect("reordered", 3));
  CHECK(expect("duplicated", 1));
  arrive(first, 1, 0, 15);  // it was late, not lost: what was said is not taken back
  CHECK(expect("lost", 4));
  dp->counters(Direction::Inbound, first)->drop(Direction::Inbound, Drop::EspSelector);
  dp->counters(Direction::Inbound, first)->drop(Direction::Inbound, Drop::RxMartian);
  dp->counters(Direction::Outbound, Spi{0xdddd})->drop_shared(Direction::Outbound, Drop::TooBig);
  const std::string of = R"(culvert_child_errors_total{connection="site-b",child="net",)";
  CHECK(has(metrics(), of + R"(direction="in",reason="esp_selector"} 1)"));
  CHECK(has(metrics(), of + R"(direction="in",reason="other"} 1)"));
  CHECK(has(metrics(), of + R"(direction="out",reason="too_big"} 1)"));
}

TEST_CASE_METHOD(Fixture, "configured connections and children are in the metrics whatever happens; reports are counted",
                 "[gateway][metrics]") {
  auto text = metrics();
  CHECK(has(text, R"(culvert_connection_up{connection="site-b"} 0)"));
  CHECK(has(text, R"(culvert_connection_info{connection="site-b",version="1"} 1)"));
  CHECK(has(text, R"(culvert_ike_exchanges_total{exchange="ike_sa_init",role="responder",result="ok",reason="ok"} 0)"));
  CHECK(has(text, R"(culvert_child_up{connection="site-b",child="voice"} 0)"));
  CHECK(has(text, "culvert_dataplane_connected 0"));
  attach();
  test::engine().connections = {{"site-b", true, std::nullopt, {{"net", true, std::nullopt}}}};
  ike::Report r;
  r.exchange = ike::Exchange::MainMode;
  r.role = ike::Role::Initiator;
  r.reason = ike::Reason::PeerNoProposal;
  r.count = true;
  r.message = "refused";
  test::engine().actions = {r};
  gateway->on_timer(now);
  text = metrics();
  CHECK(has(text, R"(culvert_connection_up{connection="site-b"} 1)"));
  CHECK(has(text, R"(culvert_child_up{connection="site-b",child="net"} 1)"));
  CHECK(has(text, R"(culvert_ike_exchanges_total{exchange="main_mode",role="initiator",result="failed",reason="peer_no_proposal"} 1)"));
  CHECK(has(text, R"(culvert_port_up{port="port0"} 0)"));
  CHECK(has(text, R"(culvert_ring_capacity_slots{ring="command"} 1024)"));
  gateway->detached(now, "test");
  CHECK(has(metrics(), R"(culvert_connection_up{connection="site-b"} 0)"));  // nothing carries it
}

TEST_CASE_METHOD(Fixture, "an authority is one series, however many connections trust it", "[gateway][metrics][certificates]") {
  config.connections.assign(500, config.connections.front());
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    config::Connection& c = config.connections[i];
    c.name = "c" + std::to_string(i);
    c.local_auth.auth = c.remote_auth.auth = config::Proof::Pubkey;
    inventory.certificates.push_back({.connection = c.name, .role = "own", .subject = "CN=gw", .serial = "01"});
    inventory.certificates.push_back({.connection = c.name, .role = "authority", .subject = "CN=Root", .serial = "02"});
  }
  inventory.problems = {{"c7", "local", "gone"}};
  restart();
  const std::string text = metrics();
  CHECK(has(text, R"(culvert_certificate_not_after_timestamp_seconds{connection="",role="authority",subject="CN=Root",serial="02"} 0)"));
  CHECK(text.find(R"(role="authority")") == text.rfind(R"(role="authority")"));
  CHECK(has(text, R"(culvert_certificate_not_after_timestamp_seconds{connection="c499",role="own",subject="CN=gw",serial="01"} 0)"));
  CHECK(has(text, R"(culvert_certificate_files_usable{connection="c7",side="local"} 0)"));
  CHECK(has(text, R"(culvert_certificate_files_usable{connection="c7",side="remote"} 1)"));
}

TEST_CASE_METHOD(Fixture, "one connection of many is looked at alone", "[gateway]") {
  config.connections.assign(3, config.connections.front());
  for (std::size_t i = 0; i < 3; ++i) {
    config.connections[i].name = "c" + std::to_string(i);
    test::engine().connections.push_back({config.connections[i].name, i == 1, std::nullopt, {{"voice", i == 1, std::nullopt}}});
  }
  const auto known = test::engine().connections;
  restart();
  test::engine().connections = known;
  attach();
  const auto all = gateway->connections();
  REQUIRE(all.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto one = gateway->connections("c" + std::to_string(i));
    REQUIRE(one.size() == 1);
    for (const auto* c : {&one[0], &all[i]}) {
      CHECK(c->connection == "c" + std::to_string(i));
      CHECK(c->up == (i == 1));
      REQUIRE(c->children.size() == 2);
      CHECK((!c->children[0].up && c->children[1].up == (i == 1)));
    }
  }
  CHECK(gateway->connections("c").empty());
}

TEST_CASE_METHOD(Fixture, "peers that make up names make no series of metrics", "[gateway][metrics][attack-M5]") {
  attach();
  const auto strangers = [&](unsigned count) {
    test::engine().sas.clear();
    test::engine().actions.clear();
    for (unsigned i = 0; i < count; ++i) {
      ike::Report r;
      r.peer = Endpoint{IpAddress::v4(0x0b000000 + i), 500};
      r.exchange = ike::Exchange::MainMode;
      r.role = ike::Role::Responder;
      r.reason = ike::Reason::WrongIdentity;
      r.count = true;
      r.message = "The peer calls itself name-" + std::to_string(i) + ".";
      test::engine().actions.emplace_back(r);
      ike::IkeSaInfo sa;
      sa.id = i + 1;
      sa.connection = "site-b";
      sa.remote_id = "name-" + std::to_string(i);
      test::engine().sas.push_back(sa);
    }
    gateway->on_timer(now);
    const std::string text = metrics();
    CHECK_FALSE(has(text, "name-"));
    return std::ranges::count(text, '\n');
  };
  const auto few = strangers(1);
  CHECK(strangers(2000) == few);
}

TEST_CASE_METHOD(Fixture, "the engine's deadline and jobs reach the loop", "[gateway]") {
  test::engine().deadline = now + 5s;
  test::engine().actions = {ike::ComputeDh{9, DhGroup::Ecp256, nullptr, std::nullopt}};
  gateway->on_timer(now);
  CHECK(woken == now + 5s);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].job == 9);
  gateway->on_dh(now, {.job = 9});
  CHECK(test::engine().dh.size() == 1);
}

TEST_CASE_METHOD(Fixture, "a secret that cannot be read is logged with its connection", "[gateway]") {
  const auto secret = test::engine().services->secret("site-b");
  REQUIRE_FALSE(secret);
  CHECK(secret.error() == "no such file");
  const auto events = journal.since(0);
  REQUIRE_FALSE(events.empty());
  CHECK(events.back().connection == "site-b");
  CHECK(events.back().reason == "no_secret");
}

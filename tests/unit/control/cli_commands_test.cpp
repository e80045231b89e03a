// The commands of the socket: refusals, waiting, and the documents of protocol.hpp.
#include <algorithm>

#include "tests/unit/control/gateway_fixture.hpp"

using namespace culvert;
using namespace culvert::control;
using Fixture = GatewayFixture;

TEST_CASE_METHOD(Fixture, "commands: what is refused, and why", "[cli]") {
  const auto code = [this](const std::string& request) { return std::string(ask(request).at("error").at("code").as_string()); };
  const auto message = [this](const std::string& request) { return std::string(ask(request).at("error").at("message").as_string()); };
  CHECK(code("") == "bad_request");
  CHECK(code("[1,2]") == "bad_request");
  CHECK(code("{\"command\": 7}") == "bad_request");
  CHECK(code(R"({"command":"list-sas","args":[]})") == "bad_request");
  CHECK(code(R"({"command":"initiate","args":{"connection":5}})") == "bad_request");
  CHECK(code(R"({"command":"initiate","args":{"connection":"site-b","timeout_s":-1}})") == "bad_request");
  CHECK(code(R"({"command":"log","args":{"lines":1e300}})") == "bad_request");
  CHECK(code(R"({"command":"log","args":{"level":"loud"}})") == "bad_request");
  CHECK(code(std::string(60'000, '[')) == "bad_request");
  CHECK_THAT(message(R"({"command":"fry"})"), Catch::Contains("fry"));
  CHECK_THAT(message(R"({"command":"initiate","args":{"connection":"site-c"}})"), Catch::Contains("did you mean site-b?"));
  CHECK_THAT(message(R"({"command":"rekey","args":{"connection":"site-b","child":"nett"}})"), Catch::Contains("did you mean net?"));
  CHECK_THAT(message(R"({"command":"terminate","args":{"connection":"site-b"}})"), Catch::Contains("not attached"));
}

TEST_CASE_METHOD(Fixture, "sync-counters asks the engine, for one peer or all, and tells what it says", "[cli][rfc6311-5.1]") {
  attach();
  test::engine().answer = {true, "begun"};
  CHECK(ask(R"({"command":"sync-counters","args":{"connection":"site-b"}})").at("result").at("message") == "begun");
  CHECK(test::engine().calls.back() == "sync-counters site-b");
  test::engine().answer = {false, "the peer cannot"};
  CHECK(ask(R"({"command":"sync-counters","args":{"connection":"site-b","peer":"b.example"}})").at("error").at("message") ==
        "the peer cannot");
  CHECK(test::engine().count("sync-counters site-b of b.example") == 1);
}

TEST_CASE_METHOD(Fixture, "sequence numbers that are left out reach the data plane, of SAs that it has", "[gateway][rfc6311-5.2]") {
  attach();
  const Spi in = bring_up(1);
  test::engine().actions = {ike::SkipNumbers{1, Spi{0xdddd}, Direction::Outbound, 1000}, ike::SkipNumbers{1, in, Direction::Inbound, 1000},
                            ike::SkipNumbers{1, Spi{0xeeee}, Direction::Outbound, 1000}};
  gateway->on_timer(now);
  settle();
  CHECK(std::ranges::count(dp->executed, shm::MessageType::SkipNumbers) == 2);
}

TEST_CASE_METHOD(Fixture, "initiate waits for the child, and tells a fresh failure with its reason", "[cli]") {
  attach();
  const std::string request = R"({"command":"initiate","args":{"connection":"site-b","child":"net"}})";
  const auto failure = [](ike::TimePoint when, ike::Exchange exchange, ike::Reason reason, const char* message) {
    ike::Failure f;
    f.when = when;
    f.exchange = exchange;
    f.reason = reason;
    f.message = message;
    return f;
  };
  const ike::Failure old = failure(now - 10s, ike::Exchange::MainMode, ike::Reason::Timeout, "old");
  test::engine().connections = {{"site-b", false, old, {{"net", false, old}}}};
  CHECK(ask(request).at("error").at("code") == "timeout");
  test::engine().connections[0].children[0].failure =
      failure(now, ike::Exchange::QuickMode, ike::Reason::PeerSelectorMismatch, "they refused 10.2.0.0/24");
  CHECK_THAT(std::string(ask(request).at("error").at("message").as_string()),
             Catch::Contains("they refused 10.2.0.0/24") && Catch::Contains("peer_selector_mismatch"));
  test::engine().connections[0].children[0] = {"net", true, std::nullopt};
  CHECK(ask(request).at("ok").as_bool());
  test::engine().answer = {false, "it can only respond"};
  CHECK(ask(request).at("error").at("message") == "it can only respond");
}

TEST_CASE_METHOD(Fixture, "list-sas shows SAs with the counters of the segment", "[cli]") {
  CHECK_FALSE(ask(R"({"command":"list-sas"})").at("result").at("dataplane").at("connected").as_bool());
  attach();
  const Spi in = bring_up(1);
  dp->count_traffic(Direction::Inbound, in, 3, 252);
  ike::IkeSaInfo sa;
  sa.id = 4;
  sa.version = 2;
  sa.connection = "site-b";
  sa.state = ike::IkeState::Established;
  sa.spi_i = IkeSpi{0x1122334455667788};
  sa.established = now - 90s;
  sa.rekey_at = now + 10s;
  ike::ChildSaInfo child;
  child.pair = 1;
  child.child = "net";
  child.state = ike::ChildState::Installed;
  child.spi_in = in;
  child.spi_out = Spi{0xdddd};
  sa.children = {child};
  test::engine().sas = {sa};
  const auto reply = ask(R"({"command":"list-sas","args":{"connection":"site-b"}})");
  const auto& shown = reply.at("result").at("ike_sas").as_array().at(0).as_object();
  CHECK(shown.at("version").to_number<int>() == 2);
  CHECK(shown.at("initiator_spi") == "1122334455667788");
  CHECK(shown.at("age_s").as_double() == Approx(90));
  CHECK(shown.at("rekey_in_s").as_double() == Approx(10));
  CHECK(shown.at("expires_in_s").is_null());
  const auto& c = shown.at("children").as_array().at(0).as_object();
  CHECK(c.at("in").at("packets").as_int64() == 3);
  CHECK(c.at("in").at("bytes").as_int64() == 252);
  CHECK(c.at("out").at("drops").at("esp_sequence").as_int64() == 0);
  CHECK(reply.at("result").at("orphans").as_array().empty());
}

TEST_CASE_METHOD(Fixture, "list-sas and the metrics have the pairs of a connection without an ISAKMP SA", "[cli][metrics]") {
  attach();
  ike::ChildSaInfo child;
  child.pair = 1;
  child.child = "net";
  child.state = ike::ChildState::Installed;
  child.spi_in = bring_up(1);
  child.spi_out = Spi{0xdddd};
  test::engine().lone = {{"site-b", {child}}};
  const auto reply = ask(R"({"command":"list-sas","args":{"connection":"site-b"}})").at("result").as_object();
  CHECK(reply.at("ike_sas").as_array().empty());
  const auto& lone = reply.at("pairs_without_ike_sa").as_array().at(0).as_object();
  CHECK(lone.at("connection") == "site-b");
  CHECK(lone.at("children").as_array().at(0).at("in").is_object());
  CHECK(has(metrics(), "culvert_child_sas 1"));
}

TEST_CASE_METHOD(Fixture, "trace-packet says in words what the data plane would do", "[cli]") {
  const auto request = [](const std::string& more) {
    return R"({"command":"trace-packet","args":{"source":"10.1.0.5","destination":"10.2.0.5")" + more + "}}";
  };
  CHECK_THAT(std::string(ask(request("")).at("error").at("message").as_string()), Catch::Contains("not attached"));
  attach();
  const auto refused = [&](const std::string& more) { return std::string(ask(request(more)).at("error").at("message").as_string()); };
  CHECK_THAT(refused(R"(,"protocol":"tpc")"), Catch::Contains("no protocol"));
  CHECK_THAT(refused(R"(,"port":"wan")"), Catch::Contains("no port \"wan\""));
  CHECK_THAT(refused(R"(,"connection":"site-b","child":"net")"), Catch::Contains("no inbound SA"));
  CHECK_THAT(refused(R"(,"connection":"site-b")"), Catch::Contains("name the child"));
  CHECK_THAT(refused(R"(,"size":70000)"), Catch::Contains("28 to 65535"));
  const Spi in = bring_up(1);
  const PolicyId policy{1};
  dp->foretold = {};
  dp->foretold.add({.kind = shm::StepKind::ArrivesUnderSa, .policy = policy, .spi = in});
  dp->foretold.add({.kind = shm::StepKind::OutboundPolicy, .action = 2, .policy = policy});
  dp->foretold.add({.kind = shm::StepKind::Neighbor, .number = 0, .address = IpAddress::v4(0x0a090002), .mac = {2, 0, 0, 0, 0, 0xab}});
  dp->foretold.dropped = Drop::PolicyNoSa;
  const auto reply = ask(request(R"(,"protocol":"tcp","destination_port":80,"df":true,"connection":"site-b","child":"net")"));
  const json::object& result = reply.at("result").as_object();
  CHECK(dp->asked.protocol == 6);
  CHECK(dp->asked.destination_port == 80);
  CHECK(dp->asked.dont_fragment == 1);
  CHECK(dp->asked.spi == in);
  CHECK(result.at("verdict") == "dropped");
  CHECK(result.at("reason") == "policy_no_sa");
  const auto& steps = result.at("steps").as_array();
  REQUIRE(steps.size() == 3);
  CHECK_THAT(std::string(steps[0].at("text").as_string()), Catch::Contains("of site-b/net"));
  CHECK(steps[1].at("text") == "policy site-b/net: protect");
  CHECK(steps[2].at("text") == "10.9.0.2 has the MAC address 02:00:00:00:00:ab");
  // A data plane gone mad: no number of its is believed.
  std::memset(static_cast<void*>(&dp->foretold), 0xff, sizeof dp->foretold);
  CHECK(ask(request("")).at("result").at("steps").as_array().size() == shm::Path::kMax);
  dp->refuse[shm::MessageType::TracePacket] = shm::AckResult::NotFound;
  CHECK_THAT(refused(""), Catch::Contains("--port"));
}

TEST_CASE_METHOD(Fixture, "capture streams copies until there are enough, one capture at a time", "[cli][capture]") {
  cli::Dispatcher dispatcher(*gateway);
  const auto begin = [&](const std::string& more) {
    return dispatcher.handle(R"({"command":"capture","args":{"connection":"site-b")" + more + "}}", now);
  };
  CHECK_THAT(begin("").line, Catch::Contains("not attached"));
  attach();
  now = ike::TimePoint::clock::now();
  const Spi in = bring_up(1);
  CHECK_THAT(begin(R"(,"bytes":3000)").line, Catch::Contains("1 to 2000"));
  auto reply = begin(R"(,"child":"net","inner":true,"count":2,"every":7,"bytes":100)");
  REQUIRE(reply.stream);
  settle();
  CHECK(dp->capturing.name.view() == "site-b/net");
  CHECK(dp->capturing.what == shm::Capture::kInner);
  CHECK(dp->capturing.every == 7);
  CHECK(dp->capturing.bytes == 100);
  CHECK(dp->capturing.seconds == 61);
  CHECK_THAT(begin("").line, Catch::Contains("packets of site-b/net are being captured"));
  const auto next = [&] { return json::parse(reply.stream().value()).as_object().at("event").as_object(); };
  CHECK(next().at("begin").at("tunnel") == "site-b/net");
  CHECK_FALSE(reply.stream());
  auto copy = std::make_unique<shm::Captured>();
  copy->capture = dp->capturing.id;
  copy->spi = in;
  copy->slot = gateway->store().find(Direction::Inbound, in, 1)->slot;
  copy->what = shm::Capture::kInner;
  copy->length = 500;
  copy->bytes = 3;
  copy->data = {0x45, 0, 1};
  auto stale = std::make_unique<shm::Captured>(*copy), wild = std::make_unique<shm::Captured>(*copy);
  --stale->capture;          // of a capture before this one
  wild->bytes = 0xffffffff;  // of a data plane gone mad
  dp->copy(0, *stale);
  dp->copy(0, *copy);
  const auto packet = next().at("packet").as_object();
  CHECK(packet.at("connection") == "site-b");
  CHECK(packet.at("child") == "net");
  CHECK(packet.at("direction") == "in");
  CHECK(packet.at("layer") == "inner");
  CHECK(packet.at("length") == 500);
  CHECK(packet.at("data") == "450001");
  dp->copy(0, *wild);
  CHECK_FALSE(reply.stream());
  dp->copy(0, *copy);
  CHECK(next().contains("packet"));
  const auto end = next().at("end").as_object();
  CHECK(end.at("why") == "enough");
  CHECK(end.at("copies") == 2);
  settle();
  CHECK(dp->capturing.id == 0);  // it was ended in the data plane, too
  CHECK_FALSE(reply.stream());
  {
    auto another = begin(R"(,"for_s":1)");
    REQUIRE(another.stream);
    settle();
    CHECK(dp->capturing.name.view() == "site-b/");
    CHECK(dp->capturing.what == (shm::Capture::kInner | shm::Capture::kOuter));
    CHECK(dp->capturing.id != 0);
  }  // the client has left
  settle();
  CHECK(dp->capturing.id == 0);
  dp->refuse[shm::MessageType::Capture] = shm::AckResult::BadMessage;
  reply = begin("");
  settle();
  CHECK(reply.stream());
  CHECK_THAT(*reply.stream(), Catch::Contains("does not capture"));
  dp->refuse.clear();
  reply = begin("");
  settle();
  gateway->detached(now, "test");
  CHECK(reply.stream());
  CHECK_THAT(*reply.stream(), Catch::Contains("is gone"));
  reply = {};
  auto outliving = begin("");
  attach();
  outliving = begin("");
  gateway.reset();  // the session may be destroyed after it
}

TEST_CASE_METHOD(Fixture, "list-conns has an attempt that is under way", "[cli]") {
  attach();
  const auto connecting = [this] {
    return ask(R"({"command":"list-conns"})").at("result").at("connections").as_array().at(0).at("connecting");
  };
  CHECK(connecting().is_null());
  CHECK(ask(R"({"command":"list-conns"})").at("result").at("connections").as_array().at(0).at("version").to_number<int>() == 1);
  test::engine().connections = {{"site-b", false, std::nullopt, {}, ike::Attempt{now - 20s, 1}}};
  CHECK(connecting().at("for_s").as_double() == Approx(20));
  CHECK(connecting().at("unanswered_message").to_number<int>() == 1);
}

TEST_CASE_METHOD(Fixture, "counters and log answer in full", "[cli]") {
  CHECK(ask(R"({"command":"counters"})").at("result").at("workers").as_array().empty());
  attach();
  dp->segment().workers()[1].drops[static_cast<std::size_t>(Drop::EspReplay)].add(7);
  dp->segment().manager().drops[static_cast<std::size_t>(Drop::HandoffFull)].add(3);
  const auto counters = ask(R"({"command":"counters"})").at("result").as_object();
  CHECK(counters.at("workers").as_array().at(1).at("drops").at("esp_replay").as_int64() == 7);
  CHECK(counters.at("drops").as_array().size() == kDropReasons);
  CHECK(counters.at("manager").at("drops").at("handoff_full").as_int64() == 3);
  CHECK(counters.at("drops").as_array().at(static_cast<std::size_t>(Drop::HandoffFull)).at("total").as_int64() == 3);
  CHECK(counters.at("ports").as_array().size() == 2);
  shm::WorkerCounters& spreads = dp->segment().workers()[1];
  CHECK(counters.at("workers").as_array().at(1).at("spread_oldest_s").is_null());
  CHECK(has(metrics(), R"(culvert_worker_spread_oldest_parcel_seconds{worker="1"} 0)"));
  spreads.spread_late.add(2);
  spreads.spread_since.set(static_cast<std::uint64_t>((now - 1500ms).time_since_epoch().count()));
  const auto late = ask(R"({"command":"counters"})").at("result").at("workers").as_array().at(1).as_object();
  CHECK((late.at("spread_late").as_int64() == 2 && late.at("spread_oldest_s").to_number<double>() == Approx(1.5)));
  CHECK(has(metrics(), R"(culvert_worker_spread_oldest_parcel_seconds{worker="1"} 1.5)"));
  CHECK(has(metrics(), R"(culvert_worker_spread_late_parcels_total{worker="1"} 2)"));
  const auto log = ask(R"({"command":"log","args":{"lines":2}})").at("result").at("events").as_array();
  CHECK(log.size() <= 2);
  CHECK_FALSE(log.empty());
}

TEST_CASE_METHOD(Fixture, "a follower gets what happens next, by connection", "[cli]") {
  cli::Dispatcher dispatcher(*gateway);
  const auto reply = dispatcher.handle(R"({"command":"log","args":{"follow":true,"connection":"site-b","lines":0}})", now);
  REQUIRE(reply.stream);
  CHECK_FALSE(reply.stream());
  journal.info("of nobody");
  Event e;
  e.connection = "site-b";
  e.level = ike::Severity::Info;
  e.message = "up";
  journal.write(e);
  const auto line = reply.stream();
  REQUIRE(line);
  CHECK(json::parse(*line).at("event").at("event") == "up");
  CHECK_FALSE(reply.stream());
}

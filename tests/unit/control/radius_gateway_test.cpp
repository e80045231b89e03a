// The gateway between its engine and RADIUS servers: what goes out, what comes back, when it wakes, what is counted and said.
#include "tests/support/radius_server.hpp"
#include "tests/unit/control/gateway_fixture.hpp"

namespace radius_gateway {

using namespace culvert;
using namespace culvert::control;

struct Fixture : GatewayFixture {
  std::vector<radius::Send> sent;
  std::string secret = "radius secret";
  Fixture() {
    config::RadiusServer s;
    s.name = "main";
    s.address = IpAddress::v4(0x0a4d0005);
    config.radius.servers = {s};
    gateway.reset();
    test::reset_engine();
    gateway = std::make_unique<Gateway>(
        config, journal,
        Gateway::Hooks{.send_radius = [this](radius::Send what) { sent.push_back(std::move(what)); },
                       .read_secret = [this](const config::SecretRef&) -> std::expected<SecretBytes, std::string> {
                         return SecretBytes(as_bytes(secret));
                       },
                       .wake_at = [this](std::optional<ike::TimePoint> t) { woken = t; }});
    attach();
  }
  void ask(std::uint64_t job) {
    ike::AskRadius q;
    q.job = job;
    q.local.address = q.remote.address = IpAddress::v4(1);
    q.user = to_bytes("alice");
    q.eap = Bytes(9, 2);
    test::engine().actions = {q};
    gateway->on_timer(now);
  }
};

TEST_CASE_METHOD(Fixture, "a question to a RADIUS server goes out, and its answer to the engine", "[gateway][radius]") {
  test::engine().deadline = now + 10s;
  ask(7);
  REQUIRE(sent.size() == 1);
  CHECK(woken == now + 1s);  // the earlier of the two
  const test::RadiusReply reject{radius::Code::AccessReject, {{radius::Type::ReplyMessage, to_bytes("closed")}}};
  gateway->on_radius(now, 0, 0, test::radius_reply(sent[0].data, reject));
  REQUIRE(test::engine().radius.size() == 1);
  CHECK(test::engine().radius[0].job == 7);
  CHECK(test::engine().radius[0].kind == ike::RadiusAnswer::Kind::Reject);
  CHECK(test::engine().radius[0].message == "closed");
  CHECK(woken == now + 10s);
  const std::string text = metrics();
  CHECK(has(text, R"(culvert_radius_requests_total{server="main"} 1)"));
  CHECK(has(text, R"(culvert_radius_rejects_total{server="main"} 1)"));
  CHECK(has(text, R"(culvert_radius_dead{server="main"} 0)"));
}

TEST_CASE_METHOD(Fixture, "a RADIUS server that is silent: asked again, given up, said, and back with another secret",
                 "[gateway][radius]") {
  ask(1);
  gateway->on_radius_unreachable(0, 0);
  while (woken && test::engine().radius.empty()) {
    now = *woken;
    gateway->on_timer(now);
  }
  REQUIRE(test::engine().radius.size() == 1);
  CHECK(test::engine().radius[0].kind == ike::RadiusAnswer::Kind::Silence);
  CHECK(sent.size() == 4);
  CHECK(has(metrics(), R"(culvert_radius_dead{server="main"} 1)"));
  CHECK_FALSE(woken);
  secret = "another";  // read at each question
  ask(2);
  test::RadiusReply accept{radius::Code::AccessAccept};
  accept.secret = secret;
  gateway->on_radius(now, 0, 0, test::radius_reply(sent.back().data, accept));
  CHECK(test::engine().radius.back().kind == ike::RadiusAnswer::Kind::Accept);
  CHECK(has(metrics(), R"(culvert_radius_dead{server="main"} 0)"));
}

}  // namespace radius_gateway

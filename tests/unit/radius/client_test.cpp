// Which server is asked, how often, and what is taken for an answer: on a clock that the test makes up.
#include "control/radius/client.hpp"

#include <map>
#include <set>

#include <catch2/catch.hpp>

#include "tests/support/radius_server.hpp"

using namespace culvert;
using namespace culvert::radius;
using namespace culvert::test;
using namespace std::chrono_literals;
using Kind = ike::RadiusAnswer::Kind;

namespace {

struct Fixture {
  config::Radius config;
  TimePoint now{1000s};
  std::map<std::string, std::string> secrets{{"/a", "radius secret"}, {"/b", "radius secret"}};
  std::uint8_t seed = 0;
  std::uint64_t jobs = 0;
  std::unique_ptr<Client> client;

  explicit Fixture(std::size_t servers = 1) {
    config.retransmit_tries = 2;
    config.retransmit_base = 2;
    for (std::size_t i = 0; i < servers; ++i) {
      config::RadiusServer s;
      s.name = i == 0 ? "a" : "b";
      s.address = IpAddress::v4(0x0a010005U + static_cast<std::uint32_t>(i));
      s.secret = {config::SecretRef::Kind::File, i == 0 ? "/a" : "/b"};
      config.servers.push_back(s);
    }
  }
  Client& start() {
    client = std::make_unique<Client>(config, Client::Hooks{[this](std::size_t n) { return Bytes(n, ++seed); },
                                                            [this](const config::SecretRef& r) -> std::expected<SecretBytes, std::string> {
                                                              if (!secrets.contains(r.where)) return std::unexpected(r.where + " is empty");
                                                              return SecretBytes(as_bytes(secrets.at(r.where)));
                                                            }});
    return *client;
  }
  std::uint64_t ask(std::optional<std::size_t> server = {}, Bytes eap = Bytes(9, 2)) {
    client->ask(now, {.job = ++jobs,
                      .connection = "c",
                      .local = {IpAddress::v4(1), 500},
                      .remote = {IpAddress::v4(2), 500},
                      .user = to_bytes("alice"),
                      .eap = std::move(eap),
                      .server = server});
    return jobs;
  }
  Send sent() {
    auto all = client->take_sends();
    REQUIRE(all.size() == 1);
    return all[0];
  }
  ike::RadiusAnswer answer() {
    auto all = client->take_answers();
    REQUIRE(all.size() == 1);
    return all[0];
  }
  void reply(const Send& to, const RadiusReply& r) { client->on_datagram(now, to.server, to.socket, radius_reply(to.data, r)); }
  std::uint64_t count(Count c, std::size_t server = 0) { return client->servers(now)[server].counts[static_cast<std::size_t>(c)]; }
  /// To the next deadline; what is sent then.
  std::vector<Send> next() {
    REQUIRE(client->deadline());
    now = *client->deadline();
    client->on_timer(now);
    return client->take_sends();
  }
};

const RadiusReply kAccept{Code::AccessAccept, {{Type::EapMessage, {3, 1, 0, 4}}}};
const RadiusReply kChallenge{Code::AccessChallenge, {{Type::EapMessage, {1, 2, 0, 5, 4}}, {Type::State, {7}}}};

}  // namespace

TEST_CASE("RADIUS client: questions and answers", "[radius][client]") {
  Fixture f;
  f.start();
  const auto job = f.ask();
  const Send first = f.sent();
  f.now += 30ms;
  f.reply(first, kChallenge);
  auto a = f.answer();
  CHECK(a.job == job);
  CHECK(a.kind == Kind::Challenge);
  CHECK(a.eap == Bytes{1, 2, 0, 5, 4});
  CHECK(a.state == Bytes{7});
  CHECK(a.name == "a");
  f.reply(first, kChallenge);  // a duplicate
  CHECK(f.client->take_answers().empty());
  CHECK(f.count(Count::Strays) == 1);
  f.ask(0);
  const Send second = f.sent();
  CHECK(second.data[1] != first.data[1]);
  const Bytes recv(32, 1), send(32, 2);
  f.reply(second, {Code::AccessAccept,
                   {mppe_key(17, recv, second.data),
                    mppe_key(16, send, second.data),
                    {Type::UserName, to_bytes("bob")},
                    {Type::SessionTimeout, {0, 0, 14, 16}},
                    {Type::FramedIpAddress, {10, 3, 0, 9}},
                    {Type::FramedIpv6Address, Bytes(15, 1)}}});
  a = f.answer();
  CHECK(a.kind == Kind::Accept);
  CHECK(a.msk.size() == 64);
  CHECK(a.user == to_bytes("bob"));
  CHECK(a.session_timeout == 3600s);
  CHECK(a.framed == std::vector{IpAddress::parse("10.3.0.9").value()});
  f.ask();
  f.reply(f.sent(), {Code::AccessReject, {{Type::ReplyMessage, to_bytes("no\nmore")}}});
  a = f.answer();
  CHECK(a.kind == Kind::Reject);
  CHECK(a.message == "no\\x0amore");
  CHECK(f.count(Count::Requests) == 3);
  CHECK(f.count(Count::Challenges) == 1);
  CHECK(f.count(Count::Accepts) == 1);
  CHECK(f.count(Count::Rejects) == 1);
  CHECK(f.client->servers(f.now)[0].waited == 30ms);
  CHECK_FALSE(f.client->deadline());
}

TEST_CASE("RADIUS client: a question is sent again, and comes to an end", "[radius][client]") {
  Fixture f;
  f.start();
  f.ask();
  const Send first = f.sent();
  const TimePoint begun = f.now;
  for (const auto after : {1s, 3s}) {
    const auto again = f.next();
    CHECK(f.now == begun + after);
    REQUIRE(again.size() == 1);
    CHECK(again[0].data == first.data);  // the same one: a server that has it already says the same again
  }
  CHECK(f.next().empty());
  CHECK(f.now == begun + 7s);
  const auto a = f.answer();
  CHECK(a.kind == Kind::Silence);
  CHECK(a.error == "nothing came from a (10.1.0.5:1812)");
  CHECK(f.count(Count::Timeouts) == 1);
  CHECK(f.count(Count::Retransmissions) == 2);
  CHECK(f.client->servers(f.now)[0].dead);
  f.reply(first, kAccept);  // too late
  CHECK(f.client->take_answers().empty());
  CHECK(f.count(Count::Strays) == 1);
  f.ask();  // there is no other one
  const Send late = f.sent();
  f.client->on_unreachable(0, late.socket);
  while (f.client->deadline()) f.next();
  CHECK(f.answer().error == "nothing came from a (10.1.0.5:1812), where nothing listens");
}

TEST_CASE("RADIUS client: silence of a server that has never answered by this secret is told from that of others", "[radius][client]") {
  Fixture f(2);
  f.config.servers[0].preference = 5;
  f.config.dead_time = 1s;
  f.start();
  const auto silence = [&](const std::set<std::size_t>& unreachable = {}) {
    f.now += 60s;  // nobody is dead any more
    f.ask();
    for (auto out = f.client->take_sends(); f.client->deadline(); out = f.next())
      for (const Send& s : out)
        if (unreachable.contains(s.server)) f.client->on_unreachable(s.server, s.socket);
    const auto a = f.answer();
    CHECK(a.kind == Kind::Silence);
    return a.unheard;
  };
  CHECK(silence());
  CHECK_FALSE(silence({0, 1}));
  CHECK(silence({1}));
  const auto answers = [&] {
    f.now += 60s;
    f.ask();
    f.reply(f.sent(), kAccept);
    CHECK(f.answer().kind == Kind::Accept);
  };
  answers();
  CHECK(silence());  // of the other one nobody knows
  CHECK_FALSE(silence({1}));
  f.secrets["/a"] = "another secret";
  CHECK(silence({1}));
  f.secrets["/a"] = "radius secret";
  CHECK_FALSE(silence({1}));
}

TEST_CASE("RADIUS client: radius.timeout bounds all of it", "[radius][client]") {
  Fixture f(2);
  f.config.timeout = 9s;
  f.start();
  const TimePoint begun = f.now;
  f.ask();
  while (f.client->deadline()) f.next();
  CHECK(f.now == begun + 9s);
  CHECK(f.answer().kind == Kind::Silence);
  CHECK_FALSE(f.client->servers(f.now)[1].dead);  // it was not given its time
}

TEST_CASE("RADIUS client: the next server when one is silent, and back", "[radius][client][failover]") {
  Fixture f(2);
  f.config.servers[1].preference = 5;
  f.start();
  f.ask();
  std::vector<Send> out = f.client->take_sends();
  REQUIRE(out.size() == 1);
  CHECK(out[0].server == 1);  // the preferred one
  while (out.empty() || out[0].server == 1) out = f.next();
  CHECK(out[0].server == 0);
  f.reply(out[0], kChallenge);
  CHECK(f.answer().name == "a");
  CHECK(f.client->servers(f.now)[1].dead);
  CHECK(
      f.client->take_news() ==
      std::vector<std::string>{"RADIUS server b (10.1.0.6:1812) does not answer: for 60 s others are asked first, where there are some."});
  f.ask();  // it is left alone
  CHECK(f.sent().server == 0);
  f.ask(1);  // ... but for what only it knows; and then nobody else is asked
  CHECK(f.sent().server == 1);
  while (f.client->take_answers().empty()) f.next();
  f.now += 61s;
  f.client->on_timer(f.now);
  (void)f.client->take_answers();
  (void)f.client->take_sends();
  f.ask();
  const Send retried = f.sent();
  CHECK(retried.server == 1);
  f.reply(retried, kAccept);
  CHECK(f.answer().kind == Kind::Accept);
  CHECK_FALSE(f.client->servers(f.now)[1].dead);
  CHECK(f.client->take_news() == std::vector<std::string>{"RADIUS server b (10.1.0.6:1812) answers again."});
}

TEST_CASE("RADIUS client: a question that a server passes over does not make it dead", "[radius][client][failover]") {
  Fixture f;
  f.start();
  f.ask(0);
  while (f.client->deadline()) f.next();
  CHECK_FALSE(f.client->servers(f.now)[0].dead);
  (void)f.client->take_answers();
  f.ask();
  (void)f.client->take_sends();
  f.now += 100ms;
  f.ask();
  f.reply(f.sent(), kAccept);
  while (f.client->deadline()) f.next();
  CHECK_FALSE(f.client->servers(f.now)[0].dead);
}

TEST_CASE("RADIUS client: what does not prove itself is dropped, counted, and told of when nothing better comes",
          "[radius][client][cve-2024-3596]") {
  for (const auto& [change, which, says] : std::vector<std::tuple<std::function<void(RadiusReply&)>, Count, std::string>>{
           {[](RadiusReply& r) { r.secret = "another"; }, Count::Forged, "was not made with the secret"},
           {[](RadiusReply& r) { r.spoil_mac = true; }, Count::Forged, "was not made with the secret"},
           {[](RadiusReply& r) { r.with_mac = false; }, Count::Unproven, "has no Message-Authenticator"}}) {
    Fixture f;
    f.start();
    f.ask();
    const Send to = f.sent();
    RadiusReply bad = kAccept;
    change(bad);
    f.reply(to, bad);
    CHECK(f.client->take_answers().empty());
    CHECK(f.count(which) == 1);
    while (f.client->deadline()) f.next();
    const auto a = f.answer();
    CHECK(a.kind == Kind::Forged);
    CHECK(a.error.find(says) != std::string::npos);
    f.ask();  // a good one behind it is taken
    const Send again = f.sent();
    f.reply(again, bad);
    f.reply(again, kAccept);
    CHECK(f.answer().kind == Kind::Accept);
  }
}

TEST_CASE("RADIUS client: junk is counted", "[radius][client]") {
  Fixture f;
  f.start();
  f.ask();
  const Send to = f.sent();
  f.client->on_datagram(f.now, 0, 0, Bytes(19, 1));
  f.client->on_datagram(f.now, 0, 0, Bytes(5000, 1));
  f.client->on_datagram(f.now, 7, 0, Bytes(30, 1));
  CHECK(f.count(Count::Malformed) == 2);
  f.reply({to.server, 1, to.data}, kAccept);  // another socket has other questions
  CHECK(f.count(Count::Strays) == 1);
  CHECK(f.client->take_answers().empty());
  for (const RadiusReply& odd :
       {RadiusReply{Code::AccountingResponse}, RadiusReply{Code::AccessChallenge},
        RadiusReply{Code::AccessChallenge, {{Type::EapMessage, {1, 2, 0, 5, 4}}, {Type::State, {1}}, {Type::State, {2}}}},
        RadiusReply{Code::AccessAccept, {{Type::VendorSpecific, {0, 0, 1, 0x37, 17, 4, 1, 1}}}}}) {
    (void)f.client->take_sends();
    f.ask();
    f.reply(f.sent(), odd);
    CHECK(f.answer().kind == Kind::Unusable);
  }
}

TEST_CASE("RADIUS client: identifiers, sockets and what is too much", "[radius][client]") {
  Fixture f;
  f.config.servers[0].sockets = 2;
  f.start();
  std::set<std::pair<std::uint32_t, std::uint8_t>> seen;
  for (int i = 0; i < 512; ++i) {
    f.ask();
    const Send s = f.sent();
    CHECK(seen.emplace(s.socket, s.data[1]).second);
  }
  CHECK(f.client->take_answers().empty());
  f.ask();
  CHECK(f.answer().kind == Kind::Busy);
  CHECK(f.client->take_sends().empty());
  while (f.client->deadline()) f.next();
  CHECK(f.client->take_answers().size() == 512);
  f.ask({}, Bytes(4000, 2));
  CHECK(f.answer().kind == Kind::Busy);  // it does not fit
  f.secrets.clear();
  f.ask();
  const auto a = f.answer();
  CHECK(a.kind == Kind::NoSecret);
  CHECK(a.error == "/a is empty");
}

// Two thousand connections that begin in the same moment, against one responder: all come up, each on one ISAKMP SA, and nothing is left
// behind. Everything at its default, the bounds on half-open negotiations included; on a good line and on one that loses three datagrams in
// ten.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

std::string numbered(const char* first, std::size_t i) {
  return std::string(first) + std::to_string(i / 256) + "." + std::to_string(i % 256);
}

/// One side's connections. With one address the peers are told apart by their identities alone.
config::GatewayConfig sites(bool initiator, bool one_address, std::size_t count) {
  config::GatewayConfig all =
      initiator ? site("10.9.0.1", "10.9.0.2", config::StartAction::Start) : site("10.9.0.2", "10.9.0.1", config::StartAction::None);
  const config::Connection pattern = std::move(all.connections.front());
  all.connections.clear();
  for (std::size_t i = 0; i < count; ++i) {
    config::Connection c = pattern;
    c.name = "c" + std::to_string(i);
    const config::Identity peer{config::Identity::Type::Fqdn, c.name + ".example"},
        gateway{config::Identity::Type::Fqdn, "gateway.example"};
    c.local_id = initiator ? peer : gateway;
    c.remote_id = initiator ? gateway : peer;
    if (!one_address) {
      auto& theirs = initiator ? c.local_addrs : c.remote_addrs;  // g++ 12 does not evaluate the list for the second of two
      theirs = {IpAddress::parse(numbered("10.64.", i)).value()};
    }
    const auto network = TrafficSelector::parse(numbered("10.128.", i) + "/32").value();
    (initiator ? c.children[0].local_ts : c.children[0].remote_ts) = network;
    (initiator ? c.children[0].remote_ts : c.children[0].local_ts) = TrafficSelector::parse("10.1.0.0/24").value();
    all.connections.push_back(std::move(c));
  }
  return all;
}

std::size_t children_up(const Host& h) {
  std::size_t n = 0;
  for (const ike::ConnectionStatus& c : h.engine->connections()) n += c.children[0].up;
  return n;
}

}  // namespace

TEST_CASE("2,000 connections begin at once and all come up", "[many]") {
  struct Case {
    bool one_address;
    double loss;
    std::size_t count;
    Duration within;
  };
  const Case c = GENERATE(Case{false, 0, 2000, 10s}, Case{true, 0, 2000, 30s}, Case{false, 0.3, 300, 180s});
  const auto& [one_address, loss, count, within] = c;
  CAPTURE(c.one_address, c.loss);
  World world(7);
  world.link = {.loss = loss, .duplicate = loss / 3, .delay_min = 5ms, .delay_max = loss > 0 ? 60ms : 10ms};
  Host& a = world.add("A", sites(true, one_address, count));
  Host& b = world.add("B", sites(false, one_address, count));
  a.dh_time = b.dh_time = 10ms;
  b.start();
  a.start();
  const TimePoint begun = world.now;
  Duration passed{};
  for (; passed < 300s && std::min(a.outbound.size(), b.outbound.size()) < count; passed = world.now - begun) world.run(1s);
  CHECK(passed <= within);
  world.link = {};
  world.run(200s);  // what is late, or twice, goes away
  CHECK(children_up(a) == count);
  CHECK(children_up(b) == count);
  CHECK(a.established() == count);
  CHECK(b.established() == count);
  CHECK(a.inbound.size() == count);
  CHECK(b.inbound.size() == count);
  CHECK(b.engine->ike_sas().size() == count);
}

// Leases of virtual addresses, and the memory of wrong passwords.
#include "control/ike/leases.hpp"

#include <set>

#include <catch2/catch.hpp>

#include "control/ike/attempts.hpp"

using namespace culvert;
using namespace culvert::ike;
using ike::Leases;
using namespace std::chrono_literals;

namespace {
std::vector<config::Pool> pools(const std::string& addrs) {
  config::Pool p;
  p.name = "p";
  p.addrs = TrafficSelector::parse(addrs).value();
  return {p};
}
const std::vector<std::string> kNames{"p"};
IpAddress ip(const std::string& s) { return IpAddress::parse(s).value(); }
}  // namespace

TEST_CASE("each identity has an address of its own, and gets it again", "[leases]") {
  const auto config = pools("10.3.0.1-10.3.0.254");
  Leases leases(config);
  std::set<IpAddress> given;
  for (int i = 0; i < 254; ++i) {
    const auto g = leases.acquire(kNames, "peer " + std::to_string(i), {});
    REQUIRE(g);
    CHECK(config[0].addrs.matches(g->address, 0, 0));
    given.insert(g->address);
  }
  CHECK(given.size() == 254);
  CHECK(leases.online() == 254);
  CHECK_FALSE(leases.acquire(kNames, "one more", {}));
  const auto seventh = leases.acquire(kNames, "peer 7", {});
  CHECK(leases.acquire(kNames, "peer 7", ip("10.3.0.1"))->address == seventh->address);  // it has one
  leases.release("peer 7");
  leases.release("peer 7");
  CHECK(leases.online() == 253);
  CHECK(leases.acquire(kNames, "peer 7", {})->address == seventh->address);
  leases.release("peer 7");
  leases.release("peer 9");
  CHECK(leases.acquire(kNames, "one more", {})->address == seventh->address);  // the one that was left first
  CHECK(leases.acquire(kNames, "peer 7", {}));                                 // another one: nine's
  CHECK_FALSE(leases.acquire(kNames, "peer 9", {}));
  CHECK(leases.view().at(0).leases.size() == 254);
}

TEST_CASE("a gateway that restarts gives the same identity the same address", "[leases]") {
  const auto config = pools("10.3.0.0/24");
  Leases before(config), after(config);
  for (const char* who : {"alice", "bob", "carol"})
    CHECK(before.acquire(kNames, who, {})->address == after.acquire(kNames, who, {})->address);
}

TEST_CASE("an address that is asked for is given if it is in the pool and was nobody's", "[leases]") {
  const auto config = pools("10.3.0.10-10.3.0.12");
  Leases leases(config);
  CHECK(leases.acquire(kNames, "a", ip("10.3.0.11"))->address == ip("10.3.0.11"));
  CHECK(leases.acquire(kNames, "b", ip("10.3.0.11"))->address != ip("10.3.0.11"));
  CHECK(leases.acquire(kNames, "c", ip("10.4.0.1")));
  CHECK_FALSE(leases.acquire(kNames, "d", ip("10.3.0.10")));
  CHECK_FALSE(leases.acquire(std::vector<std::string>{"other"}, "a", {}));
}

TEST_CASE("an address that is reserved is its holder's, under whatever name that proves itself", "[leases]") {
  const auto config = pools("10.3.0.10-10.3.0.11");
  Leases leases(config);
  CHECK(leases.reserve(kNames, "unnamed", ip("10.3.0.10")));
  CHECK(leases.reserve(kNames, "unnamed", ip("10.3.0.10")));
  CHECK_FALSE(leases.reserve(kNames, "another", ip("10.3.0.10")));
  CHECK_FALSE(leases.reserve(kNames, "another", ip("10.4.0.1")));
  CHECK(leases.online() == 1);
  CHECK(leases.acquire(kNames, "bob", ip("10.3.0.10"))->address == ip("10.3.0.11"));
  CHECK_FALSE(leases.acquire(kNames, "carol", {}));
  CHECK_FALSE(leases.rename("unnamed", "bob"));  // has one
  CHECK_FALSE(leases.rename("nobody", "alice"));
  CHECK(leases.rename("unnamed", "alice"));
  CHECK(leases.acquire(kNames, "alice", {})->address == ip("10.3.0.10"));
  CHECK(leases.online() == 2);
  leases.release("alice");
  CHECK(leases.acquire(kNames, "carol", {})->address == ip("10.3.0.10"));
}

TEST_CASE("a pool of IPv6 addresses is like one of IPv4, and beside one", "[leases][rfc7296-3.15.1]") {
  auto config = pools("10.3.0.10-10.3.0.11");
  config.push_back(pools("2001:db8:3::fffe-2001:db8:3::1:1").front());  // four, over the end of a group
  config.back().name = "six";
  const std::vector<std::string> both{"p", "six"};
  Leases leases(config);
  CHECK(leases.view().at(1).size == 4);
  CHECK(leases.acquire(both, "a", ip("2001:db8:3::1:0"), Family::V6)->address == ip("2001:db8:3::1:0"));
  CHECK(leases.acquire(both, "a", ip("10.3.0.11"))->address == ip("10.3.0.11"));  // one of each
  CHECK(leases.acquire(both, "a", ip("2001:db8:3::ffff"), Family::V6)->address == ip("2001:db8:3::1:0"));
  std::set<IpAddress> given;
  for (const char* who : {"b", "c", "d"}) given.insert(leases.acquire(both, who, {}, Family::V6)->address);
  CHECK(given == std::set{ip("2001:db8:3::fffe"), ip("2001:db8:3::ffff"), ip("2001:db8:3::1:1")});
  CHECK_FALSE(leases.acquire(both, "e", {}, Family::V6));
  CHECK(leases.acquire(both, "e", {}));
  CHECK_FALSE(leases.acquire(kNames, "a", {}, Family::V6));
  leases.release("a");
  CHECK((leases.view().at(0).online == 1 && leases.view().at(1).online == 3));
  CHECK(leases.reserve(both, "unnamed", ip("2001:db8:3::1:0")) == false);  // a's, until somebody needs it
  CHECK(leases.acquire(both, "e", {}, Family::V6)->address == ip("2001:db8:3::1:0"));
  CHECK_FALSE(leases.reserve(both, "another", ip("2001:db8:3::1:2")));
  CHECK_FALSE(leases.reserve(both, "another", ip("2001:db8:3::fffd")));
}

TEST_CASE("places of addresses", "[leases][ip]") {
  CHECK(ip("10.3.0.255").plus(1) == ip("10.3.1.0"));
  CHECK(ip("255.255.255.255").plus(1) == ip("0.0.0.0"));
  CHECK(ip("2001:db8::ffff:ffff").plus(1) == ip("2001:db8::1:0:0"));
  CHECK(ip("2001:db8::").plus(UINT64_MAX) == ip("2001:db8::ffff:ffff:ffff:ffff"));
  CHECK(ip("2001:db8::ffff:ffff:ffff:ffff").places_behind(ip("2001:db8::")) == UINT64_MAX);
  CHECK_FALSE(ip("2001:db8:0:1::").places_behind(ip("2001:db8::")));
  CHECK(ip("2001:db8::1:0").places_behind(ip("2001:db8::ffff")) == 1);
  CHECK(ip("10.3.1.0").places_behind(ip("10.3.0.255")) == 1);
  CHECK(ip("10.3.1.0").places_behind(ip("10.3.1.0")) == 0);
  CHECK_FALSE(ip("10.3.0.0").places_behind(ip("10.3.0.1")));
  CHECK_FALSE(ip("10.3.0.0").places_behind(ip("::")));
}

TEST_CASE("ten thousand that come and go leave nothing behind", "[leases][attack-F7]") {
  const auto config = pools("10.3.0.1-10.3.0.254");
  Leases leases(config);
  for (int i = 0; i < 10000; ++i) {
    const std::string who = "peer " + std::to_string(i);
    REQUIRE(leases.acquire(kNames, who, {}));
    leases.release(who);
  }
  CHECK(leases.online() == 0);
  CHECK(leases.view().at(0).leases.size() == 254);
}

TEST_CASE("wrong passwords are remembered by name and by address, for a while, and not without end", "[xauth][attack-F8]") {
  Attempts a;
  ike::TimePoint now{1000s};
  const auto from = [](const char* address) { return Endpoint{ip(address), 500}; };
  const Bytes alice = to_bytes("alice"), bob = to_bytes("bob");
  CHECK(a.delay(now, alice, from("10.9.0.1")) == 1s);
  a.failed(now, alice, from("10.9.0.1"));
  a.failed(now, alice, from("10.9.0.2"));
  CHECK(a.delay(now, alice, from("10.9.0.3")) == 4s);
  CHECK(a.delay(now, bob, from("10.9.0.1")) == 2s);
  CHECK(a.delay(now, bob, from("10.9.0.3")) == 1s);
  for (int i = 0; i < 20; ++i) a.failed(now, to_bytes("u" + std::to_string(i)), from("10.9.0.9"));
  CHECK(a.delay(now, bob, from("10.9.0.9")) == 16s);
  CHECK(a.blocked(now, from("10.9.0.9")));
  CHECK_FALSE(a.blocked(now, from("10.9.0.1")));
  CHECK(a.blocked(now, {ip("10.9.0.9"), 4500}));
  CHECK_FALSE(a.blocked(now, {ip("10.9.0.9"), 500, VrfId{1}}));
  CHECK_FALSE(a.blocked(now + 31s, from("10.9.0.9")));
  // Behind a NAT others are at the same address: however often one of them fails, they wait no longer than from its last failure on.
  for (int i = 0; i < 5000; ++i) a.failed(now, bob, from("10.9.0.9"));
  CHECK(a.failures(now, from("10.9.0.9")) == 20);
  CHECK_FALSE(a.blocked(now + 31s, from("10.9.0.9")));
  for (int i = 0; i < 100; ++i) {  // one failure each 20 s takes what is forgiven each 30, and is refused unchecked in between
    now += 20s;
    if (!a.blocked(now, from("10.9.0.9"))) a.failed(now, bob, from("10.9.0.9"));
  }
  CHECK_FALSE(a.blocked(now + 30s, from("10.9.0.9")));
  CHECK(a.failures(now + 600s, from("10.9.0.9")) == 0);
  a.succeeded(alice);
  a.failed(now, alice, from("10.9.0.1"));
  CHECK(a.failures(now + 29s, alice) == 1);
  CHECK(a.failures(now + 61s, alice) == 0);
  a.succeeded(alice);
  CHECK(a.failures(now, alice) == 0);
  for (std::uint32_t i = 0; i < 2 * Attempts::kMaxRemembered; ++i)
    a.failed(now + std::chrono::milliseconds(i), to_bytes("x" + std::to_string(i)), Endpoint{IpAddress::v4(i)});
  CHECK(a.failures(now + 9s, to_bytes("x" + std::to_string(2 * Attempts::kMaxRemembered - 1))) == 1);
  CHECK(a.failures(now + 9s, to_bytes("x0")) == 0);
}

TEST_CASE("an address that somebody else has chosen", "[leases]") {
  const auto config = pools("10.3.0.1-10.3.0.3");
  Leases leases(config);
  const auto before = leases.acquire(kNames, "a", std::nullopt)->address;
  const IpAddress other = before == ip("10.3.0.2") ? ip("10.3.0.3") : ip("10.3.0.2");
  CHECK(leases.take(kNames, "a", other)->address == other);  // it has one at a time
  CHECK(leases.online() == 1);
  CHECK(leases.acquire(kNames, "a", std::nullopt)->address == other);
  CHECK(leases.take(kNames, "a", other)->address == other);
  CHECK(leases.take(kNames, "b", other).error() == "which a has");
  CHECK(leases.take(kNames, "b", before)->address == before);
  CHECK(leases.take(kNames, "b", ip("10.3.0.9")).error() == "which is in no pool of the connection");
  leases.release("a");
  CHECK(leases.take(kNames, "b", other)->address == other);  // nobody is there
  CHECK(leases.online() == 1);
  CHECK(leases.acquire(kNames, "a", std::nullopt)->address != other);
  CHECK(leases.online() == 2);
  CHECK(leases.view().at(0).leases.size() == 2);
}

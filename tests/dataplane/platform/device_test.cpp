// What is asked of NICs: rules that bring an SA's packets to its worker, and a reset, of devices that have them (fakes), and of a driver
// that has rules, but none for ESP (net_tap).
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "dataplane/manager/port_keeper.hpp"
#include "dataplane/manager/steering.hpp"
#include "tests/dataplane/platform/devices.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {

namespace {
BufferPool& buffers() {
  need_eal();
  static const auto pool = BufferPool::create("devices", 2047, 1500);
  REQUIRE(pool);
  return **pool;
}
shm::Message done(shm::InstallSa sa) { return shm::Message::of(sa); }
shm::InstallSa inbound(std::uint32_t spi, Family family = Family::V4, bool udp = false) {
  return test::install(parse_esp_proposal("aes128gcm16").value().front(), Direction::Inbound, udp, spi, family);
}
shm::Message removed(std::uint32_t spi) {
  shm::RemoveSa m;
  m.direction = Direction::Inbound, m.slot = spi & (test::kCapacity - 1), m.spi = Spi{spi};
  return shm::Message::of(m);
}

/// Two ports of two queues; the second one has the outer addresses.
struct Steered {
  TestDevice lan{"rlan", 0, buffers(), 2}, wan{"rwan", 1, buffers(), 2};
  std::vector<std::unique_ptr<Port>> ports;
  std::vector<Interface> interfaces{Interface{"rlan", {}, 1500, {*Prefix::parse("10.1.0.1/24")}},
                                    Interface{"rwan", {}, 1500, {*Prefix::parse("10.9.0.1/24"), *Prefix::parse("2001:db8:9::1/64")}}};
  std::vector<shm::SaRecord> records{test::kCapacity};
  Steering steering{ports, interfaces, records};
  Steered() {
    ports.push_back(std::move(lan.port())), ports.push_back(std::move(wan.port()));
    for (std::size_t slot = 0; slot < records.size(); ++slot) records[slot].worker = slot % 2;
    steering = Steering(ports, interfaces, records);
  }
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> counts(std::size_t port) const {
    shm::PortCounters c{};
    ports[port]->read_counters(c);
    return {c.flow_rules.get(), c.flow_refused.get()};
  }
};
using Counts = std::pair<std::uint64_t, std::uint64_t>;
}  // namespace

TEST_CASE("ESP is steered to its worker's queue by SPI, on the port of its address", "[port][flow]") {
  Steered s;
  DeviceFaker device;
  s.steering.done(done(inbound(0x1000)));
  s.steering.done(done(inbound(0x1001)));
  s.steering.done(done(inbound(0x1002, Family::V6)));
  s.steering.done(done(inbound(0x1003, Family::V4, true)));
  s.steering.done(done(inbound(0x1004, Family::V6, true)));
  using enum rte_flow_item_type;
  const std::vector<std::pair<std::uint32_t, std::vector<rte_flow_item_type>>> want{
      {0x1000, {RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV4, RTE_FLOW_ITEM_TYPE_ESP}},
      {0x1001, {RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV4, RTE_FLOW_ITEM_TYPE_ESP}},
      {0x1002, {RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV6, RTE_FLOW_ITEM_TYPE_ESP}},
      {0x1003, {RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV4, RTE_FLOW_ITEM_TYPE_UDP, RTE_FLOW_ITEM_TYPE_ESP}},
      {0x1004, {RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV6, RTE_FLOW_ITEM_TYPE_UDP, RTE_FLOW_ITEM_TYPE_ESP}}};
  for (const auto& [spi, pattern] : want) {
    const DeviceFaker::Rule* rule = device.rule(spi);
    REQUIRE(rule != nullptr);
    CHECK((rule->port == s.wan.id && rule->pattern == pattern && rule->queue == spi % 2));
  }
  CHECK(std::ranges::count(device.asked, "validate") == 4);  // once for each kind
  CHECK(s.counts(1) == Counts{5, 0});
  CHECK(s.counts(0) == Counts{0, 0});
  // AH, and what is behind a non-IKE marker, stand elsewhere in the packet; outbound SAs are none of a device's.
  auto ah = inbound(0x1005);
  ah.suite = parse_ah_proposal("sha1").value().front();
  s.steering.done(done(ah));
  auto marked = inbound(0x1006, Family::V4, true);
  marked.local.port = 500;
  s.steering.done(done(marked));
  auto out = inbound(0x1007);
  out.direction = Direction::Outbound;
  s.steering.done(done(out));
  CHECK(s.counts(1) == Counts{5, 0});
  for (const auto& [spi, pattern] : want) s.steering.done(removed(spi));
  s.steering.done(removed(0x1005));
  CHECK(device.rules.empty());
  CHECK(s.counts(1) == Counts{0, 0});
}

TEST_CASE("ESP behind a tag is steered on the port of its VLAN, by the tag and the SPI", "[port][flow][vlan]") {
  Steered s;
  s.interfaces[1].addresses = {*Prefix::parse("10.9.7.1/24")};
  s.interfaces.push_back(Interface{"office", {}, 1500, {*Prefix::parse("10.9.0.1/24"), *Prefix::parse("2001:db8:9::1/64")}, 1, 0xabc});
  s.steering = Steering(s.ports, s.interfaces, s.records);
  DeviceFaker device;
  for (std::uint32_t i = 0; i < 4; ++i) s.steering.done(done(inbound(0x1000 + i, i % 2 != 0 ? Family::V6 : Family::V4, i >= 2)));
  using enum rte_flow_item_type;
  for (std::uint32_t i = 0; i < 4; ++i) {
    std::vector<rte_flow_item_type> want{RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_VLAN};
    want.push_back(i % 2 != 0 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4);
    if (i >= 2) want.push_back(RTE_FLOW_ITEM_TYPE_UDP);
    want.push_back(RTE_FLOW_ITEM_TYPE_ESP);
    const DeviceFaker::Rule* rule = device.rule(0x1000 + i);
    REQUIRE(rule != nullptr);
    CHECK((rule->port == s.wan.id && rule->pattern == want && rule->queue == i % 2 && rule->tag == 0xabc && rule->tag_mask == 0x0fff));
  }
  CHECK(s.counts(1) == Counts{4, 0});
  CHECK(s.counts(0) == Counts{0, 0});
}

TEST_CASE("a device without rules for tags is asked once for them, and goes on without them", "[port][flow][vlan]") {
  Steered s;
  s.interfaces.push_back(Interface{"office", {}, 1500, {*Prefix::parse("10.9.8.1/24")}, 1, 10});
  s.steering = Steering(s.ports, s.interfaces, s.records);
  DeviceFaker device;
  device.takes_tags = false;
  for (std::uint32_t spi = 0x1000; spi < 0x1003; ++spi) {
    auto tagged = inbound(spi);
    tagged.local.address = *IpAddress::parse("10.9.8.1");
    s.steering.done(done(tagged));
  }
  CHECK(device.asked == std::vector<std::string>{"validate"});
  CHECK(s.counts(1) == Counts{0, 3});
  s.steering.done(done(inbound(0x1003)));
  CHECK(s.counts(1) == Counts{1, 3});
}

TEST_CASE("a device that takes no such rules is asked once; one that is full, again when there is room", "[port][flow]") {
  Steered s;
  DeviceFaker device;
  device.takes_udp = false;
  for (std::uint32_t spi = 0x2000; spi < 0x2005; ++spi) s.steering.done(done(inbound(spi, Family::V4, true)));
  CHECK(device.asked == std::vector<std::string>{"validate"});
  CHECK(s.counts(1) == Counts{0, 5});
  device.asked.clear();
  device.room = 2;
  for (std::uint32_t spi = 0x2100; spi < 0x2106; ++spi) s.steering.done(done(inbound(spi)));
  CHECK(device.asked == std::vector<std::string>{"validate", "create", "create", "create"});
  CHECK(s.counts(1) == Counts{2, 9});
  s.steering.done(removed(0x2103));  // had none
  s.steering.done(removed(0x2100));
  s.steering.done(done(inbound(0x2106)));
  CHECK((device.rule(0x2106) != nullptr && device.rules.size() == 2));
  CHECK(s.counts(1) == Counts{2, 9});
}

TEST_CASE("rules of a port are bounded", "[port][flow]") {
  Steered s;
  DeviceFaker device;
  for (std::uint32_t i = 0; i < FlowRules::kMax + 10; ++i) s.steering.done(done(inbound(0x10000 + i)));
  CHECK(device.rules.size() == FlowRules::kMax);
  CHECK(s.counts(1) == Counts{FlowRules::kMax, 10});
}

TEST_CASE("a device's wish for a reset is followed: parked, reset, configured, started, its rules made anew", "[port][flow][rcu]") {
  Steered s;
  DeviceFaker device;
  auto rcu = Rcu::create(1);
  REQUIRE(rcu);
  PortKeeper keeper(s.ports, s.interfaces, {}, **rcu);
  std::vector<shm::PortCounters> counters(2);
  (*rcu)->online(0);
  std::uint64_t now = 1;
  const auto look = [&] {
    (*rcu)->quiescent(0);
    (*rcu)->reclaim();
    return keeper.look(counters, now += 1'000'000);
  };
  for (const std::uint32_t spi : {0x3000U, 0x3001U}) s.steering.done(done(inbound(spi)));
  CHECK(look().empty());
  device.wants_reset(s.wan.id);
  CHECK(s.ports[1]->reset_wanted());
  CHECK((look().empty() && s.ports[1]->queues() == 0 && s.ports[0]->queues() == 2));
  CHECK(device.rules.empty());
  // What comes and goes meanwhile counts when it is back.
  s.steering.done(removed(0x3000));
  s.steering.done(done(inbound(0x3002)));
  device.reset_result = -EIO;
  for (int i = 0; i < 3; ++i) CHECK(look().empty());
  CHECK((s.ports[1]->queues() == 0 && std::ranges::count(device.asked, "reset") == 1));  // not again at once
  now += PortKeeper::kTryAgain;
  device.reset_result = 0;
  device.room = 1;
  std::vector<std::uint16_t> returned;
  for (int i = 0; i < 5 && returned.empty(); ++i) returned = look();
  CHECK(returned == std::vector<std::uint16_t>{1});
  CHECK(std::ranges::count(device.asked, "reset") == 2);
  CHECK((s.ports[1]->queues() == 2 && !s.ports[1]->reset_wanted()));
  CHECK((device.rules.size() == 1 && device.rule(0x3000) == nullptr));
  CHECK(s.counts(1) == Counts{1, 1});
  // It carries frames again.
  s.wan.take_over();
  s.wan.arrives(Bytes(60, 1), 1);
  std::array<Packet, 4> views;
  CHECK(s.ports[1]->receive(1, views) == 1);
  BufferPool::release(nullptr, std::span(&views[0].handle, 1));
  (*rcu)->offline(0);
}

TEST_CASE("a driver with rules, but none for ESP, is asked once and left in peace: net_tap", "[port][flow]") {
  BufferPool& pool = buffers();
  const int before = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (before < 0 || ::unshare(CLONE_NEWNET) != 0) {
    WARN("skipped: a network namespace needs root");
    if (before >= 0) ::close(before);
    return;
  }
  config::Port config;
  config.name = "tap";
  config.device = "net_tap_rules,iface=rules0";
  {
    auto port = Port::open(config, 0, 2, pool);
    if (!port) {
      WARN("skipped: " + port.error());
    } else {
      CHECK((*port)->queues() == 2);
      for (std::uint32_t spi = 1; spi <= 3; ++spi) (*port)->steer({Spi{spi}, Family::V4, false, 1});
      shm::PortCounters c{};
      (*port)->read_counters(c);
      CHECK((c.flow_rules.get() == 0 && c.flow_refused.get() == 3));
      (*port)->unsteer(Spi{1});
    }
  }
  CHECK(::setns(before, CLONE_NEWNET) == 0);
  ::close(before);
}

}  // namespace culvert::dp

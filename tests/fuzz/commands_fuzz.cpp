// Fuzzes the command ring: whatever stands in it, the data plane answers each command once, and keeps its tables within their bounds.
//   input: records: kind (1 byte), offset (2 bytes), length (1 byte), bytes that are written into a message at the offset.
//     kind 0-7, 9: the message of this kind before that, each of them one that would be done; 8: what there is by now is done at once.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include <spdlog/spdlog.h>

#include "dataplane/io/eal.hpp"
#include "dataplane/manager/commands.hpp"

namespace {

using namespace culvert;
using namespace culvert::dp;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Made once: DPDK has no other way. The SAs and policies of one input end with it.
struct Rig {
  static constexpr std::uint32_t kCapacity = 64;
  decltype(Eal::start("", {})) eal =
      Eal::start("fuzz", {"--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "128", "--lcores", "0", "--log-level", "*:1"});
  std::optional<shm::Segment> segment;
  InboundTable inbound{kCapacity};
  OutboundTable outbound{kCapacity};
  std::vector<PolicyState> policies = std::vector<PolicyState>(shm::kMaxPolicies + 1);
  std::atomic<const Spd*> spd{nullptr};
  std::unique_ptr<Rcu> rcu;
  std::optional<CryptoEngine> crypto;
  std::vector<Interface> interfaces{{.name = "wan", .addresses = {{IpAddress::v4(0x0a090001), 16}}}};
  std::vector<Interface> tunnels{{.name = "tun0", .addresses = {}}};
  OwnAddresses own{interfaces};

  Rig() {
    spdlog::set_level(spdlog::level::off);  // each refusal is logged
    require(eal.has_value());
    auto made = shm::Segment::create(1, 1, kCapacity);
    auto reclaimer = Rcu::create(1);
    auto engine = CryptoEngine::create();
    require(made && reclaimer && engine);
    segment.emplace(std::move(*made));
    rcu = std::move(*reclaimer);
    crypto.emplace(std::move(*engine));
  }
};

shm::InstallSa good_sa(Direction direction) {
  shm::InstallSa m;
  m.direction = direction;
  m.slot = 5;
  m.spi = Spi{0xc0000005};
  m.policy = PolicyId{1};
  m.local.address = IpAddress::v4(0x0a090001);
  m.remote.address = IpAddress::v4(0x0a090002);
  m.local_ts = TrafficSelector::parse("10.1.0.0/24").value();
  m.remote_ts = TrafficSelector::parse("10.2.0.0/24").value();
  m.more.remotes = 1;
  m.more.all[0] = TrafficSelector::parse("10.3.0.0/24").value();
  m.suite = parse_esp_proposal("aes128gcm16").value().front();
  m.encr_key_bytes = 20;
  m.pair = 7;
  m.name = shm::Name("c/net");
  return m;
}

shm::Message good(unsigned kind, std::uint32_t transaction) {
  shm::InstallPolicy policy;
  policy.policy = PolicyId{1};
  policy.priority = 10;
  policy.action = shm::PolicyAction::Protect;
  policy.local_ts = TrafficSelector::parse("10.1.0.0/24").value();
  policy.remote_ts = TrafficSelector::parse("10.2.0.0/24").value();
  policy.more.locals = policy.more.remotes = 1;
  policy.more.all[0] = policy.more.all[1] = TrafficSelector::parse("10.3.0.0/24[udp/53]").value();
  policy.name = shm::Name("c/net");
  switch (kind) {
    case 0:
      return shm::Message::of(policy, transaction);
    case 1:
      return shm::Message::of(shm::RemovePolicy{PolicyId{1}}, transaction);
    case 2:
      return shm::Message::of(good_sa(Direction::Inbound), transaction);
    case 3:
      return shm::Message::of(good_sa(Direction::Outbound), transaction);
    case 4:
      return shm::Message::of(shm::RemoveSa{Direction::Inbound, 5, Spi{0xc0000005}}, transaction);
    case 5:
      return shm::Message::of(shm::RemoveSa{Direction::Outbound, 5, Spi{0xc0000005}}, transaction);
    case 6:
      return shm::Message::of(shm::MoveSa{5, Spi{0xc0000005}, {IpAddress::v4(0x0a090003), 4500}}, transaction);
    case 9:
      return shm::Message::of(shm::SkipNumbers{5, Spi{0xc0000005}, 1000}, transaction);
    default:
      return shm::Message::of(shm::PoliciesComplete{}, transaction);
  }
}

void apply(Commands& commands, std::vector<shm::Message>& batch, std::uint64_t& now) {
  const auto acks = commands.apply(batch, now += 1'000'000'000);
  require(acks.size() == batch.size());
  for (std::size_t i = 0; i < acks.size(); ++i) {
    require(acks[i].transaction == batch[i].transaction);
    require(shm::to_string(acks[i].result) != "unknown");
  }
  batch.clear();
  require(commands.expirations(now).size() <= 4UL * Rig::kCapacity);
  require(commands.moves().size() <= Rig::kCapacity);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Rig rig;
  Commands commands(
      {*rig.segment, rig.inbound, rig.outbound, rig.policies, rig.spd, *rig.rcu, *rig.crypto, std::span(&rig.own, 1), 1, rig.tunnels});
  commands.attached();
  Reader in(ByteView(data, size));
  std::vector<shm::Message> batch;
  std::uint64_t now = 0;
  std::uint32_t transaction = 0;
  while (in.ok() && in.remaining() > 0) {
    const unsigned kind = in.be<std::uint8_t>() % 10;
    if (kind == 8 || batch.size() == 16) {
      apply(commands, batch, now);
      continue;
    }
    shm::Message m = good(kind, ++transaction);
    const std::size_t offset = in.be<std::uint16_t>() % m.body.size();
    const ByteView bytes = in.take(std::min<std::size_t>({in.be<std::uint8_t>(), in.remaining(), m.body.size() - offset}));
    for (std::size_t i = 0; i < bytes.size(); ++i) m.body[offset + i] = std::byte{bytes[i]};
    batch.push_back(m);
  }
  apply(commands, batch, now);
  // What the input has left goes, so that each begins with empty tables.
  for (std::uint32_t slot = 0; slot < Rig::kCapacity; ++slot) {
    if (const InboundSa* sa = rig.inbound.at(slot))
      batch.push_back(shm::Message::of(shm::RemoveSa{Direction::Inbound, slot, sa->spi}, ++transaction));
    if (const OutboundSa* sa = rig.outbound.at(slot))
      batch.push_back(shm::Message::of(shm::RemoveSa{Direction::Outbound, slot, sa->spi}, ++transaction));
  }
  for (const shm::Ack& ack : commands.apply(batch, now)) require(ack.result == shm::AckResult::Ok);
  require(rig.rcu->reclaim() == 0);
  return 0;
}

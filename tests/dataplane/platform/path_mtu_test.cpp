// What routers say of tunnels' paths: what is read of it, what is believed, and for how long.
#include "dataplane/nodes/path_mtu.hpp"

#include "dataplane/manager/commands.hpp"
#include "dataplane/nodes/icmp.hpp"
#include "tests/dataplane/platform/tables.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint32_t kUs = 0x0a090001, kPeer = 0x0a090002, kRouter = 0x0a090063, kStranger = 0xc0000201;
constexpr std::uint32_t kSpi = 0x1234;

struct Quoted {
  std::uint8_t protocol = kProtocolEsp;
  std::uint16_t port = 0;
  std::uint32_t source = kUs, destination = kPeer, spi = kSpi, sequence = 5;
  std::uint16_t length = 1400;
  std::size_t payload = 32;  ///< bytes of it that are quoted
};
Bytes error(const Quoted& q, std::uint16_t mtu, std::uint8_t code = 4) {
  Bytes payload(64);
  std::size_t at = 0;
  if (q.protocol == kProtocolUdp) {
    store_be16(&payload[0], q.port);
    store_be16(&payload[2], q.port);
    at = q.port == 500 ? 16 : 8;
  } else if (q.protocol == kProtocolAh) {
    at = 4;
  }
  store_be32(&payload[at], q.spi);
  store_be32(&payload[at + 4], q.sequence);
  payload.resize(q.payload);
  Bytes b = packet_of(kRouter, kUs, kProtocolIcmp, 0, 0);
  b[20] = 3, b[21] = code, b[22] = b[23] = 0;
  store_be16(&b[26], mtu);
  Bytes inner = packet_of(q.source, q.destination, q.protocol, 0, 0);
  store_be16(&inner[2], q.length);
  inner.resize(20);
  b.insert(b.end(), inner.begin(), inner.end());
  b.insert(b.end(), payload.begin(), payload.end());
  store_be16(&b[2], static_cast<std::uint16_t>(b.size()));
  set_ipv4_checksum(b.data());
  const auto sum = static_cast<std::uint16_t>(~sum_bytes(&b[20], static_cast<std::uint32_t>(b.size() - 20)));
  std::memcpy(&b[22], &sum, sizeof sum);
  return b;
}
std::optional<PathMtuClaim> claim(Bytes bytes) {
  Packet p;
  p.data = bytes.data();
  p.length = static_cast<std::uint32_t>(bytes.size());
  REQUIRE(parse_ip(p));
  return path_mtu_claim(p);
}

/// The same over IPv6, from ::a1 to ::a2; `code` is any.
IpAddress v6(std::uint8_t last) {
  IpAddress a = v4(0);
  a.family = Family::V6;
  a.bytes.fill(0);
  a.bytes[0] = 0xfd;
  a.bytes[15] = last;
  return a;
}
void header_v6(std::uint8_t* h, const IpAddress& from, const IpAddress& to, std::uint8_t next, std::size_t payload) {
  h[0] = 0x60;
  store_be16(h + 4, static_cast<std::uint16_t>(payload));
  h[6] = next, h[7] = 64;
  std::copy(from.bytes.begin(), from.bytes.end(), h + 8);
  std::copy(to.bytes.begin(), to.bytes.end(), h + 24);
}
Bytes error_v6(const Quoted& q, std::uint32_t mtu) {
  const Bytes v4_error = error(q, 1300);
  Bytes b(88 + v4_error.size() - 48);
  for (std::size_t i = 48; i < v4_error.size(); ++i) b[88 + i - 48] = v4_error[i];
  header_v6(&b[0], v6(0x99), v6(1), kProtocolIcmpv6, b.size() - 40);
  b[40] = 2;
  store_be32(&b[44], mtu);
  header_v6(&b[48], v6(1), v6(2), q.protocol, q.length - 40U);
  const auto sum =
      static_cast<std::uint16_t>(~upper_sum(Family::V6, b.data(), kProtocolIcmpv6, &b[40], static_cast<std::uint32_t>(b.size() - 40)));
  std::memcpy(&b[42], &sum, sizeof sum);
  return b;
}

/// A manager's commands with one route to the peer, over a port of 1500 bytes.
struct Rig {
  static constexpr std::uint32_t kCapacity = 64;
  std::vector<Interface> interfaces{{.name = "wan", .addresses = {{v4(kUs), 16}, {v6(1), 64}}}};
  NeighborTable neighbors;
  std::unique_ptr<Fib> fib = std::move(*Fib::build(interfaces, {}, neighbors));
  shm::Segment segment = std::move(*shm::Segment::create(1, 1, kCapacity));
  InboundTable inbound{kCapacity};
  OutboundTable outbound{kCapacity};
  std::vector<PolicyState> policies = std::vector<PolicyState>(shm::kMaxPolicies + 1);
  std::atomic<const Spd*> spd{nullptr};
  std::unique_ptr<Rcu> rcu = std::move(*Rcu::create(1));
  CryptoEngine crypto = std::move(*CryptoEngine::create());
  OwnAddresses own{interfaces};
  Commands commands{{segment, inbound, outbound, policies, spd, *rcu, crypto, std::span(&own, 1), 1, {}, fib.get(), interfaces}};

  void apply(const auto& message) {
    const auto m = shm::Message::of(message, 1);
    REQUIRE(commands.apply({&m, 1}, 0).at(0).result == shm::AckResult::Ok);
  }
  OutboundSa& install(std::uint32_t slot, std::uint32_t spi, const Quoted& like = {}, std::uint64_t sent = 10, bool outside_v6 = false) {
    shm::InstallSa m;
    m.direction = Direction::Outbound;
    m.slot = slot;
    m.spi = Spi{spi};
    m.policy = PolicyId{1};
    m.local = {v4(kUs), like.port};
    m.remote = {v4(like.destination), like.port};
    if (outside_v6) m.local.address = v6(1), m.remote.address = v6(2);
    m.local_ts = TrafficSelector::parse("10.1.0.0/24").value();
    m.remote_ts = TrafficSelector::parse("10.2.0.0/24").value();
    m.suite =
        like.protocol == kProtocolAh ? parse_ah_proposal("sha256").value().front() : parse_esp_proposal("aes128gcm16").value().front();
    m.encr_key_bytes = like.protocol == kProtocolAh ? 0 : 20;
    m.integ_key_bytes = like.protocol == kProtocolAh ? 32 : 0;
    apply(m);
    outbound.at(slot)->counters->sequence.publish(sent);
    return *outbound.at(slot);
  }
  bool learn(const Quoted& q, std::uint16_t mtu, std::uint64_t now = 0) {
    const auto c = claim(error(q, mtu));
    return c && commands.learn_path_mtu(*c, now);
  }
  /// (largest inner packet, path MTU) as the record says.
  std::pair<unsigned, unsigned> shown(std::uint32_t slot) {
    shm::SaSnapshot s;
    REQUIRE(shm::read_record(segment.records(Direction::Outbound)[slot], s));
    return {s.mtu, s.path_mtu};
  }
};
}  // namespace

TEST_CASE("what an ICMP error claims", "[path_mtu][rfc1191-4][attack-K4]") {
  for (const Quoted& q : {Quoted{}, Quoted{.protocol = kProtocolAh}, Quoted{.protocol = kProtocolUdp, .port = 4500},
                          Quoted{.protocol = kProtocolUdp, .port = 500}}) {
    const auto c = claim(error(q, 1300));
    REQUIRE(c);
    CHECK(c->local == v4(kUs));
    CHECK(c->remote == v4(kPeer));
    CHECK(c->protocol == q.protocol);
    CHECK(c->local_port == q.port);
    CHECK(c->remote_port == q.port);
    CHECK(c->spi == Spi{kSpi});
    CHECK(c->sequence == 5);
    CHECK(c->length == 1400);
    CHECK(c->mtu == 1300);
  }
  // A router that quotes no more than RFC 792 asks for.
  CHECK(claim(error({.payload = 8}, 1300))->sequence == 5);
  CHECK_FALSE(claim(error({.protocol = kProtocolAh, .payload = 8}, 1300))->sequence);
  CHECK_FALSE(claim(error({.protocol = kProtocolUdp, .port = 4500, .payload = 8}, 1300)));
  CHECK_FALSE(claim(error({.payload = 3}, 1300)));
  // One from before RFC 1191.
  CHECK(claim(error({.length = 1500}, 0))->mtu == 1492);
  CHECK(claim(error({.length = 1492}, 0))->mtu == 1006);
  CHECK(claim(error({.length = 100}, 0))->mtu == 0);
  // Others.
  CHECK_FALSE(claim(error({}, 1300, 1)));
  CHECK_FALSE(claim(error({.protocol = kProtocolTcp}, 1300)));
  Bytes wrong = error({}, 1300);
  wrong.back() ^= 1;
  CHECK_FALSE(claim(wrong));  // its checksum
  for (std::size_t size = 20; size < 56; ++size) {
    Bytes cut = error({}, 1300);
    cut.resize(size);
    store_be16(&cut[2], static_cast<std::uint16_t>(size));
    set_ipv4_checksum(cut.data());
    CHECK_FALSE(claim(cut));
  }
}

TEST_CASE("only what quotes a packet of an SA is believed", "[path_mtu][rfc4301-8.2.1][attack-K4]") {
  need_eal();
  for (const Quoted& good : {Quoted{}, Quoted{.protocol = kProtocolAh}, Quoted{.protocol = kProtocolUdp, .port = 4500},
                             Quoted{.protocol = kProtocolUdp, .port = 500}}) {
    Rig rig;
    OutboundSa& sa = rig.install(3, kSpi, good);
    const unsigned whole = rig.shown(3).first;
    CHECK(whole == effective_mtu(sa, 1500));
    const auto ignored = [&](auto change, std::uint16_t mtu = 1300) {
      Quoted q = good;
      change(q);
      return !rig.learn(q, mtu) && sa.path_mtu == OutboundSa::kAnyMtu;
    };
    CHECK(ignored([](Quoted& q) { q.spi = kSpi + 1; }));
    CHECK(ignored([](Quoted& q) { q.source = kStranger; }));
    CHECK(ignored([](Quoted& q) { q.destination = kStranger; }));
    CHECK(ignored([](Quoted& q) { q.protocol = q.protocol == kProtocolEsp ? kProtocolAh : kProtocolEsp; }));
    CHECK(ignored([](Quoted& q) { q.sequence = 11; }));  // not sent yet
    CHECK(ignored([](Quoted& q) { q.sequence = 0; }));
    CHECK(ignored([](Quoted&) {}, 1400));  // it would have fitted
    if (good.port != 0) CHECK(ignored([](Quoted& q) { q.port = q.port == 500 ? 4500 : 500; }));
    CHECK(rig.learn(good, 1300));
    CHECK(sa.path_mtu == 1300);
    CHECK(rig.shown(3) == std::pair<unsigned, unsigned>{effective_mtu(sa, 1300), 1300});
    CHECK(rig.learn(good, 1350));  // a router before the narrow place says nothing new
    CHECK(sa.path_mtu == 1300);
    CHECK(rig.learn(good, 68));  // none is that small: RFC 791
    CHECK(sa.path_mtu == 576);
    CHECK(rig.shown(3).second == 576);
  }
}

TEST_CASE("IPv6: routers are believed about packets of an SA, down to 1,280 bytes", "[path_mtu][v6][rfc8201-4][rfc4443-3.2][attack-K4]") {
  need_eal();
  for (const Quoted& good : {Quoted{}, Quoted{.protocol = kProtocolAh}, Quoted{.protocol = kProtocolUdp, .port = 4500}}) {
    const auto c = claim(error_v6(good, 1300));
    REQUIRE(c);
    CHECK(c->local == v6(1));
    CHECK(c->remote == v6(2));
    CHECK(c->spi == Spi{kSpi});
    CHECK(c->sequence == 5);
    CHECK(c->length == 1400);
    CHECK(c->mtu == 1300);
    Rig rig;
    OutboundSa& sa = rig.install(3, kSpi, good, 10, true);
    CHECK(rig.shown(3).first == effective_mtu(sa, 1500));
    Quoted other = good;
    other.sequence = 11;
    CHECK_FALSE(rig.commands.learn_path_mtu(*claim(error_v6(other, 1300)), 0));
    CHECK_FALSE(rig.learn(good, 1300));  // an IPv4 packet with the same numbers is none of this SA's
    CHECK(rig.commands.learn_path_mtu(*c, 0));
    CHECK(rig.shown(3) == std::pair<unsigned, unsigned>{effective_mtu(sa, 1300), 1300});
    CHECK(rig.commands.learn_path_mtu(*claim(error_v6(good, 600)), 0));
    CHECK(sa.path_mtu == 1280);
  }
  Bytes wrong = error_v6({}, 1300);
  wrong.back() ^= 1;
  CHECK_FALSE(claim(wrong));
  for (std::size_t size = 40; size < 96; ++size) {
    Bytes cut = error_v6({}, 1300);
    cut.resize(size);
    store_be16(&cut[4], static_cast<std::uint16_t>(size - 40));
    Packet p;
    p.data = cut.data();
    p.length = static_cast<std::uint32_t>(size);
    if (parse_ip(p)) CHECK_FALSE(path_mtu_claim(p));
  }
}

TEST_CASE("numbers of packets that were sent lately", "[path_mtu][attack-K4]") {
  need_eal();
  Rig rig;
  OutboundSa& sa = rig.install(3, kSpi, {}, 0);
  CHECK_FALSE(rig.learn({.sequence = 0}, 1300));
  for (const std::uint64_t sent : {std::uint64_t{10'000'000}, std::uint64_t{0x100000005}}) {  // with ESN the upper half is not told
    sa.counters->sequence.publish(sent);
    const auto low = static_cast<std::uint32_t>(sent);
    CHECK_FALSE(rig.learn({.sequence = low + 1}, 1300));
    CHECK_FALSE(rig.learn({.sequence = low - kQuotedWindow}, 1300));
    CHECK(rig.learn({.sequence = low - kQuotedWindow + 1}, 1300));
    CHECK(rig.learn({.sequence = low}, 1300));
  }
}

TEST_CASE("what was learnt is forgotten after ten minutes, and goes to a successor", "[path_mtu][rfc1191-6.3]") {
  need_eal();
  Rig rig;
  OutboundSa& first = rig.install(3, kSpi);
  constexpr std::uint64_t kSecond = 1'000'000'000;
  CHECK(rig.learn({}, 1300, 0));
  CHECK(rig.learn({}, 1300, 60 * kSecond));  // still so
  OutboundSa& second = rig.install(4, kSpi + 1);
  CHECK(second.path_mtu == 1300);
  CHECK(rig.shown(4).second == 1300);
  OutboundSa& elsewhere = rig.install(5, kSpi + 2, {.destination = kPeer + 1});
  CHECK(elsewhere.path_mtu == OutboundSa::kAnyMtu);
  rig.commands.forget_path_mtus(659 * kSecond);
  CHECK(first.path_mtu == 1300);
  rig.apply(shm::RemoveSa{Direction::Outbound, 4, Spi{kSpi + 1}});
  rig.commands.forget_path_mtus(660 * kSecond);
  CHECK(first.path_mtu == OutboundSa::kAnyMtu);
  CHECK(rig.shown(3) == std::pair<unsigned, unsigned>{effective_mtu(first, 1500), 0});
  CHECK(rig.learn({}, 1280, 700 * kSecond));
  rig.apply(shm::RemoveSa{Direction::Outbound, 3, Spi{kSpi}});
  CHECK_FALSE(rig.learn({}, 1280, 700 * kSecond));
  // A peer that moves is elsewhere.
  OutboundSa& roaming = rig.install(6, kSpi, {.port = 4500});
  CHECK(rig.learn({.protocol = kProtocolUdp, .port = 4500}, 1280, 0));
  rig.apply(shm::MoveSa{6, Spi{kSpi}, {v4(kPeer + 9), 4500}});
  CHECK(roaming.path_mtu == OutboundSa::kAnyMtu);
}

}  // namespace culvert::dp

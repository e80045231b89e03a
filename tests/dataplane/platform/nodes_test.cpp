// The nodes of the packet path that are no ESP, row by row, without EAL.
#include "dataplane/nodes/arp.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/icmp.hpp"
#include "dataplane/nodes/policy_rules.hpp"
#include "dataplane/nodes/token_bucket.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {
namespace {
using test::OwnedPacket;

constexpr std::uint32_t kLan = 0x0a010001, kHost = 0x0a01000a, kFar = 0x0a020005, kWan = 0x0a090001, kPeer = 0x0a090002;

Interface lan() { return {"lan", {2, 0, 0, 0, 0, 1}, 1500, {{IpAddress::v4(kLan), 24}}}; }
std::vector<Interface> both() { return {{"wan", {2, 0, 0, 0, 0, 2}, 1400, {{IpAddress::v4(kWan), 24}}}, lan()}; }

struct Flow {
  std::uint32_t source, destination;
  std::uint8_t protocol;
  Bytes upper;
  std::uint16_t fragment = 0;
  std::uint8_t ttl = 64;
};
Bytes ipv4(const Flow& f) {
  Bytes b(kIpv4HeaderBytes);
  b[0] = 0x45;
  store_be16(b.data() + 2, static_cast<std::uint16_t>(kIpv4HeaderBytes + f.upper.size()));
  store_be16(b.data() + 6, f.fragment);
  b[8] = f.ttl;
  b[9] = f.protocol;
  store_be32(b.data() + 12, f.source);
  store_be32(b.data() + 16, f.destination);
  set_ipv4_checksum(b.data());
  b.insert(b.end(), f.upper.begin(), f.upper.end());
  return b;
}
Bytes udp(std::uint16_t source, std::uint16_t destination, const Bytes& payload, int length_error = 0) {
  Bytes b(kUdpHeaderBytes);
  store_be16(b.data(), source);
  store_be16(b.data() + 2, destination);
  store_be16(b.data() + 4, static_cast<std::uint16_t>(static_cast<int>(kUdpHeaderBytes + payload.size()) + length_error));
  b.insert(b.end(), payload.begin(), payload.end());
  return b;
}
struct Parsed {
  OwnedPacket owned;
  explicit Parsed(const Bytes& b) : owned(b, 128, 64) { REQUIRE(parse_ip(owned.view)); }
  Packet& view() { return owned.view; }
};
}  // namespace

TEST_CASE("for an own address: ESP, IKE, keepalive and the rest are told apart", "[classify][rfc3948-2]") {
  struct Row {
    const char* what;
    Flow flow;
    LocalKind kind;
  };
  const Bytes marker{0, 0, 0, 0, 1, 2, 3, 4};
  const Bytes spi{0xc0, 0, 0, 1, 0, 0, 0, 1};
  const std::vector<Row> rows{
      {"protocol 50", {kPeer, kWan, 50, Bytes(40)}, LocalKind::Esp},
      {"UDP 500", {kPeer, kWan, 17, udp(500, 500, Bytes(28, 1))}, LocalKind::Ike},
      {"UDP 500, non-IKE marker", {kPeer, kWan, 17, udp(1, 500, Bytes(8))}, LocalKind::Esp},
      {"UDP 500, seven zero bytes", {kPeer, kWan, 17, udp(1, 500, Bytes(7))}, LocalKind::Ike},
      {"UDP 500, keepalive", {kPeer, kWan, 17, udp(1, 500, {0xff})}, LocalKind::Keepalive},
      {"UDP 500, empty", {kPeer, kWan, 17, udp(500, 500, {})}, LocalKind::Ike},
      {"UDP 4500, marker", {kPeer, kWan, 17, udp(1, 4500, marker)}, LocalKind::Ike},
      {"UDP 4500, ESP", {kPeer, kWan, 17, udp(1, 4500, spi)}, LocalKind::Esp},
      {"UDP 4500, keepalive", {kPeer, kWan, 17, udp(1, 4500, {0xff})}, LocalKind::Keepalive},
      {"UDP 4500, one other byte", {kPeer, kWan, 17, udp(1, 4500, {0xfe})}, LocalKind::Malformed},
      {"UDP 4500, two bytes of 0xff", {kPeer, kWan, 17, udp(1, 4500, {0xff, 0xff})}, LocalKind::Malformed},
      {"UDP length too large", {kPeer, kWan, 17, udp(1, 500, Bytes(9), 1)}, LocalKind::Malformed},
      {"UDP length below 8", {kPeer, kWan, 17, udp(1, 500, {}, -1)}, LocalKind::Malformed},
      {"UDP cut short", {kPeer, kWan, 17, {0x01, 0xf4, 0x01, 0xf4}}, LocalKind::Malformed},
      {"UDP 53", {kPeer, kWan, 17, udp(1, 53, Bytes(9))}, LocalKind::Other},
      {"TCP", {kPeer, kWan, 6, Bytes(20)}, LocalKind::Other},
      {"ICMP", {kPeer, kWan, 1, Bytes(8)}, LocalKind::Icmp},
      {"first fragment of IKE", {kPeer, kWan, 17, udp(500, 500, Bytes(28)), kIpv4Mf}, LocalKind::Fragment},
      {"later fragment of ESP", {kPeer, kWan, 50, Bytes(40), 5}, LocalKind::Fragment},
  };
  for (const Row& r : rows) {
    INFO(r.what);
    Parsed p(ipv4(r.flow));
    CHECK(classify_local(p.view()) == r.kind);
  }
}

TEST_CASE("IKE's first messages are told from those that name our cookie", "[classify][rfc2408-3.1][K8]") {
  const auto begins = [](std::uint16_t port, std::size_t bytes, std::size_t set) {
    Bytes payload(bytes);
    if (set < bytes) payload[set] = 1;
    Parsed p(ipv4({kPeer, kWan, 17, udp(500, port, payload)}));
    return begins_negotiation(p.view());
  };
  CHECK(begins(500, 28, 0));
  CHECK(begins(500, 28, 16));
  CHECK(begins(500, 15, 9));
  CHECK(begins(4500, 19, 13));
  CHECK(begins(4500, 32, 5));
  CHECK(begins(4500, 32, 20));
  CHECK(begins(500, 0, 0));
  for (std::size_t at = 8; at < 16; ++at) {
    CHECK_FALSE(begins(500, 28, at));
    CHECK_FALSE(begins(4500, 32, at + 4));
  }
}

TEST_CASE("martian sources", "[classify][rfc1812-5.3.7][attack-K6]") {
  const auto interfaces = both();
  const OwnAddresses own(interfaces);
  for (const std::uint32_t bad : {0U, 0x00ffffffU, 0x7f000001U, 0xe0000001U, 0xefffffffU, 0xf0000000U, 0xffffffffU, kLan, kWan})
    CHECK(martian_source_v4(bad, own));
  for (const std::uint32_t good : {kHost, kPeer, 0x01000000U, 0xdfffffffU}) CHECK_FALSE(martian_source_v4(good, own));
}

TEST_CASE("a later fragment has no ports", "[classify]") {
  Parsed p(ipv4({kHost, kFar, 17, udp(7, 8, Bytes(16)), 3}));
  CHECK((p.view().fragment && p.view().ports_hidden && p.view().source_port == 0 && p.view().destination_port == 0));
  Parsed first(ipv4({kHost, kFar, 17, udp(7, 8, Bytes(16)), kIpv4Mf}));
  CHECK((first.view().fragment && !first.view().ports_hidden && first.view().destination_port == 8));
  Parsed runt(ipv4({kHost, kFar, 6, Bytes(3), kIpv4Mf}));
  CHECK(runt.view().ports_hidden);
  Parsed portless(ipv4({kHost, kFar, 1, Bytes(16), 3}));
  CHECK_FALSE(portless.view().ports_hidden);
}

TEST_CASE("ARP: a request for our address is answered, and teaches only what is asked for", "[arp][rfc826]") {
  NeighborTable table;
  const Interface i = lan();
  Bytes wire{0, 1, 8, 0, 6, 4, 0, 1, 2, 9, 9, 9, 9, 9, 10, 1, 0, 10, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1};
  wire.resize(46);
  OwnedPacket p(wire, 14, 0);
  const NeighborVerdict v = arp_in(p.view, i, 1, table);
  CHECK((v.reply && !v.learned && !v.counted));
  CHECK(v.to == Neighbor::Mac{2, 9, 9, 9, 9, 9});
  CHECK(table.size() == 0);
  CHECK(p.bytes() == Bytes{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 1, 0, 1, 2, 9, 9, 9, 9, 9, 10, 1, 0, 10});

  Neighbor* asked = table.add({IpAddress::v4(kHost), 1});
  OwnedPacket again(wire, 14, 0);
  CHECK(arp_in(again.view, i, 1, table).learned);
  CHECK(asked->state() == NeighborState::Reachable);
  CHECK(asked->link.load() == Neighbor::encode(NeighborState::Reachable, {2, 9, 9, 9, 9, 9}));
}

TEST_CASE("ARP: a host that asks for us in the name of an address beyond our networks is answered", "[arp][rfc826]") {
  NeighborTable table;
  const Interface i = lan();
  Bytes wire{0, 1, 8, 0, 6, 4, 0, 1, 2, 9, 9, 9, 9, 9, 10, 3, 7, 1, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1};
  wire.resize(46);
  OwnedPacket request(wire, 14, 0);
  const NeighborVerdict v = arp_in(request.view, i, 1, table);
  CHECK((v.reply && !v.learned && !v.counted));
  CHECK(table.size() == 0);

  wire[7] = 2;  // as an answer that nobody asked for
  OwnedPacket unasked(wire, 14, 0);
  CHECK(arp_in(unasked.view, i, 1, table).counted);
  table.add({IpAddress::parse("10.3.7.1").value(), 1});  // we have a packet for it
  OwnedPacket asked(wire, 14, 0);
  CHECK((arp_in(asked.view, i, 1, table).learned));
}

TEST_CASE("ARP: what is wrong is refused, at every length", "[arp][attack-K7]") {
  NeighborTable table;
  const Interface i = lan();
  const Bytes good{0, 1, 8, 0, 6, 4, 0, 2, 2, 9, 9, 9, 9, 9, 10, 1, 0, 10, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1};
  const auto verdict = [&](std::size_t at, std::uint8_t value) {
    Bytes b = good;
    b[at] = value;
    OwnedPacket p(b, 14, 0);
    return arp_in(p.view, i, 1, table);
  };
  CHECK_FALSE(verdict(7, 2).counted);
  for (const auto& [at, value] :
       std::vector<std::pair<std::size_t, std::uint8_t>>{{1, 6}, {2, 9}, {4, 8}, {5, 16}, {7, 3}, {8, 3}, {14, 11}, {17, 1}})
    CHECK(verdict(at, value).counted);
  for (std::size_t n = 0; n < good.size(); ++n) {
    OwnedPacket cut(ByteView(good).first(n), 14, 0);
    CHECK(arp_in(cut.view, i, 1, table).counted);
  }
}

TEST_CASE("ICMP echo: the reply mirrors the request", "[icmp][rfc792]") {
  for (const std::size_t size : {0U, 1U, 56U, 1000U}) {
    Bytes icmp(8 + size, 0x5a);
    icmp[0] = 8, icmp[1] = 0, icmp[2] = icmp[3] = 0;
    std::uint32_t sum = 0;
    for (std::size_t at = 0; at + 1 < icmp.size(); at += 2) sum += load_be16(&icmp[at]);
    if (icmp.size() % 2 != 0) sum += static_cast<std::uint32_t>(icmp.back()) << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    store_be16(&icmp[2], static_cast<std::uint16_t>(~sum));
    Parsed p(ipv4({kHost, kLan, 1, icmp, 0, 7}));
    REQUIRE(icmp_echo_reply(p.view()));
    CHECK(load_be32(p.view().data + 12) == kLan);
    CHECK(load_be32(p.view().data + 16) == kHost);
    CHECK((p.view().data[8] == 64 && p.view().data[20] == 0));
    CHECK(ipv4_header_sum(p.view().data, 20) == 0xffff);
    CHECK_FALSE(icmp_echo_reply(p.view()));  // a reply is not answered
  }
  Bytes wrong{8, 0, 1, 1, 0, 0, 0, 0};
  Parsed p(ipv4({kHost, kLan, 1, wrong}));
  CHECK_FALSE(icmp_echo_reply(p.view()));
}

TEST_CASE("ICMP errors: about what one is owed, and what it quotes", "[icmp][rfc1812-4.3]") {
  struct Row {
    const char* what;
    Flow flow;
    bool owed;
  };
  const std::vector<Row> rows{{"UDP", {kHost, kFar, 17, udp(1, 2, Bytes(4))}, true},
                              {"echo request", {kHost, kFar, 1, Bytes{8, 0, 0, 0, 0, 0, 0, 0}}, true},
                              {"unreachable", {kHost, kFar, 1, Bytes{3, 0, 0, 0, 0, 0, 0, 0}}, false},
                              {"time exceeded", {kHost, kFar, 1, Bytes{11, 0, 0, 0, 0, 0, 0, 0}}, false},
                              {"redirect", {kHost, kFar, 1, Bytes{5, 0, 0, 0, 0, 0, 0, 0}}, false},
                              {"ICMP without a type", {kHost, kFar, 1, {}}, false},
                              {"first fragment", {kHost, kFar, 17, udp(1, 2, Bytes(8)), kIpv4Mf}, true},
                              {"later fragment", {kHost, kFar, 17, Bytes(8), 2}, false},
                              {"from 0.0.0.0", {0, kFar, 17, Bytes(8)}, false},
                              {"from multicast", {0xe0000001, kFar, 17, Bytes(8)}, false},
                              {"to multicast", {kHost, 0xe0000001, 17, Bytes(8)}, false}};
  for (const Row& r : rows) {
    INFO(r.what);
    Parsed p(ipv4(r.flow));
    CHECK(icmp_error_allowed(p.view()) == r.owed);
  }
  for (const std::size_t size : {0U, 100U, 1400U}) {
    const Bytes original = ipv4({kHost, kFar, 17, udp(1, 2, Bytes(size, 7))});
    Parsed p(original);
    REQUIRE(icmp_error(p.view(), IcmpError::FragmentationNeeded, IpAddress::v4(kLan), 1390));
    const Bytes out = p.owned.bytes();
    CHECK(out.size() == std::min<std::size_t>(576, 28 + original.size()));
    CHECK(ipv4_header_sum(out.data(), 20) == 0xffff);
    CHECK((out[20] == 3 && out[21] == 4 && load_be16(&out[26]) == 1390));
    CHECK(std::equal(out.begin() + 28, out.end(), original.begin()));
    std::uint32_t sum = 0;
    for (std::size_t at = 20; at < out.size(); at += 2)
      sum += at + 1 < out.size() ? load_be16(&out[at]) : static_cast<std::uint32_t>(out[at]) << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    CHECK(sum == 0xffff);
  }
  OwnedPacket tight(ipv4({kHost, kFar, 17, udp(1, 2, {})}), 27, 0);
  REQUIRE(parse_ip(tight.view));
  CHECK_FALSE(icmp_error(tight.view, IcmpError::TimeExceeded, IpAddress::v4(kLan)));
}

TEST_CASE("token bucket: the burst at once, then the rate", "[limits]") {
  TokenBucket b(1000, 50);
  std::uint64_t now = 5'000'000'000;
  int taken = 0;
  for (int i = 0; i < 1000; ++i) taken += b.take(now) ? 1 : 0;
  CHECK(taken == 50);
  taken = 0;
  for (int i = 0; i < 10000; ++i) taken += b.take(now += 100'000) ? 1 : 0;  // one second
  CHECK((taken >= 999 && taken <= 1001));
}

TEST_CASE("punt limiter: one loud source does not use up the budget of others", "[limits][K8]") {
  PuntLimiter limit(42);
  std::uint64_t now = 1'000'000'000;
  int loud = 0, quiet = 0;
  for (int i = 0; i < 100000; ++i) {
    now += 10'000;  // a second in all
    loud += limit.take(IpAddress::v4(0x0a090066), PuntKind::Begun, now) ? 1 : 0;
    if (i % 1000 == 0) quiet += limit.take(IpAddress::v4(kPeer), i % 2000 == 0 ? PuntKind::First : PuntKind::Begun, now) ? 1 : 0;
  }
  CHECK(quiet == 100);
  CHECK((loud >= 5000 && loud <= 5510));
}

TEST_CASE("punt limiter: no flood of first messages, from however many sources, keeps those out who have begun",
          "[limits][K8][attack-H1]") {
  PuntLimiter limit(42);
  std::uint64_t now = 1'000'000'000;
  int first = 0, askable = 0, later = 0, tries = 0;
  for (std::uint32_t i = 0; i < 200000; ++i) {
    now += 5'000;  // a second in all
    first += limit.take(IpAddress::v4(0x0b000000 + i * 7919), PuntKind::First, now) ? 1 : 0;
    askable += limit.take(IpAddress::v4(0x0b000000 + i * 7907), PuntKind::Askable, now) ? 1 : 0;
    if (i % 20 == 0) ++tries, later += limit.take(IpAddress::v4(0x0a400000 + i), PuntKind::Begun, now) ? 1 : 0;
  }
  CHECK((first >= 9900 && first <= 10500));  // of IKEv1, whatever comes of IKEv2
  CHECK((askable >= 3900 && askable <= 4500));
  CHECK(later == tries);
}

TEST_CASE("what policy means for a packet", "[spd][rfc4301-5]") {
  SpdEntry protect{PolicyId{1}, shm::PolicyAction::Protect, true, false, {}};
  SpdEntry bypass{PolicyId{2}, shm::PolicyAction::Bypass, false, false, {}};
  SpdEntry discard{PolicyId{3}, shm::PolicyAction::Discard, false, false, {}};
  CHECK_FALSE(inbound_verdict(&protect, false).accept);
  CHECK(inbound_verdict(&protect, false).reason == Drop::PolicyClear);
  CHECK(inbound_verdict(&protect, true).accept);
  CHECK(inbound_verdict(&discard, false).reason == Drop::PolicyDiscard);
  CHECK((inbound_verdict(&bypass, false).accept && inbound_verdict(&bypass, false).by_bypass));
  CHECK((inbound_verdict(nullptr, false).accept && !inbound_verdict(nullptr, false).by_bypass));

  using enum OutboundAction;
  struct Row {
    const SpdEntry* entry;
    Origin origin;
    bool same_network, default_bypass;
    OutboundAction want;
  };
  const std::vector<Row> rows{
      {&protect, Origin::Clear, false, false, Protect},
      {&protect, Origin::Clear, true, false, Clear},
      {&bypass, Origin::Clear, false, false, Clear},
      {&discard, Origin::Clear, false, true, Discard},
      {nullptr, Origin::Clear, false, false, Discard},
      {nullptr, Origin::Clear, false, true, Clear},
      {nullptr, Origin::ClearByBypass, false, false, Clear},
      {&protect, Origin::ClearByBypass, false, false, Protect},
      {nullptr, Origin::Tunnel, false, false, Clear},
      {&discard, Origin::Tunnel, false, false, Discard},
      {&bypass, Origin::Tunnel, false, false, Clear},
      {&protect, Origin::LocalToClear, false, false, Protect},
      {nullptr, Origin::LocalToClear, false, false, Clear},
      {&discard, Origin::LocalToClear, false, false, Discard},
      {&protect, Origin::LocalToTunnel, false, false, Protect},
      {nullptr, Origin::LocalToTunnel, false, true, Discard},
      {&bypass, Origin::LocalToTunnel, false, true, Discard},
  };
  for (const Row& r : rows) CHECK(outbound_action(r.entry, r.origin, CameBy{}, r.same_network, r.default_bypass) == r.want);
  // Hub and spoke: out under another policy's SA, never back under the one that it came by.
  CHECK(outbound_action(&protect, Origin::Tunnel, {PolicyId{9}}, false, false) == Protect);
  CHECK(outbound_action(&protect, Origin::Tunnel, {PolicyId{9}, true}, false, false) == Protect);
  CHECK(outbound_action(&protect, Origin::Tunnel, {PolicyId{1}}, false, false) == Clear);
  // ... nor in clear to where it came from.
  CHECK(outbound_action(&protect, Origin::Tunnel, {PolicyId{1}, true}, false, true) == Discard);
  CHECK(outbound_action(&bypass, Origin::Tunnel, {PolicyId{1}, true}, false, false) == Clear);
  // What leaves a tunnel at once is what the rules let go in clear, wherever both ends are and whatever the default is.
  int at_once = 0;
  for (const SpdEntry* entry : {&protect, &bypass, &discard})
    for (const std::uint32_t sa : {0U, 1U, 2U, 3U, 9U})
      for (const bool back : {false, true})
        for (const bool same : {false, true})
          for (const bool bypassed : {false, true}) {
            const CameBy came_by{PolicyId{sa}, back};
            const PolicyId wins = entry == &protect ? entry->policy : PolicyId{};
            if (!settled_clear(wins, came_by)) continue;
            ++at_once;
            CHECK(outbound_action(entry, Origin::Tunnel, came_by, same, bypassed) == Clear);
          }
  CHECK(at_once == 4);  // under its own policy, by another port
}

TEST_CASE("within one network: only where the policy's sides overlap", "[spd]") {
  const Interface i = lan();
  SpdEntry wide{PolicyId{1}, shm::PolicyAction::Protect, false, true, PreparedSelector::from(TrafficSelector::from({IpAddress::v4(0), 0}))};
  const auto within = [&](const SpdEntry& entry, std::uint32_t source, std::uint32_t destination) {
    Parsed p(ipv4({source, destination, 17, udp(7, 9, {})}));
    return within_one_network(entry, p.view(), i);
  };
  CHECK(within(wide, kHost, kLan));
  CHECK_FALSE(within(wide, kHost, kFar));
  CHECK_FALSE(within(wide, kFar, kHost));  // a spoofed or remote source
  SpdEntry host{PolicyId{1}, shm::PolicyAction::Protect, false, false,
                PreparedSelector::from(TrafficSelector::from({IpAddress::v4(kLan), 32}))};
  CHECK_FALSE(within(host, kLan, kHost));
}

}  // namespace culvert::dp

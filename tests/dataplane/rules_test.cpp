// What a child's rules do to headers and sizes: DSCP, ECN, DF and TTL by the tables of RFC 4301 and RFC 6040, padding, TCP's segment size.
#include "dataplane/nodes/mss.hpp"
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
constexpr std::uint8_t kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3, kNone = 0xff;

SaPair with_rules(Worker& worker, const PacketRules& rules, const EspSuite& suite = kSuites[0], bool udp = false) {
  auto in = install(suite, Direction::Inbound, udp), out = install(suite, Direction::Outbound, udp);
  in.rules = out.rules = rules;
  return {worker, in, out};
}
EspSuite ah_suite() { return parse_ah_proposal("sha256").value().front(); }

/// A TCP packet 10.2.0.5:7 -> 10.1.0.5:9 with these flags and options (a multiple of four bytes), its checksum right.
Bytes tcp_packet(std::uint8_t flags, const Bytes& options, std::size_t payload = 0) {
  Bytes p = inner_packet(std::max<std::size_t>(28, 40 + options.size() + payload));
  p[9] = kProtocolTcp;
  set_ipv4_checksum(p.data());
  std::fill(p.begin() + 24, p.begin() + 40, std::uint8_t{0});
  p[32] = static_cast<std::uint8_t>((20 + options.size()) / 4 << 4);
  p[33] = flags;
  std::copy(options.begin(), options.end(), p.begin() + 40);
  std::uint32_t sum = kProtocolTcp + static_cast<std::uint32_t>(p.size() - 20);
  for (std::size_t i = 12; i < p.size(); i += 2) sum += p[i] * 256U + (i + 1 < p.size() ? p[i + 1] : 0U);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  store_be16(&p[36], static_cast<std::uint16_t>(~sum));
  return p;
}
bool tcp_checksum_right(const Bytes& p) {
  std::uint32_t sum = kProtocolTcp + static_cast<std::uint32_t>(p.size() - 20);
  for (std::size_t i = 12; i < p.size(); i += 2) sum += p[i] * 256U + (i + 1 < p.size() ? p[i + 1] : 0U);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}
Bytes clamped(const Bytes& packet, std::uint32_t most, bool changes) {
  OwnedPacket owned(packet, 0, 0);
  REQUIRE(parse_ip(owned.view));
  REQUIRE(opens_tcp(owned.view));
  CHECK(clamp_mss(owned.view, most) == changes);
  return owned.bytes();
}
}  // namespace

TEST_CASE("the congestion mark that comes out of a tunnel", "[rules][rfc6040-4.2][attack-K5]") {
  // RFC 6040, figure 4, row by row: the inner mark that arrives, then what becomes of it under each outer one.
  struct Row {
    std::uint8_t inner;
    std::array<std::uint8_t, 4> under;  // by the outer mark's value: Not-ECT, ECT(1), ECT(0), CE
  };
  const auto row = GENERATE(Row{kNotEct, {kNotEct, kNotEct, kNotEct, kNone}}, Row{kEct0, {kEct0, kEct1, kEct0, kCe}},
                            Row{kEct1, {kEct1, kEct1, kEct1, kCe}}, Row{kCe, {kCe, kCe, kCe, kCe}});
  const auto dscp = GENERATE(CopyDscp::No, CopyDscp::Out, CopyDscp::In, CopyDscp::Yes);
  const auto ecn = GENERATE(CopyEcn::No, CopyEcn::Yes);  // means nothing on the way in
  Worker worker;
  SaPair pair = with_rules(worker, {.ecn = ecn, .dscp = dscp});
  std::uint32_t sequence = 0;
  for (std::uint8_t outer = 0; outer < 4; ++outer)
    for (const unsigned outer_dscp : {0x00U, 0x20U, 0xfcU}) {
      const Bytes inner = inner_packet(60, static_cast<std::uint8_t>(0x20 | row.inner));
      const auto out = pair.open({pair.craft(++sequence, pair.padded(inner), static_cast<std::uint8_t>(outer_dscp | outer))});
      CAPTURE(row.inner, outer, outer_dscp, static_cast<int>(dscp));
      if (row.under[outer] == kNone) {
        CHECK(out.empty());
        continue;
      }
      REQUIRE(out.size() == 1);
      const bool copied = dscp == CopyDscp::In || dscp == CopyDscp::Yes;
      CHECK((out[0][1] & 3) == row.under[outer]);
      CHECK((out[0][1] & 0xfc) == (copied ? outer_dscp : 0x20));
      CHECK(ipv4_header_sum(out[0].data(), 20) == 0xffff);
      CHECK(out[0][8] == 63);  // decremented by who forwards, as of any packet
      CHECK(Bytes(out[0].begin() + 12, out[0].end()) == Bytes(inner.begin() + 12, inner.end()));
    }
  CHECK(worker.dropped(Drop::EspEcn) == (row.inner == kNotEct ? 3 : 0));
}

TEST_CASE("the outer header by the rules", "[rules][rfc4301-5.1.2.1][rfc6040-4.1][attack-K5]") {
  const auto df = GENERATE(CopyDf::No, CopyDf::Yes, CopyDf::Set);
  const auto ecn = GENERATE(CopyEcn::No, CopyEcn::Yes);
  const auto dscp = GENERATE(CopyDscp::No, CopyDscp::Out, CopyDscp::In, CopyDscp::Yes);
  const bool ah = GENERATE(false, true);
  Worker worker;
  SaPair pair = with_rules(worker, {.df = df, .ecn = ecn, .dscp = dscp}, ah ? ah_suite() : EspSuite(kSuites[0]));
  for (unsigned inner = 0; inner < 256; ++inner)
    for (const std::uint16_t inner_df : {std::uint16_t{0}, kIpv4Df}) {
      Bytes packet = inner_packet(60, static_cast<std::uint8_t>(inner), inner_df);
      packet[8] = static_cast<std::uint8_t>(inner);  // the TTL outside is ours, whatever it is inside
      set_ipv4_checksum(packet.data());
      const Bytes out = pair.seal({packet}).at(0);
      const bool dscp_out = dscp == CopyDscp::Out || dscp == CopyDscp::Yes;
      REQUIRE(out[1] == ((dscp_out ? inner & 0xfc : 0) | (ecn == CopyEcn::Yes ? inner & 3 : 0)));
      REQUIRE(load_be16(&out[6]) == (df == CopyDf::Set ? kIpv4Df : df == CopyDf::Yes ? inner_df : 0));
      REQUIRE(out[8] == 64);
      REQUIRE(ipv4_header_sum(out.data(), 20) == 0xffff);
      // A tunnel changes nothing of what went in, where nobody marks; but what stands outside alone is believed with "in".
      if (dscp == CopyDscp::In) packet[1] &= 3, set_ipv4_checksum(packet.data());
      REQUIRE(pair.open({out}).at(0) == packet);
    }
}

TEST_CASE("packets are padded against those who look at their size", "[rules][rfc4303-2.7]") {
  const auto& suite = kSuites[GENERATE(0U, 2U, 5U)];
  const bool udp = GENERATE(false, true);
  CAPTURE(suite.name, udp);
  Worker worker;
  SaPair pair = with_rules(worker, {.tfc_padding = 500}, suite, udp);
  const auto seal = [&](std::size_t size) { return pair.seal({inner_packet(size)}, kHeadroom, 700).at(0); };
  const std::size_t shown = seal(500).size();
  for (const std::size_t size : {28U, 29U, 64U, 300U, 499U}) {
    const Bytes out = seal(size);
    CHECK(out.size() == shown);
    CHECK(pair.open({out}).at(0) == inner_packet(size));
  }
  CHECK(seal(501).size() >= shown);
  CHECK(seal(600).size() > shown);
  CHECK(pair.counters_out->bytes.get() == 500 + 28 + 29 + 64 + 300 + 499 + 501 + 600);  // padding is no traffic
  CHECK(pair.seal({inner_packet(28)}, kHeadroom, 480).empty());                         // no room: it does not leave shorter
  CHECK(worker.dropped(Drop::NoBuffer) == 1);
  pair.outbound->pad_to = 0;
  CHECK(seal(28).size() < shown);
}

TEST_CASE("marks over both families, outside and inside", "[rules][v6][rfc6040-4][attack-K5]") {
  const auto outer = GENERATE(Family::V4, Family::V6), inner = GENERATE(Family::V4, Family::V6);
  const auto dscp = GENERATE(CopyDscp::Out, CopyDscp::Yes);
  Worker worker;
  auto in = install(kSuites[0], Direction::Inbound, false, 0xc0ffee05, outer, inner);
  auto out = install(kSuites[0], Direction::Outbound, false, 0xc0ffee05, outer, inner);
  in.rules.dscp = out.rules.dscp = dscp;
  SaPair pair(worker, in, out);
  constexpr std::array<std::array<std::uint8_t, 4>, 4> kMerged{
      {{kNotEct, kNotEct, kNotEct, kNone}, {kEct1, kEct1, kEct1, kCe}, {kEct0, kEct1, kEct0, kCe}, {kCe, kCe, kCe, kCe}}};
  for (unsigned inside = 0; inside < 4; ++inside)
    for (unsigned mark = 0; mark < 4; ++mark) {
      CAPTURE(inside, mark);
      const auto tos = static_cast<std::uint8_t>(0xb8 | inside), marked = static_cast<std::uint8_t>(0x28 | mark);
      const Bytes packet = inner == Family::V4 ? inner_packet(100, tos) : inner_packet_v6(100, tos);
      OwnedPacket wire(pair.seal({packet}).at(0), 0, 0);
      REQUIRE(parse_ip(wire.view));
      CHECK(traffic_class(wire.view) == tos);
      if (outer == Family::V6) CHECK((load_be32(wire.view.data) & 0xfffff) != 0);  // the SA's flow label
      set_traffic_class(wire.view, marked);
      const auto opened = pair.open({wire.bytes()});
      const std::uint8_t merged = kMerged[inside][mark];
      REQUIRE(opened.size() == (merged == kNone ? 0 : 1));
      if (opened.empty()) continue;
      OwnedPacket plain(opened[0], 0, 0);
      REQUIRE(parse_ip(plain.view));
      CHECK(traffic_class(plain.view) == ((dscp == CopyDscp::Yes ? 0x28 : 0xb8) | merged));
    }
}

TEST_CASE("a dummy is sealed like any packet, and carries nothing", "[rules][rfc4303-2.6]") {
  Worker worker;
  SaPair pair = with_rules(worker, {.tfc_padding = 500});
  const Bytes usual = pair.seal({inner_packet(100)}, kHeadroom, 700).at(0);
  OwnedPacket dummy(Bytes{}, kHeadroom, 700);
  dummy.view.family = Family::None;
  dummy.view.outbound = pair.outbound.get();
  std::fill_n(dummy.view.data, 20, std::uint8_t{0});
  Burst burst;
  burst.push_back(&dummy.view);
  EspContext context = worker.context();
  esp_out(burst, context);
  REQUIRE(burst.size() == 1);
  CHECK(dummy.view.length == usual.size());
  CHECK(pair.open({dummy.bytes()}).empty());
  CHECK(worker.dropped(Drop::EspDummy) == 1);
  CHECK(pair.counters_out->bytes.get() == 100);
}

TEST_CASE("rules that no SA can have", "[rules][install]") {
  Worker worker;
  shm::SaCounters counters;
  const auto refused = [&](auto change, EspSuite suite = kSuites[0]) {
    auto m = install(suite, Direction::Outbound);
    change(m);
    const auto made = make_outbound(m, kCapacity, worker.engine(), {0, &counters, 0});
    return !made && made.error() == shm::AckResult::BadMessage;
  };
  using M = shm::InstallSa;
  CHECK_FALSE(refused([](M& m) { m.rules.tfc_padding = PacketRules::kByMtu; }));
  CHECK(refused([](M& m) {
    m.rules.tfc_padding = 1;
    m.mode = SaMode::Transport;
  }));
  CHECK(refused([](M& m) { m.rules.tfc_padding = 1; }, ah_suite()));
  CHECK(refused([](M& m) { m.rules.dummy_interval = std::chrono::milliseconds{1}; }));
  CHECK(refused([](M& m) { m.rules.dummy_interval = std::chrono::milliseconds{-1}; }));
  CHECK(refused([](M& m) { m.rules.dummy_interval = std::chrono::hours{2}; }));
  CHECK(refused([](M& m) { m.rules.dummy_interval = std::chrono::seconds{1}; }, ah_suite()));
  CHECK(refused([](M& m) { m.rules.df = static_cast<CopyDf>(3); }));
  CHECK(refused([](M& m) { m.rules.ecn = static_cast<CopyEcn>(2); }));
  CHECK(refused([](M& m) { m.rules.dscp = static_cast<CopyDscp>(4); }));
  CHECK(refused([](M& m) { m.rules.spread = static_cast<SpreadCrypto>(2); }));
  CHECK(refused([](M& m) { m.rules.cut = static_cast<CutWhen>(2); }));
}

TEST_CASE("the largest segment", "[rules][mss][rfc9293-3.7.1]") {
  Worker worker;
  const auto most = [&](std::uint16_t mss, std::uint32_t mtu, std::uint32_t header) {
    return with_rules(worker, {.mss = mss}).outbound->largest_segment(mtu, header);
  };
  CHECK(most(PacketRules::kByMtu, 1438, 20) == 1398);
  CHECK(most(PacketRules::kByMtu, 1438, 40) == 1378);  // IPv6
  CHECK(most(1300, 1438, 20) == 1300);
  CHECK(most(1400, 1438, 20) == 1398);
  CHECK(most(PacketRules::kOff, 1438, 20) == 0);
  CHECK(most(PacketRules::kByMtu, 0, 20) == 0);
  CHECK(most(PacketRules::kByMtu, 40, 20) == 0);
}

TEST_CASE("the segment size of a connection that is opened", "[rules][mss][rfc9293-3.7.1][rfc1624]") {
  const std::uint8_t flags = GENERATE(std::uint8_t{0x02}, std::uint8_t{0x12});
  const std::size_t before = GENERATE(0U, 1U, 2U, 3U);  // at odd places, too
  for (const std::uint16_t asked : std::initializer_list<std::uint16_t>{1460, 1399, 8960, 65535}) {
    Bytes options(before, 1);
    options.insert(options.end(), {2, 4, static_cast<std::uint8_t>(asked >> 8), static_cast<std::uint8_t>(asked), 4, 2});
    while (options.size() % 4 != 0) options.push_back(0);
    const Bytes packet = tcp_packet(flags, options);
    REQUIRE(tcp_checksum_right(packet));
    const Bytes out = clamped(packet, 1398, true);
    CHECK(load_be16(&out[42 + before]) == 1398);
    CHECK(tcp_checksum_right(out));
    CHECK(clamped(packet, asked, false) == packet);
    CHECK(clamped(out, 1398, false) == out);
  }
}

TEST_CASE("options that are none", "[rules][mss]") {
  for (const Bytes& options : std::vector<Bytes>{{},
                                                 {1, 1, 1, 1},
                                                 {0, 2, 4, 255},    // behind the end
                                                 {2, 4, 255, 255},  // the only good one
                                                 {2, 3, 255, 255},  // another length
                                                 {2, 0, 255, 255},  // none
                                                 {3, 1, 2, 4},      // too short for itself
                                                 {8, 10, 0, 0},     // longer than there is
                                                 {1, 1, 1, 2}}) {   // cut off
    const bool good = options == Bytes{2, 4, 255, 255};
    const Bytes packet = tcp_packet(0x02, options);
    CHECK((clamped(packet, 1000, good) != packet) == good);
  }
  // A header that says to be longer than the packet.
  Bytes lie = tcp_packet(0x02, {});
  lie[32] = 0xf0;
  CHECK(clamped(lie, 1000, false) == lie);
  lie[32] = 0x00;
  CHECK(clamped(lie, 1000, false) == lie);
  // What opens nothing.
  for (const Bytes& other : {tcp_packet(0x10, {2, 4, 255, 255}), inner_packet(60), tcp_packet(0x02, {2, 4, 255, 255})}) {
    OwnedPacket owned(other, 0, 0);
    REQUIRE(parse_ip(owned.view));
    CHECK(opens_tcp(owned.view) == (other[9] == kProtocolTcp && other[33] == 0x02));
  }
  OwnedPacket later(inner_packet(60, 0, 5), 0, 0);  // a fragment that is not the first
  later.view.data[9] = kProtocolTcp;
  set_ipv4_checksum(later.view.data);
  later.view.data[33] = 0x02;
  REQUIRE(parse_ip(later.view));
  CHECK_FALSE(opens_tcp(later.view));
}

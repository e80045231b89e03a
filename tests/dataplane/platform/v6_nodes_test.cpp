// IPv6 at the nodes that are no ESP: the header's chain, neighbour discovery, ICMPv6, addresses and selectors; without EAL.
#include <random>

#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/icmp.hpp"
#include "dataplane/nodes/nd.hpp"
#include "dataplane/nodes/policy_rules.hpp"
#include "dataplane/nodes/reassembly.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {
namespace {
using test::OwnedPacket;

const IpAddress kRouter = *IpAddress::parse("2001:db8:1::1"), kHost = *IpAddress::parse("2001:db8:1::10"),
                kFar = *IpAddress::parse("2001:db8:2::5"), kLinkLocal = *IpAddress::parse("fe80::ff:fe00:1");
constexpr Neighbor::Mac kMac{2, 0, 0, 0, 0, 1}, kHostMac{2, 0, 0, 0, 0, 0x10};

Interface lan() {
  Interface i{"lan", kMac, 1500, {{*IpAddress::parse("10.1.0.1"), 24}, {kRouter, 64}}};
  i.add_link_local();
  return i;
}

Bytes ipv6(const IpAddress& source, const IpAddress& destination, std::uint8_t next, const Bytes& payload, std::uint8_t hops = 64) {
  Bytes b(40);
  b[0] = 0x60;
  store_be16(&b[4], static_cast<std::uint16_t>(payload.size()));
  b[6] = next;
  b[7] = hops;
  std::copy(source.bytes.begin(), source.bytes.end(), b.begin() + 8);
  std::copy(destination.bytes.begin(), destination.bytes.end(), b.begin() + 24);
  b.insert(b.end(), payload.begin(), payload.end());
  return b;
}
Bytes udp(std::uint16_t source, std::uint16_t destination, std::size_t bytes = 0) {
  Bytes b(8 + bytes);
  store_be16(&b[0], source);
  store_be16(&b[2], destination);
  store_be16(&b[4], static_cast<std::uint16_t>(b.size()));
  return b;
}
Bytes extension(std::uint8_t next, std::size_t units = 1) {
  Bytes b(8 * units);
  b[0] = next;
  b[1] = static_cast<std::uint8_t>(units - 1);
  b[2] = 1, b[3] = static_cast<std::uint8_t>(8 * units - 4);  // PadN
  return b;
}
Bytes fragment(std::uint8_t next, std::uint16_t offset, bool more) {
  Bytes b(8);
  b[0] = next;
  store_be16(&b[2], static_cast<std::uint16_t>(offset | (more ? 1 : 0)));
  b[7] = 9;
  return b;
}
Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
/// An ICMPv6 packet with its checksum.
Bytes icmpv6(const IpAddress& source, const IpAddress& destination, Bytes message, std::uint8_t hops = 64) {
  Bytes b = ipv6(source, destination, kProtocolIcmpv6, message, hops);
  const auto sum =
      static_cast<std::uint16_t>(~upper_sum(Family::V6, b.data(), kProtocolIcmpv6, &b[40], static_cast<std::uint32_t>(message.size())));
  std::memcpy(&b[42], &sum, 2);
  return b;
}
Bytes solicitation(const IpAddress& target, const Neighbor::Mac* mac, std::uint8_t type = 135, std::uint8_t flags = 0) {
  Bytes b(24);
  b[0] = type;
  b[4] = flags;
  std::copy(target.bytes.begin(), target.bytes.end(), b.begin() + 8);
  if (mac == nullptr) return b;
  b.push_back(type == 135 ? 1 : 2);
  b.push_back(1);
  b.insert(b.end(), mac->begin(), mac->end());
  return b;
}
struct Parsed {
  OwnedPacket owned;
  explicit Parsed(const Bytes& b) : owned(b, 128, 64) { REQUIRE(parse_ip(owned.view)); }
  Packet& view() { return owned.view; }
};
bool parses(const Bytes& b) {
  OwnedPacket p(b, 0, 0);
  return parse_ip(p.view);
}
}  // namespace

TEST_CASE("IPv6: the chain of extension headers is stepped over, and bounded", "[v6][rfc8200-4][attack-K2][attack-K3]") {
  Parsed plain(ipv6(kHost, kFar, 17, udp(7, 9)));
  CHECK((plain.view().family == Family::V6 && plain.view().l4_offset == 40 && plain.view().protocol == 17));
  CHECK((plain.view().source_port == 7 && plain.view().destination_port == 9 && !plain.view().fragment));
  // Hop-by-hop, destination options, routing: as RFC 8200 §4.1 has them, of different lengths.
  Parsed chain(ipv6(kHost, kFar, 0, extension(60, 2) + extension(43, 3) + extension(17) + udp(7, 9)));
  CHECK((chain.view().l4_offset == 40 + 48 && chain.view().protocol == 17 && chain.view().destination_port == 9));
  // Eight of them are enough.
  Bytes many;
  for (unsigned n = 0; n < kMaxExtensionHeaders; ++n) {
    CHECK(parses(ipv6(kHost, kFar, n == 0 ? 17 : 60, many + udp(7, 9))));
    many = extension(n == 0 ? 17 : 60) + many;
  }
  CHECK(parses(ipv6(kHost, kFar, 60, many + udp(7, 9))));
  CHECK_FALSE(parses(ipv6(kHost, kFar, 60, extension(60) + many + udp(7, 9))));
  // Hop-by-hop not in front; a length that leaves the packet; nothing there.
  CHECK_FALSE(parses(ipv6(kHost, kFar, 60, extension(0) + extension(17) + udp(7, 9))));
  CHECK_FALSE(parses(ipv6(kHost, kFar, 60, Bytes{17, 9, 0, 0, 0, 0, 0, 0} + udp(7, 9))));
  CHECK_FALSE(parses(ipv6(kHost, kFar, 60, {})));
  CHECK_FALSE(parses(ipv6(kHost, kFar, 17, {})));  // a jumbogram's length
  CHECK(parses(ipv6(kHost, kFar, kProtocolNone, {})));
  // Every strict prefix fails; what is behind the packet is cut.
  const Bytes whole = ipv6(kHost, kFar, 0, extension(60) + extension(17) + udp(7, 9, 3));
  for (std::size_t n = 0; n < whole.size(); ++n) CHECK_FALSE(parses(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n))));
  Parsed padded(whole + Bytes(6));
  CHECK(padded.view().length == whole.size());
}

TEST_CASE("IPv6 fragments: what hides its upper layer is no packet", "[v6][rfc7112-5][rfc6946][attack-K2]") {
  Parsed first(ipv6(kHost, kFar, 44, fragment(17, 0, true) + udp(7, 9)));
  CHECK((first.view().fragment && !first.view().ports_hidden && first.view().destination_port == 9));
  Parsed later(ipv6(kHost, kFar, 44, fragment(17, 64, false) + Bytes(9)));
  CHECK((later.view().fragment && later.view().ports_hidden && later.view().destination_port == 0 && later.view().l4_offset == 48));
  Parsed atomic(ipv6(kHost, kFar, 44, fragment(17, 0, false) + udp(7, 9)));
  CHECK((!atomic.view().fragment && atomic.view().destination_port == 9));
  Parsed ports_cut(ipv6(kHost, kFar, 44, fragment(6, 0, true) + Bytes(3)));
  CHECK((ports_cut.view().fragment && ports_cut.view().ports_hidden));
  CHECK_FALSE(parses(ipv6(kHost, kFar, 44, fragment(60, 64, false) + Bytes(16))));
  CHECK_FALSE(parses(ipv6(kHost, kFar, 44, fragment(60, 0, true) + Bytes{17, 5, 0, 0, 0, 0, 0, 0})));
  CHECK_FALSE(parses(ipv6(kHost, kFar, 44, fragment(44, 0, true) + fragment(17, 0, true) + udp(7, 9))));
}

TEST_CASE("random bytes behind an IPv6 header lead nowhere outside", "[v6][model]") {
  std::mt19937 random(7);
  for (int i = 0; i < 200'000; ++i) {
    Bytes b(40 + random() % 120);
    for (auto& byte : b) byte = static_cast<std::uint8_t>(random() % 4 == 0 ? random() : std::array{0, 43, 44, 60}[random() % 4]);
    b[0] = 0x60;
    store_be16(&b[4], static_cast<std::uint16_t>(b.size() - 40));
    OwnedPacket p(b, 0, 0);
    if (parse_ip(p.view)) REQUIRE(p.view.l4_offset <= p.view.length);
  }
}

TEST_CASE("IPv6 sources that nobody may have, and those of the link", "[v6][rfc4291-2][attack-K6]") {
  const std::array interfaces{lan()};
  const OwnAddresses own(interfaces);
  CHECK(own.contains_v6(kLinkLocal.bytes.data()));
  for (const char* bad : {"::", "::1", "::ffff:10.0.0.1", "ff02::1", "fe80::77", "2001:db8:1::1"})
    CHECK(martian_source_v6(IpAddress::parse(bad)->bytes.data(), own));
  for (const char* good : {"2001:db8:1::10", "fc00::1", "64:ff9b::1", "::2:0:0:1"})
    CHECK_FALSE(martian_source_v6(IpAddress::parse(good)->bytes.data(), own));
}

TEST_CASE("groups: all nodes, all routers, and the solicited node's of each own address", "[v6][rfc4291-2.8]") {
  const Interface i = lan();
  for (const char* ours : {"ff02::1", "ff02::2", "ff02::1:ff00:1"}) CHECK(listens_to(i, IpAddress::parse(ours)->bytes.data()));
  for (const char* others : {"ff02::1:ff00:10", "ff02::fb", "ff05::1", "ff02::16"})
    CHECK_FALSE(listens_to(i, IpAddress::parse(others)->bytes.data()));
  Interface v4 = lan();
  v4.addresses = {{*IpAddress::parse("10.1.0.1"), 24}};
  CHECK_FALSE(listens_to(v4, IpAddress::parse("ff02::1")->bytes.data()));
}

TEST_CASE("neighbour discovery: who asks for us is answered, who was asked is learned", "[v6][rfc4861-7]") {
  const Interface i = lan();
  NeighborTable table;
  const IpAddress group = *IpAddress::parse("ff02::1:ff00:1");
  SECTION("a solicitation is answered to the one who asks") {
    Parsed p(icmpv6(kHost, group, solicitation(kRouter, &kHostMac), 255));
    REQUIRE(is_neighbor_discovery(p.view()));
    const NeighborVerdict v = nd_in(p.view(), i, 0, table);
    REQUIRE((v.reply && !v.counted && v.to == kHostMac));
    const Packet& reply = p.view();
    CHECK(reply.length == kSolicitationBytes);
    CHECK((source_of(reply) == kRouter && destination_of(reply) == kHost && reply.data[7] == 255));
    CHECK(upper_sum(Family::V6, reply.data, 58, reply.data + 40, 32) == 0xffff);
    CHECK((reply.data[40] == 136 && reply.data[44] == 0xe0));  // router, solicited, override
    CHECK(std::equal(kMac.begin(), kMac.end(), reply.data + 66));
  }
  SECTION("a probe for our address is defended to all") {
    Parsed p(icmpv6(*IpAddress::parse("::"), group, solicitation(kRouter, nullptr), 255));
    const NeighborVerdict v = nd_in(p.view(), i, 0, table);
    REQUIRE(v.reply);
    CHECK(destination_of(p.view()) == *IpAddress::parse("ff02::1"));
    CHECK(p.view().data[44] == 0xa0);
  }
  SECTION("an advertisement is learned where it was asked for, and not changed without the override flag") {
    Neighbor* known = table.add({kHost, 0});
    Parsed p(icmpv6(kHost, kRouter, solicitation(kHost, &kHostMac, 136, 0x40), 255));
    CHECK(nd_in(p.view(), i, 0, table).learned);
    CHECK(Neighbor::mac_of(known->link) == load_mac(kHostMac.data()));
    const Neighbor::Mac other{2, 0, 0, 0, 0, 0x66};
    Parsed weak(icmpv6(kHost, kRouter, solicitation(kHost, &other, 136, 0x40), 255));
    CHECK_FALSE(nd_in(weak.view(), i, 0, table).counted);
    CHECK(Neighbor::mac_of(known->link) == load_mac(kHostMac.data()));
    Parsed strong(icmpv6(kHost, kRouter, solicitation(kHost, &other, 136, 0x60), 255));
    CHECK_FALSE(nd_in(strong.view(), i, 0, table).counted);
    CHECK(Neighbor::mac_of(known->link) == load_mac(other.data()));
    // On another port it is nobody.
    Parsed elsewhere(icmpv6(kFar, kRouter, solicitation(kFar, &kHostMac, 136, 0x60), 255));
    CHECK(nd_in(elsewhere.view(), i, 1, table).counted);
    CHECK(table.size() == 1);
  }
  SECTION("what RFC 4861 §7.1 refuses") {
    const auto refused = [&](Bytes b) {
      Parsed p(b);
      const NeighborVerdict v = nd_in(p.view(), i, 0, table);
      return v.counted && !v.reply && v.reason == Drop::NdInvalid;
    };
    CHECK(refused(icmpv6(kHost, group, solicitation(kRouter, &kHostMac), 254)));  // from beyond the link
    Bytes sum = icmpv6(kHost, group, solicitation(kRouter, &kHostMac), 255);
    sum[42] ^= 1;
    CHECK(refused(sum));
    Bytes code = solicitation(kRouter, &kHostMac);
    code[1] = 1;
    CHECK(refused(icmpv6(kHost, group, code, 255)));
    CHECK(refused(icmpv6(kHost, group, solicitation(*IpAddress::parse("ff02::1"), &kHostMac), 255)));
    Bytes empty_option = solicitation(kRouter, &kHostMac);
    empty_option[25] = 0;
    CHECK(refused(icmpv6(kHost, group, empty_option, 255)));
    Bytes long_option = solicitation(kRouter, &kHostMac);
    long_option[25] = 9;
    CHECK(refused(icmpv6(kHost, group, long_option, 255)));
    CHECK(refused(icmpv6(*IpAddress::parse("::"), group, solicitation(kRouter, &kHostMac), 255)));  // a probe with a MAC address
    CHECK(refused(icmpv6(*IpAddress::parse("::"), kRouter, solicitation(kRouter, nullptr), 255)));  // a probe to one
    CHECK(refused(icmpv6(kHost, *IpAddress::parse("ff02::1"), solicitation(kHost, &kHostMac, 136, 0x60), 255)));  // solicited, to all
    CHECK(refused(icmpv6(kRouter, group, solicitation(kHost, &kHostMac), 255)));                                  // claims our address
    const Neighbor::Mac multicast{0x33, 0x33, 0, 0, 0, 1};
    CHECK(refused(icmpv6(kHost, group, solicitation(kRouter, &multicast), 255)));
    CHECK(refused(icmpv6(kFar, group, solicitation(kHost, &kHostMac), 255)));  // neither for us nor of our network
    CHECK(table.size() == 0);
  }
  SECTION("our own solicitation and announcement") {
    OwnedPacket empty({}, 128, 128);
    CHECK(nd_solicitation(empty.view, i, kRouter, kHost) == Neighbor::Mac{0x33, 0x33, 0xff, 0, 0, 0x10});
    REQUIRE(parse_ip(empty.view));
    CHECK(is_neighbor_discovery(empty.view));
    CHECK(destination_of(empty.view) == *IpAddress::parse("ff02::1:ff00:10"));
    CHECK(upper_sum(Family::V6, empty.view.data, 58, empty.view.data + 40, 32) == 0xffff);
    OwnedPacket other({}, 128, 128);
    CHECK(nd_announcement(other.view, i, kRouter) == Neighbor::Mac{0x33, 0x33, 0, 0, 0, 1});
    CHECK(other.view.data[44] == 0xa0);
  }
}

TEST_CASE("ICMPv6: echo, and errors where they are owed", "[v6][rfc4443]") {
  Bytes echo(8 + 21);
  echo[0] = 128;
  echo[6] = 7;
  for (std::size_t n = 8; n < echo.size(); ++n) echo[n] = static_cast<std::uint8_t>(n);
  Parsed request(icmpv6(kHost, kRouter, echo, 3));
  CHECK(classify_local(request.view()) == LocalKind::Icmp);
  REQUIRE(icmp_echo_reply(request.view()));
  Bytes answer = echo;
  answer[0] = 129;
  CHECK(request.owned.bytes() == icmpv6(kRouter, kHost, answer, 64));
  CHECK_FALSE(icmp_echo_reply(request.view()));  // no request
  Bytes wrong = icmpv6(kHost, kRouter, echo);
  wrong.back() ^= 1;
  Parsed bad(wrong);
  CHECK_FALSE(icmp_echo_reply(bad.view()));

  const auto allowed = [](const Bytes& b) {
    Parsed p(b);
    return icmp_error_allowed(p.view());
  };
  CHECK(allowed(ipv6(kHost, kFar, 17, udp(7, 9))));
  CHECK(allowed(icmpv6(kHost, kFar, echo)));
  constexpr std::array<std::uint8_t, 5> kErrors{1, 2, 3, 4, 137};
  for (const std::uint8_t type : kErrors) {
    Bytes message = echo;
    message[0] = type;
    CHECK_FALSE(allowed(icmpv6(kHost, kFar, message)));
  }
  CHECK_FALSE(allowed(ipv6(*IpAddress::parse("ff02::9"), kFar, 17, udp(7, 9))));
  CHECK_FALSE(allowed(ipv6(*IpAddress::parse("::"), kFar, 17, udp(7, 9))));
  CHECK(allowed(ipv6(kHost, kFar, 44, fragment(17, 64, false) + Bytes(9))));
  CHECK(allowed(ipv6(kHost, kFar, 44, fragment(58, 0, true) + echo)));
  CHECK_FALSE(allowed(ipv6(kHost, kFar, 44, fragment(58, 64, false) + Bytes(9, 0x80))));

  for (const auto& [error, type, code] : {std::tuple{IcmpError::NetUnreachable, 1, 0}, std::tuple{IcmpError::HostUnreachable, 1, 3},
                                          std::tuple{IcmpError::FragmentationNeeded, 2, 0}, std::tuple{IcmpError::TimeExceeded, 3, 0}}) {
    for (const std::size_t bytes : {0U, 100U, 2000U}) {
      const Bytes offending = ipv6(kHost, kFar, 17, udp(7, 9, bytes));
      Parsed p(offending);
      REQUIRE(icmp_error(p.view(), error, kRouter, 1390));
      const Bytes got = p.owned.bytes();
      CHECK(got.size() == std::min<std::size_t>(1280, offending.size() + 48));
      CHECK((got[40] == type && got[41] == code && load_be32(&got[44]) == (type == 2 ? 1390U : 0U)));
      CHECK(upper_sum(Family::V6, got.data(), 58, &got[40], static_cast<std::uint32_t>(got.size() - 40)) == 0xffff);
      CHECK((source_of(p.view()) == kRouter && destination_of(p.view()) == kHost));
      CHECK(std::equal(got.begin() + 48, got.end(), offending.begin()));
    }
  }
}

TEST_CASE("IPv6 fragments of ESP are put together, whichever comes first", "[v6][fragment][rfc8200-4.5][attack-K2]") {
  std::vector<std::unique_ptr<OwnedPacket>> heap;
  Reassembly reassembly({[&](Packet& view) {
                           heap.push_back(std::make_unique<OwnedPacket>(Bytes{}, 64, Reassembly::kBufferBytes));
                           view = heap.back()->view;
                           return true;
                         },
                         [](void*) {}});
  Bytes esp(2000);
  for (std::size_t i = 0; i < esp.size(); ++i) esp[i] = static_cast<std::uint8_t>(i * 3);
  const auto piece = [&](std::size_t at, std::size_t bytes, const IpAddress& from = kHost) {
    const auto begin = esp.begin() + static_cast<std::ptrdiff_t>(at);
    return ipv6(
        from, kRouter, 44,
        fragment(50, static_cast<std::uint16_t>(at), at + bytes < esp.size()) + Bytes(begin, begin + static_cast<std::ptrdiff_t>(bytes)));
  };
  const auto add = [&](const Bytes& b) {
    Parsed p(b);
    return reassembly.add(p.view(), 1);
  };
  CHECK_FALSE(add(piece(1200, 800)).whole);
  CHECK_FALSE(add(piece(0, 1200, kFar)).whole);  // another source's
  Reassembly::Result result = add(piece(0, 1200));
  REQUIRE(result.whole);
  REQUIRE(parse_ip(result.packet));
  CHECK(
      (result.packet.family == Family::V6 && result.packet.protocol == 50 && !result.packet.fragment && source_of(result.packet) == kHost));
  CHECK(std::equal(esp.begin(), esp.end(), result.packet.data + 40));
  CHECK(result.packet.length == 2040);
  CHECK(add(piece(1200, 800, kFar)).whole);
  CHECK_FALSE(add(piece(0, 1200)).whole);
  CHECK(add(piece(600, 1400)).ended == 2);  // they overlap
  CHECK(reassembly.size() == 0);
}

TEST_CASE("IPv6 selectors: ranges, not prefixes", "[v6][spd]") {
  const auto range = RangeV6::from(*TrafficSelector::parse("2001:db8::1:fffe-2001:db8:0:1::3"));
  const auto inside = [&](const char* a) { return range.contains(IpAddress::parse(a)->bytes.data()); };
  CHECK((inside("2001:db8::1:fffe") && inside("2001:db8::2:0") && inside("2001:db8:0:0:ffff::") && inside("2001:db8:0:1::3")));
  CHECK_FALSE((inside("2001:db8::1:fffd") || inside("2001:db8:0:1::4") || inside("::") || inside("ffff::")));
  CHECK_FALSE(RangeV6::from(*TrafficSelector::parse("10.0.0.0/8")).contains(kHost.bytes.data()));
  CHECK(RangeV6::from(*TrafficSelector::parse("::/0")).contains(kHost.bytes.data()));
  const auto of = [](const char* ts) { return *TrafficSelector::parse(ts); };
  const auto wide = of("2001:db8::/32[udp]");
  CHECK(contains(PreparedSelector::from(wide), RangeV6::from(wide), of("2001:db8:1::/48[udp/53]")));
  CHECK_FALSE(contains(PreparedSelector::from(wide), RangeV6::from(wide), of("2001:db8:1::/48")));
  CHECK_FALSE(contains(PreparedSelector::from(wide), RangeV6::from(wide), of("2001::/16[udp]")));
  CHECK_FALSE(contains(PreparedSelector::from(wide), RangeV6::from(wide), of("10.0.0.0/8[udp]")));
}

TEST_CASE("a moving peer's IPv6 address is read as a whole", "[v6]") {
  PeerV6 peer;
  peer.store(kHost.bytes.data(), 4500);
  peer.store(kFar.bytes.data(), 4501);
  const PeerV6::Value v = peer.load();
  CHECK((std::memcmp(v.address.data(), kFar.bytes.data(), 16) == 0 && v.port == 4501 && peer.stores() == 2));
}
}  // namespace culvert::dp

// MLD: what a query asks, what our reports say, and when (RFC 3810, RFC 2710); without EAL. Scapy reads and writes them in v6_test.py.
#include "dataplane/nodes/mld.hpp"

#include "dataplane/manager/group_reports.hpp"
#include "dataplane/nodes/nd.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {
namespace {
using test::OwnedPacket;
constexpr std::uint64_t kMs = GroupReports::kMs;
const IpAddress kAsker = *IpAddress::parse("fe80::1:2"), kAllNodes = *IpAddress::parse("ff02::1"), kAny = *IpAddress::parse("::");

Interface lan(std::size_t addresses = 1) {
  Interface i{"lan", {2, 0, 0, 0, 0, 0x99}, 1500, {*Prefix::parse("10.1.0.1/16")}};
  for (std::size_t n = 0; n < addresses; ++n) i.addresses.push_back(*Prefix::parse("2001:db8:1::" + std::to_string(n + 1) + "/64"));
  i.add_link_local();
  return i;
}
/// A general query of 24 bytes (MLDv1) or 28, with router alert.
Bytes query(std::uint16_t code, bool v1 = false, const IpAddress& group = kAny) {
  Bytes b(48 + (v1 ? 24U : 28U));
  b[0] = 0x60, b[5] = static_cast<std::uint8_t>(b.size() - 40), b[6] = 0, b[7] = 1;
  std::copy(kAsker.bytes.begin(), kAsker.bytes.end(), b.begin() + 8);
  std::copy(kAllNodes.bytes.begin(), kAllNodes.bytes.end(), b.begin() + 24);
  b[40] = kProtocolIcmpv6, b[42] = 5, b[43] = 2, b[46] = 1;
  b[48] = 130;
  store_be16(&b[52], code);
  std::copy(group.bytes.begin(), group.bytes.end(), b.begin() + 56);
  return b;
}
void sign(Bytes& b) {
  b[50] = b[51] = 0;
  const auto sum =
      static_cast<std::uint16_t>(~upper_sum(Family::V6, b.data(), kProtocolIcmpv6, &b[48], static_cast<std::uint32_t>(b.size() - 48)));
  std::memcpy(&b[50], &sum, sizeof sum);
}
std::optional<MldQuery> read(Bytes b, bool signed_ = true) {
  if (signed_) sign(b);
  OwnedPacket p(b, 0, 0);
  if (!parse_ip(p.view) || !is_mld_query(p.view)) return std::nullopt;
  return mld_query(p.view);
}
}  // namespace

TEST_CASE("MLD: a query is believed from a link-local address with hop limit 1 and router alert", "[mld][rfc3810-5.1]") {
  const auto v2 = read(query(1000));
  REQUIRE(v2);
  CHECK((!v2->v1 && v2->delay_ms == 1000 && v2->group == kAny));
  CHECK(read(query(0x8000))->delay_ms == 0x1000U << 3);  // §5.1.3
  CHECK(read(query(0xffff))->delay_ms == 0x1fffU << 10);
  const auto v1 = read(query(0xffff, true));
  REQUIRE(v1);
  CHECK((v1->v1 && v1->delay_ms == 0xffff));
  struct Wrong {
    const char* what;
    std::size_t at;
    std::uint8_t value;
  };
  for (const Wrong& w : {Wrong{"hop limit", 7, 2},
                         {"source of another link", 8, 0x20},
                         {"no option", 42, 1},
                         {"another router alert", 45, 1},
                         {"a longer option", 43, 4},
                         {"no hop-by-hop header", 6, kDestinationOptions}}) {
    Bytes b = query(1000);
    b[w.at] = w.value;
    INFO(w.what);
    CHECK_FALSE(read(b));
  }
  Bytes b = query(1000);
  sign(b);
  b[60] ^= 1;
  CHECK_FALSE(read(b, false));
  for (std::size_t n = 41; n < b.size(); ++n) {  // every strict prefix but MLDv1's whole one
    Bytes shorter = query(1000);
    shorter.resize(n);
    shorter[5] = static_cast<std::uint8_t>(n - 40);
    if (n >= 52) sign(shorter);
    INFO(n);
    CHECK((read(shorter, false).has_value()) == (n == 72));
  }
}

TEST_CASE("MLD: reports name every group once, from the link-local address", "[mld][rfc3810-5.2]") {
  const Interface i = lan(2);
  const auto groups = groups_heard(i);
  REQUIRE(groups.size() == 4);  // all routers, two addresses, the link-local one
  CHECK(groups[1] == *IpAddress::parse("ff02::1:ff00:1"));
  for (const bool joined : {false, true}) {
    OwnedPacket p({}, 128, 1300);
    CHECK(mld_report(p.view, i, groups, joined) == Neighbor::Mac{0x33, 0x33, 0, 0, 0, 0x16});
    const Bytes b = p.bytes();
    REQUIRE(b.size() == 48 + 8 + 4 * 20);
    CHECK((b[7] == 1 && b[8] == 0xfe && b[9] == 0x80 && b[48] == 143 && load_be16(&b[54]) == 4));
    CHECK(upper_sum(Family::V6, b.data(), kProtocolIcmpv6, &b[48], static_cast<std::uint32_t>(b.size() - 48)) == 0xffff);
    for (std::size_t n = 0; n < 4; ++n) {
      CHECK((b[56 + 20 * n] == (joined ? 4 : 2) && load_be16(&b[58 + 20 * n]) == 0));
      CHECK(address_from(Family::V6, &b[60 + 20 * n]) == groups[n]);
    }
    OwnedPacket back(b, 0, 0);
    REQUIRE(parse_ip(back.view));
    CHECK((back.view.l4_offset == 48 && back.view.protocol == kProtocolIcmpv6 && !is_mld_query(back.view)));
  }
  OwnedPacket p({}, 128, 1300);
  CHECK(mld_report_v1(p.view, i, groups[1]) == Neighbor::Mac{0x33, 0x33, 0xff, 0, 0, 1});
  CHECK((p.view.length == 72 && p.bytes()[48] == 131 && address_from(Family::V6, &p.bytes()[24]) == groups[1]));
  Interface without{"v4", {}, 1500, {*Prefix::parse("10.1.0.1/16")}};
  CHECK(groups_heard(without).empty());
}

TEST_CASE("MLD: joined twice, one answer to many queries, within the time that they give", "[mld][rfc3810-6.2]") {
  const std::vector<Interface> interfaces{lan(), Interface{"v4", {}, 1500, {*Prefix::parse("10.1.0.1/16")}}, lan(130)};
  std::vector<std::pair<std::uint16_t, std::uint8_t>> sent;  // interface, type
  std::size_t records = 0;
  GroupReports reports(
      interfaces,
      [&](std::uint16_t interface, const GroupReports::Write& write) {
        OwnedPacket p({}, 128, 1300);
        write(p.view);
        sent.emplace_back(interface, p.bytes()[48]);
        records += p.bytes()[48] == 143 ? load_be16(&p.bytes()[54]) : 0;
      },
      42);
  std::uint64_t now = 1;
  const auto wait = [&](std::uint64_t ms) {
    for (std::uint64_t t = 0; t < ms; t += 50) reports.tick(now += 50 * kMs);
    return std::exchange(sent, {});
  };
  using Sent = std::vector<std::pair<std::uint16_t, std::uint8_t>>;
  reports.joined(0, now);
  reports.joined(1, now);  // has no IPv6
  CHECK(wait(950) == Sent{{0, 143}});
  CHECK(wait(5000) == Sent{{0, 143}});
  for (int i = 0; i < 50; ++i) reports.asked(0, {.delay_ms = 1000}, now);
  reports.asked(1, {.delay_ms = 0}, now);
  CHECK(wait(1050) == Sent{{0, 143}});
  CHECK(wait(5000).empty());
  reports.asked(0, {.delay_ms = 10, .group = *IpAddress::parse("ff02::1:ff00:77")}, now);  // of another's
  CHECK(wait(500).empty());
  reports.asked(0, {.delay_ms = 10, .group = *IpAddress::parse("ff02::1:ff00:1")}, now);
  CHECK(wait(100) == Sent{{0, 143}});
  reports.asked(0, {.v1 = true, .delay_ms = 100}, now);
  CHECK(wait(200) == Sent{{0, 131}, {0, 131}, {0, 131}});
  records = 0;
  reports.asked(2, {.delay_ms = 0}, now);
  CHECK(wait(50).size() == 3);
  CHECK(records == groups_heard(interfaces[2]).size());
}

}  // namespace culvert::dp

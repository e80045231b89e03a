// AH and transport mode through the nodes.
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
/// Between the two gateways themselves: what transport mode is for.
std::pair<shm::InstallSa, shm::InstallSa> transport(const EspSuite& suite, bool udp = false) {
  auto in = install(suite, Direction::Inbound, udp), out = install(suite, Direction::Outbound, udp);
  for (auto* m : {&in, &out}) {
    m->mode = SaMode::Transport;
    m->local_ts = TrafficSelector::from({m->local.address, 32});
    m->remote_ts = TrafficSelector::from({m->remote.address, 32});
  }
  return {in, out};
}
Bytes between_gateways(std::size_t length, std::uint8_t protocol = kProtocolUdp) {
  Bytes p = inner_packet(length);
  p[9] = protocol;
  store_be32(&p[12], 0x0a090002);
  store_be32(&p[16], 0x0a090001);
  set_ipv4_checksum(p.data());
  return p;
}
std::vector<EspSuite> ah_suites() {
  std::vector<EspSuite> out;
  for (const IntegInfo& i : integ_table())
    for (const char* esn : {"", "-esn"}) out.push_back(parse_ah_proposal(std::string(i.name) + esn).value().front());
  return out;
}
}  // namespace

TEST_CASE("AH, every algorithm, tunnel and transport mode", "[esp][ah][rfc4302][attack-J13]") {
  const auto suites = ah_suites();
  const auto& suite = suites[GENERATE_COPY(range<std::size_t>(0, suites.size()))];
  const bool tunnel = GENERATE(false, true);
  CAPTURE(suite.to_string(), tunnel);
  Worker worker;
  const auto [in, out] = tunnel ? std::pair(install(suite, Direction::Inbound), install(suite, Direction::Outbound)) : transport(suite);
  auto wide = in;
  wide.replay_window = 256;
  SaPair pair(worker, wide, out);
  std::vector<Bytes> packets;
  for (std::size_t n = 28; n < 160; ++n) packets.push_back(tunnel ? inner_packet(n, static_cast<std::uint8_t>(n)) : between_gateways(n));
  auto sealed = pair.seal(packets);
  REQUIRE(sealed.size() == packets.size());
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    REQUIRE(sealed[i][9] == kProtocolAh);
    REQUIRE(ipv4_header_sum(sealed[i].data(), 20) == 0xffff);
    REQUIRE(load_be32(&sealed[i][24]) == 0xc0ffee05);
    REQUIRE(load_be32(&sealed[i][28]) == i + 1);
    REQUIRE(sealed[i][8] != 0);
    if (tunnel) REQUIRE(sealed[i][1] == packets[i][1]);
  }
  CHECK(pair.open(sealed) == packets);
  CHECK(pair.open(sealed).empty());
  CHECK(worker.dropped(Drop::EspReplay) == packets.size());
  // Every byte of it but the mutable fields.
  for (std::size_t at = 0; at < sealed[0].size(); ++at) {
    SaPair fresh(worker, in, out);
    Bytes bad = sealed[0];
    bad[at] ^= 0x04;
    if (at < 20) set_ipv4_checksum(bad.data());
    const bool mutable_field = at == 1 || at == 8 || at == 10 || at == 11;
    if (at == 0 || at == 2 || at == 3 || at == 6 || at == 7 || at == 9 || (at >= 12 && at < 20)) continue;  // another kind of packet
    REQUIRE(fresh.open({bad}).size() == (mutable_field ? 1U : 0U));
  }
}

TEST_CASE("transport mode: every suite, native and in UDP", "[esp][transport][rfc4303-3.1.1]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  const bool udp = GENERATE(false, true);
  CAPTURE(suite.name, udp);
  Worker worker;
  const auto [in, out] = transport(suite, udp);
  SaPair pair(worker, in, out);
  std::vector<Bytes> packets;
  for (std::size_t n = 28; n < 120; ++n) packets.push_back(between_gateways(n, n % 2 == 0 ? kProtocolUdp : kProtocolIcmp));
  const auto sealed = pair.seal(packets);
  REQUIRE(sealed.size() == packets.size());
  for (const Bytes& p : sealed) {
    REQUIRE(p[9] == (udp ? 17 : 50));
    REQUIRE(load_be16(&p[2]) == p.size());
    REQUIRE(ipv4_header_sum(p.data(), 20) == 0xffff);
  }
  CHECK(pair.open(sealed) == packets);
  CHECK(worker.dropped() == 0);
  const std::uint32_t fits = effective_mtu(*pair.outbound, 1400);
  const auto sizes = pair.seal({between_gateways(fits), between_gateways(fits + 1)});
  CHECK(sizes.at(0).size() <= 1400);
  CHECK(sizes.at(1).size() > 1400);
}

TEST_CASE("transport mode is for whole packets between the two ends", "[esp][transport][drop][rfc4301-4.1]") {
  Worker worker;
  const bool ah = GENERATE(false, true);
  const auto [in, out] = transport(ah ? parse_ah_proposal("sha256").value().front() : EspSuite(kSuites[0]));
  SaPair pair(worker, in, out);
  Bytes fragment = between_gateways(60), other = inner_packet(60);
  store_be16(&fragment[6], kIpv4Mf);
  set_ipv4_checksum(fragment.data());
  CHECK(pair.seal({fragment, other}).empty());
  CHECK(worker.dropped(Drop::EspTransport) == 2);
  CHECK(pair.counters_out->dropped(Direction::Outbound, Drop::EspTransport) == 2);
  CHECK(pair.counters_out->packets.get() == 0);
}

TEST_CASE("transport mode behind NAT: checksums are repaired", "[esp][transport][rfc3948-3.1.2]") {
  Worker worker;
  auto [in, out] = transport(kSuites[0], true);
  // The peer is 192.168.1.7 behind a NAT that makes 10.9.0.2 of it; we are 172.16.0.1 behind one of our own.
  in.original_remote = IpAddress::v4(0xc0a80107);
  in.original_local = IpAddress::v4(0xac100001);
  SaPair pair(worker, in, out);
  const auto sum = [](const Bytes& p, std::uint32_t source, std::uint32_t destination) {
    std::uint32_t s =
        (source >> 16) + (source & 0xffff) + (destination >> 16) + (destination & 0xffff) + p[9] + std::uint32_t(p.size() - 20);
    for (std::size_t i = 20; i + 1 < p.size(); i += 2) s += load_be16(&p[i]);
    while (s > 0xffff) s = (s & 0xffff) + (s >> 16);
    return s;
  };
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    Bytes p = between_gateways(60, protocol);
    const std::size_t at = 20 + (protocol == kProtocolTcp ? 16 : 6);
    store_be16(&p[at], 0);
    store_be16(&p[at], static_cast<std::uint16_t>(~sum(p, 0xc0a80107, 0xac100001)));
    const auto opened = pair.open(pair.seal({p}));
    REQUIRE(opened.size() == 1);
    CHECK(sum(opened[0], 0x0a090002, 0x0a090001) == 0xffff);
  }
  Bytes none = between_gateways(60);
  store_be16(&none[26], 0);
  CHECK(pair.open(pair.seal({none})).at(0) == none);
}

TEST_CASE("AH in transport mode takes a packet that is a header alone", "[esp][ah][fuzz]") {
  Worker worker;
  const auto [in, out] = transport(parse_ah_proposal("sha256").value().front());
  SaPair pair(worker, in, out);
  Bytes bare = between_gateways(28);
  bare.resize(20);
  store_be16(&bare[2], 20);
  set_ipv4_checksum(bare.data());
  CHECK(pair.open(pair.seal({bare})) == std::vector<Bytes>{bare});
}

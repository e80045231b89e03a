// ESP and AH over IPv6 and for IPv6 through the nodes, in every mode (RFC 4303, RFC 4302, RFC 3948); their bytes are checked by OpenSSL
// (esp_openssl_test.cpp) and Scapy (esp_scapy_test.py).
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
std::pair<shm::InstallSa, shm::InstallSa> terms(const EspSuite& suite, bool udp, Family outer, Family inner, SaMode mode = SaMode::Tunnel) {
  auto in = install(suite, Direction::Inbound, udp, 0xc0ffee05, outer, inner),
       out = install(suite, Direction::Outbound, udp, 0xc0ffee05, outer, inner);
  for (auto* m : {&in, &out}) {
    m->mode = mode;
    if (mode != SaMode::Transport) continue;
    const auto bits = static_cast<std::uint8_t>(8 * m->local.address.size());
    m->local_ts = TrafficSelector::from({m->local.address, bits});
    m->remote_ts = TrafficSelector::from({m->remote.address, bits});
  }
  in.replay_window = 256;
  return {in, out};
}
Bytes between_gateways(std::size_t length) {
  Bytes p = inner_packet_v6(length);
  const auto source = *IpAddress::parse("2001:db8:9::2"), destination = *IpAddress::parse("2001:db8:9::1");
  std::copy(source.bytes.begin(), source.bytes.end(), p.begin() + 8);
  std::copy(destination.bytes.begin(), destination.bytes.end(), p.begin() + 24);
  return p;
}
/// `p` with an extension header of eight bytes in front of what it carries.
Bytes with_extension(Bytes p, std::uint8_t type) {
  const Bytes header{p[6], 0, 1, 4, 0, 0, 0, 0};
  p[6] = type;
  p.insert(p.begin() + 40, header.begin(), header.end());
  store_be16(&p[4], static_cast<std::uint16_t>(p.size() - 40));
  return p;
}
std::vector<EspSuite> suites() {
  std::vector<EspSuite> out;
  for (const char* name : {"aes128gcm16", "aes256-sha256", "aes128gmac", "null-sha1", "aes256gcm16-esn"})
    out.push_back(parse_esp_proposal(name).value().front());
  for (const IntegInfo& i : integ_table()) out.push_back(parse_ah_proposal(i.name).value().front());
  return out;
}
}  // namespace

TEST_CASE("tunnel mode, every combination of families, natively and in UDP", "[esp][ah][v6]") {
  const auto all = suites();
  const auto& suite = all[GENERATE_COPY(range<std::size_t>(0, all.size()))];
  const Family outer = GENERATE(Family::V4, Family::V6), inner = GENERATE(Family::V4, Family::V6);
  const bool udp = GENERATE(false, true);
  const bool ah = esp_geometry(suite)->ah;
  if (ah && udp) return;
  CAPTURE(suite.to_string(), outer, inner, udp);
  Worker worker;
  const auto [in, out] = terms(suite, udp, outer, inner);
  SaPair pair(worker, in, out);
  std::vector<Bytes> packets;
  for (std::size_t n = 48; n < 140; ++n)
    packets.push_back(inner == Family::V4 ? inner_packet(n, static_cast<std::uint8_t>(n))
                                          : inner_packet_v6(n, static_cast<std::uint8_t>(n)));
  const auto sealed = pair.seal(packets);
  REQUIRE(sealed.size() == packets.size());
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    const Bytes& s = sealed[i];
    OwnedPacket p(s, 0, 0);
    REQUIRE(parse_ip(p.view));
    REQUIRE((p.view.family == outer && p.view.length == s.size() && p.view.protocol == (ah ? 51 : udp ? 17 : 50)));
    REQUIRE(traffic_class(p.view) == 48 + i);
    REQUIRE(s.size() <= packets[i].size() + 200);
    if (udp && outer == Family::V6) {  // RFC 8200 §8.1
      REQUIRE(load_be16(&s[46]) != 0);
      REQUIRE(upper_sum(Family::V6, s.data(), 17, &s[40], static_cast<std::uint32_t>(s.size() - 40)) == 0xffff);
    }
    if (outer == Family::V6) REQUIRE((load_be32(s.data()) & 0xfffff) == (load_be32(sealed[0].data()) & 0xfffff));  // one flow label
    if (ah && outer == Family::V6) REQUIRE((s[41] + 2) % 2 == 0);
  }
  CHECK(pair.open(sealed) == packets);
  CHECK(pair.open(sealed).empty());
  CHECK(worker.dropped(Drop::EspReplay) == packets.size());
  const auto mtu = effective_mtu(*pair.outbound, 1400);
  const auto of = [&](std::size_t n) { return inner == Family::V4 ? inner_packet(n) : inner_packet_v6(n); };
  CHECK(pair.seal({of(mtu)}).front().size() <= 1400);
  CHECK(pair.seal({of(mtu + 1)}).front().size() > 1400);
}

TEST_CASE("transport mode over IPv6", "[esp][ah][v6][rfc4303-3.1.1]") {
  const auto all = suites();
  const auto& suite = all[GENERATE_COPY(range<std::size_t>(0, all.size()))];
  const bool udp = GENERATE(false, true);
  if (esp_geometry(suite)->ah && udp) return;
  CAPTURE(suite.to_string(), udp);
  Worker worker;
  const auto [in, out] = terms(suite, udp, Family::V6, Family::V6, SaMode::Transport);
  SaPair pair(worker, in, out);
  std::vector<Bytes> packets;
  for (std::size_t n = 48; n < 120; ++n) packets.push_back(between_gateways(n));
  const auto sealed = pair.seal(packets);
  REQUIRE(sealed.size() == packets.size());
  CHECK(pair.open(sealed) == packets);
  // Not between the two, a fragment, with extension headers: not for this SA.
  CHECK(pair.seal({inner_packet_v6(60), with_extension(between_gateways(60), 60), with_extension(between_gateways(60), 0)}).empty());
  CHECK(worker.dropped(Drop::EspTransport) == 3);
}

TEST_CASE("behind extension headers of the outer packet", "[esp][ah][v6][attack-K2]") {
  const bool ah = GENERATE(false, true), transport = GENERATE(false, true);
  const EspSuite suite = ah ? parse_ah_proposal("sha256").value().front() : parse_esp_proposal("aes128gcm16").value().front();
  CAPTURE(ah, transport);
  Worker worker;
  const auto [in, out] = terms(suite, false, Family::V6, Family::V6, transport ? SaMode::Transport : SaMode::Tunnel);
  SaPair pair(worker, in, out);
  const Bytes clear = transport ? between_gateways(80) : inner_packet_v6(80);
  const auto sealed = pair.seal({clear});
  const auto opened = pair.open({with_extension(sealed.front(), 60)});
  if (ah) {
    // AH covers the header, which was not there when the ICV was made (RFC 4302 §3.3.3.1.2).
    CHECK(opened.empty());
    CHECK(worker.dropped(Drop::EspAuth) == 1);
  } else {
    REQUIRE(opened.size() == 1);
    CHECK(opened.front() == (transport ? with_extension(clear, 60) : clear));
  }
}

TEST_CASE("what the next header says must be inside", "[esp][v6]") {
  Worker worker;
  const auto [in, out] = terms(kSuites[0], false, Family::V4, Family::V6);
  SaPair pair(worker, in, out);
  CHECK(pair.open({pair.craft(1, pair.padded(inner_packet_v6(60), 41))}).size() == 1);
  CHECK(pair.open({pair.craft(2, pair.padded(inner_packet_v6(60), 4))}).empty());
  CHECK(pair.open({pair.craft(3, pair.padded(inner_packet(60), 41))}).empty());
  CHECK(worker.dropped(Drop::EspInner) == 2);
  CHECK(pair.open({pair.craft(4, pair.padded(inner_packet(60), 4))}).empty());  // of a family that the selectors do not have
  CHECK(worker.dropped(Drop::EspSelector) == 1);
}

TEST_CASE("a peer behind a NAT is followed over IPv6, too", "[esp][nat][v6][attack-L2]") {
  Worker worker;
  auto [in, out] = terms(kSuites[0], true, Family::V6, Family::V6);
  in.follow = true;
  SaPair pair(worker, in, out);
  const auto sealed = pair.seal(std::vector<Bytes>(4, inner_packet_v6(100)));
  const auto from = [](Bytes p, std::uint8_t last, std::uint16_t port) {
    p[23] = last;
    store_be16(&p[40], port);
    return p;
  };
  Bytes forged = from(sealed[2], 0x77, 9);
  forged.back() ^= 1;
  CHECK(pair.open({sealed[0], forged}).size() == 1);
  CHECK(pair.inbound->moved_v6.stores() == 0);
  CHECK(pair.open({from(sealed[1], 0x99, 9)}).size() == 1);
  REQUIRE(pair.inbound->moved_v6.stores() == 1);
  const PeerV6::Value to = pair.inbound->moved_v6.load();
  CHECK((to.port == 9 && reinterpret_cast<const std::uint8_t*>(to.address.data())[15] == 0x99));
  set_peer(*pair.outbound, {address_from(Family::V6, reinterpret_cast<const std::uint8_t*>(to.address.data())), to.port});
  const Bytes moved = pair.seal({inner_packet_v6(60)}).front();
  CHECK((moved[39] == 0x99 && load_be16(&moved[42]) == 9));
}

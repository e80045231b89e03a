// SAs of several traffic selectors: what they let out and in, and which ones cannot be.
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
TrafficSelector ts(const char* text) { return *TrafficSelector::parse(text); }

/// 10.1.0.0/24, 2001:db8:1::/48 and 10.1.7.0/24[udp/9] at the receiver, 10.2.0.0/24, 2001:db8:2::/48 and 10.2.7.0/24[udp] at the sender.
std::pair<shm::InstallSa, shm::InstallSa> several() {
  auto in = install(kSuites[0], Direction::Inbound), out = install(kSuites[0], Direction::Outbound);
  const std::vector receiver{in.local_ts, ts("2001:db8:1::/48"), ts("10.1.7.0/24[udp/9]")};
  const std::vector sender{in.remote_ts, ts("2001:db8:2::/48"), ts("10.2.7.0/24[udp]")};
  in.more = MoreSelectors::behind_first(receiver, sender).value();
  out.more = MoreSelectors::behind_first(sender, receiver).value();
  return {in, out};
}
Bytes between(std::uint32_t source, std::uint32_t destination, std::uint8_t protocol = kProtocolUdp, std::uint16_t port = 9) {
  Bytes p = inner_packet(80);
  p[9] = protocol;
  store_be32(&p[12], source);
  store_be32(&p[16], destination);
  store_be16(&p[22], port);
  set_ipv4_checksum(p.data());
  return p;
}
}  // namespace

TEST_CASE("an SA of several selectors takes in what any of each side has", "[esp][selectors][rfc4301-5.2]") {
  Worker worker;
  const auto [in, out] = several();
  SaPair pair(worker, in, out);
  const std::uint32_t s0 = 0x0a020005, s7 = 0x0a020705, d0 = 0x0a010005, d7 = 0x0a010705;
  const std::vector<Bytes> good{between(s0, d0),
                                between(s0, d7),
                                between(s7, d0),
                                between(s7, d7),
                                between(s0, d0, kProtocolIcmp),
                                inner_packet_v6(80),
                                between(s7, d0, kProtocolUdp, 10)};
  CHECK(pair.open(pair.seal(good)) == good);
  CHECK(worker.dropped(Drop::EspSelector) == 0);
  std::uint64_t refused = 0;
  for (const Bytes& bad :
       {between(s7, d0, kProtocolIcmp), between(s0, d7, kProtocolUdp, 10), between(0x0a020105, d0), between(s0, 0x0a010105)}) {
    CHECK(pair.open(pair.seal({bad})).empty());
    CHECK(worker.dropped(Drop::EspSelector) == ++refused);
  }
}

TEST_CASE("of a policy's SAs the youngest that admits the packet, by any of its selectors", "[esp][selectors][rfc4301-5.1]") {
  Worker worker;
  const auto [in, out] = several();
  SaPair wide(worker, in, out), one(worker, kSuites[0]);
  one.outbound->older = wide.outbound.get();
  const auto chosen = [&](Bytes bytes) -> const OutboundSa* {
    Packet p;
    p.data = bytes.data();
    p.length = static_cast<std::uint32_t>(bytes.size());
    REQUIRE(parse_ip(p));
    return admitting_sa(one.outbound.get(), p);
  };
  CHECK(chosen(between(0x0a020005, 0x0a010005)) == one.outbound.get());
  CHECK(chosen(between(0x0a020705, 0x0a010005)) == wide.outbound.get());
  CHECK(chosen(inner_packet_v6(80)) == wide.outbound.get());
  CHECK(chosen(between(0x0a020705, 0x0a010005, kProtocolIcmp)) == nullptr);
  CHECK(contains(wide.outbound->more->sources, ts("10.2.7.128/25[udp/1]")));
  CHECK_FALSE(contains(wide.outbound->more->sources, ts("10.2.7.128/25")));
}

TEST_CASE("SAs of selectors that cannot be are refused", "[esp][selectors]") {
  Worker worker;
  shm::SaCounters counters;
  const auto refused = [&](const shm::InstallSa& m) {
    const auto made = make_inbound(m, kCapacity, worker.engine(), {0, &counters, 0});
    return !made && made.error() == shm::AckResult::BadMessage;
  };
  const auto [in, out] = several();
  CHECK_FALSE(refused(in));
  auto bad = in;
  bad.more.remotes = 200;
  CHECK(refused(bad));
  bad = in;
  bad.more.all[0].last.family = Family::V4;
  CHECK(refused(bad));
  bad = in;
  std::swap(bad.more.all[2].first, bad.more.all[2].last);
  CHECK(refused(bad));
  bad = in;
  bad.more.all[3].port_first = 9;
  bad.more.all[3].port_last = 8;
  CHECK(refused(bad));
  bad = in;
  bad.more.all[1].first.family = bad.more.all[1].last.family = Family::None;
  CHECK(refused(bad));
  bad = in;
  bad.mode = SaMode::Transport;  // whose packets are of the outer family
  CHECK(refused(bad));
}

// Packets of one SA in a row are asked what they have alike only once. They must come to the same as each of them alone: bytes, counters,
// reasons, window.
#include <random>
#include <utility>

#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
using Random = std::minstd_rand;
std::uint32_t below(Random& random, std::uint32_t n) { return std::uniform_int_distribution<std::uint32_t>(0, n - 1)(random); }

/// Some packet that may be sent, of either family.
Bytes any_inner(Random& random) {
  const std::size_t length = 48 + below(random, below(random, 4) == 0 ? 1400 : 80);
  const auto tos = static_cast<std::uint8_t>(below(random, 256));
  if (below(random, 5) == 0) return inner_packet_v6(length, tos);
  return inner_packet(length, tos, below(random, 2) == 0 ? kIpv4Df : std::uint16_t{0});
}

/// Some packet that arrives: good, or bad in some way that the ICV does not say, or in one that it does. `calm`: good and plain, of a peer
/// that moves.
Bytes any_outer(Random& random, SaPair& pair, std::uint32_t& sequence, std::vector<Bytes>& sent, bool calm) {
  const std::uint32_t any = below(random, 28), kind = calm && any != 13 && any != 17 ? 27 : any;
  if (kind == 0 && !sent.empty()) return sent[below(random, static_cast<std::uint32_t>(sent.size()))];  // again
  sequence += below(random, 12) == 0 ? 40 : 1;
  // A number that becomes too old within the burst is found so before the crypto if the packet is alone, and behind it if not.
  const bool forged = kind == 12 || kind == 15;
  const std::uint32_t number = !forged && below(random, 6) == 0 && sequence > 50 ? sequence - below(random, 50) : sequence;
  const auto tos = static_cast<std::uint8_t>(calm ? 0 : below(random, 256));
  Bytes inner = inner_packet(28 + below(random, 300), tos);
  std::uint8_t next_header = kProtocolIpip;
  if (kind == 1) store_be32(&inner[12], 0x0a030005);  // outside of the selectors
  if (kind == 2) store_be32(&inner[16], 0x0a020005);
  if (kind == 3) inner[8] ^= 1;  // its checksum is wrong
  if (kind == 4) next_header = kProtocolNone;
  if (kind == 5) next_header = kProtocolIpv6;
  if (kind == 6) next_header = kProtocolTcp;
  if (kind == 7) inner = inner_packet_v6(60);
  if (kind == 8) inner.resize(inner.size() + 40);  // padded for confidentiality (RFC 4303 §2.7)
  if (kind == 9) inner.resize(12);
  if (kind < 3) set_ipv4_checksum(inner.data());
  Bytes text = pair.padded(inner, next_header);
  if (kind == 10) text[text.size() - 2] = 0xff;
  if (kind == 11 && text[text.size() - 2] != 0) text[text.size() - 3] ^= 1;
  Bytes p = pair.craft(number, text, static_cast<std::uint8_t>(calm || below(random, 2) == 0 ? 0 : below(random, 256)));
  const auto says = [&p] {
    store_be16(&p[2], static_cast<std::uint16_t>(p.size()));
    set_ipv4_checksum(p.data());
  };
  if (kind == 12) p.back() ^= 1;
  if (kind == 13) p[15] ^= 1;  // from somebody else
  if (kind == 14) p[19] ^= 1;
  if (kind == 15) p.resize(p.size() - 1 - below(random, 20));
  if (kind == 16) p.resize(36);
  says();
  if (pair.outbound->udp && p.size() > 26) {
    if (kind == 17 || (kind == 13 && below(random, 2) == 0)) p[21] = static_cast<std::uint8_t>(below(random, 4));  // by another port
    if (kind == 18) store_be16(&p[24], static_cast<std::uint16_t>(p.size() - 20 + below(random, 3) - 1));
    if (kind == 19) p.insert(p.end(), 1 + below(random, 8), 0), says();  // behind what UDP says
  }
  if (!forged) sent.push_back(p);
  return p;
}

/// An old number that was seen, too, is called the one or the other: packets in front of it in its burst have not moved the window yet.
auto books(const shm::SaCounters& c) {
  constexpr std::size_t kDrops = sizeof(shm::SaCounters) / 8 - kSaDropSlots;
  const auto slot = [](Drop reason) {
    return kDrops + kSaDropSlot[static_cast<std::size_t>(Direction::Inbound)][static_cast<std::size_t>(reason)];
  };
  auto out = values(c);
  out[slot(Drop::EspOld)] += std::exchange(out[slot(Drop::EspReplay)], 0);
  return out;
}
void same_books(Worker& a, Worker& b) {
  for (std::size_t i = 0; i < kDropReasons; ++i) {
    CAPTURE(kDropTable[i].name);
    const auto reason = static_cast<Drop>(i);
    if (reason != Drop::EspOld && reason != Drop::EspReplay) REQUIRE(a.dropped(reason) == b.dropped(reason));
  }
  REQUIRE(a.dropped() == b.dropped());
}
}  // namespace

TEST_CASE("a row is sealed as its packets are when each has a mark of its own", "[esp][rows]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  const bool udp = GENERATE(false, true);
  CAPTURE(suite.name, udp);
  Random random(7);
  Worker one, other;
  SaPair together(one, suite, udp), apart(other, suite, udp);
  for (int round = 0; round < 8; ++round) {
    const auto mask = static_cast<std::uint8_t>(below(random, 2) == 0 ? 0xff : 0xfc);
    const std::uint16_t copied = below(random, 2) == 0 ? kIpv4Df : std::uint16_t{0},
                        set = below(random, 3) == 0 ? kIpv4Df : std::uint16_t{0};
    for (OutboundSa* sa : {together.outbound.get(), apart.outbound.get()}) {
      sa->class_mask = mask;
      sa->df_copied = copied;
      sa->df_set = set;
      const auto port = static_cast<std::uint16_t>(udp ? 4500 + round : 0);
      set_peer(*sa, Endpoint{IpAddress::v4(0x0a090001U + static_cast<std::uint32_t>(round) * 77), port});
    }
    std::vector<Bytes> packets;
    for (int i = 0; i < 40; ++i) packets.push_back(any_inner(random));
    const std::uint16_t tailroom = round == 7 ? 20 : kTailroom;  // too little for some suites, and for some packets of others
    const auto row = together.seal(packets, kHeadroom, tailroom);
    std::vector<Bytes> each;
    for (const Bytes& p : packets) {
      apart.outbound->usage.packets_mark = apart.outbound->usage.packets + 1;
      for (Bytes& sealed : apart.seal({p}, kHeadroom, tailroom)) each.push_back(std::move(sealed));
    }
    REQUIRE(row.size() == each.size());
    const bool random_iv = together.outbound->geometry.iv_source == IvSource::Random;
    for (std::size_t i = 0; i < row.size(); ++i) {
      CAPTURE(round, i);
      const std::size_t compared = random_iv ? (udp ? 36 : 28) : row[i].size();
      REQUIRE(row[i].size() == each[i].size());
      REQUIRE(Bytes(row[i].begin(), row[i].begin() + static_cast<long>(compared)) ==
              Bytes(each[i].begin(), each[i].begin() + static_cast<long>(compared)));
    }
    REQUIRE(values(*together.counters_out) == values(*apart.counters_out));
    REQUIRE(together.outbound->usage.packets == apart.outbound->usage.packets);
    REQUIRE(together.outbound->usage.bytes == apart.outbound->usage.bytes);
  }
  same_books(one, other);
}

TEST_CASE("a row is opened as its packets are one by one when each has a mark of its own", "[esp][rows]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  const auto [udp, follows] = GENERATE(std::pair(false, false), std::pair(true, false), std::pair(true, true));
  CAPTURE(suite.name, udp, follows);
  if (suite.esn) return;  // the tests' craft() makes none
  Random random(11);
  Worker one, other;
  SaPair together(one, suite, udp), apart(other, suite, udp);
  together.inbound->follows = apart.inbound->follows = follows;
  std::uint32_t sequence = 0;
  std::vector<Bytes> sent;
  for (int round = 0; round < 12; ++round) {
    std::vector<Bytes> packets;
    for (int i = 0; i < 50; ++i) packets.push_back(any_outer(random, together, sequence, sent, follows && round % 2 == 1));
    std::vector<Bytes> each;
    for (const Bytes& p : packets) {
      apart.inbound->usage.packets_mark = apart.inbound->usage.packets + 1;
      for (Bytes& opened : apart.open({p})) each.push_back(std::move(opened));
    }
    REQUIRE(together.open(packets) == each);
    REQUIRE(together.inbound->match.remote_address == apart.inbound->match.remote_address);
    REQUIRE(together.inbound->remote_port == apart.inbound->remote_port);
    REQUIRE(together.inbound->moved_to.load() == apart.inbound->moved_to.load());
    REQUIRE(books(*together.counters_in) == books(*apart.counters_in));
    REQUIRE(together.inbound->usage.packets == apart.inbound->usage.packets);
    REQUIRE(together.inbound->usage.bytes == apart.inbound->usage.bytes);
    REQUIRE(together.inbound->replay.top() == apart.inbound->replay.top());
  }
  same_books(one, other);
  CHECK(one.dropped() > 0);
  CHECK((together.inbound->moved_to.load() != 0) == follows);
}

// What the packet benchmark carries: the cases, the packets, and the terms of the SAs that they go under.
// Owns addresses and keys (all zeros): whoever measures the same case gets the same bytes. Computes nothing that is measured.
//
// We are 10.9.0.1 with 10.1.0.0/24 behind us. SA number i leads to its own peer, 20.0.0.0 + i behind the router 10.9.0.2, and to 16 hosts
// behind that, 11.0.0.0/28 + 16 i.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/shm/messages.hpp"
#include "dataplane/packet.hpp"

namespace culvert::bench {

/// What the worker does: encapsulate, decapsulate, or the one and the other in turns, burst by burst.
enum class Way : std::uint8_t { Out, In, Both };
inline bool goes_out(Way w) { return w != Way::In; }
inline bool comes_in(Way w) { return w != Way::Out; }

/// Packets of one round and direction come in multiples of this: whole bursts, and whole patterns of IMIX.
inline constexpr std::size_t kRoundPackets = 192;
static_assert(kRoundPackets % dp::kBurstMax == 0);
/// More SAs than this have no addresses here.
inline constexpr std::uint32_t kMaxSas = 1U << 20;

struct Case {
  EspSuite suite;
  Way way = Way::Out;
  std::vector<std::uint32_t> sizes;  ///< of the inner packets of a round and direction
  std::uint32_t sas = 1;             ///< in each direction
  std::uint32_t policies = 1;        ///< entries; each SA that sends has one of its own, the last ones, others come before
  bool udp = false;                  ///< ESP in UDP, with peers behind NATs
  /// The SA of each packet: all of them, in an order that no prefetcher guesses.
  std::vector<std::uint32_t> order;

  /// `size`: "IMIX", or a number of bytes that fits. SAs that send are no more than there can be policies, and policies no fewer than
  /// those. Throws std::runtime_error.
  static Case make(const EspSuite& suite, Way way, const std::string& size, std::uint32_t sas, std::uint32_t policies);
  [[nodiscard]] double mean_bytes() const;
};

inline constexpr std::uint32_t kHosts = 16;  ///< on either side of an SA
inline constexpr std::array<std::uint8_t, 6> kOurMac{2, 0, 0, 0, 0, 1}, kOtherMac{2, 0, 0, 0, 0, 2};
inline constexpr std::uint32_t kOurAddress = 0x0a090001, kRouter = 0x0a090002, kLanNet = 0x0a010000;
constexpr std::uint32_t peer_of_sa(std::uint32_t sa) { return 0x14000000U + sa; }
constexpr Spi spi_of_sa(std::uint32_t sa) { return Spi{0x10000000U + sa}; }

/// The terms of SA number `sa`, in a table of `capacity`. `of_peer`: as the other end would have them.
shm::InstallSa terms(const Case& c, std::uint32_t sa, Direction direction, std::uint32_t capacity, bool of_peer = false);
/// All of them, in order; SA number i that sends has the PolicyId i + 1. The others let other networks' packets pass.
std::vector<shm::InstallPolicy> policies(const Case& c);

/// Packet number `n` of a round, in clear: IPv4 with UDP. `out`: as it comes from behind us, else from behind the peer.
Bytes inner_packet(const Case& c, std::size_t n, bool out);

/// A round as a pcap file of Ethernet frames to us: packets in clear, or sealed by the peer. Throws std::runtime_error.
void write_clear(const Case& c, const std::string& file);
void write_sealed(const Case& c, const std::string& file);

/// The value, or std::runtime_error.
template <class T, class E>
T must(std::expected<T, E> value, const std::string& what) {
  if (value) return *std::move(value);
  if constexpr (std::is_same_v<E, std::string>) throw std::runtime_error(what + ": " + value.error());
  throw std::runtime_error(what);
}

}  // namespace culvert::bench

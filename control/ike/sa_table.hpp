// Which IKE SA a datagram belongs to, and how many unproven ones there are.
// Owns the index by cookies and the counts of half-open SAs: by source, and of those whose source may be made up. Holds ids only: the SAs
// are the engine's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "common/net/ip.hpp"
#include "common/types.hpp"

namespace culvert::ike {

/// IKE SAs of all kinds: what 64 MiB hold, and more peers than one gateway's cores can rekey.
inline constexpr std::size_t kMaxIkeSas = 16384;

using SaId = std::uint64_t;

/// Whoever is at an address, by whatever port: in each VRF somebody else.
inline Endpoint host_of(Endpoint e) {
  e.port = 0;
  return e;
}

class SaTable {
 public:
  /// An SA that we initiate: the peer's cookie is not known yet (RFC 2408 §2.5.3).
  void add_initiator(SaId id, IkeSpi spi_i);
  /// An SA that a stranger asks for; half-open until `promote`. `heard`: it has shown our cookie, and so that it is at `source`.
  /// `print`: of message 1, of IKEv2: another one under the same cookie from the same source is another attempt (RFC 7296 §2.1).
  void add_responder(SaId id, IkeSpi spi_i, IkeSpi spi_r, const Endpoint& source, bool heard, std::size_t print = 0);
  /// The stranger has shown our cookie.
  void heard(SaId id) { unheard_.erase(id); }
  /// Message 2 told us the peer's cookie.
  void complete_initiator(SaId id, IkeSpi spi_i, IkeSpi spi_r);
  /// The peer has proved who it is: no longer half-open.
  void promote(SaId id);
  void remove(SaId id);

  [[nodiscard]] std::optional<SaId> find(IkeSpi spi_i, IkeSpi spi_r) const;
  /// The SA that we initiated under this cookie and that has no responder cookie yet.
  [[nodiscard]] std::optional<SaId> find_initiating(IkeSpi spi_i) const;
  /// The half-open SA that this very message 1 has made before.
  [[nodiscard]] std::optional<SaId> find_half_open(IkeSpi spi_i, const Endpoint& source, std::size_t print = 0) const;
  /// All that were made from there under this cookie.
  [[nodiscard]] std::vector<SaId> all_of(IkeSpi spi_i, const Endpoint& source) const;

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::size_t half_open() const { return half_open_; }
  [[nodiscard]] std::size_t half_open(const Endpoint& source) const;
  /// Half-open SAs whose source may be made up, the oldest first.
  [[nodiscard]] const std::set<SaId>& unheard() const { return unheard_; }
  /// Those (host_of) of whom one has left the half-open ones since the last call.
  [[nodiscard]] std::vector<Endpoint> take_freed() { return std::exchange(freed_, {}); }

 private:
  struct Entry {
    IkeSpi spi_i, spi_r;
    std::optional<Endpoint> source;  ///< of a responder's SA
    bool half_open = false;
    std::size_t print = 0;
  };
  void leave_half_open(Entry& entry);

  std::map<SaId, Entry> entries_;
  std::map<std::pair<IkeSpi, IkeSpi>, SaId> by_spis_;
  std::map<IkeSpi, SaId> initiating_;
  std::map<std::tuple<IkeSpi, Endpoint, std::size_t>, SaId> by_source_;
  std::map<Endpoint, std::size_t> per_source_;  ///< host_of()
  std::set<SaId> unheard_;
  std::vector<Endpoint> freed_;
  std::size_t half_open_ = 0;
};

}  // namespace culvert::ike

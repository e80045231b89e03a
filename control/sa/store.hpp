// Which slot of the data plane's SA tables holds what, and which SPIs are taken.
// Owns slot and SPI numbers of both directions; holds no keys. A slot is given out again only when the engine no longer
// wants its SPI and the data plane no longer has its SA, and then as late as possible (oldest free slot first).
//
//     inbound   Free -allocate_spi-> Reserved -begin_install-> Busy -installed-> Live -begin_remove-> Leaving -gone-> Reserved*
//     outbound  Free -begin_install-> Busy -installed-> Live -begin_remove-> Leaving -gone-> Free
//     * and Free as soon as the engine has released the SPI
//
// Tells the data plane which inbound SPIs peers have, or are about to have, from Reserved until they are Live for the first
// time, and what is installed beside them for the way back is, too.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/types.hpp"

namespace culvert::control {

enum class SlotState : std::uint8_t { Free, Reserved, Busy, Live, Leaving };

/// One SA of the data plane, as culvertd knows it.
struct SaEntry {
  Direction direction{};
  std::uint32_t slot = 0;
  Spi spi;
  SlotState state{};
  std::uint64_t pair = 0;
  std::string connection, child;
  bool released = false;  ///< inbound: the engine does not want the SPI any more
  bool orphan = false;    ///< installed by a culvertd before this one
  PolicyId policy{};
};

class SaStore {
 public:
  /// `capacity`: SAs of each direction, a power of two, at least 1. `random` yields any 32 bits.
  SaStore(std::uint32_t capacity, std::function<std::uint32_t()> random);

  /// A new inbound SPI: random high bits over the slot; above 255 and not the one that the slot had before.
  std::optional<Spi> allocate_spi();
  /// The engine is done with it. Takes effect at the next `settle()`, so that actions already decided still find it.
  void release_spi(Spi spi);
  void settle();

  /// Before InstallSa is sent: the slot for it. Fails when no slot is free, the SPI is not one of ours (inbound), or the same
  /// SA is there already (a key is never installed twice).
  std::optional<std::uint32_t> begin_install(Direction direction, Spi spi, std::uint64_t pair, const std::string& connection,
                                             const std::string& child, PolicyId policy = {});
  void installed(Direction direction, std::uint32_t slot);
  /// The data plane does not have the SA: it refused it, or acknowledged its removal.
  void gone(Direction direction, std::uint32_t slot);
  /// Before RemoveSa is sent. nullptr: no such SA in the data plane.
  const SaEntry* begin_remove(Direction direction, Spi spi, std::uint64_t pair);
  /// Takes over an SA that a former culvertd installed. False: the slot is out of range or taken.
  bool adopt(Direction direction, std::uint32_t slot, Spi spi, std::uint64_t pair, const std::string& connection, const std::string& child,
             PolicyId policy = {});

  /// The data plane lost everything. SPIs that the engine still holds stay reserved.
  void lose_all();
  /// Another data plane with room for another number of SAs. Only after `lose_all`; SPIs still reserved are forgotten.
  void resize(std::uint32_t capacity);

  /// Where the data plane reads which SPIs are awaited, by slot (shm::Segment::awaited()): all of it is written anew, and kept up to date
  /// from now on. As many as `capacity()`, or none: there is no data plane.
  void announce(std::span<std::atomic<std::uint32_t>> awaited);

  [[nodiscard]] const SaEntry* find(Direction direction, Spi spi, std::uint64_t pair) const;
  [[nodiscard]] const SaEntry* at(Direction direction, std::uint32_t slot) const;
  /// Live, Busy and Leaving SAs, in no order.
  void each(const std::function<void(const SaEntry&)>& visit) const;
  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }
  [[nodiscard]] std::size_t used(Direction direction) const { return table(direction).entries.size(); }

 private:
  struct Table {
    std::deque<std::uint32_t> free;                      ///< may name an adopted slot, too: skipped when its turn comes
    std::unordered_map<std::uint32_t, SaEntry> entries;  ///< by slot; none for a free one
  };
  [[nodiscard]] Table& table(Direction d) { return tables_[static_cast<std::size_t>(d)]; }
  [[nodiscard]] const Table& table(Direction d) const { return tables_[static_cast<std::size_t>(d)]; }
  SaEntry* lookup(Direction direction, Spi spi, std::uint64_t pair);
  std::optional<std::uint32_t> take_free(Direction direction);
  void free_slot(Direction direction, std::uint32_t slot);
  /// `spi` 0: none.
  void await(Direction direction, std::uint32_t slot, Spi spi);
  /// The outbound SA of the pair has just got there, or is not to come; or the inbound one goes.
  void way_back_settled(std::uint64_t pair);

  std::uint32_t capacity_;
  std::function<std::uint32_t()> random_;
  Table tables_[2];
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint32_t> outbound_;  ///< pair and SPI -> slot
  std::vector<std::uint32_t> last_spi_;                                        ///< inbound, by slot
  std::span<std::atomic<std::uint32_t>> awaited_;
  std::unordered_map<std::uint64_t, std::uint32_t> halves_;  ///< pair -> slot of an inbound SA that is there before the outbound one
  std::vector<Spi> released_;                                ///< waiting for settle()
};

}  // namespace culvert::control

// Packets that overtake the message which makes their SA: a peer may send by an SA as soon as it has it, while its answer, with what we
// need to make ours, is still under way or being read (IKEv2's IKE_AUTH and CREATE_CHILD_SA answers; RFC 7296 §1.3.2, §2.8). Owns these
// packets until their SA is there or kPatience is over. Takes none of an SPI that culvertd has not given to a peer just now, so that nobody
// can fill it who was not told one, and holds kMost of one worker. Owns no clock. Not met by packets whose SA is there.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "dataplane/drop.hpp"
#include "dataplane/sad/sa_table.hpp"

namespace culvert::dp {

class EarlyPackets {
 public:
  static constexpr std::size_t kMost = 256;
  static constexpr std::uint64_t kPatience = 200'000'000;  ///< ns
  using Release = DropSink::Release;

  /// `awaited`: shm::Segment::awaited(), or nothing.
  EarlyPackets(std::span<const std::atomic<std::uint32_t>> awaited, Release release) : awaited_(awaited), release_(release) {}
  EarlyPackets(const EarlyPackets&) = delete;
  EarlyPackets& operator=(const EarlyPackets&) = delete;
  ~EarlyPackets() {
    for (std::size_t i = 0; i < size_; ++i) release_(nullptr, std::span(&held_[i].packet.handle, 1));
  }

  /// True: it is kept here, with its view. `now`: CLOCK_MONOTONIC in ns.
  bool takes(const Packet& p, Spi spi, std::uint64_t now) {
    if (!awaits(spi)) [[likely]]
      return false;
    if (size_ == kMost) return false;
    held_[size_++] = {p, spi, now};
    return true;
  }
  /// Those whose SA is there now, and no longer awaited: then the one for the answers is, too. As many as `views` has room for, in order of
  /// arrival. Drops those that have waited too long.
  std::size_t give(std::span<Packet> views, const InboundTable& table, std::uint64_t now, DropSink& drops) {
    std::size_t given = 0, kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      Held& h = held_[i];
      const bool late = now - h.since >= kPatience, there = (late || !awaits(h.spi)) && table.find(h.spi) != nullptr;
      if (there && given < views.size()) {
        views[given++] = h.packet;
      } else if (late && !there) {
        drops.drop(h.packet, Drop::EspNoSa);
      } else {
        held_[kept++] = h;
      }
    }
    size_ = kept;
    return given;
  }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  [[nodiscard]] bool awaits(Spi spi) const {
    return !awaited_.empty() && awaited_[spi.value & (awaited_.size() - 1)].load(std::memory_order_acquire) == spi.value;
  }
  struct Held {
    Packet packet;
    Spi spi;
    std::uint64_t since = 0;
  };
  const std::span<const std::atomic<std::uint32_t>> awaited_;
  const Release release_;
  std::size_t size_ = 0;
  std::array<Held, kMost> held_;
};

}  // namespace culvert::dp

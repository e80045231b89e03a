// What RFC 4303 §3.4.3 and App. A say of an inbound SA's sequence numbers, by their meaning and without any cleverness: every number that
// was taken in is kept. And a receiver to hold it against: one inbound SA of the data plane, its real nodes and real crypto, which is fed
// packets of any number, sealed or forged.
#pragma once

#include <optional>
#include <unordered_set>
#include <vector>

#include "tests/support/packet_fixture.hpp"

namespace culvert::dp::test {

/// A packet on its way: its header says the lower half of `says`, it was sealed under `sealed`. With a fault it is authentic under no
/// number: 0: its ICV is wrong, 1: its text, 2: its IV, or first byte.
struct Arrival {
  std::uint64_t says = 0, sealed = 0;
  std::optional<std::uint8_t> fault{};
};
inline Arrival sealed_as(std::uint64_t number) { return {number, number, {}}; }
inline Arrival sealed_as(std::uint64_t number, std::uint64_t says) { return {says, number, {}}; }
inline Arrival forged_as(std::uint64_t number, std::uint8_t fault = 0) { return {number, number, fault}; }

/// Drop::Count_ stands for: taken in.
class ReplayModel {
 public:
  ReplayModel(std::uint32_t window, bool esn) : window_(window), esn_(esn) {}
  void take(std::uint64_t number) {
    taken_.insert(number);
    top_ = std::max(top_, number);
  }
  [[nodiscard]] std::uint64_t top() const { return top_; }
  [[nodiscard]] std::size_t taken() const { return taken_.size(); }

  /// Of packets that come one after the other.
  [[nodiscard]] Drop verdict(const Arrival& a) const {
    const std::int64_t number = number_of(a);
    const Drop early = before_crypto(number);
    return early != Drop::Count_ || is_authentic(a, number) ? early : Drop::EspAuth;
  }
  /// Of packets that come in one burst: whole numbers are told, and hopeless packets sorted out, before the first is verified. Which are
  /// taken in is the same as one after the other; why another is not may differ.
  std::vector<Drop> burst(const std::vector<Arrival>& arrivals) {
    std::vector<std::int64_t> numbers;
    std::vector<Drop> out;
    for (const Arrival& a : arrivals) {
      numbers.push_back(number_of(a));
      out.push_back(before_crypto(numbers.back()));
    }
    constexpr std::uint64_t kFar = std::uint64_t{1} << 31;  // no burst leaps over that much
    const std::uint64_t far = top_ + kFar;
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      const bool alone = verdict(arrivals[i]) == Drop::Count_;
      if (out[i] == Drop::Count_) out[i] = is_authentic(arrivals[i], numbers[i]) ? before_crypto(numbers[i]) : Drop::EspAuth;
      if (alone != (out[i] == Drop::Count_) && arrivals[i].sealed < far) FAIL("a burst makes a difference to " << arrivals[i].sealed);
      if (out[i] == Drop::Count_) take(static_cast<std::uint64_t>(numbers[i]));
    }
    return out;
  }

 private:
  /// App. A2: of all numbers that end in the 32 bits that the header says, the lowest one that is not left of the window. The window
  /// reaches below 0 while fewer packets have come than it holds.
  [[nodiscard]] std::int64_t number_of(const Arrival& a) const {
    const auto low = static_cast<std::int64_t>(a.says & 0xffffffff);
    if (!esn_) return low;
    constexpr std::int64_t kEpoch = std::int64_t{1} << 32;
    std::int64_t number = low + (static_cast<std::int64_t>(top_ / kEpoch) - 1) * kEpoch;  // lower ones are left of it for sure
    while (left_of_window(number)) number += kEpoch;
    return number;
  }
  [[nodiscard]] bool left_of_window(std::int64_t number) const {
    return number <= static_cast<std::int64_t>(top_) - static_cast<std::int64_t>(window_);
  }
  [[nodiscard]] Drop before_crypto(std::int64_t number) const {
    if (number <= 0 || left_of_window(number)) return Drop::EspOld;  // no sender uses 0
    return taken_.contains(static_cast<std::uint64_t>(number)) ? Drop::EspReplay : Drop::Count_;
  }
  static bool is_authentic(const Arrival& a, std::int64_t number) { return !a.fault && static_cast<std::int64_t>(a.sealed) == number; }
  std::uint32_t window_;
  bool esn_;
  std::uint64_t top_ = 0;
  std::unordered_set<std::uint64_t> taken_;
};

/// An inbound SA, and a sender that seals by the engine under whatever number it is told.
class Receiver final : private DropObserver {
 public:
  Receiver(Worker& worker, const EspSuite& suite, std::uint32_t window)
      : worker_(worker),
        pair_(worker, terms(suite, Direction::Inbound, window), terms(suite, Direction::Outbound, window)),
        text_(pair_.padded(inner_packet(28))) {
    drops_.observe(this);
  }
  [[nodiscard]] std::uint64_t top() const { return pair_.inbound->replay.top(); }
  [[nodiscard]] const shm::SaCounters& counters() const { return *pair_.counters_in; }
  /// As if packets up to `number` had come, and `number` alone were remembered.
  void start_at(std::uint64_t number) { REQUIRE(pair_.inbound->replay.commit(number) == ReplayVerdict::Fresh); }

  /// One burst, of kBurstMax at most. In `out`: what became of each.
  void offer(const std::vector<Arrival>& arrivals, std::vector<Drop>& out) {
    seal(arrivals);
    Burst burst;
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      Packet& p = packets_[i];
      p = Packet{};
      p.data = buffers_[i].data() + 4;  // what GMAC may borrow
      p.length = length_;
      p.handle = &verdicts_[i];
      p.inbound = pair_.inbound;
      verdicts_[i] = kPending;
      if (!parse_ip(p)) FAIL("outer header");
      burst.push_back(&p);
    }
    EspContext context{worker_.engine(), drops_, 0};
    esp_in(burst, context);
    for (const Packet* p : burst) report(*p, Drop::Count_);
    out.assign(verdicts_.begin(), verdicts_.begin() + static_cast<std::ptrdiff_t>(arrivals.size()));
    if (std::ranges::find(out, kPending) != out.end()) FAIL("a packet was lost");
  }
  Drop offer(const Arrival& a) {
    std::vector<Drop> out;
    offer(std::vector{a}, out);
    return out.at(0);
  }

 private:
  static constexpr auto kPending = static_cast<Drop>(0xff);
  static shm::InstallSa terms(const EspSuite& suite, Direction direction, std::uint32_t window) {
    shm::InstallSa m = install(suite, direction);
    m.replay_window = static_cast<std::uint16_t>(window);
    return m;
  }
  void report(const Packet& p, Drop reason) {
    auto& verdict = *static_cast<Drop*>(p.handle);
    if (verdict != kPending) FAIL("a packet left twice");
    verdict = reason;
  }
  void dropped(const Packet& p, Drop reason) override { report(p, reason); }

  void seal(const std::vector<Arrival>& arrivals) {
    const OutboundSa& sa = *pair_.outbound;
    const EspGeometry& g = sa.geometry;
    const std::size_t esp = sa.header_bytes - kEspHeaderBytes;
    length_ = static_cast<std::uint32_t>(sa.header_bytes + g.iv + text_.size() + g.icv);
    std::array<CryptoOp, kBurstMax> ops;
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      const Arrival& a = arrivals[i];
      const std::uint64_t number = a.sealed;
      std::uint8_t* p = buffers_[i].data() + 4;
      std::copy_n(sa.header.begin(), sa.header_bytes, p);
      store_be16(p + 2, static_cast<std::uint16_t>(length_));
      set_ipv4_checksum(p);
      store_be32(p + esp + 4, static_cast<std::uint32_t>(number));
      for (std::size_t k = 0; k < g.iv; ++k) p[sa.header_bytes + k] = static_cast<std::uint8_t>(number >> 8 * (k % 8));
      std::ranges::copy(text_, p + sa.header_bytes + g.iv);
      ops[i] = {&sa.keys, p + esp, static_cast<std::uint32_t>(text_.size()), false, 0, static_cast<std::uint32_t>(number >> 32)};
    }
    worker_.engine().encrypt(std::span(ops).first(arrivals.size()));
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      if (!ops[i].ok) FAIL("crypto");
      const Arrival& a = arrivals[i];
      std::uint8_t* p = buffers_[i].data() + 4;
      store_be32(p + esp + 4, static_cast<std::uint32_t>(a.says));
      if (a.fault) p[forged_byte(*a.fault)] ^= 0x20;
    }
  }
  /// Of a forged packet: in the ICV, the text or the IV.
  [[nodiscard]] std::size_t forged_byte(std::uint8_t fault) const {
    const EspGeometry& g = pair_.outbound->geometry;
    return fault == 0 ? length_ - 1U : fault == 1 ? length_ - g.icv - 5U : std::size_t{pair_.outbound->header_bytes};
  }

  Worker& worker_;
  SaPair pair_;
  Bytes text_;
  std::unique_ptr<shm::WorkerCounters> counters_ = std::make_unique<shm::WorkerCounters>();
  DropSink drops_{*counters_, [](void*, std::span<void* const>) {}, nullptr};
  std::array<Packet, kBurstMax> packets_;
  std::array<std::array<std::uint8_t, 256>, kBurstMax> buffers_{};
  std::array<Drop, kBurstMax> verdicts_{};
  std::uint32_t length_ = 0;
};

}  // namespace culvert::dp::test

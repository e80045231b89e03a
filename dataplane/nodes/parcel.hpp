// The crypto of one SA on several workers. The SA's owner does all that touches its state, before and after, in order of arrival; in
// between the packets lie on the owner's board as parcels, which any worker takes that has time, the owner, too. Owns the boards and the
// order. Never waits and never allocates; a parcel that nobody takes is the owner's own work, so nothing ever depends on another worker but
// a parcel that it has begun. That one cannot be taken back: it is encrypted where it lies, by somebody who may go on at any moment. So who
// loses its core meanwhile holds up what is behind it, but no more than a board of it: then packets are dropped, before they have a
// sequence number. Knows nothing of DPDK.
//
//     owner:  spread_parcels: prepare (first look at the window, sequence number, headers) -> issue
//     any:        claim -> work (the engine of whoever claims; the keys are the SA's, which nobody changes) -> done
//     owner:  done(0), done(1), ... in order of issue -> finish (window, counters, checks) -> send -> release
//
// Parcels are pulled and not pushed to a chosen worker: then the load finds who is idle, and one that sleeps or has no processor now holds
// nothing up. An SA, a buffer and whatever else a parcel points to lives until it is released: see LateQuiescence.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/esp.hpp"

namespace culvert::dp {

struct alignas(64) Parcel {
  static constexpr std::size_t kMost = 32;  ///< packets: all lanes of the multi-buffer crypto are full, and a burst is two of them

  /// ns: who has its core needs a tenth of it for the slowest cipher.
  static constexpr std::uint64_t kLate = 10'000'000;

  std::atomic<bool> done{false};
  std::uint64_t issued_ns = 0;  ///< by the clock of the owner's passes
  Direction direction{};
  bool cut = false;       ///< outbound: is fragmented behind its encryption
  bool tapped = false;    ///< `numbers` are those of captured copies
  bool followed = false;  ///< `ways` are those of packets whose ways are told
  Burst burst;            ///< of `views`
  EspBatch batch;
  std::array<Packet, kMost> views;
  std::array<std::uint64_t, kMost> numbers;  ///< by view; 0: not captured
  std::array<std::uint16_t, kMost> ways;     ///< by view; PathLog::park

  [[nodiscard]] std::size_t index_of(const Packet& view) const { return static_cast<std::size_t>(&view - views.data()); }
};

/// The parcels of one owner: a queue from which anybody takes, and which only the owner fills and empties.
class ParcelBoard {
 public:
  static constexpr std::size_t kParcels = 64;

  ParcelBoard() : parcels_(std::make_unique<std::array<Parcel, kParcels>>()) {}
  ParcelBoard(const ParcelBoard&) = delete;
  ParcelBoard& operator=(const ParcelBoard&) = delete;

  // The owner.
  /// The next one to fill; nullptr: all are under way.
  [[nodiscard]] Parcel* room() { return issued() - released_ == kParcels ? nullptr : &slot(issued()); }
  /// What room() gave is there for everybody from now on.
  void issue() {
    slot(issued()).done.store(false, std::memory_order_relaxed);
    issued_.store(issued() + 1, std::memory_order_release);
  }
  /// The parcel `ahead` of the oldest one, if its crypto is done; else nullptr.
  [[nodiscard]] Parcel* done(std::size_t ahead) {
    if (released_ + ahead == issued()) return nullptr;
    Parcel& p = slot(released_ + ahead);
    return p.done.load(std::memory_order_acquire) ? &p : nullptr;
  }
  /// The oldest `n` are finished with.
  void release(std::size_t n) { released_ += n; }
  [[nodiscard]] bool idle() const { return issued() == released_; }
  /// When the oldest one that is under way was issued; 0: none is.
  [[nodiscard]] std::uint64_t oldest_since() { return idle() ? 0 : slot(released_).issued_ns; }
  /// How many nobody has begun.
  [[nodiscard]] std::size_t waiting() const { return issued() - claimed_.load(std::memory_order_relaxed); }
  // As many as there ever were.
  [[nodiscard]] std::uint64_t issued() const { return issued_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t released() const { return released_; }

  // Anybody.
  /// The oldest parcel that nobody has begun: whoever has it must work() it at once. nullptr: there is none.
  [[nodiscard]] Parcel* claim() {
    std::uint64_t next = claimed_.load(std::memory_order_acquire);
    // Whoever sees a claim sees the issue before it, too: `next` is never ahead of what is loaded here.
    while (next != issued_.load(std::memory_order_acquire))
      if (claimed_.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return &slot(next);
    return nullptr;
  }

 private:
  Parcel& slot(std::uint64_t number) { return (*parcels_)[number % kParcels]; }

  // What others look at, in a line of their own.
  alignas(64) std::atomic<std::uint64_t> issued_{0};
  std::atomic<std::uint64_t> claimed_{0};
  alignas(64) std::uint64_t released_ = 0;
  std::unique_ptr<std::array<Parcel, kParcels>> parcels_;
};

/// The boards of all workers, by their number.
class ParcelBoards {
 public:
  explicit ParcelBoards(std::size_t workers) : boards_(workers) {}
  [[nodiscard]] std::size_t size() const { return boards_.size(); }
  ParcelBoard& operator[](std::size_t worker) { return boards_[worker]; }
  /// Whether any was ever used; as long as none was, nobody looks at them.
  [[nodiscard]] bool used() const { return used_.load(std::memory_order_relaxed); }
  void use() {
    if (!used()) used_.store(true, std::memory_order_relaxed);
  }
  /// A parcel of another worker than `worker`, or nullptr. `from`: where to begin to look, so that all get their turn.
  [[nodiscard]] Parcel* claim_of_others(std::size_t worker, std::size_t from) {
    for (std::size_t i = 0; i < boards_.size(); ++i) {
      const std::size_t at = (from + i) % boards_.size();
      if (at == worker) continue;
      if (Parcel* p = boards_[at].claim()) return p;
    }
    return nullptr;
  }

 private:
  std::vector<ParcelBoard> boards_;
  alignas(64) std::atomic<bool> used_{false};
};

/// Starts fetching a line that is in another core's cache, to write to it: one way between the two, where a load before the store makes
/// two.
inline void fetch_line(const std::uint8_t* at) { asm volatile("prefetchw %0" : : "m"(*at)); }

/// Does the crypto of a parcel that was claimed. From its return on the parcel is the owner's again. Returns how many packets it was.
/// `fetch`: it is another worker's, in whose cache the packets are.
inline std::size_t work(Parcel& parcel, CryptoEngine& crypto, bool fetch) {
  const std::size_t n = parcel.burst.size();
  const auto ops = std::span(parcel.batch.ops).first(n);
  const auto run = [&](std::span<CryptoOp> some) { parcel.direction == Direction::Inbound ? crypto.decrypt(some) : crypto.encrypt(some); };
  bool one_by_one = fetch;  // what goes by multi-buffer lanes has many packets on their way at once anyhow
  for (const CryptoOp& op : ops) one_by_one = one_by_one && op.keys->geometry.kind != EspKind::Jobs;
  if (!one_by_one) run(ops);
  for (std::size_t i = 0; one_by_one && i < n; ++i) {
    constexpr std::size_t kLine = 64;
    if (i + 1 < n)
      for (const std::uint8_t *at = ops[i + 1].esp, *end = ops[i + 1].icv() + ops[i + 1].keys->geometry.icv; at < end; at += kLine)
        fetch_line(at);
    run(ops.subspan(i, 1));
  }
  parcel.done.store(true, std::memory_order_release);
  return n;
}

/// Owner, of a parcel that is done: starts fetching what comes next of its packets, the headers in front of them or the packets inside.
inline void fetch_back(Parcel& parcel) {
  constexpr std::size_t kFrame = kIpv4HeaderBytes + 14;
  for (const CryptoOp& op : std::span(parcel.batch.ops).first(parcel.burst.size()))
    fetch_line(parcel.direction == Direction::Inbound ? op.esp + kEspHeaderBytes + op.keys->geometry.iv : op.esp - kFrame);
}

/// Of a packet that no parcel has room for.
inline void refuse_parcel(Packet& p, Direction d, EspContext& context) {
  shm::SaCounters& counters = d == Direction::Inbound ? *p.inbound->counters : *p.outbound->counters;
  counters.drop_shared(d, Drop::HandoffFull);
  context.drops.drop(p, Drop::HandoffFull);
}

/// What became of a burst.
struct Spread {
  std::uint32_t parcels = 0, packets = 0, full = 0;
};
/// How packets of a burst are to be treated when they come back.
struct ParcelTerms {
  Direction direction{};
  bool cut = false, tapped = false, followed = false;  ///< see Parcel
};
/// Whoever watches packets, where `tapped` or `followed` says that somebody does: told of each that it is a view of the parcel from here
/// on, and of each parcel before it is issued.
struct NobodyWatches {
  void moved(Parcel&, std::size_t /*view*/, const Packet& /*from*/) {}
  void leaves(Parcel&) {}
};
/// Owner: prepares packets of its own spread SAs and issues them, in order. Drops those that there is no room for (HandoffFull), before
/// they have taken a sequence number.
template <class Watcher>
Spread spread_parcels(ParcelBoard& board, const Burst& burst, const ParcelTerms& terms, EspContext& context, Watcher&& watcher) {
  const bool watched = terms.tapped || terms.followed;
  Spread out;
  std::size_t at = 0;
  while (at < burst.size()) {
    Parcel* parcel = board.room();
    if (parcel == nullptr) [[unlikely]]
      break;
    parcel->issued_ns = context.now_ns;
    parcel->direction = terms.direction;
    parcel->cut = terms.cut;
    parcel->tapped = terms.tapped;
    parcel->followed = terms.followed;
    parcel->burst.clear();
    for (std::size_t i = 0; i < Parcel::kMost && at < burst.size(); ++i, ++at) {
      parcel->views[i] = *burst[at];
      if (watched) [[unlikely]]
        watcher.moved(*parcel, i, *burst[at]);
      parcel->burst.push_back(&parcel->views[i]);
    }
    if (terms.direction == Direction::Inbound) {
      esp_in_prepare(parcel->burst, parcel->batch, context);
    } else {
      esp_out_prepare(parcel->burst, parcel->batch, context);
    }
    if (parcel->burst.empty()) continue;
    out.packets += static_cast<std::uint32_t>(parcel->burst.size());
    out.parcels += 1;
    if (watched) [[unlikely]]
      watcher.leaves(*parcel);
    board.issue();
  }
  for (; at < burst.size(); ++at, ++out.full) refuse_parcel(*burst[at], terms.direction, context);
  return out;
}

/// A worker's reports to RCU (dataplane/io/rcu.hpp): what its parcels point to is in use until they are released. So a report says not
/// "now", but the moment before which all parcels that are under way were not issued.
class LateQuiescence {
 public:
  template <class Rcu>
  void report(Rcu& rcu, unsigned thread, const ParcelBoard& board) {
    if (board.idle()) {
      waiting_ = false;
      return rcu.quiescent(thread);
    }
    if (waiting_) {
      if (board.released() < issued_) return;
      rcu.quiescent(thread, moment_);
    }
    waiting_ = true;
    moment_ = rcu.moment();
    issued_ = board.issued();
  }

 private:
  bool waiting_ = false;
  std::uint64_t moment_ = 0, issued_ = 0;
};

}  // namespace culvert::dp

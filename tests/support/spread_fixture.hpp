// One owner of spread SAs with its board, and the books of its packets: each comes back once, collected or dropped.
#pragma once

#include <deque>
#include <functional>

#include "dataplane/nodes/parcel.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp::test {

inline constexpr auto kPending = static_cast<Drop>(0xff);

/// A packet that was given to the owner. `fate`: Drop::Count_ stands for: it came out.
struct Item {
  OwnedPacket packet;
  std::size_t tunnel = 0;
  std::uint64_t number = 0;  ///< the test's
  Drop fate = kPending;
  Item(ByteView ip, std::size_t which, std::uint64_t count) : packet(ip, kHeadroom, kTailroom), tunnel(which), number(count) {
    packet.view.handle = this;
  }
};

class Owner final : private DropObserver {
 public:
  explicit Owner(ParcelBoards& boards, std::size_t id = 0) : board_(boards[id]) { drops_.observe(this); }

  ParcelBoard& board() { return board_; }
  CryptoEngine& engine() { return engine_; }
  /// Up to kBurstMax of them, in order; at once where `whole` says so, else by the board. What comes out at once goes to `out`.
  void take(const std::vector<Item*>& items, Direction d, const std::function<SaBase*(Packet&)>& find, bool whole,
            const std::function<void(Item&, const Packet&)>& out) {
    Burst burst;
    for (Item* item : items) {
      Packet& p = item->packet.view;
      if (!parse_ip(p)) FAIL("test packet is malformed");
      SaBase* sa = find(p);
      if (d == Direction::Inbound) {
        p.inbound = static_cast<InboundSa*>(sa);
      } else {
        p.outbound = static_cast<OutboundSa*>(sa);
      }
      burst.push_back(&p);
    }
    EspContext context{engine_, drops_, now};
    if (!whole) {
      const Spread s = spread_parcels(board_, burst, {.direction = d}, context, NobodyWatches{});
      refused += s.full;
      drops_.flush();
      return;
    }
    (d == Direction::Inbound ? esp_in : esp_out)(burst, context);
    for (Packet* p : burst) come_out(*p, out);
    drops_.flush();
  }
  /// Finishes with the oldest parcel, if its crypto is done.
  bool collect(const std::function<void(Item&, const Packet&)>& out) {
    Parcel* parcel = board_.done(0);
    if (parcel == nullptr) return false;
    EspContext context{engine_, drops_, now};
    fetch_back(*parcel);
    if (parcel->direction == Direction::Inbound) {
      esp_in_finish(parcel->burst, parcel->batch, context);
    } else {
      esp_out_finish(parcel->burst, parcel->batch, context);
    }
    for (Packet* p : parcel->burst) come_out(*p, out);
    drops_.flush();
    board_.release(1);
    return true;
  }
  std::uint64_t refused = 0;
  std::uint64_t now = 1;  ///< of its passes

 private:
  static CryptoEngine make() {
    auto engine = CryptoEngine::create();
    if (!engine) FAIL(engine.error());
    return std::move(*engine);
  }
  static void decide(const Packet& p, Drop fate) {
    auto& item = *static_cast<Item*>(p.handle);
    if (item.fate != kPending) FAIL("a packet left twice");
    item.fate = fate;
  }
  static void come_out(const Packet& p, const std::function<void(Item&, const Packet&)>& out) {
    decide(p, Drop::Count_);
    out(*static_cast<Item*>(p.handle), p);
  }
  void dropped(const Packet& p, Drop reason) override { decide(p, reason); }

  ParcelBoard& board_;
  CryptoEngine engine_ = make();
  std::unique_ptr<shm::WorkerCounters> counters_ = std::make_unique<shm::WorkerCounters>();
  DropSink drops_{*counters_, [](void*, std::span<void* const>) {}, nullptr};
};

inline std::uint32_t sequence_of(const Packet& p, const OutboundSa& sa) {
  return load_be32(p.data + sa.ip_bytes + (sa.udp ? kUdpHeaderBytes : 0U) + (sa.geometry.ah ? 8 : 4));
}

}  // namespace culvert::dp::test

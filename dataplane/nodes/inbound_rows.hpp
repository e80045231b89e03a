// Packets behind the crypto, asked what an authentic and new packet is asked: those in a row under one SA together, of whichever number of
// calls within a pass. Owns what is counted of a row until end(); never looks at bytes before the ICV's verdict.
#pragma once

#include <span>

#include "dataplane/nodes/inbound_row.hpp"
#include "dataplane/nodes/open_plain.hpp"

namespace culvert::dp {

inline Drop replay_drop(ReplayVerdict v) {
  return v == ReplayVerdict::Fresh ? Drop::Count_ : v == ReplayVerdict::Seen ? Drop::EspReplay : Drop::EspOld;
}
/// Whether the packet is authentic and new; then it has taken its sequence number.
inline Drop admit(InboundSa& sa, const CryptoOp& op, std::uint64_t sequence) {
  if (!op.ok) [[unlikely]]
    return Drop::EspAuth;
  // Again: a packet before this one in the batch may have taken the number, or have moved the window past it.
  if (const Drop verdict = replay_drop(sa.replay.commit(sequence)); verdict != Drop::Count_) [[unlikely]]
    return verdict;
  if (sa.replay.top() != sequence) [[unlikely]]
    sa.counters->reordered.add(1);
  return Drop::Count_;
}

class InboundRows {
 public:
  explicit InboundRows(EspContext& context) : context_(context) {}

  /// `packets`: those of the batch from number `from` on. Calls keep(n, packet, opened) for each that goes on, in order; `n` counts them.
  /// Returns how many.
  template <class Keep>
  [[gnu::always_inline]] std::size_t open(const EspBatch& batch, std::span<Packet* const> packets, std::size_t from, Keep&& keep) {
    std::size_t kept = 0;
    const CryptoOp* op = batch.ops.data() + from;
    const std::uint64_t* sequence = batch.sequence.data() + from;
    for (Packet *const *at = packets.data(), *const *const end = at + packets.size(); at != end;) {
      InboundSa& sa = *(*at)->inbound;
      if (row_.sa != &sa || left_ < static_cast<std::size_t>(end - at)) [[unlikely]]
        turn_to(sa);
      Packet* const* const first = at;
      const std::size_t before = kept;
      bool usual = row_.usual;
      Tally plain, others;
      for (; at != end && (*at)->inbound == &sa; ++at, ++op, ++sequence) {
        Packet& p = **at;
        const Drop verdict = admit(sa, *op, *sequence);
        Opened out;
        if (verdict == Drop::Count_ && usual && open_plain(p, row_, *op, out)) [[likely]] {
          plain.bytes += out.length;
        } else {
          const bool goes_on = esp_in_finish_one(p, verdict, *op, *sequence, context_);
          if (usual && row_.follows) {  // the peer may have moved by this packet
            turn_to(sa);
            usual = row_.usual;
          }
          if (!goes_on) continue;
          out.ip = nullptr;
          others.packets += 1;
          others.bytes += p.length;
        }
        keep(kept++, p, out);
      }
      left_ -= static_cast<std::size_t>(at - first);
      plain_.packets += kept - before - others.packets;
      plain_.bytes += plain.bytes;
      others_.packets += others.packets;
      others_.bytes += others.bytes;
    }
    return kept;
  }
  /// What was asked last; of no SA where there was nothing since end().
  [[nodiscard]] const InboundRow& row() const { return row_; }
  /// Counts after the last verdict.
  void end() {
    if (row_.sa == nullptr) return;
    InboundSa& sa = *row_.sa;
    sa.usage.packets += plain_.packets;  // of the others esp_in_finish_one() has
    sa.usage.bytes += plain_.bytes;
    if (const std::uint64_t packets = plain_.packets + others_.packets; packets > 0) {
      sa.counters->packets.add(packets);
      sa.counters->bytes.add(plain_.bytes + others_.bytes);
      sa.counters->last_used_ns.set(context_.now_ns);
    }
    sa.counters->sequence.publish(sa.replay.top());                       // the last: who reads it knows how many have come
    plain_.packets = plain_.bytes = others_.packets = others_.bytes = 0;  // one by one: a copy of both would wait for their stores
    row_.sa = nullptr;
  }

 private:
  struct Tally {
    std::uint64_t packets = 0, bytes = 0;
  };
  void turn_to(InboundSa& sa) {
    end();
    row_.ask(sa);
    row_.expect_outside();
    row_.expect_inside(left_ = kBurstMax);
  }

  EspContext& context_;
  InboundRow row_;
  std::size_t left_ = 0;  // packets that may come before it is asked again
  Tally plain_, others_;
};

}  // namespace culvert::dp

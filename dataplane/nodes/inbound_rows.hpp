// Packets behind the crypto, asked what an authentic and new packet is asked: those in a row under one SA together, of whichever number of
// calls. Owns what is counted of a row until it ends; never looks at bytes before the ICV's verdict.
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
  InboundRows(const EspBatch& batch, EspContext& context) : batch_(batch), context_(context) {}

  /// `packets`: those of the batch from number `from` on. `all`: how many there are, with those of calls after this one. Calls
  /// keep(n, packet, opened) for each that goes on, in order; `n` counts them. Returns how many.
  template <class Keep>
  std::size_t open(std::span<Packet* const> packets, std::size_t from, std::size_t all, Keep&& keep) {
    std::size_t kept = 0;
    const CryptoOp* op = batch_.ops.data() + from;
    const std::uint64_t* sequence = batch_.sequence.data() + from;
    for (Packet *const *at = packets.data(), *const *const end = at + packets.size(); at != end;) {
      InboundSa& sa = *(*at)->inbound;
      if (row_.sa != &sa) [[unlikely]]
        turn_to(sa, all - static_cast<std::size_t>(at - packets.data()));
      const std::size_t before = kept;
      Tally plain, others;
      for (; at != end && (*at)->inbound == &sa; ++at, ++op, ++sequence) {
        Packet& p = **at;
        const Drop verdict = admit(sa, *op, *sequence);
        Opened out;
        if (verdict == Drop::Count_ && row_.usual && open_plain(p, row_, *op, out)) [[likely]] {
          plain.bytes += out.length;
        } else {
          if (!esp_in_finish_one(p, verdict, *op, *sequence, context_)) continue;
          out.ip = nullptr;
          others.packets += 1;
          others.bytes += p.length;
        }
        keep(kept++, p, out);
      }
      plain_.packets += kept - before - others.packets;
      plain_.bytes += plain.bytes;
      others_.packets += others.packets;
      others_.bytes += others.bytes;
    }
    return kept;
  }
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
    sa.counters->sequence.publish(sa.replay.top());  // the last: who reads it knows how many have come
    plain_ = others_ = {};
    row_.sa = nullptr;
  }

 private:
  struct Tally {
    std::uint64_t packets = 0, bytes = 0;
  };
  /// `packets`: that may come of it.
  void turn_to(InboundSa& sa, std::size_t packets) {
    end();
    row_.ask(sa);
    row_.expect_inside(packets);
  }

  const EspBatch& batch_;
  EspContext& context_;
  InboundRow row_;
  Tally plain_, others_;
};

}  // namespace culvert::dp

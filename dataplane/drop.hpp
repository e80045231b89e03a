// Where packets end. Owns the counting of a drop and the collecting of its buffer, so that neither is ever forgotten.
// Never frees by itself: the worker (or a test) says how. One per worker; not thread-safe.
#pragma once

#include <array>
#include <span>

#include "common/shm/segment.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

/// Somebody who is told of each drop.
class DropObserver {
 public:
  virtual void dropped(const Packet& packet, Drop reason) = 0;

 protected:
  ~DropObserver() = default;
};

class DropSink {
 public:
  /// Gives buffers (Packet::handle) back; called with up to kBurstMax at once.
  using Release = void (*)(void* context, std::span<void* const> handles);

  DropSink(shm::WorkerCounters& counters, Release release, void* context) : counters_(&counters), release_(release), context_(context) {}
  DropSink(const DropSink&) = delete;
  DropSink& operator=(const DropSink&) = delete;
  ~DropSink() { flush(); }

  /// Counts `reason` and takes the packet's buffer. The caller must take the packet out of its burst.
  void drop(Packet& packet, Drop reason) {
    counters_->drops[static_cast<std::size_t>(reason)].add(1);
    if (observer_ != nullptr) [[unlikely]]
      observer_->dropped(packet, reason);
    handles_[pending_++] = packet.handle;
    if (pending_ == handles_.size()) flush();
  }
  /// nullptr: nobody.
  void observe(DropObserver* observer) { observer_ = observer; }
  /// Releases what was collected; the worker calls it once a pass.
  void flush() {
    if (pending_ == 0) return;
    release_(context_, std::span(handles_).first(pending_));
    pending_ = 0;
  }

 private:
  shm::WorkerCounters* counters_;
  Release release_;
  void* context_;
  DropObserver* observer_ = nullptr;
  std::array<void*, kBurstMax> handles_{};
  std::size_t pending_ = 0;
};

}  // namespace culvert::dp

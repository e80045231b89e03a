// The rings of one attached data plane, from culvertd's end.
// Owns the segment, the eventfds, and what is distrusted about them: every message is copied out first, then checked.
// Knows nothing of IKE or sockets; never blocks.
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "control/dataplane_link/attach.hpp"
#include "control/dataplane_link/command_queue.hpp"

namespace culvert::control {

class Link {
 public:
  struct Handlers {
    std::function<void(const shm::Acquire&)> acquire;
    std::function<void(const shm::Expire&)> expire;
    std::function<void(const shm::Moved&)> moved;
    std::function<void(const ike::Datagram&)> datagram;
    std::function<void(const shm::Traced&)> traced{};  ///< may be empty: nobody asks
  };
  explicit Link(Attachment attachment);

  /// Reads what the data plane has said, up to a budget a call, so that a flood of datagrams does not hold up timers.
  /// Acks go to the handlers of their commands. True: there is more. Error: the rings are corrupt, give up this link.
  std::expected<bool, std::string> drain(const Handlers& handlers);
  static constexpr std::size_t kEventBudget = 1024, kDatagramBudget = 64;

  [[nodiscard]] CommandQueue& commands() { return commands_; }
  [[nodiscard]] const CommandQueue& commands() const { return commands_; }
  /// Moves queued commands into the ring and wakes the data plane.
  void flush();
  /// Behind all commands that were queued before: the data plane has done these when it sends it, unless their ring is full.
  /// False: the ring is full, or the datagram too large.
  bool inject(const ike::Datagram& datagram);

  /// A copy of a packet that waits in some worker's ring, with `bytes` in range; nullopt: none does, or what is there is impossible.
  std::optional<shm::Captured> next_captured();
  /// Copies that were not made for want of room, ever.
  [[nodiscard]] std::uint64_t captures_missed() const;

  [[nodiscard]] const shm::Segment& segment() const { return attachment_.segment; }
  [[nodiscard]] std::uint64_t boot_id() const { return attachment_.boot_id; }
  [[nodiscard]] int socket_fd() const { return attachment_.socket.get(); }
  [[nodiscard]] int event_fd() const { return attachment_.to_control.get(); }
  [[nodiscard]] std::uint64_t invalid_messages() const { return invalid_; }

 private:
  void wake() const;
  std::expected<bool, std::string> drain_events(const Handlers& handlers);
  std::expected<bool, std::string> drain_datagrams(const Handlers& handlers);
  void dispatch(const shm::Message& message, const Handlers& handlers);

  Attachment attachment_;
  CommandQueue commands_;
  shm::RingConsumer<shm::Message, shm::kEventSlots> events_;
  shm::RingConsumer<shm::Datagram, shm::kDatagramSlots> punt_;
  shm::RingProducer<shm::Datagram, shm::kDatagramSlots> inject_;
  std::vector<shm::RingConsumer<shm::Captured, shm::kCaptureSlots>> captures_;
  std::uint64_t invalid_ = 0;
};

}  // namespace culvert::control

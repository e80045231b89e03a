#include "control/dataplane_link/link.hpp"

#include <algorithm>
#include <utility>

#include <sys/eventfd.h>

namespace culvert::control {

Link::Link(Attachment attachment)
    : attachment_(std::move(attachment)),
      commands_(attachment_.segment.rings().command),
      events_(attachment_.segment.rings().event),
      punt_(attachment_.segment.rings().punt),
      inject_(attachment_.segment.rings().inject) {
  for (shm::CaptureRing& ring : attachment_.segment.captures()) captures_.emplace_back(ring);
}

std::expected<bool, std::string> Link::drain(const Handlers& handlers) {
  const auto events = drain_events(handlers);
  if (!events) return events;
  const auto datagrams = drain_datagrams(handlers);
  if (!datagrams) return datagrams;
  return *events || *datagrams;
}

std::expected<bool, std::string> Link::drain_events(const Handlers& handlers) {
  for (std::size_t i = 0; i < kEventBudget; ++i) {
    shm::Message message;
    switch (events_.consume([&message](const shm::Message& slot) { message = slot; })) {
      case shm::RingStatus::Empty:
        return false;
      case shm::RingStatus::Corrupt:
        return std::unexpected("the event ring's index is impossible");
      case shm::RingStatus::Item:
        dispatch(message, handlers);
    }
  }
  return true;
}

void Link::dispatch(const shm::Message& message, const Handlers& handlers) {
  switch (message.type) {
    case shm::MessageType::Ack:
      invalid_ += !commands_.on_ack(message.as<shm::Ack>());
      return;
    case shm::MessageType::Acquire:
      handlers.acquire(message.as<shm::Acquire>());
      return;
    case shm::MessageType::Expire:
      handlers.expire(message.as<shm::Expire>());
      return;
    case shm::MessageType::Moved:
      handlers.moved(message.as<shm::Moved>());
      return;
    case shm::MessageType::Traced:
      if (handlers.traced) handlers.traced(message.as<shm::Traced>());
      return;
    default:
      ++invalid_;
  }
}

std::expected<bool, std::string> Link::drain_datagrams(const Handlers& handlers) {
  for (std::size_t i = 0; i < kDatagramBudget; ++i) {
    ike::Datagram datagram;
    bool valid = false;
    const auto copy = [&](const shm::Datagram& slot) {
      const std::uint32_t length = slot.length;
      valid = length <= shm::kMaxDatagram;
      if (!valid) return;
      datagram.local = slot.local;
      datagram.remote = slot.remote;
      datagram.heard = slot.heard == 1;
      datagram.data.assign(slot.data.begin(), slot.data.begin() + length);
    };
    switch (punt_.consume(copy)) {
      case shm::RingStatus::Empty:
        return false;
      case shm::RingStatus::Corrupt:
        return std::unexpected("the punt ring's index is impossible");
      case shm::RingStatus::Item:
        if (valid) {
          handlers.datagram(datagram);
        } else {
          ++invalid_;
        }
    }
  }
  return true;
}

std::optional<shm::Captured> Link::next_captured() {
  std::optional<shm::Captured> out;
  for (auto& ring : captures_) {
    // Wiped: what was inside of a tunnel is nobody's any more.
    if (ring.consume<true>([&out](const shm::Captured& slot) { out = slot; }) != shm::RingStatus::Item) continue;
    if (out->bytes <= shm::Captured::kBytes) return out;
    ++invalid_;
    out.reset();
  }
  return out;
}

std::uint64_t Link::captures_missed() const {
  std::uint64_t sum = 0;
  for (const shm::CaptureRing& ring : attachment_.segment.captures()) sum += ring.full.load(std::memory_order_relaxed);
  return sum;
}

bool Link::inject(const ike::Datagram& datagram) {
  if (datagram.data.size() > shm::kMaxDatagram) return false;
  flush();
  const bool pushed = inject_.produce([&](shm::Datagram& slot) {
    slot.local = datagram.local;
    slot.remote = datagram.remote;
    slot.heard = 0;
    slot.length = static_cast<std::uint32_t>(datagram.data.size());
    std::copy(datagram.data.begin(), datagram.data.end(), slot.data.begin());
  });
  if (pushed) wake();
  return pushed;
}

void Link::flush() {
  if (commands_.flush() > 0) wake();
}

void Link::wake() const {
  // Fails only with EAGAIN, when the counter is at its maximum: then the data plane has been woken already.
  (void)::eventfd_write(attachment_.to_dataplane.get(), 1);
}

}  // namespace culvert::control

// IKE's datagrams between the wire and culvertd. Owns their copying into and out of the segment, and the headers of those sent.
// Believes nothing that stands in the inject ring.
#pragma once

#include <cstdint>
#include <functional>

#include "common/shm/segment.hpp"
#include "dataplane/fib/fib.hpp"
#include "dataplane/io/buffers.hpp"

namespace culvert::dp {

using PuntProducer = shm::RingProducer<shm::Datagram, shm::kDatagramSlots>;
using InjectConsumer = shm::RingConsumer<shm::Datagram, shm::kDatagramSlots>;

/// Copies the UDP datagram in `packet` (parsed, checked by classify_local) into the ring. The reason, if it could not be.
/// RxMalformed: the UDP checksum is wrong.
std::optional<Drop> punt(const Packet& packet, PuntProducer& ring);

class Injector {
 public:
  Injector(const OwnAddresses& own, const Fib& fib, std::span<const Interface> interfaces, BufferPool& pool)
      : own_(own), fib_(fib), interfaces_(interfaces), pool_(pool) {}
  /// Takes one datagram and makes IP packets of it, fragments where it is larger than the MTU; `emit` takes each buffer.
  /// Empty: nothing was there. Refused ones are counted in `refused()` and end here.
  shm::RingStatus inject(InjectConsumer& ring, const std::function<void(const Packet&)>& emit);
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  bool build(const std::function<void(const Packet&)>& emit);
  const OwnAddresses& own_;
  const Fib& fib_;
  std::span<const Interface> interfaces_;
  BufferPool& pool_;
  shm::Datagram copy_{};
  std::uint16_t id_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace culvert::dp

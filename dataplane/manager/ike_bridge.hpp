// IKE's datagrams between the wire and culvertd. Owns their copying into and out of the segment, and the headers of those sent.
// Believes nothing that stands in the inject ring.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "common/shm/segment.hpp"
#include "dataplane/fib/fib.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/nodes/ike_talks.hpp"

namespace culvert::dp {

using PuntProducer = shm::RingProducer<shm::Datagram, shm::kDatagramSlots>;
using InjectConsumer = shm::RingConsumer<shm::Datagram, shm::kDatagramSlots>;

/// Copies the UDP datagram in `packet` (parsed, checked by classify_local) into the ring. The reason, if it could not be.
/// PuntInvalid: the UDP checksum is wrong, or missing over IPv6. First messages fill no more than half of the ring, whatever they are many
/// of, but for those that are `heard`: with a cookie of ours; nor do those that are `stray`.
std::optional<Drop> punt(const Packet& packet, bool heard, bool stray, PuntProducer& ring);

class Injector {
 public:
  Injector(std::span<const OwnAddresses> own, const Fib& fib, std::span<const Interface> interfaces, BufferPool& pool, IkeTalks& talks,
           shm::ManagerCounters& counters)
      : own_(own), fib_(fib), interfaces_(interfaces), pool_(pool), talks_(talks), counters_(counters) {}
  /// Takes one datagram and makes IP packets of it, fragments where it is larger than the MTU; `emit` takes each buffer, with
  /// its VRF.
  /// Empty: nothing was there. Refused ones are counted and end here.
  shm::RingStatus inject(InjectConsumer& ring, const std::function<void(const Packet&)>& emit);

 private:
  std::optional<Drop> check() const;
  std::optional<Drop> build(const std::function<void(const Packet&)>& emit);
  std::span<const OwnAddresses> own_;  // by VRF
  const Fib& fib_;
  std::span<const Interface> interfaces_;
  BufferPool& pool_;
  IkeTalks& talks_;
  shm::ManagerCounters& counters_;
  shm::Datagram copy_{};
  std::uint32_t id_ = 0;
};

}  // namespace culvert::dp

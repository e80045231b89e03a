// Packets in one piece, which nobody else holds: what all of the packet path may rely on (attack J11).
// Owns the copy of those that a device delivers otherwise; see Port::receive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <rte_mbuf.h>

namespace culvert::dp {

/// Whether the buffer is one piece, direct, and ours alone. Of fields that stand in one line with what every packet needs.
inline bool is_own_and_linear(const rte_mbuf* m) {
  static_assert(offsetof(rte_mbuf, nb_segs) == offsetof(rte_mbuf, refcnt) + sizeof m->refcnt);
  std::uint32_t one_each;
  std::memcpy(&one_each, &m->refcnt, sizeof one_each);  // both at once: nobody else changes a buffer that the device has just delivered
  return one_each == 0x10001 && RTE_MBUF_DIRECT(m);
}

/// The packet in a buffer of `pool`, its old ones given back; nullptr: there was none, or it does not fit, and `m` is as it was.
rte_mbuf* own_copy(rte_mbuf* m, rte_mempool* pool);

}  // namespace culvert::dp

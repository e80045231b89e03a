// Packets in one piece, which nobody else holds: what all of the packet path may rely on (attack J11).
// Owns the copy of those that a device delivers otherwise; see Port::receive.
#pragma once

#include <rte_mbuf.h>

namespace culvert::dp {

/// Whether the buffer is one piece, direct, and ours alone. Of fields that stand in one line with what every packet needs.
inline bool is_own_and_linear(const rte_mbuf* m) { return m->nb_segs == 1 && rte_mbuf_refcnt_read(m) == 1 && RTE_MBUF_DIRECT(m); }

/// The packet in a buffer of `pool`, its old ones given back; nullptr: there was none, or it does not fit, and `m` is as it was.
rte_mbuf* own_copy(rte_mbuf* m, rte_mempool* pool);

}  // namespace culvert::dp

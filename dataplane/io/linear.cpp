#include "dataplane/io/linear.hpp"

#include <cstdint>
#include <cstring>

namespace culvert::dp {

rte_mbuf* own_copy(rte_mbuf* m, rte_mempool* pool) {
  rte_mbuf* copy = rte_pktmbuf_alloc(pool);
  if (copy == nullptr) return nullptr;
  if (rte_pktmbuf_tailroom(copy) < rte_pktmbuf_pkt_len(m)) {
    rte_pktmbuf_free(copy);
    return nullptr;
  }
  char* to = rte_pktmbuf_append(copy, static_cast<std::uint16_t>(rte_pktmbuf_pkt_len(m)));
  const void* from = rte_pktmbuf_read(m, 0, rte_pktmbuf_pkt_len(m), to);  // of several pieces: copied to where it shall be
  if (from != to) std::memcpy(to, from, rte_pktmbuf_pkt_len(m));
  copy->port = m->port;
  rte_pktmbuf_free(m);
  return copy;
}

}  // namespace culvert::dp

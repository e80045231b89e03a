// load_view() for those who may see DPDK: buffers.cpp and, inlined into its loop, the port's receive.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/packet.hpp"

namespace culvert::dp {

/// Fills the view from its buffer, of a packet that came by `rx_port`.
inline void view_of(rte_mbuf* m, Packet& view, std::uint16_t rx_port) {
  view.handle = m;
  view.data = static_cast<std::uint8_t*>(m->buf_addr) + m->data_off;
  view.length = m->data_len;
  view.headroom = m->data_off;
  view.tailroom = static_cast<std::uint16_t>(m->buf_len - m->data_off - m->data_len);
  view.inbound = nullptr;
  view.outbound = nullptr;
  view.rx_port = rx_port;
  view.tag = 0;
}

}  // namespace culvert::dp

// rte_ipv4_fragment_copy_nonseg_packet is "experimental" in DPDK 22.11, and unchanged since.
#define ALLOW_EXPERIMENTAL_API
#include "dataplane/io/buffers.hpp"

#include <algorithm>

#include <rte_errno.h>
#include <rte_ip_frag.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dataplane/io/mbuf_view.hpp"
#include "dataplane/ip_header.hpp"

namespace culvert::dp {

namespace {
constexpr unsigned kCache = 256;
constexpr unsigned kPrivate = 64;
constexpr unsigned kFrameHead = 18;  // Ethernet, and the tag of a VLAN
constexpr unsigned kEspTail = 64;    // padding, trailer and ICV of any suite
static_assert(sizeof(HandoffNote) <= kPrivate);
static_assert(offsetof(rte_mbuf, data_off) == bounds::kBeginAt && sizeof(rte_mbuf::data_off) == 2);
static_assert(offsetof(rte_mbuf, pkt_len) == bounds::kLengthAt && sizeof(rte_mbuf::pkt_len) == 4);
static_assert(offsetof(rte_mbuf, data_len) == bounds::kPieceAt && sizeof(rte_mbuf::data_len) == 2);

rte_mbuf* mbuf(void* handle) { return static_cast<rte_mbuf*>(handle); }
}  // namespace

std::expected<std::unique_ptr<BufferPool>, std::string> BufferPool::create(const std::string& name, unsigned count, unsigned mtu,
                                                                           bool cached) {
  const unsigned wanted = RTE_PKTMBUF_HEADROOM + kFrameHead + mtu + kEspTail;
  const unsigned room = std::max<unsigned>(RTE_MBUF_DEFAULT_BUF_SIZE, RTE_ALIGN_CEIL(wanted, 64U));
  if (room > UINT16_MAX) return std::unexpected("MTU " + std::to_string(mtu) + " does not fit a packet buffer");
  // A cache may hold at most two thirds of the pool.
  rte_mempool* pool = rte_pktmbuf_pool_create(name.c_str(), count, cached ? std::min(kCache, count / 4) : 0, kPrivate,
                                              static_cast<std::uint16_t>(room), SOCKET_ID_ANY);
  if (pool == nullptr)
    return std::unexpected("no memory for " + std::to_string(count) + " packet buffers of " + std::to_string(room) + " bytes (" +
                           rte_strerror(rte_errno) + "); raise memory.size or lower memory.mbufs");
  return std::unique_ptr<BufferPool>(new BufferPool(pool));
}

BufferPool::~BufferPool() { rte_mempool_free(pool_); }

bool BufferPool::allocate(Packet& view) {
  rte_mbuf* m = rte_pktmbuf_alloc(pool_);
  if (m == nullptr) return false;
  load_view(m, view);
  return true;
}

void BufferPool::release(void*, std::span<void* const> handles) {
  rte_pktmbuf_free_bulk(reinterpret_cast<rte_mbuf**>(const_cast<void**>(handles.data())), static_cast<unsigned>(handles.size()));
}

void load_view(void* handle, Packet& view) { view_of(mbuf(handle), view, mbuf(handle)->port); }

void store_view(const Packet& view) {
  rte_mbuf* m = mbuf(view.handle);
  m->data_off = static_cast<std::uint16_t>(view.data - static_cast<std::uint8_t*>(m->buf_addr));
  m->data_len = static_cast<std::uint16_t>(view.length);
  m->pkt_len = view.length;
  m->port = view.rx_port;
}

namespace {
inline void* store_frame(const Packet& p, const FrameHeader& header) {
  constexpr std::uint32_t kBytes = 14;
  rte_mbuf* m = mbuf(p.handle);
  std::uint8_t* frame = p.data - kBytes;
  std::memcpy(frame, &header.first, sizeof header.first);
  std::memcpy(frame + kBytes - sizeof header.last, &header.last, sizeof header.last);
  const std::uint32_t length = p.length + kBytes;
  m->data_off = static_cast<std::uint16_t>(frame - static_cast<std::uint8_t*>(m->buf_addr));
  m->pkt_len = length;
  m->data_len = static_cast<std::uint16_t>(length);
  return m;
}
}  // namespace

void store_frames(std::span<Packet* const> packets, FrameHeader header, void** handles) {
  for (const Packet* p : packets) *handles++ = store_frame(*p, header);
}

HandoffNote& note_of(void* handle) { return *static_cast<HandoffNote*>(rte_mbuf_to_priv(mbuf(handle))); }

void load_handed_over(void* handle, Packet& view) {
  load_view(handle, view);
  view.vrf = note_of(handle).vrf;
}

namespace {
/// A fragment goes where its packet would.
void like(const Packet& packet, Packet& fragment) {
  fragment.family = packet.family;
  fragment.tx_port = packet.tx_port;
  fragment.rx_port = packet.rx_port;
  fragment.vrf = packet.vrf;
  fragment.inbound = packet.inbound;
  fragment.outbound = packet.outbound;
  fragment.tag = packet.tag;
  fragment.family = packet.family;
}
}  // namespace

std::size_t fragment_ipv4(const Packet& packet, std::uint32_t mtu, BufferPool& pool, std::span<Packet> out) {
  std::array<rte_mbuf*, kBurstMax> fragments{};
  store_view(packet);
  const int n = rte_ipv4_fragment_copy_nonseg_packet(mbuf(packet.handle), fragments.data(),
                                                     static_cast<std::uint16_t>(std::min(out.size(), fragments.size())),
                                                     static_cast<std::uint16_t>(mtu), pool.raw());
  if (n < 0) return 0;
  for (int i = 0; i < n; ++i) {
    Packet& view = out[static_cast<std::size_t>(i)];
    load_view(fragments[static_cast<std::size_t>(i)], view);
    set_ipv4_checksum(view.data, (view.data[0] & 0x0fU) * 4U);
    like(packet, view);
  }
  return static_cast<std::size_t>(n);
}

std::size_t fragment_ipv6(const Packet& packet, std::uint32_t mtu, std::uint32_t id, BufferPool& pool, std::span<Packet> out) {
  constexpr std::uint32_t kFront = kIpv6HeaderBytes + kFragmentHeaderBytes;
  const std::uint32_t total = packet.length - kIpv6HeaderBytes, step = (mtu - kFront) & ~7U;
  std::size_t n = 0;
  for (std::uint32_t at = 0; at < total; at += step, ++n) {
    const std::uint32_t part = std::min(step, total - at);
    const bool room = n < out.size() && pool.allocate(out[n]);
    if (!room || out[n].tailroom < part + kFront) {
      for (std::size_t i = 0; i < n + (room ? 1 : 0); ++i) BufferPool::release(nullptr, std::span(&out[i].handle, 1));
      return 0;
    }
    Packet& view = out[n];
    view.resize(part + kFront);
    std::memcpy(view.data, packet.data, kIpv6HeaderBytes);
    store_be16(view.data + 4, static_cast<std::uint16_t>(part + kFragmentHeaderBytes));
    view.data[6] = kFragment;
    std::uint8_t* header = view.data + kIpv6HeaderBytes;
    header[0] = packet.data[6];
    header[1] = 0;
    store_be16(header + 2, static_cast<std::uint16_t>(at | (at + part < total ? 1U : 0U)));
    store_be32(header + 4, id);
    std::memcpy(view.data + kFront, packet.data + kIpv6HeaderBytes + at, part);
    like(packet, view);
  }
  return n;
}

std::expected<std::unique_ptr<BufferRing>, std::string> BufferRing::create(const std::string& name, unsigned size) {
  rte_ring* ring = rte_ring_create(name.c_str(), size, SOCKET_ID_ANY, RING_F_SC_DEQ);
  if (ring == nullptr) return std::unexpected("no memory for the ring " + name + ": " + rte_strerror(rte_errno));
  return std::unique_ptr<BufferRing>(new BufferRing(ring));
}

BufferRing::~BufferRing() {
  void* handle = nullptr;
  while (rte_ring_sc_dequeue(ring_, &handle) == 0) rte_pktmbuf_free(mbuf(handle));
  rte_ring_free(ring_);
}

bool BufferRing::push(void* handle) { return rte_ring_mp_enqueue(ring_, handle) == 0; }

std::size_t BufferRing::pop(std::span<void*> handles) {
  return rte_ring_sc_dequeue_burst(ring_, handles.data(), static_cast<unsigned>(handles.size()), nullptr);
}

bool BufferRing::empty() const { return rte_ring_empty(ring_) != 0; }

std::size_t BufferRing::size() const { return rte_ring_count(ring_); }

}  // namespace culvert::dp

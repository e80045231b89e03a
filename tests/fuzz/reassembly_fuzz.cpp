// Fuzzes what strangers can send in pieces, and what is read of packets beside their SAs: reassembly, TCP's options, errors
// of routers.
//   input: records: time (1 byte, tenths of a second), length (1 byte), an IP packet's bytes as they are; its header's checksum and length
//   are mended.
// Buffers are of exact size; none may be lost. What comes out whole is a packet that parses, and as long as its parts.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <set>
#include <vector>

#include "common/bytes.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/mss.hpp"
#include "dataplane/nodes/path_mtu.hpp"
#include "dataplane/nodes/reassembly.hpp"

namespace {

using namespace culvert;
using namespace culvert::dp;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Buffers of the heap, all of which must come back.
class Heap {
 public:
  ~Heap() { require(out_.empty()); }
  Reassembly::Buffers buffers() {
    return {[this](Packet& view) {
              auto* buffer = new std::vector<std::uint8_t>(Reassembly::kBufferBytes);
              require(out_.insert(buffer).second && out_.size() <= Reassembly::kMaxPackets);
              view = {};
              view.data = buffer->data();
              view.handle = buffer;
              view.tailroom = static_cast<std::uint16_t>(buffer->size());
              return true;
            },
            [this](void* handle) {
              require(out_.erase(handle) == 1);
              delete static_cast<std::vector<std::uint8_t>*>(handle);
            }};
  }

 private:
  std::set<void*> out_;
};

/// A packet of exactly these bytes whose header is right, if it is long enough to have one.
void mend(std::vector<std::uint8_t>& bytes) {
  if (bytes.size() < kIpv4HeaderBytes) return;
  if (bytes[0] >> 4 == 6) {
    if (bytes.size() >= kIpv6HeaderBytes) store_be16(bytes.data() + 4, static_cast<std::uint16_t>(bytes.size() - kIpv6HeaderBytes));
    return;
  }
  bytes[0] = static_cast<std::uint8_t>(0x40 | std::clamp<unsigned>(bytes[0] & 0x0fU, 5, static_cast<unsigned>(bytes.size() / 4)));
  store_be16(bytes.data() + 2, static_cast<std::uint16_t>(bytes.size()));
  set_ipv4_checksum(bytes.data(), (bytes[0] & 0x0fU) * 4U);
}

void look_into(std::vector<std::uint8_t> bytes) {
  Packet p;
  p.data = bytes.data();
  p.length = static_cast<std::uint32_t>(bytes.size());
  if (!parse_ip(p)) return;
  if (opens_tcp(p)) (void)clamp_mss(p, 1000);
  (void)path_mtu_claim(p);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(ByteView(data, size));
  Heap heap;
  Reassembly reassembly(heap.buffers());
  std::uint64_t now = 0;
  std::size_t given = 0, ended = 0, used = 0;
  while (in.ok() && in.remaining() > 2) {
    now += in.be<std::uint8_t>() * 100'000'000ULL;
    const ByteView body = in.take(std::min<std::size_t>(in.be<std::uint8_t>(), in.remaining()));
    std::vector<std::uint8_t> bytes(body.begin(), body.end());
    mend(bytes);
    look_into(bytes);
    ended += reassembly.expire(now);
    Packet p;
    p.data = bytes.data();
    p.length = static_cast<std::uint32_t>(bytes.size());
    if (!parse_ip(p) || classify_local(p) != LocalKind::Fragment) continue;
    ++given;
    Reassembly::Result result = reassembly.add(p, now);
    ended += result.ended;
    used += result.used;
    if (!result.whole) continue;
    require(result.packet.length <= Reassembly::kBufferBytes && parse_ip(result.packet) && !result.packet.fragment);
    (void)classify_local(result.packet);
    heap.buffers().release(result.packet.handle);
  }
  ended += reassembly.expire(~std::uint64_t{0});
  require(given == ended + used && reassembly.size() == 0);
  return 0;
}

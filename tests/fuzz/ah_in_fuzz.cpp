// Fuzzes AH's way in, over and for either family. An input's first byte chooses the SA (bits 0 to 6) and what the rest is:
//   - an IP packet as it comes from the wire (bit 7 clear), or
//   - what an authenticated peer protected (bit 7 set), so that what lies behind the ICV is reached, too: how many words of options the
//     outer header has (1 byte), these options, the next header (1 byte), and what it says.
// Every packet leaves exactly once, and what comes out is a well-formed packet inside of the buffer and of the selectors.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/ah.hpp"
#include "dataplane/nodes/outer_header.hpp"
#include "tests/fuzz/esp_world.hpp"

namespace {

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::fuzz;

constexpr std::uint32_t kCapacity = 64;
constexpr std::uint16_t kRoom = 128;
constexpr std::array kAh{"sha256", "sha1-esn", "aes128gmac", "aesxcbc"};

struct World : EspWorld {
  std::uint32_t sas = 0, sequence = 0;

  explicit World(CryptoEngine e) : EspWorld(std::move(e), kCapacity) {
    for (const Family outer : {Family::V4, Family::V6})
      for (const Family inner : {Family::V4, Family::V6})
        for (const SaMode mode : {SaMode::Tunnel, SaMode::Transport})
          for (const char* name : kAh)
            if (mode == SaMode::Tunnel || outer == inner) add(name, outer, inner, mode);
  }
  void add(const char* name, Family outer, Family inner, SaMode mode) {
    shm::InstallSa m;
    m.direction = Direction::Inbound;
    m.slot = sas++;
    m.spi = Spi{0x1000 + m.slot};
    m.local = {*IpAddress::parse(outer == Family::V4 ? "10.9.0.1" : "2001:db8:9::1"), 0};
    m.remote = {*IpAddress::parse(outer == Family::V4 ? "10.9.0.2" : "2001:db8:9::2"), 0};
    const auto bits = static_cast<std::uint8_t>(8 * m.local.address.size());
    const bool tunnel = mode == SaMode::Tunnel;
    m.local_ts = tunnel ? *TrafficSelector::parse(inner == Family::V4 ? "10.1.0.0/24" : "fd00:1::/64")
                        : TrafficSelector::from({m.local.address, bits});
    m.remote_ts = tunnel ? *TrafficSelector::parse(inner == Family::V4 ? "10.2.0.0/24" : "fd00:2::/64")
                         : TrafficSelector::from({m.remote.address, bits});
    m.mode = mode;
    m.suite = parse_ah_proposal(name)->front();
    set_key_sizes(m);
    add_inbound(m);
  }
};

/// The outer header of a packet from the SA's peer, with `options`, of which those of IPv6 are a header of their own.
Bytes outer_header(const InboundSa& sa, ByteView options) {
  const bool v4 = sa.outer_family == Family::V4;
  const std::size_t address = v4 ? 4 : 16, at = source_at(sa.outer_family);
  Bytes ip(v4 ? kIpv4HeaderBytes : kIpv6HeaderBytes);
  ip[0] = v4 ? static_cast<std::uint8_t>(0x45 + options.size() / 4) : std::uint8_t{0x60};
  ip[v4 ? 8 : 7] = 64;
  ip[v4 ? 9 : 6] = v4 || options.empty() ? kProtocolAh : kDestinationOptions;
  std::copy_n(sa.match.remote_address.begin(), address, ip.begin() + static_cast<std::ptrdiff_t>(at));
  std::copy_n(sa.match.local_address.begin(), address, ip.begin() + static_cast<std::ptrdiff_t>(at + address));
  if (!v4 && !options.empty()) {
    ip.push_back(kProtocolAh);
    ip.push_back(static_cast<std::uint8_t>((options.size() + 2) / 8 - 1));
  }
  ip.insert(ip.end(), options.begin(), options.end());
  return ip;
}

Packet view_of(Bytes& buffer) {
  Packet p;
  p.data = buffer.data() + kRoom;
  p.length = static_cast<std::uint32_t>(buffer.size() - 2 * kRoom);
  p.headroom = p.tailroom = kRoom;
  p.handle = &buffer;
  return p;
}
Bytes with_room(ByteView packet) {
  Bytes buffer(kRoom + packet.size() + kRoom);
  std::ranges::copy(packet, buffer.begin() + kRoom);
  return buffer;
}

/// What the peer made of it; empty: it makes no packet.
Bytes sealed(World& w, InboundSa& sa, ByteView rest) {
  if (rest.size() < 2) return {};
  const bool v4 = sa.outer_family == Family::V4;
  const std::size_t words = rest[0] % 11U, options = v4 ? words * 4 : words == 0 ? 0 : (words + 1) / 2 * 8 - 2;
  rest = rest.subspan(1);
  if (rest.size() < options + 1) return {};
  Bytes packet = outer_header(sa, rest.first(options));
  const std::size_t ip = packet.size(), ah = ah_bytes(sa.geometry, sa.outer_family);
  packet.resize(ip + ah);
  packet[ip] = rest[options];
  packet[ip + 1] = static_cast<std::uint8_t>(ah / 4 - 2);
  store_be32(&packet[ip + 4], sa.spi.value);
  store_be32(&packet[ip + 8], ++w.sequence);
  packet.insert(packet.end(), rest.begin() + static_cast<std::ptrdiff_t>(options) + 1, rest.end());
  store_be16(&packet[v4 ? 2 : 4], static_cast<std::uint16_t>(packet.size() - (v4 ? 0 : kIpv6HeaderBytes)));
  if (v4) set_ipv4_checksum(packet.data(), static_cast<std::uint32_t>(ip));

  Bytes buffer = with_room(packet);
  Packet p = view_of(buffer);
  CryptoOp op{};
  std::uint32_t low = 0;
  p.inbound = &sa;
  if (!parse_ip(p) || p.protocol != kProtocolAh || p.l4_offset != ip || ah_in_prepare(p, op, low) != Drop::Count_) return {};
  w.engine.encrypt({&op, 1});
  require(op.ok);
  std::copy_n(op.icv(), sa.geometry.icv, packet.begin() + (op.icv() - p.data));
  return packet;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World w(engine());
  if (size < 1 || size > 4096) return 0;
  const ByteView rest(data + 1, size - 1);
  InboundSa& sa = *w.table.at(data[0] % 0x80U % w.sas);
  Bytes buffer = with_room((data[0] & 0x80) != 0 ? sealed(w, sa, rest) : Bytes(rest.begin(), rest.end()));
  Packet p = view_of(buffer);
  if (p.length == 0 || !parse_ip(p) || p.protocol != kProtocolAh || p.fragment) return 0;
  Burst burst;
  burst.push_back(&p);
  w.released = 0;
  w.open(burst);
  require(w.released + burst.size() == 1);
  if (burst.empty()) return 0;
  require(p.data >= buffer.data() && p.data + p.length <= buffer.data() + buffer.size());
  require(p.inbound != nullptr && p.inbound->admits(p));
  const Family family = p.family;
  require(parse_ip(p) && p.family == family && p.inbound->admits(p));
  return 0;
}

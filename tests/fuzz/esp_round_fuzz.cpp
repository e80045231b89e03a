// Fuzzes encapsulation, ESP and AH: whatever packet of whatever form goes under an SA, in every mode and over and for either family, it
// leaves exactly once, and what leaves is opened by the peer to the same packet again.
//   input: the SA (1 byte), then an IP packet, whose header's checksum and length are mended.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "dataplane/ip_header.hpp"
#include "tests/fuzz/esp_world.hpp"

namespace {

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::fuzz;

constexpr std::uint32_t kCapacity = 128;
constexpr std::uint16_t kRoom = 192;
constexpr std::array kEsp{"aes128gcm16", "aes256-sha256", "null-sha1", "aes128gmac-esn"};
constexpr std::array<std::uint16_t, 2> kPorts{0, 4500};
constexpr std::array kAh{"sha256", "sha1-esn", "aes128gmac"};

struct World : EspWorld {
  std::vector<SaPtr<OutboundSa>> peers;

  explicit World(CryptoEngine e) : EspWorld(std::move(e), kCapacity) {
    for (const Family outer : {Family::V4, Family::V6})
      for (const Family inner : {Family::V4, Family::V6})
        for (const SaMode mode : {SaMode::Tunnel, SaMode::Transport}) {
          if (mode == SaMode::Transport && outer != inner) continue;
          for (const char* name : kEsp)
            for (const std::uint16_t port : kPorts) add(parse_esp_proposal(name)->front(), outer, inner, mode, port);
          for (const char* name : kAh) add(parse_ah_proposal(name)->front(), outer, inner, mode, 0);
        }
  }
  void add(const EspSuite& suite, Family outer, Family inner, SaMode mode, std::uint16_t port) {
    shm::InstallSa m;
    m.direction = Direction::Inbound;
    m.slot = static_cast<std::uint32_t>(peers.size());
    m.spi = Spi{0x1000 + m.slot};
    m.local = {*IpAddress::parse(outer == Family::V4 ? "10.9.0.1" : "2001:db8:9::1"), port};
    m.remote = {*IpAddress::parse(outer == Family::V4 ? "10.9.0.2" : "2001:db8:9::2"), port};
    const auto all = *TrafficSelector::parse(inner == Family::V4 ? "0.0.0.0/0" : "::/0");
    const auto bits = static_cast<std::uint8_t>(8 * m.local.address.size());
    m.local_ts = mode == SaMode::Tunnel ? all : TrafficSelector::from({m.local.address, bits});
    m.remote_ts = mode == SaMode::Tunnel ? all : TrafficSelector::from({m.remote.address, bits});
    m.mode = mode;
    m.suite = suite;
    m.replay_window = 64;
    set_key_sizes(m);
    add_inbound(m);
    peers.push_back(peer_of(m));
  }
};

/// Of the family that goes under `sa`, and in transport mode between its two ends.
void mend(std::vector<std::uint8_t>& ip, const OutboundSa& sa) {
  const bool v4 = sa.source.family == Family::V4;
  if (ip.size() < (v4 ? kIpv4HeaderBytes : kIpv6HeaderBytes)) return;
  if (sa.geometry.transport) {
    const std::size_t at = v4 ? 12 : 8, bytes = v4 ? 8 : 32;
    std::copy_n(sa.header.begin() + static_cast<std::ptrdiff_t>(at), bytes, ip.begin() + static_cast<std::ptrdiff_t>(at));
  }
  if (!v4) {
    ip[0] = static_cast<std::uint8_t>(0x60 | (ip[0] & 0x0f));
    store_be16(&ip[4], static_cast<std::uint16_t>(ip.size() - kIpv6HeaderBytes));
    return;
  }
  ip[0] = static_cast<std::uint8_t>(0x40 | std::clamp<unsigned>(ip[0] & 0x0fU, 5, static_cast<unsigned>(ip.size() / 4)));
  store_be16(&ip[2], static_cast<std::uint16_t>(ip.size()));
  set_ipv4_checksum(ip.data(), (ip[0] & 0x0fU) * 4U);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World w(engine());
  if (size < 2 || size > 4096) return 0;
  OutboundSa& sa = *w.peers[data[0] % w.peers.size()];
  std::vector<std::uint8_t> clear(data + 1, data + size);
  mend(clear, sa);
  std::vector<std::uint8_t> buffer(kRoom + clear.size() + kRoom);
  std::copy(clear.begin(), clear.end(), buffer.begin() + kRoom);
  Packet p;
  p.data = buffer.data() + kRoom;
  p.length = static_cast<std::uint32_t>(clear.size());
  p.headroom = p.tailroom = kRoom;
  p.handle = &p;
  p.outbound = &sa;
  if (!parse_ip(p) || p.family != sa.source.family) return 0;
  if (sa.geometry.transport && p.protocol == kProtocolNone) return 0;  // a dummy packet, to its receiver
  clear.resize(p.length);
  const auto carried = [&] { return p.length >= clear.size() && std::equal(clear.begin(), clear.end(), p.data); };
  Burst burst;
  burst.push_back(&p);
  w.released = 0;
  EspContext context{w.engine, w.drops, 0};
  esp_out(burst, context);
  w.drops.flush();
  require(w.released + burst.size() == 1);
  if (burst.empty()) return 0;
  require(p.data >= buffer.data() && p.data + p.length <= buffer.data() + buffer.size());
  require(parse_ip(p) && !p.fragment && p.family == sa.outer_family && p.protocol == sa.outer_protocol);
  w.open(burst);
  require(w.released == 0 && burst.size() == 1 && carried() && p.length == clear.size());
  return 0;
}

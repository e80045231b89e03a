// Fuzzes decapsulation. An input's first byte chooses a suite, the encapsulation, and what the rest is:
//   - an IP packet as it comes from the wire, header included (bit 7 clear), or
//   - the text that an authenticated peer encrypted (bit 7 set), so that what lies behind the ICV is reached, too.
// Every packet leaves exactly once, and what comes out is a well-formed packet inside of the buffer and of the selectors.
#include <cstdint>

#include "dataplane/ip_header.hpp"
#include "tests/fuzz/esp_world.hpp"

namespace {
using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::fuzz;

constexpr std::uint32_t kCapacity = 32;
constexpr std::uint16_t kRoom = 128;
// The first ones are those that the corpus was made with.
constexpr std::array kSuites{"aes128gcm16",   "aes256gcm16",     "aes128-sha1", "aes256-sha1",      "aes128-sha256",
                             "aes256-sha256", "aes128gcm8-esn",  "aes256ccm12", "aes192ctr-sha512", "aes128gmac-esn",
                             "null-aesxcbc",  "3des-sha384-esn", "des-md5",     "chacha20poly1305", "aes128-aescmac-esn"};

/// One SA per suite and encapsulation, in slots from 0.
struct World : EspWorld {
  std::array<SaPtr<OutboundSa>, 2 * kSuites.size()> peers;
  std::uint32_t sequence = 0;

  explicit World(CryptoEngine e) : EspWorld(std::move(e), kCapacity) {
    for (std::uint32_t i = 0; i < peers.size(); ++i) {
      const shm::InstallSa m = terms(i);
      add_inbound(m);
      peers[i] = peer_of(m);
    }
  }
  static shm::InstallSa terms(std::uint32_t i) {
    const EspSuite suite = parse_esp_proposal(kSuites[i / 2])->front();
    shm::InstallSa m;
    m.direction = Direction::Inbound;
    m.slot = i;
    m.spi = Spi{0x1000 + i};
    const std::uint16_t port = i % 2 == 0 ? std::uint16_t{0} : std::uint16_t{4500};
    m.local = {IpAddress::v4(0x0a090001), port};
    m.remote = {IpAddress::v4(0x0a090002), port};
    m.local_ts = *TrafficSelector::parse("10.1.0.0/24");
    m.remote_ts = *TrafficSelector::parse("10.2.0.0/24");
    m.suite = suite;
    set_key_sizes(m);
    return m;
  }
};

/// `text`, cut to whole blocks, sealed as the peer would.
Bytes sealed(World& w, std::size_t which, ByteView text) {
  const OutboundSa& sa = *w.peers[which];
  text = text.first(text.size() / sa.geometry.align * sa.geometry.align);
  if (text.empty()) return {};
  Bytes p(sa.header.begin(), sa.header.begin() + sa.header_bytes);
  const std::size_t esp = p.size() - kEspHeaderBytes;
  store_be32(&p[esp + 4], ++w.sequence);
  p.insert(p.end(), sa.geometry.iv, 0x5a);
  p.insert(p.end(), text.begin(), text.end());
  p.insert(p.end(), sa.geometry.icv, 0);
  store_be16(&p[2], static_cast<std::uint16_t>(p.size()));
  set_ipv4_checksum(p.data());
  if (sa.udp) store_be16(&p[kIpv4HeaderBytes + 4], static_cast<std::uint16_t>(p.size() - kIpv4HeaderBytes));
  CryptoOp op{&sa.keys, &p[esp], static_cast<std::uint32_t>(text.size()), false, 0, 0};
  w.engine.encrypt({&op, 1});
  require(op.ok);
  return p;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World w(engine());
  if (size < 1 || size > 4096) return 0;
  const ByteView rest(data + 1, size - 1);
  Bytes packet = (data[0] & 0x80) != 0 ? sealed(w, data[0] % w.peers.size(), rest) : Bytes(rest.begin(), rest.end());
  packet.insert(packet.begin(), kRoom, 0);
  Packet p;
  p.data = packet.data() + kRoom;
  p.length = static_cast<std::uint32_t>(packet.size() - kRoom);
  p.headroom = kRoom;
  p.handle = &p;
  if (!parse_ip(p) || (p.protocol != kProtocolEsp && p.protocol != kProtocolUdp) || p.fragment) return 0;
  Burst burst;
  burst.push_back(&p);
  w.released = 0;
  w.open(burst);
  require(w.released + burst.size() == 1);
  if (burst.empty()) return 0;
  require(p.data >= packet.data() && p.data + p.length <= packet.data() + packet.size());
  require(p.length >= kIpv4HeaderBytes && p.length == load_be16(p.data + 2) && ipv4_header_sum(p.data, p.l4_offset) == 0xffff);
  require((load_be32(p.data + 12) >> 8) == 0x0a0200 && (load_be32(p.data + 16) >> 8) == 0x0a0100);
  return 0;
}

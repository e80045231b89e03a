// Packets and SAs for tests of the packet path, without EAL.
// Owns buffers of exact size, so that a byte too far is a sanitizer's finding, and the books: every packet that enters leaves
// exactly once, through the burst or through the DropSink.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/esp.hpp"

namespace culvert::dp::test {

inline constexpr std::uint16_t kHeadroom = 128, kTailroom = 64;

/// A packet with a heap buffer of its own.
struct OwnedPacket {
  std::vector<std::uint8_t> buffer;
  Packet view;
  OwnedPacket(ByteView ip, std::uint16_t headroom, std::uint16_t tailroom) : buffer(headroom + ip.size() + tailroom, 0xee) {
    std::copy(ip.begin(), ip.end(), buffer.begin() + headroom);
    view.data = buffer.data() + headroom;
    view.length = static_cast<std::uint32_t>(ip.size());
    view.headroom = headroom;
    view.tailroom = tailroom;
    view.handle = this;
  }
  [[nodiscard]] Bytes bytes() const { return {view.data, view.data + view.length}; }
};

/// The state around the nodes of one worker.
class Worker {
 public:
  explicit Worker(CryptoArch arch = CryptoArch::Auto) : engine_(make(arch)), drops_(*counters_, &released, this) {}

  CryptoEngine& engine() { return engine_; }
  DropSink& drops() { return drops_; }
  EspContext context() { return {engine_, drops_, 1234}; }
  [[nodiscard]] std::uint64_t dropped(Drop reason) const { return counters_->drops[static_cast<std::size_t>(reason)].get(); }
  [[nodiscard]] std::uint64_t dropped() const {
    std::uint64_t n = 0;
    for (const auto& c : counters_->drops) n += c.get();
    return n;
  }
  /// Runs `packets` through `nodes(Burst&)` in bursts and returns what came out; checks that nothing was lost or doubled.
  template <class Nodes>
  std::vector<Bytes> run(const std::vector<Bytes>& packets, Nodes&& nodes, std::uint16_t headroom = kHeadroom,
                         std::uint16_t tailroom = kTailroom) {
    std::vector<Bytes> out;
    for (std::size_t at = 0; at < packets.size(); at += kBurstMax) {
      std::vector<std::unique_ptr<OwnedPacket>> owned;
      Burst burst;
      for (std::size_t i = at; i < std::min(at + kBurstMax, packets.size()); ++i) {
        owned.push_back(std::make_unique<OwnedPacket>(packets[i], headroom, tailroom));
        burst.push_back(&owned.back()->view);
      }
      freed_.clear();
      nodes(burst);
      drops_.flush();
      for (Packet* p : burst) {
        if (!freed_.insert(p->handle).second) FAIL("a packet left twice");
        out.push_back(static_cast<OwnedPacket*>(p->handle)->bytes());
      }
      if (freed_.size() != owned.size()) FAIL("a packet was lost");
    }
    return out;
  }

 private:
  static CryptoEngine make(CryptoArch arch) {
    auto engine = CryptoEngine::create(arch);
    if (!engine) FAIL(engine.error());
    return std::move(*engine);
  }
  static void released(void* context, std::span<void* const> handles) {
    for (void* h : handles)
      if (!static_cast<Worker*>(context)->freed_.insert(h).second) FAIL("a packet was released twice");
  }
  CryptoEngine engine_;
  std::unique_ptr<shm::WorkerCounters> counters_ = std::make_unique<shm::WorkerCounters>();
  std::set<void*> freed_;
  DropSink drops_;
};

/// A suite and its proposal string.
struct SuiteName : EspSuite {
  std::string name;
};
/// Every algorithm of the table in some ESP suite, several of them with extended sequence numbers, too. The first six are those that
/// most peers use.
inline const std::vector<SuiteName> kSuites = [] {
  std::vector<std::string> names{"aes128gcm16", "aes256gcm16", "aes128-sha1", "aes256-sha1", "aes128-sha256", "aes256-sha256"};
  for (const EncrInfo& e : encr_table()) names.push_back(std::string(e.name) + (e.aead() ? "" : "-sha256"));
  for (const IntegInfo& i : integ_table())
    if (i.esp()) names.push_back("aes128-" + std::string(i.name));
  for (const char* more : {"aes128gcm16-esn", "aes256ccm12-esn", "aes128gmac-esn", "aes128-sha1-esn", "aes256-sha512-esn", "null-md5-esn",
                           "aes192ctr-aesxcbc-esn", "3des-sha384-esn", "chacha20poly1305-esn", "null-aescmac-esn"})
    names.emplace_back(more);
  std::vector<SuiteName> out;
  for (const std::string& name : names)
    if (std::ranges::none_of(out, [&](const SuiteName& s) { return s.name == name; }))
      out.push_back({parse_esp_proposal(name).value().front(), name});
  return out;
}();
inline constexpr std::uint32_t kCapacity = 16;

/// An inbound SA at 10.9.0.1 from 10.9.0.2, selectors 10.2.0.0/24 -> 10.1.0.0/24; the outbound one is the peer's mirror of it,
/// so that what the one seals the other opens. Keys count up.
/// `outer` and `inner`: of IPv6 the addresses are 2001:db8:9::1 and ::2, the selectors 2001:db8:1::/48 and 2001:db8:2::/48.
inline shm::InstallSa install(const EspSuite& suite, Direction direction, bool udp = false, std::uint32_t spi = 0xc0ffee05,
                              Family outer = Family::V4, Family inner = Family::V4) {
  shm::InstallSa m;
  m.direction = direction;
  m.spi = Spi{spi};
  m.slot = spi & (kCapacity - 1);
  m.policy = PolicyId{1};
  const bool v4 = outer == Family::V4, in_v4 = inner == Family::V4;
  const std::uint16_t port = udp ? 4500 : 0;
  const Endpoint a{*IpAddress::parse(v4 ? "10.9.0.1" : "2001:db8:9::1"), port},
      b{*IpAddress::parse(v4 ? "10.9.0.2" : "2001:db8:9::2"), port};
  const auto net_a = *TrafficSelector::parse(in_v4 ? "10.1.0.0/24" : "2001:db8:1::/48");
  const auto net_b = *TrafficSelector::parse(in_v4 ? "10.2.0.0/24" : "2001:db8:2::/48");
  const bool in = direction == Direction::Inbound;
  m.local = in ? a : b;
  m.remote = in ? b : a;
  m.local_ts = in ? net_a : net_b;
  m.remote_ts = in ? net_b : net_a;
  m.suite = suite;
  const auto* encr = find_encr(suite.encr, suite.key_bits);
  const auto* integ = find_integ(suite.integ);
  m.encr_key_bytes = static_cast<std::uint8_t>(encr != nullptr ? encr->key_bytes() + encr->salt : 0);
  m.integ_key_bytes = integ != nullptr ? integ->key : std::uint8_t{0};
  for (std::size_t i = 0; i < m.encr_key_bytes; ++i) m.encr_key[i] = static_cast<std::uint8_t>(i + 1);
  for (std::size_t i = 0; i < m.integ_key_bytes; ++i) m.integ_key[i] = static_cast<std::uint8_t>(i + 101);
  return m;
}

/// An IPv4 UDP packet of `length` bytes in all (28 or more), 10.2.0.5:7 -> 10.1.0.5:9, its payload counting up.
inline Bytes inner_packet(std::size_t length, std::uint8_t tos = 0, std::uint16_t fragment = 0) {
  Bytes p(length);
  for (std::size_t i = 28; i < length; ++i) p[i] = static_cast<std::uint8_t>(i * 7);
  p[0] = 0x45;
  p[1] = tos;
  store_be16(&p[2], static_cast<std::uint16_t>(length));
  store_be16(&p[6], fragment);
  p[8] = 63;
  p[9] = kProtocolUdp;
  store_be32(&p[12], 0x0a020005);
  store_be32(&p[16], 0x0a010005);
  store_be16(&p[20], 7);
  store_be16(&p[22], 9);
  store_be16(&p[24], static_cast<std::uint16_t>(length - 20));
  set_ipv4_checksum(p.data());
  return p;
}

/// The same over IPv6, of 48 bytes or more, 2001:db8:2::5 -> 2001:db8:1::5.
inline Bytes inner_packet_v6(std::size_t length, std::uint8_t tos = 0) {
  Bytes p(length);
  for (std::size_t i = 48; i < length; ++i) p[i] = static_cast<std::uint8_t>(i * 7);
  store_be32(p.data(), 0x60000000U | std::uint32_t{tos} << 20);
  store_be16(&p[4], static_cast<std::uint16_t>(length - 40));
  p[6] = kProtocolUdp;
  p[7] = 63;
  const auto source = *IpAddress::parse("2001:db8:2::5"), destination = *IpAddress::parse("2001:db8:1::5");
  std::copy(source.bytes.begin(), source.bytes.end(), p.begin() + 8);
  std::copy(destination.bytes.begin(), destination.bytes.end(), p.begin() + 24);
  store_be16(&p[40], 7);
  store_be16(&p[42], 9);
  store_be16(&p[44], static_cast<std::uint16_t>(length - 40));
  return p;
}

/// All of an SA's counters, to be compared whole.
inline std::array<std::uint64_t, sizeof(shm::SaCounters) / 8> values(const shm::SaCounters& c) {
  std::array<std::uint64_t, sizeof(shm::SaCounters) / 8> out{};
  std::memcpy(out.data(), static_cast<const void*>(&c), sizeof c);
  return out;
}

/// A sender's outbound SA and its receiver's inbound one.
class SaPair {
 public:
  SaPair(Worker& worker, const EspSuite& suite, bool udp = false)
      : SaPair(worker, install(suite, Direction::Inbound, udp), install(suite, Direction::Outbound, udp)) {}
  SaPair(Worker& worker, const shm::InstallSa& in, const shm::InstallSa& out) : worker_(worker), table_(kCapacity) {
    auto made_in = make_inbound(in, kCapacity, worker.engine(), {0, counters_in.get(), 0});
    auto made_out = make_outbound(out, kCapacity, worker.engine(), {0, counters_out.get(), 0});
    REQUIRE(made_in.has_value());
    REQUIRE(made_out.has_value());
    inbound = made_in->get();
    REQUIRE(table_.publish(in.slot, *made_in) == shm::AckResult::Ok);
    outbound = std::move(*made_out);
  }
  std::vector<Bytes> seal(const std::vector<Bytes>& packets, std::uint16_t headroom = kHeadroom, std::uint16_t tailroom = kTailroom) {
    return worker_.run(packets, [&](Burst& b) { seal(b); }, headroom, tailroom);
  }
  void seal(Burst& burst) {
    for (Packet* p : burst) {
      if (!parse_ip(*p)) FAIL("test packet is malformed");
      p->outbound = outbound.get();
    }
    EspContext context = worker_.context();
    esp_out(burst, context);
  }
  std::vector<Bytes> open(const std::vector<Bytes>& packets) {
    return worker_.run(packets, [&](Burst& b) { open(b); });
  }
  void open(Burst& burst) {
    for (Packet* p : burst)
      if (!parse_ip(*p)) FAIL("outer header is malformed");
    esp_in_lookup(burst, table_, worker_.drops());
    EspContext context = worker_.context();
    esp_in(burst, context);
  }
  /// A packet that is authentic whatever it says: `text` (trailer included, of a fitting length) under sequence number
  /// `sequence`, with the outer TOS given.
  Bytes craft(std::uint32_t sequence, const Bytes& text, std::uint8_t tos = 0) {
    const EspGeometry& g = outbound->geometry;
    Bytes p(outbound->header.begin(), outbound->header.begin() + outbound->header_bytes);
    store_be32(&p[p.size() - 4], sequence);
    const std::size_t esp = p.size() - kEspHeaderBytes;
    p.insert(p.end(), g.iv, 0x5a);
    p.insert(p.end(), text.begin(), text.end());
    p.insert(p.end(), g.icv, 0);
    p[1] = tos;
    store_be16(&p[2], static_cast<std::uint16_t>(p.size()));
    set_ipv4_checksum(p.data());
    if (outbound->udp) store_be16(&p[24], static_cast<std::uint16_t>(p.size() - 20));
    CryptoOp op{&outbound->keys, &p[esp], static_cast<std::uint32_t>(text.size()), false, 0, 0};
    worker_.engine().encrypt({&op, 1});
    if (!op.ok) FAIL("crypto");
    return p;
  }
  /// `inner` with correct padding and `next_header`.
  [[nodiscard]] Bytes padded(Bytes inner, std::uint8_t next_header = 4) const {
    std::uint8_t pad = 0;
    while ((inner.size() + 2) % outbound->geometry.align != 0) inner.push_back(++pad);
    inner.push_back(pad);
    inner.push_back(next_header);
    return inner;
  }
  std::unique_ptr<shm::SaCounters> counters_in = std::make_unique<shm::SaCounters>(), counters_out = std::make_unique<shm::SaCounters>();
  InboundSa* inbound = nullptr;
  SaPtr<OutboundSa> outbound;

 private:
  Worker& worker_;
  InboundTable table_;
};

}  // namespace culvert::dp::test

#include "dataplane/manager/ike_bridge.hpp"

#include <algorithm>
#include <cstring>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint8_t kTtl = 64;
constexpr std::uint8_t kTosInternetwork = 0xc0;  // CS6, as routers mark their control traffic

/// Room for all headers of a family in front of a piece of a datagram.
constexpr std::uint32_t front_bytes(Family family, bool whole) {
  return family == Family::V4 ? kIpv4HeaderBytes : kIpv6HeaderBytes + (whole ? 0U : kFragmentHeaderBytes);
}

/// One piece of a UDP datagram, from `at` on, as an IP packet.
struct Piece {
  std::uint32_t at, bytes;
  bool last;
  [[nodiscard]] bool whole() const { return at == 0 && last; }
};
void write_ipv4(std::uint8_t* ip, const shm::Datagram& d, const Piece& piece, std::uint32_t id) {
  std::memset(ip, 0, kIpv4HeaderBytes);
  ip[0] = 0x45;
  ip[1] = kTosInternetwork;
  store_be16(ip + 2, static_cast<std::uint16_t>(kIpv4HeaderBytes + piece.bytes));
  store_be16(ip + 4, static_cast<std::uint16_t>(id));
  store_be16(ip + 6, static_cast<std::uint16_t>(piece.at / 8 | (piece.last ? 0U : kIpv4Mf)));
  ip[8] = kTtl;
  ip[9] = kProtocolUdp;
  std::copy_n(d.local.address.bytes.begin(), 4, ip + 12);
  std::copy_n(d.remote.address.bytes.begin(), 4, ip + 16);
  set_ipv4_checksum(ip);
}
void write_ipv6(std::uint8_t* ip, const shm::Datagram& d, const Piece& piece, std::uint32_t id) {
  const std::uint32_t front = front_bytes(Family::V6, piece.whole());
  std::memset(ip, 0, front);
  store_be32(ip, 0x60000000U | std::uint32_t{kTosInternetwork} << 20);
  store_be16(ip + 4, static_cast<std::uint16_t>(front - kIpv6HeaderBytes + piece.bytes));
  ip[6] = piece.whole() ? kProtocolUdp : kFragment;
  ip[7] = kTtl;
  std::copy_n(d.local.address.bytes.begin(), 16, ip + 8);
  std::copy_n(d.remote.address.bytes.begin(), 16, ip + 24);
  if (piece.whole()) return;
  std::uint8_t* fragment = ip + kIpv6HeaderBytes;  // RFC 8200 §4.5
  fragment[0] = kProtocolUdp;
  store_be16(fragment + 2, static_cast<std::uint16_t>(piece.at | (piece.last ? 0U : 1U)));
  store_be32(fragment + 4, id);
}
}  // namespace

std::optional<Drop> punt(const Packet& p, bool heard, bool stray, PuntProducer& ring) {
  const std::uint8_t* udp = p.data + p.l4_offset;
  const std::uint32_t length = load_be16(udp + 4);
  const std::uint32_t payload = length - kUdpHeaderBytes;
  if (payload > shm::kMaxDatagram) return Drop::PuntInvalid;
  // Over IPv4 there need not be a checksum (RFC 768), over IPv6 there must (RFC 8200 §8.1).
  const bool summed = load_be16(udp + 6) != 0 || p.family == Family::V6;
  if (summed && upper_sum(p.family, p.data, kProtocolUdp, udp, length) != 0xffff) return Drop::PuntInvalid;
  if ((stray || (!heard && begins_negotiation(p))) && ring.room() <= shm::kDatagramSlots / 2) return Drop::PuntFull;
  const bool taken = ring.produce([&](shm::Datagram& d) {
    d.local = {destination_of(p), p.destination_port, p.vrf};
    d.remote = {source_of(p), p.source_port, p.vrf};
    d.length = payload;
    d.heard = heard ? 1 : 0;
    std::copy_n(udp + kUdpHeaderBytes, payload, d.data.begin());  // never by what stands in the slot: culvertd can write there
  });
  return taken ? std::nullopt : std::optional(Drop::PuntFull);
}

shm::RingStatus Injector::inject(InjectConsumer& ring, const std::function<void(const Packet&)>& emit) {
  const shm::RingStatus status = ring.consume([&](const shm::Datagram& d) {
    // One copy first: culvertd could change the slot while we look at it.
    copy_.local = d.local;
    copy_.remote = d.remote;
    copy_.length = d.length;
    std::copy_n(d.data.begin(), std::min<std::size_t>(copy_.length, shm::kMaxDatagram), copy_.data.begin());
  });
  if (status != shm::RingStatus::Item) return status;
  std::optional<Drop> refused = check();
  if (!refused) {
    const std::size_t marker = copy_.local.port == kNatTPort ? 4 : 0;  // RFC 3948 §2.2
    talks_.sent(ByteView(copy_.data).first(copy_.length).subspan(std::min<std::size_t>(marker, copy_.length)));
    refused = build(emit);
  }
  if (refused) {
    counters_.generated.add(1);
    counters_.drops[static_cast<std::size_t>(*refused)].add(1);
  }
  return status;
}

std::optional<Drop> Injector::check() const {
  const Family family = copy_.local.address.family;
  const bool sound = copy_.length <= shm::kMaxDatagram && (family == Family::V4 || family == Family::V6) &&
                     copy_.remote.address.family == family && copy_.local.vrf < own_.size() &&
                     own_[copy_.local.vrf].contains(copy_.local.address) &&
                     (copy_.local.port == kIkePort || copy_.local.port == kNatTPort) && copy_.remote.port != 0;
  return sound ? std::nullopt : std::optional(Drop::InjectInvalid);
}

std::optional<Drop> Injector::build(const std::function<void(const Packet&)>& emit) {
  const NextHop& hop = fib_.lookup(copy_.local.vrf, copy_.remote.address);
  if (hop.kind != HopKind::OnLink && hop.kind != HopKind::Gateway) return Drop::NoRoute;
  const Family family = copy_.local.address.family;
  std::array<std::uint8_t, kUdpHeaderBytes + shm::kMaxDatagram> udp;
  const std::uint32_t total = kUdpHeaderBytes + copy_.length, mtu = interfaces_[hop.port].mtu;
  store_be16(udp.data(), copy_.local.port);
  store_be16(udp.data() + 2, copy_.remote.port);
  store_be16(udp.data() + 4, static_cast<std::uint16_t>(total));
  store_be16(udp.data() + 6, 0);
  std::copy_n(copy_.data.begin(), copy_.length, udp.begin() + kUdpHeaderBytes);
  ++id_;
  const bool whole = total + front_bytes(family, true) <= mtu;
  const std::uint32_t front = front_bytes(family, whole), step = (mtu - front) & ~7U;
  const auto write = family == Family::V4 ? write_ipv4 : write_ipv6;
  std::array<std::uint8_t, kIpv6HeaderBytes> pseudo;  // a header of the whole, to make the checksum over
  write(pseudo.data(), copy_, {0, total, true}, id_);
  auto sum = static_cast<std::uint16_t>(~upper_sum(family, pseudo.data(), kProtocolUdp, udp.data(), total));
  if (sum == 0) sum = 0xffff;
  std::memcpy(udp.data() + 6, &sum, sizeof sum);
  for (std::uint32_t at = 0; at < total;) {
    const std::uint32_t part = whole ? total : std::min(step, total - at);
    Packet p;
    if (!pool_.allocate(p)) return Drop::NoBuffer;
    if (p.tailroom < part + front) {
      BufferPool::release(nullptr, std::span(&p.handle, 1));
      return Drop::NoBuffer;
    }
    p.resize(part + front);
    write(p.data, copy_, {at, part, at + part == total}, id_);
    std::copy_n(udp.begin() + at, part, p.data + front);
    at += part;
    p.vrf = copy_.local.vrf;
    emit(p);
  }
  return std::nullopt;
}

}  // namespace culvert::dp

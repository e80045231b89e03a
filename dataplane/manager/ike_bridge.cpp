#include "dataplane/manager/ike_bridge.hpp"

#include <algorithm>
#include <cstring>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint8_t kTtl = 64;
constexpr std::uint8_t kTosInternetwork = 0xc0;  // CS6, as routers mark their control traffic

/// UDP's checksum in memory order over pseudo-header and datagram (RFC 768); `datagram` holds its own checksum field.
std::uint16_t udp_sum(std::uint32_t source, std::uint32_t destination, ByteView datagram) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i + 1 < datagram.size(); i += 2) sum += load_be16(datagram.data() + i);
  if (datagram.size() % 2 != 0) sum += std::uint64_t{datagram.back()} << 8;
  sum += (source >> 16) + (source & 0xffff) + (destination >> 16) + (destination & 0xffff) + kProtocolUdp + datagram.size();
  return fold_checksum(sum);
}
}  // namespace

std::optional<Drop> punt(const Packet& p, PuntProducer& ring) {
  const std::uint8_t* udp = p.data + p.l4_offset;
  const std::uint32_t length = load_be16(udp + 4);
  const std::uint32_t payload = length - kUdpHeaderBytes;
  if (payload > shm::kMaxDatagram) return Drop::PuntInvalid;
  const std::uint32_t source = load_be32(p.data + 12);
  const std::uint32_t destination = load_be32(p.data + 16);
  if (load_be16(udp + 6) != 0 && udp_sum(source, destination, {udp, length}) != 0xffff) return Drop::PuntInvalid;
  if (begins_negotiation(p) && ring.room() <= shm::kDatagramSlots / 2) return Drop::PuntFull;
  const bool taken = ring.produce([&](shm::Datagram& d) {
    d.local = {IpAddress::v4(destination), p.destination_port};
    d.remote = {IpAddress::v4(source), p.source_port};
    d.length = payload;
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
  if (!refused) refused = build(emit);
  if (refused) {
    counters_.generated.add(1);
    counters_.drops[static_cast<std::size_t>(*refused)].add(1);
  }
  return status;
}

std::optional<Drop> Injector::check() const {
  const auto own = own_.all();
  const bool sound = copy_.length <= shm::kMaxDatagram && copy_.local.address.family == Family::V4 &&
                     copy_.remote.address.family == Family::V4 && std::find(own.begin(), own.end(), copy_.local.address) != own.end() &&
                     (copy_.local.port == kIkePort || copy_.local.port == kNatTPort) && copy_.remote.port != 0;
  return sound ? std::nullopt : std::optional(Drop::InjectInvalid);
}

std::optional<Drop> Injector::build(const std::function<void(const Packet&)>& emit) {
  const NextHop& hop = fib_.lookup(copy_.remote.address);
  if (hop.kind != HopKind::OnLink && hop.kind != HopKind::Gateway) return Drop::NoRoute;
  const std::uint32_t source = copy_.local.address.v4_host();
  const std::uint32_t destination = copy_.remote.address.v4_host();
  std::array<std::uint8_t, kUdpHeaderBytes + shm::kMaxDatagram> udp;
  const std::uint32_t total = kUdpHeaderBytes + copy_.length;
  store_be16(udp.data(), copy_.local.port);
  store_be16(udp.data() + 2, copy_.remote.port);
  store_be16(udp.data() + 4, static_cast<std::uint16_t>(total));
  store_be16(udp.data() + 6, 0);
  std::copy_n(copy_.data.begin(), copy_.length, udp.begin() + kUdpHeaderBytes);
  const auto sum = static_cast<std::uint16_t>(~udp_sum(source, destination, ByteView(udp).first(total)));
  store_be16(udp.data() + 6, sum == 0 ? 0xffff : sum);
  ++id_;
  const std::uint32_t step = (interfaces_[hop.port].mtu - kIpv4HeaderBytes) & ~7U;
  const bool whole = total + kIpv4HeaderBytes <= interfaces_[hop.port].mtu;
  for (std::uint32_t at = 0; at < total;) {
    const std::uint32_t part = whole ? total : std::min(step, total - at);
    Packet p;
    if (!pool_.allocate(p)) return Drop::NoBuffer;
    if (p.tailroom < part + kIpv4HeaderBytes) {
      BufferPool::release(nullptr, std::span(&p.handle, 1));
      return Drop::NoBuffer;
    }
    p.resize(part + kIpv4HeaderBytes);
    std::uint8_t* ip = p.data;
    std::memset(ip, 0, kIpv4HeaderBytes);
    ip[0] = 0x45;
    ip[1] = kTosInternetwork;
    store_be16(ip + 2, static_cast<std::uint16_t>(p.length));
    store_be16(ip + 4, id_);
    store_be16(ip + 6, static_cast<std::uint16_t>(at / 8 | (at + part < total ? kIpv4Mf : 0U)));
    ip[8] = kTtl;
    ip[9] = kProtocolUdp;
    store_be32(ip + 12, source);
    store_be32(ip + 16, destination);
    set_ipv4_checksum(ip);
    std::copy_n(udp.begin() + at, part, ip + kIpv4HeaderBytes);
    at += part;
    emit(p);
  }
  return std::nullopt;
}

}  // namespace culvert::dp

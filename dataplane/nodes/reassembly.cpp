#include "dataplane/nodes/reassembly.hpp"

#include <algorithm>
#include <cstring>

#include "dataplane/nodes/classify.hpp"
#include "dataplane/sad/suite.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint8_t kEcnMask = 3;
constexpr unsigned kVrfBit = 40;  // in what tells packets apart: a source is one of its VRF

/// The first fragment shows what a packet is: whether it can be IKE, ESP or AH.
bool for_nobody(const Packet& p) {
  const std::uint32_t there = p.length - p.l4_offset;
  if (p.protocol != kProtocolUdp) return there < kEspHeaderBytes;
  return p.ports_hidden || there < kUdpHeaderBytes + 4 || (p.destination_port != kIkePort && p.destination_port != kNatTPort);
}
std::uint32_t folded(const std::uint8_t* address) {
  const std::uint64_t both = load_be64(address) ^ load_be64(address + 8);
  return static_cast<std::uint32_t>(both ^ both >> 32);
}
std::uint64_t addresses_of(const Packet& p) {
  if (p.family == Family::V4) return std::uint64_t{load_be32(p.data + 12)} << 32 | load_be32(p.data + 16);
  return std::uint64_t{folded(p.data + 8)} << 32 | folded(p.data + 24);
}

/// What the IP header says of a fragment.
struct Said {
  std::uint32_t begin = 0;
  bool more = false;
  std::uint64_t id = 0;  ///< with the protocol, and the VRF
};
Said said_by(const Packet& p) {
  const std::uint64_t protocol = std::uint64_t{p.protocol} << 32 | std::uint64_t{p.vrf} << kVrfBit;
  if (p.family == Family::V4) {
    const std::uint16_t field = load_be16(p.data + 6);
    return {(field & kIpv4OffsetMask) * 8U, (field & kIpv4Mf) != 0, protocol | load_be16(p.data + 4)};
  }
  // The fragment header stands right in front of ESP, AH or UDP, or of a later part of it.
  const std::uint8_t* header = p.data + p.l4_offset - kFragmentHeaderBytes;
  const std::uint16_t field = load_be16(header + 2);
  return {field & 0xfff8U, (field & 1U) != 0, protocol | load_be32(header + 4)};
}
}  // namespace

Reassembly::Reassembly(Buffers buffers) : buffers_(std::move(buffers)), all_(std::make_unique<std::array<Making, kMaxPackets>>()) {
  static_assert(kMaxPackets <= 256);
  for (std::size_t i = 0; i < kMaxPackets; ++i) order_[i] = static_cast<std::uint8_t>(i);
}

Reassembly::~Reassembly() {
  while (size_ != 0) end(0);
}

/// Takes it out of those in the making; its place is the first of the free ones.
void Reassembly::forget(std::size_t place) {
  const auto from = static_cast<std::ptrdiff_t>(place), until = static_cast<std::ptrdiff_t>(size_);
  std::rotate(order_.begin() + from, order_.begin() + from + 1, order_.begin() + until);
  std::rotate(addresses_.begin() + from, addresses_.begin() + from + 1, addresses_.begin() + until);
  --size_;
}

std::size_t Reassembly::end(std::size_t place) {
  const std::size_t parts = at(place).parts;
  buffers_.release(at(place).buffer.handle);
  forget(place);
  return parts;
}

std::size_t Reassembly::find_or_make(const Packet& p, std::uint64_t now, std::size_t& ended) {
  const std::uint64_t addresses = addresses_of(p);
  const std::uint64_t id = said_by(p).id;
  const IpAddress source = source_of(p), destination = destination_of(p);
  std::size_t of_source = 0, oldest = 0;
  for (std::size_t i = 0; i < size_; ++i) {
    if (addresses_[i] >> 32 != addresses >> 32 || (at(i).id ^ id) >> kVrfBit != 0) continue;
    if (addresses_[i] == addresses && at(i).id == id && at(i).source == source && at(i).destination == destination) return i;
    if (of_source++ == 0) oldest = i;
  }
  if (of_source >= kMaxOfSource) {
    ended += end(oldest);
  } else if (size_ == kMaxPackets) {
    ended += end(0);
  }
  Making& m = at(size_);
  m = {.id = id, .source = source, .destination = destination, .since = now};
  if (!buffers_.allocate(m.buffer)) return kNowhere;
  if (m.buffer.tailroom < kBufferBytes) {
    buffers_.release(m.buffer.handle);
    return kNowhere;
  }
  addresses_[size_] = addresses;
  return size_++;
}

/// What is behind the header stands where it would behind the longest header; the first fragment's header ends there.
void Reassembly::take(Making& m, const Packet& p, Part part) {
  m.part[m.parts++] = part;
  m.there += part.end - part.begin;
  m.reached = std::max(m.reached, part.end);
  m.congested |= (traffic_class(p) & kEcnMask) == kEcnMask;
  std::memcpy(m.buffer.data + kHeaderRoom + part.begin, p.data + p.l4_offset, part.end - part.begin);
  if (part.begin != 0) return;
  m.header_bytes = static_cast<std::uint8_t>(p.family == Family::V4 ? p.l4_offset : kIpv6HeaderBytes);
  std::memcpy(m.buffer.data + kHeaderRoom - m.header_bytes, p.data, m.header_bytes);
  if (p.family == Family::V6) m.buffer.data[kHeaderRoom - kIpv6HeaderBytes + 6] = p.protocol;
}

Packet Reassembly::finished(Making& m) const {
  Packet whole = m.buffer;
  whole.resize(kHeaderRoom + m.total);
  whole.pull(kHeaderRoom - m.header_bytes);
  whole.family = m.source.family;
  whole.l4_offset = m.header_bytes;
  if (whole.family == Family::V4) {
    store_be16(whole.data + 2, static_cast<std::uint16_t>(whole.length));
    store_be16(whole.data + 6, 0);
    set_ipv4_checksum(whole.data, m.header_bytes);
  } else {
    store_be16(whole.data + 4, static_cast<std::uint16_t>(m.total));
  }
  if (m.congested) set_traffic_class(whole, traffic_class(whole) | kEcnMask);
  return whole;
}

Reassembly::Result Reassembly::add(const Packet& p, std::uint64_t now) {
  const auto [begin, more, id] = said_by(p);
  const std::uint32_t length = p.length - p.l4_offset, until = begin + length;
  if (length == 0 || (more && length % 8 != 0) || until > kMaxBytes || (begin == 0 && for_nobody(p))) return {.ended = 1};
  Result out;
  const std::size_t place = find_or_make(p, now, out.ended);
  if (place == kNowhere) {
    ++out.ended;
    return out;
  }
  Making& m = at(place);
  const auto parts = std::span(m.part).first(m.parts);
  if (std::ranges::any_of(parts, [&](const Part& part) { return part.begin == begin && part.end == until; })) {
    out.used = 1;
    return out;
  }
  const bool overlaps = std::ranges::any_of(parts, [&](const Part& part) { return begin < part.end && part.begin < until; });
  const bool beyond = m.total != 0 ? !more || until > m.total : !more && m.reached > until;
  if (overlaps || beyond || m.parts == kMaxParts) {
    out.ended += end(place) + 1;
    return out;
  }
  if (!more) m.total = until;
  take(m, p, {begin, until});
  if (m.total == 0 || m.there != m.total) return out;
  out.whole = true;
  out.packet = finished(m);
  out.packet.rx_port = p.rx_port;
  out.packet.vrf = p.vrf;
  out.used = m.parts;
  forget(place);
  return out;
}

std::size_t Reassembly::fragments() const {
  std::size_t n = 0;
  for (std::size_t place = 0; place < size_; ++place) n += (*all_)[order_[place]].parts;
  return n;
}

std::size_t Reassembly::expire(std::uint64_t now) {
  std::size_t ended = 0;
  while (size_ != 0 && (*all_)[order_[0]].since + kLife <= now) ended += end(0);
  return ended;
}

}  // namespace culvert::dp

#include "dataplane/manager/reassembly.hpp"

#include <algorithm>
#include <cstring>

#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint32_t kMaxBytes = kUdpHeaderBytes + shm::kMaxDatagram;

/// The first fragment shows the ports, and those of IKE what is behind them.
bool not_ike(const Packet& p) {
  if (p.ports_hidden || p.length - p.l4_offset < kUdpHeaderBytes + 4) return true;
  if (p.destination_port == kIkePort) return false;
  return p.destination_port != kNatTPort || load_be32(p.data + p.l4_offset + kUdpHeaderBytes) != 0;
}

Reassembly::Whole with_header(std::uint32_t source, std::uint32_t destination, std::uint16_t id, std::span<const std::uint8_t> udp) {
  Reassembly::Whole out(kIpv4HeaderBytes + udp.size());
  out[0] = 0x45;
  store_be16(out.data() + 2, static_cast<std::uint16_t>(out.size()));
  store_be16(out.data() + 4, id);
  out[8] = 1;
  out[9] = kProtocolUdp;
  store_be32(out.data() + 12, source);
  store_be32(out.data() + 16, destination);
  set_ipv4_checksum(out.data());
  std::copy(udp.begin(), udp.end(), out.begin() + kIpv4HeaderBytes);
  return out;
}
}  // namespace

std::size_t Reassembly::end(Place place) {
  const std::size_t parts = place->parts.size();
  datagrams_.erase(place);
  return parts;
}

Reassembly::Place Reassembly::find_or_make(const Packet& p, std::uint64_t now, std::size_t& ended) {
  const std::uint32_t source = load_be32(p.data + 12), destination = load_be32(p.data + 16);
  const std::uint16_t id = load_be16(p.data + 4);
  std::size_t of_source = 0;
  Place oldest = datagrams_.end();
  for (Place d = datagrams_.begin(); d != datagrams_.end(); ++d) {
    if (d->source != source) continue;
    if (d->destination == destination && d->id == id) return d;
    if (of_source++ == 0) oldest = d;
  }
  if (of_source >= kMaxOfSource) {
    ended += end(oldest);
  } else if (datagrams_.size() >= kMaxDatagrams) {
    ended += end(datagrams_.begin());
  }
  return datagrams_.insert(datagrams_.end(), {.source = source, .destination = destination, .id = id, .since = now});
}

Reassembly::Result Reassembly::add(const Packet& p, std::uint64_t now) {
  const std::uint16_t field = load_be16(p.data + 6);
  const std::uint32_t begin = (field & kIpv4OffsetMask) * 8U, length = p.length - p.l4_offset, until = begin + length;
  const bool more = (field & kIpv4Mf) != 0;
  Result out;
  if (length == 0 || (more && length % 8 != 0) || until > kMaxBytes || (begin == 0 && not_ike(p))) return {.ended = 1};
  const Place d = find_or_make(p, now, out.ended);
  const auto same = [&](const Part& part) { return part.begin == begin && part.end == until; };
  if (std::any_of(d->parts.begin(), d->parts.end(), same)) {
    out.used = 1;
    return out;
  }
  const bool overlaps =
      std::any_of(d->parts.begin(), d->parts.end(), [&](const Part& part) { return begin < part.end && part.begin < until; });
  const bool beyond = d->total != 0 ? !more || until > d->total : !more && d->bytes.size() > until;
  if (overlaps || beyond || d->parts.size() >= kMaxParts) {
    out.ended += end(d) + 1;
    return out;
  }
  if (!more) d->total = until;
  d->parts.push_back({begin, until});
  if (d->bytes.size() < until) d->bytes.resize(until);
  std::memcpy(d->bytes.data() + begin, p.data + p.l4_offset, length);
  std::uint32_t there = 0;
  for (const Part& part : d->parts) there += part.end - part.begin;
  if (d->total == 0 || there != d->total) return out;
  out.whole = with_header(d->source, d->destination, d->id, d->bytes);
  out.used = d->parts.size();
  datagrams_.erase(d);
  return out;
}

std::size_t Reassembly::expire(std::uint64_t now) {
  std::size_t ended = 0;
  while (!datagrams_.empty() && datagrams_.front().since + kLife <= now) ended += end(datagrams_.begin());
  return ended;
}

}  // namespace culvert::dp

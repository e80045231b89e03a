#include "dataplane/sad/sa_store.hpp"

#include <algorithm>
#include <new>

#include <sys/mman.h>

#include "common/huge_array.hpp"
#include "common/secret.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

namespace {
constexpr std::size_t kChunkObjects = 32, kSmallChunks = 4;
constexpr std::size_t kPage = 4096;
constexpr std::uint8_t kOuterTtl = 64;        // RFC 1700's default
constexpr std::uint32_t kFirstFreeSpi = 256;  // RFC 4303 §2.1
constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
}  // namespace

// An odd number of lines, so that the same line of many objects does not ask for the same few places in a cache.
SaArena::SaArena(std::size_t object_bytes) : object_bytes_(round_up(object_bytes, 64) | 64) {}

SaArena::~SaArena() {
  for (const Chunk& c : chunks_) {
    wipe({static_cast<std::uint8_t*>(c.base), c.bytes});
    ::munmap(c.base, c.bytes);
  }
}

void* SaArena::allocate() {
  if (free_.empty()) {
    // Few SAs take little; many lie on large pages.
    const std::size_t bytes = chunks_.size() < kSmallChunks ? round_up(object_bytes_ * kChunkObjects, kPage) : kHugePage;
    void* base = map_pages(bytes);
    if (base == nullptr) return nullptr;
    locked_ = ::mlock(base, bytes) == 0 && locked_;
    locked_ = ::madvise(base, bytes, MADV_DONTDUMP) == 0 && locked_;
    chunks_.push_back({base, bytes});
    const std::size_t objects = bytes / object_bytes_;
    free_.reserve(free_.size() + chunks_.size() * objects);
    for (std::size_t i = objects; i-- > 0;) free_.push_back(static_cast<std::uint8_t*>(base) + i * object_bytes_);
  }
  void* object = free_.back();
  free_.pop_back();
  return object;
}

void SaArena::free(void* object) {
  wipe({static_cast<std::uint8_t*>(object), object_bytes_});
  free_.push_back(object);
}

SaArena& inbound_arena() {
  static SaArena arena(sizeof(InboundSa));
  return arena;
}
SaArena& outbound_arena() {
  static SaArena arena(sizeof(OutboundSa));
  return arena;
}

void SaDeleter::operator()(InboundSa* sa) const {
  sa->~InboundSa();
  inbound_arena().free(sa);
}
void SaDeleter::operator()(OutboundSa* sa) const {
  sa->~OutboundSa();
  outbound_arena().free(sa);
}

namespace {
using shm::AckResult;

/// What both directions check and fill in.
template <class Sa>
AckResult prepare_common(const shm::InstallSa& m, std::uint32_t capacity, CryptoEngine& engine, const SaPlacement& placement, Sa& sa) {
  if (m.slot >= capacity || m.spi.value < kFirstFreeSpi || placement.counters == nullptr) return AckResult::BadMessage;
  if (m.encr_key_bytes > m.encr_key.size() || m.integ_key_bytes > m.integ_key.size()) return AckResult::BadMessage;
  if ((m.local.port == 0) != (m.remote.port == 0)) return AckResult::BadMessage;
  const auto known = [](Family f) { return f == Family::V4 || f == Family::V6; };
  if (!known(m.local.address.family) || !known(m.local_ts.first.family)) return AckResult::Unsupported;
  if (m.local.address.family != m.remote.address.family) return AckResult::BadMessage;
  if (!m.more.sound() || m.remote_ts.first.family != m.local_ts.first.family) return AckResult::BadMessage;
  const auto fits = [&](const TrafficSelector& ts) {
    return known(ts.first.family) && ts.last.family == ts.first.family && ts.first <= ts.last && ts.port_first <= ts.port_last &&
           (m.mode != SaMode::Transport || ts.first.family == m.local.address.family);
  };
  if (!fits(m.local_ts) || !fits(m.remote_ts) || !std::ranges::all_of(m.more.local(), fits) || !std::ranges::all_of(m.more.remote(), fits))
    return AckResult::BadMessage;
  if (m.mode == SaMode::Transport && m.vrf != m.local.vrf) return AckResult::BadMessage;
  const auto geometry = esp_geometry(m.suite);
  if (!geometry || (m.mode != SaMode::Tunnel && m.mode != SaMode::Transport)) return AckResult::Unsupported;
  if (!valid(m.rules)) return AckResult::BadMessage;
  const bool hides = m.rules.tfc_padding != PacketRules::kOff || m.rules.dummy_interval.count() != 0;
  if (hides && (geometry->ah || m.mode == SaMode::Transport)) return AckResult::BadMessage;
  if (geometry->ah && m.local.port != 0) return AckResult::BadMessage;  // AH covers what a NAT changes (RFC 3947 §1)
  if (!engine.expand(m.suite, ByteView(m.encr_key).first(m.encr_key_bytes), ByteView(m.integ_key).first(m.integ_key_bytes), sa.keys))
    return AckResult::BadMessage;
  sa.spi = m.spi;
  sa.geometry = *geometry;
  sa.key_lines = sa.keys.lines;
  sa.geometry.transport = m.mode == SaMode::Transport;
  sa.worker = static_cast<std::uint8_t>(placement.worker);
  sa.spread = m.rules.spread == SpreadCrypto::Yes;
  sa.udp = m.local.port != 0;
  sa.outer_protocol = sa.udp ? kProtocolUdp : geometry->ah ? kProtocolAh : kProtocolEsp;
  sa.outer_family = m.local.address.family;
  sa.outer_vrf = m.local.vrf;
  sa.remote_port = m.direction == Direction::Inbound ? m.remote.port : std::uint16_t{0};
  sa.local_port = m.local.port;
  sa.counters = placement.counters;
  sa.soft = m.soft;
  sa.hard = m.hard;
  sa.manager.slot = m.slot;
  sa.policy = m.policy;
  sa.manager.pair = m.pair;
  sa.manager.installed_ns = placement.now_ns;
  sa.manager.outer_family = sa.outer_family;
  sa.manager.udp = sa.udp;
  sa.reach_mark();
  return AckResult::Ok;
}

/// What the outer header is about. `To` is an OutboundSa or a Relocation.
struct Outer {
  const Endpoint &local, &remote;
  Spi spi;
  const EspGeometry& geometry;
};

template <class To>
void write_ipv4(const Outer& m, To& to) {
  std::uint8_t* h = to.header.data();
  h[0] = 0x45;
  h[8] = kOuterTtl;
  h[9] = to.outer_protocol;
  std::copy_n(m.local.address.bytes.begin(), 4, h + 12);
  std::copy_n(m.remote.address.bytes.begin(), 4, h + 16);
  to.checksum_base = 0;
  for (std::size_t i = 0; i < kIpv4HeaderBytes - 4; i += 2) to.checksum_base += load_be16(h + i);
}

/// One flow label for all that goes under the SA, which routers balance by (RFC 6437 §3): it tells nothing of the flows inside.
template <class To>
void write_ipv6(const Outer& m, To& to) {
  std::uint8_t* h = to.header.data();
  store_be32(h, 0x60000000U | (m.spi.value * 0x9e3779b1U) >> 12);
  h[6] = to.outer_protocol;
  h[7] = kOuterTtl;
  std::copy_n(m.local.address.bytes.begin(), 16, h + 8);
  std::copy_n(m.remote.address.bytes.begin(), 16, h + 24);
}

/// IP, UDP if any, and ESP or AH as far as the SPI (RFC 4301 §5.1.2.1: the fields that do not depend on the packet).
template <class To>
void write_header(const Outer& m, To& to) {
  std::uint8_t* h = to.header.data();
  to.ip_bytes = static_cast<std::uint8_t>(ip_header_bytes(to.outer_family));
  if (to.outer_family == Family::V4) {
    write_ipv4(m, to);
  } else {
    write_ipv6(m, to);
  }
  std::uint8_t* esp = h + to.ip_bytes;
  if (to.udp) {  // RFC 3948 §2.1; the checksum stays 0 over IPv4, and so does a marker
    store_be16(esp, m.local.port);
    store_be16(esp + 2, m.remote.port);
    esp += udp_esp_bytes(m.local.port);
  }
  if (m.geometry.ah) {  // RFC 4302 §2: next header, length in words less two, two bytes of zero
    esp[1] = static_cast<std::uint8_t>(ah_bytes(m.geometry, to.outer_family) / 4U - 2U);
    esp += kAhHeaderBytes - kEspHeaderBytes;
  }
  store_be32(esp, m.spi.value);
  to.header_bytes = static_cast<std::uint8_t>(esp + kEspHeaderBytes - h);
}

/// What is not the same in every packet: RFC 4301 §5.1.2.1, RFC 6040 §4.1.
void apply_rules(const PacketRules& r, OutboundSa& sa) {
  constexpr std::uint8_t kDscp = 0xfc, kEcn = 0x03;
  const bool dscp = r.dscp == CopyDscp::Out || r.dscp == CopyDscp::Yes;
  sa.class_mask = static_cast<std::uint8_t>((dscp ? kDscp : 0) | (r.ecn == CopyEcn::Yes ? kEcn : 0));
  sa.df_copied = r.df == CopyDf::Yes ? kIpv4Df : std::uint16_t{0};
  sa.df_set = r.df == CopyDf::Set ? kIpv4Df : std::uint16_t{0};
  sa.cut_after = r.cut == CutWhen::After;
  sa.mss = r.mss;
  sa.tfc_padding = r.tfc_padding;
  sa.manager.dummy_ns = static_cast<std::uint64_t>(r.dummy_interval.count()) * 1'000'000;
  sa.pad_to = r.tfc_padding == PacketRules::kByMtu ? 0U : r.tfc_padding;  // until the owner knows what fits
}

/// What a checksum over the original addresses lacks to be one over those that stand in our packets.
std::uint16_t checksum_repair(const shm::InstallSa& m) {
  std::uint64_t sum = 0;
  const auto add = [&](const IpAddress& original, const IpAddress& seen) {
    if (original.family != seen.family) return;
    for (std::size_t i = 0; i < seen.size(); i += 2) sum += load_be16(&seen.bytes[i]) + (0xffffU - load_be16(&original.bytes[i]));
  };
  add(m.original_remote, m.remote.address);
  add(m.original_local, m.local.address);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff ? std::uint16_t{0} : static_cast<std::uint16_t>(sum);
}

/// nullptr: the first of each side are all there are.
std::unique_ptr<const MoreSides> more_sides(const shm::InstallSa& m) {
  if (!m.more.any()) return nullptr;
  auto out = std::make_unique<MoreSides>();
  const auto add = [](std::vector<MoreSides::Side>& to, const TrafficSelector& first, std::span<const TrafficSelector> others) {
    to.push_back({PreparedSelector::from(first), RangeV6::from(first)});
    for (const TrafficSelector& ts : others) to.push_back({PreparedSelector::from(ts), RangeV6::from(ts)});
  };
  const bool in = m.direction == Direction::Inbound;
  add(in ? out->destinations : out->sources, m.local_ts, m.more.local());
  add(in ? out->sources : out->destinations, m.remote_ts, m.more.remote());
  return out;
}

template <class Sa>
SaPtr<Sa> allocate(SaArena& arena) {
  void* memory = arena.allocate();
  return SaPtr<Sa>(memory == nullptr ? nullptr : new (memory) Sa());
}
}  // namespace

std::expected<SaPtr<InboundSa>, AckResult> make_inbound(const shm::InstallSa& m, std::uint32_t capacity, CryptoEngine& engine,
                                                        const SaPlacement& placement) {
  if (m.direction != Direction::Inbound || !ReplayWindow::valid_size(m.replay_window)) return std::unexpected(AckResult::BadMessage);
  if ((m.spi.value & (capacity - 1)) != m.slot) return std::unexpected(AckResult::BadMessage);
  auto sa = allocate<InboundSa>(inbound_arena());
  if (sa == nullptr) return std::unexpected(AckResult::NoMemory);
  if (const auto r = prepare_common(m, capacity, engine, placement, *sa); r != AckResult::Ok) return std::unexpected(r);
  sa->match.remote_address = m.remote.address.bytes;
  sa->match.local_address = m.local.address.bytes;
  sa->match.source = PreparedSelector::from(m.remote_ts);
  sa->match.destination = PreparedSelector::from(m.local_ts);
  sa->match.source_v6 = RangeV6::from(m.remote_ts);
  sa->match.destination_v6 = RangeV6::from(m.local_ts);
  sa->more = more_sides(m);
  sa->vrf = m.vrf;
  sa->replay = ReplayWindow(m.replay_window);
  if (m.mode == SaMode::Transport) sa->checksum_repair = checksum_repair(m);
  sa->follows = m.follow && sa->udp;
  sa->copy_dscp = m.rules.dscp == CopyDscp::In || m.rules.dscp == CopyDscp::Yes;
  return sa;
}

std::expected<SaPtr<OutboundSa>, AckResult> make_outbound(const shm::InstallSa& m, std::uint32_t capacity, CryptoEngine& engine,
                                                          const SaPlacement& placement) {
  if (m.direction != Direction::Outbound) return std::unexpected(AckResult::BadMessage);
  auto sa = allocate<OutboundSa>(outbound_arena());
  if (sa == nullptr) return std::unexpected(AckResult::NoMemory);
  if (const auto r = prepare_common(m, capacity, engine, placement, *sa); r != AckResult::Ok) return std::unexpected(r);
  sa->source = PreparedSelector::from(m.local_ts);
  sa->destination = PreparedSelector::from(m.remote_ts);
  sa->source_v6 = RangeV6::from(m.local_ts);
  sa->destination_v6 = RangeV6::from(m.remote_ts);
  sa->more = more_sides(m);
  set_peer(*sa, m.remote);
  write_header(Outer{m.local, m.remote, m.spi, sa->geometry}, *sa);
  apply_rules(m.rules, *sa);
  return sa;
}

namespace {
/// nullptr: the SA cannot be there.
template <class Sa>
std::unique_ptr<Relocation> relocation_of(const shm::MoveSa& m, const Sa& sa) {
  const Family family = m.local.address.family;
  if ((family != Family::V4 && family != Family::V6) || m.remote.address.family != family || m.local.vrf != sa.outer_vrf ||
      m.remote.vrf != sa.outer_vrf || (m.local.port == 0) != (m.remote.port == 0))
    return nullptr;
  if (sa.geometry.transport || (sa.geometry.ah && m.local.port != 0)) return nullptr;
  auto out = std::make_unique<Relocation>();
  out->number = sa.manager.relocation ? sa.manager.relocation->number + 1 : 1;
  out->outer_family = family;
  out->udp = m.local.port != 0;
  out->outer_protocol = out->udp ? kProtocolUdp : sa.geometry.ah ? kProtocolAh : kProtocolEsp;
  out->local_port = m.local.port;
  return out;
}

/// What the SA had to go by before is given to whoever frees it when no worker looks at it any more.
template <class Sa>
std::unique_ptr<const Relocation> publish(Sa& sa, std::unique_ptr<Relocation> to) {
  sa.manager.outer_family = to->outer_family;
  sa.manager.udp = to->udp;
  sa.relocation.store(to.get(), std::memory_order_release);
  return std::exchange(sa.manager.relocation, std::move(to));
}
}  // namespace

std::expected<std::unique_ptr<const Relocation>, AckResult> relocate(const shm::MoveSa& m, InboundSa& sa) {
  auto to = relocation_of(m, sa);
  if (!to) return std::unexpected(AckResult::BadMessage);
  to->remote_port = m.remote.port;
  to->remote_address = m.remote.address.bytes;
  to->local_address = m.local.address.bytes;
  to->follows = m.follow && to->udp;
  return publish(sa, std::move(to));
}

std::expected<std::unique_ptr<const Relocation>, AckResult> relocate(const shm::MoveSa& m, OutboundSa& sa) {
  auto to = relocation_of(m, sa);
  if (!to) return std::unexpected(AckResult::BadMessage);
  write_header(Outer{m.local, m.remote, m.spi, sa.geometry}, *to);
  set_peer(sa, m.remote);
  auto before = publish(sa, std::move(to));
  sa.halt.fetch_or(SaBase::kRelocated, std::memory_order_release);
  return before;
}

}  // namespace culvert::dp

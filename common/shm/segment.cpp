#include "common/shm/segment.hpp"

#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace culvert::shm {

namespace {
constexpr std::size_t kPage = 4096;
constexpr std::size_t round_up(std::size_t n) { return (n + kPage - 1) / kPage * kPage; }

struct Offsets {
  std::size_t rings, inbound, outbound, workers, ports, manager, captures, awaited, total;
};
Offsets offsets(const SegmentHeader& h) {
  Offsets o{};
  o.rings = kPage;
  o.inbound = o.rings + round_up(sizeof(SegmentRings));
  o.outbound = o.inbound + round_up(sizeof(SaRecord) * h.sa_capacity);
  o.workers = o.outbound + round_up(sizeof(SaRecord) * h.sa_capacity);
  o.ports = o.workers + round_up(sizeof(WorkerCounters) * h.workers);
  o.manager = o.ports + round_up(sizeof(PortCounters) * h.ports);
  o.captures = o.manager + round_up(sizeof(ManagerCounters));
  o.awaited = o.captures + round_up(sizeof(CaptureRing) * h.workers);
  o.total = o.awaited + round_up(sizeof(std::atomic<std::uint32_t>) * h.sa_capacity);
  return o;
}
static_assert(sizeof(SegmentHeader) <= kPage);

bool sane(const SegmentHeader& h) {
  return h.workers >= 1 && h.workers <= kMaxWorkers && h.ports <= kMaxPorts + kMaxVlans && std::has_single_bit(h.sa_capacity) &&
         h.sa_capacity <= kMaxSaCapacity;
}

std::unexpected<std::string> errno_error(const char* what) { return std::unexpected(std::string(what) + ": " + std::strerror(errno)); }

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

std::expected<void*, std::string> map(int fd, std::size_t bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return errno_error("cannot map the segment");
  ::madvise(base, bytes, MADV_DONTDUMP);
  // Only the rings carry keys. Failing to lock (RLIMIT_MEMLOCK) is not fatal: they are wiped within milliseconds.
  (void)::mlock(static_cast<char*>(base) + kPage, sizeof(CommandRing));
  return base;
}
}  // namespace

std::uint64_t layout_hash() {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::size_t v : std::initializer_list<std::size_t>{kContractVersion,
                                                                sizeof(SegmentHeader),
                                                                sizeof(SegmentRings),
                                                                sizeof(SaRecord),
                                                                sizeof(WorkerCounters),
                                                                sizeof(PortCounters),
                                                                sizeof(ManagerCounters),
                                                                sizeof(Message),
                                                                sizeof(Datagram),
                                                                sizeof(InstallSa),
                                                                sizeof(InstallPolicy),
                                                                sizeof(RemoveSa),
                                                                sizeof(Ack),
                                                                sizeof(Acquire),
                                                                sizeof(Expire),
                                                                sizeof(TracePacket),
                                                                sizeof(Traced),
                                                                sizeof(Capture),
                                                                sizeof(CaptureRing),
                                                                offsetof(Captured, data),
                                                                sizeof(SaCounters),
                                                                offsetof(InstallSa, local),
                                                                offsetof(InstallSa, local_ts),
                                                                offsetof(InstallSa, suite),
                                                                offsetof(InstallSa, encr_key),
                                                                offsetof(InstallSa, integ_key),
                                                                offsetof(InstallSa, soft),
                                                                offsetof(InstallSa, rules),
                                                                offsetof(InstallSa, name),
                                                                offsetof(InstallSa, more),
                                                                offsetof(InstallSa, worker),
                                                                offsetof(InstallPolicy, more),
                                                                offsetof(SaRecord, more),
                                                                offsetof(SaRecord, counters),
                                                                offsetof(SaRecord, name),
                                                                offsetof(SegmentRings, event),
                                                                offsetof(SegmentRings, punt),
                                                                offsetof(SegmentRings, inject),
                                                                offsetof(Datagram, data),
                                                                sizeof(TrafficSelector),
                                                                sizeof(Endpoint),
                                                                std::size_t{kCommandSlots},
                                                                std::size_t{kEventSlots},
                                                                std::size_t{kDatagramSlots},
                                                                kDropReasons}) {
    for (int i = 0; i < 8; ++i) {
      hash ^= (v >> (8 * i)) & 0xff;
      hash *= 0x100000001b3;
    }
  }
  return hash;
}

std::expected<Segment, std::string> Segment::create(std::uint32_t workers, std::uint32_t ports, std::uint32_t sa_capacity,
                                                    std::uint64_t vrfs) {
  SegmentHeader h{};
  h.magic = kSegmentMagic;
  h.version = kContractVersion;
  h.workers = workers;
  h.ports = ports;
  h.sa_capacity = sa_capacity;
  h.vrfs = vrfs;
  h.layout_hash = layout_hash();
  if (!sane(h)) return std::unexpected("segment: workers, ports or SA capacity out of range");
  h.total_bytes = offsets(h).total;
  if (::getrandom(&h.boot_id, sizeof h.boot_id, 0) != sizeof h.boot_id) return errno_error("getrandom");
  const int fd = ::memfd_create("culvert-segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return errno_error("memfd_create");
  if (::ftruncate(fd, static_cast<off_t>(h.total_bytes)) != 0 || ::fcntl(fd, F_ADD_SEALS, kSeals) != 0) {
    auto error = errno_error("cannot size and seal the segment");
    ::close(fd);
    return error;
  }
  const auto base = map(fd, h.total_bytes);
  if (!base) {
    ::close(fd);
    return std::unexpected(base.error());
  }
  std::memcpy(*base, &h, sizeof h);
  return Segment(fd, *base, h);
}

std::expected<Segment, std::string> Segment::attach(int fd) {
  const auto refuse = [fd](std::string why) {
    ::close(fd);
    return std::unexpected("segment refused: " + std::move(why));
  };
  struct stat st{};
  SegmentHeader h{};
  if (::fstat(fd, &st) != 0 || ::pread(fd, &h, sizeof h, 0) != sizeof h) return refuse("unreadable");
  if ((::fcntl(fd, F_GET_SEALS) & kSeals) != kSeals) return refuse("not sealed");
  if (h.magic != kSegmentMagic) return refuse("wrong magic");
  if (h.version != kContractVersion || h.layout_hash != layout_hash())
    return refuse("another version of culvert-dataplane (contract " + std::to_string(h.version) + ", ours " +
                  std::to_string(kContractVersion) + "); install both from the same build");
  if (!sane(h) || h.total_bytes != offsets(h).total || st.st_size != static_cast<off_t>(h.total_bytes)) return refuse("wrong size");
  const auto base = map(fd, h.total_bytes);
  if (!base) return refuse(base.error());
  return Segment(fd, *base, h);
}

Segment::Segment(Segment&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), base_(std::exchange(other.base_, nullptr)), header_(other.header_) {}

Segment& Segment::operator=(Segment&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(base_, other.base_);
  std::swap(header_, other.header_);
  return *this;
}

Segment::~Segment() {
  if (base_ != nullptr) ::munmap(base_, header_.total_bytes);
  if (fd_ >= 0) ::close(fd_);
}

SegmentRings& Segment::rings() const { return *reinterpret_cast<SegmentRings*>(static_cast<std::byte*>(base_) + offsets(header_).rings); }

std::span<SaRecord> Segment::records(Direction direction) const {
  const Offsets o = offsets(header_);
  auto* first = static_cast<std::byte*>(base_) + (direction == Direction::Inbound ? o.inbound : o.outbound);
  return {reinterpret_cast<SaRecord*>(first), header_.sa_capacity};
}
std::span<WorkerCounters> Segment::workers() const {
  return {reinterpret_cast<WorkerCounters*>(static_cast<std::byte*>(base_) + offsets(header_).workers), header_.workers};
}
std::span<PortCounters> Segment::ports() const {
  return {reinterpret_cast<PortCounters*>(static_cast<std::byte*>(base_) + offsets(header_).ports), header_.ports};
}
ManagerCounters& Segment::manager() const {
  return *reinterpret_cast<ManagerCounters*>(static_cast<std::byte*>(base_) + offsets(header_).manager);
}

std::span<CaptureRing> Segment::captures() const {
  return {reinterpret_cast<CaptureRing*>(static_cast<std::byte*>(base_) + offsets(header_).captures), header_.workers};
}

std::span<std::atomic<std::uint32_t>> Segment::awaited() const {
  return {reinterpret_cast<std::atomic<std::uint32_t>*>(static_cast<std::byte*>(base_) + offsets(header_).awaited), header_.sa_capacity};
}

void Segment::reset_rings() { ::explicit_bzero(static_cast<void*>(&rings()), sizeof(SegmentRings)); }

bool read_record(const SaRecord& r, SaSnapshot& out) {
  constexpr int kTries = 1000;  // a writer holds the lock for well under a microsecond
  for (int i = 0; i < kTries; ++i) {
    const std::uint32_t before = r.version.load(std::memory_order_acquire);
    if (before & 1U) continue;
    out = {r.spi,  r.slot,         r.policy, r.pair,      r.local,   r.remote, r.local_ts, r.remote_ts, r.suite,    r.mode, r.soft,
           r.hard, r.installed_ns, r.worker, r.direction, r.current, r.name,   r.peer,     r.mtu,       r.path_mtu, r.vrf,  r.more};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (r.version.load(std::memory_order_relaxed) == before) return out.spi.value != 0 && out.more.sound();
  }
  return false;
}

void write_record(SaRecord& r, const SaSnapshot& v) {
  const std::uint32_t before = r.version.load(std::memory_order_relaxed);
  r.version.store(before + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  r.spi = v.spi;
  r.slot = v.slot;
  r.policy = v.policy;
  r.pair = v.pair;
  r.local = v.local;
  r.remote = v.remote;
  r.local_ts = v.local_ts;
  r.remote_ts = v.remote_ts;
  r.suite = v.suite;
  r.mode = v.mode;
  r.soft = v.soft;
  r.hard = v.hard;
  r.installed_ns = v.installed_ns;
  r.worker = v.worker;
  r.direction = v.direction;
  r.current = v.current;
  r.name = v.name;
  r.peer = v.peer;
  r.mtu = v.mtu;
  r.path_mtu = v.path_mtu;
  r.vrf = v.vrf;
  r.more = v.more;
  r.version.store(before + 2, std::memory_order_release);
}

}  // namespace culvert::shm

#include "tests/bench/path.hpp"

#include <array>
#include <stdexcept>

#include <pcap/pcap.h>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::bench {

namespace {
using namespace culvert::dp;

constexpr std::uint32_t kCapacity = 16;
constexpr std::uint32_t kSpi = 0xc0ffee05;
constexpr std::uint16_t kMtu = 1500;
constexpr unsigned kHosts = 16;  // on either side
constexpr std::uint16_t kPcapPort = 0, kNullPort = 1;
constexpr std::array<std::uint8_t, 6> kOurMac{2, 0, 0, 0, 0, 1}, kOtherMac{2, 0, 0, 0, 0, 2};

template <class T, class E>
T must(std::expected<T, E> value, const char* what) {
  if (value) return *std::move(value);
  if constexpr (std::is_same_v<E, std::string>) throw std::runtime_error(std::string(what) + ": " + value.error());
  throw std::runtime_error(what);
}
TrafficSelector net(const char* text) { return must(TrafficSelector::parse(text), text); }

/// An IPv4 UDP packet from one of the hosts of 10.`from`.0.0/24 to one of 10.`to`.0.0/24.
Bytes inner_packet(std::uint32_t size, std::uint32_t from, std::uint32_t to, std::size_t n) {
  Bytes p(kIpv4HeaderBytes + kUdpHeaderBytes);
  p.resize(size, 0x61);
  p[0] = 0x45;
  store_be16(&p[2], static_cast<std::uint16_t>(size));
  p[8] = 64;
  p[9] = kProtocolUdp;
  store_be32(&p[12], 0x0a00000aU + (from << 16) + static_cast<std::uint32_t>(n % kHosts));
  store_be32(&p[16], 0x0a00000aU + (to << 16) + static_cast<std::uint32_t>(n / kHosts % kHosts));
  store_be16(&p[20], 1024);
  store_be16(&p[22], 9);
  store_be16(&p[24], static_cast<std::uint16_t>(size - kIpv4HeaderBytes));
  set_ipv4_checksum(p.data());
  return p;
}

/// We are 10.9.0.1 with 10.1.0.0/24 behind us; the peer is 10.9.0.2 with 10.2.0.0/24.
shm::InstallSa terms(const EspSuite& suite, Direction direction, bool of_peer) {
  shm::InstallSa m;
  m.direction = direction;
  m.spi = Spi{kSpi};
  m.slot = kSpi & (kCapacity - 1);
  m.policy = PolicyId{1};
  m.local.address = IpAddress::v4(0x0a090001);
  m.remote.address = IpAddress::v4(0x0a090002);
  m.local_ts = net("10.1.0.0/24");
  m.remote_ts = net("10.2.0.0/24");
  if (of_peer) {
    std::swap(m.local, m.remote);
    std::swap(m.local_ts, m.remote_ts);
  }
  m.suite = suite;
  const auto* encr = find_encr(suite.encr, suite.key_bits);
  const auto* integ = find_integ(suite.integ);
  m.encr_key_bytes = static_cast<std::uint8_t>(encr != nullptr ? encr->key_bytes() + encr->salt : 0);
  m.integ_key_bytes = integ != nullptr ? integ->key : std::uint8_t{0};
  return m;
}

struct PcapCloser {
  void operator()(pcap_t* p) const { pcap_close(p); }
  void operator()(pcap_dumper_t* p) const { pcap_dump_close(p); }
};
std::uint64_t cycles() { return __builtin_ia32_rdtsc(); }

/// A number per device made in this process: DPDK's names must differ.
unsigned next_device() {
  static unsigned n = 0;
  return n++;
}
}  // namespace

Path::Path(const Case& c, BufferPool& pool, const std::string& folder) : encapsulate_(c.encapsulate) {
  const std::string file = folder + "/packets.pcap";
  make_sas(c);
  write_capture(c, file);
  const std::string device = std::to_string(next_device());
  config::Port rx, tx;
  rx.name = "rx";
  rx.device = "net_pcap" + device + ",rx_pcap=" + file + ",infinite_rx=1";
  tx.name = "tx";
  tx.device = "net_null" + device + ",no-rx=1";
  rx.mtu = tx.mtu = kMtu;
  ports_.push_back(must(Port::open(rx, kPcapPort, 1, pool), "net_pcap"));
  ports_.push_back(must(Port::open(tx, kNullPort, 1, pool), "net_null"));
  make_tables(c);
  environment_ = {.ports = ports_,
                  .interfaces = interfaces_,
                  .own = own_.get(),
                  .fib = fib_.get(),
                  .neighbors = &neighbors_,
                  .spd = &current_spd_,
                  .policies = {policies_.get(), shm::kMaxPolicies + 1},
                  .inbound = inbound_.get(),
                  .pool = &pool};
  worker_ = std::make_unique<Worker>(0, environment_, must(CryptoEngine::create(), "crypto"), *counters_);
  make_raw(c, pool);
}

Path::~Path() { BufferPool::release(nullptr, raw_buffers_); }

void Path::make_sas(const Case& c) {
  auto engine = must(CryptoEngine::create(), "crypto");
  const SaPlacement placement{0, sa_counters_.get(), 0};
  inbound_ = std::make_unique<InboundTable>(kCapacity);
  policies_ = std::make_unique<PolicyState[]>(shm::kMaxPolicies + 1);
  outbound_ = must(make_outbound(terms(c.suite, Direction::Outbound, !c.encapsulate), kCapacity, engine, placement), "outbound SA");
  if (c.encapsulate) {
    policies_[1].current = outbound_.get();
    return;
  }
  auto sa = must(make_inbound(terms(c.suite, Direction::Inbound, false), kCapacity, engine, placement), "inbound SA");
  opened_ = sa.get();
  if (inbound_->publish(opened_->manager.slot, sa) != shm::AckResult::Ok) throw std::runtime_error("inbound SA");
}

void Path::make_tables(const Case& c) {
  Interface lan{"lan", kOurMac, kMtu, {must(Prefix::parse("10.1.0.1/24"), "prefix")}};
  Interface wan{"wan", kOurMac, kMtu, {must(Prefix::parse("10.9.0.1/24"), "prefix")}};
  interfaces_ = c.encapsulate ? std::vector{lan, wan} : std::vector{wan, lan};
  own_ = std::make_unique<OwnAddresses>(interfaces_);
  config::Route route;
  route.to = must(Prefix::parse("10.2.0.0/24"), "prefix");
  route.via = IpAddress::v4(0x0a090002);
  fib_ = must(Fib::build(interfaces_, std::span(&route, 1), neighbors_), "routes");
  std::vector<IpAddress> beyond{IpAddress::v4(0x0a090002)};
  for (std::uint32_t host = 0; host < kHosts; ++host) beyond.push_back(IpAddress::v4(0x0a01000aU + host));
  for (const IpAddress& a : beyond) {
    const NeighborKey key{a, kNullPort};
    Neighbor* n = neighbors_.find(key);
    if (n == nullptr) n = neighbors_.add(key);
    if (n == nullptr) throw std::runtime_error("neighbour table");
    n->confirm(kOtherMac);
  }
  shm::InstallPolicy policy;
  policy.policy = PolicyId{1};
  policy.action = shm::PolicyAction::Protect;
  policy.local_ts = net("10.1.0.0/24");
  policy.remote_ts = net("10.2.0.0/24");
  spd_ = must(Spd::build(std::span(&policy, 1)), "policies");
  current_spd_ = spd_.get();
}

void Path::write_capture(const Case& c, const std::string& file) {
  constexpr std::uint16_t kRoom = 128;
  auto engine = must(CryptoEngine::create(), "crypto");
  const auto counters = std::make_unique<shm::WorkerCounters>();
  DropSink drops(*counters, [](void*, std::span<void* const>) { throw std::runtime_error("a packet of the bench was dropped"); }, nullptr);
  const std::unique_ptr<pcap_t, PcapCloser> handle(pcap_open_dead(DLT_EN10MB, 65535));
  const std::unique_ptr<pcap_dumper_t, PcapCloser> out(pcap_dump_open(handle.get(), file.c_str()));
  if (!out) throw std::runtime_error(pcap_geterr(handle.get()));
  EspContext context{engine, drops, 0};
  for (std::size_t i = 0; i < c.sizes.size(); ++i) {
    const Bytes inner = c.encapsulate ? inner_packet(c.sizes[i], 1, 2, i) : inner_packet(c.sizes[i], 2, 1, i);
    Bytes buffer(kRoom + inner.size() + kRoom);
    std::copy(inner.begin(), inner.end(), buffer.begin() + kRoom);
    Packet p;
    p.data = buffer.data() + kRoom;
    p.length = static_cast<std::uint32_t>(inner.size());
    p.headroom = p.tailroom = kRoom;
    if (!c.encapsulate) {
      if (!parse_ip(p)) throw std::runtime_error("inner packet");
      p.outbound = outbound_.get();
      Burst burst;
      burst.push_back(&p);
      esp_out(burst, context);
    }
    p.push(kEthernetBytes);
    std::copy(kOurMac.begin(), kOurMac.end(), p.data);
    std::copy(kOtherMac.begin(), kOtherMac.end(), p.data + 6);
    store_be16(p.data + 12, kEtherTypeIpv4);
    pcap_pkthdr header{};
    header.caplen = header.len = p.length;
    pcap_dump(reinterpret_cast<u_char*>(out.get()), &header, p.data);
  }
}

void Path::make_raw(const Case& c, BufferPool& pool) {
  const EspGeometry& g = outbound_->geometry;
  raw_ = std::make_unique<RawCrypto>(c.suite);
  for (std::size_t i = 0; i < kBurstMax; ++i) {
    Packet p;
    if (!pool.allocate(p)) throw std::runtime_error("no buffers");
    raw_buffers_.push_back(p.handle);
    std::memset(p.data, 0x61, p.tailroom);
    for (std::size_t round = 0; round < c.sizes.size() / kBurstMax; ++round) {
      raw_ops_.resize(c.sizes.size());
      const std::uint32_t text = (c.sizes[round * kBurstMax + i] + kEspTrailerBytes + g.align - 1U) & ~(g.align - 1U);
      raw_ops_[round * kBurstMax + i] = {p.data, text};
    }
  }
}

void Path::reset() {
  if (opened_ != nullptr) opened_->replay = ReplayWindow(opened_->replay.size());
}

std::uint64_t Path::worker_slice() {
  const std::uint64_t target = counters_->tx_packets.get() + kSlicePackets;
  constexpr unsigned kPolls = kSlicePackets / kBurstMax;
  const std::uint64_t start = cycles();
  for (unsigned i = 0; i < kPolls; ++i) worker_->poll();
  const std::uint64_t took = cycles() - start;
  if (counters_->tx_packets.get() == target) return took;
  std::string why = "packets were lost:";
  for (std::size_t i = 0; i < kDropReasons; ++i)
    if (const auto n = counters_->drops[i].get(); n != 0) why += " " + std::string(kDropTable[i].name) + "=" + std::to_string(n);
  throw std::runtime_error(why);
}

std::uint64_t Path::raw_slice() {
  const std::uint64_t start = cycles();
  for (std::size_t at = 0; at < raw_ops_.size(); at += kBurstMax) raw_->run(std::span(raw_ops_).subspan(at, kBurstMax), encapsulate_);
  return cycles() - start;
}

std::uint64_t Path::device_slice() {
  std::array<Packet, kBurstMax> views;
  std::array<void*, kBurstMax> handles;
  const std::uint64_t start = cycles();
  for (std::size_t done = 0; done < kSlicePackets;) {
    const std::size_t n = ports_[kPcapPort]->receive(0, views);
    for (std::size_t i = 0; i < n; ++i) handles[i] = views[i].handle;
    if (ports_[kNullPort]->transmit(0, std::span(handles).first(n)) != n) throw std::runtime_error("net_null refused packets");
    done += n;
  }
  return cycles() - start;
}

}  // namespace culvert::bench

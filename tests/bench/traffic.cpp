#include "tests/bench/traffic.hpp"

#include <array>
#include <bit>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>

#include <pcap/pcap.h>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/esp.hpp"

namespace culvert::bench {

namespace {
using namespace culvert::dp;

constexpr unsigned long kMinSize = 28, kMaxSize = 1420;  // IP and UDP headers; what fits 1,500 bytes outside in every suite
// 7:4:1 of 64, 570 and 1,420 bytes.
constexpr std::array<std::uint32_t, 12> kImix{64, 570, 64, 64, 570, 64, 1420, 64, 570, 64, 570, 64};

TrafficSelector range(std::uint32_t first, std::uint32_t last) {
  TrafficSelector ts;
  ts.first = IpAddress::v4(first);
  ts.last = IpAddress::v4(last);
  return ts;
}
TrafficSelector ours() { return range(kLanNet, kLanNet + 0xff); }
constexpr std::uint32_t kOtherNets = 0x0c000000;
constexpr std::uint32_t first_host(std::uint32_t sa) { return 0x0b000000U + sa * kHosts; }
TrafficSelector theirs(std::uint32_t sa) { return range(first_host(sa), first_host(sa) + kHosts - 1); }

struct PcapCloser {
  void operator()(pcap_t* p) const { pcap_close(p); }
  void operator()(pcap_dumper_t* p) const { pcap_dump_close(p); }
};

/// Writes frames to us.
class Capture {
 public:
  explicit Capture(const std::string& file)
      : handle_(pcap_open_dead(DLT_EN10MB, 65535)), out_(pcap_dump_open(handle_.get(), file.c_str())) {
    if (!out_) throw std::runtime_error(pcap_geterr(handle_.get()));
  }
  void add(std::span<const std::uint8_t> ip) {
    Bytes frame(kEthernetBytes);
    std::copy(kOurMac.begin(), kOurMac.end(), frame.begin());
    std::copy(kOtherMac.begin(), kOtherMac.end(), frame.begin() + 6);
    store_be16(&frame[12], kEtherTypeIpv4);
    frame.insert(frame.end(), ip.begin(), ip.end());
    pcap_pkthdr header{};
    header.caplen = header.len = static_cast<bpf_u_int32>(frame.size());
    pcap_dump(reinterpret_cast<u_char*>(out_.get()), &header, frame.data());
  }

 private:
  std::unique_ptr<pcap_t, PcapCloser> handle_;
  std::unique_ptr<pcap_dumper_t, PcapCloser> out_;
};
}  // namespace

Case Case::make(const EspSuite& suite, Way way, const std::string& size, std::uint32_t sas, std::uint32_t policies) {
  const unsigned long fixed = size == "IMIX" ? 0 : std::strtoul(size.c_str(), nullptr, 10);
  if (size != "IMIX" && (fixed < kMinSize || fixed > kMaxSize)) throw std::runtime_error("a size is IMIX or a number from 28 to 1420");
  if (sas == 0 || sas > kMaxSas) throw std::runtime_error("there are from 1 to " + std::to_string(kMaxSas) + " SAs");
  if (policies == 0 || policies > shm::kMaxPolicies)
    throw std::runtime_error("there are from 1 to " + std::to_string(shm::kMaxPolicies) + " policies");
  if (goes_out(way)) sas = std::min(sas, shm::kMaxPolicies);
  Case c{suite, way, {}, sas, goes_out(way) ? std::max(policies, sas) : policies, false, {}};
  c.sizes.resize((sas + kRoundPackets - 1) / kRoundPackets * kRoundPackets);
  for (std::size_t i = 0; i < c.sizes.size(); ++i) c.sizes[i] = fixed == 0 ? kImix[i % kImix.size()] : static_cast<std::uint32_t>(fixed);
  c.order.resize(c.sizes.size());
  for (std::size_t i = 0; i < c.order.size(); ++i) c.order[i] = static_cast<std::uint32_t>(i % sas);
  std::shuffle(c.order.begin(), c.order.end(), std::minstd_rand(1));
  return c;
}

double Case::mean_bytes() const { return std::accumulate(sizes.begin(), sizes.end(), 0.0) / static_cast<double>(sizes.size()); }

shm::InstallSa terms(const Case& c, std::uint32_t sa, Direction direction, std::uint32_t capacity, bool of_peer) {
  shm::InstallSa m;
  m.direction = direction;
  m.spi = spi_of_sa(sa);
  m.slot = m.spi.value & (capacity - 1);
  m.policy = PolicyId{1};
  m.local.address = IpAddress::v4(kOurAddress);
  m.remote.address = IpAddress::v4(peer_of_sa(sa));
  if (c.udp) m.local.port = m.remote.port = kNatTPort;
  m.follow = c.udp;
  m.local_ts = ours();
  m.remote_ts = theirs(sa);
  if (of_peer) {
    std::swap(m.local, m.remote);
    std::swap(m.local_ts, m.remote_ts);
  }
  m.suite = c.suite;
  const auto* encr = find_encr(c.suite.encr, c.suite.key_bits);
  const auto* integ = find_integ(c.suite.integ);
  m.encr_key_bytes = static_cast<std::uint8_t>(encr != nullptr ? encr->key_bytes() + encr->salt : 0);
  m.integ_key_bytes = integ != nullptr ? integ->key : std::uint8_t{0};
  return m;
}

std::vector<shm::InstallPolicy> policies(const Case& c) {
  std::vector<shm::InstallPolicy> out;
  const std::uint32_t own = goes_out(c.way) ? c.sas : 1;
  for (std::uint32_t i = 0; i < c.policies; ++i) {
    const bool other = i < c.policies - own;
    const std::uint32_t number = other ? own + i : i - (c.policies - own);
    shm::InstallPolicy p;
    p.policy = PolicyId{number + 1};
    p.order = i;
    p.action = other ? shm::PolicyAction::Bypass : shm::PolicyAction::Protect;
    p.local_ts = ours();
    p.remote_ts = other ? range(kOtherNets + number * kHosts, kOtherNets + number * kHosts + kHosts - 1) : theirs(number);
    out.push_back(p);
  }
  return out;
}

Bytes inner_packet(const Case& c, std::size_t n, bool out) {
  const std::uint32_t size = c.sizes[n];
  Bytes p(kIpv4HeaderBytes + kUdpHeaderBytes);
  p.resize(size, 0x61);
  p[0] = 0x45;
  store_be16(&p[2], static_cast<std::uint16_t>(size));
  p[8] = 64;
  p[9] = kProtocolUdp;
  const std::uint32_t here = kLanNet + 10 + static_cast<std::uint32_t>(n % kHosts);
  const std::uint32_t there = first_host(c.order[n]) + static_cast<std::uint32_t>(n / kHosts % kHosts);
  store_be32(&p[12], out ? here : there);
  store_be32(&p[16], out ? there : here);
  store_be16(&p[20], 1024);
  store_be16(&p[22], 9);
  store_be16(&p[24], static_cast<std::uint16_t>(size - kIpv4HeaderBytes));
  set_ipv4_checksum(p.data());
  return p;
}

void write_clear(const Case& c, const std::string& file) {
  Capture capture(file);
  for (std::size_t i = 0; i < c.sizes.size(); ++i) capture.add(inner_packet(c, i, true));
}

void write_sealed(const Case& c, const std::string& file) {
  constexpr std::uint16_t kRoom = 128;
  Capture capture(file);
  auto engine = must(CryptoEngine::create(), "crypto");
  const auto counters = std::make_unique<shm::WorkerCounters>();
  const auto sa_counters = std::make_unique<shm::SaCounters>();
  DropSink drops(*counters, [](void*, std::span<void* const>) { throw std::runtime_error("a packet of the bench was dropped"); }, nullptr);
  EspContext context{engine, drops, 0};
  const std::uint32_t capacity = std::bit_ceil(c.sas);
  std::vector<SaPtr<OutboundSa>> sas(c.sas);
  for (std::size_t i = 0; i < c.sizes.size(); ++i) {
    const std::uint32_t number = c.order[i];
    if (sas[number] == nullptr)
      sas[number] = must(make_outbound(terms(c, number, Direction::Outbound, capacity, true), capacity, engine, {0, sa_counters.get(), 0}),
                         "the peer's SA");
    const Bytes inner = inner_packet(c, i, false);
    Bytes buffer(kRoom + inner.size() + kRoom);
    std::copy(inner.begin(), inner.end(), buffer.begin() + kRoom);
    Packet p;
    p.data = buffer.data() + kRoom;
    p.length = static_cast<std::uint32_t>(inner.size());
    p.headroom = p.tailroom = kRoom;
    if (!parse_ip(p)) throw std::runtime_error("inner packet");
    p.outbound = sas[number].get();
    Burst burst;
    burst.push_back(&p);
    esp_out(burst, context);
    capture.add({p.data, p.length});
  }
}

}  // namespace culvert::bench

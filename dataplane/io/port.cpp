#include "dataplane/io/port.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <net/if.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/io/eal.hpp"
#include "dataplane/io/linear.hpp"
#include "dataplane/io/mbuf_view.hpp"

namespace culvert::dp {

namespace {
constexpr unsigned kEthernet = 14;
std::string dpdk_error(int negative_errno) { return rte_strerror(-negative_errno); }

bool has_argument(const std::string& device, const std::string& key) { return device.find("," + key + "=") != std::string::npos; }

/// DPDK's own name of a device: what stands before the first comma.
std::string device_name(const std::string& device) { return device.substr(0, device.find(',')); }

std::expected<std::uint16_t, std::string> probe(const config::Port& port, const std::string& device) {
  const std::string name = device_name(device);
  std::uint16_t id = 0;
  if (is_pci_device(port.device)) {
    if (rte_eth_dev_get_port_by_name(name.c_str(), &id) == 0) return id;
    return std::unexpected("no such device, or it is not bound to a driver that DPDK can use (vfio-pci)");
  }
  const auto comma = device.find(',');
  const std::string arguments = comma == std::string::npos ? "" : device.substr(comma + 1);
  if (rte_eth_dev_get_port_by_name(name.c_str(), &id) == 0) return std::unexpected("the device name is used twice");
  const int rc = rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str());
  if (rc != 0 || rte_eth_dev_get_port_by_name(name.c_str(), &id) != 0)
    return std::unexpected("DPDK cannot make this device (" + (rc != 0 ? dpdk_error(rc) : "no port") + "); it said: " + Eal::last_log());
  return id;
}
/// In a thread of DPDK's.
int on_reset_event(std::uint16_t, rte_eth_event_type, void* port, void*) {
  static_cast<Port*>(port)->want_reset();
  return 0;
}
}  // namespace

namespace {
/// What a frame of af_packet's ring has beside the packet: the kernel's and the driver's headers (TPACKET2_HDRLEN of it), Ethernet's.
constexpr unsigned kRingHeaders = 128, kRingOwn = 52, kPage = 4096;
bool is_af_packet(const std::string& device) { return device.rfind("net_af_packet", 0) == 0; }
/// Blocks hold whole frames and are whole pages, and the driver takes frames for equal steps: half a page, or whole ones.
unsigned ring_frame(unsigned mtu) {
  const unsigned wanted = mtu + kEthernet + kRingHeaders;
  return wanted <= kPage / 2 ? kPage / 2 : (wanted + kPage - 1) / kPage * kPage;
}

/// Asks the kernel about one of its interfaces with `get`; where change(ifreq) says that it changed the answer, writes it back with `set`.
/// False: either failed.
template <class Change>
bool change_interface(unsigned interface, unsigned long get, unsigned long set, Change&& change) {
  ifreq ask{};
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  bool right = ::if_indextoname(interface, ask.ifr_name) != nullptr && ::ioctl(fd, get, &ask) == 0;
  if (right && change(ask)) right = ::ioctl(fd, set, &ask) == 0;
  ::close(fd);
  return right;
}
/// For drivers over an interface of the kernel's that say less than they can (af_packet's knows frames of 1,514 bytes, whatever its ring
/// holds). False: it could not be set.
bool set_kernel_mtu(unsigned interface, int mtu) {
  return change_interface(interface, SIOCGIFMTU, SIOCSIFMTU, [mtu](ifreq& ask) { return std::exchange(ask.ifr_mtu, mtu) != mtu; });
}
/// The same for groups, which af_packet's driver knows nothing of.
bool hear_groups(unsigned interface) {
  return change_interface(interface, SIOCGIFFLAGS, SIOCSIFFLAGS, [](ifreq& ask) {
    const auto heard = static_cast<short>(ask.ifr_flags | IFF_ALLMULTI);
    return std::exchange(ask.ifr_flags, heard) != heard;
  });
}

/// Whether the device checks IPv4 headers itself. net_tap's driver says so, and then sums up whole packets in software.
bool finds_sums(const rte_eth_dev_info& info) {
  return (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0 && std::string_view(info.driver_name) != "net_tap";
}
/// Whether the thread that receives a frame has copied it.
bool copies_frames(const rte_eth_dev_info& info) {
  static constexpr std::array<std::string_view, 5> kDrivers{"net_af_packet", "net_pcap", "net_tap", "net_memif", "net_vhost"};
  return std::ranges::find(kDrivers, std::string_view(info.driver_name)) != kDrivers.end();
}
/// What it says of one packet. Of tunnels it may mean the header inside: that outside must not be wrong then. Where it is not sure, or
/// finds it wrong, we look ourselves.
bool found_right(const rte_mbuf* m) {
  return (m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD)) == RTE_MBUF_F_RX_IP_CKSUM_GOOD;
}
}  // namespace

std::string device_arguments(const std::string& device, unsigned queues, unsigned mtu) {
  std::string out = device;
  if (!is_af_packet(device)) return out;
  if (queues > 1 && !has_argument(device, "qpairs")) out += ",qpairs=" + std::to_string(queues);
  const unsigned frame = ring_frame(mtu);
  if (!has_argument(device, "framesz") && !has_argument(device, "blocksz"))
    out += ",blocksz=" + std::to_string(std::max(frame, kPage)) + ",framesz=" + std::to_string(frame);
  if (!has_argument(device, "framecnt")) out += frame < kPage ? ",framecnt=4096" : ",framecnt=2048";  // 8 MB, to 24 MB of jumbo frames
  return out;
}

unsigned buffer_mtu(const std::string& device, unsigned mtu) {
  return is_af_packet(device) && ring_frame(mtu) >= kPage ? std::max(mtu, ring_frame(mtu) - kRingOwn) : mtu;
}

std::expected<std::unique_ptr<Port>, std::string> Port::open(const config::Port& config, std::uint16_t index, unsigned workers,
                                                             BufferPool& pool, bool groups) {
  const auto fail = [&](const std::string& why) { return std::unexpected("port " + config.name + " (" + config.device + "): " + why); };
  const unsigned queues = config.queues != 0 ? std::min<unsigned>(config.queues, workers) : workers;
  const std::string device = device_arguments(config.device, queues, config.mtu);
  const auto id = probe(config, device);
  if (!id) return fail(id.error());
  std::unique_ptr<Port> port(new Port(config, *id, index, pool, groups));
  if (!is_pci_device(config.device)) port->device_ = device_name(device);
  if (auto configured = port->configure(queues); !configured) return fail(configured.error());
  port->open_queues_ = port->queues_;
  (void)rte_eth_dev_callback_register(*id, RTE_ETH_EVENT_INTR_RESET, on_reset_event, port.get());  // only some drivers ever call it
  return port;
}

std::expected<void, std::string> Port::reset() {
  reset_wanted_ = false;  // what the device wants from here on is another reset
  const int rc = rte_eth_dev_reset(id_);
  if (rc == -ENOTSUP) {
    if (const int stopped = rte_eth_dev_stop(id_); stopped != 0) return std::unexpected("stopping the device: " + dpdk_error(stopped));
  } else if (rc != 0) {
    return std::unexpected("resetting the device: " + dpdk_error(rc));
  }
  // Workers use the queues that there were: their number may not become another.
  const std::uint16_t before = queues_;
  if (auto configured = configure(before); !configured) return configured;
  if (queues_ != before) return std::unexpected("it has " + std::to_string(queues_) + " queue(s) now instead of " + std::to_string(before));
  rules_.resume();
  open_queues_ = queues_;
  return {};
}

void Port::steer(const SteeredSa& sa) {
  if (queues_ > 1 && sa.queue < queues_) rules_.add(sa);
}

std::expected<void, std::string> Port::configure(unsigned queues) {
  const auto failed = [](const char* what, int rc) { return std::unexpected(std::string(what) + ": " + dpdk_error(rc)); };
  rte_eth_dev_info info{};
  if (const int rc = rte_eth_dev_info_get(id_, &info); rc != 0) return failed("device info", rc);
  queues_ = static_cast<std::uint16_t>(std::min({queues, unsigned{info.max_rx_queues}, unsigned{info.max_tx_queues}}));
  if (queues_ == 0) return std::unexpected("the device offers no queues");
  rte_eth_conf conf{};
  if (queues_ > 1 && info.flow_type_rss_offloads != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
  }
  sums_ = finds_sums(info);
  copies_ = copies_frames(info);
  if (sums_) conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
  if (const int rc = rte_eth_dev_configure(id_, queues_, queues_, &conf); rc != 0) return failed("configuring queues", rc);
  if (const int rc = rte_eth_dev_set_mtu(id_, config_.mtu);
      rc != 0 && rc != -ENOTSUP && (info.if_index == 0 || !set_kernel_mtu(info.if_index, config_.mtu)))
    return std::unexpected("MTU " + std::to_string(config_.mtu) + " is refused: " + dpdk_error(rc));
  std::uint16_t rx = config_.rx_descriptors;
  std::uint16_t tx = config_.tx_descriptors;
  if (const int rc = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx, &tx); rc != 0) return failed("descriptor counts", rc);
  for (std::uint16_t q = 0; q < queues_; ++q) {
    if (const int rc = rte_eth_rx_queue_setup(id_, q, rx, SOCKET_ID_ANY, nullptr, pool_.raw()); rc != 0)
      return failed("receive queue (perhaps the device lacks what its arguments ask for)", rc);
    if (const int rc = rte_eth_tx_queue_setup(id_, q, tx, SOCKET_ID_ANY, nullptr); rc != 0) return failed("transmit queue", rc);
  }
  if (const int rc = rte_eth_dev_start(id_); rc != 0) return failed("starting the device", rc);
  interface_ = info.if_index;
  // Neighbours ask for IPv6 addresses by groups (RFC 4861 §7.2.2), which a NIC else keeps to itself.
  if (const int rc = groups_ ? rte_eth_allmulticast_enable(id_) : 0;
      rc != 0 && (interface_ == 0 ? rc != -ENOTSUP : !hear_groups(interface_)))
    return failed("hearing IPv6's groups", rc);
  rte_ether_addr mac{};
  if (const int rc = rte_eth_macaddr_get(id_, &mac); rc != 0) return failed("MAC address", rc);
  std::copy_n(mac.addr_bytes, mac_.size(), mac_.begin());
  return {};
}

Port::~Port() {
  (void)rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_RESET, on_reset_event, this);
  (void)rte_eth_dev_stop(id_);
  (void)rte_eth_dev_close(id_);
  if (!device_.empty()) (void)rte_eal_hotplug_remove("vdev", device_.c_str());
}

std::size_t Port::receive(unsigned queue, std::span<Packet> views) {
  std::array<rte_mbuf*, kBurstMax> mbufs;
  const std::uint16_t n = rte_eth_rx_burst(id_, static_cast<std::uint16_t>(queue), mbufs.data(),
                                           static_cast<std::uint16_t>(std::min(views.size(), mbufs.size())));
  const std::uint16_t index = index_;
  for (std::uint16_t i = 0; i < n; ++i) {
    Packet& view = views[i];
    if (is_own_and_linear(mbufs[i])) [[likely]] {
      view_of(mbufs[i], view, index);
      rte_prefetch0(view.data);
      continue;
    }
    // Scattered receive is never asked for, and buffers are as large as the largest MTU: this is for devices that do it all the same.
    if (rte_mbuf* copy = own_copy(mbufs[i], pool_.raw()); copy != nullptr) mbufs[i] = copy;
    view_of(mbufs[i], view, index);
    if (!is_own_and_linear(mbufs[i])) view.length = 0;  // ends as malformed
  }
  if (sums_) [[unlikely]]
    for (std::uint16_t i = 0; i < n; ++i) views[i].tag = found_right(mbufs[i]) ? Packet::kSummed : std::uint8_t{0};
  return n;
}

std::size_t Port::transmit(unsigned queue, std::span<void*> handles) {
  return rte_eth_tx_burst(id_, static_cast<std::uint16_t>(queue), reinterpret_cast<rte_mbuf**>(handles.data()),
                          static_cast<std::uint16_t>(handles.size()));
}

void Port::read_counters(shm::PortCounters& out) const {
  rte_eth_stats s{};
  if (rte_eth_stats_get(id_, &s) == 0) {
    out.rx_packets.set(s.ipackets);
    out.rx_bytes.set(s.ibytes);
    out.tx_packets.set(s.opackets);
    out.tx_bytes.set(s.obytes);
    out.rx_missed.set(s.imissed);
    out.rx_errors.set(s.ierrors);
    out.tx_errors.set(s.oerrors);
    out.rx_nombuf.set(s.rx_nombuf);
  }
  out.flow_rules.set(rules_.count());
  out.flow_refused.set(rules_.refused());
}

PortState Port::state() const {
  PortState out;
  if (interface_ == 0) {
    rte_eth_link link{};
    out.up = rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status != 0;
    return out;
  }
  // Any socket of the namespace will do for asking, and none needs rights; the name may have changed, the index never does.
  ifreq ask{};
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return {.up = usable(), .gone = false, .mtu = 0};
  if (::if_indextoname(interface_, ask.ifr_name) == nullptr) {
    out.gone = errno == ENXIO;
  } else {
    out.up = ::ioctl(fd, SIOCGIFFLAGS, &ask) == 0 && (ask.ifr_flags & IFF_UP) != 0 && (ask.ifr_flags & IFF_RUNNING) != 0;
    if (::ioctl(fd, SIOCGIFMTU, &ask) == 0) out.mtu = static_cast<std::uint16_t>(std::clamp(ask.ifr_mtu, 68, 0xffff));
  }
  ::close(fd);
  return out;
}

}  // namespace culvert::dp

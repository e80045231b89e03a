#include "dataplane/manager/port_keeper.hpp"

#include <algorithm>
#include <array>

#include <spdlog/spdlog.h>

namespace culvert::dp {

PortKeeper::PortKeeper(std::span<const std::unique_ptr<Port>> ports, std::span<Interface> interfaces, std::span<const VlanTraffic> traffic,
                       Rcu& rcu)
    : ports_(ports), interfaces_(interfaces), traffic_(traffic), rcu_(rcu), resets_(ports.size()) {
  for (const Interface& i : interfaces_) configured_mtus_.push_back(i.mtu);
  for (const Interface& i : interfaces_.first(ports.size())) watch_.add(i.name, i.mtu);
}

std::vector<std::uint16_t> PortKeeper::look(std::span<shm::PortCounters> counters, std::uint64_t now) {
  std::vector<std::uint16_t> returned;
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    Port& port = *ports_[i];
    const bool was_reset = reset(i, now);
    port.read_counters(counters[i]);
    const PortState state = port.state();
    const PortWatch::News news = watch_.look(i, state);
    port.set_usable(news.usable);
    counters[i].link_up.set(state.up);
    counters[i].link_changes.set(watch_.changes(i));
    counters[i].mtu.set(news.mtu);
    if (interfaces_[i].mtu != news.mtu) interfaces_[i].mtu = news.mtu;
    for (const std::string& line : news.lines) spdlog::log(news.alarm ? spdlog::level::warn : spdlog::level::info, "{}", line);
    if (was_reset || news.returned) returned.push_back(static_cast<std::uint16_t>(i));
  }
  for (std::size_t i = ports_.size(); i < interfaces_.size(); ++i) {
    follow(i, counters);
    if (std::ranges::find(returned, interfaces_[i].port) != returned.end()) returned.push_back(static_cast<std::uint16_t>(i));
  }
  return returned;
}

/// A VLAN has the link of its port, and no larger MTU.
void PortKeeper::follow(std::size_t vlan_interface, std::span<shm::PortCounters> counters) {
  Interface& vlan = interfaces_[vlan_interface];
  const shm::PortCounters& port = counters[vlan.port];
  shm::PortCounters& own = counters[vlan_interface];
  const auto mtu = std::min<std::uint16_t>(configured_mtus_[vlan_interface], interfaces_[vlan.port].mtu);
  if (vlan.mtu != mtu) vlan.mtu = mtu;
  own.link_up.set(port.link_up.get());
  own.link_changes.set(port.link_changes.get());
  own.mtu.set(mtu);
  std::array<std::uint64_t, 4> sums{};
  const std::size_t vlans = interfaces_.size() - ports_.size();
  for (std::size_t at = vlan_interface - ports_.size(); at < traffic_.size(); at += vlans) {
    const VlanTraffic& t = traffic_[at];
    const std::array some{t.rx_packets.get(), t.rx_bytes.get(), t.tx_packets.get(), t.tx_bytes.get()};
    for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += some[k];
  }
  own.rx_packets.set(sums[0]);
  own.rx_bytes.set(sums[1]);
  own.tx_packets.set(sums[2]);
  own.tx_bytes.set(sums[3]);
}

/// One step of a reset, if one is wanted. True: it is done.
bool PortKeeper::reset(std::size_t index, std::uint64_t now) {
  Port& port = *ports_[index];
  Reset& r = resets_[index];
  if (r.alone == nullptr) {
    if (!port.reset_wanted() || now < r.not_before) return false;
    if (r.failed_with.empty())
      spdlog::warn("port {}: the device must be reset; what would leave by it is dropped (port_down)", port.name());
    port.park();
    r.alone = std::make_shared<std::atomic<bool>>(false);
    rcu_.defer(std::shared_ptr<void>(nullptr, [alone = r.alone](void*) { *alone = true; }));
    return false;
  }
  if (!*r.alone) return false;
  r.alone.reset();
  if (const auto done = port.reset(); !done) {
    if (done.error() != r.failed_with)
      spdlog::error("port {}: it cannot be reset, and is tried again each second: {}", port.name(), done.error());
    r.failed_with = done.error();
    r.not_before = now + kTryAgain;
    port.want_reset();
    return false;
  }
  spdlog::info("port {}: reset, and in use again", port.name());
  r.failed_with.clear();
  return true;
}

}  // namespace culvert::dp

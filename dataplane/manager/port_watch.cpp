#include "dataplane/manager/port_watch.hpp"

#include <algorithm>
#include <utility>

namespace culvert::dp {

PortWatch::News PortWatch::look(std::size_t port, const PortState& now) {
  Known& k = ports_[port];
  News news;
  const auto say = [&](bool alarm, const std::string& what) {
    news.lines.push_back("port " + k.name + ": " + what);
    news.alarm |= alarm;
  };
  const bool gone = now.gone && !k.gone;
  k.gone = now.gone;
  k.seen_up |= now.up;
  if (!std::exchange(k.looked, true) && !now.up && !now.gone) say(true, "it has no link");
  const bool usable = !k.seen_up || now.up;
  if (usable != k.usable) {
    k.usable = usable;
    ++k.changes;
    news.returned = usable;
    if (usable)
      say(false, "the link is up again; neighbours are asked anew");
    else if (!gone)
      say(true, "the link is down; what would leave by it is dropped (port_down)");
  }
  news.usable = k.usable;
  if (gone) say(true, "its interface is gone: culvert-dataplane must be restarted once there is one again");
  // A larger MTU than the configured one is not ours to use: buffers and SAs are made for that.
  const std::uint16_t mtu = now.mtu == 0 ? k.mtu : std::min(now.mtu, k.configured_mtu);
  if (mtu != k.mtu) {
    k.mtu = mtu;
    const std::string from = "the interface's MTU is " + std::to_string(now.mtu) + " now";
    if (mtu < k.configured_mtu)
      say(true, from + ", below the configured " + std::to_string(k.configured_mtu) + ": no larger packet is sent");
    else
      say(false, from + ": the configured " + std::to_string(mtu) + " counts again");
  }
  news.mtu = k.mtu;
  return news;
}

}  // namespace culvert::dp

#include "control/ike/watch.hpp"

#include <algorithm>

namespace culvert::ike {

void WatchList::forget_old(TimePoint now) {
  std::erase_if(watches_, [now](const Watch& w) { return w.until <= now; });
}

bool WatchList::add(TimePoint now, Watch watch) {
  forget_old(now);
  watch.until = std::min(watch.until, now + kLongest);
  for (Watch& w : watches_)
    if (w.same_target(watch)) {
      w.until = watch.until;
      return true;
    }
  if (watches_.size() >= kMax) return false;
  watches_.push_back(std::move(watch));
  return true;
}

bool WatchList::remove(TimePoint now, const Watch& target) {
  forget_old(now);
  return std::erase_if(watches_, [&](const Watch& w) { return w.same_target(target); }) > 0;
}

std::vector<Watch> WatchList::active(TimePoint now) const {
  std::vector<Watch> out;
  for (const Watch& w : watches_)
    if (w.until > now) out.push_back(w);
  return out;
}

bool WatchList::matches(TimePoint now, std::string_view connection, const Endpoint& peer) const {
  return std::ranges::any_of(watches_, [&](const Watch& w) {
    return w.until > now && (w.peer ? *w.peer == peer.address && w.vrf == peer.vrf : !w.connection.empty() && w.connection == connection);
  });
}

}  // namespace culvert::ike

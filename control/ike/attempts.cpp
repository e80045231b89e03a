#include "control/ike/attempts.hpp"

#include <algorithm>

#include "control/ike/sa_table.hpp"

namespace culvert::ike {

unsigned Attempts::left(const Entry& e, TimePoint now) {
  if (now >= e.forgiven_at) return 0;
  return static_cast<unsigned>((e.forgiven_at - now + kForgiven - TimePoint::duration{1}) / kForgiven);
}

template <class Key>
void Attempts::note(std::map<Key, Entry>& all, const Key& key, TimePoint now) {
  if (!all.contains(key) && all.size() >= kMaxRemembered) {
    std::erase_if(all, [now](const auto& e) { return left(e.second, now) == 0; });
    if (all.size() >= kMaxRemembered)
      all.erase(std::min_element(all.begin(), all.end(),
                                 [](const auto& a, const auto& b) { return a.second.forgiven_at < b.second.forgiven_at; }));
  }
  Entry& e = all[key];
  e.forgiven_at = std::min(std::max(e.forgiven_at, now) + kForgiven, now + kSourceLimit * kForgiven);
}

void Attempts::failed(TimePoint now, ByteView user, const Endpoint& source) {
  note(users_, Bytes(user.begin(), user.end()), now);
  note(sources_, host_of(source), now);
}

void Attempts::succeeded(ByteView user) { users_.erase(Bytes(user.begin(), user.end())); }

unsigned Attempts::failures(TimePoint now, ByteView user) const {
  const auto it = users_.find(Bytes(user.begin(), user.end()));
  return it == users_.end() ? 0 : left(it->second, now);
}

unsigned Attempts::failures(TimePoint now, const Endpoint& source) const {
  const auto it = sources_.find(host_of(source));
  return it == sources_.end() ? 0 : left(it->second, now);
}

std::chrono::nanoseconds Attempts::delay(TimePoint now, ByteView user, const Endpoint& source) const {
  std::chrono::nanoseconds out = kFirstDelay;
  for (unsigned i = std::max(failures(now, user), failures(now, source)); i > 0 && out < kMaxDelay; --i) out *= 2;
  return std::min<std::chrono::nanoseconds>(out, kMaxDelay);
}

bool Attempts::blocked(TimePoint now, const Endpoint& source) const { return failures(now, source) >= kSourceLimit; }

}  // namespace culvert::ike

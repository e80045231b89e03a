#include "control/metrics/traffic.hpp"

namespace culvert::control {

namespace {
std::uint64_t key_of(Direction direction, std::uint32_t slot) { return std::uint64_t{slot} << 1 | static_cast<std::uint64_t>(direction); }
void add(std::uint64_t& sum, std::uint64_t& last, std::uint64_t now) {
  if (now <= last) return;
  sum += now - last;
  last = now;
}
}  // namespace

SaTotals SaTotals::of(const shm::SaCounters& c) {
  return {c.packets.get(),
          c.bytes.get(),
          {c.auth_failed.get(), c.replayed.get(), c.old.get(), c.selector.get(), c.malformed.get(), c.expired.get(),
           c.sequence_exhausted.get(), c.other.get()}};
}

Traffic::Traffic(const config::GatewayConfig& config) {
  for (const auto& connection : config.connections)
    for (const auto& child : connection.children) sums_[{connection.name, child.name}];
}

void Traffic::update(Direction direction, std::uint32_t slot, const std::string& connection, const std::string& child,
                     const SaTotals& now) {
  if (connection.empty()) return;  // of a former culvertd's configuration, on its way out: nobody's
  SaTotals& sum = sums_[{connection, child}][static_cast<std::size_t>(direction)];
  SaTotals& last = last_[key_of(direction, slot)];
  add(sum.packets, last.packets, now.packets);
  add(sum.bytes, last.bytes, now.bytes);
  for (std::size_t i = 0; i < now.errors.size(); ++i) add(sum.errors[i], last.errors[i], now.errors[i]);
}

void Traffic::forget(Direction direction, std::uint32_t slot) { last_.erase(key_of(direction, slot)); }

}  // namespace culvert::control

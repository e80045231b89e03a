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

SaTotals SaTotals::of(Direction direction, const shm::SaCounters& c) {
  SaTotals out{.packets = c.packets.get(), .bytes = c.bytes.get()};
  for (std::size_t i = 0; i < kSaDropSlots; ++i) out.drops[i] = c.drops[i].get();
  if (direction != Direction::Inbound) return out;
  out.lost = c.missing();
  out.reordered = c.reordered.get();
  return out;
}

void SaTotals::each_drop(Direction direction, const std::function<void(std::string_view, std::uint64_t)>& visit) const {
  std::size_t slot = 0;
  for (const Drop reason : sa_drops(direction)) visit(info(reason).name, drops[slot++]);
  visit(kOtherDrop, drops.back());
}

std::uint64_t SaTotals::duplicated() const {
  return drops[kSaDropSlot[static_cast<std::size_t>(Direction::Inbound)][static_cast<std::size_t>(Drop::EspReplay)]];
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
  for (std::size_t i = 0; i < now.drops.size(); ++i) add(sum.drops[i], last.drops[i], now.drops[i]);
  add(sum.lost, last.lost, now.lost);
  add(sum.reordered, last.reordered, now.reordered);
}

void Traffic::forget(Direction direction, std::uint32_t slot) { last_.erase(key_of(direction, slot)); }

}  // namespace culvert::control

#include "control/sa/store.hpp"

#include <utility>

namespace culvert::control {

namespace {
constexpr std::uint32_t kReservedSpis = 255;  // RFC 4303 §2.1: 1..255 are IANA's, 0 is never sent
constexpr bool in_dataplane(SlotState s) { return s == SlotState::Busy || s == SlotState::Live || s == SlotState::Leaving; }
}  // namespace

SaStore::SaStore(std::uint32_t capacity, std::function<std::uint32_t()> random) : capacity_(0), random_(std::move(random)) {
  resize(capacity);
}

void SaStore::resize(std::uint32_t capacity) {
  capacity_ = capacity;
  released_.clear();
  outbound_.clear();
  last_spi_.assign(capacity, 0);
  for (Table& t : tables_) {
    t.entries.clear();
    t.free.clear();
    for (std::uint32_t i = 0; i < capacity; ++i) t.free.push_back(i);
  }
}

std::optional<Spi> SaStore::allocate_spi() {
  const auto free = take_free(Direction::Inbound);
  if (!free) return std::nullopt;
  const std::uint32_t slot = *free;
  std::uint32_t spi = 0;
  // At least 12 random bits remain above the slot (capacity is at most 2^20): a handful of tries finds one.
  do spi = (random_() & ~(capacity_ - 1)) | slot;
  while (spi <= kReservedSpis || spi == last_spi_[slot]);
  last_spi_[slot] = spi;
  table(Direction::Inbound).entries[slot] = {Direction::Inbound, slot, Spi{spi}, SlotState::Reserved, 0, {}, {}, false, false, {}};
  await(Direction::Inbound, slot, Spi{spi});
  return Spi{spi};
}

void SaStore::release_spi(Spi spi) { released_.push_back(spi); }

void SaStore::settle() {
  for (const Spi spi : std::exchange(released_, {})) {
    SaEntry* e = lookup(Direction::Inbound, spi, 0);
    if (e == nullptr) continue;
    e->released = true;
    if (e->state == SlotState::Reserved) free_slot(Direction::Inbound, e->slot);
  }
}

std::optional<std::uint32_t> SaStore::begin_install(Direction direction, Spi spi, std::uint64_t pair, const std::string& connection,
                                                    const std::string& child, PolicyId policy) {
  SaEntry* e = nullptr;
  if (direction == Direction::Inbound) {
    e = lookup(direction, spi, 0);
    if (e == nullptr || e->state != SlotState::Reserved) return std::nullopt;
  } else {
    if (lookup(direction, spi, pair) != nullptr) return std::nullopt;
    const auto slot = take_free(direction);
    if (!slot) return std::nullopt;
    e = &table(direction).entries[*slot];
    e->direction = direction;
    e->slot = *slot;
    e->spi = spi;
    outbound_[{pair, spi.value}] = *slot;
  }
  e->state = SlotState::Busy;
  e->pair = pair;
  e->connection = connection;
  e->child = child;
  e->policy = policy;
  return e->slot;
}

void SaStore::installed(Direction direction, std::uint32_t slot) {
  const auto it = table(direction).entries.find(slot);
  if (it == table(direction).entries.end() || it->second.state != SlotState::Busy) return;
  it->second.state = SlotState::Live;
  if (direction == Direction::Outbound) return way_back_settled(it->second.pair);
  const auto way_back = outbound_.lower_bound({it->second.pair, 0});
  const bool there = way_back != outbound_.end() && way_back->first.first == it->second.pair &&
                     at(Direction::Outbound, way_back->second)->state != SlotState::Busy;
  if (there)
    await(direction, slot, {});
  else
    halves_.emplace(it->second.pair, slot);
}

void SaStore::gone(Direction direction, std::uint32_t slot) {
  const auto it = table(direction).entries.find(slot);
  if (it == table(direction).entries.end() || !in_dataplane(it->second.state)) return;
  way_back_settled(it->second.pair);
  await(direction, slot, {});
  if (direction == Direction::Outbound || it->second.released) {
    free_slot(direction, slot);
  } else {
    it->second.state = SlotState::Reserved;
  }
}

const SaEntry* SaStore::begin_remove(Direction direction, Spi spi, std::uint64_t pair) {
  SaEntry* e = lookup(direction, spi, pair);
  if (e == nullptr || (e->state != SlotState::Busy && e->state != SlotState::Live)) return nullptr;
  e->state = SlotState::Leaving;
  return e;
}

bool SaStore::adopt(Direction direction, std::uint32_t slot, Spi spi, std::uint64_t pair, const std::string& connection,
                    const std::string& child, PolicyId policy) {
  Table& t = table(direction);
  if (slot >= capacity_ || t.entries.contains(slot)) return false;
  if (direction == Direction::Inbound && (spi.value & (capacity_ - 1)) != slot) return false;
  if (direction == Direction::Inbound) {
    last_spi_[slot] = spi.value;
  } else {
    outbound_[{pair, spi.value}] = slot;
  }
  // Nobody has allocated the SPI in this process, so nobody will release it.
  t.entries[slot] = {direction, slot, spi, SlotState::Live, pair, connection, child, true, true, policy};
  return true;
}

void SaStore::lose_all() {
  for (const Direction d : {Direction::Inbound, Direction::Outbound}) {
    std::vector<std::uint32_t> slots;
    for (const auto& [slot, entry] : table(d).entries)
      if (in_dataplane(entry.state)) slots.push_back(slot);
    for (const std::uint32_t slot : slots) gone(d, slot);
  }
}

void SaStore::announce(std::span<std::atomic<std::uint32_t>> awaited) {
  awaited_ = awaited;
  halves_.clear();
  for (std::atomic<std::uint32_t>& spi : awaited_) spi.store(0, std::memory_order_relaxed);
  for (const auto& [slot, e] : table(Direction::Inbound).entries)
    if (e.state == SlotState::Reserved && e.pair == 0) await(Direction::Inbound, slot, e.spi);
}

void SaStore::await(Direction direction, std::uint32_t slot, Spi spi) {
  if (direction == Direction::Inbound && slot < awaited_.size()) awaited_[slot].store(spi.value, std::memory_order_relaxed);
}

void SaStore::way_back_settled(std::uint64_t pair) {
  const auto half = halves_.find(pair);
  if (half == halves_.end()) return;
  await(Direction::Inbound, half->second, {});
  halves_.erase(half);
}

const SaEntry* SaStore::find(Direction direction, Spi spi, std::uint64_t pair) const {
  return const_cast<SaStore*>(this)->lookup(direction, spi, pair);
}

const SaEntry* SaStore::at(Direction direction, std::uint32_t slot) const {
  const auto it = table(direction).entries.find(slot);
  return it == table(direction).entries.end() ? nullptr : &it->second;
}

void SaStore::each(const std::function<void(const SaEntry&)>& visit) const {
  for (const Table& t : tables_)
    for (const auto& [slot, entry] : t.entries)
      if (in_dataplane(entry.state)) visit(entry);
}

/// Inbound SPIs are ours and unique, `pair` is not needed. Outbound ones are the peers': two may choose the same.
SaEntry* SaStore::lookup(Direction direction, Spi spi, std::uint64_t pair) {
  Table& t = table(direction);
  if (direction == Direction::Inbound) {
    const auto it = t.entries.find(spi.value & (capacity_ - 1));
    return it != t.entries.end() && it->second.spi == spi ? &it->second : nullptr;
  }
  const auto it = outbound_.find({pair, spi.value});
  return it == outbound_.end() ? nullptr : &t.entries.at(it->second);
}

std::optional<std::uint32_t> SaStore::take_free(Direction direction) {
  Table& t = table(direction);
  while (!t.free.empty()) {
    const std::uint32_t slot = t.free.front();
    t.free.pop_front();
    if (!t.entries.contains(slot)) return slot;
  }
  return std::nullopt;
}

void SaStore::free_slot(Direction direction, std::uint32_t slot) {
  const auto it = table(direction).entries.find(slot);
  if (direction == Direction::Outbound) outbound_.erase({it->second.pair, it->second.spi.value});
  table(direction).entries.erase(it);
  table(direction).free.push_back(slot);
  await(direction, slot, {});
}

}  // namespace culvert::control

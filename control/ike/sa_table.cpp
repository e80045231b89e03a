#include "control/ike/sa_table.hpp"

namespace culvert::ike {

void SaTable::add_initiator(SaId id, IkeSpi spi_i) {
  entries_[id] = {spi_i, {}, std::nullopt, false, 0};
  initiating_[spi_i] = id;
}

void SaTable::add_responder(SaId id, IkeSpi spi_i, IkeSpi spi_r, const Endpoint& source, bool heard, std::size_t print) {
  entries_[id] = {spi_i, spi_r, source, true, print};
  if (!heard) unheard_.insert(id);
  by_spis_[{spi_i, spi_r}] = id;
  by_source_[{spi_i, source, print}] = id;
  ++per_source_[host_of(source)];
  ++half_open_;
}

void SaTable::complete_initiator(SaId id, IkeSpi spi_i, IkeSpi spi_r) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  it->second.spi_r = spi_r;
  initiating_.erase(spi_i);
  by_spis_[{spi_i, spi_r}] = id;
}

void SaTable::leave_half_open(Entry& entry) {
  if (!entry.half_open) return;
  entry.half_open = false;
  --half_open_;
  freed_.push_back(host_of(*entry.source));
  const auto it = per_source_.find(freed_.back());
  if (it != per_source_.end() && --it->second == 0) per_source_.erase(it);
}

void SaTable::promote(SaId id) {
  heard(id);
  if (const auto it = entries_.find(id); it != entries_.end()) leave_half_open(it->second);
}

void SaTable::remove(SaId id) {
  heard(id);
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  leave_half_open(entry);
  if (const auto s = by_spis_.find({entry.spi_i, entry.spi_r}); s != by_spis_.end() && s->second == id) by_spis_.erase(s);
  if (const auto s = initiating_.find(entry.spi_i); s != initiating_.end() && s->second == id) initiating_.erase(s);
  if (entry.source)
    if (const auto s = by_source_.find({entry.spi_i, *entry.source, entry.print}); s != by_source_.end() && s->second == id)
      by_source_.erase(s);
  entries_.erase(it);
}

std::optional<SaId> SaTable::find(IkeSpi spi_i, IkeSpi spi_r) const {
  const auto it = by_spis_.find({spi_i, spi_r});
  return it == by_spis_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<SaId> SaTable::find_initiating(IkeSpi spi_i) const {
  const auto it = initiating_.find(spi_i);
  return it == initiating_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<SaId> SaTable::find_half_open(IkeSpi spi_i, const Endpoint& source, std::size_t print) const {
  const auto it = by_source_.find({spi_i, source, print});
  return it == by_source_.end() ? std::nullopt : std::optional(it->second);
}

std::vector<SaId> SaTable::all_of(IkeSpi spi_i, const Endpoint& source) const {
  std::vector<SaId> out;
  for (auto it = by_source_.lower_bound({spi_i, source, 0}); it != by_source_.end(); ++it) {
    const auto& [spi, where, print] = it->first;
    if (spi != spi_i || where != source) break;
    out.push_back(it->second);
  }
  return out;
}

std::size_t SaTable::half_open(const Endpoint& source) const {
  const auto it = per_source_.find(host_of(source));
  return it == per_source_.end() ? 0 : it->second;
}

}  // namespace culvert::ike

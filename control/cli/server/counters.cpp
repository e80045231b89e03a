// The counters command: a plain reading of the segment and of the sums; changes nothing.
#include <array>
#include <chrono>

#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
using Totals = std::array<std::uint64_t, kDropReasons>;

json::object drops_json(const std::array<shm::Counter, kDropReasons>& counted, Totals& totals) {
  json::object drops;
  for (std::size_t r = 0; r < kDropReasons; ++r) {
    const std::uint64_t n = counted[r].get();
    totals[r] += n;
    drops[kDropTable[r].name] = n;
  }
  return drops;
}

json::array nodes_json(const shm::WorkerCounters& w) {
  json::array out;
  for (std::size_t i = 0; i < shm::kNodeTable.size(); ++i)
    out.push_back(json::object{{"node", shm::kNodeTable[i].name},
                               {"help", shm::kNodeTable[i].help},
                               {"packets", w.nodes[i].packets.get()},
                               {"cycles", w.nodes[i].cycles.get()}});
  return out;
}

json::value oldest_parcel(const shm::WorkerCounters& w, ike::TimePoint now) {
  const auto since = static_cast<std::int64_t>(w.spread_since.get());
  return seconds_between(ike::TimePoint{std::chrono::nanoseconds{since}}, now);
}

json::array workers_json(const shm::Segment& segment, Totals& totals, ike::TimePoint now) {
  json::array out;
  std::uint64_t number = 0;
  for (const shm::WorkerCounters& w : segment.workers()) {
    out.push_back(json::object{{"worker", number++},
                               {"rx_packets", w.rx_packets.get()},
                               {"tx_packets", w.tx_packets.get()},
                               {"polls", w.polls.get()},
                               {"busy_polls", w.busy_polls.get()},
                               {"sleeps", w.sleeps.get()},
                               {"busy_cycles", w.busy_cycles.get()},
                               {"handoff_in", w.handoff_in.get()},
                               {"handoff_out", w.handoff_out.get()},
                               {"parcels", w.parcels.get()},
                               {"spread_out", w.spread_out.get()},
                               {"spread_full", w.spread_full.get()},
                               {"spread_in", w.spread_in.get()},
                               {"spread_late", w.spread_late.get()},
                               {"spread_oldest_s", oldest_parcel(w, now)},
                               {"generated", w.generated.get()},
                               {"consumed", w.consumed.get()},
                               {"drops", drops_json(w.drops, totals)},
                               {"nodes", nodes_json(w)}});
  }
  return out;
}

json::array ports_json(const shm::Segment& segment) {
  json::array out;
  for (const shm::PortCounters& p : segment.ports()) {
    out.push_back(json::object{{"port", p.name.view()},
                               {"up", p.link_up.get() != 0},
                               {"link_changes", p.link_changes.get()},
                               {"mtu", p.mtu.get()},
                               {"flow_rules", p.flow_rules.get()},
                               {"flow_refused", p.flow_refused.get()},
                               {"rx_packets", p.rx_packets.get()},
                               {"rx_bytes", p.rx_bytes.get()},
                               {"tx_packets", p.tx_packets.get()},
                               {"tx_bytes", p.tx_bytes.get()},
                               {"rx_missed", p.rx_missed.get()},
                               {"rx_errors", p.rx_errors.get()},
                               {"tx_errors", p.tx_errors.get()},
                               {"rx_nombuf", p.rx_nombuf.get()}});
  }
  return out;
}

template <class T, std::uint32_t Capacity>
json::object ring_json(const char* name, const shm::RingMemory<T, Capacity>& ring) {
  const std::uint32_t fill = ring.head.load(std::memory_order_relaxed) - ring.tail.load(std::memory_order_relaxed);
  return {
      {"ring", name}, {"fill", fill <= Capacity ? fill : 0}, {"capacity", Capacity}, {"full", ring.full.load(std::memory_order_relaxed)}};
}

json::array exchanges_json(const ExchangeCounts& counts) {
  json::array out;
  for (std::size_t e = 0; e < counts.size(); ++e)
    for (std::size_t role = 0; role < counts[e].size(); ++role)
      for (std::size_t r = 0; r < counts[e][role].size(); ++r)
        if (counts[e][role][r] != 0)
          out.push_back(json::object{{"exchange", ike::name(static_cast<ike::Exchange>(e))},
                                     {"role", static_cast<ike::Role>(role) == ike::Role::Initiator ? "initiator" : "responder"},
                                     {"reason", ike::name(static_cast<ike::Reason>(r))},
                                     {"count", counts[e][role][r]}});
  return out;
}
}  // namespace

Result counters(Gateway& gateway, const Args&, ike::TimePoint now) {
  json::object out{{"workers", json::array{}}, {"ports", json::array{}}, {"drops", json::array{}}, {"rings", json::array{}}};
  json::array children;
  for (const auto& [key, sums] : gateway.traffic().sums())
    children.push_back(json::object{{"connection", key.first},
                                    {"child", key.second},
                                    {"in", totals_json(Direction::Inbound, sums[0])},
                                    {"out", totals_json(Direction::Outbound, sums[1])}});
  out["children"] = std::move(children);
  out["exchanges"] = exchanges_json(gateway.exchanges());
  if (const Link* link = gateway.link()) {
    Totals totals{};
    out["workers"] = workers_json(link->segment(), totals, now);
    const shm::ManagerCounters& manager = link->segment().manager();
    out["manager"] = json::object{
        {"generated", manager.generated.get()}, {"consumed", manager.consumed.get()}, {"drops", drops_json(manager.drops, totals)}};
    out["ports"] = ports_json(link->segment());
    json::array drops;
    for (std::size_t r = 0; r < kDropReasons; ++r)
      drops.push_back(json::object{{"reason", kDropTable[r].name}, {"help", kDropTable[r].help}, {"total", totals[r]}});
    out["drops"] = std::move(drops);
    const shm::SegmentRings& rings = link->segment().rings();
    out["rings"] = json::array{ring_json("command", rings.command), ring_json("event", rings.event), ring_json("punt", rings.punt),
                               ring_json("inject", rings.inject)};
  }
  return out;
}

}  // namespace culvert::control::cli

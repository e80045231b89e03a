#include "control/metrics/families.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <initializer_list>
#include <map>
#include <set>
#include <utility>

#include "common/config/rounds.hpp"
#include "control/version.hpp"

namespace culvert::control {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

/// Collects families; samples go to the family begun last.
class Builder {
 public:
  Builder& counter(const char* name, const char* help) { return begin(name, help, MetricType::Counter); }
  Builder& gauge(const char* name, const char* help) { return begin(name, help, MetricType::Gauge); }
  Builder& sample(Labels labels, double value) {
    ClientMetric m;
    m.label = std::move(labels);
    if (families_.back().type == MetricType::Counter) {
      m.counter.value = value;
    } else {
      m.gauge.value = value;
    }
    families_.back().metric.push_back(std::move(m));
    return *this;
  }
  Builder& sample(Labels labels, std::uint64_t value) { return sample(std::move(labels), static_cast<double>(value)); }
  std::vector<MetricFamily> take() && { return std::move(families_); }

 private:
  Builder& begin(const char* name, const char* help, MetricType type) {
    families_.push_back({name, help, type, {}});
    return *this;
  }
  std::vector<MetricFamily> families_;
};

ClientMetric::Label label(const char* name, std::string_view value) { return {name, std::string(value)}; }
std::string_view direction_name(std::size_t d) { return d == static_cast<std::size_t>(Direction::Inbound) ? "in" : "out"; }

/// The label of what is in a VRF: on all of a family, or, where there is but one VRF, on none, so that whoever has no VRFs keeps the series
/// that he has, and a query that does not name the label goes on working in any case.
class VrfLabel {
 public:
  explicit VrfLabel(const config::GatewayConfig& config) : config_(config) {}
  [[nodiscard]] Labels with(Labels labels, VrfId vrf) const {
    if (!config_.vrfs.empty()) labels.push_back(label("vrf", config::vrf_name(config_, vrf)));
    return labels;
  }

 private:
  const config::GatewayConfig& config_;
};

void add_build(Builder& b, const Gateway& gateway) {
  b.gauge("culvert_build_info", "Version of culvertd; always 1.").sample({label("version", kVersion)}, std::uint64_t{1});
  b.gauge("culvert_dataplane_connected", "1 while culvertd is attached to the data plane.")
      .sample({}, std::uint64_t{gateway.link() != nullptr});
  b.counter("culvert_dataplane_reattaches_total", "Times that culvertd attached to the data plane again after losing it.")
      .sample({}, gateway.reattaches());
}

/// Of a connection the VRF outside, of a child the one inside.
void add_connections(Builder& b, const std::vector<ike::ConnectionStatus>& connections, const Gateway& gateway) {
  const VrfLabel vrf(gateway.config());
  const auto of = [&](const ike::ConnectionStatus& c) {
    return vrf.with({label("connection", c.connection)}, gateway.vrf_outside(c.connection));
  };
  b.gauge("culvert_connection_info", "Which version of IKE the configured connection speaks; always 1.");
  for (const config::Connection& c : gateway.config().connections)
    b.sample(vrf.with({label("connection", c.name), label("version", std::to_string(c.version))}, c.vrf.id), std::uint64_t{1});
  b.gauge("culvert_connection_up", "1 while the configured connection has an established IKE SA (of IKEv1: ISAKMP SA).");
  for (const auto& c : connections) b.sample(of(c), std::uint64_t{c.up});
  b.gauge("culvert_connection_peers", "Peers of the configured connection that have an established IKE SA.");
  for (const auto& c : connections) b.sample(of(c), std::uint64_t{c.peers});
  b.gauge("culvert_child_up", "1 while the configured child has an IPsec SA pair in use.");
  for (const auto& c : connections)
    for (const auto& child : c.children)
      b.sample(
          vrf.with({label("connection", c.connection), label("child", child.child)}, gateway.vrfs_of({c.connection, child.child}).inner),
          std::uint64_t{child.up});
}

void add_tunnels(Builder& b, const std::vector<ike::ConnectionStatus>& connections, const config::GatewayConfig& config) {
  const VrfLabel vrf(config);
  b.gauge("culvert_tunnel_up", "1 while the child that is bound to the tunnel interface has an IPsec SA pair in use.");
  for (std::size_t i = 0; i < connections.size(); ++i)
    for (std::size_t k = 0; k < connections[i].children.size(); ++k)
      if (const config::Child& child = config.connections[i].children[k]; !child.tunnel.empty())
        b.sample(vrf.with({label("tunnel", child.tunnel), label("connection", connections[i].connection),
                           label("child", connections[i].children[k].child)},
                          child.vrf.id),
                 std::uint64_t{connections[i].children[k].up});
}

void add_ike(Builder& b, const Gateway& gateway) {
  b.counter("culvert_ike_exchanges_total", "IKE exchanges that ended, by kind, our role, result and reason.");
  for (std::size_t e = 0; e < static_cast<std::size_t>(ike::Exchange::Count_); ++e) {
    for (std::size_t role = 0; role < 2; ++role) {
      for (std::size_t r = 0; r < static_cast<std::size_t>(ike::Reason::Count_); ++r) {
        const std::uint64_t n = gateway.exchanges()[e][role][r];
        const bool ok = static_cast<ike::Reason>(r) == ike::Reason::Ok || static_cast<ike::Reason>(r) == ike::Reason::Redirected;
        if (n == 0 && static_cast<ike::Reason>(r) != ike::Reason::Ok) continue;  // failures appear with their first occurrence
        b.sample({label("exchange", ike::name(static_cast<ike::Exchange>(e))),
                  label("role", static_cast<ike::Role>(role) == ike::Role::Initiator ? "initiator" : "responder"),
                  label("result", ok ? "ok" : "failed"), label("reason", ike::name(static_cast<ike::Reason>(r)))},
                 n);
      }
    }
  }
  b.counter("culvert_failures_total",
            "Failed negotiations and lost SAs by reason: all that `culvert explain` shows has been counted here.");
  const auto failures = gateway.failure_counts();
  for (std::size_t r = 0; r < failures.size(); ++r)
    if (static_cast<ike::Reason>(r) != ike::Reason::Ok) b.sample({label("reason", ike::name(static_cast<ike::Reason>(r)))}, failures[r]);
  std::uint64_t established = 0, half_open = 0, children = 0;
  const auto installed = [](const std::vector<ike::ChildSaInfo>& all) {
    return static_cast<std::uint64_t>(std::ranges::count(all, ike::ChildState::Installed, &ike::ChildSaInfo::state));
  };
  for (const auto& sa : gateway.ike_sas()) {
    established += sa.state == ike::IkeState::Established;
    half_open += sa.state == ike::IkeState::Connecting;
    children += installed(sa.children);
  }
  for (const auto& lone : gateway.lone_pairs()) children += installed(lone.children);
  b.gauge("culvert_ike_sas", "Established IKE SAs, of both versions (of IKEv1: ISAKMP SAs).").sample({}, established);
  b.gauge("culvert_ike_half_open_sas", "IKE SAs that are being negotiated, of both versions.").sample({}, half_open);
  b.gauge("culvert_ike_newcomers", "Strangers of IKEv1 who have been sent message 2 and have not answered it: no SAs yet.")
      .sample({}, gateway.newcomers());
  b.counter("culvert_ike_selectors_left_out_total",
            "Traffic selectors that peers of IKEv2 did not get, for a CHILD SA had no room for them.")
      .sample({}, gateway.selectors_left_out());
  b.gauge("culvert_child_sas", "Installed pairs of IPsec SAs (CHILD SAs).").sample({}, children);
  b.gauge("culvert_sa_slots_used", "Slots of the data plane's SA tables that are in use or reserved.");
  for (const Direction d : {Direction::Inbound, Direction::Outbound})
    b.sample({label("direction", direction_name(static_cast<std::size_t>(d)))}, std::uint64_t{gateway.store().used(d)});
  b.gauge("culvert_sa_slots_capacity", "Slots of each of the data plane's SA tables.")
      .sample({}, std::uint64_t{gateway.store().capacity()});
  b.counter("culvert_sa_installs_refused_total", "IPsec SAs that could not be installed.").sample({}, gateway.installs_refused());
}

void add_pools(Builder& b, const Gateway& gateway) {
  const auto pools = gateway.pools();
  const auto of = [&](const ike::PoolInfo& p) {
    const auto& configured = gateway.config().pools;
    const auto pool = std::ranges::find(configured, p.name, &config::Pool::name);
    return VrfLabel(gateway.config()).with({label("pool", p.name)}, pool == configured.end() ? kDefaultVrf : pool->vrf.id);
  };
  b.gauge("culvert_pool_addresses", "Virtual addresses that the pool has.");
  for (const auto& p : pools) b.sample(of(p), p.size);
  b.gauge("culvert_pool_leases", "Virtual addresses of the pool that are somebody's now.");
  for (const auto& p : pools) b.sample(of(p), p.online);
}

void add_traffic(Builder& b, const Traffic& traffic, const Gateway& gateway) {
  const VrfLabel vrf(gateway.config());
  const auto each = [&](auto&& emit) {
    for (const auto& [key, sums] : traffic.sums()) {
      const Labels child =
          vrf.with({label("connection", key.first), label("child", key.second)}, gateway.vrfs_of({key.first, key.second}).inner);
      for (std::size_t d = 0; d < sums.size(); ++d) {
        Labels labels = child;
        labels.push_back(label("direction", direction_name(d)));
        emit(std::move(labels), sums[d], static_cast<Direction>(d));
      }
    }
  };
  b.counter("culvert_child_packets_total", "Inner packets that the child's IPsec SAs carried, over all rekeys.");
  each([&](Labels l, const SaTotals& t, Direction) { b.sample(std::move(l), t.packets); });
  b.counter("culvert_child_bytes_total", "Bytes of inner packets that the child's IPsec SAs carried, over all rekeys.");
  each([&](Labels l, const SaTotals& t, Direction) { b.sample(std::move(l), t.bytes); });
  b.counter("culvert_child_errors_total", "Packets that the child's IPsec SAs dropped, by reason, over all rekeys.");
  const auto with = [](Labels l, const char* name, std::string_view value) {
    l.push_back(label(name, value));
    return l;
  };
  each([&](const Labels& l, const SaTotals& t, Direction d) {
    t.each_drop(d, [&](std::string_view reason, std::uint64_t n) { b.sample(with(l, "reason", reason), n); });
  });
  b.counter("culvert_child_sequence_gaps_total",
            "Packets of the child's peer by what became of them on the path, as their sequence numbers tell, over all rekeys: lost, "
            "reordered, duplicated.");
  each([&](Labels l, const SaTotals& t, Direction d) {
    if (d != Direction::Inbound) return;
    l.pop_back();
    b.sample(with(l, "kind", "lost"), t.lost);
    b.sample(with(l, "kind", "reordered"), t.reordered);
    b.sample(with(l, "kind", "duplicated"), t.duplicated());
  });
}

void add_workers(Builder& b, const shm::Segment& segment, ike::TimePoint now) {
  const auto workers = segment.workers();
  b.counter("culvert_drops_total", "Packets that the data plane dropped, by worker (or \"manager\", the thread beside them) and reason.");
  const auto drops = [&b](const std::string& of, const std::array<shm::Counter, kDropReasons>& counted) {
    for (std::size_t r = 0; r < kDropReasons; ++r) b.sample({label("worker", of), label("reason", kDropTable[r].name)}, counted[r].get());
  };
  for (std::size_t w = 0; w < workers.size(); ++w) drops(std::to_string(w), workers[w].drops);
  drops("manager", segment.manager().drops);
  const double hz = segment.header().tsc_hz == 0 ? 1.0 : static_cast<double>(segment.header().tsc_hz);
  const auto each = [&](const char* name, const char* help, auto&& value) {
    b.counter(name, help);
    for (std::size_t w = 0; w < workers.size(); ++w) b.sample({label("worker", std::to_string(w))}, value(workers[w]));
  };
  const auto of_nodes = [&](const char* name, const char* help, auto&& value) {
    b.counter(name, help);
    for (std::size_t w = 0; w < workers.size(); ++w)
      for (std::size_t n = 0; n < shm::kNodeTable.size(); ++n)
        b.sample({label("worker", std::to_string(w)), label("node", shm::kNodeTable[n].name)}, value(workers[w].nodes[n]));
  };
  of_nodes("culvert_worker_node_packets_total", "Packets through a step of the worker's path, in the passes that were measured (1 of 64).",
           [](const shm::NodeCounters& n) { return n.packets.get(); });
  of_nodes("culvert_worker_node_cycles_total", "Cycles that a step of the worker's path took, in the passes that were measured (1 of 64).",
           [](const shm::NodeCounters& n) { return n.cycles.get(); });
  using W = shm::WorkerCounters;
  each("culvert_worker_rx_packets_total", "Packets that the worker took from its receive queues.",
       [](const W& w) { return w.rx_packets.get(); });
  each("culvert_worker_tx_packets_total", "Packets that the worker gave to its transmit queues.",
       [](const W& w) { return w.tx_packets.get(); });
  each("culvert_worker_polls_total", "Rounds of the worker over its receive queues.", [](const W& w) { return w.polls.get(); });
  each("culvert_worker_busy_polls_total", "Rounds of the worker that found a packet.", [](const W& w) { return w.busy_polls.get(); });
  each("culvert_worker_sleeps_total", "Times that the worker backed off because it was idle.", [](const W& w) { return w.sleeps.get(); });
  each("culvert_worker_busy_seconds_total", "Time that the worker spent in rounds that found a packet.",
       [hz](const W& w) { return static_cast<double>(w.busy_cycles.get()) / hz; });
  each("culvert_worker_handoff_in_packets_total", "Packets that other workers handed over to this one.",
       [](const W& w) { return w.handoff_in.get(); });
  each("culvert_worker_handoff_out_packets_total", "Packets that this worker handed over to others.",
       [](const W& w) { return w.handoff_out.get(); });
  each("culvert_worker_early_packets_total", "Packets under an SA that came before what makes it, and waited for it.",
       [](const W& w) { return w.early.get(); });
  each("culvert_worker_ike_cookies_total",
       "First messages of IKEv2, beyond those that culvertd gets, that this worker answered by asking for a cookie (RFC 7296 section 2.6).",
       [](const W& w) { return w.cookies.get(); });
  each("culvert_worker_spread_parcels_total", "Parcels into which this worker put packets whose crypto all workers share (spread: yes).",
       [](const W& w) { return w.parcels.get(); });
  each("culvert_worker_spread_out_packets_total", "Packets that this worker put into parcels.",
       [](const W& w) { return w.spread_out.get(); });
  each("culvert_worker_spread_full_packets_total", "Packets that this worker dropped because all of its parcels were under way.",
       [](const W& w) { return w.spread_full.get(); });
  each("culvert_worker_spread_in_packets_total", "Packets of other workers' parcels whose crypto this worker did.",
       [](const W& w) { return w.spread_in.get(); });
  each("culvert_worker_spread_late_parcels_total",
       "Parcels of this worker that came back after more than 10 ms: another worker lost its core with them.",
       [](const W& w) { return w.spread_late.get(); });
  b.gauge("culvert_worker_spread_oldest_parcel_seconds", "Age of this worker's oldest parcel under way; what is behind it waits for it.");
  for (std::size_t w = 0; w < workers.size(); ++w) {
    const auto since = static_cast<std::int64_t>(workers[w].spread_since.get());
    const auto age = now - ike::TimePoint{std::chrono::nanoseconds{since}};
    b.sample({label("worker", std::to_string(w))}, since == 0 || age.count() < 0 ? 0.0 : std::chrono::duration<double>(age).count());
  }
}

/// Ports and VLANs, as the data plane names them.
void add_ports(Builder& b, const shm::Segment& segment, const config::GatewayConfig& config) {
  const auto ports = segment.ports();
  using P = shm::PortCounters;
  const auto all = config::interfaces(config);
  const auto of = [&, vrf = VrfLabel(config)](const P& p, const char* direction = nullptr) {
    const auto i = std::ranges::find(all, p.name.view(), &config::Interface::name);
    Labels labels = vrf.with({label("port", p.name.view())}, i == all.end() ? kDefaultVrf : i->vrf);
    if (direction != nullptr) labels.push_back(label("direction", direction));
    return labels;
  };
  const auto both = [&](const char* name, const char* help, auto&& in, auto&& out) {
    b.counter(name, help);
    for (const P& p : ports) {
      b.sample(of(p, "in"), in(p));
      b.sample(of(p, "out"), out(p));
    }
  };
  both(
      "culvert_port_packets_total", "Packets received and sent by the port.", [](const P& p) { return p.rx_packets.get(); },
      [](const P& p) { return p.tx_packets.get(); });
  both(
      "culvert_port_bytes_total", "Bytes received and sent by the port.", [](const P& p) { return p.rx_bytes.get(); },
      [](const P& p) { return p.tx_bytes.get(); });
  both(
      "culvert_port_errors_total", "Packets that the port could not receive or send.", [](const P& p) { return p.rx_errors.get(); },
      [](const P& p) { return p.tx_errors.get(); });
  const auto in = [&](const char* name, const char* help, auto&& value) {
    b.counter(name, help);
    for (const P& p : ports) b.sample(of(p, "in"), value(p));
  };
  in("culvert_port_missed_packets_total", "Packets that the port dropped because no worker took them in time.",
     [](const P& p) { return p.rx_missed.get(); });
  in("culvert_port_no_buffer_packets_total", "Packets that the port dropped for want of a buffer.",
     [](const P& p) { return p.rx_nombuf.get(); });
  b.gauge("culvert_port_up", "1 while the port has a link.");
  for (const P& p : ports) b.sample(of(p), std::uint64_t{p.link_up.get() != 0});
  b.counter("culvert_port_link_changes_total", "How often the port's link went down or came back.");
  for (const P& p : ports) b.sample(of(p), p.link_changes.get());
  b.gauge("culvert_port_mtu_bytes", "The largest IP packet that the port sends: as configured, or less while its interface carries less.");
  for (const P& p : ports) b.sample(of(p), p.mtu.get());
  b.gauge("culvert_port_flow_rules", "SAs whose packets the port's device brings to their workers, by SPI.");
  for (const P& p : ports) b.sample(of(p), p.flow_rules.get());
  b.counter("culvert_port_flow_rules_refused_total",
            "SAs for which the port's device took no such rule: workers hand over what is not theirs.");
  for (const P& p : ports) b.sample(of(p), p.flow_refused.get());
}

void add_certificates(Builder& b, const auth::Inventory& inventory, const config::GatewayConfig& config) {
  b.gauge("culvert_certificate_not_after_timestamp_seconds",
          "Last second of a certificate, since 1970: one that a connection uses, or an authority that any of them trusts.");
  // An authority is one for all who trust it, so that many connections do not multiply it. Two certificates may share all labels (a root
  // that was renewed under its serial number): the first to end is the one to know of.
  std::map<std::array<std::string, 4>, std::chrono::sys_seconds> ends;
  for (const auto& c : inventory.certificates) {
    const auto [known, fresh] = ends.try_emplace({c.role == "authority" ? "" : c.connection, c.role, c.subject, c.serial}, c.not_after);
    if (!fresh) known->second = std::min(known->second, c.not_after);
  }
  for (const auto& [labels, end] : ends)
    b.sample({label("connection", labels[0]), label("role", labels[1]), label("subject", labels[2]), label("serial", labels[3])},
             static_cast<double>(end.time_since_epoch().count()));
  std::set<std::pair<std::string, std::string>> broken;
  for (const auto& p : inventory.problems) broken.emplace(p.connection, p.side);
  b.gauge("culvert_certificate_files_usable", "1 while the connection's files of keys and certificates can be read and fit each other.");
  for (const auto& c : config.connections)
    for (const std::string& side : config::certificate_sections(c))
      b.sample({label("connection", c.name), label("side", side)}, std::uint64_t{!broken.contains({c.name, side})});
}

template <class T, std::uint32_t Capacity>
std::uint64_t fill_of(const shm::RingMemory<T, Capacity>& ring) {
  const std::uint32_t n = ring.head.load(std::memory_order_relaxed) - ring.tail.load(std::memory_order_relaxed);
  return n <= Capacity ? n : 0;
}

void add_rings(Builder& b, const Link& link) {
  const shm::SegmentRings& rings = link.segment().rings();
  struct Row {
    const char* name;
    std::uint64_t fill, capacity, full;
  };
  const Row rows[] = {{"command", fill_of(rings.command), shm::kCommandSlots, rings.command.full.load(std::memory_order_relaxed)},
                      {"event", fill_of(rings.event), shm::kEventSlots, rings.event.full.load(std::memory_order_relaxed)},
                      {"punt", fill_of(rings.punt), shm::kDatagramSlots, rings.punt.full.load(std::memory_order_relaxed)},
                      {"inject", fill_of(rings.inject), shm::kDatagramSlots, rings.inject.full.load(std::memory_order_relaxed)}};
  b.gauge("culvert_ring_fill_slots", "Messages that wait in a ring between the planes.");
  for (const Row& r : rows) b.sample({label("ring", r.name)}, r.fill);
  b.gauge("culvert_ring_capacity_slots", "Messages that a ring between the planes can hold.");
  for (const Row& r : rows) b.sample({label("ring", r.name)}, r.capacity);
  b.counter("culvert_ring_full_total", "Messages that a ring between the planes refused because it was full.");
  for (const Row& r : rows) b.sample({label("ring", r.name)}, r.full);
  b.gauge("culvert_command_queue_slots", "Commands in culvertd that wait for room in the command ring.")
      .sample({}, std::uint64_t{link.commands().waiting()});
  b.counter("culvert_ring_invalid_messages_total", "Messages of the data plane that made no sense.").sample({}, link.invalid_messages());
}

void add_radius(Builder& b, const std::vector<radius::ServerInfo>& servers) {
  if (servers.empty()) return;
  for (std::size_t c = 0; c < static_cast<std::size_t>(radius::Count::Count_); ++c) {
    const auto which = static_cast<radius::Count>(c);
    b.counter(("culvert_radius_" + std::string(name(which)) + "_total").c_str(), ("RADIUS: " + std::string(help(which))).c_str());
    for (const auto& s : servers) b.sample({label("server", s.name)}, s.counts.at(c));
  }
  b.counter("culvert_radius_answers_total", "RADIUS: answers that proved themselves.");
  for (const auto& s : servers) b.sample({label("server", s.name)}, s.answers);
  b.counter("culvert_radius_answer_seconds_total", "RADIUS: how long they took in all, from the first sending.");
  for (const auto& s : servers) b.sample({label("server", s.name)}, std::chrono::duration<double>(s.waited).count());
  b.gauge("culvert_radius_dead", "RADIUS: 1 while the server is taken for dead, since it answers nobody.");
  for (const auto& s : servers) b.sample({label("server", s.name)}, s.dead ? 1.0 : 0.0);
  b.gauge("culvert_radius_under_way", "RADIUS: questions that wait for their answer.");
  for (const auto& s : servers) b.sample({label("server", s.name)}, static_cast<std::uint64_t>(s.under_way));
}

}  // namespace

std::vector<MetricFamily> metric_families(Gateway& gateway, ike::TimePoint now) {
  Builder b;
  add_build(b, gateway);
  const auto connections = gateway.connections();
  add_connections(b, connections, gateway);
  add_tunnels(b, connections, gateway.config());
  add_ike(b, gateway);
  add_pools(b, gateway);
  add_radius(b, gateway.radius_servers(now));
  add_certificates(b, gateway.certificates_in_use(), gateway.config());
  add_traffic(b, gateway.traffic(), gateway);
  if (const Link* link = gateway.link()) {
    add_workers(b, link->segment(), now);
    add_ports(b, link->segment(), gateway.config());
    add_rings(b, *link);
  }
  return std::move(b).take();
}

}  // namespace culvert::control

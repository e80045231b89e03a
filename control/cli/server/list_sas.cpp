// The list-sas command: the engine's SAs joined with their records in the segment. No key material is in either.
#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
std::string_view name_of(ike::Role role) { return role == ike::Role::Initiator ? "initiator" : "responder"; }

json::object record_json(const shm::SaRecord& record, const shm::SaSnapshot& sa, ike::TimePoint now) {
  json::object out = totals_json(sa.direction, SaTotals::of(sa.direction, record.counters));
  out["sequence"] = record.counters.sequence.get();
  out["worker"] = sa.worker;
  if (sa.direction == Direction::Outbound) {
    out["mtu"] = sa.mtu != 0 ? json::value(sa.mtu) : json::value(nullptr);
    out["path_mtu"] = sa.path_mtu != 0 ? json::value(sa.path_mtu) : json::value(nullptr);
  }
  const std::uint64_t used = record.counters.last_used_ns.get();
  out["idle_s"] = seconds_between(ike::TimePoint{std::chrono::nanoseconds{static_cast<std::int64_t>(used)}}, now);
  return out;
}

json::value direction_json(const Gateway& gateway, Direction direction, Spi spi, std::uint64_t pair, ike::TimePoint now) {
  const shm::SaRecord* record = gateway.record(direction, spi, pair);
  shm::SaSnapshot sa;
  if (record == nullptr || !shm::read_record(*record, sa) || sa.spi != spi) return nullptr;
  return record_json(*record, sa, now);
}

template <class Suite>
json::value suite_json(const Suite& suite) {
  return suite == Suite{} ? json::value(nullptr) : json::value(suite.to_string());
}

/// Of a pair that a former culvertd made only the data plane knows more than the configuration says.
ike::ChildSaInfo with_record(const Gateway& gateway, ike::ChildSaInfo c) {
  for (const auto& [direction, spi] : {std::pair(Direction::Inbound, c.spi_in), std::pair(Direction::Outbound, c.spi_out)}) {
    const shm::SaRecord* record = gateway.record(direction, spi, c.pair);
    shm::SaSnapshot sa;
    if (record == nullptr || !shm::read_record(*record, sa) || sa.spi != spi) continue;
    c.suite = sa.suite;
    c.mode = sa.mode;
    c.local_ts = sa.local_ts;
    c.remote_ts = sa.remote_ts;
    c.more_local_ts.assign(sa.more.local().begin(), sa.more.local().end());
    c.more_remote_ts.assign(sa.more.remote().begin(), sa.more.remote().end());
    c.established = ike::TimePoint{std::chrono::nanoseconds{static_cast<std::int64_t>(sa.installed_ns)}};
    if (sa.hard.seconds != 0) c.expires_at = c.established + std::chrono::seconds{static_cast<std::int64_t>(sa.hard.seconds)};
    break;
  }
  return c;
}

json::object child_json(const Gateway& gateway, const std::string& connection, const ike::ChildSaInfo& known, ike::TimePoint now) {
  const ike::ChildSaInfo c = known.adopted ? with_record(gateway, known) : known;
  return {{"child", c.child},
          {"state", ike::name(c.state)},
          {"role", c.adopted ? json::value(nullptr) : json::value(name_of(c.role))},
          {"adopted", c.adopted},
          {"worker", c.worker ? json::value(*c.worker) : json::value(nullptr)},
          {"pair", c.pair},
          {"spi_in", fmt::format("{:08x}", c.spi_in.value)},
          {"spi_out", fmt::format("{:08x}", c.spi_out.value)},
          {"suite", suite_json(c.suite)},
          {"protocol", c.suite.protocol == SaProtocol::Ah ? "ah" : "esp"},
          {"mode", c.mode == SaMode::Transport ? "transport" : "tunnel"},
          {"esn", c.suite.esn},
          {"encap", c.udp_encap ? "udp" : "native"},
          {"vrf", config::vrf_name(gateway.config(), gateway.vrfs_of({connection, c.child}).inner)},
          {"local_ts", to_string(c.local_ts, c.more_local_ts)},
          {"remote_ts", to_string(c.remote_ts, c.more_remote_ts)},
          {"age_s", seconds_between(c.established, now)},
          {"rekey_in_s", seconds_between(now, c.rekey_at)},
          {"expires_in_s", seconds_between(now, c.expires_at)},
          {"in", direction_json(gateway, Direction::Inbound, c.spi_in, c.pair, now)},
          {"out", direction_json(gateway, Direction::Outbound, c.spi_out, c.pair, now)}};
}

json::array children_json(const Gateway& gateway, const std::string& connection, const std::vector<ike::ChildSaInfo>& children,
                          ike::TimePoint now) {
  json::array out;
  for (const auto& c : children) out.push_back(child_json(gateway, connection, c, now));
  return out;
}

json::object ike_json(const Gateway& gateway, const ike::IkeSaInfo& sa, ike::TimePoint now) {
  json::array vendors;
  for (const auto& v : sa.vendor_ids) vendors.emplace_back(v);
  json::array addresses;
  for (const auto& a : {sa.virtual_address, sa.virtual_address_v6})
    if (a) addresses.emplace_back(a->to_string());
  json::array servers, networks;
  for (const IpAddress& dns : sa.given.dns) servers.emplace_back(dns.to_string());
  for (const Prefix& network : sa.given.networks) networks.emplace_back(network.to_string());
  json::array others;
  for (const IpAddress& address : sa.peer_addresses) others.emplace_back(address.to_string());
  return {{"id", sa.id},
          {"connection", sa.connection},
          {"version", sa.version},
          {"state", ike::name(sa.state)},
          {"role", name_of(sa.role)},
          {"initiator_spi", fmt::format("{:016x}", sa.spi_i.value)},
          {"responder_spi", fmt::format("{:016x}", sa.spi_r.value)},
          {"vrf", config::vrf_name(gateway.config(), gateway.vrf_outside(sa.connection))},
          {"local", sa.local.to_string()},
          {"remote", sa.remote.to_string()},
          {"local_id", sa.local_id},
          {"remote_id", sa.remote_id},
          {"suite", suite_json(sa.suite)},
          {"xauth_user", sa.xauth_user.empty() ? json::value(nullptr) : json::value(sa.xauth_user)},
          {"virtual_address", sa.virtual_address ? json::value(sa.virtual_address->to_string()) : json::value(nullptr)},
          {"virtual_addresses", std::move(addresses)},
          {"given", {{"dns", std::move(servers)}, {"networks", std::move(networks)}}},
          {"nat", {{"local", sa.nat_local}, {"remote", sa.nat_remote}, {"forced", sa.nat_forced}}},
          {"mobike", sa.mobike},
          {"message_id_sync", sa.message_id_sync},
          {"replay_counter_sync", sa.replay_counter_sync},
          {"window", sa.window},
          {"peer_addresses", std::move(others)},
          {"vendor_ids", std::move(vendors)},
          {"age_s", seconds_between(sa.established != ike::TimePoint{} ? sa.established : sa.created, now)},
          {"rekey_in_s", seconds_between(now, sa.rekey_at)},
          {"reauth_in_s", seconds_between(now, sa.reauth_at)},
          {"expires_in_s", seconds_between(now, sa.expires_at)},
          {"children", children_json(gateway, sa.connection, sa.children, now)}};
}

/// SAs of a former culvertd that the engine does not have (any more), but the data plane still has.
json::array orphans_json(const Gateway& gateway, const std::set<std::uint64_t>& shown, const std::string& connection, ike::TimePoint now) {
  json::array out;
  if (gateway.link() == nullptr) return out;
  gateway.store().each([&](const SaEntry& e) {
    if (!e.orphan || shown.contains(e.pair) || (!connection.empty() && e.connection != connection)) return;
    const shm::SaRecord& record = gateway.link()->segment().records(e.direction)[e.slot];
    shm::SaSnapshot sa;
    if (!shm::read_record(record, sa)) return;
    json::object o{{"connection", e.connection},
                   {"child", e.child},
                   {"direction", e.direction == Direction::Inbound ? "in" : "out"},
                   {"spi", fmt::format("{:08x}", e.spi.value)},
                   {"suite", sa.suite.to_string()},
                   {"local", sa.local.address.to_string()},
                   {"remote", sa.remote.address.to_string()},
                   {"local_ts", to_string(sa.local_ts, sa.more.local())},
                   {"remote_ts", to_string(sa.remote_ts, sa.more.remote())},
                   {"age_s", seconds_between(ike::TimePoint{std::chrono::nanoseconds{static_cast<std::int64_t>(sa.installed_ns)}}, now)}};
    for (auto& [key, value] : record_json(record, sa, now)) o[key] = value;
    out.push_back(std::move(o));
  });
  return out;
}
}  // namespace

Result list_sas(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const std::string connection = args.text("connection");
  if (!connection.empty()) (void)configured_child(gateway, args);
  json::array sas, lone;
  std::set<std::uint64_t> shown;
  const auto wanted = [&](const std::string& of, const std::vector<ike::ChildSaInfo>& children) {
    for (const auto& c : children) shown.insert(c.pair);
    return connection.empty() || of == connection;
  };
  for (const auto& sa : gateway.ike_sas())
    if (wanted(sa.connection, sa.children)) sas.push_back(ike_json(gateway, sa, now));
  for (const auto& pairs : gateway.lone_pairs())
    if (wanted(pairs.connection, pairs.children))
      lone.push_back(
          json::object{{"connection", pairs.connection}, {"children", children_json(gateway, pairs.connection, pairs.children, now)}});
  return json::object{{"dataplane", {{"connected", gateway.link() != nullptr}}},
                      {"ike_sas", std::move(sas)},
                      {"pairs_without_ike_sa", std::move(lone)},
                      {"orphans", orphans_json(gateway, shown, connection, now)}};
}

}  // namespace culvert::control::cli

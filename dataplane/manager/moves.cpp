// Commands' part that takes SAs to other outer addresses: where culvertd says (RFC 4555 §3.5), and where a peer behind a NAT has gone.
// Owns what of it the manager does; the SA's own worker takes the addresses when the next packet needs them (Relocation).
#include <type_traits>
#include <utility>

#include <spdlog/spdlog.h>

#include "common/bytes.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/manager/commands.hpp"

namespace culvert::dp {

template <class Table>
shm::AckResult Commands::relocate_in(Table& table, const shm::MoveSa& m) {
  if (m.slot >= table.capacity()) return shm::AckResult::NotFound;
  auto* sa = table.at(m.slot);
  if (sa == nullptr || sa->spi != m.spi) return shm::AckResult::NotFound;
  auto before = relocate(m, *sa);
  if (!before) return before.error();
  if (*before) t_.rcu.defer(std::move(*before));
  if (m.direction == Direction::Inbound && m.follow) followers_.insert(m.slot);
  note_addresses(m.direction, m.slot, &m.local, m.remote);
  if constexpr (std::is_same_v<Table, OutboundTable>) set_path_mtu(*sa, OutboundSa::kAnyMtu, 0);  // of another path
  return shm::AckResult::Ok;
}

shm::AckResult Commands::relocate_sa(const shm::MoveSa& m) {
  if (m.local.vrf >= t_.own.size() || !t_.own[m.local.vrf].contains(m.local.address)) {
    spdlog::warn("SA {:08x} is not moved: its local address {} is none of ours in its VRF", m.spi.value, m.local.address.to_string());
    return shm::AckResult::BadMessage;
  }
  const bool in = m.direction == Direction::Inbound;
  const shm::AckResult result = in ? relocate_in(t_.inbound, m) : relocate_in(t_.outbound, m);
  if (result == shm::AckResult::Ok)
    spdlog::info("{} SA {:08x} is between {} and {} now", in ? "inbound" : "outbound", m.spi.value, m.local.to_string(),
                 m.remote.to_string());
  return result;
}

void Commands::move_outbound(OutboundSa& sa, const Endpoint& remote) {
  set_peer(sa, remote);
  note_addresses(Direction::Outbound, sa.manager.slot, nullptr, remote);
  set_path_mtu(sa, OutboundSa::kAnyMtu, 0);  // of another path
  spdlog::info("outbound SA {:08x} sends to {} now", sa.spi.value, remote.to_string());
}

void Commands::note_addresses(Direction direction, std::uint32_t slot, const Endpoint* local, const Endpoint& remote) {
  shm::SaRecord& record = t_.segment.records(direction)[slot];
  shm::SaSnapshot snapshot;
  if (!shm::read_record(record, snapshot)) return;
  if (local != nullptr) snapshot.local = *local;
  snapshot.remote = remote;
  shm::write_record(record, snapshot);
}

namespace {
/// Where a peer that is followed has gone since the last call.
std::optional<Endpoint> moved(InboundSa& sa) {
  if (const PeerWord to = sa.moved_to.exchange(0, std::memory_order_acquire); to != 0)
    return Endpoint{IpAddress::v4(peer_address(to)), peer_port(to), sa.outer_vrf};
  const std::uint32_t stores = sa.moved_v6.stores();
  if (stores == std::exchange(sa.manager.moves_seen, stores)) return std::nullopt;
  const PeerV6::Value to = sa.moved_v6.load();
  return Endpoint{address_from(Family::V6, reinterpret_cast<const std::uint8_t*>(to.address.data())), to.port, sa.outer_vrf};
}
}  // namespace

std::vector<shm::Moved> Commands::moves() {
  std::vector<shm::Moved> out;
  for (const std::uint32_t slot : followers_) {
    InboundSa* sa = t_.inbound.at(slot);
    const std::optional<Endpoint> remote = sa != nullptr && sa->follows ? moved(*sa) : std::nullopt;
    if (!remote || remote->address.family != sa->manager.outer_family) continue;
    note_addresses(Direction::Inbound, slot, nullptr, *remote);
    each_outbound(sa->policy.value, [&](OutboundSa& other) {
      if (other.manager.pair == sa->manager.pair && other.manager.udp && other.manager.outer_family == remote->address.family)
        move_outbound(other, *remote);
    });
    out.push_back({slot, sa->spi, *remote});
  }
  return out;
}

}  // namespace culvert::dp

// What the manager says to neighbours in frames of its own: where our addresses are, who has theirs, which groups we hear.
#include <algorithm>
#include <utility>

#include "dataplane/ip_header.hpp"
#include "dataplane/manager/manager.hpp"
#include "dataplane/nodes/arp.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/nd.hpp"

namespace culvert::dp {

namespace {
constexpr Neighbor::Mac kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
}  // namespace

/// Tells the neighbours on the interface where its addresses are. Every worker says something: a queue of a device that has had no link (a
/// socket of af_packet) may lose the first frame of it, which shall be none of a host's.
void Manager::announce(std::uint16_t number, std::uint64_t now) {
  const Interface& interface = env_.interfaces[number];
  const std::span all(interface.addresses);
  for (std::size_t worker = 0; worker < env_.handoff.size(); ++worker)
    for (const Prefix& own : worker == 0 || all.empty() ? all : all.first(1)) {
      Packet p;
      if (!env_.pool->allocate(p)) return;
      segment_.manager().generated.add(1);
      if (own.address.family == Family::V4) {
        arp_request(p, interface, own.address, own.address);
        send_frame(p, number, kBroadcast, kEtherTypeArp, worker);
      } else {
        const Neighbor::Mac to = nd_announcement(p, interface, own.address);
        send_frame(p, number, to, kEtherTypeIpv6, worker);
      }
    }
  groups_.joined(number, now);
}

/// What is our own, and no answer.
void Manager::send_own(std::uint16_t number, const GroupReports::Write& write) {
  Packet p;
  if (!env_.pool->allocate(p)) return;
  segment_.manager().generated.add(1);
  const Neighbor::Mac to = write(p);
  send_frame(p, number, to, kEtherTypeIpv6);
}

/// A router asks which groups are heard.
void Manager::group_query(void* buffer, std::uint64_t now) {
  Packet p;
  load_view(buffer, p);
  const std::uint16_t interface = note_of(buffer).port;
  const auto query = parse_ip(p) ? mld_query(p) : std::nullopt;
  if (!query) return drop(buffer, Drop::NdInvalid);
  groups_.asked(interface, *query, now);
  segment_.manager().consumed.add(1);
  BufferPool::release(nullptr, std::span(&buffer, 1));
}

/// Asks for a neighbour's MAC address, by our address of its network.
void Manager::ask_for(const NeighborKey& key) {
  const Interface& interface = env_.interfaces[key.port];
  const Prefix* network = interface.network_of(key.address);
  const IpAddress from = network != nullptr ? network->address : interface.primary(key.address.family);
  Packet p;
  if (!env_.pool->allocate(p)) return;
  segment_.manager().generated.add(1);
  if (key.address.family == Family::V4) {
    arp_request(p, interface, from, key.address);
    return send_frame(p, key.port, kBroadcast, kEtherTypeArp);
  }
  const Neighbor::Mac to = nd_solicitation(p, interface, from, key.address);
  send_frame(p, key.port, to, kEtherTypeIpv6);
}

void Manager::send_frame(Packet& p, std::uint16_t number, const Neighbor::Mac& to, std::uint16_t type, std::size_t worker) {
  const Interface& interface = env_.interfaces[number];
  if (interface.vlan != 0) push_tag(p, interface.vlan, std::exchange(type, kEtherTypeVlan));
  p.push(kEthernetBytes);
  std::copy(to.begin(), to.end(), p.data);
  std::copy_n(interface.mac.begin(), to.size(), p.data + to.size());
  store_be16(p.data + 12, type);
  give_to_worker(p, {.kind = Handoff::Frame, .port = interface.vlan != 0 ? interface.port : number}, worker);
}

}  // namespace culvert::dp

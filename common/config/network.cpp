#include "common/config/network.hpp"

#include <algorithm>

#include "common/shm/segment.hpp"

namespace culvert::config {

Section<Port> port_section() {
  return Section<Port>()
      .key("device", &Port::device, device(), "The NIC or virtual device.")
      .required("\"net_af_packet0,iface=eth1\"")
      .key("addresses", &Port::addresses, list_of(interface_address(), 0, 64),
           "Own addresses with the prefix length of their network; [] where only VLANs of the port have some.")
      .required("[10.9.0.1/24]")
      .key("mtu", &Port::mtu, number<std::uint16_t>(576, 9000, "bytes"), "Largest IP packet, without the Ethernet header.")
      .key("queues", &Port::queues, number<std::uint16_t>(0, shm::kMaxWorkers),
           "RX and TX queues each; 0: one for each worker. Never fewer than workers.")
      .key("rx_descriptors", &Port::rx_descriptors, power_of_two<std::uint16_t>(64, 16384), "Length of each RX queue, in packets.")
      .key("tx_descriptors", &Port::tx_descriptors, power_of_two<std::uint16_t>(64, 16384), "Length of each TX queue, in packets.")
      .key("vrf", &Port::vrf, vrf_reference(), "The VRF that its addresses are in, and what arrives here.");
}

Section<Vlan> vlan_section() {
  return Section<Vlan>()
      .key("port", &Vlan::port, text("the name of a port", 30), "The port whose frames with this tag are meant.")
      .required("wan")
      .key("id", &Vlan::id, number<std::uint16_t>(1, 4094, "a VLAN id"), "Its number, in the tag of each frame.")
      .required("100")
      .key("addresses", &Vlan::addresses, list_of(interface_address(), 1, 64), "Own addresses with the prefix length of their network.")
      .required("[10.100.0.1/24]")
      .key("mtu", &Vlan::mtu, number<std::uint16_t>(576, 9000, "bytes"), "Largest IP packet, without Ethernet header and tag.")
      .derived("that of the port")
      .example("1500")
      .key("vrf", &Vlan::vrf, vrf_reference(),
           "The VRF that its addresses are in, and what arrives here; that of the port is another matter.");
}

namespace {
/// An address, or a map of it and its weight.
Kind<Hop> next_hop() {
  const auto section = Section<Hop>()
                           .key("address", &Hop::address, address(), "The next hop.")
                           .required("10.9.0.254")
                           .key("weight", &Hop::weight, number<std::uint8_t>(1, kMaxWeight, "a weight"), "Its share of the flows.");
  const Kind<IpAddress> plain = address();
  return {plain.expects + " or {address, weight}",
          [=](const At& at) -> std::optional<Hop> {
            Hop out;
            if (at.node.kind != Node::Kind::Map) {
              auto alone = plain.read(at);
              return alone ? std::optional(Hop(*alone)) : std::nullopt;
            }
            section.read(at, out);
            return at.sink.clean(at.path) ? std::optional(out) : std::nullopt;
          },
          [plain](const Hop& hop) {
            const std::string text = plain.show(hop.address);
            return hop.weight == 1 ? text : "{address: " + text + ", weight: " + std::to_string(hop.weight) + "}";
          }};
}
}  // namespace

Section<Route> route_section() {
  return Section<Route>()
      .key("to", &Route::to, network(), "Destination network. 0.0.0.0/0 and ::/0 are the default routes.")
      .required("0.0.0.0/0")
      .key("via", &Route::via, list_of(next_hop(), 0, kMaxNextHops),
           "Next hops, on networks of ports or VLANs. Of several each flow has one, as many as its weight says beside the others' (1 where "
           "none is named), and those that do not answer, or whose link is down, are left out. Without any the destinations are on link, "
           "and "
           "port is needed.")
      .example("10.9.0.254")
      .key("port", &Route::port, text("the name of a port or VLAN", 30), "Port or VLAN to send from; with via it may be left out.")
      .example("wan")
      .key("tunnel", &Route::tunnel, text("the name of a tunnel, or empty", 30),
           "Instead of via and port: into this tunnel, under the SAs of the child that is bound to it.")
      .key("vrf", &Route::vrf, vrf_reference(),
           "The VRF whose packets go this way. Its port or tunnel, and the networks of via, are in it, too.");
}

Section<Tunnel> tunnel_section() {
  return Section<Tunnel>()
      .key("addresses", &Tunnel::addresses, list_of(interface_address(), 0, 16),
           "Own addresses inside of the tunnel, with the network that the peer is on; none: it is unnumbered.")
      .key("vrf", &Tunnel::vrf, vrf_reference(), "The VRF inside of the tunnel, that of the child that is bound to it.");
}

namespace {
/// The numbers of all VRFs that are named; a name that there is not stays the default one's, and is found wanting by validate_vrfs().
void number_vrfs(GatewayConfig& c) {
  const auto number = [&](VrfRef& vrf) { vrf.id = vrf_named(c, vrf.name).value_or(kDefaultVrf); };
  const auto all = [&](auto& things) {
    for (auto& thing : things) number(thing.vrf);
  };
  all(c.ports), all(c.vlans), all(c.tunnels), all(c.routes), all(c.policies), all(c.pools), all(c.connections);
  for (Connection& connection : c.connections)
    for (Child& child : connection.children) {
      number(child.vrf);
      if (child.vrf.name.empty()) child.vrf.id = connection.vrf.id;
    }
}
}  // namespace

void finish_network(const At&, GatewayConfig& c) {
  number_vrfs(c);
  for (Vlan& vlan : c.vlans)
    if (const auto port = std::ranges::find(c.ports, vlan.port, &Port::name); vlan.mtu == 0 && port != c.ports.end()) vlan.mtu = port->mtu;
}

}  // namespace culvert::config

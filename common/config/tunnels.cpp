// Checks of tunnel interfaces, of the routes that lead into them, and of the children that are bound to them.
#include <algorithm>
#include <map>
#include <optional>

#include "common/config/kinds.hpp"
#include "common/config/rounds.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

namespace {

std::vector<std::string_view> names_of(const std::vector<Tunnel>& tunnels) {
  std::vector<std::string_view> out;
  for (const Tunnel& t : tunnels) out.push_back(t.name);
  return out;
}

/// Whether there is this tunnel; else an error at `at`.
bool known(const GatewayConfig& config, const std::string& name, const Where& at) {
  const auto names = names_of(config.tunnels);
  if (std::ranges::find(names, name) != names.end()) return true;
  at.error("there is no tunnel " + quoted(name), nearest(name, names));
  return false;
}

void check_addresses(const GatewayConfig& config, const Where& here) {
  struct Network {
    VrfId vrf;
    Prefix prefix;
    std::string of;
  };
  std::vector<Network> networks;
  for (const Interface& i : interfaces(config))
    for (const Prefix& p : i.addresses) networks.push_back({i.vrf, p, shown(i)});
  for (std::size_t i = 0; i < config.tunnels.size(); ++i) {
    if (!here.entry(i).clean({"addresses"})) continue;
    for (std::size_t a = 0; a < config.tunnels[i].addresses.size(); ++a) {
      const Prefix& p = config.tunnels[i].addresses[a];
      const VrfId vrf = config.tunnels[i].vrf.id;
      const auto taken = std::ranges::find_if(networks, [&](const Network& n) { return n.vrf == vrf && overlap(n.prefix, p); });
      if (taken != networks.end())
        here.entry(i).key("addresses").item(a).error("its network overlaps with " + taken->prefix.to_string() + " of " + taken->of);
      networks.push_back({vrf, p, "tunnel " + quoted(config.tunnels[i].name)});
    }
  }
}

/// Whether only one peer can be meant: SAs of others would take each other's packets.
bool one_peer(const Connection& c) {
  return !c.remote_id.pattern() && c.unique != Unique::Never && c.unique != Unique::No &&
         c.xauth_server.users.kind == SecretRef::Kind::None && !user_auth(c);
}

void check_child(const Connection& c, const Child& child, std::size_t pairs, const Where& at) {
  if (!at.clean({"local_ts", "remote_ts", "mode"})) return;
  const Where here = at.key("tunnel");
  if (child.mode != SaMode::Tunnel) here.error("expected none with mode: transport, whose packets are for the two gateways themselves");
  if (child.local_dynamic || child.remote_dynamic || pairs != 1 || !child.more_local.empty() || !child.more_remote.empty())
    here.error("expected one network for local_ts and one for remote_ts, 0.0.0.0/0 for all: routes choose what goes into a tunnel");
  if (!one_peer(c))
    here.error(
        "expected a connection for one peer: remote.id without a pattern, no unique: never or no, no remote.xauth, no EAP; each peer has "
        "a tunnel");
}

/// Which child is bound to which tunnel, for packets of which family.
std::map<std::pair<std::string, Family>, std::string> check_children(const GatewayConfig& config, const Where& here) {
  std::map<std::pair<std::string, Family>, std::string> bound;
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const Connection& c = config.connections[i];
    for (std::size_t k = 0; k < c.children.size(); ++k) {
      const Child& child = c.children[k];
      if (child.tunnel.empty() || (k > 0 && c.children[k - 1].entry == child.entry)) continue;
      const Where at = here.entry(i).key("children").entry(child.entry);
      if (!at.clean({"tunnel"}) || !known(config, child.tunnel, at.key("tunnel"))) continue;
      const auto same = [&](const Child& other) { return other.entry == child.entry; };
      check_child(c, child, static_cast<std::size_t>(std::ranges::count_if(c.children, same)), at);
      const auto [other, fresh] = bound.emplace(std::pair(child.tunnel, child.local_ts.first.family), c.name + "/" + child.name);
      if (!fresh) at.key("tunnel").error("the child " + quoted(other->second) + " is bound to this tunnel already");
    }
  }
  return bound;
}

void check_routes(const GatewayConfig& config, const std::map<std::pair<std::string, Family>, std::string>& bound, const Where& here) {
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    const Route& route = config.routes[i];
    const Where at = here.item(i);
    if (route.tunnel.empty() || !at.clean({"tunnel", "via", "port"}) || !known(config, route.tunnel, at.key("tunnel"))) continue;
    if (!route.via.empty() || !route.port.empty()) at.key("tunnel").error("expected either tunnel, or via and port");
    if (!bound.contains({route.tunnel, route.to.address.family}))
      at.key("tunnel").warning(std::string("no child") + (route.to.address.family == Family::V6 ? " with IPv6" : "") +
                               " is bound to the tunnel " + quoted(route.tunnel) + ": what goes there is dropped");
  }
}

/// The tunnel that the way to `a` leads into.
std::optional<std::string> tunnel_to(const GatewayConfig& config, VrfId vrf, const IpAddress& a) {
  std::optional<std::string> found;
  int longest = -1;
  const auto way = [&](VrfId of, const Prefix& to, const std::string& tunnel) {
    if (of != vrf || !to.contains(a) || int{to.length} <= longest) return;
    longest = to.length;
    found = tunnel.empty() ? std::nullopt : std::optional(tunnel);
  };
  for (const Interface& i : interfaces(config))
    for (const Prefix& p : i.addresses) way(i.vrf, p, {});
  for (const Tunnel& t : config.tunnels)
    for (const Prefix& p : t.addresses) way(t.vrf.id, p, t.name);
  for (const Route& r : config.routes) way(r.vrf.id, r.to, r.tunnel);
  return found;
}

void check_peers(const GatewayConfig& config, const Where& here) {
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const Where at = here.entry(i);
    if (!at.clean({"remote_addrs"})) continue;
    for (std::size_t k = 0; k < config.connections[i].remotes.size(); ++k)
      if (const auto tunnel = tunnel_to(config, config.connections[i].vrf.id, config.connections[i].remotes[k].first))
        at.key("remote_addrs")
            .item(k)
            .error("expected a peer outside of all tunnels, but its route leads into the tunnel " + quoted(*tunnel) +
                   ": it needs one of its own");
  }
}

}  // namespace

void validate_tunnels(const GatewayConfig& config, const Where& root) {
  if (root.sink->failed("tunnels")) return;
  check_addresses(config, root.key("tunnels"));
  const auto bound = check_children(config, root.key("connections"));
  if (root.sink->failed("routes")) return;
  check_routes(config, bound, root.key("routes"));
  check_peers(config, root.key("connections"));
}

}  // namespace culvert::config

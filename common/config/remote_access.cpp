#include "common/config/remote_access.hpp"

#include <algorithm>

#include "common/config/kinds_detail.hpp"

namespace culvert::config {

namespace {

/// A network without its first and last address, or a range.
Kind<TrafficSelector> pool_addresses() {
  const std::string expects = "a network such as 10.3.0.0/24 or 2001:db8:3::/112, or a range such as 10.3.0.10-10.3.0.99, of at most " +
                              std::to_string(kMaxPoolSize) + " addresses";
  return {expects,
          [=](const At& at) -> std::optional<TrafficSelector> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            auto range = TrafficSelector::parse(*value);
            const auto last = range && range->protocol == 0 ? range->last.places_behind(range->first) : std::nullopt;
            if (!last || *last >= kMaxPoolSize) {
              at.expected(expects);
              return std::nullopt;
            }
            if (value->find('/') != std::string::npos && *last >= 3) {
              range->last = range->first.plus(*last - 1);
              range->first = range->first.plus(1);
            }
            return *range;
          },
          [](const TrafficSelector& v) { return v.to_string(); }};
}

void check_pools(const GatewayConfig& config, const Where& here) {
  for (std::size_t i = 0; i < config.pools.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (here.entry(i).clean({"addrs"}) && here.entry(k).clean({"addrs"}) && config.pools[i].vrf.id == config.pools[k].vrf.id &&
          config.pools[i].addrs.meets(config.pools[k].addrs))
        here.entry(i).key("addrs").error("expected addresses that no other pool has; pool " + quoted(config.pools[k].name) +
                                         " has some of them");
}

/// Mode Config of IKEv1 carries IPv4 alone here.
bool says_v6(const Pool& pool) {
  return pool.addrs.first.family == Family::V6 || std::ranges::find(pool.dns, Family::V6, &IpAddress::family) != pool.dns.end() ||
         std::ranges::any_of(pool.split_include, [](const Prefix& p) { return p.address.family == Family::V6; });
}

/// A dynamic side is a virtual address: there must be such of the other side's family.
void check_families(const GatewayConfig& config, const Connection& c, const Where& at) {
  const auto in_pools = [&](Family family) {
    return std::ranges::any_of(config.pools, [&](const Pool& pool) {
      return pool.addrs.first.family == family && std::ranges::find(c.pools, pool.name) != c.pools.end();
    });
  };
  for (const Child& child : c.children) {
    const Where here = at.key("children").entry(child.entry);
    if (!here.clean({"local_ts", "remote_ts"})) continue;
    const auto local = child.locals(), remote = child.remotes();
    // The dynamic ones are of the families that the other side has, unless it has none.
    const auto lacks = [](const std::vector<SideSelector>& sides, const std::vector<SideSelector>& others, const auto& has) {
      return std::ranges::any_of(sides, &SideSelector::dynamic) &&
             std::ranges::any_of(others, [&](const SideSelector& o) { return !o.dynamic && !has(o.ts.first.family); });
    };
    const auto in_vips = [&](Family family) { return std::ranges::find(c.vips, family, &IpAddress::family) != c.vips.end(); };
    if (!c.vips.empty() && lacks(local, remote, in_vips))
      here.key("remote_ts").error("expected an address family that vips of the connection has, too: local_ts is one of these addresses");
    if (!c.pools.empty() && lacks(remote, local, in_pools))
      here.key("local_ts").error("expected an address family that a pool of the connection has, too: remote_ts is an address of a pool");
  }
}

void check_connection(const GatewayConfig& config, const Connection& c, const Where& at) {
  const bool client = !c.xauth_client.user.empty(), server = c.xauth_server.users.kind != SecretRef::Kind::None;
  const Where local = at.key("local"), remote = at.key("remote");
  if (client && c.xauth_client.password.kind == SecretRef::Kind::None && local.key("xauth").clean({"password"}))
    local.key("xauth").error("expected a password beside user");
  if (client && server) remote.key("xauth").error("expected either local.xauth or remote.xauth: one side asks, the other one answers");
  if (c.remote_auth.auth == Proof::Xauth && !server && remote.clean({"auth", "xauth"}))
    remote.key("auth").error("expected xauth.users beside auth: xauth: without, nobody could come in");
  if (!at.clean({"pools", "vips"})) return;
  for (const std::string& name : c.pools) {
    const auto pool = std::ranges::find(config.pools, name, &Pool::name);
    if (pool == config.pools.end())
      at.key("pools").error("expected the name of a pool of the section pools, got " + quoted(name));
    else if (c.version == 1 && at.clean({"version"}) && says_v6(*pool))
      at.key("pools").error("expected pools of IPv4 alone with version: 1, but " + quoted(name) + " has IPv6 addresses");
  }
  if (c.vips.size() == 2 && c.vips.front().family == c.vips.back().family)
    at.key("vips").error("expected at most one address of each family");
  if (c.version == 1 && at.clean({"version"}) && std::ranges::find(c.vips, Family::V6, &IpAddress::family) != c.vips.end())
    at.key("vips").error("expected an IPv4 address with version: 1");
  if (!c.pools.empty() && !c.vips.empty())
    at.key("vips").error("expected either pools or vips: one side gives addresses, the other one asks");
  if (at.clean({"pools", "vips", "children"})) check_families(config, c, at);
}

}  // namespace

Section<XauthClient> xauth_client_section() {
  return Section<XauthClient>()
      .key("user", &XauthClient::user, text("a user name", 255), "The user that we are, such as branch-7; empty: no XAuth.")
      .key("password", &XauthClient::password, secret_reference(), "Where its password is, as for secret.")
      .example("file:/etc/culvert/site-b.password");
}

Section<XauthServer> xauth_server_section() {
  return Section<XauthServer>()
      .key("users", &XauthServer::users, users_file(),
           "A file of mode 0600 with a user a line, name:hash, the hash as `openssl passwd -6` or mkpasswd makes it; or "
           "name:{plain}password, or name:{nt} and the NT hash. It is read at each login. Without it there is no XAuth.")
      .example("file:/etc/culvert/users");
}

Section<Pool> pool_section() {
  return Section<Pool>()
      .key("addrs", &Pool::addrs, pool_addresses(),
           "The addresses, IPv6 ones for connections with version: 2. Of a network the first and the last one are left out. An identity "
           "gets "
           "the same one each time, while it is free.")
      .required("10.3.0.0/24")
      .key("dns", &Pool::dns, list_of(address(), 0, 4), "Name servers for the peer.")
      .example("[10.1.0.53]")
      .key("nbns", &Pool::nbns, list_of(address_v4(), 0, 4), "WINS servers for the peer.")
      .key("split_include", &Pool::split_include, list_of(network(), 0, 64),
           "Networks whose traffic the peer is to send through the tunnel (Cisco Unity; INTERNAL_IP4_SUBNET and INTERNAL_IP6_SUBNET of "
           "IKEv2); none: all of it.")
      .example("[10.1.0.0/24]")
      .key("banner", &Pool::banner, text("a text, or empty: none", 500), "What the peer's user is shown (Cisco Unity).")
      .key("domain", &Pool::domain, text("a domain, or empty: none", 255), "The peer's default domain (Cisco Unity).")
      .key("split_dns", &Pool::split_dns, list_of(text("a domain", 255), 0, 16),
           "Domains that are asked of dns; none: all (Cisco Unity; INTERNAL_DNS_DOMAIN of IKEv2).")
      .key("vrf", &Pool::vrf, vrf_reference(), "The VRF of these addresses, that of the children whose peers get them.");
}

Kind<SecretRef> users_file() {
  Kind<SecretRef> kind = secret_reference();
  kind.expects = "file:/absolute/path";
  kind.read = [inner = kind.read](const At& at) -> std::optional<SecretRef> {
    auto ref = inner(at);
    if (!ref || ref->kind == SecretRef::Kind::File) return ref;
    at.error("expected file:/absolute/path: users are kept in a file");
    return std::nullopt;
  };
  return kind;
}

Kind<std::string> user_pattern() {
  Kind<std::string> kind = text("%any, a user name, or a part of one with * in front of it or behind it", 255);
  kind.read = [inner = kind.read, expects = kind.expects](const At& at) -> std::optional<std::string> {
    auto value = inner(at);
    if (!value) return value;
    const auto star = value->find('*', 1);
    if (!value->empty() && (star == std::string::npos || (star == value->size() - 1 && value->front() != '*'))) return value;
    at.expected(expects);
    return std::nullopt;
  };
  kind.show = [](const std::string& v) { return "'" + v + "'"; };  // % and * mean something to YAML
  return kind;
}

Kind<std::vector<IpAddress>> virtual_addresses() {
  Kind<IpAddress> one = address();
  one.expects = "an IP address, 0.0.0.0 or '::' for any of its family";
  one.read = [inner = one.read](const At& at) -> std::optional<IpAddress> {
    if (at.node.kind == Node::Kind::Scalar && at.node.text == "0.0.0.0") return IpAddress::v4(0);
    if (at.node.kind == Node::Kind::Scalar && at.node.text == "::") return IpAddress{{}, Family::V6};
    return inner(at);
  };
  return list_of(one, 0, 2);
}

void validate_remote_access(const GatewayConfig& config, const Where& root) {
  check_pools(config, root.key("pools"));
  for (std::size_t i = 0; i < config.connections.size(); ++i)
    check_connection(config, config.connections[i], root.key("connections").entry(i));
}

}  // namespace culvert::config

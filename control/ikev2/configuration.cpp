#include "control/ikev2/configuration.hpp"

#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

#include "control/ikev2/peers.hpp"

namespace culvert::ikev2 {

using Type = ConfigAttributeType;

namespace {

/// In front of what stands for a peer of before a restart, whose name nobody knows yet. No connection's name begins so.
constexpr std::string_view kUnnamed = "(before the restart) ";
constexpr std::string_view kVersion = "Culvert";

std::string unnamed(const IpAddress& address) { return std::string(kUnnamed) + address.to_string(); }

std::string joined(const std::vector<std::string>& all) {
  std::string out;
  for (const std::string& one : all) out += (out.empty() ? "" : ",") + one;
  return out;
}

const ConfigAttribute* find(const Cp& cp, Type type) {
  const auto it = std::ranges::find(cp.attributes, type, &ConfigAttribute::type);
  return it == cp.attributes.end() ? nullptr : &*it;
}

const Cp* config_of(const Message& m, ConfigType type) {
  const Cp* cp = m.find<Cp>();
  return cp && cp->type == type ? cp : nullptr;
}

/// What is said of a family's addresses, by which attributes (RFC 7296 §3.15.1).
struct FamilyTypes {
  Family family;
  std::string_view name;
  Type address, dns, subnet;
};
constexpr FamilyTypes kFamilies[] = {
    {Family::V4, "IPv4", Type::InternalIp4Address, Type::InternalIp4Dns, Type::InternalIp4Subnet},
    {Family::V6, "IPv6", Type::InternalIp6Address, Type::InternalIp6Dns, Type::InternalIp6Subnet},
};
constexpr std::uint8_t kHostV6 = 128;  ///< the prefix length of one address

Bytes bytes_of(const IpAddress& a) { return {a.view().begin(), a.view().end()}; }

/// nullopt: none of this family, or any. An IPv6 address has a prefix length behind it.
std::optional<IpAddress> address_in(const ConfigAttribute& a, Family family) {
  ByteView bytes = a.value;
  if (family == Family::V6) {
    if (bytes.size() != 17 || bytes[16] > kHostV6) return std::nullopt;
    bytes = bytes.first(16);
  }
  const auto address = IpAddress::from_bytes(bytes);
  if (!address || address->family != family || address->is_unspecified()) return std::nullopt;
  return *address;
}
ConfigAttribute address_attribute(const FamilyTypes& of, const IpAddress& a) {
  Bytes value = bytes_of(a);
  if (of.family == Family::V6) value.push_back(kHostV6);
  return {of.address, std::move(value)};
}
/// nullopt: none of this family, or none at all.
std::optional<IpAddress> server_in(const ConfigAttribute& a, Family family) {
  const auto address = IpAddress::from_bytes(a.value);
  if (!address || address->family != family || address->is_unspecified()) return std::nullopt;
  return *address;
}

/// IPv4: address and mask. IPv6: address and prefix length.
Bytes subnet_bytes(const Prefix& p) {
  Writer w;
  w.bytes(p.first().view());
  if (p.address.family == Family::V6)
    w.be(p.length);
  else
    w.be(p.length == 0 ? 0U : 0xffffffffU << (32 - p.length));
  return std::move(w).take();
}
std::optional<Prefix> subnet_in(const ConfigAttribute& a, Family family) {
  const ByteView bytes = a.value;
  if (family == Family::V6) {
    if (bytes.size() != 17 || bytes[16] > kHostV6) return std::nullopt;
    return Prefix{IpAddress::from_bytes(bytes.first(16)).value(), bytes[16]};
  }
  if (bytes.size() != 8) return std::nullopt;
  const std::uint32_t mask = Reader(bytes.subspan(4)).be<std::uint32_t>();
  const auto length = static_cast<std::uint8_t>(std::popcount(mask));
  if (mask != (length == 0 ? 0U : 0xffffffffU << (32 - length))) return std::nullopt;
  return Prefix{IpAddress::from_bytes(bytes.first(4)).value(), length};
}

void add_once(Cp& out, ConfigAttribute one) {
  if (std::ranges::find(out.attributes, one) == out.attributes.end()) out.attributes.push_back(std::move(one));
}

/// What goes with an address of the pool, asked for or not (RFC 7296 §2.19), of the families that the peer asks about; the rest to
/// whoever asks. Pools of both families may say the same.
void add_rest(const config::Pool& pool, const Cp& request, Cp& out) {
  for (const FamilyTypes& of : kFamilies) {
    const bool has = pool.addrs.first.family == of.family;
    if (has || find(request, of.address) || find(request, of.dns))
      for (const IpAddress& a : pool.dns)
        if (a.family == of.family) add_once(out, {of.dns, bytes_of(a)});
    if (of.family == Family::V4 && (has || find(request, of.address)))
      for (const IpAddress& a : pool.nbns) add_once(out, {Type::InternalIp4Nbns, bytes_of(a)});
    if (has || find(request, of.address) || find(request, of.subnet))
      for (const Prefix& p : pool.split_include)
        if (p.address.family == of.family) add_once(out, {of.subnet, subnet_bytes(p)});
  }
  if (pool.addrs.first.family == Family::V4 && find(request, Type::InternalIp4Netmask))  // of a host
    add_once(out, {Type::InternalIp4Netmask, bytes_of(IpAddress::v4(0xffffffff))});
  if (find(request, Type::InternalDnsDomain))  // RFC 8598 §3
    for (const std::string& domain : pool.split_dns) add_once(out, {Type::InternalDnsDomain, to_bytes(domain)});
}

void add_own(const Cp& request, Cp& out) {
  if (find(request, Type::ApplicationVersion)) out.attributes.push_back({Type::ApplicationVersion, to_bytes(std::string(kVersion))});
  if (!find(request, Type::SupportedAttributes)) return;
  Writer known;
  for (const Type type : {Type::InternalIp4Address, Type::InternalIp4Netmask, Type::InternalIp4Dns, Type::InternalIp4Nbns,
                          Type::ApplicationVersion, Type::InternalIp6Address, Type::InternalIp6Dns, Type::InternalIp4Subnet,
                          Type::SupportedAttributes, Type::InternalIp6Subnet, Type::InternalDnsDomain})
    known.be(static_cast<std::uint16_t>(type));
  out.attributes.push_back({Type::SupportedAttributes, std::move(known).take()});
}

/// Who a lease belongs to: the connection's peer.
std::string holder_of(const Core& core, const IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  const std::string who = c.name + "/" + sa.remote_id;
  return shared_identity(c) ? who + "@" + sa.remote.to_string() : who;
}

/// The peer's single ones: a virtual address is one of them.
std::vector<IpAddress> addresses_of(const ike::OrphanSa& orphan) {
  std::vector<IpAddress> out;
  const auto add = [&](const TrafficSelector& s) {
    if (s.first == s.last) out.push_back(s.first);
  };
  add(orphan.remote_ts);
  std::ranges::for_each(orphan.more.remote(), add);
  return out;
}

/// The address of its pairs of before the restart is the peer's.
void claim_reserved(Core& core, const IkeSa& sa, const std::string& who) {
  auto& holders = core.lease_holders[sa.connection];
  for (const ChildRun& child : core.quiet_run(sa.connection).children)
    for (const ike::OrphanSa& orphan : child.orphans)
      for (const IpAddress& address : addresses_of(orphan)) {
        const std::string before = unnamed(address);
        if (orphan.peer != sa.peer.value_or(PeerKey{}) || !holders.contains(before) || !core.shared.leases.rename(before, who)) continue;
        holders.erase(before);
        holders.insert(who);
      }
}

bool has_pool(const Core& core, const config::Connection& c, Family family) {
  return std::ranges::any_of(core.config.pools, [&](const config::Pool& pool) {
    return pool.addrs.first.family == family && std::ranges::find(c.pools, pool.name) != c.pools.end();
  });
}

/// The address that a RADIUS server gives to a user, and no other.
std::optional<ike::Leases::Granted> take_framed(Core& core, const config::Connection& c, const std::string& who, const IpAddress& address,
                                                std::string& problem) {
  const auto granted = core.shared.leases.take(c.pools, who, address);
  if (granted) return *granted;
  problem += (problem.empty() ? "" : ", ") + ("the RADIUS server gives him " + address.to_string()) + ", " + granted.error();
  return std::nullopt;
}

ChildRefusal no_address(const Core& core, const IkeSa& sa, NotifyType notify, const std::string& text, std::string problem) {
  return {notify, {}, Reason::NoAddress,
          text,   {}, {.number = 3, .evidence = ike::PoolEvidence{joined(core.connection(sa).pools), std::move(problem)}}};
}

}  // namespace

bool has_addresses(const Core& core, const IkeSa& sa) { return core.connection(sa).vips.empty() || sa.inner_local.any(); }

std::expected<std::optional<Cp>, ChildRefusal> give_address(Core& core, IkeSa& sa, const Message& request) {
  const config::Connection& c = core.connection(sa);
  const Cp* asked = config_of(request, ConfigType::Request);
  if (!asked || std::ranges::none_of(kFamilies, [&](const FamilyTypes& f) { return find(*asked, f.address) != nullptr; }))
    return std::nullopt;
  const std::string who = holder_of(core, sa);
  Cp out{ConfigType::Reply, {}};
  std::vector<const config::Pool*> from;
  std::string given, problem = c.pools.empty() ? "no pools are configured for the connection" : "";
  if (!c.pools.empty()) claim_reserved(core, sa, who);
  for (const FamilyTypes& of : kFamilies) {
    const ConfigAttribute* wish = find(*asked, of.address);
    if (!wish || c.pools.empty()) continue;
    const auto given_him = std::ranges::find(sa.framed, of.family, &IpAddress::family);
    const auto granted = given_him != sa.framed.end() ? take_framed(core, c, who, *given_him, problem)
                                                      : core.shared.leases.acquire(c.pools, who, address_in(*wish, of.family), of.family);
    if (!granted) {
      if (given_him != sa.framed.end()) continue;
      if (!problem.empty()) problem += ", ";
      problem += has_pool(core, c, of.family) ? "all " + std::string(of.name) + " addresses are given away"
                                              : "no pool has " + std::string(of.name) + " addresses";
      continue;
    }
    sa.lease = who;
    sa.inner_remote.set(granted->address);
    core.lease_holders[sa.connection].insert(who);
    from.push_back(granted->pool);
    out.attributes.push_back(address_attribute(of, granted->address));
    given += (given.empty() ? "" : " and ") + granted->address.to_string();
  }
  const std::string asks = sa.remote.to_string() + " asks for a virtual address, and gets ";
  if (from.empty()) {
    const std::string text = asks + "none: " + problem + (c.pools.empty() ? "" : " (" + joined(c.pools) + ")") + ".";
    return std::unexpected(no_address(core, sa, NotifyType::InternalAddressFailure, text, problem));
  }
  for (const config::Pool* pool : from) add_rest(*pool, *asked, out);
  add_own(*asked, out);
  const std::string but = problem.empty() ? "" : "; it asks for more, and " + problem;
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok, "The peer has the virtual address " + given + but + ".");
  return out;
}

ChildRefusal must_ask(const Core& core, const IkeSa& sa) {
  return no_address(core, sa, NotifyType::FailedCpRequired,
                    sa.remote.to_string() + " asks for no virtual address, and the connection is for peers that have one of its pools (" +
                        joined(core.connection(sa).pools) + ").",
                    "the peer asks for no address");
}

Cp tell(const Core& core, const IkeSa& sa, const Cp& request) {
  Cp out{ConfigType::Reply, {}};
  for (const FamilyTypes& of : kFamilies) {
    const auto& address = sa.inner_remote.of(of.family);
    if (!address) continue;
    if (find(request, of.address)) out.attributes.push_back(address_attribute(of, *address));
    for (const config::Pool& pool : core.config.pools)
      if (pool.addrs.matches(*address, 0, 0) && std::ranges::find(core.connection(sa).pools, pool.name) != core.connection(sa).pools.end())
        add_rest(pool, request, out);
  }
  add_own(request, out);
  return out;
}

void reserve_lease(Core& core, std::size_t connection, const ike::OrphanSa& orphan) {
  const config::Connection& c = core.config.connections[connection];
  const auto child = std::ranges::find(c.children, orphan.child, &config::Child::name);
  if (child == c.children.end() || std::ranges::none_of(child->remotes(), &config::SideSelector::dynamic)) return;
  for (const IpAddress& address : addresses_of(orphan)) {
    const std::string who = unnamed(address);
    if (core.shared.leases.reserve(c.pools, who, address)) core.lease_holders[connection].insert(who);
  }
}

void release_leases(Core& core, std::size_t connection) {
  if (core.leases_in_doubt.erase(connection) == 0) return;
  const auto known = core.lease_holders.find(connection);
  if (known == core.lease_holders.end()) return;
  std::set<std::string> here;
  for (const IkeSa* sa : core.sas_of(connection))
    if (sa->established() && !sa->lease.empty()) here.insert(sa->lease);
  for (const ChildRun& child : core.quiet_run(connection).children)
    for (const ike::OrphanSa& orphan : child.orphans)
      for (const IpAddress& address : addresses_of(orphan)) here.insert(unnamed(address));
  std::erase_if(known->second, [&](const std::string& holder) {
    if (here.contains(holder)) return false;
    core.shared.leases.release(holder);
    return true;
  });
  if (known->second.empty()) core.lease_holders.erase(known);
}

std::optional<Cp> address_wish(Core& core, const IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  if (c.vips.empty()) return std::nullopt;
  Cp out{ConfigType::Request, {}};
  for (const FamilyTypes& of : kFamilies) {
    const auto vip = std::ranges::find(c.vips, of.family, &IpAddress::family);
    if (vip == c.vips.end()) continue;
    // What we had last: what is behind it keeps running.
    const IpAddress wanted = core.quiet_run(sa.connection).inner_local.of(of.family).value_or(*vip);
    out.attributes.push_back(wanted.is_unspecified() ? ConfigAttribute{of.address, {}} : address_attribute(of, wanted));
    out.attributes.push_back({of.dns, {}});
    if (of.family == Family::V4) out.attributes.push_back({Type::InternalIp4Nbns, {}});
    out.attributes.push_back({of.subnet, {}});
  }
  out.attributes.push_back({Type::ApplicationVersion, {}});
  return out;
}

bool take_address(Core& core, IkeSa& sa, const Message& reply) {
  const Cp* given = config_of(reply, ConfigType::Reply);
  if (!given) return false;
  std::string ours, beside;
  sa.told = {};
  const auto note = [&](auto& list, const auto& one, const char* what) {
    if (!one || list.size() == ike::GivenConfig::kMost) return;
    list.push_back(*one);
    beside += what + one->to_string();
  };
  for (const FamilyTypes& of : kFamilies) {
    if (std::ranges::find(core.connection(sa).vips, of.family, &IpAddress::family) == core.connection(sa).vips.end()) continue;
    const ConfigAttribute* address = find(*given, of.address);
    if (const auto got = address ? address_in(*address, of.family) : std::nullopt) {
      sa.inner_local.set(*got);
      core.quiet_run(sa.connection).inner_local.set(*got);
      ours += (ours.empty() ? "" : " and ") + got->to_string();
    }
    for (const ConfigAttribute& a : given->attributes) {
      if (a.type == of.dns) note(sa.told.dns, server_in(a, of.family), ", DNS ");
      if (a.type == of.subnet) note(sa.told.networks, subnet_in(a, of.family), ", network ");
    }
  }
  if (ours.empty()) return false;
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok, "The gateway gives us the virtual address " + ours + beside + ".");
  return true;
}

}  // namespace culvert::ikev2

#include "control/ikev2/configuration.hpp"

#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

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

/// nullopt: none of IPv4, or any.
std::optional<IpAddress> address_in(const ConfigAttribute& a) {
  const auto address = IpAddress::from_bytes(a.value);
  if (!address || address->family != Family::V4 || address->is_unspecified()) return std::nullopt;
  return *address;
}

Bytes bytes_of(const IpAddress& a) { return {a.view().begin(), a.view().end()}; }

/// RFC 7296 §3.15.1: address and mask.
Bytes subnet_bytes(const Prefix& p) {
  Writer w;
  w.bytes(p.first().view());
  w.be(p.length == 0 ? 0U : 0xffffffffU << (32 - p.length));
  return std::move(w).take();
}
std::optional<Prefix> subnet_in(const ConfigAttribute& a) {
  if (a.value.size() != 8) return std::nullopt;
  const ByteView bytes = a.value;
  const std::uint32_t mask = Reader(bytes.subspan(4)).be<std::uint32_t>();
  const auto length = static_cast<std::uint8_t>(std::popcount(mask));
  if (mask != (length == 0 ? 0U : 0xffffffffU << (32 - length))) return std::nullopt;
  return Prefix{IpAddress::from_bytes(bytes.first(4)).value(), length};
}

/// What goes with an address of the pool, asked for or not (RFC 7296 §2.19); the rest to whoever asks.
void add_rest(const config::Pool& pool, const Cp& request, Cp& out) {
  for (const IpAddress& a : pool.dns) out.attributes.push_back({Type::InternalIp4Dns, bytes_of(a)});
  for (const IpAddress& a : pool.nbns) out.attributes.push_back({Type::InternalIp4Nbns, bytes_of(a)});
  for (const Prefix& p : pool.split_include)
    if (p.address.family == Family::V4) out.attributes.push_back({Type::InternalIp4Subnet, subnet_bytes(p)});
  if (find(request, Type::InternalIp4Netmask))  // of a host
    out.attributes.push_back({Type::InternalIp4Netmask, bytes_of(IpAddress::v4(0xffffffff))});
  if (find(request, Type::InternalDnsDomain))  // RFC 8598 §3
    for (const std::string& domain : pool.split_dns) out.attributes.push_back({Type::InternalDnsDomain, to_bytes(domain)});
}

void add_own(const Cp& request, Cp& out) {
  if (find(request, Type::ApplicationVersion)) out.attributes.push_back({Type::ApplicationVersion, to_bytes(std::string(kVersion))});
  if (!find(request, Type::SupportedAttributes)) return;
  Writer known;
  for (const Type type : {Type::InternalIp4Address, Type::InternalIp4Netmask, Type::InternalIp4Dns, Type::InternalIp4Nbns,
                          Type::ApplicationVersion, Type::InternalIp4Subnet, Type::SupportedAttributes, Type::InternalDnsDomain})
    known.be(static_cast<std::uint16_t>(type));
  out.attributes.push_back({Type::SupportedAttributes, std::move(known).take()});
}

/// Who a lease belongs to: the connection's peer.
std::string holder_of(const Core& core, const IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  const std::string who = c.name + "/" + sa.remote_id;
  return c.unique == config::Unique::Never ? who + "@" + sa.remote.to_string() : who;
}

/// The address of its pairs of before the restart is the peer's.
void claim_reserved(Core& core, const IkeSa& sa, const std::string& who) {
  auto& holders = core.lease_holders[sa.connection];
  for (const ChildRun& child : core.quiet_run(sa.connection).children)
    for (const ike::OrphanSa& orphan : child.orphans) {
      const std::string before = unnamed(orphan.remote_ts.first);
      if (orphan.peer != sa.peer.value_or(PeerKey{}) || !holders.contains(before) || !core.shared.leases.rename(before, who)) continue;
      holders.erase(before);
      holders.insert(who);
    }
}

ChildRefusal no_address(const Core& core, const IkeSa& sa, NotifyType notify, const std::string& text, std::string problem) {
  return {notify, {}, Reason::NoAddress,
          text,   {}, {.number = 3, .evidence = ike::PoolEvidence{joined(core.connection(sa).pools), std::move(problem)}}};
}

}  // namespace

bool has_addresses(const Core& core, const IkeSa& sa) { return core.connection(sa).vips.empty() || sa.inner_local; }

std::expected<std::optional<Cp>, ChildRefusal> give_address(Core& core, IkeSa& sa, const Message& request) {
  const config::Connection& c = core.connection(sa);
  const Cp* asked = config_of(request, ConfigType::Request);
  if (!asked) return std::nullopt;
  const ConfigAttribute* v4 = find(*asked, Type::InternalIp4Address);
  const bool v6 = find(*asked, Type::InternalIp6Address) != nullptr;
  if (!v4 && !v6) return std::nullopt;
  const std::string asks = sa.remote.to_string() + " asks for a virtual address, and gets none: ";
  const auto refused = [&](const std::string& problem) {
    return std::unexpected(no_address(core, sa, NotifyType::InternalAddressFailure, asks + problem + ".", problem));
  };
  if (c.pools.empty()) return refused("no pools are configured for the connection");
  if (!v4) return refused("no pool has IPv6 addresses, which are not carried yet");
  const std::string who = holder_of(core, sa);
  claim_reserved(core, sa, who);
  const auto granted = core.shared.leases.acquire(c.pools, who, address_in(*v4));
  if (!granted)
    return std::unexpected(
        no_address(core, sa, NotifyType::InternalAddressFailure,
                   "No virtual address is left for " + sa.remote.to_string() + " in the pools of the connection (" + joined(c.pools) + ").",
                   "all addresses are given away"));
  sa.lease = who;
  sa.inner_remote = granted->address;
  core.lease_holders[sa.connection].insert(who);
  Cp out{ConfigType::Reply, {{Type::InternalIp4Address, bytes_of(granted->address)}}};
  add_rest(*granted->pool, *asked, out);
  add_own(*asked, out);
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok, "The peer has the virtual address " + granted->address.to_string() + ".");
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
  if (sa.inner_remote) {
    if (find(request, Type::InternalIp4Address)) out.attributes.push_back({Type::InternalIp4Address, bytes_of(*sa.inner_remote)});
    for (const std::string& name : core.connection(sa).pools) {
      const auto pool = std::ranges::find(core.config.pools, name, &config::Pool::name);
      if (pool == core.config.pools.end() || !pool->addrs.matches(*sa.inner_remote, 0, 0)) continue;
      add_rest(*pool, request, out);
      break;
    }
  }
  add_own(request, out);
  return out;
}

void reserve_lease(Core& core, std::size_t connection, const ike::OrphanSa& orphan) {
  const config::Connection& c = core.config.connections[connection];
  const auto child = std::ranges::find(c.children, orphan.child, &config::Child::name);
  if (child == c.children.end() || !child->remote_dynamic || orphan.remote_ts.first != orphan.remote_ts.last) return;
  const std::string who = unnamed(orphan.remote_ts.first);
  if (core.shared.leases.reserve(c.pools, who, orphan.remote_ts.first)) core.lease_holders[connection].insert(who);
}

void release_leases(Core& core, std::size_t connection) {
  if (core.leases_in_doubt.erase(connection) == 0) return;
  const auto known = core.lease_holders.find(connection);
  if (known == core.lease_holders.end()) return;
  std::set<std::string> here;
  for (const IkeSa* sa : core.sas_of(connection))
    if (sa->established() && !sa->lease.empty()) here.insert(sa->lease);
  for (const ChildRun& child : core.quiet_run(connection).children)
    for (const ike::OrphanSa& orphan : child.orphans) here.insert(unnamed(orphan.remote_ts.first));
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
  // What we had last: what is behind it keeps running.
  const IpAddress wanted = core.quiet_run(sa.connection).inner_local.value_or(c.vips.front());
  return Cp{ConfigType::Request,
            {{Type::InternalIp4Address, wanted.is_unspecified() ? Bytes{} : bytes_of(wanted)},
             {Type::InternalIp4Dns, {}},
             {Type::InternalIp4Nbns, {}},
             {Type::InternalIp4Subnet, {}},
             {Type::ApplicationVersion, {}}}};
}

bool take_address(Core& core, IkeSa& sa, const Message& reply) {
  const Cp* given = config_of(reply, ConfigType::Reply);
  const ConfigAttribute* address = given ? find(*given, Type::InternalIp4Address) : nullptr;
  const auto ours = address ? address_in(*address) : std::nullopt;
  if (!ours) return false;
  sa.inner_local = core.quiet_run(sa.connection).inner_local = ours;
  std::string told = "The gateway gives us the virtual address " + ours->to_string();
  for (const ConfigAttribute& a : given->attributes) {
    if (a.type == Type::InternalIp4Dns)
      if (const auto dns = address_in(a)) told += ", DNS " + dns->to_string();
    if (a.type == Type::InternalIp4Subnet)
      if (const auto net = subnet_in(a)) told += ", network " + net->to_string();
  }
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok, told + ".");
  return true;
}

}  // namespace culvert::ikev2

// Mode Config, the side that gives addresses.
#include <algorithm>

#include "control/ikev1/access.hpp"
#include "control/ikev1/config_attributes.hpp"
#include "control/ikev1/exchange_transaction.hpp"
#include "control/ikev1/lease_holders.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/mode_config.hpp"

namespace culvert::ikev1 {

namespace {

void add_addresses(std::vector<Attribute>& out, Cfg type, const std::vector<IpAddress>& addresses) {
  for (const IpAddress& a : addresses)
    if (a.family == Family::V4) out.push_back(address_attribute(type, a));
}

std::string joined(const std::vector<std::string>& all) {
  std::string out;
  for (const std::string& one : all) out += (out.empty() ? "" : ",") + one;
  return out;
}

/// Everything that the pool has to say of `type`.
void add(std::vector<Attribute>& out, Cfg type, const config::Pool& pool, const std::string& version) {
  switch (type) {
    case Cfg::Ip4Netmask:  // of a host: what is behind us is told by split_include
      return out.push_back(address_attribute(type, IpAddress::v4(0xffffffff)));
    case Cfg::Ip4Dns:
      return add_addresses(out, type, pool.dns);
    case Cfg::Ip4Nbns:
      return add_addresses(out, type, pool.nbns);
    case Cfg::ApplicationVersion:
      return out.push_back(text_attribute(type, version));
    case Cfg::UnityBanner:
      if (!pool.banner.empty()) out.push_back(text_attribute(type, pool.banner));
      return;
    case Cfg::UnityDefaultDomain:
      if (!pool.domain.empty()) out.push_back(text_attribute(type, pool.domain));
      return;
    case Cfg::UnitySplitDns:
      if (!pool.split_dns.empty()) out.push_back(text_attribute(type, joined(pool.split_dns)));
      return;
    case Cfg::UnitySplitInclude:
      if (!pool.split_include.empty()) out.push_back(split_include_attribute(pool.split_include));
      return;
    case Cfg::UnitySavePassword:
      return out.push_back(number_attribute(type, 0));
    default:
      return;
  }
}

constexpr std::array kAll{Cfg::Ip4Netmask,         Cfg::Ip4Dns,        Cfg::Ip4Nbns,          Cfg::UnityBanner,
                          Cfg::UnityDefaultDomain, Cfg::UnitySplitDns, Cfg::UnitySplitInclude};
constexpr const char* kVersion = "Culvert";

void no_address(Core& core, TimePoint now, IsakmpSa& sa) {
  access_failed(core, now, sa, Exchange::ModeConfig, Reason::NoAddress,
                "No virtual address is left for " + sa.remote.to_string() + " in the pools of the connection (" +
                    joined(core.connection(sa).pools) + ").",
                {.evidence = ike::PoolEvidence{joined(core.connection(sa).pools), "all addresses are given away"}});
}

/// The peer asks for an address of a kind that it does not get. On record, for it will hardly go on without.
void nothing_to_give(Core& core, TimePoint now, const IsakmpSa& sa, const ConfigPayload& request) {
  const bool v6 = has(request.attributes, Cfg::Ip6Address), v4 = has(request.attributes, Cfg::Ip4Address);
  if (!v4 && !v6) return;
  const bool none = core.connection(sa).pools.empty();
  const std::string problem =
      none ? "no pools are configured for the connection" : "no pool has IPv6 addresses, which only connections with version: 2 give";
  core.ended(now, sa, Exchange::ModeConfig, sa.role, Reason::NoAddress,
             sa.remote.to_string() + " asks for a virtual address, and gets none: " + problem + ".", {},
             {.evidence = ike::PoolEvidence{joined(core.connection(sa).pools), problem}});
}

void given(Core& core, TimePoint now, IsakmpSa& sa, const IpAddress& address) {
  core.ended(now, sa, Exchange::ModeConfig, sa.role, Reason::Ok, "The peer has the virtual address " + address.to_string() + ".");
}

}  // namespace

void push_config(Core& core, TimePoint now, IsakmpSa& sa) {
  const auto granted = lease_address(core, sa, std::nullopt);
  if (!granted) return no_address(core, now, sa);
  std::vector<Attribute> all{address_attribute(Cfg::Ip4Address, granted->address)};
  for (const Cfg type : kAll) add(all, type, *granted->pool, kVersion);
  sa.established()->access.state = ConfigAwaitAck{};
  const Bytes id = core.random(2);
  ask(core, now, sa, ConfigType::Set, static_cast<std::uint16_t>(id[0] << 8 | id[1]), all);
}

void on_pull_request(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request) {
  const config::Connection& c = core.connection(sa);
  Access& access = sa.established()->access;
  const Attribute* wanted = find(request.attributes, Cfg::Ip4Address);
  if (c.pools.empty() || (!wanted && !access.address)) {
    answer(core, now, sa, id, request, {});
    return nothing_to_give(core, now, sa, request);
  }
  const bool first = !access.address;
  const auto granted = lease_address(core, sa, wanted ? address_of(*wanted) : std::nullopt);
  if (!granted) {
    answer(core, now, sa, id, request, {});
    return no_address(core, now, sa);
  }
  std::vector<Attribute> out;
  if (wanted) out.push_back(address_attribute(Cfg::Ip4Address, granted->address));
  std::vector<std::uint16_t> done;
  for (const Attribute& a : request.attributes) {
    if (std::ranges::find(done, a.type) != done.end()) continue;
    done.push_back(a.type);
    add(out, static_cast<Cfg>(a.type), *granted->pool, kVersion);
  }
  answer(core, now, sa, id, request, std::move(out));
  if (first) given(core, now, sa, granted->address);
  if (std::holds_alternative<ConfigAwaitRequest>(access.state)) open_access(core, now, sa);
}

void on_push_ack(Core& core, TimePoint now, IsakmpSa& sa) {
  given(core, now, sa, *sa.established()->access.address);
  open_access(core, now, sa);
}

}  // namespace culvert::ikev1

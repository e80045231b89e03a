// Mode Config, the side that wants addresses.
#include "control/ikev1/access.hpp"
#include "control/ikev1/config_attributes.hpp"
#include "control/ikev1/exchange_transaction.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/mode_config.hpp"

namespace culvert::ikev1 {

namespace {

/// Takes what the server gives. False: there is no address of ours in it.
bool take(Core& core, IsakmpSa& sa, const std::vector<Attribute>& attributes) {
  Access& access = sa.established()->access;
  std::optional<IpAddress> address;
  ReceivedConfig received;
  for (const Attribute& a : attributes) {
    const auto ip = address_of(a);
    switch (static_cast<Cfg>(a.type)) {
      case Cfg::Ip4Address:
        if (ip && !ip->is_unspecified() && !address) address = ip;
        break;
      case Cfg::Ip4Dns:
        if (ip) received.given.dns.push_back(*ip);
        break;
      case Cfg::Ip4Nbns:
        if (ip) received.nbns.push_back(*ip);
        break;
      case Cfg::UnityBanner:
        received.banner = text_of(a);
        break;
      case Cfg::UnityDefaultDomain:
        received.domain = text_of(a);
        break;
      case Cfg::UnitySplitInclude:
        if (const auto networks = split_include_of(a)) received.given.networks = *networks;
        break;
      default:
        break;
    }
  }
  if (!address) return false;
  received.given.cut();
  access.received = std::move(received);
  set_virtual_address(core, sa, *address);
  return true;
}

std::string told(const Access& access) {
  std::string out = "The server gives us the virtual address " + access.address->to_string();
  for (const IpAddress& dns : access.received.given.dns) out += ", DNS " + dns.to_string();
  for (const Prefix& p : access.received.given.networks) out += ", network " + p.to_string();
  if (!access.received.domain.empty()) out += ", domain " + access.received.domain;
  return out + (access.received.banner.empty() ? "." : ". It says: " + access.received.banner);
}

void taken(Core& core, TimePoint now, IsakmpSa& sa) {
  core.ended(now, sa, Exchange::ModeConfig, sa.role, Reason::Ok, told(sa.established()->access));
  open_access(core, now, sa);
}

void refused(Core& core, TimePoint now, IsakmpSa& sa) {
  access_failed(core, now, sa, Exchange::ModeConfig, Reason::NoAddress, "The server gives us no virtual address.",
                {.evidence = ike::PoolEvidence{"", "the server gives no address"}, .by = ike::RefusedBy::Peer});
}

}  // namespace

void pull_config(Core& core, TimePoint now, IsakmpSa& sa) {
  const config::Connection& c = core.connection(sa);
  // The address that we have is asked for again when the ISAKMP SA is replaced: what is behind it keeps running.
  const std::optional<IpAddress> had = virtual_address_of(core, sa);
  std::vector<Attribute> wanted;
  const IpAddress first = had ? *had : c.vips.front();
  wanted.push_back(first.is_unspecified() ? empty_attribute(Cfg::Ip4Address) : address_attribute(Cfg::Ip4Address, first));
  for (const Cfg type : {Cfg::Ip4Netmask, Cfg::Ip4Dns, Cfg::Ip4Nbns, Cfg::ApplicationVersion, Cfg::UnityBanner, Cfg::UnityDefaultDomain,
                         Cfg::UnitySplitDns, Cfg::UnitySplitInclude, Cfg::UnityPfs, Cfg::UnitySavePassword})
    wanted.push_back(empty_attribute(type));
  sa.established()->access.state = ConfigAwaitReply{};
  const Bytes id = core.random(2);
  ask(core, now, sa, ConfigType::Request, static_cast<std::uint16_t>(id[0] << 8 | id[1]), wanted);
}

void on_pull_reply(Core& core, TimePoint now, IsakmpSa& sa, const ConfigPayload& reply) {
  return take(core, sa, reply.attributes) ? taken(core, now, sa) : refused(core, now, sa);
}

void on_push_request(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request) {
  const bool good = take(core, sa, request.attributes);
  std::vector<Attribute> accepted;  // draft-dukes-ike-mode-cfg-02 §3.2: those that are taken, without their values
  if (good)
    for (const Attribute& a : request.attributes) accepted.push_back(empty_attribute(static_cast<Cfg>(a.type)));
  answer(core, now, sa, id, request, std::move(accepted));
  return good ? taken(core, now, sa) : refused(core, now, sa);
}

}  // namespace culvert::ikev1

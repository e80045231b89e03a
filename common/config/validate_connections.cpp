// Checks of connections and children, alone and against each other.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "common/config/kinds.hpp"
#include "common/config/rounds.hpp"
#include "common/config/selectors.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

namespace {

std::string shown(Seconds s) { return show_duration(s); }

/// A child with several selectors is several children here; what concerns them all is said once.
bool first_of_entry(const Connection& c, std::size_t child) { return child == 0 || c.children[child - 1].entry != c.children[child].entry; }

bool single(const TrafficSelector& remote) { return remote.first == remote.last; }

void check_addresses(const GatewayConfig& config, const Connection& c, const Where& at, bool ports_known) {
  if (at.clean({"local_addrs"}) && ports_known)
    for (std::size_t i = 0; i < c.local_addrs.size(); ++i)
      if (!own_address(config, c.vrf.id, c.local_addrs[i])) {
        std::string all;
        for (const Interface& interface : interfaces(config))
          if (interface.vrf == c.vrf.id)
            for (const auto& p : interface.addresses) all += (all.empty() ? "" : ", ") + p.address.to_string();
        const std::string of = config.vrfs.empty() ? std::string{} : " of VRF " + quoted(vrf_name(config, c.vrf.id));
        at.key("local_addrs").item(i).error("expected an address of a port" + of + " (" + all + "), got " + c.local_addrs[i].to_string());
      }
  if (at.clean({"remote_addrs"}) && ports_known)
    for (std::size_t i = 0; i < c.remotes.size(); ++i)
      if (single(c.remotes[i]) && own_address(config, c.vrf.id, c.remotes[i].first))
        at.key("remote_addrs")
            .item(i)
            .error("expected an address of the peer, but " + c.remotes[i].first.to_string() + " is an address of this gateway");
}

/// We can speak to a peer of a family that we have an address of.
void check_families(const Connection& c, const Where& at) {
  if (!at.clean({"local_addrs", "remote_addrs"})) return;
  for (std::size_t i = 0; i < c.remotes.size(); ++i)
    if (std::ranges::none_of(c.local_addrs, [&](const IpAddress& a) { return a.family == c.remotes[i].first.family; }))
      at.key("remote_addrs").item(i).error("expected an address of a family that local_addrs has, too");
}

bool reachable(const GatewayConfig& config, VrfId vrf, const IpAddress& a) {
  return std::ranges::any_of(config.routes, [&](const Route& r) { return r.vrf.id == vrf && r.to.contains(a); }) ||
         std::ranges::any_of(interfaces(config), [&](const Interface& i) {
           return i.vrf == vrf && std::ranges::any_of(i.addresses, [&](const Prefix& p) { return p.contains(a); });
         });
}

void warn_unreachable(const GatewayConfig& config, const Connection& c, const Where& at) {
  for (std::size_t i = 0; i < c.remotes.size(); ++i)
    if (single(c.remotes[i]) && !reachable(config, c.vrf.id, c.remotes[i].first))
      at.key("remote_addrs")
          .item(i)
          .warning("no route leads to " + c.remotes[i].first.to_string() + ": no port's network and no entry of routes has it");
}

void check_times(const Connection& c, const Where& at) {
  if (at.clean({"rekey_time", "rand_time"}) && c.rand_time >= c.rekey_time)
    at.key("rand_time").error("expected less than rekey_time (" + shown(c.rekey_time) + "), got " + shown(c.rand_time));
  const Seconds anew = c.renewal.reauth_time;
  if (at.clean({"reauth_time", "rand_time"}) && anew != Seconds{0} && c.rand_time >= anew)
    at.key("rand_time").error("expected less than reauth_time (" + shown(anew) + "), got " + shown(c.rand_time));
  if (at.clean({"dpd_delay", "dpd_timeout"}) && c.dpd_timeout < c.dpd_delay)
    at.key("dpd_timeout").error("expected at least dpd_delay (" + shown(c.dpd_delay) + "), got " + shown(c.dpd_timeout));
}

/// Legacy algorithms are used where the connection names them, and nowhere else.
template <class Suite>
void check_weak(const std::vector<Suite>& suites, const Connection& c, const Where& at, std::set<std::string>& used) {
  std::set<std::string> reported;
  for (const Suite& suite : suites)
    for (const std::string_view weak : weak_algorithms(suite)) {
      const std::string name(weak);
      used.insert(name);
      if (!reported.insert(name).second) continue;
      if (std::ranges::find(c.allow_weak, name) == c.allow_weak.end())
        at.error("expected algorithms that still protect, but " + name +
                 " does not; for a peer that has nothing better, name it in allow_weak of this connection");
      else
        at.warning(name + " " + std::string(weakness(name)));
    }
}

void check_weak_algorithms(const Connection& c, const Where& at) {
  if (!at.clean({"allow_weak", "proposals", "children"})) return;
  std::set<std::string> used;
  if (any_proof(c, by_certificate)) {
    used.emplace(kWeakRsa);
    used.emplace(kWeakCertificateHash);
  }
  if (any_proof(c, [](Proof p) { return p == Proof::EapMd5 || p == Proof::EapRadius; })) used.emplace(kWeakEapMd5);
  check_weak(c.proposals, c, at.key("proposals"), used);
  for (std::size_t k = 0; k < c.children.size(); ++k)
    for (const char* key : {"esp_proposals", "ah_proposals"}) {
      if (!first_of_entry(c, k)) continue;
      const Child& child = c.children[k];
      const Where here = at.key("children").entry(child.entry);
      check_weak(key[0] == 'e' ? child.esp_proposals : child.ah_proposals, c, here.key(key), used);
    }
  for (std::size_t i = 0; i < c.allow_weak.size(); ++i)
    if (!used.contains(c.allow_weak[i])) at.key("allow_weak").item(i).warning("no proposal of this connection uses " + c.allow_weak[i]);
}

template <class Suite, class Weak>
void warn_weak(const std::vector<Suite>& suites, const Where& at, Weak weak) {
  const auto w = std::find_if(suites.begin(), suites.end(), weak);
  if (w != suites.end()) at.warning(w->to_string() + " uses SHA-1, which is kept for old peers only; prefer sha256");
}

void check_limits(const Child& c, const Where& at) {
  if (at.clean({"rekey_time", "life_time"}) && c.rekey_time >= c.life_time)
    at.key("life_time").error("expected more than rekey_time (" + shown(c.rekey_time) + "), got " + shown(c.life_time));
  if (at.clean({"rekey_time", "rand_time"}) && c.rand_time >= c.rekey_time)
    at.key("rand_time").error("expected less than rekey_time (" + shown(c.rekey_time) + "), got " + shown(c.rand_time));
  if (at.clean({"rekey_bytes", "life_bytes"}) && c.life_bytes != 0 && c.rekey_bytes >= c.life_bytes)
    at.key("life_bytes").error("expected more than rekey_bytes (" + show_size(c.rekey_bytes) + "), got " + show_size(c.life_bytes));
  if (at.clean({"rekey_bytes", "life_bytes"}) && c.life_bytes != 0 && c.rekey_bytes == 0)
    at.key("life_bytes").error("expected rekey_bytes beside it: without, the tunnel would stop there instead of being rekeyed");
  if (at.clean({"rekey_packets", "life_packets"}) && c.life_packets != 0 && c.rekey_packets >= c.life_packets)
    at.key("life_packets")
        .error("expected more than rekey_packets (" + std::to_string(c.rekey_packets) + "), got " + std::to_string(c.life_packets));
  if (at.clean({"rekey_packets", "life_packets"}) && c.life_packets != 0 && c.rekey_packets == 0)
    at.key("life_packets").error("expected rekey_packets beside it: without, the tunnel would stop there instead of being rekeyed");
}

/// RFC 4301 §4.1: transport mode is for the two ends of the SA themselves; and AH does not survive a NAT (RFC 3947 §1).
void check_mode(const Connection& connection, const Child& c, const Where& at, bool remotes_known) {
  const auto one_of = [](const TrafficSelector& ts, const std::vector<IpAddress>& addresses) {
    return ts.first == ts.last && std::ranges::find(addresses, ts.first) != addresses.end();
  };
  if (c.mode == SaMode::Transport && remotes_known && at.clean({"local_ts", "remote_ts", "mode"})) {
    const auto fits = [&](const std::vector<IpAddress>& addresses) {
      return [&](const SideSelector& s) { return s.dynamic || one_of(s.ts, addresses); };
    };
    if (!std::ranges::all_of(c.locals(), fits(connection.local_addrs)))
      at.key("local_ts").error("expected one of local_addrs: mode transport is for traffic of this gateway itself");
    if (!std::ranges::all_of(c.remotes(), fits(connection.remote_addrs)))
      at.key("remote_ts").error("expected one of remote_addrs: mode transport is for traffic of the peer itself");
    if (std::ranges::any_of(c.more_local, [&](const SideSelector& s) { return s.ts.first.family != c.local_ts.first.family; }))
      at.key("local_ts").error("expected addresses of one family with mode transport, whose packets are those of the outer addresses");
  }
  if (c.suites().empty() && at.clean({"esp_proposals", "ah_proposals"}))
    at.key("esp_proposals").error("expected at least one proposal here or in ah_proposals");
  if (connection.encap && !c.ah_proposals.empty() && at.clean({"ah_proposals"}))
    at.key("ah_proposals").error("expected none with encap: true of the connection: AH does not go into UDP");
}

/// RFC 4303 §2.6, §2.7: inner packets say how long they are, so that padding behind them can be told.
void check_padding(const Child& c, const Where& at) {
  const auto check = [&](const char* key, bool off) {
    if (off || !at.clean({key, "mode", "ah_proposals"})) return;
    if (c.mode == SaMode::Transport) at.key(key).error("expected 0 with mode transport: it is for ESP in tunnel mode");
    if (!c.ah_proposals.empty()) at.key(key).error("expected 0 with ah_proposals: AH hides nothing");
  };
  check("tfc_padding", c.rules.tfc_padding == PacketRules::kOff);
  check("dummy_interval", c.rules.dummy_interval == Milliseconds{0});
}

/// RFC 4301 §8.1: with DF set outside nothing can be fragmented there.
void check_fragmentation(const Child& c, const Where& at) {
  if (c.rules.cut == CutWhen::After && c.rules.df == CopyDf::Set && at.clean({"fragmentation", "copy_df"}))
    at.key("fragmentation").error("expected before with copy_df: set, which forbids that outer packets are fragmented");
}

/// RFC 7296 §2.9: a CHILD SA of version 2 has them all.
void check_lists(const Child& c, const Where& at) {
  const auto local = c.locals(), remote = c.remotes();
  if (local.size() + remote.size() > kMaxPairSelectors)
    return at.key("remote_ts")
        .error("expected at most " + std::to_string(kMaxPairSelectors) +
               " selectors in local_ts and remote_ts together, which one CHILD SA can have, got " +
               std::to_string(local.size() + remote.size()) + ": make another child of some");
  for (const SideSelector& l : local)
    if (std::ranges::none_of(remote, [&](const SideSelector& r) { return go_together(l, r); }))
      at.key("local_ts").error("expected a selector of the same family and protocol in remote_ts for " + text(l.ts, l.dynamic));
  for (const SideSelector& r : remote)
    if (std::ranges::none_of(local, [&](const SideSelector& l) { return go_together(l, r); }))
      at.key("remote_ts").error("expected a selector of the same family and protocol in local_ts for " + text(r.ts, r.dynamic));
}

void check_selectors(const Connection& connection, const Child& c, const Where& at) {
  if (at.clean({"local_ts", "remote_ts"})) {
    if (!c.more_local.empty() || !c.more_remote.empty()) return check_lists(c, at);
    // What a dynamic side will be: a virtual address, or the outer one.
    const auto known = fixed_selectors(connection, c);
    const Family local = known ? known->first.first.family : c.local_ts.first.family;
    const Family remote = known ? known->second.first.family : c.remote_ts.first.family;
    if (local != remote)
      at.key("remote_ts").error("expected the address family of local_ts");
    else if (c.local_ts.protocol != c.remote_ts.protocol)
      at.key("remote_ts")
          .error("expected the protocol of local_ts, got " + text(c.remote_ts, c.remote_dynamic) + " beside " +
                 text(c.local_ts, c.local_dynamic));
  }
}

void check_child(const Connection& connection, const Child& c, const Where& at, bool remotes_known) {
  check_limits(c, at);
  check_mode(connection, c, at, remotes_known);
  check_padding(c, at);
  check_fragmentation(c, at);
  if (remotes_known && at.clean({"start_action"}) && connection.remote_addrs.empty() && c.start_action != StartAction::None)
    at.key("start_action")
        .error("expected none, since remote_addrs of this connection names no single address: there is nobody to send to");
  if (at.clean({"esp_proposals"}))
    warn_weak(c.esp_proposals, at.key("esp_proposals"), [](const EspSuite& s) { return s.integ == Integ::HmacSha1_96; });
}

/// Main Mode chooses the pre-shared key before it knows the peer's identity, by address alone (RFC 2409 §5.4): all that may be meant are
/// tried, which is bounded.
void check_ambiguous(const GatewayConfig& config, const Where& here) {
  std::map<std::tuple<VrfId, IpAddress, TrafficSelector>, std::set<std::string>> secrets;  // remote of family None: %any
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const Connection& c = config.connections[i];
    const Where at = here.entry(i);
    if (c.version != 1 || c.local_auth.auth != Proof::Psk || c.aggressive || !at.clean({"local_addrs", "remote_addrs", "secret"})) continue;
    const std::vector<TrafficSelector> remotes = c.remotes.empty() ? std::vector<TrafficSelector>{{}} : c.remotes;
    bool too_many = false;
    for (const auto& local : c.local_addrs)
      for (const auto& remote : remotes) {
        auto& known = secrets[{c.vrf.id, local, remote}];
        known.insert((c.secret.kind == SecretRef::Kind::File ? "file:" : "env:") + c.secret.where);
        too_many = too_many || known.size() > kMaxSecrets;
      }
    if (too_many)
      at.key("secret").error("expected a secret of another connection with the same addresses, which have " + std::to_string(kMaxSecrets) +
                             " already: each is tried on a peer, since Main Mode chooses it by address alone (RFC 2409 §5.4)");
  }
}

/// What decides about a packet, in the data plane's order: by priority, children before policies, then as in the file.
struct SpdEntry {
  TrafficSelector local, remote;
  std::uint32_t priority;
  std::string name;
  Where at;
  bool child;
  VrfId vrf = kDefaultVrf;
  std::size_t connection = 0;
  bool many = false;
  std::size_t number = 0;  ///< of the child
};

std::vector<SpdEntry> spd_entries(const GatewayConfig& config, const Where& root) {
  std::vector<SpdEntry> out;
  const Where connections = root.key("connections");
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const Where children = connections.entry(i).key("children");
    for (std::size_t k = 0; k < config.connections[i].children.size(); ++k) {
      const Child& c = config.connections[i].children[k];
      const Where at = children.entry(c.entry);
      const auto known = fixed_selectors(config.connections[i], c);
      if (!known || !c.tunnel.empty() || !at.clean({"local_ts", "remote_ts", "priority"})) continue;
      const MoreSelectors more = fixed_more(config.connections[i], c);
      std::vector<TrafficSelector> local{known->first}, remote{known->second};
      local.insert(local.end(), more.local().begin(), more.local().end());
      remote.insert(remote.end(), more.remote().begin(), more.remote().end());
      for (const TrafficSelector& l : local)
        for (const TrafficSelector& r : remote)
          if (can_pair(l, r) || local.size() + remote.size() == 2)
            out.push_back({l, r, c.priority, "child " + quoted(config.connections[i].name + "/" + c.name), at.key("remote_ts"), true,
                           c.vrf.id, i, waits_for_many(config.connections[i]), k});
    }
  }
  for (std::size_t i = 0; i < config.policies.size(); ++i) {
    const Policy& p = config.policies[i];
    const Where at = root.key("policies").item(i);
    if (at.clean({"local_ts", "remote_ts", "priority"}))
      out.push_back({p.local_ts, p.remote_ts, p.priority, "policy " + quoted(p.name), at.key("remote_ts"), false, p.vrf.id});
  }
  std::stable_sort(out.begin(), out.end(), [](const SpdEntry& a, const SpdEntry& b) { return a.priority < b.priority; });
  return out;
}

/// Reports each entry that one before it covers wholly, once: an error between equal children, else a warning.
void check_shadowed(const std::vector<SpdEntry>& entries) {
  for (std::size_t i = 0; i < entries.size(); ++i)
    for (std::size_t before = 0; before < i; ++before) {
      const SpdEntry& a = entries[before];
      const SpdEntry& b = entries[i];
      // Peers of a connection that has many take what they have before any child that only waits for its peers.
      if ((a.many || b.many) && a.connection != b.connection && a.child && b.child) continue;
      if (a.child && b.child && a.connection == b.connection && a.number == b.number) continue;
      if (a.vrf != b.vrf || !a.local.contains(b.local) || !a.remote.contains(b.remote)) continue;
      if (a.child && b.child && a.local == b.local && a.remote == b.remote) {
        b.at.error("the " + a.name + " has the same selectors: this one would never carry a packet");
      } else {
        b.at.warning("the " + a.name +
                     " comes first and has all of this traffic: this one never sees a packet; give it a smaller priority");
      }
      break;
    }
}

void warn_unspecific(const Connection& c, const Where& at) {
  if (at.clean({"proposals"}))
    warn_weak(c.proposals, at.key("proposals"), [](const IkeSuite& s) { return s.prf == Prf::HmacSha1 || s.integ == Integ::HmacSha1_96; });
  if (at.clean({"remote", "remote_addrs"}) && c.remote_id.type == Identity::Type::Any && c.remotes.empty() &&
      c.remote_auth.auth == Proof::Psk && c.remote_rounds == 1)
    at.key("remote").warning("with remote_addrs %any and no remote.id, whoever knows the secret is taken for this peer");
}

}  // namespace

void validate_connections(const GatewayConfig& config, const Where& root) {
  const Where here = root.key("connections");
  const bool ports_known = networks_known(config, root);
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const Connection& c = config.connections[i];
    const Where at = here.entry(i);
    check_addresses(config, c, at, ports_known);
    check_families(c, at);
    if (ports_known && root.clean({"routes"}) && at.clean({"remote_addrs"})) warn_unreachable(config, c, at);
    check_times(c, at);
    warn_unspecific(c, at);
    check_weak_algorithms(c, at);
    if (at.clean({"version", "unique"}) && c.version == 1 && c.unique == Unique::No)
      at.key("unique").error("expected replace, keep or never with version: 1, got no");
    if (at.clean({"version"})) c.version == 2 ? validate_version_2(c, at) : validate_version_1(c, at);
    const Where local = at.key(c.local_auth.place.section);
    if (local.clean({"id"}) && local.node->find("id") && c.local_id.type == Identity::Type::Any)
      local.key("id").error("expected an identity of our own, got '%any'");
    if (c.children.empty() && at.clean({"children"})) at.key("children").error("expected at least one child");
    const bool remotes_known = at.clean({"remote_addrs"});
    for (std::size_t k = 0; k < c.children.size(); ++k) {
      const Where child = at.key("children").entry(c.children[k].entry);
      check_selectors(c, c.children[k], child);
      if (first_of_entry(c, k)) check_child(c, c.children[k], child, remotes_known);
    }
  }
  check_ambiguous(config, here);
  check_shadowed(spd_entries(config, root));
}

}  // namespace culvert::config

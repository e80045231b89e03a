// The lines of YAML that would accept a peer, where they are safe, and what to do where they are not.
#include <algorithm>

#include "common/config/rounds.hpp"
#include "common/ipsec/algorithms.hpp"
#include "control/explain/explain.hpp"

namespace culvert::control::explain {

namespace {

using ike::Exchange;
using ike::Failure;
using ike::Reason;
using ike::RefusedBy;
using ike::Role;

template <class Suite>
std::string listed(const std::vector<Suite>& suites) {
  std::string out;
  for (const Suite& s : suites) out += (out.empty() ? "" : ", ") + s.to_string();
  return out;
}

/// Readers of proposals, as a connection of the version has them.
auto ike_reader(int version) { return version == 2 ? parse_ike_proposal_v2 : parse_ike_proposal; }
using EspReader = std::expected<std::vector<EspSuite>, ProposalError> (*)(std::string_view);
EspReader esp_reader(int version) {
  return version == 2 ? parse_esp_proposal_v2 : EspReader([](std::string_view text) { return for_ikev1(parse_esp_proposal(text)); });
}
EspReader ah_reader(int version) {
  return version == 2 ? parse_ah_proposal_v2 : EspReader([](std::string_view text) { return for_ikev1(parse_ah_proposal(text)); });
}

/// A scalar within { }, where brackets and commas mean something. It holds no quote.
std::string flow_scalar(const std::string& text) { return text.find_first_of("[],=:") == std::string::npos ? text : "'" + text + "'"; }

// -------------------------------------------------------------------------------------------- proposals

/// Why a suite is not to be suggested; empty: nothing speaks against it.
std::string unwise(const IkeSuite& s, const std::vector<IkeSuite>&) {
  if (const auto weak = weak_algorithms(s); !weak.empty())
    return s.to_string() + " has " + std::string(weak.front()) + ", which is broken or weak";
  if (s.prf == Prf::HmacSha1 || s.integ == Integ::HmacSha1_96) return s.to_string() + " has SHA-1, which is for old peers only";
  return {};
}
std::string unwise(const EspSuite& s, const std::vector<EspSuite>& ours) {
  if (const auto weak = weak_algorithms(s); !weak.empty())
    return s.to_string() + " has " + std::string(weak.front()) + ", which is broken or weak";
  if (s.integ == Integ::HmacSha1_96) return s.to_string() + " has SHA-1, which is for old peers only";
  const bool all_pfs = std::ranges::all_of(ours, [](const EspSuite& o) { return o.pfs != DhGroup::None; });
  if (s.pfs == DhGroup::None && all_pfs) return s.to_string() + " has no perfect forward secrecy, which every proposal here has";
  return {};
}

/// IKE_AUTH says nothing of groups (RFC 7296 §1.2), which rekeyings have all the same: ours.
ike::ProposalEvidence with_group(ike::ProposalEvidence e, DhGroup group, EspReader read) {
  const DhInfo* row = group == DhGroup::None ? nullptr : find_dh(group);
  for (std::string& text : e.usable)
    if (const auto parsed = read(text); row && parsed && parsed->size() == 1 && parsed->front().pfs == DhGroup::None)
      text += "-" + std::string(row->name);
  return e;
}

template <class Suite, class Parse>
Remedy proposal_remedy(const ike::ProposalEvidence& e, const std::vector<Suite>& ours, const std::string& key, Parse&& parse) {
  const std::string have = ours.empty() ? "" : listed(ours) + ", ";
  std::string why;
  for (const std::string& text : e.usable) {
    const auto parsed = parse(text);
    if (!parsed || parsed->size() != 1) continue;
    const std::string objection = unwise(parsed->front(), ours);
    if (objection.empty()) return {{key + ": [" + have + text + "]"}, "This is what the peer offers, and it is not weak."};
    if (why.empty()) why = objection;
  }
  if (!why.empty())
    return {{},
            "No line is suggested, since it would make the connection weaker: " + why + ". Better let the peer offer one of " +
                listed(ours) + "."};
  return {{}, "Nothing that the peer offers can be configured here. Let it offer one of " + listed(ours) + "."};
}

// -------------------------------------------------------------------------------------------- selectors

bool too_wide(const TrafficSelector& s) {
  const auto prefix = s.prefix();
  return !prefix || prefix->length < 8;
}

bool overlaps_others(const config::GatewayConfig& all, const config::Connection& own, const TrafficSelector& remote) {
  for (const config::Connection& c : all.connections)
    for (const config::Child& child : c.children)
      if (c.name != own.name && std::ranges::any_of(child.remotes(), [&](const config::SideSelector& s) { return s.ts.meets(remote); }))
        return true;
  return false;
}

/// What of ours a remote network would take traffic from; empty: nothing. Networks that are nearly everything are nobody's.
std::string ours_in(const config::GatewayConfig& all, const TrafficSelector& remote) {
  const auto hit = [&](const TrafficSelector& s) { return !too_wide(s) && s.meets(remote); };
  for (const config::Connection& c : all.connections)
    for (const config::Child& child : c.children)
      if (std::ranges::any_of(child.locals(), [&](const config::SideSelector& s) { return hit(s.ts); }))
        return "the local_ts of " + c.name + "/" + child.name;
  for (const config::Interface& i : config::interfaces(all))
    for (const Prefix& address : i.addresses)
      if (hit(TrafficSelector::from(address)))
        return (i.vlan != 0 ? "the network of the VLAN " : "the network of the port ") + std::string(i.name);
  for (const config::Pool& pool : all.pools)
    if (pool.addrs.intersect(remote)) return "the pool " + pool.name;
  for (const config::Policy& policy : all.policies)
    if (hit(policy.remote_ts)) return "the policy " + policy.name;
  return {};
}

/// "10.1.0.0/24, 10.1.1.0/24"; empty: it is none.
std::vector<TrafficSelector> all_of(std::string_view text) {
  std::vector<TrafficSelector> out;
  while (true) {
    const auto comma = text.find(", ");
    const auto one = TrafficSelector::parse(text.substr(0, comma));
    if (!one) return {};
    out.push_back(*one);
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 2);
  }
}
bool is(const std::vector<config::SideSelector>& configured, const std::vector<TrafficSelector>& asked) {
  return std::ranges::is_permutation(configured, asked, {}, &config::SideSelector::ts);
}
std::string flow_list(const std::vector<TrafficSelector>& all) {
  if (all.size() == 1) return flow_scalar(all[0].to_string());
  std::string out;
  for (const TrafficSelector& s : all) out += (out.empty() ? "[" : ", ") + flow_scalar(s.to_string());
  return out + "]";
}

Remedy selector_remedy(const ike::SelectorEvidence& e, const Failure& f, const config::Connection& c, const config::GatewayConfig& all) {
  if (e.taken) return {{}, "Nothing to configure: the peer that has them must go first, or each needs networks of its own."};
  if (f.by == RefusedBy::Peer)
    return {{}, "The peer does not say what it has. Its local and remote networks must be ours, the other way round."};
  if (e.answered) return {{}, "Nothing to configure here: an answer has at most what was asked for (RFC 7296 §2.9). Mend the peer."};
  const auto local = all_of(e.asked.local), remote = all_of(e.asked.remote);
  if (local.empty() || remote.empty()) return {{}, "What the peer asks for is no pair of networks that can be configured here."};
  if (std::ranges::any_of(c.children, [&](const config::Child& child) { return is(child.locals(), remote) && is(child.remotes(), local); }))
    return {{}, "The peer has its two networks the wrong way round: " + e.asked.remote + " is behind us. Exchange them there."};
  if (std::ranges::any_of(local, too_wide) || std::ranges::any_of(remote, too_wide))
    return {{}, "No line is suggested: the peer asks for nearly everything, and what is accepted here is let through. Narrow it there."};
  if (std::ranges::any_of(remote, [&](const TrafficSelector& s) { return overlaps_others(all, c, s); }))
    return {{}, "No line is suggested: " + e.asked.remote + " belongs to another connection here, whose traffic would go to this peer."};
  const bool itself =
      f.peer && remote == std::vector{TrafficSelector::from({f.peer->address, 32}, remote[0].protocol)};  // a host, as in transport mode
  std::string taken;
  for (const TrafficSelector& s : remote)
    if (taken.empty()) taken = ours_in(all, s);
  if (!taken.empty() && !itself)
    return {{}, "No line is suggested: " + e.asked.remote + " overlaps " + taken + " here, whose traffic would go to this peer."};
  const std::string child = c.children.size() == 1 ? c.children.front().name : "NAME";
  return {{"children:", "  " + child + ": {local_ts: " + flow_list(local) + ", remote_ts: " + flow_list(remote) + ", ...}"},
          "If " + e.asked.remote + " is indeed behind this peer, and it may reach " + e.asked.local + "."};
}

// -------------------------------------------------------------------------------------------- the others

/// An identity that can stand in a file as it is: it holds no quote, bracket or wildcard.
bool plain(const std::string& identity) {
  return !identity.empty() && std::ranges::all_of(identity, [](char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || std::string_view(".-_@:=, ").contains(ch);
  });
}

/// The peer has said whom it takes us for (IDr of IKE_AUTH).
Remedy own_identity_remedy(const ike::IdentityEvidence& e) {
  const std::string otherwise = "The peer's remote identity must be the same as `local: {id: ...}` here, type included.";
  if (!e.proven || !plain(e.expected)) return {{}, otherwise};
  return {{"local: {id: " + flow_scalar(e.expected) + "}"}, "If this gateway is to go by that name. " + otherwise};
}

Remedy identity_remedy(const ike::IdentityEvidence& e) {
  if (e.ours && !e.expected.empty()) return own_identity_remedy(e);
  if (e.ours)
    return {{},
            std::string(
                "The peer does not say whom it expects. `local: {id: ...}` here and its remote identity must be the same, type included.") +
                (e.user ? " XAuth must be on both sides, and the same one the user." : "")};
  if (!e.proven) return {{}, "The peer has not proved who it is: nothing is suggested on its word."};
  if (!plain(e.received))
    return {{}, "The identity is of a kind that is not suggested here: write it as the peer's administrator gives it to you."};
  return {{"remote: {id: " + flow_scalar(e.received) + "}"},
          "If that is indeed the peer that this connection is for: it has shown that it holds the key."};
}

/// The lines for the sections of the round that it was about (RFC 4739).
Remedy in_round(Remedy found, const Failure& f, const config::Connection* c) {
  if (c == nullptr || f.cause.round >= config::rounds_of(*c)) return found;
  const config::Connection& r = config::proofs(*c, f.cause.round);
  const auto rename = [](std::string& text, const std::string& from, const std::string& to) {
    if (const auto at = text.find(from + ": {"); at != std::string::npos) text.replace(at, from.size(), to);
  };
  for (std::string* text : {&found.note, found.yaml.empty() ? &found.note : &found.yaml.front()}) {
    rename(*text, "local", r.local_auth.place.section);
    rename(*text, "remote", r.remote_auth.place.section);
  }
  return found;
}

Remedy address_remedy(const ike::AddressEvidence& e) {
  return {{"remote_addrs: [" + e.remote + "]"}, "In the connection that is for this peer, if one is: it must still prove who it is."};
}

/// Whether the connection could be of the other version as it is. IKEv2 has pre-shared keys alone here so far, and IKEv1 fewer suites.
bool fits(const config::Connection& c, int version) {
  const auto known = [](const auto& suites, auto parse) {
    return std::ranges::all_of(suites, [&](const auto& s) { return parse(s.to_string()).has_value(); });
  };
  if (!known(c.proposals, ike_reader(version))) return false;
  for (const config::Child& child : c.children)
    if (!known(child.esp_proposals, esp_reader(version)) || !known(child.ah_proposals, ah_reader(version))) return false;
  return version == 1 || (c.local_auth.auth == config::Proof::Psk && c.remote_auth.auth == config::Proof::Psk &&
                          c.xauth_client.user.empty() && c.xauth_server.users.kind == config::SecretRef::Kind::None && c.pools.empty() &&
                          c.vips.empty() && !c.aggressive && c.unique == config::Unique{} && c.fragmentation == config::Fragmentation::Yes);
}

Remedy version_remedy(const config::Connection* c) {
  const int other = c != nullptr && c->version == 2 ? 1 : 2;
  if (c != nullptr && fits(*c, other))
    return {{"version: " + std::to_string(other)},
            other == 2 ? "If that is indeed the peer; or configure it for IKEv1."
                       : "If the peer cannot be configured for IKEv2, which is the better one of the two."};
  return {
      {},
      std::string("Configure the peer for ") + (other == 2 ? "IKEv1" : "IKEv2") + ": this connection has what the other version lacks."};
}

Remedy pool_remedy(const Failure& f, const config::Connection* c) {
  if (f.cause.said == "FAILED_CP_REQUIRED") return {{}, "Ask for an address: `vips`, and children with local_ts: dynamic."};
  if (f.by == RefusedBy::Peer)
    return {{}, "See the gateway's pools and its log: it must have a free address of each family that vips asks for."};
  if (c != nullptr && c->pools.empty())
    return {{}, "Give the connection `pools`, if its peer is to have an address, or have the peer ask for none."};
  return {{}, "Give the pool more addresses, or wait until leases end; a peer that asks for none must be made to ask."};
}

Remedy by_cause(const Failure& f, const config::Connection* c) {
  const std::string_view cause = causes(f).front().cause;
  if ((cause == "phase1_proposal" || cause == "phase2_proposal") && c != nullptr) {
    const auto child = std::ranges::find(c->children, f.child, &config::Child::name);
    const std::string ours = cause == "phase1_proposal"   ? listed(c->proposals)
                             : child != c->children.end() ? listed(child->esp_proposals)
                                                          : std::string{};
    return {{},
            "Compare " + std::string(cause == "phase1_proposal" ? "proposals" : "esp_proposals, PFS included,") +
                " with the peer's configuration" + (ours.empty() ? "." : ": here it is " + ours + ".")};
  }
  if (cause == "secret")
    return {{}, "There is no line for that: put the same secret on both sides (mind newlines at the end of the file)."};
  if (cause == "secret_unreadable")
    return {{}, "Mend the file that `secret` names, or its owner and mode; it is read anew at each attempt."};
  if (cause == "unreachable")
    return {{},
            "Check remote_addrs" +
                (c == nullptr || c->remote_addrs.empty() ? std::string{} : " (" + c->remote_addrs.front().to_string() + ")") +
                ", that an IKE daemon listens there, and the firewalls for UDP 500 and 4500."};
  if (cause == "port_4500") return {{}, "Let UDP 4500 through in both directions. Secrets come second."};
  if (cause == "large_messages")
    return {{},
            "Make sure that the peer takes fragments of IKE's own (RFC 7383), and set ike.fragment_size lower where the path is narrow; "
            "its log "
            "says whether the messages reach it."};
  if (cause == "one_way" || cause == "silence")
    return {{}, "Look at the peer's log, and at what reaches it (`culvert debug` shows what we send)."};
  if (cause == "ike_version") return version_remedy(c);
  if (cause == "auth_method" && f.reason == Reason::EapMethod)
    return {{}, "Configure the peer for the method of EAP that `auth` has here (eap-mschapv2, eap-tls, eap-md5), or the other way round."};
  if (cause == "radius_rejected")
    return {
        {},
        "See the RADIUS server's log: it knows whether the name, the password, the method or the user's rights are what it objects to."};
  if (cause == "radius_silent")
    return {{},
            "See whether the server runs at the address and port that radius.servers has, whether it has this gateway among its clients "
            "with the "
            "same secret, and what its log says: a server that knows us not, or by another secret, is silent."};
  if (cause == "radius_secret")
    return {
        {},
        "Put the same secret on both sides (mind newlines at the end of the file). A server that sends no Message-Authenticator needs an "
        "update (CVE-2024-3596)."};
  if (cause == "user_unreadable" && c != nullptr && c->remote_auth.auth == config::Proof::EapRadius)
    return {{}, "Mend the file that the server's secret in radius.servers names, or its owner and mode; it is read anew at each question."};
  if (cause == "tls")
    return {{},
            "Both sides need TLS 1.2 or 1.3, with ciphers of today (ECDHE), and a certificate each: see what the peer's log says of it."};
  if (cause == "user_unreadable")
    return {{},
            "Mend the file that remote.users names, or its owner and mode: EAP compares with {plain} and {nt} alone; it is read anew at "
            "each login."};
  if (cause == "user" && f.reason == Reason::EapUnknownUser)
    return {{}, "Add the user to the file that remote.users names, if he is to come in, and see that remote.eap_id is about his name."};
  if (cause == "auth_method") return {{}, "With version: 2 both sides prove themselves by a pre-shared key here: configure the peer so."};
  if (cause == "dead_peer") return {{}, "See whether the peer runs, and whether UDP 500 and 4500 and ESP reach it."};
  if (cause == "certificate" || cause == "signature")
    return {
        {},
        "No check is to be left out. Renew or replace the certificate, or add its authority to `remote: {cacerts: [...]}` after comparing "
        "its fingerprint with the peer's administrator."};
  if (cause == "own_certificate")
    return {{}, "The peer must trust the authority that issued ours, and expect the identity that is in it: see its log."};
  const bool peer_wants_main = (f.exchange == Exchange::MainMode) == (f.role == Role::Responder);  // the exchange is whose who begins
  if (cause == "aggressive" && peer_wants_main && c != nullptr)
    return {{"aggressive: false"}, "The peer wants Main Mode, which shows less to whoever listens."};
  if (cause == "aggressive")
    return {{},
            "Better have the peer use Main Mode. Aggressive Mode with a pre-shared key gives a hash of it to whoever asks, to guess at in "
            "peace."};
  if (cause == "auth_rounds")
    return {
        {},
        "Each further proof of the peer's needs a section `remote-SUFFIX` here, and each of ours one of its own there, in the same order; "
        "strongSwan takes several unless its charon.multiple_authentication is no."};
  if (cause == "user") return {{}, "Compare user name and password with the peer's administrator."};
  if (cause == "pool") return pool_remedy(f, c);
  if (cause == "redirect_loop")
    return {{}, "See redirect_to of the gateways, and what their operators have said: one of them has to serve us."};
  if (cause == "redirect")
    return {{},
            "The message says why. Better than to follow what nobody has proved (redirect: yes) is a gateway that sends us away behind "
            "the proofs (with Culvert, redirect_at: auth)."};
  if (cause == "dataplane") return {{}, "See `culvert log` and the log of culvert-dataplane."};
  return {};
}

}  // namespace

Remedy remedy(const Failure& f, const config::Connection* c, const config::GatewayConfig& all) {
  if (!f.cause.ppk.empty())
    return {{}, "Put the same PPK under the same ppk_id on both sides (mind newlines at the end of the file). There is no line for that."};
  if (const auto* e = std::get_if<ike::AddressEvidence>(&f.cause.evidence)) return address_remedy(*e);
  if (const auto* e = std::get_if<ike::IdentityEvidence>(&f.cause.evidence)) return in_round(identity_remedy(*e), f, c);
  if (c == nullptr) return by_cause(f, c);
  if (const auto* e = std::get_if<ike::SelectorEvidence>(&f.cause.evidence)) return selector_remedy(*e, f, *c, all);
  const auto* e = std::get_if<ike::ProposalEvidence>(&f.cause.evidence);
  if (!e) return by_cause(f, c);
  const bool phase2 = f.about_child();
  if (f.by == RefusedBy::Peer && f.cause.own_spi)
    return {{}, "Look whether the peer has a connection of IKEv2 for our address. If it has one, compare proposals with it."};
  if (f.by == RefusedBy::Peer)
    return {{},
            std::string("The peer does not say what it wants. Compare ") + (phase2 ? "esp_proposals, PFS included," : "proposals") +
                " with its configuration."};
  if (!phase2) return proposal_remedy(*e, c->proposals, "proposals", ike_reader(c->version));
  const auto child = std::ranges::find(c->children, f.child, &config::Child::name);
  if (child == c->children.end()) return {};
  // A suite that would authenticate alone is no answer to one that encrypts, nor the other way round.
  const bool ah = child->esp_proposals.empty();
  const auto& ours = ah ? child->ah_proposals : child->esp_proposals;
  const EspReader read = ah ? ah_reader(c->version) : esp_reader(c->version);
  const DhGroup group = f.exchange == Exchange::IkeAuth && !ours.empty() ? ours.front().pfs : DhGroup::None;
  Remedy found = proposal_remedy(with_group(*e, group, read), ours, ah ? "ah_proposals" : "esp_proposals", read);
  if (!found.yaml.empty()) found.yaml = {"children:", "  " + child->name + ": {" + found.yaml.front() + ", ...}"};
  return found;
}

}  // namespace culvert::control::explain

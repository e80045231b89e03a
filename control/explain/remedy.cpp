// The lines of YAML that would accept a peer, where they are safe, and what to do where they are not.
#include <algorithm>

#include "common/ipsec/algorithms.hpp"
#include "control/explain/explain.hpp"

namespace culvert::control::explain {

namespace {

using ike::Exchange;
using ike::Failure;
using ike::RefusedBy;
using ike::Role;

template <class Suite>
std::string listed(const std::vector<Suite>& suites) {
  std::string out;
  for (const Suite& s : suites) out += (out.empty() ? "" : ", ") + s.to_string();
  return out;
}

/// A scalar within { }, where brackets and commas mean something. It holds no quote.
std::string flow_scalar(const std::string& text) { return text.find_first_of("[],=") == std::string::npos ? text : "'" + text + "'"; }

// -------------------------------------------------------------------------------------------- proposals

/// Why a suite is not to be suggested; empty: nothing speaks against it.
std::string unwise(const IkeSuite& s, const std::vector<IkeSuite>&) {
  if (const auto weak = weak_algorithms(s); !weak.empty())
    return s.to_string() + " has " + std::string(weak.front()) + ", which is broken or weak";
  if (s.prf == Prf::HmacSha1) return s.to_string() + " has SHA-1, which is for old peers only";
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
      if (c.name != own.name && child.remote_ts.intersect(remote)) return true;
  return false;
}

/// What of ours a remote network would take traffic from; empty: nothing. Networks that are nearly everything are nobody's.
std::string ours_in(const config::GatewayConfig& all, const TrafficSelector& remote) {
  const auto hit = [&](const TrafficSelector& s) { return !too_wide(s) && s.intersect(remote).has_value(); };
  for (const config::Connection& c : all.connections)
    for (const config::Child& child : c.children)
      if (hit(child.local_ts)) return "the local_ts of " + c.name + "/" + child.name;
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

Remedy selector_remedy(const ike::SelectorEvidence& e, const Failure& f, const config::Connection& c, const config::GatewayConfig& all) {
  if (e.taken) return {{}, "Nothing to configure: the peer that has them must go first, or each needs networks of its own."};
  if (f.by == RefusedBy::Peer)
    return {{}, "The peer does not say what it has. Its local and remote networks must be ours, the other way round."};
  const auto local = TrafficSelector::parse(e.asked.local), remote = TrafficSelector::parse(e.asked.remote);
  if (!local || !remote) return {{}, "What the peer asks for is no pair of networks that can be configured here."};
  if (std::ranges::any_of(c.children, [&](const config::Child& child) { return child.local_ts == *remote && child.remote_ts == *local; }))
    return {{}, "The peer has its two networks the wrong way round: " + e.asked.remote + " is behind us. Exchange them there."};
  if (too_wide(*local) || too_wide(*remote))
    return {{}, "No line is suggested: the peer asks for nearly everything, and what is accepted here is let through. Narrow it there."};
  if (overlaps_others(all, c, *remote))
    return {{}, "No line is suggested: " + e.asked.remote + " belongs to another connection here, whose traffic would go to this peer."};
  const bool itself =
      f.peer && *remote == TrafficSelector::from({f.peer->address, 32}, remote->protocol);  // a host, such as in transport mode
  if (const std::string taken = ours_in(all, *remote); !taken.empty() && !itself)
    return {{}, "No line is suggested: " + e.asked.remote + " overlaps " + taken + " here, whose traffic would go to this peer."};
  const std::string child = c.children.size() == 1 ? c.children.front().name : "NAME";
  return {
      {"children:", "  " + child + ": {local_ts: " + flow_scalar(e.asked.local) + ", remote_ts: " + flow_scalar(e.asked.remote) + ", ...}"},
      "If " + e.asked.remote + " is indeed behind this peer, and it may reach " + e.asked.local + "."};
}

// -------------------------------------------------------------------------------------------- the others

Remedy identity_remedy(const ike::IdentityEvidence& e) {
  if (e.ours)
    return {{},
            std::string(
                "The peer does not say whom it expects. `local: {id: ...}` here and its remote identity must be the same, type included.") +
                (e.user ? " XAuth must be on both sides, and the same one the user." : "")};
  if (!e.proven) return {{}, "The peer has not proved who it is: nothing is suggested on its word."};
  const bool plain = !e.received.empty() && std::ranges::all_of(e.received, [](char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || std::string_view(".-_@:=, ").contains(ch);
  });
  if (!plain) return {{}, "The identity is of a kind that is not suggested here: write it as the peer's administrator gives it to you."};
  return {{"remote: {id: " + flow_scalar(e.received) + "}"},
          "If that is indeed the peer that this connection is for: it has shown that it holds the key."};
}

Remedy address_remedy(const ike::AddressEvidence& e) {
  return {{"remote_addrs: [" + e.remote + "]"}, "In the connection that is for this peer, if one is: it must still prove who it is."};
}

Remedy by_cause(const Failure& f, const config::Connection* c) {
  const std::string_view cause = causes(f).front().cause;
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
  if (cause == "one_way" || cause == "silence")
    return {{}, "Look at the peer's log, and at what reaches it (`culvert debug` shows what we send)."};
  if (cause == "ike_version") return {{}, "Configure the peer for IKEv1."};
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
  if (cause == "user") return {{}, "Compare user name and password with the peer's administrator."};
  if (cause == "pool") return {{}, "Give the pool more addresses, or wait until leases end."};
  if (cause == "dataplane") return {{}, "See `culvert log` and the log of culvert-dataplane."};
  return {};
}

}  // namespace

Remedy remedy(const Failure& f, const config::Connection* c, const config::GatewayConfig& all) {
  if (const auto* e = std::get_if<ike::AddressEvidence>(&f.cause.evidence)) return address_remedy(*e);
  if (const auto* e = std::get_if<ike::IdentityEvidence>(&f.cause.evidence)) return identity_remedy(*e);
  if (c == nullptr) return by_cause(f, c);
  if (const auto* e = std::get_if<ike::SelectorEvidence>(&f.cause.evidence)) return selector_remedy(*e, f, *c, all);
  const auto* e = std::get_if<ike::ProposalEvidence>(&f.cause.evidence);
  if (!e) return by_cause(f, c);
  const bool phase2 = f.exchange == Exchange::QuickMode;
  if (f.by == RefusedBy::Peer)
    return {{},
            std::string("The peer does not say what it wants. Compare ") + (phase2 ? "esp_proposals, PFS included," : "proposals") +
                " with its configuration."};
  if (!phase2) return proposal_remedy(*e, c->proposals, "proposals", parse_ike_proposal);
  const auto child = std::ranges::find(c->children, f.child, &config::Child::name);
  if (child == c->children.end()) return {};
  // A suite that would authenticate alone is no answer to one that encrypts, nor the other way round.
  Remedy found = child->esp_proposals.empty() ? proposal_remedy(*e, child->ah_proposals, "ah_proposals", parse_ah_proposal)
                                              : proposal_remedy(*e, child->esp_proposals, "esp_proposals", parse_esp_proposal);
  if (!found.yaml.empty()) found.yaml = {"children:", "  " + child->name + ": {" + found.yaml.front() + ", ...}"};
  return found;
}

}  // namespace culvert::control::explain

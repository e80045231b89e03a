// What a connection of either version may not have: keys that mean something in the other one only, and what our IKEv2 does not carry yet.
// Nothing of either is taken and then left out.
#include <algorithm>
#include <string>

#include "common/config/kinds.hpp"
#include "common/config/schema_rounds.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

namespace {
/// Keys are refused even with their defaults: whoever writes them expects something of them.
void refuse_ikev1_keys(const Where& at) {
  struct Row {
    std::string_view key, what;
  };
  static constexpr std::string_view kAggressive = "Aggressive Mode is of IKEv1", kModeConfig = "Mode Config is of IKEv1";
  const auto refuse = [](const Where& map, Row row) {
    if (map.node->find(row.key) && map.clean({row.key}))
      map.key(row.key).error("expected no such key with version: 2: " + std::string(row.what));
  };
  refuse(at, {"aggressive", kAggressive});
  refuse(at, {"aggressive_psk_exposes_hash_to_offline_guessing", kAggressive});
  refuse(at, {"mode_config", kModeConfig});
  refuse(at, {"dpd_timeout", "a request that is not answered after all retransmissions shows that the peer is dead"});
  for (const char* side : {"local", "remote"})
    if (at.node->find(side)) refuse(at.key(side), {"xauth", "XAuth is of IKEv1"});
}

/// Pre-shared key, certificate or EAP, each side in its own way (RFC 7296 §2.15).
void check_proof(Proof auth, const Where& side) {
  if (auth == Proof::Xauth && side.clean({"auth"})) side.key("auth").error("expected psk, pubkey or EAP, got xauth: XAuth is of IKEv1");
}

}  // namespace

void validate_version_1(const Connection& c, const Where& at) {
  const auto refuse = [&](bool given, const char* key) {
    if (given && at.clean({"version", key})) at.key(key).error("expected no such key with version: 1: redirects are of IKEv2 (RFC 5685)");
  };
  const auto refuse_ticket = [&](bool given, const char* key) {
    if (given && at.clean({"version", key})) at.key(key).error("expected no such key with version: 1: tickets are of IKEv2 (RFC 5723)");
  };
  if (c.renewal.reauth_time != Renewal{}.reauth_time && at.clean({"version", "reauth_time"}))
    at.key("reauth_time").error("expected no such key with version: 1: both sides prove themselves anew at each rekey_time");
  if (c.renewal.childless != Childless{} && at.clean({"version", "childless"}))
    at.key("childless").error("expected no such key with version: 1: IKE SAs without a CHILD SA are of IKEv2 (RFC 6023)");
  refuse_ticket(c.resumption.enabled, "resumption");
  refuse_ticket(c.resumption.lifetime != Resumption{}.lifetime, "resumption_lifetime");
  refuse(c.redirection.follow != Redirection{}.follow, "redirect");
  refuse(!c.redirection.to.none(), "redirect_to");
  refuse(c.redirection.at_once, "redirect_at");
  if (!c.counter_sync.enabled && at.clean({"version", "counter_sync"}))
    at.key("counter_sync").error("expected no such key with version: 1: it is of IKEv2 (RFC 6311)");
  if (c.window.size != 1 && at.clean({"version", "window"}))
    at.key("window").error("expected no such key with version: 1: windows are of IKEv2 (RFC 7296 section 2.3)");
  for (std::size_t k = 0; k < c.children.size(); ++k) {
    if (!c.children[k].per_cpu.sas || (k > 0 && c.children[k - 1].entry == c.children[k].entry)) continue;
    const Where child = at.key("children").entry(c.children[k].entry);
    if (at.clean({"version"}) && child.clean({"per_cpu_sas"}))
      child.key("per_cpu_sas").error("expected no such key with version: 1: CHILD SAs for each worker are of IKEv2 (RFC 9611)");
  }
  if (c.mobike && at.clean({"version", "mobike"})) at.key("mobike").error("expected no such key with version: 1: MOBIKE is of IKEv2");
  validate_auth(c, at);
}

void validate_version_2(const Connection& c, const Where& at) {
  refuse_ikev1_keys(at);
  const Where local = at.key(c.local_auth.place.section), remote = at.key(c.remote_auth.place.section);
  check_proof(c.local_auth.auth, local);
  check_proof(c.remote_auth.auth, remote);
  validate_rounds(c, at);
  if (local.clean({"auth"}) && remote.clean({"auth"})) validate_credentials(c, at);
  const bool transport = std::ranges::any_of(c.children, [](const Child& child) { return child.mode == SaMode::Transport; });
  if (c.mobike && transport && at.clean({"mobike", "children"}))
    at.key("mobike").error("expected false with a child of mode: transport, whose packets are between the addresses themselves (RFC 4555)");
  if (c.redirection.at_once && c.redirection.to.none() && at.clean({"redirect_to", "redirect_at"}))
    at.key("redirect_to").error("the key is missing beside redirect_at: init: expected where clients are sent");
  if (c.redirection.to.address && at.clean({"redirect_to", "local_addrs"}) &&
      std::ranges::find(c.local_addrs, *c.redirection.to.address) != c.local_addrs.end())
    at.key("redirect_to").error("expected another gateway, got one of our own local_addrs");
  if (c.fragmentation == Fragmentation::Force && at.clean({"fragmentation"}))
    at.key("fragmentation")
        .error(
            "expected no, accept or yes, got force: with version: 2 fragments are sent only where both sides have "
            "agreed on them (RFC 7383)");
}

}  // namespace culvert::config

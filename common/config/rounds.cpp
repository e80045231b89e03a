#include "common/config/rounds.hpp"

#include <cctype>

namespace culvert::config {

const Connection* find_proofs(const GatewayConfig& config, std::string_view name) {
  for (const Connection& c : config.connections) {
    if (!name.starts_with(c.name)) continue;
    for (std::size_t k = 0; k < rounds_of(c); ++k)
      if (proofs(c, k).name == name) return &proofs(c, k);
  }
  return nullptr;
}

std::vector<std::string> certificate_sections(const Connection& c) {
  std::vector<std::string> out;
  for (std::size_t k = 0; k < rounds_of(c); ++k) {
    const Connection& r = proofs(c, k);
    if (proves_local(c, k) && by_certificate(r.local_auth.auth)) out.push_back(r.local_auth.place.section);
    if (proves_remote(c, k) && by_certificate(r.remote_auth.auth)) out.push_back(r.remote_auth.place.section);
  }
  return out;
}

namespace {
bool same_ref(const SecretRef& a, const SecretRef& b) { return a.kind == b.kind && a.where == b.where; }
bool same_ref(const Method& a, const Method& b) { return a.proof == b.proof && a.signature == b.signature; }
bool same_local(const Connection& a, const Connection& b) {
  const LocalAuth &x = a.local_auth, &y = b.local_auth;
  return a.local_id == b.local_id && same_ref(x.auth, y.auth) && x.certs == y.certs && same_ref(x.key, y.key) &&
         same_ref(a.secret, b.secret);
}
bool same_remote(const Connection& a, const Connection& b) {
  const RemoteAuth &x = a.remote_auth, &y = b.remote_auth;
  return a.remote_id == b.remote_id && same_ref(x.auth, y.auth) && x.cacerts == y.cacerts && x.certs == y.certs && x.crls == y.crls &&
         x.revocation == y.revocation && x.eap_id == y.eap_id && same_ref(x.users, y.users) && a.allow_weak == b.allow_weak;
}
}  // namespace

bool same_until(const Connection& a, const Connection& b, std::size_t round) {
  if (a.local_rounds != b.local_rounds || a.remote_rounds != b.remote_rounds) return false;
  for (std::size_t k = 0; k < round; ++k)
    if (!same_local(proofs(a, k), proofs(b, k)) || !same_remote(proofs(a, k), proofs(b, k))) return false;
  return same_local(proofs(a, round), proofs(b, round));
}

bool is_further(std::string_view prefix, std::string_view key) {
  if (!key.starts_with(prefix) || key.size() <= prefix.size() || key.size() > 30) return false;
  const auto suffix = key.substr(prefix.size());
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; };
  return (suffix[0] == '-' || std::isdigit(static_cast<unsigned char>(suffix[0])) != 0) && std::ranges::all_of(suffix, plain);
}

void arrange_rounds(Connection& c) {
  c.local_rounds = c.more_local.size() + 1;
  c.remote_rounds = c.more_remote.size() + 1;
  c.rounds.clear();
  for (std::size_t k = 1; k < std::max(c.local_rounds, c.remote_rounds); ++k) {
    const Connection& before = k == 1 ? c : c.rounds.back();
    Connection round;
    round.name = c.name + "/" + std::to_string(k + 1);
    round.version = c.version;
    round.allow_weak = c.allow_weak;
    round.secret = c.secret;
    round.local_id = proves_local(c, k) ? c.more_local[k - 1].id : before.local_id;
    round.local_auth = proves_local(c, k) ? c.more_local[k - 1].auth : before.local_auth;
    round.remote_id = proves_remote(c, k) ? c.more_remote[k - 1].id : before.remote_id;
    round.remote_auth = proves_remote(c, k) ? c.more_remote[k - 1].auth : before.remote_auth;
    c.rounds.push_back(std::move(round));
  }
}

}  // namespace culvert::config

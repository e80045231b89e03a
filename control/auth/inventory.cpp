#include "control/auth/inventory.hpp"

#include "common/config/rounds.hpp"
#include "control/auth/authenticator.hpp"

namespace culvert::control::auth {

namespace {
std::string key_text(const crypto::PublicKey& key) {
  switch (key.method()) {
    case ike::AuthMethod::RsaSignature:
      return "RSA " + std::to_string(key.bits());
    case ike::AuthMethod::Ed25519:
      return "Ed25519";
    case ike::AuthMethod::Ed448:
      return "Ed448";
    default:
      return "ECDSA " + std::to_string(key.bits());
  }
}

CertificateInfo info_of(const crypto::Certificate& c, const std::string& connection, const char* role) {
  CertificateInfo out;
  out.connection = connection;
  out.role = role;
  out.subject = c.subject_text();
  out.issuer = c.issuer_text();
  out.serial = c.serial();
  out.names = alt_names_of(c);
  out.key = c.key() ? key_text(*c.key()) : "none";
  out.not_before = c.not_before();
  out.not_after = c.not_after();
  return out;
}
}  // namespace

Inventory Authenticator::inventory() {
  Inventory out;
  const auto add = [&](const config::Connection& c, bool ours, bool theirs) {
    const std::string name = config::owner_of(c.name);
    if (ours && config::by_certificate(c.local_auth.auth)) {
      const Kept<Own>& own = credentials_.look_at_own(c);
      for (std::size_t i = 0; own.value && i < own.value->chain.size(); ++i)
        out.certificates.push_back(info_of(own.value->chain[i], name, i == 0 ? "own" : "intermediate"));
      if (!own.problem.empty()) out.problems.push_back({name, c.local_auth.place.section, own.problem});
    }
    if (theirs && config::by_certificate(c.remote_auth.auth)) {
      const Kept<Trust>& trust = credentials_.look_at_trust(c);
      for (std::size_t i = 0; trust.value && i < trust.value->anchors.size(); ++i)
        out.certificates.push_back(info_of(trust.value->anchors[i], name, "authority"));
      for (std::size_t i = 0; trust.value && i < trust.value->pinned.size(); ++i)
        out.certificates.push_back(info_of(trust.value->pinned[i], name, "peer"));
      if (!trust.problem.empty()) out.problems.push_back({name, c.remote_auth.place.section, trust.problem});
    }
  };
  for (const auto& c : config_.connections)
    for (std::size_t k = 0; k < config::rounds_of(c); ++k)
      add(config::proofs(c, k), config::proves_local(c, k), config::proves_remote(c, k));
  return out;
}

}  // namespace culvert::control::auth

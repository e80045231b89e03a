#include "control/auth/inventory.hpp"

#include "control/auth/authenticator.hpp"

namespace culvert::control::auth {

namespace {
CertificateInfo info_of(const crypto::Certificate& c, const std::string& connection, const char* role) {
  CertificateInfo out;
  out.connection = connection;
  out.role = role;
  out.subject = c.subject_text();
  out.issuer = c.issuer_text();
  out.serial = c.serial();
  out.names = alt_names_of(c);
  out.key = c.key() ? (c.key()->method() == ike::AuthMethod::RsaSignature ? "RSA " : "ECDSA ") + std::to_string(c.key()->bits()) : "none";
  out.not_before = c.not_before();
  out.not_after = c.not_after();
  return out;
}
}  // namespace

Inventory Authenticator::inventory() {
  Inventory out;
  for (const auto& c : config_.connections) {
    if (c.local_auth.auth == config::Proof::Pubkey) {
      if (const auto own = credentials_.own(c.name)) {
        const char* role = "own";
        for (const auto& certificate : (*own)->chain) {
          out.certificates.push_back(info_of(certificate, c.name, role));
          role = "intermediate";
        }
      } else {
        out.problems.push_back({c.name, "local", own.error()});
      }
    }
    if (c.remote_auth.auth == config::Proof::Pubkey) {
      if (const auto trust = credentials_.trust(c.name)) {
        for (const auto& certificate : (*trust)->anchors) out.certificates.push_back(info_of(certificate, c.name, "authority"));
        for (const auto& certificate : (*trust)->pinned) out.certificates.push_back(info_of(certificate, c.name, "peer"));
      } else {
        out.problems.push_back({c.name, "remote", trust.error()});
      }
    }
  }
  return out;
}

}  // namespace culvert::control::auth

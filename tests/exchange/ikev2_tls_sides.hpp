// The certificates of a user and of a gateway, and what each of them does of TLS, in real cryptography. Owns what the tests of EAP-TLS have
// in common.
#pragma once

#include "control/auth/tls.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/support/pki.hpp"

namespace culvert::test {

inline const pki::Issued& root() {
  static const pki::Issued made = pki::authority("C=CH, CN=Root", pki::key(pki::Kind::P256, 10));
  return made;
}
inline const pki::Issued& other_root() {
  static const pki::Issued made = pki::authority("C=CH, CN=Other", pki::key(pki::Kind::P256, 11));
  return made;
}
inline crypto::Certificate certificate(const pki::Issued& issued) { return crypto::Certificate::parse(issued.der).value(); }

/// The keys and certificates of a host, and what it knows of revocations.
struct TlsSide {
  std::vector<pki::Issued> own;
  pki::Issued trusts = root();
  bool revoked = false;  ///< whoever comes
  unsigned steps = 0;
  std::optional<ike::TlsStepped> instead{};  ///< of any step
  std::string signed_before{};               ///< the key of whoever comes, instead of the name of his

  ike::TlsStepped take(const ike::TlsStep& step) {
    ++steps;
    if (instead) return *instead;
    auto talk = std::static_pointer_cast<control::auth::TlsTalk>(step.session);
    if (!talk) {
      control::auth::Own mine{{}, crypto::PrivateKey::read(pki::private_der(*own.front().key)).value()};
      for (const pki::Issued& one : own) mine.chain.push_back(certificate(one));
      control::auth::Trust trust;
      trust.anchors = {certificate(trusts)};
      talk = std::make_shared<control::auth::TlsTalk>(std::make_shared<const control::auth::Own>(std::move(mine)),
                                                      std::make_shared<const control::auth::Trust>(std::move(trust)));
    }
    ike::TlsStepped out = talk->advance(step, pki::kNow);
    if (talk->to_be_asked() && revoked)
      control::auth::TlsTalk::refuse(out, {Reason::CertRevoked, "it is revoked"});
    else
      talk->conclude(out);
    out.session = talk;
    if (!signed_before.empty()) out.key = to_bytes(signed_before);
    return out;
  }
};

inline pki::Issued user_certificate(const std::string& name = "alice@example.org", pki::Kind kind = pki::Kind::P256) {
  return pki::gateway("C=CH, CN=alice", pki::key(kind, 2), root(), "email:" + name);
}
inline pki::Issued server_certificate(pki::Kind kind = pki::Kind::P256) {
  return pki::gateway("C=CH, CN=b", pki::key(kind, 1), root(), "DNS:b.example");
}

}  // namespace culvert::test

// A folder of files with one connection's key, certificate and authority, for a test to change.
#pragma once

#include <string>

#include <catch2/catch.hpp>

#include "control/auth/credentials.hpp"
#include "tests/support/folder.hpp"
#include "tests/support/pki.hpp"

namespace culvert::test {

struct Site {
  Folder folder;
  pki::Issued root = pki::authority("C=CH, CN=Root", pki::key(pki::Kind::P256, 10));
  pki::Issued own = pki::gateway("C=CH, O=Example, CN=gw-a", pki::key(pki::Kind::P256), root, "DNS:gw-a.example");
  config::GatewayConfig config;
  config::Connection& c;
  Site() : c((config.connections.reserve(16), config.connections.emplace_back())) {
    c.name = "c";
    c.local_auth = {config::Proof::Pubkey,
                    {folder.file("own.pem", own.pem())},
                    {config::SecretRef::Kind::File, folder.file("own.key", pki::private_pem(*own.key))}};
    c.remote_auth.auth = config::Proof::Pubkey;
    c.remote_auth.cacerts = {folder.file("ca.pem", root.pem())};
  }
  std::string why_not_own() {
    control::auth::Credentials credentials(config);
    const auto own_ = credentials.own("c");
    REQUIRE_FALSE(own_);
    return own_.error();
  }
};
inline bool has(const std::string& text, const std::string& part) {
  INFO(text);
  INFO(part);
  return text.find(part) != std::string::npos;
}

}  // namespace culvert::test

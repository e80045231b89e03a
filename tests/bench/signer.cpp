#include "tests/bench/signer.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "tests/support/pki.hpp"

namespace culvert::bench {

using control::auth::Authenticator;

Signer::Signer(const config::GatewayConfig& config)
    : authenticator_(
          config, Authenticator::Hooks{.compute =
                                           [](const std::function<void()>& work) {
                                             work();
                                             return true;
                                           },
                                       .post = [this](std::function<void()> work) { posted_.push_back(std::move(work)); },
                                       .on_signed = [this](ike::SignResult result) { signed_ = std::move(result); },
                                       .on_verified = [this](ike::VerifyResult result) { verified_ = std::move(result); },
                                       .fetch =
                                           [](const control::auth::Fetch&, const control::auth::Fetched&) {
                                             throw std::logic_error("a certificate of the benchmark names no place to ask");
                                           },
                                       .now = [] { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }}) {}

bool Signer::perform(ike::Engine& engine, ike::TimePoint now, ike::Action& action) {
  if (auto* sign = std::get_if<ike::Sign>(&action))
    authenticator_.sign(std::move(*sign));
  else if (auto* verify = std::get_if<ike::VerifyPeer>(&action))
    authenticator_.verify(std::move(*verify));
  else
    return false;
  for (; !posted_.empty(); posted_.pop_front()) posted_.front()();
  if (auto result = std::exchange(signed_, {})) engine.on_signed(now, std::move(*result));
  if (auto result = std::exchange(verified_, {})) engine.on_verified(now, std::move(*result));
  return true;
}

void write_certificates(const std::string& folder, std::size_t peers) {
  using namespace test;
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto write = [&](const std::string& name, const std::string& text) {
    const auto file = std::filesystem::path(folder) / name;
    std::ofstream out(file);
    out << text;
    out.close();
    std::filesystem::permissions(file, std::filesystem::perms::owner_read);  // as a key wants it
    if (!out) throw std::runtime_error("cannot write " + file.string());
  };
  const auto issue = [&](const std::string& name, int key, bool authority, const pki::Issued* issuer) {
    pki::Request r{.subject = "C=CH, O=Example, CN=" + name, .key = pki::key(pki::Kind::P256, key)};
    r.from = now - std::chrono::hours(1), r.to = now + std::chrono::hours(24);
    if (authority)
      r.extensions = {{"basicConstraints", "critical,CA:TRUE"}, {"keyUsage", "critical,keyCertSign"}, {"subjectKeyIdentifier", "hash"}};
    else
      r.extensions = {
          {"basicConstraints", "critical,CA:FALSE"}, {"keyUsage", "critical,digitalSignature"}, {"subjectAltName", "DNS:" + name}};
    return pki::issue(r, issuer);
  };
  const pki::Issued root = issue("root", 10, true, nullptr), gateway = issue("gateway.example", 0, false, &root);
  write("ca.pem", root.pem());
  write("gateway.pem", gateway.pem());
  write("gateway.key", pki::private_pem(*gateway.key));
  write("peer.key", pki::private_pem(*pki::key(pki::Kind::P256, 1)));
  for (std::size_t i = 0; i < peers; ++i) {
    const std::string name = "peer-" + std::to_string(i);
    write(name + ".pem", issue(name + ".example", 1, false, &root).pem());
  }
}

}  // namespace culvert::bench

#include "control/auth/credentials.hpp"

#include <algorithm>

#include "common/config/kinds.hpp"
#include "common/dn.hpp"
#include "control/config/secret.hpp"

namespace culvert::control::auth {

using crypto::Certificate;

namespace {

std::expected<std::vector<Certificate>, std::string> read_certificates(const std::string& path) {
  const auto content = read_file(path, crypto::kMaxCertificateFile);
  if (!content) return std::unexpected(content.error());
  auto certificates = Certificate::read(*content);
  if (!certificates) return std::unexpected(printable(as_bytes(path), 256) + ": " + certificates.error());
  return certificates;
}

using Check = std::string (*)(const Certificate&);

/// All certificates of `files`; each must have a key that is used and pass `check` (empty: it does).
std::expected<std::vector<Certificate>, ReadError> read_all(const std::vector<std::string>& files, const char* key, Check check,
                                                            const crypto::Strength& strength) {
  std::vector<Certificate> out;
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto certificates = read_certificates(files[i]);
    if (!certificates) return std::unexpected(ReadError{key, i, std::move(certificates.error())});
    for (Certificate& c : *certificates) {
      const std::string weak = crypto::unusable_key(c, strength);
      const std::string problem = !weak.empty() ? "cannot be used: " + weak : check ? check(c) : std::string();
      if (!problem.empty()) return std::unexpected(ReadError{key, i, crypto::described(c) + " " + problem});
      if (std::ranges::find(out, c) == out.end()) out.push_back(std::move(c));
    }
  }
  return out;
}

crypto::Strength strength_of(const config::Connection& c) {
  const auto allowed = [&](std::string_view name) { return std::ranges::find(c.allow_weak, name) != c.allow_weak.end(); };
  return {.weak_rsa = allowed(config::kWeakRsa), .sha1 = allowed(config::kWeakCertificateHash)};
}

std::string must_be_authority(const Certificate& c) {
  return c.is_authority() || c.is_self_issued() ? "" : "is none of an authority; a peer's own certificate belongs into certs";
}

std::vector<std::string> files_of(const config::LocalAuth& auth) {
  std::vector<std::string> out = auth.certs;
  out.push_back(auth.key.where);
  return out;
}
std::vector<std::string> files_of(const config::RemoteAuth& auth) {
  std::vector<std::string> out = auth.cacerts;
  out.insert(out.end(), auth.certs.begin(), auth.certs.end());
  out.insert(out.end(), auth.crls.begin(), auth.crls.end());
  return out;
}

/// What was kept, or what is there now if a file has changed since. A file that changes while it is read has another stamp afterwards.
template <class Kept, class Read>
auto current(Kept& kept, bool fresh, const std::vector<std::string>& files, Read read) {
  auto now = stamps(files);
  if (!fresh && now == kept.stamps) return kept.value;
  kept.stamps = std::move(now);
  kept.value = read();
  return kept.value;
}

template <class T>
std::expected<std::shared_ptr<const T>, std::string> shared(std::expected<T, ReadError> value, const char* side) {
  if (!value) return std::unexpected(std::string(side) + "." + value.error().key + ": " + value.error().message);
  return std::make_shared<const T>(std::move(*value));
}

}  // namespace

std::expected<Own, ReadError> read_own(const config::Connection& connection) {
  const config::LocalAuth& auth = connection.local_auth;
  auto chain = read_all(auth.certs, "certs", nullptr, strength_of(connection));
  if (!chain) return std::unexpected(std::move(chain.error()));
  if (chain->empty()) return std::unexpected(ReadError{"certs", 0, "no certificate is configured"});
  if (chain->size() > crypto::kMaxChain)
    return std::unexpected(ReadError{"certs", 0, "more than " + std::to_string(crypto::kMaxChain) + " certificates"});
  const std::string path = printable(as_bytes(auth.key.where), 256);
  const auto content = read_private_file(auth.key.where, "the key file", crypto::kMaxKeyFile);
  if (!content) return std::unexpected(ReadError{"key", 0, content.error()});
  auto key = crypto::PrivateKey::read(content->view());
  if (!key) return std::unexpected(ReadError{"key", 0, "the key file " + path + " " + key.error()});
  if (!(*chain->front().key() == key->public_key()))
    return std::unexpected(ReadError{"key", 0, "the key file " + path + " does not fit " + crypto::described(chain->front())});
  return Own{std::move(*chain), std::move(*key)};
}

std::expected<Trust, ReadError> read_trust(const config::Connection& connection) {
  const config::RemoteAuth& auth = connection.remote_auth;
  const crypto::Strength strength = strength_of(connection);
  auto anchors = read_all(auth.cacerts, "cacerts", must_be_authority, strength);
  if (!anchors) return std::unexpected(std::move(anchors.error()));
  auto pinned = read_all(auth.certs, "certs", nullptr, strength);
  if (!pinned) return std::unexpected(std::move(pinned.error()));
  std::vector<crypto::RevocationList> lists;
  for (std::size_t i = 0; i < auth.crls.size(); ++i) {
    const auto content = read_file(auth.crls[i], crypto::kMaxList);
    if (!content) return std::unexpected(ReadError{"crls", i, content.error()});
    auto list = crypto::RevocationList::read(*content);
    if (!list) return std::unexpected(ReadError{"crls", i, printable(as_bytes(auth.crls[i]), 256) + ": " + list.error()});
    lists.push_back(std::move(*list));
  }
  return Trust{.anchors = std::move(*anchors),
               .pinned = std::move(*pinned),
               .lists = std::move(lists),
               .revocation = auth.revocation,
               .strength = strength};
}

Credentials::Credentials(const config::GatewayConfig& config) : config_(config) {}

const config::Connection* Credentials::find(const std::string& name) const {
  const auto it = std::ranges::find(config_.connections, name, &config::Connection::name);
  return it == config_.connections.end() ? nullptr : &*it;
}

std::expected<OwnPtr, std::string> Credentials::own(const std::string& connection) {
  const config::Connection* c = find(connection);
  if (c == nullptr || c->local_auth.auth != config::Proof::Pubkey) return std::unexpected("no private key is configured");
  const auto [kept, fresh] = own_.try_emplace(connection);
  return current(kept->second, fresh, files_of(c->local_auth), [&] { return shared(read_own(*c), "local"); });
}

std::expected<TrustPtr, std::string> Credentials::trust(const std::string& connection) {
  const config::Connection* c = find(connection);
  if (c == nullptr || c->remote_auth.auth != config::Proof::Pubkey) return std::unexpected("no authority is configured");
  const auto [kept, fresh] = trust_.try_emplace(connection);
  return current(kept->second, fresh, files_of(c->remote_auth), [&] { return shared(read_trust(*c), "remote"); });
}

void fill_identities(config::GatewayConfig& config) {
  using Type = config::Identity::Type;
  for (config::Connection& c : config.connections) {
    if (c.local_auth.auth != config::Proof::Pubkey || c.local_auth.certs.empty()) continue;
    const auto certificates = read_certificates(c.local_auth.certs.front());
    if (!certificates) continue;  // said where the files are looked at
    const Bytes& subject = certificates->front().subject();
    if (c.local_id.type == Type::Any) c.local_id = {Type::Dn, name_text(subject), subject};
    if (c.local_id.type == Type::Dn && same_name(subject, c.local_id.name)) c.local_id.name = subject;
  }
}

}  // namespace culvert::control::auth

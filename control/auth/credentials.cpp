#include "control/auth/credentials.hpp"

#include <algorithm>
#include <mutex>

#include "common/config/kinds.hpp"
#include "common/config/rounds.hpp"
#include "common/dn.hpp"
#include "control/crypto/hash.hpp"

namespace culvert::control::auth {

using crypto::Certificate;

namespace {

using Check = std::string (*)(const Certificate&);

/// All certificates of `files`; each must have a key that is used and pass `check` (empty: it does).
std::expected<std::vector<Certificate>, ReadError> read_all(ParsedFiles& parsed, const std::vector<std::string>& files, const char* key,
                                                            Check check, const crypto::Strength& strength) {
  std::vector<Certificate> out;
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto certificates = parsed.certificates(files[i]);
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
  return out;
}

/// Reads again if a file has changed, or if what was read is not what the files hold: that may end without a change of theirs.
template <class T, class Read>
void refresh(Kept<T>& kept, const std::vector<std::string>& files, const std::string& side, Read read,
             const std::function<void(std::string)>& complain) {
  auto now = stamps(files);  // before they are read: one that changes meanwhile has another afterwards
  if (kept.value && kept.problem.empty() && now == kept.stamps) return;
  std::string problem;
  try {
    if (auto value = read()) {
      kept = {std::move(now), std::make_shared<const T>(std::move(*value)), {}};
      return;
    } else {
      problem = side + "." + value.error().key + ": " + value.error().message;
    }
  } catch (const crypto::LibraryError& e) {
    problem = side + ": " + e.what();
  }
  if (std::ranges::find(now, Stamp{}) != now.end()) kept.value.reset();
  if (kept.value && problem != kept.problem) complain(problem + "; what was read before stays in use");
  kept.problem = std::move(problem);
}

template <class T>
std::expected<std::shared_ptr<const T>, std::string> usable(const Kept<T>& kept) {
  if (!kept.value) return std::unexpected(kept.problem);
  return kept.value;
}

}  // namespace

std::expected<Own, ReadError> read_own(const config::Connection& connection, ParsedFiles& files) {
  const config::LocalAuth& auth = connection.local_auth;
  auto chain = read_all(files, auth.certs, "certs", nullptr, strength_of(connection));
  if (!chain) return std::unexpected(std::move(chain.error()));
  if (chain->empty()) return std::unexpected(ReadError{"certs", 0, "no certificate is configured"});
  if (chain->size() > crypto::kMaxChain)
    return std::unexpected(ReadError{"certs", 0, "more than " + std::to_string(crypto::kMaxChain) + " certificates"});
  const std::string path = printable(as_bytes(auth.key.where), 256);
  auto key = files.key(auth.key.where);
  if (!key) return std::unexpected(ReadError{"key", 0, std::move(key.error())});
  if (!(*chain->front().key() == key->public_key()))
    return std::unexpected(ReadError{"key", 0, "the key file " + path + " does not fit " + crypto::described(chain->front())});
  return Own{std::move(*chain), std::move(*key)};
}

std::expected<Trust, ReadError> read_trust(const config::Connection& connection, ParsedFiles& files) {
  const config::RemoteAuth& auth = connection.remote_auth;
  const crypto::Strength strength = strength_of(connection);
  auto anchors = read_all(files, auth.cacerts, "cacerts", must_be_authority, strength);
  if (!anchors) return std::unexpected(std::move(anchors.error()));
  auto pinned = read_all(files, auth.certs, "certs", nullptr, strength);
  if (!pinned) return std::unexpected(std::move(pinned.error()));
  return Trust{.anchors = std::move(*anchors), .pinned = std::move(*pinned), .revocation = auth.revocation, .strength = strength};
}

std::expected<std::vector<crypto::RevocationList>, ReadError> read_lists(const config::Connection& connection, ParsedFiles& files) {
  const auto& paths = connection.remote_auth.crls;
  std::vector<crypto::RevocationList> out;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    auto list = files.list(paths[i]);
    if (!list) return std::unexpected(ReadError{"crls", i, std::move(list.error())});
    out.push_back(std::move(*list));
  }
  return out;
}

Credentials::Credentials(const config::GatewayConfig& config, Complain complain) : config_(config), complain_(std::move(complain)) {
  if (!complain_) complain_ = [](const std::string&, const std::string&) {};
}

const config::Connection* Credentials::find(const std::string& name) const { return config::find_proofs(config_, name); }

std::expected<OwnPtr, std::string> Credentials::own(const std::string& connection) {
  const config::Connection* c = find(connection);
  if (c == nullptr || !config::by_certificate(c->local_auth.auth)) return std::unexpected("no private key is configured");
  return usable(look_at_own(*c));
}

std::expected<TrustPtr, std::string> Credentials::trust(const std::string& connection) {
  const config::Connection* c = find(connection);
  if (c == nullptr || !config::by_certificate(c->remote_auth.auth)) return std::unexpected("no authority is configured");
  return usable(look_at_trust(*c));
}

const Kept<Own>& Credentials::look_at_own(const config::Connection& c) {
  Kept<Own>& kept = own_[c.name];
  refresh(
      kept, files_of(c.local_auth), c.local_auth.place.section, [&] { return read_own(c, *files_); },
      [&](const std::string& problem) { complain_(config::owner_of(c.name), problem); });
  return kept;
}

const Kept<Trust>& Credentials::look_at_trust(const config::Connection& c) {
  const auto read = [&] {
    auto trust = read_trust(c, *files_);
    if (trust) trust->lists = lists_of(c);
    return trust;
  };
  Kept<Trust>& kept = trust_[c.name];
  refresh(kept, files_of(c.remote_auth), c.remote_auth.place.section, read,
          [&](const std::string& problem) { complain_(config::owner_of(c.name), problem); });
  return kept;
}

/// Shares nothing with this object but what may be used from any thread.
Lists Credentials::lists_of(const config::Connection& connection) {
  if (connection.remote_auth.crls.empty()) return {};
  struct State {
    std::mutex mutex;
    Kept<std::vector<crypto::RevocationList>> kept;
  };
  const auto [lists, fresh] = lists_.try_emplace(connection.name);
  if (fresh)
    lists->second = [state = std::make_shared<State>(), files = files_, complain = complain_, &connection] {
      const std::lock_guard lock(state->mutex);
      refresh(
          state->kept, connection.remote_auth.crls, connection.remote_auth.place.section, [&] { return read_lists(connection, *files); },
          [&](const std::string& problem) { complain(config::owner_of(connection.name), problem); });
      return usable(state->kept);
    };
  return lists->second;
}

namespace {
void fill_identity(ParsedFiles& files, const config::LocalAuth& auth, config::Identity& id) {
  using Type = config::Identity::Type;
  if (!config::by_certificate(auth.auth) || auth.certs.empty()) return;
  const auto certificates = files.certificates(auth.certs.front());
  if (!certificates) return;  // said where the files are looked at
  const Bytes& subject = certificates->front().subject();
  if (id.type == Type::Any) id = {Type::Dn, name_text(subject), subject};
  if (id.type == Type::Dn && same_name(subject, id.name)) id.name = subject;
}
}  // namespace

void fill_identities(config::GatewayConfig& config) {
  ParsedFiles files;
  for (config::Connection& c : config.connections) {
    fill_identity(files, c.local_auth, c.local_id);
    for (config::Connection& round : c.rounds) fill_identity(files, round.local_auth, round.local_id);
  }
}

}  // namespace culvert::control::auth

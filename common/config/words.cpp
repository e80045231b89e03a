// The words of swanctl for the kind of a signature and its hashes, as `auth` has them. Owns those words, which both planes' libraries
// share.
#include <algorithm>
#include <array>

#include "common/config/config.hpp"

namespace culvert::config {

namespace {
using Key = SignatureWish::Key;
using Hash = SignatureWish::Hash;

constexpr std::array kKeys{std::pair{std::string_view("rsa/pss"), Key::RsaPss}, std::pair{std::string_view("rsa"), Key::Rsa},
                           std::pair{std::string_view("ecdsa"), Key::Ecdsa},    std::pair{std::string_view("ed25519"), Key::Ed25519},
                           std::pair{std::string_view("ed448"), Key::Ed448},    std::pair{std::string_view("pubkey"), Key::Any}};
constexpr std::array kHashes{std::pair{std::string_view("sha256"), Hash::Sha256}, std::pair{std::string_view("sha384"), Hash::Sha384},
                             std::pair{std::string_view("sha512"), Hash::Sha512}};

template <class Rows, class T>
std::string_view word_for(const Rows& rows, T value) {
  return std::ranges::find(rows, value, [](const auto& row) { return row.second; })->first;
}
}  // namespace

std::optional<SignatureWish> parse_signature(std::string_view text) {
  const std::size_t dash = std::min(text.find('-'), text.size());
  const auto* key = std::ranges::find(kKeys, text.substr(0, dash), [](const auto& row) { return row.first; });
  if (key == kKeys.end()) return std::nullopt;
  SignatureWish out{key->second, {}};
  const bool edwards = out.key == Key::Ed25519 || out.key == Key::Ed448;
  for (std::string_view rest = text.substr(dash); !rest.empty();) {
    const std::size_t end = std::min(rest.find('-', 1), rest.size());
    const auto* hash = std::ranges::find(kHashes, rest.substr(1, end - 1), [](const auto& row) { return row.first; });
    if (edwards || hash == kHashes.end() || std::ranges::find(out.hashes, hash->second) != out.hashes.end()) return std::nullopt;
    out.hashes.push_back(hash->second);
    rest = rest.substr(end);
  }
  return out;
}

std::string signature_text(const SignatureWish& wish) {
  std::string out(word_for(kKeys, wish.key));
  for (const Hash hash : wish.hashes) out += "-" + std::string(word_for(kHashes, hash));
  return out;
}

bool is_user(const std::string& pattern, std::string_view user) {
  const std::string_view p = pattern;
  if (p == "%any") return true;
  if (p.starts_with('*')) return user.ends_with(p.substr(1));
  if (p.ends_with('*')) return user.starts_with(p.substr(0, p.size() - 1));
  return user == p;
}

}  // namespace culvert::config

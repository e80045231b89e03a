// How a side proves itself, in the words of swanctl's `auth`: of pubkey also the kind of signature and its hashes.
// Owns those words. Which of them a connection may have is validate_auth.cpp's.
#include <algorithm>
#include <array>

#include "common/config/kinds.hpp"

namespace culvert::config {

namespace {
using Key = SignatureWish::Key;
using Hash = SignatureWish::Hash;

constexpr std::array kKeys{std::pair{std::string_view("rsa/pss"), Key::RsaPss}, std::pair{std::string_view("rsa"), Key::Rsa},
                           std::pair{std::string_view("ecdsa"), Key::Ecdsa},    std::pair{std::string_view("ed25519"), Key::Ed25519},
                           std::pair{std::string_view("ed448"), Key::Ed448},    std::pair{std::string_view("pubkey"), Key::Any}};
constexpr std::array kHashes{std::pair{std::string_view("sha256"), Hash::Sha256}, std::pair{std::string_view("sha384"), Hash::Sha384},
                             std::pair{std::string_view("sha512"), Hash::Sha512}};
constexpr std::string_view kIkePrefix = "ike:";

template <class Rows, class T>
std::string_view word_for(const Rows& rows, T value) {
  return std::ranges::find(rows, value, [](const auto& row) { return row.second; })->first;
}

/// "rsa/pss-sha384-sha512"; nullopt: it is none.
std::optional<SignatureWish> parse(std::string_view text) {
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
}  // namespace

std::string signature_text(const SignatureWish& wish) {
  std::string out(word_for(kKeys, wish.key));
  for (const Hash hash : wish.hashes) out += "-" + std::string(word_for(kHashes, hash));
  return out;
}

Kind<Method> auth_method(Kind<Proof> words, bool of_peer) {
  const std::string prefix(of_peer ? kIkePrefix : "");
  const std::string expects = words.expects + "; of pubkey with " + (of_peer ? "ike: in front " : "") +
                              "also rsa, rsa/pss, ecdsa, ed25519 or ed448, and hashes behind: " + prefix + "rsa/pss-sha384-sha256";
  return {expects,
          [=](const At& at) -> std::optional<Method> {
            const bool text = at.node.kind == Node::Kind::Scalar && at.node.text.size() <= 64;
            const bool ike = text && at.node.text.starts_with(kIkePrefix);
            const auto wish = text ? parse(std::string_view(at.node.text).substr(ike ? kIkePrefix.size() : 0)) : std::nullopt;
            if (!wish || (*wish == SignatureWish{} && !ike)) {
              const auto proof = words.read(at);
              return proof ? std::optional(Method(*proof)) : std::nullopt;
            }
            if (!of_peer || ike) return Method(Proof::Pubkey, *wish);
            at.error("expected " + std::string(kIkePrefix) + at.node.text + ", got " + quoted(at.node.text) +
                         ": in swanctl that is about the peer's certificates, too, and there is no such rule here",
                     std::string(kIkePrefix) + at.node.text);
            return std::nullopt;
          },
          [=](const Method& v) { return v.signature == SignatureWish{} ? words.show(v.proof) : prefix + signature_text(v.signature); }};
}

}  // namespace culvert::config

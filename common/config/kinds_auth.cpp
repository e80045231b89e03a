// How a side proves itself, in the words of swanctl's `auth`: of pubkey also the kind of signature and its hashes (words.cpp).
// Which of them a connection may have is validate_auth.cpp's.
#include "common/config/kinds.hpp"

namespace culvert::config {

namespace {
constexpr std::string_view kIkePrefix = "ike:";

Kind<Proof> proof(bool of_peer) {
  std::vector<std::pair<std::string, Proof>> words{{"psk", Proof::Psk},        {"pubkey", Proof::Pubkey},
                                                   {"xauth", Proof::Xauth},    {"eap-mschapv2", Proof::EapMschapv2},
                                                   {"eap-md5", Proof::EapMd5}, {"eap-tls", Proof::EapTls}};
  if (!of_peer) return choice<Proof>(words, {{"eap-radius", "that is how a gateway checks its peer: it is for remote.auth"}});
  words.emplace_back("eap-radius", Proof::EapRadius);
  return choice<Proof>(words);
}
}  // namespace

Kind<Method> auth_method(bool of_peer) {
  const Kind<Proof> words = proof(of_peer);
  const std::string prefix(of_peer ? kIkePrefix : "");
  const std::string expects = words.expects + "; of pubkey with " + (of_peer ? "ike: in front " : "") +
                              "also rsa, rsa/pss, ecdsa, ed25519 or ed448, and hashes behind: " + prefix + "rsa/pss-sha384-sha256";
  return {expects,
          [=](const At& at) -> std::optional<Method> {
            const bool text = at.node.kind == Node::Kind::Scalar && at.node.text.size() <= 64;
            const bool ike = text && at.node.text.starts_with(kIkePrefix);
            const auto wish = text ? parse_signature(std::string_view(at.node.text).substr(ike ? kIkePrefix.size() : 0)) : std::nullopt;
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

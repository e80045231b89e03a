#include "control/ikev2/signatures.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace culvert::ikev2 {

using ike::AuthMethod;
using ike::SignatureScheme;

namespace {

using namespace std::string_view_literals;

// RFC 7427 §7, RFC 8420 §2, IANA's registry of hash algorithms.
constexpr std::uint16_t kSha256 = 2, kSha384 = 3, kSha512 = 4, kIdentity = 5;

/// DER of an AlgorithmIdentifier. Of each scheme the first row is what we send; the others are without the NULL behind a hash, which
/// RFC 4055 §2.1 has taken as well.
struct Identifier {
  SignatureScheme scheme;
  std::string_view der;
};
constexpr std::array kIdentifiers{
    // RFC 7427 App. A.1: sha256WithRSAEncryption, ...
    Identifier{SignatureScheme::RsaSha256, "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"sv},
    Identifier{SignatureScheme::RsaSha384, "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00"sv},
    Identifier{SignatureScheme::RsaSha512, "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00"sv},
    Identifier{SignatureScheme::RsaSha256, "\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"sv},
    Identifier{SignatureScheme::RsaSha384, "\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"sv},
    Identifier{SignatureScheme::RsaSha512, "\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"sv},
    // App. A.3: ecdsa-with-SHA256, ...
    Identifier{SignatureScheme::EcdsaSha256, "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"sv},
    Identifier{SignatureScheme::EcdsaSha384, "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"sv},
    Identifier{SignatureScheme::EcdsaSha512, "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"sv},
    // RFC 8420 App. A: id-Ed25519, id-Ed448.
    Identifier{SignatureScheme::Ed25519, "\x30\x05\x06\x03\x2b\x65\x70"sv},
    Identifier{SignatureScheme::Ed448, "\x30\x05\x06\x03\x2b\x65\x71"sv},
    // App. A.4: RSASSA-PSS with the hash, MGF1 with the same, and a salt of its size.
    Identifier{
        SignatureScheme::PssSha256,
        "\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05"
        "\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
        "\xa2\x03\x02\x01\x20"sv},
    Identifier{
        SignatureScheme::PssSha384,
        "\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05"
        "\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00"
        "\xa2\x03\x02\x01\x30"sv},
    Identifier{
        SignatureScheme::PssSha512,
        "\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05"
        "\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00"
        "\xa2\x03\x02\x01\x40"sv},
    Identifier{SignatureScheme::PssSha256,
               "\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"
               "\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"
               "\xa2\x03\x02\x01\x20"sv},
    Identifier{SignatureScheme::PssSha384,
               "\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02"
               "\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02"
               "\xa2\x03\x02\x01\x30"sv},
    Identifier{SignatureScheme::PssSha512,
               "\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03"
               "\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03"
               "\xa2\x03\x02\x01\x40"sv},
};

/// Methods that are one form of signature each.
struct Plain {
  AuthMethodId method;
  SignatureScheme scheme;
  AuthMethod key;
};
constexpr std::array kPlain{
    Plain{AuthMethodId::Rsa, SignatureScheme::RsaSha1, AuthMethod::RsaSignature},
    Plain{AuthMethodId::EcdsaP256, SignatureScheme::EcdsaP256, AuthMethod::EcdsaP256},
    Plain{AuthMethodId::EcdsaP384, SignatureScheme::EcdsaP384, AuthMethod::EcdsaP384},
    Plain{AuthMethodId::EcdsaP521, SignatureScheme::EcdsaP521, AuthMethod::EcdsaP521},
};

using Wish = config::SignatureWish;
using Hash = config::SignatureWish::Hash;

/// What is signed with a kind of key, digitally.
struct Digital {
  SignatureScheme scheme;
  Wish::Key kind;
  std::optional<Hash> hash;  ///< none: Identity
};
constexpr std::array kDigital{
    Digital{SignatureScheme::RsaSha256, Wish::Key::Rsa, Hash::Sha256},
    Digital{SignatureScheme::RsaSha384, Wish::Key::Rsa, Hash::Sha384},
    Digital{SignatureScheme::RsaSha512, Wish::Key::Rsa, Hash::Sha512},
    Digital{SignatureScheme::PssSha256, Wish::Key::RsaPss, Hash::Sha256},
    Digital{SignatureScheme::PssSha384, Wish::Key::RsaPss, Hash::Sha384},
    Digital{SignatureScheme::PssSha512, Wish::Key::RsaPss, Hash::Sha512},
    Digital{SignatureScheme::EcdsaSha256, Wish::Key::Ecdsa, Hash::Sha256},
    Digital{SignatureScheme::EcdsaSha384, Wish::Key::Ecdsa, Hash::Sha384},
    Digital{SignatureScheme::EcdsaSha512, Wish::Key::Ecdsa, Hash::Sha512},
    Digital{SignatureScheme::Ed25519, Wish::Key::Ed25519, {}},
    Digital{SignatureScheme::Ed448, Wish::Key::Ed448, {}},
};

bool takes(const SignatureHashes& peer, const std::optional<Hash>& hash) {
  if (!hash) return peer.identity;
  return *hash == Hash::Sha256 ? peer.sha256 : *hash == Hash::Sha384 ? peer.sha384 : peer.sha512;
}

/// What a key is asked for, without a wish for something else.
Wish::Key kind_of(AuthMethod key) {
  switch (key) {
    case AuthMethod::Ed25519:
      return Wish::Key::Ed25519;
    case AuthMethod::Ed448:
      return Wish::Key::Ed448;
    case AuthMethod::RsaSignature:
      return Wish::Key::Rsa;
    default:
      return Wish::Key::Ecdsa;
  }
}

/// The preferred hash first: the one that goes with a curve, then longer ones.
std::vector<Hash> hashes_of(AuthMethod key) {
  switch (key) {
    case AuthMethod::EcdsaP384:
      return {Hash::Sha384, Hash::Sha512, Hash::Sha256};
    case AuthMethod::EcdsaP521:
      return {Hash::Sha512, Hash::Sha384, Hash::Sha256};
    default:
      return {Hash::Sha256, Hash::Sha384, Hash::Sha512};
  }
}

std::optional<SignatureScheme> digital(Wish::Key kind, const std::vector<Hash>& hashes, const SignatureHashes& peer) {
  const auto scheme = [&](const std::optional<Hash>& hash) {
    const auto* row = std::ranges::find_if(kDigital, [&](const Digital& d) { return d.kind == kind && d.hash == hash; });
    return row == kDigital.end() || !takes(peer, hash) ? std::optional<SignatureScheme>{} : row->scheme;
  };
  if (const auto whole = scheme(std::nullopt)) return whole;
  for (const Hash hash : hashes)
    if (const auto found = scheme(hash)) return found;
  return std::nullopt;
}

}  // namespace

Bytes announced_hashes() {
  Writer w;
  for (const std::uint16_t hash : {kSha256, kSha384, kSha512, kIdentity}) w.be(hash);
  return std::move(w).take();
}

SignatureHashes read_hashes(ByteView data) {
  SignatureHashes out;
  for (Reader r(data); r.remaining() >= 2;) {
    const auto hash = r.be<std::uint16_t>();
    out.sha256 |= hash == kSha256;
    out.sha384 |= hash == kSha384;
    out.sha512 |= hash == kSha512;
    out.identity |= hash == kIdentity;
  }
  return out;
}

bool fits(const Wish& wish, AuthMethod key) {
  const Wish::Key kind = kind_of(key);
  return wish.key == Wish::Key::Any || wish.key == kind || (wish.key == Wish::Key::RsaPss && kind == Wish::Key::Rsa);
}

bool fits(const Wish& wish, SignatureScheme scheme) {
  if (wish == Wish{}) return true;
  const auto* row = std::ranges::find(kDigital, scheme, &Digital::scheme);
  if (row == kDigital.end()) {  // an older form, whose hash is the curve's, or SHA-1
    const bool rsa = scheme == SignatureScheme::RsaSha1;
    return wish.hashes.empty() && wish.key == (rsa ? Wish::Key::Rsa : Wish::Key::Ecdsa);
  }
  if (wish.key != Wish::Key::Any && wish.key != row->kind) return false;
  return wish.hashes.empty() || !row->hash || std::ranges::find(wish.hashes, *row->hash) != wish.hashes.end();
}

bool by_pss(SignatureScheme scheme) {
  const auto* row = std::ranges::find(kDigital, scheme, &Digital::scheme);
  return row != kDigital.end() && row->kind == Wish::Key::RsaPss;
}

std::optional<SignatureScheme> scheme_for(AuthMethod key, const std::optional<SignatureHashes>& peer, const Wish& wish, bool pss) {
  if (!fits(wish, key)) return std::nullopt;
  if (peer) {
    const std::vector<Hash> hashes = wish.hashes.empty() ? hashes_of(key) : wish.hashes;
    const bool answers_pss = pss && wish.key == Wish::Key::Any && key == AuthMethod::RsaSignature;
    if (answers_pss)
      if (const auto scheme = digital(Wish::Key::RsaPss, hashes, *peer)) return scheme;
    if (const auto scheme = digital(wish.key == Wish::Key::Any ? kind_of(key) : wish.key, hashes, *peer)) return scheme;
  }
  // RFC 7296 §3.8 has method 1 sign over any hash, but a peer that does not say which ones it takes knows SHA-1 for sure and nothing else:
  // strongSwan and others sign so themselves then. There is no other way to prove an RSA key to such a peer. Whoever announces hashes
  // never gets it, and nobody between the two can make us think so: both first messages are what is signed.
  const auto* plain = std::ranges::find(kPlain, key, &Plain::key);
  if (plain == kPlain.end() || (peer && plain->method == AuthMethodId::Rsa) || !fits(wish, plain->scheme)) return std::nullopt;
  return plain->scheme;
}

Auth signature_auth(SignatureScheme scheme, Bytes signature) {
  if (const auto* plain = std::ranges::find(kPlain, scheme, &Plain::scheme); plain != kPlain.end())
    return {plain->method, std::move(signature)};
  const auto* row = std::ranges::find(kIdentifiers, scheme, &Identifier::scheme);
  Writer w;  // RFC 7427 §3
  w.be(static_cast<std::uint8_t>(row->der.size()));
  w.bytes(as_bytes(row->der));
  w.bytes(signature);
  return {AuthMethodId::Digital, std::move(w).take()};
}

std::expected<PeerSignature, std::string> read_signature(const Auth& auth, bool announced) {
  if (auth.method != AuthMethodId::Digital) {
    const auto* plain = std::ranges::find(kPlain, auth.method, &Plain::method);
    if (plain == kPlain.end())
      return std::unexpected("its method of authentication is " + std::to_string(static_cast<unsigned>(auth.method)) +
                             ", which is no signature that is known");
    if (plain->method == AuthMethodId::Rsa && announced)
      return std::unexpected("it signs over SHA-1, though it has said that it does better (RFC 7427)");
    return PeerSignature{plain->scheme, auth.data};
  }
  Reader r(auth.data);
  const std::size_t size = r.be<std::uint8_t>();
  const ByteView der = r.take(size);
  if (!r.ok() || size == 0) return std::unexpected("its AUTH payload has no AlgorithmIdentifier (RFC 7427 §3)");
  const auto* row = std::ranges::find_if(kIdentifiers, [&](const Identifier& i) { return std::ranges::equal(as_bytes(i.der), der); });
  if (row == kIdentifiers.end())
    return std::unexpected("it signs with an algorithm that is not taken (AlgorithmIdentifier " +
                           to_hex(der.first(std::min<std::size_t>(der.size(), 72))) + ")");
  const ByteView rest = r.take(r.remaining());
  return PeerSignature{row->scheme, Bytes(rest.begin(), rest.end())};
}

bool by_signature(AuthMethodId method) {
  return method == AuthMethodId::Digital || std::ranges::find(kPlain, method, &Plain::method) != kPlain.end();
}

}  // namespace culvert::ikev2

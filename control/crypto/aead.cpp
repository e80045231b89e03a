// AEADs and counter mode over OpenSSL's EVP.
#include "control/crypto/aead.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "common/secret.hpp"
#include "control/crypto/openssl.hpp"

namespace culvert::crypto {

namespace {
using namespace detail;

enum class Kind : std::uint8_t { Gcm, Ccm, ChaCha20, Ctr };
struct Algorithm {
  Kind kind;
  std::size_t key;  ///< bytes
  EVP_CIPHER* evp;
};

const Algorithm* find(Kind kind, std::size_t key_bytes) {
  const auto fetch = [](const char* name) { return must_have(EVP_CIPHER_fetch(nullptr, name, nullptr), "EVP_CIPHER_fetch"); };
  static const std::array table{Algorithm{Kind::Gcm, 16, fetch("AES-128-GCM")}, Algorithm{Kind::Gcm, 24, fetch("AES-192-GCM")},
                                Algorithm{Kind::Gcm, 32, fetch("AES-256-GCM")}, Algorithm{Kind::Ccm, 16, fetch("AES-128-CCM")},
                                Algorithm{Kind::Ccm, 24, fetch("AES-192-CCM")}, Algorithm{Kind::Ccm, 32, fetch("AES-256-CCM")},
                                Algorithm{Kind::Ctr, 16, fetch("AES-128-CTR")}, Algorithm{Kind::Ctr, 24, fetch("AES-192-CTR")},
                                Algorithm{Kind::Ctr, 32, fetch("AES-256-CTR")}, Algorithm{Kind::ChaCha20, 32, fetch("ChaCha20-Poly1305")}};
  for (const Algorithm& a : table)
    if (a.kind == kind && a.key == key_bytes) return &a;
  return nullptr;
}

std::optional<Kind> kind_of(Encr id) {
  switch (id) {
    case Encr::AesGcm8:
    case Encr::AesGcm12:
    case Encr::AesGcm16:
      return Kind::Gcm;
    case Encr::AesCcm8:
    case Encr::AesCcm12:
    case Encr::AesCcm16:
      return Kind::Ccm;
    case Encr::ChaCha20Poly1305:
      return Kind::ChaCha20;
    default:
      return std::nullopt;
  }
}

/// What a call needs once its lengths are known to be right.
struct Call {
  const Algorithm* algorithm;
  std::size_t tag;
};
std::expected<Call, AeadError> check(Encr id, ByteView key, ByteView nonce, ByteView aad, ByteView data) {
  const auto kind = kind_of(id);
  const EncrInfo* row = find_encr(id, static_cast<std::uint16_t>(key.size() * 8));
  if (!kind || row == nullptr || row->key_bytes() != key.size()) return std::unexpected(AeadError::Algorithm);
  const Algorithm* algorithm = find(*kind, key.size());
  if (algorithm == nullptr) return std::unexpected(AeadError::Algorithm);
  if (nonce.size() != std::size_t{row->salt} + row->iv) return std::unexpected(AeadError::NonceLength);
  constexpr std::size_t kMost = std::numeric_limits<int>::max();
  if (data.size() > kMost || aad.size() > kMost) return std::unexpected(AeadError::DataLength);
  return Call{algorithm, row->icv};
}

int length(ByteView v) { return static_cast<int>(v.size()); }

/// A context with key, nonce and AAD. `tag` is empty when sealing; `data_size` is what CCM must know in advance.
CipherCtx begin(const Call& call, ByteView key, ByteView nonce, ByteView aad, ByteView tag, std::size_t data_size) {
  const bool sealing = tag.empty();
  CipherCtx ctx(must_have(EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new"));
  must(EVP_CipherInit_ex2(ctx.get(), call.algorithm->evp, nullptr, nullptr, sealing ? 1 : 0, nullptr), "EVP_CipherInit_ex2");
  must(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_IVLEN, length(nonce), nullptr), "EVP_CTRL_AEAD_SET_IVLEN");
  if (!sealing || call.algorithm->kind == Kind::Ccm) {
    // The library takes a mutable pointer and only reads it. CCM's first block says how long the tag is, so sealing sets its length, too.
    void* const expected = sealing ? nullptr : const_cast<std::uint8_t*>(tag.data());
    must(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(call.tag), expected), "EVP_CTRL_AEAD_SET_TAG");
  }
  must(EVP_CipherInit_ex2(ctx.get(), nullptr, key.data(), nonce.data(), -1, nullptr), "EVP_CipherInit_ex2");
  int written = 0;
  if (call.algorithm->kind == Kind::Ccm)
    must(EVP_CipherUpdate(ctx.get(), nullptr, &written, nullptr, static_cast<int>(data_size)), "EVP_CipherUpdate (size)");
  if (!aad.empty()) must(EVP_CipherUpdate(ctx.get(), nullptr, &written, aad.data(), length(aad)), "EVP_CipherUpdate (aad)");
  return ctx;
}
}  // namespace

std::string_view name(AeadError e) {
  switch (e) {
    case AeadError::Algorithm:
      return "no such cipher with a key of this length";
    case AeadError::NonceLength:
      return "the nonce has not the cipher's length";
    case AeadError::DataLength:
      return "the data is too short or too long";
    case AeadError::Tag:
      return "the tag is wrong";
  }
  return "unknown";
}

std::expected<Bytes, AeadError> aead_seal(Encr cipher, ByteView key, ByteView nonce, ByteView aad, ByteView plain) {
  const auto call = check(cipher, key, nonce, aad, plain);
  if (!call) return std::unexpected(call.error());
  const CipherCtx ctx = begin(*call, key, nonce, aad, {}, plain.size());
  Bytes out(plain.size() + call->tag);
  int written = 0, rest = 0;
  const std::uint8_t nothing = 0;  // a null pointer would mean something else to CCM
  must(EVP_CipherUpdate(ctx.get(), out.data(), &written, plain.empty() ? &nothing : plain.data(), length(plain)), "EVP_CipherUpdate");
  must(EVP_CipherFinal_ex(ctx.get(), out.data() + written, &rest), "EVP_CipherFinal_ex");
  if (rest != 0 || static_cast<std::size_t>(written) != plain.size()) throw LibraryError("EVP_CipherUpdate (size)");
  must(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(call->tag), out.data() + written), "EVP_CTRL_AEAD_GET_TAG");
  return out;
}

std::expected<Bytes, AeadError> aead_open(Encr cipher, ByteView key, ByteView nonce, ByteView aad, ByteView sealed) {
  const auto call = check(cipher, key, nonce, aad, sealed);
  if (!call) return std::unexpected(call.error());
  if (sealed.size() < call->tag) return std::unexpected(AeadError::DataLength);
  const ByteView data = sealed.first(sealed.size() - call->tag), tag = sealed.last(call->tag);
  const CipherCtx ctx = begin(*call, key, nonce, aad, tag, data.size());
  // The room of a tag behind the data gives a pointer where there is no data; it is never written.
  Bytes out(sealed.size());
  int written = 0, rest = 0;
  // CCM compares the tag at once, the others at the end: neither failure is the library's.
  const bool good = EVP_CipherUpdate(ctx.get(), out.data(), &written, sealed.data(), length(data)) == 1 &&
                    (call->algorithm->kind == Kind::Ccm || EVP_CipherFinal_ex(ctx.get(), out.data() + data.size(), &rest) == 1);
  if (!good || rest != 0 || static_cast<std::size_t>(written) != data.size()) {
    wipe(out);
    ERR_clear_error();
    return std::unexpected(AeadError::Tag);
  }
  out.resize(data.size());
  return out;
}

std::expected<Bytes, AeadError> aes_ctr(ByteView key, ByteView nonce, ByteView data) {
  const Algorithm* algorithm = find(Kind::Ctr, key.size());
  const EncrInfo* row = find_encr(Encr::AesCtr, static_cast<std::uint16_t>(key.size() * 8));
  if (algorithm == nullptr || row == nullptr) return std::unexpected(AeadError::Algorithm);
  std::array<std::uint8_t, 16> block{};
  if (nonce.size() != std::size_t{row->salt} + row->iv) return std::unexpected(AeadError::NonceLength);
  if (data.size() > std::numeric_limits<int>::max()) return std::unexpected(AeadError::DataLength);
  std::copy(nonce.begin(), nonce.end(), block.begin());
  block.back() = 1;
  const CipherCtx ctx(must_have(EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new"));
  must(EVP_CipherInit_ex2(ctx.get(), algorithm->evp, key.data(), block.data(), 1, nullptr), "EVP_CipherInit_ex2");
  Bytes out(data.size());
  int written = 0;
  if (!data.empty()) must(EVP_CipherUpdate(ctx.get(), out.data(), &written, data.data(), length(data)), "EVP_CipherUpdate");
  if (static_cast<std::size_t>(written) != out.size()) throw LibraryError("EVP_CipherUpdate (size)");
  return out;
}

}  // namespace culvert::crypto

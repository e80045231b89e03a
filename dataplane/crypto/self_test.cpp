// The gate in front of CryptoEngine: known answers, so that a wrong library, build or processor is found before traffic.
// The answers were made with OpenSSL by way of Python's "cryptography": header, IV and text as below.
#include <cstring>

#include "common/secret.hpp"
#include "dataplane/crypto/engine.hpp"

namespace culvert::dp {

namespace {
struct KnownAnswer {
  const char* name;
  Encr encr;
  std::uint16_t key_bits;
  Integ integ;
  const char* sealed;  ///< ciphertext and ICV
};
// clang-format off
constexpr std::array kAnswers{
    KnownAnswer{"aes128gcm16", Encr::AesGcm16, 128, Integ::None,
                "1666daaea6829f72a79dfd2482fffd8b6e762ccca7d0d3ce55db1c72f76d4bcb52b95b243834c8b5f12c2945fe81a71a"
                "b6cf6240358019011afc6805b8d21c47"},
    KnownAnswer{"aes256gcm16", Encr::AesGcm16, 256, Integ::None,
                "aae75d497c612306a3fd81207bba33dd80e242a8f2c34140d87bec5518bfcb80cafb3bbd2678dd961e97307f46b5ee4f"
                "5af6e81b8dbf2778b55327497e4aefa9"},
    KnownAnswer{"aes128-sha1", Encr::AesCbc, 128, Integ::HmacSha1_96,
                "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "2f52ef509eb55f9a8dc3e70d"},
    KnownAnswer{"aes256-sha1", Encr::AesCbc, 256, Integ::HmacSha1_96,
                "1ea9460bf22052819eba89cdc7fc651c87a7184f2e4134d42181f338a4a8b1f66995feccd1f18092d00ecb87a301328b"
                "67ba1d47ad4e280f17c887a1"},
    KnownAnswer{"aes128-sha256", Encr::AesCbc, 128, Integ::HmacSha2_256_128,
                "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "c5066aea052643f3556762d7a2a1a473"},
    KnownAnswer{"aes256-sha256", Encr::AesCbc, 256, Integ::HmacSha2_256_128,
                "1ea9460bf22052819eba89cdc7fc651c87a7184f2e4134d42181f338a4a8b1f66995feccd1f18092d00ecb87a301328b"
                "fa1d12c215691de6c4de0fe343b7d58d"},
};
// clang-format on
static_assert(kAnswers.size() == kEspKinds);
constexpr std::size_t kTextBytes = 48;
constexpr std::array<std::uint8_t, kEspHeaderBytes> kHeader{0xa1, 0xb2, 0xc3, 0xd4, 0, 0, 0, 7};

/// `n` bytes counting up from `start`.
Bytes counting(std::size_t n, std::uint8_t start) {
  Bytes out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>(start + i);
  return out;
}
void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

/// Both directions of one answer; several copies at once, so that the multi-buffer paths are used. Empty: good.
std::string check(CryptoEngine& engine, const KnownAnswer& answer) {
  const auto geometry = esp_geometry(answer.encr, answer.key_bits, answer.integ);
  const auto sealed = from_hex(answer.sealed);
  if (!geometry || !sealed) return "has no geometry";
  Bytes key = counting(answer.key_bits / 8U, 0x10);
  if (is_gcm(geometry->kind)) append(key, counting(4, 0x80));
  const IntegInfo* integ = find_integ(answer.integ);
  SaKeys keys;
  if (!engine.expand(*geometry, key, counting(integ != nullptr ? integ->key : 0, 0x40), keys)) return "key expansion failed";

  Bytes clear(kHeader.begin(), kHeader.end());
  append(clear, counting(geometry->iv, 0xc0));
  const std::size_t text_at = clear.size();
  Bytes wire = clear;
  append(clear, counting(kTextBytes, 0));
  clear.resize(clear.size() + geometry->icv);
  append(wire, *sealed);

  constexpr std::size_t kCopies = 19;  // more than any engine has lanes, and odd
  std::vector<Bytes> packets(kCopies, clear);
  std::vector<CryptoOp> ops(kCopies);
  for (std::size_t i = 0; i < kCopies; ++i) ops[i] = {&keys, packets[i].data(), kTextBytes, false};
  engine.encrypt(ops);
  for (std::size_t i = 0; i < kCopies; ++i)
    if (!ops[i].ok || packets[i] != wire) return "encryption is wrong";
  packets[kCopies / 2].back() ^= 1;
  engine.decrypt(ops);
  for (std::size_t i = 0; i < kCopies; ++i) {
    if (ops[i].ok == (i == kCopies / 2)) return "the integrity check is wrong";
    if (ops[i].ok && std::memcmp(packets[i].data() + text_at, clear.data() + text_at, kTextBytes) != 0) return "decryption is wrong";
  }
  return "";
}
}  // namespace

std::expected<void, std::string> CryptoEngine::self_test() {
  for (const KnownAnswer& answer : kAnswers)
    if (const std::string fault = check(*this, answer); !fault.empty())
      return std::unexpected("self-test of " + describe() + ": " + answer.name + ": " + fault);
  std::array<std::uint8_t, 16> a{}, b{};
  if (!next_cbc_iv(a.data()) || !next_cbc_iv(b.data()) || a == b) return std::unexpected("self-test: IV generator is wrong");
  return {};
}

}  // namespace culvert::dp

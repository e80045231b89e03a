// The ONE algorithm table: names, sizes and the numbers of every registry, in one row an algorithm.
// Owns what an algorithm is; computes nothing. Internal ids are the IKEv2 transform ids (IANA), for both IKE versions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culvert {

/// Encryption, IANA "Transform Type 1".
enum class Encr : std::uint16_t { None = 0, Des = 2, TripleDes = 3, AesCbc = 12, AesGcm16 = 20 };
/// Integrity, IANA "Transform Type 3". The enumerators say the truncation that ESP uses.
enum class Integ : std::uint16_t {
  None = 0,
  HmacMd5_96 = 1,
  HmacSha1_96 = 2,
  HmacSha2_256_128 = 12,
  HmacSha2_384_192 = 13,
  HmacSha2_512_256 = 14
};
/// Pseudo-random function, IANA "Transform Type 2". In IKEv1 the negotiated hash stands for it (RFC 2409 §4).
enum class Prf : std::uint16_t { None = 0, HmacMd5 = 1, HmacSha1 = 2, HmacSha2_256 = 5, HmacSha2_384 = 6, HmacSha2_512 = 7 };
/// Diffie-Hellman group, IANA "Transform Type 4"; the same numbers in IKEv1.
enum class DhGroup : std::uint16_t {
  None = 0,
  Modp768 = 1,
  Modp1024 = 2,
  Modp1536 = 5,
  Modp2048 = 14,
  Modp3072 = 15,
  Modp4096 = 16,
  Modp6144 = 17,
  Modp8192 = 18,
  Ecp256 = 19,
  Ecp384 = 20,
  Ecp521 = 21,
  Modp1024s160 = 22,
  Modp2048s224 = 23,
  Modp2048s256 = 24,
  Ecp192 = 25,
  Ecp224 = 26,
  Curve25519 = 31,
};

/// An encryption algorithm with its key length. All sizes in bytes unless the name says bits.
struct EncrInfo {
  std::string_view name;  ///< swanctl's keyword, "aes128gcm16"
  Encr id;
  std::uint16_t key_bits;
  std::uint8_t salt;           ///< of KEYMAT behind the key (RFC 4106 §8.1)
  std::uint8_t iv;             ///< on the wire
  std::uint8_t block;          ///< padding alignment; 1 for a stream mode
  std::uint8_t icv;            ///< of an AEAD; 0: an integrity algorithm goes with it
  std::uint16_t ikev1_cipher;  ///< phase 1 "Encryption Algorithm" attribute; 0: not for phase 1
  std::uint8_t ikev1_esp;      ///< IPsec DOI ESP transform id
  bool fixed_key;              ///< there is one length of key, which is not said on the wire
  bool weak;                   ///< for legacy peers only: a connection must allow it by name
  [[nodiscard]] constexpr bool aead() const { return icv != 0; }
  [[nodiscard]] constexpr std::size_t key_bytes() const { return key_bits / 8U; }
};
struct IntegInfo {
  std::string_view name;  ///< "sha256"
  Integ id;
  std::uint8_t key;          ///< bytes
  std::uint8_t icv;          ///< bytes in ESP
  std::uint16_t ikev1_auth;  ///< IPsec DOI "Authentication Algorithm" attribute
  bool esp;                  ///< the data plane computes it
  bool weak;                 ///< as of EncrInfo
};
struct PrfInfo {
  std::string_view name;  ///< "sha256": in an IKE proposal the hash names the PRF, too
  Prf id;
  std::uint8_t size;         ///< output bytes
  std::uint16_t ikev1_hash;  ///< phase 1 "Hash Algorithm" attribute
  bool weak;                 ///< as of EncrInfo
};
struct DhInfo {
  std::string_view name;  ///< "modp2048", "ecp256"
  DhGroup id;
  std::uint16_t public_bytes;  ///< of the KE payload: the prime's size, or both coordinates (RFC 5903 §7); 32 of Curve25519 (RFC 8031)
  std::uint16_t shared_bytes;  ///< of g^xy: the prime's size, or the x coordinate (RFC 5903 §9)
  bool weak;                   ///< as of EncrInfo
};

std::span<const EncrInfo> encr_table();
std::span<const IntegInfo> integ_table();
std::span<const PrfInfo> prf_table();
std::span<const DhInfo> dh_table();

/// Rows by id; nullptr where the table has none.
const EncrInfo* find_encr(Encr id, std::uint16_t key_bits);
const IntegInfo* find_integ(Integ id);
const PrfInfo* find_prf(Prf id);
const DhInfo* find_dh(DhGroup id);

/// One ESP suite, as negotiated or as wanted. "aes128-sha256", "aes256gcm16-ecp256" (PFS).
struct EspSuite {
  Encr encr{};
  std::uint16_t key_bits = 0;
  Integ integ{};  ///< None with an AEAD
  DhGroup pfs{};  ///< None: no PFS
  friend bool operator==(const EspSuite&, const EspSuite&) = default;
  [[nodiscard]] std::string to_string() const;
};
/// One IKEv1 phase 1 suite. "aes256-sha256-modp2048".
struct IkeSuite {
  Encr encr{};
  std::uint16_t key_bits = 0;
  Prf prf{};
  DhGroup group{};
  friend bool operator==(const IkeSuite&, const IkeSuite&) = default;
  [[nodiscard]] std::string to_string() const;
};

/// The names of those algorithms of a suite that are for legacy peers only: "3des", "md5", "modp1024".
std::vector<std::string_view> weak_algorithms(const IkeSuite& suite);
std::vector<std::string_view> weak_algorithms(const EspSuite& suite);
/// All names that weak_algorithms() can give, each once.
std::vector<std::string_view> all_weak_algorithms();

/// Why a proposal string was refused; `token` is the offending keyword, `suggestion` the nearest known one or empty.
struct ProposalError {
  std::string message;
  std::string token;
  std::string suggestion;
};
/// Expands a swanctl proposal string ("aes128-aes256-sha256-modp2048-ecp256": any number of each kind) into suites,
/// in order of preference: the leftmost keyword of a kind first, encryption varying slowest.
std::expected<std::vector<IkeSuite>, ProposalError> parse_ike_proposal(std::string_view text);
std::expected<std::vector<EspSuite>, ProposalError> parse_esp_proposal(std::string_view text);

/// The candidate with the smallest edit distance to `word`, if it is near enough to be a likely slip; else empty.
std::string nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace culvert

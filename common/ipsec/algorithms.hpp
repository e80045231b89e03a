// The ONE algorithm table: names, sizes and the numbers of every registry, in one row an algorithm.
// Owns what an algorithm is; computes nothing. Internal ids are the IKEv2 transform ids (IANA), for both IKE versions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culvert {

/// Encryption, IANA "Transform Type 1".
enum class Encr : std::uint16_t {
  None = 0,
  Des = 2,
  TripleDes = 3,
  Null = 11,
  AesCbc = 12,
  AesCtr = 13,
  AesCcm8 = 14,
  AesCcm12 = 15,
  AesCcm16 = 16,
  AesGcm8 = 18,
  AesGcm12 = 19,
  AesGcm16 = 20,
  AesGmac = 21,          ///< ENCR_NULL_AUTH_AES_GMAC: authenticates and does not encrypt (RFC 4543)
  ChaCha20Poly1305 = 28  ///< RFC 7634
};
/// Integrity, IANA "Transform Type 3". The enumerators say the truncation that ESP uses.
enum class Integ : std::uint16_t {
  None = 0,
  HmacMd5_96 = 1,
  HmacSha1_96 = 2,
  AesXcbc96 = 5,
  AesCmac96 = 8,   ///< RFC 4494
  Aes128Gmac = 9,  ///< AH only (RFC 4543)
  Aes192Gmac = 10,
  Aes256Gmac = 11,
  HmacSha2_256_128 = 12,
  HmacSha2_384_192 = 13,
  HmacSha2_512_256 = 14
};
/// Pseudo-random function, IANA "Transform Type 2". In IKEv1 the negotiated hash stands for it (RFC 2409 §4).
enum class Prf : std::uint16_t {
  None = 0,
  HmacMd5 = 1,
  HmacSha1 = 2,
  AesXcbc = 4,  ///< RFC 4434
  HmacSha2_256 = 5,
  HmacSha2_384 = 6,
  HmacSha2_512 = 7,
  AesCmac = 8  ///< RFC 4615
};
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
  Brainpool224 = 27,  ///< brainpoolP224r1 (RFC 6954; of IKEv1 RFC 6932)
  Brainpool256 = 28,
  Brainpool384 = 29,
  Brainpool512 = 30,
  Curve25519 = 31,
  Curve448 = 32,
  MlKem512 = 35,  ///< FIPS 203, draft-ietf-ipsecme-ikev2-mlkem: a KEM, of IKEv2 alone
  MlKem768 = 36,
  MlKem1024 = 37,
};
/// The methods of additional key exchanges 1 to 7 (RFC 9370 §2.2.1), which have the numbers of DhGroup; None: there is none.
inline constexpr std::size_t kAdditional = 7;
using AdditionalKes = std::array<DhGroup, kAdditional>;
/// Those that there are, in their order.
std::vector<DhGroup> in_order(const AdditionalKes& all);

/// RFC 2407 §4.4.1, and the RFC 2408 Protocol-ID of proposals, Delete and Notify payloads.
enum class SaProtocol : std::uint8_t { Ah = 2, Esp = 3 };
/// RFC 4301 §4.1; the numbers are those of RFC 2407 §4.5.
enum class SaMode : std::uint8_t { Tunnel = 1, Transport = 2 };

/// An encryption algorithm with its key length. All sizes in bytes unless the name says bits.
struct EncrInfo {
  std::string_view name;  ///< swanctl's keyword, "aes128gcm16"
  Encr id;
  std::uint16_t key_bits;
  std::uint8_t salt;   ///< of KEYMAT behind the key: the nonce (RFC 3686 §5.1, RFC 4106 §8.1, RFC 4309 §7.1, RFC 4543 §5.2, RFC 7634 §2)
  std::uint8_t iv;     ///< on the wire
  std::uint8_t block;  ///< padding alignment; 1 for a stream mode
  std::uint8_t icv;    ///< of an AEAD; 0: an integrity algorithm goes with it
  std::uint16_t ikev1_cipher;  ///< phase 1 "Encryption Algorithm" attribute; 0: not for phase 1
  std::uint8_t ikev1_esp;      ///< IPsec DOI ESP transform id; 0: IKEv1 has none
  bool fixed_key;              ///< there is one length of key, which is not said on the wire
  bool weak;                   ///< a connection must allow it by name: see weakness()
  [[nodiscard]] constexpr bool aead() const { return icv != 0; }
  /// It encrypts messages of IKEv2: CBC (RFC 7296 §3.3.2) and AEADs (RFC 5282, RFC 7634).
  [[nodiscard]] constexpr bool ikev2_ike() const { return ikev1_cipher != 0 || (aead() && id != Encr::AesGmac); }
  /// The IV is a counter that must not repeat under a key: ChaCha20, and all modes of AES but CBC.
  [[nodiscard]] constexpr bool counter_iv() const { return salt != 0; }
  [[nodiscard]] constexpr std::size_t key_bytes() const { return key_bits / 8U; }
};
struct IntegInfo {
  std::string_view name;  ///< "sha256"
  Integ id;
  std::uint8_t key;          ///< bytes of KEYMAT, the salt of GMAC included
  std::uint8_t icv;          ///< bytes in ESP and AH, without GMAC's IV
  std::uint8_t iv;           ///< bytes of IV in front of the ICV in AH (RFC 4543 §4); 0 of all but GMAC
  std::uint16_t ikev1_auth;  ///< IPsec DOI "Authentication Algorithm" attribute; 0: IKEv1 has none
  std::uint8_t ikev1_ah;     ///< IPsec DOI AH transform id (RFC 2407 §4.4.3, RFC 4543 §7)
  bool weak;                 ///< as of EncrInfo
  /// It may stand beside a cipher in ESP.
  [[nodiscard]] constexpr bool esp() const { return iv == 0; }
};
struct PrfInfo {
  std::string_view name;  ///< "sha256": in an IKE proposal the hash names the PRF, too; alone it is "prfsha256" there
  Prf id;
  std::uint8_t size;         ///< output bytes
  std::uint16_t ikev1_hash;  ///< phase 1 "Hash Algorithm" attribute; 0: IKEv1 has none
  bool weak;                 ///< as of EncrInfo
};
struct DhInfo {
  std::string_view name;  ///< "modp2048", "ecp256"
  DhGroup id;
  std::uint16_t public_bytes;  ///< of the KE payload: the prime's size, or both coordinates (RFC 5903 §7, RFC 6954 §3); RFC 8031: 32, 56
  std::uint16_t shared_bytes;  ///< of g^xy: the prime's size, or the x coordinate (RFC 5903 §9)
  bool weak;                   ///< as of EncrInfo
  std::uint16_t reply_bytes =
      0;  ///< of the responder's KE payload, where it is no public value but a ciphertext (a KEM); 0: as public_bytes
  [[nodiscard]] constexpr bool kem() const { return reply_bytes != 0; }
};

std::span<const EncrInfo> encr_table();
std::span<const IntegInfo> integ_table();
std::span<const PrfInfo> prf_table();
std::span<const DhInfo> dh_table();
/// Key encapsulation mechanisms, of IKEv2 alone: here what the initiator sends and what it gets have sizes of their own.
std::span<const DhInfo> kem_table();

/// Rows by id; nullptr where the table has none.
const EncrInfo* find_encr(Encr id, std::uint16_t key_bits);
const IntegInfo* find_integ(Integ id);
const PrfInfo* find_prf(Prf id);
const DhInfo* find_dh(DhGroup id);
/// Of both tables.
const DhInfo* find_ke(DhGroup id);
/// The PRF that goes with an integrity algorithm in a proposal string that names none; None of GMAC.
Prf prf_of(Integ id);

/// One suite of phase 2, ESP or AH, as negotiated or as wanted. "aes128-sha256", "aes256gcm16-ecp256-esn"; "sha256" is AH.
struct EspSuite {
  Encr encr{};  ///< None with AH
  std::uint16_t key_bits = 0;
  Integ integ{};  ///< None with an AEAD
  DhGroup pfs{};  ///< None: no PFS
  SaProtocol protocol = SaProtocol::Esp;
  bool esn = false;      ///< extended sequence numbers (RFC 4304)
  AdditionalKes more{};  ///< additional key exchanges, of IKEv2 with PFS
  friend bool operator==(const EspSuite&, const EspSuite&) = default;
  [[nodiscard]] std::string to_string() const;
};
/// What one pair of keys may protect; 0: no limit.
struct SuiteLimits {
  std::uint64_t bytes = 0;    ///< a cipher with blocks of 64 bits repeats some of them after few GB (SWEET32)
  std::uint64_t packets = 0;  ///< 2^32 - 1 where the sequence number ends there; with ESN in counter modes of AES
};
SuiteLimits limits(const EspSuite& suite);
/// One suite of an IKE SA. "aes256-sha256-modp2048"; of IKEv2 also "aes256-sha256-prfsha384-ecp384", "aes128gcm16-prfsha256-x25519".
struct IkeSuite {
  Encr encr{};
  std::uint16_t key_bits = 0;
  Prf prf{};
  DhGroup group{};
  Integ integ{};         ///< None with an AEAD, and in IKEv1, which has no choice of it
  AdditionalKes more{};  ///< additional key exchanges, of IKEv2
  friend bool operator==(const IkeSuite&, const IkeSuite&) = default;
  [[nodiscard]] std::string to_string() const;
};

/// The names of those algorithms of a suite that a connection must allow: "3des", "md5", "modp1024", "null".
std::vector<std::string_view> weak_algorithms(const IkeSuite& suite);
std::vector<std::string_view> weak_algorithms(const EspSuite& suite);
/// All names that weak_algorithms() can give, each once.
std::vector<std::string_view> all_weak_algorithms();
/// What an operator has to know of one of them: "is weak: ...", "does not encrypt: ...".
std::string_view weakness(std::string_view algorithm);

/// Why a proposal string was refused; `token` is the offending keyword, `suggestion` the nearest known one or empty.
struct ProposalError {
  std::string message;
  std::string token;
  std::string suggestion;
};
/// Expands a swanctl proposal string ("aes128-aes256-sha256-modp2048-ecp256": any number of each kind) into suites,
/// in order of preference: the leftmost keyword of a kind first, encryption varying slowest. "esn" and "noesn" say which
/// sequence numbers are taken; without them: noesn. Of IKEv2 "ke1_mlkem768" to "ke7_..." are additional key exchanges (RFC 9370), and
/// "ke1_none" says that the first one may be left out; no suite has the same method twice.
std::expected<std::vector<IkeSuite>, ProposalError> parse_ike_proposal(std::string_view text);
std::expected<std::vector<EspSuite>, ProposalError> parse_esp_proposal(std::string_view text);
std::expected<std::vector<EspSuite>, ProposalError> parse_ah_proposal(std::string_view text);

/// Of IKEv2: the PRF is the one that goes with the integrity algorithm, or those named apart ("aes256-sha256-prfsha384-ecp384"). An AEAD
/// has no integrity algorithm, so that a hash beside it is its PRF ("aes128gcm16-prfsha256-ecp256", "aes128gcm16-sha256-ecp256"); AEADs and
/// other ciphers go into strings of their own.
std::expected<std::vector<IkeSuite>, ProposalError> parse_ike_proposal_v2(std::string_view text);
/// As those above; what is known, and may be suggested, includes what is for IKEv2 only.
std::expected<std::vector<EspSuite>, ProposalError> parse_esp_proposal_v2(std::string_view text);
std::expected<std::vector<EspSuite>, ProposalError> parse_ah_proposal_v2(std::string_view text);

/// The suites, or why IKEv1 cannot negotiate one of them: IANA gave it no number there, so that it is for IKEv2 only.
std::expected<std::vector<EspSuite>, ProposalError> for_ikev1(std::expected<std::vector<EspSuite>, ProposalError> suites);

/// The candidate with the smallest edit distance to `word`, if it is near enough to be a likely slip; else empty.
std::string nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace culvert

// X.509 certificates: reading them, what they say, and whether a chain leads from one to an authority that is trusted.
// Owns the path validation of RFC 5280 §6 (the library's) and the stricter rules around it. Opens no file and asks nobody:
// the time, the anchors and the certificates that the peer sent are given. Certificates of a stranger are bounded before they are read.
#pragma once

#include <chrono>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/bytes.hpp"
#include "control/crypto/signature.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::crypto {

inline constexpr std::size_t kMaxCertificate = 16384;  ///< DER bytes: a gateway's has 1 to 2 KB
inline constexpr std::size_t kMaxPkcs7 = 32768;
inline constexpr std::size_t kMaxChain = 8;  ///< certificates from the end entity to the anchor, and of a peer's message
inline constexpr std::size_t kMaxCertificateFile = 1 << 20;

using WallTime = std::chrono::sys_seconds;  ///< certificates live in days of the calendar
std::string shown(WallTime t);              ///< "2026-01-31T12:00:00Z"

/// Why a certificate is refused: one of CertUntrusted, CertInvalid, CertRevoked, WrongIdentity, AuthFailed, and a text for an operator.
struct Refusal {
  ike::Reason reason{};
  std::string message;
};

/// One certificate; copies share it. Safe to use from several threads.
class Certificate {
 public:
  /// DER of up to kMaxCertificate bytes, version 1 to 3, nothing behind it. The error says what is wrong, for an operator.
  static std::expected<Certificate, std::string> parse(ByteView der);
  /// A file: one certificate in DER, or PEM with 1 to 64 of them.
  static std::expected<std::vector<Certificate>, std::string> read(ByteView file);

  /// The certificates of a PKCS #7 SignedData (RFC 2315 §9.1), as Windows and some routers wrap a chain (RFC 2408 §3.9): 1 to kMaxChain of
  /// them, in any order, in at most kMaxPkcs7 bytes. Its signers and content count for nothing.
  static std::expected<std::vector<Certificate>, std::string> unwrap(ByteView pkcs7);

  [[nodiscard]] const Bytes& der() const;
  [[nodiscard]] const Bytes& subject() const;  ///< DER name
  [[nodiscard]] const Bytes& issuer() const;   ///< DER name
  [[nodiscard]] std::string subject_text() const;
  [[nodiscard]] std::string issuer_text() const;
  [[nodiscard]] std::string serial() const;  ///< hexadecimal
  [[nodiscard]] WallTime not_before() const;
  [[nodiscard]] WallTime not_after() const;
  [[nodiscard]] bool is_authority() const;  ///< basicConstraints: CA (RFC 5280 §4.2.1.9)
  [[nodiscard]] bool is_self_issued() const;
  /// The public key, if it is one that this gateway uses; else why not.
  [[nodiscard]] const std::expected<PublicKey, std::string>& key() const;
  [[nodiscard]] const Bytes& key_info() const;  ///< DER: subjectPublicKeyInfo (RFC 5280 §4.1)
  /// subjectAltName (RFC 5280 §4.2.1.6), as far as IKE has such identities.
  struct AltNames {
    std::vector<std::string> dns, email;
    std::vector<Bytes> ip;  ///< 4 or 16 bytes
  };
  [[nodiscard]] const AltNames& alt_names() const;
  /// RFC 4945 §5.1.3.2, §5.1.3.12: keyUsage, if there, allows signatures; extendedKeyUsage, if there, names IKE, TLS or any use.
  [[nodiscard]] std::optional<std::string> unfit_for_ike() const;  ///< why not
  friend bool operator==(const Certificate& a, const Certificate& b) { return a.der() == b.der(); }

  struct Impl;
  [[nodiscard]] const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

/// What a connection lets pass for a legacy peer.
struct Strength {
  bool weak_rsa = false;  ///< keys of kWeakRsaBits and more
  bool sha1 = false;      ///< certificates and revocation lists that are signed over SHA-1
};
/// Why this certificate's key is not used, or empty.
std::string unusable_key(const Certificate& certificate, const Strength& strength);

/// The path from `end` (first) to one of `anchors` (last), over `others`, valid at `now`: signatures, times, basicConstraints,
/// path lengths, keyUsage of authorities, name constraints, critical extensions, keys and hashes of today's strength.
std::expected<std::vector<Certificate>, Refusal> find_path(const Certificate& end, std::span<const Certificate> others,
                                                           std::span<const Certificate> anchors, WallTime now, const Strength& strength);
/// The certificate's own dates.
std::optional<Refusal> outside_validity(const Certificate& certificate, WallTime now);
/// "the certificate C=CH, CN=gw (serial 12ab, of C=CH, CN=CA)".
std::string described(const Certificate& certificate);

}  // namespace culvert::crypto

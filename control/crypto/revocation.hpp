// Whether a certificate was revoked: by lists (RFC 5280 §5) and by answers of OCSP responders (RFC 6960).
// Owns the reading and the proof of both: an answer counts only under a signature of the certificate's issuer, or of a responder that
// this issuer has named. Fetches nothing; the time is given.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/crypto/x509.hpp"

namespace culvert::crypto {

inline constexpr std::size_t kMaxList = 8 << 20;      ///< bytes of a revocation list: about 200,000 entries
inline constexpr std::size_t kMaxOcspAnswer = 65536;  ///< bytes; one with its responder's chain has 2 to 6 KB
inline constexpr std::size_t kOcspNonce = 16;         ///< RFC 8954 §2.1: 1 to 32 bytes
inline constexpr std::chrono::minutes kClockSkew{5};  ///< how far a responder's clock may be ahead

struct Status {
  enum class Kind : std::uint8_t { Unknown, Good, Revoked } kind{};
  std::optional<WallTime> until{};  ///< the answer's nextUpdate
  std::string detail{};             ///< Revoked: since when; Unknown: why
};

/// One certificate revocation list; copies share it. Safe to use from several threads.
class RevocationList {
 public:
  /// A file or an answer: PEM or DER, at most kMaxList bytes. The error says what is wrong, for an operator.
  static std::expected<RevocationList, std::string> read(ByteView file);
  [[nodiscard]] std::string issuer_text() const;
  [[nodiscard]] const Bytes& issuer() const;  ///< DER name
  [[nodiscard]] WallTime this_update() const;
  [[nodiscard]] std::optional<WallTime> next_update() const;

  struct Impl;
  [[nodiscard]] const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

/// What `lists` say of a certificate of `issuer`. Lists of others, outdated ones and ones with a wrong signature count for nothing.
Status status_by_lists(const Certificate& certificate, const Certificate& issuer, std::span<const RevocationList> lists, WallTime now,
                       const Strength& strength);

/// Why a list says nothing of certificates of `issuer`: it is another's, or is not signed by that one's key, or over too weak a hash.
std::optional<std::string> unproven(const RevocationList& list, const Certificate& issuer, const Strength& strength);

/// The body of a POST to a responder (RFC 6960 appendix A.1). `nonce`: kOcspNonce bytes.
Bytes ocsp_request(const Certificate& certificate, const Certificate& issuer, ByteView nonce);
/// What the responder's answer says of the certificate. One without a nonce is taken within its dates, since many responders prepare
/// their answers; another nonce is not.
Status status_by_ocsp(const Certificate& certificate, const Certificate& issuer, ByteView nonce, ByteView answer, WallTime now,
                      const Strength& strength);

/// Where to ask: http URLs of the certificate's authorityInfoAccess and cRLDistributionPoints, at most kMaxPlaces of each.
inline constexpr std::size_t kMaxPlaces = 4;
std::vector<std::string> ocsp_places(const Certificate& certificate);
std::vector<std::string> list_places(const Certificate& certificate);

}  // namespace culvert::crypto

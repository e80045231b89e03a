// The ESP suites that the data plane runs, and their wire geometry.
// Owns nothing but numbers; the algorithm table in common/ipsec is where names and sizes come from.
#pragma once

#include <cstdint>
#include <optional>

#include "common/ipsec/algorithms.hpp"

namespace culvert::dp {

enum class EspKind : std::uint8_t { Gcm128, Gcm256, Cbc128Sha1, Cbc256Sha1, Cbc128Sha256, Cbc256Sha256 };
inline constexpr std::size_t kEspKinds = 6;

constexpr bool is_gcm(EspKind k) { return k == EspKind::Gcm128 || k == EspKind::Gcm256; }
constexpr bool is_aes256(EspKind k) { return k == EspKind::Gcm256 || k == EspKind::Cbc256Sha1 || k == EspKind::Cbc256Sha256; }
constexpr bool is_sha256(EspKind k) { return k == EspKind::Cbc128Sha256 || k == EspKind::Cbc256Sha256; }

/// Sizes in bytes on the wire.
struct EspGeometry {
  EspKind kind{};
  std::uint8_t iv = 0;
  std::uint8_t icv = 0;
  std::uint8_t align = 4;  ///< what the ciphertext's length must be a multiple of (RFC 4303 §2.4): 4, or the cipher's block
};
inline constexpr std::uint32_t kEspHeaderBytes = 8;   ///< SPI and sequence number
inline constexpr std::uint32_t kEspTrailerBytes = 2;  ///< pad length and next header

/// The suite's geometry; nothing for a suite that the data plane does not run.
std::optional<EspGeometry> esp_geometry(Encr encr, std::uint16_t key_bits, Integ integ);

}  // namespace culvert::dp

// The suites that the data plane runs, ESP and AH, and their wire geometry.
// Owns nothing but numbers; the algorithm table in common/ipsec is where names and sizes come from.
#pragma once

#include <cstdint>
#include <optional>

#include "common/ipsec/algorithms.hpp"
#include "common/net/ip.hpp"

namespace culvert::dp {

/// How the engine computes a suite: AES-GCM by a direct call, GMAC by the same one with all of the packet as additional data,
/// everything else as a job.
enum class EspKind : std::uint8_t { Gcm, Gmac, Jobs };
enum class IvSource : std::uint8_t {
  None,
  Random,   ///< unpredictable (RFC 3602 §3, RFC 2451 §3)
  Counter,  ///< the sequence number (RFC 3686 §2.1, RFC 4106 §3.1, RFC 4309 §3.1, RFC 4543 §3.2, RFC 7634 §2)
};

/// Sizes in bytes on the wire, and what every packet must know of its suite and mode.
struct EspGeometry {
  EspKind kind{};
  std::uint8_t iv = 0;
  std::uint8_t icv = 0;
  std::uint8_t align = 4;  ///< what the ciphertext's length must be a multiple of (RFC 4303 §2.4): 4, or the cipher's block
  IvSource iv_source{};
  bool esn : 1 = false;        ///< the upper half of the sequence number is authenticated, and not sent (RFC 4303 §2.2.1)
  bool ah : 1 = false;         ///< Authentication Header instead of ESP; then `iv` stands in front of the ICV (RFC 4543 §4)
  bool transport : 1 = false;  ///< transport mode
  friend bool operator==(const EspGeometry&, const EspGeometry&) = default;
};
static_assert(sizeof(EspGeometry) == 6);
inline constexpr std::uint32_t kEspHeaderBytes = 8;   ///< SPI and sequence number
inline constexpr std::uint32_t kEspTrailerBytes = 2;  ///< pad length and next header
inline constexpr std::uint32_t kAhHeaderBytes = 12;   ///< without IV and ICV (RFC 4302 §2)
/// All of an AH header: a multiple of 4 bytes over IPv4, of 8 over IPv6, where bytes without meaning follow the ICV (RFC 4302 §3.3.3.2.1).
constexpr std::uint32_t ah_bytes(const EspGeometry& g, Family outer) {
  const std::uint32_t bytes = kAhHeaderBytes + g.iv + std::uint32_t{g.icv};
  return outer == Family::V6 ? (bytes + 7U) & ~7U : bytes;
}

/// The suite's geometry in tunnel mode; nothing for a suite that the data plane does not run.
std::optional<EspGeometry> esp_geometry(const EspSuite& suite);

}  // namespace culvert::dp

// What one child's tunnel does to headers and sizes, beyond the cryptography: as configured, as sent to the data plane, and as it acts.
// Owns the rules' names and defaults; the data plane owns what they mean for a packet.
#pragma once

#include <chrono>
#include <cstdint>

namespace culvert {

/// The outer DF bit (RFC 4301 §8.1): cleared, the inner one's, or set.
enum class CopyDf : std::uint8_t { No, Yes, Set };
/// RFC 6040 §4.1: normal mode (the mark is copied outside), or compatibility mode (none outside). On the way in it is one and the same.
enum class CopyEcn : std::uint8_t { No, Yes };
/// RFC 4301 §5.1.2.1, RFC 2983 §4: the code point is copied to the outer header, from it, both, or neither.
enum class CopyDscp : std::uint8_t { No, Out, In, Yes };
/// What is too large is cut into fragments before it is encrypted, or after.
enum class CutWhen : std::uint8_t { Before, After };

/// Whether the crypto of one SA is spread over several workers.
enum class SpreadCrypto : std::uint8_t { No, Yes };

struct PacketRules {
  static constexpr std::uint16_t kOff = 0, kByMtu = 0xffff;
  static constexpr std::chrono::milliseconds kMinDummy{50}, kMaxDummy{3'600'000};
  CopyDf df = CopyDf::Yes;
  CopyEcn ecn = CopyEcn::Yes;
  CopyDscp dscp = CopyDscp::Out;
  CutWhen cut = CutWhen::Before;
  std::uint16_t mss = kByMtu;        ///< TCP's maximum segment size is lowered to this (RFC 9293 §3.7.1); kOff, or kByMtu: to what fits
  std::uint16_t tfc_padding = kOff;  ///< inner packets are padded to so many bytes (RFC 4303 §2.7); kByMtu: to the effective MTU
  std::chrono::milliseconds dummy_interval{0};  ///< a packet that carries nothing is sent so often (RFC 4303 §2.6); 0: none is
  SpreadCrypto spread = SpreadCrypto::No;
  friend bool operator==(const PacketRules&, const PacketRules&) = default;
};

/// Whether what came out of another process is in range.
constexpr bool valid(const PacketRules& r) {
  return r.df <= CopyDf::Set && r.ecn <= CopyEcn::Yes && r.dscp <= CopyDscp::Yes && r.cut <= CutWhen::After &&
         r.spread <= SpreadCrypto::Yes &&
         (r.dummy_interval.count() == 0 || (r.dummy_interval >= PacketRules::kMinDummy && r.dummy_interval <= PacketRules::kMaxDummy));
}

}  // namespace culvert

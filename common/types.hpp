// Numbers that mean one thing. Owns the strong integer types that both planes share; knows nothing of any wire format.
// Values are in host byte order everywhere; the codecs are the only places that swap.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace culvert {

/// An integer with a meaning of its own: no arithmetic, no conversion that is not spelled out.
template <class Tag, class Rep>
struct Strong {
  using rep = Rep;
  Rep value{};
  friend constexpr auto operator<=>(const Strong&, const Strong&) = default;
  explicit constexpr operator bool() const { return value != Rep{}; }
};

using Spi = Strong<struct SpiTag, std::uint32_t>;              ///< RFC 4303 §2.1; 0 means "none", 1-255 are reserved.
using IkeSpi = Strong<struct IkeSpiTag, std::uint64_t>;        ///< RFC 7296 §3.1; the "cookie" of RFC 2408 §3.1.
using MessageId = Strong<struct MessageIdTag, std::uint32_t>;  ///< RFC 2408 §3.1.
using PolicyId = Strong<struct PolicyIdTag, std::uint32_t>;    ///< Index of an SPD entry in the data plane, from 1.

/// A routing table of its own, with its own addresses and policies (VRF): the same address in two of them is two hosts. Numbered as the
/// configuration lists them, behind the default one.
using VrfId = std::uint8_t;
inline constexpr VrfId kDefaultVrf = 0;
inline constexpr std::size_t kMaxVrfs = 64;  ///< the default one included

enum class Direction : std::uint8_t { Inbound = 0, Outbound = 1 };

}  // namespace culvert

template <class Tag, class Rep>
struct std::hash<culvert::Strong<Tag, Rep>> {
  std::size_t operator()(const culvert::Strong<Tag, Rep>& s) const noexcept { return std::hash<Rep>{}(s.value); }
};

// Fragmentation of IKE messages as Cisco and Microsoft do it ([MS-IKEE] §2.2.1; payload 132, vendor id FRAGMENTATION): a message too long
// for the path is cut into pieces, each a message of its own with the header of the whole and one fragment payload.
// Owns the cutting and the putting together, and the bounds of both. Nothing in a fragment is authenticated: only the whole can be.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes.hpp"
#include "common/net/ip.hpp"
#include "control/ike/engine_types.hpp"
#include "control/ike/header.hpp"

namespace culvert::ikev1 {

inline constexpr std::uint8_t kFragmentPayload = 132;
inline constexpr std::size_t kMaxFragments = 16;       ///< of a message: certificates of 16 KB at the smallest size that is usual
inline constexpr std::size_t kMaxReassembled = 32768;  ///< bytes of a message: twice what sixteen fragments of an Ethernet frame hold
inline constexpr auto kFragmentLife = std::chrono::seconds{30};
inline constexpr std::size_t kMaxFirstSets = 64;         ///< messages that have no SA yet and are being put together, in all ...
inline constexpr std::size_t kMaxFirstSetsOfSource = 2;  ///< ... and of one address

///  |  Fragment ID (16)  | Fragment Number (8) |  Flags (8): 1 the last one  |  data ...
struct Fragment {
  std::uint16_t id = 0;
  std::uint8_t number = 0;  ///< from 1
  bool last = false;
  ByteView data;  ///< at least one byte
};
/// The one payload of a message whose next payload is 132. The view points into the datagram.
Parsed<Fragment> parse_fragment(ByteView body);

/// The message in fragments whose messages are at most `limit` bytes long; empty: kMaxFragments are not enough, or none is needed.
/// `id` is of the message: the same when it is sent again, so that what arrived of it before still counts.
std::vector<Bytes> cut_message(ByteView message, std::size_t limit, std::uint16_t id);

/// One message in the making.
class FragmentSet {
 public:
  /// The whole message when this was the missing fragment; then the set is empty again. Error: what is wrong, and the set is dropped.
  /// A fragment of another message takes the place of what was there; a copy changes nothing.
  std::expected<std::optional<Bytes>, std::string> add(ike::TimePoint now, const Fragment& fragment);
  /// When it is given up; nullopt: it is empty.
  [[nodiscard]] std::optional<ike::TimePoint> deadline() const;
  void expire(ike::TimePoint now);

 private:
  void clear();
  std::uint16_t id_ = 0;
  std::map<std::uint8_t, Bytes> parts_;
  std::uint8_t last_ = 0;  ///< number of the last one; 0: not seen
  std::size_t bytes_ = 0;
  ike::TimePoint since_{};
};

/// Sets of strangers that have no SA: fragments of first messages.
class FirstFragments {
 public:
  /// As FragmentSet::add; also an error when there is no room.
  std::expected<std::optional<Bytes>, std::string> add(ike::TimePoint now, const Endpoint& source, IkeSpi spi_i, const Fragment& fragment);
  [[nodiscard]] std::size_t size() const { return sets_.size(); }

 private:
  using Key = std::pair<Endpoint, IkeSpi>;
  std::map<Key, FragmentSet> sets_;
};

}  // namespace culvert::ikev1

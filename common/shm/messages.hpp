// THE CONTRACT between the planes: every message that crosses the shared-memory rings.
// Owns layouts only. Messages are fixed-size, trivially copyable, pointer-free; a change here changes the layout hash
// (segment.hpp), and the planes then refuse to attach to each other.
//
//     culvertd -> data plane   command ring   InstallPolicy RemovePolicy PoliciesComplete InstallSa RemoveSa MoveSa SkipNumbers
//                                             TracePacket Capture: each answered by an Ack
//     data plane -> culvertd   event ring     Ack Acquire Expire Moved Traced
//     data plane -> culvertd   punt ring      Datagram   UDP 500/4500 (non-ESP) for an own address
//     culvertd -> data plane   inject ring    Datagram   to be sent from an own address
//     each worker -> culvertd  capture ring   Captured   copies, while a Capture is on
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "common/ipsec/algorithms.hpp"
#include "common/ipsec/packet_rules.hpp"
#include "common/ipsec/selector.hpp"
#include "common/net/ip.hpp"
#include "common/shm/path.hpp"
#include "common/types.hpp"

namespace culvert::shm {

inline constexpr std::uint32_t kContractVersion = 18;
inline constexpr std::size_t kNameBytes = 64;      ///< "connection/child" or a policy's name, NUL-padded, cut if longer
inline constexpr std::size_t kMaxEncrKey = 36;     ///< AES-256 with a salt of 4
inline constexpr std::size_t kMaxIntegKey = 64;    ///< HMAC-SHA2-512
inline constexpr std::size_t kMaxDatagram = 9216;  ///< UDP payload of a jumbo frame
/// PolicyId is 1..kMaxPolicies. The first kConfiguredPolicies are for what the configuration says, the others for what peers come to
/// have at run time. For a change of the former an SPD of all of those is built, beside the packet path; one of the latter costs the same
/// always.
inline constexpr std::uint32_t kMaxPolicies = 16384, kConfiguredPolicies = 4096;

enum class MessageType : std::uint16_t {
  None = 0,
  InstallPolicy,
  RemovePolicy,
  InstallSa,
  RemoveSa,
  Ack,
  Acquire,
  Expire,
  PoliciesComplete,
  MoveSa,
  Moved,
  TracePacket,
  Traced,
  Capture,
  SkipNumbers
};

/// NUL-padded text of fixed size; longer input is cut.
struct Name {
  std::array<char, kNameBytes> text{};
  Name() = default;
  explicit Name(std::string_view s) { std::copy_n(s.begin(), std::min(s.size(), kNameBytes - 1), text.begin()); }
  [[nodiscard]] std::string_view view() const { return {text.data(), ::strnlen(text.data(), kNameBytes)}; }
};

enum class PolicyAction : std::uint8_t { Discard = 0, Bypass, Protect };

/// An SPD entry for both directions (RFC 4301 §4.4.1): outbound it selects local -> remote, inbound remote -> local.
/// Of the entries that match a packet the one with the smallest `priority` wins; equal ones: the smaller `order`, then the youngest. An
/// entry that is there, and is installed again, stays as old as it is: a culvertd that starts anew knows no ages.
/// One with a `tunnel` selects by route instead: packets that no other entry protects or discards, and whose way leads into the data
/// plane's tunnel interface of this name; NotFound: there is none. Its selectors are for all that can be routed there, so that SAs that
/// admit less are told apart.
/// A Protect entry without an outbound SA drops what it selects and, with `acquire`, reports it (at most once a second).
struct InstallPolicy {
  static constexpr MessageType kType = MessageType::InstallPolicy;
  PolicyId policy;
  std::uint32_t priority = 0;
  PolicyAction action{};
  bool acquire = false;
  TrafficSelector local_ts, remote_ts;
  Name name;
  std::uint32_t order = 0;  ///< of equal priority
  Name tunnel{};
  VrfId vrf = kDefaultVrf;  ///< whose packets it selects; that of the tunnel
  MoreSelectors more{};     ///< it selects what any local and any remote selector of one family and protocol do
};
struct RemovePolicy {
  static constexpr MessageType kType = MessageType::RemovePolicy;
  PolicyId policy;
};

/// All policies have been sent: those that were not, since culvertd attached, are removed. Until the first of these in its life the
/// data plane forwards nothing: a part of the policies may let out in clear what the rest protects. NoMemory: policies of this
/// attachment were lost, so that it goes on forwarding nothing.
struct PoliciesComplete {
  static constexpr MessageType kType = MessageType::PoliciesComplete;
  std::uint32_t reserved = 0;
};

/// culvertd's handle for a peer that has SAs beside those of other peers of the same child; zeros: the child's only one.
using PeerTag = std::array<std::uint8_t, 16>;

/// Limits of one SA; 0 means none. Seconds count from installation.
struct Lifetime {
  std::uint64_t seconds = 0, bytes = 0, packets = 0;
};

/// One IPsec SA, ready to run (RFC 4301 §4.4.2). `slot` is an index into the SA table of its direction; an inbound SPI's low
/// bits are its slot (`spi.value & (capacity - 1)`). A slot that is occupied by another SPI is refused (Busy), the same
/// SPI again is refused (Exists): a key is never installed twice, since its sequence numbers would start again.
/// An outbound SA becomes the current one of `policy` at once; the one before it stays installed until removed. One with a `worker` becomes
/// that worker's current one, before what is for all.
struct InstallSa {
  static constexpr MessageType kType = MessageType::InstallSa;
  Direction direction{};
  std::uint32_t slot = 0;
  Spi spi;
  PolicyId policy;
  Endpoint local, remote;  ///< outer addresses, both of the outer VRF; ports 0: native ESP (protocol 50), else UDP-encapsulated (RFC 3948),
                           ///< where local port 500 means behind a non-IKE marker of eight zero bytes
  TrafficSelector local_ts, remote_ts;        ///< of our side and theirs, whatever the direction
  EspSuite suite;                             ///< its group means nothing here
  SaMode mode = SaMode::Tunnel;               ///< of Transport the selectors are inside of the outer addresses
  IpAddress original_local, original_remote;  ///< transport mode behind NAT: what checksums were made over (RFC 3948 §3.1.2); or none
  std::uint8_t encr_key_bytes = 0;            ///< cipher key and salt, in KEYMAT order
  std::uint8_t integ_key_bytes = 0;           ///< with the salt of GMAC behind the key
  std::array<std::uint8_t, kMaxEncrKey> encr_key{};
  std::array<std::uint8_t, kMaxIntegKey> integ_key{};
  std::uint16_t replay_window = 64;  ///< packets; 32..8192, a power of two; inbound only
  bool follow = false;               ///< inbound in UDP: the peer is behind a NAT, and authentic packets may come from anywhere (see Moved)
  PacketRules rules;                 ///< padding is for ESP in tunnel mode
  Lifetime soft, hard;
  std::uint64_t pair = 0;   ///< the same number on both SAs of a pair: culvertd's handle, kept for its successor
  PeerTag peer{};           ///< kept for its successor, too
  Name name;                ///< "connection/child"
  VrfId vrf = kDefaultVrf;  ///< of the packets inside: that of `policy`; in transport mode the outer one
  MoreSelectors more{};     ///< what it carries, too; the first two are of one family
  static constexpr std::uint16_t kAnyWorker = 0xffff;
  std::uint16_t worker = kAnyWorker;  ///< who owns it, and outbound whose packets alone it is for (RFC 9611); kAnyWorker: it is for all,
                                      ///< and its slot says who owns it
};
struct RemoveSa {
  static constexpr MessageType kType = MessageType::RemoveSa;
  Direction direction{};
  std::uint32_t slot = 0;
  Spi spi;  ///< must be the slot's, else NotFound
};

/// An SA is between other outer addresses from now on, with its keys and its sequence numbers (RFC 4555 §3.5). With `local` as in
/// InstallSa, ports included: of tunnel mode only. Without an address in `local` it is an outbound one in UDP that sends to `remote`, and
/// all else stays. BadMessage: the SA cannot be there.
struct MoveSa {
  static constexpr MessageType kType = MessageType::MoveSa;
  std::uint32_t slot = 0;
  Spi spi;  ///< must be the slot's, else NotFound
  Endpoint remote;
  Endpoint local{};
  Direction direction = Direction::Outbound;
  bool follow = false;  ///< as in InstallSa
};

/// Sequence numbers of an SA that no packet has (RFC 6311). Outbound: the next packet's is so much higher; an SA whose numbers are used up
/// by it has come to its end, as by packets. Inbound: the peer leaves out so many, which are not lost. BadMessage: more than kMost.
struct SkipNumbers {
  static constexpr MessageType kType = MessageType::SkipNumbers;
  static constexpr std::uint64_t kMost = std::uint64_t{1} << 48;
  std::uint32_t slot = 0;
  Spi spi;  ///< must be the slot's, else NotFound
  std::uint64_t count = 0;
  Direction direction = Direction::Outbound;
};

enum class AckResult : std::uint16_t { Ok = 0, Exists, Busy, NotFound, Unsupported, BadMessage, NoMemory };
constexpr std::string_view to_string(AckResult r) {
  constexpr std::array<std::string_view, 7> names{"ok", "exists", "busy", "not_found", "unsupported", "bad_message", "no_memory"};
  const auto i = static_cast<std::size_t>(r);
  return i < names.size() ? names[i] : "unknown";
}
struct Ack {
  static constexpr MessageType kType = MessageType::Ack;
  std::uint32_t transaction = 0;  ///< of the command that it answers
  AckResult result{};
};
/// A packet wanted a policy's SA and found none.
struct Acquire {
  static constexpr MessageType kType = MessageType::Acquire;
  PolicyId policy;
  IpAddress source, destination;  ///< of the packet
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint8_t protocol = 0;
};
enum class ExpireCause : std::uint8_t { Time = 0, Bytes, Packets, Sequence };
/// A soft limit was passed (once an SA), or a hard one: then the SA carries nothing any more, and waits for its RemoveSa.
struct Expire {
  static constexpr MessageType kType = MessageType::Expire;
  Direction direction{};
  bool hard = false;
  ExpireCause cause{};
  std::uint32_t slot = 0;
  Spi spi;
};

/// An inbound SA with `follow` took in an authentic packet, newer than all before, from another address (RFC 3947 §4, RFC 3948 §4):
/// the outbound SA of its pair sends to there by now. An older packet, or a copy, moves nothing.
struct Moved {
  static constexpr MessageType kType = MessageType::Moved;
  std::uint32_t slot = 0;  ///< of the inbound SA
  Spi spi;
  Endpoint remote;
};

/// What would become of this packet? A question: it changes nothing, sends nothing, and takes no sequence number. Answered by a Traced
/// before its Ack. NotFound: no such SA, or no port from which such a packet would come. BadMessage: addresses
/// of two families, or shorter than its headers.
struct TracePacket {
  static constexpr MessageType kType = MessageType::TracePacket;
  static constexpr std::uint16_t kAnyPort = 0xffff;
  std::uint32_t id = 0;  ///< the asker's, echoed
  IpAddress source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint16_t length = 0;       ///< of the IP packet; at least its headers
  std::uint16_t port = kAnyPort;  ///< where it arrives; kAnyPort: where its source is routed to
  std::uint8_t protocol = 0, ttl = 64;
  std::uint8_t dont_fragment = 0;  ///< 0 or not
  std::uint8_t under_sa = 0;       ///< not 0: it came under the inbound SA of `slot` and `spi`, at whatever port
  std::uint32_t slot = 0;
  Spi spi;
  VrfId vrf = kDefaultVrf;  ///< where it arrives, unless a port or an SA says so
};
struct Traced {
  static constexpr MessageType kType = MessageType::Traced;
  std::uint32_t id = 0;
  Path path;
};

/// Copies of a tunnel's packets, from now on, in place of what was captured before. One at a time; it ends with its time, with `id` 0, and
/// with culvertd. Which copies there is no room for is counted (RingMemory::full).
struct Capture {
  static constexpr MessageType kType = MessageType::Capture;
  static constexpr std::uint8_t kOuter = 1, kInner = 2, kPath = 4;
  static constexpr std::uint32_t kMaxSeconds = 3600;
  std::uint32_t id = 0;       ///< the asker's, in each copy
  std::uint32_t every = 1;    ///< one packet in so many; 1 or more
  std::uint32_t bytes = 0;    ///< of each packet, at most; 1 to Captured::kBytes
  std::uint32_t seconds = 0;  ///< 1 to kMaxSeconds
  std::uint8_t what = 0;      ///< kOuter: as on the wire; kInner: as behind it, in clear; kPath: the ways of all of its packets
  Name name;                  ///< of the SAs: "connection/child"; "connection/" means all of its children
};

/// A ring slot for any of the above.
struct Message {
  static constexpr std::size_t kBodyBytes = 1088;
  MessageType type{};
  std::uint16_t reserved = 0;
  std::uint32_t transaction = 0;  ///< chosen by the sender of a command, echoed in its Ack; 0 in other events
  alignas(8) std::array<std::byte, kBodyBytes> body{};

  template <class T>
  static Message of(const T& value, std::uint32_t transaction = 0) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kBodyBytes);
    Message m;
    m.type = T::kType;
    m.transaction = transaction;
    std::memcpy(m.body.data(), static_cast<const void*>(&value), sizeof(T));
    return m;
  }
  /// The body as T. `type` must be T::kType.
  template <class T>
  [[nodiscard]] T as() const {
    T value;
    std::memcpy(static_cast<void*>(&value), body.data(), sizeof(T));
    return value;
  }
};

/// A UDP datagram on its way to or from culvertd: the UDP payload as on the wire (with the non-ESP marker on port 4500).
struct Datagram {
  Endpoint local, remote;    ///< both of the VRF by which it came in, or is to leave
  std::uint32_t length = 0;  ///< of `data` in use; checked against kMaxDatagram by the reader
  std::uint8_t heard = 0;    ///< punt: 1: a first message with a cookie of the data plane's, whose sender hears what is sent there
  std::array<std::uint8_t, kMaxDatagram> data;
};

/// A copy of a packet of an SA, from its IP header on.
struct Captured {
  static constexpr std::uint32_t kBytes = 2000;
  std::uint32_t capture = 0;  ///< Capture::id
  std::uint32_t length = 0;   ///< of the packet
  std::uint32_t bytes = 0;    ///< of `data` in use; checked against kBytes by the reader
  std::uint32_t slot = 0;
  Spi spi;
  std::uint16_t port = 0;  ///< of an outer packet: where it came in, or leaves
  std::uint16_t worker = 0;
  std::uint64_t time_ns = 0;  ///< CLOCK_MONOTONIC
  std::uint64_t number = 0;   ///< the outer and the inner copy of one packet have the same; counts up in each worker
  Direction direction{};
  std::uint8_t what = 0;  ///< Capture::kOuter or kInner; kPath: `data` holds a Path
  std::array<std::uint8_t, kBytes> data;
};
static_assert(sizeof(Path) <= Captured::kBytes);

}  // namespace culvert::shm

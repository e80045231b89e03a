// The arithmetic of counter synchronisation (RFC 6311 §5): what a side that may be behind proposes, what the other one answers, and what
// is believed of either. Owns the two notifications' contents and what an IKE SA remembers of them; sends nothing.
//
//   M1  the next ID of the requester's own requests, as it proposes      P1  the next one that it expects of the other side
//   M2  the same as the answer has it: M1 or higher                      P2  the next ID of the other side's own: P1 or higher
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "common/bytes.hpp"
#include "control/ike/reasons.hpp"

namespace culvert::ikev2 {

using ike::TimePoint;

inline constexpr std::size_t kSyncNonceBytes = 4;
/// An IKE SA that has come so far is replaced, not synchronised: no ID may ever come again (RFC 7296 §2.2).
inline constexpr std::uint32_t kMaxSyncId = 0xffff0000;
/// More packets than this an SA does not have to send.
inline constexpr std::uint64_t kMaxSyncDelta = std::uint64_t{1} << 48;

/// IKEV2_MESSAGE_ID_SYNC: both numbers as whoever says it sees them.
struct SyncNumbers {
  Bytes nonce;             ///< 4 bytes: the requester's, which comes back
  std::uint32_t send = 0;  ///< EXPECTED_SEND_REQ_MESSAGE_ID: M1, or P2
  std::uint32_t recv = 0;  ///< EXPECTED_RECV_REQ_MESSAGE_ID: P1, or M2
};
Bytes encode_sync(const SyncNumbers& numbers);
std::optional<SyncNumbers> read_sync(ByteView data);

/// IPSEC_REPLAY_COUNTER_SYNC: so many sequence numbers the other side is to leave out. 8 bytes where there are extended ones.
Bytes encode_delta(std::uint64_t delta, bool extended);
/// nullopt: neither 4 nor 8 bytes, or more than can be.
std::optional<std::uint64_t> read_delta(ByteView data);

/// Our request under way.
struct OwnSync {
  SyncNumbers asked;        ///< of the latest attempt: an answer to an earlier one has another nonce
  std::uint64_t delta = 0;  ///< 0: sequence numbers are left alone
  unsigned attempts = 0;
  TimePoint next_at{};  ///< when the next attempt is due, or all of it given up
};

/// How often something may happen: so often in a row, and once in so long.
class SyncBudget {
 public:
  bool take(TimePoint now);

 private:
  TimePoint at_{};
  double left_ = 8;
};

/// What an IKE SA has of it.
struct Synchronizing {
  bool ids = false, replay = false;            ///< both sides can
  std::optional<std::uint32_t> highest_m1{};   ///< of the peer's requests that were taken
  std::optional<std::uint32_t> highest_own{};  ///< M1 of ours
  std::optional<OwnSync> own{};
  std::optional<TimePoint> in_doubt{};  ///< since when: the peer may have taken a request of ours, all of whose answers are lost
  TimePoint quiet_until{};              ///< before that, none of ours begins
  SyncBudget budget{};                  ///< of the peer's
};

/// The message IDs of an IKE SA, seen from here.
struct MessageIds {
  std::uint32_t next_send = 0;      ///< of our next request: higher than any that was used
  std::uint32_t next_expected = 0;  ///< of the peer's: higher than any that has come, the one at work included
};

/// What we propose, `attempt` from 0. Who keeps silent has seen M1 before, so each attempt goes further; no M1 is proposed twice.
/// nullopt: there are no IDs left.
std::optional<SyncNumbers> propose_sync(const MessageIds& ids, const Synchronizing& sync, unsigned attempt, Bytes nonce);
/// What the peer's request is answered with; else why it is dropped without a word. The IDs are those of the answer then.
std::expected<SyncNumbers, std::string> answer_sync(const MessageIds& ids, const Synchronizing& sync, const SyncNumbers& asked);
/// The IDs as they are after an answer; else why it is dropped.
std::expected<MessageIds, std::string> take_sync_answer(const MessageIds& ids, const OwnSync& own, const SyncNumbers& answer);

}  // namespace culvert::ikev2

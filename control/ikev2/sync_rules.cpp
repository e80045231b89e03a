#include "control/ikev2/sync_rules.hpp"

#include <algorithm>
#include <array>
#include <chrono>

namespace culvert::ikev2 {

namespace {
constexpr double kSyncBurst = 8, kSyncPerSecond = 0.2;
/// How far behind we may be in each attempt.
constexpr std::array<std::uint32_t, 5> kAhead{1, 16, 256, 4096, 65536};

bool used_up(std::uint32_t a, std::uint32_t b) { return std::max(a, b) > kMaxSyncId; }
}  // namespace

Bytes encode_sync(const SyncNumbers& numbers) {
  Writer w;
  w.bytes(numbers.nonce);
  w.be(numbers.send);
  w.be(numbers.recv);
  return Bytes(w.view().begin(), w.view().end());
}

std::optional<SyncNumbers> read_sync(ByteView data) {
  if (data.size() != kSyncNonceBytes + 8) return std::nullopt;
  SyncNumbers out;
  out.nonce.assign(data.begin(), data.begin() + kSyncNonceBytes);
  Reader r(data.subspan(kSyncNonceBytes));
  out.send = r.be<std::uint32_t>();
  out.recv = r.be<std::uint32_t>();
  return r.ok() ? std::optional(std::move(out)) : std::nullopt;
}

Bytes encode_delta(std::uint64_t delta, bool extended) {
  Writer w;
  if (extended)
    w.be(delta);
  else
    w.be(static_cast<std::uint32_t>(std::min<std::uint64_t>(delta, 0xffffffff)));
  return Bytes(w.view().begin(), w.view().end());
}

std::optional<std::uint64_t> read_delta(ByteView data) {
  Reader r(data);
  const std::uint64_t delta = data.size() == 4 ? r.be<std::uint32_t>() : data.size() == 8 ? r.be<std::uint64_t>() : kMaxSyncDelta + 1;
  return r.ok() && delta <= kMaxSyncDelta ? std::optional(delta) : std::nullopt;
}

bool SyncBudget::take(TimePoint now) {
  if (at_ != TimePoint{}) left_ = std::min(kSyncBurst, left_ + std::chrono::duration<double>(now - at_).count() * kSyncPerSecond);
  at_ = now;
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

std::optional<SyncNumbers> propose_sync(const MessageIds& ids, const Synchronizing& sync, unsigned attempt, Bytes nonce) {
  const std::uint32_t known = std::max(ids.next_send, sync.highest_own.value_or(0));
  const std::uint64_t m1 = std::uint64_t{known} + kAhead[std::min<std::size_t>(attempt, kAhead.size() - 1)];
  if (m1 > kMaxSyncId || ids.next_expected > kMaxSyncId) return std::nullopt;  // the other side would not take it either
  return SyncNumbers{std::move(nonce), static_cast<std::uint32_t>(m1), ids.next_expected};
}

std::expected<SyncNumbers, std::string> answer_sync(const MessageIds& ids, const Synchronizing& sync, const SyncNumbers& asked) {
  const std::uint32_t m1 = asked.send, p1 = asked.recv;
  // RFC 6311 §5.1: not higher than anything seen of the peer, requests for synchronisation included.
  if (m1 < ids.next_expected || (sync.highest_m1 && m1 <= *sync.highest_m1))
    return std::unexpected("its message ID " + std::to_string(m1) + " was seen before: it is old, or a copy of an old one");
  if (used_up(m1, p1)) return std::unexpected("no message IDs would be left");
  // Our own request under way proposes numbers, too: none of them goes back.
  const std::uint32_t ours = sync.own ? sync.own->asked.send : 0, theirs = sync.own ? sync.own->asked.recv : 0;
  return SyncNumbers{asked.nonce, std::max({p1, ids.next_send, ours}), std::max({m1, ids.next_expected, theirs})};
}

std::expected<MessageIds, std::string> take_sync_answer(const MessageIds& ids, const OwnSync& own, const SyncNumbers& answer) {
  const std::uint32_t p2 = answer.send, m2 = answer.recv;
  if (answer.nonce != own.asked.nonce) return std::unexpected("its nonce is not that of our request");
  if (m2 < own.asked.send || p2 < own.asked.recv) return std::unexpected("it goes back behind the message IDs that we proposed");
  if (used_up(m2, p2)) return std::unexpected("no message IDs would be left");
  return MessageIds{std::max(ids.next_send, m2), std::max(ids.next_expected, p2)};
}

}  // namespace culvert::ikev2

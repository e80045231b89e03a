// A window of more than one request (RFC 7296 §2.3): what the peer may ask before it has our answer to what it has asked before.
// Owns what comes before its turn, what was answered and may be asked for again, and what a request says of the answers that its sender
// has. Opens no message and answers none.
//
//   IKE_AUTH, CREATE_CHILD_SA for an IKE SA    N(SET_WINDOW_SIZE, 5)      we take in 5 requests at once under the IKE SA that this makes
//
//   peer                                  here
//   HDR(8), SK {..}   --> lost
//   HDR(10), SK {..}  -->                 waits
//   HDR(9), SK {..}   -->                 waits
//   HDR(8), SK {..}   -->                 <-- HDR(8), HDR(9), HDR(10)      one after the other, as they were meant
//
// What has come too early waits for its turn; it is not answered out of order, though the RFC would have that where a message is lost. What
// a request is about is what the ones before have made or deleted, each of these may be the rekeying of the IKE SA itself, and one that is
// answered cannot be taken back. The peer loses the time that it needs to send the lost one again, as it must in any case: without an
// answer to that the IKE SA ends.
//
// An IKE SA begins with a window of 1, a rekeyed one, too, until it is said otherwise: what we say in the exchange that makes it is about
// the new one. What the peer says is not heeded: we ask one thing at a time.
#pragma once

#include <optional>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// Of what waits for its turn, whole or in fragments: an insider who leaves out the request that is due gets no more than this.
inline constexpr std::size_t kMaxEarlyBytes = 128UL * 1024;

/// SET_WINDOW_SIZE, if it is more than the 1 that it is without.
void add_window(const Core& core, const IkeSa& sa, Builder& out);
/// The exchange in which we have said so is over.
void open_window(const Core& core, IkeSa& sa);

/// What of ours answers the request with this ID, as long as we keep it; nullopt: none.
struct Repeatable {
  const Datagrams& answer;
  std::size_t print = 0;  ///< of the request
  unsigned& repeats;
};
std::optional<Repeatable> answer_to(IkeSa& sa, std::uint32_t id);
/// This request is the one at work from now on.
void take_up(IkeSa& sa, std::uint32_t id, std::size_t print, const Path& by);
/// Answered up to this one, which is due.
void go_on_to(IkeSa& sa, std::uint32_t next);

/// Whether a request with this ID may come before the one that is due.
[[nodiscard]] bool may_wait(const IkeSa& sa, std::uint32_t id);
/// Whether so many bytes more of it may.
[[nodiscard]] bool has_room(const IkeSa& sa, std::size_t bytes);
/// The highest ID of those that have come; `id`: one that has.
[[nodiscard]] std::uint32_t highest(const IkeSa& sa, std::uint32_t id);
/// The one whose turn it is, if it is here, and none is at work.
std::optional<Early> next_early(IkeSa& sa);

/// The ID by which the peer shows that it has our answer to this one: it sends no more requests than we have said without having our answer
/// to the first of them.
[[nodiscard]] std::uint32_t shows_answer(const IkeSa& sa, std::uint32_t id);
/// ... of an answer under an IKE SA that was rekeyed: no request under the new one says whether it came.
inline constexpr std::uint32_t kShownByNone = 0xffffffff;

}  // namespace culvert::ikev2

// From what the configuration wants to what there is: when an IKE SA or a CHILD SA is begun, replaced, removed, tried again.
// Owns these decisions for all connections of IKEv2, and the order of an SA's own requests.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

inline std::optional<TimePoint> earliest(std::optional<TimePoint> a, std::optional<TimePoint> b) {
  if (!a) return b;
  return b ? std::min(*a, *b) : a;
}
/// ike.retry_delay, doubled for each failure after the first, to a minute.
std::chrono::nanoseconds backoff(Core& core, unsigned failures);

// -------------------------------------------------------------------------------------------- IKE SAs

/// The peer has proved to be `identity`.
void established(Core& core, TimePoint now, IkeSa& sa, std::string identity, std::optional<PeerKey> key);
/// It, and all that is under it, is gone at once; nobody is told.
void discard(Core& core, TimePoint now, IkeSa& sa);
/// Tells the peer first: the CHILD SAs end here and now, the IKE SA when the peer has answered.
void close_sa(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text);
/// The peer has this SA no more, and cannot be told: what is under it ends, and begins anew as dpd_action has it.
struct Loss {
  Exchange exchange{};
  Reason reason{};
  std::string text, child_text;
  std::optional<std::size_t> child{};  ///< that the exchange was about
  Cause cause{};
};
void lose_peer(Core& core, TimePoint now, IkeSa& sa, Loss loss);
void on_established_timer(Core& core, TimePoint now, IkeSa& sa);
[[nodiscard]] std::optional<TimePoint> established_deadline(const Core& core, const IkeSa& sa);
/// The one for new exchanges of a connection; nullptr: none is established.
IkeSa* current_sa(Core& core, std::size_t connection);

/// Where both sides have begun at once: two SAs for the same thing. The one with the lower SPI of its initiator stays; whoever began the
/// other one moves what is under it to that one, and deletes it.
void note_twins(Core& core, TimePoint now, IkeSa& sa);
void resolve_twins(Core& core, TimePoint now, IkeSa& sa);
/// Whether the other one is there, and the peer has it for certain: then no connection ends with this one.
[[nodiscard]] bool has_twin(Core& core, const IkeSa& sa);

// -------------------------------------------------------------------------------------------- requests

/// Behind those that wait already, once.
void add_task(Core& core, IkeSa& sa, const Task& task);
/// The peer deletes what it has rekeyed: it knows what stands in its place, and answers there what it has not answered here.
void confirm_heir(Core& core, IkeSa& sa);
/// Begins the next request if none is under way.
void advance(Core& core, TimePoint now, IkeSa& sa);
/// The pair is to go, and the peer told.
void delete_child(Core& core, IkeSa& sa, Child& child, Reason reason);

// -------------------------------------------------------------------------------------------- what is wanted

/// Begins what the connection wants and can begin now; else notes when to look again.
void drive(Core& core, TimePoint now, std::size_t connection);
[[nodiscard]] std::optional<TimePoint> run_deadline(const Core& core, std::size_t connection);
/// Whether a pair of the child is under way under this SA.
[[nodiscard]] bool makes(const IkeSa& sa, std::size_t child);
/// We send by the pair: it has the place of what a former culvertd left.
void forget_orphans(Core& core, TimePoint now, const IkeSa& sa, std::size_t child);
void end_orphans(Core& core, ChildRun& child);

}  // namespace culvert::ikev2

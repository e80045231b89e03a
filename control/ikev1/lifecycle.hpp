// From what the configuration wants to what there is: when an ISAKMP SA or a pair is begun, replaced, removed, tried again.
// Owns these decisions for all connections; sends no exchange's messages itself (exchange_*.hpp) but Deletes.
//
// Two rules keep traffic going whatever the two sides do at the same time:
//   - only the initiator of a pair removes the pairs that it replaces (those that it knew when it began), after a grace time; the
//     responder keeps them until told, or until they are long forgotten;
//   - where both sides made a pair at once, neither is removed: after a while one side replaces both by a third.
// For ISAKMP SAs, which carry no traffic, the initiator of the one with the higher cookie removes it.
#pragma once

#include "control/ike/lifetimes.hpp"
#include "control/ikev1/core.hpp"
#include "control/ikev1/selectors.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

// -------------------------------------------------------------------------------------------- times

using ike::Lifetimes3;
using ike::Schedule;
using ike::schedule;
/// The shorter of ours and the peer's (0: not stated), for the data plane.
void settle_life(Core& core, const IsakmpSa& sa, std::size_t child, Life& life);
std::string suites_text(const config::Connection& c);

// -------------------------------------------------------------------------------------------- events of ISAKMP SAs

void main_mode_established(Core& core, TimePoint now, IsakmpSa& sa);
/// XAuth and Mode Config are done, or not asked for: the SA takes the place of those that it replaces.
void access_opened(Core& core, TimePoint now, IsakmpSa& sa);
/// An attempt of ours ended without an SA. `replaces`: those that it was to replace.
void connecting_failed(Core& core, TimePoint now, std::size_t connection, const std::vector<SaId>& replaces);
/// A fresh, verified message came: the peer lives, and lives there (RFC 3947 §4).
void heard_from(Core& core, const Incoming& in, IsakmpSa& sa);
/// Authentic traffic of a pair came from another address: all that leads to the peer follows.
void pair_moved(Core& core, const ike::PairMoved& moved);
void peer_deleted_isakmp(Core& core, TimePoint now, IsakmpSa& sa);
void peer_is_dead(Core& core, TimePoint now, IsakmpSa& sa);
/// INITIAL-CONTACT (RFC 2407 §4.6.3.3): other ISAKMP SAs with the same pair of identities end. Their pairs stay for a grace time,
/// and for good if traffic shows that the peer still has them: somebody who repeats the notification gains nothing.
void peer_restarted(Core& core, TimePoint now, IsakmpSa& sa);
/// Whether another established ISAKMP SA of this connection and peer is newer.
bool newer_isakmp(Core& core, const IsakmpSa& sa);
/// Whether two ISAKMP SAs of one peer's making serve it for different things, as where it has a connection for each of our children:
/// they are of different lines, and each line has live pairs.
bool stand_beside(const Core& core, const IsakmpSa& a, const IsakmpSa& b);
/// Sends a Delete for it and keeps it as a memory that answers latecomers. `pairs`: inbound SPIs whose Delete goes along, lest a
/// peer that gets this message before theirs takes the pairs for alive (the first payload is the only one that some peers read).
void close_isakmp(Core& core, TimePoint now, IsakmpSa& sa, Reason reason, const std::string& message,
                  const std::vector<SaName>& pairs = {});
void repeat_delete(Core& core, TimePoint now, IsakmpSa& sa);
void on_established_timer(Core& core, TimePoint now, IsakmpSa& sa);
[[nodiscard]] std::optional<TimePoint> established_deadline(Core& core, const IsakmpSa& sa);

// -------------------------------------------------------------------------------------------- events of pairs

/// The peer has (initiator) or will have (responder) its half: install ours outbound, and take the place of what it replaces.
void pair_ready(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, PendingPair& pending);
void on_outbound_installed(Core& core, TimePoint now, const JobOwner& owner, bool ok, const std::string& error);
/// The peer asked for message 3 again: it still sends on the old pair.
void linger(Core& core, TimePoint now, IsakmpSa& sa, const QuickMode& qm);
/// As a Delete names it.
inline SaName inbound_name(const ChildSa& pair) { return {pair.spi_in, pair.suite.protocol, pair.line}; }
[[nodiscard]] inline bool live(const ChildSa& pair) { return std::holds_alternative<ChildLive>(pair.life); }
[[nodiscard]] inline bool same_selectors(const ChildSa& a, const ChildSa& b) {
  return a.local_ts == b.local_ts && a.remote_ts == b.remote_ts;
}
void child_failed(Core& core, TimePoint now, std::size_t connection, std::size_t child);
/// Whether all that the old pair carries can go by the new one.
[[nodiscard]] inline bool covers(const ChildSa& pair, const ChildSa& old) {
  return pair.local_ts.contains(old.local_ts) && pair.remote_ts.contains(old.remote_ts);
}
/// Whether no newer pair carries what this one does: then it is the one to be replaced in time. A wide child has several of them where
/// the peer has asked for several parts of it.
[[nodiscard]] bool is_latest(const ChildRun& run, const ChildSa& pair);
/// Whether a pair of a former culvertd is there: it carries traffic that ends with it, so its successor is tried for again and again.
[[nodiscard]] bool has_orphan(const ChildRun& run);
/// Whether a Quick Mode for this child is not over; with `old`: one that may carry on what that pair does.
[[nodiscard]] bool negotiating(Core& core, std::size_t connection, std::size_t child, const ChildSa* old = nullptr);
void peer_deleted_pair(Core& core, TimePoint now, IsakmpSa& sa, SaName outbound);
/// Tells the peer that these inbound SAs of ours are gone: under the ISAKMP SA of their line, or whatever other there is.
/// Nobody acknowledges that, so it is said a few times (farewells.cpp), while an ISAKMP SA with the peer is there.
void tell_deleted(Core& core, TimePoint now, std::size_t connection, const std::vector<SaName>& pairs);
void tell_deleted_again(Core& core, TimePoint now, std::size_t connection);
[[nodiscard]] std::optional<TimePoint> told_deadline(const ConnectionRun& run);
/// Dead-peer detection has given the peer up: with each child's pairs happens what its dpd_action says.
void pairs_of_dead_peer(Core& core, TimePoint now, std::size_t connection, const std::string& peer_id);
/// Takes both halves out of the data plane and forgets the pair.
void remove_pair(Core& core, std::size_t connection, std::size_t child, std::uint64_t pair);
/// Whether the peer has, or negotiates, so many pairs of this child that it gets none for other traffic.
[[nodiscard]] bool too_many_parts(Core& core, std::size_t connection, std::size_t child, const Selectors& asked);
/// Makes room for a Quick Mode by forgetting the oldest finished one; false: all are unfinished.
bool make_room(IsakmpSa& sa);

// -------------------------------------------------------------------------------------------- what is wanted

/// Begins what the connection wants and can begin now; else notes when to look again.
void drive(Core& core, TimePoint now, std::size_t connection);
void on_connection_timer(Core& core, TimePoint now, std::size_t connection);
[[nodiscard]] std::optional<TimePoint> connection_deadline(const Core& core, std::size_t connection);
/// The established ISAKMP SA for new exchanges: the newest that nothing is about to replace.
IsakmpSa* current_sa(Core& core, std::size_t connection);
/// The one for what the peer has made under this line: another one than the newest where it has several for different things.
IsakmpSa* sa_for(Core& core, std::size_t connection, SaId line);

}  // namespace culvert::ikev1

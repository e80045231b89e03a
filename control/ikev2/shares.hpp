// CHILD SAs for one worker each (RFC 9611): beside the pair of a child that is for all workers one more for each of them, of the same
// traffic and the same properties, so that a fat tunnel goes over all cores.
// Owns how many there are, whose each is, and when we ask for one. What this side takes for whose is its own affair: the peer is told for
// its log alone (§4).
//
// They are made at once, one after the other, behind the one for all, and not when a worker's packet first wants one: there are few, the
// number is known, and no packet has to wait or to tell. Until a worker has its own, and where the peer wants no more, the one for all
// carries its packets. Of what both sides ask for at once nothing is taken back: it goes to the worker that has the fewest (§5).
//
//   A  N(SA_RESOURCE_INFO), SA, Ni, TSi, TSr                    -->  B   for all
//   A                     <-- N(SA_RESOURCE_INFO), SA, Nr, TSi, TSr  B   it takes more; without it the peer may know nothing of this, and
//                                                                        takes more all the same
//   A  N(SA_RESOURCE_INFO, worker), SA, Ni, TSi, TSr            -->  B   the same for each worker, or
//   A                                         <-- N(TS_MAX_QUEUE)    B   no more: we do not ask again as long as there are as many
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "control/ikev2/children.hpp"

namespace culvert::ikev2 {

/// What one for a worker has in common with that for all.
struct Beside {
  EspSuite suite;
  SaMode mode = SaMode::Tunnel;
};

// -------------------------------------------------------------------------------------------- what the peer asks for

/// Beside which one the peer's wish for this part of a child is; nullopt inside: it is none for a worker.
std::expected<std::optional<Beside>, ChildRefusal> beside_which(const Core& core, const IkeSa& sa, std::size_t child,
                                                                const SelectorLists& part, const Wish& wish);
/// Those of the suites that it can have.
std::vector<EspSuite> suites_beside(std::vector<EspSuite> suites, const std::optional<Beside>& beside);
/// The worker that has the fewest.
std::uint16_t least_used(const Core& core, const IkeSa& sa, std::size_t child);
/// Whether the answer says that there may be several.
[[nodiscard]] bool answers_grouped(Core& core, const IkeSa& sa, const NewPair& pair, const Message& request);
/// What SA_RESOURCE_INFO says of it.
Bytes resource_of(const Share& share);

// -------------------------------------------------------------------------------------------- what we ask for

/// Asks for the next one that is missing, if nothing else is to be asked for.
void want_shares(Core& core, TimePoint now, IkeSa& sa);
/// When that is to be looked at again.
[[nodiscard]] std::optional<TimePoint> shares_deadline(const Core& core, const IkeSa& sa);
/// Makes the request one for this worker; false: it is wanted no more.
bool make_share(Core& core, TimePoint now, IkeSa& sa, std::uint16_t worker, MakeChild& make);
/// What we have asked for as one for all is there, and the peer's, which it asked for at the same time, was first: then ours is a worker's.
void stand_beside(Core& core, const IkeSa& sa, NewPair& pair);
/// One that we have asked for is there: the peer sends by it when we ask for the next one. Behind the last one it is asked for nothing.
void show_that_made(Core& core, IkeSa& sa, std::size_t child);
/// The peer wants no more.
void share_refused(Core& core, IkeSa& sa, const Notify& n);
void share_failed(Core& core, TimePoint now, IkeSa& sa, std::size_t child);
/// By the peer, which has no use for it at present (§4).
void share_deleted(Core& core, TimePoint now, IkeSa& sa, const Child& child);

/// A pair for all is sent by: what the workers had under an SA that the peer has forgotten would come before it.
void end_shares_before(Core& core, TimePoint now, const IkeSa& sa, std::size_t child);

/// ", for worker 2"; empty: for all.
std::string of_worker(const Share& share);

}  // namespace culvert::ikev2

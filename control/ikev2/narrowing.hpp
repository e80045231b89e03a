// Traffic selectors of a negotiation against those of a child (RFC 7296 §2.9). Owns the intersection; reads the configuration and nothing
// else.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "common/ipsec/selector.hpp"
#include "control/ikev2/selector_lists.hpp"

namespace culvert::ikev2 {

/// Responder: what of `offered` is within `ours`, in the order of ours; empty: nothing. Selectors within another one of the result are left
/// out.
std::vector<TrafficSelector> narrow(std::span<const TrafficSelector> offered, std::span<const TrafficSelector> ours);
/// Initiator: whether each selector of the reply is within one that was offered, and there is one.
bool within(std::span<const TrafficSelector> reply, std::span<const TrafficSelector> offered);
/// Without those that no packet can be for, having no partner of their family and protocol on the other side; the first of both have one in
/// each other. Empty: there is nothing.
SelectorLists paired(SelectorLists both);
/// Leaves as many as a pair of SAs can have, those that have something of these two first (RFC 7296 §2.9: they are what the peer needs
/// now). How many it has left out.
std::size_t cut(SelectorLists& both, const TrafficSelector& first_local, const TrafficSelector& first_remote);

}  // namespace culvert::ikev2

// Traffic selectors of a negotiation against those of a child (RFC 7296 §2.9). Owns the intersection; reads the configuration and nothing
// else.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "common/ipsec/selector.hpp"

namespace culvert::ikev2 {

/// Responder: what of `offered` is within `ours`, in the order of ours; empty: nothing. Selectors within another one of the result are left
/// out.
std::vector<TrafficSelector> narrow(std::span<const TrafficSelector> offered, std::span<const TrafficSelector> ours);
/// Initiator: whether each selector of the reply is within one that was offered, and there is one.
bool within(std::span<const TrafficSelector> reply, std::span<const TrafficSelector> offered);

}  // namespace culvert::ikev2

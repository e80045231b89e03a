// The selectors of a child for the peer that there is: `dynamic` is its address, and whose are whose.
// Owns the rule for peers that want the same traffic: the first one keeps it while its pair is there.
#pragma once

#include "control/ike/selectors.hpp"
#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

using ike::Selectors;

/// What the child means with the peer of this ISAKMP SA: a dynamic side is the virtual address of its run, else the outer address.
Selectors selectors_of(const Core& core, const IsakmpSa& sa, std::size_t child);
/// Whether the pairs of this run and child have an entry of the SPD of their own: other peers may have others, or the selectors are
/// not in the configuration.
bool has_own_policy(const Core& core, std::size_t run, std::size_t child);
/// Whether another peer has a pair that is not yet replaced, and some of the same traffic. Two peers of which one is a child's only
/// one are none of this: there the configuration says who comes first.
bool taken_by_another(const Core& core, const IsakmpSa& sa, std::size_t child, const Selectors& wanted);

}  // namespace culvert::ikev1

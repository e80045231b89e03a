// What the selectors of a policy come to: pairs of them, prefixes, and the rules that both the classifier and the rows of peers are made
// of. A fragment that hides its ports must not get past a policy for certain ports (RFC 4301 §7): where it is not ruled out that such a
// policy means it, it is discarded, whatever the policies behind that one say.
#pragma once

#include <cstdint>
#include <vector>

#include "common/shm/messages.hpp"
#include "dataplane/spd/entry_pool.hpp"

namespace culvert::dp {

__extension__ using U128 = unsigned __int128;
struct NumberPrefix {
  U128 address;  ///< of IPv4 in the lowest bits
  unsigned length;
};
U128 number_of(const IpAddress& a);
/// The prefixes that make up a range of one family: at most 62, or 254.
std::vector<NumberPrefix> prefixes(const TrafficSelector& ts);

struct SelectorPair {
  TrafficSelector local, remote;
  [[nodiscard]] bool any_port() const { return local.any_port() && remote.any_port(); }
  [[nodiscard]] bool overlaps() const { return local.first <= remote.last && remote.first <= local.last; }
  [[nodiscard]] std::uint8_t protocol() const { return local.protocol != 0 ? local.protocol : remote.protocol; }
};
/// Those between which there can be packets, the ones without ports first: a fragment that one of those means must not meet the Discard of
/// the others.
std::vector<SelectorPair> pairs_of(const shm::InstallPolicy& p);

/// Which packets a rule is for: those with their ports in sight, those that hide them (whatever ports the policy names), or all.
enum class Ports : std::uint8_t { Seen, Hidden, Either };

struct SpdRule {
  SelectorPair pair;
  Ports ports{};
  EntryRef entry;
};
/// A policy with its entries, those of smaller rank first. One that is bound to a tunnel has no rules.
struct SpdPolicy {
  shm::InstallPolicy policy;
  std::uint64_t made;  ///< larger than that of each policy that was there before it
  std::vector<SpdRule> rules;
  [[nodiscard]] SpdRank rank() const { return {policy, made, 0}; }  ///< of the first entry
};
/// nullptr: there are no numbers left for its entries.
std::shared_ptr<SpdPolicy> prepare(const shm::InstallPolicy& policy, std::uint64_t made, EntryPool& pool);

}  // namespace culvert::dp

// Configured names into runs and their children, and the end of all that a child has. Shared by operators' commands and the data
// plane's news; decides nothing.
#pragma once

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

struct Target {
  std::size_t connection = 0;  ///< as configured, and its own run
  std::vector<std::size_t> children;
};
/// An empty child means all of them. nullopt: not configured.
std::optional<Target> locate(const Core& core, const std::string& connection, const std::string& child);
std::vector<std::size_t> all_runs(const Core& core);
/// Ends the unfinished Quick Modes of a child, quietly. `names`: those that are to be deleted at the peer are added.
void abandon_child(Core& core, std::size_t run, std::size_t child, std::vector<SaName>& names);

}  // namespace culvert::ikev1

#include "control/ikev1/targets.hpp"

#include <algorithm>

#include "common/config/selectors.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"

namespace culvert::ikev1 {

std::optional<Target> locate(const Core& core, const std::string& connection, const std::string& child) {
  const auto& all = core.config.connections;
  const auto c = std::ranges::find(all, connection, &config::Connection::name);
  if (c == all.end()) return std::nullopt;
  Target out{static_cast<std::size_t>(c - all.begin()), {}};
  for (std::size_t i = 0; i < c->children.size(); ++i)
    if (child.empty() || config::is_child(c->children[i].name, child)) out.children.push_back(i);
  if (out.children.empty() && !child.empty()) return std::nullopt;
  return out;
}

std::vector<std::size_t> all_runs(const Core& core) {
  std::vector<std::size_t> out;
  for (const auto& [id, run] : core.runs()) out.push_back(id);
  return out;
}

void abandon_child(Core& core, std::size_t run, std::size_t child, std::vector<SaName>& names) {
  for (IsakmpSa* sa : core.sas_of(run)) {
    std::vector<MessageId> ids;
    for (const auto& [id, qm] : sa->quick_modes)
      if (qm.child == child && !finished(qm)) ids.push_back(id);
    for (const MessageId id : ids) {
      names.push_back(inbound_name(sa->quick_modes.at(id)));
      names.back().line = sa->line;
      abandon_quick_mode(core, *sa, sa->quick_modes.at(id));
    }
  }
}

}  // namespace culvert::ikev1

// `culvert list-pools`: pools of virtual addresses, how full they are, and with --leases whose each address is.
#include <memory>

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string render_list_pools(const json::object& result) {
  if (list_of(result, "pools").empty()) return "No pool is configured.\n";
  std::string out;
  for (const auto& value : list_of(result, "pools")) {
    const json::object& p = value.as_object();
    out += fmt::format("{}{}: {} of {} addresses in use, {} kept for those who were here\n", text_of(p, "pool"), vrf_text(p),
                       human_count(count_of(p, "online")), human_count(count_of(p, "size")), human_count(count_of(p, "offline")));
    if (!p.contains("leases")) continue;
    Table table({"address", "state", "identity"}, "    ");
    for (const auto& one : list_of(p, "leases")) {
      const json::object& l = one.as_object();
      table.row({text_of(l, "address"), flag_of(l, "online") ? "online" : "offline", text_of(l, "identity")});
    }
    if (!table.empty()) out += table.text();
  }
  return out;
}
}  // namespace

void add_list_pools(CLI::App& app, Call& call) {
  auto* command = app.add_subcommand("list-pools", "pools of virtual addresses, and who has them");
  const auto leases = std::make_shared<bool>(false);
  command->add_flag("--leases", *leases, "each address that is, or was last, somebody's");
  command->callback([&call, leases] {
    call.request = {{"command", "list-pools"}, {"args", json::object{{"leases", *leases}}}};
    call.text = render_list_pools;
  });
}

}  // namespace culvert::control::cli

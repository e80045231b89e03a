// `culvert version`: of all three programs as far as they can be reached.
#include "control/version.hpp"

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string render_version(const json::object& result) {
  std::string out = fmt::format("culvert   {}\nculvertd  {}, process {}\n", kVersion, text_of(result, "version"), count_of(result, "pid"));
  const json::object& d = result.at("dataplane").as_object();
  if (!flag_of(d, "connected")) return out + "culvert-dataplane is not attached\n";
  return out + fmt::format("culvert-dataplane attached: {} worker(s), {} port(s), room for {} SAs each way\n", count_of(d, "workers"),
                           count_of(d, "ports"), human_count(count_of(d, "sa_capacity")));
}
}  // namespace

void add_version(CLI::App& app, Call& call) {
  app.add_subcommand("version", "of this command, of culvertd, and what it is attached to")->callback([&call] {
    call.request = {{"command", "version"}};
    call.text = render_version;
  });
}

}  // namespace culvert::control::cli

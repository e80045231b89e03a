// `culvert list-certs`: whose certificates each connection uses, how long they are good, and which files cannot be read.
#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string dates_text(const json::object& c) {
  const double ends = c.at("ends_in_s").to_number<double>(), begins = c.at("begins_in_s").to_number<double>();
  if (ends < 0) return fmt::format("EXPIRED {} ago", human_seconds(-ends));
  if (begins > 0) return fmt::format("NOT VALID YET, begins in {}", human_seconds(begins));
  return fmt::format("ends in {}", human_seconds(ends));
}

std::string render_list_certs(const json::object& result) {
  std::string out, connection;
  const auto heading = [&](const json::object& o) {
    if (const std::string name = text_of(o, "connection"); name != connection) {
      connection = name;
      out += name + ":\n";
    }
  };
  for (const auto& value : list_of(result, "certificates")) {
    const json::object& c = value.as_object();
    heading(c);
    const auto& names = list_of(c, "names");
    out += fmt::format("    {}: {}, {}\n", text_of(c, "role"), text_of(c, "subject"), dates_text(c));
    if (!names.empty()) out += fmt::format("        {}\n", joined(names));
    out += fmt::format("        {}, serial {}, of {}\n", text_of(c, "key"), text_of(c, "serial"), text_of(c, "issuer"));
  }
  for (const auto& value : list_of(result, "problems")) {
    const json::object& p = value.as_object();
    heading(p);
    out += fmt::format("    CANNOT BE USED: {}\n", text_of(p, "message"));
  }
  return out.empty() ? "No connection uses certificates.\n" : out;
}
}  // namespace

void add_list_certs(CLI::App& app, Call& call) {
  auto* command = app.add_subcommand("list-certs", "certificates: ours, and those of whom we trust, with their last day");
  const auto target = std::make_shared<std::string>();
  command->add_option("connection", *target, "of this connection alone");
  command->callback([&call, target] {
    call.request = {{"command", "list-certs"}};
    if (!target->empty()) call.request["args"] = json::object{{"connection", *target}};
    call.text = render_list_certs;
  });
}

}  // namespace culvert::control::cli

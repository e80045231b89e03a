// `culvert log`: recent events, or all further ones as they come.
#include <memory>

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string event_text(const json::object& e) {
  std::string out = fmt::format("{} {:<5} ", text_of(e, "ts"), text_of(e, "level"));
  const std::string connection = text_of(e, "connection"), child = text_of(e, "child");
  if (!connection.empty()) out += connection + (child.empty() ? "" : "/" + child) + ": ";
  for (const char c : text_of(e, "event")) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  std::string fields;
  for (const char* key : {"peer", "vrf", "exchange", "role", "reason"})
    if (const auto text = text_of(e, key); !text.empty()) fields += fmt::format("{}{}={}", fields.empty() ? "" : ", ", key, text);
  return fields.empty() ? out : out + " (" + fields + ")";
}

std::string render_log(const json::object& result) {
  std::string out;
  for (const auto& e : list_of(result, "events")) out += event_text(e.as_object()) + '\n';
  return out.empty() ? "No event matches.\n" : out;
}
}  // namespace

void add_log(CLI::App& app, Call& call) {
  struct Options {
    bool follow = false;
    std::string connection, level = "info";
    unsigned lines = 100;
  };
  auto* command = app.add_subcommand("log", "what happened lately, with reasons");
  const auto options = std::make_shared<Options>();
  command->add_flag("-f,--follow", options->follow, "go on with what happens next");
  command->add_option("--connection", options->connection, "of this connection only");
  command->add_option("--level", options->level, "at least of this level")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  command->add_option("-n,--lines", options->lines, "the latest N events")->check(CLI::Range(0, 4096))->capture_default_str();
  command->callback([&call, options] {
    json::object args{{"follow", options->follow}, {"level", options->level}, {"lines", options->lines}};
    if (!options->connection.empty()) args["connection"] = options->connection;
    call.request = {{"command", "log"}, {"args", args}};
    call.text = render_log;
    if (options->follow) call.event_text = event_text;
  });
}

}  // namespace culvert::control::cli

// `culvert list-conns`: what is configured, whether it is up, and why not.
#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string failure_text(const json::object& o) {
  const auto* f = o.if_contains("failure");
  if (f == nullptr || !f->is_object()) return {};
  const json::object& failure = f->get_object();
  const std::string message = text_of(failure, "message");
  return fmt::format("last failure {} ago: {} ({})", human_seconds(failure.at("age_s")),
                     message.empty() ? text_of(failure, "help") : message, text_of(failure, "reason"));
}

/// "UP, 3 peers", "down, connecting for 20s: no answer to message 1 yet", "...: no answer to IKE_SA_INIT yet"
std::string state_text(const json::object& c) {
  if (flag_of(c, "up")) return count_of(c, "peers") > 1 ? fmt::format("UP, {} peers", count_of(c, "peers")) : "UP";
  const auto* connecting = c.if_contains("connecting");
  if (connecting == nullptr || !connecting->is_object()) return "down";
  const json::object& attempt = connecting->get_object();
  const std::string waits = unanswered_text(count_of(attempt, "unanswered_message"), of_ikev2(c));
  return fmt::format("down, connecting for {}{}{}", human_seconds(attempt.at("for_s")), waits.empty() ? "" : ": ", waits);
}

std::string render_list_conns(const json::object& result) {
  std::string out;
  if (!flag_of(result.at("dataplane").as_object(), "connected"))
    out += "The data plane is not attached: nothing can be up. See `culvert log`.\n\n";
  if (list_of(result, "connections").empty()) return out + "No connection is configured.\n";
  for (const auto& value : list_of(result, "connections")) {
    const json::object& c = value.as_object();
    const auto& remotes = list_of(c, "remote_addrs");
    out += fmt::format("{}: {}{}{}\n    {} [{}] - {} [{}]\n", text_of(c, "connection"), state_text(c), of_ikev2(c) ? ", IKEv2" : "",
                       vrf_text(c), joined(list_of(c, "local_addrs")), text_of(c, "local_id"), remotes.empty() ? "%any" : joined(remotes),
                       text_of(c, "remote_id"));
    if (const auto failure = failure_text(c); !failure.empty()) out += "    " + failure + '\n';
    for (const auto& child_value : list_of(c, "children")) {
      const json::object& child = child_value.as_object();
      const auto* tunnel = child.if_contains("tunnel");
      out +=
          fmt::format("    {}: {}, {} - {}, start_action {}{}{}\n", text_of(child, "child"), flag_of(child, "up") ? "UP" : "down",
                      text_of(child, "local_ts"), text_of(child, "remote_ts"), text_of(child, "start_action"),
                      tunnel != nullptr && tunnel->is_string() ? ", tunnel " + text_of(child, "tunnel") : std::string{}, vrf_text(child));
      if (const auto failure = failure_text(child); !failure.empty()) out += "        " + failure + '\n';
    }
  }
  return out;
}
}  // namespace

void add_list_conns(CLI::App& app, Call& call) {
  app.add_subcommand("list-conns", "configured connections and children, up or down, and why")->callback([&call] {
    call.request = {{"command", "list-conns"}};
    call.text = render_list_conns;
  });
}

}  // namespace culvert::control::cli

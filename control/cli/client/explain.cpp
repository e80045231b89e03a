// `culvert explain`: what failed lately and why, with both sides beside each other; or that all is well, or what is waited for.
#include <map>
#include <memory>

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

constexpr std::size_t kWidth = 100;  ///< of a column's cell; longer ones are broken at commas and spaces

std::string words(std::string name) {
  for (char& ch : name)
    if (ch == '_') ch = ' ';
  return name;
}

/// "Main mode, message 1"; of IKEv2, whose requests have odd numbers and whose answers have even ones, "IKE_AUTH, the request"
std::string where(const json::object& f) {
  const std::string exchange = text_of(f, "exchange");
  const auto number = count_of(f, "message_number");
  for (const std::string_view of_v2 : {"ike_sa_init", "ike_auth", "create_child_sa", "ike_intermediate", "ike_followup_ke"}) {
    if (exchange != of_v2) continue;
    std::string name = exchange;
    for (char& ch : name) ch = static_cast<char>(ch >= 'a' && ch <= 'z' ? ch - 'a' + 'A' : ch);
    return name + (number == 0 ? "" : number % 2 == 1 ? ", the request" : ", the answer");
  }
  std::string what = words(exchange);
  if (what.empty()) what = "outside of an exchange";
  what[0] = static_cast<char>(what[0] >= 'a' && what[0] <= 'z' ? what[0] - 'a' + 'A' : what[0]);
  return number == 0 ? what : fmt::format("{}, message {}", what, number);
}

/// "Main mode, message 1, we as responder, 12s ago: refused by us"
std::string headline(const json::object& f) {
  std::string what = where(f);
  if (const auto role = text_of(f, "role"); !role.empty()) what += ", we as " + role;
  if (const auto child = text_of(f, "child"); !child.empty()) what += ", child " + child;
  const std::string by = text_of(f, "by");
  what += by == "us" ? ": refused by us" : by == "peer" ? ": refused by the peer" : ": nobody refused it";
  return fmt::format("{} ({})", what, text_of(f, "reason"));
}

std::string times(const json::object& f) {
  std::string out = human_seconds(f.at("age_s")) + " ago";
  if (const auto count = count_of(f, "count"); count > 1)
    out += fmt::format(", {} times in the last {}", human_count(count), human_seconds(f.at("first_age_s")));
  if (!f.at("mended_age_s").is_null()) out += fmt::format("; it has worked since ({} ago)", human_seconds(f.at("mended_age_s")));
  if (const auto peer = text_of(f, "peer"); !peer.empty()) out += "; peer " + peer + vrf_text(f);
  return out;
}

/// Label and text, the text broken into lines of kWidth that stand below each other.
std::string labelled(std::string_view indent, std::string_view label, std::string text) {
  std::string out;
  bool first = true;
  while (!text.empty() || first) {
    std::size_t cut = text.size();
    if (cut > kWidth) {
      cut = text.rfind(' ', kWidth);
      if (cut == std::string::npos || cut == 0) cut = kWidth;
    }
    out += fmt::format("{}{:<18} {}\n", indent, first ? label : std::string_view{}, text.substr(0, cut));
    text.erase(0, std::min(text.size(), cut + (cut < text.size() && text[cut] == ' ' ? 1 : 0)));
    first = false;
  }
  return out;
}

/// One row of two or three values is shown below each other; several rows as a table.
std::string sides(const json::object& f) {
  const auto& head = list_of(f, "head");
  const auto& rows = list_of(f, "rows");
  std::string out;
  if (rows.size() == 1) {
    const auto& cells = rows.front().as_array();
    for (std::size_t i = 0; i < head.size() && i < cells.size(); ++i)
      out += labelled("      ", std::string(head[i].as_string()) + ":", std::string(cells[i].as_string()));
    return out;
  }
  if (rows.empty()) return out;
  const auto texts = [](const json::array& cells) {
    std::vector<std::string> line;
    for (const auto& cell : cells) line.emplace_back(cell.as_string());
    return line;
  };
  Table table(texts(head), "      ");
  for (const auto& row : rows) table.row(texts(row.as_array()));
  return table.text();
}

std::string failure_text(const json::object& f) {
  std::string out = fmt::format("  {}\n    {}\n    {}\n", headline(f), times(f), text_of(f, "message"));
  out += sides(f);
  if (const auto said = text_of(f, "said"); !said.empty())
    out += labelled("      ", "the peer said:",
                    said + (flag_of(f, "said_proven") ? " (authenticated)" : " (not authenticated: anybody could have said it)"));
  const auto& causes = list_of(f, "causes");
  for (std::size_t i = 0; i < causes.size(); ++i)
    out += labelled("      ", i == 0 ? "likely cause:" : "or else:", text_of(causes[i].as_object(), "text"));
  for (std::size_t i = 0; i < list_of(f, "yaml").size(); ++i)
    out += fmt::format("      {:<18} {}\n", i == 0 ? "would accept it:" : "", std::string_view(list_of(f, "yaml")[i].as_string()));
  if (const auto note = text_of(f, "note"); !note.empty()) out += labelled("      ", list_of(f, "yaml").empty() ? "what to do:" : "", note);
  return out;
}

std::string waits(const json::object& child, bool ikev2) {
  static const std::map<std::string, std::string> kWords{{"data_plane", "the data plane, which is not attached: see `culvert log`"},
                                                         {"answer", "the answer to our Quick Mode"},
                                                         {"retry", "the next attempt"},
                                                         {"phase1", "phase 1, which is under way"},
                                                         {"begin", "its turn: it is about to begin"},
                                                         {"operator", "`culvert initiate`: an operator has ended it"},
                                                         {"traffic", "traffic that wants it (start_action: trap)"},
                                                         {"peer", "the peer: remote_addrs names no single address, so only it can begin"},
                                                         {"peer_or_operator", "the peer, or `culvert initiate` (start_action: none)"}};
  static const std::map<std::string, std::string> kOfIkev2{{"answer", "the CHILD SA, which is being negotiated"},
                                                           {"phase1", "the IKE SA, which is under way"}};
  const std::string wait = text_of(child, "waits_for");
  const auto& table = ikev2 && kOfIkev2.contains(wait) ? kOfIkev2 : kWords;
  const auto word = table.find(wait);
  if (word == table.end()) return "down";
  const auto& until = child.at("waits_s");
  return "down, waits for " + word->second + (until.is_null() ? std::string{} : " in " + human_seconds(until));
}

std::string state_text(const json::object& c) {
  std::string out = text_of(c, "connection") + ": ";
  const std::string state = text_of(c, "state");
  if (state == "connecting") {
    const std::string missing = unanswered_text(count_of(c, "unanswered_message"), of_ikev2(c));
    out += fmt::format("connecting for {}{}{}{}\n", human_seconds(c.at("for_s")), missing.empty() ? "" : ", ", missing, vrf_text(c));
  } else {
    out += (state == "up" ? "UP" : "down") + vrf_text(c) + '\n';
  }
  for (const auto& value : list_of(c, "peers")) {
    const json::object& p = value.as_object();
    out += fmt::format("  with {} at {} for {}, as {} ({}), {}{}{}{}\n", text_of(p, "remote_id"), text_of(p, "remote"),
                       human_seconds(p.at("for_s")), text_of(p, "local_id"), text_of(p, "role"), of_ikev2(p) ? "IKEv2 " : "",
                       text_of(p, "suite"), flag_of(p, "nat") ? ", through a NAT" : "", can_move(p) ? ", can move (MOBIKE)" : "");
  }
  for (const auto& value : list_of(c, "children")) {
    const json::object& child = value.as_object();
    const std::string suite = text_of(child, "suite");
    out += fmt::format("  {}: {}, {} - {}{}\n", text_of(child, "child"),
                       text_of(child, "state") == "up"
                           ? fmt::format("UP for {}{}", human_seconds(child.at("for_s")), suite.empty() ? "" : ", " + suite)
                           : waits(child, of_ikev2(c)),
                       text_of(child, "local_ts"), text_of(child, "remote_ts"), vrf_text(child));
    if (const auto* silent = child.if_contains("nothing_in_for_s"); silent != nullptr && !silent->is_null())
      out += fmt::format("    packets go out, and none has come in for {}: if the peer has lost the pair, `culvert rekey` makes another\n",
                         human_seconds(*silent));
  }
  return out;
}

std::string render_explain(const json::object& result) {
  std::string out;
  for (const auto& value : list_of(result, "connections")) {
    const json::object& c = value.as_object();
    if (!out.empty()) out += '\n';
    out += state_text(c);
    const auto& failures = list_of(c, "failures");
    out += failures.empty() ? "\n  Nothing has failed since culvertd started.\n" : "\n";
    for (const auto& f : failures) out += failure_text(f.as_object()) + '\n';
  }
  const auto& strangers = list_of(result, "strangers");
  if (!strangers.empty()) out += fmt::format("{}Of peers and messages that match no connection:\n\n", out.empty() ? "" : "\n");
  for (const auto& f : strangers) out += failure_text(f.as_object()) + '\n';
  if (out.empty()) out = "Nothing was refused that matches no connection. `culvert explain CONNECTION` tells about a connection.\n";
  return out + also_in_text(result);
}
}  // namespace

void add_explain(CLI::App& app, Call& call) {
  struct Options {
    std::string connection, peer, vrf;
  };
  auto options = std::make_shared<Options>();
  auto* command =
      app.add_subcommand("explain", "why it failed, the latest first, with both sides of it; without a connection: refused strangers");
  command->add_option("connection", options->connection, "CONNECTION");
  command->add_option("--peer", options->peer, "only what this address caused, of any connection and of none");
  command->add_option("--vrf", options->vrf, "only of this VRF; an address without it is one of the default VRF");
  command->callback([&call, options] {
    json::object args;
    if (!options->connection.empty()) args["connection"] = options->connection;
    if (!options->peer.empty()) args["peer"] = options->peer;
    if (!options->vrf.empty()) args["vrf"] = options->vrf;
    call.request = {{"command", "explain"}, {"args", args}};
    call.text = render_explain;
  });
}

}  // namespace culvert::control::cli

// `culvert counters`: drops by reason with what they mean, then children, ports with their own drops, workers, rings and exchanges.
#include <memory>

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string drops_text(const json::object& result, bool all) {
  const auto& workers = list_of(result, "workers");
  std::vector<std::string> head{"DROPS BY REASON", "TOTAL"};
  std::vector<std::size_t> right{1};
  for (const auto& w : workers) {
    if (workers.size() < 2) break;
    right.push_back(head.size());
    head.push_back(fmt::format("worker {}", count_of(w.as_object(), "worker")));
  }
  if (workers.size() >= 2) {
    right.push_back(head.size());
    head.emplace_back("manager");
  }
  head.emplace_back("WHAT IT MEANS");
  Table table(std::move(head));
  table.right(std::move(right));
  for (const auto& value : list_of(result, "drops")) {
    const json::object& drop = value.as_object();
    if (count_of(drop, "total") == 0 && !all) continue;
    std::vector<std::string> row{text_of(drop, "reason"), human_count(count_of(drop, "total"))};
    if (workers.size() >= 2) {
      for (const auto& w : workers) row.push_back(human_count(count_of(w.at("drops").as_object(), text_of(drop, "reason"))));
      row.push_back(human_count(count_of(result.at("manager").at("drops").as_object(), text_of(drop, "reason"))));
    }
    row.push_back(text_of(drop, "help"));
    table.row(std::move(row));
  }
  return table.empty() ? "No packet was dropped.\n" : table.text();
}

std::string children_text(const json::object& result) {
  Table table({"CHILD", "DIRECTION", "PACKETS", "BYTES", "ON THE PATH", "DROPPED BY ITS SAS"});
  table.right({2, 3});
  for (const auto& value : list_of(result, "children")) {
    const json::object& c = value.as_object();
    for (const char* direction : {"in", "out"}) {
      const json::object& d = c.at(direction).as_object();
      const std::string dropped = counts_text(d, "drops"), gaps = counts_text(d, "gaps");
      table.row({text_of(c, "connection") + "/" + text_of(c, "child"), direction, human_count(count_of(d, "packets")),
                 human_bytes(count_of(d, "bytes")), gaps.empty() ? "-" : gaps, dropped.empty() ? "none" : dropped});
    }
  }
  return table.text();
}

/// What ports lose before a worker sees it, or after: kinds of loss as they are in the answer, in the form of drops_text.
struct PortDrop {
  const char *key, *reason, *help;
};
constexpr PortDrop kPortDrops[] = {{"rx_missed", "missed", "the port dropped it because no worker took it in time"},
                                   {"rx_errors", "rx_errors", "the port could not receive it"},
                                   {"rx_nombuf", "no_buffer", "the port dropped it for want of a packet buffer"},
                                   {"tx_errors", "tx_errors", "the port could not send it"}};

std::string port_drops_text(const json::object& result, bool all) {
  Table table({"DROPS BY PORT", "REASON", "TOTAL", "WHAT IT MEANS"});
  table.right({2});
  for (const auto& value : list_of(result, "ports")) {
    const json::object& p = value.as_object();
    for (const PortDrop& d : kPortDrops)
      if (const auto n = count_of(p, d.key); n > 0 || all) table.row({text_of(p, "port"), d.reason, human_count(n), d.help});
  }
  return table.empty() ? "No port dropped a packet.\n" : table.text();
}

std::string ports_text(const json::object& result) {
  Table table({"PORT", "LINK", "CHANGES", "MTU", "RX PACKETS", "RX BYTES", "TX PACKETS", "TX BYTES"});
  table.right({2, 3, 4, 5, 6, 7});
  for (const auto& value : list_of(result, "ports")) {
    const json::object& p = value.as_object();
    const auto n = [&p](const char* key) { return human_count(count_of(p, key)); };
    table.row({text_of(p, "port"), flag_of(p, "up") ? "up" : "DOWN", n("link_changes"), n("mtu"), n("rx_packets"),
               human_bytes(count_of(p, "rx_bytes")), n("tx_packets"), human_bytes(count_of(p, "tx_bytes"))});
  }
  std::string out = table.text();
  for (const auto& value : list_of(result, "ports")) {
    const json::object& p = value.as_object();
    const auto rules = count_of(p, "flow_rules"), refused = count_of(p, "flow_refused");
    if (rules + refused != 0)
      out += fmt::format("{}: the device brings {} SAs to their workers by SPI, and took no rule for {}.\n", text_of(p, "port"), rules,
                         refused);
  }
  return out;
}

std::string workers_text(const json::object& result) {
  Table table({"WORKER", "RX PACKETS", "TX PACKETS", "POLLS", "BUSY", "SLEEPS", "HANDED IN", "HANDED OUT", "SPREAD", "HELPED"});
  table.right({1, 2, 3, 4, 5, 6, 7, 8, 9});
  for (const auto& value : list_of(result, "workers")) {
    const json::object& w = value.as_object();
    const auto n = [&w](const char* key) { return human_count(count_of(w, key)); };
    table.row({std::to_string(count_of(w, "worker")), n("rx_packets"), n("tx_packets"), n("polls"), n("busy_polls"), n("sleeps"),
               n("handoff_in"), n("handoff_out"), n("spread_out"), n("spread_in")});
  }
  std::string out = table.text();
  for (const auto& value : list_of(result, "workers")) {
    const json::object& w = value.as_object();
    const auto* oldest = w.if_contains("spread_oldest_s");
    constexpr double kLong = 1;  // seconds: of what is under way in a busy moment nothing is said
    if (oldest != nullptr && !oldest->is_null() && oldest->to_number<double>() >= kLong)
      out += fmt::format("Worker {} waits for {} for what another one does of its packets: has that one lost its core?\n",
                         count_of(w, "worker"), human_seconds(*oldest));
    if (const auto late = count_of(w, "spread_late"); late != 0)
      out += fmt::format("Worker {} got {} parcels back late: those that helped did not have their cores to themselves.\n",
                         count_of(w, "worker"), human_count(late));
  }
  return out;
}

std::string nodes_text(const json::object& result) {
  std::string out;
  for (const auto& value : list_of(result, "workers")) {
    const json::object& w = value.as_object();
    std::uint64_t cycles = 0;
    for (const auto& n : list_of(w, "nodes")) cycles += count_of(n.as_object(), "cycles");
    Table table({fmt::format("WORKER {}", count_of(w, "worker")), "CYCLES/PACKET", "SHARE", "PACKETS MEASURED", "WHAT IT DOES"});
    table.right({1, 2, 3});
    for (const auto& node : list_of(w, "nodes")) {
      const json::object& n = node.as_object();
      const std::uint64_t packets = count_of(n, "packets"), spent = count_of(n, "cycles");
      table.row({text_of(n, "node"), packets == 0 ? "-" : fmt::format("{:.0f}", static_cast<double>(spent) / static_cast<double>(packets)),
                 cycles == 0 ? "-" : fmt::format("{:.1f} %", 100.0 * static_cast<double>(spent) / static_cast<double>(cycles)),
                 human_count(packets), text_of(n, "help")});
    }
    out += (out.empty() ? "" : "\n") + table.text();
  }
  return out.empty() ? "The data plane is not attached.\n" : out;
}

std::string rest_text(const json::object& result) {
  Table rings({"RING", "WAITING", "CAPACITY", "REFUSED (FULL)"});
  rings.right({1, 2, 3});
  for (const auto& value : list_of(result, "rings")) {
    const json::object& r = value.as_object();
    rings.row(
        {text_of(r, "ring"), human_count(count_of(r, "fill")), human_count(count_of(r, "capacity")), human_count(count_of(r, "full"))});
  }
  Table exchanges({"IKE EXCHANGE", "ROLE", "RESULT", "COUNT"});
  exchanges.right({3});
  for (const auto& value : list_of(result, "exchanges")) {
    const json::object& e = value.as_object();
    exchanges.row({text_of(e, "exchange"), text_of(e, "role"), text_of(e, "reason"), human_count(count_of(e, "count"))});
  }
  return rings.text() + (exchanges.empty() ? "" : '\n' + exchanges.text());
}
}  // namespace

void add_counters(CLI::App& app, Call& call) {
  auto* command = app.add_subcommand("counters", "drops by reason, and what ports, workers, rings and children have counted");
  const auto all = std::make_shared<bool>(false);
  command->add_flag("--all", *all, "drop reasons that never occurred, too");
  const auto nodes = std::make_shared<bool>(false);
  command->add_flag("--nodes", *nodes, "instead: a worker's cycles by step, measured in one pass of 64");
  command->callback([&call, all, nodes] {
    call.request = {{"command", "counters"}};
    call.text = [all, nodes](const json::object& result) {
      if (*nodes) return nodes_text(result);
      if (list_of(result, "workers").empty()) return children_text(result) + "\nThe data plane is not attached.\n";
      return drops_text(result, *all) + '\n' + children_text(result) + '\n' + ports_text(result) + '\n' + port_drops_text(result, *all) +
             '\n' + workers_text(result) + '\n' + rest_text(result);
    };
  });
}

}  // namespace culvert::control::cli

// `culvert trace-packet`: what the data plane would do with a packet, step by step.
#include <iostream>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"
#include "control/cli/protocol.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string render_trace_packet(const json::object& result) {
  std::string out;
  unsigned number = 0;
  for (const auto& step : list_of(result, "steps")) out += fmt::format("{:>3}  {}\n", ++number, text_of(step.as_object(), "text"));
  const std::string verdict = text_of(result, "verdict");
  if (verdict == "dropped") return out + fmt::format("Dropped: {}: {}.\n", text_of(result, "reason"), text_of(result, "help"));
  if (verdict == "elsewhere") return out;
  if (verdict == "here") return out + "It ends here: it is for the gateway itself.\n";
  return out + fmt::format("Sent {} by port {}.\n", verdict == "encrypted" ? "encrypted" : "IN CLEAR", text_of(result, "port"));
}
}  // namespace

void add_trace_packet(CLI::App& app, Call& call) {
  struct Options {
    std::string source, destination, protocol = "icmp", port, tunnel, vrf;
    unsigned source_port = 0, destination_port = 0, size = 84, ttl = 64;
    bool df = false;
  };
  const auto o = std::make_shared<Options>();
  auto* command = app.add_subcommand("trace-packet", "what would become of a packet: policy, route, SA, size, neighbour; nothing is sent");
  command->add_option("SOURCE", o->source, "its source address")->required();
  command->add_option("DESTINATION", o->destination, "its destination address")->required();
  command->add_option("--proto", o->protocol, "tcp, udp, icmp, ..., or a number")->capture_default_str();
  command->add_option("--sport", o->source_port, "source port")->check(CLI::Range(0, 65535));
  command->add_option("--dport", o->destination_port, "destination port")->check(CLI::Range(0, 65535));
  command->add_option("--size", o->size, "bytes of the IP packet")->check(CLI::Range(28, 65535))->capture_default_str();
  command->add_option("--ttl", o->ttl, "its time to live")->check(CLI::Range(0, 255))->capture_default_str();
  command->add_flag("--df", o->df, "it may not be fragmented");
  auto* port = command->add_option("--port", o->port, "the port where it arrives, instead of the one that its source is routed to");
  command->add_option("--from-tunnel", o->tunnel, "it comes out of this tunnel: CONNECTION/CHILD")->excludes(port);
  command->add_option("--vrf", o->vrf, "the VRF that it arrives in, where neither a port nor a tunnel says so")->excludes(port);
  command->callback([&call, o] {
    json::object args = o->tunnel.empty() ? json::object{} : target_args(o->tunnel);
    args["source"] = o->source;
    args["destination"] = o->destination;
    args["protocol"] = o->protocol;
    args["source_port"] = o->source_port;
    args["destination_port"] = o->destination_port;
    args["size"] = o->size;
    args["ttl"] = o->ttl;
    args["df"] = o->df;
    if (!o->port.empty()) args["port"] = o->port;
    if (!o->vrf.empty()) args["vrf"] = o->vrf;
    call.request = {{"command", "trace-packet"}, {"args", std::move(args)}};
    call.text = render_trace_packet;
  });
}

void add_trace(CLI::App& app, Call& call) {
  struct Options {
    std::string target;
    double next = kDefaultPaths, seconds = kDefaultCapture;
  };
  const auto o = std::make_shared<Options>();
  auto* command = app.add_subcommand("trace", "the ways that the next packets of a tunnel really take, step by step");
  command->add_option("target", o->target, "CONNECTION or CONNECTION/CHILD")->required();
  command->add_option("--next", o->next, "so many packets")->check(CLI::Range(1.0, kMaxCopies))->capture_default_str();
  const std::map<std::string, double> units{{"s", 1}, {"m", 60}, {"h", 3600}};
  command->add_option("--for", o->seconds, "how long at most: 30s, 1m (the default), 1h")
      ->transform(CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::CASE_SENSITIVE));
  command->callback([&call, o] {
    json::object args = target_args(o->target);
    args["next"] = o->next;
    args["for_s"] = o->seconds;
    call.request = {{"command", "trace"}, {"args", std::move(args)}};
    call.on_event = [](const json::object& event) {
      if (const auto* end = event.if_contains("end"); end != nullptr) {
        const json::object& e = end->as_object();
        std::cerr << fmt::format(
            "{} packets{}\n", human_count(count_of(e, "copies")),
            count_of(e, "missed") == 0 ? "" : fmt::format(", {} more had no room", human_count(count_of(e, "missed"))));
        return false;
      }
      const auto* path = event.if_contains("path");
      if (path == nullptr) return true;
      const json::object& p = path->as_object();
      const std::string connection = text_of(p, "connection");
      std::cout << fmt::format("{} {} {}, SA {}, worker {}\n{}\n", time_text(count_of(p, "time_ns")), text_of(p, "direction"),
                               connection.empty() ? "unknown" : connection + "/" + text_of(p, "child"), text_of(p, "spi"),
                               count_of(p, "worker"), render_trace_packet(p))
                << std::flush;
      return true;
    };
  });
}

}  // namespace culvert::control::cli

// `culvert trace-packet`: what the data plane would do with a packet, step by step.
#include <memory>

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string render(const json::object& result) {
  std::string out;
  unsigned number = 0;
  for (const auto& step : list_of(result, "steps")) out += fmt::format("{:>3}  {}\n", ++number, text_of(step.as_object(), "text"));
  const std::string verdict = text_of(result, "verdict");
  if (verdict == "dropped") return out + fmt::format("Dropped: {}: {}.\n", text_of(result, "reason"), text_of(result, "help"));
  if (verdict == "here") return out + "It ends here: it is for the gateway itself.\n";
  return out + fmt::format("Sent {} by port {}.\n", verdict == "encrypted" ? "encrypted" : "IN CLEAR", text_of(result, "port"));
}
}  // namespace

void add_trace_packet(CLI::App& app, Call& call) {
  struct Options {
    std::string source, destination, protocol = "icmp", port, tunnel;
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
    call.request = {{"command", "trace-packet"}, {"args", std::move(args)}};
    call.text = render;
  });
}

}  // namespace culvert::control::cli

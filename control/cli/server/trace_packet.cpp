// The trace-packet command: asks the data plane what it would do with a packet, and says it in plain words. Believes no number of the
// data plane's before it is in range.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
using shm::PathStep;
using shm::StepKind;

constexpr std::array<std::string_view, static_cast<std::size_t>(StepKind::Count_)> kStepNames{
    "arrives",         "arrives_under_sa", "is_for_us", "inbound_policy", "ttl",    "route",
    "outbound_policy", "leaves_under_sa",  "size",      "neighbor",       "leaves", "handed_over"};

/// The words for one step.
class Words {
 public:
  explicit Words(const Gateway& gateway) : gateway_(gateway) {}

  std::string of(const PathStep& s) {
    switch (s.kind) {
      case StepKind::Arrives:
        return fmt::format("arrives in clear at port {}{}", port(s.port), in_vrf(vrf_of(s.port)));
      case StepKind::ArrivesUnderSa:
        return fmt::format("arrives under the inbound SA {:08x} of {}, whose peer is behind port {}{}", s.spi.value, policy(s.policy),
                           port(s.port), in_vrf(gateway_.policy_vrf(s.policy)));
      case StepKind::IsForUs:
        return for_us(s);
      case StepKind::InboundPolicy:
        return inbound_policy(s);
      case StepKind::TimeToLive:
        return s.number <= 1 ? fmt::format("TTL {}: it ends here", s.number) : fmt::format("TTL {}, one less when it leaves", s.number);
      case StepKind::Route:
        return route(s);
      case StepKind::OutboundPolicy:
        return outbound_policy(s);
      case StepKind::LeavesUnderSa:
        protected_ = true;
        return leaves_under(s);
      case StepKind::Size:
        return size(s);
      case StepKind::Neighbor:
        return neighbor(s);
      case StepKind::Leaves:
        return fmt::format("leaves {} by port {}{}", protected_ ? "encrypted" : "in clear", port(s.port), in_vrf(vrf_of(s.port)));
      case StepKind::HandedOver:
        return fmt::format("goes on with worker {}, which owns the SA", s.number);
      case StepKind::Count_:
        break;
    }
    return "a step that this culvertd does not know";
  }
  [[nodiscard]] bool is_protected() const { return protected_; }
  [[nodiscard]] std::string port(std::uint16_t index) const {
    const auto ports = gateway_.link() != nullptr ? gateway_.link()->segment().ports() : std::span<shm::PortCounters>{};
    return index < ports.size() ? std::string(ports[index].name.view()) : fmt::format("number {}", index);
  }

 private:
  [[nodiscard]] VrfId vrf_of(std::uint16_t index) const {
    const auto all = config::interfaces(gateway_.config());
    return index < all.size() ? all[index].vrf : kDefaultVrf;
  }
  /// Nothing where there is but one.
  [[nodiscard]] std::string in_vrf(VrfId vrf) const {
    const config::GatewayConfig& config = gateway_.config();
    return config.vrfs.empty() ? std::string{} : ", in VRF " + config::vrf_name(config, vrf);
  }
  [[nodiscard]] std::string policy(PolicyId id) const {
    const std::string name = gateway_.policy_name(id);
    return name.empty() ? fmt::format("policy number {}", id.value) : name;
  }
  static std::string for_us(const PathStep& s) {
    constexpr std::array<std::string_view, 7> uses{"ESP or AH, whose SPI decides what becomes of it",
                                                   "a message for culvertd (IKE)",
                                                   "a NAT keepalive",
                                                   "ICMP: an echo request is answered",
                                                   "a fragment that is not IKE's",
                                                   "UDP for IKE that is malformed",
                                                   "of a protocol or port that nobody here serves"};
    return fmt::format("{} is an own address: {}", s.address.to_string(), s.number < uses.size() ? uses[s.number] : "unknown");
  }
  [[nodiscard]] std::string inbound_policy(const PathStep& s) const {
    if (s.policy.value == 0) return "no policy says that it should have come under an SA";
    switch (static_cast<shm::PolicyAction>(s.action)) {
      case shm::PolicyAction::Bypass:
        return fmt::format("policy {} lets it in, in clear", policy(s.policy));
      case shm::PolicyAction::Protect:
        return s.number != 0 ? fmt::format("policy {} protects it, but not between two hosts of one network", policy(s.policy))
                             : fmt::format("policy {} says that it must come under an SA", policy(s.policy));
      case shm::PolicyAction::Discard:
        break;
    }
    return fmt::format("policy {} says discard", policy(s.policy));
  }
  [[nodiscard]] std::string outbound_policy(const PathStep& s) const {
    constexpr std::array<std::string_view, 3> actions{"discard", "in clear", "protect"};
    const std::string_view action = s.action < actions.size() ? actions[s.action] : "unknown";
    if (s.policy.value == 0) return fmt::format("no policy matches: {}", action);
    return fmt::format("policy {}: {}", policy(s.policy), action);
  }
  [[nodiscard]] std::string route(const PathStep& s) const {
    const std::string of = protected_ ? "the peer" : "the destination";
    switch (static_cast<shm::RouteKind>(s.number)) {
      case shm::RouteKind::Local:
        return of + " is an own address";
      case shm::RouteKind::Martian:
        return of + " is an address that nothing may be sent to";
      case shm::RouteKind::OnLink:
        return fmt::format("{} is on the link of port {}", of, port(s.port));
      case shm::RouteKind::Gateway:
        return fmt::format("{} is reached via {} by port {}{}", of, s.address.to_string(), port(s.port),
                           s.limit != 0 ? fmt::format(", the one of {} next hops that this flow has", s.limit) : "");
      case shm::RouteKind::Tunnel: {
        const auto& tunnels = gateway_.config().tunnels;
        return fmt::format("{} is routed into tunnel {}", of, s.port < tunnels.size() ? tunnels[s.port].name : "unknown");
      }
      case shm::RouteKind::None:
        break;
    }
    return "there is no route to " + of;
  }
  [[nodiscard]] std::string leaves_under(const PathStep& s) const {
    std::string peer;
    const Link* link = gateway_.link();
    shm::SaSnapshot sa;
    if (link != nullptr && s.slot < link->segment().header().sa_capacity &&
        shm::read_record(link->segment().records(Direction::Outbound)[s.slot], sa) && sa.spi == s.spi)
      peer = fmt::format(" to {} ({})", sa.remote.port == 0 ? sa.remote.address.to_string() : sa.remote.to_string(), sa.suite.to_string());
    return fmt::format("under the outbound SA {:08x} of {}{}, by worker {}", s.spi.value, policy(s.policy), peer, s.number);
  }
  static std::string size(const PathStep& s) {
    const std::string fits = fmt::format("{} bytes, of at most {} that fit", s.number, s.limit);
    switch (static_cast<shm::SizeVerdict>(s.action)) {
      case shm::SizeVerdict::Fits:
        return fits;
      case shm::SizeVerdict::Fragments:
        return fits + ": it is fragmented";
      case shm::SizeVerdict::TooBig:
        break;
    }
    return fits + ", and it may not be fragmented";
  }
  [[nodiscard]] std::string neighbor(const PathStep& s) const {
    switch (static_cast<shm::NeighborUse>(s.number)) {
      case shm::NeighborUse::Known:
        return fmt::format("{} has the MAC address {:02x}", s.address.to_string(), fmt::join(s.mac, ":"));
      case shm::NeighborUse::Asked:
        return fmt::format("{} has to be asked for its MAC address first; the packet waits for that", s.address.to_string());
      case shm::NeighborUse::Failed:
        break;
    }
    return fmt::format("{} does not answer to the question for its MAC address", s.address.to_string());
  }

  const Gateway& gateway_;
  bool protected_ = false;
};

IpAddress address_of(const Args& args, const char* key) {
  const auto address = IpAddress::parse(args.text(key));
  if (!address) throw CommandError("bad_request", fmt::format("{} must be an address: {}", key, address.error()));
  return *address;
}

/// As selectors are written: a name, or a number.
std::uint8_t protocol_of(const std::string& text) {
  const auto ts = TrafficSelector::parse("0.0.0.0/0[" + text + "]");
  if (!ts || ts->protocol == 0 || text.find('/') != std::string::npos)
    throw CommandError("bad_request",
                       fmt::format("\"{}\" is no protocol: give a name such as tcp, or a number", printable(as_bytes(text))));
  return ts->protocol;
}

std::uint16_t port_of(const Gateway& gateway, const std::string& name) {
  const auto ports = gateway.link()->segment().ports();
  std::string known;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].name.view() == name) return static_cast<std::uint16_t>(i);
    known += (known.empty() ? "" : ", ") + std::string(ports[i].name.view());
  }
  throw CommandError("unknown", fmt::format("no port \"{}\"; known: {}", printable(as_bytes(name)), known));
}

shm::TracePacket question_of(const Gateway& gateway, const Args& args) {
  shm::TracePacket q;
  q.source = address_of(args, "source");
  q.destination = address_of(args, "destination");
  q.protocol = protocol_of(args.text("protocol", "icmp"));
  q.source_port = static_cast<std::uint16_t>(args.number("source_port", 0, 0, 65535));
  q.destination_port = static_cast<std::uint16_t>(args.number("destination_port", 0, 0, 65535));
  q.length = static_cast<std::uint16_t>(args.number("size", 84, 28, 65535));
  q.ttl = static_cast<std::uint8_t>(args.number("ttl", 64, 0, 255));
  q.dont_fragment = args.flag("df") ? 1 : 0;
  q.vrf = vrf_of(gateway, args).value_or(kDefaultVrf);
  if (const std::string port = args.text("port"); !port.empty()) q.port = port_of(gateway, port);
  if (args.text("connection").empty()) return q;
  const ChildRef ref = configured_child(gateway, args);
  if (ref.child.empty()) throw CommandError("bad_request", "name the child, too: CONNECTION/CHILD");
  const SaEntry* sa = gateway.newest_inbound(ref.connection, ref.child);
  if (sa == nullptr) throw CommandError("failed", fmt::format("{}/{} has no inbound SA", ref.connection, ref.child));
  q.under_sa = 1;
  q.slot = sa->slot;
  q.spi = sa->spi;
  return q;
}

Line answer_line(const Gateway& gateway, const Gateway::Forecast& forecast) {
  const Outcome& o = *forecast.outcome;
  if (o.ok() && forecast.path) return result_line(path_json(gateway, *forecast.path));
  if (o.kind == Outcome::Kind::Acked && o.result == shm::AckResult::NotFound)
    return error_line("failed", fmt::format("no port{} is known where such a packet would arrive: name it with --port{}",
                                            gateway.config().vrfs.empty() ? "" : " of this VRF",
                                            gateway.config().vrfs.empty() ? "" : ", or its VRF with --vrf"));
  if (o.kind == Outcome::Kind::Acked && o.result == shm::AckResult::Unsupported)
    return error_line("failed", "the data plane does not carry packets of this address family");
  return error_line("failed", "the data plane did not answer: " + o.text());
}
}  // namespace

json::object path_json(const Gateway& gateway, const shm::Path& path) {
  Words words(gateway);
  json::array steps;
  std::string port;
  const std::size_t count = std::min<std::size_t>(path.count, path.steps.size());
  for (std::size_t i = 0; i < count; ++i) {
    const PathStep& s = path.steps[i];
    const auto kind = static_cast<std::size_t>(s.kind);
    steps.push_back(json::object{{"step", kind < kStepNames.size() ? kStepNames[kind] : "unknown"}, {"text", words.of(s)}});
    if (s.kind == StepKind::Leaves) port = words.port(s.port);
  }
  const bool dropped = static_cast<std::size_t>(path.dropped) < kDropReasons;
  const bool out = std::ranges::any_of(std::span(path.steps).first(count), [](const PathStep& s) { return s.kind == StepKind::Leaves; });
  const char* verdict = dropped                ? "dropped"
                        : path.answered != 0   ? "here"
                        : !out                 ? "elsewhere"
                        : words.is_protected() ? "encrypted"
                                               : "clear";
  return {{"verdict", verdict},
          {"port", port.empty() ? json::value(nullptr) : json::value(port)},
          {"reason", dropped ? json::value(info(path.dropped).name) : json::value(nullptr)},
          {"help", dropped ? json::value(info(path.dropped).help) : json::value(nullptr)},
          {"steps", std::move(steps)}};
}

Result trace_packet(Gateway& gateway, const Args& args, ike::TimePoint now) {
  if (gateway.link() == nullptr) throw CommandError("failed", "the data plane is not attached");
  const auto forecast = gateway.trace_packet(now, question_of(gateway, args));
  return Reply{{},
               [&gateway, forecast](ike::TimePoint) -> std::optional<Line> {
                 if (!forecast->outcome) return std::nullopt;
                 return answer_line(gateway, *forecast);
               },
               {}};
}

}  // namespace culvert::control::cli

#include "control/ikev1/traced.hpp"

#include "control/ikev1/trace.hpp"

namespace culvert::ikev1 {

namespace {

std::string in_clear(const ike::Framed& framed) {
  const auto message = Message::parse(static_cast<PayloadType>(framed.header.next_payload), framed.body, Trailing::Padding);
  return message ? describe(*message)
                 : "does not parse at byte " + std::to_string(message.error().offset) + " (" + message.error().rule + ")";
}

/// Who has these addresses first, of this version or, since it is refused for its version, of the other one.
std::string meant(const Core& core, const Endpoint& local, const Endpoint& remote) {
  for (const auto version : {std::uint8_t{1}, std::uint8_t{0}})
    if (const auto options = core.shared.by_peer.candidates(local, remote.address, version); !options.empty())
      return core.config.connections.at(options.front()).name;
  return {};
}

/// The connection of a message: of its SA, or the first that has these addresses.
std::string connection_of(const Core& core, const Incoming& in) {
  auto id = core.table.find(in.header().spi_i, in.header().spi_r);
  if (!id) id = core.table.find_initiating(in.header().spi_i);
  if (!id) id = core.table.find_half_open(in.header().spi_i, in.datagram.remote);
  if (const auto sa = id ? core.sas().find(*id) : core.sas().end(); sa != core.sas().end()) return core.connection(*sa->second).name;
  return meant(core, in.datagram.local, in.datagram.remote);
}

}  // namespace

void trace_sent(Core& core, TimePoint now, const IsakmpSa& sa, ByteView message) {
  const std::string& name = core.connection(sa).name;
  if (!core.watches.matches(now, name, sa.remote)) return;
  const auto framed = ike::parse_header(message);
  if (!framed) return;
  std::string inside;
  if (framed->header.encrypted()) {
    const std::string* note = sa.notes.find(message);
    inside = note ? *note : std::string("sealed before it was watched");
  } else {
    inside = in_clear(*framed);
  }
  core.trace(now, name, sa.remote, "out: " + describe(framed->header, message.size()) + ": " + inside);
}

void trace_stateless(Core& core, const ike::Datagram& to, ByteView message) {
  const TimePoint now = core.traced_at;
  const auto framed = ike::parse_header(message);
  const std::string name = meant(core, to.local, to.remote);
  if (!framed || !core.watches.matches(now, name, to.remote)) return;
  core.trace(now, name, to.remote, "out: " + describe(framed->header, message.size()) + ": " + in_clear(*framed));
}

std::optional<std::function<void(const std::string&)>> trace_received(Core& core, const Incoming& in) {
  core.traced_at = in.now;
  std::string name = connection_of(core, in);
  const Endpoint peer = in.datagram.remote;
  if (!core.watches.matches(in.now, name, peer)) return std::nullopt;
  std::string text = "in: " + describe(in.header(), in.framed.message.size());
  if (!in.header().encrypted()) text += ": " + in_clear(in.framed);
  core.trace(in.now, name, peer, std::move(text));
  if (!in.header().encrypted()) return std::nullopt;
  return [&core, now = in.now, name = std::move(name), peer](const std::string& inside) {
    core.trace(now, name, peer, "in, decrypted: " + inside);
  };
}

}  // namespace culvert::ikev1

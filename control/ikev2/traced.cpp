#include "control/ikev2/traced.hpp"

#include "control/ikev2/trace.hpp"

namespace culvert::ikev2 {

namespace {

std::string in_clear(const ike::Framed& framed) {
  const auto message = Message::parse(PayloadType{framed.header.next_payload}, framed.body);
  return message ? describe(*message)
                 : "does not parse at byte " + std::to_string(message.error().offset) + " (" + message.error().rule + ")";
}

/// Who has these addresses first, of this version or, since it is refused for its version, of the other one.
std::string meant(const Core& core, const Endpoint& local, const Endpoint& remote) {
  for (const auto version : {std::uint8_t{2}, std::uint8_t{0}})
    if (const auto options = core.shared.by_peer.candidates(local, remote.address, version); !options.empty())
      return core.config.connections.at(options.front()).name;
  return {};
}

/// The connection of a message: of its SA, or the first that has these addresses.
std::string connection_of(const Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  auto id = core.table.find(h.spi_i, h.spi_r);
  if (!id && in.response()) id = core.table.find_initiating(h.spi_i);
  if (!id && !in.response()) id = core.table.find_half_open(h.spi_i, in.datagram.remote, ike::fingerprint(in.framed.message));
  if (const auto sa = id ? core.sas().find(*id) : core.sas().end(); sa != core.sas().end()) return core.connection(*sa->second).name;
  return meant(core, in.datagram.local, in.datagram.remote);
}

/// What we have just sealed.
std::string inside(const IkeSa& sa, ByteView message) {
  const auto opened = sa.seal ? sa.seal->open(message) : std::unexpected(OpenError::BadIcv);
  const auto parsed = opened ? Message::parse(opened->first, opened->chain) : Parsed<Message>(std::unexpected(ParseError{}));
  return parsed ? describe(*parsed) : std::string("sealed by other keys");
}

}  // namespace

void trace_sent(Core& core, TimePoint now, const IkeSa& sa, ByteView message) {
  const std::string& name = core.connection(sa).name;
  if (!core.shared.watches.matches(now, name, sa.remote)) return;
  const auto framed = ike::parse_header(message);
  if (!framed) return;
  core.shared.trace(
      now, name, sa.remote,
      "out: " + describe(framed->header, message.size()) + ": " + (sealed_body(framed->header) ? inside(sa, message) : in_clear(*framed)));
}

void trace_stateless(Core& core, const ike::Datagram& to, ByteView message) {
  const TimePoint now = core.traced_at;
  const auto framed = ike::parse_header(message);
  const std::string name = meant(core, to.local, to.remote);
  if (!framed || !core.shared.watches.matches(now, name, to.remote)) return;
  core.shared.trace(now, name, to.remote, "out: " + describe(framed->header, message.size()) + ": " + in_clear(*framed));
}

void trace_received(Core& core, const Incoming& in) {
  core.traced_at = in.now;
  const std::string name = connection_of(core, in);
  if (!core.shared.watches.matches(in.now, name, in.datagram.remote)) return;
  std::string text = "in: " + describe(in.header(), in.framed.message.size());
  if (!sealed_body(in.header())) text += ": " + in_clear(in.framed);
  core.shared.trace(in.now, name, in.datagram.remote, std::move(text));
}

void trace_opened(Core& core, const Incoming& in, const IkeSa& sa, const Message& message) {
  const std::string& name = core.connection(sa).name;
  if (!core.shared.watches.matches(in.now, name, in.datagram.remote)) return;
  core.shared.trace(in.now, name, in.datagram.remote, "in, decrypted: " + describe(message));
}

}  // namespace culvert::ikev2

#include "control/ikev2/transport.hpp"

#include <algorithm>
#include <utility>

#include "control/ikev2/children.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/strangers.hpp"
#include "control/ikev2/strays.hpp"
#include "control/ikev2/traced.hpp"
#include "control/ikev2/window.hpp"

namespace culvert::ikev2 {

namespace {
Exchange exchange_of(std::uint8_t type) {
  switch (type) {
    case ike::kExchangeSaInit:
      return Exchange::IkeSaInit;
    case ike::kExchangeAuth:
      return Exchange::IkeAuth;
    case ike::kExchangeCreateChildSa:
      return Exchange::CreateChildSa;
    case ike::kExchangeIntermediate:
      return Exchange::IkeIntermediate;
    case ike::kExchangeFollowupKe:
      return Exchange::IkeFollowupKe;
    default:
      return Exchange::Informational;
  }
}

constexpr const char* kNoRoom = "a request comes before its turn, and there is no room for more of these";

/// Bytes that a message may have which goes in one packet of ike.fragment_size.
std::size_t room_of_packet(const Core& core, const IkeSa& sa) {
  constexpr std::size_t kIpv4AndUdp = 28, kIpv6AndUdp = 48;
  return core.config.ike.fragment_size - (sa.local.address.family == Family::V6 ? kIpv6AndUdp : kIpv4AndUdp) -
         (sa.local.port == ike::kNatPort ? ike::kNonEspMarker : 0);
}

Datagrams sealed(const Core& core, IkeSa& sa, std::uint8_t exchange, std::uint32_t id, bool response, const Builder& payloads) {
  ike::Header h;
  h.spi_i = sa.spi_i;
  h.spi_r = sa.spi_r;
  h.major = 2;
  h.exchange = exchange;
  h.message_id = MessageId{id};
  h.flags = static_cast<std::uint8_t>((sa.role == Role::Initiator ? ike::kFlagInitiator : 0) | (response ? ike::kFlagResponse : 0));
  const Bytes chain = payloads.chain();
  const std::size_t most = room_of_packet(core, sa), part = sa.seal->fragment_room(most);
  const std::size_t total = part == 0 ? 0 : (chain.size() + part - 1) / part;
  const bool cut = sa.fragments && core.connection(sa).fragmentation == config::Fragmentation::Yes;
  if (!cut || sa.seal->sealed_bytes(chain.size()) <= most || total < 2 || total > kMaxFragments)
    return {sa.seal->seal(h, payloads.first(), chain)};
  Datagrams out;
  for (std::size_t i = 0; i < total; ++i) {
    const ByteView piece = ByteView(chain).subspan(i * part, std::min(part, chain.size() - i * part));
    out.push_back(
        sa.seal->seal_fragment(h, payloads.first(), piece, {static_cast<std::uint16_t>(i + 1), static_cast<std::uint16_t>(total)}));
  }
  return out;
}

}  // namespace

Outstanding send_request(Core& core, TimePoint now, IkeSa& sa, std::uint8_t exchange, const Builder& payloads) {
  sa.last_request = sealed(core, sa, exchange, sa.next_request++, false, payloads);
  core.send(now, sa, sa.last_request);
  note_asked(sa);
  return {now, {}, core.config.ike, core.services};
}

void send_apart(Core& core, TimePoint now, IkeSa& sa, std::uint8_t exchange, std::uint32_t id, const Builder& payloads) {
  core.send(now, sa, sealed(core, sa, exchange, id, false, payloads));
}

void answer(Core& core, TimePoint now, IkeSa& sa, std::uint8_t exchange, std::uint32_t id, const Builder& payloads) {
  sa.last_answer = sealed(core, sa, exchange, id, true, payloads);
  go_on_to(sa, id + 1);
  sa.repeats = 0;
  sa.opened_by.reset();
  sa.answering.reset();
  sa.mobility.agreed ? core.send_by(now, sa, sa.last_answer, sa.mobility.asked_from) : core.send(now, sa, sa.last_answer);
}

void answer_error(Core& core, TimePoint now, IkeSa& sa, std::uint8_t exchange, std::uint32_t id, NotifyType type, Bytes data) {
  answer(core, now, sa, exchange, id, Builder().notify(type, std::move(data)));
}

std::optional<Message> open(Core& core, const Incoming& in, IkeSa& sa, Opened* whole) {
  const auto junk = [&](Reason reason, const std::string& text) {
    core.shared.junk(in.now, in.datagram.remote, exchange_of(in.header().exchange), reason, core.connection(sa).name + ": " + text + ".");
    return std::nullopt;
  };
  const bool proven = sa.established() || std::holds_alternative<Closing>(sa.state);
  const bool stray = !in.response() && from_elsewhere(in, sa);
  Forgeries& forgeries = stray ? sa.stray.forgeries : sa.forgeries;
  if (!proven && !forgeries.may_try(in.now)) return junk(Reason::Limit, "too many forged messages for an IKE SA that is being made");
  auto opened = sa.open->open(in.framed.message);
  if (!opened && opened.error() == OpenError::BadIcv) forgeries.count();
  if (!opened)
    return junk(opened.error() == OpenError::BadIcv ? Reason::BadHash : Reason::Malformed,
                "a message is not taken in: " + std::string(name(opened.error())));
  if (opened->place.total != 1) {
    if (!sa.fragments) return junk(Reason::Unexpected, "a fragment of a message, which was not agreed on");
    const Fragments::Of message{in.header().message_id.value, in.header().exchange};
    const bool early = !in.response() && may_wait(sa, message.id);
    if (early && !has_room(sa, opened->chain.size())) return junk(Reason::Limit, kNoRoom);
    auto joined =
        in.response() ? sa.reply_parts.add(in.now, message, std::move(*opened)) : sa.request_parts.add(in.now, message, std::move(*opened));
    if (!joined) return junk(Reason::Limit, joined.error());
    if (!*joined && stray) forgeries.count();  // anybody may send a copy of it
    if (!*joined) return std::nullopt;
    opened = std::move(**joined);
  }
  auto message = Message::parse(opened->first, opened->chain);
  if (!message) return junk(Reason::Malformed, std::string("a message does not parse (") + message.error().rule + ")");
  if (!core.shared.watches.empty()) trace_opened(core, in, sa, *message);
  if (whole) *whole = std::move(*opened);
  return std::move(*message);
}

namespace {
/// Whether it is the request again that this answer was for: of one in fragments the first (RFC 7383 §2.6.1), which need not be of the
/// size that it had.
bool asked_again(const Incoming& in, IkeSa& sa, const Repeatable& before) {
  if (PayloadType{in.header().next_payload} != PayloadType::Skf) return ike::fingerprint(in.framed.message) == before.print;
  if (!sa.fragments || (!sa.established() && !sa.forgeries.may_try(in.now))) return false;
  const auto opened = (sa.opened_by ? *sa.opened_by : *sa.open).open(in.framed.message);
  if (!opened) sa.forgeries.count();
  return opened && opened->place.number == 1;
}
/// Whether the answer may go there again. Who has only seen a request can say it again in a victim's name: to another address than the
/// peer's it goes as often as that is worth it.
bool may_repeat(const Incoming& in, IkeSa& sa, const Datagrams& answer) {
  if (was_begun_at(in, sa)) return true;
  const bool shown = !sa.stray.begun_at;  // that the peer is where its proof came from
  if (shown && in.datagram.remote.address == sa.remote.address) return true;
  if (shown && !sa.mobility.agreed) return true;  // it goes to the peer's
  sa.allowance.received(in.framed.message.size());
  std::size_t size = 0;
  for (const Bytes& one : answer) size += one.size();
  return sa.allowance.spend(size);
}

void repeat(Core& core, const Incoming& in, IkeSa& sa, const Repeatable& before) {
  if (!may_repeat(in, sa, before.answer)) return;
  ++before.repeats;
  // Whoever asks again does not have the answer yet.
  for (Child& child : sa.children)
    if (child.outbound && child.rekeyed == 0) child.ready_at = std::max(child.ready_at, in.now + kRivalWait);
  const Path here{sa.local, sa.remote}, there{in.datagram.local, in.datagram.remote};
  core.send_by(in.now, sa, before.answer, sa.mobility.agreed || was_begun_at(in, sa) ? there : here);
}
}  // namespace

Arrived arrival(Core& core, const Incoming& in, IkeSa& sa) {
  const std::uint32_t id = in.header().message_id.value;
  if (const auto before = answer_to(sa, id); before && before->repeats < most_repeats(sa) && asked_again(in, sa, *before)) {
    repeat(core, in, sa, *before);
    return Arrived::Old;
  }
  if (may_wait(sa, id)) return sa.window.early.contains(id) ? Arrived::Old : Arrived::Early;
  if (id > sa.next_expected)
    core.shared.junk(in.now, in.datagram.remote, exchange_of(in.header().exchange), Reason::Unexpected,
                     core.connection(sa).name + ": a request has a message ID beyond the window.");
  if (id != sa.next_expected || (sa.answering && sa.answering->id == id)) return Arrived::Old;
  return Arrived::Fresh;
}

namespace {
/// It is there, wherever that is; a request that has overtaken others says it better than these.
void lives(Core& core, const Incoming& in, IkeSa& sa) {
  sa.last_heard = in.now;
  sa.confirmed = true;
  core.touch(sa);
  settle_stray(core, in, sa);
  if (in.response() || sa.mobility.agreed) return;  // it moves when it says so (RFC 4555 §3.8)
  if (const std::uint32_t id = in.header().message_id.value; highest(sa, id) != id) return;
  if (in.datagram.local.address == sa.local.address) sa.local.port = in.datagram.local.port;
  if (in.datagram.remote != sa.remote && sa.nat.remote && !sa.nat.local) move_peer(core, sa, in.datagram.remote);
}
}  // namespace

void heard(Core& core, const Incoming& in, IkeSa& sa) {
  lives(core, in, sa);
  if (in.response()) return;
  take_up(sa, in.header().message_id.value, ike::fingerprint(in.framed.message), {in.datagram.local, in.datagram.remote});
}

void let_wait(Core& core, const Incoming& in, IkeSa& sa) {
  Opened whole;
  auto message = open(core, in, sa, &whole);
  if (!message) return;
  const std::size_t bytes = whole.chain.size();
  if (!has_room(sa, bytes))
    return core.shared.junk(in.now, in.datagram.remote, exchange_of(in.header().exchange), Reason::Limit,
                            core.connection(sa).name + ": " + kNoRoom + ".");
  lives(core, in, sa);
  sa.window.early[in.header().message_id.value] = {.header = in.header(),
                                                   .message = std::move(*message),
                                                   .bytes = bytes,
                                                   .print = ike::fingerprint(in.framed.message),
                                                   .by = {in.datagram.local, in.datagram.remote},
                                                   .came = in.now};
}

void move_peer(Core& core, IkeSa& sa, const Endpoint& remote) {
  if (sa.remote == remote) return;
  core.say(sa, Severity::Info, Exchange::Informational, Reason::Ok,
           "The peer is at " + remote.to_string() + " now, and was at " + sa.remote.to_string() + ".");
  sa.remote = remote;
  for (Child& child : sa.children)
    if (child.udp_encap && !child.outbound && child.life != Life::Ended)
      core.shared.actions.emplace_back(ike::MoveSa{child.pair, child.spi_out, remote});
}

}  // namespace culvert::ikev2

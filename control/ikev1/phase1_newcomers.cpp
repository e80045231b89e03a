#include "control/ikev1/phase1_newcomers.hpp"

#include <algorithm>
#include <utility>

#include "control/ikev1/exchange_aggressive_mode.hpp"
#include "control/ikev1/exchange_main_mode.hpp"

namespace culvert::ikev1 {

namespace {

/// So many reports of newcomers whose time is over in one go: thousands end together after a flood.
constexpr std::size_t kNewcomersAtOnce = 1024;

std::unique_ptr<IsakmpSa> answer(Core& core, const Incoming& in, const ike::Newcomer& newcomer) {
  return newcomer.mode == Exchange::MainMode ? answer_main_mode(core, in, newcomer) : answer_aggressive_mode(core, in, newcomer);
}

void send_message_2(Core& core, const Incoming& in, ike::Newcomer& newcomer, const Bytes& reply) {
  newcomer.allowance.received(in.datagram.data.size());
  if (newcomer.allowance.spend(reply.size())) core.send_stateless({newcomer.local, newcomer.remote, {}}, reply);
}

/// Nothing of a message 3 that is encrypted can be judged before there are keys.
bool could_be_message_3(Core& core, const Incoming& in, Exchange mode) {
  if (mode == Exchange::AggressiveMode && in.header().encrypted()) return true;
  const auto message = open_clear(in, mode == Exchange::MainMode ? MessageKind::MainMode3 : MessageKind::AggressiveMode3);
  if (!message) core.junk(in.now, in.datagram.remote, mode, message.error().reason, message.error().text);
  return message.has_value();
}

}  // namespace

bool begins_again(Core& core, const Incoming& in, Exchange mode) {
  ike::Newcomer* known = core.newcomers.find(in.header().spi_i, in.datagram.remote);
  if (!known) return first_message_again(core, in);
  const bool same = known->mode == mode && known->local == in.datagram.local && std::ranges::equal(known->message, in.framed.message);
  if (!same || ++known->repeats > ike::kMaxRepeatsUnproven) return true;
  if (const auto sa = answer(core, in, *known)) send_message_2(core, in, *known, sa->replies.reply());
  return true;
}

std::unique_ptr<IsakmpSa> begin_newcomer(Core& core, const Incoming& in, ike::Newcomer newcomer) {
  newcomer.spi_i = in.header().spi_i;
  newcomer.spi_r = core.new_cookie();
  newcomer.local = in.datagram.local;
  newcomer.remote = in.datagram.remote;
  newcomer.since = in.now;
  newcomer.message.assign(in.framed.message.begin(), in.framed.message.end());
  auto sa = answer(core, in, newcomer);
  if (!sa) return nullptr;
  newcomer.connection = sa->connection;
  send_message_2(core, in, newcomer, sa->replies.reply());
  const Exchange mode = newcomer.mode;
  if (core.newcomers.add(std::move(newcomer)) > 0)
    core.junk(in.now, in.datagram.remote, mode, Reason::Limit, "Others who began and have not gone on are forgotten for this one.");
  return sa;
}

bool welcome(Core& core, const Incoming& in, Exchange mode) {
  const ike::Header& h = in.header();
  ike::Newcomer* known = core.newcomers.told(h.spi_i, h.spi_r, in.datagram.local, in.datagram.remote);
  if (!known || known->mode != mode) return false;
  if (!could_be_message_3(core, in, mode)) return true;
  if (const Room room = look_for_room(core, in.now, known->remote, mode); room != Room::Yes) {
    const Endpoint line = room == Room::NotForThisSource ? ike::host_of(known->remote) : ike::Newcomers::kAnywhere;
    core.newcomers.wait(*known, {in.datagram.local, in.datagram.remote, Bytes(in.framed.message.begin(), in.framed.message.end())}, line);
    return true;
  }
  const auto newcomer = core.newcomers.take(h.spi_i, h.spi_r, in.datagram.local, in.datagram.remote);
  const ike::Datagram first{newcomer->local, newcomer->remote, newcomer->message};
  auto owned = answer(core, {in.now, first, *ike::parse_header(first.data)}, *newcomer);
  if (!owned) return true;  // the configured connection is not there any more
  IsakmpSa& sa = *owned;
  sa.allowance = newcomer->allowance;
  sa.allowance.received(in.datagram.data.size());
  core.table.add_responder(sa.id, sa.spi_i, sa.spi_r, newcomer->remote, true);
  core.add(std::move(owned));
  if (mode == Exchange::MainMode)
    on_message_3(core, in, sa, std::get<MmAwaitKeInit>(sa.state));
  else
    on_aggressive_newcomer_3(core, in, sa, std::get<AmAnswered>(sa.state), *newcomer);
  return true;
}

void welcome_waiting(Core& core, TimePoint now) {
  for (const Endpoint& source : core.table.take_freed())
    for (const Endpoint& line : {source, ike::Newcomers::kAnywhere}) {
      IkeSpi before{};
      while (const ike::Newcomer* next = core.newcomers.waiting(line, now - core.config.ike.half_open_timeout / 2)) {
        if (std::exchange(before, next->spi_r) == next->spi_r) break;  // still no room
        const ike::Datagram third = *next->third;
        welcome(core, {now, third, *ike::parse_header(third.data)}, next->mode);
      }
    }
}

void forget_newcomers(Core& core, TimePoint now) {
  for (std::size_t i = 0; i < kNewcomersAtOnce; ++i) {
    const auto gone = core.newcomers.take_older(now - core.config.ike.half_open_timeout);
    if (!gone) return;
    if (!gone->reported)
      core.refused(now, gone->connection, gone->remote, gone->mode, Reason::Timeout, not_finished_text(gone->remote, gone->mode),
                   {.number = 3});
  }
}

}  // namespace culvert::ikev1

#include "control/ikev2/strays.hpp"

#include <utility>

#include "control/ike/retransmit.hpp"
#include "control/ikev2/exchange_intermediate.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

/// Why a message does not prove anybody, whatever its proof is; nullopt: that is to be seen.
std::optional<std::string> proves_nobody(const Incoming& in, const IkeSa& sa, const Message& m) {
  if (!m.find<Auth>()) return "it has no AUTH payload";
  if (m.unknown_critical()) return "it has a critical payload that is not known";
  if (const auto fault = check(MessageKind::AuthRequest, m)) return *fault;
  if (const auto skipped = skipped_exchange(sa)) return *skipped;
  if (m.notify(NotifyType::MobikeSupported) && forbids_nat(in, m)) return "it forbids a NAT, and there is one between";
  return std::nullopt;
}

void stray_dropped(Core& core, TimePoint now, const IkeSa& sa, const Endpoint& from, Reason reason, const std::string& why) {
  core.shared.junk(now, from, Exchange::IkeAuth, reason,
                   core.connection(sa).name + ": IKE_AUTH comes from another address than IKE_SA_INIT, and is not taken in: " + why + ".");
}

}  // namespace

bool may_be_stray(const Incoming& in, const IkeSa& sa) {
  return in.header().exchange == ike::kExchangeAuth && in.header().message_id.value == sa.next_expected &&
         std::holds_alternative<AwaitAuth>(sa.state) && sa.nat.remote && !sa.nat.local && !sa.stray.tried;
}

bool begin_trial(Core& core, const Incoming& in, IkeSa& sa, const Message& message) {
  if (const auto why = proves_nobody(in, sa, message)) {
    sa.stray.forgeries.count();
    stray_dropped(core, in.now, sa, in.datagram.remote, Reason::Unexpected, *why);
    return false;
  }
  sa.stray.tried = true;
  const Path from{in.datagram.local, in.datagram.remote};
  sa.stray.trial = StrayTrial{.before = {sa.local, sa.remote},
                              .state = std::get<AwaitAuth>(sa.state),
                              .connection = sa.connection,
                              .from = from,
                              .print = ike::fingerprint(in.framed.message)};
  sa.local = from.local;
  sa.remote = from.remote;
  return true;
}

void end_trial(Core& core, TimePoint now, IkeSa& sa) {
  if (!sa.stray.trial) return;
  const StrayTrial trial = *std::exchange(sa.stray.trial, {});
  sa.stray.begun_at = trial.before.remote;
  sa.last_heard = now;
  sa.last_print = trial.print;
  sa.mobility.asked_from = trial.from;
  core.table.heard(sa.id);
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok,
           "The peer proves itself from " + trial.from.remote.to_string() + ", and was at " + trial.before.remote.to_string() +
               " in IKE_SA_INIT: its NAT has given it another address.");
}

bool drop_trial(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& why) {
  if (!sa.stray.trial) return false;
  StrayTrial trial = *std::exchange(sa.stray.trial, {});
  stray_dropped(core, now, sa, trial.from.remote, reason, why);
  core.reassign(sa, trial.connection);
  sa.local = trial.before.local;
  sa.remote = trial.before.remote;
  sa.ppk.reset();
  sa.rounds = {};
  sa.state = std::move(trial.state);
  return true;
}

bool was_begun_at(const Incoming& in, const IkeSa& sa) {
  return sa.stray.begun_at && in.datagram.remote.address == sa.stray.begun_at->address;
}

void ask_stray(Core& core, IkeSa& sa) {
  if (!sa.stray.begun_at || sa.stray.asked || !sa.established() || sa.answering) return;
  sa.stray.asked = true;
  add_task(core, sa, {.kind = Task::Kind::Liveness});
}

void settle_stray(Core& core, const Incoming& in, IkeSa& sa) {
  if (!sa.stray.begun_at || !sa.established()) return;
  const bool back = was_begun_at(in, sa);
  sa.stray.begun_at.reset();
  if (!back) return;
  sa.local = in.datagram.local;
  move_peer(core, sa, in.datagram.remote);
}

}  // namespace culvert::ikev2

#include "control/ikev2/dispatch.hpp"

#include <algorithm>

#include "control/ikev2/children.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/counter_sync.hpp"
#include "control/ikev2/exchange_auth.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_eap.hpp"
#include "control/ikev2/exchange_followup.hpp"
#include "control/ikev2/exchange_informational.hpp"
#include "control/ikev2/exchange_intermediate.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/resume.hpp"
#include "control/ikev2/strangers.hpp"
#include "control/ikev2/strays.hpp"
#include "control/ikev2/traced.hpp"
#include "control/ikev2/transport.hpp"
#include "control/ikev2/window.hpp"

namespace culvert::ikev2 {

namespace {

void judge_exchange(Core& core, const Incoming& in, IkeSa& sa, const Message& message) {
  const bool closing = std::holds_alternative<Closing>(sa.state);
  const std::uint8_t exchange = in.header().exchange;
  const std::uint32_t id = in.header().message_id.value;
  if (const auto critical = message.unknown_critical())
    return answer_error(core, in.now, sa, exchange, id, NotifyType::UnsupportedCriticalPayload, {*critical});
  switch (exchange) {
    case ike::kExchangeCreateChildSa:
      take_place(core, in.now, sa);
      if (closing) return answer_error(core, in.now, sa, exchange, id, NotifyType::TemporaryFailure);
      return on_create_child_request(core, in, sa, message);
    case ike::kExchangeFollowupKe:
      take_place(core, in.now, sa);
      if (closing) return answer_error(core, in.now, sa, exchange, id, NotifyType::TemporaryFailure);
      return on_followup_request(core, in, sa, message);
    case ike::kExchangeInformationalV2:
      if (const auto fault = check(MessageKind::Informational, message)) {
        core.say(sa, Severity::Warn, Exchange::Informational, Reason::BadPayloads, "INFORMATIONAL: " + *fault);
        return answer_error(core, in.now, sa, exchange, id, NotifyType::InvalidSyntax);
      }
      return on_informational_request(core, in, sa, message);
    default:
      return answer_error(core, in.now, sa, exchange, id, NotifyType::InvalidSyntax);
  }
}

void judge_request(Core& core, const Incoming& in, IkeSa& sa, const Message& message) {
  judge_exchange(core, in, sa, message);
  const std::uint32_t id = highest(sa, in.header().message_id.value);
  if (!sa.dead && sa.established()) release_answered(core, in.now, sa, id);  // but not what it has just deleted
}

void on_request(Core& core, const Incoming& in, IkeSa& sa) {
  if (in.header().exchange == ike::kExchangeAuth && !sa.established()) return on_auth_request(core, in, sa);
  if (in.header().exchange == ike::kExchangeIntermediate && !sa.established()) return on_intermediate_request(core, in, sa);
  if (on_sync_request(core, in, sa)) return;
  follow_ids(core, in, sa);
  const Arrived arrived = arrival(core, in, sa);
  if (arrived == Arrived::Old) return;
  const bool closing = std::holds_alternative<Closing>(sa.state);
  if (!sa.established() && !closing) {
    if (in.header().exchange == ike::kExchangeInformationalV2) on_eap_farewell(core, in, sa);
    return;
  }
  if (arrived == Arrived::Early) return let_wait(core, in, sa);
  const auto message = open(core, in, sa);
  if (!message) return;
  heard(core, in, sa);
  judge_request(core, in, sa, *message);
}

/// What has come before its turn, when that is there.
void go_on_with_early(Core& core, TimePoint now, IkeSa& sa) {
  while (const auto early = next_early(sa)) {
    const ike::Datagram datagram{.local = early->by.local, .remote = early->by.remote, .data = {}};
    const ike::Framed framed{early->header, {}, {}};
    take_up(sa, early->header.message_id.value, early->print, early->by);
    judge_request(core, {now, datagram, framed}, sa, early->message);
  }
}

void on_response(Core& core, const Incoming& in, IkeSa& sa) {
  if (in.header().exchange == ike::kExchangeAuth && !sa.established()) return on_auth_response(core, in, sa);
  if (in.header().exchange == ike::kExchangeIntermediate && !sa.established()) return on_intermediate_response(core, in, sa);
  if (on_sync_response(core, in, sa)) return;
  if (!sa.request || sa.request->id != in.header().message_id.value || !std::holds_alternative<RequestSent>(sa.request->state)) return;
  const auto message = open(core, in, sa);
  if (!message) return;
  heard(core, in, sa);
  ids_proven(sa);
  answered_by(core, in, sa);
  if (sa.request->moot) {
    sa.request.reset();
    return;
  }
  const bool create = !std::holds_alternative<std::monostate>(sa.request->make);
  const bool more = sa.request->more.has_value();
  if (create && more && in.header().exchange == ike::kExchangeFollowupKe) return on_followup_response(core, in, sa, *message);
  if (create && !more && in.header().exchange == ike::kExchangeCreateChildSa) return on_create_child_response(core, in, sa, *message);
  if (!create && in.header().exchange == ike::kExchangeInformationalV2) return on_informational_response(core, in, sa, *message);
}

}  // namespace

void on_message(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  if (!core.shared.watches.empty()) trace_received(core, in);
  if (h.exchange == ike::kExchangeSaInit) return on_sa_init(core, in);
  if (h.exchange == ike::kExchangeSessionResume) return on_resume(core, in);
  const auto id = core.table.find(h.spi_i, h.spi_r);
  IkeSa* sa = id ? core.find(*id) : nullptr;
  const auto junk = [&](Reason reason, const char* text) {
    core.shared.junk(in.now, in.datagram.remote, Exchange::Informational, reason, text);
  };
  if (!sa) {
    answer_unknown(core, in);
    return junk(Reason::UnknownSa, "A message names an IKE SA that nobody here has.");
  }
  if (sa->local.vrf != in.datagram.local.vrf) return junk(Reason::UnknownSa, "A message names an IKE SA of another VRF.");
  const bool of_initiator = (h.flags & ike::kFlagInitiator) != 0;
  if (of_initiator != (sa->role == Role::Responder) || !sa->open)
    return junk(Reason::Unexpected, "A message of an IKE SA that it cannot be of.");
  if (!in.response() && from_elsewhere(in, *sa) && !may_be_stray(in, *sa))
    return junk(Reason::Unexpected, "An IKE SA that is being made goes on from another address than it was begun from.");
  if (in.response() && PayloadType{h.next_payload} == PayloadType::Notify) return on_crash_notice(core, in, *sa);
  in.response() ? on_response(core, in, *sa) : on_request(core, in, *sa);
}

void on_dh(Core& core, TimePoint now, const ike::DhResult& result) {
  const auto owner = core.take_job(result.job);
  IkeSa* sa = owner ? core.find(owner->sa) : nullptr;
  if (!sa) return;
  if (!sa->established() && !std::holds_alternative<Closing>(sa->state)) return on_sa_init_dh(core, now, *sa, result, result.job);
  if (sa->answering && sa->answering->job == result.job) return on_answering_dh(core, now, *sa, result);
  if (sa->request) on_request_dh(core, now, *sa, result, result.job);
}

void on_signed(Core& core, TimePoint now, const ike::SignResult& result) {
  const auto owner = core.take_job(result.job);
  if (IkeSa* sa = owner ? core.find(owner->sa) : nullptr) on_auth_signed(core, now, *sa, result);
}

void on_verified(Core& core, TimePoint now, const ike::VerifyResult& result) {
  const auto owner = core.take_job(result.job);
  if (IkeSa* sa = owner ? core.find(owner->sa) : nullptr) on_auth_verified(core, now, *sa, result);
}

void on_user_found(Core& core, TimePoint now, const ike::UserFound& result) {
  const auto owner = core.take_job(result.job);
  if (IkeSa* sa = owner ? core.find(owner->sa) : nullptr) on_eap_user(core, now, *sa, result);
}

void on_radius(Core& core, TimePoint now, const ike::RadiusAnswer& answer) {
  const auto owner = core.take_job(answer.job);
  if (IkeSa* sa = owner ? core.find(owner->sa) : nullptr) on_eap_radius(core, now, *sa, answer);
}

void on_tls(Core& core, TimePoint now, ike::TlsStepped result) {
  const auto owner = core.take_job(result.job);
  if (IkeSa* sa = owner ? core.find(owner->sa) : nullptr) on_eap_tls(core, now, *sa, std::move(result));
}

void on_installed(Core& core, TimePoint now, JobId job, bool ok, const std::string& error) {
  const auto owner = core.take_job(job);
  if (!owner || !owner->install) return;
  if (*owner->install == Direction::Inbound) {
    IkeSa* sa = core.find(owner->sa);
    if (!sa) return;
    if (sa->answering && sa->answering->job == job) {
      const bool auth = std::get<AnsweringChild>(sa->answering->what).auth;
      return auth ? on_auth_installed(core, now, *sa, ok, error) : on_answering_installed(core, now, *sa, ok, error);
    }
    if (sa->request) on_request_installed(core, now, *sa, job, ok, error);
    return;
  }
  if (ok) return;
  // A rekeyed IKE SA may have it by now.
  for (const auto& [id, shared] : core.sas()) {
    Child* child = shared->dead ? nullptr : shared->find(owner->pair);
    if (!child) continue;
    IkeSa& sa = *core.find(id);
    core.ended(now, sa, Exchange::CreateChildSa, child->role, Reason::InstallFailed,
               "The data plane refused the outbound SA: " + error + ".", child->child);
    child_failed(core, now, sa.connection, child->child);
    return delete_child(core, sa, *child, Reason::InstallFailed);
  }
}

void on_timer(Core& core, TimePoint now) {
  const auto due = core.take_expired(now);
  for (const SaId id : due.sas) {
    if (IkeSa* sa = core.find(id)) {
      sa->request_parts.expire(now);
      sa->reply_parts.expire(now);
    }
    if (IkeSa* sa = core.find(id)) on_connecting_timer(core, now, *sa);
    if (IkeSa* sa = core.find(id)) on_established_timer(core, now, *sa);
    if (IkeSa* sa = core.find(id)) on_sync_timer(core, now, *sa);
  }
  for (const std::size_t index : due.runs) core.run(index);
}

void settle(Core& core, TimePoint now) {
  core.settle({[&](std::size_t index) {
                 release_leases(core, index);
                 drive(core, now, index);
               },
               [&](IkeSa& sa) {
                 go_on_with_early(core, now, sa);
                 advance(core, now, sa);
               },
               [&](const IkeSa& sa) {
                 return earliest(earliest(earliest(connecting_deadline(sa), established_deadline(core, sa)), sync_deadline(sa)),
                                 earliest(sa.request_parts.deadline(), sa.reply_parts.deadline()));
               },
               [&](std::size_t index) { return run_deadline(core, index); }});
}

}  // namespace culvert::ikev2

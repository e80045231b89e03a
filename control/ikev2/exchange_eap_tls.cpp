#include "control/ikev2/exchange_eap_tls.hpp"

#include <utility>

#include "control/ikev2/exchange_eap.hpp"

namespace culvert::ikev2 {

JobId ask_tls(Core& core, const IkeSa& sa, std::shared_ptr<ike::TlsSession> session, Bytes input, eap::CertificateName peer) {
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::TlsStep{.job = job,
                                                .connection = core.proofs(sa).name,
                                                .server = sa.role == Role::Responder,
                                                .session = std::move(session),
                                                .input = std::move(input),
                                                .id_type = peer.id_type,
                                                .id_data = std::move(peer.data)});
  return job;
}

eap::TlsNews news_of(ike::TlsStepped& result) {
  eap::TlsNews out{.output = std::move(result.output), .done = result.done, .msk = std::move(result.msk), .failure = {}};
  if (result.failed) out.failure = result.message;
  return out;
}

Cause cause_of(const ike::TlsStepped& failure, const std::string& who) {
  Cause out{.number = 5, .said = failure.alert, .said_proven = !failure.alert.empty()};
  out.by = failure.alert.empty() ? ike::RefusedBy::Us : ike::RefusedBy::Peer;
  switch (failure.reason) {
    case Reason::CertUntrusted:
    case Reason::CertInvalid:
    case Reason::CertRevoked:
    case Reason::AuthRounds:
      out.evidence = ike::CertificateEvidence{failure.subject, failure.message};
      break;
    case Reason::EapTls:
    case Reason::WrongIdentity:
      out.evidence = ike::UserEvidence{who, failure.message};
      break;
    default:
      break;
  }
  return out;
}

void on_eap_tls(Core& core, TimePoint now, IkeSa& sa, ike::TlsStepped result) {
  if (auto* asking = std::get_if<AskingUser>(&sa.state); asking && asking->job == result.job)
    return on_tls_of_user(core, now, sa, *asking, std::move(result));
  if (auto* proving = std::get_if<ProvingUser>(&sa.state); proving && proving->job == result.job)
    on_tls_of_server(core, now, sa, *proving, std::move(result));
}

}  // namespace culvert::ikev2

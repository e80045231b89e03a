// What both sides of IKE_AUTH have to do with EAP-TLS: TLS is done by whoever answers TlsStep, and its failures have causes of their own.
// Owns how it is asked and what an operator is told; exchange_eap_*.cpp go on with what comes of it.
#pragma once

#include <memory>
#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// Asks for the next step; `peer`: whose certificate it has to be.
JobId ask_tls(Core& core, const IkeSa& sa, std::shared_ptr<ike::TlsSession> session, Bytes input, eap::CertificateName peer);
/// What EAP is told of a step. The rest of it, of a failure, stays in `result`.
eap::TlsNews news_of(ike::TlsStepped& result);
/// Of a failure, at message 5; `who`: the user, or whom the server of EAP has to be.
Cause cause_of(const ike::TlsStepped& failure, const std::string& who);

}  // namespace culvert::ikev2

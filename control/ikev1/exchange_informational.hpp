// The Informational exchange: notifications, deletes and DPD (RFC 2409 §5.7, RFC 2408 §3.14-3.15, RFC 3706).
// Owns what follows from them. Acts on nothing that is not encrypted and verified by HASH(1); what comes in clear during
// phase 1 is remembered as a hint, anything else in clear is counted and dropped.
//
//   I -> R   HDR*, HASH(1), N | D ...       either side, at any time after phase 1; nobody answers (but R-U-THERE, by R-U-THERE-ACK)
//   I -> R   HDR, N                         before there are keys: an error of phase 1
#pragma once

#include "control/ikev1/core.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

void on_informational(Core& core, const Incoming& in);
/// Notifications that came with message 5 or 6: INITIAL-CONTACT (RFC 2407 §4.6.3.3).
void apply_phase1_notifications(Core& core, TimePoint now, IsakmpSa& sa, const Message& message);

/// N(type) about the ISAKMP SA, or about the pair with this SPI.
Builder refusal(const IsakmpSa& sa, NotifyType type, SaName about = {});
/// The same, and the end of the ISAKMP SA.
Builder refusal_and_delete(const IsakmpSa& sa, NotifyType type);
Delete delete_isakmp(const IsakmpSa& sa);
/// Deletes of inbound SAs: one payload for each protocol that is there.
void add_deletes(Builder& to, const std::vector<SaName>& sas);

}  // namespace culvert::ikev1

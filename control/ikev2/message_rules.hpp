// Which payloads a message of each exchange must have, may have, and how often (RFC 7296 App. C, with what RFCs 4555, 5685, 5723 and 7383
// add as notifications). Owns the table. Checked before any handler looks at a payload; unknown payloads, vendor ids and notifications may
// stand anywhere (RFC 7296 §2.5, §3.10).
#pragma once

#include <optional>
#include <string>

#include "control/ike/reasons.hpp"
#include "control/ikev2/message.hpp"

namespace culvert::ikev2 {

enum class MessageKind : std::uint8_t {
  SaInitRequest,
  SaInitReply,
  AuthRequest,      ///< the first one of IKE_AUTH: with IDi; without AUTH the initiator asks for EAP, without SA and TS for no CHILD SA
  AuthReply,        ///< the last one: with AUTH; SA and TS only of one that made a CHILD SA
  EapRequest,       ///< of the initiator, in between: EAP, or AUTH alone at the end
  EapReply,         ///< of the responder: EAP, the first one with IDr, CERT and AUTH
  RoundRequest,     ///< of the initiator, a further proof (RFC 4739): IDi and AUTH, or IDi alone before EAP, or nothing
  RoundReply,       ///< of the responder, before the last proof: IDr and AUTH, behind EAP AUTH alone, or nothing
  LastReply,        ///< of the responder behind the last proof, when it has proved itself before: SA and TS
  NewChildRequest,  ///< CREATE_CHILD_SA of a new or rekeyed CHILD SA
  NewChildReply,
  NewIkeRequest,  ///< CREATE_CHILD_SA that rekeys the IKE SA: no TS
  NewIkeReply,
  KeyExchange,    ///< IKE_INTERMEDIATE and IKE_FOLLOWUP_KE, either direction (RFC 9370 §2.2.2, §2.2.4)
  Informational,  ///< either direction
  ResumeRequest,  ///< IKE_SESSION_RESUME (RFC 5723 §4.3)
  ResumeReply,
  ChildlessReply,  ///< the last one of IKE_AUTH to who has asked for no CHILD SA (RFC 6023 §4)
};
/// A sentence about the first payload that is missing, too many or forbidden; nullopt: all is as it should be. A message with an error
/// notification may lack what it would have had.
std::optional<std::string> check(MessageKind kind, const Message& message);

}  // namespace culvert::ikev2

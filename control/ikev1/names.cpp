// Names of payload types and notifications, for log lines.
#include <algorithm>
#include <array>
#include <utility>

#include "control/ikev1/payloads.hpp"

namespace culvert::ikev1 {

namespace {
constexpr std::array kPayloadNames{
    std::pair{PayloadType::Sa, "SA"},
    std::pair{PayloadType::Proposal, "P"},
    std::pair{PayloadType::Transform, "T"},
    std::pair{PayloadType::Ke, "KE"},
    std::pair{PayloadType::Id, "ID"},
    std::pair{PayloadType::Cert, "CERT"},
    std::pair{PayloadType::CertReq, "CR"},
    std::pair{PayloadType::Hash, "HASH"},
    std::pair{PayloadType::Sig, "SIG"},
    std::pair{PayloadType::Nonce, "NONCE"},
    std::pair{PayloadType::Notify, "N"},
    std::pair{PayloadType::Delete, "D"},
    std::pair{PayloadType::Vendor, "VID"},
    std::pair{PayloadType::Attributes, "ATTR"},
    std::pair{PayloadType::NatD, "NAT-D"},
    std::pair{PayloadType::NatOa, "NAT-OA"},
    std::pair{PayloadType::NatDDraft, "NAT-D (draft)"},
    std::pair{PayloadType::NatOaDraft, "NAT-OA (draft)"},
};

// RFC 2408 §3.14.1: errors 1 to 30 in order.
constexpr std::array kErrorNames{
    "INVALID-PAYLOAD-TYPE",
    "DOI-NOT-SUPPORTED",
    "SITUATION-NOT-SUPPORTED",
    "INVALID-COOKIE",
    "INVALID-MAJOR-VERSION",
    "INVALID-MINOR-VERSION",
    "INVALID-EXCHANGE-TYPE",
    "INVALID-FLAGS",
    "INVALID-MESSAGE-ID",
    "INVALID-PROTOCOL-ID",
    "INVALID-SPI",
    "INVALID-TRANSFORM-ID",
    "ATTRIBUTES-NOT-SUPPORTED",
    "NO-PROPOSAL-CHOSEN",
    "BAD-PROPOSAL-SYNTAX",
    "PAYLOAD-MALFORMED",
    "INVALID-KEY-INFORMATION",
    "INVALID-ID-INFORMATION",
    "INVALID-CERT-ENCODING",
    "INVALID-CERTIFICATE",
    "CERT-TYPE-UNSUPPORTED",
    "INVALID-CERT-AUTHORITY",
    "INVALID-HASH-INFORMATION",
    "AUTHENTICATION-FAILED",
    "INVALID-SIGNATURE",
    "ADDRESS-NOTIFICATION",
    "NOTIFY-SA-LIFETIME",
    "CERTIFICATE-UNAVAILABLE",
    "UNSUPPORTED-EXCHANGE-TYPE",
    "UNEQUAL-PAYLOAD-LENGTHS",
};
constexpr std::array kStatusNames{
    std::pair{NotifyType::Connected, "CONNECTED"},        std::pair{NotifyType::ResponderLifetime, "RESPONDER-LIFETIME"},
    std::pair{NotifyType::ReplayStatus, "REPLAY-STATUS"}, std::pair{NotifyType::InitialContact, "INITIAL-CONTACT"},
    std::pair{NotifyType::RUThere, "R-U-THERE"},          std::pair{NotifyType::RUThereAck, "R-U-THERE-ACK"},
};
}  // namespace

std::string name(PayloadType t) {
  const auto* row = std::find_if(kPayloadNames.begin(), kPayloadNames.end(), [t](const auto& r) { return r.first == t; });
  if (row != kPayloadNames.end()) return row->second;
  return "payload " + std::to_string(static_cast<unsigned>(t));
}

std::string name(NotifyType t) {
  const auto number = static_cast<std::size_t>(t);
  if (number >= 1 && number <= kErrorNames.size()) return kErrorNames[number - 1];
  const auto* row = std::find_if(kStatusNames.begin(), kStatusNames.end(), [t](const auto& r) { return r.first == t; });
  if (row != kStatusNames.end()) return row->second;
  return "notification " + std::to_string(number);
}

}  // namespace culvert::ikev1

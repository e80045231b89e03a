// Names of payload types and notifications, for log lines: those of RFC 7296 §3.2 and of IANA's registry.
#include <algorithm>
#include <array>
#include <utility>

#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2 {

namespace {
constexpr std::array kPayloadNames{
    std::pair{PayloadType::Sa, "SA"},     std::pair{PayloadType::Ke, "KE"},       std::pair{PayloadType::IdI, "IDi"},
    std::pair{PayloadType::IdR, "IDr"},   std::pair{PayloadType::Cert, "CERT"},   std::pair{PayloadType::CertReq, "CERTREQ"},
    std::pair{PayloadType::Auth, "AUTH"}, std::pair{PayloadType::Nonce, "Nonce"}, std::pair{PayloadType::Notify, "N"},
    std::pair{PayloadType::Delete, "D"},  std::pair{PayloadType::Vendor, "V"},    std::pair{PayloadType::TsI, "TSi"},
    std::pair{PayloadType::TsR, "TSr"},   std::pair{PayloadType::Sk, "SK"},       std::pair{PayloadType::Cp, "CP"},
    std::pair{PayloadType::Eap, "EAP"},   std::pair{PayloadType::Skf, "SKF"},
};
constexpr std::array kNotifyNames{
    std::pair{NotifyType::UnsupportedCriticalPayload, "UNSUPPORTED_CRITICAL_PAYLOAD"},
    std::pair{NotifyType::InvalidIkeSpi, "INVALID_IKE_SPI"},
    std::pair{NotifyType::InvalidMajorVersion, "INVALID_MAJOR_VERSION"},
    std::pair{NotifyType::InvalidSyntax, "INVALID_SYNTAX"},
    std::pair{NotifyType::InvalidMessageId, "INVALID_MESSAGE_ID"},
    std::pair{NotifyType::InvalidSpi, "INVALID_SPI"},
    std::pair{NotifyType::NoProposalChosen, "NO_PROPOSAL_CHOSEN"},
    std::pair{NotifyType::InvalidKePayload, "INVALID_KE_PAYLOAD"},
    std::pair{NotifyType::AuthenticationFailed, "AUTHENTICATION_FAILED"},
    std::pair{NotifyType::SinglePairRequired, "SINGLE_PAIR_REQUIRED"},
    std::pair{NotifyType::NoAdditionalSas, "NO_ADDITIONAL_SAS"},
    std::pair{NotifyType::InternalAddressFailure, "INTERNAL_ADDRESS_FAILURE"},
    std::pair{NotifyType::FailedCpRequired, "FAILED_CP_REQUIRED"},
    std::pair{NotifyType::TsUnacceptable, "TS_UNACCEPTABLE"},
    std::pair{NotifyType::InvalidSelectors, "INVALID_SELECTORS"},
    std::pair{NotifyType::UnacceptableAddresses, "UNACCEPTABLE_ADDRESSES"},
    std::pair{NotifyType::UnexpectedNatDetected, "UNEXPECTED_NAT_DETECTED"},
    std::pair{NotifyType::TemporaryFailure, "TEMPORARY_FAILURE"},
    std::pair{NotifyType::ChildSaNotFound, "CHILD_SA_NOT_FOUND"},
    std::pair{NotifyType::InvalidGroupId, "INVALID_GROUP_ID"},
    std::pair{NotifyType::AuthorizationFailed, "AUTHORIZATION_FAILED"},
    std::pair{NotifyType::StateNotFound, "STATE_NOT_FOUND"},
    std::pair{NotifyType::TsMaxQueue, "TS_MAX_QUEUE"},
    std::pair{NotifyType::InitialContact, "INITIAL_CONTACT"},
    std::pair{NotifyType::SetWindowSize, "SET_WINDOW_SIZE"},
    std::pair{NotifyType::AdditionalTsPossible, "ADDITIONAL_TS_POSSIBLE"},
    std::pair{NotifyType::IpcompSupported, "IPCOMP_SUPPORTED"},
    std::pair{NotifyType::NatDetectionSourceIp, "NAT_DETECTION_SOURCE_IP"},
    std::pair{NotifyType::NatDetectionDestinationIp, "NAT_DETECTION_DESTINATION_IP"},
    std::pair{NotifyType::Cookie, "COOKIE"},
    std::pair{NotifyType::UseTransportMode, "USE_TRANSPORT_MODE"},
    std::pair{NotifyType::HttpCertLookupSupported, "HTTP_CERT_LOOKUP_SUPPORTED"},
    std::pair{NotifyType::RekeySa, "REKEY_SA"},
    std::pair{NotifyType::EspTfcPaddingNotSupported, "ESP_TFC_PADDING_NOT_SUPPORTED"},
    std::pair{NotifyType::NonFirstFragmentsAlso, "NON_FIRST_FRAGMENTS_ALSO"},
    std::pair{NotifyType::MobikeSupported, "MOBIKE_SUPPORTED"},
    std::pair{NotifyType::AdditionalIp4Address, "ADDITIONAL_IP4_ADDRESS"},
    std::pair{NotifyType::AdditionalIp6Address, "ADDITIONAL_IP6_ADDRESS"},
    std::pair{NotifyType::NoAdditionalAddresses, "NO_ADDITIONAL_ADDRESSES"},
    std::pair{NotifyType::UpdateSaAddresses, "UPDATE_SA_ADDRESSES"},
    std::pair{NotifyType::Cookie2, "COOKIE2"},
    std::pair{NotifyType::NoNatsAllowed, "NO_NATS_ALLOWED"},
    std::pair{NotifyType::AuthLifetime, "AUTH_LIFETIME"},
    std::pair{NotifyType::MultipleAuthSupported, "MULTIPLE_AUTH_SUPPORTED"},
    std::pair{NotifyType::AnotherAuthFollows, "ANOTHER_AUTH_FOLLOWS"},
    std::pair{NotifyType::RedirectSupported, "REDIRECT_SUPPORTED"},
    std::pair{NotifyType::Redirect, "REDIRECT"},
    std::pair{NotifyType::RedirectedFrom, "REDIRECTED_FROM"},
    std::pair{NotifyType::TicketLtOpaque, "TICKET_LT_OPAQUE"},
    std::pair{NotifyType::TicketRequest, "TICKET_REQUEST"},
    std::pair{NotifyType::TicketAck, "TICKET_ACK"},
    std::pair{NotifyType::TicketNack, "TICKET_NACK"},
    std::pair{NotifyType::TicketOpaque, "TICKET_OPAQUE"},
    std::pair{NotifyType::EapOnlyAuthentication, "EAP_ONLY_AUTHENTICATION"},
    std::pair{NotifyType::ChildlessIkev2Supported, "CHILDLESS_IKEV2_SUPPORTED"},
    std::pair{NotifyType::QuickCrashDetection, "QUICK_CRASH_DETECTION"},
    std::pair{NotifyType::Ikev2MessageIdSyncSupported, "IKEV2_MESSAGE_ID_SYNC_SUPPORTED"},
    std::pair{NotifyType::IpsecReplayCounterSyncSupported, "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED"},
    std::pair{NotifyType::Ikev2MessageIdSync, "IKEV2_MESSAGE_ID_SYNC"},
    std::pair{NotifyType::IpsecReplayCounterSync, "IPSEC_REPLAY_COUNTER_SYNC"},
    std::pair{NotifyType::Ikev2FragmentationSupported, "IKEV2_FRAGMENTATION_SUPPORTED"},
    std::pair{NotifyType::SignatureHashAlgorithms, "SIGNATURE_HASH_ALGORITHMS"},
    std::pair{NotifyType::UsePpk, "USE_PPK"},
    std::pair{NotifyType::PpkIdentity, "PPK_IDENTITY"},
    std::pair{NotifyType::NoPpkAuth, "NO_PPK_AUTH"},
    std::pair{NotifyType::IntermediateExchangeSupported, "INTERMEDIATE_EXCHANGE_SUPPORTED"},
    std::pair{NotifyType::AdditionalKeyExchange, "ADDITIONAL_KEY_EXCHANGE"},
    std::pair{NotifyType::UseAggfrag, "USE_AGGFRAG"},
    std::pair{NotifyType::SupportedAuthMethods, "SUPPORTED_AUTH_METHODS"},
    std::pair{NotifyType::SaResourceInfo, "SA_RESOURCE_INFO"},
};

template <class Rows, class T>
const char* find(const Rows& rows, T t) {
  const auto* row = std::find_if(rows.begin(), rows.end(), [t](const auto& r) { return r.first == t; });
  return row == rows.end() ? nullptr : row->second;
}
}  // namespace

std::string name(PayloadType t) {
  if (const char* known = find(kPayloadNames, t)) return known;
  return "payload " + std::to_string(static_cast<unsigned>(t));
}

std::string name(NotifyType t) {
  if (const char* known = find(kNotifyNames, t)) return known;
  return "notification " + std::to_string(static_cast<unsigned>(t));
}

}  // namespace culvert::ikev2

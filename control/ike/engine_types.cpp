#include "control/ike/engine_types.hpp"

#include <array>

namespace culvert::ike {

namespace {
struct ReasonRow {
  std::string_view name, help;
};
constexpr std::array kReasons = {
#define X(id, name, help) ReasonRow{name, help},
    CULVERT_IKE_REASONS(X)
#undef X
};
static_assert(kReasons.size() == static_cast<std::size_t>(Reason::Count_));
}  // namespace

std::string_view name(Reason r) {
  const auto i = static_cast<std::size_t>(r);
  return i < kReasons.size() ? kReasons[i].name : "unknown";
}

std::string_view help(Reason r) {
  const auto i = static_cast<std::size_t>(r);
  return i < kReasons.size() ? kReasons[i].help : "unknown";
}

std::string_view name(Exchange e) {
  switch (e) {
    case Exchange::MainMode:
      return "main_mode";
    case Exchange::AggressiveMode:
      return "aggressive_mode";
    case Exchange::Xauth:
      return "xauth";
    case Exchange::ModeConfig:
      return "mode_config";
    case Exchange::QuickMode:
      return "quick_mode";
    case Exchange::Informational:
      return "informational";
    case Exchange::IkeSaInit:
      return "ike_sa_init";
    case Exchange::IkeAuth:
      return "ike_auth";
    case Exchange::CreateChildSa:
      return "create_child_sa";
    case Exchange::IkeIntermediate:
      return "ike_intermediate";
    case Exchange::IkeFollowupKe:
      return "ike_followup_ke";
    case Exchange::CounterSync:
      return "counter_sync";
    case Exchange::Dpd:
      return "dpd";
    case Exchange::Count_:
      break;
  }
  return "unknown";
}

std::string_view name(SignatureScheme s) {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(SignatureScheme::Count_)> kNames{"signature of IKEv1",
                                                                                                          "RSA with SHA-1",
                                                                                                          "RSA with SHA2-256",
                                                                                                          "RSA with SHA2-384",
                                                                                                          "RSA with SHA2-512",
                                                                                                          "RSA-PSS with SHA2-256",
                                                                                                          "RSA-PSS with SHA2-384",
                                                                                                          "RSA-PSS with SHA2-512",
                                                                                                          "ECDSA with SHA2-256",
                                                                                                          "ECDSA with SHA2-384",
                                                                                                          "ECDSA with SHA2-512",
                                                                                                          "ECDSA with P-256",
                                                                                                          "ECDSA with P-384",
                                                                                                          "ECDSA with P-521",
                                                                                                          "Ed25519",
                                                                                                          "Ed448"};
  return s < SignatureScheme::Count_ ? kNames[static_cast<std::size_t>(s)] : "?";
}

std::string_view name(AuthMethod m) {
  switch (m) {
    case AuthMethod::Psk:
      return "psk";
    case AuthMethod::RsaSignature:
      return "rsa";
    case AuthMethod::EcdsaP256:
      return "ecdsa-256";
    case AuthMethod::EcdsaP384:
      return "ecdsa-384";
    case AuthMethod::EcdsaP521:
      return "ecdsa-521";
    case AuthMethod::Ed25519:
      return "ed25519";
    case AuthMethod::Ed448:
      return "ed448";
    case AuthMethod::Count_:
      break;
  }
  return "unknown";
}

std::string_view name(IkeState s) {
  switch (s) {
    case IkeState::Connecting:
      return "connecting";
    case IkeState::Established:
      return "established";
    case IkeState::Rekeyed:
      return "rekeyed";
    case IkeState::Deleting:
      return "deleting";
  }
  return "unknown";
}

std::string_view name(ChildState s) {
  switch (s) {
    case ChildState::Negotiating:
      return "negotiating";
    case ChildState::Installing:
      return "installing";
    case ChildState::Installed:
      return "installed";
    case ChildState::Rekeyed:
      return "rekeyed";
    case ChildState::Deleting:
      return "deleting";
  }
  return "unknown";
}

}  // namespace culvert::ike

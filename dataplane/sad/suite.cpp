#include "dataplane/sad/suite.hpp"

#include <algorithm>

namespace culvert::dp {

namespace {
std::optional<EspGeometry> ah_geometry(const EspSuite& s) {
  const IntegInfo* i = find_integ(s.integ);
  if (i == nullptr || s.encr != Encr::None || s.key_bits != 0) return std::nullopt;
  const bool gmac = i->iv != 0;
  return EspGeometry{.kind = gmac ? EspKind::Gmac : EspKind::Jobs,
                     .iv = i->iv,
                     .icv = i->icv,
                     .iv_source = gmac ? IvSource::Counter : IvSource::None,
                     .esn = s.esn,
                     .ah = true};
}

EspKind kind_of(Encr encr) {
  if (encr == Encr::AesGmac) return EspKind::Gmac;
  return encr == Encr::AesGcm8 || encr == Encr::AesGcm12 || encr == Encr::AesGcm16 ? EspKind::Gcm : EspKind::Jobs;
}
}  // namespace

std::optional<EspGeometry> esp_geometry(const EspSuite& s) {
  if (s.protocol == SaProtocol::Ah) return ah_geometry(s);
  const EncrInfo* e = find_encr(s.encr, s.key_bits);
  const IntegInfo* i = find_integ(s.integ);
  if (e == nullptr || s.protocol != SaProtocol::Esp) return std::nullopt;
  // An AEAD goes alone; nothing else goes without integrity (RFC 4303 §1: confidentiality alone is insecure).
  if (e->aead() ? s.integ != Integ::None : (i == nullptr || !i->esp())) return std::nullopt;
  return EspGeometry{.kind = kind_of(s.encr),
                     .iv = e->iv,
                     .icv = e->aead() ? e->icv : i->icv,
                     .align = std::max<std::uint8_t>(e->block, 4),
                     .iv_source = e->counter_iv() ? IvSource::Counter
                                  : e->iv != 0    ? IvSource::Random
                                                  : IvSource::None,
                     .esn = s.esn};
}

}  // namespace culvert::dp

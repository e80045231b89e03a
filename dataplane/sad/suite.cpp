#include "dataplane/sad/suite.hpp"

#include <algorithm>

namespace culvert::dp {

std::optional<EspGeometry> esp_geometry(Encr encr, std::uint16_t key_bits, Integ integ) {
  const EncrInfo* e = find_encr(encr, key_bits);
  if (e == nullptr || (key_bits != 128 && key_bits != 256)) return std::nullopt;
  const bool wide = key_bits == 256;
  const auto align = std::max<std::uint8_t>(e->block, 4);
  if (encr == Encr::AesGcm16) {
    if (integ != Integ::None) return std::nullopt;
    return EspGeometry{wide ? EspKind::Gcm256 : EspKind::Gcm128, e->iv, e->icv, align};
  }
  const IntegInfo* i = find_integ(integ);
  if (encr != Encr::AesCbc || i == nullptr || !i->esp) return std::nullopt;
  if (integ == Integ::HmacSha1_96) return EspGeometry{wide ? EspKind::Cbc256Sha1 : EspKind::Cbc128Sha1, e->iv, i->icv, align};
  if (integ == Integ::HmacSha2_256_128) return EspGeometry{wide ? EspKind::Cbc256Sha256 : EspKind::Cbc128Sha256, e->iv, i->icv, align};
  return std::nullopt;
}

}  // namespace culvert::dp

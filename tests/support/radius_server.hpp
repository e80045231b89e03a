// What a RADIUS server says, for tests: answers that are proven, and such that are not. Made by other means than control/radius has: bytes
// put together by hand, so that both are not wrong in the same way.
#pragma once

#include <algorithm>
#include <vector>

#include "control/crypto/hash.hpp"
#include "control/radius/packet.hpp"

namespace culvert::test {

struct RadiusReply {
  radius::Code code{};
  std::vector<radius::Attribute> attributes{};
  std::string secret = "radius secret";
  bool with_mac = true;
  bool spoil_mac = false;
};

/// The answer to this request.
inline Bytes radius_reply(ByteView request, const RadiusReply& r) {
  Bytes out{static_cast<std::uint8_t>(r.code), request[1], 0, 0};
  out.insert(out.end(), request.begin() + 4, request.begin() + 20);
  if (r.with_mac) {
    out.insert(out.end(), {80, 18});
    out.insert(out.end(), 16, 0);
  }
  for (const radius::Attribute& a : r.attributes) {
    out.push_back(static_cast<std::uint8_t>(a.type));
    out.push_back(static_cast<std::uint8_t>(a.value.size() + 2));
    out.insert(out.end(), a.value.begin(), a.value.end());
  }
  out[2] = static_cast<std::uint8_t>(out.size() >> 8);
  out[3] = static_cast<std::uint8_t>(out.size());
  if (r.with_mac) {
    const SecretBytes mac = crypto::hmac(Prf::HmacMd5, as_bytes(r.secret), {out});
    std::ranges::copy(mac.view(), out.begin() + 22);
    if (r.spoil_mac) out[22] ^= 1;
  }
  const Bytes proof = crypto::digest(Prf::HmacMd5, {out, as_bytes(r.secret)});
  std::ranges::copy(proof, out.begin() + 4);
  return out;
}

/// MS-MPPE-Send-Key (16) or MS-MPPE-Recv-Key (17) with this key in it (RFC 2548 §2.4.2).
inline radius::Attribute mppe_key(std::uint8_t kind, ByteView key, ByteView request, const std::string& secret = "radius secret") {
  Bytes clear{static_cast<std::uint8_t>(key.size())};
  clear.insert(clear.end(), key.begin(), key.end());
  clear.resize((clear.size() + 15) / 16 * 16);
  const Bytes salt{0x80, kind};
  Bytes hidden = salt;
  for (std::size_t at = 0; at < clear.size(); at += 16) {
    const Bytes pad = at == 0 ? crypto::digest(Prf::HmacMd5, {as_bytes(secret), request.subspan(4, 16), salt})
                              : crypto::digest(Prf::HmacMd5, {as_bytes(secret), ByteView(hidden).subspan(hidden.size() - 16)});
    for (std::size_t i = 0; i < 16; ++i) hidden.push_back(static_cast<std::uint8_t>(clear[at + i] ^ pad[i]));
  }
  Bytes value{0, 0, 1, 0x37, kind, static_cast<std::uint8_t>(hidden.size() + 2)};
  value.insert(value.end(), hidden.begin(), hidden.end());
  return {radius::Type::VendorSpecific, value};
}

}  // namespace culvert::test

// Sites of which each has a post-quantum pre-shared key, or has not. Owns what the tests of RFC 8784 have in common.
#pragma once

#include <algorithm>

#include "tests/exchange/ikev2_sites.hpp"

namespace culvert::test {

inline const std::string kKey = "a quantum computer does not guess this";

enum class Has { None, Optional, Required };

inline void give(Host& h, Has has, const std::string& key = kKey, const std::string& id = "ours") {
  if (has == Has::None) return;
  h.config.connections[0].ppk = {id, {config::SecretRef::Kind::File, "/ppk/c"}, has == Has::Required};
  h.ppks["c"] = key;
}

inline void start(const Pair& p) {
  p.a.start();
  p.b.start();
}

inline bool says(const Host& h, const std::string& text) {
  return std::ranges::any_of(h.log, [&](const ike::Report& r) { return r.message.find(text) != std::string::npos; });
}
inline const std::string kUsed = "The keys are made with the PPK \"ours\".";

/// Takes notifications of a type out of every IKE_SA_INIT.
inline Hook without(ikev2::NotifyType type) {
  return [type](ike::Datagram& datagram) {
    const auto framed = ike::parse_header(datagram.data);
    if (!framed || framed->header.exchange != ike::kExchangeSaInit) return true;
    const auto m = ikev2::Message::parse(ikev2::PayloadType{framed->header.next_payload}, framed->body);
    if (!m) return true;
    ikev2::Builder b;
    for (const ikev2::Payload& p : m->payloads()) {
      const auto* n = std::get_if<ikev2::Notify>(&p.content);
      if (!n || n->type != type) b.add_raw(p.type, p.body);
    }
    auto header = framed->header;
    header.next_payload = static_cast<std::uint8_t>(b.first());
    datagram.data = ike::encode_message(header, b.chain());
    return true;
  };
}

/// Of a PPK_IDENTITY.
inline Bytes identity(std::string_view name, std::uint8_t type = 2) {
  Bytes out{type};
  out.insert(out.end(), name.begin(), name.end());
  return out;
}

}  // namespace culvert::test

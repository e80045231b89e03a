// The data of REDIRECT and REDIRECTED_FROM (RFC 5685 §7.2, §7.3). Owns their layout. Never judges whether anybody should go there.
//
//  | GW Ident Type | GW Ident Len  |  New Responder GW Identity ...  |  Nonce Data (in IKE_SA_INIT) ...
#pragma once

#include <optional>

#include "common/bytes.hpp"
#include "common/config/config.hpp"

namespace culvert::ikev2 {

struct RedirectData {
  config::GatewayName gateway;
  Bytes nonce{};  ///< the initiator's; empty outside of IKE_SA_INIT
  friend bool operator==(const RedirectData&, const RedirectData&) = default;
};
Bytes encode_redirect(const RedirectData& data);
/// nullopt: it does not parse, or no gateway can be called so.
std::optional<RedirectData> read_redirect(ByteView data);

}  // namespace culvert::ikev2

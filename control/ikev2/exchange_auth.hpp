// IKE_AUTH (RFC 7296 §1.2, §2.15): both sides prove who they are, and make the first CHILD SA.
// Owns which connection a peer means once it has said who it is, and the end of those who cannot prove it.
//
//   IDi [CERT+] [CERTREQ] [IDr] AUTH SAi TSi TSr  -->  <--  IDr [CERT+] AUTH SAr TSi TSr
//                                                                      (a CHILD SA that is refused leaves the IKE SA as it is)
// Each side proves itself in its own way: by the pre-shared key or by a signature.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// The keys are there: goes on with IKE_AUTH. `init_reply`: the responder's message, that it signs.
void send_auth(Core& core, TimePoint now, IkeSa& sa, const Bytes& init_reply);
/// Our signature is there, or the verdict on the peer's: of both roles.
void on_auth_signed(Core& core, TimePoint now, IkeSa& sa, const ike::SignResult& result);
void on_auth_verified(Core& core, TimePoint now, IkeSa& sa, const ike::VerifyResult& result);
void on_auth_response(Core& core, const Incoming& in, IkeSa& sa);
void on_auth_request(Core& core, const Incoming& in, IkeSa& sa);
void on_signed_reply(Core& core, TimePoint now, IkeSa& sa, SigningReply& state, const ike::SignResult& result);
void on_verified_init(Core& core, TimePoint now, IkeSa& sa, VerifyingInit& state, const ike::VerifyResult& result);
/// The inbound half of IKE_AUTH's CHILD SA is in the data plane (or was refused): the answer goes out.
void on_auth_installed(Core& core, TimePoint now, IkeSa& sa, bool ok, const std::string& error);

}  // namespace culvert::ikev2

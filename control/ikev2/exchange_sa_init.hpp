// IKE_SA_INIT (RFC 7296 §1.2): key exchange, proposals, NAT detection. Nobody is proven here; that is exchange_auth's.
// Owns what strangers may make us keep, compute and send: a cookie under load before anything is kept, one Diffie-Hellman a half-open SA.
//
//   initiator                                    responder
//   SAi KEi Ni N(NAT)            -->
//                                <--  N(COOKIE)  or  N(INVALID_KE_PAYLOAD)       begin again, with both where both were said
//                                <--  SAr KEr Nr N(NAT)
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

struct Start {
  std::size_t connection = 0;
  std::optional<std::size_t> child;  ///< that IKE_AUTH is to make; nullopt: none (RFC 6023)
  Endpoint local, remote;
  std::vector<SaId> replaces;
  bool unnamed = false;                        ///< to learn why the peer has refused us: its failure is told only if it says who is there
  std::optional<IpAddress> redirected_from{};  ///< the gateway that has sent us there
  bool full = false;                           ///< Reauth::full of what it replaces
};
/// False: there is no room.
bool start_sa(Core& core, TimePoint now, const Start& what);
void on_sa_init(Core& core, const Incoming& in);
/// Of an initiator that has the keys: the port that IKE goes on by (RFC 7296 §2.23, RFC 4555 §3.3).
void go_to_nat_port(Core& core, IkeSa& sa);
/// The jobs of both roles.
void on_sa_init_dh(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result, JobId job);
/// Retransmissions, and the end of patience, of all that comes before an SA is established.
void on_connecting_timer(Core& core, TimePoint now, IkeSa& sa);
[[nodiscard]] std::optional<TimePoint> connecting_deadline(const IkeSa& sa);
/// An attempt of ours fails: when the next one is made. The SA is still there.
void attempt_failed(Core& core, TimePoint now, IkeSa& sa, Exchange exchange, Reason reason, const std::string& text, Cause cause = {});
/// An attempt of ours ended without an SA.
void connecting_failed(Core& core, TimePoint now, IkeSa& sa, Exchange exchange, Reason reason, const std::string& text, Cause cause = {});

}  // namespace culvert::ikev2

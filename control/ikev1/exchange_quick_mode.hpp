// Quick Mode, with and without perfect forward secrecy (RFC 2409 §5.5), one pair of ESP SAs an exchange.
// Owns the way of a pair to its installation; lifecycle.hpp decides when one is begun and owns the pairs that came of it.
//
//   I -> R   1  HDR*, HASH(1), SA, Ni [, KE], IDci, IDcr
//               R installs its inbound SA and waits for the data plane's acknowledgement
//   I <- R   2  HDR*, HASH(2), SA, Nr [, KE], IDci, IDcr  | N*(NO-PROPOSAL-CHOSEN), N*(INVALID-ID-INFORMATION) under HASH(1)
//               I installs its inbound SA and waits for the acknowledgement
//   I -> R   3  HDR*, HASH(3)                             then both install their outbound SAs
//        or  4  HDR*, HASH, N(CONNECTED)                  before, from a peer that sets the commit bit: as a fourth message of the
//                                                         exchange, or as an Informational one with its message id (RFC 2408 §3.1)
//
// Nobody answers message 3: the responder repeats message 2 until it comes, and the initiator repeats message 3 for each. Traffic on
// the responder's new inbound SA says as much as message 3 does. When neither comes, the responder deletes the pair, and says so
// several times, since the initiator may have it.
#pragma once

#include "control/ikev1/core.hpp"
#include "control/ikev1/selectors.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

/// Sends message 1 (with PFS: once there is a key pair). False: it cannot begin, which has been reported.
/// `groups`: for PFS, one attempt each; empty: those of the child, with the one that its latest pair has first.
bool start_quick_mode(Core& core, TimePoint now, IsakmpSa& sa, std::size_t child, const Selectors& wanted,
                      std::vector<std::uint64_t> replaces, std::vector<DhGroup> groups = {});
/// The peer found no proposal acceptable, and there is another group to try. Erases `qm`.
void try_next_group(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm);
void on_quick_mode(Core& core, const Incoming& in);
void on_quick_mode_dh(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, const ike::DhResult& result, JobId job);
void on_quick_mode_installed(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, JobId job, bool ok, const std::string& error);
/// The peer, which set the commit bit, is ready, or uses the SA, or has been waited for long enough.
void go_on(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm);
/// The peer uses the SA that message 3 would have confirmed.
void on_quick_mode_traffic(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm);
/// The peer refused by a notification under HASH(1), or deleted what was being negotiated.
void on_quick_mode_refused(Core& core, TimePoint now, IsakmpSa& sa, const Notify& notify);
void on_quick_modes_timer(Core& core, TimePoint now, IsakmpSa& sa);
[[nodiscard]] std::optional<TimePoint> quick_modes_deadline(const IsakmpSa& sa);
/// Ends an unfinished exchange: what it installed and allocated is given back. Erases `qm`.
void quick_mode_failed(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, Reason reason, const std::string& message,
                       ike::Cause cause = {});
/// Ends one, quietly: nobody wants it any more. Erases `qm`.
void abandon_quick_mode(Core& core, IsakmpSa& sa, QuickMode& qm);
/// Ends all of them, quietly: their ISAKMP SA ends. Returns our inbound SAs of those that the peer may have finished.
std::vector<SaName> abandon_quick_modes(Core& core, IsakmpSa& sa);
[[nodiscard]] bool finished(const QuickMode& qm);
/// Our SA of it, as a Delete names it.
[[nodiscard]] SaName inbound_name(const QuickMode& qm);

// ---- between the files of this exchange

void on_quick_message_1(Core& core, const Incoming& in, IsakmpSa& sa, MmEstablished& est);
void on_quick_message_2(Core& core, const Incoming& in, IsakmpSa& sa, QuickMode& qm, QmAwaitReply& state);
void on_quick_message_3(Core& core, const Incoming& in, IsakmpSa& sa, QuickMode& qm, QmAwaitConfirm& state);
void send_quick_message_1(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, std::shared_ptr<crypto::KeyExchange> key,
                          const Bytes& ke);
void install_initiators_inbound(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, QmDeriving& state, const SecretBytes& g_xy);
void install_responders_inbound(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, QmAnswering& state, const ike::DhResult* dh);
void on_quick_message_4(Core& core, const Incoming& in, IsakmpSa& sa, QuickMode& qm);
/// Message 3 was the last one, or, where the peer has set the commit bit, the last but one.
void wait_or_go_on(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, PendingPair pending);
void confirm(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, QmAwaitConfirm& state);
/// Hands one direction to the data plane.
JobId install(Core& core, const IsakmpSa& sa, const QuickMode& qm, Direction direction, PendingPair& pair);
/// An encrypted answer that a bad message deserves: nothing is said to what does not prove itself.
void drop_unproven(Core& core, const Incoming& in, const IsakmpSa& sa, Reason reason, std::string text);
/// The suites of a child that can be negotiated on this ISAKMP SA: AH cannot cross a NAT (RFC 3947 §1).
std::vector<EspSuite> usable_suites(const IsakmpSa& sa, const config::Child& child);
/// Keys of both directions; `shared` with PFS.
PendingPair make_pair(const MmEstablished& est, const EspChoice& choice, Spi spi_in, ByteView nonce_i, ByteView nonce_r,
                      const SecretBytes* shared);

}  // namespace culvert::ikev1

// Status notifications of RFC 2407 and RFC 2408 beyond DPD: lifetimes, first contact, commit, replay status, and doubts about an SPI.
// Owns what we say by them and what follows from a peer's. What comes here is authenticated, where it does not say otherwise.
#pragma once

#include "control/ikev1/core.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

/// RESPONDER-LIFETIME (RFC 2407 §4.6.3.1) in message 2 of Quick Mode, where our limits are lower than the offer's: the peer rekeys in
/// time, instead of being surprised by our Delete.
void add_responder_lifetime(const config::Child& child, const EspChoice& choice, Spi spi_in, Builder& out);
/// The same of an ISAKMP SA, where our lifetime ends before the one that the initiator has stated, or it has stated none: in message 6 of
/// Main Mode, and behind Aggressive Mode, whose last message is not ours, in an Informational exchange (RFC 2407 §4.6.3).
void add_isakmp_lifetime(const Core& core, const IsakmpSa& sa, const Negotiated& negotiated, Builder& out);
void tell_isakmp_lifetime(Core& core, TimePoint now, IsakmpSa& sa);
/// An ISAKMP SA may encrypt so much in all, both ways (RFC 2409 App. A), at least kMinIkeKbytes. It shortens only. No peer in the field is
/// known to ask for it, nor do we; one that does gets what it asks for.
void limit_volume(Core& core, MmEstablished& est, std::uint64_t kbytes);
/// One that came outside of Quick Mode: of the ISAKMP SA, or of a pair. It shortens only.
void on_responder_lifetime(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est, const Notify& n);

/// INITIAL-CONTACT (RFC 2407 §4.6.3.3), in our last message of phase 1, where nothing is left of any earlier dealings with the peer.
/// What is said is of an address: a peer behind the same NAT as another, or with two connections, must not lose the SAs of the first.
void note_contact(Core& core, const Endpoint& peer);
void add_initial_contact(Core& core, const IsakmpSa& sa, Builder& out);

/// CONNECTED (RFC 2408 §3.1): a peer that set the commit bit is ready. It comes under the message id of its Quick Mode, or names the SPI.
void on_connected(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, ByteView spi);

/// INVALID-SPI from the peer itself: a pair that it has lost is replaced.
void on_invalid_spi(Core& core, TimePoint now, IsakmpSa& sa, const MmEstablished& est, const Notify& n);
/// Somebody says in clear that the peer has lost an SA of ours: the peer is asked whether it lives, once in a while.
void ask_whether_alive(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est);

}  // namespace culvert::ikev1

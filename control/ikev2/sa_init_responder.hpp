// IKE_SA_INIT, responder: who is let in, and at what price. What the roles share is here, too: the message, NAT detection, keys.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// From so many half-open SAs on, in all or of one source, a cookie is asked for.
inline constexpr std::size_t kCookieThreshold = 30, kCookieThresholdOfSource = 3;

Bytes init_message(const IkeSa& sa, IkeSpi spi_r, bool response, const Builder& payloads, std::uint8_t exchange = ike::kExchangeSaInit);
/// RFC 7296 §2.23; `spi_r` zero in a request.
void add_nat_detection(Core& core, const IkeSa& sa, IkeSpi spi_r, Builder& out);
/// Whether the connection lets fragments in: then we say so (RFC 7383 §2.3).
[[nodiscard]] bool takes_fragments(const Core& core, const IkeSa& sa);
void find_nats(Core& core, IkeSa& sa, const Message& message);
/// Which hashes the peer takes in signatures, if it says so.
void note_hashes(IkeSa& sa, const Message& message);
void take_keys(IkeSa& sa, IkeKeys keys);

// -------------------------------------------------------------------------------------------- also of IKE_SESSION_RESUME

/// The very message that an SA was made for is answered as it was, if it may be. True: it is.
bool came_before(Core& core, const Incoming& in);
/// Whether somebody may go on; a cookie may be asked for, and `heard` says whether he has shown one that is good.
bool let_in(Core& core, const Incoming& in, const Message& m, bool& heard);
/// A half-open SA.
IkeSa& add_newcomer(Core& core, const Incoming& in, std::size_t connection, bool heard);
/// An answer that keeps nothing.
void refuse_newcomer_with(Core& core, const Incoming& in, NotifyType type, Bytes data = {});

/// Nothing here is for whoever sent this first message, and it is told so at once: it need not ask for minutes. Other messages: nothing.
void refuse_newcomer(Core& core, const Incoming& in);
void on_sa_init_request(Core& core, const Incoming& in);
void on_responding_dh(Core& core, TimePoint now, IkeSa& sa, Responding& state, const ike::DhResult& result);

}  // namespace culvert::ikev2

// Where the messages of watched peers are seen: on their way out, and on their way in, in clear or once they are decrypted.
// Owns when a line is due; what stands in it is trace.hpp's.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

void trace_sent(Core& core, TimePoint now, const IkeSa& sa, ByteView message);
/// An answer that belongs to no SA, to the datagram that trace_received saw last.
void trace_stateless(Core& core, const ike::Datagram& to, ByteView message);
void trace_received(Core& core, const Incoming& in);
/// What an encrypted one held.
void trace_opened(Core& core, const Incoming& in, const IkeSa& sa, const Message& message);

}  // namespace culvert::ikev2

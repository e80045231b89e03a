// Where the messages of watched peers are seen: on their way out, and on their way in, in clear or once they are decrypted.
// Owns when a line is due; what stands in it is trace.hpp's.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

void trace_sent(Core& core, TimePoint now, const IsakmpSa& sa, ByteView message);
/// An answer that belongs to no SA, to the datagram that trace_received saw last.
void trace_stateless(Core& core, const ike::Datagram& to, ByteView message);
/// A received message. The function, if there is one, is told what an encrypted one holds.
std::optional<std::function<void(const std::string&)>> trace_received(Core& core, const Incoming& in);

}  // namespace culvert::ikev1

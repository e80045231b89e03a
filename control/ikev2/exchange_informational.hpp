// INFORMATIONAL (RFC 7296 §1.4): deletes, liveness, notifications. Owns what a Delete leads to, on both sides.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

void on_informational_request(Core& core, const Incoming& in, IkeSa& sa, const Message& message);
void on_informational_response(Core& core, const Incoming& in, IkeSa& sa, const Message& message);
/// DeleteChild, DeleteIke or Liveness.
void begin_informational(Core& core, TimePoint now, IkeSa& sa, const Task& task);
/// A pair that the peer has and we have not: it is asked to delete it.
void say_deleted(Core& core, IkeSa& sa, Spi spi_in, SaProtocol protocol);

}  // namespace culvert::ikev2

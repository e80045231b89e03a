// Messages in and out of an IKE SA: sealing and opening, whole or in fragments (RFC 7383), message IDs, and what is answered again
// (RFC 7296 §2.1-§2.3). Owns the discipline of requests and responses; knows no exchange's meaning.
#pragma once

#include <optional>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// Sends the next request: the wait for its answer, of which IkeSa::last_request is what is sent again.
Outstanding send_request(Core& core, TimePoint now, IkeSa& sa, std::uint8_t exchange, const Builder& payloads);
/// A request with an ID of its own, beside the one under way: not sent again, and not counted.
void send_apart(Core& core, TimePoint now, IkeSa& sa, std::uint8_t exchange, std::uint32_t id, const Builder& payloads);
/// Answers the peer's request `id`, which is done with then.
void answer(Core& core, TimePoint now, IkeSa& sa, std::uint8_t exchange, std::uint32_t id, const Builder& payloads);
void answer_error(Core& core, TimePoint now, IkeSa& sa, std::uint8_t exchange, std::uint32_t id, NotifyType type, Bytes data = {});

/// What is inside of a message under an SA. nullopt: it is none of its peer's, and was counted so; or one of its fragments that is not the
/// last one to come.
/// `whole`: gets what was inside, as it came.
std::optional<Message> open(Core& core, const Incoming& in, IkeSa& sa, Opened* whole = nullptr);
enum class Arrived : std::uint8_t {
  Fresh,  ///< the request that is due
  Early,  ///< one of those that may come before it (window.hpp)
  Old,    ///< answered again, or at work on it, or there already, or none that may come: nothing more to do
};
Arrived arrival(Core& core, const Incoming& in, IkeSa& sa);
/// A fresh authentic message: the peer lives, and lives there: behind a NAT its address may have changed (RFC 7296 §2.23).
void heard(Core& core, const Incoming& in, IkeSa& sa);
/// One that is early: its turn comes.
void let_wait(Core& core, const Incoming& in, IkeSa& sa);
/// All that leads to the peer goes there now.
void move_peer(Core& core, IkeSa& sa, const Endpoint& remote);

}  // namespace culvert::ikev2

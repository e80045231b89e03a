// The Transaction exchange (draft-dukes-ike-mode-cfg-02 §3): a request and its answer, in either direction, on an established ISAKMP SA.
// Owns hashes, IVs, message ids, retransmission and the memory of answers. What is asked and answered is xauth.hpp's and mode_config.hpp's.
//
//   A -> B   HDR*, HASH(1), ATTR(REQUEST | SET)
//   A <- B   HDR*, HASH(1), ATTR(REPLY | ACK)       HASH(1) = prf(SKEYID_a, M-ID | ATTR), as in an Informational exchange
//
// The one that asks repeats its message until the answer comes; the one that answers repeats its answer for each copy. Peers exist that
// go on under the same message id (draft-beaulieu-ike-xauth-02 §2.2): IVs are chained, and each new request is answered.
#pragma once

#include <vector>

#include "control/ikev1/core.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

void on_transaction(Core& core, const Incoming& in);
/// Sends a REQUEST or SET of ours. `identifier` comes back in the answer.
void ask(Core& core, TimePoint now, IsakmpSa& sa, ConfigType type, std::uint16_t identifier, const std::vector<Attribute>& attributes);
/// Sends the answer to `request`, which came under `id`, and remembers it.
void answer(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request, std::vector<Attribute> attributes);
/// Whether a request of ours waits for its answer.
[[nodiscard]] bool asking(const Access& access);
/// Repeats what is due, and forgets what is over. False: an answer did not come; nothing of ours is outstanding any more.
bool poll_transactions(Core& core, TimePoint now, IsakmpSa& sa);
[[nodiscard]] std::optional<TimePoint> transactions_deadline(const Access& access);

}  // namespace culvert::ikev1

// Which suites of a peer's offer could be configured here: what an explanation of a mismatch can suggest.
// Owns no rule about what is acceptable (proposal.hpp), nor about what is wise.
#pragma once

#include <string>
#include <vector>

#include "control/ikev1/payloads.hpp"
#include "control/ikev1/proposal.hpp"

namespace culvert::ikev1 {

/// In the words of `proposals`, each once, a few at most; only transforms with an authentication method of `methods`.
std::vector<std::string> configurable_ike(const Sa& offered, std::span<const std::uint16_t> methods);
/// In the words of `esp_proposals`; only transforms with the wanted encapsulation, and with a group if and only if a KE payload came.
std::vector<std::string> configurable_esp(const Sa& offered, Encapsulation encapsulation, bool ke_present);

}  // namespace culvert::ikev1

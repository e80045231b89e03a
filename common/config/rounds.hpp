// Several proofs of one side, one after the other (RFC 4739): the sections local, local-2, local-eap and so on, as swanctl has them.
// Owns their order, and what proves both sides in each round. A round behind the first one is a Connection, of which only what is about
// proofs counts: its name is the connection's with "/2" or "/3" behind, by which its keys, secrets and users are asked for.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.hpp"

namespace culvert::config {

/// What proves both sides in a round, from 0 on. A side that has no proof left has those of its last one here.
inline const Connection& proofs(const Connection& c, std::size_t round) { return round == 0 ? c : c.rounds.at(round - 1); }
/// How many rounds there are: as many as the side has that proves itself more often.
inline std::size_t rounds_of(const Connection& c) { return c.rounds.size() + 1; }
inline bool proves_local(const Connection& c, std::size_t round) { return round < c.local_rounds; }
inline bool proves_remote(const Connection& c, std::size_t round) { return round < c.remote_rounds; }
/// The proof by which the peer is a user; nullptr: none.
inline const RemoteAuth* user_auth(const Connection& c) {
  for (std::size_t k = 0; k < c.remote_rounds; ++k)
    if (is_eap(proofs(c, k).remote_auth.auth)) return &proofs(c, k).remote_auth;
  return nullptr;
}
/// Whether a proof of either side is of this kind.
template <class Test>
bool any_proof(const Connection& c, Test&& test) {
  for (std::size_t k = 0; k < rounds_of(c); ++k)
    if ((proves_local(c, k) && test(proofs(c, k).local_auth.auth.proof)) ||
        (proves_remote(c, k) && test(proofs(c, k).remote_auth.auth.proof)))
      return true;
  return false;
}
/// The sections of all proofs by a certificate.
std::vector<std::string> certificate_sections(const Connection& c);
/// The connection that a round is of: "site-b" of "site-b/2".
inline std::string owner_of(const std::string& round) { return round.substr(0, round.find('/')); }
/// A connection by its name, or a round of one; nullptr: there is none.
const Connection* find_proofs(const GatewayConfig& config, std::string_view name);

/// Whether two connections have the same proofs before this round, and the same of our own in it: what a peer has shown of the one by then
/// holds for the other.
bool same_until(const Connection& a, const Connection& b, std::size_t round);
/// Whether the key is that of such a section: `prefix`, then "-" or a digit.
bool is_further(std::string_view prefix, std::string_view key);
/// Fills Connection::rounds and the numbers from `local_auth`, `more_local` and so on, which are in their order.
void arrange_rounds(Connection& c);

}  // namespace culvert::config

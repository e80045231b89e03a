// The engine's view of servers that know users (RADIUS): what it asks them, and what comes of it.
// Owns types only. The engine never sees a server's secret, a packet of RADIUS or a socket: it asks, by an action that completes later.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes.hpp"
#include "common/net/ip.hpp"
#include "common/secret.hpp"

namespace culvert::ike {

/// Hand what a user says by EAP to a server (RFC 3579 §2.1). Answered by Engine::on_radius.
struct AskRadius {
  std::uint64_t job = 0;
  std::string connection;
  std::uint64_t sa = 0;                 ///< of the IKE SA (NAS-Port)
  Endpoint local, remote;               ///< of the IKE SA
  Bytes user;                           ///< his EAP identity (User-Name)
  Bytes eap;                            ///< his packet
  Bytes state{};                        ///< of the server's last answer, to be sent back
  std::optional<std::size_t> server{};  ///< who gave that answer: nobody else knows it. nullopt: the conversation begins
};

/// The answer to AskRadius.
struct RadiusAnswer {
  enum class Kind : std::uint8_t {
    Challenge,  ///< the conversation goes on
    Accept,
    Reject,
    Silence,   ///< no server has answered
    Forged,    ///< what came was not made with the secret that we have for the server, or not for this question
    Unusable,  ///< it is an answer, but nothing can be done with it
    NoSecret,  ///< a server's secret cannot be read
    Busy,      ///< too many questions are under way, or this one is too long
  };
  std::uint64_t job = 0;
  Kind kind{};
  std::size_t server = 0;
  std::string name{};  ///< of the server, as configured; of several that are silent the last one asked
  Bytes eap{}, state{};
  SecretBytes msk{};                                      ///< of Accept; empty: the method makes no key
  Bytes user{};                                           ///< of Accept: who he is to the server (User-Name); empty: who he says
  std::vector<IpAddress> framed{};                        ///< of Accept: the virtual addresses that he is to have
  std::optional<std::chrono::seconds> session_timeout{};  ///< of Accept
  std::string message{};                                  ///< of the server for the user (Reply-Message), printable
  std::string error{};                                    ///< a part of a sentence, for an operator
  bool unheard = false;  ///< of Silence: one that may be there has never answered by the secret that we have for it
};

}  // namespace culvert::ike

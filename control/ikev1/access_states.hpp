// What an established ISAKMP SA may still wait for before Quick Modes, as types: XAuth, then addresses by Mode Config.
// Owns no behaviour: xauth_*.cpp and mode_config_*.cpp move an SA from one state to the next, access.cpp says what comes first.
//
//   asks for a user   AwaitReply -REPLY-> Checking -ok-> AwaitAck(ok) -ACK-> Config...     wrong: Holding -time-> AwaitAck(fail) -> closed
//   is a user         AwaitRequest -REQUEST-> AwaitStatus -SET(ok)-> Config...             SET(fail): closed
//   gives addresses   pull: ConfigAwaitRequest -REQUEST-> Open                             push: ConfigAwaitAck -ACK-> Open
//   wants one         pull: ConfigAwaitReply -REPLY-> Open                                 push: ConfigAwaitSet -SET-> Open
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "control/ike/engine_types.hpp"
#include "control/ike/retransmit.hpp"
#include "control/ikev1/cipher.hpp"
#include "control/ikev1/payloads.hpp"

namespace culvert::ikev1 {

/// One message id of the Transaction exchange, and what is chained under it (draft-dukes-ike-mode-cfg-02 §3.2).
struct Transaction {
  Iv iv{};                             ///< of the next message, whichever side sends it
  ike::ReplyCache replies;             ///< the peer's requests and our answers
  std::optional<ike::Outstanding> tx;  ///< our request, while its answer is awaited
  ConfigType asked{};                  ///< what our request was
  ike::TimePoint forget_at;            ///< without `tx`
};

/// Nothing is known of it yet: neither side may begin anything.
struct AccessUndecided {};
struct XauthAwaitReply {};
struct XauthChecking {
  ike::JobId job{};
  Bytes user;
  ike::TimePoint since;
};
/// The refusal is held back: who guesses must wait, whether the user exists or not.
struct XauthHolding {
  Bytes user;
  ike::TimePoint until;
};
struct XauthAwaitAck {
  bool ok = false;
  Bytes user;
  ike::Reason reason{};  ///< of a refusal
  std::string text;
};
struct XauthAwaitRequest {};
struct XauthAwaitStatus {
  bool name = false, secret = false;  ///< what we have given so far: a server may ask for one after the other
};
struct ConfigAwaitRequest {};
struct ConfigAwaitAck {};
struct ConfigAwaitReply {};
struct ConfigAwaitSet {};
struct AccessOpen {};
using AccessState = std::variant<AccessUndecided, XauthAwaitReply, XauthChecking, XauthHolding, XauthAwaitAck, XauthAwaitRequest,
                                 XauthAwaitStatus, ConfigAwaitRequest, ConfigAwaitAck, ConfigAwaitReply, ConfigAwaitSet, AccessOpen>;

/// What the one that gives us an address says with it; shown, not acted on.
struct ReceivedConfig {
  ike::GivenConfig given;
  std::vector<IpAddress> nbns;
  std::string banner, domain;
};

struct Access {
  AccessState state;
  std::map<MessageId, Transaction> transactions;
  ike::TimePoint give_up_at{};       ///< of XAuth and Mode Config together, until it is open
  std::uint16_t identifier = 0;      ///< of our requests: one for all of XAuth (draft-beaulieu-ike-xauth-02 §2)
  std::string user;                  ///< that XAuth has proved, printable
  bool initial_contact = false;      ///< the peer said so before XAuth told who it is
  std::optional<IpAddress> address;  ///< virtual: the peer's, or ours
  std::string lease;                 ///< who holds it, where it is of our pools (leases.hpp)
  ReceivedConfig received;

  /// Whether Quick Modes of the peer are taken: it has proved all that it must.
  [[nodiscard]] bool proved() const {
    return std::holds_alternative<ConfigAwaitRequest>(state) || std::holds_alternative<ConfigAwaitAck>(state) ||
           std::holds_alternative<ConfigAwaitReply>(state) || std::holds_alternative<ConfigAwaitSet>(state) || open();
  }
  /// Whether we may begin Quick Modes: the addresses are known, too.
  [[nodiscard]] bool open() const { return std::holds_alternative<AccessOpen>(state); }
};

}  // namespace culvert::ikev1

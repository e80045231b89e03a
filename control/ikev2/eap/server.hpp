// EAP, the side that asks (RFC 3748): who is there, and a proof of it by one method.
// Owns the conversation with one user, and what comes of it. Pure: users are looked up by whoever drives it, and so is the time that a
// refusal takes. Never says to the user more than that he is refused, nor which of name and password is wrong.
//
//   server -> user   Request(Identity)
//   server <- user   Response(Identity)                           Identified: choose() says by which method it goes on
//   server -> user   Request(MS-CHAPv2 Challenge)     |   Request(MD5-Challenge)
//   server <- user   Response(...)                    |   Response(...)            | Response(Nak): he does not do that
//                                                                 AskUser: on_user() says what is known of him
//   server -> user   Request(Success)  or Request(Failure)   |    Success or Failure
//   server <- user   Response
//   server -> user   Success  or Failure
// Or hand_over(): behind the identity all goes to and fro between the user and a server elsewhere (RFC 3748 §7.1), server_relay.cpp.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "common/secret.hpp"
#include "control/ikev2/eap/mschapv2.hpp"
#include "control/ikev2/eap/packet.hpp"

namespace culvert::eap {

enum class Problem : std::uint8_t {
  UnknownUser,
  WrongPassword,
  Method,    ///< he does not do the method that we ask for, or we not his
  Protocol,  ///< a message that does not belong there
  Refused,   ///< the other side has said Failure
};

struct Reply {
  Bytes packet;  ///< to be sent; another one is awaited
};
struct Identified {
  Bytes identity;  ///< that he claims
};
struct AskUser {
  Bytes user;
};
struct Forward {
  Bytes packet;  ///< for the server elsewhere: on_relayed() says what came of it
};
struct Proved {
  Bytes packet;  ///< of a server: the last one to be sent
};
struct Refusal {
  Problem problem{};
  std::string text;  ///< a part of a sentence, for an operator
};

/// What is known of a user.
struct Credential {
  SecretBytes password;  ///< empty: only its hash is known
  SecretBytes nt_hash;
};

class Server {
 public:
  using Verdict = std::variant<Reply, Identified, AskUser, Forward, Proved, Refusal>;

  /// Random: the method's challenge, and 16 bytes more.
  struct Seed {
    Bytes challenge, more;
    std::uint8_t id = 0;
  };
  explicit Server(Seed seed) : seed_(std::move(seed)), id_(seed_.id) {}

  /// The first packet.
  Bytes begin();
  Verdict on_packet(ByteView bytes);
  /// Behind Identified. `own`: how we call ourselves.
  Bytes choose(Method method, const std::string& own);
  /// Behind AskUser. nullptr: there is no such user.
  Verdict on_user(const Credential* credential);
  /// Behind Identified, instead of choose(): somebody else asks for the proof. This is for him.
  Forward hand_over();
  /// Behind a Forward: what he says to it, as far as it is no refusal. With `accepted` it is over, and `msk` is the key that the user has,
  /// too.
  Verdict on_relayed(bool accepted, ByteView packet, SecretBytes msk = {});
  /// Behind Identified: he who has proved himself is this one.
  void rename(Bytes user) { user_ = std::move(user); }
  /// Behind a Refusal: what the method tells him before it is over; nullopt: nothing. His answer means nothing any more.
  std::optional<Bytes> farewell();
  /// The end of a conversation that failed.
  [[nodiscard]] Bytes failure() const { return encode({Code::Failure, id_, Type::None, {}}); }

  /// Who has proved himself, or tries to; empty: nobody has said so yet.
  [[nodiscard]] const Bytes& user() const { return user_; }
  /// Behind Proved: what both sides know now and nobody else does; empty: the method makes no key.
  [[nodiscard]] const SecretBytes& msk() const { return msk_; }

 private:
  enum class State : std::uint8_t { Identity, Chosen, Challenged, Told, Elsewhere, Over };
  Bytes request(Type type, Bytes data);
  Verdict on_identity(const Packet& p);
  Verdict on_mschapv2(const Packet& p);
  Verdict on_md5(const Packet& p);
  Verdict check_mschapv2(const Credential* credential);
  Verdict check_md5(const Credential* credential);
  Refusal refuse(Problem problem, std::string text);

  Seed seed_;
  std::uint8_t id_ = 0;
  State state_ = State::Identity;
  Method method_{};
  Bytes user_, proof_, peer_challenge_;
  SecretBytes msk_;
};

/// What a Nak asks for instead: "EAP type 13, EAP-MD5".
std::string wishes(const Packet& nak);

}  // namespace culvert::eap

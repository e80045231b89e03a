// Questions to RADIUS servers that are under way (RFC 2865 §2, RFC 3579 §2): which server, how often, and which datagram is the answer.
// Owns the choice of server, identifiers, retransmission and its bounds, and what each server has counted. Pure: no socket and no clock;
// time and datagrams come in, datagrams and answers go out. Never takes an answer that does not prove itself, and keeps a secret no longer
// than the question that it is for.
//
//   ask -> the best server -sent, sent again-> an answer that proves itself: Challenge, Accept, Reject
//                                           -> silence: the next best one, if the conversation begins with this question
//                                              none is left, or radius.timeout is over: Silence; Forged, if something came that was not
//                                              proven
// What belongs to a conversation goes to the server that it began with: another one knows nothing of it. A server is taken for dead when it
// leaves a first question unanswered and has answered nobody meanwhile: what users say later may be of a kind that servers pass over.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "common/config/config.hpp"
#include "control/ike/radius_types.hpp"
#include "control/ike/reasons.hpp"
#include "control/radius/packet.hpp"

namespace culvert::radius {

using ike::TimePoint;

/// One row each, for the metrics.
// clang-format off
#define CULVERT_RADIUS_COUNTS(X) \
  X(Requests,        "requests",        "questions sent for the first time") \
  X(Retransmissions, "retransmissions", "... and sent again") \
  X(Challenges,      "challenges",      "answers by which the conversation goes on") \
  X(Accepts,         "accepts",         "answers by which the user is who he says") \
  X(Rejects,         "rejects",         "answers by which he is refused") \
  X(Timeouts,        "timeouts",        "questions that the server never answered") \
  X(Forged,          "forged",          "answers dropped: the authenticator is wrong (another secret, or made up)") \
  X(Unproven,        "unproven",        "answers dropped: no Message-Authenticator (CVE-2024-3596)") \
  X(Malformed,       "malformed",       "datagrams dropped: no packet of RADIUS, or one that is no answer") \
  X(Strays,          "strays",          "datagrams dropped: answers to no question that is under way, duplicates included")
// clang-format on
enum class Count : std::uint8_t {
#define X(id, name, help) id,
  CULVERT_RADIUS_COUNTS(X)
#undef X
      Count_
};
std::string_view name(Count c);
std::string_view help(Count c);

struct ServerInfo {
  std::string name;
  Endpoint endpoint;
  std::array<std::uint64_t, static_cast<std::size_t>(Count::Count_)> counts{};
  std::uint64_t answers = 0;          ///< that proved themselves ...
  std::chrono::nanoseconds waited{};  ///< ... and how long they took, in all, from the first sending
  bool dead = false;
  std::size_t under_way = 0;
};

/// A datagram for a server, by one of its sockets.
struct Send {
  std::size_t server = 0;
  std::uint32_t socket = 0;
  Bytes data;
};

class Client {
 public:
  struct Hooks {
    std::function<Bytes(std::size_t)> random;
    std::function<std::expected<SecretBytes, std::string>(const config::SecretRef&)> secret;  ///< read at each use
  };
  /// `config` outlives it.
  Client(const config::Radius& config, Hooks hooks);

  void ask(TimePoint now, ike::AskRadius question);
  /// Whatever came from this server to this socket.
  void on_datagram(TimePoint now, std::size_t server, std::uint32_t socket, ByteView data);
  /// Nothing listens there, says somebody on the way: only said to operators.
  void on_unreachable(std::size_t server, std::uint32_t socket);
  void on_timer(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> deadline() const;

  std::vector<Send> take_sends() { return std::exchange(sends_, {}); }
  std::vector<ike::RadiusAnswer> take_answers() { return std::exchange(answers_, {}); }
  /// A server that is dead, and one that is so no more: a sentence each, for operators.
  std::vector<std::string> take_news() { return std::exchange(news_, {}); }

  [[nodiscard]] std::vector<ServerInfo> servers(TimePoint now) const;

  static constexpr std::size_t kMaxUnderWay = 4096;  ///< of all servers

 private:
  using Key = std::pair<std::uint32_t, std::uint8_t>;  ///< socket, identifier
  struct Question {
    ike::AskRadius asked;
    TimePoint since, until;  ///< of the question, whoever is asked
    std::set<std::size_t> tried{};
    // to the server that is being asked
    SecretBytes secret{};
    Authenticator authenticator{};
    Bytes datagram{};
    TimePoint first_sent{}, next{};
    std::uint32_t sent = 0;
    bool unreachable = false;
    bool unheard = false;                             ///< one of those asked may be there, and has never answered by this secret
    std::optional<std::size_t> forged{}, unproven{};  ///< who has answered so, of all that were asked
  };
  struct Server {
    ServerInfo info;
    std::map<Key, Question> under_way{};
    std::uint32_t last = 0;  ///< goes round through all identifiers: one is used again as late as can be
    std::optional<TimePoint> dead_until{}, heard{};
    SecretBytes heard_by{};  ///< a print of the secret that it has answered by
  };

  std::uint64_t& count(std::size_t server, Count c) { return servers_[server].info.counts[static_cast<std::size_t>(c)]; }
  [[nodiscard]] std::optional<std::size_t> choose(TimePoint now, const Question& q) const;
  void begin(TimePoint now, Question q);
  Key free_key(std::size_t server);
  void send(TimePoint now, std::size_t server, const Key& key, Question& q);
  Question take(std::size_t server, const Key& key);
  void on_unanswered(TimePoint now, std::size_t server, const Key& key);
  void finish(const Question& q, ike::RadiusAnswer answer, std::size_t server);
  [[nodiscard]] std::string shown(std::size_t server) const;
  void declare_dead(TimePoint now, std::size_t server);
  [[nodiscard]] ike::RadiusAnswer silence(const Question& q, std::size_t server) const;

  const config::Radius& config_;
  Hooks hooks_;
  std::vector<Server> servers_;
  std::set<std::tuple<TimePoint, std::size_t, Key>> timers_;
  std::size_t under_way_ = 0;
  std::vector<Send> sends_;
  std::vector<ike::RadiusAnswer> answers_;
  std::vector<std::string> news_;
};

}  // namespace culvert::radius

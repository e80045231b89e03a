// A RADIUS server of the tests' own and the questions to it, on the virtual clock: it knows users by EAP-MSCHAPv2 and EAP-MD5, as its users
// have it, and says what it is told to where it is to be a bad one. Owns what lies between the gateway's engine and the server.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "control/ikev2/eap/server.hpp"
#include "control/radius/client.hpp"
#include "tests/exchange/world.hpp"
#include "tests/support/radius_server.hpp"

namespace culvert::test {

/// One conversation, by the State that the server gives it.
struct RadiusTalker {
  eap::Server eap;
  std::uint32_t step = 0;
};

class RadiusWorld {
 public:
  RadiusWorld(World& world, Host& gateway, std::size_t servers = 1);

  /// Hears each question; what it returns is sent instead of the server's answer. nullopt: the server answers as it should.
  using Mischief = std::function<std::optional<std::vector<Bytes>>(const radius::Send&, const radius::Packet&)>;
  Mischief mischief;
  std::map<std::string, std::string> users{{"alice", "alicepw"}};
  eap::Method method = eap::Method::Mschapv2;
  std::vector<radius::Attribute> grants;  ///< more attributes of Access-Accept
  std::string rejection;                  ///< Reply-Message of Access-Reject
  std::set<std::size_t> silent;           ///< servers
  Duration delay = 2ms;
  unsigned asked = 0;  ///< questions that came to a server, sent again or not
  std::vector<radius::Packet> questions;
  [[nodiscard]] std::uint64_t count(radius::Count c, std::size_t server = 0) const;
  radius::Client& client() { return *client_; }

 private:
  void pump();
  void arm();
  Bytes answer(const radius::Send& question, const radius::Packet& packet);
  Bytes say(const radius::Send& question, const Bytes& state, RadiusTalker& talker, const eap::Server::Verdict& verdict);

  World& world_;
  Host& gateway_;
  std::unique_ptr<radius::Client> client_;
  std::map<Bytes, RadiusTalker> talkers_;
  std::map<Bytes, Bytes> said_;  ///< by question: one that is sent again is answered again
  std::optional<TimePoint> armed_;
};

/// From now on no IKE SA is begun: nobody proves himself anew before his time is over.
inline void never_anew(World& world) {
  world.hook = [](ike::Datagram& d) {
    const auto seen = ike::parse_header(d.data);
    return !seen || seen->header.exchange != ike::kExchangeSaInit;
  };
}

}  // namespace culvert::test

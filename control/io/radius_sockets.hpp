// The UDP sockets towards RADIUS servers: each is connected to its server, so that the kernel passes nobody else's datagrams to it.
// Owns the sockets and their receiving. Knows nothing of what goes through (control/radius), and never resolves a name.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "common/bytes.hpp"
#include "common/config/config.hpp"
#include "control/radius/client.hpp"

namespace culvert::control::io {

class RadiusSockets {
 public:
  struct Hooks {  // in the thread of the context
    std::function<void(std::size_t server, std::uint32_t socket, ByteView datagram)> received;
    std::function<void(std::size_t server, std::uint32_t socket)> unreachable;
    std::function<void(std::string)> complain;  ///< a socket cannot be opened or sent by
  };
  /// `context` and `config` outlive it.
  RadiusSockets(boost::asio::io_context& context, const config::Radius& config, Hooks hooks);
  ~RadiusSockets();
  RadiusSockets(const RadiusSockets&) = delete;
  RadiusSockets& operator=(const RadiusSockets&) = delete;

  /// What does not go out is a lost datagram: it is sent again.
  void send(const radius::Send& what);

 private:
  struct Socket;
  std::shared_ptr<Socket> open(std::size_t server, std::uint32_t number);
  void receive(const std::shared_ptr<Socket>& socket);

  boost::asio::io_context& context_;
  const config::Radius& config_;
  Hooks hooks_;
  std::map<std::pair<std::size_t, std::uint32_t>, std::shared_ptr<Socket>> sockets_;
  std::map<std::size_t, std::string> complaints_;  ///< by server, the last one: said once
};

}  // namespace culvert::control::io

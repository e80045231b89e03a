// The sessions of culvertd's socket: accepts, reads request lines, writes replies, within protocol.hpp's bounds.
// For the loop and its tests only: brings Asio with it.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "control/cli/server/dispatcher.hpp"
#include "control/io/listener.hpp"

namespace culvert::control::io {

class CliSessions {
 public:
  /// Answers one request line.
  using Handle = std::function<cli::Reply(std::string_view request)>;
  CliSessions(boost::asio::io_context& context, const Listener& listener, Handle handle);
  ~CliSessions();
  CliSessions(const CliSessions&) = delete;
  CliSessions& operator=(const CliSessions&) = delete;

  void start();
  [[nodiscard]] std::size_t clients() const { return sessions_.size(); }

 private:
  using Socket = boost::asio::local::stream_protocol::socket;
  struct Session;
  using Sessions = std::list<std::shared_ptr<Session>>;  ///< the one that is idle longest first

  boost::asio::awaitable<void> accept();
  boost::asio::awaitable<void> serve(std::shared_ptr<Session> session);
  boost::asio::awaitable<bool> answer(const std::shared_ptr<Session>& session, std::string request);
  boost::asio::awaitable<bool> write(const std::shared_ptr<Session>& session, std::string line);
  void make_room();

  boost::asio::io_context& context_;
  const Listener& listener_;
  Handle handle_;
  boost::asio::local::stream_protocol::acceptor acceptor_;
  Sessions sessions_;
};

}  // namespace culvert::control::io

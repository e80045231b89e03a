#include "control/io/cli_sessions.hpp"

#include <chrono>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <unistd.h>

#include "control/cli/protocol.hpp"
#include "control/io/token.hpp"

namespace culvert::control::io {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {
constexpr std::chrono::milliseconds kProgressInterval{50};  // of a reply that is not ready
constexpr std::chrono::milliseconds kStreamInterval{100};   // of looking for further lines
constexpr std::chrono::milliseconds kAcceptPause{100};      // after accept failed (out of descriptors)
}  // namespace

struct CliSessions::Session {
  explicit Session(Socket s) : socket(std::move(s)), deadline(socket.get_executor()), pause(socket.get_executor()) {}
  void close() {
    error_code ignored;
    socket.close(ignored);
    deadline.cancel();
    pause.cancel();
  }
  /// Closes the socket unless the operation that follows ends in time.
  void limit(const std::shared_ptr<Session>& self, std::chrono::seconds time) {
    deadline.expires_after(time);
    deadline.async_wait([weak = std::weak_ptr(self)](const error_code& error) {
      const auto session = weak.lock();
      if (!error && session) session->close();
    });
  }
  Socket socket;
  asio::steady_timer deadline, pause;
  std::string input;
  bool busy = false;  ///< a request is being answered
};

CliSessions::CliSessions(asio::io_context& context, const Listener& listener, Handle handle)
    : context_(context),
      listener_(listener),
      handle_(std::move(handle)),
      acceptor_(context, asio::local::stream_protocol(), ::dup(listener.fd())) {}

CliSessions::~CliSessions() = default;

void CliSessions::start() { asio::co_spawn(context_, accept(), asio::detached); }

/// The client that is idle longest goes when there are too many, so that idle ones cannot keep an operator out.
void CliSessions::make_room() {
  if (sessions_.size() < cli::kMaxClients) return;
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
    if ((*it)->busy) continue;
    (*it)->close();
    sessions_.erase(it);
    return;
  }
}

asio::awaitable<void> CliSessions::accept() {
  for (;;) {
    error_code error;
    Socket socket = co_await acceptor_.async_accept(token(error));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      asio::steady_timer timer(context_, kAcceptPause);
      co_await timer.async_wait(token(error));
      continue;
    }
    auto session = std::make_shared<Session>(std::move(socket));
    if (!listener_.allows(session->socket.native_handle())) {
      co_await write(session, cli::error_line("denied", "you may not use this socket: be root, culvertd's user, or in control.group"));
      session->close();
      continue;
    }
    make_room();
    if (sessions_.size() >= cli::kMaxClients) {
      co_await write(session, cli::error_line("busy", "too many clients"));
      session->close();
      continue;
    }
    sessions_.push_back(session);
    // Whatever ends it: one that stayed behind would keep an operator out.
    asio::co_spawn(context_, serve(session), [this, session](const std::exception_ptr&) {
      session->close();
      sessions_.remove(session);
    });
  }
}

asio::awaitable<void> CliSessions::serve(std::shared_ptr<Session> session) {
  for (;;) {
    error_code error;
    session->limit(session, cli::kIdleTimeout);
    const std::size_t n =
        co_await asio::async_read_until(session->socket, asio::dynamic_buffer(session->input, cli::kMaxRequest), '\n', token(error));
    session->deadline.cancel();
    if (error == asio::error::not_found) (void)co_await write(session, cli::error_line("bad_request", "the request is too long"));
    if (error) break;
    std::string request = session->input.substr(0, n - 1);
    session->input.erase(0, n);
    session->busy = true;
    std::string problem;
    bool go_on = false;
    try {
      go_on = co_await answer(session, std::move(request));
    } catch (const std::exception& e) {
      problem = e.what();
    }
    if (!problem.empty()) (void)co_await write(session, cli::error_line("failed", "internal error: " + problem));
    session->busy = false;
    if (!go_on) break;
    sessions_.remove(session);  // to the end: it was active just now
    sessions_.push_back(session);
  }
}

/// False: the client is gone.
asio::awaitable<bool> CliSessions::answer(const std::shared_ptr<Session>& session, std::string request) {
  error_code error;
  const cli::Reply reply = handle_(request);
  if (reply.stream) {
    for (;;) {
      while (auto line = reply.stream())
        if (!co_await write(session, std::move(*line))) co_return false;
      session->pause.expires_after(kStreamInterval);
      co_await session->pause.async_wait(token(error));
      if (!session->socket.is_open()) co_return false;
      // A follower that left is noticed here: what it sent since is not read, its end is.
      char byte = 0;
      if (::recv(session->socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) co_return false;
    }
  }
  if (reply.later) {
    for (;;) {
      if (auto line = reply.later(ike::TimePoint::clock::now())) co_return co_await write(session, std::move(*line));
      session->pause.expires_after(kProgressInterval);
      co_await session->pause.async_wait(token(error));
      if (!session->socket.is_open()) co_return false;
    }
  }
  co_return co_await write(session, reply.line);
}

asio::awaitable<bool> CliSessions::write(const std::shared_ptr<Session>& session, std::string line) {
  error_code error;
  line += '\n';
  session->limit(session, cli::kWriteTimeout);
  co_await asio::async_write(session->socket, asio::buffer(line), token(error));
  session->deadline.cancel();
  co_return !error;
}

}  // namespace culvert::control::io

// The event loop: the one thread in which the gateway runs, and everything that wakes it.
// Owns the reconnecting to the data plane, its eventfd and socket, the deadline timer, the signals and the CLI's sockets.
// Asio is behind this interface and nowhere else; coroutines live here only.
//
//     begin_attach .. finish_attach -> gateway.attached     eventfd -> gateway.drain      socket's end -> gateway.detached
//     wake_at -> timer -> gateway.on_timer                  each second -> on_second      SIGTERM, SIGINT -> gateway.shutdown
//     SIGHUP -> journal.reopen                              a RADIUS server's datagram -> gateway.on_radius
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>

#include "control/auth/revocation.hpp"
#include "control/cli/server/dispatcher.hpp"
#include "control/gateway.hpp"
#include "control/io/listener.hpp"

namespace culvert::control::io {

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Runs `work` in the loop's thread, later. From any thread.
  void post(std::function<void()> work);
  /// Asks over HTTP; answered once, later, in the loop's thread (http_fetch.hpp). From the loop's thread.
  void fetch(auth::Fetch what, auth::Fetched done);
  /// The addresses of a host's name; answered once, later, in the loop's thread. From the loop's thread.
  void find_name(ike::FindName what, std::function<void(ike::NameFound)> done);
  /// To a RADIUS server; what comes back goes to the gateway. From the loop's thread, while it runs.
  void send(const radius::Send& what);
  /// Ends run() with this exception: a thread that works for the loop has failed, and what the loop waits for will not come. From any
  /// thread; the first one counts.
  void fail(std::exception_ptr why) noexcept;
  /// Sets when the gateway's on_timer is called; replaces the time set before. From the loop's thread.
  void wake_at(std::optional<ike::TimePoint> when);

  struct Parts {
    Gateway& gateway;
    cli::Dispatcher& dispatcher;
    Listener& listener;  ///< of the CLI's socket
  };
  /// Runs until a signal ends it: the peers are told, and the data plane has up to kShutdownTime to confirm. Throws what an event's
  /// handler has thrown, or what fail() was told: nothing goes on without it.
  void run(Parts parts);
  static constexpr std::chrono::seconds kShutdownTime{2};

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::control::io

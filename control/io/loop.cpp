#include "control/io/loop.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <mutex>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <sys/eventfd.h>

#include "control/io/cli_sessions.hpp"
#include "control/io/http_fetch.hpp"
#include "control/io/radius_sockets.hpp"
#include "control/io/token.hpp"

namespace culvert::control::io {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {
constexpr std::chrono::milliseconds kRetryInterval{500};  // of attaching to the data plane
constexpr std::chrono::seconds kWelcomeTimeout{5};        // for its answer to Hello
constexpr std::chrono::seconds kReminderInterval{60};     // of saying that it is still not there
constexpr std::chrono::milliseconds kQuietInterval{20};   // of looking whether shutdown is complete

/// What a coroutine of the loop throws ends culvertd: without one of them it would be deaf, and nobody would know.
void fatal(const std::exception_ptr& e) {
  if (e) std::rethrow_exception(e);
}
}  // namespace

struct Loop::Impl {
  asio::io_context context{1};
  std::mutex failing;
  std::exception_ptr failure;
  Names names{context, Names::ask_system, [this](const std::exception_ptr& why) { fail(why); }};
  asio::steady_timer deadline{context};
  std::optional<ike::TimePoint> armed;
  std::optional<Parts> parts;
  std::optional<RadiusSockets> radius;  ///< while it runs
  /// Of the attached data plane; null while there is none. Shared with the operations that wait on them.
  struct Watch {
    asio::posix::stream_descriptor events, socket;
    bool broken = false;
    std::string why;
    Watch(asio::io_context& c, const Link& link) : events(c, ::dup(link.event_fd())), socket(c, ::dup(link.socket_fd())) {}
    void close() {
      error_code ignored;
      events.close(ignored);
      socket.close(ignored);
    }
  };
  std::shared_ptr<Watch> watch;

  Gateway& gateway() { return parts->gateway; }
  void fail(const std::exception_ptr& why) noexcept;

  void arm(std::optional<ike::TimePoint> when);
  asio::awaitable<void> keep_attached();
  asio::awaitable<std::expected<Attachment, std::string>> attach();
  asio::awaitable<void> watch_events(std::shared_ptr<Watch> w);
  asio::awaitable<void> watch_link(std::shared_ptr<Watch> w);
  asio::awaitable<void> each_second();
  asio::awaitable<void> await_signal();
};

Loop::Loop() : impl_(std::make_unique<Impl>()) {}
Loop::~Loop() = default;

void Loop::post(std::function<void()> work) { asio::post(impl_->context, std::move(work)); }
void Loop::fetch(auth::Fetch what, auth::Fetched done) { http_fetch(impl_->context, impl_->names, std::move(what), std::move(done)); }
void Loop::find_name(ike::FindName what, std::function<void(ike::NameFound)> done) {
  impl_->names.resolve(what.name, [job = what.job, done = std::move(done)](const Names::Addresses& found) {
    ike::NameFound out{job, {}, found ? std::string{} : found.error()};
    if (found)
      for (const asio::ip::address& one : *found)
        if (auto address = IpAddress::parse(one.to_string())) out.addresses.push_back(*address);
    done(std::move(out));
  });
}
void Loop::send(const radius::Send& what) {
  if (impl_->radius) impl_->radius->send(what);
}
void Loop::fail(std::exception_ptr why) noexcept { impl_->fail(why); }
void Loop::wake_at(std::optional<ike::TimePoint> when) { impl_->arm(when); }

/// Allocates nothing: memory may be what is missing.
void Loop::Impl::fail(const std::exception_ptr& why) noexcept {
  const std::lock_guard lock(failing);
  if (!failure) failure = why;
  context.stop();
}

void Loop::Impl::arm(std::optional<ike::TimePoint> when) {
  if (when == armed) return;
  armed = when;
  if (!when) {
    deadline.cancel();
    return;
  }
  deadline.expires_at(*when);
  deadline.async_wait([this](const error_code& error) {
    if (error) return;
    armed.reset();
    gateway().on_timer(Clock::now());
  });
}

/// Connects, says Hello and waits for Welcome, without blocking.
asio::awaitable<std::expected<Attachment, std::string>> Loop::Impl::attach() {
  auto begun = begin_attach(gateway().config().dataplane.socket);
  if (!begun) co_return std::unexpected(std::move(begun.error()));
  asio::posix::stream_descriptor readable(context, ::dup(begun->get()));
  asio::steady_timer timeout(context, kWelcomeTimeout);
  timeout.async_wait([&readable](const error_code& error) {
    if (!error) readable.cancel();
  });
  error_code error;
  co_await readable.async_wait(asio::posix::stream_descriptor::wait_read, token(error));
  // Nothing may come between: a handler that already waits to run must not outlive `readable`.
  if (timeout.cancel() == 0 && !error) co_await timeout.async_wait(token(error));
  if (error == asio::error::operation_aborted) co_return std::unexpected("the data plane does not answer Hello");
  co_return finish_attach(std::move(*begun));
}

asio::awaitable<void> Loop::Impl::keep_attached() {
  std::string last_error;
  Clock::time_point last_said{};
  asio::steady_timer pause(context);
  error_code error;
  for (;;) {
    auto attachment = co_await attach();
    if (attachment && attachment->segment.header().vrfs != config::vrf_fingerprint(gateway().config()))
      attachment = std::unexpected("the data plane has been started with other vrfs: restart culvert-dataplane with this configuration");
    if (!attachment) {
      if (attachment.error() != last_error || Clock::now() - last_said > kReminderInterval) {
        last_error = attachment.error();
        last_said = Clock::now();
        gateway().journal().error(fmt::format("{}; trying again every {} ms", last_error, kRetryInterval.count()));
      }
      pause.expires_after(kRetryInterval);
      co_await pause.async_wait(token(error));
      continue;
    }
    last_error.clear();
    gateway().attached(Clock::now(), std::move(*attachment));
    watch = std::make_shared<Watch>(context, *gateway().link());
    asio::co_spawn(context, watch_events(watch), fatal);
    co_await watch_link(watch);
    const std::string why = watch->why;
    watch->close();
    watch.reset();
    gateway().detached(Clock::now(), why);
  }
}

/// Ends when the data plane is gone.
asio::awaitable<void> Loop::Impl::watch_link(std::shared_ptr<Watch> w) {
  error_code error;
  std::array<char, 16> nothing{};
  const std::size_t n = co_await w->socket.async_read_some(asio::buffer(nothing), token(error));
  if (w->broken) co_return;
  w->why = n > 0 ? "it spoke out of turn" : "its socket was closed";
  w->broken = true;
}

asio::awaitable<void> Loop::Impl::watch_events(std::shared_ptr<Watch> w) {
  error_code error;
  bool more = true;  // what was said before we listened
  while (!w->broken) {
    if (!more) {
      co_await w->events.async_wait(asio::posix::stream_descriptor::wait_read, token(error));
      if (error || w->broken) co_return;
      eventfd_t count = 0;
      (void)::eventfd_read(w->events.native_handle(), &count);  // before draining, so that nothing is missed
    }
    const auto drained = gateway().drain(Clock::now());
    if (!drained) {
      w->broken = true;
      w->why = drained.error();
      w->socket.cancel();
      co_return;
    }
    more = *drained;
    if (more) co_await asio::post(context, asio::use_awaitable);  // timers and commands have their turn
  }
}

asio::awaitable<void> Loop::Impl::each_second() {
  asio::steady_timer timer(context);
  auto next = Clock::now();
  error_code error;
  for (;;) {
    next = std::max(next + std::chrono::seconds(1), Clock::now());
    timer.expires_at(next);
    co_await timer.async_wait(token(error));
    gateway().on_second(Clock::now());
  }
}

asio::awaitable<void> Loop::Impl::await_signal() {
  asio::signal_set signals(context, SIGTERM, SIGINT, SIGHUP);
  error_code error;
  int signal = SIGHUP;
  for (;;) {
    signal = co_await signals.async_wait(token(error));
    if (signal != SIGHUP) break;
    gateway().journal().reopen();
    gateway().journal().warn("SIGHUP: the log is opened anew; the configuration is read at start only");
  }
  gateway().journal().info(fmt::format("ending on {}: telling the peers", signal == SIGTERM ? "SIGTERM" : "SIGINT"));
  gateway().shutdown(Clock::now());
  const auto until = Clock::now() + kShutdownTime;
  asio::steady_timer timer(context);
  do {
    timer.expires_after(kQuietInterval);
    co_await timer.async_wait(token(error));
  } while (!gateway().quiet() && Clock::now() < until);
  gateway().journal().info(gateway().quiet() ? "ended" : "ended, but the data plane has not confirmed everything");
  context.stop();
}

void Loop::run(Parts parts) {
  impl_->parts.emplace(parts);
  Impl& i = *impl_;
  i.radius.emplace(
      i.context, parts.gateway.config().radius,
      RadiusSockets::Hooks{
          .received = [&parts](std::size_t server, std::uint32_t socket,
                               ByteView datagram) { parts.gateway.on_radius(Clock::now(), server, socket, datagram); },
          .unreachable = [&parts](std::size_t server, std::uint32_t socket) { parts.gateway.on_radius_unreachable(server, socket); },
          .complain = [&parts](const std::string& what) { parts.gateway.journal().error(what); }});
  CliSessions sessions(i.context, parts.listener,
                       [&parts](std::string_view request) { return parts.dispatcher.handle(request, Clock::now()); });
  sessions.start();
  asio::co_spawn(i.context, i.await_signal(), fatal);
  asio::co_spawn(i.context, i.keep_attached(), fatal);
  asio::co_spawn(i.context, i.each_second(), fatal);
  i.context.run();
  const std::lock_guard lock(i.failing);
  if (i.failure) std::rethrow_exception(i.failure);
}

}  // namespace culvert::control::io

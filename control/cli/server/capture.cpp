// The capture command: copies of a tunnel's packets as they come, until there are enough, or the time is over. Who may use the socket may
// see them, the inner ones in clear, too: its mode and control.group are the guard.
#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "common/bytes.hpp"
#include "control/cli/protocol.hpp"
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
using Clock = ike::TimePoint::clock;

Line event_line(json::object event) { return json::serialize(json::object{{"ok", true}, {"event", std::move(event)}}); }

/// CLOCK_MONOTONIC, as what the clock on the wall says now.
std::int64_t wall_ns(std::uint64_t monotonic) {
  const auto age = Clock::now() - ike::TimePoint{std::chrono::nanoseconds{static_cast<std::int64_t>(monotonic)}};
  return std::chrono::duration_cast<std::chrono::nanoseconds>((std::chrono::system_clock::now() - age).time_since_epoch()).count();
}

/// The lines of one capture. It ends in the data plane when this ends.
class Copies {
 public:
  Copies(Gateway& gateway, std::shared_ptr<Gateway::RunningCapture> running, double count, ike::TimePoint deadline)
      : gateway_(gateway), running_(std::move(running)), left_(static_cast<std::uint64_t>(count)), deadline_(deadline) {}

  std::optional<Line> next() {
    if (!running_) return std::nullopt;
    if (!std::exchange(begun_, true)) return event_line({{"begin", {{"tunnel", running_->name}}}});
    if (running_->ended) return fail(*running_->ended);
    if (left_ == 0) return end("enough");
    if (Clock::now() >= deadline_) return end("time");
    const auto copy = gateway_.next_captured(*running_);
    if (!copy) return std::nullopt;
    --left_;
    ++taken_;
    return event_line({{"packet", packet(*copy)}});
  }

 private:
  json::object packet(const shm::Captured& c) const {
    const SaEntry* sa = gateway_.store().at(c.direction, c.slot);
    const bool known = sa != nullptr && sa->spi == c.spi;
    const auto ports = gateway_.link()->segment().ports();
    const bool outer = c.what == shm::Capture::kOuter;
    return {{"time_ns", wall_ns(c.time_ns)},
            {"direction", c.direction == Direction::Inbound ? "in" : "out"},
            {"layer", outer ? "outer" : "inner"},
            {"connection", known ? json::value(sa->connection) : json::value(nullptr)},
            {"child", known ? json::value(sa->child) : json::value(nullptr)},
            {"spi", fmt::format("{:08x}", c.spi.value)},
            {"port", outer && c.port < ports.size() ? json::value(ports[c.port].name.view()) : json::value(nullptr)},
            {"worker", c.worker},
            {"number", c.number},
            {"length", c.length},
            {"data", to_hex(ByteView(c.data).first(c.bytes))}};
  }
  Line end(const char* why) {
    const std::uint64_t missed = gateway_.link()->captures_missed() - running_->missed_before;
    running_.reset();
    return event_line({{"end", {{"why", why}, {"copies", taken_}, {"missed", missed}}}});
  }
  Line fail(const std::string& why) {
    Line line = error_line("failed", why);
    running_.reset();
    return line;
  }

  Gateway& gateway_;
  std::shared_ptr<Gateway::RunningCapture> running_;
  std::uint64_t left_, taken_ = 0;
  bool begun_ = false;
  ike::TimePoint deadline_;
};
}  // namespace

Result capture(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const ChildRef ref = configured_child(gateway, args);
  const bool outer = args.flag("outer"), inner = args.flag("inner");
  const double seconds = args.number("for_s", kDefaultCapture, 1, shm::Capture::kMaxSeconds);
  const double count = args.number("count", kDefaultCopies, 1, kMaxCopies);
  shm::Capture wanted;
  wanted.name = shm::Name(ref.connection + "/" + ref.child);
  wanted.every = static_cast<std::uint32_t>(args.number("every", 1, 1, 1e9));
  wanted.bytes = static_cast<std::uint32_t>(args.number("bytes", shm::Captured::kBytes, 1, shm::Captured::kBytes));
  wanted.seconds = static_cast<std::uint32_t>(seconds) + 1;  // ours ends first
  if (wanted.seconds > shm::Capture::kMaxSeconds) wanted.seconds = shm::Capture::kMaxSeconds;
  wanted.what = static_cast<std::uint8_t>((outer || !inner ? shm::Capture::kOuter : 0) | (inner || !outer ? shm::Capture::kInner : 0));
  auto running = gateway.capture(now, wanted);
  if (!running) throw CommandError("failed", running.error());
  const auto deadline = now + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  auto copies = std::make_shared<Copies>(gateway, std::move(*running), count, deadline);
  return Reply{{}, {}, [copies] { return copies->next(); }};
}

}  // namespace culvert::control::cli

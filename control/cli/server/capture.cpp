// The capture command: copies of a tunnel's packets as they come, until there are enough, or the time is over. Who may use the socket may
// see them, the inner ones in clear, too: its mode and control.group are the guard.
#include <algorithm>
#include <chrono>
#include <cstring>
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
    return copy->what == shm::Capture::kPath ? event_line({{"path", path(*copy)}}) : event_line({{"packet", packet(*copy)}});
  }

 private:
  /// What a worker says of a packet that has passed.
  json::object path(const shm::Captured& c) const {
    shm::Path way;
    std::memcpy(static_cast<void*>(&way), c.data.data(), sizeof way);
    json::object out = about(c);
    for (auto& [key, value] : path_json(gateway_, way)) out[key] = value;
    return out;
  }
  json::object about(const shm::Captured& c) const {
    const SaEntry* sa = gateway_.store().at(c.direction, c.slot);
    const bool known = sa != nullptr && sa->spi == c.spi;
    return {{"time_ns", wall_ns(c.time_ns)},
            {"direction", c.direction == Direction::Inbound ? "in" : "out"},
            {"connection", known ? json::value(sa->connection) : json::value(nullptr)},
            {"child", known ? json::value(sa->child) : json::value(nullptr)},
            {"spi", fmt::format("{:08x}", c.spi.value)},
            {"worker", c.worker},
            {"number", c.number}};
  }
  json::object packet(const shm::Captured& c) const {
    const auto ports = gateway_.link()->segment().ports();
    const bool outer = c.what == shm::Capture::kOuter;
    json::object out = about(c);
    out["layer"] = outer ? "outer" : "inner";
    out["port"] = outer && c.port < ports.size() ? json::value(ports[c.port].name.view()) : json::value(nullptr);
    out["length"] = c.length;
    out["data"] = to_hex(ByteView(c.data).first(c.bytes));
    return out;
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

Reply begin(Gateway& gateway, const ChildRef& ref, shm::Capture wanted, double count, double seconds, ike::TimePoint now) {
  wanted.name = shm::Name(ref.connection + "/" + ref.child);
  wanted.seconds = std::min(static_cast<std::uint32_t>(seconds) + 1, shm::Capture::kMaxSeconds);  // ours ends first
  auto running = gateway.capture(now, wanted);
  if (!running) throw CommandError("failed", running.error());
  const auto deadline = now + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  auto copies = std::make_shared<Copies>(gateway, std::move(*running), count, deadline);
  return Reply{{}, {}, [copies] { return copies->next(); }};
}
}  // namespace

Result capture(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const ChildRef ref = configured_child(gateway, args);
  const bool outer = args.flag("outer"), inner = args.flag("inner");
  shm::Capture wanted;
  wanted.every = static_cast<std::uint32_t>(args.number("every", 1, 1, 1e9));
  wanted.bytes = static_cast<std::uint32_t>(args.number("bytes", shm::Captured::kBytes, 1, shm::Captured::kBytes));
  wanted.what = static_cast<std::uint8_t>((outer || !inner ? shm::Capture::kOuter : 0) | (inner || !outer ? shm::Capture::kInner : 0));
  const double seconds = args.number("for_s", kDefaultCapture, 1, shm::Capture::kMaxSeconds);
  return begin(gateway, ref, wanted, args.number("count", kDefaultCopies, 1, kMaxCopies), seconds, now);
}

Result trace(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const ChildRef ref = configured_child(gateway, args);
  shm::Capture wanted;
  wanted.bytes = shm::Captured::kBytes;
  wanted.what = shm::Capture::kPath;
  const double seconds = args.number("for_s", kDefaultCapture, 1, shm::Capture::kMaxSeconds);
  return begin(gateway, ref, wanted, args.number("next", kDefaultPaths, 1, kMaxCopies), seconds, now);
}

}  // namespace culvert::control::cli

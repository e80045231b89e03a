// The log command: recent events of the journal, filtered, once or as a stream. Never holds the journal up.
#include <algorithm>
#include <array>
#include <deque>
#include <memory>

#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
constexpr double kDefaultLines = 100;

struct Filter {
  std::string connection;
  ike::Severity level{};
  [[nodiscard]] bool passes(const Event& e) const { return e.level >= level && (connection.empty() || e.connection == connection); }
};

Filter filter_of(const Gateway& gateway, const Args& args) {
  Filter f{args.text("connection"), ike::Severity::Info};
  if (!f.connection.empty()) (void)configured_child(gateway, args);
  const std::string level = args.text("level", "info");
  constexpr std::array kLevels{ike::Severity::Debug, ike::Severity::Info, ike::Severity::Warn, ike::Severity::Error};
  const auto it = std::ranges::find(kLevels, level, level_name);
  if (it == kLevels.end()) throw CommandError("bad_request", "level must be debug, info, warn or error");
  f.level = *it;
  return f;
}

json::object event_json(const Event& e) {
  json::object out = json::parse(format_json(e)).as_object();
  out["seq"] = e.sequence;
  return out;
}

/// The lines of one follower. A slow one loses the oldest events of the journal, never holds anything up.
class Follower {
 public:
  Follower(const Gateway& gateway, Filter filter, std::deque<Event> first, std::uint64_t seen)
      : gateway_(gateway), filter_(std::move(filter)), queue_(std::move(first)), seen_(seen) {}
  std::optional<Line> next() {
    if (queue_.empty()) {
      for (Event& e : gateway_.journal().since(seen_)) {
        seen_ = e.sequence;
        if (filter_.passes(e)) queue_.push_back(std::move(e));
      }
    }
    if (queue_.empty()) return std::nullopt;
    Line line = json::serialize(json::object{{"ok", true}, {"event", event_json(queue_.front())}});
    queue_.pop_front();
    return line;
  }

 private:
  const Gateway& gateway_;
  Filter filter_;
  std::deque<Event> queue_;
  std::uint64_t seen_;
};
}  // namespace

Result log(Gateway& gateway, const Args& args, ike::TimePoint) {
  const Filter filter = filter_of(gateway, args);
  const auto lines = static_cast<std::size_t>(args.number("lines", kDefaultLines, 0, Journal::kRecent));
  const std::uint64_t seen = gateway.journal().last_sequence();
  std::deque<Event> events;
  for (Event& e : gateway.journal().since(0)) {
    if (!filter.passes(e)) continue;
    events.push_back(std::move(e));
    if (events.size() > lines) events.pop_front();
  }
  if (args.flag("follow")) {
    auto follower = std::make_shared<Follower>(gateway, filter, std::move(events), seen);
    return Reply{{}, {}, [follower] { return follower->next(); }};
  }
  json::array out;
  for (const Event& e : events) out.push_back(event_json(e));
  return json::object{{"events", std::move(out)}};
}

}  // namespace culvert::control::cli

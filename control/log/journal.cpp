#include "control/log/journal.hpp"

#include <stdexcept>

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "common/log_line.hpp"

namespace culvert::control {

namespace {
spdlog::level::level_enum spd_level(ike::Severity s) {
  switch (s) {
    case ike::Severity::Debug:
      return spdlog::level::debug;
    case ike::Severity::Info:
      return spdlog::level::info;
    case ike::Severity::Warn:
      return spdlog::level::warn;
    case ike::Severity::Error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}
spdlog::level::level_enum spd_level(config::LogLevel l) {
  switch (l) {
    case config::LogLevel::Debug:
      return spdlog::level::debug;
    case config::LogLevel::Info:
      return spdlog::level::info;
    case config::LogLevel::Warn:
      return spdlog::level::warn;
    case config::LogLevel::Error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}
}  // namespace

std::string_view level_name(ike::Severity level) {
  switch (level) {
    case ike::Severity::Debug:
      return "debug";
    case ike::Severity::Info:
      return "info";
    case ike::Severity::Warn:
      return "warn";
    case ike::Severity::Error:
      return "error";
  }
  return "error";
}

std::string format_text(const Event& e) {
  std::string out = fmt::format("{} {:<5} ", format_time(e.when), level_name(e.level));
  if (!e.connection.empty()) out += e.child.empty() ? e.connection + ": " : e.connection + "/" + e.child + ": ";
  out += e.message;
  std::string fields;
  const auto field = [&fields](std::string_view key, const std::string& value) {
    if (!value.empty()) fields += fmt::format("{}{}={}", fields.empty() ? "" : ", ", key, value);
  };
  field("peer", e.peer);
  field("vrf", e.vrf);
  field("exchange", e.exchange);
  field("role", e.role);
  field("reason", e.reason);
  if (!fields.empty()) out += " (" + fields + ")";
  return one_line(out);
}

std::string format_json(const Event& e) {
  std::string out =
      fmt::format(R"({{"ts":"{}","level":"{}","event":"{}")", format_time(e.when), level_name(e.level), json_escaped(e.message));
  const auto field = [&out](std::string_view key, const std::string& value) {
    if (!value.empty()) out += fmt::format(R"(,"{}":"{}")", key, json_escaped(value));
  };
  field("connection", e.connection);
  field("child", e.child);
  field("peer", e.peer);
  field("vrf", e.vrf);
  field("exchange", e.exchange);
  field("role", e.role);
  field("reason", e.reason);
  return out + "}";
}

Event event_of(const ike::Report& r, const config::GatewayConfig& config) {
  Event e;
  e.level = r.severity;
  e.message = r.message;
  e.connection = r.connection;
  e.child = r.child;
  if (r.peer) e.peer = r.peer->to_string();
  if (r.peer && !config.vrfs.empty()) e.vrf = config::vrf_name(config, r.peer->vrf);
  if (r.exchange) e.exchange = ike::name(*r.exchange);
  if (r.role) e.role = *r.role == ike::Role::Initiator ? "initiator" : "responder";
  if (r.reason != ike::Reason::Ok) e.reason = ike::name(r.reason);
  return e;
}

struct Journal::Sink {
  spdlog::logger logger;
};

namespace {
spdlog::sink_ptr open_sink(const std::string& file) {
  try {
    if (file.empty()) return std::make_shared<spdlog::sinks::stderr_sink_st>();
    return std::make_shared<spdlog::sinks::basic_file_sink_st>(file);
  } catch (const spdlog::spdlog_ex& e) {
    throw std::runtime_error(fmt::format("cannot open the log file {}: {}", file, e.what()));
  }
}
}  // namespace

Journal::Journal(const config::Log& log) : file_(log.file), format_(log.format) {
  sink_ = std::make_unique<Sink>(Sink{spdlog::logger("culvertd", open_sink(file_))});
  sink_->logger.set_pattern("%v");
  sink_->logger.set_level(spd_level(log.level));
  sink_->logger.flush_on(spdlog::level::debug);
}

Journal::~Journal() = default;

void Journal::reopen() {
  try {
    sink_->logger.sinks() = {open_sink(file_)};
    sink_->logger.set_pattern("%v");
  } catch (const std::runtime_error& e) {
    error(fmt::format("{}; it cannot be opened anew, so the old one stays", e.what()));
  }
}

void Journal::write(Event event, bool always) {
  event.sequence = ++sequence_;
  event.when = std::chrono::system_clock::now();
  const auto level = spd_level(event.level);
  if (always || sink_->logger.should_log(level))
    sink_->logger.log(always ? spdlog::level::critical : level,
                      format_ == config::LogFormat::Json ? format_json(event) : format_text(event));
  if (recent_.size() == kRecent) recent_.pop_front();
  recent_.push_back(std::move(event));
}

void Journal::write_plain(ike::Severity level, std::string message) {
  Event event;
  event.level = level;
  event.message = std::move(message);
  write(std::move(event));
}

std::vector<Event> Journal::since(std::uint64_t after) const {
  std::vector<Event> out;
  const std::uint64_t first = recent_.empty() ? sequence_ + 1 : recent_.front().sequence;
  const std::size_t skip = after < first ? 0 : static_cast<std::size_t>(after - first + 1);
  for (std::size_t i = skip; i < recent_.size(); ++i) out.push_back(recent_[i]);
  return out;
}

}  // namespace culvert::control

// What happened, one line per event that matters: to the log sink, and to a bounded memory of recent events for `culvert log`.
// Owns the form of a line (text and JSON) and the recent events. Must never see a secret, or a peer's bytes that are not
// printable; callers from one thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::control {

/// One line of the log. Empty texts are left out of it.
struct Event {
  std::uint64_t sequence = 0;  ///< position in the journal, from 1; set by Journal
  std::chrono::system_clock::time_point when;
  ike::Severity level{};
  std::string message;
  std::string connection, child, peer, vrf, exchange, role, reason;  ///< vrf: the peer's, where there are several
};

std::string_view level_name(ike::Severity level);  ///< "debug", "info", "warn", "error"
/// "2026-01-31T23:59:59.123Z info  site-b/net: message (peer=..., vrf=..., exchange=..., role=..., reason=...)"
std::string format_text(const Event& event);
/// {"ts":...,"level":...,"event":message,"connection":...,"child":...,"peer":...,"vrf":...,"exchange":...,"role":...,"reason":...}
std::string format_json(const Event& event);

/// The event of an engine's report; an "ok" reason is left out, and the VRF where there is but one.
Event event_of(const ike::Report& report, const config::GatewayConfig& config);

class Journal {
 public:
  /// Opens the sink that `log` names. Throws std::runtime_error with a message for the operator when it cannot.
  explicit Journal(const config::Log& log);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Opens the file anew, for who has renamed it (logrotate). Where that fails the old one stays, and says so.
  void reopen();
  /// `always`: into the sink whatever its level, for somebody who is watched.
  void write(Event event, bool always = false);
  void debug(std::string message) { write_plain(ike::Severity::Debug, std::move(message)); }
  void info(std::string message) { write_plain(ike::Severity::Info, std::move(message)); }
  void warn(std::string message) { write_plain(ike::Severity::Warn, std::move(message)); }
  void error(std::string message) { write_plain(ike::Severity::Error, std::move(message)); }

  /// Recent events with a sequence above `after`, oldest first. Events of every level are remembered, kRecent of them.
  [[nodiscard]] std::vector<Event> since(std::uint64_t after) const;
  [[nodiscard]] std::uint64_t last_sequence() const { return sequence_; }
  static constexpr std::size_t kRecent = 4096;

 private:
  void write_plain(ike::Severity level, std::string message);
  struct Sink;
  std::unique_ptr<Sink> sink_;
  std::string file_;
  config::LogFormat format_;
  std::deque<Event> recent_;
  std::uint64_t sequence_ = 0;
};

}  // namespace culvert::control

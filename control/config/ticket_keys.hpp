// The keys that tickets of session resumption are sealed with (RFC 5723 §6.1): a new one every half day, and those before it for as long as
// a ticket can be good. Owns them, and their file in control.state_dir; without one they end with culvertd.
//
//   a record each, the newest first: | id (4) | when it was made, seconds since 1970 (8) | key (32) |
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "control/ike/engine_types.hpp"

namespace culvert::control {

class TicketKeys {
 public:
  static constexpr std::int64_t kInUse = 12 * 3600, kKept = kInUse + 24 * 3600;
  static constexpr std::size_t kMost = 16;

  /// `folder` empty: in memory alone.
  static std::expected<TicketKeys, std::string> open(std::string folder);
  /// The one in use first. Error: a new one cannot be kept; then no tickets are given until it can, which is tried once a minute: between
  /// there are none.
  std::expected<std::vector<ike::TicketKey>, std::string> all(std::int64_t now);
  /// What they have sealed is good as long as we live: the file forgets them, and the next ticket gets a new one. Error: it does not.
  std::expected<void, std::string> retire();

 private:
  struct Record {
    std::int64_t made = 0;
    ike::TicketKey key;
    bool retired = false;  ///< not in the file
  };
  std::expected<void, std::string> write() const;

  std::string folder_;
  std::vector<Record> records_;
  std::optional<std::int64_t> failed_{};  ///< when a new one could not be kept
};

}  // namespace culvert::control

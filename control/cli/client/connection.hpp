// The client's end of culvertd's socket: one request, then reply lines. Blocking, with a time limit on each line.
#pragma once

#include <chrono>
#include <expected>
#include <string>

#include <boost/json.hpp>

#include "control/dataplane_link/unique_fd.hpp"

namespace culvert::control::cli {

class Connection {
 public:
  /// The error is for the operator: what to look at when culvertd cannot be reached.
  static std::expected<Connection, std::string> open(const std::string& path);
  std::expected<void, std::string> send(const boost::json::object& request);
  /// The next reply line. `timeout` 0: waits for ever.
  std::expected<boost::json::object, std::string> receive(std::chrono::milliseconds timeout);

 private:
  explicit Connection(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  std::string buffer_;
  std::size_t searched_ = 0;
};

}  // namespace culvert::control::cli

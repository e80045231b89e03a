// From a request line to a reply: parses, checks the arguments, calls the command. One file a command beside this one.
// Owns no socket: the session in control/io reads lines, writes replies, and asks again where a reply is not ready.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "control/gateway.hpp"

namespace culvert::control::cli {

/// A reply line, without its newline.
using Line = std::string;

struct Reply {
  Line line;                                                     ///< unless one of the below is set
  std::function<std::optional<Line>(ike::TimePoint now)> later;  ///< to be asked every now and then until it answers
  std::function<std::optional<Line>()> stream;                   ///< more lines without end; nullopt: none at the moment
};

class Dispatcher {
 public:
  explicit Dispatcher(Gateway& gateway) : gateway_(gateway) {}
  /// Never throws on anything in `request`.
  Reply handle(std::string_view request, ike::TimePoint now);

 private:
  Gateway& gateway_;
};

Line error_line(std::string_view code, std::string_view message);

}  // namespace culvert::control::cli

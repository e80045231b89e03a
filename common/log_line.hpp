// The parts of a log line that both processes write alike: the time, and text that cannot leave its line or its JSON string.
// Owns no sink and no level; must never look at a clock.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace culvert {

/// "2026-01-31T23:59:59.123Z"
std::string format_time(std::chrono::system_clock::time_point t);
/// A line of text stays one line, whatever is in it: control characters become \xNN.
std::string one_line(std::string_view text);
/// `text` as the inside of a JSON string: quotes, backslashes and control characters escaped.
std::string json_escaped(std::string_view text);

}  // namespace culvert

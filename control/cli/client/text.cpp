// No locale: the output is the same on every machine.
#include "control/cli/client/text.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "common/log_line.hpp"

namespace culvert::control::cli {

std::string human_bytes(std::uint64_t n) {
  if (n < 1000) return fmt::format("{} B", n);
  constexpr std::array units{"kB", "MB", "GB", "TB", "PB", "EB"};
  double v = static_cast<double>(n) / 1000;
  std::size_t u = 0;
  for (; v >= 999.95 && u + 1 < units.size(); ++u) v /= 1000;
  return fmt::format("{:.1f} {}", v, units[u]);
}

std::string human_count(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ' ');
  return digits;
}

std::string time_text(std::uint64_t ns) {
  const std::chrono::nanoseconds since{static_cast<std::int64_t>(ns)};
  return format_time(std::chrono::system_clock::time_point{std::chrono::duration_cast<std::chrono::system_clock::duration>(since)});
}

std::string human_seconds(double s) {
  const char* sign = s < 0 ? "-" : "";
  s = std::abs(s);
  if (s < 10) return fmt::format("{}{:.1f}s", sign, s);
  const auto t = static_cast<std::uint64_t>(std::llround(s));
  if (t < 60) return fmt::format("{}{}s", sign, t);
  if (t < 3600) return fmt::format("{}{}m{:02}s", sign, t / 60, t % 60);
  if (t < 86400) return fmt::format("{}{}h{:02}m", sign, t / 3600, t % 3600 / 60);
  return fmt::format("{}{}d{:02}h", sign, t / 86400, t % 86400 / 3600);
}

std::string human_seconds(const boost::json::value& v, std::string_view if_null) {
  boost::system::error_code error;
  const double s = v.to_number<double>(error);
  return error ? std::string(if_null) : human_seconds(s);
}

std::string Table::text() const {
  std::vector<std::size_t> width;
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == width.size()) width.push_back(0);
      width[i] = std::max(width[i], row[i].size());
    }
  std::string out;
  for (const auto& row : rows_) {
    std::string line = indent_;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool right = std::ranges::find(right_, i) != right_.end();
      line += right ? fmt::format("{:>{}}", row[i], width[i]) : i + 1 < row.size() ? fmt::format("{:<{}}", row[i], width[i]) : row[i];
      if (i + 1 < row.size()) line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

namespace {
[[noreturn]] void unexpected(std::string_view key) {
  throw std::runtime_error(fmt::format("culvertd's answer has no usable \"{}\": is it of another version?", key));
}
}  // namespace

std::string vrf_text(const boost::json::object& o) {
  const std::string vrf = text_of(o, "vrf");
  return vrf.empty() || vrf == "default" ? std::string{} : ", VRF " + vrf;
}

std::string also_in_text(const boost::json::object& result) {
  std::string names;
  if (!result.contains("also_in")) return names;  // of a culvertd before it
  for (const auto& name : list_of(result, "also_in")) names += (names.empty() ? "" : ", ") + std::string(name.as_string());
  return names.empty() ? names : fmt::format("The same address is another peer in VRF {}: ask with --vrf.\n", names);
}

std::string text_of(const boost::json::object& o, std::string_view key) {
  const auto* v = o.if_contains(key);
  if (v == nullptr || v->is_null()) return {};
  if (!v->is_string()) unexpected(key);
  return std::string(v->get_string());
}
std::uint64_t count_of(const boost::json::object& o, std::string_view key) {
  const auto* v = o.if_contains(key);
  if (v == nullptr || v->is_null()) return 0;
  boost::system::error_code error;
  const auto n = v->to_number<std::uint64_t>(error);
  if (error) unexpected(key);
  return n;
}
bool flag_of(const boost::json::object& o, std::string_view key) {
  const auto* v = o.if_contains(key);
  if (v == nullptr || !v->is_bool()) unexpected(key);
  return v->get_bool();
}
bool can_move(const boost::json::object& o) { return o.if_contains("mobike") != nullptr && flag_of(o, "mobike"); }
bool can_sync(const boost::json::object& o, std::string_view key) { return o.if_contains(key) != nullptr && flag_of(o, key); }
const boost::json::array& list_of(const boost::json::object& o, std::string_view key) {
  const auto* v = o.if_contains(key);
  if (v == nullptr || !v->is_array()) unexpected(key);
  return v->get_array();
}
std::string counts_text(const boost::json::object& o, std::string_view key) {
  const boost::json::value* v = o.if_contains(key);
  if (v == nullptr || !v->is_object()) return {};
  std::string out;
  for (const auto& [name, n] : v->get_object())
    if (const auto count = count_of(v->get_object(), name); count > 0)
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", std::string_view(name), human_count(count));
  return out;
}

bool of_ikev2(const boost::json::object& o) { return count_of(o, "version") == 2; }

std::string unanswered_text(std::uint64_t message, bool ikev2) {
  if (message == 0) return {};
  if (!ikev2) return "no answer to message " + std::to_string(message) + " yet";
  return message <= 2 ? "no answer to IKE_SA_INIT yet" : "no answer to IKE_AUTH yet";
}

std::string joined(const boost::json::array& texts, std::string_view separator) {
  std::string out;
  for (const auto& t : texts) {
    if (!out.empty()) out += separator;
    out += std::string_view(t.as_string());
  }
  return out;
}

}  // namespace culvert::control::cli

// Times and sizes: text to value and back.
#include <array>
#include <charconv>

#include "common/config/kinds.hpp"
#include "common/ipsec/algorithms.hpp"

namespace culvert::config {

namespace {
struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array kTimes{Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60'000}, Unit{"h", 3'600'000}, Unit{"d", 86'400'000}};
constexpr std::array kSizes{Unit{"B", 1}, Unit{"KB", 1ULL << 10}, Unit{"MB", 1ULL << 20}, Unit{"GB", 1ULL << 30}, Unit{"TB", 1ULL << 40}};
constexpr std::uint64_t kMaxValue = 1ULL << 62;

std::string names(std::span<const Unit> units) {
  std::string out;
  for (const auto& u : units) out += (out.empty() ? "" : ", ") + std::string(u.name);
  return out;
}

std::string upper(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

/// `usual` is offered where a number stands alone.
std::expected<std::uint64_t, UnitError> parse(std::string_view text, std::span<const Unit> units, std::string_view usual) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_unsigned(text.substr(0, digits));
  if (!number) return std::unexpected(UnitError{"a number followed by a unit is needed (" + names(units) + ")", ""});
  const std::string_view unit = text.substr(digits);
  if (unit.empty()) {
    if (*number == 0) return 0;
    return std::unexpected(UnitError{"the unit is missing (" + names(units) + ")", std::string(text) + std::string(usual)});
  }
  for (const auto& u : units) {
    if (u.name != unit) continue;
    if (*number > kMaxValue / u.factor) return std::unexpected(UnitError{"the number is too large", ""});
    return *number * u.factor;
  }
  for (const auto& u : units)
    if (upper(u.name) == upper(unit))
      return std::unexpected(UnitError{"unknown unit", std::string(text.substr(0, digits)) + std::string(u.name)});
  return std::unexpected(UnitError{"unknown unit (known are " + names(units) + ")", ""});
}

std::string show(std::uint64_t value, std::span<const Unit> units) {
  if (value == 0) return "0";
  for (std::size_t i = units.size(); i-- > 0;)
    if (value % units[i].factor == 0) return std::to_string(value / units[i].factor) + std::string(units[i].name);
  return std::to_string(value);
}
}  // namespace

std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, errc] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (errc != std::errc{} || end != text.data() + text.size() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  return value;
}

std::expected<Milliseconds, UnitError> parse_duration(std::string_view text) {
  const auto ms = parse(text, kTimes, "s");
  if (!ms) return std::unexpected(ms.error());
  return Milliseconds(static_cast<std::int64_t>(*ms));
}
std::string show_duration(Milliseconds d) { return show(static_cast<std::uint64_t>(d.count()), kTimes); }

std::expected<std::uint64_t, UnitError> parse_size(std::string_view text) { return parse(text, kSizes, "MB"); }
std::string show_size(std::uint64_t bytes) { return show(bytes, kSizes); }

}  // namespace culvert::config

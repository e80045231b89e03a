// Findings: their form and their order.
#include "common/config/diagnostic.hpp"

#include <algorithm>

#include "common/bytes.hpp"

namespace culvert::config {

namespace {
constexpr std::size_t kMaxQuoted = 80;  // bytes of a value that a finding repeats
}

std::string quoted(std::string_view text) { return "'" + printable(as_bytes(text), kMaxQuoted) + "'"; }

std::string Diagnostic::to_string() const {
  std::string out = file;
  if (at.line != 0) out += ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
  out += ": ";
  if (severity == Severity::Warning) out += "warning: ";
  if (!path.empty()) out += path + ": ";
  out += message;
  if (!suggestion.empty()) out += "; did you mean " + quoted(suggestion) + "?";
  return out;
}

void Sink::error(Position at, std::string path, std::string message, std::string suggestion) {
  failed_.insert(path);
  add(errors_, {Diagnostic::Severity::Error, file_, at, std::move(path), std::move(message), std::move(suggestion)});
}

void Sink::warning(Position at, std::string path, std::string message) {
  add(warnings_, {Diagnostic::Severity::Warning, file_, at, std::move(path), std::move(message), {}});
}

void Sink::add(std::size_t& count, Diagnostic d) {
  if (++count <= kMaxDiagnostics) found_.push_back(std::move(d));
}

bool Sink::clean(std::string_view path) const {
  for (std::size_t end = path.size(); end != 0 && end != std::string_view::npos; end = path.find_last_of(".[", end - 1))
    if (failed_.contains(path.substr(0, end))) return false;
  for (const char separator : {'.', '['}) {
    const std::string below = std::string(path) + separator;
    const auto next = failed_.lower_bound(below);
    if (next != failed_.end() && next->starts_with(below)) return false;
  }
  return true;
}

std::vector<Diagnostic> Sink::take() && {
  std::stable_sort(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.at < b.at; });
  const auto close = [this](Diagnostic::Severity severity, std::size_t count, const char* what) {
    if (count > kMaxDiagnostics)
      found_.push_back({severity, file_, {}, {}, std::to_string(count - kMaxDiagnostics) + " further " + what + " are not shown", {}});
  };
  close(Diagnostic::Severity::Error, errors_, "errors");
  close(Diagnostic::Severity::Warning, warnings_, "warnings");
  return std::move(found_);
}

}  // namespace culvert::config

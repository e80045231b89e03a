#include "common/config/check.hpp"

#include <algorithm>
#include <ostream>
namespace culvert::config {

namespace {
std::string counted(std::size_t n, const std::string& what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }
}  // namespace

int check(const std::string& path, std::ostream& out, const Further& further) {
  const LoadResult result = load_file(path, further);
  const std::vector<Diagnostic>& found = result ? result->warnings : result.error();
  for (const auto& d : found) out << d.to_string() << '\n';
  const auto errors = static_cast<std::size_t>(
      std::count_if(found.begin(), found.end(), [](const Diagnostic& d) { return d.severity == Diagnostic::Severity::Error; }));
  const std::size_t warnings = found.size() - errors;
  out << path << ": " << (result ? "ok" : counted(errors, "error"));
  if (warnings != 0) out << ", " << counted(warnings, "warning");
  out << '\n';
  return result ? 0 : 1;
}

}  // namespace culvert::config

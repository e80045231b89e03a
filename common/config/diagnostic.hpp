// One finding in a configuration file: where, which key, what was expected. Owns the form that an operator reads.
// Text of the file appears in it only cut to a bound and with every unprintable byte escaped; secrets never do.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::config {

/// A place in a file; both count from 1. 0: the file as a whole.
struct Position {
  std::uint32_t line = 0, column = 0;
  friend auto operator<=>(const Position&, const Position&) = default;
};

struct Diagnostic {
  enum class Severity : std::uint8_t { Error, Warning } severity{};
  std::string file;
  Position at;
  std::string path;        ///< "connections.site-b.children.net.mode", "routes[0].to"; empty: the file as a whole
  std::string message;     ///< "expected tunnel, got 'tunel'"
  std::string suggestion;  ///< the nearest known word, or empty

  /// "FILE:LINE:COL: connections.x.children.net.mode: expected tunnel, got 'tunel'; did you mean 'tunnel'?"
  [[nodiscard]] std::string to_string() const;
};

/// Collects the findings of one file, and knows which keys have failed, so that no check builds on a value that is not there.
class Sink {
 public:
  /// Errors, and warnings: a file that is no configuration at all must not fill a terminal, and warnings must not hide an error.
  static constexpr std::size_t kMaxDiagnostics = 1000;

  explicit Sink(std::string file) : file_(std::move(file)) {}
  void error(Position at, std::string path, std::string message, std::string suggestion = {});
  void warning(Position at, std::string path, std::string message);
  /// Marks a key as unusable without a finding of its own (its misspelling was reported, say).
  void fail(std::string path) { failed_.insert(std::move(path)); }
  /// Whether this very key has failed.
  [[nodiscard]] bool failed(std::string_view path) const { return failed_.contains(path); }
  /// Whether neither `path` nor anything below or above it has an error.
  [[nodiscard]] bool clean(std::string_view path) const;
  [[nodiscard]] bool ok() const { return errors_ == 0; }
  /// All findings by position.
  [[nodiscard]] std::vector<Diagnostic> take() &&;

 private:
  void add(std::size_t& count, Diagnostic d);

  std::string file_;
  std::vector<Diagnostic> found_;
  std::set<std::string, std::less<>> failed_;
  std::size_t errors_ = 0, warnings_ = 0;
};

/// Text of the file between quotes, made safe and short: "'tunel'".
std::string quoted(std::string_view text);

}  // namespace culvert::config

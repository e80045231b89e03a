// Bytes, and the one reader and the one writer of wire formats.
// Owns bounds checking: nothing else may index into bytes that came from a stranger. Never allocates on reading a view.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culvert {

using ByteView = std::span<const std::uint8_t>;
using MutableByteView = std::span<std::uint8_t>;
using Bytes = std::vector<std::uint8_t>;

enum class ParseErrc : std::uint8_t {
  Truncated,  ///< fewer bytes than the format needs
  BadLength,  ///< a length field contradicts its surroundings
  BadValue,   ///< a field holds a value that the format forbids
  TooMany,    ///< a bound of ours is exceeded
  Trailing,   ///< bytes left over
};

/// What was wrong, at which offset of the parsed bytes, and by which rule (a string literal such as "RFC 2408 §3.2").
struct ParseError {
  ParseErrc code{};
  std::size_t offset{};
  const char* rule = "";
};
template <class T>
using Parsed = std::expected<T, ParseError>;

/// Reads big-endian fields in order. The first failure sticks: later reads yield zero, and `error()` says where it was.
class Reader {
 public:
  explicit Reader(ByteView data) : data_(data) {}

  template <std::unsigned_integral T>
  T be(const char* rule = "") {
    if (!need(sizeof(T), rule)) return 0;
    T out = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) out = static_cast<T>((std::uint64_t{out} << 8) | data_[pos_ + i]);
    pos_ += sizeof(T);
    return out;
  }
  /// The next `n` bytes as a view into the input; empty after a failure.
  ByteView take(std::size_t n, const char* rule = "") {
    if (!need(n, rule)) return {};
    const ByteView out = data_.subspan(pos_, n);
    pos_ += n;
    return out;
  }
  ByteView rest() { return take(remaining()); }
  void skip(std::size_t n, const char* rule = "") { take(n, rule); }

  [[nodiscard]] std::size_t remaining() const { return failed_ ? 0 : data_.size() - pos_; }
  [[nodiscard]] std::size_t offset() const { return pos_; }
  [[nodiscard]] bool ok() const { return !failed_; }
  [[nodiscard]] const ParseError& error() const { return error_; }
  void fail(ParseErrc code, const char* rule) {
    if (failed_) return;
    failed_ = true;
    error_ = {code, pos_, rule};
  }

 private:
  bool need(std::size_t n, const char* rule) {
    if (failed_) return false;
    if (n <= data_.size() - pos_) return true;
    fail(ParseErrc::Truncated, rule);
    return false;
  }

  ByteView data_;
  std::size_t pos_ = 0;
  bool failed_ = false;
  ParseError error_{};
};

/// Appends big-endian fields; lengths that are known only later are patched in place.
class Writer {
 public:
  template <std::unsigned_integral T>
  void be(T v) {
    for (std::size_t i = sizeof(T); i-- > 0;) out_.push_back(static_cast<std::uint8_t>(std::uint64_t{v} >> (8 * i)));
  }
  void bytes(ByteView v) { out_.insert(out_.end(), v.begin(), v.end()); }
  void zeros(std::size_t n) { out_.insert(out_.end(), n, 0); }
  /// Overwrites a field written earlier. `at + sizeof(T)` must not exceed `size()`.
  template <std::unsigned_integral T>
  void patch(std::size_t at, T v) {
    for (std::size_t i = 0; i < sizeof(T); ++i) out_.at(at + i) = static_cast<std::uint8_t>(std::uint64_t{v} >> (8 * (sizeof(T) - 1 - i)));
  }
  [[nodiscard]] std::size_t size() const { return out_.size(); }
  [[nodiscard]] ByteView view() const { return out_; }
  [[nodiscard]] Bytes take() && { return std::move(out_); }

 private:
  Bytes out_;
};

/// Lower-case hexadecimal, without separators.
std::string to_hex(ByteView bytes);
/// The inverse of `to_hex`; either case. Fails on an odd length or another character.
std::expected<Bytes, std::string> from_hex(std::string_view hex);
/// Bytes of a peer made safe for a log line: printable ASCII stays, the rest becomes \xNN, cut after `limit` input bytes.
std::string printable(ByteView bytes, std::size_t limit = 128);

inline ByteView as_bytes(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }
inline Bytes to_bytes(std::string_view s) { return {s.begin(), s.end()}; }

}  // namespace culvert

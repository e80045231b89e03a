// Bytes that must not outlive their use: keys, pre-shared secrets, Diffie-Hellman results.
// Owns wiping and comparing. Has no way to be printed or formatted, on purpose.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include <string.h>

#include "common/bytes.hpp"

namespace culvert {

/// Overwrites memory in a way that the compiler may not remove.
inline void wipe(MutableByteView bytes) {
  if (!bytes.empty()) ::explicit_bzero(bytes.data(), bytes.size());
}
/// For trivially copyable structs that carried keys.
template <class T>
  requires std::is_trivially_copyable_v<T>
void wipe_object(T& object) {
  ::explicit_bzero(static_cast<void*>(&object), sizeof(T));
}

/// Equality in time that depends on the lengths only.
[[nodiscard]] inline bool equal_constant_time(ByteView a, ByteView b) {
  if (a.size() != b.size()) return false;
  volatile std::uint8_t diff = 0;
  for (std::size_t i = 0; i < a.size(); ++i) diff = static_cast<std::uint8_t>(diff | (a[i] ^ b[i]));
  return diff == 0;
}

/// An owned secret of fixed size; wiped on destruction, on assignment and when moved from.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size) : bytes_(size) {}
  explicit SecretBytes(ByteView bytes) : bytes_(bytes.begin(), bytes.end()) {}
  SecretBytes(const SecretBytes& other) = default;
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) { other.bytes_.clear(); }
  SecretBytes& operator=(SecretBytes other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SecretBytes() { wipe(bytes_); }

  [[nodiscard]] ByteView view() const { return bytes_; }
  [[nodiscard]] MutableByteView mutable_view() { return bytes_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  friend bool operator==(const SecretBytes& a, const SecretBytes& b) { return equal_constant_time(a.bytes_, b.bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;  // never grows after construction: a reallocation would leave a copy behind
};

}  // namespace culvert

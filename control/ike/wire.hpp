// Lets one function describe a wire layout for both directions: `wire(io, self)` with a ReadIo or a WriteIo.
// Owns the mapping from fields to Reader and Writer; knows no payload.
#pragma once

#include <concepts>
#include <type_traits>

#include "common/bytes.hpp"
#include "common/types.hpp"

namespace culvert::ike {

/// Fills fields from bytes. After a failure of the reader all fields read as zero or empty.
class ReadIo {
 public:
  ReadIo(Reader& reader, const char* rule) : reader_(reader), rule_(rule) {}  ///< `rule` is cited where bytes run out
  template <class T>
  void be(T& field) {
    if constexpr (std::is_enum_v<T>)
      field = static_cast<T>(reader_.be<std::underlying_type_t<T>>(rule_));
    else
      field = reader_.be<T>(rule_);
  }
  void reserved(std::size_t n) { reader_.skip(n, rule_); }
  void bytes(Bytes& field, std::size_t n) {
    const ByteView v = reader_.take(n, rule_);
    field.assign(v.begin(), v.end());
  }
  void rest(Bytes& field) { bytes(field, reader_.remaining()); }

 private:
  Reader& reader_;
  const char* rule_;
};

/// Appends fields.
class WriteIo {
 public:
  explicit WriteIo(Writer& writer) : writer_(writer) {}
  template <class T>
  void be(const T& field) {
    if constexpr (std::is_enum_v<T>)
      writer_.be(static_cast<std::underlying_type_t<T>>(field));
    else
      writer_.be(field);
  }
  void reserved(std::size_t n) { writer_.zeros(n); }
  void bytes(const Bytes& field, std::size_t) { writer_.bytes(field); }
  void rest(const Bytes& field) { writer_.bytes(field); }

 private:
  Writer& writer_;
};

}  // namespace culvert::ike

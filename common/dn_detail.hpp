// What the two files of distinguished names share, and nobody else needs: single elements of DER and the strings in them.
// Owns the bounds of what is read.
#pragma once

#include <optional>

#include "common/dn.hpp"

namespace culvert::name_detail {

// X.690 §8: universal tags.
inline constexpr std::uint8_t kOid = 0x06, kUtf8 = 0x0c, kNumeric = 0x12, kPrintable = 0x13, kTeletex = 0x14, kIa5 = 0x16, kVisible = 0x1a,
                              kUniversal = 0x1c, kBmp = 0x1e, kSequence = 0x30, kSet = 0x31;

struct Element {
  std::uint8_t tag = 0;
  ByteView contents;
};
/// One element (X.690 §10.1: definite, the shortest form). Lengths above 64 KB have no place in a name.
Element element(Reader& r);
void put(Writer& w, std::uint8_t tag, ByteView contents);
/// A string value as UTF-8; nullopt: no string type, or a length that its type does not allow.
std::optional<std::string> string_of(const NameAttribute& a);
/// Whether it is the string "*".
bool is_star(const NameAttribute& a);
inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace culvert::name_detail

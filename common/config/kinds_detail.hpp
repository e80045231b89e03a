// What the files of kinds share, and nobody else needs. Owns checks of raw text only.
#pragma once

#include <cstddef>
#include <string_view>

#include "common/net/ip.hpp"

namespace culvert::config {

inline constexpr std::size_t kSuggestBytes = 64;  ///< a longer word is no slip of the keyboard, and costs time to compare

bool printable_text(std::string_view s);  ///< no control characters; UTF-8 is fine
bool ascii(std::string_view s);           ///< printable ASCII: safe to repeat as it is
bool host_name(std::string_view s);       ///< 1 to 255 letters, digits, '-', '.', '_'

}  // namespace culvert::config

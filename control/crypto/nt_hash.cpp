// MD4 by the library's own function: EVP has it in its provider of legacy algorithms alone, which need not be installed.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "control/crypto/nt_hash.hpp"

#include <optional>

#include <openssl/md4.h>

#include "control/crypto/hash.hpp"

namespace culvert::crypto {

namespace {

/// Reads one character of UTF-8 (RFC 3629 §4: the shortest form, no surrogates); nullopt: these bytes are none.
std::optional<std::uint32_t> utf8(ByteView text, std::size_t& at) {
  const std::uint8_t first = text[at];
  const std::size_t more = first < 0x80                    ? 0
                           : first >= 0xc2 && first < 0xe0 ? 1
                           : (first & 0xf0U) == 0xe0       ? 2
                           : (first & 0xf8U) == 0xf0       ? 3
                                                           : 4;
  if (more == 4 || more >= text.size() - at) return std::nullopt;
  std::uint32_t out = more == 0 ? first : first & (0x3fU >> more);
  for (std::size_t i = 1; i <= more; ++i) {
    if ((text[at + i] & 0xc0U) != 0x80) return std::nullopt;
    out = out << 6 | (text[at + i] & 0x3fU);
  }
  if ((more == 2 && out < 0x800) || (more == 3 && out < 0x10000) || out > 0x10ffff || (out >= 0xd800 && out < 0xe000)) return std::nullopt;
  at += more + 1;
  return out;
}

/// UTF-16, little end first, into `out`, which has two bytes for each of `text`. How much of it is used; nullopt: it is not UTF-8.
std::optional<std::size_t> utf16(ByteView text, MutableByteView out) {
  std::size_t used = 0;
  const auto put = [&](std::uint32_t unit) {
    out[used++] = static_cast<std::uint8_t>(unit);
    out[used++] = static_cast<std::uint8_t>(unit >> 8);
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto character = utf8(text, at);
    if (!character) return std::nullopt;
    if (*character >= 0x10000) {
      put(0xd800 + ((*character - 0x10000) >> 10));
      put(0xdc00 + ((*character - 0x10000) & 0x3ff));
    } else {
      put(*character);
    }
  }
  return used;
}

}  // namespace

SecretBytes md4(ByteView data) {
  SecretBytes out(MD4_DIGEST_LENGTH);
  const std::uint8_t none = 0;
  if (!MD4(data.empty() ? &none : data.data(), data.size(), out.mutable_view().data())) throw LibraryError("MD4");
  return out;
}

SecretBytes nt_hash(ByteView password) {
  SecretBytes wide(2 * password.size());
  const auto used = utf16(password, wide.mutable_view());
  if (used) return md4(wide.view().first(*used));
  for (std::size_t i = 0; i < password.size(); ++i) {
    wide.mutable_view()[2 * i] = password[i];
    wide.mutable_view()[2 * i + 1] = 0;
  }
  return md4(wide.view());
}

}  // namespace culvert::crypto

// OpenSSL's EVP over the same buffers as IPsec-MB, as a program would call it that looks for nothing else: contexts with keys that stay,
// per packet a new IV and one pass. Owns keys of zeros.
#pragma once

#include <memory>
#include <span>

#include "tests/bench/raw.hpp"

namespace culvert::bench {

class EvpCrypto {
 public:
  /// Throws for what RawCrypto throws for.
  explicit EvpCrypto(const EspSuite& suite);
  ~EvpCrypto();
  EvpCrypto(const EvpCrypto&) = delete;
  EvpCrypto& operator=(const EvpCrypto&) = delete;

  /// In place; all under one set of keys. Decryption compares ICVs and goes on if one is wrong. Returns how many were right, of
  /// encryption: all. Throws where OpenSSL fails.
  std::size_t run(std::span<const RawCrypto::Op> ops, bool encrypt);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::bench

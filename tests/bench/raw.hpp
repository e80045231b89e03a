// IPsec-MB with nothing around it: the yardstick that the packet path is measured against.
// Owns keys of zeros and the fastest calls that IPsec-MB has for each suite; it reads and writes only the buffers it is given.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "common/ipsec/algorithms.hpp"

namespace culvert::bench {

class RawCrypto {
 public:
  /// One packet: SPI, sequence number, IV, then `text` bytes and room for the ICV; and the number of its set of keys.
  struct Op {
    std::uint8_t* esp;
    std::uint32_t text;
    std::uint32_t key;
  };
  /// `keys`: sets of keys, all with the same content, each in memory of its own. Throws for a suite that has no yardstick: there is one
  /// of AES-GCM-16, ChaCha20-Poly1305, and AES-CBC with HMAC-SHA1 and HMAC-SHA2-256.
  RawCrypto(const EspSuite& suite, std::uint32_t keys);
  ~RawCrypto();
  RawCrypto(const RawCrypto&) = delete;
  RawCrypto& operator=(const RawCrypto&) = delete;

  /// In place. At most 64 operations, but under GCM. Nothing is verified: decryption makes an ICV and leaves it.
  void run(std::span<const Op> ops, bool encrypt);
  /// Starts loading what of a set of keys a packet of `text` bytes needs.
  void prefetch(std::uint32_t key, std::uint32_t text) const;
  /// The ICV that run() made last when it decrypted.
  [[nodiscard]] std::span<const std::uint8_t> icv() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::bench

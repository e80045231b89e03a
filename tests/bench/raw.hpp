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
  /// One packet: SPI, sequence number, IV, then `text` bytes and room for the ICV.
  struct Op {
    std::uint8_t* esp;
    std::uint32_t text;
  };
  /// Throws for a suite that has no yardstick: there is one of AES-GCM-16 and of AES-CBC with HMAC-SHA1 and HMAC-SHA2-256.
  explicit RawCrypto(const EspSuite& suite);
  ~RawCrypto();
  RawCrypto(const RawCrypto&) = delete;
  RawCrypto& operator=(const RawCrypto&) = delete;

  /// In place. At most 64 operations under CBC. Nothing is verified: decryption makes an ICV and leaves it.
  void run(std::span<const Op> ops, bool encrypt);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::bench

// ESP by OpenSSL, written apart from the data plane's: the second opinion. Slow and plain on purpose; a packet at a time.
#pragma once

#include <optional>

#include "common/bytes.hpp"
#include "common/shm/messages.hpp"

namespace culvert::dp::test {

/// Seals `text` (padding and trailer included) under the SA's suite and keys: the ESP packet from SPI to ICV.
/// `iv`: as long as the suite's. The sequence number's upper half counts with ESN only.
Bytes openssl_seal(const shm::InstallSa& sa, std::uint64_t sequence, ByteView iv, ByteView text);
/// The text of an ESP packet (from SPI to ICV), or nothing if the ICV is wrong or a length impossible. `high`: the upper half of its
/// sequence number.
std::optional<Bytes> openssl_open(const shm::InstallSa& sa, ByteView esp, std::uint32_t high = 0);

}  // namespace culvert::dp::test

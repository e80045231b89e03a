// How culvertd gets the segment: over a Unix SOCK_SEQPACKET socket that the data plane listens on.
// Owns the two messages and the passing of descriptors. Afterwards the socket carries nothing; its end means that a side died.
//
//     culvertd -> data plane   Hello
//     culvertd <- data plane   Welcome + SCM_RIGHTS {segment memfd, eventfd "data plane has news", eventfd "culvertd has news"}
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <span>
#include <string>

#include "common/shm/messages.hpp"

namespace culvert::shm {

struct Hello {
  std::uint64_t magic = 0;
  std::uint32_t version = 0;
  std::uint32_t reserved = 0;
  std::uint64_t layout_hash = 0;
};
enum class WelcomeResult : std::uint32_t { Ok = 0, OtherLayout, NotAllowed, AlreadyAttached };
struct Welcome {
  std::uint64_t magic = 0;
  WelcomeResult result{};
  std::uint32_t version = 0;
  std::uint64_t layout_hash = 0;
  std::uint64_t boot_id = 0;
};

enum HandshakeFd : std::size_t { kSegmentFd, kToControlFd, kToDataplaneFd, kHandshakeFds };

/// Sends `data` as one packet with `fds` (may be empty) attached.
std::expected<void, std::string> send_with_fds(int socket, std::span<const std::byte> data, std::span<const int> fds);
/// Receives one packet of exactly `data.size()` bytes and up to `fds.size()` descriptors (close-on-exec; the rest become -1).
/// Surplus descriptors are closed. Blocks as the socket does.
std::expected<void, std::string> receive_with_fds(int socket, std::span<std::byte> data, std::span<int> fds);

}  // namespace culvert::shm

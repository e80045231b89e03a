// How culvertd gets at the data plane: connect, Hello, Welcome with the segment and the two eventfds.
// Owns the handshake only, in two steps that never block; the waiting in between is the event loop's.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "common/shm/segment.hpp"
#include "control/dataplane_link/unique_fd.hpp"

namespace culvert::control {

/// What a successful attach yields. The end of `socket` means that the data plane is gone.
struct Attachment {
  UniqueFd socket;
  UniqueFd to_control;    ///< eventfd: the data plane has news
  UniqueFd to_dataplane;  ///< eventfd: culvertd has news
  shm::Segment segment;
  std::uint64_t boot_id = 0;
};

/// Connects to the data plane's socket and says Hello. The error is for the operator.
std::expected<UniqueFd, std::string> begin_attach(const std::string& path);
/// Once the socket is readable: reads Welcome and maps the segment.
std::expected<Attachment, std::string> finish_attach(UniqueFd socket);

}  // namespace culvert::control

#include "control/dataplane_link/attach.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/shm/handshake.hpp"

namespace culvert::control {

std::expected<UniqueFd, std::string> begin_attach(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return std::unexpected(fmt::format("socket path {} is too long", path));
  path.copy(address.sun_path, path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return std::unexpected(fmt::format("socket: {}", std::strerror(errno)));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const char* hint = errno == ENOENT || errno == ECONNREFUSED ? " (is culvert-dataplane running?)"
                       : errno == EACCES                        ? " (is this user the configuration's dataplane.control_user?)"
                                                                : "";
    return std::unexpected(fmt::format("cannot connect to the data plane at {}: {}{}", path, std::strerror(errno), hint));
  }
  const shm::Hello hello{shm::kSegmentMagic, shm::kContractVersion, 0, shm::layout_hash()};
  if (const auto sent = shm::send_with_fds(socket.get(), std::as_bytes(std::span(&hello, 1)), {}); !sent)
    return std::unexpected(fmt::format("data plane at {}: {}", path, sent.error()));
  return socket;
}

std::expected<Attachment, std::string> finish_attach(UniqueFd socket) {
  shm::Welcome welcome;
  std::array<int, shm::kHandshakeFds> fds{};
  if (const auto got = shm::receive_with_fds(socket.get(), std::as_writable_bytes(std::span(&welcome, 1)), fds); !got)
    return std::unexpected("the data plane broke off the handshake: " + got.error());
  UniqueFd segment_fd(fds[shm::kSegmentFd]), to_control(fds[shm::kToControlFd]), to_dataplane(fds[shm::kToDataplaneFd]);
  if (welcome.magic != shm::kSegmentMagic) return std::unexpected("what answers on the data plane's socket is not a Culvert data plane");
  switch (welcome.result) {
    case shm::WelcomeResult::Ok:
      break;
    case shm::WelcomeResult::OtherLayout:
      return std::unexpected(
          fmt::format("the data plane is of another build (contract version {}, layout {:016x}; ours: version {}, layout "
                      "{:016x}): install culvertd and culvert-dataplane from the same build, and restart both",
                      welcome.version, welcome.layout_hash, shm::kContractVersion, shm::layout_hash()));
    case shm::WelcomeResult::NotAllowed:
      return std::unexpected(
          fmt::format("the data plane does not let uid {} attach: set dataplane.control_user to culvertd's user", ::getuid()));
    case shm::WelcomeResult::AlreadyAttached:
      return std::unexpected("another culvertd is attached to this data plane");
    default:
      return std::unexpected("the data plane answered with an unknown result");
  }
  if (!segment_fd || !to_control || !to_dataplane) return std::unexpected("the data plane did not pass its descriptors");
  auto segment = shm::Segment::attach(segment_fd.release());
  if (!segment) return std::unexpected(segment.error());
  const std::uint64_t boot_id = segment->header().boot_id;
  return Attachment{std::move(socket), std::move(to_control), std::move(to_dataplane), std::move(*segment), boot_id};
}

}  // namespace culvert::control

#include "common/shm/handshake.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace culvert::shm {

namespace {
constexpr std::size_t kMaxFds = 8;
std::unexpected<std::string> errno_error(const char* what) { return std::unexpected(std::string(what) + ": " + std::strerror(errno)); }
}  // namespace

std::expected<void, std::string> send_with_fds(int socket, std::span<const std::byte> data, std::span<const int> fds) {
  if (fds.size() > kMaxFds) return std::unexpected("too many descriptors");
  iovec iov{const_cast<std::byte*>(data.data()), data.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFds)> control{};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  if (!fds.empty()) {
    msg.msg_control = control.data();
    msg.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }
  const ssize_t sent = ::sendmsg(socket, &msg, MSG_NOSIGNAL);
  if (sent < 0) return errno_error("sendmsg");
  if (static_cast<std::size_t>(sent) != data.size()) return std::unexpected("sendmsg: packet cut short");
  return {};
}

std::expected<void, std::string> receive_with_fds(int socket, std::span<std::byte> data, std::span<int> fds) {
  std::fill(fds.begin(), fds.end(), -1);
  iovec iov{data.data(), data.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFds)> control{};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control.data();
  msg.msg_controllen = control.size();
  ssize_t got = 0;
  do got = ::recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return errno_error("recvmsg");
  std::size_t kept = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&msg); c != nullptr; c = CMSG_NXTHDR(&msg, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < n; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      if (kept < fds.size()) {
        fds[kept++] = fd;
      } else {
        ::close(fd);
      }
    }
  }
  const bool whole = static_cast<std::size_t>(got) == data.size() && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  if (whole) return {};
  for (int& fd : fds)
    if (fd >= 0) ::close(std::exchange(fd, -1));
  return std::unexpected(got == 0 ? "the other side closed the socket" : "packet of an unexpected size");
}

}  // namespace culvert::shm

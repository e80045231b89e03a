// Believes nothing about the answer but its bound: culvertd may be of another version.
#include "control/cli/client/connection.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace culvert::control::cli {

namespace {
constexpr std::size_t kMaxReply = std::size_t{256} << 20;  // list-sas of a full data plane is some tens of megabytes
}

std::expected<Connection, std::string> Connection::open(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return std::unexpected(fmt::format("socket path {} is too long", path));
  path.copy(address.sun_path, path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    std::string hint;
    if (errno == ENOENT) hint = ": is culvertd running, and is this its control.socket? (--socket PATH or CULVERT_SOCKET names another)";
    if (errno == ECONNREFUSED) hint = ": culvertd is not running";
    if (errno == EACCES) hint = ": be root, culvertd's user, or in control.group";
    return std::unexpected(fmt::format("cannot reach culvertd at {}: {}{}", path, std::strerror(errno), hint));
  }
  return Connection(std::move(fd));
}

std::expected<void, std::string> Connection::send(const boost::json::object& request) {
  const std::string line = boost::json::serialize(request) + '\n';
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::send(fd_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::unexpected(fmt::format("lost culvertd: {}", std::strerror(errno)));
    sent += static_cast<std::size_t>(n);
  }
  return {};
}

std::expected<boost::json::object, std::string> Connection::receive(std::chrono::milliseconds timeout) {
  for (;;) {
    if (const auto end = buffer_.find('\n', searched_); end != std::string::npos) {
      boost::system::error_code error;
      auto value = boost::json::parse(std::string_view(buffer_).substr(0, end), error);
      buffer_.erase(0, end + 1);
      searched_ = 0;
      if (error || !value.is_object()) return std::unexpected("culvertd answered with something that is not JSON");
      return std::move(value.get_object());
    }
    searched_ = buffer_.size();
    if (buffer_.size() > kMaxReply) return std::unexpected("culvertd's answer is too long");
    pollfd p{fd_.get(), POLLIN, 0};
    const int ready = ::poll(&p, 1, timeout.count() == 0 ? -1 : static_cast<int>(timeout.count()));
    if (ready == 0) return std::unexpected("culvertd does not answer");
    std::array<char, 65536> chunk;
    const ssize_t n = ready < 0 ? -1 : ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::unexpected(fmt::format("lost culvertd: {}", std::strerror(errno)));
    if (n == 0) return std::unexpected("culvertd closed the connection");
    buffer_.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace culvert::control::cli

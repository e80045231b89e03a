#include "control/auth/files.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace culvert::control::auth {

std::expected<Bytes, std::string> read_file(const std::string& path, std::size_t max) {
  const auto failed = [&](const std::string& why) { return std::unexpected(printable(as_bytes(path), 256) + " " + why); };
  const auto text = [] { return std::generic_category().message(errno); };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return failed("cannot be opened: " + text());
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } const closer{fd};
  struct stat info{};
  if (::fstat(fd, &info) != 0) return failed("cannot be examined: " + text());
  if (!S_ISREG(info.st_mode)) return failed("is no regular file");
  if (static_cast<std::size_t>(info.st_size) > max) return failed("is longer than " + std::to_string(max) + " bytes");
  Bytes out(static_cast<std::size_t>(info.st_size));
  std::size_t size = 0;
  while (size < out.size()) {
    const ssize_t n = ::read(fd, out.data() + size, out.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("cannot be read: " + text());
    if (n == 0) return failed("became shorter while it was read");
    size += static_cast<std::size_t>(n);
  }
  return out;
}

std::vector<Stamp> stamps(const std::vector<std::string>& paths) {
  std::vector<Stamp> out;
  for (const std::string& path : paths) {
    struct stat info{};
    Stamp s;
    if (::stat(path.c_str(), &info) == 0) {
      const auto ns = [](const timespec& t) { return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; };
      s = {info.st_dev, info.st_ino, static_cast<std::uint64_t>(info.st_size), ns(info.st_mtim), ns(info.st_ctim)};
    }
    out.push_back(s);
  }
  return out;
}

}  // namespace culvert::control::auth

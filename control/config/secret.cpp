#include "control/config/secret.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.hpp"

namespace culvert::control {

namespace {

std::string system_text(int error) { return std::generic_category().message(error); }

std::string shown(const std::string& where) { return printable(as_bytes(where), 256); }

/// Cuts one newline, and checks what is left.
std::expected<ResolvedSecret, std::string> accept(ByteView bytes, const std::string& origin) {
  if (!bytes.empty() && bytes.back() == '\n') bytes = bytes.first(bytes.size() - 1);
  if (!bytes.empty() && bytes.back() == '\r') bytes = bytes.first(bytes.size() - 1);
  if (bytes.empty()) return std::unexpected(origin + " is empty");
  if (bytes.size() > kMaxSecretBytes) return std::unexpected(origin + " is longer than " + std::to_string(kMaxSecretBytes) + " bytes");
  ResolvedSecret out{SecretBytes(bytes), {}};
  if (bytes.size() < kShortSecretBytes)
    out.warning = origin + " has fewer than " + std::to_string(kShortSecretBytes) +
                  " characters: use a random one, such as openssl rand -base64 32 makes";
  return out;
}

std::expected<ResolvedSecret, std::string> from_file(const std::string& path) {
  const auto content = read_private_file(path, "the secret file", kMaxSecretBytes, 2);
  if (!content) return std::unexpected(content.error());
  return accept(content->view(), "the secret file " + shown(path));
}

std::expected<ResolvedSecret, std::string> from_environment(const std::string& name) {
  const std::string origin = "the environment variable " + shown(name);
  const char* value = std::getenv(name.c_str());
  if (!value) return std::unexpected(origin + " is not set");
  return accept(as_bytes(std::string_view(value)), origin);
}

}  // namespace

std::expected<SecretBytes, std::string> read_private_file(const std::string& path, const std::string& what, std::size_t max,
                                                          std::size_t slack) {
  const std::string origin = what + " " + shown(path);
  // O_NONBLOCK: a pipe without a writer must not hang the gateway. What was opened is what is checked and read.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return std::unexpected(origin + " cannot be opened: " + system_text(errno));
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } const closer{fd};
  struct stat info{};
  if (::fstat(fd, &info) != 0) return std::unexpected(origin + " cannot be examined: " + system_text(errno));
  if (!S_ISREG(info.st_mode)) return std::unexpected(origin + " is no regular file");
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return std::unexpected(origin + " is open to its group or to others: it must have mode 0600 or 0400 (chmod 600)");
  if (static_cast<std::size_t>(info.st_size) > max + slack)
    return std::unexpected(origin + " is longer than " + std::to_string(max) + " bytes");
  SecretBytes buffer(static_cast<std::size_t>(info.st_size));
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t n = ::read(fd, buffer.mutable_view().data() + size, buffer.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::unexpected(origin + " cannot be read: " + system_text(errno));
    if (n == 0) return std::unexpected(origin + " became shorter while it was read");
    size += static_cast<std::size_t>(n);
  }
  return buffer;
}

std::expected<ResolvedSecret, std::string> resolve_secret(const config::SecretRef& ref) {
  switch (ref.kind) {
    case config::SecretRef::Kind::File:
      return from_file(ref.where);
    case config::SecretRef::Kind::Env:
      return from_environment(ref.where);
    case config::SecretRef::Kind::None:
      break;
  }
  return std::unexpected("no secret is configured");
}

}  // namespace culvert::control

#include "control/config/lasting.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/config/secret.hpp"

namespace culvert::control {

namespace {

struct Descriptor {
  int fd = -1;
  explicit Descriptor(int f) : fd(f) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

std::unexpected<std::string> failed(const std::string& path, const char* what) {
  return std::unexpected(path + " cannot be " + what + ": " + std::generic_category().message(errno));
}

bool write_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

void random_secret(MutableByteView out) {
  while (!out.empty()) {
    const ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n > 0) out = out.subspan(static_cast<std::size_t>(n));  // only EINTR can fail here: the pool is ready at boot
  }
}

std::expected<void, std::string> replace_private_file(const std::string& folder, const std::string& name, ByteView content) {
  const std::string path = folder + "/" + name;
  const std::string beside = path + ".new";
  if (::unlink(beside.c_str()) != 0 && errno != ENOENT) return failed(beside, "removed");
  {
    const Descriptor file(::open(beside.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.fd < 0) return failed(beside, "made");
    if (!write_all(file.fd, content) || ::fsync(file.fd) != 0) return failed(beside, "written");
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed(beside, "put into its place");
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.fd < 0 || ::fsync(directory.fd) != 0) return failed(folder, "written");
  return {};
}

std::expected<SecretBytes, std::string> lasting_secret(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  if (::access(path.c_str(), F_OK) != 0) {
    if (errno != ENOENT) return failed(path, "looked at");
    SecretBytes made(kLastingSecretBytes);
    random_secret(made.mutable_view());
    if (auto written = replace_private_file(folder, name, made.view()); !written) return std::unexpected(std::move(written.error()));
    return made;
  }
  auto known = read_private_file(path, "the file of a secret", kLastingSecretBytes);
  if (known && known->size() != kLastingSecretBytes)
    return std::unexpected("the file of a secret " + path + " does not have " + std::to_string(kLastingSecretBytes) +
                           " bytes: when it is removed, another one is made");
  return known;
}

}  // namespace culvert::control

#include "common/config/load.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config/schema.hpp"
#include "common/config/tree.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

namespace {

std::string system_text(int error) { return std::generic_category().message(error); }

/// The whole file, or why not. At most one byte more than the bound is read: parse_tree refuses that.
std::expected<std::string, std::string> read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::unexpected("cannot be opened: " + system_text(errno));
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } const closer{fd};
  struct stat info{};
  if (::fstat(fd, &info) != 0) return std::unexpected("cannot be examined: " + system_text(errno));
  if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode)) return std::unexpected("is no regular file");
  // O_NONBLOCK was for the opening only: a pipe without a writer must not hang it, its content is waited for.
  if (::fcntl(fd, F_SETFL, 0) != 0) return std::unexpected("cannot be read: " + system_text(errno));
  std::string out;
  char chunk[65536];
  while (out.size() <= kMaxFileBytes) {
    const ssize_t n = ::read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::unexpected("cannot be read: " + system_text(errno));
    if (n == 0) break;
    out.append(chunk, static_cast<std::size_t>(n));
  }
  return out;
}

}  // namespace

LoadResult load_text(std::string_view text, const std::string& file_name, const Further& further) {
  Sink sink(file_name);
  Loaded loaded;
  if (const NodePtr root = parse_tree(text, sink)) {
    schema().read({sink, *root, {}}, loaded.config);
    validate(loaded.config, *root, sink);
    if (further) further(loaded.config, Where{&sink, root.get(), {}});
  }
  const bool ok = sink.ok();
  loaded.warnings = std::move(sink).take();
  if (!ok) return std::unexpected(std::move(loaded.warnings));
  return loaded;
}

LoadResult load_file(const std::string& path, const Further& further) {
  const auto text = read_file(path);
  if (text) return load_text(*text, path, further);
  return std::unexpected(std::vector{Diagnostic{Diagnostic::Severity::Error, path, {}, {}, text.error(), {}}});
}

}  // namespace culvert::config

#include "dataplane/crypto/own_image.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace culvert::dp {

namespace {
constexpr std::uintptr_t kSmallPage = 4096;
constexpr std::uintptr_t down(std::uintptr_t n) { return n / kSmallPage * kSmallPage; }
constexpr std::uintptr_t up(std::uintptr_t n) { return down(n + kSmallPage - 1); }

/// Where a library is.
struct Loaded {
  std::uintptr_t code;  // somewhere in it
  std::uintptr_t base = 0;
  std::string file{};
  std::vector<ElfW(Phdr)> segments{};

  [[nodiscard]] std::uintptr_t end() const {
    std::uintptr_t end = 0;
    for (const auto& s : segments) end = std::max(end, up(s.p_vaddr + s.p_memsz));
    return end;
  }
};

int look(dl_phdr_info* info, std::size_t /*bytes*/, void* into) {
  auto& found = *static_cast<Loaded*>(into);
  std::vector<ElfW(Phdr)> segments;
  for (std::size_t i = 0; i < info->dlpi_phnum; ++i)
    if (info->dlpi_phdr[i].p_type == PT_LOAD) segments.push_back(info->dlpi_phdr[i]);
  const auto has = [&](const auto& s) { return found.code - info->dlpi_addr - s.p_vaddr < s.p_memsz; };
  if (!std::ranges::any_of(segments, has)) return 0;
  found.base = info->dlpi_addr;
  found.file = info->dlpi_name;
  found.segments = std::move(segments);
  return 1;
}

int protection(const ElfW(Phdr) & s) {
  return ((s.p_flags & PF_R) != 0 ? PROT_READ : 0) | ((s.p_flags & PF_W) != 0 ? PROT_WRITE : 0) | ((s.p_flags & PF_X) != 0 ? PROT_EXEC : 0);
}

/// False: errno says why, or is 0 where the file has something else.
bool map_segment(const Loaded& library, const ElfW(Phdr) & s, std::uint8_t* image, int file) {
  const std::uintptr_t from = down(s.p_vaddr), to = up(s.p_vaddr + s.p_memsz);
  const auto* original = reinterpret_cast<const std::uint8_t*>(library.base);
  std::uint8_t* const at = image + from;
  if ((s.p_flags & PF_W) != 0) {
    if (::mprotect(at, to - from, PROT_READ | PROT_WRITE) != 0) return false;
    std::memcpy(at, original + from, to - from);
    return true;
  }
  const std::uintptr_t bytes = s.p_vaddr - from + s.p_filesz;
  if (::mmap(at, bytes, protection(s), MAP_PRIVATE | MAP_FIXED, file, static_cast<off_t>(down(s.p_offset))) == MAP_FAILED) return false;
  errno = 0;
  return std::memcmp(at, original + from, bytes) == 0;
}
}  // namespace

std::expected<OwnImage, std::string> OwnImage::of(const void* code) {
  Loaded library{reinterpret_cast<std::uintptr_t>(code)};
  if (::dl_iterate_phdr(look, &library) == 0) return std::unexpected("it is in no library");
  if (library.file.empty()) return std::unexpected("it is a part of the program");
  const auto failed = [&](int why) {
    return std::unexpected(library.file + ": " + (why == 0 ? "the file is not the one that was loaded" : std::strerror(why)));
  };
  const int file = ::open(library.file.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return failed(errno);
  const std::size_t bytes = library.end();
  void* const at = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  bool ok = at != MAP_FAILED;
  OwnImage image(ok ? static_cast<std::uint8_t*>(at) : nullptr, bytes, library.base);
  for (const auto& s : library.segments) ok = ok && map_segment(library, s, image.at_, file);
  const int why = errno;
  ::close(file);
  if (!ok) return failed(why);
  return image;
}

OwnImage::~OwnImage() {
  if (at_ != nullptr) ::munmap(at_, bytes_);
}

}  // namespace culvert::dp

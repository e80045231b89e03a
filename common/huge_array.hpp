// Arrays that are read at random, on large pages where the system gives some (transparent huge pages, where they are not set to "never"):
// with small ones each look costs a walk through the page tables, too. Owns its memory; knows nothing of what lies in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <sys/mman.h>

namespace culvert {

inline constexpr std::size_t kHugePage = std::size_t{2} << 20;
/// What is smaller than this would waste more of a large page than it gains.
inline constexpr std::size_t kWorthHuge = kHugePage / 2;

/// Zeroed memory from mmap(2), to be given back by munmap(2) with the same size. From kWorthHuge bytes on it begins with a large page, if
/// there are any. nullptr: the system has no more.
inline void* map_pages(std::size_t bytes) {
  const std::size_t more = bytes >= kWorthHuge ? kHugePage : 0;
  void* const base = ::mmap(nullptr, bytes + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  if (more == 0) return base;
  auto* const from = static_cast<std::uint8_t*>(base);
  const std::size_t front = (kHugePage - reinterpret_cast<std::uintptr_t>(base) % kHugePage) % kHugePage;
  constexpr std::uintptr_t kSmallPage = 4096;
  const std::size_t used = (bytes + kSmallPage - 1) / kSmallPage * kSmallPage;
  if (front != 0) ::munmap(from, front);
  if (front + used < bytes + more) ::munmap(from + front + used, bytes + more - front - used);
  ::madvise(from + front, used, MADV_HUGEPAGE);  // no more than advice: it works all the same
  return from + front;
}

/// `size` objects made as by T().
template <class T>
class HugeArray {
 public:
  HugeArray() = default;
  /// Throws std::bad_alloc.
  explicit HugeArray(std::size_t size) : objects_(static_cast<T*>(map_pages(size * sizeof(T))), {size}) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 4096);
    if (objects_ == nullptr) throw std::bad_alloc();
    std::uninitialized_value_construct_n(objects_.get(), size);
  }
  T& operator[](std::size_t i) const { return objects_[i]; }
  [[nodiscard]] T* get() const { return objects_.get(); }
  [[nodiscard]] std::size_t size() const { return objects_.get_deleter().size; }

 private:
  struct Unmap {
    std::size_t size = 0;
    void operator()(T* objects) const { ::munmap(objects, size * sizeof(T)); }
  };
  std::unique_ptr<T[], Unmap> objects_;
};

}  // namespace culvert

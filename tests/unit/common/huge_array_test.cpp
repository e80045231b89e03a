// Arrays on large pages: every object is made, and lies in memory of its own, whatever the size.
#include "common/huge_array.hpp"

#include <cstring>

#include <catch2/catch.hpp>

using namespace culvert;

TEST_CASE("arrays on large pages are made of whole objects", "[huge]") {
  struct Thing {
    std::uint64_t number = 7, more = 0;
  };
  for (const std::size_t bytes :
       {std::size_t{16}, std::size_t{4096}, kWorthHuge - 16, kWorthHuge, kHugePage, kHugePage + 16, 3 * kHugePage}) {
    const std::size_t size = bytes / sizeof(Thing);
    HugeArray<Thing> array(size);
    REQUIRE(array.size() == size);
    for (std::size_t i = 0; i < size; ++i) {
      REQUIRE(array[i].number == 7);
      array[i].more = i;
    }
    for (std::size_t i = 0; i < size; ++i) REQUIRE(array[i].more == i);
    if (bytes >= kWorthHuge) CHECK(reinterpret_cast<std::uintptr_t>(array.get()) % kHugePage == 0);
    HugeArray<Thing> taken = std::move(array);
    CHECK(taken[size - 1].more == size - 1);
  }
}

TEST_CASE("pages from the system are zeroed, and all of them can be written", "[huge]") {
  for (const std::size_t bytes : {std::size_t{4096}, kWorthHuge, kHugePage}) {
    auto* const at = static_cast<std::uint8_t*>(map_pages(bytes));
    REQUIRE(at != nullptr);
    for (std::size_t i = 0; i < bytes; i += 512) REQUIRE(at[i] == 0);
    std::memset(at, 0xff, bytes);
    CHECK(::munmap(at, bytes) == 0);
  }
}

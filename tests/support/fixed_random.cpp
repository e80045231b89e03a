#define OPENSSL_SUPPRESS_DEPRECATED  // RAND_METHOD is the one way that needs no provider of our own
#include "tests/support/fixed_random.hpp"

#include <openssl/rand.h>

namespace culvert::test {

namespace {

std::uint64_t g_state = 0;

/// splitmix64.
std::uint64_t next() {
  std::uint64_t z = (g_state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}
int fill(unsigned char* out, int size) {
  for (int i = 0; i < size; ++i) out[i] = static_cast<unsigned char>(next());
  return 1;
}
int seed_nothing(const void*, int) { return 1; }
int add_nothing(const void*, int, double) { return 1; }
int ready() { return 1; }

}  // namespace

void fix_random(std::uint64_t seed) {
  static const RAND_METHOD method{seed_nothing, fill, nullptr, add_nothing, fill, ready};
  static const int set = RAND_set_rand_method(&method);
  static_cast<void>(set);
  g_state = seed;
}

}  // namespace culvert::test

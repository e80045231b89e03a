// The programs that run one scenario under many seeds: their arguments, what they say of a failure, and the verdict.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace culvert::test {

/// argv: [FIRST [COUNT]]; without them CULVERT_SEEDS, or `usual`, of `first` on. run(seed, transcript) throws what is wrong, and leaves
/// what the hosts have said, which is printed if there is one seed alone. The exit status.
template <class Run>
int run_seeds(int argc, char** argv, std::uint64_t first, std::uint64_t usual, Run&& run) {
  const char* wanted = std::getenv("CULVERT_SEEDS");
  if (argc > 1) first = std::strtoull(argv[1], nullptr, 10);
  const std::uint64_t count = argc > 2   ? std::strtoull(argv[2], nullptr, 10)
                              : argc > 1 ? 1
                              : wanted   ? std::strtoull(wanted, nullptr, 10)
                                         : usual;
  std::uint64_t failed = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    std::string transcript;
    try {
      run(seed, transcript);
    } catch (const std::exception& e) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), e.what());
      if (++failed == 1 && count == 1) std::fputs(transcript.c_str(), stdout);
    }
  }
  std::printf("%llu seeds from %llu: %llu failed\n", static_cast<unsigned long long>(count), static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}

}  // namespace culvert::test

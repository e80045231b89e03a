// OpenSSL's random numbers, the same ones in each run: for fuzzing, where an input must do the same thing each time.
// Owns what this process has for randomness from the first call on; never for anything that guards a secret.
#pragma once

#include <cstdint>

namespace culvert::test {

/// From here on all randomness is what follows from the seed.
void fix_random(std::uint64_t seed);

}  // namespace culvert::test

// Fuzzes the engine with the keys: a peer that proves itself as it should and says what nobody says, in every exchange of both versions, by
// every kind of proof, as initiator and as responder. What must hold whatever it says is in tests/exchange/tamper/stage.cpp.
//   input: scenario, whose insider (1 byte each), how many events, events (a byte each), changes (changes.hpp); make_tamper_seeds.cpp
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/exchange/tamper/stage.hpp"
#include "tests/support/fixed_random.hpp"

using namespace culvert::test;

namespace {
/// Keys that all runs share are made here, so that a run does not depend on those before it.
bool prepared() {
  for (const tamper::Scenario& s : tamper::scenarios()) {
    fix_random(1);
    static_cast<void>(tamper::perform({&s, false, std::string(s.events), false, false, false, {}}));
  }
  return true;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = prepared();
  if (!ready || size < 3) return 0;
  fix_random(2);
  try {
    static_cast<void>(tamper::perform(tamper::read_play({data, size})));
  } catch (const tamper::Broken& e) {
    std::fprintf(stderr, "%sdoes not hold: %s\n", e.transcript.c_str(), e.what());
    std::abort();
  }
  return 0;
}

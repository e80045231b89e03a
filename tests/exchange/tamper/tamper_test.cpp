// That the insider's plays (stage.hpp) are what they say: without a change each comes to its end with either side as the insider, and what
// is changed is authentic to its victim.
#include <catch2/catch.hpp>

#include "tests/exchange/tamper/stage.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::test::tamper;

namespace {

Play usual(const Scenario& s, bool insider_begins) { return {&s, insider_begins, std::string(s.events), false, false, false, {}}; }

bool of_phase_1(const Insider::Sent& s) { return s.exchange == ike::kExchangeMainMode || s.exchange == ike::kExchangeAggressive; }

}  // namespace

TEST_CASE("tamper: every scenario comes to its end, whoever has the keys to it, when nothing is changed", "[tamper]") {
  for (const Scenario& s : scenarios())
    for (const bool begins : {false, true}) {
      const Outcome out = perform(usual(s, begins));
      INFO(s.name << (begins ? " from A" : " from B") << "\n" << out.transcript);
      CHECK(out.up);
      CHECK(out.shown);
      CHECK((out.up_after || s.name == "v2_redirect"));
      for (const auto& sent : out.sent) CHECK_FALSE(sent.changed);
    }
}

TEST_CASE("tamper: what is changed under the keys is authentic to whom it is sent", "[tamper]") {
  constexpr std::size_t kTried = 8;  // messages of each play
  for (const Scenario& s : scenarios())
    for (const bool begins : {false, true}) {
      const Outcome as_ever = perform(usual(s, begins));
      const std::size_t stride = std::min<std::size_t>(as_ever.sent.size(), kEvery) / kTried + 1;
      std::size_t changed = 0, taken = 0;
      for (std::size_t n = 0; n < as_ever.sent.size() && n < kEvery; n += stride) {
        if (!as_ever.sent[n].authentic || !as_ever.sent[n].sealed || of_phase_1(as_ever.sent[n])) continue;
        Play play = usual(s, begins);
        // A notification that nobody knows (RFC 7296 §3.10.1), or the last byte of what stands behind HASH.
        const auto message = static_cast<std::uint8_t>(n);
        if (s.version == 2)
          play.changes = {{message, kAdd, false, 0, 0, {41, 0, 0, 0xa0, 1}}};
        else
          play.changes = {{message, kFlip, false, 1, kEnd, {1}}};
        const Outcome out = perform(play);
        changed += out.sent.at(n).changed;
        taken += out.sent.at(n).changed && out.sent.at(n).authentic;
      }
      INFO(s.name << (begins ? " from A: " : " from B: ") << taken << " of " << changed << " were taken for authentic");
      CHECK(taken > 0);
      // Message 3 of Quick Mode has a HASH alone.
      if (s.version == 2) CHECK(taken == changed);
    }
}

TEST_CASE("tamper: a proof is made for whatever identity is said, and no other lets anybody in", "[tamper]") {
  struct Row {
    const char* scenario;
    std::uint8_t message;  // of the initiator, with its identity and its proof
  };
  const Row row = GENERATE(Row{"main_psk", 2}, Row{"v2_psk", 1});
  const auto scenario = std::ranges::find(scenarios(), std::string_view(row.scenario), &Scenario::name);
  const auto with = [&](const Change& change) {
    Play play = usual(*scenario, true);
    play.events = "";
    play.changes = {change};
    return perform(play);
  };
  const Bytes another{10, 9, 0, 77};
  Outcome out = with({row.message, kOverwrite, false, 0, 4, another});
  INFO(out.transcript);
  CHECK(out.up);
  CHECK(out.transcript.find("established with 10.9.0.77") != std::string::npos);
  // Neither is a proof that is of somebody else, nor one that is wrong. What comes later is another attempt, as it should be.
  for (const Change& change : {Change{row.message, kOverwrite, true, 0, 4, another}, Change{row.message, kFlip, false, 1, 9, {1}}}) {
    out = with(change);
    CHECK(out.transcript.find("established with 10.9.0.77") == std::string::npos);
    CHECK(out.transcript.find("auth_failed") != std::string::npos);
  }
}

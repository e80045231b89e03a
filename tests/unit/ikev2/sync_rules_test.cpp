// The rules of counter synchronisation (RFC 6311 §5.1), as arithmetic.
#include "control/ikev2/sync_rules.hpp"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::ikev2;

namespace {
const Bytes kNonce{0xde, 0xad, 0xbe, 0xef};
SyncNumbers numbers(std::uint32_t send, std::uint32_t recv) { return {kNonce, send, recv}; }
}  // namespace

TEST_CASE("IKEV2_MESSAGE_ID_SYNC: a nonce and two message IDs", "[ikev2][sync][rfc6311-4]") {
  const Bytes wire{0xde, 0xad, 0xbe, 0xef, 0, 0, 1, 2, 0x80, 0, 0, 5};
  CHECK(encode_sync(numbers(0x102, 0x80000005)) == wire);
  const auto read = read_sync(wire);
  REQUIRE(read);
  CHECK(read->nonce == kNonce);
  CHECK(read->send == 0x102);
  CHECK(read->recv == 0x80000005);
  for (std::size_t n = 0; n < wire.size(); ++n) CHECK_FALSE(read_sync(ByteView(wire).first(n)));
  CHECK_FALSE(read_sync(Bytes(13)));
}

TEST_CASE("IPSEC_REPLAY_COUNTER_SYNC: four bytes, or eight with extended sequence numbers", "[ikev2][sync][rfc6311-4]") {
  CHECK(encode_delta(0x10203, false) == Bytes{0, 1, 2, 3});
  CHECK(encode_delta(0x10203, true) == Bytes{0, 0, 0, 0, 0, 1, 2, 3});
  CHECK(encode_delta(std::uint64_t{1} << 40, false) == Bytes(4, 0xff));
  CHECK(read_delta(Bytes{0, 1, 2, 3}) == 0x10203U);
  CHECK(read_delta(Bytes{0, 1, 0, 0, 0, 0, 0, 0}) == kMaxSyncDelta);
  CHECK_FALSE(read_delta(Bytes{0, 1, 0, 0, 0, 0, 0, 1}));
  for (const std::size_t n : {0U, 1U, 3U, 5U, 7U, 9U}) CHECK_FALSE(read_delta(Bytes(n)));
}

TEST_CASE("what is proposed is higher than all that was, each time more", "[ikev2][sync][rfc6311-5.1]") {
  Synchronizing sync;
  std::uint32_t last = 6;
  for (unsigned attempt = 0; attempt < 8; ++attempt) {
    const auto n = propose_sync({7, 3}, sync, attempt, kNonce);
    REQUIRE(n);
    CHECK(n->send > last);
    CHECK(n->recv == 3);
    last = n->send;
    sync.highest_own = last;
  }
  CHECK(last > 65536);
  CHECK(propose_sync({last + 100, 3}, sync, 0, kNonce)->send == last + 101);
  CHECK_FALSE(propose_sync({kMaxSyncId + 1, 3}, sync, 0, kNonce));
  CHECK_FALSE(propose_sync({7, kMaxSyncId + 1}, sync, 0, kNonce));
  // Where the last attempts would go past the last ID, or around it, there are none.
  CHECK(propose_sync({kMaxSyncId - 1, 3}, {}, 0, kNonce)->send == kMaxSyncId);
  for (unsigned attempt = 0; attempt < 7; ++attempt) {
    CHECK_FALSE(propose_sync({kMaxSyncId, 3}, {}, attempt, kNonce));
    CHECK(propose_sync({kMaxSyncId - 65536, 3}, {}, attempt, kNonce)->send <= kMaxSyncId);
  }
}

TEST_CASE("P2 and M2 are the higher of what either side knows; nothing goes back", "[ikev2][sync][rfc6311-5.1]") {
  struct Row {
    MessageIds ids;
    std::optional<std::uint32_t> seen;
    std::uint32_t m1, p1;
    std::optional<std::pair<std::uint32_t, std::uint32_t>> answer;  ///< P2, M2
  };
  const Row rows[] = {
      {{5, 9}, {}, 9, 5, {{5, 9}}},
      {{5, 9}, {}, 20, 30, {{30, 20}}},
      {{5, 9}, {}, 9, 1, {{5, 9}}},
      {{5, 9}, {}, 8, 5, {}},
      {{5, 9}, {}, 0, 0, {}},
      {{5, 9}, 9, 9, 5, {}},
      {{5, 9}, 9, 10, 5, {{5, 10}}},
      {{0, 0}, {}, 0, 0, {{0, 0}}},
      {{0, 0}, 0, 0, 0, {}},
      {{5, 20}, 30, 25, 5, {}},
      {{5, 9}, {}, 0xffffffff, 5, {}},
      {{5, 9}, {}, 9, 0xffffffff, {}},
      {{5, 9}, {}, kMaxSyncId, kMaxSyncId, {{kMaxSyncId, kMaxSyncId}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.ids.next_send, row.ids.next_expected, row.m1, row.p1);
    Synchronizing sync;
    sync.highest_m1 = row.seen;
    const auto got = answer_sync(row.ids, sync, numbers(row.m1, row.p1));
    CHECK(got.has_value() == row.answer.has_value());
    if (!got || !row.answer) continue;
    CHECK(got->nonce == kNonce);
    CHECK(got->send == row.answer->first);
    CHECK(got->recv == row.answer->second);
  }
  Synchronizing both;
  both.own = OwnSync{.asked = numbers(50, 40)};
  const auto got = answer_sync({5, 9}, both, numbers(9, 5));
  REQUIRE(got);
  CHECK(got->send == 50);
  CHECK(got->recv == 40);
}

TEST_CASE("an answer counts for the request whose nonce it has, and goes forward", "[ikev2][sync][rfc6311-5.1]") {
  const OwnSync own{.asked = numbers(20, 10)};
  const auto take = [&](std::uint32_t p2, std::uint32_t m2) { return take_sync_answer({15, 10}, own, numbers(p2, m2)); };
  REQUIRE(take(10, 20));
  CHECK(take(10, 20)->next_send == 20);
  CHECK(take(10, 20)->next_expected == 10);
  REQUIRE(take(12, 30));
  CHECK(take(12, 30)->next_send == 30);
  CHECK(take(12, 30)->next_expected == 12);
  CHECK_FALSE(take(9, 20));
  CHECK_FALSE(take(10, 19));
  CHECK_FALSE(take(10, 0xffffffff));
  CHECK_FALSE(take(0xffffffff, 20));
  SyncNumbers other = numbers(10, 20);
  other.nonce[3] ^= 1;
  CHECK_FALSE(take_sync_answer({15, 10}, own, other));
  const auto raced = take_sync_answer({90, 80}, own, numbers(10, 20));  // the peer has asked meanwhile
  REQUIRE(raced);
  CHECK(raced->next_send == 90);
  CHECK(raced->next_expected == 80);
}

TEST_CASE("eight requests at once, then one every five seconds", "[ikev2][sync]") {
  using namespace std::chrono_literals;
  SyncBudget budget;
  TimePoint now{1000s};
  for (int i = 0; i < 8; ++i) CHECK(budget.take(now));
  CHECK_FALSE(budget.take(now));
  CHECK_FALSE(budget.take(now + 4s));
  CHECK(budget.take(now + 6s));
  CHECK_FALSE(budget.take(now + 7s));
  now += 1000s;
  for (int i = 0; i < 8; ++i) CHECK(budget.take(now));
  CHECK_FALSE(budget.take(now));
}

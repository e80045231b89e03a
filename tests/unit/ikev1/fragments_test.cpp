// Fragments of IKE messages: cut and put together in any order, and every way in which a stranger may get it wrong.
#include "control/ikev1/fragments.hpp"

#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

#include "control/ike/header.hpp"

using namespace culvert;
using namespace culvert::ikev1;

namespace {
const ike::TimePoint kNow{std::chrono::seconds(1000)};

Bytes message_of(std::size_t size, std::uint8_t exchange = ike::kExchangeMainMode) {
  ike::Header h;
  h.spi_i = IkeSpi{0x1122334455667788};
  h.spi_r = IkeSpi{0x99};
  h.next_payload = 5;
  h.exchange = exchange;
  h.flags = ike::kFlagEncryption;
  h.message_id = MessageId{7};
  Bytes body(size - ike::kHeaderSize);
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<std::uint8_t>(i * 31);
  return ike::encode_message(h, body);
}
Fragment piece(std::uint16_t id, std::uint8_t number, bool last, ByteView data) { return {id, number, last, data}; }
const Bytes kOne{1}, kTwo{2}, kOther{9};
}  // namespace

TEST_CASE("a message is cut into messages that fit, with what other implementations expect in their headers", "[ikev1][fragments]") {
  const std::uint8_t exchange = GENERATE(ike::kExchangeMainMode, ike::kExchangeAggressive, ike::kExchangeQuickMode);
  const Bytes whole = message_of(4000, exchange);
  const auto pieces = cut_message(whole, 1252, 5);
  REQUIRE(pieces.size() == 4);
  FragmentSet set;
  for (const Bytes& p : pieces) {
    CHECK(p.size() <= 1252);
    const auto framed = ike::parse_header(p);
    REQUIRE(framed);
    CHECK(framed->header.next_payload == kFragmentPayload);
    CHECK(framed->header.exchange == (exchange == ike::kExchangeAggressive ? exchange : ike::kExchangeMainMode));
    CHECK_FALSE(framed->header.encrypted());
    CHECK_FALSE(framed->header.message_id);
    CHECK(framed->header.spi_r == IkeSpi{0x99});
    const auto parsed = parse_fragment(framed->body);
    REQUIRE(parsed);
    const auto out = set.add(kNow, *parsed);
    REQUIRE(out);
    CHECK(out->has_value() == (&p == &pieces.back()));
    if (*out) CHECK(**out == whole);
  }
  CHECK_FALSE(set.deadline());
  CHECK(cut_message(whole, 4000, 5).empty());                         // it fits
  CHECK(cut_message(whole, 200, 5).empty());                          // sixteen are not enough
  CHECK(cut_message(whole, 36, 5).empty());                           // no room for data
  CHECK(cut_message(message_of(4000, exchange), 1252, 5) == pieces);  // the same again has the same number
}

TEST_CASE("fragments come in any order, and copies of them change nothing", "[ikev1][fragments][attack-H4]") {
  std::mt19937 rng(7);
  for (int round = 0; round < 200; ++round) {
    const Bytes whole = message_of(100 + rng() % 3000);
    auto pieces = cut_message(whole, 300, 5);
    if (pieces.empty()) continue;
    const std::size_t n = pieces.size();
    for (std::size_t i = 0; i < n; ++i) pieces.push_back(pieces[rng() % n]);
    std::ranges::shuffle(pieces, rng);
    FragmentSet set;
    std::size_t done = 0;
    for (const Bytes& p : pieces) {
      const auto out = set.add(kNow, *parse_fragment(ike::parse_header(p)->body));
      REQUIRE(out);
      if (*out) CHECK(**out == whole);
      done += out->has_value();
    }
    CHECK(done >= 1);
  }
}

TEST_CASE("what contradicts itself is dropped as a whole", "[ikev1][fragments][attack-H4]") {
  FragmentSet set;
  const auto add = [&](const Fragment& f) { return set.add(kNow, f); };
  REQUIRE(add(piece(1, 1, false, kOne)));
  SECTION("the same number with other bytes") { CHECK_FALSE(add(piece(1, 1, false, kOther))); }
  SECTION("the same one, now as the last") { CHECK_FALSE(add(piece(1, 1, true, kOne))); }
  SECTION("two last ones") {
    REQUIRE(add(piece(1, 3, true, kTwo)));
    CHECK_FALSE(add(piece(1, 4, true, kTwo)));
  }
  SECTION("one behind the last") {
    REQUIRE(add(piece(1, 3, true, kTwo)));
    CHECK_FALSE(add(piece(1, 5, false, kTwo)));
  }
  SECTION("the last before one that is there") {
    REQUIRE(add(piece(1, 5, false, kTwo)));
    CHECK_FALSE(add(piece(1, 3, true, kTwo)));
  }
  SECTION("more than sixteen") { CHECK_FALSE(add(piece(1, 17, false, kTwo))); }
  SECTION("too many bytes") {
    const Bytes big(kMaxReassembled, 0);
    CHECK_FALSE(add(piece(1, 2, true, big)));
  }
  CHECK_FALSE(set.deadline());  // nothing is kept
  REQUIRE(add(piece(2, 2, true, kTwo)));
  const auto whole = add(piece(2, 1, false, kOne));
  REQUIRE(whole);
  REQUIRE(*whole);
  CHECK(**whole == Bytes{1, 2});
}

TEST_CASE("a gap never completes, lives thirty seconds, and gives way to another message", "[ikev1][fragments][attack-H4]") {
  FragmentSet set;
  CHECK_FALSE(*set.add(kNow, piece(1, 1, false, kOne)));
  CHECK_FALSE(*set.add(kNow, piece(1, 3, true, kTwo)));
  CHECK_FALSE(*set.add(kNow, piece(1, 3, true, kTwo)));  // the last one again
  CHECK(set.deadline() == kNow + kFragmentLife);
  set.expire(kNow + kFragmentLife - std::chrono::seconds{1});
  CHECK(set.deadline());
  set.expire(kNow + kFragmentLife);
  CHECK_FALSE(set.deadline());
  CHECK_FALSE(*set.add(kNow, piece(1, 1, false, kOne)));
  CHECK_FALSE(*set.add(kNow, piece(2, 2, true, kTwo)));  // of another message: the first one is gone
  const auto whole = set.add(kNow, piece(2, 1, false, kOther));
  REQUIRE(*whole);
  CHECK(**whole == Bytes{9, 2});
}

TEST_CASE("a fragment payload of any length below its own is refused", "[ikev1][fragments][attack-H4]") {
  const Bytes good{0, 0, 0, 9, 0, 1, 1, 1, 0x5a};
  REQUIRE(parse_fragment(good));
  CHECK(parse_fragment(good)->data.size() == 1);
  for (std::size_t n = 0; n < good.size(); ++n) {
    Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
    CHECK_FALSE(parse_fragment(cut));
    if (n >= 4) cut[3] = static_cast<std::uint8_t>(n);
    CHECK_FALSE(parse_fragment(cut));
  }
  for (const std::size_t at : {0U, 2U, 3U}) {  // another payload behind it; a length that lies
    Bytes bad = good;
    bad[at] = 0x80;
    CHECK_FALSE(parse_fragment(bad));
  }
  Bytes zero = good;
  zero[6] = 0;
  CHECK_FALSE(parse_fragment(zero));
}

TEST_CASE("fragments of first messages: few in all, and fewer of one address", "[ikev1][fragments][attack-H4][attack-H5]") {
  FirstFragments all;
  const auto source = [](std::uint32_t n) { return Endpoint{IpAddress::v4(n), 500}; };
  for (std::uint64_t spi = 1; spi <= kMaxFirstSetsOfSource; ++spi) CHECK(all.add(kNow, source(1), IkeSpi{spi}, piece(1, 1, false, kOne)));
  CHECK_FALSE(all.add(kNow, source(1), IkeSpi{77}, piece(1, 1, false, kOne)));
  for (std::uint32_t n = 2; n < 1'000'000; n += 997) (void)all.add(kNow, source(n), IkeSpi{1}, piece(1, 1, false, kOne));
  CHECK(all.size() == kMaxFirstSets);
  // What is under way is finished all the same, and time makes room again.
  const auto whole = all.add(kNow, source(1), IkeSpi{1}, piece(1, 2, true, kTwo));
  REQUIRE(whole);
  CHECK(*whole);
  CHECK(all.size() == kMaxFirstSets - 1);
  CHECK(all.add(kNow + kFragmentLife, source(5), IkeSpi{5}, piece(1, 1, false, kOne)));
  CHECK(all.size() == 1);
}

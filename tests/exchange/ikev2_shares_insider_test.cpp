// CHILD SAs for one worker each (RFC 9611), with an insider: one that asks for more than there may be, for other ones, or answers
// otherwise.
#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_shares.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;

namespace {
/// B with so many workers, and an insider in A's place, whose first CHILD SA is up.
struct Room {
  World world;
  Host& b;
  InsiderV2 peer;
  std::uint32_t asked = 100;
  explicit Room(std::size_t workers, std::uint16_t limit = 64)
      : b(*make(world, workers, limit)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.start();
    peer.in_auth.notify(NotifyType::SaResourceInfo);
  }
  static Host* make(World& w, std::size_t workers, std::uint16_t limit) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    give_workers(config, workers);
    config.connections[0].children[0].per_cpu.limit = limit;
    config.connections[0].dpd_delay = 0s;
    return &w.add("B", std::move(config));
  }
  std::optional<Message> connect() { return peer.connect(ts("10.1.0.0/24"), ts("10.2.0.0/24")); }
  static TrafficSelector ts(const std::string& text) { return TrafficSelector::parse(text).value(); }
  Builder one_more(const Bytes& resource, const std::string& suite = "aes128gcm16", const std::string& mine = "10.1.0.0/24") {
    Builder out;
    out.notify(NotifyType::SaResourceInfo, resource);
    out.add(build_child_offer(parse_esp_proposal(suite).value(), InsiderV2::spi(++asked), true)).add(Nonce{Bytes(32, 7)});
    return out.add(TsI{{ts(mine)}, 0}).add(TsR{{ts("10.2.0.0/24")}, 0});
  }
  std::optional<Message> ask(const Builder& what) { return peer.ask(ike::kExchangeCreateChildSa, what); }
  /// What the host asks for: waits until there is something.
  std::optional<InsiderV2::Asked> wait() {
    world.run_until([&] { return peer.asked().has_value(); }, 30s);
    return peer.asked();
  }
};
}  // namespace

TEST_CASE("SA_RESOURCE_INFO is answered, with what the worker is for, up to the limit", "[ikev2][shares][insider][rfc9611-6]") {
  Room in(2, 3);
  const auto first = in.connect();
  REQUIRE(first);
  REQUIRE(first->notify(NotifyType::SaResourceInfo));
  CHECK(first->notify(NotifyType::SaResourceInfo)->data.empty());
  for (std::uint8_t n = 0; n < 3; ++n) {
    const auto m = in.ask(in.one_more(n == 2 ? Bytes(5000, 0xee) : Bytes{0, 0, 0, n}));
    REQUIRE(m);
    REQUIRE(m->notify(NotifyType::SaResourceInfo));
    CHECK(m->notify(NotifyType::SaResourceInfo)->data == Bytes{0, 0, 0, static_cast<std::uint8_t>(n % 2)});
  }
  CHECK(by_worker(in.b) == Counts{2, 1, 1});
  for (int again = 0; again < 3; ++again) {
    const auto m = in.ask(in.one_more({}));
    REQUIRE(m);
    REQUIRE(m->error());
    CHECK(m->error()->type == NotifyType::TsMaxQueue);
    CHECK(m->error()->data.empty());
  }
  CHECK(in.b.live_pairs() == 4);
}

TEST_CASE("what is not as the first one is no worker's", "[ikev2][shares][insider][rfc9611-4]") {
  Room in(2);
  REQUIRE(in.connect());
  const auto suite = in.ask(in.one_more({}, "aes256gcm16"));
  REQUIRE(suite);
  REQUIRE(suite->error());
  CHECK(suite->error()->type == NotifyType::NoProposalChosen);
  const auto other = in.ask(in.one_more({}, "aes128gcm16", "10.1.0.0/25"));  // other traffic: a first one
  REQUIRE(other);
  CHECK_FALSE(other->error());
  CHECK(by_worker(in.b) == Counts{0, 0, 2});
}

TEST_CASE("a rekeying that narrows the one for all leaves as many for the workers as there are", "[ikev2][shares][insider][rfc7296-2.9]") {
  Room in(2, 2);
  REQUIRE(in.connect());
  for (int n = 0; n < 2; ++n) REQUIRE_FALSE(in.ask(in.one_more({}))->error());
  REQUIRE(by_worker(in.b) == Counts{1, 1, 1});
  Writer spi;
  spi.be(InsiderV2::spi(0).value);
  Builder narrower = in.one_more({}, "aes128gcm16", "10.1.0.0/25");
  narrower.add(Notify{kProtoEsp, NotifyType::RekeySa, std::move(spi).take(), {}});
  const auto rekeyed = in.ask(narrower);
  REQUIRE(rekeyed);
  REQUIRE_FALSE(rekeyed->error());
  REQUIRE(in.peer.ask(ike::kExchangeInformationalV2, Builder().add(Delete{kProtoEsp, {InsiderV2::spi(0)}})));
  in.world.run(60s);
  const auto asked = in.peer.asked();
  CHECK((!asked || asked->message.count(PayloadType::Sa) == 0));  // the workers have theirs
  const auto more = in.ask(in.one_more({}, "aes128gcm16", "10.1.0.0/25"));
  REQUIRE(more);
  REQUIRE(more->error());
  CHECK(more->error()->type == NotifyType::TsMaxQueue);
  CHECK(by_worker(in.b) == Counts{1, 1, 1});
}

TEST_CASE("what we ask for: as the first one, told whose it is; TS_MAX_QUEUE ends it", "[ikev2][shares][insider][rfc9611-4]") {
  Room in(3);
  REQUIRE(in.connect());
  const auto first = in.wait();
  REQUIRE(first);
  CHECK(first->header.exchange == ike::kExchangeCreateChildSa);
  REQUIRE(first->message.notify(NotifyType::SaResourceInfo));
  CHECK(first->message.notify(NotifyType::SaResourceInfo)->data == Bytes{0, 0, 0, 0});
  CHECK(first->message.find<TsI>()->selectors == std::vector{Room::ts("10.2.0.0/24")});
  in.peer.answer(*first, Builder().notify(NotifyType::TsMaxQueue));
  in.world.run(10min);
  const auto later = in.peer.asked();
  CHECK((!later || later->message.count(PayloadType::Sa) == 0));
  CHECK(by_worker(in.b) == Counts{0, 0, 0, 1});
  CHECK(in.b.up());
}

TEST_CASE("an answer that makes something else of it is told so, and not asked again at once", "[ikev2][shares][insider]") {
  Room in(2);
  REQUIRE(in.connect());
  const auto first = in.wait();
  REQUIRE(first);
  Builder answer;
  answer.notify(NotifyType::SaResourceInfo, {1, 2, 3});
  answer.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(900), true)).add(Nonce{Bytes(32, 9)});
  answer.add(TsI{{Room::ts("10.2.0.0/25")}, 0}).add(TsR{{Room::ts("10.1.0.0/24")}, 0});
  in.peer.answer(*first, answer);
  REQUIRE(in.world.run_until([&] { return in.peer.asked() && in.peer.asked()->message.find<Delete>(); }, 30s));
  CHECK(by_worker(in.b) == Counts{0, 0, 1});
  CHECK(in.b.up());
}

TEST_CASE("one that the peer deletes is not asked for again at once, and the others stay", "[ikev2][shares][insider][rfc9611-4]") {
  Room in(2, 2);
  REQUIRE(in.connect());
  for (int n = 0; n < 2; ++n) REQUIRE(in.ask(in.one_more({})));
  CHECK(by_worker(in.b) == Counts{1, 1, 1});
  const auto gone = in.peer.ask(ike::kExchangeInformationalV2, Builder().add(ikev2::Delete{kProtoEsp, {InsiderV2::spi(101)}}));
  REQUIRE(gone);
  CHECK(by_worker(in.b) == Counts{0, 1, 1});
  CHECK_FALSE((in.peer.asked() && in.peer.asked()->message.count(PayloadType::Sa) != 0));
  const auto again = in.wait();
  REQUIRE(again);
  REQUIRE(again->message.notify(NotifyType::SaResourceInfo));
  CHECK(again->message.notify(NotifyType::SaResourceInfo)->data == Bytes{0, 0, 0, 0});
  CHECK(in.b.up());
}

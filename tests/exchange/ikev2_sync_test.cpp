// Counter synchronisation between engines (RFC 6311), and with a peer that misuses it.
//
//   IKE_AUTH  N(IKEV2_MESSAGE_ID_SYNC_SUPPORTED) N(IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED)     both ways
//   HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC, nonce, M1, P1) N(IPSEC_REPLAY_COUNTER_SYNC)}  -->
//                                                     <--  HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC, nonce, P2, M2)}     or silence
#include <catch2/catch.hpp>

#include "control/ikev2/sync_rules.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;
using ike::Exchange;

namespace {

constexpr std::uint8_t kInfo = ike::kExchangeInformationalV2;
constexpr std::uint64_t kDelta = 1U << 20;  // that we ask for

TrafficSelector ts(const char* text) { return TrafficSelector::parse(text).value(); }

void up(World& world, const Pair& p) {
  p.b.start();
  p.a.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
  world.run(1s);
}

ike::CommandResult sync(Host& h, const std::string& peer = {}) {
  ike::CommandResult out;
  h.step([&](ike::Engine& e) { out = e.sync_counters(h.world.now, "c", peer); });
  return out;
}

std::uint64_t skipped_out(const Host& h) { return h.current_out("net") ? h.current_out("net")->skipped : 0; }
std::uint64_t skipped_in(const Host& h) { return h.inbound.empty() ? 0 : h.inbound.begin()->second.skipped; }

/// A peer at 10.9.0.1 that has the keys.
struct Insider {
  World world;
  Host& b;
  InsiderV2 peer;
  explicit Insider(bool able = true, const std::function<void(config::Connection&)>& change = {})
      : b(*make(world, change)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    if (able) peer.announces = {NotifyType::Ikev2MessageIdSyncSupported, NotifyType::IpsecReplayCounterSyncSupported};
    b.start();
    const auto m = peer.connect(ts("10.1.0.0/24"), ts("10.2.0.0/24"));
    REQUIRE(m);
    REQUIRE(b.up());
    agreed = m->notify(NotifyType::Ikev2MessageIdSyncSupported) && m->notify(NotifyType::IpsecReplayCounterSyncSupported);
    REQUIRE(b.engine->ike_sas().front().message_id_sync == agreed);
    REQUIRE(b.engine->ike_sas().front().replay_counter_sync == agreed);
    const bool any = m->notify(NotifyType::Ikev2MessageIdSyncSupported) || m->notify(NotifyType::IpsecReplayCounterSyncSupported);
    REQUIRE(any == agreed);
  }
  static Host* make(World& w, const std::function<void(config::Connection&)>& change) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    config.connections[0].children[0].start_action = config::StartAction::None;
    if (change) change(config.connections[0]);
    return &w.add("B", std::move(config));
  }
  /// A request with message ID 0; what it is answered with. The next ordinary one has the ID that it had before.
  std::optional<SyncNumbers> raw(const Builder& payloads) {
    const std::uint32_t next = peer.next_id;
    peer.next_id = 0;
    const auto m = peer.ask(kInfo, payloads);
    peer.next_id = next;
    if (!m) return std::nullopt;
    const Notify* n = m->notify(NotifyType::Ikev2MessageIdSync);
    return n ? read_sync(n->data) : std::nullopt;
  }
  static Builder request(std::uint32_t m1, std::uint32_t p1) {
    return std::move(Builder().notify(NotifyType::Ikev2MessageIdSync, encode_sync({Bytes{1, 2, 3, 4}, m1, p1})));
  }
  std::optional<SyncNumbers> sync(std::uint32_t m1, std::uint32_t p1) { return raw(request(m1, p1)); }
  /// Whether an ordinary request is answered.
  bool lives() { return peer.ask(kInfo, Builder()).has_value(); }
  std::size_t dropped(Reason reason) const { return b.counted(Exchange::CounterSync, reason); }
  bool agreed = false;
};

}  // namespace

TEST_CASE("message IDs and sequence numbers are set right under loss, by either side or both", "[ikev2][sync][rfc6311-5.1]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    World world(seed);
    const Pair p = two_v2(world, [](auto& a, auto& b) {
      for (auto* g : {&a, &b}) g->connections[0].dpd_delay = config::Seconds{1};  // requests of both are under way all the time
    });
    if (seed > 6) world.link = {.loss = 0.3, .duplicate = 0.2, .delay_min = 1ms, .delay_max = 80ms};
    up(world, p);
    const auto before = p.a.engine->ike_sas().front();
    std::size_t tried = 0;
    for (int round = 0; round < 3; ++round) {
      const bool by_a = seed % 3 != 1, by_b = seed % 3 != 2;
      const auto done = [&](const Host& h) {
        return h.counted(Exchange::CounterSync, Reason::Ok) + h.counted(Exchange::CounterSync, Reason::Timeout);
      };
      if (by_a) REQUIRE(sync(p.a).ok);
      if (by_b) REQUIRE(sync(p.b).ok);
      tried += (by_a ? 1U : 0U) + (by_b ? 1U : 0U);
      world.run(40s);
      INFO("seed " << seed << ", round " << round << "\n" << p.a.transcript() << p.b.transcript());
      CHECK(done(p.a) + done(p.b) >= tried);
    }
    INFO("seed " << seed << "\n" << p.a.transcript() << p.b.transcript());
    REQUIRE(p.a.engine->ike_sas().size() == 1);
    CHECK(p.a.engine->ike_sas().front().spi_i == before.spi_i);  // the same SA still
    CHECK(p.a.live_pairs() == 1);
    if (seed <= 6) {
      CHECK(p.a.counted(Exchange::CounterSync, Reason::Ok) == tried);
      CHECK(p.b.counted(Exchange::CounterSync, Reason::Ok) == tried);
      for (const Host* h : {&p.a, &p.b}) {
        const std::uint64_t both = seed % 3 == 0 ? 2 : 1;  // each request raises both sides' outbound SAs
        CHECK(skipped_out(*h) == 3 * both * kDelta);
        CHECK(skipped_in(*h) == (seed % 3 == 0 || (h == &p.a) == (seed % 3 == 2) ? 3 * kDelta : 0));
      }
    }
    // Whatever they have agreed on, all kinds of exchanges go on from there.
    for (Host* h : {&p.a, &p.b}) h->step([&](ike::Engine& e) { REQUIRE(e.rekey(world.now, "c", "net", false).ok); });
    world.run(40s);
    for (Host* h : {&p.a, &p.b}) h->step([&](ike::Engine& e) { static_cast<void>(e.rekey(world.now, "c", "", true)); });
    // Both rekey at once, and what one of them has made of that alone stays until the other one cannot ask again.
    const bool again =
        world.run_until([&] { return p.a.engine->ike_sas().size() == 1 && p.a.engine->ike_sas().front().spi_i != before.spi_i; }, 300s);
    INFO(p.a.transcript());
    CHECK(again);
    CHECK(p.a.engine->ike_sas().front().message_id_sync);  // of the new one, too
    CHECK(p.a.live_pairs() == 1);
    CHECK(p.b.live_pairs() == 1);
  }
}

TEST_CASE("the answer to a request for synchronisation", "[ikev2][sync][rfc6311-5.1]") {
  Insider in;
  REQUIRE(in.agreed);
  SECTION("higher IDs of both sides count from then on") {
    const auto m = in.sync(40, 70);
    REQUIRE(m);
    CHECK(m->nonce == Bytes{1, 2, 3, 4});
    CHECK(m->send == 70);
    CHECK(m->recv == 40);
    CHECK_FALSE(in.lives());  // by the ID that it was before
    in.peer.next_id = 40;
    CHECK(in.lives());
    CHECK(in.lives());
    in.b.step([&](ike::Engine& e) { e.terminate(in.world.now, "c", "net"); });
    in.world.run(20ms);
    const auto asked = in.peer.asked();
    REQUIRE(asked);
    CHECK(asked->header.message_id.value == 70);
  }
  SECTION("who is too low about our IDs is told better") {
    REQUIRE(in.sync(2, 90));
    const auto m = in.sync(3, 1);
    REQUIRE(m);
    CHECK(m->send == 90);
    CHECK(m->recv == 3);
  }
  SECTION("sequence numbers of the outbound SAs") {
    for (const Bytes& size : {Bytes{0, 0, 1, 0}, Bytes{0, 0, 0, 0, 0, 0, 1, 0}})
      REQUIRE(in.raw(Insider::request(10 + static_cast<std::uint32_t>(size.size()), 1).notify(NotifyType::IpsecReplayCounterSync, size)));
    CHECK(skipped_out(in.b) == 512);
    CHECK(skipped_in(in.b) == 0);
    // In an ordinary request, too, whose copies message IDs keep out.
    in.peer.next_id = 18;
    CHECK(in.peer.ask(kInfo, Builder().notify(NotifyType::IpsecReplayCounterSync, Bytes{0, 0, 0, 5})));
    CHECK(skipped_out(in.b) == 517);
    CHECK(in.peer.ask(kInfo, Builder().notify(NotifyType::IpsecReplayCounterSync, Bytes{0, 5})));
    CHECK(skipped_out(in.b) == 517);
    CHECK(in.dropped(Reason::Malformed) == 1);
  }
}

TEST_CASE("requests for synchronisation that are dropped without a word", "[ikev2][sync][rfc6311-5.1]") {
  Insider in;
  const auto silent = [&](const Builder& b, Reason reason) {
    const std::size_t before = in.dropped(reason);
    CHECK_FALSE(in.raw(b));
    CHECK(in.dropped(reason) == before + 1);
  };
  SECTION("copies, and what goes back") {
    REQUIRE(in.lives());  // 2 was used
    silent(Insider::request(2, 0), Reason::Unexpected);
    REQUIRE(in.sync(5, 0));
    const Bytes first = in.peer.last;
    silent(Insider::request(5, 0), Reason::Unexpected);
    silent(Insider::request(4, 100), Reason::Unexpected);
    silent(Insider::request(0xffffffff, 0), Reason::Unexpected);
    silent(Insider::request(6, 0xffffffff), Reason::Unexpected);
    const auto sent = in.b.sent_datagrams;
    for (int i = 0; i < 5; ++i) in.world.deliver({in.peer.host(), {IpAddress::parse("10.9.0.1").value(), 500}, first});
    in.world.run(20ms);
    CHECK(in.b.sent_datagrams == sent);
    CHECK(in.dropped(Reason::Unexpected) == 10);
    in.peer.next_id = 5;
    CHECK(in.lives());
  }
  SECTION("malformed ones") {
    const auto with = [](const Bytes& data) { return std::move(Builder().notify(NotifyType::Ikev2MessageIdSync, data)); };
    silent(with({}), Reason::Malformed);
    silent(with(Bytes(11, 9)), Reason::Malformed);
    silent(with(Bytes(13, 9)), Reason::Malformed);
    silent(Insider::request(9, 9).notify(NotifyType::Ikev2MessageIdSync, Bytes(12, 1)), Reason::Malformed);
    silent(Insider::request(9, 9).notify(NotifyType::IpsecReplayCounterSync, Bytes(3)), Reason::Malformed);
    silent(Insider::request(9, 9).notify(NotifyType::IpsecReplayCounterSync, Bytes(8, 0xff)), Reason::Malformed);
    silent(Insider::request(9, 9).notify(NotifyType::IpsecReplayCounterSync, Bytes(4)).notify(NotifyType::IpsecReplayCounterSync, Bytes(4)),
           Reason::Malformed);
    silent(Insider::request(9, 9).add(Delete{kProtoIke, {}}), Reason::Malformed);
    CHECK(in.b.established() == 1);
    CHECK(skipped_out(in.b) == 0);
    CHECK(in.lives());  // nothing has changed
  }
  SECTION("too many") {
    for (std::uint32_t n = 0; n < 8; ++n) REQUIRE(in.sync(10 + n, 0));
    silent(Insider::request(30, 0), Reason::Limit);
    in.world.run(6s);
    CHECK(in.sync(31, 0));
  }
  SECTION("without the notification it is an old message with ID 0") { CHECK_FALSE(in.raw(Builder())); }
}

TEST_CASE("without both sides' consent there is none of it", "[ikev2][sync][rfc6311-4]") {
  const int who = GENERATE(0, 1);
  Insider in(who == 1, [&](config::Connection& c) { c.counter_sync.enabled = who == 0; });
  CHECK_FALSE(in.agreed);
  CHECK_FALSE(in.sync(10, 10));
  CHECK(in.dropped(Reason::Unexpected) == 1);
  CHECK(in.lives());
  CHECK(in.peer.ask(kInfo, Builder().notify(NotifyType::IpsecReplayCounterSync, Bytes{0, 0, 0, 5})));
  CHECK(skipped_out(in.b) == 0);
  const auto said = sync(in.b);
  CHECK_FALSE(said.ok);
  CHECK(said.message.find(who == 0 ? "the peer cannot do it" : "counter_sync: no") != std::string::npos);
}

TEST_CASE("a user's IKE SA can do it, too", "[ikev2][sync][eap][rfc6311-4]") {
  World world(3);
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    a.connections[0].local_auth.auth = b.connections[0].remote_auth.auth = config::Proof::EapMschapv2;
    a.connections[0].remote_auth.auth = b.connections[0].local_auth.auth = config::Proof::Pubkey;
    a.connections[0].local_auth.eap_id = "alice";
    a.connections[0].remote_id = b.connections[0].local_id = {config::Identity::Type::Fqdn, "b.example"};
  });
  p.b.keys["c"] = ike::AuthMethod::EcdsaP256;
  p.b.users = {{"alice", "alicepw"}};
  p.a.password = "alicepw";
  up(world, p);
  for (Host* h : {&p.a, &p.b}) {
    CHECK(h->engine->ike_sas().front().message_id_sync);
    CHECK(h->engine->ike_sas().front().replay_counter_sync);
    CHECK(sync(*h).ok);
    world.run(1s);
    CHECK(h->counted(Exchange::CounterSync, Reason::Ok) == (h == &p.a ? 1 : 2));
  }
}

TEST_CASE("what we have asked is asked again under the new IDs", "[ikev2][sync][rfc6311-5.1]") {
  Insider in(true, [](config::Connection& c) { c.children[0].esp_proposals = parse_esp_proposal("aes128gcm16").value(); });
  SECTION("a Delete") {
    in.b.step([&](ike::Engine& e) { e.terminate(in.world.now, "c", "net"); });
    in.world.run(20ms);
    const auto lost = in.peer.asked();
    REQUIRE(lost);
    CHECK(lost->header.message_id.value == 0);
    const auto m = in.sync(10, 0);
    REQUIRE(m);
    CHECK(m->send == 1);  // 0 is used
    in.world.run(20ms);
    const auto again = in.peer.asked();
    REQUIRE(again);
    CHECK(again->header.message_id.value == 1);
    REQUIRE(again->message.find<Delete>());
    CHECK(again->message.find<Delete>()->spis == lost->message.find<Delete>()->spis);
    in.peer.answer(*again, Builder());
    CHECK_FALSE(in.b.up());
    in.peer.next_id = 10;
    CHECK(in.lives());
  }
  SECTION("a CREATE_CHILD_SA is given up, and begun anew") {
    in.b.step([&](ike::Engine& e) { e.rekey(in.world.now, "c", "net", false); });
    in.world.run(20ms);
    const auto lost = in.peer.asked();
    REQUIRE(lost);
    REQUIRE(lost->message.find<Sa>());
    const Bytes spi = lost->message.find<Sa>()->proposals.front().spi;
    REQUIRE(in.sync(10, 20));
    in.world.run(20ms);
    auto again = in.peer.asked();
    REQUIRE(again);
    CHECK(again->header.message_id.value == 20);
    REQUIRE(again->message.find<Delete>());  // what may be there of it
    Writer w;
    w.be(again->message.find<Delete>()->spis.front().value);
    CHECK(Bytes(w.view().begin(), w.view().end()) == spi);
    in.peer.answer(*again, Builder());
    in.world.run(20ms);
    again = in.peer.asked();
    REQUIRE(again);
    CHECK(again->header.message_id.value == 21);
    REQUIRE(again->message.find<Sa>());
    CHECK(again->message.find<Sa>()->proposals.front().spi != spi);
  }
}

TEST_CASE("our request for synchronisation, and a peer that answers it badly", "[ikev2][sync][rfc6311-5.1]") {
  Insider in(true, [](config::Connection& c) { c.dpd_delay = {}; });
  REQUIRE(in.lives());
  REQUIRE(sync(in.b).ok);
  in.world.run(20ms);
  auto asked = in.peer.asked();
  REQUIRE(asked);
  CHECK(asked->header.message_id.value == 0);
  CHECK(int{asked->header.exchange} == int{kInfo});
  REQUIRE(asked->message.notify(NotifyType::Ikev2MessageIdSync));
  const auto numbers = read_sync(asked->message.notify(NotifyType::Ikev2MessageIdSync)->data);
  REQUIRE(numbers);
  CHECK(numbers->send == 1);
  CHECK(numbers->recv == 3);
  REQUIRE(asked->message.notify(NotifyType::IpsecReplayCounterSync));
  CHECK(read_delta(asked->message.notify(NotifyType::IpsecReplayCounterSync)->data) == kDelta);
  CHECK_FALSE(sync(in.b).ok);  // one at a time
  const auto answer = [&](SyncNumbers n) { in.peer.answer(*asked, Builder().notify(NotifyType::Ikev2MessageIdSync, encode_sync(n))); };
  const auto drops = [&](SyncNumbers n) {
    const std::size_t before = in.dropped(Reason::Unexpected);
    answer(n);
    CHECK(in.dropped(Reason::Unexpected) == before + 1);
    CHECK(in.dropped(Reason::Ok) == 0);
  };
  drops({Bytes(4, 0x55), 50, 50});
  drops({numbers->nonce, 2, 50});  // behind our P1
  drops({numbers->nonce, 50, 0});  // behind our M1
  drops({numbers->nonce, 0xffffffff, 50});
  in.peer.answer(*asked, Builder().notify(NotifyType::Ikev2MessageIdSync, Bytes(3)));
  CHECK(in.dropped(Reason::Malformed) == 1);
  CHECK(skipped_out(in.b) + skipped_in(in.b) == 0);

  SECTION("then as it should") {
    answer({numbers->nonce, 60, 50});
    CHECK(in.dropped(Reason::Ok) == 1);
    CHECK(skipped_out(in.b) == kDelta);
    CHECK(skipped_in(in.b) == kDelta);
    const std::size_t before = in.dropped(Reason::Unexpected);
    answer({numbers->nonce, 90, 90});  // a copy, or worse
    CHECK(in.dropped(Reason::Unexpected) == before + 1);
    in.peer.next_id = 60;
    CHECK(in.lives());
    in.b.step([&](ike::Engine& e) { e.terminate(in.world.now, "c", "net"); });
    in.world.run(20ms);
    asked = in.peer.asked();
    REQUIRE(asked);
    CHECK(asked->header.message_id.value == 50);
  }
  SECTION("or never") {
    std::vector<std::uint32_t> proposed{numbers->send};
    std::vector<Bytes> nonces{numbers->nonce};
    for (int i = 0; i < 400; ++i) {
      in.world.run(100ms);
      const auto next = in.peer.asked();
      const Notify* n = next ? next->message.notify(NotifyType::Ikev2MessageIdSync) : nullptr;
      if (!n || read_sync(n->data)->send == proposed.back()) continue;
      proposed.push_back(read_sync(n->data)->send);
      nonces.push_back(read_sync(n->data)->nonce);
    }
    CHECK(proposed.size() == 5);
    CHECK(std::ranges::is_sorted(proposed));
    CHECK(proposed.back() > 65536);
    CHECK(std::set(nonces.begin(), nonces.end()).size() == 5);
    CHECK(in.b.counted(Exchange::CounterSync, Reason::Timeout) == 1);
    CHECK(failure_of(in.b).find("does not answer our requests to set message IDs right") != std::string::npos);
    CHECK(in.b.established() == 1);
    CHECK(in.lives());  // the IDs that were proposed count for nothing
    CHECK(sync(in.b).ok);
  }
}

TEST_CASE("both sides ask at once: neither goes back behind what the other was told", "[ikev2][sync][rfc6311-5.1]") {
  Insider in;
  REQUIRE(sync(in.b).ok);
  in.world.run(20ms);
  const auto asked = in.peer.asked();
  REQUIRE(asked);
  const auto ours = read_sync(asked->message.notify(NotifyType::Ikev2MessageIdSync)->data);
  const auto m = in.sync(30, 0);
  REQUIRE(m);
  CHECK(m->send >= ours->send);
  CHECK(m->recv == 30);
  in.peer.answer(*asked, Builder().notify(NotifyType::Ikev2MessageIdSync, encode_sync({ours->nonce, 31, 77})));
  CHECK(in.dropped(Reason::Ok) == 2);
  in.peer.next_id = 31;
  CHECK(in.lives());
  in.b.step([&](ike::Engine& e) { e.terminate(in.world.now, "c", "net"); });
  in.world.run(20ms);
  REQUIRE(in.peer.asked());
  CHECK(in.peer.asked()->header.message_id.value == 77);
}

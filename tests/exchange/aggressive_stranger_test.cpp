// Aggressive Mode towards strangers: what they learn, what they cost, what their forgeries do.
#include "tests/exchange/aggressive_helpers.hpp"

using namespace culvert;
using namespace culvert::test;

TEST_CASE("Aggressive Mode is answered where the connection says so, and nothing is given away elsewhere", "[aggressive_mode][E8][B7]") {
  const int kind = GENERATE(0, 1, 2);
  World world;
  world.record = true;
  auto [a, b] = two_sites(world, [kind](auto& ca, auto& cb) {
    aggressive_once(ca, cb);
    if (kind == 0) cb.connections[0].aggressive_psk_exposes_hash = false;  // the price is not named
    if (kind == 1) cb.connections[0].aggressive = false;                   // Main Mode only
    if (kind == 2) ca.connections[0].aggressive = false;                   // Main Mode towards Aggressive Mode
  });
  const Exchange exchange = kind == 2 ? Exchange::MainMode : Exchange::AggressiveMode;
  attempt(world, a, b, 300ms);
  INFO(a.transcript() << b.transcript());
  CHECK(b.engine->ike_sas().empty());
  CHECK(b.counted(exchange, Reason::OtherMode) == 1);
  CHECK_THAT(failure_of(b), Contains(kind == 0 ? "aggressive_psk_exposes_hash_to_offline_guessing" : "aggressive is"));
  REQUIRE(b.sent_datagrams == 1);
  for (const ike::Datagram& d : world.wire) {
    if (!from_b(d)) continue;
    const auto seen = look(d);
    CHECK(seen->header.exchange == ike::kExchangeInformational);
    CHECK_FALSE(seen->header.spi_r);
    CHECK(seen->clear->payloads().size() == 1);
    CHECK(seen->clear->find<ikev1::Notify>()->type == ikev1::NotifyType::InvalidExchangeType);
    CHECK(d.data.size() < 60);
  }
  world.run(12s);
  CHECK(a.counted(exchange, Reason::PeerRefused) == 1);
  require_over(world, a, b);
}

TEST_CASE("a refused proposal leaves no state that a made-up responder cookie finds", "[aggressive_mode][B7]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    aggressive_once(ca, cb);
    cb.connections[0].proposals = parse_ike_proposal("aes256-sha512-ecp384").value();
  });
  std::optional<ike::Datagram> first, refusal;
  world.hook = [&](ike::Datagram& d) {
    if (!first) first = d;
    if (from_b(d)) refusal = d;
    return true;
  };
  attempt(world, a, b);
  REQUIRE(first);
  REQUIRE(refusal);
  CHECK(b.counted(Exchange::AggressiveMode, Reason::NoProposalChosen) == 1);
  CHECK_FALSE(look(*refusal)->header.spi_r);
  CHECK(b.engine->ike_sas().empty());
  const unsigned sent = b.sent_datagrams;
  for (const std::uint8_t byte : {std::uint8_t{1}, std::uint8_t{0xff}}) {
    ike::Datagram again{first->remote, first->local, first->data};
    std::fill_n(again.data.begin() + 8, 8, byte);
    world.deliver(again);
  }
  CHECK(b.sent_datagrams == sent);
  CHECK(b.counted(Exchange::AggressiveMode, Reason::UnknownSa) == 2);
  require_over(world, a, b);
}

TEST_CASE("unknown and known identities get the same answer", "[aggressive_mode][E13]") {
  std::vector<std::vector<std::string>> ladders;
  std::vector<std::vector<std::size_t>> sizes;
  for (const bool known : {true, false}) {
    World world;
    world.record = true;
    auto [a, b] = two_sites(world, [known](auto& ca, auto& cb) {
      aggressive_once(ca, cb);
      if (!known) ca.connections[0].local_id.text = "x.example";
    });
    a.secrets["c"] = "not the secret";
    attempt(world, a, b, 300ms);
    CHECK(b.counted(Exchange::AggressiveMode, Reason::WrongIdentity) == (known ? 0 : 1));
    if (!known) CHECK_THAT(failure_of(b), Contains("x.example") && Contains("a.example"));
    ladders.push_back(ladder(world));
    sizes.emplace_back();
    for (const ike::Datagram& d : world.wire) sizes.back().push_back(d.data.size());
    world.run(40s);
    CHECK(a.counted(Exchange::AggressiveMode, Reason::AuthFailed) == 1);
    CHECK(b.counted(Exchange::AggressiveMode, Reason::Timeout) == (known ? 1 : 0));
    require_over(world, a, b);
  }
  CHECK(ladders[0].size() == 2);
  CHECK(ladders[0] == ladders[1]);
  CHECK(sizes[0] == sizes[1]);
}

TEST_CASE("forged answers do not keep the true one out", "[aggressive_mode][B3]") {
  const int kind = GENERATE(0, 1, 2, 3);
  const bool signatures = GENERATE(true, false);
  World world;
  auto [a, b] = signatures ? two_signing_sites(world, AuthMethod::RsaSignature, aggressive) : two_sites(world, aggressive);
  world.hook = on_aggressive([&, kind](ike::Datagram& d, const Seen& seen) {
    if (!from_b(d)) return true;
    ike::Datagram forged = d;
    ike::Header h = seen.header;
    ikev1::Builder payloads;
    for (const auto& p : seen.clear->payloads()) {
      Bytes body = p.body;
      if (kind == 0 && p.type == PayloadType::Ke) std::fill(body.begin(), body.end(), 0);
      if (kind == 1 && p.type == PayloadType::Nonce) body[0] ^= 1;
      if (kind == 2 && (p.type == PayloadType::Hash || p.type == PayloadType::Sig)) body[0] ^= 1;
      if (kind == 3 && p.type == PayloadType::Id) body.back() ^= 1;
      payloads.add_raw(p.type, body);
    }
    h.spi_r = IkeSpi{77};
    rewrite(forged, h, payloads);
    const ike::Datagram arriving{d.remote, d.local, forged.data};
    world.at(world.now + 1ms, [&world, arriving] { world.deliver(arriving); });
    return true;
  });
  a.start();
  b.start();
  CHECK(world.run_until([&] { return a.up() && b.up(); }, 20s));
  INFO(a.transcript());
  CHECK(a.counted(Exchange::AggressiveMode, Reason::Ok) == 1);
}

TEST_CASE("our own messages, reflected, in Aggressive Mode", "[aggressive_mode][B5]") {
  World world;
  auto [a, b] = two_sites(world, aggressive);
  world.hook = [&](ike::Datagram& d) {
    world.at(world.now + 1ms, [&world, d] { world.deliver({d.local, d.remote, d.data}); });
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 60s));
  world.run(2s);
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
}

TEST_CASE("a stranger gets no more than one and a half times its bytes, however it asks", "[aggressive_mode][H3]") {
  const std::size_t chain = GENERATE(0U, 700U, 3000U);
  World world;
  auto [a, b] = chain == 0 ? two_sites(world, aggressive) : two_signing_sites(world, AuthMethod::RsaSignature, aggressive);
  b.chain_size = chain;
  std::size_t in = 0, out = 0;
  bool proven = false, within = true, answered = false;
  world.hook = on_aggressive([&](ike::Datagram& d, const Seen& seen) {
    if (seen.header.encrypted()) proven = true;
    if (proven) return true;
    (from_b(d) ? out : in) += d.data.size();
    answered = answered || from_b(d);
    within = within && 2 * out <= 3 * in;
    return true;
  });
  a.start();
  b.start();
  CHECK(world.run_until([&] { return a.up() && b.up(); }, 60s));  // a long answer has to be asked for several times
  CHECK(answered);
  CHECK(within);
  // Only message 1, again and again, for two minutes.
  World other;
  auto [c, d] = chain == 0 ? two_sites(other, aggressive) : two_signing_sites(other, AuthMethod::RsaSignature, aggressive);
  d.chain_size = chain;
  std::optional<ike::Datagram> first;
  other.hook = [&](ike::Datagram& datagram) {
    if (!first) first = ike::Datagram{datagram.remote, datagram.local, datagram.data};
    return false;
  };
  c.start();
  d.start();
  other.run(10ms);
  REQUIRE(first);
  d.sent_bytes = d.received_bytes = 0;
  for (int i = 0; i < 240; ++i) {
    other.deliver(*first);
    other.run(500ms);
    CHECK(2 * d.sent_bytes <= 3 * d.received_bytes);
  }
  CHECK(d.sent_bytes > 0);
}

TEST_CASE("half-open SAs of Aggressive Mode share the bounds; with a pre-shared key there are none before message 3",
          "[aggressive_mode][D7][H1]") {
  const bool signatures = GENERATE(true, false);
  World world;
  auto [a, b] = signatures ? two_signing_sites(world, AuthMethod::RsaSignature, aggressive_once) : two_sites(world, aggressive_once);
  if (signatures)
    a.distrusted = {"B"};
  else
    a.secrets["c"] = "another secret";
  a.start();
  b.start();
  for (int i = 0; i < 40; ++i) {
    a.engine->initiate(world.now, "c", "");
    a.perform();
    world.run(50ms);
    a.engine->terminate(world.now, "c", "");
    a.perform();
  }
  CHECK(b.engine->ike_sas().size() == (signatures ? b.config.ike.half_open_per_source : 0));
  CHECK((b.counted(Exchange::AggressiveMode, Reason::Limit) > 0) == signatures);
  CHECK(b.engine->newcomers() == (signatures ? 0 : 40));
  CHECK(b.key_exchanges <= b.config.ike.half_open_per_source);
  world.run(b.config.ike.half_open_timeout + 2s);
  CHECK(b.engine->newcomers() == 0);
  CHECK(b.engine->ike_sas().empty());
}

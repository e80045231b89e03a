// Windows of more than one request (RFC 7296 §2.3): what a peer sends before its turn, what it asks for again, and what the gateway may
// conclude from a request of the answers that its peer has.
//
//   peer  HDR(n+4) ... HDR(n+1)  -->      nothing
//   peer  HDR(n)                 -->      <-- HDR(n) HDR(n+1) ... HDR(n+4)
#include "tests/exchange/ikev2_window.hpp"

#include <catch2/catch.hpp>

#include "control/ike/retransmit.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;

namespace {
using Ids = std::vector<std::uint32_t>;

Bytes spi_bytes(Spi spi) {
  Writer w;
  w.be(spi.value);
  return std::move(w).take();
}
std::optional<std::uint32_t> window_in(const Message& m) {
  const Notify* n = m.notify(NotifyType::SetWindowSize);
  if (!n || n->data.size() != 4) return std::nullopt;
  Reader r(n->data);
  return r.be<std::uint32_t>();
}
NotifyType error_in(const Message& m) {
  REQUIRE(m.error());
  return m.error()->type;
}
}  // namespace

TEST_CASE("a window above 1 is said in IKE_AUTH, and a window of 1 is not", "[ikev2][window][rfc7296-2.3]") {
  const std::uint32_t window = GENERATE(1U, 5U, 32U);
  Windowed in(window);
  const Message m = in.connect();
  CHECK(window_in(m) == (window > 1 ? std::optional(window) : std::nullopt));
  CHECK(in.b.engine->ike_sas().front().window == window);
}

TEST_CASE("five requests in reverse order are answered in their own", "[ikev2][window][rfc7296-2.3]") {
  Windowed in(5);
  in.connect();
  const auto informational = ike::kExchangeInformationalV2, create = ike::kExchangeCreateChildSa;
  // A child, its rekeying, the Delete of what was rekeyed, and of the other one: in another order they would mean something else.
  Builder rekey = in.child(2);
  rekey.add(Notify{kProtoEsp, NotifyType::RekeySa, spi_bytes(InsiderV2::spi(1)), {}});
  std::vector<Bytes> requests{in.request(2, create, in.child(1)), in.request(3, create, rekey),
                              in.request(4, informational, Builder().add(Delete{kProtoEsp, {InsiderV2::spi(1)}})),
                              in.request(5, informational, Builder().add(Delete{kProtoEsp, {InsiderV2::spi(0)}})), in.probe(6)};
  for (std::size_t i = 4; i > 0; --i) {
    in.send(requests[i]);
    CHECK(in.answered().empty());
  }
  in.send(requests[0]);
  INFO(in.b.transcript());
  CHECK(in.answered() == Ids{2, 3, 4, 5, 6});
  for (const std::uint32_t id : {2U, 3U}) CHECK(in.inside(id).find<TsI>());
  for (const std::uint32_t id : {4U, 5U}) {
    REQUIRE(in.inside(id).find<Delete>());
    CHECK(in.inside(id).find<Delete>()->spis.size() == 1);
  }
  CHECK(in.inside(6).payloads().empty());
  in.world.run(10s);
  REQUIRE(in.b.outbound.size() == 1);
  CHECK(in.b.outbound[0].sa.spi == InsiderV2::spi(2));
  CHECK(in.b.inbound.size() == 1);
}

TEST_CASE("what comes while a request is at work waits for it, and gaps are filled in any order", "[ikev2][window][rfc7296-2.3]") {
  Windowed in(4);
  in.connect();
  in.peer.send(in.request(2, ike::kExchangeCreateChildSa, in.child(1)));
  in.peer.send(in.probe(3));
  in.world.run(0ms);
  CHECK(in.answered().empty());  // its inbound SA is on its way to the data plane
  in.world.run(50ms);
  CHECK(in.answered() == Ids{2, 3});
  in.send(in.probe(7));
  in.send(in.probe(5));
  CHECK(in.answered() == Ids{2, 3});
  in.send(in.probe(4));
  CHECK(in.answered() == Ids{2, 3, 4, 5});
  in.send(in.probe(6));
  CHECK(in.answered() == Ids{2, 3, 4, 5, 6, 7});
}

TEST_CASE("each of the last answers is sent again as it was, and those before are not", "[ikev2][window][rfc7296-2.3][rfc7296-2.1]") {
  const std::uint32_t window = GENERATE(1U, 2U, 5U);
  Windowed in(window);
  in.connect();
  std::map<std::uint32_t, Bytes> requests, answers;
  for (std::uint32_t id = 2; id < 12; ++id) {
    requests[id] = id % 3 == 0 ? in.request(id, ike::kExchangeCreateChildSa, in.child(id)) : in.probe(id);
    in.send(requests[id]);
    answers[id] = in.answer(id);
  }
  for (std::uint32_t id = 2; id < 12; ++id) {  // each answer lost, whichever it is
    in.said.clear();
    in.send(requests[id]);
    INFO("request " << id << " of 2 to 11, window " << window);
    if (id + window > 11)
      CHECK(in.said == std::vector<Bytes>{answers[id]});
    else
      CHECK(in.said.empty());
  }
  in.said.clear();
  for (int k = 0; k < 100; ++k) in.send(requests[11], 1ms);
  CHECK(in.said.size() == ike::kMaxRepeatsProven - 1);
}

TEST_CASE("an answer is asked for again while later ones wait for a lost request", "[ikev2][window][rfc7296-2.3]") {
  Windowed in(3);
  in.connect();
  const Bytes first = in.probe(2), lost = in.probe(3), third = in.probe(4), fourth = in.probe(5);
  in.send(first);
  in.send(third);
  in.send(first);  // its answer was lost, too
  CHECK(in.answered() == Ids{2, 2});
  CHECK(in.said[0] == in.said[1]);
  in.send(third);  // repeated while it waits
  in.send(lost);
  in.send(third);
  in.send(fourth);
  CHECK(in.answered() == Ids{2, 2, 3, 4, 4, 5});
}

TEST_CASE("our outbound SA is sent by when a request shows that the peer has the answer", "[ikev2][window][rfc7296-2.8][rfc7296-2.3]") {
  const std::uint32_t window = GENERATE(1U, 2U, 4U);
  const bool reversed = GENERATE(false, true);
  Windowed in(window);
  in.connect();
  const Spi before = in.b.current_out("net")->sa.spi;
  in.send(in.request(2, ike::kExchangeCreateChildSa, in.child(1)));
  REQUIRE(in.inside(2).find<TsI>());
  for (std::uint32_t id = 3; id < 2 + window; ++id) {
    in.send(in.probe(id));
    INFO("window " << window << ", request " << id);
    CHECK(in.b.current_out("net")->sa.spi == before);
  }
  if (reversed && window > 1) in.send(in.probe(3 + window));  // comes before its turn, and says the same
  in.send(in.probe(2 + window));
  CHECK(in.b.current_out("net")->sa.spi == InsiderV2::spi(1));
}

TEST_CASE("the IKE SA is rekeyed with requests in flight: they are answered under it, in their order",
          "[ikev2][window][rekey][rfc7296-2.25.2][rfc7296-2.8]") {
  Windowed in(5);
  in.connect();
  const auto key = crypto::DhKey::generate(DhGroup::Ecp256).value();
  Builder rekey;
  rekey.add(build_ike_offer(parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value(), IkeSpi{0x5eed}))
      .add(Nonce{Bytes(32, 7)})
      .add(Ke{DhGroup::Ecp256, Bytes(key->public_value().begin(), key->public_value().end())});
  const std::vector<Bytes> requests{in.request(2, ike::kExchangeCreateChildSa, in.child(1)),
                                    in.request(3, ike::kExchangeCreateChildSa, rekey),
                                    in.request(4, ike::kExchangeCreateChildSa, in.child(2)),
                                    in.request(5, ike::kExchangeInformationalV2, Builder().add(Delete{kProtoEsp, {InsiderV2::spi(0)}})),
                                    in.request(6, ike::kExchangeInformationalV2, Builder().add(Delete{kProtoIke, {}}))};
  for (auto it = requests.rbegin(); it != requests.rend(); ++it) in.send(*it);
  INFO(in.b.transcript());
  CHECK(in.answered() == Ids{2, 3, 4, 5, 6});
  CHECK(in.inside(2).find<TsI>());
  CHECK(in.inside(3).find<Ke>());
  CHECK(window_in(in.inside(3)) == 5);  // of the new one
  CHECK(error_in(in.inside(4)) == NotifyType::TemporaryFailure);
  CHECK(in.inside(5).find<Delete>());
  CHECK(in.inside(6).payloads().empty());
  in.send(requests[4]);  // its answer was lost
  CHECK(in.answered() == Ids{2, 3, 4, 5, 6, 6});
  CHECK(in.b.established() == 1);
  in.world.run(15s);
  REQUIRE(in.b.current_out("net"));
  CHECK(in.b.current_out("net")->sa.spi == InsiderV2::spi(1));
  CHECK(in.b.inbound.size() == 1);
}

TEST_CASE("a rekeyed IKE SA has the window that its exchange has said", "[ikev2][window][rekey][rfc7296-2.3]") {
  const std::uint32_t window = GENERATE(1U, 5U);
  Windowed in(window);
  in.connect();
  const auto m = in.peer.rekey();
  REQUIRE((m && m->find<Ke>()));
  CHECK(window_in(*m) == (window > 1 ? std::optional(window) : std::nullopt));
  in.said.clear();
  for (const std::uint32_t id : {5U, 4U, 3U, 2U, 1U, 0U}) in.send(in.probe(id));
  CHECK(in.answered() == (window > 1 ? Ids{0, 1, 2, 3, 4} : Ids{0}));
  CHECK(in.b.up());
}

TEST_CASE("a peer moves with requests in flight: it is where the last one says, and each answer goes to where its request came from",
          "[ikev2][window][mobike][rfc4555-3.5]") {
  const IpAddress away = IpAddress::parse("10.9.8.1").value(), farther = IpAddress::parse("10.9.8.2").value();
  Windowed in(5, [](auto& g) {
    g.connections[0].mobike = true;
    g.connections[0].remote_addrs.clear();
  });
  in.peer.announces = {NotifyType::MobikeSupported};
  in.connect();
  const auto update = [&](std::uint32_t id) {
    return in.request(id, ike::kExchangeInformationalV2, Builder().notify(NotifyType::UpdateSaAddresses));
  };
  const Bytes lost = in.probe(2), first = update(3), second = update(5), between = in.probe(4);
  in.said.clear(), in.told.clear();
  in.peer.go(farther);
  in.send(second);
  in.peer.go(away);
  in.send(first);
  in.send(between);
  CHECK(in.b.engine->ike_sas().at(0).remote.address != away);
  in.peer.go(farther);
  in.send(lost);
  INFO(in.b.transcript());
  CHECK(in.b.engine->ike_sas().at(0).remote.address == farther);
  REQUIRE(in.answered() == Ids{2, 3, 4, 5});
  std::vector<IpAddress> to;
  for (std::size_t i = 0; i < in.said.size(); ++i)
    if ((ike::parse_header(in.said[i]).value().header.flags & ike::kFlagResponse) != 0) to.push_back(in.told[i]);
  CHECK(to == std::vector<IpAddress>{farther, away, away, farther});
}

TEST_CASE("behind a Delete of the IKE SA requests are still answered, and nothing is made", "[ikev2][window][rfc7296-1.4.1]") {
  Windowed in(3);
  in.connect();
  in.send(in.request(4, ike::kExchangeCreateChildSa, in.child(1)));
  in.send(in.probe(3));
  in.send(in.request(2, ike::kExchangeInformationalV2, Builder().add(Delete{kProtoIke, {}})));
  CHECK(in.answered() == Ids{2, 3, 4});
  CHECK(error_in(in.inside(4)) == NotifyType::TemporaryFailure);
  in.world.run(100s);
  CHECK(in.b.engine->ike_sas().empty());
  CHECK(in.b.inbound.empty());
  CHECK(in.b.spis.empty());
}

TEST_CASE("an SA that is closed while requests wait leaves nothing", "[ikev2][window]") {
  Windowed in(5);
  in.connect();
  for (const std::uint32_t id : {4U, 3U}) in.send(in.request(id, ike::kExchangeCreateChildSa, in.child(id)));
  in.b.step([&](ike::Engine& e) { REQUIRE(e.terminate(in.world.now, "c", "").ok); });
  in.send(in.probe(2));
  in.world.run(200s);
  CHECK(in.b.engine->ike_sas().empty());
  CHECK(in.b.inbound.empty());
  CHECK(in.b.spis.empty());
}

TEST_CASE("two sites with windows of their own: both say so, both rekey, nothing is missing", "[ikev2][window][rekey]") {
  World world(GENERATE(range(1, 8)));
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    a.connections[0].window.size = 3;
    b.connections[0].window.size = 6;
  });
  world.link = {0.2, 0.1, 1ms, 80ms};
  p.b.start();
  p.a.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
  world.begin_traffic();
  world.run(2s);
  p.a.step([&](ike::Engine& e) { REQUIRE(e.rekey(world.now, "c", "net", false).ok); });
  world.run(5s);
  p.b.step([&](ike::Engine& e) { REQUIRE(e.rekey(world.now, "c", "", true).ok); });
  world.run(60s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(world.gaps.empty());
  const auto window = [](const Host& h) {
    for (const auto& sa : h.engine->ike_sas())
      if (sa.state == ike::IkeState::Established) return sa.window;
    return 0U;
  };
  CHECK(window(p.a) == 3);
  CHECK(window(p.b) == 6);
}

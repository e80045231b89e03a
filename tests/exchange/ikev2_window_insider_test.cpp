// What a peer that has the keys may do with a window of more than one request: no more than it is for, in bytes and in messages.
#include <catch2/catch.hpp>

#include "control/ikev2/fragments.hpp"
#include "control/ikev2/sync_rules.hpp"
#include "tests/exchange/ikev2_window.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;

namespace {
using Ids = std::vector<std::uint32_t>;

Builder large(std::size_t kilobytes) {
  Builder out;
  for (std::size_t k = 0; k < kilobytes; ++k) out.notify(NotifyType{40000}, Bytes(1016, 1));  // with its headers 1024 bytes
  return out;
}
}  // namespace

TEST_CASE("IKEv2 insider: message IDs beyond the window are dropped and counted, and open nothing",
          "[ikev2][window][insider][attack-B6][rfc7296-2.3]") {
  const std::uint32_t window = GENERATE(1U, 5U);
  Windowed in(window);
  in.connect();
  const Ids beyond{2 + window, 3 + window, 1000, 0x7fffffff, 0xffffffff};
  for (const std::uint32_t id : beyond)
    for (int k = 0; k < 200; ++k) in.send(in.probe(id), 1ms);
  CHECK(in.said.empty());
  CHECK(in.dropped(Reason::Unexpected) == beyond.size() * 200);
  for (std::uint32_t id = 1 + window; id >= 2; --id) in.send(in.probe(id));
  CHECK(in.answered().size() == window);
  in.said.clear();
  for (const std::uint32_t id : {0U, 1U}) in.send(in.probe(id));  // old numbers with new content
  for (std::uint32_t id = 2; id < 2 + window; ++id) in.send(in.probe(id));
  CHECK(in.said.empty());
  CHECK(in.b.up());
}

TEST_CASE("IKEv2 insider: who never sends the request that is due fills no memory", "[ikev2][window][insider][attack-B6][rfc7296-2.3]") {
  Windowed in(32);
  in.connect();
  std::map<std::uint32_t, Bytes> requests;
  for (std::uint32_t id = 3; id < 34; ++id) requests[id] = in.request(id, ike::kExchangeInformationalV2, large(60));
  for (int k = 0; k < 3; ++k)
    for (const auto& [id, request] : requests) in.send(request, 1ms);
  CHECK(in.said.empty());
  CHECK(in.dropped(Reason::Limit) == 3 * 29);  // two have room
  in.send(in.probe(2));
  CHECK(in.answered() == Ids{2, 3, 4});
  for (std::uint32_t id = 5; id < 34; ++id) in.send(requests[id]);
  CHECK(in.answered().size() == 32);
  CHECK(in.b.up());
}

TEST_CASE("IKEv2 insider: what waits before its turn must be authentic, and is taken in once",
          "[ikev2][window][insider][attack-B6][attack-G7]") {
  Windowed in(5);
  in.connect();
  Bytes forged = in.probe(4);
  forged.back() ^= 1;
  for (int k = 0; k < 50; ++k) in.send(forged, 1ms);
  CHECK(in.dropped(Reason::BadHash) == 50);
  const Bytes first = in.request(4, ike::kExchangeCreateChildSa, in.child(1)), other = in.probe(4);
  in.send(first);
  in.send(other);
  for (int k = 0; k < 50; ++k) in.send(first, 1ms);
  in.send(in.probe(3));
  in.send(in.probe(2));
  CHECK(in.answered() == Ids{2, 3, 4});
  CHECK(in.inside(4).find<TsI>());
}

namespace {
/// One whose peer has agreed on fragments.
struct Cut : Windowed {
  explicit Cut(std::uint32_t window) : Windowed(window) {
    peer.in_init.notify(NotifyType::Ikev2FragmentationSupported);
    connect();
  }
  std::vector<Bytes> parts(std::uint32_t id, const Builder& payloads, std::size_t room = 100) {
    peer.next_id = id;
    return peer.sealed_parts(payloads.first() == PayloadType::Sa ? ike::kExchangeCreateChildSa : ike::kExchangeInformationalV2, payloads,
                             room);
  }
};
}  // namespace

TEST_CASE("fragments of several requests at once, interleaved and in any order", "[ikev2][window][fragments][rfc7383-2.6]") {
  Cut in(4);
  std::vector<Bytes> all;
  for (const std::uint32_t id : {2U, 3U, 4U, 5U})
    for (const Bytes& part : in.parts(id, id % 2 == 0 ? in.child(id) : large(1))) all.push_back(part);
  std::ranges::shuffle(all, in.world.rng);
  for (const Bytes& part : all) in.send(part, 1ms);
  in.world.run(100ms);
  INFO(in.b.transcript());
  CHECK(in.answered() == Ids{2, 3, 4, 5});
  CHECK(in.inside(2).find<TsI>());
  CHECK(in.inside(4).find<TsI>());
  in.said.clear();
  const auto again = in.parts(4, in.child(4));  // the peer has lost the answer, and cuts it anew: the first fragment asks for it
  in.send(again[1]);
  CHECK(in.said.empty());
  in.send(again[0]);
  CHECK(in.answered() == Ids{4});
}

TEST_CASE("IKEv2 insider: parts of requests that never become whole fill no memory", "[ikev2][window][fragments][insider][attack-B6]") {
  Cut in(32);
  for (std::uint32_t id = 3; id < 34; ++id) {
    auto parts = in.parts(id, large(48), 1024);
    parts.pop_back();
    for (const Bytes& part : parts) in.send(part, 0ms);
  }
  in.world.run(10ms);
  CHECK(in.said.empty());
  CHECK(in.dropped(Reason::Limit) > 29 * 40);
  for (const Bytes& part : in.parts(2, large(48), 1024)) in.send(part, 0ms);  // what is due has room
  in.world.run(10ms);
  CHECK(in.answered() == Ids{2});
  in.world.run(2 * kFragmentLife);
  for (const Bytes& part : in.parts(4, large(60), 1024)) in.send(part, 0ms);  // and so has the rest, when the parts are too old
  in.send(in.probe(3));
  CHECK(in.answered() == Ids{2, 3, 4});
}

// ---------------------------------------------------------------------------------------------------------------- RFC 6311

namespace {
struct Synced : Windowed {
  Synced() : Windowed(5) {
    peer.announces = {NotifyType::Ikev2MessageIdSyncSupported, NotifyType::IpsecReplayCounterSyncSupported};
    connect();
  }
  void sync(std::uint32_t m1, std::uint32_t p1) {
    send(request(0, ike::kExchangeInformationalV2, Builder().notify(NotifyType::Ikev2MessageIdSync, encode_sync({Bytes(4, 9), m1, p1}))));
  }
};
}  // namespace

TEST_CASE("counters are set right while requests wait before their turn: those are seen, and forgotten",
          "[ikev2][window][sync][rfc6311-5.1]") {
  Synced in;
  in.send(in.request(5, ike::kExchangeCreateChildSa, in.child(1)));
  in.sync(5, 0);  // it was seen
  CHECK(in.answered().empty());
  in.sync(6, 0);
  REQUIRE(in.answered() == Ids{0});
  const auto m = in.inside(0);
  const auto numbers = read_sync(m.notify(NotifyType::Ikev2MessageIdSync)->data);
  REQUIRE(numbers);
  CHECK(numbers->recv == 6);
  in.said.clear();
  for (const std::uint32_t id : {2U, 3U, 4U, 5U}) in.send(in.probe(id));
  CHECK(in.said.empty());
  in.send(in.probe(7));
  in.send(in.probe(6));
  CHECK(in.answered() == Ids{6, 7});
  CHECK(in.b.inbound.size() == 1);
}

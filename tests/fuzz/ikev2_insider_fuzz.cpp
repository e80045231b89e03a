// Fuzzes the IKEv2 engine with the keys: an authenticated peer whose messages are sealed as they should be, and hold what nobody sends.
// Whatever comes: no exception, bounded state, and nothing left when the SA is deleted.
//   input: records of kind (1 byte), first payload (1 byte), length (2 bytes), the chain of payloads
//     kind % 4: CREATE_CHILD_SA, INFORMATIONAL, IKE_AUTH again, the exchange of number kind / 4
//     IKE_AUTH with kind above 127: another exchange, whose message ID is one to four above that which is due (RFC 7296 §2.3)
//     INFORMATIONAL with kind above 127: with message ID 0, as what sets counters right (RFC 6311)
#include <cstdint>
#include <cstdlib>
#include <map>

#include "control/ikev2/sync_rules.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

namespace {

using namespace culvert;
using namespace culvert::test;

void require(bool condition) {
  if (!condition) std::abort();
}

constexpr std::uint32_t kWindow = 4;

std::uint8_t exchange_of(std::uint8_t kind) {
  switch (kind % 4) {
    case 0:
      return ike::kExchangeCreateChildSa;
    case 1:
      return ike::kExchangeInformationalV2;
    case 2:
      return ike::kExchangeAuth;
    default:
      return kind / 4;
  }
}

/// A request with message ID 0; those behind it go on as its answer says.
void ask_apart(InsiderV2& peer, ikev2::PayloadType first, ByteView chain) {
  const std::uint32_t next = std::exchange(peer.next_id, 0);
  const auto m = peer.ask(ike::kExchangeInformationalV2, first, chain);
  const auto* n = m ? m->notify(ikev2::NotifyType::Ikev2MessageIdSync) : nullptr;
  const auto said = n ? ikev2::read_sync(n->data) : std::nullopt;
  if (n) require(said && said->recv >= next);
  peer.next_id = said ? said->recv : next;
}

/// Requests before their turn, by message ID; each is said once more when that is there.
class Ahead {
 public:
  void say(InsiderV2& peer, std::uint32_t by, std::uint8_t exchange, ikev2::PayloadType first, ByteView chain) {
    const std::uint32_t next = peer.next_id;
    peer.next_id += by;
    peer.send(said_.try_emplace(peer.next_id, peer.sealed(exchange, first, chain)).first->second);
    peer.next_id = next;
  }
  void catch_up(World& world, InsiderV2& peer) {
    for (auto it = said_.find(peer.next_id); it != said_.end(); it = said_.find(++peer.next_id)) {
      peer.send(it->second);
      world.run(std::chrono::milliseconds(20));
    }
  }

 private:
  std::map<std::uint32_t, Bytes> said_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world(7);
  auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
  config.connections[0].version = 2;
  config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  config.connections[0].window.size = kWindow;
  Host& host = world.add("B", std::move(config));
  InsiderV2 peer(world, host, IpAddress::v4(0x0a090001));
  peer.announces = {ikev2::NotifyType::Ikev2MessageIdSyncSupported, ikev2::NotifyType::IpsecReplayCounterSyncSupported};
  host.start();
  const auto ts = [](const char* text) { return TrafficSelector::parse(text).value(); };
  require(peer.connect(ts("10.1.0.0/24"), ts("10.2.0.0/24")).has_value());
  Ahead ahead;
  Reader in(ByteView(data, size));
  while (in.ok() && in.remaining() >= 4) {
    const auto kind = in.be<std::uint8_t>();
    const auto first = ikev2::PayloadType{in.be<std::uint8_t>()};
    const std::size_t length = in.be<std::uint16_t>();
    const ByteView chain = in.take(std::min(length, in.remaining()));
    // Nothing is inside: then no payload is named, or it is none of ours.
    if (kind % 4 == 1 && kind > 127)
      ask_apart(peer, first, chain);
    else if (kind % 4 == 2 && kind > 127)
      ahead.say(peer, 1 + kind / 4 % kWindow, exchange_of(kind / 16), first, chain);  // up to the first one beyond the window
    else
      static_cast<void>(peer.ask(exchange_of(kind), first, chain));
    ahead.catch_up(world, peer);
    require(host.engine->ike_sas().size() <= 64 && host.spis.size() <= 1100);
  }
  ike::Engine& engine = *host.engine;
  engine.terminate(world.now, "c", "");
  host.perform();
  world.run(std::chrono::seconds(200));
  require(host.engine->ike_sas().empty() && host.inbound.empty() && host.outbound.empty() && host.spis.empty());
  return 0;
}

// Fuzzes IKE_AUTH of several proofs (RFC 4739) with the keys: a peer that has proved itself once, and is to prove itself as a user and then
// by another secret. Whatever comes: no exception, nobody comes in, nothing is made for him, and nothing is left.
//   input: records of kind (1 byte), first payload (1 byte), length (2 bytes), the chain of payloads
//     kind % 4: IKE_AUTH, INFORMATIONAL, IKE_AUTH with his identity in front, the exchange of number kind / 4
#include <cstdint>
#include <cstdlib>

#include "tests/exchange/ikev2_rounds_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

namespace {

using namespace culvert;
using namespace culvert::test;

void require(bool condition) {
  if (!condition) std::abort();
}

config::GatewayConfig gateway() {
  auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
  config::Connection& c = config.connections[0];
  c.version = 2;
  c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  c.local_auth.auth = config::Proof::Pubkey;
  c.local_id = named("b.example");
  config::RemoteSide user{{config::Identity::Type::Any, "%any"}, {}}, other = user;
  user.auth.auth = config::Proof::EapMschapv2;
  c.more_remote = {user, other};
  config::arrange_rounds(c);
  return config;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world(7);
  Host& host = world.add("B", gateway());
  host.keys["c"] = ike::AuthMethod::EcdsaP256;
  host.users = {{"alice", "nobody guesses this"}};
  InsiderV2 peer(world, host, IpAddress::v4(0x0a090001));
  peer.in_auth.notify(ikev2::NotifyType::MultipleAuthSupported).notify(ikev2::NotifyType::AnotherAuthFollows);
  host.start();
  const auto ts = [](const char* text) { return TrafficSelector::parse(text).value(); };
  require(peer.connect(ts("10.1.0.0/24"), ts("10.2.0.0/24")).has_value());
  Reader in(ByteView(data, size));
  while (in.ok() && in.remaining() >= 4) {
    const auto kind = in.be<std::uint8_t>();
    const auto first = ikev2::PayloadType{in.be<std::uint8_t>()};
    const std::size_t length = in.be<std::uint16_t>();
    const ByteView chain = in.take(std::min(length, in.remaining()));
    if (kind % 4 == 2) {
      Writer named;
      const Bytes id = ikev2::encode_body(peer.identity());
      named.be(static_cast<std::uint8_t>(first));
      named.be(std::uint8_t{0});
      named.be(static_cast<std::uint16_t>(id.size() + 4));
      named.bytes(id);
      named.bytes(chain);
      static_cast<void>(peer.ask(ike::kExchangeAuth, ikev2::PayloadType::IdI, named.view()));
    } else {
      const std::uint8_t exchange = kind % 4 == 0   ? ike::kExchangeAuth
                                    : kind % 4 == 1 ? ike::kExchangeInformationalV2
                                                    : std::uint8_t(kind / 4);
      static_cast<void>(peer.ask(exchange, first, chain));
    }
    require(!host.up() && host.spis.empty() && host.inbound.empty() && host.engine->ike_sas().size() <= 1);
  }
  world.run(std::chrono::seconds(200));
  require(host.engine->ike_sas().empty() && host.spis.empty());
  return 0;
}

// Fuzzes the IKE engine: datagrams of a stranger, and genuine ones with changed bytes, to a responder at each stage of its life.
// Whatever comes: no exception, no SA that the peer did not prove, bounded state, and a tunnel that is up stays up.
//   input: stage (1 byte; from 128 on the tunnel is one of IKEv2), then records: kind (1 byte), length (1 byte), bytes.
//     kind 0: the bytes as they are, to port 500;  1: behind a non-ESP marker, to port 4500
//     kind 2: the last genuine datagram, XORed from the offset in the first byte on;  3: header of the running SA, then the bytes
#include <cstdint>
#include <cstdlib>

#include "control/ike/header.hpp"
#include "control/ike/nat_traversal.hpp"
#include "tests/exchange/world.hpp"

namespace {

using namespace culvert;
using namespace culvert::test;

void require(bool condition) {
  if (!condition) std::abort();
}

Bytes with_header(const Host& b, ByteView bytes) {
  ike::Header h;
  const auto sas = b.engine->ike_sas();
  if (!sas.empty()) {
    h.spi_i = sas.front().spi_i;
    h.spi_r = sas.front().spi_r;
  }
  Reader r(bytes);
  h.next_payload = r.be<std::uint8_t>();
  h.exchange = r.be<std::uint8_t>();
  h.flags = r.be<std::uint8_t>();
  h.major = b.config.connections[0].version;
  h.message_id = MessageId{r.be<std::uint32_t>()};
  return ike::encode_message(h, r.rest());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(ByteView(data, size));
  const auto choice = in.be<std::uint8_t>();
  const unsigned stage = choice % 8;
  World world(7);
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) {
    for (auto* c : {&ca, &cb}) {
      c->connections[0].children[0].rekey_time = config::Seconds{100000};
      if (choice < 128) continue;
      c->connections[0].version = 2;
      c->connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    }
  });
  ike::Datagram last{{IpAddress::v4(0x0a090002), 500}, {IpAddress::v4(0x0a090001), 500}, {}};
  unsigned from_a = 0;
  world.hook = [&, &host_a = a](ike::Datagram& d) {
    if (d.local.address != host_a.config.connections[0].local_addrs.front()) return true;
    last = {d.remote, d.local, d.data};
    return from_a++ < stage;
  };
  a.start();
  b.start();
  world.run(std::chrono::milliseconds(400));
  const bool up = b.current_out("net") != nullptr;
  const std::size_t proven = b.established();
  while (in.ok() && in.remaining() > 2) {
    const unsigned kind = in.be<std::uint8_t>() % 4;
    const ByteView bytes = in.take(std::min<std::size_t>(in.be<std::uint8_t>(), in.remaining()));
    ike::Datagram d{{last.local.address, static_cast<std::uint16_t>(kind == 1 ? ike::kNatPort : ike::kIkePort)}, last.remote, {}};
    if (kind == 2) {
      d = last;
      const std::size_t offset = bytes.empty() ? 0 : bytes[0];
      for (std::size_t i = 1; i < bytes.size() && offset + i - 1 < d.data.size(); ++i) d.data[offset + i - 1] ^= bytes[i];
      if (d.data == last.data) continue;
    } else if (kind == 3) {
      d.data = with_header(b, bytes);
    } else {
      d.data = kind == 1 ? ike::with_non_esp_marker(bytes) : Bytes(bytes.begin(), bytes.end());
    }
    world.deliver(d);
    world.run(std::chrono::milliseconds(5));
    require(b.engine->ike_sas().size() <= 16);
  }
  require(b.established() <= proven + 1);
  require(!up || (b.current_out("net") && b.inbound.size() == 1 && b.established() >= 1));
  return 0;
}

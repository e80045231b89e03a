// A gateway that takes in several requests at once, and a peer that has the keys and sends them in whatever order it likes. Owns what the
// tests of windows have in common.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

namespace culvert::test {

struct Windowed {
  World world;
  Host& b;
  InsiderV2 peer;
  std::vector<Bytes> said;      ///< by the host since it was connected, as it went over the wire
  std::vector<IpAddress> told;  ///< ... and to whom

  explicit Windowed(std::uint32_t window, const std::function<void(config::GatewayConfig&)>& change = {})
      : b(make(world, window, change)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.start();
  }
  static Host& make(World& w, std::uint32_t window, const std::function<void(config::GatewayConfig&)>& change) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config::Connection& c = config.connections[0];
    c.version = 2;
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    c.window.size = window;
    c.dpd_delay = 0s;
    c.rekey_time = c.children[0].rekey_time = 0s;
    if (change) change(config);
    return w.add("B", std::move(config));
  }
  static TrafficSelector ts(const char* text) { return TrafficSelector::parse(text).value(); }
  /// The answer to IKE_AUTH; from then on what the host says is collected.
  ikev2::Message connect() {
    const auto m = peer.connect(ts("10.1.0.0/24"), ts("10.2.0.0/24"));
    INFO(b.transcript());
    REQUIRE(m);
    REQUIRE(m->find<ikev2::Auth>());
    REQUIRE(b.up());
    collect();
    return *m;
  }
  void collect() {
    world.hook = [this, before = world.hook](ike::Datagram& d) {
      if (d.local.address == peer.host().address) said.push_back(d.data), told.push_back(d.remote.address);
      return before(d);
    };
  }
  /// A request with this ID, as it would be sent.
  Bytes request(std::uint32_t id, std::uint8_t exchange, const ikev2::Builder& payloads) {
    peer.next_id = id;
    return peer.sealed(exchange, payloads);
  }
  Bytes probe(std::uint32_t id) { return request(id, ike::kExchangeInformationalV2, {}); }
  ikev2::Builder child(std::uint32_t n, const char* mine = "10.1.0.0/24") {
    ikev2::Builder out;
    out.add(ikev2::build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(n), true))
        .add(ikev2::Nonce{Bytes(32, static_cast<std::uint8_t>(n))});
    return out.add(ikev2::TsI{{ts(mine)}, 0}).add(ikev2::TsR{{ts("10.2.0.0/24")}, 0});
  }
  /// Sends it, and lets the host work.
  void send(const Bytes& message, Duration time = 50ms) {
    peer.send(message);
    world.run(time);
  }
  static std::uint32_t id_of(const Bytes& message) { return ike::parse_header(message).value().header.message_id.value; }
  /// The IDs of the answers so far.
  [[nodiscard]] std::vector<std::uint32_t> answered() const {
    std::vector<std::uint32_t> out;
    for (const Bytes& one : said)
      if ((ike::parse_header(one).value().header.flags & ike::kFlagResponse) != 0) out.push_back(id_of(one));
    return out;
  }
  [[nodiscard]] const Bytes& answer(std::uint32_t id) const {
    const auto it = std::ranges::find(said, id, id_of);
    REQUIRE(it != said.end());
    return *it;
  }
  [[nodiscard]] ikev2::Message inside(std::uint32_t id) const {
    const auto m = peer.opened(answer(id));
    REQUIRE(m);
    return *m;
  }
  [[nodiscard]] std::size_t dropped(Reason reason) const { return b.counted(ike::Exchange::Informational, reason); }
};

}  // namespace culvert::test

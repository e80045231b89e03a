// What phase 2 can agree on besides a plain ESP tunnel: AH, transport mode, extended sequence numbers, one group after the other; and the
// limits that an algorithm sets.
#include <catch2/catch.hpp>

#include "control/ikev1/identity.hpp"
#include "control/ikev1/proposal.hpp"
#include "tests/exchange/insider.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {
using Change = std::function<void(config::GatewayConfig&, config::GatewayConfig&)>;

struct Ends {
  World world;
  Pair pair;
  explicit Ends(const Change& change) : pair(two_sites(world, change)) {
    world.record = true;
    pair.a.start();
    pair.b.start();
  }
  [[nodiscard]] bool up() {
    return world.run_until([&] { return pair.a.current_out("net") && pair.b.current_out("net") && pair.a.up() && pair.b.up(); }, 10s);
  }
};
Change both(const std::function<void(config::Child&)>& change) {
  return [=](auto& a, auto& b) {
    change(a.connections[0].children[0]);
    change(b.connections[0].children[0]);
  };
}
/// A's outbound SA is B's inbound one.
void require_same_keys(const Ends& ends) {
  for (const auto& [from, to] : {std::pair(&ends.pair.a, &ends.pair.b), std::pair(&ends.pair.b, &ends.pair.a)}) {
    const ike::InstallSa& out = from->current_out("net")->sa;
    const ike::InstallSa& in = to->inbound.at(out.spi.value).sa;
    REQUIRE(out.encr_key == in.encr_key);
    REQUIRE(out.integ_key == in.integ_key);
    REQUIRE(out.suite == in.suite);
    REQUIRE(out.mode == in.mode);
  }
}
void transport(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) {
    config::Child& c = g->connections[0].children[0];
    c.mode = SaMode::Transport;
    c.local_ts = TrafficSelector::from({g->connections[0].local_addrs[0], 32});
    c.remote_ts = TrafficSelector::from({g->connections[0].remote_addrs[0], 32});
  }
}
}  // namespace

TEST_CASE("AH, every algorithm: keys of the right size under AH's protocol number", "[quick_mode][rfc2407-4.4.3][rfc4302]") {
  for (const IntegInfo& i : integ_table()) {
    if (i.ikev1_auth == 0) continue;  // of IKEv2 only
    CAPTURE(i.name);
    Ends ends(both([&](config::Child& c) {
      c.esp_proposals.clear();
      c.ah_proposals = parse_ah_proposal(std::string(i.name) + "-ecp256").value();
    }));
    REQUIRE(ends.up());
    require_same_keys(ends);
    const ike::InstallSa& sa = ends.pair.a.current_out("net")->sa;
    CHECK(sa.suite.protocol == SaProtocol::Ah);
    CHECK(sa.encr_key.empty());
    CHECK(sa.integ_key.size() == i.key);
    const auto info = ends.pair.a.engine->ike_sas().at(0).children.at(0);
    CHECK(info.suite.protocol == SaProtocol::Ah);
    CHECK(info.suite.to_string() == std::string(i.name) + "-ecp256");
  }
}

TEST_CASE("every cipher: KEYMAT with its salt", "[quick_mode][rfc3686-5.1][rfc4106-8.1][rfc4309-7.1][rfc4543-5.2][attack-C1]") {
  for (const EncrInfo& e : encr_table()) {
    if (e.ikev1_esp == 0) continue;  // of IKEv2 only
    CAPTURE(e.name);
    const std::string text = std::string(e.name) + (e.aead() ? "" : "-sha512");
    Ends ends(both([&](config::Child& c) { c.esp_proposals = parse_esp_proposal(text).value(); }));
    REQUIRE(ends.up());
    require_same_keys(ends);
    const ike::InstallSa& sa = ends.pair.b.current_out("net")->sa;
    CHECK(sa.suite.to_string() == text);
    CHECK(sa.encr_key.size() == e.key_bytes() + e.salt);
    CHECK(sa.integ_key.size() == (e.aead() ? 0 : 64));
  }
}

TEST_CASE("ESP where the peer has no AH, AH where it has no ESP", "[quick_mode][rfc2408-4.2]") {
  const bool ah = GENERATE(false, true);
  Ends ends([&](auto& a, auto& b) {
    a.connections[0].children[0].ah_proposals = parse_ah_proposal("sha256").value();
    if (ah) {
      b.connections[0].children[0].esp_proposals.clear();
      b.connections[0].children[0].ah_proposals = parse_ah_proposal("sha512-sha256").value();
    }
  });
  REQUIRE(ends.up());
  require_same_keys(ends);
  CHECK(ends.pair.a.current_out("net")->sa.suite.to_string() == (ah ? "sha256" : "aes128gcm16"));
}

TEST_CASE("AH through a NAT is refused, in words", "[quick_mode][rfc3947-1]") {
  Ends ends([](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].children[0].esp_proposals.clear();
      g->connections[0].children[0].ah_proposals = parse_ah_proposal("sha256").value();
    }
    a.connections[0].encap = true;
  });
  ends.world.run(5s);
  CHECK(ends.pair.a.counted(Exchange::QuickMode, Reason::NoProposalChosen) >= 1);
  CHECK(ends.pair.a.inbound.empty());
  CHECK(ends.pair.b.inbound.empty());
}

TEST_CASE("a Delete names the protocol, and one for another protocol means another SA", "[informational][rfc2408-3.15]") {
  Ends ends(both([](config::Child& c) {
    c.esp_proposals.clear();
    c.ah_proposals = parse_ah_proposal("sha256").value();
  }));
  REQUIRE(ends.up());
  const bool right = GENERATE(false, true);
  ikev1::Builder b;
  Writer w;
  w.be(ends.pair.a.current_out("net")->sa.spi.value);
  b.add(ikev1::Delete{ikev1::kIpsecDoi, right ? ikev1::kProtoAh : ikev1::kProtoEsp, 4, {std::move(w).take()}});
  ends.world.deliver(Insider(ends.world).informational(b, true));
  ends.world.run(100ms);
  CHECK(ends.pair.a.reports(Reason::DeletedByPeer).size() == (right ? 1 : 0));
  CHECK(ends.pair.a.reports(Reason::UnknownSa).size() == (right ? 0 : 1));
  // And ours, when an operator ends it: the peer removes its half at once.
  Ends again(both([](config::Child& c) {
    c.esp_proposals.clear();
    c.ah_proposals = parse_ah_proposal("sha256").value();
  }));
  REQUIRE(again.up());
  again.pair.a.engine->terminate(again.world.now, "c", "net");
  again.pair.a.perform();
  again.world.run(100ms);
  CHECK(again.pair.b.inbound.empty());
}

TEST_CASE("transport mode where both ask for it, tunnel mode where the initiator does", "[quick_mode][rfc2407-4.5]") {
  const bool udp = GENERATE(false, true), initiator_asks = GENERATE(false, true);
  CAPTURE(udp, initiator_asks);
  Ends ends([&](auto& a, auto& b) {
    transport(a, b);
    if (!initiator_asks) a.connections[0].children[0].mode = SaMode::Tunnel;
    a.connections[0].encap = b.connections[0].encap = udp;
  });
  REQUIRE(ends.up());
  require_same_keys(ends);
  const ike::InstallSa& sa = ends.pair.a.current_out("net")->sa;
  CHECK(sa.mode == (initiator_asks ? SaMode::Transport : SaMode::Tunnel));
  CHECK((sa.local.port != 0) == udp);
  CHECK(ends.pair.b.engine->ike_sas().at(0).children.at(0).mode == sa.mode);
}

TEST_CASE("a responder that wants tunnel mode refuses transport mode", "[quick_mode][rfc2407-4.5]") {
  Ends ends([&](auto& a, auto& b) {
    transport(a, b);
    b.connections[0].children[0].mode = SaMode::Tunnel;
  });
  ends.world.run(3s);
  CHECK(ends.pair.b.counted(Exchange::QuickMode, Reason::NoProposalChosen) >= 1);
  CHECK(ends.pair.a.inbound.empty());
}

TEST_CASE("extended sequence numbers: only where both want them", "[quick_mode][rfc4304]") {
  const auto [ours, theirs, agreed] = GENERATE(table<const char*, const char*, const char*>({
      {"aes128gcm16-esn", "aes128gcm16-esn", "aes128gcm16-esn"},
      {"aes128gcm16-esn-noesn", "aes128gcm16", "aes128gcm16"},
      {"aes128gcm16", "aes128gcm16-esn-noesn", "aes128gcm16"},
      {"aes256-sha256-noesn-esn", "aes256-sha256-esn", "aes256-sha256-esn"},
      {"aes128gcm16-esn", "aes128gcm16", nullptr},
  }));
  CAPTURE(ours, theirs);
  Ends ends([&](auto& a, auto& b) {
    a.connections[0].children[0].esp_proposals = parse_esp_proposal(ours).value();
    b.connections[0].children[0].esp_proposals = parse_esp_proposal(theirs).value();
  });
  if (!agreed) {
    ends.world.run(3s);
    CHECK(ends.pair.b.counted(Exchange::QuickMode, Reason::NoProposalChosen) >= 1);
    return;
  }
  REQUIRE(ends.up());
  require_same_keys(ends);
  CHECK(ends.pair.a.current_out("net")->sa.suite.to_string() == agreed);
  CHECK(ends.pair.a.current_out("net")->sa.replay_window >= 64);  // never without a window [attack-C4]
}

TEST_CASE("PFS: the next group where the peer does not take the first", "[quick_mode][rfc2409-5.5]") {
  Ends ends([](auto& a, auto& b) {
    a.connections[0].children[0].esp_proposals = parse_esp_proposal("aes128gcm16-modp2048-ecp384-ecp256").value();
    b.connections[0].children[0].esp_proposals = parse_esp_proposal("aes128gcm16-ecp256").value();
  });
  REQUIRE(ends.up());
  require_same_keys(ends);
  CHECK(ends.pair.a.current_out("net")->sa.suite.pfs == DhGroup::Ecp256);
  CHECK(ends.pair.b.counted(Exchange::QuickMode, Reason::NoProposalChosen) == 2);
  CHECK(ends.pair.a.counted(Exchange::QuickMode, Reason::PeerNoProposal) == 0);  // no exchange of ours has failed for good
  CHECK(ends.pair.a.inbound.size() == 1);
  CHECK(ends.pair.a.spis.size() == 1);
  // A successor begins with the group that the peer has.
  ends.pair.a.engine->rekey(ends.world.now, "c", "net", false);
  ends.pair.a.perform();
  ends.world.run(2s);
  CHECK(ends.pair.a.counted(Exchange::QuickMode, Reason::Ok) == 2);
  CHECK(ends.pair.b.counted(Exchange::QuickMode, Reason::NoProposalChosen) == 2);
}

TEST_CASE("PFS: no group is left", "[quick_mode][rfc2409-5.5]") {
  Ends ends([](auto& a, auto& b) {
    a.connections[0].children[0].esp_proposals = parse_esp_proposal("aes128gcm16-modp2048-ecp384").value();
    b.connections[0].children[0].esp_proposals = parse_esp_proposal("aes128gcm16-ecp256").value();
  });
  ends.world.run(3s);
  CHECK(ends.pair.b.counted(Exchange::QuickMode, Reason::NoProposalChosen) == 2);
  CHECK(ends.pair.a.counted(Exchange::QuickMode, Reason::PeerNoProposal) == 1);
  CHECK(ends.pair.a.inbound.empty());
  CHECK(ends.pair.a.spis.empty());
}

TEST_CASE("what one pair of keys may protect", "[quick_mode][attack-J9][attack-J6]") {
  const auto [suite, bytes, packets] = GENERATE(table<const char*, std::uint64_t, std::uint64_t>({
      {"3des-sha1", 1'000'000'000, 0xffffffff},
      {"des-md5", 1'000'000'000, 0xffffffff},
      {"aes128gcm16", 0, 0xffffffff},
      {"aes128gcm16-esn", 0, 0xffffffff},  // the counter of the mode
      {"aes128ctr-sha256-esn", 0, 0xffffffff},
      {"aes256-sha256", 0, 0xffffffff},
      {"aes256-sha256-esn", 0, 0},
  }));
  CAPTURE(suite);
  Ends ends(both([&](config::Child& c) { c.esp_proposals = parse_esp_proposal(suite).value(); }));
  REQUIRE(ends.up());
  for (const ike::InstallSa* sa :
       std::initializer_list<const ike::InstallSa*>{&ends.pair.a.current_out("net")->sa, &ends.pair.b.inbound.begin()->second.sa}) {
    CHECK(sa->hard_bytes == bytes);
    CHECK(sa->soft_bytes <= bytes / 10 * 9);
    CHECK((sa->soft_bytes != 0) == (bytes != 0));
    CHECK(sa->hard_packets == packets);
    CHECK(sa->soft_packets <= packets / 10 * 9);  // rekeyed before it ends
    CHECK((sa->soft_packets != 0) == (packets != 0));
  }
}

TEST_CASE("what is configured stays below what the algorithm allows", "[quick_mode][attack-J9]") {
  Ends ends(both([&](config::Child& c) {
    c.esp_proposals = parse_esp_proposal("3des-sha1").value();
    c.rekey_bytes = 5'000'000'000;
    c.life_bytes = 6'000'000'000;
    c.rekey_packets = 1000;
    c.life_packets = 1100;
  }));
  REQUIRE(ends.up());
  const ike::InstallSa& sa = ends.pair.a.current_out("net")->sa;
  CHECK(sa.hard_bytes == 1'000'000'000);
  CHECK(sa.soft_bytes == 900'000'000);
  CHECK(sa.hard_packets == 1100);
  CHECK(sa.soft_packets == 990);
}

TEST_CASE("transport mode with any suite goes before tunnel mode with a better one", "[quick_mode][rfc2407-4.5]") {
  Ends ends([](auto& a, auto& b) {
    transport(a, b);
    b.connections[0].children[0].esp_proposals = parse_esp_proposal("aes256gcm16-aes128gcm16").value();
  });
  REQUIRE(ends.up());
  const auto& child = ends.pair.a.config.connections[0].children[0];
  const auto better = parse_esp_proposal("aes256gcm16").value(), worse = parse_esp_proposal("aes128gcm16").value();
  ikev1::Sa offer = ikev1::build_esp_offer({better, Spi{0x4711}, ikev1::Encapsulation::Tunnel, 3600, 0});
  offer.proposals[0].transforms.push_back(
      ikev1::build_esp_offer({worse, Spi{0x4711}, ikev1::Encapsulation::Transport, 3600, 0}).proposals[0].transforms[0]);
  offer.proposals[0].transforms[1].number = 2;
  ikev1::Builder message;
  message.add(offer).add(ikev1::Nonce{Bytes(32, 7)}).add(*ikev1::to_proxy_id(child.local_ts)).add(*ikev1::to_proxy_id(child.remote_ts));
  const auto before = ends.pair.b.inbound;
  ends.world.deliver(Insider(ends.world).message(ike::kExchangeQuickMode, MessageId{0x4711}, message, false));
  ends.world.run(50ms);
  REQUIRE(ends.pair.b.inbound.size() == before.size() + 1);
  for (const auto& [spi, sa] : ends.pair.b.inbound) {
    if (before.contains(spi)) continue;
    CHECK(sa.sa.mode == SaMode::Transport);
    CHECK(sa.sa.suite.to_string() == "aes128gcm16");
  }
}

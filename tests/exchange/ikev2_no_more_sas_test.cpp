// NO_ADDITIONAL_SAS: a peer that takes no more under an IKE SA is begun anew with (RFC 7296 §1.3, §4), before what is there is over.
//
//   A                                                       B
//   CREATE_CHILD_SA (rekey, or new)                    -->  <--  N(NO_ADDITIONAL_SAS)
//   IKE_SA_INIT, IKE_AUTH: a new IKE SA with its CHILD SA  -->  <--  and the old one is deleted
#include <catch2/catch.hpp>

#include "control/ikev2/proposal.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_gateway.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::Builder;
using ikev2::NotifyType;

namespace {

TrafficSelector net_of(const std::string& text) { return TrafficSelector::parse(text).value(); }

/// B makes CHILD SAs in IKE_AUTH alone: there is no SPI left otherwise.
void minimal(World& world, Host& b) {
  world.hook = [&b](ike::Datagram& d) {
    const auto seen = ike::parse_header(d.data);
    const bool request = seen && (seen->header.flags & ike::kFlagResponse) == 0 && d.remote.address == IpAddress::parse("10.9.0.2").value();
    if (request && seen->header.exchange == ike::kExchangeAuth) b.spi_room = true;
    if (request && seen->header.exchange == ike::kExchangeCreateChildSa) b.spi_room = false;
    return true;
  };
}

bool no_gaps(const World& world) {
  for (const std::string& gap : world.gaps) UNSCOPED_INFO(gap);
  return world.gaps.empty();
}

/// So many IKE SAs it has had.
std::size_t begun(const Host& h) {
  const std::string all = h.transcript();
  std::size_t n = 0;
  for (std::size_t at = 0; (at = all.find("IKE SA established with", at)) != std::string::npos; ++at) ++n;
  return n;
}

/// A at 10.9.0.1, and its gateway, which has the keys, at 10.9.0.2.
struct AtGateway {
  World world;
  Host& a;
  InsiderGateway gateway;
  explicit AtGateway(const std::function<void(config::Connection&)>& change)
      : a(world.add("A", of(change))), gateway(world, IpAddress::parse("10.9.0.2").value()) {}
  static config::GatewayConfig of(const std::function<void(config::Connection&)>& change) {
    auto c = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
    c.connections[0].version = 2;
    c.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    c.connections[0].dpd_delay = config::Seconds{0};
    change(c.connections[0]);
    return c;
  }
  /// IKE_SA_INIT and IKE_AUTH with a CHILD SA; false: A has not begun.
  bool serve(std::uint32_t spi) {
    const auto asked = gateway.meet();
    if (!asked || gateway.exchange != ike::kExchangeAuth) return false;
    contact = asked->notify(NotifyType::InitialContact) != nullptr;
    const ikev2::IdR id{ikev2::IdType::Ipv4Addr, {10, 9, 0, 2}};
    Builder b;
    b.add(id).add(gateway.proof(id, as_bytes("secret")));
    b.add(ikev2::build_child_offer(parse_esp_proposal("aes128gcm16").value(), Spi{spi}, false));
    gateway.answer(b.add(ikev2::TsI{{net_of("10.1.0.0/24")}, 0}).add(ikev2::TsR{{net_of("10.2.0.0/24")}, 0}));
    world.run(100ms);
    return a.current_out("net") != nullptr && a.current_out("net")->sa.spi == Spi{spi};
  }
  bool contact = false;  ///< A has said INITIAL_CONTACT
};

}  // namespace

TEST_CASE("NO_ADDITIONAL_SAS to a rekeying of a CHILD SA: a new IKE SA with it, before it is over", "[ikev2][no_more_sas][rfc7296-4]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) g->connections[0].children[0].rekey_time = g == &a ? config::Seconds{60} : config::Seconds{7200};
    a.connections[0].children[0].rand_time = config::Seconds{5};
    a.connections[0].children[0].life_time = config::Seconds{90};
  });
  minimal(world, p.b);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
  world.begin_traffic();
  world.run(std::chrono::hours(1));
  INFO(p.a.transcript());
  CHECK(both_up(p));
  CHECK(no_gaps(world));
  CHECK(p.a.reports(Reason::Expired).empty());
  CHECK(p.a.engine->failures("c").empty());  // it is no failure
  CHECK(p.a.live_pairs() <= 2);
  CHECK(p.a.spis.size() == p.a.inbound.size());
  world.end_traffic();
}

TEST_CASE("NO_ADDITIONAL_SAS to a new CHILD SA where nothing is up: a new IKE SA with it", "[ikev2][no_more_sas][rfc7296-4]") {
  World world;
  const Pair p = two_v2(world);
  minimal(world, p.b);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
  world.run(1s);
  p.b.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "net").ok); });
  REQUIRE(world.run_until([&] { return !p.a.current_out("net"); }, 5s));
  const bool again = world.run_until([&] { return both_up(p); }, 60s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(again);
  world.run(100s);
  CHECK(p.a.engine->ike_sas().size() == 1);
  CHECK(p.b.engine->ike_sas().size() == 1);
}

TEST_CASE("NO_ADDITIONAL_SAS to one CHILD SA too many: what is up stays, and it is not begun anew again and again",
          "[ikev2][no_more_sas][rfc7296-4]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    a.connections[0].children.push_back(child("more", "10.1.1.0/24", "10.2.1.0/24", "aes128gcm16", config::StartAction::Start));
    b.connections[0].children.push_back(child("more", "10.2.1.0/24", "10.1.1.0/24", "aes128gcm16", config::StartAction::None));
  });
  minimal(world, p.b);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
  world.begin_traffic();
  world.run(std::chrono::minutes(40));
  INFO(p.a.transcript());
  CHECK(both_up(p));
  CHECK(no_gaps(world));
  CHECK(begun(p.a) == 2);
  CHECK(failure_of(p.a) == "The peer refused with NO_ADDITIONAL_SAS.");
  world.end_traffic();
}

TEST_CASE("NO_ADDITIONAL_SAS to a rekeying of the IKE SA: a new one, and then a Delete of the old one", "[ikev2][no_more_sas][rfc7296-4]") {
  AtGateway in([](auto& c) {
    c.rekey_time = config::Seconds{100};
    c.rand_time = config::Seconds{0};
  });
  in.a.start();
  REQUIRE(in.serve(0x1111));
  CHECK(in.contact);
  in.world.run(99s);
  const auto rekey = in.gateway.next();
  REQUIRE(rekey);
  CHECK(in.gateway.exchange == ike::kExchangeCreateChildSa);
  CHECK_FALSE(rekey->find<ikev2::TsI>());
  in.gateway.answer(Builder().notify(NotifyType::NoAdditionalSas));
  const bool served = in.serve(0x2222);
  INFO(in.a.transcript());
  REQUIRE(served);
  CHECK_FALSE(in.contact);
  CHECK(in.a.inbound.size() == 2);
  in.world.run(20s);  // the gateway answers no Delete
  REQUIRE(in.a.current_out("net"));
  CHECK(in.a.current_out("net")->sa.spi == Spi{0x2222});
  CHECK(in.a.reports(Reason::Expired).empty());
}

TEST_CASE("NO_ADDITIONAL_SAS to a responder that cannot begin: as ever", "[ikev2][no_more_sas]") {
  World world;
  const Pair p = two_v2(world, [](auto&, auto& b) {
    b.connections[0].remote_addrs.clear();
    b.connections[0].dpd_delay = config::Seconds{0};
    b.connections[0].rekey_time = config::Seconds{60};
    b.connections[0].rand_time = config::Seconds{0};
  });
  p.b.start();
  InsiderV2 peer(world, p.b, IpAddress::parse("10.9.0.66").value());
  REQUIRE(peer.connect(net_of("10.1.0.0/24"), net_of("10.2.0.0/24")));
  world.run(61s);
  const auto asked = peer.asked();
  REQUIRE(asked);
  CHECK(asked->header.exchange == ike::kExchangeCreateChildSa);
  peer.answer(*asked, Builder().notify(NotifyType::NoAdditionalSas));
  world.run(100ms);
  CHECK(failure_of(p.b) == "The peer refused to rekey the IKE SA with NO_ADDITIONAL_SAS.");
  CHECK(p.b.engine->ike_sas().size() == 1);
}

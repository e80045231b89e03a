// VRFs between the engine and the data plane: what SAs and policies say of them, and which SAs of a former culvertd may stay.
#include "tests/unit/control/gateway_fixture.hpp"

namespace culvert::control {

namespace {
struct VrfFixture : GatewayFixture {
  shm::SaSnapshot record(Direction direction) {
    shm::SaSnapshot out;
    for (const shm::SaRecord& r : gateway->link()->segment().records(direction))
      if (shm::read_record(r, out)) return out;
    return {};
  }
};
}  // namespace

TEST_CASE_METHOD(VrfFixture, "vrfs: an SA has its child's VRF inside and its connection's outside", "[gateway][vrf]") {
  config.vrfs = {"red", "blue"};
  config.connections[0].vrf = {"blue", 2};
  config.connections[0].children[0].vrf = {"red", 1};
  restart();
  attach();
  bring_up(1);
  for (const Direction d : {Direction::Inbound, Direction::Outbound}) {
    const shm::SaSnapshot sa = record(d);
    CHECK(sa.spi.value != 0);
    CHECK((sa.vrf == 1 && sa.local.vrf == 2 && sa.remote.vrf == 2));
  }
  const auto shown = ask(R"({"command":"list-conns"})").at("result").at("connections").as_array().at(0).as_object();
  CHECK(shown.at("vrf") == "blue");
  CHECK(shown.at("children").as_array().at(0).at("vrf") == "red");
  CHECK(shown.at("children").as_array().at(1).at("vrf") == "default");
}

TEST_CASE_METHOD(VrfFixture, "vrfs: an SA of a former culvertd goes where its child is of another VRF now", "[gateway][vrf]") {
  attach();
  bring_up(1);
  dp->drop_client();
  config.vrfs = {"red"};
  const bool outside = GENERATE(true, false);
  (outside ? config.connections[0].vrf : config.connections[0].children[0].vrf) = {"red", 1};
  restart();
  attach();
  CHECK(test::engine().orphans.empty());
  CHECK(dp->installed(Direction::Inbound) == 0);
  CHECK(dp->installed(Direction::Outbound) == 0);
}

}  // namespace culvert::control

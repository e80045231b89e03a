// Which worker an SA goes to, from the engine's wish to the data plane's record.
#include "tests/unit/control/gateway_fixture.hpp"

namespace culvert::control {

TEST_CASE_METHOD(GatewayFixture, "an SA that is for one worker goes to that one, any other by its slot", "[gateway][rfc9611]") {
  attach();
  const auto worker_of = [&](Spi spi) {
    const shm::SaRecord* record = gateway->record(Direction::Inbound, spi, 0);
    shm::SaSnapshot sa;
    REQUIRE((record != nullptr && shm::read_record(*record, sa)));
    return sa.worker;
  };
  for (const std::uint16_t worker : std::initializer_list<std::uint16_t>{1, 0, 1}) {
    const Spi spi = *test::engine().services->allocate_spi();
    ike::InstallSa sa = install(100U + spi.value, Direction::Inbound, spi, spi.value);
    sa.worker = worker;
    test::engine().actions = {sa};
    gateway->on_timer(now);
    settle();
    CHECK(worker_of(spi) == worker);
  }
  CHECK(worker_of(bring_up(1)) == 3 % 2);
}

}  // namespace culvert::control

// What the gateway asks the data plane, or reads in its segment, for an operator's sake.
#include <utility>

#include "common/config/selectors.hpp"
#include "control/gateway.hpp"

namespace culvert::control {

std::shared_ptr<const Gateway::Forecast> Gateway::trace_packet(ike::TimePoint now, shm::TracePacket question) {
  if (!link_) return nullptr;
  question.id = ++last_forecast_;
  auto forecast = std::make_shared<Forecast>();
  forecasts_[question.id] = forecast;
  link_->commands().send(question, now, [this, forecast, id = question.id](const Outcome& o) {
    forecast->outcome = o;
    forecasts_.erase(id);
  });
  link_->flush();
  return forecast;
}

const shm::SaRecord* Gateway::record(Direction direction, Spi spi, std::uint64_t pair) const {
  if (!link_) return nullptr;
  const SaEntry* e = store_.find(direction, spi, pair);
  if (e == nullptr || (e->state != SlotState::Live && e->state != SlotState::Leaving)) return nullptr;
  return &link_->segment().records(direction)[e->slot];
}

const SaEntry* Gateway::newest_inbound(const std::string& connection, const std::string& child) const {
  const SaEntry* newest = nullptr;
  std::uint64_t installed = 0;
  if (!link_) return nullptr;
  store_.each([&](const SaEntry& e) {
    if (e.direction != Direction::Inbound || e.state != SlotState::Live || e.connection != connection || !config::is_child(e.child, child))
      return;
    shm::SaSnapshot sa;
    if (!shm::read_record(link_->segment().records(e.direction)[e.slot], sa) || sa.installed_ns < installed) return;
    newest = &e;
    installed = sa.installed_ns;
  });
  return newest;
}

}  // namespace culvert::control

// What the gateway asks the data plane, or reads in its segment, for an operator's sake.
#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

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

Gateway::~Gateway() {
  if (const auto running = capture_.lock()) running->gateway = nullptr;
}

Gateway::RunningCapture::~RunningCapture() {
  if (gateway == nullptr || !gateway->link_ || ended) return;
  gateway->link_->commands().send(shm::Capture{}, gateway->now_, {});
  gateway->link_->flush();
}

std::expected<std::shared_ptr<Gateway::RunningCapture>, std::string> Gateway::capture(ike::TimePoint now, shm::Capture wanted) {
  if (!link_) return std::unexpected("the data plane is not attached");
  if (const auto running = capture_.lock(); running && !running->ended)
    return std::unexpected(fmt::format("packets of {} are being captured: one capture at a time", running->name));
  auto running = std::make_shared<RunningCapture>();
  running->gateway = this;
  running->id = wanted.id = std::max(1U, ++last_capture_);
  running->name = wanted.name.view();
  running->missed_before = link_->captures_missed();
  capture_ = running;
  link_->commands().send(wanted, now, [weak = capture_](const Outcome& o) {
    if (const auto begun = weak.lock(); begun && !o.ok()) begun->ended = "the data plane does not capture: " + o.text();
  });
  link_->flush();
  return running;
}

std::optional<shm::Captured> Gateway::next_captured(const RunningCapture& running) {
  while (link_) {
    auto copy = link_->next_captured();
    if (!copy || copy->capture == running.id) return copy;  // others are of a capture before this one
  }
  return std::nullopt;
}

std::vector<VrfId> Gateway::other_vrfs_of(const IpAddress& peer, VrfId vrf) const {
  std::set<VrfId> found;
  const auto failed = [&](const std::vector<ike::Failure>& failures) {
    for (const ike::Failure& f : failures)
      if (f.peer && f.peer->address == peer) found.insert(f.peer->vrf);
  };
  for (const config::Connection& c : config_.connections) {
    if (c.names(peer)) found.insert(c.vrf.id);
    failed(failures(c.name));
  }
  failed(strangers());
  for (const ike::IkeSaInfo& sa : ike_sas())
    if (sa.remote.address == peer) found.insert(sa.remote.vrf);
  found.erase(vrf);
  return {found.begin(), found.end()};
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

#include "tests/support/fake_engine.hpp"

#include <algorithm>
#include <utility>

namespace culvert::test {

namespace {
FakeEngine the_engine;
}

FakeEngine& engine() { return the_engine; }
void reset_engine() { the_engine = {}; }
std::size_t FakeEngine::count(const std::string& call) const { return static_cast<std::size_t>(std::ranges::count(calls, call)); }

}  // namespace culvert::test

namespace culvert::ike {

using test::engine;

class Engine::Impl {};

Engine::Engine(const config::GatewayConfig&, Services& services) { engine().services = &services; }
Engine::~Engine() = default;
void Engine::start(TimePoint, std::vector<OrphanSa> orphans) {
  engine().calls.emplace_back("start");
  engine().orphans = std::move(orphans);
}
void Engine::on_datagram(TimePoint, const Datagram& datagram) {
  engine().datagrams.push_back(datagram);
  if (engine().on_datagram) engine().on_datagram();
}
void Engine::on_timer(TimePoint) { engine().calls.emplace_back("on_timer"); }
void Engine::on_dh(TimePoint, DhResult result) { engine().dh.push_back(std::move(result)); }
void Engine::on_signed(TimePoint, SignResult) { engine().calls.emplace_back("on_signed"); }
void Engine::on_verified(TimePoint, VerifyResult) { engine().calls.emplace_back("on_verified"); }
void Engine::on_user_checked(TimePoint, const UserChecked&) { engine().calls.emplace_back("on_user_checked"); }
void Engine::on_radius(TimePoint, const RadiusAnswer& answer) { engine().radius.push_back(answer); }
void Engine::on_user_found(TimePoint, UserFound) { engine().calls.emplace_back("on_user_found"); }
void Engine::on_tls(TimePoint, TlsStepped) { engine().calls.emplace_back("on_tls"); }
void Engine::on_name(TimePoint, const NameFound&) { engine().calls.emplace_back("on_name"); }
void Engine::on_installed(TimePoint, JobId job, bool ok, const std::string& error) { engine().installed.push_back({job, ok, error}); }
void Engine::on_acquire(TimePoint, const std::string& connection, const std::string& child, const std::optional<Flow>&) {
  engine().calls.push_back("on_acquire " + connection + "/" + child);
}
void Engine::on_expired(TimePoint, const SaExpired& expired) { engine().expired.push_back(expired); }
void Engine::on_moved(TimePoint, const PairMoved& moved) { engine().moved.push_back(moved); }
void Engine::on_traffic(TimePoint, Spi inbound, TimePoint) { engine().traffic.push_back(inbound); }
void Engine::on_dataplane_lost(TimePoint) { engine().calls.emplace_back("on_dataplane_lost"); }

namespace {
CommandResult command(std::string call) {
  engine().calls.push_back(std::move(call));
  if (engine().on_command) engine().on_command();
  return engine().answer;
}
}  // namespace
CommandResult Engine::initiate(TimePoint, const std::string& connection, const std::string& child) {
  return command("initiate " + connection + "/" + child);
}
CommandResult Engine::redirect(TimePoint, const std::string& connection, const std::optional<config::GatewayName>& to,
                               const std::string& peer, bool newcomers) {
  return command("redirect " + connection + (to ? " to " + to->to_string() : " off") + (peer.empty() ? "" : " of " + peer) +
                 (newcomers ? " and newcomers" : ""));
}
CommandResult Engine::reauthenticate(TimePoint, const std::string& connection, const std::string& peer) {
  return command("reauthenticate " + connection + (peer.empty() ? "" : " of " + peer));
}
CommandResult Engine::sync_counters(TimePoint, const std::string& connection, const std::string& peer) {
  return command("sync-counters " + connection + (peer.empty() ? "" : " of " + peer));
}
CommandResult Engine::terminate(TimePoint, const std::string& connection, const std::string& child, const std::string& peer) {
  return command("terminate " + connection + "/" + child + (peer.empty() ? "" : " of " + peer));
}
CommandResult Engine::rekey(TimePoint, const std::string& connection, const std::string& child, bool ike, const std::string& peer) {
  return command("rekey " + connection + "/" + child + (ike ? " ike" : "") + (peer.empty() ? "" : " of " + peer));
}
void Engine::shutdown(TimePoint) { engine().calls.emplace_back("shutdown"); }
std::optional<TimePoint> Engine::deadline() const { return engine().deadline; }
std::vector<Action> Engine::take_actions() { return std::exchange(engine().actions, {}); }
std::vector<IkeSaInfo> Engine::ike_sas() const { return engine().sas; }
std::size_t Engine::newcomers() const { return engine().newcomers; }
std::uint64_t Engine::selectors_left_out() const { return 0; }
std::vector<LonePairs> Engine::lone_pairs() const { return engine().lone; }
std::vector<PoolInfo> Engine::pools() const { return engine().pools; }
std::vector<ConnectionStatus> Engine::connections(const std::string& only) const {
  auto out = engine().connections;
  std::erase_if(out, [&](const ConnectionStatus& c) { return !only.empty() && c.connection != only; });
  return out;
}
FailureBook::Counts Engine::failure_counts() const { return engine().failure_counts; }
bool Engine::watch(TimePoint now, Watch watch) { return engine().watches.add(now, std::move(watch)); }
bool Engine::unwatch(TimePoint now, const Watch& target) { return engine().watches.remove(now, target); }
std::vector<Watch> Engine::watches(TimePoint now) const { return engine().watches.active(now); }
bool Engine::watched(TimePoint now, const std::string& connection, const std::optional<Endpoint>& peer) const {
  return engine().watches.matches(now, connection, peer.value_or(Endpoint{}));
}
std::vector<Failure> Engine::failures(const std::string& connection) const { return engine().failures[connection]; }
std::vector<Failure> Engine::strangers() const { return engine().strangers; }

}  // namespace culvert::ike

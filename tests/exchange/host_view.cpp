// What a test asks of a host.
#include <algorithm>
#include <sstream>

#include "tests/exchange/world.hpp"

namespace culvert::test {

std::vector<ike::Report> Host::reports(Reason reason) const {
  std::vector<ike::Report> out;
  for (const ike::Report& r : log)
    if (r.reason == reason) out.push_back(r);
  return out;
}

std::size_t Host::counted(ike::Exchange exchange, Reason reason) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(log, [&](const ike::Report& r) { return r.count && r.exchange == exchange && r.reason == reason; }));
}

bool Host::up(const std::string& connection, const std::string& wanted) const {
  for (const ike::ConnectionStatus& c : engine->connections())
    if (c.connection == connection)
      for (const ike::ChildStatus& s : c.children)
        if (s.child == wanted) return s.up;
  return false;
}

std::size_t Host::established() const {
  const auto sas = engine->ike_sas();
  return static_cast<std::size_t>(std::ranges::count_if(
      sas, [](const ike::IkeSaInfo& s) { return s.state == ike::IkeState::Established || s.state == ike::IkeState::Rekeyed; }));
}

std::size_t Host::live_pairs(const std::string& wanted) const {
  std::size_t n = 0;
  const auto count = [&](const std::vector<ike::ChildSaInfo>& children) {
    for (const ike::ChildSaInfo& c : children) n += c.child == wanted && c.state == ike::ChildState::Installed;
  };
  for (const ike::IkeSaInfo& sa : engine->ike_sas()) count(sa.children);
  for (const ike::LonePairs& lone : engine->lone_pairs()) count(lone.children);
  return n;
}

const PlaneSa* Host::current_out(const std::string& child, const std::string& remote_ts) const {
  const PlaneSa* first = nullptr;
  const auto look = [&](const PlaneSa& s) {
    const bool meant =
        s.sa.child == child && (!s.sa.own_policy || remote_ts.empty() || to_string(s.sa.remote_ts, s.sa.more.remote()) == remote_ts);
    if (meant && !s.sa.worker && (first == nullptr || s.entry > first->entry)) first = &s;
  };
  for (const auto& [spi, s] : inbound) look(s);
  for (const PlaneSa& s : outbound) look(s);
  return first == nullptr ? nullptr : current_of(policy_of(first->sa));
}

const PlaneSa* Host::current_of(const std::string& wanted) const {
  const auto it = current.find(wanted);
  if (it == current.end()) return nullptr;
  for (const PlaneSa& s : outbound)
    if (s.sa.pair == it->second) return &s;
  return nullptr;
}

std::string Host::transcript() const {
  std::ostringstream out;
  for (std::size_t i = 0; i < log.size(); ++i) {
    const ike::Report& r = log[i];
    out << times[i].time_since_epoch() / 1ms << " ms " << name << ": " << (r.exchange ? ike::name(*r.exchange) : "-") << ' '
        << (r.role == ike::Role::Initiator ? 'I' : 'R') << ' ' << ike::name(r.reason) << (r.count ? " [end] " : " ") << r.message << '\n';
  }
  return out.str();
}

}  // namespace culvert::test

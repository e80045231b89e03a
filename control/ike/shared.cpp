#include "control/ike/shared.hpp"

#include <algorithm>
#include <utility>

namespace culvert::ike {

namespace {
/// Lines about watched peers: so many at once, then so many a second.
constexpr double kTraceBurst = 400, kTracePerSecond = 100;
constexpr std::size_t kRefusalsRemembered = 64;  ///< so that a peer's retransmissions make one report, not eight

std::uint64_t number(ByteView bytes) {
  std::uint64_t v = 0;
  for (const std::uint8_t b : bytes) v = v << 8 | b;
  return v;
}

Failure record(TimePoint now, const Subject& about, Reason reason, const std::string& message, Cause cause) {
  Failure out;
  out.when = out.first = now;
  out.exchange = about.exchange;
  out.role = about.role;
  out.reason = reason;
  out.by = cause.by.value_or(usual_refuser(reason));
  out.message = message;
  out.child = about.child;
  out.peer = about.peer;
  out.cause = std::move(cause);
  return out;
}

Report report(Severity severity, const Subject& about, Reason reason, bool count, std::string message) {
  return {severity, about.connection, about.child, about.peer, about.exchange, about.role, reason, count, std::move(message)};
}
}  // namespace

bool LineBudget::take(TimePoint now, double burst, double per_second) {
  left_ = std::min(burst, left_ + std::chrono::duration<double>(now - at_).count() * per_second);
  at_ = now;
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

Shared::Shared(const config::GatewayConfig& configuration, Services& svc)
    : config(configuration), by_peer(configuration), services(svc), leases(configuration.pools) {
  // Pairs of a former culvertd are still in the data plane: ours must not share their numbers.
  last_pair_ = number(random(8)) >> 1;
}

Bytes Shared::random(std::size_t size) {
  Bytes out(size);
  services.random(out);
  return out;
}

IkeSpi Shared::new_spi() {
  IkeSpi spi;
  while (!spi) spi = IkeSpi{number(random(8))};
  return spi;
}

void Shared::say(Severity severity, const Subject& about, Reason reason, std::string message) {
  actions.emplace_back(report(severity, about, reason, false, std::move(message)));
}

void Shared::went_well(TimePoint now, const Subject& about, std::string message, bool any_peer) {
  const auto peer = any_peer || !about.peer ? std::nullopt : std::optional(about.peer->address);
  failures.mended(now, about.connection, about.child, peer, about.role.value_or(Role::Initiator));
  actions.emplace_back(report(Severity::Info, about, Reason::Ok, true, std::move(message)));
}

void Shared::failed(TimePoint now, const Subject& about, Reason reason, std::string message, Cause cause) {
  Failure failure = record(now, about, reason, message, std::move(cause));
  const bool heard = !failure.strangers() || refusal_lines_.take(now);
  failures.add(about.connection, std::move(failure));
  actions.emplace_back(report(heard ? Severity::Warn : Severity::Debug, about, reason, true, std::move(message)));
}

void Shared::lost(TimePoint now, const Subject& about, Reason reason, const std::string& message) {
  failures.add(about.connection, record(now, about, reason, message, {}));
}

void Shared::junk(TimePoint now, const Endpoint& peer, Exchange exchange, Reason reason, std::string message, Cause cause) {
  const bool heard = junk_lines_.take(now);
  const Subject about{{}, {}, peer, exchange, Role::Responder};
  failures.add_stranger(record(now, about, reason, message, std::move(cause)), heard);
  actions.emplace_back(report(heard ? Severity::Info : Severity::Debug, about, reason, true, std::move(message)));
}

void Shared::refused(TimePoint now, const std::string& connection, const Endpoint& peer, Exchange exchange, Reason reason,
                     std::string message, Cause cause) {
  const Subject about{connection, {}, peer, exchange, Role::Responder};
  failures.add(connection, record(now, about, reason, message, std::move(cause)));
  actions.emplace_back(report(refusal_lines_.take(now) ? Severity::Warn : Severity::Debug, about, reason, true, std::move(message)));
}

void Shared::redirected(const Subject& about, std::string message, std::optional<TimePoint> stranger) {
  const bool heard = !stranger || refusal_lines_.take(*stranger);
  actions.emplace_back(report(heard ? Severity::Info : Severity::Debug, about, Reason::Redirected, true, std::move(message)));
}

void Shared::not_spoken(TimePoint now, const Datagram& datagram, Reason reason, std::string message) {
  const auto options = by_peer.candidates(datagram.local, datagram.remote.address, 0);
  const config::Connection* meant = options.empty() ? nullptr : &config.connections[options.front()];
  if (!meant || meant->remote_addrs.empty())
    return junk(now, datagram.remote, Exchange::Informational, reason, std::move(message), {.number = 1});
  refused(now, meant->name, datagram.remote, Exchange::Informational, reason, std::move(message), {.number = 1});
}

void Shared::trace(TimePoint now, const std::string& name, const Endpoint& peer, std::string text) {
  if (!trace_lines_.take(now, kTraceBurst, kTracePerSecond)) {
    ++untraced_;
    return;
  }
  if (const auto left_out = std::exchange(untraced_, 0); left_out > 0)
    text += " (" + std::to_string(left_out) + " lines before this one are left out)";
  actions.emplace_back(report(Severity::Debug, {name, {}, peer, {}, {}}, {}, false, std::move(text)));
}

bool Shared::refused_before(std::size_t print) {
  if (std::ranges::find(refused_, print) != refused_.end()) return true;
  if (refused_.size() < kRefusalsRemembered)
    refused_.push_back(print);
  else
    refused_[next_refused_] = print;
  next_refused_ = (next_refused_ + 1) % kRefusalsRemembered;
  return false;
}

}  // namespace culvert::ike

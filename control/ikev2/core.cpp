#include "control/ikev2/core.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

#include "control/ikev2/traced.hpp"

namespace culvert::ikev2 {

Core::Core(ike::Shared& all) : shared(all), config(all.config), services(all.services) {
  for (std::size_t i = 0; i < config.connections.size(); ++i)
    if (config.connections[i].version == 2) runs_[i].children.resize(config.connections[i].children.size());
}

IkeSa* Core::find(SaId id) {
  const auto it = sas_.find(id);
  if (it == sas_.end() || it->second->dead) return nullptr;
  touch(*it->second);
  return it->second.get();
}

IkeSa& Core::add(std::unique_ptr<IkeSa> sa) {
  IkeSa& out = *sa;
  by_connection_[out.connection].insert(out.id);
  sas_[out.id] = std::move(sa);
  touch(out);
  return out;
}

void Core::drop(IkeSa& sa) {
  if (sa.dead) return;
  sa.dead = true;
  table.remove(sa.id);
  dead_.push_back(sa.id);
  if (!sa.lease.empty()) leases_in_doubt.insert(sa.connection);
  touch(sa.connection);
}

void Core::reassign(IkeSa& sa, std::size_t connection) {
  by_connection_[sa.connection].erase(sa.id);
  touch(sa.connection);
  sa.connection = connection;
  by_connection_[connection].insert(sa.id);
  touch(connection);
}

namespace {
/// Names compare without regard to case (RFC 4343 §3).
std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}
}  // namespace

void Core::identify(IkeSa& sa, std::string identity) {
  sa.remote_id = std::move(identity);
  by_identity_[{sa.connection, lower(sa.remote_id)}].insert(sa.id);
}

std::vector<IkeSa*> Core::sas_with(const IkeSa& sa, const std::string& identity) {
  if (!connection(sa).remote_addrs.empty()) return sas_of(sa.connection);
  const auto it = by_identity_.find({sa.connection, lower(identity)});
  return it == by_identity_.end() ? std::vector<IkeSa*>{} : living(it->second);
}

std::vector<IkeSa*> Core::sas_of(std::size_t connection) {
  const auto it = by_connection_.find(connection);
  return it == by_connection_.end() ? std::vector<IkeSa*>{} : living(it->second);
}

std::vector<IkeSa*> Core::living(const std::set<SaId>& ids) {
  std::vector<IkeSa*> out;
  for (const SaId id : ids)
    if (const auto sa = sas_.find(id); sa != sas_.end() && !sa->second->dead) out.push_back(sa->second.get());
  return out;
}

Run& Core::run(std::size_t connection) {
  touch(connection);
  return runs_.at(connection);
}

std::optional<Spi> Core::allocate_spi(SaId sa, std::uint64_t pair) {
  const auto spi = services.allocate_spi();
  if (spi) spis_[*spi] = {sa, pair};
  return spi;
}

void Core::release_spi(Spi spi) {
  if (spis_.erase(spi) > 0) services.release_spi(spi);
}

std::optional<std::pair<SaId, std::uint64_t>> Core::owner_of(Spi spi) const {
  const auto it = spis_.find(spi);
  return it == spis_.end() ? std::nullopt : std::optional(it->second);
}

JobId Core::add_job(JobOwner owner) {
  jobs_[++last_job_] = owner;
  return last_job_;
}

std::optional<JobOwner> Core::take_job(JobId id) {
  const auto it = jobs_.find(id);
  if (it == jobs_.end()) return std::nullopt;
  const JobOwner owner = it->second;
  jobs_.erase(it);
  return owner;
}

void Core::forget_installs() {
  std::erase_if(jobs_, [](const auto& job) { return job.second.install.has_value(); });
}

void Core::send_by(TimePoint now, IkeSa& sa, const Datagrams& message, const Path& path) {
  sa.last_sent = now;
  touch(sa);
  for (const Bytes& one : message) {
    if (!shared.watches.empty()) trace_sent(*this, now, sa, one);
    shared.actions.emplace_back(ike::SendDatagram{ike::frame(path.local, path.remote, one)});
  }
}

void Core::send_stateless(const ike::Datagram& to, ByteView message) {
  if (!shared.watches.empty()) trace_stateless(*this, to, message);
  shared.actions.emplace_back(ike::SendDatagram{ike::frame(to.local, to.remote, message)});
}

void Core::say(const IkeSa& sa, Severity severity, std::optional<Exchange> exchange, Reason reason, std::string message,
               std::optional<std::size_t> index) {
  shared.say(severity, {connection(sa).name, index ? child(sa, *index).name : std::string{}, sa.remote, exchange, sa.role}, reason,
             std::move(message));
}

namespace {
/// "Round 2 of 2 (remote-eap): " of what fails in one of several (RFC 4739).
std::string in_round(const Core& core, const IkeSa& sa, Exchange exchange) {
  const config::Connection& c = core.connection(sa);
  if (exchange != Exchange::IkeAuth || sa.established() || c.rounds.empty() || sa.pass || sa.resumed) return {};
  const config::Connection& r = core.proofs(sa);
  std::string sections = config::proves_local(c, sa.rounds.now) ? r.local_auth.place.section : "";
  if (config::proves_remote(c, sa.rounds.now)) sections += (sections.empty() ? "" : ", ") + r.remote_auth.place.section;
  return "Round " + std::to_string(sa.rounds.now + 1) + " of " + std::to_string(config::rounds_of(c)) + " (" + sections + "): ";
}
}  // namespace

void Core::ended(TimePoint now, const IkeSa& sa, Exchange exchange, Role role, Reason reason, std::string message,
                 std::optional<std::size_t> index, Cause cause) {
  touch(sa.connection);
  const ike::Subject about{connection(sa).name, index ? child(sa, *index).name : std::string{}, sa.remote, exchange, role};
  if (reason == Reason::Ok) return shared.went_well(now, about, std::move(message), !connection(sa).remote_addrs.empty());
  if (exchange == Exchange::IkeAuth && !sa.established()) cause.round = sa.rounds.now;
  shared.failed(now, about, reason, in_round(*this, sa, exchange) + message, std::move(cause));
}

void Core::settle(const Hooks& hooks) {
  std::set<std::size_t> driven;
  // What one round begins may touch others: a handful is always enough, and what is left the timers pick up.
  for (int round = 0; round < 4 && !(dirty_runs_.empty() && dirty_sas_.empty()); ++round) {
    const std::set<std::size_t> todo = std::exchange(dirty_runs_, {});
    for (const std::size_t index : todo)
      if (runs_.contains(index)) hooks.drive(index);
    driven.insert(todo.begin(), todo.end());
    const std::set<SaId> touched = dirty_sas_;
    for (const SaId id : touched)
      if (const auto it = sas_.find(id); it != sas_.end() && !it->second->dead) hooks.advance(*it->second);
    if (dirty_runs_.empty() && dirty_sas_ == touched) break;
  }
  driven.merge(std::exchange(dirty_runs_, {}));
  for (const std::size_t index : driven)
    if (runs_.contains(index)) timers_.arm({true, index}, hooks.run_deadline(index));
  for (const SaId id : std::exchange(dirty_sas_, {}))
    if (const auto it = sas_.find(id); it != sas_.end() && !it->second->dead) timers_.arm({false, id}, hooks.sa_deadline(*it->second));
  for (const SaId id : std::exchange(dead_, {})) {
    timers_.arm({false, id}, std::nullopt);
    const IkeSa& sa = *sas_.at(id);
    by_connection_[sa.connection].erase(id);
    const auto named = by_identity_.find({sa.connection, lower(sa.remote_id)});
    if (named != by_identity_.end() && named->second.erase(id) > 0 && named->second.empty()) by_identity_.erase(named);
    sas_.erase(id);
  }
}

Core::Expired Core::take_expired(TimePoint now) {
  Expired out;
  for (const auto& [of_run, id] : timers_.take_expired(now)) (of_run ? out.runs : out.sas).push_back(id);
  return out;
}

}  // namespace culvert::ikev2

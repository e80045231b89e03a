#include "control/ikev1/core.hpp"

#include <algorithm>

#include "control/ikev1/traced.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

namespace {
constexpr std::size_t kIpv4AndUdp = 28;  // of a datagram's packet

std::uint64_t number(ByteView bytes) {
  std::uint64_t v = 0;
  for (const std::uint8_t b : bytes) v = v << 8 | b;
  return v;
}

bool sends_fragments(const Core& core, const IsakmpSa& sa) {
  const config::Fragmentation configured = core.connection(sa).fragmentation;
  const Negotiated* negotiated = negotiated_of(sa);
  return configured == config::Fragmentation::Force ||
         (configured == config::Fragmentation::Yes && negotiated && negotiated->fragmentation);
}

/// Of a message that has to be cut; else none.
std::vector<Bytes> pieces_of(const Core& core, const IsakmpSa& sa, ByteView message) {
  if (!sends_fragments(core, sa)) return {};
  const std::size_t overhead = kIpv4AndUdp + (sa.local.port == ike::kNatPort ? ike::kNonEspMarker : 0);
  return cut_message(message, core.config.ike.fragment_size - overhead, static_cast<std::uint16_t>(ike::fingerprint(message)));
}
}  // namespace

Core::Core(ike::Shared& all)
    : shared(all),
      config(all.config),
      services(all.services),
      shutting_down(all.shutting_down),
      actions(all.actions),
      failures(all.failures),
      leases(all.leases),
      attempts(all.attempts),
      watches(all.watches) {
  for (const config::Connection& c : config.connections) {
    ConnectionRun& run = runs_[next_run_];
    run.connection = next_run_++;
    run.children.resize(c.children.size());
  }
}

IsakmpSa* Core::find(SaId id) {
  const auto it = sas_.find(id);
  if (it == sas_.end() || it->second->dead) return nullptr;
  touch(*it->second);
  return it->second.get();
}

std::vector<IsakmpSa*> Core::sas_of(std::size_t index) {
  std::vector<IsakmpSa*> out;
  if (const auto it = by_run_.find(index); it != by_run_.end())
    for (const SaId id : it->second)
      if (const auto s = sas_.find(id); s != sas_.end() && !s->second->dead) out.push_back(s->second.get());
  return out;
}

IsakmpSa& Core::add(std::unique_ptr<IsakmpSa> sa) {
  IsakmpSa& out = *sa;
  out.watched = !watches.empty();
  by_run_[out.connection].insert(out.id);
  sas_[out.id] = std::move(sa);
  touch(out);
  return out;
}

void Core::reassign(IsakmpSa& sa, std::size_t index) {
  by_run_[sa.connection].erase(sa.id);
  touch(sa.connection);
  sa.connection = index;
  by_run_[index].insert(sa.id);
  touch(index);
}

void Core::drop(IsakmpSa& sa) {
  if (sa.dead) return;
  sa.dead = true;
  table.remove(sa.id);
  by_run_[sa.connection].erase(sa.id);
  dead_.push_back(sa.id);
  touch(sa.connection);
  for (const IsakmpSa* sibling : sas_of(sa.connection)) touch(*sibling);  // it may be its turn now
}

ConnectionRun& Core::run(std::size_t index) {
  touch(index);
  return runs_.at(index);
}

std::vector<std::size_t> Core::runs_of(std::size_t index) const {
  std::vector<std::size_t> out{index};
  for (auto it = by_peer_.lower_bound({index, PeerKey{}}); it != by_peer_.end() && it->first.first == index; ++it)
    if (it->second != index) out.push_back(it->second);
  return out;
}

std::optional<std::size_t> Core::run_of_peer(std::size_t index, const PeerKey& key) const {
  const auto it = by_peer_.find({index, key});
  return it == by_peer_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<std::size_t> Core::add_run(std::size_t index, Peer peer) {
  if (runs_.size() - config.connections.size() >= kMaxRuns) return std::nullopt;
  const std::size_t id = next_run_++;
  ConnectionRun& run = runs_[id];
  run.connection = index;
  run.children.resize(config.connections.at(index).children.size());
  set_peer(id, std::move(peer));
  return id;
}

void Core::set_peer(std::size_t id, Peer peer) {
  forget_peer(id);
  ConnectionRun& run = this->run(id);
  by_peer_[{run.connection, peer.key}] = id;
  run.peer = std::move(peer);
}

void Core::forget_peer(std::size_t id) {
  ConnectionRun& run = runs_.at(id);
  if (!run.peer) return;
  const auto it = by_peer_.find({run.connection, run.peer->key});
  if (it != by_peer_.end() && it->second == id) by_peer_.erase(it);
  run.peer.reset();
}

bool Core::empty(std::size_t id) const {
  const auto sas = by_run_.find(id);
  if (sas != by_run_.end() && !sas->second.empty()) return false;
  return std::ranges::all_of(runs_.at(id).children, [](const ChildRun& child) { return child.pairs.empty(); });
}

ChildSa* Core::find_pair(std::size_t index, std::uint64_t pair) {
  const auto it = runs_.find(index);
  if (it == runs_.end()) return nullptr;
  for (ChildRun& child : it->second.children)
    for (ChildSa& sa : child.pairs)
      if (sa.pair == pair) return &sa;
  return nullptr;
}

MessageId Core::new_message_id(const IsakmpSa& sa) {
  MessageId id;
  while (!id || sa.used_ids.contains(id) || sa.quick_modes.contains(id)) id = MessageId{static_cast<std::uint32_t>(number(random(4)))};
  return id;
}

std::optional<Spi> Core::allocate_spi(const SpiOwner& owner) {
  const auto spi = services.allocate_spi();
  if (spi) spis_[*spi] = owner;
  return spi;
}

void Core::release_spi(Spi spi) {
  if (spis_.erase(spi) > 0) services.release_spi(spi);
}

const SpiOwner* Core::owner_of(Spi spi) const {
  const auto it = spis_.find(spi);
  return it == spis_.end() ? nullptr : &it->second;
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

void Core::send(TimePoint now, IsakmpSa& sa, ByteView message) {
  sa.last_sent = now;
  constexpr std::size_t kFlagsAt = 19;
  if (message.size() > kFlagsAt && (message[kFlagsAt] & ike::kFlagEncryption) != 0) sa.sealed_bytes += message.size();
  touch(sa);
  if (!watches.empty()) trace_sent(*this, now, sa, message);
  const auto pieces = pieces_of(*this, sa, message);
  for (const Bytes& piece : pieces) actions.emplace_back(ike::SendDatagram{ike::frame(sa.local, sa.remote, piece)});
  if (!pieces.empty()) return;
  actions.emplace_back(ike::SendDatagram{ike::frame(sa.local, sa.remote, message)});
}

std::size_t Core::size_on_wire(const IsakmpSa& sa, ByteView message) const {
  const auto pieces = pieces_of(*this, sa, message);
  if (pieces.empty()) return message.size();
  std::size_t size = (pieces.size() - 1) * kIpv4AndUdp;
  for (const Bytes& piece : pieces) size += piece.size();
  return size;
}

void Core::send_stateless(const ike::Datagram& to, Bytes message) {
  if (!watches.empty()) trace_stateless(*this, to, message);
  actions.emplace_back(ike::SendDatagram{ike::frame(to.local, to.remote, message)});
}

void Core::say(const IsakmpSa& sa, Severity severity, std::optional<Exchange> exchange, Reason reason, std::string message,
               const std::string& child) {
  shared.say(severity, {connection(sa).name, child, sa.remote, exchange, sa.role}, reason, std::move(message));
}

void Core::ended(TimePoint now, const IsakmpSa& sa, Exchange exchange, Role role, Reason reason, std::string message,
                 const std::optional<std::size_t>& child, ike::Cause cause) {
  touch(sa.connection);
  const config::Connection& c = connection(sa);
  const ike::Subject about{c.name, child ? c.children.at(*child).name : std::string{}, sa.remote, exchange, role};
  if (reason == Reason::Ok) return shared.went_well(now, about, std::move(message), !c.remote_addrs.empty());
  cause.on_4500 = cause.number == 5 && sa.nat.encapsulate();
  shared.failed(now, about, reason, std::move(message), std::move(cause));
}

void Core::lost(TimePoint now, std::size_t index, std::size_t child, std::optional<Exchange> exchange, Reason reason,
                const std::string& message, const std::optional<Endpoint>& peer) {
  shared.lost(now, {connection(index).name, connection(index).children.at(child).name, peer, exchange, {}}, reason, message);
}

void Core::junk(TimePoint now, const Endpoint& peer, Exchange exchange, Reason reason, std::string message, ike::Cause cause) {
  shared.junk(now, peer, exchange, reason, std::move(message), std::move(cause));
}

void Core::refused(TimePoint now, std::size_t index, const Endpoint& peer, Exchange exchange, Reason reason, std::string message,
                   ike::Cause cause) {
  touch(index);
  shared.refused(now, connection(index).name, peer, exchange, reason, std::move(message), std::move(cause));
}

bool Core::watch(TimePoint now, ike::Watch watch) {
  if (!watches.add(now, std::move(watch))) return false;
  for (auto& [id, sa] : sas_) sa->watched = true;
  return true;
}

bool Core::unwatch(TimePoint now, const ike::Watch& target) {
  const bool known = watches.remove(now, target);
  for (auto& [id, sa] : sas_) sa->watched = !watches.empty();
  return known;
}

void Core::settle(const Hooks& hooks) {
  std::set<std::size_t> driven;
  // Driving a connection touches it again only when it began or ended something: a handful of rounds is always enough,
  // and what a round leaves is picked up by the connection's timer.
  for (int round = 0; round < 4 && !dirty_runs_.empty(); ++round) {
    const std::set<std::size_t> todo = std::exchange(dirty_runs_, {});
    for (const std::size_t index : todo)
      if (has_run(index)) hooks.drive(index);
    driven.insert(todo.begin(), todo.end());
  }
  driven.merge(std::exchange(dirty_runs_, {}));
  for (const std::size_t index : driven) {
    if (has_run(index) && empty(index)) end_run(index);
    timers_.arm({true, index}, has_run(index) ? hooks.run_deadline(index) : std::nullopt);
  }
  for (const SaId id : std::exchange(dirty_sas_, {}))
    if (const auto it = sas_.find(id); it != sas_.end() && !it->second->dead) timers_.arm({false, id}, hooks.sa_deadline(*it->second));
  for (const SaId id : std::exchange(dead_, {})) {
    timers_.arm({false, id}, std::nullopt);
    sas_.erase(id);
  }
}

void Core::end_run(std::size_t id) {
  forget_peer(id);
  if (own_run(id)) return;
  by_run_.erase(id);
  runs_.erase(id);
}

Core::Expired Core::take_expired(TimePoint now) {
  Expired out;
  for (const auto& [of_run, id] : timers_.take_expired(now)) (of_run ? out.runs : out.sas).push_back(id);
  return out;
}

}  // namespace culvert::ikev1

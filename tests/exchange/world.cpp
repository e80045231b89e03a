// A host and the link between hosts: longer than other files (400 lines), since each of the two needs the inner life of the other.
#include "tests/exchange/world.hpp"

#include <algorithm>
#include <stdexcept>

#include "common/config/rounds.hpp"
#include "control/crypto/hash.hpp"
#include "control/crypto/nt_hash.hpp"
#include "control/ike/dh_job.hpp"
#include "control/ike/nat_traversal.hpp"
#include "tests/exchange/dh_pool.hpp"

namespace culvert::test {

namespace {

DhPool& pool() {
  static DhPool p;
  return p;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------- Host

Host::Host(World& w, std::string n, config::GatewayConfig c) : world(w), name(std::move(n)), config(std::move(c)) {
  for (const config::Connection& connection : config.connections) secrets[connection.name] = "secret";
  engine = std::make_unique<ike::Engine>(config, *this);
}

void Host::random(MutableByteView out) {
  for (auto& byte : out) byte = static_cast<std::uint8_t>(world.rng());
}

std::int64_t Host::wall_seconds() {
  return 1'700'000'000 + std::chrono::duration_cast<std::chrono::seconds>(world.now.time_since_epoch()).count();
}

std::optional<Spi> Host::allocate_spi() {
  if (!spi_room) return std::nullopt;
  std::uint32_t spi = 0;
  while (spi <= 255 || spis.contains(spi) || inbound.contains(spi)) spi = static_cast<std::uint32_t>(world.rng());
  spis.insert(spi);
  return Spi{spi};
}

void Host::release_spi(Spi spi) {
  if (spis.erase(spi.value) == 0) throw std::logic_error(name + " released an SPI twice");
}

std::expected<SecretBytes, std::string> Host::secret(const std::string& connection) {
  const auto it = secrets.find(connection);
  if (it == secrets.end()) return std::unexpected("the secret file /psk/" + connection + " is empty");
  return SecretBytes(as_bytes(it->second));
}

std::expected<SecretBytes, std::string> Host::ppk(const std::string& connection) {
  const auto it = ppks.find(connection);
  if (it == ppks.end()) return std::unexpected("the secret file /ppk/" + connection + " is empty");
  return SecretBytes(as_bytes(it->second));
}

std::expected<SecretBytes, std::string> Host::xauth_password(const std::string& connection) {
  if (password.empty()) return std::unexpected("the secret file /xauth/" + connection + " is empty");
  return SecretBytes(as_bytes(password));
}

std::expected<ike::AuthMethod, std::string> Host::signing_method(const std::string& connection) {
  const auto it = keys.find(connection);
  if (it == keys.end()) return std::unexpected("there is no private key");
  return it->second;
}

std::vector<Bytes> Host::certificates(const std::string& connection) {
  if (!keys.contains(connection) || hides_certificate) return {};
  std::vector<Bytes> out{to_bytes(certificate.empty() ? name : certificate)};
  if (chain_size != 0) out.emplace_back(chain_size, 'i');
  return out;
}

std::vector<Bytes> Host::authorities(const std::string& connection) {
  return keys.contains(connection) ? std::vector<Bytes>{Bytes(authorities_size, 'a')} : std::vector<Bytes>{};
}

std::vector<Bytes> Host::authority_keys(const std::string& connection) {
  const config::Connection* c = config::find_proofs(config, connection);
  const bool pubkey = c && c->remote_auth.auth == config::Proof::Pubkey;
  return pubkey ? std::vector<Bytes>{Bytes(20, 'k')} : std::vector<Bytes>{};
}

void Host::step(const std::function<void(ike::Engine&)>& event) {
  if (around)
    around([&] { event(*engine); });
  else
    event(*engine);
  perform();
}

void Host::start(std::vector<ike::OrphanSa> orphans) {
  step([&](ike::Engine& e) { e.start(world.now, std::move(orphans)); });
}

void Host::restart() {
  std::vector<ike::OrphanSa> orphans;
  const auto add = [&](const ike::InstallSa& s) {
    orphans.push_back({s.pair, s.direction, s.connection, s.child, s.spi, s.local, s.remote, s.suite.protocol, s.mode, s.local_ts,
                       s.remote_ts, s.peer, s.more});
  };
  for (const auto& [spi, sa] : inbound) add(sa.sa);
  for (const PlaneSa& sa : outbound) add(sa.sa);
  // SPIs that were on their way to become SAs are forgotten with the process.
  spis.clear();
  for (const auto& [spi, sa] : inbound) spis.insert(spi);
  engine = std::make_unique<ike::Engine>(config, *this);
  start(std::move(orphans));
}

void Host::lose_plane() {
  inbound.clear();
  outbound.clear();
  current.clear();
  ++plane_;
}

void Host::perform() {
  for (ike::Action& action : engine->take_actions()) {
    if (auto* send = std::get_if<ike::SendDatagram>(&action)) {
      sent_bytes += send->datagram.data.size();
      ++sent_datagrams;
      world.transmit(send->datagram);
    } else if (auto* dh = std::get_if<ike::ComputeDh>(&action)) {
      compute(*dh);
    } else if (auto* s = std::get_if<ike::Sign>(&action)) {
      sign(*s);
    } else if (auto* v = std::get_if<ike::VerifyPeer>(&action)) {
      verify(*v);
    } else if (auto* u = std::get_if<ike::CheckUser>(&action)) {
      check(*u);
    } else if (auto* f = std::get_if<ike::FindUser>(&action)) {
      look_up(*f);
    } else if (auto* n = std::get_if<ike::FindName>(&action)) {
      ike::NameFound found{n->job, {}, names.contains(n->name) ? "" : "its name cannot be resolved: Host not found"};
      if (names.contains(n->name)) found.addresses = names.at(n->name);
      world.at(world.now + name_time, [this, found] { step([&](ike::Engine& e) { e.on_name(world.now, found); }); });
    } else if (auto* q = std::get_if<ike::AskRadius>(&action)) {
      if (radius) radius(*q);
    } else if (auto* t = std::get_if<ike::TlsStep>(&action)) {
      step_tls(*t);
    } else if (auto* in = std::get_if<ike::InstallSa>(&action)) {
      install(*in);
    } else if (auto* out = std::get_if<ike::RemoveSa>(&action)) {
      remove(*out);
    } else if (auto* to = std::get_if<ike::MoveSa>(&action)) {
      move(*to);
    } else if (auto* what = std::get_if<ike::SkipNumbers>(&action)) {
      skip(*what);
    } else {
      log.push_back(std::get<ike::Report>(action));
      times.push_back(world.now);
    }
  }
}

void Host::compute(const ike::ComputeDh& job) {
  ++key_exchanges;
  const std::uint64_t pick = world.rng();
  ike::Engine* asker = engine.get();
  world.at(world.now + dh_time, [this, job, pick, asker] {
    if (engine.get() != asker) return;
    ike::DhResult result = world.real_dh ? ike::run_dh_job(job) : pool().run(job, pick);
    if (world.first_shared.view().empty()) world.first_shared = result.shared;
    step([&](ike::Engine& e) { e.on_dh(world.now, std::move(result)); });
  });
}

namespace {
/// A pretended signature: whose it is, of what, and in which form.
Bytes signature_of(const std::string& signer, ByteView octets, ike::SignatureScheme scheme) {
  const std::uint8_t form[] = {static_cast<std::uint8_t>(scheme)};
  return crypto::digest(Prf::HmacSha2_256, {as_bytes(signer), octets, form});
}
}  // namespace

void Host::sign(const ike::Sign& job) {
  ike::Engine* asker = engine.get();
  world.at(world.now + dh_time, [this, job, asker] {
    if (engine.get() != asker) return;
    ike::SignResult result{job.job, false, {}, "refused by the test"};
    if (!cannot_sign) result = {job.job, true, signature.value_or(signature_of(name, job.octets, job.scheme)), {}};
    step([&](ike::Engine& e) { e.on_signed(world.now, std::move(result)); });
  });
}

bool Host::distrusts(const std::string& connection, const std::string& signer) const {
  return distrusted.contains(signer) || distrusted.contains(connection + ": " + signer);
}

void Host::verify(const ike::VerifyPeer& job) {
  ike::Engine* asker = engine.get();
  verified.push_back(job);
  world.at(world.now + dh_time, [this, job, asker] {
    if (engine.get() != asker) return;
    const std::string signer = job.certificates.empty() ? pinned : printable(job.certificates.front().data);
    const bool good = job.signature == signature_of(signer, job.octets, job.scheme);
    const Reason reason = !good ? Reason::AuthFailed : distrusts(job.connection, signer) ? Reason::CertUntrusted : Reason::Ok;
    ike::VerifyResult result{job.job, reason == Reason::Ok, reason, reason == Reason::Ok ? "" : "refused by the test", signer};
    if (result.ok) result.key = to_bytes(one_key ? signer : signer + " of " + job.connection);
    step([&](ike::Engine& e) { e.on_verified(world.now, std::move(result)); });
  });
}

void Host::check(const ike::CheckUser& job) {
  ++checks;
  ike::Engine* asker = engine.get();
  const auto it = users.find(std::string(job.user.begin(), job.user.end()));
  const bool ok = it != users.end() && equal_constant_time(as_bytes(it->second), job.password.view());
  world.at(world.now + dh_time, [this, id = job.job, ok, asker] {
    if (engine.get() != asker) return;
    step([&](ike::Engine& e) { e.on_user_checked(world.now, {id, ok, {}}); });
  });
}

void Host::look_up(const ike::FindUser& job) {
  ++checks;
  ike::Engine* asker = engine.get();
  const auto it = users.find(std::string(job.user.begin(), job.user.end()));
  ike::UserFound found{.job = job.job, .error = no_users};
  found.found = no_users.empty() && it != users.end();
  if (found.found) {
    found.password = SecretBytes(as_bytes(it->second));
    found.nt_hash = crypto::nt_hash(as_bytes(it->second));
  }
  world.at(world.now + dh_time, [this, found, asker] {
    if (engine.get() != asker) return;
    step([&](ike::Engine& e) { e.on_user_found(world.now, found); });
  });
}

void Host::step_tls(const ike::TlsStep& job) {
  ike::Engine* asker = engine.get();
  const auto result = std::make_shared<ike::TlsStepped>(
      tls ? tls(job) : ike::TlsStepped{.failed = true, .reason = Reason::NoSecret, .message = "there is no private key"});
  result->job = job.job;
  world.at(world.now + dh_time, [this, result, asker] {
    if (engine.get() != asker) return;
    step([&](ike::Engine& e) { e.on_tls(world.now, std::move(*result)); });
  });
}

std::string policy_of(const ike::InstallSa& sa) {
  const std::string whose = sa.worker ? "@" + std::to_string(*sa.worker) + " " : "";
  return whose + (sa.own_policy ? sa.child + " of " + to_hex(sa.peer) + ": " + to_string(sa.local_ts, sa.more.local()) + " - " +
                                      to_string(sa.remote_ts, sa.more.remote())
                                : sa.child);
}

/// As control::PolicyTable::take() does: the youngest entry for the same packets, if it is this peer's, else a fresh one.
std::uint64_t Host::entry_for(const ike::InstallSa& sa) {
  const PlaneSa* first = nullptr;
  const auto look = [&](const PlaneSa& s) {
    const bool same = s.sa.child == sa.child && s.sa.own_policy == sa.own_policy && s.sa.local_ts == sa.local_ts &&
                      s.sa.remote_ts == sa.remote_ts && s.sa.more == sa.more;
    if (same && (first == nullptr || s.entry > first->entry)) first = &s;
  };
  for (const auto& [spi, s] : inbound) look(s);
  for (const PlaneSa& s : outbound) look(s);
  return first != nullptr && first->sa.peer == sa.peer ? first->entry : ++entries_;
}

// What a culvertd has asked for that is no more the data plane does not do: the rings are emptied for the next one (Manager::attach).
void Host::install(const ike::InstallSa& sa) {
  plane_clock_ = std::max(plane_clock_, world.now + world.between(install_min, install_max));
  asked_outbound += sa.direction == Direction::Outbound;
  ike::Engine* asker = engine.get();
  world.at(plane_clock_, [this, sa, asker, plane = plane_] {
    if (engine.get() != asker) return;
    const bool ok = !refuse_installs && plane == plane_;
    if (ok && sa.direction == Direction::Inbound) {
      inbound[sa.spi.value] = {.sa = sa, .entry = entry_for(sa)};
    } else if (ok) {
      outbound.push_back({.sa = sa, .entry = entry_for(sa)});
      current[policy_of(sa)] = sa.pair;
    }
    world.look_at_traffic();
    step([&](ike::Engine& e) { e.on_installed(world.now, sa.job, ok, ok ? "" : "refused by the test"); });
  });
}

void Host::remove(const ike::RemoveSa& sa) {
  plane_clock_ = std::max(plane_clock_, world.now);
  world.at(plane_clock_, [this, sa, asker = engine.get()] {
    if (engine.get() != asker) return;
    if (sa.direction == Direction::Inbound)
      inbound.erase(sa.spi.value);
    else
      remove_outbound(sa.pair);
    world.look_at_traffic();
  });
}

/// As in the data plane (Commands::remove_outbound): what has left by it goes on with the youngest that is left; of a worker that has none
/// of its own any more with that for all.
void Host::remove_outbound(std::uint64_t pair) {
  const auto gone = std::ranges::find_if(outbound, [&](const PlaneSa& s) { return s.sa.pair == pair; });
  if (gone == outbound.end()) return;
  const bool own = gone->sa.worker.has_value();
  const std::string policy = policy_of(gone->sa);
  outbound.erase(gone);
  if (current[policy] != pair) return;
  if (own) current.erase(policy);
  for (const PlaneSa& s : outbound)
    if (policy_of(s.sa) == policy) current[policy] = s.sa.pair;
}

void Host::move(const ike::MoveSa& to) {
  plane_clock_ = std::max(plane_clock_, world.now);
  world.at(plane_clock_, [this, to] {
    const auto move = [&](PlaneSa& s) {
      s.sa.remote = to.remote;
      if (!to.local) return;
      s.sa.local = *to.local;
      s.sa.follow = to.follow;
    };
    if (to.direction == Direction::Inbound && inbound.contains(to.spi.value)) move(inbound.at(to.spi.value));
    for (PlaneSa& s : outbound)
      if (to.direction == Direction::Outbound && s.sa.pair == to.pair && s.sa.spi == to.spi) move(s);
  });
}

void Host::skip(const ike::SkipNumbers& what) {
  if (what.direction == Direction::Inbound && inbound.contains(what.spi.value)) inbound.at(what.spi.value).skipped += what.count;
  for (PlaneSa& s : outbound)
    if (what.direction == Direction::Outbound && s.sa.pair == what.pair && s.sa.spi == what.spi) s.skipped += what.count;
}

// ---------------------------------------------------------------------------------------------------------------- World

World::World(std::uint64_t seed) : rng(seed) {}

Host& World::add(const std::string& name, config::GatewayConfig config) {
  hosts.push_back(std::make_unique<Host>(*this, name, std::move(config)));
  return *hosts.back();
}

std::uint64_t World::random(std::uint64_t below) { return below == 0 ? 0 : rng() % below; }

Duration World::between(Duration low, Duration high) {
  return high <= low ? low : low + Duration(static_cast<std::int64_t>(random(static_cast<std::uint64_t>((high - low).count()))));
}

void World::at(TimePoint when, std::function<void()> what) { events_.push({when, ++order_, std::move(what)}); }

bool World::step(TimePoint limit) {
  TimePoint next = events_.empty() ? TimePoint::max() : events_.top().when;
  Host* due = nullptr;
  for (const auto& host : hosts) {
    const TimePoint d = host->engine->deadline().value_or(TimePoint::max());
    if (d >= next) continue;
    next = d;
    due = host.get();
  }
  if (next > limit) {
    now = limit;
    return false;
  }
  now = std::max(now, next);
  if (due) {
    due->step([this](ike::Engine& e) { e.on_timer(now); });
    if (due->engine->deadline() == next) {
      if (++stuck_ > 1000) throw std::logic_error(due->name + "'s timer does not move on");
    } else {
      stuck_ = 0;
    }
    return true;
  }
  const auto what = events_.top().what;
  events_.pop();
  what();
  return true;
}

void World::run(Duration time) {
  const TimePoint end = now + time;
  while (step(end)) {
  }
}

bool World::run_until(const std::function<bool()>& condition, Duration limit) {
  const TimePoint end = now + limit;
  while (!condition())
    if (!step(end)) return condition();
  return true;
}

void World::transmit(const ike::Datagram& sent) {
  ike::Datagram datagram = sent;
  if (record) wire.push_back(datagram);
  if (hook && !hook(datagram)) return;
  if (dead.contains(datagram.local.address) || dead.contains(datagram.remote.address)) return;
  // The sender's "local" is what the receiver calls "remote".
  Endpoint from = datagram.local, to = datagram.remote;
  for (Nat& nat : nats_) {
    if (from.address == nat.inside) {
      const auto [it, fresh] = nat.out.try_emplace(from.port, next_port_);
      if (fresh) nat.in[next_port_++] = from.port;
      from = {nat.outside, it->second};
    }
  }
  const auto owner = std::ranges::find_if(nats_, [&](const Nat& nat) { return to.address == nat.outside && nat.in.contains(to.port); });
  if (owner != nats_.end())
    to = {owner->inside, owner->in.at(to.port)};
  else if (std::ranges::any_of(nats_, [&](const Nat& nat) { return to.address == nat.outside; }))
    return;
  const ike::Datagram arriving{to, from, datagram.data};
  const auto chance = [&](double p) { return p > 0 && static_cast<double>(random(1'000'000)) < p * 1e6; };
  const int copies = chance(link.loss) ? 0 : chance(link.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) at(now + between(link.delay_min, link.delay_max), [this, arriving] { deliver(arriving); });
}

Host* World::at_address(const IpAddress& address) {
  if (const auto it = by_address_.find(address); it != by_address_.end()) return it->second;
  for (const auto& host : hosts)
    for (const config::Connection& c : host->config.connections)
      if (std::ranges::find(c.local_addrs, address) != c.local_addrs.end()) return by_address_[address] = host.get();
  return nullptr;
}

void World::deliver(const ike::Datagram& arriving) {
  Host* host = at_address(arriving.local.address);
  if (!host) return;
  host->received_bytes += arriving.data.size();
  host->step([&](ike::Engine& e) { e.on_datagram(now, arriving); });
}

void World::add_nat(const IpAddress& inside, const IpAddress& outside) { nats_.push_back({inside, outside, {}, {}}); }

void World::add_open_nat(const IpAddress& inside, const IpAddress& outside) {
  Nat nat{inside, outside, {}, {}};
  for (const std::uint16_t port : {ike::kIkePort, ike::kNatPort}) nat.out[port] = nat.in[port] = port;
  nats_.push_back(std::move(nat));
}

void World::forget_nat() {
  for (Nat& nat : nats_) {
    nat.out.clear();
    nat.in.clear();
  }
}

void World::renumber_nat(const IpAddress& from, const IpAddress& to) {
  forget_nat();
  for (Nat& nat : nats_)
    if (nat.outside == from) nat.outside = to;
}

void World::begin_traffic() {
  traffic_ = true;
  tick();
}

void World::look_at_traffic() {
  if (!traffic_) return;
  const std::string when = " at " + std::to_string(now.time_since_epoch() / 1ms) + " ms";
  for (const auto& from : hosts)
    for (const auto& [child, pair] : from->current) {
      const PlaneSa* sa = from->current_of(child);
      if (!sa) {
        gaps.push_back(from->name + "/" + child + " has no outbound SA" + when);
        continue;
      }
      bool arrived = false;
      for (const auto& to : hosts) {
        const auto it = to->inbound.find(sa->sa.spi.value);
        if (to.get() == from.get() || it == to->inbound.end()) continue;
        arrived = it->second.sa.encr_key == sa->sa.encr_key && it->second.sa.integ_key == sa->sa.integ_key;
        if (!dead.contains(sa->sa.local.address) && !dead.contains(sa->sa.remote.address)) it->second.last_used = now;
      }
      if (!arrived) gaps.push_back(from->name + "/" + child + " sends on an SA that the peer does not have" + when);
    }
}

void World::tick() {
  if (!traffic_) return;
  look_at_traffic();
  for (const auto& host : hosts) {
    std::vector<std::pair<Spi, TimePoint>> used;
    for (const auto& [spi, sa] : host->inbound)
      if (sa.last_used > now - 1s) used.emplace_back(Spi{spi}, sa.last_used);
    for (const auto& [spi, when] : used) host->engine->on_traffic(now, spi, when);
    host->perform();
  }
  at(now + 1s, [this] { tick(); });
}

}  // namespace culvert::test

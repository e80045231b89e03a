#include "dataplane/gateway.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>
#include <sys/random.h>

#include "dataplane/io/privileges.hpp"

namespace culvert::dp {

namespace {
constexpr unsigned kHandoffRing = 2048;
constexpr unsigned kIkeRing = 1024;  // a reserve of its own: no amount of ESP or unresolved traffic fills it
constexpr unsigned kSlowRing = 1024;
constexpr unsigned kWholeOnTheirWay = 64;  // packets that were put together from fragments, of each worker, until they are sent

void drop_rights() {
  if (const auto dropped = drop_thread_capabilities(); !dropped) spdlog::warn("{}", dropped.error());
}
}  // namespace

std::expected<std::unique_ptr<Gateway>, std::string> Gateway::start(const config::GatewayConfig& config, int signal_fd) {
  if (config.dataplane.workers.empty() || config.dataplane.workers.size() > shm::kMaxWorkers)
    return std::unexpected("dataplane.workers: 1 to " + std::to_string(shm::kMaxWorkers) + " are possible");
  if (config.ports.empty() || config.ports.size() > shm::kMaxPorts)
    return std::unexpected("ports: 1 to " + std::to_string(shm::kMaxPorts) + " are possible");
  auto eal = Eal::start("culvert-dataplane", eal_arguments(config));
  if (!eal) return std::unexpected(eal.error() + memory_hint(config));
  std::unique_ptr<Gateway> g(new Gateway(config, std::move(*eal)));
  for (const auto step : {&Gateway::open_ports, &Gateway::make_tables, &Gateway::make_workers})
    if (auto done = (g.get()->*step)(); !done) return std::unexpected(done.error());
  if (auto done = g->make_manager(signal_fd); !done) return std::unexpected(done.error());
  return g;
}

std::expected<void, std::string> Gateway::open_ports() {
  unsigned mtu = 0;
  for (const auto& p : config_.ports) mtu = std::max(mtu, buffer_mtu(p.device, p.mtu));
  auto pool = BufferPool::create("packets", config_.dataplane.memory.mbufs, mtu);
  if (!pool) return std::unexpected(pool.error());
  pool_ = std::move(*pool);
  const auto workers = static_cast<unsigned>(config_.dataplane.workers.size());
  auto whole = BufferPool::create("whole", workers * (Reassembly::kMaxPackets + kWholeOnTheirWay), Reassembly::kBufferBytes, false);
  if (!whole) return std::unexpected(whole.error());
  whole_ = std::move(*whole);
  for (const auto& p : config_.ports) {
    const bool groups = std::ranges::any_of(config::interfaces(config_), [&](const config::Interface& i) {
      return i.port == ports_.size() && std::ranges::any_of(i.addresses, [](const Prefix& a) { return a.address.family == Family::V6; });
    });
    auto port = Port::open(p, static_cast<std::uint16_t>(ports_.size()), workers, *pool_, groups);
    if (!port) return std::unexpected(port.error());
    spdlog::info("port {}: {}, {} queue(s), MTU {}", p.name, p.device, (*port)->queues(), p.mtu);
    ports_.push_back(std::move(*port));
  }
  for (const config::Interface& i : config::interfaces(config_)) {
    if (i.vlan != 0) spdlog::info("VLAN {}: {} of port {}, MTU {}", i.name, i.vlan, config_.ports[i.port].name, i.mtu);
    interfaces_.push_back({std::string(i.name), ports_[i.port]->mac(), i.mtu, i.addresses, i.port, i.vlan, i.vrf});
    interfaces_.back().add_link_local();
  }
  vlan_traffic_ = std::vector<VlanTraffic>(workers * (interfaces_.size() - ports_.size()));
  for (const auto& t : config_.tunnels) tunnels_.push_back({.name = t.name, .addresses = t.addresses, .vrf = t.vrf.id});
  for (std::size_t vrf = 0; vrf <= config_.vrfs.size(); ++vrf) own_.emplace_back(interfaces_, tunnels_, static_cast<VrfId>(vrf));
  return {};
}

std::expected<void, std::string> Gateway::make_tables() {
  auto fib = Fib::build(interfaces_, config_.routes, neighbors_, tunnels_, own_.size());
  if (!fib) return std::unexpected(fib.error());
  fib_ = std::move(*fib);
  auto segment =
      shm::Segment::create(static_cast<std::uint32_t>(config_.dataplane.workers.size()), static_cast<std::uint32_t>(interfaces_.size()),
                           config_.dataplane.sa_capacity, config::vrf_fingerprint(config_));
  if (!segment) return std::unexpected(segment.error());
  segment_ = std::make_unique<shm::Segment>(std::move(*segment));
  for (std::size_t i = 0; i < interfaces_.size(); ++i) segment_->ports()[i].name = shm::Name(interfaces_[i].name);
  policies_ = std::make_unique<PolicyState[]>(shm::kMaxPolicies + 1);
  inbound_ = std::make_unique<InboundTable>(config_.dataplane.sa_capacity);
  outbound_ = std::make_unique<OutboundTable>(config_.dataplane.sa_capacity);
  auto rcu = Rcu::create(static_cast<unsigned>(config_.dataplane.workers.size()));
  if (!rcu) return std::unexpected(rcu.error());
  rcu_ = std::move(*rcu);
  return {};
}

std::expected<void, std::string> Gateway::make_workers() {
  const std::size_t n = config_.dataplane.workers.size();
  std::string failed;
  const auto ring = [&](const std::string& name, unsigned size) {
    auto made = BufferRing::create(name, size);
    if (!made) failed = made.error();
    return made ? std::move(*made) : nullptr;
  };
  for (std::size_t w = 0; w < n; ++w) handoff_.push_back(ring("handoff" + std::to_string(w), kHandoffRing));
  if (n > 1) boards_ = std::make_unique<ParcelBoards>(n);
  ike_ = ring("ike", kIkeRing);
  slow_ = ring("slow", kSlowRing);
  if (!failed.empty()) return std::unexpected(failed);
  environment_ = {.ports = ports_,
                  .interfaces = interfaces_,
                  .own = own_,
                  .fib = fib_.get(),
                  .neighbors = &neighbors_,
                  .spd = &spd_,
                  .policies = {policies_.get(), shm::kMaxPolicies + 1},
                  .inbound = inbound_.get(),
                  .awaited = segment_->awaited(),
                  .pool = pool_.get(),
                  .whole = whole_.get(),
                  .handoff = handoff_,
                  .boards = boards_.get(),
                  .ike = ike_.get(),
                  .slow = slow_.get(),
                  .manager = &waker_,
                  .rcu = rcu_.get(),
                  .capture = &capture_,
                  .captures = segment_->captures(),
                  .default_bypass = config_.default_policy == config::PolicyAction::Bypass,
                  .vlan_traffic = vlan_traffic_};
  if (::getrandom(&environment_.hash_seed, sizeof environment_.hash_seed, 0) != sizeof environment_.hash_seed ||
      ::getrandom(environment_.cookie_secret.data(), environment_.cookie_secret.size(), 0) !=
          static_cast<ssize_t>(environment_.cookie_secret.size()))
    return std::unexpected("getrandom failed");
  talks_ = std::make_unique<IkeTalks>(environment_.hash_seed);
  environment_.talks = talks_.get();
  for (std::size_t w = 0; w < n; ++w) {
    auto crypto = CryptoEngine::create();
    if (!crypto) return std::unexpected(crypto.error());
    if (w == 0) spdlog::info("crypto: {}", crypto->describe());
    if (n > 1)
      if (const auto alone = crypto->stand_alone(); !alone) spdlog::warn("crypto: workers slow each other down: {}", alone.error());
    workers_.push_back(std::make_unique<Worker>(static_cast<unsigned>(w), environment_, std::move(*crypto), segment_->workers()[w]));
  }
  return {};
}

std::expected<void, std::string> Gateway::make_manager(int signal_fd) {
  auto crypto = CryptoEngine::create();
  if (!crypto) return std::unexpected(crypto.error());
  manager_crypto_ = std::make_unique<CryptoEngine>(std::move(*crypto));
  steering_ = std::make_unique<Steering>(ports_, interfaces_, segment_->records(Direction::Inbound));
  auto manager = Manager::create({.config = config_,
                                  .environment = environment_,
                                  .neighbors = neighbors_,
                                  .fib = *fib_,
                                  .interfaces = interfaces_,
                                  .tables = {*segment_,
                                             *inbound_,
                                             *outbound_,
                                             environment_.policies,
                                             spd_,
                                             *rcu_,
                                             *manager_crypto_,
                                             own_,
                                             static_cast<unsigned>(workers_.size()),
                                             tunnels_,
                                             fib_.get(),
                                             interfaces_,
                                             {},
                                             [this](const shm::Message& m) { steering_->done(m); }},
                                  .capture = capture_,
                                  .signal_fd = signal_fd});
  if (!manager) return std::unexpected(manager.error());
  manager_ = std::move(*manager);
  return {};
}

std::expected<void, std::string> Gateway::launch() {
  const auto body = [](void* context, unsigned worker) {
    auto& g = *static_cast<Gateway*>(context);
    drop_rights();
    g.workers_[worker]->run(g.stop_, g.config_.dataplane.idle);
  };
  for (unsigned w = 0; w < workers_.size(); ++w)
    if (!Eal::launch(w, body, this)) return std::unexpected("worker " + std::to_string(w) + " cannot be launched");
  if (!Eal::run_on_interrupt_thread(drop_rights)) spdlog::warn("DPDK's interrupt thread keeps its capabilities");
  drop_rights();
  return {};
}

void Gateway::stop_workers() {
  if (!stop_.exchange(true) && !workers_.empty()) Eal::join();
}

Books Gateway::finish() {
  stop_workers();
  manager_->give_up();
  std::size_t under_way = ike_->size() + slow_->size();
  for (const auto& ring : handoff_) under_way += ring->size();
  for (const auto& worker : workers_) under_way += worker->held();
  return Books::of(*segment_, under_way);
}

Gateway::~Gateway() { stop_workers(); }

}  // namespace culvert::dp

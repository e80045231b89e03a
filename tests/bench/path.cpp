#include "tests/bench/path.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <stdexcept>

#include "dataplane/io/eal.hpp"
#include "dataplane/ip_header.hpp"

namespace culvert::bench {

namespace {
using namespace culvert::dp;

constexpr std::uint16_t kMtu = 1500;
constexpr std::uint16_t kLan = 0, kWan = 1;
constexpr std::size_t kSlicePackets = 1536, kLongSlicePackets = 20'000;  // with few SAs, with more; one round is the least

// That lie in a queue at once: some of what a NIC's ring holds. Buffers that the crypto alone goes through in turns are as many, too.
constexpr std::size_t kFeedBursts = 6;

constexpr std::uint64_t kEnd = ~std::uint64_t{0};

std::string of_queue(const std::string& file, std::size_t queue) { return queue == 0 ? file : file + std::to_string(queue); }
std::uint64_t cycles() { return __builtin_ia32_rdtsc(); }

/// A number per pair of devices made in this process: DPDK's names must differ.
unsigned next_device() {
  static unsigned n = 0;
  return n++;
}
std::uint32_t text_bytes(std::uint32_t inner, std::uint32_t align) { return (inner + kEspTrailerBytes + align - 1U) & ~(align - 1U); }
std::uint32_t capacity(const Case& c) { return std::bit_ceil(c.sas); }
}  // namespace

std::size_t Path::buffers(const Case& c) { return c.sizes.size() * (c.way == Way::Both ? 2 : 1); }

Path::Path(const Case& c, BufferPool& pool, const std::string& folder, Brings brings, Crew crew)
    : case_(c),
      brings_(brings),
      crew_(crew),
      pool_(pool),
      polls_(c.sizes.size() / kBurstMax),
      packets_(buffers(c) * queues()),
      sa_counters_(c.sas) {
  make_sas();
  open_ports(pool, folder);
  make_tables();
  environment_ = {.ports = ports_,
                  .interfaces = interfaces_,
                  .own = {own_.get(), 1},
                  .fib = fib_.get(),
                  .neighbors = &neighbors_,
                  .spd = &current_spd_,
                  .policies = {policies_.get(), shm::kMaxPolicies + 1},
                  .inbound = inbound_.get(),
                  .pool = &pool};
  make_workers();
  if (crew_ != Crew::None) return;
  make_raw(pool);
  cross_check();
}

Path::~Path() { BufferPool::release(nullptr, raw_buffers_); }

void Path::make_workers() {
  if (workers() > 1) {
    boards_ = std::make_unique<ParcelBoards>(workers());
    for (unsigned w = 0; w < workers(); ++w)
      handoff_.push_back(must(BufferRing::create("bench_handoff" + std::to_string(next_device()), 2048), "rings"));
    environment_.boards = boards_.get();
    environment_.handoff = handoff_;
  }
  for (unsigned w = 0; w < workers(); ++w) {
    auto crypto = must(CryptoEngine::create(), "crypto");
    if (workers() > 1)
      if (const auto alone = crypto.stand_alone(); !alone) throw std::runtime_error(alone.error());
    workers_.push_back(std::make_unique<Worker>(w, environment_, std::move(crypto), (*counters_)[w]));
  }
}

void Path::make_sas() {
  auto engine = must(CryptoEngine::create(), "crypto");
  const std::uint32_t slots = capacity(case_);
  inbound_ = std::make_unique<InboundTable>(slots);
  policies_ = std::make_unique<PolicyState[]>(shm::kMaxPolicies + 1);
  for (std::uint32_t i = 0; i < case_.sas; ++i) {
    const SaPlacement placement{static_cast<std::uint16_t>(i % workers()), &sa_counters_[i], 0};
    const auto of = [&](Direction d) {
      shm::InstallSa m = terms(case_, i, d, slots);
      if (crew_ == Crew::Fat) m.rules.spread = SpreadCrypto::Yes;
      return m;
    };
    if (goes_out(case_.way)) {
      outbound_.push_back(must(make_outbound(of(Direction::Outbound), slots, engine, placement), "outbound SA"));
      policies_[i + 1].current = outbound_.back().get();
    }
    if (!comes_in(case_.way)) continue;
    auto sa = must(make_inbound(of(Direction::Inbound), slots, engine, placement), "inbound SA");
    if (inbound_->publish(sa->manager.slot, sa) != shm::AckResult::Ok) throw std::runtime_error("inbound SA");
  }
}

void Path::open_ports(BufferPool& pool, const std::string& folder) {
  const std::string number = std::to_string(next_device());
  const auto open = [&](std::uint16_t index, const std::string& name, bool sends, const std::string& file) {
    config::Port port;
    port.name = name;
    const bool feeds = sends && brings_ == Brings::Queues;
    port.device =
        sends && !feeds ? "net_pcap_" + name + number + ",rx_pcap=" + file + ",infinite_rx=1" : "net_null_" + name + number + ",no-rx=1";
    port.mtu = kMtu;
    ports_.push_back(must(Port::open(port, index, workers(), pool), name));
    const std::string device = port.device.substr(0, port.device.find(','));
    if (!feeds) return device;
    std::vector<std::string> files;
    for (unsigned q = 0; q < workers(); ++q) files.push_back(q < queues() ? of_queue(file, q) : "");
    feeds_.emplace_back(device, files);
    return device;
  };
  const std::string clear = folder + "/clear.pcap", sealed = folder + "/sealed.pcap";
  for (std::size_t q = 0; q < queues(); ++q) {
    Case mine = case_;
    if (queues() > 1) std::ranges::fill(mine.order, static_cast<std::uint32_t>(q));  // the SA whose owner has this queue
    if (goes_out(case_.way)) write_clear(mine, of_queue(clear, q));
    if (comes_in(case_.way)) write_sealed(mine, of_queue(sealed, q));
  }
  const std::string lan = open(kLan, "lan", goes_out(case_.way), clear), wan = open(kWan, "wan", comes_in(case_.way), sealed);
  if (crew_ != Crew::None) return;
  raw_ = std::make_unique<RawCrypto>(case_.suite, case_.sas);
  bound_ = std::make_unique<Bound>(case_, *raw_, lan, wan);
}

void Path::make_tables() {
  interfaces_ = {Interface{"lan", kOurMac, kMtu, {must(Prefix::parse("10.1.0.1/24"), "prefix")}},
                 Interface{"wan", kOurMac, kMtu, {must(Prefix::parse("10.9.0.1/24"), "prefix")}}};
  own_ = std::make_unique<OwnAddresses>(interfaces_);
  config::Route route;
  route.to = must(Prefix::parse("0.0.0.0/0"), "prefix");
  route.via = {IpAddress::v4(kRouter)};
  fib_ = must(Fib::build(interfaces_, std::span(&route, 1), neighbors_), "routes");
  std::vector<NeighborKey> beyond{{IpAddress::v4(kRouter), kWan}};
  for (std::uint32_t host = 0; host < kHosts; ++host) beyond.push_back({IpAddress::v4(kLanNet + 10 + host), kLan});
  for (const NeighborKey& key : beyond) {
    Neighbor* n = neighbors_.find(key);
    if (n == nullptr) n = neighbors_.add(key);
    if (n == nullptr) throw std::runtime_error("neighbour table");
    n->confirm(kOtherMac);
  }
  spd_ = must(Spd::build(policies(case_)), "policies");
  current_spd_ = spd_.get();
}

void Path::make_raw(BufferPool& pool) {
  if (case_.sas == 1) evp_ = std::make_unique<EvpCrypto>(case_.suite);
  const auto g = esp_geometry(case_.suite);
  const std::size_t buffers = brings_ == Brings::Copies ? kBurstMax : kFeedBursts * kBurstMax;
  raw_ops_.resize(case_.sizes.size());
  for (std::size_t i = 0; i < buffers; ++i) {
    Packet p;
    if (!pool.allocate(p)) throw std::runtime_error("no buffers");
    raw_buffers_.push_back(p.handle);
    std::memset(p.data, 0x61, p.tailroom);
    for (std::size_t at = i; at < raw_ops_.size(); at += buffers)
      raw_ops_[at] = {p.data, text_bytes(case_.sizes[at], g->align), case_.order[at]};
  }
}

/// The yardsticks must do what the worker does: what the engine has sealed, either opens, and seals the same again.
void Path::cross_check() {
  auto engine = must(CryptoEngine::create(), "crypto");
  const auto sa =
      must(make_outbound(terms(case_, 0, Direction::Outbound, capacity(case_)), capacity(case_), engine, {0, sa_counters_.data(), 0}),
           "outbound SA");
  const EspGeometry& g = sa->geometry;
  const std::uint32_t text = text_bytes(case_.sizes[0], g.align), front = kEspHeaderBytes + g.iv;
  Bytes plain(front + text + g.icv);
  std::iota(plain.begin(), plain.end(), std::uint8_t{1});
  Bytes sealed = plain;
  std::array<CryptoOp, 1> op{CryptoOp{&sa->keys, sealed.data(), text, false, 0, 0}};
  engine.encrypt(op);
  const std::span<const std::uint8_t> icv(sealed.data() + front + text, g.icv);
  const auto same = [&](const Bytes& a, const Bytes& b, std::size_t n) {
    return std::equal(a.begin(), a.begin() + static_cast<long>(n), b.begin());
  };
  for (const bool by_evp : {false, true}) {
    if (by_evp && evp_ == nullptr) continue;
    Bytes mine = sealed;
    const std::array<RawCrypto::Op, 1> mine_op{RawCrypto::Op{mine.data(), text, 0}};
    std::size_t right = 1;
    if (by_evp) {
      right = evp_->run(mine_op, false);
    } else {
      raw_->run(mine_op, false);
      right = std::equal(icv.begin(), icv.end(), raw_->icv().begin()) ? 1 : 0;
    }
    const bool opened = same(mine, plain, front + text);
    if (by_evp) {
      (void)evp_->run(mine_op, true);
    } else {
      raw_->run(mine_op, true);
    }
    if (!op[0].ok || right != 1 || !opened || !same(mine, sealed, mine.size()))
      throw std::runtime_error(std::string(by_evp ? "OpenSSL" : "IPsec-MB") + " and the worker's engine do not agree");
  }
}

/// Fresh anti-replay windows.
void Path::reset() {
  if (!comes_in(case_.way)) return;
  for (std::uint32_t slot = 0; slot < inbound_->capacity(); ++slot)
    if (InboundSa* sa = inbound_->at(slot); sa != nullptr) sa->replay.restart();
}

/// One round; the cycles that it took.
std::uint64_t Path::round(Kind kind) {
  const auto timed = [](auto&& body) {
    const std::uint64_t start = cycles();
    body();
    return cycles() - start;
  };
  if (kind == Kind::Raw || kind == Kind::Evp) return timed([&] { crypto_alone(kind); });
  if (brings_ == Brings::Copies) return timed([&] { polls(kind, polls_); });
  std::uint64_t took = 0;
  for (std::size_t done = 0; done < polls_; done += kFeedBursts) {
    const std::size_t bursts = std::min(kFeedBursts, polls_ - done);
    for (Feed& feed : feeds_) feed.fill(pool_, 0, done * kBurstMax, bursts * kBurstMax);
    took += timed([&] { polls(kind, bursts); });
  }
  return took;
}

void Path::polls(Kind kind, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (kind == Kind::Worker) {
      workers_[0]->poll();
    } else if (kind == Kind::Bound) {
      bound_->poll();
    } else {
      bound_->forward();
    }
  }
}

void Path::crypto_alone(Kind kind) {
  for (std::size_t at = 0; at < raw_ops_.size(); at += kBurstMax) {
    const auto ops = std::span(raw_ops_).subspan(at, kBurstMax);
    for (const bool encrypt : {true, false}) {
      if (encrypt ? !goes_out(case_.way) : !comes_in(case_.way)) continue;
      if (kind == Kind::Evp) {
        (void)evp_->run(ops, encrypt);
      } else {
        raw_->run(ops, encrypt);
      }
    }
  }
}

/// What the worker and the bound should have sent, they have sent.
void Path::check(Kind kind, unsigned rounds) {
  if (kind == Kind::Worker) {
    std::uint64_t sent = 0;
    for (auto& c : *counters_) {
      sent += c.tx_packets.get();
      c.tx_packets.set(0);
    }
    if (sent == rounds * packets_) return;
    std::string why = "packets were lost:";
    for (std::size_t i = 0; i < kDropReasons; ++i)
      if (const auto n = (*counters_)[0].drops[i].get() + (*counters_)[1].drops[i].get(); n != 0)
        why += " " + std::string(kDropTable[i].name) + "=" + std::to_string(n);
    throw std::runtime_error(why);
  }
  if (kind != Kind::Bound) return;
  const auto g = esp_geometry(case_.suite);
  std::uint64_t expected = 0;
  for (const std::uint32_t inner : case_.sizes) {
    if (comes_in(case_.way)) expected += inner;
    if (goes_out(case_.way))
      expected += kIpv4HeaderBytes + (case_.udp ? kUdpHeaderBytes : 0U) + kEspHeaderBytes + g->iv + text_bytes(inner, g->align) + g->icv;
  }
  if (bound_->take_bytes() != rounds * expected) throw std::runtime_error("the bound has sent something else");
}

/// The second worker's thread.
void Path::second_worker() {
  for (std::uint64_t round = second_finished_.load() + 1;; ++round) {
    while (wanted_.load(std::memory_order_acquire) < round) __builtin_ia32_pause();
    if (wanted_.load(std::memory_order_relaxed) == kEnd) return;
    if (queues() > 1) feeds_[0].fill(pool_, 1, 0, packets_);
    second_ready_.store(round, std::memory_order_release);
    while (begun_.load(std::memory_order_acquire) < round) __builtin_ia32_pause();
    if (crew_ == Crew::Fat) {
      while (finished_.load(std::memory_order_acquire) < round) workers_[1]->poll();
    } else {
      for (std::size_t i = 0; i < polls_; ++i) workers_[1]->poll();
    }
    second_finished_.store(round, std::memory_order_release);
  }
}

/// All packets of the next round are in their queues, and the windows are as they were.
void Path::make_ready() {
  const std::uint64_t next = finished_.load(std::memory_order_relaxed) + 1;
  reset();
  wanted_.store(next, std::memory_order_release);
  feeds_[0].fill(pool_, 0, 0, packets_);
  while (workers() > 1 && second_ready_.load(std::memory_order_acquire) < next) __builtin_ia32_pause();
}

void Path::crew_round() {
  const std::uint64_t now = finished_.load(std::memory_order_relaxed) + 1;
  begun_.store(now, std::memory_order_release);
  for (std::size_t i = 0; i < polls_; ++i) workers_[0]->poll();
  workers_[0]->give_back();
  finished_.store(now, std::memory_order_release);
  while (workers() > 1 && second_finished_.load(std::memory_order_acquire) < now) __builtin_ia32_pause();
}

double Path::crew_slice(unsigned rounds) {
  constexpr unsigned kTries = 20;
  for (unsigned i = 0; i < kTries; ++i) {
    const double cycles = try_crew_slice(rounds);
    std::uint64_t refused = 0;
    for (auto& c : *counters_) {
      refused += c.spread_full.get();
      if (refused == 0) continue;
      for (shm::Counter* counter : {&c.spread_full, &c.drops[static_cast<std::size_t>(Drop::HandoffFull)], &c.tx_packets}) counter->set(0);
    }
    if (refused != 0) continue;
    check(Kind::Worker, 1 + rounds);
    return cycles;
  }
  throw std::runtime_error("the second worker's CPU is not free");
}

double Path::try_crew_slice(unsigned rounds) {
  const auto body = [](void* path, unsigned) { static_cast<Path*>(path)->second_worker(); };
  wanted_ = finished_.load();
  if (workers() > 1 && !Eal::launch(0, body, this)) throw std::runtime_error("the second worker cannot be launched");
  std::uint64_t took = 0;
  for (unsigned i = 0; i < 1 + rounds; ++i) {
    make_ready();
    const std::uint64_t start = cycles();
    crew_round();
    if (i > 0) took += cycles() - start;
  }
  wanted_ = kEnd;
  if (workers() > 1) Eal::join();
  return static_cast<double>(took) / static_cast<double>(rounds * packets_);
}

double Path::slice(Kind kind) {
  const std::size_t packets = packets_ > kRoundPackets * 2 ? kLongSlicePackets : kSlicePackets;
  const auto rounds = static_cast<unsigned>(std::max<std::size_t>(1, packets / packets_));
  // Others have had the caches: what fits into them comes back in a round before. What does not will miss in every round.
  const unsigned before = packets_ <= kLongSlicePackets ? 1 : 0;
  std::uint64_t took = 0;
  for (unsigned i = 0; i < before + rounds; ++i) {
    if (kind == Kind::Worker) reset();
    const std::uint64_t cycles = round(kind);
    if (i >= before) took += cycles;
  }
  check(kind, before + rounds);
  return static_cast<double>(took) / static_cast<double>(rounds * packets_);
}

}  // namespace culvert::bench

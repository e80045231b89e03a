// Ten times of what the ports take, and everything that can come, against two workers: in = out + drops by reason, exactly, no buffer stays
// behind, and nothing that is sent has changed places. Deterministic: the threads are turns, the ports' room is counted in frames.
// Long: all of its cases share one rig.
#include <chrono>
#include <random>
#include <thread>

#include "dataplane/manager/books.hpp"
#include "dataplane/worker.hpp"
#include "tests/dataplane/platform/devices.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {

namespace {
using test::install;
constexpr std::uint16_t kLan = 0, kWan = 1;
constexpr unsigned kWorkers = 2;
constexpr std::uint32_t kSas = 4;  ///< in each direction, by turns of the two workers
constexpr std::array<std::uint8_t, 6> kOther{2, 0, 0, 0, 0, 9};
constexpr std::uint32_t kHost = 0x0a010005, kPeer = 0x0a090002, kUs = 0x0a090001;
std::uint32_t far_host(std::uint32_t sa) { return 0x0a020005 + (sa << 8); }

TrafficSelector net_of(std::uint32_t sa) { return *TrafficSelector::parse("10.2." + std::to_string(sa) + ".0/24"); }
/// Of SA number `sa`; `here`: as we have it, else as the peer does.
shm::InstallSa terms(std::uint32_t sa, Direction direction, bool here) {
  static const EspSuite suite = parse_esp_proposal("aes128gcm16").value().front();
  shm::InstallSa m = install(suite, direction, false, 0x1000 + sa);
  m.local.address = IpAddress::v4(kUs), m.remote.address = IpAddress::v4(kPeer);
  m.local_ts = *TrafficSelector::parse("10.1.0.0/24"), m.remote_ts = net_of(sa);
  if (!here) std::swap(m.local, m.remote), std::swap(m.local_ts, m.remote_ts);
  m.policy = PolicyId{sa + 1};
  m.replay_window = 64;
  return m;
}
template <class T, class E>
T good(std::expected<T, E> value) {
  if (!value) {
    if constexpr (std::is_same_v<E, std::string>) FAIL(value.error());
    if constexpr (std::is_enum_v<E>) FAIL("result " << static_cast<int>(value.error()));
  }
  return *std::move(value);
}

class Rig {
 public:
  explicit Rig(unsigned wan_queues = kWorkers) : wan_queues_(wan_queues) {
    need_eal();
    pool_ = good(BufferPool::create("overload", 8191, 1500));
    whole_ = good(BufferPool::create("overload-whole", 512, Reassembly::kBufferBytes, false));
    for (const std::uint16_t port : {kLan, kWan}) {
      devices.push_back(std::make_unique<TestDevice>(port == kLan ? "lan" : "wan", port, *pool_, port == kLan ? kWorkers : wan_queues));
      ports_.push_back(std::move(devices.back()->port()));
    }
    interfaces_ = {Interface{"lan", ports_[kLan]->mac(), 1500, {*Prefix::parse("10.1.0.1/24")}},
                   Interface{"wan", ports_[kWan]->mac(), 1500, {*Prefix::parse("10.9.0.1/24")}}};
    own_ = std::make_unique<OwnAddresses>(interfaces_);
    config::Route route;
    route.to = *Prefix::parse("0.0.0.0/0");
    route.via = {IpAddress::v4(kPeer)};
    fib_ = good(Fib::build(interfaces_, std::span(&route, 1), neighbors_));
    for (const NeighborKey& key : {NeighborKey{IpAddress::v4(kPeer), kWan}, NeighborKey{IpAddress::v4(kHost), kLan}}) {
      Neighbor* n = neighbors_.find(key) != nullptr ? neighbors_.find(key) : neighbors_.add(key);
      REQUIRE(n != nullptr);
      n->confirm(kOther);
    }
    segment_ = std::make_unique<shm::Segment>(good(shm::Segment::create(kWorkers, 2, test::kCapacity)));
    make_sas();
    for (const char* name : {"ov-h0", "ov-h1"}) handoff_.push_back(good(BufferRing::create(name, 256)));
    ike_ = good(BufferRing::create("ov-ike", 128)), slow_ = good(BufferRing::create("ov-slow", 128));
    env_ = {.ports = ports_,
            .interfaces = interfaces_,
            .own = {own_.get(), 1},
            .fib = fib_.get(),
            .neighbors = &neighbors_,
            .spd = &current_,
            .policies = {policies_.get(), shm::kMaxPolicies + 1},
            .inbound = &inbound_,
            .awaited = segment_->awaited(),
            .pool = pool_.get(),
            .whole = whole_.get(),
            .handoff = handoff_,
            .ike = ike_.get(),
            .talks = &talks_,
            .slow = slow_.get()};
    for (unsigned w = 0; w < kWorkers; ++w)
      workers.push_back(std::make_unique<Worker>(w, env_, good(CryptoEngine::create()), segment_->workers()[w]));
  }

  /// `ip` in a frame to us.
  void arrives(std::uint16_t port, ByteView ip, unsigned queue, std::uint16_t type = kEtherTypeIpv4) {
    Bytes frame(14);
    std::copy_n(ports_[port]->mac().begin(), 6, frame.begin());
    std::copy_n(kOther.begin(), 6, frame.begin() + 6);
    store_be16(&frame[12], type);
    frame.insert(frame.end(), ip.begin(), ip.end());
    devices[port]->arrives(frame, port == kLan ? queue : queue % wan_queues_, says);
  }
  /// The threads by turns until nothing moves any more.
  void run() {
    for (bool busy = true; busy;) {
      busy = false;
      for (const auto& w : workers) busy |= w->poll();
    }
  }
  /// What the peer sends to us under `sa`.
  Bytes sealed(std::uint32_t sa, const Bytes& inner) {
    return peer_
        .run({inner},
             [&](Burst& b) {
               for (Packet* p : b) {
                 REQUIRE(parse_ip(*p));
                 p->outbound = theirs_[sa].get();
               }
               EspContext context = peer_.context();
               esp_out(b, context);
             })
        .at(0);
  }
  /// What the peer finds in a packet of ours under `sa`; empty: it takes it for a bad one.
  Bytes opened(std::uint32_t sa, const Bytes& outer) {
    const auto inner = peer_.run({outer}, [&](Burst& b) {
      for (Packet* p : b) {
        REQUIRE(parse_ip(*p));
        p->inbound = theirs_in_[sa].get();
      }
      EspContext context = peer_.context();
      esp_in(b, context);
    });
    return inner.empty() ? Bytes{} : inner[0];
  }
  [[nodiscard]] const shm::SaCounters& counters_out(std::uint32_t sa) const { return sa_counters_[sa]; }
  /// The SA for what comes under number `sa` is no more.
  void forget(std::uint32_t sa) {
    const shm::InstallSa gone = terms(sa, Direction::Inbound, true);
    forgotten_.push_back(inbound_.unpublish(gone.slot, gone.spi));
  }
  /// ... but a peer was told its SPI, and culvertd is about to install it; or not any more.
  void await(std::uint32_t sa, bool on = true) {
    const shm::InstallSa terms_of = terms(sa, Direction::Inbound, true);
    segment_->awaited()[terms_of.slot] = on ? terms_of.spi.value : 0;
  }
  void install_forgotten(std::uint32_t sa) {
    REQUIRE(inbound_.publish(terms(sa, Direction::Inbound, true).slot, forgotten_.back()) == shm::AckResult::Ok);
    forgotten_.pop_back();
  }
  [[nodiscard]] std::uint64_t early() const {
    std::uint64_t n = 0;
    for (const auto& w : segment_->workers()) n += w.early.get();
    return n;
  }
  [[nodiscard]] Books books() const {
    std::size_t under_way = ike_->size() + slow_->size();
    for (const auto& r : handoff_) under_way += r->size();
    for (const auto& w : workers) under_way += w->held();
    return Books::of(*segment_, under_way);
  }
  [[nodiscard]] std::uint64_t dropped(Drop reason) const {
    std::uint64_t n = 0;
    for (const auto& w : segment_->workers()) n += w.drops[static_cast<std::size_t>(reason)].get();
    return n;
  }
  /// Buffers that are not where they should be.
  [[nodiscard]] std::size_t missing() const {
    std::size_t kept = ike_->size() + slow_->size();
    for (const auto& r : handoff_) kept += r->size();
    return rte_mempool_in_use_count(pool_->raw()) - kept;
  }

 private:
  void make_sas() {
    std::vector<shm::InstallPolicy> policies;
    auto& engine = peer_.engine();
    for (std::uint32_t sa = 0; sa < kSas; ++sa) {
      const SaPlacement ours{static_cast<std::uint16_t>(sa % kWorkers), &sa_counters_[sa], 0}, far{0, &sa_counters_[kSas], 0};
      outbound_.push_back(good(make_outbound(terms(sa, Direction::Outbound, true), test::kCapacity, engine, ours)));
      policies_[sa + 1].current = outbound_.back().get();
      theirs_.push_back(good(make_outbound(terms(sa, Direction::Outbound, false), test::kCapacity, engine, far)));
      theirs_in_.push_back(good(make_inbound(terms(sa, Direction::Inbound, false), test::kCapacity, engine, far)));
      const SaPlacement in{static_cast<std::uint16_t>(sa % kWorkers), &sa_counters_[kSas + 1 + sa], 0};
      auto made = good(make_inbound(terms(sa, Direction::Inbound, true), test::kCapacity, engine, in));
      REQUIRE(inbound_.publish(terms(sa, Direction::Inbound, true).slot, made) == shm::AckResult::Ok);
      shm::InstallPolicy p;
      p.policy = PolicyId{sa + 1}, p.action = shm::PolicyAction::Protect;
      p.local_ts = *TrafficSelector::parse("10.1.0.0/24"), p.remote_ts = net_of(sa);
      policies.push_back(p);
    }
    for (const auto& [to, action, id] : {std::tuple{"10.3.0.0/16", shm::PolicyAction::Bypass, 10U},
                                         {"10.4.0.0/16", shm::PolicyAction::Discard, 11U},
                                         {"10.5.0.0/16", shm::PolicyAction::Protect, 12U}}) {
      shm::InstallPolicy p;
      p.policy = PolicyId{id}, p.action = action, p.acquire = true;
      p.local_ts = *TrafficSelector::parse("10.1.0.0/24"), p.remote_ts = *TrafficSelector::parse(to);
      policies.push_back(p);
    }
    spd_ = good(Spd::build(policies));
    current_ = spd_.get();
  }

  const unsigned wan_queues_;
  test::Worker peer_;
  std::unique_ptr<BufferPool> pool_, whole_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<Interface> interfaces_;
  std::unique_ptr<OwnAddresses> own_;
  NeighborTable neighbors_;
  std::unique_ptr<Fib> fib_;
  std::unique_ptr<shm::Segment> segment_;
  std::array<shm::SaCounters, 2 * kSas + 1> sa_counters_{};
  std::unique_ptr<PolicyState[]> policies_ = std::make_unique<PolicyState[]>(shm::kMaxPolicies + 1);
  InboundTable inbound_{test::kCapacity};
  std::vector<SaPtr<InboundSa>> forgotten_, theirs_in_;
  std::vector<SaPtr<OutboundSa>> outbound_, theirs_;
  std::unique_ptr<Spd> spd_;
  std::atomic<const Spd*> current_{nullptr};
  std::vector<std::unique_ptr<BufferRing>> handoff_;
  std::unique_ptr<BufferRing> ike_, slow_;
  IkeTalks talks_{7};
  WorkerEnvironment env_;

 public:
  std::vector<std::unique_ptr<TestDevice>> devices;
  std::vector<std::unique_ptr<Worker>> workers;
  std::uint64_t says = 0;  ///< what devices say of each frame
  [[nodiscard]] const Port& port(std::uint16_t number) const { return *ports_[number]; }
};

/// UDP of `bytes`, numbered: `number` stands behind the header.
Bytes numbered(std::uint32_t source, std::uint32_t destination, std::uint32_t number, std::size_t bytes = 64, std::uint8_t ttl = 64) {
  Bytes p = packet_of(source, destination, kProtocolUdp, 1000, 9);
  p.resize(bytes);
  p[8] = ttl;
  store_be16(&p[2], static_cast<std::uint16_t>(bytes));
  store_be16(&p[24], static_cast<std::uint16_t>(bytes - 20));
  store_be32(&p[28], number);
  set_ipv4_checksum(p.data());
  return p;
}
Bytes echo_request(std::uint32_t source, std::uint32_t destination) {
  Bytes p = packet_of(source, destination, kProtocolIcmp, 0x0800, 0);
  store_be16(&p[22], 0xf7ff);
  return p;
}
Bytes ike_datagram() {
  Bytes p = numbered(kPeer, kUs, 0x01020304, 56);
  store_be16(&p[20], 500), store_be16(&p[22], 500);
  return p;
}

/// One round of everything. Good packets are numbered by `number` per SA.
class Mixture {
 public:
  explicit Mixture(Rig& rig) : rig_(rig) {}
  void round() {
    for (std::uint32_t sa = 0; sa < kSas; ++sa)
      for (int i = 0; i < 20; ++i) {
        // RSS puts a flow on one queue, which need not be that of the SA's owner.
        rig_.arrives(kLan, numbered(kHost, far_host(sa), ++out_, 64 + random_() % 1300), sa / 2);
        rig_.arrives(kWan, last_ = rig_.sealed(sa, numbered(far_host(sa), kHost, ++in_, 64 + random_() % 1300)), sa / 2);
      }
    for (unsigned q = 0; q < TestDevice::kQueues; ++q) {
      rig_.arrives(kWan, last_, q);                                      // a duplicate
      rig_.arrives(kLan, numbered(kHost, far_host(q), 0, 1490), q);      // fragments under its SA
      rig_.arrives(kLan, numbered(kHost, 0x0a030001, 0), q);             // in clear
      rig_.arrives(kLan, numbered(kHost, 0x0a030001, 0, 64, 1), q);      // time exceeded
      rig_.arrives(kLan, numbered(kHost, 0x0a040001, 0), q);             // discarded
      rig_.arrives(kLan, numbered(kHost, 0x0a050001, 0), q);             // no SA
      rig_.arrives(kLan, numbered(kHost, 0x0a0100c8, 0), q);             // a neighbour that is not known
      rig_.arrives(kLan, echo_request(kHost, 0x0a010001), q);            // answered
      rig_.arrives(kLan, numbered(0x7f000001, 0x0a030001, 0), q);        // a martian
      rig_.arrives(kWan, numbered(far_host(0), kHost, 0), q);            // in clear, and should not be
      rig_.arrives(kWan, packet_of(kPeer, kUs, kProtocolEsp, 1, 2), q);  // no such SA
      rig_.arrives(kWan, ike_datagram(), q);                             // for culvertd
      rig_.arrives(kWan, packet_of(kPeer, kUs, kProtocolUdp, 7, 7), q);  // for nobody
      rig_.arrives(kWan, packet_of(kPeer, kUs, kProtocolUdp, 4500, 4500, static_cast<std::uint16_t>(kIpv4Mf)), q);  // a fragment, alone
      rig_.arrives(kWan, Bytes(7, 0x45), q);
      rig_.arrives(kWan, Bytes(60), q, 0x88cc);
      rig_.arrives(kLan, Bytes(28, 1), q, 0x0806);
    }
  }
  [[nodiscard]] std::uint32_t out() const { return out_; }

 private:
  Rig& rig_;
  std::uint32_t out_ = 0, in_ = 0;
  Bytes last_;
  std::minstd_rand random_{7};
};

/// The numbers of one source, in the order in which they were sent, may only grow.
void expect_order(const std::vector<Bytes>& frames, std::size_t key, std::size_t number, bool (*meant)(const Bytes&),
                  std::size_t at_least) {
  std::map<std::uint32_t, std::uint32_t> last;
  std::size_t seen = 0, out_of_place = 0;
  for (const Bytes& f : frames) {
    if (f.size() < 14 + number + 4 || !meant(f)) continue;
    const std::uint32_t n = load_be32(&f[14 + number]);
    std::uint32_t& l = last[load_be32(&f[14 + key])];
    out_of_place += n <= l;
    l = n, ++seen;
  }
  CHECK(out_of_place == 0);
  CHECK(seen >= at_least);
}
void everything_in_place(const Rig& rig, std::size_t at_least) {
  expect_order(rig.devices[kWan]->sent, 20, 24, [](const Bytes& f) { return f[14 + 9] == kProtocolEsp; }, at_least);  // by SPI
  expect_order(rig.devices[kLan]->sent, 12, 28, [](const Bytes& f) { return f[14 + 9] == kProtocolUdp && f[14 + 13] == 2; }, at_least);
}
/// `early`: so many packets wait for their SA.
void balanced(const Rig& rig, std::size_t early = 0) {
  const Books b = rig.books();
  INFO(b.text());
  CHECK(b.balanced());
  CHECK(b.received == rig.devices[kLan]->offered + rig.devices[kWan]->offered);
  CHECK(b.sent == rig.devices[kLan]->sent.size() + rig.devices[kWan]->sent.size());
  CHECK(rig.missing() == early);
}
}  // namespace

TEST_CASE("ten times of what the ports take: in = out + drops by reason", "[overload]") {
  Rig rig;
  Mixture mixture(rig);
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    mixture.round();
    for (const auto& d : rig.devices) d->room = 9;  // of the 97 that each round brings
    rig.run();
    balanced(rig);
  }
  const std::size_t offered = rig.devices[kLan]->offered + rig.devices[kWan]->offered;
  const std::size_t sent = rig.devices[kLan]->sent.size() + rig.devices[kWan]->sent.size();
  CHECK(offered > 9 * sent);
  CHECK(sent > 1500);
  CHECK(rig.dropped(Drop::TxFull) > offered / 2);
  CHECK(rig.dropped(Drop::PuntFull) > 0);
  everything_in_place(rig, 300);
}

TEST_CASE("at ten times with full hand-over rings, and one queue for two workers, the books are right, too", "[overload]") {
  Rig rig(1);
  Mixture mixture(rig);
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 8; ++i) mixture.round();
    for (const auto& d : rig.devices) d->room = 90;
    // One worker at a time, for as long as it has something to do: what it hands over finds the ring full.
    for (const auto& w : rig.workers)
      while (w->poll()) {
      }
    rig.run();
    balanced(rig);
  }
  CHECK(rig.dropped(Drop::HandoffFull) > 0);
  everything_in_place(rig, 500);
}

TEST_CASE("where all is taken no good packet is lost, wherever it arrives", "[overload]") {
  Rig rig;
  Mixture mixture(rig);
  for (int round = 0; round < 60; ++round) {
    mixture.round();
    rig.run();
  }
  balanced(rig);
  for (const Drop none : {Drop::EspOld, Drop::TxFull, Drop::HandoffFull, Drop::EspAuth, Drop::NoBuffer, Drop::EspSequence}) {
    INFO(info(none).name);
    CHECK(rig.dropped(none) == 0);
  }
  CHECK(rig.dropped(Drop::EspReplay) == 60 * TestDevice::kQueues);  // the duplicates
  everything_in_place(rig, 60 * kSas * 20);
}

TEST_CASE("what comes out of a tunnel is what went in, one hop further and in order, whatever else comes", "[worker]") {
  Rig rig;
  std::minstd_rand random(5);
  std::map<std::uint32_t, std::vector<Bytes>> want, got;  // by source, without checksums
  for (std::uint32_t n = 1; n <= 2000; ++n) {
    Bytes p = numbered(static_cast<std::uint32_t>(far_host(0) + random() % 3), kHost, n, 40 + random() % 1300, random() % 8 == 0 ? 1 : 9);
    p[1] = static_cast<std::uint8_t>(random());
    if (random() % 9 == 0) p[0] = 0x46, p.insert(p.begin() + 20, 4, 1), store_be16(&p[2], static_cast<std::uint16_t>(p.size()));
    set_ipv4_checksum(p.data(), (p[0] & 15U) * 4U);
    Bytes outer = rig.sealed(0, p);
    if (random() % 6 == 0) outer[1] |= 3, set_ipv4_checksum(outer.data());
    rig.arrives(kWan, outer, 0);
    if (n % 40 == 0) rig.run();
    if (p[8] == 1 || ((outer[1] & 3) == 3 && (p[1] & 3) == 0)) continue;  // RFC 6040 §4.2: dropped
    if ((outer[1] & 3) == 3) p[1] |= 3;
    p[8] -= 1, store_be16(&p[10], 0);
    want[load_be32(&p[12])].push_back(p);
  }
  for (const Bytes& f : rig.devices[kLan]->sent) {
    CHECK(ipv4_header_sum(&f[14], (f[14] & 15U) * 4U) == 0xffff);
    store_be16(got[load_be32(&f[26])].emplace_back(f.begin() + 14, f.end()).data() + 10, 0);
  }
  CHECK(got == want);
  balanced(rig);
}

TEST_CASE("what looks like the packet of an SA that is no more, or never was, is nobody's", "[worker]") {
  Rig rig;
  const auto of_protocol_0 = [](std::uint32_t source, std::uint32_t destination, std::uint32_t spi) {
    Bytes p = packet_of(source, destination, 0, 0, 0);
    p.resize(60);
    store_be16(&p[2], 60);
    store_be32(&p[20], spi);
    set_ipv4_checksum(p.data());
    return p;
  };
  rig.arrives(kWan, of_protocol_0(0, 0, 0), 0);
  rig.run();
  CHECK(rig.dropped(Drop::RxMartian) == 1);
  rig.arrives(kWan, rig.sealed(0, numbered(far_host(0), kHost, 1)), 0);
  rig.run();
  CHECK(rig.devices[kLan]->sent.size() == 1);
  const Bytes late = rig.sealed(0, numbered(far_host(0), kHost, 2));
  rig.forget(0);
  rig.arrives(kWan, of_protocol_0(kPeer, kUs, load_be32(&late[20])), 0);
  rig.arrives(kWan, late, 0);
  rig.run();
  CHECK(rig.dropped(Drop::EspNoSa) == 1);
  CHECK(rig.dropped(Drop::LocalUnhandled) == 1);
  CHECK(rig.devices[kLan]->sent.size() == 1);
  balanced(rig);
}

TEST_CASE("packets that come before their SA wait for it, and go on in order, by whichever worker they came", "[worker][early]") {
  Rig rig;
  for (const std::uint32_t sa : {0U, 1U}) {
    rig.forget(sa);
    rig.await(sa);
    for (std::uint32_t n = 1; n <= 100; ++n) rig.arrives(kWan, rig.sealed(sa, numbered(far_host(sa), kHost, n)), 0);
    rig.run();
    CHECK(rig.devices[kLan]->sent.size() == 100 * sa);
    balanced(rig, 100);
    rig.install_forgotten(sa);
    rig.await(sa, false);
    rig.run();
    CHECK(rig.devices[kLan]->sent.size() == 100 * (sa + 1));
    CHECK(rig.early() == 100 * (sa + 1));
    balanced(rig);
  }
  expect_order(rig.devices[kLan]->sent, 12, 28, [](const Bytes&) { return true; }, 200);
  CHECK(rig.dropped(Drop::EspNoSa) == 0);
}

TEST_CASE("packets before their SA: no more than there is room for, not for long, and none of an SPI that no peer was told",
          "[worker][early]") {
  Rig rig;
  rig.forget(0);
  const Bytes packet = rig.sealed(0, numbered(far_host(0), kHost, 1));
  rig.arrives(kWan, packet, 0);
  rig.run();
  CHECK(rig.dropped(Drop::EspNoSa) == 1);
  rig.await(0);
  Bytes like_it = packet;  // its slot, and another SPI
  like_it[20] ^= 0x80U;
  rig.arrives(kWan, like_it, 0);
  for (std::size_t i = 0; i < EarlyPackets::kMost + 5; ++i) rig.arrives(kWan, packet, 0);
  rig.run();
  CHECK(rig.dropped(Drop::EspNoSa) == 1 + 1 + 5);
  balanced(rig, EarlyPackets::kMost);
  std::this_thread::sleep_for(std::chrono::nanoseconds(EarlyPackets::kPatience));
  rig.run();
  CHECK(rig.dropped(Drop::EspNoSa) == 1 + 1 + 5 + EarlyPackets::kMost);
  CHECK(rig.early() == 0);
  balanced(rig);
  rig.arrives(kWan, packet, 0);  // what is kept when the worker ends is given back
  rig.run();
  balanced(rig, 1);
  rig.workers.clear();
  CHECK(rig.missing() == 0);
}

TEST_CASE("what goes into a tunnel comes out of it one hop further and in order, whatever else goes there", "[worker]") {
  const bool alternate = GENERATE(false, true);  // from packet to packet, between two SAs of one worker
  Rig rig;
  std::minstd_rand random(6);
  const auto flow_of = [](const Bytes& p) {
    Bytes flow(&p[12], &p[20]);
    flow.push_back(p[9]);
    return flow;
  };
  std::map<Bytes, std::vector<Bytes>> want, got;  // by protocol and addresses
  std::array<std::uint64_t, kSas> packets{}, bytes{}, sent{};
  std::uint32_t first = 0;
  for (std::uint32_t n = 1; n <= 3000; ++n) {
    if (random() % 12 == 0) first = random() % kSas;
    const std::uint32_t sa = (first + (alternate ? n % 2 * kWorkers : 0)) % kSas;
    Bytes p = numbered(kHost + random() % 3, far_host(sa), n, 40 + random() % 1380, random() % 20 == 0 ? 1 : 9);
    p[1] = static_cast<std::uint8_t>(random());
    p[6] = random() % 2 == 0 ? 0x40 : 0;
    if (random() % 15 == 0) p[9] = kProtocolTcp, p[32] = 0x50, p[33] = 2;  // opens a connection
    if (random() % 25 == 0) p[0] = 0x46, p.insert(p.begin() + 20, 4, 1), store_be16(&p[2], static_cast<std::uint16_t>(p.size()));
    set_ipv4_checksum(p.data(), (p[0] & 15U) * 4U);
    rig.arrives(kLan, p, (n - 1) / 100 % 2);
    if (n % 50 == 0) rig.run();
    if (p[8] == 1) continue;
    p[8] -= 1, set_ipv4_checksum(p.data(), (p[0] & 15U) * 4U);
    packets[sa] += 1, bytes[sa] += p.size();
    want[flow_of(p)].push_back(p);
  }
  for (const Bytes& f : rig.devices[kWan]->sent) {
    const Bytes outer(f.begin() + 14, f.end());
    CHECK(std::equal(kOther.begin(), kOther.end(), f.begin()));
    CHECK(std::equal(f.begin() + 6, f.begin() + 12, rig.port(kWan).mac().begin()));
    CHECK(ipv4_header_sum(outer.data(), 20) == 0xffff);
    const std::uint32_t under = load_be32(&outer[20]) - 0x1000;
    REQUIRE(under < kSas);
    Bytes inner = rig.opened(under, outer);
    CHECK(load_be32(&outer[24]) == ++sent[under]);
    REQUIRE(inner.size() > 20);
    CHECK((outer[1] == inner[1] && (outer[6] & 0x40) == (inner[6] & 0x40)));
    got[flow_of(inner)].push_back(std::move(inner));
  }
  CHECK(got == want);
  for (std::uint32_t i = 0; i < kSas; ++i) {
    CHECK(rig.counters_out(i).packets.get() == packets[i]);
    CHECK(rig.counters_out(i).bytes.get() == bytes[i]);
    CHECK(rig.counters_out(i).sequence.get() == packets[i]);
  }
  balanced(rig);
}

TEST_CASE("a device that has checked an IPv4 header is believed, where it was asked and is sure", "[port][checksum]") {
  struct Row {
    const char* what;
    std::uint64_t says;
    bool right, passes_if_asked, passes_if_not;
  };
  const std::vector<Row> rows{
      {"nothing", 0, true, true, true},
      {"nothing", 0, false, false, false},
      {"good", RTE_MBUF_F_RX_IP_CKSUM_GOOD, true, true, true},
      {"good, and it is not", RTE_MBUF_F_RX_IP_CKSUM_GOOD, false, true, false},  // nobody looks any more
      {"good inside of a tunnel, bad outside", RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD, false, false, false},
      {"bad", RTE_MBUF_F_RX_IP_CKSUM_BAD, false, false, false},
      {"bad, and it is not", RTE_MBUF_F_RX_IP_CKSUM_BAD, true, true, true},
      {"none", RTE_MBUF_F_RX_IP_CKSUM_NONE, true, true, true},
      {"none", RTE_MBUF_F_RX_IP_CKSUM_NONE, false, false, false}};
  for (const bool offered : {true, false}) {
    DeviceFaker device;
    device.receives = offered ? RTE_ETH_RX_OFFLOAD_IPV4_CKSUM : 0;
    Rig rig;
    CHECK((rig.port(kLan).sums() == offered && rig.port(kWan).sums() == offered));
    CHECK(std::ranges::count(device.asked, "checksums") == (offered ? 2 : 0));
    for (const Row& row : rows) {
      INFO(row.what << ", " << row.right << ", " << offered);
      Bytes packet = numbered(kHost, 0x0a030001, 1);
      if (!row.right) packet[10] ^= 0x40;
      rig.says = row.says;
      rig.arrives(kLan, packet, 0);
      const std::size_t before = rig.devices[kWan]->sent.size();
      const std::uint64_t malformed = rig.dropped(Drop::RxMalformed);
      rig.run();
      const bool passed = rig.devices[kWan]->sent.size() == before + 1;
      CHECK(passed == (offered ? row.passes_if_asked : row.passes_if_not));
      CHECK((rig.dropped(Drop::RxMalformed) == malformed) == passed);
    }
    rig.says = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
    Mixture mixture(rig);
    for (int round = 0; round < 10; ++round) mixture.round(), rig.run();
    balanced(rig);
    everything_in_place(rig, 10 * kSas * 20);
  }
}

}  // namespace culvert::dp

#include "dataplane/manager/manager.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "common/bytes.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kTick = 50 * kMs, kStatistics = 500 * kMs;
// With a new snapshot of the SPD workers forget what the last one said of flows: what is to be changed next is changed together.
constexpr std::uint64_t kSnapshotGap = 5 * kMs;
constexpr std::size_t kCommandBatch = 128;
// Waiting events: every SA can expire twice, and each command in the ring is owed an ack. No more commands are taken beyond.
constexpr std::size_t kEventBacklog = 4096;

std::uint64_t monotonic_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}
Commands::Tables with_others(Commands::Tables tables, std::function<shm::AckResult(const shm::Message&)> others) {
  tables.others = std::move(others);
  return tables;
}
void drain(int fd) {
  std::uint64_t count;
  while (::read(fd, &count, sizeof count) < 0 && errno == EINTR) {
  }
}
}  // namespace

Manager::Manager(const Setup& s)
    : env_(s.environment),
      segment_(s.tables.segment),
      rcu_(s.tables.rcu),
      commands_(with_others(s.tables, [this](const shm::Message& m) { return ask(m); })),
      forecast_(s.environment),
      capture_(s.capture),
      resolver_(s.neighbors, s.tables.rcu,
                {[this](const NeighborKey& key) { ask_for(key); }, [this](void* buffer) { pass_on(buffer, Handoff::Egress, {}); },
                 [this](void* buffer, bool tell) { end(buffer, Drop::NeighborUnresolved, tell); }}),
      next_hops_(s.fib, s.environment.interfaces, s.environment.ports, resolver_),
      groups_(
          s.environment.interfaces, [this](std::uint16_t number, const GroupReports::Write& write) { send_own(number, write); },
          s.environment.hash_seed),
      ports_(s.environment.ports, s.interfaces, s.environment.vlan_traffic, s.tables.rcu),
      injector_(s.environment.own, *s.environment.fib, s.environment.interfaces, *s.environment.pool, *s.environment.talks,
                segment_.manager()),
      signal_fd_(s.signal_fd) {}

Manager::~Manager() { give_up(); }

std::expected<std::unique_ptr<Manager>, std::string> Manager::create(const Setup& setup) {
  std::unique_ptr<Manager> m(new Manager(setup));
  m->epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  auto server = AttachServer::listen(
      setup.config.dataplane.socket, setup.config.dataplane.control_user, setup.tables.segment.header().boot_id,
      [raw = m.get()] { return raw->attach(); }, [raw = m.get()] { raw->detach(); });
  if (!server) return std::unexpected(server.error());
  m->server_ = std::move(*server);
  for (const int fd : {m->server_->fd(), setup.environment.manager->fd(), setup.signal_fd}) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.fd = fd;
    if (::epoll_ctl(m->epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) return std::unexpected(std::string("epoll: ") + std::strerror(errno));
  }
  return m;
}

void Manager::run() {
  for (std::size_t i = 0; i < env_.interfaces.size(); ++i) announce(static_cast<std::uint16_t>(i), monotonic_ns());
  while (!stop_) {
    const std::uint64_t now = monotonic_ns();
    if (now >= next_tick_) tick(now);
    wait(work());
  }
}

/// True: there may be more at once.
bool Manager::work() {
  bool more = take_slow();
  more |= take_ike();
  if (session_) {
    // A datagram goes behind what was asked for before it: an answer of IKE behind the SAs that it is about.
    const std::uint32_t injected = session_->inject.fill();
    const bool commands_left = take_commands();
    if (session_ && !held_back_) more |= commands_left || take_injected(injected);
    if (session_) more |= send_events();
  }
  return more;
}

/// Sleeps if there is no more to do. Looks at signals and sockets in any case: no flood keeps the process from ending.
void Manager::wait(bool more) {
  if (!more) {
    env_.manager->prepare_sleep();
    more = !env_.ike->empty() || !env_.slow->empty();
  }
  std::array<epoll_event, 8> events;
  const std::uint64_t now = monotonic_ns();
  const std::uint64_t sleep = session_ && held_back_ ? std::max(next_commands_, now) - now + kMs : kTick;
  const int n = ::epoll_wait(epoll_.get(), events.data(), events.size(), more ? 0 : static_cast<int>(sleep / kMs));
  env_.manager->awake();
  if (!more) resolver_.tick(monotonic_ns());
  for (int i = 0; i < n; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == signal_fd_) {
      stop_ = true;
    } else if (fd == server_->fd()) {
      server_->serve(monotonic_ns());
    } else if (session_ && fd == session_->to_dataplane.get()) {
      drain(fd);
    }
  }
}

void Manager::tick(std::uint64_t now) {
  next_tick_ = now + kTick;
  server_->serve(now);
  resolver_.tick(now);
  next_hops_.look();
  groups_.tick(now);
  rcu_.reclaim();
  commands_.forget_path_mtus(now);
  if (capture_.id.load(std::memory_order_relaxed) != 0 && now >= capture_ends_) end_capture();
  send_dummies(now);
  for (const shm::Expire& e : commands_.expirations(now)) {
    spdlog::info("{} SA {:08x}: {} lifetime reached", e.direction == Direction::Inbound ? "inbound" : "outbound", e.spi.value,
                 e.hard ? "hard" : "soft");
    if (session_) events_.push_back(shm::Message::of(e));
  }
  if (events_.size() < kEventBacklog)
    for (const shm::Moved& m : commands_.moves())
      if (session_) events_.push_back(shm::Message::of(m));
  if (now < next_statistics_) return;
  next_statistics_ = now + kStatistics;
  for (const std::uint16_t interface : ports_.look(segment_.ports(), now)) {
    resolver_.renew(interface, now);
    announce(interface, now);
  }
}

bool Manager::take_commands() {
  const std::uint64_t now = monotonic_ns();
  held_back_ = now < next_commands_ && session_->commands.fill() != 0;
  if (held_back_ || events_.size() >= kEventBacklog) return false;  // back-pressure: what is not taken stays in the ring
  std::array<shm::Message, kCommandBatch> batch;
  std::size_t n = 0;
  shm::RingStatus status = shm::RingStatus::Item;
  while (n < batch.size()) {
    status = session_->commands.consume<true>([&](const shm::Message& m) { batch[n] = m; });
    if (status != shm::RingStatus::Item) break;
    ++n;
  }
  if (n > 0) {
    const std::uint64_t snapshots = commands_.snapshots();
    for (const shm::Ack& ack : commands_.apply(std::span(batch).first(n), now)) events_.push_back(shm::Message::of(ack));
    wipe_object(batch);
    if (commands_.snapshots() != snapshots) next_commands_ = monotonic_ns() + kSnapshotGap;
  }
  if (status == shm::RingStatus::Corrupt) corrupt("command");
  return n == batch.size();
}

/// Commands that are questions.
shm::AckResult Manager::ask(const shm::Message& message) {
  if (message.type == shm::MessageType::TracePacket) return trace_packet(message.as<shm::TracePacket>());
  if (message.type == shm::MessageType::Capture) return capture(message.as<shm::Capture>());
  spdlog::debug("culvertd sent a message of unknown type {}", static_cast<unsigned>(message.type));
  return shm::AckResult::BadMessage;
}

shm::AckResult Manager::trace_packet(const shm::TracePacket& question) {
  const auto path = forecast_.of(question);
  if (!path) return path.error();
  events_.push_back(shm::Message::of(shm::Traced{question.id, *path}));
  return shm::AckResult::Ok;
}

shm::AckResult Manager::capture(const shm::Capture& wanted) {
  end_capture();
  if (wanted.id == 0) return shm::AckResult::Ok;
  const bool sound = wanted.every >= 1 && wanted.bytes >= 1 && wanted.bytes <= shm::Captured::kBytes && wanted.seconds >= 1 &&
                     wanted.seconds <= shm::Capture::kMaxSeconds && wanted.what != 0 &&
                     (wanted.what & ~(shm::Capture::kOuter | shm::Capture::kInner | shm::Capture::kPath)) == 0 &&
                     !wanted.name.view().empty();
  if (!sound) return shm::AckResult::BadMessage;
  commands_.watch(wanted.name.view());
  capture_.every = wanted.every;
  capture_.bytes = wanted.bytes;
  capture_.what = wanted.what;
  capture_.id.store(wanted.id, std::memory_order_release);
  capture_ends_ = monotonic_ns() + wanted.seconds * 1000 * kMs;
  spdlog::info("packets of {} are captured, {} s", printable(as_bytes(wanted.name.view())), wanted.seconds);
  return shm::AckResult::Ok;
}

void Manager::end_capture() {
  if (capture_.id.exchange(0, std::memory_order_release) == 0) return;
  commands_.watch({});
  spdlog::info("no packet is captured any more");
}

bool Manager::take_injected(std::uint32_t most) {
  for (std::size_t i = 0; i < std::min<std::size_t>(kCommandBatch, most); ++i) {
    const shm::RingStatus s = injector_.inject(session_->inject, [this](const Packet& p) {
      segment_.manager().generated.add(1);
      give_to_worker(p, {.kind = Handoff::Egress, .local = true, .vrf = p.vrf});
    });
    if (s == shm::RingStatus::Corrupt) corrupt("inject");
    if (s != shm::RingStatus::Item) return false;
  }
  return most > kCommandBatch;
}

bool Manager::take_ike() {
  std::array<void*, kBurstMax> buffers;
  const std::size_t n = env_.ike->pop(buffers);
  for (std::size_t i = 0; i < n; ++i) {
    Packet p;
    load_handed_over(buffers[i], p);
    if (const auto refused = punt_packet(p, note_of(buffers[i]))) {
      end(buffers[i], *refused, false);
    } else {
      BufferPool::release(nullptr, std::span(&buffers[i], 1));
    }
  }
  return n == buffers.size();
}

/// A datagram for culvertd.
std::optional<Drop> Manager::punt_packet(Packet& p, const HandoffNote& note) {
  if (!session_) return Drop::PuntFull;  // nobody is attached
  if (!parse_ip(p)) return Drop::PuntInvalid;
  const auto refused = punt(p, note.heard, note.stray, session_->punt);
  if (refused) return refused;
  notify_ = true;
  segment_.manager().consumed.add(1);
  return std::nullopt;
}

bool Manager::take_slow() {
  std::array<void*, kBurstMax> buffers;
  const std::size_t n = env_.slow->pop(buffers);
  const std::uint64_t now = n > 0 ? monotonic_ns() : 0;
  for (std::size_t i = 0; i < n; ++i) {
    const HandoffNote note = note_of(buffers[i]);
    if (note.kind == Handoff::Acquire) {
      report_acquire(buffers[i]);
    } else if (note.kind == Handoff::PathMtu) {
      learn_path_mtu(buffers[i], now);
    } else if (note.kind == Handoff::GroupQuery) {
      group_query(buffers[i], now);
    } else {
      resolver_.want({note.next_hop, note.port}, buffers[i], now);
    }
  }
  return n == buffers.size();
}

void Manager::send_dummies(std::uint64_t now) {
  for (const Commands::Dummy& d : commands_.due_dummies(now)) {
    Packet p;
    if (!env_.pool->allocate(p)) return;
    segment_.manager().generated.add(1);
    store_view(p);
    note_of(p.handle) = {.kind = Handoff::Dummy, .policy = d.policy, .slot = d.slot, .spi = d.spi, .from_tunnel = true, .local = true};
    if (!env_.handoff[d.worker]->push(p.handle)) drop(p.handle, Drop::HandoffFull);
  }
}

void Manager::learn_path_mtu(void* buffer, std::uint64_t now) {
  Packet p;
  load_handed_over(buffer, p);
  const auto claim = parse_ip(p) ? path_mtu_claim(p) : std::nullopt;
  if (!claim || !commands_.learn_path_mtu(*claim, now)) return drop(buffer, Drop::IcmpIgnored);
  segment_.manager().consumed.add(1);
  BufferPool::release(nullptr, std::span(&buffer, 1));
}

void Manager::report_acquire(void* buffer) {
  Packet p;
  load_view(buffer, p);
  if (session_ && events_.size() < kEventBacklog && parse_ip(p)) {
    shm::Acquire a{note_of(buffer).policy, source_of(p), destination_of(p), p.source_port, p.destination_port, p.protocol};
    events_.push_back(shm::Message::of(a));
  }
  drop(buffer, Drop::PolicyNoSa);
}

bool Manager::send_events() {
  while (!events_.empty() && session_->events.push(events_.front())) {
    events_.pop_front();
    notify_ = true;
  }
  if (!notify_) return false;
  notify_ = false;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(session_->to_control.get(), &one, sizeof one);  // full: it was told already
  return false;
}

void Manager::corrupt(const char* ring) {
  if (session_) server_->evict(std::string("the index of its ") + ring + " ring is impossible");
}

std::array<int, shm::kHandshakeFds> Manager::attach() {
  segment_.reset_rings();
  events_.clear();
  auto& r = segment_.rings();
  session_.emplace(Session{Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
                           CommandConsumer(r.command), EventProducer(r.event), PuntProducer(r.punt), InjectConsumer(r.inject)});
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = session_->to_dataplane.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, e.data.fd, &e) != 0) spdlog::error("attach: epoll: {}", std::strerror(errno));
  for (const shm::Expire& expired : commands_.reported()) events_.push_back(shm::Message::of(expired));
  commands_.attached();
  return {segment_.fd(), session_->to_control.get(), session_->to_dataplane.get()};
}

void Manager::detach() {
  end_capture();
  session_.reset();
  events_.clear();
}

void Manager::give_to_worker(const Packet& packet, HandoffNote note, std::size_t worker) {
  store_view(packet);
  note_of(packet.handle) = note;
  if (env_.handoff[worker]->push(packet.handle)) return;
  drop(packet.handle, note.kind == Handoff::Unreachable ? note.reason : Drop::HandoffFull);
}

void Manager::count(Drop reason, std::size_t packets) { segment_.manager().drops[static_cast<std::size_t>(reason)].add(packets); }

void Manager::drop(void* buffer, Drop reason) {
  count(reason, 1);
  BufferPool::release(nullptr, std::span(&buffer, 1));
}

void Manager::end(void* buffer, Drop reason, bool tell) {
  if (!tell) return drop(buffer, reason);
  pass_on(buffer, Handoff::Unreachable, reason);
}

/// What has waited goes back to a worker.
void Manager::pass_on(void* buffer, Handoff kind, Drop reason) {
  Packet p;
  load_view(buffer, p);
  HandoffNote note = note_of(buffer);
  note.kind = kind, note.reason = reason;
  give_to_worker(p, note);
}

}  // namespace culvert::dp

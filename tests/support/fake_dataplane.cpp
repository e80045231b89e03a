#include "tests/support/fake_dataplane.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace culvert::test {

using namespace culvert::shm;

FakeDataplane::FakeDataplane(std::uint32_t sa_capacity, std::uint32_t workers, std::uint32_t ports) {
  auto made = Segment::create(workers, ports, sa_capacity);
  if (!made) throw std::runtime_error(made.error());
  segment_.emplace(std::move(*made));
  for (std::uint32_t i = 0; i < ports; ++i) segment_->ports()[i].name = Name("port" + std::to_string(i));
  to_control = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  to_dataplane = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

FakeDataplane::~FakeDataplane() {
  drop_client();
  if (listener_ >= 0) {
    ::close(listener_);
    ::unlink(path_.c_str());
  }
  ::close(to_control);
  ::close(to_dataplane);
}

void FakeDataplane::listen(const std::string& path) {
  path_ = path;
  ::unlink(path.c_str());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  listener_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(listener_, 4) != 0)
    throw std::runtime_error("cannot listen on " + path);
}

bool FakeDataplane::accept(WelcomeResult result) {
  const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return false;
  Hello hello;
  if (!receive_with_fds(client, std::as_writable_bytes(std::span(&hello, 1)), {})) {
    ::close(client);
    return false;
  }
  if (result != WelcomeResult::Ok) {
    welcome(client, result);
    ::close(client);
    return false;
  }
  drop_client();
  segment_->reset_rings();
  welcome(client, result);
  client_ = client;
  return true;
}

int FakeDataplane::connect_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair");
  drop_client();
  segment_->reset_rings();
  client_ = ends[0];
  welcome(client_, WelcomeResult::Ok);
  return ends[1];
}

void FakeDataplane::welcome(int client, WelcomeResult result) {
  commands_.emplace(segment_->rings().command);
  events_.emplace(segment_->rings().event);
  punts_.emplace(segment_->rings().punt);
  injects_.emplace(segment_->rings().inject);
  const Welcome w{kSegmentMagic, result, kContractVersion, layout_hash(), segment_->header().boot_id};
  const std::array fds{segment_->fd(), to_control, to_dataplane};
  const auto sent = send_with_fds(client, std::as_bytes(std::span(&w, 1)),
                                  result == WelcomeResult::Ok ? std::span<const int>(fds) : std::span<const int>());
  if (!sent) throw std::runtime_error(sent.error());
  sent_.clear();
}

void FakeDataplane::drop_client() {
  if (client_ >= 0) ::close(client_);
  client_ = -1;
}

std::size_t FakeDataplane::pump(std::size_t budget) {
  std::size_t done = 0;
  for (Message m; done < budget && commands_ && commands_->consume<true>([&m](const Message& slot) { m = slot; }) == RingStatus::Item;
       ++done) {
    executed.push_back(m.type);
    const auto refusal = refuse.find(m.type);
    const AckResult result = refusal != refuse.end() ? refusal->second : execute(m);
    if (!silent) event(Message::of(Ack{m.transaction, result}));
  }
  return done;
}

AckResult FakeDataplane::execute(const Message& m) {
  switch (m.type) {
    case MessageType::InstallPolicy: {
      const auto p = m.as<InstallPolicy>();
      policies[p.policy.value] = p;
      sent_.insert(p.policy.value);
      return AckResult::Ok;
    }
    case MessageType::RemovePolicy:
      return policies.erase(m.as<RemovePolicy>().policy.value) > 0 ? AckResult::Ok : AckResult::NotFound;
    case MessageType::PoliciesComplete:
      std::erase_if(policies, [this](const auto& p) { return !sent_.contains(p.first); });
      complete_with = policies.size();
      return AckResult::Ok;
    case MessageType::InstallSa:
      return install(m.as<InstallSa>());
    case MessageType::RemoveSa:
      return remove(m.as<RemoveSa>());
    case MessageType::SkipNumbers:
      return AckResult::Ok;
    case MessageType::Capture:
      capturing = m.as<Capture>();
      return AckResult::Ok;
    case MessageType::TracePacket:
      asked = m.as<TracePacket>();
      event(Message::of(Traced{asked.id, foretold}));
      return AckResult::Ok;
    default:
      return AckResult::BadMessage;
  }
}

AckResult FakeDataplane::install(const InstallSa& sa) {
  if (sa.slot >= segment_->header().sa_capacity) return AckResult::BadMessage;
  if (sa.direction == Direction::Inbound && (sa.spi.value & (segment_->header().sa_capacity - 1)) != sa.slot) return AckResult::BadMessage;
  SaRecord& record = segment_->records(sa.direction)[sa.slot];
  SaSnapshot there;
  if (read_record(record, there)) return there.spi == sa.spi ? AckResult::Exists : AckResult::Busy;
  SaSnapshot s;
  s.spi = sa.spi;
  s.slot = sa.slot;
  s.policy = sa.policy;
  s.pair = sa.pair;
  s.local = sa.local;
  s.remote = sa.remote;
  s.local_ts = sa.local_ts;
  s.more = sa.more;
  s.remote_ts = sa.remote_ts;
  s.suite = sa.suite;
  s.mode = sa.mode;
  s.worker = static_cast<std::uint16_t>((sa.worker != InstallSa::kAnyWorker ? sa.worker : sa.slot) % segment_->header().workers);
  s.soft = sa.soft;
  s.hard = sa.hard;
  s.installed_ns = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  s.direction = sa.direction;
  s.current = sa.direction == Direction::Outbound;
  s.name = sa.name;
  s.peer = sa.peer;
  s.vrf = sa.vrf;
  record.counters.packets.set(0);
  record.counters.bytes.set(0);
  record.counters.last_used_ns.set(0);
  write_record(record, s);
  return AckResult::Ok;
}

AckResult FakeDataplane::remove(const RemoveSa& sa) {
  if (sa.slot >= segment_->header().sa_capacity) return AckResult::BadMessage;
  SaRecord& record = segment_->records(sa.direction)[sa.slot];
  SaSnapshot there;
  if (!read_record(record, there) || there.spi != sa.spi) return AckResult::NotFound;
  write_record(record, SaSnapshot{});
  return AckResult::Ok;
}

void FakeDataplane::event(const Message& message) {
  if (!events_->push(message)) throw std::runtime_error("the event ring is full");
  ::eventfd_write(to_control, 1);
}

void FakeDataplane::punt(const Endpoint& local, const Endpoint& remote, ByteView data, std::uint8_t heard) {
  punts_->produce([&](Datagram& slot) {
    slot.local = local;
    slot.remote = remote;
    slot.heard = heard;
    slot.length = static_cast<std::uint32_t>(data.size());
    std::copy(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(std::min(data.size(), kMaxDatagram)), slot.data.begin());
  });
  ::eventfd_write(to_control, 1);
}

std::vector<FakeDataplane::Sent> FakeDataplane::take_injected() {
  std::vector<Sent> out;
  while (injects_ && injects_->consume([&out](const Datagram& d) {
    out.push_back({d.local, d.remote, Bytes(d.data.begin(), d.data.begin() + d.length)});
  }) == RingStatus::Item) {
  }
  return out;
}

void FakeDataplane::copy(unsigned worker, const Captured& captured) {
  RingProducer<Captured, kCaptureSlots>(segment_->captures()[worker]).push(captured);
}

SaCounters* FakeDataplane::counters(Direction direction, Spi spi) {
  for (SaRecord& record : segment_->records(direction)) {
    SaSnapshot sa;
    if (read_record(record, sa) && sa.spi == spi) return &record.counters;
  }
  return nullptr;
}

void FakeDataplane::count_traffic(Direction direction, Spi spi, std::uint64_t packets, std::uint64_t bytes) {
  SaCounters* c = counters(direction, spi);
  if (c == nullptr) return;
  c->packets.add(packets);
  c->bytes.add(bytes);
  c->last_used_ns.set(static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()));
}

std::size_t FakeDataplane::installed(Direction direction) const {
  std::size_t n = 0;
  for (const SaRecord& record : segment_->records(direction)) {
    SaSnapshot sa;
    n += read_record(record, sa);
  }
  return n;
}

}  // namespace culvert::test

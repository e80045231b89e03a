// A data plane without packets, for tests of the control plane: the handshake, the rings and the SA inventory are real.
// Owns a segment and, after `listen`, a socket. Answers commands when `pump` is called, as the contract prescribes.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/shm/handshake.hpp"
#include "common/shm/segment.hpp"

namespace culvert::test {

class FakeDataplane {
 public:
  explicit FakeDataplane(std::uint32_t sa_capacity = 64, std::uint32_t workers = 2, std::uint32_t ports = 2);
  ~FakeDataplane();
  FakeDataplane(const FakeDataplane&) = delete;
  FakeDataplane& operator=(const FakeDataplane&) = delete;

  void listen(const std::string& path);
  /// Accepts one client if there is one, and answers its Hello with `result`. True: attached.
  bool accept(shm::WelcomeResult result = shm::WelcomeResult::Ok);
  [[nodiscard]] bool attached() const { return client_ >= 0; }
  void drop_client();
  /// Both ends of a socket pair instead of a listener: the client's end, with the Welcome already in it.
  int connect_pair();

  /// Executes up to `budget` commands and acks them; returns how many.
  std::size_t pump(std::size_t budget = 100'000);
  /// While set, commands of this type are answered with it instead of being executed.
  std::map<shm::MessageType, shm::AckResult> refuse;
  shm::Path foretold;  ///< the answer to every TracePacket
  shm::TracePacket asked;
  shm::Capture capturing;  ///< the latest wish
  bool silent = false;     ///< execute, but do not ack

  void event(const shm::Message& message);
  void punt(const Endpoint& local, const Endpoint& remote, ByteView data, std::uint8_t heard = 0);
  struct Sent {
    Endpoint local, remote;
    Bytes data;
  };
  std::vector<Sent> take_injected();
  /// A worker's copy of a packet.
  void copy(unsigned worker, const shm::Captured& captured);
  /// The counters of an installed SA, to be counted in; nullptr: there is none.
  shm::SaCounters* counters(Direction direction, Spi spi);
  void count_traffic(Direction direction, Spi spi, std::uint64_t packets, std::uint64_t bytes);

  [[nodiscard]] shm::Segment& segment() { return *segment_; }
  [[nodiscard]] std::size_t installed(Direction direction) const;
  std::map<std::uint32_t, shm::InstallPolicy> policies;
  std::size_t complete_with = 0;           ///< as many there were at the last PoliciesComplete
  std::vector<shm::MessageType> executed;  ///< in order
  int to_control = -1, to_dataplane = -1;

 private:
  shm::AckResult execute(const shm::Message& message);
  shm::AckResult install(const shm::InstallSa& sa);
  shm::AckResult remove(const shm::RemoveSa& sa);
  void welcome(int client, shm::WelcomeResult result);

  std::optional<shm::Segment> segment_;
  std::optional<shm::RingConsumer<shm::Message, shm::kCommandSlots>> commands_;
  std::optional<shm::RingProducer<shm::Message, shm::kEventSlots>> events_;
  std::optional<shm::RingProducer<shm::Datagram, shm::kDatagramSlots>> punts_;
  std::optional<shm::RingConsumer<shm::Datagram, shm::kDatagramSlots>> injects_;
  std::set<std::uint32_t> sent_;  // policies, by the culvertd that is attached
  int listener_ = -1, client_ = -1;
  std::string path_;
};

}  // namespace culvert::test

// Commands on their way to the data plane, and the answers that are still owed.
// Owns transaction numbers, back-pressure and the wiping of keys: a command waits here when the ring is full, in order, and
// leaves no copy behind. No SA is lost: what cannot be queued is refused to its caller, and every command ends in an outcome.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>

#include "common/shm/messages.hpp"
#include "common/shm/ring.hpp"
#include "common/shm/segment.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::control {

/// How a command ended. After TimedOut an Acked may still follow, when the data plane answers late.
struct Outcome {
  enum class Kind : std::uint8_t { Acked, TimedOut, Lost } kind{};
  shm::AckResult result{};  ///< of Acked
  bool late = false;        ///< a TimedOut was reported before
  [[nodiscard]] bool ok() const { return kind == Kind::Acked && result == shm::AckResult::Ok; }
  [[nodiscard]] std::string text() const;
};

class CommandQueue {
 public:
  using Handler = std::function<void(const Outcome&)>;
  using Producer = shm::RingProducer<shm::Message, shm::kCommandSlots>;

  /// InstallSa messages that may wait: four rings full; more means that the data plane's manager stands still.
  static constexpr std::size_t kMaxWaitingInstalls = 4096;
  static constexpr std::chrono::seconds kAckTimeout{5};

  explicit CommandQueue(shm::CommandRing& ring) : producer_(ring) {}
  ~CommandQueue();
  CommandQueue(const CommandQueue&) = delete;
  CommandQueue& operator=(const CommandQueue&) = delete;

  /// Queues a copy of `body`. False, and the handler is never called, only for an InstallSa beyond the bound; the other
  /// commands are bounded by the SAs and policies that there are.
  template <class T>
  bool send(const T& body, ike::TimePoint now, Handler handler) {
    constexpr bool kInstall = T::kType == shm::MessageType::InstallSa;
    if (kInstall && installs_waiting_ >= kMaxWaitingInstalls) return false;
    shm::Message& m = waiting_.emplace_back();
    m.type = T::kType;
    m.transaction = begin(now, std::move(handler));
    std::memcpy(m.body.data(), static_cast<const void*>(&body), sizeof(T));
    installs_waiting_ += kInstall;
    return true;
  }
  /// Moves as many commands into the ring as it takes; returns how many.
  std::size_t flush();
  /// False for a transaction that nobody waits for.
  bool on_ack(const shm::Ack& ack);
  /// Reports TimedOut for commands that wait longer than kAckTimeout.
  void on_time(ike::TimePoint now);
  /// Ends everything with Lost.
  void lose_all();

  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  [[nodiscard]] std::size_t unanswered() const { return pending_.size(); }

 private:
  struct Pending {
    Handler handler;
    ike::TimePoint deadline;
    bool timed_out = false;
  };
  std::uint32_t begin(ike::TimePoint now, Handler handler);

  Producer producer_;
  std::deque<shm::Message> waiting_;
  std::size_t installs_waiting_ = 0;
  std::unordered_map<std::uint32_t, Pending> pending_;
  std::uint32_t last_transaction_ = 0;
};

}  // namespace culvert::control

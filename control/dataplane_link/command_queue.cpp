#include "control/dataplane_link/command_queue.hpp"

#include <utility>
#include <vector>

#include "common/secret.hpp"

namespace culvert::control {

namespace {
/// What the data plane's answer means, to stand behind a colon.
std::string_view words(shm::AckResult r) {
  switch (r) {
    case shm::AckResult::Ok:
      return "done";
    case shm::AckResult::Exists:
      return "an SA with this SPI is there already";
    case shm::AckResult::Busy:
      return "another SA has its place in the table";
    case shm::AckResult::NotFound:
      return "there is no such entry";
    case shm::AckResult::Unsupported:
      return "it does not support these algorithms or addresses";
    case shm::AckResult::BadMessage:
      return "a value in the command is out of its bounds";
    case shm::AckResult::NoMemory:
      return "it has no memory left for it";
  }
  return "its answer is unknown";
}
}  // namespace

std::string Outcome::text() const {
  switch (kind) {
    case Kind::Acked:
      return std::string(words(result));
    case Kind::TimedOut:
      return "the data plane did not answer in time";
    case Kind::Lost:
      return "the data plane is gone";
  }
  return "unknown";
}

CommandQueue::~CommandQueue() {
  for (shm::Message& m : waiting_) wipe_object(m);
}

std::uint32_t CommandQueue::begin(ike::TimePoint now, Handler handler) {
  // 0 is "no transaction"; a number still owed an answer after 2^32 others is skipped.
  do ++last_transaction_;
  while (last_transaction_ == 0 || pending_.contains(last_transaction_));
  pending_[last_transaction_] = {std::move(handler), now + kAckTimeout, false};
  return last_transaction_;
}

std::size_t CommandQueue::flush() {
  std::size_t pushed = 0;
  while (!waiting_.empty() && producer_.push(waiting_.front())) {
    installs_waiting_ -= waiting_.front().type == shm::MessageType::InstallSa;
    wipe_object(waiting_.front());
    waiting_.pop_front();
    ++pushed;
  }
  return pushed;
}

bool CommandQueue::on_ack(const shm::Ack& ack) {
  auto node = pending_.extract(ack.transaction);
  if (node.empty()) return false;
  if (node.mapped().handler) node.mapped().handler({Outcome::Kind::Acked, ack.result, node.mapped().timed_out});
  return true;
}

void CommandQueue::on_time(ike::TimePoint now) {
  std::vector<Handler> late;
  for (auto& [transaction, p] : pending_) {
    if (p.timed_out || p.deadline > now) continue;
    p.timed_out = true;
    if (p.handler) late.push_back(p.handler);
  }
  for (const Handler& handler : late) handler({Outcome::Kind::TimedOut, {}, false});
}

void CommandQueue::lose_all() {
  for (shm::Message& m : waiting_) wipe_object(m);
  waiting_.clear();
  installs_waiting_ = 0;
  for (auto& [transaction, p] : std::exchange(pending_, {}))
    if (p.handler) p.handler({Outcome::Kind::Lost, {}, p.timed_out});
}

}  // namespace culvert::control

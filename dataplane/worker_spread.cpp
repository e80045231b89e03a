// SAs whose crypto several workers share (dataplane/nodes/parcel.hpp): the owner's way out to its board and back, and the help for others.
// The path around it is in worker.cpp. Nothing here is met while no SA is spread.
#include <sched.h>

#include "dataplane/worker.hpp"

namespace culvert::dp {

namespace {
constexpr std::size_t kFew = 8;                  // packets that are quicker done at once than handed around, where nothing is ahead of them
constexpr std::size_t kPressed = kBurstMax / 2;  // a pass with so many has more to come: what only this worker can do is first
constexpr unsigned kHelp = 2;                    // parcels of others between two looks at the ports
constexpr std::size_t kCollect = 8;              // parcels in a pass

/// Copies of packets, and their ways, on the board.
struct Watcher {
  Tap& tap;
  PathLog& paths;
  void moved(Parcel& parcel, std::size_t view, const Packet& from) {
    if (parcel.tapped) parcel.numbers[view] = tap.number_of(from);
    if (parcel.followed) paths.moved(from, parcel.views[view]);
  }
  void leaves(Parcel& parcel) {
    if (!parcel.followed) return;
    for (const Packet* p : parcel.burst) parcel.ways[parcel.index_of(*p)] = paths.park(*p);
  }
};
}  // namespace

/// Puts packets of own spread SAs on the board. Adds to `rest` what is better done at once.
void Worker::spread(Burst& packets, Burst& rest, Direction d, bool cut) {
  spread_ = true;
  if (board_ == nullptr || (board_->idle() && packets.size() < kFew)) return rest.append(packets);
  env_.boards->use();
  const bool followed = paths_.on();
  if (followed && d == Direction::Inbound) [[unlikely]]
    paths_.arrive(packets);
  const bool tapped = tap_.on();
  if (tapped) [[unlikely]]
    tap_.before(packets, d);
  const Spread done =
      spread_parcels(*board_, packets, {.direction = d, .cut = cut, .tapped = tapped, .followed = followed}, esp_, Watcher{tap_, paths_});
  tap_.forget();
  counters_.parcels.add(done.parcels);
  counters_.spread_out.add(done.packets);
  counters_.spread_full.add(done.full);
  watch_.lap(d == Direction::Inbound ? shm::Node::Decrypt : shm::Node::Encrypt, done.packets);
}

/// After a look at the ports which found so many packets: some of what waits for its crypto, here and at others, and what has come back.
bool Worker::serve(std::size_t received) {
  bool busy = false;
  const bool pressed = received >= kPressed;
  if (!board_->idle()) {
    // As long as there is work that only the owner can do, the others get one parcel each to begin with; then it is one of them.
    const std::size_t leave = pressed ? env_.boards->size() - 1 : 0;
    for (unsigned n = 0; board_->waiting() > leave && (pressed || n == 0); ++n) {
      Parcel* parcel = board_->claim();
      if (parcel == nullptr) break;
      work_on(*parcel, false);
      busy = true;
    }
    busy |= collect();
    if (const std::uint64_t since = board_->oldest_since(); since != oldest_since_) counters_.spread_since.set(oldest_since_ = since);
  }
  for (unsigned n = 0; n < kHelp && !pressed; ++n) {
    Parcel* parcel = env_.boards->claim_of_others(id_, id_ + 1);
    if (parcel == nullptr) break;
    counters_.spread_in.add(parcel->burst.size());
    work_on(*parcel, true);
    busy = true;
  }
  return busy;
}

void Worker::work_on(Parcel& parcel, bool fetch) {
  const auto node = parcel.direction == Direction::Inbound ? shm::Node::Decrypt : shm::Node::Encrypt;
  watch_.start();
  const std::size_t n = work(parcel, crypto_, fetch);
  watch_.lap(node, n);
}

/// What is done, in order of issue. A parcel is given back after the pass: what the pass generates may stand in its views.
bool Worker::collect() {
  Parcel* parcel = board_->done(0);
  if (parcel == nullptr) return false;
  watch_.start();
  begin_pass();
  std::size_t n = 0;
  do {
    collect(*parcel);
    parcel = ++n < kCollect ? board_->done(n) : nullptr;
  } while (parcel != nullptr);
  finish_pass();
  board_->release(n);
  return true;
}

void Worker::collect(Parcel& parcel) {
  Burst& packets = parcel.burst;
  const Direction d = parcel.direction;
  fetch_back(parcel);
  if (now_ - parcel.issued_ns > Parcel::kLate) [[unlikely]]
    counters_.spread_late.add(1);
  if (parcel.followed) [[unlikely]]
    for (const Packet* p : packets) paths_.resume(*p, parcel.ways[parcel.index_of(*p)]);
  const bool tapped = parcel.tapped && tap_.on();
  if (tapped) [[unlikely]]
    for (const Packet* p : packets)
      if (const std::uint64_t number = parcel.numbers[parcel.index_of(*p)]; number != 0) tap_.resume(*p, number);
  if (d == Direction::Inbound) {
    Burst inner;
    finish(packets, parcel.batch, inner, tapped);
    if (!inner.empty()) dispatch(inner);
    return;
  }
  esp_out_finish(packets, parcel.batch, esp_);
  if (tapped) [[unlikely]]
    tap_.after(packets, d, [&](const Packet& p) { return env_.fib->hop(p.tx_port).port; });
  if (parcel.cut) [[unlikely]] {
    for (Packet* p : packets) send_cut(*p);
  } else {
    watch_.lap(shm::Node::Encrypt, 0);
    send_all_sealed(packets);
  }
}

void Worker::give_back() {
  while (board_ != nullptr && !board_->idle())
    if (!serve(0)) ::sched_yield();  // another one is at the last of it
}

}  // namespace culvert::dp

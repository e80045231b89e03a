#include "control/ikev2/window.hpp"

#include <algorithm>
#include <utility>

namespace culvert::ikev2 {

void add_window(const Core& core, const IkeSa& sa, Builder& out) {
  const std::uint32_t size = core.connection(sa).window.size;
  if (size <= 1) return;
  Writer w;
  w.be(size);
  out.notify(NotifyType::SetWindowSize, std::move(w).take());
}

void open_window(const Core& core, IkeSa& sa) { sa.window.ours = core.connection(sa).window.size; }

std::optional<Repeatable> answer_to(IkeSa& sa, std::uint32_t id) {
  if (id + 1 == sa.next_expected && !sa.last_answer.empty()) return Repeatable{sa.last_answer, sa.last_print, sa.repeats};
  const auto it = std::ranges::find(sa.window.kept, id, &KeptAnswer::id);
  return it == sa.window.kept.end() ? std::nullopt : std::optional(Repeatable{it->answer, it->print, it->repeats});
}

void take_up(IkeSa& sa, std::uint32_t id, std::size_t print, const Path& by) {
  // Of the answers before it the peer may lack the last ones, but not with a window of 1.
  auto& kept = sa.window.kept;
  if (sa.window.ours > 1 && !sa.last_answer.empty())
    kept.push_back({sa.next_expected - 1, std::exchange(sa.last_answer, {}), sa.last_print, sa.repeats});
  while (kept.size() >= sa.window.ours) kept.pop_front();
  sa.window.early.erase(id);
  sa.last_print = print;
  sa.mobility.asked_from = by;
}

void go_on_to(IkeSa& sa, std::uint32_t next) {
  auto& early = sa.window.early;
  sa.next_expected = next;
  early.erase(early.begin(), early.lower_bound(next));
  sa.request_parts.forget_below(next);
}

bool may_wait(const IkeSa& sa, std::uint32_t id) { return id > sa.next_expected && id - sa.next_expected < sa.window.ours; }

bool has_room(const IkeSa& sa, std::size_t bytes) {
  std::size_t there = sa.request_parts.bytes_above(sa.next_expected);
  for (const auto& [id, one] : sa.window.early) there += one.bytes;
  return there + bytes <= kMaxEarlyBytes;
}

std::uint32_t highest(const IkeSa& sa, std::uint32_t id) {
  return sa.window.early.empty() ? id : std::max(id, sa.window.early.rbegin()->first);
}

std::optional<Early> next_early(IkeSa& sa) {
  if (sa.dead || sa.answering) return std::nullopt;
  auto one = sa.window.early.extract(sa.next_expected);
  return one ? std::optional(std::move(one.mapped())) : std::nullopt;
}

std::uint32_t shows_answer(const IkeSa& sa, std::uint32_t id) { return id + sa.window.ours; }

}  // namespace culvert::ikev2

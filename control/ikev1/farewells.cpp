// What the peer is told of pairs that ended here.
// Nobody acknowledges a Delete (RFC 2408 §3.15), and a peer that misses it keeps half a pair to the end of its lifetime: it goes again
// a few times. Each time under a message ID of its own: a peer that has the first takes the next for an SA that it does not know, whereas
// the same message again looks forged to strongSwan (it decrypts with the IV behind the first) and invalid to libreswan.
// Owns no pairs: they are gone when it is asked.
#include <algorithm>
#include <array>

#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/times.hpp"

namespace culvert::ikev1 {

namespace {

constexpr std::array kPauses = {seconds{1}, seconds{4}};  // behind the first and the second time
constexpr std::size_t kMaxTold = 256;                     // of one run: two whole children (kMaxParts); of more, the oldest go once

/// Those that go again after this time are noted.
void say(Core& core, TimePoint now, std::size_t connection, const std::vector<SaName>& pairs, std::size_t times_before) {
  std::map<SaId, std::vector<SaName>> told;
  for (const SaName& pair : pairs)
    if (const IsakmpSa* sa = sa_for(core, connection, pair.line)) told[sa->id].push_back(pair);
  if (told.empty()) return;
  const bool again = times_before < kPauses.size();
  const TimePoint at = again ? now + ike::jitter(core.services, kPauses[times_before]) : now;
  std::vector<Told>& memory = core.run(connection).told;
  for (const auto& [id, names] : told) {
    IsakmpSa& sa = *core.find(id);
    Builder b;
    add_deletes(b, names);
    core.send(now, sa, informational(core, sa, sa.established()->keys, std::move(b)));
    if (again)
      for (const SaName& name : names) memory.push_back({name, at, times_before + 1});
  }
  if (memory.size() > kMaxTold) memory.erase(memory.begin(), memory.end() - static_cast<std::ptrdiff_t>(kMaxTold));
}

}  // namespace

void tell_deleted(Core& core, TimePoint now, std::size_t connection, const std::vector<SaName>& pairs) {
  say(core, now, connection, pairs, 0);
}

void tell_deleted_again(Core& core, TimePoint now, std::size_t connection) {
  std::array<std::vector<SaName>, kPauses.size() + 1> due;
  std::erase_if(core.run(connection).told, [&](const Told& t) {
    if (now < t.again) return false;
    if (!core.owner_of(t.sa.spi)) due[t.times].push_back(t.sa);  // else the number has a new meaning
    return true;
  });
  for (std::size_t times = 1; times < due.size(); ++times) say(core, now, connection, due[times], times);
}

std::optional<TimePoint> told_deadline(const ConnectionRun& run) {
  const auto first = std::ranges::min_element(run.told, {}, &Told::again);
  return first == run.told.end() ? std::nullopt : std::optional(first->again);
}

}  // namespace culvert::ikev1

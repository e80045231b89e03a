#include "control/ikev1/notifications.hpp"

#include <algorithm>

#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/lifetimes.hpp"
#include "control/ikev1/phase1.hpp"

namespace culvert::ikev1 {

namespace {
constexpr std::uint64_t kDefaultSeconds = 28800;  // RFC 2407 §4.5: an offer that says nothing means eight hours
constexpr auto kAskAgain = seconds{30};           // for a flood of doubts: one question, or one rekeying
}  // namespace

void add_responder_lifetime(const config::Child& child, const EspChoice& choice, Spi spi_in, Builder& out) {
  Lifetime ours;
  const auto own_seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(1, child.life_time.count()));
  if (own_seconds < choice.life_seconds.value_or(kDefaultSeconds)) ours.seconds = own_seconds;
  const std::uint64_t own_kbytes = child.life_bytes / 1024;
  if (own_kbytes != 0 && (!choice.life_kbytes || own_kbytes < *choice.life_kbytes)) ours.kbytes = own_kbytes;
  if (!ours.seconds && !ours.kbytes) return;
  Notify n;
  n.protocol = static_cast<std::uint8_t>(choice.suite.protocol);
  n.type = NotifyType::ResponderLifetime;
  n.spi = spi_bytes(spi_in);
  n.data = encode_responder_lifetime(ours);
  out.add(n);
}

void add_isakmp_lifetime(const Core& core, const IsakmpSa& sa, const Negotiated& negotiated, Builder& out) {
  const std::uint64_t ours = offered_life(core.connection(sa));
  if (negotiated.life.seconds && *negotiated.life.seconds <= ours) return;
  Notify n;
  n.protocol = kProtoIsakmp;
  n.type = NotifyType::ResponderLifetime;
  n.spi = cookies(sa);
  n.data = encode_responder_lifetime({ours, {}}, true);
  out.add(n);
}

void tell_isakmp_lifetime(Core& core, TimePoint now, IsakmpSa& sa) {
  if (sa.role != Role::Responder || sa.mode != Exchange::AggressiveMode) return;
  Builder b;
  add_isakmp_lifetime(core, sa, sa.established()->negotiated, b);
  if (!b.chain().empty()) core.send(now, sa, informational(core, sa, sa.established()->keys, std::move(b)));
}

void limit_volume(Core& core, MmEstablished& est, std::uint64_t kbytes) {
  constexpr std::uint64_t kMost = 1ULL << 40U;
  const std::uint64_t bytes = std::clamp(kbytes, kMinIkeKbytes, kMost) * 1024;
  if (est.life_bytes != 0 && bytes >= est.life_bytes) return;
  est.life_bytes = bytes;
  // Both ends count the same: they do not begin together. In nanobytes, as it were.
  est.rekey_bytes = static_cast<std::uint64_t>(ike::jitter(core.services, std::chrono::nanoseconds{bytes / 10 * 8}).count());
}

void on_responder_lifetime(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est, const Notify& n) {
  const bool isakmp = n.protocol == kProtoIsakmp;
  const auto stated = parse_responder_lifetime(n.data, isakmp);
  if (!stated) return;
  if (isakmp && stated->kbytes) limit_volume(core, est, *stated->kbytes);
  if (!stated->seconds) return;
  const auto life = seconds{static_cast<std::int64_t>(std::clamp<std::uint64_t>(*stated->seconds, kMinLife, 1ULL << 31))};
  const auto shorten = [&](TimePoint since, TimePoint& rekey_at, TimePoint& expires_at) {
    const TimePoint end = std::max(since + life, now + seconds{kMinLife});
    if (end >= expires_at) return;
    expires_at = end;
    rekey_at = std::min(rekey_at, now + (end - now) / 10 * 9 - ike::random_part(core.services, (end - now) / 10));
  };
  if (isakmp) return shorten(est.established, est.rekey_at, est.expires_at);
  for (ChildRun& child : core.run(sa.connection).children)
    for (ChildSa& pair : child.pairs)
      if (auto* live = std::get_if<ChildLive>(&pair.life); live && pair.peer_id == est.remote_id && n.spi == spi_bytes(pair.spi_out))
        shorten(pair.established, live->rekey_at, pair.expires_at);
}

void note_contact(Core& core, const Endpoint& peer) {
  if (core.contacted.size() < kMaxContacted) core.contacted.emplace(peer.vrf, peer.address);
}

void add_initial_contact(Core& core, const IsakmpSa& sa, Builder& out) {
  if (core.contacted.contains({sa.remote.vrf, sa.remote.address}) || core.contacted.size() >= kMaxContacted) return;
  Notify n;
  n.protocol = kProtoIsakmp;
  n.type = NotifyType::InitialContact;
  n.spi = cookies(sa);
  out.add(n);
}

void on_connected(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, ByteView spi) {
  for (auto& [of, qm] : sa.quick_modes) {
    const auto names = [&](const PendingPair& pending) {
      return std::ranges::equal(spi_bytes(qm.spi_in), spi) || std::ranges::equal(spi_bytes(pending.spi_out), spi);
    };
    if (const auto* waiting = std::get_if<QmAwaitConnected>(&qm.state); waiting && (of == id || names(waiting->pending)))
      return go_on(core, now, sa, qm);
    if (const auto* confirm = std::get_if<QmAwaitConfirm>(&qm.state); confirm && (of == id || names(confirm->pending))) qm.connected = true;
  }
}

void on_invalid_spi(Core& core, TimePoint now, IsakmpSa& sa, const MmEstablished& est, const Notify& n) {
  for (ChildRun& child : core.run(sa.connection).children)
    for (ChildSa& pair : child.pairs)
      if (auto* life = std::get_if<ChildLive>(&pair.life);
          life && pair.peer_id == est.remote_id && n.spi == spi_bytes(pair.spi_out) && now >= pair.established + kAskAgain)
        life->due = true;
}

void ask_whether_alive(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est) {
  if (!est.dpd.next_probe || now < est.dpd.doubted + kAskAgain) return;
  est.dpd.doubted = now;
  est.dpd.next_probe = now;
  core.touch(sa);
}

}  // namespace culvert::ikev1

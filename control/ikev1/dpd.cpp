#include "control/ikev1/dpd.hpp"

#include <algorithm>

#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/times.hpp"

namespace culvert::ikev1 {

namespace {

/// What is left of a keepalive interval for the question and its way: traffic is noticed once a second.
constexpr std::chrono::nanoseconds kMargin = seconds{2};
/// Questions that a dead peer has left unanswered, whatever dpd_timeout says: one datagram is lost easily.
constexpr std::uint32_t kMinAsked = 3;

std::optional<std::uint32_t> sequence_of(const Notify& n) {
  if (n.data.size() != 4) return std::nullopt;  // RFC 3706 §5.3: always four bytes
  Reader r(n.data);
  return r.be<std::uint32_t>();
}

Bytes dpd_message(Core& core, IsakmpSa& sa, const MmEstablished& est, NotifyType type, std::uint32_t sequence) {
  Writer data;
  data.be(sequence);
  Notify n;
  n.protocol = kProtoIsakmp;
  n.type = type;
  n.spi = cookies(sa);
  n.data = std::move(data).take();
  Builder b;
  b.add(n);
  return informational(core, sa, est.keys, std::move(b));
}

bool behind_nat(const Core& core, const IsakmpSa& sa) {
  const MmEstablished* est = sa.established();
  return est && !est->remove_at && core.config.ike.keepalive.count() > 0 && sa.local.port == ike::kNatPort &&
         (sa.nat.local || sa.nat.forced);
}

/// A keepalive proves nothing. Where the peer is silent, the NAT may have given us another address since: a question that it can
/// believe shows it the way (RFC 3947 §4), and it is no question whether it lives.
std::optional<TimePoint> show_deadline(const Core& core, const MmEstablished& est) {
  if (!est.dpd.next_probe) return std::nullopt;
  const std::chrono::nanoseconds interval = core.config.ike.keepalive;
  return std::max(est.dpd.last_heard, est.dpd.shown) + std::max(interval - kMargin, interval / 2);
}

}  // namespace

void start_dpd(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est) {
  est.dpd.last_heard = est.dpd.last_message = now;
  const config::Connection& c = core.connection(sa);
  // RFC 3706 §6: the first number is random, with room above it.
  const Bytes seed = core.random(4);
  Reader number(seed);
  est.dpd.next_sequence = number.be<std::uint32_t>() >> 1;
  if (c.dpd_delay.count() > 0 && est.negotiated.dpd) est.dpd.next_probe = now + ike::jitter(core.services, c.dpd_delay);
}

void peer_lives(Core& core, MmEstablished& est, const config::Connection& c, TimePoint at) {
  if (at < est.dpd.last_heard) return;
  est.dpd.last_heard = at;
  est.dpd.unanswered_from.reset();
  est.dpd.given_up = false;
  if (est.dpd.next_probe) est.dpd.next_probe = at + ike::jitter(core.services, c.dpd_delay);
}

void on_r_u_there(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est, const Notify& n) {
  const auto sequence = sequence_of(n);
  if (!sequence || n.spi != cookies(sa)) return;
  // RFC 3706 §7: a sequence number that falls is a replay. The last one again, in a new message, is a peer that has had no answer (vpnc).
  if (est.dpd.peer_sequence && static_cast<std::int32_t>(*sequence - *est.dpd.peer_sequence) < 0) return;
  est.dpd.peer_sequence = sequence;
  if (now - est.dpd.answer_window >= seconds{1}) {
    est.dpd.answer_window = now;
    est.dpd.answers = 0;
  }
  if (++est.dpd.answers > kMaxDpdAnswers) return;
  core.send(now, sa, dpd_message(core, sa, est, NotifyType::RUThereAck, *sequence));
}

void on_dpd_timer(Core& core, TimePoint now, IsakmpSa& sa) {
  MmEstablished* est = sa.established();
  if (!est || !est->dpd.next_probe || now < *est->dpd.next_probe) return;
  const config::Connection& c = core.connection(sa);
  if (est->remove_at) return est->dpd.next_probe.reset();
  if (newer_isakmp(core, sa)) {  // is watched instead, while it is there
    est->dpd.next_probe = now + ike::jitter(core.services, c.dpd_delay);
    return;
  }
  const TimePoint end = est->dpd.last_heard + std::max(c.dpd_timeout, c.dpd_delay);
  const std::uint32_t unanswered = est->dpd.unanswered_from ? est->dpd.next_sequence - *est->dpd.unanswered_from : 0;
  if (unanswered >= kMinAsked && !est->dpd.given_up && now >= end) {
    peer_is_dead(core, now, sa);
    if (sa.dead) return;
  }
  const std::uint32_t sequence = est->dpd.next_sequence++;
  if (!est->dpd.unanswered_from) est->dpd.unanswered_from = sequence;
  // The first few come quickly, since a lost datagram is more likely than a dead peer; later ones at the pace of dpd_delay.
  std::chrono::nanoseconds wait = core.config.ike.retransmit_timeout * (1U << std::min(unanswered, 5U));
  wait = std::min<std::chrono::nanoseconds>(wait, c.dpd_delay);
  est->dpd.next_probe = now + ike::jitter(core.services, est->dpd.given_up ? c.dpd_delay : wait);
  if (!est->dpd.given_up && unanswered + 1 >= kMinAsked && *est->dpd.next_probe > end)
    est->dpd.next_probe = std::max(end, now + core.config.ike.retransmit_timeout);
  core.send(now, sa, dpd_message(core, sa, *est, NotifyType::RUThere, sequence));
}

std::optional<TimePoint> keepalive_deadline(const Core& core, const IsakmpSa& sa) {
  if (!behind_nat(core, sa)) return std::nullopt;
  return earliest(sa.last_sent + core.config.ike.keepalive, show_deadline(core, *sa.established()));
}

void on_keepalive_timer(Core& core, TimePoint now, IsakmpSa& sa) {
  if (!behind_nat(core, sa)) return;
  MmEstablished* est = sa.established();
  if (const auto due = show_deadline(core, *est); due && now >= *due) {
    est->dpd.shown = now;
    core.send(now, sa, dpd_message(core, sa, *est, NotifyType::RUThere, est->dpd.next_sequence++));
  }
  if (now < sa.last_sent + core.config.ike.keepalive) return;
  sa.last_sent = now;
  core.touch(sa);
  core.actions.emplace_back(ike::SendDatagram{{sa.local, sa.remote, Bytes{ike::kNatKeepalive}}});
}

}  // namespace culvert::ikev1

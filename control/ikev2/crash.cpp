#include "control/ikev2/crash.hpp"

#include <algorithm>

#include "control/crypto/hash.hpp"
#include "control/ike/retransmit.hpp"
#include "control/ikev2/core.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/strangers.hpp"

namespace culvert::ikev2 {

namespace {

constexpr double kBurstOfSource = 8, kPerSecondOfSource = 4, kBurst = 200, kPerSecond = 100;

Notify token_notify(Core& core, IkeSpi spi_i, IkeSpi spi_r) {
  return {.protocol = kProtoIke,
          .type = NotifyType::QuickCrashDetection,
          .spi = {},
          .data = crash_token(core.services.crash_secret(), spi_i, spi_r)};
}

void junk(Core& core, const Incoming& in, Reason reason, const char* text) {
  core.shared.junk(in.now, in.datagram.remote, Exchange::Informational, reason, text);
}

/// Whether an IKE SA of this SPI of ours is being made: its token is for the peer alone, who has not got it yet.
bool being_made(const Core& core, IkeSpi spi_i) {
  if (core.table.find_initiating(spi_i)) return true;
  return std::ranges::any_of(core.sas(), [&](const auto& entry) {
    const auto& request = entry.second->request;
    const auto* make = request ? std::get_if<MakeIke>(&request->make) : nullptr;
    return make && make->spi == spi_i;
  });
}

}  // namespace

Bytes crash_token(ByteView secret, IkeSpi spi_i, IkeSpi spi_r) {
  Writer spis;
  spis.be(spi_i.value);
  spis.be(spi_r.value);
  const SecretBytes mac = crypto::hmac(Prf::HmacSha2_256, secret, {spis.view()});
  return {mac.view().begin(), mac.view().begin() + kTokenBytes};
}

bool CrashAnswers::Bucket::take(TimePoint now, double burst, double per_second) {
  left = std::min(burst, left + std::chrono::duration<double>(now - at).count() * per_second);
  at = now;
  if (left < 1) return false;
  left -= 1;
  return true;
}

bool CrashAnswers::take(TimePoint now, const IpAddress& to) {
  const std::size_t source = ike::fingerprint(to.view()) % sources_.size();
  return sources_[source].take(now, kBurstOfSource, kPerSecondOfSource) && all_.take(now, kBurst, kPerSecond);
}

void add_token(Core& core, const IkeSa& sa, Builder& out) {
  if (!core.services.crash_secret().empty()) out.add(token_notify(core, sa.spi_i, sa.spi_r));
}

void note_token(Core& core, IkeSa& sa, const Message& m) {
  const Notify* n = m.notify(NotifyType::QuickCrashDetection);
  if (!n) return;
  if (n->data.size() < kMinTokenBytes || n->data.size() > kMaxTokenBytes)
    return core.say(sa, Severity::Warn, Exchange::Informational, Reason::Malformed,
                    "The peer's token of quick crash detection has a length that is not allowed (RFC 6290 §4.1).");
  sa.crash_token = SecretBytes(n->data);
}

SecretBytes token_in(const Message& m) {
  const Notify* n = m.notify(NotifyType::QuickCrashDetection);
  return n && n->data.size() >= kMinTokenBytes && n->data.size() <= kMaxTokenBytes ? SecretBytes(n->data) : SecretBytes{};
}

void tell_token(Core& core, const IkeSa& old, IkeSa& heir) {
  if (!old.crash_token.empty() && !core.services.crash_secret().empty()) add_task(core, heir, {.kind = Task::Kind::CrashToken});
}

void answer_unknown(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const auto next = PayloadType{h.next_payload};
  if (core.shared.shutting_down || core.services.crash_secret().empty() || in.response() || !h.spi_i || !h.spi_r ||
      (next != PayloadType::Sk && next != PayloadType::Skf))
    return;
  if (!core.shared.by_peer.any(in.datagram.local, in.datagram.remote.address, 2)) return;
  ike::Header out = h;
  out.flags = static_cast<std::uint8_t>(ike::kFlagResponse | ((h.flags & ike::kFlagInitiator) != 0 ? 0 : ike::kFlagInitiator));
  Builder b;
  b.notify(NotifyType::InvalidIkeSpi).add(token_notify(core, h.spi_i, h.spi_r));
  out.next_payload = static_cast<std::uint8_t>(b.first());
  const Bytes message = ike::encode_message(out, b.chain());
  if (!is_worth(core, in.datagram.remote, in.framed.message.size(), message.size())) return;
  if (!core.crash_answers.take(in.now, in.datagram.remote.address)) return;
  if (being_made(core, h.spi_i)) return;
  core.send_stateless(in.datagram, message);
}

void on_crash_notice(Core& core, const Incoming& in, IkeSa& sa) {
  const auto m = Message::parse(PayloadType{in.header().next_payload}, in.framed.body);
  if (!m) return junk(core, in, Reason::Malformed, "A message in clear about an IKE SA does not parse.");
  if (!m->notify(NotifyType::InvalidIkeSpi)) return junk(core, in, Reason::Unexpected, "A message about an IKE SA comes in clear.");
  const auto proves = [&](const Notify* n) {
    return n->type == NotifyType::QuickCrashDetection && !sa.crash_token.empty() && equal_constant_time(n->data, sa.crash_token.view());
  };
  const auto all = m->all<Notify>();
  const bool proven = std::ranges::count_if(all, proves) > 0;
  if (!proven || !sa.established())
    return junk(core, in, Reason::Unexpected, "Somebody says that the peer has lost an IKE SA, and does not have its token.");
  lose_peer(
      core, in.now, sa,
      {.exchange = Exchange::Informational,
       .reason = Reason::PeerRestarted,
       .text = "The peer was started anew, and has shown by its token that it has lost the IKE SA: it ends, and all that is under it.",
       .child_text = "The peer was started anew, and has lost the CHILD SA.",
       .child = {},
       .cause = {.number = 2, .said = name(NotifyType::InvalidIkeSpi), .said_proven = true, .by = ike::RefusedBy::Peer}});
}

}  // namespace culvert::ikev2

#include "control/ikev1/exchange_informational.hpp"

#include <algorithm>

#include "control/ikev1/dpd.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/notifications.hpp"

namespace culvert::ikev1 {

namespace {

/// What an error notification of phase 1 claims.
Reason reason_of(NotifyType type) {
  switch (type) {
    case NotifyType::NoProposalChosen:
    case NotifyType::BadProposalSyntax:
    case NotifyType::AttributesNotSupported:
      return Reason::PeerNoProposal;
    case NotifyType::PayloadMalformed:
    case NotifyType::InvalidHashInformation:
    case NotifyType::AuthenticationFailed:
      return Reason::AuthFailed;
    default:
      return Reason::PeerRefused;
  }
}

/// Before there are keys on both sides: unauthenticated.
void on_clear(Core& core, const Incoming& in, IsakmpSa& sa) {
  const auto message = open_clear(in, MessageKind::InformationalClear);
  if (!message) return core.junk(in.now, in.datagram.remote, Exchange::Informational, message.error().reason, message.error().text);
  for (const Notify* n : message->all<Notify>()) {
    if (!is_error(n->type)) continue;
    Reason reason = reason_of(n->type);
    if (std::holds_alternative<MmAwaitAuth>(sa.state) && reason != Reason::PeerNoProposal) reason = Reason::AuthFailed;
    return phase1_hint(core, in.now, sa, {reason, name(n->type) + ".", {.number = 0, .said = name(n->type), .by = ike::RefusedBy::Peer}});
  }
}

void on_phase1_error(Core& core, const Incoming& in, IsakmpSa& sa, const Message& message) {
  for (const Notify* n : message.all<Notify>()) {
    if (!is_error(n->type)) continue;
    // Where the keys come of the pre-shared key (RFC 2409 §5.4), who answers under them has it, and refuses what else message 5 says.
    const Negotiated* negotiated = negotiated_of(sa);
    const bool psk = negotiated && negotiated->auth.psk(), user = negotiated && negotiated->auth.user;
    // A user of hybrid authentication has proved nothing yet that could be wrong.
    const bool nothing_else = negotiated && !negotiated->auth.signs(Role::Initiator);
    const bool identity = n->type == NotifyType::InvalidIdInformation || (nothing_else && n->type == NotifyType::AuthenticationFailed);
    std::string guess = ".";
    if (identity)
      guess = std::string(psk ? " under the right pre-shared key" : "") + ": it expects another identity of ours" +
              (user ? ", or lets in no users (XAuth)." : ".");
    else if (!psk && reason_of(n->type) == Reason::AuthFailed)
      guess = ": it does not accept our certificate, its signature or our identity.";
    ike::Cause cause{.number = 5, .said = name(n->type), .said_proven = true, .by = ike::RefusedBy::Peer};
    if (identity) cause.evidence = ike::IdentityEvidence{{}, to_text(own_id(core, sa)), true, psk, user};
    return phase1_failed(core, in.now, sa, identity ? Reason::PeerRefused : reason_of(n->type),
                         "The peer refused message 5 with " + name(n->type) + guess, std::move(cause));
  }
}

Spi spi_of(ByteView bytes) {
  if (bytes.size() != 4) return {};
  Reader r(bytes);
  return Spi{r.be<std::uint32_t>()};
}

/// A peer that has sent message 3 may take our message 2, which comes again if that was lost, for nonsense (strongSwan does).
bool follows_message2(const IsakmpSa& sa, NotifyType type) {
  if (type != NotifyType::PayloadMalformed && type != NotifyType::InvalidHashInformation) return false;
  return std::ranges::any_of(sa.quick_modes, [](const auto& q) {
    const auto* waiting = std::get_if<QmAwaitConfirm>(&q.second.state);
    return waiting && waiting->tx.sent() > 1;
  });
}

void on_notify(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est, const Notify& n) {
  switch (n.type) {
    case NotifyType::RUThere:
      return on_r_u_there(core, now, sa, est, n);
    case NotifyType::RUThereAck:  // whatever its number: the message was fresh and verified, so that the peer lives (heard_from)
      return core.say(sa, Severity::Debug, Exchange::Dpd, Reason::Ok, "The peer answered dead-peer detection.");
    case NotifyType::InitialContact:
      return peer_restarted(core, now, sa);
    case NotifyType::ResponderLifetime:
      return on_responder_lifetime(core, now, sa, est, n);
    case NotifyType::ReplayStatus:  // RFC 2407 §4.6.3.2: 0 is off; our own detection does not depend on it
      if (std::ranges::all_of(n.data, [](std::uint8_t b) { return b == 0; }))
        core.say(sa, Severity::Info, Exchange::Informational, Reason::Ok, "The peer does not detect replays (REPLAY-STATUS).");
      return;
    default:
      break;
  }
  if (n.type == NotifyType::InvalidSpi) on_invalid_spi(core, now, sa, est, n);
  if (!is_error(n.type)) return;  // status notifications that mean nothing to us are ignored
  core.say(sa, Severity::Info, Exchange::Informational, Reason::PeerRefused,
           "The peer sends " + name(n.type) +
               (follows_message2(sa, n.type) ? ", behind our repeated message 2 of Quick Mode: its message 3 was lost." : "."));
  on_quick_mode_refused(core, now, sa, n);
}

/// Collects first, applies then: a Delete may end the very SA that brought it.
void apply(Core& core, TimePoint now, IsakmpSa& sa, const Message& message) {
  std::vector<SaName> pairs;
  bool isakmp = false;
  for (const Delete* d : message.all<Delete>()) {
    if ((d->protocol == kProtoEsp || d->protocol == kProtoAh) && d->spi_size == 4)
      for (const Bytes& spi : d->spis) pairs.push_back({spi_of(spi), static_cast<SaProtocol>(d->protocol)});
    if (d->protocol == kProtoIsakmp && d->spi_size == 16)
      for (const Bytes& spi : d->spis) isakmp = isakmp || spi == cookies(sa);
  }
  for (const Notify* n : message.all<Notify>()) {
    MmEstablished* est = sa.established();
    if (!est || sa.dead) return;
    on_notify(core, now, sa, *est, *n);
  }
  for (const SaName& pair : pairs) peer_deleted_pair(core, now, sa, pair);
  if (isakmp) peer_deleted_isakmp(core, now, sa);
}

/// Whether a message in clear says that an SA is not known there.
bool doubts_an_spi(const Incoming& in) {
  const auto message = open_clear(in, MessageKind::InformationalClear);
  if (!message) return false;
  const auto all = message->all<Notify>();
  return std::ranges::any_of(all,
                             [](const Notify* n) { return n->type == NotifyType::InvalidSpi || n->type == NotifyType::InvalidCookie; });
}

/// RFC 2408 §3.1: CONNECTED comes under the message id of the exchange that it ends.
bool waits_for_connected(const IsakmpSa& sa, MessageId id) {
  const auto qm = sa.quick_modes.find(id);
  if (qm == sa.quick_modes.end()) return false;
  const bool overtaken = std::holds_alternative<QmAwaitConfirm>(qm->second.state) && qm->second.commit && !qm->second.connected;
  return overtaken || std::holds_alternative<QmAwaitConnected>(qm->second.state);
}

/// An id is for one message. But vpnc takes those of the two Deletes that it ends with from 256, and now and then the same for both:
/// what only deletes, and is not the same again, is believed.
bool is_new(const IsakmpSa& sa, MessageId id, const Message& verified) {
  if (!sa.used_ids.contains(id) || waits_for_connected(sa, id)) return true;
  return !verified.all<Delete>().empty() && verified.all<Notify>().empty() &&
         !sa.used_ids.contains_informational(id, verified.find<Hash>()->data);
}

}  // namespace

void on_informational(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const Endpoint& peer = in.datagram.remote;
  const auto junk = [&](Reason reason, std::string text) { core.junk(in.now, peer, Exchange::Informational, reason, std::move(text)); };
  auto id = core.table.find(h.spi_i, h.spi_r);
  if (!id) id = core.table.find_initiating(h.spi_i);
  IsakmpSa* sa = id ? core.find(*id) : nullptr;
  if (!sa && h.encrypted() && core.farewells.contains(h.spi_i, h.spi_r)) return;  // what it says again was heard
  if (!sa) return junk(Reason::UnknownSa, "An Informational message names cookies that nobody here has.");
  if (std::holds_alternative<MmClosing>(sa->state)) {
    if (h.encrypted()) repeat_delete(core, in.now, *sa);
    return;
  }
  MmEstablished* est = sa->established();
  const bool waiting = sa->role == Role::Initiator && !est;
  if (!h.encrypted()) {
    if (waiting && peer.address == sa->remote.address) return on_clear(core, in, *sa);
    if (est && doubts_an_spi(in)) ask_whether_alive(core, in.now, *sa, *est);
    return junk(Reason::Unexpected, "A notification in clear is not believed.");
  }
  Keys* keys = keys_of(*sa);
  if (!keys || (!est && !waiting) || (!h.message_id && !est))  // 0 is one of vpnc's 256
    return junk(Reason::Unexpected, "An encrypted Informational message came before phase 1 was over.");
  const auto opened = open_sealed(in, MessageKind::Informational, keys->cipher, keys->exchange_iv(h.message_id));
  const bool verified = opened && equal_constant_time(informational_hash(keys->secrets, h.message_id, opened->message.behind(0)),
                                                      opened->message.find<Hash>()->data);
  if (!verified) {
    if (waiting && peer.address == sa->remote.address)
      return phase1_hint(core, in.now, *sa,
                         {Reason::AuthFailed,
                          "a notification that does not decrypt with our keys.",
                          {.said = "a notification that does not decrypt", .by = ike::RefusedBy::Peer}});
    return junk(opened ? Reason::BadHash : opened.error().reason,
                opened ? "HASH(1) of an Informational message is wrong." : opened.error().text);
  }
  if (!is_new(*sa, h.message_id, opened->message)) return;
  sa->used_ids.add_informational(h.message_id, opened->message.find<Hash>()->data);
  if (waiting) return on_phase1_error(core, in, *sa, opened->message);
  if (est->unconfirmed)
    for (const Notify* n : opened->message.all<Notify>())
      if (is_error(n->type) && reason_of(n->type) == Reason::AuthFailed) return last_message_refused(core, in.now, *sa, n->type);
  heard_from(core, in, *sa);
  for (const Notify* n : opened->message.all<Notify>())
    if (n->type == NotifyType::Connected) on_connected(core, in.now, *sa, h.message_id, n->spi);
  apply(core, in.now, *sa, opened->message);
}

void apply_phase1_notifications(Core& core, TimePoint now, IsakmpSa& sa, const Message& message) {
  for (const Notify* n : message.all<Notify>()) {
    MmEstablished* est = sa.established();
    if (!est || sa.dead) return;
    if (n->type == NotifyType::InitialContact) peer_restarted(core, now, sa);
    if (n->type == NotifyType::ResponderLifetime && n->protocol == kProtoIsakmp) on_responder_lifetime(core, now, sa, *est, *n);
  }
}

Builder refusal(const IsakmpSa& sa, NotifyType type, SaName about) {
  Notify n;
  n.type = type;
  n.protocol = about.spi ? static_cast<std::uint8_t>(about.protocol) : kProtoIsakmp;
  n.spi = about.spi ? spi_bytes(about.spi) : cookies(sa);
  Builder b;
  b.add(n);
  return b;
}

Builder refusal_and_delete(const IsakmpSa& sa, NotifyType type) {
  Builder b = refusal(sa, type);
  b.add(delete_isakmp(sa));
  return b;
}

Delete delete_isakmp(const IsakmpSa& sa) { return {kIpsecDoi, kProtoIsakmp, 16, {cookies(sa)}}; }

void add_deletes(Builder& to, const std::vector<SaName>& sas) {
  for (const SaProtocol protocol : {SaProtocol::Esp, SaProtocol::Ah}) {
    Delete d{kIpsecDoi, static_cast<std::uint8_t>(protocol), 4, {}};
    for (const SaName& sa : sas)
      if (sa.protocol == protocol) d.spis.push_back(spi_bytes(sa.spi));
    if (!d.spis.empty()) to.add(d);
  }
}

}  // namespace culvert::ikev1

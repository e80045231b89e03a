#include "control/ikev2/mobike.hpp"

#include <algorithm>

#include "control/ikev2/children.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/sa_init_responder.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::size_t kCookie2Bytes = 16;
constexpr std::size_t kMinCookie2 = 8, kMaxCookie2 = 64;  // RFC 4555 §4.2.5

bool began(const IkeSa& sa) { return sa.first_role == Role::Initiator; }
Path path_of(const IkeSa& sa) { return {sa.local, sa.remote}; }
std::string text(const Path& p) { return p.local.to_string() + " - " + p.remote.to_string(); }

void say(Core& core, const IkeSa& sa, Severity severity, Reason reason, std::string what) {
  core.say(sa, severity, Exchange::Informational, reason, std::move(what));
}

/// Who has what was this SA's: it may have been rekeyed meanwhile.
IkeSa& bearer(Core& core, IkeSa& sa) {
  IkeSa* one = &sa;
  for (int generation = 0; generation < 4 && one->heir; ++generation) {
    IkeSa* heir = core.find(*one->heir);
    if (!heir) break;
    one = heir;
  }
  return *one;
}

void first(Core& core, IkeSa& sa, const Task& task) {
  std::erase(sa.tasks, task);
  sa.tasks.push_front(task);
  core.touch(sa);
}

/// The IKE SA is there; its outbound SAs follow when the peer has answered there.
void go(Core& core, IkeSa& sa, const Path& to) {
  if (path_of(sa) == to) return;
  if (!sa.mobility.former) sa.mobility.former = FormerPath{path_of(sa), sa.nat};
  say(core, sa, Severity::Info, Reason::Ok, "The IKE SA goes to " + text(to) + ", and was at " + text(path_of(sa)) + ".");
  sa.local = to.local;
  sa.remote = to.remote;
  core.touch(sa);
}

/// What waits for an answer is asked by the new path at once, for the peer takes nothing else before (RFC 4555 §3.5, RFC 7296 §2.3).
void ask_again(Core& core, TimePoint now, IkeSa& sa) {
  auto* sent = sa.request ? std::get_if<RequestSent>(&sa.request->state) : nullptr;
  if (!sent) return;
  core.send(now, sa, sa.last_request);
  sent->tx = Outstanding(now, {}, core.config.ike, core.services);
}

/// One direction of all CHILD SAs goes to where the IKE SA is.
void move_children(Core& core, IkeSa& sa, Direction direction) {
  const bool in = direction == Direction::Inbound, encapsulated = sa.nat.encapsulate();
  const Path at = esp_path(path_of(sa), sa.nat);
  for (Child& child : sa.children) {
    if (child.suite.protocol == SaProtocol::Ah && encapsulated) {
      if (in) continue;
      say(core, sa, Severity::Warn, Reason::Unexpected, "AH does not go through the NAT that is on the new path: the CHILD SA ends.");
      delete_child(core, sa, child, Reason::Unexpected);
      continue;
    }
    if (!in && (child.outbound || child.life == Life::Ended)) continue;
    if (!in) child.udp_encap = encapsulated;
    core.shared.actions.emplace_back(
        ike::MoveSa{child.pair, in ? child.spi_in : child.spi_out, at.remote, at.local, direction, in && sa.nat.remote && encapsulated});
  }
}

/// The peer is there: traffic goes there.
void arrive(Core& core, IkeSa& sa) {
  sa.mobility.former.reset();
  sa.mobility.refused.clear();
  move_children(core, sa, Direction::Outbound);
  say(core, sa, Severity::Info, Reason::Ok, "The CHILD SAs are at " + text(path_of(sa)) + " (" + sa.nat.to_string() + ").");
  core.touch(sa);
}

const Notify* detection(const Message& m) {
  return m.notify(NotifyType::NatDetectionSourceIp) ? m.notify(NotifyType::NatDetectionDestinationIp) : nullptr;
}

void detect_nats(const IkeSa& by, IkeSa& sa, const Path& path, const Message& m) {
  const Notify* destination = detection(m);
  if (!destination) return;
  std::vector<const Bytes*> received{&destination->data};
  for (const Notify* n : m.all<Notify>())
    if (n->type == NotifyType::NatDetectionSourceIp) received.push_back(&n->data);
  ike::detect_nat(sa.nat, received, path.local, path.remote, [&](const Endpoint& e) { return nat_hash(by.spi_i, by.spi_r, e); });
}

/// Addresses and ports of a packet as NO_NATS_ALLOWED has them (RFC 4555 §4.2.4).
bool says_path(const Bytes& data, const Endpoint& source, const Endpoint& destination) {
  Writer w;
  w.bytes(source.address.view());
  w.bytes(destination.address.view());
  w.be(source.port);
  w.be(destination.port);
  return std::ranges::equal(data, w.view());
}

/// The list of the peer's other addresses, where the message has one (RFC 4555 §3.4, §3.6). False: it has none.
bool note_others(IkeSa& sa, const Message& m) {
  std::vector<IpAddress> listed;
  bool any = m.notify(NotifyType::NoAdditionalAddresses) != nullptr;
  for (const Notify* n : m.all<Notify>()) {
    const bool four = n->type == NotifyType::AdditionalIp4Address, six = n->type == NotifyType::AdditionalIp6Address;
    if (!four && !six) continue;
    any = true;
    const std::size_t size = four ? 4 : 16;
    if (n->data.size() != size || listed.size() >= kMaxOtherAddresses) continue;
    IpAddress address;
    address.family = four ? Family::V4 : Family::V6;
    std::copy_n(n->data.begin(), size, address.bytes.begin());
    if (std::ranges::find(listed, address) == listed.end()) listed.push_back(address);
  }
  if (any) sa.mobility.others = std::move(listed);
  return any;
}

/// By which the peer may be reached instead: from each of our addresses to each that is configured, or that it names.
std::vector<Path> other_paths(const Core& core, const IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  std::vector<IpAddress> here{sa.local.address}, there{sa.remote.address};
  here.insert(here.end(), c.local_addrs.begin(), c.local_addrs.end());
  there.insert(there.end(), c.remote_addrs.begin(), c.remote_addrs.end());
  there.insert(there.end(), sa.mobility.others.begin(), sa.mobility.others.end());
  std::vector<Path> out;
  for (const IpAddress& local : here)
    for (const IpAddress& remote : there) {
      Path path = path_of(sa);
      path.local.address = local;
      path.remote.address = remote;
      if (remote != sa.remote.address) path.remote.port = sa.local.port == ike::kNatPort ? ike::kNatPort : ike::kIkePort;
      const bool known = path == path_of(sa) || std::ranges::find(out, path) != out.end();
      if (local.family == remote.family && !known && out.size() < kMaxPaths) out.push_back(path);
    }
  std::erase_if(out, [&](const Path& p) { return std::ranges::find(sa.mobility.refused, p) != sa.mobility.refused.end(); });
  return out;
}

/// The peer answers with something else than it was asked with: somebody answers for it (RFC 4555 §3.7).
void wrong_cookie(Core& core, TimePoint now, IkeSa& sa) {
  const std::string text = "The peer does not return the COOKIE2 that it was sent to its new address: the IKE SA ends.";
  core.ended(now, sa, Exchange::Informational, Role::Initiator, Reason::Unexpected, text, {}, {.number = 2});
  IkeSa& holder = bearer(core, sa);
  Run& run = core.run(holder.connection);
  for (std::size_t i = 0; i < run.children.size(); ++i)
    if (began(holder) && newest_live(holder, i)) run.children[i].requested = true;  // it was in use until now
  close_sa(core, now, holder, Reason::Unexpected, text);
}

/// Whether the peer may go there; a reason if not.
std::optional<std::string> unacceptable(const Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  const Endpoint &here = in.datagram.local, &there = in.datagram.remote;
  const auto may = core.shared.by_peer.candidates(here, there.address, 2);
  if (std::ranges::find(may, sa.connection) == may.end()) return "the connection is not between those addresses";
  IkeSa seen;
  seen.nat = sa.nat;
  detect_nats(sa, seen, {here, there}, m);
  const bool ah = std::ranges::any_of(sa.children, [](const Child& c) { return c.suite.protocol == SaProtocol::Ah; });
  if (ah && seen.nat.encapsulate()) return "AH does not go through the NAT that is between";
  Mobility& now_and_then = sa.mobility;
  if (in.now - now_and_then.moves_since > kMovesTime) {
    now_and_then.moves_since = in.now;
    now_and_then.moves = 0;
  }
  if (++now_and_then.moves > kMaxMoves) return "it has moved too often of late";
  return std::nullopt;
}

/// UPDATE_SA_ADDRESSES, responder. False: refused.
bool peer_moves(Core& core, const Incoming& in, IkeSa& asked, const Message& m, Builder& answer) {
  IkeSa& sa = bearer(core, asked);
  const Path to{in.datagram.local, in.datagram.remote};
  if (const auto why = unacceptable(core, in, sa, m)) {
    say(core, sa, Severity::Warn, Reason::Limit, "The peer may not go to " + text(to) + ": " + *why + ".");
    answer.notify(NotifyType::UnacceptableAddresses);
    return false;
  }
  const IpAddress proven = sa.mobility.former ? sa.mobility.former->path.remote.address : sa.remote.address;
  const bool elsewhere = path_of(sa) != to;
  for (IkeSa* one : {&asked, &sa}) {
    go(core, *one, to);
    detect_nats(asked, *one, to, m);
  }
  if (elsewhere) ask_again(core, in.now, asked);
  if (elsewhere && &asked != &sa) ask_again(core, in.now, sa);
  move_children(core, sa, Direction::Inbound);
  if (to.remote.address == proven)
    arrive(core, sa);
  else
    first(core, sa, {.kind = Task::Kind::CheckAddress});
  return true;
}

/// The peer's list lacks the address that we use: that is gone (RFC 4555 §3.6).
void leave_lost_address(Core& core, const Incoming& in, IkeSa& sa) {
  const auto& others = sa.mobility.others;
  if (!began(sa) || sa.nat.remote || in.datagram.remote.address == sa.remote.address ||
      std::ranges::find(others, sa.remote.address) != others.end())
    return;
  const auto paths = other_paths(core, sa);
  const Path came{in.datagram.local, in.datagram.remote};
  const auto by = std::ranges::find(paths, came);
  const auto to =
      by != paths.end() ? by : std::ranges::find_if(paths, [&](const Path& p) { return p.remote.address != sa.remote.address; });
  if (to == paths.end()) return;
  go(core, sa, *to);
  ask_again(core, in.now, sa);
  first(core, sa, {.kind = Task::Kind::UpdateAddresses});
}

/// The answer to UPDATE_SA_ADDRESSES, which went out by the path in use and no other.
void moved(Core& core, const IkeSa& asked, IkeSa& sa, const Message& m) {
  const Notify* refusal = m.error();
  if (!refusal) {
    detect_nats(asked, sa, path_of(sa), m);
    if (const Notify* n = detection(m); n && &asked == &sa) sa.mobility.seen_as = n->data;
    move_children(core, sa, Direction::Inbound);
    return arrive(core, sa);
  }
  say(core, sa, Severity::Warn, Reason::PeerRefused, "The peer refused " + text(path_of(sa)) + " with " + name(refusal->type) + ".");
  if (sa.mobility.refused.size() < kMaxPaths) sa.mobility.refused.push_back(path_of(sa));
  if (!sa.mobility.former) return;
  const FormerPath back = *sa.mobility.former;
  sa.mobility.former.reset();
  sa.local = back.path.local;
  sa.remote = back.path.remote;
}

}  // namespace

void offer_mobility(const Core& core, const IkeSa& sa, Builder& out) {
  const config::Connection& c = core.connection(sa);
  if (!c.mobike) return;
  out.notify(NotifyType::MobikeSupported);
  std::size_t named = 0;
  for (const IpAddress& own : c.local_addrs)
    if (own != sa.local.address && named++ < kMaxOtherAddresses)
      out.notify(own.family == Family::V4 ? NotifyType::AdditionalIp4Address : NotifyType::AdditionalIp6Address,
                 Bytes(own.view().begin(), own.view().end()));
}

void note_mobility(const Core& core, IkeSa& sa, const Message& m) {
  sa.mobility.agreed = core.connection(sa).mobike && m.notify(NotifyType::MobikeSupported);
  if (sa.mobility.agreed) note_others(sa, m);
}

bool forbids_nat(const Incoming& in, const Message& m) {
  const Notify* n = m.notify(NotifyType::NoNatsAllowed);
  return n && !says_path(n->data, in.datagram.remote, in.datagram.local);
}

bool on_mobility_request(Core& core, const Incoming& in, IkeSa& sa, const Message& m, Builder& answer) {
  if (!sa.mobility.agreed || !bearer(core, sa).established()) return true;
  const Notify* cookie = m.notify(NotifyType::Cookie2);
  if (cookie && (cookie->data.size() < kMinCookie2 || cookie->data.size() > kMaxCookie2)) {
    say(core, sa, Severity::Warn, Reason::Malformed, "A COOKIE2 of the peer has a length that is not allowed (RFC 4555 §4.2.5).");
    answer.notify(NotifyType::InvalidSyntax);
    return false;
  }
  if (cookie) answer.notify(NotifyType::Cookie2, cookie->data);
  const bool update = m.notify(NotifyType::UpdateSaAddresses) != nullptr;
  if (forbids_nat(in, m)) {
    say(core, sa, Severity::Warn, Reason::PeerRefused, "The peer forbids a NAT (NO_NATS_ALLOWED), and there is one between.");
    answer.notify(NotifyType::UnexpectedNatDetected);
    return false;
  }
  if (update && began(sa))
    say(core, sa, Severity::Warn, Reason::Unexpected, "The peer wants to say where the IKE SA goes, which is for the side that began it.");
  else if (update && !peer_moves(core, in, sa, m, answer))
    return false;
  if (detection(m)) {  // of the path that the request came by
    IkeSa seen;
    seen.local = in.datagram.local;
    seen.remote = in.datagram.remote;
    seen.spi_i = sa.spi_i;
    seen.spi_r = sa.spi_r;
    seen.nat.forced = sa.nat.forced;
    add_nat_detection(core, seen, sa.spi_r, answer);
  }
  if (note_others(sa, m)) leave_lost_address(core, in, bearer(core, sa));
  return true;
}

void add_mobility(Core& core, IkeSa& sa, const Task& task, Builder& out) {
  if (!sa.mobility.agreed) return;
  const bool update = task.kind == Task::Kind::UpdateAddresses;
  if (update) out.notify(NotifyType::UpdateSaAddresses);
  // RFC 4555 §3.8: whether a NAT in front of us has changed what it makes of our address.
  if (update || (task.kind == Task::Kind::Liveness && began(sa) && sa.nat.local)) add_nat_detection(core, sa, sa.spi_r, out);
  if (!update && task.kind != Task::Kind::CheckAddress) return;
  sa.mobility.cookie = core.shared.random(kCookie2Bytes);
  out.notify(NotifyType::Cookie2, sa.mobility.cookie);
}

void on_mobility_response(Core& core, TimePoint now, IkeSa& sa, const Task& task, const Message& m) {
  const bool update = task.kind == Task::Kind::UpdateAddresses;
  if (task.kind == Task::Kind::Liveness) {
    const Notify* n = sa.mobility.agreed && began(sa) && sa.nat.local ? detection(m) : nullptr;
    if (!n) return;
    const bool same = sa.mobility.seen_as.empty() || sa.mobility.seen_as == n->data;
    sa.mobility.seen_as = n->data;
    if (!same) first(core, sa, {.kind = Task::Kind::UpdateAddresses});
    return;
  }
  if (!update && task.kind != Task::Kind::CheckAddress) return;
  const Bytes asked = std::exchange(sa.mobility.cookie, {});
  // Elsewhere by now: that is asked for anew (RFC 4555 §3.5, §3.7).
  IkeSa& holder = bearer(core, sa);
  const auto waits = [&](const IkeSa& one) { return std::ranges::find(one.tasks, task) != one.tasks.end(); };
  if (sa.mobility.asked_by != path_of(holder) || waits(sa) || waits(holder)) return;
  const Notify* cookie = m.notify(NotifyType::Cookie2);
  const bool refused = update && m.error();  // it goes nowhere
  if (!refused && (!cookie || cookie->data != asked)) return wrong_cookie(core, now, sa);
  update ? moved(core, sa, holder, m) : arrive(core, holder);
}

void note_asked(IkeSa& sa) {
  sa.mobility.asked_by = path_of(sa);
  sa.mobility.strayed = false;
}

void send_astray(Core& core, TimePoint now, IkeSa& sa, unsigned sent) {
  if (!sa.mobility.agreed || !began(sa) || !sa.established()) return;
  if (sent <= std::min(kOwnTries, std::max(1U, core.config.ike.retransmit_tries - 1))) return;
  for (const Path& path : other_paths(core, sa)) {
    core.send_by(now, sa, sa.last_request, path);
    sa.mobility.strayed = true;
  }
}

void answered_by(Core& core, const Incoming& in, IkeSa& sa) {
  if (!std::exchange(sa.mobility.strayed, false) || !sa.established()) return;
  const Path by{in.datagram.local, in.datagram.remote};
  const auto paths = other_paths(core, sa);
  const bool elsewhere = std::ranges::find(paths, by) != paths.end();
  const bool update = sa.request && sa.request->task.kind == Task::Kind::UpdateAddresses;
  // The peer may have heard an UPDATE_SA_ADDRESSES that strayed by any of them, and be there.
  if (!elsewhere && !update) return;
  IkeSa& holder = bearer(core, sa);
  if (elsewhere)
    for (IkeSa* one : {&sa, &holder}) go(core, *one, by);
  first(core, holder.confirmed ? holder : sa, {.kind = Task::Kind::UpdateAddresses});
}

std::optional<TimePoint> next_probe_of_replaced(const Core& core, const IkeSa& sa) {
  const auto found = sa.heir ? core.sas().find(*sa.heir) : core.sas().end();
  const IkeSa* heir = found == core.sas().end() || found->second->dead ? nullptr : found->second.get();
  const auto delay = core.connection(sa).dpd_delay;
  if (!heir || heir->confirmed || !sa.mobility.agreed || !began(sa) || sa.request || !sa.tasks.empty() || delay.count() == 0)
    return std::nullopt;
  return std::max(sa.last_heard, heir->last_heard) + delay;
}

void inherit_mobility(Core& core, const IkeSa& old, IkeSa& heir) {
  if (!old.mobility.agreed) return;
  heir.mobility.former = old.mobility.former;
  heir.mobility.others = old.mobility.others;
  heir.mobility.refused = old.mobility.refused;
  heir.local = old.local;
  heir.remote = old.remote;
  heir.nat = old.nat;
  resume_mobility(core, heir);
}

void resume_mobility(Core& core, IkeSa& sa) {
  if (!sa.mobility.former) return;
  first(core, sa, {.kind = began(sa) ? Task::Kind::UpdateAddresses : Task::Kind::CheckAddress});
}

}  // namespace culvert::ikev2

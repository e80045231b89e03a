#include "control/ikev2/children.hpp"

#include <algorithm>

#include "control/ike/lifetimes.hpp"
#include "control/ikev1/evidence.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/narrowing.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/shares.hpp"

namespace culvert::ikev2 {

std::vector<EspSuite> usable_suites(const IkeSa& sa, const config::Child& child) {
  std::vector<EspSuite> suites = child.suites();
  if (sa.nat.encapsulate()) std::erase_if(suites, [](const EspSuite& s) { return s.protocol == SaProtocol::Ah; });
  return suites;
}

std::string suites_text(const std::vector<EspSuite>& suites) {
  std::string out;
  for (const EspSuite& s : suites) out += (out.empty() ? "" : ", ") + s.to_string();
  return out;
}

namespace {

/// What of a child the peer can have.
struct Candidate {
  std::size_t child = 0;
  SelectorLists part;
};

/// The part of the child that the wish is within, or has within; empty: none.
SelectorLists common_part(const Core& core, const IkeSa& sa, std::size_t child, const Wish& wish) {
  if (!wish.rekeyed && !addresses_known(core, sa, child)) return {};
  const SelectorLists whole = wish.rekeyed ? wish.rekeyed->selectors : selectors_of(core, sa, child);
  return paired({narrow(wish.ts_r.selectors, whole.local), narrow(wish.ts_i.selectors, whole.remote)});
}

/// In the order of the configuration; but of several selectors the first ones are of a packet that waits (RFC 7296 §2.9), and the children
/// that have it come before others.
std::vector<Candidate> candidates(const Core& core, const IkeSa& sa, const Wish& wish) {
  std::vector<Candidate> out;
  for (std::size_t i = 0; i < core.connection(sa).children.size(); ++i) {
    if (wish.rekeyed && wish.rekeyed->child != i) continue;
    if (SelectorLists part = common_part(core, sa, i, wish); !part.empty()) out.push_back({i, std::move(part)});
  }
  if (wish.ts_r.selectors.size() + wish.ts_i.selectors.size() == 2) return out;
  std::ranges::stable_partition(out, [&](const Candidate& c) {
    const auto has = [](const std::vector<TrafficSelector>& part, const TrafficSelector& first) {
      return std::ranges::any_of(part, [&](const TrafficSelector& s) { return s.contains(first); });
    };
    return has(c.part.local, wish.ts_r.selectors.front()) && has(c.part.remote, wish.ts_i.selectors.front());
  });
  return out;
}

/// What a CHILD SA has no room for is narrowed away.
void keep_to_room(Core& core, const IkeSa& sa, const Wish& wish, Candidate& c) {
  const std::size_t out = cut(c.part, wish.ts_r.selectors.front(), wish.ts_i.selectors.front());
  if (out == 0) return;
  core.shared.selectors_left_out += out;
  core.say(sa, Severity::Warn, {}, Reason::Limit,
           "The peer asks for more traffic selectors than a CHILD SA has room for (" + std::to_string(kMaxPairSelectors) +
               " of both sides): " + std::to_string(out) + " are left out.",
           c.child);
}

ChildRefusal selectors_refused(const Core& core, const IkeSa& sa, const Wish& wish) {
  const std::string ours = selectors_text(wish.ts_r.selectors), theirs = selectors_text(wish.ts_i.selectors);
  return {NotifyType::TsUnacceptable,
          {},
          Reason::SelectorMismatch,
          "No child has the traffic selectors that the peer asks for: " + ours + " - " + theirs + " (ours - theirs).",
          {},
          {.evidence = ikev1::selector_evidence(core.connection(sa), ours, theirs)}};
}

bool taken_by_another(const Core& core, const IkeSa& sa, std::size_t index, const SelectorLists& wanted) {
  if (!sa.peer) return false;
  const VrfId vrf = core.child(sa, index).vrf.id;
  return core.taken.any(vrf, wanted.remote, [&](Spi spi) {
    const auto owner = core.owner_of(spi);
    const auto other = owner ? core.sas().find(owner->first) : core.sas().end();
    if (other == core.sas().end()) return false;
    const IkeSa& one = *other->second;
    if (one.dead || !one.peer || (one.connection == sa.connection && one.peer == sa.peer)) return false;
    const auto child = std::ranges::find(one.children, spi, &Child::spi_in);
    return child != one.children.end() && child->life == Life::Live && child->selectors.intersects(wanted);
  });
}

}  // namespace

std::expected<Granted, ChildRefusal> grant(Core& core, IkeSa& sa, const Wish& wish) {
  if (sa.children.size() >= kMaxChildren)
    return std::unexpected(ChildRefusal{NotifyType::NoAdditionalSas, {}, Reason::Limit, "The peer has too many CHILD SAs.", {}});
  std::optional<ChildRefusal> nearest;
  const auto& children = core.connection(sa).children;
  for (Candidate& candidate : candidates(core, sa, wish)) {
    const std::size_t i = candidate.child;
    if (taken_by_another(core, sa, i, candidate.part)) {
      if (!nearest) nearest = selectors_refused(core, sa, wish);
      std::get<ike::SelectorEvidence>(nearest->cause.evidence).taken = true;
      continue;
    }
    keep_to_room(core, sa, wish, candidate);
    const auto beside = beside_which(core, sa, i, candidate.part, wish);
    if (!beside) return std::unexpected(beside.error());
    const auto spi = core.allocate_spi(sa.id, 0);
    if (!spi) return std::unexpected(ChildRefusal{NotifyType::NoAdditionalSas, {}, Reason::Limit, "There is no SPI left.", i});
    const auto suites = suites_beside(usable_suites(sa, children[i]), *beside);
    auto choice = select_child({.suites = suites, .our_spi = *spi, .pfs = wish.pfs, .ke = wish.ke}, wish.offered);
    if (choice && wish.pfs && choice->suite.pfs != wish.ke && choice->suite.pfs != DhGroup::None) {
      core.release_spi(*spi);
      Writer group;
      group.be(static_cast<std::uint16_t>(choice->suite.pfs));
      return std::unexpected(
          ChildRefusal{NotifyType::InvalidKePayload, std::move(group).take(), Reason::Ok, "Another group is wanted.", i});
    }
    if (!choice) {
      core.release_spi(*spi);
      const Mismatch& m = choice.error();
      if (!nearest)
        nearest = ChildRefusal{NotifyType::NoProposalChosen,
                               {},
                               Reason::NoProposalChosen,
                               "No proposal for the CHILD SA is acceptable: offered " + m.offered + "; wanted " + m.wanted +
                                   "; first difference: " + m.difference + ".",
                               i,
                               {.evidence = ike::ProposalEvidence{m.offered, m.wanted, m.difference, m.usable}}};
      continue;
    }
    Granted out;
    out.pair.pair = core.shared.new_pair();
    out.pair.child = i;
    out.pair.spi_in = *spi;
    out.pair.spi_out = choice->spi;
    out.pair.suite = choice->suite;
    out.pair.mode = wish.transport && children[i].mode == SaMode::Transport ? SaMode::Transport : SaMode::Tunnel;
    out.pair.unpadded = wish.unpadded;
    out.pair.selectors = std::move(candidate.part);
    out.pair.rekeyed = wish.rekeyed ? wish.rekeyed->pair : 0;
    if (wish.rekeyed) out.pair.share = wish.rekeyed->share;
    if (*beside) out.pair.share = {out.pair.pair, least_used(core, sa, i)};
    out.reply = std::move(choice->reply);
    core.set_pair(*spi, out.pair.pair);
    return out;
  }
  return std::unexpected(nearest ? std::move(*nearest) : selectors_refused(core, sa, wish));
}

void derive_pair(const IkeSa& sa, NewPair& pair, Role role, ByteView nonce_i, ByteView nonce_r, const SecretBytes* shared, ByteView more) {
  ChildKeys keys =
      child_keys(sa.keys.prf, sa.keys.d.view(), pair.suite, nonce_i, nonce_r, shared ? std::optional(shared->view()) : std::nullopt, more);
  const bool we_began = role == Role::Initiator;
  pair.outbound = std::move(we_began ? keys.from_initiator : keys.from_responder);
  pair.inbound = std::move(we_began ? keys.from_responder : keys.from_initiator);
}

Path esp_path(Path path, const ike::NatStatus& nat) {
  if (!nat.encapsulate()) path.local.port = path.remote.port = 0;
  return path;
}

namespace {

/// Nothing is sent to an address at which the peer has not answered (RFC 4555 §3.7).
Path path_for(const IkeSa& sa, Direction direction) {
  const auto& former = sa.mobility.former;
  if (direction == Direction::Outbound && former) return esp_path(former->path, former->nat);
  return esp_path({sa.local, sa.remote}, sa.nat);
}

void install(Core& core, const IkeSa& sa, const NewPair& pair, Direction direction, EspKeys keys, JobId job) {
  const config::Child& c = core.child(sa, pair.child);
  const bool in = direction == Direction::Inbound;
  ike::InstallSa out;
  out.job = job;
  out.pair = pair.pair;
  out.direction = direction;
  out.connection = core.connection(sa).name;
  out.child = c.name;
  if (sa.peer) out.peer = *sa.peer;
  out.own_policy = sa.peer.has_value() || c.dynamic();
  out.spi = in ? pair.spi_in : pair.spi_out;
  const Path at = path_for(sa, direction);
  out.local = at.local;
  out.remote = at.remote;
  out.follow = in && sa.nat.remote && out.local.port != 0;
  out.local_ts = pair.selectors.local.front();
  out.remote_ts = pair.selectors.remote.front();
  out.more = pair.selectors.more();
  out.suite = pair.suite;
  out.mode = pair.mode;
  out.encr_key = std::move(keys.encr);
  out.integ_key = std::move(keys.integ);
  out.replay_window = c.replay_window;
  if (pair.share.own()) out.worker = pair.share.worker;
  out.rules = c.rules;
  if (!in && pair.unpadded) out.rules.tfc_padding = PacketRules::kOff;
  // The engine's own timer rekeys earlier (rand_time); the soft limit stands in where the engine does not live to do it.
  out.hard_seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(1, c.life_time.count()));
  out.soft_seconds = std::min<std::uint64_t>(static_cast<std::uint64_t>(c.rekey_time.count()), out.hard_seconds);
  const SuiteLimits most = limits(pair.suite);
  out.hard_bytes = ike::smaller_limit(c.life_bytes, most.bytes);
  out.soft_bytes = c.rekey_bytes != 0 && (out.hard_bytes == 0 || c.rekey_bytes < out.hard_bytes) ? c.rekey_bytes : out.hard_bytes / 10 * 9;
  out.hard_packets = ike::smaller_limit(c.life_packets, most.packets);
  out.soft_packets = ike::smaller_limit(c.rekey_packets, out.hard_packets / 10 * 9);
  core.shared.actions.emplace_back(std::move(out));
}

std::string describe(const Child& c) {
  return c.suite.to_string() + (c.mode == SaMode::Transport ? ", transport mode" : "") + ", " + c.selectors.to_string();
}

}  // namespace

JobId install_inbound(Core& core, IkeSa& sa, NewPair& pair) {
  const JobId job = core.add_job({sa.id, Direction::Inbound, pair.pair});
  pair.at = path_for(sa, Direction::Inbound);
  install(core, sa, pair, Direction::Inbound, std::exchange(pair.inbound, {}), job);
  return job;
}

Child& pair_up(Core& core, TimePoint now, IkeSa& sa, NewPair pair, Role role, Exchange exchange, bool wait) {
  const config::Child& c = core.child(sa, pair.child);
  const ike::Schedule when = ike::schedule(core.services, now, {c.rekey_time, c.rand_time, c.life_time}, 0);
  if (const Path at = path_for(sa, Direction::Inbound); at != pair.at)  // the SA has moved meanwhile
    core.shared.actions.emplace_back(
        ike::MoveSa{pair.pair, pair.spi_in, at.remote, at.local, Direction::Inbound, sa.nat.remote && at.local.port != 0});
  Child out;
  out.pair = pair.pair;
  out.child = pair.child;
  out.role = role;
  out.spi_in = pair.spi_in;
  out.spi_out = pair.spi_out;
  out.suite = pair.suite;
  out.mode = pair.mode;
  out.selectors = pair.selectors;
  out.udp_encap = sa.nat.encapsulate();
  out.established = now;
  out.rekey_at = when.rekey_at;
  out.expires_at = when.expires_at;
  out.rekeyed = pair.rekeyed;
  out.share = pair.share;
  out.unpadded = pair.unpadded;
  out.lowest_nonce = std::move(pair.lowest_nonce);
  out.outbound = std::move(pair.outbound);
  out.ready_at = now + (out.rekeyed != 0 ? std::chrono::nanoseconds(kOverdue) : kRivalWait);
  const Child* before = sa.find(out.rekeyed);
  out.line = out.rekeyed == 0 ? out.pair : before ? before->line : 0;
  out.began = before ? before->began : role;
  sa.children.push_back(std::move(out));
  Child& child = sa.children.back();
  core.taken.add(c.vrf.id, child.selectors.remote, child.spi_in);
  if (!wait) release_outbound(core, now, sa, child);
  hasten_doubles(now, sa, child);
  core.touch(sa);
  ChildRun& run = core.run(sa.connection).children.at(child.child);
  if (!child.share.own()) {
    run.requested = run.trapped = false;
    run.packet.reset();
    run.failures = 0;
    run.retry_at = {};
  }
  core.ended(now, sa, exchange, role, Reason::Ok,
             std::string(child.rekeyed ? "CHILD SA rekeyed: " : "CHILD SA established: ") + describe(child) + of_worker(child.share) + ".",
             child.child);
  return child;
}

void release_outbound(Core& core, TimePoint now, IkeSa& sa, Child& child) {
  if (!child.outbound) return;
  if (child.ended) return delete_child(core, sa, child, Reason::DeletedByOperator);
  if (child.redundant) return;
  NewPair pair;
  pair.pair = child.pair;
  pair.child = child.child;
  pair.spi_out = child.spi_out;
  pair.suite = child.suite;
  pair.mode = child.mode;
  pair.selectors = child.selectors;
  pair.share = child.share;
  pair.unpadded = child.unpadded;
  EspKeys keys = std::move(*child.outbound);
  child.outbound.reset();
  child.sending_since = now;
  core.touch(sa);
  install(core, sa, pair, Direction::Outbound, std::move(keys), core.add_job({sa.id, Direction::Outbound, child.pair}));
  forget_orphans(core, now, sa, child.child);
  if (!child.share.own()) end_shares_before(core, now, sa, child.child);
  if (Child* own = sa.find(child.rekeyed); own && own->redundant && own->life == Life::Live) delete_child(core, sa, *own, Reason::Replaced);
}

void forget_pair(Core& core, const NewPair& pair, bool installed) {
  if (installed) core.shared.actions.emplace_back(ike::RemoveSa{pair.pair, Direction::Inbound, pair.spi_in});
  core.release_spi(pair.spi_in);
}

void remove_child(Core& core, IkeSa& sa, std::uint64_t pair) {
  const auto it = std::ranges::find(sa.children, pair, &Child::pair);
  if (it == sa.children.end()) return;
  core.shared.actions.emplace_back(ike::RemoveSa{it->pair, Direction::Inbound, it->spi_in});
  if (it->life != Life::Ended && !it->outbound) core.shared.actions.emplace_back(ike::RemoveSa{it->pair, Direction::Outbound, it->spi_out});
  core.taken.remove(core.child(sa, it->child).vrf.id, it->selectors.remote, it->spi_in);
  core.release_spi(it->spi_in);
  sa.children.erase(it);
  core.touch(sa);
  core.touch(sa.connection);
}

void remove_children(Core& core, IkeSa& sa) {
  while (!sa.children.empty()) remove_child(core, sa, sa.children.back().pair);
}

namespace {
void send_no_more(Core& core, TimePoint now, IkeSa& sa, Child& child) {
  if (!child.outbound) core.shared.actions.emplace_back(ike::RemoveSa{child.pair, Direction::Outbound, child.spi_out});
  child.outbound.reset();
  child.life = Life::Ended;
  child.until = now + kGrace;
  core.touch(sa);
  core.touch(sa.connection);
}
}  // namespace

void stop_sending(Core& core, TimePoint now, IkeSa& sa) {
  go_on_without(core, now, sa);
  for (Child& child : sa.children) {
    if (child.life == Life::Ended) continue;
    send_no_more(core, now, sa, child);
    if (sa.lease.empty()) child.until = TimePoint::max();  // it goes with the SA; an address may be another one's before
  }
}

void end_child(Core& core, TimePoint now, IkeSa& sa, Child& child) {
  if (child.life == Life::Ended) return;
  go_on_without(core, now, sa, child);
  send_no_more(core, now, sa, child);
}

void child_failed(Core& core, TimePoint now, std::size_t connection, std::size_t index) {
  ChildRun& run = core.run(connection).children.at(index);
  ++run.failures;
  run.retry_at = now + backoff(core, run.failures);
  run.requested = !run.orphans.empty();
}

}  // namespace culvert::ikev2

#include "control/ikev2/shares.hpp"

#include <algorithm>

#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/lifecycle.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::size_t kShownResource = 16;  // bytes of what the peer calls it

/// How many there are for each worker, with what is being made beside the pairs that are there. They are counted by the child: a rekeying
/// may have narrowed some of them, and others not (RFC 7296 §2.9).
std::vector<std::size_t> by_worker(const Core& core, const IkeSa& sa, std::size_t child) {
  std::vector<std::size_t> out(core.config.dataplane.workers.size());
  const auto count = [&](const Share& share) {
    if (share.own()) ++out.at(share.worker);
  };
  const auto made = [&](const auto& pair) {
    if (pair.child == child && pair.rekeyed == 0) count(pair.share);
  };
  for (const Child& c : sa.children)
    if (c.child == child && c.life == Life::Live && !c.ended) count(c.share);
  if (const auto* ours = sa.request ? std::get_if<MakeChild>(&sa.request->make) : nullptr) made(*ours);
  if (const auto* theirs = sa.answering ? std::get_if<AnsweringChild>(&sa.answering->what) : nullptr) made(theirs->pair);
  if (const auto* theirs = sa.pending ? std::get_if<AnsweringChild>(&sa.pending->what) : nullptr) made(theirs->pair);
  return out;
}
std::size_t in_all(const std::vector<std::size_t>& counts) {
  std::size_t out = 0;
  for (const std::size_t n : counts) out += n;
  return out;
}

/// What is for all, or is about to be.
std::optional<Beside> whole_of(const IkeSa& sa, std::size_t child, const SelectorLists& selectors) {
  const auto is = [&](const auto& pair) { return pair.child == child && !pair.share.own() && pair.selectors == selectors; };
  for (const Child& c : sa.children)
    if (is(c) && c.life == Life::Live && !c.ended) return Beside{c.suite, c.mode};
  const auto* installing = sa.request ? std::get_if<RequestInstalling>(&sa.request->state) : nullptr;
  if (installing && is(installing->pair)) return Beside{installing->pair.suite, installing->pair.mode};
  const auto* theirs = sa.answering ? std::get_if<AnsweringChild>(&sa.answering->what) : nullptr;
  if (theirs && is(theirs->pair)) return Beside{theirs->pair.suite, theirs->pair.mode};
  return std::nullopt;
}

/// Whether the peer may not know yet that what is for all is to go, or did not know it when it asked for one beside that: this may come
/// late (RFC 7296 §2.25.1).
bool on_its_way_out(const IkeSa& sa, std::size_t child, const SelectorLists& selectors, bool named) {
  return std::ranges::any_of(sa.children, [&](const Child& c) {
    return c.child == child && !c.share.own() && c.selectors == selectors &&
           (c.life == Life::Deleting || (c.life == Life::Live && c.ended) || (c.life == Life::Ended && named));
  });
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------- what the peer asks for

std::expected<std::optional<Beside>, ChildRefusal> beside_which(const Core& core, const IkeSa& sa, std::size_t child,
                                                                const SelectorLists& part, const Wish& wish) {
  const auto no = [&](NotifyType notify, Reason reason, std::string text) {
    return std::unexpected(ChildRefusal{notify, {}, reason, std::move(text), child});
  };
  if (wish.rekeyed || !wish.grouped) return std::nullopt;
  const auto whole = whole_of(sa, child, part);
  if (!whole && on_its_way_out(sa, child, part, wish.named)) return no(NotifyType::TemporaryFailure, Reason::Ok, {});
  if (!whole) return std::nullopt;
  const config::Child& c = core.child(sa, child);
  const std::size_t there = in_all(by_worker(core, sa, child));
  const std::string asks = "The peer asks for one more CHILD SA for the same traffic (SA_RESOURCE_INFO), ";
  if (!c.per_cpu.sas) return no(NotifyType::TsMaxQueue, Reason::Limit, asks + "and the child has per_cpu_sas: no.");
  if (there >= c.per_cpu.limit)
    return no(NotifyType::TsMaxQueue, Reason::Limit, asks + "and has " + std::to_string(there) + " (per_cpu_sas_limit) already.");
  if ((wish.transport && c.mode == SaMode::Transport) != (whole->mode == SaMode::Transport))
    return no(NotifyType::NoProposalChosen, Reason::NoProposalChosen, asks + "in another mode than the first one is of (RFC 9611 §4).");
  return whole;
}

std::vector<EspSuite> suites_beside(std::vector<EspSuite> suites, const std::optional<Beside>& beside) {
  if (!beside) return suites;
  std::erase_if(suites, [&](EspSuite s) {
    s.pfs = beside->suite.pfs;  // a key exchange, which the first one may not have had, is no property of what it makes
    s.more = beside->suite.more;
    return s != beside->suite;
  });
  return suites;
}

std::uint16_t least_used(const Core& core, const IkeSa& sa, std::size_t child) {
  const auto counts = by_worker(core, sa, child);
  return static_cast<std::uint16_t>(std::ranges::min_element(counts) - counts.begin());
}

bool answers_grouped(Core& core, const IkeSa& sa, const NewPair& pair, const Message& request) {
  const Notify* n = request.notify(NotifyType::SaResourceInfo);
  if (!n || !core.child(sa, pair.child).per_cpu.sas) return false;
  if (!n->data.empty())
    core.say(
        sa, Severity::Debug, Exchange::CreateChildSa, Reason::Ok,
        "The peer's name for what the CHILD SA is for: " + to_hex(ByteView(n->data).first(std::min(n->data.size(), kShownResource))) + ".",
        pair.child);
  return true;
}

Bytes resource_of(const Share& share) {
  if (!share.own()) return {};
  Writer w;
  w.be(std::uint32_t{share.worker});
  return std::move(w).take();
}

// ---------------------------------------------------------------------------------------------------------------- what we ask for

namespace {

/// Whether nothing else is under way, or has to be.
bool at_leisure(const Core& core, const IkeSa& sa) {
  const Established* est = sa.established();
  return est && !est->replaced && !est->leaving && !est->look_at && !core.shared.shutting_down && sa.confirmed && !sa.redirecting.to &&
         !sa.request && sa.tasks.empty();
}

struct Missing {
  std::uint16_t worker = 0;
  TimePoint when;  ///< no earlier
};
/// The next one of a child that is missing.
std::optional<Missing> missing_share(const Core& core, const IkeSa& sa, std::size_t child) {
  const config::PerCpu& wanted = core.child(sa, child).per_cpu;
  if (!wanted.sas || core.config.dataplane.workers.size() < 2 || core.runs().at(sa.connection).children.at(child).single)
    return std::nullopt;
  const Child* whole = newest_live(sa, child);
  if (!whole || whole->outbound || whole->redundant || sa.children.size() >= kMaxChildren) return std::nullopt;
  const auto known = sa.shares.find(child);
  static const Shares kNone;
  const Shares& state = known == sa.shares.end() ? kNone : known->second;
  const auto counts = by_worker(core, sa, child);
  const auto none = std::ranges::find(counts, 0U);
  if (none == counts.end() || in_all(counts) >= std::min<std::size_t>(wanted.limit, state.limit.value_or(wanted.limit)))
    return std::nullopt;
  const TimePoint turn = sa.first_role == Role::Responder ? whole->established + kResponderPause : TimePoint{};
  return Missing{static_cast<std::uint16_t>(none - counts.begin()), std::max(turn, state.retry_at)};
}

}  // namespace

void want_shares(Core& core, TimePoint now, IkeSa& sa) {
  if (!at_leisure(core, sa)) return;
  for (std::size_t i = 0; i < core.connection(sa).children.size(); ++i)
    if (const auto next = missing_share(core, sa, i); next && now >= next->when)
      return add_task(core, sa, {.kind = Task::Kind::NewChild, .child = i, .worker = next->worker});
}

std::optional<TimePoint> shares_deadline(const Core& core, const IkeSa& sa) {
  std::optional<TimePoint> out;
  if (!at_leisure(core, sa)) return out;
  for (std::size_t i = 0; i < core.connection(sa).children.size(); ++i)
    if (const auto next = missing_share(core, sa, i)) out = earliest(out, next->when);
  return out;
}

bool make_share(Core& core, TimePoint now, IkeSa& sa, std::uint16_t worker, MakeChild& make) {
  const Child* whole = newest_live(sa, make.child);
  if (!whole || whole->outbound) return false;
  make.share = {make.pair, worker};
  make.asked = whole->selectors;
  make.packet.reset();
  make.transport = whole->mode == SaMode::Transport;
  make.suites = suites_beside(std::move(make.suites), Beside{whole->suite, whole->mode});
  if (!make.suites.empty()) return true;
  share_failed(core, now, sa, make.child);
  return false;
}

void stand_beside(Core& core, const IkeSa& sa, NewPair& pair) {
  if (pair.rekeyed != 0 || pair.share.own() || !whole_of(sa, pair.child, pair.selectors)) return;
  pair.share = {pair.pair, least_used(core, sa, pair.child)};
}

void show_that_made(Core& core, IkeSa& sa, std::size_t child) {
  if (!missing_share(core, sa, child)) add_task(core, sa, {.kind = Task::Kind::Liveness});
}

void share_refused(Core& core, IkeSa& sa, const Notify& n) {
  const MakeChild make = std::get<MakeChild>(sa.request->make);
  abandon_request(core, sa);
  const std::size_t there = in_all(by_worker(core, sa, make.child));
  sa.shares[make.child].limit = there;
  core.say(sa, Severity::Info, Exchange::CreateChildSa, Reason::PeerRefused,
           "The peer wants no more CHILD SAs for one worker each than the " + std::to_string(there) + " that there are (" + name(n.type) +
               "): the packets of the others go by the first one.",
           make.child);
}

void share_failed(Core& core, TimePoint now, IkeSa& sa, std::size_t child) {
  Shares& state = sa.shares[child];
  state.retry_at = now + backoff(core, ++state.failures);
  core.touch(sa);
}

void share_deleted(Core& core, TimePoint now, IkeSa& sa, const Child& child) {
  core.say(sa, Severity::Info, Exchange::Informational, Reason::DeletedByPeer,
           "The peer deleted the CHILD SA" + of_worker(child.share) + ", whose packets go by that for all.", child.child);
  share_failed(core, now, sa, child.child);
}

void end_shares_before(Core& core, TimePoint now, const IkeSa& sa, std::size_t child) {
  for (IkeSa* one : core.sas_with(sa, sa.remote_id)) {
    if (one->id == sa.id || one->peer != sa.peer || !one->established() || !one->established()->forgotten) continue;
    for (Child& c : one->children)
      if (c.child == child && c.share.own() && c.life == Life::Live) end_child(core, now, *one, c);
  }
}

std::string of_worker(const Share& share) { return share.own() ? ", for worker " + std::to_string(share.worker) : std::string(); }

}  // namespace culvert::ikev2

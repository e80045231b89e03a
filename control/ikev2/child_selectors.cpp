// The traffic that a configured child means with the peer of an IKE SA: whose addresses its dynamic sides are, what of it is asked for, and
// what an answer may make of that.
// Owns no state; what of it a peer gets is children.cpp's.
#include <algorithm>

#include "common/config/selectors.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/narrowing.hpp"

namespace culvert::ikev2 {

namespace {

using config::SideSelector;

Family family_of(const IkeSa& sa, const SideSelector& side, const std::vector<SideSelector>& others) {
  if (!side.dynamic) return side.ts.first.family;
  const auto fixed = std::ranges::find(others, false, &SideSelector::dynamic);
  if (fixed == others.end()) return sa.remote.address.family;
  return others.size() == 1 ? fixed->ts.first.family : side.ts.first.family;  // it stands there for each family (config::join)
}

struct Resolved {
  TrafficSelector ts;
  bool known = true;  ///< false: nobody has given the address
};

Resolved our_side(const Core& core, const IkeSa& sa, const SideSelector& side, const std::vector<SideSelector>& others) {
  if (!side.dynamic) return {side.ts};
  const Family family = family_of(sa, side, others);
  if (const auto& inner = sa.inner_local.of(family)) return {config::at_address(side.ts, *inner)};
  if (core.connection(sa).vips.empty()) return {config::at_address(side.ts, sa.local.address)};
  Resolved any{side.ts, false};
  any.ts.first = Prefix{{{}, family}, 0}.first();
  any.ts.last = Prefix{{{}, family}, 0}.last();
  return any;
}

Resolved their_side(const Core& core, const IkeSa& sa, const SideSelector& side, const std::vector<SideSelector>& others) {
  if (!side.dynamic) return {side.ts};
  if (const auto& inner = sa.inner_remote.of(family_of(sa, side, others))) return {config::at_address(side.ts, *inner)};
  return {config::at_address(side.ts, sa.remote.address), core.connection(sa).pools.empty()};
}

/// All of the child's, and those of them that are known.
struct Meant {
  SelectorLists all, known;
};
Meant meant(const Core& core, const IkeSa& sa, std::size_t index) {
  const config::Child& child = core.child(sa, index);
  const auto local = child.locals(), remote = child.remotes();
  Meant out;
  const auto add = [](const Resolved& r, std::vector<TrafficSelector>& all, std::vector<TrafficSelector>& known) {
    all.push_back(r.ts);
    if (r.known) known.push_back(r.ts);
  };
  for (const SideSelector& s : local) add(our_side(core, sa, s, remote), out.all.local, out.known.local);
  for (const SideSelector& s : remote) add(their_side(core, sa, s, local), out.all.remote, out.known.remote);
  return out;
}

}  // namespace

SelectorLists selectors_of(const Core& core, const IkeSa& sa, std::size_t index) {
  Meant m = meant(core, sa, index);
  const bool asking = !core.connection(sa).vips.empty() && !sa.inner_local.any();
  for (const SelectorLists* lists : {asking ? &m.all : &m.known, &m.all})
    if (SelectorLists out = paired(*lists); !out.empty()) return out;
  return m.all;
}

void ask_for_all(Core& core, const IkeSa& sa, MakeChild& make) {
  make.asked = selectors_of(core, sa, make.child);
  const ChildRun& run = core.quiet_run(sa.connection).children.at(make.child);
  if (!run.packet) return;
  const auto has = [](const TrafficSelector& one) { return [&](const TrafficSelector& s) { return s.contains(one); }; };
  const auto local = std::ranges::find_if(make.asked.local, has(run.packet->local));
  const auto remote = std::ranges::find_if(make.asked.remote, has(run.packet->remote));
  if (local == make.asked.local.end() || remote == make.asked.remote.end()) return;
  if (run.single)
    make.asked = {{config::at_address(*local, run.packet->local.first)}, {config::at_address(*remote, run.packet->remote.first)}};
  else
    make.packet = run.packet;
}

void add_selectors(const MakeChild& make, Builder& out) {
  TsI ours{make.asked.local, 0};
  TsR theirs{make.asked.remote, 0};
  if (make.packet) {
    ours.selectors.insert(ours.selectors.begin(), make.packet->local);
    theirs.selectors.insert(theirs.selectors.begin(), make.packet->remote);
  }
  out.add(ours).add(theirs);
}

std::optional<std::string> no_room(const SelectorLists& made) {
  if (made.size() <= kMaxPairSelectors) return std::nullopt;
  return "The peer has made " + std::to_string(made.size()) + " traffic selectors of ours, and a CHILD SA has room for " +
         std::to_string(kMaxPairSelectors) + ".";
}

std::expected<SelectorLists, std::string> narrowed(const MakeChild& make, const Message& m) {
  const auto &ts_i = m.find<TsI>()->selectors, &ts_r = m.find<TsR>()->selectors;
  if (!within(ts_i, make.asked.local) || !within(ts_r, make.asked.remote))
    return std::unexpected("The peer's traffic selectors " + selectors_text(ts_i) + " - " + selectors_text(ts_r) +
                           " are not within those that we asked for: " + make.asked.to_string() + " (ours - theirs).");
  SelectorLists out = paired({narrow(ts_i, make.asked.local), narrow(ts_r, make.asked.remote)});
  if (out.empty())
    return std::unexpected("There is no packet that the peer's traffic selectors are for: " + selectors_text(ts_i) + " - " +
                           selectors_text(ts_r) + ".");
  if (auto why = no_room(out)) return std::unexpected(std::move(*why));
  return out;
}

bool addresses_known(const Core& core, const IkeSa& sa, std::size_t index) {
  const Meant m = meant(core, sa, index);
  return m.known.size() == m.all.size() || !paired(m.known).empty();
}

}  // namespace culvert::ikev2

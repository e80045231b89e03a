#include "control/ikev1/view.hpp"

#include <algorithm>

#include "control/ikev1/access.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

namespace {

ike::ChildSaInfo view(const Core& core, std::size_t connection, const ChildSa& pair) {
  ike::ChildSaInfo out;
  out.pair = pair.pair;
  out.child = core.connection(connection).children.at(pair.child).name;
  out.role = pair.role;
  out.adopted = pair.adopted;
  out.spi_in = pair.spi_in;
  out.spi_out = pair.spi_out;
  out.suite = pair.suite;
  out.mode = pair.mode;
  out.udp_encap = pair.udp_encap;
  out.local_ts = pair.local_ts;
  out.remote_ts = pair.remote_ts;
  out.established = pair.established;
  out.expires_at = pair.expires_at;
  out.state = std::holds_alternative<ChildSuperseded>(pair.life) ? ike::ChildState::Rekeyed : ike::ChildState::Installed;
  if (const auto* l = std::get_if<ChildLive>(&pair.life)) out.rekey_at = l->rekey_at;
  return out;
}

ike::ChildSaInfo view(const Core& core, const IsakmpSa& sa, const QuickMode& qm) {
  const config::Child& c = core.connection(sa).children.at(qm.child);
  ike::ChildSaInfo out;
  out.pair = qm.pair;
  out.child = c.name;
  out.role = qm.role;
  out.spi_in = qm.spi_in;
  out.local_ts = qm.local_ts;
  out.remote_ts = qm.remote_ts;
  out.udp_encap = sa.nat.encapsulate();
  std::visit(
      [&out](const auto& s) {
        if constexpr (requires { s.choice.suite; }) {
          out.suite = s.choice.suite;
          out.mode = s.choice.mode;
        }
        if constexpr (requires { s.pending; }) {
          out.suite = s.pending.suite;
          out.mode = s.pending.mode;
          out.spi_out = s.pending.spi_out;
          out.local_ts = s.pending.local_ts;
          out.remote_ts = s.pending.remote_ts;
        }
      },
      qm.state);
  out.state = std::holds_alternative<QmInstalling>(qm.state) || std::holds_alternative<QmInstallingInbound>(qm.state) ||
                      std::holds_alternative<QmAwaitConfirm>(qm.state)
                  ? ike::ChildState::Installing
                  : ike::ChildState::Negotiating;
  return out;
}

void add_pairs(const Core& core, std::size_t connection, std::vector<ike::ChildSaInfo>& out) {
  for (const ChildRun& run : core.runs().at(connection).children)
    for (const ChildSa& pair : run.pairs) out.push_back(view(core, connection, pair));
}

bool newer(const IsakmpSa& a, const IsakmpSa& b) {
  const auto key = [](const IsakmpSa& s) {
    const MmEstablished* e = s.established();
    return std::tuple(e != nullptr && !e->remove_at, e ? e->established : TimePoint{}, s.id);
  };
  return key(a) > key(b);
}

ike::IkeState state_of(const IsakmpSa& sa, bool first) {
  if (std::holds_alternative<MmClosing>(sa.state)) return ike::IkeState::Deleting;
  const MmEstablished* e = sa.established();
  if (!e || !e->access.open()) return ike::IkeState::Connecting;
  return first ? ike::IkeState::Established : ike::IkeState::Rekeyed;
}

ike::IkeSaInfo view(const Core& core, const IsakmpSa& sa, bool first) {
  const config::Connection& c = core.connection(sa);
  ike::IkeSaInfo out;
  out.id = sa.id;
  out.connection = c.name;
  out.state = state_of(sa, first);
  out.role = sa.role;
  out.spi_i = sa.spi_i;
  out.spi_r = sa.spi_r;
  out.local = sa.local;
  out.remote = sa.remote;
  out.nat_local = sa.nat.local;
  out.nat_remote = sa.nat.remote;
  out.nat_forced = sa.nat.forced && sa.nat.supported;
  out.created = sa.created;
  out.local_id = to_text(c.local_id);
  out.remote_id = to_text(c.remote_id);
  if (const Negotiated* n = negotiated_of(sa)) {
    out.suite = n->suite;
    out.vendor_ids = n->vendor_ids;
  }
  if (const MmEstablished* e = sa.established()) {
    out.xauth_user = e->access.user;
    out.virtual_address = e->access.address;
    out.given = e->access.received.given;
    out.local_id = e->local_id;
    out.remote_id = e->remote_id;
    out.established = e->established;
    out.rekey_at = e->rekey_at;
    out.expires_at = e->remove_at ? std::min(*e->remove_at, e->expires_at) : e->expires_at;
  }
  for (const auto& [id, qm] : sa.quick_modes)
    if (!finished(qm)) out.children.push_back(view(core, sa, qm));
  if (first) add_pairs(core, sa.connection, out.children);
  return out;
}

/// The SA of each run that its pairs are listed under.
std::map<std::size_t, const IsakmpSa*> newest_sas(const Core& core) {
  std::map<std::size_t, const IsakmpSa*> out;
  for (const auto& [id, sa] : core.sas()) {
    if (sa->dead) continue;
    const IsakmpSa*& best = out[sa->connection];
    if (!best || newer(*sa, *best)) best = sa.get();
  }
  return out;
}

unsigned unanswered_message(const MmState& state) {
  if (std::holds_alternative<MmAwaitSa>(state) || std::holds_alternative<AmAwaitReply>(state)) return 1;
  if (std::holds_alternative<MmAwaitKe>(state)) return 3;
  return std::holds_alternative<MmAwaitAuth>(state) ? 5 : 0;
}

void add_run(const Core& core, std::size_t id, const ConnectionRun& run, ike::ConnectionStatus& out) {
  for (std::size_t k = 0; k < run.children.size(); ++k) {
    const ChildRun& from = run.children[k];
    ike::ChildStatus& to = out.children[k];
    to.up = to.up || std::ranges::any_of(from.pairs, [](const ChildSa& p) { return !std::holds_alternative<ChildSuperseded>(p.life); });
    to.wanted = to.wanted || from.persistent || from.requested;
    if (!core.own_run(id)) continue;
    to.stopped = core.connection(id).children[k].start_action == config::StartAction::Start && !from.persistent;
    to.retry_at = std::max(from.retry_at, run.retry_at);
  }
}

}  // namespace

std::vector<ike::IkeSaInfo> view_ike_sas(const Core& core) {
  const auto first = newest_sas(core);
  std::vector<ike::IkeSaInfo> out;
  for (const auto& [id, sa] : core.sas())
    if (!sa->dead) out.push_back(view(core, *sa, first.at(sa->connection) == sa.get()));
  return out;
}

std::vector<ike::LonePairs> view_lone_pairs(const Core& core) {
  const auto first = newest_sas(core);
  std::vector<ike::LonePairs> out;
  for (const auto& [id, run] : core.runs()) {
    if (first.contains(id)) continue;
    ike::LonePairs lone{core.connection(id).name, {}};
    add_pairs(core, id, lone.children);
    if (!lone.children.empty()) out.push_back(std::move(lone));
  }
  return out;
}

std::vector<ike::ConnectionStatus> view_connections(const Core& core, const std::string& only) {
  const auto& all = core.config.connections;
  const auto wanted = [&](std::size_t i) { return only.empty() || all[i].name == only; };
  std::vector<ike::ConnectionStatus> out(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!wanted(i)) continue;
    const config::Connection& c = all[i];
    out[i].connection = c.name;
    out[i].failure = core.failures.current(c.name, {});
    for (const config::Child& child : c.children)
      out[i].children.push_back({.child = child.name, .failure = core.failures.current(c.name, child.name)});
  }
  for (const auto& [id, run] : core.runs())
    if (wanted(run.connection)) add_run(core, id, run, out[run.connection]);
  std::set<std::size_t> with;  // runs that have an established SA
  for (const auto& [id, sa] : core.sas()) {
    if (sa->dead || std::holds_alternative<MmClosing>(sa->state)) continue;
    const std::size_t connection = core.runs().at(sa->connection).connection;
    if (!wanted(connection)) continue;
    ike::ConnectionStatus& status = out[connection];
    if (is_open(*sa)) {
      status.up = true;
      if (with.insert(sa->connection).second) ++status.peers;
    } else if (sa->role == Role::Initiator) {
      status.connecting = ike::Attempt{sa->created, unanswered_message(sa->state)};
    }
  }
  for (ike::ConnectionStatus& status : out)
    if (status.up) status.connecting.reset();
  if (!only.empty()) std::erase_if(out, [](const ike::ConnectionStatus& c) { return c.connection.empty(); });
  return out;
}

}  // namespace culvert::ikev1

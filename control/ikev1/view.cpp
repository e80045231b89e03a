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
  out.local_ts = c.local_ts;
  out.remote_ts = c.remote_ts;
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
  for (const ChildRun& run : core.runs.at(connection).children)
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

/// The SA of each connection that its pairs are listed under.
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

std::optional<ike::Attempt> attempt(const Core& core, std::size_t connection) {
  for (const auto& [id, sa] : core.sas())
    if (sa->connection == connection && !sa->dead && sa->role == Role::Initiator && !is_open(*sa) &&
        !std::holds_alternative<MmClosing>(sa->state))
      return ike::Attempt{sa->created, unanswered_message(sa->state)};
  return std::nullopt;
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
  for (std::size_t i = 0; i < core.runs.size(); ++i) {
    if (first.contains(i)) continue;
    ike::LonePairs lone{core.connection(i).name, {}};
    add_pairs(core, i, lone.children);
    if (!lone.children.empty()) out.push_back(std::move(lone));
  }
  return out;
}

std::vector<ike::ConnectionStatus> view_connections(const Core& core) {
  std::vector<ike::ConnectionStatus> out;
  for (std::size_t i = 0; i < core.runs.size(); ++i) {
    const config::Connection& c = core.connection(i);
    ike::ConnectionStatus status;
    status.connection = c.name;
    status.failure = core.failures.current(c.name, {});
    status.up =
        std::ranges::any_of(core.sas(), [&](const auto& s) { return s.second->connection == i && !s.second->dead && is_open(*s.second); });
    if (!status.up) status.connecting = attempt(core, i);
    for (std::size_t k = 0; k < c.children.size(); ++k) {
      const ChildRun& run = core.runs[i].children[k];
      const bool up = std::ranges::any_of(run.pairs, [](const ChildSa& p) { return !std::holds_alternative<ChildSuperseded>(p.life); });
      status.children.push_back({c.children[k].name, up, core.failures.current(c.name, c.children[k].name), run.persistent || run.requested,
                                 c.children[k].start_action == config::StartAction::Start && !run.persistent,
                                 std::max(run.retry_at, core.runs[i].retry_at)});
    }
    out.push_back(std::move(status));
  }
  return out;
}

}  // namespace culvert::ikev1

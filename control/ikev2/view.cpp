#include "control/ikev2/view.hpp"

#include <algorithm>
#include <set>

#include "control/ikev1/identity.hpp"
#include "control/ikev2/children.hpp"

namespace culvert::ikev2 {

namespace {

void put(const SelectorLists& selectors, ike::ChildSaInfo& out) {
  out.local_ts = selectors.local.front();
  out.remote_ts = selectors.remote.front();
  out.more_local_ts.assign(selectors.local.begin() + 1, selectors.local.end());
  out.more_remote_ts.assign(selectors.remote.begin() + 1, selectors.remote.end());
}

ike::ChildSaInfo view(const Core& core, const IkeSa& sa, const Child& child) {
  ike::ChildSaInfo out;
  out.pair = child.pair;
  out.child = core.child(sa, child.child).name;
  out.role = child.role;
  out.spi_in = child.spi_in;
  out.spi_out = child.spi_out;
  out.suite = child.suite;
  out.mode = child.mode;
  out.udp_encap = child.udp_encap;
  put(child.selectors, out);
  out.established = child.established;
  out.expires_at = child.expires_at;
  if (child.life == Life::Live) out.rekey_at = child.rekey_at;
  if (child.share.own()) out.worker = child.share.worker;
  out.state = child.life == Life::Live       ? ike::ChildState::Installed
              : child.life == Life::Deleting ? ike::ChildState::Deleting
                                             : ike::ChildState::Rekeyed;
  return out;
}

/// One that is being made. With `pair` its inbound half goes into the data plane.
ike::ChildSaInfo view(const Core& core, const IkeSa& sa, Role role, const MakeChild* make, const NewPair* pair) {
  ike::ChildSaInfo out;
  out.pair = pair ? pair->pair : make->pair;
  out.child = core.child(sa, pair ? pair->child : make->child).name;
  out.role = role;
  out.spi_in = pair ? pair->spi_in : make->spi_in;
  out.udp_encap = sa.nat.encapsulate();
  put(pair ? pair->selectors : make->asked, out);
  if (const Share& share = pair ? pair->share : make->share; share.own()) out.worker = share.worker;
  out.state = pair ? ike::ChildState::Installing : ike::ChildState::Negotiating;
  if (!pair) return out;
  out.spi_out = pair->spi_out;
  out.suite = pair->suite;
  out.mode = pair->mode;
  return out;
}

/// What is under way about a CHILD SA, asked for by us and by the peer.
void add_unfinished(const Core& core, const IkeSa& sa, std::vector<ike::ChildSaInfo>& out) {
  if (const auto* auth = std::get_if<AuthSent>(&sa.state); auth && !sa.childless)
    out.push_back(view(core, sa, Role::Initiator, &auth->make, nullptr));
  if (const auto* make = sa.request ? std::get_if<MakeChild>(&sa.request->make) : nullptr) {
    const auto* installing = std::get_if<RequestInstalling>(&sa.request->state);
    out.push_back(view(core, sa, Role::Initiator, make, installing ? &installing->pair : nullptr));
  }
  if (const auto* answer = sa.answering ? std::get_if<AnsweringChild>(&sa.answering->what) : nullptr)
    out.push_back(view(core, sa, Role::Responder, nullptr, &answer->pair));
}

/// The number of the message that the peer has not answered; 0: none.
unsigned unanswered(const IkeSa& sa) {
  if (std::holds_alternative<InitSent>(sa.state)) return 1;
  if (std::holds_alternative<AuthSent>(sa.state) || std::holds_alternative<Intermediate>(sa.state)) return 3;
  return std::holds_alternative<ProvingUser>(sa.state) ? 5 : 0;
}

ike::IkeState state_of(const IkeSa& sa) {
  if (std::holds_alternative<Closing>(sa.state)) return ike::IkeState::Deleting;
  const Established* est = sa.established();
  if (!est) return ike::IkeState::Connecting;
  return est->replaced ? ike::IkeState::Rekeyed : ike::IkeState::Established;
}

}  // namespace

void add_ike_sas(const Core& core, std::vector<ike::IkeSaInfo>& out) {
  for (const auto& [id, shared] : core.sas()) {
    const IkeSa& sa = *shared;
    if (sa.dead) continue;
    const config::Connection& c = core.connection(sa);
    ike::IkeSaInfo info;
    info.version = 2;
    info.id = id;
    info.connection = c.name;
    info.state = state_of(sa);
    info.role = sa.role;
    info.spi_i = sa.spi_i;
    info.spi_r = sa.spi_r;
    info.local = sa.local;
    info.remote = sa.remote;
    info.nat_local = sa.nat.local;
    info.nat_remote = sa.nat.remote;
    info.nat_forced = sa.nat.forced && sa.nat.supported;
    info.mobike = sa.mobility.agreed;
    info.message_id_sync = sa.sync.ids;
    info.replay_counter_sync = sa.sync.replay;
    info.window = sa.window.ours;
    info.peer_addresses = sa.mobility.others;
    info.created = sa.created;
    info.suite = sa.suite;
    info.local_id = sa.local_id.empty() ? ikev1::to_text(c.local_id) : sa.local_id;
    info.remote_id = sa.remote_id.empty() ? ikev1::to_text(c.remote_id) : sa.remote_id;
    if (const Established* est = sa.established()) {
      info.established = est->since;
      if (est->rekey_at != TimePoint::max()) info.rekey_at = est->rekey_at;
      if (!est->replaced) info.reauth_at = sa.reauth.at.value_or(TimePoint{});
      info.expires_at = est->until ? std::min(*est->until, est->expires_at) : est->expires_at;
    }
    info.xauth_user = sa.user;
    const VirtualAddresses& inner = sa.inner_remote.any() ? sa.inner_remote : sa.inner_local;
    info.virtual_address = inner.v4 ? inner.v4 : inner.v6;
    if (inner.v4) info.virtual_address_v6 = inner.v6;
    info.given = sa.told;
    for (const Child& child : sa.children) info.children.push_back(view(core, sa, child));
    add_unfinished(core, sa, info.children);
    out.push_back(std::move(info));
  }
}

void add_connections(Core& core, std::vector<ike::ConnectionStatus>& out) {
  for (ike::ConnectionStatus& status : out) {
    const auto c = std::ranges::find(core.config.connections, status.connection, &config::Connection::name);
    if (c == core.config.connections.end() || c->version != 2) continue;
    const auto index = static_cast<std::size_t>(c - core.config.connections.begin());
    const Run& run = core.runs().at(index);
    for (std::size_t k = 0; k < run.children.size(); ++k) {
      const ChildRun& from = run.children[k];
      ike::ChildStatus& to = status.children[k];
      to.up = !from.orphans.empty();
      to.wanted = from.persistent || from.requested;
      to.stopped = c->children[k].start_action == config::StartAction::Start && !from.persistent;
      to.retry_at = std::max(from.retry_at, run.retry_at);
    }
    std::set<std::string> peers;
    for (const IkeSa* sa : core.sas_of(index)) {
      for (const Child& child : sa->children)
        if (child.life == Life::Live) status.children[child.child].up = true;
      if (const Established* est = sa->established(); est && !est->replaced) {
        status.up = true;
        peers.insert(sa->remote_id + sa->remote.to_string());
      } else if (sa->role == Role::Initiator && !est && !std::holds_alternative<Closing>(sa->state)) {
        status.connecting = ike::Attempt{sa->created, unanswered(*sa)};
      }
    }
    status.peers = peers.size();
    if (status.up) status.connecting.reset();
  }
}

}  // namespace culvert::ikev2

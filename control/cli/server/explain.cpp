// The explain command: what failed lately and why, with both sides of it; what is up; and what waits for what.
#include "control/explain/explain.hpp"

#include <algorithm>
#include <array>

#include "common/config/selectors.hpp"
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {

using ike::TimePoint;

// ---------------------------------------------------------------------------------------------------------------- failures

json::object raw(const std::monostate&) { return {}; }
json::object raw(const ike::ProposalEvidence& e) {
  return {{"offered", e.offered}, {"wanted", e.wanted}, {"difference", e.difference}, {"usable", json::value_from(e.usable)}};
}
json::object raw(const ike::IdentityEvidence& e) {
  return {{"expected", e.expected}, {"received", e.received}, {"ours", e.ours}, {"proven", e.proven}};
}
json::object raw(const ike::CertificateEvidence& e) { return {{"subject", e.subject}, {"check", e.check}}; }
json::object raw(const ike::SelectorEvidence& e) {
  json::array configured;
  for (const auto& c : e.configured) configured.push_back(json::object{{"child", c.child}, {"local_ts", c.local}, {"remote_ts", c.remote}});
  return {{"asked", {{"local_ts", e.asked.local}, {"remote_ts", e.asked.remote}}},
          {"configured", std::move(configured)},
          {"taken", e.taken},
          {"answered", e.answered}};
}
json::object raw(const ike::AddressEvidence& e) { return {{"local", e.local}, {"remote", e.remote}, {"identity", e.identity}}; }
json::object raw(const ike::SecretEvidence& e) {
  static constexpr std::array kProblems{"differs", "unanswered", "unreadable"};
  return {{"problem", kProblems.at(static_cast<std::size_t>(e.problem))}, {"detail", e.detail}};
}
json::object raw(const ike::UserEvidence& e) { return {{"user", e.user}, {"problem", e.problem}}; }
json::object raw(const ike::PoolEvidence& e) { return {{"pools", e.pools}, {"problem", e.problem}}; }

json::value text_or_null(std::string_view text) { return text.empty() ? json::value(nullptr) : json::value(text); }

json::object failure_of(const ike::Failure& f, const config::Connection* c, const config::GatewayConfig& all, TimePoint now) {
  json::object evidence = std::visit([](const auto& e) { return raw(e); }, f.cause.evidence);
  evidence["kind"] = ike::kind(f.cause.evidence);
  json::array causes;
  for (const auto& likely : explain::causes(f)) causes.push_back(json::object{{"cause", likely.cause}, {"text", likely.text}});
  const explain::Comparison sides = explain::comparison(f);
  const explain::Remedy remedy = explain::remedy(f, c, all);
  return {{"child", text_or_null(f.child)},
          {"age_s", seconds_between(f.when, now)},
          {"first_age_s", seconds_between(f.first, now)},
          {"count", f.count},
          {"mended_age_s", f.mended ? seconds_between(*f.mended, now) : json::value(nullptr)},
          {"exchange", f.exchange ? json::value(ike::name(*f.exchange)) : json::value(nullptr)},
          {"message_number", f.cause.number == 0 ? json::value(nullptr) : json::value(f.cause.number)},
          {"role", f.role ? json::value(*f.role == ike::Role::Initiator ? "initiator" : "responder") : json::value(nullptr)},
          {"by", ike::name(f.by)},
          {"peer", f.peer ? json::value(f.peer->to_string()) : json::value(nullptr)},
          {"vrf", f.peer ? json::value(config::vrf_name(all, f.peer->vrf)) : json::value(nullptr)},
          {"reason", ike::name(f.reason)},
          {"message", f.message},
          {"said", text_or_null(f.cause.said)},
          {"said_proven", f.cause.said_proven},
          {"evidence", std::move(evidence)},
          {"causes", std::move(causes)},
          {"head", json::value_from(sides.head)},
          {"rows", json::value_from(sides.rows)},
          {"yaml", json::value_from(remedy.yaml)},
          {"note", text_or_null(remedy.note)}};
}

/// Whose failures are asked for: those of an address, of a VRF, or of an address in one.
struct Whose {
  std::optional<IpAddress> peer;
  std::optional<VrfId> vrf;
  [[nodiscard]] bool has(const ike::Failure& f) const {
    return (!peer || (f.peer && f.peer->address == *peer)) && (!vrf || (f.peer ? f.peer->vrf : kDefaultVrf) == *vrf);
  }
};

json::array failures_of(const std::vector<ike::Failure>& all, const Whose& whose, const config::Connection* c,
                        const config::GatewayConfig& config, TimePoint now) {
  json::array out;
  for (const ike::Failure& f : all)
    if (whose.has(f)) out.push_back(failure_of(f, c, config, now));
  return out;
}

// ---------------------------------------------------------------------------------------------------------------- state

constexpr auto kOneWay = std::chrono::seconds{60};  // longer than any protocol of the inside waits for an answer

struct Waiting {
  const char* what = nullptr;  ///< nullptr: for nothing
  TimePoint until{};
};

/// What a child that is not up waits for.
Waiting child_waits(const config::Connection& c, const config::Child& child, const ike::ChildStatus& status,
                    const ike::ConnectionStatus& connection, bool negotiating, TimePoint now) {
  if (negotiating) return {"answer"};
  if (status.wanted && status.retry_at > now) return {"retry", status.retry_at};
  if (connection.connecting) return {"phase1"};
  if (status.wanted) return {"begin"};
  if (status.stopped) return {"operator"};
  if (child.start_action == config::StartAction::Trap) return {"traffic"};
  return {c.remote_addrs.empty() ? "peer" : "peer_or_operator"};
}

TimePoint last_used(const Gateway& gateway, Direction direction, Spi spi, std::uint64_t pair) {
  const shm::SaRecord* record = gateway.record(direction, spi, pair);
  shm::SaSnapshot sa;
  if (record == nullptr || !shm::read_record(*record, sa) || sa.spi != spi) return {};
  return TimePoint{std::chrono::nanoseconds{static_cast<std::int64_t>(record->counters.last_used_ns.get())}};
}

/// Since when nothing has come in for a child, by whichever pair, where its newest has sent for a minute and more since. The peer may have
/// lost the pair and still answer dead-peer detection, which asks for its IKE SA alone (RFC 3706, RFC 7296 §2.4).
TimePoint one_way_since(const Gateway& gateway, const std::vector<ike::ChildSaInfo>& pairs, const ike::ChildSaInfo& newest) {
  TimePoint since = newest.established;
  for (const auto& pair : pairs)
    if (pair.child == newest.child) since = std::max(since, last_used(gateway, Direction::Inbound, pair.spi_in, pair.pair));
  return last_used(gateway, Direction::Outbound, newest.spi_out, newest.pair) - since >= kOneWay ? since : TimePoint{};
}

json::object child_state(const Gateway& gateway, const config::Connection& c, const config::Child& child,
                         const ike::ConnectionStatus& connection, const std::vector<ike::ChildSaInfo>& pairs, TimePoint now) {
  const bool dataplane = gateway.link() != nullptr && gateway.started();
  const auto status = std::ranges::find(connection.children, child.name, &ike::ChildStatus::child);
  json::object out{{"child", child.name},
                   {"state", "down"},
                   {"for_s", nullptr},
                   {"suite", nullptr},
                   {"nothing_in_for_s", nullptr},
                   {"local_ts", config::text(child.locals())},
                   {"remote_ts", config::text(child.remotes())},
                   {"waits_for", nullptr},
                   {"waits_s", nullptr}};
  bool negotiating = false;
  const ike::ChildSaInfo* newest = nullptr;
  for (const auto& pair : pairs) {
    if (pair.child != child.name) continue;
    negotiating = negotiating || pair.state == ike::ChildState::Negotiating || pair.state == ike::ChildState::Installing;
    if (pair.state == ike::ChildState::Installed && (newest == nullptr || pair.established > newest->established)) newest = &pair;
  }
  if (status != connection.children.end() && status->up) {
    out["state"] = "up";
    if (newest == nullptr) return out;
    out["for_s"] = seconds_between(newest->established, now);
    out["nothing_in_for_s"] = seconds_between(one_way_since(gateway, pairs, *newest), now);
    if (newest->suite.encr != Encr::None) out["suite"] = newest->suite.to_string();
    out["local_ts"] = to_string(newest->local_ts, newest->more_local_ts);
    out["remote_ts"] = to_string(newest->remote_ts, newest->more_remote_ts);
    return out;
  }
  Waiting waiting{"data_plane"};
  if (dataplane && status != connection.children.end()) waiting = child_waits(c, child, *status, connection, negotiating, now);
  if (waiting.what != nullptr) out["waits_for"] = waiting.what;
  out["waits_s"] = seconds_between(now, waiting.until);
  return out;
}

json::object connection_state(Gateway& gateway, const config::Connection& c, const ike::ConnectionStatus& status, TimePoint now) {
  json::object out{{"connection", c.name},
                   {"version", c.version},
                   {"state", status.up           ? "up"
                             : status.connecting ? "connecting"
                                                 : "down"},
                   {"for_s", nullptr},
                   {"vrf", config::vrf_name(gateway.config(), c.vrf.id)},
                   {"unanswered_message", nullptr}};
  if (status.connecting) {
    out["for_s"] = seconds_between(status.connecting->since, now);
    if (status.connecting->unanswered != 0) out["unanswered_message"] = status.connecting->unanswered;
  }
  std::vector<ike::ChildSaInfo> pairs;
  json::array peers;
  for (const ike::IkeSaInfo& sa : gateway.ike_sas()) {
    if (sa.connection != c.name) continue;
    pairs.insert(pairs.end(), sa.children.begin(), sa.children.end());
    if (sa.state != ike::IkeState::Established) continue;
    peers.push_back(json::object{{"version", sa.version},
                                 {"remote", sa.remote.to_string()},
                                 {"remote_id", sa.remote_id},
                                 {"local_id", sa.local_id},
                                 {"suite", sa.suite.to_string()},
                                 {"role", sa.role == ike::Role::Initiator ? "initiator" : "responder"},
                                 {"for_s", seconds_between(sa.established, now)},
                                 {"nat", sa.nat_local || sa.nat_remote || sa.nat_forced},
                                 {"mobike", sa.mobike}});
  }
  for (const ike::LonePairs& lone : gateway.lone_pairs())
    if (lone.connection == c.name) pairs.insert(pairs.end(), lone.children.begin(), lone.children.end());
  json::array children;
  for (const config::Child& child : c.children) {
    children.push_back(child_state(gateway, c, child, status, pairs, now));
    children.back().as_object()["vrf"] = config::vrf_name(gateway.config(), child.vrf.id);
  }
  out["peers"] = std::move(peers);
  out["children"] = std::move(children);
  return out;
}

/// An address without a VRF is one of the connection's, or of the default one.
Whose whose_failures(const Gateway& gateway, const Args& args, const std::string& connection) {
  Whose whose;
  if (const std::string text = args.text("peer"); !text.empty()) {
    const auto address = IpAddress::parse(text);
    if (!address) throw CommandError("bad_request", "argument peer must be an address");
    whose.peer = *address;
  }
  whose.vrf = vrf_of(gateway, args);
  if (connection.empty()) {
    if (whose.peer && !whose.vrf) whose.vrf = kDefaultVrf;
    return whose;
  }
  const VrfId outer = gateway.vrf_outside(connection);
  if (whose.vrf.value_or(outer) != outer)
    throw CommandError("bad_request", "connection " + connection + " is in VRF " + config::vrf_name(gateway.config(), outer));
  whose.vrf.reset();  // a message that came by another VRF and is of this connection's SA is worth seeing
  return whose;
}

}  // namespace

Result explain(Gateway& gateway, const Args& args, TimePoint now) {
  const std::string wanted = args.text("connection").empty() ? std::string{} : configured_child(gateway, args).connection;
  const Whose whose = whose_failures(gateway, args, wanted);
  const auto statuses = gateway.connections();
  json::array connections;
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const config::Connection& c = gateway.config().connections.at(i);
    if (!wanted.empty() && c.name != wanted) continue;
    if (wanted.empty() && !whose.peer) continue;  // without either it is about strangers
    json::array failures = failures_of(gateway.failures(c.name), whose, &c, gateway.config(), now);
    const bool theirs = whose.peer && whose.vrf == c.vrf.id && c.names(*whose.peer);
    if (wanted.empty() && failures.empty() && !theirs) continue;
    json::object state = connection_state(gateway, c, statuses[i], now);
    state["failures"] = std::move(failures);
    connections.push_back(std::move(state));
  }
  json::array strangers;
  if (wanted.empty()) strangers = failures_of(gateway.strangers(), whose, nullptr, gateway.config(), now);
  return json::object{{"dataplane", {{"connected", gateway.link() != nullptr}}},
                      {"vrf", whose.vrf ? json::value(config::vrf_name(gateway.config(), *whose.vrf)) : json::value(nullptr)},
                      {"also_in", whose.peer && wanted.empty() ? also_in(gateway, *whose.peer, *whose.vrf) : json::array{}},
                      {"connections", std::move(connections)},
                      {"strangers", std::move(strangers)}};
}

}  // namespace culvert::control::cli

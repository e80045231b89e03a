#include "control/radius/client.hpp"

#include <algorithm>
#include <cmath>

#include "control/crypto/hash.hpp"
#include "control/radius/access.hpp"
#include "control/radius/proof.hpp"

namespace culvert::radius {

using Kind = ike::RadiusAnswer::Kind;

namespace {
constexpr std::size_t kIdentifiers = 256;

std::size_t room(const config::RadiusServer& server) { return server.sockets * kIdentifiers; }

/// To know a secret again that is not kept.
SecretBytes print_of(const SecretBytes& secret) { return crypto::hmac(Prf::HmacSha2_256, secret.view(), {as_bytes("has answered")}); }
}  // namespace

std::string_view name(Count c) {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(Count::Count_)> kNames{
#define X(id, name, help) name,
      CULVERT_RADIUS_COUNTS(X)
#undef X
  };
  return kNames.at(static_cast<std::size_t>(c));
}
std::string_view help(Count c) {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(Count::Count_)> kHelps{
#define X(id, name, help) help,
      CULVERT_RADIUS_COUNTS(X)
#undef X
  };
  return kHelps.at(static_cast<std::size_t>(c));
}

Client::Client(const config::Radius& config, Hooks hooks) : config_(config), hooks_(std::move(hooks)) {
  for (const config::RadiusServer& s : config.servers) servers_.push_back({.info = {.name = s.name, .endpoint = {s.address, s.auth_port}}});
}

// ---------------------------------------------------------------------------------------------------------------- which server

std::optional<std::size_t> Client::choose(TimePoint now, const Question& q) const {
  const auto has_room = [&](std::size_t i) { return servers_[i].under_way.size() < room(config_.servers[i]); };
  if (q.asked.server) {
    const bool fresh = *q.asked.server < servers_.size() && q.tried.empty() && has_room(*q.asked.server);
    return fresh ? q.asked.server : std::nullopt;
  }
  std::optional<std::size_t> best;
  const auto rank = [&](std::size_t i) {
    const double load = static_cast<double>(servers_[i].under_way.size()) / static_cast<double>(room(config_.servers[i]));
    const bool dead = servers_[i].dead_until && now < *servers_[i].dead_until;
    return std::tuple(!dead, config_.servers[i].preference, -load);
  };
  for (std::size_t i = 0; i < servers_.size(); ++i)
    if (!q.tried.contains(i) && has_room(i) && (!best || rank(i) > rank(*best))) best = i;
  return best;
}

Client::Key Client::free_key(std::size_t server) {
  Server& s = servers_[server];
  Key key;
  do {
    s.last = (s.last + 1) % static_cast<std::uint32_t>(room(config_.servers[server]));
    key = {s.last % config_.servers[server].sockets, static_cast<std::uint8_t>(s.last / config_.servers[server].sockets)};
  } while (s.under_way.contains(key));
  return key;
}

// ---------------------------------------------------------------------------------------------------------------- out

void Client::ask(TimePoint now, ike::AskRadius question) { begin(now, {std::move(question), now, now + config_.timeout}); }

/// With the best of the servers that have not been asked yet.
void Client::begin(TimePoint now, Question q) {
  const auto server = choose(now, q);
  if (!server || under_way_ >= kMaxUnderWay) {
    if (!q.tried.empty()) return finish(q, silence(q, *q.tried.rbegin()), *q.tried.rbegin());
    return finish(q, {.kind = Kind::Busy, .error = "too many questions are under way"}, 0);
  }
  q.tried.insert(*server);
  const config::RadiusServer& c = config_.servers[*server];
  auto secret = hooks_.secret(c.secret);
  if (!secret) return finish(q, {.kind = Kind::NoSecret, .error = secret.error()}, *server);
  q.secret = std::move(*secret);
  auto packet = access_request(q.asked, config_, c);
  const Key key = free_key(*server);
  std::optional<Bytes> datagram;
  if (packet) {
    packet->id = key.second;
    const Bytes random = hooks_.random(q.authenticator.size());
    std::ranges::copy(random, q.authenticator.begin());
    packet->authenticator = q.authenticator;
    datagram = signed_request(std::move(*packet), q.secret.view());
  }
  if (!datagram) return finish(q, {.kind = Kind::Busy, .error = "what the user says does not fit into a packet of RADIUS"}, *server);
  q.datagram = std::move(*datagram);
  q.first_sent = now;
  q.sent = 0;
  q.unreachable = false;
  ++count(*server, Count::Requests);
  ++under_way_;
  send(now, *server, key, servers_[*server].under_way.emplace(key, std::move(q)).first->second);
}

void Client::send(TimePoint now, std::size_t server, const Key& key, Question& q) {
  sends_.push_back({server, key.first, q.datagram});
  const auto wait = std::chrono::duration<double, std::milli>(static_cast<double>(config_.retransmit_timeout.count()) *
                                                              std::pow(config_.retransmit_base, q.sent));
  ++q.sent;
  q.next = std::min(q.until, now + std::chrono::duration_cast<std::chrono::nanoseconds>(wait));
  timers_.emplace(q.next, server, key);
}

// ---------------------------------------------------------------------------------------------------------------- in

Client::Question Client::take(std::size_t server, const Key& key) {
  auto node = servers_[server].under_way.extract(key);
  timers_.erase({node.mapped().next, server, key});
  --under_way_;
  return std::move(node.mapped());
}

void Client::on_datagram(TimePoint now, std::size_t server, std::uint32_t socket, ByteView data) {
  if (server >= servers_.size()) return;
  const auto packet = parse(data);
  if (!packet) {
    ++count(server, Count::Malformed);
    return;
  }
  Server& s = servers_[server];
  const auto it = s.under_way.find({socket, packet->id});
  if (it == s.under_way.end()) {
    ++count(server, Count::Strays);
    return;
  }
  Question& waiting = it->second;
  const Proof proof = check_reply(data, waiting.authenticator, waiting.secret.view());
  if (proof != Proof::Good) {
    const bool unproven = proof == Proof::NoMessageAuthenticator;
    ++count(server, unproven ? Count::Unproven : Count::Forged);
    (unproven ? waiting.unproven : waiting.forged) = server;
    return;
  }
  s.heard = now;
  s.heard_by = print_of(waiting.secret);
  if (s.dead_until) news_.push_back("RADIUS server " + shown(server) + " answers again.");
  s.dead_until.reset();
  ++s.info.answers;
  s.info.waited += now - waiting.first_sent;
  const Question q = take(server, it->first);
  ike::RadiusAnswer answer = read_answer(*packet);
  if (answer.kind == Kind::Accept) {
    auto msk = msk_of(*packet, q.authenticator, q.secret.view());
    if (msk)
      answer.msk = std::move(*msk);
    else
      answer = {.kind = Kind::Unusable, .error = "its MS-MPPE keys are none (RFC 2548 §2.4)"};
  }
  ++count(server, answer.kind == Kind::Challenge ? Count::Challenges
                  : answer.kind == Kind::Accept  ? Count::Accepts
                  : answer.kind == Kind::Reject  ? Count::Rejects
                                                 : Count::Malformed);
  finish(q, std::move(answer), server);
}

void Client::on_unreachable(std::size_t server, std::uint32_t socket) {
  if (server >= servers_.size()) return;
  for (auto& [key, q] : servers_[server].under_way)
    if (key.first == socket) q.unreachable = true;
}

void Client::on_timer(TimePoint now) {
  while (!timers_.empty() && std::get<TimePoint>(*timers_.begin()) <= now) {
    const auto [when, server, key] = *timers_.begin();
    Question& q = servers_[server].under_way.at(key);
    timers_.erase(timers_.begin());
    if (now >= q.until || q.sent > config_.retransmit_tries) {
      on_unanswered(now, server, key);
      continue;
    }
    ++count(server, Count::Retransmissions);
    send(now, server, key, q);
  }
}

void Client::on_unanswered(TimePoint now, std::size_t server, const Key& key) {
  Server& s = servers_[server];
  Question q = take(server, key);
  ++count(server, Count::Timeouts);
  if (!q.unreachable && !equal_constant_time(print_of(q.secret).view(), s.heard_by.view())) q.unheard = true;
  const bool heard = (s.heard && *s.heard >= q.first_sent) || q.unproven == server;
  if (!q.asked.server && q.sent > config_.retransmit_tries && !heard) declare_dead(now, server);
  if (now < q.until && !q.asked.server) return begin(now, std::move(q));
  const ike::RadiusAnswer answer = silence(q, server);
  finish(q, answer, server);
}

std::string Client::shown(std::size_t server) const {
  return servers_[server].info.name + " (" + servers_[server].info.endpoint.to_string() + ")";
}

void Client::declare_dead(TimePoint now, std::size_t server) {
  if (!servers_[server].dead_until)
    news_.push_back("RADIUS server " + shown(server) + " does not answer: for " + std::to_string(config_.dead_time.count()) +
                    " s others are asked first, where there are some.");
  servers_[server].dead_until = now + config_.dead_time;
}

// ---------------------------------------------------------------------------------------------------------------- answers

void Client::finish(const Question& q, ike::RadiusAnswer answer, std::size_t server) {
  answer.job = q.asked.job;
  answer.server = server;
  if (server < config_.servers.size()) answer.name = config_.servers[server].name;
  answers_.push_back(std::move(answer));
}

ike::RadiusAnswer Client::silence(const Question& q, std::size_t server) const {
  if (q.forged)
    return {.kind = Kind::Forged, .error = "what came from " + shown(*q.forged) + " was not made with the secret that is configured here"};
  if (q.unproven)
    return {.kind = Kind::Forged,
            .error = "what came from " + shown(*q.unproven) +
                     " has no Message-Authenticator, without which it may have been made up on the way"};
  std::string error = "nothing came from " + shown(server);
  if (q.unreachable) error += ", where nothing listens";
  if (q.tried.size() > 1) error += ", nor from the " + std::to_string(q.tried.size() - 1) + " asked before";
  return {.kind = Kind::Silence, .error = std::move(error), .unheard = q.unheard};
}

std::optional<TimePoint> Client::deadline() const {
  return timers_.empty() ? std::nullopt : std::optional(std::get<TimePoint>(*timers_.begin()));
}

std::vector<ServerInfo> Client::servers(TimePoint now) const {
  std::vector<ServerInfo> out;
  for (const Server& s : servers_) {
    ServerInfo& info = out.emplace_back(s.info);
    info.dead = s.dead_until && now < *s.dead_until;
    info.under_way = s.under_way.size();
  }
  return out;
}

}  // namespace culvert::radius

#include "tests/exchange/tamper/stage.hpp"

#include <algorithm>

#include "control/explain/explain.hpp"
#include "tests/exchange/remote_access.hpp"

namespace culvert::test::tamper {

namespace {

// One datagram, or one look at the clock, of a victim.
constexpr unsigned kDatagramsAtOnce = 80;
constexpr std::uint64_t kBytesAtOnce = 100'000;
constexpr std::size_t kLinesAtOnce = 100;
// In all of a play, however much the insider says.
constexpr std::size_t kMostSas = 64, kMostSpis = 400;
constexpr std::size_t kMostEvents = 12;

void require(bool condition, const std::string& what) {
  if (!condition) throw Broken(what);
}

/// Looks at the victim: what it did since the last look, and what it has.
class Watcher {
 public:
  Watcher(Host& victim, const Insider& insider) : victim_(victim), insider_(insider) { look(); }
  void look() {
    require(victim_.sent_datagrams - datagrams_ <= kDatagramsAtOnce, "too many datagrams for one");
    require(victim_.sent_bytes - bytes_ <= kBytesAtOnce, "too many bytes for one datagram");
    require(victim_.log.size() - lines_ <= kLinesAtOnce, "too many lines for one datagram");
    datagrams_ = victim_.sent_datagrams;
    bytes_ = victim_.sent_bytes;
    lines_ = victim_.log.size();
    for (const auto& [spi, sa] : victim_.inbound) permitted(sa.sa);
    for (const PlaneSa& sa : victim_.outbound) permitted(sa.sa);
  }
  void judge() const {
    const auto sas = victim_.engine->ike_sas();
    require(sas.size() <= kMostSas && victim_.spis.size() <= kMostSpis, "too many SAs");
    for (const ike::IkeSaInfo& sa : sas)
      require(sa.state != ike::IkeState::Established ||
                  (!insider_.forged.contains(sa.spi_i.value) && std::ranges::count(ours().proposals, sa.suite) == 1),
              "established without a proof, or by another suite than ours");
    for (const ike::Failure& f : victim_.engine->failures("c")) explained(f, &ours());
    for (const ike::Failure& f : victim_.engine->strangers()) explained(f, nullptr);
  }

 private:
  [[nodiscard]] const config::Connection& ours() const { return victim_.config.connections[0]; }
  /// What the configuration lets an SA be, whatever the peer asks for.
  void permitted(const ike::InstallSa& sa) const {
    const auto child = std::ranges::find(ours().children, sa.child, &config::Child::name);
    require(child != ours().children.end(), "an SA of no child");
    // Of IKEv2 the tunnel is what two sides agree on of whom one does not ask for transport mode (RFC 7296 §1.3.1).
    require(sa.mode == child->mode || (ours().version == 2 && sa.mode == SaMode::Tunnel), "an SA of another mode");
    require(std::ranges::any_of(child->suites(),
                                [&](const EspSuite& s) {
                                  return s.encr == sa.suite.encr && s.key_bits == sa.suite.key_bits && s.integ == sa.suite.integ &&
                                         s.protocol == sa.suite.protocol && s.esn == sa.suite.esn;
                                }),
            "an SA by another suite than ours");
    const auto inside = [](const TrafficSelector& ts, std::span<const TrafficSelector> more, bool dynamic, const TrafficSelector& all) {
      return dynamic || (all.contains(ts) && std::ranges::all_of(more, [&](const TrafficSelector& t) { return all.contains(t); }));
    };
    require(inside(sa.local_ts, sa.more.local(), child->local_dynamic, child->local_ts) &&
                inside(sa.remote_ts, sa.more.remote(), child->remote_dynamic, child->remote_ts),
            "an SA for other traffic than ours");
    // Of a gateway with pools: the peer is its own address alone.
    if (!child->remote_dynamic) return;
    require(std::ranges::any_of(victim_.config.pools, [&](const config::Pool& p) { return p.addrs.contains(sa.remote_ts); }) &&
                sa.remote_ts.first == sa.remote_ts.last,
            "an SA for another address than the peer's");
  }
  void explained(const ike::Failure& f, const config::Connection* c) const {
    require(!f.message.empty(), "a failure without a word");
    const auto likely = control::explain::causes(f);
    require(!likely.empty() && !likely.front().text.empty(), "a failure without a cause: " + f.message);
    static_cast<void>(control::explain::remedy(f, c, victim_.config));
    static_cast<void>(control::explain::comparison(f));
  }
  Host& victim_;
  const Insider& insider_;
  unsigned datagrams_ = 0;
  std::uint64_t bytes_ = 0;
  std::size_t lines_ = 0;
};

void ask(Host& h, char what, Scene& scene) {
  World& w = scene.world;
  const auto step = [&](const std::function<void(ike::Engine&)>& event) { h.step(event); };
  switch (what) {
    case 'c':
      return step([&](ike::Engine& e) { e.rekey(w.now, "c", "net", false); });
    case 'i':
      return step([&](ike::Engine& e) { e.rekey(w.now, "c", "", true); });
    case 'm':
      return step([&](ike::Engine& e) { e.initiate(w.now, "c", "more"); });
    case 't':
      return step([&](ike::Engine& e) { e.terminate(w.now, "c", "more"); });
    case 'z':
      step([&](ike::Engine& e) { e.terminate(w.now, "c", ""); });
      w.run(3s);
      return step([&](ike::Engine& e) { e.initiate(w.now, "c", ""); });
    case 'e':
      if (h.inbound.empty()) return;
      return step(
          [&, s = h.inbound.begin()->second.sa](ike::Engine& e) { e.on_expired(w.now, {Direction::Inbound, s.spi, false, s.pair}); });
    case 'l':
      h.lose_plane();
      return step([&](ike::Engine& e) { e.on_dataplane_lost(w.now); });
    case 's':
      return step([&](ike::Engine& e) { e.sync_counters(w.now, "c", ""); });
    case 'r':
      return step([&](ike::Engine& e) { e.redirect(w.now, "c", config::parse_gateway("10.9.0.3").value(), "", false); });
    case 'x': {
      // Nothing reaches it while it goes down, so that what it has told its data plane to do is done.
      const auto dead = w.dead;
      w.dead.insert(h.config.connections[0].local_addrs.begin(), h.config.connections[0].local_addrs.end());
      w.run(10ms);
      w.dead = dead;
      h.lose_plane();
      return h.restart();
    }
    default:
      return;
  }
}

void happen(Scene& s, char event) {
  const bool of_a = event >= 'a';
  const char what = static_cast<char>(event | 0x20);
  Host& h = of_a ? *s.a : *s.b;
  if (what == 'a') s.world.dead.insert(h.config.connections[0].local_addrs.front());
  ask(h, what, s);
  s.world.run(what == 'd' || what == 'a' || what == 'x' ? 20s : 4s);
}

bool both_up(const Scene& s) { return s.a->up() && s.b->up() && s.a->current_out("net") && s.b->current_out("net"); }

/// The insider falls silent, and the victim's operator ends what there is.
void end(Scene& s, Host& insider, Host& victim) {
  for (const IpAddress& address : insider.config.connections[0].local_addrs) s.world.dead.insert(address);
  victim.step([&](ike::Engine& e) { e.terminate(s.world.now, "c", ""); });
  s.world.run(400s);
  require(victim.engine->ike_sas().empty(), "an IKE SA is left");
  require(victim.inbound.empty() && victim.outbound.empty(),
          "CHILD SAs are left: " + std::to_string(victim.inbound.size()) + " in, " + std::to_string(victim.outbound.size()) + " out");
  require(victim.spis.empty(), "an SPI is left");
  require(victim.engine->newcomers() == 0, "a newcomer is left");
  require(leased(victim) == 0, "a lease is left");
}

}  // namespace

void in_transport_mode(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) {
    config::Child& c = g->connections[0].children[0];
    c.mode = SaMode::Transport;
    c.local_ts = TrafficSelector::parse(g == &a ? "10.9.0.1/32" : "10.9.0.2/32").value();
    c.remote_ts = TrafficSelector::parse(g == &a ? "10.9.0.2/32" : "10.9.0.1/32").value();
  }
}

std::span<const Scenario> scenarios() {
  static const std::vector<Scenario> all = [] {
    std::vector<Scenario> out;
    for (const auto part : {scenarios_v1(), scenarios_v2()}) out.insert(out.end(), part.begin(), part.end());
    return out;
  }();
  return all;
}

namespace {

Outcome watched(Scene& scene, const Play& play) {
  Host &insider = play.insider_begins ? *scene.a : *scene.b, &victim = play.insider_begins ? *scene.b : *scene.a;
  Outcome out;
  Insider man(insider, victim, play.changes);
  Watcher watcher(victim, man);
  const auto around = victim.around;
  victim.around = [&](const std::function<void()>& step) {
    watcher.look();
    around(step);
  };
  scene.world.link = {play.lossy ? 0.15 : 0, play.twice ? 0.3 : 0, 5ms, play.late ? 900ms : 5ms};
  scene.b->start();
  scene.a->start();
  out.up = scene.world.run_until([&] { return both_up(scene); }, 12s);
  scene.world.run(1s);
  watcher.judge();
  for (const char event : play.events) {
    happen(scene, event);
    watcher.judge();
  }
  out.up_after = both_up(scene);
  out.shown = !play.scenario->shown || play.scenario->shown(scene);
  out.transcript = scene.a->transcript() + scene.b->transcript();
  out.sent = man.sent;
  end(scene, insider, victim);
  return out;
}

}  // namespace

Outcome perform(const Play& play) {
  Scene scene;
  play.scenario->build(scene);
  try {
    return watched(scene, play);
  } catch (const Broken& e) {
    throw Broken(e.what(), scene.a->transcript() + scene.b->transcript());
  }
}

namespace {
constexpr std::uint8_t kInsiderBegins = 1, kTwice = 2, kLate = 4, kLossy = 8;
}  // namespace

Play read_play(ByteView input) {
  Reader in(input);
  Play out;
  out.scenario = &scenarios()[in.be<std::uint8_t>() % scenarios().size()];
  const auto flags = in.be<std::uint8_t>();
  out.insider_begins = (flags & kInsiderBegins) != 0;
  out.twice = (flags & kTwice) != 0;
  out.late = (flags & kLate) != 0;
  out.lossy = (flags & kLossy) != 0;
  const std::size_t count = std::min<std::size_t>(in.be<std::uint8_t>(), std::min(kMostEvents, in.remaining()));
  for (const std::uint8_t event : in.take(count)) out.events.push_back(kEvents[event % kEvents.size()]);
  if (count == 0) out.events = out.scenario->events;
  out.changes = read_changes(in);
  return out;
}

Bytes write_play(const Play& play) {
  Writer w;
  w.be(static_cast<std::uint8_t>(play.scenario - scenarios().data()));
  w.be(static_cast<std::uint8_t>((play.insider_begins ? kInsiderBegins : 0) | (play.twice ? kTwice : 0) | (play.late ? kLate : 0) |
                                 (play.lossy ? kLossy : 0)));
  const bool usual = play.events == play.scenario->events;
  w.be(static_cast<std::uint8_t>(usual ? 0 : play.events.size()));
  if (!usual)
    for (const char event : play.events) w.be(static_cast<std::uint8_t>(kEvents.find(event)));
  for (const Change& c : play.changes) write_change(w, c);
  return std::move(w).take();
}

}  // namespace culvert::test::tamper

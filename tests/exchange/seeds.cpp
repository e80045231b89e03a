// Establish, rekey, delete, over a bad line, by seed: a program, since ten thousand runs make no readable test case.
// Each seed draws its configuration, its line and its events. In every run these must hold:
//   - both sides come up, and from then on no packet meets a missing SA until the operators end the tunnel;
//   - when the line is good again, each child settles on one pair with matching SPIs and keys, on one ISAKMP SA;
//   - after the end nothing is left: no SA, no SPI, no state, no lease of a virtual address.
//   exchange_seeds [--ikev2] [FIRST [COUNT]]        CULVERT_SEEDS: COUNT where it is not given (1000)
//                                                   CULVERT_TRACE: what is printed of a seed that failed has each message, decrypted
#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "tests/exchange/remote_access.hpp"
#include "tests/exchange/seed_runner.hpp"
#include "tests/exchange/world.hpp"

namespace {

using namespace culvert;
using namespace culvert::test;
using config::Seconds;

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void require(bool condition, const std::string& what) {
  if (!condition) throw Failure(what);
}

struct Plan {
  bool both_start = false, a_starts = true, timers = false, pfs = false, second_child = false, encap = false, nat = false;
  bool aggressive = false;
  std::optional<ike::AuthMethod> signatures;
  bool remote_access = false, xauth = false, push = false;  ///< the one that starts is a user, who gets an address
  bool fragments = false;
  bool ikev2 = false, more = false;                ///< more: additional key exchanges
  std::uint32_t window_of_a = 1, window_of_b = 1;  ///< of IKEv2
};

Plan draw_plan(World& w, bool ikev2) {
  Plan p;
  p.both_start = w.random(3) == 0;
  p.a_starts = w.random(2) == 0;
  p.timers = w.random(2) == 0;
  p.pfs = w.random(3) == 0;
  p.second_child = w.random(4) == 0;
  p.encap = w.random(5) == 0;
  p.nat = !p.both_start && p.a_starts && w.random(5) == 0;
  if (w.random(3) == 0) p.signatures = static_cast<ike::AuthMethod>(1 + w.random(4));
  p.aggressive = w.random(3) == 0;
  p.remote_access = !p.both_start && w.random(3) == 0;
  p.xauth = w.random(4) != 0;
  p.push = w.random(2) == 0;
  if (p.remote_access && p.signatures) p.signatures = ike::AuthMethod::RsaSignature;  // XAuth has no numbers for others
  p.fragments = w.random(4) == 0;
  p.ikev2 = ikev2;
  if (ikev2) p.aggressive = p.remote_access = p.fragments = false, p.signatures.reset();
  p.more = ikev2 && w.random(3) == 0;
  if (ikev2 && w.random(3) == 0) p.window_of_a = 1 + static_cast<std::uint32_t>(w.random(6));
  if (ikev2 && w.random(3) == 0) p.window_of_b = 1 + static_cast<std::uint32_t>(w.random(6));
  return p;
}

void configure(config::GatewayConfig& c, const Plan& p, bool a, World& w) {
  const bool starts = p.both_start || p.a_starts == a;
  config::Connection& conn = c.connections[0];
  conn.encap = p.encap && a;
  if (p.ikev2) {
    conn.version = 2;
    conn.window.size = a ? p.window_of_a : p.window_of_b;
    conn.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256" + std::string(p.more ? "-ke1_x25519-ke2_ecp384" : "")).value();
  }
  conn.aggressive = conn.aggressive_psk_exposes_hash = p.aggressive;
  if (p.signatures) conn.local_auth.auth = conn.remote_auth.auth = config::Proof::Pubkey;
  if (p.nat && !a) conn.remote_addrs.clear();
  conn.dpd_delay = Seconds{10};
  conn.dpd_timeout = Seconds{60};
  if (p.remote_access) starts ? visit(c, "alice") : serve(c);
  if (p.remote_access && !p.xauth) {
    conn.xauth_client = {};
    conn.xauth_server = {};
  }
  conn.mode_config = p.push ? config::ModeConfig::Push : config::ModeConfig::Pull;
  config::Child& net = conn.children[0];
  net.start_action = starts ? config::StartAction::Start : config::StartAction::Trap;
  net.dpd_action = starts ? config::DpdAction::Restart : config::DpdAction::Trap;
  if (p.fragments) {
    c.ike.fragment_size = 230;  // of which all messages but the shortest make two to four
    conn.fragmentation = config::Fragmentation::Force;
  }
  if (p.pfs) net.esp_proposals = parse_esp_proposal_v2("aes128-sha256-ecp256" + std::string(p.more ? "-ke1_x25519" : "")).value();
  if (p.timers) {
    net.rekey_time = Seconds{20 + static_cast<int>(w.random(20))};
    net.rand_time = Seconds{8};
    net.life_time = Seconds{180};
    conn.rekey_time = Seconds{45 + static_cast<int>(w.random(40))};
    conn.rand_time = Seconds{10};
    conn.over_time = Seconds{200};
  }
  if (!p.second_child) return;
  config::Child more = net;
  more.name = "more";
  (a ? more.local_ts : more.remote_ts) = TrafficSelector::parse("10.1.7.0/24[tcp/443]").value();
  conn.children.push_back(more);
}

/// Each child sends by a pair that the other side has: a responder has one as soon as it has answered.
bool all_up(const Host& h, const Host& peer) {
  return std::ranges::all_of(h.config.connections[0].children, [&](const config::Child& c) {
    const PlaneSa* out = h.current_out(c.name);
    return out && peer.inbound.contains(out->sa.spi.value);
  });
}

std::string counts(const Host& h) {
  return h.name + ": " + std::to_string(h.inbound.size()) + " in, " + std::to_string(h.outbound.size()) + " out, " +
         std::to_string(h.spis.size()) + " SPIs, " + std::to_string(h.established()) + " ISAKMP SAs; ";
}

/// One pair for each child, the same on both sides, and one ISAKMP SA.
bool settled(const Host& a, const Host& b) {
  const std::size_t children = a.config.connections[0].children.size();
  if (a.inbound.size() != children || b.inbound.size() != children || a.outbound.size() != children || b.outbound.size() != children)
    return false;
  if (a.spis.size() != children || b.spis.size() != children || a.established() != 1 || b.established() != 1) return false;
  const auto reaches = [](const Host& from, const Host& to) {
    return std::ranges::all_of(from.outbound, [&](const PlaneSa& s) {
      const auto it = to.inbound.find(s.sa.spi.value);
      return it != to.inbound.end() && it->second.sa.encr_key == s.sa.encr_key && it->second.sa.integ_key == s.sa.integ_key;
    });
  };
  return reaches(a, b) && reaches(b, a);
}

bool nothing_left(const Host& h) {
  return h.inbound.empty() && h.outbound.empty() && h.spis.empty() && h.engine->ike_sas().empty() && leased(h) == 0;
}

void schedule_events(World& w, Host& a, Host& b) {
  for (std::uint64_t i = 0, n = 1 + w.random(3); i < n; ++i) {
    const TimePoint when = w.now + w.between(0s, 60s);
    const bool isakmp = w.random(4) == 0;
    const auto ask = [isakmp](Host& h) {
      h.engine->rekey(h.world.now, "c", "", isakmp);
      h.perform();
    };
    const std::uint64_t who = w.random(3);
    if (who != 1) w.at(when, [&a, ask] { ask(a); });
    if (who != 0) w.at(when + w.between(0ms, 50ms), [&b, ask] { ask(b); });
  }
}

void run_seed(std::uint64_t seed, bool ikev2, std::string& transcript) {
  World w(seed);
  const Plan plan = draw_plan(w, ikev2);
  auto [a, b] = two_sites(w, [&](auto& ca, auto& cb) {
    configure(ca, plan, true, w);
    configure(cb, plan, false, w);
    if (plan.nat) {
      ca = site("192.168.7.1", "10.9.0.2", ca.connections[0].children[0].start_action);
      configure(ca, plan, true, w);
    }
  });
  if (plan.nat) w.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::parse("10.9.0.1").value());
  for (Host* h : {&a, &b}) {
    h->password = "alicepw";
    h->users = {{"alice", "alicepw"}};
  }
  w.link = {static_cast<double>(w.random(31)) / 100, static_cast<double>(w.random(21)) / 100, 1ms, w.between(2ms, 400ms)};
  for (Host* h : {&a, &b}) h->install_max = w.between(1ms, 60ms);
  if (plan.signatures)
    for (Host* h : {&a, &b}) h->keys["c"] = *plan.signatures;
  if (std::getenv("CULVERT_TRACE"))
    for (const Host* h : {&a, &b}) h->engine->watch(w.now, {"c", std::nullopt, w.now + 1h});
  try {
    a.start();
    w.run(w.between(0ms, 50ms));
    b.start();
    require(w.run_until([&] { return all_up(a, b) && all_up(b, a); }, 400s), "the tunnel does not come up");
    w.begin_traffic();
    schedule_events(w, a, b);
    w.run(100s);
    const LinkSettings bad = w.link;
    w.link = {0, 0, 1ms, 20ms};
    require(w.run_until([&] { return settled(a, b); }, 400s), "the two sides do not settle on one pair a child: " + counts(a) + counts(b));
    require(w.gaps.empty(), w.gaps.empty() ? "" : w.gaps.front() + " (" + std::to_string(w.gaps.size()) + " gaps)");
    w.end_traffic();
    w.link = bad;
    // What one side has begun when the other one ends comes up again there: an operator looks, and ends that, too.
    bool over = false;
    for (int attempt = 0; attempt < 3 && !over; ++attempt) {
      for (Host* h : {&a, &b}) {
        h->engine->terminate(w.now, "c", "");
        h->perform();
        w.run(w.between(0ms, 300ms));
      }
      over = w.run_until([&] { return nothing_left(a) && nothing_left(b); }, 200s);
    }
    require(over, "something is left after the end: " + counts(a) + counts(b));
  } catch (const Failure&) {
    transcript = a.transcript() + b.transcript();
    throw;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool ikev2 = argc > 1 && std::string_view(argv[1]) == "--ikev2";
  if (ikev2) --argc, ++argv;
  return run_seeds(argc, argv, 1, 1000, [ikev2](std::uint64_t seed, std::string& transcript) { run_seed(seed, ikev2, transcript); });
}

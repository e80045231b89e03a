// usage: exchange_collisions [FIRST [COUNT]]     (default: CULVERT_SEEDS, or 2000, from 0)
// IKEv2: both sides begin something at the same moment, with the loss of one message or none, or of nearly half of them (RFC 7296 §2.8.1,
// §2.8.2, §2.25). Seed by seed all pairs of {CHILD SA rekey, IKE SA rekey, delete, dead-peer detection, new CHILD SA}, for each of them
// each message that may be lost, for each of those other delays. Afterwards both sides have the same SAs, one of what is wanted and nothing
// else; no packet was sent that the peer has no SA for.
#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string>

#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/seed_runner.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void require(bool condition, const std::string& what) {
  if (!condition) throw Failure(what);
}

enum class Act : std::uint8_t { RekeyChild, RekeyIke, Delete, Probe, NewChild };
constexpr std::array kActs{Act::RekeyChild, Act::RekeyIke, Act::Delete, Act::Probe, Act::NewChild};
constexpr std::array kNames{"child rekey", "IKE rekey", "delete", "DPD", "new child"};
constexpr std::uint64_t kLosses = 14;  ///< none, or the first to the twelfth message, or many
constexpr std::uint64_t kMany = kLosses - 1;

struct Plan {
  Act a{}, b{};
  std::uint64_t lost = 0;                         ///< which message from the beginning of the collision on; 0: none
  bool pfs = false, whole = false, more = false;  ///< more: one or two additional key exchanges
  Duration apart{};
  std::uint32_t window_of_a = 1, window_of_b = 1;
};

Plan draw(World& w, std::uint64_t seed) {
  Plan p;
  p.a = kActs[seed % kActs.size()];
  p.b = kActs[seed / kActs.size() % kActs.size()];
  p.lost = seed / (kActs.size() * kActs.size()) % kLosses;
  p.pfs = w.random(2) == 0;
  p.whole = w.random(2) == 0;  // a Delete is of the IKE SA
  p.apart = w.random(3) == 0 ? 0ms : w.between(0ms, 60ms);
  p.more = w.random(3) == 0;
  if (w.random(3) == 0) p.window_of_a = 1 + static_cast<std::uint32_t>(w.random(6));
  if (w.random(3) == 0) p.window_of_b = 1 + static_cast<std::uint32_t>(w.random(6));
  return p;
}

std::string name(const Plan& p) {
  return std::string(kNames[static_cast<std::size_t>(p.a)]) + " and " + kNames[static_cast<std::size_t>(p.b)] +
         (p.lost == kMany ? ", many messages lost"
          : p.lost        ? ", message " + std::to_string(p.lost) + " lost"
                          : "");
}

bool has(const Plan& p, Act act) { return p.a == act || p.b == act; }

void configure(config::GatewayConfig& g, const Plan& p, bool first, Act act) {
  config::Connection& c = g.connections[0];
  c.dpd_delay = act == Act::Probe ? std::chrono::seconds{5} : std::chrono::seconds{0};
  c.window.size = first ? p.window_of_a : p.window_of_b;
  config::Child& net = c.children[0];
  net.start_action = config::StartAction::None;
  net.dpd_action = config::DpdAction::Clear;
  if (p.pfs) net.esp_proposals = parse_esp_proposal("aes128gcm16-ecp256").value();
  if (p.more) {
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256-ke1_x25519-ke2_ecp384").value();
    net.esp_proposals = parse_esp_proposal_v2("aes128gcm16-ecp256-ke1_x25519").value();
  }
  config::Child more = net;
  more.name = "more";
  (first ? more.local_ts : more.remote_ts) = TrafficSelector::parse("10.1.7.0/24").value();
  (first ? more.remote_ts : more.local_ts) = TrafficSelector::parse("10.2.7.0/24").value();
  c.children.push_back(more);
}

void begin(Host& h, Act act, const Plan& p) {
  ike::Engine& e = *h.engine;
  switch (act) {
    case Act::RekeyChild:
      e.rekey(h.world.now, "c", "net", false);
      break;
    case Act::RekeyIke:
      e.rekey(h.world.now, "c", "", true);
      break;
    case Act::Delete:
      e.terminate(h.world.now, "c", p.whole ? "" : "net");
      break;
    case Act::Probe:
      return;  // begins by itself
    case Act::NewChild:
      e.initiate(h.world.now, "c", "more");
      break;
  }
  h.perform();
}

bool reaches(const Host& from, const Host& to) {
  return std::ranges::all_of(from.outbound, [&](const PlaneSa& s) {
    const auto it = to.inbound.find(s.sa.spi.value);
    return it != to.inbound.end() && it->second.sa.encr_key == s.sa.encr_key && it->second.sa.integ_key == s.sa.integ_key;
  });
}

/// Both sides have the same, of each child one pair at most, and no more than that.
bool agree(const Host& a, const Host& b) {
  if (a.established() != b.established() || a.established() > 1) return false;
  const std::size_t pairs = a.inbound.size();
  for (const Host* h : {&a, &b}) {
    if (h->inbound.size() != pairs || h->outbound.size() != pairs || h->spis.size() != pairs) return false;
    if (h->live_pairs("net") + h->live_pairs("more") != pairs || h->live_pairs("net") > 1 || h->live_pairs("more") > 1) return false;
  }
  return reaches(a, b) && reaches(b, a);
}

/// What must be there in the end.
bool as_wanted(const Plan& p, const Host& a, const Host& b) {
  if (!agree(a, b)) return false;
  if (!has(p, Act::Delete)) return a.live_pairs("net") == 1 && a.live_pairs("more") == (has(p, Act::NewChild) ? 1U : 0U);
  return a.live_pairs("net") == 0;  // "more" is there, or has gone with the IKE SA, as the two met
}

std::string counts(const Host& h) {
  return h.name + ": " + std::to_string(h.established()) + " of " + std::to_string(h.engine->ike_sas().size()) + " IKE SAs, " +
         std::to_string(h.live_pairs("net")) + " + " + std::to_string(h.live_pairs("more")) + " pairs, " +
         std::to_string(h.inbound.size()) + " in, " + std::to_string(h.outbound.size()) + " out, " + std::to_string(h.spis.size()) +
         " SPIs; ";
}

/// Runs until this side has sent something by itself: its probe.
void wait_for_probe(World& w, const IpAddress& from) {
  bool sent = false;
  w.hook = [&](ike::Datagram& d) {
    sent = sent || d.local.address == from;
    return true;
  };
  require(w.run_until([&] { return sent; }, 30s), "no probe is sent");
}

/// Of the first eighty messages nearly half, each of them three times at most.
Hook lossy(World& w) {
  return [&w, number = 0, times = std::map<std::pair<IpAddress, Bytes>, int>{}](ike::Datagram& d) mutable {
    if (++number > 80 || w.random(100) >= 45) return true;
    const auto header = d.data.begin();
    return ++times[{d.local.address, Bytes(header, header + ike::kHeaderSize - 4)}] > 3;  // but for the length
  };
}

void collide(World& w, Host& a, Host& b, const Plan& p) {
  if (p.a == Act::Probe && p.b != Act::Probe) wait_for_probe(w, a.config.connections[0].local_addrs[0]);
  if (p.b == Act::Probe && p.a != Act::Probe) wait_for_probe(w, b.config.connections[0].local_addrs[0]);
  if (has(p, Act::Probe) && !has(p, Act::Delete)) w.begin_traffic();
  w.hook = [lost = p.lost, number = std::uint64_t{0}](ike::Datagram&) mutable { return ++number != lost; };
  if (p.lost == kMany) w.hook = lossy(w);
  const bool a_first = w.random(2) == 0;
  begin(a_first ? a : b, a_first ? p.a : p.b, p);
  w.run(p.apart);
  begin(a_first ? b : a, a_first ? p.b : p.a, p);
}

void run_seed(std::uint64_t seed, std::string& transcript) {
  World w(seed);
  const Plan p = draw(w, seed);
  Pair two = two_v2(w, [&](auto& a, auto& b) {
    configure(a, p, true, p.a);
    configure(b, p, false, p.b);
  });
  Host &a = two.a, &b = two.b;
  w.link = {0, 0, 1ms, w.between(1ms, 60ms)};
  for (Host* h : {&a, &b}) h->install_max = w.between(1ms, 30ms);
  try {
    a.start();
    b.start();
    a.engine->initiate(w.now, "c", "net");
    a.perform();
    require(w.run_until([&] { return both_up(two) && agree(a, b); }, 60s), "the tunnel does not come up");
    const bool watched = !has(p, Act::Delete);              // what is deleted is used to its end
    if (watched && !has(p, Act::Probe)) w.begin_traffic();  // signs of life: they begin when the probe is under way
    w.run(w.between(100ms, 1500ms));
    collide(w, a, b, p);
    w.run(w.between(3s, 6s));
    if (p.lost == kMany) {
      w.run(100s);  // so long the last of it may take
      const auto one_each = [&] { return a.engine->ike_sas().size() <= 1 && b.engine->ike_sas().size() <= 1; };
      require(w.run_until(one_each, 100s), name(p) + ": an IKE SA lingers: " + counts(a) + counts(b));
    }
    require(w.run_until([&] { return as_wanted(p, a, b); }, 300s), name(p) + ": the two sides do not settle: " + counts(a) + counts(b));
    w.run(100s);  // longer than an SA is remembered that has ended
    require(a.engine->ike_sas().size() == a.established() && b.engine->ike_sas().size() == b.established(),
            name(p) + ": IKE SAs are left: " + counts(a) + counts(b));
    require(as_wanted(p, a, b), name(p) + ": it does not stay so: " + counts(a) + counts(b));
    // What nothing else carries goes by a new SA at once, and may meet a peer that waits for the answer.
    const auto gap = std::ranges::find_if(w.gaps, [](const std::string& g) { return g.find("/more ") == std::string::npos; });
    require(gap == w.gaps.end(), gap == w.gaps.end() ? "" : name(p) + ": " + *gap);
  } catch (const Failure&) {
    transcript = a.transcript() + b.transcript();
    throw;
  }
}

}  // namespace

int main(int argc, char** argv) { return run_seeds(argc, argv, 0, 2000, run_seed); }

#include "tests/bench/negotiation.hpp"

#include <ctime>
#include <stdexcept>

#include <sys/random.h>

#include "control/ike/dh_job.hpp"
#include "control/ike/nat_traversal.hpp"

namespace culvert::bench {

namespace {
constexpr auto kRekeyed = std::chrono::seconds(31);     // ... after a rekey: nothing of what was replaced is left
constexpr auto kStep = std::chrono::microseconds(250);  // of the virtual clock, for each negotiation: 4,000 a second

std::string address_of(std::size_t peer) {
  return "10." + std::to_string(64 + peer / 65536) + "." + std::to_string(peer / 256 % 256) + "." + std::to_string(peer % 256);
}
std::string network_of(std::size_t peer) {
  return "10." + std::to_string(128 + peer / 65536) + "." + std::to_string(peer / 256 % 256) + "." + std::to_string(peer % 256) + "/32";
}

config::Connection connection(std::size_t peer, const Suites& suites, bool responder) {
  const auto at = [](const std::string& text) { return IpAddress::parse(text).value(); };
  config::Connection c;
  c.name = "peer-" + std::to_string(peer);
  c.local_addrs = {at(responder ? "10.9.0.1" : address_of(peer))};
  c.remote_addrs = {at(responder ? address_of(peer) : "10.9.0.1")};
  c.version = suites.version;
  c.proposals = (suites.version == 2 ? parse_ike_proposal_v2(suites.ike) : parse_ike_proposal(suites.ike)).value();
  c.local_id = {config::Identity::Type::Fqdn, responder ? "gateway.example" : c.name + ".example"};
  c.remote_id = {config::Identity::Type::Fqdn, responder ? c.name + ".example" : "gateway.example"};
  config::Child child;
  child.name = "net";
  child.local_ts = TrafficSelector::parse(responder ? "10.1.0.0/24" : network_of(peer)).value();
  child.remote_ts = TrafficSelector::parse(responder ? network_of(peer) : "10.1.0.0/24").value();
  child.esp_proposals = parse_esp_proposal(suites.esp).value();
  child.start_action = responder ? config::StartAction::None : config::StartAction::Start;
  c.children = {child};
  if (const std::string& folder = suites.certificates; !folder.empty()) {
    const std::string own = folder + (responder ? "/gateway" : "/" + c.name), key = folder + (responder ? "/gateway" : "/peer");
    c.local_auth.auth = config::Proof::Pubkey;
    c.local_auth.certs = {own + ".pem"};
    c.local_auth.key = {config::SecretRef::Kind::File, key + ".key"};
    c.remote_auth.auth = config::Proof::Pubkey;
    c.remote_auth.cacerts = {folder + "/ca.pem"};
  }
  return c;
}
}  // namespace

std::uint64_t cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(t.tv_nsec);
}

config::GatewayConfig responder_config(std::size_t peers, const Suites& suites) {
  config::GatewayConfig g;
  for (std::size_t i = 0; i < peers; ++i) g.connections.push_back(connection(i, suites, true));
  return g;
}
config::GatewayConfig peer_config(std::size_t peer, const Suites& suites) {
  config::GatewayConfig g;
  g.connections.push_back(connection(peer, suites, false));
  return g;
}

void Shell::random(MutableByteView out) {
  while (!out.empty())
    if (const ssize_t n = ::getrandom(out.data(), out.size(), 0); n > 0) out = out.subspan(static_cast<std::size_t>(n));
}

Negotiations::Side::Side(config::GatewayConfig c, const Suites& suites)
    : config(std::move(c)),
      signer(suites.certificates.empty() ? nullptr : std::make_unique<Signer>(config)),
      shell("a pre-shared key of 32 letters..", signer.get()),
      engine(std::make_unique<ike::Engine>(config, shell)) {}

Negotiations::Negotiations(std::size_t peers, Suites suites)
    : suites_(std::move(suites)), responder_(responder_config(peers, suites_), suites_) {
  responder_.engine->start(now_, {});
  (void)responder_.engine->take_actions();
}

bool Negotiations::perform(Side& from, std::vector<ike::Datagram>& out, Cost* account) {
  std::vector<ike::Action> actions = from.engine->take_actions();
  for (ike::Action& action : actions) {
    if (auto* send = std::get_if<ike::SendDatagram>(&action)) {
      out.push_back(std::move(send->datagram));
    } else if (auto* dh = std::get_if<ike::ComputeDh>(&action)) {
      const std::uint64_t begun = cpu_ns();
      ike::DhResult result = ike::run_dh_job(*dh);
      if (account) account->dh_ns += cpu_ns() - begun;
      from.engine->on_dh(now_, std::move(result));
    } else if (auto* install = std::get_if<ike::InstallSa>(&action)) {
      from.engine->on_installed(now_, install->job, true, {});
    } else if (from.signer) {
      const std::uint64_t begun = cpu_ns();
      if (from.signer->perform(*from.engine, now_, action) && account) account->signature_ns += cpu_ns() - begun;
    }
  }
  return !actions.empty();
}

void Negotiations::exchange() {
  std::vector<ike::Datagram> to_responder, to_peer;
  for (bool more = true; more;) {
    more = false;
    while (perform(*peer_, to_responder, nullptr)) {
    }
    const std::uint64_t begun = cpu_ns(), others_before = cost_.dh_ns + cost_.signature_ns;
    for (const ike::Datagram& d : std::exchange(to_responder, {})) {
      responder_.engine->on_datagram(now_, {d.remote, d.local, d.data});
      ++cost_.datagrams;
      more = true;
    }
    while (perform(responder_, to_peer, &cost_)) {
    }
    cost_.engine_ns += cpu_ns() - begun - (cost_.dh_ns + cost_.signature_ns - others_before);
    for (const ike::Datagram& d : std::exchange(to_peer, {})) peer_->engine->on_datagram(now_, {d.remote, d.local, d.data});
  }
}

void Negotiations::next() {
  peer_ = std::make_unique<Side>(peer_config(next_, suites_), suites_);
  now_ += kStep;
  peer_->engine->start(now_, {});
  exchange();
  if (const auto status = peer_->engine->connections(); !status.front().children.front().up)
    throw std::runtime_error("negotiation " + std::to_string(next_) + " failed" +
                             (status.front().failure ? ": " + status.front().failure->message : ""));
  ++next_;
}

void Negotiations::rekey(bool ike) {
  const auto generation = [&] {
    const auto sas = peer_->engine->ike_sas();
    std::string out;
    for (const ike::IkeSaInfo& sa : sas) {
      if (ike) out += std::to_string(sa.id) + " ";
      for (const ike::ChildSaInfo& c : sa.children)
        if (!ike) out += std::to_string(c.pair) + " ";
    }
    return out;
  };
  const std::string before = generation();
  now_ += kStep;
  const auto said = peer_->engine->rekey(now_, "peer-" + std::to_string(next_ - 1), "", ike);
  exchange();
  // What both sides do later, such as letting the old pair go, is a part of it.
  for (const auto end = now_ + kRekeyed; now_ < end;) {
    const auto due = std::min(peer_->engine->deadline().value_or(end), responder_.engine->deadline().value_or(end));
    now_ = std::max(now_, std::min(due, end));
    peer_->engine->on_timer(now_);
    const std::uint64_t begun = cpu_ns();
    responder_.engine->on_timer(now_);
    cost_.engine_ns += cpu_ns() - begun;
    exchange();
  }
  if (!said.ok || generation() == before) throw std::runtime_error("a rekey did not come about: " + said.message);
}

void Negotiations::rest(std::chrono::seconds time) {
  const ike::TimePoint end = now_ + time;
  std::vector<ike::Datagram> nobody_hears;
  for (auto due = responder_.engine->deadline(); due && *due < end; due = responder_.engine->deadline()) {
    now_ = std::max(now_, *due);
    responder_.engine->on_timer(now_);
    perform(responder_, nobody_hears, nullptr);
  }
  now_ = end;
}

}  // namespace culvert::bench

// A culvertd for tests, never part of the product: attaches to a data plane and does what its standard input says, one answer line a
// command. Owns no policy and no protocol; says what came back. It is longer than other files since all of its commands stand here.
//
//   policy ID ACTION ACQUIRE PRIORITY LOCAL REMOTE        ACTION: discard bypass protect; selectors as in the YAML
//   vrf INNER OUTER                                       ... numbers, of what is said from then on
//   unpolicy ID | complete                                ... all policies are there
//   sa in|out SLOT SPI(hex) POLICY LOCAL REMOTE(addr:port) LOCAL_TS REMOTE_TS SUITE ENCR_KEY INTEG_KEY(hex or -) [soft|hard
//   seconds|bytes|packets N | rule df|ecn|dscp|cut|mss|tfc|dummy N]... unsa in|out SLOT SPI events MS | punts MS | inject LOCAL REMOTE HEX
//   | trace ... | drops | balance | ports | record in|out SLOT | random COUNT SEED | corrupt
#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <random>
#include <sstream>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/bytes.hpp"
#include "common/shm/handshake.hpp"
#include "common/shm/segment.hpp"

namespace {
using namespace culvert;
using Words = std::istringstream;

struct Failure {
  std::string why;
};
template <class T>
T must(std::expected<T, std::string> v) {
  if (!v) throw Failure{v.error()};
  return *std::move(v);
}
std::string word(Words& in) {
  std::string s;
  if (!(in >> s)) throw Failure{"a word is missing"};
  return s;
}
std::uint32_t number(Words& in, int base = 10) { return static_cast<std::uint32_t>(std::stoul(word(in), nullptr, base)); }
Endpoint endpoint(const std::string& text) {
  const auto colon = text.rfind(':'), open = std::size_t{text.starts_with('[')};
  return {must(IpAddress::parse(text.substr(open, colon - 2 * open))), static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1)))};
}
Direction direction(Words& in) { return word(in) == "in" ? Direction::Inbound : Direction::Outbound; }

class Client {
 public:
  explicit Client(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    path.copy(a.sun_path, sizeof a.sun_path - 1);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0) throw Failure{"cannot connect"};
    shm::Hello hello{shm::kSegmentMagic, shm::kContractVersion, 0, shm::layout_hash()};
    (void)shm::send_with_fds(socket_, std::as_bytes(std::span(&hello, 1)), {});
    shm::Welcome welcome;
    const auto got = shm::receive_with_fds(socket_, std::as_writable_bytes(std::span(&welcome, 1)), fds_);
    if (!got) throw Failure{got.error()};
    if (welcome.result != shm::WelcomeResult::Ok) throw Failure{"refused " + std::to_string(static_cast<unsigned>(welcome.result))};
    segment_.emplace(must(shm::Segment::attach(fds_[shm::kSegmentFd])));
    commands_.emplace(segment_->rings().command);
    inject_.emplace(segment_->rings().inject);
    events_.emplace(segment_->rings().event);
    punts_.emplace(segment_->rings().punt);
  }

  void run(const std::string& line) {
    Words in(line);
    const std::string verb = word(in);
    if (verb == "policy") return policy(in);
    if (verb == "unpolicy") return command(shm::RemovePolicy{PolicyId{number(in)}});
    if (verb == "complete") return command(shm::PoliciesComplete{});
    if (verb == "vrf") return vrf(in);
    if (verb == "sa") return sa(in);
    if (verb == "unsa") {
      shm::RemoveSa m{direction(in), number(in), {}};
      m.spi = Spi{number(in, 16)};
      return command(m);
    }
    if (verb == "events") return wait(number(in), [this] { return event(); });
    if (verb == "punts") return wait(number(in), [this] { return punt(); });
    if (verb == "inject") return inject(in);
    if (verb == "trace") return trace(in);
    if (verb == "drops") return drops();
    if (verb == "balance") return balance();
    if (verb == "ports") return ports();
    if (verb == "record") return record(in);
    if (verb == "random") return random(in);
    if (verb == "corrupt") return corrupt();
    throw Failure{"unknown command"};
  }

 private:
  void kick() {
    const std::uint64_t one = 1;
    if (::write(fds_[shm::kToDataplaneFd], &one, sizeof one) < 0) throw Failure{"eventfd"};
  }
  template <class T>
  void command(const T& m) {
    std::cout << shm::to_string(acked(m)) << std::endl;
  }
  template <class T>
  shm::AckResult acked(const T& m) {
    const std::uint32_t id = ++transaction_;
    if (!commands_->push(shm::Message::of(m, id))) throw Failure{"command ring full"};
    kick();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (std::chrono::steady_clock::now() < end) {
      std::optional<shm::Ack> ack;
      while (next_event([&](const shm::Message& e) {
        if (e.type == shm::MessageType::Ack) {
          if (e.as<shm::Ack>().transaction == id) ack = e.as<shm::Ack>();
        } else {
          kept_.push_back(e);
        }
      })) {
      }
      if (ack) return ack->result;
      ::usleep(200);
    }
    throw Failure{"no ack"};
  }
  template <class Use>
  bool next_event(Use use) {
    return events_->consume([&](const shm::Message& m) { use(m); }) == shm::RingStatus::Item;
  }
  template <class Poll>
  void wait(std::uint32_t ms, Poll poll) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    do {
      if (poll()) return;
      ::usleep(500);
    } while (std::chrono::steady_clock::now() < end);
    std::cout << "none" << std::endl;
  }
  bool event() {
    if (kept_.empty()) next_event([&](const shm::Message& m) { kept_.push_back(m); });
    if (kept_.empty()) return false;
    const shm::Message m = kept_.front();
    kept_.erase(kept_.begin());
    if (m.type == shm::MessageType::Acquire) {
      const auto a = m.as<shm::Acquire>();
      std::cout << "acquire " << a.policy.value << " " << a.source.to_string() << " " << a.destination.to_string() << " "
                << unsigned{a.protocol} << " " << a.source_port << " " << a.destination_port << std::endl;
    } else if (m.type == shm::MessageType::Expire) {
      const auto e = m.as<shm::Expire>();
      std::cout << "expire " << (e.direction == Direction::Inbound ? "in" : "out") << " " << (e.hard ? "hard" : "soft") << " "
                << static_cast<unsigned>(e.cause) << " " << e.slot << std::endl;
    } else {
      std::cout << "other " << static_cast<unsigned>(m.type) << std::endl;
    }
    return true;
  }
  bool punt() {
    return punts_->consume([](const shm::Datagram& d) {
      std::cout << d.local.to_string() << " " << d.remote.to_string() << " " << to_hex(ByteView(d.data).first(d.length));
      if (d.local.vrf != kDefaultVrf) std::cout << " vrf " << int{d.local.vrf};
      if (d.heard == 1) std::cout << " heard";
      std::cout << std::endl;
    }) == shm::RingStatus::Item;
  }
  /// Of what is said from now on: inside (policies, SAs, questions), and outside (SAs, datagrams).
  void vrf(Words& in) {
    inner_ = static_cast<VrfId>(number(in));
    outer_ = static_cast<VrfId>(number(in));
    std::cout << "ok" << std::endl;
  }
  /// "10.1.0.0/24,10.1.1.0/24 10.2.0.0/24"
  template <class Message>
  void selectors(Words& in, Message& m) {
    std::array<std::vector<TrafficSelector>, 2> sides;
    for (auto& side : sides) {
      std::istringstream list(word(in));
      for (std::string one; std::getline(list, one, ',');) side.push_back(must(TrafficSelector::parse(one)));
    }
    m.local_ts = sides[0].at(0);
    m.remote_ts = sides[1].at(0);
    m.more = MoreSelectors::behind_first(sides[0], sides[1]).value();
  }
  void policy(Words& in) {
    shm::InstallPolicy m;
    m.vrf = inner_;
    m.policy = PolicyId{number(in)};
    const std::string action = word(in);
    m.action = action == "protect"  ? shm::PolicyAction::Protect
               : action == "bypass" ? shm::PolicyAction::Bypass
                                    : shm::PolicyAction::Discard;
    m.acquire = number(in) != 0;
    m.priority = number(in);
    selectors(in, m);
    std::string tunnel;
    if (in >> tunnel) m.tunnel = shm::Name(tunnel);
    command(m);
  }
  void sa(Words& in) {
    shm::InstallSa m;
    m.direction = direction(in);
    m.slot = number(in);
    m.spi = Spi{number(in, 16)};
    m.policy = PolicyId{number(in)};
    m.local = endpoint(word(in));
    m.remote = endpoint(word(in));
    m.vrf = inner_;
    m.local.vrf = m.remote.vrf = outer_;
    selectors(in, m);
    const auto suites = parse_esp_proposal(word(in));
    if (!suites) throw Failure{suites.error().message};
    m.suite = suites->front();
    const Bytes encr = must(from_hex(word(in)));
    const std::string integ_text = word(in);
    const Bytes integ = integ_text == "-" ? Bytes{} : must(from_hex(integ_text));
    m.encr_key_bytes = static_cast<std::uint8_t>(encr.size());
    m.integ_key_bytes = static_cast<std::uint8_t>(integ.size());
    std::copy(encr.begin(), encr.end(), m.encr_key.begin());
    std::copy(integ.begin(), integ.end(), m.integ_key.begin());
    std::string which;
    while (in >> which) {
      if (which == "rule") {
        rule(in, m.rules);
        continue;
      }
      shm::Lifetime& life = which == "soft" ? m.soft : m.hard;
      const std::string unit = word(in);
      (unit == "seconds" ? life.seconds : unit == "bytes" ? life.bytes : life.packets) = number(in);
    }
    m.name = shm::Name("test/child");
    command(m);
  }
  static void rule(Words& in, PacketRules& rules) {
    const std::string name = word(in);
    const auto value = static_cast<std::uint16_t>(number(in));
    if (name == "df") rules.df = static_cast<CopyDf>(value);
    if (name == "ecn") rules.ecn = static_cast<CopyEcn>(value);
    if (name == "spread") rules.spread = static_cast<SpreadCrypto>(value);
    if (name == "dscp") rules.dscp = static_cast<CopyDscp>(value);
    if (name == "cut") rules.cut = static_cast<CutWhen>(value);
    if (name == "mss") rules.mss = value;
    if (name == "dummy") rules.dummy_interval = std::chrono::milliseconds{value};
    if (name == "tfc") rules.tfc_padding = value;
  }
  void inject(Words& in) {
    Endpoint local = endpoint(word(in));
    Endpoint remote = endpoint(word(in));
    local.vrf = remote.vrf = outer_;
    const Bytes data = must(from_hex(word(in)));
    const bool pushed = inject_->produce([&](shm::Datagram& d) {
      d.local = local;
      d.remote = remote;
      d.length = static_cast<std::uint32_t>(data.size());
      std::copy_n(data.begin(), std::min(data.size(), d.data.size()), d.data.begin());
    });
    kick();
    std::cout << (pushed ? "ok" : "full") << std::endl;
  }
  /// SOURCE DESTINATION PROTOCOL SPORT DPORT LENGTH TTL DF PORT|- SLOT|- SPI(hex)|-: the verdict, and the kinds of the steps.
  void trace(Words& in) {
    shm::TracePacket q;
    q.id = 77;
    q.vrf = inner_;
    q.source = must(IpAddress::parse(word(in)));
    q.destination = must(IpAddress::parse(word(in)));
    q.protocol = static_cast<std::uint8_t>(number(in));
    q.source_port = static_cast<std::uint16_t>(number(in));
    q.destination_port = static_cast<std::uint16_t>(number(in));
    q.length = static_cast<std::uint16_t>(number(in));
    q.ttl = static_cast<std::uint8_t>(number(in));
    q.dont_fragment = static_cast<std::uint8_t>(number(in));
    if (const std::string port = word(in); port != "-") q.port = static_cast<std::uint16_t>(std::stoul(port));
    const std::string slot = word(in), spi = word(in);
    if (slot != "-") {
      q.under_sa = 1;
      q.slot = static_cast<std::uint32_t>(std::stoul(slot));
      q.spi = Spi{static_cast<std::uint32_t>(std::stoul(spi, nullptr, 16))};
    }
    const shm::AckResult result = acked(q);
    if (result != shm::AckResult::Ok) return void(std::cout << shm::to_string(result) << std::endl);
    const auto answer = std::ranges::find(kept_, shm::MessageType::Traced, &shm::Message::type);
    if (answer == kept_.end() || answer->as<shm::Traced>().id != 77) throw Failure{"no answer before the ack"};
    const shm::Path path = answer->as<shm::Traced>().path;
    kept_.erase(answer);
    bool encrypted = false, out = false;
    std::string steps;
    for (std::uint32_t i = 0; i < path.count; ++i) {
      encrypted |= path.steps[i].kind == shm::StepKind::LeavesUnderSa;
      out |= path.steps[i].kind == shm::StepKind::Leaves;
      steps += " " + std::to_string(static_cast<unsigned>(path.steps[i].kind));
    }
    std::cout << (path.dropped != Drop::Count_ ? info(path.dropped).name
                  : path.answered != 0         ? "here"
                  : !out                       ? "?"
                  : encrypted                  ? "encrypted"
                                               : "clear")
              << steps << std::endl;
  }
  void drops() {
    for (std::size_t r = 0; r < kDropReasons; ++r) {
      std::uint64_t sum = segment_->manager().drops[r].get();
      for (const auto& w : segment_->workers()) sum += w.drops[r].get();
      if (sum != 0) std::cout << kDropTable[r].name << "=" << sum << " ";
    }
    std::cout << "." << std::endl;
  }
  /// What has gone in and what has become of it, in all threads.
  void balance() {
    const auto drops = [](const auto& c) {
      std::uint64_t n = 0;
      for (const shm::Counter& reason : c.drops) n += reason.get();
      return n;
    };
    const shm::ManagerCounters& m = segment_->manager();
    std::uint64_t spread_out = 0, spread_in = 0;
    std::uint64_t rx = 0, tx = 0, generated = m.generated.get(), consumed = m.consumed.get(), dropped = drops(m), missed = 0;
    for (const auto& w : segment_->workers()) {
      rx += w.rx_packets.get();
      tx += w.tx_packets.get();
      generated += w.generated.get();
      consumed += w.consumed.get();
      spread_out += w.spread_out.get();
      spread_in += w.spread_in.get();
      dropped += drops(w);
    }
    for (const auto& p : segment_->ports()) missed += p.rx_missed.get();
    std::cout << "rx=" << rx << " tx=" << tx << " generated=" << generated << " consumed=" << consumed << " dropped=" << dropped
              << " missed=" << missed << " spread_out=" << spread_out << " spread_in=" << spread_in << std::endl;
  }
  /// What ports and VLANs have carried.
  void ports() {
    for (const auto& p : segment_->ports())
      std::cout << p.name.view() << "=" << p.rx_packets.get() << "," << p.rx_bytes.get() << "," << p.tx_packets.get() << ","
                << p.tx_bytes.get() << "," << p.link_up.get() << "," << p.mtu.get() << " ";
    std::cout << "." << std::endl;
  }
  void record(Words& in) {
    const Direction d = direction(in);
    const auto& r = segment_->records(d)[number(in)];
    shm::SaSnapshot s;
    if (!shm::read_record(r, s)) {
      std::cout << "free" << std::endl;
      return;
    }
    std::cout << "spi=" << std::hex << s.spi.value << std::dec << " current=" << s.current << " mtu=" << s.mtu << " path_mtu=" << s.path_mtu
              << " packets=" << r.counters.packets.get() << " bytes=" << r.counters.bytes.get() << " sequence=" << r.counters.sequence.get()
              << " missing=" << r.counters.missing() << " reordered=" << r.counters.reordered.get();
    for (const Drop reason : sa_drops(d))
      if (const auto n = r.counters.dropped(d, reason); n > 0) std::cout << " " << info(reason).name << "=" << n;
    std::cout << std::endl;
  }
  void random(Words& in) {
    const std::uint32_t count = number(in);
    std::mt19937_64 rng(number(in));
    for (std::uint32_t i = 0; i < count; ++i) {
      const bool filled = commands_->produce([&](shm::Message& m) {
        auto* bytes = reinterpret_cast<std::uint8_t*>(&m);
        for (std::size_t b = 0; b < sizeof m; ++b) bytes[b] = static_cast<std::uint8_t>(rng() >> 56);
        if (rng() % 8 != 0) m.type = static_cast<shm::MessageType>(rng() % 9);
        // Half of them nearly sound, so that more than the first check is reached.
        if (m.type == shm::MessageType::InstallPolicy && rng() % 2 == 0) {
          auto p = shm::InstallPolicy{};
          p.policy = PolicyId{static_cast<std::uint32_t>(rng() % 64)};
          p.action = static_cast<shm::PolicyAction>(rng() % 4);
          p.local_ts.first = IpAddress::v4(static_cast<std::uint32_t>(rng()));
          p.local_ts.last = IpAddress::v4(static_cast<std::uint32_t>(rng()));
          p.remote_ts.first = IpAddress::v4(static_cast<std::uint32_t>(rng()) & 0xffff0000);
          p.remote_ts.last = IpAddress::v4(p.remote_ts.first.v4_host() | 0xffff);
          m = shm::Message::of(p, i);
        }
        if (m.type == shm::MessageType::InstallSa && rng() % 2 == 0) {
          auto s = m.as<shm::InstallSa>();
          s.direction = static_cast<Direction>(rng() % 2);
          s.slot = static_cast<std::uint32_t>(rng() % 300);
          s.policy = PolicyId{1 + static_cast<std::uint32_t>(rng() % 64)};
          s.local = s.remote = {IpAddress::v4(0x0a090001), 0};
          s.local_ts = s.remote_ts = TrafficSelector::from({IpAddress::v4(0x0a010000), 16});
          s.suite = {Encr::AesGcm16, 128, Integ::None};
          s.mode = SaMode::Tunnel;
          s.encr_key_bytes = 20;
          s.integ_key_bytes = static_cast<std::uint8_t>(rng() % 2);
          m = shm::Message::of(s, i);
        }
      });
      if (i % 3 == 0)
        (void)inject_->produce([&](shm::Datagram& d) {
          auto* bytes = reinterpret_cast<std::uint8_t*>(&d);
          for (std::size_t b = 0; b < 64; ++b) bytes[b] = static_cast<std::uint8_t>(rng() >> 56);
          if (rng() % 2 == 0) d.local = {IpAddress::v4(0x0a090001), 500};
          if (rng() % 2 == 0) d.remote = {IpAddress::v4(0x0a090002), 500};
          if (rng() % 2 == 0) d.length = static_cast<std::uint32_t>(rng() % 12000);
        });
      kick();
      if (!filled) {
        --i;
        ::usleep(200);
      }
      while (next_event([](const shm::Message&) {})) {
      }
    }
    std::cout << "sent " << count << std::endl;
  }
  void corrupt() {
    segment_->rings().command.head.store(0x80000000);
    kick();
    pollfd p{socket_, POLLIN, 0};
    std::cout << (::poll(&p, 1, 3000) == 1 ? "evicted" : "still attached") << std::endl;
  }

  int socket_;
  std::array<int, shm::kHandshakeFds> fds_{};
  std::optional<shm::Segment> segment_;
  std::optional<shm::RingProducer<shm::Message, shm::kCommandSlots>> commands_;
  VrfId inner_ = kDefaultVrf, outer_ = kDefaultVrf;
  std::optional<shm::RingProducer<shm::Datagram, shm::kDatagramSlots>> inject_;
  std::optional<shm::RingConsumer<shm::Message, shm::kEventSlots>> events_;
  std::optional<shm::RingConsumer<shm::Datagram, shm::kDatagramSlots>> punts_;
  std::vector<shm::Message> kept_;
  std::uint32_t transaction_ = 0;
};
}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    Client client(argv[1]);
    std::cout << "attached" << std::endl;
    std::string line;
    while (std::getline(std::cin, line)) {
      try {
        client.run(line);
      } catch (const Failure& f) {
        std::cout << "error " << f.why << std::endl;
      }
    }
  } catch (const Failure& f) {
    std::cout << "error " << f.why << std::endl;
    return 1;
  }
  return 0;
}

// culvert-load: thousands of peers in one process, each with an address of its own, that all want a tunnel from one gateway.
// Owns two UDP sockets (ports 500 and 4500 of every local address), the initiators' engine and the account of what came up. The addresses
// are one prefix that the kernel takes for local: ip route add local 10.64.0.0/16 dev lo. Ends when each tunnel is up or has failed;
// deletes nothing, so that the gateway can be looked at afterwards. Carries no packets.
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include <arpa/inet.h>
#include <boost/json.hpp>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/ike/dh_job.hpp"
#include "control/ike/header.hpp"
#include "control/ike/nat_traversal.hpp"
#include "tests/bench/negotiation.hpp"

namespace {
using namespace culvert;
using Clock = std::chrono::steady_clock;

const char* const kUsage =
    "usage: culvert-load --to ADDRESS --secret TEXT [--version N] [--count N] [--parallel N] [--ike PROPOSAL] [--esp PROPOSAL] [--seconds "
    "N]\n"
    "                    [--aggressive N] [--certificates FOLDER] [--rekey WHAT]\n"
    "  --count N        tunnels, of peers 0 to N-1 (1000)\n"
    "  --parallel N     negotiations under way at once (64)\n"
    "  --version N      of IKE, 1 or 2 (1)\n"
    "  --ike, --esp     what is offered (aes128-sha256-curve25519, aes128gcm16)\n"
    "  --seconds N      give up after so long (120)\n"
    "  --aggressive N   the last N peers use Aggressive Mode (0)\n"
    "  --certificates D all sign: D has ca.pem, peer.key and a peer-N.pem for each\n"
    "  --rekey WHAT     pair or ike: of each, as many at once, beginning --rest seconds (3) after all are up; a second line of results\n";

struct Options {
  std::uint8_t version = 1;
  std::string to, secret, proposal = "aes128-sha256-curve25519", esp = "aes128gcm16", certificates, rekey;
  std::size_t count = 1000, parallel = 64, aggressive = 0;
  std::chrono::seconds patience{120}, rest{3};
};

/// One UDP port of all our addresses: what comes in says which one it was for, what goes out says which one it is from.
class Port {
 public:
  explicit Port(std::uint16_t number) : number_(number), fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const int on = 1, room = 16 << 20;
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(number);
    if (fd_ < 0 || ::setsockopt(fd_, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0 ||
        ::bind(fd_, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
      throw std::runtime_error(fmt::format("UDP port {}: {}", number, std::strerror(errno)));
    (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);  // a smaller one only loses more
  }
  ~Port() { ::close(fd_); }
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

  std::optional<ike::Datagram> receive() {
    sockaddr_in from{};
    iovec data{buffer_.data(), buffer_.size()};
    msghdr message = header(from, data);
    const ssize_t n = ::recvmsg(fd_, &message, 0);
    if (n < 0) return std::nullopt;
    ike::Datagram out;
    for (const cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, const_cast<cmsghdr*>(c))) {
      if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO) continue;
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      out.local = {address(info.ipi_addr), number_};
    }
    out.remote = {address(from.sin_addr), ntohs(from.sin_port)};
    out.data.assign(buffer_.begin(), buffer_.begin() + n);
    return out;
  }

  void send(const ike::Datagram& d) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(d.remote.port);
    std::memcpy(&to.sin_addr, d.remote.address.view().data(), 4);
    iovec data{const_cast<std::uint8_t*>(d.data.data()), d.data.size()};
    msghdr message = header(to, data);
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, d.local.address.view().data(), 4);
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(c), &info, sizeof info);
    (void)::sendmsg(fd_, &message, 0);  // what does not go out is lost on the way, to IKE
  }

 private:
  msghdr header(sockaddr_in& peer, iovec& data) {
    msghdr out{};
    out.msg_name = &peer;
    out.msg_namelen = sizeof peer;
    out.msg_iov = &data;
    out.msg_iovlen = 1;
    out.msg_control = control_.data();
    out.msg_controllen = control_.size();
    return out;
  }
  static IpAddress address(const in_addr& a) {
    std::array<char, INET_ADDRSTRLEN> text{};
    return IpAddress::parse(::inet_ntop(AF_INET, &a, text.data(), text.size())).value();
  }
  std::uint16_t number_;
  int fd_;
  std::array<std::uint8_t, 4096> buffer_{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in_pktinfo))> control_{};
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options),
        config_(config(options)),
        signer_(options.certificates.empty() ? nullptr : std::make_unique<bench::Signer>(config_)),
        shell_(options.secret, signer_.get()),
        engine_(config_, shell_),
        ports_{Port(ike::kIkePort), Port(ike::kNatPort)} {}

  void start() { engine_.start(Clock::now(), {}); }
  /// Nothing is begun.
  void rest(std::chrono::seconds time);
  /// A tunnel of each, or a rekey of each, to its end.
  boost::json::object run(bool rekey);

 private:
  static config::GatewayConfig config(const Options& o) {
    config::GatewayConfig all;
    for (std::size_t i = 0; i < o.count; ++i) {
      config::Connection c = bench::peer_config(i, {o.version, o.proposal, o.esp, o.certificates}).connections.front();
      c.remote_addrs = {IpAddress::parse(o.to).value()};
      c.children.front().start_action = config::StartAction::None;
      c.aggressive = i + o.aggressive >= o.count;
      all.connections.push_back(std::move(c));
    }
    return all;
  }
  void begin_more(bool rekey);
  void wait(std::chrono::milliseconds at_most);
  void perform();
  void ended(const ike::Report& report);
  void take_in();

  const Options& options_;
  config::GatewayConfig config_;
  std::unique_ptr<bench::Signer> signer_;
  bench::Shell shell_;
  ike::Engine engine_;
  std::array<Port, 2> ports_;
  bool rekeying_ = false;
  std::size_t next_ = 0, up_ = 0, failed_ = 0;
  std::unordered_map<std::string, Clock::time_point> under_way_;
  std::vector<double> milliseconds_;  ///< of those that came up
  std::string first_failure_;
};

void Load::begin_more(bool rekey) {
  while (next_ < options_.count && under_way_.size() < options_.parallel) {
    const std::string& name = config_.connections[next_++].name;
    under_way_[name] = Clock::now();
    // Always possible: nothing of this connection has begun.
    (void)(rekey ? engine_.rekey(Clock::now(), name, "", options_.rekey == "ike") : engine_.initiate(Clock::now(), name, ""));
    perform();
  }
}

void Load::ended(const ike::Report& report) {
  const bool up = report.reason == ike::Reason::Ok;
  if (!report.count || (up && report.child.empty() && !rekeying_)) return;
  const auto it = under_way_.find(report.connection);
  if (it == under_way_.end()) return;
  ++(up ? up_ : failed_);
  if (up) milliseconds_.push_back(std::chrono::duration<double, std::milli>(Clock::now() - it->second).count());
  if (!up && first_failure_.empty()) first_failure_ = report.message;
  under_way_.erase(it);
}

void Load::perform() {
  for (auto actions = engine_.take_actions(); !actions.empty(); actions = engine_.take_actions())
    for (ike::Action& action : actions) {
      if (auto* send = std::get_if<ike::SendDatagram>(&action))
        ports_[send->datagram.local.port == ike::kNatPort].send(send->datagram);
      else if (auto* dh = std::get_if<ike::ComputeDh>(&action))
        engine_.on_dh(Clock::now(), ike::run_dh_job(*dh));
      else if (auto* install = std::get_if<ike::InstallSa>(&action))
        engine_.on_installed(Clock::now(), install->job, true, {});
      else if (auto* report = std::get_if<ike::Report>(&action))
        ended(*report);
      else if (signer_)
        (void)signer_->perform(engine_, Clock::now(), action);
    }
}

void Load::take_in() {
  for (Port& port : ports_)
    while (const auto datagram = port.receive()) {
      engine_.on_datagram(Clock::now(), *datagram);
      perform();
    }
}

void Load::wait(std::chrono::milliseconds at_most) {
  std::array<pollfd, 2> sockets{pollfd{ports_[0].fd(), POLLIN, 0}, pollfd{ports_[1].fd(), POLLIN, 0}};
  const auto due = engine_.deadline();
  const auto ms = due ? std::chrono::duration_cast<std::chrono::milliseconds>(*due - Clock::now()).count() + 1 : at_most.count();
  (void)::poll(sockets.data(), sockets.size(), static_cast<int>(std::clamp<std::int64_t>(ms, 0, at_most.count())));
  take_in();
  if (due && *due <= Clock::now()) {
    engine_.on_timer(Clock::now());
    perform();
  }
}

void Load::rest(std::chrono::seconds time) {
  for (const auto end = Clock::now() + time; Clock::now() < end;) wait(std::chrono::milliseconds(100));
}

boost::json::object Load::run(bool rekey) {
  const auto begun = Clock::now();
  rekeying_ = rekey;
  next_ = up_ = failed_ = 0;
  milliseconds_.clear();
  while (up_ + failed_ < options_.count && Clock::now() - begun < options_.patience) {
    begin_more(rekey);
    wait(std::chrono::milliseconds(100));
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  std::ranges::sort(milliseconds_);
  const auto share = [&](double s) {
    return milliseconds_.empty() ? 0.0 : milliseconds_[static_cast<std::size_t>(s * static_cast<double>(milliseconds_.size() - 1))];
  };
  return {{"up", up_},
          {"failed", failed_},
          {"unfinished", options_.count - up_ - failed_},
          {"seconds", seconds},
          {"median_ms", share(0.5)},
          {"p99_ms", share(0.99)},
          {"failure", first_failure_}};
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (++i >= argc) throw std::runtime_error(kUsage);
    const std::string value = argv[i];
    const auto number = [&] { return std::strtoul(value.c_str(), nullptr, 10); };
    if (name == "--to") {
      o.to = value;
    } else if (name == "--secret") {
      o.secret = value;
    } else if (name == "--count") {
      o.count = number();
    } else if (name == "--parallel") {
      o.parallel = number();
    } else if (name == "--aggressive") {
      o.aggressive = number();
    } else if (name == "--version") {
      o.version = static_cast<std::uint8_t>(number());
    } else if (name == "--ike") {
      o.proposal = value;
    } else if (name == "--esp") {
      o.esp = value;
    } else if (name == "--certificates") {
      o.certificates = value;
    } else if (name == "--rekey" && (value == "pair" || value == "ike")) {
      o.rekey = value;
    } else if (name == "--rest") {
      o.rest = std::chrono::seconds(number());
    } else if (name == "--seconds") {
      o.patience = std::chrono::seconds(number());
    } else {
      throw std::runtime_error(kUsage);
    }
  }
  if (o.to.empty() || o.secret.empty() || o.count == 0 || o.parallel == 0) throw std::runtime_error(kUsage);
  return o;
}
}  // namespace

int main(int argc, char** argv) try {
  const Options options = parse(argc, argv);
  Load load(options);
  load.start();
  const auto tell = [](const boost::json::object& result) {
    fmt::print("{}\n", boost::json::serialize(result));
    std::fflush(stdout);
  };
  tell(load.run(false));
  if (options.rekey.empty()) return 0;
  load.rest(options.rest);
  tell(load.run(true));
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 2;
}

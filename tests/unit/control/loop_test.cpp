// The event loop as a whole, with real sockets: attaching, reconnecting, timers, the CLI's robustness, the end by SIGTERM.
#include "control/io/loop.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/cli/protocol.hpp"
#include "control/crypto/pool.hpp"
#include "control/io/cli_sessions.hpp"
#include "control/io/names.hpp"
#include "tests/support/fake_dataplane.hpp"
#include "tests/support/fake_engine.hpp"

using namespace culvert;
using namespace culvert::control;
using namespace std::chrono_literals;

namespace {

std::string temp_path(const char* name) { return "/tmp/culvert-loop-test-" + std::to_string(::getpid()) + "-" + name; }

int connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return fd;
}
/// What arrives until a newline, the end, or two seconds of silence.
std::string read_line(int fd) {
  std::string out;
  for (char c = 0;;) {
    pollfd p{fd, POLLIN, 0};
    if (::poll(&p, 1, 2000) <= 0 || ::recv(fd, &c, 1, 0) <= 0 || c == '\n') return out;
    out += c;
  }
}
std::string request(int fd, const std::string& line) {
  REQUIRE(::send(fd, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size()));
  return read_line(fd);
}

/// culvertd without its main: the loop runs in a thread of its own, and touches the gateway alone.
struct Daemon {
  config::GatewayConfig config;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<Gateway> gateway;
  std::unique_ptr<cli::Dispatcher> dispatcher;
  std::unique_ptr<io::Listener> listener;
  std::thread thread;
  std::string died_of;  ///< once `ended`
  std::atomic<bool> ended = false;
  const std::string socket = temp_path("cli.sock");

  Daemon() {
    test::reset_engine();
    config.dataplane.socket = temp_path("dp.sock");
    config.dataplane.sa_capacity = 64;
    config.control.log.file = "/dev/null";
    journal = std::make_unique<Journal>(config.control.log);
    loop = std::make_unique<io::Loop>();
    gateway = std::make_unique<Gateway>(
        config, *journal,
        Gateway::Hooks{.compute = [](const ike::ComputeDh&) {},
                       .read_secret = [](const config::SecretRef&) -> std::expected<SecretBytes, std::string> { return SecretBytes(8); },
                       .wake_at = [this](std::optional<ike::TimePoint> t) { loop->wake_at(t); }});
    dispatcher = std::make_unique<cli::Dispatcher>(*gateway);
    auto opened = io::Listener::open(socket, "");
    REQUIRE(opened);
    listener = std::make_unique<io::Listener>(std::move(*opened));
    thread = std::thread([this] {
      try {
        loop->run({*gateway, *dispatcher, *listener});
      } catch (const std::exception& e) {
        died_of = e.what();
      }
      ended = true;
    });
  }
  ~Daemon() {
    if (thread.joinable()) stop();
  }
  void stop() {
    (void)request_version();  // an answer shows that the loop runs, and with it the signal's handler
    ::kill(::getpid(), SIGTERM);
    thread.join();
  }
  std::string request_version() {
    const int fd = connect_to(socket);
    const std::string reply = request(fd, "{\"command\":\"version\"}\n");
    ::close(fd);
    return reply;
  }
  /// Runs `check` in the loop's thread until it holds, or three seconds are over.
  bool eventually(const std::function<bool()>& check, const std::function<void()>& meanwhile = [] {}) {
    for (const auto until = std::chrono::steady_clock::now() + 3s; std::chrono::steady_clock::now() < until;
         std::this_thread::sleep_for(5ms)) {
      meanwhile();
      auto answer = std::make_shared<std::atomic<int>>(-1);
      loop->post([answer, &check] { *answer = check() ? 1 : 0; });
      while (*answer < 0) std::this_thread::sleep_for(1ms);
      if (*answer == 1) return true;
    }
    return false;
  }
};

}  // namespace

TEST_CASE("the loop attaches, notices the end of the data plane, and attaches again", "[loop]") {
  Daemon d;
  CHECK_THAT(d.request_version(), Catch::Contains("\"connected\":false"));
  auto dp = std::make_unique<test::FakeDataplane>(64U);
  dp->listen(d.config.dataplane.socket);
  const auto serve = [&] {
    (void)dp->accept();
    (void)dp->pump();
  };
  REQUIRE(d.eventually([&] { return test::engine().count("start") == 1 && d.gateway->quiet(); }, serve));
  dp->punt({IpAddress::v4(1), 500}, {IpAddress::v4(2), 500}, Bytes{1, 2, 3});
  REQUIRE(d.eventually([] { return test::engine().datagrams.size() == 1; }));

  dp.reset();
  REQUIRE(d.eventually([&] { return d.gateway->link() == nullptr; }));
  dp = std::make_unique<test::FakeDataplane>(64U);
  dp->listen(d.config.dataplane.socket);
  REQUIRE(d.eventually([&] { return test::engine().count("on_dataplane_lost") == 1 && d.gateway->quiet(); }, serve));

  dp->segment().rings().event.head.store(shm::kEventSlots * 2);  // a mad data plane is left, and tried again
  const std::uint64_t one = 1;
  REQUIRE(::write(dp->to_control, &one, sizeof one) == sizeof one);
  REQUIRE(d.eventually([&] { return d.gateway->reattaches() >= 2; }, serve));
  CHECK(test::engine().count("start") == 1);
}

TEST_CASE("an exception where messages are received ends culvertd: it is not left deaf", "[loop]") {
  Daemon d;
  test::FakeDataplane dp(64U);
  dp.listen(d.config.dataplane.socket);
  REQUIRE(d.eventually([&] { return test::engine().count("start") == 1 && d.gateway->quiet(); },
                       [&] {
                         (void)dp.accept();
                         (void)dp.pump();
                       }));
  test::engine().on_datagram = [] { throw std::runtime_error("no memory"); };
  dp.punt({IpAddress::v4(1), 500}, {IpAddress::v4(2), 500}, Bytes{1, 2, 3});
  for (int i = 0; i < 1000 && !d.ended; ++i) std::this_thread::sleep_for(3ms);
  REQUIRE(d.ended);
  d.thread.join();
  CHECK(d.died_of == "no memory");
}

TEST_CASE("what a thread of the pool throws ends culvertd, too: its answer would never come", "[loop][pool][attack-O5]") {
  Daemon d;
  (void)d.request_version();
  CryptoPool pool(2, [&](std::exception_ptr why) { d.loop->fail(std::move(why)); });
  REQUIRE(pool.submit([] { throw std::bad_alloc(); }));
  for (int i = 0; i < 1000 && !d.ended; ++i) std::this_thread::sleep_for(3ms);
  REQUIRE(d.ended);
  d.thread.join();
  CHECK(d.died_of == "std::bad_alloc");
}

TEST_CASE("a name whose look-up runs out of memory is said, not waited for", "[names][attack-O5]") {
  boost::asio::io_context context;
  std::atomic<bool> said = false;
  {
    io::Names names(
        context, [](const std::string&) -> io::Names::Addresses { throw std::bad_alloc(); },
        [&](const std::exception_ptr&) { said = true; });
    names.resolve("a.example", [](const io::Names::Addresses&) {});
    for (int i = 0; i < 1000 && !said; ++i) std::this_thread::sleep_for(3ms);
  }
  CHECK(said);
}

TEST_CASE("SIGHUP opens the log anew and ends nothing", "[loop]") {
  Daemon d;
  REQUIRE_THAT(d.request_version(), Catch::Contains("\"ok\":true"));
  for (const std::size_t times : {1U, 2U}) {
    ::kill(::getpid(), SIGHUP);
    CHECK(d.eventually([&] {
      const auto events = d.journal->since(0);
      return static_cast<std::size_t>(std::ranges::count_if(events, [](const Event& e) { return e.message.starts_with("SIGHUP: "); })) ==
             times;
    }));
  }
  CHECK_THAT(d.request_version(), Catch::Contains("\"ok\":true"));
}

TEST_CASE("the engine's timer fires", "[loop][attack-O3]") {
  STATIC_REQUIRE(ike::TimePoint::clock::is_steady);  // whatever the wall clock does
  Daemon d;
  test::FakeDataplane dp(64U);
  dp.listen(d.config.dataplane.socket);
  const auto serve = [&] {
    (void)dp.accept();
    (void)dp.pump();
  };
  REQUIRE(d.eventually([&] { return test::engine().count("start") == 1; }, serve));
  REQUIRE(d.eventually([&] {
    test::engine().deadline = std::chrono::steady_clock::now() + 20ms;
    d.loop->wake_at(test::engine().deadline);
    return true;
  }));
  CHECK(d.eventually(
      [] {
        if (test::engine().count("on_timer") < 1) return false;
        test::engine().deadline.reset();
        return true;
      },
      serve));
}

TEST_CASE("SIGTERM tells the engine and ends within the time for it", "[loop]") {
  Daemon d;
  test::FakeDataplane dp(64U);
  dp.listen(d.config.dataplane.socket);
  REQUIRE(d.eventually([] { return test::engine().count("start") == 1; },
                       [&] {
                         (void)dp.accept();
                         (void)dp.pump();
                       }));
  dp.silent = true;  // it never confirms
  const auto before = std::chrono::steady_clock::now();
  d.stop();
  CHECK(test::engine().count("shutdown") == 1);
  CHECK(std::chrono::steady_clock::now() - before < 4s);
}

TEST_CASE("garbage, half messages and endless ones harm nobody but their sender", "[loop][cli][attack-M1]") {
  Daemon d;
  const int garbage = connect_to(d.socket);
  CHECK_THAT(request(garbage, "\x01\x02\xff not json\n"), Catch::Contains("bad_request"));
  CHECK_THAT(request(garbage, "{\"command\":\"version\"}\n"), Catch::Contains("\"ok\":true"));  // the session goes on

  const int half = connect_to(d.socket);
  REQUIRE(::send(half, "{\"comm", 7, MSG_NOSIGNAL) == 7);

  const int endless = connect_to(d.socket);
  const std::string flood(65536, 'x');
  std::size_t sent = 0;
  while (sent < (std::size_t{10} << 20)) {
    const ssize_t n = ::send(endless, flood.data(), flood.size(), MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += static_cast<std::size_t>(n);
  }
  CHECK(sent < (std::size_t{1} << 20));  // cut off soon after the bound
  CHECK_THAT(d.request_version(), Catch::Contains("\"ok\":true"));
  CHECK_THAT(request(half, "and\":1}\n"), Catch::Contains("bad_request"));
  for (const int fd : {garbage, half, endless}) ::close(fd);
}

TEST_CASE("two requests in one packet are answered in turn", "[loop][cli]") {
  Daemon d;
  const int fd = connect_to(d.socket);
  CHECK_THAT(request(fd, "{\"command\":\"version\"}\n{\"command\":\"nonsense\"}\n"), Catch::Contains("\"ok\":true"));
  CHECK_THAT(read_line(fd), Catch::Contains("nonsense"));
  ::close(fd);
}

TEST_CASE("a thousand idle clients do not keep an operator out", "[loop][cli][attack-M1]") {
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);  // both ends are in this process
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  Daemon d;
  std::vector<int> idle;
  for (int i = 0; i < 1000; ++i) idle.push_back(connect_to(d.socket));
  CHECK_THAT(d.request_version(), Catch::Contains("\"ok\":true"));
  std::size_t open = 0;
  for (const int fd : idle) {
    pollfd p{fd, POLLIN, 0};
    open += ::poll(&p, 1, 0) == 0;
    ::close(fd);
  }
  CHECK(open <= cli::kMaxClients);
}

TEST_CASE("no descriptor left for a client: it waits, and is served when there is one again", "[loop][cli][attack-O4]") {
  Daemon d;
  (void)d.request_version();
  const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(client >= 0);
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  rlimit none = files;
  none.rlim_cur = static_cast<rlim_t>(client) + 1;  // all below are open
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  d.socket.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  const std::string line = "{\"command\":\"version\"}\n";
  REQUIRE(::send(client, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size()));
  pollfd p{client, POLLIN, 0};
  const std::clock_t begun = std::clock();
  CHECK(::poll(&p, 1, 400) == 0);
  CHECK(std::clock() - begun < CLOCKS_PER_SEC / 5);  // it does not spin meanwhile
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  CHECK_THAT(read_line(client), Catch::Contains("\"ok\":true"));
  ::close(client);
}

TEST_CASE("a reply that throws is the end of its session alone, and of its place", "[loop][cli]") {
  const std::string path = temp_path("throws.sock");
  auto listener = io::Listener::open(path, "");
  REQUIRE(listener);
  boost::asio::io_context context;
  io::CliSessions sessions(context, *listener, [](std::string_view request) {
    if (request == "good") return cli::Reply{R"({"ok":true})", {}, {}};
    if (request == "later")
      return cli::Reply{{}, [](ike::TimePoint) -> std::optional<cli::Line> { throw std::runtime_error("no memory"); }, {}};
    return cli::Reply{{}, {}, []() -> std::optional<cli::Line> { throw std::runtime_error("no memory"); }};
  });
  sessions.start();
  std::thread thread([&] { context.run(); });
  std::vector<int> clients;
  for (std::size_t i = 0; i < 2 * cli::kMaxClients; ++i) {
    clients.push_back(connect_to(path));
    CHECK_THAT(request(clients.back(), i % 2 == 0 ? "stream\n" : "later\n"), Catch::Contains("no memory"));
  }
  const int good = connect_to(path);
  CHECK_THAT(request(good, "good\n"), Catch::Contains("\"ok\":true"));
  context.stop();
  thread.join();
  CHECK(sessions.clients() == 1);
  clients.push_back(good);
  for (const int fd : clients) ::close(fd);
  ::unlink((path + ".lock").c_str());
}

TEST_CASE("one socket, one culvertd: a second is refused, a stale socket is replaced, a file is left alone",
          "[loop][listener][attack-O6]") {
  const std::string path = temp_path("one.sock");
  {
    auto first = io::Listener::open(path, "");
    REQUIRE(first);
    struct stat st{};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0600);
    const auto second = io::Listener::open(path, "");
    REQUIRE_FALSE(second);
    CHECK_THAT(second.error(), Catch::Contains("another culvertd"));
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::bind(stale, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  ::close(stale);  // as after SIGKILL: the path stays
  CHECK(io::Listener::open(path, ""));
  CHECK_FALSE(io::Listener::open(temp_path("no-such-dir/x.sock"), ""));
  CHECK_THAT(io::Listener::open(path, "no-such-group-here").error(), Catch::Contains("no-such-group-here"));
  {
    const std::string file = temp_path("file");
    std::FILE* f = std::fopen(file.c_str(), "w");
    REQUIRE(f != nullptr);
    std::fclose(f);
    CHECK_THAT(io::Listener::open(file, "").error(), Catch::Contains("is no socket"));
    CHECK(::unlink(file.c_str()) == 0);
    ::unlink((file + ".lock").c_str());
  }
  ::unlink((path + ".lock").c_str());
  ::unlink((temp_path("cli.sock") + ".lock").c_str());
}

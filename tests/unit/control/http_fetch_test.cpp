// The HTTP client for revocation lists and OCSP against a server of our own on the loopback: answers, redirects, and each bound.
#include "control/io/http_fetch.hpp"

#include <atomic>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::control;
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {
/// Answers each connection with what `answer` makes of the request; an empty answer keeps it open, unanswered.
struct Server {
  asio::io_context context;
  tcp::acceptor acceptor{context, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
  std::function<std::string(const std::string&)> answer;
  std::vector<std::string> requests;
  std::vector<std::unique_ptr<tcp::socket>> open;
  std::thread thread;
  std::atomic<bool> stop = false;
  explicit Server(std::function<std::string(const std::string&)> a) : answer(std::move(a)), thread([this] { serve(); }) {}
  ~Server() {
    stop = true;
    boost::system::error_code ignored;
    tcp::socket knock(context);
    knock.connect(acceptor.local_endpoint(), ignored);
    thread.join();
  }
  void serve() {
    for (;;) {
      auto socket = std::make_unique<tcp::socket>(context);
      acceptor.accept(*socket);
      if (stop) return;
      std::string request;
      boost::system::error_code error;
      asio::read_until(*socket, asio::dynamic_buffer(request), "\r\n\r\n", error);
      requests.push_back(request);
      const std::string reply = answer(request);
      if (reply.empty()) {
        open.push_back(std::move(socket));
      } else {
        asio::write(*socket, asio::buffer(reply), error);
      }
    }
  }
  [[nodiscard]] std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port()) + path;
  }
};
std::string ok(const std::string& body) { return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body; }

std::expected<Bytes, std::string> fetch(const std::string& url, Bytes body = {}, std::size_t max = 1000) {
  asio::io_context context;
  std::optional<std::expected<Bytes, std::string>> out;
  unsigned calls = 0;
  io::Names names(context);
  io::http_fetch(context, names, {url, "application/ocsp-request", std::move(body), max}, [&](std::expected<Bytes, std::string> r) {
    ++calls;
    out = std::move(r);
  });
  context.run();
  REQUIRE(out);
  CHECK(calls == 1);
  return *out;
}
void fails(const std::string& url, const std::string& why) {
  const auto r = fetch(url);
  REQUIRE_FALSE(r);
  INFO(r.error());
  CHECK(r.error().find(why) != std::string::npos);
}
}  // namespace

TEST_CASE("an answer over HTTP", "[http]") {
  Server s([](const std::string&) { return ok("list"); });
  CHECK(fetch(s.url("/a?b=c#d")) == to_bytes("list"));
  CHECK(s.requests.at(0).starts_with("GET /a?b=c HTTP/1.1\r\n"));
  CHECK(s.requests.at(0).find("Host: 127.0.0.1:") != std::string::npos);
  CHECK(fetch(s.url(""), Bytes{1, 2, 3}) == to_bytes("list"));
  CHECK(s.requests.at(1).starts_with("POST / HTTP/1.1\r\n"));
  CHECK(s.requests.at(1).find("Content-Type: application/ocsp-request\r\n") != std::string::npos);
  CHECK(s.requests.at(1).find("Content-Length: 3\r\n") != std::string::npos);
}

TEST_CASE("redirects are followed three times, and to http only", "[http]") {
  unsigned left = 3;
  Server s([&](const std::string&) {
    return left-- > 0 ? std::string("HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n") : ok("there");
  });
  CHECK(fetch(s.url("/")) == to_bytes("there"));
  left = 4;
  fails(s.url("/"), "redirects more than 3 times");
  Server away([](const std::string&) {
    return std::string("HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n");
  });
  fails(away.url("/"), "leads to something else than http");
  Server file(
      [](const std::string&) { return std::string("HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"); });
  fails(file.url("/"), "leads to something else than http");
}

TEST_CASE("what is too large, broken, refused or late is an error", "[http]") {
  Server large([](const std::string&) { return ok(std::string(1001, 'x')); });
  fails(large.url("/"), "answers with more than 1000 bytes");
  Server endless([](const std::string&) { return "HTTP/1.1 200 OK\r\n\r\n" + std::string(100000, 'x'); });
  fails(endless.url("/"), "answers with more than 1000 bytes");
  Server header([](const std::string&) { return "HTTP/1.1 200 OK\r\nX: " + std::string(100000, 'x'); });
  fails(header.url("/"), "gives no complete answer");
  Server broken([](const std::string&) { return std::string("SSH-2.0-x\r\n\r\n"); });
  fails(broken.url("/"), "gives no complete answer");
  Server missing([](const std::string&) { return std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"); });
  fails(missing.url("/"), "answers with HTTP status 404");
  Server short_([](const std::string&) { return std::string("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"); });
  fails(short_.url("/"), "gives no complete answer");
  fails("http://127.0.0.1:1/", "cannot be connected to");
  Server silent([](const std::string&) { return std::string(); });
  const auto begin = std::chrono::steady_clock::now();
  fails(silent.url("/"), "has not answered within 4 seconds");
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(8));
}

TEST_CASE("nobody is asked on the link, nor on this host at the word of another", "[http][attack-E5]") {
  const auto may = [](const char* address, bool sent_here) { return io::may_ask(asio::ip::make_address(address), sent_here); };
  for (const char* link : {"169.254.169.254", "fe80::1", "::ffff:169.254.1.1"}) {
    CHECK_FALSE(may(link, false));
    CHECK_FALSE(may(link, true));
  }
  for (const char* here : {"127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"}) {
    CHECK(may(here, false));
    CHECK_FALSE(may(here, true));
  }
  for (const char* fine : {"192.0.2.1", "10.0.0.1", "2001:db8::1"}) CHECK((may(fine, false) && may(fine, true)));
  fails("http://169.254.169.254/latest/meta-data", "leads to an address of this host or its link");
  Server away(
      [](const std::string&) { return std::string("HTTP/1.1 301 Moved\r\nLocation: http://[fe80::1]/\r\nContent-Length: 0\r\n\r\n"); });
  fails(away.url("/"), "leads to an address of this host or its link");
}

TEST_CASE("a name is looked up once for all who ask, beside others that take long", "[http][attack-O4]") {
  asio::io_context context;
  std::atomic<unsigned> asked = 0;
  std::atomic<bool> end = false;
  io::Names names(context, [&](const std::string& host) -> io::Names::Addresses {
    ++asked;
    for (int i = 0; host.starts_with("slow") && !end && i < 10000; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (host.starts_with("bad")) return std::unexpected("unknown");
    return std::vector{asio::ip::make_address("192.0.2.1")};
  });
  unsigned slow = 0, good = 0, bad = 0;
  for (int i = 0; i < 50; ++i) names.resolve("slow.example", [&](const io::Names::Addresses&) { ++slow; });
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 50; ++i) {
      names.resolve("good.example", [&](const io::Names::Addresses& a) { good += a.has_value(); });
      names.resolve("bad.example", [&](const io::Names::Addresses& a) { bad += !a; });
      names.resolve("192.0.2.7", [&](const io::Names::Addresses& a) { good += a && a->front().to_string() == "192.0.2.7"; });
    }
    CHECK((good == 100U * static_cast<unsigned>(round) && bad == 50U * static_cast<unsigned>(round)));  // never before the call returns
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(3);
    while ((good < 100U * static_cast<unsigned>(round + 1) || bad < 50U * static_cast<unsigned>(round + 1)) &&
           std::chrono::steady_clock::now() < until) {
      context.restart();
      context.run_for(std::chrono::milliseconds(5));
    }
  }
  CHECK(good == 200);
  CHECK(bad == 100);
  CHECK(asked == 3);
  CHECK(slow == 0);
  end = true;
}

TEST_CASE("URLs", "[http]") {
  const auto parts = [](const char* url) {
    const auto u = io::parse_http_url(url);
    return u ? u->host + " " + u->port + " " + u->target : std::string("no");
  };
  CHECK(parts("http://a.example") == "a.example 80 /");
  CHECK(parts("http://a.example:8080/x/y?z") == "a.example 8080 /x/y?z");
  CHECK(parts("http://a.example?q") == "a.example 80 /?q");
  CHECK(parts("http://[2001:db8::1]:81/x") == "2001:db8::1 81 /x");
  CHECK(io::parse_http_url("http://[2001:db8::1]/")->authority() == "[2001:db8::1]");
  for (const char* bad : {"", "http://", "http:///x", "https://a/", "ftp://a/", "http://a:0/", "http://a:99999/", "http://a:x/",
                          "http://[::1", "http://u@a/", "http://a b/", "http://a:80:80/", "http://[::1]x/", "http://a\r\nX: y/"})
    CHECK(parts(bad) == "no");
}

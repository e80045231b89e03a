#include "control/io/http_fetch.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include "control/io/token.hpp"

namespace culvert::control::io {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

std::string HttpUrl::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == "80" ? name : name + ":" + port;
}

std::optional<HttpUrl> parse_http_url(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme) || url.size() > 2048 || !std::ranges::all_of(url, [](char c) { return c > 0x20 && c < 0x7f; }))
    return std::nullopt;
  url.remove_prefix(kScheme.size());
  const std::size_t slash = std::min(url.find_first_of("/?#"), url.size());
  std::string_view authority = url.substr(0, slash), target = url.substr(slash);
  target = target.substr(0, target.find('#'));
  HttpUrl out;
  out.target = (target.starts_with('/') ? "" : "/") + std::string(target);
  out.port = "80";
  const bool literal = authority.starts_with('[');
  const std::size_t end = literal ? authority.find(']') : authority.find(':');
  if (literal && end == std::string_view::npos) return std::nullopt;
  out.host = std::string(literal ? authority.substr(1, end - 1) : authority.substr(0, end));
  const std::string_view rest = end == std::string_view::npos ? std::string_view{} : authority.substr(literal ? end + 1 : end);
  if (!rest.empty()) {
    unsigned port = 0;
    const auto [stop, error] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), port);
    if (rest[0] != ':' || error != std::errc{} || stop != rest.data() + rest.size() || port == 0 || port > 65535) return std::nullopt;
    out.port = std::to_string(port);
  }
  const auto plain = [&](char c) { return c != '@' && c != '[' && c != ']' && (literal || c != ':'); };
  if (out.host.empty() || out.host.size() > 255 || !std::ranges::all_of(out.host, plain)) return std::nullopt;
  return out;
}

namespace {

/// What is under way, for the timer to end.
struct Query {
  auth::Fetch what;
  auth::Fetched done;
  Names& names;
  Names::Addresses addresses = std::unexpected("its name is not resolved");
  beast::tcp_stream stream;
  asio::steady_timer timer, resolved;  ///< `resolved` is cancelled when it is
  bool late = false;
  bool elsewhere = false;  ///< a host that is not this one has answered
  Query(asio::io_context& c, Names& n) : names(n), stream(c), timer(c), resolved(c, asio::steady_timer::time_point::max()) {}

  void finish(std::expected<Bytes, std::string> result) {
    if (auto call = std::exchange(done, {})) call(std::move(result));
    timer.cancel();
  }
};
using QueryPtr = std::shared_ptr<Query>;

struct Answer {
  unsigned status = 0;
  std::string location;
  Bytes body;
};

/// One request to one place.
asio::awaitable<std::expected<Answer, std::string>> ask(QueryPtr q, HttpUrl url) {
  error_code error;
  q->names.resolve(url.host, [q](Names::Addresses addresses) {
    q->addresses = std::move(addresses);
    q->resolved.cancel();
  });
  co_await q->resolved.async_wait(token(error));
  if (q->late) co_return std::unexpected("is late");
  if (!q->addresses) co_return std::unexpected(q->addresses.error());
  std::vector<tcp::endpoint> places;
  for (const auto& address : *q->addresses)
    if (may_ask(address, q->elsewhere)) places.emplace_back(address, static_cast<std::uint16_t>(std::stoi(url.port)));
  if (places.empty()) co_return std::unexpected("leads to an address of this host or its link, where nobody is asked");
  co_await q->stream.async_connect(places, token(error));
  if (error) co_return std::unexpected("cannot be connected to: " + error.message());
  http::request<http::vector_body<std::uint8_t>> request(q->what.body.empty() ? http::verb::get : http::verb::post, url.target, 11);
  request.set(http::field::host, url.authority());
  request.set(http::field::user_agent, "culvertd");
  request.set(http::field::connection, "close");
  if (!q->what.body.empty()) {
    request.set(http::field::content_type, q->what.type);
    request.body() = q->what.body;
  }
  request.prepare_payload();
  co_await http::async_write(q->stream, request, token(error));
  if (error) co_return std::unexpected("does not take the question: " + error.message());
  http::response_parser<http::vector_body<std::uint8_t>> parser;
  parser.body_limit(q->what.max);
  parser.header_limit(8192);
  beast::flat_buffer buffer;
  co_await http::async_read(q->stream, buffer, parser, token(error));
  if (error == http::error::body_limit) co_return std::unexpected("answers with more than " + std::to_string(q->what.max) + " bytes");
  if (error) co_return std::unexpected("gives no complete answer: " + error.message());
  q->elsewhere = q->elsewhere || !q->stream.socket().remote_endpoint(error).address().is_loopback();
  q->stream.close();
  Answer out;
  auto response = parser.release();
  out.status = response.result_int();
  out.location = std::string(response[http::field::location]);
  out.body = std::move(response.body());
  co_return out;
}

asio::awaitable<void> run(QueryPtr q) {
  std::string at = q->what.url;
  for (unsigned redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    const auto url = parse_http_url(at);
    if (!url) co_return q->finish(std::unexpected("leads to something else than http"));
    auto answer = co_await ask(q, *url);
    if (q->late) co_return q->finish(std::unexpected("has not answered within " + std::to_string(kFetchTime.count()) + " seconds"));
    if (!answer) co_return q->finish(std::unexpected(std::move(answer.error())));
    if (answer->status == 200) co_return q->finish(std::move(answer->body));
    const bool moved =
        answer->status == 301 || answer->status == 302 || answer->status == 303 || answer->status == 307 || answer->status == 308;
    if (!moved || answer->location.empty())
      co_return q->finish(std::unexpected("answers with HTTP status " + std::to_string(answer->status)));
    at = answer->location.starts_with('/') ? "http://" + url->authority() + answer->location : answer->location;
  }
  q->finish(std::unexpected("redirects more than " + std::to_string(kMaxRedirects) + " times"));
}

}  // namespace

bool may_ask(const asio::ip::address& address, bool sent_here) {
  if (address.is_v6()) {
    const auto v6 = address.to_v6();
    if (v6.is_v4_mapped()) return may_ask(asio::ip::make_address_v4(asio::ip::v4_mapped, v6), sent_here);
    if (v6.is_link_local()) return false;
  } else if ((address.to_v4().to_uint() >> 16) == 0xa9fe) {
    return false;
  }
  return !sent_here || !(address.is_loopback() || address.is_unspecified());
}

void http_fetch(asio::io_context& context, Names& names, auth::Fetch what, auth::Fetched done) {
  auto q = std::make_shared<Query>(context, names);
  q->what = std::move(what);
  q->done = std::move(done);
  q->timer.expires_after(kFetchTime);
  q->timer.async_wait([q](const error_code& error) {
    if (error) return;
    q->late = true;
    q->resolved.cancel();
    q->stream.cancel();
    // A name that is being looked up cannot be called back: the answer does not wait for it.
    q->finish(std::unexpected("has not answered within " + std::to_string(kFetchTime.count()) + " seconds"));
  });
  asio::co_spawn(context, run(q), [q](const std::exception_ptr& e) {
    try {
      if (e) std::rethrow_exception(e);
    } catch (const std::exception& caught) {
      q->finish(std::unexpected(std::string("cannot be asked: ") + caught.what()));
    }
  });
}

}  // namespace culvert::control::io

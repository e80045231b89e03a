// One question over HTTP/1.1, for revocation lists and OCSP: GET, or POST with a body.
// Owns the bounds: kFetchTime in all, the size that the caller allows, kMaxRedirects, plain http only. Never blocks the event loop.
#pragma once

#include <chrono>

#include <boost/asio/io_context.hpp>

#include "control/auth/revocation.hpp"

namespace culvert::control::io {

inline constexpr std::chrono::seconds kFetchTime{4};  ///< names, connecting, redirects and the answer
inline constexpr unsigned kMaxRedirects = 3;

/// `done` is called once, later, in the thread of `context`.
void http_fetch(boost::asio::io_context& context, auth::Fetch what, auth::Fetched done);

/// "http://HOST[:PORT]/PATH?QUERY" in its parts; nullopt: something else. An IPv6 address stands in brackets.
struct HttpUrl {
  std::string host, port, target;
  [[nodiscard]] std::string authority() const;  ///< for the Host field
};
std::optional<HttpUrl> parse_http_url(std::string_view url);

}  // namespace culvert::control::io

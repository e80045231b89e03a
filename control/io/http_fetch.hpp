// One question over HTTP/1.1, for revocation lists and OCSP: GET, or POST with a body.
// Owns the bounds: kFetchTime in all, the size that the caller allows, kMaxRedirects, plain http only. Never blocks the event loop.
#pragma once

#include <chrono>

#include <boost/asio/io_context.hpp>

#include "control/auth/revocation.hpp"
#include "control/io/names.hpp"

namespace culvert::control::io {

inline constexpr std::chrono::seconds kFetchTime{4};  ///< names, connecting, redirects and the answer
inline constexpr unsigned kMaxRedirects = 3;

/// `done` is called once, later, in the thread of `context`. `names` outlives the context's work.
void http_fetch(boost::asio::io_context& context, Names& names, auth::Fetch what, auth::Fetched done);

/// Whether an address may be asked: none of the link (169.254/16, fe80::/10), where a cloud keeps its secrets. One of this host only where
/// the certificate itself names it, and not at the word of another host that redirects us (`sent_here`).
bool may_ask(const boost::asio::ip::address& address, bool sent_here);

/// "http://HOST[:PORT]/PATH?QUERY" in its parts; nullopt: something else. An IPv6 address stands in brackets.
struct HttpUrl {
  std::string host, port, target;
  [[nodiscard]] std::string authority() const;  ///< for the Host field
};
std::optional<HttpUrl> parse_http_url(std::string_view url);

}  // namespace culvert::control::io

// The secrets of connections, as the engine asks for them. Owns none: each is read at each use.
#include <algorithm>
#include <utility>

#include "control/gateway.hpp"

namespace culvert::control {

std::expected<SecretBytes, std::string> Gateway::secret(const std::string& connection) {
  const auto it = std::ranges::find(config_.connections, connection, &config::Connection::name);
  if (it == config_.connections.end()) return std::unexpected("the connection is not configured");
  auto secret = hooks_.read_secret(it->secret);
  if (secret) return secret;
  Event e;
  e.level = ike::Severity::Error;
  e.connection = connection;
  e.message = "secret cannot be read: " + secret.error();
  e.reason = ike::name(ike::Reason::NoSecret);
  journal_.write(std::move(e));
  return secret;
}

std::expected<SecretBytes, std::string> Gateway::xauth_password(const std::string& connection) {
  const auto it = std::ranges::find(config_.connections, connection, &config::Connection::name);
  if (it == config_.connections.end()) return std::unexpected("the connection is not configured");
  return hooks_.read_secret(it->xauth_client.password);
}

std::expected<SecretBytes, std::string> Gateway::ppk(const std::string& connection) {
  const auto it = std::ranges::find(config_.connections, connection, &config::Connection::name);
  if (it == config_.connections.end()) return std::unexpected("the connection is not configured");
  return hooks_.read_secret(it->ppk.secret);
}

}  // namespace culvert::control

// The engine's questions about secrets, keys and users: answered from the files that the configuration names, or passed on to whoever reads
// them off the loop. Keeps nothing of what it reads.
#include <algorithm>
#include <utility>

#include "common/config/rounds.hpp"
#include "control/gateway.hpp"

namespace culvert::control {

std::expected<SecretBytes, std::string> Gateway::secret(const std::string& connection) {
  const config::Connection* it = config::find_proofs(config_, connection);
  if (!it) return std::unexpected("the connection is not configured");
  auto secret = hooks_.read_secret(it->secret);
  if (secret) return secret;
  Event e;
  e.level = ike::Severity::Error;
  e.connection = config::owner_of(connection);
  e.message = "secret cannot be read: " + secret.error();
  e.reason = ike::name(ike::Reason::NoSecret);
  journal_.write(std::move(e));
  return secret;
}

std::expected<SecretBytes, std::string> Gateway::xauth_password(const std::string& connection) {
  const config::Connection* it = config::find_proofs(config_, connection);
  if (!it) return std::unexpected("the connection is not configured");
  return hooks_.read_secret(config::is_eap(it->local_auth.auth) ? it->local_auth.password : it->xauth_client.password);
}

std::expected<SecretBytes, std::string> Gateway::ppk(const std::string& connection) {
  const config::Connection* it = config::find_proofs(config_, connection);
  if (!it) return std::unexpected("the connection is not configured");
  return hooks_.read_secret(it->ppk.secret);
}

std::expected<ike::AuthMethod, std::string> Gateway::signing_method(const std::string& connection) {
  if (!hooks_.signing_method) return std::unexpected("no private key is configured");
  return hooks_.signing_method(connection);
}
std::vector<Bytes> Gateway::certificates(const std::string& connection) {
  return hooks_.certificates ? hooks_.certificates(connection) : std::vector<Bytes>{};
}
std::vector<Bytes> Gateway::authorities(const std::string& connection) {
  return hooks_.authorities ? hooks_.authorities(connection) : std::vector<Bytes>{};
}

void Gateway::act(ike::TimePoint, ike::CheckUser& action) {
  const auto it = std::ranges::find(config_.connections, action.connection, &config::Connection::name);
  const config::SecretRef users = it == config_.connections.end() ? config::SecretRef{} : it->xauth_server.users;
  hooks_.check_user(std::move(action), users);
}

void Gateway::act(ike::TimePoint now, ike::AskRadius& action) { radius_.ask(now, std::move(action)); }

bool Gateway::settle_radius(ike::TimePoint now) {
  for (radius::Send& send : radius_.take_sends())
    if (hooks_.send_radius) hooks_.send_radius(std::move(send));
  for (const std::string& news : radius_.take_news()) journal_.warn(news);
  const auto answers = radius_.take_answers();
  for (const ike::RadiusAnswer& answer : answers) engine_.on_radius(now, answer);
  return !answers.empty();
}

void Gateway::on_radius(ike::TimePoint now, std::size_t server, std::uint32_t socket, ByteView datagram) {
  now_ = now;
  radius_.on_datagram(now, server, socket, datagram);
  perform(now);
}

void Gateway::act(ike::TimePoint, ike::FindUser& action) {
  const config::Connection* it = config::find_proofs(config_, action.connection);
  const config::SecretRef users = it ? it->remote_auth.users : config::SecretRef{};
  hooks_.find_user(std::move(action), users);
}

void Gateway::act(ike::TimePoint, ike::FindName& action) { hooks_.find_name(std::move(action)); }

}  // namespace culvert::control

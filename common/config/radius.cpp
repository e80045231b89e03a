#include "common/config/radius.hpp"

#include <set>
#include <utility>

namespace culvert::config {

namespace {
using namespace std::chrono_literals;

constexpr std::size_t kMaxText = 253;  // of an attribute (RFC 2865 §5)

Section<RadiusServer> server_section() {
  return Section<RadiusServer>()
      .key("address", &RadiusServer::address, address(), "Where it is.")
      .required("10.1.0.5")
      .key("auth_port", &RadiusServer::auth_port, number<std::uint16_t>(1, 65535, "a port"), "Its UDP port for questions about users.")
      .key("secret", &RadiusServer::secret, secret_reference(),
           "Where the secret is that it shares with this gateway: a file of mode 0600 (one newline at its end is cut) or an environment "
           "variable. Read at each use.")
      .required("file:/etc/culvert/radius.secret")
      .key("preference", &RadiusServer::preference, number<std::uint32_t>(0, 99),
           "Of the servers that answer the one with the largest number is asked; of equal ones that with less to do.")
      .key("sockets", &RadiusServer::sockets, number<std::uint32_t>(1, kMaxRadiusSockets),
           "UDP sockets towards it; each is good for 256 questions at a time.")
      .key("source", &RadiusServer::source, maybe(address()), "The own address that it is asked from.")
      .derived("that of the route to it")
      .example("10.1.0.1")
      .key("nas_identifier", &RadiusServer::nas_identifier, text("a name, or empty: that of radius", kMaxText),
           "NAS-Identifier towards this server.");
}
}  // namespace

Section<Radius> radius_section() {
  return Section<Radius>()
      .key("nas_identifier", &Radius::nas_identifier, text("a name", kMaxText), "What we call ourselves (NAS-Identifier).")
      .key("retransmit_timeout", &Radius::retransmit_timeout, duration<Milliseconds>(100ms, 60s),
           "Wait before a question is sent again for the first time.")
      .key("retransmit_base", &Radius::retransmit_base, factor(1, 4), "Each further wait is longer by this factor.")
      .key("retransmit_tries", &Radius::retransmit_tries, number<std::uint32_t>(0, 20),
           "A question is sent again so many times; then the server is taken for dead, and the next one is asked.")
      .key("timeout", &Radius::timeout, duration<Seconds>(1s, 2min), "Time of a question, all servers together; then the user is refused.")
      .key("dead_time", &Radius::dead_time, duration<Seconds>(1s, 1h, "at once"),
           "A server that was taken for dead is asked again after so long, or when no other is left.")
      .key("station_id_with_port", &Radius::station_id_with_port, boolean(),
           "Whether Called-Station-Id and Calling-Station-Id have the port behind the address: 192.0.2.1[4500].")
      .named("servers", &Radius::servers, server_section(), kMaxRadiusServers, "main", "The servers by name.");
}

void validate_radius(const GatewayConfig& config, const Where& root) {
  const Where here = root.key("radius").key("servers");
  std::set<std::pair<IpAddress, std::uint16_t>> seen;
  for (std::size_t i = 0; i < config.radius.servers.size(); ++i) {
    const RadiusServer& server = config.radius.servers[i];
    const Where at = here.entry(i);
    if (!at.clean({"address", "auth_port", "source"})) continue;
    if (!seen.emplace(server.address, server.auth_port).second)
      at.key("address").error("expected another address or auth_port: there is a server at " + server.address.to_string() + " already");
    if (server.source && server.source->family != server.address.family) at.key("source").error("expected the address family of address");
  }
  if (!config.radius.servers.empty() || root.sink->failed("radius")) return;
  for (std::size_t i = 0; i < config.connections.size(); ++i)
    if (const RemoteAuth* user = user_auth(config.connections[i]); user && user->auth == Proof::EapRadius)
      return root.key("connections")
          .entry(i)
          .key(user->place.section)
          .key("auth")
          .error("expected a server in radius.servers, since auth is eap-radius: without, nobody could come in");
}

}  // namespace culvert::config

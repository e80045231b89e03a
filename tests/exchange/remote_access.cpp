#include "tests/exchange/remote_access.hpp"

namespace culvert::test {

void serve(config::GatewayConfig& server) {
  config::Pool pool;
  pool.name = "clients";
  pool.addrs = TrafficSelector::parse("10.3.0.1-10.3.0.254").value();
  pool.dns = {IpAddress::parse("10.2.0.53").value()};
  pool.split_include = {Prefix::parse("10.2.0.0/24").value()};
  pool.banner = "Welcome.";
  pool.domain = "example.org";
  server.pools = {pool};
  server.connections[0].xauth_server.users = {config::SecretRef::Kind::File, "/users"};
  server.connections[0].pools = {"clients"};
}

void visit(config::GatewayConfig& client, const std::string& user) {
  client.connections[0].xauth_client = {user, {config::SecretRef::Kind::File, "/password"}};
  client.connections[0].vips = {IpAddress::parse("0.0.0.0").value()};
}

Pair client_and_server(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change) {
  Pair out = two_sites(world, [&](auto& a, auto& b) {
    visit(a, "alice");
    serve(b);
    if (change) change(a, b);
  });
  out.a.password = "alicepw";
  out.b.users = {{"alice", "alicepw"}};
  return out;
}

std::size_t leased(const Host& server) {
  std::size_t n = 0;
  for (const ike::PoolInfo& p : server.engine->pools()) n += p.online;
  return n;
}

}  // namespace culvert::test

// A server with users and a pool of addresses, and clients of it. Owns the two configurations, for tests and seeds alike.
#pragma once

#include <functional>

#include "tests/exchange/world.hpp"

namespace culvert::test {

/// Its peers are users, and get addresses of 10.3.0.0/24.
void serve(config::GatewayConfig& server);
/// It is `user` and wants an address.
void visit(config::GatewayConfig& client, const std::string& user);
/// A at 10.9.0.1 is the client alice and starts, B at 10.9.0.2 is the server, who knows her password.
Pair client_and_server(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {});
/// Addresses of pools that are somebody's now.
std::size_t leased(const Host& server);

}  // namespace culvert::test

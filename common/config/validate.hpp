// Checks that span several keys: addresses against networks, lifetimes against each other, selectors across connections.
// Each finding stands at the value that has to change. A check is left out where a value that it needs has an error already.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "common/config/config.hpp"
#include "common/config/diagnostic.hpp"
#include "common/config/tree.hpp"

namespace culvert::config {

/// Checks what `root` was read into, and adds warnings about weak choices.
void validate(const GatewayConfig& config, const Node& root, Sink& sink);

/// A key's place while checks walk along the tree. A key that is absent has the position of the map that lacks it.
struct Where {
  Sink* sink;
  const Node* node;
  std::string path;

  [[nodiscard]] Where key(std::string_view name) const;
  [[nodiscard]] Where item(std::size_t index) const;   ///< of a list; a scalar that stands for a list of one is its own item
  [[nodiscard]] Where entry(std::size_t index) const;  ///< of a map, by order
  void error(std::string message, std::string suggestion = {}) const {
    sink->error(node->at, path, std::move(message), std::move(suggestion));
  }
  void warning(std::string message) const { sink->warning(node->at, path, std::move(message)); }
  [[nodiscard]] bool clean() const { return sink->clean(path); }
  /// Whether these keys of this map are all free of errors.
  [[nodiscard]] bool clean(std::initializer_list<std::string_view> keys) const;
};

/// Whether all addresses of all ports and VLANs could be read: else nothing can be said about addresses elsewhere.
bool networks_known(const GatewayConfig& config, const Where& root);
/// Whether it is an address of this gateway in that VRF.
bool own_address(const GatewayConfig& config, VrfId vrf, const IpAddress& a);
bool overlap(const Prefix& a, const Prefix& b);
/// As errors name it: "port 'wan'", "VLAN 'wan.100'".
std::string shown(const Interface& interface);

// The parts of validate(), by section.
/// False: which VRF something is in is not known.
bool validate_vrfs(const GatewayConfig& config, const Where& root);
void validate_dataplane(const GatewayConfig& config, const Where& root);
void validate_ports(const GatewayConfig& config, const Where& root);
void validate_interfaces(const GatewayConfig& config, const Where& root);
void validate_routes(const GatewayConfig& config, const Where& root);
void validate_tunnels(const GatewayConfig& config, const Where& root);
void validate_policies(const GatewayConfig& config, const Where& root);
void validate_connections(const GatewayConfig& config, const Where& root);
void validate_auth(const Connection& connection, const Where& at);
/// Files and secrets, of either version: a part of the two others. `auth` of both sides was read.
void validate_credentials(const Connection& connection, const Where& at);
/// What each version has of its own, and how both sides prove themselves in it.
void validate_version_1(const Connection& connection, const Where& at);
void validate_version_2(const Connection& connection, const Where& at);

}  // namespace culvert::config

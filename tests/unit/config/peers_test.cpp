// Where peers may be, and tunnel interfaces: what a file with them becomes, and what a broken one is told.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/config/load.hpp"

using namespace culvert;
using namespace culvert::config;

namespace {
const std::string kBase = R"(dataplane: {workers: [0], memory: {hugepages: false, size: 256MB, mbufs: 8192}}
ports:
  wan: {device: "net_af_packet0,iface=gw0", addresses: [10.9.0.1/24]}
  lan: {device: "net_af_packet1,iface=in0", addresses: [10.1.0.1/24]}
tunnels:
  st0: {addresses: [169.254.1.1/30]}
  st1: {}
routes:
  - {to: 10.2.0.0/24, tunnel: st0}
  - {to: 10.3.0.0/24, tunnel: st1}
connections:
  b:
    local_addrs: 10.9.0.1
    remote_addrs: 10.9.0.2
    proposals: [aes256-sha256-modp2048]
    remote: {id: gw-b.example}
    secret: file:/run/x/psk
    children:
      net: {local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0, esp_proposals: [aes128gcm16], tunnel: st0}
  c:
    local_addrs: 10.9.0.1
    remote_addrs: [10.9.0.3, 10.9.0.64/26, 10.9.0.200-10.9.0.210]
    proposals: [aes256-sha256-modp2048]
    remote: {id: gw-c.example}
    secret: file:/run/x/psk
    children:
      net: {local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0, esp_proposals: [aes128gcm16], tunnel: st1}
)";

std::vector<std::string> findings(const std::string& find, const std::string& replace) {
  std::string text = kBase;
  if (!find.empty()) {
    REQUIRE(text.find(find) != std::string::npos);
    text.replace(text.find(find), find.size(), replace);
  }
  const auto loaded = load_text(text, "");
  std::vector<std::string> out;
  for (const auto& d : loaded ? loaded->warnings : loaded.error()) out.push_back(d.to_string());
  return out;
}
}  // namespace

TEST_CASE("addresses, networks and ranges of peers, and children of tunnels", "[config][peers]") {
  REQUIRE(findings("", "").empty());
  const GatewayConfig c = load_text(kBase, "")->config;
  const Connection& third = c.connections.at(1);
  CHECK(third.remote_addrs == std::vector{IpAddress::v4(0x0a090003)});
  REQUIRE(third.remote_ranges.size() == 2);
  CHECK(third.remote_ranges[0].to_string() == "10.9.0.64/26");
  CHECK(third.remote_ranges[1].to_string() == "10.9.0.200-10.9.0.210");
  REQUIRE(c.tunnels.size() == 2);
  CHECK(c.tunnels[0].addresses.at(0).to_string() == "169.254.1.1/30");
  CHECK(c.routes.at(0).tunnel == "st0");
  CHECK(third.children.at(0).tunnel == "st1");
}

TEST_CASE("addresses of peers that make no sense are refused", "[config][peers][findings]") {
  struct Row {
    std::string what, replace;
    std::vector<std::string> expected;
  };
  const std::string takes =
      "an IP address such as 10.9.0.1 or 2001:db8::1, a network such as 10.9.4.0/24 or a range such as 10.9.5.1-10.9.5.9";
  const std::string at = ":22:19: connections.c.remote_addrs: expected " + takes;
  for (const Row& r : {Row{"host bits", "10.9.0.65/26", {at + ", without host bits, got '10.9.0.65/26'; did you mean '10.9.0.64/26'?"}},
                       Row{"descending", "10.9.0.9-10.9.0.3", {at + ", got '10.9.0.9-10.9.0.3'"}},
                       Row{"everything", "0.0.0.0/0", {at + ", got '0.0.0.0/0'; did you mean '%any'?"}},
                       Row{"a protocol", "10.9.0.0/24[tcp]", {at + ", got '10.9.0.0/24[tcp]'"}},
                       Row{"one that begins, where nobody can be called", "10.9.0.64/26", {}}}) {
    INFO(r.what);
    CHECK(findings("[10.9.0.3, 10.9.0.64/26, 10.9.0.200-10.9.0.210]", r.replace) == r.expected);
  }
}

TEST_CASE("tunnels that lead nowhere, or to two peers, are refused", "[config][tunnels][findings][attack-I7]") {
  struct Row {
    std::string what, find, replace;
    std::vector<std::string> expected;
  };
  const std::string one =
      "expected a connection for one peer: remote.id without a pattern, no unique: never or no, no remote.xauth, no EAP; each peer has a "
      "tunnel";
  const std::string nets =
      "expected one network for local_ts and one for remote_ts, 0.0.0.0/0 for all: routes choose what goes into a tunnel";
  for (const Row& r : {Row{"a route into a tunnel that there is not",
                           "tunnel: st1}\nconn",
                           "tunnel: st2}\nconn",
                           {":10:31: routes[1].tunnel: there is no tunnel 'st2'; did you mean 'st0'?"}},
                       Row{"a child of one",
                           "tunnel: st0}\n  c:",
                           "tunnel: tunnel0}\n  c:",
                           {":9:31: warning: routes[0].tunnel: no child is bound to the tunnel 'st0': what goes there is dropped",
                            ":19:94: connections.b.children.net.tunnel: there is no tunnel 'tunnel0'"}},
                       Row{"two children",
                           "tunnel: st0}\n  c:",
                           "tunnel: st1}\n  c:",
                           {":9:31: warning: routes[0].tunnel: no child is bound to the tunnel 'st0': what goes there is dropped",
                            ":27:94: connections.c.children.net.tunnel: the child 'b/net' is bound to this tunnel already"}},
                       Row{"no child",
                           ", tunnel: st0}\n  c:",
                           "}\n  c:",
                           {":9:31: warning: routes[0].tunnel: no child is bound to the tunnel 'st0': what goes there is dropped"}},
                       Row{"whoever comes",
                           "remote: {id: gw-b.example}",
                           "remote: {id: \"*.example\"}",
                           {":19:94: connections.b.children.net.tunnel: " + one}},
                       Row{"a group",
                           "remote: {id: gw-b.example}",
                           "unique: never\n    remote: {id: gw-b.example}",
                           {":20:94: connections.b.children.net.tunnel: " + one}},
                       Row{"several selectors",
                           "local_ts: 0.0.0.0/0",
                           "local_ts: [10.1.0.0/24, 10.4.0.0/24]",
                           {":19:111: connections.b.children.net.tunnel: " + nets}},
                       Row{"both a tunnel and a next hop",
                           "{to: 10.2.0.0/24, tunnel",
                           "{to: 10.2.0.0/24, via: 10.9.0.2, tunnel",
                           {":9:46: routes[0].tunnel: expected either tunnel, or via and port"}},
                       Row{"the peer is inside of a tunnel",
                           "remote_addrs: 10.9.0.2\n",
                           "remote_addrs: 10.3.0.7\n",
                           {":14:19: connections.b.remote_addrs: expected a peer outside of all tunnels, but its route leads into the "
                            "tunnel 'st1': it needs "
                            "one of its own"}},
                       Row{"a network twice",
                           "169.254.1.1/30",
                           "10.1.0.129/25",
                           {":6:21: tunnels.st0.addresses[0]: its network overlaps with 10.1.0.1/24 of port 'lan'"}}}) {
    INFO(r.what);
    CHECK(findings(r.find, r.replace) == r.expected);
  }
}

// VRFs in the configuration: two customers with the same networks, addresses and selectors, inside and outside; and what is refused.
#include <catch2/catch.hpp>

#include "common/config/load.hpp"

using namespace culvert;
using namespace culvert::config;

namespace {
const std::string kBase = R"(dataplane: {workers: [0], memory: {hugepages: false, size: 256MB, mbufs: 8192}}
vrfs: [red, blue]
ports:
  wan: {device: "net_af_packet0,iface=gw0", addresses: [10.9.0.1/24]}
  lan-red: {device: "net_af_packet1,iface=in0", addresses: [10.1.0.1/24], vrf: red}
  lan-blue: {device: "net_af_packet2,iface=in1", addresses: [10.1.0.1/24], vrf: blue}
vlans:
  wan-blue: {port: wan, id: 6, addresses: [10.9.0.1/24], vrf: blue}
tunnels:
  st0: {addresses: [169.254.1.1/30], vrf: red}
  st1: {addresses: [169.254.1.1/30], vrf: blue}
routes:
  - {to: 10.7.0.0/16, via: 10.1.0.7, vrf: red}
  - {to: 10.7.0.0/16, via: 10.1.0.8, vrf: blue}
  - {to: 10.8.0.0/16, tunnel: st0, vrf: red}
policies:
  - {name: same, action: bypass, local_ts: 10.1.0.0/24, remote_ts: 10.7.0.0/16, vrf: red}
  - {name: too, action: bypass, local_ts: 10.1.0.0/24, remote_ts: 10.7.0.0/16, vrf: blue}
pools:
  p-red: {addrs: 10.3.0.0/24, vrf: red}
  p-blue: {addrs: 10.3.0.0/24, vrf: blue}
connections:
  red:
    local_addrs: 10.9.0.1
    remote_addrs: [10.9.0.2]
    proposals: [aes256-sha256-modp2048]
    local: {id: gw-a.example}
    remote: {id: gw-b.example}
    secret: file:/run/x/psk
    children:
      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: [aes128gcm16], vrf: red}
      all: {local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0, esp_proposals: [aes128gcm16], vrf: red, tunnel: st0}
  blue:
    local_addrs: 10.9.0.1
    remote_addrs: [10.9.0.2]
    vrf: blue
    proposals: [aes256-sha256-modp2048]
    local: {id: gw-a.example}
    remote: {id: gw-c.example}
    secret: file:/run/x/psk
    children:
      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: [aes128gcm16]}
      out: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: [aes128gcm16], vrf: default}
)";

std::string changed(const std::string& find, const std::string& replace) {
  std::string text = kBase;
  const auto at = text.find(find);
  REQUIRE(at != std::string::npos);
  return text.replace(at, find.size(), replace);
}
}  // namespace

TEST_CASE("vrfs: the same addresses, networks and selectors in two of them", "[config][vrf]") {
  const auto loaded = load_text(kBase, "gw.yaml");
  if (!loaded)
    for (const auto& d : loaded.error()) UNSCOPED_INFO(d.to_string());
  REQUIRE(loaded);
  CHECK(loaded->warnings.empty());
  const GatewayConfig& c = loaded->config;
  CHECK(vrf_named(c, "default") == VrfId{0});
  CHECK(vrf_named(c, "red") == VrfId{1});
  CHECK(vrf_named(c, "blue") == VrfId{2});
  CHECK_FALSE(vrf_named(c, "green"));
  CHECK(vrf_name(c, 0) == "default");
  CHECK(vrf_name(c, 2) == "blue");
  const auto all = interfaces(c);
  REQUIRE(all.size() == 4);
  CHECK((all[0].vrf == 0 && all[1].vrf == 1 && all[2].vrf == 2 && all[3].vrf == 2));
  CHECK((c.tunnels[0].vrf.id == 1 && c.routes[1].vrf.id == 2 && c.policies[1].vrf.id == 2 && c.pools[0].vrf.id == 1));
  CHECK((c.connections[0].vrf.id == 0 && c.connections[0].children[0].vrf.id == 1));
  CHECK((c.connections[1].vrf.id == 2 && c.connections[1].children[0].vrf.id == 2 && c.connections[1].children[1].vrf.id == 0));
}

TEST_CASE("vrfs: the planes can tell whether they number them alike", "[config][vrf]") {
  const auto print = [](std::vector<std::string> names) {
    GatewayConfig c;
    c.vrfs = std::move(names);
    return vrf_fingerprint(c);
  };
  CHECK(print({}) == 0);
  CHECK(print({"a", "b"}) == print({"a", "b"}));
  CHECK(print({"a", "b"}) != print({"b", "a"}));
  CHECK(print({"ab"}) != print({"a", "b"}));
  CHECK(print({"a"}) != 0);
}

TEST_CASE("vrfs: what does not fit together is refused", "[config][vrf]") {
  struct Row {
    const char *what, *find, *replace, *expected;
  };
  for (const Row& r :
       {Row{"a name that there is not", "addresses: [10.1.0.1/24], vrf: red", "addresses: [10.1.0.1/24], vrf: rde",
            ":5:80: ports.lan-red.vrf: there is no VRF 'rde' in vrfs; did you mean 'red'?"},
        Row{"of a child", "[aes128gcm16], vrf: red}", "[aes128gcm16], vrf: bleu}",
            "connections.red.children.net.vrf: there is no VRF 'bleu' in vrfs; did you mean 'blue'?"},
        Row{"of a route", "via: 10.1.0.8, vrf: blue", "via: 10.1.0.8, vrf: green", "routes[1].vrf: there is no VRF 'green' in vrfs"},
        Row{"the default one's name", "vrfs: [red, blue]", "vrfs: [red, blue, default]",
            ":2:19: vrfs[2]: expected another name: 'default' is that of the VRF which is there in any case"},
        Row{"twice", "vrfs: [red, blue]", "vrfs: [red, blue, red]", "vrfs[2]: there is a VRF 'red' already"},
        Row{"an odd name", "vrfs: [red, blue]", "vrfs: [red, blue, 'a b']", "vrfs[2]: expected a name of 1 to 30 letters"},
        Row{"an address twice in one", "addresses: [10.1.0.1/24], vrf: blue", "addresses: [10.1.0.1/24], vrf: red",
            "ports.lan-blue.addresses[0]: the address 10.1.0.1 is also that of port 'lan-red'"},
        Row{"networks that overlap in one", "addresses: [10.1.0.1/24], vrf: blue", "addresses: [10.9.0.9/16]",
            "ports.lan-blue.addresses[0]: its network overlaps with 10.9.0.1/24 of port 'wan'"},
        Row{"tunnels that overlap in one", "addresses: [169.254.1.1/30], vrf: blue", "addresses: [169.254.1.1/30], vrf: red",
            "tunnels.st1.addresses[0]: its network overlaps with 169.254.1.1/30 of tunnel 'st0'"},
        Row{"a route by a port of another one", "via: 10.1.0.7, vrf: red}", "via: 10.9.0.7, port: wan, vrf: red}",
            "routes[0].port: expected a port or VLAN of its VRF 'red', but port 'wan' is of VRF 'default': nothing is routed from one into "
            "another"},
        Row{"a next hop of another one", "via: 10.1.0.7, vrf: red}", "via: 10.9.0.7, vrf: red}",
            "routes[0].via: expected an address on a network of a port of VRF 'red', but 10.9.0.7 is on none"},
        Row{"a route twice in one", "via: 10.1.0.8, vrf: blue", "via: 10.1.0.8, vrf: red",
            "routes[1].to: there is a route to 10.7.0.0/16 already: routes[0]"},
        Row{"a route into a tunnel of another one", "tunnel: st0, vrf: red}\npol", "tunnel: st1, vrf: red}\npol",
            "routes[2].tunnel: expected a tunnel of its VRF 'red', but 'st1' is of VRF 'blue'"},
        Row{"a child bound to a tunnel of another one", "vrf: red, tunnel: st0", "vrf: red, tunnel: st1",
            "connections.red.children.all.tunnel: expected a tunnel of its VRF 'red', but 'st1' is of VRF 'blue'"},
        Row{"an outer address of another one", "    vrf: blue\n    proposals", "    vrf: red\n    proposals",
            "connections.blue.local_addrs: expected an address of a port of VRF 'red' (10.1.0.1), got 10.9.0.1"},
        Row{"children with the same selectors in one", "[aes128gcm16], vrf: default}", "[aes128gcm16]}",
            "connections.blue.children.out.remote_ts: the child 'blue/net' has the same selectors: this one would never carry a packet"},
        Row{"transport mode into another one", "local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: [aes128gcm16], vrf: red",
            "mode: transport, local_ts: 10.9.0.1, remote_ts: 10.9.0.2, esp_proposals: [aes128gcm16], vrf: red",
            "connections.red.children.net.vrf: expected that of the connection, or none, with mode: transport"},
        Row{"a pool of another one",
            "    children:\n      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: [aes128gcm16], vrf",
            "    pools: [p-blue]\n    children:\n      net: {local_ts: 10.1.0.0/24, remote_ts: dynamic, esp_proposals: [aes128gcm16], vrf",
            "connections.red.children.net.vrf: expected VRF 'blue', that of the pool 'p-blue' whose addresses its peers have, got VRF "
            "'red'"},
        Row{"pools that overlap in one", "addrs: 10.3.0.0/24, vrf: blue", "addrs: 10.3.0.0/24, vrf: red",
            "pools.p-blue.addrs: expected addresses that no other pool has; pool 'p-red' has some of them"}}) {
    INFO(r.what);
    const auto loaded = load_text(changed(r.find, r.replace), "gw.yaml");
    REQUIRE_FALSE(loaded);
    bool said = false;
    for (const auto& d : loaded.error()) {
      UNSCOPED_INFO(d.to_string());
      said = said || d.to_string().find(r.expected) != std::string::npos;
    }
    CHECK(said);
  }
}

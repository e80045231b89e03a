// RADIUS servers, and the connections whose users they know: what is read, what is missing, what is refused.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/config/load.hpp"
#include "tests/unit/config/version_text.hpp"

using namespace culvert;
using namespace culvert::config;
using namespace culvert::test;

namespace {
const std::string kSides = "    local: {id: gw-a.example}\n    remote: {id: gw-b.example}\n    secret: file:/run/x/psk\n";
const std::string kServer = "{address: 10.1.0.5, secret: \"file:/s\"}";

/// A gateway whose users a RADIUS server knows, and these servers.
std::string gateway(const std::string& servers, const std::string& radius = "", const std::string& remote = "auth: eap-radius") {
  return with(
      "connections:", "radius:\n" + radius + "  servers: {" + servers + "}\nconnections:",
      with(kSides, "    local: {auth: pubkey, id: gw-a.example, certs: /a.pem, key: \"file:/a.key\"}\n    remote: {" + remote + "}\n"));
}

std::string only(const std::string& text) {
  const auto found = findings(text);
  for (const auto& f : found) UNSCOPED_INFO(f);
  REQUIRE(found.size() == 1);
  return found[0];
}
}  // namespace

TEST_CASE("RADIUS servers and who asks them", "[config][radius]") {
  CHECK(findings(gateway("main: " + kServer)).empty());
  const auto loaded =
      load_text(gateway("main: " + kServer +
                            ", spare: {address: \"2001:db8::5\", auth_port: 1645, secret: \"env:S\", preference: 7, sockets: 4, "
                            "source: \"2001:db8::1\", nas_identifier: other}",
                        "  nas_identifier: gw-a\n  retransmit_timeout: 250ms\n  retransmit_base: 2\n  retransmit_tries: 0\n"
                        "  timeout: 10s\n  dead_time: 5m\n  station_id_with_port: false\n"),
                "x.yaml");
  REQUIRE(loaded);
  const Radius& r = loaded->config.radius;
  CHECK(loaded->config.connections[0].remote_auth.auth == Proof::EapRadius);
  CHECK(r.nas_identifier == "gw-a");
  CHECK(r.retransmit_timeout == Milliseconds{250});
  CHECK(r.retransmit_tries == 0);
  CHECK(r.timeout == Seconds{10});
  CHECK(r.dead_time == Seconds{300});
  CHECK_FALSE(r.station_id_with_port);
  REQUIRE(r.servers.size() == 2);
  CHECK(r.servers[0].name == "main");
  CHECK(r.servers[0].auth_port == 1812);
  CHECK(r.servers[0].secret.where == "/s");
  CHECK_FALSE(r.servers[0].source);
  CHECK(r.servers[1].auth_port == 1645);
  CHECK(r.servers[1].preference == 7);
  CHECK(r.servers[1].sockets == 4);
  CHECK(r.servers[1].source->to_string() == "2001:db8::1");
  CHECK(r.servers[1].nas_identifier == "other");
}

TEST_CASE("what is wrong about RADIUS is said where it stands", "[config][radius]") {
  const auto says = [](const std::string& text, const std::string& what) {
    const std::string found = only(text);
    INFO(found);
    CHECK(found.find(what) != std::string::npos);
  };
  says(gateway(""), "connections.b.remote.auth: expected a server in radius.servers, since auth is eap-radius");
  says(gateway("main: {address: 10.1.0.5}"), "radius.servers.main.secret: the key is missing");
  says(gateway("main: {secret: \"file:/s\"}"), "radius.servers.main.address: the key is missing");
  says(gateway("main: {address: radius.example, secret: \"file:/s\"}"), "radius.servers.main.address: expected an IP address");
  says(gateway("main: {address: 10.1.0.5, secret: testing123}"), "a secret itself may not stand in this file");
  CHECK(only(gateway("main: {address: 10.1.0.5, secret: testing123}")).find("testing123") == std::string::npos);
  says(gateway("main: {address: 10.1.0.5, secret: \"file:/s\", auth_prot: 1812}"), "unknown key; did you mean 'auth_port'?");
  says(gateway("main: " + kServer, "  retransmit_trys: 3\n"), "unknown key; did you mean 'retransmit_tries'?");
  says(gateway("a: " + kServer + ", b: " + kServer), "radius.servers.b.address: expected another address or auth_port");
  says(gateway("main: {address: 10.1.0.5, secret: \"file:/s\", source: \"2001:db8::1\"}"),
       "servers.main.source: expected the address family");
  says(gateway("main: {address: 10.1.0.5, secret: \"file:/s\", sockets: 17}"), "servers.main.sockets: expected a number from 1 to 16");
  says(gateway("main: " + kServer, "", "auth: eap-radius, users: \"file:/u\""),
       "users: no file of users is looked at, since auth is eap-radius");
  says(gateway("main: " + kServer, "", "auth: eap-raduis"), "did you mean 'eap-radius'?");
}

TEST_CASE("eap-radius is how a peer is checked, by a gateway that proves itself", "[config][radius]") {
  const auto local = findings(
      with(kSides, "    local: {id: gw-a.example, auth: eap-radius}\n    remote: {auth: pubkey, id: gw-b.example, cacerts: /ca.pem}\n"));
  REQUIRE(local.size() == 1);
  CHECK(local[0].find("local.auth: expected psk, pubkey, xauth, eap-mschapv2, eap-md5 or eap-tls") != std::string::npos);
  const auto psk =
      findings(with("id: gw-b.example", "auth: eap-radius", with("connections:", "radius: {servers: {m: " + kServer + "}}\nconnections:")));
  REQUIRE(psk.size() == 1);
  CHECK(psk[0].find("local.auth: expected pubkey, since remote.auth is EAP") != std::string::npos);
}

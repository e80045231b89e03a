// Several proofs of one side (RFC 4739): which sections there are, in which order, and what several of them may be.
#include "common/config/rounds.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/config/version_text.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::config;

namespace {
const std::string kOwn = "local: {auth: pubkey, id: gw-a.example, certs: [/c/a.pem], key: \"file:/c/a.key\"}";
const std::string kPeer = "remote: {auth: pubkey, id: gw-b.example, cacerts: [/c/ca.pem]}";

/// The connection with these sections in place of `local` and `remote`.
std::string sides(const std::string& sections, std::string text = kBase) {
  text = with("    local: {id: gw-a.example}\n    remote: {id: gw-b.example}\n", "", std::move(text));
  return with("    version: 2\n", sections + "    version: 2\n", std::move(text));
}
std::string lines(std::initializer_list<std::string> all) {
  std::string out;
  for (const std::string& line : all) out += "    " + line + "\n";
  return out;
}
}  // namespace

TEST_CASE("further sections are further rounds, by their number, then in the order of the file", "[config][rounds][rfc4739]") {
  const Connection c = connection(sides(lines({kOwn, "remote-b: {auth: psk, round: 7}", "local-2: {auth: psk, id: second.example}",
                                               "remote: {auth: pubkey, id: gw-b.example, cacerts: [/c/ca.pem], round: 9}",
                                               "remote2: {auth: pubkey, cacerts: [/c/other.pem], round: 8, id: \"*.example\"}"})));
  CHECK(c.local_rounds == 2);
  CHECK(c.remote_rounds == 3);
  REQUIRE(c.rounds.size() == 2);
  CHECK(c.local_id.text == "gw-a.example");
  CHECK(c.remote_auth.auth == Proof::Psk);
  CHECK(c.remote_auth.place.section == "remote-b");
  const Connection &two = proofs(c, 1), &three = proofs(c, 2);
  CHECK(two.name == "b/2");
  CHECK(two.local_auth.auth == Proof::Psk);
  CHECK(two.local_id.text == "second.example");
  CHECK(two.remote_auth.cacerts == std::vector<std::string>{"/c/other.pem"});
  CHECK(two.remote_id.text == "*.example");
  CHECK(two.secret.where == "/run/x/psk");
  CHECK(three.local_auth.auth == Proof::Psk);  // has no third one: its last
  CHECK(three.remote_id.text == "gw-b.example");
  GatewayConfig all;
  all.connections = {c};
  CHECK(find_proofs(all, "b/3") == &all.connections[0].rounds[1]);
  CHECK(find_proofs(all, "b") == &all.connections[0]);
  CHECK_FALSE(find_proofs(all, "b/4"));
}

TEST_CASE("a user behind his machine's certificate, and no section without a suffix", "[config][rounds][rfc4739]") {
  const std::string text = sides(lines({"local-cert: {auth: pubkey, id: gw-a.example, certs: [/c/a.pem], key: \"file:/c/a.key\"}",
                                        "remote-machine: {auth: pubkey, cacerts: [/c/ca.pem], id: \"*.example\"}",
                                        "remote-eap: {auth: eap-mschapv2, users: \"file:/u\", eap_id: \"a*\"}"}));
  const Connection c = connection(with("    secret: file:/run/x/psk\n", "", text));
  CHECK(c.local_rounds == 1);
  REQUIRE(user_auth(c));
  CHECK(user_auth(c)->eap_id == "a*");
  CHECK(user_auth(c)->place.section == "remote-eap");
  CHECK(c.local_auth.place.section == "local-cert");
  const auto found = findings(text);  // the secret that nothing uses
  REQUIRE(found.size() == 1);
  CHECK(found[0].find("no pre-shared key is used") != std::string::npos);
}

TEST_CASE("without an identity the secret's round has the address, and a certificate's waits for its subject", "[config][rounds]") {
  const Connection c =
      connection(sides(lines({kPeer, "local: {auth: psk}", "local-2: {auth: pubkey, certs: [/c/a.pem], key: \"file:/c/a.key\"}"})));
  CHECK(c.local_id.text == "10.9.0.1");
  CHECK(proofs(c, 1).local_id.type == Identity::Type::Any);
}

TEST_CASE("what is wrong with several sections stands at the one that has to change", "[config][rounds][findings]") {
  struct Row {
    std::string sections;
    const char* says;
  };
  const std::string psk = "remote-2: {auth: psk}", user = "remote-2: {auth: eap-mschapv2, users: \"file:/u\"}";
  for (const Row& row : std::vector<Row>{
           {lines({kOwn, kPeer, "remote-2: {auth: pubky, cacerts: [/c/x]}"}), "connections.b.remote-2.auth: expected "},
           {lines({kOwn, kPeer, "remote-2: {auth: psk, cacert: [/c/x]}"}), "connections.b.remote-2.cacert: unknown key"},
           {lines({kOwn, kPeer, "remote_2: {auth: psk}"}), "connections.b.remote_2: unknown key; did you mean 'remote-2'?"},
           {lines({kOwn, kPeer, psk, "remote-3: {auth: psk}"}),
            "connections.b.remote-3.auth: expected another proof: the secret of the connection is shown by another section already"},
           {lines({kOwn, kPeer, user, "remote-3: {auth: eap-md5, users: \"file:/u\"}"}),
            "connections.b.remote-3.auth: expected at most one section with EAP of a side"},
           {lines({kOwn, kPeer, "remote-2: {auth: pubkey}"}), "connections.b.remote-2.cacerts: expected the file of an authority"},
           {lines({kOwn, kPeer, "local-2: {auth: pubkey}"}), "connections.b.local-2.certs: expected the file of our certificate"},
           {lines({kOwn, kPeer, "local-2: {auth: psk, id: \"%any\"}"}), "connections.b.local-2.id: expected an identity of our own"},
           {lines({kOwn, kPeer, "local-2: {auth: psk, round: 1001}"}), "connections.b.local-2.round: expected a number from 0 to 1000"},
           {lines({kOwn, kPeer, "remote-2: {auth: xauth}"}), "connections.b.remote-2.auth: expected psk, pubkey or EAP, got xauth"},
           {lines({"local: {auth: psk}", "remote: {auth: psk}", user}),
            "connections.b.local.auth: expected pubkey, since remote-2.auth is EAP: EAP is done with a gateway that proves itself by"},
           {lines({"local: {auth: psk}", "remote: {auth: psk}", "local-2: {auth: eap-mschapv2, password: \"file:/p\"}"}),
            "connections.b.remote.auth: expected pubkey, since local-2.auth is EAP"},
           {lines({kOwn, "local-2: {auth: psk}", "remote: {auth: eap-mschapv2, users: \"file:/u\"}", psk}),
            "connections.b.local-2: expected no more sections of a gateway than there are of its peer up to the one with EAP"},
           {lines({kOwn, kPeer, psk, "ppk_id: x", "ppk: file:/run/x/ppk"}), "connections.b.ppk_id: expected no such key beside several"},
           {lines({kOwn, kPeer, psk, "remote-3: {auth: pubkey, cacerts: [/c/y]}", "remote-4: {auth: pubkey, cacerts: [/c/z]}"}),
            "connections.b.remote-4: expected at most 3 sections of a side"},
           {lines({kOwn, kPeer, "remote-2: {auth: eap-md5, users: \"file:/u\"}"}), "connections.b.remote-2.auth: expected a method that"},
           {lines({kOwn, kPeer, "local-2: {auth: pubkey, id: b.example, certs: [/c/a.pem], key: \"file:/c/b.key\"}"}),
            "connections.b.local-2.certs: expected another certificate: that of local proves nothing more by being shown again"},
           {lines({kOwn, kPeer, "local-2: {auth: eap-tls, certs: [/c/b.pem], key: \"file:/c/a.key\"}"}),
            "connections.b.local-2.certs: expected another certificate: that of local proves nothing more by being shown again"},
           {lines({kOwn, "remote: {auth: pubkey, certs: [/c/b.pem]}", psk, "remote-3: {auth: pubkey, certs: [/c/b.pem]}"}),
            "connections.b.remote-3.certs: expected another certificate: that of remote proves nothing more by being shown again"},
           {lines({kOwn, kPeer, "remote-2: {auth: eap-radius}"}), "connections.b.remote-2.auth: expected a server in radius.servers"},
       }) {
    INFO(row.sections);
    const auto found = findings(sides(row.sections));
    std::string all;
    for (const auto& one : found) all += one + "\n";
    INFO(all);
    CHECK(all.find(row.says) != std::string::npos);
  }
}

TEST_CASE("several certificates of one authority, and one that only one section is bound to, are no repetition", "[config][rounds]") {
  for (const std::string& more : {"remote-2: {auth: pubkey, cacerts: [/c/ca.pem]}", "remote-2: {auth: pubkey, certs: [/c/b.pem]}",
                                  "local-2: {auth: pubkey, certs: [/c/b.pem, /c/a.pem], key: \"file:/c/b.key\"}"}) {
    INFO(more);
    for (const std::string& one : findings(sides(lines({kOwn, kPeer, more})))) CHECK(one.find("another certificate") == std::string::npos);
  }
}

TEST_CASE("IKEv1 has one proof of each side", "[config][rounds][version]") {
  const auto found = findings(with("version: 2", "version: 1", beside("remote-2: {auth: psk}")));
  REQUIRE_FALSE(found.empty());
  CHECK(found[0].find("connections.b.remote-2: expected one section of each side with version: 1") != std::string::npos);
}

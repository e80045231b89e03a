// EAP-TLS: what is found about its files and names before anybody calls.
#include "control/auth/check.hpp"
#include "tests/unit/auth/site.hpp"

using namespace culvert;
using namespace culvert::test;

TEST_CASE("EAP-TLS: what --check says about our name and the files", "[auth][tls]") {
  Site s;
  control::auth::ParsedFiles files;
  s.c.version = 2;
  s.c.local_auth.auth = config::Proof::EapTls;
  const auto found = [&] { return control::auth::findings(s.c, files, pki::kNow); };
  SECTION("a name of the certificate") {
    s.c.local_auth.eap_id = "gw-a.example";
    CHECK(found().empty());
  }
  SECTION("its subject") {
    s.c.local_auth.eap_id = "C=CH, O=Example, CN=gw-a";
    CHECK(found().empty());
  }
  SECTION("another one") {
    s.c.local_auth.eap_id = "alice@example.org";
    const auto all = found();
    REQUIRE(all.size() == 1);
    CHECK(all[0].error);
    CHECK(all[0].side + "." + all[0].key == "local.eap_id");
    CHECK(has(all[0].message, "expected a name of the certificate, which says C=CH, O=Example, CN=gw-a, DNS gw-a.example"));
  }
  SECTION("none: our identity has to be it") {
    s.c.local_id = {config::Identity::Type::Fqdn, "other.example"};
    const auto all = found();
    REQUIRE(all.size() == 1);
    CHECK(all[0].side + "." + all[0].key == "local.id");
  }
  SECTION("no identity at all: the subject is it") {
    control::auth::fill_identities(s.config);
    CHECK(s.c.local_id.text == "C=CH, O=Example, CN=gw-a");
    CHECK(found().empty());
  }
  SECTION("no authority of the users'") {
    s.c.local_auth.auth = config::Proof::Pubkey;
    s.c.remote_auth.auth = config::Proof::EapTls;
    CHECK(found().empty());
    s.c.remote_auth.cacerts = {"/nowhere.pem"};
    const auto all = found();
    REQUIRE(all.size() == 1);
    CHECK(all[0].side + "." + all[0].key == "remote.cacerts");
  }
}

// The keys of redirects (RFC 5685): who follows, and where clients are sent.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/unit/config/version_text.hpp"

using namespace culvert;
using namespace culvert::config;
using namespace culvert::test;
using Rows = std::vector<std::string>;

TEST_CASE("a redirect is followed unless the connection says otherwise", "[config][version][redirect][rfc5685]") {
  using Follow = Redirection::Follow;
  CHECK(connection(kBase).redirection.follow == Follow::Yes);
  CHECK(connection(beside("redirect: authenticated")).redirection.follow == Follow::Authenticated);
  CHECK(connection(beside("redirect: no")).redirection.follow == Follow::No);
  CHECK(connection(beside("redirect: yes")).redirection.follow == Follow::Yes);
  CHECK(findings(beside("redirect: maybe")) == Rows{":16:15: connections.b.redirect: expected yes, authenticated or no, got 'maybe'"});
  CHECK(findings(beside("redirects: no")).at(0).ends_with("did you mean 'redirect'?"));
}

TEST_CASE("clients are sent to an address or a name", "[config][version][redirect][rfc5685-3]") {
  const auto to = [](const std::string& text) { return connection(beside("redirect_to: " + text)).redirection.to; };
  CHECK(connection(kBase).redirection.to.none());
  CHECK(to("192.0.2.7").address == IpAddress::parse("192.0.2.7").value());
  CHECK(to("'2001:db8::7'").address == IpAddress::parse("2001:db8::7").value());
  CHECK(to("vpn2.example.org").name == "vpn2.example.org");
  CHECK(to("vpn2").to_string() == "vpn2");
  CHECK(to("''").none());
  for (const char* wrong : {"192.0.2", "192.0.2.256", "0.0.0.0", "127.0.0.1", "'::'", "'::1'", "224.0.0.1", "'ff02::1'", "255.255.255.255",
                            "-vpn.example", "vpn..example", "vpn_2.example", "'vpn 2'", "192.0.2.0/24", "vpn.example."}) {
    const auto found = findings(beside("redirect_to: " + std::string(wrong)));
    INFO(wrong);
    REQUIRE(found.size() == 1);
    CHECK(found[0].find("connections.b.redirect_to: expected an address, or a name such as vpn2.example.org, or empty: none") !=
          std::string::npos);
  }
  CHECK(findings(beside("redirect_to: " + std::string(64, 'a'))).size() == 1);
  CHECK(findings(beside("redirect_to: " + std::string(63, 'a') + ".example")).empty());
}

TEST_CASE("a redirect goes elsewhere, at a time, and is of IKEv2", "[config][version][redirect][rfc5685]") {
  CHECK_FALSE(connection(beside("redirect_to: vpn2")).redirection.at_once);
  CHECK(connection(beside("redirect_to: vpn2\n    redirect_at: init")).redirection.at_once);
  CHECK_FALSE(connection(beside("redirect_to: vpn2\n    redirect_at: auth")).redirection.at_once);
  CHECK(findings(beside("redirect_at: init")) ==
        Rows{":10:5: connections.b.redirect_to: the key is missing beside redirect_at: init: expected where clients are sent"});
  CHECK(findings(beside("redirect_to: 10.9.0.1")) ==
        Rows{":16:18: connections.b.redirect_to: expected another gateway, got one of our own local_addrs"});
  for (const char* line : {"redirect: no", "redirect: authenticated", "redirect_to: vpn2", "redirect_at: init"}) {
    const auto found = findings(with("version: 2", "version: 1", beside(line)));
    INFO(line);
    REQUIRE(found.size() == 1);
    CHECK(found[0].ends_with(": expected no such key with version: 1: redirects are of IKEv2 (RFC 5685)"));
  }
}

TEST_CASE("both sides prove themselves anew where the connection says so, which is of IKEv2", "[config][version][reauth][rfc4478]") {
  CHECK(connection(kBase).renewal.reauth_time == Seconds{0});
  CHECK(connection(beside("reauth_time: 0")).renewal.reauth_time == Seconds{0});
  const Connection day = connection(beside("reauth_time: 1d")), soon = connection(beside("reauth_time: 10m"));
  CHECK(day.renewal.reauth_time == Seconds{86400});
  CHECK(day.rand_time == Seconds{1440});  // of rekey_time, which is the shorter one
  CHECK(soon.rand_time == Seconds{60});
  CHECK(connection(beside("reauth_time: 1s")).rand_time == Seconds{0});
  for (const char* wrong : {"31d", "10", "never", "-1s"}) {
    const auto found = findings(beside("reauth_time: " + std::string(wrong)));
    INFO(wrong);
    REQUIRE(found.size() == 1);
    CHECK(found[0].starts_with(":16:18: connections.b.reauth_time: expected a time from 1s to 30d, or 0: never, got "));
  }
  CHECK(findings(beside("reauth_time: 10m\n    rand_time: 15m")) ==
        Rows{":17:16: connections.b.rand_time: expected less than reauth_time (10m), got 15m"});
  CHECK(findings(beside("reauth_tim: 10m")).at(0).ends_with("did you mean 'reauth_time'?"));
  CHECK(
      findings(with("version: 2", "version: 1", beside("reauth_time: 10m"))) ==
      Rows{":16:18: connections.b.reauth_time: expected no such key with version: 1: both sides prove themselves anew at each rekey_time"});
}

TEST_CASE("IKE_AUTH goes without a CHILD SA as the connection has it, with IKEv2", "[config][version][childless][rfc6023]") {
  CHECK(connection(kBase).renewal.childless == Childless::Allow);
  CHECK(connection(beside("childless: prefer")).renewal.childless == Childless::Prefer);
  CHECK(connection(beside("childless: force")).renewal.childless == Childless::Force);
  CHECK(connection(beside("childless: never")).renewal.childless == Childless::Never);
  CHECK(findings(beside("childless: yes")) == Rows{":16:16: connections.b.childless: expected allow, prefer, force or never, got 'yes'"});
  CHECK(findings(with("version: 2", "version: 1", beside("childless: never"))) ==
        Rows{":16:16: connections.b.childless: expected no such key with version: 1: IKE SAs without a CHILD SA are of IKEv2 (RFC 6023)"});
}

TEST_CASE("tickets are given where the connection says so, and are of IKEv2", "[config][version][resume][rfc5723]") {
  CHECK_FALSE(connection(kBase).resumption.enabled);
  CHECK(connection(beside("resumption: yes")).resumption.enabled);
  CHECK(connection(beside("resumption: yes\n    resumption_lifetime: 8h")).resumption.lifetime == Seconds{28800});
  CHECK(findings(beside("resumption: maybe")) == Rows{":16:17: connections.b.resumption: expected no or yes, got 'maybe'"});
  for (const char* wrong : {"30s", "25h", "0"}) CHECK(findings(beside("resumption_lifetime: " + std::string(wrong))).size() == 1);
  for (const char* line : {"resumption: yes", "resumption_lifetime: 8h"}) {
    const auto found = findings(with("version: 2", "version: 1", beside(line)));
    REQUIRE(found.size() == 1);
    CHECK(found[0].ends_with(": expected no such key with version: 1: tickets are of IKEv2 (RFC 5723)"));
  }
}

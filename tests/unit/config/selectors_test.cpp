// Lists of selectors with version: 2: one child has them all; what they must be, and what is known of them before there is a peer.
#include "common/config/selectors.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/unit/config/version_text.hpp"

using namespace culvert;
using namespace culvert::config;
using namespace culvert::test;
using Rows = std::vector<std::string>;

namespace {
std::string with_sides(const std::string& local, const std::string& remote, const std::string& more = {}, const std::string& base = kBase) {
  return with("local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24", "local_ts: " + local + ", remote_ts: " + remote + more, base);
}
}  // namespace

TEST_CASE("version 2: a list of selectors is one child's", "[config][selectors][rfc7296-2.9]") {
  const auto c = connection(with_sides("[10.1.0.0/24, '2001:db8:1::/48']", "['2001:db8:2::/48', 10.2.0.0/24, 10.2.1.0/24]"));
  REQUIRE(c.children.size() == 1);
  const Child& net = c.children[0];
  CHECK(net.name == "net");
  CHECK(net.local_ts.to_string() == "10.1.0.0/24");
  CHECK(net.remote_ts.to_string() == "10.2.0.0/24");  // goes with it
  CHECK(text(net.locals()) == "10.1.0.0/24, 2001:db8:1::/48");
  CHECK(text(net.remotes()) == "10.2.0.0/24, 2001:db8:2::/48, 10.2.1.0/24");
  CHECK_FALSE(net.dynamic());
  const MoreSelectors more = fixed_more(c, net);
  CHECK((more.locals == 1 && more.remotes == 2));
  CHECK(more.local()[0].to_string() == "2001:db8:1::/48");
  CHECK(more.remote()[1].to_string() == "10.2.1.0/24");
  // Version 1 negotiates one pair at a time.
  CHECK(connection(with("version: 2", "version: 1", with_sides("[10.1.0.0/24, 10.1.1.0/24]", "[10.2.0.0/24, 10.2.1.0/24]")))
            .children.size() == 4);
}

TEST_CASE("version 2: a dynamic side is of each family that the other side has", "[config][selectors]") {
  const auto c = connection(with_sides("[10.1.0.0/24, '2001:db8:1::/48']", "dynamic"));
  REQUIRE(c.children.size() == 1);
  const Child& net = c.children[0];
  REQUIRE(net.remotes().size() == 2);
  for (const SideSelector& s : net.remotes()) CHECK(s.dynamic);
  CHECK(net.remotes()[0].ts.first.family == Family::V4);
  CHECK(net.remotes()[1].ts.first.family == Family::V6);
  CHECK(net.dynamic());
  // What is known without a peer comes first, and has its policy before it comes.
  const Child mixed = connection(with_sides("10.1.0.0/24", "[dynamic, 10.2.0.0/24]")).children.at(0);
  CHECK(text(mixed.remotes()) == "10.2.0.0/24, dynamic");
  const Child both = connection(with_sides("dynamic", "dynamic")).children.at(0);
  CHECK((both.local_dynamic && both.remote_dynamic && both.more_local.empty() && both.more_remote.empty()));
}

TEST_CASE("version 2: selectors that no packet is for, or too many of them", "[config][selectors]") {
  const auto rows = [](const std::string& local, const std::string& remote) { return findings(with_sides(local, remote)); };
  CHECK(rows("[10.1.0.0/24, '2001:db8:1::/48']", "10.2.0.0/24") ==
        Rows{":18:23: connections.b.children.net.local_ts: expected a selector of the same family and protocol in remote_ts for "
             "2001:db8:1::/48"});
  CHECK(
      rows("['10.1.0.0/24[tcp]', '10.1.0.0/24[udp]']", "['10.2.0.0/24[tcp/80]', '10.2.0.0/24[udp]', 10.2.0.0/24]") ==
      Rows{
          ":18:76: connections.b.children.net.remote_ts: expected a selector of the same family and protocol in local_ts for 10.2.0.0/24"});
  CHECK(rows("['10.1.0.0/24[tcp]', '10.1.0.0/24[udp]']", "['10.2.0.0/24[tcp/80]', '10.2.0.0/24[udp]']").empty());
  std::string many = "[10.2.0.0/24";
  for (int n = 1; n < 14; ++n) many += ", 10.2." + std::to_string(n) + ".0/24";
  CHECK(rows("[10.1.0.0/24, 10.1.1.0/24]", many + "]").empty());
  const auto found = rows("[10.1.0.0/24, 10.1.1.0/24]", many + ", 10.2.99.0/24]");
  REQUIRE(found.size() == 1);
  CHECK_THAT(found[0], Catch::Contains("expected at most 16 selectors in local_ts and remote_ts together") && Catch::Contains("got 17"));
  CHECK_THAT(rows("[10.9.0.1, 10.9.0.1]", "[10.9.0.2, 10.9.0.77], mode: transport").at(0), Catch::Contains("expected one of remote_addrs"));
}

TEST_CASE("version 2: children are compared by all of their selectors", "[config][selectors]") {
  const std::string other = "\n      other: {local_ts: 10.1.1.0/24, remote_ts: [10.7.0.0/24, 10.2.1.0/24], esp_proposals: [aes128gcm16]}";
  const auto found = findings(with("esp_proposals: [aes128gcm16]}", "esp_proposals: [aes128gcm16]}" + other,
                                   with_sides("[10.1.0.0/24, 10.1.1.0/24]", "[10.2.0.0/24, 10.2.1.0/24]")));
  REQUIRE(found.size() == 1);
  CHECK_THAT(found[0], Catch::Contains("connections.b.children.other.remote_ts: the child 'b/net' has the same selectors"));
  CHECK(findings(with_sides("[10.1.0.0/24, 10.1.0.0/25]", "10.2.0.0/24")).empty());  // of one child it is no matter
}

// The algorithm table, proposal strings and traffic selectors.
#include <catch2/catch.hpp>

#include "common/ipsec/algorithms.hpp"
#include "common/ipsec/selector.hpp"

using namespace culvert;

TEST_CASE("an IKE proposal string expands in order of preference", "[proposal]") {
  const auto suites = parse_ike_proposal("aes256-aes128-sha256-sha1-modp2048-ecp256");
  REQUIRE(suites);
  REQUIRE(suites->size() == 8);
  CHECK(suites->front().to_string() == "aes256-sha256-modp2048");
  CHECK((*suites)[1].to_string() == "aes256-sha256-ecp256");
  CHECK(suites->back().to_string() == "aes128-sha1-ecp256");
}

TEST_CASE("proposal strings that make no suite say what is wrong", "[proposal]") {
  CHECK(parse_ike_proposal("aes256-sha256").error().message.find("Diffie-Hellman") != std::string::npos);
  CHECK(parse_ike_proposal("aes256-sha265-modp2048").error().suggestion == "sha256");
  CHECK(parse_ike_proposal("aes128gcm16-sha256-modp2048").error().token == "aes128gcm16");
  CHECK(parse_esp_proposal("aes128gcm16-sha256").error().token == "sha256");
  CHECK(parse_esp_proposal("aes128").error().message.find("integrity") != std::string::npos);
  CHECK(parse_esp_proposal("aes128-sha512").error().token == "sha512");
  CHECK_FALSE(parse_esp_proposal(""));
  CHECK_FALSE(parse_esp_proposal("aes128--sha1"));
  CHECK(parse_esp_proposal("aes256gcm16-ecp384")->front().to_string() == "aes256gcm16-ecp384");
  CHECK(parse_esp_proposal("aes128-sha1")->front().to_string() == "aes128-sha1");
}

TEST_CASE("traffic selectors read swanctl's forms and print them back", "[selector]") {
  for (const char* text :
       {"10.1.0.0/24", "10.1.0.5/32", "10.1.0.0/24[tcp/80]", "0.0.0.0/0[icmp]", "10.1.0.1-10.1.0.9", "2001:db8::/32[udp/1000-2000]"}) {
    const auto ts = TrafficSelector::parse(text);
    REQUIRE(ts);
    CHECK(ts->to_string() == text);
  }
  for (const char* text : {"", "10.1.0.0/33", "10.1.0.0/24[tcp", "10.1.0.0/24[tcp/99999]", "10.1.0.9-10.1.0.1", "10.1.0.0/24[0/80]", "a"}) {
    INFO(text);
    CHECK_FALSE(TrafficSelector::parse(text));
  }
}

TEST_CASE("selector algebra", "[selector]") {
  const auto ts = [](const char* text) { return TrafficSelector::parse(text).value(); };
  CHECK(ts("10.0.0.0/8").contains(ts("10.1.0.0/16[tcp/80]")));
  CHECK_FALSE(ts("10.0.0.0/8[tcp]").contains(ts("10.1.0.0/16")));
  CHECK(ts("10.0.0.0/8[tcp]").intersect(ts("10.1.0.0/16")) == ts("10.1.0.0/16[tcp]"));
  CHECK_FALSE(ts("10.0.0.0/8").intersect(ts("11.0.0.0/8")));
  CHECK(ts("10.1.0.0/24[udp/53]").matches(IpAddress::v4(0x0a010007), 17, 53));
  CHECK_FALSE(ts("10.1.0.0/24[udp/53]").matches(IpAddress::v4(0x0a010007), 17, 54));
}

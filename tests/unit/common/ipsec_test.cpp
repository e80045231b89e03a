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
  CHECK(parse_esp_proposal("aes128-sha3").error().token == "sha3");
  CHECK(parse_esp_proposal("aes128gmac-sha1").error().token == "sha1");
  CHECK(parse_ike_proposal("aes128-aesxcbc-modp2048").error().token == "aesxcbc");
  CHECK(parse_ike_proposal("aes128ctr-sha256-modp2048").error().token == "aes128ctr");
  CHECK(parse_ike_proposal("aes256-sha256-modp2048-esn").error().token == "esn");
  CHECK(parse_ah_proposal("aes128-sha256").error().token == "aes128");
  CHECK(parse_ah_proposal("modp2048").error().message.find("integrity") != std::string::npos);
  CHECK(parse_esp_proposal("aes192ccm16").error().token == "aes192ccm16");  // IPsec-MB has no CCM with keys of 192 bits
  CHECK_FALSE(parse_esp_proposal(""));
  CHECK_FALSE(parse_esp_proposal("aes128--sha1"));
  CHECK(parse_esp_proposal("aes256gcm16-ecp384")->front().to_string() == "aes256gcm16-ecp384");
  CHECK(parse_esp_proposal("aes128-sha1")->front().to_string() == "aes128-sha1");
  CHECK(parse_esp_proposal("aes128gcm16-esn-noesn")->size() == 2);
  CHECK(parse_esp_proposal("aes128gcm16-ecp256-esn")->front().to_string() == "aes128gcm16-ecp256-esn");
  CHECK(parse_esp_proposal("chacha20poly1305-esn")->front().to_string() == "chacha20poly1305-esn");
  CHECK(parse_esp_proposal("chacha20poly1305-sha256").error().token == "sha256");
  CHECK(parse_ike_proposal("aes128-aescmac-modp2048").error().token == "aescmac");
  CHECK(parse_ah_proposal("sha256-aes128gmac-ecp256")->back().to_string() == "aes128gmac-ecp256");
}

TEST_CASE("what IKEv1 has no number for cannot be negotiated by it", "[proposal][rfc7634-4][rfc4494-5]") {
  for (const char* text : {"chacha20poly1305", "aes128gcm16-chacha20poly1305", "chacha20poly1305-modp2048-esn"}) {
    const auto refused = for_ikev1(parse_esp_proposal(text));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message == "'chacha20poly1305' is for IKEv2 only, which is not supported yet: IKEv1 has no number for it");
    CHECK(refused.error().token == "chacha20poly1305");
  }
  CHECK(for_ikev1(parse_esp_proposal("aes128-sha256-aescmac")).error().token == "aescmac");
  CHECK(for_ikev1(parse_ah_proposal("aescmac")).error().token == "aescmac");
  CHECK(for_ikev1(parse_esp_proposal("aes128gcm61")).error().suggestion == "aes128gcm16");
  CHECK(for_ikev1(parse_esp_proposal("aes128gcm16-esn")).value() == parse_esp_proposal("aes128gcm16-esn").value());
  // Nor is it named among those that are known.
  for (const char* text : {"aes129", "chacha20"}) {
    const auto unknown = parse_esp_proposal(text).error();
    CHECK(unknown.message.find("chacha20poly1305") == std::string::npos);
    CHECK(unknown.message.find("aescmac") == std::string::npos);
  }
}

TEST_CASE("ICVs have the length that their id says, and short ones must be allowed by name", "[proposal][attack-J10]") {
  for (const EncrInfo& e : encr_table()) {
    CAPTURE(e.name);
    if (e.aead() && e.id != Encr::ChaCha20Poly1305) CHECK((e.name.ends_with("gmac") || e.name.ends_with(std::to_string(e.icv))));
    CHECK(e.weak == (e.icv == 8 || e.block == 8 || e.id == Encr::Null || e.id == Encr::AesGmac));
  }
  for (const IntegInfo& i : integ_table()) CHECK(i.icv >= 12);
  CHECK(limits(parse_esp_proposal("3des-sha1")->front()).bytes == 1'000'000'000);
  CHECK(limits(parse_esp_proposal("aes256gcm16-esn")->front()).packets == 0xffffffff);
  CHECK(limits(parse_esp_proposal("aes256-sha256-esn")->front()).packets == 0);
  for (const bool esn : {false, true})
    CHECK(limits({.encr = Encr::ChaCha20Poly1305, .key_bits = 256, .esn = esn}).packets == (esn ? 0U : 0xffffffffU));
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

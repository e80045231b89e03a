// Proposal strings with additional key exchanges (RFC 9370), as strongSwan 6 writes them.
#include <catch2/catch.hpp>

#include "common/ipsec/algorithms.hpp"

using namespace culvert;

namespace {
std::vector<std::string> ike(std::string_view text) {
  const auto suites = parse_ike_proposal_v2(text);
  REQUIRE(suites);
  std::vector<std::string> out;
  for (const IkeSuite& s : *suites) out.push_back(s.to_string());
  return out;
}
ProposalError error(std::string_view text) {
  const auto suites = parse_ike_proposal_v2(text);
  REQUIRE_FALSE(suites);
  return suites.error();
}
}  // namespace

TEST_CASE("additional key exchanges are named by number and method", "[proposal][rfc9370-2.2.1]") {
  const auto one = parse_ike_proposal_v2("aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp384").value();
  REQUIRE(one.size() == 1);
  CHECK(one[0].group == DhGroup::Curve25519);
  CHECK(one[0].more == AdditionalKes{DhGroup::MlKem768, DhGroup::Ecp384});
  CHECK(in_order(one[0].more) == std::vector{DhGroup::MlKem768, DhGroup::Ecp384});
  CHECK(one[0].to_string() == "aes256gcm16-prfsha384-curve25519-ke1_mlkem768-ke2_ecp384");
  CHECK(parse_ike_proposal_v2(one[0].to_string()).value() == one);
  CHECK(in_order(parse_ike_proposal_v2("aes128-sha256-ecp256-ke7_x448-ke3_x25519").value()[0].more) ==
        std::vector{DhGroup::Curve25519, DhGroup::Curve448});
  CHECK(ike("aes128gcm16-prfsha256-mlkem768-ke1_x25519") == std::vector<std::string>{"aes128gcm16-prfsha256-mlkem768-ke1_curve25519"});
}

TEST_CASE("additional key exchanges: the order is that of preference, and none says that one may be left out",
          "[proposal][rfc9370-2.2.1]") {
  CHECK(ike("aes128-sha256-ecp256-ke1_x25519-ke1_none") ==
        std::vector<std::string>{"aes128-sha256-ecp256-ke1_curve25519", "aes128-sha256-ecp256"});
  CHECK(ike("aes128-sha256-ecp256-ke1_none-ke1_x25519") ==
        std::vector<std::string>{"aes128-sha256-ecp256", "aes128-sha256-ecp256-ke1_curve25519"});
  CHECK(ike("aes128-sha256-ecp256-ke1_none") == std::vector<std::string>{"aes128-sha256-ecp256"});
  CHECK(ike("aes128-sha256-ecp256-ke1_x25519-ke1_x448-ke2_ecp384-ke2_none").size() == 4);
  CHECK(ike("aes128-sha256-ecp256-ke1_x25519-ke1_x448-ke2_ecp384-ke2_none")[1] == "aes128-sha256-ecp256-ke1_curve25519");
}

TEST_CASE("additional key exchanges: no method is there twice", "[proposal][rfc9370-2.2.1]") {
  CHECK(ike("aes128-sha256-ecp256-x25519-ke1_x25519") == std::vector<std::string>{"aes128-sha256-ecp256-ke1_curve25519"});
  CHECK(ike("aes128-sha256-ecp256-ke1_x25519-ke1_x448-ke2_x25519-ke2_x448") ==
        std::vector<std::string>{"aes128-sha256-ecp256-ke1_curve25519-ke2_curve448", "aes128-sha256-ecp256-ke1_curve448-ke2_curve25519"});
  CHECK(ike("aes128-sha256-ecp256-ke1_none-ke2_none") == std::vector<std::string>{"aes128-sha256-ecp256"});
  CHECK(error("aes128-sha256-ecp256-ke1_ecp256").message ==
        "'aes128-sha256-ecp256-ke1_ecp256' has the same key exchange twice, whatever is chosen (RFC 9370 §2.2.1)");
}

TEST_CASE("additional key exchanges: what is none is refused, with what it may have been", "[proposal]") {
  for (const char* word :
       {"ke0_x25519", "ke8_x25519", "ke1_", "ke1", "ke1x25519", "ke1_sha256", "ke1_aes128", "ke11_x25519", "ke_x25519", "ke1_ke2_x25519"})
    CHECK(error("aes128-sha256-ecp256-" + std::string(word)).token == word);
  CHECK(error("aes128-sha256-ecp256-ke1_mlkem786").suggestion == "ke1_mlkem768");
  CHECK(error("aes128-sha256-mlkem786").suggestion == "mlkem768");
  CHECK(error("aes128-sha256-ke1_x25519").message.find("names no Diffie-Hellman group") != std::string::npos);
}

TEST_CASE("IKEv1 has no additional key exchanges, and no KEM", "[proposal]") {
  for (const std::string word : {"ke1_ecp384", "ke1_none", "ke2_mlkem512", "mlkem768"}) {
    CHECK(parse_ike_proposal("aes128-sha256-modp2048-" + word).error().message ==
          "'" + word + "' is for IKEv2 only (version: 2): IKEv1 has no number for it");
    CHECK(for_ikev1(parse_esp_proposal("aes128gcm16-modp2048-" + word)).error().token == word);
    CHECK(for_ikev1(parse_ah_proposal("sha256-modp2048-" + word)).error().token == word);
  }
}

TEST_CASE("a weak method is named wherever it stands", "[proposal]") {
  const auto suite = parse_ike_proposal_v2("aes128-sha256-ecp256-ke1_modp1024").value()[0];
  CHECK(weak_algorithms(suite) == std::vector<std::string_view>{"modp1024"});
}

// What is said about offers that do not fit.
#include <catch2/catch.hpp>

#include "control/ikev2/proposal.hpp"

using namespace culvert;
using namespace culvert::ikev2;

namespace {
using T = TransformType;
using Words = std::vector<std::string>;

std::vector<IkeSuite> ike(std::string_view text) { return parse_ike_proposal_v2(text).value(); }
std::vector<EspSuite> esp(std::string_view text) { return parse_esp_proposal_v2(text).value(); }
Transform tr(T type, int id, std::optional<std::uint16_t> bits = {}) { return {type, static_cast<std::uint16_t>(id), bits}; }
Proposal ike_offer(std::vector<Transform> list, std::uint8_t number = 1) { return {number, kProtoIke, {}, std::move(list)}; }
Proposal esp_offer(std::vector<Transform> list) { return {1, kProtoEsp, {1, 2, 3, 4}, std::move(list)}; }
std::vector<Transform> plain(const Transform& instead) {
  std::vector<Transform> out{tr(T::Encr, 12, 256), tr(T::Prf, 5), tr(T::Integ, 12), tr(T::Ke, 14)};
  for (Transform& t : out)
    if (t.type == instead.type) t = instead;
  return out;
}
Mismatch mismatch(std::string_view ours, const Sa& offered) {
  const auto choice = select_ike(ike(ours), offered, DhGroup::None);
  REQUIRE_FALSE(choice);
  return choice.error();
}
std::string difference(const Transform& instead) { return mismatch("aes256-sha256-modp2048", {{ike_offer(plain(instead))}}).difference; }
Mismatch child_mismatch(std::string_view ours, const Sa& offered, bool pfs = true) {
  const auto suites = esp(ours);
  const auto choice = select_child({suites, Spi{0x1000}, pfs}, offered);
  REQUIRE_FALSE(choice);
  return choice.error();
}
}  // namespace

TEST_CASE("IKE: a refusal says what was offered, what was wanted and the first difference", "[ikev2][proposal]") {
  const Mismatch m = mismatch("aes256-sha256-modp2048", build_ike_offer(ike("aes128-sha1-modp1024")));
  CHECK(m.offered == "aes128-sha1-modp1024");
  CHECK(m.wanted == "aes256-sha256-modp2048");
  CHECK(m.difference == "encryption aes128 is not acceptable here");
  CHECK(m.usable == Words{"aes128-sha1-modp1024"});
  CHECK(difference(tr(T::Ke, 2)) == "Diffie-Hellman group 2 (modp1024) is not acceptable here");
  CHECK(difference(tr(T::Ke, 36)) == "Diffie-Hellman group 36 (mlkem768) is not acceptable here");
  CHECK(difference(tr(T::Ke, 1025)) == "Diffie-Hellman group 1025 (group 1025) is not acceptable here");
  CHECK(difference(tr(T::Integ, 2)) == "integrity algorithm sha1 is not acceptable here");
  CHECK(difference(tr(T::Integ, 77)) == "integrity algorithm integrity 77 is not acceptable here");
  CHECK(difference(tr(T::Integ, 0)) == "integrity algorithm none is not acceptable here");
  CHECK(difference(tr(T::Prf, 4)) == "pseudo-random function prfaesxcbc is not acceptable here");
  CHECK(difference(tr(T::Prf, 77)) == "pseudo-random function prf 77 is not acceptable here");
  CHECK(difference(tr(T::Encr, 12)) == "encryption aes is not acceptable here");
  CHECK(difference(tr(T::Encr, 12, 100)) == "encryption aes100 is not acceptable here");
  CHECK(difference(tr(T::Encr, 23, 256)) == "encryption camellia256 is not acceptable here");
  CHECK(difference(tr(T::Encr, 3)) == "encryption 3des is not acceptable here");
  CHECK(difference(tr(T::Encr, 3, 192)) == "encryption 3des with a key of 192 bits is not acceptable here");
  CHECK(difference(tr(T::Encr, 999)) == "encryption encryption 999 is not acceptable here");
  Transform odd = tr(T::Prf, 5);
  odd.unknown_attribute = true;
  CHECK(difference(odd) == "pseudo-random function prfsha256 with an unknown attribute is not acceptable here");
}

TEST_CASE("IKE: of several values of a kind all are said, and of several proposals the nearest one", "[ikev2][proposal]") {
  auto list = plain(tr(T::Ke, 2));
  list.push_back(tr(T::Ke, 5));
  const Sa offer{{ike_offer({tr(T::Encr, 3), tr(T::Prf, 1), tr(T::Integ, 1), tr(T::Ke, 2)}), ike_offer(list, 2)}};
  const Mismatch m = mismatch("aes256-sha256-modp2048", offer);
  CHECK(m.offered == "3des-md5-modp1024, aes256-sha256-modp1024-modp1536");
  CHECK(m.difference == "none of the Diffie-Hellman groups 2 (modp1024), 5 (modp1536) is acceptable here");
  for (const T type : {T::Encr, T::Prf, T::Integ, T::Ke}) {
    auto lacking = plain(tr(T::Ke, 14));
    std::erase_if(lacking, [&](const Transform& t) { return t.type == type; });
    const std::string text = mismatch("aes256-sha256-modp2048", {{ike_offer(lacking)}}).difference;
    CHECK(text.find("is offered") != std::string::npos);
  }
  CHECK(mismatch("aes128gcm16-prfsha256-ecp256", {{ike_offer({tr(T::Encr, 20, 128), tr(T::Prf, 5), tr(T::Integ, 12), tr(T::Ke, 19)})}})
            .difference == "an integrity algorithm is offered beside a cipher that authenticates by itself");
}

TEST_CASE("proposals that cannot be taken by anybody are explained, too", "[ikev2][proposal]") {
  const auto text = [](Proposal p) { return mismatch("aes256-sha256-modp2048", {{std::move(p)}}).difference; };
  auto list = plain(tr(T::Ke, 14));
  CHECK(text({1, kProtoEsp, {1, 2, 3, 4}, {}}) == "a proposal for ESP is not acceptable here");
  CHECK(text({1, 9, {}, list}) == "a proposal for protocol 9 is not acceptable here");
  CHECK(text({1, kProtoIke, {1, 2, 3, 4}, list}) == "an SPI of 4 bytes in a proposal for IKE");
  list.push_back(tr(static_cast<T>(13), 35));
  CHECK(text(ike_offer(list)) == "transform type 13 is not supported in a proposal for IKE");
  const auto child = child_mismatch("aes256-sha256", {{Proposal{1, kProtoAh, {1, 2, 3, 4}, {tr(T::Integ, 12), tr(T::Esn, 0)}}}});
  CHECK(child.offered == "ah-sha256");
  CHECK(child.difference == "AH is not acceptable here");
  CHECK(child.usable.empty());
}

TEST_CASE("CHILD SAs: sequence numbers and groups in words", "[ikev2][proposal]") {
  const auto list = [](int esn, std::vector<Transform> more = {}) {
    std::vector<Transform> out{tr(T::Encr, 12, 256), tr(T::Integ, 12), tr(T::Esn, esn)};
    out.insert(out.end(), more.begin(), more.end());
    return Sa{{esp_offer(out)}};
  };
  CHECK(child_mismatch("aes256-sha256", list(1)).difference == "extended sequence numbers are offered, others are wanted");
  CHECK(child_mismatch("aes256-sha256", list(1)).offered == "aes256-sha256-esn");
  CHECK(child_mismatch("aes256-sha256", list(1)).usable == Words{"aes256-sha256-esn"});
  CHECK(child_mismatch("aes256-sha256-esn", list(0)).difference == "no extended sequence numbers are offered, they are wanted");
  CHECK(child_mismatch("aes256-sha256-ecp256", list(0)).difference == "no Diffie-Hellman group is offered, one is wanted");
  CHECK(child_mismatch("aes256-sha256-ecp256", list(0)).usable == Words{"aes256-sha256"});
  CHECK(child_mismatch("aes256-sha256", list(0, {tr(T::Ke, 14)})).difference ==
        "Diffie-Hellman group 14 (modp2048) is not acceptable here");
  CHECK(child_mismatch("aes256-sha256", list(0, {tr(T::Ke, 14)})).usable == Words{"aes256-sha256-modp2048"});
  const Mismatch in_auth = child_mismatch("aes256-sha512-modp2048", list(0, {tr(T::Ke, 14)}), false);
  CHECK(in_auth.wanted == "aes256-sha512");
  CHECK(in_auth.usable == Words{"aes256-sha256"});
  CHECK(in_auth.difference == "integrity algorithm sha256 is not acceptable here");
  CHECK(child_mismatch("aes256-sha256", {{esp_offer({tr(T::Encr, 12, 256), tr(T::Integ, 12)})}}).difference ==
        "it is not said whether sequence numbers are extended");
}

TEST_CASE("descriptions are words of the configuration, and have an end", "[ikev2][proposal]") {
  CHECK(describe(build_ike_offer(ike("aes256-aes128-sha256-modp2048-x25519"))) == "aes256-aes128-sha256-modp2048-curve25519");
  CHECK(describe(build_ike_offer(ike("aes256-sha256-prfsha384-ecp384"))) == "aes256-sha256-prfsha384-ecp384");
  CHECK(describe(build_ike_offer(ike("aes128gcm16-prfsha256-ecp256"))) == "aes128gcm16-prfsha256-ecp256");
  CHECK(describe({{ike_offer({tr(T::Encr, 20, 128), tr(T::Integ, 0), tr(T::Prf, 5), tr(T::Ke, 19)})}}) == "aes128gcm16-prfsha256-ecp256");
  CHECK(describe({}) == "nothing");
  CHECK(describe({{ike_offer({})}}) == "nothing for IKE");
  CHECK(describe({{Proposal{1, 77, {}, {tr(T::Encr, 12, 128)}}}}) == "protocol 77");
  Sa many;
  for (std::uint8_t n = 1; n <= kMaxProposals; ++n) {
    many.proposals.push_back(ike_offer({}, n));
    for (int t = 0; t < 255; ++t) many.proposals.back().transforms.push_back(tr(T::Encr, 12, static_cast<std::uint16_t>(t)));
  }
  CHECK(describe(many).ends_with("-(231 more) and 56 more"));
  CHECK(describe(many).size() < 2500);
}

TEST_CASE("what could be configured comes without what is weak first, and a few at most", "[ikev2][proposal]") {
  const Mismatch m =
      mismatch("aes256-sha512-ecp521", {{ike_offer({tr(T::Encr, 3), tr(T::Encr, 12, 128), tr(T::Prf, 1), tr(T::Prf, 5), tr(T::Integ, 1),
                                                    tr(T::Integ, 12), tr(T::Ke, 2), tr(T::Ke, 14), tr(T::Ke, 77)})}});
  REQUIRE(m.usable.size() == 8);
  CHECK(m.usable.front() == "aes128-sha256-modp2048");
  for (const std::string& text : m.usable) {
    const auto parsed = parse_ike_proposal_v2(text);
    REQUIRE(parsed);
    CHECK(parsed->size() == 1);
    CHECK(parsed->front().to_string() == text);
  }
  CHECK(mismatch("aes256-sha512-ecp521", {{ike_offer({tr(T::Encr, 13, 128), tr(T::Prf, 5), tr(T::Integ, 12), tr(T::Ke, 14)})}})
            .usable.empty());
  CHECK(child_mismatch("aes256-sha512", {{esp_offer({tr(T::Encr, 28), tr(T::Encr, 13, 128), tr(T::Integ, 8), tr(T::Esn, 0)})}}).usable ==
        Words{"chacha20poly1305", "aes128ctr-aescmac"});
}

// The algorithm table, proposal strings and traffic selectors.
#include <algorithm>

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
    CHECK(refused.error().message == "'chacha20poly1305' is for IKEv2 only (version: 2): IKEv1 has no number for it");
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

TEST_CASE("IKEv2: a proposal names its PRF, or the integrity algorithm does", "[proposal][rfc7296-3.3.2][rfc5282-8]") {
  const auto all = [](std::string_view text) {
    const auto suites = parse_ike_proposal_v2(text);
    REQUIRE(suites);
    std::string out;
    for (const IkeSuite& s : *suites) out += (out.empty() ? "" : " ") + s.to_string();
    return out;
  };
  const IkeSuite plain{Encr::AesCbc, 256, Prf::HmacSha2_256, DhGroup::Modp2048, Integ::HmacSha2_256_128};
  CHECK(parse_ike_proposal_v2("aes256-sha256-modp2048").value() == std::vector{plain});
  CHECK(plain.to_string() == "aes256-sha256-modp2048");
  CHECK(all("aes256-aes128-sha256-sha1-modp2048") ==
        "aes256-sha256-modp2048 aes256-sha1-modp2048 aes128-sha256-modp2048 aes128-sha1-modp2048");
  CHECK(all("aes256-sha256-prfsha384-prfsha256-ecp384") == "aes256-sha256-prfsha384-ecp384 aes256-sha256-ecp384");
  CHECK(all("aes128gcm16-prfsha256-x25519") == "aes128gcm16-prfsha256-curve25519");
  CHECK(all("aes128gcm16-sha256-x25519") == "aes128gcm16-prfsha256-curve25519");
  CHECK(all("aes256gcm16-chacha20poly1305-sha512-sha384-ecp521") ==
        "aes256gcm16-prfsha512-ecp521 aes256gcm16-prfsha384-ecp521 chacha20poly1305-prfsha512-ecp521 chacha20poly1305-prfsha384-ecp521");
  CHECK(all("aes128-aesxcbc-modp2048") == "aes128-aesxcbc-modp2048");
  CHECK(parse_ike_proposal_v2("aes128-aesxcbc-modp2048")->front().prf == Prf::AesXcbc);
  CHECK(parse_ike_proposal_v2("aes128-aescmac-modp2048")->front().prf == Prf::AesCmac);
  CHECK(all("aes128ccm12-prfaescmac-ecp256") == "aes128ccm12-prfaescmac-ecp256");
  CHECK(all("aes128-sha1-prfaesxcbc-ecp256") == "aes128-sha1-prfaesxcbc-ecp256");
}

TEST_CASE("IKEv2: proposal strings that make no suite say what is wrong", "[proposal]") {
  const auto error = [](std::string_view text) {
    const auto suites = parse_ike_proposal_v2(text);
    REQUIRE_FALSE(suites);
    return suites.error();
  };
  CHECK(error("aes128gcm16-aes128-sha256-ecp256").message ==
        "'aes128gcm16' authenticates by itself and 'aes128' does not: write them as two proposals");
  CHECK(error("aes128gcm16-aes128-sha256-ecp256").token == "aes128");
  CHECK(error("aes128-aes128gcm16-sha256-ecp256").token == "aes128gcm16");
  CHECK(error("aes128gcm16-ecp256").message ==
        "'aes128gcm16-ecp256' names no pseudo-random function such as prfsha256, which 'aes128gcm16' needs");
  CHECK(error("aes128-prfsha256-ecp256").message == "'aes128-prfsha256-ecp256' names no integrity algorithm, which 'aes128' needs");
  CHECK(error("aes128gcm16-sha256-prfsha256-ecp256").token == "sha256");
  CHECK(error("sha256-ecp256").message.find("encryption") != std::string::npos);
  CHECK(error("aes128-sha256").message.find("Diffie-Hellman") != std::string::npos);
  CHECK(error("aes128-prfsha257-ecp256").suggestion == "prfsha256");
  CHECK(error("aes128-chacha20poly130").suggestion == "chacha20poly1305");
  for (const char* word : {"aes128ctr", "null", "aes128gmac", "prf", "prfsha", "esn", "prfaes128gmac", ""})
    CHECK(error("aes128-sha256-ecp256-" + std::string(word)).token == word);
  CHECK(parse_ike_proposal("aes128-sha256-prfsha256-ecp256").error().token == "prfsha256");  // IKEv1 has none of these
  CHECK(parse_ike_proposal("aes128-sha256-x25519").value() == parse_ike_proposal("aes128-sha256-curve25519").value());
  CHECK(parse_esp_proposal_v2("chacha20poly130").error().suggestion == "chacha20poly1305");
  CHECK(parse_ah_proposal_v2("aescma").error().suggestion == "aescmac");
}

TEST_CASE("IKEv2: each suite of the table is written as what is read as it", "[proposal]") {
  std::size_t suites = 0;
  for (const EncrInfo& e : encr_table())
    for (const PrfInfo& p : prf_table())
      for (const DhInfo& d : dh_table())
        for (const IntegInfo& i : integ_table()) {
          if (!e.ikev2_ike() || !i.esp()) continue;
          const IkeSuite s{e.id, e.key_bits, p.id, d.id, e.aead() ? Integ::None : i.id};
          const auto parsed = parse_ike_proposal_v2(s.to_string());
          REQUIRE(parsed);
          REQUIRE(parsed.value() == std::vector{s});
          // A weak part is named, and each name once.
          std::vector<std::string_view> weak;
          for (const auto& [name, is_weak] : {std::pair{e.name, e.weak}, {i.name, i.weak && !e.aead()}, {p.name, p.weak}, {d.name, d.weak}})
            if (is_weak && std::ranges::find(weak, name) == weak.end()) weak.push_back(name);
          REQUIRE(weak_algorithms(s) == weak);
          ++suites;
        }
  CHECK(suites > 10000);
}

TEST_CASE("IKEv1 has none of the PRFs that it has no number for", "[proposal][rfc2409-A]") {
  for (const PrfInfo& p : prf_table()) {
    CAPTURE(p.name);
    const auto suites = parse_ike_proposal("aes128-" + std::string(p.name) + "-modp2048");
    CHECK(suites.has_value() == (p.ikev1_hash != 0));
    if (suites) CHECK(suites->front() == IkeSuite{Encr::AesCbc, 128, p.id, DhGroup::Modp2048});
    if (suites) CHECK(suites->front().to_string() == "aes128-" + std::string(p.name) + "-modp2048");
  }
  for (const EncrInfo& e : encr_table())
    CHECK(parse_ike_proposal(std::string(e.name) + "-sha256-modp2048").has_value() == (e.ikev1_cipher != 0));
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
  CHECK(ts("10.0.0.0/8[tcp/80]").meets(ts("10.1.0.0/16")));
  CHECK_FALSE(ts("10.0.0.0/8[tcp/80]").meets(ts("10.1.0.0/16[tcp/81]")));
  CHECK_FALSE(ts("10.0.0.0/8[tcp]").meets(ts("10.1.0.0/16[udp]")));
  TrafficSelector opaque = ts("10.0.0.0/8[tcp]");  // RFC 7296 §3.13.1: ports that are hidden meet none
  std::swap(opaque.port_first, opaque.port_last);
  CHECK_FALSE(opaque.meets(ts("10.1.0.0/16")));
  CHECK(ts("10.1.0.0/24[udp/53]").matches(IpAddress::v4(0x0a010007), 17, 53));
  CHECK_FALSE(ts("10.1.0.0/24[udp/53]").matches(IpAddress::v4(0x0a010007), 17, 54));
}

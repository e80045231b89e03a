// Offers, choices, replies, and the words for what does not fit. It is longer than other files (400 lines elsewhere), since both phases are
// judged by the same helpers, on offers made by the same ones.
#include "control/ikev1/proposal.hpp"

#include "control/ikev1/lifetimes.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ikev1;
using culvert::test::hex;

namespace {
std::vector<IkeSuite> phase1(std::string_view text) {
  auto suites = parse_ike_proposal(text);
  REQUIRE(suites);
  return *suites;
}
std::vector<EspSuite> esp(std::string_view text) {
  auto suites = parse_esp_proposal(text);
  REQUIRE(suites);
  return *suites;
}
Attribute tv(int type, int value) { return Attribute::tv(static_cast<std::uint16_t>(type), static_cast<std::uint16_t>(value)); }
/// Phase 1: cipher, key bits (0: left out), hash, group, authentication method.
Sa offer1(int cipher, int bits, int hash, int group, int auth = 1, const std::vector<Attribute>& more = {}) {
  Transform t{1, 1, {tv(1, cipher), tv(2, hash), tv(3, auth), tv(4, group)}};
  if (bits) t.attributes.push_back(tv(14, bits));
  t.attributes.insert(t.attributes.end(), more.begin(), more.end());
  return {{Proposal{1, kProtoIsakmp, {}, {t}}}};
}
Sa offer2(int id, int bits, int auth, int group = 0, int mode = 1, const std::vector<Attribute>& more = {}) {
  Transform t{1, static_cast<std::uint8_t>(id), {tv(4, mode)}};
  if (bits) t.attributes.push_back(tv(6, bits));
  if (auth) t.attributes.push_back(tv(5, auth));
  if (group) t.attributes.push_back(tv(3, group));
  t.attributes.insert(t.attributes.end(), more.begin(), more.end());
  return {{Proposal{1, kProtoEsp, hex("c0ffee01"), {t}}}};
}
std::string difference1(std::string_view ours, const Sa& offered) {
  const auto suites = phase1(ours);
  const auto choice = select_ike(suites, offered);
  REQUIRE_FALSE(choice);
  CHECK(choice.error().notify == NotifyType::NoProposalChosen);
  return choice.error().difference;
}
std::string difference2(std::string_view ours, const Sa& offered, bool ke = false, Encapsulation mode = Encapsulation::Tunnel) {
  const auto suites = esp(ours);
  const auto choice = select_esp({suites, mode, ke}, offered, Spi{0x11223344});
  REQUIRE_FALSE(choice);
  return choice.error().difference;
}
constexpr Spi kOurs{0x11223344};
/// All that the table allows to go together, ESP and AH; of IKEv1, or what it has no number for.
std::vector<EspSuite> every_suite(bool in_ikev1 = true) {
  std::vector<EspSuite> out;
  for (const EncrInfo& e : encr_table()) {
    if (e.aead()) out.push_back({e.id, e.key_bits, Integ::None});
    for (const IntegInfo& i : integ_table())
      if (!e.aead() && i.esp()) out.push_back({e.id, e.key_bits, i.id});
  }
  for (const IntegInfo& i : integ_table()) out.push_back({Encr::None, 0, i.id, DhGroup::None, SaProtocol::Ah});
  std::erase_if(out, [&](const EspSuite& s) { return for_ikev1(std::vector{s}).has_value() != in_ikev1; });
  return out;
}
}  // namespace

TEST_CASE("phase 1: an offer's bytes", "[ikev1][proposal][rfc2409-A]") {
  const Sa sa = build_ike_offer(phase1("aes256-sha256-modp2048"), 86400);
  CHECK(to_hex(encode_body(sa)) ==
        "0000000100000001"
        "0000003001010001"
        "0000002801010000"
        "80010007800e0100800200048004000e80030001800b0001000c000400015180");
  CHECK(to_hex(encode_body(build_ike_offer(phase1("aes128-sha1-ecp521"), 0))) ==
        "0000000100000001"
        "0000002401010001"
        "0000001c01010000"
        "80010007800e0080800200028004001580030001");
}

TEST_CASE("phase 1: every suite of the table is offered, chosen, and its reply accepted", "[ikev1][proposal]") {
  const auto all = phase1("aes128-aes192-aes256-sha1-sha256-sha384-sha512-modp2048-modp3072-modp4096-ecp256-ecp384-ecp521");
  CHECK(all.size() == 72);
  const Sa offer = build_ike_offer(all, 14400);
  const auto wire = parse_body(PayloadType::Sa, encode_body(offer));
  REQUIRE(wire);
  for (const IkeSuite& s : all) {
    INFO(s.to_string());
    const auto choice = select_ike(std::vector{s}, std::get<Sa>(*wire));
    REQUIRE(choice);
    CHECK(choice->suite == s);
    CHECK(choice->life.seconds == 14400);
    REQUIRE(choice->reply.proposals.size() == 1);
    REQUIRE(choice->reply.proposals[0].transforms.size() == 1);
    const auto accepted = accept_ike(offer, choice->reply);
    REQUIRE(accepted);
    CHECK(accepted->suite == s);
  }
}

TEST_CASE("phase 1: the responder's order decides, and the reply is the offer's transform as it was", "[ikev1][proposal][rfc2408-4.2]") {
  const auto initiator = phase1("aes128-aes256-sha1-sha256-modp2048");
  const Sa offer = build_ike_offer(initiator, 3600);
  const auto choice = select_ike(phase1("aes256-sha256-sha1-modp2048"), offer);
  REQUIRE(choice);
  CHECK(choice->suite.to_string() == "aes256-sha256-modp2048");
  CHECK(choice->reply.proposals[0].transforms[0] == offer.proposals[0].transforms[3]);
}

TEST_CASE("phase 1: a refusal says what was offered, what was wanted and the first difference", "[ikev1][proposal]") {
  const auto choice = select_ike(phase1("aes256-sha256-modp2048"), offer1(7, 128, 2, 2));
  REQUIRE_FALSE(choice);
  CHECK(choice.error().text() ==
        "offered aes128-sha1-modp1024; wanted aes256-sha256-modp2048; first difference: encryption aes128 is not acceptable here");
  CHECK(difference1("aes256-sha256-modp2048", offer1(7, 256, 4, 2)) == "Diffie-Hellman group 2 (modp1024) is not acceptable here");
  CHECK(difference1("aes256-sha256-modp2048", offer1(7, 256, 1, 14)) == "hash md5 is not acceptable here");
  CHECK(difference1("aes256-sha256-modp2048", offer1(5, 0, 4, 14)) == "encryption 3des is not acceptable here");
  CHECK(difference1("aes256-sha256-modp2048", offer1(77, 0, 4, 14)) == "encryption cipher 77 is not acceptable here");
  CHECK(difference1("aes256-sha256-modp2048", offer1(7, 256, 4, 14, 3)) ==
        "authentication method 3 (RSA signatures) is not acceptable here, pre-shared key is wanted");
  CHECK(difference1("aes256-sha256-modp2048", offer1(7, 256, 4, 1025)) == "Diffie-Hellman group 1025 (group 1025) is not acceptable here");
  // The nearest of several is explained, not the first one.
  Sa two = offer1(5, 0, 1, 2);
  two.proposals[0].transforms.push_back(offer1(7, 256, 4, 5).proposals[0].transforms[0]);
  CHECK(difference1("aes256-sha256-modp2048", two) == "Diffie-Hellman group 5 (modp1536) is not acceptable here");
  const auto both = select_ike(phase1("aes256-sha256-modp2048"), two);
  CHECK(both.error().offered == "3des-md5-modp1024, aes256-sha256-modp1536");
}

TEST_CASE("phase 1: every value of every attribute gives a suite of the table or a refusal", "[ikev1][proposal][C1][A13][E9]") {
  const auto all = phase1("aes128-aes192-aes256-sha1-sha256-sha384-sha512-modp2048-modp3072-modp4096-ecp256-ecp384-ecp521");
  std::size_t accepted = 0;
  const auto count = [&](const Sa& sa) { accepted += select_ike(all, sa) ? 1U : 0U; };
  for (int v = 0; v < 65536; v += v < 1100 ? 1 : 97) {
    count(offer1(v, 128, 2, 14));            // 7
    count(offer1(7, 128, v, 14));            // 2, 4, 5, 6
    count(offer1(7, 128, 2, v));             // 14, 15, 16, 19, 20, 21
    count(offer1(7, 128, 2, 14, v));         // 1
    if (v != 0) count(offer1(7, v, 2, 14));  // 128, 192, 256
  }
  CHECK(accepted == 1 + 4 + 6 + 1 + 3);
  CHECK_FALSE(select_ike(all, offer1(7, 0, 2, 14)));  // AES without a key length
  // PRFs of IKEv2 have no number here: neither 0 nor anything else stands for them.
  for (const Prf prf : {Prf::AesXcbc, Prf::AesCmac}) {
    const std::vector suites{IkeSuite{Encr::AesCbc, 128, prf, DhGroup::Modp2048}};
    CHECK(build_ike_offer(suites, 0).proposals[0].transforms.empty());
    for (int v = 0; v < 16; ++v) CHECK_FALSE(select_ike(suites, offer1(7, 128, v, 14)));
  }
  CHECK(difference1("aes128-sha1-modp2048", offer1(7, 128, 0, 14)) == "hash hash 0 is not acceptable here");
}

TEST_CASE("phase 1: each authentication method is taken by who wants it, and by nobody else", "[ikev1][proposal][E9][E14][rfc4754]") {
  const auto suites = phase1("aes256-sha256-modp2048");
  for (int v = 0; v < 65536; ++v) {
    const auto number = static_cast<std::uint16_t>(v);
    for (const Phase1AuthInfo& wanted : phase1_auth_table()) {
      if (v > 300 && v < 64000 && v % 997 != 0) break;
      const bool taken = select_ike(suites, offer1(7, 256, 4, 14, v), wanted.auth).has_value();
      if (taken != (number == wanted.number)) FAIL("method " << v << " where " << wanted.number << " is wanted");
    }
  }
  for (const std::uint16_t never : std::initializer_list<std::uint16_t>{0, 2, 4, 5, 64223, 65003, 65007, 65009})
    CHECK(find_phase1_auth(never) == nullptr);
  for (const Phase1AuthInfo& row : phase1_auth_table()) {
    const Sa offer = build_ike_offer(suites, 3600, row.auth);
    const auto choice = select_ike(suites, offer, row.auth);
    REQUIRE(choice);
    CHECK(accept_ike(offer, choice->reply));
    CHECK(offer.proposals[0].transforms[0].attributes[4] == tv(3, row.number));
  }
  // A combination without a number is neither offered nor taken.
  const Phase1Auth none{ike::AuthMethod::EcdsaP256, false, ike::Role::Initiator};
  CHECK_FALSE(select_ike(suites, build_ike_offer(suites, 3600, none), none));
}

TEST_CASE("Aggressive Mode offers the suites of its first one's group", "[ikev1][proposal][rfc2409-5]") {
  const auto suites = phase1("aes256-aes128-sha256-ecp256-modp2048");
  const auto same = same_group(suites);
  REQUIRE(same.size() == 2);
  CHECK(same[0].group == suites[0].group);
  CHECK(same[1].group == suites[0].group);
}

TEST_CASE("phase 1: odd attributes", "[ikev1][proposal][A11][C3][rfc2409-A]") {
  const char* const suite = "aes256-sha256-modp2048";
  const auto refused = [&](const std::vector<Attribute>& more) { return difference1(suite, offer1(7, 256, 4, 14, 1, more)); };
  CHECK(refused({tv(1, 7)}) == "attribute 1 stands there twice");
  CHECK(refused({tv(5, 1)}) == "group parameters (attribute 5) are not negotiated here");
  for (const std::size_t n : {96U, 256U, 2500U})
    CHECK(refused({Attribute{6, false, Bytes(n, 1)}}) == "attribute 6 is " + std::to_string(n) + " bytes long");
  CHECK(refused({tv(13, 1)}) == "attribute 13 is not supported");
  CHECK(refused({tv(17, 1)}) == "attribute 17 is not supported");
  CHECK(refused({tv(12, 3600)}) == "a life duration without a life type");
  CHECK(refused({tv(11, 1)}) == "a life type without a duration");
  CHECK(refused({tv(11, 1), tv(11, 1), tv(12, 1)}) == "a life type without a duration");
  CHECK(refused({tv(11, 3), tv(12, 1)}) == "a life type that is neither seconds nor kilobytes");
  CHECK(refused({tv(11, 1), tv(12, 0)}) == "a life duration of zero");
  CHECK(refused({tv(11, 1), Attribute{12, false, {}}}) == "a life duration of 0 bytes");
  CHECK(refused({tv(11, 1), Attribute{12, false, Bytes(9, 1)}}) == "a life duration of 9 bytes");
  CHECK(refused({tv(11, 1), Attribute{12, false, Bytes(4000, 1)}}) == "attribute 12 is 4000 bytes long");
  CHECK(refused({tv(11, 1), tv(12, 60), tv(11, 1), tv(12, 60)}) == "attribute 12 stands there twice");
  // A private attribute is ignored, and goes back unaltered in the reply.
  const auto odd = select_ike(
      phase1(suite), offer1(7, 256, 4, 14, 1, {tv(11, 2), tv(12, 1000), tv(11, 1), Attribute{12, false, Bytes(8, 0xff)}, tv(20000, 5)}));
  REQUIRE(odd);
  CHECK(odd->life.seconds == 0xffffffffffffffff);
  CHECK(odd->life.kbytes == 1000);
  CHECK(odd->reply.proposals[0].transforms[0].attributes.size() == 10);
  CHECK(encode_body(odd->reply).size() < 500);
}

TEST_CASE("phase 1: proposals that are none of ISAKMP", "[ikev1][proposal][A5]") {
  Sa sa = offer1(7, 256, 4, 14);
  sa.proposals[0].protocol = kProtoEsp;
  CHECK(difference1("aes256-sha256-modp2048", sa) == "a proposal for ESP is not acceptable here");
  for (const std::size_t n : {1U, 3U, 16U}) {
    sa = offer1(7, 256, 4, 14);
    sa.proposals[0].spi = Bytes(n);
    CHECK(difference1("aes256-sha256-modp2048", sa) == "an SPI of " + std::to_string(n) + " bytes in an ISAKMP proposal");
  }
  sa.proposals[0].spi = Bytes(8);
  CHECK(select_ike(phase1("aes256-sha256-modp2048"), sa));
  sa.proposals[0].transforms[0].id = 2;
  CHECK(difference1("aes256-sha256-modp2048", sa) == "transform 2 is not KEY_IKE");
}

TEST_CASE("phase 1: a reply must be one transform of the offer, whatever the form of its numbers", "[ikev1][proposal][C5][rfc2408-4.2]") {
  const Sa offer = build_ike_offer(phase1("aes256-aes128-sha256-modp2048"), 14400);
  Sa reply{{Proposal{1, kProtoIsakmp, {}, {offer.proposals[0].transforms[1]}}}};
  REQUIRE(accept_ike(offer, reply));
  CHECK(accept_ike(offer, reply)->suite.to_string() == "aes128-sha256-modp2048");
  auto& attributes = reply.proposals[0].transforms[0].attributes;
  std::swap(attributes[0], attributes[4]);  // another order, and the duration as TLV
  attributes[6] = Attribute::tlv32(12, 14400);
  CHECK(accept_ike(offer, reply));
  attributes[6] = Attribute::tlv32(12, 14401);
  CHECK_FALSE(accept_ike(offer, reply));
  attributes[6] = tv(12, 14400);
  attributes.push_back(tv(14, 64));  // a second key length
  CHECK_FALSE(accept_ike(offer, reply));
  attributes.pop_back();
  CHECK(accept_ike(offer, reply));
  CHECK_FALSE(accept_ike(offer, offer));  // two transforms
  Sa doubled = reply;
  doubled.proposals.push_back(reply.proposals[0]);
  CHECK(accept_ike(offer, doubled).error().difference == "the reply holds 2 proposals, one is allowed");
  CHECK(accept_ike(offer, offer1(7, 128, 4, 2)).error().notify == NotifyType::BadProposalSyntax);
}

TEST_CASE("phase 2: an offer's bytes", "[ikev1][proposal][rfc2407-4.5]") {
  const auto suites = esp("aes128gcm16-ecp256");
  CHECK(to_hex(encode_body(build_esp_offer({suites, Spi{0xc0ffee01}, Encapsulation::UdpTunnel, 3960, 0}))) ==
        "0000000100000001"
        "0000002801030401c0ffee01"
        "0000001c01140000"
        "8001000180020f7880030013"
        "8004000380060080");
  const auto cbc = esp("aes256-sha256");
  CHECK(to_hex(encode_body(build_esp_offer({cbc, Spi{0xc0ffee01}, Encapsulation::Tunnel, 0, 1000000}))) ==
        "0000000100000001"
        "0000002c01030401c0ffee01"
        "00000020010c0000"
        "8001000200020004000f4240"
        "800400018005000580060100");
}

TEST_CASE("phase 2: every suite of the table, with and without PFS, every encapsulation, ESN", "[ikev1][proposal][rfc4304]") {
  for (const Encapsulation mode : {Encapsulation::Tunnel, Encapsulation::Transport, Encapsulation::UdpTunnel, Encapsulation::UdpTransport})
    for (const DhGroup pfs : {DhGroup::None, DhGroup::Modp2048, DhGroup::Ecp521})
      for (const bool esn : {false, true}) {
        auto all = every_suite();
        for (auto& s : all) {
          s.pfs = pfs;
          s.esn = esn;
        }
        const Sa offer = build_esp_offer({all, Spi{0xc0ffee01}, mode, 3600, 0});
        REQUIRE(offer.proposals.size() == 2);
        REQUIRE(offer.proposals[0].transforms.size() + offer.proposals[1].transforms.size() == all.size());
        for (const EspSuite& s : all) {
          INFO(s.to_string());
          const auto choice = select_esp({std::span(&s, 1), mode, pfs != DhGroup::None}, offer, kOurs);
          REQUIRE(choice);
          REQUIRE(choice->suite == s);
          REQUIRE(choice->mode == mode_of(mode));
          REQUIRE(choice->spi.value == 0xc0ffee01);
          REQUIRE(choice->life_seconds == 3600);
          REQUIRE_FALSE(choice->life_kbytes);
          const auto accepted = accept_esp(offer, choice->reply);
          REQUIRE(accepted);
          REQUIRE(accepted->suite == s);
          REQUIRE(accepted->mode == mode_of(mode));
          REQUIRE(accepted->spi == kOurs);
        }
      }
}

TEST_CASE("phase 2: AH and ESN on the wire", "[ikev1][proposal][rfc2407-4.4.3][rfc4304]") {
  const auto ah = parse_ah_proposal("sha256-esn").value();
  CHECK(to_hex(encode_body(build_esp_offer({ah, Spi{0xc0ffee01}, Encapsulation::Transport, 0, 0}))) ==
        "0000000100000001"
        "0000002001020401c0ffee01"
        "0000001401050000"
        "8004000280050005800b0001");
  // AH's transform id and its authentication algorithm must say the same.
  Sa sa = build_esp_offer({ah, kOurs, Encapsulation::Tunnel, 0, 0});
  sa.proposals[0].transforms[0].id = 3;
  CHECK_FALSE(select_esp({ah, Encapsulation::Tunnel, false}, sa, kOurs));
  CHECK(difference2("aes256-sha256", sa) == "AH is not acceptable here");
  CHECK(difference2("aes256-sha256-esn", offer2(12, 256, 5)) == "no extended sequence numbers are offered, they are wanted");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 5, 0, 1, {tv(11, 1)})) == "extended sequence numbers are offered, others are wanted");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 5, 0, 1, {tv(11, 2)})) == "extended sequence numbers of an unknown kind");
}

TEST_CASE("phase 2: transport mode where both ask for it, else tunnel mode", "[ikev1][proposal][rfc2407-4.5]") {
  const auto suites = esp("aes256-aes128-sha256");
  EspWanted wanted{suites, Encapsulation::Transport, false, Encapsulation::Tunnel};
  CHECK(select_esp(wanted, offer2(12, 256, 5, 0, 2), kOurs)->mode == SaMode::Transport);
  CHECK(select_esp(wanted, offer2(12, 256, 5, 0, 1), kOurs)->mode == SaMode::Tunnel);
  CHECK_FALSE(select_esp(wanted, offer2(12, 256, 5, 0, 4), kOurs));
  // The better suite decides before the mode does; of one suite the preferred mode.
  Sa both = offer2(12, 256, 5, 0, 1);
  both.proposals[0].transforms.push_back(offer2(12, 256, 5, 0, 2).proposals[0].transforms[0]);
  CHECK(select_esp(wanted, both, kOurs)->mode == SaMode::Transport);
  wanted = {suites, Encapsulation::Tunnel, false};
  CHECK(select_esp(wanted, both, kOurs)->mode == SaMode::Tunnel);
  CHECK_FALSE(select_esp(wanted, offer2(12, 256, 5, 0, 2), kOurs));
}

TEST_CASE("phase 2: one group per offer", "[ikev1][proposal][rfc2409-5.5]") {
  const auto suites = esp("aes128-aes256-sha256-ecp256-modp2048");
  CHECK(pfs_groups(suites) == std::vector{DhGroup::Ecp256, DhGroup::Modp2048});
  const auto kept = with_pfs(suites, DhGroup::Modp2048);
  CHECK(kept.size() == 2);
  for (const auto& s : kept) CHECK(s.pfs == DhGroup::Modp2048);
  CHECK(build_esp_offer({suites, kOurs, Encapsulation::Tunnel, 0, 0}).proposals[0].transforms.size() == 2);
  CHECK(pfs_groups({}).empty());
}

TEST_CASE("phase 2: a refusal names the first difference", "[ikev1][proposal]") {
  CHECK(difference2("aes256-sha256", offer2(12, 128, 5)) == "encryption aes128 is not acceptable here");
  CHECK(difference2("aes256-sha256", offer2(3, 0, 5)) == "encryption 3des is not acceptable here");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 1)) == "authentication algorithm md5 is not acceptable here");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 5, 2), true) == "Diffie-Hellman group 2 (modp1024) is not acceptable here");
  CHECK(difference2("aes256-sha256-modp2048", offer2(12, 256, 5)) == "no Diffie-Hellman group is offered, one is wanted");
  CHECK(difference2("aes256-sha256-modp2048", offer2(12, 256, 5, 14)) == "a Diffie-Hellman group is offered without a KE payload");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 5), true) == "a KE payload came without a Diffie-Hellman group in the offer");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 5, 0, 2)) == "encapsulation mode transport is offered, tunnel is wanted");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 5), false, Encapsulation::UdpTunnel) ==
        "encapsulation mode tunnel is offered, UDP tunnel is wanted");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 5, 0, 1, {tv(12, 1)})) == "attribute 12 is not supported");
  CHECK(difference2("aes256-sha256", offer2(12, 256, 5, 0, 1, {tv(1, 1), tv(2, 0)})) == "a life duration of zero");
}

TEST_CASE("phase 2: no encryption without integrity, no AEAD with one", "[ikev1][proposal][attack-J1][rfc4106-8]") {
  CHECK(difference2("aes256-sha256", offer2(12, 256, 0)) == "no authentication algorithm is offered");
  CHECK(difference2("aes128gcm16", offer2(20, 128, 2)) == "authentication algorithm sha1 is not acceptable here");
  CHECK(difference2("aes128gcm16", offer2(20, 0, 0)) == "encryption aesgcm16 is not acceptable here");
  CHECK(difference2("aes128gcm16", offer2(20, 160, 0)) == "encryption aes160gcm16 is not acceptable here");
  CHECK(difference2("aes128gcm16", offer2(23, 128, 0)) == "encryption aes128gmac is not acceptable here");
  CHECK(difference2("aes128-sha256", offer2(11, 0, 5)) == "encryption null is not acceptable here");
}

TEST_CASE("phase 2: every transform id, key length and authentication algorithm: refused, or exactly what it says",
          "[ikev1][proposal][attack-C1]") {
  const auto all = every_suite();
  std::size_t accepted = 0;
  for (const std::uint8_t protocol : {kProtoEsp, kProtoAh})
    for (int id = 0; id < 256; ++id)
      for (const int bits : {-1, 0, 1, 127, 128, 129, 192, 256, 65535})
        for (int auth = 0; auth < 20; ++auth) {
          Sa sa = offer2(id, 0, auth);
          if (bits >= 0) sa.proposals[0].transforms[0].attributes.push_back(tv(6, bits));
          sa.proposals[0].protocol = protocol;
          const auto choice = select_esp({all, Encapsulation::Tunnel, false}, sa, kOurs);
          if (!choice) continue;
          ++accepted;
          const EspSuite& s = choice->suite;
          CAPTURE(protocol, id, bits, auth, s.to_string());
          const EncrInfo* e = find_encr(s.encr, s.key_bits);
          const IntegInfo* i = find_integ(s.integ);
          REQUIRE(static_cast<std::uint8_t>(s.protocol) == protocol);
          REQUIRE(auth == (i ? i->ikev1_auth : 0));
          if (protocol == kProtoAh) {
            REQUIRE((!e && i && i->ikev1_ah == id && bits == -1));
          } else {
            REQUIRE((e && e->ikev1_esp == id && (e->fixed_key ? bits == -1 || bits == e->key_bits : bits == e->key_bits)));
            REQUIRE(e->aead() == (i == nullptr));
          }
          REQUIRE(find_encr(s.encr, s.key_bits) == e);
        }
  // What has a key of fixed length may say it: null's is 0, that of 3DES 192.
  const auto null_suites =
      static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const auto& s) { return s.encr == Encr::Null; }));
  const auto tdes_suites =
      static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const auto& s) { return s.encr == Encr::TripleDes; }));
  CHECK(accepted == all.size() + null_suites + tdes_suites);
}

TEST_CASE("phase 2: what IKEv1 has no number for is neither offered nor taken", "[ikev1][proposal][attack-C1]") {
  const auto ikev2_only = every_suite(false);
  REQUIRE(ikev2_only.size() > 10);
  CHECK(build_esp_offer({ikev2_only, kOurs, Encapsulation::Tunnel, 0, 0}).proposals.empty());
  for (const std::uint8_t protocol : {kProtoEsp, kProtoAh})
    for (int id = 0; id < 256; ++id)
      for (const int bits : {-1, 0, 128, 256})
        for (int auth = 0; auth < 20; ++auth) {
          Sa sa = offer2(id, 0, 0, 0, 1, {tv(5, auth)});
          if (bits >= 0) sa.proposals[0].transforms[0].attributes.push_back(tv(6, bits));
          sa.proposals[0].protocol = protocol;
          if (select_esp({ikev2_only, Encapsulation::Tunnel, false}, sa, kOurs)) FAIL("transform " << id << " with " << auth);
        }
}

TEST_CASE("phase 2: SPIs, protocols and bundles that are not taken", "[ikev1][proposal][A5][attack-J7]") {
  const auto suites = esp("aes256-sha256");
  const EspWanted wanted{suites, Encapsulation::Tunnel, false};
  for (const char* spi : {"", "c0", "c0ffee", "c0ffee0102", "00000000", "000000ff"}) {
    Sa sa = offer2(12, 256, 5);
    sa.proposals[0].spi = hex(spi);
    CHECK_FALSE(select_esp(wanted, sa, kOurs));
  }
  for (const int protocol : {0, 1, 2, 4, 255}) {
    Sa sa = offer2(12, 256, 5);
    sa.proposals[0].protocol = static_cast<std::uint8_t>(protocol);
    CHECK_FALSE(select_esp(wanted, sa, kOurs));
  }
  Sa bundle = offer2(12, 256, 5);
  bundle.proposals.push_back(bundle.proposals[0]);
  bundle.proposals[1].protocol = kProtoIpcomp;
  CHECK(difference2("aes256-sha256", bundle) == "a proposal of several protocols at once is not acceptable here");
  bundle.proposals[1].number = 2;
  CHECK(select_esp(wanted, bundle, kOurs));
}

TEST_CASE("phase 2: replies", "[ikev1][proposal][rfc2408-4.2]") {
  const auto suites = esp("aes256-aes128-sha256");
  const Sa offer = build_esp_offer({suites, kOurs, Encapsulation::Tunnel, 3600, 0});
  Sa reply{{Proposal{1, kProtoEsp, hex("deadbeef"), {offer.proposals[0].transforms[1]}}}};
  REQUIRE(accept_esp(offer, reply));
  CHECK(accept_esp(offer, reply)->spi.value == 0xdeadbeef);
  CHECK(accept_esp(offer, reply)->suite.to_string() == "aes128-sha256");
  reply.proposals[0].spi = hex("00000001");
  CHECK_FALSE(accept_esp(offer, reply));
  reply.proposals[0].spi = hex("deadbeef");
  reply.proposals[0].transforms[0].id = 20;
  CHECK_FALSE(accept_esp(offer, reply));
  reply.proposals[0].transforms[0].id = 12;
  reply.proposals[0].protocol = kProtoAh;
  CHECK_FALSE(accept_esp(offer, reply));
  CHECK_FALSE(accept_esp(offer, Sa{}));
}

TEST_CASE("an offer as large as the bounds allow is judged in linear time", "[ikev1][proposal][attack-C2]") {
  Sa sa;
  for (std::size_t i = 0; i < kMaxProposals; ++i) {
    Proposal p{static_cast<std::uint8_t>(i), kProtoIsakmp, {}, {}};
    p.transforms.assign(kMaxTransforms, offer1(7, 128, 1, 2).proposals[0].transforms[0]);
    sa.proposals.push_back(p);
  }
  const auto choice = select_ike(phase1("aes256-sha256-modp2048"), sa);
  REQUIRE_FALSE(choice);
  CHECK(choice.error().offered.size() < 400);
  CHECK(choice.error().offered.find("and 4088 more") != std::string::npos);
}

TEST_CASE("RESPONDER-LIFETIME", "[ikev1][proposal][rfc2407-4.6.3.1]") {
  CHECK(encode_responder_lifetime({3600, 1'000'000}) == hex("80010001 80020e10 80010002 00020004 000f4240"));
  CHECK(encode_responder_lifetime({}).empty());
  const auto life = parse_responder_lifetime(hex("80010001 80020e10 80010002 00020004 000f4240"));
  REQUIRE(life);
  CHECK(life->seconds == 3600);
  CHECK(life->kbytes == 1000000);
  CHECK(parse_responder_lifetime({}));
  // Of an ISAKMP SA it is written with the attributes of phase 1, and read with either.
  CHECK(encode_responder_lifetime({3600, {}}, true) == hex("800b0001 800c0e10"));
  CHECK_FALSE(parse_responder_lifetime(hex("800b0001 800c0e10"))->seconds);
  CHECK(parse_responder_lifetime(hex("800b0001 800c0e10"), true)->seconds == 3600);
  CHECK(parse_responder_lifetime(hex("80010002 80020e10"), true)->kbytes == 3600);
  CHECK_FALSE(parse_responder_lifetime(hex("800b0001 800c0000"), true));
  CHECK_FALSE(parse_responder_lifetime(hex("80010001 8002")));
  CHECK_FALSE(parse_responder_lifetime(hex("80010001 0002ffff 00")));
  CHECK_FALSE(parse_responder_lifetime(hex("80020e10")));
}

// Offers, choices and replies. The words for what does not fit are in proposal_words_test.cpp. It is longer than other files (400 lines
// elsewhere), since IKE and CHILD SAs are judged by the same rules and by the same random offers.
#include "control/ikev2/proposal.hpp"

#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::ikev2;

namespace {
using T = TransformType;
constexpr Spi kOurs{0x11223344}, kTheirs{0xc0ffee01};
const Bytes kTheirSpi{0xc0, 0xff, 0xee, 0x01}, kOurSpi{0x11, 0x22, 0x33, 0x44};

std::vector<IkeSuite> ike(std::string_view text) {
  auto suites = parse_ike_proposal_v2(text);
  REQUIRE(suites);
  return *suites;
}
std::vector<EspSuite> esp(std::string_view text) {
  auto suites = parse_esp_proposal_v2(text);
  REQUIRE(suites);
  return *suites;
}
template <class Suite>
std::vector<Suite> join(std::initializer_list<std::vector<Suite>> lists) {
  std::vector<Suite> out;
  for (const auto& l : lists) out.insert(out.end(), l.begin(), l.end());
  return out;
}
Transform tr(T type, int id, std::optional<std::uint16_t> bits = {}) { return {type, static_cast<std::uint16_t>(id), bits}; }
Sa sa(std::uint8_t protocol, const Bytes& spi, std::vector<std::vector<Transform>> lists) {
  Sa out;
  for (auto& l : lists) out.proposals.push_back({static_cast<std::uint8_t>(out.proposals.size() + 1), protocol, spi, std::move(l)});
  return out;
}
Sa ike_sa(std::vector<Transform> list) { return sa(kProtoIke, {}, {std::move(list)}); }
Sa esp_sa(std::vector<Transform> list) { return sa(kProtoEsp, kTheirSpi, {std::move(list)}); }
/// aes256-sha256-modp2048, and aes256-sha256 of ESP.
std::vector<Transform> plain_ike() { return {tr(T::Encr, 12, 256), tr(T::Prf, 5), tr(T::Integ, 12), tr(T::Ke, 14)}; }
std::vector<Transform> plain_esp() { return {tr(T::Encr, 12, 256), tr(T::Integ, 12), tr(T::Esn, 0)}; }
std::vector<Transform> with(std::vector<Transform> list, Transform more) {
  list.push_back(more);
  return list;
}
std::vector<Transform> without(std::vector<Transform> list, T type) {
  std::erase_if(list, [&](const Transform& t) { return t.type == type; });
  return list;
}

std::vector<IkeSuite> every_ike_suite() {
  std::vector<IkeSuite> out;
  for (const EncrInfo& e : encr_table())
    for (const PrfInfo& p : prf_table())
      for (const DhInfo& d : dh_table()) {
        if (!e.ikev2_ike()) continue;
        if (e.aead()) out.push_back({e.id, e.key_bits, p.id, d.id});
        for (const IntegInfo& i : integ_table())
          if (!e.aead() && i.esp()) out.push_back({e.id, e.key_bits, p.id, d.id, i.id});
      }
  return out;
}
std::vector<EspSuite> every_esp_suite() {
  std::vector<EspSuite> out;
  const auto add = [&](EspSuite s) {
    for (const bool esn : {false, true}) {
      s.esn = esn, s.pfs = DhGroup::None;
      out.push_back(s);
      for (const DhInfo& d : dh_table()) s.pfs = d.id, out.push_back(s);
    }
  };
  for (const EncrInfo& e : encr_table()) {
    if (e.aead()) add({e.id, e.key_bits, Integ::None});
    for (const IntegInfo& i : integ_table())
      if (!e.aead() && i.esp()) add({e.id, e.key_bits, i.id});
  }
  for (const IntegInfo& i : integ_table()) add({Encr::None, 0, i.id, DhGroup::None, SaProtocol::Ah});
  return out;
}

/// Every combination that a peer could take out of an offer, one transform of each kind that a proposal has.
std::vector<std::pair<std::uint8_t, std::vector<Transform>>> combinations(const Sa& offer) {
  std::vector<std::pair<std::uint8_t, std::vector<Transform>>> out;
  for (const Proposal& p : offer.proposals) {
    std::vector<std::vector<Transform>> partial{{}};
    for (const T type : {T::Encr, T::Prf, T::Integ, T::Ke, T::Esn}) {
      std::vector<std::vector<Transform>> next;
      for (const auto& base : partial)
        for (const Transform& t : p.transforms)
          if (t.type == type) next.push_back(with(base, t));
      if (!next.empty()) partial = std::move(next);
    }
    for (auto& one : partial) out.emplace_back(p.number, std::move(one));
  }
  return out;
}
template <class Suite>
std::vector<Suite> subset(const std::vector<Suite>& of, std::mt19937& random, std::size_t most) {
  std::vector<Suite> out;
  for (std::size_t n = random() % most + 1; n > 0; --n)
    if (const Suite& s = of[random() % of.size()]; std::ranges::find(out, s) == out.end()) out.push_back(s);
  return out;
}
}  // namespace

// ---------------------------------------------------------------------------------------------------------------- offers

TEST_CASE("offers: suites that are all combinations share a proposal", "[ikev2][proposal][rfc7296-3.3]") {
  CHECK(build_ike_offer(ike("aes256-aes128-sha256-modp2048-ecp256")) ==
        sa(kProtoIke, {}, {{tr(T::Encr, 12, 256), tr(T::Encr, 12, 128), tr(T::Prf, 5), tr(T::Integ, 12), tr(T::Ke, 14), tr(T::Ke, 19)}}));
  // Two integrity algorithms, each with its own PRF, are not four combinations.
  CHECK(build_ike_offer(ike("aes128-sha256-sha1-x25519")) == sa(kProtoIke, {},
                                                                {{tr(T::Encr, 12, 128), tr(T::Prf, 5), tr(T::Integ, 12), tr(T::Ke, 31)},
                                                                 {tr(T::Encr, 12, 128), tr(T::Prf, 2), tr(T::Integ, 2), tr(T::Ke, 31)}}));
  CHECK(build_ike_offer(ike("aes128-sha256-sha1-prfsha256-x25519")).proposals.size() == 1);
  // An AEAD has no integrity algorithm, nor one that is NONE, and a proposal of its own.
  CHECK(build_ike_offer(join({ike("aes128gcm16-chacha20poly1305-prfsha256-x25519"), ike("aes128-sha256-x25519")})) ==
        sa(kProtoIke, {},
           {{tr(T::Encr, 20, 128), tr(T::Encr, 28), tr(T::Prf, 5), tr(T::Ke, 31)},
            {tr(T::Encr, 12, 128), tr(T::Prf, 5), tr(T::Integ, 12), tr(T::Ke, 31)}}));
  CHECK(build_ike_offer(ike("3des-sha1-modp1024")) == ike_sa({tr(T::Encr, 3), tr(T::Prf, 2), tr(T::Integ, 2), tr(T::Ke, 2)}));
  CHECK(build_ike_offer(ike("aes256-sha256-modp2048"), IkeSpi{0x0102030405060708}) ==
        sa(kProtoIke, {1, 2, 3, 4, 5, 6, 7, 8}, {plain_ike()}));
}

TEST_CASE("offers: CHILD SAs say which sequence numbers, and groups only where they may", "[ikev2][proposal][rfc7296-3.3.3][rfc7296-1.2]") {
  CHECK(build_child_offer(esp("aes256-sha256"), kTheirs, true) == esp_sa(plain_esp()));
  CHECK(build_child_offer(esp("aes256-sha256-modp2048-ecp256"), kTheirs, false) == esp_sa(plain_esp()));
  CHECK(build_child_offer(esp("aes256-sha256-modp2048-ecp256-esn-noesn"), kTheirs, true) ==
        esp_sa({tr(T::Encr, 12, 256), tr(T::Integ, 12), tr(T::Ke, 14), tr(T::Ke, 19), tr(T::Esn, 1), tr(T::Esn, 0)}));
  CHECK(build_child_offer(esp("aes128gcm16-chacha20poly1305"), kTheirs, true) ==
        esp_sa({tr(T::Encr, 20, 128), tr(T::Encr, 28), tr(T::Esn, 0)}));
  CHECK(build_child_offer(esp("null-sha1"), kTheirs, true) == esp_sa({tr(T::Encr, 11), tr(T::Integ, 2), tr(T::Esn, 0)}));
  CHECK(build_child_offer(esp("aes192gmac-esn"), kTheirs, true) == esp_sa({tr(T::Encr, 21, 192), tr(T::Esn, 1)}));
  const auto ah = parse_ah_proposal_v2("sha512-aes256gmac-aescmac").value();
  CHECK(build_child_offer(ah, kTheirs, true) ==
        sa(kProtoAh, kTheirSpi, {{tr(T::Integ, 14), tr(T::Integ, 11), tr(T::Integ, 8), tr(T::Esn, 0)}}));
  CHECK(build_child_offer(join({esp("aes128gcm16-ecp256"), ah, esp("aes128gcm16")}), kTheirs, true).proposals.size() == 3);
  CHECK(build_child_offer(join({esp("aes128gcm16-ecp256"), ah, esp("aes128gcm16")}), kTheirs, false).proposals.size() == 2);
}

TEST_CASE("offers: what IKEv2 cannot negotiate is left out, and there is an end", "[ikev2][proposal]") {
  CHECK(build_ike_offer(parse_ike_proposal("aes256-sha256-modp2048").value()).proposals.empty());  // a suite of IKEv1
  CHECK(build_ike_offer(std::vector{IkeSuite{Encr::AesGcm16, 128, Prf::HmacSha2_256, DhGroup::Ecp256, Integ::HmacSha2_256_128}})
            .proposals.empty());
  CHECK(build_ike_offer(std::vector{IkeSuite{Encr::AesCtr, 128, Prf::HmacSha2_256, DhGroup::Ecp256, Integ::HmacSha2_256_128}})
            .proposals.empty());
  CHECK(build_child_offer(std::vector{EspSuite{Encr::AesCbc, 128, Integ::None}}, kOurs, true).proposals.empty());
  CHECK(build_child_offer(std::vector{EspSuite{Encr::AesCbc, 128, Integ::Aes128Gmac}}, kOurs, true).proposals.empty());
  CHECK(build_ike_offer({}).proposals.empty());
  std::vector<IkeSuite> scattered;  // neighbours share nothing
  for (std::size_t n = 0; n < 200; ++n) {
    const auto bits = static_cast<std::uint16_t>(128 + n % 3 * 64);
    const Integ integ = integ_table()[n % 5].id;
    scattered.push_back({Encr::AesCbc, bits, prf_of(integ), dh_table()[n % dh_table().size()].id, integ});
  }
  REQUIRE(scattered.size() > kMaxProposals);
  CHECK(build_ike_offer(scattered).proposals.size() == kMaxProposals);
}

TEST_CASE("offers: exactly what is configured can be taken out of one, and nothing else", "[ikev2][proposal][rfc7296-3.3]") {
  // Few algorithms, so that random suites often make up products.
  const auto some_ike =
      join({ike("aes256-aes128-sha256-sha1-prfsha256-prfsha1-ecp256-modp2048"), ike("aes128gcm16-prfsha256-prfsha1-ecp256")});
  const auto some_esp = join({esp("aes256-aes128-sha256-sha1-ecp256-modp2048-esn-noesn"), esp("aes128gcm16-aes256gcm16-esn-noesn"),
                              esp("aes256-sha1"), parse_ah_proposal_v2("sha256-sha1-ecp256").value()});
  std::mt19937 random(4);
  std::size_t shared = 0;
  for (int round = 0; round < 1500; ++round) {
    const auto suites = subset(some_ike, random, 12);
    const Sa offer = build_ike_offer(suites);
    const auto all = combinations(offer);
    REQUIRE(all.size() == suites.size());
    shared += offer.proposals.size() < suites.size() ? 1U : 0U;
    for (const auto& [number, transforms] : all) {
      const auto choice = accept_ike(suites, Sa{{Proposal{number, kProtoIke, {}, transforms}}});
      REQUIRE(choice);
      REQUIRE(std::ranges::find(suites, choice->suite) != suites.end());
    }
    const auto other = some_ike[random() % some_ike.size()];  // one that is not configured is not taken by ourselves as a responder
    REQUIRE(select_ike(std::vector{other}, offer, other.group).has_value() == (std::ranges::find(suites, other) != suites.end()));
  }
  CHECK(shared > 300);
  for (int round = 0; round < 1500; ++round) {
    const bool pfs = round % 2 == 0;
    const auto suites = subset(some_esp, random, 12);
    std::vector<EspSuite> meant;
    for (EspSuite s : suites) {
      if (!pfs) s.pfs = DhGroup::None;
      if (std::ranges::find(meant, s) == meant.end()) meant.push_back(s);
    }
    const Sa offer = build_child_offer(suites, kTheirs, pfs);
    const auto all = combinations(offer);
    REQUIRE(all.size() == meant.size());
    for (const auto& [number, transforms] : all) {
      const std::uint8_t protocol = offer.proposals[number - 1U].protocol;
      const auto choice = accept_child(suites, pfs, Sa{{Proposal{number, protocol, kTheirSpi, transforms}}});
      REQUIRE(choice);
      REQUIRE(std::ranges::find(meant, choice->suite) != meant.end());
    }
    const auto other = some_esp[random() % some_esp.size()];
    const bool has = std::ranges::any_of(meant, [&](EspSuite s) {
      EspSuite o = other;
      if (!pfs) o.pfs = DhGroup::None;
      return s == o;
    });
    REQUIRE(select_child({std::span(&other, 1), kOurs, pfs, other.pfs}, offer).has_value() == has);
  }
}

// ---------------------------------------------------------------------------------------------------------------- choices

TEST_CASE("every suite of IKE alone is offered, taken and accepted, and by no other one", "[ikev2][proposal][C1]") {
  const auto suites = every_ike_suite();
  REQUIRE(suites.size() > 5000);
  std::size_t n = 0;
  for (const IkeSuite& s : suites) {
    const std::vector one{s};
    const Sa offer = build_ike_offer(one, IkeSpi{7});
    REQUIRE(offer.proposals.size() == 1);
    const auto chosen = select_ike(one, offer, s.group);
    REQUIRE(chosen);
    REQUIRE(chosen->suite == s);
    REQUIRE(chosen->spi == IkeSpi{7});
    REQUIRE(chosen->reply == ike_sa(offer.proposals[0].transforms));
    const auto accepted = accept_ike(one, chosen->reply);
    REQUIRE(accepted);
    REQUIRE(accepted->suite == s);
    REQUIRE_FALSE(accepted->spi);
    const IkeSuite& other = suites[(n++ * 7919 + 1) % suites.size()];
    REQUIRE(select_ike(std::vector{other}, offer, s.group).has_value() == (other == s));
    REQUIRE(accept_ike(std::vector{other}, chosen->reply).has_value() == (other == s));
  }
}

TEST_CASE("every suite of ESP and AH alone is offered, taken and accepted, and by no other one", "[ikev2][proposal][C1]") {
  const auto suites = every_esp_suite();
  REQUIRE(suites.size() > 1500);
  std::size_t n = 0;
  for (const EspSuite& s : suites) {
    const std::vector one{s};
    for (const bool pfs : {true, false}) {
      EspSuite meant = s;
      if (!pfs) meant.pfs = DhGroup::None;
      const Sa offer = build_child_offer(one, kTheirs, pfs);
      REQUIRE(offer.proposals.size() == 1);
      const auto chosen = select_child({one, kOurs, pfs, meant.pfs}, offer);
      REQUIRE(chosen);
      REQUIRE(chosen->suite == meant);
      REQUIRE(chosen->spi == kTheirs);
      REQUIRE(chosen->reply == Sa{{Proposal{1, static_cast<std::uint8_t>(s.protocol), kOurSpi, offer.proposals[0].transforms}}});
      const auto accepted = accept_child(one, pfs, chosen->reply);
      REQUIRE(accepted);
      REQUIRE(accepted->suite == meant);
      REQUIRE(accepted->spi == kOurs);
      EspSuite other = suites[(n++ * 7919 + 1) % suites.size()];
      if (!pfs) other.pfs = DhGroup::None;
      REQUIRE(select_child({std::span(&other, 1), kOurs, pfs, other.pfs}, offer).has_value() == (other == meant));
      REQUIRE(accept_child(std::span(&other, 1), pfs, chosen->reply).has_value() == (other == meant));
    }
  }
}

TEST_CASE("the responder's order decides, and the reply has the proposal's number", "[ikev2][proposal][rfc7296-2.7]") {
  const Sa offer = build_ike_offer(join({ike("aes128-sha256-modp2048"), ike("aes256gcm16-aes128gcm16-prfsha384-ecp384")}));
  const auto choice = select_ike(join({ike("aes128gcm16-prfsha384-ecp384"), ike("aes128-sha256-modp2048")}), offer, DhGroup::Modp2048);
  REQUIRE(choice);
  CHECK(choice->suite.to_string() == "aes128gcm16-prfsha384-ecp384");
  CHECK(choice->reply == Sa{{Proposal{2, kProtoIke, {}, {tr(T::Encr, 20, 128), tr(T::Prf, 6), tr(T::Ke, 20)}}}});
}

TEST_CASE("among suites of equal rank the group of the KE payload is taken", "[ikev2][proposal][rfc7296-1.2]") {
  const Sa offer = build_ike_offer(ike("aes128-aes256-sha256-modp2048-ecp256-x25519"));
  const auto ours = ike("aes256-aes128-sha256-x25519-ecp256");
  const auto group = [&](DhGroup ke) { return select_ike(ours, offer, ke)->suite.to_string(); };
  CHECK(group(DhGroup::Ecp256) == "aes256-sha256-ecp256");
  CHECK(group(DhGroup::Curve25519) == "aes256-sha256-curve25519");
  CHECK(group(DhGroup::Modp2048) == "aes256-sha256-curve25519");  // not ours: the peer is asked again
  CHECK(group(DhGroup{77}) == "aes256-sha256-curve25519");
  // The cipher comes before the group.
  CHECK(select_ike(join({ike("aes256-sha256-x25519"), ike("aes128-sha256-ecp256")}), offer, DhGroup::Ecp256)->suite.key_bits == 256);
  // Also where the other suite stands in another line of the configuration.
  CHECK(select_ike(join({ike("aes256-sha256-x25519"), ike("aes128-sha256-ecp256"), ike("aes256-sha256-ecp256")}), offer, DhGroup::Ecp256)
            ->suite.to_string() == "aes256-sha256-ecp256");
  const auto child = [](std::string_view ours_text, std::string_view theirs, DhGroup ke) {
    return select_child({esp(ours_text), kOurs, true, ke}, build_child_offer(esp(theirs), kTheirs, true))->suite.to_string();
  };
  CHECK(child("aes256-sha256-ecp256-modp2048", "aes256-sha256-modp2048-ecp256", DhGroup::Modp2048) == "aes256-sha256-modp2048");
  CHECK(child("aes256-sha256-ecp256-modp2048", "aes256-sha256-modp2048-ecp256", DhGroup::None) == "aes256-sha256-ecp256");
}

TEST_CASE("a CHILD SA without PFS: no group, or one that is NONE", "[ikev2][proposal][rfc7296-3.3.3]") {
  const auto plain = esp("aes256-sha256");
  const Sa none = esp_sa(with(plain_esp(), tr(T::Ke, 0)));
  const auto choice = select_child({plain, kOurs}, none);
  REQUIRE(choice);
  CHECK(choice->suite == plain[0]);
  CHECK(std::ranges::count(choice->reply.proposals[0].transforms, tr(T::Ke, 0)) == 1);  // a kind that is offered is answered
  const Sa either = esp_sa(with(with(plain_esp(), tr(T::Ke, 14)), tr(T::Ke, 0)));
  CHECK(select_child({plain, kOurs, true, DhGroup::Modp2048}, either)->suite.pfs == DhGroup::None);
  CHECK(select_child({esp("aes256-sha256-modp2048"), kOurs, true, DhGroup::Modp2048}, either)->suite.pfs == DhGroup::Modp2048);
  const auto both = join({esp("aes256-sha256-modp2048"), plain});
  CHECK(select_child({both, kOurs, true, DhGroup::None}, either)->suite.pfs == DhGroup::None);  // no KE payload came
  CHECK_FALSE(select_child({plain, kOurs}, esp_sa(with(plain_esp(), tr(T::Ke, 14)))));
  CHECK_FALSE(select_child({esp("aes256-sha256-modp2048"), kOurs}, esp_sa(plain_esp())));
  // IKE_AUTH: whatever is said about groups.
  for (const auto& more : {std::vector<Transform>{}, {tr(T::Ke, 0)}, {tr(T::Ke, 14)}, {tr(T::Ke, 14), tr(T::Ke, 0)}, {tr(T::Ke, 77)}}) {
    auto list = plain_esp();
    list.insert(list.end(), more.begin(), more.end());
    const auto in_auth = select_child({esp("aes256-sha256-ecp256"), kOurs, false}, esp_sa(list));
    REQUIRE(in_auth);
    CHECK(in_auth->suite == plain[0]);
    CHECK(std::ranges::none_of(in_auth->reply.proposals[0].transforms, [](const Transform& t) { return t.type == T::Ke && t.id != 0; }));
  }
}

TEST_CASE("an AEAD: no integrity algorithm, or one that is NONE", "[ikev2][proposal][rfc7296-3.3.3][rfc5282-8]") {
  const std::vector<Transform> gcm{tr(T::Encr, 20, 128), tr(T::Prf, 5), tr(T::Ke, 19)};
  const auto ours = ike("aes128gcm16-prfsha256-ecp256");
  CHECK(select_ike(ours, ike_sa(gcm), DhGroup::Ecp256));
  const auto choice = select_ike(ours, ike_sa(with(gcm, tr(T::Integ, 0))), DhGroup::Ecp256);
  REQUIRE(choice);
  CHECK(choice->reply.proposals[0].transforms.size() == 4);
  CHECK(accept_ike(ours, choice->reply));
  CHECK_FALSE(select_ike(ours, ike_sa(with(gcm, tr(T::Integ, 12))), DhGroup::Ecp256));
  CHECK_FALSE(accept_ike(ours, ike_sa(with(gcm, tr(T::Integ, 12)))));
  // NONE never stands in for an integrity algorithm that a cipher needs.
  auto cbc = without(plain_ike(), T::Integ);
  CHECK_FALSE(select_ike(ike("aes256-sha256-modp2048"), ike_sa(cbc), DhGroup::Modp2048));
  CHECK_FALSE(select_ike(ike("aes256-sha256-modp2048"), ike_sa(with(cbc, tr(T::Integ, 0))), DhGroup::Modp2048));
  CHECK(select_ike(ike("aes256-sha256-modp2048"), ike_sa(with(plain_ike(), tr(T::Integ, 0))), DhGroup::Modp2048));
  CHECK_FALSE(select_child({esp("aes256-sha256"), kOurs}, esp_sa({tr(T::Encr, 12, 256), tr(T::Integ, 0), tr(T::Esn, 0)})));
}

TEST_CASE("proposals that lack a kind, or have one that is unknown, are passed over; others count", "[ikev2][proposal][rfc7296-3.3.6]") {
  const auto ours = ike("aes256-sha256-modp2048");
  const auto refused = [&](std::vector<Transform> list) {
    CHECK_FALSE(select_ike(ours, ike_sa(list), DhGroup::Modp2048));
    const auto second = select_ike(ours, sa(kProtoIke, {}, {list, plain_ike()}), DhGroup::Modp2048);
    REQUIRE(second);
    CHECK(second->reply.proposals[0].number == 2);
  };
  for (const T type : {T::Encr, T::Prf, T::Integ, T::Ke}) refused(without(plain_ike(), type));
  for (const int type : {0, 5, 6, 12, 241, 255}) refused(with(plain_ike(), tr(static_cast<T>(type), 1)));
  refused({});
  const auto child = [&](std::uint8_t protocol, std::vector<Transform> list) {
    const auto both = join({esp("aes256-sha256"), parse_ah_proposal_v2("sha256").value()});
    return select_child({both, kOurs}, sa(protocol, kTheirSpi, {std::move(list)})).has_value();
  };
  CHECK(child(kProtoEsp, plain_esp()));
  CHECK(child(kProtoAh, without(plain_esp(), T::Encr)));
  CHECK_FALSE(child(kProtoAh, plain_esp()));
  CHECK_FALSE(child(kProtoEsp, without(plain_esp(), T::Encr)));
  CHECK_FALSE(child(kProtoEsp, without(plain_esp(), T::Esn)));
  CHECK_FALSE(child(kProtoEsp, with(plain_esp(), tr(T::Prf, 5))));
  CHECK_FALSE(child(kProtoEsp, with(plain_esp(), tr(static_cast<T>(6), 35))));
  CHECK_FALSE(child(kProtoIke, plain_esp()));
  CHECK_FALSE(child(4, plain_esp()));
}

TEST_CASE("transforms with another attribute, or with a length of key that does not fit, are never chosen",
          "[ikev2][proposal][rfc7296-3.3.5]") {
  const auto ours = ike("aes256-sha256-modp2048");
  for (std::size_t n = 0; n < 4; ++n) {
    auto list = plain_ike();
    list[n].unknown_attribute = true;
    CHECK_FALSE(select_ike(ours, ike_sa(list), DhGroup::Modp2048));
    CHECK_FALSE(accept_ike(ours, ike_sa(list)));
    list.push_back(plain_ike()[n]);  // another one of the kind may be
    const auto choice = select_ike(ours, ike_sa(list), DhGroup::Modp2048);
    REQUIRE(choice);
    CHECK(std::ranges::none_of(choice->reply.proposals[0].transforms, &Transform::unknown_attribute));
    list = plain_ike();
    list[n].key_bits = n == 0 ? 128 : 256;
    CHECK_FALSE(select_ike(ours, ike_sa(list), DhGroup::Modp2048));
  }
  auto list = plain_ike();
  list[0].key_bits.reset();
  CHECK_FALSE(select_ike(ours, ike_sa(list), DhGroup::Modp2048));
  CHECK_FALSE(select_ike(ike("chacha20poly1305-prfsha256-x25519"), ike_sa({tr(T::Encr, 28, 256), tr(T::Prf, 5), tr(T::Ke, 31)}),
                         DhGroup::Curve25519));
}

TEST_CASE("SPIs that cannot be are not taken", "[ikev2][proposal][rfc7296-3.3.1][rfc4303-2.1]") {
  const auto ours = ike("aes256-sha256-modp2048");
  const auto ike_spi = [&](Bytes spi) { return select_ike(ours, sa(kProtoIke, spi, {plain_ike()}), DhGroup::Modp2048).has_value(); };
  CHECK(ike_spi({}));
  CHECK(ike_spi({0, 0, 0, 0, 0, 0, 0, 1}));
  CHECK_FALSE(ike_spi(Bytes(8)));
  CHECK_FALSE(ike_spi({1, 2, 3, 4}));
  const auto child = esp("aes256-sha256");
  const auto child_spi = [&](Bytes spi) {
    const Sa one = sa(kProtoEsp, spi, {plain_esp()});
    const bool selected = select_child({child, kOurs}, one).has_value();
    CHECK(accept_child(child, true, one).has_value() == selected);
    return selected;
  };
  CHECK(child_spi({0, 0, 1, 0}));
  CHECK_FALSE(child_spi({0, 0, 0, 255}));
  CHECK_FALSE(child_spi(Bytes(4)));
  CHECK_FALSE(child_spi({}));
  CHECK_FALSE(child_spi(Bytes(8, 1)));
}

// ---------------------------------------------------------------------------------------------------------------- replies

TEST_CASE("a reply is one proposal that was sent, with one transform of each of its kinds", "[ikev2][proposal][rfc7296-2.7]") {
  const auto ours = join({ike("aes256-aes128-sha256-modp2048-ecp256"), ike("aes128gcm16-prfsha256-x25519")});
  const auto difference = [&](const Sa& reply) {
    const auto choice = accept_ike(ours, reply);
    REQUIRE_FALSE(choice);
    CHECK(choice.error().usable.empty());
    return choice.error().difference;
  };
  CHECK(accept_ike(ours, ike_sa(plain_ike()))->suite.to_string() == "aes256-sha256-modp2048");
  auto reordered = plain_ike();
  std::ranges::reverse(reordered);
  CHECK(accept_ike(ours, ike_sa(reordered)));
  const auto rekeyed = accept_ike(ours, sa(kProtoIke, {0, 0, 0, 0, 0, 0, 0, 9}, {plain_ike()}));
  REQUIRE(rekeyed);
  CHECK(rekeyed->spi == IkeSpi{9});
  CHECK(difference({}) == "the reply holds 0 proposals, one is allowed");
  CHECK(difference(sa(kProtoIke, {}, {plain_ike(), plain_ike()})) == "the reply holds 2 proposals, one is allowed");
  CHECK(difference(ike_sa(with(plain_ike(), tr(T::Ke, 19)))) == "the reply holds 2 transforms of one kind, one is allowed");
  CHECK(difference(ike_sa(with(plain_ike(), tr(T::Ke, 14)))) == "the reply holds 2 transforms of one kind, one is allowed");
  for (const T type : {T::Encr, T::Prf, T::Integ, T::Ke})
    CHECK(difference(ike_sa(without(plain_ike(), type))) == "the reply is not one suite of that proposal");
  for (const Transform& t : {tr(T::Encr, 12, 192), tr(T::Encr, 12), tr(T::Encr, 20, 128), tr(T::Prf, 2), tr(T::Integ, 2), tr(T::Ke, 31),
                             tr(T::Ke, 0), tr(T::Integ, 0)})
    CHECK(difference(ike_sa(with(without(plain_ike(), t.type), t))) == "the reply is not one suite of that proposal");
  CHECK(difference(ike_sa(with(plain_ike(), tr(T::Esn, 0)))) == "transform type 5 is not supported in a proposal for IKE");
  Sa numbered = ike_sa(plain_ike());
  numbered.proposals[0].number = 2;
  CHECK(difference(numbered) == "the reply is not one suite of that proposal");
  numbered.proposals[0].number = 3;
  CHECK(difference(numbered) == "the reply is proposal 3 for IKE, which was not offered");
  numbered.proposals[0].number = 0;
  CHECK(difference(numbered) == "the reply is proposal 0 for IKE, which was not offered");
  CHECK(difference(sa(kProtoEsp, {}, {plain_ike()})) == "the reply is proposal 1 for ESP, which was not offered");
  CHECK(difference(sa(kProtoIke, Bytes(8), {plain_ike()})) == "a reserved SPI in a proposal for IKE");
}

TEST_CASE("a reply about a CHILD SA has the group that was offered, if any was", "[ikev2][proposal][rfc7296-1.2]") {
  const auto pfs = esp("aes256-sha256-modp2048");
  const auto list = with(plain_esp(), tr(T::Ke, 14));
  CHECK(accept_child(pfs, true, esp_sa(list))->suite == pfs[0]);
  CHECK_FALSE(accept_child(pfs, true, esp_sa(plain_esp())));
  CHECK_FALSE(accept_child(pfs, true, esp_sa(with(plain_esp(), tr(T::Ke, 0)))));
  CHECK_FALSE(accept_child(pfs, false, esp_sa(list)));
  CHECK(accept_child(pfs, false, esp_sa(plain_esp()))->suite.pfs == DhGroup::None);
  CHECK(accept_child(pfs, false, esp_sa(with(plain_esp(), tr(T::Ke, 0))))->suite.pfs == DhGroup::None);
  CHECK_FALSE(accept_child(pfs, false, esp_sa(without(plain_esp(), T::Esn))));
  CHECK_FALSE(accept_child(pfs, false, esp_sa(with(without(plain_esp(), T::Esn), tr(T::Esn, 1)))));
  CHECK_FALSE(accept_child(pfs, false, sa(kProtoAh, kTheirSpi, {without(plain_esp(), T::Encr)})));
}

// Additional key exchanges: the keys after each of them (RFC 9370 §2.2.2), what AUTH proves of IKE_INTERMEDIATE (RFC 9242 §3.3.2), and the
// transforms. What is expected is computed by HMAC of OpenSSL here, not by our own PRFs.
#include <catch2/catch.hpp>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "control/ike/header.hpp"
#include "control/ikev2/cipher.hpp"
#include "control/ikev2/keymat.hpp"
#include "control/ikev2/message.hpp"
#include "control/ikev2/proposal.hpp"
#include "tests/unit/ikev2/crypto_golden.hpp"

using namespace culvert;
using namespace culvert::ikev2;
using culvert::test::fill;

namespace {

Bytes operator|(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
Bytes bytes(const SecretBytes& s) { return {s.view().begin(), s.view().end()}; }
Bytes hmac256(const Bytes& key, const Bytes& data) {
  Bytes out(32);
  unsigned size = 32;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(), out.data(), &size);
  return out;
}
Bytes stream(const Bytes& key, const Bytes& seed, std::size_t size) {
  Bytes out, t;
  for (std::uint8_t n = 1; out.size() < size; ++n) {
    t = hmac256(key, t | seed | Bytes{n});
    out = out | t;
  }
  out.resize(size);
  return out;
}
Bytes all_of(const IkeKeys& k) {
  Bytes out;
  for (const SecretBytes* part : {&k.d, &k.ai, &k.ar, &k.ei, &k.er, &k.pi, &k.pr}) out = out | bytes(*part);
  return out;
}
const IkeSpi kSpiI{0x0102030405060708}, kSpiR{0x1112131415161718};
const Bytes kSpis{1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18};

}  // namespace

TEST_CASE("the keys after each additional key exchange", "[ikev2][keymat][rfc9370-2.2.2]") {
  const IkeSuite suite = parse_ike_proposal_v2("aes256gcm16-prfsha256-x25519-ke1_ecp384-ke2_modp3072").value().front();
  const Bytes ni = fill(1, 32), nr = fill(2, 32), sk0 = fill(3, 32), sk1 = fill(4, 48), sk2 = fill(5, 384);
  IkeKeys keys = derive({suite, ni, nr, sk0, kSpiI, kSpiR});
  const std::size_t size = all_of(keys).size();
  Bytes want = stream(hmac256(ni | nr, sk0), ni | nr | kSpis, size);
  CHECK(all_of(keys) == want);
  for (const Bytes& shared : {sk1, sk2}) {
    const Bytes sk_d(want.begin(), want.begin() + 32);
    want = stream(hmac256(sk_d, shared | ni | nr), ni | nr | kSpis, size);
    keys = derive_rekeyed({suite, ni, nr, shared, kSpiI, kSpiR}, keys.prf, keys.d.view());
    CHECK(all_of(keys) == want);
  }
}

TEST_CASE("the keys of what is made or rekeyed with additional key exchanges", "[ikev2][keymat][rfc9370-2.2.4]") {
  const IkeSuite ike = parse_ike_proposal_v2("aes256gcm16-prfsha256-x25519-ke1_ecp384-ke2_modp3072").value().front();
  const EspSuite esp = parse_esp_proposal_v2("aes256-sha256-x25519-ke1_ecp384-ke2_modp3072").value().front();
  const Bytes ni = fill(1, 32), nr = fill(2, 32), sk0 = fill(3, 32), sk1 = fill(4, 48), sk2 = fill(5, 384), sk_d = fill(6, 32);
  const IkeKeys keys = derive_rekeyed({ike, ni, nr, sk0, kSpiI, kSpiR}, Prf::HmacSha2_256, sk_d, sk1 | sk2);
  CHECK(all_of(keys) == stream(hmac256(sk_d, sk0 | ni | nr | sk1 | sk2), ni | nr | kSpis, all_of(keys).size()));
  const ChildKeys child = child_keys(Prf::HmacSha2_256, sk_d, esp, ni, nr, ByteView(sk0), sk1 | sk2);
  CHECK((bytes(child.from_initiator.encr) | bytes(child.from_initiator.integ) | bytes(child.from_responder.encr) |
         bytes(child.from_responder.integ)) == stream(sk_d, sk0 | ni | nr | sk1 | sk2, 2 * 64));
}

TEST_CASE("what AUTH proves of IKE_INTERMEDIATE", "[ikev2][keymat][rfc9242-3.3.2]") {
  const IkeSuite suite = parse_ike_proposal_v2("aes256gcm16-prfsha256-x25519-ke1_ecp384").value().front();
  const Bytes sk_p1 = fill(7, 32), sk_p2 = fill(8, 32);
  Cipher cipher(suite, SecretBytes(fill(9, 36)), SecretBytes());
  Bytes so_far;
  SecretBytes got;
  std::uint32_t id = 0;
  for (const Bytes& sk_p : {sk_p1, sk_p2}) {
    ike::Header h;
    h.spi_i = kSpiI;
    h.spi_r = kSpiR;
    h.major = 2;
    h.exchange = ike::kExchangeIntermediate;
    h.flags = ike::kFlagInitiator;
    h.message_id = MessageId{++id};
    const Builder b = Builder().add(Ke{DhGroup::Ecp384, fill(10, 96)});
    const Bytes inside = b.chain();
    REQUIRE(inside.size() == 4 + 4 + 96);
    const auto length = static_cast<std::uint8_t>(28 + 4 + inside.size());
    const Bytes a = kSpis | Bytes{46, 0x20, 43, 0x08, 0, 0, 0, static_cast<std::uint8_t>(id), 0, 0, 0, length} |
                    Bytes{34, 0, 0, static_cast<std::uint8_t>(length - 28)};
    so_far = hmac256(sk_p, so_far | a | inside);
    const Bytes whole = cipher.seal(h, b.first(), inside);
    got = int_auth(Prf::HmacSha2_256, sk_p, got, whole, static_cast<std::uint8_t>(b.first()), inside);
    CHECK(bytes(got) == so_far);
    // The header of any of its fragments says the same.
    const Bytes part = cipher.seal_fragment(h, b.first(), ByteView(inside).first(20), {2, 6});
    CHECK(bytes(int_auth(Prf::HmacSha2_256, sk_p, {}, part, 34, inside)) ==
          bytes(int_auth(Prf::HmacSha2_256, sk_p, {}, whole, 34, inside)));
  }
  CHECK_THROWS_AS(int_auth(Prf::HmacSha2_256, sk_p1, {}, Bytes(27), 34, {}), std::invalid_argument);
}

TEST_CASE("signed octets end with both sides' IntAuth and the message ID of IKE_AUTH, or as ever", "[ikev2][keymat][rfc9242-3.3.2]") {
  const Bytes first = fill(1, 100), nonce = fill(2, 32), sk_p = fill(3, 32), id = fill(4, 12);
  const Bytes plain = first | nonce | hmac256(sk_p, id);
  CHECK(bytes(signed_octets(Prf::HmacSha2_256, first, nonce, sk_p, id)) == plain);
  const IntAuth proof{SecretBytes(fill(5, 32)), SecretBytes(fill(6, 32)), 2};
  CHECK(bytes(signed_octets(Prf::HmacSha2_256, first, nonce, sk_p, id, proof)) == (plain | fill(5, 32) | fill(6, 32) | Bytes{0, 0, 0, 3}));
}

TEST_CASE("transforms of additional key exchanges: types 6 to 12, methods by their numbers", "[ikev2][proposal][rfc9370-2.2.1]") {
  const auto suites = parse_ike_proposal_v2("aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke7_ecp384").value();
  const Sa offer = build_ike_offer(suites);
  REQUIRE(offer.proposals.size() == 1);
  const std::vector<Transform> want{{TransformType::Encr, 20, 256},
                                    {TransformType::Prf, 6},
                                    {TransformType::Ke, 31},
                                    {static_cast<TransformType>(6), 36},
                                    {static_cast<TransformType>(12), 20}};
  CHECK(offer.proposals[0].transforms == want);
  CHECK(describe(offer) == "aes256gcm16-prfsha384-curve25519-ke1_mlkem768-ke7_ecp384");
  const auto choice = select_ike(suites, offer, DhGroup::Curve25519);
  REQUIRE(choice);
  CHECK(choice->suite == suites[0]);
  CHECK(accept_ike(suites, choice->reply).value().suite == suites[0]);
}

TEST_CASE("additional key exchanges of CHILD SAs: none in IKE_AUTH", "[ikev2][proposal][rfc9370-2.2.4]") {
  const auto suites = parse_esp_proposal_v2("aes256gcm16-x25519-ke1_ecp384-ke1_none").value();
  REQUIRE(suites.size() == 2);
  const Sa offer = build_child_offer(suites, Spi{0x11223344}, true);
  REQUIRE(offer.proposals.size() == 2);
  CHECK(offer.proposals[0].transforms.back() == Transform{additional_type(0), 20});
  CHECK(select_child({.suites = suites, .our_spi = Spi{0x55667788}, .ke = DhGroup::Curve25519}, offer).value().suite == suites[0]);
  const Sa auth = build_child_offer(suites, Spi{0x11223344}, false);
  REQUIRE(auth.proposals.size() == 1);
  CHECK(auth.proposals[0].transforms == std::vector<Transform>{{TransformType::Encr, 20, 256}, {TransformType::Esn, 0}});
  // Whatever a peer lists there.
  CHECK(select_child({.suites = suites, .our_spi = Spi{0x55667788}, .pfs = false}, offer).value().suite.more == AdditionalKes{});
  const auto ah = parse_ah_proposal_v2("sha256-x25519-ke2_ecp384").value();
  REQUIRE(ah.size() == 1);
  CHECK(ah[0].to_string() == "sha256-curve25519-ke2_ecp384");
  CHECK_FALSE(parse_esp_proposal_v2("aes256gcm16-ke1_ecp384"));
}

TEST_CASE("additional key exchanges: a proposal of one that may be left out, and of one that may not", "[ikev2][proposal][rfc9370-2.2.1]") {
  const auto with = parse_ike_proposal_v2("aes256gcm16-prfsha384-x25519-ke1_ecp384").value();
  const auto plain = parse_ike_proposal_v2("aes256gcm16-prfsha384-x25519").value();
  const auto either = parse_ike_proposal_v2("aes256gcm16-prfsha384-x25519-ke1_ecp384-ke1_none").value();
  // A peer that knows no type 6 passes over the first proposal, and takes the other one (RFC 7296 §3.3.6).
  const Sa offer = build_ike_offer(either);
  REQUIRE(offer.proposals.size() == 2);
  CHECK(select_ike(plain, offer, DhGroup::Curve25519).value().suite == plain[0]);
  CHECK_FALSE(select_ike(with, build_ike_offer(plain), DhGroup::Curve25519));
  CHECK_FALSE(select_ike(plain, build_ike_offer(with), DhGroup::Curve25519));
  CHECK(select_ike(plain, build_ike_offer(with), DhGroup::Curve25519).error().difference ==
        "additional key exchange ke1_ecp384 is not acceptable here");
  CHECK(select_ike(with, build_ike_offer(plain), DhGroup::Curve25519).error().difference ==
        "no additional key exchange is offered where ke1_ecp384 is wanted");
  // strongSwan lists NONE beside the method.
  Sa theirs = build_ike_offer(with);
  theirs.proposals[0].transforms.push_back({additional_type(0), 0});
  const auto chosen = select_ike(plain, theirs, DhGroup::Curve25519);
  REQUIRE(chosen);
  CHECK(chosen->reply.proposals[0].transforms.back() == Transform{additional_type(0), 0});
  CHECK(select_ike(either, theirs, DhGroup::Curve25519).value().suite == either[0]);
}

TEST_CASE("additional key exchanges: no reply has a method twice, or one of its own", "[ikev2][proposal][rfc9370-2.2.1]") {
  const auto ours = parse_ike_proposal_v2("aes256gcm16-prfsha384-x25519-ke1_ecp384-ke1_x448-ke2_ecp384-ke2_x448").value();
  REQUIRE(ours.size() == 2);
  const Sa offer = build_ike_offer(ours);
  Sa reply{{offer.proposals[0]}};
  for (Transform& t : reply.proposals[0].transforms)
    if (t.type == additional_type(1)) t.id = 20;
  for (Transform& t : reply.proposals[0].transforms)
    if (t.type == additional_type(0)) t.id = 20;
  CHECK_FALSE(accept_ike(ours, reply));
  std::erase_if(reply.proposals[0].transforms, [](const Transform& t) { return t.type == additional_type(1); });
  CHECK_FALSE(accept_ike(ours, reply));
  // A peer that lists the same methods for both: no suite has one twice.
  Sa theirs = offer;
  theirs.proposals.resize(1);
  theirs.proposals[0].transforms.clear();
  for (const Transform& t : {Transform{TransformType::Encr, 20, 256}, Transform{TransformType::Prf, 6}, Transform{TransformType::Ke, 31},
                             Transform{additional_type(0), 20}, Transform{additional_type(0), 32}, Transform{additional_type(1), 20},
                             Transform{additional_type(1), 32}})
    theirs.proposals[0].transforms.push_back(t);
  CHECK(select_ike(ours, theirs, DhGroup::Curve25519).value().suite == ours[0]);
}

// Diffie-Hellman: agreement on every group, published values, and every value that a group forbids.
#include "control/crypto/dh.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <thread>
#include <vector>

#include <boost/json.hpp>
#include <openssl/bn.h>

#include "tests/support/vectors.hpp"

using namespace culvert;
using crypto::DhError;
using crypto::DhKey;
using culvert::test::hex;

namespace {
std::shared_ptr<DhKey> make(DhGroup group) {
  auto key = DhKey::generate(group);
  REQUIRE(key);
  return *key;
}
bool is_curve(const DhInfo& d) { return d.name.starts_with("ecp"); }

/// The prime of a MODP group, from OpenSSL's own copies of RFC 2409 and RFC 3526; empty for the groups of RFC 5114.
Bytes prime(DhGroup group) {
  using Make = BIGNUM* (*)(BIGNUM*);
  static const std::map<DhGroup, Make> kPrimes{
      {DhGroup::Modp768, BN_get_rfc2409_prime_768},   {DhGroup::Modp1024, BN_get_rfc2409_prime_1024},
      {DhGroup::Modp1536, BN_get_rfc3526_prime_1536}, {DhGroup::Modp2048, BN_get_rfc3526_prime_2048},
      {DhGroup::Modp3072, BN_get_rfc3526_prime_3072}, {DhGroup::Modp4096, BN_get_rfc3526_prime_4096},
      {DhGroup::Modp6144, BN_get_rfc3526_prime_6144}, {DhGroup::Modp8192, BN_get_rfc3526_prime_8192}};
  const auto make = kPrimes.find(group);
  if (make == kPrimes.end()) return {};
  BIGNUM* p = make->second(nullptr);
  Bytes out(static_cast<std::size_t>(BN_num_bytes(p)));
  BN_bn2bin(p, out.data());
  BN_free(p);
  return out;
}
Bytes plus(Bytes n, int delta) {  // the last byte of every prime here is 0xff
  n.back() = static_cast<std::uint8_t>(n.back() + delta);
  return n;
}
}  // namespace

TEST_CASE("both sides agree, in the wire sizes of the table", "[crypto][dh][rfc2409-5]") {
  for (const DhInfo& d : dh_table()) {
    INFO(d.name);
    const auto a = make(d.id), b = make(d.id);
    CHECK(a->public_value().size() == d.public_bytes);
    CHECK(to_hex(a->public_value()) != to_hex(b->public_value()));
    const auto ab = a->compute(b->public_value()), ba = b->compute(a->public_value());
    REQUIRE(ab);
    REQUIRE(ba);
    CHECK(*ab == *ba);
    CHECK(ab->size() == d.shared_bytes);
  }
}

TEST_CASE("several threads compute with one key at once", "[crypto][dh]") {
  for (const DhInfo& d : dh_table()) {
    INFO(d.name);
    const auto ours = make(d.id), peer = make(d.id);
    const auto expected = peer->compute(ours->public_value());
    REQUIRE(expected);
    std::array<unsigned, 4> good{};
    {
      std::vector<std::jthread> threads;
      for (unsigned& count : good)
        threads.emplace_back([&] {
          for (int i = 0; i < 5; ++i) {
            const auto shared = ours->compute(peer->public_value());
            count += shared && *shared == *expected;
          }
        });
    }
    CHECK(good == std::array<unsigned, 4>{5, 5, 5, 5});
  }
}

TEST_CASE("a group that is not in the table is refused", "[crypto][dh][A13]") {
  for (const int id : {0, 3, 4, 6, 13, 33, 34, 1024, 1025, 1040, 32768, 65535})
    CHECK(DhKey::generate(static_cast<DhGroup>(static_cast<std::uint16_t>(id))).error() == DhError::UnknownGroup);
}

TEST_CASE("MODP: 0, 1, p-1, p, p+1 and 2^n-1 are refused, 2 and p-2 are taken", "[crypto][dh][D1][rfc6989-2.1]") {
  for (const DhInfo& d : dh_table()) {
    const Bytes p = prime(d.id);
    if (p.empty()) continue;
    INFO(d.name);
    const auto key = make(d.id);
    REQUIRE(p.size() == d.public_bytes);
    Bytes zero(p.size()), one = zero, two = zero, p_plus_1 = p;
    one.back() = 1;
    two.back() = 2;
    for (std::size_t i = p.size(); i-- > 0 && ++p_plus_1[i] == 0;) {
    }
    for (const Bytes& bad : {zero, one, plus(p, -1), p, p_plus_1, Bytes(p.size(), 0xff)})
      CHECK(key->compute(bad).error() == DhError::OutOfRange);
    CHECK(key->compute(two));
    CHECK(key->compute(plus(p, -2)));
  }
}

TEST_CASE("RFC 5114 groups: a value outside of the subgroup is refused", "[crypto][dh][D1][rfc6989-2.2]") {
  for (const DhGroup group : {DhGroup::Modp1024s160, DhGroup::Modp2048s224, DhGroup::Modp2048s256}) {
    const auto key = make(group);
    for (const unsigned small : {0U, 1U, 2U, 3U, 7U}) {
      Bytes value(find_dh(group)->public_bytes);
      value.back() = static_cast<std::uint8_t>(small);
      CHECK(key->compute(value).error() == DhError::OutOfRange);
    }
    CHECK(key->compute(Bytes(find_dh(group)->public_bytes, 0xff)).error() == DhError::OutOfRange);
  }
}

TEST_CASE("Curve25519: values of small order are refused", "[crypto][dh][D1][rfc8031]") {
  const auto key = make(DhGroup::Curve25519);
  for (const char* low : {"0000000000000000000000000000000000000000000000000000000000000000",
                          "0100000000000000000000000000000000000000000000000000000000000000",
                          "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                          "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                          "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"})
    CHECK(key->compute(hex(low)).error() == DhError::OutOfRange);
}

TEST_CASE("Curve448: values of small order are refused", "[crypto][dh][D1][rfc8031][rfc7748-6.2]") {
  const auto key = make(DhGroup::Curve448);
  const Bytes p = hex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffff");
  REQUIRE(p.size() == 56);  // little-endian
  Bytes zero(56), one = zero, minus = p, above = p;
  one.front() = 1;
  minus.front() = 0xfe;
  above = Bytes(56);  // p + 1
  for (std::size_t i = 28; i < 56; ++i) above[i] = 0xff;
  for (const Bytes& low : {zero, one, minus, p, above}) CHECK(key->compute(low).error() == DhError::OutOfRange);
}

TEST_CASE("Wycheproof X448", "[crypto][dh][D1][vectors]") {
  const auto folder = test::vectors("Wycheproof X448");
  if (!folder) return;
  const Bytes text = test::read_file(*folder / "wycheproof" / "x448_test.json");
  const auto json = boost::json::parse(std::string(text.begin(), text.end()));
  std::size_t agreed = 0, refused = 0, length = 0;
  for (const auto& group : json.at("testGroups").as_array())
    for (const auto& c : group.at("tests").as_array()) {
      INFO("case " << c.at("tcId").as_int64() << ": " << c.at("comment").as_string().c_str());
      const auto key = DhKey::from_private(DhGroup::Curve448, hex(c.at("private").as_string().c_str()));
      REQUIRE(key);
      const std::string want(c.at("shared").as_string());
      const auto value = hex(c.at("public").as_string().c_str());
      const auto shared = (*key)->compute(value);
      if (value.size() != 56) {
        CHECK(c.at("result").as_string() == "invalid");
        CHECK(shared.error() == DhError::BadLength);
        ++length;
      } else if (want.find_first_not_of('0') == std::string::npos) {
        CHECK(shared.error() == DhError::OutOfRange);
        ++refused;
      } else {
        REQUIRE(shared);
        CHECK(to_hex(shared->view()) == want);
        ++agreed;
      }
    }
  std::cout << "Wycheproof X448: " << agreed << " agreed, " << refused << " of small order and " << length
            << " of another length refused\n";
  CHECK(agreed > 400);
  CHECK(refused > 5);
  CHECK(length > 5);
}

TEST_CASE("a value of another length is refused on every group", "[crypto][dh][D3]") {
  for (const DhInfo& d : dh_table()) {
    const auto key = make(d.id);
    const auto other = make(d.id);
    const ByteView good = other->public_value();
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, good.size() - 1, good.size() + 1, 2 * good.size(), std::size_t{65000}}) {
      Bytes value(good.begin(), good.end());
      value.resize(n);
      CHECK(key->compute(value).error() == DhError::BadLength);
    }
    Bytes padded(1);  // the same number, one zero more in front
    padded.insert(padded.end(), good.begin(), good.end());
    CHECK(key->compute(padded).error() == DhError::BadLength);
  }
}

TEST_CASE("ECP: points off the curve, zeros, and coordinates not below p are refused", "[crypto][dh][D2][rfc6989-2.3]") {
  for (const DhInfo& d : dh_table()) {
    if (!is_curve(d)) continue;
    INFO(d.name);
    const auto key = make(d.id);
    const auto other = make(d.id);
    const ByteView good = other->public_value();
    CHECK(key->compute(Bytes(d.public_bytes)).error() == DhError::NotOnCurve);
    CHECK(key->compute(Bytes(d.public_bytes, 0xff)).error() == DhError::NotOnCurve);
    for (std::size_t bit = 0; bit < 8U * d.public_bytes; bit += 37) {
      Bytes bad(good.begin(), good.end());
      bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1U << bit % 8));
      CHECK(key->compute(bad).error() == DhError::NotOnCurve);
    }
  }
}

TEST_CASE("MODP: a shared secret with zeros in front keeps the prime's size", "[crypto][dh][D6][rfc2409-5]") {
  // g^x with x = 1 hands back the peer's value, so that a small one shows the padding.
  const auto key = DhKey::from_private(DhGroup::Modp2048, Bytes{1});
  REQUIRE(key);
  Bytes peer(256);
  peer.back() = 7;
  const auto shared = (*key)->compute(peer);
  REQUIRE(shared);
  CHECK(shared->size() == 256);
  CHECK(to_hex(shared->view()) == to_hex(peer));
}

TEST_CASE("Wycheproof ECDH, uncompressed points: P-256, P-384, P-521", "[crypto][dh][D2][vectors]") {
  const auto folder = test::vectors("Wycheproof ECDH");
  if (!folder) return;
  struct File {
    DhGroup group;
    const char* name;
  };
  std::size_t valid = 0, invalid = 0, other = 0;
  for (const File& f :
       {File{DhGroup::Ecp256, "ecdh_secp256r1_ecpoint_test.json"}, File{DhGroup::Ecp384, "ecdh_secp384r1_ecpoint_test.json"},
        File{DhGroup::Ecp521, "ecdh_secp521r1_ecpoint_test.json"}}) {
    const Bytes text = test::read_file(*folder / "wycheproof" / f.name);
    const auto json = boost::json::parse(std::string(text.begin(), text.end()));
    for (const auto& group : json.at("testGroups").as_array())
      for (const auto& c : group.at("tests").as_array()) {
        const auto id = c.at("tcId").as_int64();
        INFO(f.name << " case " << id << ": " << c.at("comment").as_string().c_str());
        Bytes point = hex(c.at("public").as_string().c_str());
        // A KE payload has no way to say "compressed" or "infinity": such cases cannot reach us in their own form.
        if (point.empty() || point[0] != 4) {
          ++other;
          continue;
        }
        point.erase(point.begin());
        std::string secret(c.at("private").as_string());
        if (secret.size() % 2) secret.insert(0, "0");
        const auto key = DhKey::from_private(f.group, hex(secret));
        REQUIRE(key);
        const auto shared = (*key)->compute(point);
        if (c.at("result").as_string() == "invalid") {
          CHECK_FALSE(shared);
          ++invalid;
        } else {
          REQUIRE(shared);
          CHECK(to_hex(shared->view()) == c.at("shared").as_string().c_str());
          ++valid;
        }
      }
  }
  std::cout << "Wycheproof ECDH: " << valid << " valid and " << invalid << " invalid cases, " << other << " not expressible in IKE\n";
  CHECK(valid > 500);
  CHECK(invalid > 10);
}

TEST_CASE("Wycheproof X25519", "[crypto][dh][D1][vectors]") {
  const auto folder = test::vectors("Wycheproof X25519");
  if (!folder) return;
  const Bytes text = test::read_file(*folder / "wycheproof" / "x25519_test.json");
  const auto json = boost::json::parse(std::string(text.begin(), text.end()));
  std::size_t agreed = 0, refused = 0;
  for (const auto& group : json.at("testGroups").as_array())
    for (const auto& c : group.at("tests").as_array()) {
      INFO("case " << c.at("tcId").as_int64() << ": " << c.at("comment").as_string().c_str());
      const auto key = DhKey::from_private(DhGroup::Curve25519, hex(c.at("private").as_string().c_str()));
      REQUIRE(key);
      const std::string want(c.at("shared").as_string());
      const auto shared = (*key)->compute(hex(c.at("public").as_string().c_str()));
      if (want.find_first_not_of('0') == std::string::npos) {
        CHECK(shared.error() == DhError::OutOfRange);
        ++refused;
      } else {
        REQUIRE(shared);
        CHECK(to_hex(shared->view()) == want);
        ++agreed;
      }
    }
  std::cout << "Wycheproof X25519: " << agreed << " agreed, " << refused << " of small order refused\n";
  CHECK(agreed > 400);
  CHECK(refused > 20);
}

TEST_CASE("key exchanges of the vector set, both sides", "[crypto][dh][vectors]") {
  const auto folder = test::vectors("MODP and ECP key exchanges");
  if (!folder) return;
  const Bytes text = test::read_file(*folder / "kdf" / "strongswan_ke_prf_vectors.json");
  const auto json = boost::json::parse(std::string(text.begin(), text.end()));
  std::size_t ran = 0;
  for (const auto& c : json.at("ke").as_array()) {
    std::string name(c.at("name").as_string());  // strongSwan's
    if (name.starts_with("curve")) name = name.substr(0, name.find('_'));
    if (name.starts_with("modp")) std::ranges::replace(name, '_', 's');
    const auto row = std::find_if(dh_table().begin(), dh_table().end(), [&](const DhInfo& d) { return d.name == name; });
    if (row == dh_table().end()) continue;
    INFO(name);
    const Bytes seed = hex(c.at("seed").as_string().c_str());  // both private values, one behind the other
    const auto i = DhKey::from_private(row->id, ByteView(seed).first(seed.size() / 2));
    const auto r = DhKey::from_private(row->id, ByteView(seed).subspan(seed.size() / 2));
    REQUIRE(i);
    REQUIRE(r);
    const auto at_i = (*i)->compute(hex(c.at("pub_r").as_string().c_str())), at_r = (*r)->compute(hex(c.at("pub_i").as_string().c_str()));
    REQUIRE(at_i);
    REQUIRE(at_r);
    CHECK(to_hex(at_i->view()) == c.at("shared").as_string().c_str());
    CHECK(*at_i == *at_r);
    ++ran;
  }
  std::cout << "MODP and ECP key exchanges: " << ran << " cases, both sides each\n";
  CHECK(ran == dh_table().size() + 1);  // two of curve25519
}

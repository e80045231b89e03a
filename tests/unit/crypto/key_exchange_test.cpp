// Key exchange methods by number: groups, KEMs where the library has them, and what is plugged in.
#include <catch2/catch.hpp>

#include "control/crypto/kem.hpp"

using namespace culvert;
using namespace culvert::crypto;

namespace {
void agrees(const DhInfo& info) {
  INFO(info.name);
  const auto ours = begin_exchange(info.id);
  REQUIRE(ours);
  CHECK((*ours)->public_value().size() == info.public_bytes);
  const auto answer = answer_exchange(info.id, (*ours)->public_value());
  REQUIRE(answer);
  CHECK(answer->public_value.size() == (info.kem() ? info.reply_bytes : info.public_bytes));
  const auto shared = (*ours)->compute(answer->public_value);
  REQUIRE(shared);
  CHECK(*shared == answer->shared);
  CHECK(shared->size() == info.shared_bytes);
  Bytes wrong((*ours)->public_value().begin(), (*ours)->public_value().end());
  wrong.pop_back();
  CHECK(answer_exchange(info.id, wrong).error() == DhError::BadLength);
  wrong = answer->public_value;
  wrong.push_back(0);
  CHECK((*ours)->compute(wrong).error() == DhError::BadLength);
}
}  // namespace

TEST_CASE("both sides of each group agree", "[crypto][key_exchange]") {
  for (const DhInfo& info : dh_table()) {
    CHECK(has_method(info.id));
    agrees(info);
  }
}

TEST_CASE("both sides of each KEM agree, or it is said that the library lacks it", "[crypto][key_exchange][fips203]") {
  for (const DhInfo& info : kem_table()) {
    if (has_method(info.id)) {
      agrees(info);
      // A public key whose coefficients are not below q is none (FIPS 203 §7.2); a wrong ciphertext gives another secret (§7.3).
      CHECK(answer_exchange(info.id, Bytes(info.public_bytes, 0xff)).error() == DhError::NoKey);
      const auto ours = begin_exchange(info.id).value();
      auto answer = answer_exchange(info.id, ours->public_value()).value();
      answer.public_value[7] ^= 1;
      CHECK_FALSE(ours->compute(answer.public_value).value() == answer.shared);
      continue;
    }
    WARN(std::string(info.name) << " is not in OpenSSL " << library_version());
    CHECK(begin_exchange(info.id).error() == DhError::UnknownGroup);
    CHECK(answer_exchange(info.id, Bytes(info.public_bytes)).error() == DhError::UnknownGroup);
  }
}

TEST_CASE("a number that is no method's is refused", "[crypto][key_exchange]") {
  for (const int id : {0, 3, 33, 38, 1024, 65535}) {
    const auto method = static_cast<DhGroup>(static_cast<std::uint16_t>(id));
    CHECK_FALSE(has_method(method));
    CHECK(begin_exchange(method).error() == DhError::UnknownGroup);
    CHECK(answer_exchange(method, Bytes(32)).error() == DhError::UnknownGroup);
  }
}

// The library of the crypto mapped once more: what is called there is the same code, with variables of its own.
#include "dataplane/crypto/own_image.hpp"

#include <array>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <intel-ipsec-mb.h>

#include "common/ipsec/algorithms.hpp"
#include "dataplane/crypto/engine.hpp"

using namespace culvert;
using namespace culvert::dp;

namespace {
int in_the_program(int n) { return n + 1; }

/// `packets` of a suite, sealed and opened again. What they were sealed to.
Bytes round_trip(CryptoEngine& engine, const char* suite, std::size_t packets) {
  const EspSuite s = parse_esp_proposal(suite)->front();
  const auto* encr = find_encr(s.encr, s.key_bits);
  const auto* integ = find_integ(s.integ);
  auto keys = std::make_unique<SaKeys>();
  const Bytes key(encr->key_bytes() + encr->salt, 7), auth(integ != nullptr ? integ->key : 0U, 9);
  REQUIRE(engine.expand(s, key, auth, *keys));
  const EspGeometry& g = keys->geometry;
  Bytes all;
  for (std::size_t i = 0; i < packets; ++i) {
    const std::uint32_t text = static_cast<std::uint32_t>(i % 90 + 1) * 16;
    Bytes packet(kEspHeaderBytes + g.iv + text + g.icv + 16U, static_cast<std::uint8_t>(i));
    const Bytes plain = packet;
    std::array<CryptoOp, 1> op{CryptoOp{keys.get(), packet.data(), text, false, 0, 0}};
    engine.encrypt(op);
    if (!op[0].ok) return {};
    all.insert(all.end(), packet.begin(), packet.end());
    engine.decrypt(op);
    if (!op[0].ok || !std::equal(plain.begin(), plain.begin() + kEspHeaderBytes + g.iv + text, packet.begin())) return {};
  }
  return all;
}
}  // namespace

TEST_CASE("an engine with an image of its own does what others do, and leaves the library's variables alone", "[crypto][image]") {
  auto shared = CryptoEngine::create(), own = CryptoEngine::create();
  REQUIRE(shared);
  REQUIRE(own);
  const auto alone = own->stand_alone();
  INFO((alone ? std::string() : alone.error()));
  REQUIRE(alone);
  for (const char* suite : {"aes128gcm16", "aes192gcm12", "aes256gcm8", "aes256gmac", "aes128-sha256", "chacha20poly1305"}) {
    CAPTURE(suite);
    const Bytes sealed = round_trip(*own, suite, 200);
    CHECK(!sealed.empty());
    CHECK(sealed == round_trip(*shared, suite, 200));
  }

  IMB_MGR* mgr = alloc_mb_mgr(0);
  REQUIRE(mgr != nullptr);
  init_mb_mgr_auto(mgr, nullptr);
  IMB_AES128_GCM_PRE(mgr, nullptr, nullptr);
  const int complaint = imb_get_errno(nullptr);
  // What is called for each packet does not touch it; expanding keys, which is the manager's to do, does.
  const EspSuite s = parse_esp_proposal("aes128gcm16")->front();
  auto keys = std::make_unique<SaKeys>();
  REQUIRE(own->expand(s, Bytes(20, 7), {}, *keys));
  IMB_AES128_GCM_PRE(mgr, nullptr, nullptr);
  Bytes packet(128, 1);
  std::array<CryptoOp, 1> op{CryptoOp{keys.get(), packet.data(), 64, false, 0, 0}};
  own->encrypt(op);
  own->decrypt(op);
  CHECK(op[0].ok);
  CHECK(imb_get_errno(nullptr) == complaint);
  shared->encrypt(op);
  shared->decrypt(op);
  if (imb_get_errno(nullptr) != 0 || complaint == 0) WARN("this IPsec-MB stores nothing for each call: images have lost their purpose");
  free_mb_mgr(mgr);
}

TEST_CASE("engines with images work side by side, and go", "[crypto][image]") {
  std::array<Bytes, 4> sealed;
  std::vector<std::thread> threads;
  for (Bytes& out : sealed)
    threads.emplace_back([&out] {
      for (int i = 0; i < 3; ++i) {
        auto engine = CryptoEngine::create();
        if (!engine || !engine->stand_alone()) return;
        CryptoEngine moved = std::move(*engine);
        out = round_trip(moved, "aes128gcm16", 500);
      }
    });
  for (std::thread& t : threads) t.join();
  for (const Bytes& out : sealed) CHECK((!out.empty() && out == sealed[0]));
}

TEST_CASE("there is an image of libraries only, and other code stays where it is", "[crypto][image]") {
  const int here = 0;
  CHECK(OwnImage::of(&here).error() == "it is in no library");
  CHECK(OwnImage::of(reinterpret_cast<const void*>(in_the_program)).error() == "it is a part of the program");
  auto image = OwnImage::of(reinterpret_cast<const void*>(imb_get_feature_flags));
  REQUIRE(image);
  CHECK(image->here(imb_get_feature_flags) != imb_get_feature_flags);
  CHECK(image->here(imb_get_feature_flags)() == imb_get_feature_flags());
  CHECK(image->here(in_the_program) == in_the_program);
  CHECK(OwnImage().here(imb_get_feature_flags) == imb_get_feature_flags);
}

// Published ESP packets ($CULVERT_VECTORS/esp/esp_ah_vectors.json) through the nodes: those whose suite and family are ours.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include <boost/json.hpp>

#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
Bytes field(const boost::json::object& o, const char* key) {
  const auto* v = o.if_contains(key);
  return v != nullptr && v->is_string() ? from_hex(std::string(v->as_string())).value() : Bytes{};
}
std::string text(const boost::json::object& o, const char* key) {
  const auto* v = o.if_contains(key);
  return v != nullptr && v->is_string() ? std::string(v->as_string()) : std::string();
}

/// Terms that fit the packet, or nothing: another suite, or IPv6.
std::optional<shm::InstallSa> terms(const boost::json::object& o) {
  const Bytes wire = field(o, "wire"), key = field(o, "key"), salt = field(o, "salt"), auth = field(o, "auth_key");
  if (text(o, "proto") != "ESP" || wire.empty() || wire[0] != 0x45) return std::nullopt;
  SuiteName suite{"", Encr::None, static_cast<std::uint16_t>(key.size() * 8), Integ::None};
  if (text(o, "cipher") == "AES-GCM") suite.encr = Encr::AesGcm16;
  if (text(o, "cipher") == "AES-CBC") suite.encr = Encr::AesCbc;
  if (text(o, "auth") == "HMAC-SHA1") suite.integ = Integ::HmacSha1_96;
  if (text(o, "auth") == "HMAC-SHA256") suite.integ = Integ::HmacSha2_256_128;
  const auto geometry = esp_geometry(suite.encr, suite.key_bits, suite.integ);
  if (!geometry || o.at("icv_len").as_int64() != geometry->icv) return std::nullopt;
  shm::InstallSa m = install(suite, Direction::Inbound);
  m.local = {IpAddress::v4(load_be32(&wire[16])), 0};
  m.remote = {IpAddress::v4(load_be32(&wire[12])), 0};
  m.local_ts = m.remote_ts = *TrafficSelector::parse("0.0.0.0/0");
  std::copy(key.begin(), key.end(), m.encr_key.begin());
  std::copy(salt.begin(), salt.end(), m.encr_key.begin() + static_cast<std::ptrdiff_t>(key.size()));
  std::copy(auth.begin(), auth.end(), m.integ_key.begin());
  return m;
}

struct Tally {
  unsigned opened = 0, dummies = 0, transport = 0, sequence0 = 0;
  [[nodiscard]] unsigned all() const { return opened + dummies + transport + sequence0; }
};

void check(const boost::json::object& o, const shm::InstallSa& m, Tally& tally) {
  const std::string name = text(o, "name");
  CAPTURE(name);
  Worker worker;
  shm::SaCounters counters;
  auto made = make_inbound(m, kCapacity, worker.engine(), {0, &counters, 0});
  REQUIRE(made.has_value());
  InboundSa& sa = **made;
  Bytes wire = field(o, "wire");
  set_ipv4_checksum(wire.data());  // the outer header's is wrong in some of them; it is no part of ESP
  const auto out = worker.run({wire}, [&](Burst& burst) {
    if (!parse_ip(*burst[0])) FAIL("outer header");
    burst[0]->inbound = &sa;  // not by lookup: some of these SPIs are reserved ones
    EspContext context = worker.context();
    esp_in(burst, context);
  });
  const bool sequence0 = load_be32(&wire[24]) == 0;
  const auto next_header = o.at("next_header").as_int64();
  if (sequence0) {  // a number that no sender uses: opened by the engine alone
    REQUIRE(worker.dropped(Drop::EspOld) == 1);
    tally.sequence0 += 1;
  } else if (next_header == 4) {
    CAPTURE(worker.dropped(Drop::EspAuth), worker.dropped(Drop::EspInner), worker.dropped(Drop::EspPadding));
    REQUIRE(out.size() == 1);
    REQUIRE(to_hex(out[0]) == to_hex(field(o, "plain")));
    tally.opened += 1;
  } else if (next_header == 59) {
    REQUIRE(worker.dropped(Drop::EspDummy) == 1);
    tally.dummies += 1;
  } else {  // transport mode: authentic, and not for a tunnel
    REQUIRE(worker.dropped(Drop::EspNextHeader) == 1);
    tally.transport += 1;
  }
  // Decrypted and encrypted again it is the same packet, bit for bit.
  Bytes again = wire;
  const EspGeometry& g = sa.geometry;
  CryptoOp op{&sa.keys, &again[20], static_cast<std::uint32_t>(wire.size() - 20 - kEspHeaderBytes - g.iv - g.icv), false};
  worker.engine().decrypt({&op, 1});
  REQUIRE(op.ok);
  REQUIRE(again != wire);
  std::fill(again.end() - g.icv, again.end(), 0);
  worker.engine().encrypt({&op, 1});
  REQUIRE(to_hex(again) == to_hex(wire));
}
}  // namespace

TEST_CASE("published ESP packets", "[esp][vectors]") {
  const char* folder = std::getenv("CULVERT_VECTORS");
  if (folder == nullptr) {
    std::cout << "published ESP packets: CULVERT_VECTORS is not set, none run\n";
    return;
  }
  std::ifstream file(std::string(folder) + "/esp/esp_ah_vectors.json");
  REQUIRE(file.good());
  std::stringstream content;
  content << file.rdbuf();
  const auto cases = boost::json::parse(content.str()).as_array();
  Tally tally;
  for (const auto& c : cases)
    if (const auto m = terms(c.as_object())) check(c.as_object(), *m, tally);
  std::cout << "published ESP packets: " << tally.all() << " of " << cases.size() << " fit our suites: " << tally.opened << " opened, "
            << tally.dummies << " dummies, " << tally.transport << " of transport mode, " << tally.sequence0 << " with sequence number 0\n";
  CHECK(tally.opened >= 6);
}

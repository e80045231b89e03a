// Published ESP and AH packets ($CULVERT_VECTORS/esp/esp_ah_vectors.json) through the nodes: those whose suite and family are ours.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
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

/// The outer packet, parsed; its addresses and ports as the SA's.
struct Outer {
  OwnedPacket owned;
  explicit Outer(const Bytes& wire) : owned(wire, 0, 0) {
    if (wire.at(0) >> 4 == 4) set_ipv4_checksum(owned.view.data, (wire[0] & 0x0fU) * 4U);  // wrong in some of them; it is no part of ESP
    if (!parse_ip(owned.view)) FAIL("outer header");
  }
  [[nodiscard]] const Packet& view() const { return owned.view; }
  [[nodiscard]] bool udp() const { return view().protocol == kProtocolUdp; }
};
bool is_ah(const boost::json::object& o) { return text(o, "proto") == "AH"; }
std::int64_t next_header_of(const boost::json::object& o, const Packet& outer) {
  return is_ah(o) ? outer.data[outer.l4_offset] : o.at("next_header").as_int64();
}

/// Terms that fit the packet, or nothing: another suite.
std::optional<shm::InstallSa> terms(const boost::json::object& o) {
  const Bytes wire = field(o, "wire"), salt = field(o, "salt");
  Bytes key = field(o, "key"), auth = field(o, "auth_key");
  if (wire.empty()) return std::nullopt;
  const Outer outer(wire);
  const bool ah = is_ah(o);
  static const std::map<std::string, Encr> kCiphers{
      {"AES-GCM", Encr::AesGcm16}, {"AES-CBC", Encr::AesCbc},     {"AES-CTR", Encr::AesCtr}, {"AES-CCM", Encr::AesCcm16},
      {"NULL", Encr::Null},        {"3DES-CBC", Encr::TripleDes}, {"DES-CBC", Encr::Des},    {"CHACHA20-POLY1305", Encr::ChaCha20Poly1305}};
  static const std::map<std::string, Integ> kHashes{{"HMAC-MD5", Integ::HmacMd5_96},
                                                    {"HMAC-SHA1", Integ::HmacSha1_96},
                                                    {"HMAC-SHA256", Integ::HmacSha2_256_128},
                                                    {"HMAC-SHA384", Integ::HmacSha2_384_192},
                                                    {"HMAC-SHA512", Integ::HmacSha2_512_256},
                                                    {"AES-XCBC", Integ::AesXcbc96},
                                                    {"AES-CMAC", Integ::AesCmac96}};
  EspSuite suite{.key_bits = static_cast<std::uint16_t>(key.size() * 8)};
  if (ah) suite = {.protocol = SaProtocol::Ah};
  if (const auto c = kCiphers.find(text(o, "cipher")); c != kCiphers.end() && !ah) suite.encr = c->second;
  if (const auto i = kHashes.find(text(o, "auth")); i != kHashes.end()) suite.integ = i->second;
  if (text(o, "auth") == "AES-GMAC" && ah) {
    suite.integ = Integ::Aes128Gmac;
    auth.insert(auth.end(), salt.begin(), salt.end());
  } else if (text(o, "auth") == "AES-GMAC") {  // its key stands where an integrity algorithm's does
    suite.encr = Encr::AesGmac;
    suite.key_bits = static_cast<std::uint16_t>(auth.size() * 8);
    std::swap(key, auth);
  }
  const auto geometry = esp_geometry(suite);
  if (!geometry || o.at("icv_len").as_int64() != geometry->icv) return std::nullopt;
  shm::InstallSa m = install(suite, Direction::Inbound);
  const Packet& p = outer.view();
  m.local = {destination_of(p), outer.udp() ? p.destination_port : std::uint16_t{0}};
  m.remote = {source_of(p), outer.udp() ? p.source_port : std::uint16_t{0}};
  // "notun": a packet of tunnel mode whose receiver leaves the tunnel's header on it.
  if (text(o, "mode") == "transport" || text(o, "name").ends_with("notun")) m.mode = SaMode::Transport;
  const std::int64_t next_header = next_header_of(o, p);
  const bool v6 = m.mode == SaMode::Transport || (next_header != 4 && next_header != 41) ? p.family == Family::V6 : next_header == 41;
  m.local_ts = m.remote_ts = *TrafficSelector::parse(v6 ? "::/0" : "0.0.0.0/0");
  std::copy(key.begin(), key.end(), m.encr_key.begin());
  if (!ah) std::copy(salt.begin(), salt.end(), m.encr_key.begin() + static_cast<std::ptrdiff_t>(key.size()));
  std::copy(auth.begin(), auth.end(), m.integ_key.begin());
  return m;
}

struct Tally {
  unsigned opened = 0, dummies = 0, transport = 0, ah = 0, sequence0 = 0, v6 = 0;
  [[nodiscard]] unsigned all() const { return opened + dummies + transport + ah + sequence0; }
};

void check(const boost::json::object& o, const shm::InstallSa& m, Tally& tally) {
  const std::string name = text(o, "name");
  CAPTURE(name);
  Worker worker;
  shm::SaCounters counters;
  auto made = make_inbound(m, kCapacity, worker.engine(), {0, &counters, 0});
  REQUIRE(made.has_value());
  InboundSa& sa = **made;
  const Outer outer(field(o, "wire"));
  const Bytes wire = outer.owned.bytes();
  const auto out = worker.run({wire}, [&](Burst& burst) {
    if (!parse_ip(*burst[0])) FAIL("outer header");
    burst[0]->inbound = &sa;  // not by lookup: some of these SPIs are reserved ones
    EspContext context = worker.context();
    esp_in(burst, context);
  });
  const std::size_t esp = outer.view().l4_offset + (sa.udp ? kUdpHeaderBytes : 0U);
  const bool sequence0 = load_be32(&wire[esp + (sa.geometry.ah ? 8 : 4)]) == 0;
  const std::int64_t next_header = next_header_of(o, outer.view());
  if (sequence0) {  // a number that no sender uses: opened by the engine alone
    REQUIRE(worker.dropped(Drop::EspOld) == 1);
    tally.sequence0 += 1;
  } else if (next_header == 59) {
    REQUIRE(worker.dropped(Drop::EspDummy) == 1);
    tally.dummies += 1;
  } else {
    CAPTURE(worker.dropped(Drop::EspAuth), worker.dropped(Drop::EspInner), worker.dropped(Drop::EspPadding));
    REQUIRE(out.size() == 1);
    Bytes plain = field(o, "plain");
    if (sa.geometry.transport && plain.at(0) >> 4 == 4) set_ipv4_checksum(plain.data());
    tally.v6 += outer.view().family == Family::V6 || plain.at(0) >> 4 == 6 ? 1 : 0;
    REQUIRE(to_hex(out[0]) == to_hex(plain));
    (sa.geometry.ah ? tally.ah : sa.geometry.transport ? tally.transport : tally.opened) += 1;
  }
  if (sa.geometry.ah) return;
  // Decrypted and encrypted again it is the same packet, bit for bit.
  Bytes again = wire;
  const EspGeometry& g = sa.geometry;
  CryptoOp op{&sa.keys, &again[esp], static_cast<std::uint32_t>(wire.size() - esp - kEspHeaderBytes - g.iv - g.icv), false, 0, 0};
  worker.engine().decrypt({&op, 1});
  REQUIRE(op.ok);
  if (m.suite.encr != Encr::Null && m.suite.encr != Encr::AesGmac) REQUIRE(again != wire);
  std::fill(again.end() - g.icv, again.end(), 0);
  worker.engine().encrypt({&op, 1});
  REQUIRE(to_hex(again) == to_hex(wire));
}
}  // namespace

TEST_CASE("published ESP packets", "[esp][vectors][attack-J12]") {
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
            << tally.transport << " of transport mode, " << tally.ah << " of AH, " << tally.dummies << " dummies, " << tally.sequence0
            << " with sequence number 0; " << tally.v6 << " of IPv6\n";
  CHECK(tally.opened >= 20);
  CHECK(tally.transport >= 5);
  CHECK(tally.ah >= 6);
  CHECK(tally.v6 >= 6);
}

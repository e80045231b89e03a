// Project Wycheproof's AEAD and MAC cases ($CULVERT_VECTORS/wycheproof) through the engine, on every instruction set that this processor
// has: those that have the form of ESP. Of an AEAD: a nonce of salt and 8 bytes of IV, and additional data of 8 bytes, or of 12, which
// are SPI and extended sequence number. Of a MAC: a message of 8 bytes or more, which is a NULL packet's header and text, and a tag as
// long as the ICV or longer.
#include <iostream>
#include <map>

#include <boost/json.hpp>

#include "tests/support/openssl_esp.hpp"
#include "tests/support/packet_fixture.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;
namespace json = boost::json;

namespace {
Bytes field(const json::object& o, const char* key) { return from_hex(std::string(o.at(key).as_string())).value(); }

/// One case as a packet: `wire` is right, `forged` what the case calls invalid, or empty.
struct Case {
  std::string id;
  EspSuite suite;
  Bytes encr_key, integ_key, clear, wire, forged;
  std::uint32_t text_bytes = 0, high = 0;
};
using Cases = std::vector<Case>;

Bytes joined(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (const ByteView p : parts) out.insert(out.end(), p.begin(), p.end());
  return out;
}

/// `suites`: by bytes of the key.
void add_aead(Cases& out, const json::object& file, const std::map<std::size_t, std::string>& suites, std::size_t salt) {
  for (const auto& group : file.at("testGroups").as_array())
    for (const auto& entry : group.at("tests").as_array()) {
      const auto& o = entry.as_object();
      const Bytes key = field(o, "key"), nonce = field(o, "iv"), aad = field(o, "aad"), text = field(o, "msg");
      const bool extended = aad.size() == 12;
      const auto name = suites.find(key.size());
      if (name == suites.end() || nonce.size() != salt + 8 || (aad.size() != 8 && !extended) || text.empty()) continue;
      Case c{name->second + " " + std::to_string(o.at("tcId").as_int64()), parse_esp_proposal(name->second)->front(), {}, {}, {}, {}, {}};
      c.suite.esn = extended;
      const ByteView spi = ByteView(aad).first(4), low = ByteView(aad).last(4), iv = ByteView(nonce).last(8);
      c.high = extended ? load_be32(&aad[4]) : 0;
      c.encr_key = joined({key, ByteView(nonce).first(salt)});
      c.text_bytes = static_cast<std::uint32_t>(text.size());
      c.clear = joined({spi, low, iv, text});
      const Bytes wire = joined({spi, low, iv, field(o, "ct"), field(o, "tag")});
      (o.at("result").as_string() == "invalid" ? c.forged : c.wire) = wire;
      out.push_back(std::move(c));
    }
}

/// OpenSSL's word.
bool right(const Case& c, const Bytes& packet) {
  shm::InstallSa sa = install(c.suite, Direction::Inbound);
  std::ranges::copy(c.integ_key, sa.integ_key.begin());
  return openssl_open(sa, packet).has_value();
}

void add_mac(Cases& out, const json::object& file, const std::string& suite) {
  const EspSuite parsed = parse_esp_proposal(suite)->front();
  const IntegInfo& info = *find_integ(parsed.integ);
  for (const auto& group : file.at("testGroups").as_array())
    for (const auto& entry : group.at("tests").as_array()) {
      const auto& o = entry.as_object();
      const Bytes key = field(o, "key"), message = field(o, "msg"), tag = field(o, "tag");
      if (key.size() != info.key || message.size() <= kEspHeaderBytes || tag.size() < info.icv) continue;
      Case c{suite + " " + std::to_string(o.at("tcId").as_int64()), parsed, {}, key, message, {}, {}};
      c.text_bytes = static_cast<std::uint32_t>(message.size() - kEspHeaderBytes);
      const Bytes packet = joined({message, ByteView(tag).first(info.icv)});
      if (o.at("result").as_string() == "valid") {
        c.wire = packet;
      } else if (!right(c, packet)) {  // else it is wrong behind what ESP sends of it
        c.forged = packet;
      } else {
        continue;
      }
      out.push_back(std::move(c));
    }
}

/// Runs one operation over `packet`, with room for what the engine may write behind it; says whether it was ok.
bool run(CryptoEngine& engine, const SaKeys& keys, const Case& c, Bytes& packet, bool sealing) {
  Bytes roomy = joined({Bytes(4, 0x55), packet, Bytes(4)});
  CryptoOp op{&keys, &roomy[4], c.text_bytes, false, 0, c.high};
  if (sealing) {
    engine.encrypt({&op, 1});
  } else {
    engine.decrypt({&op, 1});
  }
  std::copy_n(roomy.begin() + 4, packet.size(), packet.begin());
  return op.ok;
}

void check(CryptoEngine& engine, const Case& c) {
  CAPTURE(c.id, engine.describe());
  SaKeys keys;
  REQUIRE(engine.expand(c.suite, c.encr_key, c.integ_key, keys));
  if (!c.wire.empty()) {
    Bytes packet = c.clear;
    packet.resize(c.wire.size());
    REQUIRE(run(engine, keys, c, packet, true));
    REQUIRE(to_hex(packet) == to_hex(c.wire));
    REQUIRE(run(engine, keys, c, packet, false));
    packet.resize(c.clear.size());
    REQUIRE(to_hex(packet) == to_hex(c.clear));
  }
  if (!c.forged.empty()) {
    Bytes packet = c.forged;
    REQUIRE_FALSE(run(engine, keys, c, packet, false));
  }
}
}  // namespace

TEST_CASE("Wycheproof's AEAD and MAC cases", "[esp][vectors][attack-J12]") {
  const auto folder = culvert::test::vectors("Wycheproof's AEAD and MAC cases");
  if (!folder) return;
  const auto load = [&](const char* name) {
    const Bytes file = culvert::test::read_file(*folder / "wycheproof" / (std::string(name) + "_test.json"));
    return json::parse(std::string_view(reinterpret_cast<const char*>(file.data()), file.size())).as_object();
  };
  Cases cases;
  add_aead(cases, load("chacha20_poly1305"), {{32, "chacha20poly1305"}}, 4);
  add_aead(cases, load("aes_gcm"), {{16, "aes128gcm16"}, {24, "aes192gcm16"}, {32, "aes256gcm16"}}, 4);
  add_aead(cases, load("aes_ccm"), {{16, "aes128ccm16"}, {32, "aes256ccm16"}}, 3);
  const std::size_t aeads = cases.size();
  add_mac(cases, load("aes_cmac"), "null-aescmac");
  add_mac(cases, load("hmac_sha1"), "null-sha1");
  add_mac(cases, load("hmac_sha256"), "null-sha256");
  add_mac(cases, load("hmac_sha384"), "null-sha384");
  add_mac(cases, load("hmac_sha512"), "null-sha512");
  std::size_t engines = 0;
  for (const CryptoArch arch : {CryptoArch::Sse, CryptoArch::Avx, CryptoArch::Avx2, CryptoArch::Avx512}) {
    auto engine = CryptoEngine::create(arch);
    if (!engine) continue;
    engines += 1;
    for (const Case& c : cases) check(*engine, c);
  }
  const auto forged = std::ranges::count_if(cases, [](const Case& c) { return !c.forged.empty(); });
  std::cout << "Wycheproof: " << aeads << " cases of AEAD and " << cases.size() - aeads << " of MAC have the form of ESP, " << forged
            << " of them forged; each on " << engines << " instruction sets\n";
  CHECK(aeads >= 50);
  CHECK(cases.size() - aeads >= 300);
}

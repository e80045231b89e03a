// What Windows, iOS and macOS, and Android send with their built-in clients and their defaults, byte by byte as they write it (but for NAT
// detection), and that a gateway with EAP and a pool answers each as it wants it.
//
// Proposals and payloads as their peers log them: Windows 10 and 11 offer twelve suites with group 2, or with NegotiateDH2048_AES256 three
// with group 14 in front; iOS and macOS offer five; Android (VpnIkev2Utils) two, with all transforms in each.
#include <functional>

#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "control/ikev2/eap/client.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"
#include "tests/exchange/remote_access.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Proof;
using ike::Exchange;
using ikev2::NotifyType;
using ikev2::PayloadType;

namespace {

// ---------------------------------------------------------------------------------------------------------------- bytes, by hand

struct Transform {
  std::uint8_t type;  ///< 1 encryption, 2 PRF, 3 integrity, 4 group, 5 sequence numbers
  std::uint16_t id;
  std::uint16_t bits = 0;
};
using Suite = std::vector<Transform>;
using Ids = std::initializer_list<std::uint16_t>;
constexpr std::uint16_t k3des = 3, kNull = 11, kCbc = 12, kCtr = 13, kGcm8 = 18, kGcm12 = 19, kGcm16 = 20, kChaCha = 28;

Bytes proposal_bytes(std::uint8_t number, bool last, std::uint8_t protocol, const Bytes& spi, const Suite& suite) {
  Writer w, t;
  for (const Transform& one : suite) {
    t.be(static_cast<std::uint8_t>(&one == &suite.back() ? 0 : 3));
    t.be(std::uint8_t{0});
    t.be(static_cast<std::uint16_t>(one.bits ? 12 : 8));
    t.be(one.type);
    t.be(std::uint8_t{0});
    t.be(one.id);
    if (one.bits) t.be(std::uint16_t{0x800e});
    if (one.bits) t.be(one.bits);
  }
  const Bytes transforms = std::move(t).take();
  w.be(static_cast<std::uint8_t>(last ? 0 : 2));
  w.be(std::uint8_t{0});
  w.be(static_cast<std::uint16_t>(8 + spi.size() + transforms.size()));
  w.be(number);
  w.be(protocol);
  w.be(static_cast<std::uint8_t>(spi.size()));
  w.be(static_cast<std::uint8_t>(suite.size()));
  w.bytes(spi);
  w.bytes(transforms);
  return std::move(w).take();
}
Bytes sa_bytes(std::uint8_t protocol, const Bytes& spi, const std::vector<Suite>& suites) {
  Bytes out;
  for (std::size_t i = 0; i < suites.size(); ++i) {
    const Bytes one = proposal_bytes(static_cast<std::uint8_t>(i + 1), i + 1 == suites.size(), protocol, spi, suites[i]);
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}
/// Attributes without a value: "tell me".
Bytes questions(Ids types) {
  Writer w;
  w.be(std::uint32_t{0x01000000});
  for (const std::uint16_t type : types) w.be(type), w.be(std::uint16_t{0});
  return std::move(w).take();
}
/// 0.0.0.0/0 and ::/0, any protocol and port.
Bytes everything() {
  return *from_hex(
      "02000000"
      "07000010"
      "0000ffff"
      "00000000"
      "ffffffff"
      "08000028"
      "0000ffff"
      "00000000000000000000000000000000"
      "ffffffffffffffffffffffffffffffff");
}
const Bytes kSpi{0xc0, 0xde, 0, 0};

// ---------------------------------------------------------------------------------------------------------------- the clients

std::vector<Suite> windows_ike(std::uint16_t group) {
  std::vector<Suite> out;
  for (const Transform& encr : {Transform{1, k3des}, Transform{1, kCbc, 128}, Transform{1, kCbc, 192}, Transform{1, kCbc, 256}})
    for (const auto& [integ, prf] : {std::pair<std::uint16_t, std::uint16_t>{2, 2}, {12, 5}, {13, 6}})
      out.push_back({encr, {3, integ}, {2, prf}, {4, group}});
  return out;
}
std::vector<Suite> windows_2048() {
  std::vector<Suite> out;
  for (const auto& [integ, prf] : {std::pair<std::uint16_t, std::uint16_t>{2, 2}, {12, 5}, {13, 6}})
    out.push_back({{1, kCbc, 256}, {3, integ}, {2, prf}, {4, 14}});
  for (Suite& s : windows_ike(2)) out.push_back(std::move(s));
  return out;
}
std::vector<Suite> windows_esp() {
  std::vector<Suite> out;
  for (const Transform& encr :
       {Transform{1, kCbc, 256}, Transform{1, kCbc, 128}, Transform{1, k3des}, Transform{1, 2}, Transform{1, kNull}})
    out.push_back({encr, {3, 2}, {5, 0}});
  return out;
}
std::vector<Suite> apple_ike() {
  return {{{1, kCbc, 256}, {3, 12}, {2, 5}, {4, 14}},
          {{1, kCbc, 256}, {3, 12}, {2, 5}, {4, 19}},
          {{1, kCbc, 256}, {3, 12}, {2, 5}, {4, 5}},
          {{1, kCbc, 128}, {3, 2}, {2, 2}, {4, 2}},
          {{1, k3des}, {3, 2}, {2, 2}, {4, 2}}};
}
std::vector<Suite> apple_esp() {
  return {{{1, kCbc, 256}, {3, 12}, {5, 0}}, {{1, kCbc, 128}, {3, 2}, {5, 0}}, {{1, k3des}, {3, 2}, {5, 0}}};
}
std::vector<Suite> android_ike() {
  Suite plain, aead{{1, kChaCha}};
  for (const std::uint16_t bits : Ids{256, 192, 128})
    for (const std::uint16_t id : {kCtr, kCbc}) plain.push_back({1, id, bits});
  for (const std::uint16_t bits : Ids{256, 192, 128})
    for (const std::uint16_t id : {kGcm16, kGcm12, kGcm8}) aead.push_back({1, id, bits});
  for (const std::uint16_t id : Ids{14, 13, 12, 5, 8}) plain.push_back({3, id});
  for (Suite* s : {&plain, &aead}) {
    for (const std::uint16_t id : Ids{16, 31, 15, 14}) s->push_back({4, id});
    for (const std::uint16_t id : Ids{7, 6, 5, 4, 8, 2}) s->push_back({2, id});
  }
  return {plain, aead};
}
std::vector<Suite> android_esp() {
  Suite plain, aead;
  for (const std::uint16_t bits : Ids{256, 192, 128}) plain.push_back({1, kCbc, bits});
  for (const std::uint16_t id : Ids{14, 13, 12}) plain.push_back({3, id});
  for (const std::uint16_t bits : Ids{256, 192, 128})
    for (const std::uint16_t id : {kGcm16, kGcm12, kGcm8}) aead.push_back({1, id, bits});
  for (Suite* s : {&plain, &aead}) s->push_back({5, 0});
  return {plain, aead};
}

/// "MS NT5 ISAKMPOAKLEY" 9, "MS-Negotiation Discovery Capable", "Vid-Initial-Contact", and one without a known name.
void windows_vendors(ikev2::Builder& b) {
  for (const char* id : {"1e2b516905991c7d7c96fcbfb587e46100000009", "fb1de3cdf341b7ea16b7e5be0855f120", "26244d38eddb61b3172a36e3d0cfb819",
                         "01528bbbc00696121849ab9a1c5b2a5100000002"})
    b.add_raw(PayloadType::Vendor, *from_hex(id));
}

// ---------------------------------------------------------------------------------------------------------------- the gateway

/// What an operator writes for them; without `legacy` group 2, with SHA-1 as it is.
struct Gateway {
  World world;
  Host& b;
  InsiderV2 peer;
  eap::Client eap{{eap::Method::Mschapv2, to_bytes("alice"), SecretBytes(as_bytes("alicepw")), Bytes(16, 5)}};
  std::optional<ikev2::Message> said;

  explicit Gateway(const std::vector<std::string>& ike, const std::string& esp)
      : b(*make(world, ike, esp)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.keys["c"] = ike::AuthMethod::RsaSignature;
    b.users = {{"alice", "alicepw"}};
    b.start();
  }
  static Host* make(World& w, const std::vector<std::string>& ike, const std::string& esp) {
    auto config = site("10.9.0.2", "", config::StartAction::None);
    serve(config);
    config.pools[0].addrs = TrafficSelector::parse("10.3.0.7").value();
    config::Connection& c = config.connections[0];
    c.xauth_server = {};
    c.version = 2;
    c.proposals.clear();
    for (const std::string& text : ike)
      for (const IkeSuite& s : parse_ike_proposal_v2(text).value()) c.proposals.push_back(s);
    c.local_auth.auth = Proof::Pubkey;
    c.remote_auth.auth = Proof::EapMschapv2;
    c.remote_auth.users = {config::SecretRef::Kind::File, "/users"};
    c.local_id = {config::Identity::Type::Fqdn, "vpn.example"};
    c.remote_id = {};
    c.children = {child("net", "0.0.0.0/0", "0.0.0.0/0", esp, config::StartAction::None)};
    c.children[0].remote_dynamic = true;
    return &w.add("B", std::move(config));
  }

  /// IKE_SA_INIT: the answer has exactly this SA payload.
  void begins(const std::vector<Suite>& offered, const std::string& chosen, std::uint8_t number, const Suite& answer, ikev2::IdI id) {
    peer.manner = InsiderV2::Manner{parse_ike_proposal_v2(chosen).value()[0], sa_bytes(1, {}, offered), std::move(id)};
    REQUIRE(peer.begin());
    REQUIRE(peer.init_answer);
    const auto sa = peer.init_answer->find<ikev2::Sa>();
    REQUIRE(sa);
    CHECK(to_hex(ikev2::encode_body(*sa)) == to_hex(proposal_bytes(number, true, 1, {}, answer)));
  }
  void asks(const ikev2::Builder& payloads) { said = peer.ask(ike::kExchangeAuth, payloads); }
  /// EAP to its end, and the proof behind it.
  void proves() {
    for (int round = 0; round < 3; ++round) {
      INFO(b.transcript());
      REQUIRE((said && said->find<ikev2::Eap>()));
      const auto next = eap.on_packet(said->find<ikev2::Eap>()->data);
      REQUIRE(std::holds_alternative<eap::Reply>(next));
      asks(ikev2::Builder().add(ikev2::Eap{std::get<eap::Reply>(next).packet}));
    }
    REQUIRE((said && said->find<ikev2::Eap>()));
    REQUIRE(std::holds_alternative<eap::Proved>(eap.on_packet(said->find<ikev2::Eap>()->data)));
    asks(ikev2::Builder().add(peer.proof(eap.msk())));
  }
  /// Its tunnel is as it has to be: this suite, its address, all that is behind the gateway.
  void is_up(std::uint8_t number, const Suite& esp) {
    INFO(b.transcript());
    REQUIRE((said && said->find<ikev2::Auth>() && said->find<ikev2::Sa>() && said->find<ikev2::Cp>()));
    const ikev2::Sa& sa = *said->find<ikev2::Sa>();
    REQUIRE(sa.proposals.size() == 1);
    CHECK(to_hex(ikev2::encode_body(sa)) == to_hex(proposal_bytes(number, true, 3, sa.proposals[0].spi, esp)));
    const auto attribute = [&](ikev2::ConfigAttributeType type) -> std::string {
      for (const ikev2::ConfigAttribute& a : said->find<ikev2::Cp>()->attributes)
        if (a.type == type) return to_hex(a.value);
      return "none";
    };
    CHECK(attribute(ikev2::ConfigAttributeType::InternalIp4Address) == "0a030007");
    CHECK(attribute(ikev2::ConfigAttributeType::InternalIp4Dns) == "0a020035");
    const auto host = TrafficSelector::parse("10.3.0.7/32").value(), all = TrafficSelector::parse("0.0.0.0/0").value();
    CHECK(std::ranges::find(said->find<ikev2::TsI>()->selectors, host) != said->find<ikev2::TsI>()->selectors.end());
    CHECK(std::ranges::find(said->find<ikev2::TsR>()->selectors, all) != said->find<ikev2::TsR>()->selectors.end());
    CHECK(b.up());
    CHECK(b.engine->ike_sas().front().xauth_user == "alice");
    CHECK(b.counted(Exchange::IkeAuth, Reason::Ok) >= 1);
  }
};

/// IKE_AUTH as Windows begins it: no AUTH, its address as identity, a CERTREQ for each authority that it knows, private attributes.
ikev2::Builder windows_auth() {
  ikev2::Builder b;
  b.add_raw(PayloadType::IdI, *from_hex("010000000a090001"));
  Bytes authorities{4};
  for (std::uint8_t n = 0; n < 60; ++n) authorities.insert(authorities.end(), 20, n);
  b.add_raw(PayloadType::CertReq, authorities).notify(NotifyType::MobikeSupported);
  b.add_raw(PayloadType::Cp, questions({1, 3, 4, 23456, 8, 10, 23457}));
  return b.add_raw(PayloadType::Sa, sa_bytes(3, kSpi, windows_esp()))
      .add_raw(PayloadType::TsI, everything())
      .add_raw(PayloadType::TsR, everything());
}

}  // namespace

TEST_CASE("IKEv2 profiles: Windows with NegotiateDH2048_AES256", "[ikev2][profiles]") {
  Gateway g({"aes256-sha256-modp2048"}, "aes256-sha1");
  g.peer.in_init.notify(NotifyType::Ikev2FragmentationSupported);
  windows_vendors(g.peer.in_init);
  g.begins(windows_2048(), "aes256-sha256-modp2048", 2, {{1, kCbc, 256}, {2, 5}, {3, 12}, {4, 14}},
           {ikev2::IdType::Ipv4Addr, *from_hex("0a090001")});
  CHECK(g.peer.init_answer->notify(NotifyType::Ikev2FragmentationSupported));
  g.asks(windows_auth());
  REQUIRE((g.said && g.said->find<ikev2::Auth>() && g.said->find<ikev2::Cert>()));  // the gateway proves itself first
  g.proves();
  g.is_up(1, {{1, kCbc, 256}, {3, 2}, {5, 0}});
}

TEST_CASE("IKEv2 profiles: Windows as it is installed offers group 2, which is weak", "[ikev2][profiles]") {
  const auto id = ikev2::IdI{ikev2::IdType::Ipv4Addr, *from_hex("0a090001")};
  SECTION("a gateway without it says so, to both") {
    Gateway g({"aes256-sha256-modp2048", "aes256gcm16-prfsha384-ecp384"}, "aes256gcm16");
    windows_vendors(g.peer.in_init);
    g.peer.manner = InsiderV2::Manner{parse_ike_proposal_v2("aes256-sha256-modp1024").value()[0], sa_bytes(1, {}, windows_ike(2)), id};
    CHECK_FALSE(g.peer.begin());
    REQUIRE((g.peer.init_answer && g.peer.init_answer->error()));
    CHECK(g.peer.init_answer->error()->type == NotifyType::NoProposalChosen);
    CHECK(g.peer.init_answer->payloads().size() == 1);
    INFO(g.b.transcript());
    CHECK(g.b.transcript().find("modp1024") != std::string::npos);
  }
  SECTION("one that takes it by name chooses the best of the twelve") {
    Gateway g({"aes256-sha384-modp1024", "aes256-sha256-modp1024"}, "aes256-sha1");
    windows_vendors(g.peer.in_init);
    g.begins(windows_ike(2), "aes256-sha384-modp1024", 12, {{1, kCbc, 256}, {2, 6}, {3, 13}, {4, 2}}, id);
    g.asks(windows_auth());
    g.proves();
    g.is_up(1, {{1, kCbc, 256}, {3, 2}, {5, 0}});
  }
}

TEST_CASE("IKEv2 profiles: iOS and macOS", "[ikev2][profiles]") {
  const ikev2::IdI id{ikev2::IdType::Fqdn, to_bytes("phone")};
  const auto auth = [] {
    ikev2::Builder b;
    Bytes idi = *from_hex("02000000"), idr = idi;
    const Bytes phone = to_bytes("phone"), gateway = to_bytes("vpn.example");
    idi.insert(idi.end(), phone.begin(), phone.end());
    idr.insert(idr.end(), gateway.begin(), gateway.end());
    b.add_raw(PayloadType::IdI, idi).notify(NotifyType::InitialContact).add_raw(PayloadType::IdR, idr);
    b.add_raw(PayloadType::Cp, questions({1, 2, 6, 3, 8, 12, 10, 25}));
    b.notify(NotifyType{16394}).notify(NotifyType{16395});  // ESP_TFC_PADDING_NOT_SUPPORTED, NON_FIRST_FRAGMENTS_ALSO
    return b.add_raw(PayloadType::Sa, sa_bytes(3, kSpi, apple_esp()))
        .add_raw(PayloadType::TsI, everything())
        .add_raw(PayloadType::TsR, everything())
        .notify(NotifyType::MobikeSupported);
  };
  const auto prepare = [](Gateway& g) {
    g.peer.in_init.notify(NotifyType{16406});  // REDIRECT_SUPPORTED
    g.peer.in_init.notify(NotifyType::Ikev2FragmentationSupported);
  };
  SECTION("their first suite") {
    Gateway g({"aes256-sha256-modp2048"}, "aes256-sha256");
    prepare(g);
    g.begins(apple_ike(), "aes256-sha256-modp2048", 1, {{1, kCbc, 256}, {2, 5}, {3, 12}, {4, 14}}, id);
    g.asks(auth());
    g.proves();
    g.is_up(1, {{1, kCbc, 256}, {3, 12}, {5, 0}});
  }
  SECTION("a gateway that has ECP-256 alone asks for that group, and gets it (RFC 7296 §1.2)") {
    Gateway g({"aes256-sha256-ecp256"}, "aes256-sha256");
    prepare(g);
    g.peer.manner = InsiderV2::Manner{parse_ike_proposal_v2("aes256-sha256-modp2048").value()[0], sa_bytes(1, {}, apple_ike()), id};
    CHECK_FALSE(g.peer.begin());
    REQUIRE((g.peer.init_answer && g.peer.init_answer->error()));
    CHECK(g.peer.init_answer->error()->type == NotifyType::InvalidKePayload);
    CHECK(to_hex(g.peer.init_answer->error()->data) == "0013");
    g.begins(apple_ike(), "aes256-sha256-ecp256", 2, {{1, kCbc, 256}, {2, 5}, {3, 12}, {4, 19}}, id);
    g.asks(auth());
    g.proves();
    g.is_up(1, {{1, kCbc, 256}, {3, 12}, {5, 0}});
  }
}

TEST_CASE("IKEv2 profiles: Android offers all in two proposals, and guesses group 16", "[ikev2][profiles]") {
  Gateway g({"aes256gcm16-prfsha384-x25519"}, "aes256gcm16");
  const ikev2::IdI id{ikev2::IdType::Rfc822Addr, to_bytes("alice@example.org")};
  g.peer.in_init.notify(NotifyType::Ikev2FragmentationSupported);
  g.peer.in_init.notify(NotifyType::SignatureHashAlgorithms, *from_hex("0001000200030004"));
  g.peer.manner = InsiderV2::Manner{parse_ike_proposal_v2("aes256gcm16-prfsha384-modp4096").value()[0], sa_bytes(1, {}, android_ike()), id};
  CHECK_FALSE(g.peer.begin());
  REQUIRE((g.peer.init_answer && g.peer.init_answer->error()));
  CHECK(g.peer.init_answer->error()->type == NotifyType::InvalidKePayload);
  CHECK(to_hex(g.peer.init_answer->error()->data) == "001f");
  g.begins(android_ike(), "aes256gcm16-prfsha384-x25519", 2, {{1, kGcm16, 256}, {2, 6}, {4, 31}}, id);
  ikev2::Builder b;
  Bytes idi = *from_hex("03000000"), idr = *from_hex("02000000");
  const Bytes user = to_bytes("alice@example.org"), gateway = to_bytes("vpn.example");
  idi.insert(idi.end(), user.begin(), user.end());
  idr.insert(idr.end(), gateway.begin(), gateway.end());
  b.add_raw(PayloadType::IdI, idi).add_raw(PayloadType::IdR, idr).notify(NotifyType::MobikeSupported);
  b.add_raw(PayloadType::Sa, sa_bytes(3, kSpi, android_esp())).add_raw(PayloadType::TsI, everything());
  b.add_raw(PayloadType::TsR, everything()).add_raw(PayloadType::Cp, questions({1, 8, 3, 10}));
  g.asks(b);
  g.proves();
  g.is_up(2, {{1, kGcm16, 256}, {5, 0}});
}

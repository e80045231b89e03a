// The table of payloads per message: each mandatory payload missing, each doubled, each stranger, each order.
#include "control/ikev1/message_rules.hpp"
#include "control/ikev1/vendor_ids.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ikev1;
using culvert::test::hex;

namespace {
/// A body that parses for the type.
Bytes body_of(PayloadType t) {
  switch (t) {
    case PayloadType::Sa:
      return hex("00000001 00000001 00000010 01010001 00000008 01010000");
    case PayloadType::Id:
      return hex("01 00 0000 0a000001");
    case PayloadType::Notify:
      return hex("00000001 01 00 6002");
    case PayloadType::Delete:
      return hex("00000001 03 04 0001 c0ffee01");
    case PayloadType::Attributes:
      return hex("01 00 0001 4089 0000");
    case PayloadType::NatOa:
      return hex("01 000000 0a000001");
    default:
      return Bytes(20, 0x11);
  }
}
Message message(const std::vector<PayloadType>& types) {
  Builder b;
  for (const PayloadType t : types) b.add_raw(t, body_of(t));
  auto m = Message::parse(b.first(), b.chain(), Trailing::Alignment);
  REQUIRE(m);
  return *m;
}
using P = PayloadType;
struct Normal {
  MessageKind kind;
  bool encrypted;
  std::vector<P> types;  ///< as the RFC draws the message
  std::vector<P> mandatory;
};
const std::vector<Normal>& normals() {
  static const std::vector<Normal> all{
      {MessageKind::MainMode1, false, {P::Sa, P::Vendor, P::Vendor}, {P::Sa}},
      {MessageKind::MainMode2, false, {P::Sa, P::Vendor}, {P::Sa}},
      {MessageKind::MainMode3, false, {P::Ke, P::Nonce, P::NatD, P::NatD}, {P::Ke, P::Nonce}},
      {MessageKind::MainMode4, false, {P::Ke, P::Nonce, P::NatD, P::NatD}, {P::Ke, P::Nonce}},
      {MessageKind::MainMode5, true, {P::Id, P::Hash, P::Notify}, {P::Id, P::Hash}},
      {MessageKind::MainMode6, true, {P::Id, P::Hash}, {P::Id, P::Hash}},
      {MessageKind::MainMode5Signed, true, {P::Id, P::Cert, P::Cert, P::Sig, P::CertReq}, {P::Id, P::Sig}},
      {MessageKind::MainMode6Signed, true, {P::Id, P::Cert, P::Sig}, {P::Id, P::Sig}},
      {MessageKind::AggressiveMode1, false, {P::Sa, P::Ke, P::Nonce, P::Id, P::Vendor}, {P::Sa, P::Ke, P::Nonce, P::Id}},
      {MessageKind::AggressiveMode2, false, {P::Sa, P::Ke, P::Nonce, P::Id, P::Hash}, {P::Sa, P::Ke, P::Nonce, P::Id, P::Hash}},
      {MessageKind::AggressiveMode3, true, {P::NatD, P::NatD, P::Hash}, {P::Hash}},
      {MessageKind::AggressiveMode2Signed,
       false,
       {P::Sa, P::Ke, P::Nonce, P::Id, P::Cert, P::Sig},
       {P::Sa, P::Ke, P::Nonce, P::Id, P::Sig}},
      {MessageKind::AggressiveMode3Signed, true, {P::Cert, P::Sig}, {P::Sig}},
      {MessageKind::QuickMode1, true, {P::Hash, P::Sa, P::Nonce, P::Ke, P::Id, P::Id}, {P::Hash, P::Sa, P::Nonce}},
      {MessageKind::QuickMode2, true, {P::Hash, P::Sa, P::Nonce, P::Ke, P::Id, P::Id}, {P::Hash, P::Sa, P::Nonce}},
      {MessageKind::QuickMode3, true, {P::Hash}, {P::Hash}},
      {MessageKind::Transaction, true, {P::Hash, P::Attributes}, {P::Hash, P::Attributes}},
      {MessageKind::Informational, true, {P::Hash, P::Delete}, {P::Hash}},
      {MessageKind::InformationalClear, false, {P::Notify}, {P::Notify}},
  };
  return all;
}
}  // namespace

TEST_CASE("each message as the RFC draws it", "[ikev1][rules][rfc2409-5.4][rfc2409-5.5]") {
  CHECK(normals().size() == static_cast<std::size_t>(MessageKind::Count_));
  for (const Normal& n : normals()) {
    INFO(name(n.kind));
    CHECK(check_message(n.kind, n.encrypted, message(n.types)));
    const auto wrong = check_message(n.kind, !n.encrypted, message(n.types));
    if (n.kind == MessageKind::AggressiveMode3 || n.kind == MessageKind::AggressiveMode3Signed) {
      CHECK(wrong);  // RFC 2409 §5.4 draws it in clear
      continue;
    }
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().notify == NotifyType::InvalidFlags);
  }
}

TEST_CASE("a mandatory payload missing or doubled", "[ikev1][rules][B4]") {
  for (const Normal& n : normals())
    for (const P t : n.mandatory) {
      INFO(name(n.kind) << " " << name(t));
      auto without = n.types;
      without.erase(std::find(without.begin(), without.end(), t));
      if (!without.empty()) {
        const auto lacks = check_message(n.kind, n.encrypted, message(without));
        REQUIRE_FALSE(lacks);
        CHECK(lacks.error().text.find("lacks a payload of type " + name(t)) != std::string::npos);
      }
      if (n.kind == MessageKind::InformationalClear) continue;  // several notifications are fine
      auto doubled = n.types;
      doubled.push_back(t);
      CHECK_FALSE(check_message(n.kind, n.encrypted, message(doubled)));
    }
}

TEST_CASE("strangers: unknown numbers, numbers of IKEv2, payloads of other messages, private ones", "[ikev1][rules][A6][rfc2408-5.3]") {
  for (const Normal& n : normals()) {
    for (int type = 1; type < 256; ++type) {
      const auto t = static_cast<P>(type);
      auto types = n.types;
      types.push_back(t);
      const auto result = check_message(n.kind, n.encrypted, message(types));
      if (type >= 128) {
        CHECK(result);
      } else if ((type > 14 && type != 20 && type != 21) || type == 2 || type == 3) {
        REQUIRE_FALSE(result);
        CHECK(result.error().notify == NotifyType::InvalidPayloadType);
        CHECK(result.error().text.find("unknown type " + std::to_string(type)) != std::string::npos);
      } else if (t == P::Cert && std::find(n.types.begin(), n.types.end(), t) != n.types.end()) {
        CHECK(result);  // one more of a chain
      } else if ((t == P::Attributes && n.kind != MessageKind::Transaction) ||
                 ((t == P::Sig || t == P::Cert) && std::find(n.types.begin(), n.types.end(), t) == n.types.end())) {
        REQUIRE_FALSE(result);
        CHECK(result.error().text.find("may not carry") != std::string::npos);
      }
    }
  }
}

TEST_CASE("as many certificates as a chain may have, and no more", "[ikev1][rules][E7]") {
  std::vector<P> types{P::Id, P::Sig};
  types.resize(2 + kMaxCertificates, P::Cert);
  CHECK(check_message(MessageKind::MainMode5Signed, true, message(types)));
  types.push_back(P::Cert);
  CHECK_FALSE(check_message(MessageKind::MainMode5Signed, true, message(types)));
}

TEST_CASE("order: SA first in phase 1, HASH then SA in Quick Mode", "[ikev1][rules][rfc2409-5]") {
  CHECK_FALSE(check_message(MessageKind::MainMode1, false, message({P::Vendor, P::Sa})));
  CHECK_FALSE(check_message(MessageKind::QuickMode1, true, message({P::Sa, P::Hash, P::Nonce})));
  CHECK_FALSE(check_message(MessageKind::QuickMode1, true, message({P::Hash, P::Nonce, P::Sa})));
  CHECK_FALSE(check_message(MessageKind::Informational, true, message({P::Delete, P::Hash})));
  CHECK(check_message(MessageKind::MainMode3, false, message({P::NatD, P::Nonce, P::Vendor, P::Ke})));
  CHECK(check_message(MessageKind::MainMode5, true, message({P::Hash, P::Id})));
}

TEST_CASE("Quick Mode identities come in pairs; an Informational message says something", "[ikev1][rules][G4][G9]") {
  CHECK(check_message(MessageKind::QuickMode1, true, message({P::Hash, P::Sa, P::Nonce})));
  CHECK_FALSE(check_message(MessageKind::QuickMode1, true, message({P::Hash, P::Sa, P::Nonce, P::Id})));
  CHECK_FALSE(check_message(MessageKind::QuickMode1, true, message({P::Hash, P::Sa, P::Nonce, P::Id, P::Id, P::Id})));
  CHECK_FALSE(check_message(MessageKind::Informational, true, message({P::Hash})));
  CHECK_FALSE(check_message(MessageKind::InformationalClear, false, message({P::Delete})));
  const auto v = check_message(MessageKind::MainMode3, false, message({P::Nonce}));
  REQUIRE_FALSE(v);
  CHECK(v.error().text == "Main Mode message 3 lacks a payload of type KE (RFC 2409 §5.4)");
}

TEST_CASE("vendor ids: each row is recognised, a longer one only where version bytes may follow", "[ikev1][vendor][A15]") {
  for (const VendorIdInfo& row : vendor_id_table()) {
    INFO(row.name);
    Bytes id = hex(row.hex);
    const auto* found = recognise_vendor(id);
    REQUIRE(found);
    CHECK(found->id == row.id);
    id.push_back(0x5a);
    const auto* longer = recognise_vendor(id);
    if (row.prefix) {
      REQUIRE(longer);
      CHECK(longer->id == row.id);
    } else if (longer) {
      CHECK(longer->prefix);
    }
  }
  CHECK_FALSE(recognise_vendor({}));
  CHECK_FALSE(recognise_vendor(Bytes(65000)));
  for (const VendorId id :
       {VendorId::NatTRfc3947, VendorId::NatTDraft03, VendorId::NatTDraft02Newline, VendorId::NatTDraft02, VendorId::NatTDraft01,
        VendorId::NatTDraft00, VendorId::Dpd, VendorId::XAuth, VendorId::Unity, VendorId::Fragmentation}) {
    const auto* known = recognise_vendor(vendor_id(id));
    REQUIRE(known);
    CHECK(known->id == id);
  }
  CHECK(vendor_id(VendorId::Fragmentation).size() == 20);
  CHECK(recognise_vendor(hex("4048b7d56ebce88525e7de7f00d6c2d3"))->id == VendorId::Fragmentation);
  CHECK(recognise_vendor(as_bytes("OE-Libreswan-4.9"))->name == "Libreswan");
  CHECK(recognise_vendor(hex("1e2b516905991c7d7c96fcbfb587e46100000009"))->name == "Windows 8 or later");
}

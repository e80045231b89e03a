// The table of payloads per message of IKEv2: each mandatory payload missing, each doubled, each stranger, each excuse.
#include "control/ikev2/message_rules.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ikev2;
using culvert::test::hex;

namespace {
using P = PayloadType;
using K = MessageKind;
constexpr std::array kTypes{P::Sa,     P::Ke,     P::IdI, P::IdR, P::Cert, P::CertReq, P::Auth, P::Nonce, P::Notify,
                            P::Delete, P::Vendor, P::TsI, P::TsR, P::Cp,   P::Eap,     P::Sk,   P::Skf};

/// A body that parses for the type.
Bytes body_of(P t) {
  switch (t) {
    case P::Sa:
      return hex("00000010 01010001 00000008 01000014");
    case P::TsI:
    case P::TsR:
      return hex("01000000 07000010 0000ffff 0a010000 0a01ffff");
    case P::Notify:
      return hex("00004004");
    case P::Delete:
      return hex("03040001 c0ffee01");
    case P::Cp:
      return hex("01000000");
    default:
      return Bytes(20, 0x11);
  }
}
Message message(const std::vector<P>& types, std::initializer_list<NotifyType> notifications = {}) {
  Builder b;
  for (const NotifyType n : notifications) b.notify(n);
  for (const P t : types) b.add_raw(t, body_of(t));
  auto m = Message::parse(b.first(), b.chain());
  REQUIRE(m);
  return *m;
}
std::vector<P> without(std::vector<P> types, P one) {
  std::erase(types, one);
  return types;
}
std::vector<P> with(std::vector<P> types, P one, std::size_t times = 1) {
  types.insert(types.begin(), times, one);  // in front: SK would have to be the last one
  return types;
}

struct Normal {
  K kind;
  bool reply;
  std::vector<P> mandatory;
  std::vector<P> single;  ///< may be there once
  std::vector<P> many;
};
// RFC 7296 App. C, line by line.
const std::vector<Normal>& normals() {
  static const std::vector<Normal> all{
      {K::SaInitRequest, false, {P::Sa, P::Ke, P::Nonce}, {}, {}},
      {K::SaInitReply, true, {P::Sa, P::Ke, P::Nonce}, {}, {P::CertReq}},
      {K::AuthRequest, false, {P::IdI, P::Sa, P::TsI, P::TsR}, {P::IdR, P::Auth, P::Cp}, {P::Cert, P::CertReq}},
      {K::AuthReply, true, {P::Auth, P::Sa, P::TsI, P::TsR}, {P::IdR, P::Cp}, {P::Cert}},
      {K::EapReply, true, {P::Eap}, {P::IdR, P::Auth}, {P::Cert}},
      {K::NewChildRequest, false, {P::Sa, P::Nonce, P::TsI, P::TsR}, {P::Ke, P::Cp}, {}},
      {K::NewChildReply, true, {P::Sa, P::Nonce, P::TsI, P::TsR}, {P::Ke, P::Cp}, {}},
      {K::NewIkeRequest, false, {P::Sa, P::Nonce, P::Ke}, {}, {}},
      {K::NewIkeReply, true, {P::Sa, P::Nonce, P::Ke}, {}, {}},
      {K::Informational, false, {}, {P::Cp}, {P::Delete}},
  };
  return all;
}
bool among(const std::vector<P>& types, P one) { return std::ranges::find(types, one) != types.end(); }
}  // namespace

TEST_CASE("IKEv2: each message as RFC 7296 App. C draws it", "[ikev2][rules][rfc7296-c]") {
  for (const Normal& n : normals()) {
    INFO(static_cast<int>(n.kind));
    CHECK_FALSE(check(n.kind, message(n.mandatory)));
    std::vector<P> all = n.mandatory;
    for (const auto* more : {&n.single, &n.many, &n.many}) all.insert(all.end(), more->begin(), more->end());
    std::ranges::reverse(all);  // any order will do (RFC 7296 §2.5)
    CHECK_FALSE(check(n.kind, message(all)));
  }
}

TEST_CASE("IKEv2: a mandatory payload that is missing or doubled, and strangers", "[ikev2][rules][B4][rfc7296-c]") {
  for (const Normal& n : normals())
    for (const P type : kTypes) {
      INFO(static_cast<int>(n.kind) << " " << name(type));
      const bool anywhere = type == P::Notify || type == P::Vendor;
      const bool mandatory = among(n.mandatory, type), single = among(n.single, type), many = among(n.many, type);
      if (mandatory) {
        const auto missing = check(n.kind, message(without(n.mandatory, type)));
        REQUIRE(missing);
        CHECK(missing->find("lacks a payload of type " + name(type) + " (RFC 7296 App. C.") != std::string::npos);
      }
      if (type == P::Sk || type == P::Skf) {
        auto last = n.mandatory;
        last.push_back(type);
        CHECK(check(n.kind, message(last)));
        continue;
      }
      const auto wrong = check(n.kind, message(with(n.mandatory, type)));
      CHECK(wrong.has_value() == !(anywhere || single || many));
      if (wrong && !mandatory) CHECK(wrong->find("may not carry a payload of type " + name(type)) != std::string::npos);
      CHECK(check(n.kind, message(with(n.mandatory, type, 2))).has_value() == !(anywhere || many));
    }
}

TEST_CASE("IKEv2: IKE_AUTH asks for a CHILD SA with all three, or for none", "[ikev2][rules][childless][rfc6023-4]") {
  CHECK_FALSE(check(K::AuthRequest, message({P::IdI, P::Auth})));
  CHECK_FALSE(check(K::AuthRequest, message({P::IdI, P::Auth, P::Cp})));
  for (const auto& some : std::vector<std::vector<P>>{{P::Sa}, {P::TsI}, {P::TsR}, {P::Sa, P::TsI}, {P::Sa, P::TsR}, {P::TsI, P::TsR}}) {
    std::vector<P> all = some;
    all.push_back(P::IdI);
    CHECK(check(K::AuthRequest, message(all)));
  }
  CHECK_FALSE(check(K::ChildlessReply, message({P::IdR, P::Cert, P::Auth, P::Cp})));
  for (const P of_child : {P::Sa, P::TsI, P::TsR, P::Ke, P::Nonce}) CHECK(check(K::ChildlessReply, message({P::IdR, P::Auth, of_child})));
}

TEST_CASE("IKEv2: what may stand anywhere", "[ikev2][rules][rfc7296-2.5]") {
  for (const Normal& n : normals()) {
    auto types = with(with(n.mandatory, P::Vendor, kMaxVendorIds), P::Notify, 20);
    types = with(with(types, static_cast<P>(200), 2), static_cast<P>(1));
    CHECK_FALSE(check(n.kind, message(types)));
  }
}

TEST_CASE("IKEv2: certificates are bounded", "[ikev2][rules][C2]") {
  const std::vector<P> normal{P::IdI, P::Sa, P::TsI, P::TsR};
  CHECK_FALSE(check(K::AuthRequest, message(with(normal, P::Cert, kMaxCertificates))));
  CHECK(check(K::AuthRequest, message(with(normal, P::Cert, kMaxCertificates + 1))) ==
        "IKE_AUTH request carries 9 payloads of type CERT, at most 8 may be there (RFC 7296 App. C.2)");
}

TEST_CASE("IKEv2: an error stands for what a reply lacks, never for what a request lacks", "[ikev2][rules][B4][rfc7296-c]") {
  for (const Normal& n : normals()) {
    INFO(static_cast<int>(n.kind));
    CHECK(check(n.kind, message({}, {NotifyType::NoProposalChosen})).has_value() == !(n.reply || n.mandatory.empty()));
    CHECK(check(n.kind, message({}, {static_cast<NotifyType>(16383)})).has_value() == !(n.reply || n.mandatory.empty()));
    CHECK(check(n.kind, message({}, {NotifyType::InitialContact})).has_value() == !n.mandatory.empty());
    CHECK(check(n.kind, message({}, {})).has_value() == !n.mandatory.empty());
    // An error excuses no stranger and no double.
    CHECK(check(n.kind, message({P::Eap, P::Eap}, {NotifyType::NoProposalChosen})));
  }
  // A CHILD SA that was not made (RFC 7296 App. C.2).
  CHECK_FALSE(check(K::AuthReply, message({P::IdR, P::Auth}, {NotifyType::TsUnacceptable})));
  CHECK(check(K::AuthReply, message({P::IdR, P::Auth})) == "IKE_AUTH reply lacks a payload of type SA (RFC 7296 App. C.2)");
}

TEST_CASE("IKEv2: COOKIE and REDIRECT stand for what a reply lacks", "[ikev2][rules][rfc7296-2.6][rfc5685]") {
  CHECK_FALSE(check(K::SaInitReply, message({}, {NotifyType::Cookie})));
  CHECK_FALSE(check(K::SaInitReply, message({}, {NotifyType::Redirect})));
  CHECK(check(K::SaInitRequest, message({}, {NotifyType::Cookie})));
  CHECK(check(K::AuthReply, message({P::IdR, P::Auth}, {NotifyType::Cookie})));
  CHECK_FALSE(check(K::AuthReply, message({P::IdR, P::Auth}, {NotifyType::Redirect})));
  CHECK(check(K::AuthReply, message({P::IdR}, {NotifyType::Redirect})) ==
        "IKE_AUTH reply lacks a payload of type AUTH (RFC 7296 App. C.2)");
  CHECK(check(K::NewChildReply, message({}, {NotifyType::Redirect})));
}

TEST_CASE("IKEv2: in between there is EAP, or AUTH at the end", "[ikev2][rules][rfc7296-2.16]") {
  CHECK_FALSE(check(K::EapRequest, message({P::Eap})));
  CHECK_FALSE(check(K::EapRequest, message({P::Auth})));
  CHECK_FALSE(check(K::EapRequest, message({P::Auth}, {NotifyType::InitialContact})));
  const auto neither = "IKE_AUTH request with EAP does not carry one payload, either of type EAP or of type AUTH (RFC 7296 App. C.3)";
  CHECK(check(K::EapRequest, message({})) == neither);
  CHECK(check(K::EapRequest, message({P::Auth, P::Eap})) == neither);
  CHECK(check(K::EapRequest, message({}, {NotifyType::AuthenticationFailed})) == neither);
  for (const P type : kTypes)
    if (type != P::Eap && type != P::Auth && type != P::Vendor && type != P::Notify && type != P::Sk && type != P::Skf)
      CHECK(check(K::EapRequest, message({type, P::Eap})));
}

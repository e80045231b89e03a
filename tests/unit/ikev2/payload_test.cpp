// Payload bodies: golden vectors, round trips, every strict prefix, every length and count that lies.
#include "control/ikev2/message.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ikev2;
using culvert::test::hex;

namespace {
using P = PayloadType;
struct Golden {
  const char* name;
  P type;
  const char* body;  ///< hexadecimal, without the generic header
};
// Written out by hand from the drawings of RFC 7296 §3.
constexpr std::array kGolden{
    // IKE: AES-CBC-256 and -128, PRF_HMAC_SHA2_256, AUTH_HMAC_SHA2_256_128, group 14; then AES-GCM-16-256, PRF, group 31.
    Golden{"SA, IKE", P::Sa,
           "02000038 01010005"
           "0300000c 0100000c 800e0100  0300000c 0100000c 800e0080  03000008 02000005  03000008 0300000c  00000008 0400000e"
           "00000024 02010003"
           "0300000c 01000014 800e0100  03000008 02000005  00000008 0400001f"},
    Golden{"SA, IKE, rekeying", P::Sa, "0000001c 01010801 0102030405060708 0000000c 01000014 800e0080"},
    Golden{"SA, ESP", P::Sa, "00000020 01030402 c0ffee01 0300000c 01000014 800e0080  00000008 05000000"},
    Golden{"SA, AH", P::Sa, "0000001c 01020402 c0ffee02 03000008 0300000c  00000008 05000001"},
    Golden{"KE", P::Ke, "001f0000 000102030405060708090a0b0c0d0e0f"},
    Golden{"IDi, FQDN", P::IdI, "02000000 67772d612e6578616d706c65"},
    Golden{"IDr, IPv4", P::IdR, "01000000 0a000001"},
    Golden{"CERT", P::Cert, "04 3082"},
    Golden{"CERTREQ, any", P::CertReq, "04"},
    Golden{"AUTH", P::Auth, "02000000 ffeeddccbbaa99887766554433221100"},
    Golden{"Nonce", P::Nonce, "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"},
    Golden{"N, COOKIE", P::Notify, "00004006 0011223344"},
    Golden{"N, REKEY_SA", P::Notify, "03044009 c0ffee01"},
    Golden{"N, INVALID_KE_PAYLOAD", P::Notify, "00000011 0013"},
    Golden{"D, two of ESP", P::Delete, "03040002 c0ffee01 c0ffee02"},
    Golden{"D, none of AH", P::Delete, "02040000"},
    Golden{"D, the IKE SA", P::Delete, "01000000"},
    Golden{"V", P::Vendor, "4a131c81070358455c5728f20e95452f"},
    Golden{"V, empty", P::Vendor, ""},
    Golden{"TSi", P::TsI, "02000000 07000010 0000ffff 0a010000 0a01ffff  07110010 01f401f4 0a020001 0a020001"},
    Golden{"TSr, IPv6", P::TsR, "01000000 08060028 00500050 20010db8000000000000000000000000 20010db80000000000000000000000ff"},
    Golden{"CP, request", P::Cp, "01000000 00010000 00030000 000a0000"},
    Golden{"CP, reply", P::Cp, "02000000 00010004 0a030007  00080011 20010db800000000000000000000000140"},
    Golden{"CP, empty", P::Cp, "04000000"},
    Golden{"EAP, identity", P::Eap, "0101000501"},
    Golden{"SK", P::Sk, "00112233"},
    Golden{"SKF", P::Skf, "00010002 00112233"},
    Golden{"payload 200", static_cast<P>(200), "cafe"},
};

template <class T>
T parse_as(const char* body) {
  const auto content = parse_body(T::kType, hex(body));
  REQUIRE(content);
  return std::get<T>(*content);
}
ParseErrc error_of(P type, const Bytes& body) {
  const auto content = parse_body(type, body);
  REQUIRE_FALSE(content);
  return content.error().code;
}
ParseErrc error_of(P type, const char* body) { return error_of(type, hex(body)); }
/// The first golden SA with one byte changed.
Bytes sa_with(std::size_t at, int value) {
  Bytes b = hex(kGolden[0].body);
  b.at(at) = static_cast<std::uint8_t>(value);
  return b;
}
/// An ESP proposal with one transform that has these attributes.
Bytes transform_with(const char* attributes) {
  Bytes a = hex(attributes);
  Bytes out = hex("00000014 01030401 c0ffee01 00000008 01000014");
  out[3] = static_cast<std::uint8_t>(out[3] + a.size());
  out[15] = static_cast<std::uint8_t>(out[15] + a.size());
  out.insert(out.end(), a.begin(), a.end());
  return out;
}
Transform transform_of(const char* attributes) {
  const auto sa = parse_body(P::Sa, transform_with(attributes));
  REQUIRE(sa);
  return std::get<Sa>(*sa).proposals.at(0).transforms.at(0);
}
}  // namespace

TEST_CASE("each IKEv2 payload: golden bytes, round trip, every strict prefix fails", "[ikev2][payload][rfc7296-3]") {
  for (const auto& g : kGolden) {
    INFO(g.name);
    const Bytes body = hex(g.body);
    const Bytes chain = Builder().add_raw(g.type, body).chain();
    const auto m = Message::parse(g.type, chain);
    REQUIRE(m);
    REQUIRE(m->payloads().size() == 1);
    CHECK(m->payloads()[0].body == body);
    CHECK(encode_body(m->payloads()[0].content) == body);
    for (std::size_t n = 0; n < chain.size(); ++n) CHECK_FALSE(Message::parse(g.type, ByteView(chain).first(n)));
  }
}

TEST_CASE("IKEv2 payloads with counts inside fail on every strict prefix of their body", "[ikev2][payload][A5]") {
  for (const auto& g : kGolden) {
    if (g.type != P::Sa && g.type != P::Delete && g.type != P::TsI && g.type != P::TsR) continue;
    INFO(g.name);
    Bytes body = hex(g.body);
    for (std::size_t n = 0; n < body.size(); ++n) CHECK_FALSE(parse_body(g.type, ByteView(body).first(n)));
    body.push_back(0);
    CHECK(error_of(g.type, body) == ParseErrc::Trailing);
  }
  for (const P fixed : {P::Ke, P::IdI, P::IdR, P::Auth, P::Notify, P::Cp})
    for (std::size_t n = 0; n < 4; ++n) CHECK_FALSE(parse_body(fixed, Bytes(n, 1)));
  for (const P one : {P::Cert, P::CertReq}) CHECK_FALSE(parse_body(one, {}));
}

TEST_CASE("fields of IKEv2 payloads land where they belong", "[ikev2][payload]") {
  const Sa sa = parse_as<Sa>(kGolden[0].body);
  REQUIRE(sa.proposals.size() == 2);
  CHECK(sa.proposals[0].protocol == kProtoIke);
  REQUIRE(sa.proposals[0].transforms.size() == 5);
  CHECK(sa.proposals[0].transforms[1] == Transform{TransformType::Encr, 12, 128});
  CHECK(sa.proposals[0].transforms[4] == Transform{TransformType::Ke, 14});
  CHECK(sa.proposals[1].number == 2);
  CHECK(to_hex(parse_as<Sa>(kGolden[1].body).proposals[0].spi) == "0102030405060708");
  CHECK(parse_as<Ke>("001f0000 0102").group == DhGroup::Curve25519);
  CHECK(parse_as<Ke>("03e80000").group == static_cast<DhGroup>(1000));
  CHECK(parse_as<IdI>("0b000000 01").type == IdType::KeyId);
  CHECK(parse_as<Cert>("04 3082").encoding == kX509Signature);
  CHECK(parse_as<Auth>("0e000000 01").method == AuthMethodId::Digital);
  const Notify n = parse_as<Notify>("03044009 c0ffee01 77");
  CHECK((n.protocol == kProtoEsp && n.type == NotifyType::RekeySa && to_hex(n.spi) == "c0ffee01" && to_hex(n.data) == "77"));
  CHECK(parse_as<Delete>("03040002 c0ffee01 c0ffee02").spis.at(1) == Spi{0xc0ffee02});
  const TsI ts = parse_as<TsI>(kGolden[19].body);
  REQUIRE(ts.selectors.size() == 2);
  CHECK(ts.selectors[0].to_string() == "10.1.0.0/16");
  CHECK(ts.selectors[1].to_string() == "10.2.0.1/32[udp/500]");
  const Cp cp = parse_as<Cp>("02000000 80010004 0a030007");  // the reserved bit is not looked at
  CHECK(cp.type == ConfigType::Reply);
  CHECK(cp.attributes.at(0).type == ConfigAttributeType::InternalIp4Address);
}

TEST_CASE("reserved fields of IKEv2 payloads are not looked at, and written as zero", "[ikev2][payload][A9]") {
  CHECK(encode_body(parse_as<Ke>("001fffff 01")) == hex("001f0000 01"));
  CHECK(encode_body(parse_as<IdR>("02ffffff 01")) == hex("02000000 01"));
  CHECK(encode_body(parse_as<Auth>("02ffffff 01")) == hex("02000000 01"));
  CHECK(encode_body(parse_as<TsI>("01ffffff 07000010 0000ffff 0a010000 0a01ffff")) == hex("01000000 07000010 0000ffff 0a010000 0a01ffff"));
  CHECK(encode_body(parse_as<Cp>("01ffffff 80010000")) == hex("01000000 00010000"));
  CHECK(encode_body(parse_as<Sa>("00ff0014 01030001 00ff000c 01ff0014 800e0080")) == hex("00000014 01030001 0000000c 01000014 800e0080"));
}

TEST_CASE("SA of IKEv2: lengths, counts and 'last' fields that lie, level by level", "[ikev2][payload][A5][rfc7296-3.3]") {
  // Offsets: 0 proposal (2 length, 4 number, 6 SPI size, 7 count), 8 its first transform (10 length), 48 its last one, 56 the next one.
  const auto sa_error = [](std::size_t at, int value) { return error_of(P::Sa, sa_with(at, value)); };
  CHECK(sa_error(0, 0) == ParseErrc::Trailing);
  for (const int n : {1, 3, 255}) CHECK(sa_error(0, n) == ParseErrc::BadValue);
  CHECK(sa_error(56, 2) == ParseErrc::Truncated);
  CHECK(sa_error(8, 0) == ParseErrc::BadLength);  // one transform, where the count says five
  for (const int n : {1, 2, 4, 255}) CHECK(sa_error(8, n) == ParseErrc::BadValue);
  CHECK(sa_error(48, 3) == ParseErrc::Truncated);
  for (const int n : {0, 1, 2, 3}) CHECK(sa_error(3, n) == ParseErrc::BadLength);
  for (const int n : {4, 7, 8, 0x37, 0x39, 0x5b}) CHECK_FALSE(parse_body(P::Sa, sa_with(3, n)));
  CHECK(sa_error(2, 0xff) == ParseErrc::BadLength);
  for (const int n : {1, 4, 7, 9, 16, 255}) CHECK(sa_error(6, n) == ParseErrc::BadLength);
  CHECK_FALSE(parse_body(P::Sa, sa_with(6, 8)));
  CHECK(sa_error(7, 0) == ParseErrc::BadValue);
  for (const int n : {1, 4, 6, 255}) CHECK(sa_error(7, n) == ParseErrc::BadLength);
  for (const int n : {0, 1, 2, 3, 255}) CHECK(sa_error(11, n) == ParseErrc::BadLength);
  for (const int n : {4, 5, 7, 8, 9, 10, 11, 13}) CHECK_FALSE(parse_body(P::Sa, sa_with(11, n)));
  CHECK(error_of(P::Sa, "00000014 01010001 00000008 02000005 00000000") == ParseErrc::Trailing);  // inside of the proposal
  CHECK(error_of(P::Sa, Bytes{}) == ParseErrc::Truncated);
  CHECK(error_of(P::Sa, "00000008 01010000") == ParseErrc::BadValue);
  for (const int n : {0, 7, 255}) CHECK(parse_body(P::Sa, sa_with(4, n)));  // numbers are proposal.hpp's to judge
}

TEST_CASE("SA of IKEv2: SPIs have the size of their protocol", "[ikev2][payload][rfc7296-3.3.1]") {
  const auto with = [](int protocol, std::size_t size) {
    Bytes b = hex("00000000 01000001");
    b[3] = static_cast<std::uint8_t>(16 + size);
    b[5] = static_cast<std::uint8_t>(protocol);
    b[6] = static_cast<std::uint8_t>(size);
    b.insert(b.end(), size, 0x5a);
    const Bytes transform = hex("00000008 01000014");
    b.insert(b.end(), transform.begin(), transform.end());
    return parse_body(P::Sa, b).has_value();
  };
  for (std::size_t size = 0; size < 32; ++size) {
    INFO(size);
    CHECK(with(kProtoIke, size) == (size == 0 || size == 8));
    for (const int protocol : {0, 2, 3, 4, 255}) CHECK(with(protocol, size) == (size == 0 || size == 4));
  }
  Sa sa{{Proposal{1, kProtoEsp, Bytes(8, 1), {Transform{TransformType::Encr, 20, 128}}}}};
  CHECK_THROWS_AS(encode_body(sa), std::length_error);
}

TEST_CASE("attributes of IKEv2 transforms: one Key Length, all others make it unusable", "[ikev2][payload][A11][rfc7296-3.3.5]") {
  CHECK(transform_of("") == Transform{TransformType::Encr, 20});
  CHECK(transform_of("800e0080") == Transform{TransformType::Encr, 20, 128});
  CHECK(transform_of("800e0080 800e0100") == Transform{TransformType::Encr, 20, 128, true});  // two
  CHECK(transform_of("000e0002 0080") == Transform{TransformType::Encr, 20, {}, true});       // as TLV
  CHECK(transform_of("800f0080") == Transform{TransformType::Encr, 20, {}, true});            // another, as TV
  CHECK(transform_of("000f0003 010203 800e0080") == Transform{TransformType::Encr, 20, 128, true});
  CHECK(transform_of("00010000") == Transform{TransformType::Encr, 20, {}, true});
  for (const char* cut : {"80", "800e", "800e00", "000f0004 010203", "000fffff 01", "800e0080 00"})
    CHECK(error_of(P::Sa, transform_with(cut)) == ParseErrc::Truncated);
  // What cannot be chosen is not written, either.
  CHECK(encode_body(Sa{{Proposal{1, kProtoEsp, hex("c0ffee01"), {transform_of("800f0080 800e0080")}}}}) == transform_with("800e0080"));
}

TEST_CASE("SA of IKEv2: bounds on proposals and transforms", "[ikev2][payload][C2]") {
  Proposal p{1, kProtoIke, {}, {Transform{TransformType::Prf, 5}}};
  Sa sa{std::vector(kMaxProposals, p)};
  Bytes most = encode_body(sa);
  CHECK(std::get<Sa>(*parse_body(P::Sa, most)) == sa);
  most[most.size() - 16] = 2;
  const Bytes more = hex("00000010 01010001 00000008 02000005");
  most.insert(most.end(), more.begin(), more.end());
  CHECK(error_of(P::Sa, most) == ParseErrc::TooMany);
  sa.proposals.push_back(p);
  CHECK_THROWS_AS(encode_body(sa), std::length_error);

  p.transforms.assign(kMaxTransforms, Transform{TransformType::Ke, 14});
  sa.proposals = {p};
  Bytes full = encode_body(sa);
  CHECK(std::get<Sa>(*parse_body(P::Sa, full)) == sa);
  // One more: the count can only lie about it.
  full[full.size() - 8] = 3;
  const Bytes last = hex("00000008 0400000e");
  full.insert(full.end(), last.begin(), last.end());
  full[2] = static_cast<std::uint8_t>(full.size() >> 8);
  full[3] = static_cast<std::uint8_t>(full.size());
  CHECK(error_of(P::Sa, full) == ParseErrc::TooMany);
  p.transforms.push_back(Transform{TransformType::Ke, 14});
  CHECK_THROWS_AS(encode_body(Sa{{p}}), std::length_error);
  p.transforms.clear();
  CHECK_THROWS_AS(encode_body(Sa{{p}}), std::length_error);
  CHECK_THROWS_AS(encode_body(Sa{}), std::length_error);
}

TEST_CASE("sizes of IKEv2 nonces, identities, certificates and AUTH", "[ikev2][payload][A12][C2][rfc7296-3.9]") {
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, kMinNonce - 1, kMaxNonce + 1, std::size_t{65531}})
    CHECK_FALSE(parse_body(P::Nonce, Bytes(n, 1)));
  for (const std::size_t n : {kMinNonce, kMaxNonce}) CHECK(parse_body(P::Nonce, Bytes(n, 1)));
  const auto bound = [](P type, std::size_t header, std::size_t most) {
    CHECK(parse_body(type, Bytes(header, 4)));
    CHECK(parse_body(type, Bytes(header + most, 4)));
    CHECK(error_of(type, Bytes(header + most + 1, 4)) == ParseErrc::TooMany);
  };
  bound(P::IdI, 4, kMaxIdentity);
  bound(P::IdR, 4, kMaxIdentity);
  bound(P::Cert, 1, kMaxCertificate);
  bound(P::CertReq, 1, kMaxCertificate);
  bound(P::Auth, 4, kMaxAuth);
}

TEST_CASE("SPIs of IKEv2 notifications lie within them", "[ikev2][payload][A5][rfc7296-3.10]") {
  CHECK(error_of(P::Notify, "03044009 c0ffee") == ParseErrc::Truncated);
  CHECK(error_of(P::Notify, "03ff4009 c0ffee01") == ParseErrc::Truncated);
  Notify n{kProtoEsp, NotifyType::InvalidSpi, Bytes(255, 1), {}};
  CHECK(std::get<Notify>(*parse_body(P::Notify, encode_body(n))) == n);
  n.spi.push_back(1);
  CHECK_THROWS_AS(encode_body(n), std::length_error);
}

TEST_CASE("Delete of IKEv2: sizes and counts", "[ikev2][payload][A5][C2][rfc7296-3.11]") {
  for (const char* size :
       {"03000000", "03080001 0102030405060708", "030f0001 00", "01040001 c0ffee01", "01080001 0102030405060708", "01000001"})
    CHECK(error_of(P::Delete, size) == ParseErrc::BadLength);
  for (const char* count : {"03040002 c0ffee01", "03040001", "030403ff c0ffee01"})
    CHECK(error_of(P::Delete, count) == ParseErrc::Truncated);
  CHECK(error_of(P::Delete, "0304ffff c0ffee01") == ParseErrc::TooMany);
  Delete d{kProtoEsp, std::vector<Spi>(kMaxDeleteSpis, Spi{7})};
  CHECK(std::get<Delete>(*parse_body(P::Delete, encode_body(d))) == d);
  d.spis.push_back(Spi{7});
  CHECK_THROWS_AS(encode_body(d), std::length_error);
  CHECK_THROWS_AS(encode_body(Delete{kProtoIke, {Spi{1}}}), std::length_error);
}

TEST_CASE("traffic selectors: ranges, ports and lengths", "[ikev2][payload][A5][rfc7296-3.13.1]") {
  const TsR opaque = parse_as<TsR>("01000000 07060010 ffff0000 0a010000 0a0100ff");
  CHECK(opaque.selectors.at(0).any_port());
  CHECK(opaque.selectors.at(0).protocol == 6);
  for (const char* wrong : {"07060010 00510050 0a010000 0a0100ff",  // ports backwards
                            "07060010 ffff0001 0a010000 0a0100ff", "07060010 00010000 0a010000 0a0100ff",
                            "07000010 00500050 0a010000 0a0100ff",  // ports without a protocol
                            "07060010 0000ffff 0a010001 0a010000",  // addresses backwards
                            "08060028 0000ffff 20010db8000000000000000000000001 20010db8000000000000000000000000"})
    CHECK(error_of(P::TsI, (std::string("01000000") + wrong).c_str()) == ParseErrc::BadValue);
  CHECK(error_of(P::TsI, "00000000") == ParseErrc::BadValue);
  for (const char* count : {"02000000 07060010 0000ffff 0a010000 0a0100ff", "ff000000 07060010 0000ffff 0a010000 0a0100ff"})
    CHECK(error_of(P::TsI, count) == ParseErrc::Truncated);
  for (int length = 0; length < 64; ++length) {
    Bytes v4 = hex("01000000 07060000 0000ffff 0a010000 0a0100ff"), v6 = hex("01000000 08060000 0000ffff");
    v4[7] = v6[7] = static_cast<std::uint8_t>(length);
    v6.insert(v6.end(), 32, 0);
    CHECK(parse_body(P::TsI, v4).has_value() == (length == 16));
    CHECK(parse_body(P::TsI, v6).has_value() == (length == 40));
  }
  CHECK_THROWS_AS(encode_body(TsI{{TrafficSelector{}}, 0}), std::length_error);
  TsI most{std::vector(kMaxSelectors, TrafficSelector::from(*Prefix::parse("10.0.0.0/8"))), 0};
  CHECK(std::get<TsI>(*parse_body(P::TsI, encode_body(most))) == most);
  most.selectors.push_back(most.selectors[0]);
  CHECK_THROWS_AS(encode_body(most), std::length_error);
  CHECK_THROWS_AS(encode_body(TsI{}), std::length_error);
}

TEST_CASE("traffic selectors of unknown types are left out by their length", "[ikev2][payload][rfc7296-3.13.1][rfc9478]") {
  const TsI labelled = parse_as<TsI>("02000000 0a000008 6c61626c 07000010 0000ffff 0a010000 0a01ffff");
  CHECK(labelled.unknown == 1);
  CHECK(labelled.selectors.size() == 1);
  CHECK(parse_as<TsI>("01000000 09000004").unknown == 1);
  for (const char* length : {"01000000 0a000000", "01000000 0a000003", "02000000 0a000000 0a000004"})
    CHECK(error_of(P::TsI, length) == ParseErrc::BadLength);
  for (const char* length : {"01000000 0a000005", "01000000 0a00ffff 01"}) CHECK(error_of(P::TsI, length) == ParseErrc::Truncated);
}

TEST_CASE("configuration payloads of IKEv2: lengths and bounds", "[ikev2][payload][A5][C2][rfc7296-3.15]") {
  for (const int type : {0, 5, 128, 255}) CHECK(error_of(P::Cp, Bytes{static_cast<std::uint8_t>(type), 0, 0, 0}) == ParseErrc::BadValue);
  for (const char* cut : {"01000000 00", "01000000 0001", "01000000 000100", "01000000 00010004 0a0300", "01000000 0001ffff 0a030007"})
    CHECK(error_of(P::Cp, cut) == ParseErrc::Truncated);
  Cp cp{ConfigType::Set, std::vector(kMaxConfigAttributes, ConfigAttribute{ConfigAttributeType::InternalIp4Dns, hex("0a010035")})};
  Bytes most = encode_body(cp);
  CHECK(std::get<Cp>(*parse_body(P::Cp, most)) == cp);
  most.insert(most.end(), 4, 0);
  CHECK(error_of(P::Cp, most) == ParseErrc::TooMany);
  cp.attributes.push_back(cp.attributes[0]);
  CHECK_THROWS_AS(encode_body(cp), std::length_error);
}

TEST_CASE("names of IKEv2 payloads and notifications", "[ikev2][payload]") {
  CHECK(name(P::IdI) == "IDi");
  CHECK(name(P::Skf) == "SKF");
  CHECK(name(static_cast<P>(77)) == "payload 77");
  CHECK(name(NotifyType::NoProposalChosen) == "NO_PROPOSAL_CHOSEN");
  CHECK(name(NotifyType::AdditionalIp4Address) == "ADDITIONAL_IP4_ADDRESS");
  CHECK(name(NotifyType::SaResourceInfo) == "SA_RESOURCE_INFO");
  CHECK(name(static_cast<NotifyType>(12345)) == "notification 12345");
  CHECK(is_error(static_cast<NotifyType>(16383)));
  CHECK_FALSE(is_error(NotifyType::InitialContact));
}

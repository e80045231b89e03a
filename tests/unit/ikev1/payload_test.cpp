// Payloads and chains: golden vectors, round trips, every strict prefix, every length that lies.
#include "tests/support/vectors.hpp"
#include "tests/unit/ikev1/golden.hpp"

using namespace culvert;
using namespace culvert::ikev1;
using culvert::ikev1::test::kGolden;
using culvert::test::hex;

namespace {
/// A single payload as a chain, with its generic header.
Bytes chain_of(const ikev1::test::Golden& g) { return Builder().add_raw(g.type, hex(g.body)).chain(); }

/// The phase 1 golden SA with one byte changed.
Bytes sa_with(std::size_t at, std::uint8_t value) {
  Bytes b = hex(kGolden[0].body);
  b.at(at) = value;
  return b;
}
ParseErrc sa_error(const Bytes& body) {
  const auto sa = parse_body(PayloadType::Sa, body);
  REQUIRE_FALSE(sa);
  return sa.error().code;
}
template <class T>
T parse_as(const char* body) {
  const auto content = parse_body(T::kType, hex(body));
  REQUIRE(content);
  return std::get<T>(*content);
}
}  // namespace

TEST_CASE("each payload: golden bytes, round trip, every strict prefix fails", "[ikev1][payload]") {
  for (const auto& g : kGolden) {
    INFO(g.name);
    const Bytes chain = chain_of(g);
    const auto m = Message::parse(g.type, chain, Trailing::Alignment);
    REQUIRE(m);
    REQUIRE(m->payloads().size() == 1);
    CHECK(m->payloads()[0].body == hex(g.body));
    CHECK(encode_body(m->payloads()[0].content) == hex(g.body));
    CHECK(Bytes(m->chain().begin(), m->chain().end()) == chain);
    for (std::size_t n = 0; n < chain.size(); ++n) CHECK_FALSE(Message::parse(g.type, ByteView(chain).first(n), Trailing::Alignment));
    for (std::size_t n = 0; n < chain.size(); ++n) CHECK_FALSE(Message::parse(g.type, ByteView(chain).first(n), Trailing::Padding));
  }
}

TEST_CASE("payloads with counts inside fail on every strict prefix of their body", "[ikev1][payload][A5]") {
  for (const auto& g : kGolden) {
    if (g.type != PayloadType::Sa && g.type != PayloadType::Delete) continue;
    const Bytes body = hex(g.body);
    for (std::size_t n = 0; n < body.size(); ++n) CHECK_FALSE(parse_body(g.type, ByteView(body).first(n)));
    Bytes longer = body;
    longer.push_back(0);
    CHECK(parse_body(g.type, longer).error().code == ParseErrc::Trailing);
  }
}

TEST_CASE("fields land where they belong", "[ikev1][payload]") {
  const Sa sa = parse_as<Sa>(kGolden[0].body);
  REQUIRE(sa.proposals.size() == 1);
  CHECK(sa.proposals[0].protocol == kProtoIsakmp);
  REQUIRE(sa.proposals[0].transforms.size() == 2);
  const Transform& t = sa.proposals[0].transforms[1];
  CHECK(t.number == 2);
  CHECK(t.id == 1);
  REQUIRE(t.attributes.size() == 7);
  CHECK(t.attributes[6] == Attribute::tlv32(12, 86400));
  CHECK(t.attributes[6].number() == 86400);
  CHECK(t.attributes[0] == Attribute::tv(1, 7));
  const Id id = parse_as<Id>("04 06 0050 0a010000 ffffff00");
  CHECK(id.type == IdType::Ipv4Subnet);
  CHECK(id.protocol == 6);
  CHECK(id.port == 80);
  CHECK(to_hex(id.data) == "0a010000ffffff00");
  const Notify n = parse_as<Notify>("00000001 01 10 8d28 01020304050607081112131415161718 0000002a");
  CHECK(n.type == NotifyType::RUThere);
  CHECK(n.spi.size() == 16);
  CHECK(to_hex(n.data) == "0000002a");
  const Delete d = parse_as<Delete>("00000001 03 04 0002 c0ffee01 c0ffee02");
  REQUIRE(d.spis.size() == 2);
  CHECK(to_hex(d.spis[1]) == "c0ffee02");
}

TEST_CASE("certificates and signatures within their bounds", "[ikev1][payload][E7][rfc2408-3.9][rfc2408-3.12]") {
  const Cert cert = parse_as<Cert>("04 3082");
  CHECK(cert.encoding == kX509Signature);
  CHECK(to_hex(cert.data) == "3082");
  CHECK(parse_as<CertReq>("04").data.empty());
  CHECK_FALSE(parse_body(PayloadType::Cert, {}));
  CHECK_FALSE(parse_body(PayloadType::CertReq, {}));
  CHECK(parse_body(PayloadType::Cert, Bytes(1 + kMaxCertificate, 4)));
  CHECK_FALSE(parse_body(PayloadType::Cert, Bytes(2 + kMaxCertificate, 4)));
  CHECK_FALSE(parse_body(PayloadType::Sig, {}));
  CHECK(parse_body(PayloadType::Sig, Bytes(kMaxSignature, 4)));
  CHECK_FALSE(parse_body(PayloadType::Sig, Bytes(kMaxSignature + 1, 4)));
}

TEST_CASE("SA: lengths and counts that lie, level by level", "[ikev1][payload][A5][rfc2408-3.5]") {
  // Offsets in the golden body: 0 DOI, 4 situation, 8 proposal (10 length, 14 SPI size, 15 count), 16 transform (18 length).
  CHECK(sa_error(sa_with(3, 2)) == ParseErrc::BadValue);  // DOI
  CHECK(sa_error(sa_with(0, 0xff)) == ParseErrc::BadValue);
  CHECK(sa_error(sa_with(7, 3)) == ParseErrc::BadValue);   // situation with secrecy labels
  CHECK(sa_error(sa_with(8, 2)) == ParseErrc::Truncated);  // "another proposal follows"
  CHECK(sa_error(sa_with(8, 3)) == ParseErrc::BadValue);   // a transform among proposals
  CHECK(sa_error(sa_with(11, 0x53)) == ParseErrc::BadLength);
  CHECK(sa_error(sa_with(11, 0x55)) == ParseErrc::BadLength);
  for (const int n : {0, 3, 4}) CHECK_FALSE(parse_body(PayloadType::Sa, sa_with(11, static_cast<std::uint8_t>(n))));
  CHECK(sa_error(sa_with(10, 0xff)) == ParseErrc::BadLength);
  for (const int n : {1, 3, 15, 16, 17, 255}) CHECK_FALSE(parse_body(PayloadType::Sa, sa_with(14, static_cast<std::uint8_t>(n))));
  CHECK(sa_error(sa_with(15, 0)) == ParseErrc::BadValue);  // no transforms
  for (const int n : {1, 3, 255}) CHECK(sa_error(sa_with(15, static_cast<std::uint8_t>(n))) == ParseErrc::BadLength);
  for (const int n : {0, 1, 2, 3, 0x23, 0x25}) CHECK_FALSE(parse_body(PayloadType::Sa, sa_with(19, static_cast<std::uint8_t>(n))));
  CHECK_FALSE(parse_body(PayloadType::Sa, sa_with(24, 0x00)));  // TV read as TLV: the length is 7 of a value that is not there
  CHECK_FALSE(parse_body(PayloadType::Sa, hex("00000001 00000001")));
  CHECK_FALSE(parse_body(PayloadType::Sa, hex("00000001 00000001 00000008 01010000")));
}

TEST_CASE("SA: bounds on proposals, transforms and attributes", "[ikev1][payload][C2]") {
  Sa sa;
  Proposal p{1, kProtoIsakmp, {}, {Transform{1, 1, {}}}};
  sa.proposals.assign(kMaxProposals, p);
  CHECK(parse_body(PayloadType::Sa, encode_body(sa)));
  sa.proposals.push_back(p);
  CHECK(sa_error(encode_body(sa)) == ParseErrc::TooMany);
  p.transforms.assign(kMaxTransforms, Transform{1, 1, {}});
  sa.proposals = {p};
  CHECK(parse_body(PayloadType::Sa, encode_body(sa)));
  p.transforms = {Transform{1, 1, std::vector<Attribute>(kMaxAttributes, Attribute::tv(1, 7))}};
  sa.proposals = {p};
  CHECK(parse_body(PayloadType::Sa, encode_body(sa)));
  p.transforms[0].attributes.push_back(Attribute::tv(1, 7));
  sa.proposals = {p};
  CHECK(sa_error(encode_body(sa)) == ParseErrc::TooMany);
  // 129 transforms, which our own writer would not write.
  Bytes many = hex("00000001 00000001 00000410 01010081");
  for (int i = 0; i < 129; ++i) {
    const Bytes t{static_cast<std::uint8_t>(i == 128 ? 0 : 3), 0, 0, 8, 1, 1, 0, 0};
    many.insert(many.end(), t.begin(), t.end());
  }
  CHECK(sa_error(many) == ParseErrc::TooMany);
}

TEST_CASE("reserved bytes are not looked at", "[ikev1][payload][A9]") {
  Bytes b = hex(kGolden[0].body);
  for (const std::size_t at : {9U, 17U, 22U, 23U}) b[at] = 0xff;
  const auto sa = parse_body(PayloadType::Sa, b);
  REQUIRE(sa);
  CHECK(std::get<Sa>(*sa) == parse_as<Sa>(kGolden[0].body));
  Bytes chain = chain_of(kGolden[2]);
  chain[1] = 0xff;
  CHECK(Message::parse(PayloadType::Ke, chain, Trailing::Alignment));
  CHECK(parse_body(PayloadType::NatOa, hex("01 ffffff 0a090001")));
}

TEST_CASE("notify and delete: SPI sizes and counts", "[ikev1][payload][G2]") {
  CHECK_FALSE(parse_body(PayloadType::Notify, hex("00000001 03 11 000e 0102030405060708090a0b0c0d0e0f1011")));
  CHECK_FALSE(parse_body(PayloadType::Notify, hex("00000001 03 ff 000e c0ffee01")));
  CHECK(parse_body(PayloadType::Notify, hex("00000000 00 00 000e")));
  CHECK_FALSE(parse_body(PayloadType::Delete, hex("00000001 03 04 ffff c0ffee01")));
  CHECK_FALSE(parse_body(PayloadType::Delete, hex("00000001 03 00 0001")));
  CHECK_FALSE(parse_body(PayloadType::Delete, hex("00000001 03 04 0001 c0ffee01 c0ffee02")));
  CHECK_FALSE(parse_body(PayloadType::Delete, hex("00000001 03 11 0001 0102030405060708090a0b0c0d0e0f1011")));
  Delete d{kIpsecDoi, kProtoEsp, 4, std::vector<Bytes>(kMaxDeleteSpis, Bytes(4))};
  CHECK(parse_body(PayloadType::Delete, encode_body(d)));
  d.spis.emplace_back(4);
  CHECK(parse_body(PayloadType::Delete, encode_body(d)).error().code == ParseErrc::TooMany);
}

TEST_CASE("attributes of a Transaction: kinds, lengths that lie, and how many", "[ikev1][payload][A5][draft-dukes-ike-mode-cfg-02]") {
  const auto c = parse_as<ConfigPayload>("01 ff 1234  c088 0000  4089 0000");
  CHECK(c.type == ConfigType::Request);
  CHECK(c.identifier == 0x1234);
  CHECK(c.attributes == std::vector<Attribute>{Attribute::tv(16520, 0), Attribute{16521, false, {}}});
  for (const char* body : {"", "01", "01 00 12", "00 00 0001", "05 00 0001", "01 00 0001 40", "01 00 0001 4089 0001", "01 00 0001 c089 01",
                           "01 00 0001 4089 ffff 00"})
    CHECK_FALSE(parse_body(PayloadType::Attributes, hex(body)));
  CHECK(parse_as<ConfigPayload>("02 00 d8a8  0001 0004 0a03120a  0000").attributes.size() == 1);  // filled up to a multiple of four
  CHECK_FALSE(parse_body(PayloadType::Attributes, hex("02 00 d8a8  0001 0004 0a03120a  0001")));
  CHECK_FALSE(parse_body(PayloadType::Attributes, hex("02 00 d8a8  0001 0004 0a03120a  0001 0004")));
  ConfigPayload many{ConfigType::Set, 1, std::vector<Attribute>(kMaxConfigAttributes, Attribute{1, false, {}})};
  CHECK(parse_body(PayloadType::Attributes, encode_body(many)));
  many.attributes.push_back({1, false, {}});
  CHECK(parse_body(PayloadType::Attributes, encode_body(many)).error().code == ParseErrc::TooMany);
}

TEST_CASE("a message that carried a password is overwritten", "[ikev1][message]") {
  Builder b;
  b.add(ConfigPayload{ConfigType::Reply, 1, {Attribute{16522, false, to_bytes("secret")}}});
  auto m = Message::parse(b.first(), b.chain(), Trailing::Alignment);
  REQUIRE(m);
  m->wipe();
  CHECK(std::ranges::all_of(m->chain(), [](std::uint8_t x) { return x == 0; }));
  CHECK(m->find<ConfigPayload>()->attributes[0].value == Bytes(6));
  CHECK(m->payloads()[0].body == Bytes(m->payloads()[0].body.size()));
}

TEST_CASE("identities: too short, too long, of every type", "[ikev1][payload][A12]") {
  for (std::size_t n = 0; n < 4; ++n) CHECK_FALSE(parse_body(PayloadType::Id, Bytes(n)));
  CHECK(parse_body(PayloadType::Id, Bytes(4)));
  CHECK(parse_body(PayloadType::Id, Bytes(4 + kMaxIdentity)));
  CHECK_FALSE(parse_body(PayloadType::Id, Bytes(5 + kMaxIdentity)));
  CHECK_FALSE(parse_body(PayloadType::Id, Bytes(65000)));
  for (int type = 0; type < 256; ++type) CHECK(parse_body(PayloadType::Id, Bytes{static_cast<std::uint8_t>(type), 0, 0, 0, 1, 2, 3, 4, 5}));
}

TEST_CASE("chains: payload lengths of 0 to 3, beyond the rest, and too many payloads", "[ikev1][message][A3]") {
  for (int type = 1; type < 256; ++type)
    for (const int length : {0, 1, 2, 3, 9, 0xffff}) {
      const Bytes b{0, 0, static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length), 1, 2, 3, 4};
      CHECK_FALSE(Message::parse(static_cast<PayloadType>(type), b, Trailing::Padding));
    }
  Builder b;
  for (std::size_t i = 0; i < kMaxVendorIds; ++i) b.add(Vendor{{}});
  for (std::size_t i = 0; i < kMaxPayloads; ++i) b.add(Nonce{Bytes(8)});
  CHECK(Message::parse(b.first(), b.chain(), Trailing::Alignment));
  Builder more = b;
  b.add(Vendor{{}});
  CHECK(Message::parse(b.first(), b.chain(), Trailing::Alignment).error().code == ParseErrc::TooMany);
  more.add(Nonce{Bytes(8)});
  CHECK(Message::parse(more.first(), more.chain(), Trailing::Alignment).error().code == ParseErrc::TooMany);
  CHECK_FALSE(Message::parse(PayloadType::None, {}, Trailing::Alignment));
  CHECK_FALSE(Message::parse(PayloadType::None, Bytes(16), Trailing::Padding));
}

TEST_CASE("chains: several payloads, what lies behind each, padding", "[ikev1][message][rfc2409-5.5]") {
  const Bytes nonce(16, 0xaa);
  Builder b;
  b.add(Nonce{nonce}).add(Id{IdType::Ipv4Addr, 0, 0, {10, 0, 0, 1}}).add(Id{IdType::Ipv4Addr, 0, 0, {10, 0, 0, 2}});
  const Bytes rest = b.chain();
  b.prepend_hash(Bytes(20, 0x55));
  CHECK(b.first() == PayloadType::Hash);
  Bytes padded = b.chain();
  padded.resize(padded.size() + 11, 0x77);
  CHECK_FALSE(Message::parse(b.first(), padded, Trailing::Alignment));
  const auto m = Message::parse(b.first(), padded, Trailing::Padding);
  REQUIRE(m);
  CHECK(m->payloads().size() == 4);
  CHECK(Bytes(m->behind(0).begin(), m->behind(0).end()) == rest);
  CHECK(m->behind(3).empty());
  CHECK(m->count(PayloadType::Id) == 2);
  REQUIRE(m->find<Id>(1));
  CHECK(m->find<Id>(1)->data == Bytes{10, 0, 0, 2});
  CHECK_FALSE(m->find<Id>(2));
  CHECK_FALSE(m->find<Ke>());
  CHECK(m->all<Id>().size() == 2);
  CHECK(m->find<Nonce>()->data == nonce);
  CHECK(m->raw(PayloadType::Id, 1)->body == hex("01 00 0000 0a000002"));
}

TEST_CASE("in clear, up to three zero bytes make a message a multiple of four", "[ikev1][message][attack-A2]") {
  for (std::size_t nonce = 8; nonce <= 20; ++nonce)
    for (std::size_t more = 0; more <= 8; ++more) {
      Builder b;
      b.add(Nonce{Bytes(nonce, 0xaa)});
      Bytes message = b.chain();
      const std::size_t chain = message.size();
      message.resize(chain + more);
      INFO(nonce << " and " << more);
      const auto m = Message::parse(b.first(), message, Trailing::Alignment);
      CHECK(m.has_value() == (more == 0 || (more < 4 && message.size() % 4 == 0)));
      if (m) CHECK(m->chain().size() == chain);
      if (more == 0) continue;
      message.back() = 1;
      CHECK_FALSE(Message::parse(b.first(), message, Trailing::Alignment));
    }
}

TEST_CASE("errors name the offset in the chain", "[ikev1][message]") {
  Builder b;
  b.add(Nonce{Bytes(16)}).add_raw(PayloadType::Sa, sa_with(3, 9));
  const auto m = Message::parse(b.first(), b.chain(), Trailing::Alignment);
  REQUIRE_FALSE(m);
  CHECK(m.error().code == ParseErrc::BadValue);
  CHECK(m.error().offset == 20 + 4 + 4);
  CHECK(std::string(m.error().rule) == "RFC 2407 §4.1: DOI");
  CHECK(std::string(parse_body(PayloadType::Notify, Bytes(3)).error().rule) == "RFC 2408 §3.14");
  CHECK(std::string(parse_body(PayloadType::Sa, hex("00000001 00000001 00")).error().rule) == "RFC 2408 §3.5");
}

TEST_CASE("what cannot be written is refused, not cut", "[ikev1][message][G3]") {
  CHECK_THROWS_AS(Builder().add(Ke{Bytes(65532)}), std::length_error);
  CHECK_THROWS_AS(encode_body(Sa{}), std::length_error);
  CHECK_THROWS_AS(encode_body(Delete{1, 3, 4, {Bytes(3)}}), std::length_error);
  CHECK_THROWS_AS(encode_body(Sa{{Proposal{1, 1, {}, {Transform{1, 1, {Attribute{1, true, Bytes(3)}}}}}}}), std::length_error);
  CHECK_THROWS_AS(Builder().add_raw(PayloadType::None, {}), std::length_error);
}

TEST_CASE("names", "[ikev1][names]") {
  CHECK(name(PayloadType::NatD) == "NAT-D");
  CHECK(name(static_cast<PayloadType>(77)) == "payload 77");
  CHECK(name(NotifyType::NoProposalChosen) == "NO-PROPOSAL-CHOSEN");
  CHECK(name(NotifyType::UnequalPayloadLengths) == "UNEQUAL-PAYLOAD-LENGTHS");
  CHECK(name(NotifyType::RUThereAck) == "R-U-THERE-ACK");
  CHECK(name(static_cast<NotifyType>(0)) == "notification 0");
  CHECK(name(static_cast<NotifyType>(40000)) == "notification 40000");
  CHECK(is_error(NotifyType::AuthenticationFailed));
  CHECK_FALSE(is_error(NotifyType::InitialContact));
}

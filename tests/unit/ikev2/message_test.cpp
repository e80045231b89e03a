// Chains of IKEv2 payloads: the generic header, its critical bit, what encloses others, bounds, and real exchanges of other
// implementations.
#include "control/ikev2/message.hpp"

#include "control/ike/header.hpp"
#include "control/ikev2/message_rules.hpp"
#include "tests/support/captures.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ikev2;
using culvert::test::hex;

namespace {
using P = PayloadType;
constexpr std::uint8_t kSaInit = 34;

ParseErrc error_of(P first, const Bytes& chain) {
  const auto m = Message::parse(first, chain);
  REQUIRE_FALSE(m);
  return m.error().code;
}
ParseErrc error_of(P first, const char* chain) { return error_of(first, hex(chain)); }
Message parsed(P first, const char* chain) {
  auto m = Message::parse(first, hex(chain));
  REQUIRE(m);
  return *m;
}

/// What is clear is understood, taken by the rules, and written back as it was.
void check_clear(const ike::Framed& framed) {
  const auto m = Message::parse(static_cast<P>(framed.header.next_payload), framed.body);
  if (!m) FAIL(m.error().rule << " at " << m.error().offset);
  const bool reply = (framed.header.flags & 0x20) != 0;
  const auto wrong = check(reply ? MessageKind::SaInitReply : MessageKind::SaInitRequest, *m);
  if (wrong) FAIL(*wrong);
  CHECK_FALSE(m->unknown_critical());
  Builder again;
  std::vector<std::size_t> critical;  // where our own writer leaves the bit out
  for (const Payload& p : m->payloads()) {
    INFO(name(p.type));
    CHECK(encode_body(p.content) == p.body);
    if (p.critical) critical.push_back(again.chain().size() + 1);
    again.add_raw(p.type, p.body);
  }
  CHECK(again.first() == static_cast<P>(framed.header.next_payload));
  Bytes chain = again.chain();
  for (const std::size_t at : critical) chain[at] |= 0x80;
  CHECK(chain == Bytes(framed.body.begin(), framed.body.end()));
  for (std::size_t n = 0; n < framed.body.size(); ++n)
    CHECK_FALSE(Message::parse(static_cast<P>(framed.header.next_payload), framed.body.first(n)));
}
}  // namespace

TEST_CASE("an IKEv2 chain: nothing, one, several", "[ikev2][message][rfc7296-3.2]") {
  CHECK(parsed(P::None, "").payloads().empty());
  CHECK(Builder().empty());
  CHECK(Builder().first() == P::None);
  CHECK(Builder().chain().empty());
  CHECK(error_of(P::None, "00000004") == ParseErrc::Trailing);
  CHECK(error_of(P::Nonce, "") == ParseErrc::Truncated);

  Builder b;
  b.notify(NotifyType::Cookie, hex("aabb")).add(Ke{DhGroup::Ecp256, hex("0102")}).add(Nonce{Bytes(16, 7)}).add(Vendor{hex("01")});
  b.notify(NotifyType::MobikeSupported).add(Vendor{hex("02")});
  CHECK(b.first() == P::Notify);
  const Bytes chain = b.chain();
  CHECK(to_hex(ByteView(chain).first(22)) ==
        "2200000a00004006aabb2800000a001300000102"
        "2b00");
  const auto m = Message::parse(b.first(), chain);
  REQUIRE(m);
  CHECK(m->payloads().size() == 6);
  CHECK(m->count(P::Vendor) == 2);
  CHECK(m->find<Ke>()->group == DhGroup::Ecp256);
  CHECK(m->find<Vendor>(1)->data == hex("02"));
  CHECK(m->find<Vendor>(2) == nullptr);
  CHECK(m->find<Sa>() == nullptr);
  CHECK(m->all<Vendor>().size() == 2);
  CHECK(m->raw(P::Nonce)->body == Bytes(16, 7));
  CHECK(m->notify(NotifyType::Cookie)->data == hex("aabb"));
  CHECK(m->notify(NotifyType::Redirect) == nullptr);
  CHECK(m->error() == nullptr);
  for (std::size_t n = 0; n < chain.size(); ++n) CHECK_FALSE(Message::parse(b.first(), ByteView(chain).first(n)));
  CHECK_THROWS_AS(b.add_raw(P::None, {}), std::length_error);
  CHECK_THROWS_AS(b.add_raw(P::Vendor, Bytes(65532)), std::length_error);
}

TEST_CASE("the first error of an IKEv2 message", "[ikev2][message][rfc7296-3.10.1]") {
  const auto m = parsed(P::Notify, "29000008 00004004  29000008 00000026  00000008 0000000e");
  REQUIRE(m.error());
  CHECK(m.error()->type == NotifyType::TsUnacceptable);
}

TEST_CASE("payload lengths of 0 to 3, and beyond the IKEv2 message", "[ikev2][message][A3]") {
  for (const char* length : {"00000000", "00000001", "00000002", "00000003", "00000005", "0000ffff", "2b000003 00000004"})
    CHECK(error_of(P::Vendor, length) == ParseErrc::BadLength);
  for (const char* cut : {"00", "0000", "000000", "2b000004", "2b000004 0000"}) CHECK(error_of(P::Vendor, cut) == ParseErrc::Truncated);
  CHECK(error_of(P::Vendor, "00000004 00000004") == ParseErrc::Trailing);
  CHECK(error_of(P::Vendor, "00000004 00") == ParseErrc::Trailing);
  // A nonce that reaches into the payload behind it: what is left makes no sense.
  CHECK_FALSE(Message::parse(P::Nonce, hex("2b000016 000102030405060708090a0b0c0d0e0f 00000006 0102")));
}

TEST_CASE("where a broken payload of an IKEv2 chain is", "[ikev2][message]") {
  const auto m = Message::parse(P::Vendor, hex("2a000006 0102  00000008 01040000"));
  REQUIRE_FALSE(m);
  CHECK(m.error().offset == 14);
  CHECK(std::string(m.error().rule) == "RFC 7296 §3.11: SPI size");
}

TEST_CASE("the critical bit matters for unknown payloads alone", "[ikev2][message][A6][A9][rfc7296-2.5]") {
  CHECK(parsed(static_cast<P>(200), "00800004").unknown_critical() == 200);
  CHECK(parsed(static_cast<P>(1), "00800006 0102").unknown_critical() == 1);  // SA of IKEv1
  CHECK_FALSE(parsed(static_cast<P>(200), "00000004").unknown_critical());
  CHECK_FALSE(parsed(static_cast<P>(200), "007f0004").unknown_critical());  // the reserved bits
  const auto vendor = parsed(P::Vendor, "00800004");
  CHECK(vendor.payloads()[0].critical);
  CHECK_FALSE(vendor.unknown_critical());
  CHECK_FALSE(parsed(P::Sk, "00800004").unknown_critical());
  CHECK_FALSE(parsed(P::Skf, "00800004").unknown_critical());
  CHECK(parsed(static_cast<P>(200), "c9000004 2b800004 00000004").unknown_critical() == 201);
}

TEST_CASE("SK and SKF end an IKEv2 chain, whatever is inside", "[ikev2][message][rfc7296-3.14]") {
  for (const P type : {P::Sk, P::Skf}) {
    const auto m = parsed(type, "23000008 01020304");  // inside: IDi
    REQUIRE(m.payloads().size() == 1);
    CHECK(m.raw(type)->body == hex("01020304"));
    CHECK(error_of(type, "23000008 01020304 00000004") == ParseErrc::Trailing);
    CHECK(error_of(type, "23000008 01020304 00") == ParseErrc::Trailing);
    CHECK(error_of(type, "23000008 010203") == ParseErrc::BadLength);
  }
  CHECK(parsed(P::Vendor, "2e000004 29000005 01").payloads().size() == 2);
}

TEST_CASE("IKEv2: bounds on payloads and vendor ids of a message", "[ikev2][message][A3][A15][C2]") {
  const auto chain = [](std::size_t others, std::size_t vendors) {
    Builder b;
    for (std::size_t i = 0; i < others; ++i) b.notify(NotifyType::Cookie);
    for (std::size_t i = 0; i < vendors; ++i) b.add(Vendor{});
    const auto m = Message::parse(b.first(), b.chain());
    return m ? std::optional<ParseErrc>() : m.error().code;
  };
  CHECK(chain(kMaxPayloads, kMaxVendorIds) == std::nullopt);
  CHECK(chain(kMaxPayloads + 1, 0) == ParseErrc::TooMany);
  CHECK(chain(0, kMaxVendorIds + 1) == ParseErrc::TooMany);
  CHECK(chain(1000, 1000) == ParseErrc::TooMany);
}

TEST_CASE("captures: every clear IKEv2 message parses", "[ikev2][message][vectors]") {
  const auto folder = test::vectors("IKEv2 captures");
  if (!folder) return;
  std::size_t clear = 0, encrypted = 0, damaged = 0, files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*folder / "captures")) {
    if (!test::is_capture(entry.path())) continue;
    if (entry.path().filename().string().find("synthetic") != std::string::npos) continue;  // an SA without proposals, made by hand
    std::size_t here = 0;
    for (const test::Udp& u : test::udp_of(entry.path())) {
      const auto bytes = test::ike_of(u);
      if (!bytes) continue;
      const auto framed = ike::parse_header(*bytes);
      if (!framed || framed->header.major != 2) continue;
      ++here;
      INFO(entry.path() << " message " << here);
      if (framed->header.exchange == kSaInit) {
        check_clear(*framed);
        ++clear;
        continue;
      }
      const auto first = static_cast<P>(framed->header.next_payload);
      const auto m = Message::parse(first, framed->body);
      if (!m && first == static_cast<P>(127)) {  // one of nDPI's, whose SK has been made a payload 127
        ++damaged;
        continue;
      }
      if (!m) FAIL(m.error().rule << " at " << m.error().offset);
      CHECK(m->count(P::Sk) + m->count(P::Skf) == 1);
      ++encrypted;
    }
    files += here ? 1U : 0U;
  }
  for (const char* file : {"ike-sa-init-req.bin", "ike-sa-init-resp.bin"}) {
    INFO(file);
    const Bytes bytes = test::read_file(*folder / "captures" / "rusticata" / file);
    const auto framed = ike::parse_header(bytes);
    REQUIRE(framed);
    check_clear(*framed);
    ++clear;
  }
  std::cout << "IKEv2 captures: " << clear << " clear messages of " << files << " captures and two files parsed and written back; of "
            << encrypted << " encrypted ones the outer chain; " << damaged << " damaged\n";
  CHECK(damaged <= 1);
  CHECK(clear > 20);
}

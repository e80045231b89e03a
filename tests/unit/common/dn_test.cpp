// Distinguished names: golden vectors both ways, every strict prefix fails, what is the same name and what is not.
#include "common/dn.hpp"

#include <catch2/catch.hpp>

using namespace culvert;

namespace {
/// SEQUENCE { SET { C=CH PrintableString }, SET { O=Example UTF8String }, SET { CN=gw UTF8String } }, by hand.
const Bytes kGolden = *from_hex(
    "302c310b3009060355040613024348"
    "3110300e060355040a0c074578616d706c65"
    "310b300906035504030c026777");

Bytes der(std::string_view text) {
  const auto name = parse_name_text(text);
  INFO(text);
  REQUIRE(name);
  return encode_name(*name);
}
std::string round(std::string_view text) { return name_text(der(text)); }
}  // namespace

TEST_CASE("a distinguished name: golden vector, and each strict prefix fails", "[dn][rfc5280-4.1.2.4]") {
  const auto name = parse_name(kGolden);
  REQUIRE(name);
  REQUIRE(name->rdns.size() == 3);
  CHECK(name_text(*name) == "C=CH, O=Example, CN=gw");
  CHECK(encode_name(*name) == kGolden);
  for (std::size_t n = 0; n < kGolden.size(); ++n) CHECK_FALSE(parse_name(ByteView(kGolden).first(n)));
  Bytes longer = kGolden;
  longer.push_back(0);
  CHECK_FALSE(parse_name(longer));
  CHECK(parse_name(*from_hex("3000")));  // the empty name
  CHECK(name_text(*from_hex("3000")).empty());
}

TEST_CASE("a distinguished name that is not DER is refused", "[dn]") {
  for (const char* text : {
           "30803100",                           // indefinite length
           "308100",                             // longer than needed
           "3002 3100",                          // an empty RDN
           "300b 3109 3007 0603550403 0c00 00",  // bytes behind the pair
           "300a 3108 3006 060155 1f0100 00",    // a long tag
           "300b 3109 3007 0600 0c0341 4243",    // an empty OID
           "300b 3109 3007 060185 0c0241 42",    // an OID that does not end
           "3184 00000000",                      // no SEQUENCE
       }) {
    std::string packed;
    for (const char c : std::string_view(text))
      if (c != ' ') packed.push_back(c);
    INFO(text);
    CHECK_FALSE(parse_name(*from_hex(packed)));
  }
  CHECK_FALSE(parse_name(Bytes(kMaxName + 1, 0x30)));
  DistinguishedName many;
  for (std::size_t i = 0; i <= kMaxNameParts; ++i) many.rdns.push_back({{Bytes{0x55, 4, 3}, 0x0c, Bytes{'a'}}});
  CHECK_FALSE(parse_name(encode_name(many)));
  many.rdns.pop_back();
  CHECK(parse_name(encode_name(many)));
}

TEST_CASE("each byte of a name changed: never a crash, and what is read is read again", "[dn]") {
  std::size_t read = 0;
  for (std::size_t i = 0; i < kGolden.size(); ++i)
    for (unsigned v = 0; v < 256; ++v) {
      Bytes changed = kGolden;
      changed[i] = static_cast<std::uint8_t>(v);
      const auto name = parse_name(changed);
      if (!name) continue;
      ++read;
      const std::string text = name_text(*name);
      const auto again = parse_name_text(text);
      const bool same = encode_name(*name) == changed && again && same_name(encode_name(*again), changed) && name_text(*again) == text;
      INFO(text);
      if (!same) CHECK(same);
    }
  CHECK(read > 1000);
}

TEST_CASE("the text of a name, both ways", "[dn]") {
  CHECK(round("C=CH, O=Example, CN=gw") == "C=CH, O=Example, CN=gw");
  CHECK(der("C=CH, O=Example, CN=gw") == der("c=CH,o=Example ,  cn =  gw  "));
  CHECK(round("E=ops@gw.example") == "E=ops@gw.example");
  CHECK(round("emailAddress=ops@gw.example") == "E=ops@gw.example");
  CHECK(round("DC=example, DC=net, UID=7") == "DC=example, DC=net, UID=7");
  CHECK(round("CN=a + OU=b, O=c").find(" + ") != std::string::npos);
  CHECK(der("CN=a + OU=b, O=c") == der("OU=b+CN=a, O=c"));
  CHECK(round("1.2.840.113549.1.9.2=x") == "UN=x");
  CHECK(round("1.2.3.4.5=x") == "1.2.3.4.5=x");
  CHECK(round("CN=#0500") == "CN=#0500");
  CHECK(round(R"(O=A\, B \+ C\\, CN=\ x)") == R"(O=A\, B \+ C\\, CN=\ x)");
  CHECK(round("O=Z\xc3\xbcrich") == R"(O=Z\C3\BCrich)");
  CHECK(round(R"(O=Z\C3\BCrich)") == R"(O=Z\C3\BCrich)");
  CHECK(round("CN=*") == "CN=*");
  for (const char* bad : {"", "CN", "CN=", "=x", "Q=x", "CN=a,", "CN=a,,O=b", "CN=a\\", "1.2=x", "1.99.3=x", "3.1.1=x", "1..2=x", "CN=#zz",
                          "CN=#30", "CN=a+", "CN"}) {
    INFO(bad);
    CHECK_FALSE(parse_name_text(bad));
  }
  CHECK_FALSE(parse_name_text("CN=" + std::string(kMaxName, 'x')));
  CHECK_FALSE(parse_name_text("CN=" + std::string(kMaxName - 8, 'x')));
}

TEST_CASE("same names, and other ones", "[dn][rfc5280-7.1]") {
  const Bytes name = der("C=CH, O=Example Ltd, CN=gw");
  CHECK(same_name(name, der("C=ch, O=EXAMPLE  ltd, CN=GW")));
  DistinguishedName utf8 = *parse_name(name), bmp = utf8, latin = utf8;
  utf8.rdns[2][0].tag = 0x0c;
  bmp.rdns[2][0] = {bmp.rdns[2][0].oid, 0x1e, {0, 'g', 0, 'w'}};
  latin.rdns[2][0].tag = 0x14;
  for (const auto& other : {utf8, bmp, latin}) CHECK(same_name(name, encode_name(other)));
  for (const char* other :
       {"C=CH, O=Example Ltd", "C=CH, O=Example Ltd, CN=gw, CN=gw", "O=Example Ltd, C=CH, CN=gw", "C=CH, O=Example Ltd, OU=gw",
        "C=CH, O=ExampleLtd, CN=gw", "C=CH, O=Example Ltd + CN=gw", "C=CH, O=Example Ltd, CN=*"}) {
    INFO(other);
    CHECK_FALSE(same_name(name, der(other)));
  }
  CHECK_FALSE(same_name(name, {}));
  CHECK_FALSE(same_name({}, {}));
}

TEST_CASE("a pattern stands for names with just these attributes", "[dn]") {
  const Bytes name = der("C=CH, O=Example, CN=gw");
  for (const char* yes : {"C=CH, O=Example, CN=*", "C=*, O=*, CN=*", "C=CH, O=*, CN=gw"}) CHECK(matches_name(der(yes), name));
  for (const char* no : {"C=CH, O=*", "C=DE, O=*, CN=*", "C=CH, O=*, OU=*", "C=CH, O=*, CN=*, CN=*", "C=CH, O=*, CN=g*"})
    CHECK_FALSE(matches_name(der(no), name));
  CHECK_FALSE(matches_name(name, der("C=CH, O=Example, CN=*")));  // a peer's star is a star
  CHECK(has_wildcard(*parse_name_text("C=CH, O=*")));
  CHECK_FALSE(has_wildcard(*parse_name_text("C=CH, O=x*")));
}

// The data of REDIRECT and REDIRECTED_FROM (RFC 5685 §7).
#include "control/ikev2/redirect_data.hpp"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::ikev2;

namespace {
config::GatewayName at(const std::string& text) { return config::parse_gateway(text).value(); }
Bytes bytes(std::initializer_list<int> values) {
  Bytes out;
  for (const int v : values) out.push_back(static_cast<std::uint8_t>(v));
  return out;
}
}  // namespace

TEST_CASE("redirect data: addresses and names, with a nonce or without", "[ikev2][redirect][rfc5685-7.2]") {
  CHECK(encode_redirect({at("192.0.2.7")}) == bytes({1, 4, 192, 0, 2, 7}));
  CHECK(encode_redirect({at("2001:db8::7")}) == bytes({2, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}));
  CHECK(encode_redirect({at("gw2.example")}) == bytes({3, 11, 'g', 'w', '2', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e'}));
  for (const char* gateway : {"192.0.2.7", "2001:db8::7", "gw2.example"})
    for (const std::size_t nonce : {0U, 16U, 32U, 256U}) {
      const RedirectData data{at(gateway), Bytes(nonce, 0x5a)};
      CHECK(read_redirect(encode_redirect(data)) == data);
    }
}

TEST_CASE("redirect data: every strict prefix without a nonce fails, and with one what is no nonce", "[ikev2][redirect][rfc5685-7.2]") {
  for (const char* gateway : {"192.0.2.7", "2001:db8::7", "gw2.example"}) {
    const Bytes whole = encode_redirect({at(gateway)}), with = encode_redirect({at(gateway), Bytes(16, 1)});
    for (std::size_t n = 0; n < with.size(); ++n) CHECK(read_redirect(ByteView(with).first(n)).has_value() == (n == whole.size()));
  }
  CHECK_FALSE(read_redirect(encode_redirect({at("192.0.2.7"), Bytes(257, 1)})));
}

TEST_CASE("redirect data: what no gateway can be called is refused", "[ikev2][redirect][rfc5685-7.2]") {
  CHECK_FALSE(read_redirect(bytes({0, 4, 192, 0, 2, 7})));
  CHECK_FALSE(read_redirect(bytes({4, 4, 192, 0, 2, 7})));
  CHECK_FALSE(read_redirect(bytes({1, 3, 192, 0, 2})));
  CHECK_FALSE(read_redirect(bytes({2, 4, 192, 0, 2, 7})));
  CHECK_FALSE(read_redirect(bytes({1, 4, 0, 0, 0, 0})));
  CHECK_FALSE(read_redirect(bytes({1, 4, 127, 0, 0, 1})));
  CHECK_FALSE(read_redirect(bytes({1, 4, 224, 0, 0, 1})));
  CHECK_FALSE(read_redirect(bytes({1, 4, 255, 255, 255, 255})));
  CHECK_FALSE(read_redirect(bytes({3, 0})));
  CHECK_FALSE(read_redirect(bytes({3, 9, '1', '9', '2', '.', '0', '.', '2', '.', '7'})));  // an address as a name
  for (const int bad : {0, 0x0a, 0x20, 0x2f, 0x5f, 0x80, 0xff, 0x2e, 0x2d}) CHECK_FALSE(read_redirect(bytes({3, 3, 'g', 'w', bad})));
}

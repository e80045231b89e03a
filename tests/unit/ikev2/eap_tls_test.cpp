// EAP-TLS in packets: fragments and those who lie about them, names of certificates, and the order that both sides keep around TLS.
#include <algorithm>
#include <utility>

#include <catch2/catch.hpp>

#include "common/dn.hpp"
#include "control/ikev2/eap/client.hpp"
#include "control/ikev2/eap/server.hpp"

using namespace culvert;
using namespace culvert::eap;

namespace {

using Fragments = TlsFragments;

template <class T, class V>
const T& as(const V& verdict) {
  REQUIRE(std::holds_alternative<T>(verdict));
  return std::get<T>(verdict);
}

Bytes fragment(std::uint8_t flags, std::size_t bytes, std::optional<std::uint32_t> length = {}) {
  Writer w;
  w.be(flags);
  if (length) w.be(*length);
  w.bytes(Bytes(bytes, 'x'));
  return std::move(w).take();
}
Bytes message(std::size_t bytes) {
  Bytes out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return out;
}
constexpr std::uint8_t kL = 0x80, kM = 0x40, kS = 0x20;

/// One side says all of it to the other; how many packets it took.
std::size_t carry(Fragments& from, Fragments& to, const Bytes& what) {
  from.load(what);
  for (std::size_t packets = 1;; ++packets) {
    const Bytes packet = from.next();
    CHECK(packet.size() <= kTlsFragment + 5);
    const auto taken = to.take(packet);
    REQUIRE(taken);
    if (const auto* whole = std::get_if<Fragments::Whole>(&*taken)) {
      CHECK(whole->message == what);
      CHECK_FALSE(from.pending());
      return packets;
    }
    REQUIRE(std::holds_alternative<Fragments::More>(*taken));
    const auto answered = from.take(Fragments::ack());
    REQUIRE(answered);
    REQUIRE(std::holds_alternative<Fragments::GoOn>(*answered));
  }
}

Server server() {
  Server s({Bytes(16, 0xa1), Bytes(16, 0xb2), 7});
  s.begin();
  as<Identified>(s.on_packet(encode({Code::Response, 8, Type::Identity, to_bytes("alice")})));
  const auto begin = parse(s.choose(Method::Tls, "gw.example"));
  REQUIRE(begin);
  CHECK(begin->type == Type::Tls);
  CHECK(begin->data == Bytes{kS});
  return s;
}
Bytes response(std::uint8_t id, Bytes data) { return encode({Code::Response, id, Type::Tls, std::move(data)}); }
Bytes request(std::uint8_t id, Bytes data) { return encode({Code::Request, id, Type::Tls, std::move(data)}); }
Client client() { return Client({Method::Tls, to_bytes("alice"), {}, {}}); }

}  // namespace

TEST_CASE("EAP-TLS: messages of any size arrive as they were, in as few fragments as there have to be", "[eap][tls][rfc5216-2.1.5]") {
  for (const std::size_t size :
       {std::size_t{1}, kTlsFragment - 1, kTlsFragment, kTlsFragment + 1, 2 * kTlsFragment, std::size_t{5000}, kMaxTlsBytes}) {
    INFO(size);
    Fragments a, b;
    CHECK(carry(a, b, message(size)) == (size + kTlsFragment - 1) / kTlsFragment);
  }
  Fragments a, b;  // and a conversation of several
  for (const std::size_t size : {300U, 2500U, 40U}) {
    carry(a, b, message(size));
    carry(b, a, message(size + 1));
  }
}

TEST_CASE("EAP-TLS: what is said without fragments", "[eap][tls][rfc5216-3.1]") {
  Fragments f;
  CHECK(as<Fragments::Whole>(f.take(fragment(0, 5)).value()).message.size() == 5);
  CHECK(as<Fragments::Whole>(f.take(fragment(kL, 5, 5)).value()).message.size() == 5);
  CHECK(as<Fragments::Whole>(f.take(fragment(0x1f, 5)).value()).message.size() == 5);  // reserved bits are not looked at
  as<Fragments::Nothing>(f.take(fragment(0, 0)).value());
  as<Fragments::Nothing>(f.take(fragment(kL, 0, 0)).value());
  as<Fragments::Begin>(Fragments().take(fragment(kS, 0)).value());
  // Some say the length in each fragment.
  as<Fragments::More>(f.take(fragment(kL | kM, 4, 10)).value());
  as<Fragments::More>(f.take(fragment(kL | kM, 4, 10)).value());
  CHECK(as<Fragments::Whole>(f.take(fragment(kL, 2, 10)).value()).message.size() == 10);
}

TEST_CASE("EAP-TLS: fragments that lie, and those that come too often", "[eap][tls][rfc5216-2.1.5][attack-F3]") {
  using Row = std::pair<const char*, std::vector<Bytes>>;
  const std::uint32_t most = kMaxTlsBytes;
  const std::vector<Row> rows{
      {"nothing at all", {Bytes{}}},
      {"half of a length", {Bytes{kL, 0, 0, 1}}},
      {"more than is taken in", {fragment(kL | kM, 10, most + 1)}},
      {"the most that can be said", {fragment(kL | kM, 10, 0xffffffff)}},
      {"a first one without a length", {fragment(kM, 10)}},
      {"more is to come, but nothing is", {fragment(kL | kM, 0, 10)}},
      {"one without data in between", {fragment(kL | kM, 4, 10), fragment(0, 0)}},
      {"a length without data", {fragment(kL, 0, 10)}},
      {"longer than was said", {fragment(kL, 11, 10)}},
      {"shorter than was said", {fragment(kL, 9, 10)}},
      {"none, and there is something", {fragment(kL, 9, 0)}},
      {"the last one is too short", {fragment(kL | kM, 4, 10), fragment(0, 5)}},
      {"the last one is too long", {fragment(kL | kM, 4, 10), fragment(0, 7)}},
      {"all is there, and more is to come", {fragment(kL | kM, 4, 10), fragment(kM, 6)}},
      {"too much is there, and more is to come", {fragment(kL | kM, 4, 10), fragment(kM, 60)}},
      {"another length", {fragment(kL | kM, 4, 10), fragment(kL | kM, 4, 11)}},
      {"it begins, with data", {fragment(kS, 1)}},
      {"it begins in the middle", {fragment(0, 4), fragment(kS, 0)}},
      {"too much in all", {fragment(kL | kM, 4000, most), fragment(0, most - 4000), fragment(0, 1)}},
  };
  for (const auto& [what, packets] : rows) {
    INFO(what);
    Fragments f;
    for (std::size_t i = 0; i < packets.size(); ++i) {
      const auto taken = f.take(packets[i]);
      CHECK(taken.has_value() == (i + 1 != packets.size()));
      if (!taken) CHECK(taken.error().starts_with("a fragment of EAP-TLS "));
    }
  }
  Fragments f;  // ours have to be taken in first
  f.load(Bytes(3000));
  f.next();
  CHECK_FALSE(f.take(fragment(0, 4)));
}

TEST_CASE("EAP-TLS: what an identity asks for in a certificate", "[eap][tls]") {
  const auto is = [](const char* text, std::uint8_t type) {
    INFO(text);
    const CertificateName name = certificate_name(text);
    CHECK(name.id_type == type);
    return name.data;
  };
  CHECK(is("alice@example.org", 3) == to_bytes("alice@example.org"));
  CHECK(is("laptop.example", 2) == to_bytes("laptop.example"));
  CHECK(is("alice", 2) == to_bytes("alice"));
  CHECK(is("10.9.0.1", 1) == Bytes{10, 9, 0, 1});
  CHECK(is("2001:db8::1", 5).size() == 16);
  CHECK(same_name(is("C=CH, O=Example, CN=alice", 9), encode_name(parse_name_text("C=CH, O=Example, CN=alice").value())));
  CHECK(is("what=ever=", 2) == to_bytes("what=ever="));  // no name of that kind
  CHECK(is("", 2).empty());
}

TEST_CASE("EAP-TLS: a server says it step by step, and lets nobody be early", "[eap][tls][rfc5216-2.1]") {
  Server s = server();
  const Bytes hello = as<StepTls>(s.on_packet(response(9, fragment(0, 200)))).input;
  CHECK(hello.size() == 200);
  SECTION("as it should be") {
    Bytes flight = as<Reply>(s.on_tls({.output = message(1500)})).packet;
    CHECK(parse(flight)->data.front() == (kL | kM));
    flight = as<Reply>(s.on_packet(response(10, Fragments::ack()))).packet;
    CHECK(parse(flight)->data.front() == 0);
    const Bytes more = as<Reply>(s.on_packet(response(11, fragment(kL | kM, 100, 150)))).packet;
    CHECK(parse(more)->data == Fragments::ack());
    CHECK(as<StepTls>(s.on_packet(response(12, fragment(0, 50)))).input.size() == 150);
    CHECK(s.msk().empty());
    as<Reply>(s.on_tls({.output = message(60), .done = true, .msk = SecretBytes(Bytes(64, 1))}));
    CHECK(parse(as<Proved>(s.on_packet(response(13, Fragments::ack()))).packet)->code == Code::Success);
    CHECK(s.msk() == SecretBytes(Bytes(64, 1)));
    as<Refusal>(s.on_packet(response(13, Fragments::ack())));
  }
  SECTION("an alert behind the end") {
    as<Reply>(s.on_tls({.output = message(60), .done = true, .msk = SecretBytes(Bytes(64, 1))}));
    as<StepTls>(s.on_packet(response(10, fragment(0, 7))));
    CHECK(as<Refusal>(s.on_tls({.failure = "it says so"})).problem == Problem::Tls);
    CHECK_FALSE(s.farewell());
    as<Refusal>(s.on_packet(response(10, Fragments::ack())));
  }
  SECTION("another packet while TLS is at work") {
    CHECK(as<Refusal>(s.on_packet(response(9, fragment(0, 7)))).problem == Problem::Protocol);
  }
  SECTION("it answers nothing before the end") {
    as<Reply>(s.on_tls({.output = message(60)}));
    CHECK(as<Refusal>(s.on_packet(response(10, Fragments::ack()))).problem == Problem::Protocol);
  }
  SECTION("TLS wants more, and has nothing to say") { CHECK(as<Refusal>(s.on_tls({})).problem == Problem::Protocol); }
  SECTION("TLS fails: the alert, and then the end") {
    const Refusal r = as<Refusal>(s.on_tls({.output = message(7), .failure = "its certificate is none"}));
    CHECK(r.problem == Problem::Tls);
    CHECK(r.text == "its certificate is none");
    const auto last = s.farewell();
    REQUIRE(last);
    CHECK(parse(*last)->data.size() == 8);
    CHECK(parse(s.failure())->code == Code::Failure);
    CHECK(s.msk().empty());
  }
}

TEST_CASE("EAP-TLS: a server hears Naks and other methods, and names in DER", "[eap][tls][rfc3748-5.3.1]") {
  Server s = server();
  SECTION("Nak") {
    const Refusal r = as<Refusal>(s.on_packet(encode({Code::Response, 9, Type::Nak, {26}})));
    CHECK(r.problem == Problem::Method);
    CHECK(r.text == "it does not do EAP-TLS, which we ask for, and wants EAP-MSCHAPv2");
  }
  SECTION("another one") { CHECK(as<Refusal>(s.on_packet(encode({Code::Response, 9, Type::Md5, {1}}))).problem == Problem::Protocol); }
  SECTION("the subject of a certificate") {
    Server other({Bytes(16), Bytes(16), 7});
    other.begin();
    const Bytes der = encode_name(parse_name_text("C=CH, O=Example, CN=alice").value());
    CHECK(as<Identified>(other.on_packet(encode({Code::Response, 8, Type::Identity, der}))).identity ==
          to_bytes("C=CH, O=Example, CN=alice"));
  }
}

TEST_CASE("EAP-TLS: a client begins when it is told to, and believes no early end", "[eap][tls][rfc5216-2.1][attack-F1]") {
  Client c = client();
  SECTION("as it should be") {
    CHECK(as<StepTls>(c.on_packet(request(4, Fragments::begin()))).input.empty());
    CHECK(parse(as<Reply>(c.on_tls({.output = message(300)})).packet)->id == 4);
    CHECK(parse(as<Reply>(c.on_packet(request(5, fragment(kL | kM, 700, 1000)))).packet)->data == Fragments::ack());
    CHECK(as<StepTls>(c.on_packet(request(6, fragment(0, 300)))).input.size() == 1000);
    CHECK(parse(as<Reply>(c.on_tls({.output = message(1500)})).packet)->data.front() == (kL | kM));
    CHECK(parse(as<Reply>(c.on_packet(request(7, Fragments::ack()))).packet)->data.front() == 0);
    as<StepTls>(c.on_packet(request(8, fragment(0, 60))));
    CHECK(parse(as<Reply>(c.on_tls({.done = true, .msk = SecretBytes(Bytes(64, 2))})).packet)->data == Fragments::ack());
    as<Proved>(c.on_packet(encode({Code::Success, 8, Type::None, {}})));
    CHECK(c.msk() == SecretBytes(Bytes(64, 2)));
  }
  SECTION("Success at once") { CHECK(as<Refusal>(c.on_packet(encode({Code::Success, 4, Type::None, {}}))).problem == Problem::Protocol); }
  SECTION("Success in the middle") {
    as<StepTls>(c.on_packet(request(4, Fragments::begin())));
    as<Reply>(c.on_tls({.output = message(300)}));
    CHECK(as<Refusal>(c.on_packet(encode({Code::Success, 4, Type::None, {}}))).problem == Problem::Protocol);
    CHECK(c.msk().empty());
  }
  SECTION("it does not begin") { CHECK(as<Refusal>(c.on_packet(request(4, fragment(0, 9)))).problem == Problem::Protocol); }
  SECTION("it begins twice") {
    as<StepTls>(c.on_packet(request(4, Fragments::begin())));
    as<Reply>(c.on_tls({.output = message(300)}));
    CHECK(as<Refusal>(c.on_packet(request(5, Fragments::begin()))).problem == Problem::Protocol);
  }
  SECTION("nothing comes when it is their turn") {
    as<StepTls>(c.on_packet(request(4, Fragments::begin())));
    as<Reply>(c.on_tls({.output = message(300)}));
    CHECK(as<Refusal>(c.on_packet(request(5, Fragments::ack()))).problem == Problem::Protocol);
  }
  SECTION("TLS fails: our alert, and whatever comes then is too late") {
    as<StepTls>(c.on_packet(request(4, Fragments::begin())));
    as<Reply>(c.on_tls({.output = message(7), .failure = "another server"}));
    REQUIRE(c.failed());
    CHECK(c.failed()->text == "another server");
    CHECK(as<Refusal>(c.on_packet(encode({Code::Success, 4, Type::None, {}}))).text == "another server");
    CHECK(as<Refusal>(c.on_packet(Bytes{})).problem == Problem::Tls);
  }
  SECTION("TLS fails, and the server knows") {
    as<StepTls>(c.on_packet(request(4, Fragments::begin())));
    CHECK(as<Refusal>(c.on_tls({.failure = "its alert"})).problem == Problem::Tls);
    CHECK_FALSE(c.failed());
  }
  SECTION("another method") {
    CHECK(parse(as<Reply>(c.on_packet(encode({Code::Request, 3, Type::Mschapv2, {1}}))).packet)->data == Bytes{13});
    CHECK(as<Refusal>(c.on_packet(encode({Code::Failure, 3, Type::None, {}}))).text == "it asks for EAP-MSCHAPv2, and we do EAP-TLS");
  }
}

// EAP: the vectors of RFC 2759 and RFC 3079, packets, and conversations of our two sides and with those who do not keep to the rules.
#include <catch2/catch.hpp>

#include "control/crypto/hash.hpp"
#include "control/crypto/nt_hash.hpp"
#include "control/ikev2/eap/client.hpp"
#include "control/ikev2/eap/server.hpp"

using namespace culvert;
using namespace culvert::eap;

namespace {

Bytes hex(const char* text) { return from_hex(text).value(); }
std::string shown(const SecretBytes& s) { return to_hex(s.view()); }
template <class T, class V>
const T& as(const V& verdict) {
  REQUIRE(std::holds_alternative<T>(verdict));
  return std::get<T>(verdict);
}

Server server() { return Server({Bytes(16, 0xa1), Bytes(16, 0xb2), 7}); }
Client client(Method method = Method::Mschapv2, const std::string& user = "alice", const std::string& password = "alicepw") {
  return Client({method, to_bytes(user), SecretBytes(as_bytes(password)), Bytes(16, 0xc3)});
}
Credential credential(const std::string& password) { return {SecretBytes(as_bytes(password)), crypto::nt_hash(as_bytes(password))}; }
Bytes packet(Code code, std::uint8_t id, Type type = Type::None, Bytes data = {}) {
  return encode(Packet{code, id, type, std::move(data)});
}

/// Both of them, up to where the server asks who it is.
Bytes asked(Server& s, Client& c, Method method) {
  const Bytes identity = as<Reply>(c.on_packet(s.begin())).packet;
  CHECK(as<Identified>(s.on_packet(identity)).identity == to_bytes("alice"));
  const Bytes answer = as<Reply>(c.on_packet(s.choose(method, "gw.example"))).packet;
  CHECK(as<AskUser>(s.on_packet(answer)).user == to_bytes("alice"));
  return answer;
}

}  // namespace

TEST_CASE("MS-CHAPv2: the example of RFC 2759", "[eap][rfc2759-9.2]") {
  const Bytes server = hex("5b5d7c7d7b3f2f3e3c2c602132262628"), peer = hex("21402324255e262a28295f2b3a337c7e");
  const SecretBytes hash = crypto::nt_hash(as_bytes("clientPass"));
  CHECK(shown(hash) == "44ebba8d5312b8d611474411f56989ae");
  CHECK(shown(crypto::md4(hash.view())) == "41c00c584bd2d91c4017a2a12fa59f3f");
  for (const char* name : {"User", "DOMAIN\\User", "A\\B\\User"}) {  // a domain is not calculated with
    const Challenges c{server, peer, as_bytes(name)};
    const SecretBytes response = nt_response(c, hash.view());
    CHECK(shown(response) == "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df");
    CHECK(authenticator_response(c, hash.view(), response.view()) == SecretBytes(as_bytes("S=407A5589115FD0D6209F510FE9C04566932CDA56")));
  }
}

TEST_CASE("MS-CHAPv2: the keys of RFC 3079, and the MSK of both of them", "[eap][rfc3079-3.5.3]") {
  const SecretBytes hash = crypto::nt_hash(as_bytes("clientPass"));
  const Bytes response = hex("82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df");
  const SecretBytes master = master_key(hash.view(), response);
  CHECK(shown(master) == "fdece3717a8c838cb388e527ae3cdd31");
  CHECK(shown(start_key(master.view(), true)) == "8b7cdc149b993a1ba118cb153f56dccb");
  const std::string msk = shown(mschapv2_msk(hash.view(), response));
  CHECK(msk == shown(start_key(master.view(), false)) + "8b7cdc149b993a1ba118cb153f56dccb" + std::string(64, '0'));
}

TEST_CASE("NT hashes of passwords that are not ASCII, and of bytes that are no UTF-8", "[eap][crypto][rfc3629-4]") {
  CHECK(shown(crypto::md4({})) == "31d6cfe0d16ae931b73c59d7e0c089c0");  // RFC 1320 App. A.5
  CHECK(crypto::nt_hash({}) == crypto::md4({}));
  const auto same = [](std::string_view password, const char* utf16) {
    INFO(to_hex(as_bytes(password)));
    CHECK(crypto::nt_hash(as_bytes(password)) == crypto::md4(hex(utf16)));
  };
  same("Z\xc3\xbc", "5a00fc00");
  same("\xe2\x82\xac", "ac20");          // the euro sign
  same("\xf0\x9f\x94\x91", "3dd811dd");  // beyond 16 bits
  same("Z\xfc", "5a00fc00");             // Latin-1
  same("\xc3", "c300");                  // cut off
  same("\xc0\xaf", "c000af00");          // longer than it need be
  same("\xe0\x80\xaf", "e0008000af00");
  same("\xed\xa0\x80", "ed00a0008000");          // half a surrogate
  same("\xf5\x80\x80\x80", "f500800080008000");  // beyond what there is
}

TEST_CASE("EAP: packets are read as they are written, and no less of them", "[eap][rfc3748-4]") {
  const Bytes golden = hex("0107000b01616c69636578");
  const auto p = eap::parse(golden);
  REQUIRE(p);
  CHECK((p->code == Code::Request && p->id == 7 && p->type == Type::Identity && p->data == to_bytes("alicex")));
  CHECK(encode(*p) == golden);
  CHECK(packet(Code::Success, 9) == hex("03090004"));
  for (std::size_t n = 0; n < golden.size(); ++n) CHECK_FALSE(eap::parse(ByteView(golden).first(n)));
  Bytes padded = golden;
  padded.push_back(0);
  CHECK(eap::parse(padded));  // RFC 3748 §4.1: passed over
  for (const char* bad : {"00070005"
                          "01",
                          "05070005"
                          "01",
                          "01070004", "0107000500", "0107000301",
                          "03090005"
                          "00",
                          "0107ffff01"}) {
    INFO(bad);
    CHECK_FALSE(eap::parse(hex(bad)));
  }
  CHECK_FALSE(eap::parse(packet(Code::Request, 1, Type::Identity, Bytes(kMaxPacket, 'x'))));
}

TEST_CASE("EAP-MSCHAPv2: messages are read as they are written, and no less of them", "[eap][attack-F2]") {
  const MsChallenge challenge{3, Bytes(16, 1), to_bytes("gw")};
  const MsResponse response{3, Bytes(16, 2), Bytes(24, 3), to_bytes("alice")};
  const MsVerdict verdict{MsOp::Failure, 3, to_bytes("E=691")};
  const Bytes c = encode(challenge), r = encode(response), v = encode(verdict);
  CHECK(to_hex(c) ==
        "01030017100101010101010101010101010101010167"
        "77");
  CHECK((parse_ms_challenge(c)->challenge == challenge.challenge && parse_ms_challenge(c)->name == challenge.name));
  CHECK((parse_ms_response(r)->proof == response.proof && parse_ms_response(r)->name == response.name));
  CHECK((parse_ms_verdict(v)->op == MsOp::Failure && parse_ms_verdict(v)->message == verdict.message));
  for (std::size_t n = 0; n < c.size(); ++n) CHECK_FALSE(parse_ms_challenge(ByteView(c).first(n)));
  for (std::size_t n = 0; n < r.size(); ++n) CHECK_FALSE(parse_ms_response(ByteView(r).first(n)));
  for (std::size_t n = 0; n < v.size(); ++n) CHECK_FALSE(parse_ms_verdict(ByteView(v).first(n)));
  CHECK_FALSE(parse_ms_challenge(r));
  CHECK_FALSE(parse_ms_verdict(c));
}

TEST_CASE("EAP-MSCHAPv2: a user and a server that both know the password", "[eap][rfc2759]") {
  Server s = server();
  Client c = client();
  asked(s, c, Method::Mschapv2);
  const Credential known = credential("alicepw");
  const Bytes told = as<Reply>(s.on_user(&known)).packet;
  const Bytes taken = as<Reply>(c.on_packet(told)).packet;
  const Bytes end = as<Proved>(s.on_packet(taken)).packet;
  as<Proved>(c.on_packet(end));
  CHECK(s.msk() == c.msk());
  CHECK(s.msk().size() == kMsk);
  CHECK(s.user() == to_bytes("alice"));
}

TEST_CASE("EAP-MD5: the same, without a key", "[eap][rfc3748-5.4]") {
  Server s = server();
  Client c = client(Method::Md5);
  asked(s, c, Method::Md5);
  const Credential known = credential("alicepw");
  as<Proved>(c.on_packet(as<Proved>(s.on_user(&known)).packet));
  CHECK(s.msk().empty());
  CHECK(c.msk().empty());
}

TEST_CASE("EAP: users who are unknown, or have another password", "[eap]") {
  const Method method = GENERATE(Method::Mschapv2, Method::Md5);
  const Credential other = credential("other");
  for (const Credential* known : {static_cast<const Credential*>(nullptr), &other}) {
    Server s = server();
    Client c = client(method);
    asked(s, c, method);
    CHECK(as<Refusal>(s.on_user(known)).problem == (known ? Problem::WrongPassword : Problem::UnknownUser));
    CHECK(s.msk().empty());
    if (const auto last = s.farewell()) {
      CHECK(method == Method::Mschapv2);
      CHECK(as<Refusal>(c.on_packet(*last)).problem == Problem::Refused);
    }
    CHECK(as<Refusal>(c.on_packet(s.failure())).problem == Problem::Refused);
    CHECK(as<Refusal>(s.on_packet(packet(Code::Response, 9, type_of(method), {3}))).problem == Problem::Protocol);  // no second try
  }
}

TEST_CASE("EAP: a user who does not do the method says so, and whoever asks for another one gets no proof", "[eap][rfc3748-5.3.1]") {
  Server s = server();
  Client c = client(Method::Md5);
  as<Identified>(s.on_packet(as<Reply>(c.on_packet(s.begin())).packet));
  const Bytes nak = as<Reply>(c.on_packet(s.choose(Method::Mschapv2, "gw"))).packet;
  const Refusal r = as<Refusal>(s.on_packet(nak));
  CHECK(r.problem == Problem::Method);
  CHECK(r.text == "it does not do EAP-MSCHAPv2, which we ask for, and wants EAP-MD5");
  const Refusal told = as<Refusal>(c.on_packet(s.failure()));
  CHECK(told.problem == Problem::Method);
  CHECK(told.text == "it asks for EAP-MSCHAPv2, and we do EAP-MD5");
}

TEST_CASE("EAP: a server that does not know the password, or skips the proof of it, is not believed",
          "[eap][attack-E5][attack-F1][attack-F2]") {
  Client c = client();
  Server s = server();
  SECTION("Success out of nowhere") { CHECK(as<Refusal>(c.on_packet(packet(Code::Success, 1))).problem == Problem::Protocol); }
  SECTION("Success behind our answer, without its proof") {
    asked(s, c, Method::Mschapv2);
    CHECK(as<Refusal>(c.on_packet(packet(Code::Success, 9))).problem == Problem::Protocol);
  }
  SECTION("a wrong proof") {
    asked(s, c, Method::Mschapv2);
    const std::string wrong = "S=" + std::string(40, '0') + " M=Welcome";
    const Bytes data = encode(MsVerdict{MsOp::Success, 9, to_bytes(wrong)});
    CHECK(as<Refusal>(c.on_packet(packet(Code::Request, 10, Type::Mschapv2, data))).problem == Problem::WrongPassword);
  }
  SECTION("a proof that is cut short") {
    asked(s, c, Method::Mschapv2);
    const Bytes data = encode(MsVerdict{MsOp::Success, 9, to_bytes("S=")});
    CHECK(as<Refusal>(c.on_packet(packet(Code::Request, 10, Type::Mschapv2, data))).problem == Problem::WrongPassword);
  }
  SECTION("a second challenge, for a second answer under the same challenge of ours") {
    asked(s, c, Method::Mschapv2);
    const Bytes data = encode(MsChallenge{10, Bytes(16, 9), {}});
    CHECK(as<Refusal>(c.on_packet(packet(Code::Request, 10, Type::Mschapv2, data))).problem == Problem::Protocol);
  }
  SECTION("the other method behind it") {
    asked(s, c, Method::Mschapv2);
    CHECK(as<Refusal>(c.on_packet(packet(Code::Request, 10, Type::Md5, Bytes(17, 16)))).problem == Problem::Protocol);
  }
  CHECK_FALSE(std::holds_alternative<Proved>(c.on_packet(packet(Code::Success, 11))));
}

TEST_CASE("EAP: what a user may not say", "[eap][attack-F2]") {
  Server s = server();
  s.begin();
  const auto protocol = [&](const Bytes& bytes) { CHECK(as<Refusal>(s.on_packet(bytes)).problem == Problem::Protocol); };
  SECTION("another identifier") { protocol(packet(Code::Response, 7, Type::Identity, to_bytes("alice"))); }
  SECTION("a request") { protocol(packet(Code::Request, 8, Type::Identity, to_bytes("alice"))); }
  SECTION("Success") { protocol(packet(Code::Success, 8)); }
  SECTION("nothing") { protocol({}); }
  SECTION("a Nak of his identity") { protocol(packet(Code::Response, 8, Type::Nak, {26})); }
  for (const Bytes& name : {Bytes{}, Bytes{'a', 0}, Bytes(kMaxName + 1, 'a')}) {
    Server other = server();
    other.begin();
    CHECK(as<Refusal>(other.on_packet(packet(Code::Response, 8, Type::Identity, name))).problem == Problem::UnknownUser);
  }
  Server third = server();
  third.begin();
  as<Identified>(third.on_packet(packet(Code::Response, 8, Type::Identity, to_bytes("alice"))));
  third.choose(Method::Mschapv2, "gw");
  SECTION("his answer before its challenge: a Success") {
    CHECK(as<Refusal>(third.on_packet(packet(Code::Response, 9, Type::Mschapv2, {3}))).problem == Problem::Protocol);
  }
  SECTION("an answer to another challenge") {
    const Bytes data = encode(MsResponse{8, Bytes(16, 1), Bytes(24, 2), to_bytes("alice")});
    CHECK(as<Refusal>(third.on_packet(packet(Code::Response, 9, Type::Mschapv2, data))).problem == Problem::Protocol);
  }
  SECTION("an answer of another method") {
    CHECK(as<Refusal>(third.on_packet(packet(Code::Response, 9, Type::Md5, Bytes(17, 16)))).problem == Problem::Protocol);
  }
  CHECK(third.msk().empty());
}

TEST_CASE("EAP: a notification is taken note of, and nothing more", "[eap][rfc3748-5.2]") {
  Client c = client();
  const Bytes answer = as<Reply>(c.on_packet(packet(Code::Request, 3, Type::Notification, to_bytes("hello")))).packet;
  CHECK(answer == packet(Code::Response, 3, Type::Notification));
}

TEST_CASE("EAP: a user who is handed over to a server elsewhere", "[eap][rfc3748-7.1][rfc3579-2]") {
  const auto identity = [](std::uint8_t id) { return encode({Code::Response, id, Type::Identity, to_bytes("alice")}); };
  const auto handed_over = [&] {
    Server s({Bytes(16, 1), Bytes(16, 2), 4});
    (void)s.begin();
    REQUIRE(std::holds_alternative<Identified>(s.on_packet(identity(5))));
    CHECK(s.hand_over().packet == identity(5));
    return s;
  };
  const Bytes request = encode({Code::Request, 77, Type{13}, {0x20}}), response = encode({Code::Response, 77, Type{13}, {0}});
  const auto refused = [](const Server::Verdict& v) { return std::holds_alternative<Refusal>(v); };

  Server s = handed_over();
  CHECK(std::get<Reply>(s.on_relayed(false, request)).packet == request);
  Bytes longer = response;
  longer.push_back(9);  // passed over
  CHECK(std::get<Forward>(s.on_packet(longer)).packet == response);
  const auto end = s.on_relayed(true, encode({Code::Success, 77, Type::None, {}}), SecretBytes(Bytes(64, 3)));
  CHECK(std::get<Proved>(end).packet == encode({Code::Success, 77, Type::None, {}}));
  CHECK(s.msk() == SecretBytes(Bytes(64, 3)));
  CHECK(s.user() == to_bytes("alice"));
  CHECK(refused(s.on_packet(response)));
  CHECK(refused(s.on_relayed(false, request)));

  s = handed_over();
  CHECK(std::holds_alternative<Proved>(s.on_relayed(true, {})));  // the server leaves it out
  s = handed_over();
  CHECK(refused(s.on_relayed(true, request)));
  s = handed_over();
  CHECK(refused(s.on_relayed(true, encode({Code::Failure, 5, Type::None, {}}))));
  s = handed_over();
  CHECK(refused(s.on_relayed(false, encode({Code::Success, 5, Type::None, {}}))));
  s = handed_over();
  CHECK(refused(s.on_relayed(false, Bytes{1, 2, 0, 9})));
  s = handed_over();
  (void)s.on_relayed(false, request);
  CHECK(refused(s.on_packet(encode({Code::Response, 76, Type{13}, {0}}))));  // to another request
  CHECK(s.failure() == encode({Code::Failure, 77, Type::None, {}}));
  CHECK_FALSE(s.farewell());
}

// Packets of RADIUS and what they prove: the examples of RFC 2865 §7 and RFC 5997 §6, and what is none.
#include <catch2/catch.hpp>

#include "control/radius/access.hpp"
#include "control/radius/proof.hpp"
#include "tests/support/radius_server.hpp"

using namespace culvert;
using namespace culvert::radius;
using namespace culvert::test;

namespace {
const std::string kSecret = "radius secret";
ByteView secret() { return as_bytes(kSecret); }
Authenticator authenticator(ByteView request) {
  Authenticator out{};
  std::ranges::copy(request.subspan(4, 16), out.begin());
  return out;
}
const Bytes kRequest =
    from_hex("010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003").value();
const Bytes kReply = from_hex("0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103").value();
}  // namespace

TEST_CASE("RADIUS: the examples of the RFCs", "[radius][rfc2865-7.1][rfc5997-6]") {
  const auto request = parse(kRequest);
  REQUIRE(request);
  CHECK(request->code == Code::AccessRequest);
  CHECK(request->attributes.size() == 4);
  CHECK(request->find(Type::UserName)->value == to_bytes("nemo"));
  CHECK(request->number(Type::NasPort) == 3U);
  CHECK(encode(*request) == kRequest);
  REQUIRE(parse(kReply));
  // Its Response Authenticator is right, and it would be taken, were it not without Message-Authenticator.
  CHECK(check_reply(kReply, request->authenticator, as_bytes("xyzzy5461")) == Proof::NoMessageAuthenticator);
  CHECK(check_reply(kReply, request->authenticator, as_bytes("xyzzy5462")) == Proof::WrongAuthenticator);

  Packet status;  // a Message-Authenticator as others make it
  status.code = Code{12};
  status.id = 0xda;
  std::ranges::copy(from_hex("8a54f4686fb394c52866e302185d0623").value(), status.authenticator.begin());
  CHECK(to_hex(*signed_request(status, as_bytes("xyzzy5461"))) ==
        "0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3");
}

TEST_CASE("RADIUS: lengths that are none", "[radius][rfc2865-3][attack-F5]") {
  for (std::size_t n = 0; n < kReply.size(); ++n) CHECK_FALSE(parse(ByteView(kReply).first(n)));
  Bytes longer = kReply;
  longer.insert(longer.end(), 7, 0xff);  // passed over
  REQUIRE(parse(longer));
  CHECK(parse(longer)->attributes == parse(kReply)->attributes);
  for (const auto& [at, value] :
       std::vector<std::pair<std::size_t, int>>{{3, 19}, {3, 0x25}, {2, 0x10}, {21, 0}, {21, 1}, {21, 5}, {37, 0x07}}) {
    INFO(at << " " << value);
    Bytes bad = kReply;
    bad[at < 37 ? at : 33] = static_cast<std::uint8_t>(value);
    CHECK_FALSE(parse(bad));
  }
  Packet p;
  p.add(Type::State, ByteView{});
  CHECK_FALSE(encode(p));
  p.attributes = {{Type::State, Bytes(254, 0)}};
  CHECK_FALSE(encode(p));
  p.attributes.assign(16, {Type::State, Bytes(253, 0)});
  CHECK_FALSE(encode(p));
  p.attributes.resize(15);
  CHECK(encode(p));
}

TEST_CASE("RADIUS: EAP in pieces, and what a gateway says", "[radius][rfc3579-3.1]") {
  for (const std::size_t size : {1U, 253U, 254U, 506U, 1500U}) {
    Bytes eap(size, 'x');
    eap.back() = 'y';
    Packet p;
    p.add_split(Type::EapMessage, eap);
    CHECK(p.count(Type::EapMessage) == (size + 252) / 253);
    CHECK(p.joined(Type::EapMessage) == eap);
  }
  config::Radius config;
  config::RadiusServer server;
  ike::AskRadius q{.connection = "people",
                   .sa = 7,
                   .local = {IpAddress::parse("192.0.2.1").value(), 4500},
                   .remote = {IpAddress::parse("198.51.100.9").value(), 1024},
                   .user = to_bytes("alice"),
                   .eap = Bytes(300, 2),
                   .state = {1, 2, 3}};
  const auto p = access_request(q, config, server);
  REQUIRE(p);
  CHECK(p->find(Type::UserName)->value == to_bytes("alice"));
  CHECK(p->find(Type::NasIdentifier)->value == to_bytes("culvert"));
  CHECK(p->find(Type::NasIpAddress)->value == Bytes{192, 0, 2, 1});
  CHECK(p->number(Type::NasPortType) == 5U);
  CHECK(p->number(Type::NasPort) == 7U);
  CHECK(p->find(Type::NasPortId)->value == to_bytes("people"));
  CHECK(p->find(Type::CalledStationId)->value == to_bytes("192.0.2.1[4500]"));
  CHECK(p->find(Type::CallingStationId)->value == to_bytes("198.51.100.9[1024]"));
  CHECK(p->find(Type::State)->value == Bytes{1, 2, 3});
  CHECK(p->count(Type::EapMessage) == 2);
  config.station_id_with_port = false;
  server.nas_identifier = "gw-a";
  q.local.address = IpAddress::parse("2001:db8::1").value();
  const auto v6 = access_request(q, config, server);
  REQUIRE(v6);
  CHECK_FALSE(v6->find(Type::NasIpAddress));
  CHECK(v6->find(Type::NasIpv6Address)->value.size() == 16);
  CHECK(v6->find(Type::CalledStationId)->value == to_bytes("2001:db8::1"));
  CHECK(v6->find(Type::NasIdentifier)->value == to_bytes("gw-a"));
  q.user.clear();
  CHECK_FALSE(access_request(q, config, server));
  // The Message-Authenticator is the first attribute.
  const auto sent = signed_request(*v6, secret());
  REQUIRE(sent);
  CHECK((*sent)[20] == 80);
}

TEST_CASE("RADIUS: an answer proves itself, or is none", "[radius][rfc3579-3.2][cve-2024-3596][attack-F5]") {
  const Authenticator request = authenticator(kRequest);
  const RadiusReply good{Code::AccessAccept, {{Type::ReplyMessage, to_bytes("hello")}}};
  const auto proof = [&](const RadiusReply& r) { return check_reply(radius_reply(kRequest, r), request, secret()); };
  CHECK(proof(good) == Proof::Good);
  auto changed = good;
  changed.secret = "another";
  CHECK(proof(changed) == Proof::WrongAuthenticator);
  changed = good;
  changed.with_mac = false;
  CHECK(proof(changed) == Proof::NoMessageAuthenticator);
  changed = good;
  changed.spoil_mac = true;
  CHECK(proof(changed) == Proof::WrongMessageAuthenticator);
  changed = good;
  changed.attributes.push_back({Type::MessageAuthenticator, Bytes(16, 0)});
  CHECK(proof(changed) == Proof::NoMessageAuthenticator);
  changed = good;
  changed.with_mac = false;
  changed.attributes.push_back({Type::MessageAuthenticator, Bytes(15, 0)});
  CHECK(proof(changed) == Proof::NoMessageAuthenticator);
  const Bytes reply = radius_reply(kRequest, good);
  for (std::size_t i = 0; i < reply.size(); ++i) {  // no bit of it may be another
    Bytes bad = reply;
    bad[i] ^= 0x10;
    INFO(i);
    CHECK((!parse(bad) || check_reply(bad, request, secret()) != Proof::Good));
  }
  Authenticator other = request;
  other[0] ^= 1;
  CHECK(check_reply(reply, other, secret()) == Proof::WrongAuthenticator);
}

TEST_CASE("RADIUS: the key of EAP", "[radius][rfc2548-2.4]") {
  const Authenticator request = authenticator(kRequest);
  const Bytes recv(32, 'r'), send(32, 's');
  const auto msk = [&](std::vector<Attribute> attributes) {
    return msk_of(*parse(radius_reply(kRequest, {Code::AccessAccept, std::move(attributes)})), request, secret());
  };
  Bytes both = recv;
  both.insert(both.end(), send.begin(), send.end());
  const Attribute r = mppe_key(17, recv, kRequest), s = mppe_key(16, send, kRequest);
  CHECK(msk({s, r}) == SecretBytes(both));
  Attribute one = r;  // both in one attribute
  one.value.insert(one.value.end(), s.value.begin() + 4, s.value.end());
  CHECK(msk({one}) == SecretBytes(both));
  Bytes padded(64, 0);  // short ones, as MS-CHAPv2 has them
  std::fill_n(padded.begin(), 16, 'r'), std::fill_n(padded.begin() + 16, 16, 's');
  CHECK(msk({mppe_key(17, ByteView(recv).first(16), kRequest), mppe_key(16, ByteView(send).first(16), kRequest)}) == SecretBytes(padded));
  CHECK(msk({}) == SecretBytes{});
  CHECK(msk({{Type::VendorSpecific, {0, 0, 0, 9, 1, 4, 0, 0}}}) == SecretBytes{});
  CHECK_FALSE(msk({r}));
  CHECK_FALSE(msk({s}));
  for (std::size_t size = 4; size < r.value.size(); ++size) {
    Attribute cut = r;
    cut.value.resize(size);
    if (size > 5) cut.value[5] = static_cast<std::uint8_t>(size - 4);
    INFO(size);
    CHECK_FALSE((msk({s, cut}).has_value() && !msk({s, cut})->empty()));
  }
  Attribute clear = r;  // the first bit of the salt is set
  clear.value[6] = 0;
  CHECK_FALSE(msk({s, clear}));
}

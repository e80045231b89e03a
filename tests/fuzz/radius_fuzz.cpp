// Fuzzes RADIUS: what a server, or who is between, sends to a gateway that waits for an answer.
//   input: records: length (2 bytes), a datagram. The secret is "radius secret", the authenticator of each question 16 times 7. A record
//   whose first byte is 0xff is an answer that proves itself: its code (1 byte) and its attributes follow.
// Whatever parses is the same again when it is written; a question has one answer; nothing is taken that does not prove itself, and a
// question that nobody answers comes to its end.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "control/radius/client.hpp"
#include "tests/support/radius_server.hpp"

namespace {

using namespace culvert;
using namespace culvert::radius;
using namespace std::chrono_literals;

void require(bool condition) {
  if (!condition) std::abort();
}

/// The answer that the record stands for, and whether it proves itself.
std::pair<Bytes, bool> answer(ByteView record, ByteView question) {
  if (record.size() < 2 || record[0] != 0xff) return {Bytes(record.begin(), record.end()), false};
  test::RadiusReply r{Code{record[1]}};
  Reader in(record.subspan(2));
  while (in.remaining() > 2 && r.attributes.size() < 15) {
    const Type type{in.be<std::uint8_t>()};
    const ByteView value = in.take(std::min<std::size_t>({in.be<std::uint8_t>(), in.remaining(), kMaxValue}));
    r.attributes.push_back({type, Bytes(value.begin(), value.end())});
  }
  const bool another_mac = std::ranges::find(r.attributes, Type::MessageAuthenticator, &Attribute::type) != r.attributes.end();
  return {test::radius_reply(question, r), !another_mac};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  config::Radius config;
  config::RadiusServer server;
  server.name = "main";
  server.address = IpAddress::v4(1);
  config.servers.push_back(server);
  Client client(
      config, {[](std::size_t n) { return Bytes(n, 7); }, [](const config::SecretRef&) { return SecretBytes(as_bytes("radius secret")); }});
  TimePoint now{1000s};
  Reader in(ByteView(data, size));
  for (std::uint64_t job = 1; in.remaining() > 2; ++job) {
    ike::AskRadius q;
    q.job = job;
    q.local.address = q.remote.address = IpAddress::v4(2);
    q.user = to_bytes("alice");
    q.eap = Bytes(300, 2);
    client.ask(now, std::move(q));
    const auto sends = client.take_sends();
    require(sends.size() == 1);
    const auto [reply, proven] = answer(in.take(std::min<std::size_t>(in.be<std::uint16_t>(), in.remaining())), sends[0].data);
    if (const auto p = radius::parse(reply)) {
      const bool whole = std::ranges::none_of(p->attributes, [](const Attribute& a) { return a.value.empty(); });
      if (const auto again = encode(*p))
        require(std::ranges::equal(*again, ByteView(reply).first(again->size())));
      else
        require(!whole);
    }
    client.on_datagram(now, 0, sends[0].socket, reply);
    auto answers = client.take_answers();
    require(answers.size() == (proven ? 1 : 0));
    while (client.deadline()) {
      now = *client.deadline();
      client.on_timer(now);
      (void)client.take_sends();
    }
    if (answers.empty()) answers = client.take_answers();
    require(answers.size() == 1 && answers[0].job == job);
    require(answers[0].msk.empty() || (answers[0].kind == ike::RadiusAnswer::Kind::Accept && answers[0].msk.size() >= 64));
  }
  return 0;
}

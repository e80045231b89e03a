// What a message may hold too much or too odd of: hundreds of vendor ids, proxy identities of every kind, a thousand copies. Each case
// carries its number of the list of attacks that the field has met.
#include <algorithm>
#include <map>
#include <ranges>

#include <catch2/catch.hpp>

#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/proposal.hpp"
#include "control/ikev1/vendor_ids.hpp"
#include "tests/exchange/insider_helpers.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev1::PayloadType;

namespace {

ikev1::Builder r_u_there(const ike::IkeSaInfo& sa, std::uint32_t sequence) {
  Writer number;
  number.be(sequence);
  ikev1::Notify n;
  n.protocol = ikev1::kProtoIsakmp;
  n.type = ikev1::NotifyType::RUThere;
  n.spi = cookies_of(sa);
  n.data = std::move(number).take();
  ikev1::Builder out;
  out.add(n);
  return out;
}

}  // namespace

TEST_CASE("two hundred vendor ids, and all that are known at once: they are read, and the SA comes up", "[vendor][attack-A15]") {
  const bool known = GENERATE(false, true);
  World world;
  auto [a, b] = two_sites(world);
  world.hook = [&, &initiator = a](ike::Datagram& d) {
    const bool from_a = d.local.address == initiator.config.connections[0].local_addrs.front();
    const int number = main_mode_number(d, from_a);
    if (number != 1 && number != 2) return true;
    const auto seen = look(d);
    ikev1::Builder all;
    for (const ikev1::Payload& p : seen->clear->payloads()) all.add_raw(p.type, p.body);
    if (known)
      for (const ikev1::VendorIdInfo& row : ikev1::vendor_id_table()) all.add(ikev1::Vendor{test::hex(row.hex)});
    for (std::uint8_t i = 0; i < 200; ++i) all.add(ikev1::Vendor{Bytes(16, i)});
    rewrite(d, seen->header, all);
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&, &one = a, &other = b] { return one.current_out("net") && other.current_out("net"); }, 60s));
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
}

TEST_CASE("proxy identities of every type and length: no pair that the configuration does not know, and nothing falls",
          "[quick_mode][attack-G4]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const Insider insider(world);
  const auto suites = b.config.connections[0].children[0].esp_proposals;
  const auto ours = ikev1::to_proxy_id(b.config.connections[0].children[0].remote_ts);
  std::uint32_t id = 0x1000;
  for (std::uint8_t type = 0; type <= 12; ++type)
    for (std::size_t length = 0; length <= 40; ++length)
      for (const bool first : {true, false}) {
        const ikev1::Id odd{static_cast<ikev1::IdType>(type), 0, 0, Bytes(length, 10)};
        ikev1::Builder message;
        message.add(ikev1::build_esp_offer({suites, Spi{0x4711}, ikev1::Encapsulation::Tunnel, 3600, 0})).add(ikev1::Nonce{Bytes(32, 7)});
        message.add(first ? odd : *ours).add(first ? *ours : odd);
        world.deliver(insider.message(ike::kExchangeQuickMode, MessageId{++id}, message, false));
      }
  world.run(200s);  // what is refused is forgotten
  CHECK(b.spis.size() == 1);
  untouched(a, b);
}

TEST_CASE("a message a thousand times is answered once, and an old message id with new content not at all",
          "[dpd][duplicates][attack-B6]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const Insider insider(world);
  const ike::IkeSaInfo sa = b.engine->ike_sas().front();
  const unsigned before = b.sent_datagrams;
  for (int i = 0; i < 1000; ++i) world.deliver(insider.informational(r_u_there(sa, 7), false, MessageId{0x5001}));
  CHECK(b.sent_datagrams == before + 1);
  world.deliver(insider.informational(r_u_there(sa, 8), false, MessageId{0x5001}));
  CHECK(b.sent_datagrams == before + 1);
  world.deliver(insider.informational(r_u_there(sa, 8), false, MessageId{0x5002}));
  CHECK(b.sent_datagrams == before + 2);
  untouched(a, b);
}

TEST_CASE(
    "notifications with odd protocols, SPI sizes and SPIs, known types and unknown: none ends anything, and at most one gets an answer",
    "[attack-G3]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const Insider insider(world);
  const ike::IkeSaInfo sa = b.engine->ike_sas().front();
  const unsigned before = b.sent_datagrams;
  std::uint32_t id = 0x7000;
  for (const std::uint16_t type :
       std::initializer_list<std::uint16_t>{1, 11, 18, 24, 24576, 24577, 24578, 16384, 36136, 36137, 16393, 40960, 65535})
    for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{0, 1, 2, 3, 255})
      for (const std::size_t size : {0, 1, 4, 8, 16, 17, 255}) {
        ikev1::Notify n;
        n.protocol = protocol;
        n.type = static_cast<ikev1::NotifyType>(type);
        n.spi = Bytes(size, 0x5a);
        n.data = Bytes(size % 5, 0);
        if (n.type == ikev1::NotifyType::InitialContact) continue;  // believed under the keys whatever it names (RFC 2407 §4.6.3.3)
        ikev1::Builder message;
        message.add(n);
        world.deliver(insider.informational(message, false, MessageId{++id}));
      }
  CHECK(b.sent_datagrams <= before + 1);
  untouched(a, b);
  world.deliver(insider.informational(r_u_there(sa, 7), false, MessageId{0x6fff}));
  CHECK(b.sent_datagrams > before);
}

TEST_CASE("ten thousand tunnels that came up in one second are not replaced in one, nor asked in one whether they live",
          "[rekey][dpd][attack-H9]") {
  World world;
  auto [a, b] = two_sites(world);
  const config::Connection& c = a.config.connections[0];
  const config::Child& child = c.children[0];
  std::map<std::int64_t, int> pairs, isakmp, probes;
  const auto second = [](auto t) { return std::chrono::duration_cast<std::chrono::seconds>(t).count(); };
  for (int i = 0; i < 10'000; ++i) {
    ++pairs[second(ikev1::schedule(a, {}, {child.rekey_time, child.rand_time, child.life_time}, 0).rekey_at.time_since_epoch())];
    ++isakmp[second(ikev1::schedule(a, {}, {c.rekey_time, c.rand_time, c.rekey_time + c.over_time}, 0).rekey_at.time_since_epoch())];
    ++probes[second(ike::jitter(a, 30s))];
  }
  const auto most = [](const std::map<std::int64_t, int>& all) { return std::ranges::max(all | std::views::values); };
  CHECK(most(pairs) <= 80);  // over a tenth of rekey_time, an hour: 28 a second
  CHECK(most(isakmp) <= 40);
  CHECK(most(probes) <= 2'500);  // over a fifth of dpd_delay
}

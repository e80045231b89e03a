// What two sides announce by vendor ids, in whichever message they do it.
#include <algorithm>
#include <optional>

#include <catch2/catch.hpp>

#include "control/ikev1/cipher.hpp"
#include "control/ikev1/keymat.hpp"
#include "control/ikev1/vendor_ids.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Seconds;
using ike::Exchange;
using ikev1::PayloadType;
using ikev1::VendorId;

namespace {

bool from_a(const ike::Datagram& d) { return d.local.address.to_string() == "10.9.0.1"; }

Pair watched_sites(World& world) {
  world.record = true;
  return two_sites(world, [](auto& ca, auto& cb) {
    for (auto* g : {&ca, &cb}) {
      g->connections[0].dpd_delay = Seconds{5};
      g->connections[0].dpd_timeout = Seconds{20};
    }
  });
}

std::vector<VendorId> ids_in(const ikev1::Message& message) {
  std::vector<VendorId> out;
  for (const auto* v : message.all<ikev1::Vendor>())
    if (const auto* known = ikev1::recognise_vendor(v->data)) out.push_back(known->id);
  return out;
}

/// A message without vendor ids, then with these.
ikev1::Builder with_ids(const ikev1::Message& message, const std::vector<VendorId>& ids) {
  ikev1::Builder b;
  for (const auto& p : message.payloads())
    if (p.type != PayloadType::Vendor) b.add_raw(p.type, p.body);
  for (const VendorId id : ids) b.add(ikev1::Vendor{ikev1::vendor_id(id)});
  return b;
}

bool knows_dpd(const Host& h) { return std::ranges::count(h.engine->ike_sas().at(0).vendor_ids, "DPD") == 1; }

/// The keys of the Main Mode on the wire, as soon as its message 4 was there; the pre-shared key is "secret".
ikev1::Cipher cipher_of(const World& world, ikev1::Iv& iv) {
  const IkeSuite suite = world.hosts.front()->config.connections[0].proposals.front();
  Bytes nonce_i, nonce_r, g_xi, g_xr;
  ike::Header header;
  for (const ike::Datagram& d : world.wire) {
    const int number = main_mode_number(d, from_a(d));
    if (number != 3 && number != 4) continue;
    const auto seen = look(d);
    header = seen->header;
    (number == 3 ? nonce_i : nonce_r) = seen->clear->raw(PayloadType::Nonce)->body;
    (number == 3 ? g_xi : g_xr) = seen->clear->raw(PayloadType::Ke)->body;
  }
  const std::string psk = "secret";
  const auto secrets =
      ikev1::derive_phase1({suite.prf, as_bytes(psk), nonce_i, nonce_r, world.first_shared.view(), header.spi_i, header.spi_r});
  iv = ikev1::phase1_iv(suite.prf, g_xi, g_xr);
  return {suite.encr, ikev1::phase1_encryption_key(secrets, suite.key_bits / 8U)};
}

ikev1::Message opened(const ikev1::Cipher& cipher, const ikev1::Iv& iv, const Seen& seen) {
  const auto chain = cipher.open(iv, ByteView(seen.message).subspan(ike::kHeaderSize));
  REQUIRE(chain);
  auto message = ikev1::Message::parse(static_cast<PayloadType>(seen.header.next_payload), chain->chain, ikev1::Trailing::Padding);
  REQUIRE(message);
  return std::move(*message);
}

}  // namespace

TEST_CASE("a peer that tells of DPD and Unity in messages 3 and 4, as Cisco's IOS does, is watched, and told as much",
          "[main_mode][dpd][rfc3706-5.1]") {
  World world;
  auto [a, b] = watched_sites(world);
  std::vector<VendorId> answered;
  world.hook = [&](ike::Datagram& d) {
    const int number = main_mode_number(d, from_a(d));
    const auto seen = look(d);
    if (number == 4) answered = ids_in(*seen->clear);
    if (number == 1 || number == 2) rewrite(d, seen->header, with_ids(*seen->clear, {}));
    if (number == 3) rewrite(d, seen->header, with_ids(*seen->clear, {VendorId::Dpd, VendorId::Unity}));
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  CHECK(answered == std::vector{VendorId::Dpd});  // Mode Config is not spoken here
  CHECK(knows_dpd(a));
  CHECK(knows_dpd(b));
  world.hook = [](ike::Datagram&) { return false; };
  CHECK(world.run_until([&] { return b.counted(Exchange::Dpd, Reason::DpdTimeout) == 1; }, 60s));
  CHECK(world.run_until([&] { return a.counted(Exchange::Dpd, Reason::DpdTimeout) == 1; }, 60s));
}

TEST_CASE("... and in messages 5 and 6", "[main_mode][dpd][rfc3706-5.1]") {
  World world;
  auto [a, b] = watched_sites(world);
  std::optional<ikev1::Cipher> cipher;
  ikev1::Iv sent{}, received{};  // of the next message, as A has it and as B has it
  std::vector<VendorId> answered;
  world.hook = [&](ike::Datagram& d) {
    const int number = main_mode_number(d, from_a(d));
    const auto seen = look(d);
    if (number == 1 || number == 2) rewrite(d, seen->header, with_ids(*seen->clear, {}));
    if (number < 5) return true;
    if (!cipher) {
      cipher = cipher_of(world, sent);
      received = sent;
    }
    ikev1::Iv& writer = number == 5 ? sent : received;
    ikev1::Iv& reader = number == 5 ? received : sent;
    const auto message = opened(*cipher, writer, *seen);
    if (number == 6) answered = ids_in(message);
    const auto changed = with_ids(message, {VendorId::Dpd});
    const auto sealed = cipher->seal(reader, changed.chain());
    std::copy_n(seen->message.end() - static_cast<std::ptrdiff_t>(writer.size()), writer.size(), writer.begin());
    reader = sealed.next;
    ike::Header header = seen->header;
    header.next_payload = static_cast<std::uint8_t>(changed.first());
    d.data = ike::encode_message(header, sealed.body);
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.established() == 1 && b.established() == 1; }, 10s));
  CHECK(answered == std::vector{VendorId::Dpd});
  CHECK(knows_dpd(a));
  CHECK(knows_dpd(b));
  world.hook = [](ike::Datagram&) { return false; };
  CHECK(world.run_until([&] { return b.counted(Exchange::Dpd, Reason::DpdTimeout) == 1; }, 60s));
}

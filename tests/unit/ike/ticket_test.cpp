// Tickets of session resumption (RFC 5723 §6): what goes in comes out, and nothing else does.
#include "control/ikev2/ticket.hpp"

#include <catch2/catch.hpp>

#include "control/ikev2/keymat.hpp"

using namespace culvert;
using namespace culvert::ikev2;

namespace {
ike::TicketKey key(std::uint32_t id) { return {id, SecretBytes(Bytes(32, static_cast<std::uint8_t>(id)))}; }

Ticket sample() {
  Ticket t;
  t.serial = Bytes(kTicketSerial, 0xab);
  t.connection = "people";
  t.suite = parse_ike_proposal_v2("aes256gcm16-prfsha384-ecp384").value().front();
  t.d = SecretBytes(Bytes(48, 0x17));
  t.authenticated = 1'700'000'000;
  t.expires = 1'700'014'400;
  t.ppk = true;
  t.id = {IdType::Fqdn, Bytes{'p', 'h', 'o', 'n', 'e'}};
  t.identity = "phone";
  t.user = "alice";
  t.key = ike::PeerKey{1, 2, 3};
  return t;
}
}  // namespace

TEST_CASE("a ticket opens as it was sealed, under the key of its number", "[ikev2][resume][rfc5723-6.1]") {
  const Ticket t = sample();
  const Bytes sealed = seal_ticket(key(7), Bytes(kTicketNonce, 1), t);
  const std::vector<ike::TicketKey> keys{key(8), key(7)};
  const auto opened = open_ticket(keys, sealed);
  REQUIRE(opened);
  CHECK(opened->serial == t.serial);
  CHECK(opened->connection == t.connection);
  CHECK(opened->suite == t.suite);
  CHECK(opened->d == t.d);
  CHECK(opened->authenticated == t.authenticated);
  CHECK(opened->expires == t.expires);
  CHECK(opened->ppk);
  CHECK(opened->id == t.id);
  CHECK(opened->identity == t.identity);
  CHECK(opened->user == t.user);
  CHECK(opened->key == t.key);
  Ticket plain = sample();
  plain.key.reset();
  plain.user.clear();
  const auto other = open_ticket(keys, seal_ticket(key(8), Bytes(kTicketNonce, 2), plain));
  REQUIRE(other);
  CHECK_FALSE(other->key);
  CHECK(other->user.empty());
}

TEST_CASE("no other bytes open, and no other key opens them", "[ikev2][resume][rfc5723-9]") {
  const Bytes sealed = seal_ticket(key(7), Bytes(kTicketNonce, 1), sample());
  const std::vector<ike::TicketKey> keys{key(7)}, others{key(8)}, none, wrong{{7, SecretBytes(Bytes(32, 0x55))}};
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    Bytes changed = sealed;
    changed[i] ^= 0x40;
    CHECK_FALSE(open_ticket(keys, changed));
    CHECK_FALSE(open_ticket(keys, ByteView(sealed).first(i)));
  }
  for (const auto& set : {others, none, wrong}) CHECK_FALSE(open_ticket(set, sealed));
  Bytes longer = sealed;
  longer.push_back(0);
  CHECK_FALSE(open_ticket(keys, longer));
  CHECK_FALSE(open_ticket(keys, Bytes(kMaxTicket + 1, 7)));
  const Ticket t = sample();
  for (const ByteView secret : {t.d.view(), as_bytes(t.user), as_bytes(t.identity)})
    CHECK(std::search(sealed.begin(), sealed.end(), secret.begin(), secret.end()) == sealed.end());
}

TEST_CASE("keys of an SA that goes on by a ticket: prf(SK_d, \"Resumption\" | Ni | Nr)", "[ikev2][resume][rfc5723-5.1]") {
  const Ticket t = sample();
  const Bytes ni(32, 1), nr(20, 2);
  const IkeKeys keys = derive_resumed({t.suite, ni, nr, {}, IkeSpi{3}, IkeSpi{4}}, t.d.view());
  const SecretBytes seed = prf(Prf::HmacSha2_384, t.d.view(), {as_bytes("Resumption"), ni, nr});
  Writer spis;
  spis.be(std::uint64_t{3});
  spis.be(std::uint64_t{4});
  const SecretBytes all = prf_plus(Prf::HmacSha2_384, seed.view(), {ni, nr, spis.view()}, 48 * 3 + 36 * 2);
  const auto part = [&](std::size_t at, std::size_t size) { return SecretBytes(all.view().subspan(at, size)); };
  CHECK(keys.d == part(0, 48));
  CHECK(keys.ei == part(48, 36));
  CHECK(keys.er == part(84, 36));
  CHECK(keys.pi == part(120, 48));
  CHECK(keys.pr == part(168, 48));
}

// Real exchanges of other implementations: every IKEv1 message that travelled in clear parses, and the rules take it.
#include "tests/support/captures.hpp"

#include <map>

#include "control/ike/header.hpp"
#include "control/ikev1/message_rules.hpp"
#include "control/ikev1/proposal.hpp"
#include "control/ikev1/vendor_ids.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ikev1;

namespace {
/// The place of a clear Main Mode message, from what it carries and who sent it.
std::optional<MessageKind> kind_of(const ike::Header& h, const Message& m, std::map<std::uint64_t, int>& ke_seen) {
  if (h.exchange == ike::kExchangeInformational) return MessageKind::InformationalClear;
  if (h.exchange != ike::kExchangeMainMode) return std::nullopt;
  if (m.find<Sa>()) return h.spi_r ? MessageKind::MainMode2 : MessageKind::MainMode1;
  return ke_seen[h.spi_i.value]++ == 0 ? MessageKind::MainMode3 : MessageKind::MainMode4;
}
}  // namespace

TEST_CASE("captures: every clear IKEv1 message parses", "[ikev1][message][vectors]") {
  const auto folder = test::vectors("IKEv1 captures");
  if (!folder) return;
  std::size_t clear = 0, encrypted = 0, files = 0, sas = 0, vendors = 0, known = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*folder / "captures")) {
    if (!test::is_capture(entry.path())) continue;
    if (entry.path().filename().string().find("synthetic") != std::string::npos) continue;  // an SA without proposals, made by hand
    std::size_t here = 0;
    std::map<std::uint64_t, int> ke_seen;
    for (const test::Udp& u : test::udp_of(entry.path())) {
      const auto bytes = test::ike_of(u);
      if (!bytes) continue;
      const auto framed = ike::parse_header(*bytes);
      if (!framed || framed->header.major != 1) continue;
      ++here;
      if (framed->header.encrypted()) {
        ++encrypted;
        continue;
      }
      INFO(entry.path() << " message " << here);
      const auto m = Message::parse(static_cast<PayloadType>(framed->header.next_payload), framed->body, Trailing::Alignment);
      if (!m) FAIL(m.error().rule << " at " << m.error().offset);
      ++clear;
      if (const auto kind = kind_of(framed->header, *m, ke_seen)) {
        const auto ok = check_message(*kind, false, *m);
        // draft-ietf-ipsec-nat-t-ike-04 sent NAT-D as payload 15. We never offer that draft, so no peer sends it to us.
        if (!ok && ok.error().text.find("unknown type 15") == std::string::npos) FAIL(ok.error().text);
      }
      // What we would write for it is what was on the wire.
      Builder again;
      for (const Payload& p : m->payloads()) {
        CHECK(encode_body(p.content) == p.body);
        again.add_raw(p.type, p.body);
        if (const auto* v = std::get_if<Vendor>(&p.content)) {
          ++vendors;
          known += recognise_vendor(v->data) ? 1U : 0U;
        }
        if (const auto* sa = std::get_if<Sa>(&p.content)) {
          ++sas;
          CHECK_FALSE(describe(*sa).empty());
        }
      }
      CHECK(again.chain() == Bytes(framed->body.begin(), framed->body.end()));
    }
    files += here ? 1U : 0U;
  }
  std::cout << "IKEv1 captures: " << clear << " clear messages of " << files << " files parsed and written back (" << sas
            << " SA payloads; " << known << " of " << vendors << " vendor ids known); " << encrypted << " encrypted ones not looked into\n";
  CHECK(clear > 20);
}

// Fuzzes what an SA payload offers. Input: one byte of circumstances, the payload's body. Whatever is chosen was wanted, is
// answered with one small transform that the offer's maker would take, and a refusal is short and printable.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "control/ikev1/lifetimes.hpp"
#include "control/ikev1/proposal.hpp"

using namespace culvert;
using namespace culvert::ikev1;

namespace {
constexpr Spi kOurs{0x11223344};
constexpr std::size_t kLargestReply = 800;  // 32 attributes of 20 bytes, and the headers

void require(bool condition) {
  if (!condition) std::abort();
}

struct Suites {
  std::vector<IkeSuite> ike = *parse_ike_proposal("aes256-aes192-aes128-sha512-sha384-sha256-sha1-ecp256-ecp521-modp2048-modp4096");
  std::vector<EspSuite> esp;
  Sa ike_offer, esp_offer;
  Suites() {
    for (const char* text : {"aes256gcm16-aes128gcm16", "aes256-aes128-sha256-sha1", "aes128gcm16-ecp256", "aes256-sha256-modp2048"}) {
      const auto more = parse_esp_proposal(text);
      esp.insert(esp.end(), more->begin(), more->end());
    }
    for (const char* text : {"aes128ctr-aes256ctr-sha512-esn", "aes128ccm8-aes256gmac", "null-3des-md5-aesxcbc"}) {
      const auto more = parse_esp_proposal(text);
      esp.insert(esp.end(), more->begin(), more->end());
    }
    const auto ah = parse_ah_proposal("sha256-aes128gmac-esn-noesn");
    esp.insert(esp.end(), ah->begin(), ah->end());
    ike_offer = build_ike_offer(ike, 14400);
    esp_offer = build_esp_offer({esp, kOurs, Encapsulation::Tunnel, 3600, 0});
  }
};

void require_readable(const Mismatch& m) {
  const std::string text = m.text();
  require(text.size() < 2000);
  require(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
}
void require_small(const Sa& reply) {
  require(reply.proposals.size() == 1 && reply.proposals[0].transforms.size() == 1);
  const Bytes body = encode_body(reply);
  require(body.size() <= kLargestReply);
  require(parse_body(PayloadType::Sa, body).has_value());
}

void judge_ike(const Suites& suites, const Sa& sa) {
  const auto choice = select_ike(suites.ike, sa);
  if (!choice) return require_readable(choice.error());
  require(std::find(suites.ike.begin(), suites.ike.end(), choice->suite) != suites.ike.end());
  require(choice->life.seconds != std::uint64_t{0} && choice->life.kbytes != std::uint64_t{0});
  require_small(choice->reply);
  const auto accepted = accept_ike(sa, choice->reply);
  require(accepted.has_value() && accepted->suite == choice->suite);
}

void judge_esp(const Suites& suites, const Sa& sa, const EspWanted& wanted) {
  const auto choice = select_esp(wanted, sa, kOurs);
  if (!choice) return require_readable(choice.error());
  require(std::find(suites.esp.begin(), suites.esp.end(), choice->suite) != suites.esp.end());
  require(choice->spi.value > 255 && (choice->suite.pfs != DhGroup::None) == wanted.ke_present);
  const EncrInfo* encr = find_encr(choice->suite.encr, choice->suite.key_bits);
  require((choice->suite.integ == Integ::None) == (encr != nullptr && encr->aead()));
  require_small(choice->reply);
  const auto accepted = accept_esp(sa, choice->reply);
  require(accepted.has_value() && accepted->suite == choice->suite && accepted->spi == kOurs);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Suites suites;
  if (size < 1) return 0;
  const ByteView body(data + 1, size - 1);
  (void)parse_responder_lifetime(body);
  (void)parse_responder_lifetime(body, true);
  const auto content = parse_body(PayloadType::Sa, body);
  if (!content) return 0;
  const Sa& sa = std::get<Sa>(*content);
  require(!describe(sa).empty());
  judge_ike(suites, sa);
  const Encapsulation mode = encapsulation_of(data[0] & 4 ? SaMode::Transport : SaMode::Tunnel, (data[0] & 1) != 0);
  judge_esp(suites, sa, {suites.esp, mode, (data[0] & 2) != 0});
  if (const auto a = accept_ike(suites.ike_offer, sa); !a) require_readable(a.error());
  if (const auto a = accept_esp(suites.esp_offer, sa); !a) require_readable(a.error());
  return 0;
}
